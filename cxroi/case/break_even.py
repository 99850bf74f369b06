"""Break-even first: the score gain at which a programme earns its cost, beside what is stated, known, seen and detectable."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxroi.case.flows import Floats
from cxroi.case.forecast import TOTAL, Forecast
from cxroi.case.measures import quantiles
from cxroi.case.programme import Case, Programme
from cxroi.errors import InputError
from cxroi.value.response import MarginResponse

COLUMNS = (
    *("programme", "metric", "break_even_low", "break_even_median", "break_even_high"),
    *("stated_low", "stated_mode", "stated_high", "p_gain_reaches_break_even"),
    *("point_low", "point_median", "point_high", "unit"),
    *("observed_low", "observed_high", "beyond_observed", "smallest_detectable_gain", "detectable"),
)


def break_even(
    case: Case, response: MarginResponse, forecasts: Sequence[Forecast], *, smallest_detectable_gain: float | None
) -> pd.DataFrame:
    """See ``BusinessCase.break_even``."""
    if smallest_detectable_gain is not None and not 0 < smallest_detectable_gain < math.inf:
        raise InputError(
            f"smallest_detectable_gain must be a number of points above 0, or None; got {smallest_detectable_gain}. Write 0.2."
        )
    known = {each.programme: each for each in forecasts if each.programme != TOTAL}
    rows = [_row(case, response, each, known[each.id], smallest_detectable_gain) for each in case.programmes]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"beyond_observed": "boolean", "detectable": "boolean"})


def _row(
    case: Case, response: MarginResponse, programme: Programme, forecast: Forecast, smallest: float | None
) -> tuple[object, ...]:
    """One programme; what a cost play or a case without a response does not have stays empty."""
    gain, values, nothing = programme.gain, forecast.measures, (math.nan,) * 3
    stated = (gain.low, gain.mode, gain.high) if programme.has_route else nothing
    needed, point, reaches = nothing, nothing, math.nan
    if "break_even_score_gain" in values:
        needed, point = _told(values["break_even_score_gain"]), _told(values["pv_point"])
        reaches = float((values["npv"] >= 0).mean())
    seen = (math.nan, math.nan) if response.reason else response.score_range
    beyond = needed[1] > seen[1] - seen[0] if math.isfinite(seen[0]) and "pv_point" in values else None
    if beyond is False and math.isnan(needed[1]):
        beyond = True
    shown = math.nan if smallest is None or not programme.has_route else smallest / programme.reach
    detectable = None if math.isnan(shown) or math.isnan(needed[1]) else needed[1] >= shown
    return (
        *(programme.id, response.exposure if programme.has_route else "", *needed, *stated, reaches),
        *(*point, case.currency, *seen, beyond, shown, detectable),
    )


def _told(draws: Floats) -> tuple[float, float, float]:
    """Quantiles, empty where they are not finite: no gain earns the cost."""
    low, median, high = (end if math.isfinite(end) else np.nan for end in quantiles(draws))
    return low, median, high
