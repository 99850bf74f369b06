"""Draws of what programmes cost and bring, alone and together, from draws of their uncertain inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxroi.case.flows import (
    Floats,
    Stream,
    a_quarter_later,
    by_quarter,
    costs_of,
    month_weights,
    present_value,
    quarters_of,
    savings_of,
    score_path_by_quarter,
    stated_benefits_of,
)
from cxroi.case.inputs import Inputs, channels, draw_inputs, point_values, ranked_draws
from cxroi.case.measures import measures_of, ratio
from cxroi.case.overlap import lost_to_the_scale
from cxroi.case.programme import Case, Programme
from cxroi.case.ranges import gain_at
from cxroi.case.terms import CATEGORIES
from cxroi.value.response import MarginResponse

__all__ = ["TERMS", "TOTAL", "Forecast", "Inputs", "Scenario", "draw_inputs", "forecasts_of", "scenario_of"]

Scenario = Literal["conservative", "base", "optimistic"]

TOTAL = "total"
TERMS = ("retention", "spend", "referrals", "service_cost", "stated_benefits")
"""Terms of customer value through which programmes bring money, and the benefits for which a figure is stated."""

_LOW, _HIGH = 0.05, 0.95


@dataclass(frozen=True, eq=False)
class Forecast:
    """Draws of one programme, or of the CX total: all programmes with a route through a customer measure.

    Attributes
    ----------
    programme : str
        Its id, or ``total``.
    has_route : bool
        Whether it works through a customer measure; without one it is a cost play.
    gain : ndarray, shape (draws,)
        Score gain at its peak, in points; of a total the sum over its programmes.
    capped : ndarray of bool, shape (draws,)
        Whether a gain, or the sum of gains of customers reached by several programmes, is wider than the observed
        scores and was cut to them.
    spent : Stream
        Costs before tax, by month.
    besides : Stream
        What comes in without the linkage: benefits for which a figure is stated; savings of a cost play.
    savings : Stream
        Savings of a programme with a route, which stay outside its money.
    benefit : ndarray, shape (draws, quarters)
        Margin before tax that the gain brings in each quarter, in prices of the start, even over its months; no draws
        where there is no response.
    terms : dict of str to ndarray, shape (draws,)
        Present value after tax of the benefit by term (``TERMS``; ``savings`` for a cost play); their sum is ``pv_benefit``.
    measures : dict of str to ndarray, shape (draws,)
        The figures of ``case.csv`` draw by draw, and present values after tax that break-even rests on: ``pv_to_earn``
        (cost less stated benefits), ``pv_point`` (one point) and ``pv_stated`` (the stated gain at its mode; of a cost play
        its stated savings).
    """

    programme: str
    has_route: bool
    gain: Floats
    capped: NDArray[np.bool_]
    spent: Stream
    besides: Stream
    savings: Stream
    benefit: Floats
    terms: dict[str, Floats]
    measures: dict[str, Floats]

    @property
    def costs(self) -> Floats:
        """Mean cost before tax of months 0…H by category, shape (categories, months + 1), in currency."""
        return np.stack([self.spent.mean_by_month(category) for category in CATEGORIES])


class _Values(NamedTuple):
    """Values of one programme's inputs, each of shape (draws,): gain in points before any cap, the others probabilities."""

    gain: Floats
    overrun: Floats
    savings: Floats
    benefits: Floats


class _Point(NamedTuple):
    """What a point at its peak brings to all customers reached, by term."""

    path: Floats  # (quarters,): share of the gain in force
    benefit: Floats  # (draws of the response, quarters), before tax, in prices of the start
    terms: dict[str, Floats]  # present value after tax, each (draws of the response,)
    later: Floats  # present value after tax where all starts a quarter later, (draws of the response,)


def forecasts_of(case: Case, response: MarginResponse, inputs: Inputs) -> tuple[Forecast, ...]:
    """What each programme brings, and the CX total where there are several, for any draws of the inputs.

    Parameters
    ----------
    case : Case
    response : MarginResponse
    inputs : Inputs
        From ``draw_inputs``, or any other probabilities: hold some of them, or tie them to each other.

    Returns
    -------
    tuple of Forecast
        A programme each in the order of the case, then ``total`` where the case has several and one with a route.

    Notes
    -----
    The probability of ``linkage`` is a place among the response's draws in the order of what a point is worth; that of
    ``score_gain.<id>`` one of the gain as stated, or of the sum over its drivers; that of ``overrun.<id>`` moves all
    overruns of a programme together, and so do ``savings.<id>`` and ``benefits.<id>``.
    """
    ranked = ranked_draws(case, response)
    places = np.minimum((inputs.at("linkage") * len(ranked)).astype(np.int64), max(len(ranked) - 1, 0))
    values = [
        _Values(
            gain_at(programme, inputs.at(f"score_gain.{programme.id}")),
            *(inputs.at(f"{name}.{programme.id}") for name in ("overrun", "savings", "benefits")),
        )
        for programme in case.programmes
    ]
    linkage = ranked[places] if len(ranked) else np.empty(0, dtype=np.int64)
    return _forecasts(case, response, values, linkage)


