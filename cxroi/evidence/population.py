"""Weights that undo selective answering, and the score that everybody would have given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special

from cxroi import periods
from cxroi.panel import Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

LARGEST_WEIGHT = 20.0  # times the mean weight; larger ones are trimmed
MOST_ITERATIONS = 60
TOLERANCE = 1e-9
SHIFT_STEP = 1e-2  # points
NORMAL_975 = float(special.ndtri(0.975))


@dataclass(frozen=True)
class Answers:
    """The frame: everybody whose score is asked for; arrays of shape (N,), ``known`` (N, k).

    ``earlier`` is the prediction from earlier answers (0 without any), ``score`` NaN where not answered; ``customer``
    numbers the clusters from 0.
    """

    known: Floats
    earlier: Floats
    invited: Flags
    answered: Flags
    score: Floats
    period: Ints
    customer: Ints


@dataclass(frozen=True)
class Measure:
    """Which score is made of the answers: ``nps`` (points), ``csat`` (share of the top two) or ``ces`` (mean)."""

    exposure: str
    scale: tuple[float, float]
    noise: float
    noise_influence: Floats | None = None


@dataclass(frozen=True)
class Solution:
    """Weights of the answers and what they rest on.

    ``inviting`` (m,) are the coefficients of the log weight that makes the invited look like everybody, ``answering`` (k + 1,)
    those of the log-odds of answering (the last one per point of the answer); ``influence`` (customers, m + k + 1) the
    contribution of each customer to them. ``supposed`` is a slope on the answer that was given, not found.
    """

    inviting: Floats
    answering: Floats
    influence: Floats
    own_answer: bool
    converged: bool
    supposed: float = 0.0

    @property
    def slope(self) -> float:
        """Log-odds of answering per point of the answer."""
        return float(self.answering[-1]) if self.own_answer else self.supposed

    @property
    def slope_std_error(self) -> float:
        """Clustered standard error of the slope."""
        return float(np.sqrt((self.influence[:, -1] ** 2).sum()))


def solve(
    answers: Answers, *, own_answer: bool = False, supposed: float = 0.0, start: Solution | None = None
) -> Solution:
    """Find the weights: the invited made to look like everybody, the answers made to look like the invited.

    The equations are ``Σ_invited d·z = Σ_all z`` with ``d = exp(z·λ)``, and ``Σ_answered d·(1 + exp(−x·γ))·z = Σ_all z``;
    z holds what is known and the prediction from earlier answers, x what is known and the answer itself
    (``own_answer``), or x = z with a ``supposed`` slope on the answer. ``start`` is a nearby solution.

    Source: Kott & Chang (2010), JASA 105:1265, equations 3 and 4.
    """
    z = np.column_stack([answers.known, answers.earlier])
    if not answers.earlier.any():
        z = answers.known
    invited, given = np.flatnonzero(answers.invited), np.flatnonzero(answers.answered)
    x = np.column_stack([answers.known, answers.score - _centre(answers)]) if own_answer else z
    everybody = z.sum(axis=0)
    n = len(z)

    def inviting(at: Floats) -> tuple[Floats, Floats]:
        weight = np.exp(np.minimum(z[invited] @ at, 30.0))
        return (weight @ z[invited] - everybody) / n, (z[invited] * weight[:, None]).T @ z[invited] / n

    first = np.zeros(z.shape[1])
    first[0] = np.log(n / len(invited))
    if start is not None:
        first = start.inviting
    tilt, settled = _newton(inviting, first) if len(invited) < n else (first, True)
    offset = supposed * (answers.score[given] - _centre(answers))
    chance = np.exp(np.minimum(z[given] @ tilt, 30.0))

    def answering(at: Floats) -> tuple[Floats, Floats]:
        silent = chance * np.exp(np.minimum(-x[given] @ at - offset, 30.0))
        value = ((chance + silent) @ z[given] - everybody) / n
        return value, -(z[given] * silent[:, None]).T @ x[given] / n

    share = len(given) / len(invited)
    initial = np.zeros(x.shape[1])
    initial[0] = np.log(share / (1 - share))
    found, done = _newton(answering, initial if start is None else start.answering)
    silent = np.exp(np.minimum(-x[given] @ found - offset, 30.0))
    # equations by row, then by customer; the parameters' influence is minus the inverse Jacobian of the stacked equations
    by_row = np.zeros((n, 2 * z.shape[1]))
    by_row[invited, : z.shape[1]] = z[invited] * np.exp(np.minimum(z[invited] @ tilt, 30.0))[:, None]
    by_row[given, z.shape[1] :] = z[given] * (chance * (1 + silent))[:, None]
    by_row -= np.column_stack([z, z])
    equations = sums_by_customer(by_row, answers.customer)
    jacobian = np.zeros((2 * z.shape[1], z.shape[1] + x.shape[1]))
    jacobian[: z.shape[1], : z.shape[1]] = inviting(tilt)[1] * n
    jacobian[z.shape[1] :, : z.shape[1]] = (z[given] * (chance * (1 + silent))[:, None]).T @ z[given]
    jacobian[z.shape[1] :, z.shape[1] :] = answering(found)[1] * n
    influence = -equations @ np.linalg.pinv(jacobian).T
    return Solution(tilt, found, influence, own_answer, bool(settled and done), supposed)


def _centre(answers: Answers) -> float:
    return float(np.nanmean(answers.score))


def _newton(equations: Callable[[Floats], tuple[Floats, Floats]], start: Floats) -> tuple[Floats, bool]:
    """Root of as many equations as unknowns, with halved steps where they would grow."""
    at = start
    value, jacobian = equations(at)
    for _ in range(MOST_ITERATIONS):
        size = float(np.abs(value).max())
        if size < TOLERANCE:
            return at, True
        step = -np.linalg.lstsq(jacobian, value, rcond=None)[0]
        taken = 1.0
        while True:
            trial, slopes = equations(at + taken * step)
            if float(trial @ trial) < float(value @ value) or taken < 1e-6:
                break
            taken /= 2
        if taken < 1e-6:
            return at, size < 1e-6
        at, value, jacobian = at + taken * step, trial, slopes
    return at, float(np.abs(value).max()) < 1e-6


def sums_by_customer(rows: Floats, customer: Ints) -> Floats:
    """Σ of each column over each customer's rows, shape (customers, k)."""
    sums = np.zeros((int(customer.max()) + 1, rows.shape[1]))
    for column in range(rows.shape[1]):
        sums[:, column] = np.bincount(customer, weights=rows[:, column], minlength=len(sums))
    return sums


