"""What-if: one future of a case, the same in Python, in the page's script and in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from cxroi.case import BusinessCase, Case, business_case
from cxroi.case.what_if import NO_SCORE, WhatIf, WhatIfInputs, median_future, what_if
from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.report.company import Assessment
from cxroi.report.executive import executive_report
from cxroi.report.html import render_notebook, render_report, what_if_script
from cxroi.report.model import Report, Section, WhatIfPanel
from cxroi.report.what_if import base_figures, script_model, script_words, what_if_panel
from cxroi.value.response import MarginResponse
from tests.decisions import programme

EN, VI = Language("en", "VND"), Language("vi", "VND")
SCRIPT = Path(__file__).parent.parent / "cxroi" / "report" / "templates" / "what_if.js"


def response(*, worth: float = 1.0, quarters: int = 12, more: bool = False) -> MarginResponse:
    """What a point brings to 20,000 customers, fading as customers leave, in 300 draws."""
    rng = np.random.default_rng(3)
    fading = 0.97 ** np.arange(quarters)
    channel = [rng.normal(mean, 400.0, (300, 1)) * worth * fading for mean in (900.0, 700.0, 150.0, 90.0)]
    return MarginResponse(
        exposure="nps",
        customers=20_000,
        currency="VND",
        evidence="adjusted",
        baseline=np.full((300, quarters), 2e5),
        through_retention=channel[0],
        through_spend=channel[1],
        persistence=None,
        score_range=(0.0, 10.0),
        through_referrals=channel[2] if more else None,
        through_service=channel[3] if more else None,
    )


def a_case(*programmes: dict[str, Any], **changes: Any) -> Case:
    stated = {"currency": "VND", "start": "2026-10-01", "horizon_months": 36, "annual_discount_rate": 0.12}
    return Case.model_validate({**stated, "programmes": list(programmes) or [programme("one")], **changes})


SEVERAL = (
    programme("two", start_month=5, ramp_months=0, half_life_months="never", reach=0.25),
    programme("one", start_month=0, half_life_months=9),
    programme(
        "three",
        costs=[
            {
                "category": 6,
                "month": 2,
                "amount": 2_000,
                "currency": "USD",
                "overrun": {"low": 0, "mode": 0.1, "high": 0.5},
            },
            {"category": 7, "month": 1, "until_month": 30, "amount": 400_000},
        ],
        benefits=[{"benefit": 8, "amount": {"low": 1e5, "mode": 3e5, "high": 9e5}, "month": 4, "source": "HR"}],
    ),
    programme(
        "play", score_gain=None, savings=[{"amount": 5e6, "month": 1, "until_month": 20, "source": "work study"}]
    ),
)
CASES: dict[str, tuple[Case, MarginResponse]] = {
    "plain": (a_case(), response()),
    "taxed": (a_case(timing="mid", tax_rate=0.2, annual_inflation_rate=0.04), response(more=True)),
    "odd months": (a_case(programme("one", start_month=7, ramp_months=2.5), horizon_months=34), response()),
    "longer response": (a_case(horizon_months=24), response(quarters=16)),
    "several": (a_case(*SEVERAL, exchange_rates={"USD": 26_000}, annual_inflation_rate=0.03), response(more=True)),
    "beyond the scale": (
        a_case(
            programme("a", score_gain={"low": 4, "mode": 6, "high": 7}, reach=0.5, ramp_months=0),
            programme("b", score_gain=7, reach=0.4, half_life_months="never"),
            programme("c", score_gain={"low": -3, "mode": -2, "high": 2}, reach=0.9, start_month=3),
        ),
        response(),
    ),
    "a point costs": (a_case(timing="mid"), response(worth=-1.0)),
    "no gain": (a_case(programme("one", score_gain=0)), response()),
    "free": (a_case(programme("one", costs=[{"category": 1, "month": 0, "amount": 0}])), response()),
}


@pytest.fixture(scope="module")
def decisions() -> dict[str, BusinessCase]:
    return {name: business_case(what, case, seed=20, draws=200) for name, (case, what) in CASES.items()}


def future(decision: BusinessCase, programme: str = "") -> WhatIf:
    model = median_future(decision, programme=programme)
    assert isinstance(model, WhatIf)
    return model


def moved(model: WhatIf) -> Iterator[WhatIfInputs]:
    """The base and inputs at their edges."""
    base, count = model.inputs, len(model.programmes)
    yield base
    yield replace(base, horizon_months=1)
    yield replace(base, reaches=(1.0,) * count, half_lives_months=(math.inf,) * count)
    yield replace(base, score_gains=(0.0,) * count)
    yield replace(base, score_gains=(12.0, *base.score_gains[1:]), cost_multiple=0.5)
    yield replace(base, annual_discount_rate=0.0, margin_multiple=1.7, half_lives_months=(1.0,) * count)
    yield replace(base, horizon_months=model.months, annual_discount_rate=0.6, cost_multiple=3.0)
    yield replace(base, score_gains=tuple(-each for each in base.score_gains), reaches=(0.0, *base.reaches[1:]))
    yield replace(base, margin_multiple=0.0, cost_multiple=0.0)


@pytest.fixture(scope="module")
def table(decisions: dict[str, BusinessCase]) -> list[tuple[WhatIf, WhatIfInputs]]:
    """Combinations of futures and inputs that all three ways compute."""
    return [(model, inputs) for each in decisions.values() for model in [future(each)] for inputs in moved(model)]


def as_script(table: list[tuple[WhatIf, WhatIfInputs]]) -> list[dict[str, Any]]:
    return [
        {
            "model": script_model(model),
            "inputs": {
                "gains": inputs.score_gains,
                "reaches": inputs.reaches,
                "halfLives": [None if each == math.inf else each for each in inputs.half_lives_months],
                "cost": inputs.cost_multiple,
                "margin": inputs.margin_multiple,
                "rate": inputs.annual_discount_rate,
                "horizon": inputs.horizon_months,
            },
        }
        for model, inputs in table
    ]


def assert_same(found: list[dict[str, Any]], table: list[tuple[WhatIf, WhatIfInputs]]) -> None:
    """A script's figures are Python's: money to one unit of the currency, months and ratios to rounding."""
    assert len(found) == len(table) >= 40
    reached = 0
    for script, (model, inputs) in zip(found, table, strict=True):
        result = what_if(model, inputs)
        assert script["npv"] == pytest.approx(result.npv, abs=0.5)
        assert script["discounted"] == pytest.approx(result.discounted_cumulative, abs=0.5)
        assert script["cumulative"] == pytest.approx(result.cumulative, abs=0.5)
        for name, value in (("roi", result.roi), ("payback", result.payback_months)):
            assert (script[name] is None) == (not math.isfinite(value)), (name, inputs)
            assert script[name] is None or script[name] == pytest.approx(value, rel=1e-9, abs=1e-9), (name, inputs)
        if math.isfinite(result.discounted_payback_months):
            reached += 1
            assert script["discountedPayback"] == pytest.approx(result.discounted_payback_months, rel=1e-9)
    assert 20 <= reached < len(found), "the table must hold futures that pay back and futures that do not"


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize("name", CASES)
def test_at_the_base_it_is_the_median_of_the_case(name: str, decisions: dict[str, BusinessCase]) -> None:
    decision = decisions[name]
    frame = decision.tidy()
    frame = frame[(frame["scenario"] == "base") & (frame["measure"] == "npv")].set_index("programme")["median"]
    names = [each.programme for each in decision.forecasts if each.has_route]
    for each in names:
        model = future(decision, each)
        assert f"{what_if(model, model.inputs).npv:.10g}" == f"{frame[each]:.10g}"  # as case.csv writes it
    assert future(decision).programme == decision.whole.programme


@pytest.mark.parametrize("name", CASES)
def test_every_figure_is_the_one_of_its_draw(name: str, decisions: dict[str, BusinessCase]) -> None:
    decision = decisions[name]
    model = future(decision)
    result, measures = what_if(model, model.inputs), decision.whole.measures
    for measure in ("npv", "roi", "pv_cost", "pv_benefit", "payback_months", "discounted_payback_months"):
        value = float(measures[measure][model.draw])
        assert getattr(result, measure) == pytest.approx(value, rel=1e-9, abs=1e-6, nan_ok=True), measure


def test_a_lever_is_the_case_stated_anew() -> None:
    """What a lever does is what another case file would do; with everything certain there is one future only."""
    levers: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({"reach": 0.8}, {}, {"reaches": (0.8,)}),
        ({"score_gain": 0.9}, {}, {"score_gains": (0.9,)}),
        ({"half_life_months": "never"}, {}, {"half_lives_months": (math.inf,)}),
        ({}, {"annual_discount_rate": 0.2}, {"annual_discount_rate": 0.2}),
        ({}, {"horizon_months": 29}, {"horizon_months": 29}),
        ({"costs": [{"category": 1, "month": 3, "amount": 240_000_000}]}, {}, {"cost_multiple": 3.0}),
    ]
    base = {"score_gain": 0.3, "half_life_months": 18, "costs": [{"category": 1, "month": 3, "amount": 80_000_000}]}
    every = response()
    one = replace(
        every,
        **{name: getattr(every, name)[:1] for name in ("baseline", "through_retention", "through_spend")},
    )
    model = future(business_case(one, a_case(programme("one", **base)), seed=20, draws=100))
    for of_programme, of_case, inputs in levers:
        stated = a_case(programme("one", **{**base, **of_programme}), **of_case)
        expected = business_case(one, stated, seed=20, draws=100).glance()["npv_median"].iloc[0]
        assert what_if(model, replace(model.inputs, **inputs)).npv == pytest.approx(expected, rel=1e-9), inputs


def test_what_it_costs_and_brings_is_proportional() -> None:
    model = future(business_case(response(), a_case(tax_rate=0.25), seed=20, draws=200))
    base = what_if(model, model.inputs)
    twice = what_if(model, replace(model.inputs, cost_multiple=2.0, margin_multiple=3.0))
    assert twice.pv_cost == pytest.approx(2 * base.pv_cost, rel=1e-12)
    assert twice.pv_benefit == pytest.approx(3 * base.pv_benefit, rel=1e-12)
    assert base.tidy()["discounted_cumulative"].iloc[-1] == pytest.approx(base.npv, rel=1e-12)
    assert list(base.glance()) == [
        *("npv", "roi", "payback_months", "discounted_payback_months", "pv_cost", "pv_benefit")
    ]


def test_there_is_none_without_a_score_or_a_linkage() -> None:
    play = {"score_gain": None, "savings": [{"amount": 5e6, "month": 1, "source": "work study"}]}
    only_play = business_case(response(), a_case(programme("play", **play)), seed=20, draws=100)
    assert median_future(only_play) == NO_SCORE
    silent = replace(response(), reason="too few answers")
    assert median_future(business_case(silent, a_case(), seed=20, draws=100)) == "too few answers"


def test_wrong_inputs_are_told_all_at_once(decisions: dict[str, BusinessCase]) -> None:
    model = future(decisions["plain"])
    wrong = replace(
        model.inputs,
        score_gains=(math.nan,),
        reaches=(0.2, 1.2),
        half_lives_months=(0.0,),
        cost_multiple=-1.0,
        annual_discount_rate=-0.1,
        horizon_months=37,
    )
    with pytest.raises(InputError) as raised:
        what_if(model, wrong)
    said = str(raised.value).splitlines()
    assert [line.split()[0] for line in said] == [
        *("score_gains", "reaches", "reaches", "half_lives_months", "cost_multiple", "annual_discount_rate"),
        "horizon_months",
    ]
    assert said[-1].endswith("to the 36 months that the response reaches; got 37. Shorten it.")
    with pytest.raises(InputError, match="Known: two, one, three, total"):
        median_future(decisions["several"], programme="play")


# ---------------------------------------------------------------- the script, in Node


@pytest.fixture(scope="module")
def node(program: Callable[[str], str]) -> Callable[[str, Any], Any]:
    """Evaluate JavaScript over the page's script: ``whatIf``, ``writer`` and ``data`` are known to it."""
    path = program("node")

    def evaluate(code: str, data: object) -> Any:
        start = (
            f"const {{ whatIf, writer }} = require({json.dumps(str(SCRIPT))});"
            'const data = JSON.parse(require("fs").readFileSync(0, "utf8"));'
        )
        done = subprocess.run(
            [path, "-e", f"{start} process.stdout.write(JSON.stringify({code}));"],
            input=json.dumps(data),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return evaluate


def test_script_gives_python_s_figures(
    node: Callable[[str, Any], Any], table: list[tuple[WhatIf, WhatIfInputs]]
) -> None:
    assert_same(node("data.map(({ model, inputs }) => whatIf(model, inputs))", as_script(table)), table)


def test_script_writes_numbers_as_python_does(node: Callable[[str, Any], Any]) -> None:
    rng = np.random.default_rng(5)
    numbers = [
        0.0,
        0.5,
        1.5,
        2.5,
        0.005,
        0.015,
        1.005,
        999.5,
        999.995,
        999_999.4,
        999_499_999,
        999_500_000,
        1e6,
        9.995e8,
    ]
    numbers += [1e-7, 3e-12, 1.234e-5, 12_345_678, 1e12, 1.5e15, 8.125e20, 49.95, 0.0449999, 0.045, 0.1 + 0.2]
    numbers += (rng.normal(size=300) * 10.0 ** rng.integers(-4, 14, 300)).tolist()
    numbers += [-each for each in numbers]
    languages = [Language(code, currency) for code in ("vi", "en") for currency in ("VND", "USD", "EUR", "JPY")]
    written = node(
        "data.words.map((words) => data.numbers.map((x) => { const w = writer(words);"
        "return [w.money(x), w.percent(x, 0), w.percent(x, 1), w.number(x, 0), w.number(x, 2), w.months(x), w.ratio(x)]; }))",
        {"numbers": numbers, "words": [script_words(each) for each in languages]},
    )
    for language, found in zip(languages, written, strict=True):
        expected = [
            [
                language.money(x, compact=True),
                language.percent(x, 0),
                language.percent(x, 1),
                language.number(x, 0),
                language.number(x, 2),
                language.text("executive.months", number=language.number(x, 1)),
                language.percent(x, 0),
            ]
            for x in numbers
        ]
        assert found == expected, language


# ---------------------------------------------------------------- the page


def a_page(decision: BusinessCase, language: Language) -> str:
    panel = what_if_panel(decision, language)
    assert panel is not None
    return render_report(_report(language.code, panel))


def _report(code: Literal["en", "vi"], panel: WhatIfPanel | None) -> Report:
    return Report(code, "Pays?", "", (), (), (Section("change", "What would change it"),), what_if=panel)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_levers_start_at_the_base(name: str, language: Language, decisions: dict[str, BusinessCase]) -> None:
    panel = what_if_panel(decisions[name], language)
    assert panel is not None
    model = future(decisions[name])
    data, base = json.loads(panel.data), model.inputs
    assert [each.id for each in panel.levers] == ["gains", "reaches", "cost", "rate", "horizon", "margin", "halfLives"]
    stands = {each["input"]: each["stops"][each["base"]][0] for each in data["controls"]}
    assert stands == {
        "gains": list(base.score_gains),
        "reaches": list(base.reaches),
        "cost": 1.0,
        "rate": base.annual_discount_rate,
        "horizon": base.horizon_months,
        "margin": 1.0,
        "halfLives": [None if each == math.inf else each for each in base.half_lives_months],
    }
    for lever in panel.levers:
        assert len(lever.stops) > 5
        assert len(set(lever.stops)) == len(lever.stops), lever  # no two stops that read the same
    assert panel.figures[0][2] == language.money(what_if(model, base).npv, compact=True)
    for control in data["controls"]:
        for value, _ in control["stops"]:
            inputs = {each["input"]: each["stops"][each["base"]][0] for each in data["controls"]} | {
                control["input"]: value
            }
            what_if(model, _inputs(inputs))  # every stop is one that the model takes


def _inputs(stops: dict[str, Any]) -> WhatIfInputs:
    return WhatIfInputs(
        score_gains=tuple(stops["gains"]),
        reaches=tuple(stops["reaches"]),
        half_lives_months=tuple(math.inf if each is None else each for each in stops["halfLives"]),
        cost_multiple=stops["cost"],
        margin_multiple=stops["margin"],
        annual_discount_rate=stops["rate"],
        horizon_months=stops["horizon"],
    )


def test_page_runs_its_own_script_only(decisions: dict[str, BusinessCase]) -> None:
    page = a_page(decisions["several"], VI)
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.S)
    assert [kind for kind, _ in scripts] == [' type="application/json" id="what-if-data"', ""]
    own = base64.b64encode(hashlib.sha256(scripts[1][1].encode()).digest()).decode()
    assert f"script-src 'sha256-{own}'" in page
    assert scripts[1][1] == str(what_if_script())
    assert json.loads(scripts[0][1])["words"]["never"] == VI.text("executive.no_payback")
    bare = render_report(_report("en", None))
    assert "<script" not in bare
    assert "script-src" not in bare


