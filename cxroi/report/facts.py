"""Single rows of an assessment that the executive page speaks of; None, or the reason, where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxroi.case import BusinessCase
from cxroi.case.terms import LADDER
from cxroi.linkage import Linkage
from cxroi.report import results
from cxroi.report.company import Assessment
from cxroi.report.results import NO_ANSWERS

STRONG = ("quasi_experiment", "experiment")


def estimate_row(a: Assessment, outcome: str, *, method: str = "") -> dict[str, Any] | None:
    """Average change of an outcome per point by one method; by default the headline."""
    frame = a.estimates.tidy()
    own = frame[(frame["outcome"] == outcome) & (frame["exposure"] == a.exposure) & (frame["estimand"] == "ame")]
    own = own[own["method"] == method] if method else own[own["headline"].astype(bool)]
    return None if own.empty else {str(name): value for name, value in own.iloc[0].items()}


def headline(a: Assessment, outcome: str) -> dict[str, Any] | None:
    """The estimate of an outcome that goes into value and case."""
    return estimate_row(a, outcome)


def main_estimate(a: Assessment) -> dict[str, Any] | None:
    """Headline of retention, or of what else there is."""
    found = (headline(a, outcome) for outcome in ("retained", "margin", "orders"))
    return next((row for row in found if row is not None), None)


def fitted_linkage(a: Assessment, outcome: str) -> Linkage | None:
    """The equation of an outcome behind the headline, the raw one where that has none."""
    linkage = results.linkage(a.estimates, outcome, exposure=a.exposure)
    return linkage if isinstance(linkage, Linkage) else None


def linkage_reason(a: Assessment, outcome: str) -> str:
    """Why there is no figure for an outcome, in the words of the room that says so."""
    frame = a.estimates.tidy()
    own = frame[(frame["outcome"] == outcome) & (frame["exposure"] == a.exposure)]
    reasons = [str(each) for each in own["method"] if str(each).startswith("not estimated: ")]
    return reasons[0].removeprefix("not estimated: ") if reasons else NO_ANSWERS


def value_row(a: Assessment, measure: str) -> dict[str, float] | None:
    """``estimate, low, high`` of a measure of customer value over all customers."""
    if isinstance(a.value, str):
        return None
    frame = a.value.tidy()
    own = frame[(frame["measure"] == measure) & (frame["band"] == "all")]
    return None if own.empty else {name: float(own[name].iloc[0]) for name in ("estimate", "low", "high")}


def last_score(a: Assessment) -> Mapping[str, Any] | None:
    """The last score that is known."""
    frame = a.scores.get(a.exposure, "")
    if isinstance(frame, str):
        return None
    return {str(name): value for name, value in frame[frame["estimate"].notna()].iloc[-1].items()}


def case_measure(decision: BusinessCase, measure: str) -> dict[str, float]:
    """``low, median, high, mean`` of a measure of the whole case over all simulated futures."""
    frame = decision.tidy()
    own = frame[
        (frame["programme"] == decision.whole.programme) & (frame["scenario"] == "base") & (frame["measure"] == measure)
    ]
    return {name: float(own[name].iloc[0]) for name in ("low", "median", "high", "mean")}


def weakest_rung(decision: BusinessCase) -> str:
    """Lowest rung that a figure of the case stands on: the linkage's, or that of a stated gain."""
    rungs = [decision.response.evidence, *(each.evidence for each in decision.case.programmes if each.has_route)]
    return min(rungs, key=LADDER.index)


def strength(rung: str) -> str:
    """Word for what a rung of the ladder can carry: ``strong``, ``middle`` or ``weak``."""
    return "strong" if rung in STRONG else "weak" if rung == "association" else "middle"


def strength_of(a: Assessment, rung: str) -> str:
    """Strength of a rung; ``timing`` where answers are not dated before the outcome, whatever was compared."""
    return strength(rung) if a.panel.timing == "before" else "timing"


def break_even_measure(decision: BusinessCase) -> str:
    """Name of the measure at which the case breaks even: points of one programme, a multiple of several."""
    return "break_even_score_gain" if len(decision.case.programmes) == 1 else "break_even_multiple"
