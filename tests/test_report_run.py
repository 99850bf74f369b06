"""Runs: notebooks that work, raise, die and hang; folders written whole or not at all; pages that need nothing else."""

from __future__ import annotations

import hashlib
import html.parser
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cxroi.errors import CxroiError, InputError, InvalidParameters, NotebookFailed
from cxroi.language import Language
from cxroi.report import kernel as kernels
from cxroi.report.html import data_uri, render_notebook, render_report, safe_html, safe_markdown
from cxroi.report.kernel import Watch
from cxroi.report.model import Column, Figure, KeyFigure, Link, Report, Section, Sentence, Table
from cxroi.report.notebook import canonical, masked, read_notebook, translated, write_notebook
from cxroi.report.parameters import MODELS, parameters_cell
from cxroi.report.resume import reads_only_its_folder
from cxroi.report.run import Execution, Progress, hash_inputs, run, run_notebooks
from cxroi.report.stopped import stop_of

CHANGES_BY_CHANCE = """
import sys
print(object())
print("to stderr", file=sys.stderr)
print({"a", "b", "c", "d", "e"})
object()
"""
FIGURE = """
from IPython.display import SVG
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>')
"""
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'


def text_cell(source: str, **metadata: Any) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": f"t{abs(hash(source)) % 10**6}", "metadata": metadata, "source": source}


