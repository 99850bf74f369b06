"""A case from a workbook: sheets, headings and lines found, every wrong cell named at once in the workbook's language."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxroi.case.programme import Case
from cxroi.case.read import validate
from cxroi.case.rules import Fault
from cxroi.case.workbook.cells import Wrong, as_code, as_text, example, must, plain, read_value, shown
from cxroi.case.workbook.examples import example_lines
from cxroi.case.workbook.grid import Broken, Cell, Grid, Value, Workbook, column_letters, open_workbook
from cxroi.case.workbook.layout import CODES, SHEET_OF, SHEETS, Block, Field, Sheet
from cxroi.case.workbook.lines import Line, Stated, Values, assemble, lacks_programme
from cxroi.case.workbook.written import written_line
from cxroi.errors import InvalidCase
from cxroi.language import Code, Language, catalogue

MAY_BE_MERGED = ("programme", "choice", "text")
"""Kinds of fields whose cell may stand for several lines: words mean the same in each, numbers would count twice."""


@dataclass(frozen=True)
class WorkbookReading:
    """What a workbook says, and what in it was not read and why that is worth knowing."""

    case: Case
    notices: tuple[str, ...]


@dataclass(frozen=True, order=True)
class Place:
    """A cell: place of its sheet among the tabs, row and column from 0, name of the sheet."""

    order: int
    row: int
    column: int
    sheet: str

    def __str__(self) -> str:
        return f"{self.sheet}!{column_letters(self.column)}{self.row + 1}"


@dataclass
class Report:
    """Faults and notices found so far, in words."""

    code: Code
    faults: list[tuple[Place, str]] = field(default_factory=list)
    notices: list[tuple[Place, str]] = field(default_factory=list)

    @property
    def wrong(self) -> set[Place]:
        """Cells named so far."""
        return {place for place, _ in self.faults}

    def fault(self, rule: str, at: Place, /, **facts: str) -> None:
        """Name a wrong cell, with its address unless the sentence speaks of more than a cell."""
        self.faults.append((at, self._words(f"case_fault.{rule}", at, facts)))

    def notice(self, rule: str, at: Place, /, **facts: str) -> None:
        """Tell what was not read."""
        self.notices.append((at, self._words(f"case_notice.{rule}", at, facts)))

    def _words(self, key: str, at: Place, facts: Mapping[str, str]) -> str:
        addressed = {"at": str(at)} if "{at}" in catalogue(self.code)[key] else {}
        return Language(self.code).text(key, **addressed, **facts).strip()


@dataclass(frozen=True)
class Found:
    """A block in its sheet, turned so that a line of data is a row: where its headings are, and at which places."""

    block: Block
    sheet: Sheet
    grid: Grid
    heading: int
    columns: Mapping[str, int]
    end: int

    @property
    def complete(self) -> bool:
        """Whether every heading is there that a line needs."""
        return all(each.key in self.columns for each in self.block.fields if self.needs(each))

    def needs(self, field: Field) -> bool:
        """Whether a field's heading must be there: what must be filled in, programmes, and the rest of a range."""
        name, _, part = field.key.partition(".")
        of_range = part in ("low", "mode", "high") and any(
            f"{name}.{each}" in self.columns for each in ("low", "mode", "high")
        )
        return field.needed or field.kind == "programme" or of_range

    def place(self, line: int, column: int) -> Place:
        """Cell of the file for a line and a heading's place."""
        row, column = (column, line) if self.block.down else (line, column)
        return Place(SHEETS.index(self.sheet), row, column, self.grid.name)


def read_workbook(path: str | Path) -> WorkbookReading:
    """Read an investment case from a workbook made by `write_template`, in either language.

    Raises
    ------
    InvalidCase
        With every wrong cell, a line each: sheet and address, what must hold, what is there, a repair.
    """
    book = open_workbook(Path(path))
    code = _language(book.names)
    report = Report(code)
    sheets = _sheets(book, report)
    found = {
        each.block.name: each for sheet, grid in sheets.items() if sheet.blocks for each in _blocks(sheet, grid, report)
    }
    if not found and not report.faults:
        report.fault("sheet_missing", _start(SHEET_OF["programmes"]), sheet=_quoted(SHEET_OF["programmes"].title(code)))
    lines = {name: [*_lines(each, report)] for name, each in found.items()}
    found = {name: each for name, each in found.items() if each.complete}
    lines = {name: lines[name] for name in found}
    known = _programmes(lines.get("programmes", ()))
    lines = {name: [_resolved(found[name], line, known, report) for line in each] for name, each in lines.items()}
    _check_together(found, lines, report)
    stated = assemble(lines)
    case, faults = validate(stated.raw)
    _translate(faults, stated, report, has_costs="costs" in found)
    if report.faults or case is None:
        words = [words for _, words in sorted(report.faults, key=lambda fault: fault[0])]
        raise InvalidCase("\n".join(dict.fromkeys(words or faults)))
    return WorkbookReading(case, tuple(words for _, words in sorted(report.notices, key=lambda notice: notice[0])))


