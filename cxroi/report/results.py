"""Results of the rooms as a notebook asks for them: the result, or the reason in words why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from cxroi import periods
from cxroi.case import BusinessCase, Case, business_case, case_beside, read_case
from cxroi.case.red_team import case_shortcuts as shortcuts_of_case
from cxroi.errors import InputError, InvalidCase
from cxroi.language import EVIDENCE, Code, Language
from cxroi.linkage import METHODS, Linkage, headline_method
from cxroi.panel import Panel
from cxroi.report.outcome_period import in_outcome_period
from cxroi.scores import Metric, Scores, ces, csat, nps, score_change
from cxroi.tables import Tables
from cxroi.value import CustomerValue, Estimates, lifetime_value
from cxroi.value.red_team import base_mean

T = TypeVar("T")

NO_ANSWERS = "the data have no answers"
NO_CASE = "there is no case.yaml beside the data set; a case states the gain, the reach and the costs of a programme"
NO_TERMS = "no value: {horizon_months, annual_discount_rate} in dataset.yaml"
NO_DATES = "scores by quarter need surveys.answered_at or surveys.invited_at; these surveys have no dates"
FEW_ANSWERED = "one of the two quarters is not shown: too few customers answered, or it would tell such a quarter"
NOTHING_FIXED = "no controls, history or periods to hold fixed"
AS_STATED = -1.0
MONTHS_OF_A_QUARTER = 3
QUICK_DRAWS = 10  # of a sensitivity table, which shows point estimates only


def folder(dataset: str) -> str:
    """Path of a data set as seen from the working directory: as given, or beside the folder of the notebooks."""
    project = Path(__file__).resolve().parents[2]
    places = [Path(dataset), Path("..", dataset), project / dataset]
    return next((str(place) for place in places if place.is_dir()), dataset)


def language(lang: Code, tables: Tables) -> Language:
    """Language of the page, money in the currency of the data, the outcome's period by its true length."""
    return in_outcome_period(Language(lang, tables.config.currency or ""), tables)


def main_exposure(panel: Panel) -> str:
    """Score that a page speaks of first: NPS where it is asked; empty without answers."""
    return panel.metrics[0] if panel.metrics else ""


def linkage(estimates: Estimates, outcome: str, *, exposure: str = "", method: str = "headline") -> Linkage | str:
    """One fitted equation, the headline of the first score by default, or why there is none.

    A headline that does not exist for this outcome is replaced by the raw equation.
    """
    name = exposure or main_exposure(estimates.panel)
    found = estimates.linkages.get(name, {})
    wanted = found.get((outcome, headline_method(found) if method == "headline" else method), NO_ANSWERS)
    raw = found.get((outcome, "raw"), wanted)
    return raw if isinstance(wanted, str) and method == "headline" and not isinstance(raw, str) else wanted


def effects(estimates: Estimates, outcome: str) -> pd.DataFrame | str:
    """Average effect of one point on an outcome, a row a score and a way of comparing, columns of ``estimates.csv``."""
    rows = []
    for exposure, found in estimates.linkages.items():
        for method in METHODS:
            fitted = found.get((outcome, method), NO_ANSWERS)
            if isinstance(fitted, Linkage):
                rows.append(_effect(fitted, exposure, method, headline=method == headline_method(found)))
    return pd.concat(rows, ignore_index=True) if rows else reason(linkage(estimates, outcome))


def score(
    tables: Tables, metric: str, *, by: str | Sequence[str] | None = None, period: periods.Period | None = None
) -> Scores | str:
    """NPS, CSAT or CES, or why it cannot be had."""
    if tables.surveys is None:
        return NO_ANSWERS
    try:
        return {"nps": nps, "csat": csat, "ces": ces}[metric](tables, by=by, period=period)
    except InputError as error:
        return str(error)


def change(tables: Tables, metric: Metric, last: str) -> Scores | str:
    """Change of a score from the quarter before ``last`` to ``last``, or why it cannot be had.

    A quarter whose score is hidden among the quarters has no change either: the two together would tell it.
    """
    by_quarter = score(tables, metric, period="quarter")
    if isinstance(by_quarter, str):
        return by_quarter
    before = periods.label(periods.index(last) - 1)
    frame = by_quarter.tidy()
    if frame.loc[frame["period"].isin([before, last]), "suppressed"].any():
        return FEW_ANSWERED
    try:
        return score_change(tables, metric, before, last)
    except InputError as error:
        return str(error)


