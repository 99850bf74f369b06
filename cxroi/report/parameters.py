"""Parameters of the notebooks: one typed model a notebook, checked before a kernel starts.

A notebook's ``parameters`` cell is written by `parameters_cell`, so that model, cell and command line agree.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from cxroi import periods
from cxroi.errors import InputError, InvalidParameters

AS_STATED = -1.0  # a rate that dataset.yaml states
NOT_STATED = -1.0  # a share that nobody stated
KINDS_OF_LOYALTY = ("behavioural", "rational", "emotional", "mixed", "none")


CASE_FILE = "investment case; empty: case.yaml beside dataset.yaml"


def _field(default: object, description: str, unit: str, **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"unit": unit}, **limits)


class Parameters(BaseModel):
    """Parameters that every notebook has."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    dataset: str = _field("data/sample", "folder of the data set", "path", min_length=1)
    quarter: str = _field("", "last quarter to report, like 2026Q3; empty: the last complete one", "quarter")
    lang: Literal["vi", "en"] = _field("en", "language of the report, vi or en", "code")
    seed: int = _field(20, "seed of every random draw", "whole number", ge=0, le=2**32 - 1)

    @field_validator("quarter")
    @classmethod
    def _is_quarter(cls, quarter: str) -> str:
        try:
            return periods.label(periods.index(quarter)) if quarter else quarter
        except InputError:
            raise ValueError("must be written like 2026Q3") from None


class ValueParameters(Parameters):
    """Parameters of ``05_value`` and ``10_customers``."""

    exposure: Literal["nps", "csat", "ces"] = _field("nps", "score that is worth something, nps, csat or ces", "name")
    horizon_months: int = _field(0, "how far value is counted; 0: as dataset.yaml states", "months", ge=0, le=600)
    annual_discount_rate: float = _field(
        AS_STATED, "discount rate; 0 is a rate of zero, -1: as dataset.yaml states", "share per year", le=10
    )

    @field_validator("annual_discount_rate")
    @classmethod
    def _is_rate(cls, rate: float) -> float:
        if rate < 0 and rate != AS_STATED:
            raise ValueError("must be 0 or more, like 0.12 (12% per year), or -1 for the rate that dataset.yaml states")
        return rate


class LoyaltyParameters(ValueParameters):
    """Parameters of ``12_loyalty``."""

    score_gain: float = _field(
        0.0, "gain in the score whose retention is put under stress; 0: not stated", "points", ge=-100, le=100
    )
    price_rise: float = _field(
        0.0, "shock: what customers pay rises by this share; 0: not stated", "share", ge=-0.9, le=0.9
    )
    extra_leaving_source: str = _field("", "where extra_leaving is known from; empty: not stated", "text")
    extra_leaving: str = _field(
        "",
        "how many more of each kind go, like 'behavioural 0.02 to 0.05, ...'; empty: not stated",
        "probability per quarter",
    )

    @field_validator("extra_leaving")
    @classmethod
    def _is_stated(cls, leaving: str, known: ValidationInfo) -> str:
        if not leaving:
            return leaving
        try:
            leaving_by_kind(leaving)
        except InputError as error:
            raise ValueError(str(error).removeprefix("extra_leaving ").rpartition("; got ")[0]) from None
        if not str(known.data.get("extra_leaving_source", "")).strip():
            raise ValueError("must come with extra_leaving_source, which says where it is known from")
        return leaving


class GrowthParameters(ValueParameters):
    """Parameters of ``11_growth``."""

    would_have_come: float = _field(
        NOT_STATED, "referred customers who would have come anyway; 0 is nobody, -1: not stated", "share", le=1
    )
    would_have_come_source: str = _field("", "where that share is from, like: survey of new customers, 2026", "words")
    earned_channels: str = _field(
        "", "acquisition channels that count as earned beside the referrals, commas between them", "names"
    )

    @field_validator("would_have_come")
    @classmethod
    def _is_share(cls, share: float) -> float:
        if share < 0 and share != NOT_STATED:
            raise ValueError("must lie between 0 and 1, like 0.3 (30%), or be -1 where it is not stated")
        return share


class RedTeamParameters(ValueParameters):
    """Parameters of ``08_red_team``."""

    case: str = _field("", CASE_FILE, "path")


class CaseParameters(Parameters):
    """Parameters of ``06_case``."""

    case: str = _field("", CASE_FILE, "path")
    draws: int = _field(10_000, "simulated futures", "count", ge=100, le=1_000_000)


