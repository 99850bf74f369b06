"""Losses against gains: whether a point low on the scale goes with as much as a point high on it.

Linear, bent, three groups and monotone curves of one score compete on customers that were held out; linear stays
unless it is clearly beaten. The slopes below and above the bend, and their difference, come with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from cxroi.evidence.contest import (
    Restriction,
    clustered_mean,
    fit_restricted,
    information_at,
    losses,
    saturated_loss,
    systematic_sample,
)
from cxroi.linkage import Linkage, standard_linkages, unit
from cxroi.linkage.fit import Family, Fit, Floats, Ints, fit, mean, mean_slope
from cxroi.linkage.model import STANDARD_OUTCOMES
from cxroi.panel import Panel

FOLDS = 5
MOST_ROWS = 60_000
MOST_INTERVALS = 10
SMALLEST_SIDE = 0.05  # share of the answers on either side of a bend
FEWEST_ROWS = 500
SMALLEST_TAIL = 0.02  # share of the answers beyond the outermost knots of a rising curve
STEPS_FROM_WHOLE = 2  # from all customers' fit to that without a fold
CONFIDENCE = 0.95
SHAPES = ("linear", "hinge", "groups", "hinge_chosen", "monotone")  # from the simplest
WORDS = {
    "linear": "a straight line",
    "hinge": "a line with a bend at the stated point",
    "groups": "three groups",
    "hinge_chosen": "a line with a bend where the data put it",
    "monotone": "any rising curve",
}
SHAPE_COLUMNS = (
    *("outcome", "exposure", "shape", "bend", "estimate", "std_error", "conf_low", "conf_high", "unit"),
    *("deviance_per_row", "chosen", "n_obs", "n_clusters"),
)
SLOPE_COLUMNS = (
    *("outcome", "exposure", "bend", "bend_from", "side", "estimate", "std_error", "conf_low", "conf_high"),
    *("p_value", "per_point", "per_point_std_error", "unit", "n_obs", "n_clusters"),
)
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """How an outcome follows a score.

    Attributes
    ----------
    shapes : DataFrame
        A row per outcome × shape: ``estimate`` is the held-out deviance explained beyond a straight line, in percent
        of the line's deviance, with its 95 % interval clustered by customer; ``bend`` in points of the answer;
        ``chosen`` marks the simplest shape within one standard error of the best.
    slopes : DataFrame
        A row per outcome × bend × side (``below``, ``above``, ``difference``): ``estimate`` per point on the scale of
        the linear predictor; ``per_point`` per point in the outcome's unit, averaged over the answers on that
        side. ``bend_from`` is ``scale`` (see :func:`stated_bend`; chosen without a look at outcomes) or ``data``
        (where that is another one; the p-value of the difference is then multiplied by the number of bends tried).
    reasons : dict
        Outcomes that could not be looked at, and why.
    """

    exposure: str
    shapes: pd.DataFrame
    slopes: pd.DataFrame
    reasons: dict[str, str]
    n_sampled: int | None = None

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """One row per outcome × shape."""
        return self.shapes

    def glance(self) -> pd.DataFrame:
        """One row per outcome: the chosen shape with its gain over a straight line ± its standard error."""
        return self.shapes[self.shapes["chosen"]].drop(columns="chosen").reset_index(drop=True)

    def checks(self) -> pd.DataFrame:
        """See :func:`shape_checks`."""
        return shape_checks(self)


@dataclass(frozen=True)
class _Equation:
    """One outcome's rows: controls (N, c), intervals of the score (N, K), outcome (N,), sorted customers (N,)."""

    family: Family
    controls: Floats
    intervals: Floats
    knots: Floats
    score: Floats
    outcome: Floats
    customers: Ints


