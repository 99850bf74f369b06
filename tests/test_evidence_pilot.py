"""Pilots: published estimators against statsmodels, intervals against draws, rungs against designs that deserve them, a company's truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from cxroi.evidence.pilot import NO_PILOT, UNBOUNDED, Pilot, Ratio, agreement_checks, fieller, pilot_linkages
from cxroi.linkage import Linkage, headline_method, standard_linkages
from cxroi.panel import HISTORY, Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import estimate

START, FIRST, LAST = 100, 95, 103  # index of the period of exposure, and of the first and last rows
LIFT, STAYING, ORDERS, MARGIN_OF_AN_ORDER = 0.8, 0.02, 0.3, 10.0
LEVEL = 0.93
Options = dict[str, Any]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, dict[str, Any]]:
    """A company with a pilot whose arms were drawn by lot, and its truth."""
    folder: Path = tmp_path_factory.mktemp("pilot") / "initiative"
    truth = simulate(folder, world="initiative", customers=3_000, seed=3)
    panel = replace(build_panel(read_tables(folder)), experiments=("1",))
    return panel, json.loads(truth.read_text(encoding="utf-8"))


def trial(
    generator: np.random.Generator,
    *,
    customers: int = 800,
    lift: float = LIFT,
    worth: float = 1.0,
    chosen_by: str = "",
    trend: float = 0.0,
    answering: float = 0.0,
) -> pd.DataFrame:
    """Rows of a pilot of known truth: the score rises by ``lift``, staying, orders and margin by ``worth`` × the figures above.

    ``chosen_by`` tells the arms apart by ``plan`` (which also moves levels) or by past ``orders``; ``trend`` is what the treated
    gain in orders a period anyway; ``answering`` what being treated adds to the rate of answering.
    """
    plan = generator.random(customers) < 0.4
    level = generator.gamma(4.0, 0.5, customers) + plan
    mood = 7.0 + generator.standard_normal(customers) + 0.8 * plan
    odds = {"": 0.5, "plan": 0.25 + 0.5 * plan, "orders": 1 / (1 + np.exp(-2.0 * (level - level.mean())))}[chosen_by]
    treated = generator.random(customers) < odds
    parts, present, history = [], np.ones(customers, dtype=bool), np.zeros(customers)
    for period in range(FIRST, LAST + 1):
        since = period - START
        works = treated * (since >= 0)
        keeps = LEVEL + 0.03 * plan + worth * STAYING * works if since >= -1 else np.ones(customers)
        retained = generator.random(customers) < keeps
        rate = level + worth * ORDERS * works + trend * treated * since
        orders = generator.poisson(np.maximum(rate, 0.05)) * retained
        answered = generator.random(customers) < 0.4 + answering * works
        score = mood + lift * works + 0.7 * generator.standard_normal(customers)
        columns = {
            "customer": np.arange(customers),
            "period": period,
            "retained": retained.astype(float),
            "orders": orders.astype(float),
            "margin": MARGIN_OF_AN_ORDER * orders * (1 + 0.2 * generator.standard_normal(customers)),
            "nps": np.where(answered, score, np.nan),
            "plan": pd.Categorical(np.where(plan, "b", "a")),
            "initiative": pd.Categorical(["P"] * customers),
            "arm": pd.Categorical(np.where(treated, "treated", "control"), categories=["treated", "control"]),
            "exposed": START,
            "treated_later": 0.0,
            **dict.fromkeys(HISTORY, 0.0),
            "log_orders_before": np.log1p(history / max(since - FIRST + START, 1)),
        }
        parts.append(pd.DataFrame(columns)[present])
        history += orders
        present &= retained
    rows = pd.concat(parts, ignore_index=True)
    return rows.sort_values(["customer", "period"], ignore_index=True)


def found(company: tuple[Panel, dict[str, Any]], rows: pd.DataFrame, *, by_lot: bool = True) -> Pilot:
    """The pilot of these rows, its arms declared as drawn by lot or not."""
    panel = replace(company[0], pilot=rows, controls=("plan",), experiments=("P",) if by_lot else ())
    result = pilot_linkages(panel, "nps")
    assert isinstance(result, Pilot)
    return result


def row(pilot: Pilot, estimand: str, outcome: str) -> pd.Series:
    own = pilot.estimates[(pilot.estimates["estimand"] == estimand) & (pilot.estimates["outcome"] == outcome)]
    (one,) = (each for _, each in own.iterrows())
    return one


def rungs(pilot: Pilot) -> dict[tuple[str, str], str]:
    table = pilot.estimates
    return dict(zip(zip(table["estimand"], table["outcome"], strict=True), table["evidence"], strict=True))


def verdict(pilot: Pilot, name: str, outcome: str = "") -> str:
    checks = pilot.checks()
    return str(checks.loc[(checks["name"] == name) & (checks["outcome"] == outcome), "verdict"].iloc[0])


# arithmetic


def test_fieller_holds_exactly_what_the_two_numbers_do_not_contradict() -> None:
    ratio = Ratio(0.7, 1.3, np.array([[0.09, 0.02], [0.02, 0.05]]))
    ends = fieller(ratio, 1.96)
    assert ends is not None
    for end in ends:  # the difference less the end times the lift is 1.96 of its standard errors from 0
        assert abs(ratio.apart(end, 0.0)) == pytest.approx(1.96, rel=1e-9)
    assert ends[0] < ratio.estimate < ends[1]
    tight = Ratio(0.7, 1.3, ratio.covariance / 1e6)
    close = fieller(tight, 1.96)
    assert close is not None
    np.testing.assert_allclose(close, tight.estimate + np.array([-1.96, 1.96]) * tight.std_error, rtol=1e-3)


def test_fieller_covers_where_the_delta_method_does_not() -> None:
    """Lift of two standard errors, 4,000 draws (Monte-Carlo error 0.35 points); an unbounded interval holds everything."""
    generator = np.random.default_rng(8)
    truth, covariance = 2.0, 0.04 * np.array([[4.0, -1.8], [-1.8, 1.0]])
    held, by_delta = [], []
    for difference, lift in generator.multivariate_normal([0.4 * truth, 0.4], covariance, 4_000):
        ratio = Ratio(difference, lift, covariance)
        ends = fieller(ratio, 1.96)
        held.append(ends is None or ends[0] <= truth <= ends[1])
        by_delta.append(abs(ratio.estimate - truth) <= 1.96 * ratio.std_error)
        if ends is not None:
            assert held[-1] == (abs(ratio.apart(truth, 0.0)) <= 1.96)
    assert 0.94 <= np.mean(held) <= 0.99
    assert np.mean(by_delta) < 0.92


def test_lots_are_compared_by_covariance_analysis(company: tuple[Panel, dict[str, Any]]) -> None:
    """The same regression by statsmodels, errors clustered by customer."""
    rows = trial(np.random.default_rng(1), customers=500)
    before = rows[rows["period"] <= START - 2].groupby("customer")["margin"].mean().rename("before")
    at_start = rows[rows["period"] == START - 1].set_index("customer")["log_orders_before"].rename("history")
    earlier = rows[rows["period"] < START].groupby("customer")["nps"].mean()
    known = earlier.reindex(rows["customer"].unique())
    told = pd.DataFrame({"earlier": known.fillna(known.mean()), "silent": known.isna().astype(float)})
    after = rows[rows["period"] >= START].join(before, on="customer").join(at_start, on="customer")
    after = after.join(told, on="customer").assign(treated=lambda frame: (frame["arm"] == "treated").astype(float))
    formula = "margin ~ treated + before + history + earlier + silent + C(plan) + C(period)"
    reference = smf.ols(formula, after).fit(cov_type="cluster", cov_kwds={"groups": after["customer"]})
    own = row(found(company, rows), "pilot_difference", "margin")
    assert own["estimate"] == pytest.approx(reference.params["treated"], rel=1e-7)
    assert own["std_error"] == pytest.approx(reference.bse["treated"], rel=1e-7)
    assert (own["n_obs"], own["n_clusters"]) == (len(after), after["customer"].nunique())


def test_rollouts_are_compared_by_differences_in_differences(company: tuple[Panel, dict[str, Any]]) -> None:
    """Where everybody is seen in every period, that is the change of the treated less that of the others."""
    rows = trial(np.random.default_rng(2), customers=400)
    rows = rows[rows.groupby("customer")["period"].transform("size") == LAST - FIRST + 1]
    rows = rows.assign(retained=1.0, plan=pd.Categorical(["a"] * len(rows))).reset_index(drop=True)
    compared = rows[rows["period"] != START - 1].assign(after=rows["period"] >= START)
    means = compared.groupby(["arm", "after"], observed=True)["orders"].mean()
    change = (means["treated", True] - means["treated", False]) - (means["control", True] - means["control", False])
    pilot = found(company, rows, by_lot=False)
    assert row(pilot, "pilot_difference", "orders")["estimate"] == pytest.approx(change, rel=1e-9)
    assert row(pilot, "pilot_difference", "retained")["reason"] == "0 events after the start; at least 10 are needed"


def test_per_point_is_difference_over_lift(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(3)))
    lift = row(pilot, "pilot_lift", "nps")
    for outcome in ("retained", "orders", "margin"):
        point, difference = row(pilot, "pilot_ame", outcome), row(pilot, "pilot_difference", outcome)
        assert point["estimate"] == pytest.approx(difference["estimate"] / lift["estimate"], rel=1e-12)
        ends = fieller(pilot.ratios["P", outcome], 1.96)
        assert ends is not None
        np.testing.assert_allclose([point["conf_low"], point["conf_high"]], ends, rtol=0.01)  # t in place of the normal


# truth


@pytest.mark.parametrize(("by_lot", "chosen_by"), [(True, ""), (False, "plan")])
def test_truth_comes_out(company: tuple[Panel, dict[str, Any]], by_lot: bool, chosen_by: str) -> None:
    """24 trials a design: means within 3.5 Monte-Carlo errors, at least 81 % of the intervals hold (95 % less 3 errors)."""
    generator = np.random.default_rng(11)
    truth = {
        ("pilot_lift", "nps"): LIFT,
        ("pilot_difference", "retained"): STAYING,
        ("pilot_difference", "orders"): ORDERS,
        ("pilot_ame", "orders"): ORDERS / LIFT,
    }
    estimates = []
    for _ in range(24):
        pilot = found(company, trial(generator, customers=500, chosen_by=chosen_by), by_lot=by_lot)
        estimates.append(pilot.estimates.set_index(["estimand", "outcome"]).loc[list(truth)])
    table = pd.concat(estimates).reset_index()
    for (estimand, outcome), expected in truth.items():
        own = table[(table["estimand"] == estimand) & (table["outcome"] == outcome)].astype(
            dict.fromkeys(("estimate", "conf_low", "conf_high"), float)
        )
        error = own["estimate"].std() / np.sqrt(len(own))
        assert own["estimate"].mean() == pytest.approx(expected, abs=3.5 * error), (estimand, outcome)
        assert ((own["conf_low"] <= expected) & (expected <= own["conf_high"])).mean() >= 0.81


def test_margin_of_a_rollout_does_not_take_staying_for_a_change(company: tuple[Panel, dict[str, Any]]) -> None:
    """Plan b stays more and is reached more; nothing works. The plain change of margin, the left at 0, would credit the rollout."""
    generator = np.random.default_rng(5)
    own, plain = [], []
    for _ in range(12):
        rows = trial(generator, customers=1_000, worth=0.0, chosen_by="plan")
        rows["retained"] = np.where(rows["period"] >= START, rows["retained"], 1.0)
        more = (rows["plan"] == "a") & (rows["period"] >= START) & (generator.random(len(rows)) < 0.15)
        rows.loc[more, ["retained", "orders", "margin"]] = 0.0
        own.append(row(found(company, rows, by_lot=False), "pilot_difference", "margin")["estimate"])
        means = rows[rows["period"] != START - 1].assign(after=rows["period"] >= START)
        means = means.groupby(["arm", "after"], observed=True)["margin"].mean()
        plain.append(means.loc["treated"].diff().iloc[-1] - means.loc["control"].diff().iloc[-1])
    assert np.mean(own) == pytest.approx(0.0, abs=3.5 * np.std(own) / np.sqrt(len(own)))
    assert np.mean(plain) > 5 * np.std(plain) / np.sqrt(len(plain))


def test_pilot_of_a_company(company: tuple[Panel, dict[str, Any]]) -> None:
    panel, truth = company
    pilot = pilot_linkages(panel, "nps")
    assert isinstance(pilot, Pilot)
    expected = {("pilot_lift", "nps"): truth["pilot"]["lift"]["nps"]}
    expected |= {
        ("pilot_difference", name): truth["pilot"]["next_quarter"][name] for name in ("retained", "orders", "margin")
    }
    for (estimand, outcome), figure in expected.items():
        own = row(pilot, estimand, outcome)
        assert own["estimate"] == pytest.approx(figure, abs=3 * own["std_error"])
    assert set(pilot.estimates["evidence"]) == {"experiment"}
    size = pilot.glance().iloc[0]
    assert (size["design"], size["waves"], size["periods_before"], size["periods_after"]) == ("lot", 1, 3, 3)
    assert set(pilot.balance["column"]) >= {"age", "plan", "region", "log_tenure", "earlier nps"}
    assert pilot.balance["difference"].abs().max() < 0.18  # of about 600 customers an arm, three errors of a difference


def test_rows_of_a_pilot_stand_in_the_estimates(company: tuple[Panel, dict[str, Any]]) -> None:
    panel = replace(company[0], metrics=("nps",))
    estimates = estimate(panel, draws=20)
    rows = estimates.with_evidence()
    own = rows[rows["segment"] == "initiative=1"].set_index(["estimand", "outcome"])
    assert set(own.index) == {
        ("pilot_lift", "nps"),
        *(
            (estimand, outcome)
            for estimand in ("pilot_difference", "pilot_ame")
            for outcome in ("retained", "orders", "margin")
        ),
    }
    assert set(own["method"]) == {"pilot"}
    assert not own["headline"].any()
    assert set(own["evidence"]) == {"experiment"}
    assert own["unit"].tolist()[:3] == ["points", "probability", "probability"]
    pilot = estimates.findings["nps"].pilot
    assert pilot is not None
    lift = own.loc[("pilot_lift", "nps"), "estimate"]
    assert lift == pytest.approx(row(pilot, "pilot_lift", "nps")["estimate"], rel=1e-9)
    checks = estimates.findings["nps"].checks()
    agreeing = checks[checks["name"] == "headline agrees with the pilot"]
    assert set(agreeing["outcome"]) == {"retained", "orders", "margin"}
    assert set(agreeing["verdict"]) == {"pass"}
    assert (checks["name"] == "arms alike at the start").sum() == 1


def test_a_headline_far_from_the_pilot_fails(company: tuple[Panel, dict[str, Any]]) -> None:
    panel = company[0]
    linkages = standard_linkages(panel, "nps")
    lead = {
        outcome: linkage
        for (outcome, method), linkage in linkages.items()
        if method == headline_method(linkages) and isinstance(linkage, Linkage)
    }
    pilot = pilot_linkages(panel, "nps")
    assert isinstance(pilot, Pilot)
    far = {
        key: ratio._replace(difference=ratio.difference + 10 * ratio.covariance[0, 0] ** 0.5)
        for key, ratio in pilot.ratios.items()
    }
    checks = agreement_checks(replace(pilot, ratios=far), lead)
    assert set(checks["verdict"]) == {"fail"}
    assert checks["advice"].str.contains("the pilot shows more per point").all()
    assert checks["advice"].str.contains("in other ways than through this score").all()
    assert agreement_checks(pilot, {}).empty


# rungs


def test_lots_that_balance_are_an_experiment(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(21)))
    assert set(rungs(pilot).values()) == {"experiment"}
    assert set(pilot.checks()["verdict"]) == {"pass"}


def test_lots_that_follow_past_orders_are_an_association(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(22), chosen_by="orders"))
    assert verdict(pilot, "arms alike at the start") == "fail"
    assert set(rungs(pilot).values()) == {"association"}


def test_answers_of_one_arm_leave_only_what_needs_no_answers(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(23), answering=0.2))
    assert verdict(pilot, "both arms answer alike") == "fail"
    graded = rungs(pilot)
    assert {rung for (estimand, _), rung in graded.items() if estimand == "pilot_difference"} == {"experiment"}
    assert {rung for (estimand, _), rung in graded.items() if estimand != "pilot_difference"} == {"association"}


def test_a_rollout_that_moved_alike_is_a_quasi_experiment_but_for_staying(
    company: tuple[Panel, dict[str, Any]],
) -> None:
    graded = rungs(found(company, trial(np.random.default_rng(24), chosen_by="plan"), by_lot=False))
    assert graded["pilot_lift", "nps"] == graded["pilot_difference", "orders"] == "quasi_experiment"
    assert graded["pilot_ame", "orders"] == "quasi_experiment"
    assert graded["pilot_difference", "retained"] == graded["pilot_difference", "margin"] == "adjusted"


def test_a_rollout_that_drifted_before_is_an_association(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(25), trend=0.3), by_lot=False)
    assert verdict(pilot, "arms moved alike before", "orders") == "fail"
    assert verdict(pilot, "arms moved alike before", "nps") == "pass"
    assert rungs(pilot)["pilot_difference", "orders"] == rungs(pilot)["pilot_ame", "orders"] == "association"


def test_a_rollout_to_good_customers_is_an_association(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(26), chosen_by="orders"), by_lot=False)
    assert verdict(pilot, "arms alike at the start") == "fail"
    assert set(rungs(pilot).values()) == {"association"}


def test_a_rollout_without_a_past_cannot_rise(company: tuple[Panel, dict[str, Any]]) -> None:
    rows = trial(np.random.default_rng(27))
    pilot = found(company, rows[rows["period"] >= START - 2].reset_index(drop=True), by_lot=False)
    assert verdict(pilot, "arms moved alike before", "orders") == "warn"
    assert rungs(pilot)["pilot_difference", "orders"] == "association"


# what is lost, and reasons


def test_a_lift_that_is_not_clear_gives_no_figure_per_point(company: tuple[Panel, dict[str, Any]]) -> None:
    pilot = found(company, trial(np.random.default_rng(34), lift=0.0))
    assert verdict(pilot, "lift is clear") == "fail"
    point = row(pilot, "pilot_ame", "orders")
    assert point["reason"] == UNBOUNDED
    assert np.isnan(point["estimate"])
    assert row(pilot, "pilot_difference", "orders")["reason"] == ""


def test_controls_reached_later_and_customers_gone_before_are_said(company: tuple[Panel, dict[str, Any]]) -> None:
    rows = trial(np.random.default_rng(29))
    later = (rows["arm"] == "control") & (rows["customer"] % 5 == 0)
    gone = (rows["arm"] == "treated") & (rows["customer"] % 4 == 0) & (rows["period"] >= START - 1)
    pilot = found(company, rows.assign(treated_later=later.astype(float))[~gone].reset_index(drop=True))
    assert verdict(pilot, "assignment kept") == "warn"
    assert verdict(pilot, "gone before the start") == "fail"
    assert pilot.sizes["treated"].iloc[0] < 0.8 * pilot.sizes["control"].iloc[0]


def test_a_wave_without_controls_is_left_out(company: tuple[Panel, dict[str, Any]]) -> None:
    rows = trial(np.random.default_rng(30))
    second = (rows["arm"] == "treated") & (rows["customer"] % 4 == 0)
    pilot = found(company, rows.assign(exposed=START + second.astype(np.int64)))
    checks = pilot.checks().set_index("name")
    expected = rows.loc[second & (rows["period"] == START), "customer"].nunique()
    assert checks.loc["waves with both arms", "number"] == expected
    assert pilot.sizes["waves"].iloc[0] == 1


def test_two_waves_are_each_compared_with_their_own_controls(company: tuple[Panel, dict[str, Any]]) -> None:
    """The second wave, reached a period later, buys half as much in every period; pooling the waves' levels would show."""
    rows = trial(np.random.default_rng(31), customers=1_200)
    second = rows["customer"] % 2 == 0
    treated_less = np.where((rows["arm"] == "treated") & second & (rows["period"] == START), ORDERS, 0.0)
    rows["orders"] = np.where(second, rows["orders"] * 0.5, rows["orders"]) - 0.5 * treated_less * rows["retained"]
    pilot = found(company, rows.assign(exposed=START + second.astype(np.int64)), by_lot=False)
    own = row(pilot, "pilot_difference", "orders")
    assert pilot.sizes["waves"].iloc[0] == 2
    assert own["conf_low"] < 0.75 * ORDERS < own["conf_high"]  # half of the customers gain half


