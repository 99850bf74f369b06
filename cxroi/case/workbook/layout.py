"""Sheets, blocks and fields of the case workbook; limits are those of the models in ``cxroi/case/programme.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

from pydantic import BaseModel

from cxroi.case.programme import Basis, Benefit, Budget, Case, Correlation, Cost, Driver, Profile, Programme, Saving
from cxroi.case.rules import uncertain_inputs
from cxroi.case.terms import BENEFITS, CATEGORIES, LADDER, BusinessModel, Discipline, Kind, Metric
from cxroi.language import Code, Language

FieldKind = Literal[
    "text", "code", "codes", "programme", "choice", "number", "amount", "share", "whole", "life", "date", "currency"
]

CHOICES: dict[str, tuple[str, ...]] = {
    "evidence": LADDER,
    "category": CATEGORIES,
    "benefit": BENEFITS,
    "discipline": get_args(Discipline),
    "metric": get_args(Metric),
    "frequency": ("one_off", "recurring"),
    "beneficiary": ("customers", "employees"),
    "basis": get_args(Kind),
    "business_model": get_args(BusinessModel),
    "timing": ("end", "mid"),
    "uncertain": tuple(dict.fromkeys(name.partition(".")[0] for name in uncertain_inputs(["any"]))),
    "assumption": (
        "annual_discount_rate",
        "tax_rate",
        "annual_inflation_rate",
        "exchange_rates",
        "score_gain",
        "drivers",
        "reach",
        "start_month",
        "ramp_months",
        "half_life_months",
        "costs",
        "overrun",
        "savings",
        "benefits",
        "budget",
    ),
}
"""Closed lists, and what each of their choices is called in a case."""

WORDS = {"evidence": "evidence", "category": "cost_categories"}
"""Where the catalogue keeps the names of choices that other pages show too."""

MEANINGS = {"evidence": "evidence_meaning"}


@dataclass(frozen=True)
class Limits:
    """Least and most that a number may be (or a text may be long), and whether the ends themselves may be reached."""

    least: float | None = None
    most: float | None = None
    least_excluded: bool = False
    most_excluded: bool = False

    def hold(self, x: float) -> bool:
        """Whether a number lies within."""
        above = self.least is None or x > self.least or (x == self.least and not self.least_excluded)
        return above and (self.most is None or x < self.most or (x == self.most and not self.most_excluded))


@dataclass(frozen=True)
class Field:
    """One thing that is asked: its name in the model (parts joined by dots), what it holds, whether it must be there."""

    key: str
    kind: FieldKind
    needed: bool = False
    choices: str = ""
    limits: Limits = Limits()
    width: int = 14
    role: Literal["data", "number", "remark"] = "data"

    @property
    def message(self) -> str:
        """Last part of the field's keys in the catalogue."""
        return self.key.replace(".", "_")


@dataclass(frozen=True)
class Block:
    """Fields that belong together. A line of data is a row, or a column where the fields stand below each other."""

    name: str
    fields: tuple[Field, ...]
    lines: int
    down: bool = False

    def labels(self, code: Code) -> dict[str, str]:
        """Label of each field by its key, without the star of what is needed."""
        return {
            field.key: Language(code).text(f"case_workbook.field.{self.name}.{field.message}") for field in self.fields
        }


@dataclass(frozen=True)
class Sheet:
    """One sheet and its blocks; a needed one must be in every workbook."""

    name: str
    blocks: tuple[Block, ...] = ()
    needed: bool = False

    def title(self, code: Code) -> str:
        """Name of the sheet's tab."""
        return Language(code).text(f"case_workbook.sheet.{self.name}")


def _limits(model: type[BaseModel], name: str) -> Limits:
    """Limits of a model's field, read from the model; those inside a union count too."""
    info = model.model_fields[name]
    found: dict[str, Any] = {}
    for constraint in _constraints([*info.metadata, info.annotation]):
        for ours, theirs in (("least", "ge"), ("least", "gt"), ("most", "le"), ("most", "lt"), ("most", "max_length")):
            if (limit := getattr(constraint, theirs, None)) is not None:
                found |= {ours: limit} | ({f"{ours}_excluded": True} if theirs in ("gt", "lt") else {})
    return Limits(**found)


