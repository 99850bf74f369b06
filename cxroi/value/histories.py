"""Purchase histories of customers, compressed: how many share the same frequency, recency and age.

The clock of a customer starts on the day of the first purchase. A day with at least one row that is not a refund is one
purchase, however many orders it has; refunds are netted in the margin. Everything is counted in the engine; what is
fetched has a row per distinct history, so that a likelihood costs as much as there are distinct histories.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from cxroi import periods
from cxroi.errors import InputError
from cxroi.panel import BASE_CUSTOMERS, period_of
from cxroi.tables import Tables

Frame = nw.LazyFrame[Any]

EVERYBODY, NOT_STATED = "all", "(missing)"
MOST_CUSTOMERS = BASE_CUSTOMERS  # above, a systematic sample of about this many
MOST_HISTORIES = 50_000  # above, times are rounded to whole units
MOST_LEVELS = 50
MONEY_DIGITS = 4  # sums of money are rounded so that the order of summation cannot show
SPEND_BINS = 500.0  # of the logarithm of a mean margin: bins of 0.2 %
NOT_A_LEVEL = ("customer_id", "account_id", "joined_on", "left_on", "acquisition_cost", "consent")
EPOCH, MINUTES_OF_A_DAY = dt.datetime(1970, 1, 1), 1440


@dataclass(frozen=True, eq=False, repr=False)
class PurchaseHistories:
    """Customers by frequency, recency and age.

    Attributes
    ----------
    table : DataFrame
        ``level, frequency`` (repeat purchases, days), ``recency`` (first to last purchase), ``age`` (first purchase to ``until``; both in
        units of ``unit_days``), ``customers`` (count), ``repeat_margin`` (currency, all these customers' margin after their first day).
    spend : DataFrame
        Of repeat customers with a positive mean: ``level, frequency, mean_margin`` (currency per repeat purchase), ``customers``; bins
        of 0.2 %.
    first : DataFrame
        ``level, customers, mean, mean_square`` of the margin of the first purchase day (currency).
    accounting : DataFrame
        ``reason, customers``: seen, with one purchase only, repeat customers with a positive mean margin, and those without,
        who are left out of ``spend`` only.
    every : int
        Each customer here stands for so many.
    """

    table: pd.DataFrame
    spend: pd.DataFrame
    first: pd.DataFrame
    accounting: pd.DataFrame
    unit_days: float
    until: dt.date | None = None
    by: str | None = None
    currency: str = ""
    every: int = 1

    def __repr__(self) -> str:
        return repr(self.table)

    @property
    def customers(self) -> int:
        """Number of customers counted (before multiplying by ``every``)."""
        return int(self.table["customers"].sum())

    @property
    def levels(self) -> list[str]:
        """Levels of ``by``, sorted; ``all`` where there are none."""
        return sorted(self.table["level"].unique())

    def tidy(self) -> pd.DataFrame:
        """One row per distinct history."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """One row: customers, distinct histories, repeat purchases, share with a repeat purchase, oldest age."""
        count = self.table["customers"]
        return pd.DataFrame(
            {
                "customers": [self.customers * self.every],
                "distinct_histories": [len(self.table)],
                "repeat_purchases": [int((count * self.table["frequency"]).sum()) * self.every],
                "repeat_share": [float(count[self.table["frequency"] > 0].sum() / count.sum())],
                "longest_age": [float(self.table["age"].max())],
                "unit_days": [self.unit_days],
            }
        )

    def of_level(self, level: str) -> PurchaseHistories:
        """The histories of one level; ``all`` gives those of everybody, levels merged."""
        if level == EVERYBODY:
            return _merged(self)
        if level not in self.levels:
            raise InputError(f"level must be one of {', '.join(self.levels)}; got {level!r}")

        def part(frame: pd.DataFrame) -> pd.DataFrame:
            return frame[frame["level"] == level].reset_index(drop=True)

        counted, spent = part(self.table), part(self.spend)
        return replace(self, table=counted, spend=spent, first=part(self.first), accounting=_accounting(counted, spent))


def purchase_histories(
    tables: Tables, *, unit_days: int = 7, until: dt.date | None = None, by: str | None = None
) -> PurchaseHistories | str:
    """Count customers by frequency, recency and age, from transactions.

    Parameters
    ----------
    tables : Tables
    unit_days : int
        Length of the unit of time; 7 is weeks. Days are kept, so an age of 272 days is 38.857 weeks.
    until : date, optional
        Last day that counts; by default the last day of the data.
    by : str, optional
        A column of customers: a segment, ``acquisition_channel``, ``brand``.

    Returns
    -------
    PurchaseHistories or str
        The reason in words where there are no transactions.

    Raises
    ------
    InputError
        If the unit, the day or the column cannot be used.

    Notes
    -----
    Above 250,000 customers a systematic sample of them is counted and ``every`` says for how many each stands. Above 50,000 distinct
    histories, times are rounded to whole units (an error of at most half a unit, zero on average).
    """
    if tables.transactions is None or tables.data_end is None:
        return "the data have no transactions"
    if isinstance(unit_days, bool) or not 1 <= unit_days <= 366:
        raise InputError(f"unit_days must lie in 1..366; got {unit_days!r}, e.g. 7 for weeks")
    last = tables.data_end if until is None else until
    if last > tables.data_end:
        raise InputError(f"until must not lie after the last day of the data, {tables.data_end}; got {last}")
    every = sampled_every(tables)
    each = tables.materialise(_each_customer(tables, last, every, by))
    counts = _fetched(_counted(each), ["level", "frequency", "recency", "age"])
    if counts.empty:
        return f"the data have no purchases up to {last}"
    if len(counts) > MOST_HISTORIES:
        counts = _fetched(_counted(_rounded(each, unit_days)), ["level", "frequency", "recency", "age"])
    check_levels(counts["level"].nunique(), by)
    table = counts.assign(
        recency=counts["recency"] / unit_days,
        age=counts["age"] / unit_days,
        repeat_margin=counts["repeat_margin"].round(MONEY_DIGITS),
    )
    spend = _fetched(_spend(each), ["level", "frequency", "bin"]).drop(columns="bin")
    return PurchaseHistories(
        table=table,
        spend=spend,
        first=_first(each),
        accounting=_accounting(table, spend),
        unit_days=unit_days,
        until=last,
        by=by,
        currency=tables.config.currency or "",
        every=every,
    )


def purchase_histories_of(frame: pd.DataFrame, *, unit_days: float = 7.0) -> PurchaseHistories:
    """Compress a summary with one row a customer, as books and other programs print it.

    Parameters
    ----------
    frame : DataFrame
        ``x`` (repeat purchases), ``t_x`` (recency), ``T`` (age), in one unit of time; optionally ``customers`` (that a row stands for) and
        ``mean_margin`` (currency per repeat purchase).
    unit_days : float
        Days of that unit.

    Returns
    -------
    PurchaseHistories

    Raises
    ------
    InputError
        If a column is missing or a history is impossible.

    Examples
    --------
    >>> found = purchase_histories_of(pd.DataFrame({"x": [1, 0, 1], "t_x": [2.0, 0.0, 2.0], "T": [9.0, 9.0, 9.0]}))
    >>> found.table[["frequency", "recency", "age", "customers"]].to_numpy().tolist()
    [[0.0, 0.0, 9.0, 1.0], [1.0, 2.0, 9.0, 2.0]]
    """
    missing = [name for name in ("x", "t_x", "T") if name not in frame]
    if missing:
        raise InputError(f"a summary must have the columns x, t_x and T; {', '.join(missing)} is missing")
    x, t_x, age = (frame[name].to_numpy(dtype=np.float64) for name in ("x", "t_x", "T"))
    if not len(frame):
        raise InputError("a summary must hold at least one customer; it is empty")
    possible = (x >= 0) & (x == np.floor(x)) & (t_x >= 0) & (t_x <= age) & ((x > 0) == (t_x > 0)) & np.isfinite(age)
    if not possible.all():
        place = int(np.argmin(possible))
        raise InputError(
            "a history must have a whole x of at least 0, 0 <= t_x <= T, and t_x = 0 exactly where x = 0; "
            f"{int((~possible).sum())} rows have not (first: x {x[place]:g}, t_x {t_x[place]:g}, T {age[place]:g})"
        )
    customers = frame["customers"].to_numpy(dtype=np.float64) if "customers" in frame else np.ones(len(frame))
    mean = frame["mean_margin"].to_numpy(dtype=np.float64) if "mean_margin" in frame else np.zeros(len(frame))
    each = pd.DataFrame(
        {"frequency": x, "recency": t_x, "age": age, "customers": customers, "repeat_margin": customers * x * mean}
    )
    table = each.groupby(["frequency", "recency", "age"], as_index=False, sort=True).sum()
    table.insert(0, "level", pd.Series([EVERYBODY] * len(table), dtype=object))
    spent = (x > 0) & (mean > 0)
    spend = pd.DataFrame(
        {"level": EVERYBODY, "frequency": x[spent], "mean_margin": mean[spent], "customers": customers[spent]}
    )
    table = table.astype({"customers": np.int64})
    return PurchaseHistories(
        table=table,
        spend=spend,
        first=pd.DataFrame(columns=["level", "customers", "mean", "mean_square"]),
        accounting=_accounting(table, spend),
        unit_days=unit_days,
    )


def purchases_by_period(tables: Tables, *, seen_until: dt.date, period: periods.Period = "quarter") -> pd.DataFrame:
    """Count repeat purchases and their margin by calendar period, of customers whose first purchase was on or before a day.

    Returns
    -------
    DataFrame
        ``period`` (index), ``part`` (``calibration`` up to that day, ``holdout`` after it), ``purchases`` (days with a purchase, the first
        one not counted), ``margin`` (currency, after the first day). Above 250,000 customers these are counts of the systematic sample.
    """
    assert tables.transactions is not None
    days = _days(tables, sampled_every(tables), None)
    cut = (seen_until - EPOCH.date()).days
    later = days.filter((nw.col("first_on") <= cut) & (nw.col("day") > nw.col("first_on"))).with_columns(
        period=period_of("date", period), held_out=nw.when(nw.col("day") > cut).then(1).otherwise(0)
    )
    counted = later.group_by("period", "held_out").agg(nw.col("bought").sum(), nw.col("margin").sum())
    found: pd.DataFrame = counted.collect("pandas").to_native()
    found = found.sort_values(["period", "held_out"], ignore_index=True)
    return pd.DataFrame(
        {
            "period": found["period"].astype(np.int64),
            "part": np.where(found["held_out"] == 1, "holdout", "calibration"),
            "purchases": found["bought"].astype(np.int64),
            "margin": found["margin"].astype(np.float64).round(MONEY_DIGITS),
        }
    )


def sampled_every(tables: Tables) -> int:
    """How many customers each one that is looked at stands for: 1 up to 250,000 customers."""
    customers = int(tables.customers.select(nw.len()).collect()["len"][0])
    return max(1, -(-customers // MOST_CUSTOMERS))


def looked_at(tables: Tables, every: int, by: str | None) -> Frame:
    """``customer_id, level`` of the customers that are looked at.

    Raises
    ------
    InputError
        If there is no such column, or it could name a person.
    """
    known = tables.customers.collect_schema().names()
    if by is not None and (by in NOT_A_LEVEL or by not in known):
        usable = ", ".join(name for name in known if name not in NOT_A_LEVEL) or "none"
        raise InputError(f"by must be a column of customers that groups them; got {by!r}. Usable here: {usable}")
    customers = tables.customers
    if every > 1:
        customers = customers.with_row_index("position", order_by="customer_id").filter(nw.col("position") % every == 0)
    level = nw.lit(EVERYBODY) if by is None else nw.col(by).cast(nw.String).fill_null(NOT_STATED)
    return customers.select("customer_id", level=level)


def check_levels(levels: int, by: str | None) -> None:
    """Refuse a column that does not group customers."""
    if levels > MOST_LEVELS:
        raise InputError(f"by must be a column of at most {MOST_LEVELS} values; {by} has {levels}. Group them first.")


def _each_customer(tables: Tables, until: dt.date, every: int, by: str | None) -> Frame:
    """One row a customer: level, frequency, recency, age (days), margin of the first day, margin after it."""
    customers = looked_at(tables, every, by)
    days = _days(tables, every, until)
    later = nw.col("day") > nw.col("first_on")
    last_day = (until - EPOCH.date()).days
    return (
        days.with_columns(
            margin_first=nw.when(nw.col("day") == nw.col("first_on")).then(nw.col("margin")).otherwise(0.0),
            margin_later=nw.when(later).then(nw.col("margin")).otherwise(0.0),
        )
        .group_by("customer_id")
        .agg(
            nw.col("bought").sum().alias("purchases"),
            nw.col("first_on").max(),
            nw.col("bought_on").max().alias("last_on"),
            nw.col("margin_first").sum(),
            nw.col("margin_later").sum(),
        )
        .filter(nw.col("purchases") > 0)
        .join(customers, on="customer_id", how="inner")
        .with_columns(
            frequency=(nw.col("purchases") - 1).cast(nw.Int64),
            recency=(nw.col("last_on") - nw.col("first_on")).cast(nw.Int64),
            age=(last_day - nw.col("first_on")).cast(nw.Int64),
            margin_first=nw.col("margin_first").round(MONEY_DIGITS),
            repeat_margin=nw.when(nw.col("purchases") > 1)
            .then(nw.col("margin_later").round(MONEY_DIGITS))
            .otherwise(0.0),
        )
        .select("level", "frequency", "recency", "age", "margin_first", "repeat_margin")
    )


def _days(tables: Tables, every: int, until: dt.date | None) -> Frame:
    """One row a customer and day: ``date, day`` (number), ``bought`` (0/1), ``margin, bought_on, first_on`` (numbers of days)."""
    assert tables.transactions is not None
    transactions = tables.transactions.select("customer_id", "occurred_at", "amount", "margin")
    if every > 1:
        transactions = transactions.join(
            looked_at(tables, every, None).select("customer_id"), on="customer_id", how="semi"
        )
    if until is not None:
        end = dt.datetime.combine(until, dt.time()) + dt.timedelta(days=1)
        transactions = transactions.filter(nw.col("occurred_at") < nw.lit(end))
    return (
        transactions.with_columns(
            date=nw.col("occurred_at").dt.truncate("1d"),
            bought=nw.when(nw.col("amount") >= 0).then(1).otherwise(0),
            margin=nw.col("margin").fill_null(0.0),
        )
        .group_by("customer_id", "date")
        .agg(nw.col("bought").max(), nw.col("margin").sum())
        .with_columns(day=(nw.col("date") - nw.lit(EPOCH)).dt.total_minutes() // MINUTES_OF_A_DAY)
        .with_columns(bought_on=nw.when(nw.col("bought") == 1).then(nw.col("day")))
        .with_columns(first_on=nw.col("bought_on").min().over("customer_id"))
    )


def _counted(each: Frame) -> Frame:
    return each.group_by("level", "frequency", "recency", "age").agg(
        nw.len().alias("customers"), nw.col("repeat_margin").sum()
    )


def _rounded(each: Frame, unit_days: int) -> Frame:
    """Recency, and what came after it, in whole units; a repeat purchase lies at least half a unit after the first."""
    half = max(unit_days // 2, 1)
    after = nw.col("age") - nw.col("recency")
    recency = ((nw.col("recency") + half) // unit_days) * unit_days
    near = nw.when(nw.col("frequency") > 0).then(nw.max_horizontal(recency, nw.lit(half))).otherwise(0)
    return each.with_columns(recency=near, after=((after + half) // unit_days) * unit_days).with_columns(
        age=nw.col("recency") + nw.col("after")
    )


def _spend(each: Frame) -> Frame:
    return (
        each.filter((nw.col("frequency") > 0) & (nw.col("repeat_margin") > 0))
        .with_columns(mean_margin=nw.col("repeat_margin") / nw.col("frequency"))
        .with_columns(bin=(nw.col("mean_margin").log() * SPEND_BINS).round(0))
        .group_by("level", "frequency", "bin")
        .agg(nw.col("mean_margin").mean(), nw.len().alias("customers"))
    )


def _first(each: Frame) -> pd.DataFrame:
    squares = each.with_columns(square=nw.col("margin_first") * nw.col("margin_first"))
    found = _fetched(
        squares.group_by("level").agg(
            nw.len().alias("customers"), nw.col("margin_first").sum(), nw.col("square").sum()
        ),
        ["level"],
    )
    n = found["customers"].to_numpy(dtype=np.float64)
    return pd.DataFrame(
        {
            "level": found["level"],
            "customers": found["customers"].astype(np.int64),
            "mean": found["margin_first"].to_numpy(dtype=np.float64) / n,
            "mean_square": found["square"].to_numpy(dtype=np.float64) / n,
        }
    )


def _fetched(frame: Frame, order: list[str]) -> pd.DataFrame:
    found: pd.DataFrame = frame.collect("pandas").to_native()
    found = found.sort_values(order, kind="stable", ignore_index=True)
    typed = {name: np.int64 for name in ("frequency", "customers") if name in found}
    return found.astype(typed | ({"level": object} if "level" in found else {}))


def _accounting(table: pd.DataFrame, spend: pd.DataFrame) -> pd.DataFrame:
    seen = int(table["customers"].sum())
    once = int(table.loc[table["frequency"] == 0, "customers"].sum())
    positive = int(spend["customers"].sum()) if len(spend) else 0
    rows = [
        ("seen", seen),
        ("one purchase only", once),
        ("repeat customers with a positive mean margin", positive),
        ("repeat customers without one, left out of the fit of spend", seen - once - positive),
    ]
    return pd.DataFrame(rows, columns=["reason", "customers"])


def _merged(found: PurchaseHistories) -> PurchaseHistories:
    if found.levels == [EVERYBODY]:
        return found
    table = found.table.drop(columns="level").groupby(["frequency", "recency", "age"], as_index=False).sum()
    table.insert(0, "level", pd.Series([EVERYBODY] * len(table), dtype=object))
    first = found.first
    n = first["customers"].to_numpy(dtype=np.float64)
    whole = pd.DataFrame(
        {
            "level": [EVERYBODY],
            "customers": [int(n.sum())],
            "mean": [float(n @ first["mean"].to_numpy()) / n.sum()],
            "mean_square": [float(n @ first["mean_square"].to_numpy()) / n.sum()],
        }
    )
    return replace(found, table=table, spend=found.spend.assign(level=EVERYBODY), first=whole, by=None)