def corrected_shares(score: Floats, measure: Measure, shift: float) -> Floats:
    """What an answer counts for the score, with the answer moved up by ``shift`` points; shape (N,).

    Where answering depends on satisfaction s with slope b and an answer is ``s + noise`` with variance v, an answer weighted by
    ``exp(−b·answer)`` stands for one that is ``b·v`` lower than a silent customer's would be: normal noise tilted by
    ``exp(−b·noise)`` is normal with its mean moved by ``−b·v``. Moving the answer back by ``b·v`` removes that bias. An
    answer rounded to a whole number is spread evenly over its unit.

    Examples
    --------
    >>> nps = Measure("nps", (0.0, 10.0), 0.5)
    >>> corrected_shares(np.array([10.0, 8.0, 6.0]), nps, 0.0)
    array([ 1.,  0., -1.])
    >>> corrected_shares(np.array([10.0, 8.0, 6.0]), nps, 0.25)
    array([ 1.  ,  0.25, -0.75])
    """
    high = measure.scale[1]
    if measure.exposure == "ces":
        return score + shift

    def above(threshold: float) -> Floats:
        if shift == 0:
            return (score >= threshold + 0.5).astype(np.float64)
        return np.clip(score + shift + 0.5 - threshold, 0.0, 1.0)

    top = above(high - 1.5)
    if measure.exposure == "csat":
        return top
    return top - (1.0 - above(high - 3.5))


