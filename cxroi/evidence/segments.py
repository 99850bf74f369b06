"""The linkage by segment, partially pooled: what each segment's own answers say, shrunk towards what all of them say.

One equation a segment column and outcome, with a slope of the score for each cell and common controls; so the cells'
estimates come with their covariance, and a difference between cells is tested as a difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, sparse, special, stats

from cxroi.linkage import Linkage
from cxroi.linkage.fit import Fit, fit, independent_columns, mean, mean_slope
from cxroi.panel import Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_CUSTOMERS = 50
FEWEST_EVENTS = 10
MOST_LEVELS = 20
MISSING, OTHER = "(missing)", "(other)"
DISCOVERY_RATE = 0.05
SPREADS, LARGEST_SPREAD = 200, 4.0  # grid of the spread, up to so many standard deviations of the estimates
NORMAL_975 = float(special.ndtri(0.975))
CELL_COLUMNS = [
    *("outcome", "exposure", "segment", "level", "n_obs", "customers", "events"),
    *("estimate", "std_error", "conf_low", "conf_high"),
    *("pooled", "pooled_low", "pooled_high"),
    *("difference", "p_value", "q_value", "suppressed"),
]


class Pooling(NamedTuple):
    """Random-effects summary of k estimates: mean and its error, spread τ² of the true values, Cochran's Q and its p-value."""

    mean: float
    std_error: float
    tau_squared: float
    q: float
    p_value: float


@dataclass(frozen=True)
class SegmentLinkages:
    """The linkage by segment.

    Attributes
    ----------
    cells : DataFrame
        A row per outcome × segment × level: ``estimate, std_error, conf_low, conf_high`` from the cell's own answers (change of
        the outcome in its own unit per point), ``pooled, pooled_low, pooled_high`` shrunk towards the mean of the cells,
        ``difference`` from all other cells together with ``p_value`` and ``q_value`` (false-discovery rate over all cells of the
        table), ``n_obs, customers, events``. Where ``suppressed`` is true the cell is too small: no figures.
    heterogeneity : DataFrame
        A row per outcome × segment: ``cells, mean, std_error, tau`` (standard deviation of the true values), ``q`` (Cochran),
        ``i_squared`` (share of the spread that is not sampling), ``p_value``.
    """

    cells: pd.DataFrame
    heterogeneity: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.cells)

    def tidy(self) -> pd.DataFrame:
        """A row per cell."""
        return self.cells

    def glance(self) -> pd.DataFrame:
        """A row per outcome and segment."""
        return self.heterogeneity


def segment_linkages(panel: Panel, linkages: Iterable[Linkage]) -> SegmentLinkages:
    """Estimate the linkage in every cell of every declared segment and pool the cells partially.

    Parameters
    ----------
    panel : Panel
    linkages : iterable of Linkage
        Adjusted equations, usually of one score; those fitted with a penalty (separation) are passed over.

    Returns
    -------
    SegmentLinkages
        Cells below 50 customers or 10 events (the rarer of left and stayed; rows with a positive amount) are suppressed: they
        share one slope in the fit and are not shown. Sampling error that all cells share (of history net of satisfaction, of the
        reliability of answers) is in the intervals, not in the differences.

    Notes
    -----
    Source: empirical Bayes with τ² by restricted maximum likelihood, Morris (1983), JASA 78:47, Viechtbauer (2005),
    Journal of Educational and Behavioral Statistics 30:261; Q, Cochran (1954), Biometrics 10:101; I², Higgins &
    Thompson (2002), Statistics in Medicine 21:1539; false discoveries, Benjamini & Hochberg (1995), JRSS B 57:289.
    """
    cells: list[pd.DataFrame] = []
    spread: list[dict[str, object]] = []
    fit_for_cells = [
        linkage
        for linkage in linkages
        if not (linkage.separated or linkage.predicting) and linkage.exposure in linkage.design.columns
    ]
    found: dict[tuple[int, str], tuple[pd.DataFrame, dict[str, object]]] = {}
    segments = list(dict.fromkeys(panel.segments))
    for segment in segments:  # outermost, so that the equation of retention serves margin too and then goes
        known: dict[tuple[int, bytes], _Equation] = {}
        levels: dict[str, tuple[list[str], Ints]] = {}
        for position, linkage in enumerate(fit_for_cells):
            if linkage.exposure not in levels:
                levels[linkage.exposure] = _levels(panel.answered(linkage.exposure)[segment])
            of_segment = _by_level(linkage, segment, levels[linkage.exposure], known)
            if of_segment is not None:
                found[position, segment] = of_segment
    for key in ((position, segment) for position in range(len(fit_for_cells)) for segment in segments):
        if key in found:
            cells.append(found[key][0])
            spread.append(found[key][1])
    columns = ["outcome", "exposure", "segment", "cells", "mean", "std_error", "tau", "q", "i_squared", "p_value"]
    if not cells:
        return SegmentLinkages(pd.DataFrame(columns=CELL_COLUMNS), pd.DataFrame(columns=columns))
    table = pd.concat(cells, ignore_index=True)
    table["q_value"] = false_discovery_rates(table["p_value"].to_numpy(dtype=float))
    return SegmentLinkages(table[CELL_COLUMNS], pd.DataFrame(spread, columns=columns))