def test_reasons_in_place_of_figures(company: tuple[Panel, dict[str, Any]]) -> None:
    panel = company[0]
    assert pilot_linkages(replace(panel, pilot=None), "nps") == NO_PILOT
    rows = trial(np.random.default_rng(32))
    few = found(company, rows[rows["customer"] < 60].reset_index(drop=True))
    assert set(few.estimates["reason"].str.replace(r"^\d+", "n", regex=True)) == {
        "n customers in the smaller arm; at least 50 are needed"
    }
    assert few.checks().empty
    unfinished = found(company, rows[rows["period"] < START].reset_index(drop=True))
    assert set(unfinished.estimates["reason"]) == {"no outcome period after the exposure is over yet"}


def test_without_a_score_outcomes_are_compared(company: tuple[Panel, dict[str, Any]]) -> None:
    panel = company[0]
    alone, beside = pilot_linkages(panel, ""), pilot_linkages(panel, "nps")
    assert isinstance(alone, Pilot)
    assert isinstance(beside, Pilot)
    assert set(alone.estimates["estimand"]) == {"pilot_difference"}
    own, other = (row(each, "pilot_difference", "orders")["estimate"] for each in (alone, beside))
    assert own == pytest.approx(other, abs=0.02)  # less earlier answers held fixed
