"""What the benefits of a case come through: the terms of customer value, as parts that sum to the whole."""

from __future__ import annotations

import pandas as pd

from cxroi.case.business_case import BusinessCase
from cxroi.case.measures import quantiles

COLUMNS = ("part", "low", "median", "high", "mean")


def benefit_parts(decision: BusinessCase) -> pd.DataFrame:
    """Present value of the benefits (after tax) by what it comes through; the parts of every draw sum to its ``pv_benefit``.

    Returns
    -------
    DataFrame
        ``part`` (``retention``, ``spend``, … the terms in ``Forecast.terms``, then ``total``), ``low, median, high`` (5, 50, 95 %),
        ``mean``, in currency; the means add up, the quantiles need not. No rows where there is no response.
    """
    whole = decision.whole
    if decision.response.reason:
        return pd.DataFrame(columns=list(COLUMNS))
    draws = {name: part for name, part in whole.terms.items() if part.any()} | {"total": whole.measures["pv_benefit"]}
    rows = [(name, *quantiles(values), float(values.mean())) for name, values in draws.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))
