"""How strong an unseen confounder would have to be to overturn an estimate, against what the observed controls do.

Robustness value and benchmarks are those of the linear model on the same rows and columns; they are carried to the
scale of the average over the base by the ratio of the two estimates, so a logit or a log link is read as its own
straight line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import linalg, special

from cxroi.errors import InputError
from cxroi.linkage import Linkage
from cxroi.linkage.design import BEND
from cxroi.linkage.fit import Floats, Ints
from cxroi.linkage.satisfaction import COLUMNS

RARE_SHARE = 0.15  # below it an odds ratio is close to a risk ratio: VanderWeele & Ding (2017), table 2
RATIO_PER_DEVIATION = 0.91  # log risk ratio of a standardised difference: the same table
LARGEST_SCALE = 4.0  # linear and non-linear estimate further apart are not each other's rescaling
MULTIPLES = (1.0, 2.0, 3.0)
SQUARES_LOST = 1e-10  # share of a column's squares below which nothing of it is left
HISTORY_BLOCKS = {
    "tenure": ("tenure", "log_observed"),
    "past orders": ("order",),
    "past spending": ("margin", "basket", "revenue"),
}


# Arithmetic: Cinelli & Hazlett


def partial_r2(t_statistic: float, dof: float) -> float:
    """Share of the outcome's remaining variance that a column explains, from its t-statistic in a linear model.

    Parameters
    ----------
    t_statistic : float
        With classical (not clustered) standard error.
    dof : float
        Residual degrees of freedom, N - k.

    Notes
    -----
    Source: Cinelli & Hazlett (2020), Journal of the Royal Statistical Society B 82:39, section 4.1.

    Examples
    --------
    >>> round(partial_r2(4.184450, 783), 6)
    0.021873
    """
    return t_statistic**2 / (t_statistic**2 + dof)


def robustness_value(t_statistic: float, dof: float, *, q: float = 1.0, alpha: float | None = None) -> float:
    """Partial R² that an unseen confounder needs with both score and outcome to overturn a linear estimate.

    Parameters
    ----------
    t_statistic, dof : float
        As in :func:`partial_r2`.
    q : float
        Share of the estimate to be explained away; 1 brings it to 0.
    alpha : float, optional
        Bring the estimate only inside the margin of error at this level; by default to the point itself.

    Returns
    -------
    float
        0..1; 0 where the interval holds the point already.

    Notes
    -----
    Source: Cinelli & Hazlett (2020), section 4.2, with the bound of their later erratum where the confounder need not
    be equally strong on both sides.

    Examples
    --------
    >>> round(robustness_value(4.184450, 783), 6), round(robustness_value(4.184450, 783, alpha=0.05), 6)
    (0.138776, 0.076258)
    """
    critical = 0.0
    if alpha is not None:
        critical = float(special.stdtrit(dof - 1, 1 - alpha / 2)) / np.sqrt(dof - 1)
    return _robustness(q * abs(t_statistic) / np.sqrt(dof), critical)


def confounder_as_strong_as(r2_score: float, r2_outcome: float, multiple: float) -> tuple[float, float]:
    """Partial R² with score and outcome of an unseen confounder so many times as strong as observed columns.

    Parameters
    ----------
    r2_score : float
        Partial R² of the observed columns with the score, given the other columns.
    r2_outcome : float
        The same with the outcome, given the score too.
    multiple : float
        How many times as strong the unseen confounder is on both sides.

    Returns
    -------
    tuple of float
        With the score and with the outcome; NaN both where no such confounder can exist beside the columns: it would have
        to explain more than there is.

    Notes
    -----
    Source: Cinelli & Hazlett (2020), section 4.4 and appendix B.

    Examples
    --------
    >>> np.round(confounder_as_strong_as(0.0090811, 0.1090341, 1.0), 4).tolist()
    [0.0092, 0.1246]
    """
    with_score = multiple * r2_score / (1 - r2_score) if r2_score < 1 else np.inf
    with_columns = multiple * r2_score**2 / max((1 - multiple * r2_score) * (1 - r2_score), 1e-300)
    if with_score >= 1 or multiple * r2_score >= 1 or with_columns >= 1 or r2_outcome >= 1:
        return np.nan, np.nan
    strength = (np.sqrt(multiple) + np.sqrt(with_columns)) / np.sqrt(1 - with_columns)
    with_outcome = float(strength**2 * r2_outcome / (1 - r2_outcome))
    return (with_score, with_outcome) if with_outcome <= 1 else (np.nan, np.nan)


def with_confounder(
    estimate: float, std_error: float, dof: float, *, r2_score: float, r2_outcome: float
) -> tuple[float, float]:
    """Linear estimate and standard error with an unseen confounder of given strength held fixed too, its sign against the estimate.

    Parameters
    ----------
    estimate, std_error, dof : float
        Without the confounder; classical standard error.
    r2_score, r2_outcome : float
        Partial R² of the confounder with the score, and with the outcome given the score.

    Notes
    -----
    Exact for a linear model. Source: Cinelli & Hazlett (2020), equations 11 and 13.

    Examples
    --------
    >>> np.round(with_confounder(0.09731582, 0.02325654, 783, r2_score=0.009164287, r2_outcome=0.1246409), 6).tolist()
    [0.07522, 0.021873]
    """
    bias = std_error * np.sqrt(dof) * np.sqrt(r2_outcome * r2_score / (1 - r2_score))
    error = std_error * np.sqrt((1 - r2_outcome) / (1 - r2_score) * dof / (dof - 1))
    return float(np.sign(estimate) * (abs(estimate) - bias)), float(error)


def _robustness(strength: float, critical: float) -> float:
    """Robustness value from Cohen's f of the estimate and of the margin of error."""
    apart = strength - critical
    if apart <= 0:
        return 0.0
    if critical > 0 and strength > 1 / critical:
        return float((strength**2 - critical**2) / (1 + strength**2))
    return float((np.sqrt(apart**4 + 4 * apart**2) - apart**2) / 2)


