"""Pictures of where new customers come from and what they cost: acquisition, referrals, earned growth.

The title is the finding, computed from the frame, unless one is given; ``title=""`` draws none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLACK,
    BLUE,
    ENGLISH,
    GREEN,
    INK,
    LINE,
    PAPER,
    PURPLE,
    RED,
    ROUND,
    SOFT,
    WHOLE,
    Format,
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
from cxroi.plots.formats import (
    ESTIMATE,
    counted,
    finding,
    in_words,
    is_clear,
    level_name,
    metric_name,
    money_format,
    signed,
    with_currency,
    with_interval,
    with_range,
)

Row = Mapping[Any, Any]

ALL = "all"
RATIO = ("ltv_to_cac_median", "ltv_to_cac_low", "ltv_to_cac_high")
COST = ("cac", "cac_conf_low", "cac_conf_high")
PAYBACK = ("payback_months", "payback_conf_low", "payback_conf_high")
KINDS = (("organic", BLUE, "o"), ("incentivised", RED, "s"), ("not stated", SOFT, "^"))
ONLY_KIND = (("all", BLUE, "o"),)
PER_CUSTOMERS = 100
CELL_PLACES = {("low", "low"): (0, 0), ("high", "low"): (1, 0), ("low", "high"): (0, 1), ("high", "high"): (1, 1)}
LEAST_UNKNOWN = 0.005  # share of new customers of unknown origin that is worth a word
VALUE_OF_REFERRALS = ("referral_value_median", "referral_value_low", "referral_value_high")
RATE = ("rate", "conf_low", "conf_high")
STEPS = ("net_revenue_retention", "earned_new", "bought_new", "unknown_new", "returned")
STEP_COLOURS = {
    "gross_revenue_retention": SOFT,
    "net_revenue_retention": BLUE,
    "earned_new": GREEN,
    "bought_new": RED,
    "unknown_new": "#9a9a9a",
    "returned": PURPLE,
    "revenue_growth_rate": BLACK,
}


def acquisition(levels: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Lifetime value over acquisition cost with its 5–95 % range, and months until the cost is earned back, by level.

    Parameters
    ----------
    levels
        ``Acquisition.tidy()``. Where no level has a lifetime value, the cost itself is drawn at the left. A level without a stated cost
        says so; so does one whose cost is not earned back within the months followed.

    Returns
    -------
    Axes
        The right one of two: payback. The left one is on the same figure.
    """
    language = with_currency(language, str(levels["currency"].iloc[0]) if len(levels) else "")
    rows = levels.iloc[::-1].to_dict("records")
    words = _acquisition_finding(rows, language)
    with canvas(words if title is None else title, height=1.35 + 0.46 * max(len(rows), 1), columns=2) as right:
        refuse_empty(levels[~levels["suppressed"].astype(bool)])
        left = right.figure.axes[0]
        names = [_level_and_n(each, language) for each in rows]
        _cost_side(left, rows, names, language)
        _payback_side(right, rows, names, language)
        row_names(left, range(len(rows)), names, bold=[at for at, each in enumerate(rows) if each["level"] == ALL])
        right.tick_params(axis="y", length=0, labelleft=False)
        right.spines["left"].set_visible(False)
        said = [_acquisition_words(each, language) for each in rows[::-1] if not each["suppressed"]]
        name = "acquisition" if levels["ltv_to_cac_median"].notna().any() else "acquisition_cost"
        return described(right, language.text(f"plots.alt.{name}", finding=words, parts="; ".join(said)))


def _level_and_n(each: Row, language: Language) -> str:
    name = level_name(str(each["level"]), language, length=20)
    return name if each["suppressed"] else f"{name}\n(n = {language.number(each['customers'])})"


