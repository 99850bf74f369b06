"""The rules that look at one row: a condition each, over the typed columns of one table.

Inside a condition ``"score"`` is the converted value, ``"~score"`` the text that stood there, ``"joined_on of customer"``
what the table of customers says.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cxroi.tables.contract import CUSTOMER_COLUMNS, METRICS, TABLES, Column
from cxroi.tables.dataset import FILE_NAME, Dataset, Scale
from cxroi.tables.fields import Field
from cxroi.tables.sql import identifier, literal
from cxroi.tables.violation import Severity

ORDERED = (
    ("customers", "joined_on", "left_on", "left_before_joining"),
    ("outcomes", "period_start", "period_end", "reversed_period"),
    ("initiatives", "starts_on", "ends_on", "reversed_period"),
)
# A row of surveys without a score is an invitation that got no answer.
ANSWERED = '"~score" IS NOT NULL'


@dataclass(frozen=True)
class Rule:
    """A condition that a row must not meet, and how to say it.

    ``must`` completes "table.column …", ``fail`` completes "n of m rows …"; ``repair`` is given the first value.
    """

    name: str
    column: str
    condition: str
    must: str
    fail: str = "do not"
    repair: Callable[[str], str] = lambda value: ""
    severity: Severity = "error"


@dataclass(frozen=True)
class Surroundings:
    """What a table's rules need to know beside its own columns."""

    dataset: Dataset
    today: dt.date
    customer_columns: tuple[str, ...]
    has_outcomes: bool
    has_initiatives: bool


def typed(name: str) -> str:
    """Converted value of a column inside a condition."""
    return identifier(name)


def shown(name: str) -> str:
    """Text of a column inside a condition."""
    return identifier("~" + name)


def rules_of(table: str, fields: Mapping[str, Field], around: Surroundings) -> list[Rule]:
    """All row rules of a table that its columns allow."""
    return [
        *(rule for field in fields.values() for rule in _column_rules(table, field, fields, around)),
        *_scale_rules(table, fields, around.dataset),
        *_order_rules(table, fields),
        *_customer_rules(table, fields, around),
        *_margin_rules(table, fields),
    ]


def accept_line(table: str, rule: str, choice: str = "drop") -> str:
    """The line of ``dataset.yaml`` that accepts a rule's rows."""
    return f"accept: {{{table}: {{{rule}: {choice}}}}}"


def accepting(table: str, rule: str) -> str:
    """Sentence that offers to accept the rows, where the rule allows it."""
    choices = dict(TABLES[table].accepts).get(rule, ())
    if not choices:
        return ""
    keep = f" (or {rule}: keep)" if "keep" in choices else ""
    return f" To leave them out, add to {FILE_NAME}: {accept_line(table, rule)}{keep}."


def _column_rules(table: str, field: Field, fields: Mapping[str, Field], around: Surroundings) -> Iterator[Rule]:
    column = field.column
    if column.required and column.kind != "score":
        condition = f"{identifier('!' + column.name)}"
        if (table, column.name) == ("surveys", "answered_at"):
            condition = (
                "false" if around.has_outcomes else f"{condition} AND {ANSWERED if 'score' in fields else 'true'}"
            )
        yield Rule(
            "empty_cell",
            column.name,
            condition,
            "must not be empty",
            "are",
            lambda value: "Fill in the cells." + accepting(table, "empty_cell"),
        )
    if field.failed != "false":
        yield _conversion_rule(table, column)
    if column.kind == "date":
        yield _date_range_rule(column, around.today)


