"""Lifetime value that follows the fitted linkage: survival × margin given retained, path by path, as draws.

For every customer active at the end of the last quarter the fitted hazard and the fitted spend are run forward: tenure grows, the expected
score drifts back as repeated answers say it does, controls stay. One point more is a counterfactual run of the same customers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.linkage import Linkage, standard_linkages
from cxroi.linkage.fit import joint_covariance
from cxroi.panel import Panel
from cxroi.value.persistence import Persistence, estimate_persistence
from cxroi.value.response import MarginResponse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
REPRESENTATIVES = 400
FEWEST_OF_A_BAND = 50
LEVEL_ROWS = 1000
MOST_QUARTERS = 80
QUARTERS_OF_A_YEAR = 4
SECANT_POINTS = 0.5  # a case's gains are of this order; the response is exact for a constant gain of this size


@dataclass(frozen=True)
class _Paths:
    """Draws of quarterly margin per customer: ``margin`` (draws, quarters, bands) and its parts for one point."""

    baseline: Floats
    higher: Floats
    fading: Floats | None
    survival: Floats
    orders: Floats
    through_retention: Floats
    through_spend: Floats
    by_band: Floats


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

    @cached_property
    def _paths(self) -> _Paths:
        return _run_forward(self, self.horizon_quarters)

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

    def response(self, horizon_quarters: int) -> MarginResponse:
        """What a case needs: margin by quarter and its change per point through retention and through spend."""
        nothing = np.zeros((0, horizon_quarters))
        panel = self.panel
        low, high = _observed_range(panel, self.exposure)
        without = MarginResponse(
            exposure=self.exposure,
            customers=self.customers,
            currency=panel.currency,
            evidence=self.evidence,
            baseline=nothing,
            through_retention=nothing,
            through_spend=nothing,
            persistence=None,
            score_range=(low, high),
            reason=self.reason,
        )
        if self.reason or self.margin is None:
            return without
        paths = self._paths if horizon_quarters == self.horizon_quarters else _run_forward(self, horizon_quarters)
        return replace(
            without,
            baseline=paths.baseline[1:],
            through_retention=paths.through_retention[1:],
            through_spend=paths.through_spend[1:],
            persistence=None if self.persistence is None else self.persistence.fade_draws,
        )

    def checks(self) -> pd.DataFrame:
        """Checks of the equations underneath, and whether a fading gain can be valued."""
        parts = [
            part.checks().assign(name=lambda table, part=part: part.outcome + ": " + table["name"])
            for part in self._equations()
        ]
        fades = self.persistence is not None
        advice = (
            "share of a gain left after one quarter"
            if fades
            else "needs answers of the same customers in four quarters or more"
        )
        number = self.persistence.fade if self.persistence is not None else np.nan
        own = pd.DataFrame(
            [("persistence", "pass" if fades else "warn", number, advice)],
            columns=["name", "verdict", "number", "advice"],
        )
        return pd.concat([*parts, own], ignore_index=True)

    def _equations(self) -> list[Linkage]:
        return [part for part in (self.retention, self.orders, self.margin) if part is not None]

    def plot(self) -> Axes:
        """Lifetime value by score band with its range; see ``cxroi.plots.value_by_band``."""
        from cxroi import plots  # a drawing room stands above this one; imported only when a picture is asked for

        return plots.value_by_band(self.tidy())


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
    Source: value as expected discounted margin over a stated horizon, Gupta, Lehmann & Stuart (2004), Journal of Marketing Research 41:7;
    the counterfactual follows the hazard and the spend equation jointly.
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
    found = standard_linkages(panel, exposure, methods=("adjusted",))
    if all(isinstance(linkage, str) for linkage in found.values()):
        found = {
            (outcome, "adjusted"): linkage
            for (outcome, _), linkage in standard_linkages(panel, exposure, methods=("raw",)).items()
        }
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
    retention, orders, margin = (found[outcome, "adjusted"] for outcome in ("retained", "orders", "margin"))
    reason = ""
    if isinstance(retention, str):
        reason = f"retention: {retention}"
    elif retention.separated:
        reason = f"retention is predicted perfectly by {', '.join(retention.separated)}; no finite effect to build on"
    elif isinstance(margin, str):
        reason = f"margin: {margin}"
    persistence = None
    if exposure and not reason:
        persistence = estimate_persistence(panel, exposure, generator=generator, draws=draws)
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
    )


def score_bands(panel: Panel, exposure: str) -> pd.Series:
    """Band of each active customer's last answer, shape (active,): low, middle, high as the metric defines them, or ``no answer``."""
    if not exposure:
        return pd.Series(
            pd.Categorical(["no answer"] * len(panel.active), categories=["no answer"]), index=panel.active.index
        )
    names = {
        "nps": ("detractor", "passive", "promoter"),
        "csat": ("dissatisfied", "neutral", "satisfied"),
        "ces": ("hard", "neutral", "easy"),
    }
    _, top = panel.score_ranges[exposure]
    low_edge, high_edge = {
        "nps": (top - 3.5, top - 1.5),
        "csat": (top - 2.5, top - 1.5),
        "ces": (top - 3.5, top - 2.5),
    }[exposure]
    last = panel.active[f"last_{exposure}"]
    labels = np.select(
        [last.isna(), last <= low_edge, last <= high_edge],
        ["no answer", names[exposure][0], names[exposure][1]],
        names[exposure][2],
    )
    return pd.Series(pd.Categorical(labels, categories=[*names[exposure], "no answer"]), index=panel.active.index)