@dataclass(frozen=True)
class _Weighted:
    """Answers with their weights: ``chance`` stands for those not invited, ``silent`` for those who did not answer, shape (n,).

    ``worth`` and ``silent_worth`` are what an answer counts for those who answered and for the silent (``worth_by_shift`` the
    derivative of the latter by the shift), ``z`` and ``x`` (n, k) the columns behind ``chance`` and ``silent``; ``kept`` is
    below 1 where a weight is trimmed.
    """

    chance: Floats
    silent: Floats
    worth: Floats
    silent_worth: Floats
    worth_by_shift: Floats
    z: Floats
    x: Floats
    kept: Floats

    @property
    def weight(self) -> Floats:
        """Weight of each answer."""
        return self.chance * (1 + self.silent) * self.kept

    @property
    def total(self) -> Floats:
        """Weight times what the answer counts."""
        return self.chance * (self.worth + self.silent * self.silent_worth) * self.kept


def _weighted(answers: Answers, found: Solution, measure: Measure) -> _Weighted:
    given = answers.answered
    score = answers.score[given]
    z = np.column_stack([answers.known, answers.earlier])[given][:, : len(found.inviting)]
    x = np.column_stack([answers.known[given], score - _centre(answers)]) if found.own_answer else z
    chance = np.exp(np.minimum(z @ found.inviting, 30.0))
    silent = np.exp(np.minimum(-x @ found.answering - found.supposed * (score - _centre(answers)), 30.0))
    weight = chance * (1 + silent)
    shift = found.slope * measure.noise
    silent_worth = corrected_shares(score, measure, shift)
    return _Weighted(
        chance=chance,
        silent=silent,
        worth=corrected_shares(score, measure, 0.0),
        silent_worth=silent_worth,
        worth_by_shift=(corrected_shares(score, measure, shift + SHIFT_STEP) - silent_worth) / SHIFT_STEP,
        z=z,
        x=x,
        kept=np.minimum(1.0, LARGEST_WEIGHT * weight.mean() / weight),
    )


def weighted_scores(answers: Answers, found: Solution, measure: Measure, panel: Panel, method: str) -> pd.DataFrame:
    """The population's score by period and over all of them, with its 95 % interval; columns as ``NonResponse.population``."""
    if not found.converged:
        return pd.DataFrame()
    labels, cells = np.unique(answers.period, return_inverse=True)
    n_cells = len(labels)
    given = np.flatnonzero(answers.answered)
    own = cells[given]
    weighted = _weighted(answers, found, measure)
    weight = weighted.weight
    sums = np.bincount(own, weights=weight, minlength=n_cells)
    answered = sums > 0
    divisor = np.where(answered, sums, 1.0)
    unit = 100.0 if measure.exposure == "nps" else 1.0
    by_period = unit * np.bincount(own, weights=weighted.total, minlength=n_cells) / divisor
    size = np.bincount(cells, minlength=n_cells) * answered
    share = size / size.sum()
    overall = float(share @ by_period)
    # what each answer, and each member of the population, contributes by itself
    part = (unit * weighted.total - by_period[own] * weight) / divisor[own]
    direct = np.zeros((len(cells), n_cells + 1))
    direct[given, own] = part
    direct[given, n_cells] = part * share[own]
    direct[:, n_cells] += np.where(answered[cells], by_period[cells] - overall, 0.0) / size.sum()
    # and through the parameters of the weights
    unanswered = weighted.chance * weighted.silent * weighted.kept / divisor[own]
    through_answering = -unanswered * (unit * weighted.silent_worth - by_period[own])
    by_shift = _by_cell(unanswered * unit * weighted.worth_by_shift, own, n_cells) @ np.ones((len(own), 1))
    inviting = _by_cell(part, own, n_cells) @ weighted.z
    answering = _by_cell(through_answering, own, n_cells) @ weighted.x
    if found.own_answer:
        answering[:, -1] += by_shift[:, 0] * measure.noise
    slopes = np.column_stack([inviting, answering, by_shift * found.slope])
    slopes = np.vstack([slopes, share @ slopes])
    influence = sums_by_customer(direct, answers.customer) + found.influence @ slopes[:, :-1].T
    if measure.noise_influence is not None:
        influence += np.outer(measure.noise_influence, slopes[:, -1])
    squares = np.bincount(own, weights=weight**2, minlength=n_cells)
    trimmed = np.bincount(own, weights=(weighted.kept < 1).astype(float), minlength=n_cells)
    count = np.bincount(own, minlength=n_cells)
    return _population(
        labels,
        panel,
        method,
        estimate=np.append(np.where(answered, by_period, np.nan), overall),
        std_error=np.append(*_errors(influence, answered)),
        n_answered=np.append(count, count.sum()),
        n_population=np.append(np.bincount(cells, minlength=n_cells), len(cells)),
        effective_n=np.append(
            sums**2 / np.where(squares > 0, squares, 1.0), weight.sum() ** 2 / float((weight**2).sum())
        ),
        trimmed=np.append(trimmed, trimmed.sum()),
    )


