"""Notebook 10: the customer base at one date, both values on one base, sentences from the figures, words in both languages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

import cxroi as cx
from cxroi import plots
from cxroi.language import Language, catalogue
from cxroi.panel import Panel
from cxroi.report import customers, results, show
from cxroi.report.customers import Agreement, Customers
from cxroi.simulate import simulate
from cxroi.tables import Tables
from cxroi.tables.dataset import Retention
from cxroi.value import CustomerValue
from cxroi.value.baseline import BaselineValue, Tracking, baseline_value
from cxroi.value.cohorts import Cohorts, cohorts
from cxroi.value.spend_change import SpendChange
from cxroi.value.survival import SurvivalByBand

VI, EN = Language("vi", "VND"), Language("en", "VND")
ENGLISH_WORDS = re.compile(r"\b(the|of|and|is|are|with|no|not|from|customers|quarter|answers|model|range)\b")
EARLIER = "2026Q1"
WINDOW = 90
READ: tuple[Callable[..., list[str]], ...] = (
    customers.answer,
    customers.read_cohorts,
    customers.read_margin,
    customers.read_survival,
    customers.read_spend,
    customers.read_ladder,
    customers.read_model,
    customers.read_tracking,
    customers.read_values,
)


@pytest.fixture(scope="module")
def tables(sample: Path) -> Tables:
    return cx.read_tables(sample)


@pytest.fixture(scope="module")
def panel(tables: Tables) -> Panel:
    return cx.build_panel(tables)


@pytest.fixture(scope="module")
def found(tables: Tables, panel: Panel) -> Customers:
    return customers.gather(tables, panel, seed=20)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("customers") / "small"
    simulate(folder, customers=1_200, seed=4)
    return cx.read_tables(folder)


@pytest.fixture(scope="module")
def shop(small: Tables) -> tuple[Tables, Panel]:
    """A company without leaving days: who has not bought for 90 days counts as gone."""
    rule = Retention(rule="repurchase", window_days=WINDOW)
    own = replace(
        small, customers=small.customers.drop("left_on"), config=small.config.model_copy(update={"retention": rule})
    )
    return own, cx.build_panel(own)


@pytest.fixture(scope="module")
def bought(shop: tuple[Tables, Panel]) -> Customers:
    return customers.gather(*shop, seed=20)


@pytest.fixture(scope="module")
def silent(small: Tables) -> Customers:
    """Transactions alone: no answers, and neither horizon nor rate stated."""
    own = replace(small, surveys=None, config=small.config.model_copy(update={"value": None}))
    return customers.gather(own, cx.build_panel(own), seed=20)


def agreed(found: Customers) -> Agreement:
    assert isinstance(found.agreement, Agreement)
    return found.agreement


def frame(view: pd.DataFrame | str) -> pd.DataFrame:
    assert isinstance(view, pd.DataFrame), view
    return view


# one date


def test_everything_is_told_as_of_the_panels_last_period(small: Tables) -> None:
    known = customers.as_of(small, cx.build_panel(small, last_period=EARLIER))
    told, whole = cohorts(known), cohorts(small)
    assert isinstance(told, Cohorts)
    assert isinstance(whole, Cohorts)
    cells = whole.tidy()
    expected = cells[cells["period"] <= EARLIER].reset_index(drop=True)
    pd.testing.assert_frame_equal(told.tidy(), expected)
    terms = {"horizon_quarters": 8, "annual_discount_rate": 0.1, "seed": 3, "draws": 50}
    cut, pretended = (
        baseline_value(known, **terms),  # type: ignore[arg-type]
        baseline_value(small, **terms, until=known.data_end),  # type: ignore[arg-type]
    )
    assert isinstance(cut, BaselineValue)
    assert isinstance(pretended, BaselineValue)
    pd.testing.assert_frame_equal(cut.tidy(), pretended.tidy())
    left, every = (
        each.customers.select("left_on").collect("pandas").to_native()["left_on"].dropna() for each in (known, small)
    )
    assert len(left) == int((every < "2026-04-01").sum()) < len(every)
    assert str(known.data_end) == "2026-03-31"


def test_tables_that_end_with_the_panel_stay_as_they_are(tables: Tables, panel: Panel) -> None:
    assert customers.as_of(tables, panel) is tables


# both values on one base


def test_difference_of_the_values_is_the_sum_of_its_parts(found: Customers, bought: Customers) -> None:
    for each in (found, bought):
        both = agreed(each)
        apart = both.following[0] / both.customers[1] - both.histories[0] / both.customers[0]
        assert both.staying + both.spending == pytest.approx(apart, rel=1e-9)
        assert both.difference()[0] == pytest.approx(both.following[0] - both.histories[0], rel=1e-12)


def test_under_a_contract_both_values_are_of_the_same_customers(found: Customers) -> None:
    both = agreed(found)
    assert both.customers[0] == both.customers[1]
    assert isinstance(found.baseline, BaselineValue)
    assert isinstance(found.value, CustomerValue)
    np.testing.assert_allclose(both.histories, found.baseline.total_draws(), rtol=1e-12)
    np.testing.assert_allclose(both.following, found.value.value_draws() * found.value.customers, rtol=1e-12)


def test_elsewhere_only_customers_not_yet_silent_are_compared(bought: Customers) -> None:
    both = agreed(bought)
    assert isinstance(bought.baseline, BaselineValue)
    assert both.window_days == WINDOW
    assert both.customers[0] < bought.baseline.of_level().customers
    # the panel counts orders above zero, the model days with a row that is no refund
    assert both.customers[0] == pytest.approx(both.customers[1], rel=0.005)
    assert both.histories[0] < bought.baseline.total_draws()[0]


def test_a_window_that_nobody_outlasts_compares_everybody(shop: tuple[Tables, Panel], bought: Customers) -> None:
    assert isinstance(bought.baseline, BaselineValue)
    rule = Retention(rule="repurchase", window_days=3_650)
    own = replace(shop[0], config=shop[0].config.model_copy(update={"retention": rule}))
    base = customers.same_base(own, bought.baseline)
    level = bought.baseline.of_level()
    assert base.customers == level.customers
    np.testing.assert_allclose(base.margin, level.margin[0], rtol=1e-9)
    np.testing.assert_allclose(base.activity, level.activity[0], rtol=1e-9)


def test_both_values_hold_the_known_truth_and_agree(tmp_path: Path) -> None:
    truth = json.loads(simulate(tmp_path / "clean", world="clean", customers=3_000, seed=5).read_text(encoding="utf-8"))
    tables = cx.read_tables(tmp_path / "clean")
    value = results.value(
        cx.build_panel(tables),
        horizon_months=truth["horizon_months"],
        annual_discount_rate=truth["annual_discount_rate"],
        seed=1,
    )
    both = customers.agreement(tables, value, seed=1)
    assert isinstance(both, Agreement)
    assert both.agrees
    for draws, n in zip((both.histories, both.following), both.customers, strict=True):
        # within three standard deviations of the draws, as a company drawn anew would be in 99.7 of 100
        assert abs(draws[0] / n - truth["levels"]["ltv"]) < 3 * draws[1:].std() / n


def test_notebook_of_value_and_notebook_of_customers_compare_the_same(tables: Tables, found: Customers) -> None:
    own = customers.agreement(tables, found.value, seed=20)
    pd.testing.assert_frame_equal(
        frame(customers.beside(own, language=EN)), frame(customers.beside(found.agreement, language=EN))
    )
    assert customers.agreement(tables, "no value", seed=20) == "no value"


def test_values_that_errors_do_not_explain_are_said_to_differ(found: Customers) -> None:
    both = agreed(found)
    assert both.agrees
    apart = replace(both, following=both.following * 1.5)
    assert not apart.agrees
    assert "within the errors of both" in customers.read_agreement(both, language=EN)[0]
    assert "by more than the errors of both" in customers.read_agreement(apart, language=EN)[0]
    assert language_share(customers.read_agreement(apart, language=EN)[0]) == pytest.approx(
        1.5 * (1 + both.share()[0]) - 1, abs=0.0006
    )


def language_share(sentence: str) -> float:
    """First percentage of a sentence."""
    percent = re.search(r"([+-]?[\d.]+)%", sentence)
    assert percent
    return float(percent[1]) / 100


# sentences and tables are views of the results


def test_answer_holds_the_figures_of_the_results(found: Customers) -> None:
    now, sure, change = customers.answer(found, language=EN)
    assert isinstance(found.baseline, BaselineValue)
    assert isinstance(found.survival, SurvivalByBand)
    assert isinstance(found.tracking, Tracking)
    total = found.baseline.total_draws()
    low, high = np.quantile(total[1:], [0.05, 0.95])
    for figure in (total[0], low, high):
        assert EN.money(figure, compact=True) in now
    assert f"{found.baseline.of_level().customers:,} customers" in now
    assert "36 months" in now
    assert "discounted at 12% a year, each quarter at its end" in now
    assert "For the last 2 quarters" in sure
    assert f"{abs(found.tracking.totals['error'].iloc[-1]):.1%}" in sure
    at = found.survival.at(366).set_index("band")["survival"]
    assert f"{at['promoter']:.0%} of promoters and {at['detractor']:.0%} of detractors" in change


def test_without_horizon_and_rate_the_next_quarters_are_told_undiscounted(silent: Customers) -> None:
    now, _, change = customers.answer(silent, language=EN)
    assert "12 months" in now
    assert "not discounted, as no rate is stated" in now
    assert customers.values(silent) == results.NO_TERMS
    assert silent.agreement == results.NO_TERMS
    assert isinstance(silent.baseline, BaselineValue)
    ahead = frame(customers.next_quarters(silent))
    assert ahead["margin"].sum() == pytest.approx(silent.baseline.total_draws()[0], rel=1e-12)
    assert list(ahead["period"]) == ["2026Q4", "2027Q1", "2027Q2", "2027Q3"]
    assert "the data have no answers" in change


def test_transactions_alone_give_cohorts_spend_and_forecast(silent: Customers) -> None:
    for measure in ("retained", "cumulative_margin"):
        assert len(frame(customers.cohort_cells(silent, measure)))  # type: ignore[arg-type]
    assert len(frame(customers.spend_changes(silent)))
    assert len(frame(customers.tracked(silent)))
    for view in (customers.survival_curves(silent), customers.spend_changes(silent, by_band=True)):
        assert view == results.NO_ANSWERS
    assert customers.survival_marks(silent).empty


def test_neither_horizon_nor_rate_moves_the_next_quarters(small: Tables, silent: Customers) -> None:
    terms = {"horizon_quarters": 12, "annual_discount_rate": 0.12, "seed": 20}
    longer = replace(silent, baseline=baseline_value(small, **terms))  # type: ignore[arg-type]
    ours, theirs = frame(customers.next_quarters(longer)), frame(customers.next_quarters(silent))
    np.testing.assert_allclose(ours["margin"], theirs["margin"], rtol=1e-9)


def test_bands_of_spend_are_those_of_answers_before_both_periods(found: Customers) -> None:
    changed = found.spend_by_band
    assert isinstance(changed, SpendChange)
    assert changed.span == "quarter"  # before the first whole year nobody had answered
    assert set(changed.changes["group"]) == {"detractor", "passive", "promoter", "no answer"}
    assert isinstance(found.spend, SpendChange)
    assert found.spend.span == "year"


def test_another_score_is_taken_where_the_asked_one_has_no_answers(small: Tables) -> None:
    assert small.surveys is not None
    own = replace(small, surveys=small.surveys.filter(nw.col("metric") == "csat"))
    other = customers.gather(own, cx.build_panel(own), exposure="nps", seed=20)
    assert other.exposure == "csat"
    assert isinstance(other.survival, SurvivalByBand)
    assert set(other.survival.bands["band"]) <= {"dissatisfied", "neutral", "satisfied"}
    assert "following CSAT" in customers.read_agreement(other.agreement, language=EN)[0]


def test_median_that_is_not_reached_is_said_and_one_that_is_has_its_interval(
    found: Customers, bought: Customers
) -> None:
    told = frame(customers.survival_table(found, language=EN))
    assert set(told["median_time"]) == {"not reached"}
    assert "the median time stayed is not reached" in customers.read_survival(found, language=EN)[-1]
    own = frame(customers.survival_table(bought, language=EN)).set_index("band")["median_time"]
    assert isinstance(bought.survival, SurvivalByBand)
    days = bought.survival.bands.set_index("band").loc["promoter", ["median_days", "conf_low", "conf_high"]]
    middle, low, high = (f"{(float(day) - 1) / (365.25 / 12):.1f}" for day in days)
    assert own["promoter"] == f"{middle} months ({low} to {high})"


def test_lowest_and_highest_cohort_are_read_at_the_same_age(found: Customers) -> None:
    (sentence,) = customers.read_cohorts(found, language=EN)
    cells = frame(customers.cohort_cells(found, "retained"))
    year = cells[(cells["measure"] == "retained") & (cells["seen_from_age"] == 0) & (cells["age"] == 4)]
    assert f"between {year['estimate'].min():.0%} " in sentence
    assert f"and {year['estimate'].max():.0%} " in sentence
    assert f"of {len(year)} cohorts" in sentence


def test_ladder_shows_both_periods_and_the_terms_of_lifetime_value(found: Customers) -> None:
    steps = frame(customers.ladder(found, language=EN))
    told = steps["fact"].value_counts()
    assert told.pop("retention") == 1  # it is of the period after alone
    assert set(told) == {2}
    after = steps.groupby("fact")["estimate"].last()
    product = after["frequency_of_visit"] * after["average_transaction_value"] * after["margin_rate"]
    assert product == pytest.approx(after["margin_per_customer"], rel=1e-9)
    assert set(steps["term"]) == {"", "orders", "margin per order", "who stays"}
    assert steps[["conf_low", "conf_high"]].notna().all(axis=None)


def test_captions_count_the_cohorts_that_are_drawn(found: Customers) -> None:
    caption = customers.on_cohorts(found, "retained", language=EN).caption
    cells = frame(customers.cohort_cells(found, "retained"))
    drawn = cells[(cells["measure"] == "retained") & (cells["seen_from_age"] == 0)]
    assert f"of {drawn['cohort'].nunique()} joining cohorts" in caption
    shown = show.figure(plots.cohort_triangle, cells, show.Words(None, caption), language=EN, measure="retained")
    assert isinstance(shown, show.Picture)
    assert shown.caption == caption


def test_tiny_company_is_told_why(tmp_path: Path) -> None:
    simulate(tmp_path / "tiny", customers=25, seed=3)
    tables = cx.read_tables(tmp_path / "tiny")
    tiny = customers.gather(tables, cx.build_panel(tables), seed=20)
    assert customers.cohort_cells(tiny, "retained") == customers.ALL_SMALL
    assert customers.survival_curves(tiny) == customers.NO_CURVES
    assert customers.spend_changes(tiny) == customers.FEW_IN_BOTH
    first, _ = customers.answer(tiny, language=EN)
    assert re.search(r"retention: \d+ customers left; at least 10 are needed", first)


# words


@pytest.mark.parametrize("kind", ["found", "bought", "silent"])
def test_every_sentence_and_every_check_has_its_vietnamese(kind: str, request: pytest.FixtureRequest) -> None:
    one: Customers = request.getfixturevalue(kind)
    lines = [line for read in READ for line in read(one, language=VI)]
    lines += customers.read_agreement(one.agreement, language=VI)
    lines += show.table(customers.checks(one), language=VI).text.splitlines()
    views = (
        customers.values(one),
        customers.beside(one.agreement, language=VI),
        customers.ladder(one, language=VI),
        customers.tracked_totals(one),
        customers.survival_table(one, language=VI),
    )
    lines += [line for view in views for line in show.table(view, language=VI).text.splitlines()]
    assert len(lines) > 30
    unsettled = [re.sub(r"\{[^}]*\}|[\w.]*\.yaml", "", line) for line in lines]
    assert [line for line in unsettled if ENGLISH_WORDS.search(line)] == []


def test_every_key_that_the_module_asks_for_is_in_the_catalogue(root: Path) -> None:
    source = (root / "cxroi" / "report" / "customers.py").read_text(encoding="utf-8")
    asked = set(re.findall(r'"(nb\.[a-z_]+(?:\.[a-z_]+)?)"', source))
    beginnings = set(re.findall(r'f"(nb\.customers\.[a-z_]+)\{', source))
    known = set(catalogue("en"))
    assert len(asked) > 20
    assert asked <= known
    assert {start for start in beginnings if not any(key.startswith(start) for key in known)} == set()
    own = {key for key in known if key.startswith("nb.customers.")}
    assert {key for key in own if key not in asked and not any(key.startswith(start) for start in beginnings)} == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "total of the 2 quarters held out: +8.1% against the actual one",
            "tổng của 2 quý giữ lại: +8,1% so với thực tế",
        ),
        ("the data have no dated answers to nps", "dữ liệu không có câu trả lời NPS có ngày"),
        (customers.ALL_SMALL, "mọi đợt khách hàng mới đều có dưới 30 khách hàng"),
    ],
)
def test_words_of_the_rooms_are_said_with_their_numbers(words: str, said: str) -> None:
    assert show.said(words, VI) == said
    assert show.said(words, EN) == re.sub("nps", "NPS", words)
