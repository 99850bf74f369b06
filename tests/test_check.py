"""Each rule of the contract is planted in a tiny valid company and must be found, with its numbers and its repair."""

from __future__ import annotations

import datetime as dt
import unicodedata
from pathlib import Path

import duckdb
import pytest

from cxroi.errors import InvalidTables
from cxroi.tables import Violation, check_tables, read_tables
from cxroi.tables.check import inspect
from tests.exports import errors, written

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

TOUCHES = """customer_id,occurred_at,touchpoint,initiated_by,failed
K1,2025-07-01T08:00:00,call,brand,no
K2,2025-07-02T08:00:00,shop,customer,yes
"""
REFERRALS = "referrer_id,referred_id,occurred_at,incentivised\nK1,K3,2025-06-30,true\n"
INITIATIVES = """initiative_id,name,intent,touchpoint,starts_on,ends_on
I1,One call,solve at once,call,2025-07-01,2025-12-31
"""
EXPOSURES = "initiative_id,customer_id,exposed_on,arm\nI1,K1,2025-07-01,treated\nI1,K2,2025-07-01,control\n"
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


def notices(folder: Path) -> dict[str, Violation]:
    return {violation.rule: violation for violation in check_tables(folder) if violation.severity == "notice"}


def found(violation: Violation) -> tuple[str, str, str, int, int | None]:
    return violation.rule, violation.table, violation.column, violation.count, violation.first_row


def test_valid_company_has_no_violation_and_no_notice(tmp_path: Path) -> None:
    assert check_tables(company(tmp_path)) == []


def test_every_optional_table_is_valid_too(tmp_path: Path) -> None:
    folder = company(
        tmp_path,
        touches_csv=TOUCHES,
        referrals_csv=REFERRALS,
        initiatives_csv=INITIATIVES,
        exposures_csv=EXPOSURES,
        costs_csv=COSTS,
        outcomes_csv=OUTCOMES,
    )
    assert check_tables(folder) == []


def edit(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new, 1)


