"""Pictures of what customers said."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    INK,
    RED,
    SERIES,
    SOFT,
    Floats,
    canvas,
    described,
    name_beside,
    period_ticks,
    plain,
    refuse_empty,
    set_ticks,
)
from cxroi.plots.formats import metric_name, score_format


def scores_by_period(
    frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", by: str = "", target: float | None = None
) -> Axes:
    """Score by quarter or month with its 95 % interval; a line a group.

    Parameters
    ----------
    frame
        ``tidy()`` of one of the scores by period: ``metric, period, estimate, conf_low, conf_high`` and, with ``by``,
        that column.
    by
        Column whose values become lines, at most five; empty for one line.
    target
        A level to mark, in the score's unit.
    """
    rows = frame[frame["period"].notna()]
    metric = str(rows["metric"].iloc[0]) if len(rows) else "nps"
    shown = score_format(metric, language)
    labels = sorted(rows["period"].unique())
    with canvas(title, height=3.3) as axes:
        refuse_empty(rows)
        groups = list(rows.groupby(by, sort=False)) if by else [("", rows)]
        for (name, group), (colour, line) in zip(groups, SERIES, strict=False):
            place = group["period"].map(labels.index).to_numpy()
            _intervals(axes, place, group, colour)
            axes.plot(place, group["estimate"], color=colour, linestyle=line, linewidth=1.8, marker="o", markersize=5)
            known = group[group["estimate"].notna()]
            if len(known):
                last = known.iloc[-1]
                text = f"{plain(name)} {shown(last['estimate'])}".strip()
                name_beside(axes, labels.index(last["period"]), last["estimate"], text, colour)
        if target is not None:
            axes.axhline(target, color=SOFT, linestyle=":", linewidth=1)
        period_ticks(axes, labels, language)
        axes.set_xlim(-0.4, len(labels) - 0.3 + 0.09 * len(labels))
        set_ticks(axes, shown)
        axes.set_ylabel(metric_name(metric, language))
        first, last = (rows[rows["period"] == label]["estimate"].mean() for label in (labels[0], labels[-1]))
        return described(
            axes,
            language.text(
                "plots.alt.scores_by_period",
                metric=metric_name(metric, language),
                first=language.period(labels[0]),
                last=language.period(labels[-1]),
                before=shown(first),
                after=shown(last),
            ),
        )


def score_distribution(
    frame: pd.DataFrame, *, metric: str = "nps", language: Language = ENGLISH, title: str = "", top: float | None = None
) -> Axes:
    """Share of the answers at each point of the scale, coloured by what the metric calls them.

    Parameters
    ----------
    frame
        ``score, n``: a row a point of the scale.
    metric
        ``nps``, ``csat`` or ``ces``.
    top
        Highest point of the scale; by default the highest in the frame.
    """
    rows = frame.sort_values("score")
    top = float(rows["score"].max()) if top is None and len(rows) else float(top or 0)
    share = rows["n"] / rows["n"].sum()
    with canvas(title, height=2.9) as axes:
        refuse_empty(rows)
        names = _bands(rows["score"].to_numpy(dtype=float), metric, top)
        colours = {"low": RED, "middle": "#9a9a9a", "high": BLUE}
        axes.bar(rows["score"], share, color=[colours[name] for name in names], width=0.82)
        for score, height in zip(rows["score"], share, strict=True):
            axes.annotate(
                language.percent(height, 0), (score, height), (0, 3), textcoords="offset points", ha="center", color=INK
            )
        axes.set_xticks(rows["score"], [language.number(score) for score in rows["score"]])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(language.text("plots.answer", metric=metric_name(metric, language)))
        axes.margins(y=0.45)
        parts = []
        for name in ("low", "middle", "high"):
            inside = np.array([each == name for each in names])
            if inside.any():
                total = float(share.to_numpy()[inside].sum())
                text = language.text(f"plots.band.{metric}_{name}")
                parts.append(f"{text} {language.percent(total, 0)}")
                middle = float(rows["score"].to_numpy()[inside].mean())
                axes.text(
                    middle,
                    0.98,
                    f"{text}\n{language.percent(total, 0)}",
                    color=colours[name] if name != "middle" else SOFT,
                    ha="center",
                    va="top",
                    fontweight="bold",
                    transform=axes.get_xaxis_transform(),
                )
        return described(
            axes,
            language.text(
                "plots.alt.score_distribution",
                metric=metric_name(metric, language),
                n=language.number(rows["n"].sum()),
                parts="; ".join(parts),
            ),
        )


def _bands(score: Floats, metric: str, top: float) -> list[str]:
    """Band of each point of a scale: low, middle or high."""
    if metric == "nps":
        low, high = top - 3.5, top - 1.5
    elif metric == "csat":
        low, high = top - 2.5, top - 1.5
    else:
        low, high = top - 3.5, top - 2.5
    return ["low" if each <= low else "middle" if each <= high else "high" for each in score]


def _intervals(axes: Axes, place: Floats, group: pd.DataFrame, colour: str) -> None:
    axes.vlines(place, group["conf_low"], group["conf_high"], color=colour, linewidth=5, alpha=0.25)
