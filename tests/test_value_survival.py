"""Staying after the first answer: published curves, two other computations, simulated truth, the clock, small bands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from cxroi.errors import InputError
from cxroi.simulate import simulate
from cxroi.tables import Tables, read_tables
from cxroi.tables.dataset import Retention
from cxroi.value.survival import SurvivalByBand, kaplan_meier, log_rank, survival_by_band

WINDOW_DAYS = 120
MERCAPTOPURINE = [6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23], []


def counted(band: str, left: Any, censored: Any) -> pd.DataFrame:
    """Customers by day of leaving and of the end of observation: ``band, day, left, censored``."""
    days = pd.DataFrame({"day": [*left, *censored], "left": [1] * len(left) + [0] * len(censored)})
    counts = days.groupby("day")["left"].agg(left="sum", all="size").reset_index()
    return counts.assign(band=band, censored=counts["all"] - counts["left"])[["band", "day", "left", "censored"]]


def curve(counts: pd.DataFrame) -> pd.DataFrame:
    return kaplan_meier(counts["day"], counts["left"], counts["censored"]).set_index("day")


def found(tables: Tables, exposure: Any = "nps") -> SurvivalByBand:
    result = survival_by_band(tables, exposure)
    assert isinstance(result, SurvivalByBand)
    return result


def under_repurchase(tables: Tables) -> Tables:
    rule = Retention(rule="repurchase", window_days=WINDOW_DAYS)
    return replace(tables, config=tables.config.model_copy(update={"retention": rule}))


# Published figures


def test_leukaemia_remission() -> None:
    """Freireich et al. (1963), as in Kalbfleisch & Prentice: 6-MP .857 .807 .753 .690 .627 .538 .448, medians 23 and 8 weeks."""
    treated = curve(counted("6-MP", *MERCAPTOPURINE))
    np.testing.assert_allclose(
        treated["survival"], [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], atol=0.0005
    )  # published to three digits
    np.testing.assert_allclose(treated["std_error"].iloc[[0, -1]], [0.0764, 0.1346], atol=0.00005)
    assert treated.index[treated["survival"] <= 0.5][0] == 23
    untreated = curve(counted("placebo", *PLACEBO))
    assert untreated.index[untreated["survival"] <= 0.5][0] == 8
    assert untreated["survival"].iloc[-1] == 0


def test_published_log_rank() -> None:
    """The same trial: chi-square 16.79 on one degree of freedom."""
    both = pd.concat([counted("6-MP", *MERCAPTOPURINE), counted("placebo", *PLACEBO)])
    chi_square, degrees, p_value = log_rank(both)
    assert chi_square == pytest.approx(16.79, abs=0.005)
    assert degrees == 1
    assert p_value == pytest.approx(4.17e-5, rel=0.005)


@pytest.fixture(scope="module")
def telco(realdata: Path) -> pd.DataFrame:
    return pd.read_csv(realdata / "telco" / "telco_customers.csv.gz")


@pytest.mark.realdata
def test_telco_tenure(telco: pd.DataFrame) -> None:
    """REFERENCE.md: S at 6, 12, 24, 36, 48, 60 and 72 months."""
    gone = telco["churn_value"] == 1
    months = telco["tenure_in_months"]
    survival = curve(counted("all", months[gone], months[~gone]))["survival"]
    at = [survival[survival.index <= month].iloc[-1] for month in (6, 12, 24, 36, 48, 60, 72)]
    np.testing.assert_allclose(
        at, [0.885013, 0.843437, 0.788958, 0.748756, 0.709040, 0.664591, 0.592957], atol=1e-6
    )  # given to six digits


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore:The confidence interval is undefined")  # scipy, on days before anybody left
def test_two_other_computations_agree(telco: pd.DataFrame) -> None:
    """statsmodels' curve, error and three-group log-rank test; scipy's log-log limits and two-group test."""
    months, gone = telco["tenure_in_months"].to_numpy(), (telco["churn_value"] == 1).to_numpy()
    group = telco["contract"].to_numpy()
    parts = [
        counted(name, months[gone & (group == name)], months[~gone & (group == name)]) for name in np.unique(group)
    ]
    for counts in parts:
        inside = group == counts["band"].iloc[0]
        ours = curve(counts)
        theirs = SurvfuncRight(months[inside], gone[inside].astype(int))
        np.testing.assert_allclose(ours["survival"], theirs.surv_prob, rtol=1e-12)
        np.testing.assert_allclose(ours["std_error"], theirs.surv_prob_se, rtol=1e-9)
        np.testing.assert_array_equal(ours["at_risk"], theirs.n_risk)
        sample = stats.CensoredData.right_censored(months[inside], ~gone[inside])
        limits = stats.ecdf(sample).sf.confidence_interval(0.95, method="log-log")
        np.testing.assert_allclose(ours["conf_low"], limits.low.evaluate(ours.index.to_numpy()), rtol=1e-9)
        np.testing.assert_allclose(ours["conf_high"], limits.high.evaluate(ours.index.to_numpy()), rtol=1e-9)
    chi_square, degrees, _ = log_rank(pd.concat(parts))
    assert degrees == 2
    assert chi_square == pytest.approx(survdiff(months, gone.astype(int), group)[0], rel=1e-9)
    two = [
        stats.CensoredData.right_censored(months[group == name], ~gone[group == name])
        for name in ("One Year", "Two Year")
    ]
    named = pd.concat([part for part in parts if part["band"].iloc[0] in ("One Year", "Two Year")])
    assert log_rank(named)[0] == pytest.approx(stats.logrank(*two).statistic ** 2, rel=1e-9)


# The clock, a customer at a time


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("survival") / "clean"
    simulate(folder, world="clean", customers=1_500, seed=31)
    return read_tables(folder)


def lives(tables: Tables) -> pd.DataFrame:
    """Band, days and leaving after each customer's first relationship answer, from single rows: ``band, days, went``."""
    local = tables.collect()
    assert local.surveys is not None
    assert local.transactions is not None
    surveys = local.surveys.collect().to_native()
    customers = local.customers.collect().to_native().set_index("customer_id")
    orders = local.transactions.collect().to_native()
    end = pd.Timestamp(tables.data_end)
    answers = surveys[(surveys["metric"] == "nps") & surveys["score"].notna() & surveys["touchpoint"].isna()]
    bought = orders[orders["amount"] > 0].groupby("customer_id")["occurred_at"]
    days_of = {customer: when.dt.normalize().drop_duplicates() for customer, when in bought}
    rule = tables.config.retention
    assert rule is not None
    rows = []
    for customer, own in answers.groupby("customer_id"):
        first = own[own["answered_at"] == own["answered_at"].min()]
        start, score = first["answered_at"].iloc[0].normalize(), first["score"].mean()
        gone = customers.loc[customer, "left_on"]
        if rule.rule == "repurchase":
            last = int((end - start).days) + rule.window_days
            covered = np.zeros(last + 2 * rule.window_days, dtype=bool)  # days from one window before the answer on
            for day in days_of.get(customer, ()):
                place = int((day - start).days) + rule.window_days
                covered[max(place, 0) : max(place + rule.window_days, 0)] = True
            since = covered[rule.window_days :]
            if not since[0]:
                continue
            until = start + pd.Timedelta(days=int(np.argmin(since)))
            gone = min(until, gone) if pd.notna(gone) else until
        went = pd.notna(gone) and gone <= end
        band = "detractor" if score <= 6.5 else "passive" if score <= 8.5 else "promoter"
        rows.append((band, ((gone if went else end) - start).days + 1, int(went)))
    return pd.DataFrame(rows, columns=["band", "days", "went"])


