"""Pictures of customer value: what is drawn and said, in both languages, whatever the data write into labels."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from cxroi import plots
from cxroi.errors import InputError
from cxroi.language import Language, catalogue
from cxroi.scores import csat_interval
from cxroi.tables import read_tables
from cxroi.value.cohorts import cohorts as cohorts_of
from cxroi.value.identity import ValueTerms, shapley_split
from cxroi.value.spend_change import spend_change
from cxroi.value.survival import survival_by_band

HOSTILE = '<script>alert("x")</script> $\\frac{1}{0}$ $y$ \x00\u202e漢 ' + "z" * 200
EN, VI = Language("en", "USD"), Language("vi", "VND")
BANDS = ("detractor", "passive", "promoter")


def interval(frame: pd.DataFrame, width: float) -> pd.DataFrame:
    """Standard errors and limits of a frame's estimates."""
    half = width * frame["estimate"].abs()
    return frame.assign(
        std_error=half / 1.959964, conf_low=frame["estimate"] - half, conf_high=frame["estimate"] + half
    )


def cohorts() -> pd.DataFrame:
    """Seven cohorts from 2024Q3 on; the one of 2025Q1 is suppressed, one from before the records has no age 0."""
    rows = []
    for place in range(7):
        quarter = 2024 * 4 + 2 + place
        cohort, small = f"{quarter // 4}Q{quarter % 4 + 1}", place == 2
        for age in range(7 - place):
            stayed, margin = 0.93 ** (age + 0.4 + 0.3 * place), 610_000 * (age + 1) * 0.96**age
            for measure, estimate, half in (("retained", stayed, 0.02), ("cumulative_margin", margin, 0.05 * margin)):
                figures = [np.nan] * 4 if small else [estimate, half / 1.959964, estimate - half, estimate + half]
                n, unit = (
                    np.nan if small else 1200.0 - 10 * place,
                    "share" if measure == "retained" else "VND per joined",
                )
                rows.append((measure, cohort, age, n, *figures, unit, 0, small))
    rows.append(("retained", "2023Q1", 7, 800.0, 0.5, 0.02, 0.46, 0.54, "share", 7, False))
    names = ["measure", "cohort", "age", "customers", "estimate", "std_error", "conf_low", "conf_high"]
    return pd.DataFrame(rows, columns=[*names, "unit", "seen_from_age", "suppressed"])


def curves() -> pd.DataFrame:
    parts = []
    for band, rate in zip(BANDS, (0.0009, 0.0005, 0.0003), strict=True):
        day = np.arange(20.0, 720.0, 35.0)
        survival = np.exp(-rate * day)
        error = 0.0009 * np.sqrt(day)
        parts.append(
            pd.DataFrame(
                {
                    "band": band,
                    "day": day,
                    "at_risk": np.round(900 * survival),
                    "left": 5.0,
                    "survival": survival,
                    "std_error": error,
                    "conf_low": survival - 1.96 * error,
                    "conf_high": survival + 1.96 * error,
                    "suppressed": False,
                }
            )
        )
    found = pd.concat(parts, ignore_index=True)
    few = (found["band"] == "detractor") & (found["day"] > 500)
    figures = ["at_risk", "left", "survival", "std_error", "conf_low", "conf_high"]
    found.loc[few, figures] = np.nan
    return found.assign(suppressed=few)


def at_risk() -> pd.DataFrame:
    rows = []
    for band, rate in zip(BANDS, (0.0009, 0.0005, 0.0003), strict=True):
        for day in (1, 184, 366, 549, 731):
            survival, error = np.exp(-rate * (day - 1)), 0.0009 * np.sqrt(day)
            if band == "detractor" and day > 500:
                rows.append((band, day, *[np.nan] * 5, True))
            else:
                n = float(round(900 * survival * (1 - day / 1000)))
                rows.append((band, day, n, survival, error, survival - 1.96 * error, survival + 1.96 * error, False))
    columns = ["band", "day", "at_risk", "survival", "std_error", "conf_low", "conf_high", "suppressed"]
    return pd.DataFrame(rows, columns=columns)


def tracked() -> pd.DataFrame:
    labels = [f"{year}Q{quarter}" for year in (2023, 2024, 2025) for quarter in (1, 2, 3, 4)]
    actual = np.array([5200, 6100, 6400, 7800, 6900, 7000, 7300, 8600, 7200, 7100, 7600, 8100.0])
    expected = np.array([5400, 6000, 6500, 7300, 7100, 7150, 7350, 7800, 7450, 7400, 7500, 7500.0])
    frame = pd.DataFrame({"measure": "purchases", "period": labels, "actual": actual, "expected": expected})
    held = np.arange(12) >= 8
    return frame.assign(
        part=np.where(held, "holdout", "calibration"),
        low=np.where(held, expected * 0.95, np.nan),
        high=np.where(held, expected * 1.05, np.nan),
        actual_cumulative=actual.cumsum(),
        expected_cumulative=expected.cumsum(),
    )


