"""The commands: exit codes, plain words, hostile text, and how little ``--help`` loads."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

import cxroi.panel
import cxroi.simulate
import cxroi.tables
import cxroi.value
from cxroi import __version__, cli
from cxroi.errors import InputError, NotebookFailed
from cxroi.report import progress
from cxroi.report.folder import put_in_place
from cxroi.tables import Violation

RUN = importlib.import_module("cxroi.report.run")  # the package may bind the name to the function
COMMANDS = ("check", "compare", "estimate", "init", "run", "simulate", "template")


def test_help_loads_no_library() -> None:
    heavy = ("pandas", "numpy", "papermill", "duckdb", "narwhals", "statsmodels", "matplotlib", "pydantic", "rich")
    code = (
        "import sys; from cxroi.cli import main; code = main(['--help']);"
        f"print(code, [name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert all(re.search(rf"^  {command} ", done.stdout, flags=re.MULTILINE) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys) -> None:
    assert cli.main([command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_version(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"cxroi {__version__}"


@pytest.mark.parametrize(
    "arguments",
    [["no-such-command"], ["run"], ["run", "x", "--lang", "fr"], ["run", "x", "--jobs", "0"], ["check", "x", "--loud"]],
)
def test_a_wrong_command_line_is_the_users_fault(arguments: list[str], capsys) -> None:
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert told.strip()
    assert "Traceback" not in told


def failing(error: Exception):
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    return fail


def test_wrong_input_is_said_in_plain_words(monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        cxroi.simulate, "simulate", failing(InputError("no world nul; did you mean null?\nsecond line"))
    )
    assert cli.main(["simulate", "somewhere", "--world", "nul"]) == 2
    assert capsys.readouterr().err == "no world nul; did you mean null?\nsecond line\n"


def test_a_failed_notebook_is_no_fault_of_the_command_line(monkeypatch, capsys) -> None:
    error = NotebookFailed("03_retention", "timeout", "03_retention took longer than 5 s")
    monkeypatch.setattr(RUN, "run", failing(error))
    assert cli.main(["run", "data/sample"]) == 1
    assert capsys.readouterr().err == "03_retention took longer than 5 s\n"


def test_our_own_fault_gives_a_sentence_and_no_data(monkeypatch, capsys) -> None:
    monkeypatch.setattr(cxroi.simulate, "simulate", failing(KeyError("customer KH000123")))
    monkeypatch.delenv("CXROI_TRACEBACK", raising=False)
    assert cli.main(["simulate", "somewhere"]) == 1
    told = capsys.readouterr().err
    assert "mistake of its own (KeyError in cli.py, line" in told
    assert "CXROI_TRACEBACK=1" in told
    assert "KH000123" not in told
    assert "Traceback" not in told


def test_traceback_on_demand(monkeypatch, capsys) -> None:
    monkeypatch.setattr(cxroi.simulate, "simulate", failing(KeyError("anything")))
    monkeypatch.setenv("CXROI_TRACEBACK", "1")
    assert cli.main(["simulate", "somewhere"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def violation(message: str, value: str, severity: str = "error") -> Violation:
    return Violation("surveys", "score", "out_of_scale", 37, 12_480, 932, value, message, "Recode them.", severity)


def test_check_lists_violations_and_then_notices(monkeypatch, capsys) -> None:
    found = [violation("refunds are here.", "", "notice"), violation("score must lie in 0..10.", "11")]
    monkeypatch.setattr(cxroi.tables, "check_tables", lambda _: found)
    assert cli.main(["check", "somewhere"]) == 2
    told = capsys.readouterr().out
    assert told.index("Violations: 1") < told.index("score must lie") < told.index("Worth knowing: 1")
    assert "[surveys.score, out_of_scale, 37 of 12,480 rows, first row 932: '11']" in told
    assert "Repair: Recode them." in told
    assert "No violations" not in told


def test_text_of_the_data_cannot_style_or_steer_the_terminal(monkeypatch, capsys) -> None:
    hostile = "[bold red]x[/] \x1b[2J\x1b]0;owned\x07 \u202egnp.exe\r\n"
    monkeypatch.setattr(cxroi.tables, "check_tables", lambda _: [violation(f"must not be {hostile}.", hostile)])
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli.main(["check", "somewhere"]) == 2
    told = capsys.readouterr().out
    assert "[bold red]x[/]" in told
    assert not set("\x07\r\u202e") & set(told)
    styles = re.sub(r"\x1b\[[0-9;]*m", "", told)  # rich's own bold is all that may be left
    assert "\x1b" not in styles
    assert r"\x1b[2J" in told


def test_check_says_what_was_read(monkeypatch, capsys) -> None:
    accounting = pd.DataFrame({"table": ["customers"] * 2, "reason": ["read", "kept"], "rows": [3000, 3000]})
    monkeypatch.setattr(cxroi.tables, "check_tables", lambda _: [violation("refunds are here.", "", "notice")])
    monkeypatch.setattr(cxroi.tables, "read_tables", lambda _: SimpleNamespace(accounting=accounting))
    assert cli.main(["check", "somewhere"]) == 0
    told = capsys.readouterr().out
    assert told.index("Worth knowing") < told.index("No violations")
    assert re.search(r"customers +3,000 read, 3,000 kept", told)


def test_check_of_a_folder_that_is_not_there(tmp_path: Path, capsys) -> None:
    assert cli.main(["check", str(tmp_path / "nowhere")]) == 2
    told = "".join(capsys.readouterr())
    assert "nowhere" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["customers.csv", "dataset.yaml", "transactions.parquet"])
def test_check_of_a_table_asks_for_its_folder(name: str, tmp_path: Path, capsys) -> None:
    (tmp_path / name).write_text("customer_id\n", encoding="utf-8")
    assert cli.main(["check", str(tmp_path / name)]) == 2
    assert f"Give the folder: cxroi check {tmp_path}" in capsys.readouterr().err


def test_run_passes_everything_on(monkeypatch, tmp_path: Path, capsys) -> None:
    seen = {}

    def run(dataset: Path, **options: object) -> Path:
        seen.update(options, dataset=dataset)
        seen["execution"].on_progress(RUN.Progress("03_retention", "started", 0, 12, 0.0))
        seen["execution"].on_progress(RUN.Progress("03_retention", "cell", 4, 12, 1.0))
        seen["execution"].on_progress(RUN.Progress("04_purchases", "reused", 0, 0, 0.0))
        seen["execution"].on_progress(RUN.Progress("05_value", "cell", 7, 9, 20.0))
        seen["execution"].on_progress(RUN.Progress("03_retention", "done", 12, 12, 6.24))
        (tmp_path / "done").mkdir()
        timing = {
            "seconds": {"05_value": 21.5, "inputs": 0.1, "finish": 1.26, "total": 30.0},
            "reused": ["04_purchases"],
        }
        (tmp_path / "done" / "manifest.json").write_text(json.dumps({"timing": timing}), encoding="utf-8")
        return tmp_path / "done"

    monkeypatch.setattr(RUN, "run", run)
    arguments = ["run", "data/sample", "--quarter", "2026Q3", "--case", "c.yaml", "--lang", "vi", "--only", "03"]
    assert cli.main([*arguments, "-p", "horizon_months=24", "-p", "note=a=b", "--jobs", "3", "--fresh"]) == 0
    how = seen.pop("execution")
    assert (how.only, how.jobs, how.timeout_seconds, how.fresh) == (("03",), 3, 1800, True)
    assert seen == {
        "dataset": Path("data/sample"),
        "quarter": "2026Q3",
        "case": Path("c.yaml"),
        "out": None,
        "lang": "vi",
        "parameters": {"horizon_months": "24", "note": "a=b"},
    }
    assert capsys.readouterr().out.splitlines() == [
        "03_retention    started",
        "04_purchases    unchanged, taken over",
        "05_value        cell 7 of 9, 20.0 s",
        "03_retention    done       6.2 s",
        "Steps: reading the inputs 0.1 s, 05_value 21.5 s, writing the report 1.3 s; in all 30.0 s",
        "1 of the notebooks had unchanged inputs and were taken over; --fresh runs them again.",
        str(tmp_path / "done" / "index.html"),
    ]


def test_the_list_of_runs_is_brought_up_to_date_also_by_a_failure(monkeypatch, tmp_path: Path, capsys) -> None:
    failed = {"status": "failed", "versions": {}, "notebooks": {"03_retention": {"status": "failed"}}}

    def run(*_: object, **__: object) -> Path:
        (tmp_path / "reports" / "a.failed").mkdir(parents=True)
        (tmp_path / "reports" / "a.failed" / "manifest.json").write_text(json.dumps(failed), encoding="utf-8")
        raise NotebookFailed("03_retention", "error", "it stopped")

    monkeypatch.setattr(RUN, "run", run)
    assert cli.main(["run", "data/sample", "--out", str(tmp_path / "reports" / "a")]) == 1
    assert capsys.readouterr().err == "it stopped\n"
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert 'href="a.failed/03_retention.html"' in page


def test_a_terminal_gets_one_display_that_lives(monkeypatch, capsys) -> None:
    board = progress.Board()
    for state, cell in (("started", 0), ("cell", 3), ("reused", 0)):
        board(RUN.Progress("0" + str(cell) + "_x", state, cell, 12, 1.0))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(board.table())
    told = console.export_text()
    assert re.search(r"03_x +running +█{5}░{15} +cell 3 of 12 +1\.\d s", told)
    assert told.index("00_x") < told.index("03_x")
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    with progress.shown(lambda _: pytest.fail("a line was written")) as tell:
        tell(RUN.Progress("01_data", "started", 0, 12, 0.0))
    assert "01_data" in capsys.readouterr().out


def test_formats_and_leaders_reach_the_report_or_stop_it(monkeypatch, tmp_path: Path, capsys) -> None:
    seen = {}

    def run(dataset: Path, **options: object) -> Path:
        seen.update(options)
        return tmp_path

    monkeypatch.setattr(RUN, "run", run)
    assert cli.main(["run", "data/sample", "--formats", "html,pptx", "--audience", "cfo", "--audience", "hr"]) == 0
    wanted = seen["execution"].prepare.keywords["documents"]
    assert (tuple(wanted.formats), wanted.leaders) == (("html", "pptx"), ("cfo", "hr"))
    assert cli.main(["run", "data/sample", "--formats", "html,docx"]) == 2
    assert "got 'docx'" in capsys.readouterr().err
    assert cli.main(["run", "data/sample", "--audience", "boss"]) == 2
    assert "must be one of board, cfo" in capsys.readouterr().err


def test_a_parameter_needs_a_name_and_a_value(capsys) -> None:
    assert cli.main(["run", "data/sample", "-p", "horizon_months"]) == 2
    assert "name=value; got 'horizon_months'" in capsys.readouterr().err


def stub_rooms(monkeypatch, inputs: tuple[Path, ...] = ()) -> list[object]:
    """Rooms that give one row of estimates and note what they were asked."""
    frame = pd.DataFrame({"outcome": ["retained"], "estimate": [0.0123], "headline": [True]})
    tables = SimpleNamespace(inputs=[SimpleNamespace(path=path) for path in inputs])
    asked: list[object] = []
    monkeypatch.setattr(cxroi.tables, "read_tables", lambda dataset: asked.append(dataset) or tables)
    monkeypatch.setattr(cxroi.panel, "build_panel", lambda *got, **options: asked.append((*got, options)) or "panel")
    monkeypatch.setattr(cxroi.value, "estimates_table", lambda *got: asked.append(got) or frame)
    return asked


def test_estimate_writes_the_file_whole(monkeypatch, tmp_path: Path, capsys) -> None:
    asked = stub_rooms(monkeypatch)
    out = tmp_path / "new" / "estimates.csv"
    out.parent.mkdir()
    assert cli.main(["estimate", "data/sample", "--quarter", "2026Q3", "--out", str(out)]) == 0
    assert asked[0] == Path("data/sample")
    assert [asked[1][-1], asked[2]] == [{"last_period": "2026Q3"}, ("panel",)]  # type: ignore[index]
    assert pd.read_csv(out)["estimate"].tolist() == [0.0123]
    assert [path.name for path in out.parent.iterdir()] == ["estimates.csv"]
    assert capsys.readouterr().out == f"1 rows in {out}\n"
    monkeypatch.setattr(cxroi.value, "estimates_table", failing(InputError("no")))
    assert cli.main(["estimate", "data/sample", "--out", str(out)]) == 2
    assert [path.name for path in out.parent.iterdir()] == ["estimates.csv"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("", "must name a file"),
        ("company", "must name a file"),
        ("nowhere/estimates.csv", "there is no folder"),
        ("file/estimates.csv", "there is no folder"),
        ("company/customers.csv", "is a file of the data set"),
        ("linked.csv", "is a file of the data set"),
        ("company/case.yaml", "is a file of the data set"),
        ("outside.csv", "is a file of the data set"),
        ("company/" + 300 * "x", "Name a file or folder that can be read or written."),
    ],
)
def test_estimates_replace_no_table_and_go_to_a_place_that_exists(
    place: str, words: str, monkeypatch, tmp_path: Path, capsys
) -> None:
    company = tmp_path / "company"
    company.mkdir()
    files = [company / "customers.csv", company / "case.yaml", tmp_path / "outside.csv", tmp_path / "file"]
    for file in files:
        file.write_text("theirs", encoding="utf-8")
    (tmp_path / "linked.csv").symlink_to(files[0])
    asked = stub_rooms(monkeypatch, (files[0], files[2]))
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["estimate", str(company), "--out", str(tmp_path / place) if place else ""]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert asked == [company], "nothing was computed"
    assert sorted(tmp_path.rglob("*")) == before
    assert {file.read_text(encoding="utf-8") for file in files} == {"theirs"}


def test_values_that_lead_to_a_person_are_not_printed(monkeypatch, capsys) -> None:
    columns = [("surveys", "customer_id"), ("referrals", "referred_id"), ("surveys", "comment"), ("customers", "email")]
    found = [
        Violation(table, column, "orphan", 1, 9, 4, "KH999999", "It must be known.", "Add it.")
        for table, column in columns
    ]
    monkeypatch.setattr(cxroi.tables, "check_tables", lambda _: found)
    assert cli.main(["check", "somewhere"]) == 2
    told = capsys.readouterr().out
    assert told.count("first row 4]") == len(columns)
    assert "KH999999" not in told


# stopped from outside


def test_a_query_that_is_interrupted_is_no_fault(monkeypatch, tmp_path: Path, capsys) -> None:
    stopped = failing(RuntimeError("Query interrupted"))
    monkeypatch.setattr(cxroi.tables, "check_tables", stopped)
    assert cli.main(["check", "somewhere"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"
    for error in (RuntimeError("Query interrupted"), KeyboardInterrupt(), SystemExit(143)):
        monkeypatch.setattr(RUN, "run", failing(error))
        code = cli.main(["run", "data/sample", "--out", str(tmp_path / "a")])
        assert code == (143 if isinstance(error, SystemExit) else 130)
        told = capsys.readouterr().err
        assert told.splitlines() == [
            "The run was stopped: nothing was written, and an earlier run is as it was.",
            "Stopped.",
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_run_that_is_stopped_leaves_nothing(name: str, sample: Path, tmp_path: Path) -> None:
    temporary, reports = tmp_path / "tmp", tmp_path / "reports"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "cxroi.cli", "run", str(sample), "--only", "01", "--out", str(reports / "one")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=sample.parents[1],
        env=os.environ | {"TMPDIR": str(temporary)}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "01_data         started\n"
    while not list(temporary.glob("cx*/kernel.json")):
        time.sleep(0.05)
    assert [path.suffix for path in reports.iterdir()] == [".partial"]
    number = getattr(signal, name)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "failed" not in out
    assert err.splitlines()[-1] == "Stopped."
    assert list(temporary.iterdir()) == []
    assert list(reports.iterdir()) == []


def test_a_run_that_was_made_read_only_is_replaced_whole() -> None:
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    base = Path(tempfile.mkdtemp())
    nobody = 65534
    try:
        if as_root:
            os.chown(base, nobody, nobody)
            os.seteuid(nobody)
        for name in ("new", "run"):
            (base / name / "inner").mkdir(parents=True)
            (base / name / "inner" / "page").write_text(name, encoding="utf-8")
        for each in (base / "run" / "inner", base / "run"):
            each.chmod(0o555)
        put_in_place(base / "new", base / "run")
        assert [each.name for each in base.iterdir()] == ["run"]
        assert (base / "run" / "inner" / "page").read_text(encoding="utf-8") == "new"
    finally:
        if as_root:
            os.seteuid(0)
        shutil.rmtree(base, ignore_errors=True)


def test_vietnamese_reaches_a_screen_that_cannot_show_it(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text("tables: {customers: {file: khách.csv}}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cxroi.cli", "check", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60, env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")
    assert "kh\\xe1ch.csv" in done.stdout


def test_simulate_then_check_from_the_shell(tmp_path: Path) -> None:
    folder = tmp_path / "company"
    environment = os.environ | {"COLUMNS": "40"}
    for arguments in (["simulate", str(folder), "--customers", "300", "--seed", "7"], ["check", str(folder)]):
        done = subprocess.run(
            [sys.executable, "-m", "cxroi.cli", *arguments],
            capture_output=True, text=True, check=False, timeout=120, env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    assert "No violations" in done.stdout
    assert (tmp_path / "company.truth.json").exists()
    assert list(folder.glob("*.truth.json")) == []
