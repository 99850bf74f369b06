"""``reports/index.html``: every run in the folder, the trend of what leads, and how forecasts did; nothing else is touched."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from cxroi import plots
from cxroi.language import Code, Language
from cxroi.plots.formats import with_currency
from cxroi.report import show
from cxroi.report.compare import PAGE, TABLE, day_words, record_words
from cxroi.report.folder import MANIFEST, write_whole
from cxroi.report.html import render_page
from cxroi.report.model import Column, Figure, Table
from cxroi.report.record import read_csv, read_manifest
from cxroi.report.wording import score_words
from cxroi.value.outlook import ACTUAL_COLUMNS, FORECAST_COLUMNS, record, scored

REPORTS = "reports"
MARK = '<meta name="generator" content="cxroi runs">'
_FAILED = ".failed"


@dataclass(frozen=True)
class ListedRun:
    """One run of the list, finished texts; ``address`` leads to its report or to the page of its failure."""

    name: str
    address: str
    is_done: bool
    status: str
    window: str
    lang: str
    made: str
    npv: str
    point: str
    evidence: str
    score: str


@dataclass(frozen=True)
class Company:
    """Runs of one data set: its name, the list, the pictures of the trend, and the record of its forecasts."""

    name: str
    runs: tuple[ListedRun, ...]
    figures: tuple[Figure, ...]
    record: Table | None


@contextlib.contextmanager
def listed(run_folder: str | Path) -> Iterator[None]:
    """Bring the list of runs up to date when a run has ended, also in a failure; that it can't be written stops nobody."""
    reports = Path(os.path.realpath(run_folder)).parent
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # what went wrong in the run is what must be heard
            update_index(reports)
        raise
    with contextlib.suppress(OSError):
        update_index(reports)


def update_index(reports: Path) -> Path | None:
    """Write the list of the runs in a folder named ``reports``; None where it is not called so or the page is not ours."""
    page = reports / PAGE
    if reports.name != REPORTS or not reports.is_dir() or not _is_ours(page):
        return None
    found = manifests(reports)
    if not found and not page.exists():
        return None
    write_whole(runs_page(reports, found), page)
    return page


def manifests(reports: Path) -> dict[str, dict[str, Any]]:
    """Manifest of each run in the folder by the run's name, sorted by the end of their data, their start and their name."""
    folders = [each for each in reports.iterdir() if each.is_dir() and not each.name.startswith(".")]
    found = {each.name: manifest for each in folders if (manifest := read_manifest(each)) and "status" in manifest}
    return dict(sorted(found.items(), key=lambda each: (*_when(each[1]), each[0])))


