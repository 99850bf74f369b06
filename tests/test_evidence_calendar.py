"""The calendar of events: slopes with and without an event against separate cells, planted differences, nothing where there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from cxroi import periods
from cxroi.evidence.calendar import NO_CALENDAR, NO_CONTRAST, NONE, TOO_FEW, ByEvent, by_event
from cxroi.evidence.segments import segment_linkages
from cxroi.linkage import Linkage, fit_linkage, standard_linkages
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import estimate

TET, SALE = "Tết", "sale"


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """A company of eight quarters, 2024Q4 to 2026Q3, with Tết in two of the outcome quarters and a sale in one of the others."""
    folder: Path = tmp_path_factory.mktemp("calendar") / "clean"
    simulate(folder, world="clean", customers=4_000, seed=12)
    found = build_panel(read_tables(folder))
    assert set(found.events["event"]) == {TET}
    sale = pd.DataFrame({"period": [periods.index("2025Q4")], "event": [SALE], "days": [61]})
    return replace(found, events=pd.concat([found.events, sale], ignore_index=True))


def linkages(panel: Panel, *outcomes: str) -> list[Linkage]:
    found = standard_linkages(panel, "nps", methods=("adjusted",))
    return [linkage for (outcome, _), linkage in found.items() if outcome in outcomes and isinstance(linkage, Linkage)]


def found(panel: Panel, *outcomes: str) -> ByEvent:
    result = by_event(panel, linkages(panel, *(outcomes or ("retained", "orders", "margin"))))
    assert isinstance(result, ByEvent)
    return result


def row(result: ByEvent, outcome: str, event: str) -> pd.Series:
    cells = result.cells
    (one,) = (each for _, each in cells[(cells["outcome"] == outcome) & (cells["event"] == event)].iterrows())
    return one


def with_orders(panel: Panel, orders: np.ndarray) -> Panel:
    return replace(panel, rows=panel.rows.assign(orders=orders))


def test_every_outcome_has_every_event_and_none(panel: Panel) -> None:
    cells = found(panel).cells
    assert list(cells["outcome"].unique()) == ["retained", "orders", "margin"]
    for _, own in cells.groupby("outcome"):
        assert sorted(own["event"]) == sorted([SALE, TET, NONE])
        assert dict(zip(own["event"], own["periods"], strict=True)) == {SALE: 1, TET: 2, NONE: 4}
    assert cells.loc[cells["event"] == NONE, "difference"].isna().all()
    assert cells.loc[cells["event"] != NONE, ["difference", "q_value"]].notna().all(axis=None)


def test_figures_are_those_of_two_segments(panel: Panel) -> None:
    """Periods with Tết and without it, put to the segments' own machinery."""
    fitted = linkages(panel, "orders")
    own = row(found(panel, "orders"), "orders", TET)
    rows = panel.answered("nps")
    festive = (rows["period"] + 1) % 4 == 0
    marked = rows.assign(festive=pd.Categorical(np.where(festive, "yes", "no")))
    reference = segment_linkages(replace(panel, rows=marked, segments=("festive",)), fitted)
    yes, no = (reference.cells.set_index("level").loc[level] for level in ("yes", "no"))
    assert own["estimate"] == pytest.approx(yes["estimate"], rel=1e-9)
    assert own["difference"] == pytest.approx(yes["estimate"] - no["estimate"], rel=1e-9)
    error = (own["difference_high"] - own["difference_low"]) / (2 * special.ndtri(0.975))
    assert 2 * special.ndtr(-abs(own["difference"]) / error) == pytest.approx(own["p_value"], rel=1e-6)


def test_mean_over_events_is_the_headline(panel: Panel) -> None:
    """Three figures, weighted by their answers, give that of all periods (rounding of the slopes' averages apart)."""
    fitted = linkages(panel, "retained")
    cells = found(panel, "retained").cells
    weighted = float(np.average(cells["estimate"], weights=cells["n_obs"]))
    assert weighted == pytest.approx(fitted[0].effect.estimate, abs=0.5 * fitted[0].std_error)


