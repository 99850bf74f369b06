"""Satisfaction behind the answers: how it lasts, how noisy one answer is, and what all answers so far say of each customer.

A customer's satisfaction, in points of the answer, is what recorded controls predict, plus an own lasting part, plus a
part that fades by the same share every period; an answer adds noise. Four numbers, found by maximum likelihood of the
answers that customers repeated. What the answers up to a period say of satisfaction then, one period before and in all
earlier periods follows by Kalman's recursion. Putting these expectations in the place of single answers takes out the
attenuation by noise (regression calibration); the past ones stand for what survival and past orders already show of
satisfaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import special

from cxroi.linkage.fit import Floats, Ints
from cxroi.linkage.ladder import CRITICAL
from cxroi.panel import Panel

FEWEST_PAIRS = 100
FEWEST_LAGS = 3
MOST_CUSTOMERS, MOST_PATTERNS = 50_000, 20_000  # of the likelihood; a systematic sample of more
CHUNK = 4_000  # patterns whose covariance matrices are held at a time
ROWS = 16_384  # customers who are looked at together
PARAMETERS = ("lasting", "fading", "fade", "noise")
STEP = 1e-3  # of the logs and the logit, for derivatives
MOST_STEPS, SMALLEST_DECREMENT = 50, 1e-8
COLUMNS = (
    "satisfaction_level",
    "satisfaction_last",
    "satisfaction_earlier",
    "satisfaction_path",
    "satisfaction_spread",
)


@dataclass(frozen=True)
class Answers:
    """Answers of customers on a grid of periods; what recorded controls predict is taken out.

    ``deviation`` and ``counts`` have shape (customers, periods), NaN and 0 where there is no answer; the first column is one period
    before the first answer. ``entry`` is the column of the first period that a customer was seen in.
    """

    deviation: Floats
    counts: Floats
    entry: Ints

    def pick(self, customers: Ints) -> Answers:
        """Some of the customers."""
        return Answers(self.deviation[customers], self.counts[customers], self.entry[customers])

    @cached_property
    def patterns(self) -> tuple[Floats, Ints]:
        """Numbers of answers by period that occur, shape (patterns, periods), and each customer's pattern."""
        return _distinct(self.counts)

    @cached_property
    def histories(self) -> tuple[Floats, Ints, Ints]:
        """The same of numbers of answers and entry together: counts, entry, each customer's pattern."""
        keys, of_customer = _distinct(np.column_stack([self.counts, self.entry]))
        return keys[:, :-1], keys[:, -1].astype(np.int64), of_customer


@dataclass(frozen=True)
class Satisfaction:
    """Variances in squared points of the answer, and the share of the fading part that is left after one period.

    Attributes
    ----------
    lasting, fading, fade, noise : float
        ``noise`` is the variance that one answer adds.
    predicted : float
        Variance of what recorded controls predict.
    covariance : array, shape (4, 4)
        Of the logs of ``lasting``, ``fading``, ``noise`` and the logit of ``fade``, in the order of ``PARAMETERS``.
    influence : array, shape (customers, 4)
        Contribution of each customer to those four; ``customers`` are their codes.
    """

    exposure: str
    lasting: float
    fading: float
    fade: float
    noise: float
    predicted: float
    pairs: int
    influence: Floats
    customers: Ints

    @property
    def reliability(self) -> float:
        """Share of the variance of single answers that is satisfaction."""
        satisfaction = self.predicted + self.lasting + self.fading
        return satisfaction / (satisfaction + self.noise)

    @property
    def covariance(self) -> Floats:
        """Clustered covariance of the transformed parameters, shape (4, 4)."""
        return self.influence.T @ self.influence

    @cached_property
    def reliability_error(self) -> float:
        """Standard error of the reliability by the delta method."""
        satisfaction = self.predicted + self.lasting + self.fading
        total = satisfaction + self.noise
        gradient = np.array([self.lasting, self.fading, 0.0, -satisfaction]) * self.noise / total**2
        gradient[3] = -satisfaction * self.noise / total**2
        return float(np.sqrt(gradient @ self.covariance @ gradient))

    def moved(self, parameter: int, step: float) -> Satisfaction:
        """The same with one transformed parameter moved by a step."""
        name = PARAMETERS[parameter]
        value = getattr(self, name)
        if name == "fade":
            return replace(self, fade=float(special.expit(special.logit(value) + step)))
        return replace(self, **{name: value * float(np.exp(step))})

    def tidy(self) -> pd.DataFrame:
        """One row a term: ``term, estimate, conf_low, conf_high`` (95 %)."""
        error = np.sqrt(np.diag(self.covariance))
        rows = []
        for position, name in enumerate(PARAMETERS):
            ends = [getattr(self.moved(position, sign * CRITICAL * error[position]), name) for sign in (-1, 1)]
            rows.append((name, getattr(self, name), *ends))
        reach = CRITICAL * self.reliability_error
        rows.append(("reliability", self.reliability, self.reliability - reach, min(self.reliability + reach, 1.0)))
        return pd.DataFrame(rows, columns=["term", "estimate", "conf_low", "conf_high"])


