"""Read a data set into ``Tables``: narwhals lazy frames in one vocabulary, and the account of every row."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import narwhals as nw
import pandas as pd

from cxroi.errors import InvalidTables
from cxroi.tables.check import Inspection, inspect
from cxroi.tables.contract import TABLE_NAMES
from cxroi.tables.dataset import FILE_NAME, Dataset
from cxroi.tables.engine import Engine
from cxroi.tables.keys import repeated_key
from cxroi.tables.rules import typed
from cxroi.tables.scan import base_query
from cxroi.tables.source import POSITION_FILE, POSITION_ROW, Source
from cxroi.tables.sql import identifier, literal, select, within
from cxroi.tables.violation import Violation

Frame = nw.LazyFrame[Any]
# A text table up to this size is kept in the engine's memory after reading; a larger one becomes a private Parquet file.
STORED_ROWS = 2_000_000


@dataclass(frozen=True)
class Input:
    """One file that was read: its name relative to the data set, and its size in bytes."""

    name: str
    bytes: int
    path: Path = field(repr=False)

    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hexadecimal."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Tables:
    """The tables of one company, checked.

    Each table is a lazy frame (or None where there is none) with the names and types of the contract; nothing is loaded
    before a result is asked for. Keep this object while its frames are in use: its private files go with it.

    ``accounting`` (pandas: ``table, reason, rows``) holds for each table the rows read, each reason of loss, and the rows
    kept. ``notices`` are worth knowing; nothing was refused because of them.
    """

    name: str
    config: Dataset
    customers: Frame
    surveys: Frame | None
    transactions: Frame | None
    outcomes: Frame | None
    touches: Frame | None
    referrals: Frame | None
    initiatives: Frame | None
    exposures: Frame | None
    costs: Frame | None
    accounting: pd.DataFrame
    notices: tuple[Violation, ...]
    inputs: tuple[Input, ...]
    data_end: dt.date | None
    controls: tuple[str, ...]
    segments: tuple[str, ...]
    engine: Engine | None = field(repr=False, default=None)

    def __repr__(self) -> str:
        kept = self.accounting[self.accounting["reason"] == "kept"]
        rows = ", ".join(f"{table} {rows:,}" for table, rows in zip(kept["table"], kept["rows"], strict=True))
        return f"Tables({self.name}: {rows})"

    def collect(self) -> Tables:
        """Return the same tables, loaded into pandas behind the same narwhals interface."""
        if self.engine is None:
            return self
        loaded: dict[str, Any] = {
            name: _loaded(frame) for name in TABLE_NAMES if (frame := getattr(self, name)) is not None
        }
        return replace(self, engine=None, **loaded)

    def frame(self, data: pd.DataFrame) -> Frame:
        """Put a small pandas frame beside the tables, so that it can be joined to them."""
        if self.engine is None:
            return nw.from_native(data).lazy()
        # The relation is stored, so that it no longer depends on the pandas frame.
        return self._stored(self.engine.connection.from_df(data))

    def materialise(self, lazy: Frame) -> Frame:
        """Compute an intermediate result once and keep it in the engine."""
        if self.engine is None:
            return lazy.collect().lazy()
        return self._stored(lazy.to_native())

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that was read, by name; reads all bytes."""
        return {one.name: one.sha256() for one in self.inputs}

    def _stored(self, relation: Any) -> Frame:
        assert self.engine is not None
        name = self.engine.next_name()
        relation.create(name)
        return nw.from_native(self.engine.connection.table(name))


def read_tables(path: str | Path, *, sample_keys_above: int = 20_000_000) -> Tables:
    """Read and check the tables of a data set's folder.

    Parameters
    ----------
    path
        Folder with ``customers``, ``surveys`` and ``transactions`` (or ``outcomes``) as CSV, CSV.gz or Parquet, and a
        ``dataset.yaml`` where names differ.
    sample_keys_above
        Number of rows above which repeated ids and rows are looked for in every 64th id only.

    Returns
    -------
    Tables
        Lazy frames, configuration, row accounting and notices.

    Raises
    ------
    InvalidTables
        If the data set breaks the contract; carries every violation.

    Examples
    --------
    >>> read_tables("data/nowhere")
    Traceback (most recent call last):
    ...
    cxroi.errors.InvalidTables: a data set must be a folder; data/nowhere does not exist. Give the folder that holds …
    """
    inspection = inspect(path, sample_keys_above=sample_keys_above)
    errors = [violation for violation in inspection.violations if violation.severity == "error"]
    if errors:
        inspection.engine.close()
        raise InvalidTables(errors)
    frames: dict[str, Frame | None] = dict.fromkeys(TABLE_NAMES)
    accounting: list[tuple[str, str, int]] = []
    for name, source in inspection.sources.items():
        losses = _losses(inspection, source)
        query = _final_query(inspection, source)
        engine = inspection.engine
        engine.connection.execute(_made(engine, source, query, inspection.drops.get(name, ())))
        frames[name] = nw.from_native(engine.connection.table(name))
        accounting.append((name, "read", source.rows))
        accounting += [(name, reason, rows) for reason, rows in losses]
        accounting.append((name, "kept", source.rows - sum(rows for _, rows in losses)))
    config = inspection.dataset
    customers = frames.pop("customers")
    assert customers is not None
    return Tables(
        name=Path(path).resolve().name,
        config=config,
        customers=customers,
        **frames,
        accounting=pd.DataFrame(accounting, columns=["table", "reason", "rows"]),
        notices=inspection.violations,
        inputs=_inputs(inspection),
        data_end=inspection.data_end,
        controls=config.controls or (),
        segments=config.segments or (),
        engine=inspection.engine,
    )