# Arithmetic: E-values


def e_value(ratio: float) -> float:
    """Risk ratio that an unseen confounder needs with both score and outcome to explain a risk ratio away.

    Parameters
    ----------
    ratio : float
        Risk or rate ratio, above 0; ratios below 1 are turned round.

    Notes
    -----
    Source: VanderWeele & Ding (2017), Annals of Internal Medicine 167:268.

    Examples
    --------
    >>> round(e_value(3.9), 6), round(e_value(0.80), 6)
    (7.263034, 1.809017)
    """
    turned = max(ratio, 1 / ratio)
    return float(turned + np.sqrt(turned * (turned - 1)))


def e_value_limit(conf_low: float, conf_high: float) -> float:
    """E-value of the end of a risk ratio's interval that lies closer to 1; 1 where the interval holds 1.

    Examples
    --------
    >>> round(e_value_limit(1.8, 8.7), 6), e_value_limit(0.9, 1.2)
    (3.0, 1.0)
    """
    if conf_low <= 1 <= conf_high:
        return 1.0
    return e_value(conf_low if conf_low > 1 else conf_high)


def risk_ratio(odds_ratio: float, *, share: float) -> float:
    """Risk ratio that stands for an odds ratio: itself where the outcome or its opposite is rare, else its square root.

    Parameters
    ----------
    odds_ratio : float
    share : float
        Share of rows with the outcome, 0..1. Where more than 85 % have it, the ratio is that of the opposite.

    Notes
    -----
    Source: VanderWeele & Ding (2017), table 2; square root: VanderWeele (2017), Biometrics 73:1268.

    Examples
    --------
    >>> risk_ratio(1.44, share=0.4), risk_ratio(1.44, share=0.93)
    (1.2, 1.44)
    """
    return odds_ratio if min(share, 1 - share) < RARE_SHARE else float(np.sqrt(odds_ratio))


# The linear model of a linkage


@dataclass(frozen=True)
class LinearModel:
    """Straight line through the rows of a linkage.

    Attributes
    ----------
    estimate, std_error : float
        Of the score, in the outcome's unit per point; the error is the classical one, as the theory wants.
    dof : int
        N - k.
    strengths : DataFrame
        ``benchmark, columns, r2_score, r2_outcome``: partial R² of each group of columns with the score given the other
        columns, and with the outcome given score and other columns.
    """

    estimate: float
    std_error: float
    dof: int
    strengths: pd.DataFrame

    @property
    def partial_r2(self) -> float:
        """Of the score with the outcome."""
        return partial_r2(self.estimate / self.std_error, self.dof)


