"""Money over time: present values, internal rates, payback. Knows numbers and dates only.

A rate is a fraction per period (0.01 = 1 % a period); a flow is positive when money comes in. Period 0 is today.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from cxroi.errors import InputError

Floats = NDArray[np.float64]

_GRID = np.concatenate([np.linspace(-4.0, -0.45, 36), np.linspace(-0.4, 0.4, 161), np.linspace(0.5, 3.0, 26)])
"""Values of ln(1 + rate) between which several rates are told apart, closest together around 0."""

_SPAN = 30.0
"""Largest |ln(1 + rate)| that is looked at: rates from -100 % + 1e-13 to 1e13."""

_CHUNK = 2048
"""Draws solved at once, so that the working arrays stay in the processor's cache."""


@dataclass(frozen=True)
class Rates:
    """Every rate above -100 % at which the present value is zero, rising.

    ``count`` is their number: 0 (none), 1 (the rate) or more (no single rate says anything).
    """

    rates: tuple[float, ...]
    count: int


@dataclass(frozen=True, eq=False)
class DrawRates:
    """Internal rates of many flows at once.

    Attributes
    ----------
    rate : ndarray, shape (draws,)
        The rate where there is exactly one; -inf where the present value is negative at every rate, inf where it is
        positive at every rate; NaN where there are several rates, or no flow at all.
    count : ndarray of int, shape (draws,)
        Number of rates.
    """

    rate: Floats
    count: NDArray[np.int64]


def periodic_rate(annual: float, periods_per_year: int) -> float:
    """Rate per period that compounds to an annual rate.

    >>> round(periodic_rate(0.12, 12), 6)
    0.009489
    """
    return float((1.0 + annual) ** (1.0 / periods_per_year) - 1.0)


def npv(flows: ArrayLike, rate: float) -> float:
    """Present value of flows at periods 0, 1, 2, …; period 0 is not discounted.

    >>> round(npv([-40000, 8000, 9200, 10000, 12000, 14500], 0.08), 2)
    1922.06

    Source: Microsoft, *NPV function*, example 2.
    """
    return float(npv_draws(_flows(flows)[None, :], rate)[0])


def excel_npv(flows: ArrayLike, rate: float) -> float:
    """Present value as a spreadsheet's NPV gives it: the first flow is discounted by one period.

    >>> round(excel_npv([-10000, 3000, 4200, 6800], 0.1), 2)
    1188.44

    Source: Microsoft, *NPV function*, example 1.
    """
    return npv(flows, rate) / (1.0 + rate)


def npv_draws(flows: Floats, rate: float) -> Floats:
    """Present value of each row of flows, shape (draws, periods) → (draws,)."""
    _check_rate(rate)
    return flows @ (1.0 + rate) ** -np.arange(flows.shape[1], dtype=float)


def xnpv(flows: ArrayLike, dates: Sequence[dt.date], annual_rate: float) -> float:
    """Present value, at the first date, of dated flows; a year has 365 days.

    >>> round(xnpv([-100, 121], [dt.date(2025, 1, 1), dt.date(2026, 1, 1)], 0.1), 9)
    10.0

    Source: Microsoft, *XNPV function* (2086.6476 for its example).
    """
    _check_rate(annual_rate)
    values = _flows(flows)
    return float(values @ (1.0 + annual_rate) ** -_years(dates, len(values)))


def irr(flows: ArrayLike) -> Rates:
    """Every rate per period above -100 % at which flows at periods 0, 1, 2, … have a present value of zero.

    >>> [round(rate, 9) for rate in irr([-100, 0, 225]).rates]
    [0.5]
    >>> irr([-100, 230, -132]).count
    2
    >>> irr([100, 10]).count
    0

    Notes
    -----
    Between two neighbouring roots of its derivative the present value, a polynomial in 1 / (1 + rate), is monotone;
    each change of sign is refined by Brent's method. Rates are sought from -100 % + 1e-13 to 1e13.
    """
    values = _flows(flows)
    return _rates(values, np.arange(len(values), dtype=float), _turning_points(values))


def xirr(flows: ArrayLike, dates: Sequence[dt.date]) -> Rates:
    """Every annual rate above -100 % at which dated flows have a present value of zero; a year has 365 days.

    Source: Microsoft, *XIRR function* (0.373362535 for its example).
    """
    values = _flows(flows)
    years = _years(dates, len(values))
    order = np.argsort(years, kind="stable")
    return _rates(values[order], years[order], np.empty(0))


