"""A company's own folder to begin with: ``dataset.yaml``, ``case.yaml``, what goes where, and empty tables.

Structure stands here once, words in the catalogues, so that both languages give the same settings.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

from cxroi.case.terms import CATEGORIES
from cxroi.errors import InputError
from cxroi.language import Code, Language
from cxroi.report.folder import put_in_place, relative, workspace
from cxroi.tables.contract import TABLE_NAMES, TABLES, Column, Table

WIDTH = 110
REQUIRED_TABLES = ("customers", "transactions", "surveys")
TEMPLATES = "templates"

DATASET: tuple[tuple[str, str], ...] = (
    ("head", ""),
    ("currency", "currency: VND"),
    ("margin_rate", "#margin_rate: 0.35"),
    ("retention", "retention:\n  rule: repurchase\n  window_days: 180"),
    ("value", "value:\n  horizon_months: 36\n  annual_discount_rate: 0.12"),
    ("segments", "#segments: [region, plan]"),
    ("controls", "#controls: [age, plan, region]"),
    ("scales", "#scales: {nps: [0, 10], csat: [1, 5], ces: {range: [1, 7], easy: 7}}"),
    ("experiments", "#experiments: [SK001]"),
    ("calendar", "#calendar: [{name: Tết 2026, kind: Tết, starts_on: 2026-02-10, ends_on: 2026-02-24}]"),
    ("referrals", "#referrals: {would_have_come: 0.3, source: survey of new customers 2026}"),
    ("accept", "#accept: {transactions: {unknown_customer: drop}}"),
    ("tables", "tables:\n  customers:\n    file: customers.csv"),
    ("columns", "    #columns: {customer_id: MA_KH, joined_on: NGAY_TAO}"),
    ("format", '    #delimiter: ";"\n    #decimal: ","\n    #encoding: utf-8'),
    ("transactions", "  transactions:\n    file: transactions.csv"),
    ("surveys", "  surveys:\n    file: surveys.csv"),
    (
        "sql",
        "    #sql: \"SELECT id AS response_id, customer_id, 'nps' AS metric, q1 AS score, done_at AS answered_at FROM 'export.csv'\"",
    ),
    (
        "further",
        "\n".join(f"  #{name}: {{file: {name}.csv}}" for name in TABLE_NAMES if name not in REQUIRED_TABLES),
    ),
)
"""Blocks of ``dataset.yaml``: the key of the comment above it, and its lines; ``#`` without a space begins what may be switched on."""

CASE: tuple[tuple[str, str], ...] = (
    ("head", ""),
    ("currency", "currency: VND"),
    ("start", "start: 2026-10-01"),
    ("horizon_months", "horizon_months: 36"),
    ("annual_discount_rate", "annual_discount_rate: 0.12"),
    ("annual_inflation_rate", "#annual_inflation_rate: 0.03"),
    ("tax_rate", "#tax_rate: 0.2"),
    ("timing", "#timing: end"),
    ("exchange_rates", "#exchange_rates: {USD: 25400}"),
    ("budget", "#budget: {total: 300000000, per_quarter: 120000000}"),
    ("profile", "#profile: {business_model: repeat_purchase, state: <state>, goal: <goal>, strategy: <strategy>}"),
    ("sources", "#sources: {annual_discount_rate: {source: <source>, owner: <owner>, kind: assumption}}"),
    (
        "correlations",
        "#correlations: [{inputs: [linkage, score_gain.call_centre], correlation: 0.3, source: <source>}]",
    ),
    ("programmes", "programmes:"),
    ("id", "  - id: call_centre"),
    ("name", "    name: <name>"),
    ("intent", "    intent: <intent>"),
    ("owner", "    owner: <owner>"),
    ("discipline", "    discipline: design"),
    ("touchpoint", "    touchpoint: support"),
    ("evidence", "    evidence: association"),
    ("source", "    source: <source>"),
    ("score_gain", "    score_gain: {metric: nps, low: 0.1, mode: 0.3, high: 0.5}"),
    ("drivers", "    #drivers: [{touchpoint: support, gain: 0.5, pass_through: 0.4, metric: nps, source: <source>}]"),
    ("reach", "    reach: 0.4"),
    ("ramp_months", "    ramp_months: 6"),
    ("half_life_months", "    half_life_months: 24"),
    ("start_month", "    #start_month: 3"),
    ("savings", "    #savings: [{amount: 2000000, month: 6, until_month: 36, source: <source>}]"),
    ("benefits", "    #benefits: [{benefit: 1}, {benefit: 8, note: <note>}]"),
    ("requires", "    #requires: [another_programme]\n    #excludes: [a_third_programme]"),
    (
        "costs",
        "    costs:\n"
        "      - {category: 2, month: 0, amount: 90000000, kind: one_off, beneficiary: employees}\n"
        "      - {category: 1, month: 1, until_month: 36, amount: 4000000, kind: recurring, beneficiary: employees}",
    ),
    (
        "overrun",
        "      #- {category: 3, month: 0, amount: 2000, currency: USD, overrun: {low: 0, mode: 0.1, high: 0.3}, "
        "useful_life_months: 36}",
    ),
)
"""Blocks of ``case.yaml``, alike; what stands between < and > is filled from the catalogue."""

