"""A case as the lines of the workbook's blocks, and the lines as the plain data of a case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from cxroi.case.programme import Basis, Case, Programme, Range
from cxroi.case.workbook.layout import BLOCKS, CHOICES

Values = dict[str, Any]
"""Values of one line by the keys of its fields; what is not stated is not there."""


@dataclass(frozen=True)
class Line:
    """One line as read: its values, and a place for each field of its block, empty ones too."""

    values: Values
    places: Mapping[str, Any]


def lines_of(case: Case) -> dict[str, list[Values]]:
    """Lines of every block that state the case."""
    per_quarter = case.budget.per_quarter if case.budget else None
    quarters = per_quarter if isinstance(per_quarter, tuple) else ()
    finance = {
        key: value for key, value in _values(case, "finance").items() if value is not per_quarter or not quarters
    }
    return {
        "profile": [_values(case.profile, "profile")] if case.profile else [],
        "programmes": [_programme(programme) for programme in case.programmes],
        **{name: [*_nested(case, name)] for name in ("drivers", "costs", "savings", "benefits")},
        "finance": [finance],
        "exchange_rates": [{"currency": name, "rate": rate} for name, rate in case.exchange_rates.items()],
        "quarters": [{"quarter": number, "limit": limit} for number, limit in enumerate(quarters, start=1)],
        "correlations": [
            _stated(
                {
                    **_input("first", each.inputs[0]),
                    **_input("second", each.inputs[1]),
                    "correlation": each.correlation,
                    "source": each.source,
                }
            )
            for each in case.correlations
        ],
        "sources": [_source(case, name, basis) for name, basis in case.sources.items()],
    }


def _values(model: BaseModel, block: str) -> Values:
    """What a model states for the fields of a block."""
    return _stated({field.key: _value(model, field.key) for field in BLOCKS[block].fields})


def _value(model: BaseModel, key: str) -> object:
    """Value of a field; of a range that is certain, the middle alone."""
    name, _, part = key.partition(".")
    value = getattr(model, name, None)
    if isinstance(value, Range) and part in ("low", "high") and value.certain:
        return None
    return getattr(value, part, None) if part else value


def _stated(values: Values) -> Values:
    return {key: value for key, value in values.items() if value is not None and value != ()}


def _programme(programme: Programme) -> Values:
    values = _values(programme, "programmes")
    if programme.has_route:
        return values
    idle = {"reach": 0.0, "ramp_months": 0.0, "half_life_months": "never"}  # what a programme without a route is given
    return {key: value for key, value in values.items() if key not in idle or value != idle[key]}


def _nested(case: Case, name: str) -> Iterator[Values]:
    for programme in case.programmes:
        for each in getattr(programme, name):
            yield {"programme": programme.id} | _values(each, name)


def _input(place: str, name: str) -> Values:
    """An uncertain input as its kind and its programme."""
    kind, _, programme = name.partition(".")
    return {place: kind, f"{place}_programme": programme or None}


def _source(case: Case, name: str, basis: Basis) -> Values:
    head, _, rest = name.partition(".")
    known = head in CHOICES["assumption"] and rest in {programme.id for programme in case.programmes}
    assumption = {"assumption": head, "programme": rest} if known else {"assumption": name}
    return assumption | _values(basis, "sources")


@dataclass(frozen=True)
class Stated:
    """Plain data of a case, and the place of every value (and of every gap) by its path, ``programmes[0].reach``."""

    raw: dict[str, Any]
    places: dict[str, Any]


def assemble(lines: Mapping[str, Sequence[Line]]) -> Stated:
    """Put lines together to the plain data that `cxroi.case.read.validate` takes.

    A line refers to a programme by its number among the lines of programmes. Lines of costs, drivers, savings and
    benefits without one are left out; the caller has named them.
    """
    stated = Stated({}, {})
    finance = [*lines.get("finance", ())]
    for line in finance:
        values = dict(line.values)
        budget = {key: values.pop(f"budget.{key}") for key in ("total", "per_quarter") if f"budget.{key}" in values}
        stated.raw.update(values | ({"budget": budget} if budget else {}))
        _place(stated, "", line)
    if limits := [line.values["limit"] for line in lines.get("quarters", ()) if "limit" in line.values]:
        stated.raw.setdefault("budget", {})["per_quarter"] = limits
        stated.places["budget.per_quarter"] = lines["quarters"][0].places["limit"]
    if rates := [line.values for line in lines.get("exchange_rates", ()) if {"currency", "rate"} <= set(line.values)]:
        stated.raw["exchange_rates"] = {each["currency"]: each["rate"] for each in rates}
    for line in lines.get("profile", ()):
        if line.values:
            stated.raw["profile"] = dict(line.values)
            _place(stated, "profile", line)
    programmes = stated.raw["programmes"] = [_nest(line.values) for line in lines.get("programmes", ())]
    for number, line in enumerate(lines.get("programmes", ())):
        _place(stated, f"programmes[{number}]", line)
        stated.places[f"programmes[{number}].costs"] = line.places["id"]
    for name in ("drivers", "costs", "savings", "benefits"):
        for line in lines.get(name, ()):
            at = line.values.get("programme")
            if isinstance(at, int):
                entries = programmes[at].setdefault(name, [])
                _place(stated, f"programmes[{at}].{name}[{len(entries)}]", line)
                entries.append(_nest({key: value for key, value in line.values.items() if key != "programme"}))
    _correlations(stated, lines.get("correlations", ()))
    _sources(stated, lines.get("sources", ()))
    return stated


def _nest(values: Values) -> dict[str, Any]:
    """Values with the parts of a range under its name; a middle alone is a number."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        name, _, part = key.partition(".")
        if part:
            nested.setdefault(name, {})[part] = value
        else:
            nested[name] = value
    certain = [name for name, value in nested.items() if isinstance(value, dict) and [*value] == ["mode"]]
    return nested | {name: nested[name]["mode"] for name in certain}


