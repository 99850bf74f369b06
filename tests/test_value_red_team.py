"""Red team: each shortcut by itself on companies whose truth is known, and by hand on figures small enough to check."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cxroi as cx
from cxroi.simulate import simulate
from cxroi.value import CustomerValue
from cxroi.value.red_team import ALWAYS_HIGHER, SHORTCUTS, RedTeam, red_team, red_team_checks

HORIZON_QUARTERS, RATE = 12, 0.12


def company(folder: Path, world: str) -> tuple[CustomerValue, float]:
    """Value of a simulated company with 3,000 customers, and the true value of one point of NPS."""
    truth = json.loads(Path(simulate(folder, world=world, customers=8000, seed=1)).read_text(encoding="utf-8"))
    true = next(
        each["estimate"]
        for each in truth["effects"]
        if (each["outcome"], each["exposure"], each["estimand"]) == ("ltv", "nps", "ame")
    )
    return valued(folder), float(true)


def valued(folder: Path) -> CustomerValue:
    panel = cx.build_panel(cx.read_tables(folder))
    return cx.lifetime_value(panel, horizon_quarters=HORIZON_QUARTERS, annual_discount_rate=RATE, seed=20, draws=200)


def figures(found: RedTeam | str) -> pd.DataFrame:
    assert isinstance(found, RedTeam)
    return found.tidy().set_index("shortcut")


@pytest.fixture(scope="module")
def confounded(tmp_path_factory: pytest.TempPathFactory) -> tuple[CustomerValue, float]:
    return company(tmp_path_factory.mktemp("red") / "confounded", "confounded-seen")


@pytest.fixture(scope="module")
def attacked(confounded: tuple[CustomerValue, float]) -> pd.DataFrame:
    return figures(red_team(confounded[0]))


@pytest.fixture(scope="module")
def sample_value(sample: Path) -> CustomerValue:
    return valued(sample)


@pytest.fixture(scope="module")
def of_sample(sample_value: CustomerValue) -> RedTeam:
    found = red_team(sample_value)
    assert isinstance(found, RedTeam)
    return found


def test_headline_holds_the_truth_where_the_gap_between_groups_does_not(
    confounded: tuple[CustomerValue, float], attacked: pd.DataFrame
) -> None:
    """Plan moves both score and outcome here, and it is recorded: the headline holds it fixed, the gap does not."""
    true = confounded[1]
    assert attacked.loc["headline", "low"] < true < attacked.loc["headline", "high"]
    assert attacked.loc["raw_gap", "low"] > true


@pytest.mark.parametrize("name", ["one_over_churn", "revenue", "together"])
def test_shortcut_is_above_the_truth_with_its_whole_range_or_far(
    confounded: tuple[CustomerValue, float], attacked: pd.DataFrame, name: str
) -> None:
    assert attacked.loc[name, "estimate"] > 2 * confounded[1]  # by 2.2 to 25 times


def test_shortcuts_that_are_too_high_by_their_arithmetic_are(attacked: pd.DataFrame) -> None:
    assert (attacked.loc[sorted(ALWAYS_HIGHER), "times"] > 1).all()
    assert attacked["times"]["together"] == attacked["times"].max()


def test_score_and_margin_of_one_period_find_a_relation_where_there_is_none(tmp_path: Path) -> None:
    """Orders move the score here and the score moves nothing: the truth is 0."""
    value, true = company(tmp_path / "reverse", "reverse")
    found = figures(red_team(value))
    assert true == 0
    assert found.loc["same_period", "low"] > 0
    assert found.loc["headline", "low"] < 0 < found.loc["headline", "high"]
    assert found["times"].isna().all()  # a ratio to a figure that may be 0 says nothing


def test_no_discounting_is_the_same_value_at_a_rate_of_zero(sample_value: CustomerValue, of_sample: RedTeam) -> None:
    found = figures(of_sample)
    without = replace(sample_value, annual_discount_rate=0.0)
    assert found.loc["no_discounting", "estimate"] == pytest.approx(without.point_draws()[0], rel=1e-12)
    same = figures(red_team(without))
    assert same.loc["no_discounting", "times"] == pytest.approx(1.0, rel=1e-12)


def test_revenue_is_the_headline_over_the_margin_rate(sample_value: CustomerValue, of_sample: RedTeam) -> None:
    base = sample_value.panel.base
    whole = base[base["level"] == ""]
    means = {
        name: np.average(whole[whole["column"] == name]["mean"], weights=whole[whole["column"] == name]["n"])
        for name in ("revenue", "margin")
    }
    found = figures(of_sample)
    assert found.loc["revenue", "times"] == pytest.approx(means["revenue"] / means["margin"], rel=1e-12)
    assert 3.0 < found.loc["revenue", "times"] < 3.3  # the sample's margin is about 32 % of revenue


def test_gap_between_groups_by_hand(sample_value: CustomerValue, of_sample: RedTeam) -> None:
    """The same sums as in the table, from plain means of plain rows."""
    rows = sample_value.panel.answered("nps").dropna(subset=["retained", "margin"])
    discount = (1 + RATE) ** (-np.arange(1, HORIZON_QUARTERS + 1) / 4)
    worth, answer = [], []
    for band in (rows[rows["nps"] > 8.5], rows[rows["nps"] <= 6.5]):
        kept, margin = band["retained"].mean(), band["margin"].mean()
        worth.append(sum(d * margin * kept**h for h, d in enumerate(discount)))
        answer.append(band["nps"].mean())
    by_hand = (worth[0] - worth[1]) / (answer[0] - answer[1])
    assert figures(of_sample).loc["raw_gap", "estimate"] == pytest.approx(by_hand, rel=1e-9)


def test_range_of_the_gap_is_that_of_customers_drawn_again(sample_value: CustomerValue, of_sample: RedTeam) -> None:
    """Delta method against 200 bootstraps of customers; their spread is known to within 5 %, so 15 % tells an error apart."""
    panel = sample_value.panel
    rows = panel.rows
    generator = np.random.default_rng(7)
    places = rows.groupby("customer").indices
    customers = np.array(list(places))
    again = []
    for _ in range(200):
        drawn = np.concatenate([places[each] for each in generator.choice(customers, len(customers))])
        again.append(_gap_of(replace(sample_value, panel=replace(panel, rows=rows.iloc[drawn]))))
    found = figures(of_sample).loc["raw_gap"]
    width = (found["high"] - found["low"]) / 2 / 1.6449
    assert width == pytest.approx(np.std(again), rel=0.15)


def _gap_of(value: CustomerValue) -> float:
    rows = value.panel.answered("nps").dropna(subset=["retained", "margin"])
    score, kept, margin = (rows[name].to_numpy(dtype=float) for name in ("nps", "retained", "margin"))
    ends = []
    for band in (score > 8.5, score <= 6.5):
        path = kept[band].mean() ** np.arange(value.horizon_quarters)
        ends.append((margin[band].mean() * float(value.discount @ path), score[band].mean()))
    return (ends[0][0] - ends[1][0]) / (ends[0][1] - ends[1][1])


def test_summed_counts_retention_twice(sample_value: CustomerValue, of_sample: RedTeam) -> None:
    response = sample_value.response(HORIZON_QUARTERS)
    kept = response.through_retention @ (sample_value.discount * np.arange(1, HORIZON_QUARTERS + 1))
    found = figures(of_sample)
    extra = found.loc["summed", "estimate"] - found.loc["headline", "estimate"]
    assert extra == pytest.approx(kept.mean(), rel=1e-9)
    assert extra > 0


def test_table_has_every_shortcut_after_the_headline(of_sample: RedTeam) -> None:
    table = of_sample.tidy()
    assert list(table["shortcut"]) == ["headline", *SHORTCUTS]
    assert (table["low"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["high"]).all()
    assert table["times"].iloc[0] == 1.0
    assert set(table["unit"]) == {"VND"}
    checks = red_team_checks(of_sample).set_index("name")
    assert checks.loc["together", "verdict"] == "fail"
    assert checks.loc["respondents_only", "verdict"] == "pass"
    assert of_sample.glance()["most_times"].iloc[0] == table["times"].max()


def test_shortcut_without_its_ground_says_why(sample_value: CustomerValue) -> None:
    panel = sample_value.panel
    stayed = replace(panel, rows=panel.rows.assign(retained=1.0))
    found = figures(red_team(replace(sample_value, panel=stayed)))
    assert found.loc["raw_gap", "reason"] == "nobody left one of the bands, so no gap between them can be formed"
    few = replace(panel, rows=panel.rows.assign(nps=panel.rows["nps"].clip(7, 8)))
    found = figures(red_team(replace(sample_value, panel=few)))
    assert "highest or the lowest band" in found.loc["raw_gap", "reason"]
    poorer = replace(panel, base=panel.base[panel.base["column"] != "revenue"])
    assert figures(red_team(replace(sample_value, panel=poorer))).loc["revenue", "reason"]


def test_without_a_value_per_point_there_is_the_reason(sample_value: CustomerValue) -> None:
    assert (
        red_team(replace(sample_value, reason="margin: every answer is the same")) == "margin: every answer is the same"
    )
    assert "no answers" in str(red_team(replace(sample_value, exposure="")))
