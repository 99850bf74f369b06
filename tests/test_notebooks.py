"""The notebooks: their form, their words in both languages, and that they run on any company to the end."""

from __future__ import annotations

import ast
import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import papermill
import pytest

import cxroi as cx
from cxroi.evidence.contest import WORDS
from cxroi.evidence.specification import CHOICES, CODINGS, CONTROL_SETS, SAMPLES
from cxroi.language import Language, catalogue
from cxroi.report import evidence_views, readings, show
from cxroi.report.notebook import joined, read_notebook, tags
from cxroi.report.parameters import MODELS, parameters_cell
from cxroi.report.run import run_notebooks
from cxroi.simulate import simulate
from cxroi.value.red_team import SHORTCUTS

NAMES = tuple(MODELS)
ALLOWED_IMPORTS = {"cxroi", "cxroi.report"}
FORBIDDEN_NODES = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.Try,
    ast.For,
    ast.While,
    ast.With,
)
FORBIDDEN_WORDS = re.compile(
    r"select\s|warnings|\.style\b|random|pip |customer_id|print\(|\.ipynb|\.csv|\.yaml", re.IGNORECASE
)
CAUSAL_WORDS = re.compile(r"\b(effect|impact|uplift|significant|caused?)\b", re.IGNORECASE)
ENGLISH_WORDS = re.compile(r"\b(the|of|and|is|are|with|no|not|from|customers|quarter|answers)\b")
VIETNAMESE_LETTERS = re.compile("[ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹáàãéèíìóòõúùýĩũ]", re.IGNORECASE)

Cell = dict[str, Any]
Company = Callable[[str], Path]
Displayed = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def folder(root: Path) -> Path:
    return root / "notebooks"


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cells(folder: Path, name: str) -> list[Cell]:
    return list(read_notebook(folder / f"{name}.ipynb")["cells"])


def of_kind(cells: list[Cell], kind: str) -> list[Cell]:
    return [cell for cell in cells if cell["cell_type"] == kind]


# form


def test_there_are_exactly_the_notebooks_of_the_suite(folder: Path) -> None:
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == sorted(NAMES)


