"""Purchase models without a contract: BG/NBD, MBG/NBD and Pareto/NBD by maximum likelihood on compressed histories.

While a customer is alive, purchases come at a steady rate that is gamma distributed over customers (shape r, rate α). A customer is lost
after a purchase with a probability that is beta distributed (a, b; BG/NBD, and MBG/NBD where the first purchase can be the last), or at any
moment at a rate that is gamma distributed (s, β; Pareto/NBD). Nobody sees the loss: it is inferred from silence.

Parameters are estimated as logarithms with analytic gradients. Time is in the histories' unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from cxroi.errors import InputError
from cxroi.value.histories import PurchaseHistories, purchase_histories_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Model = Literal["bg_nbd", "mbg_nbd", "pareto_nbd"]
Objective = Callable[[Floats], tuple[float, Floats]]

NAMES: dict[Model, tuple[str, str, str, str]] = {
    "bg_nbd": ("r", "alpha", "a", "b"),
    "mbg_nbd": ("r", "alpha", "a", "b"),
    "pareto_nbd": ("r", "alpha", "s", "beta"),
}
NORMAL_975 = float(special.ndtri(0.975))
FEWEST_CUSTOMERS = 30
FEWEST_REPEATERS = 10
START_ROWS = (
    1_500  # cells of like histories on which the several starts are compared; the best goes on with all of them
)
CHUNK = 50_000  # histories whose integrals are held at a time
NODES = 32  # Gauss-Legendre, of the Pareto/NBD integral
WEIGHING_NODES, WEIGHING_ROWS = 12, 600  # of the likelihood that only weighs draws
BETA_NODES, DRAWN_NODES = 48, 24  # Gauss-Jacobi, of means over the beta distribution of losing a customer; of draws
LONGEST_DROP = 33.0  # e-folds below its start at which the integrand is cut off
LOG_BOUNDS = (-12.0, 14.0)
FLAT_SD = 1.0  # log units: a direction known no better than within a factor of e² either way
CONTOUR_STEPS = 8
LARGEST_SD = 3.0  # of a draw along a flat direction, log units
MOST_NEWTON_STEPS = 20
STEP = 1e-4  # of log parameters, for the curvature
AGREEMENT = 0.01  # of log likelihood, between starts


class Optimum(NamedTuple):
    """The best of several starts: log parameters, log likelihood, information (log scale), the likelihoods the starts reached."""

    log_parameters: Floats
    log_likelihood: float
    information: Floats
    gradient: Floats
    reached: Floats


def maximise(objective: Objective, coarse: Objective, starts: Floats) -> Optimum:
    """Maximise a log likelihood of log parameters from several starts, by quasi-Newton and then Newton steps.

    Parameters
    ----------
    objective, coarse : callable
        Log parameters, shape (k,), to (log likelihood, gradient); ``coarse`` is the one on which starts are compared.
    starts : array, shape (starts, k)

    Returns
    -------
    Optimum
    """

    def climb(function: Objective, start: Floats) -> Floats:
        scale = max(abs(function(start)[0]), 1.0)

        def loss(at: Floats) -> tuple[float, Floats]:
            value, gradient = function(at)
            return -value / scale, -gradient / scale

        found = optimize.minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[LOG_BOUNDS] * len(start),
            options={"maxiter": 500, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-9},
        )
        return np.asarray(found.x, dtype=np.float64)

    ends = [climb(coarse, start) for start in starts]
    reached = np.array([coarse(end)[0] for end in ends])
    best = ends[int(np.argmax(reached))]
    if coarse is not objective:
        near, settled = _newton(objective, best)
        best = near if settled else climb(objective, near)
    best, _ = _newton(objective, best)
    value, gradient = objective(best)
    return Optimum(best, value, _information(objective, best), gradient, reached)


def _newton(objective: Objective, start: Floats) -> tuple[Floats, bool]:
    """Newton steps to the nearest maximum inside the bounds, and whether it was reached."""
    best, (value, gradient) = start, objective(start)
    for _ in range(MOST_NEWTON_STEPS):
        free = (best > LOG_BOUNDS[0] + STEP) & (best < LOG_BOUNDS[1] - STEP)
        if np.abs(gradient[free]).max(initial=0.0) < 1e-9 * max(abs(value), 1.0):
            return best, True
        values, vectors = np.linalg.eigh(_information(objective, best)[np.ix_(free, free)])
        if values[0] <= 1e-9 * values[-1]:
            return best, False
        step = np.zeros(len(best))
        step[free] = vectors @ ((vectors.T @ gradient[free]) / values)
        step /= max(1.0, float(np.abs(step).max()))
        moved = np.clip(best + step, *LOG_BOUNDS)
        new_value, new_gradient = objective(moved)
        if not new_value >= value - 1e-12 * abs(value):
            return best, False
        best, value, gradient = moved, new_value, new_gradient
    return best, False


def _information(objective: Objective, at: Floats) -> Floats:
    """Negative curvature by central differences of the gradient, shape (k, k)."""
    rows = []
    for position in range(len(at)):
        step = np.zeros(len(at))
        step[position] = STEP
        rows.append((objective(at - step)[1] - objective(at + step)[1]) / (2 * STEP))
    matrix = np.array(rows)
    return np.asarray((matrix + matrix.T) / 2)


def covariance_of(information: Floats) -> tuple[Floats, Floats, Floats]:
    """Covariance of log parameters with flat directions held at ``LARGEST_SD``; standard deviations and directions, worst first."""
    values, vectors = np.linalg.eigh(information)
    deviations = 1.0 / np.sqrt(np.maximum(values, 1.0 / LARGEST_SD**2))
    return (vectors * deviations**2) @ vectors.T, deviations, vectors.T


def parameter_rows(names: tuple[str, ...], log_parameters: Floats, covariance: Floats) -> pd.DataFrame:
    """``parameter, estimate, std_error, conf_low, conf_high``: 95 % limits on the log scale, error by the delta method."""
    estimate, error = np.exp(log_parameters), np.sqrt(np.diag(covariance))
    return pd.DataFrame(
        {
            "parameter": list(names),
            "estimate": estimate,
            "std_error": estimate * error,
            "conf_low": np.exp(log_parameters - NORMAL_975 * error),
            "conf_high": np.exp(log_parameters + NORMAL_975 * error),
        }
    )


def fit_checks(names: tuple[str, ...], optimum: Optimum) -> list[tuple[str, str, float, str]]:
    """Convergence, agreement of the starts, identification: ``(name, verdict, number, advice)`` each."""
    _, deviations, directions = covariance_of(optimum.information)
    steepest = float(np.abs(optimum.gradient).max()) / max(abs(optimum.log_likelihood), 1.0)
    at_edge = [
        name
        for name, value in zip(names, optimum.log_parameters, strict=True)
        if not LOG_BOUNDS[0] + 0.01 < value < LOG_BOUNDS[1] - 0.01
    ]
    rows = [
        (
            "convergence",
            "pass" if steepest < 1e-6 or at_edge else "fail",
            steepest,
            "largest slope of the log likelihood at the estimate, over its size",
        )
    ]
    agreeing = int((optimum.reached > optimum.reached.max() - AGREEMENT).sum())
    rows.append(
        (
            "starts agree",
            "pass" if agreeing >= 2 else "warn",
            float(agreeing),
            f"{agreeing} of {len(optimum.reached)} starts reach the same highest log likelihood",
        )
    )
    flat = float(deviations[0])
    if at_edge:
        advice = (
            f"{', '.join(at_edge)} runs off to the end of its range: the data do not bound it, and ranges count that"
        )
    elif flat > FLAT_SD:
        along = directions[0] / np.abs(directions[0]).max()
        moving = [(name, share) for name, share in zip(names, along, strict=True) if abs(share) > 0.2]
        together = all(share * moving[0][1] > 0 for _, share in moving)
        listed = " and ".join(name for name, _ in moving)
        advice = (
            f"the likelihood is nearly flat where {listed} {'rise together' if together else 'move apart'}: single parameters say "
            "little, what is expected of customers depends on them together"
        )
    else:
        advice = "standard deviation of the least known direction, log units"
    rows.append(("identification", "warn" if at_edge or flat > FLAT_SD else "pass", flat, advice))
    return rows


@dataclass(frozen=True, eq=False)
class _Counts:
    """Histories as arrays, shape (histories,)."""

    x: Floats
    recency: Floats
    age: Floats
    customers: Floats

    @cached_property
    def distinct(self) -> tuple[Floats, Floats]:
        """Distinct frequencies and the number of customers with each."""
        values, place = np.unique(self.x, return_inverse=True)
        return values, np.asarray(np.bincount(place, weights=self.customers), dtype=np.float64)

    def coarsened(self, most: int) -> _Counts:
        """At most so many histories that stand for all: means of cells of like histories; see :func:`like_histories`."""
        if len(self.x) <= most:
            return self
        place = like_histories(self.x, self.recency, self.age, most=most)
        size = np.bincount(place, weights=self.customers)
        x, recency, age = (
            np.bincount(place, weights=self.customers * each) / size for each in (self.x, self.recency, self.age)
        )
        return _Counts(x, recency, age, np.asarray(size, dtype=np.float64))


def like_histories(x: Floats, recency: Floats, age: Floats, *, most: int) -> Ints:
    """Cell of each history, of at most ``most`` cells of like frequency, recency and silence, shape (histories,)."""
    unit = max(float(np.median(age)), 1e-9) / 8.0
    logs = (np.log1p(x), np.log1p(recency / unit), np.log1p((age - recency) / unit))
    fineness = 64.0
    while True:
        key = np.zeros(len(x), dtype=np.int64)
        for each in logs:
            step = np.round(fineness * each).astype(np.int64)
            key = key * (int(step.max()) + 1) + step
        place, cells = pd.factorize(key, sort=True)
        if len(cells) <= most or fineness < 1.0:
            return np.asarray(place, dtype=np.int64)
        fineness *= 0.8


def _counts(histories: PurchaseHistories) -> _Counts:
    table = histories.table
    x, recency, age, customers = (
        table[name].to_numpy(dtype=np.float64) for name in ("frequency", "recency", "age", "customers")
    )
    return _Counts(x, recency, age, customers)


@dataclass(frozen=True, eq=False, repr=False)
class PurchaseModel:
    """A fitted purchase model.

    Attributes
    ----------
    model : {"bg_nbd", "mbg_nbd", "pareto_nbd"}
    log_parameters : array, shape (4,)
        Of r, α (rates per unit of time) and a, b or s, β.
    covariance : array, shape (4, 4)
        Of the log parameters; directions that the data leave open are held at a standard deviation of 3.
    log_likelihood : float
    customers, repeat_customers : int
    unit_days : float
        Days of the unit of time.
    optimum : Optimum
    """

    model: Model
    log_parameters: Floats
    covariance: Floats
    log_likelihood: float
    customers: int
    repeat_customers: int
    unit_days: float
    optimum: Optimum = field(repr=False)
    counts: _Counts = field(repr=False)

    def __repr__(self) -> str:
        return repr(self.tidy())

    @property
    def parameters(self) -> dict[str, float]:
        """Estimates by name."""
        return dict(zip(NAMES[self.model], np.exp(self.log_parameters).tolist(), strict=True))

    def tidy(self) -> pd.DataFrame:
        """One row a parameter: ``parameter, estimate, std_error, conf_low, conf_high`` (95 %, on the log scale)."""
        return parameter_rows(NAMES[self.model], self.log_parameters, self.covariance)

    def glance(self) -> pd.DataFrame:
        """One row: model, customers, repeat customers, distinct histories, log likelihood."""
        return pd.DataFrame(
            {
                "model": [self.model],
                "customers": [self.customers],
                "repeat_customers": [self.repeat_customers],
                "distinct_histories": [len(self.counts.x)],
                "log_likelihood": [self.log_likelihood],
                "unit_days": [self.unit_days],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Convergence, agreement of starts, identification: ``name, verdict, number, advice``."""
        return pd.DataFrame(
            fit_checks(NAMES[self.model], self.optimum), columns=["name", "verdict", "number", "advice"]
        )

    def probability_alive(self, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike) -> Floats:
        """Probability that a customer with this history is still one, shape of the histories.

        Examples
        --------
        >>> found = PurchaseModel.of("bg_nbd", {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426})
        >>> found.probability_alive([2.0], [30.43], [38.86]).round(4).tolist()
        [0.7266]
        """
        x, t_x, age = _arrays(frequency, recency, age)
        alive: Floats = special.expit(-self._log_odds_lost(self.log_parameters, x, t_x, age))
        return alive

    def expected_purchases(
        self, horizon: ArrayLike, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike
    ) -> Floats:
        """Purchases expected in the next ``horizon`` units of a customer with this history.

        Parameters
        ----------
        horizon : float or array, shape (horizons,)
        frequency, recency, age : array, shape (histories,)

        Returns
        -------
        array, shape (histories,), or (histories, horizons) for several horizons

        Examples
        --------
        >>> found = PurchaseModel.of("bg_nbd", {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426})
        >>> found.expected_purchases(39.0, [2.0], [30.43], [38.86]).round(3).tolist()
        [1.226]
        """
        x, t_x, age = _arrays(frequency, recency, age)
        times = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        if not (times >= 0).all():
            raise InputError(f"a horizon must be at least 0 units of time; got {times.min():g}")
        found = self._expected(self.log_parameters[None, :], x, t_x, age, times)[0]
        return np.asarray(found if np.ndim(horizon) else found[:, 0])

    def expected_of_new(self, horizon: ArrayLike) -> Floats:
        """Repeat purchases expected of a new customer in the first ``horizon`` units, shape of ``horizon``."""
        times = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        found = self._expected_of_new(self.log_parameters[None, :], times)[0]
        return np.asarray(found.reshape(np.shape(horizon)) if np.ndim(horizon) else found[0])

    def survival_of_new(self, horizon: ArrayLike) -> Floats:
        """Probability that a new customer is still one after ``horizon`` units, shape of ``horizon``."""
        times = np.atleast_1d(np.asarray(horizon, dtype=np.float64))
        r, alpha, c, d = np.exp(self.log_parameters)
        if self.model == "pareto_nbd":
            found = (d / (d + times)) ** c
        else:
            extra = self.model == "mbg_nbd"
            nodes, weights = beta_nodes(np.array([c]), np.array([d + extra]), 4 * BETA_NODES)
            found = ((1.0 + nodes[0][:, None] * times / alpha) ** -r).T @ weights[0]
            found = found * (d / (c + d) if extra else 1.0)
        return np.asarray(found if np.ndim(horizon) else found[0])

    def median_lifetime(self, horizon: float) -> float | None:
        """Time by which half of new customers are lost, in units; None where that is not reached within ``horizon``."""
        if float(self.survival_of_new(horizon)) > 0.5:
            return None
        if float(self.survival_of_new(0.0)) <= 0.5:
            return 0.0
        found = optimize.brentq(lambda time: float(self.survival_of_new(time)) - 0.5, 0.0, horizon, xtol=1e-9 * horizon)
        return float(found)

    def parameter_draws(self, generator: np.random.Generator, draws: int) -> Floats:
        """Draws of the four parameters, shape (draws, 4): what the data leave open of them.

        Normal on the log scale; where a direction is flat, on the contours of the likelihood.
        """
        cells = self.counts.coarsened(WEIGHING_ROWS)

        def heights(proposed: Floats) -> Floats:
            return self._log_likelihoods(proposed, cells)

        return np.exp(
            draw_log_parameters(heights, self.log_parameters, self.covariance, generator=generator, draws=draws)
        )

    def _log_likelihoods(self, log_parameters: Floats, counts: _Counts) -> Floats:
        """Log likelihood at each row of log parameters, shape (draws,); a coarse rule serves, for it only weighs."""
        values, sizes = counts.distinct
        found = np.empty(len(log_parameters))
        for rows in np.array_split(np.arange(len(found)), max(1, len(found) * len(counts.x) // CHUNK)):
            some = log_parameters[rows]
            r, alpha, c, d = (np.exp(some[:, [place]]) for place in range(4))
            by_frequency = special.gammaln(r + values) - special.gammaln(r) + r * some[:, [1]]
            alive = -(r + counts.x) * np.log(alpha + counts.age)
            if self.model == "pareto_nbd":
                by_frequency = by_frequency + c * some[:, [3]]
                alive = alive - c * np.log(d + counts.age)
            else:
                flips = values + (self.model == "mbg_nbd")
                by_frequency = by_frequency + special.betaln(c, d + flips) - special.betaln(c, d)
            odds = self._log_odds_lost(some, counts.x, counts.recency, counts.age, nodes=WEIGHING_NODES)
            found[rows] = by_frequency @ sizes + (alive + np.logaddexp(0.0, odds)) @ counts.customers
        return found

    def purchase_draws(
        self,
        horizons: Floats,
        frequency: ArrayLike,
        recency: ArrayLike,
        age: ArrayLike,
        *,
        generator: np.random.Generator,
    ) -> Ints:
        """What customers with these histories may buy: one random future each, at the estimate.

        Parameters
        ----------
        horizons : array, shape (horizons,)
            Rising, in units of time from now.
        frequency, recency, age : array, shape (histories,)

        Returns
        -------
        array, shape (histories, horizons)
            Purchases up to each horizon.
        """
        x, t_x, age = _arrays(frequency, recency, age)
        r, alpha, c, d = np.exp(self.log_parameters)
        alive = generator.random(len(x)) < self.probability_alive(x, t_x, age)
        rate = generator.gamma(r + x) / (alpha + age)
        times = np.asarray(horizons, dtype=np.float64)
        if self.model == "pareto_nbd":
            lifetime = (
                generator.exponential(1.0, len(x)) / np.maximum(generator.gamma(c, size=len(x)), 1e-300) * (d + age)
            )
            watched = np.minimum(times, lifetime[:, None])
            spells = np.diff(watched, axis=1, prepend=0.0)
            return np.asarray(np.cumsum(generator.poisson(np.where(alive, rate, 0.0)[:, None] * spells), axis=1))
        chance = generator.beta(c, d + x + (1.0 if self.model == "mbg_nbd" else 0.0))
        until_loss = generator.geometric(np.clip(chance, 1e-12, 1.0))
        spells = np.diff(times, prepend=0.0)
        made = np.cumsum(generator.poisson(np.where(alive, rate, 0.0)[:, None] * spells), axis=1)
        return np.asarray(np.minimum(made, until_loss[:, None]))

    def history_draws(self, age: ArrayLike, *, generator: np.random.Generator) -> PurchaseHistories:
        """Histories that new customers of these ages may have by now, one random history each, at the estimate.

        Parameters
        ----------
        age : array, shape (customers,)
            Time since the first purchase.
        """
        (ages,) = _arrays(age)
        r, alpha, c, d = np.exp(self.log_parameters)
        size = len(ages)
        rate = generator.gamma(r, size=size) / alpha
        watched, chance = ages, np.zeros(size)
        if self.model == "pareto_nbd":
            watched = np.minimum(
                ages, generator.exponential(size=size) / np.maximum(generator.gamma(c, size=size) / d, 1e-300)
            )
        else:
            chance = generator.beta(c, d, size=size)
        here = np.arange(size)
        if self.model == "mbg_nbd":
            here = here[generator.random(size) >= chance]
        frequency, recency = np.zeros(size), np.zeros(size)
        while len(here):
            following = recency[here] + generator.exponential(size=len(here)) / np.maximum(rate[here], 1e-300)
            bought = following <= watched[here]
            here, following = here[bought], following[bought]
            frequency[here] += 1.0
            recency[here] = following
            here = here[generator.random(len(here)) >= chance[here]]
        drawn = pd.DataFrame({"x": frequency, "t_x": recency, "T": ages})
        return purchase_histories_of(drawn, unit_days=self.unit_days)

    @classmethod
    def of(cls, model: Model, parameters: dict[str, float], *, unit_days: float = 7.0) -> PurchaseModel:
        """A model with known parameters, for published figures and simulation; no data, no errors."""
        log_parameters = np.log([parameters[name] for name in NAMES[model]])
        nothing = np.zeros(0)
        return cls(
            model=model,
            log_parameters=log_parameters,
            covariance=np.zeros((4, 4)),
            log_likelihood=np.nan,
            customers=0,
            repeat_customers=0,
            unit_days=unit_days,
            optimum=Optimum(log_parameters, np.nan, np.zeros((4, 4)), np.zeros(4), np.zeros(1)),
            counts=_Counts(nothing, nothing, nothing, nothing),
        )

    def with_parameters(self, parameters: Floats) -> PurchaseModel:
        """The same with other parameters, shape (4,): a draw."""
        return replace(self, log_parameters=np.log(parameters))

    def expected_draws(
        self, parameters: Floats, horizons: Floats, frequency: Floats, recency: Floats, age: Floats
    ) -> Floats:
        """Expected purchases for every draw of the parameters, shape (draws, histories, horizons)."""
        return self._expected(np.log(parameters), frequency, recency, age, horizons)

    def expected_of_new_draws(self, parameters: Floats, horizons: Floats) -> Floats:
        """Repeat purchases expected of a new customer for every draw, shape (draws, horizons)."""
        return self._expected_of_new(np.log(parameters), horizons)

    def _log_odds_lost(
        self, log_parameters: Floats, x: Floats, t_x: Floats, age: Floats, *, nodes: int = NODES
    ) -> Floats:
        """Log odds of being lost, shape (..., histories); ``log_parameters`` (..., 4)."""
        r, alpha, c, d = (np.exp(log_parameters[..., [place]]) for place in range(4))
        if self.model != "pareto_nbd":
            shift = 0.0 if self.model == "mbg_nbd" else -1.0
            with np.errstate(divide="ignore"):
                base = np.log(c) - np.log(np.maximum(d + x + shift, 0.0))
            odds = base + (r + x) * (np.log(alpha + age) - np.log(alpha + t_x))
            return np.asarray(odds if shift == 0.0 else np.where(x > 0, odds, -np.inf))
        integral = _lost_integral((r, alpha, c, d), x, t_x, age, nodes=nodes)[0]
        return np.asarray(np.log(c) + integral + (r + x) * np.log(alpha + age) + c * np.log(d + age))

    def _expected(self, log_parameters: Floats, x: Floats, t_x: Floats, age: Floats, times: Floats) -> Floats:
        """Shape (draws, histories, horizons); ``log_parameters`` (draws, 4)."""
        found = np.empty((len(log_parameters), len(x), len(times)))
        nodes = BETA_NODES if len(log_parameters) == 1 else DRAWN_NODES
        step = max(1, CHUNK // max(len(x), 1))
        for start in range(0, len(log_parameters), step):
            some = log_parameters[start : start + step]
            alive = special.expit(-self._log_odds_lost(some, x, t_x, age))
            for rows in np.array_split(np.arange(len(x)), max(1, len(x) * len(some) // CHUNK)):
                found[start : start + step, rows] = self._while_alive(some, x[rows], age[rows], times, nodes)
            found[start : start + step] *= alive[:, :, None]
        return found

    def _while_alive(self, log_parameters: Floats, x: Floats, age: Floats, times: Floats, many: int) -> Floats:
        """Purchases expected of those alive now, shape (draws, histories, horizons)."""
        r, alpha, c, d = (np.exp(log_parameters[:, place])[:, None] for place in range(4))
        shape, rate = r + x, alpha + age  # of the purchase rate, given the history
        if self.model == "pareto_nbd":
            later = d + age
            ratio = np.log1p(times / later[:, :, None])
            spell = later[:, :, None] * ratio * special.exprel(-(c[:, :, None] - 1.0) * ratio)
            return np.asarray((shape / rate)[:, :, None] * spell)
        values, place = np.unique(x, return_inverse=True)
        kept = d + values + (1.0 if self.model == "mbg_nbd" else 0.0)
        nodes, weights = beta_nodes(np.broadcast_to(c, kept.shape), kept, many)
        found = np.empty((*rate.shape, len(times)))
        for position, time in enumerate(times):
            found[:, :, position] = _purchases_before_loss(
                nodes[:, place], weights[:, place], shape, np.asarray(time / rate)
            )
        return found

    def _expected_of_new(self, log_parameters: Floats, times: Floats) -> Floats:
        nothing = np.zeros(1)
        many = BETA_NODES if len(log_parameters) > 1 else 4 * BETA_NODES
        found = self._while_alive(log_parameters, nothing, nothing, times, many)[:, 0]
        if self.model == "mbg_nbd":
            found = found * special.expit(log_parameters[:, 3] - log_parameters[:, 2])[:, None]
        return found


def fit_bg_nbd(histories: PurchaseHistories) -> PurchaseModel | str:
    """Fit the beta-geometric/NBD model: a customer may be lost after each repeat purchase.

    Parameters
    ----------
    histories : PurchaseHistories

    Returns
    -------
    PurchaseModel or str
        The reason in words where there are too few customers or repeat purchases.

    Notes
    -----
    Source: Fader, Hardie & Lee (2005), Marketing Science 24:275, equation 6. A customer without a repeat purchase cannot be lost here.

    Examples
    --------
    >>> from cxroi.value.histories import purchase_histories_of
    >>> few = purchase_histories_of(pd.DataFrame({"x": [1.0], "t_x": [2.0], "T": [9.0]}))
    >>> fit_bg_nbd(few)
    '1 customers, 1 with a repeat purchase; at least 30 and 10 are needed'
    """
    return fit_purchases("bg_nbd", histories)


def fit_mbg_nbd(histories: PurchaseHistories) -> PurchaseModel | str:
    """Fit the modified BG/NBD model: a customer may be lost after every purchase, the first one included.

    Parameters, Returns: as :func:`fit_bg_nbd`. Source: Batislam, Denizel & Filiztekin (2007), International Journal of Research in
    Marketing 24:201; Hoppe & Wagner (2007), Marketing JRM 29:75.
    """
    return fit_purchases("mbg_nbd", histories)


def fit_pareto_nbd(histories: PurchaseHistories) -> PurchaseModel | str:
    """Fit the Pareto/NBD model: a customer may be lost at any time.

    Parameters, Returns: as :func:`fit_bg_nbd`. Source: Schmittlein, Morrison & Colombo (1987), Management Science 33:1; the likelihood
    as one integral over the time of loss, which is Gauss's hypergeometric function of Fader & Hardie (2005), note 009.
    """
    return fit_purchases("pareto_nbd", histories)


def fit_purchases(model: Model, histories: PurchaseHistories) -> PurchaseModel | str:
    """Fit one of the three models by name."""
    counts = _counts(histories)
    customers, repeaters = int(counts.customers.sum()), int(counts.customers[counts.x > 0].sum())
    if customers < FEWEST_CUSTOMERS or repeaters < FEWEST_REPEATERS:
        return (
            f"{customers} customers, {repeaters} with a repeat purchase; "
            f"at least {FEWEST_CUSTOMERS} and {FEWEST_REPEATERS} are needed"
        )
    objective = _objective(model, counts)
    coarse = objective
    if len(counts.x) > START_ROWS:
        coarse = _objective(model, counts.coarsened(START_ROWS))
    optimum = maximise(objective, coarse, _starts(model, counts))
    covariance, _, _ = covariance_of(optimum.information)
    return PurchaseModel(
        model=model,
        log_parameters=optimum.log_parameters,
        covariance=covariance,
        log_likelihood=optimum.log_likelihood,
        customers=customers,
        repeat_customers=repeaters,
        unit_days=histories.unit_days,
        optimum=optimum,
        counts=counts,
    )


def draw_log_parameters(
    heights: Callable[[Floats], Floats],
    centre: Floats,
    covariance: Floats,
    *,
    generator: np.random.Generator,
    draws: int,
) -> Floats:
    """Draws of log parameters, shape (draws, k): normal, or where a direction is flat on the contours of the likelihood.

    A normal draw says a direction and a distance. Where the likelihood is flat its curvature says little about how far it reaches, so
    each draw is moved along its direction to where the likelihood has fallen by what it falls at that distance in the normal case.
    ``heights`` gives the log likelihood of each row of log parameters.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = generator.standard_normal((draws, len(centre)))
    away = noise @ root.T
    if values[-1] <= FLAT_SD**2:
        return np.asarray(centre + away)
    wanted = (noise**2).sum(axis=1)
    top, stretch = float(heights(centre[None, :])[0]), np.ones(draws)
    for _ in range(CONTOUR_STEPS):
        fallen = 2.0 * (top - heights(np.clip(centre + stretch[:, None] * away, *LOG_BOUNDS)))
        stretch *= np.clip(np.sqrt(wanted / np.maximum(fallen, 1e-12)), 0.5, 2.0)
    return np.asarray(np.clip(centre + stretch[:, None] * away, *LOG_BOUNDS))


def beta_nodes(first: Floats, second: Floats, nodes: int) -> tuple[Floats, Floats]:
    """Gauss-Jacobi rule for means over beta distributions, on 0…1.

    Parameters
    ----------
    first, second : array, shape (...)
        Parameters of the beta distributions, above 0.
    nodes : int

    Returns
    -------
    tuple of array
        Places and weights (which sum to 1), shape (..., nodes) each.

    Notes
    -----
    Golub & Welsch (1969), Mathematics of Computation 23:221: eigenvalues of the recurrence, so no gamma functions overflow.

    Examples
    --------
    >>> places, weights = beta_nodes(np.array(2.0), np.array(3.0), 8)
    >>> round(float(places @ weights), 12), round(float(places**2 @ weights), 12)
    (0.4, 0.2)
    """
    alpha, beta = second[..., None] - 1.0, first[..., None] - 1.0
    both, k = alpha + beta, np.arange(1.0, nodes)
    twice = 2.0 * k + both
    diagonal = (beta**2 - alpha**2) / (twice * (twice + 2.0))
    start = (beta - alpha) / (both + 2.0)
    square = 4.0 * k * (k + alpha) * (k + beta) / twice**2
    # (k + both) / (twice - 1) is 1 for k = 1, and 0/0 there where both is -1
    ratio = np.where(k == 1.0, 1.0, (k + both) / np.where(k == 1.0, 1.0, twice - 1.0)) / (twice + 1.0)
    matrix = np.zeros((*first.shape, nodes, nodes))
    places = np.arange(nodes)
    matrix[..., places, places] = np.concatenate([start, diagonal], axis=-1)
    matrix[..., places[1:], places[:-1]] = np.sqrt(square * ratio)
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((1.0 + values) / 2.0), np.asarray(vectors[..., 0, :] ** 2)


def _purchases_before_loss(nodes: Floats, weights: Floats, shape: Floats, ratio: Floats) -> Floats:
    """Mean over p of (1 - (1 + p·ratio)^-shape) / p: purchases when each is followed by loss with probability p; any shape."""
    falling = -np.expm1(-shape[..., None] * np.log1p(nodes * ratio[..., None]))
    with np.errstate(divide="ignore", invalid="ignore"):
        purchases = np.where(nodes > 1e-300, falling / nodes, (shape * ratio)[..., None])
    return np.asarray((purchases * weights).sum(axis=-1))


def _arrays(*columns: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.atleast_1d(np.asarray(column, dtype=np.float64)) for column in columns)


def _starts(model: Model, counts: _Counts) -> Floats:
    """Four starting points from the mean purchase rate and age, shape (4, 4)."""
    weight = counts.customers / counts.customers.sum()
    age = max(float(weight @ counts.age), 1e-6)
    rate = max(float(weight @ counts.x) / age, 1e-9)
    found = []
    for r, second in ((0.5, 0.3), (1.5, 0.3), (0.3, 0.05), (1.0, 2.0)):
        first = (r, r / rate * 0.5)
        if model == "pareto_nbd":
            found.append((*first, 0.5 + second, age * (1.0 + 1.0 / second) / 4))
        else:
            found.append((*first, second + 0.5, (second + 0.5) * 3))
    return np.asarray(np.clip(np.log(np.array(found)), LOG_BOUNDS[0] + 1, LOG_BOUNDS[1] - 1))


def _objective(model: Model, counts: _Counts) -> Objective:
    if model == "pareto_nbd":
        return lambda at: _pareto(at, counts)
    return lambda at: _geometric(at, counts, from_first=model == "mbg_nbd")


def _geometric(log_parameters: Floats, counts: _Counts, *, from_first: bool) -> tuple[float, Floats]:
    """Log likelihood of the (modified) BG/NBD model and its gradient by log parameters."""
    r, alpha, a, b = np.exp(log_parameters)
    values, sizes = counts.distinct
    flips = values + from_first  # chances to be lost that were survived, besides the last
    total = sizes.sum()
    x, customers = counts.x, counts.customers
    by_frequency = (
        special.gammaln(r + values)
        + special.gammaln(b + flips)
        - special.gammaln(a + b + flips)
        - (special.gammaln(r) - r * log_parameters[1] + special.gammaln(b) - special.gammaln(a + b))
    )
    with np.errstate(divide="ignore"):
        later, last = np.log(alpha + counts.age), np.log(alpha + counts.recency)
        odds = log_parameters[2] - np.log(np.maximum(b + x + from_first - 1.0, 0.0)) + (r + x) * (later - last)
    if not from_first:
        odds = np.where(x > 0, odds, -np.inf)
    value = sizes @ by_frequency + customers @ (np.logaddexp(0.0, odds) - (r + x) * later)
    lost = customers * special.expit(odds)
    kept = customers - lost
    of_r, of_ab = special.psi(r + values) - special.psi(r) + log_parameters[1], special.psi(a + b + flips)
    whole = special.psi(a + b)
    gradient = np.array(
        [
            sizes @ of_r - kept @ later - lost @ last,
            total * r / alpha - (r + x) @ (kept / (alpha + counts.age) + lost / (alpha + counts.recency)),
            sizes @ (whole - of_ab) + lost.sum() / a,
            sizes @ (special.psi(b + flips) - special.psi(b) + whole - of_ab)
            - (lost[x > -from_first] / (b + x[x > -from_first] + from_first - 1.0)).sum(),
        ]
    )
    return float(value), gradient * np.exp(log_parameters)


@cache
def _legendre(nodes: int) -> tuple[Floats, Floats]:
    """Places on -1…1 and weights of Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    return places, weights


def _lost_integral(
    parameters: tuple[ArrayLike, ...], x: Floats, t_x: Floats, age: Floats, *, nodes: int = NODES, means: bool = False
) -> tuple[Floats, ...]:
    """∫ from t_x to T of (α+u)^-(r+x) (β+u)^-(s+1) du, in logarithms; the parameters r, α, s, β broadcast against the histories.

    In v = log(smaller + u), smaller = min(α, β), the integrand is analytic within π of the real line, so that 32 nodes of
    Gauss and Legendre give twelve digits; what lies 33 e-folds below the start is cut off. With ``means`` also the means
    under the integrand of log(α+u), 1/(α+u), log(β+u) and 1/(β+u).
    """
    r, alpha, s, beta = (np.asarray(each, dtype=np.float64) for each in parameters)
    places, weights = _legendre(nodes)
    first = alpha <= beta
    smaller, larger = np.minimum(alpha, beta), np.maximum(alpha, beta)
    of_smaller, of_larger = np.where(first, r + x, s + 1.0), np.where(first, s + 1.0, r + x)
    low = np.log(smaller + t_x)
    reach_smaller = (smaller + t_x) * np.exp(np.minimum(LONGEST_DROP / of_smaller, 600.0)) - smaller
    reach_larger = (larger + t_x) * np.exp(np.minimum(LONGEST_DROP / of_larger, 600.0)) - larger
    high = np.log(smaller + np.minimum(age, np.minimum(reach_smaller, reach_larger)))
    half = np.maximum(high - low, 0.0)[..., None] / 2.0
    log_near = low[..., None] + half * (1.0 + places)
    near = np.exp(log_near)
    far = near + (larger - smaller)[..., None]
    log_far = np.log(far)
    height = (1.0 - of_smaller[..., None]) * log_near - of_larger[..., None] * log_far
    top = height[..., :1]
    share = weights * np.exp(height - top)
    total = share.sum(axis=-1)
    with np.errstate(divide="ignore"):
        log_integral = np.log(half[..., 0]) + top[..., 0] + np.log(total)
    if not means:
        return (log_integral,)
    share /= total[..., None]
    of_near = (share * log_near).sum(axis=-1), (share / near).sum(axis=-1)
    of_far = (share * log_far).sum(axis=-1), (share / far).sum(axis=-1)
    ordered = (np.where(first, *pair) for pair in zip(of_near + of_far, of_far + of_near, strict=True))
    return (log_integral, *ordered)


def _pareto(log_parameters: Floats, counts: _Counts) -> tuple[float, Floats]:
    """Log likelihood of the Pareto/NBD model and its gradient by log parameters."""
    r, alpha, s, beta = np.exp(log_parameters)
    log_alpha, log_s, log_beta = log_parameters[1:]
    values, sizes = counts.distinct
    total = sizes.sum()
    value = sizes @ special.gammaln(r + values) - total * (special.gammaln(r) - r * log_alpha - s * log_beta)
    gradient = np.array(
        [
            sizes @ special.psi(r + values) - total * (special.psi(r) - log_alpha),
            total * r / alpha,
            total * log_beta,
            total * s / beta,
        ]
    )
    for rows in np.array_split(np.arange(len(counts.x)), max(1, -(-len(counts.x) // CHUNK))):
        x, t_x, age, customers = counts.x[rows], counts.recency[rows], counts.age[rows], counts.customers[rows]
        log_integral, log_of_alpha, over_alpha, log_of_beta, over_beta = _lost_integral(
            (r, alpha, s, beta), x, t_x, age, means=True
        )
        later_alpha, later_beta = np.log(alpha + age), np.log(beta + age)
        alive = -(r + x) * later_alpha - s * later_beta
        odds = log_s + log_integral - alive
        value += customers @ (alive + np.logaddexp(0.0, odds))
        gone = customers * special.expit(odds)
        kept = customers - gone
        gradient += np.array(
            [
                -(kept @ later_alpha + gone @ log_of_alpha),
                -((r + x) @ (kept / (alpha + age) + gone * over_alpha)),
                gone.sum() / s - kept @ later_beta - gone @ log_of_beta,
                -(s * (kept / (beta + age)).sum() + (s + 1.0) * (gone @ over_beta)),
            ]
        )
    return float(value), gradient * np.exp(log_parameters)
