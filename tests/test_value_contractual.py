"""Retention under contract: published figures, drawn cohorts, and a company small enough to count by hand."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from cxroi import periods
from cxroi.errors import InputError
from cxroi.tables import Tables, read_tables
from cxroi.value import contractual
from cxroi.value.contractual import (
    ContractCustomers,
    RetentionModel,
    contract_customers,
    fit_sbg,
    margin_by_quarter,
    survival_of,
    survivors_of,
)


def fitted(found: RetentionModel | str) -> RetentionModel:
    assert isinstance(found, RetentionModel), found
    return found


def counted(found: ContractCustomers | str) -> ContractCustomers:
    assert isinstance(found, ContractCustomers), found
    return found


def cohorts(
    alpha: float, beta: float, *, size: int, oldest: int, watched: int, seed: int, joined: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cohorts that joined ``oldest`` … 0 periods before the start, survivors only, and one more a period: as watched, and as if nobody
    had been seen to join late (ages counted from the start).
    """
    generator = np.random.default_rng(seed)
    rows, naive = [], []
    for before in range(oldest, -joined * watched, -1):
        chance = generator.beta(alpha, beta, size)
        lifetime = generator.geometric(np.maximum(chance, 1e-12))
        entry = max(before, 0)
        lifetime = lifetime[lifetime > entry]
        for age in range(entry + 1, before + watched + 1):
            row = (int((lifetime >= age).sum()), int((lifetime == age).sum()))
            rows.append((age, *row))
            naive.append((age - entry, *row))
    columns = ["age", "at_risk", "lost"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(naive, columns=columns)


# ------------------------------------------------------------------------------------------------------- published figures


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("column", "alpha", "beta", "survival", "lifetime", "observed"),
    [
        ("regular_pct_surviving", 0.7040773, 1.182043, 0.1700374, 3.694908, 17.3),
        ("high_end_pct_surviving", 0.6680885, 3.806096, 0.3779991, 5.922253, 39.4),
    ],
)
def test_regular_and_high_end_published(
    realdata: Path, column: str, alpha: float, beta: float, survival: float, lifetime: float, observed: float
) -> None:
    """Fader & Hardie (2007), Journal of Interactive Marketing 21:76: fitted to years 0-7, projected to year 12."""
    curve = pd.read_csv(realdata / "sbg" / "fader_hardie_2007_retention.csv")[column]
    found = fitted(fit_sbg(survivors_of(curve[:8], 1000)))
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta), rel=1e-5)
    assert float(found.survival([12])[0]) == pytest.approx(survival, rel=1e-5)
    assert found.expected_lifetime(0.10) == pytest.approx(lifetime, rel=1e-5)
    assert float(found.survival([12])[0]) == pytest.approx(observed / 100, abs=0.02)  # what five unseen years brought


def test_closed_forms() -> None:
    """S(t) = B(α, β+t)/B(α, β); lifetimes are Gauss's function; retention rises with age."""
    found, rate = RetentionModel.of(alpha=0.704, beta=1.182), 0.1
    ages = np.arange(30)
    expected = np.exp(special.betaln(0.704, 1.182 + ages) - special.betaln(0.704, 1.182))
    np.testing.assert_allclose(found.survival(ages), expected, rtol=1e-12)
    np.testing.assert_allclose(found.survival(ages[5:], since=5), expected[5:] / expected[5], rtol=1e-12)
    np.testing.assert_allclose(found.retention(ages[1:]), expected[1:] / expected[:-1], rtol=1e-12)
    assert (np.diff(found.retention(ages[1:])) > 0).all()
    whole = special.hyp2f1(1, 1.182, 0.704 + 1.182, 1 / (1 + rate))
    assert found.expected_lifetime(rate) == pytest.approx(whole, rel=1e-9)
    # residual lifetime just before the third renewal: Fader & Hardie (2010), Marketing Science 29:85, equation 6
    n = 3
    share = (1.182 + n - 1) / (0.704 + 1.182 + n - 1)
    residual = share * special.hyp2f1(1, 1.182 + n, 0.704 + 1.182 + n, 1 / (1 + rate))
    assert found.expected_lifetime(rate, since=n - 1, after_renewal=True) == pytest.approx(residual, rel=1e-9)


def test_median_lifetime_is_not_reached_within_a_short_horizon() -> None:
    found = RetentionModel.of(alpha=0.668, beta=3.806)
    assert found.median_lifetime(12) == 7
    assert found.survival([6, 7])[0] > 0.5 >= found.survival([6, 7])[1]
    assert found.median_lifetime(6) is None


# ----------------------------------------------------------------------------------------------------------- drawn data


def test_cohorts_of_any_age_seen_late_give_the_parameters_back() -> None:
    """Survivors of ages 0-12 at the start and six new cohorts: within 3.5 standard errors; counting from the start instead is far off."""
    late, naive = cohorts(0.7, 3.0, size=4_000, oldest=12, watched=6, seed=5)
    found, wrong = fitted(fit_sbg(late)), fitted(fit_sbg(naive))
    error = np.sqrt(np.diag(found.covariance))
    assert (np.abs(np.log([found.alpha / 0.7, found.beta / 3.0])) < 3.5 * error).all()
    assert (found.checks()["verdict"] == "pass").all()
    assert abs(np.log(wrong.alpha / 0.7)) > 3.5 * error[0]


