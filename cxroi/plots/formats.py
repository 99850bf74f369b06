"""How figures write names, scores, outcomes and amounts, in both languages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from babel.numbers import get_currency_symbol

from cxroi.language import LOCALES, SCALES, Kind, Language
from cxroi.plots.canvas import LABEL_LENGTH, LINE_LENGTH, Floats, Format, on_lines, plain

NORMAL_975 = 1.959964
ESTIMATE = ("estimate", "conf_low", "conf_high")
MONEY = frozenset({"margin", "revenue", "ltv", "service_cost"})


def capital(words: str) -> str:
    """Words with a capital first letter."""
    return words[:1].upper() + words[1:]


def with_currency(language: Language, currency: str) -> Language:
    """The language with the currency of the data where it has none of its own."""
    if language.currency or not re.fullmatch("[A-Z]{3}", currency):
        return language
    return replace(language, currency=currency)


def money_format(language: Language) -> Format:
    """How amounts are written; plain numbers where no currency is known."""
    if not language.currency:
        return lambda x: language.number(x, 0 if abs(x) >= 100 else 2)
    return lambda x: language.money(x, compact=True)


def money_kind(language: Language) -> tuple[Kind]:
    """Kind of amounts for an interval."""
    return ("compact_money",) if language.currency else ("number",)


def outcome_format(outcome: str, language: Language) -> Format:
    """How an outcome is written."""
    if outcome == "retained":
        return lambda x: language.percent(x, 0)
    if outcome in MONEY:
        return money_format(language)
    return lambda x: language.number(x, 4 if outcome == "referrals" else 2)


def change_kind(outcome: str, language: Language) -> tuple[Kind, int]:
    """Kind and decimals of a change of an outcome for an interval."""
    if outcome == "retained":
        return "percentage_points", 2
    if outcome in MONEY:
        return money_kind(language)[0], 0
    return "number", 4 if outcome == "referrals" else 3


def change_format(outcome: str, language: Language) -> Format:
    """How a change of an outcome is written, with its sign."""
    if outcome == "retained":
        return lambda x: language.text("plots.pp", number=signed(x, language.number(100 * x, 2)))
    shown = outcome_format(outcome, language)
    return lambda x: signed(x, shown(x) if outcome != "orders" else language.number(x, 3))


def signed(x: float, text: str) -> str:
    """A number in words with a plus sign where it is above zero."""
    return f"+{text}" if x > 0 else text


def score_format(metric: str, language: Language) -> Format:
    """How the level of a metric is written."""
    if metric == "csat":
        return lambda x: language.percent(x, 0)
    return lambda x: language.number(x, 0 if metric == "nps" else 2)


def metric_name(metric: str, language: Language) -> str:
    """Name of a score."""
    return metric.upper() if metric in ("nps", "csat", "ces") else plain(metric)


def method_name(method: str, language: Language) -> str:
    """Name of a method of estimation."""
    slug = re.sub(r"\W+", "_", method.lower()).strip("_")
    return language.find(f"plots.method.{slug}") or plain(method)


def band_name(band: str, language: Language) -> str:
    """Name of a band of answers."""
    return language.find(f"plots.band.{band.replace(' ', '_')}") or plain(band)


def band_and_n(band: str, customers: float, language: Language) -> str:
    """Band with its number of customers, on two lines where one would take the room of the bars."""
    words = language.text("plots.band_n", band=band_name(band, language), n=language.number(customers))
    return words if len(words) <= LINE_LENGTH else words.replace(" (", "\n(")


def per_point(outcome: str, language: Language, *, wrapped: bool = True) -> str:
    """What an axis of changes per point is called, with its unit."""
    unit = " ({})".format(language.text("plots.pp", number="").strip()) if outcome == "retained" else ""
    words = language.text("plots.per_point", outcome=language.text(f"plots.outcome.{outcome}")) + unit
    return on_lines(words, 52) if wrapped else words


def change_of_money(language: Language) -> Format:
    """How a change of an amount is written, with its sign."""
    shown = money_format(language)
    return lambda x: signed(x, shown(x))


def scaled_money(values: Floats, language: Language) -> tuple[float, int, str]:
    """What short amounts are divided by, their decimals, and the unit that is left: ``(1e6, 1, "million $")``."""
    size = float(np.nanmax(np.abs(values), initial=0.0))
    symbol = get_currency_symbol(language.currency, LOCALES[language.code]) if language.currency else ""
    found = [(name, 10.0**exponent) for name, exponent in SCALES if size >= 10.0**exponent]
    if not found and size >= 10_000:
        found = [("thousand", 1e3)]
    name, divisor = found[0] if found else ("", 1.0)
    words = language.text("plots.thousand") if name == "thousand" else language.text(f"scale.{name}") if name else ""
    digits = 0 if size / divisor >= 100 else 1 if size / divisor >= 10 else 2
    return divisor, digits, f"{words} {symbol}".strip()


def counted(noun: str, number: float, language: Language) -> str:
    """A number with its noun: quarters, months, periods."""
    words = language.number(number)
    return language.text(f"plots.{noun}_{'one' if words == '1' else 'other'}", number=words)


def level_name(level: str, language: Language, *, within: bool = False, length: int = LABEL_LENGTH) -> str:
    """Name of a level: of a band where it is one, small ``within`` a sentence, else as the data have it."""
    slug = re.sub(r"\W+", "_", level)
    known = language.find(f"plots.level.{slug}") or language.find(f"plots.band.{slug}")
    if known is None:
        return plain(level, length=length)
    return known[:1].lower() + known[1:] if within else known


def in_words(row: Mapping[Any, Any], shown: Format, names: Sequence[str] = ESTIMATE) -> list[str]:
    """Figures of a row in words: by default an estimate and the ends of its interval."""
    return [shown(float(row[name])) for name in names]


def with_interval(figures: Sequence[str], language: Language) -> str:
    """A figure with its 95 % interval; the three are written already."""
    value, low, high = figures
    return language.text(
        "plots.with_interval", value=value, interval=language.text("format.interval", low=low, high=high)
    )


def with_range(figures: Sequence[str], language: Language) -> str:
    """A figure with its 5–95 % range; the three are written already."""
    value, low, high = figures
    return language.text("plots.with_range", value=value, interval=language.text("format.interval", low=low, high=high))


def finding(name: str, language: Language, **values: str) -> str:
    """What a figure shows, as a title says it."""
    return language.text(f"plots.finding.{name}", **values)


def is_clear(one: Mapping[Any, Any], other: Mapping[Any, Any], *, column: str = "estimate") -> bool:
    """Whether two figures of different customers are told apart by their standard errors (95 %)."""
    return bool(abs(one[column] - other[column]) > NORMAL_975 * np.hypot(one["std_error"], other["std_error"]))