def _conversion_rule(table: str, column: Column) -> Rule:
    failed = identifier("?" + column.name)
    if column.kind in ("date", "month"):
        kind = "a date (ISO 8601, for example 2026-12-31)" if column.kind == "date" else "a month, for example 2026-12"
        return Rule(
            "not_a_date",
            column.name,
            failed,
            f"must be {kind}",
            repair=_date_repair,
        )
    if column.kind in ("number", "score"):
        return Rule(
            "not_a_number",
            column.name,
            failed,
            "must be a number",
            repair=lambda value: _number_repair(table, value) + accepting(table, "not_a_number"),
        )
    if column.kind == "flag":
        return Rule(
            "not_true_or_false", column.name, failed, "must be true or false", repair=lambda value: "Recode them."
        )
    if column.kind == "metric":
        return Rule(
            "unknown_metric",
            column.name,
            failed,
            f"must be one of {', '.join(METRICS)}",
            repair=lambda value: "Recode them, or leave other questions out of the export.",
        )
    if column.kind == "id":
        return Rule(
            "inexact_id",
            column.name,
            failed,
            "must be exact; numbers with a decimal sign are not, beyond 15 digits",
            "lie beyond",
            lambda value: "Export the ids as text or as whole numbers.",
        )
    choices = ", ".join(column.choices)
    allowed = f"must be 1 to 8 or one of {choices}" if column.kind == "category" else f"must be one of {choices}"
    return Rule("unknown_choice", column.name, failed, allowed, repair=lambda value: "Recode them.")


def _date_repair(value: str) -> str:
    if value.startswith("9999"):
        return "Leave the cell empty where there is no such date yet."
    return "Export them as 2026-12-31 or 2026-12-31T23:59:59+07:00."


def _number_repair(table: str, value: str) -> str:
    """How to repair numbers that can't be read, of which ``value`` is the first."""
    bare = value.strip().replace("\u00a0", " ")
    comma, point = (f'tables: {{{table}: {{decimal: "{mark}"}}}}' for mark in ",.")
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", bare):
        return (
            f"Say in {FILE_NAME} what the comma means: {point} if {bare} is {bare.replace(',', '')}, "
            f"{comma} if it is {bare.replace(',', '.')}, a decimal number."
        )
    if re.fullmatch(r"[+-]?(\d{1,3}([. ]\d{3})*|\d+),\d+", bare):
        return f"They look like decimal commas; if so, declare them in {FILE_NAME}: {comma}."
    if re.fullmatch(r"[+-]?\d{1,3}([, ]\d{3})+(\.\d+)?", bare):
        return f"Export bare numbers, or declare in {FILE_NAME} that commas or blanks set thousands apart: {point}."
    if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+", bare):
        return f"Export bare numbers, or declare in {FILE_NAME} that points set thousands apart: {comma}."
    if re.search(r"[^\d.,+\-\s]", bare) and re.search(r"\d", bare):
        return "Export bare numbers, without currency signs, units or thousands separators."
    if re.search(r"\d", bare):
        return "Export bare numbers, with one decimal sign at most and no thousands separators."
    return "Recode words as numbers, or leave the cell empty where there is no answer."


def _date_range_rule(column: Column, today: dt.date) -> Rule:
    value = typed(column.name)
    latest = today + dt.timedelta(days=1)
    condition, span = f"{value} < TIMESTAMP '1970-01-01'", "must lie in 1970 or later"
    if not column.planned:
        condition += f" OR {value} >= TIMESTAMP '{latest + dt.timedelta(days=1)}'"
        span = "must lie between 1970 and today"
    return Rule(
        "date_out_of_range",
        column.name,
        condition,
        span,
        repair=lambda value: "Correct the dates, or leave unknown ones empty.",
    )


def _scale_rules(table: str, fields: Mapping[str, Field], dataset: Dataset) -> Iterator[Rule]:
    if table != "surveys" or not {"metric", "score"} <= set(fields):
        return
    for metric in METRICS:
        scale = dataset.scales[metric]
        low, high = f"{scale.low:g}", f"{scale.high:g}"
        yield Rule(
            "out_of_scale",
            "score",
            f'"metric" = {literal(metric)} AND ("score" < {scale.low!r} OR "score" > {scale.high!r})',
            f"must lie in {low}..{high} for {metric}",
            repair=lambda value, metric=metric, scale=scale: (  # type: ignore[misc]
                _scale_repair(metric, scale, value) + accepting(table, "out_of_scale")
            ),
        )


