"""Pictures of several runs: two of them side by side, and a figure over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    INK,
    LINE,
    SOFT,
    canvas,
    described,
    figure_beside,
    key,
    on_lines,
    plain,
    records,
    refuse_empty,
    roomy,
    row_names,
    set_ticks,
)
from cxroi.plots.formats import money_format

APART = 0.17  # of the two lines of a row


def before_after(rows: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """Figures before and after with their intervals, each row on a scale of its own.

    Parameters
    ----------
    rows
        ``name``, ``before, before_low, before_high, after, after_low, after_high`` (an end may be missing) and what is written
        beside the marks, ``told_before, told_after``.
    """
    with canvas(title, height=0.9 + 0.62 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        told = []
        for at, each in enumerate(records(rows)):
            scale = _own_scale(each)
            for side, colour, up in (("before", SOFT, APART), ("after", BLUE, -APART)):
                middle = getattr(each, side)
                ends = [getattr(each, f"{side}_{end}") for end in ("low", "high")]
                if np.isfinite(middle):
                    low, mid, high = (scale(end if np.isfinite(end) else middle) for end in (ends[0], middle, ends[1]))
                    axes.hlines(-at + up, low, high, color=colour, linewidth=2)
                    face = colour if side == "after" else "white"
                    axes.plot(mid, -at + up, "o", color=colour, markerfacecolor=face, markersize=5.5)
                    words = getattr(each, f"told_{side}")
                    figure_beside(axes, high, -at + up, words, colour=colour, bold=side == "after")
            zero = scale(0.0)
            if 0.0 <= zero <= 1.0:
                axes.vlines(zero, -at - 0.36, -at + 0.36, color=INK, linewidth=0.9, zorder=0)
                axes.annotate(
                    "0", (zero, -at - 0.36), (0, -1), textcoords="offset points", ha="center", va="top", fontsize=8
                )
            axes.axhline(-at - 0.5, color=LINE, linewidth=0.6, zorder=0)
            told.append(
                language.text("plots_runs.pair", name=plain(each.name), before=each.told_before, after=each.told_after)
            )
        row_names(axes, [-at for at in range(len(rows))], [on_lines(plain(name), 22) for name in rows["name"]])
        longest = max(len(str(words)) for words in [*rows["told_before"], *rows["told_after"]])
        axes.set_xlim(-0.04, 1.0 + 0.033 * longest)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        key(
            axes,
            [
                (language.text("plots_runs.before"), {"color": SOFT, "marker": "o", "markerfacecolor": "white"}),
                (language.text("plots_runs.after"), {"color": BLUE, "marker": "o"}),
            ],
        )
        return described(axes, language.text("plots_runs.alt_pairs", parts="; ".join(told)))


def over_runs(rows: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """A figure with its range over runs, the earliest at the left.

    Parameters
    ----------
    rows
        ``name`` of each run, and ``low, median, high`` of the figure in the currency of the language.
    """
    shown = money_format(language)
    with canvas(title, height=2.3) as axes:
        refuse_empty(rows)
        place = np.arange(len(rows))
        axes.vlines(place, rows["low"], rows["high"], color=BLUE, linewidth=2)
        axes.plot(place, rows["median"], "o-", color=BLUE, linewidth=0.8)
        told = []
        for each in records(rows):
            told.append(
                f"{plain(each.name)}: {shown(float(each.median))} ({shown(float(each.low))}; {shown(float(each.high))})"
            )
        last = records(rows)[-1]
        figure_beside(axes, float(place[-1]), float(last.median), shown(float(last.median)), colour=BLUE, bold=True)
        axes.axhline(0.0, color=INK, linewidth=0.9, zorder=0)
        step = -(-len(rows) // 6)
        kept = list(range(len(rows)))[::-1][::step][::-1]
        axes.set_xticks(kept, [on_lines(plain(rows["name"].iloc[at], length=28), 13) for at in kept])
        axes.set_xlim(-0.5, max(len(rows) - 0.5, 0.5))
        axes.set_xlim(*roomy(axes.get_xlim(), right=0.2))
        set_ticks(axes, shown, most=5)
        return described(axes, language.text("plots_runs.alt_over", parts="; ".join(told)))


def _own_scale(row: Any) -> Callable[[float], float]:
    """Place of a number between the lowest (0) and the highest (1) end of a row."""
    names = [f"{side}{end}" for side in ("before", "after") for end in ("", "_low", "_high")]
    known = np.array([float(getattr(row, name)) for name in names])
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    width = high - low

    def scale(x: float) -> float:
        return 0.5 if width == 0 else (x - low) / width

    return scale