def _constraints(parts: list[Any]) -> Iterator[Any]:
    for part in parts:
        yield part
        nested = getattr(part, "metadata", None)
        yield from _constraints([*nested] if isinstance(nested, list) else [])
        if get_args(part) and getattr(part, "__origin__", None) not in (tuple, dict):
            yield from _constraints([*get_args(part), *getattr(part, "__metadata__", ())])


def _field(model: type[BaseModel], key: str, kind: FieldKind, **options: Any) -> Field:
    return Field(key, kind, limits=_limits(model, key.rpartition(".")[2]), **options)


def _text(model: type[BaseModel], key: str, *, needed: bool = False, width: int = 30) -> Field:
    return _field(model, key, "text", needed=needed, width=width)


def _range(
    name: str, kind: FieldKind, *, needed: bool = False, limits: Limits = Limits(), width: int = 13
) -> tuple[Field, ...]:
    """Low, most likely and high; the middle one alone means certain."""
    return tuple(
        Field(f"{name}.{part}", kind, needed=needed and part == "mode", limits=limits, width=width)
        for part in ("low", "mode", "high")
    )


def _months(model: type[BaseModel], *, needed: bool = True) -> tuple[Field, ...]:
    return (
        _field(model, "month", "whole", needed=needed, width=11),
        _field(model, "until_month", "whole", width=11),
    )


PROGRAMME = Field("programme", "programme", needed=True, width=16)
REMARK = Field("remark", "text", width=24, role="remark")
LONGEST = Limits(most=10_000)

PROFILE = Block(
    "profile",
    (
        Field("business_model", "choice", choices="business_model"),
        *(_text(Profile, name) for name in ("state", "goal", "strategy")),
    ),
    lines=1,
    down=True,
)

PROGRAMMES = Block(
    "programmes",
    (
        Field("id", "code", needed=True),
        _text(Programme, "name", needed=True),
        Field("intent", "text", limits=LONGEST),
        Field("owner", "text", limits=LONGEST),
        Field("discipline", "choice", choices="discipline"),
        Field("touchpoint", "text", limits=LONGEST),
        Field("evidence", "choice", needed=True, choices="evidence"),
        Field("source", "text", limits=LONGEST),
        Field("score_gain.metric", "choice", choices="metric"),
        *_range("score_gain", "number"),
        _field(Programme, "reach", "share"),
        _field(Programme, "start_month", "whole"),
        _field(Programme, "ramp_months", "number"),
        _field(Programme, "half_life_months", "life"),
        Field("requires", "codes"),
        Field("excludes", "codes"),
    ),
    lines=6,
    down=True,
)

DRIVERS = Block(
    "drivers",
    (
        PROGRAMME,
        _text(Driver, "touchpoint", needed=True, width=24),
        *_range("gain", "number", needed=True),
        *_range("pass_through", "number", needed=True),
        Field("metric", "choice", choices="metric", width=11),
        _text(Driver, "source", needed=True, width=36),
    ),
    lines=20,
)

COSTS = Block(
    "costs",
    (
        PROGRAMME,
        Field("category", "choice", needed=True, choices="category", width=30),
        _field(Cost, "amount", "amount", needed=True, width=18),
        Field("currency", "currency", width=11),
        *_months(Cost),
        Field("kind", "choice", choices="frequency", width=16),
        Field("beneficiary", "choice", choices="beneficiary", width=15),
        *_range("overrun", "share", width=12),
        _field(Cost, "useful_life_months", "whole", width=13),
        REMARK,
    ),
    lines=40,
)

SAVINGS = Block(
    "savings",
    (
        PROGRAMME,
        *_range("amount", "amount", needed=True, width=18),
        Field("currency", "currency", width=11),
        *_months(Saving),
        _text(Saving, "source", needed=True, width=40),
    ),
    lines=15,
)

