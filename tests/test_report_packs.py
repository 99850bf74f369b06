"""The documents of a run: one text for one id, both languages, two pages a leader, small groups hidden, the same bytes."""

from __future__ import annotations

import datetime as dt
import io
import math
import re
import shutil
import subprocess
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from fontTools.ttLib import TTFont
from pptx import Presentation

from cxroi.case import BusinessCase, Cost, ScoreGain
from cxroi.case.flows import score_path_by_month
from cxroi.case.parts import benefit_parts
from cxroi.errors import InputError
from cxroi.language import EVIDENCE, Code, Language, catalogue
from cxroi.panel import window
from cxroi.report import case_views, first_screen, next_check, pack_money
from cxroi.report import documents as documents_room
from cxroi.report.company import Assessment, assess, smallest_detectable_gain
from cxroi.report.documents import Documents, formats_of, rendered
from cxroi.report.executive import executive_report
from cxroi.report.html import render_report
from cxroi.report.model import AUDIENCES, Figure, Report, Table, words_by_id
from cxroi.report.pack_customers import band_table
from cxroi.report.packs import pack_report
from cxroi.report.pdf import PACK_PAGES, page_count, render_pdf
from cxroi.report.slides import render_slides, slides_of
from cxroi.scores import hidden_cells

CODES: tuple[Code, ...] = ("vi", "en")
ENGLISH = re.compile(r"\b(the|of|is|are|to|not|per|with|every|that|who|answers|share|stated|score|customers?)\b")
KEY_LIKE = re.compile(r"\b(?:documents|executive|nb|plots)\.[a-z_]+|\{\w+\}|\bnan\b|\bNone\b")
DAY = dt.date(2026, 9, 30)


@pytest.fixture(scope="module")
def assessment(sample: Path) -> Assessment:
    return assess(sample)


@pytest.fixture(scope="module")
def reports(assessment: Assessment) -> dict[Code, dict[str, Report]]:
    """The executive report and every pack, by language and name."""
    found: dict[Code, dict[str, Report]] = {}
    for code in CODES:
        language = Language(code, "VND")
        whole = executive_report(assessment, language, pages=("01_data",))
        found[code] = {"index": whole} | {each: pack_report(each, assessment, whole, language) for each in AUDIENCES}
    return found


@pytest.fixture(scope="module")
def pages(reports: dict[Code, dict[str, Report]]) -> dict[tuple[Code, str], bytes]:
    """PDF of every report."""
    return {(code, name): render_pdf(report, day=DAY) for code in CODES for name, report in reports[code].items()}


def texts(report: Report) -> Iterator[str]:
    for each in words_by_id(report).values():
        yield from each


def decided(assessment: Assessment) -> BusinessCase:
    assert isinstance(assessment.decision, BusinessCase)
    return assessment.decision


# one id, one text


@pytest.mark.parametrize("code", CODES)
def test_what_stands_in_several_documents_is_the_same_there(code: Code, reports: dict[Code, dict[str, Report]]) -> None:
    seen: dict[str, tuple[str, ...]] = {}
    shared = 0
    for name, report in reports[code].items():
        for key, words in words_by_id(report).items():
            if key in ("title", "subtitle") or key.startswith("pack-"):
                continue
            shared += key in seen
            assert seen.setdefault(key, words) == words, (name, key)
    assert shared > 100, "the packs share figures, sentences and tables with the report"


def test_both_languages_hold_the_same_parts(reports: dict[Code, dict[str, Report]]) -> None:
    for name in ("index", *AUDIENCES):
        vi, en = (words_by_id(reports[code][name]) for code in CODES)
        assert list(vi) == list(en), name


def test_no_key_and_no_english_is_left(reports: dict[Code, dict[str, Report]]) -> None:
    names = set(EVIDENCE) - {"experiment"}
    for code in CODES:
        for name, report in reports[code].items():
            leaks = [words for words in texts(report) if KEY_LIKE.search(words)]
            assert leaks == [], (code, name)
            coded = [words for words in texts(report) if any(re.search(rf"\b{each}\b", words) for each in names)]
            assert code == "en" or coded == [], name
    for name, report in reports["vi"].items():
        assert [words for words in texts(report) if ENGLISH.search(words)] == [], name


