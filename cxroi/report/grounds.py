"""What the answer rests on: evidence, what would change it, assumptions, checks, limits, provenance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from cxroi import __version__, plots
from cxroi.case import BusinessCase, Case
from cxroi.case.flows import discount_factors, planned
from cxroi.case.measures import quantiles
from cxroi.case.register import register as stated_register
from cxroi.case.terms import CATEGORIES
from cxroi.language import Language
from cxroi.report import case_views, first_screen, readings
from cxroi.report.answer import how_sure, what_changes
from cxroi.report.chain import picture
from cxroi.report.charts import tornado_chart
from cxroi.report.company import Assessment, smallest_detectable_gain
from cxroi.report.facts import headline, main_estimate, strength, strength_of
from cxroi.report.model import Column, Figure, Section, Sentence, Table
from cxroi.report.show import money, said
from cxroi.report.wording import (
    between,
    capital,
    change_range,
    change_words,
    grade_words,
    horizon_words,
    listed,
    panel_caption,
    yearly,
)
from cxroi.value import CustomerValue

VERDICTS = ("fail", "warn", "pass")
HASH_LENGTH = 12
COST_ROWS = ("costs", "overrun", "useful_life_months")  # of the register; the table of costs has them
SCENARIO_MEASURES = (
    *("pv_cost", "pv_benefit", "npv", "roi", "irr", "mirr"),
    *("payback_months", "discounted_payback_months", "peak_cash_need"),
)


def _section(
    name: str, language: Language, sentences: Sequence[str], exhibits: Sequence[Figure | Table] = ()
) -> Section:
    texts = tuple(Sentence(f"{name}-{at}", words) for at, words in enumerate(sentences, start=1))
    return Section(name, language.text(f"executive.section.{name}"), texts, tuple(exhibits))


def sure_section(a: Assessment, language: Language) -> Section:
    """How sure the answer is: the rung of the evidence, and every method beside the other."""
    row = main_estimate(a)
    if row is None:
        return _section("sure", language, [how_sure(a, language)])
    rung, outcome = str(row["evidence"]), str(row["outcome"])
    sentences = [
        grade_words(a, rung, language),
        next_rung(a, rung, language),
    ]
    axes = plots.effects(a.estimates.tidy(), outcome=outcome, language=language)
    return _section("sure", language, sentences, [picture("effects", axes, panel_caption(a, row, language))])


def next_rung(a: Assessment, rung: str, language: Language) -> str:
    """What would stand higher; where a pilot is there already, a larger or longer one."""
    strength_now = strength_of(a, rung)
    if strength_now != "middle" or isinstance(a.beside.pilot, str) or a.beside.pilot.sizes.empty:
        return language.text(f"executive.next_rung.{strength_now}")
    sizes = a.beside.pilot.sizes
    rows = first_screen.pilot_rows(a)
    own = sizes[sizes["initiative"] == rows["initiative"].iloc[0]] if len(rows) else sizes
    counts = {arm: language.number(int(own[arm].iloc[0])) for arm in ("treated", "control")}
    table = a.beside.pilot.tidy()
    money_rows = table[(table["estimand"] == "pilot_difference") & (table["outcome"] == "margin")]
    shown = bool(((money_rows["conf_low"] > 0) | (money_rows["conf_high"] < 0)).any())
    return language.text(f"documents.pilot.{'next_repeat' if shown else 'next_larger'}", **counts)


def change_section(a: Assessment, language: Language) -> Section:
    """What would change the answer."""
    if isinstance(a.decision, str):
        return _section("change", language, [what_changes(a, language)])
    exhibits: list[Figure | Table] = []
    inputs = a.decision.tornado()
    if len(inputs):
        axes = plots.tornado(inputs, language=language, currency=a.decision.case.currency)
        caption = language.text("executive.caption.tornado")
        shown = picture("tornado", axes, caption, tornado_chart(a.decision, language))
        exhibits.append(replace(shown, finding=readings.tornado_title(a.decision, language=language)))
    exhibits.append(_scenario_table(a.decision, language))
    seen = _detectable(a, a.decision, language)
    return _section("change", language, [what_changes(a, language), *([seen] if seen else [])], exhibits)


def _detectable(a: Assessment, decision: BusinessCase, language: Language) -> str:
    """What change the survey can see at all, and between which answers everything is observed."""
    least = smallest_detectable_gain(a.panel, a.exposure)
    if math.isnan(least):
        return ""
    low, high = decision.response.score_range
    words = {"points": language.points(least, 2), "interval": language.interval(low, high, "number", 0)}
    return language.text("documents.plain.detectable", **words)


def _scenario_table(decision: BusinessCase, language: Language) -> Table:
    """Conservative, base and optimistic side by side, a row a measure; below, why a rate does not exist."""
    frame = decision.tidy()
    own = frame[frame["programme"] == decision.whole.programme].set_index(["scenario", "measure"])["median"]
    rows = []
    for measure in SCENARIO_MEASURES:
        cells = [_measured(measure, float(own[name, measure]), language) for name in plots.SCENARIOS]
        rows.append((language.text(f"executive.measure.{measure}"), *cells))
    heads = [Column(capital(language.text(f"scenario.{name}")), is_number=True) for name in plots.SCENARIOS]
    head = Column(language.text("executive.column.measure"))
    caption = " ".join([language.text("executive.caption.scenarios"), *_absent_rates(own, language)])
    return Table("table-scenarios", caption, (head, *heads), tuple(rows))


def _absent_rates(medians: pd.Series[float], language: Language) -> list[str]:
    """Sentences on each rate of return that a scenario does not have, and why."""
    if medians["base", "npv"] != medians["base", "npv"]:  # nothing is valued at all
        return []
    found = []
    for name in plots.SCENARIOS:
        scenario = capital(language.text(f"scenario.{name}"))
        if math.isnan(medians[name, "irr"]):
            why = "several" if medians[name, "irr_count"] > 1 else "none"
            found.append(language.text(f"executive.absent.irr_{why}", scenario=scenario))
        if math.isnan(medians[name, "mirr"]):
            found.append(language.text("executive.absent.mirr", scenario=scenario))
    return [f"{each}." for each in found]


def _measured(measure: str, value: float, language: Language) -> str:
    if math.isnan(value):
        return language.text("executive.no_payback" if measure.endswith("months") else "executive.none")
    if measure.endswith("months"):
        return language.text("executive.months", number=language.number(value, 1))
    return language.percent(value, 0) if measure in ("roi", "irr", "mirr") else money(value, language)


def assumptions_section(a: Assessment, language: Language) -> Section:
    """What was assumed, beside what the data gave."""
    rows = [*_data_rows(a, language)]
    tables: list[Table] = []
    if isinstance(a.case, Case):
        rows = [*_register_rows(a.case, a.decision, language), *rows]
        tables = [_cost_table(a.case, a.decision, language)]
    heads = ("assumption", "value", "source", "owner", "kind")
    columns = tuple(Column(language.text(f"executive.column.{head}")) for head in heads)
    table = Table("table-assumptions", language.text("executive.caption.assumptions"), columns, tuple(rows))
    sentences = [language.text("executive.assumptions")]
    return _section("assumptions", language, sentences, [table, *tables])


def _register_rows(case: Case, decision: BusinessCase | str, language: Language) -> list[tuple[str, ...]]:
    """The decision register as notebook 06 has it, but for costs, which have a table of their own; and each gain's evidence."""
    frame = case_views.register(case, decision, language)
    if isinstance(frame, str):
        return []
    stated = stated_register(case, None) if isinstance(decision, str) else decision.register()
    programmes = {each.id: each for each in case.programmes}
    rows: list[tuple[str, ...]] = []
    for known, row in zip(stated.to_dict("records"), frame.to_dict("records"), strict=True):
        kind = str(known["assumption"]).partition(".")[0]
        if kind in COST_ROWS:
            continue
        start = f"{row['programme']}: " if known["programme"] and len(programmes) > 1 else ""
        name = str(row["assumption"])
        origin = (row["source"], row["owner"] or "–", language.text(f"executive.kind.{known['kind']}"))
        rows.append((start + (name if start else capital(name)), row["content"], *origin))
        if kind in ("score_gain", "gain"):
            grade = capital(language.evidence(programmes[known["programme"]].evidence))
            rows.append((start + language.text("executive.fact.evidence"), grade, *origin))
    return rows


