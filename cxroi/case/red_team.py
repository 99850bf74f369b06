"""Red team of a case: the figures of the popular calculators on the same inputs, beside ours, and why they are wrong.

Each shortcut departs from the case in one thing only and is valued on the same draws; the last one takes all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from cxroi.case.business_case import BusinessCase
from cxroi.case.forecast import forecasts_of
from cxroi.case.measures import quantiles
from cxroi.case.programme import Case
from cxroi.errors import InputError
from cxroi.value.response import MarginResponse

Shortcut = Literal["no_ramp", "gain_for_ever", "everybody_reached", "undiscounted", "summed", "revenue", "together"]
OURS = "ours"
SHORTCUTS: tuple[Shortcut, ...] = (
    *("no_ramp", "gain_for_ever", "everybody_reached", "undiscounted"),
    *("summed", "revenue", "together"),
)
COLUMNS = ("shortcut", "npv_low", "npv_median", "npv_high", "roi_median", "times", "unit", "reason")

_AT_ONCE: dict[str, object] = {"ramp_months": 0.0}
_FOR_EVER: dict[str, object] = {"half_life_months": "never"}
_EVERYBODY: dict[str, object] = {"reach": 1.0}
_WHY = {
    OURS: "",
    "no_ramp": "The gain is taken in full from the first month; a change takes its time to reach customers.",
    "gain_for_ever": "The gain never fades; what is new today is taken for granted tomorrow.",
    "everybody_reached": "Every customer is counted, not only those whom the programme reaches.",
    "undiscounted": "Money in three years counts like money today.",
    "summed": "Churn saved is added to the change of lifetime value, which holds it already: the same money twice.",
    "revenue": "Revenue is counted, not the margin that is left of it.",
    "together": "All of these at once, as a sales slide does.",
}
_NO_REVENUE = "The share of margin in revenue is not known."


def case_shortcuts(decision: BusinessCase, *, revenue_per_margin: float | None = None) -> pd.DataFrame | str:
    """Net present value and ROI of a case by popular shortcuts, or the reason why there is none.

    Parameters
    ----------
    decision : BusinessCase
        Its programmes with a route are valued, each shortcut on the very draws of the case.
    revenue_per_margin : float or None
        Revenue for one unit of margin, 1 or more; None where it is not known.

    Returns
    -------
    DataFrame or str
        ``shortcut, npv_low, npv_median, npv_high, roi_median, times, unit, reason``; the first row is ``ours``. ``times`` is the
        median present value of the benefit over ours (empty where ours is not above zero); ``reason`` says why the shortcut is
        wrong, or why it has no figure.

    Raises
    ------
    InputError
        Where ``revenue_per_margin`` is below 1.

    Source: Gupta & Lehmann (2003), Journal of Interactive Marketing 17:9 (revenue for margin, no discounting); Keiningham et al.
    (2007), Journal of Marketing 71:39 (what scores alone promise).
    """
    if revenue_per_margin is not None and not revenue_per_margin >= 1.0:
        raise InputError(
            f"revenue_per_margin must be 1 or more, revenue over margin; got {revenue_per_margin:g}. Write 2.5."
        )
    response, routed = decision.response, tuple(each for each in decision.case.programmes if each.has_route)
    if response.reason or not routed:
        return response.reason or "no programme works through a customer measure"
    case = decision.case.model_copy(update={"programmes": routed})
    undiscounted = {"annual_discount_rate": 0.0}
    summed = replace(response, through_retention=2.0 * response.through_retention)
    all_but_revenue = _every(case, _AT_ONCE | _FOR_EVER | _EVERYBODY).model_copy(update=undiscounted)
    changes: dict[str, tuple[Case, MarginResponse]] = {
        OURS: (case, response),
        "no_ramp": (_every(case, _AT_ONCE), response),
        "gain_for_ever": (_every(case, _FOR_EVER), response),
        "everybody_reached": (_every(case, _EVERYBODY), response),
        "undiscounted": (case.model_copy(update=undiscounted), response),
        "summed": (case, summed),
        "together": (all_but_revenue, summed),
    }
    if revenue_per_margin is not None:
        changes["revenue"] = (case, _in_revenue(response, revenue_per_margin))
        changes["together"] = (all_but_revenue, _in_revenue(summed, revenue_per_margin))
    figures = {name: forecasts_of(*change, decision.inputs)[-1].measures for name, change in changes.items()}
    ours = quantiles(figures[OURS]["pv_benefit"])[1]
    rows: list[tuple[object, ...]] = []
    for name in (OURS, *SHORTCUTS):
        if name in figures:
            own = figures[name]
            times = quantiles(own["pv_benefit"])[1] / ours if ours > 0 else math.nan
            roi = quantiles(np.nan_to_num(own["roi"], nan=-np.inf))[1]
            rows.append((name, *quantiles(own["npv"]), roi, times, case.currency, _WHY[name]))
        else:
            rows.append((name, *(math.nan,) * 5, case.currency, _NO_REVENUE))
    return pd.DataFrame(rows, columns=list(COLUMNS)).replace(-np.inf, np.nan)


def _every(case: Case, changes: Mapping[str, object]) -> Case:
    """The case with every programme changed."""
    programmes = tuple(each.model_copy(update=dict(changes)) for each in case.programmes)
    return case.model_copy(update={"programmes": programmes})


def _in_revenue(response: MarginResponse, per_margin: float) -> MarginResponse:
    """The response with revenue where margin stood; cost to serve that is saved stays what it is."""
    referrals = response.through_referrals
    return replace(
        response,
        through_retention=per_margin * response.through_retention,
        through_spend=per_margin * response.through_spend,
        through_referrals=None if referrals is None else per_margin * referrals,
    )
