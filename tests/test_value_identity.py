"""One identity of value: published figures, paths by hand, Shapley's axioms, and what must not be summed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxroi.case import finance
from cxroi.errors import InputError
from cxroi.value.identity import (
    BENEFITS,
    TERMS,
    ValueTerms,
    customer_value_identity,
    refuse_overlap,
    shapley_split,
)

CENTS = 0.005
NOTHING: dict[str, Any] = {
    "service_cost": 0.0,
    "referrals": 0.0,
    "would_have_come": 0.0,
    "referred_value": 0.0,
    "saved_acquisition_cost": 0.0,
    "acquisition_cost": 0.0,
}
OVERLAP = ValueTerms(
    retention=0.80, orders=1.0, margin_per_order=100.0, discount_rate=0.10, periods=None, **NOTHING
)  # methods.md §7


def total(terms: ValueTerms) -> float:
    return float(customer_value_identity(terms).total[0])


# Published figures


def test_margin_multiple() -> None:
    """Gupta & Lehmann (2003): retention .9 at 12 % is worth 4.09 years of margin."""
    multiple = total(replace(OVERLAP, retention=0.9, margin_per_order=1.0, discount_rate=0.12))
    assert multiple == pytest.approx(4.09, abs=0.005)
    assert multiple == pytest.approx(0.9 / (1 + 0.12 - 0.9), rel=1e-12)


def test_overlap_of_retention_and_margin() -> None:
    """m=100, r=.80, i=10 %: 266.67; r .82 adds 26.19, m 103 adds 8.00, both 34.98: neither their sum nor twice retention."""
    after = replace(OVERLAP, retention=0.82, margin_per_order=103.0)
    split = shapley_split(OVERLAP, after)
    assert total(OVERLAP) == pytest.approx(266.67, abs=CENTS)
    assert float(split.alone["retention"][0]) == pytest.approx(26.19, abs=CENTS)
    assert float(split.alone["margin_per_order"][0]) == pytest.approx(8.00, abs=CENTS)
    row = split.glance().iloc[0]
    assert row["change"] == pytest.approx(34.98, abs=CENTS)
    assert row["sum_of_terms_alone"] == pytest.approx(34.19, abs=CENTS)
    shares = split.tidy().set_index("term")["estimate"]
    interaction = 34.98 - 26.19 - 8.00  # two terms share it in halves
    assert shares["retention"] == pytest.approx(26.19 + interaction / 2, abs=2 * CENTS)
    assert shares["margin_per_order"] == pytest.approx(8.00 + interaction / 2, abs=2 * CENTS)
    assert shares["total"] == pytest.approx(shares.drop("total").sum(), rel=1e-12)


# By hand


def test_a_path_by_hand() -> None:
    """Three periods: Σ d·S·(orders × margin − service) + 0.5·(0.6·200 + 0.4·30) − 50."""
    terms = ValueTerms(
        retention=[[0.9, 0.8, 0.95]],
        orders=[[2.0, 2.0, 1.0]],
        margin_per_order=10.0,
        service_cost=[[1.0, 3.0, 0.0]],
        referrals=0.5,
        would_have_come=0.4,
        referred_value=200.0,
        saved_acquisition_cost=30.0,
        acquisition_cost=50.0,
        discount_rate=0.05,
        periods=3,
    )
    parts = customer_value_identity(terms)
    margin = 0.9 * 20 / 1.05 + 0.72 * 20 / 1.05**2 + 0.684 * 10 / 1.05**3
    service = 0.9 * 1 / 1.05 + 0.72 * 3 / 1.05**2
    assert parts.margin[0] == pytest.approx(margin, rel=1e-12)
    assert parts.service_cost[0] == pytest.approx(-service, rel=1e-12)
    assert parts.referrals[0] == pytest.approx(66.0, rel=1e-12)
    assert parts.acquisition_cost[0] == -50.0
    assert total(terms) == pytest.approx(margin - service + 66.0 - 50.0, rel=1e-12)
    shown = parts.tidy().set_index("part")["estimate"]
    assert shown["total"] == pytest.approx(shown.drop("total").sum(), rel=1e-12)


@pytest.mark.parametrize("periods", [1, 12, 40])
def test_agrees_with_a_present_value_of_flows(periods: int) -> None:
    flows = [0.0, *(100 * 0.8 ** np.arange(1, periods + 1))]
    assert total(replace(OVERLAP, periods=periods)) == pytest.approx(finance.npv(flows, 0.10), rel=1e-12)


def test_for_ever_is_the_limit_of_a_long_horizon() -> None:
    terms = replace(OVERLAP, service_cost=12.0, orders=1.7)
    assert total(replace(terms, periods=400)) == pytest.approx(total(terms), rel=1e-12)  # (0.8/1.1)^400 is left out


def test_a_referred_customer_who_would_have_come_brings_the_saved_cost_only() -> None:
    terms = replace(OVERLAP, referrals=1.0, referred_value=200.0, saved_acquisition_cost=30.0)
    brought = [total(replace(terms, would_have_come=share)) - total(OVERLAP) for share in (0.0, 1.0)]
    assert brought == pytest.approx([200.0, 30.0], rel=1e-12)


def test_draws_are_valued_one_by_one() -> None:
    generator = np.random.default_rng(1)
    draws = 50
    path = generator.uniform(0.6, 1.0, (draws, 4))
    margin, cost = generator.uniform(5, 20, draws), generator.uniform(0, 9, draws)
    together = replace(OVERLAP, retention=path, margin_per_order=margin, acquisition_cost=cost, periods=4)
    one_by_one = [
        total(replace(OVERLAP, retention=path[[k]], margin_per_order=margin[k], acquisition_cost=cost[k], periods=4))
        for k in range(draws)
    ]
    found = customer_value_identity(together)
    np.testing.assert_allclose(found.total, one_by_one, rtol=1e-12)
    row = found.tidy().set_index("part").loc["total"]
    assert row["estimate"] == pytest.approx(np.mean(one_by_one), rel=1e-12)
    assert row["low"] < row["median"] < row["high"]
    assert found.glance()["draws"].iloc[0] == draws


# Shapley's axioms

CHANGES: dict[str, tuple[float, float]] = {
    "retention": (0.0, 1.0),
    "orders": (0.0, 6.0),
    "margin_per_order": (-50.0, 200.0),
    "service_cost": (0.0, 30.0),
    "referrals": (0.0, 3.0),
    "would_have_come": (0.0, 1.0),
    "referred_value": (-100.0, 500.0),
    "saved_acquisition_cost": (0.0, 100.0),
    "acquisition_cost": (0.0, 100.0),
}
DRAWS = 3


@st.composite
def many_terms(draw: st.DrawFn) -> ValueTerms:
    """Terms over six periods, each a number a draw."""
    values: dict[str, Any] = {
        name: draw(arrays(np.float64, DRAWS, elements=st.floats(*span))) for name, span in CHANGES.items()
    }
    return ValueTerms(discount_rate=0.03, periods=6, **values)


@settings(deadline=None, max_examples=25)
@given(many_terms(), many_terms())
def test_parts_sum_to_the_total_in_every_draw(before: ValueTerms, after: ValueTerms) -> None:
    split = shapley_split(before, after)
    change = customer_value_identity(after).total - customer_value_identity(before).total
    summed = np.sum(list(split.parts.values()), axis=0)
    size = np.abs(customer_value_identity(before).total) + np.abs(customer_value_identity(after).total) + 1.0
    assert (np.abs(summed - change) <= 1e-9 * size).all()


@settings(deadline=None, max_examples=25)
@given(many_terms(), many_terms(), st.sets(st.sampled_from(TERMS), min_size=1, max_size=4))
def test_a_term_that_changes_nothing_gets_nothing(before: ValueTerms, after: ValueTerms, moved: set[str]) -> None:
    changes: dict[str, Any] = {name: after.term(name) for name in moved}
    split = shapley_split(before, replace(before, **changes))
    for name in set(TERMS) - moved:
        assert (split.parts[name] == 0).all()
    idle = shapley_split(replace(before, referrals=0.0), replace(after, referrals=0.0))
    size = np.abs(idle.before) + np.abs(idle.after) + 1.0
    for name in ("referred_value", "would_have_come", "saved_acquisition_cost"):  # they move, but nobody is referred
        assert (np.abs(idle.parts[name]) <= 1e-9 * size).all()


@settings(deadline=None, max_examples=25)
@given(many_terms(), st.floats(0.5, 2.0))
def test_terms_that_do_the_same_get_the_same(before: ValueTerms, factor: float) -> None:
    """Orders and margin per order enter as their product: multiplied alike they get alike."""
    after = replace(
        before, orders=before.term("orders") * factor, margin_per_order=before.term("margin_per_order") * factor
    )
    split = shapley_split(before, after)
    np.testing.assert_allclose(split.parts["orders"], split.parts["margin_per_order"], rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(many_terms(), many_terms())
def test_the_way_back_is_the_way_there(before: ValueTerms, after: ValueTerms) -> None:
    """The order of the terms plays no part: split backwards, every part changes its sign."""
    there, back = shapley_split(before, after), shapley_split(after, before)
    size = np.abs(there.before) + np.abs(there.after) + 1.0
    for name in TERMS:
        assert (np.abs(there.parts[name] + back.parts[name]) <= 1e-9 * size).all()


def test_three_terms_by_all_their_orders() -> None:
    """The average over the six orders, written out."""
    after = replace(OVERLAP, retention=0.85, orders=1.2, margin_per_order=90.0, periods=8)
    before = replace(OVERLAP, periods=8)
    moved = ("retention", "orders", "margin_per_order")
    by_hand = dict.fromkeys(moved, 0.0)
    for order in [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]:
        now = before
        for place in order:
            change: dict[str, Any] = {moved[place]: after.term(moved[place])}
            following = replace(now, **change)
            by_hand[moved[place]] += (total(following) - total(now)) / 6
            now = following
    split = shapley_split(before, after)
    for name in moved:
        assert float(split.parts[name][0]) == pytest.approx(by_hand[name], rel=1e-9)


def test_draws_of_one_side_only() -> None:
    after = replace(OVERLAP, retention=np.array([0.80, 0.82, 0.84]))
    split = shapley_split(OVERLAP, after)
    assert split.before.shape == split.after.shape == (3,)
    np.testing.assert_allclose(split.parts["retention"], split.after - split.before, rtol=1e-12)
    assert split.parts["retention"][0] == pytest.approx(0.0, abs=1e-9)


# What must not be summed


def test_churn_saved_and_change_in_ltv_are_refused() -> None:
    with pytest.raises(InputError, match="churn_saved and change_in_ltv both hold retention") as refused:
        refuse_overlap({"churn_saved": 26.19, "change_in_ltv": 34.98})
    assert "26.19 + 34.98" in str(refused.value)
    assert "shapley_split" in str(refused.value)


@pytest.mark.parametrize(
    ("claimed", "shared"),
    [
        (["retention", "stay_and_spend"], "retention"),
        (["stay_and_spend", "lifetime_value"], "retention, orders, margin_per_order"),
        (["trial_and_forgiveness", "spend"], "retention, orders"),
        (["lifetime_value", "cost_to_serve"], "service_cost"),
        (["lifetime_value", "margin_per_order"], "margin_per_order"),
        (["referrals", "acquisition_and_price"], "saved_acquisition_cost"),
    ],
)
def test_every_overlap_is_named(claimed: list[str], shared: str) -> None:
    with pytest.raises(InputError, match=f"{claimed[0]} and {claimed[1]} both hold {shared}\\."):
        refuse_overlap(claimed)


def test_a_benefit_claimed_twice_is_refused() -> None:
    with pytest.raises(InputError, match="referrals stands there more than once"):
        refuse_overlap(["referrals", "referrals"])
    with pytest.raises(InputError, match="churn_saved and retention both hold retention"):
        refuse_overlap(["churn_saved", "retention"])


def test_benefits_apart_are_listed_with_their_terms() -> None:
    ledger = refuse_overlap(["lifetime_value", "referrals", "acquisition_cost", "culture"])
    held = ledger[ledger["term"] != ""]
    assert held["term"].is_unique
    assert set(held["term"]) == set(TERMS)
    assert ledger.loc[ledger["benefit"] == "culture", "term"].tolist() == [""]


def test_seven_benefits_are_terms_and_three_are_not() -> None:
    assert [bool(terms) for terms in BENEFITS.values()] == [True] * 7 + [False] * 3
    assert set().union(*BENEFITS.values()) == set(TERMS)


def test_an_unknown_benefit_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean lifetime_value"):
        refuse_overlap(["lifetime_values"])


# What is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retention": 80.0}, "retention must be a share"),
        ({"would_have_come": -0.1}, "would_have_come must be a share"),
        ({"orders": np.nan}, "orders must hold finite numbers"),
        ({"periods": 0}, "periods must be a whole number"),
        ({"periods": 2.5}, "periods must be a whole number"),
        ({"discount_rate": -1.0}, "discount_rate must be a number above -1"),
        ({"retention": 1.0, "discount_rate": 0.0}, "a value for ever must have retention below"),
        ({"orders": [1.0, 2.0], "margin_per_order": [1.0, 2.0, 3.0]}, "the same number of draws"),
        ({"retention": [[0.9, 0.8]]}, "retention must be of shape"),
        ({"retention": [[0.9, 0.8]], "periods": 3}, "retention must be of shape"),
        ({"acquisition_cost": [[1.0, 2.0]], "periods": 2}, "acquisition_cost must be of shape"),
    ],
)
def test_wrong_terms_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(OVERLAP, **changes)


@pytest.mark.parametrize("change", [{"discount_rate": 0.12}, {"periods": 12}])
def test_a_change_of_rate_or_horizon_is_no_benefit(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="one discount rate and one horizon"):
        shapley_split(OVERLAP, replace(OVERLAP, **change))