def _data_rows(a: Assessment, language: Language) -> list[tuple[str, ...]]:
    """What the data gave, a row each."""
    kind, source = language.text("executive.kind.data"), language.text("executive.source.estimated")
    rows: list[tuple[str, ...]] = []
    for outcome in ("retained", "orders", "margin"):
        row = headline(a, outcome)
        if row is not None:
            change = change_words(outcome, float(row["estimate"]), language)
            interval = change_range(outcome, float(row["conf_low"]), float(row["conf_high"]), language)
            name = language.text("executive.fact.per_point", outcome=language.text(f"plots.outcome.{outcome}"))
            value = language.text("executive.with_interval", value=change, interval=interval)
            rows.append((name, value, source, "–", kind))
    if isinstance(a.value, CustomerValue):
        if isinstance(a.decision, str):  # else the register has both
            rows += _value_rows(a.value, language)
        stated = (
            language.text("executive.source.dataset") if a.panel.value_terms else language.text("executive.source.case")
        )
        months = language.text("executive.months", number=horizon_words(a, language))
        value = language.text("executive.terms", months=months, rate=yearly(a.value.annual_discount_rate, language))
        rows.append(
            (language.text("executive.fact.terms"), value, stated, "–", language.text("executive.kind.assumption"))
        )
    return rows