@pytest.mark.parametrize("rule", ["contract", "repurchase"])
def test_curves_agree_with_single_customers(clean: Tables, rule: str) -> None:
    tables = clean if rule == "contract" else under_repurchase(clean)
    result, single = found(tables), lives(tables)
    for band, own in single.groupby("band"):
        theirs = SurvfuncRight(own["days"].to_numpy(), own["went"].to_numpy())
        ours = result.tidy()
        ours = ours[(ours["band"] == band) & ~ours["suppressed"]]
        enough = theirs.n_risk >= 30
        np.testing.assert_array_equal(ours["day"], theirs.surv_times[enough])
        np.testing.assert_allclose(ours["survival"], theirs.surv_prob[enough], rtol=1e-12)
        row = result.bands.set_index("band").loc[band]
        assert row["customers"] == len(own)
        assert row["left"] == own["went"].sum()
    chi_square = survdiff(single["days"].to_numpy(), single["went"].to_numpy(), single["band"].to_numpy())[0]
    assert result.glance()["chi_square"].iloc[0] == pytest.approx(chi_square, rel=1e-9)


@pytest.mark.parametrize("rule", ["contract", "repurchase"])
def test_both_engines_agree(clean: Tables, rule: str) -> None:
    tables = clean if rule == "contract" else under_repurchase(clean)
    pd.testing.assert_frame_equal(found(tables).tidy(), found(tables.collect()).tidy())
    pd.testing.assert_frame_equal(found(tables).bands, found(tables.collect()).bands)


