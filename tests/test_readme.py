"""What the README and the tutorial show works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cxroi.case import parse_case
from cxroi.cli import main
from cxroi.tables.dataset import Dataset


def _blocks(page: Path, kind: str) -> list[str]:
    """Fenced blocks of one kind, in order."""
    found: list[str] = []
    block: list[str] | None = None
    opened = ""
    for line in page.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("```"):
            if block is None:
                block, opened = [], line[3:].strip()
            else:
                found += ["".join(block)] if opened == kind else []
                block = None
        elif block is not None:
            block.append(line)
    return found


def test_ten_lines_of_python_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    (lines,) = _blocks(root / "README.md", "python")
    statements = [line for line in lines.splitlines() if line and not line.startswith(("import", "#"))]
    assert len(statements) <= 10
    names: dict[str, object] = {}
    exec(lines, names)
    case = names["case"]
    assert case.tidy()["measure"].isin(["npv"]).any()  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", ["what-if.md", "case-uncertainty.md"])
def test_examples_of_a_page_run_as_they_stand(page: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    names: dict[str, object] = {}
    for lines in _blocks(root / "docs" / page, "python"):
        exec(lines, names)
    assert names["decision"].glance()["p_npv_positive"].notna().all()  # type: ignore[attr-defined]


def test_commands_say_where_they_are(root: Path) -> None:
    assert "after `source .venv/bin/activate`, or as `.venv/bin/cxroi`" in (root / "README.md").read_text("utf-8")


def test_pages_link_to_files_that_exist(root: Path) -> None:
    for page in [root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_tutorial_files_are_accepted(root: Path) -> None:
    dataset, case = _blocks(root / "docs" / "your-own-company.md", "yaml")
    assert Dataset.model_validate(yaml.safe_load(dataset)).currency == "VND"
    assert parse_case(case).programmes[0].id == "call_centre"


def test_tutorial_commands_work_in_order(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        line.split()[1:]
        for block in _blocks(root / "docs" / "your-own-company.md", "")
        for line in block.splitlines()
        if line.startswith("cxroi ") and not line.startswith("cxroi run")
    ]
    assert [command[0] for command in commands] == ["simulate", "check", "estimate"]
    for command in commands:
        assert main(command) == 0, command
    assert (tmp_path / "estimates.csv").stat().st_size > 0