def _value_rows(value: CustomerValue, language: Language) -> list[tuple[str, ...]]:
    """Customers and the share of a gain left after a quarter, with the median and range of its draws."""
    kind, source = language.text("executive.kind.data"), language.text("executive.source.estimated")
    rows: list[tuple[str, ...]] = [
        (language.text("executive.fact.customers"), language.number(value.customers), source, "–", kind)
    ]
    if value.persistence is not None:
        low, median, high = quantiles(value.persistence.fade_draws)
        ends = language.text("executive.range", interval=language.interval(low, high, "percent", 1))
        rows.append(
            (
                language.text("executive.fact.persistence"),
                f"{language.percent(median, 1)} ({ends})",
                source,
                "–",
                kind,
            )
        )
    return rows


def _cost_table(case: Case, decision: BusinessCase | str, language: Language) -> Table:
    """Cost by category as stated: one-off, recurring, sum, and its present value before tax."""
    discount = discount_factors(case)
    sums = {(category, kind): 0.0 for category in CATEGORIES for kind in ("one_off", "recurring")}
    present = dict.fromkeys(CATEGORIES, 0.0)
    for cost in (cost for programme in case.programmes for cost in programme.costs):
        kind = cost.kind or ("one_off" if len(cost.months) == 1 else "recurring")
        sums[cost.category, kind] += float(planned(case, cost).sum())
        present[cost.category] += float(planned(case, cost) @ discount)
    rows = []
    for category in CATEGORIES:
        once, often = sums[category, "one_off"], sums[category, "recurring"]
        if once or often:
            amounts = (once, often, once + often, present[category])
            rows.append(
                (language.text(f"cost_categories.{category}"), *(money(x, language) if x else "–" for x in amounts))
            )
    once, often = (sum(sums[category, kind] for category in CATEGORIES) for kind in ("one_off", "recurring"))
    amounts = (once, often, once + often, sum(present.values()))
    rows.append((language.text("executive.total"), *(money(x, language) if x else "–" for x in amounts)))
    heads = [
        Column(language.text(f"executive.column.{name}"), is_number=True)
        for name in ("one_off", "recurring", "sum", "present")
    ]
    first = Column(language.text("executive.column.category"))
    return Table("table-costs", language.text("executive.caption.costs"), (first, *heads), tuple(rows))


def checks_section(a: Assessment, language: Language) -> Section:
    """What was checked."""
    frame = _checks(a, language)
    counts = {word: language.number((frame["verdict"] == word).sum()) for word in VERDICTS}
    told = language.text("executive.checks", n=language.number(len(frame)), **counts)
    sentences = [language.text("executive.no_checks") if frame.empty else told]
    rows = [
        (
            _check_name(a, str(each.name), language),
            language.text(f"executive.check.{each.verdict}"),
            _plain_number(float(each.number), language),
            capital(said(str(each.advice), language)),
        )
        for each in _each(frame[frame["verdict"] != "pass"])
    ]
    passed = [_check_name(a, str(name), language) for name in frame.loc[frame["verdict"] == "pass", "name"]]
    if passed:
        sentences.append(language.text("executive.passed", names="; ".join(passed)))
    heads = ("check", "verdict", "number", "advice")
    columns = tuple(Column(language.text(f"executive.column.{name}"), name == "number") for name in heads)
    table = Table("table-checks", language.text("executive.caption.checks"), columns, tuple(rows))
    return _section("checks", language, sentences, [table] if rows else [])


def _check_name(a: Assessment, name: str, language: Language) -> str:
    """Name of a check, with the programme's own name in place of its id."""
    kind, _, subject = name.partition(": ")
    names = {each.id: each.name for each in a.case.programmes} if isinstance(a.case, Case) else {}
    words = capital(said(kind, language).replace("_", " "))
    return words if not subject or len(names) == 1 else f"{words}: {names.get(subject, said(subject, language))}"


