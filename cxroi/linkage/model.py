"""One equation from a score to what customers did next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import formulaic
import numpy as np
import pandas as pd
from formulaic.errors import FormulaicError
from numpy.typing import NDArray
from scipy import sparse, special

from cxroi.errors import InputError
from cxroi.linkage.calibrated import Calibrated, Changes, add_satisfaction_error, calibrated, score_terms
from cxroi.linkage.design import (
    BEND,
    OBSERVED,
    Design,
    adjusted_terms,
    build_design,
    prepare,
    tenure_begins_with_data,
)
from cxroi.linkage.effects import Effect, Slopes, average_effect, average_product_effect, level_shift
from cxroi.linkage.fit import (
    WORKERS,
    Family,
    Fit,
    Floats,
    Ints,
    fit,
    independent_columns,
    inflation,
    joint_variance,
    mean,
    response_to_design,
    with_nuisance,
)
from cxroi.linkage.history import NET_COLUMNS, NetHistory, net_basket_by_slope, net_orders_by_slope
from cxroi.linkage.ladder import CRITICAL, Rung, can_lead, grade
from cxroi.linkage.placebo import Placebo, placebo
from cxroi.linkage.separation import firth, separating_direction
from cxroi.linkage.weights import Calibration, calibrate
from cxroi.panel import FURTHER_OUTCOMES, METRICS, Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AMOUNTS = ("revenue", "margin", *FURTHER_OUTCOMES)  # those who left count as 0
FAMILIES: dict[str, Family] = {"retained": "logit", "orders": "poisson", **dict.fromkeys(AMOUNTS, "poisson")}
STANDARD_OUTCOMES = ("retained", "orders", "margin")  # these decide which method leads
EVERY_OUTCOME = (*STANDARD_OUTCOMES, *FURTHER_OUTCOMES)
NOT_IN_DATA = {
    "referrals": "the data have no referrals, neither as a table nor as a column of outcomes",
    "service_cost": "the data have no touches with a stated cost, nor service_cost as a column of outcomes",
}
METHODS = ("raw", "adjusted", "calibrated", "within")
WIDE_RELIABILITY = 0.3
MOST_INFLATION = 2.5  # of the error of retention by holding past satisfaction fixed
PATH = "satisfaction_path"
OF_SURVIVAL = (PATH, OBSERVED)  # held fixed where staying is the outcome: who was seen longer had more chances to leave
NOTHING_TO_HOLD = "no controls, history or periods to hold fixed"
FEWEST_CUSTOMERS = 50
FEWEST_EVENTS = 10
FEWEST_EVENTS_A_COLUMN = 5  # Vittinghoff & McCulloch (2007), American Journal of Epidemiology 165:710
SUSPICIOUS_PREDICTOR = 15.0
MOST_NEGATIVE_ROWS = 0.05
CONFIDENCE = 0.95
NETTING_STEPS, NETTING_TOLERANCE = 6, 1e-5
LARGEST_GAIN = 0.9  # of the netting map; keeps a noisy fixed point from running away


@dataclass(frozen=True)
class Linkage:
    """A fitted relation of a score to an outcome of the next period.

    Attributes
    ----------
    formula : str
    outcome, exposure : str
        ``retained``, ``orders``, ``revenue``, ``margin``, ``referrals`` or ``service_cost``; ``nps``, ``csat`` or
        ``ces``.
    method : str
        ``raw`` (score only) or ``adjusted``.
    separated : tuple of str
        Columns, the score among them, that predict retention perfectly; then the fit is Firth's penalised one and its
        figures are no headline.
    predicting : tuple of str
        Controls that predict some rows perfectly while the score does not; the fit is Firth's, the score's effect finite.
    retention : Linkage or None
        For amounts: the equation of being retained, by which the amount's average effect counts those who left as 0.
    scores : Calibrated or None
        Expected satisfaction in place of single answers, where the method uses it.
    placebo : Placebo or None
        Whether orders before an answer leave it alone, where answers are repeated enough to see.
    silent_rows : int
        Rows left out because nobody of their period or level has any of the outcome.
    """

    panel: Panel
    formula: str
    outcome: str
    exposure: str
    method: str
    design: Design
    fitted: Fit
    used: Ints
    calibration: Calibration
    level: tuple[float, float] | None
    separated: tuple[str, ...] = ()
    predicting: tuple[str, ...] = ()
    retention: Linkage | None = None
    scores: Calibrated | None = None
    placebo: Placebo | None = None
    silent_rows: int = 0

    def __repr__(self) -> str:
        return repr(self.tidy())

    @property
    def evidence(self) -> Rung:
        """Rung of the claim ladder."""
        return grade(self.method, self.panel.timing, placebo_passes=self.placebo is None or self.placebo.passes)

    @cached_property
    def slopes(self) -> Slopes:
        """The equation at every answered row (also those who left)."""
        change = self._change()
        return Slopes(self.design.matrix, change, self.fitted.coefficients, self.fitted.family)

    def _change(self) -> Floats | sparse.csr_array:
        """Change of the columns for one point, the same for every equation whose score and bend stand at the same places."""
        design, rows = self.design, _answered(self.panel, self.exposure)
        if BEND not in design.columns:
            return design.change(rows)
        places = (len(design.columns), design.columns.index(self.exposure), design.columns.index(BEND))
        centre = design.preparation.bends
        return self.panel.once(f"change of {self.exposure} at {places} about {centre}", lambda: design.change(rows))

    @cached_property
    def effect(self) -> Effect:
        """Average effect of one point over the base, with its gradient (own coefficients; retention's first where it is a product)."""
        level = None if self.level is None else self.level[0]
        if self.retention is None or self.outcome == "orders":
            rows = self._rows_of_average()
            return average_effect(self.slopes.at(rows), self.calibration.weights[rows], level)
        kept = None if self.retention.level is None else self.retention.level[0]
        return average_product_effect(self.retention.slopes, self.slopes, self.calibration.weights, (kept, level))

    def _rows_of_average(self) -> Ints | slice:
        return self.used if len(self.used) < len(self.slopes.design) else slice(None)

    @cached_property
    def std_error(self) -> float:
        """Clustered standard error of the average effect by the delta method, with the sampling error of the base's level."""
        effect = self.effect
        equations = [self.fitted]
        if len(effect.gradient) > len(self.fitted.coefficients):
            assert self.retention is not None
            equations.insert(0, self.retention.fitted)
        variance = joint_variance(equations, effect.gradient)
        if self.level is not None:
            variance += effect.by_level**2 * self.level[1]
        return float(np.sqrt(variance))

    @cached_property
    def shift(self) -> float:
        """Shift of the linear predictor that brings the weighted mean to the base's level."""
        if self.level is None:
            return 0.0
        weights = self.calibration.weights
        if self.retention is not None and self.outcome != "orders":
            keep = mean(self.retention.slopes.predictors(self.retention.shift)[0], "logit")
            return level_shift(self.slopes, weights * keep, self.level[0] / float(np.average(keep, weights=weights)))
        rows = self._rows_of_average()
        return level_shift(self.slopes.at(rows), weights[rows], self.level[0])

    @property
    def critical_value(self) -> float:
        """Two-sided 95 % quantile of t with G-1 degrees of freedom, G customers."""
        quantile = (1 + CONFIDENCE) / 2
        return float(special.stdtrit(max(self.n_clusters - 1, 1), quantile))

    def tidy(self) -> pd.DataFrame:
        """One row per coefficient: ``term, estimate, std_error, conf_low, conf_high`` on the scale of the linear predictor."""
        error = self.fitted.std_errors
        return pd.DataFrame(
            {
                "term": self.design.columns,
                "estimate": self.fitted.coefficients,
                "std_error": error,
                "conf_low": self.fitted.coefficients - self.critical_value * error,
                "conf_high": self.fitted.coefficients + self.critical_value * error,
            }
        )

    def marginal_effect(self) -> pd.DataFrame:
        """One row: average change of the outcome in its own unit for one point, over the base, with its 95 % interval."""
        estimate, error = self.effect.estimate, self.std_error
        return pd.DataFrame(
            {
                "outcome": [self.outcome],
                "exposure": [self.exposure],
                "method": [self.method],
                "estimate": [estimate],
                "std_error": [error],
                "conf_low": [estimate - self.critical_value * error],
                "conf_high": [estimate + self.critical_value * error],
                "unit": [unit(self.outcome, self.panel.currency)],
                "evidence": [self.evidence],
            }
        )

    def glance(self) -> pd.DataFrame:
        """One row: rows, customers, family, log-likelihood, dispersion, convergence."""
        return pd.DataFrame(
            {
                "outcome": [self.outcome],
                "exposure": [self.exposure],
                "method": [self.method],
                "family": ["logit (Firth)" if self.separated or self.predicting else self.fitted.family],
                "n_obs": [self.fitted.n_obs],
                "n_clusters": [self.n_clusters],
                "log_likelihood": [self.fitted.log_likelihood],
                "dispersion": [self.fitted.dispersion],
                "converged": [self.fitted.converged],
            }
        )

    @cached_property
    def n_clusters(self) -> int:
        """Customers in the fit."""
        customers = _answered(self.panel, self.exposure)["customer"].to_numpy()[self.used]
        return int(np.count_nonzero(customers[1:] != customers[:-1])) + min(len(customers), 1)

    def _rarer_outcomes(self) -> float:
        left = (self.panel.answered(self.exposure)[self.outcome].to_numpy()[self.used] == 0).sum()
        return float(min(left, len(self.used) - left))

    def augment(self) -> pd.DataFrame:
        """The rows of the fit (codes, no ids) with ``fitted`` and ``residual`` in the outcome's unit."""
        rows = _answered(self.panel, self.exposure).iloc[self.used]
        fitted = mean(self.design.matrix[self.used] @ self.fitted.coefficients, self.fitted.family)
        return rows.assign(fitted=fitted, residual=rows[self.outcome].to_numpy() - fitted)

    def checks(self) -> pd.DataFrame:
        """What the fit rests on: one row a check, ``name, verdict, number, advice``."""
        rows: list[tuple[str, str, float, str]] = []
        timing = self.panel.timing
        advice = {
            "before": "every score was given before its outcome began",
            "inside": "the score is dated inside the outcome's period: it may be a result of the outcome; send surveys before, keep dates",
            "undated": "the score has no date: it may have been taken after the outcome; add answered_at",
        }[timing]
        rows.append(
            ("score before outcome", "pass" if timing == "before" else "fail", float(timing == "before"), advice)
        )
        rows.append(
            (
                "separation",
                "fail" if self.separated else "warn" if self.predicting else "pass",
                float(len(self.separated or self.predicting)),
                (
                    f"who stays is predicted without error by {', '.join(self.separated)}, so no finite odds ratio exists; "
                    "the penalised (Firth) figures are shown instead. A score that predicts perfectly was probably taken, "
                    "or derived, after the outcome"
                )
                if self.separated
                else f"{', '.join(self.predicting)} holds one outcome only; fitted with a penalty (Firth), the score's figure is finite"
                if self.predicting
                else "no column predicts retention perfectly",
            )
        )
        rows.append(
            (
                "convergence",
                "pass" if self.fitted.converged else "fail",
                float(self.fitted.iterations),
                "iterations of the fit",
            )
        )
        if self.outcome in FURTHER_OUTCOMES:
            told = "rows left out: in their period, or level of a control, nobody has any, so they say nothing of the score"
            rows.append(("levels without any", "warn" if self.silent_rows else "pass", float(self.silent_rows), told))
        if self.fitted.family == "poisson":
            over = self.fitted.dispersion > 1.2
            rows.append(
                (
                    "overdispersion",
                    "pass",
                    self.fitted.dispersion,
                    "the outcome varies more than Poisson; the intervals are clustered and do not rely on it"
                    if over
                    else "variance close to Poisson; the intervals do not rely on it",
                )
            )
        rows.append(
            (
                "customers",
                "pass",
                float(self.n_clusters),
                "errors are clustered by customer; intervals use a t distribution with one degree of freedom fewer",
            )
        )
        if self.fitted.family == "logit":
            rarer = self._rarer_outcomes() / max(len(self.design.columns) - 1, 1)
            few = rarer < FEWEST_EVENTS_A_COLUMN
            advice = "customers who left (or stayed, if fewer) for each column of the equation"
            rows.append(("events per column", "warn" if few else "pass", rarer, advice))
        known = calibrated(self.panel, self.exposure) if self.method == "adjusted" and self.exposure else None
        if self.scores is not None:
            rows += self._satisfaction_checks(self.scores)
        elif isinstance(known, str):
            rows.append(("reliability of one answer", "warn", np.nan, known))
        if self.placebo is not None:
            rows.append(self.placebo.check())
        if self.method not in ("raw",):
            left_over = self.calibration.imbalance_after
            rows.append(
                (
                    "answered against base",
                    "pass" if left_over < 0.1 else "warn" if left_over < 0.5 else "fail",
                    self.calibration.imbalance_before,
                    f"largest difference in standard deviations before weighting; {left_over:.3f} after",
                )
            )
            weights = self.calibration.weights[self.used]
            effective = float(weights.sum() ** 2 / (weights**2).sum())
            share = effective / len(weights)
            rows.append(
                (
                    "effective sample size",
                    "pass" if share > 0.3 else "warn",
                    effective,
                    f"{share:.0%} of the answers after weighting; {self.calibration.trimmed} weights trimmed",
                )
            )
        net = self.design.preparation.net
        if self.method != "raw" and net is not None and self.exposure:
            rows.append(
                (
                    "history net of satisfaction",
                    "pass" if net.nets else "warn",
                    net.order_slope,
                    "log orders per point that purchase history is net of"
                    if net.nets
                    else "nobody answered in two periods running, so history is held fixed as it is: the estimate may be too low",
                )
            )
        if self.design.dropped:
            rows.append(
                (
                    "collinear columns",
                    "warn",
                    float(len(self.design.dropped)),
                    f"left out, other columns determine them: {', '.join(self.design.dropped)}",
                )
            )
        if self.outcome in ("margin", "revenue"):
            negative = float((_answered(self.panel, self.exposure)[self.outcome].to_numpy()[self.used] < 0).mean())
            rows.append(
                (
                    "negative amounts",
                    "pass" if negative <= MOST_NEGATIVE_ROWS else "warn",
                    negative,
                    "share of rows below zero; "
                    + ("a linear model is used" if self.fitted.family == "gaussian" else "few enough for a log link"),
                )
            )
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])

    def _satisfaction_checks(self, scores: Calibrated) -> list[tuple[str, str, float, str]]:
        satisfaction = scores.satisfaction
        reach = CRITICAL * satisfaction.reliability_error
        low, high = satisfaction.reliability - reach, min(satisfaction.reliability + reach, 1.0)
        sure = high - low < WIDE_RELIABILITY
        rows = [
            (
                "reliability of one answer",
                "pass" if sure else "warn",
                satisfaction.reliability,
                f"share of an answer's variance that is satisfaction (95 %: {low:.2f} to {high:.2f}); the figure is corrected for the rest",
            )
        ]
        if self.outcome == "retained":
            held = PATH in self.design.columns
            advice = "past satisfaction is held fixed, so that those who stayed in spite of little of it do not blur the figure"
            lacking = (
                "too few repeated answers to hold past satisfaction fixed; where many leave, the figure is too small"
            )
            rows.append(("survivors", "pass" if held else "warn", float(held), advice if held else lacking))
        return rows

    def plot(self) -> Axes:
        """Observed outcome by answer with the fitted average; see ``cxroi.plots.linkage``."""
        from cxroi import plots  # a drawing room stands above this one; imported only when a picture is asked for

        axes: Axes = plots.linkage(
            self.curve(), outcome=self.outcome, exposure=self.exposure, currency=self.panel.currency
        )
        return axes

    def curve(self) -> pd.DataFrame:
        """Observed and fitted mean outcome by rounded answer: ``score, observed, std_error, fitted, n``."""
        rows = self.augment()
        answers = rows[self.exposure if self.scores is None else "satisfaction_answer"]
        grouped = rows.assign(score=answers.round()).groupby("score")
        return pd.DataFrame(
            {
                "observed": grouped[self.outcome].mean(),
                "std_error": grouped[self.outcome].sem(),
                "fitted": grouped["fitted"].mean(),
                "n": grouped.size(),
            }
        ).reset_index()


