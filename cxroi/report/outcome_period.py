"""How long the outcomes of a data set are watched, and the language that says so."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from cxroi.language import Language, OutcomePeriod
from cxroi.periods import Period
from cxroi.tables import Tables

DAYS: dict[OutcomePeriod, tuple[int, int]] = {"month": (28, 31), "quarter": (90, 92), "year": (365, 366)}


def outcome_period(tables: Tables, *, period: Period = "quarter") -> OutcomePeriod:
    """Length of an outcome's period: the panel's own, or for a table of outcomes the one that all its rows have.

    Parameters
    ----------
    tables
        A data set that was read.
    period
        Grain of the panel, which holds where outcomes come from transactions.

    Returns
    -------
    str
        ``month``, ``quarter`` or ``year``; ``period`` where a table of outcomes has another length, or several.
    """
    if tables.outcomes is None:
        return period
    ends = tables.outcomes.select("period_start", "period_end").unique().collect("pandas").to_native()
    starts, last_days = (pd.to_datetime(ends[name]).dt.normalize() for name in ("period_start", "period_end"))
    days = (last_days - starts).dt.days + 1
    return next((name for name, (least, most) in DAYS.items() if days.between(least, most).all()), "period")


def in_outcome_period(language: Language, tables: Tables, *, period: Period = "quarter") -> Language:
    """The same language, speaking of the outcome's period by its true length, and of the next one only where it follows."""
    follows = tables.outcomes is None
    return replace(language, outcome_period=outcome_period(tables, period=period), outcome_follows=follows)
