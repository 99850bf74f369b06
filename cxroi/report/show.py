"""What notebooks call to display: tables, sentences and figures, finished words in the language of the page.

Each function takes a reason in words (a text) in place of a result and shows that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from string import Formatter
from types import MappingProxyType
from typing import Any

import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes

from cxroi import plots
from cxroi.errors import InputError
from cxroi.language import Language, catalogue
from cxroi.report.views import FROM

Draw = Callable[..., Axes]
Write = Callable[[Language, Any], str]

CODES = (
    "table rule metric exposure outcome method verdict evidence measure band stage reason check advice name estimand"
    " scenario category kind beneficiary fact input segment_of timing part unit"
)
"""Columns whose texts come from cxroi itself; texts of all other columns come from data and stay as they are."""

EMPTY = "–"
_SECTIONS = ("nb.code", "accounting", "plots.band", "plots.input", "plots.method")
_ENDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"interval": ("conf_low", "conf_high"), "range": ("low", "high")}
)
"""Columns that show two of the frame."""

_HIDDEN = ["unit", "unit_of_change"]
_CHANGES = ("estimate", "conf_low", "conf_high", "smallest_detectable")
_PERIODS = ("period", "before", "after")
_BY_UNIT = (
    "estimate std_error conf_low conf_high low median high mean smallest_detectable score_before score_after"
    " value_low value_high number actual expected"
)
_QUARTER = re.compile(r"\d{4}Q[1-4]")
_NUMBER = re.compile(r"([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(%?)")


@dataclass(frozen=True)
class Shown:
    """Something finished that a notebook displays; ``text`` says the same without tags."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


@dataclass(frozen=True)
class Picture:
    """A figure with what it shows in words, its source and n below."""

    svg: str
    alt: str
    caption: str

    def __repr__(self) -> str:
        return self.alt

    def _ipython_display_(self) -> None:
        data = {"image/svg+xml": self.svg, "text/plain": self.alt}
        display(data, raw=True, metadata={"image/svg+xml": {"alt": self.alt}})  # type: ignore[no-untyped-call]
        if self.caption:
            display(Shown(f"<figcaption>{escape(self.caption)}</figcaption>", self.caption))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Words:
    """What is found, as the title of a figure (None: as the figure itself finds); its source and n, as the caption."""

    title: str | None = ""
    caption: str = ""


def answer(sentences: Sequence[str]) -> Shown:
    """The answer to a notebook's question: the number, how sure, what would change it."""
    return Shown(f'<div class="answer">{_paragraphs(sentences)}</div>', "\n".join(sentences))


def text(sentences: Sequence[str] | str) -> Shown:
    """What is read in a table or figure."""
    lines = [sentences] if isinstance(sentences, str) else list(sentences)
    return Shown(_paragraphs(lines), "\n".join(lines))


def reason(why: str, *, language: Language) -> Shown:
    """Why there is no result, as a sentence."""
    return text(no_result(why, language))


def no_result(why: str, language: Language) -> str:
    """Sentence that says why there is no figure."""
    return language.text("nb.no_result", reason=said(why, language).rstrip("."))


