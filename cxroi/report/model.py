"""The report as data: sections of sentences, figures and tables, each with an id; every writer of a format reads this.

All texts are finished (words from the catalogue, numbers formatted) and plain: a writer escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


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
class Figure:
    """A picture: ``image`` in the format ``media``, what it shows in words, its source and n as caption."""

    id: str
    image: bytes
    media: Literal["image/svg+xml", "image/png"]
    alt: str
    caption: str


@dataclass(frozen=True)
class Column:
    """Head of a table's column; numbers stand on the right."""

    label: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table of finished texts; each row as long as ``columns``."""

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
    """The executive report of one run."""

    lang: Literal["vi", "en"]
    title: str
    subtitle: str
    answer: tuple[Sentence, ...]
    key_figures: tuple[KeyFigure, ...]
    sections: tuple[Section, ...]
    links: tuple[Link, ...] = ()
    what_if: WhatIfPanel | None = None