def test_every_letter_is_in_the_fonts(reports: dict[Code, dict[str, Report]]) -> None:
    known = set(TTFont(str(files("cxroi").joinpath("fonts", "NotoSans-Regular.ttf")))["cmap"].getBestCmap())
    allowed = known | {0x2060}  # a joiner, which no writer shows
    for code in CODES:
        for name, report in reports[code].items():
            missing = {sign for words in texts(report) for sign in words if ord(sign) not in allowed}
            assert missing == set(), (code, name)


# each leader


def test_each_pack_asks_shows_both_sides_and_says_what_is_checked_next(
    assessment: Assessment, reports: dict[Code, dict[str, Report]]
) -> None:
    day = Language("vi").date(dt.date(2026, 12, 31))
    assert next_check.check_day(assessment) == dt.date(2026, 12, 31)
    decisions = set()
    for name in AUDIENCES:
        pack = reports["vi"][name]
        assert pack.audience == name
        assert pack.decision is not None
        decisions.add(pack.decision.text)
        assert pack.sections[0].id == f"{name}-customers"
        assert pack.sections[-2].id == f"{name}-change"
        checks = pack.exhibit(f"table-check-{name}")
        assert isinstance(checks, Table)
        assert {row[-1] for row in checks.rows} == {day}
        assert all(all(row) for row in checks.rows)
        assert all(each.interval and each.evidence for each in pack.key_figures)
    assert len(decisions) == len(AUDIENCES)


@pytest.mark.parametrize(
    ("audience", "exhibits"),
    [
        ("cfo", {"table-cash", "table-scenarios", "table-assumptions", "table-costs", "figure-tornado"}),
        ("marketing", {"table-segments", "table-channels", "table-referrals"}),
        ("sales", {"table-bands", "figure-retained", "figure-value"}),
        ("service", {"table-touchpoints", "table-pilot", "figure-service"}),
        ("hr", {"table-costs", "table-culture", "table-beyond"}),
        ("data", {"table-rows", "table-answers", "table-losses", "table-data-checks", "table-narrower"}),
        ("cx", {"table-touchpoints", "table-segments", "table-programmes", "table-checks"}),
        ("board", {"figure-scores", "figure-cash-flows", "table-scenarios"}),
    ],
)
def test_a_pack_holds_what_its_leader_decides_on(
    audience: str, exhibits: set[str], reports: dict[Code, dict[str, Report]]
) -> None:
    assert exhibits <= {each.id for each in reports["en"][audience].exhibits}


def test_cash_by_quarter_adds_up_to_the_cash_flows(assessment: Assessment) -> None:
    decision = decided(assessment)
    language = Language("en", "VND")
    table = pack_money.cash_table(decision, language)
    flows = decision.cash_flows()
    assert len(table.rows) == 12
    first = flows[flows["month"] <= 3]
    assert table.rows[0][1] == language.money(first["cost"].sum(), compact=True)
    last = flows.iloc[-1]
    assert table.rows[-1][4] == language.money(last["cumulative_median"], compact=True)
    low, middle, high = pack_money.largest_need(decision)
    assert low <= middle <= high
    assert middle >= first.loc[first["month"] == 0, "cost"].sum() * (1 - decision.case.tax_rate)


def test_the_parts_of_the_benefits_sum_to_the_whole(assessment: Assessment) -> None:
    decision = decided(assessment)
    parts = benefit_parts(decision).set_index("part")
    assert parts["mean"].drop("total").sum() == pytest.approx(parts["mean"]["total"], rel=1e-12)
    assert parts["mean"]["total"] == pytest.approx(decision.whole.measures["pv_benefit"].mean(), rel=1e-12)


def test_ten_benefits_seven_in_terms_three_outside(reports: dict[Code, dict[str, Report]]) -> None:
    table = reports["en"]["index"].exhibit("table-benefits")
    assert isinstance(table, Table)
    assert [row[0].split(" ")[0] for row in table.rows] == [str(number) for number in range(1, 11)]
    assert [row[2] for row in table.rows[-3:]] == ["no, outside the money"] * 3
    assert [row[2] for row in table.rows[:2]] == ["yes, once"] * 2
    assert all("again" in table.rows[at][2] for at in (3, 4))


