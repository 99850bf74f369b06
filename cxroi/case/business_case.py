"""From a margin response and a stated case to cash flows and the figures that a board decides on, as draws."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from cxroi.case.break_even import break_even
from cxroi.case.checks import COLUMNS as CHECK_COLUMNS
from cxroi.case.checks import case_checks, observed_half_life_months
from cxroi.case.costing import capitalised, category_sensitivity
from cxroi.case.flows import Floats, discount_factors, quarters_of
from cxroi.case.forecast import TOTAL, Forecast, Scenario, forecasts_of, scenario_of
from cxroi.case.inputs import Inputs, draw_inputs
from cxroi.case.ledger import benefit_map, ledger
from cxroi.case.measures import HIGH, LOW, MEDIAN, Cells, base_cells, net_flows, one_cell, told
from cxroi.case.programme import Case
from cxroi.case.quadrants import quadrants
from cxroi.case.register import register
from cxroi.case.terms import CATEGORIES, LADDER
from cxroi.case.uncertainty import tornado
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
        Draws, a programme each in the order of the case, then the CX total where there are several: all programmes with a
        route through a customer measure. Cost plays are never in it; where there are only such there is no total.
    scenarios : tuple of (Scenario, Forecast)
        The conservative and the optimistic scenario, a single draw each.
    seed, draws : int
        What the draws came from, and their number.
    inputs : Inputs
        The draws of every uncertain input.
    """

    case: Case
    response: MarginResponse
    forecasts: tuple[Forecast, ...]
    scenarios: tuple[tuple[Scenario, Forecast], ...]
    seed: int
    draws: int
    inputs: Inputs

    def __repr__(self) -> str:
        return str(self.tidy().to_string(index=False))

    @property
    def whole(self) -> Forecast:
        """The CX total, or the only programme; the last of several cost plays, which have no total."""
        return self.forecasts[-1]

    def through_customers(self) -> BusinessCase | None:
        """The same draws without the cost plays, so that nothing of them stands beside a CX figure; None where there is nothing else."""
        routed = tuple(each for each in self.case.programmes if each.has_route)
        if len(routed) == len(self.case.programmes):
            return self
        if not routed:
            return None
        kept = {*(each.id for each in routed), *([TOTAL] if len(routed) > 1 else [])}
        return replace(
            self,
            case=self.case.model_copy(update={"programmes": routed}),
            forecasts=tuple(each for each in self.forecasts if each.programme in kept),
            scenarios=tuple((name, each) for name, each in self.scenarios if each.programme in kept),
        )

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
            cells = partial(_base, forecast, self._rung)
            rows += [(forecast.programme, "base", *row) for row in told(self.case, cells)]
        for scenario, forecast in self.scenarios:
            cells = partial(_single, forecast, self._rung)
            rows += [(forecast.programme, scenario, *row) for row in told(self.case, cells)]
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(("low", "median", "high", "mean"), float))

    def glance(self) -> pd.DataFrame:
        """One row: the figures of the total (or of the only programme), and what they rest on."""
        rows = {row[0]: row[1:] for row in told(self.case, partial(_base, self.whole, self._rung))}
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

    def ledger(self) -> pd.DataFrame:
        """Overlap ledger: present value after tax by programme and term, and what all of it adds up to.

        Columns ``programme, term, low, median, high, mean, unit`` (5, 50, 95 % and mean of the draws, currency). Terms:
        ``retention`` (margin of customers who stay), ``spend`` (margin of those who stay anyway), ``referrals``,
        ``service_cost``, ``stated_benefits`` (8 to 10, for which a figure and its source are stated). Rows of
        ``overlap`` are what customers reached by several programmes cannot gain, because the scale ends: below zero where
        a point brings money. The last row, ``total``, is the benefit of the cash flows; in every draw, and so in ``mean``, the
        others add up to it. Quantiles do not add up. Cost plays are outside, as they are of the CX total.
        """
        return ledger(self.case, self.forecasts)

    def benefits(self) -> pd.DataFrame:
        """The ten benefits and the terms of the ledger that hold them.

        Columns ``number, benefit, terms, contains`` (other benefits that lie in the same terms, by number), ``status``
        (``inside``, ``partly_inside`` or ``not_measured`` for 1 to 7, as the linkage has their terms; ``stated`` or ``outside`` for 8
        to 10), ``claimed_by`` (programmes that name it).
        """
        return benefit_map(self.case, self.response)

    def quadrants(self) -> pd.DataFrame:
        """The two keys of each programme, customers' own measures and money, and its quadrant.

        Columns ``programme, name, quadrant`` (``cx_win``, ``cost_play``: money without CX evidence, ``gain_not_yet_money``,
        ``stop``), ``in_cx_total``, ``customers``, ``gain_low`` (5 %, points), ``gain_evidence``, ``money``, ``p_npv_positive``,
        ``linkage_evidence``, ``advice``.

        Notes
        -----
        ``customers`` passes where the gain stands on a quasi-experiment or an experiment and its 5 % end is above zero; it is
        ``warn`` where the gain is above zero but only stated, else ``fail``. ``money`` passes where at least 95 % of the draws have
        a positive net present value and the linkage is more than a plain association (which a cost play does not need); it fails
        at 5 % and below, and is ``warn`` in between. A key turns where it passes; the two keys give the quadrant.
        """
        return quadrants(self.case, self.response, self.forecasts)

    def break_even(self, *, smallest_detectable_gain: float | None = None) -> pd.DataFrame:
        """A row per programme: the gain at which it earns its cost, beside what is stated, known and seen.

        Parameters
        ----------
        smallest_detectable_gain : float or None
            Smallest change of the score, in points, that the survey would show at its number of answers.

        Returns
        -------
        DataFrame
            ``programme, metric, break_even_low … high`` (points; empty where no gain earns the cost), ``stated_low, stated_mode,
            stated_high`` (points), ``p_gain_reaches_break_even`` (share of draws), ``point_low … high`` (present value after tax of
            one point, the linkage's own range) in ``unit``, ``observed_low, observed_high`` (answers seen), ``beyond_observed`` (the
            median needs more points than the answers span: nothing in the data speaks of such a gain), ``smallest_detectable_gain``,
            ``detectable`` (the survey would show the gain at which the median breaks even). Cost plays have no such gain.
        """
        return break_even(self.case, self.response, self.forecasts, smallest_detectable_gain=smallest_detectable_gain)

    def register(self) -> pd.DataFrame:
        """Decision register: every assumption of the case.

        Columns ``assumption`` (the name under which ``sources`` may speak of it), ``programme``, ``value, low, high``, ``text`` (where the
        value is a word), ``unit``, ``source``, ``owner``, ``kind`` (``data``, ``benchmark``, ``assumption``), ``missing`` (no
        source is stated). A source is that of ``sources``, by the exact name or a shorter one (``costs.one.data_tools``,
        ``costs.one``, ``costs``), else the one beside the figure; a programme's own source speaks of its gain only.
        """
        return register(self.case, self.response)

    def capitalised(self) -> pd.DataFrame:
        """Profit before tax by year, with costs expensed as paid and written off over their useful lives.

        Columns ``programme, year`` (month 0 belongs to year 1), ``cost``, ``written_off`` and ``book_value`` (at the year's end; means of
        the draws), ``profit_expensed_low … high, …_mean`` and ``profit_capitalised_…``, ``unit``. A cost with ``useful_life_months`` is
        written off in equal parts in the months after it is paid; what is left at the horizon is the last book value. Net present
        value is that of the cash flows and the same in both views: tax is taken on costs as they are paid.
        """
        return capitalised(self.case, self.forecasts)

    def category_sensitivity(self) -> pd.DataFrame:
        """What each of the eight cost categories does to the case when it is 10 % dearer.

        Columns ``programme, category, pv_cost`` (mean), ``share_of_cost``, ``npv_change`` (mean), ``npv_low … high`` and
        ``roi_low … high`` with the category dearer, ``elasticity_of_npv``, ``elasticity_of_roi`` (change of the median in per cent of
        its size, for each per cent on the category).
        """
        return category_sensitivity(self.case, self.forecasts)

    def tornado(self) -> pd.DataFrame:
        """Net present value with each input at its 10 and 90 %, the others at their medians; see ``uncertainty.tornado``."""
        return tornado(self)


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
    """Value a case: the linkage's draws and the stated gains, benefits and savings, against the stated costs.

    Parameters
    ----------
    response : MarginResponse
        Margin that follows from a score gain; at least as many quarters as the horizon has.
    case : Case
        Programmes, costs, horizon, discount rate.
    seed : int
        Of every draw; each input has a stream of its own by its name, so neither the order in the file nor other programmes
        change its draws.
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
    The gain in month m is g·s(m − ½ − start), with s(t) = (L(t/ramp) − L(0)) / (L(1) − L(0)) up to the end of the ramp,
    L(z) = 1/(1 + exp(−10(z − ½))), and halved every half-life from then on; γ of a quarter is the mean of its three
    months. Benefits are even over the months of a quarter. Flows fall at the end of their month and month 0 is not
    discounted; with ``timing: mid`` those of months 1…H fall half a month earlier. With inflation every amount of month m, costs
    and margin, is (1 + rate)^(m/12) times as high. Tax is taken on margin less cost in the month itself, a loss being set off
    against profits elsewhere in the firm, so it scales every present value by 1 − rate and leaves ROI, the internal rate and
    payback as they are.

    A programme's gain cannot exceed the width of the observed scores. Programmes reach customers independently of each other; gains
    of a customer reached by several add up, in each quarter at most to that width: see ``cxroi.case.overlap``. Margin is linear in
    the gain, so the total is the sum less what these customers cannot gain.

    An internal rate at or below -99 % a year is not told from losing everything, and not counted.

    Conservative and optimistic scenarios: see ``cxroi.case.forecast.scenario_of``.
    """
    _check(response, case, draws)
    inputs = draw_inputs(case, response, seed=seed, draws=draws)
    forecasts = forecasts_of(case, response, inputs)
    scenarios = [(name, each) for name in _EXTREMES for each in scenario_of(case, response, name)]
    return BusinessCase(case, response, forecasts, tuple(scenarios), seed, draws, inputs)


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