def unit(outcome: str, currency: str) -> str:
    """Unit of an average effect on an outcome."""
    counted = {"retained": "probability", "orders": "orders", "referrals": "referrals"}
    return counted.get(outcome, currency or "currency")


def fit_linkage(
    panel: Panel,
    formula: str,
    *,
    weights: Literal["base", "none"] = "base",
    retention: Linkage | None = None,
    design: Design | None = None,
) -> Linkage:
    """Fit one equation with errors clustered by customer.

    Parameters
    ----------
    panel : Panel
    formula : str
        ``outcome ~ score + controls``; the outcome one of ``retained`` (logit hazard), ``orders`` (Poisson
        quasi-likelihood, given retained), ``revenue``, ``margin``, ``referrals`` or ``service_cost`` (the same; linear where
        more than 5 % of the rows are negative); exactly one score of ``nps``, ``csat``, ``ces``; controls are columns of
        ``panel.rows``, and ``period_label`` stands for the period's effect.
    weights : {"base", "none"}
        Average the effect over answered rows weighted to the whole base and set its level to the base's, or over the
        rows as they are.
    retention : Linkage, optional
        Equation of ``retained`` on the same right-hand side, for amounts counted with the left at 0.
    design : Design, optional
        Of the same right-hand side and rows, to share it between outcomes.

    Returns
    -------
    Linkage

    Raises
    ------
    InputError
        If the formula names no outcome or score of the panel, or too few customers are left.

    Notes
    -----
    Source: discrete-time hazard, Allison (1982), Sociological Methodology 13:61; Poisson quasi-likelihood,
    Gourieroux, Monfort & Trognon (1984), Econometrica 52:701; average over the base by g-computation.
    """
    outcome, _, right = (part.strip() for part in formula.partition("~"))
    if outcome not in FAMILIES:
        raise InputError(f"the left side of a linkage must be one of {', '.join(FAMILIES)}; got {outcome!r}")
    try:
        named = {str(name) for name in formulaic.Formula(right).required_variables}
    except FormulaicError:
        raise InputError(
            f"the right side of a linkage must be terms joined by +, such as nps + log_tenure; {right!r} is not"
        ) from None
    scores = [metric for metric in METRICS if metric in named]
    if len(scores) != 1:
        raise InputError(
            f"a linkage must have exactly one score of {', '.join(METRICS)} on its right side; {formula!r} has {len(scores)}"
        )
    exposure = scores[0]
    if exposure not in panel.metrics:
        raise InputError(f"the data must have answers to {exposure}; it has {', '.join(panel.metrics) or 'none'}")
    later = sorted(named & {*FAMILIES, "customer"})
    if later:
        raise InputError(
            f"the right side of a linkage must hold what was known before the outcome; {', '.join(later)} is not a control. "
            "Leave it out, or use orders_now, margin_now and the like."
        )
    reason = not_estimable(panel, outcome, exposure)
    if reason:
        raise InputError(f"a linkage of {outcome} to {exposure} cannot be estimated: {reason}")
    if design is None:
        rows = _answered(panel, exposure)
        try:
            design = build_design(panel, rows, right, exposure)
        except FormulaicError:
            unknown = sorted(named - set(rows.columns)) or [right]
            raise InputError(
                f"the right side of a linkage must hold columns of the panel's rows; {', '.join(unknown)} cannot be found or computed "
                f"among {', '.join(map(str, rows.columns))}"
            ) from None
    return fit_outcome(panel, outcome, design, weights=weights, retention=retention)


