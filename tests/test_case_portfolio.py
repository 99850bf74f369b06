"""Choice of programmes: the integer programme against every set, customers counted once, budgets, frontiers."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxroi.case import BusinessCase, business_case
from cxroi.case.portfolio import (
    Coverage,
    Limits,
    Options,
    Portfolio,
    Solver,
    choose,
    chosen_from,
    expected_shortfall,
    is_possible,
    options_of,
    pareto,
    possible_sets,
)
from cxroi.errors import InputError
from tests.decisions import APP, BOT, ONE, a_case, a_response


def some_options(count: int, seed: int, *, shared: float = 1.0, draws: int = 500) -> Options:
    """Programmes of very different reach, worth and cost, some of which need or exclude each other."""
    rng = np.random.default_rng(seed)
    reach = rng.uniform(0.05, 0.9, count)
    reach[-1] = 0.0  # a cost play
    through = rng.normal(rng.uniform(20, 200, count), 60, (draws, count)) * reach
    cost = rng.uniform(5, 60, count)
    beside = -cost + np.where(reach == 0.0, rng.normal(50, 20, (draws, count)), 0.0)
    return Options(
        ids=tuple(f"p{at}" for at in range(count)),
        through_score=through,
        beside=beside,
        reach=reach,
        spending=cost[:, None] * rng.dirichlet(np.ones(4), count),
        spent=np.broadcast_to(cost, (draws, count)),
        requires=((1, 0),),
        excludes=((2, 3),),
        shared=shared,
    )


def brute_force(options: Options, limits: Limits) -> tuple[float, np.ndarray]:
    """Every set valued customer group by customer group: who is reached by which programmes, and the largest of their gains."""
    best, place = -math.inf, np.zeros(len(options.ids), dtype=bool)
    for picked in itertools.product((False, True), repeat=len(options.ids)):
        chosen = np.array(picked)
        if is_possible(options, limits, chosen):
            value = by_groups(options, chosen)
            if value > best:
                best, place = value, chosen
    return best, place


def by_groups(options: Options, chosen: np.ndarray) -> float:
    """Mean net present value of a set: a sum over the groups of customers whom the same programmes reach."""
    inside = [at for at in np.flatnonzero(chosen) if options.reach[at] > 0.0]
    each = {at: options.through_score[:, at] / options.reach[at] for at in inside}
    once = np.zeros(len(options.beside))
    for reached in itertools.product((False, True), repeat=len(inside)):
        group = [at for at, is_reached in zip(inside, reached, strict=True) if is_reached]
        share = np.prod([options.reach[at] if at in group else 1.0 - options.reach[at] for at in inside])
        if group:
            worth = np.stack([each[at] for at in group])
            once += share * (np.maximum(worth, 0.0).max(axis=0) + np.minimum(worth, 0.0).sum(axis=0))
    added = options.through_score[:, chosen].sum(axis=1)
    beside = options.beside[:, chosen].sum(axis=1)
    return float((beside + options.shared * once + (1.0 - options.shared) * added).mean())


def some_limits(options: Options, share: float = 0.5) -> Limits:
    return Limits(share * float(options.spending.sum()), tuple(0.6 * options.spending.sum(axis=0)))


def a_decision(**terms: object) -> BusinessCase:
    dear = [{"category": 2, "month": 0, "amount": 4e9, "overrun": {"low": 0, "mode": 0.1, "high": 0.4}}]
    return business_case(a_response(), a_case(ONE | {"costs": dear}, APP, BOT, **terms), seed=1, draws=2_000)


def a_choice(decision: BusinessCase, **asked: float) -> Portfolio:
    result = choose(decision, **asked)  # type: ignore[arg-type]
    assert isinstance(result, Portfolio), result
    return result


# ---------------------------------------------------------------- the best set


@pytest.mark.parametrize("shared", [1.0, 0.4, 0.0])
@pytest.mark.parametrize("seed", range(6))
def test_integer_programme_finds_the_best_of_all_sets(seed: int, shared: float) -> None:
    options = some_options(7, seed, shared=shared, draws=40)
    solver = Solver(options)
    for share in (1.0, 0.6, 0.3, 0.1):
        limits = some_limits(options, share)
        best, _ = brute_force(options, limits)
        chosen = solver.best(limits)
        assert is_possible(options, limits, chosen)
        assert by_groups(options, chosen) == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_ten_programmes_are_chosen_as_by_trying_all(seed: int) -> None:
    options = some_options(10, seed, draws=200)
    limits, coverage = some_limits(options, 0.4), Coverage(options)
    best = max(float(coverage.npv(each).mean()) for each in possible_sets(options, limits))
    assert float(coverage.npv(Solver(options).best(limits)).mean()) == pytest.approx(best, rel=1e-9)


def test_a_set_is_worth_what_its_groups_of_customers_are() -> None:
    options = some_options(6, 3, draws=50)
    coverage = Coverage(options)
    for picked in itertools.product((False, True), repeat=6):
        chosen = np.array(picked)
        assert coverage.npv(chosen).mean() == pytest.approx(by_groups(options, chosen), rel=1e-9, abs=1e-9)


def test_more_programmes_than_can_be_counted_out_still_find_a_set_no_neighbour_beats() -> None:
    options = some_options(14, 2, draws=200)
    limits, coverage = some_limits(options, 0.4), Coverage(options)
    chosen = Solver(options).best(limits)
    value, slack = coverage.npv(chosen).mean(), 1e-3 * np.abs(options.alone.mean(axis=0)).max()
    for one, other in itertools.product(range(14), repeat=2):
        changed = chosen.copy()
        changed[one], changed[other] = not changed[one], not changed[other]
        if is_possible(options, limits, changed):
            assert coverage.npv(changed).mean() <= value + slack


# ---------------------------------------------------------------- customers counted once


def test_shared_customers_are_counted_once_or_added_as_in_the_case() -> None:
    decision = a_decision()
    once, added = options_of(decision, shared=1.0), options_of(decision, shared=0.0)
    both = np.array([True, True, False])
    total = decision.whole.measures["npv"]
    assert Coverage(added).npv(both) == pytest.approx(total, rel=1e-9)
    assert (Coverage(once).npv(both) < total).all()
    through, reach = once.through_score[:, :2], once.reach[:2]
    pair = reach.prod() * (through / reach).min(axis=1)  # customers reached by both lose the smaller gain
    assert Coverage(once).npv(both) == pytest.approx(total - pair, rel=1e-9)


# ---------------------------------------------------------------- a case under a budget


def test_choice_keeps_the_budget_and_says_why() -> None:
    choice = a_choice(a_decision(budget={"total": 3e9}))
    assert choice.chosen == ("app", "bot")
    rows = choice.tidy().set_index("programme")
    assert rows.loc["one", "why"] == "no room in the budget"
    assert rows["spending"].loc["app"] == pytest.approx(9e8)
    assert choice.glance()["spending"].iloc[0] <= 3e9
    freely = a_choice(a_decision())
    assert freely.chosen == ("one", "app", "bot")
    assert freely.overspend_point == pytest.approx(choice.overspend_point) == pytest.approx(rows["spending"].sum())
    assert a_choice(a_decision(), budget=0.0).chosen == ()


def test_limits_by_quarter_are_kept_with_the_start_in_the_first() -> None:
    spending = options_of(a_decision()).spending
    assert spending.shape == (3, 12)
    assert spending[1].tolist() == [9e8, *[0.0] * 11]
    assert a_choice(a_decision(budget={"per_quarter": 1e9})).chosen == ("app",)
    assert a_choice(a_decision(budget={"per_quarter": [2e9, *[0.0] * 11]})).chosen == ("app", "bot")


def test_what_is_required_or_excluded_is_kept() -> None:
    dear = [{"category": 2, "month": 0, "amount": 4e9}]
    tied = a_case(ONE | {"costs": dear, "requires": ["bot"]}, APP | {"excludes": ["one"]}, BOT)
    choice = a_choice(business_case(a_response(), tied, seed=1, draws=1_000))
    assert not {"one", "app"} <= set(choice.chosen)
    assert "one" not in choice.chosen or "bot" in choice.chosen


def test_frontier_rises_with_the_money_and_ends_at_the_overspend_point() -> None:
    choice = a_choice(a_decision(budget={"total": 3e9}))
    rows = choice.frontier()
    by_budget = rows[rows["on_budget_frontier"]]
    assert by_budget["spending"].is_monotonic_increasing
    assert by_budget["npv_mean"].is_monotonic_increasing
    assert by_budget["spending"].iloc[0] == 0.0
    assert by_budget["spending"].iloc[-1] == pytest.approx(choice.overspend_point)
    by_risk = rows[rows["on_risk_frontier"]].sort_values("expected_shortfall")
    assert by_risk["npv_mean"].is_monotonic_increasing
    assert (by_risk["spending"] <= 3e9).all()
    assert rows["chosen"].sum() == 1
    assert rows.loc[rows["chosen"], "npv_mean"].iloc[0] == pytest.approx(choice.npv.mean())
    richest = by_budget[by_budget["spending"] <= 3e9].iloc[-1]
    assert bool(richest["chosen"])


def test_chance_to_belong_to_the_best_set_is_that_of_trying_all_in_every_draw() -> None:
    options = some_options(5, 4, draws=300)
    limits = some_limits(options)
    sets = list(possible_sets(options, limits))
    values = np.stack([Coverage(options).npv(each) for each in sets])
    best = np.stack(sets)[values.argmax(axis=0)]
    choice = chosen_from(options, limits, "VND")
    assert choice.tidy()["p_best"].to_numpy() == pytest.approx(best.mean(axis=0))
    assert choice.p_set == pytest.approx((best == choice.tidy()["chosen"].to_numpy()).all(axis=1).mean())


def test_one_programme_is_taken_or_left() -> None:
    taken = a_choice(business_case(a_response(), a_case(ONE), seed=1, draws=500))
    assert taken.chosen == ("one",)
    left = a_choice(business_case(a_response(1.0, 1.0, 1.0), a_case(ONE), seed=1, draws=500))
    assert left.chosen == ()
    assert left.tidy()["why"].iloc[0] == "adds nothing to what is chosen"
    assert left.overspend_point == 0.0


def test_checks_ask_whether_the_choice_is_clear_and_what_sharing_takes() -> None:
    choice = a_choice(a_decision(budget={"total": 9e8 + 3e8 + 5e9}))
    checks = choice.checks().set_index("name")
    assert checks.loc["choice_is_clear", "number"] == choice.p_set
    assert 0.0 < checks.loc["spending_within_budget", "number"] < 1.0  # overruns can break a budget that the mean keeps
    assert checks.loc["customers_counted_once", "number"] > 0.0


# ---------------------------------------------------------------- arithmetic and refusals


def test_expected_shortfall_of_a_normal_is_its_closed_form() -> None:
    draws = np.random.default_rng(1).normal(2.0, 3.0, 200_000)
    exact = -(2.0 - 3.0 * math.exp(-0.5 * 1.2815516**2) / math.sqrt(2 * math.pi) / 0.1)
    assert expected_shortfall(draws, 0.1) == pytest.approx(exact, abs=0.03)  # three standard errors


def test_pareto_keeps_what_no_other_beats() -> None:
    assert pareto([1.0, 3.0, 2.0, 3.0], [1.0, 2.0, 3.0, 1.5]) == [0, 3]
    assert pareto([5.0, 5.0], [2.0, 1.0]) == [1]


def test_what_cannot_be_is_refused_or_said() -> None:
    with pytest.raises(InputError, match="budget must be an amount from 0; got -1"):
        choose(a_decision(), budget=-1.0)
    with pytest.raises(InputError, match="shared must be a share from 0 to 1; got 2"):
        choose(a_decision(), shared=2.0)
    nothing = np.empty((0, 12))
    silent = replace(
        a_response(), baseline=nothing, through_retention=nothing, through_spend=nothing, reason="no answers"
    )
    assert choose(business_case(silent, a_case(ONE), seed=1, draws=100)) == "no answers"


def test_tidy_has_the_columns_that_are_documented() -> None:
    choice = a_choice(a_decision())
    assert list(choice.tidy().columns[:4]) == ["programme", "chosen", "has_route", "spending"]
    assert isinstance(choice.glance(), pd.DataFrame)
    assert len(choice.glance()) == 1
    assert choice.glance()["chosen"].iloc[0] == "one, app, bot"
