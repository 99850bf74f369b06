"""Customers reached by several programmes: what the end of the scale takes from the sum of their gains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from cxroi.case.flows import Floats

MOST_COUNTED_OUT = 10
"""Programmes up to which every combination is looked at; beyond, customers on evenly spread points stand for all."""

_SPREAD_CUSTOMERS = 4096
_CELLS = 2_000_000


def lost_to_the_scale(
    gains: Sequence[Floats], paths: Sequence[Floats], reaches: Sequence[float], width: float
) -> tuple[NDArray[np.int64], Floats]:
    """Mean gain by quarter, over all customers, that the sum of gains has beyond the width of the scale.

    A customer reached by several programmes gains their sum, as far as the scale goes: in each quarter at most its width up,
    or down. Programmes reach customers independently of each other.

    Parameters
    ----------
    gains : sequence of ndarray, shape (draws,)
        Gain of each programme at its peak, in points.
    paths : sequence of ndarray, shape (quarters,)
        Share of it in force in each quarter.
    reaches : sequence of float
        Share of the customers that each programme reaches.
    width : float
        Points between the lowest and the highest observed answer.

    Returns
    -------
    draws : ndarray of int, shape (found,)
        Draws in which anything is lost.
    lost : ndarray, shape (found, quarters)
        Points lost, a mean over all customers; negative where losses add up beyond the scale.

    Examples
    --------
    >>> draws, lost = lost_to_the_scale([np.array([6.0]), np.array([7.0])], [np.ones(2), np.ones(2)], [0.5, 0.4], 10.0)
    >>> lost.round(12).tolist()  # one customer in five is reached by both, and gains 10 instead of 13
    [[0.6, 0.6]]
    """
    up = np.sum(
        [np.maximum(gain, 0.0) * path.max(initial=0.0) for gain, path in zip(gains, paths, strict=True)], axis=0
    )
    down = np.sum(
        [np.minimum(gain, 0.0) * path.max(initial=0.0) for gain, path in zip(gains, paths, strict=True)], axis=0
    )
    draws = np.flatnonzero((up > width) | (down < -width))
    if not len(draws):
        return draws, np.empty((0, len(paths[0]) if paths else 0))
    share, reached = _combinations(reaches)
    block = max(1, _CELLS // (len(share) * len(paths[0])))
    found = []
    for start in range(0, len(draws), block):
        each = draws[start : start + block]
        by_programme = np.stack([gain[each, None] * path for gain, path in zip(gains, paths, strict=True)])
        summed = np.tensordot(reached, by_programme, axes=1)  # (combinations, draws, quarters)
        found.append(np.tensordot(share, summed - np.clip(summed, -width, width), axes=1))
    lost = np.concatenate(found)
    any_lost = (lost != 0).any(axis=1)
    return draws[any_lost], lost[any_lost]


def _combinations(reaches: Sequence[float]) -> tuple[Floats, Floats]:
    """Sets of programmes that reach a customer together: their shares, shape (sets,), and who is in, shape (sets, programmes)."""
    count = len(reaches)
    if count > MOST_COUNTED_OUT:
        points = qmc.Sobol(count, scramble=False).random(_SPREAD_CUSTOMERS) + 0.5 / _SPREAD_CUSTOMERS
        sets, times = np.unique(points < np.asarray(reaches), axis=0, return_counts=True)
        return times / _SPREAD_CUSTOMERS, sets.astype(float)
    reached = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    share = np.where(reached == 1, np.asarray(reaches), 1.0 - np.asarray(reaches)).prod(axis=1)
    several = reached.sum(axis=1) > 1  # alone, a gain has been cut already
    return share[several], reached[several].astype(float)