def _discount(quarters: int, annual_discount_rate: float) -> Floats:
    return (1.0 + annual_discount_rate) ** (-np.arange(1, quarters + 1) / QUARTERS_OF_A_YEAR)


def _observed_range(panel: Panel, exposure: str) -> tuple[float, float]:
    if not exposure or not len(panel.rows):
        return (0.0, 1.0)
    low, high = float(panel.rows[exposure].min()), float(panel.rows[exposure].max())
    return (low, high) if low < high else panel.score_ranges[exposure]


def _representatives(value: CustomerValue) -> pd.DataFrame:
    """About 400 active customers, spread evenly over the predicted hazard within score bands, with their share as ``share``."""
    active = value.panel.active.assign(band=score_bands(value.panel, value.exposure).to_numpy())
    assert value.margin is not None
    score = active[f"last_{value.exposure}"] if value.exposure else pd.Series(0.0, index=active.index)
    parts: list[pd.DataFrame] = []
    for band in score_bands(value.panel, value.exposure).cat.categories:
        members = active[active["band"] == band]
        if members.empty:
            continue
        wanted = max(
            min(len(members), round(REPRESENTATIVES * len(members) / len(active))), min(len(members), FEWEST_OF_A_BAND)
        )
        keys = [column for column in ("log_orders_now", "log_orders_before", "log_tenure") if column in members]
        ordered = members.assign(score_key=score[members.index]).sort_values([*keys, "score_key"], kind="stable")
        chosen = ordered.iloc[((np.arange(wanted) + 0.5) * len(members) / wanted).astype(int)].drop(columns="score_key")
        parts.append(chosen.assign(share=len(members) / len(active) / wanted))
    return pd.concat(parts, ignore_index=True)


def _coefficient_draws(value: CustomerValue, generator: np.random.Generator) -> tuple[list[Linkage], list[Floats]]:
    """Equations in order and their coefficients, shape (draws + 1, k) each; the first row is the estimate."""
    equations = value._equations()
    covariance = joint_covariance([equation.fitted for equation in equations])
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = generator.standard_normal((value.draws, len(covariance))) @ root.T
    stacked = np.concatenate([equation.fitted.coefficients for equation in equations]) + np.vstack(
        [np.zeros(len(covariance)), noise]
    )
    edges = np.cumsum([0, *(len(equation.fitted.coefficients) for equation in equations)])
    return equations, [stacked[:, first:last] for first, last in zip(edges[:-1], edges[1:], strict=True)]


