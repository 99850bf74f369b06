"""How long customers stay after an answer, by the band of that answer: Kaplan-Meier, intervals, number at risk.

The clock starts on the day of each customer's *first* answer, so that customers are independent and the answer always lies
before what is counted; it runs in days, since the dates of leaving are known to the day. A later answer does not move a customer to
another band: that would look at the future.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from cxroi.errors import InputError
from cxroi.scores import Metric, hidden_cells
from cxroi.tables import Tables
from cxroi.value.forward import BANDS, BELOW_TOP

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]

FEWEST_AT_RISK = 30  # below, figures are too noisy to show
FEWEST_TOLD = 5  # below, not even the number of customers is told
MINUTES_OF_A_DAY = 24 * 60
NORMAL_975 = float(special.ndtri(0.975))
FIGURES = ("survival", "std_error", "conf_low", "conf_high")


@dataclass(frozen=True)
class SurvivalByBand:
    """Staying after the first answer, by its band.

    Attributes
    ----------
    curves : DataFrame
        A row per band and day on which somebody left: ``band, day`` (the day of the answer is day 1), ``at_risk, left, survival,
        std_error, conf_low, conf_high, suppressed``; figures are empty from the day on which fewer than 30 customers are at risk.
    bands : DataFrame
        A row per band: ``band, customers, left, median_days, conf_low, conf_high`` (None = not reached while observed), ``last_day``
        (the last one with 30 customers at risk), ``suppressed`` (fewer than 30 customers; fewer than 5 are not even counted).
    log_rank : DataFrame
        One row, ``chi_square, degrees, p_value``: could one curve have drawn all bands; over the bands shown.
    accounting : DataFrame
        ``reason, customers``: who answered, who is left out and why, who is followed.
    """

    exposure: str
    rule: str
    curves: pd.DataFrame
    bands: pd.DataFrame
    log_rank: pd.DataFrame
    accounting: pd.DataFrame
    _counts: pd.DataFrame = field(repr=False)

    def __repr__(self) -> str:
        return repr(self.bands)

    def tidy(self) -> pd.DataFrame:
        """A row per band and day on which somebody left."""
        return self.curves

    def at(self, *days: int) -> pd.DataFrame:
        """Survival to the end of some days, and customers at risk on them: the columns of ``tidy()`` less those of the day itself.

        Figures are empty where fewer than 30 customers are at risk.
        """
        rows = []
        for band in self.bands["band"]:
            curve, counts = (part[part["band"] == band] for part in (self.curves, self._counts))
            for day in days:
                at_risk = int(counts.loc[counts["day"] >= day, ["left", "censored"]].to_numpy().sum())
                if at_risk < FEWEST_AT_RISK:
                    rows.append((band, day, np.nan, *[np.nan] * len(FIGURES), True))
                    continue
                past = curve.loc[curve["day"] <= day, list(FIGURES)]
                figures = (1.0, 0.0, 1.0, 1.0) if past.empty else tuple(past.iloc[-1])
                rows.append((band, day, float(at_risk), *figures, False))
        return pd.DataFrame(rows, columns=["band", "day", "at_risk", *FIGURES, "suppressed"])

    def glance(self) -> pd.DataFrame:
        """One row: customers followed, how many left, and the log-rank test over the bands shown."""
        shown = self.bands[~self.bands["suppressed"]]
        return self.log_rank.assign(
            exposure=self.exposure,
            rule=self.rule,
            customers=int(shown["customers"].sum()),
            left=int(sum(shown["left"])),
        )[["exposure", "rule", "customers", "left", *self.log_rank.columns]]

    def checks(self) -> pd.DataFrame:
        """Verdicts: ``name, verdict, number, advice``."""
        shown = self.bands[~self.bands["suppressed"]]
        hidden = int(self.bands["suppressed"].sum())
        p_value = float(self.log_rank["p_value"].iloc[0])
        unreached = int(shown["median_days"].isna().sum())
        read = int(self.accounting["customers"].iloc[0])
        followed = int(self.accounting["customers"].iloc[-1])
        rows = [
            (
                "curves differ",
                "pass" if p_value < 0.05 else "warn",
                p_value,
                "p of the log-rank test; bands are compared as they are, an association"
                if p_value < 0.05
                else "the bands may have one curve: don't read differences between them"
                if np.isfinite(p_value)
                else "fewer than two bands can be compared",
            ),
            (
                "median lifetime reached",
                "pass" if unreached == 0 else "warn",
                float(unreached),
                "bands whose median lifetime is not reached; it is longer than observed, and never one over the churn rate",
            ),
            (
                "bands large enough",
                "pass" if hidden == 0 else "warn",
                float(hidden),
                f"bands suppressed; a band needs {FEWEST_AT_RISK} customers",
            ),
            (
                "answers followed",
                "pass" if followed >= 0.9 * read else "warn",
                followed / read if read else np.nan,
                "share of those who answered who could be followed; see accounting",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def survival_by_band(tables: Tables, exposure: Metric) -> SurvivalByBand | str:
    """Kaplan-Meier curves of staying after a customer's first answer, by its band.

    Parameters
    ----------
    tables : Tables
        With surveys and the data set's own retention rule. ``contract``: left on ``left_on``. ``repurchase``: lapsed on the first day
        on which ``window_days`` have passed without an order; customers who had already lapsed when they answered are left out.
    exposure : {"nps", "csat", "ces"}
        Relationship NPS is used alone where there is any.

    Returns
    -------
    SurvivalByBand or str
        The reason in words where nothing can be followed.

    Raises
    ------
    InputError
        If exposure is none of the three scores.

    Notes
    -----
    Everybody still there on the last day of the data is censored on it. Standard errors by Greenwood, 95 % intervals on the log-log scale;
    the median's interval holds the days at which the curve's interval holds one half. Curves of bands are not made alike in anything
    else. Source: Kaplan & Meier (1958), JASA 53:457; Kalbfleisch & Prentice (2002), The Statistical Analysis of Failure Time Data,
    1.4; Brookmeyer & Crowley (1982), Biometrics 38:29.
    """
    if exposure not in BANDS:
        raise InputError(f"exposure must be one of {', '.join(BANDS)}; got {exposure!r}")
    rule = tables.config.retention
    if tables.surveys is None:
        return "the data have no surveys"
    if rule is None:
        return "the data set has no retention rule; declare one in dataset.yaml, or give customers.left_on"
    if tables.data_end is None or (rule.rule == "repurchase" and tables.transactions is None):
        return "the data have no transactions, so when customers stop buying is not known"
    answers = dated_answers(tables, exposure)
    if answers is None:
        return f"the data have no dated answers to {exposure}"
    followed = _followed(tables, _first_answers(answers, exposure, tables), tables.data_end)
    counts = _counted(followed)
    accounting = _accounting(counts)
    counts = counts[counts["reason"] == "followed"]
    if counts.empty:
        return f"nobody who answered {exposure} can be followed: {', '.join(accounting['reason'][1:-1])}"
    return _of_counts(counts, accounting, exposure, rule.rule)


def kaplan_meier(day: ArrayLike, left: ArrayLike, censored: ArrayLike) -> pd.DataFrame:
    """Product-limit curve from numbers of customers by day.

    Parameters
    ----------
    day : array_like, shape (days,)
        Days (or other times) of leaving or of the end of observation, in any order, each once.
    left, censored : array_like, shape (days,)
        Customers who left on the day, and who were still there when their observation ended on it (after any leaving).

    Returns
    -------
    DataFrame
        A row per day on which somebody left: ``day, at_risk, left, survival, std_error, conf_low, conf_high`` (Greenwood; 95 %,
        log-log; empty once nobody is left).

    Examples
    --------
    >>> curve = kaplan_meier([6, 7, 10], left=[3, 1, 0], censored=[1, 0, 1])
    >>> curve[["day", "at_risk", "survival"]].round(3).values.tolist()
    [[6.0, 6.0, 0.5], [7.0, 2.0, 0.25]]
    """
    order = np.argsort(np.asarray(day, dtype=float), kind="stable")
    time, gone, ended = (np.asarray(one, dtype=float)[order] for one in (day, left, censored))
    at_risk = np.cumsum((gone + ended)[::-1])[::-1]
    kept = gone > 0
    time, gone, at_risk = time[kept], gone[kept], at_risk[kept]
    survival = np.cumprod(1 - gone / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.cumsum(gone / (at_risk * (at_risk - gone)))  # Greenwood's sum
        reach = NORMAL_975 * np.sqrt(spread) / np.log(survival)
        alive = survival > 0
        error = np.where(alive, survival * np.sqrt(spread), np.nan)
        low = np.where(alive, survival ** np.exp(-reach), np.nan)
        high = np.where(alive, survival ** np.exp(reach), np.nan)
    return pd.DataFrame(
        {
            "day": time,
            "at_risk": at_risk.astype(np.int64),
            "left": gone.astype(np.int64),
            "survival": survival,
            "std_error": error,
            "conf_low": low,
            "conf_high": high,
        }
    )


def log_rank(counts: pd.DataFrame) -> tuple[float, int, float]:
    """Chi-square, degrees of freedom and p of the log-rank test, from rows ``band, day, left, censored``.

    Source: Mantel (1966), Cancer Chemotherapy Reports 50:163, for several groups.

    Examples
    --------
    >>> rows = [("a", 1, 4, 0), ("a", 2, 6, 0), ("b", 1, 4, 0), ("b", 2, 6, 0)]
    >>> log_rank(pd.DataFrame(rows, columns=["band", "day", "left", "censored"]))
    (0.0, 1, 1.0)
    """
    left, ended = (
        counts.pivot_table(index="day", columns="band", values=name, aggfunc="sum", fill_value=0, observed=True)
        .sort_index()
        .to_numpy(dtype=float)
        for name in ("left", "censored")
    )
    at_risk = np.cumsum((left + ended)[::-1], axis=0)[::-1]
    gone, all_at_risk = left.sum(axis=1), at_risk.sum(axis=1)
    share = at_risk / all_at_risk[:, None]
    spread = gone * (all_at_risk - gone) / np.maximum(all_at_risk - 1, 1)
    excess = (left - gone[:, None] * share).sum(axis=0)[1:]
    covariance = (np.diag(spread @ share) - share.T @ (spread[:, None] * share))[1:, 1:]
    if not len(excess) or not gone.any():
        return 0.0, 0, float("nan")
    chi_square = float(excess @ np.linalg.pinv(covariance) @ excess)
    return chi_square, len(excess), float(stats.chi2.sf(chi_square, len(excess)))


def dated_answers(tables: Tables, exposure: str) -> Frame | None:
    """Answers with a date, ``customer_id, answered_at, score``; None where there are none.

    Relationship NPS stands alone where there is any; answers before joining or after leaving are left out.
    """
    assert tables.surveys is not None
    names = tables.surveys.collect_schema().names()
    if "answered_at" not in names:
        return None
    answers = tables.surveys.filter(
        (nw.col("metric") == exposure) & ~nw.col("score").is_null() & ~nw.col("answered_at").is_null()
    )
    if exposure == "nps" and "touchpoint" in names:
        relationship = answers.filter(nw.col("touchpoint").is_null())
        answers = relationship if len(relationship.head(1).collect()) else answers
    if not len(answers.head(1).collect()):
        return None
    dates = _customer_dates(tables)
    known = answers.select("customer_id", "answered_at", "score").join(dates, on="customer_id", how="inner")
    day = nw.col("answered_at").dt.truncate("1d")
    stayed = nw.col("left_on").is_null() | (day <= nw.col("left_on"))
    return known.filter((day >= nw.col("joined_on")) & stayed).select("customer_id", "answered_at", "score")


def band_of_score(tables: Tables, exposure: str, column: str = "score") -> nw.Expr:
    """Band of an answer (low, middle, high as the metric defines them) in the engine."""
    low, middle, high = BANDS[exposure]
    best = tables.config.scales[exposure].high
    below_middle, below_high = BELOW_TOP[exposure]
    score = nw.col(column)
    return (
        nw.when(score <= best - below_middle)
        .then(nw.lit(low))
        .when(score <= best - below_high)
        .then(nw.lit(middle))
        .otherwise(nw.lit(high))
    )


def _customer_dates(tables: Tables) -> Frame:
    """Days of joining and leaving; leaving is null where it is not recorded."""
    has_left = "left_on" in tables.customers.collect_schema().names()
    left_on = nw.col("left_on").dt.truncate("1d") if has_left else nw.lit(None, nw.Datetime("us"))
    return tables.customers.select(
        "customer_id", nw.col("joined_on").dt.truncate("1d").alias("joined_on"), left_on.alias("left_on")
    )


def _first_answers(answers: Frame, exposure: str, tables: Tables) -> Frame:
    """Day and band of each customer's first answer; several at the same moment count as their mean."""
    first = answers.group_by("customer_id").agg(nw.col("answered_at").min())
    given = answers.join(first, on=["customer_id", "answered_at"], how="inner")
    mean = given.group_by("customer_id", "answered_at").agg(nw.col("score").mean())
    return mean.select(
        "customer_id",
        nw.col("answered_at").dt.truncate("1d").alias("start"),
        band_of_score(tables, exposure).alias("band"),
    )


