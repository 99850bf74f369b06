"""Placebo: a score must not tell what the customer had done before it was given, beyond what the customer is like.

Under a plain confounder every earlier quarter of orders says equally much about the customer, and so about the score. If
orders themselves raise the score, the orders just before the answer say more. The test regresses what is new in an
answer (against all earlier ones) on the latest orders, with the rate that all orders together show held fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxroi.linkage.calibrated import Calibrated
from cxroi.linkage.fit import fit
from cxroi.linkage.history import learn_history
from cxroi.linkage.satisfaction import expect

FEWEST_ROWS = 200
CLEAR, SUBSTANTIAL = 3.0, 0.1  # standard errors; standard deviations of the news per standard deviation of orders


@dataclass(frozen=True)
class Placebo:
    """Standard deviations of the news in an answer per standard deviation of the latest orders, and its z."""

    slope: float
    z: float
    n_obs: int

    @property
    def passes(self) -> bool:
        """Whether the latest orders say nothing of note about the next answer."""
        return not (abs(self.z) > CLEAR and abs(self.slope) > SUBSTANTIAL)

    def check(self) -> tuple[str, str, float, str]:
        """Row ``name, verdict, number, advice``."""
        advice = (
            "the orders just before an answer tell no more about it than earlier ones"
            if self.passes
            else "orders just before an answer move it: satisfaction is partly a result of buying. Comparing within customers is not "
            "trusted, and every figure of this score is an association only; send surveys away from orders"
        )
        return ("placebo: orders before the answer", "pass" if self.passes else "fail", self.slope, advice)


def placebo(scores: Calibrated) -> Placebo | None:
    """The test on the answered rows that have an earlier period; None where those are too few or orders are unknown.

    Notes
    -----
    Source: negative-control outcome, Lipsitch, Tchetgen Tchetgen & Cohen (2010), Epidemiology 21:383; cross-lag logic,
    Finkel (1995), Causal Analysis with Panel Data.
    """
    rows = scores.panel.rows
    net = learn_history(rows, "", ())
    if net is None:
        return None
    news = _news(scores)
    before = rows["periods_before"].to_numpy(dtype=float)
    now = rows["orders_now"].to_numpy(dtype=float)
    total = now + rows["orders_before"].to_numpy(dtype=float) * before
    rate = np.log((net.order_shape + total) / (net.order_shape + net.order_rate * (1 + before)))
    usable = (before > 0) & np.isfinite(news)
    if usable.sum() < FEWEST_ROWS or np.ptp(now[usable]) == 0:
        return None
    periods = pd.get_dummies(rows["period"][usable]).to_numpy(dtype=float)[:, 1:]
    latest = np.log1p(now[usable])
    held = np.column_stack([np.ones(int(usable.sum())), rate[usable], rate[usable] ** 2, periods])
    kept = latest - held @ np.linalg.lstsq(held, latest, rcond=None)[0]
    spread, scale = float(kept.std()), float(news[usable].std())
    if spread < 1e-9 or scale == 0:
        return None
    design = np.asfortranarray(np.column_stack([kept / spread, held]))
    found = fit(design, news[usable] / scale, rows["customer"].to_numpy()[usable], family="gaussian")
    slope, error = float(found.coefficients[0]), float(found.std_errors[0])
    return Placebo(slope, slope / error, int(usable.sum()))


def _news(scores: Calibrated) -> np.ndarray:
    """What each answer adds to what earlier answers and controls predict, points; NaN in the first period."""
    found = expect(scores.satisfaction, scores.grid.answers)
    customer, period = scores.grid.rows
    earlier = np.maximum(period - 1, 0)
    level, now = found.level[customer, earlier], found.now[customer, earlier]
    predicted = level + scores.satisfaction.fade * (now - level)
    return np.asarray(scores.grid.answers.deviation[customer, period] - predicted)
