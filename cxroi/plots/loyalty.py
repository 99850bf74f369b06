"""Pictures of serving and failing customers, and of what holds them.

The title is the finding, computed from the frame, unless one is given; ``title=""`` draws none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.plots.canvas import (
    BLACK,
    BLUE,
    ENGLISH,
    GREEN,
    INK,
    LINE,
    LINE_LENGTH,
    PURPLE,
    RED,
    ROUND,
    SOFT,
    TINT,
    Format,
    canvas,
    described,
    figure_beside,
    instead,
    key,
    make_room,
    on_lines,
    plain,
    refuse_empty,
    row_names,
    rows_by,
    set_ticks,
    subtitle,
)
from cxroi.plots.formats import (
    change_of_money,
    finding,
    in_words,
    level_name,
    money_format,
    signed,
    with_currency,
    with_interval,
    with_range,
)

Row = Mapping[Any, Any]

ALL, UNCLEAR, LESS = "all", "unclear", " less "
WITHOUT, AFTER, DIFFERENCE = "without failed touch", "after failed touch", "difference"
AS_NOW = "as now"
MARKS = ((BLACK, "o"), (RED, "s"), (BLUE, "^"), (GREEN, "D"), (PURPLE, "v"))  # as now, and each of the shocks
STILL = ("estimate", "low", "high")
SURVIVING = ("surviving", "surviving_low", "surviving_high")
SHARE = ("share", "conf_low", "conf_high")


def cost_to_serve(bands: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Cost of the contacts of a quarter per customer, by band of the answer before it, each with its 95 % interval.

    Parameters
    ----------
    bands
        ``CostToServe.tidy()``: a block for each kind of contact; the first holds all of them. Suppressed cells are named and not drawn.
    """
    language = with_currency(language, str(bands["unit"].iloc[0]) if len(bands) else "")
    shown = money_format(language)
    is_difference = bands["band"].astype(str).str.contains(LESS, regex=False)
    rows = bands[~is_difference]
    kinds = list(dict.fromkeys(rows["kind"].astype(str)))
    words = _service_finding(bands[is_difference & (bands["kind"] == ALL)].to_dict("records"), language)
    lines = len(rows) + (len(kinds) if len(kinds) > 1 else 0)
    with canvas(words if title is None else title, height=1.2 + 0.29 * lines + 0.09 * len(kinds)) as axes:
        refuse_empty(rows[rows["estimate"].notna()])
        places: list[float] = []
        names, bold, said, beside = [], [], [], []
        place = 0.0
        for kind in kinds:
            if len(kinds) > 1:
                bold.append(len(places))
                places.append(place)
                names.append(language.text("plots.all_contacts") if kind == ALL else plain(kind, length=LINE_LENGTH))
                place -= 1.0
            for band, each in rows_by(rows[rows["kind"] == kind], "band").items():
                places.append(place)
                names.append(level_name(band, language))
                if each["suppressed"]:
                    instead(axes, place, language.text("plots.too_few"))
                else:
                    _bar(axes, place, each, shown(each["estimate"]), is_whole=band == ALL)
                    beside.append(shown(each["estimate"]))
                if kind == ALL and not each["suppressed"]:
                    said.append(f"{names[-1]}: {with_interval(in_words(each, shown), language)}")
                place -= 1.0
            place -= 0.3
        row_names(axes, places, names, bold=bold)
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), None)
        make_room(axes, beside, names)
        set_ticks(axes, shown, which="x", most=4, steps=ROUND)
        axes.set_xlabel(on_lines(language.text("plots.cost_per_customer"), 60))
        unstated = rows.loc[(rows["kind"] == ALL) & (rows["band"] == ALL), "share_without_cost"].astype(float)
        if (unstated > 0).any():
            subtitle(axes, language.text("plots.without_cost", share=language.percent(unstated.iloc[0], 0)))
        return described(axes, language.text("plots.alt.cost_to_serve", finding=words, parts="; ".join(said)))


