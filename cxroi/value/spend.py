"""Margin per purchase: the gamma-gamma model, which draws a customer's own mean towards that of all by how often it was seen.

Margins of a customer's purchases are gamma distributed around the customer's own mean; these means are spread over customers as inverse
gamma. Margin is independent of how often a customer buys: a check says how far that holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.value.noncontractual import (
    NORMAL_975,
    Objective,
    Optimum,
    covariance_of,
    draw_log_parameters,
    fit_checks,
    maximise,
    parameter_rows,
)

Floats = NDArray[np.float64]

NAMES = ("p", "q", "gamma")
FEWEST_CUSTOMERS = 30
START_ROWS = 2_000
DRAWN_AT_ONCE = 500_000  # draws times customers
LARGEST_CORRELATION = 0.2  # of frequency and mean margin, above which independence is doubtful


@dataclass(frozen=True, eq=False, repr=False)
class SpendModel:
    """A fitted gamma-gamma model.

    Attributes
    ----------
    log_parameters : array, shape (3,)
        Of p, q (shapes) and gamma (currency).
    covariance : array, shape (3, 3)
        Of the log parameters.
    log_likelihood : float
    customers : int
        Repeat customers with a positive mean margin.
    correlation : float
        Of frequency and mean margin over these customers (Pearson), with ``correlation_low, correlation_high`` (95 %).
    """

    log_parameters: Floats
    covariance: Floats
    log_likelihood: float
    customers: int
    correlation: float
    correlation_low: float
    correlation_high: float
    optimum: Optimum = field(repr=False)
    likelihoods: Callable[[Floats], Floats] = field(repr=False)

    def __repr__(self) -> str:
        return repr(self.tidy())

    @property
    def parameters(self) -> dict[str, float]:
        """Estimates by name."""
        return dict(zip(NAMES, np.exp(self.log_parameters).tolist(), strict=True))

    @property
    def population_mean(self) -> float:
        """Expected margin of a purchase of a customer of whom nothing is known, currency; infinite where q is at most 1."""
        return float(population_mean(np.exp(self.log_parameters)))

    def tidy(self) -> pd.DataFrame:
        """One row a parameter: ``parameter, estimate, std_error, conf_low, conf_high`` (95 %, on the log scale)."""
        return parameter_rows(NAMES, self.log_parameters, self.covariance)

    def glance(self) -> pd.DataFrame:
        """One row: customers, log likelihood, mean margin of the population, correlation with frequency."""
        return pd.DataFrame(
            {
                "customers": [self.customers],
                "log_likelihood": [self.log_likelihood],
                "population_mean": [self.population_mean],
                "correlation": [self.correlation],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Convergence, identification, independence of frequency: ``name, verdict, number, advice``."""
        rows = fit_checks(NAMES, self.optimum)
        finite = np.exp(self.log_parameters[1]) > 1.0
        rows.append(
            (
                "finite mean",
                "pass" if finite else "fail",
                float(np.exp(self.log_parameters[1])),
                "q must be above 1; else a few customers carry the mean and no expected margin exists",
            )
        )
        far = min(abs(self.correlation_low), abs(self.correlation_high)) > LARGEST_CORRELATION
        far = far and self.correlation_low * self.correlation_high > 0
        near = abs(self.correlation) <= LARGEST_CORRELATION
        ends = f"{self.correlation_low:+.2f} to {self.correlation_high:+.2f}"
        advice = f"correlation of frequency and mean margin ({ends}); the model takes it for 0"
        if not near:
            advice += ": fit groups of customers apart, so that it is small within each"
        rows.append(("frequency and margin", "pass" if near else "fail" if far else "warn", self.correlation, advice))
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])

    def expected_margin(self, frequency: ArrayLike, mean_margin: ArrayLike) -> Floats:
        """Margin expected of a further purchase, currency, shape of the customers; a mean seen 0 times counts for nothing.

        Parameters
        ----------
        frequency : array, shape (customers,)
            Repeat purchases seen.
        mean_margin : array, shape (customers,)
            Their mean margin; also 0 or below, where refunds outweigh.
        """
        x, mean = (np.asarray(each, dtype=np.float64) for each in (frequency, mean_margin))
        return expected_margin(np.exp(self.log_parameters), x, x * mean)

    def parameter_draws(self, generator: np.random.Generator, draws: int) -> Floats:
        """Draws of p, q and gamma, shape (draws, 3)."""
        return np.exp(
            draw_log_parameters(
                self.likelihoods, self.log_parameters, self.covariance, generator=generator, draws=draws
            )
        )


