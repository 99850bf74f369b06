"""Run the fitted equations forward: survival × spend of representative customers, quarter by quarter, for every draw."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi import periods
from cxroi.linkage import Linkage
from cxroi.linkage.design import BEND, OBSERVED, tenure_begins_with_data
from cxroi.linkage.effects import level_shift
from cxroi.linkage.fit import Ints, joint_covariance, mean, mean_slope
from cxroi.linkage.model import PATH, base_level, weights_towards_base
from cxroi.linkage.persistence import Persistence
from cxroi.linkage.satisfaction import expects_satisfaction
from cxroi.panel import Panel
from cxroi.value.season import QUARTERS_OF_A_YEAR, season

Floats = NDArray[np.float64]
AGES = ("log_tenure", OBSERVED)
REPRESENTATIVES = 240
ACTIVE_ROWS = 20_000  # of the active base, enough to choose representatives from
FEWEST_OF_A_BAND = 40
LEVEL_ROWS = 500
SHAPES = (1.0, 6.0)
LARGEST_FRAILTY = 3.0
MONEY = frozenset({"baseline", "higher", "fading", "through_retention", "through_spend"})
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

    @property
    def every(self) -> list[Linkage]:
        """All equations that exist."""
        return [*self.fitted, *self.beside]


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
    survival: Floats
    orders: Floats
    through_retention: Floats
    through_spend: Floats
    by_band: Floats
    fading: Floats | None = None
    referrals: Floats | None = None
    service_cost: Floats | None = None


@dataclass(frozen=True)
class _Equation:
    """One equation at every draw (rows) and representative (columns): predictor now, and what moves it later."""

    linkage: Linkage
    predictor: Floats
    slope: Floats
    bend: Floats
    path: Floats
    ageing: list[Floats]

    def at(self, moved: Floats | float, older: list[Floats], passed: Floats | float = 0.0) -> Floats:
        """Mean outcome with the score moved by points, tenure and time seen longer, shape (draws + 1, representatives).

        ``passed`` are the points that a gain has added to the path of satisfaction in the quarters before.
        """
        by_score = (self.slope + self.bend * moved) * moved
        by_age = sum(slope * change for slope, change in zip(self.ageing, older, strict=True))
        return mean(self.predictor + by_score + by_age + self.path * passed, self.linkage.fitted.family)


def score_bands(panel: Panel, exposure: str) -> pd.Series:
    """Band of each active customer's last answer (low, middle, high as the metric defines them, or no answer), shape (active,)."""
    if not exposure:
        labels = np.full(len(panel.active), NO_ANSWER)
        return pd.Series(pd.Categorical(labels, categories=[NO_ANSWER]), index=panel.active.index)
    low, middle, high = BANDS[exposure]
    best = panel.score_ranges[exposure][1]
    below_middle, below_high = BELOW_TOP[exposure]
    last = panel.active[f"last_{exposure}"]
    codes = np.where(last <= best - below_middle, 0, np.where(last <= best - below_high, 1, 2))
    codes = np.where(last.isna(), 3, codes)
    bands = pd.Categorical.from_codes(codes, categories=pd.Index([low, middle, high, NO_ANSWER]))
    return pd.Series(bands, index=panel.active.index)


def run_forward(equations: Equations, quarters: int, *, seed: int, draws: int) -> Paths:
    """Survival × margin given retained over the quarters, for every draw of the coefficients.

    The hazard ages with tenure and with the time a customer was seen (those still there were the likelier to stay), and a gain adds
    to the path of satisfaction (whom it kept is the likelier to leave later), for as many quarters as the data reach back; spend does not,
    for older customers who spend more are those who stayed, not those who grew. The expected score drifts back to the mean as
    repeated answers say, controls stay; the effects of the last four periods are averaged so that no season leads the forecast.

    At the estimates everybody is run forward, at the draws representatives: what they miss of everybody at the estimates is added.
    Draws also hold that these customers spend and stay otherwise than others like them (:func:`_own_ways`).
    """
    generator = np.random.default_rng([seed, 1])
    everybody = _everybody(equations)
    columns = [_columns(equations, linkage, everybody) for linkage in equations.every]
    coefficients = _coefficient_draws(equations, draws, generator)
    shifts = _shifts(equations.every, coefficients, generator)
    ageing = _shapes_of_ageing(equations.panel, draws, np.random.default_rng([seed, 3]))
    fades = None
    if equations.persistence is not None:
        fades = np.r_[equations.persistence.fade, equations.persistence.fade_draws][:, None]

    def paths(people: pd.DataFrame, own: list[Floats], rows: slice) -> dict[str, Floats]:
        drawn = [(one[rows], shift[rows]) for one, shift in zip(coefficients, shifts, strict=True)]
        parts = _prepare(equations, people, own, drawn)
        shape, stretch = ageing
        fading = None if fades is None else fades[rows]
        return _follow(equations, people, parts, quarters, (shape[rows], stretch[rows], fading))

    exact = paths(everybody, columns, slice(1))
    margin = _first_margin(equations, columns)
    some, share = _representatives(everybody, margin)
    found = paths(everybody.iloc[some].assign(share=share), [one[some] for one in columns], slice(None))
    found = {name: values + (exact[name] - values[:1]) for name, values in found.items()}
    whole, bands = _own_ways(
        equations, everybody, margin, exact["survival"][0], draws, np.random.default_rng([seed, 4])
    )
    for name in MONEY.intersection(found):
        found[name] = found[name] * whole
    return Paths(**(found | {"by_band": found["by_band"] * bands}))