def fit_outcome(
    panel: Panel,
    outcome: str,
    design: Design,
    *,
    weights: Literal["base", "none"] = "base",
    retention: Linkage | None = None,
    calibration: Calibration | None = None,
    start: Floats | None = None,
    method: str = "",
) -> Linkage:
    """Fit an outcome on a design that is there already; an empty exposure fits history and controls alone.

    ``calibration`` and ``start`` save work where they are known from a sister equation.
    """
    exposure = design.exposure
    rows = _answered(panel, exposure)
    usable = rows[outcome].notna() & (_stayed(rows) if outcome != "retained" else True)
    used = np.flatnonzero(usable.to_numpy())
    if outcome in FURTHER_OUTCOMES:
        used = used[_in_levels_with_any(rows, used, outcome, design.right_hand_side)]
    silent_rows = int(usable.sum()) - len(used)
    target = rows[outcome].to_numpy(dtype=float)[used]
    clusters = rows["customer"].to_numpy()[used]
    picked = None if len(used) == len(rows) else used
    # a period whose outcome nobody knows yet has no rows here
    present = np.array([bool((column if picked is None else column[picked]).any()) for column in design.matrix.T])
    if not present.all():
        if start is not None and len(start) == len(present):
            start = start[present]
        design = design.without(*(name for name, is_there in zip(design.columns, present, strict=True) if not is_there))
    if silent_rows:  # a level that all others are set against may be among those left out
        kept = set(independent_columns(design.matrix, rows=picked).tolist())
        if start is not None and len(start) == len(design.columns):
            start = start[sorted(kept)]
        spanned = [name for at, name in enumerate(design.columns) if at not in kept]
        design = design.without(*spanned) if spanned else design
    family = FAMILIES[outcome]
    if outcome in AMOUNTS and (float((target < 0).mean()) > MOST_NEGATIVE_ROWS or target.mean() <= 0):
        family = "gaussian"
    fitted, perfect = _fit_or_firth(design, picked, target, clusters, family, start)
    by_score = not exposure or any(column in design.of_score for column in perfect)
    others = [name for name in design.columns if name not in ("Intercept", exposure)]
    adjusted = bool(others) and weights == "base"
    if not adjusted:
        calibration = Calibration(np.ones(len(rows)), float(len(rows)), 0.0, 0.0, 0)
    elif calibration is None:
        calibration = base_weights(panel, exposure)
    return Linkage(
        panel=panel,
        formula=f"{outcome} ~ {design.right_hand_side}",
        outcome=outcome,
        exposure=exposure,
        method=method or ("adjusted" if others else "raw"),
        design=design,
        fitted=fitted,
        used=used,
        calibration=calibration,
        level=base_level(panel, outcome, rows) if adjusted else None,
        separated=perfect if by_score else (),
        predicting=() if by_score else perfect,
        retention=retention,
        silent_rows=silent_rows,
    )


