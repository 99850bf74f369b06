"""``dataset.yaml``: what it may say, and how a fault in it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxroi.tables import check_tables
from tests.exports import errors

CUSTOMERS = "customer_id,joined_on,left_on,plan\nK1,2024-01-05,,gold\nK2,2024-02-11,2025-12-15,basic\n"
SURVEYS = "response_id,customer_id,metric,score,answered_at\nR1,K1,nps,9,2025-07-01\nR2,K2,nps,4,2025-08-02\n"
TRANSACTIONS = "transaction_id,customer_id,occurred_at,amount\nT1,K1,2025-07-11,100.5\nT2,K2,2025-12-31,50\n"


def shop(folder: Path, description: str | None, *, surveys: str = SURVEYS, customers: str = CUSTOMERS) -> Path:
    """Company of two customers without a margin column."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text(customers)
    (folder / "surveys.csv").write_text(surveys)
    (folder / "transactions.csv").write_text(TRANSACTIONS)
    if description is not None:
        (folder / "dataset.yaml").write_text(description)
    return folder


BOMB = "\n".join(
    [
        "a: &a [x]",
        *(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)),
    ]
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("margin_rate: yes", "it reads as yes"),
        ("margin_rate: 0", "it must be above 0; it is 0"),
        ("margin_rate: -0.2", "it must be above 0"),
        ("margin_rate: 35%", "a number with a point as its decimal sign, for example 0.35; it is 35%"),
        ("margin_rate: 0.3\nretention: {rule: repurchase, window_days: yes}", "retention.window_days: it reads as yes"),
        ("margin_rate: 0.3\nvalue: {horizon_months: on, annual_discount_rate: 0.1}", "value.horizon_months: it reads"),
        ("margin_rate: 0.3\ncurrency: no", "currency: it reads as no"),
        ("margin_rate: 0.3\nsegments: plan", "it must be a list, for example [region, plan]; it is plan"),
        ("margin_rate: 0.3\nsegments: [no]", "segments.0: it reads as no"),
        ("margin_rate: 0.3\naccept: {surveys: {repeated_rows: yes}}", "it reads as yes"),
        ("margin_rate: 0.3\ncurrency: 12", "it must be a text, in quotation marks where"),
        ("margin_rate: 0.3\ncurrency: \x07", "a character stands in it"),
        ("margin_rate: 0.3\nscales: {nps: [0, .inf]}", "two different numbers"),
        ("margin_rate: 0.3\ncalendar: [{name: Tet, starts_on: 2026-02-29, ends_on: 2026-03-02}]", "line 2: 2026-02-29"),
        ("margin_rate: 0.3\ncalendar: [{name: Tet, starts_on: 2026-02-01, ends_on: 9999-03-02}]", "between 1970"),
        ("margin_rate: {{ rate }}", "line 1: a key must be a word"),
        ("[a, b]: 1", "line 1: a key must be a word"),
        ("margin_rate: " + "9" * 5000, "line 1: 999"),
        ("segments: " + "[" * 5000 + "]" * 5000, "brackets stand in brackets too many times"),
        (BOMB, "more than 20 references"),
        ("# " + "x" * 1_000_001, "smaller than 1 MB"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_fault_is_said_in_plain_words(tmp_path: Path, text: str, said: str) -> None:
    (violation,) = errors(shop(tmp_path, text))
    assert violation.rule == "dataset_yaml"
    assert said in violation.message
    assert not {"Input", "pydantic", "valid"} & set(violation.message.split())


def test_a_fault_elsewhere_hides_no_violation_of_the_tables(tmp_path: Path) -> None:
    text = "margin_rte: 0.3\nscales: {npss: [0, 10]}\nvalue: {horizon_months: 36}\n"
    found = errors(shop(tmp_path, text, surveys=SURVEYS.replace("R2,K2,nps,4", "R1,K9,nps,4")))
    assert [one.rule for one in found] == [*["dataset_yaml"] * 3, "unknown_customer", "duplicate_id"]


@pytest.mark.parametrize("name", ["dataset.yml", "Dataset.yaml", "DATASET.YML"])
def test_a_description_under_another_name_is_not_passed_over(tmp_path: Path, name: str) -> None:
    folder = shop(tmp_path, None)
    (folder / name).write_text("margin_rate: 0.3\n")
    assert f"{name} is not read" in str(errors(folder)[0])


def test_a_link_to_nothing_and_a_folder_are_no_description(tmp_path: Path) -> None:
    folder = shop(tmp_path / "a", None)
    (folder / "dataset.yaml").symlink_to(folder / "nowhere.yaml")
    assert "a link to a file that does not exist" in str(errors(folder)[0])
    folder = shop(tmp_path / "b", None)
    (folder / "dataset.yaml").mkdir()
    assert [one.rule for one in errors(folder)] == ["dataset_yaml"]


def test_a_path_that_is_none_is_said(tmp_path: Path) -> None:
    assert [one.rule for one in errors(tmp_path / ("x" * 300))] == ["missing_folder"]


def test_amounts_taken_whole_for_profit_are_pointed_out(tmp_path: Path) -> None:
    rules = {one.rule: one.severity for one in check_tables(shop(tmp_path, "currency: VND\nmargin_rate: 1\n"))}
    assert rules["whole_amount_is_margin"] == "notice"
