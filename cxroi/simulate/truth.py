"""The truth of a simulated company: effects of one more point, at the true probabilities, over the whole base."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.special import ndtr

from cxroi import periods
from cxroi.simulate.loyalty import BRANDS, LOYALTY, OFFERS, SHOCK
from cxroi.simulate.process import (
    CONTACT_COST,
    LAST_QUARTER,
    METRICS,
    SCALES,
    Customers,
    Flags,
    Floats,
    Quarter,
    answer,
    contact_probability,
    expected_staying,
    failure_shift,
    feedback,
    future_staying,
    next_wave,
    order_margin,
    order_rate,
    points_of_satisfaction,
    referral_rate,
    staying_probability,
)
from cxroi.simulate.rows import Columns
from cxroi.simulate.worlds import World

UNITS = {
    "retained": "probability per quarter",
    "orders": "orders per quarter, given retained",
    "margin": "VND per customer and quarter, left = 0",
    "referrals": "referrals per customer and quarter, left = 0",
    "service_cost": "VND per customer and quarter, left = 0",
    "ltv": "VND per active customer",
}

DEFINITIONS = {
    "ame": "change for one more point of the answer (nps 1, csat 2.5, ces 1.67 points of satisfaction, not clipped to"
    " the scale), at the true probabilities, over all customer-quarters at risk; orders: over those retained",
    "ltv": "margin per customer active at the end, discounted at quarter ends, leaving and buying as expectations;"
    " ame: the point lasts, ame_fading: it fades by the factor persistence each quarter",
    "ltv_by_band": "ltv of the customers active at the end by band of their last answer",
    "population_nps": "expected NPS had all customers active at the quarter's end answered",
    "reliability": "slope of satisfaction on a single answer, in points of the answer, had all answered",
    "brands": "customers with an order of each brand, shared: of two or more, all: of any; margin after refunds",
    "discount": "share_of_orders with one, share_of_spend: discount over amount and discount, refunds netted",
    "forgiveness": "probability of leaving in a quarter at the satisfaction of the quarter before, with and without a"
    " failed touch in that one, over all customer-quarters at risk",
    "loyalty": "kinds of the customers active at the end, their expected share still there after each quarter of the"
    f" horizon, and the same had all prices risen by {SHOCK:.0%} at its start",
    "pilot": "lift in points of the answer; next_quarter: change of the outcomes of the treated due to the lift",
}

BANDS = {  # names of low, middle and high answers, and the answers between them
    "nps": (("detractor", "passive", "promoter"), (6.5, 8.5)),
    "csat": (("dissatisfied", "neutral", "satisfied"), (2.5, 3.5)),
    "ces": (("hard", "neutral", "easy"), (3.5, 4.5)),
}
NO_ANSWER = "no answer"
SATISFACTION_SHOWN = (5.0, 6.0, 7.0, 8.0, 9.0)

Sums = defaultdict[Any, float]


def add(total: Sums, part: Mapping[Any, float]) -> None:
    """Add the sums of one part of the company to the total, in place."""
    for key, value in part.items():
        total[key] += value


def outcomes(world: World, customers: Customers, score: Floats, quarter: Quarter) -> dict[str, Floats]:
    """Expected outcomes of a quarter given the score before it; each of shape (n,)."""
    t = quarter.t
    price = OFFERS.mean() - quarter.offer_before
    staying = expected_staying(world, customers, score, t, contacts=quarter.contacts_before, price=price)
    orders = order_rate(world, customers, score, t)
    return {
        "retained": staying,
        "orders": orders,
        "margin": staying * orders * order_margin(world, customers, score),
        "referrals": staying * referral_rate(world, customers, score),
        "service_cost": staying * (CONTACT_COST @ contact_probability(world, score)),
    }


def effect_sums(world: World, customers: Customers, quarter: Quarter) -> Sums:
    """Sums over a chunk's customers at risk: outcomes, and their change for one more point of each answer."""
    at_risk, retained = quarter.at_start, quarter.at_start & ~quarter.leaving
    base = outcomes(world, customers, quarter.score_before, quarter)
    sums: Sums = defaultdict(float, {"n": float(at_risk.sum()), "n_retained": float(retained.sum())})
    for metric in SCALES:
        more = outcomes(world, customers, quarter.score_before + points_of_satisfaction(metric), quarter)
        for outcome, values in base.items():
            chosen = retained if outcome == "orders" else at_risk
            sums["effect", outcome, metric] = float((more[outcome] - values)[chosen].sum())
            sums["level", outcome] = float(values[chosen].sum())
    return sums


