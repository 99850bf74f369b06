"""What the benefits of a case come through: customers who stay and what they spend, as parts that sum to the whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from cxroi.case.business_case import BusinessCase
from cxroi.case.forecast import by_quarter, discount_factors, quantiles, unit_benefit

COLUMNS = ("part", "low", "median", "high", "mean")


def benefit_parts(decision: BusinessCase) -> pd.DataFrame:
    """Present value of the benefits (after tax) by what it comes through; the parts of every draw sum to its ``pv_benefit``.

    Returns
    -------
    DataFrame
        ``part`` (``retention``, ``spend``, ``total``), ``low, median, high`` (5, 50, 95 %), ``mean``, in currency; the means add up, the
        quantiles need not. No rows where there is no response.
    """
    response, case = decision.response, decision.case
    if response.reason:
        return pd.DataFrame(columns=list(COLUMNS))
    # the linkage's draws are the first that the case's generator gives
    linkage = np.random.default_rng(decision.seed).integers(0, len(response.baseline), decision.draws)
    weights = by_quarter(discount_factors(case)[1:]) * (1.0 - case.tax_rate)
    gains = [each.gain for each in decision.forecasts[: len(case.programmes)]]
    silent = np.zeros_like(response.through_spend)
    alone = {"retention": replace(response, through_spend=silent), "spend": replace(response, through_retention=silent)}
    parts = {
        name: np.sum(
            [
                gain * (unit_benefit(own, case, each) @ weights)[linkage]
                for gain, each in zip(gains, case.programmes, strict=True)
            ],
            axis=0,
        )
        for name, own in alone.items()
    }
    total, uncut = decision.whole.measures["pv_benefit"], parts["retention"] + parts["spend"]
    cut = np.divide(total, uncut, out=np.ones_like(total), where=uncut != 0)  # gains together wider than the scores
    draws = {name: part * cut for name, part in parts.items()} | {"total": total}
    rows = [(name, *quantiles(values), float(values.mean())) for name, values in draws.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))
