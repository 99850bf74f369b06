"""Notebook 09: pictures and sentences of a choice of programmes, in both languages, from results that are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from cxroi import plots
from cxroi.case import BusinessCase, business_case
from cxroi.case.information import Information, SampleInformation, larger_survey, pilot, value_of_information
from cxroi.case.portfolio import Portfolio, choose
from cxroi.case.uncertainty import stress_tests, variance_shares
from cxroi.language import Language, catalogue
from cxroi.report import portfolio, show
from cxroi.report.portfolio import Choice, Trial
from tests.decisions import APP, BOT, ONE, a_case, a_response

VI, EN = Language("vi", "VND"), Language("en", "VND")
ENGLISH_WORDS = re.compile(r"\b(the|of|and|is|are|with|no|not|from|customers|draws|choice|worth|gain|costs)\b")
READ: tuple[Callable[..., list[str]], ...] = (
    portfolio.answer,
    portfolio.read_programmes,
    portfolio.read_frontier,
    portfolio.read_shares,
    portfolio.read_information,
    portfolio.read_pilot,
    portfolio.read_survey,
    portfolio.read_stress,
)


def gathered(decision: BusinessCase, trial: Trial | None = None, **asked: float) -> Choice:
    """What ``portfolio.gather`` gives, without a data set."""
    trial = trial or Trial()
    chosen = choose(decision, **asked)  # type: ignore[arg-type]
    assert isinstance(chosen, Portfolio)
    costs = {"fixed_cost": max(trial.cost, 0.0), "cost_per_customer": max(trial.cost_per_customer, 0.0)}
    return Choice(
        decision,
        chosen,
        value_of_information(decision, choice=chosen),
        pilot(decision, "one", answer_std=2.0, response_rate=0.3, choice=chosen, **costs),
        larger_survey(decision, answers_now=5_000, cost_per_answer=max(trial.answer_cost, 0.0), choice=chosen),
        trial,
        variance_shares(decision),
        stress_tests(decision),
        "no rise of prices is stated",
    )


@pytest.fixture(scope="module")
def decision() -> BusinessCase:
    dear = [{"category": 2, "month": 0, "amount": 7e9, "overrun": {"low": 0, "mode": 0.2, "high": 0.6}}]
    app = APP | {"costs": [{"category": 3, "month": 0, "amount": 3e9}]}
    case = a_case(ONE | {"costs": dear}, app, BOT, budget={"total": 1.2e10})
    return business_case(a_response(), case, seed=1, draws=2_000)


@pytest.fixture(scope="module")
def found(decision: BusinessCase) -> Choice:
    return gathered(decision, Trial(cost=1e7, cost_per_customer=20_000.0, answer_cost=20_000.0))


@pytest.fixture(scope="module")
def single() -> Choice:
    return gathered(business_case(a_response(), a_case(ONE), seed=1, draws=1_000))


@pytest.fixture(scope="module")
def hopeless() -> Choice:
    return gathered(business_case(a_response(1.0, 1.0, 0.5), a_case(ONE, APP), seed=1, draws=1_000))


@pytest.fixture
def unknown() -> Choice:
    why = "the data have no answers"
    return Choice(why, why, why, why, why, Trial(), why, why, why)


def frame(view: pd.DataFrame | str) -> pd.DataFrame:
    assert isinstance(view, pd.DataFrame), view
    return view


def drawn(found: Choice, language: Language) -> dict[str, Axes]:
    options = portfolio.frontier_options(found)
    sizes = portfolio.size_options(found.pilot)
    return {
        "frontier": plots.frontier(frame(portfolio.sets(found)), language=language, **options),
        "information": plots.information(frame(portfolio.worth_knowing(found)), language=language),
        "sizes": plots.sample_sizes(frame(portfolio.sizes(found.pilot)), language=language, **sizes),
        "shares": plots.variance_shares(frame(portfolio.shares(found)), language=language),
    }


# ---------------------------------------------------------------- sentences


@pytest.mark.parametrize("kind", ["found", "single", "hopeless", "unknown"])
def test_every_sentence_is_in_the_language_of_the_page(kind: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(kind)
    for read in READ:
        for line in read(found, language=VI):
            bare = re.sub(r"“[^”]*”|\([^)]*\)|\w+_\w+|[\w.]*\.yaml", "", line)
            assert not ENGLISH_WORDS.search(bare), line
        assert len(read(found, language=VI)) == len(read(found, language=EN))


def test_answer_says_what_to_choose_how_clear_it_is_and_what_to_find_out(found: Choice) -> None:
    choose_line, sure, first = portfolio.answer(found, language=EN)
    assert isinstance(found.portfolio, Portfolio)
    row = found.portfolio.glance().iloc[0]
    assert choose_line.startswith("With a budget of ₫12\xa0billion choose “One call is enough”, “App”: ")
    assert show.money(row["npv_mean"], EN) in choose_line
    assert EN.percent(found.portfolio.p_set, 0) in sure
    rows = frame(portfolio.worth_knowing(found))
    assert show.money(float(rows["value"].iloc[1]), EN) in first
    assert first.startswith("Find out first: ")


def test_one_programme_is_spoken_of_as_one(single: Choice) -> None:
    line = portfolio.answer(single, language=EN)[0]
    assert isinstance(single.portfolio, Portfolio)
    lean = single.portfolio.glance()["p_npv_positive"].iloc[0] >= 0.8
    assert ("The figures lean towards it" in line) == lean
    assert ("The figures do not settle it yet" in line) == (not lean)
    assert set(frame(portfolio.worth_knowing(single))["programme"]) == {""}
    assert portfolio.read_programmes(single, language=EN) == []


def test_nothing_is_chosen_where_nothing_pays(hopeless: Choice) -> None:
    lines = portfolio.answer(hopeless, language=EN)
    assert lines[0].startswith("Choose none of the programmes")
    assert lines[2].startswith("Nothing that could be found out would change what is done")
    assert portfolio.read_frontier(hopeless, language=EN) == ["No spending brings more than it costs on average."]
    assert "would change what is done" in portfolio.read_pilot(hopeless, language=EN)[-1]


def test_why_there_is_no_choice_is_said(unknown: Choice) -> None:
    assert portfolio.answer(unknown, language=EN)[1] == "There is no figure here: the data have no answers."
    for view in (portfolio.sets, portfolio.shares, portfolio.worth_knowing, portfolio.checks, portfolio.scenarios):
        assert view(unknown) == "the data have no answers"
    assert portfolio.programmes(unknown, language=EN) == "the data have no answers"
    assert portfolio.stress(unknown, language=EN) == "the data have no answers"


def test_costs_that_are_not_stated_are_asked_for(decision: BusinessCase, found: Choice) -> None:
    unpriced = gathered(decision)
    assert any(
        "is not stated; give the parameters `pilot_cost`" in line
        for line in portfolio.read_pilot(unpriced, language=EN)
    )
    assert any(
        "is not stated; give the parameter `answer_cost`" in line
        for line in portfolio.read_survey(unpriced, language=EN)
    )
    table, priced = (frame(portfolio.pilot_table(each, language=EN)) for each in (unpriced, found))
    assert "net_worth" not in table
    assert "net_worth" in priced
    least = abs(float(unpriced.portfolio.glance()["npv_mean"].iloc[0])) / 1000
    small = frame(portfolio.size_table(unpriced.pilot))["worth"].abs() < least
    assert (table["worth"] == "close to 0").to_list() == small.to_list()
    held = replace(unpriced, pilots=(("I-1", 603, 613),))
    assert portfolio.read_pilot(held, language=EN)[0].startswith(
        "The data already hold a pilot of “I-1”: 603 customers"
    )
    told = " ".join(portfolio.read_pilot(found, language=EN))
    assert isinstance(found.pilot, SampleInformation)
    assert "not stated" not in told
    assert (EN.number(found.pilot.best_size) in told) or "No size of pilot is worth its cost." in told


# ---------------------------------------------------------------- views


def test_programmes_go_by_their_names_and_cost_plays_are_marked(found: Choice) -> None:
    rows = frame(portfolio.programmes(found, language=EN))
    assert rows["programme"].to_list() == ["One call is enough", "App", "Bot (outside the CX total)"]
    table = show.table(rows, language=EN, columns="programme spending npv_alone range npv_added p_best why")
    assert table.text.splitlines()[1].startswith("One call is enough | ₫")
    assert table.text.splitlines()[1].endswith(" | chosen")
    assert "nan" not in table.text
    marked = frame(portfolio.set_table(found, language=EN))["programmes"]
    assert marked.str.endswith(" (the choice)").sum() == 1
    assert marked.iloc[0] == "none"


def test_stress_and_scenarios_are_tables_in_words(found: Choice) -> None:
    for language in (EN, VI):
        rows = frame(portfolio.stress(found, language=language))
        assert len(rows) == 10
        columns = "test changed basis median range change p_npv_positive"
        text = show.table(rows, language=language, columns=columns).text
        assert text.count("\n") == 10
        if language is VI:
            assert not ENGLISH_WORDS.search(text)
    rows = frame(portfolio.scenarios(found))
    assert rows["scenario"].drop_duplicates().to_list() == ["conservative", "base", "optimistic"]
    assert set(rows["measure"]) == {"npv", "roi", "payback_months"}


def test_every_sentence_of_stress_is_known_to_both_catalogues(decision: BusinessCase) -> None:
    rows = stress_tests(decision)
    assert isinstance(rows, pd.DataFrame)
    for column in ("test", "changed", "basis"):
        for words in rows[column]:
            assert show.said(str(words), EN) == words
            assert show.said(str(words), VI) != words


# ---------------------------------------------------------------- pictures


def test_pictures_speak_the_language_and_are_the_same_every_time(found: Choice) -> None:
    english, vietnamese, again = drawn(found, EN), drawn(found, VI), drawn(found, VI)
    for name, axes in vietnamese.items():
        assert len(plots.alt(axes)) > 40
        assert plots.alt(axes) != plots.alt(english[name])
        assert not re.search(r"\b(the|with|from|share|worth)\b", plots.alt(axes))
    assert plots.to_svg(vietnamese["sizes"]) == plots.to_svg(again["sizes"])


def test_hostile_names_are_drawn_as_words(found: Choice) -> None:
    hostile = "$x$ <script> \u202e漢"
    for axes in (
        plots.frontier(frame(portfolio.sets(found)).assign(programmes=hostile), language=EN),
        plots.information(frame(portfolio.worth_knowing(found)).assign(programme=hostile), language=EN),
        plots.variance_shares(frame(portfolio.shares(found)).assign(programme=hostile), language=EN),
    ):
        assert "\u202e" not in plots.alt(axes)


def test_frontier_marks_the_choice_and_the_budget(found: Choice) -> None:
    axes = drawn(found, EN)["frontier"]
    words = [text.get_text() for text in axes.texts]
    assert any(text.startswith("budget ₫12\xa0billion") for text in words)
    assert any("One call is enough + App" in " ".join(text.split()) for text in words)
    rows = frame(portfolio.sets(found))
    for mean in rows.loc[rows["on_budget_frontier"], "npv_mean"]:
        assert show.money(mean, EN) in plots.alt(axes)


def test_information_draws_its_monte_carlo_error(found: Choice) -> None:
    assert isinstance(found.information, Information)
    axes = drawn(found, EN)["information"]
    rows = frame(portfolio.worth_knowing(found))
    ends = [segment[:, 0] for lines in axes.collections for segment in lines.get_segments()]  # type: ignore[attr-defined]
    low, high = ends[0]
    first = rows.iloc[0]
    assert high - low == pytest.approx(2 * 1.96 * first["std_error"])


def test_sizes_draw_no_cost_where_none_is_stated(single: Choice, found: Choice) -> None:
    assert len([line for line in drawn(single, EN)["sizes"].lines if len(np.atleast_1d(line.get_xdata())) > 2]) == 1
    assert len([line for line in drawn(found, EN)["sizes"].lines if len(np.atleast_1d(line.get_xdata())) > 2]) == 3


def test_tornado_names_conventions_as_such(decision: BusinessCase) -> None:
    axes = plots.tornado(decision.tornado(), language=EN, currency="VND")
    labels = [" ".join(label.get_text().split()) for label in axes.get_yticklabels()]
    assert sum("(a step by convention)" in label for label in labels) == 2
    assert any(label.startswith("Discount rate (a step by convention) 8% → 16%") for label in labels)
    assert any(label.startswith("Overrun of costs: one") for label in labels)


def test_every_input_has_a_name() -> None:
    for name in ("linkage", "score_gain", "overrun", "savings", "benefits", "everything", "margin", "costs"):
        for code in ("en", "vi"):
            assert f"plots.input.{name}" in catalogue(code)


def test_a_budget_that_is_asked_for_takes_the_place_of_the_stated_one(decision: BusinessCase) -> None:
    small = gathered(replace(decision), budget=3.5e9)
    assert isinstance(small.portfolio, Portfolio)
    assert "One call is enough" not in portfolio.answer(small, language=EN)[0]
    assert portfolio.read_frontier(small, language=EN)[0].startswith("The budget leaves something undone")
