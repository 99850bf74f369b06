"""Numbers and reasons as the executive page words them: with unit and sign, in the words that the evidence has earned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cxroi.case import BusinessCase, Case
from cxroi.language import Language
from cxroi.report import views
from cxroi.report.company import MONTHS_OF_A_QUARTER, Assessment
from cxroi.report.facts import break_even_measure, case_measure
from cxroi.report.show import chance_words, money, money_interval, said

SURE, LIKELY, UNLIKELY, HARDLY = 0.95, 0.8, 0.2, 0.05  # probabilities that NPV is positive
JOINED = "\u2060"  # no line break after a sign


def reason_words(reason: str, language: Language) -> str:
    """A reason that a room gave, as a part of a sentence."""
    return said(reason, language).strip().rstrip(".")


def subject_words(case: Case, language: Language) -> str:
    """The programme by its name, or how many there are."""
    if len(case.programmes) == 1:
        return language.text("executive.programme", name=case.programmes[0].name)
    return language.text("executive.portfolio", number=language.number(len(case.programmes)))


def verdict(probability: float) -> str:
    """Word for a probability that the net present value is positive.

    >>> [verdict(p) for p in (0.99, 0.9, 0.5, 0.1, 0.01)]
    ['yes', 'likely', 'open', 'unlikely', 'no']
    """
    if probability >= LIKELY:
        return "yes" if probability >= SURE else "likely"
    if probability > UNLIKELY:
        return "open"
    return "unlikely" if probability > HARDLY else "no"


def verdict_words(decision: BusinessCase, language: Language) -> str:
    """Whether the case pays, as the beginning of a sentence."""
    word = verdict(float(decision.glance()["p_npv_positive"].iloc[0]))
    return capital(language.text(f"executive.verdict.{word}", programme=subject_words(decision.case, language)))


def answer_scale(a: Assessment, language: Language) -> str:
    """The answer whose point is meant, with its scale: an answer's point is not a point of NPS."""
    low, high = (language.number(end) for end in a.panel.score_ranges[a.exposure])
    return language.text("executive.answer_scale", metric=a.exposure.upper(), low=low, high=high)


def grade_words(a: Assessment, rung: str, language: Language) -> str:
    """The grade of evidence, and what was compared."""
    if a.panel.timing != "before":
        return language.text("executive.ladder_timing", evidence=language.evidence(rung))
    meaning = language.text(f"evidence_meaning.{rung}")
    return language.text("executive.ladder", evidence=language.evidence(rung), meaning=meaning)


def claim_words(a: Assessment, row: Mapping[str, Any], language: Language) -> str:
    """What a headline estimate says, in the words that its rung has earned."""
    outcome = str(row["outcome"])
    return language.text(
        f"executive.claim.{row['evidence']}",
        answer=answer_scale(a, language),
        change=change_words(outcome, float(row["estimate"]), language),
        outcome=language.text(f"executive.outcome.{outcome}"),
        interval=change_range(outcome, float(row["conf_low"]), float(row["conf_high"]), language),
    )


def score_words(metric: str, x: float, language: Language) -> str:
    """A score in its unit."""
    return language.percent(x, 0) if metric == "csat" else language.number(x, 0 if metric == "nps" else 2)


def score_size(metric: str, x: float, language: Language) -> str:
    """A difference of two scores, in points of the score."""
    digits = 2 if metric == "ces" else 1
    return language.percentage_points(x, digits) if metric == "csat" else language.points(x, digits)


def score_range(metric: str, low: float, high: float, language: Language) -> str:
    """Both ends of a difference of two scores, their unit once."""
    return language.interval(
        low, high, "percentage_points" if metric == "csat" else "points", 2 if metric == "ces" else 1
    )


def moved_words(metric: str, x: float, language: Language) -> str:
    """That a score rose or fell, and by how much."""
    if x == 0:
        return language.text("executive.moved.none")
    return language.text(f"executive.moved.{'up' if x > 0 else 'down'}", size=score_size(metric, abs(x), language))