def _bar(axes: Axes, place: float, each: Row, words: str, *, is_whole: bool) -> None:
    """A bar with its interval and its figure; grey for everybody."""
    colour = SOFT if is_whole else BLUE
    axes.barh(place, each["estimate"], height=0.6, color="#dddddd" if is_whole else TINT)
    axes.hlines(place, each["conf_low"], each["conf_high"], color=colour, linewidth=2)
    axes.plot(each["estimate"], place, "o", color=colour, markersize=5)
    figure_beside(axes, max(float(each["conf_high"]), 0.0), place, words, bold=not is_whole)


def _service_finding(difference: list[dict[Any, Any]], language: Language) -> str:
    """Lowest band less the highest."""
    if not difference or difference[0]["suppressed"]:
        return finding("cost_to_serve_hidden", language)
    each = difference[0]
    low_band, high_band = (level_name(band, language, within=True) for band in str(each["band"]).split(LESS))
    if each["conf_low"] <= 0 <= each["conf_high"]:
        way, figures = "unclear", in_words(each, change_of_money(language))
    elif each["estimate"] > 0:
        way, figures = "more", in_words(each, money_format(language))
    else:
        turned = {"estimate": -each["estimate"], "conf_low": -each["conf_high"], "conf_high": -each["conf_low"]}
        way, figures = "less", in_words(turned, money_format(language))
    values = {"low_band": low_band, "high_band": high_band, "difference": with_interval(figures, language)}
    return finding(f"cost_to_serve_{way}", language, **values)


