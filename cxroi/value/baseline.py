"""What the customers are worth without looking at any score: sBG under a contract, a purchase model elsewhere.

Margin of quarter h is discounted by (1 + rate)^(h/4), end of quarter, as in ``cxroi/value/lifetime.py``. What the models say is held
against quarters that they were not shown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi import periods
from cxroi.errors import InputError
from cxroi.tables import Tables
from cxroi.value.contractual import (
    ContractCustomers,
    RetentionModel,
    contract_customers,
    fit_sbg,
    margin_by_quarter,
    survival_of,
)
from cxroi.value.histories import (
    EVERYBODY,
    PurchaseHistories,
    purchase_histories,
    purchases_by_period,
)
from cxroi.value.noncontractual import Model, PurchaseModel, fit_purchases, like_histories
from cxroi.value.spend import SpendModel, expected_margin, fit_gamma_gamma, population_mean

Floats = NDArray[np.float64]
Rule = Literal["contract", "repurchase"]
Clock = Literal["joining", "data"]

MODELS: tuple[Model, ...] = get_args(Model)
UNIT_DAYS = 7
QUARTERS_OF_A_YEAR = 4
DAYS_OF_A_QUARTER = 365.25 / QUARTERS_OF_A_YEAR
MOST_QUARTERS = 80
FEWEST_CUSTOMERS = 30
FEWEST_LOST_OF_A_LEVEL = 30
FEWEST_REPEATERS_OF_A_LEVEL = 100
LONGEST_HOLDOUT = 4
DRAWN_AT_ONCE = 100_000  # draws times histories
CELLS = 300  # of like histories, on which draws are run
SIMULATED = 4_000  # customers whose future is drawn, for the noise of a holdout
SMALL_MISS, LARGEST_MISS = 0.03, 0.10
SMALLEST_Q = 1.05  # of the gamma-gamma model: at 1 there is no mean margin any more
LARGEST_EARLIER = 0.2  # share of customers whose first purchase may be unseen
TIDY = ("measure", "level", "estimate", "low", "median", "high", "customers", "unit", "fitted_on", "suppressed")


class LevelValue(NamedTuple):
    """Figures of one level; the first row of every array is at the point estimates.

    ``activity``: share still there (contract) or purchases (repurchase) per customer, shape (draws + 1, quarters); ``margin``: currency per
    customer, the same shape; ``new_margin``: of a new customer, the quarter of joining first, shape (draws + 1, quarters + 1), None where
    nobody joined. ``own`` is False where the model of all customers stands in.
    """

    level: str
    customers: int
    new_customers: int
    own: bool
    activity: Floats
    margin: Floats
    new_margin: Floats | None


@dataclass(frozen=True, eq=False, repr=False)
class Tracking:
    """Actual against expected, in the periods that a model was fitted to and in those that were held out.

    Attributes
    ----------
    table : DataFrame
        ``measure`` (``purchases`` or ``active_customers``, and ``margin`` in the holdout), ``period`` (label), ``part`` (``calibration``,
        ``holdout``), ``actual, expected, low, high`` (5-95 % range in which the actual figure should fall: parameters and chance),
        ``actual_cumulative, expected_cumulative``.
    totals : DataFrame
        Of the holdout: ``measure, actual, expected, low, high, error`` (expected over actual, less 1).
    candidates : DataFrame
        Of purchase models: ``model, log_likelihood, expected, actual, error, chance`` (standard deviation of the total by chance alone).
    """

    rule: Rule
    seen_until: dt.date
    holdout_quarters: int
    model: str
    table: pd.DataFrame
    totals: pd.DataFrame
    candidates: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.table)

    def tidy(self) -> pd.DataFrame:
        """One row per measure and period."""
        return self.table.copy()

    def glance(self) -> pd.DataFrame:
        """One row: rule, model, last day seen, quarters held out, error of each total of the holdout."""
        errors = {f"{row['measure']}_error": [row["error"]] for row in self.totals.to_dict("records")}
        row = {
            "rule": [self.rule],
            "model": [self.model],
            "seen_until": [self.seen_until],
            "holdout_quarters": [self.holdout_quarters],
        }
        return pd.DataFrame(row | errors)

    def checks(self) -> pd.DataFrame:
        """One row a total of the holdout: ``name, verdict, number, advice``; number: expected over actual, less 1."""
        rows = []
        for row in self.totals.to_dict("records"):
            inside = row["low"] <= row["actual"] <= row["high"]
            near = inside or abs(row["error"]) <= SMALL_MISS
            verdict = "pass" if near else "warn" if abs(row["error"]) <= LARGEST_MISS else "fail"
            advice = (
                f"total of the {self.holdout_quarters} quarters held out: {row['error']:+.1%} against the actual one"
            )
            if not near:
                advice += ", outside of what the model gives to chance: behaviour changed, or seasons or campaigns are not in the model"
            rows.append((f"holdout: {row['measure'].replace('_', ' ')}", verdict, row["error"], advice))
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


@dataclass(frozen=True, eq=False, repr=False)
class BaselineValue:
    """Value of the customers active (contract) or ever seen (repurchase) at the end of the data.

    Attributes
    ----------
    rule : {"contract", "repurchase"}
    as_of : date
        Last day that is known; quarter 1 begins after it.
    levels : tuple of LevelValue
        All customers first, then each level of ``by``.
    models : mapping
        ``retention``, or ``purchases`` and ``spend``: the fitted models of all customers, by name.
    holdout : Tracking or str
        How the same models did on quarters that they were not shown, or why that cannot be said.
    """

    rule: Rule
    horizon_quarters: int
    annual_discount_rate: float
    as_of: dt.date
    by: str | None
    currency: str
    levels: tuple[LevelValue, ...]
    models: Mapping[str, RetentionModel | PurchaseModel | SpendModel]
    own_checks: pd.DataFrame
    holdout: Tracking | str

    def __repr__(self) -> str:
        return repr(self.tidy())

    @cached_property
    def discount(self) -> Floats:
        """Discount factors of quarters 1…H, shape (quarters,)."""
        later = np.arange(1, self.horizon_quarters + 1) / QUARTERS_OF_A_YEAR
        return np.asarray((1.0 + self.annual_discount_rate) ** -later)

    def of_level(self, level: str = EVERYBODY) -> LevelValue:
        """Figures of one level."""
        for one in self.levels:
            if one.level == level:
                return one
        raise InputError(f"level must be one of {', '.join(one.level for one in self.levels)}; got {level!r}")

    def value_draws(self, level: str = EVERYBODY) -> Floats:
        """Value per customer, shape (draws + 1,); the first is at the point estimates."""
        return self.of_level(level).margin @ self.discount

    def total_draws(self, level: str = EVERYBODY) -> Floats:
        """Value of all customers of the level, shape (draws + 1,)."""
        return self.value_draws(level) * self.of_level(level).customers

    def new_customer_draws(self, level: str = EVERYBODY) -> Floats | None:
        """Value of a new customer, shape (draws + 1,): margin of the quarter (or day) of joining, undiscounted, and the quarters after."""
        margin = self.of_level(level).new_margin
        return None if margin is None else margin @ np.r_[1.0, self.discount]

    def median_lifetime(self) -> float | None:
        """Quarters after which half of new customers are lost; None where that is not reached within the horizon."""
        retention, purchases = self.models.get("retention"), self.models.get("purchases")
        if isinstance(retention, RetentionModel):
            return retention.median_lifetime(self.horizon_quarters)
        assert isinstance(purchases, PurchaseModel)
        quarter = DAYS_OF_A_QUARTER / purchases.unit_days
        found = purchases.median_lifetime(self.horizon_quarters * quarter)
        return None if found is None else found / quarter

    def tidy(self) -> pd.DataFrame:
        """One row per measure and level: ``measure, level, estimate, low, median, high, customers, unit, fitted_on, suppressed``.

        Measures: ``value_per_customer``, ``value_total``, ``new_customer_value`` (currency; 5-95 % of the draws). ``fitted_on`` is ``all``
        where a level is too small for a model of its own. Levels below 30 customers are suppressed.
        """
        rows: list[tuple[object, ...]] = []
        for one in self.levels:
            fitted_on = one.level if one.own else EVERYBODY
            new = self.new_customer_draws(one.level)
            for measure, draws, customers in (
                ("value_per_customer", self.value_draws(one.level), one.customers),
                ("value_total", self.total_draws(one.level), one.customers),
                ("new_customer_value", new, one.new_customers),
            ):
                suppressed = customers < FEWEST_CUSTOMERS or draws is None
                figures = [np.nan] * 4
                if not suppressed and draws is not None:
                    figures = [float(draws[0]), *np.quantile(draws[1:], [0.05, 0.5, 0.95]).tolist()]
                rows.append((measure, one.level, *figures, customers, self.currency, fitted_on, suppressed))
        return pd.DataFrame(rows, columns=list(TIDY))

    def glance(self) -> pd.DataFrame:
        """One row: rule, model, date, customers, horizon, rate, value per customer and in total with its range, median lifetime.

        ``median_lifetime_quarters`` of new customers is NaN where it is not reached within the horizon.
        """
        total = self.total_draws()
        low, high = np.quantile(total[1:], [0.05, 0.95])
        purchases = self.models.get("purchases")
        median = self.median_lifetime()
        return pd.DataFrame(
            {
                "rule": [self.rule],
                "model": [purchases.model if isinstance(purchases, PurchaseModel) else "sbg"],
                "as_of": [self.as_of],
                "customers": [self.levels[0].customers],
                "horizon_quarters": [self.horizon_quarters],
                "annual_discount_rate": [self.annual_discount_rate],
                "value_per_customer": [float(self.value_draws()[0])],
                "value_total": [float(total[0])],
                "low": [float(low)],
                "high": [float(high)],
                "currency": [self.currency],
                "median_lifetime_quarters": [np.nan if median is None else median],
            }
        )

    def path(self, level: str = EVERYBODY) -> pd.DataFrame:
        """One row a quarter: ``quarter, survival`` (or ``purchases``), ``margin, low, high, discounted_margin``, per customer."""
        one = self.of_level(level)
        return pd.DataFrame(
            {
                "quarter": np.arange(1, self.horizon_quarters + 1),
                "survival" if self.rule == "contract" else "purchases": one.activity[0],
                "margin": one.margin[0],
                "low": np.quantile(one.margin[1:], 0.05, axis=0),
                "high": np.quantile(one.margin[1:], 0.95, axis=0),
                "discounted_margin": one.margin[0] * self.discount,
            }
        )

    def checks(self) -> pd.DataFrame:
        """Checks of the models, of the holdout and of the levels against all: ``name, verdict, number, advice``."""
        if isinstance(self.holdout, str):
            nothing = [("holdout", "warn", np.nan, self.holdout)]
            held = pd.DataFrame(nothing, columns=["name", "verdict", "number", "advice"])
        else:
            held = self.holdout.checks()
        parts = [self.own_checks, held]
        if len(self.levels) > 1:
            whole = float(self.total_draws()[0])
            summed = sum(float(self.total_draws(one.level)[0]) for one in self.levels[1:])
            apart = summed / whole - 1.0
            row = (
                "levels against all",
                "pass" if abs(apart) <= 0.05 else "warn",
                apart,
                f"the levels of {self.by}, each by its own model where it is large enough, sum to {apart:+.1%} of the model of all",
            )
            parts.append(pd.DataFrame([row], columns=["name", "verdict", "number", "advice"]))
        return pd.concat(parts, ignore_index=True)


def baseline_value(
    tables: Tables,
    *,
    horizon_quarters: int,
    annual_discount_rate: float,
    by: str | None = None,
    seed: int,
    draws: int = 500,
    until: dt.date | None = None,
    holdout: Tracking | str | None = None,
) -> BaselineValue | str:
    """Value of today's customers and of a new one, from histories alone.

    Parameters
    ----------
    tables : Tables
    horizon_quarters : int
        1 to 80.
    annual_discount_rate : float
        0.12 is 12 % a year.
    by : str, optional
        A column of customers: a segment, ``acquisition_channel``, ``brand``. A level has models of its own where it is large enough.
    seed : int
    draws : int
    until : date, optional
        Pretend that the data end here.
    holdout : Tracking or str, optional
        What :func:`held_out` gives for the same customers, transactions and ``until``, to save the work.

    Returns
    -------
    BaselineValue or str
        The reason in words where the data cannot carry one.

    Raises
    ------
    InputError
        If a number is out of range or the column cannot be used.

    Notes
    -----
    *Contract*: survival by the sBG model times the margin per customer still there in the last whole year. Age runs since joining, or for
    those who were there before the data since the data begin, with parameters of their own, whichever has the lower AIC.
    *Repurchase* (also where no rule is declared): purchases by that of BG/NBD, MBG/NBD and Pareto/NBD with the highest likelihood among
    those whose total of held-out purchases misses by no more than the best one's miss and one standard deviation of chance; times the
    gamma-gamma margin. All three have four parameters, so likelihoods compare.

    Draws hold what the estimates do not know: parameters and the level of margin. They are ranges of *expected* value.
    """
    if isinstance(horizon_quarters, bool) or not 1 <= horizon_quarters <= MOST_QUARTERS:
        raise InputError(f"horizon_quarters must lie in 1..{MOST_QUARTERS}; got {horizon_quarters}")
    if not 0 <= annual_discount_rate < 1:
        raise InputError(f"annual_discount_rate must lie in 0..1 (0.12 is 12 % a year); got {annual_discount_rate}")
    if draws < 2:
        raise InputError(f"draws must be at least 2; got {draws}")
    if tables.transactions is None:
        return "the data have no transactions"
    generator = np.random.default_rng([seed, 4])
    rule = rule_of(tables)
    held = held_out(tables, seed=seed, draws=draws, until=until) if holdout is None else holdout
    forward = _contract if rule == "contract" else _repurchase
    found = forward(tables, horizon_quarters, by, until, generator, draws, held)
    if isinstance(found, str):
        return found
    return BaselineValue(
        rule=rule,
        horizon_quarters=horizon_quarters,
        annual_discount_rate=annual_discount_rate,
        by=by,
        currency=tables.config.currency or "currency",
        as_of=found.as_of,
        levels=found.levels,
        models=found.models,
        own_checks=found.checks,
        holdout=found.holdout,
    )


def held_out(tables: Tables, *, seed: int, draws: int = 500, until: dt.date | None = None) -> Tracking | str:
    """The holdout of :func:`baseline_value`: a third of the quarters, at most four, the same for every breakdown.

    Parameters
    ----------
    tables : Tables
    seed, draws : int
    until : date, optional

    Returns
    -------
    Tracking or str
        The reason in words where too little is left to fit to.
    """
    if tables.transactions is None:
        return "the data have no transactions"
    generator = np.random.default_rng([seed, 6])
    if rule_of(tables) == "contract":
        customers = contract_customers(tables, until=until)
        if isinstance(customers, str):
            return customers
        return _track_contract(tables, _holdout(customers.opening_age), until, generator, draws)
    histories = purchase_histories(tables, unit_days=UNIT_DAYS, until=until)
    if isinstance(histories, str):
        return histories
    whole = round(histories.of_level(EVERYBODY).table["age"].max() * UNIT_DAYS / DAYS_OF_A_QUARTER)
    return _track_purchases(tables, _holdout(whole), until, "quarter", None, generator, draws)


def rule_of(tables: Tables) -> Rule:
    """The declared retention rule; purchases speak for themselves where none is declared."""
    retention = tables.config.retention
    return "contract" if retention is not None and retention.rule == "contract" else "repurchase"


def tracking(
    tables: Tables,
    *,
    holdout_quarters: int = LONGEST_HOLDOUT,
    period: periods.Period = "quarter",
    model: Model | None = None,
    seed: int,
    draws: int = 500,
) -> Tracking | str:
    """Fit to the data before the last quarters, and hold the forecast against what these customers then did.

    Parameters
    ----------
    tables : Tables
    holdout_quarters : int
        Whole quarters at the end that the fit does not see.
    period : {"quarter", "month"}
        Of the rows; customers under contract are counted by quarter.
    model : {"bg_nbd", "mbg_nbd", "pareto_nbd"}, optional
        Of purchases; by default the one that :func:`baseline_value` would choose.
    seed : int
    draws : int

    Returns
    -------
    Tracking or str
        The reason in words where too little is left to fit to.

    Notes
    -----
    Only customers seen before the holdout count. In the calibration, expected figures are those of the model for customers of whom only
    the first purchase (or joining) is known; in the holdout, of their histories. Source: Fader, Hardie & Lee (2005), Marketing Science
    24:275, figures 3 and 4.
    """
    if isinstance(holdout_quarters, bool) or not 1 <= holdout_quarters <= MOST_QUARTERS:
        raise InputError(f"holdout_quarters must lie in 1..{MOST_QUARTERS}; got {holdout_quarters}")
    if tables.transactions is None or tables.data_end is None:
        return "the data have no transactions"
    generator = np.random.default_rng([seed, 5])
    if rule_of(tables) == "contract":
        return _track_contract(tables, holdout_quarters, None, generator, draws)
    return _track_purchases(tables, holdout_quarters, None, period, model, generator, draws)


class _Found(NamedTuple):
    as_of: dt.date
    levels: tuple[LevelValue, ...]
    models: dict[str, RetentionModel | PurchaseModel | SpendModel]
    checks: pd.DataFrame
    holdout: Tracking | str


# ------------------------------------------------------------------------------------------------------------- contract


@dataclass(frozen=True)
class _Retention:
    """Retention models by part of the base, on one clock."""

    clock: Clock
    models: dict[str, RetentionModel]

    @property
    def aic(self) -> float:
        return sum(4.0 - 2.0 * model.log_likelihood for model in self.models.values())

    @property
    def of_new(self) -> str:
        """Part whose model speaks for new customers."""
        return "joined" if "joined" in self.models else next(iter(self.models))

    def parameters(self, generator: np.random.Generator, draws: int) -> dict[str, Floats]:
        """(θ, σ) by part, the estimate first, shape (draws + 1, 2)."""
        return {
            part: np.vstack([[model.theta, model.sigma], model.parameter_draws(generator, draws)])
            for part, model in self.models.items()
        }


def _retention(customers: ContractCustomers, level: str, clock: Clock) -> _Retention | str:
    models: dict[str, RetentionModel] = {}
    for part, counts in customers.survivors(level, clock=clock).items():
        fitted = fit_sbg(counts)
        if isinstance(fitted, str):
            return fitted
        models[part] = fitted
    return _Retention(clock, models) if models else "nobody was at risk of leaving"


def _chosen_retention(customers: ContractCustomers) -> _Retention | str:
    """By the age since joining, or since the data begin for those there before: whichever has the lower AIC."""
    by_joining = _retention(customers, EVERYBODY, "joining")
    by_data = _retention(customers, EVERYBODY, "data")
    if isinstance(by_joining, str) or isinstance(by_data, str):
        return by_joining if isinstance(by_data, str) else by_data
    return by_data if by_data.aic < by_joining.aic else by_joining


def _level_retention(customers: ContractCustomers, level: str, chosen: _Retention) -> tuple[_Retention, bool]:
    """The level's own models on the chosen clock where enough of its customers left, else those of all."""
    parts = customers.survivors(level, clock=chosen.clock)
    enough = all(part in parts and parts[part]["lost"].sum() >= FEWEST_LOST_OF_A_LEVEL for part in chosen.models)
    own = _retention(customers, level, chosen.clock) if enough else ""
    return (chosen, False) if isinstance(own, str) else (own, True)


