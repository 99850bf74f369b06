"""Numbers and dates as people type them as text: thousands, decimals, percentages, units; what is ambiguous stays so."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal

SPACES = re.compile(r"[\s\u00a0\u202f\u2007\u2009]+")
PLAIN = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
GROUPED = re.compile(
    r"[+-]?(?P<whole>\d{1,3}(?:(?P<sign>[., '’])\d{3})(?:(?P=sign)\d{3})*)(?:(?P<point>[.,])(?P<rest>\d+))?"
)
UNITS = {
    "nghìn": 3, "ngàn": 3, "ngan": 3, "nghin": 3, "k": 3, "thousand": 3,
    "triệu": 6, "trieu": 6, "tr": 6, "m": 6, "mn": 6, "mio": 6, "million": 6, "millions": 6,
    "tỷ": 9, "tỉ": 9, "ty": 9, "ti": 9, "b": 9, "bn": 9, "billion": 9, "billions": 9,
}  # fmt: skip
"""Words for powers of ten behind an amount."""


@dataclass(frozen=True)
class Ambiguous:
    """A text with two readings: thousands apart, or a decimal."""

    as_thousands: Decimal
    as_decimal: Decimal


def number_in(text: str) -> Decimal | Ambiguous | None:
    """Number that a text states and nothing else; None where it states none.

    Examples
    --------
    >>> number_in("1.000.000"), number_in("1,000,000.5"), number_in("12,5"), number_in("5 triệu")
    (Decimal('1000000'), Decimal('1000000.5'), Decimal('12.5'), None)
    >>> number_in("1.000")
    Ambiguous(as_thousands=Decimal('1000'), as_decimal=Decimal('1.000'))
    """
    plain = SPACES.sub(" ", text).strip().replace("−", "-")
    grouped = GROUPED.fullmatch(plain)
    if grouped and grouped["point"] != grouped["sign"]:
        sign, point = grouped["sign"], grouped["point"]
        thousands = Decimal(re.sub(r"[., '’]", "", grouped["whole"]) + (f".{grouped['rest']}" if point else ""))
        thousands = -thousands if plain.startswith("-") else thousands
        once = grouped["whole"].count(sign) == 1
        if not point and once and sign in ".," and not grouped["whole"].startswith("0"):
            return Ambiguous(thousands, Decimal(plain.replace(",", ".")))
        if not (grouped["whole"].startswith("0") and sign in ".,"):
            return thousands
    return Decimal(plain.replace(",", ".")) if PLAIN.fullmatch(plain) else None


def share_in(text: str) -> Decimal | Ambiguous | None:
    """Share that a text states: ``40%``, ``12,5 %``, ``0.4``.

    >>> share_in("40%"), share_in("12,5 %"), share_in("0,4")
    (Decimal('0.4'), Decimal('0.125'), Decimal('0.4'))
    """
    bare = text.strip()
    if not bare.endswith("%"):
        return number_in(bare)
    found = number_in(bare[:-1])
    if isinstance(found, Ambiguous):  # nobody means a thousand percent
        return found.as_decimal / 100
    return None if found is None else found / 100


def amount_meant(text: str) -> Decimal | None:
    """Number that was most likely meant by an amount with a unit or a currency beside it, to be put to its writer.

    >>> amount_meant("5 triệu"), amount_meant("1,5 tỷ đồng"), amount_meant("500.000.000 VND"), amount_meant("a lot")
    (Decimal('5000000'), Decimal('1500000000'), Decimal('500000000'), None)
    """
    found = re.fullmatch(
        r"[^\d+-]{0,4}([+-]?\d[\d., '’]*?)[.,]?\s*([^\d\s.,]*)\s*([^\d\s]*)", SPACES.sub(" ", text).strip()
    )
    if not found:
        return None
    number, power = number_in(found[1].strip()), UNITS.get(found[2].casefold())
    if isinstance(number, Ambiguous):
        number = number.as_decimal if power else None
    if number is None:
        return None
    return Decimal(format((number.scaleb(power) if power else number).normalize(), "f"))


def date_in(text: str) -> tuple[dt.date, ...]:
    """Dates that a text may state: none, one, or two where day and month could be exchanged.

    >>> date_in("2026-10-01"), date_in("31/12/2026"), date_in("autumn")
    ((datetime.date(2026, 10, 1),), (datetime.date(2026, 12, 31),), ())
    >>> [str(day) for day in date_in("01/10/2026")]
    ['2026-10-01', '2026-01-10']
    """
    plain = SPACES.sub("", text)
    if year_first := re.fullmatch(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", plain):
        return _days([(int(year_first[1]), int(year_first[2]), int(year_first[3]))])
    if year_last := re.fullmatch(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", plain):
        first, second, year = (int(part) for part in year_last.groups())
        return _days([(year, second, first), (year, first, second)])
    return ()


def _days(written: list[tuple[int, int, int]]) -> tuple[dt.date, ...]:
    days: dict[dt.date, None] = {}
    for year, month, day in written:
        try:
            days[dt.date(year, month, day)] = None
        except ValueError:
            continue
    return tuple(days)
