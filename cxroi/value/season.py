"""The season of the year in what kept customers order and spend, from what the whole base did.

Orders of the next quarter of all customers at risk over the share kept, in logs: a trend, and what each quarter of the year
lies above or below the year.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi.panel import Panel

Floats = NDArray[np.float64]
QUARTERS_OF_A_YEAR = 4
FEWEST_QUARTERS = 6  # a level, a trend and three seasons take five
YEARS_LOOKED_AT = 4


@dataclass(frozen=True)
class Season:
    """What each quarter of the year lies above or below the year's mean, in logs.

    Attributes
    ----------
    orders, margin : array, shape (4,)
        First to fourth quarter; margin with the orders that bring it. 0 where the data show no season.
    orders_error, margin_error : array, shape (4,)
        Standard errors.
    """

    orders: Floats
    orders_error: Floats
    margin: Floats
    margin_error: Floats

    def factors(self, quarter: int, noise: Floats) -> dict[str, Floats]:
        """Factors on orders and margin in a quarter of the year (0 to 3), shape (draws + 1,); the first without error.

        ``noise`` (2, draws) is standard normal: that of orders, and that of margin's own.
        """
        own = np.sqrt(np.maximum(self.margin_error[quarter] ** 2 - self.orders_error[quarter] ** 2, 0.0))
        of_orders = np.r_[0.0, self.orders_error[quarter] * noise[0]]
        orders = self.orders[quarter] + of_orders
        return {
            "orders": np.exp(orders),
            "margin": np.exp(self.margin[quarter] + of_orders + np.r_[0.0, own * noise[1]]),
        }


def season(panel: Panel) -> Season:
    """Season of orders and of margin per kept customer.

    Least squares on a line and the quarters of at most four years, drawn towards none as far as chance alone could have made them.
    None (all 0) with fewer than six quarters of outcomes.

    Notes
    -----
    Source: dummies and a line, Hyndman & Athanasopoulos (2021), Forecasting: Principles and Practice, 3rd edition, section 7.4;
    shrinkage, Efron & Morris (1973), Journal of the American Statistical Association 68:117.
    """
    known = _moments(panel)
    orders, variance = _drawn_in(known["orders"].map(np.log), known["orders_noise"])
    basket = (known["margin"].where(known["margin"] > 0) / known["orders"]).map(np.log)
    noise = (known["margin_noise"] - known["orders_noise"]).clip(lower=0.0)
    of_basket, own_variance = _drawn_in(basket, noise)
    return Season(orders, np.sqrt(variance), orders + of_basket, np.sqrt(variance + own_variance))


def _moments(panel: Panel) -> pd.DataFrame:
    """Orders and margin of a kept customer by quarter, and the variance that chance among customers gives to their logs.

    Quarters (index of periods) with orders only; margin is empty where the data have none.
    """
    columns = ["orders", "margin", "orders_noise", "margin_noise"]
    base = panel.base[panel.base["level"] == ""]
    known = {name: own.set_index("period") for name, own in base.groupby("column")}
    if "orders" not in known or panel.period != "quarter":
        return pd.DataFrame(columns=columns, dtype=float)
    kept = known["retained"]["mean"].fillna(1.0) if "retained" in known else 1.0
    moments = pd.DataFrame(index=known["orders"].index, columns=columns, dtype=float)
    for name in ("orders", "margin"):
        if name in known:
            own = known[name]
            moments[name] = own["mean"] / kept
            moments[f"{name}_noise"] = (own["mean_square"] / own["mean"] ** 2 - 1.0).clip(lower=0.0) / own["n"]
    moments.index = moments.index + 1  # a row of the base holds the outcomes of the quarter after it
    return moments[moments["orders"] > 0]


def _drawn_in(logs: pd.Series, noise: pd.Series) -> tuple[Floats, Floats]:
    """Seasons (4,) of logs by quarter, drawn towards 0, and their variances; ``noise`` is what chance gives to the logs at least."""
    logs = logs.iloc[-YEARS_LOOKED_AT * QUARTERS_OF_A_YEAR :]
    quarter = logs.index.to_numpy(dtype=np.int64) % QUARTERS_OF_A_YEAR
    nothing = np.zeros(QUARTERS_OF_A_YEAR), np.zeros(QUARTERS_OF_A_YEAR)
    if len(logs) < FEWEST_QUARTERS or len(np.unique(quarter)) < QUARTERS_OF_A_YEAR or not np.isfinite(logs).all():
        return nothing
    line = logs.index.to_numpy(dtype=float) - float(logs.index.to_numpy(dtype=float).mean())
    apart = np.eye(QUARTERS_OF_A_YEAR)[:, :-1] - np.eye(QUARTERS_OF_A_YEAR)[:, [-1]]  # the four sum to 0
    columns, target = np.column_stack([np.ones(len(logs)), line, apart[quarter]]), logs.to_numpy(dtype=float)
    inverse = np.linalg.inv(columns.T @ columns)
    coefficients = inverse @ (columns.T @ target)
    scale = float(((target - columns @ coefficients) ** 2).sum()) / (len(logs) - len(coefficients))
    found = apart @ coefficients[2:]
    variance = max(scale, float(noise.reindex(logs.index).mean()))
    own = variance * np.diag(apart @ inverse[2:, 2:] @ apart.T)
    spread = max(float((found**2).mean() - own.mean()), 0.0)
    share = spread / (spread + own) if spread else np.zeros(QUARTERS_OF_A_YEAR)
    return found * share, share * own
