"""What a case hinges on: tornado, shares of the variance, and what is left of it under stress.

A case is a function of its uncertain inputs, each a probability; these functions ask it again at other probabilities, or with one thing
changed, at the same draws.

*Sources*: Owen (2014), SIAM/ASA Journal on Uncertainty Quantification 2:245, and Song, Nelson & Staum (2016), ibid. 4:1060 (Shapley
effects); Sobol' (1993), Mathematical Modelling and Computational Experiment 1:407.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special
from scipy.stats import qmc

from cxroi.case.checks import observed_half_life_months
from cxroi.case.correlation import copula
from cxroi.case.flows import (
    Floats,
    by_quarter,
    costs_of,
    month_weights,
    present_value,
    quarters_of,
    savings_of,
    score_path_by_quarter,
    stated_benefits_of,
)
from cxroi.case.forecast import TOTAL
from cxroi.case.inputs import Inputs, channel_values, channels, draw_inputs, point_values, ranked_draws
from cxroi.case.overlap import lost_to_the_scale
from cxroi.case.programme import Case, Programme, ScoreGain
from cxroi.case.ranges import gain_at
from cxroi.value.response import MarginResponse

if TYPE_CHECKING:
    from cxroi.case.business_case import BusinessCase
    from cxroi.value.loyalty import ShockSurvival

Evaluate = Callable[[Floats], Floats]

TORNADO = (
    "programme",
    "input",
    "kind",
    "value_low",
    "value_high",
    "unit",
    "npv_low",
    "npv_median",
    "npv_high",
    "swing",
)
SHARES = ("programme", "input", "share", "alone", "unit")
STRESS = ("test", "changed", "basis", "low", "median", "high", "p_npv_positive", "change", "unit")

LOW_END, HIGH_END = 0.1, 0.9
RATE_STEP, AMOUNT_STEP = 0.04, 0.1
STRESS_OVERRUN, STRESS_DELAY_MONTHS, STRESS_MARGIN, STRESS_RATE, STRESS_RETENTION = 0.25, 6, 0.1, 0.05, 0.5
NEVER_HALVES_IN_MONTHS = 36.0
"""Sizes of sensitivities and stress tests: conventions, no estimates."""

_QUANTILES = (0.05, 0.5, 0.95)
_POINTS = 4_096
_MOST_INPUTS_COUNTED_OUT = 8
_PERMUTATIONS = 60


@dataclass(frozen=True, eq=False)
class PresentValues:
    """Present values after tax of each programme, draw by draw, in currency.

    Attributes
    ----------
    ids : tuple of str
    has_route : ndarray of bool, shape (programmes,)
        Whether a programme works through a customer measure and belongs to the CX total.
    through_score, besides, cost : ndarray, shape (draws, programmes)
        What the score gain brings; stated benefits, or the savings of a cost play; costs.
    beyond_scale : ndarray, shape (draws,)
        What customers reached by several programmes cannot gain because the scale ends.
    """

    ids: tuple[str, ...]
    has_route: NDArray[np.bool_]
    through_score: Floats
    besides: Floats
    cost: Floats
    beyond_scale: Floats

    @property
    def npv(self) -> Floats:
        """Net present value of each programme, shape (draws, programmes)."""
        return self.through_score + self.besides - self.cost

    @property
    def whole(self) -> Floats:
        """Net present value of all programmes with a route; of all where none has one, shape (draws,)."""
        counted = self.has_route if self.has_route.any() else ~self.has_route
        return np.asarray(self.npv[:, counted].sum(axis=1) - self.beyond_scale)


def present_values(case: Case, response: MarginResponse, inputs: Inputs) -> PresentValues:
    """Present values of every programme for any draws of the inputs: those of ``forecasts_of``, and nothing else, so fast.

    Parameters
    ----------
    case : Case
    response : MarginResponse
        One that exists: without a reason.
    inputs : Inputs
    """
    ranked = ranked_draws(case, response)
    linkage = ranked[np.minimum((inputs.at("linkage") * len(ranked)).astype(np.int64), len(ranked) - 1)]
    width, kept = response.score_range[1] - response.score_range[0], 1.0 - case.tax_rate
    shape = (inputs.draws, len(case.programmes))
    through, besides, cost, gains = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for at, each in enumerate(case.programmes):
        lucks = {name: inputs.at(f"{name}.{each.id}") for name in ("overrun", "savings", "benefits")}
        cost[:, at] = present_value(case, costs_of(case, each, lucks["overrun"]))
        if each.has_route:
            gains[:, at] = np.clip(gain_at(each, inputs.at(f"score_gain.{each.id}")), -width, width)
            through[:, at] = kept * gains[:, at] * point_values(case, response, each)[linkage]
            besides[:, at] = present_value(case, stated_benefits_of(case, each, lucks["benefits"]))
        else:
            besides[:, at] = present_value(case, savings_of(case, each, lucks["savings"]))
    routed = np.array([each.has_route for each in case.programmes])
    return PresentValues(
        tuple(each.id for each in case.programmes),
        routed,
        through,
        besides,
        cost,
        _beyond_scale(case, response, gains, linkage),
    )


def _beyond_scale(case: Case, response: MarginResponse, gains: Floats, linkage: NDArray[np.int64]) -> Floats:
    """Present value of points that the scale does not have for customers reached by several, shape (draws,)."""
    found = np.zeros(len(gains))
    routed = [(at, each) for at, each in enumerate(case.programmes) if each.has_route]
    if len(routed) < 2:
        return found
    draws, points = lost_to_the_scale(
        [gains[:, at] for at, _ in routed],
        [score_path_by_quarter(case, each) for _, each in routed],
        [each.reach for _, each in routed],
        response.score_range[1] - response.score_range[0],
    )
    weights = by_quarter(month_weights(case)[1:]) * (1.0 - case.tax_rate) * response.customers
    for name, channel in channels(response).items():
        at_work = np.cumsum(points, axis=1) if name == "retention" else points
        found[draws] += (channel[linkage[draws], : quarters_of(case)] * at_work) @ weights
    return found


def owner_of(name: str) -> tuple[str, str]:
    """Whose input it is and which: ``score_gain.one`` is that of ``one``, the linkage that of ``total``."""
    what, _, programme = name.partition(".")
    return programme or TOTAL, what


def named_inputs(decision: BusinessCase) -> list[str]:
    """Uncertain inputs of the case; draws may also hold those of programmes that were left out of it."""
    known = {TOTAL, *(each.id for each in decision.case.programmes)}
    return [name for name in decision.inputs.luck if owner_of(name)[0] in known]


# ------------------------------------------------------------------------------------------------------------- tornado


def tornado(decision: BusinessCase) -> pd.DataFrame:
    """Net present value with one input after the other at its 10 and 90 %, all others at their medians.

    Returns
    -------
    DataFrame
        Columns ``programme`` (whose input it is; ``total`` for what all share), ``input``, ``kind``, ``value_low``, ``value_high``,
        ``unit`` of these, ``npv_low``, ``npv_median``, ``npv_high``, ``swing`` (absolute), in currency; the widest first, sensitivities
        last. ``kind`` is ``uncertain`` (the ends are quantiles of a stated or estimated range) or ``sensitivity`` (a conventional step: the
        discount rate 4 points, margin a tenth, and where no overrun is stated costs a tenth, either way). Inputs that are certain have no
        row, nor have those of a cost play beside a CX total, which they do not move.
    """
    if decision.response.reason:
        return pd.DataFrame(columns=list(TORNADO))
    rows = [*_linkage_rows(decision), *_input_rows(decision), *_sensitivity_rows(decision)]
    frame = pd.DataFrame([(*row, abs(row[8] - row[6])) for row in rows], columns=list(TORNADO))
    frame = frame[(frame["value_low"] != frame["value_high"]) & (frame["swing"] > 0)]
    order = frame.sort_values(["kind", "swing", "programme", "input"], ascending=[False, False, True, True])
    return order.reset_index(drop=True)


TornadoRow = tuple[str, str, str, float, float, str, float, float, float]


def _linkage_rows(decision: BusinessCase) -> Iterator[TornadoRow]:
    """What a point means, a row a channel: its present value at the median gains."""
    case, response = decision.case, decision.response
    middle = Inputs({}, 1)
    base = float(present_values(case, response, middle).whole[0])
    ranked = ranked_draws(case, response)
    width = response.score_range[1] - response.score_range[0]
    worth = {name: np.zeros(len(ranked)) for name in channels(response)}
    for each in case.programmes:
        gain = float(np.clip(gain_at(each, np.full(1, 0.5))[0], -width, width)) if each.has_route else 0.0
        for name, values in channel_values(case, response, each).items() if gain else ():
            worth[name] += gain * (1.0 - case.tax_rate) * values
    for name, values in worth.items():
        low, high = (float(end) for end in np.quantile(values, [LOW_END, HIGH_END]))
        rest = base - float(np.median(values))  # the draw in the middle of the whole can lie at an end of a part
        yield TOTAL, f"linkage: {name}", "uncertain", low, high, case.currency, low + rest, base, high + rest


def _input_rows(decision: BusinessCase) -> Iterator[TornadoRow]:
    """Every named input but the linkage, at its ends."""
    case, response = decision.case, decision.response
    names = [name for name in named_inputs(decision) if name != "linkage"]
    if not names:
        return
    lucks = np.full((len(names), 1 + 2 * len(names)), 0.5)
    for at in range(len(names)):
        lucks[at, 1 + 2 * at], lucks[at, 2 + 2 * at] = LOW_END, HIGH_END
    inputs = Inputs(dict(zip(names, lucks, strict=True)), lucks.shape[1])
    found = present_values(case, response, inputs)
    whole = found.whole
    by_id = {each.id: each for each in case.programmes}
    for at, name in enumerate(names):
        programme, what = owner_of(name)
        low, high = 1 + 2 * at, 2 + 2 * at
        values = _values_of(case, response, by_id[programme], what)
        unit = "points" if what == "score_gain" else case.currency
        yield programme, what, "uncertain", *values, unit, float(whole[low]), float(whole[0]), float(whole[high])


def _values_of(case: Case, response: MarginResponse, programme: Programme, what: str) -> tuple[float, float]:
    """What an input is at its two ends: points of a gain, present value of an amount."""
    ends = np.array([LOW_END, HIGH_END])
    if what == "score_gain":
        width = response.score_range[1] - response.score_range[0]
        low, high = np.clip(gain_at(programme, ends), -width, width)
    else:
        stream = {"overrun": costs_of, "savings": savings_of, "benefits": stated_benefits_of}[what]
        low, high = np.broadcast_to(present_value(case, stream(case, programme, ends)), 2)
    return float(low), float(high)


def _sensitivity_rows(decision: BusinessCase) -> Iterator[TornadoRow]:
    """Terms of finance at conventional steps around what is stated."""
    case, response = decision.case, decision.response
    found = present_values(case, response, Inputs({}, 1))
    base, through = float(found.whole[0]), float(found.through_score[0].sum() - found.beyond_scale[0])
    rates = [max(case.annual_discount_rate + step, 0.0) for step in (-RATE_STEP, RATE_STEP)]
    ends = [case.model_copy(update={"annual_discount_rate": rate}) for rate in rates]
    low, high = (float(present_values(each, response, Inputs({}, 1)).whole[0]) for each in ends)
    yield TOTAL, "annual_discount_rate", "sensitivity", rates[0], rates[1], "per_year", low, base, high
    step = AMOUNT_STEP
    moved = step * through
    yield TOTAL, "margin", "sensitivity", 1 - step, 1 + step, "ratio", base - moved, base, base + moved
    if not any(name.startswith("overrun.") for name in named_inputs(decision)):
        counted = found.has_route if found.has_route.any() else ~found.has_route
        moved = step * float(found.cost[0, counted].sum())
        yield TOTAL, "costs", "sensitivity", 1 - step, 1 + step, "ratio", base + moved, base, base - moved


# --------------------------------------------------------------------------------------------------- shares of variance


def variance_shares(decision: BusinessCase) -> pd.DataFrame | str:
    """Share of the variance of net present value that each uncertain input answers for; the shares sum to 1.

    Returns
    -------
    DataFrame or str
        A row per input, the largest first: ``programme, input, share, alone, unit``. ``share`` is its Shapley effect, ``alone`` what
        the variance would fall by on average if only this input were known (first-order Sobol' index); where inputs work together or
        are correlated the two differ. The reason in words where there is no response or nothing is uncertain.

    Notes
    -----
    The variance explained by a set of inputs is the covariance of two evaluations that share these inputs and draw the others anew
    (given the shared ones, under the stated correlations as a normal copula), on 4,096 scrambled Sobol' points from the seed of the
    decision. Up to 8 inputs every set is evaluated; beyond, 60 random orders of the inputs and their reverses.
    """
    if decision.response.reason:
        return decision.response.reason
    case, response = decision.case, decision.response
    ends = np.array([0.01, 0.99])
    moved = {name: present_values(case, response, Inputs({name: ends}, 2)).whole for name in named_inputs(decision)}
    names = [name for name, (low, high) in moved.items() if low != high]
    if not names:
        return "nothing that is uncertain moves the net present value"

    def whole(lucks: Floats) -> Floats:
        inputs = Inputs({name: lucks[:, at] for at, name in enumerate(names)}, len(lucks))
        return present_values(case, response, inputs).whole

    pairs = [(*each.inputs, each.correlation) for each in case.correlations]
    share, alone = shapley_effects(whole, copula(names, pairs), seed=decision.seed)
    owners = [owner_of(name) for name in names]
    frame = pd.DataFrame(
        {
            "programme": [programme for programme, _ in owners],
            "input": [what for _, what in owners],
            "share": share,
            "alone": alone,
            "unit": "share",
        }
    )
    return frame.sort_values(["share", "programme"], ascending=[False, True]).reset_index(drop=True)


def shapley_effects(evaluate: Evaluate, correlation: Floats, *, seed: int) -> tuple[Floats, Floats]:
    """Shapley effects and first-order indices of a function of uniform inputs under a normal copula.

    Parameters
    ----------
    evaluate : callable
        From uniform numbers, shape (points, inputs), to values, shape (points,).
    correlation : ndarray, shape (inputs, inputs)
        Of the normal scores; the identity where inputs are independent.
    seed : int

    Returns
    -------
    share, alone : ndarray, shape (inputs,)
        Shares of the variance; ``share`` sums to 1.

    Examples
    --------
    >>> share, alone = shapley_effects(lambda luck: 2.0 * luck[:, 0] + luck[:, 1], np.eye(2), seed=1)
    >>> share.round(2), alone.round(2)
    (array([0.8, 0.2]), array([0.8, 0.2]))
    """
    count = len(correlation)
    points = qmc.Sobol(2 * count, scramble=True, seed=seed).random(_POINTS)
    normal = special.ndtri(np.clip(points, 1e-12, 1.0 - 1e-12))
    first, again = normal[:, :count] @ np.linalg.cholesky(correlation).T, normal[:, count:]
    base = evaluate(special.ndtr(first))
    variance = float(base.var())
    explained: dict[tuple[int, ...], float] = {(): 0.0, tuple(range(count)): 1.0}

    def of(known: tuple[int, ...]) -> float:
        if known not in explained:
            other = evaluate(special.ndtr(_drawn_anew(first, again, known, correlation)))
            explained[known] = float(((base - base.mean()) * (other - other.mean())).mean()) / variance
        return explained[known]

    share = np.zeros(count)
    for each, before, weight in _steps(count, seed):
        share[each] += weight * (of(tuple(sorted((*before, each)))) - of(before))
    return share, np.array([of((each,)) for each in range(count)])


def _steps(count: int, seed: int) -> Iterator[tuple[int, tuple[int, ...], float]]:
    """An input that becomes known, those known before it, and the weight of this step: all steps, or those of random orders."""
    if count <= _MOST_INPUTS_COUNTED_OUT:
        for each in range(count):
            others = [other for other in range(count) if other != each]
            for size in range(count):
                weight = 1.0 / (count * math.comb(count - 1, size))
                yield from ((each, before, weight) for before in itertools.combinations(others, size))
        return
    rng = np.random.default_rng([seed, count])
    drawn = [tuple(int(each) for each in rng.permutation(count)) for _ in range(_PERMUTATIONS)]
    for order in (order for each in drawn for order in (each, each[::-1])):
        for place, each in enumerate(order):
            yield each, tuple(sorted(order[:place])), 0.5 / _PERMUTATIONS


def _drawn_anew(first: Floats, again: Floats, known: tuple[int, ...], correlation: Floats) -> Floats:
    """The scores with all but the known inputs drawn anew, given the known ones."""
    others = [each for each in range(len(correlation)) if each not in known]
    drawn = first.copy()
    if not known:
        drawn[:, others] = again[:, others] @ np.linalg.cholesky(correlation).T
        return drawn
    given = list(known)
    slope = np.linalg.solve(correlation[np.ix_(given, given)], correlation[np.ix_(given, others)])
    rest = correlation[np.ix_(others, others)] - correlation[np.ix_(others, given)] @ slope
    drawn[:, others] = first[:, given] @ slope + again[:, others] @ np.linalg.cholesky(rest).T
    return drawn


# -------------------------------------------------------------------------------------------------------------- stress


@dataclass(frozen=True)
class _Stress:
    """One thing changed."""

    test: str
    changed: str
    basis: str
    case: Case
    response: MarginResponse


def stress_tests(
    decision: BusinessCase,
    *,
    survival: ShockSurvival | None = None,
    lost_retention: Mapping[str, float] | None = None,
) -> pd.DataFrame | str:
    """Net present value with one thing after the other changed for the worse, at the same draws.

    Parameters
    ----------
    decision : BusinessCase
    survival : ShockSurvival, optional
        What of the retention benefit survives each shock, as estimated from the data; a shock named as one of ``lost_retention`` takes
        its place.
    lost_retention : mapping of str to float, optional
        Share of the retention benefit that is lost by name of shock; by default half of it under a price shock and under a convenience
        shock, as a convention.

    Returns
    -------
    DataFrame or str
        A row per test, ``as stated`` first: ``test, changed, basis, low, median, high`` (5, 50, 95 % of net present value),
        ``p_npv_positive, change`` (of the median), ``unit``. ``basis`` says where the size of the change is from: ``convention``,
        ``case`` (an end of a stated range), ``data`` (the panel) or ``estimate`` (loyalty under shocks). The reason in words where
        there is no response.
    """
    if decision.response.reason:
        return decision.response.reason
    rows, stated = [], math.nan
    for each in _stresses(decision, survival, lost_retention):
        inputs = draw_inputs(each.case, each.response, seed=decision.seed, draws=decision.draws)
        npv = present_values(each.case, each.response, inputs).whole
        low, median, high = (float(end) for end in np.quantile(npv, _QUANTILES, method="inverted_cdf"))
        stated = median if math.isnan(stated) else stated
        chance = float((npv > 0).mean())
        row = (each.test, each.changed, each.basis, low, median, high, chance, median - stated, decision.case.currency)
        rows.append(row)
    return pd.DataFrame(rows, columns=list(STRESS))


def _stresses(
    decision: BusinessCase, survival: ShockSurvival | None, lost_retention: Mapping[str, float] | None
) -> Iterator[_Stress]:
    case, response = decision.case, decision.response
    routed = [each for each in case.programmes if each.has_route]
    yield _Stress("as stated", "nothing", "case", case, response)
    if routed:
        words = f"half-life halved; {NEVER_HALVES_IN_MONTHS:.0f} months where never is stated"
        yield _Stress("gain fades faster", words, "convention", _each(case, _fading_twice), response)
        observed = observed_half_life_months(response)
        if 0 < observed < math.inf:
            words = f"half-life {observed:.0f} months, as repeated answers say"
            faded = _each(case, lambda each: {"half_life_months": observed})
            yield _Stress("gain fades as observed", words, "data", faded, response)
        yield _Stress("gain at its low end", "low end of what is stated", "case", _each(case, _low_gain), response)
        late = _each(
            case, lambda each: {"start_month": min(each.start_month + STRESS_DELAY_MONTHS, case.horizon_months)}
        )
        words = f"the gain starts {STRESS_DELAY_MONTHS} months later, costs run as stated"
        yield _Stress("half a year late", words, "convention", late, response)
        for name, (share, basis) in _lost_shares(survival, lost_retention).items():
            words = f"{share:.0%} of the retention benefit lost"
            kept = replace(response, through_retention=(1.0 - share) * response.through_retention)
            yield _Stress(name, words, basis, case, kept)
        smaller = _scaled(response, 1.0 - STRESS_MARGIN)
        yield _Stress("lower margin", f"margin {STRESS_MARGIN:.0%} lower", "convention", case, smaller)
    words = f"costs {STRESS_OVERRUN:.0%} above what is stated"
    yield _Stress("cost overrun", words, "convention", _each(case, _dearer), response)
    rate = min(case.annual_discount_rate + STRESS_RATE, 0.99)
    words = f"discount rate {rate:.1%} a year, {STRESS_RATE * 100:.0f} points more"
    dear = case.model_copy(update={"annual_discount_rate": rate})
    yield _Stress("dearer money", words, "convention", dear, response)


def _lost_shares(
    survival: ShockSurvival | None, lost_retention: Mapping[str, float] | None
) -> dict[str, tuple[float, str]]:
    """Share of the retention benefit lost by shock, and where it is from; what the data say takes the place of a convention."""
    if lost_retention is not None:
        found = {name: (share, "case") for name, share in lost_retention.items()}
    else:
        found = dict.fromkeys(("price shock", "convenience shock"), (STRESS_RETENTION, "convention"))
    if survival is None:
        return found
    rows = survival.tidy()
    rows = rows[(rows["type"] == "all") & (rows["shock"] != "as now") & rows["surviving"].notna()]
    told = {str(one["shock"]): (1.0 - float(one["surviving"]), "estimate") for one in rows.to_dict("records")}
    return found | told


def _each(case: Case, change: Callable[[Programme], dict[str, object]]) -> Case:
    """The case with each programme that has a route changed; costs of all."""
    return case.model_copy(
        update={"programmes": tuple(each.model_copy(update=change(each)) for each in case.programmes)}
    )


def _fading_twice(programme: Programme) -> dict[str, object]:
    """Half the half-life; a gain that never fades halves in three years."""
    stated = programme.half_life_months
    return {"half_life_months": NEVER_HALVES_IN_MONTHS if stated == "never" else stated / 2.0}


def _low_gain(programme: Programme) -> dict[str, object]:
    """The gain at its low end, certain."""
    if not programme.has_route:
        return {}
    low = programme.gain.low
    gain = ScoreGain(metric=programme.gain.metric, low=low, mode=low, high=low)
    return {"score_gain": gain, "drivers": ()}


def _dearer(programme: Programme) -> dict[str, object]:
    """All costs a quarter higher."""
    factor = 1.0 + STRESS_OVERRUN
    return {"costs": tuple(cost.model_copy(update={"amount": cost.amount * factor}) for cost in programme.costs)}


def _scaled(response: MarginResponse, factor: float) -> MarginResponse:
    """The response with every channel times a factor."""
    return replace(
        response,
        through_retention=factor * response.through_retention,
        through_spend=factor * response.through_spend,
        through_referrals=None if response.through_referrals is None else factor * response.through_referrals,
        through_service=None if response.through_service is None else factor * response.through_service,
    )
