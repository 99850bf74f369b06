"""The commands: parse, call, print. Rooms are imported inside a command, so that ``cxroi --help`` costs nothing."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxroi import __version__
from cxroi.errors import CxroiError, InputError
from cxroi.report.folder import is_interrupt

if TYPE_CHECKING:
    from cxroi.tables import Tables, Violation

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="What better customer experience is worth: from survey answers and transactions to an honest business case.",
)

Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder with the tables (and dataset.yaml).")]
Quarter = Annotated[
    str | None, typer.Option(metavar="Q", help="Last quarter to use, like 2026Q3; else the last complete one.")
]


_INTERRUPTED = 128 + signal.SIGINT
_STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 2 the input is wrong, 1 our fault, 128 + its number after a signal."""
    # fits divide their rows among threads of their own; more threads within each product only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal can't show is spelled out
            stream.reconfigure(errors="backslashreplace")
    with _stopped_in_order() as heard:
        try:
            app(args=None if arguments is None else list(arguments), prog_name="cxroi")
        except SystemExit as done:
            code = done.code if isinstance(done.code, int) else int(done.code is not None)
        except InputError as error:
            _complain(str(error))
            return 2
        except CxroiError as error:
            _complain(str(error))
            return 1
        except Exception as error:  # the last resort: whatever it is, no traceback on the user's screen
            if isinstance(error, OSError) and error.errno in _NO_PLACE:
                _complain(f"{error.filename}: {error.strerror}. Name a file or folder that can be read or written.")
                return 2
            if not is_interrupt(error):
                _complain(_our_fault(error))
                return 1
            code = 128 + heard[0] if heard else _INTERRUPTED
        else:
            code = 0
    if code in (_INTERRUPTED, *(128 + number for number in _STOPS)):
        _complain("Stopped.")
    return code


@contextmanager
def _stopped_in_order() -> Iterator[list[int]]:
    """Leave by an exception when the system asks to stop, so that kernels and private folders go; gives what was heard."""
    heard: list[int] = []

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        heard.append(number)
        sys.exit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    asked = [number for number in _STOPS if is_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in asked:
        signal.signal(number, stop)
    try:
        yield heard
    finally:
        for number in asked:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def _said_when_stopped(words: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) or is_interrupt(error):
            _complain(words)
        raise


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxroi {__version__}")
        raise typer.Exit


@app.callback()
def _cxroi(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder, like data/mine.")],
    lang: Annotated[Literal["vi", "en"], typer.Option(help="Language of the explanations.")] = "en",
) -> None:
    """Make a company's own folder: settings to fill in, what goes where, empty tables."""
    from cxroi.report.scaffold import scaffold

    typer.echo(_plain(str(scaffold(folder, lang=lang) / "README.md")))


@app.command()
def check(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="Folder with the tables (and dataset.yaml); or a case to check.")
    ],
) -> None:
    """List every violation of the contract, or every fault of a case file."""
    from cxroi.tables import check_tables, read_tables

    if dataset.is_file():
        if dataset.name == "dataset.yaml" or dataset.suffix.lower() not in (".yaml", ".yml", ".xlsx"):
            raise InputError(
                f"check takes the folder of a data set, or a case (.yaml or .xlsx); {dataset.name} is neither. "
                f"Give the folder: cxroi check {shlex.quote(str(dataset.parent))}"
            )
        _check_case(dataset)
        return
    violations = check_tables(dataset)
    errors = [violation for violation in violations if violation.severity == "error"]
    notices = [violation for violation in violations if violation.severity != "error"]
    _show([*_listed("Violations", errors), *_listed("Worth knowing", notices)])
    if errors:
        raise typer.Exit(2)
    _show(["No violations. Read:", *_read(read_tables(dataset))])


@app.command()
def estimate(
    dataset: Dataset,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where the estimates go.")],
    quarter: Quarter = None,
) -> None:
    """Write all standard linkage estimates."""
    from cxroi.panel import build_panel
    from cxroi.report.folder import whole_file
    from cxroi.tables import read_tables
    from cxroi.value import estimates_table, write_estimates

    tables = read_tables(dataset)
    _refuse_place(out, dataset, tables)
    with whole_file(out) as unfinished:
        panel = build_panel(tables, last_period=quarter)
        del tables  # and with them what the engine holds
        found = estimates_table(panel)
        write_estimates(found, str(unfinished))
    typer.echo(f"{len(found)} rows in {_plain(str(out))}")


