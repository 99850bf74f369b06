"""Run the fitted equations forward: survival × spend of representative customers, quarter by quarter, for every draw."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi.linkage import Linkage
from cxroi.linkage.design import BEND, OBSERVED
from cxroi.linkage.effects import level_shift
from cxroi.linkage.fit import joint_covariance, mean, mean_slope
from cxroi.linkage.model import base_level, weights_towards_base
from cxroi.linkage.persistence import Persistence
from cxroi.linkage.satisfaction import expects_satisfaction
from cxroi.panel import Panel

Floats = NDArray[np.float64]
AGES = ("log_tenure", OBSERVED)
REPRESENTATIVES = 240
ACTIVE_ROWS = 20_000  # of the active base, enough to choose representatives from
FEWEST_OF_A_BAND = 40
LEVEL_ROWS = 500
SHAPES = (1.0, 6.0)
QUARTERS_OF_A_YEAR = 4
NEWTON_STEPS = 6
SECANT_POINTS = 0.5  # a case's gains are of this order; the response is exact for a constant gain of this size
BANDS = {
    "nps": ("detractor", "passive", "promoter"),
    "csat": ("dissatisfied", "neutral", "satisfied"),
    "ces": ("hard", "neutral", "easy"),
}
BELOW_TOP = {
    "nps": (3.5, 1.5),
    "csat": (2.5, 1.5),
    "ces": (3.5, 2.5),
}  # edges of the bands, points below the best answer
NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Equations:
    """What a run needs: retention, orders and margin given retained of one score, and how a score lasts."""

    panel: Panel
    exposure: str
    retention: Linkage | None
    orders: Linkage | None
    margin: Linkage | None
    persistence: Persistence | None
    referrals: Linkage | None = None
    service_cost: Linkage | None = None

    @property
    def fitted(self) -> list[Linkage]:
        """The equations that value rests on and that exist, in the order retention, orders, margin."""
        return [part for part in (self.retention, self.orders, self.margin) if part is not None]

    @property
    def beside(self) -> list[Linkage]:
        """The equations of what stands beside margin."""
        return [part for part in (self.referrals, self.service_cost) if part is not None]


@dataclass(frozen=True)
class Paths:
    """Margin per customer by quarter, shape (draws + 1, quarters); the first row is at the point estimates.

    ``higher``: one point more throughout; ``fading``: one point that fades as estimated; ``through_retention`` and
    ``through_spend``: change per point as ``MarginResponse`` defines them; ``by_band`` (draws + 1, quarters, bands): the baseline of each
    score band's customers. ``referrals`` (customers brought) and ``service_cost`` (currency): change per customer and point, those who
    stay longer counted; None where there is no equation.
    """

    baseline: Floats
    higher: Floats
    fading: Floats | None
    survival: Floats
    orders: Floats
    through_retention: Floats
    through_spend: Floats
    by_band: Floats
    referrals: Floats | None = None
    service_cost: Floats | None = None


@dataclass(frozen=True)
class _Equation:
    """One equation at every draw (rows) and representative (columns): predictor now, and what moves it later."""

    linkage: Linkage
    predictor: Floats
    slope: Floats
    bend: Floats
    ageing: list[Floats]

    def at(self, moved: Floats | float, older: list[Floats]) -> Floats:
        """Mean outcome with the score moved by points, tenure and time seen longer, shape (draws + 1, representatives)."""
        by_score = (self.slope + self.bend * moved) * moved
        by_age = sum(slope * change for slope, change in zip(self.ageing, older, strict=True))
        return mean(self.predictor + by_score + by_age, self.linkage.fitted.family)


def score_bands(panel: Panel, exposure: str) -> pd.Series:
    """Band of each active customer's last answer (low, middle, high as the metric defines them, or no answer), shape (active,)."""
    if not exposure:
        labels = np.full(len(panel.active), NO_ANSWER)
        return pd.Series(pd.Categorical(labels, categories=[NO_ANSWER]), index=panel.active.index)
    low, middle, high = BANDS[exposure]
    best = panel.score_ranges[exposure][1]
    below_middle, below_high = BELOW_TOP[exposure]
    last = panel.active[f"last_{exposure}"]
    known = np.where(last <= best - below_middle, low, np.where(last <= best - below_high, middle, high))
    labels = np.where(last.isna(), NO_ANSWER, known)
    return pd.Series(pd.Categorical(labels, categories=[low, middle, high, NO_ANSWER]), index=panel.active.index)