def _follow(
    equations: Equations,
    people: pd.DataFrame,
    parts: dict[str, _Equation],
    quarters: int,
    ageing: tuple[Floats, Floats, Floats | None],
) -> dict[str, Floats]:
    """The arrays of :class:`Paths` for some people (``share`` each stands for) at each draw; ``ageing`` is shape, stretch and fade."""
    share = people["share"].to_numpy()
    expected = [_expected_scores(equations, people, quarter) for quarter in range(1, quarters + 1)]
    tenure = np.exp(people["log_tenure"].to_numpy()) if "log_tenure" in people else np.ones(len(people))
    seen = people["periods_before"].to_numpy(dtype=float) if "periods_before" in people else np.zeros(len(people))
    shape, stretch, fades = ageing
    gains: dict[str, Floats | float] = {"baseline": 0.0}  # points in force in the first quarter
    if equations.exposure:
        gains |= {"secant": SECANT_POINTS, "higher": 1.0}
        gains |= {} if fades is None else {"fading": 1.0}
    bands = [
        (people["band"] == band).to_numpy() for band in score_bands(equations.panel, equations.exposure).cat.categories
    ]
    names = ["baseline", "higher", "survival", "orders", "through_retention", "through_spend"]
    names += ["fading"] if "fading" in gains else []
    names += [linkage.outcome for linkage in equations.beside] if "secant" in gains else []
    found = {name: np.zeros((len(shape), quarters)) for name in names}
    found["by_band"] = np.zeros((len(shape), quarters, len(bands)))
    survive = {name: np.ones((len(shape), len(people))) for name in gains}
    passed: dict[str, Floats | float] = dict.fromkeys(gains, 0.0)
    rows = equations.panel.rows
    longest = float(rows["periods_before"].max()) if "periods_before" in rows else 0.0
    for step in range(quarters):
        older = [np.log((tenure + step) / tenure), stretch * np.log((shape + seen + step) / (shape + seen))]
        drift = expected[step] - expected[0]
        spent: dict[str, Floats] = {}
        for name, gain in gains.items():
            own = gain if name != "fading" or fades is None else fades**step
            moved = drift + own
            if "retained" in parts:
                survive[name] = survive[name] * parts["retained"].at(moved, older, passed[name])
                if step < longest:  # beyond, nobody has seen what a longer path does
                    passed[name] = passed[name] + own
            spent[name] = parts["margin"].at(moved, older)
            if name in found:
                found[name][:, step] = (survive[name] * spent[name]) @ share
        base = survive["baseline"]
        margin = base * spent["baseline"]
        found["survival"][:, step] = base @ share
        found["orders"][:, step] = (base * parts["orders"].at(drift, older)) @ share if "orders" in parts else np.nan
        for position, inside in enumerate(bands):
            if inside.any():
                found["by_band"][:, step, position] = margin[:, inside] @ share[inside] / share[inside].sum()
        if not equations.exposure:
            continue
        more = survive["secant"]
        by_staying, by_spending = (more - base) * spent["baseline"], more * (spent["secant"] - spent["baseline"])
        found["through_retention"][:, step] = by_staying @ share / (SECANT_POINTS * (step + 1))
        found["through_spend"][:, step] = by_spending @ share / SECANT_POINTS
        for linkage in equations.beside:
            part = parts[linkage.outcome]
            change = more * part.at(drift + SECANT_POINTS, older) - base * part.at(drift, older)
            found[linkage.outcome][:, step] = change @ share / SECANT_POINTS
    return found


