"""Check every table of a data set against the contract: all violations at once, none of them loading a table."""

from __future__ import annotations

import datetime as dt
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from cxroi import periods
from cxroi.tables.contract import CUSTOMER_COLUMNS, TABLE_NAMES, TABLES
from cxroi.tables.dataset import FILE_NAME, Dataset, Retention, read_dataset
from cxroi.tables.facts import Fact, parquet_facts, proven
from cxroi.tables.fields import (
    Field,
    fields_of,
    further_names,
    integer_families,
    mapped_names,
    number_of,
    settled,
)
from cxroi.tables.rules import Rule, Surroundings, accepting, rules_of, shown, typed
from cxroi.tables.source import BREAKS, POSITION_FILE, POSITION_ROW, Source, open_table, remove
from cxroi.tables.sql import identifier, literal, normalised, select, trimmed, within
from cxroi.tables.violation import Violation, statement, suggestion

SAMPLE_SHARE = 64
MAX_CATEGORIES = 20
MEMORY_LIMIT = "3GB"
EVENT_DATES = (
    ("transactions", "occurred_at"),
    ("surveys", "answered_at"),
    ("customers", "left_on"),
    ("outcomes", "period_end"),
)
CURRENCY_TABLES = ("transactions", "outcomes", "costs")


class Engine:
    """A DuckDB connection and its private folder, which goes when the engine goes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cxroi-"))
        self.close = weakref.finalize(self, remove, str(self.folder))
        self._stored = 0
        self.connection = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(self.folder / "spill"),
                "autoinstall_known_extensions": False,
            }
        )
        self.connection.execute("SET TimeZone = 'UTC'")

    def next_name(self) -> str:
        """Name for the next stored intermediate result."""
        self._stored += 1
        return f"stored_{self._stored}"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.connection.execute(query).fetchall()


@dataclass(frozen=True)
class Inspection:
    """What was opened, what was found, and what is needed to build the tables."""

    folder: Path
    engine: Engine
    dataset: Dataset
    sources: Mapping[str, Source]
    fields: Mapping[str, Mapping[str, Field]]
    violations: tuple[Violation, ...]
    further: tuple[tuple[str, str, str], ...] = ()  # of customers: our name, typed expression, kind
    drops: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)  # by table: reason, condition
    data_end: dt.date | None = None


def check_tables(path: str | Path) -> list[Violation]:
    """Every violation of the contract in a data set's folder, errors first, then notices.

    Parameters
    ----------
    path
        Folder of the data set.

    Source
    ------
    The contract of the tables: ``cxroi/tables/contract.py``.
    """
    inspection = inspect(path)
    inspection.engine.close()
    return sorted(inspection.violations, key=lambda violation: violation.severity == "notice")


def inspect(path: str | Path, *, sample_keys_above: int = 20_000_000) -> Inspection:
    """Open and check all tables of a folder."""
    folder, engine = Path(path), Engine()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        message = f"a data set must be a folder; {folder} {what}."
        repair = "Give the folder that holds customers, surveys and transactions."
        return Inspection(folder, engine, Dataset(), {}, {}, (statement("", "missing_folder", message, repair=repair),))
    dataset, faults = read_dataset(folder)
    if faults:
        return Inspection(folder, engine, dataset, {}, {}, tuple(faults))
    sources, violations = _open_all(folder, engine, dataset)
    families = integer_families(sources)
    fields = {name: _settled_ids(engine, source, fields_of(source, families)) for name, source in sources.items()}
    violations += _presence(dataset, sources, fields, violations)
    _remember_ids(engine, sources, fields)
    around = Surroundings(
        dataset,
        dt.date.today(),
        tuple(fields.get("customers", {})),
        "outcomes" in sources,
        "initiative_id" in fields.get("initiatives", {}),
    )
    findings = [
        _inspect_table(engine, source, fields[name], around, sample_keys_above)
        for name, source in sources.items()
        if source.rows
    ]
    further, chosen, found = _further(engine, dataset, sources.get("customers"))
    resolved, notices = _resolved(chosen, fields)
    ends = [finding.last_event for finding in findings if finding.last_event is not None]
    data_end = max(ends) if ends else None
    violations += [violation for finding in findings for violation in finding.violations]
    violations += [*found, *notices, *_unfinished(data_end)]
    order = {name: number for number, name in enumerate(TABLE_NAMES)}
    return Inspection(
        folder,
        engine,
        resolved,
        sources,
        fields,
        tuple(sorted(violations, key=lambda violation: order.get(violation.table, -1))),
        further,
        {finding.table: finding.drops for finding in findings},
        data_end,
    )


# ---------------------------------------------------------------------------------------------------- files and columns


def _open_all(folder: Path, engine: Engine, dataset: Dataset) -> tuple[dict[str, Source], list[Violation]]:
    sources: dict[str, Source] = {}
    violations: list[Violation] = []
    for table in TABLE_NAMES:
        if table in dataset.tables and dataset.tables[table] is None:
            continue
        opened = open_table(engine.connection, table, dataset.source(table), folder=folder, private=engine.folder)
        if isinstance(opened, Source):
            sources[table] = opened
            violations += opened.violations
        elif opened is not None:
            violations += opened
    return sources, violations


def _presence(
    dataset: Dataset,
    sources: Mapping[str, Source],
    fields: Mapping[str, Mapping[str, Field]],
    found: Iterable[Violation],
) -> list[Violation]:
    violations = _missing_tables(dataset, sources, {violation.table for violation in found})
    for name, source in sources.items():
        violations += _map_faults(source)
        violations += _missing_columns(source, fields[name], has_outcomes="outcomes" in sources)
        if source.rows == 0 and not any(violation.table == name for violation in source.violations):
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
                f"tables.{source.table}.columns names {ours}, which is not a column of the contract{_ending(question)}"
            )
            repair = f"Columns of {source.table}: {', '.join(table.column)}."
            violations.append(statement(source.table, "unknown_column", message, column=ours, repair=repair))
        elif ours not in names:
            question = suggestion(theirs, source.types)
            message = (
                f"{source.table}.{ours} is mapped to {theirs}, which {_files(source)} does not have{_ending(question)}"
            )
            violations.append(
                statement(
                    source.table, "unknown_column", message, column=ours, repair=_columns_there(source), value=theirs
                )
            )
    return violations


def _ending(question: str) -> str:
    return f"; {question}" if question else "."


def _columns_there(source: Source) -> str:
    names = list(source.types)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"Columns there: {', '.join(names[:20])}{more}."


def _missing_columns(source: Source, fields: Mapping[str, Field], *, has_outcomes: bool) -> list[Violation]:
    violations = []
    for column in TABLES[source.table].columns:
        optional = (source.table, column.name) == ("surveys", "answered_at") and has_outcomes
        if not column.required or optional or column.name in fields or column.name in source.options.columns:
            continue
        near = suggestion(column.name, (name for name in source.types if name not in TABLES[source.table].column))
        theirs = near.removeprefix("did you mean ").removesuffix("?") or "THEIR_NAME"
        message = f"{source.table} must have the column {column.name}; {_files(source)} does not{_ending(near)}"
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
    return []


# ---------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class _Finding:
    table: str
    violations: tuple[Violation, ...]
    drops: tuple[tuple[str, str], ...]
    last_event: dt.date | None


def _remember_ids(engine: Engine, sources: Mapping[str, Source], fields: Mapping[str, Mapping[str, Field]]) -> None:
    """Temporary tables ``who`` (one row a customer) and ``what`` (one row an initiative) that the joins look at."""
    for table, remembered, key in (("customers", "who", "customer_id"), ("initiatives", "what", "initiative_id")):
        known = fields.get(table, {})
        if key not in known:
            continue
        columns = [f"{known[key].typed} AS {identifier(key)}"]
        for name, pick in (("joined_on", "min"), ("left_on", "max"), ("consent", "bool_and")):
            if table == "customers" and name in known:
                columns.append(f"{pick}({known[name].typed}) AS {name}")
        query = select(columns, sources[table].scan(), where=f"{known[key].typed} IS NOT NULL", group="1")
        engine.connection.execute(f"CREATE TEMP TABLE {remembered} AS {query}")


def _settled_ids(engine: Engine, source: Source, fields: dict[str, Field]) -> dict[str, Field]:
    """Fields with the plain column in place of each id that is already tidy in every row."""
    open_ids = [name for name, one in fields.items() if one.untidy]
    if source.kind != "parquet" or not open_ids:
        return fields
    counts = engine.rows(select([f"count_if({fields[name].untidy})" for name in open_ids], source.scan()))[0]
    tidy = {name for name, count in zip(open_ids, counts, strict=True) if not count}
    return {name: settled(one) if name in tidy else one for name, one in fields.items()}


def base_query(
    source: Source, fields: Mapping[str, Field], around: Surroundings, *, asked: str = "", with_position: bool = False
) -> str:
    """All typed columns, their texts and conditions, by row; and what customers and initiatives say, where ``asked``."""
    columns = []
    for name, one in fields.items():
        columns.append(f"{one.typed} AS {typed(name)}")
        columns.append(f"{one.text} AS {shown(name)}")
        columns.append(f"{one.empty} AS {identifier('!' + name)}")
        columns.append(f"({one.failed}) AS {identifier('?' + name)}")
    if with_position:
        columns += [identifier(POSITION_FILE), POSITION_ROW]
    query = select(columns or ["1 AS nothing"], source.scan(with_position=with_position))
    joined, extra = within(query, "own"), ["own.*"]
    if "customer_id" in around.customer_columns and ("known " in asked or " of customer" in asked):
        for number, name in enumerate(one for one in CUSTOMER_COLUMNS.get(source.table, ()) if one in fields):
            joined += f" LEFT JOIN who AS who{number} ON own.{typed(name)} = who{number}.customer_id"
            extra.append(f"who{number}.customer_id IS NOT NULL AS {identifier('known ' + name)}")
            for fact in ("joined_on", "left_on", "consent"):
                if number == 0 and fact in around.customer_columns:
                    extra.append(f"who{number}.{fact} AS {identifier(fact + ' of customer')}")
    if source.table in ("exposures", "costs") and around.has_initiatives and "initiative_id" in fields:
        joined += " LEFT JOIN what ON own.initiative_id = what.initiative_id"
        extra.append(f"what.initiative_id IS NOT NULL AS {identifier('known initiative_id')}")
    return select(extra, joined)


def _inspect_table(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, sample_keys_above: int
) -> _Finding:
    rules = rules_of(source.table, fields, around)
    is_large = source.kind == "parquet" and source.rows > sample_keys_above
    facts = parquet_facts(engine, source, fields) if is_large else {}
    if is_large:
        known = _id_range(engine, around)
        rules = [
            rule for rule in rules if rule.severity == "error" and not proven(rule, fields, facts, known, around.today)
        ]
    moment = next((name for table, name in EVENT_DATES if table == source.table and name in fields), "")
    counts, last_event, refunds = _scan(engine, source, fields, around, rules, facts, moment)
    violations = [
        _violation(engine, source, fields, around, rule, count)
        for rule, count in zip(rules, counts, strict=True)
        if count
    ]
    sample = _sample(engine, source, fields, moment or "occurred_at") if is_large else None
    keys = _key_violations(engine, source, fields, sample)
    violations += keys
    violations += _overlaps(engine, source, fields, around)
    violations += _currencies(engine, source, around.dataset)
    violations += _row_notices(engine, source, fields, around, sample)
    if refunds[0]:
        violations.append(_refunds(source, *refunds))
    accepted = around.dataset.accept.get(source.table, {})
    drops = [
        (rule.name, rule.condition)
        for rule, count in zip(rules, counts, strict=True)
        if count and accepted.get(rule.name) == "drop"
    ]
    if any(violation.rule == "repeated_rows" for violation in keys) and accepted.get("repeated_rows") == "drop":
        drops.append(("repeated_rows", ""))
    if source.table == "surveys" and "consent" in around.customer_columns and "customer_id" in fields:
        drops.append(("no_consent", f"NOT {identifier('consent of customer')}"))
    return _Finding(
        source.table,
        tuple(_accepted(violation, accepted) for violation in violations),
        tuple(drops),
        last_event,
    )


def _scan(
    engine: Engine,
    source: Source,
    fields: Mapping[str, Field],
    around: Surroundings,
    rules: Sequence[Rule],
    facts: Mapping[str, Fact],
    moment: str,
) -> tuple[tuple[int, ...], dt.date | None, tuple[int, float]]:
    """Counts of all rules, date of the last event, and number and sum of refunds, in one scan of the table."""
    counted = [f"count_if({rule.condition})" for rule in rules]
    last = facts[moment].last_day if moment in facts else None
    if moment and last is None:
        counted.append(f"max({typed(moment)})")
    has_refunds = source.table == "transactions" and "amount" in fields
    if has_refunds and not ("amount" in facts and facts["amount"].at_least_zero):
        counted += [f"count_if({typed('amount')} < 0)", f"sum({typed('amount')}) FILTER (WHERE {typed('amount')} < 0)"]
    if not counted:
        return (), last, (0, 0.0)
    base = base_query(source, fields, around, asked=" ".join(counted))
    row = list(engine.rows(select(counted, within(base)))[0])
    counts, rest = tuple(row[: len(rules)]), row[len(rules) :]
    if moment and last is None:
        found = rest.pop(0)
        last = found.date() if found is not None else None
    return counts, last, (rest[0], rest[1] or 0.0) if rest else (0, 0.0)


def _id_range(engine: Engine, around: Surroundings) -> tuple[int, int] | None:
    """Smallest and largest customer id where ids are whole numbers without a gap."""
    if "customer_id" not in around.customer_columns:
        return None
    count, low, high = engine.rows(select(["count(*)", "min(customer_id)", "max(customer_id)"], "who"))[0]
    return (low, high) if isinstance(low, int) and high - low + 1 == count else None


def _refunds(source: Source, count: int, total: float) -> Violation:
    message = (
        f"{count:,} of {source.rows:,} transactions are refunds (amount below 0, together {total:,.2f}); they lower revenue "
        "and margin and never count as orders."
    )
    return _notice(source, "amount", "refunds", count, message)


def _accepted(violation: Violation, accepted: Mapping[str, str]) -> Violation:
    choice = accepted.get(violation.rule)
    if choice is None or violation.severity == "notice":
        return violation
    done = "left out" if choice == "drop" else "kept"
    return replace(violation, severity="notice", repair=f"Accepted in {FILE_NAME}: they are {done}.")


def _violation(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, rule: Rule, count: int
) -> Violation:
    base = within(base_query(source, fields, around, asked=rule.condition, with_position=True))
    file, row, value = _first(engine, base, rule.condition, f"CAST({shown(rule.column)} AS VARCHAR)")
    sentence = f"{source.table}.{rule.column} {rule.must}; {count:,} of {source.rows:,} rows {rule.fail}"
    personal = TABLES[source.table].column[rule.column].personal
    return _placed(
        engine,
        source,
        Violation(
            source.table,
            rule.column,
            rule.name,
            count,
            source.rows,
            None,
            value,
            sentence,
            rule.repair(value),
            rule.severity,
        ),
        (file, row),
        show="" if personal or not value else value,
    )


def _first(engine: Engine, base: str, condition: str, value: str) -> tuple[str, int, str]:
    position = f"{identifier(POSITION_FILE)}, {POSITION_ROW}"
    query = select([position, value], base, where=condition, order=position) + " LIMIT 1"
    file, row, found = engine.rows(query)[0]
    return file, row, "" if found is None else str(found)


def _placed(engine: Engine, source: Source, violation: Violation, position: tuple[str, int], *, show: str) -> Violation:
    file, row = position
    part = next(part for part in source.parts if str(part.scanned) == file)
    line = row + 1 if source.kind != "csv" else _line(engine, source, file, row)
    word = "line" if source.kind == "csv" else "row"
    where = f"{word} {line}" + (f" of {part.original.name}" if len(source.parts) > 1 else "")
    value = f", {violation.column} {show[:80]}" if show else ""
    return replace(
        violation,
        first_row=line,
        first_file=part.original.name if source.kind != "sql" else "",
        message=f"{violation.message} (first: {where}{value}).",
    )


def _line(engine: Engine, source: Source, file: str, row: int) -> int:
    """Line of a text file where a record begins: records may span lines, and unreadable records are missing here."""
    part = next(part for part in source.parts if str(part.scanned) == file)
    own = f"read_parquet({literal(file)}, file_row_number = true)"
    breaks = f"coalesce(sum({identifier(BREAKS)}), 0)"
    inside = engine.rows(select([breaks], own, where=f"{POSITION_ROW} < {row}"))[0][0]
    record = row + 2
    for rejected, newlines in part.rejected:
        if rejected <= record:
            record, inside = record + 1, inside + newlines
    return int(record + inside + part.header_lines - 1)


def _notice(source: Source, column: str, rule: str, count: int, message: str) -> Violation:
    return Violation(source.table, column, rule, count, source.rows, None, "", message, "", "notice")


# ---------------------------------------------------------------------------------------------------- keys


@dataclass(frozen=True)
class _Sample:
    """Every 64th customer's rows of a large table, stored: customer, moment, amount and the table's own id."""

    name: str
    where: str

    @property
    def aside(self) -> str:
        return f" (looked for among every {SAMPLE_SHARE}th customer id only)"


def _sample(engine: Engine, source: Source, fields: Mapping[str, Field], moment: str) -> _Sample | None:
    names = [name for name in ("customer_id", moment, "amount", TABLES[source.table].key) if name in fields]
    if "customer_id" not in names:
        return None
    sample = _Sample(engine.next_name(), f"hash({fields['customer_id'].typed}) % {SAMPLE_SHARE} = 0")
    columns = [f"{fields[name].typed} AS {typed(name)}" for name in dict.fromkeys(names)]
    engine.connection.execute(
        f"CREATE TEMP TABLE {sample.name} AS {select(columns, source.scan(), where=sample.where)}"
    )
    return sample


def _key_violations(
    engine: Engine, source: Source, fields: Mapping[str, Field], sample: _Sample | None
) -> list[Violation]:
    table = TABLES[source.table]
    violations = []
    if table.key in fields and not (sample and _all_differ(engine, sample, [table.key])):
        violations += _duplicates(engine, source, fields, sample)
    if "repeated_rows" in dict(table.accepts) and "customer_id" in fields:
        others = [name for name in ("customer_id", "occurred_at", "amount") if name in fields]
        if not (sample and source.table != "surveys" and _all_differ(engine, sample, others)):
            violations += _repeated(engine, source, fields, sample)
    return violations


def _all_differ(engine: Engine, sample: _Sample, names: Sequence[str]) -> bool:
    key = ", ".join(typed(name) for name in names)
    groups = select(["1"], sample.name, group=key) + " HAVING count(*) > 1 LIMIT 1"
    return not engine.rows(groups)


def _duplicates(engine: Engine, source: Source, fields: Mapping[str, Field], sample: _Sample | None) -> list[Violation]:
    key = TABLES[source.table].key
    value = fields[key].typed
    sentence = f"{source.table}.{key} must be different in every row; {{count}} of {{total}} rows repeat an id"
    violation = Violation(
        source.table,
        key,
        "duplicate_id",
        0,
        source.rows,
        None,
        "",
        sentence + (sample.aside if sample else ""),
        "Remove the rows that were exported twice, or export the id that is unique.",
    )
    where = [f"{value} IS NOT NULL", *([sample.where] if sample else [])]
    return _surplus(engine, source, value, where=" AND ".join(where), violation=violation, shown_value=value)


def _repeated(engine: Engine, source: Source, fields: Mapping[str, Field], sample: _Sample | None) -> list[Violation]:
    where = [sample.where] if sample else []
    if source.table == "surveys" and "score" in fields:
        where.append(f"{fields['score'].text} IS NOT NULL")
    key = TABLES[source.table].key
    ignoring = f" when {key} is ignored" if key else ""
    sentence = f"the rows of {source.table} must differ{ignoring}; {{count}} of {{total}} rows repeat another one"
    violation = Violation(
        source.table,
        "",
        "repeated_rows",
        0,
        source.rows,
        None,
        "",
        sentence + (sample.aside if sample else ""),
        "Check whether rows were exported twice." + accepting(source.table, "repeated_rows"),
    )
    return _surplus(
        engine, source, repeated_key(source), where=" AND ".join(where), violation=violation, shown_value="''"
    )


def repeated_key(source: Source) -> str:
    """Hash of all columns of the export but the table's own id."""
    own = mapped_names(source).get(TABLES[source.table].key)
    return f"hash({', '.join(identifier(name) for name in source.types if name != own)})"


