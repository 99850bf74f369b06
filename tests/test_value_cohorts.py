"""Joining cohorts: published survival, real purchases, a second computation, what is not recorded, small cells, coverage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxroi import periods
from cxroi.simulate import simulate
from cxroi.tables import Tables, read_tables
from cxroi.tables.dataset import Retention
from cxroi.value.cohorts import Cohorts, cohorts

REPURCHASE = "retention: {rule: repurchase, window_days: 120}"
WINDOW = pd.Timedelta(days=120)


def company(folder: Path, customers: pd.DataFrame, transactions: pd.DataFrame, settings: str = "") -> Tables:
    """Tables of customers and transactions alone."""
    folder.mkdir(parents=True)
    customers.to_csv(folder / "customers.csv", index=False)
    numbered = transactions.assign(transaction_id=np.arange(len(transactions)))
    numbered.to_parquet(folder / "transactions.parquet", index=False)
    (folder / "dataset.yaml").write_text(f"currency: USD\ntables: {{surveys: none}}\n{settings}\n", encoding="utf-8")
    return read_tables(folder)


def found(tables: Tables, period: periods.Period = "quarter") -> Cohorts:
    result = cohorts(tables, period=period)
    assert isinstance(result, Cohorts)
    return result


def figures(result: Cohorts, measure: str) -> pd.DataFrame:
    """Rows of a measure under (cohort, age)."""
    own = result.tidy()
    return own[own["measure"] == measure].set_index(["cohort", "age"])


def steady(customers: pd.DataFrame, *, months: int, start: str = "2024-01-01") -> pd.DataFrame:
    """One order of 10 on the 15th of every month, by the first customer, so that the data have a beginning and an end."""
    days = pd.date_range(start, periods=months, freq="MS") + pd.Timedelta(days=14)
    edges = [pd.Timestamp(start), days[-1] + pd.offsets.MonthEnd(0)]
    dates = pd.DatetimeIndex([*days, *edges])
    first = customers["customer_id"].iloc[0]
    return pd.DataFrame({"customer_id": first, "occurred_at": dates, "amount": 10.0, "margin": 0.0})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("cohorts") / "clean"
    simulate(folder, world="clean", customers=2_500, seed=8)
    return read_tables(folder)


def under(tables: Tables, rule: str) -> Tables:
    """The same tables under another retention rule."""
    retention = {
        "contract": Retention(rule="contract"),
        "repurchase": Retention(rule="repurchase", window_days=WINDOW.days),
        "none": None,
    }[rule]
    return replace(tables, config=tables.config.model_copy(update={"retention": retention}))


# Published and real figures


@pytest.mark.realdata
@pytest.mark.parametrize("segment", ["regular", "high_end"])
def test_published_survival_comes_out(segment: str, realdata: Path, tmp_path: Path) -> None:
    """Fader & Hardie (2007), JIM 21:76, table 1: share of a cohort of 1,000 surviving, a quarter standing for a year."""
    published = pd.read_csv(realdata / "sbg" / "fader_hardie_2007_retention.csv")[f"{segment}_pct_surviving"] / 100
    counts = np.rint(published.to_numpy() * 1_000).astype(int)
    left_in = np.repeat(np.arange(1, len(counts)), -np.diff(counts))
    left_on = pd.Series(pd.NaT, index=range(1_000), dtype="datetime64[ns]")
    first = periods.index("2020Q1")
    left_on.iloc[: len(left_in)] = [pd.Timestamp(periods.start(first + int(age))) for age in left_in]
    customers = pd.DataFrame({"customer_id": np.arange(1_000), "joined_on": "2020-01-15", "left_on": left_on})
    tables = company(tmp_path / "sbg", customers, steady(customers, months=39, start="2020-01-01"))
    triangle = found(tables).triangle("retained")
    np.testing.assert_allclose(triangle.loc["2020Q1"], published, atol=1e-12)


@pytest.fixture(scope="module")
def purchases(realdata: Path) -> pd.DataFrame:
    """CDNOW master: purchases of those who first bought in the first quarter of 1997."""
    return pd.read_parquet(realdata / "cdnow" / "cdnow_master.parquet")


@pytest.mark.realdata
def test_every_dollar_of_cdnow(purchases: pd.DataFrame, tmp_path: Path) -> None:
    """REFERENCE.md: 23,570 customers brought $2,500,315.63 from 1997-01-01 to 1998-06-30."""
    orders = purchases.rename(columns={"date": "occurred_at", "dollar_value": "amount"}).drop(columns="number_of_cds")
    joined = orders.groupby("customer_id", as_index=False)["occurred_at"].min()
    customers = joined.rename(columns={"occurred_at": "joined_on"})
    settings = f"margin_rate: 1.0\naccept: {{transactions: {{repeated_rows: keep}}}}\n{REPURCHASE}"
    tables = company(tmp_path / "cdnow", customers, orders, settings)

    row = figures(found(tables), "cumulative_margin").loc[("1997Q1", 5)]
    assert row["customers"] == 23_570
    assert row["estimate"] * 23_570 == pytest.approx(2_500_315.63, rel=1e-9)
    by_customer = orders.groupby("customer_id")["amount"].sum()
    assert row["std_error"] == pytest.approx(by_customer.sem(), rel=1e-6)

    by_month = found(tables, "month")
    brought = figures(by_month, "cumulative_margin")
    last = brought[brought["period"] == "1998-06"]
    assert (last["customers"] * last["estimate"]).sum() == pytest.approx(2_500_315.63, rel=1e-9)
    # bought in June 1998 or in the 120 days before July
    paid = orders[orders["amount"] > 0]  # CDNOW holds purchases of $0: no orders here
    lately = paid[paid["occurred_at"] >= pd.Timestamp("1998-07-01") - WINDOW].merge(customers, on="customer_id")
    share = (
        lately.groupby(lately["joined_on"].dt.strftime("%Y-%m"))["customer_id"].nunique()
        / last.droplevel("age")["customers"]
    )
    retained = figures(by_month, "retained")
    np.testing.assert_allclose(
        retained[retained["period"] == "1998-06"]["estimate"].to_numpy(), share.to_numpy(), rtol=1e-12
    )


# A second computation, a customer at a time


def by_hand(tables: Tables, period: periods.Period, rule: str) -> pd.DataFrame:
    """Share retained by cohort and period from every customer's own dates, whole lives only."""
    local = tables.collect()
    assert local.transactions is not None
    customers = local.customers.collect().to_native()
    orders = local.transactions.collect().to_native()
    first = orders["occurred_at"].min()
    assert tables.data_end is not None
    last = periods.containing(tables.data_end, period)
    bought = orders[orders["amount"] > 0].groupby("customer_id")["occurred_at"].apply(np.array)
    rows = []
    for customer, joined_on, left_on in customers[["customer_id", "joined_on", "left_on"]].itertuples(index=False):
        joined = periods.containing(joined_on.date(), period)
        if joined_on < first.normalize():
            continue
        own = bought.get(customer, np.array([], dtype="datetime64[ns]"))
        for at in range(joined, last + 1):
            begin, after = (pd.Timestamp(periods.start(at + step, period)) for step in (0, 1))
            kept = pd.isna(left_on) or left_on >= after
            if rule == "repurchase":
                kept = kept and bool(((own >= min(begin, after - WINDOW)) & (own < after)).any())
            rows.append((periods.label(joined, period), at - joined, kept))
    frame = pd.DataFrame(rows, columns=["cohort", "age", "kept"])
    return frame.groupby(["cohort", "age"])["kept"].agg(["mean", "size"])


