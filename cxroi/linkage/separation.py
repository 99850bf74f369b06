"""Perfect prediction: find it, and fit the penalised logit that stays finite under it."""

from __future__ import annotations

import numpy as np
from scipy import linalg, optimize, special

from cxroi.linkage.fit import Fit, Floats, Ints

FIRTH_ITERATIONS = 200


def separating_direction(design: Floats, outcome: Floats) -> Floats | None:
    """Direction along which the likelihood of a logit never stops rising, or None if the estimate is finite.

    Parameters
    ----------
    design : array, shape (N, k)
    outcome : array, shape (N,)
        0 or 1.

    Returns
    -------
    array, shape (k,), or None
        Coefficients (within ±1) of a combination of columns that predicts some rows perfectly and none wrongly; a
        component that is not zero belongs to a column whose coefficient has no finite maximum-likelihood estimate.

    Notes
    -----
    Source: linear programme of Konis (2007), "Linear programming algorithms for detecting separated data in binary
    logistic regression models", section 4.

    Examples
    --------
    >>> x = np.array([1.0, 2, 3, 4])
    >>> separating_direction(np.column_stack([np.ones(4), x - 2.5]), (x > 2.5) * 1.0) is not None
    True
    >>> separating_direction(np.column_stack([np.ones(4), x]), np.array([0.0, 1, 0, 1])) is None
    True
    """
    scale = np.abs(design).max(axis=0)
    scale[scale == 0] = 1.0
    signed = np.unique((2 * outcome - 1)[:, None] * (design / scale), axis=0)
    solved = optimize.linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1), method="highs"
    )
    if solved.x is None or float(signed.sum(axis=0) @ solved.x) < 1e-7 * len(signed):
        return None
    direction: Floats = np.where(np.abs(solved.x) < 1e-7, 0.0, solved.x / scale)
    return direction


def firth(design: Floats, outcome: Floats, clusters: Ints, *, tolerance: float = 1e-9) -> Fit:
    """Logit penalised by Jeffreys' prior: finite whatever the separation.

    Parameters
    ----------
    design : array, shape (N, k)
    outcome : array, shape (N,)
        0 or 1.
    clusters : array, shape (N,)
        Codes, not used: the covariance is the inverse information, because clustered residuals vanish where the
        prediction is perfect. The codes of the result are negative and match no unpenalised equation's.

    Returns
    -------
    Fit

    Notes
    -----
    Source: Firth (1993), Biometrika 80:27; Heinze & Schemper (2002), Statistics in Medicine 21:2409.
    """
    n, k = design.shape
    coefficients = np.zeros(k)
    converged = False
    iterations = 0

    def penalised(at: Floats) -> tuple[float, Floats, Floats]:
        predictor = design @ at
        fitted = np.asarray(special.expit(predictor))
        slope = fitted * (1 - fitted)
        information = (design * slope[:, None]).T @ design
        sign, determinant = np.linalg.slogdet(information)
        value = float((outcome * predictor - np.logaddexp(0.0, predictor)).sum())
        return (value + determinant / 2 if sign > 0 else -np.inf), fitted, information

    value, fitted, information = penalised(coefficients)
    while iterations < FIRTH_ITERATIONS and not converged:
        iterations += 1
        factor = linalg.cholesky(information, lower=True)
        whitened = linalg.solve_triangular(factor, design.T, lower=True)
        leverage = fitted * (1 - fitted) * (whitened**2).sum(axis=0)
        gradient = design.T @ (outcome - fitted + leverage * (0.5 - fitted))
        step = linalg.cho_solve((factor, True), gradient)
        step *= min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        while True:
            trial_value, trial_fitted, trial_information = penalised(coefficients + step)
            if trial_value >= value - 1e-10 * abs(value) or np.abs(step).max() < 1e-10:
                break
            step = step / 2
        coefficients = coefficients + step
        value, fitted, information = trial_value, trial_fitted, trial_information
        converged = bool(np.abs(step).max() < tolerance)
    covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
    root = linalg.cholesky(covariance, lower=False)
    predictor = design @ coefficients
    slope = np.maximum(fitted * (1 - fitted), 1e-300)
    return Fit(
        family="logit",
        coefficients=coefficients,
        factors=((np.eye(k), root),),
        clusters=np.arange(-k, 0),
        n_obs=n,
        converged=converged,
        iterations=iterations,
        dispersion=float(((outcome - fitted) ** 2 / slope).sum() / max(n - k, 1)),
        log_likelihood=float((outcome * predictor - np.logaddexp(0.0, predictor)).sum()),
        largest_predictor=float(np.abs(predictor).max()),
    )
