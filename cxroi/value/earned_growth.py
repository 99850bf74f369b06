"""Earned growth: how much of a period's revenue comes from customers who stayed, who were referred, and who were bought.

Revenue of a period is split by where its customers come from, each part over the revenue of the base period a year before: customers
of the base period (net revenue retention), new ones who came by referral (earned), new ones who came otherwise (bought), new ones
whose origin is not stated, and those who return after a period without a purchase. The parts sum to the growth of revenue.

Source: Reichheld, Darnell & Burns (2021), "Net Promoter 3.0", Harvard Business Review 99(6):80; ratio estimators, Cochran (1977),
Sampling Techniques, section 6.3.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi import periods
from cxroi.errors import InputError
from cxroi.panel import first_referrals, last_complete_period, period_of
from cxroi.scores import csat_interval
from cxroi.tables import Tables
from cxroi.tables.violation import suggestion
from cxroi.value.brands import FEWEST_CUSTOMERS, hidden_sums

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]

NORMAL_975 = float(special.ndtri(0.975))
DAYS_OF_GRACE = 7
MOST_UNKNOWN, TOO_MANY_UNKNOWN, MOST_RETURNED = 0.1, 0.5, 0.05
GROUPS = ("stayed", "earned", "earned_incentivised", "bought", "unknown", "returned")
NEW = ("earned", "earned_incentivised", "bought", "unknown")
# Each term: the groups whose revenue it counts, and what is taken off so that it reads as a share or a rate of growth.
TERMS: dict[str, tuple[tuple[str, ...], float]] = {
    "net_revenue_retention": (("stayed",), 0.0),
    "gross_revenue_retention": (("stayed",), 0.0),
    "earned_new": (("earned", "earned_incentivised"), 0.0),
    "earned_new_incentivised": (("earned_incentivised",), 0.0),
    "bought_new": (("bought",), 0.0),
    "unknown_new": (("unknown",), 0.0),
    "all_new": (NEW, 0.0),
    "returned": (("returned",), 0.0),
    "earned_growth_rate": (("stayed", "earned", "earned_incentivised"), 1.0),
    "earned_growth_rate_if_unknown_earned": (("stayed", "earned", "earned_incentivised", "unknown"), 1.0),
    "revenue_growth_rate": (GROUPS, 1.0),
}
OF_BASE, OF_NEW = "share of base revenue", "share of new customers"


@dataclass(frozen=True)
class EarnedGrowth:
    """Revenue retention, earned and bought new customers, and the earned growth rate of every period.

    Attributes
    ----------
    terms : DataFrame
        A row per period and term: ``kind`` (``year``, ``quarter``), ``period, base_period, term, estimate, std_error, conf_low,
        conf_high`` (over customers), ``unit, customers`` (whom the term counts), ``revenue`` (observed total of what it counts,
        currency), ``base_revenue, currency, suppressed``. ``gross_revenue_retention`` caps each customer at their base revenue.
        ``earned_growth_rate`` counts no customer of unknown origin: the rate if all of them were bought;
        ``earned_growth_rate_if_unknown_earned`` is the other bound. ``unknown_share_of_new`` is a share of new customers.
    earned_channels : tuple of str
        Acquisition channels that count as earned beside the referrals.
    """

    terms: pd.DataFrame
    earned_channels: tuple[str, ...]

    def __repr__(self) -> str:
        return repr(self.terms)

    def tidy(self) -> pd.DataFrame:
        """A row per period and term, years first, the latest first."""
        return self.terms.copy()

    def _latest(self) -> pd.DataFrame:
        latest: pd.DataFrame = self.terms[self.terms["period"] == self.terms["period"].iloc[0]]
        return latest.set_index("term")

    def glance(self) -> pd.DataFrame:
        """One row: the latest year (or quarter), its earned growth rate with limits and its bound, and who is of unknown origin."""
        latest = self._latest()
        rate = latest.loc["earned_growth_rate"]
        return pd.DataFrame(
            {
                "period": [rate["period"]],
                "base_period": [rate["base_period"]],
                "net_revenue_retention": [latest.loc["net_revenue_retention", "estimate"]],
                "earned_growth_rate": [rate["estimate"]],
                "conf_low": [rate["conf_low"]],
                "conf_high": [rate["conf_high"]],
                "if_unknown_earned": [latest.loc["earned_growth_rate_if_unknown_earned", "estimate"]],
                "unknown_share_of_new": [latest.loc["unknown_share_of_new", "estimate"]],
                "earned_channels": [", ".join(self.earned_channels)],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Verdicts for the latest period: is the origin of new customers known, are enough customers there, who returns."""
        latest = self._latest()
        estimate = dict(zip(latest.index, latest["estimate"].to_numpy(dtype=np.float64), strict=True))
        new, unknown, returned = (float(estimate[term]) for term in ("all_new", "unknown_new", "returned"))
        share = 0.0 if unknown == 0 else unknown / new
        verdict = "pass" if share <= MOST_UNKNOWN else "fail" if share > TOO_MANY_UNKNOWN else "warn"
        hidden = int(latest["suppressed"].sum())
        rows = [
            (
                "origin of new customers known",
                verdict,
                share,
                "share of new customers' revenue whose origin nobody recorded, neither earned nor bought; ask new customers why they came",
            ),
            (
                "customers who return",
                "warn" if returned > MOST_RETURNED else "pass",
                returned,
                "revenue of customers without a purchase in the base period who are not new: in neither part of the earned growth rate; "
                "much of it points to customers who buy less than once a period, or to a second id for the same person",
            ),
            (
                "enough customers",
                "warn" if hidden else "pass",
                float(hidden),
                f"terms not shown: those of fewer than {FEWEST_CUSTOMERS} customers, and those that would tell them",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def earned_growth(tables: Tables, *, earned_channels: Sequence[str]) -> EarnedGrowth | str:
    """Split the growth of revenue into customers kept, earned, bought, of unknown origin and returned.

    Parameters
    ----------
    tables : Tables
        With transactions; ``referrals`` and ``customers.acquisition_channel`` tell where new customers come from.
    earned_channels : sequence of str
        Acquisition channels that you count as earned (referral, recommendation); may be empty. All other stated channels are bought.

    Returns
    -------
    EarnedGrowth or str
        The reason in words where no period has a complete period a year before it.

    Raises
    ------
    InputError
        If an earned channel is none of the data's.

    Notes
    -----
    Periods: the year that ends with the last day of the data against the year before, and each quarter that is over against the same
    quarter a year before. New is who bought for the first time in the later period and did not join before it. A customer with a
    referral is earned whatever the channel says. Limits are those of a ratio of two sums over customers (delta method on the log scale),
    for customers like these; they do not say what next year brings.
    """
    if isinstance(earned_channels, str):
        raise InputError(
            f"earned_channels must be a list of channels; got the text {earned_channels!r}. Write [{earned_channels!r}]"
        )
    if tables.transactions is None or tables.data_end is None:
        return "earned growth is computed from dated transactions; this data set has none"
    _refuse_unknown_channels(tables, earned_channels)
    spans = _periods(tables)
    if isinstance(spans, str):
        return spans
    sums = _sums(tables, spans, earned_channels)
    blocks = [_terms(sums[sums["span"] == number], span) for number, span in enumerate(spans)]
    shown = [block for block in blocks if block is not None]
    if not shown:
        return f"no period has {FEWEST_CUSTOMERS} customers with revenue a year before"
    currency = tables.config.currency or ""
    return EarnedGrowth(pd.concat(shown, ignore_index=True).assign(currency=currency), tuple(earned_channels))


@dataclass(frozen=True)
class _Span:
    """One period and its base; days, the last one included."""

    kind: str
    period: str
    base_period: str
    base_start: dt.date
    base_end: dt.date
    start: dt.date
    end: dt.date


def _refuse_unknown_channels(tables: Tables, earned_channels: Sequence[str]) -> None:
    if not earned_channels:
        return
    if "acquisition_channel" not in tables.customers.collect_schema().names():
        raise InputError(
            "earned_channels must be channels of customers; customers have no acquisition_channel. Give an empty list."
        )
    stated = tables.customers.select("acquisition_channel").filter(~nw.col("acquisition_channel").is_null())
    known = sorted(stated.unique().collect()["acquisition_channel"].to_list())
    for channel in earned_channels:
        if channel not in known:
            hint = suggestion(channel, known) or f"channels: {', '.join(known)}"
            raise InputError(f"earned_channels must be channels of customers; {channel!r} is none of them ({hint})")


def _periods(tables: Tables) -> list[_Span] | str:
    """The latest year and the quarters that are over, each with a base that the transactions cover; the latest first."""
    assert tables.transactions is not None
    assert tables.data_end is not None
    begins = tables.transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0].date()
    day, end = dt.timedelta(days=1), tables.data_end
    after = pd.Timestamp(end + day)
    start, base_start = ((after - pd.DateOffset(years=years)).date() for years in (1, 2))
    year = _Span("year", f"year to {end}", f"year to {start - day}", base_start, start - day, start, end)
    spans = [year]
    last = last_complete_period(tables, "quarter", None)
    for quarter in range(last, periods.containing(begins) + 3, -1):
        base = quarter - 4
        days = (periods.start(base), periods.end(base), periods.start(quarter), periods.end(quarter))
        spans.append(_Span("quarter", periods.label(quarter), periods.label(base), *days))
    covered = [span for span in spans if (begins - span.base_start).days <= DAYS_OF_GRACE]
    if not covered:
        return (
            f"earned growth compares a period with the one a year before; the transactions begin on {begins} and end on {end}, "
            "so that no quarter has its quarter a year before"
        )
    return covered


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time())


