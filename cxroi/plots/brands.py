"""Pictures of companies with several brands.

The title is the finding, computed from the frame, unless one is given; ``title=""`` draws none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    HEAT,
    INK,
    LINE,
    LINE_LENGTH,
    ROUND,
    SOFT,
    canvas,
    described,
    figure_beside,
    instead,
    key,
    make_room,
    on_lines,
    refuse_empty,
    row_names,
    rows_by,
    set_ticks,
    subtitle,
)
from cxroi.plots.formats import finding, in_words, level_name, with_interval
from cxroi.scores import csat_interval

GROUP = "all brands"
MOST_BRANDS = 8
SHARE = ("share_of_group", "share_of_group_conf_low", "share_of_group_conf_high")


def brand_margins(parts: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Share of the group's margin by brand, from customers of that brand alone and from shared ones, with 95 % intervals.

    Parameters
    ----------
    parts
        ``BrandValues.tidy()``. The brands' bars sum to the group's. Where a part is suppressed, the brand's bar is not divided; a
        suppressed brand is named.
    """
    rows = parts[parts["part"] == "all"].iloc[::-1].to_dict("records")
    words = _margins_finding(parts, language)
    with canvas(words if title is None else title, height=1.45 + 0.46 * max(len(rows), 1)) as axes:
        refuse_empty(parts[parts["share_of_group"].notna()])
        names, said, beside = [], [], []
        for at, each in enumerate(rows):
            name = level_name(str(each["brand"]), language, length=LINE_LENGTH)
            if each["suppressed"]:
                names.append(name)
                instead(axes, at, language.text("plots.too_few"))
                continue
            names.append(f"{name}\n(n = {language.number(each['customers'])})")
            own = rows_by(parts[parts["brand"] == each["brand"]], "part")
            shared = _divided_bar(axes, at, own, SOFT if each["brand"] == GROUP else BLUE)
            figures = in_words(each, lambda x: language.percent(x, 0), SHARE)
            beside.append(figures[0])
            if each["brand"] == GROUP:  # its share is 1 by what it is
                end, written = each[SHARE[0]], figures[0]
            else:
                end, written = max(each[SHARE[0]], each[SHARE[2]]), with_interval(figures, language)
                axes.hlines(at, each[SHARE[1]], each[SHARE[2]], color=INK, linewidth=1.8)
            figure_beside(axes, end, at, beside[-1], bold=True)
            if not np.isnan(shared):
                written += ", " + language.text("plots.of_which_shared", share=language.percent(shared, 0))
            said.append(f"{name}: {written}")
        row_names(axes, range(len(rows)), names)
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), None)
        make_room(axes, beside, names)
        set_ticks(axes, lambda share: language.percent(share, 0), which="x", most=5, steps=ROUND)
        axes.set_xlabel(on_lines(language.text("plots.share_of_group"), 60))
        box: dict[str, Any] = {"marker": "s", "linestyle": "none", "markersize": 9}
        marks = [{**box, "color": BLUE, "alpha": 0.5}, {**box, "markerfacecolor": "white", "markeredgecolor": BLUE}]
        key(axes, list(zip([language.text(f"plots.{name}") for name in ("only_here", "shared")], marks, strict=True)))
        return described(axes, language.text("plots.alt.brand_margins", finding=words, parts="; ".join(said[::-1])))


def _divided_bar(axes: Axes, place: float, own: dict[str, dict[str, Any]], colour: str) -> float:
    """The bar of a brand, divided where both parts are shown; the shared part, NaN where it is not."""
    alone, shared = (float(own[part]["share_of_group"]) for part in ("only here", "shared"))
    if np.isnan(alone) or np.isnan(shared):
        axes.barh(place, own["all"]["share_of_group"], height=0.56, color=colour, alpha=0.12)
        return float("nan")
    axes.barh(place, alone, height=0.56, color=colour, alpha=0.5, linewidth=0)
    style: dict[str, Any] = {"facecolor": "white", "edgecolor": colour, "hatch": "////", "linewidth": 0.6}
    axes.barh(place, shared, left=alone, height=0.56, **style)
    axes.hlines(place, own["only here"][SHARE[1]], own["only here"][SHARE[2]], color=INK, linewidth=1.8)
    return shared


