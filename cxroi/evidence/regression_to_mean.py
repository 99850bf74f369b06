"""Low scorers rise untouched: how much of a change between two answers the noise of the first one explains.

A customer's answer is satisfaction plus passing moods; whoever gave a low one was partly unlucky that day. Of the distance
from the mean only the share ``reliability`` is expected to be there at the next answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.linkage.fit import fit, independent_columns
from cxroi.panel import Panel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST_PAIRS = 100
FEWEST_OF_A_BAND = 30
NORMAL_975 = float(special.ndtri(0.975))
BANDS: dict[str, tuple[str, str, str]] = {
    "nps": ("detractors", "passives", "promoters"),
    "csat": ("low", "middle", "satisfied"),
    "ces": ("hard", "middle", "easy"),
}


@dataclass(frozen=True)
class RegressionToMean:
    """Change between two answers of the same customer, against the change expected of nobody having done anything.

    Attributes
    ----------
    bands : DataFrame
        A row per band of the first answer: ``band, n, first, second`` (mean answers), ``change``, ``expected`` (change that
        reliability alone makes), ``mirrored`` (change seen looking back from the second answers: what a process that nothing
        disturbs would show), ``remaining`` (change less expected) with ``conf_low, conf_high``; points of the answer. The mean
        change of all pairs is taken out of the last four and stands in ``drift``.
    reliability : DataFrame
        ``lag`` (periods between the answers), ``estimate`` (correlation of the two), ``std_error, conf_low, conf_high, pairs``.
    ancova : DataFrame
        Second answer on the first, its slope by lag, and period: ``term, estimate, std_error, conf_low, conf_high``; terms
        ``baseline`` (share of the distance kept at the shortest lag), ``low scorers`` (what they rise beyond that line), or
        the group that was asked for.
    drift : float
        Mean change of all pairs, points.
    pairs : int
    """

    exposure: str
    bands: pd.DataFrame
    reliability: pd.DataFrame
    ancova: pd.DataFrame
    drift: float
    pairs: int

    def __repr__(self) -> str:
        return repr(self.bands)

    def tidy(self) -> pd.DataFrame:
        """A row per band of the first answer."""
        return self.bands

    def glance(self) -> pd.DataFrame:
        """One row: pairs, reliability at the shortest distance, drift."""
        first = self.reliability.iloc[0]
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "pairs": [self.pairs],
                "reliability": [float(first["estimate"])],
                "drift": [self.drift],
            }
        )


def regression_to_mean(panel: Panel, exposure: str, *, group: str = "") -> RegressionToMean | str:
    """Compare each band's change between two answers with the change that reliability alone makes.

    Parameters
    ----------
    panel : Panel
    exposure : str
        ``nps``, ``csat`` or ``ces``.
    group : str, optional
        A column of ``panel.rows`` with 1 for customers to whom something was done after the first answer, else 0: its coefficient in
        the analysis of covariance is what they changed beyond others with the same first answer.

    Returns
    -------
    RegressionToMean or str
        The reason in words where fewer than 100 pairs of answers are there.

    Raises
    ------
    InputError
        If the group is no column of numbers of the panel.

    Notes
    -----
    Pairs are neighbouring answers of a customer; the distance from the period's mean answer is used, and the mean change of all
    pairs is taken out, since those who stay differ from those who leave. ``expected`` is ``−(1 − r)·distance`` with r the
    correlation of answers that many periods apart. Source: Galton (1886), Journal of the Anthropological Institute 15:246;
    Barnett, van der Pols & Dobson (2005), International Journal of Epidemiology 34:215; covariance analysis, Vickers & Altman
    (2001), BMJ 323:1123. Errors are clustered by customer and count that of r.
    """
    if exposure not in panel.metrics:
        return f"the data have no answers to {exposure}"
    if group and (group not in panel.rows or not pd.api.types.is_numeric_dtype(panel.rows[group])):
        raise InputError(
            f"group must be a column of numbers of the panel's rows, 1 where something was done and else 0; got {group!r}"
        )
    pairs = answer_pairs(panel, exposure, group)
    if len(pairs) < FEWEST_PAIRS:
        return f"{len(pairs)} customers' answers are followed by another; at least {FEWEST_PAIRS} pairs are needed"
    first, second = (pairs[name].to_numpy(dtype=float) for name in ("first_distance", "second_distance"))
    if first.std() == 0 or second.std() == 0:
        return "every answer is the same"
    customer = pd.factorize(pairs["customer"])[0].astype(np.int64)
    drift = float((second - first).mean())
    first, second = first - first.mean(), second - second.mean()
    lags = _pooled_lags(pairs["lag"].to_numpy())
    reliability, influence = _reliability(first, second, lags, customer)
    bands = _bands(panel, exposure, pairs, (first, second), (lags, reliability, influence, customer))
    return RegressionToMean(
        exposure=exposure,
        bands=bands,
        reliability=reliability,
        ancova=_ancova(panel, exposure, pairs, group),
        drift=drift,
        pairs=len(pairs),
    )


def answer_pairs(panel: Panel, exposure: str, group: str = "") -> pd.DataFrame:
    """Neighbouring answers of the same customer: ``customer, lag, period, first, second, first_distance, second_distance``.

    Distances are from the mean answer of the period (points); ``group`` is the first answer's.
    """
    rows = panel.answered(exposure)
    answer = rows[exposure]
    distance = answer - answer.groupby(rows["period"]).transform("mean")
    same = rows["customer"].eq(rows["customer"].shift(-1))
    pairs = pd.DataFrame(
        {
            "customer": rows["customer"],
            "lag": rows["period"].shift(-1) - rows["period"],
            "period": rows["period"],
            "first": answer,
            "second": answer.shift(-1),
            "first_distance": distance,
            "second_distance": distance.shift(-1),
            "group": rows[group].astype(float) if group else 0.0,
        }
    )
    return pairs[same].reset_index(drop=True).astype({"lag": np.int64})


def band_of(answers: Floats, exposure: str, scale: tuple[float, float]) -> Ints:
    """Band of each answer: 0 low, 1 middle, 2 high (NPS: detractors, passives, promoters), shape of ``answers``.

    Examples
    --------
    >>> band_of(np.array([6.0, 7, 8, 9]), "nps", (0.0, 10.0))
    array([0, 1, 1, 2])
    """
    low, high = scale
    if exposure == "ces":
        middle = (low + high) / 2
        return np.asarray(np.where(answers < middle, 0, np.where(answers <= middle, 1, 2)), dtype=np.int64)
    below = high - 3 if exposure == "nps" else high - 2
    return np.asarray(np.where(answers < below, 0, np.where(answers < high - 1, 1, 2)), dtype=np.int64)


def regression_to_mean_checks(found: RegressionToMean) -> pd.DataFrame:
    """Verdicts on regression to the mean: one row a check, ``name, verdict, number, advice``."""
    rows: list[tuple[str, str, float, str]] = []
    for one in found.bands.to_dict("records"):
        if not np.isfinite(one["remaining"]) or one["band"] == BANDS[found.exposure][1]:
            continue
        nothing = one["conf_low"] <= 0 <= one["conf_high"]
        advice = (
            f"{one['expected']:+.2f} of {one['change']:+.2f} points of change at the next answer are regression to the mean; "
            f"{one['remaining']:+.2f} remain ({one['conf_low']:+.2f} to {one['conf_high']:+.2f})"
        )
        advice += (
            ": credit nobody with it"
            if nothing
            else ": something else moved them; see whom it reached, and compare with others alike"
        )
        rows.append((f"change of {one['band']}", "pass" if nothing else "warn", float(one["expected"]), advice))
    first = found.reliability.iloc[0]
    reliable = float(first["estimate"]) >= 0.5
    rows.append(
        (
            "repeatability of an answer",
            "pass" if reliable else "warn",
            float(first["estimate"]),
            f"correlation of answers {int(first['lag'])} period{'s' if first['lag'] > 1 else ''} apart"
            + (
                ""
                if reliable
                else ": more than half of a distance from the mean is gone at the next answer; follow groups, not single customers"
            ),
        )
    )
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _pooled_lags(lags: Ints) -> Ints:
    """Lags with fewer than 100 pairs counted as the nearest lag that has them (all as one where none has), shape (pairs,)."""
    counts = np.bincount(lags)
    large = np.flatnonzero(counts >= FEWEST_PAIRS)
    if not len(large):
        return np.full(len(lags), int(np.median(lags)), dtype=np.int64)
    nearest = large[np.abs(np.arange(len(counts))[:, None] - large[None, :]).argmin(axis=1)]
    return np.asarray(nearest[lags], dtype=np.int64)


def _reliability(first: Floats, second: Floats, lags: Ints, customer: Ints) -> tuple[pd.DataFrame, Floats]:
    """Correlation of answers by lag, and each customer's contribution to it (customers, lags).

    Both answers have the same variance in the population, so the correlation is ``2Σab / Σ(a² + b²)``.
    """
    known = np.unique(lags)
    estimates = np.empty(len(known))
    influence = np.zeros((int(customer.max()) + 1, len(known)))
    for place, lag in enumerate(known):
        here = lags == lag
        a, b = first[here], second[here]
        total = float(a @ a + b @ b)
        estimates[place] = 2 * float(a @ b) / total
        by_pair = (2 * a * b - estimates[place] * (a**2 + b**2)) / total
        influence[:, place] = np.bincount(customer[here], weights=by_pair, minlength=len(influence))
    error = np.sqrt((influence**2).sum(axis=0))
    table = pd.DataFrame(
        {
            "lag": known,
            "estimate": estimates,
            "std_error": error,
            "conf_low": estimates - NORMAL_975 * error,
            "conf_high": estimates + NORMAL_975 * error,
            "pairs": [int((lags == lag).sum()) for lag in known],
        }
    )
    return table, influence


def _bands(
    panel: Panel,
    exposure: str,
    pairs: pd.DataFrame,
    distances: tuple[Floats, Floats],
    repeated: tuple[Ints, pd.DataFrame, Floats, Ints],
) -> pd.DataFrame:
    first, second = distances
    lags, reliability, influence, customer = repeated
    place = np.searchsorted(reliability["lag"].to_numpy(), lags)
    lost = 1 - reliability["estimate"].to_numpy(dtype=float)[place]
    expected, change = -lost * first, second - first
    scale = panel.score_ranges[exposure]
    answers = {name: pairs[name].to_numpy(dtype=float) for name in ("first", "second")}
    band, later = (band_of(answers[name], exposure, scale) for name in ("first", "second"))
    n_customers = int(customer.max()) + 1
    found = []
    for number, name in enumerate(BANDS[exposure]):
        own, back = band == number, later == number
        n = int(own.sum())
        if n < FEWEST_OF_A_BAND:
            found.append((name, n, *[np.nan] * 8))
            continue
        remaining = float((change - expected)[own].mean())
        by_pair = np.where(own, change - expected - remaining, 0.0) / n
        contribution = np.bincount(customer, weights=by_pair, minlength=n_customers)
        by_lag = np.bincount(place[own], weights=first[own], minlength=len(reliability)) / n
        reach = NORMAL_975 * float(np.sqrt(((contribution - influence @ by_lag) ** 2).sum()))
        found.append(
            (
                name,
                n,
                float(answers["first"][own].mean()),
                float(answers["second"][own].mean()),
                float(change[own].mean()),
                float(expected[own].mean()),
                float(-change[back].mean()) if back.any() else np.nan,
                remaining,
                remaining - reach,
                remaining + reach,
            )
        )
    columns = ["band", "n", "first", "second", "change", "expected", "mirrored", "remaining", "conf_low", "conf_high"]
    return pd.DataFrame(found, columns=columns)


def _ancova(panel: Panel, exposure: str, pairs: pd.DataFrame, group: str) -> pd.DataFrame:
    """Second answer on the first, period and lag, and on being a low scorer or in the group; clustered by customer."""
    first = pairs["first"].to_numpy(dtype=float)
    low = band_of(first, exposure, panel.score_ranges[exposure]) == 0
    marked = pairs["group"].to_numpy(dtype=float) if group else low.astype(float)
    lag, period = _pooled_lags(pairs["lag"].to_numpy()), pairs["period"].to_numpy()
    later = [(lag == level).astype(float) for level in np.unique(lag)[1:]]
    columns = [first, marked, np.ones(len(pairs)), *later, *(first * one for one in later)]
    columns += [(period == level).astype(float) for level in np.unique(period)[1:]]
    matrix = np.asfortranarray(np.column_stack(columns))
    kept = independent_columns(matrix)
    fitted = fit(
        np.asfortranarray(matrix[:, kept]),
        pairs["second"].to_numpy(dtype=float),
        pairs["customer"].to_numpy(dtype=np.int64),
        family="gaussian",
    )
    names = ["baseline", group or "low scorers"]
    shown = [(names[column], place) for place, column in enumerate(kept) if column < len(names)]
    estimate = np.array([fitted.coefficients[place] for _, place in shown])
    error = np.array([fitted.std_errors[place] for _, place in shown])
    return pd.DataFrame(
        {
            "term": [name for name, _ in shown],
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - NORMAL_975 * error,
            "conf_high": estimate + NORMAL_975 * error,
        }
    )
