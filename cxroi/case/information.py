"""What it would be worth to know more before deciding: everything, one input, or what a pilot or a larger survey can tell.

Values are draws of net present value, a column for each thing that can be decided; the best column on average is what is done without
knowing more.

*Sources*: Raiffa & Schlaifer (1961), Applied Statistical Decision Theory, ch. 4–5; Strong, Oakley & Brennan (2014), Medical Decision Making
34:311 (one input by regression on the draws); Jalal & Alarid-Escudero (2018), Medical Decision Making 38:174 (a sample, normal
approximation).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate, special

Floats = NDArray[np.float64]

_PIECES = 5
_DEGREE = 3


class Worth(NamedTuple):
    """Expected value of knowing something, in the unit of the values, with its Monte Carlo error."""

    value: float
    std_error: float


def perfect_information(values: Floats) -> Worth:
    """Expected value of knowing everything before deciding (EVPI).

    Parameters
    ----------
    values : ndarray, shape (draws, options)
        Net present value of each option; the option of doing nothing is a column of zeros.

    Examples
    --------
    >>> perfect_information(np.array([[-2.0, 0.0], [4.0, 0.0]])).value
    1.0
    """
    return _worth(values, values)


def partial_information(values: Floats, known: Floats) -> Worth:
    """Expected value of knowing one input before deciding (EVPPI).

    Parameters
    ----------
    values : ndarray, shape (draws, options)
        Net present value of each option.
    known : ndarray, shape (draws,) or (draws, options)
        The input; with several columns, what it means for each option.

    Notes
    -----
    The mean of each option given the input is a cubic spline in the input with knots at its quantiles (five pieces), fitted to the same
    draws by least squares. Fitting makes the value a little too large, by about the noise of eight coefficients.
    """
    return _worth(values, conditional_mean(values, known))


def conditional_mean(values: Floats, known: Floats) -> Floats:
    """Mean of each column of ``values`` given the input, by a cubic spline, shape (draws, options)."""
    if known.ndim == 1:
        return _spline_fit(values, known)
    parts = [_spline_fit(values[:, [at]], known[:, at]) for at in range(values.shape[1])]
    return np.concatenate(parts, axis=1)


def shrunk(known: Floats, share: float) -> Floats:
    """Means of an input that a sample may lead to, when it takes away ``share`` of the input's variance.

    Each draw is pulled to the mean by √share: exact where the input is normal.
    """
    mean = known.mean(axis=0)
    return np.asarray(mean + math.sqrt(share) * (known - mean))


def unit_normal_loss(mean: float, std: float) -> float:
    """E max(X, 0) − max(E X, 0) for X ~ N(mean, std²): the value of knowing X before taking or leaving it.

    >>> round(unit_normal_loss(0.0, 1.0), 6) == round(1 / math.sqrt(2 * math.pi), 6)
    True
    """
    if std == 0.0:
        return 0.0
    distance = abs(mean) / std
    density = math.exp(-0.5 * distance * distance) / math.sqrt(2.0 * math.pi)
    return std * (density - distance * float(special.ndtr(-distance)))


def _worth(values: Floats, means: Floats) -> Worth:
    """Gain of choosing by ``means`` in each draw over one choice for all draws."""
    now = int(np.argmax(values.mean(axis=0)))
    value = float(means.max(axis=1).mean() - means.mean(axis=0).max())
    then = np.argmax(means, axis=1)
    gained = np.take_along_axis(values, then[:, None], axis=1)[:, 0] - values[:, now]
    return Worth(max(value, 0.0), float(gained.std(ddof=1) / math.sqrt(len(values))))


def _spline_fit(values: Floats, known: Floats) -> Floats:
    """Least-squares cubic spline of each column on the input."""
    low, high = float(known.min()), float(known.max())
    if low == high:
        return np.broadcast_to(values.mean(axis=0), values.shape)
    scaled = (known - low) / (high - low)
    inner = np.unique(np.quantile(scaled, np.arange(1, _PIECES) / _PIECES))
    inner = inner[(inner > 0.0) & (inner < 1.0)]
    knots = np.concatenate([np.zeros(_DEGREE + 1), inner, np.ones(_DEGREE + 1)])
    basis = interpolate.BSpline.design_matrix(scaled, knots, _DEGREE)
    gram = (basis.T @ basis).toarray()
    coefficients = np.linalg.lstsq(gram, basis.T @ values, rcond=1e-10)[0]
    return np.asarray(basis @ coefficients)
