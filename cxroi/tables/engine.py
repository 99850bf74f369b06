"""The embedded engine: one DuckDB connection and a private folder for what it writes."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import duckdb

MEMORY_LIMIT = "3GB"


class Engine:
    """A DuckDB connection and its private folder, which goes when the engine goes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cxroi-"))
        self.close = weakref.finalize(self, remove, str(self.folder))
        self._stored = 0
        self.connection = duckdb.connect(
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(self.folder / "spill"),
                "autoinstall_known_extensions": False,
            }
        )
        self.connection.execute("SET TimeZone = 'UTC'")

    def next_name(self) -> str:
        """Name for the next stored intermediate result."""
        self._stored += 1
        return f"stored_{self._stored}"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        return self.connection.execute(query).fetchall()


def remove(folder: str) -> None:
    """Remove a private folder."""
    shutil.rmtree(folder, ignore_errors=True)