def not_estimable(panel: Panel, outcome: str, exposure: str) -> str:
    """Why the panel cannot support a linkage of the outcome to the score; empty if it can."""
    rows = _answered(panel, exposure)
    if outcome in NOT_IN_DATA and outcome not in rows:
        return NOT_IN_DATA[outcome]
    values = rows[outcome]
    if values.notna().sum() == 0:
        if outcome == "retained" and not panel.retention and outcome in panel.outcomes:
            return "no retention rule: give left_on or retention: {rule: repurchase, window_days: …} in dataset.yaml"
        return f"the data have no {outcome} after the answers"
    if outcome != "retained":
        rows = rows.loc[_stayed(rows), ["customer", outcome, *([exposure] if exposure else [])]]
        values = rows[outcome]
    customers = rows.loc[values.notna(), "customer"].nunique()
    if customers < FEWEST_CUSTOMERS:
        return f"{customers} customers with answer and outcome; at least {FEWEST_CUSTOMERS} are needed"
    if outcome == "retained":
        rarer = int(min((values == 0).sum(), (values == 1).sum()))
        if rarer < FEWEST_EVENTS:
            side = "left" if (values == 0).sum() == rarer else "stayed"
            return f"{rarer} answers of customers who {side}; at least {FEWEST_EVENTS} are needed"
    elif values.min() == values.max():
        return f"{outcome} is the same for everybody"
    elif outcome in FURTHER_OUTCOMES and (values != 0).sum() < FEWEST_EVENTS:
        return f"{int((values != 0).sum())} answers are followed by any {outcome}; at least {FEWEST_EVENTS} are needed"
    if exposure and rows[exposure].min() == rows[exposure].max():
        return "every answer is the same"
    return ""