def population_mean(parameters: Floats) -> Floats:
    """Mean margin of a purchase, currency, shape (...); ``parameters`` (..., 3)."""
    p, q, gamma = (parameters[..., place] for place in range(3))
    return np.where(q > 1.0, p * gamma / np.where(q > 1.0, q - 1.0, 1.0), np.inf)


def expected_margin(parameters: Floats, frequency: Floats, total_margin: Floats) -> Floats:
    """Margin expected of a further purchase given the total of those seen, currency; ``parameters`` (3,) or (draws, 3).

    Shape (customers,) or (draws, customers). It is linear in the total, so customers with one frequency can be summed.
    """
    p, q, gamma = (parameters[..., place, None] if parameters.ndim > 1 else parameters[place] for place in range(3))
    return np.asarray(p * (gamma + total_margin) / (p * frequency + q - 1.0))


def fit_gamma_gamma(
    frequency: ArrayLike, mean_margin: ArrayLike, customers: ArrayLike | None = None
) -> SpendModel | str:
    """Fit the gamma-gamma model to mean margins per repeat purchase.

    Parameters
    ----------
    frequency : array, shape (rows,)
        Repeat purchases behind each mean, at least 1.
    mean_margin : array, shape (rows,)
        Currency per repeat purchase, above 0.
    customers : array, shape (rows,), optional
        How many customers a row stands for; 1 by default.

    Returns
    -------
    SpendModel or str
        The reason in words where there are too few customers or no spread.

    Raises
    ------
    InputError
        If shapes differ, or a frequency or mean cannot be.

    Notes
    -----
    Source: Colombo & Jiang (1999), Journal of Interactive Marketing 13:2; Fader, Hardie & Lee (2005), Journal of Marketing Research 42:415;
    likelihood of Fader & Hardie (2013), note 025, equation 1a.

    Examples
    --------
    >>> fit_gamma_gamma([1.0, 2.0], [30.0, 20.0])
    '2 repeat customers with a positive mean margin; at least 30 are needed'
    """
    x, mean = (np.atleast_1d(np.asarray(each, dtype=np.float64)) for each in (frequency, mean_margin))
    weight = np.ones(len(x)) if customers is None else np.atleast_1d(np.asarray(customers, dtype=np.float64))
    if not x.shape == mean.shape == weight.shape:
        raise InputError(
            f"frequency, mean_margin and customers must have one shape; got {x.shape}, {mean.shape}, {weight.shape}"
        )
    if not ((x >= 1) & (mean > 0) & np.isfinite(mean) & (weight > 0)).all():
        raise InputError("every row must have a frequency of at least 1, a mean margin above 0 and some customer")
    total = float(weight.sum())
    if total < FEWEST_CUSTOMERS:
        return f"{total:.0f} repeat customers with a positive mean margin; at least {FEWEST_CUSTOMERS} are needed"
    scale = float(weight @ mean) / total
    if float(weight @ (mean / scale - 1.0) ** 2) / total < 1e-12:
        return "every customer has the same mean margin; there is no spread to fit"
    objective = _objective(x, mean / scale, weight)
    coarse = objective
    if len(x) > START_ROWS:
        rows = np.argsort(mean, kind="stable")[np.linspace(0, len(x) - 1, START_ROWS).astype(np.int64)]
        coarse = _objective(x[rows], mean[rows] / scale, weight[rows] * (total / weight[rows].sum()))
    starts = np.log([[2.0, 3.0, 1.0], [8.0, 4.0, 0.4], [1.0, 2.0, 1.0], [20.0, 10.0, 0.5]])
    found = maximise(objective, coarse, starts)
    shift = np.array([0.0, 0.0, np.log(scale)])
    covariance, _, _ = covariance_of(found.information)
    correlation = _correlation(x, mean, weight)
    reach = NORMAL_975 / np.sqrt(max(total - 3.0, 1.0))
    known = np.isfinite(correlation)
    ends = np.tanh(np.arctanh(np.clip(correlation, -1 + 1e-12, 1 - 1e-12)) + reach * np.array([-1, 1]))
    return SpendModel(
        log_parameters=found.log_parameters + shift,
        covariance=covariance,
        log_likelihood=found.log_likelihood - total * float(np.log(scale)),
        customers=round(total),
        correlation=correlation if known else 0.0,
        correlation_low=float(ends[0]) if known else 0.0,
        correlation_high=float(ends[1]) if known else 0.0,
        optimum=found,
        likelihoods=lambda at: _log_likelihoods(at - shift, x, mean / scale, weight),
    )


