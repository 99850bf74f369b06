"""Purchase histories: by hand on a company small enough to count, and CDNOW's published summary from its log."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxroi.errors import InputError
from cxroi.tables import Tables, read_tables
from cxroi.value import histories
from cxroi.value.histories import (
    PurchaseHistories,
    purchase_histories,
    purchase_histories_of,
    purchases_by_period,
)

UNTIL = dt.date(2026, 3, 2)
CUSTOMERS = """customer_id,joined_on,plan,age
1,2025-12-01,gold,31
2,2025-12-01,gold,32
3,2025-12-01,,33
4,2025-12-01,basic,34
5,2025-12-01,basic,35
6,2025-12-01,basic,36
"""
# 1: two orders on one day count once; a refund of the next day is netted. 2: a free order is a purchase. 3: one purchase; its refund is no
# second one. 4: a refund before the first purchase does not start the clock; its only repeat is lost to refunds. 5: buys after the end.
TRANSACTIONS = """transaction_id,customer_id,occurred_at,amount,margin
a1,1,2026-01-05T09:00:00,100,30
a2,1,2026-01-19T08:00:00,50,10
a3,1,2026-01-19T20:00:00,70,20
a4,1,2026-01-20T12:00:00,-20,-6
a5,1,2026-02-02T23:59:59,40,12
b1,2,2026-01-05T10:00:00,0,0
b2,2,2026-01-12T10:00:00,10,5
c1,3,2026-02-02T10:00:00,90,33
c2,3,2026-02-10T10:00:00,-90,-33
d0,4,2026-01-01T10:00:00,-15,-4
d1,4,2026-01-10T10:00:00,60,18
d2,4,2026-01-11T10:00:00,60,18
d3,4,2026-01-12T10:00:00,-60,-20
e1,5,2026-03-03T10:00:00,60,18
e2,5,2026-03-09T10:00:00,60,18
"""


def company(folder: Path) -> Tables:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
    (folder / "transactions.csv").write_text(TRANSACTIONS, encoding="utf-8")
    (folder / "dataset.yaml").write_text(
        "currency: EUR\nretention: {rule: repurchase, window_days: 60}\nsegments: [plan]\ntables: {surveys: none}\n",
        encoding="utf-8",
    )
    return read_tables(folder)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return company(tmp_path_factory.mktemp("histories") / "company")


def counted(found: PurchaseHistories | str) -> PurchaseHistories:
    assert isinstance(found, PurchaseHistories), found
    return found


@pytest.mark.parametrize("engine", ["duckdb", "pandas"])
def test_by_hand(tables: Tables, engine: str) -> None:
    found = counted(
        purchase_histories(tables if engine == "duckdb" else tables.collect(), unit_days=1, until=UNTIL, by="plan")
    )
    expected = pd.DataFrame(
        [
            ("(missing)", 0, 0.0, 28.0, 1, 0.0),
            ("basic", 1, 1.0, 51.0, 1, -2.0),
            ("gold", 1, 7.0, 56.0, 1, 5.0),
            ("gold", 2, 28.0, 56.0, 1, 36.0),
        ],
        columns=["level", "frequency", "recency", "age", "customers", "repeat_margin"],
    )
    pd.testing.assert_frame_equal(found.table, expected.astype({"level": object}))
    assert found.spend[["frequency", "mean_margin", "customers"]].to_numpy().tolist() == [[1, 5.0, 1], [2, 18.0, 1]]
    first = found.first.set_index("level")
    assert first.loc["gold", ["customers", "mean", "mean_square"]].tolist() == [2, 15.0, 450.0]
    assert dict(found.accounting.to_numpy().tolist()) == {
        "seen": 4,
        "one purchase only": 1,
        "repeat customers with a positive mean margin": 2,
        "repeat customers without one, left out of the fit of spend": 1,
    }
    assert found.currency == "EUR"


def test_levels_merge_to_those_of_all(tables: Tables) -> None:
    by_plan = counted(purchase_histories(tables, until=UNTIL, by="plan"))
    whole = counted(purchase_histories(tables, until=UNTIL))
    merged = by_plan.of_level("all")
    pd.testing.assert_frame_equal(merged.table, whole.table)
    assert merged.first["mean"].iloc[0] == pytest.approx(whole.first["mean"].iloc[0], rel=1e-12)
    assert sum(by_plan.of_level(level).customers for level in by_plan.levels) == whole.customers
    with pytest.raises(InputError, match="level must be one of"):
        by_plan.of_level("silver")


def test_weeks_are_days_over_seven_and_until_is_the_last_day_of_the_data(tables: Tables) -> None:
    found = counted(purchase_histories(tables))
    assert found.until == dt.date(2026, 3, 9)
    assert found.table["age"].max() == pytest.approx(63 / 7)
    assert found.customers == 5  # the fifth customer has bought by then


def test_purchases_by_period_by_hand(tables: Tables) -> None:
    for each in (tables, tables.collect()):
        found = purchases_by_period(each, seen_until=dt.date(2026, 1, 31), period="month")
        rows = [tuple(row) for row in found[["part", "purchases", "margin"]].to_numpy().tolist()]
        # January: 1 buys once more, 2 once, 4 once, refunds netted; February: 1 once. 3 and 5 were not seen by then.
        assert rows == [("calibration", 3, 24.0 + 5.0 - 2.0), ("holdout", 1, 12.0)]


def test_sample_of_customers_stands_for_all(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST_CUSTOMERS", 3)
    found = counted(purchase_histories(tables, until=UNTIL))
    assert found.every == 2
    assert found.customers == 2  # the first, third and fifth of six; the fifth has not bought yet
    assert found.glance()["customers"].iloc[0] == 4


def test_many_histories_are_rounded_to_units(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = counted(purchase_histories(tables, until=UNTIL)).table
    monkeypatch.setattr(histories, "MOST_HISTORIES", 1)
    near = counted(purchase_histories(tables, until=UNTIL)).table
    assert ((near["age"] - near["recency"]) % 1 == 0).all()
    assert near["customers"].sum() == exact["customers"].sum()
    assert near["repeat_margin"].sum() == exact["repeat_margin"].sum()
    assert ((near["recency"] > 0) == (near["frequency"] > 0)).all()
    for column in ("recency", "age"):
        mean = [np.average(table[column], weights=table["customers"]) for table in (near, exact)]
        assert abs(mean[0] - mean[1]) <= 1.0  # units: half a unit a time at most


@pytest.mark.parametrize("column", ["customer_id", "joined_on", "colour"])
def test_column_that_does_not_group_is_refused(tables: Tables, column: str) -> None:
    with pytest.raises(InputError, match="by must be a column of customers that groups them"):
        purchase_histories(tables, by=column)


def test_column_with_too_many_values_is_refused(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST_LEVELS", 2)
    with pytest.raises(InputError, match="at most 2 values; age has 4"):
        purchase_histories(tables, until=UNTIL, by="age")


def test_arguments_out_of_range(tables: Tables) -> None:
    with pytest.raises(InputError, match="unit_days must lie"):
        purchase_histories(tables, unit_days=0)
    with pytest.raises(InputError, match="must not lie after the last day of the data"):
        purchase_histories(tables, until=dt.date(2026, 3, 10))
    assert "no purchases up to" in str(purchase_histories(tables, until=dt.date(2026, 1, 1)))


def test_summary_is_compressed_and_loses_nothing() -> None:
    one = pd.DataFrame({"x": [2, 0, 2], "t_x": [3.0, 0, 3.0], "T": [9.0, 9, 9], "mean_margin": [10.0, 0, 20.0]})
    found = purchase_histories_of(pd.concat([one] * 7, ignore_index=True))
    assert found.table[["frequency", "customers", "repeat_margin"]].to_numpy().tolist() == [[0, 7, 0], [2, 14, 420]]
    assert found.glance()["repeat_purchases"].iloc[0] == 28
    weighted = purchase_histories_of(one.assign(customers=7))
    pd.testing.assert_frame_equal(found.table, weighted.table)


@pytest.mark.parametrize(
    ("x", "t_x", "age"),
    [(1, 0.0, 9.0), (0, 1.0, 9.0), (1, 10.0, 9.0), (-1, 0.0, 9.0), (1.5, 2.0, 9.0), (1, 2.0, np.nan)],
)
def test_impossible_history_is_refused(x: float, t_x: float, age: float) -> None:
    with pytest.raises(InputError, match="a history must have"):
        purchase_histories_of(pd.DataFrame({"x": [x], "t_x": [t_x], "T": [age]}))


def test_summary_without_a_column_is_refused() -> None:
    with pytest.raises(InputError, match="T is missing"):
        purchase_histories_of(pd.DataFrame({"x": [1], "t_x": [1.0]}))
    with pytest.raises(InputError, match="empty"):
        purchase_histories_of(pd.DataFrame({"x": [], "t_x": [], "T": []}))


# ------------------------------------------------------------------------------------------------------------- real data


@pytest.fixture(scope="module")
def cdnow(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The CDNOW log as a data set; its published tenth is marked in ``segment``."""
    folder = tmp_path_factory.mktemp("cdnow")
    log = pd.read_parquet(realdata / "cdnow" / "cdnow_master.parquet")
    log = log.rename(columns={"date": "occurred_at", "dollar_value": "amount"}).reset_index(names="transaction_id")
    log[["transaction_id", "customer_id", "occurred_at", "amount"]].to_parquet(folder / "transactions.parquet")
    sample = pd.read_csv(realdata / "cdnow" / "cdnow_sample_elog.csv.gz")["masterid"].unique()
    customers = log.groupby("customer_id", as_index=False).agg(joined_on=("occurred_at", "min"))
    chosen = customers["customer_id"].astype(int).isin(sample)
    customers.assign(segment=np.where(chosen, "tenth", "rest")).to_parquet(folder / "customers.parquet")
    (folder / "dataset.yaml").write_text(
        "currency: USD\nmargin_rate: 1.0\nretention: {rule: repurchase, window_days: 180}\nsegments: [segment]\n"
        "accept: {transactions: {repeated_rows: keep}}\ntables: {surveys: none}\n",
        encoding="utf-8",
    )
    return read_tables(folder)


