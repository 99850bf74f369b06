"""Which programmes to choose: the best set under a budget, when customers whom several programmes reach are counted once.

*Sources*: Nemhauser & Wolsey (1981), Studies on Graphs and Discrete Programming, 279 (the largest value of a set function with falling
returns as an integer programme, cuts added where it is too high); Rockafellar & Uryasev (2000), Journal of Risk 2:21 (expected shortfall).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from cxroi.case.flows import MONTHS_OF_A_QUARTER, costs_of, quarters_of
from cxroi.case.uncertainty import present_values
from cxroi.errors import CxroiError, InputError

if TYPE_CHECKING:
    from cxroi.case.business_case import BusinessCase

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Pairs = tuple[tuple[int, int], ...]

MOST_COUNTED_OUT = 10
"""Programmes up to which every set is looked at where many sets are compared."""

MOST_SOLVED_EXACTLY = 12
"""Programmes up to which the best set is exact; beyond, it may fall short by a thousandth of the largest programme's value."""

COLUMNS = (
    "programme",
    "chosen",
    "has_route",
    "spending",
    "npv_alone",
    "low",
    "median",
    "high",
    "npv_added",
    "p_best",
    "why",
    "unit",
)
SET_COLUMNS = (
    *("programmes", "number", "spending", "npv_mean", "low", "median", "high", "p_npv_positive", "expected_shortfall"),
    *("on_budget_frontier", "on_risk_frontier", "chosen", "unit"),
)
WORST = 0.1
"""Share of the draws that expected shortfall looks at."""

_QUANTILES = (0.05, 0.5, 0.95)
_FEWEST_DRAWS, _VALUES = 2_000, 3_000_000
_BUDGETS = 40
_ROUNDS = 15
_MOST_COMPARED = 32
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
    spent : ndarray, shape (draws, programmes)
        Spending before tax over the whole horizon.
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
    spent: Floats
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
        return replace(
            self, through_score=self.through_score[places], beside=self.beside[places], spent=self.spent[places]
        )


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
        """Set with the largest mean net present value within limits, shape (programmes,)."""
        if len(self.options.ids) > MOST_COUNTED_OUT and self.options.shared:
            self._cut_where_parts_are_chosen(limits)
        for _ in range(_MOST_CUTS):
            parts, claimed = self._solve(limits)
            chosen = parts > 0.5
            if not self.options.shared or chosen.tobytes() in self._cuts:
                return chosen
            if claimed <= self._once(chosen) + self._precision * self._scale:
                return chosen
            self._cut(chosen)
        raise CxroiError(f"no best set of {len(self.options.ids)} programmes was found within {_MOST_CUTS} cuts")

    def _cut_where_parts_are_chosen(self, limits: Limits) -> None:
        """Add planes at sets near the best choice of parts of programmes, which is found fast; saves most of the integer programmes."""
        for _ in range(_ROUNDS):
            parts, _ = self._solve(limits, whole=False)
            sets = [parts > least for least in (0.05, 0.3, 0.5, 0.8, 0.99)]
            fresh = [chosen for chosen in sets if chosen.tobytes() not in self._cuts]
            if not fresh:
                return
            for chosen in fresh:
                self._cut(chosen)

    def _solve(self, limits: Limits, *, whole: bool = True) -> tuple[Floats, float]:
        """Best set by the planes so far, or best parts of programmes, and what the planes claim of its shared part."""
        count, spending = len(self.options.ids), self.options.spending
        money = float(spending.sum()) or 1.0
        goal = -np.concatenate([self._own / self._scale, [1.0]])
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
            integrality=np.r_[np.full(count, float(whole)), 0.0],
            bounds=bounds,
            constraints=optimize.LinearConstraint(np.array(rows), ub=np.array(most)) if rows else (),
            options={"mip_rel_gap": 0.0, "presolve": False},
        )
        if found.x is None:
            raise CxroiError(f"the choice of programmes could not be solved: {found.message}")
        return np.asarray(found.x[:count]), float(found.x[count]) * self._scale

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


