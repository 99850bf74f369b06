"""Customer × period: what each customer said, what was known at that time, and what the customer did next.

Everything up to the result is one lazy narwhals definition in the portable subset (naive UTC timestamps; running
sums, equi-joins; no as-of join), so the same text runs on DuckDB, pandas and Spark.

Words: a row of period *t* holds the mean answer given in *t*, controls known at the end of *t* and outcomes of *t +
1*. A customer is at risk in *t* from joining until leaving; one who answers in *t* and leaves later in *t* or in *t
+ 1* stays in with ``retained = 0``.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from cxroi import periods
from cxroi.errors import InputError
from cxroi.tables import Tables

Frame = nw.LazyFrame[Any]
T = TypeVar("T")
Timing = Literal["before", "inside", "undated"]
METRICS = ("nps", "csat", "ces")
OUTCOMES = ("retained", "orders", "revenue", "margin")
FURTHER_OUTCOMES = ("referrals", "service_cost")  # only where their tables, or columns of outcomes, are there
KINDS_OF_TOUCHES = ("touchpoint", "channel", "initiated_by")
HISTORY = (
    "log_tenure",
    "log_orders_now",
    "log_orders_before",
    "log_margin_now",
    "log_margin_before",
    "periods_since_order",
)
KNOWN = ("tenure", "orders_now", "margin_now", "orders_before", "margin_before", "periods_before")
SCORED = tuple(name for metric in METRICS for name in (metric, f"{metric}_answers"))
SCORE_COLUMNS = ("{}", "{}_answers", "last_{}", "{}_age")
TAKEN_NAMES = frozenset(
    (
        *OUTCOMES,
        *FURTHER_OUTCOMES,
        *HISTORY,
        *(name.format(metric) for name in SCORE_COLUMNS for metric in METRICS),
        *("customer_id", "joined_on", "left_on", "customer", "period", "period_start", "period_end", "period_label"),
        *("joined", "left", "was_active", "at_risk", "weight", "position"),
        *["tenure", "orders_now", "margin_now", "orders_before", "margin_before", "periods_before"],
        *["orders_now_net", "orders_so_far_net", "basket_net"],
        *["orders_so_far", "margin_so_far", "last_ordered", "next_orders", "next_revenue", "next_margin"],
        *(f"next_{name}" for name in FURTHER_OUTCOMES),
        *[
            "first_order_at",
            "last_order_at",
            "ordered_until",
            "next_order_at",
            "active_since",
            "window_ends",
            "window_over",
        ],
        *["band", "share", "n", "satisfaction", "answered_in"],
        *(f"satisfaction_{part}" for part in ("level", "last", "earlier", "path", "spread", "bend", "answer")),
    )
)
FEWEST_STATED_COSTS = 30
PILOT_COLUMNS = ("initiative", "arm", "exposed", "treated_later")
DAYS_OF_GRACE = 7
NOT_OVER = "outcome period not over yet"
BASE_CUSTOMERS = 250_000  # above, the base is a systematic sample of about this many
PILOT_CUSTOMERS = 100_000  # above, the same of customers in a pilot
NO_EARLIER_ORDER, NEVER = dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)
ONE_AT_A_TIME = threading.RLock()
MONEY_DIGITS = 4  # sums of money are rounded so that the order of summation cannot show


@dataclass(frozen=True)
class ReferralTerms:
    """What ``dataset.yaml`` states of referrals, and what a referral saves.

    Attributes
    ----------
    would_have_come : float
        Share of referred customers who would have come anyway, with its ``source``.
    saved_cost, saved_cost_error : float
        Mean stated acquisition cost of customers who were not referred less that of those who were, of all who joined since
        the transactions begin (currency), and its standard error; NaN where fewer than 30 of either state one.
    """

    would_have_come: float
    source: str
    saved_cost: float
    saved_cost_error: float


@dataclass(frozen=True)
class Panel:
    """Answered customer-periods with their outcomes, and the base that they stand for.

    Attributes
    ----------
    rows : DataFrame
        One row per customer × period with an answer, sorted by ``customer`` (a code, not an id) and ``period``
        (index, see ``cxroi.periods``): mean answers ``nps csat ces`` (points) and ``nps_answers …`` (counts);
        outcomes of the next period ``retained`` (0/1), ``orders`` (count), ``revenue``, ``margin`` (currency; 0
        where not retained) and, where ``outcomes`` names them, ``referrals`` (customers brought) and ``service_cost``
        (currency, of touches), both 0 where not retained and empty before their records begin; controls known at the end
        of the period.
    base : DataFrame
        ``period, column, level, n, mean, mean_square`` over *all* customers at risk, answered or not.
    active : DataFrame
        Customers active at the end of the last period (above 250,000 customers of a systematic sample, each standing for
        ``weight`` customers) with ``customer``, the same controls, last answers ``last_nps …`` and ``nps_age …``
        (periods since that answer).
    outcomes : tuple of str
        Outcomes that the data hold.
    outcome_days : int or None
        Of a data set of outcomes: length of most of its periods in days; None where outcomes come from transactions.
    pilot : DataFrame or None
        Customer × period for the customers of every initiative whose exposures have both arms, answered or not, while at risk
        (above 100,000 such customers of a systematic sample), sorted by ``initiative`` (category), ``customer``, ``period``:
        the columns of ``rows``, codes and outcomes of the next period alike, with ``arm`` (category ``treated control``, as first
        exposed), ``exposed`` (index of that period), ``treated_later`` (1 for a control exposed to it afterwards). Answers of
        the period of exposure count from the exposure on. None without such exposures, or beside outcomes by period.
    experiments : tuple of str
        Initiatives whose arms ``dataset.yaml`` says were drawn by lot.
    events : DataFrame
        ``period`` (index), ``event`` (kind, or name, of the declared calendar), ``days`` of it in the period; a period has an
        event if it holds half of the event's days, or the event half of the period's.
    accounting : DataFrame
        ``stage, reason, rows``: the answers read, each loss with its reason, and what is kept; losses and kept sum
        to read.
    """

    rows: pd.DataFrame
    base: pd.DataFrame
    active: pd.DataFrame
    accounting: pd.DataFrame
    period: periods.Period
    last_period: int
    timing: Timing
    metrics: tuple[str, ...]
    controls: tuple[str, ...]
    history: tuple[str, ...]
    segments: tuple[str, ...]
    currency: str
    score_ranges: dict[str, tuple[float, float]]
    value_terms: tuple[int, float] | None = None
    referral_terms: ReferralTerms | None = None
    retention: str = ""
    outcomes: tuple[str, ...] = field(default=OUTCOMES)
    observed: tuple[dt.date, dt.date] | None = None
    outcome_days: int | None = None
    pilot: pd.DataFrame | None = None
    experiments: tuple[str, ...] = ()
    events: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["period", "event", "days"]))

    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return repr(self.tidy())

    def answered(self, exposure: str) -> pd.DataFrame:
        """The rows with an answer to a score (all rows for an empty one), numbered from 0; computed once."""

        def find() -> pd.DataFrame:
            if exposure and self.rows[exposure].isna().any():
                return self.rows[self.rows[exposure].notna()].reset_index(drop=True)
            return self.rows

        return self.once(f"answered {exposure}", find)

    def once(self, name: str, find: Callable[[], T]) -> T:
        """What ``find`` gives, computed once for this panel under the name, whatever threads ask.

        ``find`` must neither start threads that ask a panel nor touch what an equation computes once: both would wait for each other.
        """
        if name not in self._known:
            with ONE_AT_A_TIME:
                if name not in self._known:
                    self._known[name] = find()
        found: T = self._known[name]
        return found

    def fresh(self) -> Panel:
        """The same panel with nothing computed yet: what is computed on it goes with it."""
        return replace(self)

    def tidy(self) -> pd.DataFrame:
        """One row per answered customer-period (codes, no ids)."""
        return self.rows

    def glance(self) -> pd.DataFrame:
        """One row: rows, customers, periods and active customers."""
        return pd.DataFrame(
            {
                "rows": [len(self.rows)],
                "customers": [self.rows["customer"].nunique()],
                "periods": [self.rows["period"].nunique()],
                "last_period": [periods.label(self.last_period, self.period)],
                "active_customers": [round(float(self.active["weight"].sum()))],
                "timing": [self.timing],
            }
        )


def build_panel(tables: Tables, *, period: periods.Period = "quarter", last_period: str | None = None) -> Panel:
    """Join answers to what the customer did next.

    Parameters
    ----------
    tables : Tables
        From :func:`cxroi.tables.read_tables`.
    period : {"quarter", "month"}
        Grain of the panel.
    last_period : str, optional
        Last period whose outcomes are used, ``2026Q3`` or ``2026-07``; by default the last one that is over in the
        data.

    Returns
    -------
    Panel

    Raises
    ------
    InputError
        If the period asked for is not over in the data, no answer is left with an outcome after it, a control has
        the name of one of the panel's own columns, or an experiment is declared that exposures do not know.
    """
    _refuse_taken_names(tables)
    _refuse_unknown_experiments(tables)
    if tables.outcomes is not None:
        return _panel_from_outcomes(tables, period)
    last = last_complete_period(tables, period, last_period)
    every = -(-_row_count(tables.customers) // BASE_CUSTOMERS)
    assigned = _assigned(tables, period)
    scope = tables.materialise(_scope(tables, period, every, assigned))
    activity = tables.materialise(_activity(tables, scope if every > 1 else None, period))
    span = (_first_period(activity), last)
    further = _further_outcomes(tables, scope, period)
    grid = tables.materialise(_grid(tables, scope, activity, period, span, further))
    known_from = {name: first for name, (_, first) in further.items()}
    scale = _money_scale(activity)
    in_base = grid.filter((nw.col("in_base") == 1) & (nw.col("at_risk") == 1))
    declared = _declared(tables)
    looked_at = scope.select("customer_id")
    known_of = tables.customers.select("customer_id", *declared).join(looked_at, on="customer_id", how="semi")
    known_of = tables.materialise(known_of)
    followed = _described(known_of, in_base.filter(nw.col("period") < last), span, scale, known_from)
    at_end = _described(known_of, in_base.filter(nw.col("period") == last), span, scale, known_from)
    common = _common(tables, period, last) | {"base": _base(followed, declared), "outcomes": (*OUTCOMES, *further)}
    of_pilot = None
    if assigned is not None:
        in_pilot = grid.filter((nw.col("at_risk") == 1) & (nw.col("period") < last))
        in_pilot = in_pilot.join(assigned.select("customer_id").unique(), on="customer_id", how="semi")
        of_pilot = _described(known_of, in_pilot, span, scale, known_from).join(assigned, on="customer_id", how="inner")
    if tables.surveys is None:
        frames = (_collect(followed, ["customer_id", "period"]), _active(at_end, None, (), every))
        rows, active, pilot = _coded(*frames, beside=_pilot(of_pilot, declared, ()))
        stages = [("customers", "looked at: one in every", every), ("panel", "rows", len(rows))]
        return Panel(
            rows=_typed(rows, declared),
            active=_typed(active, declared),
            accounting=pd.DataFrame(stages, columns=["stage", "reason", "rows"]),
            timing="before",
            metrics=(),
            score_ranges={},
            pilot=pilot,
            **common,
        )
    metrics = _metrics(tables)
    if not metrics:
        raise InputError(
            "a panel must have answers; no row of surveys that is left holds a score. See what cxroi check says of them; to see "
            "what customers are worth without answers, declare tables: {surveys: none} in dataset.yaml."
        )
    classified = tables.materialise(_classified_answers(tables, scope, period, span))
    known = classified.filter(
        (nw.col("reason") == "kept") | ((nw.col("reason") == NOT_OVER) & (nw.col("period") == last))
    )
    answers = tables.materialise(_mean_answers(known, ["customer_id", "period"], metrics))
    linked = grid.filter(nw.col("period") < last).join(answers, on=["customer_id", "period"], how="inner")
    active_then = linked.filter(nw.col("was_active") == 1)
    rows = _collect(_described(known_of, active_then, span, scale, known_from), ["customer_id", "period"])
    inactive = _count(linked.filter(nw.col("was_active") == 0), [f"{metric}_answers" for metric in metrics])
    if rows.empty:
        raise InputError(
            f"a panel must have answers followed by a complete {period} of outcomes; none is left. "
            f"The last {period} that is over in the data is {periods.label(last, period)}: answers must be dated before it."
        )
    answered = int(rows[[f"{metric}_answers" for metric in metrics]].to_numpy().sum())
    if of_pilot is not None and assigned is not None:
        since = assigned.select("initiative", "customer_id", "exposed", "exposed_on")
        given = known.join(since, on="customer_id", how="inner").filter(
            (nw.col("period") != nw.col("exposed")) | (nw.col("answered_at") >= nw.col("exposed_on"))
        )
        keys = ["initiative", "customer_id", "period"]
        of_pilot = of_pilot.join(_mean_answers(given, keys, metrics), on=keys, how="left")
    beside = _pilot(of_pilot, declared, metrics)
    coded, active, pilot = _coded(rows, _active(at_end, answers, metrics, every), beside=beside)
    return Panel(
        rows=_typed(coded, declared),
        active=_typed(active, declared),
        accounting=_accounting(classified, _silent(tables), answered, inactive, len(rows), period),
        timing="before",
        metrics=metrics,
        score_ranges=_score_ranges(tables, metrics),
        pilot=pilot,
        **common,
    )


def _common(tables: Tables, period: periods.Period, last: int) -> dict[str, Any]:
    return {
        "period": period,
        "last_period": last,
        "controls": tuple(tables.controls),
        "history": HISTORY,
        "segments": tuple(tables.segments),
        "currency": tables.config.currency or "",
        "value_terms": _value_terms(tables),
        "referral_terms": _referral_terms(tables),
        "retention": _retention_rule(tables),
        "experiments": tables.config.experiments,
        "events": _events(tables, period),
    }


def _refuse_unknown_experiments(tables: Tables) -> None:
    if not tables.config.experiments:
        return
    if tables.exposures is None:
        raise InputError(
            "experiments in dataset.yaml must name initiatives of the table exposures; there is no such table."
        )
    known = tables.exposures.select("initiative_id").unique().collect()["initiative_id"].to_list()
    names = sorted(str(name) for name in known)
    unknown = [name for name in tables.config.experiments if name not in names]
    if unknown:
        raise InputError(
            f"experiments in dataset.yaml must name initiatives of the table exposures; {', '.join(unknown)} is not there. "
            f"It knows {', '.join(names)}."
        )


def _refuse_taken_names(tables: Tables) -> None:
    own = TAKEN_NAMES if tables.exposures is None else TAKEN_NAMES | {*PILOT_COLUMNS, "exposed_on"}
    taken = [name for name in _declared(tables) if name.casefold() in own]
    if taken:
        raise InputError(
            f"a control or segment must not have the name of a column of the panel; {', '.join(taken)} has. Give it another "
            f"name in dataset.yaml, for example tables: {{customers: {{columns: {{{taken[0]}_declared: {taken[0]}}}}}}}, "
            "and list that one, or leave it out of controls and segments."
        )


def _declared(tables: Tables) -> list[str]:
    return list(dict.fromkeys([*tables.controls, *tables.segments]))


def _score_ranges(tables: Tables, metrics: Sequence[str]) -> dict[str, tuple[float, float]]:
    return {metric: (tables.config.scales[metric].low, tables.config.scales[metric].high) for metric in metrics}


def last_complete_period(tables: Tables, period: periods.Period, asked: str | None) -> int:
    """Index of the last period that is over in the data (its last day at most seven days after the last event), or the one asked for.

    Raises
    ------
    InputError
        If the period asked for is not over in the data.
    """
    end = tables.data_end
    if end is None:
        raise InputError("a panel must have dated events; the tables hold none. Check occurred_at and answered_at.")
    last = periods.containing(end, period)
    if (periods.end(last, period) - end).days > DAYS_OF_GRACE:
        last -= 1
    if asked is None or asked == "":
        return last
    wanted = periods.index(asked, period)
    if wanted > last:
        raise InputError(
            f"the last {period} must be over in the data; {periods.label(wanted, period)} ends on {periods.end(wanted, period)} "
            f"and the last event is dated {end}. Ask for {periods.label(last, period)} or wait for the rest of the data."
        )
    return wanted


def _retention_rule(tables: Tables) -> str:
    retention = tables.config.retention
    return "" if retention is None else retention.rule


def _value_terms(tables: Tables) -> tuple[int, float] | None:
    value = tables.config.value
    return None if value is None else (value.horizon_months, value.annual_discount_rate)


def _referral_terms(tables: Tables) -> ReferralTerms | None:
    stated = tables.config.referrals
    if stated is None:
        return None
    saved, variance = 0.0, 0.0
    costs = _acquisition_costs(tables)
    for sign, referred in ((1.0, 0), (-1.0, 1)):
        n, total, square = costs.get(referred, (0.0, 0.0, 0.0))
        known = n >= FEWEST_STATED_COSTS
        saved += sign * total / n if known else np.nan
        variance += max(square / n - (total / n) ** 2, 0.0) / (n - 1) if known else np.nan
    return ReferralTerms(stated.would_have_come, stated.source, float(saved), float(np.sqrt(variance)))


def _acquisition_costs(tables: Tables) -> dict[int, tuple[float, float, float]]:
    """Number, sum and sum of squares of stated acquisition costs, of customers who were not referred (0) and who were (1).

    Of those who joined since the transactions begin.
    """
    names = tables.customers.collect_schema().names()
    if tables.referrals is None or tables.transactions is None or "acquisition_cost" not in names:
        return {}
    begins = tables.transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0]
    brought = first_referrals(tables).select(nw.col("referred_id").alias("customer_id"), nw.lit(1).alias("brought"))
    customers = tables.customers.filter((nw.col("joined_on") >= begins) & ~nw.col("acquisition_cost").is_null())
    cost = nw.col("acquisition_cost").cast(nw.Float64)
    marked = customers.join(brought, on="customer_id", how="left").select(
        nw.col("brought").fill_null(0), cost.alias("cost"), (cost * cost).alias("square")
    )
    sums = marked.group_by("brought").agg(nw.len().alias("n"), nw.col("cost").sum(), nw.col("square").sum())
    found = sums.collect("pandas").to_native().itertuples(index=False)
    return {int(row.brought): (float(row.n), float(row.cost), float(row.square)) for row in found}


def _metrics(tables: Tables) -> tuple[str, ...]:
    assert tables.surveys is not None
    answered = tables.surveys.filter(~nw.col("score").is_null()).select("metric").unique().collect()
    found = set(answered["metric"].to_list())
    return tuple(metric for metric in METRICS if metric in found)


def period_of(date: str | nw.Expr, period: periods.Period, *, missing: dt.datetime | None = None) -> nw.Expr:
    """Index of the period of a date (a column, or an expression) in the engine; ``missing`` stands for gaps, where there can be any."""
    at = nw.col(date) if isinstance(date, str) else date
    at = at if missing is None else at.fill_null(missing)
    year, month = at.dt.year().cast(nw.Int64), at.dt.month().cast(nw.Int64)
    return year * periods.PER_YEAR[period] + (month - 1) // periods.MONTHS[period]


def _row_count(frame: Frame) -> int:
    return int(frame.select(nw.len()).collect()["len"][0])


def _assigned(tables: Tables, period: periods.Period) -> Frame | None:
    """Customers by their first exposure to each initiative that has both arms; None where no initiative has.

    Columns ``initiative`` (text), ``customer_id``, ``arm``, ``exposed`` (period), ``exposed_on``, ``treated_later`` (0/1). Who was in
    both arms on one day is in neither.
    """
    exposures = tables.exposures
    if exposures is None or tables.transactions is None or "arm" not in exposures.collect_schema().names():
        return None
    keys = ["initiative", "customer_id"]
    dated = exposures.filter(~nw.col("arm").is_null() & ~nw.col("exposed_on").is_null()).select(
        nw.col("initiative_id").cast(nw.String).alias("initiative"),
        "customer_id",
        "exposed_on",
        nw.when(nw.col("arm") == "treated").then(1).otherwise(0).alias("treated"),
    )
    first = dated.group_by(*keys).agg(nw.col("exposed_on").min())
    treated = dated.group_by(*keys).agg(nw.col("treated").max().alias("ever"))
    arms = (
        dated.join(first, on=[*keys, "exposed_on"], how="inner")
        .group_by(*keys, "exposed_on")
        .agg(nw.col("treated").min(), nw.col("treated").max().alias("most"))
        .filter(nw.col("treated") == nw.col("most"))
        .join(treated, on=keys, how="inner")
    )
    counts = arms.group_by("initiative").agg(
        nw.col("treated").min().alias("least"), nw.col("treated").max().alias("most")
    )
    both = counts.filter((nw.col("least") == 0) & (nw.col("most") == 1)).select("initiative")
    if not _row_count(both):
        return None
    assigned = arms.join(both, on="initiative", how="semi").select(
        *keys,
        "exposed_on",
        nw.when(nw.col("treated") == 1).then(nw.lit("treated")).otherwise(nw.lit("control")).alias("arm"),
        period_of("exposed_on", period).alias("exposed"),
        (nw.col("ever") - nw.col("treated")).alias("treated_later"),
    )
    people = assigned.select("customer_id").unique()
    every = -(-_row_count(people) // PILOT_CUSTOMERS)
    if every > 1:
        numbered = people.with_row_index("position", order_by="customer_id")
        assigned = assigned.join(numbered.filter(nw.col("position") % every == 0), on="customer_id", how="semi")
    return tables.materialise(assigned)


def _scope(tables: Tables, period: periods.Period, every: int, assigned: Frame | None) -> Frame:
    """Customers that the panel looks at: all, or where they are very many a systematic sample and everybody who answered.

    With them everybody who is ``assigned`` to a pilot.
    """
    customers = _span(tables, period)
    if every == 1:
        return customers.with_columns(in_base=nw.lit(1))
    customers = customers.with_row_index("position", order_by="customer_id").with_columns(
        in_base=nw.when(nw.col("position") % every == 0).then(1).otherwise(0)
    )
    looked_at = nw.col("in_base") == 1
    marks: list[str] = []
    for mark, frame in (("answered", _who_answered(tables)), ("piloted", assigned)):
        if frame is not None:
            marked = frame.select("customer_id").unique().with_columns(nw.lit(1).alias(mark))
            customers = customers.join(marked, on="customer_id", how="left")
            looked_at = looked_at | (nw.col(mark) == 1)
            marks.append(mark)
    return customers.filter(looked_at).drop("position", *marks)


def _who_answered(tables: Tables) -> Frame | None:
    return None if tables.surveys is None else tables.surveys.filter(~nw.col("score").is_null())


def _activity(tables: Tables, scope: Frame | None, period: periods.Period) -> Frame:
    """Orders, revenue and margin per customer × period, from one pass over the transactions."""
    assert tables.transactions is not None
    transactions = tables.transactions
    if scope is not None:
        transactions = transactions.join(scope.select("customer_id"), on="customer_id", how="semi")
    bought = nw.col("amount") > 0
    sums = [nw.col("orders").sum(), nw.col("revenue").sum(), nw.col("margin").sum()]
    columns = {"orders": nw.when(bought).then(1).otherwise(0), "revenue": nw.col("amount")}
    if _retention_rule(tables) == "repurchase":
        columns["ordered_at"] = nw.when(bought).then(nw.col("occurred_at"))
        sums += [
            nw.col("ordered_at").min().alias("first_order_at"),
            nw.col("ordered_at").max().alias("last_order_at"),
        ]
    summed = (
        transactions.with_columns(period=period_of("occurred_at", period), **columns)
        .group_by("customer_id", "period")
        .agg(*sums)
    )
    money = (nw.col(column).round(MONEY_DIGITS) for column in ("revenue", "margin"))
    return summed.with_columns(nw.col("orders").cast(nw.Int64), *money)


def first_referrals(tables: Tables) -> Frame:
    """Each referred customer once, with the first referral that names them.

    Columns ``referred_id, referrer_id, occurred_at, incentivised`` (1, 0; null where not stated). Customers who name themselves are
    left out; of two referrals at the same moment the one with the smaller ``referrer_id`` counts.
    """
    assert tables.referrals is not None
    named = tables.referrals.filter(nw.col("referrer_id") != nw.col("referred_id"))
    flag: nw.Expr = nw.lit(None, nw.Float64)
    if "incentivised" in tables.referrals.collect_schema().names():
        flag = nw.when(nw.col("incentivised")).then(nw.lit(1.0)).when(~nw.col("incentivised")).then(nw.lit(0.0))
    named = named.select("referred_id", "referrer_id", "occurred_at", flag.alias("incentivised"))
    earliest = named.group_by("referred_id").agg(nw.col("occurred_at").min())
    named = named.join(earliest, on=["referred_id", "occurred_at"], how="inner")
    one = named.group_by("referred_id", "occurred_at").agg(nw.col("referrer_id").min())
    named = named.join(one, on=["referred_id", "occurred_at", "referrer_id"], how="inner")
    return named.group_by("referred_id", "occurred_at", "referrer_id").agg(nw.col("incentivised").max())


def _further_outcomes(tables: Tables, scope: Frame, period: periods.Period) -> dict[str, tuple[Frame, int]]:
    """Referrals made and cost of touches per customer × period, each with the period in which its records begin."""
    dated: dict[str, Frame] = {}
    if tables.referrals is not None:
        made = tables.materialise(first_referrals(tables))
        dated["referrals"] = made.select(
            nw.col("referrer_id").alias("customer_id"), "occurred_at", nw.lit(1).alias("referrals")
        )
    touches = _costed_touches(tables)
    if touches is not None:
        dated["service_cost"] = touches.select("customer_id", "occurred_at", nw.col("cost").alias("service_cost"))
    found: dict[str, tuple[Frame, int]] = {}
    for name, events in dated.items():
        begins = events.select(nw.col("occurred_at").min()).collect()["occurred_at"][0]
        if begins is not None:
            looked_at = events.join(scope.select("customer_id"), on="customer_id", how="semi")
            summed = looked_at.with_columns(period=period_of("occurred_at", period)).group_by("customer_id", "period")
            total = summed.agg(nw.col(name).sum()).with_columns(nw.col(name).cast(nw.Float64).round(MONEY_DIGITS))
            found[name] = (total, periods.containing(begins.date(), period))
    return found


def _costed_touches(tables: Tables) -> Frame | None:
    """Touches with their cost; None where none is stated.

    One without a stated cost counts at the mean stated cost of its touchpoint, channel and initiator, and at 0 where that kind
    has none.
    """
    names = [] if tables.touches is None else tables.touches.collect_schema().names()
    if tables.touches is None or "cost" not in names:
        return None
    kinds = [name for name in KINDS_OF_TOUCHES if name in names]
    touches = tables.touches.with_columns(*(nw.col(name).fill_null("").alias(name) for name in kinds))
    sums = touches.group_by(*kinds).agg(
        nw.len().alias("touches"), nw.col("cost").count().alias("stated"), nw.col("cost").mean().alias("usual")
    )
    usual: pd.DataFrame = sums.collect("pandas").to_native()
    if not usual["stated"].sum():
        return None
    if (usual["stated"] == usual["touches"]).all():
        return touches
    means = usual[[*kinds]].assign(usual=_rounded(usual["usual"].fillna(0.0).to_numpy(dtype=float)))
    priced = touches.join(tables.frame(means), on=kinds, how="left")
    return priced.with_columns(cost=nw.col("cost").fill_null(nw.col("usual")))


def _first_period(activity: Frame) -> int:
    first = activity.select(nw.col("period").min()).collect()["period"][0]
    if first is None:
        raise InputError(
            "a panel must have transactions of customers; none is left of those that were read. See what cxroi check says of "
            "them, and which rows accept in dataset.yaml leaves out."
        )
    return int(first)


def _span(tables: Tables, period: periods.Period) -> Frame:
    """Customers with the periods of joining and leaving."""
    frame = tables.customers.with_columns(joined=period_of("joined_on", period))
    if "left_on" in tables.customers.collect_schema().names():
        frame = frame.with_columns(left=period_of("left_on", period, missing=NEVER))
        return frame.select("customer_id", "left_on", "joined", "left")
    return frame.with_columns(left=nw.lit(None, nw.Float64)).select("customer_id", "joined", "left")


def _grid(
    tables: Tables,
    scope: Frame,
    activity: Frame,
    period: periods.Period,
    span: tuple[int, int],
    further: dict[str, tuple[Frame, int]],
) -> Frame:
    """One row per customer × period from joining to leaving: what was bought so far, and what in the next period."""
    first, last = span
    indices = list(range(first, last + 1))
    if _retention_rule(tables) == "repurchase":  # the window may reach into the periods after the last one
        assert tables.data_end is not None
        indices = list(range(first, periods.containing(tables.data_end, period) + 1))
    calendar = tables.frame(_calendar(tables, indices, period))
    customers = scope.filter((nw.col("joined") <= last) & (nw.col("left").is_null() | (nw.col("left") >= first)))
    lived = (nw.col("joined") <= nw.col("period")) & (nw.col("left").is_null() | (nw.col("left") >= nw.col("period")))
    grid = (
        customers.join(calendar, how="cross")
        .filter(lived)
        .join(activity, on=["customer_id", "period"], how="left")
        .with_columns(*(nw.col(column).fill_null(0) for column in ("orders", "revenue", "margin")))
        # never null: a running maximum is null wherever its own cell is
        .with_columns(ordered_in=nw.when(nw.col("orders") > 0).then(nw.col("period")).otherwise(0))
    )
    for sums, _ in further.values():
        grid = grid.join(sums, on=["customer_id", "period"], how="left")
    grid = grid.with_columns(
        orders_so_far=_along(nw.col("orders").cum_sum()),
        margin_so_far=_along(nw.col("margin").cum_sum()),
        last_ordered=_along(nw.col("ordered_in").cum_max()),
        next_orders=_along(nw.col("orders").shift(-1)),
        next_revenue=_along(nw.col("revenue").shift(-1)),
        next_margin=_along(nw.col("margin").shift(-1)),
        **{f"next_{name}": _along(nw.col(name).shift(-1)) for name in further},
    )
    return _with_retention(tables, grid).select(
        "customer_id",
        "period",
        "joined",
        "in_base",
        "was_active",
        "at_risk",
        "retained",
        "orders",
        "margin",
        "orders_so_far",
        "margin_so_far",
        "last_ordered",
        "next_orders",
        "next_revenue",
        "next_margin",
        *(f"next_{name}" for name in further),
    )


def _along(expression: nw.Expr) -> nw.Expr:
    """The expression over each customer's periods in order."""
    return expression.over("customer_id", order_by="period")