def test_notebook_is_stripped_and_portable(folder: Path, name: str, cells: list[Cell]) -> None:
    notebook = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    for cell in of_kind(cells, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    assert all(set(cell["metadata"]) <= {"tags"} for cell in cells)
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", each) and len(each) <= 24 for each in ids)


def test_order_is_question_imports_parameters_values_body_limits_provenance(cells: list[Cell]) -> None:
    ids = [cell["id"] for cell in cells]
    assert ids[:4] == ["title", "imports", "parameters", "load"]
    assert ids.index("answer") < 7
    assert ids.index("limits") < ids.index("provenance") < len(ids) - 1
    assert ids.index("limits") > ids.index("answer")
    title = cells[0]["source"].splitlines()[0]
    assert title.startswith("# ")
    assert title.endswith("?")
    assert sum(cell["source"].startswith("# ") for cell in of_kind(cells, "markdown")) == 1


def test_title_is_the_name_of_the_page_in_both_languages(name: str, cells: list[Cell]) -> None:
    assert cells[0]["source"].splitlines()[0] == f"# {catalogue('en')[f'notebook.{name}']}"
    vi = catalogue("notebooks_vi")[f"{name}.title"]
    assert vi.splitlines()[0] == f"# {catalogue('vi')[f'notebook.{name}']}"


def test_code_cells_are_few_and_short(cells: list[Cell]) -> None:
    code = of_kind(cells, "code")
    assert 10 <= len(code) <= 25
    lengths = [len(cell["source"].splitlines()) for cell in code if "parameters" not in tags(cell)]
    assert max(lengths) <= 4
    assert sum(length <= 3 for length in lengths) >= 0.9 * len(lengths)


def test_one_parameters_cell_equals_the_model(folder: Path, name: str, cells: list[Cell]) -> None:
    tagged = [cell for cell in cells if "parameters" in tags(cell)]
    assert [cell["source"] for cell in tagged] == [parameters_cell(name)]
    found = papermill.inspect_notebook(str(folder / f"{name}.ipynb"))
    fields = MODELS[name].model_fields
    assert list(found) == list(fields)
    for parameter, field in fields.items():
        assert ast.literal_eval(found[parameter]["default"]) == field.default
        assert found[parameter]["inferred_type_name"] == type(field.default).__name__
        assert str(field.description) in found[parameter]["help"]


def test_code_calls_and_shows_only(cells: list[Cell]) -> None:
    for cell in of_kind(cells, "code"):
        source = cell["source"]
        assert not re.search(r"^\s*[!%]", source, re.MULTILINE), cell["id"]
        if "parameters" in tags(cell):
            continue
        assert not FORBIDDEN_WORDS.search(source), cell["id"]
        tree = ast.parse(source)
        for node in ast.walk(tree):
            assert not isinstance(node, FORBIDDEN_NODES), (cell["id"], type(node).__name__)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "/" not in node.value, cell["id"]
            if isinstance(node, ast.Import):
                assert {alias.name for alias in node.names} <= ALLOWED_IMPORTS
            if isinstance(node, ast.ImportFrom):
                assert node.module in ALLOWED_IMPORTS
    imports = [cell["id"] for cell in of_kind(cells, "code") if "import " in cell["source"]]
    assert imports == ["imports"]


def test_no_number_is_typed_into_what_is_read(cells: list[Cell]) -> None:
    """Prose holds definitions only: the limits of an interval, a share of draws, the neutral value of a ratio."""
    for cell in of_kind(cells, "markdown"):
        plain = re.sub(r"\[[^\]]*\]\([^)]*\)", "", cell["source"])
        assert set(re.findall(r"\d+(?:\.\d+)?%?", plain)) <= {"10%", "90%", "1"}, cell["id"]


# words


def test_every_text_cell_is_translated_alike(name: str, cells: list[Cell]) -> None:
    texts = catalogue("notebooks_vi")
    for cell in of_kind(cells, "markdown"):
        vi = texts[f"{name}.{cell['id']}"]
        assert VIETNAMESE_LETTERS.search(vi), cell["id"]
        assert not re.search(r"\b(the|and|customers|what)\b", vi), cell["id"]
        assert re.findall(r"^#+ ", vi, re.MULTILINE) == re.findall(r"^#+ ", cell["source"], re.MULTILINE), cell["id"]
        assert vi.count("\n- ") == cell["source"].count("\n- "), cell["id"]
        assert re.findall(r"\]\([^)]*\)", vi) == re.findall(r"\]\([^)]*\)", cell["source"]), cell["id"]


def test_every_key_that_the_code_asks_for_is_in_the_catalogue(root: Path) -> None:
    sources = [
        (root / "cxroi" / "report" / f"{module}.py").read_text(encoding="utf-8")
        for module in (
            *("show", "readings", "views", "evidence_readings", "evidence_views"),
            *("case_readings", "case_views", "portfolio"),
        )
    ]
    asked = set(re.findall(r'"(nb\.[a-z_]+(?:\.[a-z_]+)?)"', "\n".join(sources)))
    assert len(asked) > 40
    assert asked - {"nb.code"} <= set(catalogue("en"))


def test_every_question_put_to_a_figure_has_a_name_and_an_answer_in_words() -> None:
    asked = {key.removeprefix("nb.ground.").rpartition("_") for key in catalogue("en") if key.startswith("nb.ground.")}
    assert {verdict for _, _, verdict in asked} == set(evidence_views.VERDICTS)
    for name, _, _ in asked:
        assert f"nb.code.{name}" in catalogue("en"), name


@pytest.mark.parametrize(
    ("name", "check", "part"),
    [
        ("margin on nps: sign under other choices", "sign under other choices", "margin"),
        ("orders follows csat in a straight line", "straight line", "orders"),
        ("retained: losses against gains of nps", "losses against gains", "retained"),
        ("clusters: store: north", "clusters", "store: north"),
        ("relation among the silent: orders", "relation among the silent", "orders"),
        ("nps predicts margin of later periods", "predicts later periods", "margin"),
        ("change of detractors", "change at the next answer", ""),
        ("retained by plan", "same in every segment", "plan"),
        ("placebo: orders before the answer", "placebo: orders before the answer", ""),
    ],
)
def test_check_of_a_room_is_known_by_one_name(name: str, check: str, part: str) -> None:
    assert evidence_views.named(name) == (check, part)
    assert any(f"nb.ground.{evidence_views.slug(check)}_{verdict}" in catalogue("en") for verdict in ("warn", "fail"))


def test_every_choice_and_every_competitor_has_words() -> None:
    levels = {"controls": CONTROL_SETS, "period_effects": ("in", "out"), "coding": CODINGS, "sample": SAMPLES}
    for choice in CHOICES:
        assert f"nb.choice.{choice}" in catalogue("en")
        for level in levels.get(choice, ("logit", "poisson", "linear")):
            assert f"nb.choice.{evidence_views.slug(f'{choice} {level}')}" in catalogue("en")
    for name in set(WORDS) - {"baseline"}:
        assert evidence_views.winner(name, Language("vi")) != name
    assert {key for key in catalogue("en") if re.fullmatch(r"nb\.shortcut\.\w+_computes", key)} == {
        f"nb.shortcut.{name}_computes" for name in SHORTCUTS
    }


def test_no_sentence_claims_more_than_an_association() -> None:
    for key, words in catalogue("en").items():
        if key.startswith("nb.") and not key.startswith("nb.said."):  # those are the rooms' own words
            assert not CAUSAL_WORDS.search(words), key


def test_room_words_find_their_template_and_numbers_their_format() -> None:
    vi, en = Language("vi", "VND"), Language("en", "VND")
    few = "1,204 answers of customers who left; at least 10 are needed"
    assert show.said(few, vi) == "1.204 câu trả lời của khách hàng đã rời bỏ; cần ít nhất 10"
    assert show.said(few, en) == few
    nested = "margin: the data have no margin after the answers"
    assert show.said(nested, vi) == "lợi nhuận góp: dữ liệu không có lợi nhuận góp sau các câu trả lời"
    assert show.said("something else entirely", vi) == "something else entirely"


# what is shown


def test_table_escapes_text_and_writes_numbers_as_their_unit() -> None:
    frame = pd.DataFrame(
        {
            "level": ["<script>x</script>", "b"],
            "estimate": [0.0123, 1234.5],
            "conf_low": [0.001, float("nan")],
            "conf_high": [0.02, 2.0],
            "unit": ["probability", "VND"],
            "n": [1200, 5],
        }
    )
    shown = show.table(frame, language=Language("en", "VND"), columns="level estimate interval n")
    assert "<script>" not in shown.html
    assert "&lt;script&gt;" in shown.html
    assert shown.text.splitlines() == [
        "Group | Estimate | 95% interval | Answers",
        "<script>x</script> | 1.23 pp | 0.10 to 2.00 pp | 1,200",
        "b | ₫1,235 | – | 5",
    ]
    assert shown.html.count('class="number"') == 9
    assert shown.html.count('class="words"') == 3


def test_column_of_data_is_never_translated() -> None:
    frame = pd.DataFrame({"level": ["adjusted"], "method": ["adjusted"]})
    assert show.table(frame, language=Language("vi")).text.splitlines()[1] == "adjusted | đã điều chỉnh"


def test_every_display_takes_a_reason_in_place_of_a_result() -> None:
    why, vi = "the data have no answers", Language("vi")
    expected = "Ở đây không có số liệu: dữ liệu không có câu trả lời."
    assert show.table(why, language=vi).text == expected
    assert show.figure(lambda frame, **_: pytest.fail("drawn"), why, language=vi).text == expected  # type: ignore[union-attr]
    assert show.reason(why, language=vi).text == expected
    assert show.table(pd.DataFrame(), language=vi).text == "Không có gì để liệt kê."


@pytest.mark.parametrize(
    ("chance", "verdict"),
    [(0.97, "pays"), (0.95, "pays"), (0.9, "probably"), (0.5, "open"), (0.1, "hardly"), (0.0, "loses")],
)
def test_verdict_follows_the_probability(chance: float, verdict: str) -> None:
    assert next(name for name, least in readings.VERDICTS if chance >= least) == verdict


# any company, in this process: every cell runs and every display gives words


@pytest.fixture(scope="module")
def company(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Company:
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            target = tmp_path_factory.mktemp("companies") / kind
            if kind == "tiny":
                simulate(target, customers=25, seed=3)
            else:
                shutil.copytree(sample, target)
                _CHANGES[kind](target)
            made[kind] = target
        return made[kind]

    return make


def _without_case(target: Path) -> None:
    (target / "case.yaml").unlink()


def _without_surveys(target: Path) -> None:
    _edit(target, "  surveys:\n    file: surveys.csv\n", "  surveys: none\n")


def _without_terms(target: Path) -> None:
    _edit(target, "value:\n  horizon_months: 36\n  annual_discount_rate: 0.12\n", "")


def _without_lots(target: Path) -> None:
    text = (target / "dataset.yaml").read_text(encoding="utf-8")
    first, last = text.index("calendar:"), text.index("tables:")
    _edit(target, text[first:last], "")


def _perfect_score(target: Path) -> None:
    """Whoever leaves at any time always answered 1, everybody else 10: too good to be true."""
    customers = pd.read_csv(target / "customers.csv")
    surveys = pd.read_csv(target / "surveys.csv")
    left = set(customers.loc[customers["left_on"].notna(), "customer_id"])
    surveys = surveys[(surveys["metric"] == "nps") & surveys["score"].notna()]
    surveys = surveys[~surveys["customer_id"].isin(left) | (surveys["answered_at"] >= "2025-07-01")]
    surveys.loc[:, "score"] = surveys["customer_id"].isin(left).map({True: 1, False: 10})
    leaving = customers.set_index("customer_id")["left_on"]
    until = pd.to_datetime(surveys["customer_id"].map(leaving))
    quarters = until.dt.year * 4 + until.dt.quarter
    answered = pd.to_datetime(surveys["answered_at"], format="ISO8601").dt.tz_localize(None)
    next_quarter = answered.dt.year * 4 + answered.dt.quarter + 1
    surveys = surveys[until.isna() | (quarters <= next_quarter)]
    surveys.to_csv(target / "surveys.csv", index=False)


_CHANGES: Mapping[str, Callable[[Path], None]] = {
    "without_case": _without_case,
    "without_surveys": _without_surveys,
    "without_terms": _without_terms,
    "without_lots": _without_lots,
    "perfect_score": _perfect_score,
}


def _edit(target: Path, old: str, new: str) -> None:
    path = target / "dataset.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def read_once() -> Iterator[None]:
    """Let the notebooks run in this process share what costs most: the tables, the panel and the estimates of a company."""
    with pytest.MonkeyPatch.context() as patch:
        for function in (cx.read_tables, cx.build_panel, cx.estimate):
            patch.setattr(cx, function.__name__, _remembering(function), raising=False)
        yield


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    kept: dict[Any, Any] = {}

    def call(first: Any, **options: Any) -> Any:
        key = (first if isinstance(first, str) else id(first), *sorted(options.items()))
        if key not in kept:
            kept[key] = (first, function(first, **options))  # the argument is kept, so that its id stays its own
        return kept[key][1]

    return call


@pytest.fixture(scope="module")
def displayed(folder: Path) -> Callable[..., dict[str, str]]:
    """Words of each cell's display, after running all cells of a notebook in this process; run once for the same values."""
    kept: dict[str, dict[str, str]] = {}

    def run(name: str, **parameters: object) -> dict[str, str]:
        key = f"{name} {sorted(parameters.items())}"
        if key not in kept:
            kept[key] = _run_here(list(read_notebook(folder / f"{name}.ipynb")["cells"]), parameters)
        return kept[key]

    return run


def _run_here(cells: list[Cell], parameters: Mapping[str, object]) -> dict[str, str]:
    names: dict[str, Any] = {}
    words: dict[str, str] = {}
    for cell in of_kind(cells, "code"):
        tree = ast.parse(cell["source"])
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, cell["id"], "exec"), names)
        if "parameters" in tags(cell):
            names |= parameters
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
            assert isinstance(value, show.Shown | show.Picture), cell["id"]
            words[cell["id"]] = repr(value)
    return words