def _surviving(active: pd.DataFrame, parameters: dict[str, Floats], quarters: int) -> tuple[Floats, Floats]:
    """Customers expected after 1…H quarters, shape (draws + 1, quarters), and the variance by chance at the estimate."""
    steps = np.arange(1, quarters + 1)
    some = next(iter(parameters.values()))
    expected, variance = np.zeros((len(some), quarters)), np.zeros(quarters)
    for part, age, size in active[["part", "age", "customers"]].itertuples(index=False, name=None):
        known = parameters.get(part, some)  # those who joined last were never at risk yet
        share = survival_of(known, age + steps, since=age)
        expected += size * share
        variance += size * share[0] * (1.0 - share[0])
    return expected, variance


def _contract(
    tables: Tables,
    quarters: int,
    by: str | None,
    until: dt.date | None,
    generator: np.random.Generator,
    draws: int,
    holdout: Tracking | str,
) -> _Found | str:
    customers = contract_customers(tables, until=until, by=by)
    if isinstance(customers, str):
        return customers
    chosen = _chosen_retention(customers)
    if isinstance(chosen, str):
        return f"retention: {chosen}"
    levels = [EVERYBODY, *(customers.levels if by is not None else ())]
    values = []
    for level in levels:
        found = _contract_level(customers, level, chosen, quarters, generator, draws)
        if isinstance(found, str):
            if level == EVERYBODY:
                return found
            continue
        values.append(found)
    checks = [_named(f"retention ({part})", model.checks()) for part, model in chosen.models.items()]
    checks.append(_contract_checks(customers, chosen))
    models: dict[str, RetentionModel | PurchaseModel | SpendModel] = {
        "retention" if part in (EVERYBODY, chosen.of_new) else f"retention_{part}": model
        for part, model in chosen.models.items()
    }
    return _Found(
        as_of=periods.end(customers.last_quarter),
        levels=tuple(values),
        models=models,
        checks=pd.concat(checks, ignore_index=True),
        holdout=holdout,
    )


