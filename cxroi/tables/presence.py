"""Whether the tables, columns and margins are there that the contract asks for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cxroi.tables.contract import TABLES
from cxroi.tables.dataset import FILE_NAME, Dataset
from cxroi.tables.engine import Engine
from cxroi.tables.fields import Field, mapped_names
from cxroi.tables.source import Source
from cxroi.tables.sql import listing, select
from cxroi.tables.violation import Violation, ending, nearest, statement, suggestion


def presence_faults(
    engine: Engine,
    dataset: Dataset,
    sources: Mapping[str, Source],
    fields: Mapping[str, Mapping[str, Field]],
    found: Iterable[Violation],
) -> list[Violation]:
    """All faults of tables, maps and columns; ``found`` are those that opening the files has found."""
    violations = _missing_tables(dataset, sources, {violation.table for violation in found})
    for name, source in sources.items():
        violations += [*_map_faults(source), *_part_faults(engine, source), *_near_misses(source, fields[name])]
        violations += _missing_columns(source, fields[name], has_outcomes="outcomes" in sources)
        if source.rows == 0 and not any(violation.severity == "error" for violation in source.violations):
            message = f"{name} must have rows; {_files(source)} holds none."
            violations.append(statement(name, "empty_table", message, repair="Export it again, or delete the file."))
    return [*violations, *_margin_faults(dataset, fields)]


def _missing_tables(dataset: Dataset, sources: Mapping[str, Source], faulty: set[str]) -> list[Violation]:
    violations = []
    for table in ("customers", "surveys", "transactions"):
        if table in sources or table in faulty:
            continue
        declared_none = table in dataset.tables and dataset.tables[table] is None
        if table == "surveys" and declared_none:
            message = "surveys are declared to be absent; no score is shown, and nothing is linked to scores."
            violations.append(replace(statement(table, "no_surveys", message), severity="notice"))
            continue
        if table == "transactions" and ("outcomes" in sources or "outcomes" in faulty):
            continue
        other = " (or outcomes)" if table == "transactions" else ""
        repair = f"Put {table}.csv or {table}.parquet there, or name the export in {FILE_NAME}: tables: {{{table}: {{file: export.csv}}}}."
        if table == "surveys":
            repair += " A company without surveys declares tables: {surveys: none}."
        message = f"a data set must have {table}{other}; there is no {table}.csv, {table}.csv.gz or {table}.parquet."
        violations.append(statement(table, "missing_file", message, repair=repair))
    return violations


def _files(source: Source) -> str:
    first = source.parts[0].original.name
    return first if len(source.parts) == 1 else f"{first} and {len(source.parts) - 1} more"


def _map_faults(source: Source) -> list[Violation]:
    names, table = mapped_names(source), TABLES[source.table]
    violations = []
    for ours, theirs in source.options.columns.items():
        if ours not in table.column and source.table != "customers":
            question = suggestion(ours, table.column)
            message = (
                f"tables.{source.table}.columns names {ours}, which is not a column of the contract{ending(question)}"
            )
            repair = f"Columns of {source.table}: {', '.join(table.column)}."
            violations.append(statement(source.table, "unknown_column", message, column=ours, repair=repair))
        elif ours not in names:
            question = suggestion(theirs, source.types)
            message = (
                f"{source.table}.{ours} is mapped to {theirs}, which {_files(source)} does not have{ending(question)}"
            )
            violations.append(
                statement(
                    source.table, "unknown_column", message, column=ours, repair=_columns_there(source), value=theirs
                )
            )
    return violations


def _part_faults(engine: Engine, source: Source) -> list[Violation]:
    """Parts that lack a column which others have: an error where the contract names it, else a notice."""
    if len(source.parts) < 2:
        return []
    files = listing(str(part.scanned) for part in source.parts)
    there: dict[str, set[str]] = {str(part.scanned): set() for part in source.parts}
    for file, name in engine.rows(select(["file_name", "name"], f"parquet_schema({files})")):
        there[file].add(name.casefold())
    violations = []
    for ours, theirs in mapped_names(source).items():
        lacking = [part.original.name for part in source.parts if theirs.casefold() not in there[str(part.scanned)]]
        if not lacking:
            continue
        more = f" and {len(lacking) - 1} more do not" if len(lacking) > 1 else " does not"
        message = f"every part of {source.table} must have the column {theirs}; {lacking[0]}{more}."
        repair = "Export every part with the same columns; a cell may be empty."
        violation = statement(source.table, "part_without_column", message, column=ours, repair=repair)
        is_ours = ours in TABLES[source.table].column
        violations.append(violation if is_ours else replace(violation, severity="notice"))
    return violations


def _near_misses(source: Source, fields: Mapping[str, Field]) -> list[Violation]:
    """Notices of columns that are nearly called like an optional one of the contract that is not there."""
    used = {mapped_names(source)[name] for name in fields}
    absent = {
        _plain(column.name): column.name
        for column in TABLES[source.table].columns
        if not column.required and column.name not in fields and column.name not in source.options.columns
    }
    notices = []
    for theirs in source.types:
        near = [] if theirs in used else difflib.get_close_matches(_plain(theirs), absent, n=1, cutoff=0.85)
        for ours in (absent[one] for one in near):
            message = f"the column {theirs} of {source.table} is not read as {ours}; did you mean {ours}?"
            repair = f"If so, rename it, or map it in {FILE_NAME}: tables: {{{source.table}: {{columns: {{{ours}: {theirs}}}}}}}."
            one = statement(source.table, "column_not_read", message, column=ours, repair=repair, value=theirs)
            notices.append(replace(one, severity="notice"))
    return notices


def _plain(name: str) -> str:
    return "".join(mark for mark in name.casefold() if mark.isalnum())


def _columns_there(source: Source) -> str:
    names = ["".join(mark for mark in name if mark.isprintable())[:40] for name in source.types]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"Columns there: {', '.join(names[:20])}{more}."


def _missing_columns(source: Source, fields: Mapping[str, Field], *, has_outcomes: bool) -> list[Violation]:
    violations = []
    for column in TABLES[source.table].columns:
        optional = (source.table, column.name) == ("surveys", "answered_at") and has_outcomes
        if not column.required or optional or column.name in fields or column.name in source.options.columns:
            continue
        others = [name for name in source.types if name not in TABLES[source.table].column]
        question, theirs = suggestion(column.name, others), nearest(column.name, others) or "THEIR_NAME"
        message = f"{source.table} must have the column {column.name}; {_files(source)} does not{ending(question)}"
        repair = f"Map it in {FILE_NAME}: tables: {{{source.table}: {{columns: {{{column.name}: {theirs}}}}}}}. {_columns_there(source)}"
        violations.append(statement(source.table, "missing_column", message, column=column.name, repair=repair))
    return violations


def _margin_faults(dataset: Dataset, fields: Mapping[str, Mapping[str, Field]]) -> list[Violation]:
    if "transactions" not in fields:
        return []
    has_column = "margin" in fields["transactions"]
    if not has_column and dataset.margin_rate is None and "margin" not in dataset.source("transactions").columns:
        message = "transactions must have a margin column, or dataset.yaml a margin_rate: an amount is never taken for profit."
        repair = f"Export the margin of each transaction, or declare the share in {FILE_NAME}: margin_rate: 0.35."
        return [statement("transactions", "missing_margin", message, column="margin", repair=repair)]
    if has_column and dataset.margin_rate is not None:
        message = "transactions have a margin column; margin_rate is not used."
        return [replace(statement("transactions", "unused_margin_rate", message, column="margin"), severity="notice")]
    if dataset.margin_rate == 1:
        message = "margin_rate is 1: every amount is taken for profit, with no cost of what was sold."
        repair = f"Declare the share that is margin in {FILE_NAME}: margin_rate: 0.35."
        notice = statement("transactions", "whole_amount_is_margin", message, column="margin", repair=repair)
        return [replace(notice, severity="notice")]
    return []
