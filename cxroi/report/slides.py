"""Slides of the executive report: charts that a reader can edit, caveats in the notes, the same bytes for the same report.

A slide states its finding as title and shows one thing. What a chart cannot be drawn from as numbers stands as a table.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.dml.color import RGBColor
from pptx.enum.chart import XL_CHART_TYPE, XL_LEGEND_POSITION, XL_MARKER_STYLE, XL_TICK_LABEL_POSITION
from pptx.enum.dml import MSO_LINE
from pptx.enum.text import MSO_ANCHOR, PP_ALIGN
from pptx.util import Emu, Pt

from cxroi.language import Language
from cxroi.report.html import MINUS
from cxroi.report.model import Chart, Figure, KeyFigure, Report, Section, Series, Table

FONT = "Arial"  # on every machine that shows slides, with all Vietnamese letters
WIDTH, HEIGHT = Emu(12_192_000), Emu(6_858_000)  # 16:9
LEFT, TOP, BREADTH, BOTTOM = Emu(560_000), Emu(1_500_000), Emu(11_072_000), Emu(6_330_000)
KINDS = {"line": XL_CHART_TYPE.LINE, "column": XL_CHART_TYPE.COLUMN_CLUSTERED, "bar": XL_CHART_TYPE.BAR_CLUSTERED}
MOST_ROWS, FEW_ROWS, MOST_TICKS = 11, 6, 13
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a file in an archive
_CREATED = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*(</dcterms:)")
_JOINER = "\u2060"


def _colour(name: str) -> Any:
    """Colour written ``#rrggbb``."""
    return RGBColor(*(int(name[at : at + 2], 16) for at in (1, 3, 5)))  # type: ignore[no-untyped-call]


INK, SOFT, BLUE, TINT, LINE, WHITE = map(_colour, ("#1a1a1a", "#595959", "#0072b2", "#f3f6f9", "#d9d9d9", "#ffffff"))


@dataclass(frozen=True)
class Slide:
    """What a slide holds: its finding as title, what stands above it, sentences, at most one exhibit, and the notes."""

    title: str
    kicker: str = ""
    sentences: tuple[str, ...] = ()
    exhibit: Figure | Table | None = None
    figures: tuple[KeyFigure, ...] = ()
    notes: tuple[str, ...] = ()
    is_opening: bool = False


def render_slides(report: Report, *, day: dt.date) -> bytes:
    """PPTX file of an executive report, 16:9.

    Parameters
    ----------
    report
        The executive report.
    day
        Date of the file: the last one of its data, so that a rerun gives the same bytes.
    """
    deck = Presentation()
    deck.slide_width, deck.slide_height = WIDTH, HEIGHT
    properties = deck.core_properties
    properties.title, properties.author, properties.last_modified_by = report.title, "cxroi", "cxroi"
    properties.language, properties.revision = report.lang, 1
    properties.created = properties.modified = dt.datetime.combine(day, dt.time())
    slides = list(slides_of(report))
    for number, each in enumerate(slides, start=1):
        _draw(deck, each, report, number, len(slides))
    made = io.BytesIO()
    deck.save(made)
    return _timeless(made.getvalue(), day)


def slides_of(report: Report) -> Iterator[Slide]:
    """The slides of a report in their order; parts that the data do not allow are left out, but for the reason in the answer."""
    language = Language(report.lang)
    caveats = tuple(each.text for each in _sentences(report, "limits"))
    plain = tuple(each.text for each in report.plain)
    decision = report.decision.text if report.decision else ""
    yield Slide(
        report.title,
        report.subtitle,
        (decision, report.answer[0].text),
        notes=(*(each.text for each in report.answer), *caveats),
        is_opening=True,
    )
    first = report.key_figures[: report.leading]
    yield Slide(
        language.text("documents.slide.minute"),
        sentences=plain,
        figures=first,
        notes=(*(each.text for each in report.answer[1:]), *caveats),
    )
    for name, key in (("chain-1", "said"), ("chain-2", "did"), ("chain-4", "worth")):
        yield from _chain(report, name, language.text(f"documents.slide.{key}"))
    if report.picture is not None:
        words = [report.answer[0].text, *_texts(report, "chain-5")[1:]]
        yield _exhibit(report.picture, report.picture.finding, language.text("documents.slide.cash"), language, words)
    yield from _chain(report, "chain-5", language.text("documents.slide.scenarios"))
    tornado = report.exhibit("figure-tornado")
    if isinstance(tornado, Figure):
        kicker = language.text("documents.slide.against_median")
        yield _exhibit(tornado, tornado.finding, kicker, language, _texts(report, "change"))
    for name, section, key in (("table-costs", "assumptions", "costs"), ("table-benefits", "benefits", "benefits")):
        table = report.exhibit(name)
        if isinstance(table, Table):
            words = _texts(report, section)
            yield Slide(
                language.text(f"documents.slide.{key}"),
                sentences=tuple(words[:1]) if section == "benefits" else (),
                exhibit=table,
                notes=(table.caption, *words),
            )
    sure = _section(report, "sure")
    limits = f"{_section(report, 'limits').title}:" if caveats else ""
    yield Slide(
        sure.title,
        sentences=(*(each.text for each in sure.sentences), limits, *caveats),
        notes=tuple(each.text for each in report.answer[1:]),
    )
    checks = report.exhibit("table-check-board")
    yield Slide(
        language.text("documents.slide.next"),
        sentences=(decision,),
        exhibit=checks,
        notes=(report.answer[-1].text, *caveats),
    )