def random_effects(estimates: Floats, variances: Floats, *, method: str = "reml") -> Pooling:
    """Mean and spread of true values behind independent estimates.

    Parameters
    ----------
    estimates, variances : array, shape (k,)
        Estimates and their sampling variances.
    method : {"reml", "dersimonian-laird"}
        How τ² is found.

    Notes
    -----
    Source: DerSimonian & Laird (1986), Controlled Clinical Trials 7:177; restricted likelihood, Viechtbauer (2005).

    Examples
    --------
    >>> pooling = random_effects(np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18]) ** 2)
    >>> round(pooling.mean, 1), pooling.tau_squared  # eight schools, Rubin (1981)
    (7.7, 0.0)
    """
    weights = 1.0 / variances
    fixed = float(weights @ estimates / weights.sum())
    q = float(weights @ (estimates - fixed) ** 2)
    k = len(estimates)
    if k < 2:
        return Pooling(fixed, float(weights.sum() ** -0.5), 0.0, q, 1.0)
    if method == "reml":
        tau_squared = _restricted(estimates, variances)
    else:
        freed = weights.sum() - float((weights**2).sum() / weights.sum())
        tau_squared = max((q - (k - 1)) / float(freed), 0.0)
    own = 1.0 / (variances + tau_squared)
    centre = float(own @ estimates / own.sum())
    return Pooling(centre, float(own.sum() ** -0.5), tau_squared, q, float(special.chdtrc(k - 1, q)))


def _restricted(estimates: Floats, variances: Floats) -> float:
    """τ² at the top of the restricted likelihood."""

    def unlikely(spread: float) -> float:
        own = 1.0 / (variances + spread)
        centre = own @ estimates / own.sum()
        return float(-np.log(own).sum() + np.log(own.sum()) + own @ (estimates - centre) ** 2) / 2

    unit = float(np.var(estimates))
    if unit == 0:
        return 0.0
    grid = unit * np.concatenate([[0.0], np.geomspace(1e-4, 10.0, 60)])
    best = int(np.argmin([unlikely(float(spread)) for spread in grid]))
    if best == 0:
        return 0.0
    ends = (float(grid[best - 1]), float(grid[min(best + 1, len(grid) - 1)]))
    found = optimize.minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": unit * 1e-9})
    return float(found.x)


