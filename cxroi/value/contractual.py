"""Retention under a contract: the shifted beta-geometric model (sBG).

At every renewal a customer leaves with an own probability, which is beta distributed over customers. Those likely to leave go first, so
retention rises with age although nobody changes: there is no constant churn whose reciprocal would be a lifetime.

The share lost at renewal t of those who reached it is ``θ / (1 + σ(t−1))`` with θ = α/(α+β), the mean probability, and σ = 1/(α+β), how
fast the likely leavers go. σ = 0 is the same probability for everybody (geometric). A customer first seen at age e counts from renewal e+1
on, which is the likelihood given survival to e, so cohorts of any age, joined at any time and still there, are pooled by age.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from cxroi import periods
from cxroi.errors import InputError
from cxroi.panel import period_of
from cxroi.tables import Tables
from cxroi.value.histories import EVERYBODY, MONEY_DIGITS, check_levels, looked_at, sampled_every

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]

COLUMNS = ("age", "at_risk", "lost")
NORMAL_975 = float(special.ndtri(0.975))
FEWEST_LOST = 10
FLAT_SD = 1.0  # log units of α + β
SAME_FOR_ALL = 1e-7  # σ at or below which everybody counts as alike
STARTS = ((0.1, 0.02), (0.3, 0.5), (0.5, 2.0))
MOST_PERIODS = 100_000
MOST_STEPS = 200
NEVER = 10**6  # index of the quarter in which a customer leaves who has not left
DAYS_OF_GRACE = 7
QUARTERS_OF_A_YEAR = 4


@dataclass(frozen=True, eq=False, repr=False)
class RetentionModel:
    """A fitted sBG model; a period is one renewal.

    Attributes
    ----------
    theta : float
        Mean probability of leaving at the first renewal.
    sigma : float
        1/(α+β): 0 where all customers are alike.
    covariance : array, shape (2, 2)
        Of log α and log β; NaN where σ is 0.
    log_likelihood : float
    survivors : DataFrame
        ``age, at_risk, lost`` that it was fitted to.
    """

    theta: float
    sigma: float
    covariance: Floats
    log_likelihood: float
    survivors: pd.DataFrame
    slope: float = 0.0
    starts_agreeing: int = 0

    def __repr__(self) -> str:
        return repr(self.tidy())

    @property
    def alpha(self) -> float:
        """First parameter of the beta distribution; infinite where all customers are alike."""
        return self.theta / self.sigma if self.sigma > 0 else np.inf

    @property
    def beta(self) -> float:
        """Second parameter of the beta distribution; infinite where all customers are alike."""
        return (1.0 - self.theta) / self.sigma if self.sigma > 0 else np.inf

    @property
    def customers(self) -> float:
        """Customer-periods at risk."""
        return float(self.survivors["at_risk"].sum())

    def tidy(self) -> pd.DataFrame:
        """One row a parameter: ``parameter, estimate, std_error, conf_low, conf_high`` (95 %, on the log scale)."""
        estimate = np.array([self.alpha, self.beta])
        error = np.sqrt(np.diag(self.covariance))
        with np.errstate(over="ignore", invalid="ignore"):
            return pd.DataFrame(
                {
                    "parameter": ["alpha", "beta"],
                    "estimate": estimate,
                    "std_error": estimate * error,
                    "conf_low": estimate * np.exp(-NORMAL_975 * error),
                    "conf_high": estimate * np.exp(NORMAL_975 * error),
                }
            )

    def glance(self) -> pd.DataFrame:
        """One row: customer-periods at risk, lost, oldest age seen, log likelihood, retention at the first renewal."""
        seen = self.survivors[self.survivors["at_risk"] > 0]
        return pd.DataFrame(
            {
                "at_risk": [self.customers],
                "lost": [float(seen["lost"].sum())],
                "oldest_age": [int(seen["age"].max())],
                "log_likelihood": [self.log_likelihood],
                "first_retention": [1.0 - self.theta],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Convergence, whether heterogeneity is seen, fit by age: ``name, verdict, number, advice``."""
        scale = max(abs(self.log_likelihood), 1.0)
        rows = [
            (
                "convergence",
                "pass" if self.slope < 1e-6 * scale else "fail",
                self.slope / scale,
                "largest slope of the log likelihood at the estimate, over its size",
            ),
            (
                "starts agree",
                "pass" if self.starts_agreeing == len(STARTS) else "warn",
                float(self.starts_agreeing),
                f"of {len(STARTS)} starts reach the same log likelihood",
            ),
        ]
        spread = float(np.sqrt(np.array([self.theta, 1 - self.theta]) @ self.covariance @ [self.theta, 1 - self.theta]))
        alike = self.sigma <= SAME_FOR_ALL
        advice = "standard deviation of log(α+β): how far customers differ in their probability of leaving"
        if alike:
            advice = "retention does not rise with age, so α and β are not known apart from their ratio; all customers count as alike"
        elif not spread <= FLAT_SD:
            advice += "; only the ratio of α and β is known well: survival far beyond the ages seen is uncertain"
        rows.append(("identification", "pass" if not alike and spread <= FLAT_SD else "warn", spread, advice))
        rows.append(self._fit_check())
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])

    def _fit_check(self) -> tuple[str, str, float, str]:
        """Pearson's statistic by age over its degrees of freedom, ages with few expected losses pooled."""
        expected = self.survivors["at_risk"].to_numpy(dtype=np.float64) * self._hazard(
            self.survivors["age"].to_numpy(dtype=np.float64)
        )
        group = np.floor(np.cumsum(expected) / 5.0)
        sums = pd.DataFrame(
            {
                "lost": self.survivors["lost"].to_numpy(dtype=np.float64),
                "expected": expected,
                "variance": expected * (1.0 - self._hazard(self.survivors["age"].to_numpy(dtype=np.float64))),
            }
        )
        sums = sums.groupby(group).sum()
        freedom = max(len(sums) - 2, 0)
        if freedom == 0:
            return ("fit by age", "warn", np.nan, "too few ages to compare lost customers with those expected")
        statistic = float(((sums["lost"] - sums["expected"]) ** 2 / sums["variance"]).sum())
        p_value = float(special.chdtrc(freedom, statistic))
        return (
            "fit by age",
            "pass" if p_value > 0.01 else "warn",
            statistic / freedom,
            f"lost against expected by age, squared and standardised (1 where the model holds; p = {p_value:.3f})",
        )

    def _hazard(self, age: Floats) -> Floats:
        return np.asarray(self.theta / (1.0 + self.sigma * (age - 1.0)))

    def retention(self, age: ArrayLike) -> Floats:
        """Share that renews at renewal ``age`` (1, 2, …) of those who reached it, shape of ``age``.

        Examples
        --------
        >>> RetentionModel.of(alpha=0.704, beta=1.182).retention([1, 2]).round(3).tolist()
        [0.627, 0.756]
        """
        return np.asarray(1.0 - self._hazard(np.asarray(age, dtype=np.float64)))

    def survival(self, age: ArrayLike, *, since: int = 0) -> Floats:
        """Share still there after renewal ``age`` of those there after renewal ``since``, shape of ``age``.

        Examples
        --------
        >>> RetentionModel.of(alpha=0.704, beta=1.182).survival([0, 1, 12]).round(3).tolist()
        [1.0, 0.627, 0.17]
        """
        found = survival_of(np.array([[self.theta, self.sigma]]), np.asarray(age, dtype=np.int64), since=since)
        return np.asarray(found[0])

    def expected_lifetime(self, discount_rate: float, *, since: int = 0, after_renewal: bool = False) -> float:
        """Discounted expected lifetime in periods: Σ S(t)/S(since) discounted to now.

        Parameters
        ----------
        discount_rate : float
            Per period, above 0.
        since : int
            Renewals behind the customer.
        after_renewal : bool
            False counts this period's payment too (DEL of a new customer); True counts from the next renewal on, and discounts it by
            nothing, because it is just due (residual: DERL of Fader & Hardie 2010).

        Raises
        ------
        InputError
            If the rate is not above 0.

        Examples
        --------
        >>> round(RetentionModel.of(alpha=0.7041, beta=1.182).expected_lifetime(0.10), 2)
        3.69
        """
        if not discount_rate > 0:
            raise InputError(f"discount_rate must be above 0 per period, e.g. 0.1; got {discount_rate}")
        periods = int(min(MOST_PERIODS, np.ceil(35.0 / np.log1p(discount_rate))))
        first = 1 if after_renewal else 0
        later = np.arange(first, first + periods)
        factors = np.exp(-np.log1p(discount_rate) * np.arange(periods))
        return float(self.survival(since + later, since=since) @ factors)

    def median_lifetime(self, horizon: int) -> int | None:
        """Renewal by which half of new customers have left; None where that is not reached within ``horizon`` renewals."""
        below = np.flatnonzero(self.survival(np.arange(1, horizon + 1)) <= 0.5)
        return int(below[0]) + 1 if len(below) else None

    def parameter_draws(self, generator: np.random.Generator, draws: int) -> Floats:
        """Draws of (θ, σ), shape (draws, 2): losses drawn anew at the estimate and fitted again (parametric bootstrap).

        This keeps the interval right where customers are nearly alike and σ ends at 0.
        """
        age, at_risk, _ = (self.survivors[name].to_numpy(dtype=np.float64) for name in COLUMNS)
        whole = np.maximum(np.round(at_risk), 1.0)
        lost = generator.binomial(whole.astype(np.int64), self._hazard(age), (draws, len(age)))
        return _fit_many(age, at_risk, lost * (at_risk / whole), start=(self.theta, self.sigma))

    @classmethod
    def of(cls, *, alpha: float, beta: float) -> RetentionModel:
        """A model with known parameters, for published figures and simulation; no data, no errors."""
        return cls(
            theta=alpha / (alpha + beta),
            sigma=1.0 / (alpha + beta),
            covariance=np.zeros((2, 2)),
            log_likelihood=np.nan,
            survivors=pd.DataFrame(columns=list(COLUMNS)),
        )


