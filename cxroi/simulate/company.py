"""A company on disk: the contract's tables in a folder, the truth in a file beside it."""

from __future__ import annotations

import json
import math
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from cxroi import periods
from cxroi.errors import InputError
from cxroi.simulate import rows, settings, truth
from cxroi.simulate.files import FileFormat, TableWriter
from cxroi.simulate.loyalty import BRANDS
from cxroi.simulate.process import LAST_QUARTER, METRICS, draw_customers, pilot_start, walk
from cxroi.simulate.settings import ANNUAL_DISCOUNT_RATE, HORIZON_MONTHS
from cxroi.simulate.worlds import World, world_named

CHUNK_CUSTOMERS = 50_000
VALUE_PATHS = 100_000


def simulate(
    folder: str | Path,
    *,
    world: str | World = "clean",
    customers: int = 3_000,
    seed: int = 1,
    quarters: int = 8,
    file_format: FileFormat = "parquet",
    orders_per_quarter: float = 2.0,
) -> Path:
    """Write a company whose truth is known, and return the path of its truth file.

    The data end with 2026Q3. The truth goes to ``<folder>.truth.json`` beside the folder, never into it. The folder is
    written whole or not at all, and the same arguments give the same bytes.

    Parameters
    ----------
    folder
        New or empty folder for the tables, ``dataset.yaml`` and ``case.yaml``.
    world
        Name of a world (``WORLDS``), or a ``World`` of one's own.
    customers
        Number of customers, 1 … 10,000,000.
    seed
        Non-negative whole number.
    quarters
        Length of the data in quarters, 2 … 40.
    file_format
        ``parquet`` (ids are numbers), ``csv`` (ids are texts such as ``KH000123``), or ``mixed``: CSV but for the
        transactions.
    orders_per_quarter
        Orders a quarter of a typical customer.

    Raises
    ------
    InputError
        If the folder is not empty, the world unknown, or a number out of range.
    """
    target = Path(folder)
    chosen = world if isinstance(world, World) else world_named(world)
    company = Company(chosen, customers, seed, quarters, file_format, orders_per_quarter)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} must be a new or empty folder; it is not: choose another name or remove it first")
    target = target.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    truth_file = target.with_name(f"{target.name}.truth.json")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as partial:
        written = Path(partial) / target.name
        written.mkdir()
        sums = _write_tables(written, company)
        settings.write(
            written, chosen, file_format, customers=customers, quarters=quarters, orders_per_quarter=orders_per_quarter
        )
        found = truth.truth_of(sums, chosen, company.facts())
        truth_file.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        written.replace(target)
    return truth_file


@dataclass(frozen=True)
class Company:
    """A company to simulate: its world and its sizes, checked."""

    world: World
    customers: int
    seed: int
    quarters: int
    file_format: FileFormat
    orders_per_quarter: float

    def __post_init__(self) -> None:
        for name, low, high in (("customers", 1, 10_000_000), ("seed", 0, 2**63 - 1), ("quarters", 2, 40)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(
                    f"{name} must be a whole number from {low:,} to {high:,}; got {value!r}, e.g. {low + 1}"
                )
        if not 0 < self.orders_per_quarter <= 1_000:
            raise InputError(
                f"orders_per_quarter must lie above 0 and at most 1,000; got {self.orders_per_quarter!r}, e.g. 2"
            )
        if self.file_format not in get_args(FileFormat):
            raise InputError(f"format must be parquet, csv or mixed; got {self.file_format!r}, e.g. parquet")

    @property
    def value_draws(self) -> int:
        """Future paths drawn for each customer."""
        return max(2, math.ceil(VALUE_PATHS / self.customers))

    def facts(self) -> dict[str, Any]:
        """Facts that the truth file repeats."""
        first = LAST_QUARTER - self.quarters + 1
        return {
            "seed": self.seed,
            "customers": self.customers,
            "quarters": self.quarters,
            "orders_per_quarter": self.orders_per_quarter,
            "scores": [periods.label(first), periods.label(LAST_QUARTER - 1)],
            "outcomes": [periods.label(first + 1), periods.label(LAST_QUARTER)],
            "horizon_months": HORIZON_MONTHS,
            "annual_discount_rate": ANNUAL_DISCOUNT_RATE,
        }


def _write_tables(folder: Path, company: Company) -> truth.Sums:
    tables = settings.tables_of(company.world)
    writers = {table: TableWriter(folder, company.world, table, company.file_format) for table in tables}
    sums: truth.Sums = defaultdict(float)
    try:
        for chunk in range(math.ceil(company.customers / CHUNK_CUSTOMERS)):
            truth.add(sums, _write_chunk(writers, company, chunk))
    finally:
        for writer in writers.values():
            writer.close()
    return sums


def _write_chunk(writers: dict[str, TableWriter], company: Company, chunk: int) -> truth.Sums:
    world, quarters, before = company.world, company.quarters, chunk * CHUNK_CUSTOMERS
    size = min(CHUNK_CUSTOMERS, company.customers - before)
    for_process, for_rows, for_truth = (np.random.default_rng([company.seed, chunk, part]) for part in range(3))
    people = draw_customers(
        world, for_process, size=size, quarters=quarters, orders_per_quarter=company.orders_per_quarter
    )
    left_on = np.full(size, rows.NOT_YET)
    referred = np.zeros(size, dtype=bool)
    bought = np.zeros((size, len(BRANDS)), dtype=bool)
    last_answers = {metric: np.full(size, np.nan) for metric in METRICS}
    sums: truth.Sums = defaultdict(float)
    for quarter in walk(world, people, for_process, quarters=quarters):
        left_on[quarter.leaving] = rows.leaving_days(quarter, for_rows)
        written = rows.rows_of(world, people, quarter, for_rows)
        referred[written["referrals"]["referred_id"]] = True
        if "exposures" in writers and quarter.t == pilot_start(quarters):
            written["exposures"] = rows.exposure_rows(quarter)
        truth.remember_answers(last_answers, written["surveys"])
        truth.add(sums, truth.order_sums(world, people, written["transactions"], bought))
        for table, columns in written.items():
            writers[table].write(columns, customers_before=before)
        truth.add(sums, truth.answer_sums(world, quarter, for_truth))
        if quarter.t > LAST_QUARTER - quarters + 1:
            truth.add(sums, truth.effect_sums(world, people, quarter))
            truth.add(sums, truth.pilot_sums(world, people, quarter))
            truth.add(sums, truth.failure_sums(world, people, quarter))
    truth.add(sums, truth.brand_sums(world, bought))
    writers["customers"].write(rows.customer_rows(people, left_on, referred, for_rows), customers_before=before)
    horizon = (HORIZON_MONTHS // 3, ANNUAL_DISCOUNT_RATE)
    of_value = truth.value_sums(
        world, people, quarter, for_truth, last_answers=last_answers, draws=company.value_draws, horizon=horizon
    )
    truth.add(sums, of_value)
    return sums
