"""Fit one equation with errors clustered by customer, from rows sorted by cluster.

Arithmetic only: arrays in, arrays out. Newton's method on the (quasi-)likelihood with Cholesky steps from the
coefficients of a subsample; one pass over the rows in blocks gives all that a step and the errors need.
``statsmodels`` gives the same figures (tests) and is the reference for anything that is not here.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

Family = Literal["gaussian", "logit", "poisson"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_ROWS = 16_384  # a block stays in the processor's cache
SUBSAMPLE_ROWS = 50_000
MOST_ITERATIONS = 60
LARGEST_COUNT = 1_000_000
TOLERANCE = 1e-9  # of the squared Newton step in standard errors: a 30,000th of one
# share of a column's square that a constant explains where its mean is a thousand standard deviations from 0
FAR_FROM_ZERO = 1 - 1e-6
LEAST_DISPERSION = 1e-9  # of that of an outcome that nothing explains; below, rounding is all there is
LARGEST_PREDICTOR = 700.0  # exp() of more overflows a float
WORKERS = min(os.cpu_count() or 1, 4)
CLUSTERS_AT_ONCE = 8_192
FEWEST_PARTS = 64  # below, handing them to threads costs more than it saves
T = TypeVar("T")
Part = TypeVar("Part")


@dataclass(frozen=True)
class ClusterScores:
    """Σ residual × row of a design over each cluster's rows: a matrix of shape (G, k), multiplied or told in blocks.

    ``rows`` (n,) are the rows of the design that ``residual`` (n,) belongs to, all of them where it is None; ``starts`` (G,) the
    place of each cluster's first one.
    """

    design: Floats
    rows: Ints | None
    residual: Floats
    starts: Ints

    def __matmul__(self, right: Floats) -> Floats:
        """Product with a vector or matrix, shape (G,) or (G, m)."""
        predicted = self.design @ right
        if self.rows is not None:
            predicted = predicted[self.rows]
        predicted *= self.residual if predicted.ndim == 1 else self.residual[:, None]
        if len(self.starts) == len(self.residual):
            return np.asarray(predicted)
        return np.asarray(np.add.reduceat(predicted, self.starts, axis=0))

    def of_clusters(self, some: slice) -> Floats:
        """The rows of some consecutive clusters, shape (g, k)."""
        starts = self.starts[some]
        first = int(starts[0])
        last = int(self.starts[some.stop]) if some.stop < len(self.starts) else len(self.residual)
        scores = picked(self.design, self.rows, slice(first, last)) * self.residual[first:last, None]
        if last - first == len(starts):
            return scores
        return np.asarray(np.add.reduceat(np.ascontiguousarray(scores), starts - first, axis=0))


@dataclass(frozen=True)
class Fit:
    """Coefficients of one equation and their clustered covariance.

    Attributes
    ----------
    coefficients : array, shape (k,)
    factors : tuple of pairs
        Matrices of shapes (G, q) and (q, k) whose products sum to ``influence``, the contribution of each cluster to the
        coefficients, with the factor G/(G-1)·(N-1)/(N-k) in it.
    clusters : array, shape (G,)
        Code of each cluster, in the order of ``influence``.
    dispersion : float
        Pearson χ²/(N-k): above 1 the outcome is overdispersed for its family.
    log_likelihood : float
        Of the family at the coefficients (Poisson without the factorial of non-integer outcomes; gaussian at its ML
        variance).
    """

    family: Family
    coefficients: Floats
    factors: tuple[tuple[ClusterScores | Floats, Floats], ...]
    clusters: Ints
    n_obs: int
    converged: bool
    iterations: int
    dispersion: float
    log_likelihood: float
    largest_predictor: float

    @cached_property
    def covariance(self) -> Floats:
        """Clustered sandwich, shape (k, k)."""
        return joint_covariance([self])

    @property
    def std_errors(self) -> Floats:
        """Clustered standard errors, shape (k,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def influence(self) -> Floats:
        """Contribution of each cluster to the coefficients, shape (G, k); ``influence.T @ influence`` is the covariance."""
        return self.influence_of(slice(0, len(self.clusters)))

    def influence_of(self, some: slice) -> Floats:
        """Contribution of some consecutive clusters to the coefficients, shape (g, k)."""
        parts = (
            (left.of_clusters(some) if isinstance(left, ClusterScores) else left[some], right)
            for left, right in self.factors
        )
        return np.asarray(sum(left @ right for left, right in parts))

    def contributions(self, of: Floats) -> Floats:
        """What each cluster contributes to linear functions of the coefficients: ``influence @ of``, shape (G,) or (G, m)."""
        return np.asarray(sum(left @ (right @ of) for left, right in self.factors))


def mean(predictor: Floats, family: Family) -> Floats:
    """Inverse link: mean of the outcome at a linear predictor, any shape."""
    if family == "logit":
        return np.asarray(special.expit(predictor))
    if family == "poisson":
        return np.exp(np.minimum(predictor, LARGEST_PREDICTOR))
    return predictor


def mean_slope(fitted: Floats, family: Family) -> Floats:
    """Derivative of the mean by the linear predictor, as a function of the mean."""
    if family == "logit":
        return fitted * (1 - fitted)
    if family == "poisson":
        return fitted
    return np.ones_like(fitted)


def fit(
    design: Floats,
    outcome: Floats,
    clusters: Ints,
    *,
    family: Family,
    rows: Ints | None = None,
    weights: Floats | None = None,
    start: Floats | None = None,
) -> Fit:
    """Fit ``E[outcome] = inverse link(design @ coefficients)``.

    Parameters
    ----------
    design : array, shape (N, k)
        Full column rank in the rows of the fit; see :func:`independent_columns`. Kept as it is, not copied.
    outcome : array, shape (n,)
        Logit: 0..1. Poisson quasi-likelihood: any number whose mean is positive. Gaussian: any number.
    clusters : array, shape (n,)
        Integer code of the cluster of each row, sorted.
    rows : array, shape (n,), optional
        Rows of the design that the outcome belongs to; all if not given.
    weights : array, shape (n,), optional
        Weight of each row in the score equations.
    start : array, shape (k,), optional
        Coefficients of a nearby fit, to start from.

    Returns
    -------
    Fit
        ``converged`` is False where the iterations did not settle (for instance separation): such figures must not
        be reported.

    Notes
    -----
    Source: Liang & Zeger (1986), Biometrika 73:13; finite-sample factor as in Petersen (2009), Review of Financial
    Studies 22:435.

    Examples
    --------
    >>> design = np.column_stack([np.ones(6), [0.0, 1, 2, 3, 4, 5]])
    >>> result = fit(design, np.array([1.0, 3, 5, 7, 9, 11]), np.arange(6), family="gaussian")
    >>> np.round(result.coefficients, 6)
    array([1., 2.])
    """
    if np.any(clusters[1:] < clusters[:-1]):
        raise ValueError("rows must be sorted by cluster")
    n, k = len(outcome), design.shape[1]
    known = _Known(design, rows, outcome, weights, family)
    if start is None:
        start = _start(known)
    if n > 4 * SUBSAMPLE_ROWS:
        start = _near(known, start)
    top = _climb(known, start)
    sums = top.sums
    starts = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    groups = len(starts)
    factor = groups / max(groups - 1, 1) * (n - 1) / max(n - k, 1)
    scores = ClusterScores(design, rows, sums.residual, starts)
    return Fit(
        family=family,
        coefficients=top.coefficients,
        factors=((scores, _solve(sums.information, np.eye(k)) * np.sqrt(factor)),),
        clusters=clusters[starts],
        n_obs=n,
        converged=bool(top.converged and np.all(np.isfinite(top.coefficients))),
        iterations=top.iterations,
        dispersion=sums.pearson / max(n - k, 1),
        log_likelihood=_log_likelihood(sums, outcome, family),
        largest_predictor=sums.largest_predictor,
    )


def response_to_design(
    fitted: Fit, design: Floats, outcome: Floats, changes: Sequence[dict[int, Floats]], *, rows: Ints | None = None
) -> Floats:
    """Derivative of the coefficients when columns of the design change, shape (k, changes).

    Parameters
    ----------
    fitted : Fit
        Of the design.
    design : array, shape (N, k)
    outcome : array, shape (n,)
    changes : sequence of dict of int to array
        For each change: derivative of each changing column, shape (N,); the other columns stay.
    rows : array, shape (n,), optional
        Rows of the design that the outcome belongs to; all if not given.

    Notes
    -----
    Implicit differentiation of the score equations ``Σ x (y − mean(xβ)) = 0``.

    Examples
    --------
    >>> design = np.column_stack([np.ones(3), [-1.0, 0, 1]])
    >>> outcome = np.array([1.0, 2, 3])
    >>> result = fit(design, outcome, np.arange(3), family="gaussian")
    >>> response_to_design(result, design, outcome, [{1: design[:, 1]}]).round(6)  # a column 1 % longer: a slope 1 % smaller
    array([[ 0.],
           [-1.]])
    """
    coefficients = fitted.coefficients

    def of_block(first: int) -> tuple[Floats, Floats]:
        places = slice(first, first + BLOCK_ROWS)
        block = picked(design, rows, places)
        mean_now = mean(block @ coefficients, fitted.family)
        apart, slope = outcome[places] - mean_now, mean_slope(mean_now, fitted.family)
        moved = np.zeros((len(block), len(changes)), order="F")
        gradient = np.zeros((block.shape[1], len(changes)))
        for number, change in enumerate(changes):
            for column, derivative in change.items():
                own = derivative[places] if rows is None else derivative[rows[places]]
                moved[:, number] += own * coefficients[column]
                gradient[column, number] += float(own @ apart)
        scaled = block * np.sqrt(slope)[:, None]
        return gradient - block.T @ (slope[:, None] * moved), scaled.T @ scaled

    gradient, information = zip(*_in_parallel(of_block, range(0, len(outcome), BLOCK_ROWS)), strict=True)
    return _solve(np.sum(information, axis=0), np.sum(gradient, axis=0))


def independent_columns(design: Floats, *, rows: Ints | None = None, tolerance: float = 1e-9) -> Ints:
    """Indices of the columns that are not linear combinations of earlier ones, shape (≤ k,); in some of the rows where asked.

    Examples
    --------
    >>> independent_columns(np.column_stack([np.ones(4), np.arange(4.0), np.arange(4.0) * 2]))
    array([0, 1])
    """
    cross = _cross_product(design, rows)
    first = picked(design, rows, slice(0, 1))
    own = np.maximum(cross[0, 0] * np.diag(cross), np.finfo(float).tiny)
    far = cross[0] ** 2 > FAR_FROM_ZERO * own
    far[0] = False
    if far.any() and (picked(design, rows, slice(0, None))[:, 0] == first[0, 0]).all():
        cross = _cross_product(design - np.where(far, first[0], 0.0), rows)  # beside a constant the origin is free
    scale = np.sqrt(np.diag(cross))
    kept: list[int] = []
    for column in range(cross.shape[0]):
        if scale[column] == 0:
            continue
        if kept:
            inner = cross[np.ix_(kept, kept)] / np.outer(scale[kept], scale[kept])
            towards = cross[kept, column] / (scale[kept] * scale[column])
            unexplained = 1 - towards @ linalg.lstsq(inner, towards)[0]
            if unexplained < tolerance:
                continue
        kept.append(column)
    return np.array(kept, dtype=np.int64)


def inflation(design: Floats, column: int, by: int) -> float:
    """Factor by which holding a column fixed widens the standard error of another, in a linear model of the design.

    Examples
    --------
    >>> x = np.array([-1.0, 0, 1, 0])
    >>> round(inflation(np.column_stack([x, x + [1.0, -1, 1, -1]]), 0, 1), 3)
    1.225
    """
    cross = _cross_product(design)
    others = np.flatnonzero(np.arange(len(cross)) != by)
    own = _solve(cross, np.eye(len(cross)))[column, column]
    at = int(np.flatnonzero(others == column)[0])
    without = _solve(cross[np.ix_(others, others)], np.eye(len(others)))[at, at]
    return float(np.sqrt(own / without))


def joint_covariance(fits: Sequence[Fit]) -> Floats:
    """Clustered covariance of the coefficients of several equations stacked, shape (Σk, Σk).

    Clusters are matched by their code, so equations fitted on different rows of the same customers are correlated as
    they should be.
    """
    edges = np.cumsum([0, *(len(one.coefficients) for one in fits)])
    largest = max((one.clusters for one in fits), key=len)
    cuts = largest[CLUSTERS_AT_ONCE::CLUSTERS_AT_ONCE]
    ends = [np.r_[0, np.searchsorted(one.clusters, cuts), len(one.clusters)] for one in fits]

    def of_block(block: int) -> Floats:
        places = [slice(int(end[block]), int(end[block + 1])) for end in ends]
        codes = np.unique(np.concatenate([one.clusters[own] for one, own in zip(fits, places, strict=True)]))
        stacked = np.zeros((len(codes), int(edges[-1])))
        for number, (one, own) in enumerate(zip(fits, places, strict=True)):
            if own.stop > own.start:
                mine = np.searchsorted(codes, one.clusters[own])
                stacked[mine, edges[number] : edges[number + 1]] = one.influence_of(own)
        return np.asarray(stacked.T @ stacked)

    return np.asarray(sum(_in_parallel(of_block, range(len(cuts) + 1))))


def joint_variance(fits: Sequence[Fit], gradient: Floats) -> float:
    """Clustered variance of a function of the coefficients of several equations stacked, ``gradient`` of shape (Σk,).

    The same as ``gradient @ joint_covariance(fits) @ gradient``.
    """
    edges = np.cumsum([0, *(len(one.coefficients) for one in fits)])
    found = [one.contributions(gradient[edges[place] : edges[place + 1]]) for place, one in enumerate(fits)]
    variance = sum(float(one @ one) for one in found)
    for first, second in itertools.combinations(range(len(fits)), 2):
        mine, theirs = _shared(fits[first].clusters, fits[second].clusters)
        variance += 2 * float(found[first][mine] @ found[second][theirs])
    return variance


def with_nuisance(fitted: Fit, slopes: Floats, nuisance: Floats, clusters: Ints) -> Fit:
    """Add the sampling error of numbers that the design was built with.

    Parameters
    ----------
    slopes : array, shape (k, q)
        Change of the coefficients per unit of each of those numbers.
    nuisance : array, shape (G', q)
        Contribution of each of ``clusters`` (codes, shape (G',)) to those numbers.
    """
    added = np.zeros((len(fitted.clusters), nuisance.shape[1]))
    mine, theirs = _shared(fitted.clusters, clusters)
    added[mine] = nuisance[theirs]
    return replace(fitted, factors=(*fitted.factors, (added, slopes.T)))


def _shared(first: Ints, second: Ints) -> tuple[Ints, Ints]:
    """Places of the codes that stand in both of two sorted arrays without repeats."""
    if first is second:
        return (np.arange(len(first)),) * 2
    places = np.searchsorted(second, first)
    mine = np.flatnonzero(second[np.minimum(places, len(second) - 1)] == first)
    return mine, places[mine]


def picked(design: Floats, rows: Ints | None, places: slice) -> Floats:
    """Some of the rows of a design in Fortran order, those at ``places`` of ``rows``; a view where all rows are meant."""
    return design[places] if rows is None else np.take(design.T, rows[places], axis=1).T


@dataclass(frozen=True)
class _Known:
    """What an equation is fitted to: design (N, k), its rows (n,) or None for all, outcome (n,), weights (n,) or None."""

    design: Floats
    rows: Ints | None
    outcome: Floats
    weights: Floats | None
    family: Family

    def every(self, step: int) -> _Known:
        """Every n-th row."""
        some = slice(None, None, step)
        design = self.design[some if self.rows is None else self.rows[some]]
        weights = None if self.weights is None else self.weights[some]
        return _Known(np.asfortranarray(design), None, self.outcome[some], weights, self.family)

    def dispersion(self, pearson: float) -> float:
        """Unit of a squared step in standard errors, from the χ² at hand: it carries the unit of the outcome."""
        if self.family == "logit":
            return 1.0
        power = 1 if self.family == "poisson" else 2
        least = LEAST_DISPERSION * float((np.abs(self.outcome) ** power).mean())
        return max(pearson / len(self.outcome), least)


def _start(known: _Known) -> Floats:
    design = known.design
    coefficients = np.zeros(design.shape[1])
    if known.family == "poisson":
        level = float(np.average(known.outcome, weights=known.weights))
        for column, values in enumerate(design.T):
            own = values if known.rows is None else values[known.rows]
            if level > 0 and own[0] != 0 and (own == own[0]).all():
                coefficients[column] = np.log(level) / own[0]
                break
    return coefficients


def _near(known: _Known, start: Floats) -> Floats:
    """Coefficients close to those of all rows: those of every n-th row, and one step by all rows' gradient from there."""
    n = len(known.outcome)
    few = known.every(n // SUBSAMPLE_ROWS)
    top = _climb(few, start)
    if not top.converged:
        return start
    here = _pass(known, top.coefficients, informed=False)
    step = _solve(top.sums.information * (n / len(few.outcome)), here.gradient)
    return top.coefficients + step if np.all(np.isfinite(step)) else start


@dataclass(frozen=True)
class _Sums:
    """All that one pass over the rows gives at some coefficients.

    ``objective`` is the weighted (quasi-)log-likelihood up to a constant, ``unweighted`` the same without weights, ``gradient`` (k,)
    and ``information`` (k, k) its derivatives, ``residual`` (N,) the weighted residuals, ``pearson`` the unweighted χ².
    """

    objective: float
    unweighted: float
    gradient: Floats
    information: Floats
    residual: Floats
    pearson: float
    largest_predictor: float


@dataclass(frozen=True)
class _Top:
    """Where Newton's method came to rest, with the sums there."""

    coefficients: Floats
    sums: _Sums
    iterations: int
    converged: bool


def _climb(known: _Known, start: Floats) -> _Top:
    """Newton's method with halved steps where the (quasi-)log-likelihood would fall.

    The last step is taken without another pass: it is far shorter than a standard error, so the sums before it
    are those after it.
    """
    coefficients = start
    sums = _pass(known, coefficients)
    iterations = 0
    while True:
        step = _solve(sums.information, sums.gradient)
        decrement = abs(float(sums.gradient @ step))
        if decrement < TOLERANCE * known.dispersion(sums.pearson):
            return _Top(coefficients + step, sums, iterations, True)
        if iterations == MOST_ITERATIONS or not np.all(np.isfinite(step)):
            return _Top(coefficients, sums, iterations, False)
        iterations += 1
        taken = 1.0
        while True:
            trial = _pass(known, coefficients + taken * step)
            if trial.objective >= sums.objective - 1e-12 * abs(sums.objective) or taken < 1e-6:
                break
            taken /= 2
        coefficients, sums = coefficients + taken * step, trial


def _pass(known: _Known, coefficients: Floats, *, informed: bool = True) -> _Sums:
    """One pass over the rows, with the information unless it is not asked for.

    Blocks are summed in their order, so the figures do not depend on the number of workers.
    """
    outcome, weights, family = known.outcome, known.weights, known.family
    nothing = np.zeros((len(coefficients), len(coefficients)))
    residual = np.empty(len(outcome))

    def of_block(first: int) -> tuple[float, float, Floats, Floats, float, float]:
        places = slice(first, first + BLOCK_ROWS)
        block, target = picked(known.design, known.rows, places), outcome[places]
        predictor = block @ coefficients
        fitted, each = _evaluate(predictor, target, family)
        apart, slope = target - fitted, mean_slope(fitted, family)
        pearson = float((apart * (apart / np.where(slope > 0, slope, np.inf))).sum())
        unweighted = objective = float(each.sum())
        if weights is not None:
            apart, slope = apart * weights[places], slope * weights[places]
            objective = float(each @ weights[places])
        residual[places] = apart
        largest = max(float(predictor.max()), -float(predictor.min()))
        information = nothing
        if informed:
            scaled = block * np.sqrt(slope)[:, None]
            information = scaled.T @ scaled
        return objective, unweighted, apart @ block, information, pearson, largest

    parts = list(_in_parallel(of_block, range(0, len(outcome), BLOCK_ROWS)))
    objective, unweighted, gradient, information, pearson, largest = zip(*parts, strict=True)
    return _Sums(
        sum(objective),
        sum(unweighted),
        np.sum(gradient, axis=0),
        np.sum(information, axis=0),
        residual,
        sum(pearson),
        max(largest),
    )


def _in_parallel(work: Callable[[Part], T], parts: Sequence[Part]) -> Iterable[T]:
    """Results of each part in order; numpy leaves Python's lock while it computes, so threads suffice."""
    if len(parts) < FEWEST_PARTS:
        return map(work, parts)
    with ThreadPoolExecutor(WORKERS) as workers:
        return list(workers.map(work, parts))


def _evaluate(predictor: Floats, outcome: Floats, family: Family) -> tuple[Floats, Floats]:
    """Mean and (quasi-)log-likelihood up to a constant of each row, shape (rows,) each."""
    if family == "logit":
        tail = np.exp(-np.abs(predictor))
        positive = predictor >= 0
        fitted = np.where(positive, 1.0, tail) / (1.0 + tail)
        return fitted, (outcome - positive) * predictor - np.log1p(tail)
    if family == "poisson":
        fitted = np.exp(np.minimum(predictor, LARGEST_PREDICTOR))
        return fitted, outcome * predictor - fitted
    return predictor, -((outcome - predictor) ** 2) / 2


def _log_likelihood(sums: _Sums, outcome: Floats, family: Family) -> float:
    n = len(outcome)
    if family == "gaussian":
        return float(-n / 2 * (np.log(2 * np.pi * sums.pearson / n) + 1))
    value = sums.unweighted
    if family == "poisson" and outcome.min() >= 0 and outcome.max() < LARGEST_COUNT:
        counts = outcome.astype(np.int64)
        if np.array_equal(counts, outcome):
            frequency = np.bincount(counts)
            value -= float(frequency @ special.gammaln(np.arange(len(frequency)) + 1.0))
    return value


def _cross_product(design: Floats, rows: Ints | None = None) -> Floats:
    """Σ row × rowᵀ, shape (k, k); in blocks that stay in the processor's cache."""
    n = len(design) if rows is None else len(rows)

    def of_block(first: int) -> Floats:
        block = picked(design, rows, slice(first, first + BLOCK_ROWS))
        return np.asarray(block.T @ block)

    return np.asarray(np.sum(list(_in_parallel(of_block, range(0, n, BLOCK_ROWS))), axis=0))


def _solve(information: Floats, right: Floats) -> Floats:
    """Solve a symmetric positive definite system; falls back to least squares where it is singular (separation, collinearity)."""
    scale = np.sqrt(np.maximum(np.diag(information), 1e-300))
    scaled = information / np.outer(scale, scale)
    target = right / (scale if right.ndim == 1 else scale[:, None])
    try:
        solved = linalg.cho_solve(linalg.cho_factor(scaled, check_finite=False), target, check_finite=False)
    except linalg.LinAlgError:
        solved = linalg.lstsq(scaled, target)[0]
    return np.asarray(solved / (scale if right.ndim == 1 else scale[:, None]))
