"""How the interval of an estimate changes when customers share an account, a brand, a store or a period.

Everything rests on the contribution of each row to the average over the base: its sums by any grouping give that
grouping's standard error, so no equation is fitted again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from cxroi.errors import InputError
from cxroi.linkage import Linkage
from cxroi.linkage.fit import Fit, Floats, Ints, fit, mean, mean_slope

CONFIDENCE = 0.95
FEW_GROUPS = 40  # below, t intervals of clustered errors are too short: Cameron, Gelbach & Miller (2008)
FEW_FOR_SIGNS = 12  # below, two-point weights give too few distinct draws: Webb (2014)
FEWEST_GROUPS = 8  # below, a declared column is a control, not a cluster
WIDER = 1.25  # ratio of standard errors worth a warning
DRAWS = 3_999
FARTHEST = 50.0  # standard errors; an interval that reaches further is unbounded
BLOCK_ROWS = 16_384

Weights = Literal["rademacher", "webb"]


# Two ways at once


def two_way(first: Fit, second: Fit, both: Fit) -> Floats:
    """Covariance of coefficients clustered two ways at once, shape (k, k).

    Parameters
    ----------
    first, second : Fit
        One equation clustered by one grouping and by the other.
    both : Fit
        The same clustered by the cells that the two groupings share.

    Raises
    ------
    InputError
        If the three are not the same equation.

    Notes
    -----
    ``first + second - both``, each with its own finite-sample factor, but none for cells of one row each (White's
    errors, as in the published figures for Petersen's data); negative eigenvalues are set to 0. Source: Cameron, Gelbach
    & Miller (2011), Journal of Business & Economic Statistics 29:238.

    Examples
    --------
    >>> design, outcome = np.ones((4, 1)), np.array([1.0, 2, 4, 3])
    >>> by_row = fit(design, outcome, np.arange(4), family="gaussian")
    >>> by_pair = fit(design, outcome, np.array([0, 0, 1, 1]), family="gaussian")
    >>> two_way(by_pair, by_row, by_row).round(4).tolist(), by_pair.covariance.round(4).tolist()
    ([[1.1042]], [[1.0]])
    """
    if not all(np.allclose(one.coefficients, first.coefficients, rtol=1e-4, atol=1e-8) for one in (second, both)):
        raise InputError(
            "two-way errors must come from one equation; the three fits have different coefficients. "
            "Fit the same rows and columns three times, sorted by each grouping."
        )
    single = len(both.clusters) == both.n_obs
    cells = both.covariance * ((1 - len(both.coefficients) / both.n_obs) if single else 1.0)
    covariance = first.covariance + second.covariance - cells
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= 0:
        return covariance
    repaired: Floats = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return repaired


# Few groups


@dataclass(frozen=True)
class GroupSums:
    """One equation summed over each group's rows.

    Attributes
    ----------
    scores : array, shape (G, k)
        Σ column × residual at the estimate.
    informations : array, shape (G, k, k)
        Σ slope of the mean × row × rowᵀ.
    """

    scores: Floats
    informations: Floats


@dataclass(frozen=True)
class WildBootstrap:
    """An estimate with the interval and the p-value of a wild cluster bootstrap.

    ``std_error`` is the clustered one, ``p_value`` that of no difference, ``groups`` the number of clusters; the limits
    are infinite where so few groups cannot exclude anything.
    """

    estimate: float
    std_error: float
    conf_low: float
    conf_high: float
    p_value: float
    groups: int
    weights: Weights


def group_sums(design: Floats, residual: Floats, slope: Floats, groups: Ints) -> GroupSums:
    """Scores and information of each group.

    Parameters
    ----------
    design : array, shape (N, k)
    residual, slope : array, shape (N,)
        Outcome less mean, and derivative of the mean by the linear predictor; 0 for rows that are not in the fit.
    groups : array, shape (N,)
        0…G-1.
    """
    count, k = int(groups.max()) + 1, design.shape[1]
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(np.bincount(groups, minlength=count))
    scores, informations = np.zeros((count, k)), np.zeros((count, k, k))
    for group, (start, end) in enumerate(zip(np.r_[0, ends[:-1]], ends, strict=True)):
        for first in range(start, end, BLOCK_ROWS):
            rows = order[first : min(first + BLOCK_ROWS, end)]
            block = design[rows]
            scores[group] += residual[rows] @ block
            informations[group] += (block * slope[rows][:, None]).T @ block
    return GroupSums(scores, informations)


def wild_bootstrap(
    sums: GroupSums,
    direction: Floats,
    *,
    estimate: float,
    seed: int = 0,
    draws: int = DRAWS,
    weights: Weights | None = None,
) -> WildBootstrap:
    """Wild cluster bootstrap-t of a linear combination of coefficients, with the null imposed.

    Parameters
    ----------
    sums : GroupSums
    direction : array, shape (k,)
        The combination.
    estimate : float
        Its value.
    seed : int
    draws : int
        Random draws of the groups' weights; all 2^G of them where two-point weights have fewer.
    weights : {"rademacher", "webb"}, optional
        By default Webb's six points below 12 groups, signs from there on.

    Returns
    -------
    WildBootstrap
        Interval: all values that the test does not reject.

    Notes
    -----
    Scores instead of residuals, at the estimate restricted by one Newton step: for a linear model exactly the wild
    cluster restricted bootstrap, for logit and Poisson its score version. Source: Cameron, Gelbach & Miller (2008),
    Review of Economics and Statistics 90:414; Kline & Santos (2012), Journal of Econometric Methods 1:23; Webb (2014),
    Queen's Economics Department Working Paper 1315.
    """
    groups = len(sums.scores)
    if groups < 2:
        raise InputError(f"a bootstrap over groups must have at least 2 of them; got {groups}. Choose another column.")
    weights = weights or ("webb" if groups < FEW_FOR_SIGNS else "rademacher")
    drawn = _drawn(groups, weights, draws, seed)
    towards = np.linalg.solve(sums.informations.sum(axis=0), direction)
    along = towards / float(direction @ towards)
    shares = sums.informations @ along  # change of each group's score per unit that the estimate is moved, (G, k)
    spread = np.linalg.solve(sums.informations.sum(axis=0), (sums.informations @ towards).T).T
    contributions, per_unit = sums.scores @ towards, shares @ towards
    mixing, mixing_per_unit = spread @ sums.scores.T, spread @ shares.T
    length = float(np.sqrt(contributions @ contributions))
    # Weighted by each draw, at the estimate and per unit that the null lies below it: total, and what is left by group.
    totals = drawn @ contributions, drawn @ per_unit
    left = drawn * contributions - drawn @ mixing.T, drawn * per_unit - drawn @ mixing_per_unit.T

    def p_value(null: float) -> float:
        apart = estimate - null
        lengths = np.sqrt(np.maximum(((left[0] + apart * left[1]) ** 2).sum(axis=1), 1e-300))
        simulated = np.abs(totals[0] + apart * totals[1]) / lengths
        return float((simulated >= abs(apart) / length * (1 - 1e-9)).mean())

    std_error = length * np.sqrt(groups / (groups - 1))
    low, high = (_limit(p_value, estimate, side * std_error) for side in (-1, 1))
    return WildBootstrap(estimate, float(std_error), low, high, p_value(0.0), groups, weights)


def _drawn(groups: int, weights: Weights, draws: int, seed: int) -> Floats:
    """Weights of the groups, shape (draws, G)."""
    if weights == "rademacher" and 2**groups <= draws:
        codes = np.arange(2**groups)[:, None] >> np.arange(groups) & 1
        return np.asarray(codes * 2.0 - 1.0, dtype=np.float64)
    points = np.array([1.0]) if weights == "rademacher" else np.sqrt([0.5, 1.0, 1.5])
    drawn = np.random.default_rng(seed).choice(np.r_[-points, points], size=(draws, groups))
    return np.asarray(drawn, dtype=np.float64)


def _limit(p_value: Callable[[float], float], estimate: float, step: float) -> float:
    """Value on one side of the estimate where the p-value falls through 5 %; infinite if it never does."""

    def above(steps: float) -> float:
        return p_value(estimate + steps * step) - (1 - CONFIDENCE)

    reach = 2.0
    while above(reach) > 0:
        reach *= 2
        if reach > FARTHEST:
            return float(np.sign(step) * np.inf)
    return estimate + step * float(optimize.bisect(above, 0.0, reach, xtol=1e-3))


# A linkage by another grouping


def contributions(linkage: Linkage) -> Floats:
    """Contribution of each answered row to the average estimate, shape (rows of the panel with an answer,).

    Squared sums by customer add up to the variance that the linkage reports, less that of the base's level. What a
    customer contributes through purchase history or expected satisfaction, which all of the customer's rows share,
    is spread evenly over them.

    Raises
    ------
    InputError
        If the linkage was fitted with a penalty: its errors are not sums over customers.
    """
    equations = [linkage] if not _is_product(linkage) else [linkage.retention, linkage]
    gradients = np.split(
        linkage.effect.gradient, np.cumsum([len(one.fitted.coefficients) for one in equations if one])[:-1]
    )
    total = np.zeros(len(linkage.design.matrix))
    for equation, gradient in zip(equations, gradients, strict=True):
        assert equation is not None
        total += _contributions_of_equation(equation, gradient)
    return total


def clustered_by(linkage: Linkage, column: str, *, seed: int = 0) -> pd.DataFrame:
    """The average estimate with errors clustered by customer, by a column, by both, and by wild bootstrap where groups are few.

    Parameters
    ----------
    linkage : Linkage
    column : str
        A declared segment or control (account, brand, store …) or ``period``. Customers without a value are each a group.
    seed : int
        Of the bootstrap's weights.

    Returns
    -------
    DataFrame
        ``method, estimate, std_error, conf_low, conf_high, groups``: ``customer``; the column's name; ``customer and
        <column>``; and below 40 groups ``wild bootstrap``. Intervals by t with one degree of freedom fewer than groups, of
        the smaller grouping where there are two.

    Raises
    ------
    InputError
        If the column is not declared or has one value, or the linkage was fitted with a penalty.

    Notes
    -----
    Where a column is the same in all rows of a customer, both ways at once equal the column alone. The bootstrap runs
    on the coefficient of the score (of amounts with the left at 0: in one equation of those amounts) and its interval is
    carried over in standard errors. Source: Cameron, Gelbach & Miller (2011); Cameron & Miller (2015), Journal of
    Human Resources 50:317.
    """
    return _clustered_by(linkage, column, contributions(linkage), seed)


def _clustered_by(linkage: Linkage, column: str, by_row: Floats, seed: int) -> pd.DataFrame:
    counted = _counted(linkage)
    codes = group_codes(linkage, column)
    customers = _codes_of(linkage.panel.answered(linkage.exposure)["customer"].to_numpy())
    average = linkage.marginal_effect().iloc[0]
    estimate, reported = float(average["estimate"]), float(average["std_error"])
    groups = {name: _count(one[counted]) for name, one in (("customer", customers), ("column", codes))}
    cells = _codes_of(customers * (int(codes.max()) + 1) + codes)
    own = groups["customer"] / (groups["customer"] - 1)
    variances = {
        name: float((np.bincount(one, by_row) ** 2).sum()) * number / (number - 1) / own
        for name, one, number in (
            ("customer", customers, groups["customer"]),
            ("column", codes, groups["column"]),
            ("cells", cells, _count(cells[counted])),
        )
    }
    level = max(reported**2 - variances["customer"], 0.0)
    crossed = variances["customer"] + variances["column"] - variances["cells"]
    if crossed <= 0:  # as Cameron, Gelbach & Miller: never below what one of the two ways gives
        crossed = max(variances["customer"], variances["column"])
    fewest = min(groups.values())
    rows = [
        ("customer", groups["customer"], variances["customer"]),
        (column, groups["column"], variances["column"]),
        (f"customer and {column}", fewest, crossed),
    ]
    found = []
    for method, number, variance in rows:
        error = float(np.sqrt(variance + level))
        margin = float(special.stdtrit(number - 1, (1 + CONFIDENCE) / 2)) * error
        found.append((method, estimate, error, estimate - margin, estimate + margin, number))
    if groups["column"] < FEW_GROUPS:
        bootstrap = _bootstrap(linkage, codes, seed)
        error = float(np.sqrt(max(variances["column"], crossed) + level))
        turned = -1.0 if estimate * bootstrap.estimate < 0 else 1.0
        low, high = sorted(
            estimate + turned * (limit - bootstrap.estimate) / bootstrap.std_error * error
            for limit in (bootstrap.conf_low, bootstrap.conf_high)
        )
        found.append(("wild bootstrap", estimate, error, low, high, groups["column"]))
    return pd.DataFrame(found, columns=["method", "estimate", "std_error", "conf_low", "conf_high", "groups"])


def clustering_checks(linkage: Linkage, columns: Sequence[str] | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Whether a wider grouping overturns the interval: ``name, verdict, number, advice``, one row a column.

    Parameters
    ----------
    linkage : Linkage
    columns : sequence of str, optional
        Declared columns; by default those of text with at least 8 values.
    seed : int

    Returns
    -------
    DataFrame
        ``number``: standard error by customer and column over that by customer. Fails where the interval is off 0 by
        customer and holds 0 by the grouping; warns where the standard error is more than a quarter larger.
    """
    rows = []
    columns = cluster_columns(linkage) if columns is None else columns
    by_row = contributions(linkage) if len(columns) else np.empty(0)
    for column in columns:
        table = _clustered_by(linkage, column, by_row, seed)
        plain, wider = table.iloc[0], table.iloc[-1]
        ratio = float(wider["std_error"] / plain["std_error"])
        off = (plain["conf_low"] > 0) | (plain["conf_high"] < 0)
        holds = wider["conf_low"] <= 0 <= wider["conf_high"]
        verdict = "fail" if off and holds else "warn" if ratio > WIDER else "pass"
        method = "wild bootstrap" if wider["method"] == "wild bootstrap" else "both ways at once"
        advice = {
            "pass": f"by customer and {column} ({wider['groups']} groups, {method}) the interval says the same",
            "warn": f"customers of one {column} resemble each other: use the interval by customer and {column} ({method})",
            "fail": f"the interval is off 0 only as long as customers of one {column} count as independent; "
            f"by customer and {column} ({wider['groups']} groups, {method}) it holds 0",
        }[verdict]
        rows.append((f"clusters: {column}", verdict, ratio, advice))
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def cluster_columns(linkage: Linkage) -> list[str]:
    """Declared columns of text with at least 8 values: groupings whose customers may resemble each other."""
    rows = linkage.panel.answered(linkage.exposure)
    declared = dict.fromkeys([*linkage.panel.segments, *linkage.panel.controls])
    return [
        column
        for column in declared
        if isinstance(rows[column].dtype, pd.CategoricalDtype)
        and rows[column].iloc[linkage.used].nunique() >= FEWEST_GROUPS
    ]


def group_codes(linkage: Linkage, column: str) -> Ints:
    """Group of each answered row by a declared column or ``period``, shape (rows,), codes 0…; a customer without a value is a group.

    Raises
    ------
    InputError
        If the column is not declared, or fewer than two groups are in the fit.
    """
    rows = linkage.panel.answered(linkage.exposure)
    declared = list(dict.fromkeys([*linkage.panel.segments, *linkage.panel.controls, "period"]))
    if column not in declared:
        raise InputError(
            f"a cluster must be a declared segment or control; {column!r} is not. Declared: {', '.join(declared)}. "
            f"Add it to dataset.yaml, for example segments: [{column}]"
        )
    codes = pd.factorize(rows[column])[0].astype(np.int64)
    alone = codes < 0
    codes[alone] = codes.max() + 1 + rows["customer"].to_numpy()[alone]
    groups = _count(codes[_counted(linkage)])
    if groups < 2:
        raise InputError(
            f"a cluster must have at least 2 groups; {column} has {groups} among the rows of the fit. Choose another column."
        )
    return _codes_of(codes)


def _contributions_of_equation(linkage: Linkage, gradient: Floats) -> Floats:
    """Contribution of each answered row through one equation, shape (rows,)."""
    if linkage.separated or linkage.predicting:
        raise InputError(
            "errors by another grouping must come from a fit without penalty; "
            f"{', '.join(linkage.separated or linkage.predicting)} predicts retention perfectly. Leave that column out."
        )
    matrix, fitted = linkage.design.matrix, linkage.fitted
    residual, slope = _residuals(linkage)
    towards = np.linalg.solve(_information(matrix, slope), gradient)
    customers = _codes_of(linkage.panel.answered(linkage.exposure)["customer"].to_numpy())
    used = linkage.used
    number, n, k = _count(customers[used]), len(used), matrix.shape[1]
    factor = number / max(number - 1, 1) * (n - 1) / max(n - k, 1)
    by_row: Floats = (matrix @ towards) * residual * np.sqrt(factor)
    shared = np.zeros(int(customers.max()) + 1)
    rows_of = np.bincount(customers[used], minlength=len(shared))
    shared[rows_of > 0] = fitted.contributions(gradient)
    shared -= np.bincount(customers, by_row, minlength=len(shared))
    by_row[used] += shared[customers[used]] / rows_of[customers[used]]
    return by_row


def _residuals(linkage: Linkage) -> tuple[Floats, Floats]:
    """Residual and slope of the mean of each answered row, 0 outside the fit, shape (rows,) each."""
    matrix, fitted, used = linkage.design.matrix, linkage.fitted, linkage.used
    outcome = linkage.panel.answered(linkage.exposure)[linkage.outcome].to_numpy(dtype=float)
    average = mean(matrix @ fitted.coefficients, fitted.family)
    residual, slope = np.zeros(len(matrix)), np.zeros(len(matrix))
    residual[used] = outcome[used] - average[used]
    slope[used] = mean_slope(average, fitted.family)[used]
    return residual, slope


def _bootstrap(linkage: Linkage, codes: Ints, seed: int) -> WildBootstrap:
    """Bootstrap of the coefficient of the score over groups."""
    matrix = linkage.design.matrix
    shift = linkage.design.shift
    if shift is None:
        shift = linkage.slopes.average_change()
    if _is_product(linkage):
        outcome = linkage.panel.answered(linkage.exposure)[linkage.outcome].to_numpy(dtype=float)
        counted = np.isfinite(outcome)
        whole = matrix if counted.all() else np.asfortranarray(matrix[counted])
        clusters = linkage.panel.answered(linkage.exposure)["customer"].to_numpy()[counted]
        family = linkage.fitted.family
        fitted = fit(whole, outcome[counted], clusters, family=family, start=linkage.fitted.coefficients)
        average = mean(whole @ fitted.coefficients, family)
        sums = group_sums(whole, outcome[counted] - average, mean_slope(average, family), _codes_of(codes[counted]))
        return wild_bootstrap(sums, shift, estimate=float(shift @ fitted.coefficients), seed=seed)
    residual, slope = _residuals(linkage)
    used = linkage.used
    matrix = matrix if len(used) == len(matrix) else matrix[used]
    sums = group_sums(matrix, residual[used], slope[used], _codes_of(codes[used]))
    return wild_bootstrap(sums, shift, estimate=float(shift @ linkage.fitted.coefficients), seed=seed)


def _counted(linkage: Linkage) -> NDArray[np.bool_]:
    """Rows that the average estimate rests on, shape (rows,)."""
    counted = np.zeros(len(linkage.design.matrix), dtype=bool)
    counted[linkage.used] = True
    if _is_product(linkage) and linkage.retention is not None:
        counted[linkage.retention.used] = True
    return counted


def _is_product(linkage: Linkage) -> bool:
    return linkage.retention is not None and linkage.outcome != "orders"


def _information(matrix: Floats, slope: Floats) -> Floats:
    """Σ slope × row × rowᵀ, shape (k, k), in blocks that stay in the processor's cache."""
    total = np.zeros((matrix.shape[1], matrix.shape[1]))
    for first in range(0, len(matrix), BLOCK_ROWS):
        block = matrix[first : first + BLOCK_ROWS]
        total += (block * slope[first : first + BLOCK_ROWS, None]).T @ block
    return total


def _codes_of(values: Ints) -> Ints:
    return pd.factorize(values)[0].astype(np.int64)


def _count(codes: Ints) -> int:
    return int(pd.unique(codes).size)