def _scale_repair(metric: str, scale: Scale, value: str) -> str:
    """Repair of an answer outside its scale: the next scale in use that holds it, where there is one."""
    known = ([0.0, 10.0], [1.0, 10.0], [1.0, 5.0], [1.0, 7.0], [0.0, 100.0])
    usual = [[1.0, 10.0]] if [scale.low, scale.high] == [0.0, 10.0] else []  # the other way to ask for a recommendation
    number = float(value.replace(",", ".")) if re.fullmatch(r"-?\d+([.,]\d+)?", value.strip()) else -1.0
    wider = [
        [low, high]
        for low, high in known
        if low <= number <= high and low <= scale.low and high >= scale.high and [low, high] != [scale.low, scale.high]
    ]
    if number in (99, 999) or not (wider or usual):
        return "Recode them; where the number stands for no answer, leave the cell empty."
    low, high = min(usual or wider, key=lambda ends: (ends[1] - ends[0], ends))
    example = f"{{range: [{low:g}, {high:g}], easy: {high:g}}}" if metric == "ces" else f"[{low:g}, {high:g}]"
    return f"Recode them, or declare the scale in {FILE_NAME}: scales: {{{metric}: {example}}}."


def _order_rules(table: str, fields: Mapping[str, Field]) -> Iterator[Rule]:
    for name, first, second, rule in ORDERED:
        if name == table and {first, second} <= set(fields):
            yield Rule(
                rule,
                second,
                f"CAST({typed(second)} AS DATE) < CAST({typed(first)} AS DATE)",
                f"must not lie before {first}",
                "do",
                lambda value: "Correct the dates.",
            )


def _customer_rules(table: str, fields: Mapping[str, Field], around: Surroundings) -> Iterator[Rule]:
    for column in CUSTOMER_COLUMNS.get(table, ()):
        if column in fields and "customer_id" in around.customer_columns:
            yield Rule(
                "unknown_customer",
                column,
                f"{typed(column)} IS NOT NULL AND NOT {identifier('known ' + column)}",
                "must be found in customers.customer_id",
                "are not",
                lambda value: (
                    "Add the missing customers, or check how the ids are written."
                    + accepting(table, "unknown_customer")
                ),
            )
    if table in ("exposures", "costs") and around.has_initiatives and "initiative_id" in fields:
        yield Rule(
            "unknown_initiative",
            "initiative_id",
            f"{typed('initiative_id')} IS NOT NULL AND NOT {identifier('known initiative_id')}",
            "must be found in initiatives.initiative_id",
            "are not",
            lambda value: "Add the missing initiatives, or check how the ids are written.",
        )
    moment = {"surveys": "answered_at", "transactions": "occurred_at"}.get(table)
    if moment is None or moment not in fields or "customer_id" not in fields:
        return
    severity: Severity = "error" if table == "surveys" else "notice"
    answered = f" AND {ANSWERED}" if table == "surveys" and "score" in fields else ""
    for bound, sign, rule, must in (
        ("joined_on", "<", "before_joining", "must not lie before the customer joined"),
        ("left_on", ">", "after_leaving", "must not lie after the customer left"),
    ):
        if bound in around.customer_columns:
            yield Rule(
                rule,
                moment,
                f"CAST({typed(moment)} AS DATE) {sign} CAST({identifier(bound + ' of customer')} AS DATE){answered}",
                must,
                "do",
                lambda value, rule=rule: (
                    f"Correct customers.{'joined_on' if rule == 'before_joining' else 'left_on'} or the dates."
                    + accepting(table, rule)
                ),  # type: ignore[misc]
                severity,
            )


def _margin_rules(table: str, fields: Mapping[str, Field]) -> Iterator[Rule]:
    if table == "transactions" and {"amount", "margin"} <= set(fields):
        yield Rule(
            "empty_margin",
            "margin",
            f"{identifier('!margin')} AND {typed('amount')} IS NOT NULL",
            "must not be empty where there is an amount",
            "are",
            lambda value: f"Fill in the margins, or remove the column and declare margin_rate in {FILE_NAME}.",
        )