TRIED = {
    "without_case": ("06_case", "09_portfolio"),
    "without_terms": ("05_value", "06_case", "08_red_team", "09_portfolio", "10_customers", "11_growth", "12_loyalty"),
    "without_surveys": NAMES,
    "perfect_score": (
        "03_retention",
        "04_purchases",
        "05_value",
        "06_case",
        "07_evidence",
        "08_red_team",
        "09_portfolio",
        "10_customers",
    ),
    "tiny": NAMES,
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in TRIED.items() for name in names])
def test_notebook_runs_to_its_end_on_any_company(company: Company, displayed: Displayed, kind: str, name: str) -> None:
    words = displayed(name, dataset=str(company(kind)), lang="vi")
    assert words["answer"]
    assert {each: found for each, text in words.items() if (found := out_of_language(text, "vi"))} == {}


def test_missing_case_is_said(company: Company, displayed: Displayed) -> None:
    words = displayed("06_case", dataset=str(company("without_case")), lang="vi")
    assert "không có case.yaml" in words["answer"]


def test_missing_surveys_leave_the_value_of_customers(company: Company, displayed: Displayed) -> None:
    words = displayed("05_value", dataset=str(company("without_surveys")), lang="vi")
    first, second = words["answer"].splitlines()
    assert re.search(r"mang lại [\d,]+ triệu ₫", first.replace("\xa0", " "))
    assert "dữ liệu không có câu trả lời" in second
    assert "dữ liệu không có câu trả lời" in words["persistence"]