# the first screen


def test_the_first_screen_decides_in_words(assessment: Assessment, reports: dict[Code, dict[str, Report]]) -> None:
    report = reports["en"]["index"]
    assert report.decision is not None
    assert report.decision.text.startswith("To decide: fund “Một cuộc gọi là đủ” step by step")
    assert [each.id for each in report.key_figures[: report.leading]] == ["key-retention", "key-npv", "key-break_even"]
    assert report.picture is not None
    assert report.picture.id == "figure-cash-flows"
    plain = {each.id: each.text for each in report.plain}
    share = float(decided(assessment).glance()["p_npv_positive"].iloc[0])
    assert f"about {round(10 * share)} of 10" in plain["plain-chance"]
    multiple = float(decided(assessment).glance()["break_even_multiple_median"].iloc[0])
    assert f"{round(100 * multiple)}% of the gain that the case states" in plain["plain-break-even"]
    assert "a pilot measured a gain of 0.58" in plain["plain-break-even"]
    assert "nobody recorded" in plain["plain-robustness"]
    assert not re.search(r"p-value|significan|variance|R²", " ".join(plain.values()))


def test_both_keys_are_needed(assessment: Assessment) -> None:
    decision = decided(assessment)
    case = decision.case

    def of(evidence: str, share: float) -> str:
        programme = case.programmes[0].model_copy(update={"evidence": evidence})
        stated = case.model_copy(update={"programmes": (programme,)})
        measures = decision.whole.measures | {
            "npv": np.where(np.arange(decision.draws) < share * decision.draws, 1.0, -1.0)
        }
        forecasts = (replace(decision.whole, measures=measures),)
        return first_screen.quadrant(replace(decision, case=stated, forecasts=forecasts))

    assert of("experiment", 0.96) == "cx_win"
    assert of("experiment", 0.91) == "gain_not_yet_money"
    assert of("association", 0.96) == "cost_play"
    assert of("quasi_experiment", 0.5) == "gain_not_yet_money"
    assert of("adjusted", 0.1) == "stop"


def test_page_packs_slides_and_notebook_give_one_verdict(
    assessment: Assessment, reports: dict[Code, dict[str, Report]]
) -> None:
    decision = decided(assessment)
    row = decision.quadrants().iloc[0]
    assert first_screen.quadrant(decision) == first_screen.quadrant(decision, row["programme"]) == row["quadrant"]
    assert first_screen.customers_key(decision) == first_screen.KEYS[row["customers"]]
    assert first_screen.money_key(decision) == first_screen.KEYS[row["money"]]
    for code in CODES:
        language = Language(code, "VND")
        chance = language.percent(row["p_npv_positive"], 0)
        judged = case_views.quadrants(decision, language)
        assert not isinstance(judged, str)
        assert chance in judged["money"].item()
        verdict = language.text(f"documents.quadrant.{row['quadrant']}")
        told = [words for report in reports[code].values() for words in words_by_id(report).get("both-keys", ())]
        assert len(told) == 1 + len(AUDIENCES)
        assert all(verdict in words and chance in words for words in told)


def test_the_pilot_is_told_with_what_it_showed_of_money(
    assessment: Assessment, reports: dict[Code, dict[str, Report]]
) -> None:
    pilot = assessment.beside.pilot
    assert not isinstance(pilot, str)
    language = Language("en", "VND")
    rows = pilot.tidy()
    margin = rows[(rows["estimand"] == "pilot_difference") & (rows["outcome"] == "margin")].iloc[0]
    assert margin["conf_low"] < 0 < margin["conf_high"]
    page = reports["en"]["index"]
    told = {each.id: each.text for each in page.plain}["plain-pilot"]
    assert language.money(margin["conf_high"], compact=True) in told
    assert told.count("not told apart from zero") == 2
    sure = next(section for section in page.sections if section.id == "sure")
    counts = [language.number(pilot.sizes[arm].iloc[0]) for arm in ("treated", "control")]
    assert f"({counts[0]} customers reached, {counts[1]} not)" in sure.sentences[1].text
    lift = rows[rows["estimand"] == "pilot_lift"].iloc[0]
    mode = decided(assessment).case.programmes[0].gain.mode
    checks = page.exhibit("table-checks")
    assert isinstance(checks, Table)
    warned = [row[0] for row in checks.rows]
    assert ("Stated gain against the pilot" in warned) == (not lift["conf_low"] <= mode <= lift["conf_high"])


