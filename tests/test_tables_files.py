"""The files of a table: parts, folders, maps of columns, queries, and files that are damaged."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pytest

from cxroi.tables import Violation, check_tables, read_tables
from cxroi.tables.check import inspect
from tests.exports import errors, written

CUSTOMERS = "customer_id,joined_on,left_on,plan\nK1,2024-01-05,,gold\nK2,2024-02-11,2025-12-31,basic\n"
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
    return written(folder, texts)


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


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_part_without_a_column_is_named(tmp_path: Path, kind: str) -> None:
    folder = shop(tmp_path, customers_csv=None)
    (folder / "customers").mkdir()
    lines = CUSTOMERS.splitlines()
    parts = {"a": "\n".join(lines[:2]) + "\n", "b": "customer_id,joined_on,region\nK2,2024-02-11,north\n"}
    for name, text in parts.items():
        if kind == "csv":
            (folder / "customers" / f"{name}.csv").write_text(text)
        else:
            parquet(folder, text, f"customers/{name}.parquet")
    (violation,) = errors(folder)
    assert (violation.rule, violation.table, violation.column) == ("part_without_column", "customers", "left_on")
    assert f"left_on; b.{kind} does not" in violation.message
    # What the contract does not name is only said.
    further = [one.column for one in notices(folder) if one.rule == "part_without_column"]
    assert further == ["plan", "region"]


def test_files_in_a_folder_of_parts_that_are_not_read_are_named(tmp_path: Path) -> None:
    folder = shop(tmp_path, transactions_csv=None)
    (folder / "transactions").mkdir()
    (folder / "transactions" / "a.csv").write_text(TRANSACTIONS)
    for name in ("b.xlsx", ".DS_Store", "._a.csv", "_SUCCESS"):
        (folder / "transactions" / name).write_bytes(b"\x00")
    (notice,) = check_tables(folder)
    assert (notice.rule, notice.severity) == ("file_not_read", "notice")
    assert notice.message.endswith("not read: b.xlsx.")


def test_brackets_in_the_path_are_no_pattern(tmp_path: Path) -> None:
    declared = (
        'currency: VND\ntables: {transactions: {file: "orders*.csv"}, customers: {file: "crm/**/*.csv"}, '
        "surveys: {sql: \"select * from read_csv('surv*.csv')\"}}\n"
    )
    folder = shop(tmp_path / "my [data]", customers_csv=None, transactions_csv=None, dataset_yaml=declared)
    (folder / "orders_1.csv").write_text(TRANSACTIONS)
    (folder / "crm" / "[1]").mkdir(parents=True)
    (folder / "crm" / "[1]" / "a.csv").write_text(CUSTOMERS)
    assert check_tables(folder) == []


def test_a_file_name_that_is_none_is_said(tmp_path: Path) -> None:
    declared = f"currency: VND\ntables: {{surveys: {{file: {'x' * 300}.csv}}}}\n"
    assert [one.rule for one in errors(shop(tmp_path, dataset_yaml=declared))] == ["missing_file"]


@pytest.mark.parametrize("name", ["Left_on", "left on", "LEFTON"])
def test_a_column_nearly_called_like_one_of_ours_is_pointed_out(tmp_path: Path, name: str) -> None:
    declared = "currency: VND\nretention: {rule: repurchase, window_days: 90}\n"
    folder = shop(tmp_path, customers_csv=CUSTOMERS.replace("left_on", name), dataset_yaml=declared)
    (notice,) = check_tables(folder)
    assert (notice.rule, notice.column, notice.severity) == ("column_not_read", "left_on", "notice")
    assert f"{{left_on: {name}}}" in notice.repair


@pytest.mark.parametrize("name", ["Touchpoint", "touch_point", "touchpoints"])
def test_so_is_one_of_surveys(tmp_path: Path, name: str) -> None:
    surveys = SURVEYS.replace("answered_at", f"answered_at,{name}").replace("-01\n", "-01,shop\n")
    (notice,) = check_tables(shop(tmp_path, surveys_csv=surveys.replace("-02\n", "-02,call\n")))
    assert (notice.rule, notice.table, notice.column) == ("column_not_read", "surveys", "touchpoint")


def test_damaged_files_are_said(tmp_path: Path) -> None:
    rows_ = "".join(f"T{i},K1,2025-12-31,{i * 7919 % 1000},1\n" for i in range(20_000))
    text = TRANSACTIONS.splitlines()[0] + "\n" + rows_
    zipped = gzip.compress(text.encode())
    wrong = zipped[:-8] + bytes([zipped[-8] ^ 1]) + zipped[-7:]
    folder = shop(tmp_path / "a", transactions_csv=None, **{"transactions.csv_gz": wrong})
    assert [(one.rule, one.table) for one in errors(folder)] == [("unreadable_file", "transactions")]
    folder = shop(tmp_path / "b", transactions_csv=None)
    parquet(folder, text, "transactions.parquet")
    whole = (folder / "transactions.parquet").read_bytes()
    (folder / "transactions.parquet").write_bytes(whole[:100] + bytes(len(whole) // 2) + whole[100 + len(whole) // 2 :])
    assert [(one.rule, one.table) for one in errors(folder)] == [("unreadable_file", "transactions")]
    folder = shop(tmp_path / "c", transactions_csv=zipped)
    assert "compressed; call it .csv.gz" in str(errors(folder)[0])


def test_parts_of_different_types_are_said(tmp_path: Path) -> None:
    folder = shop(tmp_path, transactions_csv=None)
    (folder / "transactions").mkdir()
    parquet(folder, TRANSACTIONS, "transactions/a.parquet")
    (folder / "text").write_text(TRANSACTIONS)
    changed = " ".join(
        ["select * replace", "(epoch_ms(occurred_at) as occurred_at)", f"from read_csv('{folder}/text')"]
    )
    duckdb.sql(f"COPY ({changed}) TO '{folder}/transactions/b.parquet'")
    (violation,) = errors(folder)
    assert "b.parquet has BIGINT, another part DATE" in violation.message


@pytest.mark.parametrize("name", ["file_row_number", "cxroi file"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_used_while_reading_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    text = CUSTOMERS.replace("plan", name)
    folder = shop(tmp_path, customers_csv=text if kind == "csv" else None)
    if kind == "parquet":
        parquet(folder, text, "customers.parquet")
    (violation,) = errors(folder)
    assert (violation.rule, violation.table) == ("reserved_column", "customers")


@pytest.mark.parametrize("day", ["infinity", "-infinity", "9999-12-31 10:00", "290000-12-31", "0044-03-15 (BC)"])
@pytest.mark.parametrize("large", [False, True])
def test_moments_beyond_any_calendar_are_said(tmp_path: Path, day: str, large: bool) -> None:
    folder = shop(tmp_path, transactions_csv=None)
    (folder / "text").write_text(TRANSACTIONS)
    moment = f"if(transaction_id = 'T1', TIMESTAMP '{day}', occurred_at) as occurred_at"
    changed = " ".join(["select * replace", f"({moment})", f"from read_csv('{folder}/text')"])
    duckdb.sql(f"COPY ({changed}) TO '{folder}/transactions.parquet'")
    found = inspect(folder, sample_keys_above=0 if large else 100).violations
    assert [(one.rule, one.count) for one in found if one.severity == "error"] == [("date_out_of_range", 1)]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("declared", ["", "tables: {customers: {encoding: utf-16}}\n"])
def test_utf16_without_a_mark_is_read(tmp_path: Path, order: str, declared: str) -> None:
    text = CUSTOMERS.replace("gold", "đồng").encode(order)
    folder = shop(tmp_path, customers_csv=text, dataset_yaml="currency: VND\n" + declared)
    assert rows(read_tables(folder).customers, "plan")[0] == ("đồng",)


def test_a_wrong_encoding_is_not_guessed(tmp_path: Path) -> None:
    declared = "currency: VND\ntables: {customers: {encoding: utf-16}}\n"
    (violation,) = errors(shop(tmp_path / "a", dataset_yaml=declared))
    assert violation.rule == "wrong_encoding"
    violation, *_ = errors(shop(tmp_path / "b", customers_csv=CUSTOMERS.replace("gold", "đô").encode("cp1258")))
    assert "encoding: windows-1258" in violation.repair
    assert "latin-1" not in violation.repair
    (violation,) = errors(shop(tmp_path / "c", customers_csv=CUSTOMERS.replace("plan", "gói").encode("cp1258")))
    assert violation.rule == "wrong_encoding"


@pytest.mark.parametrize(
    ("table", "text"),
    [("customers_csv", CUSTOMERS), ("surveys_csv", SURVEYS), ("transactions_csv", TRANSACTIONS)],
)
def test_a_first_line_of_data_is_never_printed(tmp_path: Path, table: str, text: str) -> None:
    (violation,) = errors(shop(tmp_path, **{table: text.split("\n", 1)[1]}))
    assert violation.rule == "no_header"
    assert "seems to be a row of data" in violation.message
    assert not {"K1", "T1", "R1"} & set(str(violation).replace(",", " ").split())


@pytest.mark.parametrize("above", ["Báo cáo giao dịch\n\n", "sep=,\n"])
def test_lines_above_the_names_are_said(tmp_path: Path, above: str) -> None:
    (violation,) = errors(shop(tmp_path, transactions_csv=above + TRANSACTIONS))
    assert violation.rule == "no_header"
    assert "Delete the lines above" in violation.repair


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(TRANSACTIONS.replace("T1", "\n\nT1").replace(",50,", ",x,"), 5, id="empty lines"),
        pytest.param(TRANSACTIONS.replace(",50,", ",x,").replace("\n", "\r"), 3, id="carriage returns"),
        pytest.param(TRANSACTIONS.replace(",50,", ",x,").replace("30\n", "30\r\n"), 3, id="one line end of Windows"),
        pytest.param(TRANSACTIONS.replace(",50,", ",x,").replace("30\n", "30\r\n\r\n"), 4, id="mixed and empty"),
    ],
)
def test_lines_are_those_of_an_editor(tmp_path: Path, text: str, line: int) -> None:
    (violation,) = errors(shop(tmp_path, transactions_csv=text))
    assert (violation.rule, violation.first_row) == ("not_a_number", line)


def test_empty_lines_inside_cells_and_outside_are_told_apart(tmp_path: Path) -> None:
    surveys = (
        "response_id,customer_id,metric,score,answered_at,comment\n\n"
        'R1,K1,nps,9,2025-07-01,"one\n\n\ntwo ""x"""\n\n\nR2,K2,nps,x,2025-08-02,\n'
    )
    (violation,) = errors(shop(tmp_path, surveys_csv=surveys))
    assert (violation.rule, violation.first_row) == ("not_a_number", 9)


