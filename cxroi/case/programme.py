"""The investment case as stated: programmes, score gains, reach, timing and costs, read from ``case.yaml``."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from cxroi.errors import InvalidCase

CATEGORIES = (
    "people_hired",
    "training_consulting",
    "data_tools",
    "co_creation",
    "internal_alignment",
    "touchpoint_redesign",
    "recognition_incentives",
    "other_culture",
)
"""The eight cost categories, 1 to 8."""

Evidence = Literal["association", "adjusted", "within_customer", "quasi_experiment", "experiment"]
Discipline = Literal["culture", "strategy", "understanding", "measurement", "design", "operations"]
Metric = Literal["nps", "csat", "ces"]

LADDER: tuple[str, ...] = get_args(Evidence)
"""Rungs of the claim ladder, weakest first."""

LONG_TERM_MONTHS = 36


def _named_category(value: object) -> object:
    """Name of a category written as its number."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(CATEGORIES):
        return CATEGORIES[value - 1]
    return value


def _day(value: object) -> object:
    """A date written as text."""
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            return value
    return value


def _certain(value: object) -> object:
    """Low, mode and high of a gain stated as one number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"low": value, "mode": value, "high": value}
    if isinstance(value, Mapping) and "mode" in value and not {"low", "high"} & set(value):
        return {**value, "low": value["mode"], "high": value["mode"]}
    return value


def _list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ScoreGain(BaseModel):
    """Points of the answer gained among the customers reached, once the gain is in full force: triangular draws."""

    model_config = _FROZEN
    metric: Metric | None = None
    low: float
    mode: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> ScoreGain:
        if not self.low <= self.mode <= self.high:
            raise ValueError(f"low {self.low:g}, mode {self.mode:g}, high {self.high:g}")
        return self

    @property
    def certain(self) -> bool:
        """Whether a single number is stated."""
        return self.low == self.high


class Cost(BaseModel):
    """An amount paid in one month, or in every month up to and including another; month 0 is the start."""

    model_config = _FROZEN
    category: Annotated[Literal[CATEGORIES], BeforeValidator(_named_category)]  # type: ignore[valid-type]
    month: int = Field(ge=0)
    until_month: int | None = Field(default=None, ge=0)
    amount: float = Field(ge=0)
    kind: Literal["one_off", "recurring"] | None = None
    beneficiary: Literal["customers", "employees"] | None = None

    @property
    def months(self) -> range:
        """Months in which the amount is paid."""
        return range(self.month, (self.month if self.until_month is None else self.until_month) + 1)


class Programme(BaseModel):
    """One programme of the case: what it does to the score, whom it reaches, when, and what it costs."""

    model_config = _FROZEN
    id: str = Field(pattern=r"^[\w-]{1,64}$")
    name: str = Field(min_length=1, max_length=200)
    evidence: Evidence
    score_gain: Annotated[ScoreGain, BeforeValidator(_certain)]
    reach: float = Field(gt=0, le=1)
    ramp_months: float = Field(ge=0)
    half_life_months: Literal["never"] | Annotated[float, Field(gt=0)]
    costs: Annotated[tuple[Cost, ...], BeforeValidator(_list)] = Field(min_length=1)
    intent: str | None = None
    owner: str | None = None
    discipline: Discipline | None = None
    touchpoint: str | None = None
    source: str | None = None


class Case(BaseModel):
    """An investment case: one or several programmes under one horizon and discount rate.

    Nominal throughout. ``annual_discount_rate`` and ``tax_rate`` are fractions a year and of profit. ``timing`` is a
    convention: flows of a month fall at its end, or in its middle.
    """

    model_config = _FROZEN
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    start: Annotated[dt.date, BeforeValidator(_day)]
    horizon_months: int = Field(ge=1, le=360)
    annual_discount_rate: float = Field(ge=0, lt=1)
    programmes: Annotated[tuple[Programme, ...], BeforeValidator(_list)] = Field(min_length=1)
    tax_rate: float = Field(default=0.0, ge=0, lt=1)
    timing: Literal["end", "mid"] = "end"

    @model_validator(mode="after")
    def _consistent(self) -> Case:
        faults = list(_faults_across(self.model_dump()))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader should know, though nothing is refused."""
        if self.horizon_months >= LONG_TERM_MONTHS:
            return ()
        return (
            f"The horizon is {self.horizon_months} months; better experience pays back over years. "
            f"Judge the case over at least {LONG_TERM_MONTHS} months.",
        )


def read_case(path: str | Path) -> Case:
    """Read an investment case from a YAML file.

    Raises
    ------
    InvalidCase
        With every fault of the file, a line each: the path inside the file, what must hold, what is there, a repair.
    """
    return parse_case(_text(Path(path)))