def _sums(tables: Tables, spans: Sequence[_Span], earned_channels: Sequence[str]) -> pd.DataFrame:
    """Sums over the customers of every span and group: ``span, group, customers, base, later, capped`` and their products."""
    pairs = [("base", "base"), ("later", "later"), ("capped", "capped"), ("base", "later"), ("base", "capped")]
    products = {f"{one}_{other}": nw.col(one) * nw.col(other) for one, other in pairs}
    columns = ("base", "later", "capped", *products)
    sums = _customers(tables, spans, earned_channels).with_columns(**products).group_by("span", "group")
    cells = sums.agg(nw.len().alias("customers"), *(nw.col(column).sum() for column in columns))
    fetched: pd.DataFrame = cells.collect("pandas").to_native()
    return fetched.sort_values(["span", "group"], ignore_index=True)


def _customers(tables: Tables, spans: Sequence[_Span], earned_channels: Sequence[str]) -> Frame:
    """Revenue of every customer in the base and the later period of every span: ``span, group, base, later, capped``."""
    activity = tables.materialise(_activity(tables, spans))
    first = activity.group_by("customer_id").agg(nw.col("first_bought").min())
    linked = activity.join(tables.frame(_roles(activity, spans)), on=["quarter", "part"], how="inner")
    roles = {
        "base": nw.when(nw.col("is_later") == 0).then(nw.col("revenue")).otherwise(0.0),
        "later": nw.when(nw.col("is_later") == 1).then(nw.col("revenue")).otherwise(0.0),
        "in_base": 1 - nw.col("is_later"),
    }
    totals = (nw.col("base").sum(), nw.col("later").sum(), nw.col("in_base").max())
    customers = linked.with_columns(**roles).group_by("customer_id", "span", "starts_at").agg(*totals)
    origin = _origins(tables, earned_channels)
    joined = customers.join(first, on="customer_id", how="inner").join(origin, on="customer_id", how="inner")
    is_new = (nw.col("first_bought") >= nw.col("starts_at")) & (nw.col("joined_on") >= nw.col("starts_at"))
    stayed, returned = (nw.lit(GROUPS.index(name)) for name in ("stayed", "returned"))
    return joined.select(
        "span",
        "base",
        "later",
        group=nw.when(nw.col("in_base") == 1).then(stayed).when(is_new).then(nw.col("origin")).otherwise(returned),
        capped=nw.when(nw.col("later") < nw.col("base")).then(nw.col("later")).otherwise(nw.col("base")),
    )