@app.command()
def run(
    dataset: Dataset,
    quarter: Quarter = None,
    case: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Investment case; else case.yaml or case.xlsx beside dataset.yaml."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder; else reports/NAME of the data set.")
    ] = None,
    lang: Annotated[Literal["vi", "en"], typer.Option(help="Language of the report.")] = "en",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A notebook parameter; may be repeated."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="03", help="Only this notebook; may be repeated.")] = None,
    formats: Annotated[
        str, typer.Option(metavar="LIST", help="Documents beside HTML, commas between: html,pdf,xlsx,pptx.")
    ] = "html,pdf",
    audience: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A leader who gets a pack: board, cfo, marketing, ...; may be repeated; else all."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="Notebooks run at once.")] = 2,
    timeout_seconds: Annotated[int, typer.Option(min=1, metavar="S", help="Time limit of one notebook.")] = 1800,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run every notebook, also those that did not change.")] = False,
) -> None:
    """Run all notebooks into a finished report folder."""
    from functools import partial

    from cxroi.case.read import case_beside, case_notices
    from cxroi.report.documents import Documents, formats_of
    from cxroi.report.executive import prepare_report
    from cxroi.report.progress import shown, steps
    from cxroi.report.run import Execution
    from cxroi.report.run import run as run_report
    from cxroi.report.runs_index import listed

    stated = case or case_beside(dataset)
    _show(case_notices(stated) if stated and stated.is_file() else ())
    documents = Documents(formats_of(formats), tuple(audience or ()))
    unwritten = _said_when_stopped("The run was stopped: nothing was written, and an earlier run is as it was.")
    with unwritten, listed(out or Path("reports", dataset.resolve().name)), shown(typer.echo) as tell:
        folder = run_report(
            dataset,
            quarter=quarter or "",
            case=case or "",
            out=out,
            lang=lang,
            parameters=_assignments(parameter or []),
            execution=Execution(
                only=tuple(only or ()),
                jobs=jobs,
                timeout_seconds=timeout_seconds,
                on_progress=tell,
                prepare=partial(prepare_report, documents=documents),
                fresh=fresh,
            ),
        )
    for line in steps(folder):
        typer.echo(line)
    typer.echo(_plain(str(folder / "index.html")))


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of another one, earlier or later.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it goes; else compare-A-B beside the later run.")
    ] = None,
    lang: Annotated[Literal["vi", "en"], typer.Option(help="Language of the page.")] = "en",
) -> None:
    """Say what changed between two runs, and why."""
    from cxroi.report.compare import compare as compare_runs
    from cxroi.report.runs_index import update_index

    folder = compare_runs(first, second, out=out, lang=lang)
    update_index(folder.parent)
    typer.echo(_plain(str(folder / "index.html")))


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder; the truth goes to a file beside it.")],
    world: Annotated[str, typer.Option(metavar="NAME", help="What is true in it: clean, null, reverse, ...")] = "clean",
    customers: Annotated[int, typer.Option(min=1, metavar="N", help="Customers in all.")] = 3000,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Same seed, same company.")] = 1,
    quarters: Annotated[int, typer.Option(min=2, metavar="N", help="Quarters of data.")] = 8,
    file_format: Annotated[
        Literal["parquet", "csv", "mixed"], typer.Option("--format", help="Kind of files.")
    ] = "parquet",
    orders_per_quarter: Annotated[float, typer.Option(metavar="X", help="Mean orders of a customer a quarter.")] = 2.0,
) -> None:
    """Make a company whose truth is known."""
    from cxroi.simulate import simulate as make_company

    truth = make_company(
        folder,
        world=world,
        customers=customers,
        seed=seed,
        quarters=quarters,
        file_format=file_format,
        orders_per_quarter=orders_per_quarter,
    )
    typer.echo(f"{_plain(str(folder))}: {customers} customers. Truth: {_plain(str(truth))}")


