"""The panel: what is known at the end of a period beside what happened in the next, on every engine, each row counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cxroi import periods
from cxroi.errors import InputError
from cxroi.panel import MONEY_DIGITS, Panel, build_panel
from cxroi.tables import Tables, read_tables

CONTRACT: dict[str, Any] = {"currency": "VND", "controls": [], "segments": []}
REPURCHASE: dict[str, Any] = {**CONTRACT, "retention": {"rule": "repurchase", "window_days": 100}}

CUSTOMERS = """customer_id,joined_on,left_on
A,2024-11-20,
B,2025-01-10,2025-08-05
C,2025-05-05,2025-06-20
"""
SURVEYS = """response_id,customer_id,metric,score,answered_at
R1,A,nps,9,2025-02-01
R2,A,nps,6,2025-02-20
R3,B,nps,4,2025-05-02
R4,C,nps,5,2025-06-03
R5,A,csat,4,2025-07-15
"""
TRANSACTIONS = """transaction_id,customer_id,occurred_at,amount,margin
T1,A,2025-01-11,100,30
T2,A,2025-03-12,60,18
T3,A,2025-04-01,-100,-30
T4,B,2025-02-10,50,10
T5,B,2025-07-10,40,8
T6,A,2025-08-08,10,3
T7,A,2025-09-08,20,6
T8,A,2025-12-30,75,20
"""


def company(folder: Path, *, config: dict[str, Any] | None = None, **tables: str | None) -> Path:
    """Write a tiny company; a keyword replaces a table, None leaves it out."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"customers": CUSTOMERS, "surveys": SURVEYS, "transactions": TRANSACTIONS, **tables}
    for name, text in texts.items():
        if text is not None:
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    content = yaml.safe_dump(CONTRACT if config is None else config, allow_unicode=True)
    (folder / "dataset.yaml").write_text(content, encoding="utf-8")
    return folder


def with_column(name: str, values: tuple[object, ...]) -> str:
    """Customers with one more column; the name as it stands in the header."""
    lines = CUSTOMERS.splitlines()
    return "\n".join(f"{line},{value}" for line, value in zip(lines, (name, *values), strict=True)) + "\n"


def read(folder: Path, **options: Any) -> Tables:
    return read_tables(company(folder, **options))


def row(panel: Panel, customer: int, period: str) -> pd.Series:
    """The row of a customer (by the order of ids) and period."""
    index = periods.index(period, panel.period)
    (found,) = (one for _, one in panel.rows.iterrows() if (one["customer"], one["period"]) == (customer, index))
    return found


def assert_same(one: Panel, other: Panel) -> None:
    """Rows, base, active, accounting and pilot agree; averages may differ by the order of summation only."""
    assert (one.pilot is None) == (other.pilot is None)
    for name in ("rows", "base", "active", "accounting", *(() if one.pilot is None else ("pilot",))):
        # 1e-12: running sums of money rounded to four digits, in double precision
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-12)
    assert (one.last_period, one.timing, one.metrics, one.outcomes) == (
        other.last_period,
        other.timing,
        other.metrics,
        other.outcomes,
    )


def accounts(panel: Panel, stage: str) -> dict[str, int]:
    own = panel.accounting[panel.accounting["stage"] == stage]
    return dict(zip(own["reason"], own["rows"], strict=True))