class PortfolioParameters(CaseParameters):
    """Parameters of ``09_portfolio``."""

    budget: float = _field(NOT_STATED, "what may be spent in all; -1: as the case states", "currency", ge=-1)
    shared: float = _field(
        1.0,
        "what customers reached by several programmes lose of the smaller gains; 0: gains add up",
        "share",
        ge=0,
        le=1,
    )
    pilot: str = _field("", "programme of the pilot; empty: where knowing the gain is worth most", "id")
    pilot_cost: float = _field(
        NOT_STATED, "what a pilot costs besides its customers; -1: not stated", "currency", ge=-1
    )
    pilot_cost_per_customer: float = _field(
        NOT_STATED, "what a treated customer of a pilot costs; -1: not stated", "currency", ge=-1
    )
    pilot_months: int = _field(0, "how long a decision waits for a pilot", "months", ge=0, le=60)
    answer_cost: float = _field(
        NOT_STATED, "what one more answer of the survey costs; -1: not stated", "currency", ge=-1
    )
    price_rise: float = _field(
        0.0, "stress test: what customers pay rises by this share; 0: not stated", "share", ge=-0.9, le=0.9
    )

    @field_validator("budget", "pilot_cost", "pilot_cost_per_customer", "answer_cost")
    @classmethod
    def _is_amount(cls, amount: float) -> float:
        if amount < 0 and amount != NOT_STATED:
            raise ValueError("must be an amount from 0, or -1 where it is not stated")
        return amount


MODELS: Mapping[str, type[Parameters]] = MappingProxyType(
    {
        "01_data": Parameters,
        "02_scores": Parameters,
        "03_retention": Parameters,
        "04_purchases": Parameters,
        "05_value": ValueParameters,
        "06_case": CaseParameters,
        "07_evidence": Parameters,
        "08_red_team": RedTeamParameters,
        "09_portfolio": PortfolioParameters,
        "10_customers": ValueParameters,
        "11_growth": GrowthParameters,
        "12_loyalty": LoyaltyParameters,
    }
)


def check_parameters(notebook: str, values: Mapping[str, object]) -> dict[str, Any]:
    """All parameters of a notebook: the given values, checked, and the defaults of the others.

    Texts from a command line (``"12"``, ``"0.12"``, ``"true"``) are read as the field's type where that is exact.

    Raises
    ------
    InvalidParameters
        If the notebook or a parameter is unknown, or a value has the wrong type or lies outside its limits;
        every fault in one message.

    Examples
    --------
    >>> check_parameters("06_case", {"draws": "2000"})["draws"]
    2000
    >>> check_parameters("06_case", {"drws": 2000})
    Traceback (most recent call last):
    ...
    cxroi.errors.InvalidParameters: 06_case has no parameter 'drws'; did you mean 'draws'? It takes dataset, quarter, \
lang, seed, case, draws.
    """
    fields = model(notebook).model_fields
    faults = [_unknown(notebook, name, fields) for name in values if name not in fields]
    known = {name: _read(value, fields[name]) for name, value in values.items() if name in fields}
    try:
        checked = model(notebook).model_validate(known).model_dump()
    except ValidationError as error:
        faults += [_fault(notebook, fault, values, fields) for fault in error.errors()]
    if faults:
        raise InvalidParameters("\n".join(faults))
    return checked


def leaving_by_kind(text: str) -> dict[str, tuple[float, float]]:
    """Low and high of each kind of loyalty from ``behavioural 0.02 to 0.05, rational 0 to 0.01, …``.

    Raises
    ------
    InputError
        If it is not written so, or does not state each kind once, low at most high, both probabilities.

    Examples
    --------
    >>> leaving_by_kind("behavioural 0.02 to 0.05, rational 0, emotional 0, mixed 0.01, none 0.01")["behavioural"]
    (0.02, 0.05)
    """
    found = [_LEAVING.fullmatch(part.strip()) for part in text.split(",")]
    stated = [(each[1], float(each[2]), float(each[3] or each[2])) for each in found if each]
    if sorted(kind for kind, _, _ in stated) != sorted(KINDS_OF_LOYALTY) or len(stated) < len(found):
        raise InputError(
            f"extra_leaving must state each of {', '.join(KINDS_OF_LOYALTY)} once, like 'behavioural 0.02 to 0.05, "
            f"rational 0 to 0.01, emotional 0 to 0.01, mixed 0.01 to 0.03, none 0.01 to 0.03'; got {text!r}"
        )
    if any(not 0 <= low <= high < 1 for _, low, high in stated):
        raise InputError(f"extra_leaving must hold probabilities below 1, the low one first; got {text!r}")
    return {kind: (low, high) for kind, low, high in stated}


_LEAVING = re.compile(r"([a-z]+) (\d*\.?\d+)(?: to (\d*\.?\d+))?")


