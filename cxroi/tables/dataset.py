"""``dataset.yaml``: how a company's export is to be read."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from cxroi.tables.contract import METRICS, TABLE_NAMES, TABLES
from cxroi.tables.violation import Violation, nearest, statement, suggestion

FILE_NAME = "dataset.yaml"
NO_EVENT = "none"  # stands for periods without an event
Encoding = Literal["utf-8", "utf-16", "latin-1", "windows-1252", "windows-1258"]
MAX_BYTES, MAX_REFERENCES = 1_000_000, 20
_YES_OR_NO = {"is_reversed"}
# What a fault in one key would make the tables be blamed for.
_FOLLOWS = {
    "margin_rate": "missing_margin",
    "scales": "out_of_scale",
    "currency": "no_currency",
    "retention": "no_retention_rule",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_yes_or_no(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, bool) and info.field_name not in _YES_OR_NO:
            raise ValueError(_reads_as(given))
        return given


class Retention(_Strict):
    """When a customer counts as kept: a contract not left, or a purchase within ``window_days``."""

    rule: Literal["contract", "repurchase"]
    window_days: int | None = Field(default=None, ge=1, le=3650)

    @model_validator(mode="after")
    def _window_belongs_to_repurchase(self) -> Self:
        if self.rule == "repurchase" and self.window_days is None:
            raise ValueError("the rule repurchase needs window_days, for example {rule: repurchase, window_days: 180}")
        if self.rule == "contract" and self.window_days is not None:
            raise ValueError("window_days belongs to the rule repurchase; leave it out with {rule: contract}")
        return self


class Scale(_Strict):
    """Answers lie in ``low``..``high``; ``is_reversed`` where the low end is the good one."""

    low: float
    high: float
    is_reversed: bool = False

    @classmethod
    def parse(cls, declared: Any, *, needs_easy: bool) -> Scale:
        """Scale from ``[worst, best]`` or ``{range: [low, high], easy: end}``."""
        if isinstance(declared, Scale):
            return declared
        if isinstance(declared, dict):
            unknown = [key for key in declared if key not in ("range", "easy")]
            if unknown:
                raise ValueError(f"unknown key {unknown[0]}; write {{range: [1, 7], easy: 7}}")
            ends, easy = declared.get("range"), declared.get("easy")
        else:
            ends, easy = declared, None
        if not isinstance(ends, (list, tuple)) or not _is_pair(ends):
            raise ValueError("a scale is two different numbers, for example [1, 5]")
        first, last = float(ends[0]), float(ends[1])
        low, high = sorted((first, last))
        if easy is None:
            if needs_easy:
                raise ValueError(
                    f"say which end is easy, for example {{range: [{low:g}, {high:g}], easy: {high:g}}}: "
                    "the direction of an effort score is never guessed"
                )
            return cls(low=low, high=high, is_reversed=first > last)
        if isinstance(easy, bool) or easy not in (low, high):
            raise ValueError(f"easy must be one end of the range, {low:g} or {high:g}; it is {easy}")
        return cls(low=low, high=high, is_reversed=easy == low)


def _is_pair(ends: Sequence[Any]) -> bool:
    numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) and abs(end) < 1e6 for end in ends)
    return numbers and len(ends) == 2 and ends[0] != ends[1]


DEFAULT_SCALES = {"nps": Scale(low=0, high=10), "csat": Scale(low=1, high=5), "ces": Scale(low=1, high=7)}


class ValueHorizon(_Strict):
    """Over how many months, and at which annual rate, a customer's margin is counted."""

    horizon_months: int = Field(ge=1, le=240)
    annual_discount_rate: float = Field(ge=0, lt=1)