def _contract_level(
    customers: ContractCustomers,
    level: str,
    chosen: _Retention,
    quarters: int,
    generator: np.random.Generator,
    draws: int,
) -> LevelValue | str:
    retention, own = (chosen, True) if level == EVERYBODY else _level_retention(customers, level, chosen)
    active = customers.active(level, clock=retention.clock)
    size = int(active["customers"].sum())
    mean, error = customers.margin_per_quarter(level)
    if size == 0 or not np.isfinite(mean):
        return "nobody is under contract at the end of the data"
    parameters = retention.parameters(generator, draws)
    survival = _surviving(active, parameters, quarters)[0] / size
    level_margin = mean + error * np.r_[0.0, generator.standard_normal(draws)][:, None]
    joiners, stayed, first, first_error = customers.joining(level)
    noise = np.r_[0.0, generator.standard_normal(draws)], np.r_[0.0, generator.standard_normal(draws)]
    new = None
    if joiners:
        stays = np.clip(stayed + np.sqrt(stayed * (1.0 - stayed) / joiners) * noise[0], 0.0, 1.0)
        later = survival_of(parameters[retention.of_new], np.arange(1, quarters + 1)) * stays[:, None] * level_margin
        new = np.column_stack([first + first_error * noise[1], later])
    return LevelValue(level, size, joiners, own, survival, survival * level_margin, new)