@app.command()
def template(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Workbook to write (.xlsx); with --case also .yaml.")],
    lang: Annotated[Literal["vi", "en"], typer.Option(help="Language of the workbook.")] = "en",
    case: Annotated[Path | None, typer.Option(metavar="FILE", help="Case to fill it with: .yaml or .xlsx.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the workbook for an investment case, empty or from a case; or turn a workbook into case.yaml."""
    kind = file.suffix.lower()
    if kind not in (".xlsx", ".yaml", ".yml") or (case is None and kind != ".xlsx"):
        needs = "" if kind not in (".yaml", ".yml") else " A .yaml file is written from a case: add --case FILE."
        raise InputError(
            f"the file to write must end in .xlsx; got {file.name!r}.{needs} Write, for example, case.xlsx."
        )
    if file.exists() and not force:
        raise InputError(f"{file} is there already. Name another file, or replace it with --force.")
    from cxroi.case.as_yaml import case_yaml
    from cxroi.case.read import case_notices, read_case
    from cxroi.case.workbook import write_case_workbook, write_template

    stated = None if case is None else read_case(case)
    file.parent.mkdir(parents=True, exist_ok=True)
    if stated is None:
        write_template(file, lang=lang)
    elif kind == ".xlsx":
        write_case_workbook(stated, file, lang=lang)
    else:
        file.write_text(case_yaml(stated), encoding="utf-8")
    _show(() if case is None else case_notices(case))
    typer.echo(_plain(str(file)))


def _refuse_place(out: Path, dataset: Path, tables: Tables) -> None:
    """Refuse a file that estimates can't be written to, or that would be lost, before anything is estimated."""
    if out.exists() and not out.is_file():
        raise InputError(f"--out must name a file, like estimates.csv; {str(out)!r} is a folder or no plain file.")
    if not out.parent.is_dir():
        raise InputError(f"{out} can't be written: there is no folder {out.parent}. Make it, or name another file.")
    own = [each.path for each in tables.inputs]
    is_own = out.exists() and (dataset.resolve() in out.resolve().parents or any(map(out.samefile, own)))
    if is_own:
        raise InputError(f"{out} is a file of the data set, which would be lost. Name another one, like estimates.csv.")


def _check_case(file: Path) -> None:
    """Say what a case file holds, and what in it is worth knowing."""
    from cxroi.case.read import case_notices, read_case

    case = read_case(file)
    notices = [*case_notices(file), *case.notices]
    _show(["Worth knowing:", *(f"  {notice}" for notice in notices)] if notices else [])
    costs = sum(len(programme.costs) for programme in case.programmes)
    _show([f"No faults. Programmes: {len(case.programmes)}. Lines of costs: {costs}. Months: {case.horizon_months}."])


def _listed(title: str, violations: Sequence[Violation]) -> Iterator[str]:
    """Lines of a list of violations: the sentence, the facts, the repair."""
    if not violations:
        return
    yield f"{title}: {len(violations)}"
    for number, violation in enumerate(violations, start=1):
        yield f"{number:>3}. {violation.message}"
        yield f"     [{', '.join(_facts(violation))}]"
        if violation.repair:
            yield f"     Repair: {violation.repair}"
    yield ""


def _facts(violation: Violation) -> Iterator[str]:
    """Table and column, rule, how many rows, and the first of them with its value."""
    where = ".".join(name for name in (violation.table, violation.column) if name)
    yield from (word for word in (where, violation.rule) if word)
    if violation.count:
        yield f"{violation.count:,} of {violation.total:,} rows"
    if violation.first_row is not None:
        file = f" of {violation.first_file}" if violation.first_file else ""
        value = f": {violation.first_value[:60]!r}" if violation.first_value and not _is_personal(violation) else ""
        yield f"first row {violation.first_row}{file}{value}"


def _is_personal(violation: Violation) -> bool:
    """Whether the value could lead to a person: one of a column that the contract calls so, or does not know."""
    from cxroi.tables.contract import TABLES

    table = TABLES.get(violation.table)
    column = None if table is None else table.column.get(violation.column)
    return column is None or column.personal


def _read(tables: Tables) -> Iterator[str]:
    """Rows that were read, lost and kept, a line per table."""
    for table, rows in tables.accounting.groupby("table", sort=False):
        counts = ", ".join(f"{row.rows:,} {row.reason}" for row in rows.itertuples())
        yield f"  {table:<14}{counts}"


def _show(lines: Sequence[str]) -> None:
    """Print lines to standard output; text from data can neither style nor steer the terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in lines:
        text = _plain(line)
        console.print(Text(text, style="bold" if text and not text.startswith(" ") else ""))


def _plain(line: str) -> str:
    """Spell out control characters, line breaks, and marks that reverse or hide text."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)


def _complain(message: str) -> None:
    for line in message.splitlines():
        typer.echo(_plain(line), err=True)


def _our_fault(error: Exception) -> str:
    """One sentence without the error's own text, which may hold rows of the data."""
    if os.environ.get("CXROI_TRACEBACK") == "1":
        return "".join(traceback.format_exception(error))
    package = Path(__file__).parent
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if package in Path(frame.filename).parents][-1]
    place = f"{Path(own.filename).relative_to(package).as_posix()}, line {own.lineno}"
    return (
        f"cxroi made a mistake of its own ({type(error).__name__} in {place}); your data may be fine. "
        f"Run it again with CXROI_TRACEBACK=1 and report what it prints, with the version ({__version__})."
    )


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    """Notebook parameters from ``name=value``."""
    pairs = [text.partition("=") for text in texts]
    for text, (name, sign, _) in zip(texts, pairs, strict=True):
        if not sign or not name.strip():
            raise InputError(f"-p must be written name=value; got {text!r}. Example: -p horizon_months=36")
    return {name.strip(): value for name, _, value in pairs}


if __name__ == "__main__":
    sys.exit(main())
