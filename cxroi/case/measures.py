"""Figures of a case from its flows, draw by draw, and what they are told as: quantiles, means, probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from cxroi.case import finance
from cxroi.case.flows import MONTHS_OF_A_QUARTER, Floats, Stream, by_quarter, discount_factors, month_weights, prices
from cxroi.case.programme import Case

LOW, MEDIAN, HIGH = 0.05, 0.5, 0.95
UNITS = {
    "npv": "currency",
    "roi": "ratio",
    "roi_undiscounted": "ratio",
    "irr": "per_year",
    "irr_count": "count",
    "mirr": "per_year",
    "benefit_cost_ratio": "ratio",
    "payback_months": "months",
    "discounted_payback_months": "months",
    "p_payback_within_horizon": "probability",
    "p_npv_positive": "probability",
    "expected_shortfall": "currency",
    "cost_of_waiting_a_quarter": "currency",
    "peak_cash_need": "currency",
    "break_even_score_gain": "points",
    "break_even_multiple": "ratio",
    "pv_cost": "currency",
    "pv_benefit": "currency",
    "linkage_evidence": "rung_of_5",
}
"""Measures of ``case.csv`` in their order; the unit ``currency`` is written as the case's currency."""

_LOWEST_RATE = -0.99
_CHUNK = 2048

Cells = tuple[float, float, float, float]


def measures_of(
    case: Case, *, spent: Stream, besides: Stream, benefit: Floats, later_benefit: Floats
) -> dict[str, Floats]:
    """Figures of every draw, after tax, each of shape (draws,).

    Parameters
    ----------
    case : Case
    spent, besides : Stream
        Costs, and what comes in without the linkage, before tax.
    benefit : ndarray, shape (draws, quarters)
        Margin before tax in prices of the start.
    later_benefit : ndarray, shape (draws,)
        Present value after tax of the margin where everything starts a quarter later.
    """
    draws, kept, discount = len(benefit), 1.0 - case.tax_rate, discount_factors(case)
    margin = kept * (benefit @ by_quarter(month_weights(case)[1:]))
    plain_margin = kept * (benefit @ by_quarter(prices(case)[1:]))
    pv_cost, plain_cost = (_every(kept * spent.weighted(each), draws) for each in (discount, np.ones_like(discount)))
    pv_benefit = margin + kept * besides.weighted(discount)
    plain_benefit = plain_margin + kept * besides.weighted(np.ones_like(discount))
    npv, price = pv_benefit - pv_cost, float(prices(case)[-1] ** (MONTHS_OF_A_QUARTER / case.horizon_months))
    later = [each.later(MONTHS_OF_A_QUARTER, price).weighted(discount) for each in (besides, spent)]
    measures = {
        "npv": npv,
        "roi": _share(npv, pv_cost),
        "roi_undiscounted": _share(plain_benefit - plain_cost, plain_cost),
        "benefit_cost_ratio": _share(pv_benefit, pv_cost),
        "cost_of_waiting_a_quarter": npv - (later_benefit + kept * (later[0] - later[1])),
        "pv_cost": pv_cost,
        "pv_benefit": pv_benefit,
    }
    blocks = [
        _timed(case, net_flows(case, spent, besides, benefit, slice(start, start + _CHUNK)))
        for start in range(0, draws, _CHUNK)
    ]
    return measures | {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def net_flows(case: Case, spent: Stream, besides: Stream, benefit: Floats, draws: slice = slice(None)) -> Floats:
    """What comes in less what goes out in months 0…H after tax, shape (draws, months + 1), months apart in memory for speed."""
    quarters = benefit[draws]
    net = np.empty((case.horizon_months + 1, len(quarters)))
    net[0] = 0.0
    net[1:] = np.repeat(quarters.T / MONTHS_OF_A_QUARTER, MONTHS_OF_A_QUARTER, axis=0)[: case.horizon_months]
    if case.annual_inflation_rate:
        net *= prices(case)[:, None]
    net -= spent.by_month(draws).T
    if besides.parts:
        net += besides.by_month(draws).T
    if case.tax_rate:
        net *= 1.0 - case.tax_rate
    return net.T


def _timed(case: Case, net: Floats) -> dict[str, Floats]:
    """Internal rates, paybacks and the peak of the money laid out, of net flows, shape (draws, months + 1)."""
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
        "peak_cash_need": finance.deepest_draws(net),
    }