def _described(known_of: Frame, grid: Frame, span: tuple[int, int], scale: float, known_from: dict[str, int]) -> Frame:
    """Rows of the grid with controls known at the end of the period, and outcomes of the next one.

    ``known_from`` names further outcomes with the period in which their records begin; before that they are null.
    """
    known_since = nw.max_horizontal(nw.col("joined"), nw.lit(span[0]))
    before = nw.col("period") - known_since
    gone = nw.col("retained") == 0
    since = nw.col("period") - nw.max_horizontal(nw.col("last_ordered"), known_since - 1)
    grid = grid.with_columns(
        tenure=(nw.col("period") - nw.col("joined")).cast(nw.Float64),
        orders_now=nw.col("orders").cast(nw.Float64),
        margin_now=nw.col("margin"),
        periods_before=before.cast(nw.Float64),
        orders_before=nw.when(before > 0).then((nw.col("orders_so_far") - nw.col("orders")) / before).otherwise(0.0),
        margin_before=nw.when(before > 0).then((nw.col("margin_so_far") - nw.col("margin")) / before).otherwise(0.0),
        periods_since_order=since.cast(nw.Float64),
    ).with_columns(
        orders=nw.when(gone).then(0.0).otherwise(nw.col("next_orders").fill_null(0).cast(nw.Float64)),
        revenue=nw.when(gone).then(0.0).otherwise(nw.col("next_revenue").fill_null(0.0)),
        margin=nw.when(gone).then(0.0).otherwise(nw.col("next_margin").fill_null(0.0)),
        **{
            name: nw.when(nw.col("period") + 1 >= first).then(
                nw.when(gone).then(0.0).otherwise(nw.col(f"next_{name}").fill_null(0.0))
            )
            for name, first in known_from.items()
        },
        log_tenure=(nw.col("tenure") + 1).log(),
        log_orders_now=(nw.col("orders_now") + 1).log(),
        log_orders_before=(nw.col("orders_before") + 1).log(),
        log_margin_now=_signed_log("margin_now", scale),
        log_margin_before=_signed_log("margin_before", scale),
    )
    scores = [column for column in grid.collect_schema().names() if column in SCORED]
    return grid.select("customer_id", "period", *OUTCOMES, *known_from, *KNOWN, *HISTORY, *scores).join(
        known_of, on="customer_id", how="left"
    )