def _chain(report: Report, name: str, kicker: str) -> Iterator[Slide]:
    """A link of the chain; nothing where it has no figure."""
    section = _section(report, name)
    figures = [each for each in section.exhibits if isinstance(each, Figure)]
    if figures:
        yield _exhibit(figures[0], section.title, kicker, Language(report.lang), _texts(report, name)[1:])


def _exhibit(figure: Figure, title: str, kicker: str, language: Language, words: Sequence[str]) -> Slide:
    notes = (
        language.text("documents.slide.note_source", caption=figure.caption),
        language.text("documents.slide.note_alt", alt=figure.alt),
        *words,
    )
    return Slide(title, kicker, exhibit=figure, notes=notes)


def _section(report: Report, name: str) -> Section:
    return next(each for each in report.sections if each.id == name)


def _sentences(report: Report, name: str) -> Sequence[Any]:
    return _section(report, name).sentences


def _texts(report: Report, name: str) -> list[str]:
    return [each.text for each in _sentences(report, name)]


# -------------------------------------------------------------------------------------------------------------- drawing


def _draw(deck: Any, slide: Slide, report: Report, number: int, count: int) -> None:
    page = deck.slides.add_slide(deck.slide_layouts[5])  # a title only, which readers of screens announce
    if slide.is_opening:
        _open(page, slide)
        page.notes_slide.notes_text_frame.text = "\n".join(_plain(each) for each in slide.notes)
        return
    title = page.shapes.title
    title.left, title.top, title.width, title.height = LEFT, Emu(560_000), BREADTH, Emu(860_000)
    _write(title.text_frame, [slide.title], size=24 if len(slide.title) < 90 else 19, bold=True, anchor=MSO_ANCHOR.TOP)
    if slide.kicker:
        _box(page, slide.kicker, LEFT, Emu(280_000), BREADTH, Emu(300_000), size=13, colour=BLUE, bold=True)
    top = TOP
    if slide.figures:
        top = _cards(page, slide.figures, report, top)
    if slide.sentences:
        height = Emu(BOTTOM - top) if slide.exhibit is None else Emu(620_000)
        size = 18 if sum(map(len, slide.sentences)) < 700 else 14
        _box(page, slide.sentences, LEFT, top, BREADTH, height, size=size if slide.exhibit is None else 13)
        top = Emu(top + height)
    if isinstance(slide.exhibit, Table):
        _table(page, slide.exhibit, top)
    elif isinstance(slide.exhibit, Figure):
        _figure(page, slide.exhibit, top, Language(report.lang))
    foot = f"{report.title}  ·  {number} / {count}"
    _box(page, foot, LEFT, Emu(6_430_000), BREADTH, Emu(260_000), size=10, colour=SOFT)
    page.notes_slide.notes_text_frame.text = "\n".join(_plain(each) for each in slide.notes)


def _open(page: Any, slide: Slide) -> None:
    """The first slide: the question, what is to be decided, and the answer."""
    title = page.shapes.title
    title.left, title.top, title.width, title.height = LEFT, Emu(1_000_000), BREADTH, Emu(1_300_000)
    _write(
        title.text_frame, [slide.title], size=36 if len(slide.title) < 70 else 28, bold=True, anchor=MSO_ANCHOR.BOTTOM
    )
    _box(page, slide.kicker, LEFT, Emu(2_350_000), BREADTH, Emu(350_000), size=14, colour=SOFT)
    decision, *answer = slide.sentences
    box = page.shapes.add_textbox(LEFT, Emu(2_900_000), BREADTH, Emu(1_250_000))
    box.fill.solid()
    box.fill.fore_color.rgb = BLUE
    box.text_frame.margin_left = box.text_frame.margin_right = Emu(180_000)
    _write(box.text_frame, [decision], size=18, colour=WHITE, bold=True, anchor=MSO_ANCHOR.MIDDLE)
    _box(page, answer, LEFT, Emu(4_400_000), BREADTH, Emu(1_500_000), size=18)


