"""Where and why a notebook stopped, and what to do next, in words for those who do not read code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cxroi import errors
from cxroi.language import Language
from cxroi.report.notebook import Cell, Notebook, code_cells, joined

LAST_LINES = 8
LINE_LENGTH = 200
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_HEADING = re.compile(r"^(#{1,4})\s+(.+?)\s*$", re.MULTILINE)
_OURS = frozenset(name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception))
KINDS: Mapping[str, str] = {
    "FileNotFoundError": "file",
    "PermissionError": "file",
    "MemoryError": "memory",
    "ModuleNotFoundError": "package",
    "ImportError": "package",
}


@dataclass(frozen=True)
class Stop:
    """What the page of a notebook that failed says first.

    Attributes
    ----------
    question, part : str
        Title of the notebook, and the heading above the cell; empty where there is none.
    place : str
        Which cell of how many.
    message : str
        What happened.
    lines : tuple of str
        The last lines that were written before it stopped.
    steps : tuple of str
        What to do next, in order.
    """

    question: str
    part: str
    place: str
    message: str
    lines: tuple[str, ...]
    steps: tuple[str, ...]


def stop_of(
    notebook: Notebook,
    *,
    name: str,
    reason: str,
    message: str,
    cell: int,
    parameters: Mapping[str, Any],
    language: Language,
) -> Stop:
    """Describe a stop.

    Parameters
    ----------
    notebook
        As far as it was executed.
    name
        Like ``03_retention``.
    reason
        ``error``, ``killed`` or ``timeout``.
    message
        What happened, in words.
    cell
        Which code cell had started last, from 1; 0 for none.
    parameters
        What the notebook was given, for the commands to try next: ``dataset``, ``quarter``, ``lang``.
    """
    cells = code_cells(notebook)
    at = cells[min(cell, len(cells)) - 1] if cell and cells else None
    error = _error_of(cells if at is None else [at])
    kind = reason if reason != "error" else "input" if error[0] in _OURS else KINDS.get(error[0], "other")
    values = {
        "check": f"cxroi check {shlex.quote(str(parameters['dataset']))}",
        "again": _run_command(parameters),
        "one": f"{_run_command(parameters)} --only {name.partition('_')[0]} --out reports/trial",
    }
    steps = [language.text(f"stopped.step.{key}", **_needed(key, values)) for key in _STEPS[kind]]
    question, part = _headings(notebook, at)
    return Stop(
        question=question or language.text(f"notebook.{name}"),
        part=part,
        place=language.text("stopped.place", cell=str(cell), cells=str(len(cells))),
        message=f"{message}\n{language.text(f'stopped.kind.{kind}')}",
        lines=_last_lines(error[1] or _written(cells[:cell])),
        steps=tuple(steps),
    )


_STEPS: Mapping[str, tuple[str, ...]] = {
    "input": ("read", "check", "again"),
    "file": ("file", "check", "again"),
    "memory": ("memory", "one"),
    "killed": ("memory", "one"),
    "timeout": ("time", "one"),
    "package": ("package", "again"),
    "other": ("check", "one", "report"),
}
_COMMANDS: Mapping[str, str] = {"check": "check", "again": "again", "one": "one", "memory": "again", "time": "again"}


def _needed(step: str, commands: Mapping[str, str]) -> dict[str, str]:
    return {"command": commands[_COMMANDS[step]]} if step in _COMMANDS else {}


def _run_command(parameters: Mapping[str, Any]) -> str:
    """The run as it was asked for, but for what a parameter of one notebook said."""
    words = ["cxroi", "run", shlex.quote(str(parameters["dataset"]))]
    words += [f"--quarter {parameters['quarter']}"] if parameters.get("quarter") else []
    words += [f"--lang {parameters['lang']}"] if parameters.get("lang", "en") != "en" else []
    return " ".join(words)


def _error_of(cells: Sequence[Cell]) -> tuple[str, list[str]]:
    """Name of the error that a cell ended with, and its lines; empty where it ended without one."""
    for cell in reversed(cells):
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                return str(output["ename"]), _COLOUR.sub("", "\n".join(output["traceback"])).splitlines()
    return "", []


def _written(cells: Sequence[Cell]) -> list[str]:
    streams = [each for cell in cells for each in cell.get("outputs", []) if each["output_type"] == "stream"]
    return [line for each in streams for line in _COLOUR.sub("", joined(each["text"])).splitlines()]


def _last_lines(lines: Sequence[str]) -> tuple[str, ...]:
    filled = [line.rstrip() for line in lines if line.strip(" -")]
    return tuple(line[:LINE_LENGTH] + (" …" if len(line) > LINE_LENGTH else "") for line in filled[-LAST_LINES:])


def _headings(notebook: Notebook, at: Mapping[str, Any] | None) -> tuple[str, str]:
    """Heading of level 1, and the last one below it before a cell."""
    question, part = "", ""
    for cell in notebook["cells"]:
        if cell is at:
            break
        if cell["cell_type"] == "markdown":
            for level, words in _HEADING.findall(cell["source"]):
                question, part = (words, "") if level == "#" else (question, words)
    return question, part