def standard_linkages(
    panel: Panel, exposure: str, *, methods: Sequence[str] = METHODS
) -> dict[tuple[str, str], Linkage | str]:
    """The standard equations of every outcome for one score; a reason in words where one cannot be estimated.

    Parameters
    ----------
    panel : Panel
    exposure : str
        ``nps``, ``csat``, ``ces``, or empty: what history and controls alone say (a base without answers).
    methods : sequence of str
        ``raw``: the answer alone; ``adjusted``: with controls, tenure, purchase history and period; ``calibrated``: so
        with expected satisfaction in place of single answers; ``within``: so with the customer's lasting level held fixed.

    Returns
    -------
    dict
        ``(outcome, method)`` to ``Linkage`` or reason; outcomes ``retained``, ``orders``, ``margin``, ``referrals``,
        ``service_cost``.
    """
    rows = _answered(panel, exposure)
    reasons = {outcome: not_estimable(panel, outcome, exposure) for outcome in EVERY_OUTCOME}
    for outcome in ("margin", *FURTHER_OUTCOMES):
        if not reasons[outcome] and rows["retained"].notna().any() and reasons["retained"]:
            reasons[outcome] = f"retention cannot be estimated, and {outcome} counts those who left as 0"
    with ThreadPoolExecutor(WORKERS) as workers:
        by_method = list(workers.map(lambda method: _standard(panel, exposure, method, reasons), methods))
    return {
        (outcome, method): linkage
        for method, found in zip(methods, by_method, strict=True)
        for outcome, linkage in found.items()
    }


def _standard(panel: Panel, exposure: str, method: str, reasons: dict[str, str]) -> dict[str, Linkage | str]:
    """The equations of one method."""
    if all(reasons.values()):
        return dict(reasons)
    rows = _answered(panel, exposure)
    if method in ("raw", "adjusted"):
        preparation = prepare(panel, rows, exposure)
        extra = adjusted_terms(panel, rows, preparation) if method == "adjusted" else ""
        # periods would undo what age does, and there is no score to guard
        if not exposure and tenure_begins_with_data(rows):
            extra = " + ".join(term for term in extra.split(" + ") if term != "period_label")
        if method == "adjusted" and not extra:
            absent = [outcome for outcome in FURTHER_OUTCOMES if reasons[outcome]]
            return {outcome: reasons[outcome] if outcome in absent else NOTHING_TO_HOLD for outcome in EVERY_OUTCOME}
        right = " + ".join(part for part in (exposure, extra) if part)
        design = build_design(panel, rows, right, exposure, preparation=preparation)
        return _fit_standard(panel, design, reasons, method)
    if not exposure:
        return {}
    scores = calibrated(panel, exposure)
    if isinstance(scores, str):
        return {outcome: reason or scores for outcome, reason in reasons.items()}
    own = scores.panel
    preparation = replace(prepare(own, own.rows, exposure), bends=(exposure, scores.centre))
    score = score_terms(exposure, level=method == "within")
    right = " + ".join([score, *adjusted_terms(own, own.rows, preparation).split(" + "), PATH])
    design = build_design(own, own.rows, right, exposure, preparation=preparation)
    if inflation(design.matrix, design.columns.index(exposure), design.columns.index(PATH)) > MOST_INFLATION:
        design = design.without(PATH)
    weights = base_weights(panel, exposure)
    own.once(f"weights {exposure}", lambda: weights)
    return _fit_standard(own, design, reasons, method, scores)


