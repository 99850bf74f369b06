"""Cells of a workbook as they stand in the file: values, merged ranges, formulas without a value, errors."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from python_calamine import CalamineError, CalamineWorkbook

from cxroi.errors import InvalidCase

Value = str | int | float | bool | dt.date | dt.datetime | dt.time | dt.timedelta
Cell = tuple[int, int]
"""Row and column, from 0."""

MOST_ROWS, MOST_COLUMNS = 10_000, 400
MOST_BYTES = 100_000_000
NO_WORKBOOK = "{name} must be an Excel workbook (.xlsx). Save it as one in Excel."
OLD_OR_LOCKED = bytes.fromhex("d0cf11e0")
BLANKS = " \t\r\n\u00a0\u2007\u202f\u200b\ufeff"


@dataclass(frozen=True)
class Broken:
    """A cell without a usable value: the error that it shows, or empty for a formula that was never calculated."""

    error: str


@dataclass(frozen=True)
class Grid:
    """One sheet: its cells that are not blank, and ranges of merged cells (first and last cell of each)."""

    name: str
    cells: Mapping[Cell, Value | Broken]
    merged: tuple[tuple[Cell, Cell], ...]
    far: Cell | None = None

    def turned(self) -> Grid:
        """The same sheet with rows and columns exchanged."""
        cells = {(column, row): value for (row, column), value in self.cells.items()}
        return Grid(self.name, cells, tuple((first[::-1], last[::-1]) for first, last in self.merged), self.far)

    @cached_property
    def lines(self) -> Mapping[int, Mapping[int, Value | Broken]]:
        """Cells by row, rows and columns in order."""
        found: dict[int, dict[int, Value | Broken]] = {}
        for (row, column), value in sorted(self.cells.items(), key=lambda item: item[0]):
            found.setdefault(row, {})[column] = value
        return found


@dataclass(frozen=True)
class Workbook:
    """A file that is open: the names of its sheets, and each sheet when it is asked for."""

    file: str
    names: tuple[str, ...]
    book: CalamineWorkbook
    parts: Mapping[str, bytes]

    def sheet(self, name: str) -> Grid:
        """One sheet; where something stands far outside any table, only the place of that."""
        with _readable(self.file):
            broken, far = _scan(self.parts.get(name, b""))
            if far is not None:
                return Grid(name, {}, (), far)
            sheet = self.book.get_sheet_by_name(name)
            cells: dict[Cell, Value | Broken] = {
                (row, column): value
                for row, line in enumerate(sheet.to_python(skip_empty_area=False))
                for column, value in enumerate(line)
                if not (isinstance(value, str) and not value.strip(BLANKS))
            }
            return Grid(name, cells | broken, tuple(sheet.merged_cell_ranges or ()))


def open_workbook(path: Path) -> Workbook:
    """Open a workbook.

    Raises
    ------
    InvalidCase
        If the file is missing, no workbook, protected by a password or larger than any case.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidCase(f"{path.name} can't be read: {error.strerror}. Give the path of a case.xlsx.") from None
    if content.startswith(OLD_OR_LOCKED):
        raise InvalidCase(f"{path.name} must be an .xlsx workbook without a password. Save it so in Excel.")
    with _readable(path.name):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MOST_BYTES:
                raise InvalidCase(
                    f"{path.name} unpacks to {size / 1e6:,.0f} MB; a case has less than {MOST_BYTES / 1e6:.0f} MB. "
                    "Copy the case into a fresh file of cxroi template."
                )
            parts = {name: archive.read(part) for name, part in _parts(archive)}
        book = CalamineWorkbook.from_path(str(path))
        return Workbook(path.name, tuple(book.sheet_names), book, parts)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Refuse a file that is no workbook, or a damaged one, in one sentence."""
    try:
        yield
    except InvalidCase:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, LookupError, ValueError, OverflowError) as error:
        raise InvalidCase(NO_WORKBOOK.format(name=name)) from error
    except (ElementTree.ParseError, CalamineError, NotImplementedError, RuntimeError) as error:
        raise InvalidCase(NO_WORKBOOK.format(name=name)) from error


def _parts(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    """Names of the sheets, each with the name of its part in the file."""
    targets = {
        entry.get("Id", ""): entry.get("Target", "")
        for entry in ElementTree.parse(archive.open("xl/_rels/workbook.xml.rels")).iter()
    }
    for entry in ElementTree.parse(archive.open("xl/workbook.xml")).iter():
        if _tag(entry) == "sheet":
            relation = next((value for name, value in entry.items() if name.endswith("}id")), "")
            target = targets.get(relation, "")
            part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            if part in archive.namelist():
                yield entry.get("name", ""), part


def _scan(part: bytes) -> tuple[dict[Cell, Broken], Cell | None]:
    """Cells of a sheet without a usable value, and the first value far outside any table."""
    broken: dict[Cell, Broken] = {}
    row = column = -1
    for event, entry in ElementTree.iterparse(io.BytesIO(part), events=("start", "end")) if part else ():
        tag = _tag(entry)
        if tag == "row" and event == "start":
            row, column = int(entry.get("r", row + 2)) - 1, -1
        elif tag == "row":
            entry.clear()
        elif tag == "c" and event == "end":
            place = _cell(entry.get("r", ""))
            row, column = place or (row, column + 1)
            inside = {_tag(child): child for child in entry}
            value = inside["v"].text if "v" in inside else None
            if (value or "is" in inside) and (row >= MOST_ROWS or column >= MOST_COLUMNS):
                return {}, (row, column)
            if entry.get("t") == "e":
                broken[row, column] = Broken(value or "#")
            elif "f" in inside and not value and entry.get("t") != "str":
                broken[row, column] = Broken("")
    return broken, None


def _tag(entry: Any) -> str:
    return str(entry.tag).rpartition("}")[2]


def _cell(address: str) -> Cell | None:
    """Row and column of ``B3``.

    >>> _cell("B3"), _cell("AA1")
    ((2, 1), (0, 26))
    """
    letters = address.rstrip("0123456789")
    if not letters or letters == address:
        return None
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(address[len(letters) :]) - 1, column - 1


def column_letters(column: int) -> str:
    """Letters of a column, from 0.

    >>> column_letters(0), column_letters(27)
    ('A', 'AB')
    """
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