def test_an_open_quotation_mark_may_swallow_what_follows(tmp_path: Path) -> None:
    violations = errors(shop(tmp_path, transactions_csv=TRANSACTIONS.replace("T2", '"T2')))
    assert "what follows it may be unread" in str(violations[0])


@pytest.mark.parametrize(("kind", "first"), [("DOUBLE", 2**53), ("FLOAT", 2**24)])
def test_ids_that_a_float_cannot_tell_apart_are_refused(tmp_path: Path, kind: str, first: int) -> None:
    folder = shop(tmp_path, customers_csv=None, surveys_csv=None, transactions_csv=None)
    (folder / "dataset.yaml").write_text("currency: VND\ntables: {surveys: none}\n")
    for name, columns in (
        ("customers", f"{first}::{kind} AS customer_id, DATE '2024-01-01' AS joined_on, NULL::DATE AS left_on"),
        (
            "transactions",
            f"1 AS transaction_id, {first}::{kind} AS customer_id, DATE '2025-12-31' AS occurred_at, 1 AS amount, 1 AS margin",
        ),
    ):
        duckdb.sql(" ".join(["COPY (SELECT", columns, f") TO '{folder / name}.parquet'"]))
    assert [(one.rule, one.column) for one in errors(folder)] == [("inexact_id", "customer_id")] * 2