@pytest.mark.parametrize("rule", ["contract", "repurchase"])
@pytest.mark.parametrize("period", ["quarter", "month"])
def test_retention_agrees_with_single_customers(simulated: Tables, rule: str, period: periods.Period) -> None:
    tables = under(simulated, rule)
    expected = by_hand(tables, period, rule)
    result = figures(found(tables, period), "retained")
    shown = result[(result["seen_from_age"] == 0) & ~result["suppressed"]]
    wanted = expected.loc[shown.index]
    assert len(shown) > 30
    np.testing.assert_allclose(shown["estimate"], wanted["mean"], rtol=1e-12)
    np.testing.assert_array_equal(shown["customers"], wanted["size"])
    wilson = [
        stats.binomtest(round(mean * size), int(size)).proportion_ci(method="wilson")
        for mean, size in zip(wanted["mean"], wanted["size"], strict=True)
    ]
    np.testing.assert_allclose(shown[["conf_low", "conf_high"]], wilson, rtol=1e-9, atol=1e-12)


def test_margin_agrees_with_single_customers(simulated: Tables) -> None:
    local = simulated.collect()
    assert local.transactions is not None
    orders = local.transactions.collect().to_native()
    customers = local.customers.collect().to_native().set_index("customer_id")
    result = figures(found(simulated), "cumulative_margin")
    for label, age in [("2024Q4", 0), ("2024Q4", 7), ("2025Q2", 3)]:
        joined = periods.index(label)
        own = customers[customers["joined_on"].map(lambda day, at=joined: periods.containing(day.date()) == at)]
        until = pd.Timestamp(periods.start(joined + age + 1))
        brought = orders[orders["occurred_at"] < until].groupby("customer_id")["margin"].sum()
        so_far = brought.reindex(own.index, fill_value=0.0)
        row = result.loc[(label, age)]
        assert row["estimate"] == pytest.approx(so_far.mean(), rel=1e-9)
        assert row["std_error"] == pytest.approx(so_far.sem(), rel=1e-6)
        assert row["conf_high"] - row["estimate"] == pytest.approx(
            stats.t.ppf(0.975, len(own) - 1) * so_far.sem(), rel=1e-6
        )


