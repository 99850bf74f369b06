"""Two runs side by side: parts that sum to the change, causes that are not guessed, a page that hostile names can't harm."""

from __future__ import annotations

import html
import html.parser
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxroi.case import Case, business_case
from cxroi.cli import main
from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.report.company import assess
from cxroi.report.compare import FILES, compare, comparison, forecast_record
from cxroi.report.differences import COLUMNS, PARTS, WHOLE, causes_of, changes, figures, why_not_split
from cxroi.report.html import render_report
from cxroi.report.record import RunRecord, read_run, stored_case, write_record
from cxroi.report.runs_index import update_index
from cxroi.simulate import simulate
from cxroi.value.outlook import ACTUAL_COLUMNS, FORECAST_COLUMNS
from cxroi.value.response import MarginResponse

HOSTILE = "<script>alert(1)</script>"


def attributes(page: str) -> list[str]:
    """Names of the attributes of every tag."""
    found: list[str] = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda _, given: found.extend(name for name, _ in given)  # type: ignore[method-assign]
    parser.feed(page)
    return found


def a_case(**changed: Any) -> Case:
    programme = {
        "id": "one_call", "name": "One call", "evidence": "adjusted", "reach": 0.5, "ramp_months": 0,
        "half_life_months": "never", "score_gain": 0.5,
        "costs": [{"category": 1, "month": 0, "amount": 1000}],
    }  # fmt: skip
    whole = {"currency": "USD", "start": "2026-10-01", "horizon_months": 12, "annual_discount_rate": 0.0}
    own = {name: value for name, value in changed.items() if name in whole}
    return Case.model_validate(
        whole | own | {"programmes": [programme | {k: v for k, v in changed.items() if k not in own}]}
    )


def a_response(worth: float = 1.0, *, spread: float = 0.2, customers: int = 1000) -> MarginResponse:
    """A response of 200 draws that is a multiple of one and the same."""
    rng = np.random.default_rng(5)
    draws = rng.normal(1.0, spread, (200, 4))
    return MarginResponse(
        exposure="nps", customers=customers, currency="USD", evidence="adjusted", baseline=worth * draws,
        through_retention=np.zeros((200, 4)), through_spend=worth * draws, persistence=None, score_range=(0.0, 10.0),
    )  # fmt: skip


ESTIMATES = pd.DataFrame(
    [("retained", "nps", "ame", "adjusted", "all", 0.02, 0.01, 0.03, "probability", "adjusted", True)],
    columns=[
        "outcome",
        "exposure",
        "estimand",
        "method",
        "segment",
        "estimate",
        "conf_low",
        "conf_high",
        "unit",
        "evidence",
        "headline",
    ],
)


def a_run(name: str, response: MarginResponse | None, case: Case | None, **manifest: Any) -> RunRecord:
    """A record as a run writes it, its case valued."""
    table = pd.DataFrame(columns=["programme", "scenario", "measure", "low", "median", "high", "mean", "unit"])
    facts: dict[str, Any] = {"company": "mine", "currency": "USD", "exposure": "nps", "draws": 400, "assumed": {}}
    facts |= {"window": {"first": "2025-01-01", "last": "2026-06-30"}, "last_period": "2026Q2", "figures": {}}
    if response is not None and case is not None:
        table = business_case(response, case, seed=7, draws=400).tidy()
    if case is not None:
        facts["case"] = case.model_dump(mode="json")
    facts |= manifest.pop("record", {})
    whole = {
        "seed": 7, "inputs": [{"file": "surveys.csv", "sha256": "a" * 64}], "code_sha256": "c" * 64,
        "versions": {"cxroi": "0.1.0", "pandas": "3.0"}, "timing": {"started_at": "2026-07-01T00:00:00+00:00"}, "record": facts,
    }  # fmt: skip
    nothing = {"scores": ["metric", "period", "estimate", "conf_low", "conf_high"]}
    return RunRecord(
        name=name,
        manifest=whole | manifest,
        estimates=ESTIMATES,
        case=table,
        scores=pd.DataFrame(columns=nothing["scores"]),
        forecast=pd.DataFrame(columns=list(FORECAST_COLUMNS)),
        actuals=pd.DataFrame(columns=list(ACTUAL_COLUMNS)),
        response=response,
        stated=case,
    )


