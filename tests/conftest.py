"""Shared fixtures: the committed sample company and the real data sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
def realdata() -> Path:
    """Folder of the real data sets; skips outside CI where it is missing, fails in CI."""
    folder = ROOT.parent / "shared" / "realdata" / "data"
    if not folder.exists():
        message = "the real data sets (../shared/realdata) are not here"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