def _followed(tables: Tables, first: Frame, data_end: dt.date) -> Frame:
    """Band, the day on which each customer's observation ended, whether by leaving, and why a customer is not followed."""
    end = dt.datetime.combine(data_end, dt.time())
    followed = first.join(_customer_dates(tables).drop("joined_on"), on="customer_id", how="left")
    rule = tables.config.retention
    assert rule is not None
    inactive = nw.lit(0) == 1
    if rule.rule == "repurchase":
        assert rule.window_days is not None
        followed = _with_lapse(tables, followed, rule.window_days)
        inactive = nw.col("active") == 0
        lapsed = nw.col("lapsed_on")
        sooner = nw.col("left_on").is_null() | (lapsed < nw.col("left_on"))
        followed = followed.with_columns(
            left_on=nw.when(~lapsed.is_null() & sooner.fill_null(False)).then(lapsed).otherwise(nw.col("left_on"))
        )
    went = (~nw.col("left_on").is_null() & (nw.col("left_on") <= end)).fill_null(False)
    until = nw.when(went).then(nw.col("left_on")).otherwise(nw.lit(end))
    return followed.with_columns(went=nw.when(went).then(1).otherwise(0), until=until).select(
        "band",
        "went",
        day=(nw.col("until") - nw.col("start")).dt.total_minutes() // MINUTES_OF_A_DAY + 1,
        reason=nw.when(nw.col("start") > end)
        .then(nw.lit("answered after the data end"))
        .when(inactive)
        .then(nw.lit("not active at the answer"))
        .otherwise(nw.lit("followed")),
    )