def code_cell(source: str, *outputs: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    cell = {
        "cell_type": "code",
        "metadata": metadata,
        "source": source,
        "outputs": list(outputs),
        "execution_count": None,
    }
    return {**cell, "id": hashlib.sha256(source.encode()).hexdigest()[:8]}


def shown(media: str, content: str, **metadata: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": {media: content}, "metadata": metadata}


def book(*cells: dict[str, Any]) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def write_suite(folder: Path, codes: Mapping[str, str]) -> Path:
    """A data set and notebooks, each with a heading, its parameters and a cell of code."""
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "customers.csv").write_text("customer_id\n1\n")
    (folder / "notebooks").mkdir()
    for name, code in codes.items():
        heading = {**text_cell("# Is it so?\n\n## Part"), "id": "title"}
        cells = [heading, code_cell(parameters_cell(name), tags=["parameters"]), code_cell(code)]
        write_notebook(book(*cells), folder / "notebooks" / f"{name}.ipynb")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run; the manifest without its one key that may change."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    manifest = json.loads(files["manifest.json"])
    del manifest["timing"]
    return {**files, "manifest.json": json.dumps(manifest, sort_keys=True).encode()}


def manifest_of(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return manifest


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test that starts a kernel."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a kernel started")

    monkeypatch.setattr("cxroi.report.run.execute", refuse)


# --- runs with kernels


@pytest.mark.notebook
def test_a_run_is_whole_and_reruns_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": CHANGES_BY_CHANCE, "06_case": f"draws\n{FIGURE}"}))
    heard: list[Progress] = []
    how = Execution(only=("01", "06"), on_progress=heard.append)
    folder = run("data", out="reports/a", parameters={"draws": "500"}, execution=how)
    first = contents(folder)
    assert folder == tmp_path / "reports" / "a"
    assert set(first) == {"01_data.html", "01_data.ipynb", "06_case.html", "06_case.ipynb", "manifest.json"}
    manifest = manifest_of(folder)
    again = Execution(("01", "06"), 1, fresh=True)
    assert contents(run("data", out="reports/a", parameters={"draws": 500}, execution=again)) == first
    taken_over = run("data", out="reports/a", parameters={"draws": 500}, execution=Execution(("01", "06"), 1))
    assert contents(taken_over) == first
    assert manifest_of(taken_over)["timing"]["reused"] == ["01_data", "06_case"]
    assert os.listdir("reports") == ["a"]
    assert manifest["status"] == "done"
    assert manifest["seed"] == 20
    assert manifest["parameters"]["06_case"]["draws"] == 500
    assert manifest["inputs"] == [
        {"file": "customers.csv", "bytes": 14, "sha256": hashlib.sha256(b"customer_id\n1\n").hexdigest()}
    ]
    assert {"cxroi", "python", "pandas", "papermill"} <= set(manifest["versions"])
    assert set(manifest["timing"]["seconds"]) == {"inputs", "01_data", "06_case", "total"}
    assert manifest["timing"]["reused"] == []
    assert [p.state for p in heard if p.notebook == "06_case"] == ["started", "cell", "cell", "cell", "done"]
    assert all(p.cell <= p.cells == 3 for p in heard)

    everything = b"".join(first.values()).decode()
    assert str(tmp_path) not in everything
    assert "papermill_" not in everything
    assert "0x…" in everything
    notebook = read_notebook(folder / "06_case.ipynb")
    assert "draws = 500" in notebook["cells"][2]["source"]
    assert set(notebook["cells"][-1]["outputs"][0]["data"]) == {"image/svg+xml"}


def execute_nothing(started: list[str]) -> Any:
    """Stands for a kernel: every cell is numbered; 03 fails where ``draws`` of its notebook say so."""

    def execute(source: str, result: str, *, on_cell: Any, **_: object) -> None:
        notebook = read_notebook(Path(source))
        code = "".join(cell["source"] for cell in notebook["cells"])
        started.append(code)
        on_cell(0)
        if "fails here" in code:
            raise RuntimeError("no such engine")
        cells = [{**cell, "execution_count": 1} for cell in notebook["cells"]]
        write_notebook({**notebook, "cells": cells}, Path(result))

    return execute


def test_what_is_unchanged_is_taken_over_and_gives_the_bytes_of_a_full_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": "'a'", "03_retention": "'b'", "06_case": "'c'"}))
    Path("data/case.yaml").write_text("first")
    started: list[str] = []
    monkeypatch.setattr("cxroi.report.run.execute", execute_nothing(started))

    def how(**options: Any) -> Execution:
        return Execution(only=("01", "03", "06"), jobs=1, **options)

    def ran() -> list[str]:
        names = [letter for code in started for letter in "abc" if f"'{letter}'" in code]
        started.clear()
        return names

    run("data", parameters={"draws": 500}, execution=how())
    assert ran() == ["a", "b", "c"]
    heard: list[Progress] = []
    folder = run("data", parameters={"draws": 500}, execution=how(on_progress=heard.append))
    assert ran() == []
    assert [(each.notebook, each.state) for each in heard] == [
        (name, "reused") for name in ("01_data", "03_retention", "06_case")
    ]
    assert manifest_of(folder)["timing"]["reused"] == ["01_data", "03_retention", "06_case"]
    reused = contents(folder)
    assert contents(run("data", parameters={"draws": 500}, execution=how(fresh=True))) == reused
    assert ran() == ["a", "b", "c"]

    changes = {
        "of the case": (lambda: Path("data/case.yaml").write_text("second"), ["c"]),
        "of the data": (lambda: Path("data/customers.csv").write_text("customer_id\n2\n"), ["a", "b", "c"]),
        "of a page by hand": (lambda: Path("reports/data/01_data.html").write_text("mine"), ["a"]),
        "of code": (lambda: monkeypatch.setattr("cxroi.report.resume.code_sha256", lambda: "new"), ["a", "b", "c"]),
        "of a package": (
            lambda: monkeypatch.setattr("cxroi.report.resume.environment_sha256", lambda: "x"),
            ["a", "b", "c"],
        ),
        "of nothing": (lambda: None, []),
    }
    for what, (change, expected) in changes.items():
        change()
        run("data", parameters={"draws": 500}, execution=how())
        assert ran() == expected, what
    run("data", parameters={"draws": 600}, execution=how())
    assert ran() == ["c"]
    run("data", parameters={"draws": 600, "seed": 1}, execution=how())
    assert ran() == ["a", "b", "c"]
    notebook = read_notebook(Path("notebooks/03_retention.ipynb"))
    write_notebook({**notebook, "cells": [*notebook["cells"], code_cell("1")]}, Path("notebooks/03_retention.ipynb"))
    run("data", parameters={"draws": 600, "seed": 1}, execution=how())
    assert ran() == ["b"]


def test_a_run_of_some_notebooks_replaces_no_fuller_one_and_links_to_its_own_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": "'a'", "06_case": "'c'"}))
    notebook = read_notebook(Path("notebooks/01_data.ipynb"))
    words = text_cell("See [the case](06_case.ipynb#costs) and [these](01_data.ipynb).")
    write_notebook({**notebook, "cells": [*notebook["cells"], {**words, "id": "see"}]}, Path("notebooks/01_data.ipynb"))
    started: list[str] = []
    monkeypatch.setattr("cxroi.report.run.execute", execute_nothing(started))
    both = run("data", execution=Execution(only=("01", "06")))
    assert '<a href="06_case.html#costs">the case</a>' in (both / "01_data.html").read_text(encoding="utf-8")
    before = contents(both)
    with pytest.raises(InputError, match=r"holds a fuller run.* \(first: 06_case\)\. .*--out reports/data-01"):
        run("data", execution=Execution(only=("01",)))
    assert contents(both) == before
    one = run("data", out="reports/data-01", execution=Execution(only=("01",)))
    page = (one / "01_data.html").read_text(encoding="utf-8")
    assert "See the case and" in page
    assert '<a href="01_data.html">these</a>' in page
    assert "06_case" not in page
    started.clear()
    wider = run("data", out="reports/data-01", execution=Execution(only=("01", "06")))
    assert '<a href="06_case.html#costs">the case</a>' in (wider / "01_data.html").read_text(encoding="utf-8")
    assert len(started) == 2


def test_the_remains_of_a_failed_run_are_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": "'a'", "03_retention": "'fails here'"}))
    started: list[str] = []
    monkeypatch.setattr("cxroi.report.run.execute", execute_nothing(started))
    how = Execution(only=("01", "03"), jobs=1)
    with pytest.raises(NotebookFailed, match=r"what to do next: reports/data\.failed/03_retention\.html"):
        run("data", execution=how)
    notebook = read_notebook(Path("notebooks/03_retention.ipynb"))
    cells = [{**cell, "source": cell["source"].replace("fails here", "b")} for cell in notebook["cells"]]
    write_notebook({**notebook, "cells": cells}, Path("notebooks/03_retention.ipynb"))
    started.clear()
    folder = run("data", execution=how)
    assert len(started) == 1
    assert manifest_of(folder)["timing"]["reused"] == ["01_data"]
    assert os.listdir("reports") == ["data"]


@pytest.mark.parametrize(
    "declared",
    [
        'tables: {customers: {sql: "SELECT 1 AS customer_id"}}',
        "tables: {customers: {file: ../elsewhere.csv}}",
        "tables: {customers: {file: .hidden/customers.csv}}",
        "tables: {customers: {file: /data/customers.csv}}",
    ],
)
def test_nothing_is_taken_over_where_data_may_lie_outside(tmp_path: Path, declared: str) -> None:
    (tmp_path / "customers.csv").write_text("customer_id\n1\n")
    assert reads_only_its_folder(tmp_path)
    (tmp_path / "dataset.yaml").write_text(declared)
    assert not reads_only_its_folder(tmp_path)


def test_nothing_is_taken_over_through_a_linked_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "customers").symlink_to(tmp_path / "elsewhere")
    assert not reads_only_its_folder(tmp_path / "data")