def supposed_levels(
    answers: Answers, measure: Measure, panel: Panel, known: Solution, reach: tuple[float, float]
) -> pd.DataFrame:
    """The score over all periods under supposed selection on the answer, up to ``reach`` (largest strength, points of a deviation)."""
    largest, deviation = reach
    found = []
    for strength in np.linspace(-largest, largest, 5):
        solution = known if strength == 0 else solve(answers, supposed=float(strength) / deviation, start=known)
        scores = weighted_scores(answers, solution, measure, panel, "")
        if len(scores):
            row = scores.iloc[-1]
            found.append((float(strength), float(row["estimate"]), float(row["conf_low"]), float(row["conf_high"])))
    return pd.DataFrame(found, columns=["strength", "estimate", "conf_low", "conf_high"])


def _by_cell(values: Floats, cells: Ints, n_cells: int) -> Any:
    """Matrix (cells, n) whose product with columns (n, k) gives their sums by cell, weighted by ``values``."""
    return sparse.csr_array((values, (cells, np.arange(len(cells)))), shape=(n_cells, len(cells)))


def _errors(influence: Floats, answered: Flags) -> tuple[Floats, float]:
    error = np.sqrt((influence**2).sum(axis=0))
    return np.where(answered, error[:-1], np.nan), float(error[-1])


def raw_scores(answers: Answers, measure: Measure, panel: Panel) -> pd.DataFrame:
    """The score of those who answered, as it is; columns as ``NonResponse.population``."""
    labels, cells = np.unique(answers.period, return_inverse=True)
    given = answers.answered
    worth = corrected_shares(answers.score[given], measure, 0.0) * (100.0 if measure.exposure == "nps" else 1.0)
    own = cells[given]
    n_cells = len(labels)
    count = np.bincount(own, minlength=n_cells).astype(float)
    mean = np.bincount(own, weights=worth, minlength=n_cells) / np.where(count > 0, count, np.nan)
    direct = np.zeros((len(worth), n_cells + 1))
    direct[np.arange(len(worth)), own] = (worth - mean[own]) / count[own]
    direct[:, n_cells] = (worth - worth.mean()) / len(worth)
    influence = sums_by_customer(direct, pd.factorize(answers.customer[given])[0])
    size = np.bincount(cells, minlength=n_cells).astype(float)
    return _population(
        labels,
        panel,
        "answered",
        estimate=np.append(mean, worth.mean()),
        std_error=np.sqrt((influence**2).sum(axis=0)),
        n_answered=np.append(count, count.sum()),
        n_population=np.append(size, size.sum()),
        effective_n=np.append(count, count.sum()),
        trimmed=np.zeros(n_cells + 1),
    )


def _population(labels: Ints, panel: Panel, method: str, **columns: Floats) -> pd.DataFrame:
    names = [*(periods.label(int(index), panel.period) for index in labels), "all"]
    frame = pd.DataFrame({"period": names, "method": method, **columns})
    half = NORMAL_975 * frame["std_error"]
    frame.insert(4, "conf_low", frame["estimate"] - half)
    frame.insert(5, "conf_high", frame["estimate"] + half)
    for name in ("n_answered", "n_population", "trimmed"):
        frame[name] = frame[name].astype(np.int64)
    return frame