def read_case_workbook(path: str | Path) -> Case:
    """Read an investment case from a workbook; `read_workbook` also tells what was not read.

    Raises
    ------
    InvalidCase
        As `read_workbook`.
    """
    return read_workbook(path).case


def _language(names: Sequence[str]) -> Code:
    """Language in which most of the sheets are named."""
    titles = {code: {plain(sheet.title(code)) for sheet in SHEETS} for code in CODES}
    return max(CODES, key=lambda code: len(titles[code] & {plain(name) for name in names}))


def _start(sheet: Sheet, name: str = "") -> Place:
    return Place(SHEETS.index(sheet), -1, -1, name)


def _quoted(text: str) -> str:
    return shown(text)


# ---------------------------------------------------------------- sheets


def _sheets(book: Workbook, report: Report) -> dict[Sheet, Grid]:
    """Sheets of the case by their names in either language; missing and renamed ones are named."""
    names: dict[Sheet, str] = {}
    extra = []
    for name in book.names:
        sheet = next((each for each in SHEETS if plain(name) in {plain(each.title(code)) for code in CODES}), None)
        if sheet is None:
            extra.append(name)
        elif sheet in names:
            report.fault("sheet_twice", _start(sheet), first=_quoted(names[sheet]), second=_quoted(name))
        else:
            names[sheet] = name
    missing = [sheet for sheet in SHEETS if sheet.blocks and sheet not in names]
    for sheet in missing:
        renamed = next((name for name in extra if _looks_like(book.sheet(name), sheet)), None)
        title = _quoted(sheet.title(report.code))
        if renamed is not None:
            extra.remove(renamed)
            report.fault("sheet_renamed", _start(sheet), got=_quoted(renamed), sheet=title)
        elif sheet.needed:
            report.fault("sheet_missing", _start(sheet), sheet=title)
    for name in extra:
        report.notice("sheet_ignored", _start(SHEETS[-1], name), sheet=_quoted(name))
    grids = {sheet: book.sheet(name) for sheet, name in names.items() if sheet.blocks}
    for sheet, grid in grids.items():
        if grid.far:
            report.fault("too_large", Place(SHEETS.index(sheet), *grid.far, grid.name))
    return grids


def _looks_like(grid: Grid, sheet: Sheet) -> bool:
    return all(_heading(block, grid.turned() if block.down else grid) is not None for block in sheet.blocks)


# ---------------------------------------------------------------- headings


def _labels(block: Block) -> dict[str, str]:
    """Fields by the headings that they have in either language."""
    return {plain(label): key for code in CODES for key, label in block.labels(code).items()}


