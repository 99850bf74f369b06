"""Decision register: every assumption that a case rests on, with its value, unit, source, owner and kind."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from cxroi.case.inputs import point_values
from cxroi.case.measures import quantiles
from cxroi.case.programme import Case, Programme, Range
from cxroi.case.terms import CATEGORIES, LADDER
from cxroi.value.response import MarginResponse

COLUMNS = ("assumption", "programme", "value", "low", "high", "text", "unit", "source", "owner", "kind", "missing")

_COMPARED = LADDER[LADDER.index("within_customer") :]
"""Grades of a gain that a comparison of customers has shown: such a gain is data."""


class _Row(NamedTuple):
    """One assumption before its source is known."""

    assumption: str
    programme: str
    value: float
    low: float
    high: float
    text: str
    unit: str


def register(case: Case, response: MarginResponse | None) -> pd.DataFrame:
    """See ``BusinessCase.register``; without a response only what the case states."""
    by_id = {programme.id: programme for programme in case.programmes}
    rows = [(*row, *_origin(case, by_id.get(row.programme), row.assumption)) for row in _stated(case)]
    if response is not None:
        rows += [(*row, f"this run: {response.evidence}", "", "data", False) for row in _from_the_run(case, response)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sources_without_assumption(case: Case) -> list[str]:
    """Names in ``sources`` that no assumption of the case has."""
    known = {name for row in _stated(case) for name in _names(row.assumption)}
    return [name for name in case.sources if name not in known]


def _stated(case: Case) -> Iterator[_Row]:
    """What the case states, in the order in which a reader asks."""
    yield _number("horizon_months", "", case.horizon_months, "months")
    yield _number("annual_discount_rate", "", case.annual_discount_rate, "per_year")
    yield _number("tax_rate", "", case.tax_rate, "share")
    if case.annual_inflation_rate is not None:
        yield _number("annual_inflation_rate", "", case.annual_inflation_rate, "per_year")
    for currency, rate in case.exchange_rates.items():
        yield _number(f"exchange_rates.{currency}", "", rate, f"{case.currency}_per_{currency}")
    for each in case.programmes:
        yield from _of_programme(case, each)
    for tied in case.correlations:
        yield _number(f"correlations.{'~'.join(tied.inputs)}", "", tied.correlation, "correlation")


def _of_programme(case: Case, programme: Programme) -> Iterator[_Row]:
    """What is stated for one programme."""
    own = programme.id
    if programme.has_route:
        if programme.score_gain is not None:
            yield _range(f"score_gain.{own}", own, programme.score_gain, "points")
        for driver in programme.drivers:
            yield _range(f"gain.{own}.{driver.touchpoint}", own, driver.gain, "points")
            yield _range(f"pass_through.{own}.{driver.touchpoint}", own, driver.pass_through, "points_per_point")
        yield _number(f"reach.{own}", own, programme.reach, "share")
        yield _number(f"ramp_months.{own}", own, programme.ramp_months, "months")
        if programme.half_life_months == "never":
            yield _Row(f"half_life_months.{own}", own, *(math.nan,) * 3, "never", "months")
        else:
            yield _number(f"half_life_months.{own}", own, programme.half_life_months, "months")
    yield _number(f"start_month.{own}", own, programme.start_month, "months")
    for category in CATEGORIES:
        costs = [cost for cost in programme.costs if cost.category == category]
        for currency in dict.fromkeys(cost.currency or case.currency for cost in costs):
            amount = sum(
                cost.amount * len(cost.months) for cost in costs if (cost.currency or case.currency) == currency
            )
            yield _number(f"costs.{own}.{category}", own, amount, currency)
        for number, overrun in enumerate((cost.overrun for cost in costs if cost.overrun is not None), start=1):
            yield _range(f"overrun.{own}.{category}" + (f".{number}" if number > 1 else ""), own, overrun, "share")
        for life in dict.fromkeys(cost.useful_life_months for cost in costs if cost.useful_life_months is not None):
            yield _number(f"useful_life_months.{own}.{category}", own, life, "months")
    for number, saving in enumerate(programme.savings, start=1):
        name = f"savings.{own}.{number}"
        yield _range(name, own, saving.amount, f"{saving.currency or case.currency}_per_month")
    for benefit in programme.benefits:
        if benefit.amount is not None:
            yield _range(f"benefits.{own}.{benefit.benefit}", own, benefit.amount, f"{case.currency}_per_month")


def _from_the_run(case: Case, response: MarginResponse) -> Iterator[_Row]:
    """What the data say: the linkage and the customers that it is about."""
    yield _number("customers", "", response.customers, "customers")
    if response.reason:
        yield _Row("linkage", "", *(math.nan,) * 3, response.reason, case.currency)
        return
    for programme in case.programmes:
        if programme.has_route:
            low, median, high = quantiles((1.0 - case.tax_rate) * point_values(case, response, programme))
            yield _Row(f"linkage.{programme.id}", programme.id, median, low, high, "", f"{case.currency}_per_point")
    low, high = response.score_range
    yield _Row("score_range", "", math.nan, low, high, response.exposure, "points")
    if response.persistence is not None:
        low, median, high = quantiles(response.persistence)
        yield _Row("persistence", "", median, low, high, "", "share_per_quarter")


def _origin(case: Case, programme: Programme | None, assumption: str) -> tuple[str, str, str, bool]:
    """Source, owner, kind, and whether the source is missing: named in ``sources``, or in the entry or programme itself."""
    basis = next((case.sources[name] for name in _names(assumption) if name in case.sources), None)
    owner = (programme.owner or "") if programme else ""
    if basis is not None:
        return basis.source, basis.owner or owner, basis.kind, False
    source = _own_source(case, programme, assumption)
    compared = assumption.startswith("score_gain.") and programme is not None and programme.evidence in _COMPARED
    return source, owner, "data" if compared else "assumption", not source


def _own_source(case: Case, programme: Programme | None, assumption: str) -> str:
    """Source that stands beside the figure itself, or that of the programme."""
    kind, _, rest = assumption.partition(".")
    if kind == "correlations":
        return next((tied.source for tied in case.correlations if "~".join(tied.inputs) == rest), "")
    if programme is None:
        return ""
    name = rest.removeprefix(f"{programme.id}.")
    if kind in ("gain", "pass_through"):
        return next((driver.source for driver in programme.drivers if driver.touchpoint == name), "")
    if kind == "savings":
        return programme.savings[int(name) - 1].source
    if kind == "benefits":
        return next((each.source for each in programme.benefits if each.benefit == name and each.source), "")
    return (programme.source or "") if kind == "score_gain" else ""


def _names(assumption: str) -> list[str]:
    """Names under which a source may stand, the most exact first: ``costs.one.data_tools``, ``costs.one``, ``costs``."""
    steps = assumption.split(".")
    return [".".join(steps[:count]) for count in range(len(steps), 0, -1)]


def _number(name: str, programme: str, value: float, unit: str) -> _Row:
    return _Row(name, programme, float(value), float(value), float(value), "", unit)


def _range(name: str, programme: str, stated: Range, unit: str) -> _Row:
    return _Row(name, programme, stated.mode, stated.low, stated.high, "", unit)