def test_range_of_90_percent_holds_survival_in_nine_of_ten_data_sets() -> None:
    """S(10 more periods) of a customer of age 4, 150 data sets: nominal 135 inside, four binomial errors are 15."""
    true, inside = RetentionModel.of(alpha=0.7, beta=3.0), 0
    for seed in range(150):
        found = fitted(fit_sbg(cohorts(0.7, 3.0, size=150, oldest=4, watched=5, seed=seed)[0]))
        draws = survival_of(found.parameter_draws(np.random.default_rng(seed), 200), np.array([14]), since=4)[:, 0]
        low, high = np.quantile(draws, [0.05, 0.95])
        inside += bool(low <= float(true.survival([14], since=4)[0]) <= high)
    assert 120 <= inside <= 150


def test_where_all_are_alike_it_ends_at_the_geometric() -> None:
    """The same chance for everybody, and counts that fall a little with age: σ = 0, said so, and ranges reach above it."""
    counts = pd.DataFrame({"age": [1, 2, 3, 4], "at_risk": [1000, 900, 800, 700], "lost": [95, 90, 82, 77]})
    found = fitted(fit_sbg(counts))
    assert (found.sigma, found.alpha) == (0.0, np.inf)
    assert found.theta == pytest.approx(counts["lost"].sum() / counts["at_risk"].sum(), rel=1e-6)
    checks = found.checks().set_index("name")
    assert checks.loc["identification", "verdict"] == "warn"
    assert "all customers count as alike" in checks.loc["identification", "advice"]
    draws = found.parameter_draws(np.random.default_rng(3), 400)
    assert (draws[:, 1] >= 0).all()
    assert 0.05 < (draws[:, 1] > 0).mean() < 0.95
    assert found.expected_lifetime(0.1) == pytest.approx(1 / (1 - (1 - found.theta) / 1.1), rel=1e-9)


def test_draws_agree_with_the_delta_method() -> None:
    found = fitted(fit_sbg(cohorts(0.7, 3.0, size=3_000, oldest=6, watched=6, seed=9)[0]))
    draws = found.parameter_draws(np.random.default_rng(4), 2_000)
    logs = np.log(np.column_stack([draws[:, 0] / draws[:, 1], (1 - draws[:, 0]) / draws[:, 1]]))
    np.testing.assert_allclose(np.cov(logs.T), found.covariance, rtol=0.15)


def test_gradient_and_information_against_central_differences() -> None:
    counts = cohorts(0.7, 3.0, size=200, oldest=3, watched=4, seed=2)[0].groupby("age", as_index=False).sum()
    age, at_risk, lost = (counts[name].to_numpy(dtype=float) for name in ("age", "at_risk", "lost"))
    at, step = np.array([0.2, 0.3]), 1e-6

    def evaluate(point: np.ndarray) -> tuple[np.ndarray, ...]:
        return contractual._log_likelihood(point[None, :], age, at_risk, lost[None, :])

    _, gradient, information = evaluate(at)
    ends = [(evaluate(at + e), evaluate(at - e)) for e in step * np.eye(2)]
    np.testing.assert_allclose(gradient[0], [(up[0][0] - down[0][0]) / (2 * step) for up, down in ends], rtol=1e-6)
    by_slope = np.array([-(up[1][0] - down[1][0]) / (2 * step) for up, down in ends])
    np.testing.assert_allclose(information[0], by_slope, rtol=1e-5)


def test_cohorts_are_pooled_by_adding_counts() -> None:
    late = cohorts(0.7, 3.0, size=400, oldest=4, watched=4, seed=6)[0]
    pooled = late.groupby("age", as_index=False).sum()
    one, other = fitted(fit_sbg(late)), fitted(fit_sbg(pooled))
    assert (one.theta, one.sigma) == pytest.approx((other.theta, other.sigma), rel=1e-12)


def test_what_cannot_be_fitted() -> None:
    few = pd.DataFrame({"age": [1], "at_risk": [50], "lost": [3]})
    assert fit_sbg(few) == "3 customers left; at least 10 are needed"
    assert "nobody renewed" in str(fit_sbg(few.assign(lost=50)))
    with pytest.raises(InputError, match="at_risk is missing"):
        fit_sbg(few.drop(columns="at_risk"))
    with pytest.raises(InputError, match="between 0 and at_risk"):
        fit_sbg(few.assign(lost=60))
    with pytest.raises(InputError, match="never rise"):
        survivors_of([1.0, 0.5, 0.6], 100)
    with pytest.raises(InputError, match="above 0"):
        RetentionModel.of(alpha=1.0, beta=2.0).expected_lifetime(0.0)
    with pytest.raises(InputError, match="must not lie before since"):
        RetentionModel.of(alpha=1.0, beta=2.0).survival([1], since=2)


# ---------------------------------------------------------------------------------------------------- customers by hand