def _heading(block: Block, grid: Grid) -> int | None:
    """Line with most of a block's headings: at least half of them, and at least two."""
    labels = _labels(block)
    counts = {
        line: len(
            {labels[plain(value)] for value in cells.values() if isinstance(value, str) and plain(value) in labels}
        )
        for line, cells in grid.lines.items()
    }
    best = max(counts, key=lambda line: (counts[line], -line), default=None)
    return best if best is not None and counts[best] >= max(2, (len(block.fields) + 1) // 2) else None


def _blocks(sheet: Sheet, grid: Grid, report: Report) -> Iterator[Found]:
    """Blocks of a sheet with their headings; missing, renamed and repeated headings are named."""
    if grid.far:
        return
    turned = {block: grid.turned() if block.down else grid for block in sheet.blocks}
    headings = {block: _heading(block, turned[block]) for block in sheet.blocks}
    rows = sorted(line for block, line in headings.items() if line is not None and not block.down)
    for block, heading in headings.items():
        if heading is None and not grid.cells and not sheet.needed:
            continue
        if heading is None:
            first = next(iter(block.labels(report.code).values()))
            report.fault("columns_missing", _start(sheet), sheet=_quoted(grid.name), label=_quoted(first))
            continue
        later = [row for row in rows if row > heading] if not block.down else []
        found = Found(block, sheet, turned[block], heading, {}, later[0] if later else 10**9)
        yield _with_columns(found, rows[0] if block.down and rows else 10**9, report)


def _with_columns(found: Found, end: int, report: Report) -> Found:
    """The block with the places of its headings; ``end`` is where headings that stand below each other end."""
    labels = _labels(found.block)
    columns: dict[str, int] = {}
    unknown: dict[int, str] = {}
    for column, value in found.grid.lines[found.heading].items():
        if not isinstance(value, str) or (found.block.down and column >= end):
            continue
        key = labels.get(plain(value))
        if key is None:
            unknown[column] = value
        elif key in columns:
            report.fault("column_twice", found.place(found.heading, column), label=_quoted(value))
        else:
            columns[key] = column
    placed = replace(found, columns=columns)
    _check_headings(placed, unknown, report)
    return placed


def _check_headings(found: Found, unknown: Mapping[int, str], report: Report) -> None:
    names = found.block.labels(report.code)
    missing = [each for each in found.block.fields if each.key not in found.columns and each.role == "data"]
    filled = {
        column: value
        for column, value in unknown.items()
        if any(column in cells for line, cells in found.grid.lines.items() if found.heading < line < found.end)
        and not (found.block.down and column < min(found.columns.values()))
    }
    for column, value in filled.items():
        at = found.place(found.heading, column)
        if missing:
            label = _quoted(names[missing.pop(0).key])
            report.fault("column_renamed", at, got=_quoted(value), label=label)
        else:
            report.notice("column_ignored", at, got=_quoted(value))
    for each in missing:
        if found.needs(each):
            at = found.place(found.heading, min(found.columns.values()))
            report.fault("columns_missing", at, sheet=_quoted(found.grid.name), label=_quoted(names[each.key]))


# ---------------------------------------------------------------- lines


def _lines(found: Found, report: Report) -> Iterator[Line]:
    """Lines of data, their cells read; guidance, examples and empty lines are passed over."""
    marks = {
        mark: {plain(Language(code).text(f"case_workbook.marker.{mark}")) for code in CODES}
        for mark in ("help", "example")
    }
    places = set(found.columns.values())
    merged = _merged(found)
    for line, cells in found.grid.lines.items():
        if not found.heading < line < found.end:
            continue
        beside = {
            re.sub(r"\W*\d*$", "", plain(value))
            for column, value in cells.items()
            if column not in places and isinstance(value, str) and not (found.block.down and column > max(places))
        }
        if beside & marks["help"]:
            continue
        typed = {key: cells[column] for key, column in found.columns.items() if column in cells}
        used = {each.key for each in found.block.fields if each.role == "data"} & set(typed)
        if beside & marks["example"]:
            if used and not _as_in_template(found.block, typed):
                report.fault("example_changed", found.place(line, min(places) - 1))
            continue
        if used:
            yield _line(found, line, typed, merged, report)
    _check_merged(found, report)


def _as_in_template(block: Block, typed: Mapping[str, Value | Broken]) -> bool:
    """Whether an example still says what it said."""
    now = {key: _comparable(value) for key, value in typed.items()}
    for code in CODES:
        for line in example_lines(code).get(block.name, ()):
            was = {key: _comparable(value) for key, value in written_line(block, line, code).items()}
            if all(was.get(key) == value for key, value in now.items()):
                return True
    return False


def _comparable(value: object) -> object:
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dt.datetime):
        return value.date()
    return float(value) if isinstance(value, (int, float)) else value


def _merged(found: Found) -> dict[Cell, Value | Broken]:
    """Values of words merged over several lines, for each of the lines."""
    fills: dict[Cell, Value | Broken] = {}
    kinds = {found.columns[each.key]: each.kind for each in found.block.fields if each.key in found.columns}
    for (first, column), (last, _) in found.grid.merged:
        value = found.grid.cells.get((first, column))
        if found.heading < first < last and value is not None and kinds.get(column) in MAY_BE_MERGED:
            fills |= {(line, column): value for line in range(first, last + 1)}
    return fills


