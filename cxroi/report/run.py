"""A run: all notebooks with checked parameters into one folder, written whole or not at all.

The folder is written beside its place and renamed into it when everything is done. A run that fails leaves an earlier
one untouched and its own remains in ``<out>.failed``. Whether a notebook failed is known from what was raised while it
ran, never from the notebook's metadata: a killed kernel leaves "completed" there.

``manifest.json`` says what went in and what happened. Everything in a run's folder is a function of its inputs, except
the manifest's key ``timing``.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from cxroi.errors import CxroiError, InputError, InvalidParameters, NotebookFailed
from cxroi.language import Code, Language, catalogue
from cxroi.report.folder import MANIFEST, is_interrupt, put_in_place, relative, workspace
from cxroi.report.html import render_notebook, without_links
from cxroi.report.kernel import DeadKernelError, PapermillExecutionError, Watch, execute
from cxroi.report.notebook import (
    Notebook,
    canonical,
    code_cells,
    masked,
    read_notebook,
    tags,
    translated,
    write_notebook,
)
from cxroi.report.parameters import MODELS, assign_parameters, select_notebooks
from cxroi.report.resume import (
    code_sha256,
    inputs_sha256,
    outputs_sha256,
    reads_only_its_folder,
    reusable,
    take_over,
)
from cxroi.report.stopped import stop_of

Reason = Literal["error", "killed", "timeout"]
MESSAGE_LENGTH = 500  # characters of an error that a manifest and a terminal show
INDEX = "index.html"  # the report, which `Execution.finish` writes


@dataclass(frozen=True)
class Progress:
    """What a notebook is doing: ``cell`` of its ``cells`` code cells has started, ``seconds`` after its start.

    ``reused``: its inputs are those of an earlier run, whose pages were taken over.
    """

    notebook: str
    state: Literal["started", "cell", "done", "failed", "reused"]
    cell: int
    cells: int
    seconds: float


@dataclass(frozen=True)
class NotebookRun:
    """How a notebook ended; ``reason``, ``cell`` (as JupyterLab numbers it) and ``message`` say how it failed."""

    notebook: str
    status: Literal["done", "failed"]
    seconds: float
    reason: Reason | None = None
    cell: int | None = None
    message: str = ""


OnProgress = Callable[[Progress], None]
Finish = Callable[[Path, Mapping[str, Any]], Mapping[str, Any]]
Prepare = Callable[[Mapping[str, Any]], Finish]


@dataclass(frozen=True)
class Execution:
    """How notebooks are executed; nothing here changes a number.

    Parameters
    ----------
    only
        Beginnings of the names of the notebooks to run, like ``03``; none: all.
    jobs
        Notebooks at a time.
    timeout_seconds
        Time limit of each notebook.
    on_progress
        Told what happens, from the threads in which it happens.
    notebooks
        Folder of the notebooks; by default ``notebooks`` in the working directory or beside the package.
    finish
        Called with the folder and the manifest when all notebooks are done; writes the report and the tables of the
        run into the folder and returns what the manifest shall say more.
    prepare
        Called before a kernel starts with what is known of the run: ``parameters`` (those that all notebooks share,
        ``case`` and ``draws``), ``inputs`` and the names of the ``notebooks``; refuses wrong input and gives the
        ``finish`` of this run.
    fresh
        Run every notebook, also those whose inputs are equal to those of the run that is replaced, or of a failed one's
        remains.
    """

    only: tuple[str, ...] = ()
    jobs: int = 2
    timeout_seconds: float = 1800
    on_progress: OnProgress | None = None
    notebooks: Path | None = None
    finish: Finish | None = None
    prepare: Prepare | None = None
    fresh: bool = False


def run(
    dataset: str | Path,
    *,
    quarter: str = "",
    case: str | Path = "",
    out: str | Path | None = None,
    lang: Code = "en",
    parameters: Mapping[str, object] | None = None,
    execution: Execution | None = None,
) -> Path:
    """Run the notebooks over a data set into a folder and return the folder.

    Parameters
    ----------
    dataset
        Folder of the data set.
    quarter
        Last quarter to report, like ``2026Q3``; empty: the last complete one.
    case
        Investment case; empty: ``case.yaml`` or ``case.xlsx`` beside ``dataset.yaml``.
    out
        Folder of the run, ``reports/<name of the data set>`` by default. An earlier run there is replaced on success, but
        not one that holds further notebooks.
    parameters
        Further parameters of the notebooks, each given to those that take it.

    Raises
    ------
    InputError
        If the input is wrong; no kernel has started then.
    NotebookFailed
        If a notebook raised, was killed or took too long; the others have run, the remains are in ``<out>.failed``.
    """
    how = execution or Execution()
    names = select_notebooks(how.only)
    stated = {"dataset": relative(dataset), "quarter": quarter, "case": relative(case) if case else "", "lang": lang}
    values = _merged({name: value for name, value in stated.items() if value}, parameters or {}, names)
    assigned = assign_parameters(names, values)
    common = next(iter(assigned.values()))
    folder, case_file = _existing_folder(common["dataset"]), _existing_file(str(values.get("case", stated["case"])))
    target = _target(Path(out) if out else Path("reports", folder.resolve().name), folder)
    _refuse_narrower(target, names)
    sources = notebook_files(names, how.notebooks)

    timing: dict[str, float] = {}
    started_at = dt.datetime.now(dt.UTC)
    with workspace(target) as work:
        with _timed(timing, "inputs"):
            inputs = hash_inputs(folder, case_file)
        finish = how.finish
        if how.prepare is not None:
            with _timed(timing, "prepare"):
                finish = how.prepare({"parameters": _shared(assigned, case_file), "inputs": inputs, "notebooks": names})
        keys = _keys(sources, assigned, inputs, _input_name(case_file, folder) if case_file else "")
        earlier = {} if how.fresh or not reads_only_its_folder(folder) else reusable((target, _failed(target)), keys)
        ended = {name: _taken_over(name, earlier[name], work, how.on_progress or _ignore) for name in earlier}
        left = [source for source in sources if source.stem not in ended]
        wanted = {name for source in left for name in assigned[source.stem]}
        if left:
            fresh = run_notebooks(
                left,
                parameters={name: value for name, value in values.items() if name in wanted},
                out=work,
                jobs=how.jobs,
                lang=common["lang"],
                timeout_seconds=how.timeout_seconds,
                on_progress=how.on_progress,
                pages=names,
            )
            timing |= {each.notebook: each.seconds for each in fresh}
            ended |= {each.notebook: each for each in fresh}
        runs = [ended[name] for name in names]
        manifest: dict[str, Any] = {
            "status": "failed" if any(each.status == "failed" for each in runs) else "done",
            "parameters": assigned,
            "seed": common["seed"],
            "inputs": inputs,
            "notebooks": {
                each.notebook: _record(each, source) | _fingerprints(each, keys, work)
                for each, source in zip(runs, sources, strict=True)
            },
            "versions": _versions(),
            "code_sha256": code_sha256(),
            "git": _git(),
        }
        error: Exception | None = _failure(runs, target)
        if error is None and finish is not None:
            with _timed(timing, "finish"):
                manifest, error = _finished(finish, work, manifest)
        timing["total"] = (dt.datetime.now(dt.UTC) - started_at).total_seconds()
        manifest["timing"] = {
            "started_at": started_at.isoformat(timespec="seconds"),
            "seconds": _rounded(timing),
            "reused": sorted(earlier),
        }
        _write_manifest(manifest, work)
        put_in_place(work, _failed(target) if error is not None else target)
    if error is not None:
        raise error
    shutil.rmtree(_failed(target), ignore_errors=True)
    return target


def run_notebooks(
    notebooks: Sequence[Path],
    *,
    parameters: Mapping[str, object],
    out: Path,
    jobs: int,
    lang: Code,
    timeout_seconds: float,
    on_progress: OnProgress | None = None,
    pages: Sequence[str] = (),
) -> tuple[NotebookRun, ...]:
    """Run notebooks into executed notebooks and pages in a folder; one that fails does not stop the others.

    Parameters
    ----------
    notebooks
        Files named like the notebooks of the suite (``03_retention.ipynb``).
    parameters
        Values for all of them, each given to those that take it.
    out
        Folder that exists.
    jobs
        Notebooks at a time.
    lang
        Language of the prose and of the pages.
    timeout_seconds
        Time limit of each notebook, over all cells.
    pages
        Further notebooks whose pages are in the folder; links to pages that are not become plain words.

    Raises
    ------
    InputError
        If parameters or notebooks are wrong; no kernel has started then.
    """
    if jobs < 1:
        raise InvalidParameters(f"jobs must be at least 1; got {jobs}")
    if timeout_seconds <= 0:
        raise InvalidParameters(f"the time limit must be more than 0 seconds; got {timeout_seconds}")
    assigned = assign_parameters([path.stem for path in notebooks], {**parameters, "lang": lang})
    sources = [_prepared(path, lang) for path in notebooks]
    watches: list[Watch] = []
    interrupted = threading.Event()
    there = {*pages, *(path.stem for path in notebooks)}
    absent = [name for name in MODELS if name not in there]

    def tell(progress: Progress) -> None:
        if on_progress is not None and not interrupted.is_set():  # one that is stopped did not fail
            on_progress(progress)

    def start(path: Path, source: Notebook) -> NotebookRun:
        watch = Watch(timeout_seconds)
        watches.append(watch)
        if interrupted.is_set():
            watch.stop()
        return _run_notebook(
            source,
            path.stem,
            parameters=assigned[path.stem],
            out=out,
            watch=watch,
            limit=timeout_seconds,
            tell=tell,
            absent=absent,
        )

    with ThreadPoolExecutor(max_workers=jobs) as threads:
        futures = [threads.submit(start, path, source) for path, source in zip(notebooks, sources, strict=True)]
        try:
            return tuple(future.result() for future in futures)
        except BaseException:
            interrupted.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for watch in watches:
                watch.stop()
            raise


def notebook_files(names: Sequence[str], folder: Path | None = None) -> list[Path]:
    """Files of the notebooks, in the folder or, by default, in the working directory's or beside the package.

    Raises
    ------
    InputError
        If one is missing.
    """
    folders = [folder] if folder else [Path("notebooks"), Path(__file__).resolve().parents[2] / "notebooks"]
    for each in folders:
        files = [each / f"{name}.ipynb" for name in names]
        if all(file.is_file() for file in files):
            return files
    missing = [name for name in names if not (folders[-1] / f"{name}.ipynb").is_file()]
    raise InputError(
        f"the notebooks must be in a folder 'notebooks'; {len(missing)} of {len(names)} are missing "
        f"(first: {missing[0]}.ipynb). Run from the project's folder."
    )


def hash_inputs(dataset: Path, case: Path | None = None) -> list[dict[str, Any]]:
    """Name, size and SHA-256 of each file of a data set and of the case, sorted by name."""
    files = {path.relative_to(dataset).as_posix(): path for path in dataset.rglob("*") if _is_input(path, dataset)}
    if case is not None:
        files.setdefault(_input_name(case, dataset), case)
    names = sorted(files)
    return [{"file": name, "bytes": files[name].stat().st_size, "sha256": _sha256(files[name])} for name in names]


def _run_notebook(
    source: Notebook,
    name: str,
    *,
    parameters: dict[str, Any],
    out: Path,
    watch: Watch,
    limit: float,
    tell: OnProgress,
    absent: Sequence[str],
) -> NotebookRun:
    began = time.monotonic()
    cells = len(code_cells(source)) + 1  # and the injected parameters
    count = 0

    def report(state: Literal["started", "cell", "done", "failed"]) -> None:
        tell(Progress(name, state, count, cells, time.monotonic() - began))

    def on_cell(_: int) -> None:
        nonlocal count
        count += 1
        report("cell")

    report("started")
    with tempfile.TemporaryDirectory(prefix="cxroi") as scratch:
        files = [os.path.join(scratch, part) for part in ("source.ipynb", "result.ipynb")]
        write_notebook(source, Path(files[0]))
        error: Exception | None = None
        try:
            execute(files[0], files[1], parameters=parameters, watch=watch, on_cell=on_cell)
        except Exception as raised:  # whatever it was, it is this notebook's failure and the others go on
            error = raised
        finally:
            watch.close()
        result = Path(files[1]) if os.path.exists(files[1]) else Path(files[0])
        notebook = canonical(read_notebook(result))
    reason, message = _diagnosis(error, notebook, watch)
    if reason is not None:
        message = _said(Language(parameters["lang"]), reason, name=name, cell=count, seconds=limit, message=message)
    language = Language(parameters["lang"])
    stop = None
    if reason is not None:
        stop = stop_of(
            notebook,
            name=name,
            reason=reason,
            message=message,
            cell=count,
            parameters=parameters,
            language=language,
        )
    write_notebook(notebook, out / f"{name}.ipynb")
    page = render_notebook(
        notebook,
        title=language.text(f"notebook.{name}"),
        lang=parameters["lang"],
        failure=message,
        back="" if message else INDEX,
        stop=stop,
    )
    (out / f"{name}.html").write_text(without_links(page, absent), encoding="utf-8", newline="\n")
    report("done" if reason is None else "failed")
    seconds = time.monotonic() - began
    if reason is None:
        return NotebookRun(name, "done", seconds)
    return NotebookRun(name, "failed", seconds, reason, count, message)


def _diagnosis(error: Exception | None, notebook: Notebook, watch: Watch) -> tuple[Reason | None, str]:
    if error is None:
        expected = [cell for cell in code_cells(notebook) if "skip-execution" not in tags(cell)]
        is_whole = all(cell["execution_count"] is not None for cell in expected)
        return (None, "") if is_whole else ("error", "SystemExit: it left before its last cell")
    if watch.expired:
        return "timeout", ""
    if isinstance(error, PapermillExecutionError):
        return "error", f"{error.ename}: {error.evalue}"
    if isinstance(error, DeadKernelError) or "Kernel died" in str(error):  # while it ran, or while it started
        return "killed", ""
    return "error", f"{type(error).__name__}: {error}"


def _said(language: Language, reason: Reason, *, name: str, cell: int, seconds: float, message: str) -> str:
    values = {"notebook": name, "cell": str(cell)}
    if reason == "error":
        short = masked(message).strip()
        values["message"] = short if len(short) <= MESSAGE_LENGTH else short[:MESSAGE_LENGTH] + " …"
    elif reason == "timeout":
        values["seconds"] = language.number(seconds, 0 if float(seconds).is_integer() else 1)
    return language.text(f"failure.{reason}", **values)


def _prepared(path: Path, lang: Code) -> Notebook:
    notebook = read_notebook(path)
    if not any("parameters" in tags(cell) for cell in notebook["cells"]):
        raise InputError(f"{path.name} must have a cell tagged 'parameters'; it has none")
    if lang == "en":
        return notebook
    start = f"{path.stem}."
    texts = catalogue(f"notebooks_{lang}")
    return translated(notebook, {key.removeprefix(start): texts[key] for key in texts if key.startswith(start)})


def _merged(stated: dict[str, object], given: Mapping[str, object], names: list[str]) -> dict[str, object]:
    twice = [name for name in given if name in stated and name != "lang" and given[name] != stated[name]]
    if twice:
        raise InvalidParameters(
            f"{twice[0]} must be stated once; it is {stated[twice[0]]!r} and, as a parameter, {given[twice[0]]!r}"
        )
    takes_case = any("case" in MODELS[name].model_fields for name in names)
    return {name: value for name, value in {**stated, **given}.items() if name != "case" or takes_case or name in given}


def _shared(assigned: Mapping[str, Mapping[str, Any]], case: Path | None) -> dict[str, Any]:
    """Parameters behind the whole run: those of every notebook, and of the case where it is run."""
    every = [set(values) for values in assigned.values()]
    shared = {name: next(iter(assigned.values()))[name] for name in sorted(set.intersection(*every))}
    draws = {name: values[name] for values in assigned.values() for name in ("draws",) if name in values}
    return {**shared, **draws, "case": str(case) if case else ""}


def _failure(runs: Sequence[NotebookRun], target: Path) -> CxroiError | None:
    failed = [each for each in runs if each.status == "failed"]
    if not failed:
        return None
    messages = [each.message for each in failed]
    pages = [
        f"Read where and why, and what to do next: {relative(_failed(target))}/{each.notebook}.html" for each in failed
    ]
    return NotebookFailed(failed[0].notebook, str(failed[0].reason), "\n".join([*messages, *pages]))


def _finished(finish: Finish, work: Path, manifest: dict[str, Any]) -> tuple[dict[str, Any], Exception | None]:
    try:
        return {**manifest, **finish(work, manifest)}, None
    except Exception as error:  # recorded in the manifest, then raised
        if is_interrupt(error):
            raise
        said = masked(f"{type(error).__name__}: {error}")
        return {**manifest, "status": "failed", "finish": said[:MESSAGE_LENGTH]}, error


def _record(each: NotebookRun, source: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"status": each.status, "source_sha256": _sha256(source)}
    if each.status == "failed":
        record |= {"reason": each.reason, "cell": each.cell, "message": each.message}
    return record


def _keys(
    sources: Sequence[Path], assigned: Mapping[str, dict[str, Any]], inputs: Sequence[Mapping[str, Any]], case: str
) -> dict[str, str]:
    versions = _versions()
    return {
        source.stem: inputs_sha256(
            source_sha256=_sha256(source),
            parameters=assigned[source.stem],
            inputs=inputs,
            case=case,
            versions=versions,
            pages=[each.stem for each in sources],
        )
        for source in sources
    }


def _fingerprints(each: NotebookRun, keys: Mapping[str, str], work: Path) -> dict[str, str]:
    """What lets a later run take a finished notebook over."""
    if each.status == "failed":
        return {}
    return {"inputs_sha256": keys[each.notebook], "outputs_sha256": outputs_sha256(work, each.notebook)}


def _taken_over(name: str, source: Path, out: Path, tell: OnProgress) -> NotebookRun:
    take_over(name, source, out)
    tell(Progress(name, "reused", 0, 0, 0.0))
    return NotebookRun(name, "done", 0.0)


def _versions() -> dict[str, str]:
    needed = [need for need in metadata.requires("cxroi") or [] if "extra ==" not in need]
    names = ["cxroi", *(re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needed)]
    python = ".".join(str(part) for part in sys.version_info[:3])
    return {"python": python, **{name: metadata.version(name) for name in sorted(names)}}


def _git() -> dict[str, Any] | None:
    commit = _git_says("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "changed": _git_says("status", "--porcelain", "--untracked-files=no") != ""}


def _git_says(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _existing_folder(path: str) -> Path:
    if not Path(path).is_dir():
        raise InputError(f"the data set must be a folder; {path!r} is {'a file' if Path(path).exists() else 'missing'}")
    return Path(path)


def _existing_file(path: str) -> Path | None:
    if path and not Path(path).is_file():
        raise InputError(f"the case must be a file; {path!r} is {'a folder' if Path(path).exists() else 'missing'}")
    return Path(path) if path else None


def _target(out: Path, dataset: Path) -> Path:
    """Place of the run: free, empty, or an earlier run; never a folder that holds anything else."""
    target, here, data = Path(os.path.realpath(out)), Path.cwd().resolve(), dataset.resolve()
    for folder in (target, _failed(target)):
        if folder.exists() and not _is_run(folder):
            raise InputError(
                f"{relative(folder)} must be free or hold an earlier run; it holds something else. Name another."
            )
    if target in (here, data, *here.parents, *data.parents) or data in target.parents:
        raise InputError(
            f"a run can't be written to {relative(target)}: it would touch the data set or the working folder"
        )
    return target


def _refuse_narrower(target: Path, names: Sequence[str]) -> None:
    """A run of some notebooks replaces no run that holds others too."""
    try:
        held = json.loads((target / MANIFEST).read_text(encoding="utf-8"))["notebooks"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    lost = [name for name in MODELS if name in held and name not in names]
    if lost:
        other = f"{relative(target)}-{names[0].partition('_')[0]}"
        raise InputError(
            f"{relative(target)} holds a fuller run: this one would replace it, and {len(lost)} of its pages would be gone "
            f"(first: {lost[0]}). Name another folder with --out {other}, or run all notebooks."
        )


def _is_run(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        return "cxroi" in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["versions"]
    except (OSError, ValueError, KeyError, TypeError):
        return not any(folder.iterdir())


def _failed(target: Path) -> Path:
    return target.with_name(f"{target.name}.failed")


def _write_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    text = json.dumps(manifest, ensure_ascii=False, indent=1, sort_keys=True)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8", newline="\n")


def _input_name(case: Path, dataset: Path) -> str:
    """Name of the case's file among the inputs."""
    return case.relative_to(dataset).as_posix() if dataset in case.parents else relative(case)


def _is_input(path: Path, dataset: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(dataset).parts)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _timed(timing: dict[str, float], step: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    timing[step] = time.monotonic() - began


def _rounded(timing: Mapping[str, float]) -> dict[str, float]:
    return {step: round(seconds, 3) for step, seconds in timing.items()}


def _ignore(progress: Progress) -> None:
    """Hear progress and do nothing."""
