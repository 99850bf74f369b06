"""An investment case as the text of ``case.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cxroi.case.programme import Case, Programme

ROUTE = ("reach", "ramp_months", "half_life_months")
LISTS = ("drivers", "costs", "savings", "benefits")
LARGEST_WHOLE = 1e15


def case_yaml(case: Case) -> str:
    """Write a case as YAML that `parse_case` reads back to the same case; what equals a default is left out.

    Examples
    --------
    >>> from cxroi.case.read import parse_case
    >>> text = '''
    ... currency: VND
    ... start: 2026-10-01
    ... horizon_months: 36
    ... annual_discount_rate: 0.12
    ... programmes:
    ... - {id: a, name: A, evidence: association, score_gain: 0.3, reach: 1, ramp_months: 0, half_life_months: never,
    ...    costs: [{category: 2, month: 0, amount: 500000000}]}
    ... '''
    >>> print(case_yaml(parse_case(text)))
    currency: VND
    start: 2026-10-01
    horizon_months: 36
    annual_discount_rate: 0.12
    programmes:
    - id: a
      name: A
      evidence: association
      score_gain: 0.3
      reach: 1
      ramp_months: 0
      half_life_months: never
      costs:
      - category: training_consulting
        month: 0
        amount: 500000000
    <BLANKLINE>
    """
    stated = case.model_dump(exclude_defaults=True, exclude_none=True)
    stated["programmes"] = [
        _in_order(each | {name: getattr(programme, name) for name in ROUTE if programme.has_route})
        for programme, each in zip(case.programmes, stated["programmes"], strict=True)
    ]
    return yaml.safe_dump(_short(stated), sort_keys=False, allow_unicode=True, width=120)


def _in_order(programme: Mapping[str, Any]) -> dict[str, Any]:
    """What a programme states, in the order of the model, with its lists last."""
    names = [name for name in Programme.model_fields if name in programme]
    return {name: programme[name] for name in sorted(names, key=lambda name: name in LISTS)}


def _short(value: Any) -> Any:
    """Plain data with whole numbers as such and certain ranges as one number."""
    if isinstance(value, Mapping):
        ends = {value.get(part) for part in ("low", "mode", "high")}
        if "mode" in value and len(ends) == 1:
            value = {name: each for name, each in value.items() if name not in ("low", "high")}
            return (
                _short(value["mode"]) if [*value] == ["mode"] else {name: _short(each) for name, each in value.items()}
            )
        return {name: _short(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        return int(value)
    return value