@dataclass(frozen=True)
class Expected:
    """What all answers up to a period say, at every customer and period of a grid, shape (customers, periods) each.

    Deviations from what controls predict: ``now``, of the lasting part (``level``), one period before (``last``), summed
    over all periods before that one since the customer was first seen (``earlier``); ``spread`` is the variance of satisfaction
    about ``now``.
    """

    now: Floats
    level: Floats
    last: Floats
    earlier: Floats
    spread: Floats


def learn_satisfaction(
    grid: Grid, exposure: str, *, predicted_variance: float, least_noise: float = 0.0
) -> Satisfaction | None:
    """Maximum likelihood from repeated answers; None with fewer than three lags that have 100 pairs of answers.

    Parameters
    ----------
    grid : Grid
    exposure : str
    predicted_variance : float
        Variance of what controls predict.
    least_noise : float
        Variance that one answer adds at least: rounding to whole points alone adds 1/12.

    Notes
    -----
    Source: local-level decomposition with a stationary AR(1), Harvey (1989), Forecasting, Structural Time Series Models and the
    Kalman Filter, chapter 3; regression calibration, Carroll et al. (2006), Measurement Error in Nonlinear Models, chapter 4.
    """
    answers, codes = grid.answers, grid.customers
    pairs = _pairs(answers)
    if (pairs >= FEWEST_PAIRS).sum() < FEWEST_LAGS:
        return None
    every = -(-len(codes) // MOST_CUSTOMERS)
    while True:
        some = np.arange(0, len(codes), every)
        sample = answers.pick(some)
        if len(sample.patterns[0]) <= MOST_PATTERNS:
            break
        every += 1
    variance = float(np.nanmean(sample.deviation**2))
    if variance <= 0:
        return None
    at, scores, information = _scoring(sample, variance, least_noise)
    lasting, fading, fade, noise = _parameters(at)
    return Satisfaction(
        exposure=exposure,
        lasting=lasting,
        fading=fading,
        fade=fade,
        noise=noise,
        predicted=predicted_variance,
        pairs=int(pairs.sum()),
        influence=scores @ np.linalg.pinv(information, rcond=1e-6, hermitian=True),
        customers=codes[some],
    )


@dataclass(frozen=True)
class Grid:
    """Answers of all customers who gave one, with the place of each row of the panel and of each active customer in it.

    ``rows`` and ``active`` are (customer, period) indices; an active customer who never answered has customer −1.
    """

    answers: Answers
    customers: Ints
    rows: tuple[Ints, Ints]
    active: tuple[Ints, Ints]


def answer_grid(panel: Panel, exposure: str, predicted: tuple[Floats, Floats]) -> Grid:
    """Grid of the answers less what controls predict of them (in the answered rows, and of the active customers)."""
    rows, active = panel.answered(exposure), panel.active
    newest = (active[f"{exposure}_age"] == 0).to_numpy()  # answered in the last period: no outcome yet
    codes = np.unique(np.concatenate([rows["customer"].to_numpy(), active["customer"].to_numpy()[newest]]))
    first, last = int(rows["period"].min()) - 1, panel.last_period
    deviation, counts = np.full((2, len(codes), last - first + 1), np.nan)
    counts[:] = 0.0
    places = np.searchsorted(codes, rows["customer"].to_numpy()), rows["period"].to_numpy() - first
    deviation[places] = rows[exposure].to_numpy(dtype=float) - predicted[0]
    counts[places] = rows[f"{exposure}_answers"].to_numpy()
    found = np.searchsorted(codes, active["customer"].to_numpy())
    known = codes[np.minimum(found, len(codes) - 1)] == active["customer"].to_numpy()
    at_end = np.where(known, found, -1), np.full(len(active), last - first)
    own = at_end[0][newest], at_end[1][newest]
    deviation[own] = active[f"last_{exposure}"].to_numpy(dtype=float)[newest] - predicted[1][newest]
    counts[own] = 1.0
    entry = np.full(len(codes), last - first, dtype=np.int64)
    for frame, (customer, period) in ((rows, places), (active, at_end)):
        before = frame["periods_before"].to_numpy(dtype=float) if "periods_before" in frame else np.zeros(len(frame))
        inside = customer >= 0
        np.minimum.at(entry, customer[inside], (period - before).astype(np.int64)[inside])
    return Grid(Answers(deviation, counts, np.maximum(entry, 1)), codes, places, at_end)


def expect(satisfaction: Satisfaction, answers: Answers) -> Expected:
    """Kalman's recursion over the grid; the state is level, wave, satisfaction one period before, and the sum of the earlier ones.

    Customers who answered as often in the same periods share variances and gains, so those are computed once a pattern.
    """
    counts, entry, of_customer = answers.histories
    size = answers.deviation.shape
    fade = satisfaction.fade
    onward = np.array([[1.0, 0, 0, 0], [0, fade, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]])
    reading = np.array([1.0, 1, 0, 0])
    news = satisfaction.fading * (1 - fade**2)
    variance = np.zeros((len(counts), 4, 4))
    variance[:, 0, 0], variance[:, 1, 1] = satisfaction.lasting, satisfaction.fading
    level, wave, last, earlier = np.zeros((4, size[0]))
    found = {name: np.zeros(size, order="F") for name in ("now", "level", "last", "earlier", "spread")}
    for column in range(size[1]):
        if column:
            earlier, last, wave = earlier + last, level + wave, fade * wave
            variance = onward @ variance @ onward.T
            variance[:, 1, 1] += news
            early = column - 1 < entry  # satisfaction before the period that led to the first one seen does not count
            earlier[early[of_customer]] = 0.0
            variance[early, 3, :] = 0.0
            variance[early, :, 3] = 0.0
        count = counts[:, column]
        towards = variance @ reading
        total = np.where(count > 0, towards @ reading + satisfaction.noise / np.maximum(count, 1.0), np.inf)
        gain = towards / total[:, None]
        who = np.flatnonzero(answers.counts[:, column] > 0)
        pattern = of_customer[who]
        unexpected = np.nan_to_num(answers.deviation[who, column]) - level[who] - wave[who]
        for part, own in zip((level, wave, last, earlier), gain.T, strict=True):
            part[who] += own[pattern] * unexpected
        variance = variance - gain[:, :, None] * towards[:, None, :]
        found["now"][:, column] = level + wave
        found["level"][:, column] = level
        found["last"][:, column] = last
        found["earlier"][:, column] = earlier
        found["spread"][:, column] = ((variance @ reading) @ reading)[of_customer]
    return Expected(**found)


def _distinct(values: Floats) -> tuple[Floats, Ints]:
    """Distinct rows and the number of each row's own."""
    codes = np.zeros(len(values), dtype=np.int64)
    for column in values.T:
        own, kinds = pd.factorize(column)
        codes = pd.factorize(codes * len(kinds) + own)[0]
    first = np.unique(codes, return_index=True)[1]
    return values[first], codes


def _parameters(at: Floats) -> tuple[float, float, float, float]:
    return float(np.exp(at[0])), float(np.exp(at[1])), float(special.expit(at[2])), float(np.exp(at[3]))


def _pairs(answers: Answers) -> Ints:
    """Number of customers answering 1, 2, … periods apart, shape (lags,)."""
    seen = (answers.counts > 0).astype(float)
    return np.array([int((seen[:, lag:] * seen[:, :-lag]).sum()) for lag in range(1, seen.shape[1])], dtype=np.int64)


def _scoring(answers: Answers, variance: float, least_noise: float) -> tuple[Floats, Floats, Floats]:
    """Fisher scoring with halved steps: transformed parameters (4,), score of each customer (customers, 4), information (4, 4)."""
    low, high = np.log(variance) - 9.0, np.log(variance) + 0.7
    least = min(max(np.log(max(least_noise, 1e-300)), low), high)
    bounds = np.array([(low, high), (low, high), (-4.0, 5.0), (least, high)]).T
    at = np.clip([np.log(0.4 * variance), np.log(0.4 * variance), 0.5, np.log(0.2 * variance)], *bounds)
    objective, scores, information = _gaussian(answers, at)
    for _ in range(MOST_STEPS):
        gradient = scores.sum(axis=0)
        free = ~(((at <= bounds[0]) & (gradient < 0)) | ((at >= bounds[1]) & (gradient > 0)))
        step = np.zeros(len(at))
        ridge = 1e-6 * np.diag(np.diag(information))
        step[free] = np.linalg.solve((information + ridge)[np.ix_(free, free)], gradient[free])
        if float(gradient @ step) < SMALLEST_DECREMENT:
            break
        step *= min(1.0, 2.0 / np.abs(step).max())
        while True:
            trial = np.clip(at + step, *bounds)
            found = _gaussian(answers, trial)
            if found[0] >= objective or np.abs(step).max() < 1e-6:
                break
            step /= 2
        gained = found[0] - objective
        at, (objective, scores, information) = trial, found
        if gained < SMALLEST_DECREMENT:
            break
    return at, scores, information


def _gaussian(answers: Answers, at: Floats) -> tuple[float, Floats, Floats]:
    """Gaussian log-likelihood up to a constant, its derivatives by customer (customers, 4), and the expected information (4, 4)."""
    lasting, fading, fade, noise = _parameters(at)
    customers, columns = answers.deviation.shape
    apart = np.abs(np.subtract.outer(np.arange(columns), np.arange(columns))).astype(float)
    wave = fading * fade**apart
    shared = np.stack([np.full_like(wave, lasting), wave, wave * apart * (1 - fade)])
    objective, scores, information = 0.0, np.empty((customers, 4)), np.zeros((4, 4))
    keys, of_customer = answers.patterns
    order = np.argsort(of_customer, kind="stable")
    sizes = np.bincount(of_customer, minlength=len(keys))
    edges = np.concatenate([[0], np.cumsum(sizes)])
    deviation = np.nan_to_num(answers.deviation)[order]
    for first in range(0, len(keys), CHUNK):
        counts = keys[first : first + CHUNK]
        seen = counts > 0
        both = (seen[:, :, None] & seen[:, None, :]).astype(float)
        own = np.where(seen, noise / np.maximum(counts, 1.0), 0.0)
        diagonal = np.eye(columns)
        covariance = both * (shared[0] + shared[1]) + (own + ~seen)[:, :, None] * diagonal
        inverse = np.linalg.inv(covariance)
        slopes = [both * part for part in shared] + [own[:, :, None] * diagonal]
        moved = [inverse @ slope for slope in slopes]
        rows = slice(edges[first], edges[min(first + CHUNK, len(keys))])
        pattern = np.repeat(np.arange(len(counts)), sizes[first : first + CHUNK])
        own_deviation = deviation[rows]
        weighted = np.empty_like(own_deviation)
        for start in range(0, len(pattern), ROWS):
            some = slice(start, start + ROWS)
            weighted[some] = np.einsum("nij,nj->ni", inverse[pattern[some]], own_deviation[some])
        logs = np.linalg.slogdet(covariance)[1]
        objective -= 0.5 * float((logs[pattern] + (weighted * own_deviation).sum(axis=1)).sum())
        # weighted is 0 where there is no answer, so the slopes need not be masked again
        quadratic = [((weighted @ part) * weighted).sum(axis=1) for part in shared]
        quadratic.append((own[pattern] * weighted**2).sum(axis=1))
        for j in range(len(slopes)):
            trace = np.trace(moved[j], axis1=1, axis2=2)
            scores[order[rows], j] = 0.5 * (quadratic[j] - trace[pattern])
            for k in range(j + 1):
                both_traces = np.einsum("nij,nji->n", moved[j], moved[k])
                information[j, k] += 0.5 * float(both_traces @ sizes[first : first + CHUNK])
    return objective, scores, information + np.tril(information, -1).T


def expectation_columns(
    rows: pd.DataFrame, expected: Expected, places: tuple[Ints, Ints], predicted: Floats
) -> dict[str, Floats]:
    """The columns ``COLUMNS`` and ``satisfaction`` for rows at (customer, period) places of the grid; place −1 has no answer at all.

    ``predicted`` is what controls predict, centred, shape (rows,).
    """
    known = places[0] >= 0
    before = rows["periods_before"].to_numpy(dtype=float) if "periods_before" in rows else np.zeros(len(rows))

    def at(values: Floats) -> Floats:
        return np.where(known, values[places], 0.0)

    last, earlier = at(expected.last) + predicted, at(expected.earlier) + predicted * before
    return {
        "satisfaction": at(expected.now) + predicted,
        "satisfaction_level": at(expected.level) + predicted,
        "satisfaction_last": last,
        "satisfaction_earlier": np.where(before > 0, earlier / np.maximum(before, 1.0), 0.0),
        "satisfaction_path": last + earlier,
        "satisfaction_spread": at(expected.spread),
    }


def expects_satisfaction(columns: Iterable[str]) -> bool:
    """Whether expectations of satisfaction are among the columns."""
    return set(COLUMNS) <= set(columns)
