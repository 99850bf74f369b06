"""Two runs side by side: what changed, why, and how the earlier one's forecasts did; a page, a table, the record."""

from __future__ import annotations

import datetime as dt
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from cxroi import plots
from cxroi.errors import InputError
from cxroi.language import Code, Language
from cxroi.plots.formats import with_currency
from cxroi.report import show
from cxroi.report.differences import CAUSES, PARTS, WHOLE, Cause, Change, causes_of, changes, figures, why_not_split
from cxroi.report.folder import MANIFEST, put_in_place, relative, workspace
from cxroi.report.html import render_report
from cxroi.report.model import Column, Figure, KeyFigure, Link, Report, Section, Sentence, Table
from cxroi.report.record import RunRecord, read_run, write_table
from cxroi.report.wording import capital, score_size, score_words
from cxroi.spreadsheet import neutral_table
from cxroi.value.outlook import record, scored

PAGE, TABLE, RECORD = "index.html", "compare.csv", "forecast_record.csv"
FILES = frozenset({PAGE, TABLE, RECORD})
MOST_ROWS = 40  # of a table of differences on the page
LEADING = (
    (WHOLE, "npv"),
    ("ltv x {exposure}", "ame"),
    ("retained x {exposure}", "ame"),
    ("margin x {exposure}", "ame"),
    ("{exposure}", "score"),
)
"""Subject and figure of what the picture and the first screen show."""
Row = Mapping[Any, Any]


def compare(first: str | Path, second: str | Path, *, out: str | Path | None = None, lang: Code = "en") -> Path:
    """Compare two runs in a folder of its own and return the folder.

    Parameters
    ----------
    first, second
        Folders of two finished runs, in any order: the one whose data, then whose making, are the later is held against
        the other.
    out
        Where the page ``index.html`` and the tables ``compare.csv`` and ``forecast_record.csv`` go; by default
        ``compare-<earlier>-<later>`` beside the later run. An earlier comparison there is replaced.
    lang
        Language of the page.

    Raises
    ------
    InputError
        If a folder is no finished run, the two are one, or the place holds something else.
    """
    if os.path.realpath(first) == os.path.realpath(second):
        raise InputError("the two runs must be different folders; name an earlier and a later one.")
    runs = {Path(os.path.realpath(path)): read_run(path) for path in (first, second)}
    (old_folder, before), (new_folder, after) = sorted(runs.items(), key=lambda each: _when(each[1]))
    target = _place(Path(out) if out else new_folder.with_name(f"compare-{before.name}-{after.name}"), runs)
    beside = target.parent == old_folder.parent == new_folder.parent
    table, forecasts = figures(before, after), forecast_record(before, after)
    page = comparison(before, after, table, forecasts, lang=lang, beside=beside)
    with workspace(target) as work:
        (work / PAGE).write_text(render_report(page), encoding="utf-8", newline="\n")
        write_table(_harmless(table), work / TABLE)
        write_table(forecasts, work / RECORD)
        put_in_place(work, target)
    return target


def forecast_record(before: RunRecord, after: RunRecord) -> pd.DataFrame:
    """The earlier run's forecasts beside what the later run knows to have come; no rows for another company."""
    if not same_company(before, after):
        return scored(before.forecast.iloc[:0], after.actuals)
    return scored(before.forecast, after.actuals)


def same_company(before: RunRecord, after: RunRecord) -> bool:
    """Whether two runs are of one data set: by its name and currency."""
    return all(before.facts.get(name) == after.facts.get(name) for name in ("company", "currency"))


def comparison(
    before: RunRecord,
    after: RunRecord,
    table: pd.DataFrame,
    forecasts: pd.DataFrame,
    *,
    lang: Code,
    beside: bool = False,
) -> Report:
    """Report model of the comparison.

    Parameters
    ----------
    table, forecasts
        What `figures` and `forecast_record` give.
    beside
        Whether both runs lie beside the page, so that it can lead to them.
    """
    language = with_currency(Language(lang), str(after.facts.get("currency", "")))
    found = changes(before, after)
    names = {"before": before.name, "after": after.name}
    links = [
        Link(f"../{quote(each.name)}/{PAGE}", language.text("compare.link.run", name=each.name))
        for each in (before, after)
    ]
    links = [
        *(links if beside else []),
        *(Link(file, language.text(f"compare.link.{Path(file).stem}")) for file in (TABLE, RECORD)),
    ]
    return Report(
        lang=lang,
        title=language.text("compare.title", **names),
        subtitle=language.text("compare.subtitle", before=_window(before, language), after=_window(after, language)),
        answer=tuple(
            Sentence(f"answer-{at}", words)
            for at, words in enumerate(_answer(before, after, table, forecasts, found, language), start=1)
        ),
        key_figures=tuple(_key_figures(table, after, language)),
        sections=(
            _figures_section(table, after, language),
            _split_section(before, after, table, found, language),
            _changes_section(found, language),
            _record_section(before, after, forecasts, language),
        ),
        links=tuple(links),
    )


