"""What a run is doing: one display that lives on a terminal, plain lines in a log, and the time of each step at the end."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxroi.report.folder import MANIFEST

if TYPE_CHECKING:
    from rich.table import Table

    from cxroi.report.run import Progress

LINE_EVERY_SECONDS = 15.0  # of one notebook in a log
BAR = 20
Write = Callable[[str], object]


@contextmanager
def shown(write: Write) -> Iterator[Callable[[Progress], None]]:
    """Something to tell progress to, as `Execution.on_progress` wants it.

    Parameters
    ----------
    write
        Writes one line to standard output; not called on a terminal, where one display is kept up to date instead.
    """
    if not _is_terminal():
        yield Lines(write)
        return
    from rich.console import Console
    from rich.live import Live

    board = Board()
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(get_renderable=board.table, console=console, refresh_per_second=4):
        yield board


class Lines:
    """A line when a notebook starts, is taken over or ends, and in between now and then how far it is."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Write a line, or keep silent."""
        name, taken = f"{progress.notebook:<16}", f"{progress.seconds:6.1f} s"
        with self._lock:
            if progress.state == "started":
                self._write(f"{name}started")
            elif progress.state == "reused":
                self._write(f"{name}unchanged, taken over")
            elif progress.state == "done":
                self._write(f"{name}done    {taken}")
            elif progress.state == "failed":
                self._write(f"{name}failed  {taken}, cell {progress.cell} of {progress.cells}")
            elif progress.seconds - self._last.get(progress.notebook, 0.0) >= LINE_EVERY_SECONDS:
                self._last[progress.notebook] = progress.seconds
                self._write(f"{name}cell {progress.cell} of {progress.cells}, {taken.strip()}")


class Board:
    """A row per notebook: what it is doing, which cell of how many, how long."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[Progress, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Take note."""
        with self._lock:
            self._heard[progress.notebook] = (progress, time.monotonic())

    def table(self) -> Table:
        """The display as it stands now."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, show_header=False)
        with self._lock:
            heard = sorted(self._heard.items())
        for name, (progress, at) in heard:
            is_over = progress.state in ("done", "failed", "reused")
            seconds = progress.seconds if is_over else progress.seconds + time.monotonic() - at
            words, style = _WORDS.get(progress.state, ("running", ""))
            table.add_row(
                Text(name),
                Text(words, style=style),
                Text(_bar(progress)),
                Text("" if progress.state == "reused" else f"cell {progress.cell} of {progress.cells}"),
                Text("" if progress.state == "reused" else f"{seconds:6.1f} s"),
            )
        return table


_WORDS = {"done": ("done", "green"), "failed": ("failed", "bold red"), "reused": ("unchanged, taken over", "dim")}


def _bar(progress: Progress) -> str:
    if progress.state == "reused":
        return ""
    filled = BAR if progress.state == "done" else round(BAR * progress.cell / max(progress.cells, 1))
    return "█" * filled + "░" * (BAR - filled)


def steps(folder: Path) -> Iterator[str]:
    """Lines on how long each step of a finished run took, and what was taken over."""
    try:
        timing: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["timing"]
        seconds = {str(name): float(taken) for name, taken in timing["seconds"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    names = {"inputs": "reading the inputs", "prepare": "checking the inputs", "finish": "writing the report"}
    order = ["inputs", "prepare", *sorted(set(seconds) - {*names, "total"}), "finish"]
    parts = [f"{names.get(name, name)} {seconds[name]:.1f} s" for name in order if name in seconds]
    yield f"Steps: {', '.join(parts)}; in all {seconds.get('total', 0.0):.1f} s"
    if reused := timing.get("reused"):
        yield f"{len(reused)} of the notebooks had unchanged inputs and were taken over; --fresh runs them again."


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"
