"""What it would be worth to know more before deciding: everything, one input, or what a pilot or a larger survey can tell.

Values are draws of net present value, a column for each thing that can be decided; the best column on average is what is done without
knowing more.

*Sources*: Raiffa & Schlaifer (1961), Applied Statistical Decision Theory, ch. 4–5; Strong, Oakley & Brennan (2014), Medical Decision Making
34:311 (one input by regression on the draws).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import interpolate, special

from cxroi.case.forecast import TOTAL
from cxroi.case.inputs import Inputs
from cxroi.case.measures import quantiles
from cxroi.case.portfolio import Coverage, Portfolio, options_of
from cxroi.case.ranges import gain_at
from cxroi.case.uncertainty import PresentValues, named_inputs, owner_of, present_values
from cxroi.errors import InputError

if TYPE_CHECKING:
    from cxroi.case.business_case import BusinessCase

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Row = tuple[str, str, str, float, float, float]

COLUMNS = ("decided", "programme", "input", "value", "std_error", "share", "unit")
SAMPLE_COLUMNS = ("size", "answers", "std_error", "share_known", "value", "cost", "net_value", "power", "unit")
TOGETHER, EACH, CHOICE = "together", "each", "choice"
EVERYTHING = "everything"

_PIECES = 5
_STEPS = 1_024
_DEGREE = 3
_SIZES, _FINE_SIZES = 24, 120
_RESULTS, _FURTHEST = (
    257,
    4.0,
)  # results of a measurement that are looked at, as far as so many standard errors beyond the range
_PROBABILITIES = (np.arange(200) + 0.5) / 200
_FEWEST_SAMPLED = 20
_NOTHING = 1e-9  # of the largest value: what rounding leaves
_SURE, _POWERED = float(special.ndtri(0.975)), float(special.ndtri(0.8))


class Worth(NamedTuple):
    """Expected value of knowing something, in the unit of the values, with its Monte Carlo error."""

    value: float
    std_error: float


def perfect_information(values: Floats) -> Worth:
    """Expected value of knowing everything before deciding (EVPI).

    Parameters
    ----------
    values : ndarray, shape (draws, options)
        Net present value of each option; the option of doing nothing is a column of zeros.

    Examples
    --------
    >>> perfect_information(np.array([[-2.0, 0.0], [4.0, 0.0]])).value
    1.0
    """
    return _worth(values, values)


def partial_information(values: Floats, known: Floats) -> Worth:
    """Expected value of knowing one input before deciding (EVPPI).

    Parameters
    ----------
    values : ndarray, shape (draws, options)
        Net present value of each option.
    known : ndarray, shape (draws,) or (draws, options)
        The input; with several columns, what it means for each option.

    Notes
    -----
    The mean of each option given the input is a cubic spline in the input with knots at its quantiles (five pieces), fitted to the same
    draws by least squares. Fitting makes the value a little too large, by about the noise of eight coefficients.
    """
    return _worth(values, conditional_mean(values, known))


def conditional_mean(values: Floats, known: Floats) -> Floats:
    """Mean of each column of ``values`` given the input, by a cubic spline, shape (draws, options)."""
    if known.ndim == 1:
        return _spline_fit(values, known)
    parts = [_spline_fit(values[:, [at]], known[:, at]) for at in range(values.shape[1])]
    return np.concatenate(parts, axis=1)


def sample_information(points: Floats, means: Floats, *, std_error: float, waiting: float = 1.0) -> float:
    """Expected value of measuring an input with a normal error before deciding (EVSI).

    Parameters
    ----------
    points : ndarray, shape (points,)
        Values of the input that are equally likely: its quantiles at evenly spaced probabilities.
    means : ndarray, shape (points, options)
        Mean net present value of each option at each of them.
    std_error : float
        Of the measurement, in the unit of the points.
    waiting : float
        What comes after the measurement is multiplied by this.

    Notes
    -----
    For 257 results of the measurement over the whole range that can be seen, Bayes' rule gives the probability of each point and with it
    the mean of each option, of which the best is taken; results count as likely as the points make them.

    Examples
    --------
    >>> points = np.array([-1.0, 1.0])
    >>> round(sample_information(points, np.stack([points, np.zeros(2)], axis=1), std_error=0.1), 3)  # as good as knowing
    0.5
    """
    now = float(means.mean(axis=0).max())
    results = np.linspace(points.min() - _FURTHEST * std_error, points.max() + _FURTHEST * std_error, _RESULTS)
    if results[1] - results[0] > std_error:  # nothing is left to tell apart
        return waiting * float(means.max(axis=1).mean()) - now
    logs = -0.5 * ((results[:, None] - points) / std_error) ** 2
    highest = logs.max(axis=1, keepdims=True)
    likely = np.exp(logs - highest)
    density = np.exp(highest[:, 0]) * likely.sum(axis=1)
    after = (likely @ means) / likely.sum(axis=1, keepdims=True)
    value = waiting * float(after.max(axis=1) @ density / density.sum()) - now
    return 0.0 if abs(value) < _NOTHING * float(np.abs(means).max()) else value


def unit_normal_loss(mean: float, std: float) -> float:
    """E max(X, 0) − max(E X, 0) for X ~ N(mean, std²): the value of knowing X before taking or leaving it.

    >>> round(unit_normal_loss(0.0, 1.0), 6) == round(1 / math.sqrt(2 * math.pi), 6)
    True
    """
    if std == 0.0:
        return 0.0
    distance = abs(mean) / std
    density = math.exp(-0.5 * distance * distance) / math.sqrt(2.0 * math.pi)
    return std * (density - distance * float(special.ndtr(-distance)))


def _worth(values: Floats, means: Floats) -> Worth:
    """Gain of choosing by ``means`` in each draw over one choice for all draws."""
    now = int(np.argmax(values.mean(axis=0)))
    value = float(means.max(axis=1).mean() - means.mean(axis=0).max())
    then = np.argmax(means, axis=1)
    gained = np.take_along_axis(values, then[:, None], axis=1)[:, 0] - values[:, now]
    return Worth(max(value, 0.0), float(gained.std(ddof=1) / math.sqrt(len(values))))


def _spline_fit(values: Floats, known: Floats, weights: Floats | None = None) -> Floats:
    """Least-squares cubic spline of each column on the input, shape of ``values``."""
    low, high = float(known.min()), float(known.max())
    if low == high:
        return np.asarray(np.broadcast_to(np.average(values, axis=0, weights=weights), values.shape))
    scaled = (known - low) / (high - low)
    inner = np.unique(np.quantile(scaled, np.arange(1, _PIECES) / _PIECES))
    inner = inner[(inner > 0.0) & (inner < 1.0)]
    knots = np.concatenate([np.zeros(_DEGREE + 1), inner, np.ones(_DEGREE + 1)])
    basis = np.asarray(interpolate.BSpline.design_matrix(scaled, knots, _DEGREE).toarray())
    weighted = basis if weights is None else basis * weights[:, None]
    gram, moments = basis.T @ weighted, weighted.T @ values
    coefficients = np.linalg.lstsq(gram, moments, rcond=1e-10)[0]
    return np.asarray(basis @ coefficients)


@dataclass(frozen=True, eq=False, repr=False)
class Information:
    """What it is worth to know more before deciding.

    Attributes
    ----------
    rows : DataFrame
        ``decided, programme, input, value, std_error, share, unit``, the most valuable first within a way of deciding. ``decided`` is
        ``together`` (all programmes with a route, or none), ``each`` (every programme by itself, cost plays too) or ``choice`` (the
        best set of programmes under a budget). ``input`` is
        ``everything`` (EVPI) or a named input (EVPPI); ``share`` is its part of the former. Values of single inputs do not add up.
    npv : float
        Mean net present value of what is done without knowing more (together), in currency; 0 where that is nothing.
    """

    rows: pd.DataFrame
    npv: float
    currency: str
    draws: int

    def __repr__(self) -> str:
        return str(self.rows.to_string(index=False))

    def tidy(self) -> pd.DataFrame:
        """A row per way of deciding and input."""
        return self.rows

    def glance(self) -> pd.DataFrame:
        """One row: worth of knowing everything, the input to find out first and its worth, deciding on all together."""
        rows = self.rows[self.rows["decided"] == TOGETHER]
        everything = rows[rows["input"] == EVERYTHING].iloc[0]
        single = rows[rows["input"] != EVERYTHING]
        first = single.iloc[0] if len(single) else everything
        row = {
            "evpi": everything["value"],
            "programme": first["programme"],
            "first": first["input"],
            "evppi": first["value"],
            "share": first["share"],
            "npv": self.npv,
            "currency": self.currency,
            "draws": self.draws,
        }
        return pd.DataFrame([row])


def value_of_information(decision: BusinessCase, *, choice: Portfolio | None = None) -> Information | str:
    """What it is worth to know everything, or one input, before deciding on a case.

    Parameters
    ----------
    decision : BusinessCase
    choice : Portfolio, optional
        The choice of programmes that would be made: adds what it is worth to know before choosing among the sets that it compared.

    Returns
    -------
    Information or str
        The reason in words where there is no response.

    Notes
    -----
    The mean of each option given an input is estimated as in `partial_information`. The linkage, which has many coefficients, stands there
    as one number for each option: its net present value with all other inputs at their medians.
    """
    if decision.response.reason:
        return decision.response.reason
    case = decision.case
    found = present_values(case, decision.response, decision.inputs)
    known = {name: _known(decision, name) for name in named_inputs(decision)}
    together = {name: each.means(found.whole[:, None], each.found.whole[:, None]) for name, each in known.items()}
    rows = _rows(TOGETHER, found.whole[:, None], together)
    if len(case.programmes) > 1:
        rows += _rows(EACH, found.npv, {name: each.means(found.npv, each.found.npv) for name, each in known.items()})
    if choice is not None:
        values = _set_values(decision, choice)
        rows += _choice_rows(values, {name: each.means(values, each.sets(choice)) for name, each in known.items()})
    frame = pd.DataFrame([(*row, case.currency) for row in rows], columns=list(COLUMNS))
    return Information(frame, max(float(found.whole.mean()), 0.0), case.currency, decision.draws)


@dataclass(frozen=True, eq=False)
class _Known:
    """One input on a grid of its probabilities, all others at their medians.

    Attributes
    ----------
    held : BusinessCase
        The case at the grid.
    found : PresentValues
        Its values there.
    places : ndarray, shape (draws,)
        Place of each draw on the grid.
    points : ndarray, shape (places,), or None
        What the input is, as the net present value of its own programme; None for the linkage, which is something else to each option.
    tied : bool
        Whether it is correlated with another input, and so says something of options that it does not move.
    """

    held: BusinessCase
    found: PresentValues
    places: Places
    points: Floats | None
    tied: bool

    def means(self, values: Floats, meaning: Floats) -> Floats:
        """Mean of each option given the input, shape (draws, options); ``meaning`` are the options' values on the grid."""
        means = np.array(np.broadcast_to(values.mean(axis=0), values.shape))
        moved = np.ptp(meaning, axis=0) > 0.0
        for at in np.flatnonzero(moved | self.tied):
            own = meaning[:, at] if moved[at] else self.found.whole
            points = own if self.points is None else self.points
            means[:, at] = _mean_by_place(values[:, at], self.places, points)[self.places]
        return means

    def sets(self, choice: Portfolio) -> Floats:
        """Values of the sets that a choice compared, on the grid."""
        return _set_values(self.held, choice)


