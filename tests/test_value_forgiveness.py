"""Forgiveness: simulated truth, expected satisfaction against the real one, identities, honesty about few failures."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate, world_named
from cxroi.simulate.process import LAST_QUARTER, draw_customers, failure_shift, staying_probability, walk
from cxroi.tables import Tables, read_tables
from cxroi.value.forgiveness import (
    AFTER,
    DIFFERENCE,
    WITHOUT,
    Forgiveness,
    certain_equivalent,
    design_columns,
    expected_satisfaction,
    forgiveness,
)
from cxroi.value.service import customer_quarters

CUSTOMERS, SEED = 5_000, 31


class Company:
    def __init__(self, folder: Path, world: str, customers: int) -> None:
        simulate(folder, world=world, customers=customers, seed=SEED)
        self.tables: Tables = read_tables(folder)
        self.panel: Panel = build_panel(self.tables)

    @cached_property
    def loaded(self) -> Tables:
        return self.tables.collect()

    def found(self) -> Forgiveness:
        result = forgiveness(self.tables, self.panel, "nps")
        assert isinstance(result, Forgiveness), result
        return result


@pytest.fixture(scope="module")
def forgiving(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("forgiveness") / "forgiving", "forgiving", CUSTOMERS)


@pytest.fixture(scope="module")
def result(forgiving: Company) -> Forgiveness:
    return forgiving.found()


def true_quarters(customers: int) -> pd.DataFrame:
    """Satisfaction and true hazards of every active customer-quarter of the simulated company; customers are numbered as in it."""
    world = world_named("forgiving")
    rng = np.random.default_rng([SEED, 0, 0])
    people = draw_customers(world, rng, size=customers, quarters=8, orders_per_quarter=2.0)
    parts = []
    for quarter in walk(world, people, rng, quarters=8):
        some, score = people.pick(quarter.active), quarter.score[quarter.active]
        after = staying_probability(world, some, score, quarter.t + 1, shift=failure_shift(world, score))
        without = staying_probability(world, some, score, quarter.t + 1)
        columns = {"customer": np.flatnonzero(quarter.active), "period": quarter.t, "satisfaction": score}
        parts.append(pd.DataFrame(columns | {WITHOUT: 1 - without, AFTER: 1 - after}))
    return pd.concat(parts, ignore_index=True)


def test_the_simulated_terms_lie_within_four_errors(result: Forgiveness) -> None:
    world = world_named("forgiving")
    at_mean = world.failed_on_staying + world.forgiveness_per_point * (result.mean_satisfaction - world.score_mean)
    wanted = {"failed touch": at_mean, "satisfaction": world.staying_per_point}
    wanted["forgiveness"] = world.forgiveness_per_point
    terms = result.terms.set_index("term")
    for term, value in wanted.items():
        assert abs(terms.loc[term, "estimate"] - value) < 4 * terms.loc[term, "std_error"], term
    assert terms.loc["forgiveness", "conf_low"] > 0
    assert terms.loc["failed touch", "conf_high"] < -0.5
    assert result.checks().set_index("name").loc["forgiveness told apart from none", "verdict"] == "pass"


def test_hazards_are_those_of_the_same_customers(forgiving: Company, result: Forgiveness) -> None:
    rows = customer_quarters(forgiving.tables, forgiving.panel, "nps").rows
    used = rows[rows["last_score"].notna() & rows["retained"].notna()]
    assert len(used) == result.glance()["customer_quarters"].iloc[0]
    truth = used.merge(true_quarters(CUSTOMERS), on=["customer", "period"], how="left")
    assert truth["satisfaction"].notna().all()
    truth = truth.assign(
        band=pd.cut(truth["last_score"], [-1, 6.5, 8.5, 10], labels=["detractor", "passive", "promoter"])
    )
    shown = result.hazards.set_index(["band", "case"])
    for band, own in [("all", truth), *truth.groupby("band", observed=True)]:
        for case in (WITHOUT, AFTER):
            row = shown.loc[(band, case)]
            assert abs(row["estimate"] - own[case].mean()) < 4 * row["std_error"], (band, case)
    gap = shown.xs(DIFFERENCE, level="case")["estimate"]
    assert gap["detractor"] > 1.5 * gap["promoter"] > 0


def test_bands_average_to_all_and_differences_are_differences(result: Forgiveness) -> None:
    shown = result.hazards.set_index(["case", "band"])
    quarters = shown.loc[WITHOUT, "customer_quarters"] + shown.loc[AFTER, "customer_quarters"]
    bands = ["detractor", "passive", "promoter"]
    for case in (WITHOUT, AFTER, DIFFERENCE):
        own = shown.loc[case, "estimate"]
        mean = np.average(own[bands], weights=quarters[bands].astype(float))
        assert mean == pytest.approx(own["all"], rel=1e-12)
    gap = shown.loc[AFTER, "estimate"] - shown.loc[WITHOUT, "estimate"]
    assert gap.to_numpy() == pytest.approx(shown.loc[DIFFERENCE, "estimate"].to_numpy(), rel=1e-12)
    row = result.glance().iloc[0]
    assert row["failed_quarters"] == shown.loc[(AFTER, "all"), "customer_quarters"]
    assert row["left_after_failed"] == shown.loc[(AFTER, "all"), "left"]


def test_expected_satisfaction_is_right_on_average(forgiving: Company) -> None:
    looked = customer_quarters(forgiving.tables, forgiving.panel, "nps")
    rows = looked.rows[looked.rows["last_score"].notna()].reset_index(drop=True)
    known = expected_satisfaction(looked, rows, design_columns(rows, forgiving.panel.controls), "nps")
    assert known is not None
    truth = rows.merge(true_quarters(CUSTOMERS), on=["customer", "period"], how="left")["satisfaction"].to_numpy()
    slope = np.polyfit(known.mean, truth, 1)[0]
    # Clipping at 10 makes answers of the most satisfied a little too low.
    assert slope == pytest.approx(1.0, abs=0.05)
    # The share that lasts a quarter is itself estimated: 0.74 to 0.81 in place of 0.7 in three companies.
    assert np.mean((truth - known.mean) ** 2) == pytest.approx(known.variance.mean(), rel=0.2)
    stale = (rows["score"].isna()).to_numpy()
    assert known.variance[stale].mean() > 2 * known.variance[~stale].mean()


@pytest.mark.parametrize("slope", [0.2, 0.5])
def test_a_certain_satisfaction_stands_for_an_uncertain_one(slope: float) -> None:
    mean, variance, constant = 0.3, 1.2, 2.5
    exact, _ = integrate.quad(
        lambda s: special.expit(constant + slope * s) * stats.norm.pdf(s, mean, np.sqrt(variance)), -9, 9
    )
    naive = special.expit(constant + slope * mean)
    certain = certain_equivalent(np.array([mean]), np.array([variance]), np.array([slope]), np.array([naive]))
    found = special.expit(constant + slope * certain[0])
    assert abs(found - exact) < 0.1 * abs(naive - exact)


def changed(company: Company, change: Any) -> Tables:
    loaded = company.loaded
    assert loaded.touches is not None
    return replace(loaded, touches=nw.from_native(change(loaded.touches.collect().to_native())).lazy())


def test_failures_that_have_nothing_to_do_with_leaving_show_nothing(forgiving: Company) -> None:
    rng = np.random.default_rng(2)

    def shuffled(touches: pd.DataFrame) -> pd.DataFrame:
        return touches.assign(failed=rng.permutation(touches["failed"].to_numpy()))

    result = forgiveness(changed(forgiving, shuffled), forgiving.panel, "nps")
    assert isinstance(result, Forgiveness)
    terms = result.terms.set_index("term")
    for term in ("failed touch", "forgiveness"):
        assert abs(terms.loc[term, "estimate"]) < 4 * terms.loc[term, "std_error"]
    assert terms.loc["failed touch", "std_error"] < 0.2


def test_failures_that_are_not_known_are_left_out_and_counted(forgiving: Company, result: Forgiveness) -> None:
    rng = np.random.default_rng(4)

    def blank(touches: pd.DataFrame) -> pd.DataFrame:
        return touches.assign(failed=touches["failed"].where(rng.random(len(touches)) > 0.2))

    partly = forgiveness(changed(forgiving, blank), forgiving.panel, "nps")
    assert isinstance(partly, Forgiveness)
    for one in (partly, result):
        steps = one.accounting.set_index("reason")["customer_quarters"]
        assert steps.drop("used").sum() == steps["used"]
    lost = partly.accounting.set_index("reason").loc["not known whether a touch failed", "customer_quarters"]
    assert lost < -0.05 * result.glance()["customer_quarters"].iloc[0]


def test_both_engines_agree(forgiving: Company, result: Forgiveness) -> None:
    other = forgiveness(forgiving.loaded, forgiving.panel, "nps")
    assert isinstance(other, Forgiveness)
    # Means of answers are summed in another order.
    pd.testing.assert_frame_equal(other.terms, result.terms, rtol=1e-6)
    pd.testing.assert_frame_equal(other.hazards, result.hazards, rtol=1e-6)


def test_few_failures_are_said(tmp_path: Path, forgiving: Company) -> None:
    small = Company(tmp_path / "small", "forgiving", 250)
    reason = forgiveness(small.tables, small.panel, "nps")
    assert "at least 10 of each are needed" in str(reason)

    def rare(touches: pd.DataFrame) -> pd.DataFrame:
        keep = np.arange(len(touches)) % 8 == 0
        return touches.assign(failed=touches["failed"] & keep)

    result = forgiveness(changed(forgiving, rare), forgiving.panel, "nps")
    assert isinstance(result, Forgiveness)
    assert result.checks().set_index("name").loc["leavers after a failed touch", "verdict"] == "warn"
    promoters = result.hazards[result.hazards["band"] == "promoter"]
    assert promoters["suppressed"].all()
    assert promoters[["estimate", "conf_low", "conf_high"]].isna().all().all()
    assert promoters["left"].isna().all()


def test_reasons(forgiving: Company) -> None:
    tables, panel = forgiving.tables, forgiving.panel
    assert tables.touches is not None
    assert forgiveness(replace(tables, touches=None), panel, "nps") == "the data have no touches table"
    bare = replace(tables, touches=tables.touches.drop("failed"))
    assert "add touches.failed" in str(forgiveness(bare, panel, "nps"))
    assert "retention rule" in str(forgiveness(tables, replace(panel, retention=""), "nps"))


def test_the_last_quarter_is_not_used(forgiving: Company) -> None:
    rows = customer_quarters(forgiving.tables, forgiving.panel, "nps").rows
    assert rows.loc[rows["retained"].notna(), "period"].max() == LAST_QUARTER - 1