def test_missing_terms_are_said_and_can_be_given(company: Company, displayed: Displayed) -> None:
    dataset = str(company("without_terms"))
    said = displayed("05_value", dataset=dataset, lang="vi")["answer"]
    assert "dataset.yaml không có value: {horizon_months, annual_discount_rate}" in said
    given = displayed("05_value", dataset=dataset, horizon_months=24, annual_discount_rate=0.0)["answer"]
    assert "Over the next 24 months" in given
    assert "discounted at 0% a year" in given


def test_score_that_predicts_perfectly_is_refused(company: Company, displayed: Displayed) -> None:
    words = displayed("03_retention", dataset=str(company("perfect_score")), lang="vi")
    what, why, _ = words["answer"].splitlines()
    assert what.startswith("Không có con số trung thực nào")
    assert "sau khi khách hàng đã rời bỏ" in why
    assert "phạt (Firth)" in words["effects"]
    assert "không có con số hữu hạn" in words["ratios"]
    assert "không sai một trường hợp nào" in words["adjusting"]


def test_page_of_doubts_says_the_rung_and_what_speaks_against_the_figure(displayed: Displayed, sample: Path) -> None:
    words = displayed("07_evidence", dataset=str(sample))
    effect, rung, doubt = words["answer"].splitlines()
    assert effect.startswith("One point more on NPS goes with")
    assert rung.startswith("It stands on rung 2 of 5 of the claim ladder, “adjusted”")
    assert "what asks for care" in doubt
    leading = [line for line in words["ladder"].splitlines() if "| leads |" in line]
    assert len(leading) == 1
    assert leading[0].startswith("adjusted | by all answers so far")
    assert "would stand higher" in words["read-ladder"]
    share = re.search(r"Of what tells one answer to NPS from another, (\d+)% is satisfaction", words["reliability"])
    assert share
    assert 60 <= int(share[1]) <= 95  # the sample's answers carry noise of a known size
    assert "of 144 ways" not in words["answer"]
    assert "144 figures" in words["choices"]
    assert words["contest"].count("\n") == 9