@pytest.mark.parametrize("lang", ["en", "vi"])
def test_a_page_says_where_it_stopped_why_and_what_to_do(lang: Any) -> None:
    error = {"output_type": "error", "ename": "ValueError", "evalue": "too big"}
    lines = [f"line {number}" for number in range(30)]
    notebook = book(
        text_cell("# Do they stay?"),
        code_cell("one"),
        text_cell("Words\n\n## The curve\n\nMore"),
        code_cell("two", {**error, "traceback": [f"\x1b[31m{line}\x1b[0m" for line in lines]}),
        text_cell("## Later"),
        code_cell("three"),
    )
    language = Language(lang)
    stop = stop_of(
        notebook,
        name="03_retention",
        reason="error",
        message="It broke.",
        cell=2,
        parameters={"dataset": "data/my shop", "quarter": "2026Q3", "lang": lang},
        language=language,
    )
    assert (stop.question, stop.part) == ("Do they stay?", "The curve")
    assert stop.place == language.text("stopped.place", cell="2", cells="3")
    assert stop.lines == tuple(lines[-8:])
    asked = "cxroi run 'data/my shop' --quarter 2026Q3" + (" --lang vi" if lang == "vi" else "")
    assert any(f"{asked} --only 03 --out reports/trial" in step for step in stop.steps)  # never over a whole report
    page = render_notebook(notebook, title="x", lang=lang, failure="It broke.", stop=stop)
    assert_self_contained(page)
    for words in (
        "The curve",
        "It broke.",
        "line 29",
        language.text("stopped.next"),
        language.text("stopped.kind.other"),
    ):
        assert words in page
    assert page.index("It broke.") < page.index("Words")


