"""Checks of a case: what a careful reader would ask before believing it, a row each."""

from __future__ import annotations

import math
from collections.abc import Iterator

from cxroi.case.forecast import Forecast
from cxroi.case.measures import LOW, MEDIAN, base_cells, quantiles
from cxroi.case.programme import Case, Programme
from cxroi.case.register import register, sources_without_assumption
from cxroi.case.terms import LADDER, LONG_TERM_MONTHS
from cxroi.value.response import MarginResponse

COLUMNS = ("name", "verdict", "number", "advice")
Check = tuple[str, str, float, str]


def case_checks(case: Case, response: MarginResponse, forecasts: tuple[Forecast, ...]) -> list[Check]:
    """Rows ``name, verdict, number, advice``; the name of a programme's check ends in its id."""
    rows = [*_stated_checks(case, response), *_source_checks(case, response), *_choice_checks(case)]
    for programme in case.programmes:
        rows += _programme_checks(programme, response) if programme.has_route else _cost_play_checks(programme)
    if not response.reason:
        for forecast in forecasts:
            if forecast.has_route:
                rows += [*_forecast_checks(forecast), *_break_even_checks(forecast, response)]
    return rows


def _stated_checks(case: Case, response: MarginResponse) -> Iterator[Check]:
    """Checks of the whole case."""
    if response.reason:
        yield "linkage_exists", "fail", math.nan, f"No benefit is claimed: {response.reason}"
    yield _verdict(
        "horizon",
        case.horizon_months,
        case.horizon_months < LONG_TERM_MONTHS,
        f"Months. Judge the case over at least {LONG_TERM_MONTHS}; better experience pays back over years.",
    )
    rung = LADDER.index(response.evidence) + 1 if response.evidence in LADDER else 0
    yield _verdict(
        "linkage_evidence",
        rung,
        rung < 3,
        f"Rung of {len(LADDER)} ({response.evidence}): "
        + (
            "speak of an association; a pilot with controls would show more."
            if rung < 3
            else "a comparison of customers stands behind the linkage."
        ),
    )


def _source_checks(case: Case, response: MarginResponse) -> Iterator[Check]:
    """Whether every assumption says where it is from, and every source belongs to one."""
    known = register(case, response)
    missing = known.loc[known["missing"], "assumption"].tolist()
    yield _verdict(
        "sources",
        len(missing),
        bool(missing),
        f"Assumptions without a source: {', '.join(missing)}. Name it under sources, or beside the figure."
        if missing
        else "Every assumption says where it is from.",
    )
    strange = sources_without_assumption(case)
    if strange:
        yield _verdict(
            "sources_used",
            len(strange),
            True,
            f"Sources of nothing in the case: {', '.join(strange)}. Use a name of the register.",
        )


def _choice_checks(case: Case) -> Iterator[Check]:
    """Whether the programmes of the total can run together."""
    ids = {programme.id for programme in case.programmes}
    pairs = sorted(
        {
            tuple(sorted((programme.id, other)))
            for programme in case.programmes
            for other in programme.excludes
            if other in ids
        }
    )
    if pairs:
        yield (
            "programmes_fit_together",
            "fail",
            float(len(pairs)),
            f"The total counts programmes that exclude each other: {', '.join(' and '.join(pair) for pair in pairs)}. Decide "
            "between them, and judge a case with one of them.",
        )


def _cost_play_checks(programme: Programme) -> Iterator[Check]:
    """Checks of a programme without a route through a customer measure."""
    yield _verdict(
        f"route: {programme.id}",
        0.0,
        True,
        "No customer measure is moved: a cost play, shown beside the CX total and never in it.",
    )
    open_fields = [name for name in ("intent", "owner", "source") if not getattr(programme, name)]
    yield _verdict(
        f"stated: {programme.id}",
        len(open_fields),
        bool(open_fields),
        f"Not stated: {', '.join(open_fields)}. Whoever decides will ask." if open_fields else "Everything is stated.",
    )