def test_a_pilot_by_lot_stands_beside_the_leading_figure(displayed: Displayed, sample: Path) -> None:
    words = displayed("07_evidence", dataset=str(sample))
    (rung,) = [line for line in words["ladder"].splitlines() if line.startswith("experiment | pilot | ")]
    assert "lots decided who was reached" in rung
    assert "does not lead by itself" in words["read-ladder"]
    assert "NPS, pilot: " in words["comparisons"]
    table = [line for line in words["pilot"].splitlines() if " | " in line]
    assert len(table) == 1 + 7  # head, score, three outcomes treated less control and per point
    assert all(line.endswith(" | experiment") for line in table[1:])
    assert "as declared, lots decided who" in words["pilot"]
    assert re.search(r"It brought \+0\.\d\d points on NPS", words["pilot"])
    assert "agrees with the pilot | " in words["checks"]
    assert "retention | Tết | 2 | " in words["events"]
    assert "In periods with Tết a point goes with" in words["events"]


def test_without_lots_and_calendar_the_page_says_what_is_missing(displayed: Displayed, company: Company) -> None:
    words = displayed("07_evidence", dataset=str(company("without_lots")))
    assert "It is not declared that lots decided who" in words["pilot"]
    assert "that comparison, and the part of margin in it, is adjusted only" in words["pilot"]
    assert not re.search(r"\| experiment$", words["pilot"], re.MULTILINE)
    assert "Not reached: needs a pilot in which chance decides who is reached." in words["ladder"]
    assert words["events"] == "There is no figure here: no calendar of events is declared in dataset.yaml."


