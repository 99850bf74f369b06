"""Workbook for finance: the answer, one future of the case as live formulas, and the data behind, in either language."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from cxroi.case import BusinessCase
from cxroi.case.what_if import WhatIf, median_future, what_if
from cxroi.language import Language
from cxroi.report import show
from cxroi.report.answer import answer, question, subtitle
from cxroi.report.company import Assessment
from cxroi.report.key_figures import key_figures
from cxroi.report.what_if import script_words
from cxroi.report.wording import reason_words
from cxroi.report.workbook_model import (
    FIRST,
    HEAD,
    RESULTS,
    Pages,
    charts,
    counts_out,
    result_column,
    shown,
    style_of,
    write_model,
)
from cxroi.spreadsheet import neutral

CREATED = dt.datetime(2000, 1, 1)
"""The same for every workbook, so that the same figures give the same bytes."""

LONGEST = 32_000
_TINT, _INPUT, _EDGE, _BLUE, _SOFT = "#F5F7F9", "#FFF6D6", "#E3CF8B", "#0072B2", "#555555"


def write_workbook(assessment: Assessment, language: Language, path: str | Path) -> None:
    """Write an assessment as a workbook; the same figures give the same bytes.

    Sheets: a summary; where a case is valued, the median future of it as formulas with named input cells (assumptions,
    cash flows by month, value of a point by quarter, costs by month); then scores by period with small groups left
    empty, estimates and the figures of the case. Without a case the summary says why nothing is computed.

    Parameters
    ----------
    assessment : Assessment
    language : Language
        Of sheets, words and formats; money in the currency of the case where there is one.
    path : str or Path
        File to write, ending in ``.xlsx``.
    """
    model = _model(assessment)
    if isinstance(model, WhatIf):
        language = Language(language.code, model.currency, language.outcome_period, language.outcome_follows)
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with Workbook(str(path), {**options, "default_date_format": "yyyy-mm-dd"}) as book:
        book.set_properties({"title": question(assessment, language), "author": "cxroi", "created": CREATED})
        pages = Pages(book, language, _formats(book, language))
        summary = pages.sheet("summary")
        if isinstance(model, WhatIf) and isinstance(assessment.decision, BusinessCase):
            write_model(pages, model, assessment.decision.case.start)
        _summary(pages, summary, assessment, model)
        _data(pages, assessment)


def _model(assessment: Assessment) -> WhatIf | str:
    """The future that the workbook computes, or why there is none."""
    if not isinstance(assessment.decision, BusinessCase):
        return assessment.decision
    model = median_future(assessment.decision)
    if isinstance(model, WhatIf) and not counts_out(model):
        return "finance_workbook.too_many"
    return model


def _formats(book: Workbook, language: Language) -> dict[str, Format]:
    """Cell formats by name; input cells are tinted."""
    money = _money_format(language)
    plain = {"font_name": "Calibri", "font_size": 10, "valign": "top"}
    numbers = {
        "money": money,
        "amount": "#,##0",
        "number": "#,##0.00",
        "whole": "#,##0",
        "percent": "0.0%",
        "factor": "0.0000",
    }
    numbers["months"] = f'#,##0.0"{language.text("executive.months", number="")}"'
    looks: dict[str, dict[str, Any]] = {
        "title": {"bold": True, "font_size": 16, "font_color": _BLUE},
        "section": {"bold": True, "font_size": 12, "font_color": _BLUE},
        "note": {"italic": True, "font_color": _SOFT},
        "text": {},
        "wrap": {"text_wrap": True},
        "lead": {"text_wrap": True, "bold": True, "font_size": 12, "bg_color": _TINT},
        "answer": {"text_wrap": True, "font_size": 11, "bg_color": _TINT},
        "strong": {"text_wrap": True, "bold": True},
        "head": {"bold": True, "bottom": 1, "text_wrap": True},
        "head_right": {"bold": True, "bottom": 1, "align": "right", "text_wrap": True},
        "head_wrap": {"bold": True, "bottom": 1, "text_wrap": True, "align": "right", "valign": "bottom"},
        "date": {"num_format": "yyyy-mm-dd"},
        "general": {"num_format": "General"},
        "total": {"num_format": "#,##0", "bold": True, "font_color": _BLUE},
        **{name: {"num_format": code} for name, code in numbers.items()},
        **{
            f"in_{name}": {"num_format": code, "bg_color": _INPUT, "border": 1, "border_color": _EDGE, "align": "right"}
            for name, code in numbers.items()
        },
    }
    return {name: book.add_format({**plain, **look}) for name, look in looks.items()}


def _money_format(language: Language) -> str:
    """Number format of whole amounts, the currency on the side where the language has it."""
    if not language.currency:
        return "#,##0"
    before, _, after = script_words(language)["above"].partition("{number}")
    start, end = (f'"{part}"' if part else "" for part in (before, after))
    return f"{start}#,##0{end};-{start}#,##0{end}"


def _summary(pages: Pages, sheet: Worksheet, assessment: Assessment, model: WhatIf | str) -> None:
    """Question, answer, key figures, the figures of the computed future and its charts."""
    language, formats = pages.language, pages.formats
    text = language.text
    for column, width in enumerate((46, 24, 24, 38, 22)):
        sheet.set_column(column, column, width)
    sheet.fit_to_pages(1, 1)
    row = 1
    words = [(question(assessment, language), "lead"), (subtitle(assessment, language), "wrap")]
    words += [(sentence, "answer") for sentence in answer(assessment, language)]
    for sentence, style in words:
        sheet.merge_range(row, 0, row, 4, neutral(sentence), formats[style])
        sheet.set_row(row, 15 * math.ceil(len(sentence) / 135) + 4)
        row += 1
    row += 1
    for column, head in enumerate(("key_figure", "value", "range", "", "evidence")):
        sheet.write_string(row, column, text(f"finance_workbook.column.{head}") if head else "", formats["head"])
    for figure in key_figures(assessment, language):
        row += 1
        sheet.write_string(row, 0, neutral(figure.label), formats["wrap"])
        sheet.write_string(row, 1, figure.value, formats["strong"])  # a number that Python wrote, also with a sign
        sheet.merge_range(row, 2, row, 3, neutral(figure.interval), formats["wrap"])
        sheet.write_string(row, 4, neutral(figure.evidence), formats["wrap"])
        sheet.set_row(row, 13.5 * max(math.ceil(len(figure.interval) / 66), math.ceil(len(figure.label) / 48)) + 3)
    row += 2
    if isinstance(model, str):
        reason = text(model) if model.startswith("finance_workbook.") else reason_words(model, language)
        sheet.merge_range(row, 0, row, 4, neutral(text("finance_workbook.no_model", reason=reason)), formats["wrap"])
        return
    sheet.write_string(row, 0, text("finance_workbook.model"), formats["section"])
    side = result_column(model)
    for at, name in enumerate(RESULTS):
        style = formats[style_of(name)]
        sheet.write_string(row + 2 + at, 0, text(f"executive.measure.{name}"), formats["text"])
        for column, formula in ((1, pages.cell("assumptions", FIRST + at, side + 1)), (2, f"result_{name}")):
            sheet.write_formula(row + 2 + at, column, f"={formula}", style, _base(pages, model, name))
    for column, head in ((1, "base"), (2, "now")):
        sheet.write_string(row + 1, column, text(f"finance_workbook.column.{head}"), formats["head_right"])
    charts(pages, sheet, model, row + 3 + len(RESULTS))


def _base(pages: Pages, model: WhatIf, name: str) -> float | str:
    return shown(pages, name, getattr(what_if(model, model.inputs), name))


def _data(pages: Pages, assessment: Assessment) -> None:
    """Scores by period, estimates and the figures of the case, a sheet each."""
    known = [frame for frame in assessment.scores.values() if not isinstance(frame, str)]
    if known:
        _frame(pages, "scores", pd.concat(known, ignore_index=True), "")
    _frame(pages, "estimates", assessment.estimates.with_evidence(), "estimates.csv")
    if isinstance(assessment.decision, BusinessCase):
        _frame(pages, "case", assessment.decision.tidy(), "case.csv")


def _frame(pages: Pages, name: str, frame: pd.DataFrame, file: str) -> None:
    """A tidy frame: heads and known words in the language, numbers as numbers, what is missing or suppressed empty."""
    sheet, language, formats = pages.sheet(name), pages.language, pages.formats
    if file:
        note = language.text("finance_workbook.data", file=file, n=language.number(len(frame)))
        sheet.write_string(1, 0, note, formats["note"])
    for at, column in enumerate(frame.columns):
        sheet.write_string(HEAD, at, neutral(show.header(str(column), language)), formats["head"])
    for row, record in enumerate(frame.to_dict("records"), start=FIRST):
        for at, (name_of, value) in enumerate(record.items()):
            _cell(pages, sheet, row, at, str(name_of), value, record)
    sheet.freeze_panes(FIRST, 0)
    if len(frame):
        sheet.autofilter(HEAD, 0, HEAD + len(frame), len(frame.columns) - 1)
    sheet.set_column(0, len(frame.columns) - 1, 16)


def _cell(
    pages: Pages, sheet: Worksheet, row: int, at: int, column: str, value: object, record: Mapping[Any, Any]
) -> None:
    if isinstance(value, (bool, str)) or type(value).__name__ == "bool":
        flag = value if isinstance(value, str) else bool(value)
        words = show.cell(column, {**record, column: flag}, pages.language)
        sheet.write_string(row, at, neutral(words)[:LONGEST], pages.formats["text"])
    elif isinstance(value, (int, float)) and math.isfinite(value):
        sheet.write_number(row, at, value, pages.formats["general"])