def forgiveness(hazards: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Share of customers who leave in the next quarter, with and without a failed touch, by band, with 95 % intervals.

    Parameters
    ----------
    hazards
        ``Forgiveness.hazards``. Suppressed bands are named and not drawn.
    """
    bands = list(dict.fromkeys(hazards["band"].astype(str)))[::-1]
    words = _forgiveness_finding(hazards, language)
    with canvas(words if title is None else title, height=1.5 + 0.58 * max(len(bands), 1)) as axes:
        refuse_empty(hazards[hazards["estimate"].notna()])
        said, beside = [], []
        for at, band in enumerate(bands):
            own = rows_by(hazards[hazards["band"] == band], "case")
            if any(each["suppressed"] for each in own.values()):
                instead(axes, at, language.text("plots.too_few"))
                continue
            for case, shift, colour, marker in ((WITHOUT, 0.16, BLUE, "o"), (AFTER, -0.16, RED, "s")):
                each = own[case]
                axes.hlines(at + shift, max(each["conf_low"], 0.0), each["conf_high"], color=colour, linewidth=2.2)
                axes.plot(each["estimate"], at + shift, marker, color=colour, markersize=6)
                beside.append(language.percent(each["estimate"], 1))
                figure_beside(axes, each["conf_high"], at + shift, beside[-1], colour=colour, bold=band != ALL)
            said.append(f"{level_name(band, language)}: {_with_points(own[DIFFERENCE], language)}")
        names = [level_name(band, language) for band in bands]
        row_names(axes, range(len(bands)), names)
        axes.set_xlim(0, None)
        make_room(axes, beside, names)
        digits = 1 if axes.get_xlim()[1] < 0.04 else 0
        set_ticks(axes, lambda share: language.percent(share, digits), which="x", most=5, steps=ROUND)
        axes.set_xlabel(on_lines(language.text("plots.leaving_next_quarter"), 60))
        marks: list[dict[str, Any]] = [
            {"color": BLUE, "marker": "o", "linewidth": 2},
            {"color": RED, "marker": "s", "linewidth": 2},
        ]
        cases = [language.text(f"plots.{name}") for name in ("without_failed", "after_failed")]
        key(axes, list(zip(cases, marks, strict=True)))
        return described(axes, language.text("plots.alt.forgiveness", finding=words, parts="; ".join(said[::-1])))


def _points(language: Language) -> Format:
    return lambda x: language.text("plots.pp", number=signed(x, language.number(100 * x, 1))).replace(" ", "\u00a0")


def _with_points(each: Row, language: Language) -> str:
    return with_interval(in_words(each, _points(language)), language)


def _forgiveness_finding(hazards: pd.DataFrame, language: Language) -> str:
    """More leavers after a failed touch: in the lowest and the highest band shown, or of everybody."""
    apart = rows_by(hazards[(hazards["case"] == DIFFERENCE) & ~hazards["suppressed"].astype(bool)], "band")
    if not apart:
        return ""
    bands = [band for band in apart if band != ALL]
    whole = apart.get(ALL) or apart[bands[0]]
    if whole["conf_low"] <= 0 <= whole["conf_high"]:
        return finding("forgiveness_unclear", language, change=_with_points(whole, language))
    if len(bands) < 2:
        return finding("forgiveness_all", language, change=_with_points(whole, language))
    low, high = bands[0], bands[-1]
    return finding(
        "forgiveness",
        language,
        low_band=level_name(low, language, within=True),
        high_band=level_name(high, language, within=True),
        low=_points(language)(apart[low]["estimate"]),
        high=_points(language)(apart[high]["estimate"]),
    )


def loyalty_types(types: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Share of customers by kind of loyalty with its 95 % interval, and how many are of no clear kind.

    Parameters
    ----------
    types
        ``LoyaltyTypes.tidy()``: ``type, share, conf_low, conf_high, clear``; the row ``unclear`` has ``clear`` only.
    """
    rows = types.iloc[::-1].to_dict("records")
    words = _types_finding(types, language)
    with canvas(words if title is None else title, height=1.3 + 0.42 * max(len(rows), 1)) as axes:
        refuse_empty(types[types["share"].notna()])
        names, said, beside = [], [], []
        for at, each in enumerate(rows):
            names.append(language.text(f"plots.loyalty_{each['type']}"))
            is_unclear = each["type"] == UNCLEAR
            share = float(each["clear" if is_unclear else "share"])
            if np.isnan(share):
                instead(axes, at, language.text("plots.too_few"))
                continue
            beside.append(language.percent(share, 0))
            if is_unclear:
                axes.barh(at, share, height=0.6, facecolor="white", edgecolor=LINE, hatch="////", linewidth=0)
                figure_beside(axes, share, at, beside[-1], colour=SOFT)
                said.append(f"{names[-1]}: {beside[-1]}")
                continue
            _bar(axes, at, {**each, "estimate": share}, beside[-1], is_whole=each["type"] == "none")
            figures = with_interval(in_words(each, _percent(language), SHARE), language)
            said.append(f"{names[-1]}: {figures}")
        row_names(axes, range(len(rows)), names)
        axes.set_xlim(0, None)
        make_room(axes, beside, names)
        set_ticks(axes, lambda share: language.percent(share, 0), which="x", most=5, steps=ROUND)
        axes.set_xlabel(language.text("plots.share_of_all"))
        return described(axes, language.text("plots.alt.loyalty_types", finding=words, parts="; ".join(said[::-1])))


def _types_finding(types: pd.DataFrame, language: Language) -> str:
    own = rows_by(types, "type")
    named = {kind: each for kind, each in own.items() if kind not in ("none", UNCLEAR) and each["share"] > 0}
    if not named:
        return ""
    most = max(named, key=lambda kind: float(named[kind]["share"]))
    return finding(
        "loyalty_types",
        language,
        kind=language.text(f"plots.loyalty_{most}_title"),
        share=with_interval(in_words(named[most], _percent(language), SHARE), language),
        unclear=language.percent(own[UNCLEAR]["clear"] if UNCLEAR in own else 0.0, 0),
    )


def shock_survival(
    benefit: pd.DataFrame, *, paths: pd.DataFrame, language: Language = ENGLISH, title: str | None = None
) -> Axes:
    """Customers still there at the end of the horizon as now and under each shock, and what is left of a score gain's retention.

    Parameters
    ----------
    benefit
        ``ShockSurvival.tidy()``: the share of the customer-quarters that the gain adds which survives each shock.
    paths
        ``ShockSurvival.paths``: its last quarter is drawn at the left. All ranges are 5–95 %; kinds that are suppressed are named.

    Raises
    ------
    InputError
        If there are more than four shocks.

    Returns
    -------
    Axes
        The right one of two: what is left of the benefit. The left one is on the same figure.
    """
    shocks = list(dict.fromkeys(benefit["shock"].astype(str)))
    if len(shocks) > len(MARKS):
        raise InputError(
            f"a picture must have at most {len(MARKS) - 1} shocks; the frame has {len(shocks) - 1}. Draw some of them."
        )
    kinds = list(dict.fromkeys(benefit["type"].astype(str)))[::-1]
    words = _shock_finding(benefit, language)
    with canvas(words if title is None else title, height=1.7 + 0.6 * max(len(kinds), 1), columns=2) as right:
        refuse_empty(benefit[benefit["surviving"].notna()])
        left = right.figure.axes[0]
        last = paths[paths["quarter"] == paths["quarter"].max()]
        said = []
        for shock, (colour, marker), shift in zip(shocks, MARKS, np.linspace(0.22, -0.22, len(shocks)), strict=False):
            there, kept = (rows_by(frame[frame["shock"] == shock], "type") for frame in (last, benefit))
            for at, kind in enumerate(kinds):
                if kept[kind]["suppressed"]:
                    continue
                _ranged(left, at + shift, [there[kind][name] for name in STILL], colour, marker)
                if shock != AS_NOW:
                    _ranged(right, at + shift, [kept[kind][name] for name in SURVIVING], colour, marker)
                if shock != AS_NOW and kind == ALL:
                    said.append(
                        f"{plain(shock)}: {with_range(in_words(kept[kind], _percent(language), SURVIVING), language)}"
                    )
        hidden = set(benefit.loc[benefit["suppressed"].astype(bool), "type"])
        for at, kind in enumerate(kinds):
            if kind in hidden:
                instead(left, at, on_lines(language.text("plots.too_few"), 22))
        names = [level_name(ALL, language) if kind == ALL else language.text(f"plots.loyalty_{kind}") for kind in kinds]
        row_names(left, range(len(kinds)), names, bold=[at for at, kind in enumerate(kinds) if kind == ALL])
        right.tick_params(axis="y", length=0, labelleft=False)
        right.spines["left"].set_visible(False)
        right.axvline(1, color=INK, linewidth=0.9, linestyle="--", zorder=0)
        for axes in (left, right):
            axes.set_xlim(min(0.0, axes.get_xlim()[0]), max(1.0, axes.get_xlim()[1]))
            set_ticks(axes, _percent(language), which="x", most=3, steps=ROUND)
        quarters = language.number(paths["quarter"].max())
        left.set_xlabel(on_lines(language.text("plots.still_there", quarters=quarters), 26))
        right.set_xlabel(on_lines(language.text("plots.benefit_left"), 26))
        texts = [language.text("plots.as_now") if shock == AS_NOW else plain(shock, length=36) for shock in shocks]
        styles: list[dict[str, Any]] = [{"color": colour, "marker": marker, "linewidth": 2} for colour, marker in MARKS]
        key(left, list(zip(texts, styles, strict=False)), stacked=True)
        return described(right, language.text("plots.alt.shock_survival", finding=words, parts="; ".join(said)))


def _ranged(axes: Axes, place: float, figures: list[float], colour: str, marker: str) -> None:
    estimate, low, high = figures
    axes.hlines(place, low, high, color=colour, linewidth=2)
    axes.plot(estimate, place, marker, color=colour, markersize=5)


def _percent(language: Language) -> Format:
    return lambda x: language.percent(x, 0)


def _shock_finding(benefit: pd.DataFrame, language: Language) -> str:
    """The shock under which least of the benefit is left, over all customers."""
    every = benefit[(benefit["type"] == ALL) & (benefit["shock"] != AS_NOW) & benefit["surviving"].notna()]
    if every.empty:
        return ""
    least = min(every.to_dict("records"), key=lambda each: float(each["surviving"]))
    figures = with_range(in_words(least, _percent(language), SURVIVING), language)
    return finding("shock_survival", language, shock=plain(least["shock"]), share=figures)
