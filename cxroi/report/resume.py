"""What of an earlier run still holds: a notebook whose inputs are equal gives equal bytes, so its pages are taken over."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

from cxroi.report.folder import MANIFEST

SUFFIXES = (".ipynb", ".html")
CASE_FILE = "case.yaml"
NO_CODE = ("__pycache__",)


@cache
def code_sha256() -> str:
    """SHA-256 over every file of the package: its code, messages, templates and fonts."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and not any(part in NO_CODE for part in path.parts):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def environment_sha256() -> str:
    """SHA-256 over name and version of everything that is installed."""
    found = {f"{each.metadata['Name']}=={each.version}" for each in metadata.distributions()}
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def inputs_sha256(
    *,
    source_sha256: str,
    parameters: Mapping[str, Any],
    inputs: Sequence[Mapping[str, Any]],
    case: str,
    versions: Mapping[str, str],
    pages: Sequence[str],
) -> str:
    """SHA-256 over everything that a notebook's pages follow from.

    Parameters
    ----------
    source_sha256
        Of the notebook as committed.
    parameters
        All that it is given.
    inputs
        Files behind the run: ``file, bytes, sha256``. The case's count for those notebooks only that take a case.
    case
        Name of the case's file among them; empty for the one in the data set.
    versions
        Of Python and the packages that the manifest names; the whole environment counts too.
    pages
        Notebooks of the run: a page links to those only.
    """
    cases = () if "case" in parameters else (case or CASE_FILE, CASE_FILE)
    files = [[each["file"], each["sha256"]] for each in inputs if each["file"] not in cases]
    known = [source_sha256, dict(parameters), files, dict(versions), [*pages], code_sha256(), environment_sha256()]
    return hashlib.sha256(json.dumps(known, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def reads_only_its_folder(dataset: Path) -> bool:
    """Whether every table lies in the data set's folder, so that the hashes of its files tell of every change.

    A query may read anything, also a database; a file may be named outside, or hidden, and is not among the inputs then.
    """
    from cxroi.tables.dataset import read_dataset

    declared, faults = read_dataset(dataset)
    if any(path.is_symlink() and path.is_dir() for path in dataset.rglob("*")):
        return False
    sources = [source for source in declared.tables.values() if source is not None]
    return not faults and all(source.sql is None and _is_inside(source.file or "") for source in sources)


def _is_inside(file: str) -> bool:
    parts = PurePosixPath(file.replace("\\", "/"))
    return not parts.is_absolute() and ":" not in file and not any(part.startswith(".") for part in parts.parts)


def reusable(folders: Sequence[Path], keys: Mapping[str, str]) -> dict[str, Path]:
    """Folder of each notebook that is done there with equal inputs and whose files are as they were written.

    Parameters
    ----------
    folders
        Earlier runs, or what is left of failed ones; the first that has a notebook gives it.
    keys
        ``inputs_sha256`` of each notebook.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            records = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["notebooks"]
            for name, key in keys.items():
                record = records.get(name, {})
                is_same = record.get("status") == "done" and record.get("inputs_sha256") == key
                if is_same and name not in found and outputs_sha256(folder, name) == record.get("outputs_sha256"):
                    found[name] = folder
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def outputs_sha256(folder: Path, name: str) -> str:
    """SHA-256 over a notebook's files in a run's folder; empty where one is missing."""
    files = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    if not all(file.is_file() for file in files):
        return ""
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def take_over(name: str, source: Path, out: Path) -> None:
    """Copy a notebook's files from an earlier run."""
    for suffix in SUFFIXES:
        shutil.copyfile(source / f"{name}{suffix}", out / f"{name}{suffix}")