def headline_method(found: dict[tuple[str, str], Linkage | str]) -> str:
    """Method whose figures lead, one for all outcomes of a score.

    The comparison within customers, if the placebo passes and it could see figures half as large as the calibrated ones; else expected
    satisfaction in place of single answers; else the adjusted figures; else the raw ones where nothing can be held fixed.
    """
    if _within_leads(found):
        return "within"
    for method in ("calibrated", "adjusted"):
        if any(isinstance(found.get((outcome, method)), Linkage) for outcome in STANDARD_OUTCOMES):
            return method
    nothing = all(found.get((outcome, "adjusted"), NOTHING_TO_HOLD) == NOTHING_TO_HOLD for outcome in STANDARD_OUTCOMES)
    return "raw" if nothing else "adjusted"


def _within_leads(found: dict[tuple[str, str], Linkage | str]) -> bool:
    pairs = [(found.get((outcome, "within")), found.get((outcome, "calibrated"))) for outcome in ("retained", "margin")]
    known = [(own, other) for own, other in pairs if isinstance(own, Linkage) and isinstance(other, Linkage)]
    return bool(known) and all(
        not own.separated
        and own.placebo is not None
        and own.placebo.passes
        and can_lead((own.effect.estimate, own.std_error), other.effect.estimate)
        for own, other in known
    )


def _fit_standard(
    panel: Panel, plain: Design, reasons: dict[str, str], method: str, scores: Calibrated | None = None
) -> dict[str, Linkage | str]:
    """Every outcome on one design; purchase history in it net of the orders' own slope, found as a fixed point.

    Only retention holds the path of past satisfaction and the time a customer was seen fixed: those who stayed in spite of low
    satisfaction, or for long, differ from the others.
    """
    rows = _answered(panel, plain.exposure)
    found: dict[str, Linkage | str] = {outcome: reason for outcome, reason in reasons.items() if reason}
    net = plain.preparation.net
    nets = net is not None and net.nets and "orders_now_net" in plain.columns and not reasons["orders"]
    design, nuisance = plain, None
    if not reasons["orders"]:
        orders = fit_outcome(panel, "orders", plain.without(*OF_SURVIVAL), method=method)
        if nets:
            assert net is not None
            orders, nuisance = _net_orders(panel, rows, plain.without(*OF_SURVIVAL), orders, net)
            assert orders.design.preparation.net is not None
            design = plain.with_history(rows, orders.design.preparation.net)
        found["orders"] = orders
    calibration = next((linkage.calibration for linkage in found.values() if isinstance(linkage, Linkage)), None)
    retention: Linkage | None = None
    if not reasons["retained"]:
        retention = fit_outcome(panel, "retained", design, calibration=calibration, method=method)
        if nuisance is not None and not retention.separated:
            retention = _with_slope_error(rows, retention, nuisance)
        found["retained"] = retention
        calibration = retention.calibration
    of_amounts = design.without(*OF_SURVIVAL)
    for outcome in ("margin", *FURTHER_OUTCOMES):
        if reasons[outcome]:
            continue
        if retention is not None and retention.separated:
            found[outcome] = f"retention is predicted perfectly, and {outcome} counts those who left as 0"
            continue
        amount = fit_outcome(panel, outcome, of_amounts, retention=retention, calibration=calibration, method=method)
        if nuisance is not None:
            amount = _with_slope_error(rows, amount, nuisance)
            if outcome == "margin" and amount.fitted.family == "poisson":
                amount = _net_basket(rows, amount, of_amounts, nuisance)
        found[outcome] = amount
    if scores is not None:
        found = _with_satisfaction_error(scores, found)
    return {outcome: _with_grounds(found[outcome], scores) for outcome in EVERY_OUTCOME}


def _with_grounds(linkage: Linkage | str, scores: Calibrated | None) -> Linkage | str:
    """The equation with what its grade rests on."""
    if isinstance(linkage, str) or linkage.method == "raw" or not linkage.exposure:
        return linkage
    known = scores if scores is not None else calibrated(linkage.panel, linkage.exposure)
    if isinstance(known, str):
        return linkage
    tested = known.panel.once("placebo", lambda: placebo(known))
    return replace(linkage, scores=scores, placebo=tested)


def _with_satisfaction_error(scores: Calibrated, found: dict[str, Linkage | str]) -> dict[str, Linkage | str]:
    """Add the sampling error of the parameters behind expected satisfaction to every equation that is there.

    The slopes that history is net of are held fixed here: moving them too would change whole errors by less than 1 % (within: 2 %).
    """
    result = dict(found)
    names = {name for linkage in found.values() if isinstance(linkage, Linkage) for name in linkage.design.columns}
    known: tuple[NetHistory | None, Changes] | None = None
    # retention first, for the others' products rest on it; margin, whose history is another, last
    for outcome in sorted(EVERY_OUTCOME, key=lambda name: (name == "margin", name != "retained")):
        linkage = result[outcome]
        if isinstance(linkage, str) or linkage.separated or linkage.predicting:
            continue
        net = linkage.design.preparation.net
        if known is None or known[0] != net:
            known = None  # not two of them at a time: they are large
            known = net, scores.changes(linkage.design.preparation, names)
        target = linkage.panel.rows[outcome].to_numpy(dtype=float)[linkage.used]
        fitted = add_satisfaction_error(scores, known[1], linkage.design, linkage.fitted, target, linkage.used)
        retention = result["retained"] if linkage.retention is not None else None
        result[outcome] = replace(
            linkage, fitted=fitted, retention=retention if isinstance(retention, Linkage) else None
        )
    return result


