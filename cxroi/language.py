"""Words and numbers in Vietnamese or English: the catalogue ``messages/*.toml`` and Babel's number formats.

>>> vi, en = Language("vi", "VND"), Language("en", "VND")
>>> vi.quarter("2026Q3"), en.quarter("2026Q3")
('Quý 3 2026', 'Q3 2026')
>>> vi.percent(0.1234), en.percent(0.1234)
('12,3%', '12.3%')
"""

from __future__ import annotations

import datetime as dt
import math
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, SupportsFloat

from babel import Locale
from babel.dates import format_date
from babel.numbers import format_currency, format_decimal, get_currency_precision, get_currency_symbol, list_currencies

from cxroi import periods
from cxroi.errors import CxroiError, InputError

Code = Literal["vi", "en"]
OutcomePeriod = Literal["quarter", "month", "year", "period"]
Kind = Literal["number", "percent", "percentage_points", "points", "money", "compact_money"]

LOCALES: Mapping[str, str] = MappingProxyType({"vi": "vi_VN", "en": "en_US"})
SCALES: tuple[tuple[str, int], ...] = (("trillion", 12), ("billion", 9), ("million", 6))
EVIDENCE: tuple[str, ...] = ("association", "adjusted", "within_customer", "quasi_experiment", "experiment")
COMPACT_DIGITS = 3  # significant digits of a compact amount
OWN = frozenset({"outcome_period", "outcome_periods", "following_period"})  # placeholders that a language fills itself
DATES: Mapping[str, str] = MappingProxyType({"vi": "dd/MM/yyyy", "en": "long"})


@dataclass(frozen=True)
class Language:
    """A language, the currency in which money is written and the word for an outcome period.

    Parameters
    ----------
    code
        ``vi`` or ``en``.
    currency
        ISO 4217 code; empty where no money is written.
    outcome_period
        How long an outcome is watched: ``quarter``, ``month`` or ``year``; ``period`` for any other length. It fills
        the placeholders ``{outcome_period}`` and ``{outcome_periods}`` of every message.
    outcome_follows
        Whether that period is the one after the answer's; otherwise it is the one that was observed. It fills
        ``{following_period}``.

    Raises
    ------
    InputError
        If the language or the currency is unknown.
    """

    code: Code
    currency: str = ""
    outcome_period: OutcomePeriod = "quarter"
    outcome_follows: bool = True

    def __post_init__(self) -> None:
        if self.code not in LOCALES:
            raise InputError(f"the language must be one of {', '.join(LOCALES)}; got {self.code!r}")
        if self.currency and self.currency not in list_currencies():
            raise InputError(f"the currency must be an ISO 4217 code such as VND or USD; got {self.currency!r}")

    def text(self, key: str, **values: str) -> str:
        """Words of a key, its placeholders filled with values that the caller has formatted.

        Raises
        ------
        CxroiError
            If the catalogue lacks the key, or the values are not exactly the placeholders.

        Examples
        --------
        >>> Language("en").text("format.interval", low="1", high="2")
        '1 to 2'
        >>> Language("vi", outcome_period="year").text("executive.outcome.orders")
        'số đơn hàng năm sau'
        """
        words = catalogue(self.code).get(key)
        if words is None:
            raise CxroiError(f"messages/{self.code}.toml has no {key!r}")
        wanted = placeholders(words)
        if wanted - OWN != set(values):
            raise CxroiError(f"{key!r} takes {sorted(wanted - OWN)}; got {sorted(values)}")
        return words.format_map(values | {name: self._own(name) for name in wanted & OWN})

    def find(self, key: str) -> str | None:
        """Words of a key that takes no values; None where the catalogue lacks it.

        >>> Language("en").find("plots.method.raw"), Language("en").find("plots.method.sorcery")
        ('as it is', None)
        """
        return self.text(key) if key in catalogue(self.code) else None

    def number(self, x: SupportsFloat | None, digits: int = 0) -> str:
        """Write a number with that many decimals, halves away from zero; a missing one in words."""
        with localcontext(prec=400):  # an internal rate of return may have dozens of digits
            return self._unusual(x) or format_decimal(_rounded(x, digits), _pattern(digits), self._locale)

    def percent(self, x: SupportsFloat | None, digits: int = 1) -> str:
        """Write a share (0.12) as a percentage (12%)."""
        return self._unusual(x) or f"{self.number(_hundredfold(x), digits)}%"

    def percentage_points(self, x: SupportsFloat | None, digits: int = 1) -> str:
        """Write a difference of two shares (0.012) in percentage points (1.2)."""
        return self._unusual(x) or self._counted("format.percentage_points", self.number(_hundredfold(x), digits))

    def points(self, x: SupportsFloat | None, digits: int = 1) -> str:
        """Write a difference of two scores in points of the scale."""
        return self._unusual(x) or self._counted("format.points", self.number(x, digits))

    def money(self, x: SupportsFloat | None, compact: bool = False) -> str:
        r"""Write an amount of the currency; ``compact`` writes millions and billions in words.

        Raises
        ------
        CxroiError
            If the language was made without a currency.

        Examples
        --------
        >>> Language("vi", "VND").money(12.4e9, compact=True)
        '12,4\xa0tỷ\xa0₫'
        >>> Language("en", "VND").money(12.4e9, compact=True), Language("en", "USD").money(1234.5)
        ('₫12.4\xa0billion', '$1,234.50')
        """
        if not self.currency:
            raise CxroiError("money was to be written, but no currency was stated")
        return self._unusual(x) or (self._compact(_decimal(x)) if compact else self._amount(_decimal(x)))

    def interval(self, low: SupportsFloat | None, high: SupportsFloat | None, kind: Kind, digits: int = 1) -> str:
        """Write a range from ``low`` to ``high``, each as its kind is written."""
        if kind in ("points", "percentage_points"):
            factor = 100 if kind == "percentage_points" else 1
            ends = [self.number(None if x is None else _decimal(x) * factor, digits) for x in (low, high)]
            return self.text(f"format.{kind}_other", number=self.text("format.interval", low=ends[0], high=ends[1]))
        return self.text("format.interval", low=self._as(low, kind, digits), high=self._as(high, kind, digits))

    def date(self, day: dt.date) -> str:
        """Write a day in full: ngày 30/09/2026 or September 30, 2026."""
        return self.text("format.date", date=format_date(day, DATES[self.code], locale=self._locale))

    def quarter(self, label: str) -> str:
        """Write a quarter given as ``2026Q3``."""
        year, part = divmod(periods.index(label), 4)
        return self.text("format.quarter", quarter=str(part + 1), year=str(year))

    def month(self, label: str) -> str:
        """Write a month given as ``2026-07``."""
        words = format_date(periods.start(periods.index(label, "month"), "month"), "LLLL yyyy", locale=self._locale)
        return words[:1].upper() + words[1:]

    def period(self, label: str) -> str:
        """Write a quarter given as ``2026Q3`` or a month given as ``2026-07``."""
        return self.quarter(label) if "Q" in label.upper() else self.month(label)

    def evidence(self, rung: str) -> str:
        """Name of a rung of the claim ladder, written with spaces, hyphens or underscores."""
        return self.text(f"evidence.{_rung(rung)}")

    def verb(self, rung: str) -> str:
        """Verb that the rung has earned between a score and an outcome."""
        return self.text(f"verb.{_rung(rung)}")

    @property
    def _locale(self) -> Locale:
        return Locale.parse(LOCALES[self.code])

    def _own(self, name: str) -> str:
        if name == "following_period":
            return self.text(f"following_period.{'next' if self.outcome_follows else 'observed'}")
        return self.text(f"{name}.{self.outcome_period}")

    def _unusual(self, x: SupportsFloat | None) -> str:
        if x is None or math.isnan(float(x)):
            return self.text("format.missing")
        return self.text("format.unbounded") if math.isinf(float(x)) else ""

    def _as(self, x: SupportsFloat | None, kind: Kind, digits: int) -> str:
        if kind in ("money", "compact_money"):
            return self.money(x, compact=kind == "compact_money")
        return self.percent(x, digits) if kind == "percent" else self.number(x, digits)

    def _counted(self, key: str, number: str) -> str:
        return self.text(f"{key}_{'one' if number in ('1', '-1') else 'other'}", number=number)

    def _amount(self, x: Decimal, digits: int | None = None) -> str:
        digits = get_currency_precision(self.currency) if digits is None else digits
        pattern = self._locale.currency_formats["standard"].pattern.replace("#,##0.00", _pattern(digits))
        return format_currency(_rounded(x, digits), self.currency, pattern, self._locale, currency_digits=False)

    def _compact(self, x: Decimal) -> str:
        significant = x if x == 0 else _rounded(x, COMPACT_DIGITS - 1 - x.adjusted())
        for name, exponent in SCALES:
            if significant.adjusted() >= exponent and significant != 0:
                scaled = significant.scaleb(-exponent)
                number = format_decimal(abs(scaled), "#,##0.##", self._locale)
                return self.text(
                    "format.compact_money",
                    sign="-" if significant < 0 else "",
                    symbol=get_currency_symbol(self.currency, self._locale),
                    number=number,
                    scale=self.text(f"scale.{name}"),
                )
        return self._amount(x, 0 if abs(x) >= 1000 else None)


