"""The process: customers, their satisfaction and what they do, quarter by quarter.

Arrays are of shape (n,), one entry a customer of the chunk, unless stated. Quarters are indices of ``cxroi.periods``;
the score of quarter t acts on the outcomes of t + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cxroi import periods
from cxroi.errors import InputError
from cxroi.simulate.loyalty import (
    EMOTIONAL,
    EMOTIONAL_POINTS,
    EMOTIONAL_REFERRALS,
    OFFERS,
    draw_offers,
    draw_traits,
    habitual_orders,
    price_shift,
)
from cxroi.simulate.worlds import World

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

LAST_QUARTER = periods.index("2026Q3")
LONGEST_TENURE_QUARTERS = 12
METRICS = ("nps", "csat", "ces")
SCALES: dict[str, tuple[int, int]] = {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}
JOINING_SHARE_PER_QUARTER = 0.035
PLAN_SHARES = np.array([0.40, 0.35, 0.25])
SEASON_ORDERS = np.array([0.08, -0.03, -0.04, -0.01])
SEASON_STAYING = np.array([0.04, 0.0, -0.04, 0.0])
TOUCHPOINTS = ("support", "delivery", "store")
CONTACT_LOG_ODDS = np.array([-1.7, -0.7, -1.4])
CONTACT_SCORE_WEIGHT = np.array([1.0, 0.0, 0.0])
CONTACT_COST = np.array([120_000.0, 60_000.0, 90_000.0])


@dataclass(frozen=True)
class Customers:
    """What does not change about a chunk's customers; every field has shape (n,).

    ``joined_day`` counts from 1970-01-01; ``level`` is the long-run satisfaction on
    the 0-10 scale; ``staying`` (log-odds), ``rate`` (log orders a quarter) and ``amount`` (log of an order's amount)
    hold everything but satisfaction, tenure and season. ``brand``, ``second_brand``, ``loyalty`` and ``taking`` are those of
    ``cxroi.simulate.loyalty``.
    """

    joined_quarter: Integers
    joined_day: Integers
    region: Integers
    plan: Integers
    age: Floats
    channel: Integers
    level: Floats
    staying: Floats
    rate: Floats
    amount: Floats
    brand: Integers
    second_brand: Integers
    loyalty: Integers
    taking: Floats

    def pick(self, index: Integers | Flags) -> Customers:
        """Return some of the customers, in the order of the index."""
        return replace(self, **{field.name: getattr(self, field.name)[index] for field in fields(self)})


@dataclass(frozen=True)
class Quarter:
    """What happened in quarter t; every array has shape (n,).

    ``at_start`` were customers when the quarter began, ``leaving`` of them left in it, ``active`` are customers at its
    end. ``score_before`` is the satisfaction that acted on the quarter, ``score`` the one its answers show, with
    ``wave`` its passing part; ``lift_before`` and ``lift`` are what a pilot added to them. ``contacts`` has shape
    (touchpoints, n); ``arm`` is 1 treated, 0 control, -1 outside the pilot. ``offer`` is the share of the price offered off.
    ``failed`` (touchpoints, n) is None where failing moves nothing. What acted on the quarter beside satisfaction are
    ``contacts_before``, in which failing counts, and ``offer_before``.
    """

    t: int
    at_start: Flags
    leaving: Flags
    active: Flags
    score_before: Floats
    score: Floats
    wave: Floats
    lift_before: Floats
    lift: Floats
    orders: Integers
    contacts: Flags
    arm: Integers
    offer: Floats
    failed: Flags | None
    contacts_before: Flags
    offer_before: Floats


def first_day(t: int) -> int:
    """Day (since 1970-01-01) on which quarter t begins."""
    return int(np.datetime64(periods.start(t), "D").astype(np.int64))


def response(world: World, score: Floats) -> Floats:
    """Satisfaction in points from the bend, weighted below and above it; any shape."""
    gap = score - world.bend
    return world.below_bend * np.minimum(gap, 0.0) + world.above_bend * np.maximum(gap, 0.0)


def staying_probability(
    world: World, customers: Customers, score: Floats, t: int, *, shift: Floats | float = 0.0
) -> Floats:
    """Probability of staying through quarter t given the score of t - 1; shape of ``score``, (..., n).

    ``shift`` is what failed touches and prices of t - 1 add to the log-odds.
    """
    tenure = np.minimum(t - 1 - customers.joined_quarter, LONGEST_TENURE_QUARTERS)
    fixed = customers.staying + world.tenure_on_staying * tenure + SEASON_STAYING[t % 4]
    log_odds = fixed + world.staying_per_point * response(world, score)
    return np.asarray(expit(log_odds + shift if np.any(shift) else log_odds), dtype=np.float64)


def expected_staying(
    world: World, customers: Customers, score: Floats, t: int, *, contacts: Any, price: Floats | float
) -> Floats:
    """Probability of staying before it is known which contacts of t - 1 fail; shape of ``score``, (..., n).

    ``contacts`` (touchpoints, ..., n) are flags or probabilities, ``price`` the share of the usual price above it.
    """
    shift = price_shift(world, customers.loyalty, price) if world.price_on_staying else 0.0
    unharmed = staying_probability(world, customers, score, t, shift=shift)
    if not world.failed_on_staying:
        return unharmed
    harmed = staying_probability(world, customers, score, t, shift=shift + failure_shift(world, score))
    fails = 1.0 - np.prod(1.0 - np.asarray(contacts, dtype=np.float64) * failing_probability(score), axis=0)
    return np.asarray(unharmed + fails * (harmed - unharmed), dtype=np.float64)


def future_staying(world: World, customers: Customers, score: Floats, t: int, *, contacts: Any, rise: float) -> Floats:
    """``expected_staying`` before the offers of t - 1 are known, all prices having risen by a share."""
    if not world.price_on_staying:
        return expected_staying(world, customers, score, t, contacts=contacts, price=0.0)
    prices = rise + OFFERS.mean() - OFFERS
    every = [expected_staying(world, customers, score, t, contacts=contacts, price=float(price)) for price in prices]
    return np.asarray(np.mean(every, axis=0))


def failure_shift(world: World, score: Floats) -> Floats:
    """Log-odds that a failed touch adds to staying in the next quarter; shape of ``score``."""
    return world.failed_on_staying + world.forgiveness_per_point * (score - world.score_mean)


def failing_probability(score: Floats) -> Floats:
    """Probability that a contact fails; contacts of the dissatisfied fail more often; shape of ``score``."""
    return np.asarray(expit(-2.2 - 0.3 * (score - 7.0)), dtype=np.float64)


def order_rate(world: World, customers: Customers, score: Floats, t: int) -> Floats:
    """Orders expected in quarter t of those who stay, given the score of t - 1; shape of ``score``, (..., n)."""
    rate: Floats = np.exp(customers.rate + SEASON_ORDERS[t % 4] + world.orders_per_point * response(world, score))
    return rate


def order_amount(world: World, customers: Customers, score: Floats) -> Floats:
    """Expected amount of an order, currency, before refunds; shape of ``score``, (..., n)."""
    return np.exp(customers.amount + world.amount_per_point * response(world, score))


def order_margin(world: World, customers: Customers, score: Floats) -> Floats:
    """Expected margin of an order, currency, after refunds; shape of ``score``, (..., n)."""
    return order_amount(world, customers, score) * (world.margin_rate * (1.0 - world.refund_share))


def contact_probability(world: World, score: Floats) -> Floats:
    """Probability of a contact at each touchpoint given the score before; shape (touchpoints, ..., n)."""
    shape = (-1,) + (1,) * score.ndim
    slope = (world.contacts_per_point * CONTACT_SCORE_WEIGHT).reshape(shape)
    return np.asarray(expit(CONTACT_LOG_ODDS.reshape(shape) + slope * response(world, score)), dtype=np.float64)


def referral_rate(world: World, customers: Customers, score: Floats) -> Floats:
    """Referrals expected of those who stay, given the score before; shape of ``score``."""
    rate = world.referral_rate * np.exp(world.referrals_per_point * response(world, score))
    return np.where(customers.loyalty == EMOTIONAL, EMOTIONAL_REFERRALS, 1.0) * rate


def draw_customers(
    world: World, rng: np.random.Generator, *, size: int, quarters: int, orders_per_quarter: float
) -> Customers:
    """Draw a chunk of customers: most joined up to 12 quarters before the data begin, some within them."""
    during = rng.random(size) < min(0.5, JOINING_SHARE_PER_QUARTER * quarters)
    opening = LAST_QUARTER - quarters + 1
    joined_quarter = opening + np.where(during, rng.integers(0, quarters, size), -rng.integers(1, 13, size))
    starts = np.array([first_day(t) for t in range(opening - 12, LAST_QUARTER + 2)])
    begin, stop = starts[joined_quarter - opening + 12], starts[joined_quarter - opening + 13]
    joined_day = begin + np.floor(rng.random(size) * (stop - begin)).astype(np.int64)
    plan = rng.choice(3, size, p=PLAN_SHARES)
    age = np.clip(np.round(18.0 + rng.gamma(4.0, 5.0, size)), 18.0, 85.0)
    older = (age - 38.0) / 10.0
    trait, own, spend = rng.standard_normal((3, size))
    by_plan = np.array(world.plan_on_score) - PLAN_SHARES @ np.array(world.plan_on_score)
    shared = PLAN_SHARES @ by_plan**2 + world.age_on_score**2 + world.trait_on_score**2
    if shared > world.score_between_sd**2:
        raise InputError("score_between_sd must be at least the spread that plan, age and trait give to satisfaction")
    own_sd = np.sqrt(world.score_between_sd**2 - shared)
    traits = draw_traits(world, rng.spawn(1)[0], size)
    gamma = rng.gamma(world.orders_gamma_shape, 1.0 / world.orders_gamma_shape, size)
    return Customers(
        joined_quarter=joined_quarter,
        joined_day=joined_day,
        region=rng.choice(3, size, p=[0.45, 0.15, 0.40]),
        plan=plan,
        age=age,
        channel=np.where(
            during, rng.choice(3, size, p=[0.4, 0.35, 0.25]), rng.choice(4, size, p=[0.35, 0.3, 0.2, 0.15])
        ),
        level=world.score_mean
        + by_plan[plan]
        + world.age_on_score * older
        + world.trait_on_score * trait
        + own_sd * own
        + EMOTIONAL_POINTS * (traits["loyalty"] == EMOTIONAL),
        staying=world.staying_log_odds
        + np.array(world.plan_on_staying)[plan]
        + world.age_on_staying * older
        + world.trait_on_staying * trait
        + world.frailty_sd * rng.standard_normal(size),
        rate=np.log(orders_per_quarter)
        + np.array(world.plan_on_orders)[plan]
        + world.age_on_orders * older
        + world.trait_on_orders * trait
        + np.log(np.maximum(gamma, 1e-6)),
        amount=np.log(world.amount_mean) + world.amount_between_sd * spend - 0.5 * world.amount_between_sd**2,
        **traits,
    )


def pilot_start(quarters: int) -> int:
    """Quarter in which a pilot begins: four before the data end, or halfway in short data."""
    return LAST_QUARTER - (3 if quarters >= 6 else quarters - 1 - quarters // 2)


def walk(world: World, customers: Customers, rng: np.random.Generator, *, quarters: int) -> Iterator[Quarter]:
    """Quarters of a chunk up to 2026Q3, one after the other."""
    size = len(customers.age)
    for_failures, for_offers, for_habits = rng.spawn(3)
    wave = world.score_within_sd * rng.standard_normal(size)
    lift = np.zeros(size)
    arm = np.full(size, -1)
    score = customers.level + wave
    left = np.zeros(size, dtype=bool)
    failed: Flags | None = None
    shift: Floats | float = 0.0
    contacts_before, offer_before = np.zeros((len(TOUCHPOINTS), size), dtype=bool), np.full(size, OFFERS.mean())
    for t in range(LAST_QUARTER - quarters + 1, LAST_QUARTER + 1):
        at_start = (customers.joined_quarter < t) & ~left
        if world.pilot_share and t == pilot_start(quarters):
            arm, lift_now = _randomise(world, rng, at_start)
        else:
            lift_now = lift
        leaving = at_start & (rng.random(size) >= staying_probability(world, customers, score, t, shift=shift))
        left |= leaving
        active = (customers.joined_quarter <= t) & ~left
        rate = order_rate(world, customers, score, t) * _share_present(customers, t)
        orders = rng.poisson(np.where(active, rate, 0.0))
        if any(world.loyalty_shares):
            orders = habitual_orders(np.where(active, rate, 0.0), customers.loyalty, orders, for_habits)
        offer = draw_offers(world, for_offers, size)
        contacts = active & (rng.random((len(TOUCHPOINTS), size)) < contact_probability(world, score))
        wave = next_wave(world, rng, wave)
        now = customers.level + wave + lift_now + feedback(world, orders, rate)
        if world.failed_on_staying:
            failed = contacts & (for_failures.random(contacts.shape) < failing_probability(now))
        yield Quarter(
            t=t,
            at_start=at_start,
            leaving=leaving,
            active=active,
            score_before=score,
            score=now,
            wave=wave,
            lift_before=lift,
            lift=lift_now,
            orders=orders,
            contacts=contacts,
            arm=arm,
            offer=offer,
            failed=failed,
            contacts_before=contacts_before,
            offer_before=offer_before,
        )
        shift = _beside_satisfaction(world, customers, now, failed, offer)
        score, lift, contacts_before, offer_before = now, lift_now, contacts, offer


def points_of_satisfaction(metric: str) -> float:
    """Points of satisfaction (0-10) that one point of the answer stands for.

    Examples
    --------
    >>> points_of_satisfaction("csat")
    2.5
    """
    low, high = SCALES[metric]
    return 10.0 / (high - low)


def answer(world: World, metric: str, score: Floats, noise: Floats) -> Floats:
    """Whole-number answer that satisfaction ``score`` leads to; ``noise`` is standard normal; shape of ``score``."""
    low, high = SCALES[metric]
    exact = low + (score + world.answer_noise_sd * noise) / points_of_satisfaction(metric)
    return np.rint(np.clip(exact, low, high))


def next_wave(world: World, rng: np.random.Generator, wave: Floats) -> Floats:
    """Next quarter's deviation from the customer's level: stationary AR(1); shape of ``wave``."""
    shock = world.score_within_sd * np.sqrt(1.0 - world.persistence**2)
    following: Floats = world.persistence * wave + shock * rng.standard_normal(wave.shape)
    return following


def feedback(world: World, orders: Integers, rate: Floats) -> Floats | float:
    """Points of satisfaction that this quarter's orders add (0 but where orders raise satisfaction)."""
    if world.orders_on_score == 0.0:
        return 0.0
    added: Floats = world.orders_on_score * (np.log1p(orders) - np.log1p(np.mean(rate)))
    return added


def _beside_satisfaction(
    world: World, customers: Customers, score: Floats, failed: Flags | None, offer: Floats
) -> Floats | float:
    """Log-odds that a quarter's failed touches and offers add to staying in the next one."""
    shift: Floats | float = 0.0
    if world.price_on_staying:
        shift = price_shift(world, customers.loyalty, OFFERS.mean() - offer)
    if failed is not None:
        shift = shift + np.where(failed.any(axis=0), failure_shift(world, score), 0.0)
    return shift


def _share_present(customers: Customers, t: int) -> Floats:
    begin, stop = first_day(t), first_day(t + 1)
    return np.where(customers.joined_quarter == t, (stop - customers.joined_day) / (stop - begin), 1.0)


def _randomise(world: World, rng: np.random.Generator, eligible: Flags) -> tuple[Integers, Floats]:
    draw = rng.random(len(eligible))
    arm = np.where(draw < world.pilot_share, 1, np.where(draw < 2 * world.pilot_share, 0, -1))
    arm = np.where(eligible, arm, -1)
    return arm, world.pilot_lift * (arm == 1)