def _surplus(
    engine: Engine, source: Source, key: str, *, where: str, violation: Violation, shown_value: str
) -> list[Violation]:
    """Rows beyond the first one of each key."""
    groups = select([f"{key} AS k", "count(*) AS n"], source.scan(), where=where, group="1") + " HAVING count(*) > 1"
    count = engine.rows(select(["coalesce(sum(n - 1), 0)"], within(groups)))[0][0]
    if not count:
        return []
    position = f"{identifier(POSITION_FILE)}, {POSITION_ROW}"
    twice = select(
        [
            identifier(POSITION_FILE),
            POSITION_ROW,
            f"CAST({shown_value} AS VARCHAR) AS v",
            f"row_number() OVER (PARTITION BY {key} ORDER BY {position}) AS nth",
        ],
        source.scan(with_position=True),
        where=" AND ".join(one for one in (where, f"{key} IN ({select(['k'], within(groups))})") if one),
    )
    file, row, value = _first(engine, within(twice), "nth = 2", "v")
    message = violation.message.format(count=f"{int(count):,}", total=f"{source.rows:,}")
    filled = replace(violation, count=int(count), first_value=value, message=message)
    personal = bool(violation.column) and TABLES[source.table].column[violation.column].personal
    return [_placed(engine, source, filled, (file, row), show="" if personal else value)]


