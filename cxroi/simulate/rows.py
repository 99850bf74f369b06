"""Rows of the contract's tables, made from one quarter of a chunk; columns as NumPy arrays.

Customers are numbered from 0 within their chunk; times are seconds since 1970-01-01 (``…_at``) or days (``…_on``) with
``NOT_YET`` for an empty one; categories are codes. ``cxroi.simulate.files`` says how each column is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cxroi.simulate import loyalty
from cxroi.simulate.process import (
    CONTACT_COST,
    METRICS,
    Customers,
    Flags,
    Floats,
    Integers,
    Quarter,
    answer,
    failing_probability,
    first_day,
    order_amount,
    referral_rate,
)
from cxroi.simulate.worlds import World

Columns = dict[str, NDArray[Any]]

NOT_YET = int(np.iinfo(np.int64).min)
DAY_SECONDS = 86_400
OPENING_SECONDS = 8 * 3_600
OPEN_SECONDS = 13 * 3_600

REGIONS = ("Hà Nội", "Đà Nẵng", "TP. Hồ Chí Minh")
PLANS = ("Cơ bản", "Tiêu chuẩn", "Cao cấp")
ACQUISITION_CHANNELS = ("store", "online_ads", "partner", "referral")
ACQUISITION_COST = np.array([1_800_000.0, 2_600_000.0, 2_200_000.0, 900_000.0])
REFERRAL = ACQUISITION_CHANNELS.index("referral")
ORDER_CHANNELS = ("store", "app", "web")
CONTACT_CHANNELS = ("phone", "courier", "counter")
CONTACT_BY_BRAND = np.array([False, True, False])
RELATIONSHIP = -1

INVITED_SHARE = {"nps": 0.5, "csat": 0.5, "ces": 0.35}
ASKED_AT = {"csat": (0, 1, 2), "ces": (0, 2)}
ANSWER_LOG_ODDS = {"nps": 0.0, "csat": -0.4, "ces": -0.4}
LONGEST_WAIT_SECONDS = 3 * DAY_SECONDS


def moments(rng: np.random.Generator, first: Integers, stop: int) -> Integers:
    """Random seconds in the opening hours of the days ``first`` … ``stop`` − 1; shape of ``first``."""
    day = first + np.floor(rng.random(len(first)) * (stop - first)).astype(np.int64)
    second: Integers = day * DAY_SECONDS + OPENING_SECONDS + rng.integers(0, OPEN_SECONDS, len(first))
    return second


def customer_rows(customers: Customers, left_on: Integers, referred: Flags, rng: np.random.Generator) -> Columns:
    """``customers`` of a chunk; the referred get their channel and its lower cost."""
    channel = np.where(referred, REFERRAL, customers.channel)
    cost = ACQUISITION_COST[channel] * rng.lognormal(-0.08, 0.4, len(channel))
    return {
        "customer_id": np.arange(len(channel)),
        "joined_on": customers.joined_day,
        "left_on": left_on,
        "region": customers.region,
        "plan": customers.plan,
        "age": customers.age.astype(np.int64),
        "acquisition_channel": channel,
        "acquisition_cost": np.round(cost, -3),
    }


def rows_of(world: World, customers: Customers, quarter: Quarter, rng: np.random.Generator) -> dict[str, Columns]:
    """Rows of a quarter for the tables that every company has."""
    touches = touch_rows(customers, quarter, rng)
    return {
        "transactions": transaction_rows(world, customers, quarter, rng),
        "touches": touches,
        "surveys": survey_rows(world, customers, quarter, touches, rng),
        "referrals": referral_rows(world, customers, quarter, rng),
    }


def leaving_days(quarter: Quarter, rng: np.random.Generator) -> Integers:
    """Days on which the quarter's leavers leave, never its first; shape (leavers,)."""
    first, stop = first_day(quarter.t), first_day(quarter.t + 1)
    return rng.integers(first + 1, stop, int(quarter.leaving.sum()))


def transaction_rows(world: World, customers: Customers, quarter: Quarter, rng: np.random.Generator) -> Columns:
    """``transactions``: the orders, and the refund of some of them later in the same quarter."""
    who = np.repeat(np.arange(len(quarter.orders)), quarter.orders)
    first, stop = first_day(quarter.t), first_day(quarter.t + 1)
    mean = order_amount(world, customers, quarter.score_before)[who]
    sd = world.amount_within_sd
    amount = np.maximum(np.round(mean * np.exp(sd * rng.standard_normal(len(who)) - 0.5 * sd**2), -2), 100.0)
    for_brands, for_discounts, for_habits = rng.spawn(3)
    spread = world.margin_rate_half_width * (2.0 * rng.random(len(who)) - 1.0)
    margin = np.round(amount * (world.margin_rate + spread))
    at = moments(rng, np.maximum(first, customers.joined_day)[who], stop)
    channel = rng.integers(0, len(ORDER_CHANNELS), len(who))
    if any(world.loyalty_shares):
        habit = customers.loyalty[who] == loyalty.BEHAVIOURAL
        begin = np.maximum(first, customers.joined_day)[who] * DAY_SECONDS
        even = loyalty.habitual_seconds(who, begin, stop * DAY_SECONDS, for_habits)
        at = np.where(habit, np.minimum(even, stop * DAY_SECONDS - 2), at)
        keeps = for_habits.random(len(who)) < loyalty.HABIT_CHANNEL
        channel = np.where(habit & keeps, who % len(ORDER_CHANNELS), channel)
    brand = loyalty.brand_of_orders(customers.brand, customers.second_brand, who, for_brands)
    discount = loyalty.discount_of_orders(amount, quarter.offer[who], customers.taking[who], for_discounts)
    back = np.flatnonzero(rng.random(len(who)) < world.refund_share)
    back_at = at[back] + 1 + np.floor(rng.random(len(back)) * (stop * DAY_SECONDS - 1 - at[back])).astype(np.int64)
    return {
        "customer_id": np.concatenate([who, who[back]]),
        "occurred_at": np.concatenate([at, back_at]),
        "amount": np.concatenate([amount, -amount[back]]),
        "margin": np.concatenate([margin, -margin[back]]),
        "channel": np.concatenate([channel, channel[back]]),
        "brand": np.concatenate([brand, brand[back]]),
        "discount": np.concatenate([discount, -discount[back]]),
    }