@pytest.mark.parametrize("key", ["controls", "segments"])
@pytest.mark.parametrize("name", ["customer_id", "left_on", "joined_on"])
def test_ids_and_dates_are_no_controls(tmp_path: Path, key: str, name: str) -> None:
    (violation,) = errors(shop(tmp_path, dataset_yaml=f"currency: VND\n{key}: [{name}]\n"))
    assert (violation.rule, violation.column) == ("unknown_column", name)
    assert violation.repair == "Columns there: plan."


def test_currencies_are_compared_across_tables(tmp_path: Path) -> None:
    orders = TRANSACTIONS.replace("margin", "margin,currency").replace("30\n", "30,VND\n").replace("10\n", "10,VND\n")
    touches = "customer_id,occurred_at,touchpoint,cost,currency\nK1,2025-07-01,call,5,USD\n"
    for text in ("currency: VND\n", ""):
        (violation,) = errors(shop(tmp_path, transactions_csv=orders, touches_csv=touches, dataset_yaml=text))
        assert (violation.rule, violation.table, violation.count) == ("several_currencies", "touches", 1)


def test_experiments_have_exposures(tmp_path: Path) -> None:
    exposures = "initiative_id,customer_id,exposed_on,arm\nI1,K1,2025-07-01,treated\n"
    declared = "currency: VND\nexperiments: [I1, I2]\n"
    (violation,) = errors(shop(tmp_path / "a", exposures_csv=exposures, dataset_yaml=declared))
    assert "I2 is not there. It knows I1." in str(violation)
    (violation,) = errors(shop(tmp_path / "b", dataset_yaml=declared))
    assert "there is no such table" in violation.message
    assert errors(shop(tmp_path / "c", exposures_csv=exposures, dataset_yaml=declared.replace(", I2", ""))) == []


def test_a_scale_is_proposed_that_holds_the_answers(tmp_path: Path) -> None:
    csat = SURVEYS.replace("nps,9", "csat,6").replace("nps,4", "csat,9")
    (violation,) = errors(shop(tmp_path, surveys_csv=csat))
    assert "scales: {csat: [1, 10]}" in violation.repair
    (violation,) = errors(shop(tmp_path, surveys_csv=SURVEYS.replace("nps,9", "nps,99")))
    assert "scales" not in violation.repair


def test_unreadable_days_are_not_one_day(tmp_path: Path) -> None:
    orders = TRANSACTIONS + "T3,K1,x,5,1\nT4,K1,y,5,1\n"
    assert [one.rule for one in check_tables(shop(tmp_path, transactions_csv=orders))] == ["not_a_date"]


def test_a_file_reached_twice_is_read_once(tmp_path: Path) -> None:
    declared = 'currency: VND\ntables: {transactions: {file: "orders/**/*.csv"}}\n'
    folder = shop(tmp_path, transactions_csv=None, dataset_yaml=declared)
    (folder / "orders").mkdir()
    (folder / "orders" / "a.csv").write_text(TRANSACTIONS)
    (folder / "orders" / "loop").symlink_to(folder / "orders")
    assert check_tables(folder) == []