def assert_accounts_sum(panel: Panel, read_rows: int) -> None:
    answers, rows = accounts(panel, "answers"), accounts(panel, "panel")
    assert answers["read"] == read_rows
    assert answers["kept"] == answers["read"] + sum(
        n for reason, n in answers.items() if reason not in ("read", "kept")
    )
    assert rows["rows"] == answers["kept"] + sum(n for reason, n in rows.items() if reason != "rows")
    assert rows["rows"] == len(panel.rows)
    assert all(n <= 0 for reason, n in answers.items() if reason not in ("read", "kept"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tiny company as it stands above."""
    return read(tmp_path_factory.mktemp("panel") / "shop")


@pytest.fixture(scope="module")
def panel(shop: Tables) -> Panel:
    """Its quarterly panel."""
    return build_panel(shop)


# Pilots and events

EXPOSURES = """initiative_id,customer_id,exposed_on,arm
P1,A,2025-05-01,treated
P1,B,2025-05-01,control
P1,B,2025-08-01,treated
P2,A,2025-07-01,treated
P2,C,2025-07-01,
P3,A,2025-05-01,treated
P3,A,2025-05-01,control
P3,B,2025-05-01,treated
P3,C,2025-05-10,control
"""
PILOT_SURVEYS = SURVEYS + "R6,A,nps,1,2025-04-30\nR7,A,nps,8,2025-05-01\nR8,A,nps,6,2025-06-30\n"


def test_pilot_holds_all_customers_of_initiatives_with_both_arms(tmp_path: Path) -> None:
    """A, treated, and B, a control of P1 who is treated later and leaves in 2025Q3; C was gone before a row could begin."""
    tables = read(tmp_path / "shop", exposures=EXPOSURES, surveys=PILOT_SURVEYS)
    panel = build_panel(tables)
    assert panel.pilot is not None
    assert list(panel.pilot["initiative"].cat.categories) == ["P1", "P3"]  # P2 has no control
    own = panel.pilot[panel.pilot["initiative"] == "P1"].set_index(["customer", "period"])
    first, last = periods.index("2025Q1"), periods.index("2025Q3")
    assert list(own.index) == [*((0, index) for index in range(first, last + 1)), (1, first), (1, first + 1)]
    assert own.loc[0, "arm"].tolist() == ["treated"] * 3
    assert own.loc[1, "arm"].tolist() == ["control"] * 2
    assert own.loc[1, "treated_later"].tolist() == [1.0] * 2
    assert (own["exposed"] == periods.index("2025Q2")).all()
    assert own.loc[(1, first + 1), "retained"] == 0
    # of the answers 1, 8 and 6 of A in 2025Q2 the first was given before the exposure
    assert own.loc[(0, first + 1), ["nps", "nps_answers"]].tolist() == [7.0, 2]
    assert row(panel, 0, "2025Q2")["nps"] == 5.0
    assert own.loc[(0, first), "nps"] == row(panel, 0, "2025Q1")["nps"]
    same = ["retained", "orders", "margin", "orders_now", "log_tenure", "periods_since_order"]
    assert own.loc[(0, first), same].tolist() == row(panel, 0, "2025Q1")[same].tolist()
    assert set(panel.pilot.loc[panel.pilot["initiative"] == "P3", "customer"]) == {1}  # A was in both arms on one day
    assert_same(panel, build_panel(tables.collect()))


def test_customers_of_a_pilot_who_never_answered_have_codes_of_their_own(tmp_path: Path) -> None:
    """D never answered and left; the codes of the others are those of the panel without a pilot."""
    customers = CUSTOMERS + "0D,2024-12-01,2025-11-01\n"
    exposures = "initiative_id,customer_id,exposed_on,arm\n1,0D,2025-05-01,control\n1,A,2025-05-01,treated\n"
    plain = build_panel(read(tmp_path / "plain", customers=customers))
    panel = build_panel(read(tmp_path / "pilot", customers=customers, exposures=exposures))
    assert plain.pilot is None
    assert panel.pilot is not None
    pd.testing.assert_frame_equal(panel.rows, plain.rows)
    pd.testing.assert_frame_equal(panel.active, plain.active)
    assert set(panel.pilot["customer"]) == {0, 3}
    assert panel.pilot["nps_answers"].tolist() == [2, 0, 0, 0, 0, 0]


def test_declared_experiments_must_be_known(tmp_path: Path) -> None:
    declared = CONTRACT | {"experiments": ["P1"]}
    assert build_panel(read(tmp_path / "known", config=declared, exposures=EXPOSURES)).experiments == ("P1",)
    with pytest.raises(InputError, match=r"P9 is not there\. It knows P1, P2, P3"):
        build_panel(read(tmp_path / "unknown", config=CONTRACT | {"experiments": ["P1", "P9"]}, exposures=EXPOSURES))
    with pytest.raises(InputError, match="there is no such table"):
        build_panel(read(tmp_path / "none", config=declared))


def test_a_control_named_like_a_column_of_pilots_is_refused_beside_exposures_only(tmp_path: Path) -> None:
    customers, config = with_column("arm", ("x", "y", "x")), CONTRACT | {"controls": ["arm"]}
    assert "arm" in build_panel(read(tmp_path / "plain", customers=customers, config=config)).rows
    with pytest.raises(InputError, match="name of a column of the panel; arm has"):
        build_panel(read(tmp_path / "pilot", customers=customers, config=config, exposures=EXPOSURES))


def test_customers_of_a_pilot_are_looked_at_beyond_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a base of every second customer (A and C) B, who did not answer, is still in the pilot; with a pilot of one, A is."""
    monkeypatch.setattr("cxroi.panel.BASE_CUSTOMERS", 2)
    silent = "".join(f"{line}\n" for line in SURVEYS.splitlines() if ",B," not in line)
    panel = build_panel(read(tmp_path / "shop", exposures=EXPOSURES, surveys=silent))
    assert panel.pilot is not None
    assert set(panel.pilot.loc[panel.pilot["initiative"] == "P1", "customer"]) == {0, 2}
    assert set(panel.rows["customer"]) == {0, 1}
    monkeypatch.setattr("cxroi.panel.PILOT_CUSTOMERS", 2)
    fewer = build_panel(read(tmp_path / "few", exposures=EXPOSURES, surveys=silent))
    assert fewer.pilot is not None
    assert set(fewer.pilot["customer"]) == {0}


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        ("quarter", [("2025Q4", "sale", 45), ("2026Q1", "Tết", 15)]),
        # November has 14 of the sale's 45 days, January 5 of Tết's 15: neither half of the event nor of the month
        ("month", [("2025-12", "sale", 31), ("2026-02", "Tết", 10)]),
    ],
)
def test_events_belong_to_the_periods_that_hold_most_of_them(
    tmp_path: Path, period: periods.Period, expected: list[tuple[str, str, int]]
) -> None:
    calendar = [
        {"name": "Tết 2026", "starts_on": "2026-01-27", "ends_on": "2026-02-10", "kind": "Tết"},
        {"name": "sale", "starts_on": "2025-11-17", "ends_on": "2025-12-31"},
    ]
    panel = build_panel(read(tmp_path / "shop", config=CONTRACT | {"calendar": calendar}), period=period)
    found = [(periods.label(one.period, period), one.event, one.days) for one in panel.events.itertuples()]
    assert found == expected
    assert build_panel(read(tmp_path / "none")).events.empty