def linear_model(
    design: Floats, outcome: Floats, shift: Floats, groups: Mapping[str, Sequence[int]] | None = None
) -> LinearModel:
    """Least squares with the partial R² of groups of columns, all from one table of cross products.

    Parameters
    ----------
    design : array, shape (N, k)
        Independent columns.
    outcome : array, shape (N,)
    shift : array, shape (k,)
        Change of the columns for one point of the score.
    groups : mapping of str to sequence of int, optional
        Columns of each benchmark.

    Raises
    ------
    InputError
        If the outcome follows exactly from the columns, or the score from the others.

    Notes
    -----
    Source: Cinelli & Hazlett (2020), section 4.3 and 4.4.
    """
    cross = _cross_products(design, outcome)
    k = design.shape[1]
    score = int(np.flatnonzero(shift)[0])
    turn = np.eye(k + 1)
    turn[score, :k] -= shift / shift[score]
    turn[score, score] = 1 / shift[score]
    cross = turn.T @ cross @ turn
    controls = [column for column in range(k) if column != score]
    dof = len(design) - k
    score_left = _squares_left(cross, score, controls)
    outcome_left = _squares_left(cross, k, range(k))
    if score_left <= SQUARES_LOST * cross[score, score] or outcome_left <= SQUARES_LOST * cross[k, k]:
        raise InputError(
            "a robustness value must have something left to explain; score or outcome follow exactly from the other "
            "columns. Leave out the control that repeats them."
        )
    estimate = (cross[score, k] - _explained(cross, score, k, controls)) / score_left
    rows = []
    for name, columns in (groups or {}).items():
        others = [column for column in controls if column not in set(columns)]
        without, without_outcome = _squares_left(cross, score, others), _squares_left(cross, k, [*others, score])
        r2_score, r2_outcome = 1 - score_left / without, 1 - outcome_left / without_outcome
        rows.append((name, len(columns), max(r2_score, 0.0), max(r2_outcome, 0.0)))
    return LinearModel(
        estimate=float(estimate),
        std_error=float(np.sqrt(outcome_left / dof / score_left)),
        dof=dof,
        strengths=pd.DataFrame(rows, columns=["benchmark", "columns", "r2_score", "r2_outcome"]),
    )


def _cross_products(design: Floats, outcome: Floats) -> Floats:
    """Cross products of the columns and, last, the outcome, shape (k+1, k+1)."""
    k = design.shape[1]
    cross = np.empty((k + 1, k + 1))
    cross[:k, :k] = design.T @ design
    cross[:k, k] = cross[k, :k] = design.T @ outcome
    cross[k, k] = outcome @ outcome
    return cross


def _explained(cross: Floats, first: int, second: int, by: Sequence[int] | range) -> float:
    """Part of the cross product of two columns that other columns explain."""
    if not len(by):
        return 0.0
    scale = np.sqrt(np.diag(cross)[list(by)])
    inner = cross[np.ix_(by, by)] / np.outer(scale, scale)
    solved = linalg.lstsq(inner, cross[list(by), second] / scale, lapack_driver="gelsy")[0]
    return float(cross[first, list(by)] / scale @ solved)


def _squares_left(cross: Floats, column: int, by: Sequence[int] | range) -> float:
    return float(cross[column, column] - _explained(cross, column, column, by))


# The result


@dataclass(frozen=True)
class Ratio:
    """A linkage as a ratio for one point, with its interval, and the share that decides how an odds ratio is read.

    ``kind`` is ``odds_ratio``, ``rate_ratio``, ``mean_ratio`` (amounts with the left at 0) or ``standardised`` (risk ratio
    that stands for a difference in standard deviations).
    """

    kind: str
    estimate: float
    conf_low: float
    conf_high: float
    share: float

    def risk_ratios(self, points: float) -> tuple[float, float, float]:
        """Estimate and limits as risk ratios for so many points."""
        ratios = (self.estimate**points, self.conf_low**points, self.conf_high**points)
        if self.kind != "odds_ratio":
            return ratios
        estimate, low, high = (risk_ratio(ratio, share=self.share) for ratio in ratios)
        return estimate, low, high