CUSTOMERS = """customer_id,joined_on,left_on,plan
1,2024-02-01,,gold
2,2024-02-01,2025-05-20,gold
3,2025-02-10,2025-08-01,basic
4,2025-05-05,2025-06-01,basic
5,2025-08-08,,
6,2024-02-01,2024-06-01,basic
7,2025-10-20,,gold
"""
# The data begin with 2025Q1 and end with 2025Q4. 6 left before and is not counted; 4 left in the quarter of joining.
TRANSACTIONS = """transaction_id,customer_id,occurred_at,amount,margin
1,1,2025-01-02,100,30
2,1,2025-04-02,100,10
3,1,2025-12-30,100,40
4,2,2025-05-01,100,20
5,3,2025-02-20,100,8
6,3,2025-07-01,100,25
7,4,2025-05-06,100,6
8,5,2025-08-10,100,12
9,5,2025-10-02,100,50
10,7,2025-10-21,100,9
11,5,2025-11-02,-10,-5
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("contract") / "company"
    folder.mkdir()
    (folder / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
    (folder / "transactions.csv").write_text(TRANSACTIONS, encoding="utf-8")
    (folder / "dataset.yaml").write_text(
        "currency: EUR\nretention: {rule: contract}\nsegments: [plan]\ntables: {surveys: none}\n", encoding="utf-8"
    )
    return read_tables(folder)


@pytest.mark.parametrize("engine", ["duckdb", "pandas"])
def test_customers_by_hand(tables: Tables, engine: str) -> None:
    found = counted(contract_customers(tables if engine == "duckdb" else tables.collect(), by="plan"))
    assert (periods.label(found.first_quarter), periods.label(found.last_quarter)) == ("2025Q1", "2025Q4")
    assert found.levels == ["(missing)", "basic", "gold"]
    joining = found.survivors()["all"].set_index("age")
    # 1 and 2 joined 2024Q1: at risk from age 4 on; 3 joined 2025Q1, left two quarters on; 5 joined 2025Q3
    assert joining["at_risk"].to_dict() == {1: 2, 2: 1, 4: 2, 5: 2, 6: 1, 7: 1}
    assert joining["lost"].to_dict() == {1: 0, 2: 1, 4: 0, 5: 1, 6: 0, 7: 0}
    on_data = found.survivors(clock="data")
    assert on_data["opening"].set_index("age")["at_risk"].to_dict() == {1: 2, 2: 2, 3: 1, 4: 1}
    assert on_data["joined"].set_index("age")["lost"].to_dict() == {1: 0, 2: 1}
    assert found.active().to_numpy().tolist() == [["all", 0, 1], ["all", 1, 1], ["all", 7, 1]]
    assert found.active("gold", clock="data").to_numpy().tolist() == [["joined", 0, 1], ["opening", 4, 1]]
    # margin of those there when a quarter began, over quarters at whose end they were: 1: 80 in 4, 2: 20 in 1, 3: 25 in 1, 5: 45 in 1
    mean, error = found.margin_per_quarter()
    assert mean == pytest.approx((80 + 20 + 25 + 45) / 7)
    apart = np.array([80, 20, 25, 45]) - mean * np.array([4, 1, 1, 1])
    assert error == pytest.approx(np.sqrt((apart**2).sum()) / 7)
    assert found.margin_per_quarter("basic") == pytest.approx((25.0, 0.0))
    # 3, 4, 5 and 7 joined; 4 left at once; 8, 6, 12 and 9 in the quarter of joining
    n, stayed, first, first_error = found.joining()
    assert (n, stayed, first) == (4, 0.75, pytest.approx(8.75))
    assert first_error == pytest.approx(np.std([8, 6, 12, 9]) / 2)
    later = margin_by_quarter(tables, there_at=found.last_quarter - 2, until_quarter=found.last_quarter)
    assert later["margin"].tolist() == [25.0, 40.0]
    assert later["square"].tolist() == [625.0, 1600.0]


def test_nothing_after_until_is_known(tables: Tables) -> None:
    found = counted(contract_customers(tables, until=dt.date(2025, 6, 30)))
    assert periods.label(found.last_quarter) == "2025Q2"
    assert found.active()["customers"].sum() == 2  # 1 and 3; that 3 will leave is not known yet
    assert found.cells["customers"].sum() == 4


def test_sample_of_customers_is_multiplied_up(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counted(contract_customers(tables))
    monkeypatch.setattr("cxroi.value.histories.MOST_CUSTOMERS", 4)
    found = counted(contract_customers(tables))
    assert found.every == 2
    pd.testing.assert_frame_equal(found.cells, whole.cells)  # customers are counted all
    assert found.margins["margin"].iloc[0] == 2 * (80 + 25 + 45)  # 1, 3, 5 and 7


def test_why_there_are_no_contracts(tables: Tables) -> None:
    assert contract_customers(replace(tables, transactions=None)) == "the data have no transactions"
    assert "no left_on" in str(contract_customers(replace(tables, customers=tables.customers.drop("left_on"))))
    assert "two whole quarters" in str(contract_customers(tables, until=dt.date(2025, 5, 30)))