def survival_of(parameters: Floats, age: NDArray[np.int64], *, since: int = 0) -> Floats:
    """Share still there after renewal ``age`` given ``since``, for each row (θ, σ), shape (draws, ages)."""
    if not ((age >= since).all() and since >= 0):
        raise InputError(
            f"age must not lie before since ({since}), nor since before 0; the youngest age is {age.min()}"
        )
    last = int(age.max(initial=since))
    step = np.arange(since, last, dtype=np.float64)
    theta, sigma = parameters[:, :1], parameters[:, 1:]
    kept = np.log1p(-np.minimum(theta / (1.0 + sigma * step), 1.0 - 1e-16))
    path = np.concatenate([np.zeros((len(parameters), 1)), np.cumsum(kept, axis=1)], axis=1)
    return np.asarray(np.exp(path[:, (age - since).ravel()]).reshape(len(parameters), *age.shape))


def survivors_of(still_there: ArrayLike, customers: float) -> pd.DataFrame:
    """Counts of one cohort from its survival curve: ``age, at_risk, lost``.

    Parameters
    ----------
    still_there : array, shape (periods + 1,)
        Share (or percent) there at ages 0, 1, 2, …; falling.
    customers : float
        Size of the cohort at age 0.

    Examples
    --------
    >>> survivors_of([1.0, 0.6, 0.5], 1000)["lost"].tolist()
    [400.0, 100.0]
    """
    share = np.asarray(still_there, dtype=np.float64)
    if len(share) < 2 or not (np.diff(share) <= 0).all() or not share[0] > 0 or not share[-1] >= 0:
        raise InputError("a survival curve must have at least two points, start above 0 and never rise")
    count = customers * share / share[0]
    return pd.DataFrame({"age": np.arange(1, len(share)), "at_risk": count[:-1], "lost": -np.diff(count)})