def test_data_cannot_end_the_script(decisions: dict[str, BusinessCase]) -> None:
    panel = what_if_panel(decisions["plain"], EN)
    assert panel is not None
    hostile = json.dumps({"x": "</script><script>alert(1)</script>\u2028\u2029<!--&"}, ensure_ascii=False)
    page = render_report(_report("en", replace(panel, data=hostile)))
    assert page.count("<script") == 2
    assert "\u2028" not in page
    (found,) = re.findall(r'id="what-if-data">(.*?)</script>', page)
    assert json.loads(found) == json.loads(hostile)


def test_no_case_no_part(decisions: dict[str, BusinessCase]) -> None:
    assert what_if_panel("there is no case", EN) is None
    many = [programme(f"p{n}", score_gain=0.9, reach=0.1) for n in range(12)]
    crowded = business_case(response(), a_case(*many), seed=20, draws=100)
    assert what_if_panel(crowded, EN) is None  # 10.8 points on a scale of 10, more programmes than a page counts out
    fewer = business_case(response(), a_case(*many[:11]), seed=20, draws=100)
    panel = what_if_panel(fewer, EN)
    assert panel is not None
    assert panel.levers[0].stops[-1] == "1.00 times"
    assert base_figures(what_if(future(fewer), future(fewer).inputs), EN)[0] == panel.figures[0]