def shrink(estimates: Floats, variances: Floats) -> tuple[Floats, Floats]:
    """Estimates pulled towards their mean by their unreliability, and their standard errors, shape (k,) each.

    Averaged over the spread τ of the true values in proportion to its restricted likelihood, so that the errors count that the
    mean and the spread are estimates too; with τ² fixed at its estimate, intervals over few cells hold too rarely.

    Notes
    -----
    Source: Morris (1983), JASA 78:47; Gelman et al. (2014), Bayesian Data Analysis, §5.4, flat in τ.

    Examples
    --------
    >>> schools = np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18]) ** 2
    >>> shrink(*schools)[0].round(0)  # eight schools, Rubin (1981)
    array([11.,  8.,  6.,  8.,  5.,  6., 11.,  8.])
    """
    if len(estimates) < 2:
        return estimates, np.sqrt(variances)
    widest = LARGEST_SPREAD * float(np.sqrt(np.var(estimates) + variances.max()))
    spread = np.linspace(0.0, widest, SPREADS)[:, None] ** 2
    own = 1.0 / (variances + spread)
    total = own.sum(axis=1)
    centre = own @ estimates / total
    log_likelihood = (np.log(own).sum(axis=1) - np.log(total)) / 2
    log_likelihood -= (own * (estimates - centre[:, None]) ** 2).sum(axis=1) / 2
    weight = np.exp(log_likelihood - log_likelihood.max())
    weight /= weight.sum()
    towards = variances / (variances + spread)
    shrunk = towards * centre[:, None] + (1 - towards) * estimates
    variance = (1 - towards) * variances + towards**2 / total[:, None]
    mean_shrunk = weight @ shrunk
    return mean_shrunk, np.sqrt(weight @ (variance + (shrunk - mean_shrunk) ** 2))


def false_discovery_rates(p_values: Floats) -> Floats:
    """Benjamini–Hochberg q-values, shape of ``p_values``; NaN stays NaN and is not counted.

    Examples
    --------
    >>> false_discovery_rates(np.array([0.01, 0.04, np.nan, 0.03])).round(3)
    array([0.03, 0.04,  nan, 0.04])
    """
    rates = np.full(len(p_values), np.nan)
    known = ~np.isnan(p_values)
    if known.any():
        rates[known] = stats.false_discovery_control(p_values[known])
    return rates


def segment_checks(found: SegmentLinkages) -> pd.DataFrame:
    """Verdicts on segments: one row a check, ``name, verdict, number, advice``."""
    rows: list[tuple[str, str, float, str]] = []
    for one in found.heterogeneity.to_dict("records"):
        varies = one["p_value"] < DISCOVERY_RATE
        rows.append(
            (
                f"{one['outcome']} by {one['segment']}",
                "warn" if varies else "pass",
                float(one["p_value"]),
                f"{one['cells']} cells; standard deviation of the true slopes {one['tau']:.3g} about a mean of {one['mean']:.3g}: "
                + (
                    "plan by segment, with the pooled figures"
                    if varies
                    else "no difference that these answers can show; use one figure"
                ),
            )
        )
    shown = found.cells[~found.cells["suppressed"].astype(bool)]
    discovered = shown[shown["q_value"] < DISCOVERY_RATE]
    names = "; ".join(
        f"{row['outcome']}, {row['segment']} = {row['level']}" for row in discovered.to_dict("records")[:3]
    )
    rows.append(
        (
            "cells that stand out",
            "warn" if len(discovered) else "pass",
            float(len(discovered)),
            f"of {len(shown)} at a false-discovery rate of {DISCOVERY_RATE:.0%}" + (f": {names}" if names else ""),
        )
    )
    hidden = int(found.cells["suppressed"].astype(bool).sum())
    rows.append(
        (
            "cells too small",
            "warn" if hidden else "pass",
            float(hidden),
            f"fewer than {FEWEST_CUSTOMERS} customers or {FEWEST_EVENTS} events: no figure is shown",
        )
    )
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _levels(values: pd.Series) -> tuple[list[str], Ints]:
    """Levels of a segment, most frequent first, and the code of each row; beyond twenty they are one."""
    known = values.astype("category").cat
    names = np.array([*(str(level) for level in known.categories), MISSING], dtype=object)
    codes = known.codes.to_numpy()  # -1 where there is none: the last name
    counts = (
        pd.Series(np.bincount(np.where(codes < 0, len(names) - 1, codes), minlength=len(names))).groupby(names).sum()
    )
    counts = counts[counts > 0]
    ordered = sorted(counts.index, key=lambda level: (-int(counts[level]), str(level)))
    levels = ordered if len(ordered) <= MOST_LEVELS else [*ordered[: MOST_LEVELS - 1], OTHER]
    place = {level: number for number, level in enumerate(levels)}
    return levels, np.array([place.get(name, len(levels) - 1) for name in names], dtype=np.int64)[codes]