def _programme_checks(programme: Programme, response: MarginResponse) -> Iterator[Check]:
    """Checks of what is stated for one programme."""
    rung = LADDER.index(programme.evidence) + 1
    yield _verdict(
        f"gain_evidence: {programme.id}",
        rung,
        rung < 3,
        f"Rung of {len(LADDER)} ({programme.evidence}): "
        + (
            "no comparison shows the gain itself; run a pilot."
            if rung < 3
            else "a comparison of customers stands behind the gain."
        ),
    )
    open_fields = [
        name for name in ("intent", "owner", "discipline", "touchpoint", "source") if not getattr(programme, name)
    ]
    yield _verdict(
        f"stated: {programme.id}",
        len(open_fields),
        bool(open_fields),
        f"Not stated: {', '.join(open_fields)}. Whoever decides will ask." if open_fields else "Everything is stated.",
    )
    yield _verdict(
        f"gain_is_a_range: {programme.id}",
        programme.gain.high - programme.gain.low,
        programme.gain.low == programme.gain.high,
        "Points from low to high. A gain stated as certain makes every interval too narrow; state low, mode and high.",
    )
    if response.reason:
        return
    width = response.score_range[1] - response.score_range[0]
    yield _verdict(
        f"gain_within_scores: {programme.id}",
        programme.gain.high,
        programme.gain.high > width,
        f"Points at the high end; observed scores span {width:g}. A larger gain is cut to that; state a smaller one.",
    )
    if response.persistence is None:
        return
    estimated = observed_half_life_months(response)
    stated = math.inf if programme.half_life_months == "never" else programme.half_life_months
    yield _verdict(
        f"half_life: {programme.id}",
        estimated if math.isfinite(estimated) else math.nan,
        stated > estimated,
        f"Months after which half of a gain is left, as seen in the panel; stated: {programme.half_life_months}. "
        "Where a stated gain lasts longer, say what keeps it up, or shorten it.",
    )


def observed_half_life_months(response: MarginResponse) -> float:
    """Months in which a gain halves, as repeated answers say (median of the draws); infinite where it stays or is not known."""
    persistence = 1.0 if response.persistence is None else quantiles(response.persistence)[1]
    if persistence >= 1.0:
        return math.inf
    return 3.0 * math.log(0.5) / math.log(persistence) if persistence > 0.0 else 0.0


def _forecast_checks(forecast: Forecast) -> Iterator[Check]:
    """Checks of what came out for one programme or the total."""
    name, values = forecast.programme, forecast.measures
    lost = float((values["pv_benefit"] <= 0).mean())
    yield (
        f"benefit_positive: {name}",
        "pass" if lost <= LOW else "warn" if lost <= MEDIAN else "fail",
        lost,
        "Share of draws in which the gain brings nothing or costs margin. More answers or a pilot narrow the linkage.",
    )
    none = float((values["pv_stated"] <= 0).mean())
    yield _verdict(
        f"linkage_excludes_zero: {name}",
        none,
        0.025 < none < 0.975,
        "Share of draws in which the stated gain is worth nothing. Between 2.5 and 97.5 % the linkage's interval holds "
        "zero: the data do not tell a benefit from none.",
    )
    capped = float(forecast.capped.mean())
    yield _verdict(
        f"gain_cut: {name}",
        capped,
        capped > 0,
        "Share of draws whose gain, alone or summed over programmes on the same customers, is wider than the observed "
        "scores and was cut to them.",
    )


def _break_even_checks(forecast: Forecast, response: MarginResponse) -> Iterator[Check]:
    """Whether the gain at which the case breaks even can be reached, and whether the stated one is beyond it."""
    name = forecast.programme
    multiple = base_cells(forecast.measures, "break_even_multiple")[1]
    yield (
        f"break_even_below_gain: {name}",
        "pass" if multiple <= 1.0 else "fail",
        multiple if math.isfinite(multiple) else math.nan,
        "Multiple of the stated gain (its mode) at which the median net present value is zero. Above 1, or empty, the "
        "stated gain does not pay: find cheaper ways, or more reach.",
    )
    if "break_even_score_gain" not in forecast.measures:
        return
    gain, width = (
        base_cells(forecast.measures, "break_even_score_gain")[1],
        response.score_range[1] - response.score_range[0],
    )
    yield (
        f"break_even_within_scores: {name}",
        "pass" if gain <= width else "fail",
        gain if math.isfinite(gain) else math.nan,
        f"Points at which the median net present value is zero; observed scores span {width:g}. Beyond that, or empty, "
        "no gain pays.",
    )


def _verdict(name: str, number: float, warn: bool, advice: str) -> Check:
    return name, "warn" if warn else "pass", float(number), advice