def test_a_planned_gain_without_a_known_survey_is_one_sentence(
    assessment: Assessment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_check, "smallest_detectable_gain", lambda *_: math.nan)
    case = decided(assessment).case.model_copy(update={"start": dt.date(2025, 10, 1)})
    words = next_check.score_row(replace(assessment, case=case), Language("en", "VND"))[2]
    assert re.fullmatch(r"planned for that day: [\d.]+ points; there are answers to compare", words)


def test_a_gain_too_small_to_be_seen_by_then_is_no_gate(assessment: Assessment) -> None:
    english = Language("en", "VND")
    case = decided(assessment).case.model_copy(update={"start": dt.date(2025, 10, 1)})
    (own,) = case.programmes
    assert "Too early to judge" in next_check.score_row(assessment, english)[2]
    in_force = score_path_by_month(case, own)[14]  # fifteen months until the end of 2026
    # the survey's mean moves by the gain times the reach
    seen = smallest_detectable_gain(assessment.panel, "nps") / own.reach
    for times in (0.99, 1.01):
        gain = ScoreGain(low=0.0, mode=times * seen / in_force, high=9.0)
        stated = case.model_copy(update={"programmes": (own.model_copy(update={"score_gain": gain}),)})
        words = next_check.score_row(replace(assessment, case=stated), english)[2]
        assert words.startswith("Too early to judge") == (times < 1)
        assert "planned for that day" in words
    later = case.model_copy(update={"programmes": (own.model_copy(update={"start_month": 15}),)})
    assert next_check.score_row(replace(assessment, case=later), english)[2] == english.text(
        "documents.check.not_begun"
    )


def test_stated_amounts_are_told_in_the_money_of_the_case(assessment: Assessment) -> None:
    english = Language("en", "VND")
    case = decided(assessment).case
    (own,) = case.programmes
    dollars = Cost(category="data_tools", month=0, amount=1_000.0, currency="USD", beneficiary="employees")
    stated = case.model_copy(
        update={
            "exchange_rates": {"USD": 25_000.0},
            "programmes": (own.model_copy(update={"costs": (dollars, dollars.model_copy(update={"month": 4}))}),),
        }
    )
    paid = next_check.spend_row(replace(assessment, case=stated), english)[2]  # the second falls after the day
    assert english.money(25_000_000, compact=True) in paid
    people, staff = pack_money.people_figures(stated, english)
    assert people.value == english.money(0, compact=True)
    assert staff.value == english.money(50_000_000, compact=True)


def test_robustness_is_told_by_what_is_recorded(assessment: Assessment) -> None:
    found = assessment.beside.sensitivity
    assert not isinstance(found, str)
    language = Language("en")
    told = first_screen.robustness(found, language)
    zero, interval = (language.percent(found.robustness_value(to=end)) for end in ("zero", "interval"))
    assert f"explained {interval} of what is unexplained" in told
    assert f"at {zero} it would be gone" in told
    strongest = found.linear.strengths.assign(both=lambda rows: rows["r2_score"] * rows["r2_outcome"]).nlargest(
        1, "both"
    )
    assert f"explains {language.percent(strongest['r2_score'].iloc[0], 2)} and" in told
    weak = replace(found, std_error=abs(found.estimate))
    assert "do not yet tell" in first_screen.robustness(weak, Language("en"))


# small groups