@pytest.mark.parametrize(
    ("reason", "ename", "kind"),
    [
        ("error", "InvalidTables", "input"),
        ("error", "FileNotFoundError", "file"),
        ("error", "MemoryError", "memory"),
        ("error", "ModuleNotFoundError", "package"),
        ("killed", "", "killed"),
        ("timeout", "", "timeout"),
    ],
)
def test_each_kind_of_stop_has_its_advice(reason: str, ename: str, kind: str) -> None:
    outputs = [{"output_type": "error", "ename": ename, "evalue": "", "traceback": []}] if ename else []
    notebook = book(code_cell("one", *outputs))
    stop = stop_of(
        notebook,
        name="01_data",
        reason=reason,
        message="m",
        cell=1,
        parameters={"dataset": HOSTILE},
        language=Language("en"),
    )
    assert Language("en").text(f"stopped.kind.{kind}") in stop.message
    assert stop.steps
    assert "<script" not in render_notebook(notebook, title="x", lang="en", failure="m", stop=stop)


@pytest.mark.notebook
def test_failures_are_told_apart_and_an_earlier_run_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = {
        "01_data": "raise ValueError('scores must lie in 0..10')",
        "02_scores": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "03_retention": "import time; time.sleep(600)",
        "04_purchases": "'fine'",
        "05_value": "import sys; sys.exit(0)\n",
    }
    monkeypatch.chdir(write_suite(tmp_path, codes))
    last = read_notebook(tmp_path / "notebooks" / "05_value.ipynb")
    write_notebook({**last, "cells": [*last["cells"], code_cell("'never reached'")]}, Path("notebooks/05_value.ipynb"))
    earlier = Path("reports/a")
    earlier.mkdir(parents=True)
    (earlier / "manifest.json").write_text('{"versions": {"cxroi": "0"}}')
    began = time.monotonic()
    # The limit is what a loaded machine needs to start a kernel several times over; the sleep is far above it.
    how = Execution(only=("01", "02", "03", "04", "05"), jobs=3, timeout_seconds=8)
    with pytest.raises(NotebookFailed) as caught:
        run("data", out="reports/a", execution=how)
    assert time.monotonic() - began < 60  # nothing waited for the sleeping notebook

    assert (caught.value.notebook, caught.value.reason) == ("01_data", "error")
    message = str(caught.value)
    assert "01_data stopped in cell 3: ValueError: scores must lie in 0..10" in message
    assert "02_scores stopped in cell 3: its process was killed" in message
    assert "03_retention stopped in cell 3: it took longer than 8 seconds" in message
    assert "reports/a.failed" in message
    assert str(tmp_path) not in message

    assert [path.name for path in earlier.iterdir()] == ["manifest.json"]
    assert sorted(os.listdir("reports")) == ["a", "a.failed"]
    remains = Path("reports/a.failed")
    manifest = manifest_of(remains)
    assert manifest["status"] == "failed"
    reasons = {name: each.get("reason", each["status"]) for name, each in manifest["notebooks"].items()}
    assert reasons == {
        "01_data": "error",
        "02_scores": "killed",
        "03_retention": "timeout",
        "04_purchases": "done",
        "05_value": "error",
    }
    page = (remains / "01_data.html").read_text(encoding="utf-8")
    assert "cell 3 of 3" in page
    assert "What to do next" in page
    assert "ValueError: scores must lie in 0..10" in page
    assert "\x1b" not in page
    assert "took longer than 8 seconds" in (remains / "03_retention.html").read_text(encoding="utf-8")
    assert "&#39;fine&#39;" in (remains / "04_purchases.html").read_text(encoding="utf-8")


