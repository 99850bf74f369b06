"""A pack for each leader: what that leader decides on, the customer's side first, then money, on at most two pages.

Figures, sentences and tables that also stand in the executive report are taken from it, so that one id has one text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from cxroi.case import BusinessCase, Case
from cxroi.language import Language
from cxroi.report import next_check, pack_customers, pack_data, pack_money
from cxroi.report.benefits import beyond_table
from cxroi.report.company import Assessment
from cxroi.report.first_screen import both_keys
from cxroi.report.model import AUDIENCES, Audience, Figure, KeyFigure, Link, Report, Section, Sentence, Table
from cxroi.report.outcome_period import in_outcome_period
from cxroi.report.show import money
from cxroi.report.wording import subject_words

Part = Table | Figure | str | None
Build = Callable[[Assessment, Report, Language], "_Pack"]

INDEX_PAGE = "index.html"


@dataclass(frozen=True)
class _Pack:
    """What a pack holds besides what all packs share: the decision, its key figures and its own sections."""

    decision: str
    figures: Sequence[KeyFigure | None]
    sections: Sequence[Section]
    checks: Sequence[next_check.Row]


def pack_name(audience: Audience) -> str:
    """Name of a pack's files in the run's folder, without the ending."""
    return f"pack-{audience}"


def pack_link(audience: Audience, language: Language, ending: str = "html") -> Link:
    """Link to a pack."""
    return Link(f"{pack_name(audience)}.{ending}", language.text(f"documents.audience.{audience}"))


def pack_report(audience: Audience, assessment: Assessment, whole: Report, language: Language) -> Report:
    """Report model of one leader's pack.

    Parameters
    ----------
    audience
        Whom it is for.
    assessment
        The chain, run.
    whole
        The executive report of the same run and language, from which shared parts are taken.
    language
        As for the executive report.
    """
    language = in_outcome_period(language, assessment.tables, period=assessment.panel.period)
    made = BUILDERS[audience](assessment, whole, language)
    name = language.text(f"documents.audience.{audience}")
    figures = tuple(each for each in made.figures if each is not None)
    keys = both_keys(assessment, language)
    answer = [each for each in (whole.answer[0], keys) if each is not None]
    sections = (
        *(each for each in made.sections if each.sentences or each.exhibits),
        _change(audience, whole, language),
        _check(audience, assessment, made.checks, language),
    )
    return Report(
        lang=language.code,
        title=language.text("documents.pack_title", audience=name),
        subtitle=f"{whole.title} {whole.subtitle}",
        answer=tuple(answer),
        key_figures=figures,
        sections=sections,
        links=(Link(INDEX_PAGE, language.text("documents.whole_report")),),
        id=audience,
        audience=audience,
        decision=Sentence(f"{audience}-decision", made.decision),
        packs=tuple(pack_link(each, language) for each in AUDIENCES if each != audience),
        leading=len(figures),
    )


def _change(audience: Audience, whole: Report, language: Language) -> Section:
    """What would change the verdict, and how strong something unseen would have to be."""
    sentences = (whole.answer[-1], *(each for each in whole.plain if each.id == "plain-robustness"))
    return Section(f"{audience}-change", language.text("executive.section.change"), sentences)


def _check(audience: Audience, a: Assessment, rows: Sequence[next_check.Row], language: Language) -> Section:
    table = next_check.check_table(audience, a, rows, language)
    return Section(f"{audience}-check", language.text("documents.section.check"), (), (table,))


def _section(
    audience: Audience,
    name: str,
    language: Language,
    sentences: Sequence[Sentence | str | None],
    parts: Sequence[Part] = (),
) -> Section:
    """A section of a pack; a part that is missing says why in its place."""
    texts: list[Sentence] = []
    exhibits: list[Figure | Table] = []
    for each in sentences:
        if isinstance(each, Sentence):
            texts.append(each)
        elif each:
            texts.append(Sentence(f"{audience}-{name}-{len(texts) + 1}", each))
    for part in parts:
        if isinstance(part, (Figure, Table)):
            exhibits.append(part)
        elif part:
            words = pack_customers.reason_sentence(part, language)
            if words not in [each.text for each in texts]:
                texts.append(Sentence(f"{audience}-{name}-{len(texts) + 1}", words))
    return Section(f"{audience}-{name}", language.text(f"documents.section.{name}"), tuple(texts), tuple(exhibits))


def _reason(found: object) -> str:
    """Why there is no result; empty where there is one."""
    return found if isinstance(found, str) else ""


def _sentences(whole: Report, section: str) -> list[Sentence]:
    """Sentences of a section of the executive report, without a link's question."""
    found = next(each for each in whole.sections if each.id == section)
    return list(found.sentences[1:] if section.startswith("chain-") else found.sentences)


def _finding(whole: Report, section: str) -> Sentence | None:
    """The title of a link of the chain as a sentence; None where it has no figure."""
    found = next(each for each in whole.sections if each.id == section)
    if not found.exhibits:
        return None
    return Sentence(f"finding-{section}", found.title.rstrip(".") + ".")


