"""How an export writes numbers and dates: what has two readings is refused, and the printed repair works as printed."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pytest
import yaml

from cxroi.tables import read_tables
from tests.exports import errors

SURVEYS = "response_id,customer_id,metric,score,answered_at\nR1,K1,nps,9,2025-07-01\n"
DAYS = ["20/05/2024", "03/09/2024", "28/11/2024"]


def shop(folder: Path, *, orders: list[str], people: list[str] | None = None, declared: str = "") -> Path:
    """Company of three customers; ``orders`` are texts of an amount, ``people`` of the day of joining."""
    folder.mkdir(parents=True, exist_ok=True)
    joined = people or ["2024-05-20", "2024-09-03", "2024-11-28"]
    lines = [f"K{i},{day}" for i, day in enumerate(joined, 1)]
    (folder / "customers.csv").write_text("\n".join(["customer_id,joined_on", *lines]) + "\n")
    lines = [f'T{i},K{i % 3 + 1},2025-12-31,"{amount}"' for i, amount in enumerate(orders)]
    (folder / "transactions.csv").write_text(
        "\n".join(["transaction_id,customer_id,occurred_at,amount", *lines]) + "\n"
    )
    (folder / "surveys.csv").write_text(SURVEYS)
    (folder / "dataset.yaml").write_text(f"currency: VND\nmargin_rate: 0.3\n{declared}")
    return folder


def column(frame: nw.LazyFrame[Any] | None, name: str) -> list[Any]:
    assert frame is not None
    return [value for (value,) in frame.select(name).collect().rows()]


POINTED = ["1.250", "90.000", "12.500", "999.999", "35.000"]


def test_points_before_three_digits_have_two_readings(tmp_path: Path) -> None:
    (violation,) = errors(shop(tmp_path, orders=POINTED))
    assert (violation.rule, violation.column, violation.count, violation.first_row) == (
        "ambiguous_number",
        "amount",
        5,
        2,
    )
    assert 'tables: {transactions: {decimal: ","}} if 1.250 is 1250' in violation.repair


@pytest.mark.parametrize(("mark", "first"), [(",", 1250.0), (".", 1.25)])
def test_either_reading_of_a_point_can_be_declared(tmp_path: Path, mark: str, first: float) -> None:
    declared = f'tables: {{transactions: {{decimal: "{mark}"}}}}\n'
    assert column(read_tables(shop(tmp_path, orders=POINTED, declared=declared)).transactions, "amount")[0] == first


@pytest.mark.parametrize("other", ["12.5", "0.125", "7.1234"])
def test_one_decimal_number_shows_what_points_are(tmp_path: Path, other: str) -> None:
    assert errors(shop(tmp_path, orders=[*POINTED, other])) == []


def test_whole_numbers_beside_points_prove_nothing(tmp_path: Path) -> None:
    assert [one.rule for one in errors(shop(tmp_path, orders=[*POINTED, "950", "0"]))] == ["ambiguous_number"]


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("769,345", "if 769,345 is 769345"),
        ("2,165,200", 'decimal: "."'),
        ("2 165 200", 'decimal: "."'),
        ("2.165.200", 'decimal: ","'),
        ("1.250,75", 'decimal: ","'),
    ],
)
def test_repair_of_a_number_fits_what_stands_there(tmp_path: Path, amount: str, said: str) -> None:
    (violation,) = errors(shop(tmp_path, orders=["5", amount]))
    assert violation.rule == "not_a_number"
    assert said in violation.repair


def test_commas_set_thousands_apart_where_points_are_declared(tmp_path: Path) -> None:
    declared = 'tables: {transactions: {decimal: "."}}\n'
    orders = ["769,345", "2,165,200.5", "2 165", "80", "1e3"]
    tables = read_tables(shop(tmp_path, orders=orders, declared=declared))
    assert column(tables.transactions, "amount") == [769345.0, 2165200.5, 2165.0, 80.0, 1000.0]
    faults = errors(shop(tmp_path, orders=["1,5"], declared=declared))
    assert [one.rule for one in faults] == ["not_a_number"]


def followed(folder: Path) -> Path:
    """Put the entry that the first repair prints in the place of the one in ``dataset.yaml``."""
    printed = re.search(r"tables: \{.*\}(?=\.$)", errors(folder)[0].repair)
    assert printed is not None
    path = folder / "dataset.yaml"
    text = yaml.safe_load(path.read_text())
    text["tables"] = text.get("tables", {}) | yaml.safe_load(printed[0])["tables"]
    path.write_text(yaml.safe_dump(text, allow_unicode=True))
    return folder


JOINED = [dt.datetime(2024, 5, 20), dt.datetime(2024, 9, 3), dt.datetime(2024, 11, 28)]


@pytest.mark.parametrize(
    ("people", "said", "expected"),
    [
        (DAYS, "look like day/month/year", JOINED),
        (["05/20/2024", "09/03/2024", "11/28/2024"], "look like month/day/year", JOINED),
        ([day.replace("/", ".") for day in DAYS], "look like day/month/year", JOINED),
        ([day.replace("/20", "/") for day in DAYS], "look like day/month/year", JOINED),
        (
            [f"{day} 8:05" for day in DAYS],
            "look like day/month/year",
            [day.replace(hour=8, minute=5) for day in JOINED],
        ),
        (
            ["3/9/2024", "03/09/2024", "1/2/2024"],
            "if the day stands first",
            [JOINED[1], JOINED[1], dt.datetime(2024, 2, 1)],
        ),
    ],
    ids=["day first", "month first", "points", "short years", "times", "either"],
)
def test_printed_repair_of_dates_works(
    tmp_path: Path, people: list[str], said: str, expected: list[dt.datetime]
) -> None:
    folder = shop(tmp_path, orders=["80"], people=people)
    assert said in errors(folder)[0].repair
    assert errors(followed(folder)) == []
    assert column(read_tables(folder).customers, "joined_on") == expected


def test_one_repair_for_all_date_columns_with_names_of_the_company(tmp_path: Path) -> None:
    declared = (
        'tables: {customers: {file: "crm_*.csv", columns: {customer_id: MÃ KH, joined_on: NGÀY "TẠO", left_on: NGAY_ROI}, '
        'decimal: ","}}\n'
    )
    folder = shop(tmp_path, orders=["80"], declared=declared)
    (folder / "customers.csv").unlink()
    header = 'MÃ KH;"NGÀY ""TẠO""";NGAY_ROI;tuổi\n'
    (folder / "crm_1.csv").write_text(header + '001;20/05/2024;;"31,5"\n002;03/09/2024;31/12/2025;"20,5"\n')
    (folder / "crm_2.csv").write_text(header + '"K1";28/11/2024;31/02/2026;"27"\n')
    text = (folder / "transactions.csv").read_text()
    (folder / "transactions.csv").write_text(text.replace("K1", "002"))
    repairs = {one.repair.split("write in ")[1] for one in errors(folder) if one.rule == "not_a_date"}
    assert len(repairs) == 1
    # What is no date is still found.
    (violation,) = errors(followed(folder))
    assert (violation.column, violation.count, violation.first_value) == ("left_on", 1, "2026-02-31")
    (folder / "crm_2.csv").write_text(header + '"K1";28/11/2024;;"27"\n')
    customers = read_tables(folder).customers
    assert column(customers, "joined_on") == JOINED
    assert column(customers, "left_on") == [None, dt.datetime(2025, 12, 31), None]
    assert column(customers, "customer_id") == ["001", "002", "K1"]
    assert column(customers, "tuổi") == [31.5, 20.5, 27.0]


