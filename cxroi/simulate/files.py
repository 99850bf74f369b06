"""Writing tables of any length: columns in, Parquet or CSV out, in bounded memory and with the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from cxroi.simulate import loyalty, rows
from cxroi.simulate.process import METRICS, TOUCHPOINTS
from cxroi.simulate.rows import NOT_YET, Columns
from cxroi.simulate.worlds import World

FileFormat = Literal["parquet", "csv", "mixed"]
ROW_GROUP = 1_000_000

IDS = {"customer": "KH", "transaction": "GD", "response": "PH", "initiative": "SK"}
Kind = str | tuple[str, ...]
TABLES: dict[str, dict[str, Kind]] = {
    "customers": {
        "customer_id": "customer",
        "joined_on": "day",
        "left_on": "day",
        "region": rows.REGIONS,
        "plan": rows.PLANS,
        "age": "whole",
        "acquisition_channel": rows.ACQUISITION_CHANNELS,
        "acquisition_cost": "whole",
    },
    "transactions": {
        "transaction_id": "transaction",
        "customer_id": "customer",
        "occurred_at": "moment",
        "amount": "money",
        "margin": "money",
        "channel": rows.ORDER_CHANNELS,
        "brand": loyalty.BRANDS,
        "discount": "whole",
    },
    "surveys": {
        "response_id": "response",
        "customer_id": "customer",
        "metric": METRICS,
        "score": "score",
        "answered_at": "moment",
        "invited_at": "moment",
        "touchpoint": TOUCHPOINTS,
    },
    "touches": {
        "customer_id": "customer",
        "occurred_at": "moment",
        "touchpoint": TOUCHPOINTS,
        "channel": rows.CONTACT_CHANNELS,
        "cost": "whole",
        "initiated_by": ("customer", "brand"),
        "failed": "flag",
    },
    "referrals": {
        "referrer_id": "customer",
        "referred_id": "customer",
        "occurred_at": "moment",
        "incentivised": "flag",
    },
    "exposures": {
        "initiative_id": "initiative",
        "customer_id": "customer",
        "exposed_on": "day",
        "arm": ("control", "treated"),
    },
}


def columns_of(world: World, table: str) -> dict[str, Kind]:
    """Columns of a table and their kinds: brands and discounts only where the world has them."""
    absent = {name for name, there in (("brand", world.brands), ("discount", world.offers_taken)) if not there}
    return {name: kind for name, kind in TABLES[table].items() if name not in absent}


def file_name(table: str, file_format: FileFormat) -> str:
    """Name of a table's file: in ``mixed`` only transactions are Parquet."""
    parquet = file_format == "parquet" or (file_format == "mixed" and table == "transactions")
    return f"{table}.{'parquet' if parquet else 'csv'}"


class TableWriter:
    """One table of the contract, written piece by piece; ids are numbers in ``parquet`` and texts elsewhere."""

    def __init__(self, folder: Path, world: World, table: str, file_format: FileFormat) -> None:
        self._kinds = columns_of(world, table)
        self._text_ids = file_format != "parquet"
        path = folder / file_name(table, file_format)
        schema = pa.schema([(name, _arrow_type(kind, self._text_ids)) for name, kind in self._kinds.items()])
        self._writer: Any
        if path.suffix == ".parquet":
            self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        else:
            self._writer = pyarrow.csv.CSVWriter(
                path, schema, write_options=pyarrow.csv.WriteOptions(quoting_style="needed")
            )
        self._schema = schema
        self._waiting: list[Any] = []
        self.rows = 0

    def write(self, columns: Columns, *, customers_before: int) -> None:
        """Append rows whose customers are counted from 0 within their chunk."""
        size = len(next(iter(columns.values())))
        arrays = []
        for name, kind in self._kinds.items():
            if kind in ("transaction", "response"):
                arrays.append(_ids(np.arange(self.rows, self.rows + size), str(kind), self._text_ids))
            elif kind == "customer":
                arrays.append(_ids(columns[name] + customers_before, "customer", self._text_ids))
            else:
                arrays.append(_array(columns[name], kind, self._text_ids))
        self.rows += size
        self._waiting.append(pa.Table.from_arrays(arrays, schema=self._schema))
        if sum(table.num_rows for table in self._waiting) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is waiting and close the file."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = pa.concat_tables(self._waiting).combine_chunks()
        if isinstance(self._writer, pq.ParquetWriter):
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        else:
            self._writer.write_table(table)
        self._waiting = []


def identifier(number: int, kind: str) -> str:
    """Text id of the ``number``-th (from 0) customer, transaction, response or initiative.

    Examples
    --------
    >>> identifier(122, "customer")
    'KH000123'
    """
    return str(_ids(np.array([number]), kind, text=True)[0])


def small_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a few records with the same keys as CSV."""
    names = list(records[0])
    table = pa.table({name: [record[name] for record in records] for name in names})
    pyarrow.csv.write_csv(table, path, write_options=pyarrow.csv.WriteOptions(quoting_style="needed"))


def _arrow_type(kind: Kind, text_ids: bool) -> Any:
    if isinstance(kind, tuple):
        return pa.string()
    if kind in IDS:
        return pa.string() if text_ids else pa.int64()
    return {
        "day": pa.date32(),
        "moment": pa.timestamp("us") if not text_ids else pa.timestamp("s"),
        "whole": pa.int64(),
        "score": pa.float64() if not text_ids else pa.int64(),
        "money": pa.float64() if not text_ids else pa.int64(),
        "flag": pa.bool_(),
    }[kind]


def _ids(numbers: Any, kind: str, text: bool) -> Any:
    counted = pa.array(numbers + 1, type=pa.int64())
    if not text:
        return counted
    padded = pc.utf8_lpad(pc.cast(counted, pa.string()), 3 if kind == "initiative" else 6, "0")
    return pc.binary_join_element_wise(IDS[kind], padded, "")


def _array(values: Any, kind: Kind, text_ids: bool) -> Any:
    if isinstance(kind, tuple):
        codes = pa.array(values, type=pa.int64(), mask=values < 0)
        return pa.array(kind, type=pa.string()).take(codes)
    if kind == "initiative":
        return _ids(values, kind, text_ids)
    wanted = _arrow_type(kind, text_ids)
    if kind in ("day", "moment"):
        empty = values == NOT_YET
        filled = np.where(empty, 0, values)
        if kind == "day":
            return pa.array(filled.astype(np.int32), type=pa.int32(), mask=empty).cast(wanted)
        return pa.array(filled, type=pa.int64(), mask=empty).cast(pa.timestamp("s")).cast(wanted)
    if kind in ("score", "money", "whole"):
        return pa.array(values, from_pandas=True).cast(wanted)
    return pa.array(values, type=wanted)