def parse_case(text: str) -> Case:
    """Read an investment case from YAML text.

    Raises
    ------
    InvalidCase
        As `read_case`.
    """
    raw = _load(text)
    if not isinstance(raw, Mapping):
        raise InvalidCase("A case must be a mapping of names to values; start it with, for example, currency: VND.")
    faults: dict[str, None] = {}
    try:
        case = Case.model_validate(dict(raw))
    except ValidationError as error:
        # a list whose entries are all faulty is also reported as too short
        details = [
            d for d in error.errors(include_url=False) if d["loc"] and not (d["type"] == "too_short" and d["input"])
        ]
        faults = dict.fromkeys(_fault(detail) for detail in details)
    faults |= dict.fromkeys(_faults_across(raw))
    if faults:
        raise InvalidCase("\n".join(faults))
    return case


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidCase(f"{path.name} must be UTF-8 text; byte {error.start} is not. Save it as UTF-8.") from None
    except OSError as error:
        raise InvalidCase(f"{path.name} can't be read: {error.strerror}. Give the path of a case.yaml.") from None


def _load(text: str) -> object:
    """Plain data of one YAML document, dates as text; repeated keys and references are refused."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise InvalidCase("A case must not use YAML references (*name); write the values out.")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        repeated = list(_repeated_keys(node))
        if repeated:
            raise InvalidCase("\n".join(repeated))
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "it can't be parsed"
        raise InvalidCase(f"A case must be valid YAML; {problem}{where}. Check indentation and colons there.") from None
    except RecursionError:
        raise InvalidCase("A case must not nest values more than a few levels deep.") from None


def _repeated_keys(node: yaml.Node | None) -> Iterator[str]:
    """Keys that stand twice in one mapping; on the way, dates are turned into text, so that a wrong one has a path."""
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:timestamp":
        node.tag = "tag:yaml.org,2002:str"
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            yield from _repeated_keys(child)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            name = str(key.value)
            if name in seen:
                yield f"{_shown(name)} is stated twice (line {key.start_mark.line + 1}); keep one of them."
            seen.add(name)
            yield from _repeated_keys(child)


_RULES: dict[str, tuple[str, str]] = {
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
    "low": ("be a number, in points of the answer", "0.1"),
    "mode": ("be a number, in points of the answer", "0.3"),
    "high": ("be a number, in points of the answer", "0.5"),
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
}
"""For each name in the file: what its value must be, and an example."""


def _fault(detail: Any) -> str:
    """One line for one fault found by the models."""
    if detail["type"] == "extra_forbidden":
        return _unknown(detail["loc"])
    if detail["type"] == "invalid_key":
        return f"{_shown(detail['input'])} must be text to be a name in a case. Remove it."
    steps = [step for step in detail["loc"] if isinstance(step, int) or step in _RULES]
    if isinstance(steps[-1], int):
        return f"{_path(steps)} must be a mapping of names to values; got {_shown(detail['input'])}."
    rule, example = _RULES[str(steps[-1])]
    if detail["type"] == "missing":
        return f"{_path(steps)} is missing; it must {rule}. Write, for example, {example}."
    stands = detail["msg"].removeprefix("Value error, ") if detail["type"] == "value_error" else _shown(detail["input"])
    return f"{_path(steps)} must {rule}; got {stands}. Write, for example, {example}."


def _unknown(steps: Sequence[str | int]) -> str:
    parent = next((step for step in reversed(steps[:-1]) if isinstance(step, str)), "")
    models: dict[str, type[BaseModel]] = {"programmes": Programme, "costs": Cost, "score_gain": ScoreGain}
    allowed = list(models.get(parent, Case).model_fields)
    close = difflib.get_close_matches(str(steps[-1]), allowed, n=1, cutoff=0.6)
    repair = f"did you mean {close[0]}?" if close else f"known here: {', '.join(allowed)}."
    return f"{_path([*steps[:-1], str(steps[-1])[:60]])} is not known; {repair}"


def _path(steps: Sequence[str | int]) -> str:
    """A place in the file, such as ``programmes[0].costs[1].month``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _shown(value: object) -> str:
    """A value from the file, short enough for a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _faults_across(raw: Mapping[str, Any]) -> Iterator[str]:
    """Faults that need more than one value to be seen, in a case of any quality."""
    horizon = raw.get("horizon_months")
    programmes = _entries(raw.get("programmes"))
    ids = [entry.get("id") for _, entry in programmes]
    for at, entry in programmes:
        path = f"programmes[{at}]"
        if entry.get("id") == "total":
            yield f"{path}.id must not be total, the name of the sum over programmes. Write another id."
        ramp = entry.get("ramp_months")
        if _number(horizon) and _number(ramp) and ramp > horizon:
            yield (
                f"{path}.ramp_months must lie within the horizon of {horizon} months; got {ramp:g}. "
                "Lengthen horizon_months, or shorten the ramp."
            )
        for number, cost in _entries(entry.get("costs")):
            yield from _cost_faults(f"{path}.costs[{number}]", cost, horizon)
    for name in dict.fromkeys(str(name) for name in ids if name is not None and ids.count(name) > 1):
        yield f"programmes must have different ids; {_shown(name)} stands more than once. Rename one."


def _cost_faults(path: str, cost: Mapping[str, Any], horizon: object) -> Iterator[str]:
    """Faults between the months, the kind and the horizon of one cost."""
    month, until, kind = cost.get("month"), cost.get("until_month"), cost.get("kind")
    for name, value in (("month", month), ("until_month", until)):
        if _number(horizon) and _number(value) and value > horizon:
            yield (
                f"{path}.{name} must lie within the horizon of {horizon} months; got {value}. "
                "Lengthen horizon_months, or end the cost earlier."
            )
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
