"""Specification curve: the same question under every combination of defensible choices.

Which controls, period effects in or out, how the score is coded, which answers, which model: each combination gives an
estimate. One that only some combinations show rests on a choice, not on the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.evidence.contest import Restriction, code_answers, fit_restricted, systematic_sample
from cxroi.linkage import Linkage, standard_linkages, unit
from cxroi.linkage.fit import Family, Floats, Ints, fit, independent_columns, mean, mean_slope
from cxroi.panel import Panel

MOST_ROWS = 100_000
FEWEST_ROWS = 200
FEWEST_CUSTOMERS = 50
FEWEST_EVENTS_A_COLUMN = 5
MOST_NEGATIVE_ROWS = 0.05
CONFIDENCE = 0.95
LONGEST_STEP = 0.1  # of the last Newton step, in standard errors
AGREEING, SPLIT = 0.95, 0.75  # share of specifications with the sign of the median
CONTROL_SETS = {"none": (), "declared": ("declared",), "history": ("history",), "both": ("declared", "history")}
CODINGS = ("as answered", "standardised within period", "upper minus lower group")
SAMPLES = ("all answers", "first answers", "one answer per customer", "single-answer periods")
CHOICES = ("controls", "period_effects", "coding", "sample", "model")
COLUMNS = (
    *("specification", *CHOICES, "estimate", "std_error", "conf_low", "conf_high", "p_value"),
    *("unit", "n_obs", "n_clusters"),
)
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SpecificationCurve:
    """Estimates of one outcome under every combination of choices.

    Attributes
    ----------
    table : DataFrame
        A row per specification, from the lowest estimate to the highest: the choices, and the average change of the
        outcome in its own unit per point of the answer over the rows of the specification, with its 95 % interval
        clustered by customer.
    not_estimated : int
        Specifications whose fit did not settle or had too few rows.
    n_answers, n_sampled : int
        Answers with the outcome known, and those of the systematic sample of customers that was used.
    """

    outcome: str
    exposure: str
    table: pd.DataFrame
    not_estimated: int
    n_answers: int
    n_sampled: int

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """One row per specification, from the lowest estimate to the highest."""
        return self.table

    def glance(self) -> pd.DataFrame:
        """One row: specifications, share above 0, median, 5-95 % range, shares whose interval lies above or below 0."""
        estimates = self.table["estimate"]
        return pd.DataFrame(
            {
                "outcome": [self.outcome],
                "exposure": [self.exposure],
                "specifications": [len(self.table)],
                "share_above_zero": [float((estimates > 0).mean())],
                "median": [float(estimates.median())],
                "low": [float(estimates.quantile(0.05))],
                "high": [float(estimates.quantile(0.95))],
                "share_significant_above": [float((self.table["conf_low"] > 0).mean())],
                "share_significant_below": [float((self.table["conf_high"] < 0).mean())],
                "not_estimated": [self.not_estimated],
                "unit": [self.table["unit"].iloc[0]],
            }
        )

    def by_choice(self) -> pd.DataFrame:
        """One row per level of each choice: ``choice, level, specifications, median, share_above_zero``."""
        rows = [
            (choice, level, len(part), float(part["estimate"].median()), float((part["estimate"] > 0).mean()))
            for choice in CHOICES
            for level, part in self.table.groupby(choice, sort=False)
        ]
        return pd.DataFrame(rows, columns=["choice", "level", "specifications", "median", "share_above_zero"])

    def checks(self) -> pd.DataFrame:
        """See :func:`specification_checks`."""
        return specification_checks(self)


@dataclass(frozen=True)
class _Material:
    """Answered rows with the outcome known: columns of each kind of control, outcome, score, sorted customers, periods."""

    blocks: dict[str, Floats]
    outcome: Floats
    score: Floats
    single: Flags
    customers: Ints
    periods: Ints
    scale: tuple[float, float]


@dataclass(frozen=True)
class _Estimate:
    """One specification of a sample and model: choices of controls, periods, coding; rows and customers in ``size``."""

    choices: tuple[str, str, str]
    estimate: float
    std_error: float
    size: tuple[int, int]


def specification_curve(
    panel: Panel,
    exposure: str,
    outcome: str,
    *,
    linkages: Mapping[tuple[str, str], Linkage | str] | None = None,
    most_rows: int = MOST_ROWS,
) -> SpecificationCurve:
    """Estimate one outcome under every combination of controls, period effects, coding, sample and model.

    Parameters
    ----------
    panel : Panel
    exposure : str
        ``nps``, ``csat`` or ``ces``.
    outcome : str
        ``retained`` (logit, linear), ``orders`` (given retained; Poisson, linear) or ``margin`` (left = 0; Poisson,
        linear; linear alone where more than 5 % of the rows are negative).
    linkages : mapping, optional
        From :func:`cxroi.linkage.standard_linkages`, whose columns of controls, history and periods are used; fitted
        if not given.
    most_rows : int
        Above, a systematic sample of customers of about this many rows is used.

    Returns
    -------
    SpecificationCurve

    Raises
    ------
    InputError
        If the outcome cannot be estimated for this score under any specification, or is predicted without error.

    Notes
    -----
    Source: Simonsohn, Simmons & Nelson (2020), Nature Human Behaviour 4:1208. Estimates average over the rows of
    their specification, unweighted; a grouped score is brought to points by the slope of the answer on it. History is
    net of satisfaction as in the adjusted equation; the sampling error of that netting is left out. One answer per
    customer gives those who left early more weight than all answers do. Specifications share their data, so the
    shares are descriptions, not tests.
    """
    if linkages is None:
        linkages = standard_linkages(panel, exposure, methods=("raw", "adjusted"))
    linkage = linkages.get((outcome, "adjusted"))
    if not isinstance(linkage, Linkage):
        linkage = linkages.get((outcome, "raw"), "no such outcome")
    if not isinstance(linkage, Linkage):
        raise InputError(f"a specification curve of {outcome} on {exposure} cannot be drawn: {linkage}")
    if linkage.separated:
        raise InputError(
            f"a specification curve of {outcome} on {exposure} cannot be drawn: {', '.join(linkage.separated)} predict "
            "who stays without error, so no finite estimate exists. Check that the score was given before the outcome."
        )
    material, answers = _material(panel, linkage, most_rows)
    rows: list[tuple[object, ...]] = []
    left_out = 0
    for sample, picked in _samples(material):
        own = _part(material, picked)
        for model, family in _models(outcome, own.outcome):
            found, lost = _estimates(own, exposure, family)
            left_out += lost
            rows += [
                (0, *one.choices, sample, model, *_limits(one), unit(outcome, panel.currency), *one.size)
                for one in found
            ]
    if not rows:
        raise InputError(
            f"a specification curve of {outcome} on {exposure} needs at least {FEWEST_ROWS} answers of "
            f"{FEWEST_CUSTOMERS} customers with the outcome known; there are {len(material.outcome)} answers. "
            "Wait for more answers, or look at a score with more."
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("estimate", kind="stable", ignore_index=True)
    table["specification"] = np.arange(1, len(table) + 1)
    return SpecificationCurve(outcome, exposure, table, left_out, answers, len(material.outcome))


def specification_checks(curve: SpecificationCurve) -> pd.DataFrame:
    """What the curve says in a row each: ``name, verdict, number, advice``.

    ``number`` is the share of specifications with the sign of the median, and by how much the choice that matters most
    moves the median, as a share of the median over all.
    """
    seen = curve.glance().iloc[0]
    above = float(seen["share_above_zero"])
    agreeing = above if seen["median"] > 0 else 1 - above
    verdict = "pass" if agreeing >= AGREEING else "warn" if agreeing >= SPLIT else "fail"
    of = (
        f"; a systematic sample of {curve.n_sampled:,} of {curve.n_answers:,} answers was used"
        if curve.n_sampled < curve.n_answers
        else ""
    )
    sign = "above" if seen["median"] > 0 else "below"
    significant = float(seen[f"share_significant_{sign}"])
    advice = f"{agreeing:.0%} of {len(curve.table)} specifications lie {sign} 0, {significant:.0%} with their whole interval{of}"
    rows = [(f"{curve.outcome} on {curve.exposure}: sign under other choices", verdict, agreeing, advice)]
    medians = curve.by_choice().groupby("choice", sort=False)["median"]
    moved = (medians.max() - medians.min()) / max(abs(float(seen["median"])), 1e-300)
    choice = str(moved.idxmax())
    levels = curve.by_choice().set_index("choice").loc[[choice]].sort_values("median")
    advice = (
        f"{choice.replace('_', ' ')} matters most: the median is {levels['median'].iloc[0]:.4g} under "
        f"'{levels['level'].iloc[0]}' and {levels['median'].iloc[-1]:.4g} under '{levels['level'].iloc[-1]}'"
    )
    name = f"{curve.outcome} on {curve.exposure}: size under other choices"
    rows.append((name, "pass" if float(moved.max()) < 1 else "warn", float(moved.max()), advice))
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _material(panel: Panel, linkage: Linkage, most_rows: int) -> tuple[_Material, int]:
    """Rows with the outcome known (orders: of those retained), sampled; and how many there were."""
    rows = panel.answered(linkage.exposure)
    known = np.flatnonzero(rows[linkage.outcome].notna()) if linkage.outcome == "margin" else linkage.used
    used = known[systematic_sample(rows["customer"].to_numpy()[known], most_rows)]
    own = rows.iloc[used]
    kinds = np.array([_kind(name, linkage.exposure, panel) for name in linkage.design.columns])
    matrix = linkage.design.matrix
    blocks = {kind: matrix[np.ix_(used, np.flatnonzero(kinds == kind))] for kind in ("declared", "history", "period")}
    material = _Material(
        blocks={kind: block for kind, block in blocks.items() if block.shape[1]},
        outcome=own[linkage.outcome].to_numpy(dtype=float),
        score=own[linkage.exposure].to_numpy(dtype=float),
        single=(own[f"{linkage.exposure}_answers"] == 1).to_numpy(),
        customers=own["customer"].to_numpy(),
        periods=own["period"].to_numpy(),
        scale=panel.score_ranges[linkage.exposure],
    )
    return material, len(known)


def _kind(column: str, exposure: str, panel: Panel) -> str:
    """Which kind of control a column of the adjusted equation is."""
    name = re.sub(r"\[.*\]$", "", column).removesuffix("_missing")
    if name in ("Intercept", exposure):
        return ""
    if name == "period_label":
        return "period"
    return "declared" if name in (*panel.controls, *panel.segments) or re.match(r"control_\d+$", name) else "history"


def _samples(material: _Material) -> Iterator[tuple[str, Ints]]:
    """Name and rows of each sample that differs from all answers."""
    starts = np.flatnonzero(np.r_[True, material.customers[1:] != material.customers[:-1]])
    sizes = np.diff(np.r_[starts, len(material.customers)])
    everything = np.arange(len(material.customers))
    yield SAMPLES[0], everything
    if len(starts) < len(everything):
        turn = (material.customers[starts].astype(np.uint64) * np.uint64(2_654_435_761)) % np.uint64(2**32)
        chosen = (turn.astype(np.int64) * sizes) >> 32
        yield SAMPLES[1], starts
        yield SAMPLES[2], starts + chosen
    if 0 < material.single.sum() < len(everything):
        yield SAMPLES[3], np.flatnonzero(material.single)


def _part(material: _Material, picked: Ints) -> _Material:
    return _Material(
        blocks={kind: block[picked] for kind, block in material.blocks.items()},
        outcome=material.outcome[picked],
        score=material.score[picked],
        single=material.single[picked],
        customers=material.customers[picked],
        periods=material.periods[picked],
        scale=material.scale,
    )


def _control_sets(material: _Material) -> Iterator[tuple[str, bool]]:
    """Names of the control sets that the data have, each without and with period effects."""
    sets = [name for name, kinds in CONTROL_SETS.items() if all(kind in material.blocks for kind in kinds)]
    return product(sets, (False, True) if "period" in material.blocks else (False,))


def _models(outcome: str, values: Floats) -> list[tuple[str, Family]]:
    if outcome == "retained":
        return [("logit", "logit"), ("linear", "gaussian")]
    if float((values < 0).mean()) > MOST_NEGATIVE_ROWS or values.mean() <= 0:
        return [("linear", "gaussian")]
    return [("Poisson", "poisson"), ("linear", "gaussian")]


def _estimates(material: _Material, exposure: str, family: Family) -> tuple[list[_Estimate], int]:
    """Every control set, period effects out and in, and coding on one sample; and how many could not be estimated."""
    names, blocks = list(material.blocks), list(material.blocks.values())
    coded = {coding: _coded(material, coding, exposure) for coding in CODINGS}
    held = np.column_stack([np.ones(len(material.outcome)), *blocks])
    held[:, 1:] -= held[:, 1:].mean(axis=0)
    design = np.asfortranarray(np.column_stack([held, *(column for column, _ in coded.values())]))
    ends = np.cumsum([1, *(block.shape[1] for block in blocks)])
    places = {name: range(ends[index], ends[index + 1]) for index, name in enumerate(names)}
    choices, columns = [], []
    for (controls, with_period), (index, coding) in product(_control_sets(material), enumerate(CODINGS)):
        kinds = (*CONTROL_SETS[controls], *(("period",) if with_period else ()))
        own = [0, *(place for kind in kinds for place in places[kind]), held.shape[1] + index]
        if coded[coding][1] > 0 and _enough(material, len(own), family):
            choices.append((controls, "in" if with_period else "out", coding))
            columns.append(own)
    asked = len(list(_control_sets(material))) * sum(per_point > 0 for _, per_point in coded.values())
    if not choices:
        return [], asked
    scale = float(material.outcome.mean()) if family == "poisson" else 1.0
    outcome = material.outcome / scale
    fitted = _fit_all(design, outcome, columns, material.customers, family)
    per_point = np.array([coded[coding][1] for _, _, coding in choices])
    changes = average_changes(design, outcome, fitted, columns, material.customers, family, per_point)
    found = [
        _Estimate(choice, estimate * scale, error * scale, (len(outcome), changes.n_clusters))
        for choice, estimate, error in zip(choices, changes.estimates, changes.std_errors, strict=True)
        if np.isfinite(estimate)
    ]
    return found, asked - len(found)


def _fit_all(design: Floats, outcome: Floats, columns: Sequence[list[int]], customers: Ints, family: Family) -> Floats:
    """Coefficients of the equations with these columns, near the maximum, shape (K, J)."""
    widest = max(columns, key=len)
    kept = [widest[place] for place in independent_columns(design[:, widest])]
    full = fit(np.asfortranarray(design[:, kept]), outcome, customers, family=family)
    start = np.zeros(design.shape[1])
    if full.converged:
        start[kept] = full.coefficients
    restrictions = [Restriction(np.eye(design.shape[1])[:, own]) for own in columns]
    return fit_restricted(design, outcome, restrictions, family=family, start=start)


def _enough(material: _Material, columns: int, family: Family) -> bool:
    if len(material.outcome) < FEWEST_ROWS or np.count_nonzero(np.diff(material.customers)) + 1 < FEWEST_CUSTOMERS:
        return False
    if family != "logit":
        return float(np.ptp(material.outcome)) > 0
    rarer = min(float(material.outcome.sum()), float((1 - material.outcome).sum()))
    return rarer >= FEWEST_EVENTS_A_COLUMN * columns


def _coded(material: _Material, coding: str, exposure: str) -> tuple[Floats, float]:
    """The coded score, centred (N,), and how much it changes per point of the answer; 0 where it cannot be used."""
    score = material.score
    if coding == CODINGS[0]:
        return score - score.mean(), 1.0 if float(np.ptp(score)) > 0 else 0.0
    if coding == CODINGS[1]:
        if material.periods.min() == material.periods.max():
            return score - score.mean(), 0.0  # the same as the answer
        by_period = pd.Series(score).groupby(material.periods)
        centred = (score - by_period.transform("mean")).to_numpy()
        spread = by_period.transform("std", ddof=0).to_numpy()
        coded = np.divide(centred, spread, out=np.zeros(len(score)), where=spread > 0)
        pooled = float(np.sqrt(np.mean(centred**2)))
        return coded, 1.0 / pooled if pooled > 0 else 0.0
    low, high = material.scale
    upper_lower = code_answers(score, "net", metric=exposure, low=low, high=high)[:, 0]
    upper_lower = upper_lower - upper_lower.mean()
    together = float((score - score.mean()) @ upper_lower)
    return upper_lower, float(upper_lower @ upper_lower) / together if together > 0 else 0.0


@dataclass(frozen=True)
class Changes:
    """Average change of the mean per point under each equation, and its clustered standard error, shape (J,) each.

    NaN where the equation had not settled.
    """

    estimates: Floats
    std_errors: Floats
    n_clusters: int


def average_changes(
    design: Floats,
    outcome: Floats,
    coefficients: Floats,
    columns: Sequence[list[int]],
    customers: Ints,
    family: Family,
    per_point: Floats,
) -> Changes:
    """Average change of the mean when the last column of each equation rises by ``per_point``.

    Parameters
    ----------
    design : array, shape (N, K)
    outcome : array, shape (N,)
    coefficients : array, shape (K, J)
        Near the maximum; brought there by one more Newton step (a linear equation from anywhere).
    columns : sequence of list of int
        Columns of each of the J equations, the score last.
    customers : array, shape (N,)
        Sorted codes.
    family : {"gaussian", "logit", "poisson"}
    per_point : array, shape (J,)
        In units of the score's column.

    Notes
    -----
    Delta method with the clustered sandwich of :func:`cxroi.linkage.fit.fit`, its factor too.

    Examples
    --------
    >>> design, outcome = np.column_stack([np.ones(6), np.arange(6.0)]), np.array([1.0, 3, 5, 7, 9, 11])
    >>> near = np.array([[1.0], [2.0]])
    >>> average_changes(design, outcome, near, [[0, 1]], np.arange(6), "gaussian", np.array([0.5])).estimates.round(6)
    array([1.])
    """
    n, scored = len(design), [own[-1] for own in columns]
    predictor = design @ coefficients
    now = mean(predictor, family)
    gradient = design.T @ (outcome[:, None] - now)
    inverse = _inverses(design, now, columns, family)
    settled = coefficients.copy()
    for index, own in enumerate(columns):
        step = inverse[index] @ gradient[own, index]
        near = float(step @ gradient[own, index]) < LONGEST_STEP**2
        settled[own, index] += step if near or family == "gaussian" else np.nan
    rise = per_point * settled[scored, np.arange(len(columns))]
    predictor = design @ settled
    now, higher = mean(predictor, family), mean(predictor + rise, family)
    slope_higher = mean_slope(higher, family)
    towards = design.T @ (slope_higher - mean_slope(now, family)) / n
    towards[scored, np.arange(len(columns))] += per_point * slope_higher.mean(axis=0)
    bread = np.zeros_like(settled)
    for index, own in enumerate(columns):
        bread[own, index] = inverse[index] @ towards[own, index]
    starts = np.flatnonzero(np.r_[True, customers[1:] != customers[:-1]])
    sums = np.add.reduceat((outcome[:, None] - now) * (design @ bread), starts, axis=0)
    groups = len(starts)
    width = np.array([len(own) for own in columns])
    factor = groups / max(groups - 1, 1) * (n - 1) / np.maximum(n - width, 1)
    return Changes((higher - now).mean(axis=0), np.sqrt(factor * (sums**2).sum(axis=0)), groups)


def _inverses(design: Floats, fitted: Floats, columns: Sequence[list[int]], family: Family) -> list[Floats]:
    """Inverse information of each equation at its fitted means (N, J), shape (k, k) each."""
    shared = design.T @ design if family == "gaussian" else None
    found: list[Floats] = []
    for index, own in enumerate(columns):
        if shared is None:
            scaled = design[:, own] * np.sqrt(mean_slope(fitted[:, index], family))[:, None]
            information = scaled.T @ scaled
        else:
            information = shared[np.ix_(own, own)]
        found.append(np.asarray(np.linalg.pinv(information, hermitian=True), dtype=np.float64))
    return found


def _limits(one: _Estimate) -> tuple[float, float, float, float, float]:
    """Estimate, standard error, 95 % limits, p-value."""
    freedom = max(one.size[1] - 1, 1)
    reach = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * one.std_error
    p_value = float(2 * special.stdtr(freedom, -abs(one.estimate) / one.std_error)) if one.std_error > 0 else np.nan
    return one.estimate, one.std_error, one.estimate - reach, one.estimate + reach, p_value
