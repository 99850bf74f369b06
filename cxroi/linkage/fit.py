"""Fit one equation with errors clustered by customer, from rows sorted by cluster.

Arithmetic only: arrays in, arrays out. Newton's method on the (quasi-)likelihood with Cholesky steps, the
information matrix summed in blocks of rows, cluster sums by ``np.add.reduceat`` over the sorted rows.
``statsmodels`` gives the same figures (tests) and is the reference for anything that is not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

Family = Literal["gaussian", "logit", "poisson"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK_ROWS = 65_536
TOLERANCE = 1e-11  # of the squared Newton step in the metric of the information
LARGEST_PREDICTOR = 700.0  # exp() of more overflows a float


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
    max_iterations: int = 60,
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
    if np.any(np.diff(clusters) < 0):
        raise ValueError("rows must be sorted by cluster")
    n, k = design.shape
    coefficients = _start(design, outcome, family, weights) if start is None else start.copy()
    predictor = design @ coefficients
    objective = _objective(predictor, outcome, family, weights)
    converged = False
    iterations = 0
    while iterations < max_iterations:
        iterations += 1
        fitted = mean(predictor, family)
        residual = outcome - fitted
        slope = mean_slope(fitted, family)
        if weights is not None:
            residual, slope = residual * weights, slope * weights
        gradient = design.T @ residual
        information = _weighted_cross_product(design, slope)
        step = _solve(information, gradient)
        decrement = float(gradient @ step)
        taken = 1.0
        while True:
            trial = predictor + taken * (design @ step)
            trial_objective = _objective(trial, outcome, family, weights)
            if trial_objective >= objective - 1e-12 * abs(objective) or taken < 1e-6:
                break
            taken /= 2
        coefficients = coefficients + taken * step
        predictor, objective = trial, trial_objective
        if abs(decrement) < TOLERANCE * max(1.0, abs(objective) / n) or family == "gaussian":
            converged = taken == 1.0
            break
    fitted = mean(predictor, family)
    slope = mean_slope(fitted, family)
    residual = outcome - fitted
    weighted = residual if weights is None else residual * weights
    information = _weighted_cross_product(design, slope if weights is None else slope * weights)
    starts = np.flatnonzero(np.r_[True, clusters[1:] != clusters[:-1]])
    scores = np.empty((len(starts), k))
    for column in range(k):
        scores[:, column] = np.add.reduceat(design[:, column] * weighted, starts)
    groups = len(starts)
    factor = groups / max(groups - 1, 1) * (n - 1) / max(n - k, 1)
    influence = _solve(information, scores.T).T * np.sqrt(factor)
    variance = slope if family != "gaussian" else np.ones_like(slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        pearson = np.where(variance > 0, residual**2 / variance, 0.0)
    return Fit(
        family=family,
        coefficients=coefficients,
        covariance=influence.T @ influence,
        influence=influence,
        clusters=clusters[starts],
        n_obs=n,
        converged=bool(converged and np.all(np.isfinite(coefficients))),
        iterations=iterations,
        dispersion=float(pearson.sum() / max(n - k, 1)),
        log_likelihood=_log_likelihood(predictor, outcome, family),
        largest_predictor=float(np.abs(predictor).max(initial=0.0)),
    )


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
    """Add the sampling error of a number that the design was built with.

    Parameters
    ----------
    slopes : array, shape (k,)
        Change of the coefficients per unit of that number.
    nuisance : array, shape (G',)
        Contribution of each of ``clusters`` (codes, shape (G',)) to that number.
    """
    influence = fitted.influence.copy()
    _, mine, theirs = np.intersect1d(fitted.clusters, clusters, assume_unique=True, return_indices=True)
    influence[mine] += np.outer(nuisance[theirs], slopes)
    return replace(fitted, influence=influence, covariance=influence.T @ influence)


def _start(design: Floats, outcome: Floats, family: Family, weights: Floats | None) -> Floats:
    coefficients = np.zeros(design.shape[1])
    if family == "poisson":
        constant = np.flatnonzero((design == design[0]).all(axis=0) & (design[0] != 0))
        level = float(np.average(outcome, weights=weights))
        if constant.size and level > 0:
            coefficients[constant[0]] = np.log(level) / design[0, constant[0]]
    return coefficients


def _objective(predictor: Floats, outcome: Floats, family: Family, weights: Floats | None) -> float:
    """(Quasi-)log-likelihood up to a constant, to be climbed."""
    if family == "logit":
        each = outcome * predictor - np.logaddexp(0.0, predictor)
    elif family == "poisson":
        each = outcome * predictor - np.exp(np.minimum(predictor, LARGEST_PREDICTOR))
    else:
        each = -((outcome - predictor) ** 2) / 2
    return float(each.sum() if weights is None else each @ weights)


def _log_likelihood(predictor: Floats, outcome: Floats, family: Family) -> float:
    if family == "gaussian":
        n = len(outcome)
        return float(-n / 2 * (np.log(2 * np.pi * np.mean((outcome - predictor) ** 2)) + 1))
    value = _objective(predictor, outcome, family, None)
    if family == "poisson" and np.all(outcome >= 0):
        value -= float(special.gammaln(outcome + 1).sum())
    return value


def _weighted_cross_product(design: Floats, weights: Floats) -> Floats:
    k = design.shape[1]
    total = np.zeros((k, k))
    for first in range(0, len(design), BLOCK_ROWS):
        block = design[first : first + BLOCK_ROWS]
        total += (block * weights[first : first + BLOCK_ROWS, None]).T @ block
    return total


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
