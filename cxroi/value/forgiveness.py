"""Forgiveness: how much more customers leave after a failed touch, and how far satisfaction softens it.

A discrete-time hazard: staying through the next quarter, by whether a touch failed in this one, by satisfaction, and by the product of
both. Satisfaction is what all answers so far say of it; that a touch failed is itself news about it, which is taken into account.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.linkage.fit import Fit, fit, independent_columns
from cxroi.linkage.satisfaction import Answers, Grid, Satisfaction, expect, learn_satisfaction
from cxroi.panel import Panel
from cxroi.tables import Tables
from cxroi.value.forward import BANDS
from cxroi.value.service import CustomerQuarters, band_codes, customer_quarters, lacking, touch_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_CUSTOMERS = 30
FEWEST_EVENTS = 10
FEWEST_EVENTS_OF_A_CELL = 5
FEWEST_ROWS_OF_A_LEVEL = 30
MOST_LEVELS = 20
PASSES = 3
SURE_EVENTS = 50
VARIANCE_OF_ROUNDING = 1 / 12  # squared points, of an answer rounded to whole points
NORMAL_975 = float(special.ndtri(0.975))
TERMS = ("failed touch", "satisfaction", "forgiveness")
WITHOUT, AFTER, DIFFERENCE = "without failed touch", "after failed touch", "difference"


@dataclass(frozen=True)
class Forgiveness:
    """Leaving in the next quarter, with and without a failed touch in this one.

    Attributes
    ----------
    terms : DataFrame
        Log-odds of staying a quarter: ``term, estimate, std_error, conf_low, conf_high, unit``. ``failed touch`` (at mean satisfaction),
        ``satisfaction`` (a point, without a failed touch), ``forgiveness`` (what a point more takes off a failed touch's; above 0:
        the satisfied forgive).
    hazards : DataFrame
        A row per band of the last answer (and ``all``) and case: ``band, case`` (``without failed touch``, ``after failed touch``,
        ``difference``), ``customers, customer_quarters, left`` (of the case), ``estimate`` (probability of leaving in the next quarter,
        the same customers of the band in each case), ``std_error, conf_low, conf_high, suppressed`` (fewer than 30 customers or 5
        leavers or 5 stayers after a failed touch).
    mean_satisfaction : float
        Points at which ``failed touch`` is given.
    accounting : DataFrame
        ``reason, customer_quarters``: active with what followed known, each loss, and used.
    reliability : float
        Of one answer; NaN where single answers are used.
    """

    exposure: str
    terms: pd.DataFrame
    hazards: pd.DataFrame
    mean_satisfaction: float
    accounting: pd.DataFrame
    customers: int
    failed_quarters: int
    left_after_failed: int
    reliability: float
    every: int

    def __repr__(self) -> str:
        return repr(self.terms)

    def tidy(self) -> pd.DataFrame:
        """One row per term of the equation; columns as in ``terms``."""
        return self.terms

    def glance(self) -> pd.DataFrame:
        """One row: customers, customer-quarters, those with a failed touch, how many left after one."""
        used = self.accounting.iloc[-1]["customer_quarters"]
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "customers": [self.customers],
                "customer_quarters": [int(used)],
                "failed_quarters": [self.failed_quarters],
                "left_after_failed": [self.left_after_failed],
                "mean_satisfaction": [self.mean_satisfaction],
                "reliability": [self.reliability],
                "one_in_every": [self.every],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Enough failures, and whether forgiveness is told apart from none: ``name, verdict, number, advice``."""
        softening = self.terms.iloc[TERMS.index("forgiveness")]
        low, high = float(softening["conf_low"]), float(softening["conf_high"])
        events = min(self.left_after_failed, self.failed_quarters - self.left_after_failed)
        rows = [
            (
                "leavers after a failed touch",
                "pass" if events >= SURE_EVENTS else "warn",
                float(events),
                f"customers who left (or stayed, if fewer) after one; below {SURE_EVENTS} only a very strong forgiveness could be seen",
            ),
            (
                "forgiveness told apart from none",
                "pass" if low > 0 or high < 0 else "warn",
                float(softening["estimate"]),
                "its interval leaves 0 out"
                if low > 0 or high < 0
                else "its interval holds 0: do not claim it either way",
            ),
            (
                "answers after the failure",
                "warn",
                np.nan,
                "an answer given after a touch failed already holds some of its sting; then the satisfied are those who forgave at once",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def forgiveness(tables: Tables, panel: Panel, exposure: str) -> Forgiveness | str:
    """Hazard of leaving after a failed touch by satisfaction, against customers without one.

    Parameters
    ----------
    tables : Tables
    panel : Panel
        Of these tables, by quarters.
    exposure : str
        ``nps``, ``csat`` or ``ces``.

    Returns
    -------
    Forgiveness or str
        The reason in words where failures are not recorded or too few for an equation.

    Notes
    -----
    Logit of staying on failed touch × expected satisfaction (with its bend), the number of touches, orders before the quarter, tenure,
    quarter and the declared controls; clustered by customer. An association: who is failed may differ in what nobody recorded.
    Expected satisfaction follows ``cxroi.linkage.satisfaction``; a failed touch moves the expectation by the log-odds of failing a
    point times what is left uncertain of it (the first-order tilt of a normal expectation). What stays uncertain makes leaving more
    likely than at the expectation, the more so the steeper the slope; that is corrected to second order. Where answers are not repeated
    enough the last answer is taken, which shrinks all terms of satisfaction. Reasons to stay that nobody recorded shrink the terms
    (log-odds), not the hazards; the standing figure for satisfaction is that of ``cxroi.linkage``.

    Source: second-order regression calibration, Carroll et al. (2006), Measurement Error in Nonlinear Models, §4.7; discrete-time hazard,
    Singer & Willett (2003), Applied Longitudinal Data Analysis, chapter 11; service failure and satisfaction, Bolton (1998), Marketing
    Science 17:45.
    """
    missing = lacking(tables, panel, exposure)
    if missing:
        return missing
    assert tables.touches is not None
    if "failed" not in tables.touches.collect_schema().names():
        return "the touches do not say whether they failed; add touches.failed"
    if not panel.retention:
        return "nobody can be seen to leave: declare a retention rule in dataset.yaml"
    looked = customer_quarters(tables, panel, exposure)
    contacts = touch_sums(tables, panel, looked.people)
    rows, accounting = _rows(looked, contacts, exposure)
    harmed = rows["failed"] == 1
    left, stayed = ((rows.loc[harmed, "retained"] == value).sum() for value in (0, 1))
    if min(left, stayed) < FEWEST_EVENTS:
        return (
            f"{left} customers left and {stayed} stayed after a failed touch; at least {FEWEST_EVENTS} of each are needed to say "
            "anything about it"
        )
    columns = design_columns(rows, panel.controls)
    known = expected_satisfaction(looked, rows, columns, exposure)
    if known is None:
        satisfaction, variance = rows["last_score"].to_numpy(dtype=float), np.zeros(len(rows))
    else:
        satisfaction, variance = _with_news(rows, columns, known), known.variance
    centre = float(satisfaction.mean())
    equation = _fit(rows, columns, satisfaction - centre, variance)
    if equation is None:
        return "the equation of staying does not settle: some column predicts it without error"
    return Forgiveness(
        exposure=exposure,
        terms=_terms(equation.fitted),
        hazards=_hazards(rows, equation, exposure, panel.score_ranges[exposure][1]),
        mean_satisfaction=centre,
        accounting=accounting,
        customers=int(rows["customer"].nunique()),
        failed_quarters=int(harmed.sum()),
        left_after_failed=int(left),
        reliability=np.nan if known is None else known.reliability,
        every=looked.every,
    )


@dataclass(frozen=True)
class Known:
    """What answers so far say of satisfaction in each of the rows, shape (rows,) each, points: its mean, its variance, its lasting part.

    ``open`` is the share of the variance that answers leave open; ``fade`` the share of the passing part that is left after one quarter.
    """

    mean: Floats
    variance: Floats
    level: Floats
    open: Floats
    fade: float
    reliability: float


def expected_satisfaction(looked: CustomerQuarters, rows: pd.DataFrame, columns: Floats, exposure: str) -> Known | None:
    """Expected satisfaction in each of the rows by all answers dated up to then; None where answers are not repeated enough.

    Parameters
    ----------
    looked : CustomerQuarters
    rows : DataFrame
        Some of its rows.
    columns : array, shape (rows, k)
        What predicts satisfaction beside answers.
    exposure : str
    """
    given = rows["score"].notna().to_numpy()
    answers = rows["score"].to_numpy(dtype=float)
    coefficients = np.linalg.lstsq(columns[given], answers[given], rcond=None)[0]
    predicted = np.asarray(columns @ coefficients)
    codes, place = np.unique(rows["customer"].to_numpy(), return_inverse=True)
    first = int(rows["period"].min()) - 1
    when = rows["period"].to_numpy() - first
    shape = (len(codes), int(when.max()) + 1)
    deviation, counts = np.full(shape, np.nan), np.zeros(shape)
    deviation[place[given], when[given]] = (answers - predicted)[given]
    counts[place[given], when[given]] = rows["answers"].to_numpy(dtype=float)[given]
    entry = np.full(len(codes), shape[1] - 1, dtype=np.int64)
    np.minimum.at(entry, place, when)
    grid = Grid(Answers(deviation, counts, entry), codes, (place, when), (place, when))
    single = answers[given & (rows["answers"] == 1).to_numpy()]
    is_rounded = bool(len(single)) and bool((single == np.round(single)).all())
    found: Satisfaction | None = learn_satisfaction(
        grid,
        exposure,
        predicted_variance=float(predicted[given].var()),
        least_noise=VARIANCE_OF_ROUNDING if is_rounded else 0.0,
    )
    if found is None:
        return None
    expected = expect(found, grid.answers)
    return Known(
        mean=predicted + expected.now[place, when],
        variance=expected.spread[place, when],
        level=predicted + expected.level[place, when],
        open=expected.spread[place, when] / (found.lasting + found.fading),
        fade=found.fade,
        reliability=found.reliability,
    )


def design_columns(rows: pd.DataFrame, controls: Sequence[str]) -> Floats:
    """Constant, tenure, orders before, number of touches, declared controls and quarters, shape (rows, k), independent."""
    touches = np.log1p(rows["touches"].to_numpy(dtype=float)) if "touches" in rows else np.zeros(len(rows))
    numbers = [rows["log_tenure"].to_numpy(dtype=float), rows["log_orders_before"].to_numpy(dtype=float), touches]
    columns = [np.ones(len(rows)), *standardised(numbers), *control_columns(rows, controls)]
    period = rows["period"].to_numpy()
    columns += standardised([(period == index).astype(float) for index in np.unique(period)[1:]])
    matrix = np.asfortranarray(np.column_stack(columns))
    return np.asarray(matrix[:, independent_columns(matrix)])


def control_columns(rows: pd.DataFrame, controls: Sequence[str]) -> list[Floats]:
    """Declared controls in standard units: numbers (gaps at their median), and levels of texts."""
    found: list[Floats] = []
    for control in dict.fromkeys(controls):
        values = rows[control]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            numbers = values.astype(float)
            found.append(np.asarray(numbers.fillna(float(np.nan_to_num(numbers.median()))), dtype=np.float64))
            continue
        text = values.astype("object").where(values.notna(), "").astype(str)
        counts = text.value_counts()
        levels = sorted(counts.index[counts >= FEWEST_ROWS_OF_A_LEVEL])[1:MOST_LEVELS]
        found += [np.asarray(text == level, dtype=np.float64) for level in levels]
    return standardised(found)


def standardised(columns: Sequence[Floats]) -> list[Floats]:
    """The columns that vary, with mean 0 and standard deviation 1."""
    return [(column - column.mean()) / column.std() for column in columns if column.std() > 0]


def _rows(looked: CustomerQuarters, contacts: pd.DataFrame, exposure: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customer-quarters with what is needed, sorted by customer, and the account of those left out."""
    sums = contacts.groupby(["customer", "period"], as_index=False)[["touches", "failed", "failed_known"]].sum()
    rows = looked.rows.merge(sums, on=["customer", "period"], how="left")
    rows = rows.astype(dict.fromkeys(("touches", "failed", "failed_known"), float))
    rows[["touches", "failed", "failed_known"]] = rows[["touches", "failed", "failed_known"]].fillna(0.0)
    steps = [("active, what followed is known", len(rows := rows[rows["retained"].notna()]))]
    unanswered = rows["last_score"].isna()
    steps.append((f"no answer to {exposure} so far", -int(unanswered.sum())))
    rows = rows[~unanswered]
    unknown = (rows["failed"] == 0) & (rows["failed_known"] < rows["touches"])
    steps.append(("not known whether a touch failed", -int(unknown.sum())))
    rows = rows[~unknown].reset_index(drop=True)
    rows = rows.assign(failed=(rows["failed"] > 0).astype(float))
    steps.append(("used", len(rows)))
    return rows, pd.DataFrame(steps, columns=["reason", "customer_quarters"])


def _with_news(rows: pd.DataFrame, columns: Floats, known: Known) -> Floats:
    """Expected satisfaction with the news that a touch failed, or that none of those there were did, shape (rows,)."""
    touched = (rows["touches"] > 0).to_numpy()
    failed = rows["failed"].to_numpy(dtype=float)
    centred = known.mean - known.mean.mean()
    matrix = np.asfortranarray(np.column_stack([centred, columns])[touched])
    kept = independent_columns(matrix)
    found = fit(
        np.asfortranarray(matrix[:, kept]), failed[touched], rows["customer"].to_numpy()[touched], family="logit"
    )
    if not found.converged:
        return known.mean
    chance = np.zeros(len(rows))
    chance[touched] = special.expit(matrix[:, kept] @ found.coefficients)
    news = np.where(touched, found.coefficients[0] * known.variance * (failed - chance), 0.0)
    return np.asarray(known.mean + news)


@dataclass(frozen=True)
class _Equation:
    """Staying on failed touch × satisfaction; ``satisfaction`` (rows,) from its mean, ``variance`` what is uncertain of it."""

    fitted: Fit
    columns: Floats
    kept: Ints
    satisfaction: Floats
    variance: Floats

    def at(self, failed: Floats) -> Floats:
        """Design of the rows had a touch failed or not, shape (rows, k)."""
        effective = _effective(
            self.fitted.coefficients, failed, self.satisfaction, self.variance, self.columns, self.kept
        )
        return _design(failed, effective, self.columns)[:, self.kept]


def _fit(rows: pd.DataFrame, columns: Floats, satisfaction: Floats, variance: Floats) -> _Equation | None:
    """Fit with satisfaction as certain as it is: the slopes found correct its effective value for the next pass."""
    failed, retained = (rows[name].to_numpy(dtype=float) for name in ("failed", "retained"))
    effective = satisfaction
    kept = independent_columns(_design(failed, satisfaction, columns))
    if not set(range(len(TERMS) + 1)) <= set(kept.tolist()):
        return None
    for _ in range(PASSES):
        matrix = np.asfortranarray(_design(failed, effective, columns)[:, kept])
        found = fit(matrix, retained, rows["customer"].to_numpy(), family="logit")
        if not found.converged:
            return None
        effective = _effective(found.coefficients, failed, satisfaction, variance, columns, kept)
    return _Equation(
        _with_moving_satisfaction(found, matrix, failed, satisfaction, variance), columns, kept, satisfaction, variance
    )


def _with_moving_satisfaction(
    found: Fit, matrix: Floats, failed: Floats, satisfaction: Floats, variance: Floats
) -> Fit:
    """The fit with the error that effective satisfaction, which follows the coefficients, adds to theirs."""
    predictor = matrix @ found.coefficients
    stay = special.expit(predictor)
    weight = stay * (1.0 - stay)
    by_slope = np.column_stack([np.ones(len(failed)), failed, 2.0 * satisfaction])
    slope = by_slope @ found.coefficients[1:4]
    moving = matrix.copy()
    moving[:, 1:4] -= (0.5 * slope * variance * (2.0 * stay - 1.0))[:, None] * by_slope
    information = matrix.T @ (weight[:, None] * matrix)
    turned = information @ np.linalg.inv(matrix.T @ (weight[:, None] * moving)).T
    factors = tuple((left, right @ turned) for left, right in found.factors)
    return replace(found, factors=factors)


def _design(failed: Floats, satisfaction: Floats, columns: Floats) -> Floats:
    """Failed touch, satisfaction, their product, the bend of satisfaction, and the other columns, shape (rows, k)."""
    return np.asfortranarray(np.column_stack([failed, satisfaction, failed * satisfaction, satisfaction**2, columns]))


def _effective(
    coefficients: Floats, failed: Floats, satisfaction: Floats, variance: Floats, columns: Floats, kept: Ints
) -> Floats:
    stay = special.expit(_design(failed, satisfaction, columns)[:, kept] @ coefficients)
    slope = coefficients[1] + coefficients[2] * failed + 2.0 * coefficients[3] * satisfaction
    return certain_equivalent(satisfaction, variance, slope, stay)


def certain_equivalent(satisfaction: Floats, variance: Floats, slope: Floats, staying: Floats) -> Floats:
    """Certain satisfaction with the same chance of staying as an uncertain one, to second order, shape (rows,).

    Parameters
    ----------
    satisfaction, variance : array, shape (rows,)
        Expectation (points) and what is uncertain of it (squared points).
    slope : array, shape (rows,)
        Log-odds of staying a point.
    staying : array, shape (rows,)
        Chance of staying at the expectation.

    Examples
    --------
    >>> certain_equivalent(np.array([7.0]), np.array([1.0]), np.array([0.4]), np.array([0.9])).round(2)
    array([6.84])
    """
    return np.asarray(satisfaction - 0.5 * slope * variance * (2.0 * staying - 1.0))


def _terms(fitted: Fit) -> pd.DataFrame:
    size = len(TERMS)
    estimate, error = fitted.coefficients[:size], fitted.std_errors[:size]
    reach = NORMAL_975 * error
    return pd.DataFrame(
        {
            "term": TERMS,
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - reach,
            "conf_high": estimate + reach,
            "unit": ["log-odds of staying", "log-odds of staying a point", "log-odds of staying a point"],
        }
    )


def _hazards(rows: pd.DataFrame, equation: _Equation, exposure: str, best: float) -> pd.DataFrame:
    """Probability of leaving of each band's customers, as if none of them, and as if all of them, had had a failed touch."""
    band = band_codes(rows["last_score"], exposure, best)
    failed = rows["failed"].to_numpy() == 1
    left = rows["retained"].to_numpy() == 0
    customers = rows["customer"].to_numpy()
    designs = [equation.at(np.full(len(rows), float(case))) for case in (False, True)]
    found: list[dict[str, Any]] = []
    for name, code in (("all", None), *((name, code) for code, name in enumerate(BANDS[exposure]))):
        inside = np.ones(len(rows), dtype=bool) if code is None else band == code
        cases: list[dict[str, Any]] = []
        gradients: list[Floats] = []
        few = False
        for case in (False, True):
            own = inside & (failed == case)
            people, quarters, gone = len(np.unique(customers[own])), int(own.sum()), int((own & left).sum())
            few |= people < FEWEST_CUSTOMERS or min(gone, quarters - gone) < FEWEST_EVENTS_OF_A_CELL
            counted = designs[case][inside]
            chance = special.expit(-(counted @ equation.fitted.coefficients))
            gradients.append(-(chance * (1.0 - chance)) @ counted / max(len(counted), 1))
            hazard = float(chance.mean()) if len(chance) else np.nan
            counts = {"customers": people, "customer_quarters": quarters, "left": gone}
            cases.append({"case": AFTER if case else WITHOUT, **counts, "estimate": hazard})
        cases.append({"case": DIFFERENCE, "estimate": cases[1]["estimate"] - cases[0]["estimate"]})
        gradients.append(gradients[1] - gradients[0])
        for row, slope in zip(cases, gradients, strict=True):
            error = float(np.sqrt(slope @ equation.fitted.covariance @ slope))
            found.append({"band": name, **row, "std_error": error, "suppressed": few})
    table = pd.DataFrame(found)
    table["conf_low"] = table["estimate"] - NORMAL_975 * table["std_error"]
    table["conf_high"] = table["estimate"] + NORMAL_975 * table["std_error"]
    shown = ["estimate", "std_error", "conf_low", "conf_high"]
    table.loc[table["suppressed"], shown] = np.nan
    table.loc[table["suppressed"], "left"] = None
    columns = ["band", "case", "customers", "customer_quarters", "left", *shown, "suppressed"]
    return table[columns].astype({"customers": "Int64", "customer_quarters": "Int64", "left": "Int64"})