def _grade(forecast: Forecast, rung: float) -> Cells:
    """Rung of the linkage; a cost play stands on none."""
    return (rung if forecast.has_route else math.nan,) * 4


def _base(forecast: Forecast, rung: float, measure: str) -> Cells:
    """Quantiles and mean over all draws."""
    return _grade(forecast, rung) if measure == "linkage_evidence" else base_cells(forecast.measures, measure)


def _single(forecast: Forecast, rung: float, measure: str) -> Cells:
    """The single draw of a scenario."""
    return _grade(forecast, rung) if measure == "linkage_evidence" else one_cell(forecast.measures, measure)


def _cash_flows(forecast: Forecast, case: Case) -> pd.DataFrame:
    """Months 0…H of one forecast."""
    months = np.arange(case.horizon_months + 1)
    costs = forecast.costs
    columns: dict[str, object] = {
        "programme": forecast.programme,
        "month": months,
        "date": [pd.Timestamp(case.start) + pd.DateOffset(months=int(month)) for month in months],
    }
    columns |= {f"cost_{name}": costs[at] for at, name in enumerate(CATEGORIES)}
    columns["cost"] = costs.sum(axis=0)
    net = net_flows(case, forecast.spent, forecast.besides, forecast.benefit)
    benefit = net / (1.0 - case.tax_rate) + forecast.spent.by_month()
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
