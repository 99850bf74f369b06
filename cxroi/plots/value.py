"""Pictures of what a customer, and a point of a score, is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    PAPER,
    RED,
    ROUND,
    SOFT,
    TINT,
    canvas,
    described,
    figure_beside,
    forest,
    make_room,
    name_beside,
    records,
    refuse_empty,
    roomy,
    row_names,
    rows_by,
    set_ticks,
    subtitle,
    thinned,
)
from cxroi.plots.formats import (
    band_and_n,
    band_name,
    change_of_money,
    finding,
    in_words,
    money_format,
    with_currency,
    with_range,
)
from cxroi.scores import hidden_cells

TOTAL = "total"
RANGE = ("estimate", "low", "high")


def value_by_band(tidy: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """Lifetime value per customer by band of the last answer, with its 5–95 % range; the dashed line is everybody.

    Parameters
    ----------
    tidy
        ``CustomerValue.tidy()``; its rows ``lifetime_value`` are drawn.
    """
    rows = tidy[(tidy["measure"] == "lifetime_value") & (tidy["customers"] >= FLOOR)]
    rows = rows[rows["band"].isin(["all", *shown_bands(tidy)])]
    language = with_currency(language, str(rows["unit"].iloc[0]) if len(rows) else "")
    shown = money_format(language)
    whole, bands = rows[rows["band"] == "all"], rows[rows["band"] != "all"].iloc[::-1]
    drawn = bands if len(bands) else whole
    with canvas(title, height=1.3 + 0.5 * max(len(drawn), 1)) as axes:
        refuse_empty(drawn)
        place = np.arange(len(drawn))
        axes.barh(place, drawn["estimate"], color=TINT, height=0.62)
        axes.hlines(place, drawn["low"], drawn["high"], color=BLUE, linewidth=2)
        axes.plot(drawn["estimate"], place, "o", color=BLUE)
        told = []
        for at, each in zip(place, records(drawn), strict=True):
            axes.annotate(
                shown(float(each.estimate)),
                (max(float(each.high), 0.0), at),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
                bbox=PAPER,
                zorder=5,
            )
            told.append(f"{band_name(str(each.band), language)}: {shown(float(each.estimate))}")
        labels = [band_and_n(str(each.band), float(each.customers), language) for each in records(drawn)]
        axes.set_yticks(place, labels)
        axes.tick_params(axis="y", length=0)
        if len(whole) and len(bands):
            axes.axvline(float(whole["estimate"].iloc[0]), color=SOFT, linestyle="--", linewidth=1, zorder=0)
            axes.text(
                float(whole["estimate"].iloc[0]),
                1.0,
                language.text("plots.everybody", value=shown(float(whole["estimate"].iloc[0]))),
                transform=axes.get_xaxis_transform(),
                color=SOFT,
                ha="center",
                va="bottom",
                fontsize=9,
            )
        axes.set_xlim(min(0.0, float(drawn["low"].min())), None)
        axes.set_xlim(*roomy(axes.get_xlim(), right=0.22))
        set_ticks(axes, shown, which="x", most=3)
        axes.set_xlabel(language.text("plots.value_per_customer"))
        return described(axes, language.text("plots.alt.value_by_band", parts="; ".join(told[::-1])))


def shown_bands(tidy: pd.DataFrame) -> list[str]:
    """Bands of ``CustomerValue.tidy()`` with enough customers to be shown; one that is too small never goes alone.

    Everybody's value stands beside, so where a single band is left out, the smallest of the others is left out too.
    """
    bands = tidy[(tidy["measure"] == "lifetime_value") & (tidy["band"] != "all")]
    hidden = hidden_cells(bands["customers"].astype(float), bands[["band"]], floor=FLOOR)
    return [str(band) for band in bands["band"][~hidden]]


def value_path(path: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", currency: str = "") -> Axes:
    """Share of today's customers still there, and discounted margin per customer of today, by quarter ahead.

    Parameters
    ----------
    path
        ``CustomerValue.path()``: ``quarter, survival, discounted_margin, margin, low, high`` (5–95 % of margin).

    Returns
    -------
    Axes
        The lower of two: margin. The upper one, survival, is on the same figure.
    """
    language = with_currency(language, currency)
    shown = money_format(language)
    quarter = path["quarter"].to_numpy(dtype=float)
    with canvas(title, height=4.2, rows=2) as axes:
        refuse_empty(path)
        upper = axes.figure.axes[0]
        upper.plot(np.r_[0, quarter], np.r_[1.0, path["survival"]], color=BLACK, linewidth=2, marker="o", markersize=3)
        if {"survival_low", "survival_high"} <= set(path.columns):
            upper.fill_between(quarter, path["survival_low"], path["survival_high"], color=TINT, linewidth=0)
        upper.set_ylim(0, 1.06)
        upper.set_yticks([0, 0.5, 1], [language.percent(share, 0) for share in (0, 0.5, 1)])
        upper.tick_params(axis="x", labelbottom=False, length=0)
        upper.set_title(language.text("plots.survival"), loc="left", fontsize=9.5, color=SOFT)
        discount = path["discounted_margin"] / path["margin"].where(path["margin"] != 0)
        axes.bar(quarter, path["discounted_margin"], color=TINT, width=0.75)
        axes.vlines(quarter, path["low"] * discount, path["high"] * discount, color=BLUE, linewidth=2)
        axes.plot(quarter, path["discounted_margin"], "o", color=BLUE, markersize=4)
        axes.set_title(language.text("plots.discounted_margin"), loc="left", fontsize=9.5, color=SOFT)
        axes.set_xlabel(language.text("plots.quarters_ahead"))
        axes.set_xticks(thinned(quarter), [language.number(each) for each in thinned(quarter)])
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), None)
        set_ticks(axes, shown, most=4)
        last = path.iloc[-1]
        name_beside(upper, last["quarter"], last["survival"], language.percent(last["survival"], 0), BLACK)
        return described(
            axes,
            language.text(
                "plots.alt.value_path",
                quarters=language.number(len(path)),
                survival=language.percent(last["survival"], 0),
                first=shown(float(path["discounted_margin"].iloc[0])),
                last=shown(float(last["discounted_margin"])),
            ),
        )


def shortcuts(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """Value of one point by the popular shortcuts beside the one that leads, each with its 5-95 % range.

    Parameters
    ----------
    frame
        ``shortcut, estimate, low, high, times, unit``: the leading figure first; names are finished words. Rows without a
        figure are left out.
    """
    rows = frame[frame["estimate"].notna()].reset_index(drop=True)
    language = with_currency(language, str(rows["unit"].iloc[0]) if len(rows) else "")
    shown = money_format(language)
    with canvas(title, height=1.4 + 0.42 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        drawn = rows.assign(name=rows["shortcut"], leads=rows.index == 0)
        low, high = float(rows["low"].iloc[0]), float(rows["high"].iloc[0])
        axes.axvspan(low, high, color=TINT, linewidth=0, zorder=0)
        told = forest(axes, drawn, shown, times=[_times(each, language) for each in rows["times"]])
        set_ticks(axes, shown, which="x", most=3)
        axes.set_xlabel(language.text("plots.value_of_one_point"))
        return described(axes, language.text("plots.alt.shortcuts", parts="; ".join(told)))


def _times(times: float, language: Language) -> str:
    return "" if np.isnan(times) or times == 1 else language.text("plots.times", number=language.number(times, 1))


def shapley_parts(
    split: pd.DataFrame, *, currency: str = "", language: Language = ENGLISH, title: str | None = None
) -> Axes:
    """Change of value per customer split over the terms that changed: steps that sum to the total, each with its 5–95 % range.

    Parameters
    ----------
    split
        ``ShapleySplit.tidy()``: ``term, estimate, low, median, high, alone``, the total last. Terms that did not change are left out.
    currency
        ISO code; empty where the language has it.
    title
        By default the finding, computed from the frame; empty for none.
    """
    language = with_currency(language, currency)
    shown = change_of_money(language)
    changed = (split[["estimate", "low", "high", "alone"]].astype(float).fillna(0.0) != 0).any(axis=1)
    rows = rows_by(split[changed | (split["term"] == TOTAL)], "term")
    words = _split_finding(rows, language)
    with canvas(words if title is None else title, height=1.5 + 0.42 * max(len(rows), 1)) as axes:
        refuse_empty(split[changed & (split["term"] != TOTAL)])
        axes.axvline(0, color=INK, linewidth=0.9)
        reached = 0.0
        names, beside, told = [], [], []
        for at, (term, each) in enumerate(rows.items()):
            start = 0.0 if term == TOTAL else reached
            colour = BLACK if term == TOTAL else BLUE if each["estimate"] >= 0 else RED
            axes.barh(-at, each["estimate"], left=start, height=0.56, color=colour, alpha=0.3, linewidth=0)
            axes.hlines(-at, start + each["low"], start + each["high"], color=colour, linewidth=2)
            axes.plot(start + each["estimate"], -at, "o", color=colour, markersize=5)
            if term != TOTAL:
                reached += each["estimate"]
                axes.plot([reached, reached], [-at - 0.28, -at - 0.72], color=SOFT, linewidth=0.8)
            end = max(start, start + max(each["high"], each["estimate"]), 0.0)
            figures = in_words(each, shown, RANGE)
            figure_beside(axes, end, -at, figures[0], bold=term == TOTAL)
            names.append(language.text(f"plots.term_{term}"))
            beside.append(figures[0])
            told.append(f"{names[-1]}: {with_range(figures, language)}")
        row_names(axes, [-at for at in range(len(rows))], names, bold=[len(rows) - 1])
        make_room(axes, beside, names)
        set_ticks(axes, shown, which="x", most=3, steps=ROUND)
        axes.set_xlabel(language.text("plots.change_of_value"))
        alone = sum(float(each["alone"]) for term, each in rows.items() if term != TOTAL)
        subtitle(axes, language.text("plots.one_by_one", value=shown(alone)))
        return described(axes, language.text("plots.alt.shapley_parts", finding=words, parts="; ".join(told)))


def _split_finding(rows: Mapping[str, Mapping[str, Any]], language: Language) -> str:
    terms = {term: float(each["estimate"]) for term, each in rows.items() if term != TOTAL}
    if not terms:
        return ""
    shown = change_of_money(language)
    most = max(terms, key=lambda term: abs(terms[term]))
    return finding(
        "shapley_parts",
        language,
        total=with_range(in_words(rows[TOTAL], shown, RANGE), language),
        term=language.text(f"plots.term_{most}_within"),
        part=shown(terms[most]),
    )
