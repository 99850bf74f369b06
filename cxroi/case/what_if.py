"""One future of a case as plain arithmetic: the same formulas in Python, in a page's script and in a workbook's cells.

A business case is thousands of simulated futures. The median of its net present value is an order statistic, so one of
these futures has exactly that value: its numbers stand here, and whoever moves an assumption moves this future alone.
Nothing but + − × ÷ and powers is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from cxroi.case import finance
from cxroi.case.business_case import BusinessCase
from cxroi.case.flows import MONTHS_OF_A_QUARTER, Floats, Stream, costs_of, score_path, stated_benefits_of
from cxroi.case.forecast import TOTAL
from cxroi.case.inputs import ranked_draws
from cxroi.case.measures import MEDIAN
from cxroi.case.overlap import lost_to_the_scale
from cxroi.case.programme import Programme
from cxroi.case.ranges import gain_at
from cxroi.case.terms import CATEGORIES
from cxroi.errors import InputError

NO_SCORE = "no programme of the case works through a customer measure"


@dataclass(frozen=True, eq=False)
class ProgrammeFuture:
    """A programme in one future.

    Attributes
    ----------
    id, name : str
        As stated.
    score_gain : float
        Points gained at the peak in this future.
    reach : float
        Share of the active customers.
    start_month : int
        Month after which the gain begins to ramp.
    ramp_months, half_life_months : float
        As stated; ``inf`` where a gain never fades.
    costs : ndarray, shape (categories, months + 1)
        Cost of months 0…M before tax in each of the eight categories, in currency and prices of the start, with the
        overrun of this future.
    benefit : ndarray, shape (months + 1,)
        Money that comes in past any customer measure (benefits 8 to 10 with an amount), likewise.
    """

    id: str
    name: str
    score_gain: float
    reach: float
    start_month: int
    ramp_months: float
    half_life_months: float
    costs: Floats
    benefit: Floats


@dataclass(frozen=True)
class WhatIfInputs:
    """What a reader may move; a programme each where it is a tuple, in the order of the model's programmes.

    Attributes
    ----------
    score_gains : tuple of float
        Points gained at the peak.
    reaches : tuple of float
        Shares of the active customers, 0 to 1.
    half_lives_months : tuple of float
        Months in which a gain halves once it is in full force; ``inf`` for never.
    cost_multiple, margin_multiple : float
        What stated costs, and margin that follows from a gain, are multiplied by; 1 as they are.
    annual_discount_rate : float
        Fraction a year.
    horizon_months : int
        Months that count, up to the model's ``months``.
    """

    score_gains: tuple[float, ...]
    reaches: tuple[float, ...]
    half_lives_months: tuple[float, ...]
    cost_multiple: float
    margin_multiple: float
    annual_discount_rate: float
    horizon_months: int


@dataclass(frozen=True, eq=False)
class WhatIf:
    """One future of a case, as numbers that need no draws any more.

    Attributes
    ----------
    programme : str
        Whose median it is: the id of a programme, or ``total``.
    draw : int
        Which of the case's draws.
    programmes : tuple of ProgrammeFuture
        The programmes that add up to it.
    exposure, currency : str
        The measure whose points count; the currency of every amount.
    customers : int
        Number of customers active at the start.
    score_width : float
        Highest less lowest observed answer: no gain is wider.
    through_retention, through_spend : ndarray, shape (quarters,)
        Currency per customer and point, as in ``MarginResponse``.
    through_referrals, through_service : ndarray, shape (quarters,)
        Likewise; zeros where the response does not have them.
    horizon_months, annual_discount_rate, tax_rate, annual_inflation_rate, timing
        As the case states them; without inflation 0.
    """

    programme: str
    draw: int
    programmes: tuple[ProgrammeFuture, ...]
    exposure: str
    currency: str
    customers: int
    score_width: float
    through_retention: Floats
    through_spend: Floats
    through_referrals: Floats
    through_service: Floats
    horizon_months: int
    annual_discount_rate: float
    tax_rate: float
    annual_inflation_rate: float
    timing: Literal["end", "mid"]

    @property
    def quarters(self) -> int:
        """Quarters that the response reaches."""
        return len(self.through_retention)

    @property
    def months(self) -> int:
        """Longest horizon: the months of all quarters that the response reaches."""
        return MONTHS_OF_A_QUARTER * self.quarters

    @property
    def through_level(self) -> Floats:
        """Currency per customer and point while a gain is in force: spend, referrals and service, shape (quarters,)."""
        return self.through_spend + self.through_referrals + self.through_service

    @property
    def inputs(self) -> WhatIfInputs:
        """The base: everything as it is in this future."""
        return WhatIfInputs(
            score_gains=tuple(each.score_gain for each in self.programmes),
            reaches=tuple(each.reach for each in self.programmes),
            half_lives_months=tuple(each.half_life_months for each in self.programmes),
            cost_multiple=1.0,
            margin_multiple=1.0,
            annual_discount_rate=self.annual_discount_rate,
            horizon_months=self.horizon_months,
        )


@dataclass(frozen=True, eq=False, repr=False)
class WhatIfResult:
    """What one future comes to; arrays of shape (horizon + 1,), month 0 first, in currency.

    Attributes
    ----------
    cost, benefit : ndarray
        Before tax.
    net, cumulative, discounted_cumulative : ndarray
        After tax.
    pv_cost, pv_benefit, npv : float
        Present values after tax.
    roi : float
        Net present value over the present value of costs; NaN without costs.
    payback_months, discounted_payback_months : float
        ``inf`` where it is not reached within the horizon.
    """

    cost: Floats
    benefit: Floats
    net: Floats
    cumulative: Floats
    discounted_cumulative: Floats
    pv_cost: float
    pv_benefit: float
    npv: float
    roi: float
    payback_months: float
    discounted_payback_months: float

    def __repr__(self) -> str:
        return str(self.glance().to_string(index=False))

    def tidy(self) -> pd.DataFrame:
        """A row per month: ``month, cost, benefit, net, cumulative, discounted_cumulative``."""
        names = ("cost", "benefit", "net", "cumulative", "discounted_cumulative")
        return pd.DataFrame({"month": np.arange(len(self.net)), **{name: getattr(self, name) for name in names}})

    def glance(self) -> pd.DataFrame:
        """One row: ``npv, roi, payback_months, discounted_payback_months, pv_cost, pv_benefit``."""
        names = ("npv", "roi", "payback_months", "discounted_payback_months", "pv_cost", "pv_benefit")
        return pd.DataFrame([{name: getattr(self, name) for name in names}])


@dataclass(frozen=True, eq=False)
class Workings:
    """Steps from inputs to margin.

    Attributes
    ----------
    in_force : ndarray, shape (programmes, months)
        Share of each gain in force in months 1…M.
    beyond_scale : ndarray, shape (quarters,)
        Points, a mean over all customers, that those reached by several programmes would gain beyond the scores' width.
    points : ndarray, shape (quarters,)
        Points gained, a mean over all customers.
    margin : ndarray, shape (quarters,)
        Margin that follows, in currency and prices of the start, before ``margin_multiple``.
    """

    in_force: Floats
    beyond_scale: Floats
    points: Floats
    margin: Floats


def median_future(decision: BusinessCase, *, programme: str = "") -> WhatIf | str:
    """The future whose net present value is the reported median, or why there is none.

    Parameters
    ----------
    decision : BusinessCase
        A valued case.
    programme : str
        Id of a programme, or ``total``; empty for the total, or the only programme.

    Raises
    ------
    InputError
        If no such programme works through a customer measure.
    """
    if decision.response.reason:
        return decision.response.reason
    routed = [each for each in decision.case.programmes if each.has_route]
    if not routed:
        return NO_SCORE
    forecasts = {each.programme: each for each in decision.forecasts}
    wanted = programme or (TOTAL if TOTAL in forecasts else routed[0].id)
    members = routed if wanted == TOTAL else [each for each in routed if each.id == wanted]
    if not members or wanted not in forecasts:
        known = [*(each.id for each in routed), *([TOTAL] if TOTAL in forecasts else [])]
        raise InputError(
            f"programme must be one that works through a customer measure; got {programme!r}. Known: {', '.join(known)}."
        )
    npv = forecasts[wanted].measures["npv"]
    draw = int(np.argsort(npv, kind="stable")[math.ceil(MEDIAN * len(npv)) - 1])
    return _future(decision, wanted, members, draw)


def what_if(model: WhatIf, inputs: WhatIfInputs) -> WhatIfResult:
    """Cash flows and figures of one future with other assumptions.

    At ``model.inputs`` the net present value is the median of the case.

    Parameters
    ----------
    model : WhatIf
        From ``median_future``.
    inputs : WhatIfInputs
        ``dataclasses.replace(model.inputs, …)``.

    Raises
    ------
    InputError
        With every fault of the inputs.

    Notes
    -----
    The share of a gain in force in month m is s(m − start), as in ``business_case``; that of a quarter is the mean of its
    three months, also of those beyond the horizon. γ, the points that a customer gains, is the sum over programmes of
    gain × reach × share, less what customers reached by several would gain beyond the width of the scores. Margin of
    quarter h is customers × (through_retention_h · Σ_{k≤h} γ_k + through_level_h · γ_h), a third in each of its months.
    In month m everything is multiplied by (1 + inflation)^(m/12) and by 1 − tax, and discounted by (1 + rate)^(−m/12),
    half a month less with ``timing: mid``.
    """
    _check(model, inputs)
    month = np.arange(inputs.horizon_months + 1, dtype=float)
    prices = (1.0 + model.annual_inflation_rate) ** (month / 12.0)
    time = np.where(month > 0, month - 0.5, 0.0) if model.timing == "mid" else month
    discount = (1.0 + inputs.annual_discount_rate) ** (-time / 12.0)
    margin = np.repeat(workings(model, inputs).margin, MONTHS_OF_A_QUARTER) / MONTHS_OF_A_QUARTER
    stated = np.sum([each.benefit for each in model.programmes], axis=0)
    spent = np.sum([each.costs.sum(axis=0) for each in model.programmes], axis=0)
    held = slice(inputs.horizon_months + 1)
    benefit = (np.concatenate([[0.0], margin * inputs.margin_multiple])[held] + stated[held]) * prices
    cost = spent[held] * inputs.cost_multiple * prices
    kept = 1.0 - model.tax_rate
    net = kept * (benefit - cost)
    pv_cost, pv_benefit = kept * float(cost @ discount), kept * float(benefit @ discount)
    return WhatIfResult(
        cost=cost,
        benefit=benefit,
        net=net,
        cumulative=np.cumsum(net),
        discounted_cumulative=np.cumsum(net * discount),
        pv_cost=pv_cost,
        pv_benefit=pv_benefit,
        npv=pv_benefit - pv_cost,
        roi=(pv_benefit - pv_cost) / pv_cost if pv_cost else math.nan,
        payback_months=float(finance.payback_draws(net[None, :])[0]),
        discounted_payback_months=float(finance.payback_draws((net * discount)[None, :])[0]),
    )


def workings(model: WhatIf, inputs: WhatIfInputs) -> Workings:
    """What lies between the inputs and the cash flows; the inputs are those that ``what_if`` takes."""
    width = model.score_width
    gains = [min(max(gain, -width), width) for gain in inputs.score_gains]
    by_month = np.stack([_in_force(model, at, inputs.half_lives_months[at]) for at in range(len(gains))])
    by_quarter = by_month.reshape(len(gains), model.quarters, MONTHS_OF_A_QUARTER).mean(axis=2)
    beyond = np.zeros(model.quarters)
    if len(gains) > 1:
        places, lost = lost_to_the_scale([np.array([gain]) for gain in gains], list(by_quarter), inputs.reaches, width)
        beyond = lost[0] if len(places) else beyond
    points = (np.array(gains) * np.array(inputs.reaches)) @ by_quarter - beyond
    worth = model.through_retention * np.cumsum(points) + model.through_level * points
    return Workings(in_force=by_month, beyond_scale=beyond, points=points, margin=model.customers * worth)


def _in_force(model: WhatIf, at: int, half_life_months: float) -> Floats:
    """Share of a programme's full gain in force in each month from the first, shape (months,)."""
    programme, path = model.programmes[at], np.zeros(model.months)
    path[programme.start_month :] = score_path(
        model.months - programme.start_month, ramp_months=programme.ramp_months, half_life_months=half_life_months
    )
    return path