def _known(decision: BusinessCase, name: str) -> _Known:
    """An input on its grid."""
    steps = len(decision.response.baseline) if name == "linkage" else _STEPS
    grid = Inputs({name: (np.arange(steps) + 0.5) / steps}, steps)
    found = present_values(decision.case, decision.response, grid)
    places = np.minimum((decision.inputs.luck[name] * steps).astype(np.int64), steps - 1)
    points = None if name == "linkage" else found.npv[:, found.ids.index(owner_of(name)[0])]
    tied = any(name in each.inputs for each in decision.case.correlations)
    return _Known(replace(decision, inputs=grid, draws=steps), found, places, points, tied)


def _rows(decided: str, npv: Floats, known: Mapping[str, Floats]) -> list[Row]:
    """Worth of everything and of each input where each column of ``npv`` is taken or left by itself; ``known`` are its means."""
    everything = _taken_or_left(npv, npv)
    return _ranked(decided, everything, {name: _taken_or_left(npv, means) for name, means in known.items()})


def _choice_rows(values: Floats, known: Mapping[str, Floats]) -> list[Row]:
    """Worth of everything and of each input where the best column of ``values`` is chosen."""
    everything = perfect_information(values)
    return _ranked(CHOICE, everything, {name: _worth(values, means) for name, means in known.items()})