def _margins_finding(parts: pd.DataFrame, language: Language) -> str:
    shared = parts[(parts["brand"] == GROUP) & (parts["part"] == "shared")].to_dict("records")
    if not shared or shared[0]["suppressed"]:
        return finding("brand_margins_hidden", language)
    figures = in_words(shared[0], lambda x: language.percent(x, 0), SHARE)
    return finding("brand_margins", language, share=with_interval(figures, language))


def brand_overlap(overlap: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Share of the customers of a brand (rows) who buy at another one too (columns), each with its 95 % interval below it.

    Parameters
    ----------
    overlap
        ``BrandValues.overlap``. The diagonal has each brand's number of customers; suppressed cells are hatched. At most eight brands
        are drawn, those with the most customers.
    """
    diagonal = overlap[overlap["brand"] == overlap["other"]]
    sizes = {str(one["brand"]): float(one["customers"]) for one in diagonal.to_dict("records")}
    largest = sorted(sizes, key=lambda brand: -np.nan_to_num(sizes[brand]))[:MOST_BRANDS]
    brands = [brand for brand in sizes if brand in largest]
    rows = overlap[overlap["brand"].isin(brands) & overlap["other"].isin(brands)]
    apart = rows[(rows["brand"] != rows["other"]) & rows["share_of_customers"].notna()]
    words = _overlap_finding(apart.to_dict("records"), sizes, language)
    with canvas(words if title is None else title, height=1.6 + 0.5 * max(len(brands), 1)) as axes:
        refuse_empty(apart)
        most = max(float(apart["share_of_customers"].max()), 1e-12)
        said = []
        for each in rows.to_dict("records"):
            brand, other = str(each["brand"]), str(each["other"])
            at = (brands.index(other), -brands.index(brand))
            if brand == other:
                size = "–" if np.isnan(sizes[brand]) else language.number(sizes[brand])
                _cell(axes, at, [size], facecolor="#f2f2f2", letters=SOFT)
            elif np.isnan(each["share_of_customers"]):
                _cell(axes, at, [], facecolor="white", edgecolor=LINE, hatch="////")
            else:
                share = each["share_of_customers"] / most
                figures = _share(each["customers"], sizes[brand], language)
                words_of = [figures[0], f"{figures[1]}–{figures[2]}"]
                _cell(axes, at, words_of, facecolor=HEAT(share))
                names_of = f"{level_name(brand, language)} → {level_name(other, language)}"
                said.append(f"{names_of}: {with_interval(figures, language)}")
        names = [on_lines(level_name(brand, language, length=22), 13) for brand in brands]
        row_names(axes, [-at for at in range(len(brands))], names)
        axes.set_ylim(-len(brands) + 0.5, 0.5)
        axes.set_xticks(range(len(brands)), names)
        axes.tick_params(axis="x", length=0)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(-0.5, len(brands) - 0.5)
        hidden = len(apart) < len(brands) * (len(brands) - 1)
        notes = ["overlap", "hatched_hidden"] if hidden else ["overlap"]
        subtitle(axes, "; ".join(language.text(f"plots.{note}") for note in notes))
        return described(axes, language.text("plots.alt.brand_overlap", finding=words, parts="; ".join(said)))


def _cell(axes: Axes, at: tuple[int, int], words: list[str], *, letters: str = INK, **style: Any) -> None:
    """A cell with its figure and, where there is one, its interval below."""
    x, y = at
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, **{"edgecolor": "white", "linewidth": 1, **style}))
    for text, up, size in zip(words, (0.17, -0.23) if len(words) > 1 else (0.0,), (10.0, 7.5), strict=False):
        axes.text(x, y + up, text, ha="center", va="center", color=letters, fontsize=size)


def _share(customers: float, of: float, language: Language) -> list[str]:
    found = csat_interval(customers, of)
    return [language.percent(float(x), 0) for x in (found.estimate, found.conf_low, found.conf_high)]


def _overlap_finding(apart: list[dict[Any, Any]], sizes: dict[str, float], language: Language) -> str:
    if not apart:
        return ""
    most = max(apart, key=lambda each: float(each["share_of_customers"]))
    return finding(
        "brand_overlap",
        language,
        brand=level_name(str(most["brand"]), language),
        other=level_name(str(most["other"]), language),
        share=with_interval(_share(most["customers"], sizes[str(most["brand"])], language), language),
    )