OTHER_DATA: Mapping[str, Any] = {"inputs": [{"file": "surveys.csv", "sha256": "b" * 64}]}
OTHER_CODE: Mapping[str, Any] = {"code_sha256": "d" * 64}


def row_of(table: pd.DataFrame, figure: str, subject: str = WHOLE) -> pd.Series:
    return table[(table["subject"] == subject) & (table["figure"] == figure)].iloc[0]


def assert_parts_sum(table: pd.DataFrame) -> None:
    known = table[table["change"].notna()]
    np.testing.assert_allclose(known[list(PARTS)].sum(axis=1), known["change"], rtol=1e-9, atol=1e-9)


# --- the split, against what it must be


def test_data_and_assumptions_share_a_change_as_the_mean_of_both_orders() -> None:
    """Benefit is worth x reach x B: with the worth doubled and the reach halved, the closed form of both orders' mean."""
    before, after = a_run("a", a_response(1.0), a_case()), a_run("b", a_response(2.0), a_case(reach=0.25), **OTHER_DATA)
    table = figures(before, after)
    assert list(table.columns) == list(COLUMNS)
    assert causes_of(changes(before, after)) == ("data", "assumptions")
    npv = row_of(table, "npv")
    benefit = row_of(table, "pv_benefit")["before"]
    assert npv["from_data"] == pytest.approx(benefit * ((2 - 1) + (1 - 0.5)) / 2, rel=1e-9)
    assert npv["from_assumptions"] == pytest.approx(-benefit * (0.5 + 1) / 2, rel=1e-9)
    assert (npv["from_code"], npv["not_split"]) == (0.0, 0.0)
    assert npv["change"] == pytest.approx(0.0, abs=1e-6)
    assert_parts_sum(table)


def test_arithmetic_of_another_version_is_the_code_s() -> None:
    """A recorded figure that today's code does not give, on equal data and case, is the code's doing."""
    before, after = a_run("a", a_response(), a_case()), a_run("b", a_response(), a_case(reach=0.6), **OTHER_CODE)
    moved = before.case.assign(median=before.case["median"] - 50.0)
    table = figures(replace(before, case=moved), after)
    npv = row_of(table, "npv")
    assert npv["causes"] == "assumptions+code"
    assert npv["from_code"] == pytest.approx(50.0, rel=1e-6)
    assert npv["from_assumptions"] == pytest.approx(0.2 * row_of(table, "pv_benefit")["before"] + 0.2 * 50.0, rel=1e-6)
    assert_parts_sum(table)


def test_where_only_one_cause_changed_the_whole_change_is_its() -> None:
    before = a_run("a", a_response(1.0), a_case())
    for cause, after in {
        "data": a_run("b", a_response(1.3), a_case(), **OTHER_DATA),
        "assumptions": a_run("b", a_response(1.0), a_case(reach=0.9)),
        "code": a_run("b", a_response(1.3), a_case(), **OTHER_CODE),
    }.items():
        table = figures(before, after)
        npv = row_of(table, "npv")
        assert npv["causes"] == cause
        assert npv[f"from_{cause}"] == npv["change"] != 0
        assert_parts_sum(table)


def test_causes_that_meet_in_the_linkage_are_not_guessed_apart() -> None:
    before = a_run("a", a_response(1.0), a_case())
    after = a_run("b", a_response(1.5), a_case(reach=0.4), **OTHER_DATA, **OTHER_CODE)
    table = figures(before, after)
    npv = row_of(table, "npv")
    assert npv["causes"] == "data+assumptions+code"
    assert npv["from_data"] == 0
    assert npv["not_split"] != 0
    assert npv["from_assumptions"] != 0
    assert_parts_sum(table)
    estimate = row_of(table, "ame", "retained x nps")
    assert estimate["causes"] == "data+code"  # a reach cannot move an estimate


def test_without_what_is_needed_the_reason_is_said() -> None:
    before = a_run("a", a_response(1.0), a_case())
    after = a_run("b", a_response(1.5), a_case(reach=0.4), **OTHER_DATA)
    assert why_not_split(before, after) == ""
    old = replace(before, response=None)
    assert why_not_split(old, after) == "nothing_stored"
    npv = row_of(figures(old, after), "npv")
    assert npv["not_split"] == npv["change"]
    longer = a_run("b", None, a_case(horizon_months=24))
    assert why_not_split(before, replace(longer, response=a_response(1.5))) == "does_not_fit"