def _overlaps(engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings) -> list[Violation]:
    if source.table != "outcomes" or not {"customer_id", "period_start", "period_end"} <= set(fields):
        return []
    position = f"{identifier(POSITION_FILE)}, {POSITION_ROW}"
    base = within(base_query(source, fields, around, with_position=True))
    earlier = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    before = f"max(period_end) OVER (PARTITION BY customer_id ORDER BY period_start, {position} {earlier})"
    ordered = within(
        select(
            [position, "period_start", f"{before} AS previous_end", shown("period_start") + " AS v"],
            base,
            where="customer_id IS NOT NULL",
        )
    )
    count = engine.rows(select(["count(*)"], ordered, where="period_start < previous_end"))[0][0]
    if not count:
        return []
    file, row, value = _first(engine, ordered, "period_start < previous_end", "CAST(v AS VARCHAR)")
    numbers = f"{count:,} of {source.rows:,} rows begin before an earlier period has ended"
    message = f"the periods of a customer in outcomes must not overlap; {numbers}"
    return [
        _placed(
            engine,
            source,
            Violation(
                source.table,
                "period_start",
                "overlapping_periods",
                count,
                source.rows,
                None,
                value,
                message,
                "Export one row for each customer and period.",
            ),
            (file, row),
            show=value,
        )
    ]