def _keys(whole: Report, *names: str) -> list[KeyFigure | None]:
    """Key figures of the executive report, those that it has."""
    known = {each.id: each for each in whole.key_figures}
    return [known.get(f"key-{name}") for name in names]


def _said(whole: Report) -> list[Sentence | str | None]:
    """What customers said and did: the score and its change, and what goes with a point."""
    return [_finding(whole, "chain-1"), whole.answer[1]]


def _stated(a: Assessment, key: str, language: Language, **words: str) -> str:
    """A decision on the stated case, or what stands in its way."""
    if isinstance(a.case, Case):
        return language.text(f"documents.ask.{key}", programme=subject_words(a.case, language), **words)
    return language.text(f"documents.ask.{key}_without")


# -------------------------------------------------------------------------------------------------------------- leaders


def _board(a: Assessment, whole: Report, language: Language) -> _Pack:
    decision = whole.decision.text if whole.decision else ""
    sections = [
        _section("board", "customers", language, _said(whole), [whole.exhibit("figure-scores")]),
        _section("board", "money", language, _sentences(whole, "chain-5"), [whole.picture]),
        _section(
            "board",
            "plain",
            language,
            [each for each in whole.plain if each.id not in ("both-keys", "plain-robustness")],
            [whole.exhibit("table-scenarios")],
        ),
    ]
    checks = next_check.board_rows(a, language)
    return _Pack(
        decision, _keys(whole, "score", "retention", "npv", "break_even", "break_even_multiple"), sections, checks
    )


def _cfo(a: Assessment, whole: Report, language: Language) -> _Pack:
    figures = _keys(whole, "npv", "roi")
    if isinstance(a.decision, BusinessCase):
        low, middle, high = pack_money.largest_need(a.decision)
        interval = language.text("format.interval", low=money(low, language), high=money(high, language))
        decision = _stated(
            a,
            "cfo",
            language,
            need=money(middle, language),
            interval=interval,
            worst=money(pack_money.conservative_need(a.decision), language),
            overrun=pack_money.overrun_words(a.decision.case, language),
        )
        figures += [
            pack_money.rate_figure(a.decision, language),
            *_keys(whole, "payback"),
            pack_money.need_figure(a.decision, language),
        ]
        cash: Part = pack_money.cash_table(a.decision, language)
    else:
        decision = language.text("documents.ask.cfo_without")
        figures = _keys(whole, "customer", "point", "retention")
        cash = a.decision
    tax = [pack_money.tax_words(a.case, language)] if isinstance(a.case, Case) else []
    sections = [
        _section("cfo", "customers", language, _said(whole)),
        _section("cfo", "cash", language, tax, [cash]),
        _section(
            "cfo",
            "sensitivity",
            language,
            _sentences(whole, "chain-5")[:1],
            [whole.exhibit("figure-tornado"), whole.exhibit("table-scenarios")],
        ),
        _section(
            "cfo", "assumptions", language, [], [whole.exhibit("table-assumptions"), whole.exhibit("table-costs")]
        ),
    ]
    return _Pack(decision, figures, sections, [next_check.spend_row(a, language), next_check.score_row(a, language)])


def _marketing(a: Assessment, whole: Report, language: Language) -> _Pack:
    ends = pack_customers.dearest_and_cheapest(a)
    if ends is None:
        decision = language.text("documents.ask.marketing_without")
    else:
        dear, cheap = ({"name": str(row["level"]), "cost": money(float(row["cac"]), language)} for row in ends)
        decision = language.text(
            "documents.ask.marketing",
            dear=dear["name"],
            dear_cost=dear["cost"],
            cheap=cheap["name"],
            cheap_cost=cheap["cost"],
        )
    figures = [
        *_keys(whole, "score", "retention"),
        pack_customers.cost_figure(a, language),
        pack_customers.referral_figure(a, language),
    ]
    sections = [
        _section("marketing", "customers", language, _said(whole), [pack_customers.segment_table(a, language)]),
        _section(
            "marketing",
            "referrals",
            language,
            [language.text("documents.association_only")],
            [pack_customers.referral_table(a, language)],
        ),
        _section(
            "marketing",
            "new_customers",
            language,
            [language.text("documents.not_in_npv")],
            [pack_customers.acquisition_picture(a, language), pack_customers.channel_table(a, language)],
        ),
    ]
    own = (
        language.text("documents.role.marketing"),
        language.text("documents.check.channels"),
        language.text("documents.check.same_order"),
    )
    return _Pack(decision, figures, sections, [own, next_check.score_row(a, language)])


