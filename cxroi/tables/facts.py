"""What the footers of Parquet files already prove, so that a large table need not be scanned for it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cxroi.tables.fields import INTEGERS, Field, mapped_names
from cxroi.tables.rules import Rule
from cxroi.tables.source import Source
from cxroi.tables.sql import listing, select


class Rows(Protocol):
    """Anything that runs a query."""

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """All rows of a query."""


@dataclass(frozen=True)
class Fact:
    """Number of nulls, smallest and largest value (as text) of one column over all files."""

    kind: str
    nulls: int
    low: str
    high: str

    @property
    def last_day(self) -> dt.date | None:
        """Date of the largest value of a timestamp without zone, else None."""
        if self.kind not in ("TIMESTAMP", "DATE"):
            return None
        return dt.date.fromisoformat(self.high[:10])

    @property
    def at_least_zero(self) -> bool:
        """Whether no number is negative."""
        return float(self.low) >= 0


def parquet_facts(engine: Rows, source: Source, fields: Mapping[str, Field]) -> dict[str, Fact]:
    """Facts about those columns for which every row group of every file has them."""
    files = listing(str(part.scanned) for part in source.parts)
    columns = [
        "path_in_schema",
        "sum(stats_null_count)",
        "list(stats_min_value)",
        "list(stats_max_value)",
        "count(*) = count(stats_null_count) AND count(*) = count(stats_min_value) AND count(*) = count(stats_max_value)",
    ]
    found = {row[0]: row[1:] for row in engine.rows(select(columns, f"parquet_metadata({files})", group="1"))}
    names, facts = mapped_names(source), {}
    is_day = re.compile(r"[12]\d{3}-\d\d-\d\d( .*)?")
    for ours in fields:
        theirs, kind = names[ours], source.types[names[ours]]
        if theirs not in found or not found[theirs][3] or not _is_ordered(kind):
            continue
        nulls, lows, highs, _ = found[theirs]
        if kind in ("TIMESTAMP", "DATE") and not all(map(is_day.fullmatch, lows + highs)):  # type: ignore[operator]
            continue
        key = float if kind in INTEGERS or kind in ("FLOAT", "DOUBLE") else str
        facts[ours] = Fact(kind, int(str(nulls)), min(lows, key=key), max(highs, key=key))  # type: ignore[call-overload]
    return facts


def _is_ordered(kind: str) -> bool:
    return kind in INTEGERS or kind in ("FLOAT", "DOUBLE", "TIMESTAMP", "DATE")


def proven(
    rule: Rule, fields: Mapping[str, Field], facts: Mapping[str, Fact], known: tuple[int, int] | None, today: dt.date
) -> bool:
    """Whether the facts already show that no row breaks the rule.

    ``known`` is the range of customer ids where they have no gap.
    """
    fact = facts.get(rule.column)
    if fact is None:
        return False
    if rule.name == "empty_cell":
        # A float column without nulls may still hold NaN.
        return fact.nulls == 0 and fact.kind not in ("FLOAT", "DOUBLE")
    if rule.name == "date_out_of_range" and fact.last_day is not None:
        planned = fields[rule.column].column.planned
        return fact.low >= "1970" and (planned or fact.last_day <= today + dt.timedelta(days=1))
    if rule.name == "unknown_customer" and known is not None and fact.kind in INTEGERS:
        return known[0] <= int(fact.low) and int(fact.high) <= known[1]
    return False
