"""Notebooks as plain JSON: read, given another language, and made free of everything that changes from run to run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cxroi.errors import InputError

Notebook = dict[str, Any]
Cell = dict[str, Any]

RICH = ("text/html", "image/svg+xml", "image/png", "text/markdown", "text/latex")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,16}\b")
_CELL_FILE = re.compile(r"[^\s\"']*ipykernel_\d+[/\\]\d+\.py")


def read_notebook(path: Path) -> Notebook:
    """Notebook of a file, sources and texts joined to one string each.

    Raises
    ------
    InputError
        If the file is missing or is no notebook of format 4.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"notebook {path.name} is not in {path.parent}") from None
    except ValueError:
        notebook = None
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        raise InputError(f"{path.name} must be a Jupyter notebook (nbformat 4)")
    return {**notebook, "cells": [{**cell, "source": joined(cell.get("source", ""))} for cell in notebook["cells"]]}


def write_notebook(notebook: Notebook, path: Path) -> None:
    """Write a notebook with sorted keys, so that equal notebooks are equal bytes."""
    text = json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def translated(notebook: Notebook, texts: Mapping[str, str]) -> Notebook:
    """Notebook with the source of each Markdown cell replaced by the text of its id, where there is one."""
    cells = [
        {**cell, "source": texts.get(cell.get("id", ""), cell["source"])} if cell["cell_type"] == "markdown" else cell
        for cell in notebook["cells"]
    ]
    return {**notebook, "cells": cells}


def canonical(notebook: Notebook) -> Notebook:
    """Notebook as it is published: equal inputs give equal bytes.

    Leaves out times, paths and statuses that the runner noted, widget states, ``text/plain`` beside a richer output;
    joins streams (their pieces arrive by chance); masks memory addresses and the paths of this machine.
    """
    cells = [_cell(cell, number) for number, cell in enumerate(notebook["cells"]) if not _is_marker(cell)]
    kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernelspec, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def tags(cell: Cell) -> list[str]:
    """Tags of a cell."""
    return list(cell.get("metadata", {}).get("tags", []))


def joined(text: str | Iterable[str]) -> str:
    """Text that a notebook stores as one string or as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


def code_cells(notebook: Notebook) -> list[Cell]:
    """Code cells with something in them, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and cell["source"].strip()]


def _is_marker(cell: Cell) -> bool:
    return "papermill-error-cell-tag" in tags(cell)


def _cell(cell: Cell, number: int) -> Cell:
    kept = {name: value for name, value in cell.get("metadata", {}).items() if name in ("alt", "tags", "jupyter")}
    source = joined(cell["source"])
    clean: Cell = {"cell_type": cell["cell_type"], "id": _id(cell, number, source), "metadata": kept, "source": source}
    if cell["cell_type"] == "code":
        clean["execution_count"] = cell.get("execution_count")
        clean["outputs"] = _outputs(cell.get("outputs", []))
    if cell.get("attachments"):
        clean["attachments"] = cell["attachments"]
    return clean


def _id(cell: Cell, number: int, source: str) -> str:
    if "injected-parameters" in tags(cell):
        return "injected-parameters"
    return str(cell.get("id") or hashlib.sha256(f"{number}\n{source}".encode()).hexdigest()[:8])


def _outputs(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    streams = [
        {"name": name, "output_type": "stream", "text": masked(text)}
        for name in ("stdout", "stderr")
        if (text := "".join(joined(o["text"]) for o in outputs if o["output_type"] == "stream" and o["name"] == name))
    ]
    return streams + [_output(output) for output in outputs if output["output_type"] != "stream"]


def _output(output: dict[str, Any]) -> dict[str, Any]:
    if output["output_type"] == "error":
        return {
            "ename": output["ename"],
            "evalue": masked(output["evalue"]),
            "output_type": "error",
            "traceback": [masked(line) for line in output["traceback"]],
        }
    data = output.get("data", {})
    is_rich = any(media in data for media in RICH)
    kept = {media: _content(media, content) for media, content in data.items() if media != "text/plain" or not is_rich}
    return {**output, "data": kept}


def _content(media: str, content: Any) -> Any:
    if media.startswith("image/") and media != "image/svg+xml":
        return joined(content).strip()
    if media.startswith("text/") or media == "image/svg+xml":
        return masked(joined(content))
    return content


def masked(text: str) -> str:
    """Text without memory addresses and without the paths of this machine.

    Examples
    --------
    >>> masked("<object at 0x7f1c2a3b4d50>")
    '<object at 0x…>'
    """
    text = _CELL_FILE.sub("cell", _ADDRESS.sub("0x…", text))
    for folder, name in ((os.getcwd(), "."), (sys.prefix, "python"), (os.path.expanduser("~"), "~")):
        if len(folder) > 3:
            text = re.sub(rf"(?<![\w/\\]){re.escape(folder)}(?=[/\\\s\"':),]|$)", name, text)
    return text
