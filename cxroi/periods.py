"""Quarters and months as integers: ``year * 4 + quarter - 1`` and ``year * 12 + month - 1``.

>>> label(index("2026Q3"), "quarter"), start(index("2026Q3"), "quarter").isoformat()
('2026Q3', '2026-07-01')
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Literal

from cxroi.errors import InputError

Period = Literal["quarter", "month"]

MONTHS: dict[Period, int] = {"quarter": 3, "month": 1}
PER_YEAR: dict[Period, int] = {"quarter": 4, "month": 12}


def index(text: str, period: Period = "quarter") -> int:
    """Index of a period written ``2026Q3`` (quarter) or ``2026-07`` (month).

    Raises
    ------
    InputError
        If the text is not written like that.
    """
    pattern = r"(\d{4})-?Q([1-4])" if period == "quarter" else r"(\d{4})-(0[1-9]|1[0-2])"
    found = re.fullmatch(pattern, text.strip().upper())
    if found is None:
        example = "2026Q3" if period == "quarter" else "2026-07"
        raise InputError(f"a {period} must be written like {example}; got {text!r}")
    return int(found[1]) * PER_YEAR[period] + int(found[2]) - 1


def label(period_index: int, period: Period = "quarter") -> str:
    """Text of a period's index: ``2026Q3`` or ``2026-07``."""
    year, part = divmod(int(period_index), PER_YEAR[period])
    return f"{year}Q{part + 1}" if period == "quarter" else f"{year}-{part + 1:02d}"


def start(period_index: int, period: Period = "quarter") -> dt.date:
    """First day of the period."""
    year, part = divmod(int(period_index), PER_YEAR[period])
    return dt.date(year, part * MONTHS[period] + 1, 1)


def end(period_index: int, period: Period = "quarter") -> dt.date:
    """Last day of the period."""
    return start(period_index + 1, period) - dt.timedelta(days=1)


def containing(day: dt.date, period: Period = "quarter") -> int:
    """Index of the period that contains the day."""
    return day.year * PER_YEAR[period] + (day.month - 1) // MONTHS[period]