# Simulated truth


def test_satisfied_customers_stay_longer(tmp_path: Path) -> None:
    """A point raises the log-odds of staying by .22: a year after the answer the bands lie apart, in their order."""
    simulate(tmp_path / "clean", world="clean", customers=8_000, seed=31)
    result = found(read_tables(tmp_path / "clean"))
    year = result.at(365)["survival"].to_numpy()
    assert (np.diff(year) > 0).all()  # the true steps are 7 and 5 points, 4 and 3 standard errors
    assert result.glance()["p_value"].iloc[0] < 1e-6
    assert result.checks().set_index("name").loc["curves differ", "verdict"] == "pass"


def test_where_satisfaction_moves_nothing(tmp_path: Path) -> None:
    simulate(tmp_path / "null", world="null", customers=8_000, seed=31)
    result = found(read_tables(tmp_path / "null"))
    year = result.at(365)
    assert year["survival"].max() - year["survival"].min() < 0.05  # 3 standard errors of the widest difference
    assert result.glance()["p_value"].iloc[0] > 0.001


def test_intervals_cover() -> None:
    """Constant hazard, censored evenly: 95 % intervals of S hold the truth in 92 … 98 % of 400 samples (3 standard errors)."""
    generator, size, at = np.random.default_rng(7), 120, 200
    inside, bias = [], []
    for _ in range(400):
        life, seen = np.ceil(generator.exponential(400, size)), generator.integers(1, 600, size)
        own = curve(counted("all", life[life <= seen], seen[life > seen]))
        row = own[own.index <= at].iloc[-1]
        truth = np.exp(-at / 400)
        inside.append(row["conf_low"] <= truth <= row["conf_high"])
        bias.append(row["survival"] - truth)
    assert 0.92 <= np.mean(inside) <= 0.98
    assert abs(np.mean(bias)) < 3 * np.std(bias) / np.sqrt(len(bias))


# By hand


def company(folder: Path, customers: pd.DataFrame, surveys: pd.DataFrame, settings: str = "") -> Tables:
    folder.mkdir(parents=True)
    orders = pd.DataFrame(
        {
            "transaction_id": [1, 2],
            "customer_id": customers["customer_id"].iloc[0],
            "occurred_at": ["2024-01-01", "2025-12-31"],
            "amount": 1.0,
            "margin": 1.0,
        }
    )
    tables = {"customers": customers, "surveys": surveys, "transactions": orders}
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "dataset.yaml").write_text(settings, encoding="utf-8")
    return read_tables(folder)


def answers(scores: dict[int, float], day: str, *, start: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "response_id": np.arange(start, start + len(scores)),
            "customer_id": list(scores),
            "metric": "nps",
            "score": list(scores.values()),
            "answered_at": day,
        }
    )


def test_a_later_answer_moves_nobody(tmp_path: Path) -> None:
    """40 promoters who turn detractors a month before they leave remain promoters, 40 detractors who stay remain detractors."""
    customers = pd.DataFrame({"customer_id": np.arange(80), "joined_on": "2023-12-01", "left_on": None})
    customers.loc[:39, "left_on"] = "2025-01-01"
    first = answers({k: 10.0 if k < 40 else 2.0 for k in range(80)}, "2024-01-02")
    later = answers(dict.fromkeys(range(40), 0.0), "2024-12-01", start=100)
    result = found(company(tmp_path / "later", customers, pd.concat([first, later])))
    bands = result.bands.set_index("band")
    assert bands.loc["promoter", ["customers", "left", "median_days"]].tolist() == [40.0, 40.0, 366.0]
    assert bands.loc["detractor", ["customers", "left"]].tolist() == [40.0, 0.0]
    assert bands.loc["detractor", "median_days"] is None  # not reached
    assert result.at(365, 366).set_index(["band", "day"])["survival"].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert result.checks().set_index("name").loc["median lifetime reached", "verdict"] == "warn"