@dataclass(frozen=True)
class Sensitivity:
    """What it takes to overturn a linkage.

    Attributes
    ----------
    estimate, std_error, critical_value : float
        Average over the base for one point, in ``unit``, as the linkage reports it.
    linear : LinearModel
        On the same rows and columns.
    scale : float
        Estimate over the linear model's; 1 where the two are not each other's rescaling (``rescaled`` is False).
    ratio : Ratio or None
        For E-values; None where no ratio can be formed.
    answer_deviation : float
        Standard deviation of the answers (or of expected satisfaction, where the linkage uses that), points.
    """

    outcome: str
    exposure: str
    method: str
    unit: str
    estimate: float
    std_error: float
    critical_value: float
    linear: LinearModel
    scale: float
    rescaled: bool
    ratio: Ratio | None
    answer_deviation: float

    def __repr__(self) -> str:
        return repr(self.tidy())

    def robustness_value(self, *, q: float = 1.0, to: str = "zero") -> float:
        """Partial R² with score and outcome that brings the estimate to 0 (``zero``) or its interval to 0 (``interval``)."""
        linear = self.linear
        unit_bias = abs(self.scale) * linear.std_error * np.sqrt(linear.dof)
        margin = (
            self.critical_value * self.std_error * np.sqrt(linear.dof / (linear.dof - 1)) if to == "interval" else 0
        )
        return _robustness(q * abs(self.estimate) / unit_bias, margin / unit_bias)

    def tidy(self) -> pd.DataFrame:
        """One row per measure: ``outcome, exposure, method, measure, estimate, conf_low, conf_high, unit``."""
        margin = self.critical_value * self.std_error
        rows = [
            ("difference", self.estimate, self.estimate - margin, self.estimate + margin, self.unit),
            ("linear_difference", self.linear.estimate, np.nan, np.nan, self.unit),
            ("partial_r2", self.linear.partial_r2, np.nan, np.nan, "share of variance"),
            ("robustness_value", self.robustness_value(), np.nan, np.nan, "share of variance"),
            ("robustness_value_interval", self.robustness_value(to="interval"), np.nan, np.nan, "share of variance"),
        ]
        if self.ratio is not None:
            ratio = self.ratio
            rows.append((ratio.kind, ratio.estimate, ratio.conf_low, ratio.conf_high, "ratio per point"))
            for name, points, words in (
                ("", 1.0, "one point"),
                ("_deviation", self.answer_deviation, "one standard deviation"),
            ):
                estimate, low, high = ratio.risk_ratios(points)
                unit = f"risk ratio, {words}"
                rows.append((f"e_value{name}", e_value(estimate), np.nan, np.nan, unit))
                rows.append((f"e_value_limit{name}", e_value_limit(low, high), np.nan, np.nan, unit))
        table = pd.DataFrame(rows, columns=["measure", "estimate", "conf_low", "conf_high", "unit"])
        for position, name in enumerate(("outcome", "exposure", "method")):
            table.insert(position, name, getattr(self, name))
        return table

    def glance(self) -> pd.DataFrame:
        """One row: each measure of :meth:`tidy` as a column."""
        tidy = self.tidy()
        wide = tidy.set_index("measure")["estimate"].to_frame().T.reset_index(drop=True).rename_axis(columns=None)
        for position, name in enumerate(("outcome", "exposure", "method")):
            wide.insert(position, name, getattr(self, name))
        return wide

    def benchmarks(self, multiples: Sequence[float] = MULTIPLES) -> pd.DataFrame:
        """What the estimate would be with a confounder as strong as observed columns held fixed too.

        Parameters
        ----------
        multiples : sequence of float
            How many times as strong.

        Returns
        -------
        DataFrame
            ``benchmark, columns, multiple, r2_score, r2_outcome, estimate, std_error, conf_low, conf_high, unit, possible``;
            the confounder works against the estimate. Where ``possible`` is False the columns explain so much of score or
            outcome that nothing so strong can stand beside them, and the figures are empty.
        """
        rows = []
        known = self.linear.strengths
        strengths = known[["r2_score", "r2_outcome"]].to_numpy(dtype=float)
        for name, columns, (of_score, of_outcome) in zip(known["benchmark"], known["columns"], strengths, strict=True):
            for multiple in multiples:
                r2_score, r2_outcome = confounder_as_strong_as(float(of_score), float(of_outcome), multiple)
                estimate, error = self.confounded(r2_score, r2_outcome)
                margin = self.critical_value * error
                figures = (r2_score, r2_outcome, estimate, error, estimate - margin, estimate + margin)
                rows.append((name, columns, multiple, *figures, self.unit, np.isfinite(r2_score)))
        names = ["benchmark", "columns", "multiple", "r2_score", "r2_outcome", "estimate", "std_error"]
        return pd.DataFrame(rows, columns=[*names, "conf_low", "conf_high", "unit", "possible"])

    def confounded(self, r2_score: float, r2_outcome: float) -> tuple[float, float]:
        """Estimate and standard error, in ``unit``, with a confounder of given partial R² held fixed too."""
        linear = self.linear
        strengths = {"r2_score": r2_score, "r2_outcome": r2_outcome}
        moved, error = with_confounder(abs(linear.estimate), linear.std_error, linear.dof, **strengths)
        bias = abs(self.scale) * (abs(linear.estimate) - moved)
        return (
            float(np.sign(self.estimate) * (abs(self.estimate) - bias)),
            float(self.std_error * error / linear.std_error),
        )


