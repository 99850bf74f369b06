"""Rules about several rows: repeated ids, repeated rows, overlapping periods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cxroi.tables.contract import TABLES
from cxroi.tables.engine import Engine
from cxroi.tables.fields import Field, mapped_names
from cxroi.tables.rules import Surroundings, accepting, shown, typed
from cxroi.tables.scan import base_query, first_row, placed
from cxroi.tables.source import POSITION_FILE, POSITION_ROW, Source
from cxroi.tables.sql import identifier, select, within
from cxroi.tables.violation import Violation

SAMPLE_SHARE = 64


@dataclass(frozen=True)
class Sample:
    """Every 64th customer's rows of a large table, stored: customer, moment, amount and the table's own id."""

    name: str
    where: str

    @property
    def aside(self) -> str:
        """Part of a sentence that says where was looked."""
        return f" (looked for among every {SAMPLE_SHARE}th customer id only)"


def take_sample(engine: Engine, source: Source, fields: Mapping[str, Field], moment: str) -> Sample | None:
    """Store the sample of a large table; None where the table has no customer."""
    names = [name for name in ("customer_id", moment, "amount", TABLES[source.table].key) if name in fields]
    if "customer_id" not in names:
        return None
    sample = Sample(engine.next_name(), f"hash({fields['customer_id'].typed}) % {SAMPLE_SHARE} = 0")
    columns = [f"{fields[name].typed} AS {typed(name)}" for name in dict.fromkeys(names)]
    engine.connection.execute(
        f"CREATE TEMP TABLE {sample.name} AS {select(columns, source.scan(), where=sample.where)}"
    )
    return sample


def key_violations(
    engine: Engine, source: Source, fields: Mapping[str, Field], sample: Sample | None
) -> list[Violation]:
    """Repeated ids of the table's own, and rows that repeat another one with that id ignored."""
    table = TABLES[source.table]
    violations = []
    if table.key in fields and not (sample and _all_differ(engine, sample, [table.key])):
        violations += _duplicates(engine, source, fields, sample)
    if "repeated_rows" in dict(table.accepts) and "customer_id" in fields:
        others = [name for name in ("customer_id", "occurred_at", "amount") if name in fields]
        if not (sample and source.table != "surveys" and _all_differ(engine, sample, others)):
            violations += _repeated(engine, source, fields, sample)
    return violations


def _all_differ(engine: Engine, sample: Sample, names: Sequence[str]) -> bool:
    key = ", ".join(typed(name) for name in names)
    groups = select(["1"], sample.name, group=key) + " HAVING count(*) > 1 LIMIT 1"
    return not engine.rows(groups)


def _duplicates(engine: Engine, source: Source, fields: Mapping[str, Field], sample: Sample | None) -> list[Violation]:
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


def _repeated(engine: Engine, source: Source, fields: Mapping[str, Field], sample: Sample | None) -> list[Violation]:
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
    file, row, value = first_row(engine, within(twice), "nth = 2", "v")
    message = violation.message.format(count=f"{int(count):,}", total=f"{source.rows:,}")
    filled = replace(violation, count=int(count), first_value=value, message=message)
    personal = bool(violation.column) and TABLES[source.table].column[violation.column].personal
    return [placed(engine, source, filled, (file, row), show="" if personal else value)]


def overlaps(engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings) -> list[Violation]:
    """Periods of one customer in ``outcomes`` that overlap."""
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
    file, row, value = first_row(engine, ordered, "period_start < previous_end", "CAST(v AS VARCHAR)")
    numbers = f"{count:,} of {source.rows:,} rows begin before an earlier period has ended"
    message = f"the periods of a customer in outcomes must not overlap; {numbers}"
    return [
        placed(
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
