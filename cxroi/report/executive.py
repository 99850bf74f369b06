"""The executive page as a report model: the question, the answer, key figures, the chain in five pictures, what it rests on.

Every number in a sentence comes from a result; words follow the grade of evidence. A part without a result says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from cxroi.case.business_case import COLUMNS as CASE_COLUMNS
from cxroi.language import Language
from cxroi.report.answer import answer, question, subtitle
from cxroi.report.benefits import benefits_section
from cxroi.report.chain import buy_section, pay_section, said_section, stay_section, worth_section
from cxroi.report.company import Assessment, open_dataset
from cxroi.report.documents import Documents, rendered, write_workbook_of
from cxroi.report.first_screen import both_keys, decision_sentence, first_picture, in_order, plain_sentences
from cxroi.report.grounds import (
    assumptions_section,
    change_section,
    checks_section,
    limits_section,
    provenance_section,
    sure_section,
)
from cxroi.report.key_figures import key_figures
from cxroi.report.model import Link, Report, Sentence
from cxroi.report.next_check import check_section
from cxroi.report.outcome_period import in_outcome_period
from cxroi.report.record import write_record
from cxroi.report.run import Finish
from cxroi.report.what_if import what_if_panel
from cxroi.report.wording import verdict

__all__ = ["answer", "executive_report", "prepare_report", "verdict", "write_tables"]


def executive_report(
    assessment: Assessment, language: Language, *, inputs: Iterable[Mapping[str, Any]] = (), pages: Sequence[str] = ()
) -> Report:
    """Report model of ``index.html``.

    Parameters
    ----------
    assessment
        The chain, run.
    language
        Vietnamese or English, with the currency of the data where it has one.
    inputs
        Files behind the run: ``file, bytes, sha256``.
    pages
        Names of the notebooks whose pages stand beside, like ``03_retention``.
    """
    language = in_outcome_period(language, assessment.tables, period=assessment.panel.period)
    sections = (
        said_section(assessment, language),
        stay_section(assessment, language),
        buy_section(assessment, language),
        worth_section(assessment, language),
        pay_section(assessment, language),
        sure_section(assessment, language),
        change_section(assessment, language),
        benefits_section(assessment, language),
        check_section(assessment, language),
        assumptions_section(assessment, language),
        checks_section(assessment, language),
        limits_section(assessment, language),
        provenance_section(assessment, language, inputs),
    )
    return Report(
        lang=language.code,
        title=question(assessment, language),
        subtitle=subtitle(assessment, language),
        answer=tuple(Sentence(f"answer-{at}", words) for at, words in enumerate(answer(assessment, language), start=1)),
        key_figures=in_order(key_figures(assessment, language)),
        sections=sections,
        links=_links(pages, language),
        decision=decision_sentence(assessment, language),
        plain=tuple(each for each in (both_keys(assessment, language), *plain_sentences(assessment, language)) if each),
        picture=first_picture(assessment, language),
        what_if=what_if_panel(assessment.decision, language),
    )


def prepare_report(known: Mapping[str, Any], documents: Documents | None = None) -> Finish:
    """Read a data set and its case, write their documents beside the notebooks, and give what puts them into the folder.

    Parameters
    ----------
    known
        ``parameters`` (``dataset, quarter, lang, seed, case`` and, if stated, ``draws``), ``inputs`` (``file, bytes,
        sha256``) and ``notebooks``, the names of those whose pages will stand beside.
    documents
        Formats and leaders; by default HTML and PDF for everybody.

    Returns
    -------
    callable
        Takes the run's folder and its manifest; writes the documents, ``estimates.csv`` and ``case.csv`` with the record
        for later runs, and returns the row accounting, what that record says and the names of the documents.

    Raises
    ------
    InputError
        If tables, quarter or case are wrong.
    """
    parameters, wanted = known["parameters"], documents or Documents()
    stated = {name: parameters[name] for name in ("quarter", "case", "seed", "draws") if name in parameters}
    opening = open_dataset(parameters["dataset"], **stated)

    language = Language(parameters["lang"], opening.panel.currency)

    def write() -> tuple[Assessment, Mapping[str, bytes]]:
        assessment = opening.assess()
        report = executive_report(assessment, language, inputs=known["inputs"], pages=list(known["notebooks"]))
        return assessment, rendered(assessment, report, language, wanted)

    worker = ThreadPoolExecutor(max_workers=1)
    written = worker.submit(write)
    worker.shutdown(wait=False)

    def finish(folder: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        assessment, files = written.result()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        names = [*files, *write_workbook_of(assessment, folder, language, wanted)]
        return write_tables(assessment, folder) | write_record(assessment, folder) | {"documents": sorted(names)}

    return finish


def write_tables(assessment: Assessment, folder: Path) -> dict[str, Any]:
    """Write ``estimates.csv`` and ``case.csv`` into a folder; give the row accounting and the register of assumptions for the manifest.

    ``case.csv`` has no rows where there is no case or it cannot be valued.
    """
    decision = assessment.with_cost_plays
    assessment.estimates.to_csv(str(folder / "estimates.csv"))
    table = pd.DataFrame(columns=list(CASE_COLUMNS)) if isinstance(decision, str) else decision.tidy()
    table.to_csv(folder / "case.csv", index=False, lineterminator="\n", float_format="%.10g")
    tables, panel = assessment.tables.accounting, assessment.panel.accounting
    register = [] if isinstance(decision, str) else json.loads(decision.register().to_json(orient="records"))
    return {
        "accounting": {"tables": tables.to_dict("records"), "panel": panel.to_dict("records")},
        "register": register,
    }


def _links(pages: Sequence[str], language: Language) -> tuple[Link, ...]:
    found = [Link(f"{page}.html", language.text(f"notebook.{page}")) for page in pages]
    files = ("estimates.csv", "case.csv", "manifest.json")
    found += [Link(name, language.text(f"executive.link.{name.partition('.')[0]}")) for name in files]
    return tuple(found)
