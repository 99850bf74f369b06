"""Small companies as files, and what checking them finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cxroi.tables import Violation, check_tables


def written(folder: Path, texts: Mapping[str, str | bytes | None]) -> Path:
    """Write files named like ``surveys_csv`` into a folder, which is made; None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if text is not None:
            path = folder / ".".join(name.rsplit("_", 1))
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def errors(folder: Path) -> list[Violation]:
    """What the data set is refused for."""
    return [violation for violation in check_tables(folder) if violation.severity == "error"]