def satisfaction_shape(
    panel: Panel,
    exposure: str,
    *,
    linkages: Mapping[tuple[str, str], Linkage | str] | None = None,
    most_rows: int = MOST_ROWS,
) -> Shape:
    """Compare shapes of staying, orders and margin over one score on held-out customers.

    Parameters
    ----------
    panel : Panel
    exposure : str
        ``nps``, ``csat`` or ``ces``.
    linkages : mapping, optional
        From :func:`cxroi.linkage.standard_linkages`, whose controls and history are held fixed here too; fitted if
        not given.
    most_rows : int
        Above, a systematic sample of customers of about this many rows is used.

    Returns
    -------
    Shape
        Margin and orders are given retained, as in their equations.

    Notes
    -----
    Five folds by a hash of the customer's code. Source: losses weigh more than gains, Mittal, Ross & Baldasare (1998),
    Journal of Marketing 62:33; one-standard-error rule, Breiman et al. (1984), Classification and Regression Trees,
    §3.4.3; monotone piecewise-linear curve by non-negative least squares steps, Ramsay (1988), Statistical Science
    3:425 (I-splines of order 1).
    """
    if linkages is None:
        linkages = standard_linkages(panel, exposure, methods=("raw", "adjusted"))
    shapes: list[dict[str, Any]] = []
    slopes: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    sampled = None
    for outcome in dict.fromkeys(outcome for outcome, _ in linkages if outcome in STANDARD_OUTCOMES):
        linkage = _widest(linkages, outcome)
        if isinstance(linkage, str):
            reasons[outcome] = linkage
            continue
        equation = _equation(panel, linkage, most_rows)
        reason = _not_comparable(equation)
        if reason:
            reasons[outcome] = reason
            continue
        if len(equation.outcome) < len(linkage.used):
            sampled = max(sampled or 0, len(equation.outcome))
        found, rows = _compare(panel, linkage, equation)
        shapes += rows
        slopes += _slope_rows(panel, linkage, equation, found)
    return Shape(
        exposure=exposure,
        shapes=pd.DataFrame(shapes, columns=list(SHAPE_COLUMNS)).astype({"chosen": bool}),
        slopes=pd.DataFrame(slopes, columns=list(SLOPE_COLUMNS)),
        reasons=reasons,
        n_sampled=sampled,
    )


def shape_checks(shape: Shape) -> pd.DataFrame:
    """What the shapes say in a row each: ``name, verdict, number, advice``.

    ``number`` is the chosen shape's held-out gain over a straight line (percent of its deviance), and the slope below
    the bend less that above.
    """
    rows: list[tuple[str, str, float, str]] = []
    of = f"; from a systematic sample of {shape.n_sampled:,} answers" if shape.n_sampled else ""
    for row in shape.glance().to_dict("records"):
        straight = row["shape"] == "linear"
        advice = (
            "no other shape predicts held-out customers clearly better than a straight line"
            if straight
            else f"{WORDS[row['shape']]} predicts held-out customers better: one figure per point hides that points differ"
        )
        name = f"{row['outcome']} follows {row['exposure']} in a straight line"
        rows.append((name, "pass" if straight else "warn", float(row["estimate"]), advice + of))
    stated = shape.slopes[shape.slopes["bend_from"] == "scale"].set_index(["outcome", "side"])
    for outcome in stated.index.unique("outcome"):
        below, above, row = (stated.loc[(outcome, side)] for side in ("below", "above", "difference"))
        seen = row["p_value"] < 1 - CONFIDENCE
        advice = (
            f"{below['estimate']:.3g} per point below {row['bend']:g} and {above['estimate']:.3g} above, on the scale of the "
            "equation: one figure per point hides that points differ"
            if seen
            else f"no difference between points below and above {row['bend']:g} that {row['n_obs']:,} answers can see"
        )
        name = f"{outcome}: losses against gains of {shape.exposure}"
        rows.append((name, "warn" if seen else "pass", float(row["estimate"]), advice + of))
    for outcome, reason in shape.reasons.items():
        rows.append(
            (f"{outcome} follows {shape.exposure} in a straight line", "warn", np.nan, f"not compared: {reason}")
        )
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def customer_folds(customers: Ints, folds: int = FOLDS) -> Ints:
    """Fold of each row by a hash of its customer's code (Knuth's multiplicative hash), shape (N,).

    Examples
    --------
    >>> customer_folds(np.array([0, 0, 1, 2, 3])).tolist()
    [0, 0, 3, 1, 4]
    """
    hashed = (customers.astype(np.uint64) * np.uint64(2_654_435_761)) % np.uint64(2**32)
    return ((hashed * np.uint64(folds)) >> np.uint64(32)).astype(np.int64)


def score_intervals(score: Floats, knots: Floats) -> Floats:
    """How much of each interval between knots lies below the score, in points; shape (N, K), rows sum to score - first knot.

    Examples
    --------
    >>> score_intervals(np.array([0.0, 1.5, 3.0]), np.array([0.0, 1.0, 2.0, 3.0])).tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.5, 0.0], [1.0, 1.0, 1.0]]
    """
    return np.asarray(np.clip(score[:, None] - knots[None, :-1], 0.0, np.diff(knots)))