def _each(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _plain_number(x: float, language: Language) -> str:
    return "–" if math.isnan(x) else language.number(x, 0 if float(x).is_integer() or abs(x) >= 100 else 2)


def _checks(a: Assessment, language: Language) -> pd.DataFrame:
    """Checks of the case and of the equations under it, the worst first; of those that recur the worst one."""
    own = a.estimates.checks()
    own = own[own["exposure"] == a.exposure]
    parts = [own[["name", "verdict", "number", "advice"]]]
    if isinstance(a.decision, BusinessCase):
        parts.insert(0, a.decision.checks()[["name", "verdict", "number", "advice"]])
    parts += _pilot_check(a, language)
    frame = pd.concat(parts, ignore_index=True)
    rank = frame["verdict"].map(VERDICTS.index)
    return frame.assign(rank=rank).sort_values("rank", kind="stable").drop_duplicates("name", ignore_index=True)


def _pilot_check(a: Assessment, language: Language) -> list[pd.DataFrame]:
    """The gain that the case states, at its mode, against the interval of the pilot; nothing where no pilot lifted the score."""
    lift = first_screen.pilot_lift(a)
    if lift is None or not isinstance(a.case, Case):
        return []
    mode, low, high = a.case.programmes[0].gain.mode, float(lift["conf_low"]), float(lift["conf_high"])
    verdict = "pass" if low <= mode <= high else "warn"
    words = {"mode": language.number(mode, 2), "interval": language.interval(low, high, "number", 2)}
    row = {
        "name": language.text("documents.pilot.check"),
        "verdict": verdict,
        "number": mode,
        "advice": language.text(f"documents.pilot.{verdict}", **words),
    }
    return [pd.DataFrame([row])]


def limits_section(a: Assessment, language: Language) -> Section:
    """What the page does not show."""
    rung = a.value.evidence if isinstance(a.value, CustomerValue) else "association"
    names = []
    if a.exposure:
        row = main_estimate(a)
        held = row is not None and row["method"] != "raw"  # also where the grade is capped by when the score was given
        grade = strength(rung)
        names += [f"evidence_{'middle' if held and grade == 'weak' else grade}", "silent"]
        if a.panel.timing != "before":
            names.append("timing")
    if isinstance(a.decision, BusinessCase):
        served = a.decision.response.through_service is not None
        names += ["gain", "referrals" if served else "referrals_and_service"]
    elif isinstance(a.value, CustomerValue) and a.value.margin is not None:
        names.append("horizon")
    names.append("beyond_money")
    sentences = [language.text(f"executive.limit.{name}") for name in names]
    if a.cost_plays:
        sentences.append(language.text("executive.cost_plays.beside", names=listed(a.cost_plays, language)))
    return _section("limits", language, sentences)


def provenance_section(a: Assessment, language: Language, inputs: Iterable[Mapping[str, Any]]) -> Section:
    """Where the figures come from, and which level each range has."""
    first, last = a.window
    counts = a.tables.accounting.set_index(["table", "reason"])["rows"]
    rows = [
        (language.text("executive.fact.window"), between(language.date(first), language.date(last), language=language)),
    ]
    for table in a.tables.accounting["table"].unique():
        words = language.text(
            "executive.rows", read=language.number(counts[table, "read"]), kept=language.number(counts[table, "kept"])
        )
        rows.append((language.text("executive.fact.table", table=said(str(table), language)), words))
    answers = a.panel.accounting[a.panel.accounting["stage"] == "answers"].set_index("reason")["rows"]
    if {"read", "kept"} <= set(answers.index):
        words = language.text(
            "executive.rows", read=language.number(answers["read"]), kept=language.number(answers["kept"])
        )
        rows.append((language.text("executive.fact.answers"), words))
    rows.append((language.text("executive.fact.seed"), str(a.seed)))
    rows.append(("cxroi", __version__))
    facts = (Column(language.text("executive.column.fact")), Column(language.text("executive.column.value")))
    exhibits = [Table("table-provenance", language.text("executive.caption.provenance"), facts, tuple(rows))]
    files = tuple(
        (str(each["file"]), language.number(each["bytes"]), str(each["sha256"])[:HASH_LENGTH]) for each in inputs
    )
    if files:
        heads = [
            Column(language.text(f"executive.column.{name}"), name == "bytes") for name in ("file", "bytes", "sha256")
        ]
        exhibits.append(Table("table-files", language.text("executive.caption.files"), tuple(heads), files))
    sentences = [language.text(f"executive.{name}") for name in ("provenance", "levels")]
    return _section("provenance", language, sentences, exhibits)
