"""One linear relation read within units, between units, and from both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from cxroi.errors import InputError
from cxroi.linkage.fit import Fit, Floats, Ints, fit


@dataclass(frozen=True)
class WithinBetween:
    """Estimates of one linear relation from repeated rows of units.

    ``table`` has ``method, term, estimate, std_error, clustered_error`` with methods ``pooled``, ``within`` (each unit against
    its own mean), ``between`` (means of units) and ``random`` (both, weighted by their precision); ``clustered_error`` is by
    unit and stands for within only. ``hausman`` and ``p_value`` test whether within and random agree.
    """

    table: pd.DataFrame
    hausman: float
    p_value: float

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """One row per method and term."""
        return self.table


def within_between(columns: pd.DataFrame, outcome: Floats, units: Ints) -> WithinBetween:
    """Pooled, within, between and random-effects estimates.

    Parameters
    ----------
    columns : DataFrame, shape (N, k)
        Numbers that vary within units; no constant.
    outcome : array, shape (N,)
    units : array, shape (N,)
        Code of the unit of each row, sorted.

    Returns
    -------
    WithinBetween

    Raises
    ------
    InputError
        If a column does not vary within any unit, or there are too few units for the means.

    Notes
    -----
    Random effects with the variances of Swamy & Arora (1972), Econometrica 40:261; clustered errors of Arellano (1987),
    Oxford Bulletin 49:431, with the factor N/(N-k); test of Hausman (1978), Econometrica 46:1251.
    """
    names = [str(name) for name in columns.columns]
    _, codes, sizes = np.unique(units, return_inverse=True, return_counts=True)
    numbers = columns.to_numpy(dtype=float)
    n, k, groups = len(outcome), numbers.shape[1], len(sizes)
    if groups <= k + 1:
        raise InputError(
            f"estimates between units must have more units than columns + 1; got {groups} units, {k} columns."
        )
    everything = np.column_stack([outcome, numbers])
    means = np.column_stack([np.bincount(codes, one) / sizes for one in everything.T])
    apart = everything - means[codes]
    still = [name for name, one in zip(names, apart[:, 1:].T, strict=True) if np.abs(one).max() < 1e-12]
    if still:
        raise InputError(f"columns must vary within units; {', '.join(still)} does not. Leave it out.")
    rows = np.arange(n)
    within = fit(apart[:, 1:], apart[:, 0], codes, family="gaussian")
    between = fit(_with_constant(means[:, 1:]), means[:, 0], np.arange(groups), family="gaussian")
    pooled = fit(_with_constant(numbers), outcome, rows, family="gaussian")
    noise = within.dispersion * (n - k) / (n - groups - k)
    lasting = max(between.dispersion - noise * float((1 / sizes).mean()), 0.0)
    kept = (1 - np.sqrt(noise / (sizes * lasting + noise)))[codes]
    quasi = everything - kept[:, None] * means[codes]
    random = fit(np.column_stack([1 - kept, quasi[:, 1:]]), quasi[:, 0], rows, family="gaussian")
    random_design = np.column_stack([1 - kept, quasi[:, 1:]])
    classical = {
        "pooled": _classical(_with_constant(numbers), pooled.dispersion),
        "within": _classical(apart[:, 1:], noise),
        "between": _classical(_with_constant(means[:, 1:]), between.dispersion),
        "random": _classical(random_design, random.dispersion),
    }
    fits: dict[str, Fit] = {"pooled": pooled, "within": within, "between": between, "random": random}
    arellano = within.std_errors * np.sqrt((groups - 1) / groups * n / (n - 1))
    table = pd.DataFrame(
        [
            (method, term, estimate, error, cluster)
            for method, one in fits.items()
            for term, estimate, error, cluster in zip(
                names if method == "within" else ["Intercept", *names],
                one.coefficients,
                np.sqrt(np.diag(classical[method])),
                arellano if method == "within" else np.full(k + 1, np.nan),
                strict=True,
            )
        ],
        columns=["method", "term", "estimate", "std_error", "clustered_error"],
    )
    difference = within.coefficients - random.coefficients[1:]
    apart_by = classical["within"] - classical["random"][1:, 1:]
    if np.linalg.eigvalsh(apart_by)[0] <= 0:  # far from agreement: one variance of the noise for both keeps it positive
        apart_by = classical["within"] - classical["random"][1:, 1:] * (noise / random.dispersion)
    statistic = float(difference @ np.linalg.solve(apart_by, difference))
    return WithinBetween(table, statistic, float(special.chdtrc(k, max(statistic, 0.0))))


def _with_constant(columns: Floats) -> Floats:
    return np.column_stack([np.ones(len(columns)), columns])


def _classical(design: Floats, dispersion: float) -> Floats:
    return np.asarray(dispersion * np.linalg.inv(design.T @ design))
