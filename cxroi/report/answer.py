"""The question that the executive page opens with and its answer in three computed sentences."""

from __future__ import annotations

import math

from cxroi.case import BusinessCase, Case, observed_half_life_months
from cxroi.language import Language
from cxroi.report.company import Assessment
from cxroi.report.facts import case_measure, linkage_reason, main_estimate, strength_of, value_row
from cxroi.report.show import chance_words, money, money_interval
from cxroi.report.wording import (
    answer_scale,
    claim_words,
    horizon_words,
    reason_words,
    slug,
    subject_words,
    verdict_words,
    with_break_even_range,
)
from cxroi.value import CustomerValue


def question(a: Assessment, language: Language) -> str:
    """What is to be decided, or what the data can tell."""
    if isinstance(a.case, Case):
        return language.text("executive.question.case", programme=subject_words(a.case, language))
    if a.exposure:
        return language.text("executive.question.point", metric=a.exposure.upper())
    return language.text("executive.question.customer")


def subtitle(a: Assessment, language: Language) -> str:
    """Which data stand behind."""
    first, last = a.window
    return language.text(
        "executive.subtitle", company=a.tables.name, first=language.date(first), last=language.date(last)
    )


def answer(assessment: Assessment, language: Language) -> tuple[str, str, str]:
    """Three sentences: the number, how sure it is, what would change it."""
    return _number(assessment, language), how_sure(assessment, language), what_changes(assessment, language)


def _number(a: Assessment, language: Language) -> str:
    if isinstance(a.decision, BusinessCase):
        row = a.decision.glance().iloc[0]
        chance = float(row["p_npv_positive"])
        return language.text(
            "executive.answer.case",
            verdict=verdict_words(a.decision, language),
            months=language.number(a.decision.case.horizon_months),
            median=money(float(row["npv_median"]), language),
            interval=money_interval(float(row["npv_low"]), float(row["npv_high"]), language),
            chance=chance_words(chance, language),
        )
    point = value_row(a, "value_of_one_point")
    why = reason_words(a.decision, language)
    if point is not None:
        return language.text(
            "executive.answer.point",
            answer=answer_scale(a, language),
            value=money(point["estimate"], language),
            interval=money_interval(point["low"], point["high"], language),
            months=horizon_words(a, language),
            reason=why,
        )
    whole = value_row(a, "lifetime_value")
    if whole is not None:
        return language.text(
            "executive.answer.customer",
            value=money(whole["estimate"], language),
            interval=money_interval(whole["low"], whole["high"], language),
            months=horizon_words(a, language),
            reason=reason_words(a.value.reason, language)
            if isinstance(a.value, CustomerValue) and a.value.reason
            else why,
        )
    return language.text("executive.answer.none", reason=why)


def how_sure(a: Assessment, language: Language) -> str:
    """How satisfaction goes with what customers do next, and what that is worth as evidence."""
    row = main_estimate(a)
    if row is None:
        return language.text("executive.sure.none", reason=reason_words(linkage_reason(a, "retained"), language))
    claim = claim_words(a, row, language)
    if row["conf_low"] <= 0 <= row["conf_high"]:
        return language.text("executive.sure_unclear", claim=claim)
    caveat = language.text(f"executive.caveat.{strength_of(a, str(row['evidence']))}")
    return language.text("executive.sure_clear", claim=claim, caveat=caveat)


def what_changes(a: Assessment, language: Language) -> str:
    """Where the verdict would turn, or what it would take to have one."""
    if isinstance(a.decision, str):
        return language.text(f"executive.change.{_missing(a)}")
    cells = case_measure(a.decision, "break_even_multiple")
    multiple = cells["median"]
    first = (
        language.text("executive.change.no_gain", answer=answer_scale(a, language))
        if math.isnan(multiple)
        else _break_even_sentence(a.decision, multiple, language)
    )
    return _break_even_and_widest(a.decision, first, language)


def if_it_fades(a: Assessment, language: Language) -> str:
    """What is left of the verdict where gains fade as answers have so far; empty where nothing longer is stated."""
    if a.faded is None:
        return ""
    row = a.faded.glance().iloc[0]
    stated = dict.fromkeys(each.half_life_months for each in a.case.programmes) if isinstance(a.case, Case) else {}
    lives = [
        language.text("documents.faded.never")
        if each == "never"
        else language.text("documents.faded.halves", months=language.number(each, 0 if float(each).is_integer() else 1))
        for each in stated
    ]
    return language.text(
        "documents.faded.sentence",
        stated=", ".join(lives),
        months=language.number(observed_half_life_months(a.faded.response), 1),
        median=money(float(row["npv_median"]), language),
        chance=chance_words(float(row["p_npv_positive"]), language),
    )


def _break_even_and_widest(decision: BusinessCase, first: str, language: Language) -> str:
    inputs = decision.tornado()
    if inputs.empty:
        return language.text("executive.change.alone", first=first)
    widest = inputs.iloc[0]
    low, high = sorted((float(widest["npv_low"]), float(widest["npv_high"])))
    second = language.text(
        "executive.change.widest",
        input=language.text(f"plots.input.{slug(str(widest['input']))}"),
        interval=money_interval(low, high, language),
    )
    return language.text("executive.change.both", first=first, second=second)


def _missing(a: Assessment) -> str:
    """What stands between the data and a verdict."""
    if not a.exposure:
        return "answers"
    if a.panel.timing != "before":
        return "timing"
    return "outcomes" if isinstance(a.value, CustomerValue) and a.value.reason else "case"


def _break_even_sentence(decision: BusinessCase, multiple: float, language: Language) -> str:
    if len(decision.case.programmes) > 1:
        words = language.text("executive.times_stated", number=language.number(multiple, 2))
        gain = with_break_even_range(decision, words, language)
        return language.text("executive.change.multiple", multiple=gain)
    points = language.points(case_measure(decision, "break_even_score_gain")["median"], 2)
    stated = decision.case.programmes[0].gain
    return language.text(
        "executive.change.break_even",
        gain=with_break_even_range(decision, points, language),
        mode=language.number(stated.mode, 2),
        interval=language.interval(stated.low, stated.high, "number", 2),
    )