def assign_parameters(notebooks: list[str], values: Mapping[str, object]) -> dict[str, dict[str, Any]]:
    """Parameters of several notebooks, each given the values that it takes.

    Raises
    ------
    InvalidParameters
        If no notebook takes a value, or one of them cannot take it.
    """
    takers = {notebook: model(notebook).model_fields for notebook in notebooks}
    every = {name: field for fields in takers.values() for name, field in fields.items()}
    who = notebooks[0] if len(notebooks) == 1 else f"none of the notebooks {', '.join(notebooks)}"
    faults = [_unknown(who, name, every) for name in values if name not in every]
    if faults:
        raise InvalidParameters("\n".join(faults))
    assigned: dict[str, dict[str, Any]] = {}
    for notebook, fields in takers.items():
        try:
            given = {name: value for name, value in values.items() if name in fields}
            assigned[notebook] = check_parameters(notebook, given)
        except InvalidParameters as error:
            faults += [line for line in str(error).splitlines() if _message(line) not in map(_message, faults)]
    if faults:
        raise InvalidParameters("\n".join(faults))
    return assigned


def _message(fault: str) -> str:
    return fault.partition(": ")[2]


def model(notebook: str) -> type[Parameters]:
    """Model of a notebook's parameters.

    Raises
    ------
    InvalidParameters
        If there is no such notebook.
    """
    if notebook not in MODELS:
        raise InvalidParameters(f"there is no notebook {notebook!r}{_suggest(notebook, MODELS)} {_list(MODELS)}")
    return MODELS[notebook]


def select_notebooks(only: tuple[str, ...] = ()) -> list[str]:
    """Names of the notebooks that the given beginnings (``03``, ``03_retention``) pick out, in order; none: all.

    Raises
    ------
    InvalidParameters
        If one picks out nothing.

    Examples
    --------
    >>> select_notebooks(("05", "03"))
    ['03_retention', '05_value']
    """
    for start in only:
        if not start or not any(name.startswith(start) for name in MODELS):
            raise InvalidParameters(f"there is no notebook {start!r}{_suggest(start, MODELS)} {_list(MODELS)}")
    return [name for name in MODELS if not only or name.startswith(only)]


def parameters_cell(notebook: str) -> str:
    """Source of a notebook's ``parameters`` cell: a line a parameter, its meaning and unit as comment.

    Examples
    --------
    >>> print(parameters_cell("01_data").splitlines()[0])
    dataset: str = "data/sample"  # folder of the data set (path)
    """
    return "\n".join(_line(name, field) for name, field in model(notebook).model_fields.items())


def _line(name: str, field: FieldInfo) -> str:
    default = f'"{field.default}"' if isinstance(field.default, str) else repr(field.default)
    return f"{name}: {_type(field).__name__} = {default}  # {field.description} ({_unit(field)})"


def _type(field: FieldInfo) -> type:
    return type(field.default)


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["unit"]) if isinstance(extra, dict) else ""


def _read(value: object, field: FieldInfo) -> object:
    read = _READERS.get(_type(field))
    return value if read is None or not isinstance(value, str) else read(value)


def _read_int(text: str) -> object:
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d{0,18})", text) else text


def _read_float(text: str) -> object:
    is_number = re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?", text)
    return float(text) if is_number and math.isfinite(float(text)) else text


def _read_bool(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


_READERS: Mapping[type, Callable[[str], object]] = MappingProxyType(
    {int: _read_int, float: _read_float, bool: _read_bool}
)

_EXAMPLES: Mapping[type, str] = MappingProxyType(
    {
        int: "a whole number such as 36",
        float: "a number with a decimal point such as 0.12",
        bool: "true or false",
        str: "text",
    }
)


def _fault(notebook: str, fault: Any, values: Mapping[str, object], fields: Mapping[str, FieldInfo]) -> str:
    name = str(fault["loc"][0])
    context = fault.get("ctx", {})
    kind = str(fault["type"])
    if kind == "value_error":
        must = str(context["error"])
    elif kind == "literal_error":
        must = f"must be one of {context['expected']}"
    elif kind in ("greater_than_equal", "less_than_equal"):
        must = f"must be at {'least' if 'ge' in context else 'most'} {context.get('ge', context.get('le'))}"
    elif kind == "string_too_short":
        must = "must not be empty"
    else:
        must = f"must be {_EXAMPLES[_type(fields[name])]}"
    return f"{notebook}: {name} ({fields[name].description}) {must}; got {values[name]!r}"


def _unknown(notebook: str, name: str, fields: Mapping[str, FieldInfo]) -> str:
    if notebook.startswith("none"):
        return f"{notebook} takes {name!r}{_suggest(name, fields)} Together they take {', '.join(fields)}."
    return f"{notebook} has no parameter {name!r}{_suggest(name, fields)} It takes {', '.join(fields)}."


def _suggest(name: str, names: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else "."


def _list(names: Mapping[str, object]) -> str:
    return f"There are {', '.join(names)}."