def table(frame: pd.DataFrame | str, *, language: Language, columns: str = "") -> Shown:
    r"""A tidy frame with pretty headers: numbers on the right in the page's formats, texts escaped.

    Parameters
    ----------
    frame
        Tidy frame, or the reason why there is none. A column ``unit`` says how estimates of its row are written.
    columns
        Names of columns between spaces, in their order; all but the unit by default. ``interval`` and ``range`` join the
        two ends. Those that the frame lacks are left out.

    Examples
    --------
    >>> table(pd.DataFrame({"metric": ["nps"], "n": [1234]}), language=Language("en")).text
    'Score | Answers\nNPS | 1,234'
    """
    if isinstance(frame, str):
        return reason(frame, language=language)
    if frame.empty:
        return text(language.text("nb.nothing"))
    names = [name for name in columns.split() or frame.columns.drop(_HIDDEN, errors="ignore") if _has(frame, name)]
    heads = [header(name, language) for name in names]
    rows = [[cell(name, row, language) for name in names] for row in frame.to_dict("records")]
    kinds = ["number" if name in _ENDS or pd.api.types.is_numeric_dtype(frame[name]) else "words" for name in names]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>' for kind, name in zip(kinds, heads, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, kinds)}</tr>" for row in rows)
    plain = "\n".join(" | ".join(row) for row in [heads, *rows])
    return Shown(f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>', plain)


def figure(
    draw: Draw, frame: pd.DataFrame | str, words: Words | None = None, *, language: Language, **options: Any
) -> Shown | Picture:
    """A figure of ``cxroi.plots`` drawn from a tidy frame, or the reason why there is none.

    Parameters
    ----------
    draw
        Function of ``cxroi.plots``.
    words
        Its title and caption.
    options
        Handed to ``draw``.
    """
    if isinstance(frame, str):
        return reason(frame, language=language)
    if frame.empty:
        return text(language.text("nb.nothing"))
    try:
        axes = draw(frame, language=language, title="" if words is None else words.title, **options)
    except InputError:  # every row has fewer answers than may be drawn
        return text(language.text("nb.too_few"))
    return Picture(plots.to_svg(axes), plots.alt(axes), "" if words is None else words.caption)


def header(column: str, language: Language) -> str:
    """Head of a column: from the catalogue, or its own name where it comes from data."""
    return language.find(f"nb.column.{column}") or column


def cell(column: str, row: Mapping[Any, Any], language: Language) -> str:
    """One cell of a table as finished text."""
    if column in _ENDS:
        return _interval([cell(end, row, language) for end in _ENDS[column]], language, is_open=column == "range")
    value = row[column]
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return EMPTY
    if isinstance(value, str):
        if column in _PERIODS:
            return said(value, language) if value == "all" else period(value, language).replace(" ", "\u00a0")
        ours = column in CODES.split() or (column == "level" and value == "relationship")
        return said(value, language) if ours else value
    if isinstance(value, pd.Timestamp):
        return language.date(value.date())
    if isinstance(value, bool):
        return language.text("nb.yes" if value else "nb.no")
    unit = str(row.get("unit_of_change" if column in _CHANGES and "unit_of_change" in row else "unit", ""))
    unit = unit if column in _BY_UNIT.split() else ""
    return in_unit(float(value), unit, language) if unit else _WRITE.get(column, _plain)(language, value)


def period(label: str, language: Language) -> str:
    """Write a quarter or a month; ``from 2014Q1`` is a period of a table of outcomes that begins then.

    >>> period("from 2014Q1", Language("vi")), period("2014-02", Language("en"))
    ('từ Quý 1 2014', 'February 2014')
    """
    start = label.removeprefix(FROM)
    words = language.period(start)
    return words if start == label else language.text("format.from_quarter", quarter=words)


def in_words(x: float, unit: str, language: Language) -> str:
    """Write a number in its unit, the unit spelled out as in a sentence."""
    if unit == "orders":
        return language.text("nb.orders", number=language.number(x, 3))
    return _percentage_points(language, x) if unit == "probability" else in_unit(x, unit, language)


def in_unit(x: float, unit: str, language: Language) -> str:
    """Write a number in its unit as estimates name it.

    Examples
    --------
    >>> in_unit(0.0123, "probability", Language("en")), in_unit(0.71, "share", Language("vi"))
    ('1.23 pp', '71,0%')
    """
    return EMPTY if math.isnan(x) else _UNITS.get(unit, _money)(language, x)


def money(x: float, language: Language) -> str:
    """Write an amount; without a currency as a plain number."""
    return _money(language, x)


def chance_words(probability: float, language: Language, digits: int = 0) -> str:
    """Write a simulated probability: however many futures there are, never all or nothing.

    Examples
    --------
    >>> [chance_words(p, Language("en")) for p in (0.0, 0.006, 0.25, 0.994, 1.0)]
    ['fewer than 1%', 'fewer than 1%', '25%', 'more than 99%', 'more than 99%']
    """
    if probability < 0.01:
        return language.text("executive.below", number=language.percent(0.01, 0))
    if probability > 0.99:
        return language.text("executive.above", number=language.percent(0.99, 0))
    return language.percent(probability, digits)


def plain(x: float, language: Language) -> str:
    """Write a number that has no unit, with as many decimals as it needs."""
    return _plain(language, x)


def money_interval(low: float, high: float, language: Language) -> str:
    """Write a range of amounts."""
    return language.text("format.interval", low=money(low, language), high=money(high, language))


def said(words: str, language: Language) -> str:
    """Words that a room of cxroi wrote, in the language of the page; text that the catalogue does not know stays.

    The English catalogue holds each sentence of the rooms as a template; what stands in its gaps goes into the other
    language's, numbers in that language's format.

    Examples
    --------
    >>> said("12 customers with answer and outcome; at least 50 are needed", Language("vi"))
    '12 khách hàng có cả câu trả lời lẫn kết quả; cần ít nhất 50'
    """
    slug = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    for section in _SECTIONS:
        if found := language.find(f"{section}.{slug}"):
            return found
    for key, pattern in _templates():
        if match := pattern.fullmatch(words):
            gaps = {name: _gap(gap, language) for name, gap in match.groupdict().items()}
            return language.text(key, **gaps)
    return words


@cache
def _templates() -> tuple[tuple[str, re.Pattern[str]], ...]:
    english = {key: words for key, words in catalogue("en").items() if key.startswith("nb.said.")}
    return tuple((key, re.compile(_pattern(words), re.DOTALL)) for key, words in english.items())


def _pattern(words: str) -> str:
    parts = Formatter().parse(words)
    return "".join(re.escape(literal) + (f"(?P<{name}>.+)" if name else "") for literal, name, _, _ in parts)


def _gap(gap: str, language: Language) -> str:
    if _QUARTER.fullmatch(gap):
        return language.quarter(gap)
    first, both, last = gap.partition(" and ")
    if both and _QUARTER.fullmatch(first) and _QUARTER.fullmatch(last):
        return language.text("format.both", first=language.quarter(first), last=language.quarter(last))
    written = _NUMBER.fullmatch(gap)
    if written is None:
        return _assumptions(gap, language) or said(gap, language)
    number, percent = written.groups()
    sign = "+" if number.startswith("+") else ""
    digits = len(number.partition(".")[2])
    return sign + language.number(float(number.replace(",", "")), digits) + percent


def _assumptions(names: str, language: Language) -> str:
    """Names of the register of a case in words, each kind once; empty where one is none of them.

    >>> _assumptions("reach.one_call, half_life_months.one_call", Language("en"))
    'reach, share of the base; half-life of the gain'
    """
    words = [language.find(f"nb.case_assumption.{name.partition('.')[0]}") for name in names.split(", ")]
    known = [each for each in words if each]
    return "; ".join(dict.fromkeys(known)) if len(known) == len(words) else ""


def _interval(ends: Sequence[str], language: Language, *, is_open: bool) -> str:
    """Both ends as one cell, a unit behind them written once; what lacks one end is said, or nothing is written."""
    if ends[0] == ends[1]:
        return ends[0]
    if EMPTY in ends and is_open:
        key, end, known = ("below", "high", ends[1]) if ends[0] == EMPTY else ("open", "low", ends[0])
        return language.text(f"format.interval_{key}", **{end: known})
    if EMPTY in ends:
        return EMPTY
    unit = language.text("plots.pp", number="")
    is_shared = all(end.endswith(unit) for end in ends)
    low, high = (end.removesuffix(unit) for end in ends) if is_shared else ends
    return language.text("format.interval", low=low, high=high) + (unit if is_shared else "")


def _has(frame: pd.DataFrame, name: str) -> bool:
    return all(end in frame.columns for end in _ENDS.get(name, (name,)))


def _paragraphs(lines: Iterable[str]) -> str:
    return "".join(f"<p>{escape(line, quote=False)}</p>" for line in lines)


def _cells(row: Sequence[str], kinds: Sequence[str]) -> str:
    return "".join(
        f'<td class="{kind}">{escape(each, quote=False)}</td>' for kind, each in zip(kinds, row, strict=True)
    )


def _plain(language: Language, x: float) -> str:
    if math.isinf(x):
        return language.text("format.unbounded")
    digits = 0 if float(x).is_integer() or abs(x) >= 1000 else 1 if abs(x) >= 100 else 2 if abs(x) >= 1 else 3
    return language.number(x, digits)


def _count(language: Language, x: float) -> str:
    return language.number(x)


def _share(language: Language, x: float) -> str:
    return language.percent(x)


def _likelihood(language: Language, x: float) -> str:
    return chance_words(x, language, 1)


def _money(language: Language, x: float) -> str:
    if language.currency:
        return language.money(x, compact=True)
    return language.number(x, 0 if abs(x) >= 100 else 2)


def _score(language: Language, x: float) -> str:
    return language.number(x, 1)


def _mean(language: Language, x: float) -> str:
    return language.number(x, 2)


def _precise(language: Language, x: float) -> str:
    return language.number(x, 3)


def _percentage_points(language: Language, x: float) -> str:
    return language.percentage_points(x)


def _short_points(language: Language, x: float) -> str:
    return language.text("plots.pp", number=language.number(100 * x, 2))


def _whole(language: Language, x: float) -> str:
    return str(int(x))


def _times(language: Language, x: float) -> str:
    return f"{language.number(x, 1)}×"


def _months(language: Language, x: float) -> str:
    return language.number(x, 0 if float(x).is_integer() else 1)


_UNITS: Mapping[str, Write] = MappingProxyType(
    {
        "NPS points": _score,
        "share": _share,
        "answer points": _mean,
        "standard deviations": _mean,
        "probability": _short_points,
        "likelihood": _likelihood,
        "orders": _precise,
        "ratio per point": _precise,
        "ratio": _mean,
        "per_year": _share,
        "months": _months,
        "points": _mean,
        "count": _count,
    }
)

_COLUMNS: Mapping[Write, str] = MappingProxyType(
    {
        _share: "response_rate promoter_share detractor_share share_answered retained survival annual_discount_rate share"
        " error share_of_cost roi share_known power alone",
        _likelihood: "p_best p_npv_positive",
        _money: "margin revenue margin_per_order revenue_per_order discounted_margin amount lifetime_value"
        " value_of_one_point cost total cac written_off book_value npv_change spending npv_alone npv_added npv_mean"
        " expected_shortfall worth net_worth change",
        _count: "n customers answered invited rows read kept lost total_rows n_obs n_clusters bytes n_before n_after"
        " size answers",
        _mean: "orders orders_per_customer score referrals_per_hundred elasticity",
        _whole: "year quarter month until_month",
        _months: "horizon_months",
        _times: "times",
    }
)
_WRITE: Mapping[str, Write] = MappingProxyType(
    {name: write for write, names in _COLUMNS.items() for name in names.split()}
)
