"""PDF pages of a report: A4, tagged (PDF/UA-1), the same bytes for the same report.

Typst sets them from the report as data: no word of a reader's or of the data is ever read as markup, nothing is fetched,
and no font but the package's own is looked for.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import typst

from cxroi.language import Language
from cxroi.report.html import MINUS
from cxroi.report.model import Figure, KeyFigure, Report, Section, Table

WORD_JOINER = "\u2060"  # has no glyph; a sign before a number does not break off without it either
SCALES = (1.0, 0.95, 0.9, 0.86, 0.82, 0.78)  # of letters, until a pack fits its pages
PACK_PAGES = 2
LISTED = ("limits",)
_PAGE_OBJECT = re.compile(rb"/Type\s*/Page\b")
AIR = 1.15  # of a word in bold
SLACK = 0.35  # of what a column's longest cell has beyond its longest word, counted for its share of the width


def render_pdf(report: Report, *, day: dt.date) -> bytes:
    """PDF of a report.

    Parameters
    ----------
    report
        A pack is set in letters small enough for two pages.
    day
        Date of the document: the last one of its data, so that a rerun gives the same bytes.
    """
    source, pictures = json.dumps(_document(report, day), ensure_ascii=False), _pictures(report)
    pages = b""
    for scale in SCALES:
        pages = _compiled(source, pictures, scale)
        if report.audience is None or page_count(pages) <= PACK_PAGES:
            break
    return pages


def page_count(pdf: bytes) -> int:
    """Pages of a PDF that this module wrote."""
    return len(_PAGE_OBJECT.findall(pdf))


def _compiled(source: str, pictures: dict[str, bytes], scale: float) -> bytes:
    with as_file(files("cxroi").joinpath("fonts")) as fonts:
        compiled: Callable[..., bytes] = typst.compile  # also takes files by name, which its stub does not know
        return compiled(
            {"main": _template(), **pictures},
            font_paths=[str(fonts)],
            ignore_system_fonts=True,
            format="pdf",
            sys_inputs={"report": source, "scale": str(scale)},
            pdf_standards=["ua-1"],
        )


@cache
def _template() -> bytes:
    return files("cxroi.report").joinpath("templates", "report.typ").read_bytes()


def _pictures(report: Report) -> dict[str, bytes]:
    return {_file(each): each.image for each in report.exhibits if isinstance(each, Figure)}


def _file(figure: Figure) -> str:
    return f"{figure.id}.{'svg' if figure.media == 'image/svg+xml' else 'png'}"


def _document(report: Report, day: dt.date) -> dict[str, Any]:
    """The report as the template reads it."""
    language = Language(report.lang)
    first, further = report.key_figures[: report.leading], report.key_figures[report.leading :]
    opening = report.answer[:1]
    if report.audience is not None:
        first, further, opening = report.key_figures, (), report.answer
    return {
        "lang": report.lang,
        "audience": report.audience,
        "year": day.year,
        "month": day.month,
        "day": day.day,
        "title": _words(report.title),
        "subtitle": _words(report.subtitle),
        "decision": _words(report.decision.text) if report.decision else "",
        "answer": [_words(each.text) for each in opening],
        "more": [_words(each.text) for each in report.answer[len(opening) :]],
        "plain": [_words(each.text) for each in report.plain],
        "plain_title": language.text("documents.plain_title"),
        "leading": [_card(each) for each in first],
        "further": [_card(each) for each in further],
        "further_title": language.text("documents.further_title"),
        "picture": None if report.picture is None else _exhibit(report.picture),
        "sections": [_section(each, language) for each in report.sections],
        "contents": "" if report.audience is not None else language.text("page.contents"),
        "evidence": language.text("page.evidence"),
        "page": language.text("documents.page"),
        "footer": _words(report.title),
    }


def _section(section: Section, language: Language) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": _words(section.title),
        "kicker_title": language.text("executive.chain.title") if section.id == "chain-1" else "",
        "listed": section.id in LISTED,
        "sentences": [_words(each.text) for each in section.sentences],
        "exhibits": [_exhibit(each) for each in section.exhibits],
    }


def _exhibit(exhibit: Figure | Table) -> dict[str, Any]:
    if isinstance(exhibit, Figure):
        return {
            "kind": "figure",
            "file": _file(exhibit),
            "alt": _words(exhibit.alt),
            "caption": _words(exhibit.caption),
        }
    return {
        "kind": "table",
        "caption": _words(exhibit.caption),
        "heads": [_words(each.label) for each in exhibit.columns],
        "numbers": [each.is_number for each in exhibit.columns],
        "widths": _widths(exhibit),
        "rows": [[_words(cell) for cell in row] for row in exhibit.rows],
    }


def _widths(table: Table) -> list[int]:
    """Share of the width of each column; 0 for one that is as wide as its numbers."""
    return [
        0 if column.is_number else _letters([column.label, *(row[at] for row in table.rows)])
        for at, column in enumerate(table.columns)
    ]


def _letters(cells: Sequence[str]) -> int:
    """Letters that a column is as wide as: its longest word, and some of what its longest cell has more."""
    word = max(len(part) for cell in cells for part in cell.split(" "))
    return math.ceil(AIR * word + 2 + SLACK * (max(map(len, cells)) - word))


def _card(figure: KeyFigure) -> dict[str, str]:
    return {name: _words(getattr(figure, name)) for name in ("label", "value", "interval", "evidence")}


def _words(text: str) -> str:
    return MINUS.sub("\u2011", text.replace(WORD_JOINER, ""))
