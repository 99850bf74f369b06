"""How an export writes numbers and dates: what has two readings is refused, and the repair fits what stands there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import replace

from cxroi.tables.dataset import FILE_NAME
from cxroi.tables.engine import Engine
from cxroi.tables.fields import Field, mapped_names
from cxroi.tables.rules import Surroundings, shown
from cxroi.tables.scan import base_query, first_row, placed
from cxroi.tables.source import Source
from cxroi.tables.sql import identifier, literal, select, within
from cxroi.tables.violation import Violation

COUNTED = ("orders", "referrals")  # whole numbers; all other numbers may be money
FEW = 5
POINTED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
YEAR_LAST = r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{2}|\d{4})( .*|T.*)?$"
MOST = 0.95  # share of the texts that an order of day and month must fit before it is proposed


def thousands_faults(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, unread: Set[str]
) -> list[Violation]:
    """Amounts whose points may be decimal signs or stand between thousands, as in 12.500; ``unread`` are refused already."""
    if source.kind == "parquet" or source.options.decimal is not None:
        return []
    names = mapped_names(source)
    asked = [
        name
        for name, one in fields.items()
        if one.column.kind == "number" and name not in {*COUNTED, *unread} and source.types[names[name]] == "VARCHAR"
    ]
    if not asked:
        return []
    counted = []
    for name in asked:
        text = fields[name].text
        counted += [f"count({text})", f"count_if(contains({text}, '.'))"]
        counted.append(f"count_if(regexp_matches({text}, {literal(POINTED)}))")
    counts = engine.rows(select(counted, source.scan()))[0]
    faults = []
    for number, name in enumerate(asked):
        filled, pointed, matching = counts[3 * number : 3 * number + 3]
        if not matching or matching < pointed or (matching < FEW and matching < filled):
            continue
        condition = f"regexp_matches({shown(name)}, {literal(POINTED)})"
        base = within(base_query(source, fields, around, with_position=True))
        file, row, value = first_row(engine, base, condition, f"CAST({shown(name)} AS VARCHAR)")
        message = (
            f"{source.table}.{name} must have one reading; {matching:,} of {source.rows:,} rows have a point before three "
            "digits, as thousands are written, and no row has any other point"
        )
        comma, point = (f'tables: {{{source.table}: {{decimal: "{mark}"}}}}' for mark in ",.")
        repair = (
            f"Say in {FILE_NAME} what the point means: {comma} if {value} is {value.replace('.', '')}, "
            f"{point} if points are decimal signs."
        )
        violation = Violation(
            source.table, name, "ambiguous_number", matching, source.rows, None, value, message, repair
        )
        faults.append(placed(engine, source, violation, (file, row), show=value))
    return faults


def with_date_repairs(
    engine: Engine, source: Source, fields: Mapping[str, Field], violations: Iterable[Violation]
) -> list[Violation]:
    """The violations, with one query for all date columns of the table that have the year last."""
    found = list(violations)
    wrong = [
        one.column for one in found if one.rule == "not_a_date" and re.match(YEAR_LAST, one.first_value.strip() + " ")
    ]
    said = {name: _order(engine, source, fields[name]) for name in wrong}
    orders = {name: order for name, (order, _) in said.items() if order}
    query = _converting(source, orders) if orders else ""
    place = " in the place of what stands there" if source.options.model_fields_set else ""
    repairs = {}
    for name, (order, sentence) in said.items():
        given = ", if the day stands first," if order and " or as " in sentence else ""
        convert = f", or{given} write in {FILE_NAME}{place}: {query}." if order and query else "."
        repairs[name] = f"{sentence}: export them as 2026-12-31{convert}"
    return [
        replace(one, repair=repairs[one.column]) if one.rule == "not_a_date" and one.column in repairs else one
        for one in found
    ]


def _order(engine: Engine, source: Source, field: Field) -> tuple[tuple[str, str] | None, str]:
    """Replacement for a pattern of three numbers, year digits, and the sentence; no replacement where none fits."""
    part = [f"TRY_CAST(regexp_extract({field.text}, {literal(YEAR_LAST)}, {group}) AS INTEGER)" for group in (1, 2, 3)]
    first, second = (f"{one} BETWEEN 1 AND 12" for one in part[:2])
    days = [f"{one} BETWEEN 1 AND 31" for one in part[:2]]
    counted = [
        "count(*)",
        f"count_if({days[0]} AND {second})",
        f"count_if({first} AND {days[1]})",
        f"count_if(strlen(regexp_extract({field.text}, {literal(YEAR_LAST)}, 3)) = 2)",
    ]
    rows, day_first, month_first, short = engine.rows(select(counted, source.scan(), where=field.failed))[0]
    if max(day_first, month_first) < MOST * rows or 0 < short < rows:
        return None, "They are written in different ways, some with the day first, some with the month first"
    year, digits = ("20", "{2}") if short else ("", "{4}")
    day, month = f"{year}\\3-\\2-\\1", f"{year}\\3-\\1-\\2"
    if day_first == month_first:
        return (day, digits), "They can be read as day/month/year or as month/day/year"
    order, name, fitting = (
        (day, "day/month/year", day_first) if day_first > month_first else (month, "month/day/year", month_first)
    )
    rest = f", except for {rows - fitting:,}" if fitting < rows else ""
    return (order, digits), f"They look like {name}{rest}"


def _converting(source: Source, orders: Mapping[str, tuple[str, str]]) -> str:
    """Entry of ``dataset.yaml`` that turns those columns into ISO dates and leaves every other text as it is."""
    names, options = mapped_names(source), source.options
    files = _reading(source)
    if not files:
        return ""
    changed = []
    for name, (order, digits) in orders.items():
        theirs = (
            names[name]
            if re.fullmatch(r"[a-z_]\w*", names[name], re.ASCII | re.IGNORECASE)
            else identifier(names[name])
        )
        pattern = f"^ *([0-9]{{1,2}})[/.-]([0-9]{{1,2}})[/.-]([0-9]{digits})"
        changed.append(f"regexp_replace({theirs}, {literal(pattern)}, {literal(order)}) as {theirs}")
    query = " ".join(["select * replace", f"({', '.join(changed)})", "from", files])
    entry = ["sql: " + _quoted(query)]
    if options.columns:
        mapped = ", ".join(f"{_quoted(ours)}: {_quoted(theirs)}" for ours, theirs in options.columns.items())
        entry.append(f"columns: {{{mapped}}}")
    if options.decimal:
        entry.append(f"decimal: {_quoted(options.decimal)}")
    return f"tables: {{{source.table}: {{{', '.join(entry)}}}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _reading(source: Source) -> str:
    """FROM text that a query in ``dataset.yaml`` may use for the files of a table; empty where there is none."""
    options, first = source.options, source.parts[0]
    if options.sql is not None:
        return "(" + options.sql.strip().rstrip(";") + ")"
    name = options.file or (source.table if len(source.parts) > 1 else first.original.name)
    if len(source.parts) > 1 and not any(mark in name for mark in "*?["):
        suffix = ".parquet" if source.kind == "parquet" else ".csv*"
        name = f"{name.rstrip('/')}/**/*{suffix}"
    several = ", union_by_name = true" if len(source.parts) > 1 else ""
    if source.kind == "parquet":
        return f"read_parquet({literal(name)}{several})"
    if options.encoding not in (None, "utf-8", "utf-16", "latin-1"):
        return ""
    encoding = f", encoding = {literal(options.encoding)}" if options.encoding else ""
    mark = first.delimiter
    return f"read_csv({literal(name)}, all_varchar = true, header = true, delim = {literal(mark)}, quote = '\"'{encoding}{several})"