def _by_level(
    linkage: Linkage, segment: str, by_level: tuple[list[str], Ints], known: dict[tuple[int, bytes], _Equation]
) -> tuple[pd.DataFrame, dict[str, object]] | None:
    rows = linkage.panel.answered(linkage.exposure)
    levels, codes = by_level
    outcome = rows[linkage.outcome].to_numpy(dtype=float)
    used = linkage.used
    sizes = _sizes(rows, codes, outcome, used, len(levels), linkage.outcome)
    large = (sizes["customers"] >= FEWEST_CUSTOMERS) & (sizes["events"] >= FEWEST_EVENTS)
    shown = np.flatnonzero(large.to_numpy())
    if len(shown) < 2:
        return None
    cell = np.where(np.isin(codes, shown), np.searchsorted(shown, codes), len(shown))
    estimates, influence = _cell_slopes(linkage, cell, len(shown), known)
    table = sizes.astype(float).assign(
        outcome=linkage.outcome, exposure=linkage.exposure, segment=segment, level=levels
    )
    table["suppressed"] = ~large
    table.loc[~large, ["n_obs", "customers", "events"]] = np.nan
    error = np.sqrt((influence**2).sum(axis=0))
    pooling = random_effects(estimates, error**2)
    shrunk, shrunk_error = shrink(estimates, error**2)
    common = _common_variance(linkage, cell, influence)
    spread_mean = float(np.sqrt(pooling.std_error**2 + common))
    whole_error, shrunk_error = np.sqrt(error**2 + common), np.sqrt(shrunk_error**2 + common)
    apart, p_values = _against_others(estimates, influence)
    figures = {
        "estimate": estimates,
        "std_error": whole_error,
        "conf_low": estimates - NORMAL_975 * whole_error,
        "conf_high": estimates + NORMAL_975 * whole_error,
        "pooled": shrunk,
        "pooled_low": shrunk - NORMAL_975 * shrunk_error,
        "pooled_high": shrunk + NORMAL_975 * shrunk_error,
        "difference": apart,
        "p_value": p_values,
    }
    for name, values in figures.items():
        column = np.full(len(levels), np.nan)
        column[shown] = values
        table[name] = column
    q, p_value = _wald(estimates, influence)
    spread: dict[str, object] = {
        "outcome": linkage.outcome,
        "exposure": linkage.exposure,
        "segment": segment,
        "cells": len(shown),
        "mean": pooling.mean,
        "std_error": spread_mean,
        "tau": float(np.sqrt(pooling.tau_squared)),
        "q": q,
        "i_squared": max(0.0, 1.0 - (len(shown) - 1) / q) if q > 0 else 0.0,
        "p_value": p_value,
    }
    return table, spread


def _common_variance(linkage: Linkage, cell: Ints, influence: Floats) -> float:
    """Sampling variance that all cells share: what the linkage's error counts beyond its own equations (history, reliability)."""
    weights = linkage.calibration.weights
    shares = np.bincount(cell, weights=weights)[: influence.shape[1]]
    own = influence @ (shares / shares.sum())
    return max(linkage.std_error**2 - float(own @ own), 0.0)


def _sizes(rows: pd.DataFrame, codes: Ints, outcome: Floats, used: Ints, n_levels: int, name: str) -> pd.DataFrame:
    """Rows, customers and events of each level."""
    own = codes[used]
    n_obs = np.bincount(own, minlength=n_levels)
    customer = rows["customer"].to_numpy()[used]  # sorted
    customers = [np.count_nonzero(np.diff(customer[own == level], prepend=-1)) for level in range(n_levels)]
    happened = np.bincount(own, weights=(outcome[used] > 0).astype(float), minlength=n_levels)
    events = np.minimum(happened, n_obs - happened) if name == "retained" else happened
    return pd.DataFrame({"n_obs": n_obs, "customers": customers, "events": events})