def test_answers_after_the_outcome_leave_the_lowest_rung(displayed: Displayed, company: Company) -> None:
    words = displayed("07_evidence", dataset=str(company("perfect_score")), lang="vi")
    assert words["answer"].startswith("Không có con số trung thực nào")
    assert "không có con số hữu hạn" in words["confounders"]


def test_red_team_shows_every_shortcut_beside_the_leading_figure(displayed: Displayed, sample: Path) -> None:
    words = displayed("08_red_team", dataset=str(sample))
    first, second, _ = words["answer"].splitlines()
    assert first == displayed("05_value", dataset=str(sample))["point"]
    assert re.fullmatch(r"The shortcuts make between 0\.\d and \d\.\d times as much of the same data\.", second)
    lines = words["figures"].splitlines()
    assert len(lines) == 1 + len(SHORTCUTS)  # head and headline more, all together less
    assert lines[1].startswith("leading figure | ")
    assert re.search(r"revenue for margin \| .* \| 3\.1×", words["figures"])
    assert "times the leading figure" in words["together"]


def test_programmes_compete_for_one_budget(displayed: Displayed, sample: Path) -> None:
    costs = {"pilot_cost": 2e6, "pilot_cost_per_customer": 5000.0}
    words = displayed("09_portfolio", dataset=str(sample), case=str(sample / "portfolio.yaml"), **costs)
    choice, sure, first = words["answer"].splitlines()
    assert choice.startswith("With a budget of ₫700\u00a0million choose “Một cuộc gọi là đủ”, “Hóa đơn dễ hiểu”: ")
    assert "weakest grade: association" in sure
    assert first.startswith("Find out first: score gain (Hóa đơn dễ hiểu). Up to ₫")
    assert "Trợ lý tự động (outside the CX total) | ₫240\u00a0million" in words["programmes"]
    assert words["added"].splitlines()[-1].endswith("no room in the budget")
    assert "Một cuộc gọi là đủ + Hóa đơn dễ hiểu (the choice)" in words["sets"]
    assert "The budget leaves something undone: with ₫825\u00a0million" in words["read-frontier"]
    assert "The best size is " in words["read-pilot"]
    assert words["stress"].count("\n") == 10


def test_one_programme_is_taken_or_left(displayed: Displayed, sample: Path) -> None:
    words = displayed("09_portfolio", dataset=str(sample))
    assert words["answer"].startswith("There is one programme to decide on")
    assert (
        "is not stated; give the parameters `pilot_cost`" in words["read-pilot"]
        or "would change what is done" in words["read-pilot"]
    )


