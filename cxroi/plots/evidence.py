"""Pictures of what could overturn a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    INK,
    PAPER,
    RED,
    SOFT,
    canvas,
    described,
    forest,
    on_lines,
    plain,
    records,
    refuse_empty,
    set_ticks,
)
from cxroi.plots.formats import (
    change_format,
    per_point,
)

CHOICES = ("controls", "period_effects", "coding", "sample", "model")  # of a specification


def confounders(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """A figure as it is and with unseen confounders as strong as what is recorded, each with its 95 % interval around zero.

    Parameters
    ----------
    frame
        ``name, estimate, conf_low, conf_high, leads`` and ``outcome``, the same in every row; names are finished words.
    """
    outcome = str(frame["outcome"].iloc[0]) if len(frame) else "retained"
    shown = change_format(outcome, language)
    with canvas(title, height=1.5 + 0.34 * max(len(frame), 1)) as axes:
        refuse_empty(frame)
        told = forest(axes, frame.rename(columns={"conf_low": "low", "conf_high": "high"}), shown)
        set_ticks(axes, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, which="x", most=4)
        axes.set_xlabel(per_point(outcome, language))
        return described(axes, language.text("plots.alt.confounders", parts="; ".join(told)))


def specification_curve(
    frame: pd.DataFrame, *, headline: float | None = None, language: Language = ENGLISH, title: str = ""
) -> Axes:
    """Estimates under every combination of choices from the lowest to the highest, and below which choices each one makes.

    Parameters
    ----------
    frame
        ``SpecificationCurve.table`` with ``outcome``, the levels of ``controls, period_effects, coding, sample, model`` as finished words.
    headline
        The leading figure, drawn as a line.

    Returns
    -------
    Axes
        The lower of two: the choices. The upper one, the estimates with their 95 % intervals, is on the same figure.
    """
    rows = frame.sort_values("estimate", kind="stable").reset_index(drop=True)
    outcome = str(rows["outcome"].iloc[0]) if len(rows) else "retained"
    shown = change_format(outcome, language)
    levels = [(name, level) for name in CHOICES for level in dict.fromkeys(rows[name])]
    with canvas(title, height=2.6 + 0.26 * len(levels), rows=2, share=2.1 / (0.5 + 0.26 * max(len(levels), 1))) as axes:
        refuse_empty(rows)
        upper = axes.figure.axes[0]
        place = np.arange(len(rows), dtype=float)
        clear = ((rows["conf_low"] > 0) | (rows["conf_high"] < 0)).to_numpy()
        for chosen, colour in ((clear, BLUE), (~clear, SOFT)):
            part = rows[chosen]
            upper.vlines(place[chosen], part["conf_low"], part["conf_high"], color=colour, linewidth=1, alpha=0.45)
            upper.plot(place[chosen], part["estimate"], ".", color=colour, markersize=4)
        upper.axhline(0, color=INK, linewidth=0.9)
        if headline is not None:
            upper.axhline(headline, color=RED, linestyle="--", linewidth=1.2)
            words = language.text("plots.leading", value=shown(headline))
            upper.annotate(
                words,
                (0, headline),
                (2, 3),
                textcoords="offset points",
                color=RED,
                fontsize=9,
                va="bottom",
                bbox=PAPER,
            )
        upper.set_title(on_lines(per_point(outcome, language, wrapped=False), 58), loc="left", fontsize=9.5, color=SOFT)
        upper.tick_params(axis="x", labelbottom=False, length=0)
        set_ticks(upper, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, most=4)
        lines, gap = [], 0.0
        for at, (name, level) in enumerate(levels):
            gap += 0.35 * (at > 0 and levels[at - 1][0] != name)
            lines.append(-at - gap)
            made = (rows[name] == level).to_numpy()
            axes.plot(
                place[made], np.full(int(made.sum()), lines[-1]), "|", color=INK, markersize=6, markeredgewidth=0.7
            )
        axes.set_yticks(lines, [plain(level) for _, level in levels])
        axes.tick_params(axis="y", length=0, labelsize=8.5)
        axes.set_xticks([])
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(language.text("plots.specifications", number=language.number(len(rows))))
        words = language.text(
            "plots.alt.specification_curve",
            number=language.number(len(rows)),
            low=shown(float(rows["estimate"].iloc[0])),
            high=shown(float(rows["estimate"].iloc[-1])),
            clear=language.percent(float(clear.mean()), 0),
        )
        return described(axes, words)


def segments(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """A figure in each segment: by its own answers alone (grey) and pulled towards the mean of all segments (blue).

    Parameters
    ----------
    frame
        ``segment, level, estimate, conf_low, conf_high, pooled, pooled_low, pooled_high, customers, suppressed, outcome``; cells that are
        suppressed are not drawn.
    """
    rows = frame[~frame["suppressed"].astype(bool)].reset_index(drop=True)
    outcome = str(frame["outcome"].iloc[0]) if len(frame) else "retained"
    shown = change_format(outcome, language)
    with canvas(title, height=1.6 + 0.46 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        axes.axvline(0, color=INK, linewidth=0.9)
        places, labels, told, place = [], [], [], 0.0
        for _, group in rows.groupby("segment", sort=False):
            for each in records(group):
                axes.hlines(place + 0.16, each.conf_low, each.conf_high, color=SOFT, linewidth=1.2)
                axes.plot(each.estimate, place + 0.16, "o", color=SOFT, markerfacecolor="white", markersize=5)
                axes.hlines(place - 0.16, each.pooled_low, each.pooled_high, color=BLUE, linewidth=2.2)
                axes.plot(each.pooled, place - 0.16, "o", color=BLUE)
                places.append(place)
                labels.append(f"{plain(each.level, length=24)}\n(n = {language.number(each.customers)})")
                told.append(f"{plain(each.segment)} {plain(each.level)}: {shown(float(each.pooled))}")
                place -= 1.0
            place -= 0.3
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(y=0.08)
        set_ticks(axes, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, which="x", most=4)
        axes.set_xlabel(per_point(outcome, language))
        axes.set_title(on_lines(language.text("plots.pooled"), 58), loc="left", fontsize=9.5, color=SOFT)
        return described(axes, language.text("plots.alt.segments", parts="; ".join(told)))