def spend() -> pd.DataFrame:
    """Two comparisons, the newest first; the group no answer is suppressed."""
    rows = []
    for before, after, factor in (("2024Q1–2024Q4", "2025Q1–2025Q4", 1.0), ("2023Q1–2023Q4", "2024Q1–2024Q4", 9.0)):
        for group, parts in (
            ("detractor", (-420_000, 30_000, -6_000)),
            ("promoter", (310_000, 150_000, 20_000)),
            ("no answer", None),
        ):
            for measure, scale in (("spend", 1.0), ("margin", 0.3)):
                figures = dict.fromkeys(("frequency", "value", "interaction", "total"), np.nan)
                if parts:
                    figures = dict(zip(figures, (*parts, sum(parts)), strict=True))
                for part, value in figures.items():
                    n = np.nan if parts is None else 400.0
                    rows.append((before, after, group, measure, part, value * scale * factor, n, parts is None))
    names = ["before", "after", "group", "measure", "part", "estimate", "customers", "suppressed"]
    return interval(pd.DataFrame(rows, columns=names), 0.3).assign(unit="VND per customer and year")


def levels() -> pd.DataFrame:
    empty = dict.fromkeys(
        ("cac", "cac_conf_low", "cac_conf_high", "payback_months", "payback_conf_low", "payback_conf_high")
    )
    ratio = ("ltv_to_cac_low", "ltv_to_cac_median", "ltv_to_cac_high")
    paid = {"cac": 900_000.0, "cac_conf_low": 850_000.0, "cac_conf_high": 950_000.0, "share_stated": 1.0}
    rows: list[dict[str, object]] = [
        {"level": "Tìm kiếm", "customers": 810.0, "payback": "reached", **paid}
        | {"payback_months": 7.0, "payback_conf_low": 6.0, "payback_conf_high": 9.0}
        | dict(zip(ratio, (3.1, 3.9, 4.8), strict=True)),
        {"level": "Mạng xã hội", "customers": 640.0, "payback": "reached", **paid}
        | {"payback_months": 16.0, "payback_conf_low": 12.0, "payback_conf_high": np.nan}
        | dict(zip(ratio, (0.8, 1.4, 2.1), strict=True)),
        {"level": "Truyền hình", "customers": 300.0, "payback": "not reached", **paid}
        | {"payback_months": np.nan, "payback_conf_low": np.nan, "payback_conf_high": np.nan}
        | dict(zip(ratio, (0.4, 0.6, 0.9), strict=True)),
        {"level": "Giới thiệu", "customers": 420.0, "payback": "no cost stated", "share_stated": 0.0, **empty},
        {"level": "Hội chợ", "suppressed": True},
        {"level": "all", "customers": 2170.0, "payback": "reached", **paid, "share_stated": 0.8}
        | {"payback_months": 11.0, "payback_conf_low": 10.0, "payback_conf_high": 13.0}
        | dict(zip(ratio, (1.8, 2.3, 2.9), strict=True)),
    ]
    frame = pd.DataFrame(rows).assign(by="acquisition_channel", months_followed=20.0, currency="VND")
    figures = [column for column in frame if column not in ("level", "payback", "by", "currency", "suppressed")]
    return frame.astype(dict.fromkeys(figures, float)).assign(suppressed=frame["suppressed"].fillna(False).astype(bool))


def rates() -> pd.DataFrame:
    rows = []
    scores = [("score", str(score), 0.002 * 1.35**score) for score in range(11)]
    bands = [("band", band, rate) for band, rate in zip(BANDS, (0.008, 0.02, 0.04), strict=True)]
    for by, level, rate in [("all", "all", 0.02), *bands, *scores]:
        for kind, share in (("all", 1.0), ("organic", 0.7), ("incentivised", 0.3)):
            small = level == "1"
            rows.append((by, level, kind, np.nan if small else rate * share, small))
    frame = pd.DataFrame(rows, columns=["by", "level", "kind", "rate", "suppressed"])
    figures = interval(frame.assign(estimate=frame["rate"]), 0.25).drop(columns="estimate")
    return figures.assign(exposure="nps", unit="referrals per customer and quarter")


def cells() -> pd.DataFrame:
    rows = [
        ("champions", "high", "high", 0.09, 2_400_000.0, 1.4),
        ("affluents", "high", "low", 0.41, 2_100_000.0, 0.0),
        ("advocates", "low", "high", 0.08, 410_000.0, 1.6),
        ("misers", "low", "low", 0.42, 350_000.0, 0.0),
    ]
    frame = pd.DataFrame(rows, columns=["cell", "own_value", "referrals", "share", "mean_value", "mean_referrals"])
    for column in ("mean_value", "mean_referrals"):
        frame[f"{column}_conf_low"], frame[f"{column}_conf_high"] = frame[column] * 0.93, frame[column] * 1.07
    return frame.assign(
        customers=5000 * frame["share"],
        conf_low=frame["share"] - 0.008,
        conf_high=frame["share"] + 0.008,
        currency="VND",
        suppressed=False,
    )


