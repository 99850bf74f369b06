"""Pictures of which programmes to choose, what their value hinges on, and what it is worth to find out first."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    GREEN,
    INK,
    LINE,
    LINE_LENGTH,
    PAPER,
    RED,
    ROUND,
    SOFT,
    TINT,
    Floats,
    canvas,
    described,
    figure_beside,
    key,
    make_room,
    name_lines,
    on_lines,
    plain,
    records,
    refuse_empty,
    roomy,
    row_names,
    set_ticks,
    subtitle,
)
from cxroi.plots.case import input_name
from cxroi.plots.formats import money_format, with_currency

MOST_ROWS = 12
MOST_NAMED = 4
"""Sets of a frontier that are named in the picture."""

LEAST_STEP = 0.06
"""Step of a set, as a share of the height of the picture, from which it is named."""


def frontier(
    sets: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", currency: str = "", budget: float = np.nan
) -> Axes:
    """Mean net present value of the best set of programmes by what it spends, each with its 5–95 % range.

    Parameters
    ----------
    sets
        ``Portfolio.frontier()``; names of sets in ``programmes`` are finished words. Sets on the budget frontier and the choice are drawn.
    budget
        What may be spent in all; not finite where there is no such limit.
    """
    language = with_currency(language, currency)
    shown = money_format(language)
    rows = sets[sets["on_budget_frontier"] | sets["chosen"]].sort_values("spending")
    with canvas(title, height=3.9) as axes:
        refuse_empty(rows)
        spent, worth = rows["spending"].to_numpy(dtype=float), rows["npv_mean"].to_numpy(dtype=float)
        chosen = rows["chosen"].to_numpy(dtype=bool)
        axes.axhline(0, color=INK, linewidth=0.9)
        steady = rows["on_budget_frontier"].to_numpy(dtype=bool)
        end = max(float(spent.max()), budget if np.isfinite(budget) else 0.0)
        axes.step(
            np.r_[spent[steady], end], np.r_[worth[steady], worth[steady][-1]], where="post", color=BLUE, zorder=2
        )
        axes.vlines(spent, rows["low"], rows["high"], color=[GREEN if one else LINE for one in chosen], linewidth=1.6)
        axes.plot(spent[~chosen], worth[~chosen], "o", color=BLUE, markersize=5)
        axes.plot(spent[chosen], worth[chosen], "D", color=GREEN, markersize=8, zorder=4)
        if np.isfinite(budget):
            axes.axvline(budget, color=RED, linestyle="--", linewidth=1.2)
            words = language.text("portfolio.plot_budget", amount=shown(budget))
            right = budget > 0.5 * end
            axes.annotate(
                words,
                (budget, 0.02),
                (-5 if right else 5, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="right" if right else "left",
                va="bottom",
                color=RED,
                fontsize=9,
                bbox=PAPER,
            )
        for at in _named(worth, chosen, float(np.ptp(axes.get_ylim()))):
            axes.annotate(
                on_lines(_set_name(str(rows["programmes"].iloc[at]), language), LINE_LENGTH),
                (spent[at], worth[at]),
                (7, -4) if spent[at] < 0.6 * end else (-7, 7),
                textcoords="offset points",
                ha="left" if spent[at] < 0.6 * end else "right",
                va="top" if spent[at] < 0.6 * end else "bottom",
                color=GREEN if chosen[at] else SOFT,
                fontweight="bold" if chosen[at] else "normal",
                fontsize=9,
                bbox=PAPER,
                zorder=5,
            )
        axes.set_xlim(*roomy((0.0, end or 1.0), left=0.04, right=0.08))
        set_ticks(axes, shown, which="x", most=4, steps=ROUND)
        set_ticks(axes, shown, most=5, steps=ROUND)
        axes.set_xlabel(language.text("portfolio.plot_spending"))
        subtitle(axes, language.text("portfolio.plot_frontier_marks"))
        told = [
            f"{_set_name(str(each.programmes), language)}: {shown(float(each.spending))}, {shown(float(each.npv_mean))} "
            f"({language.text('format.interval', low=shown(float(each.low)), high=shown(float(each.high)))})"
            for each in records(rows)
        ]
        return described(axes, language.text("portfolio.alt_frontier", parts="; ".join(told)))


def _named(worth: Floats, chosen: NDArray[np.bool_], height: float) -> list[int]:
    """The choice, and the sets before it that bring a step large enough to see."""
    steps = np.diff(worth, prepend=worth[0])
    ranked = sorted(range(len(worth)), key=lambda at: (not chosen[at], -steps[at]))
    return [at for at in ranked[:MOST_NAMED] if chosen[at] or steps[at] > LEAST_STEP * height]


def _set_name(names: str, language: Language) -> str:
    return plain(names, length=60) if names else language.text("portfolio.no_programme")


def information(
    rows: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", currency: str = "", npv: float = np.nan
) -> Axes:
    """Expected value of knowing each input exactly before deciding, below that of knowing everything, with Monte Carlo intervals.

    Parameters
    ----------
    rows
        Rows of one way of deciding of ``Information.tidy()``; names in ``programme`` are finished words, empty for what all share.
    """
    language = with_currency(language, currency)
    shown = money_format(language)
    drawn = rows.iloc[:MOST_ROWS]
    with canvas(title, height=1.2 + 0.48 * max(len(drawn), 1)) as axes:
        refuse_empty(drawn)
        names, beside, told = [], [], []
        for at, each in enumerate(records(drawn)):
            colour = INK if each.input == "everything" else BLUE
            low, high = (max(float(each.value) + sign * 1.96 * float(each.std_error), 0.0) for sign in (-1, 1))
            axes.barh(-at, each.value, height=0.56, color=colour, alpha=0.35, linewidth=0)
            axes.hlines(-at, low, high, color=colour, linewidth=2)
            names.append(input_name(str(each.input), str(each.programme), language))
            words = f"{shown(float(each.value))} ({language.percent(each.share, 0)})"
            beside.append(words)
            figure_beside(axes, max(high, float(each.value)), -at, words, bold=each.input == "everything")
            told.append(f"{' '.join(names[-1].split())}: {words}")
        bold = [at for at, name in enumerate(drawn["input"]) if name == "everything"]
        row_names(axes, [-at for at in range(len(drawn))], names, bold=bold)
        axes.set_xlim(0.0, max(float(drawn["value"].max()), 1e-9) * 1.02)
        make_room(axes, beside, names)
        set_ticks(axes, shown, which="x", most=3, steps=ROUND)
        axes.set_xlabel(on_lines(language.text("portfolio.plot_information"), 52))
        return described(axes, language.text("portfolio.alt_information", parts="; ".join(told)))


def sample_sizes(
    rows: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", currency: str = "", best_size: int = 0
) -> Axes:
    """Expected value of a sample by its size, with its cost and what is left where the cost is known.

    Parameters
    ----------
    rows
        ``SampleInformation.tidy()``.
    best_size
        Size with the largest net value; 0 where none is worth its cost.
    """
    language = with_currency(language, currency)
    shown = money_format(language)
    with canvas(title, height=3.7) as axes:
        refuse_empty(rows)
        size = rows["size"].to_numpy(dtype=float)
        axes.axhline(0, color=INK, linewidth=0.9)
        costs = bool((rows["cost"] > 0).any())
        lines = [("value", BLUE, "-")] + ([("cost", RED, "--"), ("net_value", GREEN, "-.")] if costs else [])
        top = max(float(rows["value"].max()), 1e-9)
        ends = []
        for name, colour, style in lines:
            values = rows[name].to_numpy(dtype=float)
            inside = values >= -0.6 * top if name == "net_value" else values <= 1.6 * top
            axes.plot(size[inside], values[inside], style, color=colour, linewidth=2.2)
            if inside.any():
                last = int(np.flatnonzero(inside)[-1])
                ends.append((float(values[last]), float(size[last]), language.text(f"portfolio.plot_{name}"), colour))
        axes.set_xscale("log")
        if best_size and costs:
            axes.axvline(best_size, color=GREEN, linestyle=":", linewidth=1.2)
        axes.set_xlim(size[0], size[-1] * (size[-1] / size[0]) ** 0.42)
        axes.minorticks_off()
        steps = (1, 2, 5) if size[-1] < 300 * size[0] else (1,)
        ticks = [step * 10.0**power for power in range(9) for step in steps]
        ticks = [tick for tick in ticks if size[0] <= tick <= size[-1]]
        axes.set_xticks(ticks, [language.number(tick) for tick in ticks])
        low = -0.6 * top if costs else 0.0
        axes.set_ylim(min(low, 0.0), (1.6 if costs else 1.15) * top)
        set_ticks(axes, shown, most=5, steps=ROUND)
        name_lines(axes, ends, least=0.08)
        axes.set_xlabel(language.text("portfolio.plot_sizes"))
        smallest, largest = rows.iloc[0], rows.iloc[-1]
        return described(
            axes,
            language.text(
                "portfolio.alt_sizes",
                first=language.number(smallest["size"]),
                last=language.number(largest["size"]),
                low=shown(float(smallest["value"])),
                high=shown(float(largest["value"])),
                best=language.number(best_size),
            ),
        )


def variance_shares(rows: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """Share of the variance of net present value that each input answers for, and what it answers for alone.

    Parameters
    ----------
    rows
        ``variance_shares(decision)``; names in ``programme`` are finished words, empty for what all share.
    """
    drawn = rows.iloc[:MOST_ROWS]
    with canvas(title, height=1.35 + 0.46 * max(len(drawn), 1)) as axes:
        refuse_empty(drawn)
        names, beside, told = [], [], []
        for at, each in enumerate(records(drawn)):
            share = max(float(each.share), 0.0)
            axes.barh(-at, share, height=0.56, color=TINT, linewidth=0)
            axes.plot(max(float(each.alone), 0.0), -at, "D", color=BLUE, markersize=5)
            names.append(input_name(str(each.input), str(each.programme), language))
            beside.append(language.percent(share, 0))
            figure_beside(axes, max(share, float(each.alone)), -at, beside[-1], bold=at == 0)
            told.append(f"{' '.join(names[-1].split())}: {beside[-1]}")
        row_names(axes, [-at for at in range(len(drawn))], names)
        axes.set_xlim(0.0, max(float(drawn[["share", "alone"]].max().max()), 0.01))
        make_room(axes, beside, names)
        set_ticks(axes, lambda x: language.percent(x, 0), which="x", most=4)
        axes.set_xlabel(on_lines(language.text("portfolio.plot_shares"), 52))
        key(
            axes,
            [
                (
                    language.text("portfolio.plot_share"),
                    {"marker": "s", "color": TINT, "linestyle": "", "markersize": 9},
                ),
                (
                    language.text("portfolio.plot_alone"),
                    {"marker": "D", "color": BLUE, "linestyle": "", "markersize": 5},
                ),
            ],
        )
        return described(axes, language.text("portfolio.alt_shares", parts="; ".join(told)))
