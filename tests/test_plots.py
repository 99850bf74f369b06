"""Figures: what is drawn, in both languages, the same bytes every time, whatever the data write into labels."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from cxroi import plots
from cxroi.errors import InputError
from cxroi.language import Language

HOSTILE = '<script>alert("x")</script> $\\frac{1}{0}$ $y$ \x00\u202e漢 ' + "z" * 200


def scores() -> pd.DataFrame:
    frame = pd.DataFrame(
        {"metric": "nps", "period": ["2025Q4", "2026Q1", "2026Q2", None], "estimate": [-10.0, np.nan, 4.0, 9.0]}
    )
    return frame.assign(conf_low=frame["estimate"] - 5, conf_high=frame["estimate"] + 5, n=100.0)


def curve() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "score": [2.0, 5.0, 8.0, 10.0],
            "observed": [0.5, 0.8, 0.9, 1.0],
            "std_error": [np.nan, 0.05, 0.01, 0.0],
            "fitted": [0.7, 0.8, 0.9, 0.95],
            "n": [2, 64, 900, 30],
        }
    )


def estimates() -> pd.DataFrame:
    rows = [
        ("retained", "nps", "ame", "raw", 0.02, 0.01, 0.03, False),
        ("retained", "nps", "ame", "adjusted", 0.01, -0.005, 0.025, True),
        ("retained", "nps", "odds_ratio", "raw", 1.2, 1.1, 1.3, False),
        ("retained", "csat", "ame", "not estimated: too few", np.nan, np.nan, np.nan, False),
        ("margin", "nps", "ame", "adjusted", 1000.0, 500.0, 1500.0, True),
    ]
    names = ["outcome", "exposure", "estimand", "method", "estimate", "conf_low", "conf_high", "headline"]
    return pd.DataFrame(rows, columns=names)


def values() -> pd.DataFrame:
    rows = [
        ("lifetime_value", "all", 100.0, 90.0, 110.0, 500),
        ("lifetime_value", "detractor", 60.0, 50.0, 70.0, 200),
        ("lifetime_value", "promoter", 130.0, 115.0, 150.0, 297),
        ("lifetime_value", "passive", 1e6, 1.0, 2e6, 3),
        ("value_of_one_point", "all", 5.0, 1.0, 9.0, 500),
    ]
    names = ["measure", "band", "estimate", "low", "high", "customers"]
    return pd.DataFrame(rows, columns=names).assign(median=lambda frame: frame["estimate"], unit="USD")


def path() -> pd.DataFrame:
    quarter = np.arange(1, 13)
    margin = 100 * 0.95**quarter
    return pd.DataFrame(
        {
            "quarter": quarter,
            "survival": 0.95**quarter,
            "margin": margin,
            "low": margin * 0.9,
            "high": margin * 1.1,
            "discounted_margin": margin * 0.97**quarter,
        }
    )


def flows(end: float = 60.0) -> pd.DataFrame:
    month = np.arange(37)
    middle = -30.0 + (end + 30.0) * month / 36
    columns = {
        f"discounted_cumulative_{name}": middle + shift for name, shift in (("low", -20), ("median", 0), ("high", 25))
    }
    return pd.DataFrame({"programme": "one", "month": month, **columns})


def inputs() -> pd.DataFrame:
    rows = [
        ("one", "score_gain", 0.1, 0.5, "points", -10.0, 5.0, 20.0, 30.0),
        ("total", "linkage: retention", 1.0, 9.0, "USD", 0.0, 5.0, 10.0, 10.0),
    ]
    names = ["programme", "input", "value_low", "value_high", "unit", "npv_low", "npv_median", "npv_high", "swing"]
    return pd.DataFrame(rows, columns=names)


def measures() -> pd.DataFrame:
    rows = [("conservative", -5.0, -5.0, -5.0), ("base", -2.0, 3.0, 8.0), ("optimistic", 12.0, 12.0, 12.0)]
    frame = pd.DataFrame(rows, columns=["scenario", "low", "median", "high"])
    return frame.assign(programme="one", measure="npv", mean=frame["median"], unit="USD")


def account() -> pd.DataFrame:
    rows = [("read", 100), ("invited, no answer", -40), ("outcome period not over yet", -10), ("kept", 50)]
    return pd.DataFrame(rows, columns=["reason", "rows"]).assign(stage="answers")


def unseen() -> pd.DataFrame:
    rows = [("as it is", 0.02, 0.01, 0.03, True), (f"as strong as {HOSTILE}", 0.015, -0.002, 0.032, False)]
    return pd.DataFrame(rows, columns=["name", "estimate", "conf_low", "conf_high", "leads"]).assign(outcome="retained")


def ways(outcome: str = "retained") -> pd.DataFrame:
    frame = pd.DataFrame({"estimate": [0.03, -0.01, 0.02, 0.01], "controls": ["none", "both", "none", "both"]})
    frame = frame.assign(
        period_effects="in", coding="as answered", sample=["all", "all", "first", "first"], model="logit"
    )
    return frame.assign(conf_low=frame["estimate"] - 0.015, conf_high=frame["estimate"] + 0.015, outcome=outcome)


def cells() -> pd.DataFrame:
    rows = [
        ("plan", HOSTILE, 0.03, 0.01, 0.05, 0.02, 0.012, 0.028, 900, False),
        ("plan", "Cao cấp", 0.01, -0.01, 0.03, 0.018, 0.01, 0.026, 400, False),
        ("plan", "small", np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 12, True),
    ]
    names = ["segment", "level", "estimate", "conf_low", "conf_high", "pooled", "pooled_low", "pooled_high"]
    return pd.DataFrame(rows, columns=[*names, "customers", "suppressed"]).assign(outcome="retained")


def promised() -> pd.DataFrame:
    rows = [
        ("leading figure", 3e6, 2e6, 4e6, np.nan),
        ("revenue for margin", 9e6, 6e6, 12e6, 3.0),
        ("none", np.nan, np.nan, np.nan, np.nan),
    ]
    return pd.DataFrame(rows, columns=["shortcut", "estimate", "low", "high", "times"]).assign(unit="VND")


Draw = Callable[[Language, str], Axes]
FIGURES: dict[str, Draw] = {
    "scores_by_period": lambda language, title: plots.scores_by_period(scores(), language=language, title=title),
    "score_distribution": lambda language, title: plots.score_distribution(
        curve()[["score", "n"]], language=language, title=title, top=10
    ),
    "linkage": lambda language, title: plots.linkage(curve(), language=language, title=title),
    "effects": lambda language, title: plots.effects(estimates(), language=language, title=title),
    "value_by_band": lambda language, title: plots.value_by_band(values(), language=language, title=title),
    "value_path": lambda language, title: plots.value_path(path(), language=language, title=title),
    "cash_flows": lambda language, title: plots.cash_flows(flows(), language=language, title=title),
    "tornado": lambda language, title: plots.tornado(inputs(), language=language, title=title),
    "scenarios": lambda language, title: plots.scenarios(measures(), language=language, title=title),
    "confounders": lambda language, title: plots.confounders(unseen(), language=language, title=title),
    "specification_curve": lambda language, title: plots.specification_curve(
        ways(), headline=0.025, language=language, title=title
    ),
    "segments": lambda language, title: plots.segments(cells(), language=language, title=title),
    "shortcuts": lambda language, title: plots.shortcuts(promised(), language=language, title=title),
    "accounting": lambda language, title: plots.accounting(account(), language=language, title=title),
}


def words(axes: Axes) -> str:
    """Every text on the figure of an Axes."""
    figure = axes.figure
    texts = [text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text"))]
    return "\n".join(text for text in texts if text)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_the_same_svg_every_time(name: str) -> None:
    language = Language("vi", "VND")
    axes = FIGURES[name](language, "Khách hàng ở lại nhiều hơn")
    first = plots.to_svg(axes)
    assert first == plots.to_svg(FIGURES[name](language, "Khách hàng ở lại nhiều hơn"))
    root = ET.fromstring(first)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert root.tag.endswith("svg")
    assert tags.isdisjoint({"text", "script", "image", "date"})
    assert not re.search(r'(href|src)="(?!#)', first)


@pytest.mark.parametrize("name", FIGURES)
def test_figure_speaks_the_language(name: str) -> None:
    texts = {code: plots.alt(FIGURES[name](Language(code, "USD"), "")) for code in ("vi", "en")}  # type: ignore[arg-type]
    assert texts["vi"] != texts["en"]
    assert all(len(text) > 30 and text.endswith(".") for text in texts.values())
    assert not re.search(r"\b(the|with|from|share)\b", texts["vi"])


@pytest.mark.parametrize("name", FIGURES)
def test_hostile_title_is_drawn_as_words(name: str) -> None:
    axes = FIGURES[name](Language("en"), HOSTILE)
    plots.to_svg(axes)  # a glyph that is missing, or formula markup, would raise
    title = axes.figure.get_suptitle()
    assert "$y$" in title
    assert not set(title) & {"\x00", "\u202e", "漢"}
    assert max(len(line) for line in title.splitlines()) <= 74


def test_every_known_interval_is_drawn() -> None:
    axes = plots.scores_by_period(scores())
    bars = next(each for each in axes.collections if isinstance(each, LineCollection))
    ends = [tuple(segment[:, 1]) for segment in bars.get_segments() if len(segment) and not np.isnan(segment).any()]
    assert ends == [(-15.0, -5.0), (-1.0, 9.0)]


def test_a_gap_in_the_scores_is_not_bridged() -> None:
    line = plots.scores_by_period(scores()).lines[0]
    assert np.isnan(np.asarray(line.get_ydata(), dtype=float)).tolist() == [False, True, False]


def test_linkage_leaves_small_groups_out_and_bounds_a_share() -> None:
    axes = plots.linkage(curve())
    bars = next(each for each in axes.collections if isinstance(each, LineCollection))
    segments = {float(segment[0, 0]): segment[:, 1] for segment in bars.get_segments()}
    assert sorted(segments) == [5.0, 8.0, 10.0]
    low, high = segments[10.0]
    assert low == pytest.approx(0.886, abs=0.001)  # Wilson's limit of 30 of 30, n / (n + z²)
    assert high == pytest.approx(1.0)


def test_effects_draws_what_was_estimated() -> None:
    axes = plots.effects(estimates(), language=Language("en"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["NPS, as it is", "NPS, adjusted"]
    assert "+2.00 pp" in words(axes)
    with pytest.raises(InputError, match="at least one row"):
        plots.effects(estimates(), outcome="orders")


def test_bands_of_few_customers_are_not_shown() -> None:
    axes = plots.value_by_band(values(), language=Language("en", "USD"))
    shown = words(axes)
    assert "Promoters (n = 297)" in shown
    assert "Passives" not in shown
    assert "everybody $100.00" in shown


def test_value_path_has_survival_above_margin() -> None:
    axes = plots.value_path(path(), currency="USD")
    upper, lower = axes.figure.axes
    assert lower is axes
    assert list(upper.lines[0].get_ydata())[:2] == [1.0, 0.95]
    assert "54%" in words(axes)


def test_cash_flows_marks_the_month_of_payback() -> None:
    assert "breaks even in month 12" in words(plots.cash_flows(flows(60.0))).replace("\n", " ")
    axes = plots.cash_flows(flows(-10.0))
    assert "breaks even" not in words(axes)
    assert "does not break even within the horizon" in plots.alt(axes)


def test_tornado_names_programmes_only_where_there_are_several() -> None:
    language = Language("en", "USD")
    assert "one" not in words(plots.tornado(inputs(), language=language)).split()
    other = inputs().assign(programme=["two", "total"], swing=1.0)
    both = pd.concat([inputs(), other.iloc[:1]], ignore_index=True)
    assert "Score gain: two" in words(plots.tornado(both, language=language))


def test_scenarios_stand_in_their_order() -> None:
    axes = plots.scenarios(measures(), language=Language("en"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Optimistic", "Base", "Conservative"]


def test_accounting_steps_down_from_read_to_kept() -> None:
    axes = plots.accounting(account())
    bars = [(patch.get_x(), patch.get_width()) for patch in axes.patches]
    assert bars == [(0.0, 100.0), (60.0, 40.0), (50.0, 10.0), (0.0, 50.0)]
    tables = account().drop(columns="stage").assign(table="surveys", rows=[100, 40, 10, 50])
    assert [(patch.get_x(), patch.get_width()) for patch in plots.accounting(tables).patches] == bars


def test_every_way_to_compute_a_figure_is_drawn_with_its_interval_and_its_choices() -> None:
    axes = plots.specification_curve(ways(), headline=0.025, language=Language("en"))
    upper, lower = axes.figure.axes
    assert lower is axes
    bars = [each for each in upper.collections if isinstance(each, LineCollection)]
    assert sum(len(each.get_segments()) for each in bars) == 4
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *("both", "none", "in", "as answered", "all", "first", "logit")
    ]
    made = {line.get_ydata()[0]: list(line.get_xdata()) for line in axes.lines}
    assert made[0.0] == [0.0, 1.0]  # the two lowest figures hold both controls and history fixed
    assert "leading figure +2.50 pp" in words(axes)
    assert "50%" in plots.alt(axes)  # two of four intervals leave zero out


def test_segments_that_are_too_small_are_not_drawn() -> None:
    axes = plots.segments(cells(), language=Language("en"))
    assert "Cao cấp" in words(axes)
    assert "small" not in words(axes)
    bars = [each for each in axes.collections if isinstance(each, LineCollection)]
    assert sum(len(each.get_segments()) for each in bars) == 4  # its own and the pooled interval of two segments


def test_shortcut_shows_how_many_times_the_leading_figure_it_is() -> None:
    axes = plots.shortcuts(promised(), language=Language("en", "VND"))
    assert "₫9 million (3.0×)" in words(axes).replace("\u00a0", " ")
    assert "none" not in words(axes)
    with pytest.raises(InputError, match="at least one row"):
        plots.shortcuts(promised().iloc[2:])


def test_leading_figure_stands_out_among_confounders() -> None:
    axes = plots.confounders(unseen(), language=Language("en"))
    colours = {str(line.get_color()) for line in axes.lines}
    assert plots.BLUE in colours
    assert plots.SOFT in colours
    assert "+1.50 pp" in words(axes)


def test_money_without_a_currency_is_a_number() -> None:
    assert "100" in words(plots.value_by_band(values().assign(unit="currency")))


def test_several_lines_carry_their_names() -> None:
    frame = pd.concat([scores().assign(region="Hà Nội"), scores().assign(region=HOSTILE)])
    shown = words(plots.scores_by_period(frame, by="region"))
    assert "Hà Nội 4" in shown
    assert "z" * 100 not in shown


def test_drawing_needs_no_pyplot() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in Path(plots.__file__).parent.glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert "matplotlib" in names
    assert not any("pyplot" in name or "seaborn" in name for name in names)
