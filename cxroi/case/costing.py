"""Costs seen otherwise: written off over their useful lives beside expensed, and each category a tenth dearer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxroi.case.flows import Floats, Part, Stream, discount_factors
from cxroi.case.forecast import Forecast
from cxroi.case.measures import HIGH, LOW, MEDIAN, net_flows, quantiles
from cxroi.case.programme import Case
from cxroi.case.terms import CATEGORIES

DEARER = 0.10
SENSITIVITY_COLUMNS = (
    *("programme", "category", "pv_cost", "share_of_cost", "npv_change", "npv_low", "npv_median", "npv_high"),
    *("roi_low", "roi_median", "roi_high", "elasticity_of_npv", "elasticity_of_roi"),
)
_MONTHS_OF_A_YEAR = 12
_CENTS = 2


def capitalised(case: Case, forecasts: Sequence[Forecast]) -> pd.DataFrame:
    """See ``BusinessCase.capitalised``."""
    return pd.concat([_capitalised(case, forecast) for forecast in forecasts if _valued(forecast)] or [_nothing(case)])


def category_sensitivity(case: Case, forecasts: Sequence[Forecast]) -> pd.DataFrame:
    """See ``BusinessCase.category_sensitivity``."""
    rows = [row for forecast in forecasts if _valued(forecast) for row in _sensitivity(case, forecast)]
    return pd.DataFrame(rows, columns=list(SENSITIVITY_COLUMNS))


def written_off(part: Part) -> Floats:
    """A stated amount as the profit statement shows it, shape (months + 1,).

    With a useful life each payment is written off in equal parts in the months after it; what is left at the horizon is still in
    the books. Without one it is expensed as it is paid.

    >>> written_off(Part("data_tools", np.array([12.0, 0, 0, 0, 0]), np.ones(1), useful_life_months=3)).tolist()
    [0.0, 4.0, 4.0, 4.0, 0.0]
    """
    life = part.useful_life_months
    if life is None:
        return part.months
    equal = np.concatenate([[0.0], np.full(life, 1.0 / life)])
    return np.asarray(np.convolve(part.months, equal)[: len(part.months)])


def _capitalised(case: Case, forecast: Forecast) -> pd.DataFrame:
    """Profit before tax by year in both views."""
    months = np.arange(case.horizon_months + 1)
    year = np.maximum(-(-months // _MONTHS_OF_A_YEAR), 1)
    starts = np.flatnonzero(np.diff(year, prepend=0))
    charged = Stream(
        tuple(Part(part.label, written_off(part), part.factor) for part in forecast.spent.parts), case.horizon_months
    )
    kept = 1.0 - case.tax_rate
    expensed = net_flows(case, forecast.spent, forecast.besides, forecast.benefit) / kept
    spread = net_flows(case, charged, forecast.besides, forecast.benefit) / kept
    spent, off = forecast.spent.mean_by_month(), charged.mean_by_month()
    columns: dict[str, object] = {
        "programme": forecast.programme,
        "year": np.unique(year),
        "cost": np.add.reduceat(spent, starts),
        "written_off": np.add.reduceat(off, starts),
        "book_value": np.cumsum(np.add.reduceat(spent - off, starts)).round(_CENTS),
    }
    for name, flows in (("profit_expensed", expensed), ("profit_capitalised", spread)):
        by_year = np.add.reduceat(flows, starts, axis=1)
        low, median, high = np.quantile(by_year, [LOW, MEDIAN, HIGH], axis=0, method="inverted_cdf")
        columns |= {
            f"{name}_low": low,
            f"{name}_median": median,
            f"{name}_high": high,
            f"{name}_mean": by_year.mean(axis=0),
        }
    return pd.DataFrame(columns).assign(unit=case.currency)


def _sensitivity(case: Case, forecast: Forecast) -> list[tuple[object, ...]]:
    """A row for each of the eight categories."""
    discount, kept = discount_factors(case), 1.0 - case.tax_rate
    npv, pv_cost = forecast.measures["npv"], forecast.measures["pv_cost"]
    rows: list[tuple[object, ...]] = []
    for category in CATEGORIES:
        own = Stream(tuple(part for part in forecast.spent.parts if part.label == category), case.horizon_months)
        spent = kept * own.weighted(discount)
        dearer, cost = npv - DEARER * spent, pv_cost + DEARER * spent
        before, after = quantiles(npv), quantiles(dearer)
        roi = quantiles(dearer / cost) if cost.all() else (np.nan,) * 3
        roi_before = quantiles(npv / pv_cost)[1] if pv_cost.all() else np.nan
        rows.append(
            (
                *(
                    forecast.programme,
                    category,
                    float(spent.mean()),
                    _ratio(float(spent.mean()), float(pv_cost.mean())),
                ),
                *(-DEARER * float(spent.mean()), *after, *roi),
                _ratio(after[1] - before[1], DEARER * abs(before[1])),
                _ratio(roi[1] - roi_before, DEARER * abs(roi_before)),
            )
        )
    return rows


def _valued(forecast: Forecast) -> bool:
    return "npv" in forecast.measures


def _nothing(case: Case) -> pd.DataFrame:
    """The columns of the capitalised view without a row."""
    ends = [
        f"{name}_{end}"
        for name in ("profit_expensed", "profit_capitalised")
        for end in ("low", "median", "high", "mean")
    ]
    return pd.DataFrame(columns=["programme", "year", "cost", "written_off", "book_value", *ends, "unit"])


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
