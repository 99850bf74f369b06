"""Draws of what a programme costs and brings, month by month, and every figure that follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxroi.case import finance
from cxroi.case.programme import Case, Programme
from cxroi.case.terms import CATEGORIES
from cxroi.value.response import MarginResponse

Floats = NDArray[np.float64]
Scenario = Literal["conservative", "base", "optimistic"]

TOTAL = "total"
LOW, MEDIAN, HIGH = 0.05, 0.5, 0.95
_STEEPNESS = 10.0
_LOWEST_RATE = -0.99
_CHUNK = 2048


@dataclass(frozen=True, eq=False)
class Forecast:
    """Draws of one programme, or of the total; benefits are quarterly because the response is.

    Attributes
    ----------
    programme : str
        Its id, or ``total``.
    gain : ndarray, shape (draws,)
        Score gain at its peak, in points; of a total the sum over its programmes.
    capped : ndarray of bool, shape (draws,)
        Whether the gain is wider than the observed scores and was cut to them.
    costs : ndarray, shape (categories, months + 1)
        Cost before tax of months 0…H in each of the eight categories, in currency.
    benefit : ndarray, shape (draws, quarters)
        Margin before tax that the gain brings in each quarter, in currency; no draws where there is no response.
    measures : dict of str to ndarray, shape (draws,)
        The figures of ``case.csv`` draw by draw, and ``pv_point`` and ``pv_stated``: present value after tax of one
        point, and of the stated gain (its mode).
    """

    programme: str
    gain: Floats
    capped: NDArray[np.bool_]
    costs: Floats
    benefit: Floats
    measures: dict[str, Floats]


def score_path(months: int, *, ramp_months: float, half_life_months: float) -> Floats:
    """Share of the full gain in force in months 1…months, taken in the middle of each month, shape (months,).

    >>> score_path(3, ramp_months=0, half_life_months=math.inf)
    array([1., 1., 1.])
    >>> [round(float(share), 3) for share in score_path(6, ramp_months=4, half_life_months=2)]
    [0.017, 0.219, 0.781, 0.983, 0.841, 0.595]
    """
    time = np.arange(months) + 0.5
    fading = 0.5 ** (np.maximum(time - ramp_months, 0.0) / half_life_months)
    if ramp_months == 0:
        return np.asarray(fading)
    start, end = _logistic(np.zeros(1)), _logistic(np.ones(1))
    return np.asarray((_logistic(np.minimum(time / ramp_months, 1.0)) - start) / (end - start) * fading)


def triangular(luck: Floats, low: float, mode: float, high: float) -> Floats:
    """Quantiles of a triangular distribution at probabilities in [0, 1]; the number itself where low equals high."""
    if low == high:
        return np.full(len(luck), float(low))
    turn = (mode - low) / (high - low)
    rising = low + np.sqrt(luck * (high - low) * (mode - low))
    falling = high - np.sqrt((1.0 - luck) * (high - low) * (high - mode))
    return np.where(luck < turn, rising, falling)


def _logistic(share: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-_STEEPNESS * (share - 0.5))))


def quarters_of(case: Case) -> int:
    """Quarters that the horizon touches."""
    return math.ceil(case.horizon_months / 3)


def discount_factors(case: Case) -> Floats:
    """Discount factors of months 0…H, shape (months + 1,)."""
    time = np.arange(case.horizon_months + 1, dtype=float)
    if case.timing == "mid":
        time[1:] -= 0.5
    return np.asarray((1.0 + finance.periodic_rate(case.annual_discount_rate, 12)) ** -time)


def by_quarter(monthly: Floats) -> Floats:
    """Sum of months 1…H by quarter, of which each month carries a third, shape (months,) → (quarters,)."""
    return np.add.reduceat(monthly, np.arange(0, len(monthly), 3)) / 3.0


def unit_benefit(response: MarginResponse, case: Case, programme: Programme) -> Floats:
    """Margin of all customers reached for a gain of one point at its peak, in currency, shape (draws, quarters)."""
    quarters = quarters_of(case)
    if response.reason:
        return np.empty((0, quarters))
    half_life = math.inf if programme.half_life_months == "never" else programme.half_life_months
    path = score_path(3 * quarters, ramp_months=programme.ramp_months, half_life_months=half_life)
    gain = path.reshape(quarters, 3).mean(axis=1)
    each = response.through_retention[:, :quarters] * np.cumsum(gain) + response.through_spend[:, :quarters] * gain
    return np.asarray(each * (response.customers * programme.reach))


def corner(case: Case, programme: Programme, unit: Floats, scenario: Scenario) -> tuple[Floats, Floats]:
    """Gain, shape (1,), and benefit of a point, shape (1, quarters), of the worst or the best corner."""
    value = unit @ by_quarter(discount_factors(case)[1:])
    order = np.argsort(value, kind="stable")
    if not len(order):
        return np.empty(0), unit
    weak, strong = order[math.floor(LOW * (len(order) - 1))], order[math.ceil(HIGH * (len(order) - 1))]
    ends = (programme.gain.low, programme.gain.high)
    corners = [(gain * value[draw], gain, draw) for draw in (weak, strong) for gain in ends]
    extreme = min if scenario == "conservative" else max
    _, gain, draw = extreme(corners, key=lambda corner: corner[0])
    return np.array([gain]), unit[[draw]]


def forecasts_of(
    case: Case, response: MarginResponse, gains: list[Floats], units: list[Floats]
) -> tuple[Forecast, ...]:
    """A forecast for each programme, and the total where there are several."""
    width = math.inf if response.reason else response.score_range[1] - response.score_range[0]
    modes = np.array([programme.gain.mode for programme in case.programmes])
    costs = [_costs(case, programme) for programme in case.programmes]
    cuts = [_cut(gain, width) for gain in gains]
    benefits = [gain[:, None] * cut[:, None] * unit for gain, cut, unit in zip(gains, cuts, units, strict=True)]
    weights = by_quarter(discount_factors(case)[1:]) * (1.0 - case.tax_rate)
    points = [unit @ weights for unit in units]
    forecasts = [
        _forecast(case, each.id, gain, cut, cost, benefit, {"pv_point": point, "pv_stated": mode * point})
        for each, gain, cut, cost, benefit, point, mode in zip(
            case.programmes, gains, cuts, costs, benefits, points, modes, strict=True
        )
    ]
    if len(forecasts) > 1:
        gain = np.sum([gain * cut for gain, cut in zip(gains, cuts, strict=True)], axis=0)
        cut = _cut(gain, width)
        benefit = np.sum(benefits, axis=0) * cut[:, None]
        stated = np.sum([mode * point for mode, point in zip(modes, points, strict=True)], axis=0)
        forecasts.append(_forecast(case, TOTAL, gain, cut, np.sum(costs, axis=0), benefit, {"pv_stated": stated}))
    return tuple(forecasts)


def _cut(gain: Floats, width: float) -> Floats:
    """Factor that keeps a gain within the width of the observed scores."""
    return np.asarray(np.minimum(1.0, width / np.maximum(np.abs(gain), 1e-300)))


def _costs(case: Case, programme: Programme) -> Floats:
    """Cost by category and month, shape (categories, months + 1)."""
    costs = np.zeros((len(CATEGORIES), case.horizon_months + 1))
    for cost in programme.costs:
        costs[CATEGORIES.index(cost.category), cost.months.start : cost.months.stop] += cost.amount
    return costs


def _forecast(
    case: Case, programme: str, gain: Floats, cut: Floats, costs: Floats, benefit: Floats, points: dict[str, Floats]
) -> Forecast:
    measures = _measures(case, costs.sum(axis=0), benefit)
    if len(benefit):
        measures |= points
        measures["break_even_multiple"] = ratio(measures["pv_cost"], points["pv_stated"])
        if "pv_point" in points:
            measures["break_even_score_gain"] = ratio(measures["pv_cost"], points["pv_point"])
    return Forecast(programme, gain * cut, cut < 1.0, costs, benefit, measures)


def ratio(cost: Floats, worth: Floats) -> Floats:
    """Cost over worth; inf where there is no worth to speak of (less than 1e-12 of the cost)."""
    return np.asarray(
        np.divide(cost, worth, out=np.full(len(worth), np.inf), where=(worth > 0) & (worth > 1e-12 * cost))
    )


def _measures(case: Case, cost: Floats, benefit: Floats) -> dict[str, Floats]:
    """Figures of every draw, after tax; only the cost where there are no draws of a benefit."""
    kept, discount = 1.0 - case.tax_rate, discount_factors(case)
    pv_cost, plain_cost = kept * float(cost @ discount), kept * float(cost.sum())
    if not len(benefit):
        return {"pv_cost": np.array([pv_cost])}
    pv_benefit = kept * (benefit @ by_quarter(discount[1:]))
    plain_benefit = kept * (benefit @ by_quarter(np.ones(case.horizon_months)))
    measures = {
        "npv": pv_benefit - pv_cost,
        "roi": (pv_benefit - pv_cost) / pv_cost if pv_cost else np.full(len(benefit), np.nan),
        "roi_undiscounted": (plain_benefit - plain_cost) / plain_cost if pv_cost else np.full(len(benefit), np.nan),
        "pv_cost": np.full(len(benefit), pv_cost),
        "pv_benefit": pv_benefit,
    }
    blocks = [
        _timed_measures(case, net_flows(case, cost, benefit[start : start + _CHUNK]))
        for start in range(0, len(benefit), _CHUNK)
    ]
    return measures | {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def net_flows(case: Case, cost: Floats, benefit: Floats) -> Floats:
    """Margin less cost in months 0…H after tax, shape (draws, months + 1), months apart in memory for speed."""
    net = np.empty((case.horizon_months + 1, len(benefit)))
    net[0] = 0.0
    net[1:] = np.repeat(benefit.T / 3.0, 3, axis=0)[: case.horizon_months]
    net -= cost[:, None]
    if case.tax_rate:
        net *= 1.0 - case.tax_rate
    return net.T


def _timed_measures(case: Case, net: Floats) -> dict[str, Floats]:
    """Internal rates and paybacks of net flows, shape (draws, months + 1)."""
    steps_per_year, flows = 12, net
    if case.timing == "mid":
        steps_per_year, flows = 24, np.zeros((len(net), 2 * case.horizon_months))
        flows[:, 0], flows[:, 1::2] = net[:, 0], net[:, 1:]
    found = finance.irr_draws(flows, above=finance.periodic_rate(_LOWEST_RATE, steps_per_year))
    step = finance.periodic_rate(case.annual_discount_rate, steps_per_year)
    return {
        "irr": np.where(found.rate == -np.inf, -np.inf, np.abs(1.0 + found.rate) ** steps_per_year - 1.0),
        "irr_count": found.count.astype(float),
        "mirr": (1.0 + finance.mirr_draws(flows, step, step)) ** steps_per_year - 1.0,
        "payback_months": finance.payback_draws(net),
        "discounted_payback_months": finance.payback_draws(net * discount_factors(case)),
    }


def quantiles(draws: Floats) -> tuple[float, float, float]:
    """The 5, 50 and 95 % order statistics of draws, shape (draws,); infinite draws stay in their place."""
    places = [max(math.ceil(share * len(draws)) - 1, 0) for share in (LOW, MEDIAN, HIGH)]
    ordered = np.partition(draws, places)
    return float(ordered[places[0]]), float(ordered[places[1]]), float(ordered[places[2]])


def base_cells(forecast: Forecast, measure: str) -> tuple[float, float, float, float]:
    """Low, median, high and mean of a measure over all draws; not finite where the figure does not exist."""
    values = forecast.measures
    if measure in ("p_npv_positive", "p_payback_within_horizon"):
        return (_probability(forecast, measure),) * 4
    if measure not in values:
        return (math.nan,) * 4
    draws = values[measure]
    low, median, high = quantiles(np.nan_to_num(draws, nan=-np.inf, posinf=np.inf, neginf=-np.inf))
    if np.isnan(draws).any():  # a draw with several internal rates counts as the worst below, as the best above
        high = quantiles(np.nan_to_num(draws, nan=np.inf, posinf=np.inf, neginf=-np.inf))[2]
    if measure.startswith("break_even"):
        worth = values["pv_point" if measure == "break_even_score_gain" else "pv_stated"]
        mean = float(ratio(np.array([values["pv_cost"].mean()]), np.array([worth.mean()]))[0])
    else:
        mean = float(draws.mean()) if np.isfinite(draws).all() else math.nan
    return low, median, high, mean


def _probability(forecast: Forecast, measure: str) -> float:
    """Share of draws with a positive present value, or with payback within the horizon."""
    values = forecast.measures
    if "npv" not in values:
        return math.nan
    if measure == "p_npv_positive":
        return float((values["npv"] > 0).mean())
    return float(np.isfinite(values["payback_months"]).mean())
