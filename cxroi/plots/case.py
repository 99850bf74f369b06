"""Pictures of a business case."""

from __future__ import annotations

import re
import textwrap
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    GREEN,
    INK,
    PAPER,
    RED,
    SOFT,
    TINT,
    Floats,
    canvas,
    described,
    name_beside,
    on_lines,
    plain,
    records,
    refuse_empty,
    roomy,
    set_ticks,
    thinned,
)
from cxroi.plots.formats import (
    capital,
    money_format,
    money_kind,
    with_currency,
)

Scenario = Literal["conservative", "base", "optimistic"]

SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


def cash_flows(
    frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", programme: str = "", currency: str = ""
) -> Axes:
    """Cumulative discounted cash flow by month with its 5–95 % band, the zero line and where the median crosses it.

    Parameters
    ----------
    frame
        ``BusinessCase.cash_flows()``.
    programme
        Id of the programme; by default the total, or the only one.
    """
    language = with_currency(language, currency)
    shown = money_format(language)
    name = programme or str(frame["programme"].iloc[-1])
    rows = frame[(frame["programme"] == name) & frame["discounted_cumulative_median"].notna()]
    with canvas(title, height=3.6) as axes:
        refuse_empty(rows)
        month = rows["month"].to_numpy(dtype=float)
        middle = rows["discounted_cumulative_median"].to_numpy(dtype=float)
        low, high = (rows[f"discounted_cumulative_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
        axes.fill_between(month, low, high, color=TINT, linewidth=0)
        axes.plot(month, middle, color=BLUE, linewidth=2.2)
        axes.axhline(0, color=INK, linewidth=0.9)
        for values, key in ((high, "high"), (middle, "median"), (low, "low")):
            words = language.text(f"plots.case_{key}", value=shown(float(values[-1])))
            name_beside(axes, month[-1], values[-1], words, BLUE if key == "median" else SOFT)
        crossing = _crossing(month, middle)
        if crossing is not None:
            axes.plot(crossing, 0, "o", color=GREEN, markersize=8, zorder=4)
            axes.annotate(
                on_lines(language.text("plots.payback", months=language.number(crossing, 1)), 14),
                (crossing, 0),
                (6, -5),
                textcoords="offset points",
                ha="left",
                va="top",
                color=GREEN,
                fontweight="bold",
                bbox=PAPER,
            )
        axes.set_xticks(thinned(month, 6), [language.number(each) for each in thinned(month, 6)])
        axes.set_xlim(0, month[-1] * 1.34)
        axes.spines["bottom"].set_bounds(0, month[-1])
        set_ticks(axes, shown)
        axes.set_xlabel(language.text("plots.months_ahead"))
        payback = (
            language.text("plots.no_payback")
            if crossing is None
            else language.text("plots.payback", months=language.number(crossing, 1))
        )
        return described(
            axes,
            language.text(
                "plots.alt.cash_flows",
                months=language.number(month[-1]),
                median=shown(float(middle[-1])),
                low=shown(float(low[-1])),
                high=shown(float(high[-1])),
                payback=payback,
            ),
        )


def tornado(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", currency: str = "") -> Axes:
    """Net present value with each uncertain input at its 10 and 90 %, the widest first.

    Parameters
    ----------
    frame
        ``BusinessCase.tornado()``.
    """
    language = with_currency(language, currency)
    shown = money_format(language)
    rows = frame.iloc[:12][::-1]
    with canvas(title, height=1.3 + 0.52 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        rows = rows.assign(programme=_told_apart(rows["programme"]), kind=rows.get("kind", "uncertain"))
        place = np.arange(len(rows))
        middle = float(rows["npv_median"].iloc[0]) if len(rows) else 0.0
        told = []
        for at, each in zip(place, records(rows), strict=True):
            falling, rising = (RED, BLUE) if each.npv_low < each.npv_high else (BLUE, RED)
            for end, colour in ((each.npv_low, falling), (each.npv_high, rising)):
                axes.barh(at, end - middle, left=middle, color=colour, height=0.56, alpha=0.85)
                right = end >= middle
                axes.annotate(
                    shown(float(end)),
                    (end, at),
                    (5 if right else -5, 0),
                    textcoords="offset points",
                    ha="left" if right else "right",
                    va="center",
                    fontsize=9,
                    bbox=PAPER,
                    zorder=5,
                )
            told.append(
                f"{' '.join(_bar_name(each, language).split())}: "
                + language.interval(
                    min(each.npv_low, each.npv_high), max(each.npv_low, each.npv_high), *money_kind(language)
                )
            )
        axes.axvline(middle, color=INK, linewidth=0.9)
        axes.axvline(0, color=SOFT, linestyle=":", linewidth=1.2)
        axes.text(
            middle,
            1.0,
            language.text("plots.median_npv", value=shown(middle)),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=9,
            color=SOFT,
            bbox=PAPER,
            zorder=5,
        )
        inputs = [
            f"{_bar_name(each, language)}\n"
            f"{_tornado_value(float(each.value_low), str(each.unit), language)} → "
            f"{_tornado_value(float(each.value_high), str(each.unit), language)}"
            + (f" {language.text('plots.times_stated')}" if each.unit == "ratio" else "")
            for each in records(rows)
        ]
        axes.set_yticks(place, inputs)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(*roomy(axes.get_xlim(), left=0.6, right=0.36))
        set_ticks(axes, shown, which="x", most=3)
        axes.set_xlabel(language.text("plots.npv"))
        return described(axes, language.text("plots.alt.tornado", median=shown(middle), parts="; ".join(told[::-1])))


def scenarios(
    tidy: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", programme: str = "", currency: str = ""
) -> Axes:
    """Net present value in the conservative, base and optimistic scenario; the base with its 5–95 % range.

    Parameters
    ----------
    tidy
        ``BusinessCase.tidy()``; its rows ``npv`` are drawn.
    programme
        Id of the programme; by default the total, or the only one.
    """
    names = list(tidy["programme"].unique())
    name = programme or ("total" if "total" in names else str(names[0]) if names else "")
    rows = tidy[(tidy["measure"] == "npv") & (tidy["programme"] == name) & tidy["median"].notna()]
    rows = rows.set_index("scenario").reindex([s for s in SCENARIOS if s in set(rows["scenario"])][::-1])
    language = with_currency(language, currency or (str(rows["unit"].iloc[0]) if len(rows) else ""))
    shown = money_format(language)
    with canvas(title, height=1.2 + 0.45 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        place = np.arange(len(rows))
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.barh(
            place, rows["median"], height=0.5, color=[TINT if value >= 0 else "#f8dfcf" for value in rows["median"]]
        )
        axes.hlines(place, rows["low"], rows["high"], color=BLUE, linewidth=2)
        axes.plot(rows["median"], place, "o", color=BLUE)
        for at, each in zip(place, records(rows), strict=True):
            axes.annotate(
                shown(float(each.median)),
                (max(float(each.high), 0.0), at),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
            )
        axes.set_yticks(place, [capital(language.text(f"scenario.{name}")) for name in rows.index])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(*roomy(axes.get_xlim(), right=0.16))
        set_ticks(axes, shown, which="x", most=4)
        axes.set_xlabel(language.text("plots.npv"))
        parts = [
            f"{language.text(f'scenario.{name}')}: {shown(float(value))}" for name, value in rows["median"].items()
        ]
        return described(axes, language.text("plots.alt.scenarios", parts="; ".join(parts[::-1])))


def input_name(name: str, programme: str, language: Language) -> str:
    """What an input is called, with its programme where that is named, on as many lines as it needs."""
    slug = re.sub(r"\W+", "_", name.lower()).strip("_")
    words = language.find(f"plots.input.{slug}") or plain(name)
    return "\n".join(textwrap.wrap(f"{words}: {plain(programme)}" if programme else words, 30))


def _told_apart(programme: pd.Series[str]) -> pd.Series[str]:
    """Programme of each input where there are several; empty for the total and for the only one."""
    names = set(programme) - {"total"}
    return programme.where((programme != "total") & (len(names) > 1), "")


def _bar_name(each: Any, language: Language) -> str:
    """Name of an input; a conventional step says that it is one."""
    words = input_name(str(each.input), str(each.programme), language)
    return words if each.kind == "uncertain" else f"{words} {language.text('plots.convention')}"


def _tornado_value(value: float, unit: str, language: Language) -> str:
    if unit == "points":
        return language.points(value, 2)
    if unit == "per_year":
        return language.percent(value, 0)
    return money_format(language)(value) if unit == language.currency else language.number(value, 2)


def _crossing(month: Floats, values: Floats) -> float | None:
    """First month from which the values stay at zero or above, between two points by a line; None if they end below."""
    if values[-1] < 0 or (values >= 0).all():
        return None
    last = int(np.flatnonzero(values < 0)[-1])
    share = -values[last] / (values[last + 1] - values[last])
    return float(month[last] + share * (month[last + 1] - month[last]))
