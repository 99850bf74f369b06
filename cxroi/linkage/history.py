"""Purchase history as a control, net of what past satisfaction explains.

Customers differ for reasons nobody records, and past orders show it. But past orders also carry the effect of past
satisfaction, and satisfaction lasts: holding plain history fixed takes away part of the very effect that is sought
(in a simulated company with a known effect and nothing to adjust for, half of it). So history enters as the
posterior mean of a customer's own order rate, given the orders that were seen and the orders that satisfaction made
us expect: ``log((a + orders) / (a + expected))`` with ``expected ∝ exp(slope · correlation · score)``. The slope is
the very coefficient that is sought, found as a fixed point; the correlation of today's answer with earlier
satisfaction comes from repeated answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxroi.linkage.fit import Floats
from cxroi.linkage.persistence import estimate_persistence
from cxroi.linkage.satisfaction import expects_satisfaction
from cxroi.panel import Panel

NET_COLUMNS = ("orders_now_net", "orders_so_far_net", "basket_net")
SOURCES = ("orders_now", "margin_now", "orders_before", "margin_before", "periods_before", "tenure")
PART_OF_THE_FIRST = 0.5  # period: on average customers join in its middle
FEWEST_PAIRS = 100
SMALLEST_SHAPE, LARGEST_SHAPE = 0.05, 50.0
BASKET_LIMITS = (0.05, 20.0)  # margin per order against the mean one


@dataclass(frozen=True)
class NetHistory:
    """How past orders and baskets are compared with what the score explains.

    Attributes
    ----------
    exposure : str
        Score, or empty.
    correlations : tuple of float
        Of satisfaction 1, 2, … periods apart.
    order_rate, order_shape : float
        Mean orders per period, and shape of the gamma spread of customers' own rates.
    basket : float
        Mean margin per order (currency).
    order_slope, basket_slope : float
        Change per point of the log of orders, and of the log of margin per order, that history is net of.
    order_bend, basket_bend : float
        The same per squared point, of expected satisfaction.
    """

    exposure: str
    centre: float
    correlations: tuple[float, ...]
    order_rate: float
    order_shape: float
    basket: float
    order_slope: float = 0.0
    basket_slope: float = 0.0
    order_bend: float = 0.0
    basket_bend: float = 0.0

    @property
    def nets(self) -> bool:
        """Whether repeated answers show how a score lasts, so that history can be netted."""
        return bool(self.correlations)

    def correlation(self, periods_before: Floats) -> Floats:
        """Correlation of satisfaction today and one period ago (0 periods), or averaged over that many periods before that."""
        if not self.correlations:
            return np.zeros(len(periods_before))
        known = np.array(self.correlations)
        longest = int(max(periods_before.max(initial=0.0), 0)) + 2
        extended = np.concatenate([known, np.full(max(longest - len(known), 0), known[-1])])
        running = np.cumsum(extended[1:]) / np.arange(1, len(extended))
        table = np.concatenate([[known[0]], running])
        return np.asarray(table[np.maximum(periods_before, 0).astype(int)])


def learn_history(rows: pd.DataFrame, exposure: str, correlations: tuple[float, ...]) -> NetHistory | None:
    """Rates and spread from the answered rows of a panel; None where the panel has no purchase history."""
    if not set(SOURCES) <= set(rows.columns):
        return None
    orders = rows["orders_now"].to_numpy(dtype=float)
    whole = orders[_periods_lived(rows)[0] == 1.0]
    orders = whole if len(whole) else orders
    rate = float(orders.mean())
    if rate <= 0:
        return None
    shape = float(np.clip(rate**2 / max(float(orders.var()) - rate, 1e-9), SMALLEST_SHAPE, LARGEST_SHAPE))
    return NetHistory(
        exposure=exposure,
        centre=float(rows[exposure].mean()) if exposure else 0.0,
        correlations=correlations,
        order_rate=rate,
        order_shape=shape,
        basket=float(rows["margin_now"].sum()) / float(rows["orders_now"].sum()),
    )


def satisfaction_correlations(panel: Panel, exposure: str) -> tuple[float, ...]:
    """Correlation of satisfaction now with satisfaction 1, 2, … periods ago, from the score with the most repeated answers.

    The noise of single answers is taken out where answers reach three periods apart or more: the slope that history is
    net of is as attenuated by that noise as the correlation is, and both together would count it twice. With fewer lags
    the plain correlations of answers are used; empty where nobody answered in two periods running.
    """
    if not exposure:
        return ()
    if expects_satisfaction(panel.rows.columns):
        return (1.0,)
    return panel.once("satisfaction correlations", lambda: _satisfaction_correlations(panel))


def _satisfaction_correlations(panel: Panel) -> tuple[float, ...]:
    answers = {metric: int(panel.rows[metric].notna().sum()) for metric in panel.metrics}
    by_size = sorted(answers, key=lambda metric: (-answers[metric], metric))
    span = int(panel.rows["period"].max() - panel.rows["period"].min())
    for metric in by_size:
        found = estimate_persistence(panel, metric, generator=np.random.default_rng(0), draws=1)
        if found is not None and found.lasting + found.fading > 0:
            satisfaction = found.lasting + found.fading
            return tuple((found.lasting + found.fading * found.fade**lag) / satisfaction for lag in range(1, span + 1))
    for metric in by_size:
        plain = _correlations(panel.answered(metric), metric)
        if plain:
            return plain
    return ()


def _correlations(rows: pd.DataFrame, exposure: str) -> tuple[float, ...]:
    """Correlations of answers 1, 2, … periods apart as far as 100 pairs reach, never rising."""
    if rows.empty:
        return ()
    answers = rows[["customer", "period"]].assign(
        centred=rows[exposure] - rows.groupby("period")[exposure].transform("mean")
    )
    variance = float((answers["centred"] ** 2).mean())
    if variance == 0:
        return ()
    found: list[float] = []
    for lag in range(1, int(rows["period"].max() - rows["period"].min()) + 1):
        pairs = answers.assign(period=answers["period"] + lag).merge(answers, on=["customer", "period"])
        if len(pairs) < FEWEST_PAIRS:
            break
        correlation = float((pairs["centred_x"] * pairs["centred_y"]).mean()) / variance
        found.append(float(np.clip(correlation, 0.0, found[-1] if found else 1.0)))
    return tuple(found)


def net_columns(rows: pd.DataFrame, net: NetHistory) -> dict[str, Floats]:
    """The columns ``orders_now_net``, ``orders_so_far_net``, ``basket_net`` for rows of a panel, shape (rows,) each."""
    before = rows["periods_before"].to_numpy(dtype=float)
    orders = rows["orders_now"].to_numpy(dtype=float) + rows["orders_before"].to_numpy(dtype=float) * before
    margin = rows["margin_now"].to_numpy(dtype=float) + rows["margin_before"].to_numpy(dtype=float) * before
    per_order = np.where(orders > 0, margin / np.maximum(orders, 1.0), net.basket)
    basket = np.log(np.clip(per_order / net.basket, *BASKET_LIMITS)) if net.basket > 0 else np.zeros(len(rows))
    past = _past_of_baskets(rows, net)
    columns = (*net_orders(rows, net), basket - (net.basket_slope + net.basket_bend * past) * past)
    return dict(zip(NET_COLUMNS, columns, strict=True))


def net_orders(rows: pd.DataFrame, net: NetHistory) -> tuple[Floats, Floats]:
    """The columns ``orders_now_net`` and ``orders_so_far_net`` alone.

    All orders so far stand together: only then is their posterior mean, by which the equation multiplies, the same on average whatever
    past satisfaction was. Apart from the last period's, with one coefficient however many periods they come from, it is not.
    """
    expected_now, expected_before = _expected_orders(rows, net)
    now = rows["orders_now"].to_numpy(dtype=float)
    before = rows["orders_before"].to_numpy(dtype=float) * rows["periods_before"].to_numpy(dtype=float)
    return (
        _posterior(now, expected_now, net.order_shape),
        _posterior(now + before, expected_now + expected_before, net.order_shape),
    )


def net_orders_by_slope(rows: pd.DataFrame, net: NetHistory) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Derivatives of both columns of :func:`net_orders` by ``order_slope``, and by ``order_bend``."""
    (now, before), (last, earlier) = _expected_orders(rows, net), _past_scores(rows, net)
    of_now, so_far = net.order_shape + now, net.order_shape + now + before
    now, before = now * last, before * earlier
    by_slope = -now / of_now, -(now + before) / so_far
    now, before = now * last, before * earlier
    return by_slope, (-now / of_now, -(now + before) / so_far)


