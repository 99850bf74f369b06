"""Which programmes to choose: the best set under a budget, when customers whom several programmes reach are counted once.

*Sources*: Nemhauser & Wolsey (1981), Studies on Graphs and Discrete Programming, 279 (the largest value of a set function with falling
returns as an integer programme, cuts added where it is too high); Rockafellar & Uryasev (2000), Journal of Risk 2:21 (expected shortfall).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from cxroi.errors import CxroiError, InputError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Pairs = tuple[tuple[int, int], ...]

MOST_COUNTED_OUT = 10
"""Programmes up to which every set is looked at where many sets are compared."""

MOST_SOLVED_EXACTLY = 12
"""Programmes up to which the best set is exact; beyond, it may fall short by a thousandth of the largest programme's value."""

_DRAWS_OF_A_SET = 2_000
_MOST_CUTS = 2_000
_EXACT, _NEARLY = 1e-9, 1e-3


@dataclass(frozen=True, eq=False)
class Options:
    """What can be chosen: present values of each programme alone, what it spends, and which belong together.

    Attributes
    ----------
    ids : tuple of str
    through_score : ndarray, shape (draws, programmes)
        Present value of what the score gain brings each programme alone, in currency.
    beside : ndarray, shape (draws, programmes)
        Present value of everything else, savings less costs: never shared.
    reach : ndarray, shape (programmes,)
        Share of the customers; 0 without a route.
    spending : ndarray, shape (programmes, quarters)
        Expected spending before tax.
    requires, excludes : tuple of (int, int)
        Places of programmes: the first needs the second; the two exclude each other.
    shared : float
        What a customer reached by several programmes loses of the smaller gains: 1 counts the largest only, 0 adds all.
    """

    ids: tuple[str, ...]
    through_score: Floats
    beside: Floats
    reach: Floats
    spending: Floats
    requires: Pairs = ()
    excludes: Pairs = ()
    shared: float = 1.0

    def __post_init__(self) -> None:
        count = len(self.ids)
        if self.through_score.shape != self.beside.shape or self.through_score.shape[1:] != (count,):
            raise InputError(
                f"through_score and beside must have a column for each of the {count} programmes; they have shapes "
                f"{self.through_score.shape} and {self.beside.shape}."
            )
        if not 0.0 <= self.shared <= 1.0:
            raise InputError(
                f"shared must be a share from 0 to 1; got {self.shared:g}. Write 1 to count customers once."
            )

    @property
    def alone(self) -> Floats:
        """Net present value of each programme alone, shape (draws, programmes)."""
        return self.through_score + self.beside

    def thinned(self, draws: int) -> Options:
        """The same with evenly spaced draws only."""
        places = np.linspace(0, len(self.beside) - 1, min(draws, len(self.beside))).astype(np.int64)
        return replace(self, through_score=self.through_score[places], beside=self.beside[places])


@dataclass(frozen=True)
class Limits:
    """What may be spent before tax: in all, and in each quarter; infinite where nothing is said."""

    total: float = math.inf
    per_quarter: tuple[float, ...] = ()

    def allow(self, spending: Floats) -> bool:
        """Whether spending by quarter, shape (quarters,), stays within them."""
        slack = 1.0 + 1e-9
        if spending.sum() > self.total * slack:
            return False
        return all(spent <= most * slack for spent, most in zip(spending, self.per_quarter, strict=False))


