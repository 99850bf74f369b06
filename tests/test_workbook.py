"""Workbook for finance: formulas that give Python's figures also when a cell is changed, words, data, hostile text."""

from __future__ import annotations

import html
import math
import re
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from python_calamine import CalamineWorkbook

from cxroi.case import BusinessCase, Case, business_case
from cxroi.case.what_if import WhatIf, WhatIfInputs, median_future, what_if
from cxroi.language import Language
from cxroi.report.company import Assessment
from cxroi.report.workbook import write_workbook
from cxroi.report.workbook_model import RESULTS
from cxroi.value.response import MarginResponse
from tests.decisions import programme

EN, VI = Language("en", "VND"), Language("vi", "VND")
SHEETS = ("summary", "assumptions", "flows", "point", "costs", "scores", "estimates", "case")
ALWAYS_RECALCULATE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry"><item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item></oor:items>
"""


def response(quarters: int = 12) -> MarginResponse:
    rng = np.random.default_rng(3)
    fading = 0.97 ** np.arange(quarters)
    channel = [rng.normal(mean, 200.0, (60, 1)) * fading for mean in (900.0, 700.0, 150.0, 90.0)]
    return MarginResponse(
        exposure="nps",
        customers=20_000,
        currency="VND",
        evidence="adjusted",
        baseline=np.full((60, quarters), 2e5),
        through_retention=channel[0],
        through_spend=channel[1],
        persistence=None,
        score_range=(0.0, 10.0),
        through_referrals=channel[2],
        through_service=channel[3],
    )


def a_case(*programmes: dict[str, Any], **changes: Any) -> Case:
    stated = {"currency": "VND", "start": "2026-10-31", "horizon_months": 34, "annual_discount_rate": 0.12}
    return Case.model_validate({**stated, "programmes": list(programmes), **changes})


CASES = {
    "one": a_case(
        programme("one", name='=HYPERLINK("x")', start_month=2), timing="mid", tax_rate=0.2, annual_inflation_rate=0.04
    ),
    "several": a_case(
        programme("a", score_gain={"low": 4, "mode": 6, "high": 7}, reach=0.5, ramp_months=0),
        programme("b", score_gain=7, reach=0.4, half_life_months="never"),
        programme(
            "c",
            score_gain=1.5,
            start_month=4,
            benefits=[{"benefit": 8, "amount": {"low": 1e5, "mode": 3e5, "high": 9e5}, "month": 4, "source": "HR"}],
        ),
    ),
    "many": a_case(*(programme(f"p{at}", reach=0.1) for at in range(7))),
}


@pytest.fixture(scope="module")
def assessments(assessment: Assessment) -> dict[str, Assessment]:
    """The sample, and with other cases in its place."""
    decisions = {name: business_case(response(), case, seed=20, draws=200) for name, case in CASES.items()}
    found = {name: replace(assessment, case=each.case, decision=each) for name, each in decisions.items()}
    return {"sample": assessment, **found}


def future(assessment: Assessment) -> WhatIf:
    assert isinstance(assessment.decision, BusinessCase)
    model = median_future(assessment.decision)
    assert isinstance(model, WhatIf)
    return model


def named_cells(path: Path) -> dict[str, tuple[str, str]]:
    """Sheet and cell of each name of a workbook."""
    with zipfile.ZipFile(path) as book:
        names = re.findall(
            r'<definedName [^>]*name="(\w+)"[^>]*>(.*?)</definedName>', book.read("xl/workbook.xml").decode()
        )
    parts = {name: html.unescape(place).partition("!") for name, place in names}
    return {name: (sheet.strip("'"), cell.replace("$", "")) for name, (sheet, _, cell) in parts.items()}


def changed(path: Path, target: Path, values: Mapping[str, float]) -> Path:
    """The same workbook with other numbers in named cells, as if somebody had typed them; no formula is touched."""
    cells = {named_cells(path)[name][1]: value for name, value in values.items()}
    with zipfile.ZipFile(path) as book, zipfile.ZipFile(target, "w") as written:
        for part in book.namelist():
            content = book.read(part)
            if part == "xl/worksheets/sheet2.xml":
                text = content.decode()
                for cell, value in cells.items():
                    text, count = re.subn(
                        rf'<c r="{cell}" s="(\d+)"( t="s")?><v>[^<]*</v></c>',
                        rf'<c r="{cell}" s="\1"><v>{value!r}</v></c>',
                        text,
                    )
                    assert count == 1, cell
                content = text.encode()
            written.writestr(part, content)
    return target


def value_at(book: CalamineWorkbook, place: tuple[str, str]) -> Any:
    sheet, cell = place
    letters, row = re.fullmatch(r"([A-Z]+)(\d+)", cell).groups()  # type: ignore[union-attr]
    column = 0
    for letter in letters:
        column = 26 * column + ord(letter) - 64
    return book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)[int(row) - 1][column - 1]


MOVED: dict[str, list[dict[str, Any]]] = {
    "sample": [{}, {"score_gains": (0.9,), "half_lives_months": (6.0,), "horizon_months": 30}],
    "one": [
        {},
        {"reaches": (1.0,), "margin_multiple": 4.0, "annual_discount_rate": 0.02, "horizon_months": 36},
        {"score_gains": (-25.0,), "cost_multiple": 0.0, "horizon_months": 1},
    ],
    "several": [
        {},
        {"reaches": (0.9, 1.0, 0.2), "half_lives_months": (6.0, 3.0, 50.0), "horizon_months": 17},
        {"score_gains": (-8.0, -9.0, 12.0), "annual_discount_rate": 0.3},
    ],
    "many": [{}, {"score_gains": (0.5,) * 7, "horizon_months": 25, "cost_multiple": 0.1}],
}


def as_cells(inputs: Mapping[str, Any]) -> dict[str, float]:
    """Named cells of moved inputs."""
    names = {"annual_discount_rate": "discount_rate"}
    lists = {"score_gains": "gain", "reaches": "reach", "half_lives_months": "half_life"}
    found = {names.get(name, name): value for name, value in inputs.items() if name not in lists}
    for name, cell in lists.items():
        found |= {f"{cell}_{at}": value for at, value in enumerate(inputs.get(name, ()), start=1)}
    return found


@pytest.fixture(scope="module")
def recalculated(
    assessments: dict[str, Assessment], program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, int], Path]:
    """Workbooks with changed cells, computed anew and saved by LibreOffice."""
    office, folder = program("soffice"), tmp_path_factory.mktemp("workbooks")
    profile = folder / "profile"
    (profile / "user").mkdir(parents=True)
    (profile / "user" / "registrymodifications.xcu").write_text(ALWAYS_RECALCULATE, encoding="utf-8")
    files = {}
    for name, every in MOVED.items():
        path = folder / f"{name}.xlsx"
        write_workbook(assessments[name], VI if name == "sample" else EN, path)
        for at, moved in enumerate(every):
            files[name, at] = changed(path, folder / f"{name}_{at}.xlsx", as_cells(moved))
    done = subprocess.run(
        [
            *(office, f"-env:UserInstallation={profile.as_uri()}", "--headless", "--convert-to", "xlsx"),
            *("--outdir", str(folder / "out"), *(str(path) for path in files.values())),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    found = {key: folder / "out" / path.name for key, path in files.items()}
    missing = [path.name for path in found.values() if not path.exists()]
    assert not missing, done.stderr
    return found


@pytest.mark.parametrize("name", MOVED)
def test_changed_cells_give_python_s_figures(
    name: str, recalculated: dict[tuple[str, int], Path], assessments: dict[str, Assessment]
) -> None:
    model = future(assessments[name])
    seen = set()
    for at, moved in enumerate(MOVED[name]):
        inputs: WhatIfInputs = replace(model.inputs, **moved)
        result, path = what_if(model, inputs), recalculated[name, at]
        places, book = named_cells(path), CalamineWorkbook.from_path(path)
        for measure in RESULTS:
            expected, found = getattr(result, measure), value_at(book, places[f"result_{measure}"])
            if math.isfinite(expected):
                near = {"abs": 0.5} if measure in ("npv", "pv_cost", "pv_benefit") else {"rel": 1e-9, "abs": 1e-9}
                assert found == pytest.approx(expected, **near), (measure, moved)
            else:
                assert isinstance(found, str), (measure, moved)
        seen.add(round(result.npv))
    assert len(seen) == len(MOVED[name])


@pytest.mark.parametrize("name", MOVED)
def test_every_cell_carries_its_value(
    name: str, recalculated: dict[tuple[str, int], Path], assessments: dict[str, Assessment], tmp_path: Path
) -> None:
    """What Python writes beside each formula is what the formula gives."""
    write_workbook(assessments[name], VI if name == "sample" else EN, tmp_path / "book.xlsx")
    ours, theirs = (CalamineWorkbook.from_path(path) for path in (tmp_path / "book.xlsx", recalculated[name, 0]))
    assert ours.sheet_names == theirs.sheet_names
    for sheet in ours.sheet_names:
        rows = zip(
            *(book.get_sheet_by_name(sheet).to_python(skip_empty_area=False) for book in (ours, theirs)), strict=True
        )
        for one, other in rows:
            for mine, computed in zip(one, other, strict=False):
                if isinstance(mine, float):
                    assert computed == pytest.approx(mine, rel=1e-9, abs=1e-6), sheet
                else:
                    assert computed == mine, sheet


# ---------------------------------------------------------------- words, data, bytes


@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_sheets_hold_the_answer_and_the_data(language: Language, assessment: Assessment, tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    write_workbook(assessment, language, path)
    book = CalamineWorkbook.from_path(path)
    assert book.sheet_names == [language.text(f"finance_workbook.sheet.{name}") for name in SHEETS]
    assert isinstance(assessment.decision, BusinessCase)
    figures = assessment.decision.tidy()
    rows = book.get_sheet_by_name(book.sheet_names[-1]).to_python(skip_empty_area=False)[4:]
    assert len(rows) == len(figures)
    for row, (_, figure) in zip(rows, figures.iterrows(), strict=True):
        for cell, value in zip(row[3:7], figure[["low", "median", "high", "mean"]], strict=True):
            assert (cell == "") if pd.isna(value) else cell == pytest.approx(value, rel=1e-12)
    estimates = book.get_sheet_by_name(book.sheet_names[-2]).to_python(skip_empty_area=False)[4:]
    assert len(estimates) == len(assessment.estimates.with_evidence())
    summary = " ".join(str(cell) for row in book.get_sheet_by_name(book.sheet_names[0]).to_python() for cell in row)
    assert language.money(figures["median"][figures["measure"] == "npv"].iloc[0], compact=True) in summary
    with zipfile.ZipFile(path) as parts:
        charts = [
            parts.read(name).decode() for name in parts.namelist() if re.fullmatch(r"xl/charts/chart\d.xml", name)
        ]
    assert [bool(re.search("<c:(scatter|bar)Chart>", each)) for each in charts] == [True, True]


def test_the_same_figures_give_the_same_bytes(assessments: dict[str, Assessment], tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_workbook(assessments["several"], VI, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_text_from_data_is_no_formula(assessments: dict[str, Assessment], tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    write_workbook(assessments["one"], EN, path)
    book = CalamineWorkbook.from_path(path)
    cells = [
        cell
        for sheet in book.sheet_names
        for row in book.get_sheet_by_name(sheet).to_python()
        for cell in row
        if isinstance(cell, str)
    ]
    assert '\'=HYPERLINK("x")' in cells
    assert [cell for cell in cells if cell.startswith(("=", "@", "\t"))] == []
    with zipfile.ZipFile(path) as parts:
        formulas = re.findall(
            "<f>(.*?)</f>", "".join(parts.read(name).decode() for name in parts.namelist() if "sheet" in name)
        )
    assert len(formulas) > 500
    assert [each for each in formulas if "HYPERLINK" in each or each.startswith("=")] == []


def test_small_groups_stay_empty(assessment: Assessment, tmp_path: Path) -> None:
    frame = assessment.scores["nps"]
    assert not isinstance(frame, str)
    hidden = frame.copy()
    hidden.loc[0, ["estimate", "std_error", "conf_low", "conf_high", "promoter_share", "detractor_share"]] = np.nan
    hidden.loc[0, "suppressed"] = True
    write_workbook(replace(assessment, scores={"nps": hidden}), EN, tmp_path / "book.xlsx")
    book = CalamineWorkbook.from_path(tmp_path / "book.xlsx")
    rows = book.get_sheet_by_name("Scores").to_python(skip_empty_area=False)
    first = dict(zip(frame.columns, rows[4], strict=False))
    assert first["estimate"] == first["conf_low"] == first["promoter_share"] == ""
    assert first["suppressed"] == "yes"


@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_without_a_case_it_says_why(language: Language, assessment: Assessment, tmp_path: Path) -> None:
    why = "there is no case.yaml beside the data set; a case states the gain, the reach and the costs of a programme"
    bare = replace(assessment, case=why, decision=why, faded=None)
    write_workbook(bare, language, tmp_path / "book.xlsx")
    book = CalamineWorkbook.from_path(tmp_path / "book.xlsx")
    assert book.sheet_names == [
        language.text(f"finance_workbook.sheet.{name}") for name in ("summary", "scores", "estimates")
    ]
    summary = [str(cell) for row in book.get_sheet_by_name(book.sheet_names[0]).to_python() for cell in row]
    start = language.text("finance_workbook.no_model", reason="|").partition("|")[0]
    assert [each for each in summary if each.startswith(start) and "case.yaml" in each]


def test_too_many_programmes_beyond_the_scale_are_told(assessment: Assessment, tmp_path: Path) -> None:
    crowded = business_case(
        response(), a_case(*(programme(f"p{at}", score_gain=2) for at in range(7))), seed=20, draws=100
    )
    write_workbook(replace(assessment, case=crowded.case, decision=crowded), EN, tmp_path / "book.xlsx")
    book = CalamineWorkbook.from_path(tmp_path / "book.xlsx")
    assert "Assumptions" not in book.sheet_names
    summary = [str(cell) for row in book.get_sheet_by_name("Summary").to_python() for cell in row]
    assert [each for each in summary if EN.text("finance_workbook.too_many") in each]