def _currencies(engine: Engine, source: Source, dataset: Dataset) -> list[Violation]:
    theirs = next((name for name in source.types if name.strip().casefold() == "currency"), None)
    if source.table not in CURRENCY_TABLES or theirs is None:
        return []
    value = f"upper({normalised(f'CAST({identifier(theirs)} AS VARCHAR)')})"
    found = engine.rows(
        select([value, "count(*) AS n"], source.scan(), where=f"{value} IS NOT NULL", group="1", order="n DESC, 1")
    )
    names = [str(name) for name, _ in found]
    main = dataset.currency.upper() or (names[0] if names else "")
    others = sum(count for name, count in found if name != main)
    if not others:
        return []
    listed = ", ".join([name for name in names if name != main][:5])
    numbers = f"{others:,} of {source.rows:,} rows are in {listed}"
    message = f"all amounts of {source.table} must be in one currency ({main}); {numbers}"
    base = within(select(["*", f"{value} AS {identifier('currency found')}"], source.scan(with_position=True)))
    file, row, first = _first(
        engine, base, f"{identifier('currency found')} <> {literal(main)}", identifier("currency found")
    )
    repair = f"Convert the amounts into one currency before the export, and name it in {FILE_NAME}: currency: {main}."
    return [
        _placed(
            engine,
            source,
            Violation(
                source.table, "currency", "several_currencies", others, source.rows, None, first, message, repair
            ),
            (file, row),
            show=first,
        )
    ]