def stated_bend(exposure: str, knots: Floats, score: Floats) -> float:
    """Bend chosen without a look at outcomes: 7 for NPS; elsewhere the middle of the scale, or the mean answer.

    Parameters
    ----------
    exposure : str
    knots : array, shape (K + 1,)
        Of the scale; the bend is one of the inner ones.
    score : array, shape (N,)
        Answers; the mean answer is used where fewer than 5 % lie on one side of the middle.

    Examples
    --------
    >>> scale = np.array([1.0, 2, 3, 4, 5])
    >>> stated_bend("csat", scale, np.array([2.0, 3, 4])), stated_bend("csat", scale, np.array([3.0, 4, 5]))
    (3.0, 4.0)
    """
    inner = knots[1:-1]

    def nearest(wanted: float) -> float:
        return float(inner[np.argmin(np.abs(inner - wanted))])

    bend = nearest(7.0 if exposure == "nps" else (knots[0] + knots[-1]) / 2)
    return bend if _smaller_side(score, bend) >= SMALLEST_SIDE else nearest(float(score.mean()))


def _smaller_side(score: Floats, bend: float) -> float:
    """Share of the answers on the side of a bend that has fewer."""
    return min(float((score < bend).mean()), float((score > bend).mean()))


def _widest(linkages: Mapping[tuple[str, str], Linkage | str], outcome: str) -> Linkage | str:
    """The adjusted equation of an outcome, else the raw one, else the reason."""
    for method in ("adjusted", "raw"):
        linkage = linkages.get((outcome, method))
        if isinstance(linkage, Linkage):
            return "who stays is predicted without error" if linkage.separated else linkage
    reason = linkages.get((outcome, "raw"), linkages.get((outcome, "adjusted"), ""))
    return str(reason) or "no equation"


def _equation(panel: Panel, linkage: Linkage, most_rows: int) -> _Equation:
    exposure = linkage.exposure
    rows = panel.answered(exposure)
    used = linkage.used[systematic_sample(rows["customer"].to_numpy()[linkage.used], most_rows)]
    own = rows.iloc[used]
    held = np.array([index for index, name in enumerate(linkage.design.columns) if name != exposure])
    score = own[exposure].to_numpy(dtype=float)
    low, high = panel.score_ranges[exposure]
    knots = np.linspace(low, high, min(MOST_INTERVALS, max(round(high - low), 2)) + 1)
    target = own[linkage.outcome].to_numpy(dtype=float)
    if linkage.fitted.family == "poisson":
        target = target / target.mean()
    elif linkage.fitted.family == "gaussian":
        target = target / target.std()
    return _Equation(
        family=linkage.fitted.family,
        controls=linkage.design.matrix[np.ix_(used, held)],
        intervals=score_intervals(score, knots),
        knots=knots,
        score=score,
        outcome=target,
        customers=own["customer"].to_numpy(),
    )


def _not_comparable(equation: _Equation) -> str:
    if len(equation.outcome) < FEWEST_ROWS:
        return f"{len(equation.outcome)} answers with an outcome; at least {FEWEST_ROWS} are needed"
    if not _bends(equation):
        return f"too few answers on either side of every bend; {SMALLEST_SIDE:.0%} are needed"
    return ""


def _bends(equation: _Equation, smallest: float = SMALLEST_SIDE) -> list[float]:
    """Knots with enough answers on either side."""
    return [float(knot) for knot in equation.knots[1:-1] if _smaller_side(equation.score, float(knot)) >= smallest]


def _curves(exposure: str, knots: Floats, bends: Sequence[float], rising: Sequence[float]) -> dict[str, Floats]:
    """Columns of each shape over the intervals, shape (K, m); ``bend 5`` and the like for each bend that is tried."""
    first = knots[:-1]
    widths = np.diff(knots)
    curves: dict[str, Floats] = {"linear": np.ones((len(first), 1))}
    for bend in bends:
        curves[f"bend {bend:g}"] = np.column_stack([first < bend, first >= bend]).astype(float)
    if exposure == "nps":
        steps = [(np.abs(first - 6.0) < 1e-9), (np.abs(first - 8.0) < 1e-9)]
    elif exposure == "csat":
        steps = [np.arange(len(first)) == len(first) - 2, np.arange(len(first)) == len(first) - 1]
    else:
        half = len(first) // 2
        steps = [np.arange(len(first)) == half - 1, np.arange(len(first)) == half]
    curves["groups"] = np.column_stack(steps) / widths[:, None]
    piece = np.searchsorted(np.sort(rising), first, side="right")
    curves["monotone"] = (piece[:, None] == np.unique(piece)[None, :]).astype(float)
    return curves