def _calendar(tables: Tables, indices: Sequence[int], period: periods.Period) -> pd.DataFrame:
    frame = pd.DataFrame({"period": np.array(indices, dtype=np.int64)})
    retention = tables.config.retention
    if retention is not None and retention.rule == "repurchase":
        assert retention.window_days is not None
        window = dt.timedelta(days=retention.window_days)
        after = pd.Series(
            pd.to_datetime([periods.start(index + 1, period) for index in indices]).astype("datetime64[us]")
        )
        following = pd.Series(
            pd.to_datetime([periods.start(index + 2, period) for index in indices]).astype("datetime64[us]")
        )
        frame["active_since"] = after - window
        # who orders in the next period has stayed, however short the window
        frame["window_ends"] = np.maximum(after + window, following)
        assert tables.data_end is not None
        frame["window_over"] = (frame["window_ends"] <= pd.Timestamp(tables.data_end) + pd.Timedelta(days=1)).astype(
            np.int64
        )
    return frame


def _with_retention(tables: Tables, grid: Frame) -> Frame:
    """Add retained (next period, 0/1), was_active (may be linked) and at_risk (part of the base) under the declared rule."""
    rule = _retention_rule(tables)
    not_left = nw.col("left").is_null() | (nw.col("left") > nw.col("period"))
    if rule == "repurchase":
        next_order = (
            nw.col("first_order_at").fill_null(NEVER).cum_min(reverse=True).over("customer_id", order_by="period")
        )
        grid = grid.with_columns(
            ordered_until=nw.col("last_order_at")
            .fill_null(NO_EARLIER_ORDER)
            .cum_max()
            .over("customer_id", order_by="period"),
            next_order_at=next_order,
        ).with_columns(next_order_at=nw.col("next_order_at").shift(-1).over("customer_id", order_by="period"))
        active = (nw.col("ordered_until") >= nw.col("active_since")).fill_null(False)
        came_back = (nw.col("next_order_at") < nw.col("window_ends")).fill_null(False)
        return grid.with_columns(
            was_active=nw.when(active).then(1).otherwise(0),
            at_risk=nw.when(active & not_left).then(1).otherwise(0),
            retained=nw.when(nw.col("window_over") == 1).then(nw.when(came_back).then(1.0).otherwise(0.0)),
        )
    if rule == "contract":
        gone = ~nw.col("left").is_null() & (nw.col("left") <= nw.col("period") + 1)
        retained = nw.when(gone).then(0.0).otherwise(1.0)
    else:
        retained = nw.lit(None, nw.Float64)
    return grid.with_columns(was_active=nw.lit(1), at_risk=nw.when(not_left).then(1).otherwise(0), retained=retained)