def _figure(page: Any, figure: Figure, top: Emu, language: Language) -> None:
    """A chart of its own where the figure has numbers, with its caption; its words where it has none."""
    if figure.chart is None:
        _box(page, figure.alt, LEFT, top, BREADTH, Emu(BOTTOM - top), size=18)
        return
    frame = _chart(page, figure.chart, top, Emu(BOTTOM - 420_000 - top))
    _describe(frame, figure.alt)
    words = f"{language.text('documents.slide.unit', unit=figure.chart.unit)} {figure.caption}"
    _box(page, words, LEFT, Emu(BOTTOM - 400_000), BREADTH, Emu(420_000), size=11, colour=SOFT)


def _chart(page: Any, chart: Chart, top: Emu, height: Emu) -> Any:
    data = CategoryChartData(number_format=chart.number_format)  # type: ignore[no-untyped-call]
    data.categories = [_plain(each) for each in chart.categories]
    for series in chart.series:
        data.add_series(_plain(series.name), series.values)  # type: ignore[no-untyped-call]
    frame = page.shapes.add_chart(KINDS[chart.kind], LEFT, top, BREADTH, height, data)
    drawn = frame.chart
    drawn.font.size, drawn.font.name, drawn.font.color.rgb = Pt(13), FONT, INK
    drawn.has_title = False
    drawn.has_legend = len(chart.series) > 1
    if drawn.has_legend:
        drawn.legend.position, drawn.legend.include_in_layout = XL_LEGEND_POSITION.BOTTOM, False
    plot, values, names = drawn.plots[0], drawn.value_axis, drawn.category_axis
    values.has_major_gridlines, values.tick_labels.number_format = True, chart.number_format
    values.tick_labels.number_format_is_linked = False
    values.major_gridlines.format.line.color.rgb = LINE
    values.format.line.fill.background()
    if chart.ceiling is not None:
        values.maximum_scale = chart.ceiling
    names.tick_label_position = XL_TICK_LABEL_POSITION.LOW
    if chart.kind == "line" and len(chart.categories) > MOST_TICKS:
        _thin(names, len(chart.categories))
    for shown, series in zip(plot.series, chart.series, strict=True):
        colour = _colour(series.colour)
        if chart.kind == "line":
            shown.smooth, shown.format.line.color.rgb = False, colour
            shown.format.line.width = Pt(1.5 if series.is_dashed else 3)
            if series.is_dashed:
                shown.format.line.dash_style = MSO_LINE.DASH
            shown.marker.style = XL_MARKER_STYLE.NONE
        else:
            shown.format.fill.solid()
            shown.format.fill.fore_color.rgb, shown.invert_if_negative = colour, False
        _label(shown, series)
    if chart.kind != "line":
        plot.gap_width, plot.overlap = 60, 100
        values.visible = values.has_major_gridlines = not all(series.labels for series in chart.series)
    return frame


def _label(shown: Any, series: Series) -> None:
    """Finished texts beside points: in the reader's language whatever the program writes numbers in."""
    for at, words in enumerate(series.labels):
        if words:
            label = shown.points[at].data_label
            _paragraph(label.text_frame.paragraphs[0], words, size=13, bold=True)


