"""An investment case from ``case.yaml``: every fault of the file at once, each with its path and a repair."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from cxroi.case.programme import (
    Basis,
    Benefit,
    Budget,
    Case,
    Correlation,
    Cost,
    Driver,
    Profile,
    Programme,
    Range,
    Saving,
    ScoreGain,
)
from cxroi.case.rules import RULES, faults_across, shown
from cxroi.errors import InvalidCase


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
    faults |= dict.fromkeys(faults_across(raw))
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
                yield f"{shown(name)} is stated twice (line {key.start_mark.line + 1}); keep one of them."
            seen.add(name)
            yield from _repeated_keys(child)


def _fault(detail: Any) -> str:
    """One line for one fault found by the models."""
    if detail["type"] == "extra_forbidden":
        return _unknown(detail["loc"])
    if detail["type"] == "invalid_key":
        return f"{shown(detail['input'])} must be text to be a name in a case. Remove it."
    steps = [step for step in detail["loc"] if isinstance(step, int) or step in RULES]
    if isinstance(steps[-1], int):
        return f"{_path(steps)} must be a mapping of names to values; got {shown(detail['input'])}."
    rule, example = RULES[str(steps[-1])]
    if detail["type"] == "missing":
        return f"{_path(steps)} is missing; it must {rule}. Write, for example, {example}."
    stands = detail["msg"].removeprefix("Value error, ") if detail["type"] == "value_error" else shown(detail["input"])
    return f"{_path(steps)} must {rule}; got {stands}. Write, for example, {example}."


def _unknown(steps: Sequence[str | int]) -> str:
    parent = next((step for step in reversed(steps[:-1]) if isinstance(step, str)), "")
    models: dict[str, type[BaseModel]] = {
        "programmes": Programme,
        "costs": Cost,
        "score_gain": ScoreGain,
        "drivers": Driver,
        "savings": Saving,
        "benefits": Benefit,
        "profile": Profile,
        "budget": Budget,
        "correlations": Correlation,
        "sources": Basis,
        "gain": Range,
        "pass_through": Range,
        "overrun": Range,
    }
    allowed = list(models.get(parent, Case).model_fields)
    close = difflib.get_close_matches(str(steps[-1]), allowed, n=1, cutoff=0.6)
    repair = f"did you mean {close[0]}?" if close else f"known here: {', '.join(allowed)}."
    return f"{_path([*steps[:-1], str(steps[-1])[:60]])} is not known; {repair}"


def _path(steps: Sequence[str | int]) -> str:
    """A place in the file, such as ``programmes[0].costs[1].month``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")