class Referrals(_Strict):
    """Share of referred customers who would have come anyway, 0 to 1, and where that share is from."""

    would_have_come: float = Field(ge=0, le=1)
    source: str

    @field_validator("source")
    @classmethod
    def _is_named(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("it must say where the share is from, for example survey of new customers, 2026-05")
        return text.strip()


class Event(_Strict):
    """Days on which something reached every customer; events of one ``kind`` (by default each its own) count as the same."""

    name: str
    starts_on: dt.date
    ends_on: dt.date
    kind: str = ""

    @property
    def label(self) -> str:
        """What the event is known by."""
        return self.kind or self.name

    @field_validator("name", "kind")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        if text.strip().casefold() == NO_EVENT:
            raise ValueError(f"{NO_EVENT} stands for periods without an event; give it another name")
        return text.strip()

    @field_validator("starts_on", "ends_on")
    @classmethod
    def _is_of_our_time(cls, day: dt.date) -> dt.date:
        if not 1970 <= day.year <= 2200:
            raise ValueError(f"it must lie between 1970 and 2200; it is {day}")
        return day

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if not self.name:
            raise ValueError(
                "name must not be empty, for example {name: Tết 2026, starts_on: 2026-02-10, ends_on: 2026-02-24}"
            )
        if self.ends_on < self.starts_on:
            raise ValueError(f"ends_on must not lie before starts_on; {self.ends_on} lies before {self.starts_on}")
        return self


class TableSource(_Strict):
    """Where one table comes from: a file (or glob) with a map of columns, or a query."""

    file: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    sql: str | None = None
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] | None = None
    encoding: Encoding | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.sql is not None and self.file is not None:
            raise ValueError("give file or sql, not both")
        if self.sql is not None and (self.delimiter is not None or self.encoding is not None):
            raise ValueError("delimiter and encoding belong to file; with sql they are options of read_csv")
        return self

    @field_validator("file", "sql")
    @classmethod
    def _not_blank(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("it must not be empty")
        return text


class Dataset(_Strict):
    """The parsed ``dataset.yaml``; every key is optional.

    After ``read_tables`` the defaults are filled in: ``retention`` (contract where customers have ``left_on``), ``scales``
    of all three metrics, ``segments`` and ``controls``. ``tables`` holds None where a table is declared to be absent.
    ``experiments`` are the initiatives (ids as text) whose arms were drawn by lot.
    """

    currency: str = ""
    margin_rate: float | None = Field(default=None, gt=0, le=1)
    retention: Retention | None = None
    scales: dict[str, Scale] = Field(default_factory=lambda: dict(DEFAULT_SCALES))
    segments: tuple[str, ...] | None = None
    controls: tuple[str, ...] | None = None
    value: ValueHorizon | None = None
    referrals: Referrals | None = None
    experiments: tuple[str, ...] = ()
    calendar: tuple[Event, ...] = ()
    tables: dict[str, TableSource | None] = Field(default_factory=dict)
    accept: dict[str, dict[str, str]] = Field(default_factory=dict)

    @field_validator("scales", mode="before")
    @classmethod
    def _scales(cls, declared: Any) -> dict[str, Scale]:
        if not isinstance(declared, dict):
            raise ValueError("write scales as {nps: [0, 10], csat: [1, 5], ces: {range: [1, 7], easy: 7}}")
        faults, scales = [], dict(DEFAULT_SCALES)
        for metric, scale in declared.items():
            if metric not in METRICS:
                faults.append(_unknown(str(metric), METRICS))
                continue
            try:
                scales[metric] = Scale.parse(scale, needs_easy=metric == "ces")
            except ValueError as error:
                faults.append(f"{metric}: {error}")
        if faults:
            raise ValueError("; ".join(faults))
        return scales

    @field_validator("experiments", mode="before")
    @classmethod
    def _experiments(cls, declared: Any) -> tuple[str, ...]:
        written = isinstance(declared, (list, tuple))
        if not written or any(isinstance(one, bool) or not isinstance(one, (str, int)) for one in declared):
            raise ValueError(
                "write experiments as ids of initiatives whose arms were drawn by lot, for example [SK001]"
            )
        return _named_once([str(one).strip() for one in declared])

    @field_validator("calendar")
    @classmethod
    def _calendar(cls, events: tuple[Event, ...]) -> tuple[Event, ...]:
        _named_once([event.name for event in events])
        return events

    @field_validator("tables", mode="before")
    @classmethod
    def _tables(cls, declared: Any) -> Any:
        if not isinstance(declared, dict):
            raise ValueError("write tables as {customers: {file: crm.csv}}")
        unknown = [name for name in declared if name not in TABLE_NAMES]
        if unknown:
            raise ValueError("; ".join(_unknown(str(name), TABLE_NAMES) for name in unknown))
        sources = {name: {} if source is None else source for name, source in declared.items()}
        return {name: None if source == "none" else source for name, source in sources.items()}

    @field_validator("accept")
    @classmethod
    def _accept(cls, declared: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        faults = []
        for table, rules in declared.items():
            if table not in TABLE_NAMES:
                faults.append(_unknown(table, TABLE_NAMES))
                continue
            known = dict(TABLES[table].accepts)
            for rule, choice in rules.items():
                if rule not in known:
                    faults.append(f"{table}: {_unknown(rule, known)}")
                elif choice not in known[rule]:
                    faults.append(f"{table}.{rule} must be {' or '.join(known[rule])}; it is {choice}")
        if faults:
            raise ValueError("; ".join(faults))
        return declared

    def source(self, table: str) -> TableSource:
        """How to read the table; the default source where nothing is said."""
        return self.tables.get(table) or TableSource()


def _named_once(names: Sequence[str]) -> tuple[str, ...]:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(f"{twice[0]} is written twice; name each once")
    return tuple(names)


def _unknown(word: str, choices: Iterable[str]) -> str:
    options = list(choices)
    known = ", ".join(options) if options else "none here"
    return f"unknown key {word}{_asked(word, options)} (known: {known})"


def _asked(word: str, choices: Iterable[str]) -> str:
    question = suggestion(word, choices)
    return f", {question}" if question else ""


class _OneKeyOnce(yaml.SafeLoader):
    """YAML that refuses a key written twice, one that is no word, and many references to what stands elsewhere."""

    references = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            self.references += 1
            if self.references > MAX_REFERENCES:
                mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
                problem = f"more than {MAX_REFERENCES} references such as *name; write out what they stand for"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            problem = f"{str(node.value)[:40]} is no date or number"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key must be a word; in braces or brackets stands something else"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value} is written twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_dataset(folder: Path) -> tuple[Dataset, list[Violation]]:
    """``dataset.yaml`` of the folder (all defaults where there is none) and every fault in it."""
    path = folder / FILE_NAME
    others = _others(folder)
    if others or not path.exists():
        return Dataset(), others
    try:
        if path.stat().st_size > MAX_BYTES:
            return Dataset(), [_fault("", f"{FILE_NAME} must be smaller than 1 MB.", "Keep data in the tables.")]
        text = path.read_text(encoding="utf-8-sig")
        parsed = yaml.load(text, Loader=_OneKeyOnce)
    except UnicodeDecodeError:
        return Dataset(), [_fault("", f"{FILE_NAME} must be UTF-8 text.", "Save it as UTF-8.")]
    except OSError as error:
        return Dataset(), [_fault("", f"{FILE_NAME} can't be opened: {error.strerror}.", "Make it a readable file.")]
    except RecursionError:
        message = f"{FILE_NAME} can't be read as YAML: brackets stand in brackets too many times."
        return Dataset(), [_fault("", message, "Remove them.")]
    except yaml.YAMLError as error:
        return Dataset(), [_fault("", f"{FILE_NAME} can't be read as YAML: {_where(error)}.", "Repair that line.")]
    if parsed is None:
        return Dataset(), []
    if not isinstance(parsed, dict):
        return Dataset(), [_fault("", f"{FILE_NAME} must hold keys and values, for example currency: VND.", "")]
    try:
        return Dataset.model_validate(parsed), []
    except ValidationError as error:
        found = error.errors()
    faulty = {str(fault["loc"][0]) for fault in found}
    rest = Dataset()
    if "tables" not in faulty:
        rest = Dataset.model_validate({key: value for key, value in parsed.items() if str(key) not in faulty})
    return rest, [_explained(fault) for fault in found]


def _others(folder: Path) -> list[Violation]:
    """Faults of files that were meant to be ``dataset.yaml`` and are not read."""
    faults = []
    for one in sorted(folder.iterdir()):
        name = one.name
        if name != FILE_NAME and name.casefold() in (FILE_NAME, "dataset.yml"):
            message = f"the description of the tables must be called {FILE_NAME}; {name} is not read."
            faults.append(_fault("", message, f"Rename it to {FILE_NAME}, or remove it."))
        elif name == FILE_NAME and one.is_symlink() and not one.exists():
            faults.append(_fault("", f"{FILE_NAME} is a link to a file that does not exist.", "Repair or remove it."))
    return faults


def needless(violation: Violation, faults: Iterable[Violation]) -> bool:
    """Whether the violation only follows from a fault in ``dataset.yaml``."""
    keys = {fault.column.split(".")[0] for fault in faults}
    meant = {nearest(key, Dataset.model_fields) for key in keys}
    return violation.rule in {_FOLLOWS.get(key) for key in keys | meant}


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "a character stands in it that no text may hold"
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)


def _fault(key: str, message: str, repair: str, value: str = "") -> Violation:
    return statement(FILE_NAME, "dataset_yaml", message, column=key, repair=repair, value=value)


def _explained(fault: Any) -> Violation:
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        choices = _keys_at(location[:-1])
        where = " of " + ".".join(location[:-1]) if location[:-1] else ""
        question = suggestion(location[-1], choices)
        message = f"{FILE_NAME}: {location[-1]} is not a key{where}{'; ' + question if question else '.'}"
        return _fault(key, message, f"Known keys: {', '.join(choices)}.")
    given, limits = fault.get("input"), fault.get("ctx", {})
    if isinstance(given, bool) and fault["type"] != "value_error":
        problem, shown = _reads_as(given), ""
    elif fault["type"] == "value_error":
        problem, shown = str(fault["msg"]).removeprefix("Value error, "), ""
    else:
        problem = _must(fault["type"], limits)
        shown = f"; it is {str(given)[:80]}" if isinstance(given, (str, int, float, dt.date)) else ""
    return _fault(key, f"{FILE_NAME}: {key}: {problem}{shown}.", "Correct it.", str(given) if shown else "")


def _reads_as(given: bool) -> str:
    word = "yes" if given else "no"
    return (
        f"it reads as {word}; write a number, or a text in quotation marks (yes, no, on, off, true and false are none)"
    )


def _must(kind: str, limits: dict[str, Any]) -> str:
    """What must hold, for a kind of fault of pydantic."""
    for word, sign in (("greater_than_equal", "at least"), ("less_than_equal", "at most"), ("greater_than", "above")):
        if kind == word:
            return f"it must be {sign} {next(iter(limits.values())):g}"
    if kind == "less_than":
        return f"it must be below {limits['lt']:g}"
    if kind == "missing":
        return "it is required here"
    if kind == "literal_error":
        return f"it must be one of {limits['expected']}"
    for begins, problem in (
        ("int", "it must be a whole number, for example 36"),
        ("float", "it must be a number with a point as its decimal sign, for example 0.35"),
        ("finite", "it must be a number, for example 0.35"),
        ("string", 'it must be a text, in quotation marks where it looks like something else, for example "2026"'),
        ("date", "it must be a day such as 2026-02-10"),
        ("tuple", "it must be a list, for example [region, plan]"),
        ("list", "it must be a list, for example [region, plan]"),
    ):
        if kind.startswith(begins):
            return problem
    return "it must hold keys and values, or be left out"


def _keys_at(location: list[str]) -> list[str]:
    models: dict[str, type[BaseModel]] = {
        "retention": Retention,
        "value": ValueHorizon,
        "referrals": Referrals,
        "calendar": Event,
        "tables": TableSource,
    }
    model = models.get(location[0], Dataset) if location else Dataset
    return list(model.model_fields)