def fit_sbg(survivors: pd.DataFrame) -> RetentionModel | str:
    """Fit the sBG model to counts of customers lost and still there by age.

    Parameters
    ----------
    survivors : DataFrame
        ``age`` (renewal 1, 2, …), ``at_risk`` (customers who reached that renewal under observation), ``lost`` (those who did not renew).
        Cohorts are pooled by adding their counts; a customer who is still there simply stops being counted (right-censored), one first
        seen at age e is counted from renewal e + 1 (left-truncated).

    Returns
    -------
    RetentionModel or str
        The reason in words where fewer than 10 customers were lost, or all were.

    Raises
    ------
    InputError
        If counts are impossible.

    Notes
    -----
    Source: Fader & Hardie (2007), Journal of Interactive Marketing 21:76; several cohorts, Fader & Hardie (2010), Marketing Science 29:85.

    Examples
    --------
    >>> regular = [100, 63.1, 46.8, 38.2, 32.6, 28.9, 26.2, 24.1]
    >>> found = fit_sbg(survivors_of(regular, 1000))
    >>> round(found.alpha, 3), round(found.beta, 3)
    (0.704, 1.182)
    """
    missing = [name for name in COLUMNS if name not in survivors]
    if missing:
        raise InputError(f"survivors must have the columns age, at_risk and lost; {', '.join(missing)} is missing")
    counts = survivors[list(COLUMNS)].astype(np.float64).groupby("age", as_index=False).sum()
    age, at_risk, lost = (counts[name].to_numpy() for name in COLUMNS)
    if not ((age >= 1) & (age == np.floor(age)) & (lost >= 0) & (lost <= at_risk * (1 + 1e-9))).all():
        raise InputError("survivors must have whole ages from 1 on, and between 0 and at_risk lost at each")
    if lost.sum() < FEWEST_LOST:
        return f"{lost.sum():.0f} customers left; at least {FEWEST_LOST} are needed"
    if lost.sum() >= at_risk.sum():
        return "nobody renewed, so there is no retention to fit"
    kept = np.flatnonzero(at_risk > 0)
    age, at_risk, lost = age[kept], at_risk[kept], lost[kept]
    ends = np.vstack([_fit_many(age, at_risk, lost[None, :], start=start) for start in STARTS])
    reached, gradients, informations = _log_likelihood(ends, age, at_risk, lost[None, :])
    best = int(np.argmax(reached))
    theta, sigma = ends[best]
    if sigma <= SAME_FOR_ALL:
        sigma, covariance = 0.0, np.full((2, 2), np.nan)
    else:
        covariance = _covariance_of_logs(theta, sigma, informations[best])
    return RetentionModel(
        theta=float(theta),
        sigma=float(sigma),
        covariance=covariance,
        log_likelihood=float(reached[best]),
        survivors=counts.iloc[kept].reset_index(drop=True),
        slope=float(np.abs(gradients[best] * [theta * (1 - theta), sigma]).max()),
        starts_agreeing=int((reached > reached.max() - 1e-4).sum()),
    )