# One definition, two engines


@pytest.mark.parametrize(("config", "period"), [(CONTRACT, "month"), (REPURCHASE, "quarter")])
def test_duckdb_and_pandas_agree(tmp_path: Path, config: dict[str, Any], period: periods.Period) -> None:
    tables = read(tmp_path / "shop", config=config)
    assert_same(build_panel(tables, period=period), build_panel(tables.collect(), period=period))


def test_engines_agree_on_the_sample_company(sample: Path) -> None:
    tables = read_tables(sample)
    assert_same(build_panel(tables), build_panel(tables.collect()))


def test_engines_agree_without_surveys_and_on_outcomes(tmp_path: Path) -> None:
    silent = read(tmp_path / "silent", surveys=None, config={**CONTRACT, "tables": {"surveys": "none"}})
    assert_same(build_panel(silent), build_panel(silent.collect()))
    aggregated = read(tmp_path / "aggregated", transactions=None, outcomes=OUTCOMES)
    assert_same(build_panel(aggregated), build_panel(aggregated.collect()))


def test_money_is_rounded_so_that_the_order_of_summation_cannot_show(tmp_path: Path) -> None:
    cents = "transaction_id,customer_id,occurred_at,amount,margin\n" + "".join(
        f"T{number},A,2025-0{1 + number % 3}-1{number % 9},{0.1 + number / 7},{0.01 * number}\n" for number in range(60)
    )
    end = "T99,A,2025-12-31,1,1\n"
    panel = build_panel(read(tmp_path / "shop", transactions=cents + end))
    money = panel.rows[["margin_now", "revenue", "margin"]].to_numpy()
    assert (money == np.round(money, MONEY_DIGITS)).all()


# What the rows hold


def test_history_and_outcomes_of_three_customers_by_hand(panel: Panel) -> None:
    assert panel.rows[["customer", "period"]].to_numpy().tolist() == [
        [0, periods.index("2025Q1")],
        [0, periods.index("2025Q3")],
        [1, periods.index("2025Q2")],
        [2, periods.index("2025Q2")],
    ]
    first = row(panel, 0, "2025Q1")
    assert (first["nps"], first["nps_answers"], first["csat_answers"]) == (7.5, 2, 0)
    assert np.isnan(first["csat"])
    # joined in 2024Q4, known from 2025Q1 on, when the transactions begin
    assert (first["tenure"], first["periods_before"], first["periods_since_order"]) == (1, 0, 0)
    assert (first["orders_now"], first["margin_now"], first["orders_before"], first["margin_before"]) == (2, 48, 0, 0)
    # the next quarter holds only a refund: no order, negative margin
    assert (first["retained"], first["orders"], first["revenue"], first["margin"]) == (1, 0, -100, -30)

    third = row(panel, 0, "2025Q3")
    assert (third["csat"], third["csat_answers"], third["nps_answers"]) == (4, 1, 0)
    assert (third["tenure"], third["periods_before"], third["periods_since_order"]) == (3, 2, 0)
    assert (third["orders_now"], third["margin_now"]) == (2, 9)
    assert (third["orders_before"], third["margin_before"]) == ((2 + 0) / 2, (48 - 30) / 2)
    assert (third["retained"], third["orders"], third["margin"]) == (1, 1, 20)

    # leaves in the next quarter after an order: its margin does not count
    leaver = row(panel, 1, "2025Q2")
    assert (leaver["orders_now"], leaver["orders_before"], leaver["periods_since_order"]) == (0, 1, 1)
    assert leaver[["retained", "orders", "revenue", "margin"]].tolist() == [0, 0, 0, 0]

    # answers and leaves in the same quarter, never bought: stays in, with retained 0
    same_quarter = row(panel, 2, "2025Q2")
    assert same_quarter[["retained", "orders", "margin"]].tolist() == [0, 0, 0]
    assert (same_quarter["tenure"], same_quarter["periods_since_order"], same_quarter["margin_now"]) == (0, 1, 0)


