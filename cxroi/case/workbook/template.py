"""Write the workbook: empty for a lead to fill in, or filled from a case; same input, same bytes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from babel.numbers import get_currency_precision

from cxroi.case.programme import Case
from cxroi.case.terms import LONG_TERM_MONTHS
from cxroi.case.workbook.examples import example_lines
from cxroi.case.workbook.grid import column_letters
from cxroi.case.workbook.layout import (
    BLOCKS,
    CHOICES,
    OPEN_LISTS,
    SHEETS,
    Block,
    Field,
    Sheet,
    choice_meaning,
    choice_words,
)
from cxroi.case.workbook.lines import Values, lines_of
from cxroi.case.workbook.written import Written, written_line
from cxroi.language import Code, Language
from cxroi.spreadsheet import FORMULA_SIGNS

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

CREATED = dt.datetime(2026, 1, 1)
BLUE, PALE, INPUT, MISSING, GREY, LINE = "#0072B2", "#E6F1F8", "#FFF9DB", "#FBD3B4", "#6B6B6B", "#BFBFBF"
MOST_MESSAGE, MOST_TITLE = 255, 32  # characters of Excel's input messages
LAST_CHECKED_ROW = 500
LARGEST = 1e15
TOP = 4
"""Row of the headings of a sheet's first block."""
WIDTHS_DOWN = (30, 48, 21)
WIDTH_ANSWER = {"profile": 70, "finance": 26, "programmes": 21}
WIDTH_MARK = 12
PARAGRAPH = 130
"""Width of a text over several columns, in letters of Excel's column widths."""
FONT, SIZE, SMALL = "Arial", 10, 9
LETTERS = 1.15
"""Letters of the font's usual size in one unit of a column's width, spaces at broken lines counted in."""
LINE_HEIGHT = 1.32
"""Height of a line over the size of its letters."""
LAST_MONTH = 360
ONE_PAGE_QUARTERS = 20
CURRENCIES = ("VND", "USD", "EUR", "GBP", "JPY", "CNY", "KRW", "SGD", "THB", "AUD")


def write_template(path: str | Path, *, lang: Code = "en") -> None:
    """Write an empty workbook with its guidance, examples and lists; only the horizon is set beforehand.

    Parameters
    ----------
    path
        Where the file goes; an existing one is replaced.
    lang
        Language of the sheets.
    """
    _write({"finance": [{"horizon_months": LONG_TERM_MONTHS}]}, path, lang=lang, currency="VND")


def write_case_workbook(case: Case, path: str | Path, *, lang: Code = "en") -> None:
    """Write a workbook filled in with a case; `read_case_workbook` gives the same case back.

    Numbers keep 16 significant digits. A profile or a budget that states nothing comes back as none.

    Parameters
    ----------
    case
        What is filled in.
    path
        Where the file goes; an existing one is replaced.
    lang
        Language of the sheets; texts of the case stay as they are.
    """
    _write(lines_of(case), path, lang=lang, currency=case.currency)


