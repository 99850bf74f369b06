"""The executive page: its sentences say what the results say, in both languages, and a missing part says why."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cxroi.case import BusinessCase, business_case, observed_half_life_months
from cxroi.case.business_case import COLUMNS
from cxroi.errors import InputError, InvalidCase, InvalidTables
from cxroi.language import Language, catalogue
from cxroi.report.company import Assessment, assess, case_exposure, open_dataset, smallest_detectable_gain
from cxroi.report.executive import answer, executive_report, prepare_report, verdict, write_tables
from cxroi.report.html import render_report
from cxroi.report.model import Figure, Report, Table
from cxroi.report.notebook import write_notebook
from cxroi.report.parameters import parameters_cell
from cxroi.report.run import Execution, run
from cxroi.value import COLUMNS as ESTIMATE_COLUMNS
from cxroi.value import CustomerValue

SECTIONS = [f"chain-{number}" for number in range(1, 6)]
SECTIONS += ["sure", "change", "benefits", "check", "assumptions", "checks", "limits", "provenance"]
CAUSAL = re.compile(
    r"\b(effects?|impacts?|uplifts?|caus\w+|drives?|tác động|hiệu quả|gây ra|mang lại|ảnh hưởng)\b", re.I
)
ENGLISH = re.compile(r"\b(the|of|is|are|to|not|per|with|every|that|who|answers|share|stated)\b")


@pytest.fixture(scope="session")
def reports(assessment: Assessment) -> dict[str, Report]:
    inputs = [{"file": "surveys.csv", "bytes": 1234, "sha256": "a" * 64}]
    pages = ("01_data", "06_case")
    languages = (Language("vi", "VND"), Language("en", "VND"))
    return {each.code: executive_report(assessment, each, inputs=inputs, pages=pages) for each in languages}


def english(assessment: Assessment) -> Report:
    return executive_report(assessment, Language("en", assessment.panel.currency))


def sentences(report: Report) -> list[str]:
    """Every sentence, label and cell of a report."""
    found = [report.title, report.subtitle, *(each.text for each in report.answer)]
    found += [text for each in report.key_figures for text in (each.label, each.value, each.interval, each.evidence)]
    for section in report.sections:
        found += [section.title, *(each.text for each in section.sentences)]
        for exhibit in section.exhibits:
            found.append(exhibit.caption)
            found += [exhibit.alt] if isinstance(exhibit, Figure) else [cell for row in exhibit.rows for cell in row]
    return found + [each.label for each in report.links]


def cells(report: Report, table: str) -> list[tuple[str, ...]]:
    found = [each for section in report.sections for each in section.exhibits if each.id == table]
    assert len(found) == 1
    assert isinstance(found[0], Table)
    return list(found[0].rows)


def decided(assessment: Assessment) -> BusinessCase:
    assert isinstance(assessment.decision, BusinessCase)
    return assessment.decision


def test_the_answer_is_three_sentences_from_the_results(assessment: Assessment) -> None:
    number, how_sure, change = answer(assessment, Language("en", "VND"))
    glance = decided(assessment).glance().iloc[0]
    language = Language("en", "VND")
    for measure in ("npv_low", "npv_median", "npv_high"):
        assert language.money(glance[measure], compact=True) in number
    assert language.percent(glance["p_npv_positive"], 0) in number
    rows = assessment.estimates.glance().set_index(["outcome", "exposure"])
    row = rows.loc[("retained", "nps")]
    assert f"{language.number(100 * row['estimate'], 2)} percentage points" in how_sure
    assert how_sure.startswith("Among customers alike in controls, tenure and any purchase history")
    figures = decided(assessment).tidy()
    base = figures[(figures["scenario"] == "base") & (figures["measure"] == "break_even_score_gain")]
    assert f"score gain of {language.number(base['median'].iloc[0], 2)} points" in change
    faded = assessment.faded
    assert faded is not None, "the sample states a half-life longer than its answers show"
    report = english(assessment)
    plain = {each.id: each.text for each in report.plain}["plain-faded"]
    assert plain.startswith("The case assumes that a gain halves in 24 months; repeated answers say 7.1 months")
    assert language.money(faded.glance()["npv_median"].iloc[0], compact=True) in plain
    assert all(text.count(". ") == 0 and text.endswith(".") for text in (number, how_sure, change))


def test_both_languages_have_the_same_report(reports: dict[str, Report]) -> None:
    vi, en = reports["vi"], reports["en"]
    assert [section.id for section in vi.sections] == [section.id for section in en.sections] == SECTIONS
    assert [each.id for each in vi.key_figures] == [each.id for each in en.key_figures]
    for one, other in zip(vi.sections, en.sections, strict=True):
        assert [each.id for each in one.sentences] == [each.id for each in other.sentences]
        assert [each.id for each in one.exhibits] == [each.id for each in other.exhibits]
        assert one.title != other.title


def test_vietnamese_page_has_no_english_sentence(reports: dict[str, Report]) -> None:
    assert [text for text in sentences(reports["vi"]) if ENGLISH.search(text)] == []


@pytest.mark.parametrize("code", ["vi", "en"])
def test_no_causal_word_below_a_quasi_experiment(code: str, reports: dict[str, Report]) -> None:
    section = {f"limits-{number}" for number in range(1, 9)}  # which say what is not shown
    sides = {each.text for part in reports[code].sections for each in part.sentences if each.id in section}
    said = [text for text in sentences(reports[code]) if CAUSAL.search(text) and text not in sides]
    assert [text for text in said if "nhân quả" not in text] == []


def test_the_words_of_the_strong_rungs_are_kept_for_them() -> None:
    for code in ("vi", "en"):
        words = catalogue(code)
        claims = {key: text for key, text in words.items() if key.startswith("executive.claim.")}
        assert len(claims) == 5
        assert {key.rpartition(".")[2] for key, text in claims.items() if re.search("brought|caused|đã", text)} == {
            "quasi_experiment",
            "experiment",
        }


def test_every_key_figure_has_a_range_and_a_grade(reports: dict[str, Report]) -> None:
    names = [
        "retention",
        "npv",
        "break_even",
        "score",
        "customer",
        "point",
        "roi",
        "payback",
    ]  # three on the first screen
    assert [each.id for each in reports["en"].key_figures] == [f"key-{name}" for name in names]
    assert all(each.interval and each.evidence for each in reports["en"].key_figures)
    figures = {each.id: each for each in reports["en"].key_figures}
    change = next(section for section in reports["en"].sections if section.id == "change")
    assert re.search(r"the survey detects a change of [\d.]+ points over all customers", change.sentences[1].text)
    assert "Answers from 2 to 10 are observed" in change.sentences[1].text
    assert figures["key-retention"].evidence == figures["key-npv"].evidence == "adjusted"  # whatever the gain rests on


def test_five_pictures_with_captions_and_words(reports: dict[str, Report]) -> None:
    for report in reports.values():
        chain = [section for section in report.sections if section.id.startswith("chain-")]
        pictures = [exhibit for section in chain for exhibit in section.exhibits]
        assert [type(each) for each in pictures] == [Figure] * 5
        for picture in pictures:
            assert isinstance(picture, Figure)
            assert len(picture.alt) > 40
            assert re.search(r"\d", picture.caption)
            assert picture.image.startswith(b"<svg")


def test_assumptions_are_told_from_data_and_costs_sum(assessment: Assessment, reports: dict[str, Report]) -> None:
    rows = cells(reports["en"], "table-assumptions")
    kinds = {row[0]: row[4] for row in rows}
    assert kinds["Horizon"] == kinds["Half-life of the gain"] == "assumption"
    assert kinds["Reach, share of the base"] == "from data", "as its source in the case says"
    assert kinds["Customers active at the start"] == "from data"
    register = decided(assessment).register().set_index("assumption")
    sources = {row[0]: row[2:4] for row in rows}
    stated = register.loc["horizon_months"]
    assert sources["Horizon"] == (stated["source"], stated["owner"])
    assert all(row[2] for row in rows)
    unsourced = int(register.loc[[not each.startswith("costs") for each in register.index], "missing"].sum())
    assert unsourced > 0
    assert sum(row[2] == "no source stated" for row in rows) == unsourced
    median = register.loc["persistence", "value"]
    left = next(row[1] for row in rows if row[0] == "Share of a gain left after a quarter")
    assert left.startswith(f"{100 * median:.1f}% (5–95%, simulated: ")
    assert observed_half_life_months(decided(assessment).response) == pytest.approx(3 * np.log(0.5) / np.log(median))
    costs = cells(reports["en"], "table-costs")
    case = decided(assessment).case
    total = sum(cost.amount * len(cost.months) for each in case.programmes for cost in each.costs)
    language = Language("en", "VND")
    present = decided(assessment).whole.measures["pv_cost"][0] / (1 - case.tax_rate)
    assert costs[-1][3:] == (language.money(total, compact=True), language.money(present, compact=True))


def test_scenarios_are_those_of_the_case(assessment: Assessment, reports: dict[str, Report]) -> None:
    frame = decided(assessment).tidy()
    npv = frame[frame["measure"] == "npv"].set_index("scenario")["median"]
    row = next(row for row in cells(reports["en"], "table-scenarios") if row[0].startswith("Net present value"))
    language = Language("en", "VND")
    assert row[1:] == tuple(language.money(npv[name], compact=True) for name in ("conservative", "base", "optimistic"))


def test_the_page_stands_alone(reports: dict[str, Report]) -> None:
    page = render_report(reports["vi"])
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    foreign = [each for each in addresses if not re.match(r"data:|#|[\w-]+\.(html|csv|json)$", each)]
    assert foreign == []
    assert re.findall("<script[^>]*>", page) == ['<script type="application/json" id="what-if-data">', "<script>"]
    assert "http" not in re.sub(r'base64,[^"\')]*', "", page).replace("http-equiv", "")
    assert 'lang="vi"' in page
    assert page == render_report(reports["vi"])
    assert {"01_data.html", "06_case.html", "estimates.csv", "case.csv", "manifest.json"} <= set(addresses)


def test_words_from_data_stay_words(assessment: Assessment) -> None:
    name = "<script>alert(1)</script> & “A” $x$ {0}"
    case = decided(assessment).case
    programme = case.programmes[0].model_copy(update={"name": name, "owner": "<b>me</b>"})
    hostile = case.model_copy(update={"programmes": (programme,)})
    decision = replace(decided(assessment), case=hostile)
    page = render_report(english(replace(assessment, case=hostile, decision=decision)))
    assert html.escape(name, quote=False) in page.replace("&#34;", '"')
    assert "<script>alert" not in page
    assert "<b>me" not in page


def test_customer_ids_are_not_on_the_page(assessment: Assessment, reports: dict[str, Report], sample: Path) -> None:
    ids = pd.read_csv(sample / "customers.csv", dtype=str)["customer_id"].head(50)
    text = "\n".join(sentences(reports["en"]))
    assert [each for each in ids if len(each) > 4 and each in text] == []
    assert not re.search(r"(/home|/root|/work|/tmp|[A-Z]:\\)", text)


def test_without_a_case_the_page_says_so(assessment: Assessment) -> None:
    reason = "there is no case.yaml beside the data set; a case states the gain, the reach and the costs of a programme"
    report = english(replace(assessment, case=reason, decision=reason))
    assert report.title == "What is a point of NPS worth?"
    assert "there is no case.yaml" in report.answer[0].text
    pay = next(section for section in report.sections if section.id == "chain-5")
    assert pay.title == "No figure here"
    assert pay.exhibits == ()
    assert "there is no case.yaml" in pay.sentences[1].text
    assert {each.id for each in report.key_figures}.isdisjoint({"key-npv", "key-roi", "key-payback", "key-break_even"})


def test_without_a_value_nothing_is_said_in_money(assessment: Assessment) -> None:
    reason = "no value: {horizon_months, annual_discount_rate} in dataset.yaml"
    report = english(replace(assessment, value=reason, decision=reason))
    worth = next(section for section in report.sections if section.id == "chain-4")
    assert worth.exhibits == ()
    assert "horizon_months" in worth.sentences[1].text
    assert "key-point" not in {each.id for each in report.key_figures}


def test_several_programmes_are_judged_together(assessment: Assessment) -> None:
    case = decided(assessment).case
    second = case.programmes[0].model_copy(update={"id": "second", "name": "Second"})
    both = case.model_copy(update={"programmes": (case.programmes[0], second)})
    decision = business_case(decided(assessment).response, both, seed=1, draws=200)
    report = english(replace(assessment, case=both, decision=decision))
    assert report.title == "Should the portfolio of 2 programmes be funded?"
    assert "times the stated score gains" in report.answer[2].text
    assert "key-break_even_multiple" in {each.id for each in report.key_figures}
    assert any(row[0].startswith("Second: ") for row in cells(report, "table-assumptions"))


def test_an_interval_that_holds_zero_is_said(assessment: Assessment) -> None:
    weak = assessment.estimates.tidy()
    headline = (weak["outcome"] == "retained") & weak["headline"]
    weak.loc[headline, ["conf_low", "conf_high"]] = [-0.01, 0.03]
    estimates = replace(assessment.estimates)
    estimates.__dict__["_table"] = weak
    _, how_sure, _ = answer(replace(assessment, estimates=estimates), Language("en", "VND"))
    assert "the interval holds zero" in how_sure


@pytest.mark.parametrize(
    ("probability", "word"),
    [(1.0, "yes"), (0.95, "yes"), (0.949, "likely"), (0.79, "open"), (0.2, "unlikely"), (0.0, "no")],
)
def test_verdicts(probability: float, word: str) -> None:
    assert verdict(probability) == word


def test_the_case_is_carried_by_the_score_of_its_gains(assessment: Assessment) -> None:
    case = decided(assessment).case
    gain = case.programmes[0].score_gain.model_copy(update={"metric": "ces"})
    other = case.model_copy(update={"programmes": (case.programmes[0].model_copy(update={"score_gain": gain}),)})
    assert case_exposure(assessment.panel, case) == "nps"
    assert case_exposure(assessment.panel, other) == "ces"
    assert case_exposure(replace(assessment.panel, metrics=("ces",)), "no case") == "ces"
    assert case_exposure(replace(assessment.panel, metrics=()), case) == ""


def test_smallest_detectable_gain_is_that_of_two_means(assessment: Assessment) -> None:
    rows = assessment.panel.rows
    last = [rows.loc[rows["period"] == each, "nps"].dropna() for each in sorted(rows["period"].unique())[-2:]]
    expected = 2.8 * np.sqrt(sum(each.var() / len(each) for each in last))
    assert smallest_detectable_gain(assessment.panel, "nps") == pytest.approx(expected)
    assert np.isnan(smallest_detectable_gain(assessment.panel, ""))


def test_tables_of_a_run(assessment: Assessment, tmp_path: Path) -> None:
    more = write_tables(assessment, tmp_path)
    estimates = pd.read_csv(tmp_path / "estimates.csv")
    case = pd.read_csv(tmp_path / "case.csv")
    assert list(estimates.columns) == list(ESTIMATE_COLUMNS)
    assert list(case.columns) == list(COLUMNS)
    tidy = decided(assessment).tidy()
    np.testing.assert_allclose(case["median"], tidy["median"], rtol=1e-9)  # ten digits are written
    written = json.loads(json.dumps(more))
    assert written["accounting"]["panel"][0]["reason"] == "read"
    register = {row["assumption"]: row for row in written["register"]}
    assert register["annual_discount_rate"]["owner"] == decided(assessment).case.sources["annual_discount_rate"].owner
    assert {row["kind"] for row in written["register"]} <= {"data", "benchmark", "assumption", None, ""}
    write_tables(replace(assessment, with_cost_plays="no case"), tmp_path)
    assert (tmp_path / "case.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_cost_plays_stand_beside_the_page_and_in_the_table(sample: Path, tmp_path: Path) -> None:
    stated = yaml.safe_load((sample / "case.yaml").read_text(encoding="utf-8"))
    saving = {"amount": 2e7, "month": 6, "until_month": 36, "source": "đo thời gian"}
    play = {"id": "bot", "name": "Tổng đài tự động", "evidence": "experiment", "savings": [saving]}
    play["costs"] = [{"category": 3, "month": 0, "amount": 1e8}]
    both, alone = tmp_path / "both.yaml", tmp_path / "alone.yaml"
    both.write_text(yaml.safe_dump({**stated, "programmes": [*stated["programmes"], play]}), encoding="utf-8")
    alone.write_text(yaml.safe_dump({**stated, "programmes": [play]}), encoding="utf-8")
    found = assess(sample, case=both, seed=1)
    assert decided(found).whole.programme == "one_call"
    write_tables(found, tmp_path)
    assert set(pd.read_csv(tmp_path / "case.csv")["programme"]) == {"one_call", "bot", "total"}
    page = render_report(english(found))
    assert "Tổng đài tự động" in page.partition("does not show")[2]
    only = assess(sample, case=alone, seed=1)
    assert only.decision == "no programme works through a customer measure"
    write_tables(only, tmp_path)
    assert set(pd.read_csv(tmp_path / "case.csv")["programme"]) == {"bot"}
    assert "no programme works through a customer measure" in english(only).answer[0].text


def copy_of(sample: Path, folder: Path, **changes: Any) -> Path:
    """The sample with other keys in dataset.yaml; None takes a key away."""
    folder.mkdir()
    for file in sample.iterdir():
        if file.name != "dataset.yaml":
            (folder / file.name).symlink_to(file)
    config = {**yaml.safe_load((sample / "dataset.yaml").read_text(encoding="utf-8")), **changes}
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return folder


def test_a_company_without_surveys_still_learns_what_customers_are_worth(sample: Path, tmp_path: Path) -> None:
    tables = yaml.safe_load((sample / "dataset.yaml").read_text(encoding="utf-8"))["tables"]
    found = assess(copy_of(sample, tmp_path / "silent", tables={**tables, "surveys": "none"}))
    assert found.exposure == ""
    assert isinstance(found.value, CustomerValue)
    assert isinstance(found.decision, str)
    report = executive_report(found, Language("vi", "VND"))
    chain = {section.id: section for section in report.sections}
    assert [len(chain[f"chain-{number}"].exhibits) for number in range(1, 6)] == [0, 0, 0, 1, 0]
    assert [each.id for each in report.key_figures] == ["key-customer"]
    assert [text for text in sentences(report) if ENGLISH.search(text)] == []
    assert [each.text for each in chain["checks"].sentences] == ["Chưa có con số nào nên không có gì để kiểm tra."]


def test_a_wrong_quarter_or_case_is_refused_before_anything_is_estimated(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2031Q1"):
        open_dataset(sample, quarter="2031Q1")
    (tmp_path / "case.yaml").write_text("currency: VND\n")
    with pytest.raises(InvalidCase, match="programmes"):
        open_dataset(sample, case=tmp_path / "case.yaml")


def test_bad_tables_stop_a_run_before_a_kernel_starts(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "customers.csv").write_text("customer_id\n1\n")
    (tmp_path / "notebooks").mkdir()
    cell = {
        "cell_type": "code",
        "id": "p",
        "metadata": {"tags": ["parameters"]},
        "outputs": [],
        "execution_count": None,
    }
    book = {
        "cells": [{**cell, "source": parameters_cell("01_data")}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    write_notebook(book, tmp_path / "notebooks" / "01_data.ipynb")
    started: list[Any] = []
    how = Execution(only=("01",), notebooks=tmp_path / "notebooks", prepare=prepare_report, on_progress=started.append)
    with pytest.raises(InvalidTables, match="joined_on"):
        run(tmp_path / "data", out=tmp_path / "out", execution=how)
    assert started == []
    assert not (tmp_path / "out").exists()


@pytest.mark.realdata
def test_telco_gets_no_figure_and_is_told_why(realdata: Path, root: Path, tmp_path: Path) -> None:
    found = assess(recipe(root / "docs" / "recipes" / "telco", realdata / "telco", tmp_path / "telco"))
    report = english(found)
    assert isinstance(found.decision, str)
    assert "predicted perfectly" in report.answer[0].text
    assert [each.id for each in report.key_figures if each.id != "key-score"] == []
    drawn = {section.id: len(section.exhibits) for section in report.sections}
    assert [drawn[f"chain-{number}"] for number in range(1, 6)] == [1, 0, 0, 0, 0]
    vietnamese = executive_report(found, Language("vi", "USD"))
    case = {"an example; nothing is known about such a programme here", vietnamese.title}  # words of the data
    assert [text for text in sentences(vietnamese) if ENGLISH.search(text) and text not in case] == []
    assert "Dissatisfied" in next(section for section in report.sections if section.id == "chain-1").exhibits[0].alt


@pytest.mark.realdata
def test_southeast_reports_its_negative_sign(realdata: Path, root: Path, tmp_path: Path) -> None:
    found = assess(recipe(root / "docs" / "recipes" / "southeast", realdata / "southeast_nps", tmp_path / "southeast"))
    report = english(found)
    buy = next(section for section in report.sections if section.id == "chain-3")
    assert buy.title.startswith("Customers who answer higher order less: -")
    assert "Customers compared as they are: -1.35 orders" in re.sub(
        r"-1\.34\d|-1\.35\d", "-1.35", buy.sentences[2].text
    )
    assert "not dated before the outcome" in report.answer[1].text
    assert "key-npv" not in {each.id for each in report.key_figures}
    limits = next(section for section in report.sections if section.id == "limits")
    assert "differences that the data do not record" in limits.sentences[0].text, "controls and tenure are held fixed"
    assert "any purchase history" in buy.sentences[2].text, "the export has none"


def recipe(config: Path, data: Path, folder: Path) -> Path:
    """A recipe's data set: its own files beside the export."""
    folder.mkdir()
    for file in [*config.iterdir(), *data.iterdir()]:
        (folder / file.name).symlink_to(file)
    return folder