def test_logs_of_history_follow_their_columns(panel: Panel) -> None:
    rows = panel.rows
    assert rows["log_tenure"].to_numpy() == pytest.approx(np.log1p(rows["tenure"]))
    assert rows["log_orders_now"].to_numpy() == pytest.approx(np.log1p(rows["orders_now"]))
    signs = np.sign(rows["margin_now"])
    assert (np.sign(rows["log_margin_now"]) == signs).all()


def test_base_counts_everybody_at_risk(panel: Panel) -> None:
    base = panel.base
    retained = base[base["column"] == "retained"].set_index("period")
    # 2025Q1: A and B; Q2: A and B (C joined and left within it); Q3: A (B left within it)
    assert retained["n"].tolist() == [2, 2, 1]
    assert retained["mean"].tolist() == [1, 0.5, 1]
    margin = base[base["column"] == "margin"]
    assert margin["mean"].tolist() == [(-30 + 0) / 2, (9 + 0) / 2, 20]
    assert margin["mean_square"].tolist() == [(900 + 0) / 2, (81 + 0) / 2, 400]


def test_active_customers_with_their_last_answers(panel: Panel) -> None:
    assert panel.last_period == periods.index("2025Q4")
    (only,) = panel.active.to_dict("records")
    assert (only["last_nps"], only["nps_age"], only["last_csat"], only["csat_age"]) == (7.5, 3, 4, 1)
    assert (only["weight"], only["orders_now"], only["tenure"]) == (1, 1, 4)
    assert "customer_id" not in {*panel.rows, *panel.active, *panel.base}


def test_repurchase_rule_by_hand(tmp_path: Path) -> None:
    customers = "customer_id,joined_on\nA,2024-06-01\nB,2024-06-01\nC,2024-06-01\n"
    transactions = """transaction_id,customer_id,occurred_at,amount,margin
T1,A,2025-01-20,10,1
T2,A,2025-04-25,10,2
T3,A,2025-12-20,10,3
T4,B,2025-03-30,10,4
T5,B,2025-07-08,10,5
T6,C,2025-09-30,10,6
T7,C,2025-12-31,-10,-6
"""
    answers = [("A", 1), ("B", 1), ("A", 2), ("B", 2), ("C", 2), ("A", 3), ("B", 3), ("C", 3)]
    surveys = "response_id,customer_id,metric,score,answered_at\n" + "".join(
        f"R{number},{customer},nps,7,2025-{3 * quarter - 1:02d}-15\n"
        for number, (customer, quarter) in enumerate(answers)
    )
    panel = build_panel(
        read(tmp_path / "shop", config=REPURCHASE, customers=customers, surveys=surveys, transactions=transactions)
    )
    found = panel.rows.set_index(["customer", "period"])[["retained", "orders", "margin"]]
    first, second, third = (periods.index(f"2025Q{quarter}") for quarter in (1, 2, 3))
    # Within 100 days of the start of the next quarter; active: ordered in the 100 days before it.
    assert found.loc[(0, first)].tolist() == [1, 1, 2]
    # back on 8 July, day 99 of the window but after the quarter: stayed, without an order in it
    assert found.loc[(1, first)].tolist() == [1, 0, 0]
    # A's order of 25 April is its last within 100 days before July, the next one comes on 20 December: not back by 8 October
    assert found.loc[(0, second)].tolist() == [0, 0, 0]
    # window of 2025Q3 reaches to 8 January 2026, past the data: not known yet, its orders are
    assert np.isnan(found.loc[(2, third)]["retained"])
    assert found.loc[(2, third)][["orders", "margin"]].tolist() == [0, -6]
    assert np.isnan(found.loc[(1, third)]["retained"])
    assert found.loc[(1, second)].tolist() == [1, 1, 5]
    # not linked: A in 2025Q3 (no order in the 100 days before October), C in 2025Q2 (none so far)
    assert len(found) == 6
    assert accounts(panel, "answers")["customer not active at the end of the quarter"] == -2
    assert_accounts_sum(panel, len(answers))