def scenario_of(case: Case, response: MarginResponse, scenario: Scenario) -> tuple[Forecast, ...]:
    """The forecasts of the conservative or the optimistic scenario, a single draw each.

    The conservative one takes the linkage at the 5th percentile of what a point is worth, gains, savings and stated benefits
    at their low end and overruns at their high one; the optimistic one the 95th and the other ends. Where a point costs
    money the gain's other end can be the worse one: the worst and the best of the corners are taken.
    """
    bad = scenario == "conservative"
    best = min if bad else max
    ends = [(each.gain.low, each.gain.high) if each.has_route else (0.0, 0.0) for each in case.programmes]
    linkage, gains = np.empty(0, dtype=np.int64), tuple(best(pair) for pair in ends)
    ranked = ranked_draws(case, response)
    if len(ranked):
        values = [
            point_values(case, response, each) if each.has_route else np.zeros(len(ranked)) for each in case.programmes
        ]
        corners: list[tuple[float, int, tuple[float, ...]]] = []
        for draw in (ranked[math.floor(_LOW * (len(ranked) - 1))], ranked[math.ceil(_HIGH * (len(ranked) - 1))]):
            worth = [[gain * float(value[draw]) for gain in pair] for pair, value in zip(ends, values, strict=True)]
            chosen = [each.index(best(each)) for each in worth]
            corners.append(
                (
                    sum(each[at] for each, at in zip(worth, chosen, strict=True)),
                    int(draw),
                    tuple(pair[at] for pair, at in zip(ends, chosen, strict=True)),
                )
            )
        _, draw, gains = best(corners)
        linkage = np.array([draw])
    dear, rich = np.array([float(bad)]), np.array([float(not bad)])
    return _forecasts(case, response, [_Values(np.array([gain]), dear, rich, rich) for gain in gains], linkage)


def _forecasts(
    case: Case, response: MarginResponse, values: Sequence[_Values], linkage: NDArray[np.int64]
) -> tuple[Forecast, ...]:
    """A forecast for each programme, then the total."""
    width = math.inf if response.reason else response.score_range[1] - response.score_range[0]
    points = [_point(case, response, each) for each in case.programmes]
    forecasts = [
        _routed(case, programme, value, point, linkage, width)
        if programme.has_route
        else _cost_play(case, programme, value)
        for programme, value, point in zip(case.programmes, values, points, strict=True)
    ]
    routed = [at for at, each in enumerate(case.programmes) if each.has_route]
    if len(forecasts) > 1 and routed:
        together = [(case.programmes[at], points[at], forecasts[at]) for at in routed]
        forecasts.append(_total(case, response, together, linkage))
    return tuple(forecasts)


def _point(case: Case, response: MarginResponse, programme: Programme) -> _Point:
    """What one point at its peak brings."""
    quarters, kept = quarters_of(case), 1.0 - case.tax_rate
    weights = by_quarter(month_weights(case)[1:]) * kept
    path = score_path_by_quarter(case, programme)
    later = a_quarter_later(path)
    size = 0 if response.reason else len(response.baseline)
    benefit, delayed, terms = np.zeros((size, quarters)), np.zeros(size), {}
    for name, channel in channels(response).items() if size and programme.has_route else ():
        worth = channel[:, :quarters] * (response.customers * programme.reach)
        at_work, at_work_later = (np.cumsum(each) if name == "retention" else each for each in (path, later))
        benefit += worth * at_work
        terms[name] = worth @ (at_work * weights)
        delayed += worth @ (at_work_later * weights)
    return _Point(path, benefit, terms, delayed)


def _cost_play(case: Case, programme: Programme, value: _Values) -> Forecast:
    """A programme without a route through a customer measure: savings against costs."""
    draws, quarters = len(value.gain), quarters_of(case)
    spent, savings = costs_of(case, programme, value.overrun), savings_of(case, programme, value.savings)
    benefit = np.broadcast_to(np.zeros(quarters), (draws, quarters))
    measures = measures_of(case, spent=spent, besides=savings, benefit=benefit, later_benefit=np.zeros(draws))
    stated = np.full(draws, present_value(case, savings_of(case, programme, None))[0])
    to_earn = measures["pv_cost"]
    measures |= {"pv_to_earn": to_earn, "pv_stated": stated, "break_even_multiple": ratio(to_earn, stated)}
    terms = {"savings": np.broadcast_to(present_value(case, savings), (draws,))}
    nothing = np.zeros(draws)
    return Forecast(programme.id, False, nothing, nothing > 0, spent, savings, savings, benefit, terms, measures)