def _log_likelihood(at: Floats, age: Floats, at_risk: Floats, lost: Floats) -> tuple[Floats, Floats, Floats]:
    """Log likelihood (rows,), gradient (rows, 2) and observed information (rows, 2, 2) at each row's (θ, σ); ``lost`` (rows, ages)."""
    theta, sigma = at[:, :1], at[:, 1:]
    later = age - 1.0
    grown, kept = 1.0 + sigma * later, at_risk - lost
    staying = grown - theta
    gone = lost.sum(axis=1)
    value = (lost * np.log(theta / grown) + kept * np.log(staying / grown)).sum(axis=1)
    gradient = np.column_stack(
        [
            gone / theta[:, 0] - (kept / staying).sum(axis=1),
            (kept * later / staying - at_risk * later / grown).sum(axis=1),
        ]
    )
    both = -(kept * later / staying**2).sum(axis=1)
    first = gone / theta[:, 0] ** 2 + (kept / staying**2).sum(axis=1)
    second = (kept * later**2 / staying**2 - at_risk * later**2 / grown**2).sum(axis=1)
    return value, gradient, np.stack([np.stack([first, both], axis=-1), np.stack([both, second], axis=-1)], axis=-2)


def _covariance_of_logs(theta: float, sigma: float, information: Floats) -> Floats:
    """Covariance of log α and log β from the information on (θ, σ)."""
    values, vectors = np.linalg.eigh(information)
    inverse = (vectors / np.maximum(values, 1e-12 * values[-1])) @ vectors.T
    by_theta_sigma = np.array([[1.0 / theta, -1.0 / sigma], [-1.0 / (1.0 - theta), -1.0 / sigma]])
    return np.asarray(by_theta_sigma @ inverse @ by_theta_sigma.T)