def _thin(axis: Any, count: int) -> None:
    """Name only every so many categories, so that names do not lie on one another."""
    step = str(-(-count // MOST_TICKS))
    for name in ("c:tickLblSkip", "c:tickMarkSkip"):
        element = axis._element.makeelement(_qualified(name), {"val": step})
        axis._element.find(_qualified("c:noMultiLvlLbl")).addprevious(element)


def _qualified(name: str) -> str:
    return "{http://schemas.openxmlformats.org/drawingml/2006/chart}" + name.partition(":")[2]


def _table(page: Any, table: Table, top: Emu) -> None:
    rows = table.rows[:MOST_ROWS]
    shape = page.shapes.add_table(len(rows) + 1, len(table.columns), LEFT, top, BREADTH, Emu(300_000 * (len(rows) + 1)))
    _describe(shape, table.caption)
    grid = shape.table
    letters = [
        max(len(column.label), *(len(row[at]) for row in rows), 8) if rows else 8
        for at, column in enumerate(table.columns)
    ]
    shares = [min(each, 40) + 6 for each in letters]  # a date must not be broken
    for at, share in enumerate(shares):
        grid.columns[at].width = Emu(round(BREADTH * share / sum(shares)))
    for line, cells in enumerate([tuple(column.label for column in table.columns), *rows]):
        for at, words in enumerate(cells):
            cell = grid.cell(line, at)
            cell.margin_left = cell.margin_right = Emu(70_000)
            cell.margin_top = cell.margin_bottom = Emu(25_000)
            cell.fill.solid()
            cell.fill.fore_color.rgb = BLUE if line == 0 else TINT if line % 2 else WHITE
            align = PP_ALIGN.RIGHT if table.columns[at].is_number else PP_ALIGN.LEFT
            colour = WHITE if line == 0 else INK
            _write(
                cell.text_frame,
                [words],
                size=11 if len(rows) > FEW_ROWS else 14,
                bold=line == 0,
                colour=colour,
                align=align,
            )


def _cards(page: Any, figures: Sequence[KeyFigure], report: Report, top: Emu) -> Emu:
    """Key figures side by side; the place below them."""
    gap, height = Emu(200_000), Emu(1_900_000)
    width = Emu((BREADTH - gap * (len(figures) - 1)) // len(figures))
    language = Language(report.lang)
    for at, each in enumerate(figures):
        box = page.shapes.add_textbox(Emu(LEFT + at * (width + gap)), top, width, height)
        box.fill.solid()
        box.fill.fore_color.rgb = TINT
        box.line.color.rgb = BLUE
        frame = box.text_frame
        _write(frame, [each.label], size=12, colour=SOFT)
        for words, size, bold in (
            (each.value, 24, True),
            (each.interval, 11, False),
            (f"{language.text('page.evidence')}: {each.evidence}", 11, False),
        ):
            _paragraph(frame.add_paragraph(), words, size=size, bold=bold)
    return Emu(top + height + 200_000)


def _box(
    page: Any,
    words: str | Sequence[str],
    left: Emu,
    top: Emu,
    width: Emu,
    height: Emu,
    *,
    size: int,
    colour: Any = INK,
    bold: bool = False,
) -> None:
    box = page.shapes.add_textbox(left, top, width, height)
    _write(box.text_frame, [words] if isinstance(words, str) else list(words), size=size, colour=colour, bold=bold)


def _write(
    frame: Any,
    lines: Sequence[str],
    *,
    size: int,
    colour: Any = INK,
    bold: bool = False,
    align: Any = PP_ALIGN.LEFT,
    anchor: Any = MSO_ANCHOR.TOP,
) -> None:
    frame.word_wrap, frame.vertical_anchor = True, anchor
    for at, words in enumerate(lines):
        paragraph = frame.paragraphs[0] if at == 0 else frame.add_paragraph()
        _paragraph(paragraph, words, size=size, colour=colour, bold=bold)
        paragraph.alignment = align
        paragraph.space_after = Pt(size / 2) if len(lines) > 1 else Pt(0)


def _paragraph(paragraph: Any, words: str, *, size: int, colour: Any = INK, bold: bool = False) -> None:
    run = paragraph.add_run()
    run.text = _plain(words)
    run.font.size, run.font.bold, run.font.name = Pt(size), bold, FONT
    run.font.color.rgb = colour


def _describe(shape: Any, words: str) -> None:
    """Words of a shape for those who do not see it."""
    shape._element.xpath(".//p:cNvPr")[0].set("descr", _plain(words))


def _plain(words: str) -> str:
    """Text without joiners, which some fonts show, and without signs that a slide cannot hold; a minus keeps to its number."""
    whole = MINUS.sub("\u2212", words)
    return "".join(sign for sign in whole if sign != _JOINER and (sign.isprintable() or sign in "\n\u00a0"))


# ---------------------------------------------------------------------------------------------------------- same bytes


def _timeless(archive: bytes, day: dt.date) -> bytes:
    """The archive with one date for every file in it, in the workbooks inside it too."""
    made = io.BytesIO()
    stamp = dt.datetime.combine(day, dt.time()).isoformat() + "Z"
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".xlsx"):
                content = _timeless(content, day)
            elif name == "docProps/core.xml":
                content = _CREATED.sub(rb"\g<1>" + stamp.encode() + rb"\g<3>", content)
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o600 << 16, 3
            target.writestr(entry, content)
    return made.getvalue()