def _row_notices(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, sample: _Sample | None
) -> list[Violation]:
    notices = []
    if source.table == "transactions" and {"customer_id", "occurred_at", "amount"} <= set(fields):
        rows = sample.name if sample else within(base_query(source, fields, around))
        day = f"CAST({typed('occurred_at')} AS DATE)"
        days = select(["1"], rows, where=f"{typed('amount')} > 0", group=f"{typed('customer_id')}, {day}")
        count = engine.rows(select(["count(*)"], within(days + " HAVING count(*) > 1")))[0][0]
        if count:
            aside = sample.aside if sample else ""
            message = f"on {count:,} days a customer has several orders{aside}; each counts as one order."
            notices.append(_notice(source, "occurred_at", "several_orders_a_day", count, message))
        notices += _sampled_dates(engine, source, around, sample) if sample else []
    for name, one in fields.items():
        if (
            one.column.kind == "date"
            and one.failed != "false"
            and source.types[mapped_names(source)[name]] == "VARCHAR"
        ):
            notices += _mixed_zones(engine, source, name, one)
    if source.table == "customers" and "consent" in fields:
        count = engine.rows(select([f"count_if({fields['consent'].empty})"], source.scan()))[0][0]
        if count:
            numbers = f"{count:,} of {source.rows:,} rows"
            message = f"customers.consent is empty in {numbers}; only an explicit no leaves a customer's answers out."
            notices.append(_notice(source, "consent", "empty_consent", count, message))
    return notices


