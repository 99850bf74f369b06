"""Why spend per customer changed: how often customers came (FOV), what a visit was worth (ATV), and both together.

``Δspend = ΔFOV × ATV + FOV × ΔATV + ΔFOV × ΔATV``, for the same customers in both periods, so that a change of who is a customer is
none of spend; leaving stands apart, as retention. The same split holds for margin.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi import periods
from cxroi.errors import InputError
from cxroi.panel import METRICS, last_complete_period, period_of
from cxroi.scores import csat_interval, hidden_cells
from cxroi.tables import Tables
from cxroi.tables.violation import suggestion
from cxroi.value.cohorts import MONEY_DIGITS, first_transaction, first_whole_period, twelve_digits
from cxroi.value.forward import BANDS, NO_ANSWER
from cxroi.value.survival import band_of_score, dated_answers

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]
Span = Literal["year", "quarter", "month"]
Lag = Literal["year", "span"]
Visit = Literal["order", "purchase_day"]

FEWEST = 30  # customers, and visits in each of the two periods
ALL, UNKNOWN = "all", "not known"
NORMAL_975 = float(special.ndtri(0.975))
NEVER = dt.datetime(2200, 1, 1)
AMOUNTS = ("spend", "margin")
SUMS = ("visits_before", "spend_before", "margin_before", "visits_after", "spend_after", "margin_after")
PAIRS = tuple(itertools.combinations_with_replacement(range(len(SUMS)), 2))
PARTS = ("frequency", "value", "interaction", "total")
FIGURES = ("estimate", "std_error", "conf_low", "conf_high")
LADDER: tuple[tuple[str, str, str], ...] = (
    ("frequency_of_visit", "orders", "visits per customer"),
    ("average_transaction_value", "", "per visit"),
    ("margin_rate", "", "share of spend"),
    ("margin_per_visit", "margin_per_order", "per visit"),
    ("spend_per_customer", "", "per customer"),
    ("margin_per_customer", "", "per customer"),
)
"""Steps from a visit to lifetime value: the quantity, the term of the value identity that it is, its unit."""


@dataclass(frozen=True)
class SpendChange:
    """Change of spend and of margin per customer between two periods, split.

    Attributes
    ----------
    changes : DataFrame
        A row per comparison, group, measure and part: ``before, after`` (labels of the periods), ``group``, ``measure`` (``spend``,
        ``margin``), ``part`` (``frequency``, ``value``, ``interaction``, ``total``), ``estimate, std_error, conf_low, conf_high``
        (currency per customer and period), ``customers, unit, suppressed``. The newest comparison comes first.
    steps : DataFrame
        What is multiplied, in each of the two periods: ``before, after, group, quantity, identity_term, period, estimate, std_error,
        conf_low, conf_high, customers, unit, suppressed``. ``retention`` is the share of the customers of the period before who were still
        there in the one after.
    overall : DataFrame
        ``changes`` of all groups together.
    """

    by: str
    span: Span
    visit: Visit
    changes: pd.DataFrame
    steps: pd.DataFrame
    overall: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.changes)

    def tidy(self) -> pd.DataFrame:
        """A row per comparison, group, measure and part."""
        return self.changes

    def ladder(self) -> pd.DataFrame:
        """From frequency and value of a visit over the margin rate and retention to the terms of the value identity."""
        return self.steps

    @property
    def _newest(self) -> pd.DataFrame:
        """The newest change of spend over all groups, a row per part."""
        return self.overall[self.overall["measure"] == "spend"].iloc[: len(PARTS)].set_index("part")

    def glance(self) -> pd.DataFrame:
        """One row: the newest change of spend per customer over all groups, with its interval and its three parts."""
        parts = self._newest
        row = {name: [parts[name]["total"]] for name in ("before", "after", "customers", *FIGURES, "unit")}
        return pd.DataFrame(row | {part: [parts["estimate"][part]] for part in PARTS[:-1]})

    def checks(self) -> pd.DataFrame:
        """Verdicts: ``name, verdict, number, advice``."""
        low, high = (float(self._newest[name]["total"]) for name in ("conf_low", "conf_high"))
        clear = low > 0 or high < 0
        small = self.changes.loc[self.changes["part"] == "total"]
        hidden = int(small.loc[small["measure"] == "spend", "suppressed"].sum())
        rows = [
            (
                "spend changed",
                "pass" if clear else "warn",
                float(self._newest["estimate"]["total"]),
                "change of spend per customer, newest periods"
                + ("" if clear else "; its interval holds 0, so read no story into its parts"),
            ),
            (
                "groups large enough",
                "pass" if hidden == 0 else "warn",
                float(hidden),
                f"groups suppressed: fewer than {FEWEST} customers or visits, or shown they would tell a smaller one",
            ),
        ]
        if self.by in METRICS:
            advice = "bands differ in more than the answer, and differences between them are associations"
            rows.append(("bands", "warn", np.nan, advice))
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def spend_change(
    tables: Tables,
    *,
    by: str = "",
    span: Span = "year",
    lag: Lag = "year",
    visit: Visit = "order",
    last_period: str | None = None,
) -> SpendChange | str:
    """Split the change of spend per customer into frequency, value and their interaction.

    Parameters
    ----------
    tables : Tables
        Customers and transactions are enough.
    by : str, optional
        ``nps``, ``csat`` or ``ces`` (band of the last answer before both periods, else ``no answer``), a declared segment, ``brand``
        or ``acquisition_channel``.
    span : {"year", "quarter", "month"}
        Length of a period; a year is four whole quarters.
    lag : {"year", "span"}
        Against the same time of the year before, or against the period just before (seasons then count as change).
    visit : {"order", "purchase_day"}
        An order, or a day with at least one (where one purchase is split into several orders).
    last_period : str, optional
        Quarter (month) with which the newest period ends, by default the last one that is over.

    Returns
    -------
    SpendChange or str
        Every comparison that the data allow, the newest first; the reason in words where there is none.

    Raises
    ------
    InputError
        If an argument is none of its choices, or the last period is not over.

    Notes
    -----
    The customers are those who joined before both periods and were there in both: by the rule ``contract`` not left by the end of the later
    one, else with an order in each. Spend is net of refunds. Standard errors by the delta method from the covariance of the customers' sums
    in both periods; that of the interaction, a product of two changes, with its second-order term. Source: Farris et al. (2010), Marketing
    Metrics, 2nd ed. (frequency and average transaction value); Cochran (1977), Sampling Techniques, 6.3 (errors of ratios); Goodman (1960),
    JASA 55:708 (errors of products).
    """
    _check_choices(tables, by, span, lag, visit)
    if tables.transactions is None:
        return "the data have no transactions; frequency and value of a visit need them"
    start = first_transaction(tables.transactions)
    if start is None:
        return "the data hold no transactions"
    grain: periods.Period = "month" if span == "month" else "quarter"
    first, last = first_whole_period(start, grain), last_complete_period(tables, grain, last_period)
    length = 4 if span == "year" else 1
    distance = periods.PER_YEAR[grain] if lag == "year" else length
    ends = [end for end in range(last, first - 1, -length) if end - distance - length + 1 >= first]
    if not ends:
        whole = max(last - first + 1, 0)
        return f"{whole} whole {grain}s are recorded; this comparison needs {distance + length}"
    if by in METRICS and (tables.surveys is None or dated_answers(tables, by) is None):
        return f"the data have no dated answers to {by}"
    activity = tables.materialise(_activity(tables.transactions, grain, visit))
    moments = []
    for end in ends:
        spans = (end - distance - length + 1, end - distance, end - length + 1, end)
        found = _moments(
            _grouped(tables, _followed(tables, activity, spans, grain), by, periods.start(spans[0], grain))
        )
        if len(found):
            names = (_label(spans[0], spans[1], grain), _label(spans[2], spans[3], grain))
            moments.append(found.assign(before=names[0], after=names[1]))
    if not moments:
        return "nobody was a customer before and throughout both periods"
    cells = pd.concat(moments, ignore_index=True)
    whole_base = (
        cells.drop(columns="group").groupby(["before", "after"], sort=False, as_index=False).sum().assign(group=ALL)
    )
    unit = tables.config.currency or "currency"
    changes, steps = _split(_in_order(cells, by), unit, span)
    return SpendChange(
        by=by, span=span, visit=visit, changes=changes, steps=steps, overall=_split(whole_base, unit, span)[0]
    )


def _check_choices(tables: Tables, by: str, span: str, lag: str, visit: str) -> None:
    closed: dict[str, tuple[str, Any]] = {"span": (span, Span), "lag": (lag, Lag), "visit": (visit, Visit)}
    for name, (value, literal) in closed.items():
        if value not in get_args(literal):
            raise InputError(f"{name} must be one of {', '.join(get_args(literal))}; got {value!r}")
    named = [name for name in ("brand", "acquisition_channel") if name in tables.customers.collect_schema().names()]
    choices = list(dict.fromkeys([*METRICS, *tables.segments, *named]))
    if by and by not in choices:
        question = suggestion(by, choices)
        raise InputError(
            f"by must be empty or one of {', '.join(choices)}; got {by!r}{'; ' + question if question else '.'}"
        )


def _label(first: int, last: int, grain: periods.Period) -> str:
    """``2026Q3``, or ``2025Q4–2026Q3`` for a year."""
    own = periods.label(last, grain)
    return own if first == last else f"{periods.label(first, grain)}–{own}"


def _activity(transactions: Frame, grain: periods.Period, visit: Visit) -> Frame:
    """Visits, spend and margin per customer and period, from one pass over the transactions."""
    keys = ["customer_id", "period"]
    bought = transactions.with_columns(
        period=period_of(nw.col("occurred_at"), grain), visits=nw.when(nw.col("amount") > 0).then(1).otherwise(0)
    )
    if visit == "purchase_day":
        day = bought.with_columns(day=nw.col("occurred_at").dt.truncate("1d")).group_by(*keys, "day")
        bought = day.agg(nw.col("visits").max(), nw.col("amount").sum(), nw.col("margin").sum())
    summed = bought.group_by(*keys).agg(nw.col("visits").sum(), nw.col("amount").sum(), nw.col("margin").sum())
    return summed.select(
        *keys,
        nw.col("visits").cast(nw.Float64),
        nw.col("amount").fill_null(0.0).round(MONEY_DIGITS).alias("spend"),
        nw.col("margin").fill_null(0.0).round(MONEY_DIGITS),
    )


def _followed(tables: Tables, activity: Frame, spans: tuple[int, int, int, int], grain: periods.Period) -> Frame:
    """Customers there in the period before: ``customer_id, kept`` (there in the one after too) and their six sums."""
    inside = {
        "before": (nw.col("period") >= spans[0]) & (nw.col("period") <= spans[1]),
        "after": (nw.col("period") >= spans[2]) & (nw.col("period") <= spans[3]),
    }
    columns = {
        f"{amount}_{when}": nw.when(condition).then(nw.col(amount)).otherwise(0.0)
        for when, condition in inside.items()
        for amount in ("visits", *AMOUNTS)
    }
    relevant = activity.filter(inside["before"] | inside["after"]).with_columns(**columns)
    sums = relevant.group_by("customer_id").agg(*(nw.col(name).sum() for name in SUMS))
    has_left = "left_on" in tables.customers.collect_schema().names()
    left_on = nw.col("left_on").fill_null(NEVER) if has_left else nw.lit(NEVER)
    dated = tables.customers.select("customer_id", "joined_on", left_on.alias("left_on")).select(
        "customer_id", joined=period_of(nw.col("joined_on"), grain), left=period_of(nw.col("left_on"), grain)
    )
    there = dated.filter((nw.col("joined") < spans[0]) & (nw.col("left") > spans[1]))
    rule = tables.config.retention
    followed = there.join(sums, on="customer_id", how="left").with_columns(nw.col(name).fill_null(0.0) for name in SUMS)
    kept = nw.col("left") > spans[3]
    if rule is None or rule.rule == "repurchase":
        followed = followed.filter(nw.col("visits_before") > 0)
        kept = kept & (nw.col("visits_after") > 0)
    return followed.with_columns(kept=nw.when(kept).then(1.0).otherwise(0.0)).select("customer_id", "kept", *SUMS)


def _grouped(tables: Tables, followed: Frame, by: str, start: dt.date) -> Frame:
    if not by:
        return followed.with_columns(group=nw.lit(ALL))
    if by not in METRICS:
        segment = tables.customers.select("customer_id", nw.col(by).cast(nw.String).fill_null(UNKNOWN).alias("group"))
        return followed.join(segment, on="customer_id", how="left")
    answers = dated_answers(tables, by)
    assert answers is not None
    earlier = answers.filter(nw.col("answered_at") < dt.datetime.combine(start, dt.time()))
    latest = earlier.group_by("customer_id").agg(nw.col("answered_at").max())
    given = earlier.join(latest, on=["customer_id", "answered_at"], how="inner")
    mean = given.group_by("customer_id").agg(nw.col("score").mean())
    band = mean.select("customer_id", band_of_score(tables, by).alias("group"))
    return followed.join(band, on="customer_id", how="left").with_columns(nw.col("group").fill_null(NO_ANSWER))


def _moments(grouped: Frame) -> pd.DataFrame:
    """A row per group: customers before and kept, sums and sums of products over the kept; all that is fetched."""
    kept = grouped.with_columns(nw.col(name) * nw.col("kept") for name in SUMS)
    products = {f"product_{i}_{j}": nw.col(SUMS[i]) * nw.col(SUMS[j]) for i, j in PAIRS}
    counted = (
        kept.with_columns(**products)
        .group_by("group")
        .agg(nw.len().alias("started"), nw.col("kept").sum(), *(nw.col(name).sum() for name in (*SUMS, *products)))
    )
    fetched: pd.DataFrame = counted.collect("pandas").to_native()
    sums = [name for name in fetched.columns if name != "group"]
    fetched[sums] = twelve_digits(fetched[sums].to_numpy(dtype=float))
    return fetched[fetched["kept"] > 0].sort_values("group", ignore_index=True)


def _in_order(cells: pd.DataFrame, by: str) -> pd.DataFrame:
    """Comparisons newest first, bands from low to high."""
    if by not in METRICS:
        return cells
    rank = {band: place for place, band in enumerate((*BANDS[by], NO_ANSWER))}
    comparison = cells.groupby(["before", "after"], sort=False).ngroup()
    order = np.lexsort((cells["group"].map(rank).to_numpy(), comparison.to_numpy()))
    return cells.iloc[order].reset_index(drop=True)


def _split(cells: pd.DataFrame, unit: str, span: Span) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tidy changes and steps of every cell, small cells emptied."""
    least = cells[["kept", "visits_before", "visits_after"]].min(axis=1)
    hidden = hidden_cells(least, cells[["before", "after", "group"]], floor=FEWEST)
    changes, steps = [], []
    for cell, small in zip(cells.to_dict("records"), hidden, strict=True):
        key = [cell[name] for name in ("before", "after", "group")]
        n = np.nan if small else cell["kept"]
        mean, covariance = _means(cell)
        money = f"{unit} per customer and {span}"
        for measure in AMOUNTS:
            for part, found in _parts(mean, measure).items():
                figures = _figures(found, covariance, small=small)
                changes.append((*key, measure, part, *figures, n, money, small))
        for when in ("before", "after"):
            rungs = _steps(mean, when)
            for quantity, term, per in LADDER:
                figures = _figures(rungs[quantity], covariance, small=small)
                shown = f"{unit} {per}" if per.startswith("per ") else per
                shown += f" and {span}" if "customer" in per else ""
                steps.append((*key, quantity, term, when, *figures, n, shown, small))
        stayed = csat_interval(cell["kept"], cell["started"])
        figures = (np.nan,) * len(FIGURES) if small else tuple(float(one) for one in stayed)
        started = np.nan if small else cell["started"]
        steps.append((*key, "retention", "retention", "after", *figures, started, "share", small))
    names = ["before", "after", "group"]
    ending = [*FIGURES, "customers", "unit", "suppressed"]
    return (
        pd.DataFrame(changes, columns=[*names, "measure", "part", *ending]),
        pd.DataFrame(steps, columns=[*names, "quantity", "identity_term", "period", *ending]),
    )