def _own_ways(
    equations: Equations,
    everybody: pd.DataFrame,
    margin: Floats,
    survival: Floats,
    draws: int,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Factors by which the customers of today, and of each band, do otherwise than the equations say of customers like them.

    Shapes (draws + 1, quarters) and (draws + 1, quarters, bands), the first draw 1. In a mean over many customers this nearly cancels,
    in a small band less. Staying power that nobody sees moves the share still there by its cumulated hazard, -log of ``survival``
    (quarters,).
    """
    names = score_bands(equations.panel, equations.exposure).cat.categories
    inside = np.array([everybody["band"].to_numpy() == name for name in names])
    total = inside @ margin
    number = float(equations.panel.active["weight"].sum()) / len(everybody)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(total > 0, np.sqrt(inside @ margin**2 / number) / total, 0.0)
    spending, staying = np.vstack(
        [np.zeros((1, 2, len(names))), generator.standard_normal((draws, 2, len(names)))]
    ).swapaxes(0, 1)
    lasting = 0.0 if equations.margin is None else _lasting_variance(equations.margin)
    frailty = 0.0 if equations.retention is None else _frailty(equations.retention)
    hazard = -np.log(np.clip(survival, 1e-9, 1.0))[:, None]
    own = spread * (np.sqrt(lasting) * spending[:, None, :] + np.sqrt(frailty) * hazard * staying[:, None, :])
    whole = own @ (total / total.sum()) if total.sum() > 0 else own[:, :, 0] * 0.0
    return 1.0 + whole, 1.0 + own


def _frailty(retention: Linkage) -> float:
    """Variance of unseen staying power (log-odds) that would let the hazard fall with time seen as the equation says, at least 0.

    In a period selection raises the mean log-odds of those left by variance × hazard, so the rise over the periods seen over the
    cumulated hazard is the variance. Source: Vaupel, Manton & Stallard (1979), Demography 16:439.
    """
    rows = retention.panel.answered(retention.exposure)
    if OBSERVED not in retention.design.columns or retention.level is None or "periods_before" not in rows:
        return 0.0
    longest = float(rows["periods_before"].max())
    rise = float(_coefficient(retention, retention.fitted.coefficients[None, :], OBSERVED)[0, 0]) * np.log1p(longest)
    cumulated = longest * (1.0 - retention.level[0])
    return float(np.clip(rise / cumulated, 0.0, LARGEST_FRAILTY)) if cumulated > 0 else 0.0


def _lasting_variance(linkage: Linkage) -> float:
    """Mean product of the relative distances from the equation of one customer in two periods, at least 0."""
    if linkage.fitted.family != "poisson":
        return 0.0
    rows = linkage.augment()
    distance = (rows["residual"] / rows["fitted"]).rename("distance")
    by_customer = pd.DataFrame({"distance": distance, "square": distance**2}).groupby(rows["customer"])
    sums, number = by_customer.sum(), by_customer.size()
    pairs = float((number * (number - 1)).sum())
    return max(float((sums["distance"] ** 2 - sums["square"]).sum()) / pairs, 0.0) if pairs else 0.0


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


def _everybody(equations: Equations) -> pd.DataFrame:
    """Active customers (above 20,000 a systematic sample) with their ``band`` and the ``share`` of all that each stands for."""
    active = equations.panel.active
    bands = score_bands(equations.panel, equations.exposure)
    if len(active) > ACTIVE_ROWS:
        some = np.linspace(0, len(active) - 1, ACTIVE_ROWS).astype(int)
        active, bands = active.iloc[some], bands.iloc[some]
    return active.assign(band=bands.to_numpy(), share=1.0 / len(active)).reset_index(drop=True)


def _first_margin(equations: Equations, columns: list[Floats]) -> Floats:
    """Margin of each customer in the first quarter, left = 0, at the estimates; shape (customers,)."""
    margin = np.ones(len(columns[0]))
    for linkage, own in zip(equations.every, columns, strict=True):
        if linkage.outcome in ("retained", "margin"):
            margin = margin * mean(own @ linkage.fitted.coefficients + linkage.shift, linkage.fitted.family)
    return margin


def _representatives(everybody: pd.DataFrame, margin: Floats) -> tuple[Ints, Floats]:
    """Positions of about 240 customers that stand for all, and the share that each stands for; shares sum to 1.

    Within each score band a systematic sample along the predicted margin of the first quarter, taken with probability
    proportional to that margin plus its mean: few large customers can carry a company's value and must not be missed.
    """
    size = np.maximum(margin, 0.0) + max(float(margin.mean()), 1e-9)
    band = everybody["band"].to_numpy()
    chosen: list[Ints] = []
    shares: list[Floats] = []
    for label in np.unique(band):
        members = np.flatnonzero(band == label)
        ordered = members[np.argsort(size[members], kind="stable")]
        wanted = min(len(ordered), max(round(REPRESENTATIVES * len(ordered) / len(band)), FEWEST_OF_A_BAND))
        along = np.cumsum(size[ordered]) / size[ordered].sum()
        picked = ordered[np.searchsorted(along, (np.arange(wanted) + 0.5) / wanted)]
        weight = 1.0 / size[picked]
        chosen.append(picked)
        shares.append(len(ordered) / len(band) * weight / weight.sum())
    return np.concatenate(chosen), np.concatenate(shares)


def _columns(equations: Equations, linkage: Linkage, people: pd.DataFrame) -> Floats:
    """Design of an equation for active customers at their expected scores of the first quarter, periods of a year averaged.

    Where tenure begins with the data nobody was ever as old as those who joined first are now: they are not taken to be older than
    they were in the last period that is known.
    """
    recent = _recent_periods(equations.panel)
    if equations.exposure:
        people = people.assign(**{equations.exposure: _expected_scores(equations, people, 1)})
    people = people.assign(period=recent[-1], **_without_season(equations.panel, people))
    if tenure_begins_with_data(equations.panel.rows):
        older = people["log_tenure"].mean() - _oldest_base(equations.panel)
        people = people.assign(log_tenure=people["log_tenure"] - older)
    matrix = linkage.design.at(people)
    for position, name in enumerate(linkage.design.columns):
        if name.startswith("period_label["):
            labels = [f"period_label[T.{periods.label(period, equations.panel.period)}]" for period in recent]
            matrix[:, position] = labels.count(name) / len(recent)
    return matrix


def _prepare(
    equations: Equations, people: pd.DataFrame, columns: list[Floats], drawn: list[tuple[Floats, Floats]]
) -> dict[str, _Equation]:
    """Each equation at every draw (coefficients and shift) and customer, by outcome."""
    found: dict[str, _Equation] = {}
    for linkage, own, (coefficients, shift) in zip(equations.every, columns, drawn, strict=True):
        ages = AGES if linkage.outcome == "retained" else ("",) * len(AGES)
        ageing = [_coefficient(linkage, coefficients, name) for name in ages]
        slope, bend = (_coefficient(linkage, coefficients, name) for name in (equations.exposure, BEND))
        if BEND in linkage.design.columns:
            assert linkage.design.preparation.bends is not None
            from_centre = _expected_scores(equations, people, 1) - linkage.design.preparation.bends[1]
            slope = slope + 2.0 * bend * from_centre
        found[linkage.outcome] = _Equation(
            linkage=linkage,
            predictor=coefficients @ own.T + shift[:, None],
            slope=slope,
            bend=bend,
            path=_coefficient(linkage, coefficients, PATH),
            ageing=ageing,
        )
    return found


def _coefficient(linkage: Linkage, coefficients: Floats, name: str) -> Floats:
    """Coefficient of a column at each draw, 0 where the equation has none of that name; shape (draws, 1)."""
    names = linkage.design.columns
    return coefficients[:, [names.index(name)]] if name in names else np.zeros((len(coefficients), 1))


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
    """Orders and margin of the last period less the season of its orders, for the years ahead have none."""
    if "orders_now" not in people:
        return {}
    usual = float(np.exp(season(panel).orders[panel.last_period % QUARTERS_OF_A_YEAR]))
    return {name: people[name] / usual for name in ("orders_now", "margin_now")}


def _oldest_base(panel: Panel) -> float:
    """Mean ``log_tenure`` of the base in the last period whose outcomes are known."""
    own = panel.base[panel.base["column"] == "log_tenure"].sort_values("period")
    return float(own["mean"].iloc[-1])


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
        first = equations.panel.rows.iloc[0]
        centre = float(first[exposure] - first["satisfaction"])
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