def test_a_relation_that_is_gone_at_events_is_found(panel: Panel) -> None:
    """Orders shuffled among the customers of each quarter with Tết: nothing is left of the slope there, all of it elsewhere."""
    rows, generator = panel.rows, np.random.default_rng(2)
    slope = 0.25 * (rows["nps"] - rows["nps"].mean()).fillna(0).to_numpy()
    orders = generator.poisson(np.exp(0.7 + slope)) * rows["retained"].to_numpy()
    festive = ((rows["period"] + 1) % 4 == 0).to_numpy()
    orders[festive] = generator.poisson(2.0, festive.sum()) * rows["retained"].to_numpy()[festive]
    result = found(with_orders(panel, orders), "orders")
    tet, none = row(result, "orders", TET), row(result, "orders", NONE)
    assert abs(tet["estimate"]) < 4 * tet["std_error"]
    assert none["conf_low"] > 0.3
    assert tet["q_value"] < 1e-3
    assert tet["difference_high"] < 0
    checks = result.checks().set_index("name")
    assert checks.loc["same with and without events", "verdict"] == "warn"
    assert TET in checks.loc["same with and without events", "advice"]
    assert checks.loc["sign without events", "verdict"] == "pass"


def test_a_figure_that_rests_on_events_is_said(panel: Panel) -> None:
    """A steep slope at events and a slight one the other way elsewhere."""
    rows, generator = panel.rows, np.random.default_rng(3)
    festive = np.isin((rows["period"] + 1).to_numpy(), panel.events["period"].to_numpy())
    slope = np.where(festive, 0.5, -0.05) * (rows["nps"] - rows["nps"].mean()).fillna(0).to_numpy()
    orders = generator.poisson(np.exp(0.5 + slope)) * rows["retained"].to_numpy()
    result = found(with_orders(panel, orders), "orders")
    assert result.glance()["estimate"].iloc[0] > 0 > result.glance()["without"].iloc[0]
    check = result.checks().set_index("name").loc["sign without events"]
    assert check["verdict"] == "warn"
    assert "rests on those periods" in check["advice"]


def test_nothing_is_found_where_the_relation_is_the_same(panel: Panel) -> None:
    """Orders with one slope throughout, 20 draws: the difference is called in 5 % (at most 4 of 20, 3 errors), centred on 0."""
    rows, generator = panel.rows, np.random.default_rng(4)
    slope = 0.1 * (rows["nps"] - rows["nps"].mean()).fillna(0).to_numpy()
    called, scaled = 0, []
    alone = replace(panel, events=panel.events[panel.events["event"] == TET], controls=(), history=("log_tenure",))
    for _ in range(20):
        orders = generator.poisson(np.exp(0.7 + slope)) * rows["retained"].to_numpy()
        equation = fit_linkage(with_orders(alone, orders), "orders ~ nps + log_tenure + period_label", weights="none")
        result = by_event(equation.panel, [equation])
        assert isinstance(result, ByEvent)
        own = row(result, "orders", TET)
        called += own["q_value"] < 0.05
        scaled.append(2 * special.ndtri(0.975) * own["difference"] / (own["difference_high"] - own["difference_low"]))
    assert called <= 4
    assert abs(np.mean(scaled)) < 3.5 / np.sqrt(20)
    assert np.std(scaled) == pytest.approx(1.0, abs=0.5)


def test_rows_stand_in_the_estimates(panel: Panel) -> None:
    estimates = estimate(replace(panel, metrics=("nps",)), draws=20)
    rows = estimates.with_evidence()
    own = rows[rows["segment"].str.startswith("calendar=")]
    assert set(own["segment"]) == {f"calendar={event}" for event in (TET, SALE, NONE)}
    assert set(own["estimand"]) == {"ame"}
    assert set(own["outcome"]) == {"retained", "orders", "margin"}
    assert not own["headline"].any()
    checks = estimates.findings["nps"].checks()
    assert set(checks.loc[checks["name"] == "sign without events", "outcome"]) == {"retained", "orders", "margin"}


def test_reasons_in_place_of_figures(panel: Panel) -> None:
    fitted = linkages(panel, "orders")
    assert by_event(replace(panel, events=panel.events.iloc[:0]), fitted) == NO_CALENDAR
    assert by_event(panel, []) == TOO_FEW
    everywhere = pd.DataFrame({"period": range(8000, 8200), "event": TET, "days": 9})
    assert by_event(replace(panel, events=everywhere), fitted) == NO_CONTRAST
    elsewhere = everywhere.head(3)
    assert by_event(replace(panel, events=elsewhere), fitted) == NO_CONTRAST
    few = panel.rows[panel.rows["customer"] < panel.rows["customer"].unique()[70]].reset_index(drop=True)
    small = replace(panel, rows=few, controls=(), history=("log_tenure",))
    assert by_event(small, linkages(small, "orders")) == TOO_FEW