def _cost_side(axes: Axes, rows: Sequence[Row], names: Sequence[str], language: Language) -> None:
    has_values = any(not np.isnan(each["ltv_to_cac_median"]) for each in rows)
    shown, columns = (_times(language), RATIO) if has_values else (money_format(language), COST)
    if has_values:
        axes.axvline(1, color=INK, linewidth=0.9, linestyle="--")
    beside = []
    for at, each in enumerate(rows):
        if each["suppressed"] or np.isnan(each[columns[0]]):
            instead(axes, at, on_lines(language.text(f"plots.{_lacking(each)}"), 22))
            continue
        colour = INK if each["level"] == ALL else BLUE
        axes.hlines(at, each[columns[1]], each[columns[2]], color=colour, linewidth=2.2)
        axes.plot(each[columns[0]], at, "o", color=colour)
        beside.append(shown(each[columns[0]]))
        figure_beside(axes, each[columns[2]], at, beside[-1], bold=each["level"] == ALL)
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.2 if has_values else 0))
    make_room(axes, beside, names, columns=2)
    if has_values:
        digits = 0 if axes.get_xlim()[1] >= 3 else 1
        set_ticks(axes, lambda x: language.number(x, digits), which="x", most=4, steps=WHOLE)
    else:
        set_ticks(axes, shown, which="x", most=3, steps=ROUND)
    subtitle(axes, language.text("plots.ltv_to_cac" if has_values else "plots.cac"), length=30)


def _lacking(each: Row) -> str:
    """Why a level has no figure of cost."""
    if each["suppressed"]:
        return "too_few"
    return {"no cost stated": "no_cac", "too few costs stated": "few_cac"}.get(str(each["payback"]), "no_value")


def _payback_side(axes: Axes, rows: Sequence[Row], names: Sequence[str], language: Language) -> None:
    beside = []
    for at, each in enumerate(rows):
        month, low, high = (float(each[name]) for name in PAYBACK)
        last = float(each["months_followed"])
        if each["suppressed"] or each["payback"] not in ("reached", "not reached"):
            instead(axes, at, "–")
            continue
        colour, is_open = INK if each["level"] == ALL else GREEN, np.isnan(high)
        end = last if is_open else high
        axes.hlines(at, last if np.isnan(low) else low, end, color=colour, linewidth=2.2)
        if is_open:
            axes.plot(end, at, ">", color=colour, markersize=6, markerfacecolor="white")
        if each["payback"] == "reached":
            axes.plot(month, at, "o", color=colour)
            beside.append(language.number(month))
        else:
            beside.append(language.text("plots.over_months", number=language.number(last)))
        figure_beside(axes, end, at, beside[-1], bold=each["level"] == ALL)
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.0))
    make_room(axes, beside, names, columns=2)
    set_ticks(axes, language.number, which="x", most=4, steps=WHOLE)
    subtitle(axes, language.text("plots.cac_payback"), length=30)


def _times(language: Language) -> Format:
    return lambda x: language.number(x, 1)


def _acquisition_words(each: Row, language: Language) -> str:
    name = level_name(str(each["level"]), language)
    if np.isnan(each["cac"]):
        return f"{name}: {language.text(f'plots.{_lacking(each)}')}"
    said = [f"CAC {with_interval(in_words(each, money_format(language), COST), language)}"]
    if not np.isnan(each["ltv_to_cac_median"]):
        said.append(f"LTV:CAC {with_range(in_words(each, _times(language), RATIO), language)}")
    return f"{name}: {', '.join([*said, _payback_words(each, language)])}"


def _payback_words(each: Row, language: Language) -> str:
    if each["payback"] == "reached":
        return language.text("plots.earned_back", months=language.number(each["payback_months"]))
    if each["payback"] == "not reached":
        return language.text("plots.not_earned_back", months=counted("months", each["months_followed"], language))
    return language.text("plots.no_payback_told")


def _acquisition_finding(rows: Sequence[Row], language: Language) -> str:
    """Of all customers: the rows from the bottom, where they stand."""
    if not rows:
        return ""
    every = rows[0]
    if every["suppressed"] or np.isnan(every["cac"]):
        return finding("acquisition_no_cac", language)
    payback = _payback_words(every, language)
    if np.isnan(every["ltv_to_cac_median"]):
        cost = with_interval(in_words(every, money_format(language), COST), language)
        return finding("acquisition_cost", language, cost=cost, payback=payback)
    ratio = with_range(in_words(every, _times(language), RATIO), language)
    return finding("acquisition", language, ratio=ratio, payback=payback)