def _cell_slopes(
    linkage: Linkage, cell: Ints, n_cells: int, known: dict[tuple[int, bytes], _Equation]
) -> tuple[Floats, Floats]:
    """Average change per point in each cell (cells,), and each customer's contribution to it (customers, cells).

    ``cell`` (rows,) is the cell of every answered row; ``n_cells`` stands for the suppressed ones. ``known`` keeps the equation of
    retention.
    """
    weights = linkage.calibration.weights
    layout = cell.tobytes()

    def of_retention(retention: Linkage) -> _Equation:
        key = (id(retention.fitted), layout)
        if key not in known:
            known[key] = _interacted(retention, cell)
        return known[key]

    equations = [of_retention(linkage) if linkage.outcome == "retained" else _interacted(linkage, cell)]
    inside = np.zeros(len(cell), dtype=bool)
    inside[linkage.used] = True
    if linkage.retention is not None and linkage.outcome not in ("orders", "retained"):
        equations.insert(0, of_retention(linkage.retention))
        inside[:] = True
    customers = linkage.panel.answered(linkage.exposure)["customer"].to_numpy()
    people = customers[np.r_[True, customers[1:] != customers[:-1]]]
    own = weights * inside
    share = own / np.bincount(cell, weights=own)[cell]
    estimates, gradients = _changes(equations, cell, share, n_cells)
    influence = np.zeros((len(people), n_cells))
    for equation, gradient in zip(equations, gradients, strict=True):
        influence[np.searchsorted(people, equation.fitted.clusters)] += equation.fitted.contributions(gradient)
    return estimates, influence


@dataclass(frozen=True)
class _Equation:
    """Design with a slope of the score for every cell (slopes first) and a level, shape (rows, k), and its fit.

    ``change`` ((m,) or (rows, m)) is the change of the columns of the linkage for one point; ``beside`` are those of them (and their
    places in the design) that change beside the score itself, which changes by one in the row's own cell.
    """

    design: Floats
    change: Floats | sparse.csr_array
    beside: tuple[Ints, Ints]
    fitted: Fit

    def step(self, cell: Ints) -> Floats:
        """Change of the linear predictor for one point, shape (rows,)."""
        theirs, ours = self.beside
        further = np.zeros(int(self.change.shape[-1]))
        further[theirs] = self.fitted.coefficients[ours]
        return np.asarray(self.fitted.coefficients[cell] + self.change @ further)

    def stepped(self, weights: Floats, cell: Ints, n_cells: int) -> Floats:
        """Σ weight × change of the columns over the rows of each cell, shape (k, cells)."""
        theirs, ours = self.beside
        total = np.zeros((self.design.shape[1], n_cells))
        sums = np.bincount(cell, weights=weights, minlength=n_cells)[:n_cells]
        np.fill_diagonal(total, sums)
        if isinstance(self.change, sparse.csr_array):
            total[ours] += np.asarray((self.change.T @ _in_cells(weights, cell, n_cells)).todense())[theirs]
        else:
            columns = self.change[theirs] if self.change.ndim == 1 else self.change[:, theirs]
            total[ours] += (
                np.multiply.outer(columns, sums)
                if columns.ndim == 1
                else (_in_cells(weights, cell, n_cells).T @ columns).T
            )
        return total


def _in_cells(values: Floats, cell: Ints, n_cells: int) -> sparse.csr_array:
    """Matrix with each row's value in the column of its cell, shape (rows, cells); further cells are left out."""
    shown = np.flatnonzero(cell < n_cells)
    return sparse.csr_array((values[shown], (shown, cell[shown])), shape=(len(cell), n_cells))


