"""Joining cohorts by age: who is still there, and what each joined customer has brought so far.

A cohort is everybody who joined in one quarter (or month); age 0 is that quarter. Only periods that are over count. Customers of a
cohort who never bought count like the others: nothing is divided by those who happened to buy.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from cxroi import periods
from cxroi.panel import last_complete_period, period_of
from cxroi.scores import csat_interval, hidden_cells
from cxroi.tables import Tables

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Measure = Literal["retained", "cumulative_margin"]

FEWEST_CUSTOMERS = 30
DAYS_OF_GRACE = 7
ODD_FIRST_COHORT = 1.5
MONEY_DIGITS = 4  # sums of money are rounded so that the order of summation cannot show
NEVER = dt.datetime(2200, 1, 1)
COLUMNS = (
    *("measure", "cohort", "age", "period", "customers", "estimate", "std_error", "conf_low", "conf_high"),
    *("unit", "seen_from_age", "suppressed"),
)


@dataclass(frozen=True)
class Cohorts:
    """Retention and cumulative margin of joining cohorts.

    Attributes
    ----------
    cells : DataFrame
        A row per measure, cohort and age: ``measure`` (``retained``: share 0..1; ``cumulative_margin``: currency per joined
        customer, undiscounted), ``cohort`` and ``period`` (labels), ``age`` (periods since joining), ``customers`` (whom the figure
        stands on), ``estimate, std_error, conf_low, conf_high, unit, seen_from_age, suppressed``. ``seen_from_age`` is 0 where the
        whole life is recorded, else the age in which the cohort is first seen: its ``retained`` is then of those still there at the
        first figure's start, and it has no cumulative margin.
    retention : str
        The data set's rule: ``contract``, ``repurchase`` or empty.
    sizes : DataFrame
        A row per cohort: ``cohort, customers, seen_from_age, suppressed``.
    """

    cells: pd.DataFrame
    period: periods.Period
    retention: str
    sizes: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.cells)

    def tidy(self) -> pd.DataFrame:
        """A row per measure, cohort and age."""
        return self.cells

    def triangle(self, measure: Measure) -> pd.DataFrame:
        """Estimates of one measure, cohorts (rows) by age (columns), as a heat map draws them; NaN where nothing is known."""
        own = self.cells[self.cells["measure"] == measure]
        return own.pivot_table(index="cohort", columns="age", values="estimate", aggfunc="first", dropna=False)

    def glance(self) -> pd.DataFrame:
        """One row: cohorts shown, their customers, and how many cohorts are whole, seen late or suppressed."""
        shown = self.sizes[~self.sizes["suppressed"]]
        return pd.DataFrame(
            {
                "period": [self.period],
                "retention": [self.retention],
                "cohorts": [len(shown)],
                "customers": [int(shown["customers"].sum())],
                "seen_late": [int((shown["seen_from_age"] > 0).sum())],
                "suppressed": [int(self.sizes["suppressed"].sum())],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Verdicts: ``name, verdict, number, advice``."""
        shown = self.sizes[~self.sizes["suppressed"]]
        late, hidden = int((shown["seen_from_age"] > 0).sum()), int(self.sizes["suppressed"].sum())
        rows = [
            (
                "retention rule",
                "pass" if self.retention else "warn",
                np.nan,
                f"retained by the rule {self.retention}"
                if self.retention
                else "no rule is declared: give customers.left_on, or retention: {rule: repurchase, window_days: …}",
            ),
            (
                "cohorts seen from the start",
                "pass" if late == 0 else "warn",
                float(late),
                "cohorts joined before transactions are recorded: their retention is of those still there then, "
                "and they have no cumulative margin",
            ),
            (
                "cohorts large enough",
                "pass" if hidden == 0 else "warn",
                float(hidden),
                f"cohorts suppressed: fewer than {FEWEST_CUSTOMERS} customers, or shown they would tell a smaller one",
            ),
        ]
        whole = shown[shown["seen_from_age"] == 0]
        if len(whole) > 2:
            times = float(whole["customers"].iloc[0] / whole["customers"].iloc[1:].median())
            odd = times > ODD_FIRST_COHORT
            rows.append(
                (
                    "first cohort is of new customers",
                    "warn" if odd else "pass",
                    times,
                    "times the usual size of a cohort"
                    + (
                        "; where joining is the first purchase in the export, it holds older customers too"
                        if odd
                        else ""
                    ),
                )
            )
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def cohorts(tables: Tables, *, period: periods.Period = "quarter") -> Cohorts | str:
    """Retention and cumulative margin of joining cohorts by age.

    Parameters
    ----------
    tables : Tables
        Customers and transactions are enough.
    period : {"quarter", "month"}

    Returns
    -------
    Cohorts or str
        The reason in words where the data hold no transactions, or no period that is over.

    Notes
    -----
    ``retained`` at the end of a period follows the data set's own rule. ``contract``: not left. ``repurchase``: an order in that period or
    in the ``window_days`` before its end, so whoever bought on joining is retained until the window has passed, and customers may come
    back and the share may rise. Intervals: Wilson for shares, t over customers for margin (from sums and sums of squares). Cohorts of
    fewer than 30 customers are suppressed, and where only one would be, the next smallest with it. Transactions before the period of
    joining count in no cohort.

    Source: Fader & Hardie (2009), Journal of Interactive Marketing 23:61 (why cohorts must not be pooled); Wilson (1927), JASA 22:209.
    """
    if tables.transactions is None:
        return "the data have no transactions; cohorts need to know who bought when"
    start = first_transaction(tables.transactions)
    if start is None:
        return "the data hold no transactions"
    last = last_complete_period(tables, period, None)
    calendar = _Calendar(period, start, first_whole_period(start, period), last)
    customers = tables.materialise(_customers(tables, calendar))
    sizes = _sizes(customers, calendar)
    if sizes.empty:
        return f"no {period} is over in the data in which customers had joined"
    activity = tables.materialise(_activity(tables.transactions, customers, calendar))
    rule = tables.config.retention
    retained = pd.DataFrame()
    if rule is not None and rule.rule == "contract":
        retained = _not_left(customers, sizes, calendar)
    elif rule is not None:
        assert rule.window_days is not None
        retained = _bought(tables, activity, sizes, calendar, rule.window_days)
    found = [part for part in (retained, _cumulative_margin(activity, sizes, calendar)) if len(part)]
    if not found:
        return "every customer joined before transactions are recorded, and nothing can be said of how many stayed"
    unit = f"{tables.config.currency or 'currency'} per joined customer"
    cells, shown = _assembled(pd.concat(found, ignore_index=True), calendar, unit)
    return Cohorts(cells=cells, period=period, retention="" if rule is None else rule.rule, sizes=shown)


