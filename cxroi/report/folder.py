"""Folders that are written whole or not at all, and paths that name no machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

MANIFEST = "manifest.json"


@contextlib.contextmanager
def workspace(target: Path) -> Iterator[Path]:
    """Folder beside the target, removed unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def put_in_place(folder: Path, target: Path) -> None:
    """Rename a folder into its place; what was there goes only when the new one stands."""
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    was_there = target.exists()
    if was_there:
        target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        if was_there and not target.exists():
            old.rename(target)
        raise
    _remove(old)


def _remove(folder: Path) -> None:
    """Remove a folder, also one that was made read-only."""
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
        for base, names, _ in os.walk(folder):
            for inner in (Path(base, name) for name in names):
                if not inner.is_symlink():
                    inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """File beside a place, moved there in the end, so that nobody reads half of it; that it can be made is known at once."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        unfinished.touch()
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(text: str, path: Path) -> None:
    """Write a text file that nobody reads half of."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def is_interrupt(error: BaseException) -> bool:
    """Whether a query was stopped from outside: DuckDB then raises an error of its own in place of the interrupt's."""
    return isinstance(error, RuntimeError) and str(error) == "Query interrupted"


def relative(path: str | Path) -> str:
    """Path as seen from the working directory, so that no machine's folders are published."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:  # another drive
        return Path(path).as_posix()