def _compare(panel: Panel, linkage: Linkage, equation: _Equation) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Held-out losses of the shapes: the bends found (``scale``, ``data``) and the rows of the table."""
    tried = _bends(equation)
    stated = stated_bend(linkage.exposure, equation.knots, equation.score)
    curves = _curves(
        linkage.exposure, equation.knots, [*dict.fromkeys([stated, *tried])], _bends(equation, SMALLEST_TAIL)
    )
    names = list(curves)
    table, by_name = _held_out(equation, curves)
    data = min(tried, key=lambda bend: float(by_name[f"bend {bend:g}"]))
    column = {
        "linear": table[:, names.index("linear")],
        "hinge": table[:, names.index(f"bend {stated:g}")],
        "groups": table[:, names.index("groups")],
        "hinge_chosen": table[:, len(names)],
        "monotone": table[:, names.index("monotone")],
    }
    bends = {"hinge": stated, "hinge_chosen": data}
    chosen = _simplest(column, equation.customers)
    rows = []
    total = float(column["linear"].mean())
    for name in SHAPES:
        gain, error, groups = clustered_mean(column["linear"] - column[name], equation.customers)
        reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, max(groups - 1, 1)))
        per = 100.0 / total
        rows.append(
            {
                "outcome": linkage.outcome,
                "exposure": linkage.exposure,
                "shape": name,
                "bend": bends.get(name, np.nan),
                "estimate": gain * per,
                "std_error": error * per,
                "conf_low": (gain - reach * error) * per,
                "conf_high": (gain + reach * error) * per,
                "unit": "% of the straight line's deviance",
                "deviance_per_row": gain,
                "chosen": name == chosen,
                "n_obs": len(equation.outcome),
                "n_clusters": groups,
            }
        )
    return {"scale": stated, "data": data, "tried": float(len(tried))}, rows


def _simplest(held_out: Mapping[str, Floats], customers: Ints) -> str:
    """The simplest shape whose loss is within one standard error (of the paired difference) of the best."""
    best = min(held_out, key=lambda name: float(held_out[name].mean()))
    for name in SHAPES:
        behind, error, _ = clustered_mean(held_out[name] - held_out[best], customers)
        if behind <= error:
            return name
    return best


def _held_out(equation: _Equation, curves: Mapping[str, Floats]) -> tuple[Floats, dict[str, float]]:
    """Held-out deviance of each row under each curve, the bend chosen within each fold last, shape (N, J + 1).

    Also each curve's mean deviance where it was fitted.
    """
    design = np.asfortranarray(np.column_stack([equation.controls, equation.intervals]))
    controls = equation.controls.shape[1]
    unit_matrix = np.eye(design.shape[1])
    restrictions = [
        Restriction(
            np.column_stack([unit_matrix[:, :controls], unit_matrix[:, controls:] @ curve]),
            nonnegative_from=controls if name == "monotone" else None,
        )
        for name, curve in curves.items()
    ]
    line = np.column_stack([equation.controls, equation.intervals.sum(axis=1)])
    fitted = fit(np.asfortranarray(line), equation.outcome, equation.customers, family=equation.family)
    start = np.concatenate([fitted.coefficients[:controls], np.full(len(equation.knots) - 1, fitted.coefficients[-1])])
    whole = fit_restricted(design, equation.outcome, restrictions, family=equation.family, start=start)
    folds = customer_folds(equation.customers)
    table = np.empty((len(design), len(curves) + 1))
    names = list(curves)
    hinges = [index for index, name in enumerate(names) if name.startswith("bend ")]
    information = information_at(design, whole[:, 0], equation.family)
    for fold in range(FOLDS):
        test = folds == fold
        own, rest = np.asfortranarray(design[test]), np.asfortranarray(design[~test])
        found = fit_restricted(
            rest,
            equation.outcome[~test],
            restrictions,
            family=equation.family,
            start=whole,
            most_steps=STEPS_FROM_WHOLE,
            information=information - information_at(own, whole[:, 0], equation.family),
        )
        inside = losses(rest, equation.outcome[~test], found[:, hinges], equation.family).mean(axis=0)
        table[test, :-1] = losses(own, equation.outcome[test], found, equation.family)
        table[test, -1] = table[test, hinges[int(np.argmin(inside))]]
    table -= saturated_loss(equation.outcome, equation.family)[:, None]
    within = losses(design, equation.outcome, whole, equation.family).mean(axis=0)
    return table, dict(zip(names, within.tolist(), strict=True))


def _slope_rows(
    panel: Panel, linkage: Linkage, equation: _Equation, bends: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Slopes below and above each bend and their difference, errors clustered by customer."""
    rows: list[dict[str, Any]] = []
    tried = {"scale": 1.0, "data": bends["tried"]}
    for bend_from in ("scale", "data") if bends["data"] != bends["scale"] else ("scale",):
        bend = bends[bend_from]
        if bend not in _bends(equation):
            continue
        below = np.minimum(equation.score - bend, 0.0)
        design = np.asfortranarray(np.column_stack([equation.controls, below, equation.score - bend - below]))
        fitted = fit(design, equation.outcome, equation.customers, family=equation.family)
        if not fitted.converged:
            continue
        scale = _outcome_scale(panel, linkage, equation)
        for side, estimate, error, change, change_error in _sides(fitted, design, equation.score < bend):
            freedom = max(len(fitted.clusters) - 1, 1)
            reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
            p_value = float(2 * special.stdtr(freedom, -abs(estimate) / error)) if error > 0 else 1.0
            if side == "difference":
                p_value = min(1.0, p_value * tried[bend_from])
            rows.append(
                {
                    "outcome": linkage.outcome,
                    "exposure": linkage.exposure,
                    "bend": bend,
                    "bend_from": bend_from,
                    "side": side,
                    "estimate": estimate,
                    "std_error": error,
                    "conf_low": estimate - reach * error,
                    "conf_high": estimate + reach * error,
                    "p_value": p_value,
                    "per_point": change * scale,
                    "per_point_std_error": change_error * scale,
                    "unit": unit(linkage.outcome, panel.currency),
                    "n_obs": fitted.n_obs,
                    "n_clusters": len(fitted.clusters),
                }
            )
    return rows


