"""Everything behind a headline, gathered: rows agree with the estimates, checks have verdicts, nothing where there is no figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from cxroi.evidence.findings import MEASURES, ROW_COLUMNS, Findings
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import Estimates, estimate, estimates_table
from cxroi.value.estimates import COLUMNS

ESTIMANDS = {
    "robustness_value",
    "robustness_value_interval",
    "e_value",
    "e_value_limit",
    "ame_tilt",
    "ame_below",
    "ame_above",
    "ame",
    "specification_median",
}


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    folder = tmp_path_factory.mktemp("findings") / "clean"
    simulate(folder, world="clean", customers=2_500, seed=31)
    return build_panel(read_tables(folder))


@pytest.fixture(scope="module")
def estimates(panel: Panel) -> Estimates:
    return estimate(replace(panel, metrics=("nps",)), draws=40)


@pytest.fixture(scope="module")
def found(estimates: Estimates) -> Findings:
    return estimates.findings["nps"]


def test_rows_stand_beside_the_estimates(estimates: Estimates, found: Findings) -> None:
    own, everything = estimates.tidy(), estimates.with_evidence()
    assert tuple(everything.columns) == COLUMNS
    assert set(COLUMNS) - set(ROW_COLUMNS) == {"headline"}
    pd.testing.assert_frame_equal(everything.head(len(own)), own, check_dtype=False)
    beside = everything.iloc[len(own) :]
    assert not beside["headline"].any()
    assert set(beside["estimand"]) == ESTIMANDS
    assert set(beside["outcome"]) == {"retained", "orders", "margin", "referrals", "service_cost"}
    further = beside[beside["outcome"].isin(["referrals", "service_cost"])]
    assert set(further["estimand"]) == set(MEASURES)  # nothing that would widen the families of the others
    assert everything["headline"].sum() == own["headline"].sum()


def test_rows_agree_with_the_headline(estimates: Estimates, found: Findings) -> None:
    headline = estimates.glance().set_index("outcome")["estimate"]
    rows = found.tidy()
    for outcome in ("retained", "orders", "margin"):
        own = rows[rows["outcome"] == outcome].set_index("estimand")
        # without any supposed selection the figure is the headline itself
        assert own.loc["ame_tilt", "estimate"] == pytest.approx(headline[outcome], rel=1e-6)
        rounding = 1e-9 * abs(headline[outcome])  # the table has ten digits
        assert own.loc["ame_tilt", "conf_low"] - rounding <= headline[outcome]
        assert headline[outcome] <= own.loc["ame_tilt", "conf_high"] + rounding
        cells = own.loc[["ame"]]
        assert cells["segment"].str.contains("=").all()
        assert (cells["conf_low"] < cells["estimate"]).all()
        assert 0 <= own.loc["robustness_value_interval", "estimate"] <= own.loc["robustness_value", "estimate"] <= 1
        assert 1 <= own.loc["e_value_limit", "estimate"] <= own.loc["e_value", "estimate"]


def test_checks_have_verdicts_and_advice(found: Findings) -> None:
    checks = found.checks()
    assert list(checks.columns) == ["outcome", "exposure", "name", "verdict", "number", "advice"]
    assert set(checks["verdict"]) <= {"pass", "warn", "fail"}
    assert (checks["advice"].str.len() > 10).all()
    assert set(checks["exposure"]) == {"nps"}
    assert {"unseen confounder", "e-value"} <= set(checks["name"])


def test_written_file_holds_all_rows(estimates: Estimates, tmp_path: Path) -> None:
    estimates.to_csv(str(tmp_path / "estimates.csv"))
    written = pd.read_csv(tmp_path / "estimates.csv")
    assert len(written) == len(estimates.with_evidence())
    assert set(written["headline"]) == {True, False}


def test_one_score_at_a_time_gives_the_same_rows(estimates: Estimates) -> None:
    pd.testing.assert_frame_equal(
        estimates_table(estimates.panel, draws=40), estimate(estimates.panel, draws=40).with_evidence()
    )


def test_nothing_is_said_where_there_is_no_figure(panel: Panel) -> None:
    few = panel.rows[panel.rows["customer"] < panel.rows["customer"].unique()[30]].reset_index(drop=True)
    none = estimate(replace(panel, rows=few, metrics=("nps",)), draws=40)
    assert none.findings["nps"].tidy().empty
    assert none.findings["nps"].checks().empty
    pd.testing.assert_frame_equal(none.with_evidence(), none.tidy())


@pytest.mark.parametrize("customers", [60, 120, 300])
def test_small_companies_keep_their_estimates(tmp_path: Path, customers: int) -> None:
    simulate(tmp_path / "small", world="clean", customers=customers, seed=1)
    small = estimate(build_panel(read_tables(tmp_path / "small")), draws=40)
    assert len(small.with_evidence()) >= len(small.tidy())
    assert set(small.findings) == set(small.linkages)