# ---------------------------------------------------------------- the page, in a browser


@pytest.fixture(scope="module")
def seen(
    program: Callable[[str], str],
    node_modules: Path,
    assessment: Assessment,
    decisions: dict[str, BusinessCase],
    table: list[tuple[WhatIf, WhatIfInputs]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What a reader meets in Chromium: the sample's page in both languages, a notebook's page, a page of several programmes."""
    node, chromium, folder = program("node"), program("chromium"), tmp_path_factory.mktemp("pages")
    pages = {each.code: folder / f"{each.code}.html" for each in (EN, VI)}
    notebooks = {each.code: folder / f"notebook_{each.code}.html" for each in (EN, VI)}
    for language in (EN, VI):
        pages[language.code].write_text(render_report(executive_report(assessment, language)), encoding="utf-8")
        notebook = render_notebook(a_notebook(), title="Notebook", lang=language.code, back="index.html")
        notebooks[language.code].write_text(notebook, encoding="utf-8")
    several = folder / "several.html"
    several.write_text(a_page(decisions["several"], VI), encoding="utf-8")
    job = {
        "chromium": chromium,
        "pages": {name: str(path) for name, path in pages.items()},
        "prints": {name: str(path.with_suffix(".pdf")) for name, path in pages.items()},
        "notebooks": {name: str(path) for name, path in notebooks.items()},
        "table": {"path": str(several), "rows": as_script(table), "places": places(decisions["several"])},
    }
    done = subprocess.run(
        [node, str(Path(__file__).parent / "browser.js")],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NODE_PATH": str(node_modules.resolve())},
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "prints": job["prints"]}


def a_notebook() -> dict[str, Any]:
    """A notebook with all that a page can hold: headings, code, a table, a picture, plain text."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"></svg>'
    answer = '<div class="answer"><p>One point is worth 12 USD.</p></div>'
    rows = (
        "<table><thead><tr><th>Score</th><th>n</th></tr></thead><tbody><tr><th>9</th><td>120</td></tr></tbody></table>"
    )
    outputs: list[dict[str, Any]] = [
        {"output_type": "display_data", "data": {"text/html": answer}, "metadata": {}},
        {"output_type": "display_data", "data": {"text/html": rows}, "metadata": {}},
        {"output_type": "display_data", "data": {"image/svg+xml": svg}, "metadata": {"alt": "A line that rises"}},
        {"output_type": "display_data", "data": {"text/plain": "0.5"}, "metadata": {}},
    ]
    code = {"cell_type": "code", "source": "score.tidy()", "metadata": {}, "outputs": outputs, "execution_count": 1}
    words = {
        "cell_type": "markdown",
        "source": "# Do they stay?\n\n## What is found\n\nA line.\n\n### More",
        "metadata": {},
    }
    return {"cells": [words, code], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def places(decision: BusinessCase) -> list[list[int]]:
    """Where the levers of a page may stand: the base, both ends, and thirty places by chance."""
    panel = what_if_panel(decision, VI)
    assert panel is not None
    rng = np.random.default_rng(11)
    found = [[each.base for each in panel.levers], [0] * len(panel.levers)]
    found.append([len(each.stops) - 1 for each in panel.levers])
    return found + [[int(rng.integers(len(each.stops))) for each in panel.levers] for _ in range(30)]


def at_places(decision: BusinessCase, at: list[int]) -> WhatIfInputs:
    panel = what_if_panel(decision, VI)
    assert panel is not None
    controls = json.loads(panel.data)["controls"]
    return _inputs({each["input"]: each["stops"][place][0] for each, place in zip(controls, at, strict=True)})


def test_browser_gives_python_s_figures(
    seen: dict[str, Any], table: list[tuple[WhatIf, WhatIfInputs]], decisions: dict[str, BusinessCase]
) -> None:
    assert_same(seen["table"]["computed"], table)
    decision = decisions["several"]
    model = future(decision)
    for at, shown in zip(places(decision), seen["table"]["shown"], strict=True):
        figures = base_figures(what_if(model, at_places(decision, at)), VI)
        assert shown == {name: text.replace("-", "\u2011") for name, _, text in figures}, at


def test_page_opens_alone_and_says_nothing_wrong(seen: dict[str, Any]) -> None:
    assert seen["heard"] == []  # no message, no error, no request


@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_sliders_move_by_keyboard_and_mouse_and_go_back(
    language: Language, seen: dict[str, Any], assessment: Assessment
) -> None:
    page = seen["pages"][language.code]
    panel = what_if_panel(assessment.decision, language)
    assert panel is not None
    base = {name: text for name, _, text in panel.figures}
    gains = panel.levers[0]
    assert page["base"] == page["reset"] == base
    assert page["keyboard"]["value"] == str(gains.base + 3)
    assert page["keyboard"]["text"] == gains.stops[gains.base + 3]
    assert page["keyboard"]["figures"]["npv"] != base["npv"]
    assert page["keyboard"]["figures"]["npv"] in page["keyboard"]["said"]
    assert page["mouse"]["figures"] != page["keyboard"]["figures"]
    assert int(page["mouse"]["value"]) > panel.levers[2].base
    assert page["lines"][0] == page["lines"][1] != page["moved"]
    assert page["names"] == [each.label for each in panel.levers]


@pytest.mark.parametrize("code", ["en", "vi"])
def test_page_fits_a_phone(code: str, seen: dict[str, Any]) -> None:
    for page in (seen["pages"][code], seen["notebooks"][code]):
        assert page["phone"] == {"width": 375, "room": 375}


@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_without_a_script_the_base_stands(language: Language, seen: dict[str, Any], assessment: Assessment) -> None:
    panel = what_if_panel(assessment.decision, language)
    assert panel is not None
    found = seen["pages"][language.code]["silent"]
    assert found["sliders"] == 0
    for text in (*(text for *_, text in panel.figures), *(each.stops[each.base] for each in panel.levers)):
        assert text in found["text"]
    assert language.text("what_if.no_script") in found["text"]
    assert language.text("what_if.reset") not in found["text"]


@pytest.mark.parametrize("language", [EN, VI], ids=["en", "vi"])
def test_print_has_the_base_only(
    language: Language, seen: dict[str, Any], assessment: Assessment, program: Callable[[str], str]
) -> None:
    panel = what_if_panel(assessment.decision, language)
    assert panel is not None
    done = subprocess.run(
        [program("pdftotext"), "-layout", seen["prints"][language.code], "-"], capture_output=True, check=True
    )
    printed = " ".join(done.stdout.decode().split())
    part = printed[printed.index(panel.title) :]
    for text in (*(text for *_, text in panel.figures), *(each.stops[each.base] for each in panel.levers)):
        assert " ".join(text.split()) in part
    assert language.text("what_if.reset") not in printed
    assert " ".join(seen["pages"][language.code]["mouse"]["figures"]["npv"].split()) not in part
    assert language.text("what_if.column.moved") not in printed


@pytest.mark.parametrize("code", ["en", "vi"])
def test_nobody_is_shut_out(code: str, seen: dict[str, Any]) -> None:
    """No serious or critical violation of the accessibility rules of axe-core."""
    page = seen["pages"][code]
    for found in (page["violations"], seen["notebooks"][code]["violations"]):
        assert [each for each in found if each["impact"] in ("serious", "critical")] == []