def _with_lapse(tables: Tables, first: Frame, window_days: int) -> Frame:
    """Add ``active`` (an order in the window before the answer) and ``lapsed_on`` (first day after a window without an order)."""
    assert tables.transactions is not None
    bought = tables.transactions.filter(nw.col("amount") > 0)
    bought = bought.join(first.select("customer_id"), on="customer_id", how="semi")
    days = bought.select("customer_id", nw.col("occurred_at").dt.truncate("1d").alias("ordered_on")).unique()
    ends = days.with_columns(
        lapse=nw.col("ordered_on").dt.offset_by(f"{window_days}d"),
        next_on=nw.col("ordered_on").shift(-1).over("customer_id", order_by="ordered_on"),
    ).join(first.select("customer_id", "start"), on="customer_id", how="inner")
    covers = (nw.col("ordered_on") <= nw.col("start")) & (nw.col("lapse") > nw.col("start"))
    silent = nw.col("next_on").is_null() | (nw.col("next_on") > nw.col("lapse"))
    of_customer = (
        ends.with_columns(
            active=nw.when(covers).then(1).otherwise(0),
            lapsed_on=nw.when(silent & (nw.col("lapse") > nw.col("start"))).then(nw.col("lapse")),
        )
        .group_by("customer_id")
        .agg(nw.col("active").max(), nw.col("lapsed_on").min())
    )
    joined = first.join(of_customer, on="customer_id", how="left")
    return joined.with_columns(nw.col("active").fill_null(0))