@dataclass(frozen=True)
class _Calendar:
    """First day of the transactions, first period that is recorded whole, and last period that is over."""

    period: periods.Period
    start: dt.date
    recorded: int
    last: int


def first_transaction(transactions: Frame) -> dt.date | None:
    """Day of the first transaction; None where there is none."""
    first = transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0]
    return None if first is None or pd.isna(first) else first.date()


def first_whole_period(start: dt.date, period: periods.Period) -> int:
    """Index of the first period recorded whole: transactions begin in its first eight days, or before it.

    Examples
    --------
    >>> periods.label(first_whole_period(dt.date(2010, 12, 1), "quarter"))
    '2011Q1'
    """
    first = periods.containing(start, period)
    return first + int((start - periods.start(first, period)).days > DAYS_OF_GRACE)


def twelve_digits(values: Floats) -> Floats:
    """Numbers to twelve significant digits: the order in which an engine sums must not show; shape of ``values``.

    Examples
    --------
    >>> twelve_digits(np.array([0.1 + 0.2, 0.0])).tolist()
    [0.3, 0.0]
    """
    size = np.abs(values)
    digits = 11 - np.floor(np.log10(np.where(size > 0, size, 1.0)))
    rounded: Floats = np.round(values * 10.0**digits) / 10.0**digits
    return rounded


def _customers(tables: Tables, calendar: _Calendar) -> Frame:
    """Customers who joined by the last period: ``customer_id, joined, left`` (periods) and ``joined_on``."""
    has_left = "left_on" in tables.customers.collect_schema().names()
    left_on = nw.col("left_on").fill_null(NEVER) if has_left else nw.lit(NEVER)
    dated = tables.customers.select("customer_id", "joined_on", left_on.alias("left_on"))
    return dated.select(
        "customer_id",
        "joined_on",
        joined=period_of(nw.col("joined_on"), calendar.period),
        left=period_of(nw.col("left_on"), calendar.period),
    ).filter(nw.col("joined") <= calendar.last)