def _correlation(x: Floats, mean: Floats, weight: Floats) -> float:
    share = weight / weight.sum()
    a, b = x - share @ x, mean - share @ mean
    spread = float(share @ a**2) * float(share @ b**2)
    return float(share @ (a * b)) / spread**0.5 if spread > 0 else float("nan")


def _log_likelihoods(log_parameters: Floats, x: Floats, mean: Floats, customers: Floats) -> Floats:
    """Log likelihood at each row of log parameters, but for a constant, shape (draws,)."""
    values, place = np.unique(x, return_inverse=True)
    sizes = np.bincount(place, weights=customers)
    logs = float((customers * x) @ np.log(x * mean))
    found = np.empty(len(log_parameters))
    for rows in np.array_split(np.arange(len(found)), max(1, len(found) * len(x) // DRAWN_AT_ONCE)):
        p, q, gamma = (np.exp(log_parameters[rows][:, [place]]) for place in range(3))
        of_counts = special.gammaln(p * values + q) - special.gammaln(p * values)
        both = ((p * x + q) * np.log(gamma + x * mean)) @ customers
        found[rows] = (
            of_counts @ sizes + (q * np.log(gamma) - special.gammaln(q))[:, 0] * customers.sum() + p[:, 0] * logs - both
        )
    return found


def _objective(x: Floats, mean: Floats, customers: Floats) -> Objective:
    """Log likelihood of mean margins and its gradient by the logs of p, q and gamma."""
    log_mean, log_x = np.log(mean), np.log(x)
    values, place = np.unique(x, return_inverse=True)
    sizes = np.bincount(place, weights=customers)
    total = float(customers.sum())
    # of each distinct frequency: number of customers times frequency, and the sum of the log means
    logs = np.bincount(place, weights=customers * log_mean)
    sum_log_mean, sum_xlog = float(customers @ log_mean), float(customers @ (x * log_x))

    def objective(log_parameters: Floats) -> tuple[float, Floats]:
        p, q, gamma = np.exp(log_parameters)
        seen = np.log(gamma + x * mean)
        by_seen = customers * seen
        of_both, of_p = special.psi(p * values + q), special.psi(p * values)
        value = (
            sizes @ (special.gammaln(p * values + q) - special.gammaln(p * values))
            - total * (special.gammaln(q) - q * log_parameters[2])
            + p * (values @ logs)
            - sum_log_mean
            + p * sum_xlog
            - p * (x @ by_seen)
            - q * by_seen.sum()
        )
        over = customers / (gamma + x * mean)
        gradient = np.array(
            [
                sizes @ (values * (of_both - of_p)) + values @ logs + sum_xlog - x @ by_seen,
                sizes @ of_both - total * (special.psi(q) - log_parameters[2]) - by_seen.sum(),
                total * q / gamma - p * (x @ over) - q * over.sum(),
            ]
        )
        return float(value), gradient * np.exp(log_parameters)

    return objective
