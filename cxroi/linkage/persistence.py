"""How long a score lasts: the autocovariance of repeated answers, split into a lasting part, a fading part and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi.linkage.satisfaction import PARAMETERS, Satisfaction
from cxroi.panel import Panel

Floats = NDArray[np.float64]
FEWEST_PAIRS = 100
FEWEST_LAGS = 3
FADES = np.linspace(0.0, 0.99, 100)


@dataclass(frozen=True)
class Persistence:
    """Answers of one customer, ``h`` periods apart, covary as ``lasting + fading · fade**h``.

    ``fade`` is the share of a change that is left after one period; ``correlation`` gives the expected share of
    today's answer's distance from the mean that is still there ``h`` periods later (noise in a single answer counts
    as gone at once).
    """

    variance: float
    lasting: float
    fading: float
    fade: float
    fade_draws: Floats
    pairs: int

    def correlation(self, periods_later: Floats) -> Floats:
        """Correlation of answers that many periods apart, any shape."""
        later = np.asarray(periods_later, dtype=float)
        return np.clip((self.lasting + self.fading * self.fade**later) / self.variance, 0.0, 1.0)

    def tidy(self) -> pd.DataFrame:
        """One row per term, with the 95 % interval of the fade by draws."""
        low, high = np.quantile(self.fade_draws, [0.025, 0.975])
        return pd.DataFrame(
            {
                "term": ["variance", "lasting", "fading", "fade"],
                "estimate": [self.variance, self.lasting, self.fading, self.fade],
                "conf_low": [np.nan, np.nan, np.nan, low],
                "conf_high": [np.nan, np.nan, np.nan, high],
            }
        )


def estimate_persistence(
    panel: Panel, exposure: str, *, generator: np.random.Generator, draws: int
) -> Persistence | None:
    """Fit the autocovariance of a score over the lags that have at least 100 pairs of answers; None with fewer than three such lags.

    Returns
    -------
    Persistence or None
        ``fade_draws`` has shape (draws,).
    """
    rows = panel.rows.loc[panel.rows[exposure].notna(), ["customer", "period", exposure]]
    centred = rows[exposure] - rows.groupby("period")[exposure].transform("mean")
    rows = rows.assign(centred=centred)
    variance = float((centred**2).mean())
    span = int(rows["period"].max() - rows["period"].min())
    products: list[pd.DataFrame] = []
    for lag in range(1, span + 1):
        earlier = rows[["customer", "period", "centred"]].assign(period=rows["period"] + lag)
        pairs = earlier.merge(
            rows[["customer", "period", "centred"]], on=["customer", "period"], suffixes=("", "_later")
        )
        products.append(
            pd.DataFrame(
                {"customer": pairs["customer"], "lag": lag, "product": pairs["centred"] * pairs["centred_later"]}
            )
        )
    if not products or variance == 0:
        return None
    table = pd.concat(products, ignore_index=True)
    counts = table.groupby("lag").size()
    lags = counts.index[counts >= FEWEST_PAIRS].to_numpy()
    if len(lags) < FEWEST_LAGS:
        return None
    table = table[table["lag"].isin(lags)]
    covariance = table.groupby("lag")["product"].mean().reindex(lags).to_numpy(dtype=float)
    residual = table["product"].to_numpy() - covariance[np.searchsorted(lags, table["lag"].to_numpy())]
    sums = pd.DataFrame({"customer": table["customer"], "lag": table["lag"], "residual": residual})
    wide = sums.pivot_table(index="customer", columns="lag", values="residual", aggfunc="sum", fill_value=0.0)
    sizes = counts.reindex(lags).to_numpy(dtype=float)
    influence = wide.to_numpy(dtype=float) / sizes
    spread = influence.T @ influence
    values, vectors = np.linalg.eigh(spread)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noisy = covariance + generator.standard_normal((draws, len(lags))) @ root.T
    weights = 1 / np.maximum(np.diag(spread), 1e-12)
    lasting, fading, fade = _fit(np.vstack([covariance, noisy]), lags.astype(float), weights, variance)
    return Persistence(variance, float(lasting[0]), float(fading[0]), float(fade[0]), fade[1:], int(sizes.sum()))


def persistence_of(satisfaction: Satisfaction, *, generator: np.random.Generator, draws: int) -> Persistence:
    """Persistence from the parameters of satisfaction; draws of the fade from its own sampling error.

    Parameters
    ----------
    satisfaction : Satisfaction
    generator : Generator
    draws : int

    Returns
    -------
    Persistence
        ``fade_draws`` has shape (draws,).
    """
    position = PARAMETERS.index("fade")
    error = float(np.sqrt(satisfaction.covariance[position, position]))
    fades = [satisfaction.moved(position, error * step).fade for step in generator.standard_normal(draws)]
    lasting = satisfaction.lasting + satisfaction.predicted
    variance = lasting + satisfaction.fading + satisfaction.noise
    return Persistence(variance, lasting, satisfaction.fading, satisfaction.fade, np.array(fades), satisfaction.pairs)


def _fit(covariances: Floats, lags: Floats, weights: Floats, variance: float) -> tuple[Floats, Floats, Floats]:
    """Least squares of ``lasting + fading · fade**lag`` for each row of covariances (draws, lags).

    Both parts are at least 0 and together at most the variance of an answer: the rest is noise.
    """
    best = np.full(len(covariances), np.inf)
    found = [np.zeros(len(covariances)) for _ in range(3)]
    mean = covariances @ weights / weights.sum()
    for fade in FADES:
        basis = fade**lags
        centre = float(basis @ weights / weights.sum())
        spread = float(((basis - centre) ** 2) @ weights)
        free = ((covariances - mean[:, None]) * (basis - centre)) @ weights / max(spread, 1e-12)
        alone = covariances @ (weights * basis) / max(float(basis**2 @ weights), 1e-12)
        without_noise = (covariances - variance * basis) @ (weights * (1 - basis)) / float((1 - basis) ** 2 @ weights)
        candidates = (
            (mean - free * centre, free),
            (np.zeros_like(alone), np.clip(alone, 0.0, variance)),
            (np.clip(mean, 0.0, variance), np.zeros_like(mean)),
            (np.clip(without_noise, 0.0, variance), variance - np.clip(without_noise, 0.0, variance)),
        )
        for lasting, fading in candidates:
            allowed = (lasting >= 0) & (fading >= 0) & (lasting + fading <= variance * (1 + 1e-9))
            error = ((covariances - lasting[:, None] - fading[:, None] * basis) ** 2) @ weights
            better = allowed & (error < best * (1 - 1e-12))
            best = np.where(better, error, best)
            for target, value in zip(found, (lasting, fading, np.full(len(covariances), fade)), strict=True):
                target[better] = value[better]
    return found[0], found[1], found[2]
