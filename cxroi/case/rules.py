"""What the values of an investment case must be: one sentence and example a name, and faults between several values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard, get_args

from cxroi.case.terms import BENEFITS, CATEGORIES, LADDER, BusinessModel, Discipline

RULES: dict[str, tuple[str, str]] = {
    "currency": ("be the three capital letters of a currency", "VND"),
    "start": ("be a date", "2026-10-01"),
    "horizon_months": ("be a whole number of months from 1 to 360", "36"),
    "annual_discount_rate": ("be a fraction from 0 to below 1", "0.12 for 12 %"),
    "tax_rate": ("be a fraction from 0 to below 1", "0.2 for 20 %"),
    "timing": ("be end or mid", "end"),
    "programmes": ("be a list of at least one programme", "programmes: and below it - id: call_centre …"),
    "id": ("be 1 to 64 letters, digits, _ or -", "call_centre"),
    "name": ("be text of 1 to 200 characters", "One call is enough"),
    "evidence": (f"be one of {', '.join(LADDER)}", "association"),
    "score_gain": ("be a number, or low <= mode <= high", "{metric: nps, low: 0.1, mode: 0.3, high: 0.5}"),
    "metric": ("be nps, csat or ces", "nps"),
    "low": ("be a number", "0.1"),
    "mode": ("be a number", "0.3"),
    "high": ("be a number", "0.5"),
    "reach": ("be a share of the base above 0 and up to 1", "0.4 for 40 %"),
    "ramp_months": ("be a number of months from 0", "6, or 0 for a gain at once"),
    "half_life_months": ("be a number of months above 0, or the word never", "24"),
    "costs": ("be a list of at least one cost", "{category: 2, month: 0, amount: 500000000}"),
    "category": (f"be 1 to 8 or one of {', '.join(CATEGORIES)}", "2"),
    "month": ("be a whole number of months from 0", "0 for the start"),
    "until_month": ("be a whole number of months from 0", "36"),
    "amount": ("be a number from 0", "500000000, without separators, quotes or a currency"),
    "kind": ("be one_off or recurring", "one_off"),
    "beneficiary": ("be customers or employees", "customers"),
    "discipline": (f"be one of {', '.join(get_args(Discipline))}", "design"),
    "intent": ("be text", "Solve it at the first contact"),
    "owner": ("be text", "Head of service"),
    "touchpoint": ("be text", "support"),
    "source": ("be text", "workshop 2026-08"),
    "annual_inflation_rate": ("be a fraction above -1 and below 1", "0.03 for 3 %"),
    "exchange_rates": (
        "be currencies with the units of the case's currency for one of theirs, above 0",
        "{USD: 26000}",
    ),
    "profile": ("be a mapping of business_model, state, goal and strategy", "{goal: keep the customers we have}"),
    "business_model": (f"be one of {', '.join(get_args(BusinessModel))}", "contract"),
    "state": ("be text", "one customer in five leaves each year"),
    "goal": ("be text", "keep the customers we have"),
    "strategy": ("be text", "solve it at the first contact"),
    "budget": ("be a mapping of total and per_quarter", "{total: 5000000000}"),
    "total": ("be a number from 0", "5000000000"),
    "per_quarter": ("be a number from 0, or a list of one a quarter", "800000000"),
    "correlations": (
        "be a list of correlations",
        "{inputs: [linkage, score_gain.call_centre], correlation: 0.3, source: workshop}",
    ),
    "inputs": ("be two names of uncertain inputs", "[linkage, score_gain.call_centre]"),
    "correlation": ("be a number above -1 and below 1", "0.3"),
    "sources": (
        "be assumptions with source, owner and kind",
        "{reach: {source: CRM, kind: data}}",
    ),
    "drivers": (
        "be a list of touchpoints with gain, pass_through and source",
        "{touchpoint: support, gain: 0.4, pass_through: 0.3, …}",
    ),
    "gain": ("be a number, or low <= mode <= high", "{low: 0.1, mode: 0.3, high: 0.5}"),
    "pass_through": ("be a number, or low <= mode <= high", "{low: 0.1, mode: 0.3, high: 0.5}"),
    "overrun": ("be a share of the amount, or low <= mode <= high", "{low: 0, mode: 0.1, high: 0.4}"),
    "useful_life_months": ("be a whole number of months from 1 to 360", "36"),
    "start_month": ("be a whole number of months from 0", "0 for the start"),
    "savings": (
        "be a list of savings with amount, month and source",
        "{amount: 40000000, month: 6, source: work study}",
    ),
    "benefits": ("be a list of benefits", "{benefit: 8, note: fewer night shifts}"),
    "benefit": (f"be 1 to 10 or one of {', '.join(BENEFITS)}", "8"),
    "note": ("be text", "fewer night shifts"),
    "requires": ("be a list of ids of other programmes", "[call_centre]"),
    "excludes": ("be a list of ids of other programmes", "[call_centre]"),
}
"""For each name in a case: what its value must be, and an example."""


def shown(value: object) -> str:
    """A value from a file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def faults_across(raw: Mapping[str, Any]) -> Iterator[str]:
    """Faults that need more than one value to be seen, in a case of any quality."""
    horizon = raw.get("horizon_months")
    programmes = _entries(raw.get("programmes"))
    ids = [entry.get("id") for _, entry in programmes]
    for at, entry in programmes:
        path = f"programmes[{at}]"
        if entry.get("id") == "total":
            yield f"{path}.id must not be total, the name of the sum over programmes. Write another id."
        yield from _route_faults(path, entry)
        yield from _reference_faults(path, entry, ids)
        ramp = entry.get("ramp_months")
        if _number(horizon) and _number(ramp) and ramp > horizon:
            yield (
                f"{path}.ramp_months must lie within the horizon of {horizon} months; got {ramp:g}. "
                "Lengthen horizon_months, or shorten the ramp."
            )
        yield from _months_faults(path, {"start_month": entry.get("start_month")}, horizon)
        for name in ("costs", "savings", "benefits"):
            for number, amount in _entries(entry.get(name)):
                yield from _amount_faults(f"{path}.{name}[{number}]", amount, horizon)
                yield from _currency_faults(f"{path}.{name}[{number}]", amount, raw)
        for number, benefit in _entries(entry.get("benefits")):
            yield from _benefit_faults(f"{path}.benefits[{number}]", benefit)
    for name in dict.fromkeys(str(name) for name in ids if name is not None and ids.count(name) > 1):
        yield f"programmes must have different ids; {shown(name)} stands more than once. Rename one."
    yield from _budget_faults(raw)
    known = uncertain_inputs(str(name) for name in ids if name is not None)
    for at, entry in _entries(raw.get("correlations")):
        yield from _correlation_faults(f"correlations[{at}]", entry, known)