def _ranked(decided: str, everything: Worth, known: Mapping[str, Worth]) -> list[Row]:
    """Rows of everything and of each input, the most valuable first."""
    rows = [
        (decided, *owner_of(name), *worth, worth.value / everything.value if everything.value else 0.0)
        for name, worth in known.items()
    ]
    rows.sort(key=lambda row: -row[3])
    return [(decided, TOTAL, EVERYTHING, *everything, 1.0), *rows]


def _set_values(decision: BusinessCase, choice: Portfolio) -> Floats:
    """Net present value of each set that was compared, shape (draws, sets)."""
    coverage = Coverage(options_of(decision, shared=choice.shared))
    return np.stack([coverage.npv(chosen) for chosen in choice.compared], axis=1)


def _mean_by_place(values: Floats, places: Places, meaning: Floats) -> Floats:
    """Mean of the values at each place of a grid, by a spline in what the place means, shape (places,)."""
    counts = np.bincount(places, minlength=len(meaning)).astype(float)
    sums = np.bincount(places, weights=values, minlength=len(meaning))
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return _spline_fit(means[:, None], meaning, counts)[:, 0]


def _taken_or_left(npv: Floats, means: Floats) -> Worth:
    """Worth of knowing the means before each column is taken or left, summed over the columns."""
    now = npv.mean(axis=0) > 0.0
    then = means > 0.0
    changed = (then != now).any(axis=0)
    value = np.maximum(means, 0.0).mean(axis=0) - np.maximum(npv.mean(axis=0), 0.0)
    gained = (npv * (then.astype(float) - now)).sum(axis=1)
    return Worth(max(float(value[changed].sum()), 0.0), float(gained.std(ddof=1) / math.sqrt(len(npv))))


