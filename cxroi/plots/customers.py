"""Pictures of the customer base over time: cohorts, survival after an answer, forecast against what happened, spend.

The title is the finding, computed from the frame, unless one is given; ``title=""`` draws none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLACK,
    BLUE,
    ENGLISH,
    HEAT,
    INK,
    LINE,
    LINE_LENGTH,
    PAPER,
    ROUND,
    SERIES,
    SOFT,
    TINT,
    Floats,
    Format,
    canvas,
    described,
    figure_beside,
    instead,
    make_room,
    name_lines,
    on_lines,
    period_ticks,
    refuse_empty,
    row_names,
    rows_by,
    set_ticks,
    subtitle,
)
from cxroi.plots.formats import (
    ESTIMATE,
    change_of_money,
    counted,
    finding,
    in_words,
    is_clear,
    level_name,
    money_format,
    scaled_money,
    with_currency,
    with_interval,
)

Measure = Literal["retained", "cumulative_margin"]
Amount = Literal["spend", "margin"]

MOST_COHORTS = 16
PERIODS_OF_A_YEAR = {"quarters": 4, "months": 12}
DAYS_OF_A_MONTH = 365.25 / 12
PARTS = ("frequency", "value", "interaction", "total")
ALL = "all"
SURVIVAL = ("survival", "conf_low", "conf_high")


def cohort_triangle(
    frame: pd.DataFrame, *, measure: Measure = "retained", language: Language = ENGLISH, title: str | None = None
) -> Axes:
    """Retention or cumulative margin of joining cohorts (rows) by age (columns), each with its 95 % interval below it.

    Parameters
    ----------
    frame
        ``Cohorts.tidy()``. Cohorts that joined before transactions are recorded are left out and counted; suppressed ones are hatched.
        Where not all ages or cohorts fit, every second, third, … is drawn.
    measure
        ``retained`` or ``cumulative_margin``.
    """
    of_measure = frame[frame["measure"] == measure]
    rows = of_measure[of_measure["seen_from_age"] == 0]
    shown = rows[rows["estimate"].notna()]
    language = with_currency(language, str(rows["unit"].iloc[0]).split(" ")[0] if len(rows) else "")
    noun = "quarters" if rows["cohort"].astype(str).str.contains("Q").any() else "months"
    figure, unit = _cell_format(measure, shown, language)
    texts = [_cell(each, figure) for each in shown.to_dict("records")]
    longest = max((len(words) for both in texts for words in both), default=1)
    ages, cohorts = np.sort(rows["age"].unique()), list(dict.fromkeys(rows["cohort"].astype(str)))
    ages = ages[:: max(1, -(-len(ages) // (12 if longest <= 7 else 9 if longest <= 9 else 7)))]
    drawn = cohorts[:: max(1, -(-len(cohorts) // MOST_COHORTS))]
    words = _cohort_finding(shown, measure, noun, language)
    with canvas(words if title is None else title, height=1.35 + 0.37 * max(len(drawn), 1)) as axes:
        refuse_empty(shown)
        inside = rows[rows["age"].isin(ages) & rows["cohort"].isin(drawn)]
        colour = Normalize(float(inside["estimate"].min()), max(float(inside["estimate"].max()), 1e-12))
        for place, cohort in enumerate(drawn):
            own = inside[inside["cohort"] == cohort]
            if own["suppressed"].astype(bool).all():
                _hatched(axes, len(own), -place, language)
            for each in own[own["estimate"].notna()].to_dict("records"):
                at = (int(np.searchsorted(ages, each["age"])), -place)
                _coloured(axes, at, float(colour(each["estimate"])), _cell(each, figure))
        sizes = rows_by(shown[shown["age"] == 0], "cohort")
        names = [language.period(cohort) for cohort in drawn]
        for place, cohort in enumerate(drawn):
            if cohort in sizes:
                names[place] += f"\nn = {language.number(sizes[cohort]['customers'])}"
        row_names(axes, [-place for place in range(len(drawn))], names)
        axes.set_xlim(-0.5, len(ages) - 0.5)
        axes.set_ylim(-len(drawn) + 0.5, 0.5)
        axes.tick_params(axis="y", labelsize=8.5)
        axes.set_xticks(range(len(ages)), [language.number(age) for age in ages])
        axes.tick_params(axis="x", length=0)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel(language.text(f"plots.since_joining_{noun}"))
        notes = [language.text(f"plots.cohort_{measure}", **({} if measure == "retained" else {"unit": unit}))]
        if len(drawn) < len(cohorts):
            counts = {"number": language.number(len(drawn)), "all": language.number(len(cohorts))}
            notes.append(language.text("plots.some_cohorts", **counts))
        late = of_measure.loc[of_measure["seen_from_age"] > 0, "cohort"].nunique()
        if late:
            notes.append(language.text("plots.late_cohorts", number=language.number(late)))
        subtitle(axes, "; ".join(notes))
        parts = "; ".join(_cohort_parts(shown, measure, noun, language))
        return described(axes, language.text(f"plots.alt.cohort_{measure}", finding=words, parts=parts))


def _cell_format(measure: Measure, shown: pd.DataFrame, language: Language) -> tuple[Format, str]:
    """How a cell is written, and the unit that the subtitle states."""
    if measure == "retained":
        return (lambda x: language.number(100 * x)), "%"
    divisor, digits, unit = scaled_money(shown[list(ESTIMATE)].to_numpy(dtype=float), language)
    return (lambda x: language.number(x / divisor, digits)), unit


def _cell(row: Mapping[Any, Any], figure: Format) -> tuple[str, str]:
    """Figure and interval of a cell; a range that goes below zero is written with dots, which no minus can be taken for."""
    estimate, low, high = in_words(row, figure)
    return estimate, f"{low}{'–' if row['conf_low'] >= 0 else '…'}{high}"


def _coloured(axes: Axes, at: tuple[float, float], share: float, words: tuple[str, str]) -> None:
    """A cell of a heat map with its figure and, below, its interval."""
    x, y = at
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=HEAT(share), edgecolor="white", linewidth=1))
    axes.text(x, y + 0.2, words[0], ha="center", va="center", color=INK, fontsize=8.5)
    axes.text(x, y - 0.24, words[1], ha="center", va="center", color=INK, fontsize=6.4)


def _hatched(axes: Axes, cells: int, place: float, language: Language) -> None:
    """A row of cells that is not shown, said to be so."""
    box = Rectangle((-0.5, place - 0.45), cells, 0.9, facecolor="white", edgecolor=LINE, hatch="////", linewidth=0)
    axes.add_patch(box)
    words = language.text("plots.too_few")
    axes.text(-0.4, place, words, ha="left", va="center", color=SOFT, fontsize=8.5, bbox=PAPER)


def _cohort_finding(shown: pd.DataFrame, measure: Measure, noun: str, language: Language) -> str:
    """First and last cohort at the same age: a year where two of them have it, else the oldest age that two have."""
    if shown.empty:
        return ""
    of_age = shown.groupby("age")["cohort"].nunique()
    common = of_age.index[of_age >= 2]
    year = PERIODS_OF_A_YEAR[noun]
    age = year if year in common else int(common.max()) if len(common) else int(shown["age"].max())
    own = shown[shown["age"] == age].to_dict("records")
    first, last = own[0], own[-1]
    amount = _level_format(measure, language)
    values = {
        "age": counted(noun, age, language),
        "last": language.period(str(last["cohort"])),
        "after": amount(last["estimate"]),
    }
    if len(own) == 1:
        return finding(f"cohort_{measure}_one", language, **values)
    values |= {"first": language.period(str(first["cohort"])), "before": amount(first["estimate"])}
    change = last["estimate"] - first["estimate"]
    way = ("more" if change > 0 else "less") if is_clear(last, first) else "unclear"
    return finding(f"cohort_{measure}_{way}", language, **values)


def _level_format(measure: Measure, language: Language) -> Format:
    return (lambda x: language.percent(x, 0)) if measure == "retained" else money_format(language)


def _cohort_parts(shown: pd.DataFrame, measure: Measure, noun: str, language: Language) -> list[str]:
    """The newest figure of the first, the middle and the last cohort in words."""
    cohorts = list(dict.fromkeys(shown["cohort"]))
    said = []
    for cohort in dict.fromkeys((cohorts[0], cohorts[len(cohorts) // 2], cohorts[-1])):
        last = shown[shown["cohort"] == cohort].to_dict("records")[-1]
        words = with_interval(in_words(last, _level_format(measure, language)), language)
        said.append(f"{language.period(str(cohort))}, {counted(noun, last['age'], language)}: {words}")
    return said


def survival_curves(
    curves: pd.DataFrame, *, at_risk: pd.DataFrame, language: Language = ENGLISH, title: str | None = None
) -> Axes:
    """Share of customers still there after their first answer by its band, with 95 % bands and the number at risk below.

    Parameters
    ----------
    curves
        ``SurvivalByBand.tidy()``: ``band, day, survival, conf_low, conf_high``; a curve ends where its figures do.
    at_risk
        ``SurvivalByBand.at(1, …)``: the days that are marked, from day 1 to the last one that is drawn.

    Returns
    -------
    Axes
        The lower of two: the number at risk. The upper one, the curves, is on the same figure.
    """
    known = curves[curves["survival"].notna() & (curves["day"] <= at_risk["day"].max())]
    marked = at_risk[~at_risk["suppressed"].astype(bool)]
    bands, days = list(dict.fromkeys(at_risk["band"].astype(str))), np.sort(at_risk["day"].unique()).astype(float)
    words = _survival_finding(at_risk, language)
    height, lower = 3.5 + 0.22 * len(bands), 0.3 + 0.22 * len(bands)
    with canvas(words if title is None else title, height=height, rows=2, share=2.5 / lower) as axes:
        refuse_empty(known)
        refuse_empty(marked)
        upper = axes.figure.axes[0]
        end = float(marked["day"].max())
        names: list[tuple[float, float, str, str]] = []
        for band, (colour, line) in zip(bands, SERIES, strict=False):
            steps = _steps(known[known["band"] == band], marked[marked["band"] == band])
            if len(steps) < 2:
                continue
            upper.step(steps["day"], steps["survival"], where="post", color=colour, linestyle=line, linewidth=2)
            limits = (steps["day"], steps["conf_low"], steps["conf_high"])
            upper.fill_between(*limits, step="post", color=colour, alpha=0.16, linewidth=0)
            last = steps.iloc[-1]
            names.append((last["survival"], last["day"], language.percent(last["survival"], 0), colour))
        lowest = float(known["conf_low"].min())
        bottom = 0.0 if lowest < 0.5 else float(np.floor(10 * lowest)) / 10
        shares = np.arange(round(100 * bottom), 101, 25 if bottom == 0.0 else 10 if bottom < 0.8 else 5) / 100
        upper.set_yticks(shares, [language.percent(share, 0) for share in shares])
        upper.set_ylim(bottom, 1.0 + 0.02 * (1.0 - bottom))
        name_lines(upper, names, least=0.075)
        axes.set_xlim(1 - 0.2 * days[-1], 1.12 * days[-1])
        subtitle(upper, language.text("plots.survival_of_answer"))
        _months_marked(upper, days, language)
        _at_risk_table(axes, at_risk, bands, language)
        said = [
            f"{level_name(str(each['band']), language)}: "
            + with_interval(in_words(each, lambda x: language.percent(x, 0), SURVIVAL), language)
            for each in marked[marked["day"] == end].to_dict("records")
        ]
        return described(axes, language.text("plots.alt.survival_curves", finding=words, parts="; ".join(said)))


def _steps(own: pd.DataFrame, marked: pd.DataFrame) -> pd.DataFrame:
    """Corners of one curve from day 1 to the last day on which it is shown."""
    columns = ["day", *SURVIVAL]
    start = pd.DataFrame([(1.0, 1.0, 1.0, 1.0)], columns=columns)
    parts = [start, own[columns].astype(float), marked[columns].astype(float).tail(1)]
    return pd.concat([part for part in parts if len(part)]).sort_values("day", kind="stable", ignore_index=True)


def _months_of(days: Floats) -> Floats:
    return (days - 1) / DAYS_OF_A_MONTH


def _months_marked(axes: Axes, days: Floats, language: Language) -> None:
    """Marked days on the axis, in months since the first of them."""
    months = _months_of(days)
    digits = 0 if np.abs(months - np.round(months)).max() < 0.2 else 1
    axes.set_xticks(days, [language.number(month, digits) for month in months])
    axes.tick_params(axis="x", labelbottom=True)
    axes.set_xlabel(language.text("plots.months_since_answer"))


def _at_risk_table(axes: Axes, at_risk: pd.DataFrame, bands: list[str], language: Language) -> None:
    """Number at risk by band (rows) and marked day (columns)."""
    start = axes.get_xlim()[0]
    for place, (band, (colour, line)) in enumerate(zip(bands, SERIES, strict=False)):
        axes.plot([start, 0.6 * start], [-place, -place], color=colour, linestyle=line, linewidth=2)
        for each in at_risk[at_risk["band"] == band].to_dict("records"):
            words = "–" if each["suppressed"] else language.number(each["at_risk"])
            axes.text(each["day"], -place, words, ha="center", va="center", fontsize=9, color=colour)
    row_names(axes, [-place for place in range(len(bands))], [level_name(band, language) for band in bands])
    axes.tick_params(axis="x", length=0, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    notes = ["at_risk", "at_risk_hidden"] if bool(at_risk["suppressed"].any()) else ["at_risk"]
    subtitle(axes, "; ".join(language.text(f"plots.{note}") for note in notes))


def _survival_finding(at_risk: pd.DataFrame, language: Language) -> str:
    """Lowest and highest band on the last day on which both are shown."""
    shown = at_risk[~at_risk["suppressed"].astype(bool)]
    order = list(dict.fromkeys(shown["band"]))
    if not order:
        return ""
    both = shown[shown["band"].isin([order[0], order[-1]])].groupby("day")["band"].nunique()
    day = float(both.index[both == both.max()].max())
    own = rows_by(shown[shown["day"] == day], "band")
    ends = [own[band] for band in order if band in own]
    high, low = ends[-1], ends[0]
    values = {
        "time": counted("months", float(np.round(_months_of(np.array(day)))), language),
        "high_band": level_name(str(high["band"]), language, within=True),
        "high": language.percent(high["survival"], 0),
    }
    if len(ends) == 1:
        return finding("survival_one", language, **values)
    values |= {
        "low_band": level_name(str(low["band"]), language, within=True),
        "low": language.percent(low["survival"], 0),
    }
    clear = is_clear(high, low, column="survival")
    return finding(f"survival_{'clear' if clear else 'unclear'}", language, **values)


def tracking(
    table: pd.DataFrame,
    *,
    measure: str = "",
    currency: str = "",
    language: Language = ENGLISH,
    title: str | None = None,
) -> Axes:
    """Actual against expected purchases, customers or margin, in the periods fitted to and in those held out.

    Parameters
    ----------
    table
        ``Tracking.tidy()``: ``measure, period, part, actual, expected, low, high``.
    measure
        By default the first one of the table.
    currency
        ISO code of ``margin``; empty where the language has it.
    """
    language = with_currency(language, currency)
    name = measure or (str(table["measure"].iloc[0]) if len(table) else "")
    rows = table[table["measure"] == name].reset_index(drop=True)
    shown: Format = money_format(language) if name == "margin" else language.number
    words = _tracking_finding(rows, name, language)
    with canvas(words if title is None else title, height=3.5) as axes:
        refuse_empty(rows)
        place = np.arange(len(rows), dtype=float)
        held = (rows["part"] == "holdout").to_numpy()
        axes.fill_between(place[held], rows["low"][held], rows["high"][held], color=TINT, linewidth=0)
        axes.vlines(place[held], rows["low"][held], rows["high"][held], color=BLUE, linewidth=1.2, alpha=0.5)
        axes.plot(place, rows["expected"], color=BLUE, linestyle="--", linewidth=2)
        axes.plot(place, rows["actual"], color=BLACK, linewidth=1.6, marker="o", markersize=4)
        bottom = min(0.0, float(rows[["actual", "low"]].min().min()))
        axes.set_ylim(bottom, axes.get_ylim()[1] + 0.12 * (axes.get_ylim()[1] - bottom))
        axes.set_xlim(-0.4, len(rows) - 1 + 0.2 * len(rows))
        axes.spines["bottom"].set_bounds(-0.4, len(rows) - 1)
        if held.any() and not held.all():
            _cut(axes, float(place[held][0]) - 0.5, language)
        last = rows.iloc[-1]
        ends = [
            (float(last["actual"]), float(place[-1]), language.text("plots.actual"), BLACK),
            (float(last["expected"]), float(place[-1]), language.text("plots.expected"), BLUE),
        ]
        name_lines(axes, ends, least=0.07)
        period_ticks(axes, list(rows["period"]), language)
        set_ticks(axes, shown, most=5, steps=ROUND)
        subtitle(axes, "; ".join(language.text(f"plots.{note}") for note in (f"tracked_{name}", "tracked_range")))
        said = [
            f"{language.period(str(each['period']))}: {shown(each['actual'])} / {shown(each['expected'])}"
            for each in rows[held].to_dict("records")
        ]
        return described(axes, language.text("plots.alt.tracking", finding=words, parts="; ".join(said)))


def _cut(axes: Axes, at: float, language: Language) -> None:
    """Where the periods fitted to end and those held out begin."""
    axes.axvline(at, color=SOFT, linestyle=":", linewidth=1.2)
    style: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "top"}
    for side, name, shift in (("right", "fitted_to", -4), ("left", "held_out", 4)):
        words = language.text(f"plots.{name}")
        axes.annotate(words, (at, 1.0), (shift, 0), ha=side, color=SOFT, fontsize=9, **style)


def _tracking_finding(rows: pd.DataFrame, name: str, language: Language) -> str:
    held = rows[rows["part"] == "holdout"]
    if held.empty:
        return language.text(f"plots.tracked_{name}") if len(rows) else ""
    error = held["expected"].sum() / held["actual"].sum() - 1 if held["actual"].sum() else float("nan")
    inside = (held["low"] <= held["actual"]) & (held["actual"] <= held["high"])
    return finding(
        "tracking_under" if error < 0 else "tracking_over",
        language,
        measure=language.text(f"plots.tracked_{name}"),
        periods=counted("quarters" if "Q" in str(held["period"].iloc[0]) else "months", len(held), language),
        error=language.percent(abs(error), 1),
        inside=language.number(int(inside.sum())),
        all=language.number(len(held)),
    )


def spend_change(
    changes: pd.DataFrame, *, measure: Amount = "spend", language: Language = ENGLISH, title: str | None = None
) -> Axes:
    """Change of spend (or margin) per customer by frequency, value and both together, each with its 95 % interval, by group.

    Parameters
    ----------
    changes
        ``SpendChange.tidy()``; the newest comparison, the first of the frame, is drawn. Suppressed groups are named and not drawn.
    """
    own = changes[changes["measure"] == measure]
    rows = own[(own["before"] == own["before"].iloc[0]) & (own["after"] == own["after"].iloc[0])] if len(own) else own
    language = with_currency(language, str(rows["unit"].iloc[0]).split(" ")[0] if len(rows) else "")
    groups = list(dict.fromkeys(rows["group"].astype(str)))
    hidden = {group for group in groups if rows.loc[rows["group"] == group, "suppressed"].astype(bool).all()}
    words = _spend_finding(rows, measure, language)
    lines = sum((1 if group in hidden else len(PARTS)) + (groups != [ALL]) for group in groups)
    with canvas(words if title is None else title, height=1.4 + 0.27 * lines + 0.12 * len(groups)) as axes:
        refuse_empty(rows[rows["estimate"].notna()])
        axes.axvline(0, color=INK, linewidth=0.9)
        places: list[float] = []
        names, bold, said, beside = [], [], [], []
        place = 0.0
        for group in groups:
            name = level_name(group, language)
            if groups != [ALL]:
                bold.append(len(places))
                places.append(place)
                names.append(level_name(group, language, length=LINE_LENGTH))
                if group in hidden:
                    instead(axes, place, language.text("plots.too_few"))
                place -= 1.0
            for part, each in rows_by(rows[rows["group"] == group], "part").items() if group not in hidden else ():
                figures = _part(axes, place, each, language)
                beside.append(figures[0])
                if part == "total":
                    bold.append(len(places))
                    said.append(f"{name}: {with_interval(figures, language)}")
                places.append(place)
                names.append(language.text(f"plots.part_{part}"))
                place -= 1.0
            place -= 0.4
        row_names(axes, places, names, bold=bold)
        make_room(axes, beside, names)
        set_ticks(axes, change_of_money(language), which="x", most=4, steps=ROUND)
        before, after = (_span(str(rows[name].iloc[0]), language) for name in ("before", "after"))
        axes.set_xlabel(on_lines(language.text(f"plots.compared_{measure}", before=before, after=after), 60))
        return described(axes, language.text("plots.alt.spend_change", finding=words, parts="; ".join(said)))


def _part(axes: Axes, place: float, each: Mapping[str, Any], language: Language) -> list[str]:
    """A part of a change (the total in black), and its figures in words."""
    is_total = each["part"] == "total"
    colour = BLACK if is_total else BLUE
    axes.barh(place, each["estimate"], height=0.55, color="#dddddd" if is_total else TINT)
    axes.hlines(place, each["conf_low"], each["conf_high"], color=colour, linewidth=2)
    axes.plot(each["estimate"], place, "D" if is_total else "o", color=colour, markersize=5)
    figures = in_words(each, change_of_money(language))
    figure_beside(axes, max(float(each["conf_high"]), 0.0), place, figures[0], colour=colour, bold=is_total)
    return figures


def _span(label: str, language: Language) -> str:
    """A period, or a year given by its first and last quarter."""
    return "–".join(language.period(part) for part in label.split("–"))


def _spend_finding(rows: pd.DataFrame, measure: Amount, language: Language) -> str:
    """The largest change that is clear, else the largest; and the part that holds most of it."""
    totals = rows[(rows["part"] == "total") & rows["estimate"].notna()]
    if totals.empty:
        return ""
    clear = totals[(totals["conf_low"] > 0) | (totals["conf_high"] < 0)]
    size = (clear if len(clear) else totals)["estimate"].astype(float).abs()
    most = totals.loc[[size.idxmax()]].to_dict("records")[0]
    values = {"change": with_interval(in_words(most, change_of_money(language)), language)}
    name = f"{measure}_unclear"
    if len(clear):
        parts = rows_by(rows[(rows["group"] == most["group"]) & (rows["part"] != "total")], "part")
        way = 1 if most["estimate"] > 0 else -1
        leading = max(parts, key=lambda part: way * float(parts[part]["estimate"]))
        name, values["part"] = f"{measure}_clear", language.text(f"plots.through_{leading}")
    if set(rows["group"]) != {ALL}:
        name, values["group"] = f"{name}_group", level_name(str(most["group"]), language, within=True)
    return finding(name, language, **values)