def test_finishing_writes_into_the_run_and_removes_earlier_remains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": "lang"}))
    monkeypatch.setattr("cxroi.report.run.catalogue", lambda name: {"01_data.title": "# Có đúng vậy không?"})

    def execute(source: str, result: str, **_: object) -> None:
        notebook = read_notebook(Path(source))
        write_notebook(
            {**notebook, "cells": [{**cell, "execution_count": 1} for cell in notebook["cells"]]}, Path(result)
        )

    monkeypatch.setattr("cxroi.report.run.execute", execute)

    def finish(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
        assert manifest["status"] == "done"
        (folder / "index.html").write_text("report")
        return {"accounting": [{"table": "customers", "reason": "kept", "rows": 1}]}

    def fail(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
        raise CxroiError("no estimate")

    with pytest.raises(CxroiError, match="no estimate"):
        run("data", lang="vi", execution=Execution(only=("01",), finish=fail))
    assert os.listdir("reports") == ["data.failed"]
    assert manifest_of(Path("reports/data.failed"))["finish"] == "CxroiError: no estimate"

    folder = run("data", lang="vi", execution=Execution(only=("01",), finish=finish))
    assert os.listdir("reports") == ["data"]
    assert (folder / "index.html").read_text() == "report"
    assert manifest_of(folder)["accounting"][0]["rows"] == 1
    page = (folder / "01_data.html").read_text(encoding="utf-8")
    assert '<html lang="vi">' in page
    assert "<title>Có đúng vậy không?</title>" in page


# --- refusals before a kernel starts


@pytest.mark.usefixtures("no_kernel")
def test_wrong_input_is_refused_before_a_kernel_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_suite(tmp_path, dict.fromkeys(MODELS, "1")))
    with pytest.raises(InvalidParameters, match="did you mean 'horizon_months'"):
        run("data", parameters={"horizon_month": "12"})
    with pytest.raises(InvalidParameters, match="there is no notebook '13'"):
        run("data", execution=Execution(only=("13",)))
    with pytest.raises(InvalidParameters, match="2026Q3"):
        run("data", quarter="last")
    with pytest.raises(InvalidParameters, match="stated once"):
        run("data", quarter="2026Q3", parameters={"quarter": "2026Q2"})
    with pytest.raises(InvalidParameters, match="jobs"):
        run("data", execution=Execution(jobs=0))
    with pytest.raises(InvalidParameters, match="time limit"):
        run("data", execution=Execution(timeout_seconds=0))
    with pytest.raises(InputError, match="data set must be a folder; 'nothing' is missing"):
        run("nothing")
    with pytest.raises(InputError, match=r"case must be a file; 'nothing\.yaml' is missing"):
        run("data", case="nothing.yaml")
    Path("notebooks/04_purchases.ipynb").write_text("{}")
    with pytest.raises(InputError, match=r"04_purchases\.ipynb must be a Jupyter notebook"):
        run("data")
    write_notebook(book(code_cell("1")), Path("notebooks/04_purchases.ipynb"))
    with pytest.raises(InputError, match="tagged 'parameters'"):
        run("data")
    Path("notebooks/04_purchases.ipynb").unlink()
    with pytest.raises(InputError, match=r"first: 04_purchases\.ipynb"):
        run("data", execution=Execution(notebooks=Path("notebooks")))
    assert not list(tmp_path.rglob("*.partial"))
    assert not list(tmp_path.rglob("*.failed"))


@pytest.mark.usefixtures("no_kernel")
def test_a_run_never_replaces_anything_but_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_suite(tmp_path, dict.fromkeys(MODELS, "1")))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "free.failed").mkdir()
    (tmp_path / "free.failed" / "notes.txt").write_text("more")
    (tmp_path / "file").write_text("a file")
    for out in ("mine", "free", "file", "data", "."):
        with pytest.raises(InputError, match="must be free or hold an earlier run"):
            run("data", out=out)
    with pytest.raises(InputError, match="the data set or the working folder"):
        run("data", out="data/reports")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": "1"}))

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cxroi.report.run.execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run("data", execution=Execution(only=("01",)))
    assert os.listdir("reports") == []


@pytest.mark.notebook
def test_temporary_files_of_a_killed_kernel_go_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "where"
    code = f"import tempfile, pathlib\npathlib.Path({str(kept)!r}).write_text(tempfile.mkdtemp())"
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": code}))
    (ended,) = run_notebooks(
        [Path("notebooks/01_data.ipynb")], parameters={}, out=tmp_path, jobs=1, lang="en", timeout_seconds=60
    )
    assert ended.status == "done"
    assert not Path(kept.read_text()).exists()


