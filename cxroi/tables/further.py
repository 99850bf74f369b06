"""Columns of customers beyond the contract: their kinds, and the segments and controls that follow."""

from __future__ import annotations

from cxroi.tables.contract import TABLES
from cxroi.tables.dataset import FILE_NAME, Dataset
from cxroi.tables.engine import Engine
from cxroi.tables.fields import further_names, mapped_names, number_of
from cxroi.tables.source import Source
from cxroi.tables.sql import identifier, normalised, select, trimmed
from cxroi.tables.violation import Violation, ending, statement, suggestion

MAX_CATEGORIES = 20


def further_columns(
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
    contract = TABLES[source.table].column
    known = [name for name in mapped_names(source) if name not in contract or contract[name].kind in ("text", "number")]
    violations = []
    for key, names in (("segments", segments), ("controls", controls)):
        for name in names:
            if name not in known:
                what = f"which customers do not have{ending(suggestion(name, known))}"
                if name in contract:
                    what = "which is an id, a date or a permission and can't be compared."
                message = f"{FILE_NAME}: {key} names {name}, {what}"
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