def test_a_small_group_is_hidden_in_every_table_and_not_alone(
    assessment: Assessment, reports: dict[Code, dict[str, Report]]
) -> None:
    """A segment of three customers: empty, with a second one, so that totals do not give it away."""
    segments = assessment.beside.by_segment
    assert not isinstance(segments, str)
    own = segments[segments["segment_of"] == "plan"].reset_index(drop=True)
    customers = own["customers"].astype(float).where(own.index > 0, 3.0)
    small = hidden_cells(customers, own[["level"]], floor=5)
    assert small.sum() == 2
    figures = ["estimate", "conf_low", "conf_high", "n", "customers", "response_rate"]
    own.loc[small, figures] = np.nan
    hidden = replace(assessment.beside, by_segment=own)
    changed = replace(assessment)
    changed.__dict__["beside"] = hidden
    language = Language("en", "VND")
    pack = pack_report("marketing", changed, reports["en"]["index"], language)
    table = pack.exhibit("table-segments")
    assert isinstance(table, Table)
    empty = [row for row in table.rows if row[1] == "–"]
    assert len(empty) == 2
    assert all(row[2:4] == ("–", "–") for row in empty)
    assert ">3<" not in render_report(pack)
    # slides and PDF are written from the same rows
    assert all("3" not in row[1:] for each in pack.exhibits if isinstance(each, Table) for row in each.rows)


def test_bands_hide_the_small_one_and_another(assessment: Assessment) -> None:
    assert not isinstance(assessment.value, str)
    value = assessment.value
    tidy = value.tidy()
    tidy.loc[tidy["band"] == "promoter", "customers"] = 4

    class Few:
        def __getattr__(self, name: str) -> object:
            return getattr(value, name)

        def tidy(self) -> pd.DataFrame:
            return tidy

    few = replace(assessment, value=Few())  # type: ignore[arg-type]
    few.__dict__["beside"] = assessment.beside
    table = band_table(few, Language("en", "VND"))
    assert isinstance(table, Table)
    names = [row[0] for row in table.rows]
    assert "Promoters" not in names
    assert len(names) == 3  # all, and two of the four bands


# what is missing


def test_packs_of_a_company_with_transactions_only(sample: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((sample / "dataset.yaml").read_text(encoding="utf-8"))
    config["tables"]["surveys"] = "none"
    folder = tmp_path / "silent"
    folder.mkdir()
    tables = {name: config["tables"][name] for name in ("customers", "transactions", "surveys")}
    del config["experiments"]
    (folder / "dataset.yaml").write_text(yaml.safe_dump({**config, "tables": tables}), encoding="utf-8")
    for name in ("customers.csv", "transactions.parquet"):
        (folder / name).symlink_to(sample / name)
    found = assess(folder)
    language = Language("vi", "VND")
    whole = executive_report(found, language)
    assert whole.decision is not None
    assert whole.decision.text.startswith("Chưa có khoản tiền nào cần quyết định: ")
    for name in AUDIENCES:
        pack = pack_report(name, found, whole, language)
        assert pack.decision is not None
        assert [words for words in texts(pack) if ENGLISH.search(words)] == []
        assert page_count(render_pdf(pack, day=DAY)) <= PACK_PAGES
    service = pack_report("service", found, whole, language)
    said = " ".join(each.text for section in service.sections for each in section.sentences)
    assert said.count("Phần này chưa có: ") >= 2
    assert len(render_slides(whole, day=DAY)) > 10_000


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("recipe", "exports"),
    [
        ("telco", ("telco/telco_customers.csv.gz", "telco/telco_surveys.csv")),
        ("southeast", ("southeast_nps/southeast_nps.csv.gz",)),
    ],
)
def test_real_exports_get_packs_or_reasons(
    recipe: str, exports: tuple[str, ...], root: Path, realdata: Path, tmp_path: Path
) -> None:
    for each in sorted((root / "docs" / "recipes" / recipe).glob("*.yaml")):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    for each in exports:
        (tmp_path / Path(each).name).symlink_to(realdata / each)
    found = assess(tmp_path)
    for code in CODES:
        language = Language(code, found.panel.currency)
        whole = executive_report(found, language)
        for name in AUDIENCES:
            pack = pack_report(name, found, whole, language)
            assert [words for words in texts(pack) if KEY_LIKE.search(words)] == []
            assert page_count(render_pdf(pack, day=DAY)) <= PACK_PAGES