@pytest.mark.realdata
def test_published_summary_comes_out_of_the_log(cdnow: Tables, realdata: Path) -> None:
    """Fader & Hardie's tenth: 2,357 customers, 2,457 repeat purchases, the same frequency, recency and age for everybody."""
    found = counted(purchase_histories(cdnow, until=dt.date(1997, 9, 30), by="segment")).of_level("tenth")
    published = pd.read_csv(realdata / "cdnow" / "cdnow_sample_cbs.csv").rename(columns={"T_cal": "T"})
    summary = purchase_histories_of(published)
    columns = ["frequency", "recency", "age", "customers"]
    np.testing.assert_allclose(found.table[columns].to_numpy(), summary.table[columns].to_numpy(), atol=1e-9)
    assert found.glance()[["customers", "repeat_purchases"]].iloc[0].tolist() == [2357, 2457]
    spent = pd.read_csv(realdata / "cdnow" / "cdnow_sample_summary_with_spend.csv").query("x > 0")
    # published means are rounded to cents
    assert found.table["repeat_margin"].sum() == pytest.approx((spent["x"] * spent["zbar"]).sum(), rel=1e-4)
    assert found.spend["customers"].sum() == 946


@pytest.mark.realdata
def test_held_out_purchases_of_the_published_tenth(cdnow: Tables, realdata: Path) -> None:
    """All 23,570 customers were seen before October 1997; what they bought then stands in the log by day."""
    found = purchases_by_period(cdnow, seen_until=dt.date(1997, 9, 30))
    log = pd.read_parquet(realdata / "cdnow" / "cdnow_master.parquet")
    days = log[log["date"] > "1997-09-30"].groupby(["customer_id", "date"]).size()
    assert found[found["part"] == "holdout"]["purchases"].sum() == len(days)
    later = log[log["date"] > "1997-09-30"]["dollar_value"].sum()
    assert found[found["part"] == "holdout"]["margin"].sum() == pytest.approx(later, rel=1e-9)