def mirr(flows: ArrayLike, finance_rate: float, reinvest_rate: float) -> float | None:
    """Modified internal rate: outflows financed at one rate, inflows reinvested at another; None without both.

    >>> round(mirr([-120000, 39000, 30000, 21000, 37000, 46000], 0.10, 0.12), 6)
    0.126094

    Source: Microsoft, *MIRR function*.
    """
    rate = float(mirr_draws(_flows(flows)[None, :], finance_rate, reinvest_rate)[0])
    return rate if np.isfinite(rate) else None


def mirr_draws(flows: Floats, finance_rate: float, reinvest_rate: float) -> Floats:
    """Modified internal rate of each row, shape (draws, periods) → (draws,).

    -1 where nothing comes in, inf where nothing goes out.
    """
    last = flows.shape[1] - 1
    if last < 1:
        raise InputError("A modified internal rate must have at least two periods; there is 1.")
    outflow = -npv_draws(np.minimum(flows, 0.0), finance_rate)
    inflow = npv_draws(np.maximum(flows, 0.0), reinvest_rate) * (1.0 + reinvest_rate) ** last
    growth = np.divide(inflow, outflow, out=np.full(len(flows), np.inf), where=outflow > 0)
    return np.asarray(growth ** (1.0 / last) - 1.0)


def payback(flows: ArrayLike, *, rate: float = 0.0) -> float | None:
    """Periods until the cumulative flow is back at zero and stays there; None where it does not get there.

    Within a period the flow is taken as even. With a rate the flows are discounted first, so that discounted payback
    is reached exactly where the present value is not negative.

    >>> payback([-10, 4, 4, 4])
    2.5
    >>> payback([-10, 4, 4]) is None
    True
    """
    periods = float(payback_draws(_flows(flows)[None, :], rate=rate)[0])
    return periods if np.isfinite(periods) else None


def payback_draws(flows: Floats, *, rate: float = 0.0) -> Floats:
    """Payback of each row, shape (draws, periods) → (draws,), in periods; inf where it is not reached."""
    _check_rate(rate)
    factors = (1.0 + rate) ** -np.arange(flows.shape[1], dtype=float)
    blocks = (flows[start : start + _CHUNK].T * factors[:, None] for start in range(0, len(flows), _CHUNK))
    return np.concatenate([_payback(block) for block in blocks])


def deepest_draws(flows: Floats) -> Floats:
    """Most money laid out at the end of any period, shape (draws, periods) → (draws,); 0 where the sum never falls below zero.

    >>> deepest_draws(np.array([[-10.0, 4.0, -7.0, 20.0]])).tolist()
    [13.0]
    """
    total, lowest = np.zeros(len(flows)), np.zeros(len(flows))
    for period in flows.T:
        total += period
        np.minimum(lowest, total, out=lowest)
    return -lowest


def irr_draws(flows: Floats, *, above: float = -1.0) -> DrawRates:
    """Internal rates per period above a bound of each row, shape (draws, periods) → (draws,).

    A row that changes sign once has one rate. The rates of other rows are counted on a grid of 223 values of
    ln(1 + rate), 0.005 apart where it is within ±0.4; two rates within one step are not seen. One rate is solved by
    Newton's method on ln(inflows / outflows), a nearly straight function of ln(1 + rate).
    """
    _check_rate(above, lowest=-1.0 - 1e-12)
    rate, count = np.full(len(flows), np.nan), np.zeros(len(flows), dtype=np.int64)
    for start in range(0, len(flows), _CHUNK):
        block = slice(start, start + _CHUNK)
        rate[block], count[block] = _irr_block(flows[block], above)
    return DrawRates(rate, count)


def _irr_block(flows: Floats, above: float) -> tuple[Floats, NDArray[np.int64]]:
    """Rate and number of rates of each row of one block."""
    span = _span(flows.shape[1])
    floor = max(np.log1p(above), -span) if above > -1.0 else -span
    changes = _sign_changes(flows)
    at_top, at_floor = _end_sign(flows), _end_sign(flows[:, ::-1])
    if above > -1.0:
        at_floor = np.sign(flows @ np.exp(-floor * np.arange(flows.shape[1])))
    rate = np.where(at_floor > 0, np.inf, np.where(at_floor < 0, -np.inf, np.nan))
    count = np.asarray((changes == 1) & (at_top != at_floor), dtype=np.int64)
    low, high = np.full(len(flows), floor), np.full(len(flows), span)
    several = np.flatnonzero(changes > 1)
    if len(several):
        signs = np.stack([at_floor[several], at_top[several]])
        count[several], low[several], high[several] = _count_on_grid(flows[several], floor, signs)
        rate[several[count[several] > 1]] = np.nan
    once = count == 1
    if once.any():
        rate[once] = np.expm1(_newton(flows[once].T, low[once], high[once], at_floor[once]))
    return rate, count