_EXAMPLES = ("name", "intent", "owner", "source", "state", "goal", "strategy", "note")


def scaffold(folder: str | Path, *, lang: Code = "en") -> Path:
    """Make a company's own folder and return it.

    Parameters
    ----------
    folder
        Place that is free, or empty.
    lang
        Language of comments and README.

    Raises
    ------
    InputError
        If something is there already.
    """
    target = Path(os.path.realpath(folder))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(
            f"{relative(target)} must be free or an empty folder; something is there already. Name another."
        )
    language = Language(lang)
    with workspace(target) as work:
        files = {
            "README.md": readme(language),
            "dataset.yaml": dataset_yaml(language),
            "case.yaml": case_yaml(language),
            **{f"{TEMPLATES}/{name}.csv": ",".join(TABLES[name].column) + "\n" for name in TABLE_NAMES},
        }
        (work / TEMPLATES).mkdir()
        for name, text in files.items():
            (work / name).write_text(text, encoding="utf-8", newline="\n")
        put_in_place(work, target)
    return target


def dataset_yaml(language: Language) -> str:
    """Text of ``dataset.yaml``: every key with its meaning above it; what is optional is switched off."""
    return "\n".join(_blocks("dataset", DATASET, language)) + "\n"


def case_yaml(language: Language) -> str:
    """Text of ``case.yaml``: an example of one programme, every key with its meaning above it."""
    text = "\n".join(_blocks("case", CASE, language))
    for name in _EXAMPLES:
        text = text.replace(f"<{name}>", json.dumps(language.text(f"init.example.{name}"), ensure_ascii=False))
    costs = "\n".join(f"    #   {language.text(f'cost_categories.{name}')}" for name in CATEGORIES)
    return text.replace("    costs:\n", f"{costs}\n    costs:\n") + "\n"


def readme(language: Language) -> str:
    """Text of ``README.md``: what goes where, and the columns of every table."""
    parts = [language.text("init.readme.head")]
    for name in TABLE_NAMES:
        need = "required" if name in REQUIRED_TABLES else "optional"
        parts.append(f"## {name} ({language.text(f'init.{need}')})\n\n{language.text(f'init.table.{name}')}")
        parts.append("\n".join(_column_rows(TABLES[name], language)))
    return "\n\n".join(parts) + "\n"


def _blocks(file: str, blocks: tuple[tuple[str, str], ...], language: Language) -> Iterator[str]:
    for key, lines in blocks:
        margin = " " * (len(lines) - len(lines.lstrip(" ")))
        margin = "    " if key == "id" and file == "case" else margin
        words = language.text(f"init.{file}.{key}")
        for paragraph in words.splitlines():
            yield from (f"{margin}# {line}" for line in textwrap.wrap(paragraph, WIDTH - len(margin)))
        if lines:
            yield lines
        if not margin and key not in ("tables", "programmes"):
            yield ""


def _column_rows(table: Table, language: Language) -> Iterator[str]:
    heads = [language.text(f"init.head.{name}") for name in ("column", "need", "kind", "meaning")]
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---|---|"
    for column in table.columns:
        need = language.text("init.required") if column.required else ""
        meaning = language.text(f"init.column.{column.name}")
        yield f"| `{column.name}` | {need} | {_kind(column, language)} | {meaning} |"


def _kind(column: Column, language: Language) -> str:
    choices = " ".join(f"`{choice}`" for choice in column.choices) if column.kind in ("choice", "metric") else ""
    return choices or language.text(f"init.kind.{column.kind}")