def _shifts(equations: list[Linkage], coefficients: list[Floats], generator: np.random.Generator) -> list[Floats]:
    """Level shift of each equation for each draw: the weighted mean over answered rows meets the base's level, itself drawn; (draws + 1,)."""
    found: list[Floats] = []
    keep: Floats | None = None
    retention_matrix_keep: tuple[NDArray[np.int64], Floats] | None = None
    for equation, draws in zip(equations, coefficients, strict=True):
        if equation.level is None:
            found.append(np.zeros(len(draws)))
            continue
        n = len(equation.design.matrix)
        picked = np.linspace(0, n - 1, min(n, LEVEL_ROWS)).astype(np.int64)
        if equation.outcome == "orders":
            picked = equation.used[
                np.linspace(0, len(equation.used) - 1, min(len(equation.used), LEVEL_ROWS)).astype(np.int64)
            ]
        weights = equation.calibration.weights[picked]
        predictor = draws @ equation.design.matrix[picked].T + equation.shift
        if equation.outcome == "margin" and retention_matrix_keep is not None:
            keep = retention_matrix_keep[1]
            weighting = keep * weights
        else:
            weighting = np.broadcast_to(weights, predictor.shape)
        target_of_first = float((weighting[0] * _mean(predictor[:1], equation)[0]).sum() / weights.sum())
        level_noise = np.r_[0.0, generator.standard_normal(len(draws) - 1) * np.sqrt(equation.level[1])]
        target = (
            target_of_first * np.maximum(1.0 + level_noise / equation.level[0], 0.05)
            if equation.level[0]
            else np.full(len(draws), target_of_first)
        )
        shift = np.zeros(len(draws))
        for _ in range(6):
            fitted = _mean(predictor + shift[:, None], equation)
            slope = (
                fitted * (1 - fitted)
                if equation.fitted.family == "logit"
                else fitted
                if equation.fitted.family == "poisson"
                else np.ones_like(fitted)
            )
            gap = (weighting * fitted).sum(axis=1) / weights.sum() - target
            shift = shift - gap / np.maximum((weighting * slope).sum(axis=1) / weights.sum(), 1e-12)
        found.append(shift + equation.shift)
        if equation.outcome == "retained":
            retention_matrix_keep = (picked, _mean(predictor + shift[:, None], equation))
    return found


def _mean(predictor: Floats, equation: Linkage) -> Floats:
    if equation.fitted.family == "logit":
        return np.asarray(special.expit(predictor))
    if equation.fitted.family == "poisson":
        return np.exp(np.minimum(predictor, 700.0))
    return predictor