def _fit_many(age: Floats, at_risk: Floats, lost: Floats, *, start: tuple[float, float]) -> Floats:
    """(θ, σ) of highest likelihood for each row of losses, shape (rows, 2): damped Newton steps of all rows at once, σ at least 0."""
    rows = len(lost)
    at = np.tile(np.array(start, dtype=np.float64), (rows, 1))
    damping = np.full(rows, 1e-3)
    value, gradient, information = _log_likelihood(at, age, at_risk, lost)
    for _ in range(MOST_STEPS):
        held = (at[:, 1] <= 0.0) & (gradient[:, 1] <= 0.0)  # at the edge: everybody alike
        matrix, slope = information.copy(), gradient.copy()
        matrix[held, 0, 1] = matrix[held, 1, 0] = slope[held, 1] = 0.0
        size = np.abs(np.einsum("rii->ri", information)) + 1e-12
        size[held, 1] = 1.0
        matrix[held, 1, 1] = 1.0
        matrix += damping[:, None, None] * (size[:, :, None] * np.eye(2))
        determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] ** 2
        good = (determinant > 0) & (matrix[:, 0, 0] > 0)
        step = (
            np.column_stack(
                [
                    matrix[:, 1, 1] * slope[:, 0] - matrix[:, 0, 1] * slope[:, 1],
                    matrix[:, 0, 0] * slope[:, 1] - matrix[:, 0, 1] * slope[:, 0],
                ]
            )
            / np.where(good, determinant, 1.0)[:, None]
        )
        moved = at + step
        theta = np.clip(moved[:, 0], at[:, 0] / 4.0, 1.0 - (1.0 - at[:, 0]) / 4.0)
        moved = np.column_stack([theta, np.clip(moved[:, 1], 0.0, 4.0 * at[:, 1] + 1.0)])
        new = _log_likelihood(moved, age, at_risk, lost)
        better = good & (new[0] >= value)
        done = np.abs(moved - at).max(axis=1) < 1e-11
        at[better] = moved[better]
        value, gradient, information = (
            np.where(better.reshape(-1, *[1] * (one.ndim - 1)), one, other)
            for one, other in zip(new, (value, gradient, information), strict=True)
        )
        damping = np.where(better, np.maximum(damping / 10.0, 1e-12), damping * 10.0)
        if (done | (damping > 1e12)).all():
            break
    return at