def pilot_sums(world: World, customers: Customers, quarter: Quarter) -> Sums:
    """Sums over the treated at risk: outcomes with the pilot's lift less those without it."""
    treated = quarter.at_start & (quarter.lift_before > 0)
    if not treated.any():
        return defaultdict(float)
    score, lift = quarter.score_before, quarter.lift_before
    with_lift, without = outcomes(world, customers, score, quarter), outcomes(world, customers, score - lift, quarter)
    sums: Sums = defaultdict(float, {"n_treated": float(treated.sum())})
    for outcome, values in with_lift.items():
        sums["pilot", outcome] = float((values - without[outcome])[treated].sum())
    return sums


def failure_sums(world: World, customers: Customers, quarter: Quarter) -> Sums:
    """Sums over a chunk's customers at risk: probability of leaving at fixed satisfaction, after a failed touch and without."""
    sums: Sums = defaultdict(float)
    if world.failed_on_staying:
        some = customers.pick(quarter.at_start)
        for points in SATISFACTION_SHOWN:
            score = np.full(len(some.age), points)
            for failed in (False, True):
                shift = failure_shift(world, score) if failed else 0.0
                leaving = 1.0 - staying_probability(world, some, score, quarter.t, shift=shift)
                sums["leaving", points, failed] = float(leaving.sum())
    return sums


def order_sums(world: World, customers: Customers, orders: Columns, bought: Flags) -> Sums:
    """Sums over a quarter's transactions: discounts, and margin by brand; marks in ``bought`` (n, brands) who bought what."""
    sums: Sums = defaultdict(float)
    is_order = orders["amount"] > 0
    if world.brands:
        bought[orders["customer_id"][is_order], orders["brand"][is_order]] = True
        for code in range(world.brands):
            sums["brand margin", code] = float(orders["margin"][orders["brand"] == code].sum())
    if world.offers_taken:
        sums["orders",], sums["discounted",] = float(is_order.sum()), float((orders["discount"] > 0).sum())
        sums["spend",], sums["discount",] = float(orders["amount"].sum()), float(orders["discount"].sum())
    return sums


def brand_sums(world: World, bought: Flags) -> Sums:
    """Numbers of a chunk's customers by brand; ``bought`` (n, brands) says who ordered what."""
    sums: Sums = defaultdict(float)
    if world.brands:
        sums.update({("brand customers", code): float(bought[:, code].sum()) for code in range(world.brands)})
        count = bought.sum(axis=1)
        sums["brand shared",], sums["brand all",] = float((count > 1).sum()), float((count > 0).sum())
    return sums


def answer_sums(world: World, quarter: Quarter, rng: np.random.Generator) -> Sums:
    """Sums over all active customers: expected promoters and detractors, moments of satisfaction and answers."""
    score = quarter.score[quarter.active]
    sums: Sums = defaultdict(float, {("active", quarter.t): float(len(score))})
    promoters, detractors = _beyond(score - 8.5, world), _beyond(6.5 - score, world)
    sums["nps", quarter.t] = float(promoters.sum() - detractors.sum())
    for metric in SCALES:
        given = answer(world, metric, score, rng.standard_normal(len(score)))
        for name, values in (("a", given), ("aa", given**2), ("sa", given * score), ("s", score)):
            sums["moment", metric, name] = float(values.sum())
    return sums


def remember_answers(last_answers: dict[str, Floats], surveys: Columns) -> None:
    """Keep each customer's mean answer of the quarter, where there is one, as the last one, in place."""
    for code, metric in enumerate(METRICS):
        given = (surveys["metric"] == code) & ~np.isnan(surveys["score"])
        size = len(last_answers[metric])
        who, score = surveys["customer_id"][given], surveys["score"][given]
        count = np.bincount(who, minlength=size)
        total = np.bincount(who, weights=score, minlength=size)
        last_answers[metric] = np.where(count > 0, total / np.maximum(count, 1), last_answers[metric])