class Coverage:
    """Value of any set of the options, draw by draw, a customer reached by several counted once.

    Programmes reach customers independently of each other, so of those whom a programme reaches a share is left whom no
    programme with a larger gain reaches; only there it counts. A programme that costs customers' margin counts in full.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        reach = np.where(options.reach > 0.0, options.reach, 1.0)
        each = np.where(options.reach > 0.0, options.through_score / reach, 0.0)
        self._order = np.argsort(-each, axis=1, kind="stable")
        positive = np.where(each > 0.0, options.through_score, 0.0)
        self._positive = np.take_along_axis(positive, self._order, axis=1)
        self._reach = np.where(self._positive > 0.0, options.reach[self._order], 0.0)
        self._own = options.beside + options.through_score - options.shared * positive

    def once(self, chosen: Flags) -> Floats:
        """Present value through the score of a set, each customer counted once, times ``shared``, shape (draws,)."""
        if not self.options.shared or not chosen.any():
            return np.zeros(len(self._own))
        inside = chosen[self._order]
        left = np.cumprod(1.0 - self._reach * inside, axis=1)
        worth = self._positive[:, 0] * inside[:, 0] + np.einsum(
            "dp,dp,dp->d", self._positive[:, 1:], inside[:, 1:].astype(float), left[:, :-1]
        )
        return np.asarray(self.options.shared * worth)

    def npv(self, chosen: Flags) -> Floats:
        """Net present value of a set, shape (draws,)."""
        return np.asarray(self._own[:, chosen].sum(axis=1) + self.once(chosen))

    def own(self) -> Floats:
        """Mean of what each programme adds to any set whatever else is in it, shape (programmes,)."""
        return np.asarray(self._own.mean(axis=0))


class Solver:
    """The best set under limits; what is learnt for one budget is kept for the next.

    The mean value of customers counted once has falling returns: the more is chosen, the less one more adds. It lies below each plane
    ``value(S) + Σ_{j not in S} (value(S + j) − value(S)) x_j`` and touches it at S. An integer programme over these planes gives a set;
    where the planes are too high there, its own plane is added, until they are not.
    """

    def __init__(self, options: Options) -> None:
        self.coverage = Coverage(options)
        self.options = options
        self._own = self.coverage.own()
        self._scale = float(np.abs(options.alone.mean(axis=0)).max()) or 1.0
        self._precision = _EXACT if len(options.ids) <= MOST_SOLVED_EXACTLY else _NEARLY
        self._worth: dict[bytes, float] = {}
        self._cuts: dict[bytes, tuple[Floats, float]] = {}
        if options.shared:
            self._cut(np.zeros(len(options.ids), dtype=bool))
            self._cut(np.ones(len(options.ids), dtype=bool))

    def best(self, limits: Limits) -> Flags:
        """Set with the largest mean net present value within limits, shape (programmes,); of equal ones the cheapest that is met."""
        for _ in range(_MOST_CUTS):
            chosen, claimed = self._solve(limits)
            if not self.options.shared or chosen.tobytes() in self._cuts:
                return chosen
            if claimed <= self._once(chosen) + self._precision * self._scale:
                return chosen
            self._cut(chosen)
        raise CxroiError(f"no best set of {len(self.options.ids)} programmes was found within {_MOST_CUTS} cuts")

    def _solve(self, limits: Limits) -> tuple[Flags, float]:
        """Best set by the planes so far, and what they claim of its shared part."""
        count, spending = len(self.options.ids), self.options.spending
        money = float(spending.sum()) or 1.0
        tie = 1e-9 * spending.sum(axis=1) / money  # of sets worth the same, the one that spends less
        goal = -np.concatenate([self._own / self._scale - tie, [1.0]])
        rows, most = [], []
        for plane, level in self._cuts.values():
            rows.append(np.concatenate([-plane, [self._scale]]) / self._scale)
            most.append(level / self._scale)
        if math.isfinite(limits.total):
            rows.append(np.concatenate([spending.sum(axis=1), [0.0]]) / money)
            most.append(limits.total / money)
        for quarter, limit in enumerate(limits.per_quarter):
            rows.append(np.concatenate([spending[:, quarter], [0.0]]) / money)
            most.append(limit / money)
        for places, signs, bound in (
            (self.options.requires, (1.0, -1.0), 0.0),
            (self.options.excludes, (1.0, 1.0), 1.0),
        ):
            for pair in places:
                row = np.zeros(count + 1)
                row[list(pair)] = signs
                rows.append(row)
                most.append(bound)
        bounds = optimize.Bounds(np.zeros(count + 1), np.r_[np.ones(count), np.inf if self.options.shared else 0.0])
        found = optimize.milp(
            goal,
            integrality=np.r_[np.ones(count), 0],
            bounds=bounds,
            constraints=optimize.LinearConstraint(np.array(rows), ub=np.array(most)) if rows else (),
            options={"mip_rel_gap": 0.0, "presolve": False},
        )
        if found.x is None:
            raise CxroiError(f"the choice of programmes could not be solved: {found.message}")
        return found.x[:count] > 0.5, float(found.x[count]) * self._scale

    def _once(self, chosen: Flags) -> float:
        name = chosen.tobytes()
        if name not in self._worth:
            self._worth[name] = float(self.coverage.once(chosen).mean())
        return self._worth[name]

    def _cut(self, chosen: Flags) -> None:
        """Add the plane that touches the value at a set."""
        plane = np.zeros(len(chosen))
        base = self._once(chosen)
        for place in np.flatnonzero(~chosen):
            more = chosen.copy()
            more[place] = True
            plane[place] = self._once(more) - base
        self._cuts[chosen.tobytes()] = (plane, base)


def possible_sets(options: Options, limits: Limits) -> Iterator[Flags]:
    """Every set that keeps the limits and what programmes require and exclude."""
    for picked in itertools.product((False, True), repeat=len(options.ids)):
        chosen = np.array(picked, dtype=bool)
        if is_possible(options, limits, chosen):
            yield chosen


def is_possible(options: Options, limits: Limits, chosen: Flags) -> bool:
    """Whether a set keeps the limits and what programmes require and exclude."""
    if any(chosen[one] and not chosen[other] for one, other in options.requires):
        return False
    if any(chosen[one] and chosen[other] for one, other in options.excludes):
        return False
    return limits.allow(options.spending[chosen].sum(axis=0))


def expected_shortfall(npv: Floats, worst: float) -> float:
    """Mean loss in the worst share of the draws; negative where even these gain.

    >>> expected_shortfall(np.array([-4.0, -2.0, 0.0, 10.0]), 0.5)
    3.0
    """
    kept = max(1, round(worst * len(npv)))
    return -float(np.partition(npv, kept - 1)[:kept].mean())


def pareto(gain: Sequence[float], price: Sequence[float]) -> list[int]:
    """Places of those that no other one beats: more gain for a price not higher; the cheapest first."""
    best, kept = -math.inf, []
    for place in sorted(range(len(gain)), key=lambda at: (price[at], -gain[at])):
        if gain[place] > best:
            best = gain[place]
            kept.append(place)
    return kept
