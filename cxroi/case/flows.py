"""Money by month as stated: prices, discount factors, the path of a gain, and what programmes cost, save or bring besides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxroi.case import finance
from cxroi.case.programme import Benefit, Case, Cost, Programme, Range, Saving
from cxroi.case.ranges import triangular

Floats = NDArray[np.float64]

MONTHS_OF_A_QUARTER = 3
_STEEPNESS = 10.0


@dataclass(frozen=True, eq=False)
class Part:
    """One stated amount by month, in currency and in prices of each month.

    Attributes
    ----------
    label : str
        Cost category, or the benefit that it belongs to.
    months : ndarray, shape (months + 1,)
        Amount of months 0…H as stated; for a range its factor is the amount and this the months in which it falls.
    factor : ndarray, shape (draws,) or (1,)
        What the amount is multiplied by in each draw; one number where it is certain.
    useful_life_months : int or None
        Over how long a cost is written off in the capitalised view.
    """

    label: str
    months: Floats
    factor: Floats
    useful_life_months: int | None = None


@dataclass(frozen=True, eq=False)
class Stream:
    """Stated amounts of one kind: what a programme spends, or what it saves or brings past the score."""

    parts: tuple[Part, ...]
    horizon_months: int

    def weighted(self, weights: Floats) -> Floats:
        """Sum over months with weights, shape (months + 1,) → (draws,), or (1,) where all is certain."""
        return np.asarray(sum((part.factor * float(part.months @ weights) for part in self.parts), np.zeros(1)))

    def by_month(self, draws: slice = slice(None)) -> Floats:
        """Amounts, shape (draws, months + 1), or (1, months + 1) where all is certain."""
        certain = np.zeros((1, self.horizon_months + 1))
        moved = np.zeros((1, self.horizon_months + 1))
        for part in self.parts:
            if len(part.factor) == 1:
                certain = certain + part.factor[0] * part.months
            else:
                moved = moved + part.factor[draws, None] * part.months
        return np.asarray(certain + moved)

    def mean_by_month(self, label: str | None = None) -> Floats:
        """Mean over the draws of one label, or of all, shape (months + 1,)."""
        known = (part for part in self.parts if label is None or part.label == label)
        return np.asarray(sum((part.factor.mean() * part.months for part in known), np.zeros(self.horizon_months + 1)))

    def later(self, months: int, price: float) -> Stream:
        """The same some months later, at the prices of then, what lies beyond the horizon left out."""
        return replace(
            self, parts=tuple(replace(part, months=_later(part.months, months) * price) for part in self.parts)
        )


def score_path(months: int, *, ramp_months: float, half_life_months: float) -> Floats:
    """Share of the full gain in force in months 1…months, taken in the middle of each month, shape (months,).

    >>> score_path(3, ramp_months=0, half_life_months=math.inf)
    array([1., 1., 1.])
    >>> [round(float(share), 3) for share in score_path(6, ramp_months=4, half_life_months=2)]
    [0.017, 0.219, 0.781, 0.983, 0.841, 0.595]
    """
    time = np.arange(months) + 0.5
    fading = 0.5 ** (np.maximum(time - ramp_months, 0.0) / half_life_months)
    if ramp_months == 0:
        return np.asarray(fading)
    start, end = _logistic(np.zeros(1)), _logistic(np.ones(1))
    return np.asarray((_logistic(np.minimum(time / ramp_months, 1.0)) - start) / (end - start) * fading)


def score_path_by_month(case: Case, programme: Programme) -> Floats:
    """Share of a programme's full gain in force in each month of the quarters that the horizon touches, shape (3 × quarters,)."""
    months = MONTHS_OF_A_QUARTER * quarters_of(case)
    half_life = math.inf if programme.half_life_months == "never" else programme.half_life_months
    path = np.zeros(months)
    begun = min(programme.start_month, months)
    path[begun:] = score_path(months - begun, ramp_months=programme.ramp_months, half_life_months=half_life)
    return path


def score_path_by_quarter(case: Case, programme: Programme) -> Floats:
    """Share of a programme's full gain in force in each quarter: the mean of its months, shape (quarters,)."""
    return np.asarray(score_path_by_month(case, programme).reshape(-1, MONTHS_OF_A_QUARTER).mean(axis=1))


def quarters_of(case: Case) -> int:
    """Quarters that the horizon touches."""
    return math.ceil(case.horizon_months / MONTHS_OF_A_QUARTER)