@dataclass(frozen=True, eq=False, repr=False)
class ContractCustomers:
    """Customers under contract by quarter of joining and leaving, and what they brought in the last whole year.

    Attributes
    ----------
    cells : DataFrame
        ``level, joined, left`` (indices of quarters; ``left`` a million where the customer is still there), ``customers``.
    margins : DataFrame
        ``level`` and sums over customers of the last year's quarters: ``margin`` (M, of customers there when the quarter began),
        ``margin_square`` (M²), ``margin_quarters`` (M·R) with R the quarters at whose end the customer was still there; ``joining_margin``
        (of the quarter of joining, of those who joined in it) and ``joining_square``.
    first_quarter, last_quarter : int
        First quarter whose leavers are all seen, last one that is over.
    year_from : int
        First quarter of ``margins``.
    every : int
        One customer in so many was looked at for ``margins``, which are multiplied up.
    """

    cells: pd.DataFrame
    margins: pd.DataFrame
    first_quarter: int
    last_quarter: int
    year_from: int
    every: int
    currency: str

    def __repr__(self) -> str:
        return repr(self.cells)

    @property
    def levels(self) -> list[str]:
        """Levels, sorted."""
        return sorted(self.cells["level"].unique())

    @property
    def opening_age(self) -> int:
        """Quarters since the first one, at the end of the last: the age of customers on the clock of the data."""
        return self.last_quarter - self.first_quarter + 1

    def of_level(self, level: str) -> pd.DataFrame:
        """Cells of one level, or of all."""
        return self.cells if level == EVERYBODY else self.cells[self.cells["level"] == level]

    def survivors(self, level: str = EVERYBODY, *, clock: str = "joining") -> dict[str, pd.DataFrame]:
        """``age, at_risk, lost`` by part of the base.

        ``joining``: one part ``all``, by quarters since joining; those who had joined before the first quarter count from their age
        then (left-truncated). ``data``: parts ``joined`` (since the first quarter, by quarters since joining) and ``opening`` (there
        before, by quarters since the first one).
        """
        cells = self.parted(self.of_level(level), clock)
        found: dict[str, list[pd.DataFrame]] = {}
        for quarter in range(self.first_quarter, self.last_quarter + 1):
            there = cells[(cells["joined"] < quarter) & (cells["left"] >= quarter)]
            age = np.where(there["part"] == "opening", quarter - self.first_quarter + 1, quarter - there["joined"])
            lost = np.where(there["left"] == quarter, there["customers"], 0)
            rows = pd.DataFrame({"part": there["part"], "age": age, "at_risk": there["customers"], "lost": lost})
            for part, own in rows.groupby("part"):
                found.setdefault(str(part), []).append(own.drop(columns="part"))
        return {part: pd.concat(rows).groupby("age", as_index=False).sum() for part, rows in found.items()}

    def active(self, level: str = EVERYBODY, *, clock: str = "joining") -> pd.DataFrame:
        """``part, age, customers`` of those there at the end of the last quarter."""
        cells = self.parted(self.of_level(level), clock)
        there = cells[cells["left"] > self.last_quarter]
        age = np.where(there["part"] == "opening", self.opening_age, self.last_quarter - there["joined"])
        rows = pd.DataFrame({"part": there["part"], "age": age, "customers": there["customers"]})
        return rows.groupby(["part", "age"], as_index=False).sum()

    def parted(self, cells: pd.DataFrame, clock: str) -> pd.DataFrame:
        """The cells with ``part``: which of the clock's parts of the base they belong to."""
        opening = (cells["joined"] < self.first_quarter - 1).to_numpy()
        part = np.where(opening, "opening", "joined") if clock == "data" else np.full(len(cells), EVERYBODY)
        return cells.assign(part=part)

    def margin_per_quarter(self, level: str = EVERYBODY) -> tuple[float, float]:
        """Margin per customer still there at a quarter's end, currency a quarter, over the last year, and its standard error.

        A ratio of sums over customers; what leavers brought in the quarter they left counts. Errors are by customer, as if customers were
        drawn from a larger population.
        """
        sums = self._sums(level)
        cells = self.of_level(level)
        first = np.maximum(cells["joined"] + 1, self.year_from)
        quarters = np.maximum(np.minimum(cells["left"] - 1, self.last_quarter) - first + 1, 0).to_numpy(
            dtype=np.float64
        )
        n = cells["customers"].to_numpy(dtype=np.float64)
        total = float(n @ quarters)
        if total == 0:
            return float("nan"), float("nan")
        mean = float(sums["margin"]) / total
        spread = sums["margin_square"] - 2 * mean * sums["margin_quarters"] + mean**2 * float(n @ quarters**2)
        return mean, float(np.sqrt(max(self.every * spread, 0.0))) / total

    def mean_square(self, level: str = EVERYBODY) -> float:
        """Mean square over customers of their margin per quarter of the last year, squared currency."""
        cells = self.of_level(level)
        first = np.maximum(cells["joined"] + 1, self.year_from)
        quarters = np.maximum(np.minimum(cells["left"] - 1, self.last_quarter) - first + 1, 0).to_numpy(
            dtype=np.float64
        )
        weight = cells["customers"].to_numpy(dtype=np.float64) @ quarters**2
        return float(self._sums(level)["margin_square"]) / max(float(weight), 1.0)

    def joining(self, level: str = EVERYBODY) -> tuple[int, float, float, float]:
        """Of the year's joiners: number, share still there at the end of the quarter of joining, margin in it and its standard error."""
        cells, sums = self.of_level(level), self._sums(level)
        new = cells[(cells["joined"] >= self.year_from) & (cells["joined"] <= self.last_quarter)]
        n = int(new["customers"].sum())
        if n == 0:
            return 0, np.nan, np.nan, np.nan
        stayed = float(new.loc[new["left"] > new["joined"], "customers"].sum()) / n
        mean = float(sums["joining_margin"]) / n
        variance = max(float(sums["joining_square"]) / n - mean**2, 0.0)
        return n, stayed, mean, float(np.sqrt(self.every * variance / n))

    def _sums(self, level: str) -> pd.Series:
        own = self.margins if level == EVERYBODY else self.margins[self.margins["level"] == level]
        return own.drop(columns="level").sum()