def _write(lines: Mapping[str, Sequence[Values]], path: str | Path, *, lang: Code, currency: str) -> None:
    import xlsxwriter

    unfinished = Path(path).with_name(f"{Path(path).name}.unfinished")
    book = xlsxwriter.Workbook(str(unfinished), {"strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"title": Language(lang).text("case_workbook.title.guide"), "created": CREATED})
    pen = Pen(book, lang, currency, max(BLOCKS["programmes"].lines, len(lines.get("programmes", ()))))
    sheets = {sheet: book.add_worksheet(sheet.title(lang)) for sheet in SHEETS}
    lists = _lists(pen, sheets[SHEETS[-1]])
    for sheet, worksheet in sheets.items():
        worksheet.hide_gridlines(2)
        worksheet.set_tab_color(BLUE if sheet.needed else LINE)
        if sheet.blocks:
            _sheet(pen, worksheet, sheet, lines, lists)
    _guide(pen, sheets[SHEETS[0]])
    for sheet, worksheet in sheets.items():
        _print_setup(pen, worksheet, sheet, lines)
    sheets[SHEETS[0]].activate()
    book.close()
    unfinished.replace(path)


@dataclass(frozen=True)
class Pen:
    """A workbook being written, its language and its currency; formats are made once."""

    book: Workbook
    code: Code
    currency: str
    programmes: int

    def say(self, key: str, **values: str) -> str:
        """Words of the catalogue's section on the workbook."""
        return Language(self.code).text(f"case_workbook.{key}", **values)

    @cached_property
    def _formats(self) -> dict[tuple[tuple[str, Any], ...], Format]:
        return {}

    def format(self, **properties: Any) -> Format:
        """A cell format; texts are wrapped and stand at the top."""
        properties = {"valign": "top", "text_wrap": True, "font_name": FONT, "font_size": SIZE} | properties
        key = tuple(sorted(properties.items()))
        if key not in self._formats:
            self._formats[key] = self.book.add_format(properties)
        return self._formats[key]

    def heading(self) -> Format:
        """Headings of fields."""
        return self.format(
            bold=True, font_color="white", bg_color=BLUE, border=1, border_color="white", align="left", indent=1
        )

    def guidance(self) -> Format:
        """Guidance beside or below a heading."""
        return self.format(
            font_size=SMALL, font_color="#404040", bg_color=PALE, border=1, border_color="white", align="left", indent=1
        )

    def number_format(self, field: Field) -> str:
        """Number format of a field's cells."""
        decimals = get_currency_precision(self.currency)
        return {
            "amount": "#,##0" + ("." + "0" * decimals if decimals else ""),
            "share": "0.0%",
            "date": "dd/mm/yyyy" if self.code == "vi" else "yyyy-mm-dd",
            "code": "@",
            "programme": "@",
            "codes": "@",
            "currency": "@",
        }.get(field.kind, "General")

    def cell(self, field: Field, value: Written | None, **more: Any) -> Format:
        """Format of a cell of a field; text that looks like a formula is marked as text."""
        quote = {"quote_prefix": True} if isinstance(value, str) and value.startswith(FORMULA_SIGNS) else {}
        words = isinstance(value, str) or field.kind in ("text", "code", "codes", "choice", "programme", "currency")
        align = {"align": "left", "indent": 1} if words else {}
        return self.format(num_format=self.number_format(field), **align, **quote, **more)


def _put(worksheet: Worksheet, row: int, column: int, value: Written | None, style: Format) -> None:
    """Write a cell as what it is; text is never taken for anything else."""
    if value is None:
        worksheet.write_blank(row, column, None, style)
    elif isinstance(value, str):
        worksheet.write_string(row, column, value, style)
    elif isinstance(value, dt.date):
        worksheet.write_datetime(row, column, dt.datetime.combine(value, dt.time()), style)
    else:
        worksheet.write_number(row, column, value, style)


# ---------------------------------------------------------------- blocks


@dataclass(frozen=True)
class Frame:
    """Where a block stands: row of its headings, first column of its fields, lines offered, and how many are examples.

    Fields below each other have their guidance and example to the right of the headings, fields side by side below
    them; the column before the first field holds the marks.
    """

    block: Block
    row: int
    column: int
    examples: int
    offered: int

    @property
    def first(self) -> int:
        """Row, or column, of the first line to fill in."""
        return (self.column + 3) if self.block.down else (self.row + 2 + self.examples)

    @property
    def last(self) -> int:
        """Row, or column, of the last line offered."""
        return self.first + self.offered - 1

    def cell(self, number: int, line: int) -> tuple[int, int]:
        """Row and column of a field, by its number, in a line."""
        return (self.row + 1 + number, line) if self.block.down else (line, self.column + number)

    def area(self, number: int, last: int | None = None) -> tuple[int, int, int, int]:
        """First and last row and column of a field in all lines to fill in."""
        top, left = self.cell(number, self.first)
        bottom, right = self.cell(number, self.last if last is None else last)
        return top, left, bottom, right


def _sheet(
    pen: Pen, worksheet: Worksheet, sheet: Sheet, lines: Mapping[str, Sequence[Values]], lists: Mapping[str, str]
) -> None:
    """Title, what the sheet is for, and its blocks below each other."""
    first = sheet.blocks[0]
    widths = [*_widths(first, len(lines.get(first.name, ())))]
    for column, width in enumerate(widths):
        worksheet.set_column(column, column, width)
    _title(pen, worksheet, sheet.name, widths)
    row = TOP
    for block in sheet.blocks:
        if block is not first:
            style = pen.format(bold=True, font_size=12, font_color=BLUE, text_wrap=False)
            worksheet.write_string(row + 1, 0, pen.say(f"title.{block.name}"), style)
            _paragraph(pen, worksheet, row + 2, pen.say(f"about.{block.name}"), widths)
            row += 3
        stated = lines.get(block.name, ())
        offered = max(block.lines, len(stated))
        examples = len(example_lines(pen.code)[block.name])
        frame = Frame(block, row, 0 if block.down else 1 if block is first else 2, examples, offered)
        _headings(pen, worksheet, frame)
        _lines(pen, worksheet, frame, stated)
        _heights(pen, worksheet, frame, stated, widths)
        _checks(pen, worksheet, frame, lists, far=block is sheet.blocks[-1] and len(sheet.blocks) == 1)
        row = row + len(block.fields) + 1 if block.down else frame.last + 1
    worksheet.freeze_panes(TOP + 1, 1 if first.down else 2)


def _widths(block: Block, stated: int) -> Iterator[int]:
    """Widths of the columns of a sheet that starts with the block."""
    if block.down:
        yield from (*WIDTHS_DOWN, *[WIDTH_ANSWER[block.name]] * max(block.lines, stated))
    else:
        yield from (WIDTH_MARK, *(field.width for field in block.fields))


def _title(pen: Pen, worksheet: Worksheet, name: str, widths: Sequence[int]) -> None:
    style = pen.format(bold=True, font_size=16, font_color=BLUE, text_wrap=False)
    worksheet.set_row(0, 26)
    worksheet.write_string(0, 0, pen.say(f"title.{name}"), style)
    _paragraph(pen, worksheet, 1, pen.say(f"about.{name}"), widths)
    if name != SHEETS[0].name:
        style = pen.format(font_color=BLUE, underline=1, font_size=SMALL, text_wrap=False)
        worksheet.write_url(2, 0, _link(SHEETS[0], pen.code), style, pen.say("back"))
    if name in (sheet.name for sheet in SHEETS if sheet.blocks):
        worksheet.write_string(2, 1, pen.say("needed"), pen.format(font_size=SMALL, font_color=GREY, text_wrap=False))
    worksheet.set_row(3, 6)


def _paragraph(pen: Pen, worksheet: Worksheet, row: int, text: str, widths: Sequence[int]) -> None:
    """A text over as many columns as a screen shows; merged cells do not grow by themselves, so the height is set."""
    last, width = 0, widths[0]
    while last + 1 < len(widths) and width + widths[last + 1] <= PARAGRAPH:
        last += 1
        width += widths[last]
    style = pen.format(font_color="#404040")
    if last:
        worksheet.merge_range(row, 0, row, last, "", style)
    worksheet.write_string(row, 0, text, style)
    worksheet.set_row(row, _height([(text, width)]))


def _height(texts: Iterable[tuple[object, float]], size: float = SIZE) -> float:
    """Height of a row in which every text, in a column of that width, is seen whole."""
    lines = 1
    for text, width in texts:
        letters = width * LETTERS * SIZE / size
        lines = max(lines, sum(max(1, math.ceil(len(part) / letters)) for part in str(text).split("\n")))
    return round(lines * size * LINE_HEIGHT + 3, 1)


def _link(sheet: Sheet, code: Code) -> str:
    return f"internal:'{sheet.title(code)}'!A1"


def _headings(pen: Pen, worksheet: Worksheet, frame: Frame) -> None:
    """Headings, guidance and examples of a block."""
    block = frame.block
    mark = pen.format(font_size=SMALL, italic=True, font_color=GREY, align="left" if block.down else "right")
    if block.down:
        for number, name in enumerate(("field", "help", "example")):
            worksheet.write_string(frame.row, number, pen.say(f"marker.{name}"), pen.heading())
        for line in range(frame.offered):
            words = _numbered(pen, f"line.{block.name}", line + 1)
            worksheet.write_string(frame.row, frame.first + line, words, pen.heading())
    else:
        worksheet.write_string(frame.row + 1, frame.column - 1, pen.say("marker.help"), mark)
        for line in range(frame.examples):
            worksheet.write_string(frame.row + 2 + line, frame.column - 1, pen.say("marker.example"), mark)
    labels = block.labels(pen.code)
    for number, field in enumerate(block.fields):
        label = labels[field.key] + (" *" if field.needed else "")
        guidance = pen.say(f"help.{block.name}.{field.message}")
        at = (frame.row + 1 + number, 0) if block.down else (frame.row, frame.column + number)
        beside = (at[0], 1) if block.down else (frame.row + 1, at[1])
        worksheet.write_string(*at, label, pen.heading())
        worksheet.write_string(*beside, guidance, pen.guidance())
    for line, values in enumerate(example_lines(pen.code)[block.name]):
        written = written_line(block, values, pen.code)
        for number, field in enumerate(block.fields):
            row, column = frame.cell(number, frame.first - frame.examples + line)
            value = written.get(field.key)
            style = pen.cell(field, value, italic=True, font_color=GREY, bottom=1, bottom_color=LINE)
            _put(worksheet, row, column, value, style)


def _heights(pen: Pen, worksheet: Worksheet, frame: Frame, lines: Sequence[Values], widths: Sequence[int]) -> None:
    """Rows as high as their texts; rows that are still empty grow by themselves."""
    block, labels = frame.block, frame.block.labels(pen.code)
    guidance = {each.key: pen.say(f"help.{block.name}.{each.message}") for each in block.fields}
    examples = [written_line(block, values, pen.code) for values in example_lines(pen.code)[block.name]]
    stated = [written_line(block, values, pen.code) for values in lines]
    if block.down:
        for number, each in enumerate(block.fields):
            texts = [(line.get(each.key, ""), widths[-1]) for line in stated]
            texts += [(line.get(each.key, ""), widths[2]) for line in examples]
            rows = max(
                _height([(f"{labels[each.key]} *", 0.88 * widths[0]), *texts]),
                _height([(guidance[each.key], widths[1])], SMALL),
            )
            worksheet.set_row(frame.row + 1 + number, rows)
        return
    across = [(each.key, widths[frame.column + number]) for number, each in enumerate(block.fields)]
    worksheet.set_row(frame.row, _height((f"{labels[key]} *", 0.88 * width) for key, width in across))
    worksheet.set_row(frame.row + 1, _height(((guidance[key], width) for key, width in across), SMALL))
    for row, line in enumerate([*examples, *stated], start=frame.row + 2):
        height = _height((line.get(key, ""), width) for key, width in across if isinstance(line.get(key), str))
        worksheet.set_row(row, height)


def _numbered(pen: Pen, key: str, number: int) -> str:
    return pen.say(key, number=str(number)) if key == "line.programmes" else pen.say(key)


def _lines(pen: Pen, worksheet: Worksheet, frame: Frame, lines: Sequence[Values]) -> None:
    """Cells to fill in, with what is stated already."""
    block = frame.block
    for line in range(frame.offered):
        values = lines[line] if line < len(lines) else {}
        if block.name == "quarters":
            values = {"quarter": line + 1} | values
        written = written_line(block, values, pen.code)
        for number, field in enumerate(block.fields):
            value = written.get(field.key)
            style = pen.cell(field, value, bg_color=INPUT, border=1, border_color=LINE)
            _put(worksheet, *frame.cell(number, frame.first + line), value, style)


# ---------------------------------------------------------------- checks while typing


def _checks(pen: Pen, worksheet: Worksheet, frame: Frame, lists: Mapping[str, str], *, far: bool) -> None:
    """Drop-down lists, ranges and messages; cells that still lack something are coloured."""
    block, labels = frame.block, frame.block.labels(pen.code)
    last = max(frame.last, LAST_CHECKED_ROW) if far and not block.down else frame.last
    for number, field in enumerate(block.fields):
        area = frame.area(number, last)
        guidance = pen.say(f"help.{block.name}.{field.message}")
        message = {"input_title": labels[field.key][:MOST_TITLE], "input_message": guidance[:MOST_MESSAGE]}
        rule = _rule(pen, field, lists) | message
        worksheet.data_validation(*area, {"ignore_blank": True, **rule})
        top, left, *_ = area
        here = f"{column_letters(left)}{top + 1}"
        if field.kind == "amount" and not get_currency_precision(pen.currency):
            style = pen.book.add_format({"num_format": "#,##0.00"})
            formula = f"=AND(ISNUMBER({here}),{here}<>INT({here}))"
            worksheet.conditional_format(*area, {"type": "formula", "criteria": formula, "format": style})
        if field.needed and block.name != "quarters":
            style = pen.book.add_format({"bg_color": MISSING})
            formula = f"=AND(COUNTA({_whole_line(frame, top, left)})>0,ISBLANK({here}))"
            worksheet.conditional_format(*area, {"type": "formula", "criteria": formula, "format": style})


def _whole_line(frame: Frame, row: int, column: int) -> str:
    """All fields of the line of a cell, for a formula that moves with the cell."""
    last = len(frame.block.fields) - 1
    if frame.block.down:
        letters = column_letters(column)
        return f"{letters}${frame.row + 2}:{letters}${frame.row + 2 + last}"
    return f"${column_letters(frame.column)}{row + 1}:${column_letters(frame.column + last)}{row + 1}"


def _rule(pen: Pen, field: Field, lists: Mapping[str, str]) -> dict[str, Any]:
    """Data validation of a field."""
    limits = field.limits
    ends = {
        "criteria": "between",
        "minimum": -LARGEST if limits.least is None else limits.least,
        "maximum": LARGEST if limits.most is None else limits.most,
        "error_title": pen.say("number_title"),
        "error_message": pen.say("number_error"),
    }
    if field.kind == "choice":
        free = field.choices in OPEN_LISTS
        told = {"error_type": "information"} if free else {"error_type": "stop"}
        words = {"error_title": pen.say("list_title"), "error_message": pen.say("list_open" if free else "list_error")}
        return {"validate": "list", "source": lists[field.choices], **told, **words}
    if field.kind == "programme":
        words = {"error_title": pen.say("list_title"), "error_message": pen.say("code_error")}
        return {"validate": "list", "source": lists["programme"], "error_type": "warning", **words}
    if field.kind == "currency":
        words = {"error_title": pen.say("list_title"), "error_message": pen.say("list_open")}
        return {"validate": "list", "source": [*CURRENCIES], "error_type": "information", **words}
    if field.kind in ("number", "amount", "share"):
        return {"validate": "decimal", **ends}
    if field.kind == "whole":
        return {"validate": "integer", **ends, "maximum": LAST_MONTH if limits.most is None else int(limits.most)}
    if field.kind == "date":
        days = {"minimum": dt.date(2000, 1, 1), "maximum": dt.date(2100, 12, 31)}
        return {"validate": "date", **ends, **days}
    return {"validate": "any"}


# ---------------------------------------------------------------- sheets to be read


def _lists(pen: Pen, worksheet: Worksheet) -> dict[str, str]:
    """Write every choice with its meaning, and give the names of the ranges that hold them."""
    widths = (52, 100)
    for column, width in enumerate(widths):
        worksheet.set_column(column, column, width)
    _title(pen, worksheet, SHEETS[-1].name, widths)
    sheet, row, sources = SHEETS[-1].title(pen.code), TOP, {}
    style = pen.format(border=1, border_color=LINE, align="left", indent=1)
    for choices, names in CHOICES.items():
        worksheet.write_string(row, 0, pen.say(f"list.{choices}"), pen.heading())
        worksheet.write_blank(row, 1, None, pen.heading())
        for number, choice in enumerate(names, start=1):
            worksheet.write_string(row + number, 0, choice_words(choices, choice, pen.code), style)
            worksheet.write_string(row + number, 1, choice_meaning(choices, choice, pen.code), style)
        pen.book.define_name(f"list_{choices}", f"='{sheet}'!$A${row + 2}:$A${row + 1 + len(names)}")
        sources[choices] = f"=list_{choices}"
        row += len(names) + 2
    programmes = next(sheet for sheet in SHEETS if sheet.name == "programmes")
    first, last = column_letters(len(WIDTHS_DOWN)), column_letters(len(WIDTHS_DOWN) + pen.programmes - 1)
    area = f"='{programmes.title(pen.code)}'!${first}${TOP + 2}:${last}${TOP + 2}"
    pen.book.define_name("list_programme", area)
    return {**sources, "programme": "=list_programme"}


def _guide(pen: Pen, worksheet: Worksheet) -> None:
    """What the workbook is, its steps, its sheets, and how to write."""
    widths = (16, 92, 20)
    for column, width in enumerate(widths):
        worksheet.set_column(column, column, width)
    _title(pen, worksheet, SHEETS[0].name, widths)
    plain, border = pen.format(align="left", indent=1), pen.format(border=1, border_color=LINE, align="left", indent=1)
    row = _subtitle(pen, worksheet, TOP, "guide.steps")
    for number in range(1, 7):
        worksheet.write_number(row, 0, number, pen.format(bold=True, font_color=BLUE, align="right"))
        _wide(worksheet, row, pen.say(f"guide.step_{number}"), plain, widths)
        row += 1
    row = _subtitle(pen, worksheet, row + 1, "guide.sheets")
    for column, name in enumerate(("sheet", "asks", "when")):
        worksheet.write_string(row, column, pen.say(f"guide.{name}"), pen.heading())
    for sheet in SHEETS[1:]:
        row += 1
        link = pen.format(font_color=BLUE, underline=1, border=1, border_color=LINE)
        worksheet.write_url(row, 0, _link(sheet, pen.code), link, sheet.title(pen.code))
        worksheet.write_string(row, 1, pen.say(f"asks.{sheet.name}"), border)
        when = pen.say("yes" if sheet.needed else "optional") if sheet.blocks else ""
        worksheet.write_string(row, 2, when, pen.format(border=1, border_color=LINE, bold=sheet.needed))
    row = _subtitle(pen, worksheet, row + 2, "guide.writing")
    samples = {
        "colour_input": pen.format(bg_color=INPUT, border=1, border_color=LINE),
        "colour_missing": pen.format(bg_color=MISSING, border=1, border_color=LINE),
        "colour_example": pen.format(italic=True, font_color=GREY, align="right"),
    }
    rules = ("star", "money", "share", "months", "range", "gaps")
    for name in (*samples, *(f"rule_{rule}" for rule in rules)):
        if name in samples:
            text = pen.say("marker.example") if name == "colour_example" else ""
            worksheet.write_string(row, 0, text, samples[name])
        _wide(worksheet, row, pen.say(f"guide.{name}"), plain, widths)
        row += 1


def _subtitle(pen: Pen, worksheet: Worksheet, row: int, key: str) -> int:
    """Write a heading between paragraphs and give the row below."""
    style = pen.format(bold=True, font_size=13, font_color=BLUE, text_wrap=False)
    worksheet.write_string(row, 0, pen.say(key), style)
    return row + 1


def _wide(worksheet: Worksheet, row: int, text: str, style: Format, widths: Sequence[int]) -> None:
    """A text from the second column to the last."""
    worksheet.merge_range(row, 1, row, len(widths) - 1, "", style)
    worksheet.write_string(row, 1, text, style)
    worksheet.set_row(row, _height([(text, sum(widths[1:]))]))


def _print_setup(pen: Pen, worksheet: Worksheet, sheet: Sheet, lines: Mapping[str, Sequence[Values]]) -> None:
    """Landscape A4, one page wide, headings on every page, name and page number below."""
    worksheet.set_landscape()
    worksheet.set_paper(9)
    short = sheet is SHEETS[0] or (len(sheet.blocks) > 1 and len(lines.get("quarters", ())) <= ONE_PAGE_QUARTERS)
    worksheet.fit_to_pages(1, 1 if short else 0)
    worksheet.set_margins(left=0.4, right=0.4, top=0.5, bottom=0.6)
    worksheet.set_footer(f"&L&9&A&R&9{pen.say('page')} &P/&N")
    if sheet.blocks and len(sheet.blocks) == 1:
        worksheet.repeat_rows(TOP)