def _counted(followed: Frame) -> pd.DataFrame:
    """Customers by reason, band and day, ``left`` and ``censored``: all that is fetched."""
    marked = followed.with_columns(left=nw.col("went"), censored=1 - nw.col("went"))
    counts = marked.group_by("reason", "band", "day").agg(nw.col("left").sum(), nw.col("censored").sum())
    fetched: pd.DataFrame = counts.collect("pandas").to_native()
    whole = fetched.astype({"day": np.int64, "left": np.int64, "censored": np.int64})
    return whole.sort_values(["reason", "band", "day"], ignore_index=True)


def _accounting(counts: pd.DataFrame) -> pd.DataFrame:
    people = (counts["left"] + counts["censored"]).groupby(counts["reason"]).sum()
    lost = [(reason, -int(n)) for reason, n in people.items() if reason != "followed"]
    rows = [("customers who answered", int(people.sum())), *lost, ("followed", int(people.get("followed", 0)))]
    return pd.DataFrame(rows, columns=["reason", "customers"])


def _of_counts(counts: pd.DataFrame, accounting: pd.DataFrame, exposure: str, rule: str) -> SurvivalByBand:
    order = [band for band in BANDS[exposure] if (counts["band"] == band).any()]
    people = (counts["left"] + counts["censored"]).groupby(counts["band"]).sum().reindex(order)
    told = ~hidden_cells(people.reset_index(drop=True).astype(float), pd.DataFrame({"band": order}), floor=FEWEST_TOLD)
    shown = counts[counts["band"].isin(people.index[told.to_numpy() & (people >= FEWEST_AT_RISK).to_numpy()])]
    curves, bands = [], []
    for band, is_told in zip(order, told, strict=True):
        own = shown[shown["band"] == band]
        customers = float(people[band]) if is_told else np.nan
        if own.empty:
            bands.append((band, customers, *[None] * 5, True))
            continue
        curve = kaplan_meier(own["day"], own["left"], own["censored"])
        few = curve["at_risk"] < FEWEST_AT_RISK
        at_risk = (own["left"] + own["censored"])[::-1].cumsum()[::-1]
        last_day = float(own.loc[at_risk >= FEWEST_AT_RISK, "day"].max())
        bands.append((band, customers, float(own["left"].sum()), *_median(curve[~few]), last_day, False))
        figures = ["at_risk", "left", *FIGURES]
        curve[figures] = curve[figures].astype(float).mask(few)
        curves.append(curve.assign(band=band, suppressed=few))
    columns = ["band", "customers", "left", "median_days", "conf_low", "conf_high", "last_day", "suppressed"]
    names = ["band", "day", "at_risk", "left", *FIGURES, "suppressed"]
    drawn = pd.concat(curves, ignore_index=True)[names] if curves else pd.DataFrame(columns=names)
    test = log_rank(shown) if len(curves) > 1 else (np.nan, 0, np.nan)
    return SurvivalByBand(
        exposure=exposure,
        rule=rule,
        curves=drawn,
        bands=pd.DataFrame(bands, columns=columns, dtype=object).astype(
            {"band": str, "customers": float, "suppressed": bool}
        ),
        log_rank=pd.DataFrame([test], columns=["chi_square", "degrees", "p_value"]),
        accounting=accounting,
        _counts=shown.drop(columns="reason"),
    )


def _median(curve: pd.DataFrame) -> tuple[float | None, float | None, float | None]:
    """First day on which the curve, its lower and its upper limit are at most one half; None where that is not reached."""
    crossed = (curve.loc[curve[name] <= 0.5, "day"] for name in ("survival", "conf_low", "conf_high"))
    middle, low, high = (float(days.iloc[0]) if len(days) else None for days in crossed)
    return middle, low, high