# -------------------------------------------------------------------------------------------------------------- samples


@dataclass(frozen=True, eq=False, repr=False)
class SampleInformation:
    """What a pilot or a larger survey is worth before deciding, against its cost, by size.

    Attributes
    ----------
    kind : str
        ``pilot`` (two arms; its size is customers an arm) or ``survey`` (more answers; its size is answers).
    programme : str
        Id, or ``total`` for a survey.
    rows : DataFrame
        ``size, answers, std_error`` (points; of a pilot), ``share_known`` (of the variance before), ``value`` (expected value of sample
        information), ``cost``, ``net_value, power`` (to tell the break-even gain from none), ``unit``. Amounts after tax, in currency.
    limit : float
        What knowing it exactly would be worth: no sample is worth more.
    break_even : float
        Gain in points at which the programme pays, the median of the draws; NaN for a survey, or where no gain does.
    size_for_power : float
        Customers an arm to tell the break-even gain from none with a power of 80 % (two-sided, 5 %); NaN where it is not defined.
    best_size : int
        Size with the largest net value; 0 where none is worth its cost.
    best_value, best_net_value : float
        Value and net value at that size; 0 where it is 0.
    decides : bool
        Whether any result could change what is done.
    """

    kind: str
    programme: str
    rows: pd.DataFrame
    limit: float
    break_even: float
    size_for_power: float
    best_size: int
    best_value: float
    best_net_value: float
    decides: bool
    currency: str

    def __repr__(self) -> str:
        return str(self.rows.to_string(index=False))

    def tidy(self) -> pd.DataFrame:
        """A row per size."""
        return self.rows

    def glance(self) -> pd.DataFrame:
        """One row: the best size, its value and net value, the limit, break-even gain and size for a power of 80 %."""
        names = (
            "kind",
            "programme",
            "best_size",
            "best_value",
            "best_net_value",
            "limit",
            "break_even",
            "size_for_power",
        )
        return pd.DataFrame([{name: getattr(self, name) for name in (*names, "decides", "currency")}])


class _Prior(NamedTuple):
    """Equally likely values of what a sample measures, shape (points,), and the mean of each option there, shape (points, options)."""

    points: Floats
    means: Floats


def _prior(values: Floats, luck: Floats, points: Floats) -> _Prior:
    """Means of the options by a spline in the points; ``luck`` are the probabilities at which the input was drawn."""
    places = np.minimum((luck * len(points)).astype(np.int64), len(points) - 1)
    means = [_mean_by_place(values[:, at], places, points) for at in range(values.shape[1])]
    return _Prior(points, np.stack(means, axis=1))