# PDF


def test_packs_fit_two_pages(pages: dict[tuple[Code, str], bytes]) -> None:
    found = {key: page_count(pdf) for key, pdf in pages.items()}
    assert {key: count for key, count in found.items() if key[1] != "index" and count > PACK_PAGES} == {}
    assert all(5 <= found[code, "index"] <= 12 for code in CODES)


def test_pdf_is_tagged_dated_and_the_same_on_rerun(
    reports: dict[Code, dict[str, Report]], pages: dict[tuple[Code, str], bytes]
) -> None:
    pdf = pages["vi", "cfo"]
    assert pdf == render_pdf(reports["vi"]["cfo"], day=DAY)
    assert b"/MarkInfo" in pdf
    assert b"pdfuaid" in pdf
    assert b"/Lang (vi)" in pdf or b"/Lang(vi)" in pdf
    assert pdf != render_pdf(reports["vi"]["cfo"], day=dt.date(2026, 6, 30))


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed")
@pytest.mark.parametrize("code", CODES)
def test_the_text_of_a_pdf_is_right_to_the_diacritic(
    code: Code, reports: dict[Code, dict[str, Report]], pages: dict[tuple[Code, str], bytes]
) -> None:
    for name in ("index", "board", "marketing"):
        done = subprocess.run(["pdftotext", "-raw", "-", "-"], input=pages[code, name], capture_output=True, check=True)
        got = squeezed(done.stdout.decode("utf-8"))
        report = reports[code][name]
        wanted = [report.title, *(each.text for each in (*report.answer, *report.plain))]
        wanted += [each.text for section in report.sections for each in section.sentences]
        assert report.decision is not None
        missing = [words for words in [*wanted, report.decision.text] if squeezed(words) not in got]
        assert missing == [], (code, name)
    evidence = catalogue(code)["page.evidence"]
    assert squeezed(evidence) in got


def squeezed(words: str) -> str:
    """Text in NFC without spaces, joiners and hyphens, which a page may break lines at."""
    return re.sub(r"[\s\u2060\u2011\u00ad\f-]", "", unicodedata.normalize("NFC", words))


def test_words_of_the_data_are_never_markup(assessment: Assessment) -> None:
    name = '#strong[a] $x$ *b* \\ ] "q" <script>'
    programme = decided(assessment).case.programmes[0].model_copy(update={"name": name, "owner": "#pagebreak()"})
    case = decided(assessment).case.model_copy(update={"programmes": (programme,)})
    hostile = replace(assessment, case=case, decision=replace(decided(assessment), case=case))
    hostile.__dict__["beside"] = assessment.beside
    language = Language("en", "VND")
    whole = executive_report(hostile, language)
    pack = pack_report("cx", hostile, whole, language)
    pdf = render_pdf(pack, day=DAY)
    if shutil.which("pdftotext"):
        done = subprocess.run(["pdftotext", "-raw", "-", "-"], input=pdf, capture_output=True, check=True)
        assert squeezed(name) in squeezed(done.stdout.decode("utf-8"))
    assert "<script>" not in render_report(pack)
    deck = Presentation(io.BytesIO(render_slides(whole, day=DAY)))
    assert any(name in shape.text_frame.text for shape in deck.slides[0].shapes if shape.has_text_frame)


# slides


def test_slides_hold_charts_that_can_be_edited_and_words_for_each(reports: dict[Code, dict[str, Report]]) -> None:
    for code in CODES:
        report = reports[code]["index"]
        deck = Presentation(io.BytesIO(render_slides(report, day=DAY)))
        assert 8 <= len(deck.slides) <= 12
        assert len(list(slides_of(report))) == len(deck.slides)
        charts = [shape for slide in deck.slides for shape in slide.shapes if shape.has_chart]
        assert len(charts) == 6
        shown = [shape for slide in deck.slides for shape in slide.shapes if shape.has_chart or shape.has_table]
        assert all(len(shape._element.xpath(".//p:cNvPr")[0].get("descr")) > 20 for shape in shown)
        assert all(slide.shapes.title.text_frame.text.strip() for slide in deck.slides)
        assert all(len(slide.notes_slide.notes_text_frame.text) > 20 for slide in deck.slides)
        assert deck.core_properties.created == dt.datetime(2026, 9, 30)