def sensitivity(linkage: Linkage) -> Sensitivity:
    """What an unseen confounder would need to overturn a linkage.

    Parameters
    ----------
    linkage : Linkage
        Raw or adjusted, of any outcome. A raw one has no columns to compare a confounder with.

    Returns
    -------
    Sensitivity
        Robustness values, benchmarks from each declared control and block of history, E-values.

    Raises
    ------
    InputError
        If the linkage has no score, or its score predicts retention perfectly.

    Notes
    -----
    Assumes that the confounder enters like one more column, and that clustering widens the interval with it as without it.
    Source: Cinelli & Hazlett (2020); VanderWeele & Ding (2017).
    """
    if not linkage.exposure or linkage.separated:
        raise InputError(
            "a sensitivity analysis must have a score with a finite estimate; "
            + (f"{', '.join(linkage.separated)} predicts retention perfectly" if linkage.separated else "got no score")
            + ". Use a score given before the outcome."
        )
    shift = _shift(linkage)
    rows, outcome = _rows_and_outcome(linkage)
    whole = len(rows) == len(linkage.design.matrix)
    matrix = linkage.design.matrix if whole else linkage.design.matrix[rows]
    linear = linear_model(matrix, outcome, shift, benchmark_columns(linkage, shift))
    average = linkage.marginal_effect().iloc[0]
    estimate, error = float(average["estimate"]), float(average["std_error"])
    critical = (float(average["conf_high"]) - estimate) / error
    scale = estimate / linear.estimate if linear.estimate else np.inf
    rescaled = bool(1 / LARGEST_SCALE <= scale <= LARGEST_SCALE)
    return Sensitivity(
        outcome=linkage.outcome,
        exposure=linkage.exposure,
        method=linkage.method,
        unit=str(average["unit"]),
        estimate=estimate,
        std_error=error,
        critical_value=critical,
        linear=linear,
        scale=scale if rescaled else 1.0,
        rescaled=rescaled,
        ratio=_ratio(linkage, shift, outcome, (estimate, error, critical)),
        answer_deviation=float(linkage.panel.answered(linkage.exposure)[linkage.exposure].std()),
    )


def sensitivity_checks(found: Sensitivity) -> pd.DataFrame:
    """Verdict on unseen confounding: ``name, verdict, number, advice``.

    ``unseen confounder`` (number: robustness value of the interval) passes where the interval stays off 0 with a
    confounder as strong as any observed control or block of history, warns where the interval reaches 0, where it does
    so already, or where nothing is there to compare with, and fails where the estimate itself changes sign.
    ``e-value`` (number: of the limit, one standard deviation of the answers) warns where the interval holds no difference.

    Source: Cinelli & Hazlett (2020), section 4.4; VanderWeele & Ding (2017).
    """
    verdict, advice = _confounder_verdict(found)
    rows = [("unseen confounder", verdict, found.robustness_value(to="interval"), advice)]
    if found.ratio is not None:
        estimate, low, high = found.ratio.risk_ratios(found.answer_deviation)
        limit = e_value_limit(low, high)
        advice = (
            f"per standard deviation of the answers the risk ratio is {estimate:.2f}; to explain it away a confounder must go "
            f"with score and outcome by a risk ratio of {e_value(estimate):.2f} each, {limit:.2f} for the interval"
        )
        rows.append(("e-value", "pass" if limit > 1 else "warn", limit, advice))
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _confounder_verdict(found: Sensitivity) -> tuple[str, str]:
    value, to_interval = found.robustness_value(), found.robustness_value(to="interval")
    needed = (
        f"a confounder must explain {value:.1%} of what is left of score and outcome to bring the estimate to 0, "
        f"{to_interval:.1%} to bring its interval there"
    )
    if to_interval == 0:
        return "warn", "the interval holds 0 as it is: there is nothing to overturn"
    table = found.benchmarks((1.0,))
    if table.empty:
        return "warn", f"{needed}; no control or history is in the equation to compare that with"
    sign = np.sign(found.estimate)
    worst = table.iloc[int((table["estimate"] * sign).fillna(np.inf).to_numpy().argmin())]
    if not table["possible"].any():
        return "warn", f"{needed}; the controls explain too much for anything as strong to stand beside them"
    compared = f"one as strong as {worst['benchmark']} would leave {_figure(float(worst['estimate']))} {found.unit}"
    if worst["estimate"] * sign <= 0:
        return "fail", f"{needed}; {compared}: measure what it could be, or run a pilot"
    limits = (table["conf_low"] if sign > 0 else table["conf_high"]) * sign
    if (limits <= 0).any():
        return "warn", f"{needed}; {compared}, and its interval would hold 0"
    if not table["possible"].all():
        close = ", ".join(table.loc[~table["possible"], "benchmark"])
        return "warn", f"{needed}; {compared}; nothing as strong as {close} can stand beside it"
    return "pass", f"{needed}; {compared}, and its interval would still be off 0"