def _money_scale(activity: Frame) -> float:
    """Mean absolute margin of an active customer-period: the unit of the logged margins."""
    mean = activity.select(nw.col("margin").abs().mean()).collect()["margin"][0]
    return float(f"{mean:.3g}") if mean else 1.0


def _signed_log(column: str, scale: float) -> nw.Expr:
    share = nw.col(column) / scale
    return nw.when(share >= 0).then((share.abs() + 1).log()).otherwise((share.abs() + 1).log() * -1.0)


def _silent(tables: Tables) -> int:
    """Number of invitations without an answer."""
    assert tables.surveys is not None
    return _row_count(tables.surveys.filter(nw.col("score").is_null()))


def _classified_answers(tables: Tables, scope: Frame, period: periods.Period, span: tuple[int, int]) -> Frame:
    """Every answer with its period and the reason why it is not used, or ``kept``."""
    assert tables.surveys is not None
    first, last = span
    names = scope.collect_schema().names()
    surveys = tables.surveys.filter(~nw.col("score").is_null())
    if "touchpoint" not in surveys.collect_schema().names():
        surveys = surveys.with_columns(touchpoint=nw.lit(None, nw.String))
    relationship = surveys.filter((nw.col("metric") == "nps") & nw.col("touchpoint").is_null())
    has_relationship = len(relationship.head(1).collect()) > 0
    surveys = surveys.with_columns(period=period_of("answered_at", period, missing=NEVER)).join(
        scope.select("customer_id", "joined", "left", *(["left_on"] if "left_on" in names else [])),
        on="customer_id",
        how="left",
    )
    stray = (nw.col("metric") == "nps") & ~nw.col("touchpoint").is_null() & nw.lit(has_relationship)
    after_leaving = nw.col("left").is_null() & nw.lit(False)
    if "left_on" in names:
        after_leaving = (
            ~nw.col("left_on").is_null()
            & (nw.col("answered_at").dt.truncate("1d") > nw.col("left_on").dt.truncate("1d"))
        ).fill_null(False)
    return surveys.with_columns(
        reason=nw.when(nw.col("answered_at").is_null())
        .then(nw.lit("answer without a date"))
        .when(nw.col("joined").is_null())
        .then(nw.lit("customer not in customers"))
        .when(nw.col("period") < nw.col("joined"))
        .then(nw.lit("answered before joining"))
        .when(after_leaving)
        .then(nw.lit("answered after leaving"))
        .when(nw.col("period") < first)
        .then(nw.lit("answered before the transactions begin"))
        .when(stray)
        .then(nw.lit("nps of a touchpoint beside relationship nps"))
        .when(nw.col("period") >= last)
        .then(nw.lit(NOT_OVER))
        .otherwise(nw.lit("kept"))
    ).select("customer_id", "period", "metric", "score", "answered_at", "reason")