def _run_forward(value: CustomerValue, quarters: int) -> _Paths:
    """Survival × spend over the horizon for the representatives, for every draw of the coefficients."""
    generator = np.random.default_rng([value.seed, 1])
    equations, coefficients = _coefficient_draws(value, generator)
    shifts = _shifts(equations, coefficients, generator)
    people = _representatives(value)
    share = people["share"].to_numpy()
    bands = list(value._bands)
    exposure = value.exposure
    recent = value.panel.rows["period"].drop_duplicates().sort_values().tail(QUARTERS_OF_A_YEAR).tolist()
    start = _expected_scores(value, people, 1)

    # columns at the expected score, averaged over the last year's period effects so that no season leads the forecast
    def columns(equation: Linkage, scores: Floats | None) -> Floats:
        rows = people if scores is None else people.assign(**{exposure: scores})
        return np.mean([equation.design.at(rows.assign(period=period)) for period in recent], axis=0)

    def predictors(scores: Floats | None) -> list[Floats]:
        return [
            draws @ columns(equation, scores).T + shift[:, None]
            for equation, draws, shift in zip(equations, coefficients, shifts, strict=True)
        ]

    linear = not exposure or all(equation.design.shift is not None for equation in equations)
    now = predictors(start if exposure else None)
    slope = [
        draws[:, equation.design.columns.index(exposure)]
        if linear and exposure and exposure in equation.design.columns
        else np.zeros(len(draws))
        for equation, draws in zip(equations, coefficients, strict=True)
    ]
    ageing = [
        draws[:, equation.design.columns.index("log_tenure")]
        if "log_tenure" in equation.design.columns
        else np.zeros(len(draws))
        for equation, draws in zip(equations, coefficients, strict=True)
    ]
    age = people["log_tenure"].to_numpy() if "log_tenure" in people else np.zeros(len(people))

    def at(quarter: int, gain: Floats | float, *, with_orders: bool = False) -> list[Floats]:
        if not exposure:
            scores_now, base = None, now
        else:
            scores_now = _expected_scores(value, people, quarter)
            base = now if linear else predictors(scores_now + gain)
        older = np.log(np.exp(age) + quarter - 1) - age
        moved = 0.0 if scores_now is None or not linear else (scores_now - start)[None, :] + gain
        return [
            _mean(predictor + slope_[:, None] * moved + ageing_[:, None] * older, equation)
            for predictor, slope_, ageing_, equation in zip(base, slope, ageing, equations, strict=True)
            if with_orders or equation.outcome != "orders"
        ]

    fade = None if value.persistence is None else np.r_[value.persistence.fade, value.persistence.fade_draws][:, None]
    size = (len(coefficients[0]), len(people))
    has_orders = value.orders is not None
    survive, survive_higher, survive_fading, log_keep = np.ones(size), np.ones(size), np.ones(size), np.zeros(size)
    results = {
        name: np.zeros((size[0], quarters))
        for name in ("baseline", "higher", "fading", "survival", "orders", "keep", "spend")
    }
    by_band = np.zeros((size[0], quarters, len(bands)))
    members = [(people["band"] == band).to_numpy() for band in bands]
    for quarter in range(1, quarters + 1):
        parts = at(quarter, 0.0, with_orders=True)
        keep, spend = parts[0], parts[-1]
        survive = survive * keep
        margin = survive * spend
        step = quarter - 1
        results["baseline"][:, step] = margin @ share
        results["survival"][:, step] = survive @ share
        results["orders"][:, step] = (survive * parts[1]) @ share if has_orders else np.nan
        for position, inside in enumerate(members):
            if inside.any():
                by_band[:, step, position] = margin[:, inside] @ share[inside] / share[inside].sum()
        if not exposure:
            continue
        parts = at(quarter, 1.0)
        survive_higher = survive_higher * parts[0]
        results["higher"][:, step] = (survive_higher * parts[-1]) @ share
        if fade is not None:
            parts = at(quarter, fade**step)
            survive_fading = survive_fading * parts[0]
            results["fading"][:, step] = (survive_fading * parts[-1]) @ share
        parts = at(quarter, SECANT_POINTS)
        log_keep = log_keep + (parts[0] / keep - 1) / SECANT_POINTS
        results["keep"][:, step] = (margin * log_keep / quarter) @ share
        results["spend"][:, step] = (survive * (parts[-1] - spend) / SECANT_POINTS) @ share
    return _Paths(
        baseline=results["baseline"],
        higher=results["higher"],
        fading=results["fading"] if fade is not None else None,
        survival=results["survival"],
        orders=results["orders"],
        through_retention=results["keep"],
        through_spend=results["spend"],
        by_band=by_band,
    )


def _expected_scores(value: CustomerValue, people: pd.DataFrame, quarter: int) -> Floats:
    """Expected score that acts on the outcomes of the quarter: the last answer, drawn back to the mean as repeated answers say."""
    if not value.exposure:
        return np.zeros(len(people))
    rows = value.panel.rows
    answers = rows.loc[rows[value.exposure].notna(), [value.exposure, "period"]]
    centre = float(answers[value.exposure].mean())
    last = people[f"last_{value.exposure}"].to_numpy(dtype=float)
    age = people[f"{value.exposure}_age"].to_numpy(dtype=float)
    later = np.nan_to_num(age) + quarter - 1  # the score of the last quarter acts on quarter 1
    left = value.persistence.correlation(later) if value.persistence is not None else np.ones(len(people))
    if value.persistence is not None:
        left = np.where(later == 0, 1.0, left)  # the equation itself was fitted on single answers
    return np.where(np.isnan(last), centre, centre + left * (np.nan_to_num(last) - centre))