def _sizes(customers: Frame, calendar: _Calendar) -> pd.DataFrame:
    """A row per cohort: ``joined, customers`` and ``whole``: its whole life lies in the recorded time."""
    counted = customers.group_by("joined").agg(nw.len().alias("customers"), nw.col("joined_on").min())
    sizes = _fetched(counted, ["joined"])
    earliest = calendar.start - dt.timedelta(days=DAYS_OF_GRACE)
    return sizes.assign(whole=sizes["joined_on"] >= pd.Timestamp(earliest)).drop(columns="joined_on")


def _activity(transactions: Frame, customers: Frame, calendar: _Calendar) -> Frame:
    """Margin and last order per customer and period since joining, from one pass over the transactions."""
    ordered_at = nw.when(nw.col("amount") > 0).then(nw.col("occurred_at"))
    summed = (
        transactions.with_columns(period=period_of(nw.col("occurred_at"), calendar.period), ordered_at=ordered_at)
        .group_by("customer_id", "period")
        .agg(nw.col("margin").sum(), nw.col("ordered_at").max())
    )
    lived = summed.with_columns(nw.col("margin").fill_null(0.0).round(MONEY_DIGITS)).join(
        customers.select("customer_id", "joined", "left"), on="customer_id", how="inner"
    )
    return lived.filter((nw.col("period") >= nw.col("joined")) & (nw.col("period") <= calendar.last))


def _not_left(customers: Frame, sizes: pd.DataFrame, calendar: _Calendar) -> pd.DataFrame:
    """Customers not left by the end of each period."""
    left = _fetched(customers.group_by("joined", "left").agg(nw.len().alias("n")), ["joined", "left"])
    parts = []
    for joined, whole in zip(sizes["joined"], sizes["whole"], strict=True):
        own = left[left["joined"] == joined]
        seen = joined if whole else max(int(joined), calendar.recorded)
        if not whole:
            own = own[own["left"] >= seen]
        gone, n = own["left"].to_numpy(), own["n"].to_numpy()
        ends = np.arange(seen, calendar.last + 1)
        kept = (n * (gone > ends[:, None])).sum(axis=1)
        parts.append(_kept(int(joined), ends, kept, int(n.sum())))
    return pd.concat(parts, ignore_index=True)


def _bought(
    tables: Tables, activity: Frame, sizes: pd.DataFrame, calendar: _Calendar, window_days: int
) -> pd.DataFrame:
    """Customers with an order in each period or in the window before its end.

    An order keeps its customer from its own period to the last one whose window it lies in, or to the period before the next
    order's: so nobody's periods have to be laid out.
    """
    ordered = activity.filter(~nw.col("ordered_at").is_null())
    reach = period_of(nw.col("ordered_at").dt.offset_by(f"{window_days}d"), calendar.period) - 1
    following = nw.col("period").shift(-1).over("customer_id", order_by="period").fill_null(calendar.last + 1)
    spells = ordered.with_columns(reach=reach, following=following).select(
        "customer_id",
        "joined",
        "period",
        until=nw.min_horizontal(
            nw.max_horizontal("period", "reach"), nw.col("following") - 1, nw.col("left") - 1, nw.lit(calendar.last)
        ),
    )
    late = sizes.loc[~sizes["whole"], "joined"].tolist()
    first = calendar.recorded
    while periods.start(first + 1, calendar.period) - dt.timedelta(days=window_days) < calendar.start:
        first += 1
    spells = tables.materialise(spells.filter(nw.col("until") >= nw.col("period")))
    there = spells.filter(
        nw.col("joined").is_in(late) & (nw.col("period") <= first) & (nw.col("until") >= first)
    ).select("customer_id")
    counted = {
        True: spells.filter(~nw.col("joined").is_in(late)),
        False: spells.join(there, on="customer_id", how="semi"),
    }
    keys = ["joined", "period", "until"]
    fetched = {
        whole: _fetched(frame.group_by(*keys).agg(nw.len().alias("n")), keys) for whole, frame in counted.items()
    }
    parts = []
    for joined, customers, whole in sizes.itertuples(index=False):
        own = fetched[whole][fetched[whole]["joined"] == joined]
        since, until, n = (own[name].to_numpy() for name in ("period", "until", "n"))
        if not whole:
            customers = int(n[(since <= first) & (until >= first)].sum())
        ends = np.arange(joined if whole else max(int(joined), first + 1), calendar.last + 1)
        kept = (n * ((since <= ends[:, None]) & (until >= ends[:, None]))).sum(axis=1)
        parts.append(_kept(int(joined), ends, kept, int(customers)))
    return pd.concat(parts, ignore_index=True)