def test_a_repurchase_window_shorter_than_the_quarter_covers_the_quarter(tmp_path: Path) -> None:
    config = {**CONTRACT, "retention": {"rule": "repurchase", "window_days": 20}}
    transactions = """transaction_id,customer_id,occurred_at,amount,margin
T1,A,2025-03-25,10,1
T2,A,2025-06-01,10,2
T3,A,2025-12-31,10,3
"""
    panel = build_panel(read(tmp_path / "shop", config=config, transactions=transactions))
    # back after 61 days, but within the very quarter whose margin is counted
    assert row(panel, 0, "2025Q1")[["retained", "orders", "margin"]].tolist() == [1, 1, 2]


def test_monthly_panel(shop: Tables) -> None:
    panel = build_panel(shop, period="month")
    first = row(panel, 0, "2025-02")
    assert (first["nps"], first["tenure"], first["orders_now"], first["orders_before"]) == (7.5, 3, 0, 1)
    assert first[["retained", "orders", "margin"]].tolist() == [1, 1, 18]
    assert (first["periods_since_order"], first["periods_before"]) == (1, 1)
    assert row(panel, 1, "2025-05")["retained"] == 1
    assert row(panel, 2, "2025-06")["retained"] == 0
    assert panel.glance()["last_period"].tolist() == ["2025-12"]


# Strictly before


def test_no_row_knows_later_answers_or_orders(tmp_path: Path, panel: Panel) -> None:
    """Everything dated after the outcome's quarter may change: earlier rows stay as they are."""
    later = TRANSACTIONS + "".join(
        f"U{number},{customer},2025-1{number % 3}-0{1 + number},{1000 * number},{500 * number}\n"
        for number, customer in enumerate("AABA", start=1)
    )
    surveys = SURVEYS + "S1,A,nps,0,2025-10-02\nS2,A,csat,1,2025-12-02\nS3,A,nps,0,2025-07-02\n"
    after = build_panel(read(tmp_path / "after", transactions=later, surveys=surveys))
    cut = periods.index("2025Q2")
    # the scale of the logged margins is learnt from the whole company; what it scales is compared
    columns = [column for column in panel.rows if not column.startswith("log_margin")]
    kept = [frame.loc[frame["period"] <= cut, columns] for frame in (panel.rows, after.rows)]
    assert len(kept[0]) == 3
    pd.testing.assert_frame_equal(*kept)


def test_an_answer_of_the_outcome_quarter_never_enters(tmp_path: Path) -> None:
    surveys = "response_id,customer_id,metric,score,answered_at\nR1,A,nps,9,2025-03-31 23:59:59\nR2,A,nps,0,2025-04-01 00:00:00\n"
    panel = build_panel(read(tmp_path / "shop", surveys=surveys))
    assert row(panel, 0, "2025Q1")["nps"] == 9
    assert row(panel, 0, "2025Q2")["nps"] == 0


# Accounting


def test_every_answer_is_accounted_for(tmp_path: Path) -> None:
    surveys = """response_id,customer_id,metric,score,answered_at,touchpoint
R1,A,nps,9,2025-02-01,
R2,A,nps,6,2025-02-20,
R3,A,csat,4,2025-02-21,support
R4,A,nps,1,2025-02-22,support
R5,A,nps,,,
R6,B,nps,3,2025-11-01,
R7,C,nps,3,2025-02-01,
R8,A,nps,3,2025-11-01,
R9,B,ces,3,2025-05-01,shop
S1,A,csat,3,2024-11-25,
"""
    config = {**CONTRACT, "accept": {"surveys": {"before_joining": "drop", "after_leaving": "drop"}}}
    tables = read(tmp_path / "shop", surveys=surveys, config=config)
    panel = build_panel(tables)
    losses = tables.accounting[tables.accounting["table"] == "surveys"].set_index("reason")["rows"]
    assert losses.to_dict() == {"read": 10, "before_joining": 1, "after_leaving": 1, "kept": 8}
    assert accounts(panel, "answers") == {
        "read": 8,
        "answered before the transactions begin": -1,
        "invited, no answer": -1,
        "nps of a touchpoint beside relationship nps": -1,
        "outcome period not over yet": -1,
        "kept": 4,
    }
    assert accounts(panel, "panel") == {
        "merged with another answer of the same customer and quarter": -2,
        "rows": 2,
    }
    assert_accounts_sum(panel, 8)