def ratio(cost: Floats, worth: Floats) -> Floats:
    """Cost over worth; inf where there is no worth to speak of (less than 1e-12 of the cost)."""
    return np.asarray(
        np.divide(cost, worth, out=np.full(len(worth), np.inf), where=(worth > 0) & (worth > 1e-12 * cost))
    )


def quantiles(draws: Floats) -> tuple[float, float, float]:
    """The 5, 50 and 95 % order statistics of draws, shape (draws,); infinite draws stay in their place."""
    places = [max(math.ceil(share * len(draws)) - 1, 0) for share in (LOW, MEDIAN, HIGH)]
    ordered = np.partition(draws, places)
    return float(ordered[places[0]]), float(ordered[places[1]]), float(ordered[places[2]])


def base_cells(values: Mapping[str, Floats], measure: str) -> Cells:
    """Low, median, high and mean of a measure over all draws; not finite where the figure does not exist."""
    if measure in _OF_ALL_DRAWS:
        return (_OF_ALL_DRAWS[measure](values) if "npv" in values else math.nan,) * 4
    if measure not in values:
        return (math.nan,) * 4
    draws = values[measure]
    if measure == "mirr":  # where in no month more flows back than goes out there is no rate; such draws stay the worst
        draws = np.where(draws > -1.0, draws, -np.inf)
    low, median, high = quantiles(np.nan_to_num(draws, nan=-np.inf, posinf=np.inf, neginf=-np.inf))
    if np.isnan(draws).any():  # a draw with several internal rates counts as the worst below, as the best above
        high = quantiles(np.nan_to_num(draws, nan=np.inf, posinf=np.inf, neginf=-np.inf))[2]
    if measure.startswith("break_even"):
        worth = values["pv_point" if measure == "break_even_score_gain" else "pv_stated"].mean()
        mean = float(ratio(values["pv_to_earn"].mean(keepdims=True), np.array([worth]))[0])
    else:
        mean = float(draws.mean()) if np.isfinite(draws).all() else math.nan
    return low, median, high, mean


def one_cell(values: Mapping[str, Floats], measure: str) -> Cells:
    """The single draw of a scenario four times; what has a meaning over all draws only stays empty."""
    single = float(values[measure][0]) if measure in values else math.nan
    return (math.nan if measure == "mirr" and single <= -1.0 else single,) * 4


def expected_shortfall(npv: Floats) -> float:
    """Mean net present value of the worst 5 % of the draws, rounded up to whole draws: below zero it is a loss.

    >>> expected_shortfall(np.arange(100.0))
    2.0

    Source: Acerbi & Tasche (2002), Journal of Banking & Finance 26:1487 (there with the sign of a loss).
    """
    worst = max(math.ceil(LOW * len(npv)), 1)
    return float(np.partition(npv, worst - 1)[:worst].mean())


def told(case: Case, cells: Callable[[str], Cells]) -> Iterator[tuple[str, float, float, float, float, str]]:
    """A row per measure; what is not a finite number is an empty cell."""
    for measure, unit in UNITS.items():
        low, median, high, mean = (value if math.isfinite(value) else math.nan for value in cells(measure))
        yield measure, low, median, high, mean, case.currency if unit == "currency" else unit


_OF_ALL_DRAWS: dict[str, Callable[[Mapping[str, Floats]], float]] = {
    "p_npv_positive": lambda values: float((values["npv"] > 0).mean()),
    "p_payback_within_horizon": lambda values: float(np.isfinite(values["payback_months"]).mean()),
    "expected_shortfall": lambda values: expected_shortfall(values["npv"]),
}
"""Figures that only all draws together have."""


def _share(part: Floats, whole: Floats) -> Floats:
    """Part over whole, NaN where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0))


def _every(values: Floats, draws: int) -> NDArray[np.float64]:
    """One value a draw."""
    return np.broadcast_to(values, (draws,))
