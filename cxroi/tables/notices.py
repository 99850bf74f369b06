"""What is worth knowing about the rows of a table, and amounts in several currencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cxroi.tables.dataset import FILE_NAME, Dataset
from cxroi.tables.engine import Engine
from cxroi.tables.fields import Field, mapped_names
from cxroi.tables.keys import Sample
from cxroi.tables.rules import Surroundings, typed
from cxroi.tables.scan import base_query, first_row, notice, placed
from cxroi.tables.source import Source
from cxroi.tables.sql import identifier, literal, normalised, select, within
from cxroi.tables.violation import Violation, statement

CURRENCY_TABLES = ("transactions", "outcomes", "touches", "costs")


def currency_faults(engine: Engine, sources: Mapping[str, Source], dataset: Dataset) -> list[Violation]:
    """Amounts in more than one currency, or in another one than the data set declares; one violation a table."""
    found = {name: _currencies(engine, source) for name, source in sources.items() if name in CURRENCY_TABLES}
    counted: Counter[str] = Counter()
    for currencies in found.values():
        counted.update(currencies)
    main = dataset.currency.upper() or next((name for name, _ in counted.most_common(1)), "")
    return [
        _other_currencies(engine, sources[name], currencies, main)
        for name, currencies in found.items()
        if set(currencies) - {main}
    ]


def _currency(source: Source) -> str:
    """Currency of a row as an expression, empty where the table has no such column."""
    theirs = next((name for name in source.types if name.strip().casefold() == "currency"), None)
    return "" if theirs is None else f"upper({normalised(f'CAST({identifier(theirs)} AS VARCHAR)')})"


def _currencies(engine: Engine, source: Source) -> dict[str, int]:
    value = _currency(source)
    if not value:
        return {}
    query = select([value, "count(*) AS n"], source.scan(), where=f"{value} IS NOT NULL", group="1", order="n DESC, 1")
    return {str(name): int(count) for name, count in engine.rows(query)}


def _other_currencies(engine: Engine, source: Source, found: Mapping[str, int], main: str) -> Violation:
    others = {name: count for name, count in found.items() if name != main}
    rows = sum(others.values())
    message = (
        f"all amounts of {source.table} must be in one currency ({main}); {rows:,} of {source.rows:,} rows are in "
        f"{', '.join([*others][:5])}"
    )
    column = identifier("currency found")
    base = within(select(["*", f"{_currency(source)} AS {column}"], source.scan(with_position=True)))
    file, row, first = first_row(engine, base, f"{column} <> {literal(main)}", column)
    repair = f"Convert the amounts into one currency before the export, and name it in {FILE_NAME}: currency: {main}."
    violation = Violation(
        source.table, "currency", "several_currencies", rows, source.rows, None, first, message, repair
    )
    return placed(engine, source, violation, (file, row), show=first)


def unknown_experiments(
    engine: Engine, dataset: Dataset, sources: Mapping[str, Source], fields: Mapping[str, Mapping[str, Field]]
) -> list[Violation]:
    """Declared experiments that have no exposures."""
    if not dataset.experiments:
        return []
    must = f"experiments in {FILE_NAME} must name initiatives of the table exposures"
    if "initiative_id" not in fields.get("exposures", {}):
        repair = "Put exposures.csv there, or remove the key."
        return [statement("exposures", "unknown_initiative", f"{must}; there is no such table.", repair=repair)]
    value = f"CAST({fields['exposures']['initiative_id'].typed} AS VARCHAR)"
    query = select([f"DISTINCT {value}"], sources["exposures"].scan(), where=f"{value} IS NOT NULL", order="1")
    known = [str(name) for (name,) in engine.rows(query)]
    unknown = [name for name in dataset.experiments if name not in known]
    if not unknown:
        return []
    message = f"{must}; {', '.join(unknown)} is not there."
    repair = f"It knows {', '.join(known)}."
    return [statement("exposures", "unknown_initiative", message, column="initiative_id", repair=repair)]


def row_notices(
    engine: Engine, source: Source, fields: Mapping[str, Field], around: Surroundings, sample: Sample | None
) -> list[Violation]:
    """Notices about the rows of a table: several orders a day, mixed time zones, unknown consent."""
    notices = []
    if source.table == "transactions" and {"customer_id", "occurred_at", "amount"} <= set(fields):
        rows = sample.name if sample else within(base_query(source, fields, around))
        day = f"CAST({typed('occurred_at')} AS DATE)"
        days = select(
            ["1"],
            rows,
            where=f"{typed('amount')} > 0 AND {typed('occurred_at')} IS NOT NULL",
            group=f"{typed('customer_id')}, {day}",
        )
        count = engine.rows(select(["count(*)"], within(days + " HAVING count(*) > 1")))[0][0]
        if count:
            aside = sample.aside if sample else ""
            message = f"on {count:,} days a customer has several orders{aside}; each counts as one order."
            notices.append(notice(source, "occurred_at", "several_orders_a_day", count, message))
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
            notices.append(notice(source, "consent", "empty_consent", count, message))
    return notices


def refunds_notice(source: Source, count: int, total: float) -> Violation:
    """Notice with the number and sum of refunds."""
    message = (
        f"{count:,} of {source.rows:,} transactions are refunds (amount below 0, together {total:,.2f}); they lower revenue "
        "and margin and never count as orders."
    )
    return notice(source, "amount", "refunds", count, message)


def _sampled_dates(engine: Engine, source: Source, around: Surroundings, sample: Sample) -> list[Violation]:
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
            notices.append(notice(source, "occurred_at", rule, count, message))
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
    return [notice(source, name, "mixed_time_zones", offset, message)]