def _made(engine: Engine, source: Source, query: str, drops: Sequence[tuple[str, str]]) -> str:
    """Statement that makes the table: a view where it is cheap to compute again, else a stored result."""
    if source.kind == "parquet" and all(reason != "repeated_rows" for reason, _ in drops):
        return f"CREATE TEMP VIEW {identifier(source.table)} AS {query}"
    if source.rows <= STORED_ROWS:
        return f"CREATE TEMP TABLE {identifier(source.table)} AS {query}"
    target = literal(str(engine.folder / f"{source.table}_ready.parquet"))
    engine.connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet)")
    return f"CREATE TEMP VIEW {identifier(source.table)} AS {select(['*'], f'read_parquet({target}, hive_partitioning = false)')}"


def _lost(inspection: Inspection, source: Source) -> str:
    """Query of all rows with ``lost``, the first reason for which a row is left out."""
    drops = inspection.drops.get(source.table, ())
    fields = inspection.fields[source.table]
    repeated = any(reason == "repeated_rows" for reason, _ in drops)
    asked = " ".join(condition for _, condition in drops)
    base = base_query(source, fields, inspection.around, asked=asked, with_position=repeated)
    if repeated:
        position = f"{identifier(POSITION_FILE)}, {POSITION_ROW}"
        answered = f"{fields['score'].text} IS NOT NULL" if "score" in fields else "true"
        nth = f"row_number() OVER (PARTITION BY {repeated_key(source)}, {answered} ORDER BY {position}) > 1 AND {answered}"
        marks = select([position, f"({nth}) AS is_repeated"], source.scan(with_position=True))
        matching = f"marked.{identifier(POSITION_FILE)} = own.{identifier(POSITION_FILE)} AND marked.{POSITION_ROW} = own.{POSITION_ROW}"
        base = select(["own.*", "marked.is_repeated"], f"({base}) AS own JOIN ({marks}) AS marked ON {matching}")
    branches = " ".join(f"WHEN {condition or 'is_repeated'} THEN {literal(reason)}" for reason, condition in drops)
    return select(["*", f"CASE {branches} END AS lost"], within(base))


def _losses(inspection: Inspection, source: Source) -> list[tuple[str, int]]:
    drops = inspection.drops.get(source.table, ())
    if not drops:
        return []
    query = select(["lost", "count(*)"], within(_lost(inspection, source)), where="lost IS NOT NULL", group="1")
    counted = {str(reason): int(rows) for reason, rows in inspection.engine.rows(query)}
    order = list(dict.fromkeys(reason for reason, _ in drops))
    return [(reason, counted[reason]) for reason in order if reason in counted]


def _final_query(inspection: Inspection, source: Source) -> str:
    """Query of a table as it is handed out."""
    table, dataset = source.table, inspection.dataset
    fields = inspection.fields[table]
    if inspection.drops.get(table):
        values: Mapping[str, str] = {name: typed(name) for name in fields}
        scan, where = within(_lost(inspection, source)), "lost IS NULL"
    else:
        values = {name: one.typed for name, one in fields.items()}
        scan, where = source.scan(), ""
    columns = {name: _final_value(name, value, dataset, values) for name, value in values.items()}
    if dataset.margin_rate is not None and "margin" not in columns:
        earned = {"transactions": "amount", "outcomes": "revenue"}.get(table)
        if earned in columns:
            columns["margin"] = f"{dataset.margin_rate!r} * ({columns[earned]})"
    if table == "customers":
        columns |= {name: expression for name, expression, _ in inspection.further}
    return select([f"{expression} AS {identifier(name)}" for name, expression in columns.items()], scan, where=where)


def _final_value(name: str, value: str, dataset: Dataset, values: Mapping[str, str]) -> str:
    if name != "score":
        return value
    turned = [(metric, scale) for metric, scale in dataset.scales.items() if scale.is_reversed]
    if not turned:
        return value
    branches = " ".join(
        f"WHEN {literal(metric)} THEN {scale.low + scale.high!r} - ({value})" for metric, scale in turned
    )
    return f"CASE {values['metric']} {branches} ELSE {value} END"


def _inputs(inspection: Inspection) -> tuple[Input, ...]:
    paths = [part.original for source in inspection.sources.values() if source.kind != "sql" for part in source.parts]
    paths += [path for source in inspection.sources.values() for path in source.read_by_query]
    described = inspection.folder / FILE_NAME
    if described.exists():
        paths.append(described)
    named = {_relative(path, inspection.folder): path for path in paths}
    return tuple(Input(name, path.stat().st_size, path) for name, path in sorted(named.items()))


def _relative(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return path.name


def _loaded(frame: Frame) -> Frame:
    data = frame.to_native().to_arrow_table().to_pandas()
    for name, kind in frame.collect_schema().items():
        if kind == nw.Boolean:
            data[name] = data[name].astype("boolean")
    lazy: Frame = nw.from_native(data).lazy()
    return lazy