def _sampled_dates(engine: Engine, source: Source, around: Surroundings, sample: _Sample) -> list[Violation]:
    """Orders before joining or after leaving, in the sample of a large table."""
    notices = []
    joined = f"{sample.name} AS own JOIN who ON own.customer_id = who.customer_id"
    for bound, sign, rule, must in (
        ("joined_on", "<", "before_joining", "must not lie before the customer joined"),
        ("left_on", ">", "after_leaving", "must not lie after the customer left"),
    ):
        if bound not in around.customer_columns or "customer_id" not in around.customer_columns:
            continue
        where = f"CAST(own.occurred_at AS DATE) {sign} CAST(who.{bound} AS DATE)"
        count = engine.rows(select(["count(*)"], joined, where=where))[0][0]
        if count:
            message = f"{source.table}.occurred_at {must}; {count:,} rows do{sample.aside}."
            notices.append(_notice(source, "occurred_at", rule, count, message))
    return notices


def _mixed_zones(engine: Engine, source: Source, name: str, one: Field) -> list[Violation]:
    with_time = f"contains({one.text}, ':')"
    zoned = f"regexp_matches({one.text}, '(Z|z|[+-]\\d\\d(:?\\d\\d)?)$')"
    timed, offset = engine.rows(
        select([f"count_if({with_time})", f"count_if({with_time} AND {zoned})"], source.scan())
    )[0]
    if not offset or offset == timed:
        return []
    numbers = f"with an offset ({offset:,}) and without ({timed - offset:,})"
    message = f"{source.table}.{name} mixes times {numbers}; those without are read as UTC."
    return [_notice(source, name, "mixed_time_zones", offset, message)]