def _future(decision: BusinessCase, name: str, members: list[Programme], draw: int) -> WhatIf:
    """Everything that one draw of the case holds fixed."""
    case, response, inputs = decision.case, decision.response, decision.inputs
    ranked = ranked_draws(case, response)
    row = int(ranked[min(int(inputs.at("linkage")[draw] * len(ranked)), len(ranked) - 1)])
    width = response.score_range[1] - response.score_range[0]
    at_start = case.model_copy(update={"annual_inflation_rate": None})

    def in_future(programme: Programme) -> ProgrammeFuture:
        gain, overrun, benefit = (
            inputs.at(f"{each}.{programme.id}")[[draw]] for each in ("score_gain", "overrun", "benefits")
        )
        spent = costs_of(at_start, programme, overrun)
        return ProgrammeFuture(
            id=programme.id,
            name=programme.name,
            score_gain=float(np.clip(gain_at(programme, gain)[0], -width, width)),
            reach=programme.reach,
            start_month=programme.start_month,
            ramp_months=programme.ramp_months,
            half_life_months=math.inf if programme.half_life_months == "never" else programme.half_life_months,
            costs=np.stack([_by_month(spent, response.quarters, label) for label in CATEGORIES]),
            benefit=_by_month(stated_benefits_of(at_start, programme, benefit), response.quarters),
        )

    none = np.zeros(response.quarters)
    return WhatIf(
        programme=name,
        draw=draw,
        programmes=tuple(in_future(each) for each in members),
        exposure=response.exposure,
        currency=case.currency,
        customers=response.customers,
        score_width=width,
        through_retention=response.through_retention[row],
        through_spend=response.through_spend[row],
        through_referrals=none if response.through_referrals is None else response.through_referrals[row],
        through_service=none if response.through_service is None else response.through_service[row],
        horizon_months=case.horizon_months,
        annual_discount_rate=case.annual_discount_rate,
        tax_rate=case.tax_rate,
        annual_inflation_rate=case.annual_inflation_rate or 0.0,
        timing=case.timing,
    )


