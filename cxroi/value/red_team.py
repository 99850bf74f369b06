"""Red team: what the popular shortcuts make of the same data, beside the value of a point as it is estimated here.

Every shortcut answers the same question, what one point more on the score adds to the value of a customer over the stated horizon,
and departs from the headline in one thing only; the last one takes several of them together, as a sales slide does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.linkage import Linkage
from cxroi.linkage.effects import average_product_effect
from cxroi.linkage.fit import fit, joint_covariance
from cxroi.panel import Panel
from cxroi.value.forward import BELOW_TOP
from cxroi.value.lifetime import CustomerValue

Floats = NDArray[np.float64]
Shortcut = Literal[
    "raw_gap", "respondents_only", "same_period", "one_over_churn", "revenue", "no_discounting", "summed", "together"
]
HEADLINE = "headline"
SHORTCUTS: tuple[Shortcut, ...] = (
    *("raw_gap", "respondents_only", "same_period", "one_over_churn"),
    *("revenue", "no_discounting", "summed", "together"),
)
ALWAYS_HIGHER: frozenset[str] = frozenset({"one_over_churn", "revenue", "no_discounting", "summed"})
"""Shortcuts that are too high by their arithmetic where a point brings margin; the others can err either way."""

FEWEST_OF_A_BAND = 30
NORMAL_95 = float(special.ndtri(0.95))
COLUMNS = ("shortcut", "estimate", "low", "high", "times", "unit", "reason")


class Figure(NamedTuple):
    """A value of one point with its 5-95 % range; NaN and a reason where it cannot be formed."""

    estimate: float
    low: float
    high: float
    reason: str = ""


@dataclass(frozen=True)
class RedTeam:
    """Value of one point by the headline and by each shortcut.

    Attributes
    ----------
    table : DataFrame
        ``shortcut, estimate, low, high, times, unit, reason``: currency per customer and point with its 5-95 % range, how many times the
        headline (NaN where the headline's range holds 0: a ratio to it says nothing), and why a shortcut has no figure. The first row
        is ``headline``.
    """

    exposure: str
    horizon_quarters: int
    annual_discount_rate: float
    table: pd.DataFrame

    def __repr__(self) -> str:
        return repr(self.table)

    def tidy(self) -> pd.DataFrame:
        """One row per shortcut, the headline first."""
        return self.table

    def glance(self) -> pd.DataFrame:
        """One row: the headline, the shortcuts with a figure, and the largest of them as a multiple."""
        known = self.table[1:]
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "headline": [float(self.table["estimate"].iloc[0])],
                "shortcuts": [int(known["estimate"].notna().sum())],
                "most_times": [float(known["times"].max())],
            }
        )


def red_team(value: CustomerValue) -> RedTeam | str:
    """Value one point by the popular shortcuts on the data and equations behind a lifetime value.

    Parameters
    ----------
    value : CustomerValue
        With a value per point.

    Returns
    -------
    RedTeam or str
        The reason in words where a point has no value.

    Notes
    -----
    ``raw_gap``: each band of answers keeps its own observed retention and margin for the whole horizon; promoters less detractors per
    point of distance. ``respondents_only``: the headline's equations averaged over those who answered as they are.
    ``same_period``: margin of the period of the answer, per point, while customers are expected to stay. ``one_over_churn``: today's
    margin over the churn rate with and without the point's changes. ``revenue``: the headline times revenue over margin of the base.
    ``no_discounting``: the headline at a rate of 0. ``summed``: what retention brings counted in the lifetime value and once more
    as churn saved. ``together``: raw gap of revenue over churn, undiscounted. Ranges are normal for observed means (clustered by customer)
    and draws elsewhere.

    Source: Gupta & Lehmann (2003), Journal of Interactive Marketing 17:9 (margin multiples over churn); Reichheld (2003), Harvard
    Business Review 81:46 (gaps between promoters and detractors); Keiningham et al. (2007), Journal of Marketing 71:39 (why they mislead).
    """
    if value.reason or not value.exposure or value.margin is None or value.retention is None:
        return value.reason or "the data have no answers, so nothing links a score to value"
    ours = value.point_draws()
    headline = _of_draws(float(ours[0]), ours[1:])
    rows = [(HEADLINE, headline), *((name, _FIGURES[name](value, ours)) for name in SHORTCUTS)]
    clear = headline.low > 0
    table = pd.DataFrame(
        [
            (
                name,
                each.estimate,
                each.low,
                each.high,
                each.estimate / headline.estimate if clear else np.nan,
                each.reason,
            )
            for name, each in rows
        ],
        columns=["shortcut", "estimate", "low", "high", "times", "reason"],
    )
    table["unit"] = value.panel.currency or "currency"
    return RedTeam(value.exposure, value.horizon_quarters, value.annual_discount_rate, table[list(COLUMNS)])


def red_team_checks(found: RedTeam) -> pd.DataFrame:
    """Which shortcuts leave the headline's range: ``name, verdict, number, advice``; number: times the headline.

    A shortcut passes where its figure lies in the headline's 5-95 % range: it happens to do no harm here, which does not make it right.
    """
    low, high = (float(found.table[name].iloc[0]) for name in ("low", "high"))
    rows = []
    for row in found.table[1:].to_dict("records"):
        if row["reason"]:
            rows.append((row["shortcut"], "warn", np.nan, row["reason"]))
            continue
        inside = low <= row["estimate"] <= high
        where = "within" if inside else "above" if row["estimate"] > high else "below"
        rows.append((row["shortcut"], "pass" if inside else "fail", row["times"], f"{where} the range of the headline"))
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _of_draws(estimate: float, draws: Floats) -> Figure:
    low, high = np.quantile(draws, [0.05, 0.95])
    return Figure(estimate, float(low), float(high))


def _of_error(estimate: float, error: float) -> Figure:
    return Figure(estimate, estimate - NORMAL_95 * error, estimate + NORMAL_95 * error)


def _none(reason: str) -> Figure:
    return Figure(np.nan, np.nan, np.nan, reason)


def _raw_gap(value: CustomerValue, ours: Floats) -> Figure:
    def worth(retained: float, margin: float) -> float:
        later = np.arange(value.horizon_quarters)
        return margin * float(value.discount @ retained**later)

    return _gap(value, "margin", worth)


def _together(value: CustomerValue, ours: Floats) -> Figure:
    def worth(retained: float, revenue: float) -> float:
        return revenue / (1 - retained)

    return _gap(value, "revenue", worth)


def _gap(value: CustomerValue, amount: str, worth: Callable[[float, float], float]) -> Figure:
    """Worth of the high less that of the low band at their own retention and amount, per point between their mean answers."""
    rows = value.panel.answered(value.exposure)
    if amount not in rows or rows[amount].isna().all():
        return _none(f"the data have no {amount} after the answers")
    rows = rows[rows["retained"].notna() & rows[amount].notna()]
    best = value.panel.score_ranges[value.exposure][1]
    answer = rows[value.exposure].to_numpy(dtype=float)
    below_middle, below_high = BELOW_TOP[value.exposure]
    bands = answer > best - below_high, answer <= best - below_middle
    if min(int(band.sum()) for band in bands) < FEWEST_OF_A_BAND:
        return _none(f"fewer than {FEWEST_OF_A_BAND} answers in the highest or the lowest band")
    seen = [rows[name].to_numpy(dtype=float) for name in ("retained", amount)] + [answer]
    means = np.array([column[band].mean() for band in bands for column in seen])
    if max(means[0], means[3]) == 1:
        return _none("nobody left one of the bands, so no gap between them can be formed")
    influence = np.column_stack(
        [np.where(band, column - column[band].mean(), 0.0) / band.sum() for band in bands for column in seen]
    )
    sums = pd.DataFrame(influence).groupby(rows["customer"].to_numpy()).sum().to_numpy()

    def per_point(at: Floats) -> float:
        return (worth(at[0], at[1]) - worth(at[3], at[4])) / float(at[2] - at[5])

    gradient = _gradient(per_point, means)
    return _of_error(per_point(means), float(np.sqrt(((sums @ gradient) ** 2).sum())))


def _gradient(function: Callable[[Floats], float], at: Floats) -> Floats:
    """Central differences, shape of ``at``."""
    steps = 1e-5 * np.maximum(np.abs(at), 1e-8)
    moved = np.diag(steps)
    return np.array([(function(at + step) - function(at - step)) / 2 for step in moved]) / steps


def _respondents_only(value: CustomerValue, ours: Floats) -> Figure:
    retention, margin = _equations(value)
    alike = np.ones(len(margin.slopes.design))
    average = average_product_effect(retention.slopes, margin.slopes, alike, (None, None))
    weighted = margin.effect.estimate
    return (
        _none("the headline shows no margin to scale") if weighted == 0 else _scaled(ours, average.estimate / weighted)
    )


def _same_period(value: CustomerValue, ours: Floats) -> Figure:
    rows = value.panel.answered(value.exposure)
    if "margin_now" not in rows or rows["margin_now"].isna().all():
        return _none("the data have no margin of the period of the answer")
    design = np.asfortranarray(np.column_stack([np.ones(len(rows)), rows[value.exposure].to_numpy(dtype=float)]))
    found = fit(design, rows["margin_now"].to_numpy(dtype=float), rows["customer"].to_numpy(), family="gaussian")
    quarters = float(value.discount @ value.path()["survival"].to_numpy())
    return _of_error(quarters * float(found.coefficients[1]), quarters * float(found.std_errors[1]))


def _one_over_churn(value: CustomerValue, ours: Floats) -> Figure:
    retention, margin = _equations(value)
    kept, spend = (base_mean(value.panel, name) for name in ("retained", "margin"))
    changed, gained = retention.effect, margin.effect
    if not kept < 1 or not kept + changed.estimate < 1:
        return _none("nobody leaves, so one over the churn rate is infinite")

    def worth(at: Floats) -> float:
        return float((spend + at[1]) / (1 - kept - at[0]) - spend / (1 - kept))

    changes = np.array([changed.estimate, gained.estimate])
    by_change = _gradient(worth, changes)
    of_retention = np.concatenate([changed.gradient, np.zeros(len(margin.fitted.coefficients))])
    gradient = by_change[0] * of_retention + by_change[1] * gained.gradient
    covariance = joint_covariance([retention.fitted, margin.fitted])
    return _of_error(worth(changes), float(np.sqrt(gradient @ covariance @ gradient)))


def _revenue(value: CustomerValue, ours: Floats) -> Figure:
    earned, margin = (base_mean(value.panel, name) for name in ("revenue", "margin"))
    if not np.isfinite(earned) or not margin > 0:
        return _none("the data have no revenue beside margin")
    return _scaled(ours, earned / margin)


def _no_discounting(value: CustomerValue, ours: Floats) -> Figure:
    draws = replace(value, annual_discount_rate=0.0).point_draws()
    return _of_draws(float(draws[0]), draws[1:])


def _summed(value: CustomerValue, ours: Floats) -> Figure:
    response = value.response(value.horizon_quarters)
    in_force = np.arange(1, value.horizon_quarters + 1)
    through_retention = response.through_retention @ (value.discount * in_force)
    through_spend = response.through_spend @ value.discount
    return _of_draws(float(ours[0] + through_retention.mean()), 2 * through_retention + through_spend)


def _scaled(ours: Floats, factor: float) -> Figure:
    return _of_draws(float(ours[0]) * factor, ours[1:] * factor)


def _equations(value: CustomerValue) -> tuple[Linkage, Linkage]:
    """Retention and margin given retained; both exist where a point has a value."""
    assert value.margin is not None
    retention = value.margin.retention or value.retention
    assert retention is not None
    return retention, value.margin


def base_mean(panel: Panel, column: str) -> float:
    """Mean of an outcome over all customers at risk; NaN where it is not known."""
    base = panel.base
    own = base[(base["column"] == column) & (base["level"] == "") & base["mean"].notna()]
    return float(np.average(own["mean"], weights=own["n"])) if own["n"].sum() > 0 else float("nan")


_FIGURES: dict[str, Callable[[CustomerValue, Floats], Figure]] = {
    "raw_gap": _raw_gap,
    "respondents_only": _respondents_only,
    "same_period": _same_period,
    "one_over_churn": _one_over_churn,
    "revenue": _revenue,
    "no_discounting": _no_discounting,
    "summed": _summed,
    "together": _together,
}