@dataclass(frozen=True, eq=False, repr=False)
class Portfolio:
    """The programmes to choose under a budget, and the sets that they were chosen from.

    Attributes
    ----------
    programmes : DataFrame
        A row per programme: ``programme, chosen, has_route, spending`` (expected, before tax), ``npv_alone`` (mean) with ``low, median,
        high``, ``npv_added`` (what the choice gains by it), ``p_best`` (share of the draws in which it belongs to the set that is best
        there), ``why``, ``unit``.
    sets : DataFrame
        A row per set that no other beats: ``programmes, number, spending, npv_mean, low, median, high, p_npv_positive,
        expected_shortfall`` (mean loss in the worst tenth of the draws; negative where even these gain), ``on_budget_frontier`` (no set
        that spends less brings more), ``on_risk_frontier`` (within the budget, none with a smaller shortfall brings more), ``chosen``.
    limits : Limits
        Budget that was kept to.
    npv : ndarray, shape (draws,)
        Net present value of the choice.
    overspend_point : float
        Spending of the best set without a budget in all: more money gains nothing.
    npv_cost_plays : float
        Mean of the part of ``npv`` that programmes without a route bring; the rest is the CX part.
    npv_added_up : float
        Mean net present value of the choice if customers reached by several gained from each in full.
    p_set : float
        Share of the draws in which exactly this choice is best.
    p_over_budget : float
        Share of the draws in which the choice spends more than the budget in all; 0 without one.
    shared : float
        What a customer reached by several programmes loses of the smaller gains.
    compared : tuple of ndarray of bool, shape (programmes,)
        The choice, then other sets within the limits that are best in some draw, the most frequent first; at most 32.
    """

    programmes: pd.DataFrame
    sets: pd.DataFrame
    limits: Limits
    npv: Floats
    overspend_point: float
    npv_cost_plays: float
    npv_added_up: float
    p_set: float
    p_over_budget: float
    shared: float
    currency: str
    compared: tuple[Flags, ...]

    def __repr__(self) -> str:
        return str(self.programmes.to_string(index=False))

    @property
    def chosen(self) -> tuple[str, ...]:
        """Ids of the programmes chosen."""
        rows = self.programmes
        return tuple(str(name) for name in rows.loc[rows["chosen"], "programme"])

    def tidy(self) -> pd.DataFrame:
        """A row per programme."""
        return self.programmes

    def frontier(self) -> pd.DataFrame:
        """A row per set that no other beats, by budget or by risk."""
        return self.sets

    def glance(self) -> pd.DataFrame:
        """One row: the choice, what it spends and brings, and how clear it is."""
        low, median, high = _quantiles(self.npv)
        row = {
            "chosen": ", ".join(self.chosen),
            "number": len(self.chosen),
            "programmes": len(self.programmes),
            "budget": self.limits.total if math.isfinite(self.limits.total) else math.nan,
            "spending": float(self.programmes.loc[self.programmes["chosen"], "spending"].sum()),
            "npv_mean": float(self.npv.mean()),
            "npv_low": low,
            "npv_median": median,
            "npv_high": high,
            "p_npv_positive": float((self.npv > 0).mean()),
            "expected_shortfall": expected_shortfall(self.npv, WORST),
            "npv_cost_plays": self.npv_cost_plays,
            "npv_added_up": self.npv_added_up,
            "overspend_point": self.overspend_point,
            "p_set": self.p_set,
            "p_over_budget": self.p_over_budget,
            "shared": self.shared,
            "currency": self.currency,
        }
        return pd.DataFrame([row])

    def checks(self) -> pd.DataFrame:
        """What a careful reader would ask: ``name, verdict, number, advice``."""
        lost = max(1.0 - float(self.npv.mean()) / self.npv_added_up, 0.0) if self.npv_added_up > 0 else 0.0
        rows = [
            (
                "choice_is_clear",
                "pass" if self.p_set >= 0.5 else "warn",
                self.p_set,
                "Share of the simulated futures in which exactly this choice is best. Below one half, find out more first.",
            ),
            (
                "spending_within_budget",
                "pass" if self.p_over_budget <= 0.2 else "warn",
                self.p_over_budget,
                "Share of the simulated futures in which the choice spends more than the budget in all.",
            ),
            (
                "customers_counted_once",
                "pass" if lost <= 0.2 else "warn",
                lost,
                "Part of the value that is lost because customers are reached by several programmes. Where it is large, say who is "
                "reached by whom.",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def choose(decision: BusinessCase, *, budget: float | None = None, shared: float = 1.0) -> Portfolio | str:
    """The set of programmes with the largest mean net present value under a budget.

    Parameters
    ----------
    decision : BusinessCase
    budget : float, optional
        Spending before tax in all; by default as the case states. Limits by quarter are those of the case.
    shared : float
        What a customer reached by several programmes loses of the smaller gains: with 1 only the largest counts, with 0 all add up as in
        the total of the case.

    Returns
    -------
    Portfolio or str
        The reason in words where there is no response.

    Raises
    ------
    InputError
        If the budget is below 0, or ``shared`` no share.

    Notes
    -----
    Programmes reach customers independently of each other. Spending is what is expected, overruns included, in the prices of each month;
    month 0 belongs to the first quarter. Up to 10 programmes every set is compared; beyond, those that are best at 40 budgets, and each
    of these with one programme more or less.
    """
    if decision.response.reason:
        return decision.response.reason
    if budget is not None and not budget >= 0:
        raise InputError(f"budget must be an amount from 0; got {budget!r}. Leave it out for the budget of the case.")
    limits, options = limits_of(decision, budget), options_of(decision, shared=shared)
    return chosen_from(options, limits, decision.case.currency)


def limits_of(decision: BusinessCase, budget: float | None = None) -> Limits:
    """Budget of the case, or another one in all."""
    stated = decision.case.budget
    total = budget if budget is not None else None if stated is None else stated.total
    quarterly = None if stated is None else stated.per_quarter
    if quarterly is not None and not isinstance(quarterly, tuple):
        quarterly = (quarterly,) * quarters_of(decision.case)
    return Limits(math.inf if total is None else total, quarterly or ())


def options_of(decision: BusinessCase, *, shared: float = 1.0) -> Options:
    """The programmes of a case as options."""
    case, inputs = decision.case, decision.inputs
    found = present_values(case, decision.response, inputs)
    streams = [costs_of(case, each, inputs.at(f"overrun.{each.id}")) for each in case.programmes]
    quarter_of = np.maximum(np.arange(case.horizon_months + 1) - 1, 0) // MONTHS_OF_A_QUARTER
    months = np.ones(case.horizon_months + 1)
    places = {each.id: at for at, each in enumerate(case.programmes)}

    def pairs(name: str) -> Pairs:
        return tuple((places[each.id], places[other]) for each in case.programmes for other in getattr(each, name))

    return Options(
        ids=found.ids,
        through_score=found.through_score,
        beside=found.besides - found.cost,
        reach=np.array([each.reach if each.has_route else 0.0 for each in case.programmes]),
        spending=np.stack([np.bincount(quarter_of, weights=stream.mean_by_month()) for stream in streams]),
        spent=np.stack([np.broadcast_to(stream.weighted(months), (inputs.draws,)) for stream in streams], axis=1),
        requires=pairs("requires"),
        excludes=pairs("excludes"),
        shared=shared,
    )


def chosen_from(options: Options, limits: Limits, currency: str) -> Portfolio:
    """The best set of options within limits, and how it stands among the others."""
    count = len(options.ids)
    options = options.thinned(max(_FEWEST_DRAWS, _VALUES // 2 ** min(count, MOST_COUNTED_OUT)))
    solver = Solver(options)
    coverage, no_total = solver.coverage, replace(limits, total=math.inf)
    best, freely = solver.best(limits), solver.best(no_total)
    looked = _Looked(coverage, limits, _candidates(options, no_total, solver), best)
    npv = coverage.npv(best)
    plays = best & (options.reach == 0.0)
    spending = options.spending.sum(axis=1)
    return Portfolio(
        programmes=_programme_rows(coverage, limits, best, looked.chance, currency),
        sets=looked.rows(currency),
        limits=limits,
        npv=npv,
        overspend_point=float(spending[freely].sum()),
        npv_cost_plays=float(options.beside[:, plays].sum(axis=1).mean()),
        npv_added_up=float(options.alone[:, best].sum(axis=1).mean()),
        p_set=looked.p_set,
        p_over_budget=float((options.spent[:, best].sum(axis=1) > limits.total * (1.0 + 1e-9)).mean()),
        shared=options.shared,
        currency=currency,
        compared=looked.often_best(),
    )


class _Looked:
    """Sets that were looked at: means, spending, risk, and which is best in each draw within the budget."""

    def __init__(self, coverage: Coverage, limits: Limits, sets: Sequence[Flags], best: Flags) -> None:
        options = coverage.options
        known = {each.tobytes(): each for each in [best, *sets]}
        self._coverage, self._sets, self._best = coverage, list(known.values()), best
        self._within = [is_possible(options, limits, each) for each in self._sets]
        top, place = np.full(len(options.beside), -np.inf), np.zeros(len(options.beside), dtype=np.int64)
        self._mean, self._shortfall, self._spending = [], [], []
        for at, chosen in enumerate(self._sets):
            npv = coverage.npv(chosen)
            self._mean.append(float(npv.mean()))
            self._shortfall.append(expected_shortfall(npv, WORST))
            self._spending.append(float(options.spending[chosen].sum()))
            if self._within[at]:
                better = npv > top
                top[better], place[better] = npv[better], at
        self.chance = np.stack(self._sets)[place].mean(axis=0)
        self.p_set = float((place == 0).mean())
        self._times = np.bincount(place, minlength=len(self._sets))

    def often_best(self) -> tuple[Flags, ...]:
        """The choice, then the other sets that are best in some draw, the most frequent first."""
        ranked = sorted(range(1, len(self._sets)), key=lambda at: -int(self._times[at]))
        return (self._best, *(self._sets[at] for at in ranked[: _MOST_COMPARED - 1] if self._times[at]))

    def rows(self, currency: str) -> pd.DataFrame:
        """Those that no other one beats, by budget or by risk."""
        within = [at for at, is_within in enumerate(self._within) if is_within]
        by_budget = set(pareto(self._mean, self._spending))
        by_risk = {
            within[at] for at in pareto(*([column[at] for at in within] for column in (self._mean, self._shortfall)))
        }
        kept = sorted(by_budget | by_risk | {0}, key=lambda at: (self._spending[at], self._mean[at]))
        rows = []
        for at in kept:
            npv, chosen = self._coverage.npv(self._sets[at]), self._sets[at]
            names = [name for name, is_in in zip(self._coverage.options.ids, chosen, strict=True) if is_in]
            rows.append(
                (
                    *(", ".join(names), len(names), self._spending[at], self._mean[at], *_quantiles(npv)),
                    *(float((npv > 0).mean()), self._shortfall[at], at in by_budget, at in by_risk, at == 0, currency),
                )
            )
        return pd.DataFrame(rows, columns=list(SET_COLUMNS))


def _candidates(options: Options, limits: Limits, solver: Solver) -> list[Flags]:
    """Sets to compare: all that are possible, or the best ones at many budgets and their neighbours."""
    count = len(options.ids)
    if count <= MOST_COUNTED_OUT:
        return list(possible_sets(options, limits))
    most = float(options.spending.sum())
    found = {}
    for budget in np.linspace(0.0, most, _BUDGETS + 1):
        chosen = solver.best(replace(limits, total=float(budget)))
        for place in range(count + 1):
            other = chosen.copy()
            other[place : place + 1] = ~other[place : place + 1]
            if is_possible(options, limits, other):
                found[other.tobytes()] = other
    return list(found.values())


def _programme_rows(coverage: Coverage, limits: Limits, best: Flags, chance: Floats, currency: str) -> pd.DataFrame:
    """A row per programme."""
    options, rows = coverage.options, []
    for at, name in enumerate(options.ids):
        with_it, without = best.copy(), best.copy()
        with_it[at], without[at] = True, False
        added = float((coverage.npv(with_it) - coverage.npv(without)).mean())
        alone = options.alone[:, at]
        why = _why(options, limits, best, at, added)
        spending, routed = float(options.spending[at].sum()), bool(options.reach[at] > 0.0)
        figures = (float(alone.mean()), *_quantiles(alone), added, float(chance[at]))
        rows.append((name, bool(best[at]), routed, spending, *figures, why, currency))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _why(options: Options, limits: Limits, best: Flags, at: int, added: float) -> str:
    """Why a programme is in the choice, or not."""
    if best[at]:
        return "chosen"
    if added <= 0.0:
        return "adds nothing to what is chosen"
    if any(at in pair and best[pair[0] if pair[1] == at else pair[1]] for pair in options.excludes):
        return "excluded by what is chosen"
    if any(one == at and not best[other] for one, other in options.requires):
        return "requires a programme that is not chosen"
    more = best.copy()
    more[at] = True
    return (
        "no room in the budget"
        if not limits.allow(options.spending[more].sum(axis=0))
        else "adds nothing to what is chosen"
    )


def _quantiles(npv: Floats) -> tuple[float, float, float]:
    low, median, high = (float(end) for end in np.quantile(npv, _QUANTILES, method="inverted_cdf"))
    return low, median, high