def _contract_checks(customers: ContractCustomers, chosen: _Retention) -> pd.DataFrame:
    """Clock, and whether the last year's leavers are those that the model expects."""
    words = {
        "joining": "age since joining tells who leaves (AIC)",
        "data": "those there before the data begin leave by a curve of their own (AIC), by time since the data begin",
    }
    lost, expected, variance = 0.0, 0.0, 0.0
    cells = customers.parted(customers.cells, chosen.clock)
    for quarter in range(customers.year_from, customers.last_quarter + 1):
        there = cells[(cells["joined"] < quarter) & (cells["left"] >= quarter)]
        opening = (there["part"] == "opening").to_numpy()
        age = np.where(opening, quarter - customers.first_quarter + 1, quarter - there["joined"])
        n = there["customers"].to_numpy(dtype=np.float64)
        for part, model in chosen.models.items():
            own = (there["part"] == part).to_numpy()
            hazard = 1.0 - model.retention(age[own])
            expected += float(n[own] @ hazard)
            variance += float(n[own] @ (hazard * (1.0 - hazard)))
        lost += float(there.loc[there["left"] == quarter, "customers"].sum())
    z = (lost - expected) / max(variance, 1e-12) ** 0.5
    advice = f"{lost:.0f} left in the last year, {expected:.0f} expected"
    recent = abs(z) <= 3.0 or abs(lost / max(expected, 1e-12) - 1.0) <= 0.05
    if not recent:
        advice += ": retention has drifted, and the forecast follows the whole of the data"
    rows = [
        ("clock of retention", "pass", float(len(chosen.models)), words[chosen.clock]),
        ("leavers of the last year", "pass" if recent else "warn", lost / max(expected, 1e-12) - 1.0, advice),
    ]
    whole = customers.last_quarter - customers.year_from + 1
    if whole < QUARTERS_OF_A_YEAR:
        rows.append(
            ("a whole year", "warn", float(whole), "margin per quarter is not from a whole year, so seasons are in it")
        )
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _holdout(quarters: int) -> int:
    """Quarters to hold out of so many: a third, at most four."""
    return min(LONGEST_HOLDOUT, quarters // 3)


def _track_contract(
    tables: Tables, holdout: int, until: dt.date | None, generator: np.random.Generator, draws: int
) -> Tracking | str:
    later = contract_customers(tables, until=until)
    if isinstance(later, str):
        return later
    cut = later.last_quarter - holdout
    if holdout < 1 or cut - later.first_quarter + 1 < 2:
        return "too few whole quarters to hold some out"
    earlier = contract_customers(tables, until=periods.end(cut))
    if isinstance(earlier, str):
        return earlier
    chosen = _chosen_retention(earlier)
    if isinstance(chosen, str):
        return f"retention: {chosen}"
    mean, error = earlier.margin_per_quarter()
    active = earlier.active(clock=chosen.clock)
    parameters = chosen.parameters(generator, draws)
    expected, variance = _surviving(active, parameters, holdout)
    cells = later.cells[later.cells["joined"] <= cut]
    counted = [
        int(cells.loc[(cells["joined"] <= q) & (cells["left"] > q), "customers"].sum())
        for q in range(later.first_quarter, later.last_quarter + 1)
    ]
    fitted = _fitted_active(earlier, chosen)
    seen = len(fitted)
    chance = np.sqrt(variance) * generator.standard_normal((draws, holdout))
    totals = []
    ranges = np.quantile(expected[1:] + chance, [0.05, 0.95], axis=0)
    table = _tracked(
        "active_customers",
        [periods.label(q) for q in range(later.first_quarter, later.last_quarter + 1)],
        (np.array(counted, dtype=np.float64), np.r_[fitted, expected[0]], ranges),
        seen,
    )
    # quarters of one customer go together, so the noise of the sum is taken as wholly shared
    sums = expected[1:].sum(axis=1) + np.sqrt(variance).sum() * generator.standard_normal(draws)
    totals.append(("customer_quarters", float(sum(counted[seen:])), float(expected[0].sum()), *_range(sums)))
    margins = margin_by_quarter(tables, there_at=cut, until_quarter=cut + holdout)
    level = mean + error * generator.standard_normal(draws)[:, None]
    each = np.sqrt(margins["square"].to_numpy() + earlier.mean_square() * variance)
    drawn = expected[1:] * level + each * generator.standard_normal((draws, holdout))
    table = pd.concat(
        [
            table,
            _tracked(
                "margin",
                [periods.label(q) for q in range(cut + 1, cut + holdout + 1)],
                (margins["margin"].to_numpy(), expected[0] * mean, np.quantile(drawn, [0.05, 0.95], axis=0)),
                0,
            ),
        ],
        ignore_index=True,
    )
    staying = np.sqrt(earlier.mean_square() * variance).sum()
    noise = np.sqrt(margins["square"].sum() + staying**2) * generator.standard_normal(draws)
    drawn_sum = (expected[1:] * level).sum(axis=1) + noise
    totals.append(("margin", float(margins["margin"].sum()), float(expected[0].sum() * mean), *_range(drawn_sum)))
    return Tracking(
        rule="contract",
        seen_until=periods.end(cut),
        holdout_quarters=holdout,
        model=f"sbg, clock of {chosen.clock}",
        table=table,
        totals=_totals(totals),
        candidates=pd.DataFrame(),
    )


def _fitted_active(customers: ContractCustomers, chosen: _Retention) -> Floats:
    """Customers expected at the end of each quarter seen, from those there at its start and those who joined, shape (quarters,)."""
    cells = customers.parted(customers.cells, chosen.clock)
    quarters = np.arange(customers.first_quarter, customers.last_quarter + 1)
    found = np.zeros(len(quarters))
    stayed = cells[cells["left"] > cells["joined"]]
    for part, joined, size in stayed[["part", "joined", "customers"]].itertuples(index=False, name=None):
        opening = part == "opening"
        since = 0 if opening else max(customers.first_quarter - 1 - joined, 0)
        later = quarters >= max(joined, customers.first_quarter)
        age = quarters[later] - (customers.first_quarter - 1 if opening else joined)
        model = chosen.models.get(part, chosen.models[chosen.of_new])
        found[later] += size * model.survival(age, since=since)
    return found


# ----------------------------------------------------------------------------------------------------------- repurchase


def _repurchase(
    tables: Tables,
    quarters: int,
    by: str | None,
    until: dt.date | None,
    generator: np.random.Generator,
    draws: int,
    holdout: Tracking | str,
) -> _Found | str:
    histories = purchase_histories(tables, unit_days=UNIT_DAYS, until=until, by=by)
    if isinstance(histories, str):
        return histories
    assert histories.until is not None
    everybody = histories.of_level(EVERYBODY)
    model = _most_likely(everybody) if isinstance(holdout, str) else holdout.model
    if model not in MODELS:
        return model
    purchases = fit_purchases(model, everybody)
    spend = fit_gamma_gamma(*_spent(everybody))
    if isinstance(purchases, str):
        return purchases
    if isinstance(spend, str):
        return f"margin per purchase: {spend}"
    if spend.parameters["q"] < SMALLEST_Q:
        return "margin per purchase: a few customers carry the mean (q of the gamma-gamma model is not above 1)"
    pooled = purchases, spend
    values = [_repurchase_level(everybody, EVERYBODY, pooled, True, quarters, generator, draws)]
    if by is not None:
        for level in histories.levels:
            part = histories.of_level(level)
            own = _level_models(part, model)
            values.append(_repurchase_level(part, level, own or pooled, own is not None, quarters, generator, draws))
    checks = [
        _named("purchases", purchases.checks()),
        _named("margin per purchase", spend.checks()),
        _choice_check(holdout, model),
        _start_check(tables),
    ]
    return _Found(
        as_of=histories.until,
        levels=tuple(values),
        models={"purchases": purchases, "spend": spend},
        checks=pd.concat(checks, ignore_index=True),
        holdout=holdout,
    )


def _spent(histories: PurchaseHistories) -> tuple[Floats, Floats, Floats]:
    spend = histories.spend
    return tuple(spend[name].to_numpy(dtype=np.float64) for name in ("frequency", "mean_margin", "customers"))  # type: ignore[return-value]


def _level_models(part: PurchaseHistories, model: Model) -> tuple[PurchaseModel, SpendModel] | None:
    """Models of a level's own where it has 100 repeat customers with a margin, and they have a finite mean."""
    if int(part.spend["customers"].sum()) < FEWEST_REPEATERS_OF_A_LEVEL:
        return None
    purchases, spend = fit_purchases(model, part), fit_gamma_gamma(*_spent(part))
    if isinstance(purchases, str) or isinstance(spend, str) or spend.parameters["q"] < SMALLEST_Q:
        return None
    return purchases, spend


def _most_likely(histories: PurchaseHistories) -> str:
    """Name of the model with the highest likelihood, or the reason why none can be fitted."""
    fitted = {model: fit_purchases(model, histories) for model in MODELS}
    heights = {model: one.log_likelihood for model, one in fitted.items() if isinstance(one, PurchaseModel)}
    return max(heights, key=lambda model: heights[model]) if heights else str(fitted["bg_nbd"])


def _choice_check(holdout: Tracking | str, model: str) -> pd.DataFrame:
    if isinstance(holdout, str):
        row = ("choice of model", "warn", np.nan, f"{model} has the highest likelihood; {holdout}")
    else:
        table = holdout.candidates.set_index("model")
        shown = ", ".join(f"{name} {error:+.1%}" for name, error in table["error"].items())
        miss = float(table["error"].to_dict()[model])
        row = ("choice of model", "pass", miss, f"{model}; misses of the holdout: {shown}")
    return pd.DataFrame([row], columns=["name", "verdict", "number", "advice"])


def _start_check(tables: Tables) -> pd.DataFrame:
    """Share of customers who had joined before the transactions begin: their first purchase here is not their first."""
    assert tables.transactions is not None
    began = tables.transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0]
    start = dt.datetime.combine(began.date(), dt.time())
    earlier = tables.customers.select(
        nw.when(nw.col("joined_on") < nw.lit(start)).then(1.0).otherwise(0.0).alias("earlier")
    )
    share = float(earlier.select(nw.col("earlier").mean()).collect()["earlier"][0])
    advice = f"{share:.0%} joined before the transactions begin; their clock starts with the first purchase in the data"
    if share > LARGEST_EARLIER:
        advice += ", so frequent buyers look older than rare ones: trust the holdout more than single parameters"
    row = ("start of histories", "pass" if share <= LARGEST_EARLIER else "warn", share, advice)
    return pd.DataFrame([row], columns=["name", "verdict", "number", "advice"])