def _check_merged(found: Found, report: Report) -> None:
    """Numbers and dates merged over lines: whether they count once or in each line can't be known."""
    kinds = {found.columns[each.key]: each.kind for each in found.block.fields if each.key in found.columns}
    for (first, column), (last, _) in found.grid.merged:
        stands = found.heading < first < last and (first, column) in found.grid.cells
        if stands and kinds.get(column, "text") not in MAY_BE_MERGED:
            report.fault("unmerge", found.place(first, column))


def _line(
    found: Found,
    line: int,
    typed: Mapping[str, Value | Broken],
    merged: Mapping[Cell, Value | Broken],
    report: Report,
) -> Line:
    """One line: its values, and faults for what is wrong or missing in it."""
    values: Values = {}
    places = {key: found.place(line, column) for key, column in found.columns.items()}
    for each in found.block.fields:
        if each.role == "remark" or each.key not in places:
            continue
        value = typed.get(each.key, merged.get((line, found.columns[each.key])))
        at = places[each.key]
        if value is None:
            if each.needed and "." not in each.key:
                report.fault("empty", at, rule=must(each, report.code), repair=example(each, report.code))
        elif isinstance(value, Broken):
            report.fault("error", at, got=shown(value.error)) if value.error else report.fault("formula", at)
        else:
            read = read_value(each, value, report.code)
            if isinstance(read, Wrong):
                _wrong(report, at, each, value, read)
                if each.kind == "code":  # other lines still refer to it
                    values[each.key] = as_text(value)
            elif read != ():
                values[each.key] = read
    stands = set(typed) | {key for key in places if (line, found.columns[key]) in merged}
    for name in dict.fromkeys(each.key.rpartition(".")[0] for each in found.block.fields if each.key.endswith(".low")):
        _check_range(found.block, name, values, places, stands, report)
    return Line(values, places)


def _wrong(report: Report, at: Place, of: Field, value: Value, wrong: Wrong) -> None:
    words = Language(report.code).text(
        "case_fault.wrong", at=str(at), rule=must(of, report.code), got=shown(value), repair=wrong.repair
    )
    report.faults.append((at, words.strip()))


def _check_range(
    block: Block, name: str, values: Values, places: Mapping[str, Place], stands: set[str], report: Report
) -> None:
    """Low, most likely and high: all or the middle one, and in order."""
    keys = [f"{name}.{part}" for part in ("low", "mode", "high")]
    if not {*keys} <= set(places):
        return
    of = {each.key: each for each in block.fields}
    there = [key for key in keys if key in stands]
    if not there and of[keys[1]].needed:
        middle = of[keys[1]]
        report.fault("empty", places[keys[1]], rule=must(middle, report.code), repair=example(middle, report.code))
    if there and there != [keys[1]]:
        for key in keys:
            if key not in there:
                report.fault("range_open", places[key])
    if not {*keys} <= set(values):
        return
    words = Language(report.code)
    for key, side, wrong in (
        (keys[0], "above", values[keys[0]] > values[keys[1]]),
        (keys[2], "below", values[keys[2]] < values[keys[1]]),
    ):
        if wrong:
            side = words.text(f"case_fault.side_{side}")
            report.fault("range_order", places[key], side=side, other=str(places[keys[1]]), got=shown(values[key]))


# ---------------------------------------------------------------- between lines


def _programmes(lines: Iterable[Line]) -> dict[str, tuple[int, str]]:
    """Numbers and codes of the programmes; of a repeated code the first."""
    known: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        if "id" in line.values:
            stated = line.values["id"]
            for name in (stated, as_code(stated)):  # other lines may use the repaired code already
                known.setdefault(plain(name), (number, stated))
    return known


def _resolved(found: Found, line: Line, known: Mapping[str, tuple[int, str]], report: Report) -> Line:
    """The line with numbers of programmes in place of codes; unknown codes are named."""
    values = dict(line.values)
    for each in found.block.fields:
        if each.kind == "programme" and each.key in values:
            stated = values.pop(each.key)
            if plain(stated) in known:
                values[each.key] = known[plain(stated)][0]
            elif known:
                title = _quoted(SHEET_OF["programmes"].title(report.code))
                codes = ", ".join(dict.fromkeys(code for _, code in known.values()))
                report.fault("unknown_programme", line.places[each.key], got=shown(stated), sheet=title, known=codes)
    return Line(values, line.places)