def _net_orders(
    panel: Panel, rows: pd.DataFrame, plain: Design, at_zero: Linkage, net: NetHistory
) -> tuple[Linkage, tuple[Floats, Ints]]:
    """Orders with history net of the orders' own slope: the fixed point of the (nearly linear) map from assumed to fitted slope.

    Returns the equation and the contribution of each customer to the slope (values and codes).
    """
    shape = [name for name in (plain.exposure, BEND) if name in plain.columns]
    positions = [plain.columns.index(name) for name in shape]
    linkage, assumed = at_zero, np.zeros(len(shape))
    for _ in range(NETTING_STEPS):
        passed_on = _passed_on(_response_to_slope(rows, linkage)[positions])
        apart = linkage.fitted.coefficients[positions] - assumed
        if np.abs(apart).max() < NETTING_TOLERANCE:
            break
        assumed = assumed + passed_on @ apart
        netted = plain.with_history(rows, _net_of(net, "order", assumed))
        start = linkage.fitted.coefficients
        linkage = fit_outcome(
            panel, "orders", netted, calibration=at_zero.calibration, start=start, method=at_zero.method
        )
    unit_matrix = np.eye(len(linkage.fitted.coefficients))
    contribution = linkage.fitted.contributions(unit_matrix[:, positions] @ passed_on.T)
    response = _response_to_slope(rows, linkage)
    fitted = with_nuisance(linkage.fitted, response, contribution, linkage.fitted.clusters)
    return replace(linkage, fitted=fitted), (contribution, linkage.fitted.clusters)


def _passed_on(gains: Floats) -> Floats:
    """(I − gains)⁻¹, with gains shrunk where a noisy fixed point would run away."""
    largest = float(np.abs(np.linalg.eigvals(gains)).max())
    steady = gains * min(1.0, LARGEST_GAIN / largest) if largest > 0 else gains
    return np.asarray(np.linalg.inv(np.eye(len(gains)) - steady))


def _net_of(net: NetHistory, what: Literal["order", "basket"], slopes: Floats) -> NetHistory:
    """History net of other slopes of ``order`` or ``basket``: a line and, where the equation has one, a bend."""
    slope, bend = float(slopes[0]), float(slopes[1]) if len(slopes) > 1 else 0.0
    if what == "order":
        return replace(net, order_slope=slope, order_bend=bend)
    return replace(net, basket_slope=slope, basket_bend=bend)


def _with_slope_error(rows: pd.DataFrame, linkage: Linkage, nuisance: tuple[Floats, Ints]) -> Linkage:
    """Add the sampling error of the orders' slope that history is net of, by the change of the coefficients with that slope."""
    response = _response_to_slope(rows, linkage)
    return replace(linkage, fitted=with_nuisance(linkage.fitted, response, *nuisance))


def _net_basket(rows: pd.DataFrame, first: Linkage, design: Design, nuisance: tuple[Floats, Ints]) -> Linkage:
    """Margin with past baskets net of the slope of margin per order: that of ``first``, where they are not, less that of orders.

    With the sampling error of both slopes.
    """
    net = first.design.preparation.net
    assert net is not None
    slopes = _slopes(first) - np.array([net.order_slope, net.order_bend])[: len(_slopes(first))]
    netted = fit_outcome(
        first.panel,
        first.outcome,
        design.with_history(rows, _net_of(net, "basket", slopes)),
        retention=first.retention,
        calibration=first.calibration,
        start=first.fitted.coefficients,
        method=first.method,
    )
    netted = _with_slope_error(rows, netted, nuisance)
    response = _response(rows, netted, [{NET_COLUMNS[2]: change} for change in net_basket_by_slope(rows, net)])
    unit_matrix = np.eye(len(first.fitted.coefficients))
    own = first.fitted.contributions(unit_matrix[:, _places(first)])
    fitted = with_nuisance(netted.fitted, response, own, first.fitted.clusters)
    return replace(netted, fitted=with_nuisance(fitted, -response, *nuisance))


def _response_to_slope(rows: pd.DataFrame, linkage: Linkage) -> Floats:
    """Derivative of the coefficients by the orders' slope (and bend) that history is net of, shape (k, 1 or 2)."""
    net = linkage.design.preparation.net
    assert net is not None
    changes = net_orders_by_slope(rows, net)
    return _response(rows, linkage, [dict(zip(NET_COLUMNS[:2], change, strict=True)) for change in changes])


def _response(rows: pd.DataFrame, linkage: Linkage, changes: Sequence[Mapping[str, Floats]]) -> Floats:
    """Derivative of the coefficients by a slope and, where the equation has one, by a bend that columns of history are net of.

    ``changes`` are the derivatives of the columns by each; shape (k, 1 or 2).
    """
    names, used = linkage.design.columns, linkage.used
    by_place = [
        {names.index(name): values for name, values in change.items() if name in names}
        for change in changes[: len(_places(linkage))]
    ]
    outcome = rows[linkage.outcome].to_numpy(dtype=float)[used]
    picked = None if len(used) == len(rows) else used
    return response_to_design(linkage.fitted, linkage.design.matrix, outcome, by_place, rows=picked)


def _slopes(linkage: Linkage) -> Floats:
    """Coefficients of the score and, where there is one, of its bend."""
    return linkage.fitted.coefficients[_places(linkage)]