def _place(stated: Stated, path: str, line: Line) -> None:
    for key, place in line.places.items():
        at = f"{path}.{key}".removeprefix(".")
        stated.places[at] = place
        if at.endswith(".mode"):
            stated.places[at.removesuffix(".mode")] = place


def _correlations(stated: Stated, lines: Sequence[Line]) -> None:
    found = stated.raw["correlations"] = []
    for line in lines:
        path = f"correlations[{len(found)}]"
        _place(stated, path, line)
        stated.places[f"{path}.inputs"] = line.places["first"]
        stated.places.update({f"{path}.inputs[{at}]": line.places[each] for at, each in enumerate(("first", "second"))})
        entry: Values = {key: line.values[key] for key in ("correlation", "source") if key in line.values}
        lacking = [name for name in ("first", "second") if lacks_programme(line, name)]
        if not lacking and {"first", "second"} <= set(line.values):
            entry["inputs"] = [_joined(stated, line, name, f"{name}_programme") for name in ("first", "second")]
        elif lacking:
            stated.places[f"{path}.inputs"] = line.places[f"{lacking[0]}_programme"]
        found.append(entry)
    if lines:
        stated.places["correlations"] = lines[0].places["first"]


def lacks_programme(line: Line, name: str) -> bool:
    """Whether an uncertain assumption is named without the programme that it belongs to."""
    return line.values.get(name) not in (None, "linkage") and f"{name}_programme" not in line.values


def _sources(stated: Stated, lines: Sequence[Line]) -> None:
    found = stated.raw["sources"] = {}
    for line in lines:
        if "assumption" in line.values:
            name = _joined(stated, line, "assumption", "programme")
            _place(stated, f"sources.{name}", line)
            found[name] = {key: line.values[key] for key in ("kind", "source", "owner") if key in line.values}


def _joined(stated: Stated, line: Line, name: str, programme: str) -> str:
    """Name of an assumption or an input, with its programme where it has one: ``reach.call_centre``."""
    at = line.values.get(programme)
    known = isinstance(at, int) and stated.raw["programmes"][at].get("id")
    return f"{line.values[name]}.{known}" if known else str(line.values[name])
