"""The documents of a run: the executive report and a pack for each leader, in the formats that were asked for.

One report model, one writer a format. Every document is a function of its report: the same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.panel import window
from cxroi.report.company import Assessment
from cxroi.report.html import render_report
from cxroi.report.model import AUDIENCES, Audience, Link, Report
from cxroi.report.packs import pack_link, pack_name, pack_report

Format = Literal["html", "pdf", "xlsx", "pptx"]
FORMATS: tuple[Format, ...] = get_args(Format)
BY_DEFAULT: tuple[Format, ...] = ("html", "pdf")
WRITERS = "cxroi.report.workbook"  # of a workbook; beside it `write_workbook(assessment, language, path)`
REPORT_PDF, SLIDES, WORKBOOK = "report.pdf", "slides.pptx", "workbook.xlsx"


@dataclass(frozen=True)
class Documents:
    """Which documents a run ends in.

    Parameters
    ----------
    formats
        Beside HTML, which every run has: ``pdf``, ``pptx`` and ``xlsx``.
    audiences
        Leaders who get a pack; none: all of them.

    Raises
    ------
    InputError
        If a format or a leader is unknown, or a format cannot be written.
    """

    formats: Sequence[str] = BY_DEFAULT
    audiences: Sequence[str] = ()

    def __post_init__(self) -> None:
        unknown = [each for each in self.formats if each not in FORMATS]
        if unknown:
            raise InputError(
                f"formats must be of {', '.join(FORMATS)}; got {unknown[0]!r}. Example: --formats html,pdf"
            )
        strangers = [each for each in self.audiences if each not in AUDIENCES]
        if strangers:
            raise InputError(
                f"an audience must be one of {', '.join(AUDIENCES)}; got {strangers[0]!r}. Example: --audience cfo"
            )
        if "xlsx" in self.formats and not has_workbook():
            raise InputError(
                "a workbook can't be written by this version; it has no writer of xlsx. Leave xlsx out of --formats."
            )

    @property
    def leaders(self) -> tuple[Audience, ...]:
        """Leaders who get a pack, in their usual order."""
        return tuple(each for each in AUDIENCES if not self.audiences or each in self.audiences)


def formats_of(text: str) -> tuple[str, ...]:
    """Formats written with commas between them, each once.

    >>> formats_of("html, pdf,pdf")
    ('html', 'pdf')
    """
    return tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))


def has_workbook() -> bool:
    """Whether this version can write a workbook."""
    return find_spec(WRITERS) is not None


def rendered(assessment: Assessment, report: Report, language: Language, documents: Documents) -> dict[str, bytes]:
    """Every document but the workbook by its file name.

    Parameters
    ----------
    assessment
        The chain, run.
    report
        The executive report of it.
    language
        As for the report.
    documents
        Formats and leaders.
    """
    packs = [pack_report(each, assessment, report, language) for each in documents.leaders]
    whole = replace(
        report,
        packs=tuple(pack_link(each, language) for each in documents.leaders),
        links=(*_files(documents, language), *report.links),
    )
    packs = [replace(each, packs=_others(each, documents, language)) for each in packs]
    files = {"index.html": render_report(whole).encode()}
    files |= {f"{pack_name(each.audience)}.html": render_report(each).encode() for each in packs if each.audience}
    day = window(assessment.panel)[1]
    if "pdf" in documents.formats:
        from cxroi.report.pdf import render_pdf

        files[REPORT_PDF] = render_pdf(report, day=day)
        files |= {f"{pack_name(each.audience)}.pdf": render_pdf(each, day=day) for each in packs if each.audience}
    if "pptx" in documents.formats:
        from cxroi.report.slides import render_slides

        files[SLIDES] = render_slides(report, day=day)
    return files


def write_workbook_of(assessment: Assessment, folder: Path, language: Language, documents: Documents) -> list[str]:
    """Write the workbook where it is asked for, and give its name."""
    if "xlsx" not in documents.formats:
        return []
    import_module(WRITERS).write_workbook(assessment, language, folder / WORKBOOK)
    return [WORKBOOK]


def _files(documents: Documents, language: Language) -> tuple[Link, ...]:
    """Links to the same report as other files."""
    known = {"pdf": (REPORT_PDF, "report_pdf"), "pptx": (SLIDES, "slides"), "xlsx": (WORKBOOK, "workbook")}
    return tuple(
        Link(page, language.text(f"documents.link.{name}"))
        for each, (page, name) in known.items()
        if each in documents.formats
    )


def _others(pack: Report, documents: Documents, language: Language) -> tuple[Link, ...]:
    """Links of a pack: itself as PDF, and the packs of the other leaders."""
    own: Sequence[Link] = ()
    if "pdf" in documents.formats and pack.audience is not None:
        own = (Link(f"{pack_name(pack.audience)}.pdf", "PDF"),)
    return (*own, *(pack_link(each, language) for each in documents.leaders if each != pack.audience))
