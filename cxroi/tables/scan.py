"""One scan of a table counts every rule; the first offending row is looked up only where a count is above zero."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cxroi.tables.contract import CUSTOMER_COLUMNS, TABLES
from cxroi.tables.engine import Engine
from cxroi.tables.facts import Fact
from cxroi.tables.fields import Field, settled
from cxroi.tables.rules import Rule, Surroundings, shown, typed
from cxroi.tables.source import BREAKS, POSITION_FILE, POSITION_ROW, Source
from cxroi.tables.sql import identifier, literal, select, within
from cxroi.tables.violation import Violation


def remember_ids(engine: Engine, sources: Mapping[str, Source], fields: Mapping[str, Mapping[str, Field]]) -> None:
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


def settled_ids(engine: Engine, source: Source, fields: dict[str, Field]) -> dict[str, Field]:
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


def scan_counts(
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
        # Of other moments, infinity among them, Python knows nothing; a rule counts them.
        counted.append(f"max({typed(moment)}) FILTER (WHERE year({typed(moment)}) BETWEEN 1 AND 9998)")
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


def id_range(engine: Engine, around: Surroundings) -> tuple[int, int] | None:
    """Smallest and largest customer id where ids are whole numbers without a gap."""
    if "customer_id" not in around.customer_columns:
        return None
    count, low, high = engine.rows(select(["count(*)", "min(customer_id)", "max(customer_id)"], "who"))[0]
    return (low, high) if isinstance(low, int) and high - low + 1 == count else None


def rule_violation(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, rule: Rule, count: int
) -> Violation:
    """Violation of a rule by ``count`` rows, with the first of them."""
    base = within(base_query(source, fields, around, asked=rule.condition, with_position=True))
    file, row, value = first_row(engine, base, rule.condition, f"CAST({shown(rule.column)} AS VARCHAR)")
    hint = value
    if rule.name == "out_of_scale":
        farthest = "CAST(arg_max(score, abs(score)) AS VARCHAR)"
        hint = str(engine.rows(select([farthest], base, where=rule.condition))[0][0])
    sentence = f"{source.table}.{rule.column} {rule.must}; {count:,} of {source.rows:,} rows {rule.fail}"
    personal = TABLES[source.table].column[rule.column].personal
    return placed(
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
            rule.repair(hint),
            rule.severity,
        ),
        (file, row),
        show="" if personal or not value else value,
    )


def first_row(engine: Engine, base: str, condition: str, value: str) -> tuple[str, int, str]:
    """File, row (from 0) and value of the first row that meets the condition."""
    position = f"{identifier(POSITION_FILE)}, {POSITION_ROW}"
    query = select([position, value], base, where=condition, order=position) + " LIMIT 1"
    file, row, found = engine.rows(query)[0]
    return file, row, "" if found is None else str(found)


def placed(engine: Engine, source: Source, violation: Violation, position: tuple[str, int], *, show: str) -> Violation:
    """Violation with its first row: the line of a text file, or the row of a Parquet file or query, from 1."""
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
    own = f"read_parquet({literal(file)}, file_row_number = true, hive_partitioning = false)"
    breaks = f"coalesce(sum({identifier(BREAKS)}), 0)"
    inside = engine.rows(select([breaks], own, where=f"{POSITION_ROW} < {row}"))[0][0]
    record = row + 2
    for rejected, newlines in part.rejected:
        if rejected <= record:
            record, inside = record + 1, inside + newlines
    line = int(record + inside + part.header_lines - 1)
    for empty in part.blank:
        line += empty <= line
    return line


def notice(source: Source, column: str, rule: str, count: int, message: str) -> Violation:
    """Notice about rows of a table."""
    return Violation(source.table, column, rule, count, source.rows, None, "", message, "", "notice")