def run_forward(equations: Equations, quarters: int, *, seed: int, draws: int) -> Paths:
    """Survival × margin given retained over the quarters, for every draw of the coefficients.

    The hazard ages with tenure and with the time a customer was seen (those still there were the likelier to stay); spend does not,
    for older customers who spend more are those who stayed, not those who grew. The expected score drifts back to the mean as
    repeated answers say, controls stay; the effects of the last four periods are averaged so that no season leads the forecast.
    """
    generator = np.random.default_rng([seed, 1])
    people = _representatives(equations)
    share = people["share"].to_numpy()
    expected = [_expected_scores(equations, people, quarter) for quarter in range(1, quarters + 1)]
    parts = _prepare(equations, people, draws, generator)
    tenure = np.exp(people["log_tenure"].to_numpy()) if "log_tenure" in people else np.ones(len(people))
    seen = people["periods_before"].to_numpy(dtype=float) if "periods_before" in people else np.zeros(len(people))
    shape, stretch = _shapes_of_ageing(equations.panel, draws, np.random.default_rng([seed, 3]))
    fades = (
        None
        if equations.persistence is None
        else np.r_[equations.persistence.fade, equations.persistence.fade_draws][:, None]
    )
    gains: dict[str, Floats | float] = {"baseline": 0.0}  # points in force in the first quarter
    if equations.exposure:
        gains |= {"secant": SECANT_POINTS, "higher": 1.0}
        gains |= {} if fades is None else {"fading": 1.0}

    size = (draws + 1, len(people))
    bands = [
        (people["band"] == band).to_numpy() for band in score_bands(equations.panel, equations.exposure).cat.categories
    ]
    found = {name: np.zeros((draws + 1, quarters)) for name in (*gains, "survival", "orders", "keep", "spend")}
    by_band = np.zeros((draws + 1, quarters, len(bands)))
    beside = {linkage.outcome: np.zeros((draws + 1, quarters)) for linkage in equations.beside if "secant" in gains}
    survive = {name: np.ones(size) for name in gains}
    for step in range(quarters):
        older = [np.log((tenure + step) / tenure), stretch * np.log((shape + seen + step) / (shape + seen))]
        drift = expected[step] - expected[0]
        spent: dict[str, Floats] = {}
        for name, gain in gains.items():
            moved = drift + (gain if name != "fading" or fades is None else fades**step)
            if "retained" in parts:
                survive[name] = survive[name] * parts["retained"].at(moved, older)
            spent[name] = parts["margin"].at(moved, older)
            found[name][:, step] = (survive[name] * spent[name]) @ share
        base = survive["baseline"]
        margin = base * spent["baseline"]
        found["survival"][:, step] = base @ share
        found["orders"][:, step] = (base * parts["orders"].at(drift, older)) @ share if "orders" in parts else np.nan
        for position, inside in enumerate(bands):
            if inside.any():
                by_band[:, step, position] = margin[:, inside] @ share[inside] / share[inside].sum()
        if equations.exposure:
            stayed = survive["secant"] - base
            found["keep"][:, step] = (stayed * spent["baseline"]) @ share / (SECANT_POINTS * (step + 1))
            found["spend"][:, step] = (
                (survive["secant"] * (spent["secant"] - spent["baseline"])) @ share / SECANT_POINTS
            )
        for outcome, change in beside.items():
            more, now = (parts[outcome].at(drift + gain, older) for gain in (SECANT_POINTS, 0.0))
            change[:, step] = (survive["secant"] * more - base * now) @ share / SECANT_POINTS
    nothing = np.zeros((draws + 1, quarters))
    return Paths(
        baseline=found["baseline"],
        higher=found.get("higher", nothing),
        fading=found.get("fading"),
        survival=found["survival"],
        orders=found["orders"],
        through_retention=found["keep"],
        through_spend=found["spend"],
        by_band=by_band,
        **beside,
    )