def contract_customers(
    tables: Tables, *, until: dt.date | None = None, by: str | None = None
) -> ContractCustomers | str:
    """Count customers under contract by quarter of joining and leaving, with the margin of the last year.

    Parameters
    ----------
    tables : Tables
    until : date, optional
        Nothing after this day is looked at; by default the last day of the data.
    by : str, optional
        A column of customers.

    Returns
    -------
    ContractCustomers or str
        The reason in words where there are no contracts or no transactions, or too little time.
    """
    if tables.transactions is None or tables.data_end is None:
        return "the data have no transactions"
    if "left_on" not in tables.customers.collect_schema().names():
        return "customers have no left_on, so nobody is known to have left a contract"
    end = tables.data_end if until is None else min(until, tables.data_end)
    last = periods.containing(end)
    if (periods.end(last) - end).days > DAYS_OF_GRACE:
        last -= 1
    began = tables.transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0].date()
    first = periods.containing(began)
    if (began - periods.start(first)).days > DAYS_OF_GRACE:
        first += 1
    if last - first + 1 < 2:
        return "at least two whole quarters of transactions are needed"
    spans = _spans(tables, by)
    counted = spans.group_by("level", "joined", "left").agg(nw.len().alias("customers"))
    counts: pd.DataFrame = counted.collect("pandas").to_native()
    check_levels(counts["level"].nunique(), by)
    counts = counts[(counts["joined"] <= last) & (counts["left"] >= first)]
    counts = counts.assign(left=counts["left"].where(counts["left"] <= last, NEVER))
    keys = ["level", "joined", "left"]
    cells = counts.groupby(keys, as_index=False, sort=True).agg(customers=("customers", "sum"))
    cells = cells.astype({"joined": np.int64, "left": np.int64, "customers": np.int64, "level": object})
    year_from = max(first, last - QUARTERS_OF_A_YEAR + 1)
    every = sampled_every(tables)
    margins = _margins(tables, spans, (year_from, last), every)
    return ContractCustomers(
        cells=cells,
        margins=margins,
        first_quarter=first,
        last_quarter=last,
        year_from=year_from,
        every=every,
        currency=tables.config.currency or "",
    )


