"""What ``read_tables`` hands out: one vocabulary whatever the export looked like, and an account of every row."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import pytest

from cxroi.errors import InvalidTables
from cxroi.tables import Tables, check_tables, read_tables
from cxroi.tables.contract import TABLE_NAMES
from tests.exports import written

CUSTOMERS = """customer_id,joined_on,left_on,plan,age
K1,2024-01-05,,gold,31
K2,2024-02-11,2025-12-15,basic,45
K3,2025-06-30,,gold,27
"""
SURVEYS = """response_id,customer_id,metric,score,answered_at,touchpoint
R1,K1,nps,9,2025-07-01T10:00:00,
R2,K2,nps,4,2025-08-02,
R3,K3,csat,5,2025-09-03,shop
R4,K1,ces,6,2025-10-04,shop
R5,K3,nps,,,
"""
TRANSACTIONS = """transaction_id,customer_id,occurred_at,amount,margin
T1,K1,2025-07-11,100.5,30
T2,K2,2025-08-12,50,10
T3,K3,2025-12-31,75.25,20
"""
DATASET = "currency: VND\n"
INITIATIVES = """initiative_id,name,intent,touchpoint,starts_on,ends_on
I1,One call,solve at once,call,2025-07-01,2025-12-31
"""
COSTS = """initiative_id,category,month,amount,kind
I1,1,2025-07,1000,one_off
I1,technology,2025-08,200,recurring
"""
OUTCOMES = """customer_id,period_start,period_end,retained,orders,revenue
K1,2025-07-01,2025-09-30,1,2,100
K1,2025-10-01,2025-12-31,1,1,50
K2,2025-07-01,2025-09-30,0,0,0
"""


def company(folder: Path, **files: str | bytes | None) -> Path:
    """Write the tiny company; a keyword replaces or adds a file (``surveys_csv``), None leaves it out."""
    texts: dict[str, str | bytes | None] = {
        "customers_csv": CUSTOMERS,
        "surveys_csv": SURVEYS,
        "transactions_csv": TRANSACTIONS,
        "dataset_yaml": DATASET,
        **files,
    }
    return written(folder, texts)


def edit(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


def rows(frame: nw.LazyFrame[Any] | None, *columns: str) -> list[tuple[Any, ...]]:
    assert frame is not None
    picked = frame.select(*columns) if columns else frame
    return picked.collect().rows()


def accounts(tables: Tables, table: str) -> dict[str, int]:
    own = tables.accounting[tables.accounting["table"] == table]
    return dict(zip(own["reason"], own["rows"], strict=True))


def assert_accounts_sum(tables: Tables) -> None:
    for table in tables.accounting["table"].unique():
        own = accounts(tables, table)
        read, kept = own.pop("read"), own.pop("kept")
        assert read == kept + sum(own.values()), table
        assert len(rows(getattr(tables, table))) == kept, table


def test_clean_company(tmp_path: Path) -> None:
    tables = read_tables(company(tmp_path / "shop"))
    assert tables.name == "shop"
    assert tables.notices == ()
    assert tables.config.currency == "VND"
    assert tables.config.retention is not None
    assert tables.config.retention.rule == "contract"
    assert tables.controls == ("plan", "age")
    assert tables.segments == ("plan",)
    assert tables.data_end == dt.date(2025, 12, 31)
    assert [name for name in TABLE_NAMES if getattr(tables, name) is not None] == [
        "customers",
        "surveys",
        "transactions",
    ]
    assert rows(tables.customers)[1] == ("K2", dt.datetime(2024, 2, 11), dt.datetime(2025, 12, 15), "basic", 45.0)
    assert rows(tables.surveys, "response_id", "metric", "score") == [
        ("R1", "nps", 9.0),
        ("R2", "nps", 4.0),
        ("R3", "csat", 5.0),
        ("R4", "ces", 6.0),
        ("R5", "nps", None),
    ]
    assert repr(tables) == "Tables(shop: customers 3, surveys 5, transactions 3)"
    assert_accounts_sum(tables)


def test_types_are_those_of_the_vocabulary(tmp_path: Path) -> None:
    tables = read_tables(company(tmp_path, outcomes_csv=OUTCOMES, initiatives_csv=INITIATIVES, costs_csv=COSTS))
    kinds: dict[str, Any] = {}
    for name in TABLE_NAMES:
        frame = getattr(tables, name)
        if frame is not None:
            kinds |= {f"{name}.{column}": kind for column, kind in frame.collect_schema().items()}
    assert {kinds[one] for one in kinds if one.endswith("_id")} == {nw.String()}
    times = ("joined_on", "left_on", "_at", "starts_on", "ends_on", "period_start", "period_end", "month")
    assert {kinds[one] for one in kinds if one.endswith(times)} == {nw.Datetime("us")}
    assert {kinds[one] for one in kinds if one.endswith(("amount", "margin", "score", "revenue", "orders"))} == {
        nw.Float64()
    }
    assert kinds["outcomes.retained"] == nw.Boolean()
    assert kinds["costs.category"].is_integer()
    assert rows(tables.costs, "category", "month") == [(1, dt.datetime(2025, 7, 1)), (3, dt.datetime(2025, 8, 1))]


def test_parquet_gz_and_csv_give_the_same(tmp_path: Path) -> None:
    plain = read_tables(company(tmp_path / "a"))
    zipped = read_tables(
        company(tmp_path / "b", surveys_csv=None, **{"surveys.csv_gz": gzip.compress(SURVEYS.encode())})
    )
    folder = company(tmp_path / "c", transactions_csv=None, customers_csv=None)
    for table in ("transactions", "customers"):
        source = tmp_path / "a" / f"{table}.csv"
        duckdb.sql(f"COPY (FROM read_csv('{source}')) TO '{folder / table}.parquet'")
    columnar = read_tables(folder)
    for table in ("customers", "surveys", "transactions"):
        assert rows(getattr(plain, table)) == rows(getattr(zipped, table)) == rows(getattr(columnar, table))


def test_collect_gives_pandas_with_the_same_content(tmp_path: Path) -> None:
    tables = read_tables(company(tmp_path))
    loaded = tables.collect()
    assert isinstance(loaded.customers.to_native(), pd.DataFrame)
    assert loaded.collect() is loaded
    for table in ("customers", "transactions"):
        frame, other = getattr(tables, table), getattr(loaded, table)
        assert frame.collect_schema().names() == other.collect_schema().names()
        assert rows(frame, "customer_id") == rows(other, "customer_id")
    assert loaded.surveys is not None
    assert loaded.surveys.filter(nw.col("score").is_null()).collect().shape[0] == 1


def test_small_frames_and_intermediate_results_join_in_either_engine(tmp_path: Path) -> None:
    small = pd.DataFrame({"customer_id": ["K1", "K3"], "weight": [1.0, None]})
    for tables in (read_tables(company(tmp_path)), read_tables(company(tmp_path)).collect()):
        frame = tables.frame(small)
        joined = tables.materialise(tables.customers.join(frame, on="customer_id", how="inner").sort("customer_id"))
        assert joined.select("customer_id").collect().to_dict(as_series=False) == {"customer_id": ["K1", "K3"]}
        assert joined.filter(nw.col("weight").is_null()).collect().shape[0] == 1


def test_inputs_carry_sizes_and_hashes(tmp_path: Path) -> None:
    tables = read_tables(company(tmp_path))
    assert [one.name for one in tables.inputs] == ["customers.csv", "dataset.yaml", "surveys.csv", "transactions.csv"]
    assert tables.hashes()["surveys.csv"] == hashlib.sha256(SURVEYS.encode()).hexdigest()
    assert tables.inputs[2].bytes == len(SURVEYS)


def test_private_files_go_with_the_tables(tmp_path: Path) -> None:
    tables = read_tables(company(tmp_path))
    assert tables.engine is not None
    folder = tables.engine.folder
    assert folder.exists()
    del tables
    assert not folder.exists()


def test_decomposed_and_composed_texts_join(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Nguyễn Hoà") for form in ("NFC", "NFD"))
    assert composed != decomposed
    folder = company(
        tmp_path,
        customers_csv=CUSTOMERS.replace("K1", decomposed).replace("gold", unicodedata.normalize("NFD", "miền Nam")),
        surveys_csv=SURVEYS.replace("K1", f" {composed} "),
        transactions_csv=TRANSACTIONS.replace("K1", decomposed),
    )
    assert check_tables(folder) == []
    tables = read_tables(folder)
    assert tables.surveys is not None
    joined = tables.surveys.join(tables.customers, on="customer_id").filter(nw.col("customer_id") == composed)
    assert rows(joined, "plan") == [(unicodedata.normalize("NFC", "miền Nam"),)] * 2


def test_decomposed_texts_in_parquet_join(tmp_path: Path) -> None:
    folder = company(
        tmp_path,
        customers_csv=CUSTOMERS.replace("K1", "Hoà"),
        surveys_csv=SURVEYS.replace("K1", "Hoà"),
        transactions_csv=None,
    )
    text = unicodedata.normalize("NFD", TRANSACTIONS.replace("K1", "Hoà"))
    (tmp_path / "text").write_text(text)
    duckdb.sql(f"COPY (FROM read_csv('{tmp_path / 'text'}')) TO '{folder / 'transactions.parquet'}'")
    assert check_tables(folder) == []


def write_parquet(target: Path, columns: str, numbers: str) -> None:
    """Write ``columns``, expressions over ``i``, for each of the numbers."""
    duckdb.sql(" ".join(["COPY (SELECT", columns, "FROM", numbers, f"AS t(i)) TO '{target}'"]))


def test_whole_numbers_stay_numbers_only_where_every_file_says_so(tmp_path: Path) -> None:
    def written(name: str, *, transactions: str, surveys: str) -> Path:
        folder = company(tmp_path / name, customers_csv=None, transactions_csv=None, surveys_csv=None)
        columns = {
            "customers": "i AS customer_id, DATE '2024-01-01' AS joined_on",
            "transactions": f"i AS transaction_id, {transactions} AS customer_id, DATE '2025-12-31' AS occurred_at, 1 AS amount, 1 margin",
            "surveys": f"i AS response_id, {surveys} AS customer_id, 'nps' AS metric, 9 AS score, DATE '2025-12-31' AS answered_at",
        }
        for table, selected in columns.items():
            write_parquet(folder / f"{table}.parquet", selected, "range(1, 4)")
        return folder

    whole = read_tables(written("a", transactions="i::INTEGER", surveys="i::UINTEGER"))
    assert whole.customers.collect_schema()["customer_id"] == nw.Int64()
    assert whole.surveys is not None
    assert whole.surveys.collect_schema()["customer_id"] == nw.Int64()
    mixed = read_tables(written("b", transactions="i::DOUBLE", surveys="i::VARCHAR"))
    assert mixed.customers.collect_schema()["customer_id"] == nw.String()
    assert mixed.transactions is not None
    assert rows(mixed.transactions, "customer_id") == [("1",), ("2",), ("3",)]
    padded = check_tables(written("c", transactions="i", surveys="'0' || i"))
    assert [one.rule for one in padded if one.severity == "error"] == ["unknown_customer"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-08-12", dt.datetime(2025, 8, 12)),
        ("2025-08-12 07:30", dt.datetime(2025, 8, 12, 7, 30)),
        ("2025-08-12T07:30:15.25", dt.datetime(2025, 8, 12, 7, 30, 15, 250_000)),
        ("2025-08-12T07:30:00Z", dt.datetime(2025, 8, 12, 7, 30)),
        ("2025-08-12T02:30:00+07:00", dt.datetime(2025, 8, 11, 19, 30)),
    ],
)
def test_moments_become_naive_utc(tmp_path: Path, text: str, expected: dt.datetime) -> None:
    tables = read_tables(company(tmp_path, transactions_csv=edit(TRANSACTIONS, "2025-08-12", text)))
    assert rows(tables.transactions, "occurred_at")[1] == (expected,)


def test_parquet_moments_with_zone_become_naive_utc(tmp_path: Path) -> None:
    folder = company(tmp_path, transactions_csv=None)
    moment = "TIMESTAMPTZ '2025-12-31 23:30:00-02' AS occurred_at"
    columns = f"i AS transaction_id, 'K1' AS customer_id, {moment}, 1::DECIMAL(18, 2) AS amount, 1::FLOAT AS margin"
    write_parquet(folder / "transactions.parquet", columns, "range(1)")
    tables = read_tables(folder)
    assert rows(tables.transactions, "occurred_at", "amount", "margin") == [(dt.datetime(2026, 1, 1, 1, 30), 1.0, 1.0)]


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    text = "transaction_id;customer_id;occurred_at;amount;margin\nT1;K1;2025-07-11;1.100,5;30\nT2;K2;2025-12-31;-0,25;1 000\n"
    declared = DATASET + 'tables: {transactions: {decimal: ","}}\n'
    tables = read_tables(company(tmp_path, transactions_csv=text, dataset_yaml=declared))
    assert rows(tables.transactions, "amount", "margin") == [(1100.5, 30.0), (-0.25, 1000.0)]


def test_a_point_is_no_decimal_sign_where_commas_are(tmp_path: Path) -> None:
    declared = DATASET + 'tables: {transactions: {decimal: ","}}\n'
    found = [one for one in check_tables(company(tmp_path, dataset_yaml=declared)) if one.severity == "error"]
    assert [(one.rule, one.count, one.first_value) for one in found] == [("not_a_number", 2, "100.5")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le-bom", "cp1258"])
def test_marks_and_encodings(tmp_path: Path, encoding: str) -> None:
    text = CUSTOMERS.replace("gold", "đồng")
    if encoding == "utf-16-le-bom":
        written, declared = b"\xff\xfe" + text.encode("utf-16-le"), "{}"
    elif encoding == "cp1258":
        # The code page has combining tone marks only.
        written = text.replace("ồ", "ô\u0300").encode("cp1258")
        declared = "{encoding: windows-1258}"
    else:
        written, declared = text.encode(encoding), "{}"
    folder = company(tmp_path, customers_csv=written, dataset_yaml=DATASET + f"tables: {{customers: {declared}}}\n")
    assert check_tables(folder) == []
    assert rows(read_tables(folder).customers, "customer_id", "plan")[0] == ("K1", "đồng")


def test_line_ends_of_windows_and_tabs(tmp_path: Path) -> None:
    text = CUSTOMERS.replace(",", "\t").replace("\n", "\r\n")
    tables = read_tables(company(tmp_path, customers_csv=text))
    assert rows(tables.customers) == rows(read_tables(company(tmp_path / "other")).customers)


def test_columns_are_mapped(tmp_path: Path) -> None:
    customers = CUSTOMERS.replace("customer_id", "MA_KH").replace("joined_on", "NGÀY TẠO").replace("plan", "gói")
    declared = (
        DATASET
        + "segments: [plan]\ntables: {customers: {file: crm.csv, columns: {customer_id: MA_KH, joined_on: NGÀY TẠO, plan: gói}}}\n"
    )
    folder = company(
        tmp_path, customers_csv=None, crm_csv=unicodedata.normalize("NFD", customers), dataset_yaml=declared
    )
    assert check_tables(folder) == []
    tables = read_tables(folder)
    assert tables.customers.collect_schema().names() == ["customer_id", "joined_on", "left_on", "plan", "age"]
    assert tables.segments == ("plan",)


def test_globs_and_parts(tmp_path: Path) -> None:
    first, second = (
        [f"{line},{tail}" for line, tail in zip(TRANSACTIONS.splitlines(), ["channel", ""], strict=False)],
        TRANSACTIONS.splitlines(),
    )
    folder = company(
        tmp_path, transactions_csv=None, dataset_yaml=DATASET + 'tables: {transactions: {file: "orders_*.csv"}}\n'
    )
    (folder / "orders_1.csv").write_text("\n".join(first))
    (folder / "orders_2.csv").write_text(
        "\n".join(
            f"{line},{tail}" for line, tail in zip([second[0], *second[2:]], ["channel", "web", "shop"], strict=True)
        )
    )
    tables = read_tables(folder)
    assert rows(tables.transactions, "transaction_id", "channel") == [("T1", None), ("T2", "web"), ("T3", "shop")]


def test_query_over_files_whatever_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query = "select id as response_id, who as customer_id, 'nps' as metric, q1 as score, done_at as answered_at from read_csv('survey.csv')"
    folder = company(
        tmp_path / "own, folder", surveys_csv=None, dataset_yaml=DATASET + f'tables: {{surveys: {{sql: "{query}"}}}}\n'
    )
    (folder / "survey.csv").write_text("id,who,q1,done_at\n1,K1,9,2025-12-31\n2,K2,3,2025-12-01\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "survey.csv").write_text("id,who,q1,done_at\n1,K1,0,2025-12-31\n")
    monkeypatch.chdir(elsewhere)
    tables = read_tables(folder)
    assert rows(tables.surveys, "response_id", "score") == [(1, 9.0), (2, 3.0)]
    assert "survey.csv" in tables.hashes()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("drop table who", "Only SELECT"),
        ("select 1; select 2", "2 statements"),
        ("selec 1", "syntax error"),
        ("select * from read_csv('nowhere.csv')", "nowhere.csv"),
        ("copy (select 1) to 'x.csv'", "Only SELECT"),
    ],
)
def test_only_one_select_is_accepted(tmp_path: Path, query: str, said: str) -> None:
    folder = company(tmp_path, surveys_csv=None, dataset_yaml=DATASET + f'tables: {{surveys: {{sql: "{query}"}}}}\n')
    with pytest.raises(InvalidTables, match=said) as raised:
        read_tables(folder)
    assert [one.rule for one in raised.value.violations] == ["bad_sql"]


def test_reversed_scales_are_turned_round(tmp_path: Path) -> None:
    declared = DATASET + "scales: {ces: {range: [1, 7], easy: 1}, csat: [5, 1]}\n"
    tables = read_tables(company(tmp_path, dataset_yaml=declared))
    assert rows(tables.surveys, "score") == [(9.0,), (4.0,), (1.0,), (2.0,), (None,)]


def test_margin_rate_stands_in_for_a_margin_column(tmp_path: Path) -> None:
    bare = "\n".join(line.rsplit(",", 1)[0] for line in TRANSACTIONS.splitlines())
    tables = read_tables(
        company(tmp_path, transactions_csv=bare, outcomes_csv=OUTCOMES, dataset_yaml=DATASET + "margin_rate: 0.4\n")
    )
    # Two decimals in, one product: equal to the last bits of a double.
    assert [margin for (margin,) in rows(tables.transactions, "margin")] == pytest.approx([40.2, 20.0, 30.1], rel=1e-12)
    assert [margin for (margin,) in rows(tables.outcomes, "margin")] == pytest.approx([40.0, 20.0, 0.0], rel=1e-12)


def test_outcomes_alone_and_undated_answers(tmp_path: Path) -> None:
    undated = "\n".join(",".join(line.split(",")[:4]) for line in SURVEYS.splitlines())
    folder = company(tmp_path, transactions_csv=None, outcomes_csv=OUTCOMES, surveys_csv=undated)
    assert check_tables(folder) == []
    tables = read_tables(folder)
    assert tables.transactions is None
    assert tables.surveys is not None
    assert "answered_at" not in tables.surveys.collect_schema().names()
    assert tables.data_end == dt.date(2025, 12, 31)


def test_a_company_without_surveys_says_so(tmp_path: Path) -> None:
    folder = company(tmp_path, surveys_csv=None, dataset_yaml=DATASET + "tables: {surveys: none}\n")
    assert [one.rule for one in check_tables(folder)] == ["no_surveys"]
    assert read_tables(folder).surveys is None


def test_defaults_without_a_description(tmp_path: Path) -> None:
    many = "\n".join(
        ["customer_id,joined_on,region,street,postcode,born,spend_class"]
        + [f"K{i},2024-01-01,r{i % 3},street {i},0{i},19{60 + i}-01-01,{i % 4}" for i in range(1, 31)]
    )
    folder = company(tmp_path, customers_csv=many, dataset_yaml=None)
    tables = read_tables(folder)
    assert tables.controls == ("region", "spend_class")
    assert tables.segments == ("region",)
    assert tables.config.retention is None
    assert {"no_currency", "no_retention_rule"} <= {one.rule for one in tables.notices}
    assert rows(tables.customers, "postcode")[0] == ("01",)


def test_accepted_rows_are_left_out_or_kept_and_counted(tmp_path: Path) -> None:
    surveys = SURVEYS + "\n".join(
        [
            "R6,K2,nps,4,2025-08-02,",  # repeats R2
            "R7,K2,nps,4,2025-08-02,",  # repeats R2 again
            "R8,K9,nps,7,2025-08-02,",  # of nobody
            "R9,K3,nps,7,2024-08-02,",  # before joining
            "R10,K2,nps,7,2025-12-20,",  # after leaving
            "R11,K1,nps,12,2025-12-20,",  # out of scale
            "R12,K1,nps,dunno,2025-12-20,",  # a word
            "R13,K9,nps,12,2025-12-20,",  # out of scale and of nobody: counted once
            "",
        ]
    )
    transactions = TRANSACTIONS + "T4,K8,2025-08-12,50,10\nT5,K2,2025-08-12,50,10\n"
    rules = "repeated_rows: drop, unknown_customer: drop, before_joining: drop, after_leaving: {}, out_of_scale: drop, not_a_number: drop"
    declared = "currency: VND\naccept: {surveys: {%s}, transactions: {unknown_customer: drop, repeated_rows: keep}}\n"
    dropped = read_tables(
        company(
            tmp_path / "a",
            surveys_csv=surveys,
            transactions_csv=transactions,
            dataset_yaml=declared % rules.format("drop"),
        )
    )
    expected = {
        "not_a_number": 1,
        "out_of_scale": 2,
        "unknown_customer": 1,
        "before_joining": 1,
        "after_leaving": 1,
        "repeated_rows": 2,
    }
    assert accounts(dropped, "surveys") == {"read": 13, **expected, "kept": 5}
    assert accounts(dropped, "transactions") == {"read": 5, "unknown_customer": 1, "kept": 4}
    assert rows(dropped.surveys, "response_id") == [("R1",), ("R2",), ("R3",), ("R4",), ("R5",)]
    assert_accounts_sum(dropped)
    kept = read_tables(
        company(
            tmp_path / "b",
            surveys_csv=surveys,
            transactions_csv=transactions,
            dataset_yaml=declared % rules.format("keep"),
        )
    )
    assert accounts(kept, "surveys")["kept"] == 6
    assert_accounts_sum(kept)
    said = {(one.table, one.rule): one for one in kept.notices}
    assert said["surveys", "after_leaving"].repair == "Accepted in dataset.yaml: they are kept."
    assert said["transactions", "unknown_customer"].count == 1


def test_accepted_rows_of_parquet_are_left_out(tmp_path: Path) -> None:
    folder = company(
        tmp_path,
        transactions_csv=None,
        dataset_yaml="currency: VND\naccept: {transactions: {unknown_customer: drop, repeated_rows: drop}}\n",
    )
    (tmp_path / "text").write_text(TRANSACTIONS + "T4,K8,2025-08-12,50,10\nT5,K2,2025-08-12,50,10\n")
    duckdb.sql(f"COPY (FROM read_csv('{tmp_path / 'text'}')) TO '{folder / 'transactions.parquet'}'")
    tables = read_tables(folder)
    assert accounts(tables, "transactions") == {"read": 5, "unknown_customer": 1, "repeated_rows": 1, "kept": 3}
    assert_accounts_sum(tables)


def test_answers_without_consent_are_left_out(tmp_path: Path) -> None:
    customers = CUSTOMERS.replace("age", "consent").replace(",31", ",không").replace("45", "có").replace("27", "1")
    tables = read_tables(company(tmp_path, customers_csv=customers))
    assert accounts(tables, "surveys") == {"read": 5, "no_consent": 2, "kept": 3}
    assert accounts(tables, "transactions") == {"read": 3, "kept": 3}
    assert rows(tables.customers, "consent") == [(False,), (True,), (True,)]
    assert_accounts_sum(tables)


def test_transactions_are_not_loaded(tmp_path: Path) -> None:
    folder = company(
        tmp_path,
        customers_csv=None,
        surveys_csv=None,
        transactions_csv=None,
        dataset_yaml=DATASET + "tables: {surveys: none}\n",
    )
    duckdb.sql(f"COPY (SELECT 1 AS customer_id, DATE '2024-01-01' AS joined_on) TO '{folder / 'customers.parquet'}'")
    moment = "TIMESTAMP '2025-12-31' - to_seconds(i) AS occurred_at"
    columns = f"i AS transaction_id, 1 AS customer_id, {moment}, random() AS amount, random() AS margin"
    write_parquet(folder / "transactions.parquet", columns, "range(200_000)")
    tables = read_tables(folder)
    assert tables.engine is not None
    stored = tables.engine.connection.execute("SELECT sum(estimated_size) FROM duckdb_tables()").fetchall()[0][0]
    assert stored <= 2  # only the one customer is remembered
    assert not [file for file in tables.engine.folder.rglob("*") if file.is_file() and file.stat().st_size > 10_000]
    assert tables.transactions is not None
    assert tables.transactions.select(nw.len()).collect().item() == 200_000


@pytest.mark.parametrize("end", ["group by all", "group by id, who, q1, done_at"])
def test_grouped_query_gives_its_rows_in_one_order(tmp_path: Path, end: str) -> None:
    names = "id as response_id, who as customer_id, 'nps' as metric, q1 as score, done_at as answered_at"
    wanted = " ".join(["select", names, ", count(*) as n from read_csv('survey.csv')", end])
    folder = company(tmp_path, surveys_csv=None, dataset_yaml=DATASET + f'tables: {{surveys: {{sql: "{wanted}"}}}}\n')
    moments = [f"2025-12-{i % 28 + 1:02d} {i // 60 % 24:02d}:{i % 60:02d}:{i % 59:02d}" for i in range(5000)]
    answers = [f"{(i * 7919) % 5003},K1,{i % 11},{moments[i]}" for i in range(5000)]
    (folder / "survey.csv").write_text("\n".join(["id,who,q1,done_at", *answers]) + "\n")
    ids = read_tables(folder).surveys.select("response_id").collect().to_native()["response_id"].to_pylist()
    assert ids == sorted(ids)