def _columns(table: pd.DataFrame) -> tuple[Floats, Floats, Floats]:
    return tuple(table[name].to_numpy(dtype=np.float64) for name in ("frequency", "recency", "age"))  # type: ignore[return-value]


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """At most 300 cells of like histories that stand for all; frequencies of a cell are those of its row of cells."""
    x, recency, age = _columns(table)
    n = table["customers"].to_numpy(dtype=np.float64)
    place = like_histories(x, recency, age, most=CELLS)
    steps = np.round(8.0 * np.log1p(x)).astype(np.int64)
    shared = np.bincount(steps, weights=n * x)[steps] / np.bincount(steps, weights=n)[steps]
    size = np.bincount(place, weights=n)
    parts = {"frequency": shared, "recency": recency, "age": age}
    cells = {name: np.bincount(place, weights=n * each) / size for name, each in parts.items()}
    margin = np.bincount(place, weights=table["repeat_margin"].to_numpy(dtype=np.float64))
    return pd.DataFrame(cells | {"customers": size, "repeat_margin": margin})


def _expected_by_quarter(
    table: pd.DataFrame, model: PurchaseModel, purchase_draws: Floats, spend_draws: Floats, times: Floats
) -> tuple[Floats, Floats]:
    """Purchases and margin of all customers of a table between the times, shape (draws, times) each."""
    n, total = (table[name].to_numpy(dtype=np.float64) for name in ("customers", "repeat_margin"))
    x, recency, age = _columns(table)
    purchases = np.empty((len(purchase_draws), len(times)))
    margin = np.empty_like(purchases)
    for rows in np.array_split(np.arange(len(purchase_draws)), max(1, len(purchase_draws) * len(x) // DRAWN_AT_ONCE)):
        made = model.expected_draws(purchase_draws[rows], times, x, recency, age)
        by_customer = n * expected_margin(spend_draws[rows], x, total / n)
        purchases[rows] = np.diff(np.einsum("c,dct->dt", n, made), axis=1, prepend=0.0)
        margin[rows] = np.diff(np.einsum("dc,dct->dt", by_customer, made), axis=1, prepend=0.0)
    return purchases, margin


def _repurchase_level(
    histories: PurchaseHistories,
    level: str,
    models: tuple[PurchaseModel, SpendModel],
    own: bool,
    quarters: int,
    generator: np.random.Generator,
    draws: int,
) -> LevelValue:
    purchases, spend = models
    times = np.asarray(np.arange(1, quarters + 1) * DAYS_OF_A_QUARTER / histories.unit_days, dtype=np.float64)
    drawn = _parameters(purchases, spend, generator, draws)
    table = histories.table
    n = table["customers"].to_numpy(dtype=np.float64)
    size = float(n.sum())
    made, margin = _expected_draws(histories, purchases, drawn, times)
    if histories.every > 1:  # the total is that of a sample, multiplied up
        each = (
            np.sqrt(float(n @ (_value_of_each(table, models, times[-1]) - margin[0].sum() / size) ** 2))
            / margin[0].sum()
        )
        margin = margin * (1.0 + each * np.r_[0.0, generator.standard_normal(draws)][:, None])
    activity, value = made / size, margin / size
    later = np.diff(purchases.expected_of_new_draws(drawn[0], times), axis=1, prepend=0.0)
    mean = population_mean(drawn[1])
    first = histories.first.iloc[0]
    error = np.sqrt(max(float(first["mean_square"]) - float(first["mean"]) ** 2, 0.0) / size)
    first_margin = float(first["mean"]) + error * np.r_[0.0, generator.standard_normal(draws)]
    new = np.column_stack([first_margin, later * mean[:, None]])
    customers = round(size) * histories.every
    return LevelValue(level, customers, customers, own, activity, value, new)


def _value_of_each(table: pd.DataFrame, models: tuple[PurchaseModel, SpendModel], time: float) -> Floats:
    """Margin expected of a customer of each history up to a time, currency, shape (histories,)."""
    x, recency, age = _columns(table)
    total = table["repeat_margin"].to_numpy(dtype=np.float64) / table["customers"].to_numpy(dtype=np.float64)
    margin = expected_margin(np.exp(models[1].log_parameters), x, total)
    return np.asarray(margin * models[0].expected_purchases(time, x, recency, age))


def _parameters(
    purchases: PurchaseModel, spend: SpendModel, generator: np.random.Generator, draws: int
) -> tuple[Floats, Floats]:
    """Parameters of both models, the estimates first, shapes (draws + 1, 4) and (draws + 1, 3)."""
    of_purchases = np.vstack([np.exp(purchases.log_parameters), purchases.parameter_draws(generator, draws)])
    of_spend = np.vstack([np.exp(spend.log_parameters), spend.parameter_draws(generator, draws)])
    of_spend[:, 1] = np.maximum(of_spend[:, 1], SMALLEST_Q)
    return of_purchases, of_spend


def _expected_draws(
    histories: PurchaseHistories, purchases: PurchaseModel, drawn: tuple[Floats, Floats], times: Floats
) -> tuple[Floats, Floats]:
    """Purchases and margin of all customers between the times, shape (draws + 1, times) each.

    Draws are run on cells of like histories; the exact figure at the estimate takes out what that rounds.
    """
    made, margin = _expected_by_quarter(histories.table, purchases, drawn[0][:1], drawn[1][:1], times)
    made_of_cells, margin_of_cells = _expected_by_quarter(_cells(histories.table), purchases, *drawn, times)
    return made_of_cells * (made[0] / made_of_cells[0]), margin_of_cells * (margin[0] / margin_of_cells[0])


def _track_purchases(
    tables: Tables,
    holdout: int,
    until: dt.date | None,
    period: periods.Period,
    model: Model | None,
    generator: np.random.Generator,
    draws: int,
) -> Tracking | str:
    assert tables.data_end is not None
    end = tables.data_end if until is None else until
    last = periods.containing(end)
    if (periods.end(last) - end).days > UNIT_DAYS:
        last -= 1
    cut_quarter = last - holdout
    seen_until = periods.end(cut_quarter)
    if holdout < 1:
        return "too few whole quarters to hold some out"
    histories = purchase_histories(tables, unit_days=UNIT_DAYS, until=min(seen_until, tables.data_end))
    if isinstance(histories, str):
        return histories
    if float(histories.table["age"].max()) * UNIT_DAYS < DAYS_OF_A_QUARTER:
        return "less than a quarter of purchases is left to fit to"
    actual = purchases_by_period(tables, seen_until=seen_until, period=period)
    stop = periods.end(last)
    first_held, last_held = periods.containing(periods.start(cut_quarter + 1), period), periods.containing(stop, period)
    actual = actual[actual["period"] <= last_held]
    held = np.arange(first_held, last_held + 1)
    times = np.array([(periods.end(int(q), period) - seen_until).days for q in held]) / histories.unit_days
    counts = _filled(actual[actual["part"] == "holdout"], held)
    fitted = {name: fit_purchases(name, histories) for name in ((model,) if model else MODELS)}
    usable = {name: one for name, one in fitted.items() if isinstance(one, PurchaseModel)}
    if not usable:
        return str(next(iter(fitted.values())))
    total = float(counts["purchases"].sum())
    rows = []
    for name, one in usable.items():
        expected = _expected_total(histories.table, one, times[-1])
        chance = _chance(histories, one, times[[-1]], generator)[0][0]
        rows.append((name, one.log_likelihood, expected, total, expected / max(total, 1.0) - 1.0, chance))
    columns = ["model", "log_likelihood", "expected", "actual", "error", "chance"]
    candidates = pd.DataFrame(rows, columns=columns)
    miss = (candidates["expected"] - candidates["actual"]).abs()
    near = candidates[miss <= miss.min() + candidates["chance"]]
    chosen = usable[near.loc[near["log_likelihood"].idxmax(), "model"]]
    spend = fit_gamma_gamma(*_spent(histories))
    return _tracked_purchases(
        histories, (chosen, spend), (actual, counts, held, times), period, candidates, generator, draws
    )


def _tracked_purchases(
    histories: PurchaseHistories,
    models: tuple[PurchaseModel, SpendModel | str],
    counted: tuple[pd.DataFrame, pd.DataFrame, NDArray[np.int64], Floats],
    period: periods.Period,
    candidates: pd.DataFrame,
    generator: np.random.Generator,
    draws: int,
) -> Tracking:
    (chosen, spend), (actual, counts, held, times) = models, counted
    assert histories.until is not None
    seen = actual[actual["part"] == "calibration"]
    calibration = np.arange(int(seen["period"].min()), periods.containing(histories.until, period) + 1)
    seen_counts = _filled(seen, calibration)
    if isinstance(spend, SpendModel) and spend.parameters["q"] >= SMALLEST_Q:
        drawn = _parameters(chosen, spend, generator, draws)
    else:
        spend = "no margin per purchase"
        own = np.vstack([np.exp(chosen.log_parameters), chosen.parameter_draws(generator, draws)])
        drawn = own, np.full((draws + 1, 3), 2.0)
    made, margin = _expected_draws(histories, chosen, drawn, times)
    each, together = _chance(histories, chosen, times, generator)
    noise = generator.standard_normal((draws, len(times)))
    fitted = _expected_in_calibration(histories, chosen, calibration, period)
    labels = [periods.label(int(q), period) for q in [*calibration, *held]]
    table = _tracked(
        "purchases",
        labels,
        (
            np.r_[seen_counts["purchases"], counts["purchases"]].astype(np.float64),
            np.r_[fitted, made[0]],
            np.quantile(made[1:] + each * noise, [0.05, 0.95], axis=0),
        ),
        len(calibration),
    )
    sums = made[1:].sum(axis=1) + together * generator.standard_normal(draws)
    totals = [("purchases", float(counts["purchases"].sum()), float(made[0].sum()), *_range(sums))]
    if isinstance(spend, SpendModel):
        variance = _margin_variance(histories, spend)
        per_purchase = margin[0] / made[0]
        spread = np.sqrt((per_purchase * each) ** 2 + made[0] * variance)
        table = pd.concat(
            [
                table,
                _tracked(
                    "margin",
                    labels[len(calibration) :],
                    (
                        counts["margin"].to_numpy(),
                        margin[0],
                        np.quantile(margin[1:] + spread * noise, [0.05, 0.95], axis=0),
                    ),
                    0,
                ),
            ],
            ignore_index=True,
        )
        whole = np.sqrt((margin[0].sum() / made[0].sum() * together) ** 2 + made[0].sum() * variance)
        sums = margin[1:].sum(axis=1) + whole * generator.standard_normal(draws)
        totals.append(("margin", float(counts["margin"].sum()), float(margin[0].sum()), *_range(sums)))
    figures = ["actual", "expected", "low", "high"]
    table[[*figures, "actual_cumulative", "expected_cumulative"]] *= histories.every
    summed = _totals(totals)
    summed[figures] *= histories.every
    return Tracking(
        rule="repurchase",
        seen_until=histories.until,
        holdout_quarters=round(times[-1] * histories.unit_days / DAYS_OF_A_QUARTER),
        model=chosen.model,
        table=table,
        totals=summed,
        candidates=candidates,
    )


def _filled(counts: pd.DataFrame, wanted: NDArray[np.int64]) -> pd.DataFrame:
    """Purchases and margin of the wanted periods, 0 where there are none."""
    return counts.set_index("period")[["purchases", "margin"]].reindex(wanted, fill_value=0)


def _expected_total(table: pd.DataFrame, model: PurchaseModel, time: float) -> float:
    return float(table["customers"].to_numpy(dtype=np.float64) @ model.expected_purchases(time, *_columns(table)))


def _chance(
    histories: PurchaseHistories, model: PurchaseModel, times: Floats, generator: np.random.Generator
) -> tuple[Floats, float]:
    """Standard deviation by chance of all customers' purchases in each period, shape (times,), and of their sum."""
    table = histories.table
    n = table["customers"].to_numpy(dtype=np.float64)
    rows = generator.choice(len(table), size=SIMULATED, p=n / n.sum())
    columns = tuple(each[rows] for each in _columns(table))
    future = model.purchase_draws(times, *columns, generator=generator)
    expected = model.expected_purchases(times, *columns)
    apart = np.diff(future - expected, axis=1, prepend=0.0)
    scale = n.sum() / SIMULATED
    return np.sqrt((apart**2).sum(axis=0) * scale), float(np.sqrt((apart.sum(axis=1) ** 2).sum() * scale))


def _margin_variance(histories: PurchaseHistories, spend: SpendModel) -> float:
    """Variance of the margin of single purchases over all customers, squared currency."""
    x, mean, n = _spent(histories)
    second = float((n * x) @ mean**2) / float(n @ x)
    first = float((n * x) @ mean) / float(n @ x)
    return second * (1.0 + 1.0 / spend.parameters["p"]) - first**2


def _expected_in_calibration(
    histories: PurchaseHistories, model: PurchaseModel, wanted: NDArray[np.int64], period: periods.Period
) -> Floats:
    """Repeat purchases expected in each period of customers of whom only the day of the first purchase is known, shape (periods,)."""
    assert histories.until is not None
    by_age = histories.table.groupby("age", as_index=False)["customers"].sum()
    ages, n = (by_age[name].to_numpy(dtype=np.float64) for name in ("age", "customers"))
    ends = [min(periods.end(int(q), period), histories.until) for q in wanted]
    before = [periods.start(int(wanted[0]), period) - dt.timedelta(days=1), *ends]
    back = np.array([(histories.until - day).days for day in before]) / histories.unit_days
    since = np.maximum(ages[None, :] - back[:, None], 0.0)
    grid = np.linspace(0.0, np.sqrt(max(since.max(), 1.0)), 200) ** 2
    total = np.interp(since, grid, model.expected_of_new(grid)) @ n
    return np.asarray(np.diff(total))


# ------------------------------------------------------------------------------------------------------------- tables


def _tracked(measure: str, labels: list[str], figures: tuple[Floats, Floats, Floats], seen: int) -> pd.DataFrame:
    """Rows of a tracking table; ranges, shape (2, held out), are of what was held out."""
    actual, expected, ranges = figures
    nothing = np.full(seen, np.nan)
    return pd.DataFrame(
        {
            "measure": measure,
            "period": labels,
            "part": ["calibration"] * seen + ["holdout"] * (len(labels) - seen),
            "actual": actual,
            "expected": expected,
            "low": np.r_[nothing, ranges[0]],
            "high": np.r_[nothing, ranges[1]],
            "actual_cumulative": np.cumsum(actual),
            "expected_cumulative": np.cumsum(expected),
        }
    )


def _named(what: str, checks: pd.DataFrame) -> pd.DataFrame:
    return checks.assign(name=what + ": " + checks["name"])


def _range(draws: Floats) -> tuple[float, float]:
    low, high = np.quantile(draws, [0.05, 0.95])
    return float(low), float(high)


def _totals(rows: list[tuple[str, float, float, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["measure", "actual", "expected", "low", "high"])
    return table.assign(error=table["expected"] / table["actual"].where(table["actual"] != 0) - 1.0)