def test_notebook_finds_the_data_from_its_own_folder(
    folder: Path, displayed: Displayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert "fit to use" in displayed("01_data")["answer"]


def test_quarter_is_the_one_asked_for(displayed: Displayed, sample: Path) -> None:
    words = displayed("02_scores", dataset=str(sample), quarter="2026Q1")
    assert words["answer"].startswith("In Q1 2026 ")
    assert "From Q4 2025 to Q1 2026" in words["answer"]


# with kernels, through the runner and through plain papermill


@pytest.mark.notebook
@pytest.mark.parametrize("lang", ["en", "vi"])
def test_every_notebook_runs_on_the_sample_through_the_runner(
    lang: Literal["en", "vi"], sample: Path, folder: Path, tmp_path: Path
) -> None:
    """One run a language; everything that is asked of its pages is asked of this run."""
    files = [folder / f"{name}.ipynb" for name in NAMES]
    done = run_notebooks(
        files, parameters={"dataset": str(sample)}, out=tmp_path, jobs=2, lang=lang, timeout_seconds=120
    )
    assert {each.notebook: each.message for each in done if each.status == "failed"} == {}
    figures = [figure for name in NAMES for figure in figures_of(tmp_path / f"{name}.ipynb")]
    assert len(figures) == 38
    assert all(len(figure["metadata"]["image/svg+xml"]["alt"]) > 40 for figure in figures)
    for name in NAMES:
        page = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert f'lang="{lang}"' in page
        assert 'class="answer"' in page
        assert Language(lang).text("page.picture") not in page, "a figure without a description"
        kinds = {output["output_type"] for output in outputs(tmp_path / f"{name}.ipynb")}
        assert kinds <= {"execute_result", "display_data"}, f"{name} wrote a stream"
        assert found_ids(tmp_path / f"{name}.ipynb", sample) == []
        assert out_of_language(read_in(tmp_path / f"{name}.ipynb"), lang) == [], name


def outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in of_kind(read_notebook(path)["cells"], "code") for output in cell["outputs"]]


def figures_of(path: Path) -> list[dict[str, Any]]:
    return [output for output in outputs(path) if "image/svg+xml" in output.get("data", {})]


def found_ids(path: Path, dataset: Path) -> list[str]:
    """Customer ids that stand in a notebook."""
    with (dataset / "customers.csv").open(encoding="utf-8", newline="") as file:
        known = {row["customer_id"] for row in csv.DictReader(file)}
    return [word for word in re.findall(r"\b[A-Z]+\d{4,}\b", path.read_text(encoding="utf-8")) if word in known]


def read_in(path: Path) -> str:
    """All words of an executed notebook: prose, tables, sentences, alternative texts."""
    parts = [cell["source"] for cell in of_kind(read_notebook(path)["cells"], "markdown")]
    for output in outputs(path):
        parts.append(re.sub(r"<[^>]+>", " ", joined(output.get("data", {}).get("text/html", ""))))
        parts.append(json.dumps(output.get("metadata", {}), ensure_ascii=False))
    return "\n".join(parts)


def out_of_language(text: str, lang: str) -> list[str]:
    """Lines with English in a Vietnamese text, or that claim more than an association in an English one."""
    wrong = ENGLISH_WORDS if lang == "vi" else CAUSAL_WORDS
    return [line for line in text.splitlines() if wrong.search(without_data(line))]


def without_data(text: str) -> str:
    """Words without those that stand in the data, in file names and in settings."""
    return re.sub(
        r"\b(support|store|delivery|region|plan|sample|dataset|image)\b|[\w.]*\.(csv|yaml|parquet)|\{[^}]*\}", "", text
    )


@pytest.mark.notebook
def test_second_run_gives_the_same_bytes(sample: Path, folder: Path, tmp_path: Path) -> None:
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        run_notebooks(
            [folder / "01_data.ipynb"],
            parameters={"dataset": str(sample)},
            out=tmp_path / run,
            jobs=1,
            lang="vi",
            timeout_seconds=120,
        )
    for suffix in ("ipynb", "html"):
        first, second = ((tmp_path / run / f"01_data.{suffix}").read_bytes() for run in ("first", "second"))
        assert first == second


@pytest.mark.notebook
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of papermill's own dependencies
def test_plain_papermill_runs_a_notebook(folder: Path, sample: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(folder / "03_retention.ipynb"), str(out), parameters={"dataset": str(sample)}, progress_bar=False
    )
    assert all(cell["execution_count"] for cell in of_kind(read_notebook(out)["cells"], "code"))
    assert "goes with" in read_in(out)