def _sales(a: Assessment, whole: Report, language: Language) -> _Pack:
    decision = language.text("documents.ask.sales" if a.exposure else "documents.ask.sales_without")
    figures = _keys(whole, "score", "retention", "customer", "point")
    sections = [
        _section("sales", "customers", language, _said(whole), [whole.exhibit("figure-retained")]),
        _section(
            "sales",
            "bands",
            language,
            [language.text("documents.association_only")] if a.exposure else [],
            [pack_customers.band_table(a, language)],
        ),
        _section(
            "sales",
            "purchases",
            language,
            [_finding(whole, "chain-3"), *_sentences(whole, "chain-3")[1:]],
            [whole.exhibit("figure-value")],
        ),
    ]
    own = (
        language.text("documents.role.sales"),
        language.text("documents.check.bands"),
        language.text("documents.check.called"),
    )
    return _Pack(decision, figures, sections, [own, next_check.rerun_row(language)])


def _service(a: Assessment, whole: Report, language: Language) -> _Pack:
    decision = _stated(a, "service", language)
    figures = [
        *_keys(whole, "score"),
        pack_customers.resolved_figure(a, language),
        pack_customers.service_figure(a, language),
        *_keys(whole, "break_even"),
    ]
    sections = [
        _section("service", "customers", language, _said(whole), [pack_customers.touchpoint_table(a, language)]),
        _section(
            "service",
            "programme",
            language,
            [language.text("documents.first_contact")],
            [pack_customers.pilot_table(a, language)],
        ),
        _section(
            "service",
            "serving",
            language,
            [language.text("documents.both_or_none")],
            [pack_customers.service_picture(a, language) or _reason(a.beside.service)],
        ),
    ]
    own = (
        language.text("documents.role.service"),
        language.text("documents.check.resolved"),
        language.text("documents.check.both_moved"),
    )
    return _Pack(decision, figures, sections, [own, next_check.score_row(a, language)])


def _hr(a: Assessment, whole: Report, language: Language) -> _Pack:
    figures = _keys(whole, "score", "retention")
    if isinstance(a.case, Case):
        people = pack_money.people_figures(a.case, language)
        figures += people
        decision = _stated(a, "hr", language, amount=people[0].value)
    else:
        decision = language.text("documents.ask.hr_without")
    sections = [
        _section("hr", "customers", language, _said(whole)),
        _section(
            "hr",
            "people",
            language,
            [language.text("documents.no_employee_data")],
            [whole.exhibit("table-costs"), pack_money.culture_table(a, language)],
        ),
        _section("hr", "beyond", language, [language.text("documents.beyond_money")], [beyond_table(a, language)]),
    ]
    own = (
        language.text("documents.role.hr"),
        language.text("documents.check.people"),
        language.text("documents.check.employee_measure"),
    )
    return _Pack(decision, figures, sections, [own, next_check.spend_row(a, language)])


def _data(a: Assessment, whole: Report, language: Language) -> _Pack:
    decision = language.text(f"documents.ask.data_{a.panel.timing}" if a.exposure else "documents.ask.data_without")
    figures = [
        pack_data.response_figure(a, language),
        pack_data.detectable_figure(a, language),
        pack_data.linked_figure(a, language),
        pack_data.rows_figure(a, language),
    ]
    sections = [
        _section("data", "customers", language, [_finding(whole, "chain-1")], [pack_data.answers_table(a, language)]),
        _section(
            "data", "rows", language, [], [pack_data.rows_table(a, language), pack_data.losses_table(a, language)]
        ),
        _section("data", "data_checks", language, [], [pack_data.data_checks_table(a, language)]),
        _section("data", "narrower", language, _sentences(whole, "sure")[-1:], [pack_data.narrower_table(a, language)]),
    ]
    own = (
        language.text("documents.role.data"),
        language.text("documents.check.rows"),
        language.text("documents.check.no_new_losses"),
    )
    return _Pack(decision, figures, sections, [own, next_check.rerun_row(language)])


def _cx(a: Assessment, whole: Report, language: Language) -> _Pack:
    decision = _stated(a, "cx", language)
    sections = [
        _section("cx", "customers", language, _said(whole), [pack_customers.touchpoint_table(a, language)]),
        _section(
            "cx",
            "segments",
            language,
            [language.text("documents.association_only")],
            [pack_customers.segment_table(a, language)],
        ),
        _section(
            "cx",
            "programmes",
            language,
            [each for each in whole.plain if each.id == "plain-break-even"],
            [pack_money.programme_table(a, language)],
        ),
        _section("cx", "warnings", language, _sentences(whole, "checks")[:1], [whole.exhibit("table-checks")]),
    ]
    checks = next_check.board_rows(a, language)
    return _Pack(
        decision, _keys(whole, "score", "retention", "break_even", "break_even_multiple", "npv"), sections, checks
    )


BUILDERS: Mapping[Audience, Build] = MappingProxyType(
    {
        "board": _board,
        "cfo": _cfo,
        "marketing": _marketing,
        "sales": _sales,
        "service": _service,
        "hr": _hr,
        "data": _data,
        "cx": _cx,
    }
)