def _activity(tables: Tables, spans: Sequence[_Span]) -> Frame:
    """Revenue per customer, quarter and part of it (before, in and after the year's base), from one pass over the transactions.

    ``first_bought`` is the first purchase among them, null where there is none.
    """
    assert tables.transactions is not None
    at, amount = nw.col("occurred_at"), nw.col("amount")
    cuts = [_midnight(day) for span in spans if span.kind == "year" for day in (span.base_start, span.start)]
    passed = [nw.when(at >= cut).then(1).otherwise(0) for cut in cuts]
    rows = tables.transactions.select(
        "customer_id",
        quarter=period_of(at, "quarter"),
        part=sum(passed, nw.lit(0)),
        revenue=amount.fill_null(0.0),
        first_bought=nw.when(amount > 0).then(at),
    )
    return rows.group_by("customer_id", "quarter", "part").agg(nw.col("revenue").sum(), nw.col("first_bought").min())


def _roles(activity: Frame, spans: Sequence[_Span]) -> pd.DataFrame:
    """Which quarters and parts are the base and which the later period of each span: ``quarter, part, span, is_later, starts_at``."""
    places = activity.select("quarter", "part").unique().collect().rows()
    roles = []
    for number, span in enumerate(spans):
        if span.kind == "year":
            base, later = ({(quarter, part) for quarter, part in places if part == wanted} for wanted in (1, 2))
        else:
            both = (periods.index(span.base_period), periods.index(span.period))
            base, later = ({(quarter, part) for quarter, part in places if quarter == wanted} for wanted in both)
        start = _midnight(span.start)
        roles += [(*place, number, 0, start) for place in sorted(base)]
        roles += [(*place, number, 1, start) for place in sorted(later)]
    table = pd.DataFrame(roles, columns=["quarter", "part", "span", "is_later", "starts_at"])
    return table.astype(dict.fromkeys(table.columns[:4], np.int64) | {"starts_at": "datetime64[us]"})


