"""From a margin response and a stated case to cash flows and the figures that a board decides on, as draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxroi.case.checks import COLUMNS as CHECK_COLUMNS
from cxroi.case.checks import case_checks, observed_half_life_months
from cxroi.case.forecast import (
    HIGH,
    LOW,
    MEDIAN,
    TOTAL,
    Floats,
    Forecast,
    Scenario,
    base_cells,
    by_quarter,
    corner,
    discount_factors,
    forecasts_of,
    net_flows,
    quarters_of,
    triangular,
    unit_benefit,
)
from cxroi.case.programme import Case
from cxroi.case.terms import CATEGORIES, LADDER
from cxroi.errors import InputError, InvalidCase
from cxroi.value.response import MarginResponse

COLUMNS = ("programme", "scenario", "measure", "low", "median", "high", "mean", "unit")
_EXTREMES: tuple[Scenario, ...] = ("conservative", "optimistic")


@dataclass(frozen=True, eq=False, repr=False)
class BusinessCase:
    """What the programmes of a case are worth, alone and together.

    Attributes
    ----------
    case : Case
        What was stated.
    response : MarginResponse
        What a point is worth.
    forecasts : tuple of Forecast
        Draws, a programme each in the order of the case, then the total where there are several.
    scenarios : tuple of (Scenario, Forecast)
        The conservative and the optimistic scenario, a single draw each.
    seed, draws : int
        What the draws came from, and their number.
    """

    case: Case
    response: MarginResponse
    forecasts: tuple[Forecast, ...]
    scenarios: tuple[tuple[Scenario, Forecast], ...]
    seed: int
    draws: int

    def __repr__(self) -> str:
        return str(self.tidy().to_string(index=False))

    @property
    def whole(self) -> Forecast:
        """The total, or the only programme."""
        return self.forecasts[-1]

    @property
    def _rung(self) -> float:
        """Rung of the linkage, 1 the weakest; NaN where there is none."""
        known = not self.response.reason and self.response.evidence in LADDER
        return LADDER.index(self.response.evidence) + 1.0 if known else math.nan

    def tidy(self) -> pd.DataFrame:
        """Every measure by programme and scenario, the columns of ``case.csv``.

        In ``base``, low, median and high are the 5, 50 and 95 % quantiles over all draws; in the other scenarios the
        four numbers are one. A cell is empty where the figure does not exist: an internal rate where there is not one,
        a modified one where in no month more flows back than goes out, payback beyond the horizon, a break-even gain
        where a point brings nothing. ``linkage_evidence`` is the grade of evidence of the linkage as its rung of five,
        from 1 association to 5 experiment.
        """
        rows: list[tuple[object, ...]] = []
        for forecast in self.forecasts:
            rows += [(forecast.programme, "base", *row) for row in _base_rows(forecast, self.case, self._rung)]
        for scenario, forecast in self.scenarios:
            rows += [(forecast.programme, scenario, *row) for row in _scenario_rows(forecast, self.case, self._rung)]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(("low", "median", "high", "mean"), float))

    def glance(self) -> pd.DataFrame:
        """One row: the figures of the total (or of the only programme), and what they rest on."""
        rows = {row[0]: row[1:] for row in _base_rows(self.whole, self.case, self._rung)}
        row = {
            "programmes": len(self.case.programmes),
            "currency": self.case.currency,
            "horizon_months": self.case.horizon_months,
            "annual_discount_rate": self.case.annual_discount_rate,
            "npv_low": rows["npv"][0],
            "npv_median": rows["npv"][1],
            "npv_high": rows["npv"][2],
            "p_npv_positive": rows["p_npv_positive"][3],
            "roi_median": rows["roi"][1],
            "irr_median": rows["irr"][1],
            "payback_months_median": rows["payback_months"][1],
            "break_even_multiple_median": rows["break_even_multiple"][1],
            "evidence": self.response.evidence,
            "reason": self.response.reason,
            "draws": self.draws,
            "seed": self.seed,
        }
        return pd.DataFrame([row])

    def cash_flows(self) -> pd.DataFrame:
        """A row per programme and month 0…H, in currency.

        Columns: ``programme, month, date`` (the month's end; the start for month 0), one ``cost_<category>`` each and
        ``cost``; ``benefit_low, benefit_median, benefit_high`` (all these before tax); then after tax
        ``net_low … net_high``, ``cumulative_low …`` and ``discounted_cumulative_low …`` (5, 50, 95 %). Benefits are
        empty where there is no response.
        """
        return pd.concat([_cash_flows(forecast, self.case) for forecast in self.forecasts], ignore_index=True)

    def checks(self) -> pd.DataFrame:
        """Rows ``name, verdict, number, advice``; the name of a programme's check ends in its id."""
        return pd.DataFrame(case_checks(self.case, self.response, self.forecasts), columns=list(CHECK_COLUMNS))

    def tornado(self) -> pd.DataFrame:
        """Net present value with each uncertain input at its 10 and 90 %, the others at their medians.

        Columns: ``programme`` (whose input it is; ``total`` for the linkage), ``input``, ``value_low``, ``value_high``,
        ``unit`` of these, ``npv_low``, ``npv_median``, ``npv_high``, ``swing`` (its absolute effect), in currency, the
        widest first. Inputs that are stated as certain have no row.
        """
        return _tornado(self)


def faded_as_observed(decision: BusinessCase, *, seed: int, draws: int = 10_000) -> BusinessCase | None:
    """The same case with each gain halving as fast as repeated answers say, where a longer half-life is stated.

    None where nothing longer is stated, or the data do not show how a score fades.

    Parameters
    ----------
    decision : BusinessCase
    seed, draws : int
        As for ``business_case``.
    """
    observed = observed_half_life_months(decision.response)
    if decision.response.reason or not 0 < observed < math.inf:
        return None
    programmes = tuple(
        each.model_copy(update={"half_life_months": observed})
        if each.half_life_months == "never" or each.half_life_months > observed
        else each
        for each in decision.case.programmes
    )
    if programmes == tuple(decision.case.programmes):
        return None
    case = decision.case.model_copy(update={"programmes": programmes})
    return business_case(decision.response, case, seed=seed, draws=draws)


def business_case(response: MarginResponse, case: Case, *, seed: int, draws: int = 10_000) -> BusinessCase:
    """Value a case: the linkage's draws and the stated gains, against the stated costs.

    Parameters
    ----------
    response : MarginResponse
        Margin that follows from a score gain; at least as many quarters as the horizon has.
    case : Case
        Programmes, costs, horizon, discount rate.
    seed : int
        Of the one generator behind every draw; programmes draw in the order of their ids, so the order in the file
        changes nothing.
    draws : int
        Number of draws, 100 or more.

    Raises
    ------
    InvalidCase
        If the currency or a metric of the case is not the response's.
    InputError
        If the response is shorter than the horizon, or draws are too few.

    Notes
    -----
    The gain in month m is g·s(m − ½), with s(t) = (L(t/ramp) − L(0)) / (L(1) − L(0)) up to the end of the ramp,
    L(z) = 1/(1 + exp(−10(z − ½))), and halved every half-life from then on; γ of a quarter is the mean of its three
    months. Benefits are even over the months of a quarter. Flows fall at the end of their month and month 0 is not
    discounted; with ``timing: mid`` those of months 1…H fall half a month earlier. Tax is taken on margin less cost in
    the month itself, a loss being set off against profits elsewhere in the firm, so it scales every present value by
    1 − rate and leaves ROI, the internal rate and payback as they are.

    Together, programmes reach customers independently, gains add on the score, and margin is linear in the gain: the
    total is the sum. A gain cannot exceed the width of the observed scores; where it would, alone or together, the
    benefit is scaled down to it.

    An internal rate at or below -99 % a year is not told from losing everything, and not counted.

    The conservative scenario takes the linkage at the 5th percentile of its draws by the present value of a point and
    the gain at its low; the optimistic one takes the 95th and the high. Where a point costs money the gain's other end
    can be the worse one: the worst and the best of the four corners are taken.
    """
    _check(response, case, draws)
    rng = np.random.default_rng(seed)
    linkage = np.empty(0, dtype=np.int64) if response.reason else rng.integers(0, len(response.baseline), draws)
    luck = {programme_id: rng.random(draws) for programme_id in sorted(each.id for each in case.programmes)}
    units = [unit_benefit(response, case, programme) for programme in case.programmes]
    gains = [
        triangular(luck[each.id], each.gain.low, each.gain.mode, each.gain.high)[: len(linkage)]
        for each in case.programmes
    ]
    forecasts = forecasts_of(case, response, gains, [unit[linkage] for unit in units])
    scenarios: list[tuple[Scenario, Forecast]] = []
    for scenario in _EXTREMES:
        corners = [corner(case, each, unit, scenario) for each, unit in zip(case.programmes, units, strict=True)]
        ends, lines = [gain for gain, _ in corners], [line for _, line in corners]
        scenarios += [(scenario, forecast) for forecast in forecasts_of(case, response, ends, lines)]
    return BusinessCase(case, response, forecasts, tuple(scenarios), seed, draws)


def _check(response: MarginResponse, case: Case, draws: int) -> None:
    """Refuse a case that does not fit the response."""
    if case.currency != response.currency:
        raise InvalidCase(
            f"The case must be in the currency of the data, {response.currency}; it is in {case.currency}. "
            "Convert its amounts, then change currency."
        )
    for programme in case.programmes:
        metric = programme.gain.metric
        if metric is not None and metric != response.exposure:
            raise InvalidCase(
                f"score_gain of {programme.id} must be in points of {response.exposure}, the measure valued here; "
                f"it is in {metric}. State it in {response.exposure}, or value {metric}."
            )
    if draws < 100:
        raise InputError(f"draws must be 100 or more, for quantiles to mean something; got {draws}. Write 10_000.")
    if not response.reason and response.quarters < quarters_of(case):
        raise InputError(
            f"The response must reach the horizon of {case.horizon_months} months ({quarters_of(case)} quarters); "
            f"it has {response.quarters}. Ask for response({quarters_of(case)})."
        )


_UNITS = {
    "npv": "currency",
    "roi": "ratio",
    "roi_undiscounted": "ratio",
    "irr": "per_year",
    "irr_count": "count",
    "mirr": "per_year",
    "payback_months": "months",
    "discounted_payback_months": "months",
    "p_payback_within_horizon": "probability",
    "p_npv_positive": "probability",
    "break_even_score_gain": "points",
    "break_even_multiple": "ratio",
    "pv_cost": "currency",
    "pv_benefit": "currency",
    "linkage_evidence": "rung_of_5",
}
"""Measures of ``case.csv`` in their order; the unit ``currency`` is written as the case's currency."""

Row = tuple[str, float, float, float, float, str]


def _rows(case: Case, cells: Callable[[str], tuple[float, float, float, float]]) -> Iterator[Row]:
    """A row per measure; what is not a finite number is an empty cell."""
    for measure, unit in _UNITS.items():
        low, median, high, mean = (value if math.isfinite(value) else math.nan for value in cells(measure))
        yield measure, low, median, high, mean, case.currency if unit == "currency" else unit


def _base_rows(forecast: Forecast, case: Case, rung: float) -> list[Row]:
    """Quantiles and mean over all draws."""
    told = _without_rate_of_total_loss(forecast)
    return list(
        _rows(case, lambda measure: (rung,) * 4 if measure == "linkage_evidence" else base_cells(told, measure))
    )


def _scenario_rows(forecast: Forecast, case: Case, rung: float) -> list[Row]:
    """The single draw of a scenario four times; probabilities have no meaning there and stay empty."""
    measures = _without_rate_of_total_loss(forecast).measures | {"linkage_evidence": np.array([rung])}

    def cells(measure: str) -> tuple[float, float, float, float]:
        return (float(measures[measure][0]) if measure in measures else math.nan,) * 4

    return list(_rows(case, cells))


def _without_rate_of_total_loss(forecast: Forecast) -> Forecast:
    """The forecast with no modified rate, in place of -1, where in no month more flows back than goes out.

    Such draws keep their place as the worst ones.
    """
    if "mirr" not in forecast.measures:
        return forecast
    rate = forecast.measures["mirr"]
    return replace(forecast, measures=forecast.measures | {"mirr": np.where(rate > -1.0, rate, -np.inf)})


def _cash_flows(forecast: Forecast, case: Case) -> pd.DataFrame:
    """Months 0…H of one forecast."""
    months = np.arange(case.horizon_months + 1)
    cost = forecast.costs.sum(axis=0)
    columns: dict[str, object] = {
        "programme": forecast.programme,
        "month": months,
        "date": [pd.Timestamp(case.start) + pd.DateOffset(months=int(month)) for month in months],
    }
    columns |= {f"cost_{name}": forecast.costs[at] for at, name in enumerate(CATEGORIES)}
    columns["cost"] = cost
    net = net_flows(case, cost, forecast.benefit)
    benefit = net / (1.0 - case.tax_rate) + cost
    series = {
        "benefit": benefit,
        "net": net,
        "cumulative": np.cumsum(net, axis=1),
        "discounted_cumulative": np.cumsum(net * discount_factors(case), axis=1),
    }
    for name, draws in series.items():
        low, median, high = _monthly_quantiles(draws)
        columns |= {f"{name}_low": low, f"{name}_median": median, f"{name}_high": high}
    return pd.DataFrame(columns)


def _monthly_quantiles(draws: Floats) -> Floats:
    """The 5, 50 and 95 % order statistics by month, shape (draws, months + 1) → (3, months + 1); NaN without draws."""
    if not len(draws):
        return np.full((3, draws.shape[1]), np.nan)
    return np.asarray(np.quantile(draws, [LOW, MEDIAN, HIGH], axis=0, method="inverted_cdf"))


def _tornado(result: BusinessCase) -> pd.DataFrame:
    """See `BusinessCase.tornado`."""
    columns = ["programme", "input", "value_low", "value_high", "unit", "npv_low", "npv_median", "npv_high", "swing"]
    case, response = result.case, result.response
    if response.reason:
        return pd.DataFrame(columns=columns)
    cost = float(result.whole.measures["pv_cost"][0])
    low, median, high = (_gains_at(case, response, share) for share in (0.1, 0.5, 0.9))
    weights = by_quarter(discount_factors(case)[1:]) * (1.0 - case.tax_rate)
    silent = np.zeros_like(response.through_spend)
    retention, spend = (
        np.stack([unit_benefit(part, case, each) @ weights for each in case.programmes], axis=1)
        for part in (replace(response, through_spend=silent), replace(response, through_retention=silent))
    )
    worth = (retention + spend) @ median
    middle = np.argsort(worth, kind="stable")[(len(worth) - 1) // 2]
    points = (retention + spend)[middle]
    rows: list[tuple[str, str, float, float, str, float, float, float]] = []
    for name, channel in (("linkage: retention", retention), ("linkage: spend", spend)):
        values = channel @ median
        ends = [float(end) for end in np.quantile(values, [0.1, 0.9])]
        rest = float(worth[middle] - values[middle]) - cost
        rows.append(
            (TOTAL, name, ends[0], ends[1], case.currency, ends[0] + rest, worth[middle] - cost, ends[1] + rest)
        )
    for at, each in enumerate(case.programmes):
        npvs = [float(worth[middle] + (end[at] - median[at]) * points[at]) - cost for end in (low, high)]
        rows.append((each.id, "score_gain", low[at], high[at], "points", npvs[0], worth[middle] - cost, npvs[1]))
    frame = pd.DataFrame([(*row, abs(row[7] - row[5])) for row in rows], columns=columns)
    frame = frame[frame["value_low"] != frame["value_high"]]
    return frame.sort_values(["swing", "programme", "input"], ascending=[False, True, True]).reset_index(drop=True)


def _gains_at(case: Case, response: MarginResponse, share: float) -> Floats:
    """Score gain of each programme at a probability, within the width of the observed scores, shape (programmes,)."""
    width = response.score_range[1] - response.score_range[0]
    stated = [each.gain for each in case.programmes]
    gains = [triangular(np.array([share]), gain.low, gain.mode, gain.high)[0] for gain in stated]
    return np.asarray(np.clip(gains, -width, width))
