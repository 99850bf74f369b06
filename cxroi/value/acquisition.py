"""What a customer costs to win against what they are worth: LTV to CAC, and the months until the cost is earned back.

Both sides are of the same customers: those who joined since the transactions begin, whose whole life is recorded. The margin of a
month since joining is averaged over everybody observed that long, those who left count as 0; so customers who joined lately are
neither left out nor taken for customers who stopped buying.

Source: Gupta & Lehmann (2003), "Customers as assets", Journal of Interactive Marketing 17(1):9 (value against acquisition cost); mean
cumulative function under staggered entry, Nelson (1988), Journal of Quality Technology 20(1):24; landmark, Anderson, Cain & Gelber
(1983), Journal of Clinical Oncology 1(11):710.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.scores import hidden_cells
from cxroi.tables import Tables
from cxroi.tables.violation import suggestion
from cxroi.value.forward import BANDS, BELOW_TOP, NO_ANSWER

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_CUSTOMERS = 30
MOST_LEVELS = 40
MOST_MONTHS = 60
LANDMARK_MONTHS = 3
FEWEST_DRAWS = 100
ENOUGH_STATED = 0.8
NORMAL_975 = float(special.ndtri(0.975))
ALL, NOT_STATED = "all", "not stated"
REACHED, NOT_REACHED = "reached", "not reached"
NO_COST, TOO_FEW_COSTS, NOBODY = "no cost stated", "too few costs stated", "too few customers followed"


@dataclass(frozen=True)
class Acquisition:
    """Acquisition cost, its payback and lifetime value against it, by level.

    Attributes
    ----------
    levels : DataFrame
        A row per level, ``all`` last: ``by, level, customers`` (joined since the transactions begin), ``share_stated`` (of them with
        a stated acquisition cost), ``cac`` (mean of the stated ones, currency per customer) with ``cac_conf_low, cac_conf_high``;
        ``payback`` (``reached``, ``not reached`` within the months followed, ``no cost stated``, …),
        ``payback_months`` with ``payback_conf_low, payback_conf_high`` (whole months since joining, empty where not reached),
        ``months_followed``; ``ltv_low, ltv_median, ltv_high``, ``ltv_to_cac_low, …`` and ``ltv_less_cac_low, …`` (5, 50 and 95 % of the
        draws, empty without values); ``currency, suppressed``.
    months : DataFrame
        A row per level and month since joining: ``level, month, customers`` (observed that long), ``margin`` (mean of the month,
        currency per customer who joined), ``cumulative_margin`` with ``std_error, conf_low, conf_high``.
    since : date
        First day of joining that counts.
    early_purchases : int
        Transactions dated before their customer joined; they count in the first month.
    """

    levels: pd.DataFrame
    months: pd.DataFrame
    by: str
    since: dt.date
    early_purchases: int

    def __repr__(self) -> str:
        return repr(self.levels)

    def tidy(self) -> pd.DataFrame:
        """A row per level, ``all`` last."""
        return self.levels.copy()

    def curve(self) -> pd.DataFrame:
        """A row per level and month since joining: cumulative margin per customer who joined, with limits."""
        return self.months.copy()

    def glance(self) -> pd.DataFrame:
        """One row: all customers who joined since the transactions begin."""
        return (
            self.levels.tail(1)
            .drop(columns="level")
            .assign(since=self.since, levels=len(self.levels) - 1)
            .reset_index(drop=True)
        )

    def checks(self) -> pd.DataFrame:
        """Is the cost stated, is it paid back within the months followed, are dates of joining right, are bands comparable."""
        every = self.levels.iloc[-1]
        stated, payback = float(every["share_stated"]), str(every["payback"])
        silent = self.levels.loc[self.levels["payback"] == NO_COST, "level"].tolist()
        stated_advice = "customers whose acquisition cost is stated; the mean of the others may differ"
        if silent:
            stated_advice += f". No cost at all for: {', '.join(map(str, silent))}; that is not a cost of 0"
        rows = [
            (
                "acquisition cost stated",
                "fail" if stated == 0 else "pass" if stated >= ENOUGH_STATED and not silent else "warn",
                stated,
                stated_advice,
            ),
            (
                "cost paid back within the months followed",
                "pass" if payback == REACHED else "warn",
                float(every["months_followed"]),
                "months since joining for which enough customers are observed; where not reached, later months are not guessed",
            ),
            (
                "nobody buys before joining",
                "pass" if self.early_purchases == 0 else "warn",
                float(self.early_purchases),
                "transactions before joined_on; check whether joined_on is the date of the first contact or of something later",
            ),
        ]
        if self.by in BANDS:
            advice = (
                f"bands are those of the first answer within {LANDMARK_MONTHS} months of joining; who answered was still a customer then, "
                "so bands look better than 'no answer' by that alone; compare bands with one another"
            )
            rows.append(("bands are comparable", "warn", float(LANDMARK_MONTHS), advice))
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def acquisition(
    tables: Tables,
    *,
    by: str,
    values: Mapping[str, ArrayLike] | pd.DataFrame | None = None,
    seed: int | None = None,
) -> Acquisition | str:
    """Compare acquisition cost with margin since joining and with lifetime value, by channel, segment, brand or score band.

    Parameters
    ----------
    tables : Tables
        With transactions. Without ``customers.acquisition_cost`` the margin since joining still comes; the cost is said to be missing.
    by : str
        ``acquisition_channel``, ``brand``, a segment or another column of customers; or ``nps``, ``csat``, ``ces``: the band of the
        first answer within three months of joining, of customers observed for three months at least.
    values : mapping or DataFrame, optional
        For each level, and for ``all``, draws of the lifetime value of a new customer before acquisition cost (currency), all of one
        length. Levels without draws stay empty.
    seed : int, optional
        Needed with ``values``: of the draws of the mean acquisition cost.

    Returns
    -------
    Acquisition or str
        The reason in words where the data have no transactions, no such column of the contract, or nobody joined since they begin.

    Raises
    ------
    InputError
        If ``by`` is no column of customers and no score, or ``values`` come without seed or with a wrong number of draws.

    Notes
    -----
    Months since joining are calendar months; a month counts for a customer once it is over in the data. Cumulative margin of month
    m is the sum over months j ≤ m of the mean margin of month j among customers observed for j months. Its error is that of a sum of
    customers' contributions; the difference to the cost counts the covariance of the two. Payback is the first month whose cumulative
    margin exceeds the cost, undiscounted; its limits are the months at which the difference is first not significantly negative,
    and first significantly positive (95 %). Levels under 30 customers are suppressed, and a second one where one alone would be told
    by ``all``.
    """
    if tables.transactions is None or tables.data_end is None:
        return "payback is computed from dated transactions; this data set has none"
    draws = _checked(values, seed)
    begins = tables.transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0].date()
    found = _levels(tables, by)
    if isinstance(found, str):
        return found
    cohort = tables.materialise(_cohort(tables, found, by, begins))
    counts = _counts(cohort)
    if counts.empty:
        return f"nobody joined since the transactions begin ({begins}), so that no customer's life is recorded from its start"
    if counts["level"].nunique() > MOST_LEVELS:
        raise InputError(
            f"by must name a column with at most {MOST_LEVELS} levels; {by} has {counts['level'].nunique()} among those who joined"
        )
    monthly = tables.materialise(_monthly(tables, cohort))
    early = monthly.filter(nw.col("early") > 0).select(nw.col("early").sum()).collect()["early"][0]
    followed = _followed(cohort, monthly, counts)
    names = [*_sorted_levels(counts["level"].unique().tolist(), by), ALL]
    sizes = {name: int(one["n"].sum()) for name, one in counts.groupby("level")}
    small = hidden_cells(
        pd.Series([float(sizes[name]) for name in names[:-1]]),
        pd.DataFrame({"level": names[:-1]}),
        floor=FEWEST_CUSTOMERS,
    )
    suppressed = dict(zip(names, [*small, sum(sizes.values()) < FEWEST_CUSTOMERS], strict=True))
    generator = np.random.default_rng(seed)
    rows = [
        {"by": by, "level": name}
        | (
            {}
            if suppressed[name]
            else _row(followed[name]) | _against_value(followed[name], draws.get(name), generator)
        )
        for name in names
    ]
    columns = ["by", "level", *_row(followed[ALL]), *_against_value(followed[ALL], None, generator)]
    levels = pd.DataFrame(rows, columns=columns).assign(
        currency=tables.config.currency or "", suppressed=[suppressed[name] for name in names]
    )
    shown = [followed[name].table(name) for name in names if not suppressed[name]]
    return Acquisition(
        levels=levels,
        months=pd.concat(shown, ignore_index=True) if shown else followed[ALL].table(ALL).head(0),
        by=by,
        since=begins,
        early_purchases=int(early or 0),
    )


@dataclass(frozen=True)
class _Followed:
    """Cost and cumulative margin of one level; arrays of shape (months,)."""

    customers: int
    stated: int
    cost: float
    cost_error: float
    observed: Ints
    margin: Floats
    error: Floats
    covariance: Floats

    @property
    def cumulative(self) -> Floats:
        return np.cumsum(self.margin)

    def table(self, level: str) -> pd.DataFrame:
        cumulative = self.cumulative
        return pd.DataFrame(
            {
                "level": level,
                "month": np.arange(1, len(cumulative) + 1),
                "customers": self.observed,
                "margin": self.margin,
                "cumulative_margin": cumulative,
                "std_error": self.error,
                "conf_low": cumulative - NORMAL_975 * self.error,
                "conf_high": cumulative + NORMAL_975 * self.error,
            }
        )


def _checked(values: Mapping[str, ArrayLike] | pd.DataFrame | None, seed: int | None) -> dict[str, Floats]:
    """Draws of lifetime value by level."""
    if values is None:
        return {}
    if seed is None:
        raise InputError("values need a seed, for the draws of the mean acquisition cost; for example seed=20")
    draws = {str(level): np.asarray(one, dtype=np.float64) for level, one in values.items()}
    for level, one in draws.items():
        if one.ndim != 1 or len(one) < FEWEST_DRAWS or not np.isfinite(one).all():
            raise InputError(
                f"values must hold at least {FEWEST_DRAWS} finite draws of lifetime value for each level; "
                f"{level} has an array of shape {one.shape}"
            )
    return draws


def _levels(tables: Tables, by: str) -> Frame | str:
    """Level of each customer: ``customer_id, level``; or why there is none."""
    if by in BANDS:
        return first_bands(tables, by)
    columns = tables.customers.collect_schema().names()
    if by not in columns or by in ("customer_id", "account_id", "joined_on", "left_on", "acquisition_cost"):
        if by in ("acquisition_channel", "brand"):
            return f"customers have no column {by}"
        hint = suggestion(by, [*columns, *BANDS]) or f"columns: {', '.join(columns)}"
        raise InputError(f"by must name a column of customers or a score; {by!r} is neither ({hint})")
    level = nw.col(by).cast(nw.String).fill_null(NOT_STATED)
    return tables.customers.select("customer_id", level=level)


def first_bands(tables: Tables, exposure: str) -> Frame | str:
    """Band of the first answer within three months of joining; mean of several at the same moment."""
    if tables.surveys is None:
        return f"the data have no answers to {exposure}"
    surveys = tables.surveys.filter((nw.col("metric") == exposure) & ~nw.col("score").is_null())
    columns = surveys.collect_schema().names()
    if "answered_at" not in columns or not len(surveys.head(1).collect()):
        return f"the data have no dated answers to {exposure}"
    if exposure == "nps" and "touchpoint" in columns:
        relationship = surveys.filter(nw.col("touchpoint").is_null())
        surveys = relationship if len(relationship.head(1).collect()) else surveys
    dated = surveys.join(tables.customers.select("customer_id", "joined_on"), on="customer_id", how="inner")
    age = _months_between(nw.col("joined_on"), nw.col("answered_at"))
    early = dated.filter((age >= 0) & (age < LANDMARK_MONTHS)).select("customer_id", "answered_at", "score")
    first = early.group_by("customer_id").agg(nw.col("answered_at").min())
    score = (
        early.join(first, on=["customer_id", "answered_at"], how="inner")
        .group_by("customer_id")
        .agg(nw.col("score").mean())
    )
    best = tables.config.scales[exposure].high
    (low, middle, high), (below_middle, below_high) = BANDS[exposure], BELOW_TOP[exposure]
    band = (
        nw.when(nw.col("score") <= best - below_middle)
        .then(nw.lit(low))
        .when(nw.col("score") <= best - below_high)
        .then(nw.lit(middle))
        .when(~nw.col("score").is_null())
        .then(nw.lit(high))
        .otherwise(nw.lit(NO_ANSWER))
    )
    joined = tables.customers.select("customer_id").join(score, on="customer_id", how="left")
    return joined.select("customer_id", level=band)


def _sorted_levels(names: list[str], by: str) -> list[str]:
    if by in BANDS:
        return [band for band in (*BANDS[by], NO_ANSWER) if band in names]
    return sorted(names, key=lambda name: (name == NOT_STATED, name))


def _months_between(earlier: nw.Expr, later: nw.Expr) -> nw.Expr:
    """Completed calendar months from one date to another; negative where the second comes first."""
    months = (later.dt.year().cast(nw.Int64) - earlier.dt.year().cast(nw.Int64)) * 12
    months = months + later.dt.month().cast(nw.Int64) - earlier.dt.month().cast(nw.Int64)
    return months - nw.when(earlier.dt.day() > later.dt.day()).then(1).otherwise(0)


def _cohort(tables: Tables, levels: Frame, by: str, begins: dt.date) -> Frame:
    """Customers whose whole life is recorded: ``customer_id, joined_on, level, lived`` (completed months, at most 60), ``cost``."""
    assert tables.data_end is not None
    end = dt.datetime.combine(tables.data_end + dt.timedelta(days=1), dt.time())
    known = "acquisition_cost" in tables.customers.collect_schema().names()
    cost = nw.col("acquisition_cost").cast(nw.Float64) if known else nw.lit(None, nw.Float64)
    recorded = tables.customers.filter(
        (nw.col("joined_on") >= dt.datetime.combine(begins, dt.time())) & (nw.col("joined_on") < end)
    )
    lived = _months_between(nw.col("joined_on"), nw.lit(end, nw.Datetime("us")))
    customers = recorded.select(
        "customer_id", "joined_on", cost=cost, lived=nw.min_horizontal(lived, nw.lit(MOST_MONTHS))
    )
    if by in BANDS:
        customers = customers.filter(nw.col("lived") >= LANDMARK_MONTHS)
    return customers.join(levels, on="customer_id", how="inner")


def _counts(cohort: Frame) -> pd.DataFrame:
    """``level, lived, n, stated, cost, cost_square``: customers by level and months lived, and sums of the stated costs."""
    cost = nw.col("cost")
    marked = cohort.with_columns(
        stated=nw.when(cost.is_null()).then(0).otherwise(1),
        cost=cost.fill_null(0.0),
        cost_square=(cost * cost).fill_null(0.0),
    )
    sums = (nw.col(name).sum() for name in ("stated", "cost", "cost_square"))
    fetched: pd.DataFrame = (
        marked.group_by("level", "lived").agg(nw.len().alias("n"), *sums).collect("pandas").to_native()
    )
    return fetched.sort_values(["level", "lived"], ignore_index=True).astype(
        {"level": object, "lived": np.int64, "n": np.int64}
    )


def _monthly(tables: Tables, cohort: Frame) -> Frame:
    """Margin of each customer of the cohort by month since joining, months that are over only: ``customer_id, month, margin, early``."""
    assert tables.transactions is not None
    bought = tables.transactions.select("customer_id", "occurred_at", nw.col("margin").fill_null(0.0))
    dated = bought.join(cohort.select("customer_id", "joined_on", "lived"), on="customer_id", how="inner")
    age = _months_between(nw.col("joined_on"), nw.col("occurred_at"))
    early = (
        nw.when(nw.col("occurred_at").dt.truncate("1d") < nw.col("joined_on").dt.truncate("1d")).then(1).otherwise(0)
    )
    placed = dated.with_columns(month=nw.max_horizontal(age, nw.lit(0)) + 1, early=early)
    inside = placed.filter(nw.col("month") <= nw.col("lived"))
    return inside.group_by("customer_id", "month").agg(nw.col("margin").sum(), nw.col("early").sum())


def _followed(cohort: Frame, monthly: Frame, counts: pd.DataFrame) -> dict[str, _Followed]:
    """Cost and cumulative margin of every level and of all.

    Over the first m months j a customer adds Σ_j margin_j / n_j, n_j being those of the level who are observed for j months. Sums by
    month and months lived give the curve, cross products of two months' margins of the same customer its error.
    """
    cost = nw.col("cost")
    stated = nw.when(cost.is_null()).then(0.0).otherwise(1.0)
    who = cohort.select("customer_id", "level", "lived", cost=cost.fill_null(0.0), stated=stated)
    rows = monthly.select("customer_id", "month", "margin").join(who, on="customer_id", how="inner")
    shares = rows.with_columns(**{f"of_{name}": nw.col("margin") * nw.col(name) for name in ("cost", "stated")})
    summed = shares.group_by("level", "lived", "month").agg(
        *(nw.col(name).sum() for name in ("margin", "of_cost", "of_stated"))
    )
    sums: pd.DataFrame = summed.collect("pandas").to_native()
    other = rows.select("customer_id", nw.col("month").alias("later"), nw.col("margin").alias("then"))
    pairs = rows.select("customer_id", "level", "month", "margin").join(other, on="customer_id", how="inner")
    products = pairs.filter(nw.col("month") <= nw.col("later")).with_columns(product=nw.col("margin") * nw.col("then"))
    crossed: pd.DataFrame = (
        products.group_by("level", "month", "later").agg(nw.col("product").sum()).collect("pandas").to_native()
    )
    found = {}
    for name in [*counts["level"].unique(), ALL]:
        own = [frame if name == ALL else frame[frame["level"] == name] for frame in (counts, sums, crossed)]
        found[str(name)] = _one_followed(*own)
    return found


def _one_followed(counts: pd.DataFrame, sums: pd.DataFrame, crossed: pd.DataFrame) -> _Followed:
    """Mean cost and the curve of one level from its sums, for the months that enough customers are observed."""
    stated = int(counts["stated"].sum())
    cost, cost_error = np.nan, np.nan
    if stated >= FEWEST_CUSTOMERS:
        cost = float(counts["cost"].sum()) / stated
        spread = max(float(counts["cost_square"].sum()) - stated * cost**2, 0.0)
        cost_error = float(np.sqrt(spread / (stated - 1) / stated))
    by_lived = counts.groupby("lived")[["n", "stated", "cost"]].sum()
    lived, n = by_lived.index.to_numpy(), by_lived["n"].to_numpy(dtype=np.float64)
    observed = np.array([n[lived >= month].sum() for month in range(1, int(lived.max()) + 1)])
    observed = observed[observed >= FEWEST_CUSTOMERS]
    months = np.arange(1, len(observed) + 1)
    total, with_cost, with_stated = (
        _wide(sums, name, ("lived", lived), ("month", months)) for name in ("margin", "of_cost", "of_stated")
    )
    margin = total.sum(axis=0) / observed
    # what a customer is expected to have added after m months, by months lived
    expected = np.cumsum(np.where(months <= lived[:, None], margin / observed, 0.0), axis=1)
    added = np.cumsum(total / observed, axis=1)
    cross = _wide(crossed, "product", ("month", months), ("later", months)) / np.outer(observed, observed)
    square = np.cumsum(np.cumsum(np.triu(cross, 1) * 2 + np.diag(np.diag(cross)), axis=0), axis=1).diagonal()
    spread = square + (n[:, None] * expected**2 - 2 * expected * added).sum(axis=0)
    mean_cost = 0.0 if np.isnan(cost) else cost
    apart = by_lived["cost"].to_numpy(dtype=np.float64) - mean_cost * by_lived["stated"].to_numpy(dtype=np.float64)
    product = np.cumsum((with_cost - mean_cost * with_stated) / observed, axis=1).sum(axis=0)
    return _Followed(
        customers=int(n.sum()),
        stated=stated,
        cost=cost,
        cost_error=cost_error,
        observed=observed.astype(np.int64),
        margin=margin,
        error=np.sqrt(np.maximum(spread, 0.0) * observed / (observed - 1)),
        covariance=(product - (expected * apart[:, None]).sum(axis=0)) / max(stated, 1),
    )


def _wide(frame: pd.DataFrame, values: str, index: tuple[str, Ints], columns: tuple[str, Ints]) -> Floats:
    """Sums of a column as an array, rows and columns as asked for; 0 where the frame has none."""
    wide = frame.pivot_table(index=index[0], columns=columns[0], values=values, aggfunc="sum", fill_value=0.0)
    return wide.reindex(index=index[1], columns=columns[1], fill_value=0.0).to_numpy(dtype=np.float64)


def _row(level: _Followed) -> dict[str, Any]:
    """Cost and payback of one level."""
    months = len(level.margin)
    gap = level.cumulative - level.cost
    variance = level.error**2 + level.cost_error**2 - 2 * level.covariance
    error = NORMAL_975 * np.sqrt(np.maximum(variance, 0.0))
    verdict = REACHED if (gap >= 0).any() else NOT_REACHED
    if np.isnan(level.cost):
        verdict = NO_COST if level.stated == 0 else TOO_FEW_COSTS
    elif not months:
        verdict = NOBODY
    return {
        "customers": level.customers,
        "share_stated": level.stated / level.customers,
        "cac": level.cost,
        "cac_conf_low": level.cost - NORMAL_975 * level.cost_error,
        "cac_conf_high": level.cost + NORMAL_975 * level.cost_error,
        "payback": verdict,
        "payback_months": _first_month(gap),
        "payback_conf_low": _first_month(gap + error),
        "payback_conf_high": _first_month(gap - error),
        "months_followed": months,
    }


def _first_month(gap: Floats) -> float:
    """First month with a margin that is not below the cost; NaN where there is none."""
    places = np.flatnonzero(gap >= 0)
    return float(places[0] + 1) if len(places) else np.nan


def _against_value(level: _Followed, draws: Floats | None, generator: np.random.Generator) -> dict[str, float]:
    """Lifetime value, its ratio to the cost and what it leaves after the cost, 5, 50 and 95 % of the draws."""
    found: dict[str, Floats] = {}
    if draws is not None:
        found["ltv"] = draws
        if level.cost > NORMAL_975 * level.cost_error:
            width = np.log1p((level.cost_error / level.cost) ** 2)
            cost = level.cost * np.exp(np.sqrt(width) * generator.standard_normal(len(draws)) - width / 2)
            found |= {"ltv_to_cac": draws / cost, "ltv_less_cac": draws - cost}
    row: dict[str, float] = {}
    for name in ("ltv", "ltv_to_cac", "ltv_less_cac"):
        limits = np.quantile(found[name], [0.05, 0.5, 0.95]) if name in found else np.full(3, np.nan)
        row |= {f"{name}_{place}": float(limit) for place, limit in zip(("low", "median", "high"), limits, strict=True)}
    return row
