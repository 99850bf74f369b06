"""Rooms import rooms below them, never above, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cxroi

PACKAGE = Path(cxroi.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def drawn_floors(root: Path) -> dict[str, int]:
    """Floor of each room, read from the table of the architecture."""
    floors = {}
    for line in (root / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| (\d+) \| ([^|]+) \|", line):
            floors |= {name: int(found[1]) for name in re.findall(r"`(\w+)(?:\.py|/)`", found[2])}
    return floors


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node; a result's ``plot`` is left out, the one place that may reach up, to ``plots``."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.FunctionDef) and child.name == "plot"):
            yield child
            yield from statements(child)


def imported(path: Path) -> Iterator[str]:
    """Full dotted names of everything a file imports, also inside functions and for type checkers."""
    here = [PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1]]
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    parts = (name.split(".") for name in imported(path))
    return {name[1] for name in parts if name[0] == "cxroi" and len(name) > 1 and not name[1].startswith("__")}


def outside(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)} - {"cxroi"}


def identify(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_file_is_in_a_room_of_the_architecture(root: Path) -> None:
    assert {room_of(path) for path in FILES} <= set(drawn_floors(root))


@pytest.mark.parametrize("path", FILES, ids=identify)
def test_imports_go_down(path: Path, root: Path) -> None:
    floors = drawn_floors(root)
    own = floors[room_of(path)]
    rooms = rooms_imported(path) - {room_of(path)}
    wrong = sorted(room for room in rooms if floors.get(room, 99) >= max(own, 1))
    assert wrong == [], f"{identify(path)} (floor {own}) imports {wrong}, which do not lie below it"


@pytest.mark.parametrize(("library", "rooms"), [("statsmodels", {"linkage", "evidence"}), ("papermill", {"report"})])
def test_library_stays_in_its_rooms(library: str, rooms: set[str]) -> None:
    assert {room_of(path) for path in FILES if library in outside(path)} <= rooms


def test_finance_knows_nothing_of_customers() -> None:
    assert rooms_imported(PACKAGE / "case" / "finance.py") <= {"errors"}


def test_a_plot_reaches_up_to_plots_only() -> None:
    plots = [
        ast.unparse(child)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "plot"
        for child in ast.walk(node)
        if isinstance(child, ast.Import | ast.ImportFrom)
    ]
    assert set(plots) <= {"from cxroi import plots", "from matplotlib.axes import Axes"}


def test_no_room_without_a_subject() -> None:
    names = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    assert names.isdisjoint({"utils", "util", "helpers", "base", "manager", "common", "misc"})


def test_public_names_are_the_rooms_own() -> None:
    for name in cxroi.__all__:
        public = getattr(cxroi, name)
        assert callable(public) or name == "simulate", name
        assert (public.__doc__ or "").strip(), name
    assert set(cxroi.__all__) <= set(dir(cxroi))


def test_a_public_name_stays_what_it_is_after_its_room_was_imported() -> None:
    before = {name: getattr(cxroi, name) for name in cxroi.__all__}
    for room in ("tables", "simulate", "scores", "panel", "linkage", "evidence", "value", "case"):
        importlib.import_module(f"cxroi.{room}")
    assert {name: getattr(cxroi, name) for name in cxroi.__all__} == before


def test_unknown_public_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'roi'"):
        _ = cxroi.roi


def test_importing_the_package_imports_no_library() -> None:
    code = "import sys, cxroi; print([m for m in ('pandas', 'numpy', 'narwhals', 'duckdb') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
