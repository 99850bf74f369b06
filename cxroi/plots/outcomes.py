"""Pictures of what customers then did, by what they had said."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLACK,
    BLUE,
    ENGLISH,
    FLOOR,
    INK,
    SOFT,
    Floats,
    canvas,
    described,
    name_beside,
    on_lines,
    records,
    refuse_empty,
    roomy,
    set_ticks,
)
from cxroi.plots.formats import (
    change_format,
    change_kind,
    method_name,
    metric_name,
    outcome_format,
    per_point,
    with_currency,
)
from cxroi.scores import ces_interval, csat_interval


def linkage(
    curve: pd.DataFrame,
    *,
    outcome: str = "retained",
    exposure: str = "nps",
    currency: str = "",
    language: Language = ENGLISH,
    title: str = "",
) -> Axes:
    """Observed outcome by answer with its 95 % interval, and the fitted line; a dot grows with the answers behind it.

    Parameters
    ----------
    curve
        ``Linkage.curve()``: ``score, observed, std_error, fitted, n``. Points with fewer than five answers are left
        out.
    outcome, exposure
        What was linked to what.
    currency
        ISO code of an amount; empty where the language has it.
    """
    language = with_currency(language, currency)
    rows = curve[curve["n"] >= FLOOR].sort_values("score")
    shown = outcome_format(outcome, language)
    with canvas(title, height=3.6) as axes:
        refuse_empty(rows)
        limits = _curve_interval(rows, outcome)
        score = rows["score"].to_numpy(dtype=float)
        axes.vlines(score, limits[0], limits[1], color=SOFT, linewidth=1.2)
        size = 160 * rows["n"] / max(float(rows["n"].max()), 1.0) + 14
        axes.scatter(score, rows["observed"], s=size, color=BLACK, zorder=3, linewidth=0)
        axes.plot(score, rows["fitted"], color=BLUE, linewidth=2.2, zorder=2)
        name_beside(axes, score[-1], float(rows["fitted"].iloc[-1]), language.text("plots.fitted"), BLUE)
        axes.set_title(on_lines(language.text("plots.observed"), 58), loc="left", fontsize=9.5, color=SOFT)
        axes.set_xticks(score, [language.number(each) for each in score])
        axes.set_xlim(score[0] - 0.5, score[-1] + 0.5 + 0.1 * (score[-1] - score[0] + 1))
        set_ticks(axes, shown)
        axes.set_xlabel(language.text("plots.answer", metric=metric_name(exposure, language)))
        axes.set_ylabel(language.text(f"plots.outcome.{outcome}"))
        ends = [shown(float(rows["fitted"].iloc[at])) for at in (0, -1)]
        answers = [language.number(score[at]) for at in (0, -1)]
        return described(
            axes,
            language.text(
                "plots.alt.linkage",
                outcome=language.text(f"plots.outcome.{outcome}"),
                metric=metric_name(exposure, language),
                low=ends[0],
                high=ends[1],
                first=answers[0],
                last=answers[1],
                n=language.number(rows["n"].sum()),
            ),
        )


def effects(
    estimates: pd.DataFrame, *, outcome: str = "retained", language: Language = ENGLISH, title: str = ""
) -> Axes:
    """Change of an outcome per point of each score, as it is and adjusted, each with its 95 % interval around zero.

    Parameters
    ----------
    estimates
        ``Estimates.tidy()``; its rows ``ame`` of the outcome are drawn.
    """
    own = estimates[(estimates["outcome"] == outcome) & (estimates["estimand"] == "ame")]
    rows = own[own["estimate"].notna()]
    shown = change_format(outcome, language)
    with canvas(title, height=1.5 + 0.42 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        axes.axvline(0, color=INK, linewidth=0.9)
        places, labels, told = [], [], []
        place = 0.0
        for exposure, group in rows.groupby("exposure", sort=False):
            for each in records(group):
                adjusted = bool(each.headline)
                colour = BLUE if adjusted else SOFT
                axes.hlines(place, each.conf_low, each.conf_high, color=colour, linewidth=2.2 if adjusted else 1.4)
                axes.plot(each.estimate, place, "o", color=colour, markerfacecolor=colour if adjusted else "white")
                words = language.interval(each.conf_low, each.conf_high, *change_kind(outcome, language))
                axes.annotate(
                    shown(float(each.estimate)),
                    (each.conf_high, place),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    color=colour,
                    fontweight="bold" if adjusted else "normal",
                )
                name = f"{metric_name(str(exposure), language)}, {method_name(str(each.method), language)}"
                places.append(place)
                labels.append(name)
                told.append(f"{name}: {shown(float(each.estimate))} ({words})")
                place -= 1.0
            place -= 0.4
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(y=0.12)
        axes.set_xlim(*roomy(axes.get_xlim(), right=0.14))
        set_ticks(axes, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, which="x")
        axes.set_xlabel(per_point(outcome, language))
        return described(axes, language.text("plots.alt.effects", parts="; ".join(told)))


def _curve_interval(rows: pd.DataFrame, outcome: str) -> tuple[Floats, Floats]:
    """95 % limits of the observed mean at each answer, two arrays of shape (rows,)."""
    n, mean = rows["n"].to_numpy(dtype=float), rows["observed"].to_numpy(dtype=float)
    if outcome == "retained":
        found = csat_interval(mean * n, n)
    else:
        found = ces_interval(mean, rows["std_error"].to_numpy(dtype=float) * np.sqrt(n), n)
    return found.conf_low, found.conf_high