def _routed(
    case: Case, programme: Programme, value: _Values, point: _Point, linkage: NDArray[np.int64], width: float
) -> Forecast:
    """A programme that works through a customer measure; where there is no response, only its cost."""
    spent, savings = costs_of(case, programme, value.overrun), savings_of(case, programme, value.savings)
    besides = stated_benefits_of(case, programme, value.benefits)
    gain = np.clip(value.gain, -width, width)[: len(linkage)]
    capped = gain != value.gain[: len(linkage)]
    benefit = gain[:, None] * point.benefit[linkage]
    if not len(linkage):
        cost = np.broadcast_to(present_value(case, spent), (len(value.gain),))
        return Forecast(programme.id, True, gain, capped, spent, besides, savings, benefit, {}, {"pv_cost": cost})
    measures = measures_of(
        case, spent=spent, besides=besides, benefit=benefit, later_benefit=gain * point.later[linkage]
    )
    terms = {name: gain * worth[linkage] for name, worth in point.terms.items()}
    of_a_point = sum(point.terms.values(), np.zeros(len(point.later)))[linkage]
    terms["stated_benefits"] = np.broadcast_to(present_value(case, besides), (len(gain),))
    to_earn = np.maximum(measures["pv_cost"] - terms["stated_benefits"], 0.0)
    measures |= {
        "pv_to_earn": to_earn,
        "pv_point": of_a_point,
        "pv_stated": programme.gain.mode * of_a_point,
        "break_even_score_gain": ratio(to_earn, of_a_point),
        "break_even_multiple": ratio(to_earn, programme.gain.mode * of_a_point),
    }
    return Forecast(programme.id, True, gain, capped, spent, besides, savings, benefit, terms, measures)


def _total(
    case: Case,
    response: MarginResponse,
    routed: Sequence[tuple[Programme, _Point, Forecast]],
    linkage: NDArray[np.int64],
) -> Forecast:
    """Programmes with a route together; customers reached by several cannot gain more than the scale has."""
    forecasts = [forecast for _, _, forecast in routed]
    spent, besides, savings = (
        Stream(tuple(part for each in streams for part in each.parts), case.horizon_months)
        for streams in zip(*((each.spent, each.besides, each.savings) for each in forecasts), strict=True)
    )
    gain = np.sum([each.gain for each in forecasts], axis=0)
    capped = np.any([each.capped for each in forecasts], axis=0)
    benefit = np.sum([each.benefit for each in forecasts], axis=0)
    if not len(linkage):
        cost = np.sum([each.measures["pv_cost"] for each in forecasts], axis=0)
        return Forecast(TOTAL, True, gain, capped, spent, besides, savings, benefit, {}, {"pv_cost": cost})
    terms = {name: np.sum([each.terms[name] for each in forecasts], axis=0) for name in forecasts[0].terms}
    later = np.sum([each.gain * point.later[linkage] for _, point, each in routed], axis=0)
    width = response.score_range[1] - response.score_range[0]
    places, points = lost_to_the_scale(
        [each.gain for each in forecasts],
        [point.path for _, point, _ in routed],
        [programme.reach for programme, _, _ in routed],
        width,
    )
    if len(places):
        lost = _lost(case, response, points, linkage[places])
        benefit[places] -= lost.benefit
        later[places] -= lost.later
        capped[places] = True
        for name, worth in lost.terms.items():
            terms[name][places] -= worth
    measures = measures_of(case, spent=spent, besides=besides, benefit=benefit, later_benefit=later)
    stated = np.sum([each.measures["pv_stated"] for each in forecasts], axis=0)
    to_earn = np.maximum(measures["pv_cost"] - terms["stated_benefits"], 0.0)
    measures |= {"pv_to_earn": to_earn, "pv_stated": stated, "break_even_multiple": ratio(to_earn, stated)}
    return Forecast(TOTAL, True, gain, capped, spent, besides, savings, benefit, terms, measures)


class _Lost(NamedTuple):
    """What goes with points that the scale does not have, each row a draw."""

    benefit: Floats  # (draws, quarters), before tax, in prices of the start
    terms: dict[str, Floats]  # present value after tax, each (draws,)
    later: Floats  # the same where all starts a quarter later, (draws,)


def _lost(case: Case, response: MarginResponse, points: Floats, linkage: NDArray[np.int64]) -> _Lost:
    """Margin of points lost by quarter, a mean over all customers, shape (draws, quarters)."""
    weights = by_quarter(month_weights(case)[1:]) * (1.0 - case.tax_rate)
    benefit, later, terms = np.zeros_like(points), np.zeros(len(points)), {}
    delayed = a_quarter_later(points)
    for name, channel in channels(response).items():
        worth = channel[linkage, : points.shape[1]] * response.customers
        at_work, at_work_later = (
            np.cumsum(each, axis=1) if name == "retention" else each for each in (points, delayed)
        )
        benefit += worth * at_work
        terms[name] = (worth * at_work) @ weights
        later += (worth * at_work_later) @ weights
    return _Lost(benefit, terms, later)