def _places(linkage: Linkage) -> list[int]:
    """Places of the score and, where there is one, of its bend among the columns."""
    names = linkage.design.columns
    return [names.index(name) for name in (linkage.exposure, BEND) if name in names]


def base_level(panel: Panel, outcome: str, rows: pd.DataFrame) -> tuple[float, float] | None:
    """Mean outcome over everybody at risk in the rows' periods, and its sampling variance; orders are given retained."""
    base = panel.base[panel.base["period"].isin(rows["period"].unique()) & (panel.base["level"] == "")]
    own = base[base["column"] == outcome]
    if outcome == "orders":  # given retained: only periods whose retention is known already
        known = base.loc[(base["column"] == "retained") & base["mean"].notna(), "period"]
        own = own[own["period"].isin(known)] if len(known) else own
    n = own["n"].to_numpy(dtype=float)
    if n.sum() == 0 or own["mean"].isna().all():
        return None
    total = float(np.nansum(own["mean"] * n))
    square = float(np.nansum(own["mean_square"] * n))
    count = float(n.sum())
    if outcome == "orders":
        kept = base[base["column"] == "retained"]
        kept_total = float(np.nansum(kept["mean"] * kept["n"])) if kept["mean"].notna().any() else count
        level = total / kept_total
        return level, max(square / kept_total - level**2, 0.0) / kept_total
    level = total / count
    return level, max(square / count - level**2, 0.0) / count


def _stayed(rows: pd.DataFrame) -> pd.Series:
    """Rows of customers known to have stayed, shape (rows,); all where the panel does not know retention."""
    retained = rows["retained"]
    return retained == 1 if retained.notna().any() else pd.Series(True, index=rows.index)


def _in_levels_with_any(rows: pd.DataFrame, used: Ints, outcome: str, right_hand_side: str) -> NDArray[np.bool_]:
    """Which of the used rows lie outside of levels (of a category, or periods) in which nobody has any of the outcome, shape (used,).

    There the fitted count is 0 whatever the score: such rows say nothing of it, and their coefficient would run to minus infinity.
    *Source*: Santos Silva & Tenreyro (2010), Economics Letters 107:310.
    """
    has_any = rows[outcome].to_numpy()[used] > 0
    named = {str(name) for name in formulaic.Formula(right_hand_side).required_variables}
    categories = [name for name in sorted(named & set(rows.columns)) if rows[name].dtype.kind not in "fiub"]
    names = [*categories, *(["period"] if "period_label" in named else [])]
    levels = [pd.factorize(rows[name])[0][used] for name in names]
    kept = np.ones(len(used), dtype=bool)
    while True:
        before = int(kept.sum())
        for level in levels:  # a gap is -1, the last place
            with_any = np.zeros(int(level.max(initial=-1)) + 2, dtype=bool)
            with_any[level[kept & has_any]] = True
            kept &= with_any[level]
        if kept.sum() in (before, 0):
            return kept if kept.any() else np.ones(len(used), dtype=bool)


def _answered(panel: Panel, exposure: str) -> pd.DataFrame:
    return panel.answered(exposure)


def _fit_or_firth(
    design: Design, picked: Ints | None, target: Floats, clusters: Ints, family: Family, start: Floats | None
) -> tuple[Fit, tuple[str, ...]]:
    fitted = fit(design.matrix, target, clusters, family=family, rows=picked, start=start)
    if family == "logit" and (fitted.largest_predictor > SUSPICIOUS_PREDICTOR or not fitted.converged):
        matrix = design.matrix if picked is None else np.asfortranarray(design.matrix[picked])
        direction = separating_direction(matrix, target)
        if direction is not None:
            columns = tuple(
                name for name, part in zip(design.columns, direction, strict=True) if part != 0 and name != "Intercept"
            )
            return firth(matrix, target, clusters), columns or ("Intercept",)
    return fitted, ()


def base_weights(panel: Panel, exposure: str) -> Calibration:
    """Weights of the answered rows of a score towards the base; computed once."""
    return panel.once(f"weights {exposure}", lambda: weights_towards_base(panel, _answered(panel, exposure)))


def weights_towards_base(panel: Panel, rows: pd.DataFrame) -> Calibration:
    """Weights of some rows towards all customers at risk in the same periods: history, controls, periods."""
    base = panel.base[panel.base["period"].isin(rows["period"].unique())]
    columns: list[Floats] = []
    targets: list[float] = []
    sizes = base[base["column"] == "log_tenure"].set_index("period")["n"].astype(float)
    for period_index, size in list(sizes.items())[:-1]:
        columns.append(np.asarray(rows["period"] == period_index, dtype=np.float64))
        targets.append(float(size / sizes.sum()))
    wanted = [*panel.history, *panel.controls]
    for column in dict.fromkeys(wanted):
        own = base[base["column"] == column]
        if isinstance(rows[column].dtype, pd.CategoricalDtype):
            total = float(own.groupby("period")["n"].first().sum())
            for level, part in own[own["level"] != ""].groupby("level"):
                share = float((part["mean"] * part["n"]).sum() / total)
                values = np.asarray(rows[column].astype("object") == level, dtype=np.float64)
                if 0.005 < share < 0.995 and values.any():
                    columns.append(values)
                    targets.append(share)
            continue
        n = own["n"].to_numpy(dtype=float)
        if n.sum() > 0:
            centre = float(np.nansum(own["mean"] * n) / n.sum())
            columns.append(np.asarray(rows[column].fillna(centre), dtype=np.float64))
            targets.append(centre)
    return calibrate(np.column_stack([np.empty((len(rows), 0)), *columns]), np.array(targets))