def pilot(
    decision: BusinessCase,
    programme: str,
    *,
    answer_std: float,
    response_rate: float,
    fixed_cost: float = 0.0,
    cost_per_customer: float = 0.0,
    months: float = 0.0,
    sizes: Sequence[int] = (),
    choice: Portfolio | None = None,
) -> SampleInformation | str:
    """Value and cost of a pilot by lot that measures a programme's gain in two arms before it is decided on.

    Parameters
    ----------
    decision : BusinessCase
    programme : str
        Its id.
    answer_std : float
        Standard deviation of single answers, in points.
    response_rate : float
        Share of the customers of either arm who answer.
    fixed_cost, cost_per_customer : float
        Before tax, in currency; per customer of the treated arm.
    months : float
        How long the decision waits; everything after it is discounted by as much, the horizon moving along.
    sizes : sequence of int, optional
        Customers an arm; by default from 20 to half of those whom the programme reaches.
    choice : Portfolio, optional
        The choice that the pilot may change; without it the programme is taken or left by itself.

    Returns
    -------
    SampleInformation or str
        The reason in words where there is no response, no route, or the gain is stated as certain.

    Raises
    ------
    InputError
        If the programme is unknown or a number cannot be.

    Notes
    -----
    The difference of the arms is normal around the gain with the standard error answer_std·√(2/answers an arm). What each result of it
    would leave of the stated gain follows from Bayes' rule; see `sample_information`.
    """
    known = {each.id: each for each in decision.case.programmes}
    if programme not in known:
        raise InputError(f"programme must be one of {', '.join(known)}; got {programme!r}.")
    _refuse(answer_std > 0, f"answer_std must be points above 0; got {answer_std!r}. Take that of the data's answers.")
    _refuse(0 < response_rate <= 1, f"response_rate must be a share above 0 and up to 1; got {response_rate!r}.")
    _refuse(min(fixed_cost, cost_per_customer, months) >= 0, "costs and months must not be below 0.")
    stated = known[programme]
    if decision.response.reason:
        return decision.response.reason
    if not stated.has_route or f"score_gain.{programme}" not in decision.inputs.luck:
        return f"the gain of {programme} is not uncertain, so a pilot has nothing to find out"
    at = [each.id for each in decision.case.programmes].index(programme)
    width = decision.response.score_range[1] - decision.response.score_range[0]
    gain = np.clip(gain_at(stated, decision.inputs.luck[f"score_gain.{programme}"]), -width, width)
    npv = present_values(decision.case, decision.response, decision.inputs).npv[:, at]
    needed = decision.forecasts[at].measures["break_even_score_gain"]
    median = quantiles(needed)[1]  # the figure of the break-even table, so that both say one
    break_even = median if math.isfinite(median) and median > 0.0 else math.nan
    variance, kept = float(gain.var()), 1.0 - decision.case.tax_rate

    def error(size: float) -> float:
        return answer_std * math.sqrt(2.0 / (size * response_rate))

    plan = _Plan(
        kind="pilot",
        programme=programme,
        answers=lambda size: 2.0 * size * response_rate,
        error=error,
        share=lambda size: variance / (variance + error(size) ** 2),
        cost=lambda size: kept * (fixed_cost + cost_per_customer * size),
        power=lambda size: float(special.ndtr(break_even / error(size) - _SURE)),
        waiting=(1.0 + decision.case.annual_discount_rate) ** (-months / 12.0),
        break_even=break_even,
        size_for_power=2.0 / response_rate * ((_SURE + _POWERED) * answer_std / break_even) ** 2,
        currency=decision.case.currency,
    )
    most = int(decision.response.customers * stated.reach / 2.0)
    values = np.stack([npv, np.zeros_like(npv)], axis=1) if choice is None else _set_values(decision, choice)
    points = np.clip(gain_at(stated, _PROBABILITIES), -width, width)
    return _sampled(plan, _prior(values, decision.inputs.luck[f"score_gain.{programme}"], points), sizes, most)


