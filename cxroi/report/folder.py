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
    except OSError:
        if was_there:
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_whole(text: str, path: Path) -> None:
    """Write a text file beside its place and move it there, so that nobody reads half of it."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def relative(path: str | Path) -> str:
    """Path as seen from the working directory, so that no machine's folders are published."""
    try:
        return Path(os.path.relpath(path)).as_posix()
    except ValueError:  # another drive
        return Path(path).as_posix()
