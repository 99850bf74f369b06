"""Fit one equation with errors clustered by customer, from rows sorted by cluster.

Arithmetic only: arrays in, arrays out. Newton's method on the (quasi-)likelihood with Cholesky steps from the
coefficients of a subsample; one pass over the rows in blocks gives all that a step and the errors need.
``statsmodels`` gives the same figures (tests) and is the reference for anything that is not here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse, special

Family = Literal["gaussian", "logit", "poisson"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_ROWS = 16_384  # a block stays in the processor's cache
SUBSAMPLE_ROWS = 50_000
MOST_ITERATIONS = 60
LARGEST_COUNT = 1_000_000
TOLERANCE = 1e-9  # of the squared Newton step in the metric of the information: a 30,000th of a standard error
LARGEST_PREDICTOR = 700.0  # exp() of more overflows a float
WORKERS = min(os.cpu_count() or 1, 4)
T = TypeVar("T")
Part = TypeVar("Part")


@dataclass(frozen=True)
class Fit:
    """Coefficients of one equation and their clustered covariance.

    Attributes
    ----------
    coefficients : array, shape (k,)
    covariance : array, shape (k, k)
        Clustered sandwich with the factor G/(G-1)·(N-1)/(N-k).
    influence : array, shape (G, k)
        Contribution of each cluster to the coefficients; ``influence.T @ influence`` is the covariance.
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
    covariance: Floats
    influence: Floats
    clusters: Ints
    n_obs: int
    converged: bool
    iterations: int
    dispersion: float
    log_likelihood: float
    largest_predictor: float

    @property
    def std_errors(self) -> Floats:
        """Clustered standard errors, shape (k,)."""
        return np.sqrt(np.diag(self.covariance))


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
    weights: Floats | None = None,
    start: Floats | None = None,
) -> Fit:
    """Fit ``E[outcome] = inverse link(design @ coefficients)``.

    Parameters
    ----------
    design : array, shape (N, k)
        Full column rank; see :func:`independent_columns`.
    outcome : array, shape (N,)
        Logit: 0..1. Poisson quasi-likelihood: any number whose mean is positive. Gaussian: any number.
    clusters : array, shape (N,)
        Integer code of the cluster of each row, sorted.
    weights : array, shape (N,), optional
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
    n, k = design.shape
    if start is None:
        start = _start(design, outcome, family, weights)
    if n > 4 * SUBSAMPLE_ROWS:
        start = _near(design, outcome, start, family, weights)
    top = _climb(design, outcome, start, family, weights)
    sums = top.sums
    starts = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    groups = len(starts)
    factor = groups / max(groups - 1, 1) * (n - 1) / max(n - k, 1)
    scores = _cluster_sums(design, sums.residual, starts)
    influence = scores @ (_solve(sums.information, np.eye(k)) * np.sqrt(factor))
    return Fit(
        family=family,
        coefficients=top.coefficients,
        covariance=influence.T @ influence,
        influence=influence,
        clusters=clusters[starts],
        n_obs=n,
        converged=bool(top.converged and np.all(np.isfinite(top.coefficients))),
        iterations=top.iterations,
        dispersion=sums.pearson / max(n - k, 1),
        log_likelihood=_log_likelihood(sums, outcome, family),
        largest_predictor=sums.largest_predictor,
    )


def response_to_design(fitted: Fit, design: Floats, outcome: Floats, changes: Sequence[dict[int, Floats]]) -> Floats:
    """Derivative of the coefficients when columns of the design change, shape (k, changes).

    Parameters
    ----------
    fitted : Fit
        Of the design.
    design : array, shape (N, k)
    outcome : array, shape (N,)
    changes : sequence of dict of int to array
        For each change: derivative of each changing column, shape (N,); the other columns stay.

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
    mean_now = mean(design @ fitted.coefficients, fitted.family)
    slope = mean_slope(mean_now, fitted.family)
    moved = np.zeros((len(design), len(changes)), order="F")
    gradient = np.zeros((design.shape[1], len(changes)))
    for number, change in enumerate(changes):
        for column, derivative in change.items():
            moved[:, number] += derivative * fitted.coefficients[column]
            gradient[column, number] += float(derivative @ (outcome - mean_now))
    gradient -= design.T @ (slope[:, None] * moved)
    return _solve(_weighted_cross_product(design, slope), gradient)


def independent_columns(design: Floats, *, tolerance: float = 1e-9) -> Ints:
    """Indices of the columns that are not linear combinations of earlier ones, shape (≤ k,).

    Examples
    --------
    >>> independent_columns(np.column_stack([np.ones(4), np.arange(4.0), np.arange(4.0) * 2]))
    array([0, 1])
    """
    cross = _weighted_cross_product(design, np.ones(len(design)))
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
    cross = _weighted_cross_product(design, np.ones(len(design)))
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
    blocks = [[np.empty(0)] * len(fits) for _ in fits]
    for i, first in enumerate(fits):
        for j, second in enumerate(fits):
            if j < i:
                blocks[i][j] = blocks[j][i].T
                continue
            if i == j:
                blocks[i][j] = first.covariance
                continue
            _, mine, theirs = np.intersect1d(first.clusters, second.clusters, assume_unique=True, return_indices=True)
            blocks[i][j] = first.influence[mine].T @ second.influence[theirs]
    return np.block(blocks)