def test_answers_before_joining_or_after_leaving_start_no_clock(tmp_path: Path) -> None:
    customers = pd.DataFrame({"customer_id": np.arange(60), "joined_on": "2024-02-01", "left_on": None})
    customers.loc[30:, ["joined_on", "left_on"]] = ["2023-01-01", "2024-01-15"]
    given = answers(dict.fromkeys(range(60), 10.0), "2024-01-20")
    valid = answers(dict.fromkeys(range(30), 3.0), "2024-03-01", start=100)
    settings = "accept: {surveys: {before_joining: keep, after_leaving: keep}}"
    result = found(company(tmp_path / "outside", customers, pd.concat([given, valid]), settings))
    assert result.bands["band"].tolist() == ["detractor"]
    assert result.bands["customers"].tolist() == [30.0]


def test_several_answers_at_one_moment_count_as_their_mean(tmp_path: Path) -> None:
    customers = pd.DataFrame({"customer_id": np.arange(40), "joined_on": "2023-12-01", "left_on": None})
    one, other = (dict.fromkeys(range(40), score) for score in (10.0, 6.0))
    both = pd.concat([answers(one, "2024-01-02"), answers(other, "2024-01-02", start=100)])
    result = found(company(tmp_path / "mean", customers, both))
    assert result.bands["band"].tolist() == ["passive"]
    alone = result.checks().set_index("name").loc["curves differ"]
    assert (alone["verdict"], alone["advice"]) == ("warn", "fewer than two bands can be compared")


# Small bands


def test_small_bands_and_ends_of_curves_are_not_drawn(tmp_path: Path) -> None:
    customers = pd.DataFrame({"customer_id": np.arange(120), "joined_on": "2023-12-01", "left_on": None})
    customers.loc[:19, "left_on"] = "2024-02-01"  # promoters
    customers.loc[20:54, "left_on"] = "2024-03-01"  # passives
    customers.loc[60:69, "left_on"] = "2024-04-01"
    customers.loc[70:79, "left_on"] = "2024-05-01"
    scores = {k: 10.0 if k < 20 else 8.0 if k < 60 else 1.0 for k in range(120)}
    result = found(company(tmp_path / "small", customers, answers(scores, "2024-01-02")))
    bands = result.bands.set_index("band")
    assert bool(bands.loc["promoter", "suppressed"])
    assert bands.loc["promoter", "left"] is None
    assert bands.loc["promoter", "customers"] == 20  # told: at least five, and no figure over all bands is given
    assert "promoter" not in set(result.tidy()["band"])
    year = result.at(90, 200).set_index(["band", "day"])
    assert year["suppressed"].to_dict() == {
        ("detractor", 90): False,
        ("detractor", 200): False,
        ("passive", 90): True,  # five are left
        ("passive", 200): True,
        ("promoter", 90): True,
        ("promoter", 200): True,
    }
    assert year.loc[("passive", 90), ["at_risk", "survival"]].isna().all()
    assert result.glance()["customers"].iloc[0] == 100
    assert result.checks().set_index("name").loc["bands large enough", "number"] == 1


def test_a_handful_is_not_even_counted(tmp_path: Path) -> None:
    customers = pd.DataFrame({"customer_id": np.arange(100), "joined_on": "2023-12-01", "left_on": None})
    scores = {k: 10.0 if k < 3 else 8.0 if k < 43 else 1.0 for k in range(100)}
    bands = found(company(tmp_path / "few", customers, answers(scores, "2024-01-02"))).bands.set_index("band")
    assert bands["customers"].isna().to_dict() == {"detractor": False, "passive": True, "promoter": True}


# Refusals


def test_reasons(clean: Tables) -> None:
    none = clean.config.model_copy(update={"retention": None})
    assert "no surveys" in str(survival_by_band(replace(clean, surveys=None), "nps"))
    assert "no retention rule" in str(survival_by_band(replace(clean, config=none), "nps"))
    assert "no transactions" in str(survival_by_band(replace(under_repurchase(clean), transactions=None), "nps"))
    assert clean.surveys is not None
    undated = replace(clean, surveys=clean.surveys.drop("answered_at"))
    assert survival_by_band(undated, "nps") == "the data have no dated answers to nps"
    with pytest.raises(InputError, match="exposure must be one of nps, csat, ces"):
        survival_by_band(clean, "ease")  # type: ignore[arg-type]