def record_words(summary: Row, language: Language) -> tuple[str, ...]:
    """A row of ``record`` in words: measure, forecasts, within range, bias, mean error, CRPS."""
    measure = str(summary["measure"])
    return (
        measure_words(measure, language),
        language.number(summary["forecasts"]),
        language.percent(summary["covered"], 0),
        forecast_words(measure, float(summary["bias"]), language, is_change=True),
        *(forecast_size(measure, float(summary[name]), language) for name in ("mean_absolute_error", "crps")),
    )


def day_words(text: Any, language: Language) -> str:
    """A day given as 2026-09-30; a dash where it is none."""
    try:
        return language.date(dt.date.fromisoformat(str(text)))
    except ValueError:
        return show.EMPTY


def measure_words(measure: str, language: Language) -> str:
    """Name of what was forecast."""
    return language.find(f"compare.forecast.{measure}") or measure.upper()


def forecast_words(measure: str, x: float, language: Language, *, is_change: bool = False) -> str:
    """A forecast number in its unit; a change with its sign."""
    if is_change:
        return f"{'+' if x > 0 else ''}{forecast_size(measure, x, language)}"
    if measure == "retained":
        return language.percent(x)
    if measure == "orders":
        return language.number(x, 3)
    return show.money(x, language) if measure.startswith("margin") else score_words(measure, x, language)


def forecast_size(measure: str, x: float, language: Language) -> str:
    """A difference of two forecast numbers in its unit."""
    if measure == "retained":
        return language.percentage_points(x, 2)
    if measure == "orders":
        return language.number(x, 3)
    return show.money(x, language) if measure.startswith("margin") else score_size(measure, x, language)


def _when(run: RunRecord) -> tuple[str, str]:
    """Order of runs: by the end of their data, then by their start."""
    timing = run.manifest.get("timing") or {}
    return str((run.facts.get("window") or {}).get("last", "")), str(timing.get("started_at", ""))


def _place(out: Path, runs: Mapping[Path, RunRecord]) -> Path:
    target = Path(os.path.realpath(out))
    holds = {path.name for path in target.iterdir()} if target.is_dir() else set()
    is_ours = not holds or (TABLE in holds and holds <= FILES)
    if (target.exists() and not target.is_dir()) or not is_ours or MANIFEST in holds:
        raise InputError(
            f"{relative(target)} must be free or hold an earlier comparison; it holds something else. Name another."
        )
    here = Path.cwd().resolve()
    if target in (here, *here.parents) or any(target in (run, *run.parents) or run in target.parents for run in runs):
        raise InputError(
            f"a comparison can't be written to {relative(target)}: it would touch a run or the working folder"
        )
    return target