def test_inputs_are_named_from_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "data" / "parts").mkdir(parents=True)
    (tmp_path / "data" / "parts" / "a.csv").write_text("a")
    (tmp_path / "data" / ".hidden").write_text("h")
    (tmp_path / "data" / "case.yaml").write_text("c")
    (tmp_path / "other.yaml").write_text("o")
    named = [each["file"] for each in hash_inputs(tmp_path / "data", tmp_path / "data" / "case.yaml")]
    assert named == ["case.yaml", "parts/a.csv"]
    assert len(hash_inputs(tmp_path / "data", tmp_path / "other.yaml")) == 3


def test_a_watch_kills_once_its_time_is_over_and_never_a_stranger() -> None:
    killed: list[str] = []
    watch = Watch(0.05)
    watch.began(lambda: killed.append("slow"))
    deadline = time.monotonic() + 10
    while not killed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (killed, watch.expired) == (["slow"], True)
    watch.began(lambda: killed.append("late"))
    assert killed == ["slow", "late"]

    other = Watch(60)
    other.began(lambda: killed.append("stranger"))
    other.ended()
    other.stop()
    other.close()
    assert (killed, other.expired) == (["slow", "late"], False)


def test_imports_hide_the_slow_parsers_from_nobody_else() -> None:
    assert kernels.papermill is not None
    assert os.sys.modules.get("rfc3987_syntax", "free") is not None  # type: ignore[attr-defined]


# --- notebooks as published


def test_a_canonical_notebook_has_nothing_of_the_run_but_its_results() -> None:
    home = os.path.expanduser("~")
    outputs = [
        {"output_type": "stream", "name": "stderr", "text": "warned"},
        {"output_type": "stream", "name": "stdout", "text": ["a ", "b"]},
        {"output_type": "display_data", "data": {"text/html": ["<b>", "</b>"], "text/plain": "x"}, "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": f" {home}/x <A at 0x7f3ac4d2e0>"},
        {"output_type": "execute_result", "data": {"text/plain": "7"}, "metadata": {}, "execution_count": 1},
    ]
    cell = code_cell(
        "1", *outputs, papermill={"duration": 1}, execution={"x": 1}, tags=["remove-input"], alt="A picture"
    )
    marker = text_cell("An Exception was encountered", tags=["papermill-error-cell-tag"])
    injected = {**code_cell("seed = 1", tags=["injected-parameters"]), "id": "abcd1234"}
    notebook = book(marker, injected, cell) | {"metadata": {"papermill": {"input_path": f"{home}/in.ipynb"}}}
    clean = canonical(notebook)
    assert [each["id"] for each in clean["cells"]] == ["injected-parameters", cell["id"]]
    assert set(clean["metadata"]) == {"kernelspec", "language_info"}
    assert clean["cells"][1]["metadata"] == {"tags": ["remove-input"], "alt": "A picture"}
    kept = clean["cells"][1]["outputs"]
    assert [each.get("text") for each in kept[:2]] == ["a b ~/x <A at 0x…>", "warned"]
    assert [each["data"] for each in kept[2:]] == [{"text/html": "<b></b>"}, {"text/plain": "7"}]
    assert canonical(clean) == clean


def test_cells_without_an_id_get_a_stable_one() -> None:
    cells = [{**code_cell("1"), "id": ""}, {**code_cell("1"), "id": ""}]
    ids = [cell["id"] for cell in canonical(book(*cells))["cells"]]
    assert ids == [cell["id"] for cell in canonical(book(*cells))["cells"]]
    assert len(set(ids)) == 2


def test_paths_of_the_machine_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    assert masked(f"{here}/data/x.csv, {here}: {here}er") == f"./data/x.csv, .: {here}er"
    assert masked("File /tmp/ipykernel_12/345.py:1") == "File cell:1"


def test_only_text_cells_with_a_translation_change() -> None:
    notebook = book({**text_cell("Hello"), "id": "a"}, {**text_cell("Bye"), "id": "b"}, {**code_cell("x"), "id": "c"})
    sources = [cell["source"] for cell in translated(notebook, {"a": "Xin chào", "c": "y"})["cells"]]
    assert sources == ["Xin chào", "Bye", "x"]


# --- pages