def placeholders(words: str) -> set[str]:
    """Names of the placeholders in a message."""
    return {name for _, name, _, _ in string.Formatter().parse(words) if name is not None}


@cache
def catalogue(name: str) -> Mapping[str, str]:
    """Messages of ``messages/<name>.toml``, nested tables joined by dots.

    Examples
    --------
    >>> catalogue("en")["scale.billion"]
    'billion'
    """
    source = files("cxroi").joinpath("messages", f"{name}.toml")
    return MappingProxyType(flatten(tomllib.loads(source.read_text(encoding="utf-8"))))


def flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested tables of texts as one, keys joined by dots."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        elif isinstance(value, str):
            flat[f"{prefix}{key}"] = value
        else:
            raise CxroiError(f"message {prefix}{key} must be text; got {value!r}")
    return flat


def _rung(name: str) -> str:
    rung = name.strip().lower().replace(" ", "_").replace("-", "_")
    return {"within": "within_customer", "raw": "association"}.get(rung, rung)


def _decimal(x: SupportsFloat | None) -> Decimal:
    if x is None:
        raise TypeError("a number is needed")
    return x if isinstance(x, Decimal) else Decimal(x) if isinstance(x, int) else Decimal(repr(float(x)))


def _hundredfold(x: SupportsFloat | None) -> Decimal:
    return _decimal(x) * 100


def _rounded(x: SupportsFloat | None, digits: int) -> Decimal:
    with localcontext(prec=400):
        rounded = _decimal(x).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP)
    return abs(rounded) if rounded == 0 else rounded


def _pattern(digits: int) -> str:
    return "#,##0" + ("." + "0" * digits if digits else "")
