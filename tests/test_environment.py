"""pyproject.toml is the source of what is installed; everything else agrees with it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

CONDA_NAMES = {
    "python-duckdb": "duckdb",
    "matplotlib-base": "matplotlib",
    "seaborn-base": "seaborn",
    "typst-py": "typst",
}
CONDA_ONLY = {"pip", "python"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def required(project: dict) -> dict[str, SpecifierSet]:
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    return {canonicalize_name(Requirement(line).name): Requirement(line).specifier for line in lines}


@pytest.fixture(scope="module")
def locked(root: Path) -> dict[str, list[str]]:
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ \\]+)", text, flags=re.MULTILINE):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def test_conda_environment_agrees(root: Path, project: dict, required: dict[str, SpecifierSet]) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    conda = {}
    for line in environment["dependencies"]:
        requirement = Requirement(line)
        conda[canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))] = requirement.specifier
    assert environment["channels"] == ["conda-forge"]
    assert conda.pop("python") == SpecifierSet(project["requires-python"])
    assert {name: spec for name, spec in conda.items() if name not in CONDA_ONLY} == required


def test_lock_holds_a_fitting_version_of_everything(
    locked: dict[str, list[str]], required: dict[str, SpecifierSet]
) -> None:
    missing = sorted(set(required) - set(locked))
    unfit = [name for name in required if not all(Version(v) in required[name] for v in locked.get(name, []))]
    assert (missing, unfit) == ([], [])


def test_one_version_of_each_package_for_every_python(locked: dict[str, list[str]]) -> None:
    assert {name: versions for name, versions in locked.items() if len(versions) > 1} == {}


def test_lock_is_hashed_and_names_no_place(root: Path) -> None:
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [number for number, line in enumerate(lines) if "==" in line and not line.startswith((" ", "#"))]
    assert len(pins) > 100
    assert all(lines[number].endswith("\\") and "--hash=sha256:" in lines[number + 1] for number in pins)
    assert [line for line in lines if re.search(r"://|--(extra-)?index|--find-links|(^|\s)-[ief]\s|/", line)] == []


def test_the_version_is_stated_once_the_same(root: Path, project: dict) -> None:
    import cxroi

    assert project["version"] == cxroi.__version__
    assert f"## {cxroi.__version__}" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def make(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments], cwd=root, capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_make_alone_lists_its_verbs(root: Path) -> None:
    done = make(root)
    assert done.returncode == 0
    for verb in ("report", "test", "lint", "lab", "lock", "bench", "clean"):
        assert f"  make {verb} " in done.stdout


def test_a_report_goes_to_a_folder_of_any_name(root: Path, tmp_path: Path) -> None:
    ready, commands = tmp_path / "venv" / ".ready", tmp_path / "venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "cxroi").write_text('#!/bin/sh\nprintf "<%s>" "$@"\n', encoding="utf-8")
    (commands / "cxroi").chmod(0o755)
    ready.touch()
    done = make(root, "report", f"VENV={tmp_path / 'venv'}", "OUT=my 'out'")
    assert (done.returncode, done.stdout) == (0, "<run><data/sample><--out><my 'out'><--lang><en>")


def test_an_old_python_is_refused_in_a_sentence(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    done = make(root, "setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode == 2
    assert "cxroi needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.2" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_commands_are_installed_for_this_python() -> None:
    from importlib.metadata import entry_points

    (command,) = entry_points(group="console_scripts", name="cxroi")
    assert command.value == "cxroi.cli:main"
    assert sys.version_info >= (3, 11)