class Tags(html.parser.HTMLParser):
    """Start tags of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def assert_self_contained(page: str) -> None:
    for tag, attributes in Tags(page).seen:
        assert tag not in ("script", "link", "iframe", "object", "base"), tag
        for name in ("src", "href", "srcset", "data", "action", "poster", "background"):
            assert re.match(r"data:|#|[\w-]+\.(html|csv|json|ipynb)|$", attributes.get(name) or ""), attributes
        assert not any(name.startswith("on") for name in attributes), attributes
    assert re.findall(r"url\((?!data:)", page) == []
    assert "@import" not in page


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def page_of(*cells: dict[str, Any], **options: Any) -> str:
    page = render_notebook(book(*cells), **{"title": "Title", "lang": "en", **options})
    assert_self_contained(page)
    return page


def test_a_page_has_its_contents_fonts_and_language() -> None:
    page = page_of(text_cell("# Họ có ở lại không?\n\n## Đường cong\n\n## Đường cong\n\n### `x` nhỏ"), lang="vi")
    assert '<html lang="vi">' in page
    assert "<title>Họ có ở lại không?</title>" in page
    assert re.findall(r'<li class="level-(\d)"><a href="#([\w-]+)">(.*?)</a>', page) == [
        ("2", "duong-cong", "Đường cong"),
        ("2", "duong-cong-2", "Đường cong"),
        ("3", "x-nho", "x nhỏ"),
    ]
    for anchor in ("duong-cong", "duong-cong-2", "x-nho"):
        assert len(re.findall(f'id="{anchor}"', page)) == 1
    assert page.count("data:font/woff2;base64,") == 2
    assert "@media print" in page
    assert "Content-Security-Policy" in page


def test_code_is_folded_or_absent_and_streams_are_hidden() -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": "noise"}
    cells = (
        code_cell("a < b", stream),
        code_cell("hidden_code", tags=["remove-input"]),
        code_cell("x", tags=["remove-cell"]),
    )
    page = page_of(*cells)
    assert '<details class="code"><summary>Code</summary><pre><code>a &lt; b</code></pre></details>' in page
    assert "noise" not in page
    assert "hidden_code" not in page
    assert page.count('<details class="code">') == 1
    assert "a &lt; b" not in page_of(*cells, code=False)


def test_text_from_data_is_escaped_everywhere() -> None:
    error = {"output_type": "error", "ename": "E", "evalue": HOSTILE, "traceback": [f"\x1b[31m{HOSTILE}\x1b[0m"]}
    page = page_of(
        text_cell(
            f"# {HOSTILE}\n\n## {HOSTILE}\n\n{HOSTILE} [x](javascript:alert(1)) ![a{HOSTILE}](http://evil.example/x.png)"
        ),
        code_cell(
            HOSTILE, shown("text/html", f"<table onclick='x'><td style='background:url(http://evil)'>{HOSTILE}</table>")
        ),
        code_cell(
            "", shown("text/plain", HOSTILE), shown("text/markdown", HOSTILE), shown("text/latex", HOSTILE), error
        ),
        code_cell("", shown("image/svg+xml", f"<svg>{HOSTILE}</svg>", alt=f'"{HOSTILE}')),
        title=HOSTILE,
        failure=HOSTILE,
    )
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert [tag for tag, _ in Tags(page).seen if tag == "img"] == ["img"]


def test_links_lead_to_pages_of_the_run_only() -> None:
    headings: list[Any] = []
    kept = safe_markdown("[a](02_scores.ipynb#part) [b](#x) [c](estimates.csv)", headings)
    assert re.findall('href="(.*?)"', kept) == ["02_scores.html#part", "#x", "estimates.csv"]
    for address in ("https://example.org/a", "//example.org", "/etc/passwd", "../x.html"):
        text = str(safe_markdown(f"[words]({address})", headings))
        assert "href" not in text
        assert text.startswith("<p>words (")
    assert "href" not in safe_markdown("[words](file:///x) <https://example.org>", headings)


def test_html_from_outputs_keeps_tables_and_loses_the_rest() -> None:
    head = '<style>x</style><table border="1" class="dataframe"><tr><th scope="row">a'
    assert safe_html(f'{head}<td colspan="2">1 < 2 &amp; 3</td></tr></table>') == (
        '<div class="scroll" tabindex="0"><table class="dataframe"><tr><th scope="row">a<td colspan="2">'
        "1 &lt; 2 &amp; 3</td></th></tr></table></div>"
    )
    assert safe_html("<div><p>a</div></main></body>b") == "<div><p>a</p></div>b"
    assert safe_html("<b>a<svg><script>x</script>") == "<b>a</b>"
    assert safe_html("a<!-- c --><br/><a href='http://x'>b</a>&lt;i&gt;") == "a<br>b&lt;i&gt;"


def test_pictures_are_embedded_with_their_words() -> None:
    png = "iVBORw0KGgo="
    page = page_of(
        code_cell("", shown("image/png", png), shown("image/png", png), alt=["first", "second"]),
        code_cell("", shown("image/svg+xml", SVG.decode(), alt="third")),
        code_cell("", {**shown("image/png", png), "metadata": {"image/png": {"alt": "fourth"}}}),
        code_cell("", shown("image/png", png)),
    )
    pictures = [attributes for tag, attributes in Tags(page).seen if tag == "img"]
    assert [each["alt"] for each in pictures] == ["first", "second", "third", "fourth", "Figure without a description"]
    assert pictures[0]["src"] == f"data:image/png;base64,{png}"
    assert pictures[2]["src"] == data_uri("image/svg+xml", SVG)


def test_a_failure_is_readable() -> None:
    lines = [f"line {number}" for number in range(50)]
    error = {"output_type": "error", "ename": "ValueError", "evalue": "too big", "traceback": lines}
    page = page_of(code_cell("x", error), failure="It stopped.", back="index.html")
    assert "This notebook stopped here" in page
    assert "It stopped." in page
    assert "ValueError: too big" in page
    assert "line 49" in page
    assert "line 10\n" not in page
    assert '<a href="index.html">All results</a>' in page


def test_the_report_writes_every_sentence_figure_and_table_with_its_id() -> None:
    figure = Figure("f1", SVG, "image/svg+xml", "A line rises", "Own data, n = 5")
    table = Table("t1", "A table", (Column("Segment"), Column("Value", is_number=True)), ((HOSTILE, "1"),))
    report = Report(
        lang="vi",
        title="Chương trình có sinh lợi không?",
        subtitle="Quý 3 2026",
        answer=(Sentence("a1", "Có."),),
        key_figures=(KeyFigure("k1", "NPV", "1 tỷ ₫", "từ 0 đến 2 tỷ ₫", "mối liên hệ"),),
        sections=(Section("s1", "Bằng chứng", (Sentence("b1", HOSTILE),), (figure, table)),),
        links=(Link("01_data.html", "Dữ liệu"),),
    )
    page = render_report(report)
    assert_self_contained(page)
    assert page == render_report(report)
    ids = [attributes["id"] for _, attributes in Tags(page).seen if "id" in attributes]
    assert ids == ["text", "a1", "k1", "s1", "b1", "f1", "t1"]
    assert '<a href="#s1">Bằng chứng</a>' in page
    assert "<script" not in page
    assert 'alt="A line rises"' in page
    assert "Bằng chứng: mối liên hệ" in page


def test_a_notebook_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameters, match="99_other"):
        run_notebooks([tmp_path / "99_other.ipynb"], parameters={}, out=tmp_path, jobs=1, lang="en", timeout_seconds=1)


@pytest.mark.parametrize(
    ("raised", "reason", "said"),
    [
        (RuntimeError("Kernel died before replying to kernel_info"), "killed", "its process was killed"),
        (RuntimeError("no such engine"), "error", "RuntimeError: no such engine"),
        (OSError("x" * 2000), "error", "xxx …"),
    ],
)
def test_what_goes_wrong_before_the_first_cell_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, reason: str, said: str
) -> None:
    monkeypatch.chdir(write_suite(tmp_path, {"01_data": "1"}))

    def execute(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr("cxroi.report.run.execute", execute)
    (ended,) = run_notebooks(
        [Path("notebooks/01_data.ipynb")], parameters={}, out=tmp_path, jobs=1, lang="en", timeout_seconds=60
    )
    assert (ended.status, ended.reason, ended.cell) == ("failed", reason, 0)
    assert said in ended.message
    assert len(ended.message) < 700
    assert said.replace(" …", "") in (tmp_path / "01_data.html").read_text(encoding="utf-8")