def with_nuisance(fitted: Fit, slopes: Floats, nuisance: Floats, clusters: Ints) -> Fit:
    """Add the sampling error of numbers that the design was built with.

    Parameters
    ----------
    slopes : array, shape (k, q)
        Change of the coefficients per unit of each of those numbers.
    nuisance : array, shape (G', q)
        Contribution of each of ``clusters`` (codes, shape (G',)) to those numbers.
    """
    influence = fitted.influence.copy()
    _, mine, theirs = np.intersect1d(fitted.clusters, clusters, assume_unique=True, return_indices=True)
    influence[mine] += nuisance[theirs] @ slopes.T
    return replace(fitted, influence=influence, covariance=influence.T @ influence)


def _start(design: Floats, outcome: Floats, family: Family, weights: Floats | None) -> Floats:
    coefficients = np.zeros(design.shape[1])
    if family == "poisson":
        constant = np.flatnonzero((design == design[0]).all(axis=0) & (design[0] != 0))
        level = float(np.average(outcome, weights=weights))
        if constant.size and level > 0:
            coefficients[constant[0]] = np.log(level) / design[0, constant[0]]
    return coefficients


def _near(design: Floats, outcome: Floats, start: Floats, family: Family, weights: Floats | None) -> Floats:
    """Coefficients close to those of all rows: those of every n-th row, and one step by all rows' gradient from there."""
    every = slice(None, None, len(design) // SUBSAMPLE_ROWS)
    few = np.asfortranarray(design[every])
    top = _climb(few, outcome[every], start, family, None if weights is None else weights[every])
    if not top.converged:
        return start
    here = _pass(design, outcome, top.coefficients, family, weights, informed=False)
    step = _solve(top.sums.information * (len(design) / len(few)), here.gradient)
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


def _climb(design: Floats, outcome: Floats, start: Floats, family: Family, weights: Floats | None) -> _Top:
    """Newton's method with halved steps where the (quasi-)log-likelihood would fall.

    The last step is taken without another pass: it is far shorter than a standard error, so the sums before it
    are those after it.
    """
    coefficients = start
    sums = _pass(design, outcome, coefficients, family, weights)
    iterations = 0
    while True:
        step = _solve(sums.information, sums.gradient)
        decrement = abs(float(sums.gradient @ step))
        if decrement < TOLERANCE * max(1.0, abs(sums.objective) / len(outcome)):
            return _Top(coefficients + step, sums, iterations, True)
        if iterations == MOST_ITERATIONS or not np.all(np.isfinite(step)):
            return _Top(coefficients, sums, iterations, False)
        iterations += 1
        taken = 1.0
        while True:
            trial = _pass(design, outcome, coefficients + taken * step, family, weights)
            if trial.objective >= sums.objective - 1e-12 * abs(sums.objective) or taken < 1e-6:
                break
            taken /= 2
        coefficients, sums = coefficients + taken * step, trial


def _pass(
    design: Floats,
    outcome: Floats,
    coefficients: Floats,
    family: Family,
    weights: Floats | None,
    *,
    informed: bool = True,
) -> _Sums:
    """One pass over the rows, with the information unless it is not asked for.

    Blocks are summed in their order, so the figures do not depend on the number of workers.
    """
    nothing = np.zeros((design.shape[1], design.shape[1]))
    residual = np.empty(len(design))

    def of_block(first: int) -> tuple[float, float, Floats, Floats, float, float]:
        rows = slice(first, first + BLOCK_ROWS)
        block, target = design[rows], outcome[rows]
        predictor = block @ coefficients
        fitted, each = _evaluate(predictor, target, family)
        apart, slope = target - fitted, mean_slope(fitted, family)
        pearson = float((apart * (apart / np.where(slope > 0, slope, np.inf))).sum())
        unweighted = objective = float(each.sum())
        if weights is not None:
            apart, slope = apart * weights[rows], slope * weights[rows]
            objective = float(each @ weights[rows])
        residual[rows] = apart
        largest = max(float(predictor.max()), -float(predictor.min()))
        information = nothing
        if informed:
            scaled = block * np.sqrt(slope)[:, None]
            information = scaled.T @ scaled
        return objective, unweighted, apart @ block, information, pearson, largest

    parts = list(_in_parallel(of_block, range(0, len(design), BLOCK_ROWS)))
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
    if len(parts) < 2 * WORKERS:
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


def _cluster_sums(design: Floats, residual: Floats, starts: Ints) -> Floats:
    """Σ column × residual over each cluster's rows, shape (G, k)."""
    n, k = design.shape
    ends = np.append(starts, n)
    by_cluster = sparse.csr_array((residual, np.arange(n), ends), shape=(len(starts), n))
    sums = np.empty((len(starts), k), order="F")

    def of_column(column: int) -> None:
        sums[:, column] = by_cluster @ design[:, column]

    list(_in_parallel(of_column, range(k)))
    return sums


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


def _weighted_cross_product(design: Floats, weights: Floats) -> Floats:
    """Σ weight × row × rowᵀ, weights ≥ 0, shape (k, k); in blocks that stay in the processor's cache."""
    k = design.shape[1]
    cross = np.zeros((k, k))
    root = np.sqrt(weights)
    for first in range(0, len(design), BLOCK_ROWS):
        block = design[first : first + BLOCK_ROWS] * root[first : first + BLOCK_ROWS, None]
        cross += block.T @ block
    return cross


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