def _newton(flows: Floats, low: Floats, high: Floats, sign_low: Floats) -> Floats:
    """Log rate of flows, shape (periods, draws), between two log rates, given the sign of the value at the lower one.

    Newton's step on ln(inflows / outflows), whose slope is a difference of mean times; halving where it leaves the
    bracket.
    """
    parts, places = _in_and_out(flows), np.arange(flows.shape[1])
    log_rate = np.where((low < 0) & (high > 0), 0.0, 0.5 * (low + high))
    found = log_rate.copy()
    for step in range(80):
        value, time = _log_value(parts, log_rate) if step or log_rate.any() else _log_sum(parts)
        gap, slope = value[0] - value[1], time[0] - time[1]
        below = np.sign(gap) == sign_low
        low, high = np.where(below, log_rate, low), np.where(below, high, log_rate)
        target = log_rate + np.divide(gap, slope, out=np.full_like(gap, np.inf), where=slope != 0)
        target = np.where((target < low) | (target > high), 0.5 * (low + high), target)
        open_draws = np.abs(target - log_rate) > 1e-6  # quadratic: one step further would change 1e-11 and less
        found[places], log_rate = target, target
        if not open_draws.any():
            break
        if 2 * open_draws.sum() < len(places):
            places, parts, log_rate = places[open_draws], parts[:, :, open_draws], log_rate[open_draws]
            low, high, sign_low = low[open_draws], high[open_draws], sign_low[open_draws]
    return found


def _in_and_out(flows: Floats) -> Floats:
    """Inflows and outflows, both positive, shape (periods, draws) → (periods, 2, draws)."""
    return np.ascontiguousarray(np.stack([np.maximum(flows, 0.0), np.maximum(-flows, 0.0)], axis=1))


def _log_value(parts: Floats, log_rate: Floats) -> tuple[Floats, Floats]:
    """Log present value, and its mean time in periods, of non-negative flows, shape (periods, 2, draws), by Horner."""
    discount = np.exp(-log_rate)
    total, slope = np.zeros(parts.shape[1:]), np.zeros(parts.shape[1:])
    for part in parts[::-1]:
        slope += total
        slope *= discount
        total *= discount
        total += part
    np.maximum(total, 1e-300, out=total)
    return np.log(total), slope / total


def _log_sum(parts: Floats) -> tuple[Floats, Floats]:
    """The same at a rate of 0."""
    total = np.maximum(parts.sum(axis=0), 1e-300)
    return np.log(total), np.einsum("p,pij->ij", np.arange(len(parts), dtype=float), parts) / total


def _span(periods: int) -> float:
    """Largest |ln(1 + rate)| for which a discount factor to the power of the periods stays a number."""
    return min(_SPAN, 600.0 / periods)


def _sign_changes(flows: Floats) -> NDArray[np.int64]:
    """Changes of sign along each row, zeros left out, shape (draws, periods) → (draws,)."""
    positive = flows > 0
    if not (flows == 0).any():
        return np.asarray(np.count_nonzero(positive[:, 1:] != positive[:, :-1], axis=1), dtype=np.int64)
    signs = np.sign(flows)
    latest = np.maximum.accumulate(np.where(signs != 0, np.arange(signs.shape[1]), 0), axis=1)
    carried = np.take_along_axis(signs, latest, axis=1)
    return np.asarray((carried[:, 1:] * carried[:, :-1] < 0).sum(axis=1), dtype=np.int64)


def _end_sign(flows: Floats) -> Floats:
    """Sign of the first flow of each row that is not zero: the sign of the present value at a rate without end."""
    if (flows[:, 0] != 0).all():
        return np.asarray(np.sign(flows[:, 0]))
    signs = np.sign(flows)
    return np.asarray(signs[np.arange(len(signs)), (signs != 0).argmax(axis=1)])


