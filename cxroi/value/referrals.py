"""Who refers, how often at which score, what a referral is worth, and whose worth lies in purchases, in referrals or in both.

Referrals are counted in the period after the answer. A customer is brought once: by the first referral that names them.

Source: Kumar, Petersen & Leone (2007), "How valuable is word of mouth?", Harvard Business Review 85(10):139; (2010) "Driving
profitability by encouraging customer referrals", Journal of Marketing 74(5):1 (customer referral value, referred customers who would
have come anyway and who would not, the four cells).
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
from scipy import special, stats

from cxroi import periods
from cxroi.errors import InputError
from cxroi.linkage.fit import fit, independent_columns
from cxroi.panel import first_referrals, last_complete_period, period_of
from cxroi.scores import csat_interval
from cxroi.tables import Tables
from cxroi.value.brands import FEWEST_CUSTOMERS, check_months, hidden_sums
from cxroi.value.forward import BANDS, BELOW_TOP

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_REFERRALS = 30  # for a slope over the score
FEWEST_DRAWS = 100
NORMAL_975 = float(special.ndtri(0.975))
KINDS = ("all", "organic", "incentivised", "not stated")
CELLS = {(1, 1): "champions", (1, 0): "affluents", (0, 1): "advocates", (0, 0): "misers"}
RANGE = ("low", "median", "high")
NO_SHARE = "how many referred customers would have come anyway is not stated; give would_have_come and its source"
NO_SAVING = (
    "acquisition cost is not stated for enough referred and other customers, so what a referral saves is not known"
)


@dataclass(frozen=True)
class ReferralRates:
    """Referrals in the period after an answer, by score band and by score.

    Attributes
    ----------
    rates : DataFrame
        A row per level and kind: ``exposure, by`` (``all``, ``band``, ``score``), ``level, kind`` (``all``, ``organic``,
        ``incentivised``, ``not stated``), ``customer_periods, customers, referrals, rate`` (referrals per customer and period) with
        ``std_error`` (clustered by customer), ``conf_low, conf_high, design_effect, unit, suppressed``.
    per_point : DataFrame
        A row per kind: ``kind, rate_ratio`` (of one point more, periods held fixed), ``conf_low, conf_high, referrals``; an association.
    accounting : DataFrame
        ``table, reason, rows``: answers and referrals read, lost and kept.
    """

    exposure: str
    period: periods.Period
    rates: pd.DataFrame
    per_point: pd.DataFrame
    accounting: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.rates)

    def tidy(self) -> pd.DataFrame:
        """A row per level and kind: all, then bands, then scores."""
        return self.rates.copy()

    def glance(self) -> pd.DataFrame:
        """One row: rate of all, its limits, and the rate ratio of a point."""
        every, point = self.rates.iloc[0], self.per_point.iloc[0]
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "customer_periods": [every["customer_periods"]],
                "referrals": [every["referrals"]],
                "rate": [every["rate"]],
                "conf_low": [every["conf_low"]],
                "conf_high": [every["conf_high"]],
                "rate_ratio_per_point": [point["rate_ratio"]],
                "rate_ratio_conf_low": [point["conf_low"]],
                "rate_ratio_conf_high": [point["conf_high"]],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Are there enough referrals, is it known whether they were paid for, are they credited once."""
        of_all = self.rates[self.rates["by"] == "all"].set_index("kind")["referrals"]
        counts = dict(zip(of_all.index, of_all.to_numpy(dtype=np.float64), strict=True))
        referrals = counts["all"]
        paid = counts.get("incentivised", 0.0) / referrals if referrals else 0.0
        known = "organic" in counts and counts.get("not stated", 0.0) <= 0.2 * referrals
        lost = self.accounting[
            (self.accounting["table"] == "referrals") & self.accounting["reason"].str.contains("again|self")
        ]
        again = float(-lost["rows"].sum())
        rows = [
            (
                "enough referrals",
                "pass" if referrals >= 4 * FEWEST_REFERRALS else "warn" if referrals >= FEWEST_REFERRALS else "fail",
                referrals,
                "referrals of those who answered, in the period after the answer; with few of them no level differs from another",
            ),
            (
                "incentive stated",
                "pass" if known and paid <= 0.5 else "warn",
                paid,
                "share of referrals for a reward; read organic referrals where the question is what satisfaction goes with"
                if known
                else "referrals do not say whether they were rewarded (column incentivised); organic and paid ones are not told apart",
            ),
            (
                "each customer brought once",
                "pass" if again == 0 else "warn",
                again,
                "referrals of a customer already referred, or of oneself, are left out",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def referral_rates(tables: Tables, exposure: str, *, period: periods.Period = "quarter") -> ReferralRates | str:
    """Count the referrals in the period after each answer, by score band and by score.

    Parameters
    ----------
    tables : Tables
        With surveys and referrals.
    exposure : str
        ``nps``, ``csat`` or ``ces``.
    period : {"quarter", "month"}

    Returns
    -------
    ReferralRates or str
        The reason in words where the data have no referrals, no such answers or no complete period after them.

    Raises
    ------
    InputError
        If the exposure is no score.

    Notes
    -----
    A row is a customer and period with an answer (the mean of several), as in the panel; the outcome is the number of customers that
    they brought in the next period, 0 included. Periods count from the first referral on, since an earlier one may lie before they
    were recorded. Limits are exact Poisson limits (Garwood 1936, Biometrika 28:437) at the number of referrals divided by the design
    effect, the variance clustered by customer over the Poisson variance, at least 1. Means of answers are rounded half down. Levels under
    30 customers are suppressed, and as many more as would tell them.
    """
    if exposure not in BANDS:
        raise InputError(f"exposure must be one of {', '.join(BANDS)}; got {exposure!r}")
    if tables.referrals is None:
        return "the data have no table of referrals"
    if tables.surveys is None:
        return f"the data have no answers to {exposure}"
    if tables.data_end is None:
        return "referrals are counted in dated periods; the data have no dates"
    referrals = tables.materialise(first_referrals(tables))
    begins = referrals.select(nw.col("occurred_at").min()).collect()["occurred_at"][0]
    if begins is None:
        return "the table of referrals is empty"
    first, last = periods.containing(begins.date(), period), last_complete_period(tables, period, None)
    answered = _answered(tables, exposure, period)
    if isinstance(answered, str):
        return answered
    rows = _with_referrals(
        answered.filter((nw.col("period") + 1 >= first) & (nw.col("period") < last)), referrals, period
    )
    if rows["customer"].nunique() < FEWEST_CUSTOMERS:
        return (
            f"{rows['customer'].nunique()} customers have an answer to {exposure} and a complete {period} after it in which referrals "
            f"were recorded; at least {FEWEST_CUSTOMERS} are needed"
        )
    has_kinds = "incentivised" in tables.referrals.collect_schema().names()
    kinds = [kind for kind in KINDS if kind == "all" or (has_kinds and (kind != "not stated" or rows[kind].any()))]
    return ReferralRates(
        exposure=exposure,
        period=period,
        rates=_rates(rows, exposure, tables.config.scales[exposure].high, kinds).assign(
            unit=f"referrals per customer and {period}"
        ),
        per_point=pd.DataFrame([_per_point(rows, kind) for kind in kinds]),
        accounting=_accounting(tables, exposure, rows, referrals),
    )


def _answered(tables: Tables, exposure: str, period: periods.Period) -> Frame | str:
    """Mean answer of each customer and period while a customer: ``customer_id, period, score, answers``."""
    assert tables.surveys is not None
    columns = tables.surveys.collect_schema().names()
    surveys = tables.surveys.filter((nw.col("metric") == exposure) & ~nw.col("score").is_null())
    if "answered_at" not in columns or not len(surveys.head(1).collect()):
        return f"the data have no dated answers to {exposure}"
    if exposure == "nps" and "touchpoint" in columns:
        relationship = surveys.filter(nw.col("touchpoint").is_null())
        surveys = relationship if len(relationship.head(1).collect()) else surveys
    dated = surveys.filter(~nw.col("answered_at").is_null()).with_columns(period=period_of("answered_at", period))
    leaving = "left_on" in tables.customers.collect_schema().names()
    customers = tables.customers.select("customer_id", "joined_on", *(["left_on"] if leaving else []))
    joined = dated.join(customers, on="customer_id", how="inner").filter(
        nw.col("period") >= period_of("joined_on", period)
    )
    if leaving:
        day = nw.col("answered_at").dt.truncate("1d")
        joined = joined.filter(nw.col("left_on").is_null() | (day <= nw.col("left_on").dt.truncate("1d")))
    return joined.group_by("customer_id", "period").agg(nw.col("score").mean(), nw.len().alias("answers"))


def _with_referrals(answered: Frame, referrals: Frame, period: periods.Period) -> pd.DataFrame:
    """Answers with the referrals of the next period: ``customer`` (code), ``period, score, answers`` and a column a kind."""
    marked = referrals.with_columns(
        period=period_of("occurred_at", period) - 1,
        **{
            "organic": nw.when(nw.col("incentivised") == 0).then(1).otherwise(0),
            "incentivised": nw.when(nw.col("incentivised") == 1).then(1).otherwise(0),
            "not stated": nw.when(nw.col("incentivised").is_null()).then(1).otherwise(0),
        },
    )
    counted = marked.group_by("referrer_id", "period").agg(*(nw.col(kind).sum() for kind in KINDS[1:]))
    brought = counted.rename({"referrer_id": "customer_id"})
    joined = answered.join(brought, on=["customer_id", "period"], how="left").with_columns(
        *(nw.col(kind).fill_null(0).cast(nw.Float64) for kind in KINDS[1:])
    )
    fetched: pd.DataFrame = joined.collect("pandas").to_native()
    ordered = fetched.sort_values(["customer_id", "period"], ignore_index=True)
    codes = pd.factorize(ordered["customer_id"])[0].astype(np.int64)
    rows = ordered.drop(columns="customer_id").assign(customer=codes)
    return rows.assign(all=rows[list(KINDS[1:])].sum(axis=1)).astype({"score": np.float64, "answers": np.int64})


def _rates(rows: pd.DataFrame, exposure: str, best: float, kinds: list[str]) -> pd.DataFrame:
    """The tidy rows of all levels and kinds."""
    score = np.ceil(rows["score"].to_numpy() - 0.5)  # half down, so that scores lie within their bands
    below_middle, below_high = BELOW_TOP[exposure]
    band = np.where(score <= best - below_middle, 0, np.where(score <= best - below_high, 1, 2))
    found = np.unique(score)
    levels = [("all", "all", np.ones(len(rows), dtype=bool))]
    levels += [("band", BANDS[exposure][place], band == place) for place in range(3)]
    levels += [("score", f"{value:g}", score == value) for value in found]
    counted = np.array([[inside[score == value].any() for value in found] for _, _, inside in levels], dtype=np.float64)
    customers = np.array([rows.loc[inside, "customer"].nunique() for _, _, inside in levels])
    few = (customers > 0) & (customers < FEWEST_CUSTOMERS)
    hidden = hidden_sums(customers[4:], counted, hidden=few)
    table = []
    for (by, level, inside), is_hidden in zip(levels, hidden, strict=True):
        for kind in kinds:
            row = {"exposure": exposure, "by": by, "level": level, "kind": kind}
            figures = (
                {}
                if is_hidden
                else clustered_rate(rows.loc[inside, kind].to_numpy(), rows.loc[inside, "customer"].to_numpy())
            )
            table.append(row | figures | {"suppressed": bool(is_hidden)})
    figures_of = [
        "customer_periods",
        "customers",
        "referrals",
        "rate",
        "std_error",
        "conf_low",
        "conf_high",
        "design_effect",
    ]
    return pd.DataFrame(table, columns=["exposure", "by", "level", "kind", *figures_of, "suppressed"])


def clustered_rate(referrals: ArrayLike, customer: ArrayLike) -> dict[str, float]:
    """Referrals per row with exact Poisson limits at the effective number of referrals.

    Parameters
    ----------
    referrals : array, shape (rows,)
        Referrals of each customer and period.
    customer : array, shape (rows,)
        Code of the customer.

    Returns
    -------
    dict
        ``customer_periods, customers, referrals, rate, std_error, conf_low, conf_high, design_effect``; no rate without rows.

    Examples
    --------
    Ten referrals of ten customers in 1,000 rows: Garwood's limits for 10 events are 4.80 and 18.39.

    >>> found = clustered_rate(np.r_[np.ones(10), np.zeros(990)], np.arange(1000))
    >>> round(1000 * found["conf_low"], 2), round(1000 * found["conf_high"], 2)
    (4.8, 18.39)
    """
    referrals, customer = np.asarray(referrals, dtype=np.float64), np.asarray(customer)
    codes, place = np.unique(customer, return_inverse=True)
    n, total, groups = len(referrals), float(referrals.sum()), len(codes)
    if not n:
        return {"customer_periods": 0.0, "customers": 0.0, "referrals": 0.0}
    rate = total / n
    apart = np.bincount(place, weights=referrals - rate)
    variance = float(apart @ apart) * groups / max(groups - 1, 1) / n**2
    effect = max(variance / (total / n**2), 1.0) if total else 1.0
    events, exposure = total / effect, n / effect
    return {
        "customer_periods": float(n),
        "customers": float(groups),
        "referrals": total,
        "rate": rate,
        "std_error": float(np.sqrt(max(variance, 0.0))),
        "conf_low": float(stats.chi2.ppf(0.025, 2 * events) / 2 / exposure) if events else 0.0,
        "conf_high": float(stats.chi2.ppf(0.975, 2 * events + 2) / 2 / exposure),
        "design_effect": effect,
    }


def _per_point(rows: pd.DataFrame, kind: str) -> dict[str, Any]:
    """Rate ratio of one point more: Poisson quasi-likelihood with period effects, errors clustered by customer."""
    total = float(rows[kind].sum())
    empty = {"kind": kind, "rate_ratio": np.nan, "conf_low": np.nan, "conf_high": np.nan, "referrals": total}
    score, period = rows["score"].to_numpy(), rows["period"].to_numpy()
    by_period = rows.groupby("period")[kind].sum()
    used = np.isin(period, by_period[by_period > 0].index)  # a period without any referral says nothing of the score
    if total < FEWEST_REFERRALS or score[used].std() == 0:
        return empty
    effects = [(period[used] == one).astype(np.float64) for one in np.unique(period[used])[1:]]
    matrix = np.column_stack([score[used] - score[used].mean(), np.ones(used.sum()), *effects])
    matrix = np.asfortranarray(matrix[:, independent_columns(matrix)])
    fitted = fit(
        matrix, rows[kind].to_numpy(dtype=np.float64)[used], rows["customer"].to_numpy()[used], family="poisson"
    )
    if not fitted.converged:
        return empty
    slope, error = float(fitted.coefficients[0]), float(fitted.std_errors[0])
    limits = np.exp(slope + NORMAL_975 * error * np.array([0.0, -1.0, 1.0]))
    return empty | dict(zip(("rate_ratio", "conf_low", "conf_high"), map(float, limits), strict=True))


def _accounting(tables: Tables, exposure: str, rows: pd.DataFrame, referrals: Frame) -> pd.DataFrame:
    """What became of every answer and every referral; each table's losses and kept sum to what was read."""
    assert tables.surveys is not None
    assert tables.referrals is not None
    read = _length(tables.surveys.filter((nw.col("metric") == exposure) & ~nw.col("score").is_null()))
    used = int(rows["answers"].sum())
    named = _length(tables.referrals)
    own = _length(tables.referrals.filter(nw.col("referrer_id") == nw.col("referred_id")))
    once, after = _length(referrals), int(rows["all"].sum())
    table = [
        ("answers", "read", read),
        ("answers", "no complete period with referrals after it, or not a customer then", used - read),
        ("answers", "kept", used),
        ("referrals", "read", named),
        ("referrals", "of oneself", -own),
        ("referrals", "of a customer referred again", once - named + own),
        ("referrals", "not in the period after an answer of the referrer", after - once),
        ("referrals", "kept", after),
    ]
    return pd.DataFrame(table, columns=["table", "reason", "rows"])


def _length(frame: Frame) -> int:
    return int(frame.select(nw.len()).collect()["len"][0])


@dataclass(frozen=True)
class ReferralValue:
    """What one referral is worth, in its two parts, and what referrals add by score band.

    Attributes
    ----------
    terms : DataFrame
        ``term, mean, low, median, high, currency`` (5, 50, 95 % of the draws), currency per referral: ``one_referral`` =
        ``through_value`` (lifetime value of those who would not have come) + ``through_saved_cost`` (acquisition cost saved on
        everybody); ``would_not_have_come`` and ``would_have_come`` are what a referral of each sort is worth.
    levels : DataFrame
        With rates: ``level, mean, low, median, high, unit``: value of the referrals of one customer and period, by band.
    would_have_come : (low, mode, high)
        Share of referred customers who would have come anyway, as stated; three times the same where it was stated as certain.
    source : str
        Where that share is from.
    """

    terms: pd.DataFrame
    levels: pd.DataFrame
    would_have_come: tuple[float, float, float]
    source: str

    def __repr__(self) -> str:
        return repr(self.terms)

    def tidy(self) -> pd.DataFrame:
        """A row per term, currency per referral."""
        return self.terms.copy()

    def glance(self) -> pd.DataFrame:
        """One row: value of one referral with its range, and the share it rests on with its source."""
        low, mode, high = self.would_have_come
        one = self.terms.head(1).drop(columns="term")
        return one.assign(
            would_have_come_low=low, would_have_come_mode=mode, would_have_come_high=high, source=self.source
        )


def referral_value(
    rates: ReferralRates | None,
    *,
    value_of_referred: ArrayLike,
    saved_acquisition_cost: ArrayLike,
    would_have_come: float | tuple[float, float, float],
    source: str,
    seed: int,
    currency: str = "",
) -> ReferralValue:
    """Value a referral: lifetime value and saved cost of those who would not have come, saved cost alone of those who would.

    Parameters
    ----------
    rates : ReferralRates or None
        To say what referrals add by score band.
    value_of_referred : array, shape (draws,)
        Draws of the lifetime value of a referred customer before acquisition cost, currency.
    saved_acquisition_cost : array, shape (draws,)
        Draws of what a customer won otherwise costs less what a referral costs (reward), currency.
    would_have_come : float or (low, mode, high)
        Share of referred customers who would have come anyway; a triple is drawn from a triangular distribution.
    source : str
        Where that share is from: a survey of new customers, an experiment, a named assumption. Must not be empty.
    seed : int
    currency : str

    Returns
    -------
    ReferralValue

    Raises
    ------
    InputError
        If the share lies outside 0..1 or has no source, or the draws are too few, not finite or of different length.

    Notes
    -----
    With s the share: (1 − s)·(value + saved cost) + s·saved cost. Source: Kumar, Petersen & Leone (2007).

    Examples
    --------
    Half would have come anyway; a customer is worth about 1,000 and costs 200 to win otherwise.

    >>> spread = np.linspace(0.9, 1.1, 101)
    >>> found = referral_value(
    ...     None, value_of_referred=1000 * spread, saved_acquisition_cost=200 * spread,
    ...     would_have_come=0.5, source="survey of new customers, 2026", seed=1,
    ... )
    >>> dict(zip(found.tidy()["term"], found.tidy()["mean"].round(6), strict=True))
    {'one_referral': 700.0, 'through_value': 500.0, 'through_saved_cost': 200.0, 'would_not_have_come': 1200.0, 'would_have_come': 200.0}
    """
    if not source.strip():
        raise InputError(
            "the share of referred customers who would have come anyway must have a source; none is given. "
            "Ask new customers, or name the assumption: source='assumption of the sales team, 2026-08'"
        )
    value, saved = np.asarray(value_of_referred, dtype=np.float64), np.asarray(saved_acquisition_cost, dtype=np.float64)
    if (
        value.ndim != 1
        or len(value) < FEWEST_DRAWS
        or value.shape != saved.shape
        or not np.isfinite([value, saved]).all()
    ):
        raise InputError(
            f"value_of_referred and saved_acquisition_cost must be arrays of at least {FEWEST_DRAWS} finite draws, as many of each; "
            f"shapes: {value.shape} and {saved.shape}"
        )
    generator = np.random.default_rng(seed)
    low, mode, high = stated = _stated_share(would_have_come)
    share = generator.triangular(low, mode, high, len(value)) if low < high else np.full(len(value), mode)
    draws = {
        "one_referral": one_referral(value, saved, share),
        "through_value": (1 - share) * value,
        "through_saved_cost": saved,
        "would_not_have_come": value + saved,
        "would_have_come": saved,
    }
    terms = pd.DataFrame([{"term": term} | _range(one) for term, one in draws.items()]).assign(currency=currency)
    levels = pd.DataFrame(columns=["level", "mean", *RANGE, "unit"])
    if rates is not None:
        of_all = rates.rates[
            (rates.rates["kind"] == "all") & (rates.rates["by"] != "score") & ~rates.rates["suppressed"]
        ]
        unit = f"{currency} per customer and {rates.period}".strip()
        known = of_all[of_all["customer_periods"] > 0].to_dict("records")
        found = [
            {"level": one["level"]}
            | _range(_rate_draws(one, len(value), generator) * draws["one_referral"])
            | {"unit": unit}
            for one in known
        ]
        levels = pd.DataFrame(found, columns=levels.columns)
    return ReferralValue(terms=terms, levels=levels, would_have_come=stated, source=source)


def one_referral(value: Floats, saved: Floats, would_have_come: Floats | float) -> Floats:
    """Value of a referral: of those who would not have come their value and what they save, of the others what they save; any shape.

    Examples
    --------
    >>> one_referral(np.array([1000.0]), np.array([200.0]), 0.3)
    array([900.])
    """
    return np.asarray((1.0 - would_have_come) * (value + saved) + would_have_come * saved)


def _stated_share(share: float | tuple[float, float, float]) -> tuple[float, float, float]:
    low, mode, high = (share, share, share) if isinstance(share, int | float) else share
    if not 0 <= low <= mode <= high <= 1:
        raise InputError(
            f"would_have_come must lie in 0..1, a share or (low, mode, high); got {share!r}, for example 0.3 or (0.2, 0.3, 0.5)"
        )
    return float(low), float(mode), float(high)


def _rate_draws(row: Mapping[Any, Any], draws: int, generator: np.random.Generator) -> Floats:
    """Draws of a rate: gamma with Jeffreys' prior at the effective number of referrals."""
    effect = float(row["design_effect"])
    return generator.gamma(float(row["referrals"]) / effect + 0.5, effect / float(row["customer_periods"]), draws)


def _range(draws: Floats) -> dict[str, float]:
    limits = np.quantile(draws, [0.05, 0.5, 0.95])
    return {"mean": float(draws.mean())} | dict(zip(RANGE, map(float, limits), strict=True))


@dataclass(frozen=True)
class ReferralCells:
    """Customers by their own value and by the value of their referrals: champions, affluents, advocates, misers.

    Attributes
    ----------
    cells : DataFrame
        A row per cell: ``cell, own_value`` and ``referrals`` (``high``: above the threshold), ``customers, share`` with ``conf_low,
        conf_high``, ``mean_value`` (currency per customer) and ``mean_referrals`` (per customer), each with limits over customers,
        ``referral_value_low, _median, _high`` (mean value of their referrals, where draws were given), ``currency, suppressed``.
    value_threshold, referral_threshold : float
        Currency; referrals per customer.
    since, until : date
        The period that is counted.
    value_is : str
        What a customer's own value is.
    """

    cells: pd.DataFrame
    value_threshold: float
    referral_threshold: float
    since: dt.date
    until: dt.date
    value_is: str

    def __repr__(self) -> str:
        return repr(self.cells)

    def tidy(self) -> pd.DataFrame:
        """A row per cell."""
        return self.cells.copy()

    def glance(self) -> pd.DataFrame:
        """One row: the thresholds, the period and what a customer's own value is."""
        return pd.DataFrame(
            {
                "value_threshold": [self.value_threshold],
                "referral_threshold": [self.referral_threshold],
                "since": [self.since],
                "until": [self.until],
                "value_is": [self.value_is],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Whether the split by referrals is one of any referral against none, and what is suppressed."""
        hidden = int(self.cells["suppressed"].sum())
        nobody = self.referral_threshold == 0
        dormant = self.value_threshold <= 0
        rows = [
            (
                "split of value",
                "warn" if dormant else "pass",
                self.value_threshold,
                "half of the customers or more have no value: many may have left without a left_on; give thresholds, or left_on"
                if dormant
                else "high is above this value, currency per customer",
            ),
            (
                "split of referrals",
                "pass",
                self.referral_threshold,
                "high is any referral at all: half of the customers or more brought nobody"
                if nobody
                else "high is above the threshold",
            ),
            (
                "cells suppressed",
                "warn" if hidden else "pass",
                float(hidden),
                f"cells under {FEWEST_CUSTOMERS} customers, and those that would tell them; take a longer period",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def referral_cells(
    tables: Tables,
    *,
    months: int,
    customer_values: pd.DataFrame | None = None,
    value_of_referral: ArrayLike | None = None,
    thresholds: tuple[float | None, float | None] = (None, None),
    seed: int | None = None,
) -> ReferralCells | str:
    """Set customers' own value against the value of their referrals, in four cells.

    Parameters
    ----------
    tables : Tables
        With referrals, and transactions unless ``customer_values`` are given.
    months : int
        Length of the period in which margin and referrals count, back from the last day of the data.
    customer_values : DataFrame, optional
        ``customer_id, value``: expected lifetime value of each customer, currency; without it the margin observed in the period. Others
        are left out.
    value_of_referral : array, shape (draws,), optional
        Draws of the value of one referral, currency (:func:`referral_value`).
    thresholds : (value, referrals)
        Above them is high; None is the median over customers.
    seed : int, optional
        Needed with ``value_of_referral``: of the draws of the mean number of referrals.

    Returns
    -------
    ReferralCells or str
        The reason in words where there are no referrals or too few customers.

    Raises
    ------
    InputError
        If an argument is out of range or ``customer_values`` are not one row a customer.

    Notes
    -----
    Counted are customers who joined before the period and had not left when it began, so that all had the same time; where no
    ``left_on`` is kept, those who only stopped buying are among them. Since every referral has the same value, the split by referral
    value is one by referrals. Source: Kumar, Petersen & Leone (2007).
    """
    check_months(months)
    worth = _checked_worth(value_of_referral, seed)
    if tables.referrals is None:
        return "the data have no table of referrals"
    if tables.data_end is None or (tables.transactions is None and customer_values is None):
        return "a customer's own value is the margin of transactions, or given; this data set has neither"
    until = tables.data_end
    since = (pd.Timestamp(until + dt.timedelta(days=1)) - pd.DateOffset(months=months)).date()
    customers = tables.materialise(_own_value_and_referrals(tables, since, customer_values))
    medians = customers.select(nw.col("value").median(), nw.col("referrals").median()).collect()
    n = _length(customers)
    if n < FEWEST_CUSTOMERS:
        return f"{n} customers were there when the period began on {since}; at least {FEWEST_CUSTOMERS} are needed"
    limits = tuple(
        float(medians[name][0]) if stated is None else float(stated)
        for name, stated in zip(("value", "referrals"), thresholds, strict=True)
    )
    cells = _cells(customers, limits)
    return ReferralCells(
        cells=_arranged_cells(cells, n, worth, seed).assign(currency=tables.config.currency or ""),
        value_threshold=limits[0],
        referral_threshold=limits[1],
        since=since,
        until=until,
        value_is="value as given" if customer_values is not None else f"margin observed in {months} months",
    )


def _checked_worth(value_of_referral: ArrayLike | None, seed: int | None) -> Floats | None:
    if value_of_referral is None:
        return None
    worth = np.asarray(value_of_referral, dtype=np.float64)
    if worth.ndim != 1 or len(worth) < FEWEST_DRAWS or not np.isfinite(worth).all() or seed is None:
        raise InputError(
            f"value_of_referral must be an array of at least {FEWEST_DRAWS} finite draws, with a seed; shape {worth.shape}, seed {seed}"
        )
    return worth


def _own_value_and_referrals(tables: Tables, since: dt.date, customer_values: pd.DataFrame | None) -> Frame:
    """Customers there from the beginning of the period: ``value`` and ``referrals`` (no ids)."""
    begin = dt.datetime.combine(since, dt.time())
    columns = tables.customers.collect_schema().names()
    there = tables.customers.filter(nw.col("joined_on") < begin)
    if "left_on" in columns:
        there = there.filter(nw.col("left_on").is_null() | (nw.col("left_on") >= begin))
    there = there.select("customer_id")
    if customer_values is not None:
        if not {"customer_id", "value"} <= set(customer_values) or customer_values["customer_id"].duplicated().any():
            raise InputError("customer_values must have the columns customer_id and value and one row a customer")
        given = customer_values[["customer_id", "value"]].dropna().astype({"value": np.float64})
        valued = there.join(tables.frame(given.reset_index(drop=True)), on="customer_id", how="inner")
    else:
        assert tables.transactions is not None
        bought = tables.transactions.filter(nw.col("occurred_at") >= begin)
        margin = bought.select("customer_id", value=nw.col("margin").fill_null(0.0))
        margin = margin.group_by("customer_id").agg(nw.col("value").sum())
        valued = there.join(margin, on="customer_id", how="left").with_columns(value=nw.col("value").fill_null(0.0))
    counted = first_referrals(tables).filter(nw.col("occurred_at") >= begin)
    brought = counted.group_by("referrer_id").agg(nw.len().alias("referrals")).rename({"referrer_id": "customer_id"})
    joined = valued.join(brought, on="customer_id", how="left")
    return joined.select("value", referrals=nw.col("referrals").fill_null(0).cast(nw.Float64))


def _cells(customers: Frame, limits: tuple[float, ...]) -> pd.DataFrame:
    """Sums of the four cells."""
    high = {
        name: nw.when(nw.col(column) > limit).then(1).otherwise(0)
        for name, column, limit in (("own", "value", limits[0]), ("brings", "referrals", limits[1]))
    }
    squares = {f"{column}_square": nw.col(column) * nw.col(column) for column in ("value", "referrals")}
    sums = (nw.col(column).sum() for column in ("value", "referrals", *squares))
    grouped = customers.with_columns(**high, **squares).group_by("own", "brings")
    fetched: pd.DataFrame = grouped.agg(nw.len().alias("customers"), *sums).collect("pandas").to_native()
    found = fetched.astype({"own": np.int64, "brings": np.int64}).set_index(["own", "brings"])
    return found.reindex(pd.MultiIndex.from_tuples(list(CELLS)), fill_value=0).astype(float)


def _arranged_cells(cells: pd.DataFrame, everybody: int, worth: Floats | None, seed: int | None) -> pd.DataFrame:
    """The tidy rows of the four cells, small ones emptied; both rows of a split at the median are known, so they count as shown."""
    of = {column: cells[column].to_numpy(dtype=np.float64) for column in cells}
    n = of["customers"]
    counted = np.vstack([np.eye(4), [1, 1, 0, 0], [0, 0, 1, 1], np.ones(4)])
    hidden = hidden_sums(n, counted, keep=np.r_[n, np.full(3, np.inf)])[:4]
    table: dict[str, Any] = {
        "cell": list(CELLS.values()),
        "own_value": ["high" if own else "low" for own, _ in CELLS],
        "referrals": ["high" if brings else "low" for _, brings in CELLS],
        "customers": n,
    }
    share = csat_interval(n, np.full(4, float(everybody)))
    figures = {"customers": n, "share": share.estimate, "conf_low": share.conf_low, "conf_high": share.conf_high}
    mean, error = {}, {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for column in ("value", "referrals"):
            mean[column] = of[column] / n
            spread = np.maximum(of[f"{column}_square"] - n * mean[column] ** 2, 0.0)
            error[column] = np.sqrt(spread / (n - 1) / n)
    for column in mean:
        figures[f"mean_{column}"] = mean[column]
        figures[f"mean_{column}_conf_low"] = mean[column] - NORMAL_975 * error[column]
        figures[f"mean_{column}_conf_high"] = mean[column] + NORMAL_975 * error[column]
    ranges = np.full((4, 3), np.nan)
    if worth is not None:
        drawn = np.random.default_rng(seed).standard_normal((4, len(worth)))
        brought = mean["referrals"][:, None] + error["referrals"][:, None] * drawn
        ranges = np.quantile(brought * worth, [0.05, 0.5, 0.95], axis=1).T
    figures |= {f"referral_value_{name}": ranges[:, place] for place, name in enumerate(RANGE)}
    table |= {name: np.where(hidden, np.nan, values) for name, values in figures.items()}
    return pd.DataFrame(table).assign(suppressed=hidden)