def growth() -> pd.DataFrame:
    terms = {
        "net_revenue_retention": 0.94,
        "gross_revenue_retention": 0.81,
        "earned_new": 0.07,
        "earned_new_incentivised": 0.02,
        "bought_new": 0.10,
        "unknown_new": 0.04,
        "all_new": 0.21,
        "returned": 0.02,
        "earned_growth_rate": 0.01,
        "earned_growth_rate_if_unknown_earned": 0.05,
        "revenue_growth_rate": 0.17,
        "unknown_share_of_new": 0.2,
    }
    frame = pd.DataFrame({"term": list(terms), "estimate": list(terms.values())})
    frame = frame.assign(
        std_error=0.01,
        conf_low=frame["estimate"] - 0.02,
        conf_high=frame["estimate"] + 0.02,
        period="year to 2026-06-30",
        suppressed=False,
    )
    return pd.concat([frame, frame.assign(period="2026Q2", estimate=9.0)], ignore_index=True)


def service() -> pd.DataFrame:
    rows = []
    for kind, scale in (("all", 1.0), ("hotline", 0.7), (HOSTILE, 0.3)):
        for band, cost in (("all", 95_000), ("detractor", 160_000), ("passive", 90_000), ("promoter", 60_000)):
            small = kind == HOSTILE and band == "passive"
            rows.append((kind, band, np.nan if small else cost * scale, small))
        rows.append((kind, "detractor less promoter", 100_000 * scale, False))
    frame = pd.DataFrame(rows, columns=["kind", "band", "estimate", "suppressed"])
    return interval(frame, 0.15).assign(share_without_cost=0.12, unit="VND", customers=400, touches=1.4)


def hazards() -> pd.DataFrame:
    rows = []
    chances = {"all": (0.05, 0.08), "detractor": (0.09, 0.16), "passive": (0.05, 0.08), "promoter": (0.03, 0.04)}
    for band, (without, after) in chances.items():
        small = band == "passive"
        for case, estimate, half in (
            ("without failed touch", without, 0.008),
            ("after failed touch", after, 0.02),
            ("difference", after - without, 0.02),
        ):
            figures = [np.nan] * 3 if small else [estimate, estimate - half, estimate + half]
            rows.append((band, case, *figures, small))
    return pd.DataFrame(rows, columns=["band", "case", "estimate", "conf_low", "conf_high", "suppressed"])


def types() -> pd.DataFrame:
    shares = {"behavioural": 0.31, "rational": 0.22, "emotional": 0.18, "mixed": 0.09, "none": 0.2}
    frame = pd.DataFrame({"type": list(shares), "share": list(shares.values()), "clear": 0.12})
    frame = frame.assign(conf_low=frame["share"] - 0.03, conf_high=frame["share"] + 0.03)
    return pd.concat([frame, pd.DataFrame([{"type": "unclear", "clear": 0.27}])], ignore_index=True)


