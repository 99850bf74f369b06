"""Who stays, and what they bring: cohorts, survival, change of spend, and what a model that sees no survey expects.

Results or the reasons why there are none, tidy views of them and sentences that are read in them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi import periods
from cxroi.language import Language
from cxroi.panel import METRICS, Panel
from cxroi.plots.formats import counted
from cxroi.report import results, show
from cxroi.report.readings import Sentences
from cxroi.report.show import Words
from cxroi.scores import Metric
from cxroi.tables import Tables
from cxroi.value import CustomerValue
from cxroi.value.baseline import DAYS_OF_A_QUARTER, UNIT_DAYS, BaselineValue, Tracking, baseline_value
from cxroi.value.cohorts import FEWEST_CUSTOMERS, Cohorts, cohorts
from cxroi.value.forward import NO_ANSWER
from cxroi.value.histories import EVERYBODY, purchase_histories
from cxroi.value.noncontractual import PurchaseModel
from cxroi.value.spend import SpendModel, expected_margin
from cxroi.value.spend_change import FEWEST, SpendChange, spend_change
from cxroi.value.survival import SurvivalByBand, survival_by_band

Floats = NDArray[np.float64]
Measure = Literal["retained", "cumulative_margin"]

NEXT_QUARTERS = 4
QUARTERS_OF_A_YEAR = 4
DAYS_OF_A_MONTH = 365.25 / 12
MONTHS_BETWEEN_MARKS = ((24, 3), (48, 6))  # watched for at most so many months: a mark every so many
YEARLY = 12
SMALLEST_P = 0.001
FLAT = (r"nearly flat where .+?: single", "nearly flat: single")  # names of parameters tell a reader nothing
NAMES = {"sbg": "sBG", "bg_nbd": "BG/NBD", "mbg_nbd": "MBG/NBD", "pareto_nbd": "Pareto/NBD"}
NO_RULE = "the data set has no retention rule; declare one in dataset.yaml, or give customers.left_on"
NONE_WHOLE = "every customer joined before transactions are recorded"
ALL_SMALL = f"every joining cohort has fewer than {FEWEST_CUSTOMERS} customers"
NO_TWO_BANDS = "fewer than two bands of the last answer before both periods have enough customers"
FEW_IN_BOTH = f"fewer than {FEWEST} customers were there in both periods, or bought in them"
NOBODY_ACTIVE = "nobody bought within the window before the end of the data"
NO_CURVES = "too few customers of any band answered to follow them"


class Base(NamedTuple):
    """Customers whom both values are of; activity and margin per customer and quarter by the model, shape (quarters,)."""

    customers: int
    activity: Floats
    margin: Floats


@dataclass(frozen=True, eq=False)
class Agreement:
    """Value by a model that sees no survey beside the one that follows the score, of the same customers.

    Attributes
    ----------
    model, exposure : str
        Name of the model; score that the other value follows, empty for history and controls alone.
    window_days : int or None
        Days without an order after which a customer counts as gone; None under a contract.
    currency : str
    customers : tuple of int
        Counted by the model, and by the panel.
    histories, following : array, shape (draws + 1,)
        Value of all of them, currency; the first is at the point estimates. Draws of the two are independent.
    staying, spending : float
        Difference of the value per customer (following less histories, currency) through who stays, or how often customers buy, and through
        what they bring then; they sum to it (each quarter's product is split by Shapley). NaN without an equation of orders.
    one_cohort : bool
        Whether all customers joined together, so that the equations cannot tell their age from the calendar.
    """

    model: str
    exposure: str
    window_days: int | None
    currency: str
    customers: tuple[int, int]
    histories: Floats
    following: Floats
    staying: float
    spending: float
    one_cohort: bool = False

    def difference(self) -> Floats:
        """Value that follows the score less that of the model, currency, shape (draws + 1,)."""
        draws = min(len(self.histories), len(self.following))
        return self.following[:draws] - self.histories[:draws]

    def share(self) -> Floats:
        """The difference over the value of the model, shape (draws + 1,)."""
        difference = self.difference()
        return difference / self.histories[: len(difference)]

    @property
    def agrees(self) -> bool:
        """Whether 90 % of the draws of the difference hold zero."""
        low, high = _ends(self.difference())
        return low <= 0.0 <= high


@dataclass(frozen=True, eq=False)
class Customers:
    """What is known of the customer base at the end of the last period.

    Attributes
    ----------
    as_of : date or None
        Last day that is looked at; None in data without dates.
    exposure : str
        Score of the bands; empty without answers.
    cohorts, survival, spend, spend_by_band : results or str
    baseline : BaselineValue or str
        Over the stated terms; where none are stated, the next four quarters, undiscounted.
    terms_stated : bool
    value : CustomerValue or str
        That follows the score.
    agreement : Agreement or str
    """

    as_of: dt.date | None
    exposure: str
    cohorts: Cohorts | str
    survival: SurvivalByBand | str
    spend: SpendChange | str
    spend_by_band: SpendChange | str
    baseline: BaselineValue | str
    terms_stated: bool
    value: CustomerValue | str
    agreement: Agreement | str

    @property
    def tracking(self) -> Tracking | str:
        """The model against quarters that it was not shown."""
        return self.baseline if isinstance(self.baseline, str) else self.baseline.holdout


# -------------------------------------------------------------------------------------------------------------- results


def gather(
    tables: Tables,
    panel: Panel,
    *,
    exposure: str = "nps",
    horizon_months: int = 0,
    annual_discount_rate: float = results.AS_STATED,
    seed: int,
) -> Customers:
    """Everything that is asked of the customer base, each part a result or the reason why not.

    Where the score has no answers the first one that has stands in. Horizon and rate are those of ``dataset.yaml`` by default.
    """
    known = as_of(tables, panel)
    metric = next(
        (name for name in METRICS if name == exposure and name in panel.metrics), results.main_exposure(panel)
    )
    terms = _terms(panel, horizon_months, annual_discount_rate)
    value = results.value(
        panel, exposure=metric, horizon_months=horizon_months, annual_discount_rate=annual_discount_rate, seed=seed
    )
    quarters, rate = terms or (NEXT_QUARTERS, 0.0)
    baseline = baseline_value(known, horizon_quarters=quarters, annual_discount_rate=rate, seed=seed)
    return Customers(
        as_of=known.data_end,
        exposure=metric,
        cohorts=cohorts(known),
        survival=survival_by_band(known, _metric(metric)) if metric else results.NO_ANSWERS,
        spend=_spend_change(known),
        spend_by_band=_spend_change(known, metric) if metric else results.NO_ANSWERS,
        baseline=baseline,
        terms_stated=terms is not None,
        value=value,
        agreement=_agreement(known, baseline, value),
    )


def agreement(tables: Tables, value: CustomerValue | str, *, seed: int) -> Agreement | str:
    """The value that follows the score beside that of a model without any survey, on the same customers, horizon and rate."""
    if isinstance(value, str):
        return value
    known = as_of(tables, value.panel)
    terms = {"horizon_quarters": value.horizon_quarters, "annual_discount_rate": value.annual_discount_rate}
    return _agreement(known, baseline_value(known, seed=seed, **terms), value)  # type: ignore[arg-type]


def same_base(tables: Tables, found: BaselineValue) -> Base:
    """Everybody under contract; elsewhere who ordered within the window before the end, as in the panel."""
    level = found.of_level()
    rule = tables.config.retention
    if found.rule == "contract" or rule is None or rule.window_days is None:
        return Base(level.customers, level.activity[0], level.margin[0])
    histories = purchase_histories(tables, unit_days=UNIT_DAYS, until=found.as_of)
    purchases, spend = found.models["purchases"], found.models["spend"]
    assert not isinstance(histories, str)
    assert isinstance(purchases, PurchaseModel)
    assert isinstance(spend, SpendModel)
    table = histories.of_level(EVERYBODY).table
    active = table[(table["age"] - table["recency"]) * UNIT_DAYS < rule.window_days]
    x, recency, age, n, total = (
        active[name].to_numpy(dtype=np.float64)
        for name in ("frequency", "recency", "age", "customers", "repeat_margin")
    )
    times = np.arange(1, found.horizon_quarters + 1) * DAYS_OF_A_QUARTER / UNIT_DAYS
    made = purchases.expected_draws(np.exp(purchases.log_parameters)[None, :], times, x, recency, age)[0]
    by_quarter = np.diff(made, axis=1, prepend=0.0)
    each = expected_margin(np.exp(spend.log_parameters), x, total / n)
    size = max(float(n.sum()), 1.0)
    return Base(round(float(n.sum()) * histories.every), n @ by_quarter / size, (n * each) @ by_quarter / size)


def as_of(tables: Tables, panel: Panel) -> Tables:
    """Customers, answers and transactions as they stood when the panel's last period ended; who left later has not left."""
    end = periods.end(panel.last_period, panel.period)
    if tables.data_end is None or tables.data_end <= end or tables.transactions is None:
        return tables
    after = dt.datetime.combine(end + dt.timedelta(days=1), dt.time())
    customers = tables.customers.filter(nw.col("joined_on") < after)
    if "left_on" in customers.collect_schema().names():
        customers = customers.with_columns(left_on=nw.when(nw.col("left_on") < after).then(nw.col("left_on")))
    surveys = tables.surveys
    if surveys is not None and "answered_at" in surveys.collect_schema().names():
        surveys = surveys.filter(nw.col("answered_at").is_null() | (nw.col("answered_at") < after))
    transactions = tables.transactions.filter(nw.col("occurred_at") < after)
    return replace(tables, customers=customers, surveys=surveys, transactions=transactions, data_end=end)


def _metric(name: str) -> Metric:
    assert name in METRICS
    return name  # type: ignore[return-value]


def _terms(panel: Panel, horizon_months: int, annual_discount_rate: float) -> tuple[int, float] | None:
    """Horizon in quarters and discount rate, given or as stated; None where one of them is neither."""
    months, rate = panel.value_terms or (0, results.AS_STATED)
    months = horizon_months or months
    rate = rate if annual_discount_rate == results.AS_STATED else annual_discount_rate
    return None if months == 0 or rate == results.AS_STATED else (-(-months // results.MONTHS_OF_A_QUARTER), rate)


def _spend_change(tables: Tables, by: str = "") -> SpendChange | str:
    """Year against year; where that leaves nothing to compare, a quarter against the same one of the year before."""
    found: SpendChange | str = spend_change(tables, by=by, span="year")
    if isinstance(found, str) or (by and _bands_shown(found) < 2):
        found = spend_change(tables, by=by, span="quarter")
    if isinstance(found, str):
        return found
    if _newest(found.overall)["estimate"].isna().all():
        return FEW_IN_BOTH
    return NO_TWO_BANDS if by and _bands_shown(found) < 2 else found


def _bands_shown(found: SpendChange) -> int:
    newest = _newest(found.changes)
    return int(newest.loc[newest["estimate"].notna() & (newest["group"] != NO_ANSWER), "group"].nunique())


def _agreement(tables: Tables, baseline: BaselineValue | str, value: CustomerValue | str) -> Agreement | str:
    if isinstance(value, str) or isinstance(baseline, str):
        return value if isinstance(value, str) else str(baseline)
    base = same_base(tables, baseline)
    if base.customers == 0:
        return NOBODY_ACTIVE
    path, discount = value.path(), value.discount
    activity, margin = path["survival"].to_numpy(dtype=float), path["margin"].to_numpy(dtype=float)
    if baseline.rule == "repurchase":
        activity = activity * path["orders_per_customer"].to_numpy(dtype=float)
    rule = tables.config.retention
    worth = float(base.margin @ discount)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate, own_rate = base.margin / base.activity, margin / activity
        staying = float(((activity - base.activity) * (rate + own_rate) / 2.0) @ discount)
        spending = float(((own_rate - rate) * (activity + base.activity) / 2.0) @ discount)
    return Agreement(
        model=_name(baseline),
        exposure=value.exposure,
        window_days=rule.window_days if rule is not None and baseline.rule == "repurchase" else None,
        currency=baseline.currency,
        customers=(base.customers, value.customers),
        # draws of all customers, brought to the level of these at the estimates
        histories=baseline.total_draws() * (worth * base.customers / float(baseline.total_draws()[0])),
        following=value.value_draws() * value.customers,
        staying=staying,
        spending=spending,
        one_cohort=value.age_is_time,
    )


def _ends(draws: Floats) -> tuple[float, float]:
    low, high = np.quantile(draws[1:], [0.05, 0.95])
    return float(low), float(high)


def _name(found: BaselineValue) -> str:
    return NAMES[str(found.glance()["model"].iloc[0])]


# ---------------------------------------------------------------------------------------------------------------- views


def cohort_cells(found: Customers, measure: Measure) -> pd.DataFrame | str:
    """Cells of joining cohorts by age, as ``plots.cohort_triangle`` draws them."""
    if isinstance(found.cohorts, str):
        return found.cohorts
    cells = found.cohorts.tidy()
    if _whole(cells, measure).empty:
        if measure == "retained" and not found.cohorts.retention:
            return NO_RULE
        return NONE_WHOLE if (found.cohorts.sizes["seen_from_age"] > 0).all() else ALL_SMALL
    return cells


def survival_curves(found: Customers) -> pd.DataFrame | str:
    """Curves by band, as ``plots.survival_curves`` draws them."""
    if isinstance(found.survival, str):
        return found.survival
    return found.survival.tidy() if len(found.survival.tidy()) else NO_CURVES


def survival_marks(found: Customers) -> pd.DataFrame:
    """Survival and customers at risk at even times after the answer, the first of them day 1; empty without curves."""
    if isinstance(found.survival, str) or isinstance(survival_curves(found), str):
        return pd.DataFrame()
    watched = _months_watched(found.survival)
    step = next((each for most, each in MONTHS_BETWEEN_MARKS if watched <= most), YEARLY)
    step = step if watched >= 2 * step else 1
    return found.survival.at(*(1 + round(month * DAYS_OF_A_MONTH) for month in range(0, watched + 1, step)))


def survival_table(found: Customers, *, language: Language) -> pd.DataFrame | str:
    """Bands: ``band, customers, left, survival`` (after ``_months``), its interval, and ``median_time`` in words."""
    if isinstance(found.survival, str):
        return found.survival
    bands = found.survival.bands
    at = found.survival.at(_day_of_table(found.survival)).set_index("band").reindex(bands["band"])
    medians = [_median(row, language) for row in bands.to_dict("records")]
    columns = {name: at[name].to_numpy() for name in ("survival", "conf_low", "conf_high")}
    table = bands[["band", "customers", "left"]].assign(**columns, median_time=medians, unit="share")
    return table.astype({"customers": float, "left": float})


def spend_changes(found: Customers, *, by_band: bool = False) -> pd.DataFrame | str:
    """Change of spend and of margin by part, newest first, as ``plots.spend_change`` draws them."""
    changed = found.spend_by_band if by_band else found.spend
    return changed if isinstance(changed, str) else changed.tidy()


def ladder(found: Customers, *, language: Language) -> pd.DataFrame | str:
    """Steps from a purchase to lifetime value in the newest two periods: ``fact, when, estimate, conf_low, conf_high, unit, term``."""
    if isinstance(found.spend, str):
        return found.spend
    rows = _newest(found.spend.ladder())
    rows = rows.assign(place=rows.groupby("quantity", sort=False).ngroup()).sort_values("place", kind="stable")
    terms = [language.text(f"nb.customers.term_{term}") if term else "" for term in rows["identity_term"]]
    when = [_span(str(row[row["period"]]), language) for row in rows.to_dict("records")]
    columns = rows[["estimate", "conf_low", "conf_high"]].reset_index(drop=True)
    units = [_unit_of_step(str(unit)) for unit in rows["unit"]]
    return columns.assign(fact=rows["quantity"].to_numpy(), when=when, unit=units, term=terms)


def tracked(found: Customers) -> pd.DataFrame | str:
    """Actual against expected by quarter, as ``plots.tracking`` draws them."""
    return found.tracking if isinstance(found.tracking, str) else found.tracking.tidy()


def tracked_totals(found: Customers) -> pd.DataFrame | str:
    """Totals of the quarters held out: ``measure, actual, expected, low, high, error, unit``."""
    if isinstance(found.tracking, str):
        return found.tracking
    totals = found.tracking.totals
    money = totals["measure"] == "margin"
    return totals.assign(unit=np.where(money, "currency", "count"))


def next_quarters(found: Customers) -> pd.DataFrame | str:
    """The next four quarters of all customers: ``period, still`` or ``purchases``, ``margin, low, high, unit``."""
    if isinstance(found.baseline, str):
        return found.baseline
    level = found.baseline.of_level()
    number = min(NEXT_QUARTERS, found.baseline.horizon_quarters)
    first = periods.containing(found.baseline.as_of) + 1
    low, high = np.quantile(level.margin[1:, :number], [0.05, 0.95], axis=0) * level.customers
    return pd.DataFrame(
        {
            "period": [periods.label(first + later) for later in range(number)],
            "still" if found.baseline.rule == "contract" else "purchases": np.round(
                level.activity[0, :number] * level.customers
            ),
            "margin": level.margin[0, :number] * level.customers,
            "low": low,
            "high": high,
            "unit": "currency",
        }
    )


def values(found: Customers) -> pd.DataFrame | str:
    """Value of the customers in total and each, and of a new one: ``measure, estimate, low, median, high, customers, unit``."""
    if isinstance(found.baseline, str):
        return found.baseline
    if not found.terms_stated:
        return results.NO_TERMS
    rows = found.baseline.tidy()
    return rows[~rows["suppressed"].astype(bool)].reset_index(drop=True)


def beside(found: Agreement | str, *, language: Language) -> pd.DataFrame | str:
    """Both values of all customers and their difference: ``what, customers, total, low, high, unit``."""
    if isinstance(found, str):
        return found
    rows = [
        (language.text("nb.customers.by_histories", model=found.model), found.customers[0], found.histories),
        (_following(found.exposure, language), found.customers[1], found.following),
        (language.text("nb.customers.difference"), np.nan, found.difference()),
    ]
    table = [(what, float(n), float(draws[0]), *_ends(draws)) for what, n, draws in rows]
    return pd.DataFrame(table, columns=["what", "customers", "total", "low", "high"]).assign(unit="currency")


def checks(found: Customers, *, failed: bool = False) -> pd.DataFrame:
    """Checks of every part that exists: ``check, part, verdict, number, advice``; ``failed`` keeps those that do not pass."""
    parts = [
        ("joining cohorts", found.cohorts),
        ("survival by band", found.survival),
        ("change of spend", found.spend),
        ("model without a survey", found.baseline),
    ]
    tables = []
    for part, result in parts:
        if not isinstance(result, str):
            frame = result.checks()
            split = frame["name"].str.rpartition(": ")
            advice = frame["advice"].str.replace(*FLAT, regex=True)
            tables.append(frame.assign(check=split[2], part=split[0].where(split[0] != "", part), advice=advice))
    columns = ["check", "part", "verdict", "number", "advice"]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)
    return table.loc[(table["verdict"] != "pass") | (not failed), columns].reset_index(drop=True)


def _whole(cells: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Cells that are known, of cohorts whose whole life is recorded."""
    return cells[(cells["measure"] == measure) & (cells["seen_from_age"] == 0) & cells["estimate"].notna()]


def _months_watched(found: SurvivalByBand) -> int:
    """Whole months after the answer during which some band has enough customers at risk."""
    last = found.bands.loc[~found.bands["suppressed"], "last_day"].astype(float).max()
    return max(int((float(last) - 1.0) / DAYS_OF_A_MONTH + 0.05), 1)


def _months_of_table(found: SurvivalByBand) -> int:
    """A year after the answer, or as long as is watched."""
    return min(YEARLY, _months_watched(found)) if len(found.curves) else YEARLY


def _day_of_table(found: SurvivalByBand) -> int:
    return 1 + round(_months_of_table(found) * DAYS_OF_A_MONTH)


def _median(row: Mapping[Any, Any], language: Language) -> str:
    if row["suppressed"]:
        return show.EMPTY
    if row["median_days"] is None:
        return language.text("nb.customers.not_reached")
    ends = [row["conf_low"], row["conf_high"]]
    low, high = (None if end is None else _months(float(end), language) for end in ends)
    middle = _months(float(row["median_days"]), language)
    if low is None or high is None:
        return language.text("nb.customers.median_open", months=middle, low=low or show.EMPTY)
    return language.text("nb.customers.median", months=middle, low=low, high=high)


def _months(days: float, language: Language) -> str:
    return language.number((days - 1.0) / DAYS_OF_A_MONTH, 1)


def _newest(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of the newest comparison, which comes first."""
    newest: pd.DataFrame = rows[(rows["before"] == rows["before"].iloc[0]) & (rows["after"] == rows["after"].iloc[0])]
    return newest


def _unit_of_step(unit: str) -> str:
    """How a step is written: visits with decimals, shares in percent, the rest as money."""
    return "ratio" if unit.startswith("visits") else "share" if unit.startswith("share") else "currency"


def _following(exposure: str, language: Language) -> str:
    if not exposure:
        return language.text("nb.customers.following_history")
    return language.text("nb.customers.following", metric=exposure.upper())


# ------------------------------------------------------------------------------------------------------------- readings


def answer(found: Customers, *, language: Language) -> Sentences:
    """What today's customers bring, how the forecast did, and what would change it."""
    if isinstance(found.baseline, str):
        first = language.text("nb.customers.no_model", reason=_because(found.baseline, language))
        return [first, *read_cohorts(found, language=language), _change(found, language)]
    return [_now(found.baseline, found, language), " ".join(_sure(found, language)), _change(found, language)]


def _now(baseline: BaselineValue, found: Customers, language: Language) -> str:
    total, level = baseline.total_draws(), baseline.of_level()
    words = {
        "customers": language.number(level.customers),
        "date": language.date(baseline.as_of),
        "months": language.number(baseline.horizon_quarters * results.MONTHS_OF_A_QUARTER),
        "total": show.money(total[0], language),
        "interval": show.money_interval(*_ends(total), language),
        "terms": _discounted(baseline, found, language),
    }
    if baseline.rule == "contract":
        return language.text("nb.customers.now_contract", share=language.percent(level.activity[0, -1], 0), **words)
    purchases = language.number(level.activity[0].sum() * level.customers)
    return language.text("nb.customers.now_repurchase", purchases=purchases, **words)


def _discounted(baseline: BaselineValue, found: Customers, language: Language) -> str:
    if not found.terms_stated:
        return language.text("nb.customers.undiscounted")
    rate = baseline.annual_discount_rate
    return language.text("nb.customers.discounted", rate=language.percent(rate, 0 if (rate * 100).is_integer() else 1))


def _sure(found: Customers, language: Language) -> Sentences:
    return [*_tracked(found, language, last=True), _apart(found.agreement, language)]


def _tracked(found: Customers, language: Language, *, last: bool = False) -> Sentences:
    """How each total of the quarters held out came out; the last of them is margin where there is a forecast of it."""
    if isinstance(found.tracking, str):
        return [language.text("nb.customers.untracked", reason=_because(found.tracking, language))]
    rows = found.tracking.totals.to_dict("records")
    lines = []
    for row in rows[-1:] if last else rows:
        inside = "inside" if row["low"] <= row["actual"] <= row["high"] else "outside"
        lines.append(
            language.text(
                f"nb.customers.tracked_{'over' if row['error'] >= 0 else 'under'}_{inside}",
                quarters=counted("quarters", found.tracking.holdout_quarters, language),
                measure=language.text(f"nb.customers.of_{row['measure']}"),
                error=language.percent(abs(row["error"])),
            )
        )
    return lines


def _apart(found: Agreement | str, language: Language) -> str:
    if isinstance(found, str):
        return language.text("nb.customers.alone", reason=_because(found, language))
    share = found.share()
    low, high = _ends(share)
    return language.text(
        f"nb.customers.apart_{'within' if found.agrees else 'beyond'}",
        following=_lower(_following(found.exposure, language)),
        share=_percent(share[0], language),
        interval=language.text("format.interval", low=_percent(low, language), high=_percent(high, language)),
    )


def _change(found: Customers, language: Language) -> str:
    """What customers of the outer bands did, or why that is not known."""
    if isinstance(found.survival, str) or isinstance(survival_curves(found), str):
        why = survival_curves(found)
        return language.text("nb.customers.change_unknown", reason=_because(str(why), language))
    at = found.survival.at(_day_of_table(found.survival))
    shown = at[~at["suppressed"].astype(bool)]
    if len(shown) < 2:
        return language.text("nb.customers.change_unknown", reason=_because(NO_CURVES, language))
    low, high = shown.iloc[0], shown.iloc[-1]
    apart = low["conf_high"] < high["conf_low"] or high["conf_high"] < low["conf_low"]
    return language.text(
        f"nb.customers.change_{'apart' if apart else 'meet'}",
        months=counted("months", _months_of_table(found.survival), language),
        high=language.percent(high["survival"], 0),
        high_band=_lower(show.said(str(high["band"]), language)),
        low=language.percent(low["survival"], 0),
        low_band=_lower(show.said(str(low["band"]), language)),
    )


def read_cohorts(found: Customers, *, language: Language) -> Sentences:
    """Between what retention of the cohorts lies at the same age, and whether that tells them apart."""
    cells = cohort_cells(found, "retained")
    if isinstance(cells, str):
        return []
    whole = _whole(cells, "retained")
    of_age = whole.groupby("age")["cohort"].nunique()
    ages = of_age.index[(of_age >= 2) & (of_age.index <= QUARTERS_OF_A_YEAR)]
    if not len(ages) or ages.max() == 0:
        return []
    rows = whole[whole["age"] == ages.max()].sort_values("estimate", kind="stable")
    low, high = rows.iloc[0], rows.iloc[-1]
    meet = "meet" if low["conf_high"] >= high["conf_low"] else "apart"
    return [
        language.text(
            f"nb.customers.cohorts_{meet}",
            number=language.number(len(rows)),
            quarters=counted("quarters", int(ages.max()), language),
            low=language.percent(low["estimate"], 0),
            low_cohort=language.period(str(low["cohort"])),
            high=language.percent(high["estimate"], 0),
            high_cohort=language.period(str(high["cohort"])),
        )
    ]


def read_margin(found: Customers, *, language: Language) -> Sentences:
    """What a customer of the oldest cohort has brought so far."""
    cells = cohort_cells(found, "cumulative_margin")
    if isinstance(cells, str):
        return []
    whole = _whole(cells, "cumulative_margin")
    oldest = whole[whole["cohort"] == whole["cohort"].iloc[0]].iloc[-1]
    return [
        language.text(
            "nb.customers.brought",
            cohort=language.period(str(oldest["cohort"])),
            quarters=counted("quarters", int(oldest["age"]), language),
            value=show.money(oldest["estimate"], language),
            interval=show.money_interval(oldest["conf_low"], oldest["conf_high"], language),
        )
    ]


def read_survival(found: Customers, *, language: Language) -> Sentences:
    """Whether the curves differ by more than chance brings, and whether half of a band are seen to leave."""
    if isinstance(found.survival, str) or isinstance(survival_curves(found), str):
        return []
    lines = [
        language.text("nb.customers.survival_at", months=counted("months", _months_of_table(found.survival), language))
    ]
    p_value = float(found.survival.log_rank["p_value"].iloc[0])
    if np.isfinite(p_value):
        digits = f"{'< ' if p_value < SMALLEST_P else '= '}{language.number(max(p_value, SMALLEST_P), 3)}"
        lines.append(language.text(f"nb.customers.curves_{'differ' if p_value < 0.05 else 'alike'}", p=digits))
    shown = found.survival.bands[~found.survival.bands["suppressed"]]
    reached = int(shown["median_days"].notna().sum())
    months = counted("months", _months_watched(found.survival), language)
    key = "none" if reached == 0 else "some" if reached < len(shown) else ""
    return [*lines, *([language.text(f"nb.customers.median_{key}", months=months)] if key else [])]


def read_spend(found: Customers, *, language: Language) -> Sentences:
    """The newest change of spend and its parts, and that of margin."""
    if isinstance(found.spend, str):
        return []
    newest = _newest(found.spend.overall)
    total, margin = (
        newest[(newest["measure"] == measure) & (newest["part"] == "total")].to_dict("records")[0]
        for measure in ("spend", "margin")
    )
    lines = [
        language.text(
            "nb.customers.spend",
            customers=language.number(total["customers"]),
            before=_span(total["before"], language),
            after=_span(total["after"], language),
            interval=show.money_interval(total["conf_low"], total["conf_high"], language),
            total=_signed(total["estimate"], language),
        )
    ]
    if total["conf_low"] <= 0 <= total["conf_high"]:
        lines.append(language.text("nb.customers.spend_open"))
    ends = show.money_interval(margin["conf_low"], margin["conf_high"], language)
    return [*lines, language.text("nb.customers.margin", total=_signed(margin["estimate"], language), interval=ends)]


def read_ladder(found: Customers, *, language: Language) -> Sentences:
    """The product that leads from a purchase to the margin of a customer."""
    if isinstance(found.spend, str):
        return []
    rows = _newest(found.spend.ladder())
    after = rows[rows["period"] == "after"].set_index("quantity")
    step, margin = after["estimate"], after[["conf_low", "conf_high"]].T["margin_per_customer"]
    if step.isna().any():
        return []
    return [
        language.text(
            f"nb.customers.ladder_{found.spend.span}",
            visits=language.number(step["frequency_of_visit"], 2),
            value=show.money(step["average_transaction_value"], language),
            rate=language.percent(step["margin_rate"]),
            margin=show.money(step["margin_per_customer"], language),
            interval=show.money_interval(margin["conf_low"], margin["conf_high"], language),
            retention=language.percent(step["retention"]),
        )
    ]


def read_model(found: Customers, *, language: Language) -> Sentences:
    """Which model stands behind the forecast, and what it takes for granted."""
    if isinstance(found.baseline, str):
        return [show.no_result(found.baseline, language)]
    if found.baseline.rule == "contract":
        return [language.text("nb.customers.model_contract")]
    lines = [language.text("nb.customers.model_repurchase", model=_name(found.baseline))]
    if not isinstance(found.tracking, str):
        table = found.tracking.candidates
        misses = [
            f"{NAMES[name]} {_percent(error, language)}"
            for name, error in zip(table["model"], table["error"], strict=True)
        ]
        lines.append(language.text("nb.customers.chosen", misses=", ".join(misses)))
    return lines


def read_tracking(found: Customers, *, language: Language) -> Sentences:
    """Whether the quarters held out fall within what the model leaves to chance."""
    return [] if isinstance(found.tracking, str) else _tracked(found, language)


def read_values(found: Customers, *, language: Language) -> Sentences:
    """What the next quarters bring together, and how horizon, rate and timing stand."""
    if isinstance(found.baseline, str):
        return []
    level = found.baseline.of_level()
    number = min(NEXT_QUARTERS, found.baseline.horizon_quarters)
    together = level.margin[:, :number].sum(axis=1) * level.customers
    lines = [
        language.text(
            "nb.customers.next",
            quarters=counted("quarters", number, language),
            total=show.money(together[0], language),
            interval=show.money_interval(*_ends(together), language),
        )
    ]
    if not found.terms_stated:
        return lines
    months = language.number(found.baseline.horizon_quarters * results.MONTHS_OF_A_QUARTER)
    rate = found.baseline.annual_discount_rate
    words = {"months": months, "rate": language.percent(rate, 0 if (rate * 100).is_integer() else 1)}
    return [*lines, language.text("nb.customers.timing", **words)]


def read_agreement(found: Agreement | str, *, language: Language) -> Sentences:
    """How far both values lie apart, through what, and why they may."""
    if isinstance(found, str):
        return []
    lines = [_apart(found, language)]
    kind = "contract" if found.window_days is None else "repurchase"
    if np.isfinite(found.staying + found.spending):
        each = float(found.histories[0]) / found.customers[0]
        words = {
            "staying": _percent(found.staying / each, language),
            "spending": _percent(found.spending / each, language),
        }
        lines.append(language.text(f"nb.customers.parts_{kind}", **words))
    window = {} if found.window_days is None else {"days": language.number(found.window_days)}
    lines.append(language.text(f"nb.customers.why_{kind}", **window))
    return [*lines, language.text("nb.customers.one_cohort")] if found.one_cohort else lines


def on_cohorts(found: Customers, measure: Measure, *, language: Language) -> Words:
    """Words of a figure of joining cohorts; what is read in it stands in its caption."""
    if isinstance(found.cohorts, str) or found.as_of is None:
        return Words()
    sizes = found.cohorts.sizes
    shown = sizes[~sizes["suppressed"].astype(bool) & (sizes["seen_from_age"] == 0)]
    words = {
        "customers": language.number(shown["customers"].sum()),
        "cohorts": language.number(len(shown)),
        "date": language.date(found.as_of),
    }
    if measure == "cumulative_margin":
        read, source = read_margin(found, language=language), language.text("nb.customers.source_margin", **words)
    else:
        rule = language.text(f"nb.code.retention_{found.cohorts.retention}") if found.cohorts.retention else ""
        read = read_cohorts(found, language=language)
        source = language.text("nb.customers.source_cohorts", rule=rule, **words)
    return Words(None, " ".join([*read, source]))


def on_survival(found: Customers, *, language: Language) -> Words:
    """Words of a figure of survival by band."""
    if isinstance(found.survival, str) or found.as_of is None:
        return Words()
    customers = language.number(int(found.survival.accounting["customers"].iloc[-1]))
    words = {"metric": found.exposure.upper(), "date": language.date(found.as_of)}
    return Words(None, language.text("nb.customers.source_survival", customers=customers, **words))


def on_spend(found: Customers, *, by_band: bool = False, language: Language) -> Words:
    """Words of a figure of the change of spend."""
    changed = found.spend_by_band if by_band else found.spend
    if isinstance(changed, str):
        return Words()
    customers = language.number(changed.glance()["customers"].iloc[0])
    if not by_band:
        return Words(None, language.text("nb.customers.source_spend", customers=customers))
    words = {"customers": customers, "metric": found.exposure.upper()}
    return Words(None, language.text("nb.customers.source_spend_bands", **words))


def on_tracking(found: Customers, *, language: Language) -> Words:
    """Words of a figure of forecast against what came."""
    if isinstance(found.tracking, str) or isinstance(found.baseline, str):
        return Words()
    words = {"model": _name(found.baseline), "date": language.date(found.tracking.seen_until)}
    return Words(None, language.text("nb.customers.source_tracking", **words))


def _because(why: str, language: Language) -> str:
    return show.said(why, language).rstrip(".")


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _signed(amount: float, language: Language) -> str:
    return ("+" if amount > 0 else "") + show.money(float(amount), language)


def _percent(share: float, language: Language) -> str:
    return ("+" if share > 0 else "") + language.percent(share)


def _span(label: str, language: Language) -> str:
    """A period, or a year given by its first and last quarter."""
    return "–".join(language.period(part) for part in label.split("–"))
