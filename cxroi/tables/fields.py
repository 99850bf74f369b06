"""From the columns of an export to typed SQL expressions: every conversion can fail, and every failure can be counted."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cxroi.tables.contract import COST_CATEGORIES, TABLES, Column
from cxroi.tables.source import Source
from cxroi.tables.sql import identifier, listing, literal, normalised, trimmed

INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
FLOATS = {"FLOAT", "DOUBLE"}
TRUE = ("true", "t", "yes", "y", "1", "có", "co", "đúng")
FALSE = ("false", "f", "no", "n", "0", "không", "khong", "sai")
# Where the decimal sign is declared, the other mark and blanks may only stand between groups of three digits.
GROUPED = {",": r"^[+-]?(\d{1,3}([. ]\d{3})+|\d+)(,\d+)?$", ".": r"^[+-]?\d{1,3}([, ]\d{3})+(\.\d+)?$"}


@dataclass(frozen=True)
class Field:
    """One column of ours in one export.

    ``typed`` is the converted value (null where empty or where conversion fails), ``text`` what stands there, ``empty`` and
    ``failed`` are conditions. ``plain`` may stand for ``typed`` where no row is ``untidy``, which is cheap to find out.
    """

    column: Column
    typed: str
    text: str
    empty: str
    failed: str = "false"
    plain: str = ""
    untidy: str = ""

    @property
    def name(self) -> str:
        """Our name of the column."""
        return self.column.name


def mapped_names(source: Source) -> dict[str, str]:
    """Our names of the columns that the export has, and the export's: mapped, or the same, or further ones of customers."""
    there = {unicodedata.normalize("NFC", name).strip(): name for name in source.types}
    table = TABLES[source.table]
    asked = {ours: unicodedata.normalize("NFC", theirs).strip() for ours, theirs in source.options.columns.items()}
    names = {ours: there[theirs] for ours, theirs in asked.items() if theirs in there}
    for name in table.column:
        if name not in asked and name in there:
            names[name] = there[name]
    if source.table == "customers":
        used = set(names.values())
        names |= {clean: name for clean, name in there.items() if name not in used and clean not in {*names, *asked}}
    return names


def integer_families(sources: Mapping[str, Source]) -> set[str]:
    """Families of ids whose columns are integers in every file; all other ids are texts."""
    kinds: dict[str, set[bool]] = {}
    for source in sources.values():
        names = mapped_names(source)
        for column in TABLES[source.table].columns:
            if column.kind == "id" and column.name in names:
                family = column.family or f"{source.table}.{column.name}"
                kinds.setdefault(family, set()).add(source.types[names[column.name]] in INTEGERS)
    return {family for family, found in kinds.items() if found == {True}}


def fields_of(source: Source, families: set[str]) -> dict[str, Field]:
    """Fields of the contract's columns that the export has, by our name."""
    names = mapped_names(source)
    fields = {}
    for column in TABLES[source.table].columns:
        if column.name in names:
            theirs = names[column.name]
            family = column.family or f"{source.table}.{column.name}"
            fields[column.name] = _field(
                column,
                identifier(theirs),
                source.types[theirs],
                decimal=source.options.decimal,
                is_integer=family in families,
                is_tidy=source.kind == "csv",
            )
    return fields


def settled(field: Field) -> Field:
    """Field of an id whose texts need no tidying in any row."""
    return replace(field, typed=field.plain, text=field.plain, empty=f"{field.plain} IS NULL", plain="", untidy="")


def further_names(source: Source) -> dict[str, str]:
    """Columns of customers that the contract does not name, and the export's names."""
    known = TABLES[source.table].column
    return {ours: theirs for ours, theirs in mapped_names(source).items() if ours not in known}


def number_of(text: str, decimal: str | None) -> str:
    """Finite number in a text, else null; marks between thousands are read only where the decimal sign is declared."""
    number = f"TRY_CAST({text} AS DOUBLE)"
    if decimal is not None:
        marks = "." if decimal == "," else ","
        plain = f"replace(translate({text}, '{marks} ' || chr(160), ''), {literal(decimal)}, '.')"
        matching = f"regexp_matches(replace({text}, chr(160), ' '), {literal(GROUPED[decimal])})"
        number = (
            f"CASE WHEN {matching} THEN TRY_CAST({plain} AS DOUBLE) {'' if decimal == ',' else f'ELSE {number} '}END"
        )
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def moment_of(text: str) -> str:
    """Naive UTC timestamp in an ISO 8601 text, else null."""
    # A cast to TIMESTAMP would ignore an offset; names such as 'epoch' are no dates.
    moment = f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
    begins = f"(starts_with({text}, '1') OR starts_with({text}, '2')) AND substr({text}, 5, 1) IN ('-', '/')"
    return f"CASE WHEN {begins} THEN {moment} END"