ROWS: list[tuple[str, dict[str, str], tuple[str, str, str, int, int | None], str]] = [
    (
        "empty id",
        {"surveys_csv": edit(SURVEYS, "R2,K2", "R2,")},
        ("empty_cell", "surveys", "customer_id", 1, 3),
        "empty",
    ),
    (
        "empty joined_on",
        {"customers_csv": edit(CUSTOMERS, "2024-02-11", "")},
        ("empty_cell", "customers", "joined_on", 1, 3),
        "",
    ),
    (
        "empty amount",
        {"transactions_csv": edit(TRANSACTIONS, ",50,", ",,")},
        ("empty_cell", "transactions", "amount", 1, 3),
        "",
    ),
    (
        "undated answer",
        {"surveys_csv": edit(SURVEYS, "2025-08-02", "")},
        ("empty_cell", "surveys", "answered_at", 1, 3),
        "",
    ),
    (
        "empty margin",
        {"transactions_csv": edit(TRANSACTIONS, "50,10", "50,")},
        ("empty_margin", "transactions", "margin", 1, 3),
        "margin_rate",
    ),
    (
        "day first date",
        {"transactions_csv": edit(TRANSACTIONS, "2025-08-12", "12/08/2025")},
        ("not_a_date", "transactions", "occurred_at", 1, 3),
        "day/month/year",
    ),
    (
        "impossible date",
        {"customers_csv": edit(CUSTOMERS, "2024-02-11", "2024-02-31")},
        ("not_a_date", "customers", "joined_on", 1, 3),
        "2026-12-31",
    ),
    (
        "word as date",
        {"customers_csv": edit(CUSTOMERS, "2024-02-11", "epoch")},
        ("not_a_date", "customers", "joined_on", 1, 3),
        "",
    ),
    (
        "serial date",
        {"customers_csv": edit(CUSTOMERS, "2024-02-11", "45333")},
        ("not_a_date", "customers", "joined_on", 1, 3),
        "",
    ),
    (
        "far past",
        {"customers_csv": edit(CUSTOMERS, "2024-02-11", "1900-01-01")},
        ("date_out_of_range", "customers", "joined_on", 1, 3),
        "empty",
    ),
    (
        "far future",
        {"transactions_csv": edit(TRANSACTIONS, "2025-08-12", "2205-08-12")},
        ("date_out_of_range", "transactions", "occurred_at", 1, 3),
        "",
    ),
    (
        "score of 11",
        {"surveys_csv": edit(SURVEYS, "nps,4", "nps,11")},
        ("out_of_scale", "surveys", "score", 1, 3),
        "scales: {nps: [1, 10]}",
    ),
    (
        "csat of 0",
        {"surveys_csv": edit(SURVEYS, "csat,5", "csat,0")},
        ("out_of_scale", "surveys", "score", 1, 4),
        "csat",
    ),
    (
        "score as word",
        {"surveys_csv": edit(SURVEYS, "nps,4", "nps,good")},
        ("not_a_number", "surveys", "score", 1, 3),
        "Recode",
    ),
    ("score nan", {"surveys_csv": edit(SURVEYS, "nps,4", "nps,nan")}, ("not_a_number", "surveys", "score", 1, 3), ""),
    (
        "unknown metric",
        {"surveys_csv": edit(SURVEYS, "nps,4", "stars,4")},
        ("unknown_metric", "surveys", "metric", 1, 3),
        "Recode",
    ),
    (
        "decimal comma",
        {"transactions_csv": edit(TRANSACTIONS, ",50,", ',"50,5",')},
        ("not_a_number", "transactions", "amount", 1, 3),
        'decimal: ","',
    ),
    (
        "currency sign",
        {"transactions_csv": edit(TRANSACTIONS, ",50,", ",50 USD,")},
        ("not_a_number", "transactions", "amount", 1, 3),
        "currency signs",
    ),
    (
        "thousands",
        {"transactions_csv": edit(TRANSACTIONS, ",50,", ',"1,050.50",')},
        ("not_a_number", "transactions", "amount", 1, 3),
        "thousands",
    ),
    (
        "infinite amount",
        {"transactions_csv": edit(TRANSACTIONS, ",50,", ",inf,")},
        ("not_a_number", "transactions", "amount", 1, 3),
        "",
    ),
    (
        "duplicate customer",
        {"customers_csv": CUSTOMERS + "K1,2024-01-06,,gold,31\n"},
        ("duplicate_id", "customers", "customer_id", 1, 5),
        "twice",
    ),
    (
        "duplicate response",
        {"surveys_csv": edit(SURVEYS, "R4", "R1")},
        ("duplicate_id", "surveys", "response_id", 1, 5),
        "",
    ),
    (
        "duplicate transaction",
        {"transactions_csv": edit(TRANSACTIONS, "T3", "T1")},
        ("duplicate_id", "transactions", "transaction_id", 1, 4),
        "",
    ),
    (
        "repeated answer",
        {"surveys_csv": SURVEYS + "R6,K2,nps,4,2025-08-02,\n"},
        ("repeated_rows", "surveys", "", 1, 7),
        "accept: {surveys: {repeated_rows: drop}}",
    ),
    (
        "repeated transaction",
        {"transactions_csv": TRANSACTIONS + "T4,K2,2025-08-12,50,10\n"},
        ("repeated_rows", "transactions", "", 1, 5),
        "accept",
    ),
    (
        "unknown buyer",
        {"transactions_csv": edit(TRANSACTIONS, "T2,K2", "T2,K9")},
        ("unknown_customer", "transactions", "customer_id", 1, 3),
        "accept: {transactions: {unknown_customer: drop}}",
    ),
    (
        "unknown respondent",
        {"surveys_csv": edit(SURVEYS, "R2,K2", "R2,K9")},
        ("unknown_customer", "surveys", "customer_id", 1, 3),
        "accept",
    ),
    (
        "answer before joining",
        {"surveys_csv": edit(SURVEYS, "2025-09-03", "2025-06-29")},
        ("before_joining", "surveys", "answered_at", 1, 4),
        "accept: {surveys: {before_joining: drop}}",
    ),
    (
        "answer after leaving",
        {"surveys_csv": edit(SURVEYS, "2025-08-02", "2025-12-16")},
        ("after_leaving", "surveys", "answered_at", 1, 3),
        "after_leaving",
    ),
    (
        "left before joining",
        {"customers_csv": edit(CUSTOMERS, "2025-12-15", "2024-02-10"), "surveys_csv": edit(SURVEYS, "R2,K2", "R2,K1")},
        ("left_before_joining", "customers", "left_on", 1, 3),
        "",
    ),
    (
        "unknown toucher",
        {"touches_csv": edit(TOUCHES, "K2", "K9")},
        ("unknown_customer", "touches", "customer_id", 1, 3),
        "",
    ),
    (
        "initiated by nobody",
        {"touches_csv": edit(TOUCHES, "brand", "nobody")},
        ("unknown_choice", "touches", "initiated_by", 1, 2),
        "",
    ),
    (
        "failed perhaps",
        {"touches_csv": edit(TOUCHES, "yes", "perhaps")},
        ("not_true_or_false", "touches", "failed", 1, 3),
        "",
    ),
    (
        "repeated touch",
        {"touches_csv": TOUCHES + "K1,2025-07-01T08:00:00,call,brand,no\n"},
        ("repeated_rows", "touches", "", 1, 4),
        "",
    ),
    (
        "unknown referrer",
        {"referrals_csv": edit(REFERRALS, "K1", "K8")},
        ("unknown_customer", "referrals", "referrer_id", 1, 2),
        "",
    ),
    (
        "unknown referred",
        {"referrals_csv": edit(REFERRALS, "K3", "K8")},
        ("unknown_customer", "referrals", "referred_id", 1, 2),
        "",
    ),
    (
        "unknown arm",
        {"initiatives_csv": INITIATIVES, "exposures_csv": edit(EXPOSURES, "treated", "pilot")},
        ("unknown_choice", "exposures", "arm", 1, 2),
        "Recode",
    ),
    (
        "unknown initiative",
        {"initiatives_csv": INITIATIVES, "exposures_csv": edit(EXPOSURES, "I1", "I9")},
        ("unknown_initiative", "exposures", "initiative_id", 1, 2),
        "",
    ),
    (
        "unknown exposed",
        {"initiatives_csv": INITIATIVES, "exposures_csv": edit(EXPOSURES, "K2", "K9")},
        ("unknown_customer", "exposures", "customer_id", 1, 3),
        "",
    ),
    (
        "ninth category",
        {"initiatives_csv": INITIATIVES, "costs_csv": edit(COSTS, "technology", "9")},
        ("unknown_choice", "costs", "category", 1, 3),
        "Recode",
    ),
    (
        "kind of cost",
        {"initiatives_csv": INITIATIVES, "costs_csv": edit(COSTS, "one_off", "once")},
        ("unknown_choice", "costs", "kind", 1, 2),
        "",
    ),
    (
        "month of cost",
        {"initiatives_csv": INITIATIVES, "costs_csv": edit(COSTS, "2025-08", "08/2025")},
        ("not_a_date", "costs", "month", 1, 3),
        "",
    ),
    (
        "cost of nothing",
        {"initiatives_csv": INITIATIVES, "costs_csv": edit(COSTS, "I1,tech", "I7,tech")},
        ("unknown_initiative", "costs", "initiative_id", 1, 3),
        "",
    ),
    (
        "reversed initiative",
        {"initiatives_csv": edit(INITIATIVES, "2025-12-31", "2025-06-30")},
        ("reversed_period", "initiatives", "ends_on", 1, 2),
        "",
    ),
    (
        "reversed period",
        {"outcomes_csv": edit(OUTCOMES, "2025-12-31", "2025-09-30")},
        ("reversed_period", "outcomes", "period_end", 1, 3),
        "",
    ),
    (
        "overlapping periods",
        {"outcomes_csv": edit(OUTCOMES, "2025-10-01", "2025-09-15")},
        ("overlapping_periods", "outcomes", "period_start", 1, 3),
        "",
    ),
    (
        "unknown in outcomes",
        {"outcomes_csv": edit(OUTCOMES, "K2", "K9")},
        ("unknown_customer", "outcomes", "customer_id", 1, 4),
        "",
    ),
]