def _by_month(stream: Stream, quarters: int, label: str | None = None) -> Floats:
    """Amounts of one draw in the months of all quarters, shape (months + 1,); none beyond the stated horizon."""
    stated = stream.mean_by_month(label)
    return np.concatenate([stated, np.zeros(MONTHS_OF_A_QUARTER * quarters + 1 - len(stated))])


def _check(model: WhatIf, inputs: WhatIfInputs) -> None:
    """Refuse inputs that the model cannot take, all faults at once."""
    faults = list(_faults(model, inputs))
    if faults:
        raise InputError("\n".join(faults))


def _faults(model: WhatIf, inputs: WhatIfInputs) -> Iterator[str]:
    count = len(model.programmes)
    for name, low, high, rule in (
        ("score_gains", -math.inf, math.inf, "finite points"),
        ("reaches", 0.0, 1.0, "shares from 0 to 1"),
        ("half_lives_months", 0.0, math.inf, "months above 0, or inf for never"),
    ):
        values = getattr(inputs, name)
        if len(values) != count:
            yield f"{name} must hold one number a programme, {count}; it holds {len(values)}. Change model.inputs."
        endless, from_zero = name == "half_lives_months", name == "reaches"
        wrong = [
            value
            for value in values
            if not (low < value < high or (from_zero and value in (0.0, 1.0)) or (endless and value == math.inf))
        ]
        if wrong:
            yield f"{name} must be {rule}; {len(wrong)} are not (first: {wrong[0]:g}). Change model.inputs."
    for name, rule in (
        ("cost_multiple", "1 for costs as stated"),
        ("margin_multiple", "1 for margin as it follows"),
        ("annual_discount_rate", "0.12 for 12 %"),
    ):
        value = getattr(inputs, name)
        if not 0.0 <= value < math.inf:
            yield f"{name} must be a number from 0; got {value:g}. Write {rule}."
    if inputs.horizon_months != int(inputs.horizon_months) or not 1 <= inputs.horizon_months <= model.months:
        yield (
            f"horizon_months must be a whole number from 1 to the {model.months} months that the response reaches; "
            f"got {inputs.horizon_months:g}. Shorten it."
        )