def _interacted(linkage: Linkage, cell: Ints) -> _Equation:
    position = linkage.design.columns.index(linkage.exposure)
    matrix = linkage.design.matrix
    cells = int(cell.max()) + 1
    own = np.concatenate([np.full(cells, position), np.delete(np.arange(matrix.shape[1]), position)])
    joined = np.empty((len(matrix), len(own) + cells - 1), order="F")
    for number, source in enumerate(own):
        joined[:, number] = matrix[:, source]
    for number in range(cells):
        member = cell == number
        joined[:, number] *= member
        if number:
            joined[:, len(own) + number - 1] = member
    used = linkage.used
    picked = None if len(used) == len(joined) else used
    kept = independent_columns(joined, rows=picked)
    if len(kept) < joined.shape[1]:
        joined = np.asfortranarray(joined[:, kept])
    inherited = np.flatnonzero(kept < len(own))
    start = np.zeros(len(kept))
    start[inherited] = linkage.fitted.coefficients[own[kept[inherited]]]
    beside = inherited[kept[inherited] >= cells]
    rows = linkage.panel.answered(linkage.exposure)
    fitted = fit(
        joined,
        rows[linkage.outcome].to_numpy(dtype=float)[used],
        rows["customer"].to_numpy()[used],
        family=linkage.fitted.family,
        rows=picked,
        start=start,
    )
    return _Equation(joined, linkage.slopes.change, (own[kept[beside]], beside), fitted)


def _changes(equations: list[_Equation], cell: Ints, share: Floats, n_cells: int) -> tuple[Floats, list[Floats]]:
    """Average change for one point by cell (cells,), of one outcome or of a product of two, and its gradient by each equation (k, cells).

    ``share`` (rows,) are the weights of the rows, which sum to one in each cell.
    """
    means: list[tuple[Floats, Floats]] = []
    for equation in equations:
        family, now = equation.fitted.family, equation.design @ equation.fitted.coefficients
        means.append((mean(now, family), mean(now + equation.step(cell), family)))
    product = [np.prod([pair[place] for pair in means], axis=0) for place in (0, 1)]
    gradients = []
    for own, equation in enumerate(equations):
        others = [pair for other, pair in enumerate(means) if other != own]
        rest = [np.prod([pair[place] for pair in others], axis=0) if others else 1.0 for place in (0, 1)]
        slopes = [share * mean_slope(means[own][place], equation.fitted.family) * rest[place] for place in (0, 1)]
        level = (_in_cells(slopes[1] - slopes[0], cell, n_cells).T @ equation.design).T
        gradients.append(level + equation.stepped(slopes[1], cell, n_cells))
    averages = np.bincount(cell, weights=share * (product[1] - product[0]), minlength=n_cells)
    return np.asarray(averages[:n_cells], dtype=np.float64), gradients


def _against_others(estimates: Floats, influence: Floats) -> tuple[Floats, Floats]:
    """Difference of each cell from the precision-weighted mean of the others, and its two-sided p-value, shape (cells,) each."""
    precision = 1.0 / (influence**2).sum(axis=0)
    apart, p_values = np.empty(len(estimates)), np.empty(len(estimates))
    for number in range(len(estimates)):
        weight = np.where(np.arange(len(estimates)) == number, 0.0, precision)
        contrast = -weight / weight.sum()
        contrast[number] = 1.0
        apart[number] = contrast @ estimates
        error = float(np.sqrt(((influence @ contrast) ** 2).sum()))
        p_values[number] = 2 * special.ndtr(-abs(apart[number]) / error)
    return apart, p_values


def _wald(estimates: Floats, influence: Floats) -> tuple[float, float]:
    """Q of equal slopes with the cells' covariance, and its p-value (χ², cells − 1)."""
    contrasts = np.column_stack([np.full(len(estimates) - 1, -1.0), np.eye(len(estimates) - 1)])
    covariance = contrasts @ (influence.T @ influence) @ contrasts.T
    apart = contrasts @ estimates
    q = float(apart @ np.linalg.solve(covariance, apart))
    return q, float(special.chdtrc(len(estimates) - 1, q))