def _check_together(found: Mapping[str, Found], lines: Mapping[str, Sequence[Line]], report: Report) -> None:
    """Rules of the workbook between lines and between cells, beside those of the case."""
    for name, rule in (("programmes", "no_programme"), ("finance", "no_answer")):
        if name in found and not lines[name]:
            each = found[name]
            first = each.place(each.heading, min(each.columns.values()))
            report.fault(rule, first, sheet=_quoted(each.grid.name))
    for line in lines.get("programmes", ()):
        gains = {key for key in line.values if key.startswith("score_gain.")}
        if gains == {"score_gain.metric"}:
            del line.values["score_gain.metric"]
            if not report.wrong & {place for key, place in line.places.items() if key.startswith("score_gain.")}:
                title = _quoted(SHEET_OF["drivers"].title(report.code))
                report.fault("gain_missing", line.places["score_gain.metric"], sheet=title)
    for line in lines.get("benefits", ()):
        month = line.places.get("month")
        if "amount.mode" in line.values and "month" not in line.values and month and month not in report.wrong:
            report.fault("benefit_month", month)
    _check_repeated(lines.get("exchange_rates", ()), ("currency",), "currency_twice", report)
    _check_repeated(lines.get("sources", ()), ("assumption", "programme"), "assumption_twice", report)
    _check_quarters(found, lines, report)
    for line in lines.get("correlations", ()):
        for name in ("first", "second"):
            beside = line.places.get(f"{name}_programme")
            if lacks_programme(line, name) and beside and beside not in report.wrong:
                of = Field(name, "programme")
                report.fault("empty", beside, rule=must(of, report.code), repair=example(of, report.code))


def _check_repeated(lines: Iterable[Line], keys: tuple[str, ...], rule: str, report: Report) -> None:
    seen = set()
    for line in lines:
        name = tuple(line.values.get(key) for key in keys)
        if name[0] is not None and name in seen:
            got = {"got": str(name[0])} if rule == "currency_twice" else {}
            report.fault(rule, line.places[keys[0]], **got)
        seen.add(name)


def _check_quarters(found: Mapping[str, Found], lines: Mapping[str, Sequence[Line]], report: Report) -> None:
    """Quarters are numbered without gaps, and stand instead of one limit for all."""
    quarters = lines.get("quarters", [])
    for wanted, line in enumerate(quarters, start=1):
        stated = line.values.get("quarter")
        if stated is None or stated == wanted:
            continue
        column = found["quarters"].columns["quarter"]
        numbered = [row for row, cells in found["quarters"].grid.lines.items() if cells.get(column) == wanted]
        if numbered and numbered[-1] > found["quarters"].heading + 2 and stated > wanted:
            report.fault("quarter_gap", replace(line.places["limit"], row=numbered[-1]))
        else:
            report.fault("quarter_wrong", line.places["quarter"], wanted=str(wanted), got=str(stated))
        break
    for line in lines.get("finance", ()):
        if quarters and "budget.per_quarter" in line.values:
            at = line.places["budget.per_quarter"]
            report.fault("both_budgets", at, other=str(quarters[0].places["limit"]))


# ---------------------------------------------------------------- faults of the case


def _translate(faults: Iterable[str], stated: Stated, report: Report, *, has_costs: bool) -> None:
    """Faults that the case's own rules find, at their cells; what only follows from a fault named before is left out."""
    paths = [path for path, place in stated.places.items() if place in report.wrong]
    words = catalogue(report.code)
    for fault in faults:
        at = fault.at if isinstance(fault, Fault) else re.split(r"\s", fault, maxsplit=1)[0]
        place = stated.places.get(at)
        if place is None or any(path == at or path.startswith((f"{at}.", f"{at}[")) for path in paths):
            continue
        if at.endswith(".costs"):
            if has_costs:
                report.fault("no_costs", place)
        elif isinstance(fault, Fault) and f"case_fault.{fault.rule}" in words:
            report.fault(fault.rule, place, **fault.facts)
        else:
            report.faults.append((place, f"{place} {fault.removeprefix(at).strip()}"))
