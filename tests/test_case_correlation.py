"""Correlated inputs: the rank correlation asked for is reached, and nothing else about the draws changes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cxroi.case.correlation import Floats, Pair, correlation_faults, orders
from cxroi.case.read import parse_case
from cxroi.errors import InvalidCase

DRAWS = 10_000
PAIRS: list[Pair] = [("linkage", "score_gain.a", 0.6), ("score_gain.a", "overrun.a", -0.4)]


def independent(names: tuple[str, ...]) -> dict[str, Floats]:
    rng = np.random.default_rng(11)
    return {name: rng.gamma(2.0, 1.0 + at, DRAWS) for at, name in enumerate(names)}


def test_rank_correlations_are_reached_and_each_input_keeps_its_draws() -> None:
    luck = independent(("linkage", "overrun.a", "score_gain.a", "score_gain.b"))
    order = orders(luck, PAIRS)
    assert set(order) == {"linkage", "overrun.a", "score_gain.a"}
    moved = {name: luck[name][order[name]] for name in order}
    for name in moved:
        assert np.array_equal(np.sort(moved[name]), np.sort(luck[name]))
    for first, second, wanted in [*PAIRS, ("linkage", "overrun.a", 0.0)]:
        reached = stats.spearmanr(moved[first], moved[second]).statistic
        assert reached == pytest.approx(wanted, abs=0.005)  # what scores of ranks leave; chance alone would leave 0.01


def test_without_pairs_nothing_moves() -> None:
    assert orders(independent(("linkage", "overrun.a")), []) == {}
    assert orders(independent(("linkage",)), PAIRS) == {}


def test_draws_with_ties_such_as_draws_of_a_linkage_are_correlated_too() -> None:
    rng = np.random.default_rng(3)
    luck = {"linkage": rng.integers(0, 200, DRAWS).astype(float), "score_gain.a": rng.random(DRAWS)}
    order = orders(luck, [("linkage", "score_gain.a", 0.5)])
    reached = stats.spearmanr(*(luck[name][order[name]] for name in luck)).statistic
    assert reached == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("limit", [0.99, -0.99])
def test_nearly_certain_correlations_stay_possible(limit: float) -> None:
    luck = independent(("a", "b"))
    order = orders(luck, [("a", "b", limit)])
    assert stats.spearmanr(luck["a"][order["a"]], luck["b"][order["b"]]).statistic == pytest.approx(limit, abs=0.005)


def test_what_cannot_hold_together_is_refused_with_a_size_that_can() -> None:
    impossible: list[Pair] = [("a", "b", 0.9), ("b", "c", 0.9), ("a", "c", -0.9)]
    (fault,) = correlation_faults(impossible)
    assert "those of a, b, c are not" in fault
    share = float(fault.split("all to ")[1].split(" of ")[0])
    assert 0.4 < share < 0.6
    assert list(correlation_faults([(first, second, share * rank) for first, second, rank in impossible])) == []
    (twice,) = correlation_faults([("a", "b", 0.1), ("b", "a", 0.2)])
    assert twice.startswith("correlations must state each pair once")


def test_a_case_with_impossible_correlations_is_refused() -> None:
    programme = (
        "{id: a, name: A, evidence: association, score_gain: 0.3, reach: 0.5, ramp_months: 0, half_life_months: never, "
    )
    programme += "costs: [{category: 2, month: 0, amount: 5, overrun: {low: 0, mode: 0.1, high: 0.4}}]}"
    pairs = [("linkage", "score_gain.a", 0.9), ("score_gain.a", "overrun.a", 0.9), ("linkage", "overrun.a", -0.9)]
    stated = "".join(f"\n- {{inputs: [{a}, {b}], correlation: {rank}, source: workshop}}" for a, b, rank in pairs)
    terms = "currency: VND\nstart: 2026-10-01\nhorizon_months: 36\nannual_discount_rate: 0.12\n"
    with pytest.raises(InvalidCase, match="correlations must be possible together"):
        parse_case(f"{terms}programmes:\n- {programme}\ncorrelations:{stated}\n")