def runs_page(reports: Path, found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page: in the language of the run that was made last."""
    last = max(found.values(), key=lambda manifest: _when(manifest)[::-1], default={})
    language = Language(_lang(last))
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    for name, manifest in found.items():
        groups.setdefault(_company(manifest), {})[name] = manifest
    companies = [_company_of(reports, name, runs, language) for name, runs in sorted(groups.items())]
    folders = sorted(each.name for each in reports.iterdir() if (each / TABLE).is_file())
    comparisons = [(name, f"{quote(name)}/{PAGE}") for name in folders]
    return render_page(
        "runs.html.j2",
        title=language.text("runs.title"),
        language=language,
        companies=companies,
        comparisons=comparisons,
        mark=MARK,
    )


def _is_ours(page: Path) -> bool:
    if not page.exists():
        return not page.is_symlink()
    try:
        return page.is_file() and MARK in page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _company_of(reports: Path, name: str, runs: Mapping[str, Mapping[str, Any]], language: Language) -> Company:
    listed_runs = tuple(_listed(run, manifest, language) for run, manifest in runs.items())
    done = {run: manifest for run, manifest in runs.items() if manifest.get("status") == "done"}
    currencies = {str(_facts(manifest).get("currency", "")) for manifest in done.values()}
    figures: list[Figure] = []
    if len(currencies) == 1:
        own = with_currency(language, currencies.pop())
        found = [_trend(key, f"{name}-{key}", done, own) for key in ("npv", "point")]
        figures = [figure for figure in found if figure is not None]
    return Company(name, listed_runs[::-1], tuple(figures), _record_of(reports, name, done, language))


def _listed(name: str, manifest: Mapping[str, Any], language: Language) -> ListedRun:
    facts = _facts(manifest)
    figures = _inner(facts, "figures")
    own = with_currency(language, str(facts.get("currency", "")))
    is_done = manifest.get("status") == "done"
    window = _inner(facts, "window")
    return ListedRun(
        name=name.removesuffix(_FAILED) if not is_done else name,
        address=f"{quote(name)}/{PAGE if is_done else _failure_page(manifest)}",
        is_done=is_done,
        status=language.text("runs.done") if is_done else _why_failed(manifest, language),
        window=language.text(
            "format.interval",
            low=day_words(window.get("first"), language),
            high=day_words(window.get("last"), language),
        )
        if window
        else show.EMPTY,
        lang=_lang(manifest),
        made=day_words(str(_inner(manifest, "timing").get("started_at", ""))[:10], language),
        npv=_amount(figures.get("npv"), own, chance=figures.get("p_npv_positive")),
        point=_amount(figures.get("point"), own),
        evidence=_rung(figures.get("evidence") or figures.get("point_evidence"), language),
        score=_score(figures.get("score"), str(facts.get("exposure", "")), own),
    )


def _failure_page(manifest: Mapping[str, Any]) -> str:
    """Page of the first notebook that failed; the manifest where the report itself could not be written."""
    failed = _failed_notebooks(manifest)
    return f"{quote(failed[0])}.html" if failed else MANIFEST


def _failed_notebooks(manifest: Mapping[str, Any]) -> list[str]:
    records = _inner(manifest, "notebooks")
    return [
        str(name) for name, each in sorted(records.items()) if isinstance(each, dict) and each.get("status") == "failed"
    ]


def _why_failed(manifest: Mapping[str, Any], language: Language) -> str:
    failed = _failed_notebooks(manifest)
    if not failed:
        return language.text("runs.failed_report")
    return language.text("runs.failed", notebooks=", ".join(failed))


def _trend(key: str, identity: str, runs: Mapping[str, Mapping[str, Any]], language: Language) -> Figure | None:
    """Picture of a figure over runs, the latest of each end of data; None where fewer than two have it."""
    latest: dict[str, dict[str, Any]] = {}
    for name, manifest in runs.items():
        ends = _inner(_inner(_facts(manifest), "figures"), key)
        if all(isinstance(ends.get(end), float | int) for end in ("low", "median", "high")):
            latest[str(_inner(_facts(manifest), "window").get("last", name))] = {"name": name, **ends}
    if len(latest) < 2:
        return None
    axes = plots.over_runs(
        pd.DataFrame(list(latest.values())), language=language, title=language.text(f"runs.trend.{key}")
    )
    svg = plots.to_svg(axes).encode()
    return Figure(f"trend-{identity}", svg, "image/svg+xml", plots.alt(axes), language.text("runs.caption"))


def _record_of(reports: Path, name: str, runs: Mapping[str, Mapping[str, Any]], language: Language) -> Table | None:
    """How the forecasts of a company's runs did by what its latest run knows; each quarter's last forecast counts once."""
    if len(runs) < 2:
        return None
    *_, latest = runs
    own = with_currency(language, str(_facts(runs[latest]).get("currency", "")))
    actual = _table(reports / latest / "actuals.csv", ACTUAL_COLUMNS)
    made: dict[str, pd.DataFrame] = {}
    for run, manifest in runs.items():
        if _facts(manifest).get("currency") == _facts(runs[latest]).get("currency"):
            made[str(_facts(manifest).get("last_period", ""))] = _table(
                reports / run / "forecast.csv", FORECAST_COLUMNS
            )
    found: list[pd.DataFrame] = [
        scored(forecast, actual) for forecast in made.values() if len(forecast) and len(actual)
    ]
    rows = (
        pd.concat([each for each in found if len(each)], ignore_index=True) if any(map(len, found)) else pd.DataFrame()
    )
    if rows.empty:
        return None
    names = ("measure", "forecasts", "share_covered", "bias", "mean_error", "crps")
    columns = tuple(Column(language.text(f"compare.column.{each}"), each != "measure") for each in names)
    body = tuple(record_words(row, own) for row in record(rows).to_dict("records"))
    return Table(f"record-{name}", language.text("runs.record"), columns, body)


def _table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    found = read_csv(path)
    return found if set(columns) <= set(found.columns) else pd.DataFrame(columns=list(columns))


def _inner(outer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping inside a mapping; empty where it is none."""
    found = outer.get(name)
    return found if isinstance(found, dict) else {}


def _when(manifest: Mapping[str, Any]) -> tuple[str, str]:
    started = str(_inner(manifest, "timing").get("started_at", ""))
    return str(_inner(_facts(manifest), "window").get("last", "")), started


def _facts(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return _inner(manifest, "record")


def _parameters(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    own = _inner(manifest, "parameters")
    return _inner(own, next(iter(own), ""))


def _company(manifest: Mapping[str, Any]) -> str:
    """Name of the data set; a failed run knows only the folder that it was given."""
    dataset = str(_parameters(manifest).get("dataset", ""))
    return str(_facts(manifest).get("company") or Path(dataset).name or show.EMPTY)


def _lang(manifest: Mapping[str, Any]) -> Code:
    return "vi" if _parameters(manifest).get("lang") == "vi" else "en"


def _amount(ends: Any, language: Language, *, chance: Any = None) -> str:
    """Middle and range of an amount, and with what probability it is positive."""
    if not isinstance(ends, dict) or not all(
        isinstance(ends.get(end), float | int) for end in ("low", "median", "high")
    ):
        return show.EMPTY
    interval = show.money_interval(ends["low"], ends["high"], language)
    words = language.text("runs.with_range", value=show.money(ends["median"], language), interval=interval)
    if isinstance(chance, float | int):
        words = language.text("runs.with_chance", value=words, chance=show.chance_words(float(chance), language))
    return words


def _score(ends: Any, metric: str, language: Language) -> str:
    if not isinstance(ends, dict) or not isinstance(ends.get("median"), float | int):
        return show.EMPTY
    return f"{metric.upper()} {score_words(metric, float(ends['median']), language)}"


def _rung(rung: Any, language: Language) -> str:
    return (language.find(f"evidence.{rung}") or show.EMPTY) if rung else show.EMPTY
