"""The numbers that a leader reads first, each with its range and its grade of evidence."""

from __future__ import annotations

import math

from cxroi.case import BusinessCase
from cxroi.language import Language
from cxroi.report.company import Assessment
from cxroi.report.facts import break_even_measure, case_measure, headline, last_score, value_row, weakest_rung
from cxroi.report.model import KeyFigure
from cxroi.report.show import chance_words, money, money_interval
from cxroi.report.wording import (
    answer_scale,
    between,
    break_even_range,
    change_range,
    change_words,
    horizon_words,
    quarter_words,
    score_words,
)


def key_figures(a: Assessment, language: Language) -> list[KeyFigure]:
    """The numbers of the first screen, each with its range and its grade of evidence."""
    found = [_score_figure(a, language), _retention_figure(a, language), *_value_figures(a, language)]
    if isinstance(a.decision, BusinessCase):
        found += _case_figures(a, a.decision, language)
    return [each for each in found if each is not None]


def _figure(key: str, value: str, interval: str, evidence: str, language: Language, **words: str) -> KeyFigure:
    return KeyFigure(f"key-{key}", language.text(f"executive.key.{key}", **words), value, interval, evidence)


def _score_figure(a: Assessment, language: Language) -> KeyFigure | None:
    row = last_score(a)
    if row is None:
        return None
    ends = [score_words(a.exposure, float(row[end]), language) for end in ("conf_low", "conf_high")]
    words = [language.text("executive.interval_95", interval=between(*ends, language=language))]
    words.append(language.text("executive.n", n=language.number(row["n"])))
    if not math.isnan(float(row["response_rate"])):
        words.append(language.text("executive.response_rate", rate=language.percent(row["response_rate"], 0)))
    return _figure(
        "score",
        score_words(a.exposure, float(row["estimate"]), language),
        "; ".join(words),
        language.text("executive.measured"),
        language,
        metric=a.exposure.upper(),
        quarter=quarter_words(str(row["period"]), language),
    )


def _retention_figure(a: Assessment, language: Language) -> KeyFigure | None:
    row = headline(a, "retained")
    if row is None:
        return None
    interval = change_range("retained", float(row["conf_low"]), float(row["conf_high"]), language)
    return _figure(
        "retention",
        change_words("retained", float(row["estimate"]), language),
        language.text("executive.interval_95", interval=interval),
        language.evidence(str(row["evidence"])),
        language,
        answer=answer_scale(a, language),
    )


def _value_figures(a: Assessment, language: Language) -> list[KeyFigure]:
    if isinstance(a.value, str):
        return []
    found = []
    for key, measure in (("customer", "lifetime_value"), ("point", "value_of_one_point")):
        row = value_row(a, measure)
        if row is not None:
            interval = money_interval(row["low"], row["high"], language)
            found.append(
                _figure(
                    key,
                    money(row["estimate"], language),
                    language.text("executive.range", interval=interval),
                    language.evidence(a.value.evidence) if key == "point" else language.text("executive.projected"),
                    language,
                    months=horizon_words(a, language),
                    **({"answer": answer_scale(a, language)} if key == "point" else {}),
                )
            )
    return found


def _case_figures(a: Assessment, decision: BusinessCase, language: Language) -> list[KeyFigure]:
    rung = language.evidence(weakest_rung(decision))
    months = language.number(decision.case.horizon_months)
    npv, roi = case_measure(decision, "npv"), case_measure(decision, "roi")
    chance = chance_words(case_measure(decision, "p_npv_positive")["mean"], language)
    words = language.text("executive.range", interval=money_interval(npv["low"], npv["high"], language))
    found = [
        _figure(
            "npv",
            money(npv["median"], language),
            f"{words}; {language.text('executive.p_positive', chance=chance)}",
            rung,
            language,
            months=months,
        )
    ]
    if not math.isnan(roi["median"]):
        ends = language.interval(roi["low"], roi["high"], "percent", 0)
        percent = language.percent(roi["median"], 0)
        found.append(_figure("roi", percent, language.text("executive.range", interval=ends), rung, language))
    found.append(_payback_figure(decision, rung, language))
    found.append(_break_even_figure(a, decision, rung, language))
    return found


def _payback_figure(decision: BusinessCase, rung: str, language: Language) -> KeyFigure:
    plain, discounted = (case_measure(decision, f"{name}payback_months") for name in ("", "discounted_"))
    share = case_measure(decision, "p_payback_within_horizon")["mean"]
    words = []
    if not math.isnan(plain["low"]):
        low, high = (_months_or(plain[end], "beyond_horizon", language) for end in ("low", "high"))
        words.append(language.text("executive.range", interval=between(low, high, language=language)))
    words.append(language.text("executive.payback_share", chance=chance_words(share, language)))
    if not math.isnan(discounted["median"]):
        words.append(language.text("executive.discounted_payback", months=language.number(discounted["median"], 1)))
    return _figure("payback", _months_or(plain["median"], "no_payback", language), "; ".join(words), rung, language)


def _months_or(months: float, otherwise: str, language: Language) -> str:
    if math.isnan(months):
        return language.text(f"executive.{otherwise}")
    return language.text("executive.months", number=language.number(months, 1))


def _break_even_figure(a: Assessment, decision: BusinessCase, rung: str, language: Language) -> KeyFigure:
    several = len(decision.case.programmes) > 1
    median = case_measure(decision, break_even_measure(decision))["median"]
    if math.isnan(median):
        value = language.text("executive.no_break_even")
    elif several:
        value = language.text("executive.multiple", number=language.number(median, 2))
    else:
        value = language.points(median, 2)
    words = [break_even_range(decision, language)]
    if not several:
        stated = decision.case.programmes[0].gain
        ends = language.interval(stated.low, stated.high, "number", 2)
        words.append(language.text("executive.stated_gain", mode=language.number(stated.mode, 2), interval=ends))
    joined = "; ".join(each for each in words if each)
    if several:
        return _figure("break_even_multiple", value, joined, rung, language)
    low, high = (language.number(end) for end in a.panel.score_ranges[a.exposure])
    return _figure("break_even", value, joined, rung, language, low=low, high=high)