def net_basket_by_slope(rows: pd.DataFrame, net: NetHistory) -> tuple[Floats, Floats]:
    """Derivatives of the column ``basket_net`` by ``basket_slope``, and by ``basket_bend``."""
    past = _past_of_baskets(rows, net)
    return -past, -(past**2)


def _expected_orders(rows: pd.DataFrame, net: NetHistory) -> tuple[Floats, Floats]:
    """Orders of the last period, and of all before it, that past satisfaction makes us expect, shape (rows,) each."""
    now, before = _periods_lived(rows)
    last, earlier = _past_scores(rows, net)
    return (
        net.order_rate * now * np.exp((net.order_slope + net.order_bend * last) * last),
        net.order_rate * before * np.exp((net.order_slope + net.order_bend * earlier) * earlier),
    )


def _periods_lived(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Periods that the last one's orders, and those of all before it, come from: of the one that a customer joined in, half."""
    tenure, before = (rows[name].to_numpy(dtype=float) for name in ("tenure", "periods_before"))
    first = np.where(
        (before > 0) & (tenure <= before), PART_OF_THE_FIRST, 1.0
    )  # less than 1 where joined within the data
    return np.where(tenure <= 0, PART_OF_THE_FIRST, 1.0), before - (1.0 - first)


def _past_scores(rows: pd.DataFrame, net: NetHistory) -> tuple[Floats, Floats]:
    """What the score says of satisfaction one period ago and on average before that, points from the mean, shape (rows,) each."""
    if expects_satisfaction(rows.columns):
        return rows["satisfaction_last"].to_numpy(dtype=float), rows["satisfaction_earlier"].to_numpy(dtype=float)
    before = rows["periods_before"].to_numpy(dtype=float)
    score = np.zeros(len(rows))
    if net.exposure and net.exposure in rows:
        score = np.nan_to_num(rows[net.exposure].to_numpy(dtype=float) - net.centre)
    return net.correlation(np.zeros(len(rows))) * score, net.correlation(before) * score


def _past_of_baskets(rows: pd.DataFrame, net: NetHistory) -> Floats:
    """The past score that a mean basket is compared with: the average one, or the last where there is no other, shape (rows,)."""
    last, earlier = _past_scores(rows, net)
    return np.where(rows["periods_before"].to_numpy(dtype=float) > 0, earlier, last)


def _posterior(orders: Floats, expected: Floats, shape: float) -> Floats:
    """Log of the posterior mean of a gamma-Poisson rate ratio, shape (rows,)."""
    return np.log((shape + np.maximum(orders, 0.0)) / (shape + np.maximum(expected, 0.0)))