@pytest.mark.parametrize(("planted", "expected", "repair"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_planted_row_is_found(
    tmp_path: Path, planted: dict[str, str], expected: tuple[str, str, str, int, int | None], repair: str
) -> None:
    violations = errors(company(tmp_path, **planted))
    assert [found(violation) for violation in violations] == [expected]
    assert repair in violations[0].repair
    assert violations[0].total > 0


FILES: list[tuple[str, dict[str, str | bytes | None], tuple[str, str, str], str]] = [
    ("no customers", {"customers_csv": None}, ("missing_file", "customers", ""), "customers.csv"),
    ("no surveys", {"surveys_csv": None}, ("missing_file", "surveys", ""), "surveys: none"),
    ("no transactions", {"transactions_csv": None}, ("missing_file", "transactions", ""), "outcomes"),
    (
        "declared file missing",
        {"dataset_yaml": "currency: VND\ntables: {surveys: {file: q.csv}}\n"},
        ("missing_file", "surveys", ""),
        "q.csv",
    ),
    (
        "two sources",
        {"surveys_csv": SURVEYS, "surveys.csv_gz": b""},
        ("ambiguous_file", "surveys", ""),
        "surveys.csv.gz",
    ),
    (
        "no column",
        {"customers_csv": CUSTOMERS.replace("joined_on", "joined")},
        ("missing_column", "customers", "joined_on"),
        "joined_on: joined",
    ),
    (
        "no margin",
        {"transactions_csv": TRANSACTIONS.replace(",margin", ",profit")},
        ("missing_margin", "transactions", "margin"),
        "margin_rate: 0.35",
    ),
    (
        "map to nothing",
        {"dataset_yaml": "currency: VND\ntables: {surveys: {columns: {channel: CHANEL}}}\n"},
        ("unknown_column", "surveys", "channel"),
        "CHANEL",
    ),
    (
        "map from nothing",
        {"dataset_yaml": "currency: VND\ntables: {surveys: {columns: {chanel: touchpoint}}}\n"},
        ("unknown_column", "surveys", "chanel"),
        "did you mean channel?",
    ),
    (
        "unknown control",
        {"dataset_yaml": "currency: VND\ncontrols: [agee]\n"},
        ("unknown_column", "customers", "agee"),
        "did you mean age?",
    ),
    (
        "unknown segment",
        {"dataset_yaml": "currency: VND\nsegments: [plann]\n"},
        ("unknown_column", "customers", "plann"),
        "did you mean plan?",
    ),
    ("empty file", {"touches_csv": b""}, ("empty_table", "touches", ""), "Export it again"),
    ("header only", {"surveys_csv": SURVEYS.splitlines()[0] + "\n"}, ("empty_table", "surveys", ""), "none"),
    (
        "column twice",
        {"customers_csv": CUSTOMERS.replace("age", "Plan")},
        ("repeated_column", "customers", "Plan"),
        "Rename",
    ),
    (
        "contract without left_on",
        {
            "dataset_yaml": "currency: VND\nretention: {rule: contract}\n",
            "customers_csv": CUSTOMERS.replace("left_on", "gone"),
        },
        ("missing_column", "customers", "left_on"),
        "repurchase",
    ),
]


@pytest.mark.parametrize(("planted", "expected", "said"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_planted_file_fault_is_found(
    tmp_path: Path, planted: dict[str, str | bytes | None], expected: tuple[str, str, str], said: str
) -> None:
    violations = errors(company(tmp_path, **planted))
    assert [(one.rule, one.table, one.column) for one in violations] == [expected]
    assert said in str(violations[0])


YAML: list[tuple[str, str, str, str]] = [
    ("unknown key", "curency: VND", "curency", "did you mean currency?"),
    ("unknown key of a table", "tables: {surveys: {colums: {a: b}}}", "tables.surveys.colums", "did you mean columns?"),
    ("unknown table", "tables: {survey: {file: a.csv}}", "tables", "did you mean surveys?"),
    ("unknown rule", "accept: {surveys: {repeated_row: drop}}", "accept", "did you mean repeated_rows?"),
    ("rule that can't be kept", "accept: {transactions: {unknown_customer: keep}}", "accept", "must be drop"),
    ("rule that can't be accepted", "accept: {transactions: {duplicate_id: drop}}", "accept", "known"),
    ("retention without window", "retention: {rule: repurchase}", "retention", "window_days: 180"),
    ("retention of another kind", "retention: {rule: lease}", "retention.rule", "contract"),
    ("margin in percent", "margin_rate: 35", "margin_rate", "at most 1; it is 35"),
    ("unknown metric", "scales: {npss: [0, 10]}", "scales", "did you mean nps?"),
    ("direction of effort", "scales: {ces: [1, 5]}", "scales", "easy: 5"),
    ("easy in the middle", "scales: {ces: {range: [1, 7], easy: 4}}", "scales", "1 or 7"),
    ("scale of one number", "scales: {csat: [5]}", "scales", "[1, 5]"),
    ("file and sql", "tables: {surveys: {file: a.csv, sql: select 1}}", "tables.surveys", "not both"),
    ("not yaml", "tables: {surveys: [", "", "line 1"),
    ("key twice", "currency: VND\ncurrency: USD", "", "line 2: the key currency is written twice"),
    ("no keys", "- VND", "", "keys and values"),
    ("experiments as one word", "experiments: SK001", "experiments", "for example [SK001]"),
    ("experiment twice", "experiments: [1, 2, 1]", "experiments", "1 is written twice"),
    ("event without an end", "calendar: [{name: Tet, starts_on: 2026-02-10}]", "calendar.0.ends_on", "required"),
    (
        "event that ends first",
        "calendar: [{name: Tet, starts_on: 2026-02-10, ends_on: 2026-02-01}]",
        "calendar.0",
        "2026-02-01 lies before 2026-02-10",
    ),
    (
        "unknown key of an event",
        "calendar: [{name: Tet, start_on: 2026-02-10, starts_on: 2026-02-10, ends_on: 2026-02-24}]",
        "calendar.0.start_on",
        "did you mean starts_on?",
    ),
    (
        "event called none",
        "calendar: [{name: None, starts_on: 2026-02-10, ends_on: 2026-02-24}]",
        "calendar.0.name",
        "another name",
    ),
    (
        "event twice",
        "calendar: [&a {name: Tet, starts_on: 2026-02-10, ends_on: 2026-02-24}, *a]",
        "calendar",
        "Tet is written twice",
    ),
    ("horizon without rate", "value: {horizon_months: 36}", "value.annual_discount_rate", "required"),
]


@pytest.mark.parametrize(("text", "key", "said"), [row[1:] for row in YAML], ids=[row[0] for row in YAML])
def test_fault_of_the_description_is_said(tmp_path: Path, text: str, key: str, said: str) -> None:
    violations = errors(company(tmp_path, dataset_yaml=text))
    assert [(one.rule, one.table, one.column) for one in violations] == [("dataset_yaml", "dataset.yaml", key)]
    assert said in str(violations[0])


def test_all_faults_of_the_description_at_once(tmp_path: Path) -> None:
    text = "curency: VND\nmargin_rate: 35\nretention: {rule: lease}\nscales: {npss: [0, 10], csat: [5]}\n"
    assert len(errors(company(tmp_path, dataset_yaml=text))) == 4


def test_all_violations_at_once_and_twice_the_same(tmp_path: Path) -> None:
    folder = company(
        tmp_path,
        customers_csv=edit(CUSTOMERS, "2024-02-11", "11/02/2024"),
        surveys_csv=SURVEYS + "R6,K9,nps,11,2025-08-02,\nR6,K9,stars,11,2025-08-02,\n",
        transactions_csv=edit(TRANSACTIONS, ",50,", ',"50,5",'),
    )
    rules = {(one.rule, one.table) for one in errors(folder)}
    assert rules == {
        ("not_a_date", "customers"),
        ("unknown_customer", "surveys"),
        ("unknown_metric", "surveys"),
        ("out_of_scale", "surveys"),
        ("duplicate_id", "surveys"),
        ("not_a_number", "transactions"),
    }
    with pytest.raises(InvalidTables) as first:
        read_tables(folder)
    with pytest.raises(InvalidTables) as second:
        read_tables(folder)
    assert str(first.value) == str(second.value)
    assert {(one.rule, one.table) for one in first.value.violations} == rules


def test_sentence_has_numbers_and_repair_but_no_customer(tmp_path: Path) -> None:
    folder = company(tmp_path, surveys_csv=edit(edit(SURVEYS, "nps,4", "nps,11"), "R3,K3", "R3,SECRET-7"))
    scale, unknown = sorted(errors(folder), key=lambda one: one.rule)
    assert str(scale) == (
        "surveys.score must lie in 0..10 for nps; 1 of 5 rows do not (first: line 3, score 11). Recode them, or declare the "
        "scale in dataset.yaml: scales: {nps: [1, 10]}. To leave them out, add to dataset.yaml: "
        "accept: {surveys: {out_of_scale: drop}}."
    )
    assert "SECRET-7" not in str(unknown)
    assert unknown.first_value == "SECRET-7"


@pytest.mark.parametrize(
    ("text", "rule", "line"),
    [
        pytest.param('R2,K2,nps,4,2025-08-02,"call', "broken_csv", None, id="open quote"),
        pytest.param("R2,K2,nps,4,2025-08-02,call,extra", "broken_csv", 3, id="too many fields"),
        pytest.param("R2,K2,nps", "broken_csv", 3, id="too few fields"),
    ],
)
def test_broken_csv_is_found_with_its_line(tmp_path: Path, text: str, rule: str, line: int | None) -> None:
    violations = errors(company(tmp_path, surveys_csv=edit(SURVEYS, "R2,K2,nps,4,2025-08-02,", text)))
    assert (violations[0].rule, violations[0].table) == (rule, "surveys")
    assert line is None or violations[0].first_row == line


def test_lines_count_newlines_inside_cells_and_unreadable_lines(tmp_path: Path) -> None:
    surveys = edit(SURVEYS, "R1,K1,nps,9,2025-07-01T10:00:00,", 'R1,K1,nps,9,2025-07-01T10:00:00,"call\ncentre"')
    surveys = edit(surveys, "R3,K3,csat,5,2025-09-03,shop", "R3,K3")
    surveys = edit(surveys, "ces,6", "ces,60")
    broken, scale = sorted(errors(company(tmp_path, surveys_csv=surveys)), key=lambda one: one.rule)
    assert (broken.rule, broken.first_row) == ("broken_csv", 5)
    assert (scale.rule, scale.first_row) == ("out_of_scale", 6)


def test_wrong_encoding_is_found_and_can_be_declared(tmp_path: Path) -> None:
    customers = CUSTOMERS.replace("gold", "doré").encode("latin-1")
    violations = errors(company(tmp_path / "a", customers_csv=customers))
    assert (violations[0].rule, violations[0].first_row) == ("wrong_encoding", 2)
    declared = DATASET + "tables: {customers: {encoding: latin-1}}\n"
    assert check_tables(company(tmp_path / "b", customers_csv=customers, dataset_yaml=declared)) == []


def test_truncated_gzip_is_said(tmp_path: Path) -> None:
    import gzip

    whole = gzip.compress(CUSTOMERS.encode() * 50)
    folder = company(tmp_path, **{"customers_csv": None, "customers.csv_gz": whole[: len(whole) // 2]})
    assert [one.table for one in errors(folder)] == ["customers"]


def test_unreadable_parquet_is_said(tmp_path: Path) -> None:
    folder = company(tmp_path, customers_csv=None, customers_parquet=b"PAR1 no parquet")
    assert [(one.rule, one.table) for one in errors(folder)] == [("unreadable_file", "customers")]


def test_customers_without_ids_stop_no_other_check(tmp_path: Path) -> None:
    folder = company(
        tmp_path,
        customers_csv=CUSTOMERS.replace("customer_id", "Customer_ID"),
        surveys_csv=edit(SURVEYS, "nps,4", "nps,11"),
    )
    assert {one.rule for one in errors(folder)} == {"missing_column", "out_of_scale"}
    assert "columns: {customer_id: Customer_ID}" in str(errors(folder)[0])


def test_workbook_named_csv_is_said(tmp_path: Path) -> None:
    (violation,) = errors(company(tmp_path, touches_csv=b"PK\x03\x04" + bytes(300)))
    assert (violation.rule, violation.table) == ("unreadable_file", "touches")
    assert "Save it as CSV" in violation.repair


def test_table_named_without_settings_is_read_as_usual(tmp_path: Path) -> None:
    assert check_tables(company(tmp_path, dataset_yaml=DATASET + "tables: {customers: }\n")) == []


def test_quotation_mark_left_open_in_a_large_file(tmp_path: Path) -> None:
    lines = [f'R{i},K1,nps,{i % 11},2025-07-{1 + i % 28:02d},"call {i}"' for i in range(50_000)]
    lines[1000] = lines[1000].rstrip('"')
    violations = errors(company(tmp_path, surveys_csv="\n".join([SURVEYS.splitlines()[0], *lines])))
    assert ("broken_csv", 1002) in {(one.rule, one.first_row) for one in violations}


def test_missing_folder_is_said(tmp_path: Path) -> None:
    assert [one.rule for one in check_tables(tmp_path / "nowhere")] == ["missing_folder"]


def write_parquet(target: Path, columns: str, numbers: str) -> None:
    """Write ``columns``, expressions over ``i``, for each of the numbers."""
    duckdb.sql(" ".join(["COPY (SELECT", columns, "FROM", numbers, f"AS t(i)) TO '{target}'"]))


def test_parts_and_parquet_rows_are_named(tmp_path: Path) -> None:
    folder = company(tmp_path, transactions_csv=None)
    (folder / "transactions").mkdir()
    columns = "i AS transaction_id, 'K1' AS customer_id, DATE '2025-12-31' - i::INTEGER AS occurred_at, i AS amount, 1 AS margin"
    for part, first in enumerate((0, 3)):
        target = folder / "transactions" / f"part-{part}.parquet"
        write_parquet(target, columns, f"range({first}, {first + 3})")
    assert check_tables(folder) == []
    target = folder / "transactions" / "part-2.parquet"
    write_parquet(target, columns.replace("K1", "K9"), "range(10, 13)")
    (violation,) = errors(folder)
    assert (violation.rule, violation.first_row, violation.first_file) == ("unknown_customer", 1, "part-2.parquet")
    assert "row 1 of part-2.parquet" in str(violation)


def test_several_currencies(tmp_path: Path) -> None:
    lines = TRANSACTIONS.splitlines()
    text = "\n".join(f"{line},{tail}" for line, tail in zip(lines, ["currency", "VND", "USD", "vnd"], strict=True))
    (violation,) = errors(company(tmp_path / "a", transactions_csv=text))
    assert found(violation) == ("several_currencies", "transactions", "currency", 1, 3)
    assert check_tables(company(tmp_path / "b", transactions_csv=text.replace("USD", "VND"))) == []
    other = errors(company(tmp_path / "c", transactions_csv=text.replace("USD", "VND"), dataset_yaml="currency: EUR\n"))
    assert [(one.rule, one.count) for one in other] == [("several_currencies", 3)]


NOTICES: list[tuple[str, dict[str, str], str, int]] = [
    ("refund", {"transactions_csv": TRANSACTIONS + "T4,K1,2025-07-20,-10,-3\n"}, "refunds", 1),
    ("two orders a day", {"transactions_csv": TRANSACTIONS + "T4,K1,2025-07-11,9,3\n"}, "several_orders_a_day", 1),
    ("bought after leaving", {"transactions_csv": TRANSACTIONS + "T4,K2,2025-12-16,9,3\n"}, "after_leaving", 1),
    ("bought before joining", {"transactions_csv": TRANSACTIONS + "T4,K3,2025-06-29,9,3\n"}, "before_joining", 1),
    (
        "zones mixed",
        {"surveys_csv": edit(SURVEYS, "R2,K2,nps,4,2025-08-02", "R2,K2,nps,4,2025-08-02T10:00:00+07:00")},
        "mixed_time_zones",
        1,
    ),
    ("quarter not over", {"transactions_csv": edit(TRANSACTIONS, "2025-12-31", "2025-12-01")}, "unfinished_quarter", 0),
    ("no currency", {"dataset_yaml": ""}, "no_currency", 0),
    ("margin twice", {"dataset_yaml": DATASET + "margin_rate: 0.3\n"}, "unused_margin_rate", 0),
    (
        "consent unknown",
        {
            "customers_csv": CUSTOMERS.replace("age", "consent")
            .replace(",31", ",")
            .replace("45", "yes")
            .replace("27", "no")
        },
        "empty_consent",
        1,
    ),
]


@pytest.mark.parametrize(("planted", "rule", "count"), [row[1:] for row in NOTICES], ids=[row[0] for row in NOTICES])
def test_notice_refuses_nothing(tmp_path: Path, planted: dict[str, str], rule: str, count: int) -> None:
    folder = company(tmp_path, **planted)
    assert errors(folder) == []
    said = notices(folder)
    assert said[rule].count == count
    assert rule in {one.rule for one in read_tables(folder).notices}


def test_future_is_counted_from_today(tmp_path: Path) -> None:
    tomorrow = dt.date.today() + dt.timedelta(days=1)
    assert errors(company(tmp_path / "a", transactions_csv=edit(TRANSACTIONS, "2025-12-31", str(tomorrow)))) == []
    later = tomorrow + dt.timedelta(days=1)
    rules = [
        one.rule
        for one in errors(company(tmp_path / "b", transactions_csv=edit(TRANSACTIONS, "2025-12-31", str(later))))
    ]
    assert rules == ["date_out_of_range"]


def large_company(folder: Path, *, transactions: str) -> Path:
    """Company of 6,400 customers with whole-numbered ids; ``transactions`` is a query over ``t(i)``."""
    company(
        folder,
        customers_csv=None,
        surveys_csv=None,
        transactions_csv=None,
        dataset_yaml=DATASET + "tables: {surveys: none}\n",
    )
    people = "SELECT i AS customer_id, DATE '2024-01-01' AS joined_on, CASE WHEN i % 2 = 0 THEN DATE '2025-12-31' END AS left_on"
    duckdb.sql(f"COPY ({people} FROM range(6400) AS t(i)) TO '{folder / 'customers.parquet'}'")
    duckdb.sql(f"COPY ({transactions}) TO '{folder / 'transactions.parquet'}'")
    return folder


ORDER = (
    "SELECT i AS transaction_id, i AS customer_id, TIMESTAMP '2025-12-31 10:00:00' AS occurred_at, "
    "1.0 * i + 1 AS amount, 0.5 AS margin FROM range(6400) AS t(i)"
)


def test_repeated_ids_of_a_large_table_are_sampled(tmp_path: Path) -> None:
    folder = large_company(tmp_path, transactions=f"{ORDER} UNION ALL {ORDER}")
    for rule in ("duplicate_id", "repeated_rows", "several_orders_a_day"):
        whole = {one.rule: one for one in inspect(folder).violations}[rule]
        some = {one.rule: one for one in inspect(folder, sample_keys_above=1000).violations}[rule]
        assert whole.count == 6400
        assert 50 < some.count < 200  # a 64th of 6,400 is 100; its standard deviation is 10
        assert "every 64th customer id" in str(some)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        pytest.param("i AS customer_id", "i + 1 AS customer_id", "unknown_customer", id="customer"),
        pytest.param("i AS customer_id", "nullif(i, 77) AS customer_id", "empty_cell", id="empty id"),
        pytest.param("2025-12-31", "1925-12-31", "date_out_of_range", id="date"),
        pytest.param("1.0 * i", "'nan'::DOUBLE", "empty_cell", id="amount that is no number"),
        pytest.param("1.0 * i", "1e308 * 10.0 ** i", "not_a_number", id="infinite amount"),
        pytest.param("0.5 AS", "nullif(0.5 * i, 0) AS", "empty_margin", id="margin"),
        pytest.param("1.0 * i", "-1.0 * i", "refunds", id="refunds"),
        pytest.param("10:00:00'", "10:00:00' + INTERVAL 1 DAY", "after_leaving", id="after leaving"),
    ],
)
def test_large_and_small_tables_break_the_same_rules(tmp_path: Path, old: str, new: str, rule: str) -> None:
    folder = large_company(tmp_path, transactions=edit(ORDER, old, new))
    whole = {(one.rule, one.column): one for one in inspect(folder).violations}
    some = {(one.rule, one.column): one for one in inspect(folder, sample_keys_above=1000).violations}
    assert rule in {name for name, _ in whole}
    assert whole.keys() == some.keys()
    assert all(one == some[key] for key, one in whole.items() if one.severity == "error")


def test_clean_large_table_is_clean(tmp_path: Path) -> None:
    assert inspect(large_company(tmp_path, transactions=ORDER), sample_keys_above=1000).violations[1:] == ()


def test_hostile_names_and_values_are_only_text(tmp_path: Path) -> None:
    hostile = "o'dd \"; drop table who; --[*].csv"
    name = unicodedata.normalize("NFC", hostile)
    customers = CUSTOMERS.replace("plan", '"pl""an\'; --"').replace("gold", "<script>alert(1)</script>")
    folder = company(
        tmp_path,
        customers_csv=None,
        dataset_yaml=DATASET + f"tables: {{customers: {{file: {name!r}}}}}\n".replace("\\'", "''"),
    )
    (folder / name).write_text(customers)
    assert check_tables(folder) == []
    tables = read_tables(folder)
    assert tables.segments == ("pl\"an'; --",)