def test_a_longer_horizon_is_split_in_the_one_order_that_can_be_had() -> None:
    long = a_response(1.0)
    long = replace(
        long, **{name: np.tile(getattr(long, name), 2) for name in ("baseline", "through_retention", "through_spend")}
    )
    before, after = a_run("a", a_response(1.0), a_case()), a_run("b", long, a_case(horizon_months=24), **OTHER_DATA)
    npv = row_of(figures(before, after), "npv")
    assert npv["from_data"] == pytest.approx(0.0, abs=1e-6)  # the first year is the same in both
    assert npv["from_assumptions"] == pytest.approx(npv["change"], rel=1e-9)


def test_equal_runs_have_no_difference() -> None:
    before, after = (a_run(name, a_response(), a_case()) for name in "ab")
    assert changes(before, after) == ()
    table = figures(before, after)
    assert (table["change"].fillna(0) == 0).all()
    assert set(table["causes"]) == {""}


def test_differences_are_named() -> None:
    before = a_run("a", a_response(), a_case(), record={"assumed": {"margin_rate": 0.3, "controls": ["age"]}})
    after = a_run(
        "b", a_response(), a_case(reach=0.25, owner="Mai"), **OTHER_DATA, versions={"cxroi": "0.1.0", "pandas": "3.1"},
        record={"assumed": {"margin_rate": 0.4, "controls": ["age"]}, "window": {"first": "2025-01-01", "last": "2026-09-30"}},
    )  # fmt: skip
    found = {(each.cause, each.kind, each.name): (each.before, each.after) for each in changes(before, after)}
    assert found == {
        ("data", "file", "surveys.csv"): ("a" * 12, "b" * 12),
        ("data", "window", "last_day"): ("2026-06-30", "2026-09-30"),
        ("assumptions", "case", "one_call.reach"): ("0.5", "0.25"),
        ("assumptions", "case", "one_call.owner"): ("", "Mai"),
        ("assumptions", "dataset", "margin_rate"): ("0.3", "0.4"),
        ("code", "version", "pandas"): ("3.0", "3.1"),
    }


def test_several_programmes_and_one_are_compared_as_whole_cases() -> None:
    two = a_case().model_dump(mode="json")
    two["programmes"].append(two["programmes"][0] | {"id": "app"})
    table = figures(a_run("a", a_response(), a_case()), a_run("b", a_response(), Case.model_validate(two)))
    assert row_of(table, "pv_cost")["change"] == pytest.approx(1000.0)
    alone = row_of(table, "npv", "programme app")
    assert np.isnan(alone["before"])
    assert np.isnan(alone["change"])


