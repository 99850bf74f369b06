"""The files of a table: parts, folders, maps of columns, queries, and files that are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pytest

from cxroi.tables import Violation, check_tables, read_tables

CUSTOMERS = "customer_id,joined_on,left_on,plan\nK1,2024-01-05,,gold\nK2,2024-02-11,2025-12-15,basic\n"
SURVEYS = "response_id,customer_id,metric,score,answered_at\nR1,K1,nps,9,2025-07-01\nR2,K2,nps,4,2025-08-02\n"
TRANSACTIONS = (
    "transaction_id,customer_id,occurred_at,amount,margin\nT1,K1,2025-07-11,100.5,30\nT2,K2,2025-12-31,50,10\n"
)


def shop(folder: Path, **files: str | bytes | None) -> Path:
    """Write a company of two customers; a keyword replaces or adds a file (``surveys_csv``), None leaves it out."""
    texts: dict[str, str | bytes | None] = {
        "customers_csv": CUSTOMERS,
        "surveys_csv": SURVEYS,
        "transactions_csv": TRANSACTIONS,
        "dataset_yaml": "currency: VND\n",
        **files,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if text is not None:
            path = folder / ".".join(name.rsplit("_", 1))
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def errors(folder: Path) -> list[Violation]:
    return [violation for violation in check_tables(folder) if violation.severity == "error"]


def notices(folder: Path) -> list[Violation]:
    return [violation for violation in check_tables(folder) if violation.severity == "notice"]


def rows(frame: nw.LazyFrame[Any] | None, *columns: str) -> list[tuple[Any, ...]]:
    assert frame is not None
    return frame.select(*columns).collect().rows()


def parquet(folder: Path, text: str, target: str) -> None:
    """Write the rows of a CSV text as Parquet."""
    (folder / "text").write_text(text)
    duckdb.sql(f"COPY (FROM read_csv('{folder / 'text'}', hive_partitioning = false)) TO '{folder / target}'")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_of_folders_are_no_columns(tmp_path: Path, kind: str) -> None:
    folder = shop(tmp_path / "margin=1" / "left_on=2020-01-01")
    if kind == "parquet":
        (folder / "transactions.csv").unlink()
        parquet(folder, TRANSACTIONS, "transactions.parquet")
    tables = read_tables(folder)
    assert rows(tables.transactions, "margin") == [(30.0,), (10.0,)]
    assert rows(tables.customers, "left_on")[0] == (None,)


def test_a_map_to_a_column_that_is_not_there_is_never_ignored(tmp_path: Path) -> None:
    declared = "currency: VND\ntables: {customers: {columns: {left_on: NGAY_ROI}}}\n"
    (violation,) = errors(shop(tmp_path, dataset_yaml=declared))
    assert (violation.rule, violation.table, violation.column) == ("unknown_column", "customers", "left_on")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("cast(customer_id as int)", "can't be converted to INT32"),
        ("strptime(customer_id, '%d/%m/%Y')", "does not follow the format %d/%m/%Y"),
        ("cast(customer_id as date)", "a text is no date"),
        ("error('no ' || customer_id)", "a function fails"),
        ("strptime(answered_at, '%d/%m/%Y')", "strptime can't be applied to DATE, a text"),
        ("scor", "scor"),
    ],
)
def test_a_query_that_fails_says_why_and_shows_no_row(tmp_path: Path, expression: str, said: str) -> None:
    query = " ".join(["select *,", expression, "as x from read_csv('surveys.csv')"])
    declared = f'currency: VND\ntables: {{surveys: {{sql: "{query}"}}}}\n'
    (violation,) = errors(shop(tmp_path, dataset_yaml=declared))
    assert violation.rule == "bad_sql"
    assert said in violation.message
    assert not {"K1", "Error", "unsuccessful"} & set(violation.message.replace(":", " ").split())
