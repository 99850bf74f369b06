"""Two keys of a programme, customers' own measures and money, and the quadrant that they put it into."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cxroi.case.forecast import TOTAL, Forecast
from cxroi.case.measures import LOW, base_cells
from cxroi.case.programme import Case, Programme
from cxroi.case.ranges import gain_at
from cxroi.case.terms import LADDER
from cxroi.value.response import MarginResponse

WIN, COST_PLAY, NOT_YET_MONEY, STOP = "cx_win", "cost_play", "gain_not_yet_money", "stop"
COLUMNS = (
    *("programme", "name", "quadrant", "in_cx_total", "customers", "gain_low", "gain_evidence"),
    *("money", "p_npv_positive", "linkage_evidence", "advice"),
)

GAIN_SHOWN_FROM: int = LADDER.index("quasi_experiment")
MONEY_SHOWN_FROM: int = LADDER.index("adjusted")
SHOWN_CHANCE = 0.95

_QUADRANT = {
    (True, True): WIN,
    (True, False): NOT_YET_MONEY,
    (False, True): COST_PLAY,
    (False, False): STOP,
}
_ADVICE = {
    WIN: "Customers say so in a comparison, and the money follows: go on.",
    NOT_YET_MONEY: "A comparison shows the gain; that it brings more than it costs is not shown. Find cheaper ways or more reach, or learn "
    "more about the linkage.",
    STOP: "Neither a gain nor the money is shown: do not go on as it stands.",
}
_MONEY_WITHOUT_GAIN = (
    "The money rests on a gain that no comparison has shown: it is no CX success until a pilot with controls says so."
)
_SAVINGS = "It saves money past customers: judge it as a cost programme, and watch that no customer measure falls."


def quadrants(case: Case, response: MarginResponse, forecasts: Sequence[Forecast]) -> pd.DataFrame:
    """See ``BusinessCase.quadrants``."""
    known = {each.programme: each for each in forecasts if each.programme != TOTAL}
    rows = [_row(programme, known[programme.id], response) for programme in case.programmes]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def whole_quadrant(case: Case, response: MarginResponse, forecasts: Sequence[Forecast]) -> dict[str, object]:
    """Both keys of all programmes together by the same rule; see ``BusinessCase.whole_quadrant``."""
    verdicts = [customers_verdict(each)[0] for each in case.programmes]
    customers = max(verdicts, key=("pass", "warn", "fail").index)
    whole = next((each for each in forecasts if each.programme == TOTAL), forecasts[0])
    chance = base_cells(whole.measures, "p_npv_positive")[0]
    money = _money(chance, any(each.has_route for each in case.programmes), response)
    return {
        "quadrant": _QUADRANT[customers == "pass", money == "pass"],
        "customers": customers,
        "money": money,
        "p_npv_positive": chance,
    }


def _row(programme: Programme, forecast: Forecast, response: MarginResponse) -> tuple[object, ...]:
    """Both keys and the quadrant of one programme."""
    customers, gain_low = customers_verdict(programme)
    chance = base_cells(forecast.measures, "p_npv_positive")[0]
    money = _money(chance, programme.has_route, response)
    quadrant = _QUADRANT[customers == "pass", money == "pass"]
    advice = _ADVICE.get(quadrant, _MONEY_WITHOUT_GAIN if programme.has_route else _SAVINGS)
    evidence = response.evidence if programme.has_route and not response.reason else ""
    return (
        *(programme.id, programme.name, quadrant, programme.has_route, customers, gain_low),
        *(programme.evidence if programme.has_route else "", money, chance, evidence, advice),
    )


def customers_verdict(programme: Programme) -> tuple[str, float]:
    """Verdict on the gain, and its 5 % end in points: shown by a comparison, only stated, or none."""
    if not programme.has_route:
        return "fail", math.nan
    low = float(gain_at(programme, np.array([LOW]))[0])
    shown = LADDER.index(programme.evidence) >= GAIN_SHOWN_FROM
    return "fail" if low <= 0 else "pass" if shown else "warn", low


def _money(chance: float, has_route: bool, response: MarginResponse) -> str:
    """Verdict on the money: more than it costs in nearly all draws, open, or not."""
    if math.isnan(chance) or chance <= 1.0 - SHOWN_CHANCE:
        return "fail"
    linked = not has_route or LADDER.index(response.evidence) >= MONEY_SHOWN_FROM
    return "pass" if chance >= SHOWN_CHANCE and linked else "warn"