def discount_factors(case: Case) -> Floats:
    """Discount factors of months 0…H, shape (months + 1,)."""
    time = np.arange(case.horizon_months + 1, dtype=float)
    if case.timing == "mid":
        time[1:] -= 0.5
    return np.asarray((1.0 + finance.periodic_rate(case.annual_discount_rate, 12)) ** -time)


def prices(case: Case) -> Floats:
    """Prices of months 0…H over those of the start, shape (months + 1,); 1 without inflation."""
    rate = case.annual_inflation_rate or 0.0
    return np.asarray((1.0 + rate) ** (np.arange(case.horizon_months + 1) / 12.0))


def month_weights(case: Case) -> Floats:
    """Present value of one unit of money in prices of the start, in months 0…H, shape (months + 1,)."""
    return discount_factors(case) * prices(case)


def by_quarter(monthly: Floats) -> Floats:
    """Sum of months 1…H by quarter, of which each month carries a third, shape (months,) → (quarters,)."""
    return np.add.reduceat(monthly, np.arange(0, len(monthly), MONTHS_OF_A_QUARTER)) / MONTHS_OF_A_QUARTER


def present_value(case: Case, stream: Stream) -> Floats:
    """Present value after tax, shape (draws,), or (1,) where all is certain."""
    return (1.0 - case.tax_rate) * stream.weighted(discount_factors(case))


def a_quarter_later(quarters: Floats) -> Floats:
    """What happens in each quarter, a quarter later, shape (…, quarters)."""
    moved = np.zeros_like(quarters)
    moved[..., 1:] = quarters[..., :-1]
    return moved


def costs_of(case: Case, programme: Programme, overrun: Floats) -> Stream:
    """What a programme spends; ``overrun`` is the probability at which all its overruns are taken, shape (draws,)."""
    parts = []
    for cost in programme.costs:
        months = planned(case, cost)
        factor = np.ones(1) if cost.overrun is None else 1.0 + _amount(cost.overrun, overrun)
        parts.append(Part(str(cost.category), months, factor, cost.useful_life_months))
    return Stream(tuple(parts), case.horizon_months)


def planned(case: Case, cost: Cost) -> Floats:
    """A cost as stated, without any overrun, in the case's currency and in prices of each month, shape (months + 1,)."""
    return cost.amount * exchange_rate(case, cost.currency) * _in_months(case, cost)


def savings_of(case: Case, programme: Programme, luck: Floats | None) -> Stream:
    """What a programme saves past any customer measure, at a probability, shape (draws,); None for the stated modes."""
    parts = (
        Part("savings", exchange_rate(case, saving.currency) * _in_months(case, saving), _amount(saving.amount, luck))
        for saving in programme.savings
    )
    return Stream(tuple(parts), case.horizon_months)


def stated_benefits_of(case: Case, programme: Programme, luck: Floats) -> Stream:
    """Benefits for which a figure and its source are stated, at their probability, shape (draws,)."""
    parts = (
        Part(str(benefit.benefit), _in_months(case, benefit), _amount(benefit.amount, luck))
        for benefit in programme.benefits
        if benefit.amount is not None
    )
    return Stream(tuple(parts), case.horizon_months)


def _amount(stated: Range, luck: Floats | None) -> Floats:
    """Draws of a stated range, or the one number of a certain one."""
    if luck is None or stated.certain:
        return np.array([stated.mode])
    return triangular(luck, stated.low, stated.mode, stated.high)


def _in_months(case: Case, stated: Cost | Saving | Benefit) -> Floats:
    """Price in the months in which an amount falls, 0 in the others, shape (months + 1,)."""
    months = np.zeros(case.horizon_months + 1)
    months[stated.months.start : stated.months.stop] = prices(case)[stated.months.start : stated.months.stop]
    return months


def exchange_rate(case: Case, currency: str | None) -> float:
    """Units of the case's currency for one of another."""
    return 1.0 if currency is None or currency == case.currency else case.exchange_rates[currency]


def _later(months: Floats, by: int) -> Floats:
    """Amounts moved by some months, shape (months + 1,)."""
    moved = np.zeros_like(months)
    moved[by:] = months[: max(len(months) - by, 0)]
    return moved


def _logistic(share: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-_STEEPNESS * (share - 0.5))))