def _kept(joined: int, ends: Ints, kept: Ints, customers: int) -> pd.DataFrame:
    interval = csat_interval(kept, np.full(len(ends), customers))
    frame = pd.DataFrame({"measure": "retained", "joined": joined, "at": ends, "customers": customers})
    return frame.assign(unit="share", **interval._asdict())


def _cumulative_margin(activity: Frame, sizes: pd.DataFrame, calendar: _Calendar) -> pd.DataFrame:
    """Mean margin so far over all who joined; sums and sums of squares grow by what the buyers of a period add to them."""
    whole = sizes.loc[sizes["whole"], ["joined", "customers"]]
    own = activity.filter(nw.col("joined").is_in(whole["joined"].tolist()))
    so_far = nw.col("margin").cum_sum().over("customer_id", order_by="period")
    grown = own.with_columns(so_far=so_far).with_columns(
        square=(nw.col("so_far") * 2 - nw.col("margin")) * nw.col("margin")
    )
    sums = grown.group_by("joined", "period").agg(nw.col("margin").sum(), nw.col("square").sum())
    found = _fetched(sums, ["joined", "period"])
    parts = []
    for joined, customers in whole.itertuples(index=False):
        ends = np.arange(int(joined), calendar.last + 1)
        by_period = found[found["joined"] == joined].set_index("period")[["margin", "square"]]
        total, square = twelve_digits(by_period.reindex(ends, fill_value=0.0).cumsum().to_numpy(dtype=float)).T
        mean = total / customers
        spread = np.maximum(square - customers * mean**2, 0.0) / max(customers - 1, 1)
        error = np.sqrt(spread / customers)
        reach = stats.t.ppf(0.975, max(customers - 1, 1)) * error
        parts.append(
            pd.DataFrame(
                {
                    "measure": "cumulative_margin",
                    "joined": int(joined),
                    "at": ends,
                    "customers": int(customers),
                    "estimate": mean,
                    "std_error": error,
                    "conf_low": mean - reach,
                    "conf_high": mean + reach,
                }
            )
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _assembled(found: pd.DataFrame, calendar: _Calendar, unit: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells with labels, small cohorts emptied; and the sizes of the cohorts."""
    seen = found.groupby("joined")["at"].min()
    customers = found.groupby("joined")["customers"].first()
    cohort = [periods.label(joined, calendar.period) for joined in seen.index]
    shown = pd.DataFrame(
        {
            "cohort": cohort,
            "customers": customers.to_numpy(dtype=float),
            "seen_from_age": (seen - seen.index).to_numpy(),
        }
    )
    hidden = hidden_cells(shown["customers"], shown[["cohort"]], floor=FEWEST_CUSTOMERS)
    shown = shown.assign(customers=shown["customers"].mask(hidden), suppressed=hidden)
    cells = found.assign(
        cohort=[periods.label(joined, calendar.period) for joined in found["joined"]],
        period=[periods.label(at, calendar.period) for at in found["at"]],
        age=found["at"] - found["joined"],
        unit=found["unit"].fillna(unit) if "unit" in found else unit,
        seen_from_age=(found["joined"].map(seen) - found["joined"]).astype(np.int64),
        suppressed=found["joined"].map(dict(zip(seen.index, hidden, strict=True))).astype(bool),
        customers=found["customers"].astype(float),
    )
    figures = ["customers", "estimate", "std_error", "conf_low", "conf_high"]
    cells[figures] = cells[figures].mask(cells["suppressed"])
    return cells[list(COLUMNS)], shown


def _fetched(frame: Frame, order: list[str]) -> pd.DataFrame:
    fetched: pd.DataFrame = frame.collect("pandas").to_native()
    return fetched.sort_values(order, ignore_index=True).astype(dict.fromkeys(order, np.int64))