@pytest.mark.parametrize("rule", ["contract", "repurchase"])
def test_both_engines_agree(simulated: Tables, rule: str) -> None:
    tables = under(simulated, rule)
    pd.testing.assert_frame_equal(found(tables).tidy(), found(tables.collect()).tidy())


# What is not recorded is not shown


@pytest.mark.parametrize("rule", ["contract", "repurchase"])
def test_cohorts_from_before_the_records(simulated: Tables, rule: str) -> None:
    """They have no margin, no figure before the records begin, and start from those still there then."""
    result = found(under(simulated, rule))
    cells = result.tidy()
    late = cells[cells["seen_from_age"] > 0]
    assert set(late["measure"]) == {"retained"}
    assert (late["age"] >= late["seen_from_age"]).all()
    # 120 days reach back beyond one quarter: the rule can first be checked at the end of the second recorded one
    first_shown = {"contract": "2024Q4", "repurchase": "2025Q2"}[rule]
    assert late["period"].min() == first_shown
    assert result.glance()["seen_late"].iloc[0] == 12
    assert result.checks().set_index("name").loc["cohorts seen from the start", "verdict"] == "warn"


def test_share_of_those_still_there(simulated: Tables) -> None:
    local = simulated.collect()
    customers = local.customers.collect().to_native()
    row = figures(found(simulated), "retained").loc[("2023Q1", 10)]
    joined = customers[
        customers["joined_on"].map(lambda day: periods.containing(day.date())) == periods.index("2023Q1")
    ]
    there = joined[joined["left_on"].isna() | (joined["left_on"] >= pd.Timestamp("2024-10-01"))]
    stayed = there["left_on"].isna() | (there["left_on"] >= pd.Timestamp("2025-10-01"))
    assert row["customers"] == len(there)
    assert row["estimate"] == pytest.approx(stayed.mean(), rel=1e-12)


def test_records_that_begin_within_a_quarter(tmp_path: Path) -> None:
    """Joined in the quarter but before the first transaction: seen late; joined after it: seen whole."""
    days = {"old": "2024-01-10", "new": "2024-03-02"}
    tables = {}
    for name, day in days.items():
        customers = pd.DataFrame({"customer_id": np.arange(40), "joined_on": day, "left_on": None})
        orders = steady(customers, months=7, start="2024-03-01")
        tables[name] = company(tmp_path / name, customers, orders, "retention: {rule: contract}")
    old, new = (found(tables[name]).tidy() for name in days)
    assert set(old["measure"]) == {"retained"}
    assert old["seen_from_age"].unique().tolist() == [1]
    assert new[new["measure"] == "cumulative_margin"]["age"].tolist() == [0, 1, 2]


def test_only_periods_that_are_over(simulated: Tables) -> None:
    assert simulated.data_end is not None
    earlier = replace(simulated, data_end=simulated.data_end - pd.Timedelta(days=30))
    assert found(simulated).tidy()["period"].max() == "2026Q3"
    assert found(earlier).tidy()["period"].max() == "2026Q2"


def test_without_a_retention_rule(simulated: Tables) -> None:
    result = found(under(simulated, "none"))
    assert set(result.tidy()["measure"]) == {"cumulative_margin"}
    assert result.checks().set_index("name").loc["retention rule", "verdict"] == "warn"


def test_customers_who_never_bought_count(tmp_path: Path) -> None:
    customers = pd.DataFrame({"customer_id": np.arange(50), "joined_on": "2024-01-01"})
    orders = pd.concat(
        [
            pd.DataFrame({"customer_id": np.arange(10), "occurred_at": "2024-01-02", "amount": 5.0, "margin": 5.0}),
            pd.DataFrame({"customer_id": [0], "occurred_at": ["2024-09-30"], "amount": [-1.0], "margin": [-1.0]}),
        ]
    ).assign(occurred_at=lambda frame: pd.to_datetime(frame["occurred_at"]))
    result = found(company(tmp_path / "silent", customers, orders, REPURCHASE))
    margin, retained = (figures(result, name)["estimate"].to_numpy() for name in ("cumulative_margin", "retained"))
    np.testing.assert_allclose(margin, [1.0, 1.0, 0.98], rtol=1e-12)
    np.testing.assert_allclose(retained, [0.2, 0.0, 0.0], atol=1e-15)  # a refund is no order