def test_a_slides_cash_flows_are_those_of_the_case(
    assessment: Assessment, reports: dict[Code, dict[str, Report]]
) -> None:
    chart = reports["en"]["index"].picture
    assert isinstance(chart, Figure)
    assert chart.chart is not None
    flows = decided(assessment).cash_flows()
    assert chart.chart.unit == "million ₫"
    np.testing.assert_allclose(chart.chart.series[0].values, flows["discounted_cumulative_median"] / 1e6, atol=1e-4)
    last = flows["discounted_cumulative_median"].iloc[-1]
    assert chart.chart.series[0].labels[-1] == f"₫{last / 1e6:,.0f}\xa0million"


def test_slides_are_the_same_on_rerun(reports: dict[Code, dict[str, Report]]) -> None:
    one, other = (render_slides(reports["vi"]["index"], day=DAY) for _ in range(2))
    assert one == other
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        books = [name for name in archive.namelist() if name.endswith(".xlsx")]
        with zipfile.ZipFile(io.BytesIO(archive.read(books[0]))) as book:
            assert b"2026-09-30T00:00:00Z" in book.read("docProps/core.xml")


# HTML


class Page(HTMLParser):
    """Headings, tables and pictures of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.heads: list[dict[str, str | None]] = []
        self.alts: list[str | None] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "th":
            self.heads.append(given)
        if tag == "img":
            self.alts.append(given.get("alt"))
        if given.get("id"):
            self.ids.append(str(given["id"]))


@pytest.mark.parametrize("code", CODES)
def test_pages_have_headings_in_order_heads_of_tables_and_words_for_pictures(
    code: Code, reports: dict[Code, dict[str, Report]]
) -> None:
    for name, report in reports[code].items():
        page = Page(render_report(report))
        assert page.levels[0] == 1
        assert page.levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(page.levels, page.levels[1:], strict=False)), name
        assert {each.get("scope") for each in page.heads} == {"col", "row"}
        assert all(alt and len(alt) > 20 for alt in page.alts), name
        assert len(page.ids) == len(set(page.ids)), name


# formats and leaders


def test_documents_of_a_run(assessment: Assessment, reports: dict[Code, dict[str, Report]]) -> None:
    language = Language("en", "VND")
    wanted = Documents(("html", "pdf", "pptx"), ("cfo", "board"))
    made = rendered(assessment, reports["en"]["index"], language, wanted)
    assert list(made) == [
        *("index.html", "pack-board.html", "pack-cfo.html"),
        *("report.pdf", "pack-board.pdf", "pack-cfo.pdf", "slides.pptx"),
    ]
    assert made == rendered(assessment, reports["en"]["index"], language, wanted)
    index = made["index.html"].decode()
    for address in ("pack-board.html", "pack-cfo.html", "report.pdf", "slides.pptx"):
        assert f'href="{address}"' in index
    assert "pack-hr" not in index
    assert 'href="index.html"' in made["pack-cfo.html"].decode()
    assert window(assessment.panel)[1] == DAY


def test_only_html_makes_only_html(assessment: Assessment, reports: dict[Code, dict[str, Report]]) -> None:
    made = rendered(assessment, reports["vi"]["index"], Language("vi", "VND"), Documents(("html",), ("hr",)))
    assert list(made) == ["index.html", "pack-hr.html"]
    assert b".pdf" not in made["index.html"]


def test_unknown_formats_and_leaders_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="formats must be of html, pdf, xlsx, pptx; got 'docx'"):
        Documents(("html", "docx"))
    with pytest.raises(InputError, match=r"an audience must be one of board, cfo, .*; got 'ceo'"):
        Documents(audiences=("ceo",))
    monkeypatch.setattr(documents_room, "WRITERS", "cxroi.report.no_such_writer")
    with pytest.raises(InputError, match="Leave xlsx out"):
        Documents(("xlsx",))
    assert formats_of("html, PDF,pdf") == ("html", "pdf")