def _figure(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1_000 else f"{number:.3g}"


# From a linkage to arrays


def benchmark_columns(linkage: Linkage, shift: Floats) -> dict[str, list[int]]:
    """Positions of the columns of each declared control and each block of history, by name.

    The score, what earlier answers say of satisfaction, the constant and periods are left out: no confounder is like them.

    Parameters
    ----------
    linkage : Linkage
    shift : array, shape (k,)
        Change of its columns for one point; the columns of the score are those that change or name it.
    """
    declared = list(dict.fromkeys([*linkage.panel.controls, *linkage.panel.segments]))
    design = linkage.design
    aliases = {alias: name for name, alias in design.preparation.aliases.items()}
    groups: dict[str, list[int]] = {}
    for position, column in enumerate(design.columns):
        name = column.partition("[")[0].removesuffix("_missing")
        own = shift[position] or column in design.of_score or column in (*COLUMNS, BEND)
        if own or name in ("Intercept", "period_label"):
            continue
        name = aliases.get(name, name)
        if name not in declared and ":" not in column:
            name = next((block for block, parts in HISTORY_BLOCKS.items() if any(part in name for part in parts)), name)
        groups.setdefault(name, []).append(position)
    return groups


def _shift(linkage: Linkage) -> Floats:
    shift = linkage.design.shift
    if shift is None:
        shift = linkage.slopes.average_change()
    return np.asarray(shift, dtype=np.float64)


def _rows_and_outcome(linkage: Linkage) -> tuple[Ints, Floats]:
    """Rows of the linear model and their outcomes: those of the fit, and where the left count as 0 theirs too."""
    values = linkage.panel.answered(linkage.exposure)[linkage.outcome].to_numpy(dtype=float)
    rows = np.flatnonzero(np.isfinite(values)) if counts_the_left(linkage) else linkage.used
    return rows, values[rows]


def counts_the_left(linkage: Linkage) -> bool:
    """Whether the average of an amount counts those who left as 0."""
    return linkage.retention is not None and linkage.outcome != "orders"


def _ratio(linkage: Linkage, shift: Floats, outcome: Floats, average: tuple[float, float, float]) -> Ratio | None:
    """The linkage as a ratio; None where amounts are so near or below 0 that no ratio can be formed."""
    estimate, error, critical = average
    family = linkage.fitted.family
    if family == "gaussian":
        deviation = float(outcome.std())
        middle, spread, kind = RATIO_PER_DEVIATION * estimate / deviation, error / deviation, "standardised"
        spread *= RATIO_PER_DEVIATION
    elif counts_the_left(linkage):
        level = float(outcome.mean()) if linkage.level is None else linkage.level[0]
        if level <= 0 or level + estimate <= 0:
            return None
        middle, spread, kind = float(np.log1p(estimate / level)), error / (level + estimate), "mean_ratio"
    else:
        middle = float(shift @ linkage.fitted.coefficients)
        spread = float(np.sqrt(shift @ linkage.fitted.covariance @ shift))
        kind = "odds_ratio" if family == "logit" else "rate_ratio"
    low, central, high = np.exp([middle - critical * spread, middle, middle + critical * spread])
    return Ratio(kind, float(central), float(low), float(high), float(np.clip(outcome.mean(), 0, 1)))