def _field(column: Column, raw: str, kind: str, *, decimal: str | None, is_integer: bool, is_tidy: bool) -> Field:
    if column.kind == "id" and is_integer:
        return Field(column, f"CAST({raw} AS BIGINT)", f"CAST({raw} AS VARCHAR)", f"{raw} IS NULL")
    if kind == "VARCHAR" or kind.startswith("ENUM"):
        return _text_field(column, raw, decimal, is_tidy=is_tidy)
    if column.kind in ("date", "month"):
        return _native_moment(column, raw, kind)
    if column.kind in ("number", "score"):
        return _native_number(column, raw, kind)
    if column.kind == "flag" and kind == "BOOLEAN":
        return Field(column, raw, f"CAST({raw} AS VARCHAR)", f"{raw} IS NULL")
    if kind in FLOATS:
        whole = f"CAST(TRY_CAST({raw} AS HUGEINT) AS VARCHAR)"
        text = f"CASE WHEN {raw} = floor({raw}) THEN {whole} ELSE CAST({raw} AS VARCHAR) END"
        field = _text_field(column, f"CASE WHEN NOT isnan({raw}) THEN {text} END", decimal)
        # Beyond this, different whole numbers become the same float.
        limit = 2**24 if kind == "FLOAT" else 2**53
        return (
            replace(field, failed=f"coalesce(abs({raw}) >= {limit} AND NOT isnan({raw}), false)")
            if column.kind == "id"
            else field
        )
    return _text_field(column, f"CAST({raw} AS VARCHAR)", decimal)


def _text_field(column: Column, raw: str, decimal: str | None, *, is_tidy: bool = False) -> Field:
    text = raw if is_tidy else trimmed(raw)
    empty, failed = f"{text} IS NULL", "{0} IS NOT NULL AND ({1}) IS NULL"
    if column.kind in ("id", "text"):
        if is_tidy:
            return Field(column, raw, raw, empty)
        typed = normalised(raw)
        is_id = column.kind == "id" and raw.startswith('"')
        return Field(column, typed, typed, empty, plain=raw if is_id else "", untidy=_untidy(raw) if is_id else "")
    if column.kind in ("number", "score"):
        typed = number_of(text, decimal)
    elif column.kind == "date":
        typed = moment_of(text)
    elif column.kind == "month":
        month = f"CASE WHEN regexp_matches({text}, '^\\d{{4}}-\\d{{1,2}}$') THEN {text} || '-01' ELSE {text} END"
        typed = f"date_trunc('month', {moment_of(month)})"
    elif column.kind == "flag":
        word = f"lower(nfc_normalize({text}))"
        typed = (
            f"CASE WHEN list_contains({listing(TRUE)}, {word}) THEN true "
            f"WHEN list_contains({listing(FALSE)}, {word}) THEN false END"
        )
    elif column.kind == "category":
        typed = _category(f"lower(nfc_normalize({text}))")
    else:
        word = f"lower(nfc_normalize({text}))"
        typed = f"CASE WHEN list_contains({listing(column.choices)}, {word}) THEN {word} END"
    return Field(column, typed, text, empty, failed.format(text, typed))


def _untidy(raw: str) -> str:
    # Beyond ASCII, empty, or blanks around it: comparing lengths and ends costs a tenth of trimming 36 million ids.
    ends = " OR ".join(f"suffix({raw}, {blank})" for blank in ("' '", "chr(9)", "chr(10)", "chr(13)"))
    return f"strlen({raw}) <> length({raw}) OR {raw} < '!' OR {ends}"


def _category(word: str) -> str:
    branches = " ".join(
        f"WHEN list_contains({listing((str(number), f'{number}.0', *names))}, {word}) THEN {number}"
        for number, names in enumerate(COST_CATEGORIES, start=1)
    )
    return f"CASE {branches} END"


def _native_moment(column: Column, raw: str, kind: str) -> Field:
    text, empty = f"CAST({raw} AS VARCHAR)", f"{raw} IS NULL"
    if kind == "TIMESTAMP":
        moment = raw
    elif kind == "TIMESTAMP WITH TIME ZONE":
        moment = f"({raw} AT TIME ZONE 'UTC')"
    elif kind == "DATE" or kind.startswith("TIMESTAMP"):
        moment = f"CAST({raw} AS TIMESTAMP)"
    else:
        return Field(column, "CAST(NULL AS TIMESTAMP)", text, empty, f"{raw} IS NOT NULL")
    return Field(column, f"date_trunc('month', {moment})" if column.kind == "month" else moment, text, empty)


def _native_number(column: Column, raw: str, kind: str) -> Field:
    text = f"CAST({raw} AS VARCHAR)"
    if kind in FLOATS:
        typed = f"CASE WHEN isfinite({raw}) THEN CAST({raw} AS DOUBLE) END"
        return Field(column, typed, text, f"({raw} IS NULL OR isnan({raw}))", f"isinf({raw})")
    typed = f"TRY_CAST({raw} AS DOUBLE)"
    return Field(column, typed, text, f"{raw} IS NULL", f"{raw} IS NOT NULL AND {typed} IS NULL")