def _mean_answers(answers: Frame, keys: Sequence[str], metrics: Sequence[str]) -> Frame:
    scores = {metric: nw.when(nw.col("metric") == metric).then(nw.col("score")) for metric in metrics}
    means = [nw.col(metric).mean() for metric in metrics]
    counts = [nw.col(metric).count().alias(f"{metric}_answers") for metric in metrics]
    summed = answers.with_columns(**scores).group_by(*keys).agg(*means, *counts)
    return summed.with_columns(nw.col(f"{metric}_answers").cast(nw.Int64) for metric in metrics)


def _collect(frame: Frame, order: Sequence[str]) -> pd.DataFrame:
    """Fetch and sort; texts that repeat stay one text each on the way."""
    table: pa.Table = frame.collect("pyarrow").to_native()
    for position, column in enumerate(table.schema):
        if column.name != "customer_id" and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            table = table.set_column(position, column.name, table.column(position).dictionary_encode())
    fetched: pd.DataFrame = table.to_pandas()
    return fetched.sort_values(list(order), kind="stable", ignore_index=True)


def _coded(
    rows: pd.DataFrame, active: pd.DataFrame, *, beside: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Frames with a code, the same in each of them, in place of the customer's id; who is only ``beside`` comes after the others."""
    ids = pd.Index(pd.concat([rows["customer_id"], active["customer_id"]]).unique()).sort_values()
    if beside is not None:
        more = pd.Index(beside["customer_id"].unique()).difference(ids, sort=False)
        ids = ids.append(more.sort_values())

    def code(frame: pd.DataFrame) -> pd.DataFrame:
        codes = ids.get_indexer(pd.Index(frame["customer_id"])).astype(np.int64)
        own = pd.Series(codes, frame.index, name="customer")
        return pd.concat([own, frame.drop(columns="customer_id")], axis=1)

    if beside is None:
        return code(rows), code(active), None
    return code(rows), code(active), code(beside).sort_values(["initiative", "customer", "period"], ignore_index=True)


def _pilot(rows: Frame | None, declared: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame | None:
    """Fetch the rows of pilots, ``customer_id`` and types as in the panel."""
    if rows is None:
        return None
    found = _collect(rows.drop("exposed_on"), ["initiative", "customer_id", "period"])
    if found.empty:
        return None
    for metric in metrics:
        found[f"{metric}_answers"] = found[f"{metric}_answers"].fillna(0)
    own = ["customer_id", *PILOT_COLUMNS]
    typed = _typed(found.drop(columns=own), declared)
    typed.insert(0, "customer_id", found["customer_id"])
    typed["initiative"] = found["initiative"].astype(str).astype("category")
    typed["arm"] = pd.Categorical(found["arm"].astype(str), categories=["treated", "control"])
    return typed.assign(exposed=found["exposed"].astype(np.int64), treated_later=found["treated_later"].astype(float))


def _events(tables: Tables, period: periods.Period) -> pd.DataFrame:
    """Which events of the declared calendar fall in which periods: ``period, event, days``."""
    found: list[tuple[int, str, int]] = []
    for event in tables.config.calendar:
        length = (event.ends_on - event.starts_on).days + 1
        first, last = (periods.containing(day, period) for day in (event.starts_on, event.ends_on))
        for index in range(first, last + 1):
            start, end = periods.start(index, period), periods.end(index, period)
            days = (min(end, event.ends_on) - max(start, event.starts_on)).days + 1
            if 2 * days >= min(length, (end - start).days + 1):
                found.append((index, event.label, days))
    table = pd.DataFrame(found, columns=["period", "event", "days"]).astype({"period": np.int64, "days": np.int64})
    summed: pd.DataFrame = table.groupby(["period", "event"], as_index=False).sum()
    return summed


def _count(frame: Frame, columns: Sequence[str]) -> int:
    sums = frame.select(*(nw.col(column).sum() for column in columns)).collect("pandas").to_native()
    return int(np.nansum(sums.to_numpy(dtype=float)))


def _typed(rows: pd.DataFrame, declared: Sequence[str]) -> pd.DataFrame:
    """Numbers as float64, declared text as category with sorted levels, counts and codes as int64."""
    typed: dict[str, pd.Series] = {}
    for column in rows.columns:
        values = rows[column]
        if column in ("customer", "period", *(f"{metric}_answers" for metric in METRICS)):
            typed[column] = values.astype(np.int64)
        elif column in declared and not pd.api.types.is_numeric_dtype(values):
            text = values.astype("category").cat.rename_categories(str)
            typed[column] = text.cat.set_categories(sorted(text.cat.categories))
        else:
            typed[column] = values.astype(np.float64)
    return pd.DataFrame(typed)


def _active(at_end: Frame, answers: Frame | None, metrics: Sequence[str], every: int) -> pd.DataFrame:
    """Customers of the base active at the end of the last period, with their last answers and the answers' age."""
    now = at_end
    for metric in metrics:
        assert answers is not None
        given = answers.filter(~nw.col(metric).is_null())
        latest = given.group_by("customer_id").agg(nw.col("period").max())
        answer = given.join(latest, on=["customer_id", "period"], how="inner")
        answer = answer.select(
            "customer_id", nw.col(metric).alias(f"last_{metric}"), nw.col("period").alias("answered_in")
        )
        now = (
            now.join(answer, on="customer_id", how="left")
            .with_columns((nw.col("period") - nw.col("answered_in")).cast(nw.Float64).alias(f"{metric}_age"))
            .drop("answered_in")
        )
    frame = _collect(now, ["customer_id"])
    frame = frame.drop(columns=[name for name in (*OUTCOMES, *FURTHER_OUTCOMES) if name in frame])
    return frame.assign(weight=float(every))


def _base(at_risk: Frame, declared: Sequence[str]) -> pd.DataFrame:
    """Moments of outcomes and controls over all customers at risk, by period."""
    schema = at_risk.collect_schema()
    declared = list(dict.fromkeys(declared))
    levels = [column for column in declared if schema[column] == nw.String]
    outcomes = [column for column in (*OUTCOMES, *FURTHER_OUTCOMES) if column in schema]
    numbers = [*outcomes, *HISTORY, *(column for column in declared if column not in levels)]
    sums: list[nw.Expr] = [nw.len().alias("n")]
    values: list[nw.Expr] = []
    for column in numbers:
        value = nw.col(column).cast(nw.Float64)
        values += [value.alias(f"{column}__sum"), (value * value).alias(f"{column}__square")]
        sums += [nw.col(f"{column}__sum").count().alias(f"{column}__n"), nw.col(f"{column}__sum").sum()]
        sums += [nw.col(f"{column}__square").sum()]
    # an engine may not quote the names it groups by
    keys = {f"level_{position}": column for position, column in enumerate(levels)}
    named = at_risk.with_columns(*values, *(nw.col(column).alias(key) for key, column in keys.items()))
    cells = named.group_by("period", *keys, drop_null_keys=False).agg(*sums).collect("pandas").to_native()
    cells = cells.rename(columns=keys).sort_values(["period", *levels], ignore_index=True)
    found: list[pd.DataFrame] = []
    by_period = cells.drop(columns=levels).groupby("period", as_index=False).sum()
    for column in numbers:
        n = by_period[f"{column}__n"].to_numpy(dtype=float)
        divisor = np.where(n > 0, n, np.nan)
        found.append(
            pd.DataFrame(
                {
                    "period": by_period["period"].astype(np.int64),
                    "column": column,
                    "level": "",
                    "n": n.astype(np.int64),
                    "mean": by_period[f"{column}__sum"].to_numpy(dtype=float) / divisor,
                    "mean_square": by_period[f"{column}__square"].to_numpy(dtype=float) / divisor,
                }
            )
        )
    for column in levels:
        by_level = cells.groupby(["period", column], as_index=False, dropna=False)["n"].sum()
        total = by_level.groupby("period")["n"].transform("sum")
        share = by_level["n"] / total
        level = by_level[column].astype("object").where(by_level[column].notna(), "")
        found.append(
            pd.DataFrame(
                {
                    "period": by_level["period"].astype(np.int64),
                    "column": column,
                    "level": level,
                    "n": total.astype(np.int64),
                    "mean": share.astype(float),
                    "mean_square": share.astype(float),
                }
            )
        )
    base = pd.concat(found, ignore_index=True)
    for column in ("mean", "mean_square"):
        base[column] = _rounded(base[column].to_numpy(dtype=float))
    return base


def _rounded(values: np.ndarray) -> np.ndarray:
    """Twelve significant digits: the order in which an engine sums must not show."""
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where((values == 0) | ~np.isfinite(values), 0.0, np.floor(np.log10(np.abs(values))))
        factor = 10.0 ** (11 - magnitude)
        return np.where(np.isfinite(values), np.round(values * factor) / factor, values)


def _accounting(
    classified: Frame, silent: int, kept: int, inactive: int, rows: int, period: periods.Period
) -> pd.DataFrame:
    counts = classified.group_by("reason").agg(nw.len().alias("rows")).collect("pandas").to_native()
    by_reason = dict(zip(counts["reason"], counts["rows"].astype(int), strict=True))
    by_reason |= {"invited, no answer": silent} if silent else {}
    read = sum(by_reason.values())
    candidates = by_reason.pop("kept", 0)
    lost = [("answers", reason, -count) for reason, count in sorted(by_reason.items())]
    if inactive:
        lost.append(("answers", f"customer not active at the end of the {period}", -inactive))
    other = candidates - kept - inactive
    if other:
        lost.append(("answers", "customer not at risk in that period", -other))
    stages = [
        ("answers", "read", read),
        *lost,
        ("answers", "kept", kept),
        ("panel", f"merged with another answer of the same customer and {period}", rows - kept),
        ("panel", "rows", rows),
    ]
    return pd.DataFrame(stages, columns=["stage", "reason", "rows"])


def _panel_from_outcomes(tables: Tables, period: periods.Period) -> Panel:
    """The same panel where the company can only export outcomes by period instead of transactions."""
    assert tables.outcomes is not None
    if tables.surveys is None:
        raise InputError(
            "a data set of outcomes must have surveys: without answers or transactions there is nothing to estimate."
        )
    columns = tables.outcomes.collect_schema().names()
    measured = tuple(column for column in (*OUTCOMES, *FURTHER_OUTCOMES) if column in columns)
    metrics = _metrics(tables)
    outcomes = tables.outcomes.select("customer_id", "period_start", "period_end", *measured)
    for column in OUTCOMES:
        if column not in measured:
            outcomes = outcomes.with_columns(nw.lit(None, nw.Float64).alias(column))
    surveys = tables.surveys
    if "answered_at" not in surveys.collect_schema().names():
        surveys = surveys.with_columns(answered_at=nw.lit(None, nw.Datetime("us")))
    surveys = surveys.select("response_id", "customer_id", "metric", "score", "answered_at")
    answered = surveys.filter(~nw.col("score").is_null())
    pairs = answered.join(outcomes.select("customer_id", "period_start", "period_end"), on="customer_id", how="inner")
    placed = pairs.with_columns(
        place=nw.when(nw.col("answered_at").is_null())
        .then(nw.lit("undated"))
        .when(nw.col("answered_at") < nw.col("period_start"))
        .then(nw.lit("before"))
        .when(nw.col("answered_at").dt.truncate("1d") <= nw.col("period_end").dt.truncate("1d"))
        .then(nw.lit("inside"))
        .otherwise(nw.lit("after"))
    )
    found = set(placed.select("place").unique().collect()["place"].to_list())
    timing: Timing = "before" if "before" in found else "inside" if "inside" in found else "undated"
    chosen = placed.filter(nw.col("place") == timing)
    if timing == "before":  # each answer speaks for the next outcome period only
        following = chosen.group_by("response_id").agg(nw.col("period_start").min())
        chosen = chosen.join(following, on=["response_id", "period_start"], how="inner")
    answers = _mean_answers(chosen, ["customer_id", "period_start"], metrics)
    declared = _declared(tables)
    customers = tables.customers.select("customer_id", nw.col("joined_on"), *declared)
    grid = (
        outcomes.join(customers, on="customer_id", how="inner")
        .with_columns(
            period=period_of("period_start", period) - 1,
            at_risk=nw.lit(1),
            tenure=(period_of("period_start", period) - period_of("joined_on", period)).cast(nw.Float64),
        )
        .with_columns(log_tenure=(nw.max_horizontal(nw.col("tenure"), nw.lit(0.0)) + 1).log())
    )
    further = [column for column in FURTHER_OUTCOMES if column in measured]
    for column in (*OUTCOMES, *further):
        grid = grid.with_columns(nw.col(column).cast(nw.Float64))
    if "retained" in measured:
        for column in ("orders", "revenue", "margin", *further):
            grid = grid.with_columns(
                nw.when(nw.col("retained") == 0).then(nw.col(column) * 0.0).otherwise(nw.col(column)).alias(column)
            )
    grid = tables.materialise(grid)
    rows = _collect(grid.join(answers, on=["customer_id", "period_start"], how="inner"), ["customer_id", "period"])
    if rows.empty:
        raise InputError(
            "a panel must have answers of customers that are in outcomes; none is left. Check that customer_id is written alike in both."
        )
    kept_columns = ["period_start", "period_end", "joined_on", "at_risk"]
    last = int(rows["period"].max()) + 1
    at_end = _collect(grid.filter(nw.col("period") == last - 1), ["customer_id"])
    still = at_end["retained"].fillna(1.0) > 0
    later = [*kept_columns, *OUTCOMES, *further]
    active = at_end.loc[still].drop(columns=later, errors="ignore").assign(weight=1.0)
    latest = rows.groupby("customer_id")[list(metrics)].last()
    for metric in metrics:
        active[f"last_{metric}"] = latest[metric].reindex(at_end.loc[still, "customer_id"]).to_numpy()
        active[f"{metric}_age"] = np.where(active[f"last_{metric}"].notna(), 1.0, np.nan)
    rows, active, _ = _coded(rows, active)
    read = _row_count(surveys)
    silent = read - _row_count(answered)
    kept = int(rows[[f"{metric}_answers" for metric in metrics]].to_numpy().sum())
    used = _row_count(chosen.select("response_id").unique())
    undated_copies = kept - used
    accounting = pd.DataFrame(
        [
            ("answers", "read", read),
            ("answers", "invited, no answer", -silent),
            ("answers", "no outcome period for this answer", -(read - silent - used)),
            ("answers", "kept", used),
            ("panel", "the same answer for further outcome periods", undated_copies),
            ("panel", "merged with another answer of the same customer and period", len(rows) - kept),
            ("panel", "rows", len(rows)),
        ],
        columns=["stage", "reason", "rows"],
    )
    accounting = accounting[
        (accounting["rows"] != 0) | accounting["reason"].isin(["read", "kept", "rows"])
    ].reset_index(drop=True)
    typed = _typed(rows.drop(columns=[column for column in kept_columns if column in rows]), declared)
    return Panel(
        rows=typed,
        base=_base_of_outcomes(grid, declared),
        active=_typed(active, declared),
        accounting=accounting,
        timing=timing,
        metrics=metrics,
        score_ranges=_score_ranges(tables, metrics),
        outcomes=measured,
        observed=_observed(grid),
        outcome_days=_usual_length(tables.outcomes),
        **_common(tables, period, last)
        | {
            "history": ("log_tenure",) if typed["log_tenure"].min() < typed["log_tenure"].max() else (),
            "retention": _retention_rule(tables) if "retained" in measured else "",
        },
    )


def _observed(grid: Frame) -> tuple[dt.date, dt.date]:
    days = grid.select(nw.col("period_start").min(), nw.col("period_end").max()).collect()
    return days["period_start"][0].date(), days["period_end"][0].date()


def _usual_length(outcomes: Frame) -> int:
    """Median length of the periods of outcomes, days."""
    days = outcomes.select((nw.col("period_end") - nw.col("period_start")).dt.total_minutes().alias("minutes"))
    return round(float(days.select(nw.col("minutes").median()).collect()["minutes"][0]) / (24 * 60)) + 1


def _base_of_outcomes(grid: Frame, declared: Sequence[str]) -> pd.DataFrame:
    for column in HISTORY:
        if column not in grid.collect_schema().names():
            grid = grid.with_columns(nw.lit(None, nw.Float64).alias(column))
    return _base(grid, declared)


def window(panel: Panel) -> tuple[dt.date, dt.date]:
    """First day of the first answer's period and last day of the last outcome's period (of outcomes tables: as they state)."""
    if panel.observed is not None:
        return panel.observed
    return periods.start(int(panel.rows["period"].min()), panel.period), periods.end(panel.last_period, panel.period)


def followed(tables: Tables, panel: Panel, *, periods_ahead: int = 4, origins: int = 8) -> pd.DataFrame:
    """What whole cohorts did: everybody at risk at the end of a period, in each of the periods after it.

    Parameters
    ----------
    tables, panel
        The panel of these tables.
    periods_ahead
        How many periods each cohort is followed.
    origins
        How many of the latest periods have a cohort.

    Returns
    -------
    DataFrame
        ``period`` (index), ``ahead`` (1, 2, …), ``n`` (customers at risk), ``retained`` (share still kept at the end of the
        period ahead), ``orders``, ``margin`` (per customer at risk; 0 where no longer kept; margin in currency). Customers
        without a contract may come back, so that only the next period can be told; so may it of a table of outcomes.
    """
    last = panel.last_period
    if tables.outcomes is not None or _retention_rule(tables) != "contract":
        base = panel.base[(panel.base["level"] == "") & panel.base["column"].isin(["retained", "orders", "margin"])]
        wide = base.pivot_table(index="period", columns="column", values="mean").reindex(
            columns=["retained", "orders", "margin"]
        )
        counts = base.groupby("period")["n"].max()
        found = wide.assign(ahead=1, n=counts).reset_index()
        kept = found["period"].between(last - origins, last - 1)
        return found.loc[kept, ["period", "ahead", "n", "retained", "orders", "margin"]].reset_index(drop=True)
    pairs = [(end, ahead) for end in range(last - origins, last) for ahead in range(1, periods_ahead + 1)]
    ahead = pd.DataFrame([pair for pair in pairs if sum(pair) <= last], columns=["period", "ahead"], dtype=np.int64)
    still = nw.col("left").is_null() | (nw.col("left") > nw.col("then"))
    at_risk = (nw.col("joined") <= nw.col("period")) & (nw.col("left").is_null() | (nw.col("left") > nw.col("period")))
    activity = _activity(tables, None, panel.period).rename({"period": "then"})
    cohorts = (
        _span(tables, panel.period)
        .join(tables.frame(ahead.assign(then=ahead.sum(axis=1))), how="cross")
        .filter(at_risk)
        .join(activity.select("customer_id", "then", "orders", "margin"), on=["customer_id", "then"], how="left")
        .with_columns(retained=nw.when(still).then(1.0).otherwise(0.0))
        .with_columns(
            *((nw.col(column).fill_null(0) * nw.col("retained")).alias(column) for column in ("orders", "margin"))
        )
    )
    sums = (nw.col(column).sum() for column in ("retained", "orders", "margin"))
    summed = cohorts.group_by("period", "ahead").agg(nw.len().alias("n"), *sums).collect("pandas").to_native()
    summed = summed.sort_values(["period", "ahead"], ignore_index=True)
    for column in ("retained", "orders", "margin"):
        summed[column] = _rounded(summed[column].to_numpy(dtype=float) / summed["n"].to_numpy(dtype=float))
    told: pd.DataFrame = summed[["period", "ahead", "n", "retained", "orders", "margin"]]
    return told.astype(dict.fromkeys(("period", "ahead", "n"), np.int64))