def test_touchpoint_nps_counts_where_there_is_no_other(tmp_path: Path) -> None:
    surveys = "response_id,customer_id,metric,score,answered_at,touchpoint\nR1,A,nps,9,2025-02-01,support\n"
    panel = build_panel(read(tmp_path / "shop", surveys=surveys))
    assert panel.rows["nps"].tolist() == [9]
    assert_accounts_sum(panel, 1)


def test_accounting_of_the_sample_company(sample: Path) -> None:
    tables = read_tables(sample)
    panel = build_panel(tables)
    kept = tables.accounting.query("table == 'surveys' and reason == 'kept'")["rows"].item()
    assert_accounts_sum(panel, int(kept))


def test_accounting_without_surveys(tmp_path: Path) -> None:
    panel = build_panel(read(tmp_path / "shop", surveys=None, config={**CONTRACT, "tables": {"surveys": "none"}}))
    assert accounts(panel, "panel")["rows"] == 5
    assert len(panel.rows) == 5
    assert panel.metrics == ()
    assert not {"nps", "csat", "ces"} & {*panel.rows}


# Refusals and edges


def test_an_unfinished_quarter_is_refused(tmp_path: Path) -> None:
    tables = read(tmp_path / "shop", transactions=TRANSACTIONS.replace("2025-12-30", "2025-11-30"))
    assert build_panel(tables).last_period == periods.index("2025Q3")
    sentence = (
        "the last quarter must be over in the data; 2025Q4 ends on 2025-12-31 and the last event is dated 2025-11-30. "
        "Ask for 2025Q3 or wait for the rest of the data."
    )
    with pytest.raises(InputError) as refused:
        build_panel(tables, last_period="2025Q4")
    assert str(refused.value) == sentence


def test_a_quarter_counts_as_over_within_its_last_week(tmp_path: Path) -> None:
    for day, last in (("2025-12-24", "2025Q4"), ("2025-12-23", "2025Q3")):
        tables = read(tmp_path / day, transactions=TRANSACTIONS.replace("2025-12-30", day))
        assert build_panel(tables).last_period == periods.index(last)


def test_one_period_of_outcomes_is_enough(shop: Tables) -> None:
    panel = build_panel(shop, last_period="2025Q2")
    assert panel.base["period"].unique().tolist() == [periods.index("2025Q1")]
    assert row(panel, 0, "2025Q1")["retained"] == 1
    assert panel.last_period == periods.index("2025Q2")
    assert panel.rows["period"].tolist() == [periods.index("2025Q1")]
    assert accounts(panel, "answers")["outcome period not over yet"] == -3
    assert len(panel.active) == 2  # A and B


def test_no_answer_before_an_outcome_is_refused(tmp_path: Path) -> None:
    surveys = "response_id,customer_id,metric,score,answered_at\nR1,A,nps,9,2025-11-01\n"
    with pytest.raises(InputError, match=r"answers followed by a complete quarter of outcomes; none is left"):
        build_panel(read(tmp_path / "shop", surveys=surveys))


def test_customers_without_transactions_stay_in(tmp_path: Path) -> None:
    transactions = "transaction_id,customer_id,occurred_at,amount,margin\nT1,A,2025-01-11,1,1\nT2,A,2025-12-31,1,1\n"
    panel = build_panel(read(tmp_path / "shop", transactions=transactions))
    never = row(panel, 1, "2025Q2")
    assert (never["orders_now"], never["orders_before"], never["margin"], never["periods_since_order"]) == (0, 0, 0, 2)


ODD_NAMES = ["a b; import os", "x`y", 'he said "x"', "tuổi", "class", "log", "C", "services", "foo_answers", "mean"]


def test_controls_may_have_any_name(tmp_path: Path) -> None:
    quoted = ",".join('"' + name.replace('"', '""') + '"' for name in ODD_NAMES)
    filled = (",".join(str(10 * number + digit) for digit in range(len(ODD_NAMES))) for number in (1, 3))
    first, last = filled
    customers = with_column(quoted, (first, "," * (len(ODD_NAMES) - 1), last))
    tables = read(tmp_path / "shop", customers=customers, config={**CONTRACT, "controls": ODD_NAMES})
    panel = build_panel(tables)
    assert panel.controls == tuple(ODD_NAMES)
    for digit, name in enumerate(ODD_NAMES):
        assert panel.rows[name].tolist()[0] == 10 + digit
        assert np.isnan(panel.rows[name].tolist()[2])  # no value for B, and none is made up
    assert row(panel, 0, "2025Q1")["nps"] == 7.5
    assert_same(panel, build_panel(tables.collect()))