# ---------------------------------------------------------------------------------------------------- further columns


def _further(
    engine: Engine, dataset: Dataset, source: Source | None
) -> tuple[tuple[tuple[str, str, str], ...], Dataset, list[Violation]]:
    """Columns of customers beyond the contract with their kinds, and the segments and controls that follow."""
    if source is None:
        return (), dataset, []
    further = tuple(_further_column(engine, source, ours, theirs) for ours, theirs in further_names(source).items())
    kinds = {name: kind for name, _, kind in further}
    controls = (
        dataset.controls
        if dataset.controls is not None
        else tuple(name for name, kind in kinds.items() if kind in ("number", "category"))
    )
    segments = (
        dataset.segments
        if dataset.segments is not None
        else tuple(name for name, kind in kinds.items() if kind == "category")
    )
    known = [*mapped_names(source)]
    violations = []
    for key, names in (("segments", segments), ("controls", controls)):
        for name in names:
            if name not in known:
                question = suggestion(name, known)
                message = f"{FILE_NAME}: {key} names {name}, which customers do not have{_ending(question)}"
                violations.append(
                    statement(
                        "customers",
                        "unknown_column",
                        message,
                        column=name,
                        repair=f"Columns there: {', '.join(known[:20])}.",
                    )
                )
    return further, dataset.model_copy(update={"controls": tuple(controls), "segments": tuple(segments)}), violations