def _shapes_of_ageing(panel: Panel, draws: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """How the hazard goes on falling with the time a customer was seen, n periods: as the log of c + n, shape (draws + 1, 1).

    Returns c and the factor from the coefficient of log(1 + n), that of the equation, to that of log(c + n). The likelihood hardly
    tells one c from another while the years beyond the data hang on it, so c is drawn between ``SHAPES``; the estimate takes the
    (geometric) middle.
    """
    low, high = np.log(SHAPES)
    shape = np.exp(np.r_[(low + high) / 2, generator.uniform(low, high, draws)])[:, None]
    if "periods_before" not in panel.rows:
        return shape, np.ones((draws + 1, 1))
    seen, count = np.unique(panel.rows["periods_before"].to_numpy(dtype=float), return_counts=True)
    own, other = np.log1p(seen), np.log(shape + seen)
    own, other = (values - np.average(values, weights=count, axis=-1)[..., None] for values in (own, other))
    spread = (other**2 @ count)[:, None]
    return shape, np.where(spread > 0, (other * own) @ count[:, None] / np.maximum(spread, 1e-12), 1.0)


def _representatives(equations: Equations) -> pd.DataFrame:
    """About 240 active customers that stand for all; ``share`` sums to 1.

    Within each score band a systematic sample along the predicted margin of the first quarter, taken with probability
    proportional to that margin plus its mean: few large customers can carry a company's value and must not be missed.
    """
    active = equations.panel.active
    active = active.assign(band=score_bands(equations.panel, equations.exposure).to_numpy())
    if len(active) > ACTIVE_ROWS:
        active = active.iloc[np.linspace(0, len(active) - 1, ACTIVE_ROWS).astype(int)]
    margin = np.ones(len(active))
    for linkage in (equations.retention, equations.margin):
        if linkage is not None:
            columns = _columns(equations, linkage, active)
            margin = margin * mean(columns @ linkage.fitted.coefficients + linkage.shift, linkage.fitted.family)
    active = active.assign(size=np.maximum(margin, 0.0) + max(float(margin.mean()), 1e-9))
    chosen: list[pd.DataFrame] = []
    for _, members in active.groupby("band", sort=True):
        ordered = members.sort_values("size", kind="stable")
        wanted = min(len(ordered), max(round(REPRESENTATIVES * len(ordered) / len(active)), FEWEST_OF_A_BAND))
        along = np.cumsum(ordered["size"].to_numpy()) / ordered["size"].sum()
        picked = ordered.iloc[np.searchsorted(along, (np.arange(wanted) + 0.5) / wanted)]
        weight = 1.0 / picked["size"].to_numpy()
        chosen.append(picked.assign(share=len(ordered) / len(active) * weight / weight.sum()))
    return pd.concat(chosen, ignore_index=True).drop(columns="size")


def _columns(equations: Equations, linkage: Linkage, people: pd.DataFrame) -> Floats:
    """Design of an equation for active customers at their expected scores of the first quarter, periods of a year averaged."""
    recent = _recent_periods(equations.panel)
    if equations.exposure:
        people = people.assign(**{equations.exposure: _expected_scores(equations, people, 1)})
    people = people.assign(**_without_season(equations.panel, people))
    return np.asarray(sum(linkage.design.at(people.assign(period=period)) for period in recent) / len(recent))


def _prepare(
    equations: Equations, people: pd.DataFrame, draws: int, generator: np.random.Generator
) -> dict[str, _Equation]:
    """Each equation at every draw and representative, by outcome."""
    coefficients = _coefficient_draws(equations, draws, generator)
    every = [*equations.fitted, *equations.beside]
    shifts = _shifts(every, coefficients, generator)
    found: dict[str, _Equation] = {}
    for linkage, drawn, shift in zip(every, coefficients, shifts, strict=True):
        names = linkage.design.columns
        zero = np.zeros((len(drawn), 1))
        ageing = [
            drawn[:, [names.index(name)]] if linkage.outcome == "retained" and name in names else zero for name in AGES
        ]
        slope = drawn[:, [names.index(equations.exposure)]] if equations.exposure in names else zero
        bend = drawn[:, [names.index(BEND)]] if BEND in names else zero
        if BEND in names:
            assert linkage.design.preparation.bends is not None
            from_centre = _expected_scores(equations, people, 1) - linkage.design.preparation.bends[1]
            slope = slope + 2.0 * bend * from_centre
        found[linkage.outcome] = _Equation(
            linkage=linkage,
            predictor=drawn @ _columns(equations, linkage, people).T + shift[:, None],
            slope=slope,
            bend=bend,
            ageing=ageing,
        )
    return found


def _coefficient_draws(equations: Equations, draws: int, generator: np.random.Generator) -> list[Floats]:
    """Coefficients of each equation, shape (draws + 1, k), from their joint clustered covariance; the first row is the estimate.

    Those of the equations beside margin are drawn given the others, so that the others' draws do not depend on them.
    """
    leading, beside = equations.fitted, equations.beside
    covariance = joint_covariance([linkage.fitted for linkage in [*leading, *beside]])
    edges = np.cumsum([0, *(len(linkage.fitted.coefficients) for linkage in [*leading, *beside])])
    first = int(edges[len(leading)])
    noise = _normal(covariance[:first, :first], draws, generator)
    if beside:
        across = np.linalg.pinv(covariance[:first, :first], rcond=1e-10, hermitian=True) @ covariance[:first, first:]
        left = covariance[first:, first:] - covariance[first:, :first] @ across
        own = _normal(left, draws, generator.spawn(1)[0])
        noise = np.hstack([noise, noise @ across + own])
    estimates = np.concatenate([linkage.fitted.coefficients for linkage in [*leading, *beside]])
    stacked = estimates + np.vstack([np.zeros(len(covariance)), noise])
    return [stacked[:, start:stop] for start, stop in itertools.pairwise(edges)]


def _normal(covariance: Floats, draws: int, generator: np.random.Generator) -> Floats:
    """Normal draws of mean 0, shape (draws, k)."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(generator.standard_normal((draws, len(covariance))) @ root.T)


def _shifts(fitted: list[Linkage], coefficients: list[Floats], generator: np.random.Generator) -> list[Floats]:
    """Level shift of each equation and draw, shape (draws + 1,): the weighted mean meets the base's own level, itself drawn.

    Level and mean are those of the last year's periods: what everybody did lately is known, whoever answered. The shift at the
    estimates is found on all their rows, its change from draw to draw on a sample of them.
    """
    found: list[Floats] = []
    stays: Floats | None = None  # of every row, at the estimates
    keep: Floats | None = None  # of the sampled rows, at each draw
    for linkage, drawn in zip(fitted, coefficients, strict=True):
        rows = linkage.panel.answered(linkage.exposure)
        recent = np.isin(rows["period"].to_numpy(), _recent_periods(linkage.panel))
        known = None if linkage.level is None else base_level(linkage.panel, linkage.outcome, rows[recent])
        if known is None or known[0] == 0:
            found.append(np.full(len(drawn), linkage.shift))
            continue
        level, variance = known
        is_amount = linkage.outcome not in ("retained", "orders")
        places = np.flatnonzero(recent) if linkage.outcome != "orders" else linkage.used[recent[linkage.used]]
        weigh = functools.partial(weights_towards_base, linkage.panel, rows[recent])
        weight = np.zeros(len(rows))
        weight[recent] = linkage.panel.once(f"weights {linkage.exposure} of the last year", weigh).weights
        weights = weight[places]
        at_rows = linkage.slopes.at(places)
        if is_amount and stays is not None:
            own = weights * stays[places]
            start = level_shift(at_rows, own, level * float(weights.sum() / own.sum()))
        else:
            start = level_shift(at_rows, weights, level)
        if linkage.outcome == "retained":
            stays = mean(linkage.slopes.predictors(start)[0], "logit")
        some = places[np.linspace(0, len(places) - 1, min(len(places), LEVEL_ROWS)).astype(np.int64)]
        weights = np.broadcast_to(weight[some], (len(drawn), len(some)))
        total = weights[0].sum()
        if is_amount and keep is not None:
            weights = weights * keep
        predictor = drawn @ linkage.design.matrix[some].T
        at_estimate = float(weights[0] @ mean(predictor[0] + start, linkage.fitted.family)) / total
        noise = np.r_[0.0, generator.standard_normal(len(drawn) - 1)] * np.sqrt(variance) / level
        target = at_estimate * np.maximum(1.0 + noise, 0.05)
        shift = np.full(len(drawn), start)
        for _ in range(NEWTON_STEPS):
            outcome = mean(predictor + shift[:, None], linkage.fitted.family)
            slope = (weights * mean_slope(outcome, linkage.fitted.family)).sum(axis=1) / total
            shift = shift - ((weights * outcome).sum(axis=1) / total - target) / np.maximum(slope, 1e-12)
        if linkage.outcome == "retained":
            keep = mean(predictor + shift[:, None], "logit")
        found.append(shift)
    return found


def _without_season(panel: Panel, people: pd.DataFrame) -> dict[str, pd.Series]:
    """Orders and margin of the last period less its season, for the forecast has none; empty where the season is not known.

    Season: orders of a kept customer in the same periods of earlier years over their centred mean of a year, so that a trend is none.
    """
    base = panel.base[panel.base["level"] == ""].pivot_table(index="period", columns="column", values="mean")
    if "orders_now" not in people or "orders" not in base or panel.period != "quarter":
        return {}
    each = base["orders"] / base.get("retained", 1.0)
    rate = each.map(np.log).reindex(range(base.index.min(), panel.last_period))
    a_year = rate.rolling(QUARTERS_OF_A_YEAR).mean()
    centred = rate - (a_year.shift(-1) + a_year.shift(-2)) / 2
    earlier = centred[centred.index % QUARTERS_OF_A_YEAR == (panel.last_period - 1) % QUARTERS_OF_A_YEAR].dropna()
    season = float(np.exp(earlier.mean())) if len(earlier) and np.isfinite(earlier).all() else 1.0
    return {name: people[name] / season for name in ("orders_now", "margin_now")}


def _recent_periods(panel: Panel) -> list[int]:
    """The last year's periods of the panel's rows, without the first of all: nobody has a history in it."""
    known = sorted(int(period) for period in panel.rows["period"].unique())
    return (known[1:] if len(known) > 2 else known)[-QUARTERS_OF_A_YEAR:]


def _expected_scores(equations: Equations, people: pd.DataFrame, quarter: int) -> Floats:
    """Expected score behind the outcomes of the quarter: the last answer, drawn back to the mean as repeated answers say."""
    exposure, persistence = equations.exposure, equations.persistence
    if not exposure:
        return np.zeros(len(people))
    if expects_satisfaction(people.columns):
        rows = equations.panel.rows.iloc[0]
        centre = float(rows[exposure] - rows["satisfaction"])
        level, now = people["satisfaction_level"].to_numpy(), people["satisfaction"].to_numpy()
        fade = 1.0 if persistence is None else persistence.fade
        return np.asarray(centre + level + fade ** (quarter - 1) * (now - level))
    centre = float(equations.panel.rows[exposure].mean())
    last = people[f"last_{exposure}"].to_numpy(dtype=float)
    later = np.nan_to_num(people[f"{exposure}_age"].to_numpy(dtype=float)) + quarter - 1
    left = np.ones(len(people))
    if (
        persistence is not None
    ):  # the equations were fitted on single answers, so an answer of the last quarter counts in full
        left = np.where(later == 0, 1.0, persistence.correlation(later))
    return np.where(np.isnan(last), centre, centre + left * (np.nan_to_num(last) - centre))
