"""What all figures share: paper, colours, letters, places of words, the picture in words and as SVG."""

from __future__ import annotations

import io
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import as_file, files
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from cxroi.errors import InputError
from cxroi.language import Language

Floats = NDArray[np.float64]
Format = Callable[[float], str]

BLUE, RED, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"  # Okabe and Ito
INK, SOFT, LINE, TINT = "#1a1a1a", "#595959", "#c8c8c8", "#dbe9f4"
SERIES = ((BLUE, "-"), (RED, "--"), (GREEN, "-."), (PURPLE, ":"), (BLACK, "-"))
WIDTH_INCHES = 5.4  # narrow, so that words are still read where a telephone fits the picture to its screen
FLOOR = 5  # answers below which a group is not drawn
LABEL_LENGTH = 44
LINE_LENGTH = 24  # of labels beside bars
HEAT = LinearSegmentedColormap.from_list("heat", ["#e9f3fa", "#b2d8ed", "#5aa9d6"])  # light enough for black letters
ROUND, WHOLE = (1, 2, 2.5, 5, 10), (1, 2, 3, 6, 10)  # distances of ticks
PAPER = {"facecolor": "white", "linewidth": 0, "pad": 1.0}  # under words that may cross a line
ENGLISH = Language("en")


def alt(axes: Axes) -> str:
    """What a figure of this module shows, in words for those who do not see it."""
    return str(axes.get_label())


def to_svg(axes: Axes) -> str:
    """Write the figure of an Axes as SVG text, letters as outlines; the same bytes for the same picture."""
    out = io.StringIO()
    with mpl.rc_context({**_style(), "svg.fonttype": "path", "svg.hashsalt": "cxroi"}):
        figure = axes.figure
        assert isinstance(figure, Figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nothing, transparent=False)
    text = out.getvalue()
    return text[text.index("<svg") :]


@cache
def _families() -> tuple[str, ...]:
    """Register the package's fonts and give the families to write with, in their order."""
    for weight in ("Regular", "Bold"):
        with as_file(files("cxroi").joinpath("fonts", f"NotoSans-{weight}.ttf")) as path:
            font_manager.fontManager.addfont(str(path))
    return "Noto Sans", "DejaVu Sans"


@cache
def _signs() -> frozenset[int]:
    """Code points that the fonts can draw."""
    found: set[int] = set()
    for family in _families():
        found |= set(FT2Font(font_manager.findfont(family)).get_charmap())
    return frozenset(found)


def _style() -> dict[Any, Any]:
    return {
        "font.family": list(_families()),
        "font.size": 10,
        "text.parse_math": False,
        "text.hinting": "no_hinting",  # widths are measured as they are written
        "text.color": INK,
        "axes.edgecolor": "#8c8c8c",
        "axes.labelcolor": SOFT,
        "axes.labelsize": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": False,
        "xtick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.color": SOFT,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "figure.facecolor": "white",
    }


@contextmanager
def canvas(title: str, *, height: float, rows: int = 1, columns: int = 1, share: float = 0.62) -> Iterator[Axes]:
    """Axes on a figure of its own with the title above: the lowest (of columns the last) of several, the others on ``axes.figure``.

    ``share`` is the height of each of the other rows over that of the lowest.
    """
    lines = textwrap.wrap(plain(title, length=300), 58)
    with mpl.rc_context(_style()):
        layout = ConstrainedLayoutEngine(wspace=0.07 if columns > 1 else None)
        figure = Figure(figsize=(WIDTH_INCHES, height + 0.24 * len(lines)), layout=layout, dpi=72)
        ratios = [share] * (rows - 1) + [1.0]
        shared: dict[str, Any] = {"sharex": rows > 1, "sharey": columns > 1}
        axes = figure.subplots(rows, columns, squeeze=False, height_ratios=ratios, **shared)[-1, -1]
        if lines:
            figure.suptitle("\n".join(lines), x=0.008, ha="left", fontsize=11.5, fontweight="bold", linespacing=1.25)
        yield axes
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)  # now and not while drawing, so that every drawing is the same
        figure.set_layout_engine("none")