def stress() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Benefit and paths; the kind mixed is suppressed."""
    benefit, paths = [], []
    kept = {"as now": (1.0, 1.0), "Giá tăng một phần mười": (0.88, 0.82), HOSTILE: (0.74, 0.7)}
    for shock, (surviving, stays) in kept.items():
        for place, kind in enumerate(("behavioural", "rational", "emotional", "mixed", "none", "all")):
            small, share = kind == "mixed", surviving * (1 - 0.02 * place)
            figures = [np.nan] * 3 if small else [share, share - 0.08, share + 0.07]
            benefit.append((shock, kind, *figures, small))
            for quarter in () if small else (1, 12):
                there = stays * (0.97 - 0.004 * place) ** quarter
                paths.append((shock, kind, quarter, there, there - 0.03, there, there + 0.03))
    columns = ["shock", "type", "surviving", "surviving_low", "surviving_high", "suppressed"]
    return (
        pd.DataFrame(benefit, columns=columns),
        pd.DataFrame(paths, columns=["shock", "type", "quarter", "estimate", "low", "median", "high"]),
    )


def split() -> pd.DataFrame:
    rows = [
        ("retention", 400_000.0, 380_000.0),
        ("orders", 0.0, 0.0),
        ("margin_per_order", 150_000.0, 140_000.0),
        ("service_cost", -60_000.0, -55_000.0),
        ("total", 490_000.0, np.nan),
    ]
    frame = pd.DataFrame(rows, columns=["term", "estimate", "alone"])
    half = 0.25 * frame["estimate"].abs()
    return frame.assign(low=frame["estimate"] - half, median=frame["estimate"], high=frame["estimate"] + half)


def brand_parts() -> pd.DataFrame:
    rows = []
    for brand, alone, shared, n in (
        ("Sen", 0.36, 0.16, 4100),
        (HOSTILE, 0.25, 0.11, 2600),
        ("Mai", 0.12, np.nan, 900),
        ("all brands", 0.73, 0.27, 6900),
    ):
        hidden = bool(np.isnan(shared))
        whole = 0.12 if hidden else alone + shared
        for part, share in (("all", whole), ("only here", np.nan if hidden else alone), ("shared", shared)):
            rows.append((brand, part, float(n), share, hidden and part != "all"))
    frame = pd.DataFrame(rows, columns=["brand", "part", "customers", "share_of_group", "suppressed"])
    return frame.assign(
        share_of_group_conf_low=frame["share_of_group"] - 0.02,
        share_of_group_conf_high=frame["share_of_group"] + 0.02,
        currency="VND",
    )


def overlap() -> pd.DataFrame:
    sizes = {"Sen": 4100.0, HOSTILE: 2600.0, "Mai": 900.0}
    both = {("Sen", HOSTILE): 700.0, ("Sen", "Mai"): 160.0, (HOSTILE, "Mai"): np.nan}
    rows = []
    for brand, size in sizes.items():
        for other in sizes:
            n = size if brand == other else both.get((brand, other), both.get((other, brand), np.nan))
            rows.append((brand, other, n, n / size, bool(np.isnan(n))))
    return pd.DataFrame(rows, columns=["brand", "other", "customers", "share_of_customers", "suppressed"])


Draw = Callable[..., Axes]
FIGURES: dict[str, Draw] = {
    "cohort_retention": lambda **words: plots.cohort_triangle(cohorts(), **words),
    "cohort_margin": lambda **words: plots.cohort_triangle(cohorts(), measure="cumulative_margin", **words),
    "survival_curves": lambda **words: plots.survival_curves(curves(), at_risk=at_risk(), **words),
    "tracking": lambda **words: plots.tracking(tracked(), **words),
    "spend_change": lambda **words: plots.spend_change(spend(), **words),
    "acquisition": lambda **words: plots.acquisition(levels(), **words),
    "referral_rates": lambda **words: plots.referral_rates(rates(), **words),
    "referral_cells": lambda **words: plots.referral_cells(cells(), **words),
    "earned_growth": lambda **words: plots.earned_growth(growth(), **words),
    "cost_to_serve": lambda **words: plots.cost_to_serve(service(), **words),
    "forgiveness": lambda **words: plots.forgiveness(hazards(), **words),
    "loyalty_types": lambda **words: plots.loyalty_types(types(), **words),
    "shock_survival": lambda **words: plots.shock_survival(stress()[0], paths=stress()[1], **words),
    "shapley_parts": lambda **words: plots.shapley_parts(split(), **words),
    "brand_margins": lambda **words: plots.brand_margins(brand_parts(), **words),
    "brand_overlap": lambda **words: plots.brand_overlap(overlap(), **words),
}


@cache
def draw(name: str, language: Language = EN) -> Axes:
    """A figure, drawn once for all tests, which only look at it."""
    return FIGURES[name](language=language)


def title_of(axes: Axes) -> str:
    return str(axes.figure.get_suptitle()).replace("\n", " ").replace("\xa0", " ")


def words(axes: Axes) -> str:
    """Every text on the figure of an Axes."""
    texts = [text.get_text() for text in axes.figure.findobj(lambda each: hasattr(each, "get_text"))]
    return "\n".join(text for text in texts if text).replace("\xa0", " ")


def segments(axes: Axes) -> list[tuple[float, float]]:
    """Ends of every horizontal or vertical interval drawn, sorted."""
    found = []
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            for part in bars.get_segments():
                (x0, y0), (x1, y1) = part[0], part[-1]
                found.append(tuple(sorted((float(x0), float(x1)) if y0 == y1 else (float(y0), float(y1)))))
    return sorted(found)


def hatched(axes: Axes) -> int:
    return sum(1 for patch in axes.patches if patch.get_hatch())


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_the_same_svg_every_time(name: str) -> None:
    first = plots.to_svg(draw(name, VI))
    assert first == plots.to_svg(FIGURES[name](language=VI))
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(first).iter()}
    assert tags.isdisjoint({"text", "script", "image", "date"})
    assert not re.search(r'(href|src)="(?!#)', first)


@pytest.mark.parametrize("name", FIGURES)
def test_title_is_the_finding_in_the_language_unless_one_is_given(name: str) -> None:
    computed = {language.code: title_of(draw(name, language)) for language in (VI, EN)}
    assert computed["vi"] != computed["en"]
    assert all(re.search(r"\d", title) for title in computed.values()), computed
    assert not re.search(r"\b(of|the|and|customers|against)\b", computed["vi"])
    assert title_of(FIGURES[name](language=EN, title="Ours")) == "Ours"


@pytest.mark.parametrize("name", FIGURES)
def test_alternative_text_holds_the_finding_and_figures(name: str) -> None:
    for language in (VI, EN):
        axes = draw(name, language)
        said = plots.alt(axes).replace("\xa0", " ")
        assert title_of(axes) in said
        assert len(said) > len(title_of(axes)) + 60
        assert said.endswith(".")
        assert not re.search(r"\n|\{[a-z_]+\}|\bnan\b", said)


@pytest.mark.parametrize("name", FIGURES)
def test_no_claim_of_a_cause(name: str) -> None:
    said = {language.code: words(draw(name, language)) + plots.alt(draw(name, language)) for language in (VI, EN)}
    assert not re.search(r"\b(effect|impact|uplift|significant|causes?)\b", said["en"])
    assert not re.search("tác động|hiệu ứng|gây ra", said["vi"])


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_drawn_outside_of_the_figure(name: str) -> None:
    for language in (VI, EN):
        figure = draw(name, language).figure
        with mpl.rc_context({"text.hinting": "no_hinting"}):  # as pictures are written; hinted letters are wider
            figure.draw_without_rendering()  # a key has its place only then
            found = figure.findobj(lambda each: hasattr(each, "get_window_extent") and hasattr(each, "get_text"))
            boxes = [(each, each.get_window_extent()) for each in found]
        width, height = figure.bbox.width, figure.bbox.height
        for text, box in boxes:
            if not text.get_text().strip() or not text.get_visible():
                continue
            assert box.x0 > -2, text.get_text()
            assert box.x1 < width + 2, text.get_text()
            assert box.y0 > -2, text.get_text()
            assert box.y1 < height + 2, text.get_text()


def test_an_empty_title_draws_none() -> None:
    assert title_of(plots.loyalty_types(types(), title="")) == ""


def test_labels_of_the_data_are_words_not_formulas() -> None:
    for name in ("cost_to_serve", "brand_margins", "brand_overlap", "shock_survival"):
        shown = words(draw(name))
        assert "<script>" in shown
        assert not set(shown) & {"\x00", "\u202e", "漢"}
        assert "z" * 30 not in shown
    frame = spend().replace({"group": {"promoter": HOSTILE}})
    assert "$\\frac{1}{0}$" in title_of(plots.spend_change(frame, language=EN))
    frame = levels().replace({"level": {"Hội chợ": HOSTILE}})
    plots.to_svg(plots.acquisition(frame, language=VI))


@pytest.mark.parametrize(
    "empty",
    [
        lambda: plots.cohort_triangle(cohorts().iloc[:0]),
        lambda: plots.survival_curves(curves().iloc[:0], at_risk=at_risk()),
        lambda: plots.tracking(tracked().iloc[:0]),
        lambda: plots.spend_change(spend()[lambda frame: frame["suppressed"]]),
        lambda: plots.acquisition(levels()[lambda frame: frame["suppressed"]]),
        lambda: plots.referral_rates(rates().iloc[:0]),
        lambda: plots.referral_cells(cells().assign(suppressed=True)),
        lambda: plots.earned_growth(growth().assign(estimate=np.nan, suppressed=True)),
        lambda: plots.cost_to_serve(service().iloc[:0]),
        lambda: plots.forgiveness(hazards()[lambda frame: frame["suppressed"]]),
        lambda: plots.loyalty_types(types().iloc[:0]),
        lambda: plots.shock_survival(stress()[0][lambda frame: frame["suppressed"]], paths=stress()[1]),
        lambda: plots.shapley_parts(split().assign(estimate=0.0, low=0.0, high=0.0, alone=0.0)),
        lambda: plots.brand_margins(brand_parts().iloc[:0]),
        lambda: plots.brand_overlap(overlap().iloc[:0]),
    ],
)
def test_an_empty_picture_is_refused(empty: Callable[[], Axes]) -> None:
    with pytest.raises(InputError, match="at least one row"):
        empty()


def test_cohorts_are_cells_with_figure_and_interval_and_the_small_one_is_hatched() -> None:
    axes = draw("cohort_retention")
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_hatch()]
    assert len(boxes) == 7 + 6 + 4 + 3 + 2 + 1  # the third cohort, of five quarters, is hidden
    assert hatched(axes) == 1
    shown = words(axes)
    assert "not shown: too few customers" in shown
    assert "cohorts from before the records left out: 1" in shown
    assert "95–99" in shown  # 0.93 ** 0.4 ± 0.02
    assert [label.get_text().split("\n")[0] for label in axes.get_yticklabels()][::6] == ["Q3 2024", "Q1 2026"]


def test_cohort_finding_says_more_only_where_it_is_told_apart() -> None:
    assert "73% of Q3 2024: not told apart" in title_of(draw("cohort_retention"))
    sure = cohorts().assign(std_error=lambda frame: frame["std_error"] / 10)
    assert "fewer than of Q3 2024 (73%)" in title_of(plots.cohort_triangle(sure, language=EN))
    assert "ít hơn đợt Quý 3 2024" in title_of(plots.cohort_triangle(sure, language=VI))


def test_cohort_margin_is_written_in_one_unit() -> None:
    shown = words(draw("cohort_margin", VI))
    assert "triệu ₫" in shown
    assert "0,61" in shown
    assert "610.000" not in shown
    negative = cohorts().assign(conf_low=lambda frame: frame["conf_low"] - 1e7)
    assert "-9.42…0.64" in words(plots.cohort_triangle(negative, measure="cumulative_margin", language=EN))


def test_many_cohorts_and_ages_are_thinned_and_said_to_be() -> None:
    rows = [
        ("retained", f"{2020 + month // 12}-{month % 12 + 1:02d}", age, 90.0, 0.9, 0.03, 0.82, 0.95, "share", 0, False)
        for month in range(40)
        for age in range(40 - month)
    ]
    axes = plots.cohort_triangle(pd.DataFrame(rows, columns=cohorts().columns), language=EN)
    assert "14 of 40 cohorts drawn" in words(axes)
    assert [label.get_text() for label in axes.get_xticklabels()][:3] == ["0", "4", "8"]
    assert "After 12 months" in title_of(axes)


def test_survival_has_numbers_at_risk_and_ends_where_too_few_are_left() -> None:
    axes = draw("survival_curves")
    upper = axes.figure.axes[0]
    assert len(upper.lines) == 3
    ends = [float(np.asarray(line.get_xdata()).max()) for line in upper.lines]
    assert ends == [475.0, 731.0, 731.0]  # the detractors' last event before day 500, the others' last mark
    assert len(upper.collections) == 3  # a band a curve
    shown = words(axes)
    assert "too few to show" in shown
    assert shown.count("–") >= 2
    assert title_of(axes) == "After 12 months, 90% of promoters are still customers, against 72% of detractors"
    unsure = at_risk().assign(std_error=0.3)
    assert title_of(plots.survival_curves(curves(), at_risk=unsure, language=EN)).endswith("not told apart")


def test_survival_is_drawn_to_the_last_marked_day_only() -> None:
    first_year = at_risk()[lambda frame: frame["day"] <= 366]
    upper = plots.survival_curves(curves(), at_risk=first_year).figure.axes[0]
    assert {float(np.asarray(line.get_xdata()).max()) for line in upper.lines} == {366.0}


def test_tracking_holds_ranges_of_the_holdout_and_says_the_error() -> None:
    axes = draw("tracking")
    assert segments(axes) == [(pytest.approx(0.95 * x), pytest.approx(1.05 * x)) for x in (7400, 7450, 7500, 7500)]
    # expected 29,850 against 30,000; 8,100 lies above 7,875
    assert "0.5% less expected than happened; 3 of 4 periods" in title_of(axes)
    assert "held out" in words(axes)
    margin = tracked().assign(measure="margin")
    assert "million" in words(plots.tracking(margin.assign(actual=4e6, expected=5e6, low=4e6, high=6e6), language=EN))


def test_spend_change_draws_the_newest_comparison_with_every_interval() -> None:
    axes = draw("spend_change", VI)
    assert len(segments(axes)) == 8
    assert (336_000.0, 624_000.0) in [tuple(round(end, 6) for end in ends) for ends in segments(axes)]
    assert "không hiển thị: quá ít khách hàng" in words(axes)
    assert "chủ yếu ở tần suất mua" in title_of(axes)
    assert "Quý 1 2024–Quý 4 2024" in words(axes).replace("\n", " ")
    unsure = spend().assign(conf_low=-1e9, conf_high=1e9)
    assert "clearly in no group" in title_of(plots.spend_change(unsure, language=EN))
    whole = spend()[lambda frame: frame["group"] == "promoter"].assign(group="all")
    assert "Spend per customer changed by +$480,000" in title_of(
        plots.spend_change(whole.assign(unit="USD"), language=EN)
    )
    assert title_of(plots.spend_change(spend(), measure="margin", language=EN)).startswith("Margin")


def test_missing_cost_is_said_and_not_zero() -> None:
    axes = draw("acquisition")
    left, right = axes.figure.axes
    assert right is axes
    assert "CAC not stated" in words(axes)
    assert "> 20" in words(axes)
    assert segments(left) == [(0.4, 0.9), (0.8, 2.1), (1.8, 2.9), (3.1, 4.8)]
    assert (12.0, 20.0) in segments(right)  # its upper limit lies beyond the months followed
    assert title_of(axes) == "LTV:CAC is 2.3 (5–95%: 1.8 to 2.9); CAC is earned back in month 11"
    nothing = ["cac", "cac_conf_low", "cac_conf_high", "ltv_to_cac_low", "ltv_to_cac_median", "ltv_to_cac_high"]
    silent = levels().assign(**dict.fromkeys(nothing, np.nan), payback="no cost stated")
    assert "cannot be told" in title_of(plots.acquisition(silent, language=EN))


def test_without_lifetime_values_the_cost_itself_is_drawn() -> None:
    ratio = ["ltv_to_cac_low", "ltv_to_cac_median", "ltv_to_cac_high"]
    axes = plots.acquisition(levels().assign(**dict.fromkeys(ratio, np.nan)), language=EN)
    assert segments(axes.figure.axes[0]) == [(850_000.0, 950_000.0)] * 4
    assert title_of(axes).startswith("CAC is $900,000 (95%: $850,000 to $950,000)")
    assert "LTV:CAC" not in plots.alt(axes)


def test_referrals_are_per_hundred_organic_apart_and_small_scores_hatched() -> None:
    axes = draw("referral_rates")
    assert len(segments(axes)) == 20  # ten scores, two kinds
    assert hatched(axes) == 1
    assert max(segments(axes))[1] == pytest.approx(100 * 0.002 * 1.35**10 * 0.7 * 1.25)
    assert title_of(axes) == "Without a reward, 100 promoters bring 2.8 new customers a quarter, 100 detractors 0.6"
    together = rates()[lambda frame: frame["kind"] == "all"]
    axes = plots.referral_rates(together, language=EN)
    assert title_of(axes).startswith("100 promoters bring 4.0")
    assert axes.figure.axes[0].get_legend() is not None
    unsure = rates().assign(std_error=1.0)
    assert title_of(plots.referral_rates(unsure, language=EN)).endswith("not told apart")


def test_four_cells_stand_where_value_and_referrals_put_them() -> None:
    axes = draw("referral_cells")
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places["Champions"][0] > 1
    assert places["Champions"][1] > 1
    assert places["Advocates"][0] < 1 < places["Advocates"][1]
    worth = {f"referral_value_{name}": 100.0 * place for place, name in enumerate(("low", "median", "high"), start=1)}
    assert "$200.00 through referrals\n(5–95%: $100.00 to $300.00)" in words(
        plots.referral_cells(cells().assign(**worth), language=EN)
    )
    hidden = cells().assign(suppressed=lambda frame: frame["cell"] == "advocates")
    axes = plots.referral_cells(hidden, language=EN)
    assert hatched(axes) == 1
    assert "8.0%" not in words(axes)


def test_steps_of_earned_growth_lead_to_the_revenue() -> None:
    axes = draw("earned_growth")
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    starts = [bar.get_x() for bar in bars]
    assert starts[2:6] == pytest.approx(ends[1:5])  # each step begins where the one before ends
    assert ends[5] == pytest.approx(ends[6])
    assert ends[6] == pytest.approx(1.17)
    assert hatched(axes) == 1  # of unknown origin
    assert title_of(axes).endswith("5.0% if all new customers of unknown origin (20% of new ones) were earned")
    known = growth().assign(estimate=lambda frame: frame["estimate"].mask(frame["term"] == "unknown_share_of_new", 0.0))
    assert "unknown" not in title_of(plots.earned_growth(known, language=EN))


def test_a_step_that_is_hidden_breaks_the_chain() -> None:
    hidden = growth().assign(suppressed=lambda frame: frame["term"] == "bought_new")
    axes = plots.earned_growth(hidden, language=EN)
    assert "not shown: too few customers" in words(axes)
    assert "+10.0%" not in words(axes)
    starts = [patch.get_x() for patch in axes.patches if isinstance(patch, Rectangle)]
    assert starts[2:5] == [pytest.approx(0.94), 0.0, 0.0]  # the later ones would tell where it ended


def test_cost_to_serve_has_a_block_a_kind_and_the_difference_as_title() -> None:
    axes = draw("cost_to_serve", VI)
    assert len(segments(axes)) == 11
    assert "không hiển thị: quá ít khách hàng" in words(axes)
    assert "tốn hơn người ủng hộ 100.000 ₫ (95%: từ 85.000 ₫ đến 115.000 ₫)" in title_of(axes)
    turned = service().assign(estimate=lambda frame: -frame["estimate"], conf_low=-115_000.0, conf_high=-85_000.0)
    assert "costs $100,000 (95%: $85,000 to $115,000) less" in title_of(plots.cost_to_serve(turned, language=EN))
    unsure = service().assign(conf_low=-1.0)
    assert title_of(plots.cost_to_serve(unsure, language=EN)).endswith("not told apart")


def test_forgiveness_draws_both_cases_of_each_band_shown() -> None:
    axes = draw("forgiveness")
    assert len(segments(axes)) == 6
    assert "not shown: too few customers" in words(axes)
    assert title_of(axes).endswith("+7.0 pp among detractors, +1.0 pp among promoters")
    unsure = hazards().assign(conf_low=-0.1)
    assert title_of(plots.forgiveness(unsure, language=EN)).endswith("not told apart from no change")


def test_kinds_of_loyalty_and_who_is_of_none_for_sure() -> None:
    axes = draw("loyalty_types")
    expected = [(0.06, 0.12), (0.15, 0.21), (0.17, 0.23), (0.19, 0.25), (0.28, 0.34)]
    assert segments(axes) == [pytest.approx(ends) for ends in expected]
    assert hatched(axes) == 1
    assert title_of(axes).endswith("27% are of no clear kind")


def test_shocks_stand_beside_now_and_the_worst_is_the_title() -> None:
    axes = draw("shock_survival")
    left, right = axes.figure.axes
    assert len(segments(left)) == 15  # three cases of five kinds
    assert len(segments(right)) == 10
    assert "67% (5–95%: 59% to 74%)" in title_of(axes)
    benefit, paths = stress()
    many = pd.concat([benefit.assign(shock=f"s{place}") for place in range(6)])
    with pytest.raises(InputError, match="at most 4 shocks"):
        plots.shock_survival(many, paths=paths)


def test_shapley_steps_sum_to_the_total_of_a_real_split() -> None:
    start = ValueTerms(
        **dict.fromkeys(("service_cost", "referrals", "would_have_come", "referred_value"), 0.0),
        retention=0.80,
        orders=1,
        margin_per_order=100,
        saved_acquisition_cost=0,
        acquisition_cost=0,
        discount_rate=0.10,
        periods=None,
    )
    found = shapley_split(start, replace(start, retention=0.82, margin_per_order=103))
    axes = plots.shapley_parts(found.tidy(), currency="USD", language=Language("en"))
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(bars) == 3
    assert bars[1].get_x() == pytest.approx(bars[0].get_width())
    assert bars[1].get_x() + bars[1].get_width() == pytest.approx(bars[2].get_width())
    assert bars[2].get_width() == pytest.approx(34.98, abs=0.005)
    assert "+$34.19" in words(axes)  # what the terms one by one would have said


def test_a_falling_term_ends_left_of_where_it_began() -> None:
    axes = draw("shapley_parts", VI)
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "Tổng thay đổi"
    assert "Số đơn hàng" not in words(axes)  # it did not change
    assert (475_000.0, 505_000.0) in segments(axes)  # 400 + 150 - 60 ± 15 thousand


def test_brands_sum_to_the_group_with_the_shared_part_hatched() -> None:
    axes = draw("brand_margins")
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert hatched(axes) == 3  # two brands and the group; of the third brand no part is shown
    widths = [bar.get_width() for bar in bars]
    assert sum(widths[:2]) == pytest.approx(sum(widths[2:]))  # the group is drawn first
    assert len(segments(axes)) == 6  # of three brands, and of three parts
    assert "of which 16% from shared ones" in plots.alt(axes)


def test_overlap_of_brands_has_intervals_and_hatched_cells() -> None:
    axes = draw("brand_overlap")
    assert hatched(axes) == 2
    found = csat_interval(700.0, 2600.0)
    assert f"{100 * float(found.conf_low):.0f}%–{100 * float(found.conf_high):.0f}%" in words(axes)
    assert "4,100" in words(axes)  # the diagonal
    many = pd.DataFrame([(f"b{i}", f"b{j}", 100.0 + i, 0.5, False) for i in range(10) for j in range(10)])
    many.columns = overlap().columns
    shown = plots.brand_overlap(many, language=EN)
    assert [label.get_text() for label in shown.get_yticklabels()] == [f"b{place}" for place in range(2, 10)]


def test_every_finding_of_the_catalogues_belongs_to_a_figure(root: Path) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (root / "cxroi" / "plots").glob("*.py"))
    stems = set(re.findall(r'f?"(\w+?)(?:_?\{|")', source))
    for key in catalogue("en"):
        if key.startswith("plots.finding."):
            name = key.removeprefix("plots.finding.")
            assert any(name.startswith(stem) for stem in stems if len(stem) > 4), key


def test_pictures_take_what_the_rooms_give(sample: Path) -> None:
    tables = read_tables(sample)
    shown, staying, changes = cohorts_of(tables), survival_by_band(tables, "nps"), spend_change(tables)
    assert not isinstance(shown, str)
    assert not isinstance(staying, str)
    assert not isinstance(changes, str)
    assert "After 4 quarters" in title_of(plots.cohort_triangle(shown.tidy(), language=EN))
    axes = plots.survival_curves(staying.tidy(), at_risk=staying.at(1, 184, 366, 549), language=EN)
    assert "promoters" in title_of(axes)
    assert "Margin per customer" in title_of(plots.spend_change(changes.tidy(), measure="margin", language=EN))