def test_controls_with_the_panels_own_names_are_refused(shop: Tables) -> None:
    for name in ("nps", "NPS", "period", "tenure", "retained", "margin", "last_nps", "customer", "left", "customer_id"):
        with pytest.raises(InputError, match=f"must not have the name of a column of the panel; {name} has"):
            build_panel(replace(shop, controls=(name,)))


def test_vietnamese_categories_and_gaps(tmp_path: Path) -> None:
    customers = """customer_id,joined_on,left_on,vùng,tuổi
A,2024-11-20,,Đà Nẵng,
B,2025-01-10,2025-08-05,"Bà Rịa; <b>Vũng Tàu",41
C,2025-05-05,2025-06-20,,30
"""
    config = {**CONTRACT, "controls": ["vùng", "tuổi"], "segments": ["vùng"]}
    tables = read(tmp_path / "shop", customers=customers, config=config)
    panel = build_panel(tables)
    assert panel.rows["vùng"].astype("object").tolist()[::2] == ["Đà Nẵng", "Bà Rịa; <b>Vũng Tàu"]
    assert panel.rows["vùng"].isna().tolist() == [False, False, False, True]
    assert panel.rows["tuổi"].isna().tolist() == [True, True, False, False]
    levels = panel.base[(panel.base["column"] == "vùng") & (panel.base["period"] == periods.index("2025Q1"))]
    assert dict(zip(levels["level"], levels["mean"], strict=True)) == {"Đà Nẵng": 0.5, "Bà Rịa; <b>Vũng Tàu": 0.5}
    ages = panel.base[(panel.base["column"] == "tuổi")].set_index("period")
    assert ages.loc[periods.index("2025Q2"), ["n", "mean"]].tolist() == [1, 41]
    assert_same(panel, build_panel(tables.collect()))


# Referrals and cost to serve: outcomes where their tables are

REFERRALS = """referrer_id,referred_id,occurred_at
A,B,2025-05-10
A,C,2025-06-01
B,C,2025-06-02
C,C,2025-04-02
B,D,2025-07-01
"""
TOUCHES = """customer_id,occurred_at,touchpoint,channel,cost
A,2025-04-03,support,phone,10
A,2025-06-30,support,phone,
B,2025-07-15,support,phone,30
A,2025-12-01,store,,
A,2025-12-02,support,,7
"""
FOUR = CUSTOMERS + "D,2025-07-01,\n"


def test_referrals_and_cost_of_touches_by_hand(tmp_path: Path) -> None:
    """A brings B and C (named by A first; nobody brings himself); a call without a cost costs as much as a usual call."""
    tables = read(tmp_path / "shop", customers=FOUR, referrals=REFERRALS, touches=TOUCHES)
    panel = build_panel(tables)
    assert panel.outcomes == ("retained", "orders", "revenue", "margin", "referrals", "service_cost")
    first, leaver, third = row(panel, 0, "2025Q1"), row(panel, 1, "2025Q2"), row(panel, 0, "2025Q3")
    assert (first["referrals"], first["service_cost"]) == (2, 10 + 20)
    assert (leaver["referrals"], leaver["service_cost"]) == (
        0,
        0,
    )  # left in 2025Q3: what he still brought and cost is not counted
    # visits of the store have no stated cost at all: they are left out
    assert (third["referrals"], third["service_cost"]) == (0, 7)
    base = panel.base[panel.base["column"] == "service_cost"].set_index("period")
    assert base["mean"].tolist() == [30 / 2, 0, 7 / 2]  # A and B; A and B; A and D
    assert {"referrals", "service_cost"}.isdisjoint(panel.active)
    assert_same(panel, build_panel(tables.collect()))


def test_referrals_before_their_records_begin_are_unknown_and_without_a_table_there_are_none(
    tmp_path: Path, panel: Panel
) -> None:
    late = "referrer_id,referred_id,occurred_at\nA,C,2025-07-03\n"
    known = build_panel(
        read(tmp_path / "late", referrals=late, touches="customer_id,occurred_at,touchpoint\nA,2025-04-03,support\n")
    )
    assert np.isnan(row(known, 0, "2025Q1")["referrals"])
    assert row(known, 1, "2025Q2")["referrals"] == 0
    assert known.base.loc[known.base["column"] == "referrals", "n"].tolist() == [0, 2, 1]
    assert "service_cost" not in known.rows  # touches without any stated cost
    assert panel.outcomes == ("retained", "orders", "revenue", "margin")
    assert {"referrals", "service_cost"}.isdisjoint(panel.rows)


