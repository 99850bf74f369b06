"""One function a figure: a tidy frame in, one Axes out; colours, line styles and the formats of axes live here.

Every interval in the frame is drawn. A title states the finding and is given by the caller, finished. ``alt`` tells the
same picture in words, and ``to_svg`` writes it, the same bytes for the same picture.

Figures are made without pyplot, so nothing stays open; ``axes.figure`` is the figure to save or show.
"""

from __future__ import annotations

import io
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from typing import Any, Literal, get_args

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cxroi.errors import InputError
from cxroi.language import Kind, Language
from cxroi.scores import ces_interval, csat_interval, hidden_cells

Floats = NDArray[np.float64]
Format = Callable[[float], str]
Scenario = Literal["conservative", "base", "optimistic"]

BLUE, RED, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"  # Okabe and Ito
INK, SOFT, LINE, TINT = "#1a1a1a", "#595959", "#c8c8c8", "#dbe9f4"
SERIES = ((BLUE, "-"), (RED, "--"), (GREEN, "-."), (PURPLE, ":"), (BLACK, "-"))
WIDTH_INCHES = 5.4  # narrow, so that words are still read where a telephone fits the picture to its screen
FLOOR = 5  # answers below which a group is not drawn
LABEL_LENGTH = 44
LINE_LENGTH = 24  # of labels beside bars
_PAPER = {"facecolor": "white", "linewidth": 0, "pad": 1.0}  # under words that may cross a line
ENGLISH = Language("en")
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
CHOICES = ("controls", "period_effects", "coding", "sample", "model")  # of a specification


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
    shown = _score_format(metric, language)
    labels = sorted(rows["period"].unique())
    with _canvas(title, height=3.3) as axes:
        _need(rows)
        groups = list(rows.groupby(by, sort=False)) if by else [("", rows)]
        for (name, group), (colour, line) in zip(groups, SERIES, strict=False):
            place = group["period"].map(labels.index).to_numpy()
            _intervals(axes, place, group, colour)
            axes.plot(place, group["estimate"], color=colour, linestyle=line, linewidth=1.8, marker="o", markersize=5)
            known = group[group["estimate"].notna()]
            if len(known):
                last = known.iloc[-1]
                text = f"{_plain(name)} {shown(last['estimate'])}".strip()
                _beside(axes, labels.index(last["period"]), last["estimate"], text, colour)
        if target is not None:
            axes.axhline(target, color=SOFT, linestyle=":", linewidth=1)
        _periods(axes, labels, language)
        axes.set_xlim(-0.4, len(labels) - 0.3 + 0.09 * len(labels))
        _ticks(axes, shown)
        axes.set_ylabel(_metric(metric, language))
        first, last = (rows[rows["period"] == label]["estimate"].mean() for label in (labels[0], labels[-1]))
        return _told(
            axes,
            language.text(
                "plots.alt.scores_by_period",
                metric=_metric(metric, language),
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
    with _canvas(title, height=2.9) as axes:
        _need(rows)
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
        axes.set_xlabel(language.text("plots.answer", metric=_metric(metric, language)))
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
        return _told(
            axes,
            language.text(
                "plots.alt.score_distribution",
                metric=_metric(metric, language),
                n=language.number(rows["n"].sum()),
                parts="; ".join(parts),
            ),
        )


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
    language = _with_currency(language, currency)
    rows = curve[curve["n"] >= FLOOR].sort_values("score")
    shown = _outcome_format(outcome, language)
    with _canvas(title, height=3.6) as axes:
        _need(rows)
        limits = _curve_interval(rows, outcome)
        score = rows["score"].to_numpy(dtype=float)
        axes.vlines(score, limits[0], limits[1], color=SOFT, linewidth=1.2)
        size = 160 * rows["n"] / max(float(rows["n"].max()), 1.0) + 14
        axes.scatter(score, rows["observed"], s=size, color=BLACK, zorder=3, linewidth=0)
        axes.plot(score, rows["fitted"], color=BLUE, linewidth=2.2, zorder=2)
        _beside(axes, score[-1], float(rows["fitted"].iloc[-1]), language.text("plots.fitted"), BLUE)
        axes.set_title(_lines(language.text("plots.observed"), 58), loc="left", fontsize=9.5, color=SOFT)
        axes.set_xticks(score, [language.number(each) for each in score])
        axes.set_xlim(score[0] - 0.5, score[-1] + 0.5 + 0.1 * (score[-1] - score[0] + 1))
        _ticks(axes, shown)
        axes.set_xlabel(language.text("plots.answer", metric=_metric(exposure, language)))
        axes.set_ylabel(language.text(f"plots.outcome.{outcome}"))
        ends = [shown(float(rows["fitted"].iloc[at])) for at in (0, -1)]
        answers = [language.number(score[at]) for at in (0, -1)]
        return _told(
            axes,
            language.text(
                "plots.alt.linkage",
                outcome=language.text(f"plots.outcome.{outcome}"),
                metric=_metric(exposure, language),
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
    shown = _change_format(outcome, language)
    with _canvas(title, height=1.5 + 0.42 * max(len(rows), 1)) as axes:
        _need(rows)
        axes.axvline(0, color=INK, linewidth=0.9)
        places, labels, told = [], [], []
        place = 0.0
        for exposure, group in rows.groupby("exposure", sort=False):
            for each in _each(group):
                adjusted = bool(each.headline)
                colour = BLUE if adjusted else SOFT
                axes.hlines(place, each.conf_low, each.conf_high, color=colour, linewidth=2.2 if adjusted else 1.4)
                axes.plot(each.estimate, place, "o", color=colour, markerfacecolor=colour if adjusted else "white")
                words = language.interval(each.conf_low, each.conf_high, *_change_kind(outcome, language))
                axes.annotate(
                    shown(float(each.estimate)),
                    (each.conf_high, place),
                    (6, 0),
                    textcoords="offset points",
                    va="center",
                    color=colour,
                    fontweight="bold" if adjusted else "normal",
                )
                name = f"{_metric(str(exposure), language)}, {_method(str(each.method), language)}"
                places.append(place)
                labels.append(name)
                told.append(f"{name}: {shown(float(each.estimate))} ({words})")
                place -= 1.0
            place -= 0.4
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(y=0.12)
        axes.set_xlim(*_roomy(axes.get_xlim(), right=0.14))
        _ticks(axes, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, which="x")
        axes.set_xlabel(_per_point(outcome, language))
        return _told(axes, language.text("plots.alt.effects", parts="; ".join(told)))


def value_by_band(tidy: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """Lifetime value per customer by band of the last answer, with its 5–95 % range; the dashed line is everybody.

    Parameters
    ----------
    tidy
        ``CustomerValue.tidy()``; its rows ``lifetime_value`` are drawn.
    """
    rows = tidy[(tidy["measure"] == "lifetime_value") & (tidy["customers"] >= FLOOR)]
    rows = rows[rows["band"].isin(["all", *shown_bands(tidy)])]
    language = _with_currency(language, str(rows["unit"].iloc[0]) if len(rows) else "")
    shown = _money_format(language)
    whole, bands = rows[rows["band"] == "all"], rows[rows["band"] != "all"].iloc[::-1]
    drawn = bands if len(bands) else whole
    with _canvas(title, height=1.3 + 0.5 * max(len(drawn), 1)) as axes:
        _need(drawn)
        place = np.arange(len(drawn))
        axes.barh(place, drawn["estimate"], color=TINT, height=0.62)
        axes.hlines(place, drawn["low"], drawn["high"], color=BLUE, linewidth=2)
        axes.plot(drawn["estimate"], place, "o", color=BLUE)
        told = []
        for at, each in zip(place, _each(drawn), strict=True):
            axes.annotate(
                shown(float(each.estimate)),
                (max(float(each.high), 0.0), at),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
                bbox=_PAPER,
                zorder=5,
            )
            told.append(f"{_band(str(each.band), language)}: {shown(float(each.estimate))}")
        labels = [_band_and_n(str(each.band), float(each.customers), language) for each in _each(drawn)]
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
        axes.set_xlim(*_roomy(axes.get_xlim(), right=0.22))
        _ticks(axes, shown, which="x", most=3)
        axes.set_xlabel(language.text("plots.value_per_customer"))
        return _told(axes, language.text("plots.alt.value_by_band", parts="; ".join(told[::-1])))


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
    language = _with_currency(language, currency)
    shown = _money_format(language)
    quarter = path["quarter"].to_numpy(dtype=float)
    with _canvas(title, height=4.2, rows=2) as axes:
        _need(path)
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
        axes.set_xticks(_few(quarter), [language.number(each) for each in _few(quarter)])
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), None)
        _ticks(axes, shown, most=4)
        last = path.iloc[-1]
        _beside(upper, last["quarter"], last["survival"], language.percent(last["survival"], 0), BLACK)
        return _told(
            axes,
            language.text(
                "plots.alt.value_path",
                quarters=language.number(len(path)),
                survival=language.percent(last["survival"], 0),
                first=shown(float(path["discounted_margin"].iloc[0])),
                last=shown(float(last["discounted_margin"])),
            ),
        )


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
    language = _with_currency(language, currency)
    shown = _money_format(language)
    name = programme or str(frame["programme"].iloc[-1])
    rows = frame[(frame["programme"] == name) & frame["discounted_cumulative_median"].notna()]
    with _canvas(title, height=3.6) as axes:
        _need(rows)
        month = rows["month"].to_numpy(dtype=float)
        middle = rows["discounted_cumulative_median"].to_numpy(dtype=float)
        low, high = (rows[f"discounted_cumulative_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
        axes.fill_between(month, low, high, color=TINT, linewidth=0)
        axes.plot(month, middle, color=BLUE, linewidth=2.2)
        axes.axhline(0, color=INK, linewidth=0.9)
        for values, key in ((high, "high"), (middle, "median"), (low, "low")):
            words = language.text(f"plots.case_{key}", value=shown(float(values[-1])))
            _beside(axes, month[-1], values[-1], words, BLUE if key == "median" else SOFT)
        crossing = _crossing(month, middle)
        if crossing is not None:
            axes.plot(crossing, 0, "o", color=GREEN, markersize=8, zorder=4)
            axes.annotate(
                language.text("plots.payback", months=language.number(crossing)),
                (crossing, 0),
                (6, -16),
                textcoords="offset points",
                ha="left",
                color=GREEN,
                fontweight="bold",
                bbox=_PAPER,
            )
        axes.set_xticks(_few(month, 6), [language.number(each) for each in _few(month, 6)])
        axes.set_xlim(0, month[-1] * 1.34)
        axes.spines["bottom"].set_bounds(0, month[-1])
        _ticks(axes, shown)
        axes.set_xlabel(language.text("plots.months_ahead"))
        payback = (
            language.text("plots.no_payback")
            if crossing is None
            else language.text("plots.payback", months=language.number(crossing))
        )
        return _told(
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
    language = _with_currency(language, currency)
    shown = _money_format(language)
    rows = frame.iloc[:12][::-1]
    with _canvas(title, height=1.3 + 0.52 * max(len(rows), 1)) as axes:
        _need(rows)
        rows = rows.assign(programme=_told_apart(rows["programme"]))
        place = np.arange(len(rows))
        middle = float(rows["npv_median"].iloc[0]) if len(rows) else 0.0
        told = []
        for at, each in zip(place, _each(rows), strict=True):
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
                    bbox=_PAPER,
                )
            told.append(
                f"{_input(str(each.input), str(each.programme), language)}: "
                + language.interval(
                    min(each.npv_low, each.npv_high), max(each.npv_low, each.npv_high), *_money_kind(language)
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
        )
        inputs = [
            f"{_input(str(each.input), str(each.programme), language)}\n"
            f"{_tornado_value(float(each.value_low), str(each.unit), language)} → "
            f"{_tornado_value(float(each.value_high), str(each.unit), language)}"
            for each in _each(rows)
        ]
        axes.set_yticks(place, inputs)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(*_roomy(axes.get_xlim(), left=0.6, right=0.36))
        _ticks(axes, shown, which="x", most=3)
        axes.set_xlabel(language.text("plots.npv"))
        return _told(axes, language.text("plots.alt.tornado", median=shown(middle), parts="; ".join(told[::-1])))


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
    language = _with_currency(language, currency or (str(rows["unit"].iloc[0]) if len(rows) else ""))
    shown = _money_format(language)
    with _canvas(title, height=1.2 + 0.45 * max(len(rows), 1)) as axes:
        _need(rows)
        place = np.arange(len(rows))
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.barh(
            place, rows["median"], height=0.5, color=[TINT if value >= 0 else "#f8dfcf" for value in rows["median"]]
        )
        axes.hlines(place, rows["low"], rows["high"], color=BLUE, linewidth=2)
        axes.plot(rows["median"], place, "o", color=BLUE)
        for at, each in zip(place, _each(rows), strict=True):
            axes.annotate(
                shown(float(each.median)),
                (max(float(each.high), 0.0), at),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
            )
        axes.set_yticks(place, [_capital(language.text(f"scenario.{name}")) for name in rows.index])
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(*_roomy(axes.get_xlim(), right=0.16))
        _ticks(axes, shown, which="x", most=4)
        axes.set_xlabel(language.text("plots.npv"))
        parts = [
            f"{language.text(f'scenario.{name}')}: {shown(float(value))}" for name, value in rows["median"].items()
        ]
        return _told(axes, language.text("plots.alt.scenarios", parts="; ".join(parts[::-1])))


def confounders(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """A figure as it is and with unseen confounders as strong as what is recorded, each with its 95 % interval around zero.

    Parameters
    ----------
    frame
        ``name, estimate, conf_low, conf_high, leads`` and ``outcome``, the same in every row; names are finished words.
    """
    outcome = str(frame["outcome"].iloc[0]) if len(frame) else "retained"
    shown = _change_format(outcome, language)
    with _canvas(title, height=1.5 + 0.34 * max(len(frame), 1)) as axes:
        _need(frame)
        told = _forest(axes, frame.rename(columns={"conf_low": "low", "conf_high": "high"}), shown)
        _ticks(axes, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, which="x", most=4)
        axes.set_xlabel(_per_point(outcome, language))
        return _told(axes, language.text("plots.alt.confounders", parts="; ".join(told)))


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
    shown = _change_format(outcome, language)
    levels = [(name, level) for name in CHOICES for level in dict.fromkeys(rows[name])]
    with _canvas(
        title, height=2.6 + 0.26 * len(levels), rows=2, share=2.1 / (0.5 + 0.26 * max(len(levels), 1))
    ) as axes:
        _need(rows)
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
                bbox=_PAPER,
            )
        upper.set_title(_lines(_per_point(outcome, language, wrapped=False), 58), loc="left", fontsize=9.5, color=SOFT)
        upper.tick_params(axis="x", labelbottom=False, length=0)
        _ticks(upper, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, most=4)
        lines, gap = [], 0.0
        for at, (name, level) in enumerate(levels):
            gap += 0.35 * (at > 0 and levels[at - 1][0] != name)
            lines.append(-at - gap)
            made = (rows[name] == level).to_numpy()
            axes.plot(
                place[made], np.full(int(made.sum()), lines[-1]), "|", color=INK, markersize=6, markeredgewidth=0.7
            )
        axes.set_yticks(lines, [_plain(level) for _, level in levels])
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
        return _told(axes, words)


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
    shown = _change_format(outcome, language)
    with _canvas(title, height=1.6 + 0.46 * max(len(rows), 1)) as axes:
        _need(rows)
        axes.axvline(0, color=INK, linewidth=0.9)
        places, labels, told, place = [], [], [], 0.0
        for _, group in rows.groupby("segment", sort=False):
            for each in _each(group):
                axes.hlines(place + 0.16, each.conf_low, each.conf_high, color=SOFT, linewidth=1.2)
                axes.plot(each.estimate, place + 0.16, "o", color=SOFT, markerfacecolor="white", markersize=5)
                axes.hlines(place - 0.16, each.pooled_low, each.pooled_high, color=BLUE, linewidth=2.2)
                axes.plot(each.pooled, place - 0.16, "o", color=BLUE)
                places.append(place)
                labels.append(f"{_plain(each.level, length=24)}\n(n = {language.number(each.customers)})")
                told.append(f"{_plain(each.segment)} {_plain(each.level)}: {shown(float(each.pooled))}")
                place -= 1.0
            place -= 0.3
        axes.set_yticks(places, labels)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.margins(y=0.08)
        _ticks(axes, (lambda x: language.number(100 * x, 1)) if outcome == "retained" else shown, which="x", most=4)
        axes.set_xlabel(_per_point(outcome, language))
        axes.set_title(_lines(language.text("plots.pooled"), 58), loc="left", fontsize=9.5, color=SOFT)
        return _told(axes, language.text("plots.alt.segments", parts="; ".join(told)))


def shortcuts(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "") -> Axes:
    """Value of one point by the popular shortcuts beside the one that leads, each with its 5-95 % range.

    Parameters
    ----------
    frame
        ``shortcut, estimate, low, high, times, unit``: the leading figure first; names are finished words. Rows without a
        figure are left out.
    """
    rows = frame[frame["estimate"].notna()].reset_index(drop=True)
    language = _with_currency(language, str(rows["unit"].iloc[0]) if len(rows) else "")
    shown = _money_format(language)
    with _canvas(title, height=1.4 + 0.42 * max(len(rows), 1)) as axes:
        _need(rows)
        drawn = rows.assign(name=rows["shortcut"], leads=rows.index == 0)
        low, high = float(rows["low"].iloc[0]), float(rows["high"].iloc[0])
        axes.axvspan(low, high, color=TINT, linewidth=0, zorder=0)
        told = _forest(axes, drawn, shown, times=[_times(each, language) for each in rows["times"]])
        _ticks(axes, shown, which="x", most=3)
        axes.set_xlabel(language.text("plots.value_of_one_point"))
        return _told(axes, language.text("plots.alt.shortcuts", parts="; ".join(told)))


def _forest(axes: Axes, rows: pd.DataFrame, shown: Format, *, times: Sequence[str] = ()) -> list[str]:
    """Dots with intervals around zero, a row each from the top, the leading one in colour; the same in words."""
    axes.axvline(0, color=INK, linewidth=0.9)
    told = []
    for at, each in enumerate(_each(rows)):
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
            bbox=_PAPER,
        )
        told.append(f"{_plain(each.name)}: {words} ({shown(float(each.low))}; {shown(float(each.high))})")
    axes.set_yticks([-at for at in range(len(rows))], [_lines(_plain(name), LINE_LENGTH) for name in rows["name"]])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(y=0.1)
    axes.set_xlim(*_roomy(axes.get_xlim(), right=0.46 if times else 0.16))
    return told


def _times(times: float, language: Language) -> str:
    return "" if np.isnan(times) or times == 1 else language.text("plots.times", number=language.number(times, 1))


def _per_point(outcome: str, language: Language, *, wrapped: bool = True) -> str:
    unit = " ({})".format(language.text("plots.pp", number="").strip()) if outcome == "retained" else ""
    words = language.text("plots.per_point", outcome=language.text(f"plots.outcome.{outcome}")) + unit
    return _lines(words, 52) if wrapped else words


def accounting(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", table: str = "surveys") -> Axes:
    """Where rows were lost: what was read, each loss with its reason, what is kept.

    Parameters
    ----------
    frame
        ``Panel.accounting`` (``stage, reason, rows``; its answers are drawn) or ``Tables.accounting``
        (``table, reason, rows``).
    table
        Which table of ``Tables.accounting``.
    """
    key, name = ("stage", "answers") if "stage" in frame.columns else ("table", table)
    rows = frame[frame[key] == name].reset_index(drop=True)
    with _canvas(title, height=1.0 + 0.36 * max(len(rows), 1)) as axes:
        _need(rows)
        left = 0.0
        told = []
        for at, each in enumerate(_each(rows)):
            count = abs(float(each.rows))
            whole = each.reason in ("read", "kept")
            start = 0.0 if whole else left - count
            left = count if each.reason == "read" else start if not whole else left
            axes.barh(-at, count, left=start, color=BLUE if whole else RED, height=0.6, alpha=1 if whole else 0.85)
            number = language.number(count if whole else -count)
            axes.annotate(number, (start + count, -at), (5, 0), textcoords="offset points", va="center")
            told.append(f"{_reason(str(each.reason), language)} {number}")
        axes.set_yticks([-at for at in range(len(rows))], [_reason(str(each), language) for each in rows["reason"]])
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(*_roomy((0.0, max(left, float(rows["rows"].abs().max()))), right=0.12))
        return _told(axes, language.text("plots.alt.accounting", parts="; ".join(told)))


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
def _canvas(title: str, *, height: float, rows: int = 1, share: float = 0.62) -> Iterator[Axes]:
    """Axes on a figure of its own with the title above; the lowest of several, each of the others with a share of its height."""
    lines = textwrap.wrap(_plain(title, length=300), 58)
    with mpl.rc_context(_style()):
        figure = Figure(figsize=(WIDTH_INCHES, height + 0.24 * len(lines)), layout="constrained", dpi=72)
        ratios = [share] * (rows - 1) + [1.0]
        axes = figure.subplots(rows, 1, sharex=rows > 1, squeeze=False, height_ratios=ratios)[-1, 0]
        if lines:
            figure.suptitle("\n".join(lines), x=0.008, ha="left", fontsize=11.5, fontweight="bold", linespacing=1.25)
        yield axes
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)  # now and not while drawing, so that every drawing is the same
        figure.set_layout_engine("none")


def _told(axes: Axes, words: str) -> Axes:
    axes.set_label(words)
    return axes


def _each(rows: pd.DataFrame) -> list[Any]:
    return list(rows.itertuples())


def _need(rows: pd.DataFrame) -> None:
    """Refuse an empty picture."""
    if rows.empty:
        raise InputError(
            "a figure must have at least one row to draw; the frame has none left. Show the reason instead."
        )


def _plain(text: object, *, length: int = LABEL_LENGTH) -> str:
    """Text from data that can be drawn: composed, without control signs or signs that no font has, and short."""
    composed = unicodedata.normalize("NFC", str(text))
    drawn = "".join(
        sign if sign == "\u00a0" or (sign.isprintable() and ord(sign) in _signs()) else " " for sign in composed
    )
    short = " ".join(drawn.split(" ")).strip()
    return short if len(short) <= length else short[: length - 1] + "…"


def _lines(words: str, length: int) -> str:
    """Words on as many lines as they need."""
    return "\n".join(textwrap.wrap(words, length))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _with_currency(language: Language, currency: str) -> Language:
    if language.currency or not re.fullmatch("[A-Z]{3}", currency):
        return language
    return replace(language, currency=currency)


def _money_format(language: Language) -> Format:
    if not language.currency:
        return lambda x: language.number(x, 0 if abs(x) >= 100 else 2)
    return lambda x: language.money(x, compact=True)


def _money_kind(language: Language) -> tuple[Kind]:
    return ("compact_money",) if language.currency else ("number",)


def _outcome_format(outcome: str, language: Language) -> Format:
    if outcome == "retained":
        return lambda x: language.percent(x, 0)
    return _money_format(language) if outcome in ("margin", "revenue", "ltv") else lambda x: language.number(x, 2)


def _change_kind(outcome: str, language: Language) -> tuple[Kind, int]:
    if outcome == "retained":
        return "percentage_points", 2
    if outcome in ("margin", "revenue", "ltv"):
        return _money_kind(language)[0], 0
    return "number", 3


def _change_format(outcome: str, language: Language) -> Format:
    if outcome == "retained":
        return lambda x: language.text("plots.pp", number=_signed(x, language.number(100 * x, 2)))
    shown = _outcome_format(outcome, language)
    return lambda x: _signed(x, shown(x) if outcome != "orders" else language.number(x, 3))


def _signed(x: float, text: str) -> str:
    return f"+{text}" if x > 0 else text


def _score_format(metric: str, language: Language) -> Format:
    if metric == "csat":
        return lambda x: language.percent(x, 0)
    return lambda x: language.number(x, 0 if metric == "nps" else 2)


def _metric(metric: str, language: Language) -> str:
    return metric.upper() if metric in ("nps", "csat", "ces") else _plain(metric)


def _method(method: str, language: Language) -> str:
    slug = re.sub(r"\W+", "_", method.lower()).strip("_")
    return language.find(f"plots.method.{slug}") or _plain(method)


def _band(band: str, language: Language) -> str:
    return language.find(f"plots.band.{band.replace(' ', '_')}") or _plain(band)


def _band_and_n(band: str, customers: float, language: Language) -> str:
    """Band with its number of customers, on two lines where one would take the room of the bars."""
    words = language.text("plots.band_n", band=_band(band, language), n=language.number(customers))
    return words if len(words) <= LINE_LENGTH else words.replace(" (", "\n(")


def _reason(reason: str, language: Language) -> str:
    slug = re.sub(r"\W+", "_", reason.lower()).strip("_")
    return _capital(language.find(f"accounting.{slug}") or _plain(reason.replace("_", " ")))


def _input(name: str, programme: str, language: Language) -> str:
    slug = re.sub(r"\W+", "_", name.lower()).strip("_")
    words = language.find(f"plots.input.{slug}") or _plain(name)
    return words if not programme else "\n".join(textwrap.wrap(f"{words}: {_plain(programme)}", 30))


def _told_apart(programme: pd.Series[str]) -> pd.Series[str]:
    """Programme of each input where there are several; empty for the total and for the only one."""
    names = set(programme) - {"total"}
    return programme.where((programme != "total") & (len(names) > 1), "")


def _tornado_value(value: float, unit: str, language: Language) -> str:
    if unit == "points":
        return language.points(value, 2)
    return _money_format(language)(value) if unit == language.currency else language.number(value, 2)


def _bands(score: Floats, metric: str, top: float) -> list[str]:
    """Band of each point of a scale: low, middle or high."""
    if metric == "nps":
        low, high = top - 3.5, top - 1.5
    elif metric == "csat":
        low, high = top - 2.5, top - 1.5
    else:
        low, high = top - 3.5, top - 2.5
    return ["low" if each <= low else "middle" if each <= high else "high" for each in score]


def _curve_interval(rows: pd.DataFrame, outcome: str) -> tuple[Floats, Floats]:
    """95 % limits of the observed mean at each answer, two arrays of shape (rows,)."""
    n, mean = rows["n"].to_numpy(dtype=float), rows["observed"].to_numpy(dtype=float)
    if outcome == "retained":
        found = csat_interval(mean * n, n)
    else:
        found = ces_interval(mean, rows["std_error"].to_numpy(dtype=float) * np.sqrt(n), n)
    return found.conf_low, found.conf_high


def _intervals(axes: Axes, place: Floats, group: pd.DataFrame, colour: str) -> None:
    axes.vlines(place, group["conf_low"], group["conf_high"], color=colour, linewidth=5, alpha=0.25)


def _beside(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    style: dict[str, Any] = {"color": colour, "fontweight": "bold", "fontsize": 9.5, "bbox": _PAPER}
    axes.annotate(text, (x, y), (8, 0), textcoords="offset points", va="center", **style)


def _periods(axes: Axes, labels: Sequence[str], language: Language) -> None:
    """Ticks of periods, the year below the quarter; every other one where there are many."""
    step = -(-len(labels) // 10)
    shown = list(range(len(labels)))[::-1][::step][::-1]
    axes.set_xticks(shown, ["\n".join(language.period(labels[at]).rsplit(" ", 1)) for at in shown])


def _ticks(axes: Axes, shown: Format, *, which: str = "y", most: int = 6) -> None:
    """Few ticks, each written as its unit is written."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    ticks = [tick for tick in MaxNLocator(most).tick_values(low, high) if low <= tick <= high]
    labels = [shown(float(tick)) for tick in ticks]
    if len(set(labels)) < len(labels):
        kept = {label: tick for tick, label in zip(ticks, labels, strict=True)}
        ticks, labels = list(kept.values()), list(kept)
    axis.set_ticks(ticks, labels)
    (axes.set_ylim if which == "y" else axes.set_xlim)(low, high)


def _roomy(limits: tuple[float, float], *, left: float = 0.0, right: float = 0.0) -> tuple[float, float]:
    width = limits[1] - limits[0]
    return limits[0] - left * width, limits[1] + right * width


def _few(places: Floats, step: int = 1) -> Floats:
    """At most thirteen of the places, evenly spaced from the first."""
    chosen = places[:: max(step, -(-len(places) // 13))]
    return np.asarray(chosen)


def _crossing(month: Floats, values: Floats) -> float | None:
    """First month from which the values stay at zero or above, between two points by a line; None if they end below."""
    if values[-1] < 0 or (values >= 0).all():
        return None
    last = int(np.flatnonzero(values < 0)[-1])
    share = -values[last] / (values[last + 1] - values[last])
    return float(month[last] + share * (month[last + 1] - month[last]))