def touch_rows(customers: Customers, quarter: Quarter, rng: np.random.Generator) -> Columns:
    """``touches``: at most one contact at each touchpoint; contacts of the dissatisfied fail more often."""
    touchpoint, who = np.nonzero(quarter.contacts)
    first, stop = first_day(quarter.t), first_day(quarter.t + 1)
    rows = {
        "customer_id": who,
        "occurred_at": moments(rng, np.maximum(first, customers.joined_day)[who], stop),
        "touchpoint": touchpoint,
        "channel": touchpoint,
        "cost": np.round(CONTACT_COST[touchpoint] * (0.5 + rng.random(len(who))), -2),
        "initiated_by": CONTACT_BY_BRAND[touchpoint].astype(np.int64),
    }
    failed = rng.random(len(who)) < failing_probability(quarter.score[who])
    return rows | {"failed": failed if quarter.failed is None else quarter.failed[touchpoint, who]}


def survey_rows(
    world: World, customers: Customers, quarter: Quarter, touches: Columns, rng: np.random.Generator
) -> Columns:
    """``surveys``: relationship NPS of a random half, CSAT and CES after contacts; invited without answer included."""
    parts = []
    first, stop = first_day(quarter.t), first_day(quarter.t + 1)
    for code, metric in enumerate(METRICS):
        if metric == "nps":
            who = np.flatnonzero(
                quarter.active & (rng.random(len(quarter.active)) < world.invited * INVITED_SHARE[metric])
            )
            touchpoint = np.full(len(who), RELATIONSHIP)
            invited_at = moments(rng, np.maximum(first, customers.joined_day)[who], stop)
        else:
            asked = np.isin(touches["touchpoint"], ASKED_AT[metric])
            asked &= rng.random(len(asked)) < world.invited * INVITED_SHARE[metric]
            who, touchpoint = touches["customer_id"][asked], touches["touchpoint"][asked]
            invited_at = _within(rng, touches["occurred_at"][asked], 7_200, stop)
        answered = rng.random(len(who)) < _answering(world, quarter, who, metric)
        score = answer(world, metric, quarter.score[who], rng.standard_normal(len(who)))
        parts.append(
            {
                "customer_id": who,
                "metric": np.full(len(who), code),
                "score": np.where(answered, score, np.nan),
                "answered_at": np.where(answered, _within(rng, invited_at, LONGEST_WAIT_SECONDS, stop), NOT_YET),
                "invited_at": invited_at,
                "touchpoint": touchpoint,
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def referral_rows(world: World, customers: Customers, quarter: Quarter, rng: np.random.Generator) -> Columns:
    """``referrals``: customers who stayed bring some of those who joined in the quarter."""
    stayed = quarter.at_start & ~quarter.leaving
    rate = np.where(stayed, referral_rate(world, customers, quarter.score_before), 0.0)
    referrer = np.repeat(np.arange(len(rate)), rng.poisson(rate))
    joined = np.flatnonzero(customers.joined_quarter == quarter.t)
    n = min(len(referrer), len(joined))
    referred = rng.permutation(joined)[:n]
    referrer = rng.permutation(referrer)[:n]
    return {
        "referrer_id": referrer,
        "referred_id": referred,
        "occurred_at": customers.joined_day[referred] * DAY_SECONDS + rng.integers(0, OPENING_SECONDS, n),
        "incentivised": rng.random(n) < loyalty.INCENTIVISED[customers.loyalty[referrer]],
    }


def exposure_rows(quarter: Quarter) -> Columns:
    """``exposures`` of the pilot, all on the first day of its first quarter."""
    who = np.flatnonzero(quarter.arm >= 0)
    return {
        "initiative_id": np.zeros(len(who), dtype=np.int64),
        "customer_id": who,
        "exposed_on": np.full(len(who), first_day(quarter.t)),
        "arm": quarter.arm[who],
    }


def _within(rng: np.random.Generator, at: Integers, seconds: int, stop: int) -> Integers:
    room = np.minimum(seconds, stop * DAY_SECONDS - 1 - at)
    later: Integers = at + np.floor(rng.random(len(at)) * room).astype(np.int64)
    return later


def _answering(world: World, quarter: Quarter, who: Integers, metric: str) -> Floats:
    usual = np.log1p(np.mean(quarter.orders[quarter.active])) if quarter.active.any() else 0.0
    log_odds = (
        ANSWER_LOG_ODDS[metric]
        + world.score_on_answering * (quarter.score[who] - world.score_mean)
        + world.orders_on_answering * (np.log1p(quarter.orders[who]) - usual)
    )
    return np.asarray(expit(log_odds), dtype=np.float64)