def test_no_transactions_and_no_whole_period(simulated: Tables, tmp_path: Path) -> None:
    assert "no transactions" in str(cohorts(replace(simulated, transactions=None)))
    customers = pd.DataFrame({"customer_id": [1, 2], "joined_on": "2024-01-05"})
    orders = pd.DataFrame(
        {"customer_id": [1], "occurred_at": pd.to_datetime(["2024-02-01"]), "amount": [1.0], "margin": [1.0]}
    )
    assert cohorts(company(tmp_path / "young", customers, orders)) == (
        "no quarter is over in the data in which customers had joined"
    )


# Small cells


def test_small_cohorts_are_suppressed_beyond_recovery(tmp_path: Path) -> None:
    """One cohort of 10 among 40, 60 and 80: the smallest shown one goes with it, and no total tells either."""
    sizes = {"2024-01-05": 60, "2024-04-05": 10, "2024-07-05": 40, "2024-10-05": 80}
    joined = np.repeat(list(sizes), list(sizes.values()))
    customers = pd.DataFrame({"customer_id": np.arange(len(joined)), "joined_on": joined})
    result = found(company(tmp_path / "small", customers, steady(customers, months=12), REPURCHASE))
    cells = result.tidy()
    hidden = cells[cells["suppressed"]]
    assert sorted(hidden["cohort"].unique()) == ["2024Q2", "2024Q3"]
    assert hidden[["customers", "estimate", "std_error", "conf_low", "conf_high"]].isna().all(axis=None)
    assert result.sizes.loc[result.sizes["suppressed"], "customers"].isna().all()
    row = result.glance().iloc[0]
    assert (row["cohorts"], row["customers"], row["suppressed"]) == (2, 140, 2)
    assert list(result.triangle("retained").index) == ["2024Q1", "2024Q2", "2024Q3", "2024Q4"]
    assert result.triangle("retained").loc["2024Q2"].isna().all()


def test_an_odd_first_cohort_is_named(tmp_path: Path) -> None:
    """Joining as the first purchase in an export: its first cohort holds older customers."""
    joined = np.repeat(["2024-01-05", "2024-04-05", "2024-07-05", "2024-10-05"], [300, 50, 60, 70])
    customers = pd.DataFrame({"customer_id": np.arange(len(joined)), "joined_on": joined})
    checks = found(company(tmp_path / "odd", customers, steady(customers, months=12), REPURCHASE)).checks()
    row = checks.set_index("name").loc["first cohort is of new customers"]
    assert row["verdict"] == "warn"
    assert row["number"] == pytest.approx(5.0)


# Intervals


def test_intervals_cover(tmp_path: Path) -> None:
    """120 cohorts of 150 customers, each kept with .8 and spending 100 · exponential with .6: 95 % hold the truth.

    Bounds: 95 % less 4 standard errors of 120 cohorts.
    """
    generator, cohort_count, size = np.random.default_rng(3), 120, 150
    first = periods.index("2010-01", "month")
    cohort = np.repeat(np.arange(cohort_count), size)
    starts = np.array([periods.start(first + k, "month") for k in range(cohort_count + 1)], dtype="datetime64[D]")
    left_on = pd.Series(pd.to_datetime(starts[cohort + 1] + 3)).where(generator.random(len(cohort)) > 0.8)
    customers = pd.DataFrame({"customer_id": np.arange(len(cohort)), "joined_on": starts[cohort], "left_on": left_on})
    bought = generator.random(len(cohort)) < 0.6
    margin = np.round(100 * generator.exponential(size=int(bought.sum())), 4)
    orders = pd.DataFrame(
        {
            "customer_id": customers["customer_id"][bought].to_numpy(),
            "occurred_at": pd.to_datetime(starts[cohort[bought]]),
            "amount": margin + 1.0,
            "margin": margin,
        }
    )
    ending = pd.DataFrame(
        {"customer_id": [0], "occurred_at": [pd.Timestamp("2020-01-31")], "amount": 1.0, "margin": 0.0}
    )
    tables = company(tmp_path / "many", customers, pd.concat([orders, ending]))
    cells = found(tables, "month").tidy()
    for measure, truth in (("retained", 0.8), ("cumulative_margin", 60.0)):
        own = cells[(cells["measure"] == measure) & (cells["age"] == 1) & ~cells["suppressed"]]
        inside = (own["conf_low"] <= truth) & (truth <= own["conf_high"])
        assert len(own) >= 119
        assert 0.87 <= inside.mean() <= 1.0
        bias = (own["estimate"] - truth).mean() / (own["std_error"].mean() / np.sqrt(len(own)))
        assert abs(bias) < 4  # standard errors of the mean over cohorts