def described(axes: Axes, words: str) -> Axes:
    """Keep what an Axes shows, in words, for :func:`alt`."""
    axes.set_label(words)
    return axes


def records(rows: pd.DataFrame) -> list[Any]:
    """Rows as named tuples, of any type so that their columns can be read."""
    return list(rows.itertuples())


def rows_by(rows: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    """Rows by the value of a column, each a mapping of its columns; of several with one value the last."""
    return {str(one[column]): {str(name): value for name, value in one.items()} for one in rows.to_dict("records")}


def refuse_empty(rows: pd.DataFrame) -> None:
    """Refuse an empty picture."""
    if rows.empty:
        raise InputError(
            "a figure must have at least one row to draw; the frame has none left. Show the reason instead."
        )


def plain(text: object, *, length: int = LABEL_LENGTH) -> str:
    """Text from data that can be drawn: composed, without control signs or signs that no font has, and short."""
    composed = unicodedata.normalize("NFC", str(text))
    drawn = "".join(
        sign if sign == "\u00a0" or (sign.isprintable() and ord(sign) in _signs()) else " " for sign in composed
    )
    short = " ".join(drawn.split(" ")).strip()
    return short if len(short) <= length else short[: length - 1] + "…"


def on_lines(words: str, length: int) -> str:
    """Words on as many lines as they need."""
    return "\n".join(textwrap.wrap(words, length))


def name_beside(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    """Name of a line at its end."""
    style: dict[str, Any] = {"color": colour, "fontweight": "bold", "fontsize": 9.5, "bbox": PAPER}
    axes.annotate(text, (x, y), (8, 0), textcoords="offset points", va="center", **style)


def name_lines(axes: Axes, names: Sequence[tuple[float, float, str, str]], *, least: float) -> None:
    """Names (height, x, words, colour) at the ends of lines, moved apart in height so that none lies on another.

    ``least`` is the least distance of two names as a share of the height of the axis.
    """
    low, high = axes.get_ylim()
    gap = least * (high - low)
    ordered = sorted(names)
    places = np.array([height for height, _, _, _ in ordered], dtype=float)
    for _ in range(100):
        close = gap - np.diff(places)
        if not (close > gap * 1e-6).any():
            break
        moved = np.maximum(close, 0.0) / 2
        places += np.r_[0.0, moved] - np.r_[moved, 0.0]
    for place, (_, x, words, colour) in zip(places, ordered, strict=True):
        name_beside(axes, x, float(place), words, colour)


def row_names(axes: Axes, places: Sequence[float] | Floats, names: Sequence[str], *, bold: Sequence[int] = ()) -> None:
    """Names of rows at the left, those at the positions ``bold`` in bold."""
    axes.set_yticks(places, names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    low, high = (float(end(places)) for end in (min, max))
    axes.set_ylim(low - 0.6, high + 0.6)
    for at in bold:
        axes.get_yticklabels()[at].set_fontweight("bold")


def figure_beside(axes: Axes, x: float, y: float, words: str, *, colour: str = INK, bold: bool = False) -> None:
    """A figure in words to the right of a mark."""
    style: dict[str, Any] = {"color": colour, "fontweight": "bold" if bold else "normal", "bbox": PAPER, "zorder": 5}
    axes.annotate(words, (x, y), (6, 0), textcoords="offset points", va="center", fontsize=9.5, **style)


def instead(axes: Axes, place: float, words: str) -> None:
    """Words where a row has no figure to draw."""
    transform = axes.get_yaxis_transform()
    axes.text(0.02, place, words, transform=transform, va="center", color=SOFT, fontsize=9, bbox=PAPER, zorder=5)


def make_room(axes: Axes, words: Sequence[str], names: Sequence[str], *, columns: int = 1) -> None:
    """Widen an x axis so that the longest of the words beside its marks fits; ``names`` are those of the rows."""
    letters = max((len(line) for name in names for line in name.splitlines()), default=0)
    inner = (72 * WIDTH_INCHES - 5.2 * letters - 24) / columns
    wanted = min(5.6 * max(map(len, words), default=0) + 8, 0.6 * inner)
    axes.set_xlim(*roomy(axes.get_xlim(), right=wanted / (inner - wanted)))


def subtitle(axes: Axes, words: str, *, length: int = 58) -> None:
    """What the marks are, above them."""
    axes.set_title(on_lines(words, length), loc="left", fontsize=9.5, color=SOFT)


def key(axes: Axes, entries: Sequence[tuple[str, dict[str, Any]]], *, stacked: bool = False) -> None:
    """What the marks stand for, above them, from the left of the figure; an entry has words and the style of its mark."""
    handles = [Line2D([], [], label=words, **style) for words, style in entries]
    in_line = not stacked and sum(len(words) + 8 for words, _ in entries) < 70
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        bbox_transform=blended_transform_factory(axes.figure.transFigure, axes.transAxes),
        ncols=len(entries) if in_line else 1,
        frameon=False,
        fontsize=9.5,
        borderpad=0.3,
    )


def period_ticks(axes: Axes, labels: Sequence[str], language: Language) -> None:
    """Ticks of periods, the year below the quarter; every other one where there are many."""
    step = -(-len(labels) // 10)
    shown = list(range(len(labels)))[::-1][::step][::-1]
    axes.set_xticks(shown, ["\n".join(language.period(labels[at]).rsplit(" ", 1)) for at in shown])


def set_ticks(
    axes: Axes, shown: Format, *, which: str = "y", most: int = 6, steps: Sequence[float] | None = None
) -> None:
    """Few ticks, each written as its unit is written; ``steps`` between 1 and 10 that their distance may have, times a power of ten."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    ticks = [tick for tick in MaxNLocator(most, steps=steps).tick_values(low, high) if low <= tick <= high]
    labels = [shown(float(tick)) for tick in ticks]
    if len(set(labels)) < len(labels):
        kept = {label: tick for tick, label in zip(ticks, labels, strict=True)}
        ticks, labels = list(kept.values()), list(kept)
    axis.set_ticks(ticks, labels)
    (axes.set_ylim if which == "y" else axes.set_xlim)(low, high)


def roomy(limits: tuple[float, float], *, left: float = 0.0, right: float = 0.0) -> tuple[float, float]:
    """Limits of an axis with a share of its width added for words."""
    width = limits[1] - limits[0]
    return limits[0] - left * width, limits[1] + right * width


def thinned(places: Floats, step: int = 1) -> Floats:
    """At most thirteen of the places, evenly spaced from the first."""
    chosen = places[:: max(step, -(-len(places) // 13))]
    return np.asarray(chosen)


def forest(axes: Axes, rows: pd.DataFrame, shown: Format, *, times: Sequence[str] = ()) -> list[str]:
    """Dots with intervals around zero, a row each from the top, the leading one in colour; the same in words."""
    axes.axvline(0, color=INK, linewidth=0.9)
    told = []
    for at, each in enumerate(records(rows)):
        colour = BLUE if each.leads else SOFT
        axes.hlines(-at, each.low, each.high, color=colour, linewidth=2.2 if each.leads else 1.4)
        axes.plot(each.estimate, -at, "o", color=colour, markerfacecolor=colour if each.leads else "white")
        words = " ".join([shown(float(each.estimate)), *([times[at]] if times and times[at] else [])])
        axes.annotate(
            words,
            (max(float(each.high), 0.0), -at),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold" if each.leads else "normal",
            bbox=PAPER,
        )
        told.append(f"{plain(each.name)}: {words} ({shown(float(each.low))}; {shown(float(each.high))})")
    axes.set_yticks([-at for at in range(len(rows))], [on_lines(plain(name), LINE_LENGTH) for name in rows["name"]])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(y=0.1)
    axes.set_xlim(*roomy(axes.get_xlim(), right=0.46 if times else 0.16))
    return told