def _harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with no text that a spreadsheet would take for a formula."""
    told = ("source", "subject", "figure", "unit", "causes")
    return neutral_table(table, [name for name in table.columns if name in told or "evidence" in name])


# ---------------------------------------------------------------------------------------------------- words


def _window(run: RunRecord, language: Language) -> str:
    window = run.facts.get("window") or {}
    made = str((run.manifest.get("timing") or {}).get("started_at", ""))[:10]
    return language.text(
        "compare.window",
        name=run.name,
        first=day_words(window.get("first"), language),
        last=day_words(window.get("last"), language),
        made=day_words(made, language),
    )


def _answer(
    before: RunRecord,
    after: RunRecord,
    table: pd.DataFrame,
    forecasts: pd.DataFrame,
    found: Sequence[Change],
    language: Language,
) -> Iterator[str]:
    names = [str(run.facts.get("company", "")) for run in (before, after)]
    if all(names) and names[0] != names[1]:
        yield language.text("compare.two_data_sets", before=f"“{names[0]}”", after=f"“{names[1]}”")
    lead = _leading(table, after)
    if lead:
        yield _moved(lead[0], after, language)
    causes = causes_of(found)
    yield (
        language.text("compare.changed", causes=_listed(causes, language)) if causes else language.text("compare.same")
    )
    if lead and causes:
        yield _split_words(before, after, lead[0], language)
    yield _record_sentence(before, after, forecasts, language)


def _leading(table: pd.DataFrame, after: RunRecord) -> list[dict[str, Any]]:
    """The rows that a reader looks for first, in that order, those that both runs have."""
    exposure = str(after.facts.get("exposure", "nps"))
    rows = []
    for subject, figure in LEADING:
        own = table[(table["subject"] == subject.format(exposure=exposure)) & (table["figure"] == figure)]
        rows += [{str(name): value for name, value in row.items()} for row in own.to_dict("records")]
    return [row for row in rows if math.isfinite(row["change"])]


def _moved(row: Row, after: RunRecord, language: Language) -> str:
    """A figure before and after, and whether the new one lies in the old interval."""
    words = {
        "figure": _name(row, language),
        "before": _value(row, "before", language),
        "after": _value(row, "after", language),
        "change": _change(row, language),
    }
    if row["change"] == 0:
        return language.text("compare.unmoved", figure=words["figure"], before=words["before"])
    low, high = row["before_low"], row["before_high"]
    if not (math.isfinite(low) and math.isfinite(high)):
        return language.text("compare.moved", **words)
    place = "inside" if low <= row["after"] <= high else "outside"
    interval = language.text(f"compare.interval.{_kind(row)}", interval=_interval(row, "before", language))
    return language.text(f"compare.moved_{place}", **words, interval=interval)


def _split_words(before: RunRecord, after: RunRecord, row: Row, language: Language) -> str:
    causes = [cause for cause in CAUSES if cause in str(row["causes"]).split("+")]
    if not causes or all(row[name] == 0 for name in PARTS):
        return language.text("compare.split.nothing", figure=_name(row, language))
    if len(causes) == 1:
        return language.text(
            "compare.split.one", cause=language.text(f"compare.cause.{causes[0]}"), figure=_name(row, language)
        )
    parts = [
        language.text(
            "compare.split.part", cause=language.text(f"compare.cause.{cause}"), size=_part(row, cause, language)
        )
        for cause in causes
        if row[f"from_{cause}"] != 0
    ]
    if row["not_split"] == 0:
        return language.text("compare.split.parts", figure=_name(row, language), parts="; ".join(parts))
    mixed = language.text("compare.split.mixed", size=_signed(row, float(row["not_split"]), language))
    reason = why_not_split(before, after)
    why = language.text(f"compare.why.{reason or 'mixed'}")
    return " ".join(
        [language.text("compare.split.parts", figure=_name(row, language), parts="; ".join([*parts, mixed])), why]
    )


def _part(row: Row, cause: Cause, language: Language) -> str:
    return _signed(row, float(row[f"from_{cause}"]), language)


def _listed(causes: Sequence[Cause], language: Language) -> str:
    return ", ".join(language.text(f"compare.cause.{cause}") for cause in causes)


def _name(row: Row, language: Language) -> str:
    subject, figure = str(row["subject"]), str(row["figure"])
    if row["source"] == "scores":
        return subject.upper()
    if row["source"] == "estimates":
        outcome, _, exposure = subject.partition(" x ")
        known = language.find(f"compare.outcome.{outcome}") or outcome
        key = "fading" if figure == "ame_fading" else "per_point"
        return language.text(f"compare.{key}", outcome=known, metric=exposure.upper())
    measure = language.find(f"compare.measure.{figure}") or figure
    if subject == WHOLE:
        return measure
    return language.text("compare.of_programme", measure=measure, programme=subject.partition(" ")[2])


def _kind(row: Row) -> str:
    return "range" if row["source"] == "case" else "confidence"


def _write(row: Row, x: float, language: Language) -> str:
    """A figure in its unit."""
    figure, unit = str(row["figure"]), str(row["unit"])
    if not math.isfinite(x):
        return show.EMPTY
    if row["source"] == "scores":
        return score_words(str(row["subject"]), x, language)
    if figure.startswith("p_"):
        return show.chance_words(x, language)
    if unit in ("per_year", "ratio") and not figure.startswith("break_even"):
        return language.percent(x, 0)
    if unit == "months":
        return language.text("executive.months", number=language.number(x))
    return language.points(x, 2) if unit == "points" else show.in_unit(x, unit, language)


def _signed(row: Row, x: float, language: Language) -> str:
    """A difference of two figures in its unit, with its sign."""
    figure, unit = str(row["figure"]), str(row["unit"])
    if not math.isfinite(x):
        return show.EMPTY
    if row["source"] == "scores":
        text = score_size(str(row["subject"]), x, language)
    elif figure.startswith("p_") or (unit in ("per_year", "ratio") and not figure.startswith("break_even")):
        text = language.text("plots.pp", number=language.number(100 * x, 1))
    else:
        text = _write(row, x, language)
    return f"+{text}" if x > 0 else text


def _value(row: Row, side: str, language: Language) -> str:
    return _write(row, float(row[side]), language)


def _change(row: Row, language: Language) -> str:
    return _signed(row, float(row["change"]), language)


def _with_interval(row: Row, side: str, language: Language) -> str:
    interval = _interval(row, side, language)
    return _value(row, side, language) + ("" if interval == show.EMPTY else f" ({interval})")


def _interval(row: Row, side: str, language: Language) -> str:
    low, high = float(row[f"{side}_low"]), float(row[f"{side}_high"])
    if not (math.isfinite(low) and math.isfinite(high)):
        return show.EMPTY
    return language.text("format.interval", low=_write(row, low, language), high=_write(row, high, language))


# ---------------------------------------------------------------------------------------------------- sections


def _key_figures(table: pd.DataFrame, after: RunRecord, language: Language) -> Iterator[KeyFigure]:
    for at, row in enumerate(_leading(table, after), start=1):
        evidence = str(row["evidence_after"])
        yield KeyFigure(
            f"key-{at}",
            _name(row, language),
            _value(row, "after", language),
            language.text("compare.key", change=_change(row, language), before=_value(row, "before", language)),
            language.evidence(evidence) if evidence else language.text("executive.measured"),
        )


def _figures_section(table: pd.DataFrame, after: RunRecord, language: Language) -> Section:
    exhibits: list[Figure | Table] = []
    rows = _leading(table, after)
    if rows:
        told = [
            {
                "name": _name(row, language),
                "told_before": _value(row, "before", language),
                "told_after": _value(row, "after", language),
            }
            for row in rows
        ]
        frame = pd.DataFrame([row | words for row, words in zip(rows, told, strict=True)])
        axes = plots.before_after(frame, language=language, title=language.text("compare.picture"))
        svg = plots.to_svg(axes).encode()
        exhibits.append(
            Figure("picture-figures", svg, "image/svg+xml", plots.alt(axes), language.text("compare.caption"))
        )
    columns = ("figure", "before", "after", "change", "causes")
    body = tuple(
        (
            _name(row, language),
            *(_with_interval(row, side, language) for side in ("before", "after")),
            _change(row, language),
            _listed([cause for cause in CAUSES if cause in row["causes"].split("+")], language) or show.EMPTY,
        )
        for row in table.to_dict("records")
    )
    exhibits.append(
        Table(
            "table-figures",
            language.text("compare.table"),
            _columns(columns, language, words=("figure", "before", "after", "causes")),
            body,
        )
    )
    return Section("figures", language.text("compare.section.figures"), (), tuple(exhibits))


def _split_section(
    before: RunRecord, after: RunRecord, table: pd.DataFrame, found: Sequence[Change], language: Language
) -> Section:
    moved = (table[["change", *PARTS]].abs() > 0).any(axis=1)
    own = table[(table["source"] == "case") & (table["subject"] == WHOLE) & moved]
    if own.empty:
        key = "nothing_to_split" if causes_of(found) else "same"
        return Section(
            "split", language.text("compare.section.split"), (Sentence("split-1", language.text(f"compare.{key}")),)
        )
    columns = ("figure", "change", *(f"from_{cause}" for cause in CAUSES), "not_split")
    body = tuple(
        (
            _name(row, language),
            _change(row, language),
            *(_zero_or(row, f"from_{cause}", language) for cause in CAUSES),
            _zero_or(row, "not_split", language),
        )
        for row in own.to_dict("records")
    )
    sentences = [language.text("compare.how_split")]
    reason = why_not_split(before, after)
    if reason and len(causes_of(found)) > 1:
        sentences.append(language.text(f"compare.why.{reason}"))
    elif (own["not_split"].abs() > 0).any():
        key = "mixed" if len(causes_of(found, linkage_only=True)) > 1 else "unreached"
        sentences.append(language.text(f"compare.why.{key}"))
    return Section(
        "split",
        language.text("compare.section.split"),
        tuple(Sentence(f"split-{at}", words) for at, words in enumerate(sentences, start=1)),
        (
            Table(
                "table-split",
                language.text("compare.split_table"),
                _columns(columns, language, words=("figure",)),
                body,
            ),
        ),
    )


def _zero_or(row: Row, name: str, language: Language) -> str:
    return show.EMPTY if row[name] == 0 else _signed(row, float(row[name]), language)


def _changes_section(found: Sequence[Change], language: Language) -> Section:
    title = language.text("compare.section.changes")
    if not found:
        return Section("changes", title, (Sentence("changes-1", language.text("compare.same")),))
    shown = found[:MOST_ROWS]
    body = tuple(
        (
            capital(language.text(f"compare.cause.{each.cause}")),
            _item(each, language),
            *(_side(each, side, language) for side in (each.before, each.after)),
        )
        for each in shown
    )
    more = len(found) - len(shown)
    notes = (Sentence("changes-more", language.text("compare.more", n=language.number(more))),) if more else ()
    columns = _columns(("cause", "item", "before", "after"), language, words=("cause", "item", "before", "after"))
    return Section(
        "changes", title, notes, (Table("table-changes", language.text("compare.changes_table"), columns, body),)
    )


def _item(change: Change, language: Language) -> str:
    if change.kind == "window":
        return language.text(f"compare.item.{change.name}")
    if change.kind == "rows":
        table, _, why = change.name.partition(": ")
        return language.text("compare.item.rows", name=show.said(table, language), reason=show.said(why, language))
    return language.text(f"compare.item.{change.kind}", name=change.name)


def _side(change: Change, text: str, language: Language) -> str:
    """How it stood in one run: days and counts as the language writes them."""
    if change.name in ("first_day", "last_day"):
        return day_words(text, language)
    is_count = change.kind == "rows" or change.name == "active_customers"
    return language.number(int(text)) if is_count and text.removeprefix("-").isdecimal() else text or show.EMPTY


def _record_section(before: RunRecord, after: RunRecord, forecasts: pd.DataFrame, language: Language) -> Section:
    sentences = [_record_sentence(before, after, forecasts, language)]
    exhibits: list[Figure | Table] = []
    if len(forecasts):
        sentences.append(language.text("compare.record_means"))
        columns = ("measure", "quarter", "expected", "range", "actual", "error", "covered")
        body = tuple(
            (
                measure_words(str(row["measure"]), language),
                language.quarter(str(row["quarter"])),
                forecast_words(str(row["measure"]), float(row["expected"]), language),
                language.text(
                    "format.interval",
                    low=forecast_words(str(row["measure"]), float(row["low"]), language),
                    high=forecast_words(str(row["measure"]), float(row["high"]), language),
                ),
                forecast_words(str(row["measure"]), float(row["actual"]), language),
                forecast_words(str(row["measure"]), float(row["error"]), language, is_change=True),
                language.text("nb.yes" if row["covered"] else "nb.no"),
            )
            for row in forecasts.to_dict("records")
        )
        heads = _columns(columns, language, words=("measure", "quarter", "covered"))
        exhibits.append(Table("table-forecasts", language.text("compare.forecasts_table"), heads, body))
        columns_of_record = ("measure", "forecasts", "share_covered", "bias", "mean_error", "crps")
        rows = tuple(record_words(row, language) for row in record(forecasts).to_dict("records"))
        exhibits.append(
            Table(
                "table-record",
                language.text("compare.record_table"),
                _columns(columns_of_record, language, words=("measure",)),
                rows,
            )
        )
    numbered = tuple(Sentence(f"record-{at}", words) for at, words in enumerate(sentences, start=1))
    return Section("record", language.text("compare.section.record"), numbered, tuple(exhibits))


def _record_sentence(before: RunRecord, after: RunRecord, forecasts: pd.DataFrame, language: Language) -> str:
    if len(forecasts):
        inside = int(forecasts["covered"].sum())
        return language.text("compare.record", n=language.number(len(forecasts)), inside=language.number(inside))
    if before.forecast.empty:
        return language.text("compare.no_forecast")
    return language.text("compare.not_due" if same_company(before, after) else "compare.other_company")


def _columns(names: Sequence[str], language: Language, *, words: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(language.text(f"compare.column.{name}"), name not in words) for name in names)