def margin_by_quarter(tables: Tables, *, there_at: int, until_quarter: int) -> pd.DataFrame:
    """Margin after quarter ``there_at`` of the customers who were under contract at its end.

    Returns
    -------
    DataFrame
        ``quarter, margin`` (currency), ``square`` (sum of the squares of single transactions' margins: the variance of the sum, were
        orders to come at random).
    """
    assert tables.transactions is not None
    begin, stop = (dt.datetime.combine(periods.start(q + 1), dt.time()) for q in (there_at, until_quarter))
    there = _spans(tables, None).filter((nw.col("joined") <= there_at) & (nw.col("left") > there_at))
    every = sampled_every(tables)
    if every > 1:
        there = there.join(looked_at(tables, every, None).select("customer_id"), on="customer_id", how="semi")
    inside = tables.transactions.filter(
        (nw.col("occurred_at") >= nw.lit(begin)) & (nw.col("occurred_at") < nw.lit(stop))
    )
    summed = (
        inside.join(there.select("customer_id"), on="customer_id", how="semi")
        .with_columns(quarter=period_of("occurred_at", "quarter"), margin=nw.col("margin").fill_null(0.0))
        .with_columns(square=nw.col("margin") * nw.col("margin"))
        .group_by("quarter")
        .agg(nw.col("margin").sum(), nw.col("square").sum())
    )
    found: pd.DataFrame = summed.collect("pandas").to_native()
    found = found.set_index("quarter").reindex(range(there_at + 1, until_quarter + 1), fill_value=0.0)
    return (found.astype(np.float64) * [every, every**2]).rename_axis("quarter").reset_index()


def _spans(tables: Tables, by: str | None) -> Frame:
    levels = looked_at(tables, 1, by)
    dates = tables.customers.select("customer_id", "joined_on", "left_on").with_columns(
        left_on=nw.col("left_on").fill_null(dt.datetime(2200, 1, 1))
    )
    return dates.join(levels, on="customer_id", how="inner").select(
        "customer_id", "level", joined=period_of("joined_on", "quarter"), left=period_of("left_on", "quarter")
    )


def _margins(tables: Tables, spans: Frame, year: tuple[int, int], every: int) -> pd.DataFrame:
    """Sums of the year's margins by level; see :class:`ContractCustomers`. Of a sample, multiplied up."""
    assert tables.transactions is not None
    begin, stop = (dt.datetime.combine(day, dt.time()) for day in (periods.start(year[0]), periods.start(year[1] + 1)))
    inside = tables.transactions.filter(
        (nw.col("occurred_at") >= nw.lit(begin)) & (nw.col("occurred_at") < nw.lit(stop))
    )
    if every > 1:
        chosen = looked_at(tables, every, None).select("customer_id")
        inside = inside.join(chosen, on="customer_id", how="semi")
    of_quarter = (
        inside.with_columns(quarter=period_of("occurred_at", "quarter"), margin=nw.col("margin").fill_null(0.0))
        .group_by("customer_id", "quarter")
        .agg(nw.col("margin").sum())
        .join(spans, on="customer_id", how="inner")
        .filter((nw.col("joined") <= nw.col("quarter")) & (nw.col("left") >= nw.col("quarter")))
        .with_columns(
            standing=nw.when(nw.col("joined") < nw.col("quarter")).then(nw.col("margin")).otherwise(0.0),
            joining=nw.when(nw.col("joined") == nw.col("quarter")).then(nw.col("margin")).otherwise(0.0),
        )
    )
    from_quarter = nw.max_horizontal(nw.col("joined") + 1, nw.lit(year[0]))
    to_quarter = nw.min_horizontal(nw.col("left") - 1, nw.lit(year[1]))
    each = (
        of_quarter.group_by("customer_id", "level", "joined", "left")
        .agg(nw.col("standing").sum(), nw.col("joining").sum())
        .with_columns(quarters=nw.max_horizontal(to_quarter - from_quarter + 1, nw.lit(0)).cast(nw.Float64))
        .with_columns(
            margin=nw.col("standing").round(MONEY_DIGITS),
            margin_square=nw.col("standing") * nw.col("standing"),
            margin_quarters=nw.col("standing") * nw.col("quarters"),
            joining_margin=nw.col("joining").round(MONEY_DIGITS),
            joining_square=nw.col("joining") * nw.col("joining"),
        )
    )
    names = ["margin", "margin_square", "margin_quarters", "joining_margin", "joining_square"]
    found: pd.DataFrame = (
        each.group_by("level").agg(*(nw.col(name).sum() for name in names)).collect("pandas").to_native()
    )
    found = found.sort_values("level", ignore_index=True).astype({"level": object})
    found[names] = found[names].astype(np.float64) * every
    return found