def test_referrals_and_service_cost_of_a_table_of_outcomes(tmp_path: Path) -> None:
    """As they stand, and 0 for whoever left."""
    lines = zip(OUTCOMES.splitlines(), ("referrals,service_cost", "1,50", "0,20", "2,80", "0,"), strict=True)
    aggregated = read(tmp_path / "shop", transactions=None, outcomes="\n".join(map(",".join, lines)) + "\n")
    panel = build_panel(aggregated)
    assert panel.outcomes[-2:] == ("referrals", "service_cost")
    assert panel.rows["referrals"].tolist() == [1, 0, 0]
    assert panel.rows["service_cost"].tolist()[:2] == [50, 0]
    assert np.isnan(panel.rows["service_cost"].iloc[2])
    assert_same(panel, build_panel(aggregated.collect()))


# Outcomes instead of transactions


OUTCOMES = """customer_id,period_start,period_end,retained,orders,revenue,margin
A,2025-04-01,2025-06-30,1,2,100,30
A,2025-07-01,2025-09-30,1,1,50,15
B,2025-07-01,2025-09-30,0,3,60,20
C,2025-07-01,2025-09-30,1,0,0,0
"""


def from_outcomes(folder: Path, surveys: str) -> Panel:
    return build_panel(read(folder, surveys=surveys, transactions=None, outcomes=OUTCOMES))


def test_outcomes_with_answers_before(tmp_path: Path) -> None:
    panel = from_outcomes(tmp_path / "shop", SURVEYS)
    assert panel.timing == "before"
    assert panel.outcome_days in (91, 92)  # quarters
    # R1 and R2 speak for A's first period only, R3 and R4 for the second; R5 lies inside it
    assert panel.rows[["customer", "nps", "retained", "orders", "margin"]].to_numpy().tolist() == [
        [0, 7.5, 1, 2, 30],
        [1, 4, 0, 0, 0],
        [2, 5, 1, 0, 0],
    ]
    assert accounts(panel, "answers") == {"read": 5, "no outcome period for this answer": -1, "kept": 4}
    assert_accounts_sum(panel, 5)


def test_outcomes_with_answers_inside(tmp_path: Path) -> None:
    surveys = (
        "response_id,customer_id,metric,score,answered_at\nR1,A,nps,9,2025-09-30 18:00:00\nR2,B,nps,2,2025-08-01\n"
    )
    panel = from_outcomes(tmp_path / "shop", surveys)
    assert panel.timing == "inside"
    assert panel.rows[["nps", "retained"]].to_numpy().tolist() == [[9, 1], [2, 0]]
    assert_accounts_sum(panel, 2)


def test_outcomes_with_undated_answers(tmp_path: Path) -> None:
    surveys = "response_id,customer_id,metric,score\nR1,A,nps,9\nR2,B,nps,2\nR3,C,nps,\n"
    panel = from_outcomes(tmp_path / "shop", surveys)
    assert panel.timing == "undated"
    assert len(panel.rows) == 3  # A's one answer stands beside both of its periods
    assert accounts(panel, "answers") == {"read": 3, "invited, no answer": -1, "kept": 2}
    assert accounts(panel, "panel") == {"the same answer for further outcome periods": 1, "rows": 3}


def test_outcomes_need_surveys_of_the_same_customers(tmp_path: Path) -> None:
    surveys = "response_id,customer_id,metric,score,answered_at\nR1,A,nps,9,2025-12-01\n"
    with pytest.raises(InputError, match="answers of customers that are in outcomes; none is left"):
        from_outcomes(tmp_path / "shop", surveys)


# Names that engines would read as something else, and nothing left to link


@pytest.mark.parametrize("name", ["gói.cước", "plan; drop", 'a "quoted" one'])
def test_a_control_may_have_any_name(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    tables = read(
        tmp_path / "c", customers=with_column(quoted, ("x", "y", "x")), config={**CONTRACT, "controls": [name]}
    )
    panel = build_panel(tables)
    assert_same(panel, build_panel(tables.collect()))
    levels = panel.base[panel.base["column"] == name]
    assert set(levels["level"]) == {"x", "y"}


def test_nothing_left_is_said(tmp_path: Path) -> None:
    no_scores = SURVEYS.replace(",9,", ",,").replace(",6,", ",,").replace(",4,", ",,").replace(",5,", ",,")
    with pytest.raises(InputError, match="no row of surveys that is left holds a score"):
        build_panel(read(tmp_path / "silent", surveys=no_scores))
    strangers = TRANSACTIONS.replace(",A,", ",X,").replace(",B,", ",Y,")
    accepted = {**CONTRACT, "accept": {"transactions": {"unknown_customer": "drop"}}}
    with pytest.raises(InputError, match="none is left of those that were read"):
        build_panel(read(tmp_path / "strangers", transactions=strangers, config=accepted))
