"""Lifetime value that follows the fitted linkage: survival × margin given retained, path by path, as draws.

For every customer active at the end of the last quarter the fitted hazard and the fitted spend are run forward:
tenure grows, the expected score drifts back as repeated answers say it does, controls stay. One point more is a
counterfactual run of the same customers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi.errors import InputError
from cxroi.linkage import Linkage, headline_method, standard_linkages
from cxroi.linkage.calibrated import calibrated
from cxroi.linkage.persistence import Persistence, estimate_persistence, persistence_of
from cxroi.panel import Panel
from cxroi.value.forward import Equations, Paths, run_forward, score_bands
from cxroi.value.referrals import NO_SAVING, NO_SHARE, one_referral
from cxroi.value.response import MarginResponse
from cxroi.value.season import QUARTERS_OF_A_YEAR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
MOST_QUARTERS = 80
DAYS_OF_A_QUARTER, DAYS_OF_GRACE = 91, 10
FEWEST_YOUNG = 30
ONE_COHORT = (
    "all customers joined together, so their age and the calendar are not told apart; "
    "spend is taken to stay as it was in the last year"
)


@dataclass(frozen=True)
class CustomerValue:
    """Lifetime value of the customers active at the end of the last quarter.

    Attributes
    ----------
    exposure : str
        Score whose point is valued; empty for a data set without answers.
    horizon_quarters, annual_discount_rate : int, float
        Margin of quarter h is discounted by (1 + rate)^(h/4): end of quarter.
    reason : str
        Why there is no value, or (with a value) why there is none per point; empty otherwise.
    referrals, service_cost : Linkage or None
        Equations of what stands beside margin in a response; ``lacking`` says by outcome why one is None.
    """

    panel: Panel
    exposure: str
    horizon_quarters: int
    annual_discount_rate: float
    seed: int
    draws: int
    retention: Linkage | None
    orders: Linkage | None
    margin: Linkage | None
    persistence: Persistence | None
    reason: str = ""
    referrals: Linkage | None = None
    service_cost: Linkage | None = None
    lacking: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return repr(self.tidy())

    @property
    def customers(self) -> int:
        """Customers active at the end of the last quarter."""
        return round(float(self.panel.active["weight"].sum()))

    @property
    def evidence(self) -> str:
        """Rung of the claim ladder of the linkage underneath."""
        return "association" if self.margin is None else self.margin.evidence

    @property
    def age_is_time(self) -> bool:
        """Whether all customers joined together: then tenure and period are one thing, and how spend changes with either is a guess."""
        return self.margin is not None and any("period_label" in name for name in self.margin.design.dropped)

    @cached_property
    def _paths(self) -> Paths:
        return self._run(self.horizon_quarters)

    def forward(self, quarters: int) -> Paths:
        """The equations run forward over so many quarters, whatever the horizon is."""
        return self._paths if quarters == self.horizon_quarters else self._run(quarters)

    def _run(self, quarters: int) -> Paths:
        return run_forward(self._equations, quarters, seed=self.seed, draws=self.draws)

    @cached_property
    def _equations(self) -> Equations:
        panel = self.panel if self.margin is None else self.margin.panel
        return Equations(
            panel,
            self.exposure,
            self.retention,
            self.orders,
            self.margin,
            self.persistence,
            self.referrals,
            self.service_cost,
        )

    @cached_property
    def discount(self) -> Floats:
        """Discount factors of quarters 1…H, shape (quarters,)."""
        return _discount(self.horizon_quarters, self.annual_discount_rate)

    def value_draws(self) -> Floats:
        """Lifetime value per active customer, shape (draws + 1,); the first is at the point estimates."""
        return self._paths.baseline @ self.discount

    def point_draws(self, *, fading: bool = False) -> Floats:
        """Change of lifetime value for one point more, throughout or fading as estimated, shape (draws + 1,)."""
        if fading and self._paths.fading is None:
            raise InputError(
                "a fading gain must have an estimated persistence; too few customers answered in four quarters or more"
            )
        changed = self._paths.fading if fading else self._paths.higher
        assert changed is not None
        return (changed - self._paths.baseline) @ self.discount

    def tidy(self) -> pd.DataFrame:
        """One row per measure and band: ``measure, band, estimate, low, median, high, customers, unit`` (5–95 % of the draws)."""
        columns = ["measure", "band", "estimate", "low", "median", "high", "customers", "unit"]
        if self.margin is None:
            return pd.DataFrame(columns=columns)
        rows = [("lifetime_value", "all", self.value_draws(), self.customers)]
        for position, (band, customers) in enumerate(self._bands.items()):
            rows.append(("lifetime_value", band, self._paths.by_band[:, :, position] @ self.discount, customers))
        if self.exposure:
            rows.append(("value_of_one_point", "all", self.point_draws(), self.customers))
            if self.persistence is not None:
                rows.append(("value_of_one_fading_point", "all", self.point_draws(fading=True), self.customers))
        table = []
        for measure, band, draws, customers in rows:
            low, median, high = np.quantile(draws[1:], [0.05, 0.5, 0.95])
            table.append((measure, band, draws[0], low, median, high, customers, self.panel.currency))
        return pd.DataFrame(table, columns=columns)

    @cached_property
    def _bands(self) -> dict[str, int]:
        bands = score_bands(self.panel, self.exposure)
        weight = self.panel.active["weight"].to_numpy()
        return {band: round(float(weight[(bands == band).to_numpy()].sum())) for band in bands.cat.categories}

    def glance(self) -> pd.DataFrame:
        """One row: customers, horizon, rate, value per customer with its range."""
        row: dict[str, list[object]] = {
            "customers": [self.customers],
            "horizon_quarters": [self.horizon_quarters],
            "annual_discount_rate": [self.annual_discount_rate],
            "evidence": [self.evidence],
            "reason": [self.reason],
        }
        if self.margin is not None:
            draws = self.value_draws()
            low, high = np.quantile(draws[1:], [0.05, 0.95])
            row |= {"lifetime_value": [float(draws[0])], "low": [float(low)], "high": [float(high)]}
        return pd.DataFrame(row)

    def path(self) -> pd.DataFrame:
        """One row a quarter: expected share still there, orders per remaining customer, margin per order, margin per customer."""
        paths = self._paths
        still, orders = paths.survival[0], paths.orders[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            return pd.DataFrame(
                {
                    "quarter": np.arange(1, self.horizon_quarters + 1),
                    "survival": still,
                    "orders_per_customer": orders / still,
                    "margin_per_order": paths.baseline[0] / orders,
                    "margin": paths.baseline[0],
                    "low": np.quantile(paths.baseline[1:], 0.05, axis=0),
                    "high": np.quantile(paths.baseline[1:], 0.95, axis=0),
                    "discounted_margin": paths.baseline[0] * self.discount,
                }
            )

    def value_of_referral(self, horizon_quarters: int) -> Floats | str:
        """Value of a referral made in each quarter, shape (draws, quarters), or why it is not known.

        Of the share who would not have come anyway what they bring until the horizon ends, discounted to the quarter of the
        referral; of everybody the acquisition cost that is saved. New customers are taken to be like those active customers
        who joined within a year (like all, where these are fewer than 30), at the same draws of the coefficients.
        """
        terms = self.panel.referral_terms
        if terms is None:
            return NO_SHARE
        if not np.isfinite(terms.saved_cost):
            return NO_SAVING
        equations = replace(self._equations, referrals=None, service_cost=None)
        active = equations.panel.active
        young = active[active["tenure"] < QUARTERS_OF_A_YEAR] if "tenure" in active else active.head(0)
        if len(young) >= FEWEST_YOUNG:
            equations = replace(equations, panel=replace(equations.panel, active=young.reset_index(drop=True)))
        margin = run_forward(equations, horizon_quarters, seed=self.seed, draws=self.draws).baseline[1:]
        brought = np.cumsum(margin * _discount(horizon_quarters, self.annual_discount_rate), axis=1)
        until_end = np.hstack([brought[:, ::-1][:, 1:], np.zeros((len(brought), 1))])
        generator = np.random.default_rng([self.seed, 2])
        saved = terms.saved_cost + terms.saved_cost_error * generator.standard_normal((len(brought), 1))
        return one_referral(until_end, saved, terms.would_have_come)

    def response(self, horizon_quarters: int) -> MarginResponse:
        """What a case needs: margin by quarter and its change per point, by the channel that it comes through."""
        if not 1 <= horizon_quarters <= MOST_QUARTERS:
            raise InputError(f"horizon_quarters must lie in 1..{MOST_QUARTERS}; got {horizon_quarters}")
        nothing = np.zeros((0, horizon_quarters))
        paths = None
        if not self.reason:
            paths = self.forward(horizon_quarters)
        through_referrals, through_service, lacking = self._beside_margin(paths, horizon_quarters)
        return MarginResponse(
            exposure=self.exposure,
            customers=self.customers,
            currency=self.panel.currency,
            evidence=self.evidence,
            baseline=nothing if paths is None else paths.baseline[1:],
            through_retention=nothing if paths is None else paths.through_retention[1:],
            through_spend=nothing if paths is None else paths.through_spend[1:],
            persistence=None if paths is None or self.persistence is None else self.persistence.fade_draws,
            score_range=_observed_range(self.panel, self.exposure),
            reason=self.reason,
            through_referrals=through_referrals,
            through_service=through_service,
            lacking=lacking,
        )

    def _beside_margin(self, paths: Paths | None, quarters: int) -> tuple[Floats | None, Floats | None, dict[str, str]]:
        """Referrals and cost to serve per point in currency, each None where it is not known, with the reasons."""
        lacking: dict[str, str] = {}
        referrals, service = None, None
        if paths is not None and paths.service_cost is not None:
            service = -paths.service_cost[1:]
        else:
            lacking["through_service"] = self.reason or self.lacking.get("service_cost", "")
        if paths is not None and paths.referrals is not None:
            worth = self.value_of_referral(quarters)
            if isinstance(worth, str):
                lacking["through_referrals"] = worth
            else:
                referrals = paths.referrals[1:] * worth
        else:
            lacking["through_referrals"] = self.reason or self.lacking.get("referrals", "")
        return referrals, service, lacking

    def checks(self) -> pd.DataFrame:
        """Checks of the equations underneath, and whether a fading gain can be valued."""
        parts = [
            checks.assign(name=part.outcome + ": " + checks["name"])
            for part in (self.retention, self.orders, self.margin)
            if part is not None
            for checks in (part.checks(),)
        ]
        fades = self.persistence is not None
        advice = (
            "share of a gain left after one quarter"
            if fades
            else "needs answers of the same customers in four quarters or more"
        )
        number = self.persistence.fade if self.persistence is not None else np.nan
        rows = [("persistence", "pass" if fades else "warn", number, advice)]
        if self.age_is_time:
            rows.append(("age against calendar", "warn", np.nan, ONE_COHORT))
        own = pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])
        return pd.concat([*parts, own], ignore_index=True)

    def plot(self) -> Axes:
        """Lifetime value by score band with its range; see ``cxroi.plots.value_by_band``."""
        from cxroi import plots  # a drawing room stands above this one; imported only when a picture is asked for

        axes: Axes = plots.value_by_band(self.tidy())
        return axes


def lifetime_value(
    panel: Panel,
    *,
    exposure: str = "nps",
    horizon_quarters: int,
    annual_discount_rate: float,
    seed: int,
    draws: int = 500,
) -> CustomerValue:
    """Lifetime value per customer, per score band and per point of the score.

    Parameters
    ----------
    panel : Panel
        Quarterly.
    exposure : str
        ``nps``, ``csat`` or ``ces``; empty for what history and controls alone say.
    horizon_quarters : int
        1 to 80.
    annual_discount_rate : float
        0.12 is 12 % a year.
    seed : int
        Of the draws: coefficients from their joint clustered covariance, the fade of a gain from its own.
    draws : int

    Returns
    -------
    CustomerValue
        With a ``reason`` instead of figures where the data cannot carry them.

    Raises
    ------
    InputError
        If the panel is not quarterly or a number is out of range.

    Notes
    -----
    Source: value as expected discounted margin over a stated horizon, Gupta, Lehmann & Stuart (2004), Journal of
    Marketing Research 41:7; the counterfactual follows the hazard and the spend equation jointly.
    """
    if panel.period != "quarter":
        raise InputError("lifetime value must have a quarterly panel; build it with period='quarter'")
    if not 1 <= horizon_quarters <= MOST_QUARTERS:
        raise InputError(f"horizon_quarters must lie in 1..{MOST_QUARTERS}; got {horizon_quarters}")
    if not 0 <= annual_discount_rate < 1:
        raise InputError(f"annual_discount_rate must lie in 0..1 (0.12 is 12 % a year); got {annual_discount_rate}")
    if exposure and exposure not in panel.metrics:
        raise InputError(f"the data must have answers to {exposure}; it has {', '.join(panel.metrics) or 'none'}")
    generator = np.random.default_rng(seed)
    found = standard_linkages(panel, exposure)
    return value_from_linkages(
        panel, found, exposure, (horizon_quarters, annual_discount_rate), generator=generator, seed=seed, draws=draws
    )


def value_from_linkages(
    panel: Panel,
    found: dict[tuple[str, str], Linkage | str],
    exposure: str,
    terms: tuple[int, float],
    *,
    generator: np.random.Generator,
    seed: int,
    draws: int,
) -> CustomerValue:
    """The same from equations that are fitted already; ``terms`` are horizon in quarters and annual discount rate."""
    method = headline_method(found)
    retention, orders, margin = (found[outcome, method] for outcome in ("retained", "orders", "margin"))
    reason = ""
    if panel.outcome_days is not None and not abs(panel.outcome_days - DAYS_OF_A_QUARTER) <= DAYS_OF_GRACE:
        reason = f"lifetime value is computed from quarterly outcomes; these periods have {panel.outcome_days} days"
    elif panel.active.empty:
        reason = "nobody is active at the end of the last period, so there is nobody whose value could be told"
    elif isinstance(retention, str):
        reason = f"retention: {retention}"
    elif retention.separated:
        reason = f"retention is predicted perfectly by {', '.join(retention.separated)}; no finite figure to build on"
    elif isinstance(margin, str):
        reason = f"margin: {margin}"
    persistence = None
    if exposure and not reason:
        scores = calibrated(panel, exposure)
        if isinstance(scores, str):
            persistence = estimate_persistence(panel, exposure, generator=generator, draws=draws)
        else:
            persistence = persistence_of(scores.satisfaction, generator=generator, draws=draws)
    beside = {outcome: found.get((outcome, method), "") for outcome in ("referrals", "service_cost")}
    usable = not reason
    if usable and not exposure:
        reason = "the data have no answers, so nothing links a score to value"
    return CustomerValue(
        panel=panel,
        exposure=exposure,
        horizon_quarters=terms[0],
        annual_discount_rate=terms[1],
        seed=seed,
        draws=draws,
        retention=retention if usable and isinstance(retention, Linkage) else None,
        orders=orders if usable and isinstance(orders, Linkage) else None,
        margin=margin if usable and isinstance(margin, Linkage) else None,
        persistence=persistence,
        reason=reason,
        **{name: one for name, one in beside.items() if usable and isinstance(one, Linkage)},
        lacking={name: one for name, one in beside.items() if isinstance(one, str)},
    )


def _discount(quarters: int, annual_discount_rate: float) -> Floats:
    return (1.0 + annual_discount_rate) ** (-np.arange(1, quarters + 1) / QUARTERS_OF_A_YEAR)


def _observed_range(panel: Panel, exposure: str) -> tuple[float, float]:
    if not exposure or not len(panel.rows):
        return (0.0, 1.0)
    low, high = float(panel.rows[exposure].min()), float(panel.rows[exposure].max())
    return (low, high) if low < high else panel.score_ranges[exposure]
