"""Weights that make the customers who answered look like the whole base."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxroi.linkage.fit import Floats

LARGEST_WEIGHT = 20.0  # times the mean weight; what larger ones exceed it by goes to the others in proportion
RIDGE = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Weights with mean 1 and what they achieve.

    ``imbalance_before`` and ``imbalance_after`` are the largest absolute differences between weighted mean and base
    mean, in standard deviations; ``effective_n`` is (Σw)²/Σw².
    """

    weights: Floats
    effective_n: float
    imbalance_before: float
    imbalance_after: float
    trimmed: int


def calibrate(columns: Floats, targets: Floats, *, iterations: int = 100) -> Calibration:
    """Weights closest to equal (in entropy) under which the columns' means equal the targets.

    Parameters
    ----------
    columns : array, shape (N, q)
        What is known of each row that answered.
    targets : array, shape (q,)
        Means of the same columns over the whole base.

    Returns
    -------
    Calibration

    Notes
    -----
    Source: exponential tilting, Hainmueller (2012), Political Analysis 20:25; equal to a logistic-type response
    model fitted by moments.

    Examples
    --------
    >>> answered = np.array([[0.0], [0.0], [0.0], [1.0]])
    >>> found = calibrate(answered, np.array([0.5]))
    >>> round(float(np.average(answered[:, 0], weights=found.weights)), 4)
    0.5
    """
    spread = columns.std(axis=0)
    usable = (spread > 1e-9) & np.isfinite(targets)
    if not usable.any():
        return Calibration(np.ones(len(columns)), float(len(columns)), 0.0, 0.0, 0)
    centred = (columns[:, usable] - targets[usable]) / spread[usable]
    before = float(np.abs(centred.mean(axis=0)).max())
    tilt = np.zeros(centred.shape[1])

    def weigh(at: Floats) -> tuple[Floats, float]:
        exponent = centred @ at
        top = float(exponent.max())
        raw = np.exp(exponent - top)
        total = float(raw.sum())
        return raw / total, top + np.log(total) + RIDGE / 2 * float(at @ at)

    weights, objective = weigh(tilt)
    for _ in range(iterations):
        gradient = weights @ centred + RIDGE * tilt
        if np.abs(gradient).max() < 1e-9:
            break
        curvature = (centred * weights[:, None]).T @ centred - np.outer(weights @ centred, weights @ centred)
        step = -np.linalg.lstsq(curvature + RIDGE * np.eye(len(tilt)), gradient, rcond=None)[0]
        taken = 1.0
        while True:
            trial_weights, trial_objective = weigh(tilt + taken * step)
            if trial_objective <= objective + 1e-12 or taken < 1e-8:
                break
            taken /= 2
        tilt, weights, objective = tilt + taken * step, trial_weights, trial_objective
    weights = weights * len(weights)
    trimmed = int((weights > LARGEST_WEIGHT).sum())
    weights = _bounded(weights)
    after = float(np.abs(np.average(centred, axis=0, weights=weights)).max())
    return Calibration(weights, float(weights.sum() ** 2 / (weights**2).sum()), before, after, trimmed)


def _bounded(weights: Floats) -> Floats:
    """Weights of mean 1, none above ``LARGEST_WEIGHT``."""
    largest = np.zeros(len(weights), dtype=bool)
    while True:
        rest = len(weights) - LARGEST_WEIGHT * int(largest.sum())
        others = float(weights[~largest].sum())
        if rest <= 0 or others <= 0:  # nothing left for the others: all alike
            return np.ones(len(weights))
        found = np.where(largest, LARGEST_WEIGHT, weights * (rest / others))
        over = (found > LARGEST_WEIGHT * (1 + 1e-12)) & ~largest
        if not over.any():
            return found
        largest |= over
