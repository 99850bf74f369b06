"""The report as data: sections of sentences, figures and tables, each with an id; every writer of a format reads this.

All texts are finished (words from the catalogue, numbers formatted) and plain: a writer escapes them. One id has one
text, in whichever document it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Audience = Literal["board", "cfo", "marketing", "sales", "service", "hr", "data", "cx"]
AUDIENCES: tuple[Audience, ...] = get_args(Audience)
"""Leaders who get a pack of their own."""


@dataclass(frozen=True)
class Sentence:
    """One computed sentence."""

    id: str
    text: str


@dataclass(frozen=True)
class KeyFigure:
    """A number that a leader reads first, never without its range and its grade of evidence."""

    id: str
    label: str
    value: str
    interval: str
    evidence: str


@dataclass(frozen=True)
class Series:
    """One series of a chart: its name, a number a category (None where there is none), its colour as ``#rrggbb``.

    ``labels`` are finished texts beside the points, a category each, empty for none; no labels: none at all.
    """

    name: str
    values: tuple[float | None, ...]
    colour: str
    is_dashed: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chart:
    """What a figure draws, as numbers, for writers whose reader can edit a chart.

    Attributes
    ----------
    kind
        ``line``; ``column`` or ``bar`` (upright or lying; the bars of one category lie on one another).
    categories
        Finished texts along the axis.
    series
        In the unit of the axis.
    number_format
        How the axis writes numbers, as a spreadsheet spells it.
    unit
        Of the values, in words; with the scale where they were divided by one.
    ceiling
        Largest value that is possible; None where there is none.
    """

    kind: Literal["line", "column", "bar"]
    categories: tuple[str, ...]
    series: tuple[Series, ...]
    number_format: str
    unit: str
    ceiling: float | None = None


@dataclass(frozen=True)
class Figure:
    """A picture: ``image`` in the format ``media``, what it shows in words, its source and n as caption.

    ``chart`` holds its numbers and ``finding`` what is found in it, for writers that draw it anew and give it a title.
    """

    id: str
    image: bytes
    media: Literal["image/svg+xml", "image/png"]
    alt: str
    caption: str
    chart: Chart | None = None
    finding: str = ""


@dataclass(frozen=True)
class Column:
    """Head of a table's column; numbers stand on the right."""

    label: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table of finished texts; each row as long as ``columns``, its first cell the head of the row."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the report: its sentences, then its figures and tables in order."""

    id: str
    title: str
    sentences: tuple[Sentence, ...] = ()
    exhibits: tuple[Figure | Table, ...] = ()


@dataclass(frozen=True)
class Link:
    """A page beside the report: ``page`` is its file name in the run's folder."""

    page: str
    label: str


@dataclass(frozen=True)
class Lever:
    """An assumption that a reader can move: its ``stops`` in words, and at which of them it stands at first."""

    id: str
    label: str
    stops: tuple[str, ...]
    base: int


@dataclass(frozen=True)
class WhatIfPanel:
    """A part of the page that recomputes one future of the case in the reader's browser.

    ``figures`` are ``(id, label, value)`` of the base; ``data`` is what the page's script computes with, as JSON.
    """

    title: str
    sentences: tuple[Sentence, ...]
    levers: tuple[Lever, ...]
    figures: tuple[tuple[str, str, str], ...]
    data: str


@dataclass(frozen=True)
class Report:
    """A report of one run: that of the executives, or the pack of one leader.

    Attributes
    ----------
    lang, title, subtitle
        Of the document.
    answer
        What comes first.
    key_figures
        The first ``leading`` of them stand on the first screen, the rest below it.
    sections, links
        In their order; links to what stands beside.
    id
        ``index`` or the leader's name: the document's name in the run's folder.
    audience
        Whom it is for; None: everybody.
    decision
        What is asked of the reader.
    plain
        What to make of the figures, for a reader without statistics.
    picture
        The one picture of the first screen.
    packs
        Documents for single leaders beside this one.
    what_if
        The part in which the reader moves assumptions.
    """

    lang: Literal["vi", "en"]
    title: str
    subtitle: str
    answer: tuple[Sentence, ...]
    key_figures: tuple[KeyFigure, ...]
    sections: tuple[Section, ...]
    links: tuple[Link, ...] = ()
    id: str = "index"
    audience: Audience | None = None
    decision: Sentence | None = None
    plain: tuple[Sentence, ...] = ()
    picture: Figure | None = None
    packs: tuple[Link, ...] = ()
    leading: int = 3
    what_if: WhatIfPanel | None = None

    @property
    def exhibits(self) -> Iterator[Figure | Table]:
        """Every figure and table in the order of the document."""
        if self.picture is not None:
            yield self.picture
        for section in self.sections:
            yield from section.exhibits

    def exhibit(self, name: str) -> Figure | Table | None:
        """The figure or table of an id; None where the document has none."""
        return next((each for each in self.exhibits if each.id == name), None)


def words_by_id(report: Report) -> dict[str, tuple[str, ...]]:
    """Every text of a report by the id of what it stands in: sentences, key figures, sections, rows of tables, figures.

    >>> words_by_id(Report("en", "Title", "", (Sentence("answer-1", "Yes."),), (), ()))
    {'title': ('Title',), 'answer-1': ('Yes.',)}
    """
    found: dict[str, tuple[str, ...]] = {"title": (report.title,)}
    if report.subtitle:
        found["subtitle"] = (report.subtitle,)
    sentences = [*report.answer, *report.plain, *([report.decision] if report.decision else [])]
    for section in report.sections:
        found[f"section {section.id}"] = (section.title,)
        sentences += section.sentences
    found |= {each.id: (each.text,) for each in sentences}
    found |= {each.id: (each.label, each.value, each.interval, each.evidence) for each in report.key_figures}
    for exhibit in report.exhibits:
        if isinstance(exhibit, Figure):
            found[exhibit.id] = (exhibit.alt, exhibit.caption)
        else:
            found[exhibit.id] = (exhibit.caption, *(each.label for each in exhibit.columns))
            found |= {f"{exhibit.id} {at}": row for at, row in enumerate(exhibit.rows, start=1)}
    found |= {each.page: (each.label,) for each in (*report.packs, *report.links)}
    return found
