"""What one point of the answer changes on average over the base, with gradients for the delta method.

The average runs over answered rows weighted to look like the base, and the level of the outcome is set to the base's
own: only the slope comes from those who answered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from cxroi.linkage.fit import Family, Floats, Ints, mean, mean_slope

WIDEST_SHIFT, NEWTON_STEPS = 30.0, 20  # log-odds


@dataclass(frozen=True)
class Effect:
    """Average effect of one point, its gradient by the coefficients (k,) and by the base's level, and the level's shift."""

    estimate: float
    gradient: Floats
    by_level: float
    shift: float


@dataclass(frozen=True)
class Slopes:
    """A fitted equation at every row, now and one point higher.

    ``design`` (N, k) and ``change`` ((k,) if the same for all rows, else (N, k), dense or sparse) are its columns and
    their change for one point.
    """

    design: Floats
    change: Floats | sparse.csr_array
    coefficients: Floats
    family: Family

    def at(self, rows: Ints | slice) -> Slopes:
        """The same at some of the rows."""
        change = self.change if self.change.ndim == 1 else self.change[rows]
        return Slopes(self.design[rows], change, self.coefficients, self.family)

    def average_change(self) -> Floats:
        """Mean change of the columns over the rows, shape (k,)."""
        return np.asarray(self.change if self.change.ndim == 1 else self.change.mean(axis=0), dtype=np.float64).ravel()

    def predictors(self, shift: float) -> tuple[Floats, Floats]:
        """Linear predictors (N,) now and one point higher, with the level shifted."""
        now = self.design @ self.coefficients + shift
        return now, now + self.change @ self.coefficients

    def weighted_columns(self, weights: Floats, *, higher: bool) -> Floats:
        """Σ weight × column over the rows, shape (k,)."""
        total = self.design.T @ weights
        if higher:
            total = total + (self.change * weights.sum() if self.change.ndim == 1 else self.change.T @ weights)
        return total


def level_shift(slopes: Slopes, weights: Floats, level: float | None) -> float:
    """Shift of the linear predictor at which the weighted mean outcome is the level; 0 without a level."""
    if level is None:
        return 0.0
    if slopes.family == "gaussian":
        return level - float(np.average(slopes.predictors(0.0)[0], weights=weights))
    predictor = slopes.predictors(0.0)[0]
    if slopes.family == "poisson":
        return (
            float(np.log(level) - np.log(np.average(mean(predictor, "poisson"), weights=weights))) if level > 0 else 0.0
        )
    if not 0 < level < 1:
        return 0.0

    total = weights.sum()

    def gap(shift: float) -> tuple[float, float]:
        average = mean(predictor + shift, "logit")
        return float(weights @ average / total) - level, float(weights @ mean_slope(average, "logit") / total)

    found = optimize.root_scalar(gap, x0=0.0, fprime=True, method="newton", xtol=1e-13, maxiter=NEWTON_STEPS)
    if found.converged and abs(found.root) < WIDEST_SHIFT:
        return float(found.root)
    return float(optimize.brentq(lambda shift: gap(shift)[0], -WIDEST_SHIFT, WIDEST_SHIFT, xtol=1e-12))


def average_effect(slopes: Slopes, weights: Floats, level: float | None = None) -> Effect:
    """Average change of one outcome for one point.

    Parameters
    ----------
    slopes : Slopes
    weights : array, shape (N,)
    level : float, optional
        Mean outcome over the base; None keeps the level of the fit.
    """
    weights = weights / weights.sum()
    shift = level_shift(slopes, weights, level)
    now, higher = (mean(predictor, slopes.family) for predictor in slopes.predictors(shift))
    slope_now, slope_higher = mean_slope(now, slopes.family), mean_slope(higher, slopes.family)
    gradient = slopes.weighted_columns(weights * slope_higher, higher=True) - slopes.weighted_columns(
        weights * slope_now, higher=False
    )
    by_level = 0.0
    if level is not None:
        sensitivity = float(weights @ slope_now)
        by_shift = float(weights @ (slope_higher - slope_now))
        gradient = gradient - by_shift * slopes.weighted_columns(weights * slope_now, higher=False) / sensitivity
        by_level = by_shift / sensitivity
    return Effect(float(weights @ (higher - now)), gradient, by_level, shift)


def average_product_effect(
    retention: Slopes, amount: Slopes, weights: Floats, levels: tuple[float | None, float | None]
) -> Effect:
    """Average change of P(retained) × E[amount | retained] for one point; gradient by both equations' coefficients stacked.

    Parameters
    ----------
    retention, amount : Slopes
        On the same rows.
    levels : (float or None, float or None)
        Mean retention over the base, and mean amount over the base with the left at 0.
    """
    weights = weights / weights.sum()
    shift = level_shift(retention, weights, levels[0])
    keep, keep_higher = (mean(predictor, "logit") for predictor in retention.predictors(shift))
    keep_slope, keep_slope_higher = mean_slope(keep, "logit"), mean_slope(keep_higher, "logit")
    amount_shift = 0.0
    if levels[1] is not None:
        amount_shift = level_shift(amount, weights * keep, levels[1] / float(weights @ keep))
    spend, spend_higher = (mean(predictor, amount.family) for predictor in amount.predictors(amount_shift))
    spend_slope, spend_slope_higher = mean_slope(spend, amount.family), mean_slope(spend_higher, amount.family)
    estimate = float(weights @ (keep_higher * spend_higher - keep * spend))

    by_keep = retention.weighted_columns(weights * keep_slope_higher * spend_higher, higher=True)
    by_keep = by_keep - retention.weighted_columns(weights * keep_slope * spend, higher=False)
    by_spend = amount.weighted_columns(weights * keep_higher * spend_slope_higher, higher=True)
    by_spend = by_spend - amount.weighted_columns(weights * keep * spend_slope, higher=False)
    keep_shift_moves = float(weights @ (keep_slope_higher * spend_higher - keep_slope * spend))
    spend_shift_moves = float(weights @ (keep_higher * spend_slope_higher - keep * spend_slope))
    by_level = 0.0
    if levels[0] is not None:
        sensitivity = float(weights @ keep_slope)
        shift_by_keep = -retention.weighted_columns(weights * keep_slope, higher=False) / sensitivity
    else:
        shift_by_keep = np.zeros(len(by_keep))
    if levels[1] is not None:
        spend_sensitivity = float(weights @ (keep * spend_slope))
        keep_columns = retention.weighted_columns(weights * keep_slope * spend, higher=False)
        amount_shift_by_keep = (
            -(keep_columns + float(weights @ (keep_slope * spend)) * shift_by_keep) / spend_sensitivity
        )
        amount_shift_by_spend = -amount.weighted_columns(weights * keep * spend_slope, higher=False) / spend_sensitivity
        by_level = spend_shift_moves / spend_sensitivity
    else:
        amount_shift_by_keep, amount_shift_by_spend = np.zeros(len(by_keep)), np.zeros(len(by_spend))
    by_keep = by_keep + keep_shift_moves * shift_by_keep + spend_shift_moves * amount_shift_by_keep
    by_spend = by_spend + spend_shift_moves * amount_shift_by_spend
    return Effect(estimate, np.concatenate([by_keep, by_spend]), by_level, shift)