def referral_rates(rates: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """New customers referred per 100 customers and period by score, organic and incentivised, with 95 % intervals.

    Parameters
    ----------
    rates
        ``ReferralRates.tidy()``: its rows by score are drawn, those by band give the title. Scores that are suppressed are hatched.
    """
    rows = rates[rates["by"] == "score"]
    known = rows[rows["rate"].notna()]
    scores = sorted(rows["level"].astype(str).unique(), key=float)
    kinds = [kind for kind in KINDS if kind[0] in set(rows["kind"])] or list(ONLY_KIND)
    noun = "month" if rates["unit"].astype(str).str.contains("month").any() else "quarter"
    words = _referral_finding(rates, noun, language)
    with canvas(words if title is None else title, height=3.6) as axes:
        refuse_empty(known)
        step = 0.62 / len(kinds)
        for place, (kind, colour, marker) in enumerate(kinds):
            own = known[known["kind"] == kind]
            at = own["level"].map(scores.index).to_numpy(dtype=float) + (place - (len(kinds) - 1) / 2) * step
            figures = PER_CUSTOMERS * own[list(RATE)].to_numpy(dtype=float)
            axes.vlines(at, figures[:, 1], figures[:, 2], color=colour, linewidth=2)
            axes.plot(at, figures[:, 0], marker, color=colour, markersize=5, linestyle="none")
        top = axes.get_ylim()[1]
        hidden = dict.fromkeys(rows.loc[rows["suppressed"].astype(bool), "level"].astype(str))
        for level in hidden:
            box: dict[str, Any] = {"facecolor": "white", "edgecolor": LINE, "hatch": "////", "linewidth": 0}
            axes.add_patch(Rectangle((scores.index(level) - 0.42, 0), 0.84, 0.94 * top, **box))
        axes.set_ylim(0, top)
        axes.set_xlim(-0.6, len(scores) - 0.4)
        axes.set_xticks(range(len(scores)), [language.number(float(score)) for score in scores])
        set_ticks(axes, lambda x: language.number(x, 0 if top > 3 else 1), most=5, steps=ROUND)
        notes = [language.text("plots.answer", metric=metric_name(str(rows["exposure"].iloc[0]), language))]
        axes.set_xlabel("; ".join([*notes, *([language.text("plots.hatched_hidden")] if hidden else [])]))
        axes.set_ylabel(on_lines(language.text(f"plots.referrals_per_{noun}"), 34))
        names = [language.text(f"plots.kind_{kind.replace(' ', '_')}") for kind, _, _ in kinds]
        styles: list[dict[str, Any]] = [
            {"color": colour, "marker": marker, "linewidth": 2} for _, colour, marker in kinds
        ]
        key(axes, list(zip(names, styles, strict=True)))
        said = [
            f"{language.number(float(each['level']))}: {with_interval(in_words(each, _per_100(language), RATE), language)}"
            for each in known[known["kind"] == kinds[0][0]].to_dict("records")
        ]
        return described(axes, language.text("plots.alt.referral_rates", finding=words, parts="; ".join(said)))


def _per_100(language: Language) -> Format:
    return lambda x: language.number(PER_CUSTOMERS * x, 1)


def _referral_finding(rates: pd.DataFrame, noun: str, language: Language) -> str:
    """Lowest and highest band, of organic referrals where they are told apart."""
    kind = "organic" if (rates["kind"] == "organic").any() else "all"
    bands = rates[(rates["by"] == "band") & (rates["kind"] == kind) & rates["rate"].notna()].to_dict("records")
    if len(bands) < 2:
        return language.text(f"plots.referrals_per_{noun}")
    low, high = bands[0], bands[-1]
    return finding(
        f"referral_rates_{kind}_{'clear' if is_clear(high, low, column='rate') else 'unclear'}",
        language,
        high_band=level_name(str(high["level"]), language, within=True),
        low_band=level_name(str(low["level"]), language, within=True),
        high=_per_100(language)(high["rate"]),
        low=_per_100(language)(low["rate"]),
        period=language.text(f"plots.one_{noun}"),
    )


def referral_cells(cells: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Customers in four cells by their own value (left to right) and by what they refer (bottom to top), with 95 % intervals.

    Parameters
    ----------
    cells
        ``ReferralCells.tidy()``; the value of the referrals, where it was given, with its 5–95 % range. Suppressed cells are hatched.
    """
    language = with_currency(language, str(cells["currency"].iloc[0]) if len(cells) else "")
    words, records = _cells_finding(cells, language), cells.to_dict("records")
    has_values = any(VALUE_OF_REFERRALS[0] in each and not np.isnan(each[VALUE_OF_REFERRALS[0]]) for each in records)
    with canvas(words if title is None else title, height=5.9 if has_values else 4.4) as axes:
        refuse_empty(cells[~cells["suppressed"].astype(bool)])
        most = float(cells["share"].max())
        said = []
        for each in records:
            x, y = CELL_PLACES[str(each["own_value"]), str(each["referrals"])]
            name = language.text(f"plots.cell_{each['cell']}")
            lines = on_lines(language.text("plots.too_few"), 26).split("\n")
            box: dict[str, Any] = {"facecolor": "white", "edgecolor": LINE, "hatch": "////"}
            if not each["suppressed"]:
                lines = _cell_lines(each, language)
                box = {"facecolor": BLUE, "alpha": 0.08 + 0.24 * each["share"] / most}
            axes.add_patch(Rectangle((x + 0.015, y + 0.015), 0.97, 0.97, linewidth=0, **box))
            paper = PAPER if each["suppressed"] else None
            axes.text(x + 0.06, y + 0.89, name, fontsize=10, va="center", bbox=paper)
            if each["suppressed"]:
                axes.text(x + 0.06, y + 0.76, "\n".join(lines), va="top", fontsize=8.8, color=SOFT, bbox=paper)
            else:
                axes.text(x + 0.06, y + 0.77, lines[0], fontweight="bold", fontsize=12, va="center")
                axes.text(x + 0.06, y + 0.69, "\n".join(lines[1:]), va="top", fontsize=8.8, linespacing=1.5)
            said.append(f"{name}: {' '.join(lines[:2])}")
        axes.set_xlim(0, 2)
        axes.set_ylim(0, 2)
        axes.set_xticks([0.5, 1.5], [language.text(f"plots.own_value_{end}") for end in ("low", "high")])
        sides = [language.text(f"plots.referring_{end}") for end in ("low", "high")]
        axes.set_yticks([0.5, 1.5], sides, rotation=90, va="center")
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        return described(axes, language.text("plots.alt.referral_cells", finding=words, parts="; ".join(said)))


def _cell_lines(each: Row, language: Language) -> list[str]:
    """What stands in a cell: share, own value and referrals, each with its interval on a line of its own."""
    columns: tuple[tuple[str, tuple[str, str, str], Format], ...] = (
        ("share_of_customers", ("share", "conf_low", "conf_high"), lambda x: language.percent(x, 1)),
        ("mean_value", ("mean_value", "mean_value_conf_low", "mean_value_conf_high"), money_format(language)),
        (
            "mean_referrals",
            ("mean_referrals", "mean_referrals_conf_low", "mean_referrals_conf_high"),
            _per_100(language),
        ),
    )
    if not np.isnan(each.get(VALUE_OF_REFERRALS[0], np.nan)):
        columns = (*columns, ("referral_value", VALUE_OF_REFERRALS, money_format(language)))
    lines = []
    for name, columns_of, shown in columns:
        value, low, high = in_words(each, shown, columns_of)
        interval = language.text("format.interval", low=low, high=high)
        lines += language.text(f"plots.{name}", value=value, interval=interval).split("\n")
    return lines


def _cells_finding(cells: pd.DataFrame, language: Language) -> str:
    """Share of customers who buy little and bring others: those whom a list by margin would miss."""
    own = cells[(cells["cell"] == "advocates") & ~cells["suppressed"].astype(bool)].to_dict("records")
    if not own:
        return finding("referral_cells_hidden", language)
    figures = in_words(own[0], lambda x: language.percent(x, 1), ("share", "conf_low", "conf_high"))
    return finding("referral_cells", language, share=with_interval(figures, language))


def earned_growth(terms: pd.DataFrame, *, language: Language = ENGLISH, title: str | None = None) -> Axes:
    """Revenue of a period over that of a year before: kept, earned, bought, of unknown origin, returned, with 95 % intervals.

    Parameters
    ----------
    terms
        ``EarnedGrowth.tidy()``: the first period of the frame is drawn. Suppressed terms are named and not drawn.
    """
    own = rows_by(terms[terms["period"] == terms["period"].iloc[0]] if len(terms) else terms, "term")
    words = _growth_finding(own, language) if own else ""
    order = ["gross_revenue_retention", *STEPS, "revenue_growth_rate"]
    with canvas(words if title is None else title, height=1.2 + 0.42 * len(order)) as axes:
        refuse_empty(terms[terms["estimate"].notna()])
        axes.axvline(1, color=INK, linewidth=0.9, linestyle="--")
        names, beside, said = [], [], []
        reached = 0.0
        for at, term in enumerate(order):
            each = own[term]
            names.append(language.text(f"plots.growth_{term}"))
            if each["suppressed"]:
                instead(axes, -at, language.text("plots.too_few"))
                reached = np.nan if term in STEPS else reached
                continue
            figures = _step(axes, -at, each, reached, language)
            reached += each["estimate"] if term in STEPS else 0.0
            beside.append(figures[0])
            words_of = with_interval(figures, language) if len(figures) > 1 else figures[0]  # nobody: no interval
            said.append(f"{names[-1]}: {words_of}".replace("\n", " "))
        row_names(axes, [-at for at in range(len(order))], names, bold=[len(order) - 1])
        axes.set_xlim(min(0.0, axes.get_xlim()[0]), None)
        make_room(axes, beside, names)
        set_ticks(axes, lambda share: language.percent(share, 0), which="x", most=6, steps=ROUND)
        axes.set_xlabel(on_lines(language.text("plots.share_of_base"), 60))
        return described(axes, language.text("plots.alt.earned_growth", finding=words, parts="; ".join(said)))


def _step(axes: Axes, place: float, each: Row, reached: float, language: Language) -> list[str]:
    """A bar that begins where the one before ended (at zero where that is not known), and its figures in words."""
    term, adds = str(each["term"]), each["term"] in STEPS[1:]
    start = reached if adds and not np.isnan(reached) else 0.0
    base = 1.0 if term == "revenue_growth_rate" else 0.0
    estimate, low, high = (base + float(each[name]) for name in ESTIMATE)
    colour = STEP_COLOURS[term]
    hatch = "////" if term == "unknown_new" else None
    axes.barh(place, estimate, left=start, height=0.56, color=colour, alpha=0.35, hatch=hatch, linewidth=0)
    axes.hlines(place, start + low, start + high, color=colour, linewidth=2)
    axes.plot(start + estimate, place, "o", color=colour, markersize=3.5)
    figures = [language.percent(x, 1) for x in (estimate, low, high) if not np.isnan(x)]
    if adds:
        figures[0] = signed(estimate, figures[0])
    figure_beside(axes, start + float(np.fmax(high, estimate)), place, figures[0], bold=not adds)
    return figures


def _growth_finding(own: Mapping[str, Row], language: Language) -> str:
    rate, bound, unknown = (
        own[term] for term in ("earned_growth_rate", "earned_growth_rate_if_unknown_earned", "unknown_share_of_new")
    )
    if rate["suppressed"]:
        return finding("earned_growth_hidden", language)
    values = {"rate": with_interval(in_words(rate, lambda x: language.percent(x, 1)), language)}
    if unknown["suppressed"] or bound["suppressed"] or unknown["estimate"] < LEAST_UNKNOWN:
        return finding("earned_growth", language, **values)
    values |= {"bound": language.percent(bound["estimate"], 1), "unknown": language.percent(unknown["estimate"], 0)}
    return finding("earned_growth_unknown", language, **values)