def _count_on_grid(flows: Floats, floor: float, signs: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Number of rates of each row above the floor, and the log rates below and above the lowest of them.

    ``signs``, shape (2, draws), are those of the present value at the floor and at a rate without end.
    """
    periods = np.arange(flows.shape[1], dtype=float)
    span = _span(len(periods))
    inner = _GRID[np.logical_and(floor < _GRID, span > _GRID)]
    exponents = -np.outer(periods, inner) + np.minimum(periods[-1] * inner, 0.0)
    values = np.column_stack([signs[0], flows @ np.exp(exponents), signs[1]])
    grid = np.concatenate([[floor], inner, [span]])
    crossing = values[:, 1:] * values[:, :-1] < 0
    lowest = crossing.argmax(axis=1)
    return np.asarray(crossing.sum(axis=1), dtype=np.int64), grid[lowest], grid[lowest + 1]


def _rates(flows: Floats, times: Floats, turning: Floats) -> Rates:
    """Roots in ln(1 + rate) of Σ flow · exp(-time · x), from changes of sign between turning and grid points."""
    flows, times = flows[flows != 0], times[flows != 0]
    points = np.unique(np.concatenate([[-_SPAN, _SPAN], _GRID, np.linspace(-0.4, 1.5, 761), turning]))
    values = _values(flows, times, points) if len(flows) else np.ones(len(points))
    roots = [float(point) for point in points[values == 0]]
    for i in np.flatnonzero(values[1:] * values[:-1] < 0):
        low, high = float(points[i]), float(points[i + 1])
        roots.append(
            float(brentq(lambda x: _values(flows, times, np.array([x]))[0], low, high, xtol=1e-15, rtol=1e-14))
        )
    rates = _distinct([float(np.expm1(root)) for root in sorted(roots)])
    return Rates(rates, len(rates))


def _distinct(rates: list[float]) -> tuple[float, ...]:
    """Rising rates without those that rounding has split in two."""
    kept: list[float] = []
    for rate in rates:
        if not kept or rate - kept[-1] > 1e-9 * (1.0 + abs(rate)):
            kept.append(rate)
    return tuple(kept)


def _values(flows: Floats, times: Floats, log_rates: Floats) -> Floats:
    """Present values scaled to their largest terms, so that no rate overflows; exactly 0 within rounding."""
    exponents = np.log(np.abs(flows)) - times * log_rates[:, None]
    terms = np.sign(flows) * np.exp(exponents - exponents.max(axis=1, keepdims=True))
    totals = terms.sum(axis=1)
    return np.where(np.abs(totals) < 4 * np.finfo(float).eps * np.abs(terms).sum(axis=1), 0.0, totals)


def _turning_points(flows: Floats) -> Floats:
    """Log rates at which the present value of periodic flows turns: no two rates lie between two neighbours."""
    slope = np.trim_zeros(np.arange(len(flows)) * flows)
    if len(slope) < 2:
        return np.empty(0)
    roots = np.roots(slope[::-1])
    nearly_real = np.abs(roots.imag) <= 1e-4 * np.abs(roots)
    logs = -np.log(roots.real[nearly_real & (roots.real > 0)])
    return np.asarray(logs[np.abs(logs) < _SPAN], dtype=float)


def _payback(cumulative: Floats) -> Floats:
    """Periods until the sum of flows, shape (periods, draws), is back at zero for good; the sums replace the flows."""
    for before, now in pairwise(cumulative):  # faster than cumsum along the first axis
        now += before
    last = len(cumulative) - 1
    tolerance = 1e-9 * np.abs(cumulative).max(axis=0)
    below = cumulative < -tolerance
    latest = (below * np.arange(last + 1, dtype=np.int16)[:, None]).max(axis=0)  # faster than a search from the end
    columns = np.arange(cumulative.shape[1])
    after = np.minimum(latest + 1, last)
    owed = -cumulative[latest, columns]
    earned = cumulative[after, columns] + owed
    share = np.divide(owed, earned, out=np.ones_like(owed), where=earned > 0)
    reached = np.where(below[-1], np.inf, latest + np.minimum(share, 1.0))
    return np.where(below.any(axis=0), reached, 0.0)


def _flows(flows: ArrayLike) -> Floats:
    """Flows as a checked vector."""
    values = np.asarray(flows, dtype=float)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"Flows must be one row of finite numbers, such as [-10, 6, 6]; got shape {values.shape}.")
    return values


def _years(dates: Sequence[dt.date], count: int) -> Floats:
    """Years of 365 days since the first date."""
    if len(dates) != count:
        raise InputError(f"Each flow must have one date; there are {count} flows and {len(dates)} dates.")
    years = np.array([(date - dates[0]).days / 365.0 for date in dates])
    if (years < 0).any():
        raise InputError("No flow may be dated before the first one; put the earliest flow first.")
    return years


def _check_rate(rate: float, *, lowest: float = -1.0) -> None:
    if not rate > lowest:
        raise InputError(f"A rate must lie above -1 (-100 % a period); got {rate}. Write 0.12 for 12 %.")