def value(
    panel: Panel, *, exposure: str = "nps", horizon_months: int = 0, annual_discount_rate: float = AS_STATED, seed: int
) -> CustomerValue | str:
    """Lifetime value over a horizon and at a rate, each by default as ``dataset.yaml`` states, or why there is none.

    Where the score has no answers, value follows history and controls alone.
    """
    stated = panel.value_terms
    if stated is None and (horizon_months == 0 or annual_discount_rate == AS_STATED):
        return NO_TERMS
    months, rate = stated or (0, 0.0)
    months = horizon_months or months
    rate = rate if annual_discount_rate == AS_STATED else annual_discount_rate
    found = lifetime_value(
        panel,
        exposure=exposure if exposure in panel.metrics else "",
        horizon_quarters=-(-months // MONTHS_OF_A_QUARTER),
        annual_discount_rate=rate,
        seed=seed,
    )
    return found if found.margin is not None else found.reason


def sensitivity(found: CustomerValue | str) -> pd.DataFrame | str:
    """Value per customer and per point at other horizons and discount rates, point estimates, the stated terms first.

    Columns ``horizon_months, annual_discount_rate, lifetime_value, value_of_one_point``.
    """
    if isinstance(found, str):
        return found
    quarters, rate = found.horizon_quarters, found.annual_discount_rate
    terms = [(quarters, rate), (max(quarters // 2, 1), rate), (min(quarters * 2, 80), rate)]
    terms += [(quarters, max(rate - 0.04, 0.0)), (quarters, rate + 0.04)]
    quick = _fewer_draws(found)
    rows = []
    for horizon, discount in dict.fromkeys(terms):
        other = replace(quick, horizon_quarters=horizon, annual_discount_rate=discount)
        point = float(other.point_draws()[0]) if other.exposure else float("nan")
        rows.append((horizon * MONTHS_OF_A_QUARTER, discount, float(other.value_draws()[0]), point))
    columns = ["horizon_months", "annual_discount_rate", "lifetime_value", "value_of_one_point"]
    return pd.DataFrame(rows, columns=columns)


def stated_case(dataset: str, case: str = "") -> Case | str:
    """Case of a file, by default ``case.yaml`` or ``case.xlsx`` beside ``dataset.yaml``, or why there is none.

    Raises
    ------
    InvalidCase
        If the file is faulty, or both are there.
    """
    file = _near(case) if case else case_beside(folder(dataset))
    return NO_CASE if file is None else read_case(file)


def decide(panel: Panel, case: Case | str, *, seed: int, draws: int = 10_000) -> BusinessCase | str:
    """The case valued with the panel's linkage over the case's own horizon and at its own rate, or why it cannot be."""
    if isinstance(case, str):
        return case
    metrics = [programme.gain.metric for programme in case.programmes if programme.gain.metric]
    exposure = metrics[0] if metrics else main_exposure(panel)
    quarters = -(-case.horizon_months // MONTHS_OF_A_QUARTER)
    found = lifetime_value(
        panel,
        exposure=exposure if exposure in panel.metrics else "",
        horizon_quarters=quarters,
        annual_discount_rate=case.annual_discount_rate,
        seed=seed,
    )
    if found.reason:
        return found.reason
    try:
        return business_case(found.response(quarters), case, seed=seed, draws=draws)
    except InvalidCase as error:
        return str(error)


def case_shortcuts(decision: BusinessCase | str, panel: Panel) -> pd.DataFrame | str:
    """The case by the popular shortcuts, revenue over margin as in the base of the panel, or why it cannot be."""
    if isinstance(decision, str):
        return decision
    earned, margin = (base_mean(panel, name) for name in ("revenue", "margin"))
    known = 0 < margin <= earned  # neither holds where one of them is unknown
    return shortcuts_of_case(decision, revenue_per_margin=earned / margin if known else None)


def reason(result: object) -> str:
    """The reason why there is no result; empty where there is one."""
    return result if isinstance(result, str) else ""


def rung(evidence: str) -> int:
    """Place of a grade of evidence on the ladder, 0 the lowest."""
    return EVIDENCE.index(evidence)


def _effect(fitted: Linkage, exposure: str, method: str, *, headline: bool) -> pd.DataFrame:
    """Row of one equation; a penalised one says so, is no headline and only an association."""
    row = fitted.marginal_effect().assign(exposure=exposure, estimand="ame")
    row["n_obs"], row["n_clusters"] = fitted.fitted.n_obs, fitted.n_clusters
    row["method"], row["headline"] = method, headline
    if fitted.separated:
        row["method"], row["headline"] = "firth" if method == "raw" else f"{method} (firth)", False
        row["evidence"] = "association"
    return row


def _fewer_draws(found: CustomerValue) -> CustomerValue:
    kept = found.persistence
    draws = min(found.draws, QUICK_DRAWS)
    fewer = None if kept is None else replace(kept, fade_draws=kept.fade_draws[:draws])
    return replace(found, draws=draws, persistence=fewer)


def _near(case: str) -> Path:
    return next((place for place in (Path(case), Path("..", case)) if place.is_file()), Path(case))