def _means(cell: Mapping[Any, Any]) -> tuple[Floats, Floats]:
    """Means of the six sums over the customers, and the covariance of these means, shapes (6,) and (6, 6)."""
    n = cell["kept"]
    mean = np.array([cell[name] for name in SUMS]) / n
    products = np.zeros((len(SUMS), len(SUMS)))
    for i, j in PAIRS:
        products[i, j] = products[j, i] = cell[f"product_{i}_{j}"]
    return mean, (products / n - np.outer(mean, mean)) / max(n - 1, 1)


class _Estimate(NamedTuple):
    """A function of the six means: its value, its gradient, and of a product of two changes the gradients of both."""

    value: float
    gradient: Floats
    factors: tuple[Floats, Floats] | None = None


def _parts(mean: Floats, measure: str) -> dict[str, _Estimate]:
    """The parts of a change."""
    places = [SUMS.index(name) for name in ("visits_before", f"{measure}_before", "visits_after", f"{measure}_after")]
    visits, amount, visits_after, amount_after = mean[places]
    if not (visits > 0 and visits_after > 0):
        return dict.fromkeys(PARTS, _Estimate(np.nan, np.zeros(len(SUMS))))
    value, value_after = amount / visits, amount_after / visits_after
    more, dearer = visits_after - visits, value_after - value
    of_more = _placed([-1.0, 0.0, 1.0, 0.0], places)
    of_dearer = _placed([value / visits, -1 / visits, -value_after / visits_after, 1 / visits_after], places)
    of_visits = _placed([1.0, 0.0, 0.0, 0.0], places)
    of_value = _placed([-value / visits, 1 / visits, 0.0, 0.0], places)
    return {
        "frequency": _Estimate(float(more * value), value * of_more + more * of_value),
        "value": _Estimate(float(visits * dearer), dearer * of_visits + visits * of_dearer),
        "interaction": _Estimate(float(more * dearer), dearer * of_more + more * of_dearer, (of_more, of_dearer)),
        "total": _Estimate(float(amount_after - amount), _placed([0.0, -1.0, 0.0, 1.0], places)),
    }


