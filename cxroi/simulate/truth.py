"""The truth of a simulated company: effects of one more point, at the true probabilities, over the whole base."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.special import ndtr

from cxroi import periods
from cxroi.simulate.process import (
    CONTACT_COST,
    LAST_QUARTER,
    SCALES,
    Customers,
    Floats,
    Quarter,
    answer,
    contact_probability,
    feedback,
    next_wave,
    order_margin,
    order_rate,
    points_of_satisfaction,
    referral_rate,
    staying_probability,
)
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
    "population_nps": "expected NPS had all customers active at the quarter's end answered",
    "reliability": "slope of satisfaction on a single answer, in points of the answer, had all answered",
    "pilot": "lift in points of the answer; next_quarter: change of the outcomes of the treated due to the lift",
}

Sums = defaultdict[Any, float]


def add(total: Sums, part: Mapping[Any, float]) -> None:
    """Add the sums of one part of the company to the total, in place."""
    for key, value in part.items():
        total[key] += value


def outcomes(world: World, customers: Customers, score: Floats, t: int) -> dict[str, Floats]:
    """Expected outcomes of quarter t given the score of t - 1; each of shape (n,)."""
    staying = staying_probability(world, customers, score, t)
    orders = order_rate(world, customers, score, t)
    return {
        "retained": staying,
        "orders": orders,
        "margin": staying * orders * order_margin(world, customers, score),
        "referrals": staying * referral_rate(world, score),
        "service_cost": staying * (CONTACT_COST @ contact_probability(world, score)),
    }


def effect_sums(world: World, customers: Customers, quarter: Quarter) -> Sums:
    """Sums over a chunk's customers at risk: outcomes, and their change for one more point of each answer."""
    at_risk, retained = quarter.at_start, quarter.at_start & ~quarter.leaving
    base = outcomes(world, customers, quarter.score_before, quarter.t)
    sums: Sums = defaultdict(float, {"n": float(at_risk.sum()), "n_retained": float(retained.sum())})
    for metric in SCALES:
        more = outcomes(world, customers, quarter.score_before + points_of_satisfaction(metric), quarter.t)
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
    some = customers.pick(treated)
    score, lift = quarter.score_before[treated], quarter.lift_before[treated]
    with_lift, without = outcomes(world, some, score, quarter.t), outcomes(world, some, score - lift, quarter.t)
    sums: Sums = defaultdict(float, {"n_treated": float(treated.sum())})
    for outcome, values in with_lift.items():
        sums["pilot", outcome] = float((values - without[outcome]).sum())
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


def value_sums(
    world: World,
    customers: Customers,
    last: Quarter,
    rng: np.random.Generator,
    *,
    draws: int,
    horizon: tuple[int, float],
) -> Sums:
    """Sums of lifetime value over the customers active at the end, and of what one more point adds.

    Future paths of satisfaction are drawn (the same for all variants); leaving and buying enter as expectations.
    ``horizon`` is (quarters, annual discount rate). Keys ``value``, ``ltv``, ``ltv_fading`` per metric, and the sums of
    squared Monte-Carlo errors under ``error``.
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
    path = np.broadcast_to(last.score[last.active], (draws, size))
    wave = np.broadcast_to(last.wave[last.active], (draws, size))
    survival = {key: np.ones((draws, size)) for key in variants}
    value = {key: np.zeros((draws, size)) for key in variants}
    for h in range(1, quarters + 1):
        t = LAST_QUARTER + h
        discount = (1.0 + annual_discount_rate) ** (-h / 4)
        for key, (gain, keeps) in variants.items():
            score = path + gain * keeps ** (h - 1)
            survival[key] = survival[key] * staying_probability(world, some, score, t)
            margin = order_rate(world, some, score, t) * order_margin(world, some, score)
            value[key] = value[key] + discount * survival[key] * margin
        rate = order_rate(world, some, path, t)
        wave = next_wave(world, rng, wave)
        added = feedback(world, rng.poisson(rate), rate) if world.orders_on_score else 0.0
        path = some.level + last.lift[last.active] + wave + added
    sums: Sums = defaultdict(float, {"n_value": float(size)})
    for key, values in value.items():
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
    return {
        "world": world.name,
        **facts,
        "effects": effects,
        "levels": levels,
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


def _beyond(distance: Floats, world: World) -> Floats:
    if world.answer_noise_sd == 0:
        return np.asarray(distance > 0, dtype=np.float64)
    return np.asarray(ndtr(distance / world.answer_noise_sd), dtype=np.float64)