def larger_survey(
    decision: BusinessCase,
    *,
    answers_now: int,
    fixed_cost: float = 0.0,
    cost_per_answer: float = 0.0,
    months: float = 0.0,
    sizes: Sequence[int] = (),
    choice: Portfolio | None = None,
) -> SampleInformation | str:
    """Value and cost of more answers, which narrow the linkage, before all programmes are decided on together.

    Parameters
    ----------
    decision : BusinessCase
    answers_now : int
        Answers behind the linkage.
    fixed_cost, cost_per_answer : float
        Before tax, in currency.
    months : float
        How long the decision waits.
    sizes : sequence of int, optional
        Further answers; by default from 20 to ten times those there are.
    choice : Portfolio, optional
        The choice that the answers may change; without it all programmes with a route are taken or left together.

    Returns
    -------
    SampleInformation or str
        The reason in words where there is no response or it is certain.

    Raises
    ------
    InputError
        If a number cannot be.

    Notes
    -----
    Further answers are taken to measure the value at median gains, with a variance that falls as 1 over their number and equals the
    present one for as many as there are. That is the most that answers of the same kind can do: what customers who never answer think,
    and what no answer records, stays as it is.
    """
    _refuse(answers_now >= 1, f"answers_now must be a number of answers from 1; got {answers_now!r}.")
    _refuse(min(fixed_cost, cost_per_answer, months) >= 0, "costs and months must not be below 0.")
    if decision.response.reason:
        return decision.response.reason
    if "linkage" not in decision.inputs.luck:
        return "the linkage is not uncertain, so more answers have nothing to find out"
    case, inputs, kept = decision.case, decision.inputs, 1.0 - decision.case.tax_rate
    if choice is None:
        whole = present_values(case, decision.response, inputs).whole
        values = np.stack([whole, np.zeros_like(whole)], axis=1)
    else:
        values = _set_values(decision, choice)
    points = present_values(case, decision.response, Inputs({"linkage": _PROBABILITIES}, len(_PROBABILITIES))).whole
    spread = float(points.std())
    plan = _Plan(
        kind="survey",
        programme=TOTAL,
        answers=lambda size: size,
        error=lambda size: spread * math.sqrt(answers_now / size),
        share=lambda size: size / (answers_now + size),
        cost=lambda size: kept * (fixed_cost + cost_per_answer * size),
        power=lambda _: math.nan,
        waiting=(1.0 + case.annual_discount_rate) ** (-months / 12.0),
        break_even=math.nan,
        size_for_power=math.nan,
        currency=case.currency,
    )
    return _sampled(plan, _prior(values, inputs.luck["linkage"], points), sizes, 10 * answers_now)


class _Plan(NamedTuple):
    """What a sample of a size brings and costs; functions of the size."""

    kind: str
    programme: str
    answers: Callable[[float], float]
    error: Callable[[float], float]
    share: Callable[[float], float]
    cost: Callable[[float], float]
    power: Callable[[float], float]
    waiting: float
    break_even: float
    size_for_power: float
    currency: str


def _sampled(plan: _Plan, prior: _Prior, sizes: Sequence[int], most: int) -> SampleInformation | str:
    """The plan at each size, and at the size that is best."""
    if sizes:
        _refuse(min(sizes) >= 1, f"sizes must be whole numbers from 1; got {min(sizes)!r}.")
        shown, tried = sorted(set(sizes)), sorted(set(sizes))
    elif most < _FEWEST_SAMPLED:
        return f"fewer than {_FEWEST_SAMPLED} customers an arm could be asked"
    else:
        shown, tried = (
            [int(size) for size in np.unique(np.geomspace(_FEWEST_SAMPLED, most, steps).round())]
            for steps in (_SIZES, _FINE_SIZES)
        )

    def worth(size: float) -> float:
        return sample_information(prior.points, prior.means, std_error=plan.error(size), waiting=plan.waiting)

    rows = [
        (
            size,
            plan.answers(size),
            plan.error(size) if plan.kind == "pilot" else math.nan,
            plan.share(size),
            value := worth(size),
            plan.cost(size),
            value - plan.cost(size),
            plan.power(size),
            plan.currency,
        )
        for size in shown
    ]
    net = [worth(size) - plan.cost(size) for size in tried]
    best = int(np.argmax(net))
    limit = float(prior.means.max(axis=1).mean() - prior.means.mean(axis=0).max())
    limit = 0.0 if limit < _NOTHING * float(np.abs(prior.means).max()) else limit
    pays = net[best] > 0.0
    return SampleInformation(
        kind=plan.kind,
        programme=plan.programme,
        rows=pd.DataFrame(rows, columns=list(SAMPLE_COLUMNS)),
        limit=limit,
        break_even=plan.break_even,
        size_for_power=math.ceil(plan.size_for_power) if math.isfinite(plan.size_for_power) else math.nan,
        best_size=tried[best] if pays else 0,
        best_value=net[best] + plan.cost(tried[best]) if pays else 0.0,
        best_net_value=net[best] if pays else 0.0,
        decides=limit > 0.0,
        currency=plan.currency,
    )


def _refuse(holds: bool, sentence: str) -> None:
    if not holds:
        raise InputError(sentence)