def value_sums(
    world: World,
    customers: Customers,
    last: Quarter,
    rng: np.random.Generator,
    *,
    last_answers: dict[str, Floats],
    draws: int,
    horizon: tuple[int, float],
) -> Sums:
    """Sums of lifetime value over the customers active at the end, and of what one more point adds.

    Future paths of satisfaction are drawn (the same for all variants); leaving and buying enter as expectations.
    ``horizon`` is (quarters, annual discount rate). Keys ``value``, ``ltv``, ``ltv_fading`` per metric, and the sums of
    squared Monte-Carlo errors under ``error``; ``value`` and ``n_value`` also by metric and band of ``last_answers``, (n,) each.
    """
    some = customers.pick(last.active)
    quarters, annual_discount_rate = horizon
    size = len(some.age)
    if size == 0:
        return defaultdict(float)
    variants: dict[tuple[str, ...], tuple[float, float]] = {("value",): (0.0, 1.0)}
    for metric in SCALES:
        variants["ltv", metric] = (points_of_satisfaction(metric), 1.0)
        variants["ltv_fading", metric] = (points_of_satisfaction(metric), world.persistence)
    if any(world.loyalty_shares):
        variants["shock",] = (0.0, 1.0)
    path = np.broadcast_to(last.score[last.active], (draws, size))
    earlier = np.broadcast_to(last.score_before[last.active], (draws, size))
    wave = np.broadcast_to(last.wave[last.active], (draws, size))
    survival = {key: np.ones((draws, size)) for key in variants}
    value = {key: np.zeros((draws, size)) for key in variants}
    sums: Sums = defaultdict(float, {"n_value": float(size)})
    for h in range(1, quarters + 1):
        t = LAST_QUARTER + h
        discount = (1.0 + annual_discount_rate) ** (-h / 4)
        for key, (gain, keeps) in variants.items():
            score = path + gain * keeps ** (h - 1)
            contacts: Any = None
            if world.failed_on_staying:
                contacts = contact_probability(world, earlier + (gain * keeps ** (h - 2) if h > 1 else 0.0))
            rise = SHOCK if key == ("shock",) else 0.0
            survival[key] = survival[key] * future_staying(world, some, score, t, contacts=contacts, rise=rise)
            margin = order_rate(world, some, score, t) * order_margin(world, some, score)
            value[key] = value[key] + discount * survival[key] * margin
        if any(world.loyalty_shares):
            for code in range(len(LOYALTY)):
                for key in (("value",), ("shock",)):
                    sums["still there", code, key[0], h] = float(
                        survival[key][:, some.loyalty == code].mean(axis=0).sum()
                    )
        rate = order_rate(world, some, path, t)
        wave = next_wave(world, rng, wave)
        added = feedback(world, rng.poisson(rate), rate) if world.orders_on_score else 0.0
        earlier, path = path, some.level + last.lift[last.active] + wave + added
    for code in range(len(LOYALTY)):
        sums["loyal", code] = float((some.loyalty == code).sum())
    for metric, (names, edges) in BANDS.items():
        answers = last_answers[metric][last.active]
        band = np.where(np.isnan(answers), len(names), np.searchsorted(edges, np.nan_to_num(answers)))
        for code, name in enumerate((*names, NO_ANSWER)):
            inside = band == code
            sums["n_value", metric, name] = float(inside.sum())
            sums["value", metric, name] = float(value["value",].mean(axis=0)[inside].sum())
    for key, values in value.items():
        if key == ("shock",):
            continue
        change = values if key == ("value",) else values - value["value",]
        sums[key] = float(change.mean(axis=0).sum())
        sums["error", *key] = float(change.var(axis=0, ddof=1).sum()) / draws
    return sums