def change_words(outcome: str, x: float, language: Language) -> str:
    """Change of an outcome for one point, with its sign and unit."""
    if outcome == "retained":
        text = language.percentage_points(x, 2)
    elif outcome == "orders":
        text = language.text("executive.orders_unit", number=language.number(x, 3))
    else:
        text = money(x, language)
    return f"+{JOINED}{text}" if x > 0 else text


def change_range(outcome: str, low: float, high: float, language: Language) -> str:
    """Both ends of a change of an outcome, their unit once."""
    if outcome == "retained":
        return language.interval(low, high, "percentage_points", 2)
    if outcome == "orders":
        return language.interval(low, high, "number", 3)
    return money_interval(low, high, language)


def between(low: str, high: str, *, language: Language) -> str:
    """From one finished text to another."""
    return language.text("format.interval", low=low, high=high)


def quarter_words(label: str, language: Language) -> str:
    """A quarter, or that answers have no dates."""
    return language.text("executive.all_answers") if label == "all" else language.quarter(label)


def horizon_words(a: Assessment, language: Language) -> str:
    """Months over which customer value is counted."""
    return "" if isinstance(a.value, str) else language.number(a.value.horizon_quarters * MONTHS_OF_A_QUARTER)


def yearly(rate: float, language: Language) -> str:
    """A rate a year."""
    return language.text("executive.yearly", rate=language.percent(rate))


def listed(names: Sequence[str], language: Language) -> str:
    """Names one after the other, or that none is stated."""
    return ", ".join(names) if names else language.text("executive.not_stated")


def capital(words: str) -> str:
    """The same words with a capital first letter."""
    return words[:1].upper() + words[1:]


def slug(name: str) -> str:
    """Key of an input's name."""
    return name.replace(": ", "_").replace(" ", "_")


def panel_caption(a: Assessment, row: Mapping[str, Any], language: Language) -> str:
    """Source and n of an estimate."""
    first, last = a.window
    return language.text(
        "executive.caption.panel",
        n=language.number(row["n_obs"]),
        customers=language.number(row["n_clusters"]),
        first=language.date(first),
        last=language.date(last),
    )


def end_of_data(a: Assessment, language: Language) -> str:
    """When the last outcome's period ends: a quarter, or the day that a table of outcomes states."""
    return views.last_outcome(a.panel, language)


def break_even_range(decision: BusinessCase, language: Language) -> str:
    """The 5 and 95 % of the draws' break-even gains, and in how many draws there is none."""
    parts = []
    if interval := _break_even_interval(decision, language):
        parts.append(language.text("executive.range", interval=interval))
    if none := _share_without_break_even(decision):
        parts.append(language.text("executive.no_break_even_share", chance=chance_words(none, language)))
    return "; ".join(parts)


def with_break_even_range(decision: BusinessCase, gain: str, language: Language) -> str:
    """A break-even gain with its 5–95 % range behind it."""
    return language.text("executive.break_even_range", gain=gain, interval=_break_even_interval(decision, language))


def _break_even_interval(decision: BusinessCase, language: Language) -> str:
    """From the 5 to the 95 % of the draws; open where there are draws enough without a break-even; empty where most have none."""
    cells = case_measure(decision, break_even_measure(decision))
    low, high = (_gain(decision, cells[end], language) for end in ("low", "high"))
    if math.isnan(cells["low"]):
        return ""
    if math.isnan(cells["high"]):
        return language.text("format.interval_open", low=low)
    if len(decision.case.programmes) > 1:
        return between(low, high, language=language)
    return language.interval(cells["low"], cells["high"], "points", 2)


def _share_without_break_even(decision: BusinessCase) -> float:
    """Share of the draws in which a point is worth nothing, so that no gain pays back the cost."""
    draws = decision.whole.measures.get(break_even_measure(decision))
    return 0.0 if draws is None else float((~np.isfinite(draws)).mean())


def _gain(decision: BusinessCase, x: float, language: Language) -> str:
    if len(decision.case.programmes) > 1:
        return language.text("executive.times", number=language.number(x, 2))
    return language.points(x, 2)