def _further_column(engine: Engine, source: Source, ours: str, theirs: str) -> tuple[str, str, str]:
    raw, kind = identifier(theirs), source.types[theirs]
    if kind in ("DATE",) or kind.startswith("TIMESTAMP"):
        zone = " AT TIME ZONE 'UTC'" if kind == "TIMESTAMP WITH TIME ZONE" else ""
        return ours, f"CAST({raw}{zone} AS TIMESTAMP)", "date"
    if kind != "VARCHAR" and kind != "BOOLEAN" and not kind.startswith("ENUM"):
        number = f"TRY_CAST({raw} AS DOUBLE)"
        if (
            any(kind.startswith(word) for word in ("STRUCT", "MAP", "UNION"))
            or kind.endswith("]")
            or kind in ("BLOB", "UUID", "TIME")
        ):
            return ours, f"CAST({raw} AS VARCHAR)", "text"
        return ours, f"CASE WHEN isfinite({number}) THEN {number} END", "number"
    return ours, *_text_kind(engine, source, f"CAST({raw} AS VARCHAR)")


def _text_kind(engine: Engine, source: Source, raw: str) -> tuple[str, str]:
    text = raw if source.kind == "csv" else trimmed(raw)
    number = number_of(text, source.options.decimal)
    coded = f"regexp_matches({text}, '^0\\d')"
    filled, wrong, some = engine.rows(
        select(
            [
                f"count({text})",
                f"count_if({text} IS NOT NULL AND ({number} IS NULL OR {coded}))",
                f"approx_count_distinct({text})",
            ],
            source.scan(),
        )
    )[0]
    if filled and not wrong:
        return number, "number"
    typed_text = raw if source.kind == "csv" else normalised(raw)
    few = (
        filled
        and some <= 3 * MAX_CATEGORIES
        and engine.rows(select([f"count(DISTINCT {typed_text})"], source.scan()))[0][0] <= MAX_CATEGORIES
    )
    return typed_text, "category" if few else "text"


def _resolved(dataset: Dataset, fields: Mapping[str, Mapping[str, Field]]) -> tuple[Dataset, list[Violation]]:
    """Defaults of the data set that follow from the tables, and what they leave open."""
    notices = []
    if dataset.retention is None and "left_on" in fields.get("customers", {}):
        dataset = dataset.model_copy(update={"retention": Retention(rule="contract")})
    elif dataset.retention is None and "customers" in fields and "outcomes" not in fields:
        message = "no retention rule is declared and customers have no left_on; retention is not estimated."
        repair = f"Declare one in {FILE_NAME}: retention: {{rule: repurchase, window_days: 180}}."
        notices.append(replace(statement("", "no_retention_rule", message, repair=repair), severity="notice"))
    elif _lacks_left_on(dataset, fields):
        message = "the retention rule contract needs customers.left_on, which is missing."
        repair = "Export the date on which each customer left (empty while the contract runs), or declare repurchase."
        notices.append(statement("customers", "missing_column", message, column="left_on", repair=repair))
    if not dataset.currency:
        message = "no currency is declared; amounts are shown without one."
        notices.append(
            replace(
                statement("", "no_currency", message, repair=f"Declare it in {FILE_NAME}: currency: VND."),
                severity="notice",
            )
        )
    return dataset, notices


def _lacks_left_on(dataset: Dataset, fields: Mapping[str, Mapping[str, Field]]) -> bool:
    is_contract = dataset.retention is not None and dataset.retention.rule == "contract"
    has_customers = "customers" in fields and "outcomes" not in fields
    return is_contract and has_customers and "left_on" not in fields["customers"]


def _unfinished(data_end: dt.date | None) -> list[Violation]:
    if data_end is None:
        return []
    quarter = periods.containing(data_end)
    if data_end >= periods.end(quarter):
        return []
    name = periods.label(quarter, "quarter")
    message = f"the data end on {data_end}, before the end of {name}; that quarter is not complete."
    return [replace(statement("", "unfinished_quarter", message), severity="notice")]