def _origins(tables: Tables, earned_channels: Sequence[str]) -> Frame:
    """Where each customer comes from: ``customer_id, joined_on, origin`` (position in the groups)."""
    columns = tables.customers.collect_schema().names()
    customers = tables.customers.select(
        "customer_id", "joined_on", *(["acquisition_channel"] if "acquisition_channel" in columns else [])
    )
    code = {name: nw.lit(GROUPS.index(name)) for name in NEW}
    by_channel = code["unknown"]
    if "acquisition_channel" in columns:
        channel = nw.col("acquisition_channel")
        stated = nw.when(channel.is_null()).then(code["unknown"]).otherwise(code["bought"])
        by_channel = nw.when(channel.is_in(list(earned_channels))).then(code["earned"]).otherwise(stated)
    if tables.referrals is None:
        return customers.select("customer_id", "joined_on", by_channel.alias("origin"))
    brought = first_referrals(tables).select(
        nw.col("referred_id").alias("customer_id"), "incentivised", brought=nw.lit(1)
    )
    by_referral = nw.when(nw.col("incentivised") == 1).then(code["earned_incentivised"]).otherwise(code["earned"])
    origin = nw.when(nw.col("brought") == 1).then(by_referral).otherwise(by_channel)
    joined = customers.join(brought, on="customer_id", how="left")
    return joined.select("customer_id", "joined_on", origin.alias("origin"))


def _terms(sums: pd.DataFrame, span: _Span) -> pd.DataFrame | None:
    """The tidy rows of one period, or None where its base is too small to compare with."""
    cells = sums.set_index("group").reindex(range(len(GROUPS)), fill_value=0.0)
    of = {column: cells[column].to_numpy(dtype=np.float64) for column in cells}
    customers, base, everyone = of["customers"], of["base"].sum(), of["customers"].sum()
    if customers[GROUPS.index("stayed")] < FEWEST_CUSTOMERS or base <= 0:
        return None
    counted = np.array([[group in groups for group in GROUPS] for groups, _ in TERMS.values()], dtype=np.float64)
    rows = []
    for inside, (term, (_, taken_off)) in zip(counted, TERMS.items(), strict=True):
        later = "capped" if term == "gross_revenue_retention" else "later"
        ratio = inside @ of[later] / base
        spread = inside @ (of[f"{later}_{later}"] - 2 * ratio * of[f"base_{later}"]) + ratio**2 * of["base_base"].sum()
        error = np.sqrt(max(spread, 0.0) * everyone / (everyone - 1)) / base
        limits = _limits(ratio, error) if inside @ customers else np.full(2, np.nan)
        figures_of_term = (ratio - taken_off, error if inside @ customers else np.nan, *(limits - taken_off))
        rows.append((term, *figures_of_term, OF_BASE, inside @ customers, inside @ of[later]))
    terms, unknown = list(TERMS), GROUPS.index("unknown")
    share = csat_interval(customers[unknown], counted[terms.index("all_new")] @ customers)
    if not customers[unknown]:
        share = share._replace(conf_low=0.0 * share.conf_low)
    rows.append(("unknown_share_of_new", *share, OF_NEW, customers[unknown], of["later"][unknown]))
    columns = ["term", "estimate", "std_error", "conf_low", "conf_high", "unit", "customers", "revenue"]
    # where something must go, rates that are made of parts go before the parts, and those who stayed last
    first_to_go = np.array([term.endswith("rate") or "_if_" in term for term in terms])
    last_to_go = np.array([term.endswith("retention") for term in terms])
    keep = np.where(first_to_go, 0.0, counted @ customers) + np.where(last_to_go, everyone, 0.0)
    hidden = hidden_sums(customers, counted, keep=keep)
    hidden = np.r_[hidden, hidden[terms.index("unknown_new")] | hidden[terms.index("all_new")]]
    table = pd.DataFrame(rows, columns=columns)
    figures = [column for column in columns if column not in ("term", "unit")]
    table[figures] = table[figures].astype(float)
    table.loc[hidden, figures] = np.nan
    places = pd.DataFrame(
        {"kind": span.kind, "period": span.period, "base_period": span.base_period}, index=table.index
    )
    return pd.concat([places, table.assign(base_revenue=base, suppressed=hidden)], axis=1)


def _limits(ratio: float, error: float) -> Floats:
    """95 % limits of a ratio, on the log scale where it is clear of 0: a share of revenue does not reach below."""
    steps = np.array([-NORMAL_975, NORMAL_975])
    return ratio * np.exp(steps * error / ratio) if ratio > error else ratio + steps * error
