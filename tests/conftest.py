"""Shared fixtures: the committed sample company and the real data sets."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cxroi.report.company import Assessment

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def sample() -> Path:
    """Folder of the committed sample company."""
    return ROOT / "data" / "sample"


@pytest.fixture(scope="session")
def assessment(sample: Path) -> Assessment:
    """The sample company, assessed."""
    from cxroi.report.company import assess

    return assess(sample)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the real data sets; skips outside CI where it is missing, fails in CI."""
    folder = ROOT.parent / "shared" / "realdata" / "data"
    if not folder.exists():
        absent("the real data sets (../shared/realdata) are not here")
    return folder


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Path of a program of the system; skips outside CI where it is missing, fails in CI."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            absent(f"{name} is not installed here")
        return str(path)

    return find


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Folder of the browser's driver and of the accessibility rules; skips outside CI where it is missing, fails in CI."""
    folder = Path(os.environ.get("CXROI_NODE_MODULES", "node_modules"))
    if not (folder / "playwright-core").is_dir() or not (folder / "axe-core").is_dir():
        absent("CXROI_NODE_MODULES names no folder with playwright-core and axe-core")
    return folder


def absent(message: str) -> None:
    """Skip a test for what is not here; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