def _outcome_scale(panel: Panel, linkage: Linkage, equation: _Equation) -> float:
    """What one unit of the equation's outcome is in the outcome's own unit."""
    if equation.family == "logit" or not len(equation.outcome):
        return 1.0
    own = panel.answered(linkage.exposure)[linkage.outcome].to_numpy(dtype=float)[linkage.used]
    return float(own.mean() if equation.family == "poisson" else own.std())


def _sides(fitted: Fit, design: Floats, is_below: Flags) -> list[tuple[str, float, float, float, float]]:
    """Side, slope, its error, average change of the outcome per point on that side, its error (delta method)."""
    last = design.shape[1]
    found: list[tuple[str, float, float, float, float]] = []
    gradients: list[Floats] = []
    changes: list[float] = []
    for side, column, rows in (("below", last - 2, is_below), ("above", last - 1, ~is_below)):
        average = mean(design[rows] @ fitted.coefficients, fitted.family)
        slope = mean_slope(average, fitted.family)
        bent = slope * (1 - 2 * average) if fitted.family == "logit" else slope * (fitted.family == "poisson")
        coefficient = float(fitted.coefficients[column])
        gradient = coefficient * (bent @ design[rows]) / rows.sum()
        gradient[column] += slope.mean()
        gradients.append(gradient)
        changes.append(coefficient * float(slope.mean()))
        error = float(np.sqrt(fitted.covariance[column, column]))
        found.append((side, coefficient, error, changes[-1], _error(gradient, fitted.covariance)))
    contrast = np.zeros(last)
    contrast[last - 2], contrast[last - 1] = 1.0, -1.0
    return [
        *found,
        (
            "difference",
            float(contrast @ fitted.coefficients),
            _error(contrast, fitted.covariance),
            changes[0] - changes[1],
            _error(gradients[0] - gradients[1], fitted.covariance),
        ),
    ]


def _error(gradient: Floats, covariance: Floats) -> float:
    return float(np.sqrt(max(float(gradient @ covariance @ gradient), 0.0)))