def test_printed_repair_of_parquet_and_of_a_query_works(tmp_path: Path) -> None:
    folder = shop(tmp_path, orders=["80"])
    (folder / "customers.csv").unlink()
    query = " ".join(
        ["COPY (SELECT", "'K1' AS customer_id, '20/05/2024' AS joined_on)", f"TO '{folder / 'customers.parquet'}'"]
    )
    duckdb.sql(query)
    assert errors(followed(folder)) == []
    declared = "currency: VND\nmargin_rate: 0.3\ntables: {customers: {sql: \"select *, 1 as age from 'customers.parquet';\"}}\n"
    (folder / "dataset.yaml").write_text(declared)
    assert errors(followed(folder)) == []


def test_days_and_months_in_either_order_are_only_said(tmp_path: Path) -> None:
    (violation,) = errors(shop(tmp_path, orders=["80"], people=["20/05/2024", "05/20/2024", "01/02/2024"]))
    assert "some with the month first" in violation.repair
    assert "sql" not in violation.repair


def test_no_end_is_an_empty_cell(tmp_path: Path) -> None:
    folder = shop(tmp_path, orders=["80"])
    (folder / "customers.csv").write_text("customer_id,joined_on,left_on\nK1,2024-05-20,9999-12-31\n")
    assert "Leave the cell empty" in errors(folder)[0].repair


def test_query_of_the_tutorial_reads_dates_with_the_year_last(tmp_path: Path, root: Path) -> None:
    page = (root / "docs" / "your-own-company.md").read_text(encoding="utf-8")
    block = re.search(r"```yml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    folder = shop(tmp_path, orders=["80"], declared=block[1])
    (folder / "customers.csv").unlink()
    lines = ["MA_KH;NGAY_TAO;NGAY_ROI;thu nhập", "K1;20/05/2024;;12,5", "K2;3/9/2024 10:30;31/12/2025;8"]
    (folder / "crm_export.csv").write_text("\n".join(lines) + "\n")
    assert errors(folder) == []
    customers = read_tables(folder).customers
    assert column(customers, "joined_on") == [JOINED[0], dt.datetime(2024, 9, 3, 10, 30)]
    assert column(customers, "left_on") == [None, dt.datetime(2025, 12, 31)]
    assert column(customers, "thu nhập") == [12.5, 8.0]


def test_example_of_referrals_in_the_contract_can_be_copied(tmp_path: Path, root: Path) -> None:
    page = (root / "docs" / "contract.md").read_text(encoding="utf-8")
    example = re.search(r"`(\{would_have_come: .*?\})`", page)
    assert example is not None
    assert errors(shop(tmp_path, orders=["80"], declared=f"referrals: {example[1]}\n")) == []