# --- runs on disk


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of one simulated company, a year apart, as ``cxroi run`` leaves them but for the notebooks."""
    folder = tmp_path_factory.mktemp("compare")
    simulate(folder / "mine", world="clean", customers=600, seed=3, quarters=9, file_format="csv")
    stated = a_case().model_dump(mode="json") | {"currency": "VND"}
    for name, quarter, made in (("early", "2025Q4", "2026-01-05"), ("late", "", "2026-10-05")):
        stated["programmes"][0] |= {"reach": 0.5 if name == "early" else 0.4}
        stated["programmes"][0]["costs"][0]["amount"] = 2e8
        (folder / "case.yaml").write_text(json.dumps(stated), encoding="utf-8")
        found = assess(folder / "mine", quarter=quarter, case=folder / "case.yaml")
        out = folder / "reports" / name
        out.mkdir(parents=True)
        found.estimates.tidy().to_csv(out / "estimates.csv", index=False)
        assert not isinstance(found.decision, str)
        found.decision.tidy().to_csv(out / "case.csv", index=False, float_format="%.10g")
        write_manifest(out, made, "vi" if name == "late" else "en", write_record(found, out))
    return folder / "reports"


def write_manifest(out: Path, made: str, lang: str, known: Mapping[str, Any]) -> None:
    manifest = {
        "status": "done", "seed": 20, "versions": {"cxroi": "0.1.0"}, "code_sha256": "c", "inputs": [],
        "parameters": {"01_data": {"dataset": "data/mine", "lang": lang}},
        "notebooks": {}, "timing": {"started_at": f"{made}T00:00:00+00:00"}, **known,
    }  # fmt: skip
    (out / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_case_is_stored_as_it_was_stated() -> None:
    whole = a_case().model_dump(mode="json")
    saving = {"amount": 5.0, "month": 1, "until_month": 6, "source": "service desk"}
    bare = {
        "id": "bot",
        "name": "Bot",
        "evidence": "association",
        "savings": [saving],
        "costs": whole["programmes"][0]["costs"],
    }
    for case in (a_case(start_month=3), Case.model_validate({**whole, "programmes": [bare]})):
        assert Case.model_validate(json.loads(json.dumps(stored_case(case)))) == case


def test_what_a_run_keeps_gives_its_own_figures_again(reports: Path) -> None:
    found = read_run(reports / "late")
    assert found.response is not None
    assert found.stated is not None
    again = business_case(found.response, found.stated, seed=20, draws=found.facts["draws"]).tidy()
    both = found.case.merge(again, on=["programme", "scenario", "measure"], suffixes=("", "_again"))
    assert len(both) == len(found.case) == len(again)
    np.testing.assert_allclose(both["median_again"], both["median"], rtol=1e-8)  # ten digits are stored


def test_a_comparison_is_a_page_a_table_and_the_record(reports: Path) -> None:
    out = compare(reports / "late", reports / "early")  # in any order
    assert out == reports / "compare-early-late"
    assert {path.name for path in out.iterdir()} == FILES
    table = pd.read_csv(out / "compare.csv")
    npv = row_of(table, "npv")
    assert npv["causes"] == "data+assumptions"
    assert npv["not_split"] == 0
    np.testing.assert_allclose(table[list(PARTS)].sum(axis=1), table["change"].fillna(0), rtol=1e-7, atol=1e-7)
    case = {name: pd.read_csv(reports / name / "case.csv") for name in ("early", "late")}
    medians = [
        each[(each["measure"] == "npv") & (each["scenario"] == "base")]["median"].iloc[0] for each in case.values()
    ]
    assert (npv["before"], npv["after"]) == tuple(pytest.approx(median, rel=1e-9) for median in medians)
    scores = pd.read_csv(out / "forecast_record.csv")
    assert set(scores["measure"]) >= {"retained", "orders", "margin"}
    assert set(scores["made_at"]) == {"2025Q4"}
    assert (scores["crps"] >= 0).all()
    page = html.unescape((out / "index.html").read_text(encoding="utf-8"))
    assert "What changed from early to late, and why?" in page
    assert "Between the two runs these differ: data, assumptions." in page
    assert "Investment case: one_call.reach" in page
    assert f"Of {len(scores)} forecasts" in page
    assert '<a href="../late/index.html">' in page
    first = (out / "index.html").read_bytes()
    compare(reports / "early", reports / "late")  # replaces the comparison, the same bytes
    assert (out / "index.html").read_bytes() == first


def test_the_page_speaks_vietnamese_and_the_command_says_where(reports: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "so sánh"
    assert main(["compare", str(reports / "early"), str(reports / "late"), "--lang", "vi", "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "index.html")
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Điều gì đã thay đổi từ early đến late, và vì sao?" in page
    assert "Dự báo của lần chạy trước đúng đến đâu" in page
    body = re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert not re.search(r"\b(earlier|later|figures|the)\b", re.sub(r"<[^>]+>", " ", body))


def test_forecasts_of_another_company_are_not_scored(reports: Path) -> None:
    early, late = read_run(reports / "early"), read_run(reports / "late")
    assert len(forecast_record(early, late)) > 0
    stranger = replace(late, manifest={**late.manifest, "record": {**late.facts, "company": "theirs"}})
    assert forecast_record(early, stranger).empty
    told = [
        comparison(early, other, figures(early, other), forecast_record(early, other), lang="en")
        for other in (late, stranger)
    ]
    assert ["two data sets" in each.answer[0].text for each in told] == [False, True]


def test_what_is_no_finished_run_or_no_free_place_is_refused(reports: Path, tmp_path: Path) -> None:
    early, late = reports / "early", reports / "late"
    with pytest.raises(InputError, match="must be a run"):
        compare(early, tmp_path)
    with pytest.raises(InputError, match="must be different"):
        compare(early, reports / "late" / ".." / "early")
    failed = tmp_path / "x.failed"
    failed.mkdir()
    (failed / "manifest.json").write_text('{"status": "failed", "versions": {"cxroi": "0"}}', encoding="utf-8")
    with pytest.raises(InputError, match="must be a finished run"):
        compare(early, failed)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    for out in (tmp_path / "mine", early, late / "deeper", reports):
        with pytest.raises(InputError, match=r"must be free or hold|can't be written"):
            compare(early, late, out=out)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert not list(reports.glob(".*partial"))


def test_hostile_names_do_no_harm(reports: Path, tmp_path: Path) -> None:
    place = tmp_path / "reports"
    place.mkdir()
    names = {"early": f"a{HOSTILE.replace('/', '')}", "late": "=cmd|' &quot;b\" onload=x"}
    for old, new in names.items():
        folder = place / new
        folder.mkdir()
        for file in (reports / old).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["record"]["case"]["programmes"][0]["owner"] = f"=HYPERLINK({HOSTILE}{old})"
        manifest["record"]["company"] = HOSTILE
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    out = compare(place / names["early"], place / names["late"])
    index = update_index(place)
    assert index is not None
    for page in (out / "index.html", index):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert not [name for name in attributes(text) if name.startswith("on")]
        assert str(tmp_path) not in text
    assert "%3Dcmd" in index.read_text(encoding="utf-8")
    cells = pd.read_csv(out / "compare.csv", dtype=str)[["source", "subject", "figure", "unit", "causes"]]
    assert not any(str(cell).startswith(("=", "+", "-", "@")) for cell in cells.to_numpy().ravel())


# --- the list of all runs


def test_the_list_of_runs_names_them_all_and_is_a_function_of_them(reports: Path, tmp_path: Path) -> None:
    place = tmp_path / "reports"
    place.mkdir()
    for name in ("early", "late"):
        (place / name).mkdir()
        for file in (reports / name).iterdir():
            (place / name / file.name).write_bytes(file.read_bytes())
    failed = place / "later.failed"
    failed.mkdir()
    write_manifest(
        failed, "2026-11-01", "vi", {"status": "failed", "notebooks": {"03_retention": {"status": "failed"}}}
    )
    page = update_index(place)
    assert page == place / "index.html"
    text = page.read_text(encoding="utf-8")
    assert '<html lang="vi">' in text  # of the run that was made last
    links = re.findall(r'<td><a href="(.*?)">(.*?)</a>', text)
    assert ("later.failed/03_retention.html", "later") in links
    assert {("late/index.html", "late"), ("early/index.html", "early")} <= set(links)
    assert "dừng ở 03_retention" in text
    assert "Dự báo đúng đến đâu" in text
    assert text.count("<figure>") == 2
    assert update_index(place) == page
    assert page.read_text(encoding="utf-8") == text
    assert sorted(path.name for path in place.iterdir()) == ["early", "index.html", "late", "later.failed"]


def test_the_list_is_written_in_reports_only_and_never_over_a_page_of_others(tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    (other / "a").mkdir(parents=True)
    write_manifest(other / "a", "2026-01-01", "en", {})
    assert update_index(other) is None
    place = tmp_path / "reports"
    place.mkdir()
    assert update_index(place) is None
    (place / "a").mkdir()
    write_manifest(place / "a", "2026-01-01", "en", {"record": "nonsense"})
    (place / "index.html").write_text("my own page", encoding="utf-8")
    assert update_index(place) is None
    assert (place / "index.html").read_text(encoding="utf-8") == "my own page"
    (place / "index.html").unlink()
    assert update_index(place) == place / "index.html"


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_runs_without_case_score_or_forecast_are_compared_too(lang: Any) -> None:
    before, after = a_run("a", None, None), a_run("b", None, None, **OTHER_DATA)
    reason = ESTIMATES.assign(estimate=np.nan, headline=False, method="not estimated: too few answers")
    before, after = (
        replace(each, estimates=reason, manifest={**each.manifest, "record": {}}) for each in (before, after)
    )
    table = figures(before, after)
    assert table.empty
    page = render_report(comparison(before, after, table, forecast_record(before, after), lang=lang))
    assert Language(lang).text("compare.no_forecast") in html.unescape(page)
