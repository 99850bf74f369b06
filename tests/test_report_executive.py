"""What the pages say about ranges, levels, moves, periods, small groups and what does not exist."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from cxroi import periods, plots
from cxroi.case import BusinessCase, business_case, parse_case
from cxroi.language import Language, OutcomePeriod
from cxroi.panel import build_panel, window
from cxroi.report import case_views, first_screen, readings, results, show, views
from cxroi.report.company import Assessment, assess
from cxroi.report.executive import executive_report
from cxroi.report.grounds import change_section
from cxroi.report.html import render_report, styles
from cxroi.report.model import KeyFigure, Report, Table
from cxroi.report.outcome_period import in_outcome_period, outcome_period
from cxroi.report.wording import break_even_range, moved_words, with_break_even_range
from cxroi.tables import read_tables
from cxroi.value.response import MarginResponse

EN, VI = Language("en", "VND"), Language("vi", "VND")
LENGTHS: dict[OutcomePeriod, str] = {
    "month": "2025-01-31",
    "quarter": "2025-03-31",
    "year": "2025-12-31",
    "period": "2025-06-30",
}


@pytest.fixture(scope="module")
def report(assessment: Assessment) -> Report:
    return executive_report(assessment, EN, pages=("01_data",))


def key_figure(report: Report, name: str) -> KeyFigure:
    return next(each for each in report.key_figures if each.id == f"key-{name}")


def decision(share_without_worth: float = 0.0, worth: float = 4_000.0, evidence: str = "adjusted") -> BusinessCase:
    """A case in which a point is worth nothing in a share of the draws."""
    rng = np.random.default_rng(1)
    margin = rng.uniform(0.8, 1.2, (400, 12)) * worth
    margin[: round(400 * share_without_worth)] = -worth
    response = MarginResponse(
        exposure="nps",
        customers=100_000,
        currency="VND",
        evidence=evidence,
        baseline=np.full((400, 12), 200_000.0),
        through_retention=np.zeros((400, 12)),
        through_spend=margin,
        persistence=None,
        score_range=(0.0, 10.0),
        reason="",
    )
    cost = {"category": 2, "month": 0, "amount": 500_000_000}
    programme = {
        "id": "one",
        "name": "One",
        "evidence": "association",
        "score_gain": {"low": 0.1, "mode": 0.3, "high": 0.5},
        "reach": 0.4,
        "ramp_months": 0,
        "half_life_months": "never",
        "costs": [cost],
    }
    stated = {"currency": "VND", "start": "2026-10-01", "horizon_months": 36, "annual_discount_rate": 0.1}
    case = parse_case(yaml.safe_dump(stated | {"programmes": [programme]}))
    return business_case(response, case, seed=3, draws=2000)


def several(one: BusinessCase) -> BusinessCase:
    second = one.case.programmes[0].model_copy(update={"id": "two", "name": "Two"})
    case = one.case.model_copy(update={"programmes": (*one.case.programmes, second)})
    return business_case(one.response, case, seed=3, draws=2000)


# ranges and their levels


def test_the_break_even_card_has_the_range_of_its_draws(assessment: Assessment, report: Report) -> None:
    assert isinstance(assessment.decision, BusinessCase)
    draws = assessment.decision.whole.measures["break_even_score_gain"]
    assert np.isfinite(draws).all()
    low, high = np.quantile(draws, [0.05, 0.95], method="inverted_cdf")
    interval = EN.interval(low, high, "points", 2)
    assert key_figure(report, "break_even").interval.startswith(f"5–95%: {interval}; stated: ")
    assert f"(5–95%: {interval}) among the customers reached" in report.answer[2].text


def test_draws_without_a_break_even_are_said() -> None:
    few = decision(0.02)
    assert re.fullmatch(
        r"5–95%: [\d.]+ to [\d.]+ points; no gain breaks even in 2% .*futures", break_even_range(few, EN)
    )
    some = break_even_range(decision(0.3), VI)
    assert re.match(r"5–95%: từ 0,\d\d điểm trở lên, không có cận trên; ở (29|30|31)% số lần mô phỏng, không mức", some)
    most = break_even_range(decision(0.97), EN)
    assert re.fullmatch(r"no gain breaks even in 9[678]% of simulated futures", most)
    assert "without an upper end" in with_break_even_range(decision(0.3), "0.2 points", EN)


def test_several_programmes_break_even_at_a_multiple_with_a_range() -> None:
    assert re.fullmatch(r"5–95%: [\d.]+ times to [\d.]+ times", break_even_range(several(decision()), EN))


def test_payback_has_a_range_that_may_end_beyond_the_horizon(report: Report) -> None:
    assert re.match(r"5–95%: [\d.]+ months to beyond the horizon; ", key_figure(report, "payback").interval)


def test_every_key_figure_says_the_level_of_its_range(report: Report) -> None:
    for each in report.key_figures:
        assert re.match(r"(5–)?95%: ", each.interval), each.id


def test_the_page_says_which_level_a_range_has_and_which_the_files_have(report: Report) -> None:
    provenance = next(section for section in report.sections if section.id == "provenance")
    levels = provenance.sentences[-1].text
    assert "conf_low and conf_high are always the ends of a 95% interval, for lifetime value too" in levels
    labels = {link.page: link.label for link in report.links}
    assert "95% intervals" in labels["estimates.csv"]
    assert "5–95%" in labels["case.csv"]


def test_intervals_among_the_assumptions_say_their_level(report: Report) -> None:
    section = next(section for section in report.sections if section.id == "assumptions")
    table = section.exhibits[0]
    assert isinstance(table, Table)
    ranges = {row[0]: row[1] for row in table.rows if " to " in row[1] and row[0] != "Answers seen"}
    assert len(ranges) >= 4
    for name, value in ranges.items():
        assert re.search(r"\((95%|5–95%, simulated|low to high, as stated): ", value), name


def test_a_range_of_a_table_may_lack_an_end() -> None:
    frame = pd.DataFrame({"low": [9.7, math.nan, math.nan], "high": [math.nan, 0.5, math.nan], "unit": "months"})
    rows = show.table(frame, language=EN, columns="range").text.splitlines()[1:]
    assert rows == ["9.7 upwards, without an upper end", "up to 0.5, without a lower end", "–"]


# what does not exist


def test_scenarios_say_why_a_rate_does_not_exist(assessment: Assessment) -> None:
    for language, none, why in ((EN, "none", "in no month does more flow back"), (VI, "không có", "không tháng nào")):
        table = change_section(assessment, language).exhibits[-1]
        assert isinstance(table, Table)
        conservative = {row[0]: row[1] for row in table.rows}
        mirr = next(value for name, value in conservative.items() if "MIRR" in name)
        assert mirr == none
        assert why in table.caption
        assert "-100" not in " ".join(conservative.values())


# moves


@pytest.mark.parametrize(
    ("metric", "x", "en", "vi"),
    [
        ("nps", -9.16, "fell by 9.2 points", "giảm 9,2 điểm"),
        ("nps", 3.0, "rose by 3.0 points", "tăng 3,0 điểm"),
        ("csat", -0.012, "fell by 1.2 percentage points", "giảm 1,2 điểm phần trăm"),
        ("ces", 0.25, "rose by 0.25 points", "tăng 0,25 điểm"),
        ("nps", 0.0, "did not change", "không đổi"),
    ],
)
def test_a_score_rises_or_falls(metric: str, x: float, en: str, vi: str) -> None:
    assert (moved_words(metric, x, EN), moved_words(metric, x, VI)) == (en, vi)


def test_a_fall_is_called_a_fall(assessment: Assessment, report: Report) -> None:
    change = assessment.changes["nps"]
    assert isinstance(change, pd.DataFrame)
    size = abs(change["estimate"].iloc[0])
    assert change["estimate"].iloc[0] < 0, "the sample's score falls in its last quarter"
    assert f"it fell by {EN.points(size)} on the quarter before" in report.sections[0].title
    vi = executive_report(assessment, VI).sections[0]
    assert f"giảm {VI.points(size)} so với quý trước" in vi.title
    assert "thay đổi -" not in " ".join([vi.title, *(each.text for each in vi.sentences)])


# quarters that are shown


def with_surveys(sample: Path, folder: Path, rows: pd.DataFrame) -> Path:
    """The sample with other answers."""
    shutil.copytree(sample, folder)
    rows.to_csv(folder / "surveys.csv", index=False)
    return folder


def test_answers_after_the_last_complete_quarter_hide_none(
    assessment: Assessment, sample: Path, tmp_path: Path
) -> None:
    rows = pd.read_csv(sample / "surveys.csv")
    late = rows[(rows["metric"] == "nps") & rows["score"].notna()].drop_duplicates("customer_id").tail(2)
    days = {"invited_at": "2026-10-04 09:00:00", "answered_at": "2026-10-05 10:00:00"}
    late = late.assign(response_id=["LATE1", "LATE2"], **days)
    tables = read_tables(with_surveys(sample, tmp_path / "late", pd.concat([rows, late])))
    panel = build_panel(tables)
    told = views.until_end(tables, panel)
    frame = results.score(told, "nps", period="quarter").tidy()  # type: ignore[union-attr]
    assert frame["period"].max() == views.last_quarter(tables, panel, "nps") == "2026Q3"
    assert not frame["suppressed"].any()
    change = views.changes(tables, panel)
    assert isinstance(change, pd.DataFrame)
    assert change["estimate"].iloc[0] == assessment.changes["nps"]["estimate"].iloc[0]  # type: ignore[index, union-attr]
    assert views.distribution(told, "nps")["n"].sum() == frame["n"].sum()  # type: ignore[index]


def test_a_hidden_quarter_has_no_change(sample: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(sample / "surveys.csv")
    own = (rows["metric"] == "nps") & rows["score"].notna() & (rows["answered_at"] >= "2026-07-01")
    few = rows.drop(rows.index[own][3:])
    tables = read_tables(with_surveys(sample, tmp_path / "few", few))
    panel = build_panel(tables)
    frame = results.score(tables, "nps", period="quarter").tidy()  # type: ignore[union-attr]
    hidden = frame.loc[frame["suppressed"], "period"].tolist()
    assert len(hidden) == 2, "the one of three customers, and one that would tell it"
    last = views.last_quarter(tables, panel, "nps")
    assert last == frame.loc[~frame["suppressed"], "period"].max()
    for quarter in ("2026Q3", hidden[0], periods.label(periods.index(hidden[0]) + 1)):
        assert results.change(tables, "nps", quarter) == results.FEW_ANSWERED
    told = show.said(results.FEW_ANSWERED, VI)
    assert told.startswith("một trong hai quý không được hiển thị")


# periods


def company_of_outcomes(folder: Path, ends: str) -> Path:
    """A company that exports outcomes of one period a customer, answers dated before it."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    size = 400
    ids, score = np.arange(size), rng.integers(0, 11, size)
    retained = (rng.random(size) < 0.6 + 0.03 * score).astype(int)
    orders = rng.poisson(3 + 0.2 * score) * retained
    pd.DataFrame({"customer_id": ids, "joined_on": "2023-05-01", "region": np.where(ids < 200, "a", "b")}).to_csv(
        folder / "customers.csv", index=False
    )
    answers = {"response_id": ids, "customer_id": ids, "metric": "nps", "score": score, "answered_at": "2024-11-05"}
    pd.DataFrame(answers).to_csv(folder / "surveys.csv", index=False)
    outcomes = {"customer_id": ids, "period_start": "2025-01-01", "period_end": ends, "retained": retained}
    pd.DataFrame({**outcomes, "orders": orders, "margin": 10.0 * orders}).to_csv(folder / "outcomes.csv", index=False)
    (folder / "dataset.yaml").write_text("currency: USD\nsegments: [region]\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("length", LENGTHS)
def test_an_outcome_s_period_is_named_by_its_true_length(length: OutcomePeriod, tmp_path: Path) -> None:
    tables = read_tables(company_of_outcomes(tmp_path / "company", LENGTHS[length]))
    assert outcome_period(tables) == length
    words = in_outcome_period(Language("en"), tables).text("executive.outcome.margin")
    assert words == f"the margin per customer of the observed {length}"


def test_outcomes_from_transactions_have_the_panel_s_period(sample: Path) -> None:
    tables = read_tables(sample)
    assert in_outcome_period(VI, tables) == VI
    monthly = in_outcome_period(VI, tables, period="month")
    assert monthly.text("plots.outcome.orders") == "Số đơn hàng trong tháng sau"


def test_a_year_is_nowhere_called_a_quarter(tmp_path: Path) -> None:
    found = assess(company_of_outcomes(tmp_path / "yearly", LENGTHS["year"]))
    for code, word in (("en", r"\bquarters?\b"), ("vi", r"\bquý\b")):
        report = executive_report(found, Language(code, "USD"))  # type: ignore[arg-type]
        said = [report.title, report.subtitle, *(each.text for each in report.answer)]
        said += [text for each in report.key_figures for text in (each.label, each.interval)]
        for section in report.sections:
            if section.id != "chain-1":  # scores stand by quarter of their answers
                said += [section.title, *(each.text for each in section.sentences)]
                said += [getattr(each, "alt", "") + each.caption for each in section.exhibits]
        scored = key_figure(report, "score").label  # the quarter of the answers
        checked = Language(code).text("documents.section.check")  # that of the next calendar quarter
        wrong = [text for text in said if re.search(word, text, re.IGNORECASE) and text not in (scored, checked)]
        assert [text for text in wrong if "four quarters" not in text and "bốn quý" not in text] == []
        assert any(re.search("observed year|năm được quan sát", text) for text in said)


def test_tables_of_outcomes_are_labelled_by_where_they_begin(tmp_path: Path) -> None:
    tables = read_tables(company_of_outcomes(tmp_path / "yearly", LENGTHS["year"]))
    panel = build_panel(tables)
    language = in_outcome_period(Language("en"), tables)
    assert show.table(views.coverage(panel), language=language).text.splitlines()[1].startswith("from\xa0Q1\xa02025 | ")
    assert "outcomes up to December 31, 2025" in readings.provenance(tables, panel, seed=1, language=language)[0]
    level = readings.retention_level(panel, language=language)[0]
    assert level.endswith("stay from one year to the next.")
    assert "from one period to the next." in readings.retention_level(panel, language=Language("en", "", "period"))[0]
    assert "four" not in level
    assert views.last_quarter(tables, panel, "nps") == "2024Q4"


def test_a_monthly_panel_speaks_of_months(sample: Path) -> None:
    tables = read_tables(sample)
    panel = build_panel(tables, period="month")
    language = in_outcome_period(VI, tables, period="month")
    last = show.table(views.coverage(panel), language=language).text.splitlines()[-1]
    assert last.startswith("Tháng\xa08\xa02026 | ")
    assert "Gộp theo khách hàng và tháng" in readings.rows_of_panel(panel, language=language)[0]
    assert "sau 12 tháng như vậy còn" in readings.retention_level(panel, language=language)[0]
    assert "kết quả đến hết Tháng 9 2026" in readings.provenance(tables, panel, seed=1, language=language)[0]
    assert readings.scores_answer(tables, panel, language=language)[0].startswith("Trong Quý 3 2026, NPS")


def test_vietnamese_days_are_written_as_they_are_read(assessment: Assessment) -> None:
    page = render_report(executive_report(assessment, VI))
    text = re.sub(r"<[^>]*>", " ", re.sub(r'base64,[^"\')]*', "", page))
    assert "từ ngày 01/10/2024 đến ngày 30/09/2026" in text
    assert not re.search(r"\d+ tháng \d+, \d{4}", text)


# small groups


def bands_of_value(customers: dict[str, int]) -> pd.DataFrame:
    rows = [("lifetime_value", name, 10.0, 9.0, 11.0, n) for name, n in customers.items()]
    rows.append(("lifetime_value", "all", 10.0, 9.0, 11.0, sum(customers.values())))
    return pd.DataFrame(rows, columns=["measure", "band", "estimate", "low", "high", "customers"]).assign(unit="USD")


def test_a_small_band_is_never_left_out_alone() -> None:
    assert plots.shown_bands(bands_of_value({"detractor": 3, "passive": 50, "promoter": 40})) == ["passive"]
    assert plots.shown_bands(bands_of_value({"detractor": 3, "passive": 4, "promoter": 40})) == ["promoter"]
    assert plots.shown_bands(bands_of_value({"detractor": 0, "passive": 50, "promoter": 40})) == ["passive", "promoter"]
    axes = plots.value_by_band(bands_of_value({"detractor": 3, "passive": 50, "promoter": 40}))
    assert len(axes.get_yticklabels()) == 1


def test_what_small_bands_bought_is_not_shown(assessment: Assessment) -> None:
    panel = assessment.panel
    whole = views.bands(panel, "nps")
    assert isinstance(whole, pd.DataFrame)
    assert len(whole) == 3
    rows = panel.rows[panel.rows["nps"].notna() & (panel.rows["retained"] > 0)]
    promoters = rows[rows["nps"] >= 9]["customer"].unique()[:3]
    few = panel.rows[(panel.rows["nps"] < 8.5) | panel.rows["customer"].isin(promoters)]
    left = views.bands(replace(panel, rows=few), "nps")
    assert isinstance(left, pd.DataFrame)
    assert len(left) == 1  # three promoters, and the smaller of the two others with them


# telephones


def test_pictures_fit_a_telephone() -> None:
    narrow = str(styles()).split("@media (max-width: 46rem)")[1].split("@page")[0]
    images = re.findall(r"\.executive (?:img|figure) {([^}]*)}", narrow)
    assert images == [" width: 100%; "]


# one quantity, one figure


@pytest.mark.parametrize("language", [EN, VI])
def test_the_share_of_a_gain_that_is_left_is_one_figure(assessment: Assessment, language: Language) -> None:
    assert not isinstance(assessment.value, str)
    assert not isinstance(assessment.decision, str)
    row = assessment.decision.register().set_index("assumption").loc["persistence"]
    (told,) = readings.fading(assessment.value, language=language)
    assert language.percent(row["value"], 1) in told
    assert language.interval(row["low"], row["high"], "percent", 1) in told


@pytest.mark.parametrize("language", [EN, VI])
def test_a_probability_near_none_or_all_is_written_by_one_rule_everywhere(language: Language) -> None:
    loser = decision(worth=20.0)
    assert float(loser.glance()["p_npv_positive"].iloc[0]) == 0.0
    written = show.chance_words(0.0, language)
    assert written in first_screen.money_words(loser, language)
    assert written in readings.case_answer(loser, language=language)[0]
    even = show.table(views.measures(loser), language=language).text
    assert written in even
    keys = case_views.quadrants(loser, language)
    assert written in " ".join(map(str, keys.to_numpy().ravel()))  # type: ignore[union-attr]
    for words in (first_screen.money_words(loser, language), even):
        assert not re.search(r"(?<![\d.,])0([.,]0)?%", words)


def test_data_that_begin_in_the_middle_of_a_quarter_are_said_to(
    assessment: Assessment, sample: Path, tmp_path: Path
) -> None:
    assert assessment.window == window(assessment.panel)
    folder = tmp_path / "later"
    shutil.copytree(sample, folder)
    for file, day in (("surveys.csv", "invited_at"), ("transactions.parquet", "occurred_at")):
        path = folder / file
        frame = pd.read_csv(path, parse_dates=[day]) if path.suffix == ".csv" else pd.read_parquet(path)
        kept = frame[frame[day] >= "2024-12-03"]
        kept.to_csv(path, index=False) if path.suffix == ".csv" else kept.to_parquet(path)
    tables = read_tables(folder)
    panel = build_panel(tables)
    first, last = views.observed(tables, panel)
    assert (first.isoformat()[:7], last) == ("2024-12", window(panel)[1])
    assert window(panel)[0].isoformat() == "2024-10-01"
    assert EN.date(first) in views.span(tables, panel, EN)["content"].tolist()