BENEFITS_CLAIMED = Block(
    "benefits",
    (
        PROGRAMME,
        Field("benefit", "choice", needed=True, choices="benefit", width=38),
        _text(Benefit, "note", width=36),
        *_range("amount", "amount", width=16),
        *_months(Benefit, needed=False),
        _text(Benefit, "source", width=32),
    ),
    lines=20,
)

FINANCE = Block(
    "finance",
    (
        Field("currency", "currency", needed=True),
        Field("start", "date", needed=True),
        _field(Case, "horizon_months", "whole", needed=True),
        _field(Case, "annual_discount_rate", "share", needed=True),
        _field(Case, "tax_rate", "share"),
        _field(Case, "annual_inflation_rate", "share"),
        Field("timing", "choice", choices="timing"),
        _field(Budget, "budget.total", "amount"),
        _field(Budget, "budget.per_quarter", "amount"),
    ),
    lines=1,
    down=True,
)

EXCHANGE_RATES = Block(
    "exchange_rates",
    (Field("currency", "currency", needed=True), Field("rate", "amount", needed=True, limits=Limits(0, None, True))),
    lines=5,
)

QUARTERS = Block(
    "quarters",
    (
        Field("quarter", "whole", needed=True, limits=Limits(1, 120), role="number"),
        Field("limit", "amount", needed=True, limits=Limits(0)),
    ),
    lines=12,
)

CORRELATIONS = Block(
    "correlations",
    (
        Field("first", "choice", needed=True, choices="uncertain", width=30),
        Field("first_programme", "programme", width=16),
        Field("second", "choice", needed=True, choices="uncertain", width=30),
        Field("second_programme", "programme", width=16),
        _field(Correlation, "correlation", "number", needed=True, width=24),
        _text(Correlation, "source", needed=True, width=40),
    ),
    lines=10,
)

SOURCES = Block(
    "sources",
    (
        Field("assumption", "choice", needed=True, choices="assumption", width=32),
        Field("programme", "programme", width=16),
        Field("kind", "choice", needed=True, choices="basis", width=18),
        _text(Basis, "source", needed=True, width=60),
        _text(Basis, "owner", width=26),
    ),
    lines=25,
)

SHEETS = (
    Sheet("guide"),
    Sheet("profile", (PROFILE,)),
    Sheet("programmes", (PROGRAMMES,), needed=True),
    Sheet("drivers", (DRIVERS,)),
    Sheet("costs", (COSTS,), needed=True),
    Sheet("savings", (SAVINGS,)),
    Sheet("benefits", (BENEFITS_CLAIMED,)),
    Sheet("finance", (FINANCE, EXCHANGE_RATES, QUARTERS), needed=True),
    Sheet("correlations", (CORRELATIONS,)),
    Sheet("sources", (SOURCES,)),
    Sheet("lists"),
)
"""Sheets in the order of their tabs; the first and the last are there to be read, not filled in."""

BLOCKS = {block.name: block for sheet in SHEETS for block in sheet.blocks}
SHEET_OF = {block.name: sheet for sheet in SHEETS for block in sheet.blocks}
CODES: tuple[Code, ...] = ("en", "vi")

OPEN_LISTS = ("assumption",)
"""Lists beside which another name may be written."""


def choice_words(choices: str, choice: str, code: Code) -> str:
    """Name of a choice in a language."""
    return Language(code).text(f"{WORDS.get(choices, f'case_workbook.choice.{choices}')}.{choice}")


def choice_meaning(choices: str, choice: str, code: Code) -> str:
    """What a choice means; empty where its name says all."""
    return Language(code).find(f"{MEANINGS.get(choices, f'case_workbook.meaning.{choices}')}.{choice}") or ""


@cache
def never(code: Code) -> str:
    """Word for a gain that does not fade."""
    return Language(code).text("case_workbook.never")
