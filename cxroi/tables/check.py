"""Check every table of a data set against the contract: all violations at once, none of them loading a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from cxroi import periods
from cxroi.tables.contract import TABLE_NAMES
from cxroi.tables.dataset import FILE_NAME, Dataset, Retention, needless, read_dataset
from cxroi.tables.engine import Engine
from cxroi.tables.facts import parquet_facts, proven
from cxroi.tables.fields import Field, fields_of, integer_families
from cxroi.tables.further import further_columns
from cxroi.tables.keys import key_violations, overlaps, take_sample
from cxroi.tables.notation import thousands_faults, with_date_repairs
from cxroi.tables.notices import currency_faults, refunds_notice, row_notices, unknown_experiments
from cxroi.tables.presence import presence_faults
from cxroi.tables.rules import Surroundings, rules_of
from cxroi.tables.scan import id_range, remember_ids, rule_violation, scan_counts, settled_ids
from cxroi.tables.source import Source, open_table, unreadable
from cxroi.tables.sql import identifier
from cxroi.tables.violation import Violation, statement

EVENT_DATES = (
    ("transactions", "occurred_at"),
    ("surveys", "answered_at"),
    ("customers", "left_on"),
    ("outcomes", "period_end"),
)


@dataclass(frozen=True)
class Inspection:
    """What was opened, what was found, and what is needed to build the tables."""

    folder: Path
    engine: Engine
    dataset: Dataset
    sources: Mapping[str, Source]
    fields: Mapping[str, Mapping[str, Field]]
    violations: tuple[Violation, ...]
    around: Surroundings
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
    what = _not_a_folder(folder)
    if what:
        message = f"a data set must be a folder; {str(folder)[:200]} {what}."
        repair = "Give the folder that holds customers, surveys and transactions."
        return _closed(folder, engine, [statement("", "missing_folder", message, repair=repair)])
    dataset, faults = read_dataset(folder)
    if any(fault.column.split(".")[0] in ("", "tables") for fault in faults):
        return _closed(folder, engine, faults)
    sources, violations = _open_all(folder, engine, dataset)
    try:
        return _looked_at(folder, engine, dataset, sources, [*faults, *violations], sample_keys_above)
    except duckdb.Error as error:
        parts = {part: name for name, source in sources.items() for part in source.parts}
        damaged = next((name for part, name in parts.items() if f'"{part.scanned}"' in str(error)), "")
        if not damaged:
            raise
        return _closed(folder, engine, [*faults, *violations, unreadable(damaged, sources[damaged].parts, error)])


def _looked_at(
    folder: Path,
    engine: Engine,
    dataset: Dataset,
    sources: dict[str, Source],
    violations: list[Violation],
    sample_keys_above: int,
) -> Inspection:
    faults = [violation for violation in violations if violation.rule == "dataset_yaml"]
    families = integer_families(sources)
    fields = {name: settled_ids(engine, source, fields_of(source, families)) for name, source in sources.items()}
    violations += presence_faults(engine, dataset, sources, fields, violations)
    remember_ids(engine, sources, fields)
    around = Surroundings(
        dataset,
        dt.date.today(),
        _columns_to_join(sources, fields),
        "outcomes" in sources,
        "initiative_id" in fields.get("initiatives", {}),
    )
    findings = [
        _inspect_table(engine, source, fields[name], around, sample_keys_above)
        for name, source in sources.items()
        if source.rows
    ]
    further, chosen, found = further_columns(engine, dataset, sources.get("customers"))
    resolved, notices = _resolved(chosen, fields)
    violations += currency_faults(engine, sources, dataset)
    violations += unknown_experiments(engine, dataset, sources, fields)
    ends = {finding.table: finding.last_event for finding in findings if finding.last_event is not None}
    # outcomes are known up to the last transaction, however long surveys go on
    data_end = ends.get("transactions", max(ends.values(), default=None))
    violations += [violation for finding in findings for violation in finding.violations]
    violations += [*found, *notices, *_unfinished(data_end)]
    violations = [one for one in violations if not (faults and needless(one, faults))]
    order = {name: number for number, name in enumerate(TABLE_NAMES)}
    return Inspection(
        folder,
        engine,
        resolved,
        sources,
        fields,
        tuple(sorted(violations, key=lambda violation: order.get(violation.table, -1))),
        around,
        further,
        {finding.table: finding.drops for finding in findings},
        data_end,
    )


def _not_a_folder(path: Path) -> str:
    """Why a path is no folder that can be read; empty where it is one."""
    try:
        return "" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    except (OSError, ValueError):
        return "is no path"


def _columns_to_join(sources: Mapping[str, Source], fields: Mapping[str, Mapping[str, Field]]) -> tuple[str, ...]:
    """Columns of customers that other tables can be joined to: none without rows or ids."""
    columns = tuple(fields.get("customers", {}))
    return columns if "customer_id" in columns and sources["customers"].rows else ()


def _closed(folder: Path, engine: Engine, faults: Sequence[Violation]) -> Inspection:
    """Inspection that could not begin."""
    nothing = Surroundings(Dataset(), dt.date.today(), (), False, False)
    return Inspection(folder, engine, nothing.dataset, {}, {}, tuple(faults), nothing)


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


@dataclass(frozen=True)
class _Finding:
    table: str
    violations: tuple[Violation, ...]
    drops: tuple[tuple[str, str], ...]
    last_event: dt.date | None


def _inspect_table(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, sample_keys_above: int
) -> _Finding:
    rules = rules_of(source.table, fields, around)
    is_large = source.kind == "parquet" and source.rows > sample_keys_above
    facts = parquet_facts(engine, source, fields) if is_large else {}
    if is_large:
        known = id_range(engine, around)
        rules = [
            rule for rule in rules if rule.severity == "error" and not proven(rule, fields, facts, known, around.today)
        ]
    moment = next((name for table, name in EVENT_DATES if table == source.table and name in fields), "")
    counts, last_event, refunds = scan_counts(engine, source, fields, around, rules, facts, moment)
    violations = [
        rule_violation(engine, source, fields, around, rule, count)
        for rule, count in zip(rules, counts, strict=True)
        if count
    ]
    violations = with_date_repairs(engine, source, fields, violations)
    violations += thousands_faults(
        engine, source, fields, around, {one.column for one in violations if one.rule == "not_a_number"}
    )
    sample = take_sample(engine, source, fields, moment or "occurred_at") if is_large else None
    keys = key_violations(engine, source, fields, sample)
    violations += keys
    violations += overlaps(engine, source, fields, around)
    violations += row_notices(engine, source, fields, around, sample)
    if refunds[0]:
        violations.append(refunds_notice(source, *refunds))
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


def _accepted(violation: Violation, accepted: Mapping[str, str]) -> Violation:
    choice = accepted.get(violation.rule)
    if choice is None or violation.severity == "notice":
        return violation
    done = "left out" if choice == "drop" else "kept"
    return replace(violation, severity="notice", repair=f"Accepted in {FILE_NAME}: they are {done}.")


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
    is_mapped = "left_on" in dataset.source("customers").columns
    return is_contract and has_customers and not is_mapped and "left_on" not in fields["customers"]


def _unfinished(data_end: dt.date | None) -> list[Violation]:
    if data_end is None:
        return []
    quarter = periods.containing(data_end)
    if data_end >= periods.end(quarter):
        return []
    name = periods.label(quarter, "quarter")
    message = f"the data end on {data_end}, before the end of {name}; that quarter is not complete."
    return [replace(statement("", "unfinished_quarter", message), severity="notice")]