def _steps(mean: Floats, when: str) -> dict[str, _Estimate]:
    """The quantities of the ladder in one of the periods."""
    visits, spend, margin = (SUMS.index(f"{name}_{when}") for name in ("visits", *AMOUNTS))
    return {
        "frequency_of_visit": _Estimate(float(mean[visits]), _placed([1.0], [visits])),
        "average_transaction_value": _ratio(mean, spend, visits),
        "margin_rate": _ratio(mean, margin, spend),
        "margin_per_visit": _ratio(mean, margin, visits),
        "spend_per_customer": _Estimate(float(mean[spend]), _placed([1.0], [spend])),
        "margin_per_customer": _Estimate(float(mean[margin]), _placed([1.0], [margin])),
    }


def _ratio(mean: Floats, above: int, below: int) -> _Estimate:
    if not mean[below] > 0:
        return _Estimate(np.nan, np.zeros(len(SUMS)))
    ratio = float(mean[above] / mean[below])
    return _Estimate(ratio, _placed([1 / mean[below], -ratio / mean[below]], [above, below]))


def _placed(values: Sequence[float], places: Sequence[int]) -> Floats:
    gradient = np.zeros(len(SUMS))
    gradient[list(places)] = values
    return gradient


def _figures(found: _Estimate, covariance: Floats, *, small: bool) -> tuple[float, ...]:
    """Estimate, standard error and limits; the variance of a product of changes has its second-order term."""
    if small or not np.isfinite(found.value):
        return (np.nan,) * len(FIGURES)
    variance = found.gradient @ covariance @ found.gradient
    if found.factors is not None:
        one, other = found.factors
        variance += (one @ covariance @ one) * (other @ covariance @ other) + (one @ covariance @ other) ** 2
    error = float(np.sqrt(np.maximum(variance, 0.0)))
    return found.value, error, found.value - NORMAL_975 * error, found.value + NORMAL_975 * error