def truth_of(sums: Sums, world: World, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Truth as it is written to the file beside the folder; ``facts`` (seed, sizes, horizon) are copied into it."""
    n_value = max(sums["n_value"], 1.0)
    effects = [
        {
            "outcome": outcome,
            "exposure": metric,
            "estimand": "ame",
            "segment": "all",
            "estimate": _mean(sums, ("effect", outcome, metric), outcome),
            "unit": unit,
        }
        for outcome, unit in UNITS.items()
        if outcome != "ltv"
        for metric in SCALES
    ]
    effects += [
        {
            "outcome": "ltv",
            "exposure": metric,
            "estimand": estimand,
            "segment": "all",
            "estimate": sums[key, metric] / n_value,
            "unit": UNITS["ltv"],
            "monte_carlo_error": float(np.sqrt(sums["error", key, metric])) / n_value,
        }
        for key, estimand in (("ltv", "ame"), ("ltv_fading", "ame_fading"))
        for metric in SCALES
    ]
    levels = {outcome: _mean(sums, ("level", outcome), outcome) for outcome in UNITS if outcome != "ltv"}
    levels["ltv"] = sums["value",] / n_value
    shown = sorted(t for kind, t in _pairs(sums, "active"))
    by_band = [
        {"exposure": metric, "band": band, "ltv": sums["value", metric, band] / n, "customers": int(n)}
        for metric, (names, _) in BANDS.items()
        for band in (*names, NO_ANSWER)
        if (n := sums["n_value", metric, band])
    ]
    return {
        "world": world.name,
        **facts,
        "effects": effects,
        "levels": levels,
        "ltv_by_band": by_band,
        "population_nps": [
            {
                "period": periods.label(t),
                "estimate": 100.0 * sums["nps", t] / max(sums["active", t], 1.0),
                "active": int(sums["active", t]),
            }
            for t in shown
        ],
        "persistence": world.persistence,
        "reliability": {metric: _reliability(sums, metric) for metric in SCALES},
        "pilot": _pilot(sums, world),
        "brands": _brands(sums, world),
        "discount": _discount(sums, world),
        "forgiveness": _forgiveness(sums, world),
        "loyalty": _loyalty(sums, world, facts),
        "definitions": DEFINITIONS,
        "parameters": asdict(world),
    }


def _mean(sums: Sums, key: tuple[str, ...], outcome: str) -> float:
    n = sums["n_retained"] if outcome == "orders" else sums["n"]
    return sums[key] / max(n, 1.0)


def _pairs(sums: Sums, kind: str) -> Iterable[tuple[str, int]]:
    return [key for key in sums if isinstance(key, tuple) and len(key) == 2 and key[0] == kind]


def _reliability(sums: Sums, metric: str) -> float | None:
    n = max(1.0, sum(sums[key] for key in _pairs(sums, "active")))
    a, aa, sa, s = (sums["moment", metric, name] / n for name in ("a", "aa", "sa", "s"))
    variance = aa - a * a
    return (sa - s * a) / variance / points_of_satisfaction(metric) if variance > 1e-9 else None


def _pilot(sums: Sums, world: World) -> dict[str, Any] | None:
    if not sums["n_treated"]:
        return None
    lifts = {metric: world.pilot_lift / points_of_satisfaction(metric) for metric in SCALES}
    changes = {outcome: sums["pilot", outcome] / sums["n_treated"] for outcome in UNITS if outcome != "ltv"}
    return {"lift": lifts, "next_quarter": changes}


def _brands(sums: Sums, world: World) -> dict[str, Any] | None:
    if not world.brands:
        return None
    names = BRANDS[: world.brands]
    return {
        "customers": {name: int(sums["brand customers", code]) for code, name in enumerate(names)},
        "shared": int(sums["brand shared",]),
        "all": int(sums["brand all",]),
        "margin": {name: sums["brand margin", code] for code, name in enumerate(names)},
    }


def _discount(sums: Sums, world: World) -> dict[str, float] | None:
    if not world.offers_taken or not sums["orders",]:
        return None
    spend = sums["spend",] + sums["discount",]
    return {"share_of_orders": sums["discounted",] / sums["orders",], "share_of_spend": sums["discount",] / spend}


def _forgiveness(sums: Sums, world: World) -> list[dict[str, Any]] | None:
    if not world.failed_on_staying:
        return None
    return [
        {"satisfaction": points, "failed": failed, "estimate": sums["leaving", points, failed] / max(sums["n"], 1.0)}
        for points in SATISFACTION_SHOWN
        for failed in (False, True)
    ]


def _loyalty(sums: Sums, world: World, facts: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    if not any(world.loyalty_shares):
        return None
    quarters = range(1, facts["horizon_months"] // 3 + 1)
    found = []
    for code, name in enumerate(LOYALTY):
        n = sums["loyal", code]
        paths = {
            label: [sums["still there", code, key, h] / max(n, 1.0) for h in quarters]
            for label, key in (("still_there", "value"), ("still_there_after_price_rise", "shock"))
        }
        found.append({"kind": name, "share": n / max(sums["n_value"], 1.0), **paths})
    return found


def _beyond(distance: Floats, world: World) -> Floats:
    if world.answer_noise_sd == 0:
        return np.asarray(distance > 0, dtype=np.float64)
    return np.asarray(ndtr(distance / world.answer_noise_sd), dtype=np.float64)
