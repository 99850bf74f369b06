"""The one identity of customer value: what a customer is worth, and what a joint change of its terms adds.

``value = Σ_t d_t · S_t · (orders_t × margin per order − service cost_t) + referrals × (value of those who would not have come
+ saved acquisition cost of those who would) − acquisition cost``, with ``d_t = (1 + i)^−t`` and ``S_t`` the product of the
retention of periods 1…t: margin falls due at the end of a period, from those who are still there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cxroi.errors import InputError
from cxroi.tables.violation import suggestion

Floats = NDArray[np.float64]

BY_PERIOD = ("retention", "orders", "margin_per_order", "service_cost")
ONCE = ("referrals", "would_have_come", "referred_value", "saved_acquisition_cost", "acquisition_cost")
TERMS = (*BY_PERIOD, *ONCE)
SHARES = frozenset({"retention", "would_have_come"})

BENEFITS: dict[str, frozenset[str]] = {
    "retention": frozenset({"retention"}),
    "stay_and_spend": frozenset({"retention", "orders", "margin_per_order"}),
    "referrals": frozenset({"referrals", "would_have_come", "referred_value", "saved_acquisition_cost"}),
    "trial_and_forgiveness": frozenset({"retention", "orders"}),
    "lifetime_value": frozenset({"retention", "orders", "margin_per_order", "service_cost"}),
    "acquisition_and_price": frozenset({"saved_acquisition_cost", "acquisition_cost", "margin_per_order"}),
    "cost_to_serve": frozenset({"service_cost", "acquisition_cost"}),
    "workplace": frozenset(),
    "better_world": frozenset(),
    "culture": frozenset(),
}
"""The ten benefits in their usual order and the terms of the identity that each one holds; the last three hold none."""

ALSO_CALLED = {"churn_saved": "retention", "change_in_ltv": "lifetime_value", "spend": "stay_and_spend"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueTerms:
    """Terms of one customer's value; every term a number, one number a draw, or a path over the periods.

    A term is of shape () or (draws,); ``retention``, ``orders``, ``margin_per_order`` and ``service_cost`` may also be of shape
    (draws, periods) or (1, periods). Money is in one currency; rates and horizon have no default.

    Attributes
    ----------
    retention : array_like
        Share of the customers at the start of a period who are still there at its end, 0..1.
    orders, margin_per_order, service_cost : array_like
        Orders, margin of an order and cost to serve, per remaining customer and period.
    referrals : array_like
        New customers referred by one customer over the horizon, counted at present value.
    would_have_come : array_like
        Share of them who would have come anyway, 0..1.
    referred_value, saved_acquisition_cost : array_like
        Value of a referred customer who would not have come; acquisition cost saved by one who would.
    acquisition_cost : array_like
        What it cost to acquire the customer; 0 for a customer already there.
    discount_rate : float
        Per period, above -1.
    periods : int or None
        Horizon; None is for ever (constant terms only: the margin multiple r / (1 + i - r)).

    Raises
    ------
    InputError
        Where a number is not finite, a share lies outside 0..1, shapes do not fit, or a value for ever has no limit.
    """

    retention: ArrayLike
    orders: ArrayLike
    margin_per_order: ArrayLike
    service_cost: ArrayLike
    referrals: ArrayLike
    would_have_come: ArrayLike
    referred_value: ArrayLike
    saved_acquisition_cost: ArrayLike
    acquisition_cost: ArrayLike
    discount_rate: float
    periods: int | None

    def __post_init__(self) -> None:
        _check_horizon(self.discount_rate, self.periods)
        for name in TERMS:
            _check_term(name, self.term(name), self.periods)
        try:
            np.broadcast_shapes(*((*self.term(name).shape[:1], 1) for name in TERMS))
        except ValueError:
            shapes = {name: self.term(name).shape for name in TERMS if self.term(name).ndim}
            raise InputError(
                f"terms of draws must hold the same number of draws; they have the shapes {shapes}."
            ) from None
        if self.periods is None and (self.term("retention") >= 1 + self.discount_rate).any():
            raise InputError(
                f"a value for ever must have retention below 1 + discount_rate = {1 + self.discount_rate:g}; retention reaches "
                f"{float(self.term('retention').max()):g}. Give a horizon, for example periods=12."
            )

    def term(self, name: str) -> Floats:
        """One term as an array."""
        return np.asarray(getattr(self, name), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class IdentityValue:
    """Value of a customer by part of the identity; each part of shape (draws,), signed so that the parts add up to ``total``."""

    margin: Floats
    service_cost: Floats
    referrals: Floats
    acquisition_cost: Floats

    @property
    def total(self) -> Floats:
        """Value of a customer, shape (draws,)."""
        return self.margin + self.service_cost + self.referrals + self.acquisition_cost

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """A row per part and the total: ``part, estimate`` (mean of the draws), ``low, median, high`` (5, 50 and 95 %)."""
        return _summary("part", {**{one.name: getattr(self, one.name) for one in fields(self)}, "total": self.total})

    def glance(self) -> pd.DataFrame:
        """One row: the total and the number of draws."""
        return self.tidy().iloc[[-1]].drop(columns="part").assign(draws=len(self.total)).reset_index(drop=True)


@dataclass(frozen=True, eq=False)
class ShapleySplit:
    """A change of value split over the terms that changed.

    Attributes
    ----------
    before, after : ndarray, shape (draws,)
        Value of a customer.
    parts : dict of ndarray, shape (draws,)
        What each term adds; in every draw they sum to ``after - before``. A term that did not change adds 0.
    alone : dict of ndarray, shape (draws,)
        What each term would add if it changed alone: these do not sum to the change.
    """

    before: Floats
    after: Floats
    parts: Mapping[str, Floats]
    alone: Mapping[str, Floats]

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """A row per term and the total: ``term, estimate`` (mean of the draws), ``low, median, high`` (5, 50, 95 %), ``alone``."""
        table = _summary("term", {**self.parts, "total": self.after - self.before})
        return table.assign(alone=[*(float(one.mean()) for one in self.alone.values()), np.nan])

    def glance(self) -> pd.DataFrame:
        """One row: value before and after, their change, and what summing the terms one by one would have said."""
        return pd.DataFrame(
            {
                "before": [float(self.before.mean())],
                "after": [float(self.after.mean())],
                "change": [float((self.after - self.before).mean())],
                "sum_of_terms_alone": [float(sum(one.mean() for one in self.alone.values()))],
                "draws": [len(self.before)],
            }
        )


def customer_value_identity(terms: ValueTerms) -> IdentityValue:
    """Value of a customer by the identity, for every draw.

    Parameters
    ----------
    terms : ValueTerms
        Numbers count as one draw.

    Returns
    -------
    IdentityValue
        ``margin``, ``service_cost`` (negative), ``referrals``, ``acquisition_cost`` (negative), each of shape (draws,), currency
        per customer.

    Examples
    --------
    >>> terms = ValueTerms(
    ...     retention=0.8, orders=1, margin_per_order=100, service_cost=0, referrals=0, would_have_come=0, referred_value=0,
    ...     saved_acquisition_cost=0, acquisition_cost=0, discount_rate=0.10, periods=None,
    ... )
    >>> round(float(customer_value_identity(terms).total[0]), 2)
    266.67

    Source: Gupta & Lehmann (2003), Journal of Interactive Marketing 17:9 (margin multiple r / (1 + i - r)); Kumar, Petersen &
    Leone (2010), Journal of Marketing 74:1 (referred customers who would and would not have come).
    """
    by_period = [terms.term(name) for name in BY_PERIOD]
    if terms.periods is None:
        retention, orders, margin, service = by_period
        multiple = retention / (1 + terms.discount_rate - retention)
        earned, served = multiple * orders * margin, multiple * service
    else:
        retention, orders, margin, service = (one if one.ndim == 2 else one[..., None] for one in by_period)
        later = np.arange(1, terms.periods + 1)
        path = np.broadcast_to(retention, (*retention.shape[:-1], terms.periods))
        weight = np.cumprod(path, axis=-1) * (1 + terms.discount_rate) ** -later.astype(float)
        earned, served = (weight * orders * margin).sum(axis=-1), (weight * service).sum(axis=-1)
    referrals, would, referred, saved, acquisition = (terms.term(name) for name in ONCE)
    brought = referrals * ((1 - would) * referred + would * saved)
    parts = np.broadcast_arrays(np.atleast_1d(earned), -served, brought, -acquisition)
    return IdentityValue(*(part + 0.0 for part in parts))  # + 0.0: own arrays, and no negative zero


def shapley_split(before: ValueTerms, after: ValueTerms) -> ShapleySplit:
    """Change of value when several terms change together, split over the terms by Shapley's rule.

    Parameters
    ----------
    before, after : ValueTerms
        Same discount rate and horizon. Draws are paired: draw k of one belongs to draw k of the other.

    Returns
    -------
    ShapleySplit
        ``tidy()``: ``term, estimate, low, median, high, alone`` with the total as the last row.

    Raises
    ------
    InputError
        Where discount rate or horizon differ, or the numbers of draws do not fit.

    Notes
    -----
    A term's part is its marginal change averaged over all orders in which the terms can change; it is the only split that sums to the
    total, treats terms alike, and gives 0 to a term that changes nothing. k changed terms take 2^k values (at most 512).

    Examples
    --------
    >>> start = ValueTerms(
    ...     retention=0.80, orders=1, margin_per_order=100, service_cost=0, referrals=0, would_have_come=0, referred_value=0,
    ...     saved_acquisition_cost=0, acquisition_cost=0, discount_rate=0.10, periods=None,
    ... )
    >>> split = shapley_split(start, replace(start, retention=0.82, margin_per_order=103))
    >>> split.glance()[["change", "sum_of_terms_alone"]].round(2).values.tolist()
    [[34.98, 34.19]]

    Source: Shapley (1953), Contributions to the Theory of Games 2:307.
    """
    if (before.discount_rate, before.periods) != (after.discount_rate, after.periods):
        raise InputError(
            "before and after must have one discount rate and one horizon, for a change of them is no benefit; they have "
            f"{before.discount_rate:g} and {after.discount_rate:g} a period over {_horizon(before)} and {_horizon(after)} periods."
        )
    changed = [name for name in TERMS if not np.array_equal(before.term(name), after.term(name))]

    def value(moved: Iterable[str]) -> Floats:
        terms: dict[str, Any] = {name: after.term(name) for name in moved}
        return customer_value_identity(replace(before, **terms)).total

    values = {
        frozenset(moved): value(moved)
        for size in range(len(changed) + 1)
        for moved in itertools.combinations(changed, size)
    }
    start, end = np.broadcast_arrays(values[frozenset()], values[frozenset(changed)])
    nothing = np.zeros(len(start))
    parts = dict.fromkeys(TERMS, nothing) | {name: nothing + _shapley(name, changed, values) for name in changed}
    alone = {name: nothing + values[frozenset({name}) & frozenset(changed)] - start for name in TERMS}
    return ShapleySplit(start, end, parts, alone)


def refuse_overlap(claimed: Iterable[str] | Mapping[str, float]) -> pd.DataFrame:
    """Terms of the identity that summed benefits claim; refused where two of them hold the same term.

    Parameters
    ----------
    claimed : iterable of str, or mapping to amounts
        Benefits whose money is to be summed: names in ``BENEFITS``, ``churn_saved``, ``change_in_ltv``, ``spend``, or terms of the
        identity.

    Returns
    -------
    DataFrame
        ``benefit, term``: each term is claimed once. Benefits without a term (workplace, better world, culture) have an empty one
        and stay out of the present value unless the user states a figure and its source.

    Raises
    ------
    InputError
        Where two benefits hold the same term, or a name is unknown.

    Examples
    --------
    >>> refuse_overlap(["churn_saved", "change_in_ltv"])
    Traceback (most recent call last):
    ...
    cxroi.errors.InputError: benefits that are summed must not hold the same term of customer value; ...
    >>> refuse_overlap(["retention", "referrals"])["benefit"].unique().tolist()
    ['retention', 'referrals']
    """
    names = list(claimed)
    held = {name: _terms_of(name) for name in names}
    repeated = sorted({name for name in names if names.count(name) > 1})
    overlaps = [
        f"{one} and {other} both hold {', '.join(term for term in TERMS if term in held[one] & held[other])}"
        for one, other in itertools.combinations(held, 2)
        if held[one] & held[other]
    ] + [f"{name} stands there more than once" for name in repeated]
    if overlaps:
        amounts = f" ({' + '.join(f'{claimed[name]:g}' for name in held)})" if isinstance(claimed, Mapping) else ""
        raise InputError(
            f"benefits that are summed must not hold the same term of customer value; {'; '.join(overlaps)}. "
            f"Their sum{amounts} counts the same money twice. Keep one of them, or value the terms jointly with shapley_split: "
            "its parts sum to the change."
        )
    rows = [(name, term) for name in held for term in (one for one in TERMS if one in held[name])]
    rows += [(name, "") for name in held if not held[name]]
    return pd.DataFrame(rows, columns=["benefit", "term"])


def _shapley(name: str, changed: list[str], values: Mapping[frozenset[str], Floats]) -> Floats:
    others = [one for one in changed if one != name]
    part = np.zeros(1)
    for size in range(len(changed)):
        weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(changed))
        for moved in itertools.combinations(others, size):
            part = part + weight * (values[frozenset((*moved, name))] - values[frozenset(moved)])
    return part


def _terms_of(name: str) -> frozenset[str]:
    known = BENEFITS.get(ALSO_CALLED.get(name, name))
    if known is not None:
        return known
    if name in TERMS:
        return frozenset({name})
    choices = [*BENEFITS, *ALSO_CALLED, *(term for term in TERMS if term not in BENEFITS)]
    question = suggestion(str(name), choices)
    raise InputError(
        f"a benefit must be one of {', '.join(choices)}; got {name!r}.{' ' + question.capitalize() if question else ''}"
    )


def _summary(label: str, columns: Mapping[str, Floats]) -> pd.DataFrame:
    rows = [
        (name, float(draws.mean()), *(float(q) for q in np.quantile(draws, [0.05, 0.5, 0.95])))
        for name, draws in columns.items()
    ]
    return pd.DataFrame(rows, columns=[label, "estimate", "low", "median", "high"])


def _check_horizon(discount_rate: float, periods: int | None) -> None:
    if not (math.isfinite(discount_rate) and discount_rate > -1):
        raise InputError(
            f"discount_rate must be a number above -1 per period, for example 0.029; got {discount_rate!r}."
        )
    if periods is not None and (isinstance(periods, bool) or int(periods) != periods or periods < 1):
        raise InputError(f"periods must be a whole number of at least 1, or None for ever; got {periods!r}.")


def _check_term(name: str, term: Floats, periods: int | None) -> None:
    if not np.isfinite(term).all() or not term.size:
        raise InputError(f"{name} must hold finite numbers; leave draws that failed out and say how many.")
    if name in SHARES and (term.min() < 0 or term.max() > 1):
        raise InputError(
            f"{name} must be a share in 0..1; it lies in {float(term.min()):g}..{float(term.max()):g}. Write 0.8 for 80 %."
        )
    if term.ndim < 2 or (term.ndim == 2 and name in BY_PERIOD and periods is not None and term.shape[1] == periods):
        return
    allowed = "(), (draws,)" + (f" or (draws, {periods})" if name in BY_PERIOD and periods is not None else "")
    raise InputError(f"{name} must be of shape {allowed}; it has the shape {term.shape}.")


def _horizon(terms: ValueTerms) -> str:
    return "all" if terms.periods is None else str(terms.periods)
