"""Forecasts of the next quarters: identities with the value they come from, scores by hand, and cohorts counted twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxroi import periods
from cxroi.panel import Panel, build_panel, followed
from cxroi.simulate import simulate
from cxroi.tables import Tables, read_tables
from cxroi.value import CustomerValue, lifetime_value
from cxroi.value.outlook import FORECAST_COLUMNS, LEVELS, POINTS, crps, outlook, realised, record, scored
from cxroi.value.season import season


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("outlook") / "clean"
    simulate(folder, world="clean", customers=1_200, seed=4, quarters=10)
    return read_tables(folder)


@pytest.fixture(scope="module")
def panel(tables: Tables) -> Panel:
    return build_panel(tables)


@pytest.fixture(scope="module")
def value(tables: Tables, panel: Panel) -> CustomerValue:
    """Value four quarters before the data end."""
    earlier = build_panel(tables, last_period=periods.label(panel.last_period - 4))
    return lifetime_value(earlier, exposure="nps", horizon_quarters=4, annual_discount_rate=0.1, seed=3, draws=200)


@pytest.fixture(scope="module")
def scores(value: CustomerValue) -> pd.DataFrame:
    label = periods.label(value.panel.last_period)
    return pd.DataFrame({"period": [label], "estimate": [20.0], "std_error": [3.0]})


def test_one_quarter_ahead_cohorts_are_the_base_of_the_panel(tables: Tables, panel: Panel) -> None:
    cohorts = followed(tables, panel)
    base = panel.base[panel.base["level"] == ""]
    for column in ("retained", "orders", "margin"):
        own = base[base["column"] == column].set_index("period")
        ahead = cohorts[(cohorts["ahead"] == 1) & cohorts["period"].isin(own.index)].set_index("period")
        assert len(ahead) >= 6
        np.testing.assert_allclose(ahead[column], own["mean"].reindex(ahead.index), rtol=1e-11)
        assert (ahead["n"] == own["n"].reindex(ahead.index)).all()


def test_cohorts_are_counted_as_by_hand(tables: Tables, panel: Panel) -> None:
    """Two quarters ahead, with pandas over the raw tables."""
    origin = panel.last_period - 3
    customers = tables.customers.select("customer_id", "joined_on", "left_on").collect("pandas").to_native()
    bought = tables.transactions.select("customer_id", "occurred_at", "margin").collect("pandas").to_native()  # type: ignore[union-attr]
    quarter = lambda dates: dates.dt.year * 4 + dates.dt.quarter - 1  # noqa: E731
    left = quarter(customers["left_on"]).fillna(10**6)
    at_risk = customers[(quarter(customers["joined_on"]) <= origin) & (left > origin)]
    still = set(at_risk.loc[left[at_risk.index] > origin + 2, "customer_id"])
    margin = bought[(quarter(bought["occurred_at"]) == origin + 2) & bought["customer_id"].isin(still)]["margin"].sum()
    cohorts = followed(tables, panel)
    own = cohorts[(cohorts["period"] == origin) & (cohorts["ahead"] == 2)].iloc[0]
    assert own["n"] == len(at_risk)
    assert own["retained"] == pytest.approx(len(still) / len(at_risk), rel=1e-11)
    assert own["margin"] == pytest.approx(
        margin / len(at_risk), rel=1e-6
    )  # margins of customers are rounded to 4 digits


def test_without_a_contract_only_the_next_period_is_told(tables: Tables, panel: Panel) -> None:
    bought = replace(tables, config=tables.config.model_copy(update={"retention": None}))
    assert set(followed(bought, panel)["ahead"]) == {1}


def test_the_forecast_is_the_value_s_own_path(value: CustomerValue, scores: pd.DataFrame) -> None:
    found = outlook(value, scores=scores).set_index(["measure", "quarters_ahead"])
    path = value.path()
    for at in range(1, 5):
        row = path.iloc[at - 1]
        assert found.loc[("retained", at), "expected"] == pytest.approx(row["survival"], rel=1e-12)
        assert found.loc[("margin", at), "expected"] == pytest.approx(row["margin"], rel=1e-12)
        total = found.loc[("margin_total", at), "expected"]
        assert total == pytest.approx(value.customers * row["margin"], rel=1e-12)
        assert found.loc[("nps", at), "expected"] == 20.0
    assert found["quarter"].loc["retained"].tolist() == [
        periods.label(value.panel.last_period + ahead) for ahead in range(1, 5)
    ]


def test_orders_and_margin_follow_the_season(tables: Tables, panel: Panel) -> None:
    """The forecast is the value's own path times the season of each quarter, and its draws hold the season's error."""
    value = lifetime_value(panel, exposure="nps", horizon_quarters=4, annual_discount_rate=0.1, seed=3, draws=200)
    of_year, path = season(panel), value.forward(4)
    assert np.abs(of_year.orders).max() > 0.01  # ten quarters show one
    found = outlook(value).set_index(["measure", "quarters_ahead"])
    for at in range(1, 5):
        quarter = (panel.last_period + at) % 4
        assert found.loc[("retained", at), "expected"] == pytest.approx(path.survival[0, at - 1], rel=1e-12)
        for measure, own, log in (("orders", path.orders, of_year.orders), ("margin", path.baseline, of_year.margin)):
            expected = own[0, at - 1] * np.exp(log[quarter])
            assert found.loc[(measure, at), "expected"] == pytest.approx(expected, rel=1e-12)


def test_ranges_hold_the_chance_in_so_many_customers(value: CustomerValue, scores: pd.DataFrame) -> None:
    """The variance of the forecast share is that of the draws plus p(1 - p) / n, within the error of 200 draws."""
    few = replace(value, panel=replace(value.panel, active=value.panel.active.head(30)))
    draws = few.forward(4).survival[1:, 0]
    for each, size in ((value, value.customers), (few, 30)):
        found = outlook(each, scores=scores)
        share = found[(found["measure"] == "retained") & (found["quarters_ahead"] == 1)].iloc[0]
        kept = float(share["expected"])
        expected = float(draws.var() + kept * (1 - kept) / size)
        assert share[list(POINTS)].astype(float).std() ** 2 == pytest.approx(
            expected, rel=0.35
        )  # 3 errors of a variance
    assert expected > 2 * float(draws.var())  # of thirty customers chance is the greater part
    carried = found[found["measure"] == "nps"].iloc[0]
    width = stats.norm.ppf(0.95) * 3.0 * np.sqrt(2)  # both measurements err
    assert carried["low"] == pytest.approx(20 - width, abs=0.15)  # 20,000 draws
    assert carried["high"] == pytest.approx(20 + width, abs=0.15)


def test_same_seed_same_forecast(value: CustomerValue, scores: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(outlook(value, scores=scores), outlook(replace(value), scores=scores))


def test_crps_is_that_of_the_normal_distribution() -> None:
    """Closed form of Gneiting & Raftery (2007), eq. 21; twenty points leave less than 2 % of the scale."""
    points = stats.norm.ppf(LEVELS)
    for y in (-2.0, 0.0, 0.4, 3.0):
        closed = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
        assert crps(points, y) == pytest.approx(closed, abs=0.02)
    dense = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    assert crps(dense, 0.4) == pytest.approx(
        0.4 * (2 * stats.norm.cdf(0.4) - 1) + 2 * stats.norm.pdf(0.4) - 1 / np.sqrt(np.pi), abs=1e-4
    )


def hand_forecast(**cells: object) -> pd.DataFrame:
    points = dict.fromkeys(POINTS, 0.9)
    row = {"measure": "retained", "made_at": "2026Q1", "quarter": "2026Q2", "quarters_ahead": 1, "expected": 0.9}
    row |= {"low": 0.85, "median": 0.9, "high": 0.95, "unit": "share", "customers": 100}
    return pd.DataFrame([row | points | cells], columns=list(FORECAST_COLUMNS))


def hand_actual(**cells: object) -> pd.DataFrame:
    row = {"measure": "retained", "made_at": "2026Q1", "quarter": "2026Q2", "quarters_ahead": 1}
    return pd.DataFrame([row | {"actual": 0.8, "unit": "share", "customers": 95} | cells])


def test_scoring_by_hand() -> None:
    found = scored(hand_forecast(), hand_actual())
    assert found["covered"].tolist() == [False]
    assert found["error"].iloc[0] == pytest.approx(-0.1)
    assert found["crps"].iloc[0] == pytest.approx(0.1)  # a certain forecast has its absolute error
    both = pd.concat([found, scored(hand_forecast(), hand_actual(actual=0.94))])
    summary = record(both).iloc[0]
    assert (summary["forecasts"], summary["covered"]) == (2, 0.5)
    assert summary["bias"] == pytest.approx(-0.03)
    assert summary["mean_absolute_error"] == pytest.approx(0.07)


def test_cohorts_of_a_few_customers_are_not_told(tables: Tables, panel: Panel) -> None:
    few = followed(tables, panel).assign(n=4)
    assert not realised(tables, panel).empty
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cxroi.value.outlook.followed", lambda *_, **__: few)
        assert realised(tables, panel).empty


def test_another_company_or_quarter_is_not_scored() -> None:
    assert scored(hand_forecast(), hand_actual(customers=200)).empty
    assert scored(hand_forecast(), hand_actual(made_at="2025Q4")).empty
    assert record(scored(hand_forecast(), hand_actual(customers=200))).empty


def test_forecasts_of_a_simulated_company_meet_what_came(
    tables: Tables, panel: Panel, value: CustomerValue, scores: pd.DataFrame
) -> None:
    """In a world without shocks what comes lies near the forecast: within twice its 90 % half-width each time."""
    found = scored(outlook(value, scores=scores), realised(tables, panel))
    assert len(found) == 16
    half = (found["high"] - found["low"]) / 2
    assert ((found["actual"] - found["expected"]).abs() < 2 * half).all()
    assert found["covered"].mean() > 0.6