def uncertain_inputs(ids: Iterable[str]) -> tuple[str, ...]:
    """Names of inputs that may be correlated: the linkage, and each programme's gain and overrun."""
    return ("linkage", *(f"{name}.{each}" for each in ids for name in ("score_gain", "overrun")))


def _route_faults(path: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Faults of the way from a programme to money: one route through a score, or none and a saving."""
    routes = [name for name in ("score_gain", "drivers") if entry.get(name)]
    if len(routes) == 2:
        yield f"{path} must state score_gain or drivers, not both. Remove one of them."
    if not routes and "score_gain" not in entry and not entry.get("savings"):
        rule, example = RULES["score_gain"]
        yield f"{path}.score_gain is missing; it must {rule}. Write, for example, {example}."
    if routes:
        for name in ("reach", "ramp_months", "half_life_months"):
            if name not in entry or (name == "reach" and entry[name] == 0.0 and type(entry[name]) is float):
                rule, example = RULES[name]
                yield f"{path}.{name} is missing; it must {rule}. Write, for example, {example}."


def _reference_faults(path: str, entry: Mapping[str, Any], ids: Sequence[object]) -> Iterator[str]:
    """Programmes that a programme requires or excludes but that do not exist."""
    for name in ("requires", "excludes"):
        stated = entry.get(name)
        for other in stated if isinstance(stated, (list, tuple)) else ():
            if other not in ids or other == entry.get("id"):
                yield f"{path}.{name} must name other programmes of the case; got {shown(other)}. Use one of their ids."


def _benefit_faults(path: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Money beside a benefit that the linkage values already, or without a source."""
    if entry.get("amount") is None:
        return
    benefit = entry.get("benefit")
    if benefit in BENEFITS[:7] or (_number(benefit) and 1 <= benefit <= 7):
        yield (
            f"{path}.amount must not be stated for benefits 1 to 7: they are terms of one customer value, which the "
            "score gain already moves, and would count twice. Remove the amount."
        )
    elif not entry.get("source"):
        yield f"{path}.source is missing; an amount must say where it is from. Write it, or remove the amount."


def _budget_faults(raw: Mapping[str, Any]) -> Iterator[str]:
    """Limits by quarter that do not fit the horizon."""
    budget, horizon = raw.get("budget"), raw.get("horizon_months")
    limits = budget.get("per_quarter") if isinstance(budget, Mapping) else None
    if isinstance(limits, (list, tuple)) and _number(horizon) and len(limits) != math.ceil(horizon / 3):
        yield (
            f"budget.per_quarter must hold one number for each of the {math.ceil(horizon / 3)} quarters of the horizon; "
            f"it holds {len(limits)}. Write one number for all, or one each."
        )


def _correlation_faults(path: str, entry: Mapping[str, Any], known: Sequence[str]) -> Iterator[str]:
    """Inputs that do not exist."""
    inputs = entry.get("inputs")
    if not isinstance(inputs, (list, tuple)):
        return
    for name in inputs:
        if name not in known:
            yield f"{path}.inputs must name uncertain inputs; got {shown(name)}. Known here: {', '.join(known)}."
    if len(inputs) == 2 and inputs[0] == inputs[1]:
        yield f"{path}.inputs must name two different inputs; got {shown(inputs[0])} twice. Name another one."


def _currency_faults(path: str, entry: Mapping[str, Any], raw: Mapping[str, Any]) -> Iterator[str]:
    """Amounts in a currency without a rate."""
    currency, rates = entry.get("currency"), raw.get("exchange_rates")
    if currency is None or currency == raw.get("currency"):
        return
    if not isinstance(rates, Mapping) or currency not in rates:
        yield (
            f"{path}.currency must have a rate in exchange_rates; {shown(currency)} has none. "
            f"Write, for example, exchange_rates: {{{str(currency)[:3]}: 26000}}."
        )


def _months_faults(path: str, stated: Mapping[str, object], horizon: object) -> Iterator[str]:
    """Months beyond the horizon."""
    for name, value in stated.items():
        if _number(horizon) and _number(value) and value > horizon:
            yield (
                f"{path}.{name} must lie within the horizon of {horizon} months; got {value}. "
                "Lengthen horizon_months, or end the cost earlier."
            )


def _amount_faults(path: str, cost: Mapping[str, Any], horizon: object) -> Iterator[str]:
    """Faults between the months, the kind and the horizon of one cost, saving or benefit."""
    month, until, kind = cost.get("month"), cost.get("until_month"), cost.get("kind")
    yield from _months_faults(path, {"month": month, "until_month": until}, horizon)
    if _number(month) and _number(until) and until < month:
        yield f"{path}.until_month must not lie before month {month}; got {until}. Exchange the two."
    if kind == "recurring" and until is None:
        yield f"{path}.until_month is missing; a recurring cost must say when it ends. Write, for example, 36."
    if kind == "one_off" and until is not None and until != month:
        yield f"{path}.kind must be recurring where until_month is stated; got one_off. Write kind: recurring."


def _entries(value: object) -> list[tuple[int, Mapping[str, Any]]]:
    """The mappings in a list, with their places."""
    if not isinstance(value, (list, tuple)):
        return []
    return [(at, entry) for at, entry in enumerate(value) if isinstance(entry, Mapping)]


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
