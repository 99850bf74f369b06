"""Values of stated ranges at probabilities: triangular amounts, and gains that follow from several touchpoints."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from cxroi.case.programme import Driver, Programme

Floats = NDArray[np.float64]

_POINTS_OF_DRIVERS = 2**14


def triangular(luck: Floats, low: float, mode: float, high: float) -> Floats:
    """Quantiles of a triangular distribution at probabilities in [0, 1]; the number itself where low equals high."""
    if low == high:
        return np.full(len(luck), float(low))
    turn = (mode - low) / (high - low)
    rising = low + np.sqrt(luck * (high - low) * (mode - low))
    falling = high - np.sqrt((1.0 - luck) * (high - low) * (high - mode))
    return np.where(luck < turn, rising, falling)


def gain_at(programme: Programme, luck: Floats) -> Floats:
    """Score gain of a programme at probabilities in [0, 1], in points, shape (draws,).

    A stated gain is triangular. Drivers add up: each gain and each pass-through is triangular and independent of the
    others, and the probability is one of their sum.
    """
    gain = programme.gain
    if not programme.drivers or gain.certain:
        return triangular(luck, gain.low, gain.mode, gain.high)
    sums = _sums_of_drivers(programme.drivers)
    places = np.concatenate([[0.0], (np.arange(len(sums)) + 0.5) / len(sums), [1.0]])
    return np.asarray(np.interp(luck, places, np.concatenate([[gain.low], sums, [gain.high]])))


@lru_cache(maxsize=64)
def _sums_of_drivers(drivers: tuple[Driver, ...]) -> Floats:
    """Ordered sums over drivers of gain × pass-through on evenly spread points, shape (points,)."""
    ranges = [stated for driver in drivers for stated in (driver.gain, driver.pass_through)]
    points = qmc.Sobol(len(ranges), scramble=False).random(_POINTS_OF_DRIVERS) + 0.5 / _POINTS_OF_DRIVERS
    values = [triangular(points[:, at], each.low, each.mode, each.high) for at, each in enumerate(ranges)]
    sums = np.sort(np.sum([gain * passed for gain, passed in zip(values[::2], values[1::2], strict=True)], axis=0))
    sums.setflags(write=False)
    return np.asarray(sums)
