"""The executive page as a report model: the question, the answer, key figures, the chain in five pictures, what it rests on.

Every number in a sentence comes from a result; words follow the grade of evidence. A part without a result says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from cxroi import __version__, plots
from cxroi.case import BusinessCase, Case, Programme, observed_half_life_months
from cxroi.case.business_case import COLUMNS as CASE_COLUMNS
from cxroi.case.forecast import discount_factors
from cxroi.case.programme import CATEGORIES, LADDER
from cxroi.errors import CxroiError
from cxroi.language import Language
from cxroi.linkage import Linkage
from cxroi.panel import window
from cxroi.report import views
from cxroi.report.company import Assessment, open_dataset, smallest_detectable_gain
from cxroi.report.html import render_report
from cxroi.report.model import Column, Figure, KeyFigure, Link, Report, Section, Sentence, Table
from cxroi.report.run import INDEX, Finish
from cxroi.report.show import money, money_interval, said
from cxroi.value import CustomerValue

STRONG = ("quasi_experiment", "experiment")
SURE, LIKELY, UNLIKELY, HARDLY = 0.95, 0.8, 0.2, 0.05  # probabilities that NPV is positive
MONTHS_OF_A_QUARTER = 3
VERDICTS = ("fail", "warn", "pass")
HASH_LENGTH = 12
JOINED = "\u2060"  # no line break after a sign
FACTS_OF_THE_SOURCE = 2  # a programme's source tells its gain and the evidence for it, not what follows


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
    sections = (
        _said_section(assessment, language),
        _stay_section(assessment, language),
        _buy_section(assessment, language),
        _worth_section(assessment, language),
        _pay_section(assessment, language),
        _sure_section(assessment, language),
        _change_section(assessment, language),
        _assumptions_section(assessment, language),
        _checks_section(assessment, language),
        _limits_section(assessment, language),
        _provenance_section(assessment, language, inputs),
    )
    return Report(
        lang=language.code,
        title=_question(assessment, language),
        subtitle=_subtitle(assessment, language),
        answer=tuple(Sentence(f"answer-{at}", words) for at, words in enumerate(answer(assessment, language), start=1)),
        key_figures=tuple(_key_figures(assessment, language)),
        sections=sections,
        links=_links(pages, language),
    )


def prepare_report(known: Mapping[str, Any]) -> Finish:
    """Read a data set and its case, write their report beside the notebooks, and give what puts it into the folder.

    Parameters
    ----------
    known
        ``parameters`` (``dataset, quarter, lang, seed, case`` and, if stated, ``draws``), ``inputs`` (``file, bytes,
        sha256``) and ``notebooks``, the names of those whose pages will stand beside.

    Returns
    -------
    callable
        Takes the run's folder and its manifest; writes ``index.html``, ``estimates.csv`` and ``case.csv`` and returns
        the row accounting.

    Raises
    ------
    InputError
        If tables, quarter or case are wrong.
    """
    parameters = known["parameters"]
    stated = {name: parameters[name] for name in ("quarter", "case", "seed", "draws") if name in parameters}
    opening = open_dataset(parameters["dataset"], **stated)

    language = Language(parameters["lang"], opening.panel.currency)

    def write() -> tuple[Assessment, str]:
        assessment = opening.assess()
        report = executive_report(assessment, language, inputs=known["inputs"], pages=list(known["notebooks"]))
        return assessment, render_report(report)

    worker = ThreadPoolExecutor(max_workers=1)
    written = worker.submit(write)
    worker.shutdown(wait=False)

    def finish(folder: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        assessment, page = written.result()
        (folder / INDEX).write_text(page, encoding="utf-8", newline="\n")
        return write_tables(assessment, folder)

    return finish


def write_tables(assessment: Assessment, folder: Path) -> dict[str, Any]:
    """Write ``estimates.csv`` and ``case.csv`` into a folder and give the row accounting of tables and panel.

    ``case.csv`` has no rows where there is no case or it cannot be valued.
    """
    decision = assessment.decision
    assessment.estimates.to_csv(str(folder / "estimates.csv"))
    table = pd.DataFrame(columns=list(CASE_COLUMNS)) if isinstance(decision, str) else decision.tidy()
    table.to_csv(folder / "case.csv", index=False, lineterminator="\n", float_format="%.10g")
    tables, panel = assessment.tables.accounting, assessment.panel.accounting
    return {"accounting": {"tables": tables.to_dict("records"), "panel": panel.to_dict("records")}}


def answer(assessment: Assessment, language: Language) -> tuple[str, str, str]:
    """Three sentences: the number, how sure it is, what would change it."""
    return _number(assessment, language), _how_sure(assessment, language), _what_changes(assessment, language)


def verdict(probability: float) -> str:
    """Word for a probability that the net present value is positive.

    >>> [verdict(p) for p in (0.99, 0.9, 0.5, 0.1, 0.01)]
    ['yes', 'likely', 'open', 'unlikely', 'no']
    """
    if probability >= LIKELY:
        return "yes" if probability >= SURE else "likely"
    if probability > UNLIKELY:
        return "open"
    return "unlikely" if probability > HARDLY else "no"


# --- the question and the answer ---------------------------------------------------------------------------------


def _question(a: Assessment, language: Language) -> str:
    if isinstance(a.case, Case):
        return language.text("executive.question.case", programme=_subject(a.case, language))
    if a.exposure:
        return language.text("executive.question.point", metric=a.exposure.upper())
    return language.text("executive.question.customer")


def _subject(case: Case, language: Language) -> str:
    if len(case.programmes) == 1:
        return language.text("executive.programme", name=case.programmes[0].name)
    return language.text("executive.portfolio", number=language.number(len(case.programmes)))


def _subtitle(a: Assessment, language: Language) -> str:
    first, last = window(a.panel)
    data = language.text(
        "executive.subtitle", company=a.tables.name, first=language.date(first), last=language.date(last)
    )
    if isinstance(a.decision, str) or not isinstance(a.case, Case):
        return data
    cost = money(float(a.decision.whole.measures["pv_cost"][0]), language)
    ask = language.text(
        "executive.ask",
        cost=cost,
        months=language.number(a.case.horizon_months),
        start=language.date(a.case.start),
        owner=_list(sorted({each.owner for each in a.case.programmes if each.owner}), language),
    )
    return f"{ask} {data}"


def _number(a: Assessment, language: Language) -> str:
    if isinstance(a.decision, BusinessCase):
        row = a.decision.glance().iloc[0]
        chance = float(row["p_npv_positive"])
        return language.text(
            "executive.answer.case",
            verdict=_verdict(a.decision, language),
            months=language.number(a.decision.case.horizon_months),
            median=money(float(row["npv_median"]), language),
            interval=money_interval(float(row["npv_low"]), float(row["npv_high"]), language),
            chance=_chance(chance, language),
        )
    point = _value_row(a, "value_of_one_point")
    why = _why(a.decision, language)
    if point is not None:
        return language.text(
            "executive.answer.point",
            answer=_answer(a, language),
            value=money(point["estimate"], language),
            interval=money_interval(point["low"], point["high"], language),
            months=_horizon(a, language),
            reason=why,
        )
    whole = _value_row(a, "lifetime_value")
    if whole is not None:
        return language.text(
            "executive.answer.customer",
            value=money(whole["estimate"], language),
            interval=money_interval(whole["low"], whole["high"], language),
            months=_horizon(a, language),
            reason=_why(a.value.reason, language) if isinstance(a.value, CustomerValue) and a.value.reason else why,
        )
    return language.text("executive.answer.none", reason=why)


def _verdict(decision: BusinessCase, language: Language) -> str:
    word = verdict(float(decision.glance()["p_npv_positive"].iloc[0]))
    return _capital(language.text(f"executive.verdict.{word}", programme=_subject(decision.case, language)))


def _how_sure(a: Assessment, language: Language) -> str:
    row = _main_estimate(a)
    if row is None:
        return language.text("executive.sure.none", reason=_linkage_reason(a, "retained", language))
    claim = _claim(a, row, language)
    if row["conf_low"] <= 0 <= row["conf_high"]:
        return language.text("executive.sure_unclear", claim=claim)
    strength = _strength(str(row["evidence"])) if a.panel.timing == "before" else "timing"
    caveat = language.text(f"executive.caveat.{strength}")
    return language.text("executive.sure_clear", claim=claim, caveat=caveat)


def _claim(a: Assessment, row: Mapping[str, Any], language: Language) -> str:
    """What a headline estimate says, in the words that its rung has earned."""
    outcome = str(row["outcome"])
    return language.text(
        f"executive.claim.{row['evidence']}",
        answer=_answer(a, language),
        change=_change(outcome, float(row["estimate"]), language),
        outcome=language.text(f"executive.outcome.{outcome}"),
        interval=_change_interval(outcome, float(row["conf_low"]), float(row["conf_high"]), language),
    )


def _what_changes(a: Assessment, language: Language) -> str:
    if isinstance(a.decision, str):
        return language.text(f"executive.change.{_missing(a)}")
    cells = _measure(a.decision, "break_even_multiple")
    multiple = cells["median"]
    first = (
        language.text("executive.change.no_gain", answer=_answer(a, language))
        if math.isnan(multiple)
        else _break_even_sentence(a.decision, multiple, language)
    )
    sentence, faded = _break_even_and_widest(a.decision, first, language), _if_it_fades(a, language)
    return language.text("executive.change.both", first=sentence.removesuffix("."), second=faded) if faded else sentence


def _if_it_fades(a: Assessment, language: Language) -> str:
    """What is left of the verdict where gains fade as answers have so far; empty where nothing longer is stated."""
    if a.faded is None:
        return ""
    row = a.faded.glance().iloc[0]
    return language.text(
        "executive.change.faded",
        months=language.number(observed_half_life_months(a.faded.response), 1),
        median=money(float(row["npv_median"]), language),
        chance=_chance(float(row["p_npv_positive"]), language),
    )


def _break_even_and_widest(decision: BusinessCase, first: str, language: Language) -> str:
    inputs = decision.tornado()
    if inputs.empty:
        return language.text("executive.change.alone", first=first)
    widest = inputs.iloc[0]
    low, high = sorted((float(widest["npv_low"]), float(widest["npv_high"])))
    second = language.text(
        "executive.change.widest",
        input=language.text(f"plots.input.{_slug(str(widest['input']))}"),
        interval=money_interval(low, high, language),
    )
    return language.text("executive.change.both", first=first, second=second)


def _missing(a: Assessment) -> str:
    """What stands between the data and a verdict."""
    if not a.exposure:
        return "answers"
    if a.panel.timing != "before":
        return "timing"
    return "outcomes" if isinstance(a.value, CustomerValue) and a.value.reason else "case"


def _break_even_sentence(decision: BusinessCase, multiple: float, language: Language) -> str:
    if len(decision.case.programmes) > 1:
        return language.text("executive.change.multiple", multiple=language.number(multiple, 2))
    gain, stated = _measure(decision, "break_even_score_gain")["median"], decision.case.programmes[0].score_gain
    return language.text(
        "executive.change.break_even",
        gain=language.points(gain, 2),
        mode=language.number(stated.mode, 2),
        interval=language.interval(stated.low, stated.high, "number", 2),
    )


# --- key figures -------------------------------------------------------------------------------------------------


def _key_figures(a: Assessment, language: Language) -> list[KeyFigure]:
    found = [_score_figure(a, language), _retention_figure(a, language), *_value_figures(a, language)]
    if isinstance(a.decision, BusinessCase):
        found += _case_figures(a, a.decision, language)
    return [each for each in found if each is not None]


def _figure(key: str, value: str, interval: str, evidence: str, language: Language, **words: str) -> KeyFigure:
    return KeyFigure(f"key-{key}", language.text(f"executive.key.{key}", **words), value, interval, evidence)


def _score_figure(a: Assessment, language: Language) -> KeyFigure | None:
    row = _last_score(a)
    if row is None:
        return None
    ends = [_score(a.exposure, float(row[end]), language) for end in ("conf_low", "conf_high")]
    words = [language.text("executive.interval_95", interval=_ends(*ends, language=language))]
    words.append(language.text("executive.n", n=language.number(row["n"])))
    if not math.isnan(float(row["response_rate"])):
        words.append(language.text("executive.response_rate", rate=language.percent(row["response_rate"], 0)))
    return _figure(
        "score",
        _score(a.exposure, float(row["estimate"]), language),
        "; ".join(words),
        language.text("executive.measured"),
        language,
        metric=a.exposure.upper(),
        quarter=_quarter(str(row["period"]), language),
    )


def _retention_figure(a: Assessment, language: Language) -> KeyFigure | None:
    row = _headline(a, "retained")
    if row is None:
        return None
    interval = _change_interval("retained", float(row["conf_low"]), float(row["conf_high"]), language)
    return _figure(
        "retention",
        _change("retained", float(row["estimate"]), language),
        language.text("executive.interval_95", interval=interval),
        language.evidence(str(row["evidence"])),
        language,
        answer=_answer(a, language),
    )


def _value_figures(a: Assessment, language: Language) -> list[KeyFigure]:
    if isinstance(a.value, str):
        return []
    found = []
    for key, measure in (("customer", "lifetime_value"), ("point", "value_of_one_point")):
        row = _value_row(a, measure)
        if row is not None:
            interval = money_interval(row["low"], row["high"], language)
            found.append(
                _figure(
                    key,
                    money(row["estimate"], language),
                    language.text("executive.range", interval=interval),
                    language.evidence(a.value.evidence) if key == "point" else language.text("executive.projected"),
                    language,
                    months=_horizon(a, language),
                    **({"answer": _answer(a, language)} if key == "point" else {}),
                )
            )
    return found


def _case_figures(a: Assessment, decision: BusinessCase, language: Language) -> list[KeyFigure]:
    rung = language.evidence(_weakest(decision))
    months = language.number(decision.case.horizon_months)
    npv, roi = _measure(decision, "npv"), _measure(decision, "roi")
    chance = _chance(_measure(decision, "p_npv_positive")["mean"], language)
    words = language.text("executive.range", interval=money_interval(npv["low"], npv["high"], language))
    found = [
        _figure(
            "npv",
            money(npv["median"], language),
            f"{words}; {language.text('executive.p_positive', chance=chance)}",
            rung,
            language,
            months=months,
        )
    ]
    if not math.isnan(roi["median"]):
        ends = language.interval(roi["low"], roi["high"], "percent", 0)
        percent = language.percent(roi["median"], 0)
        found.append(_figure("roi", percent, language.text("executive.range", interval=ends), rung, language))
    found.append(_payback_figure(decision, rung, language))
    gain = _measure(decision, "break_even_score_gain" if len(decision.case.programmes) == 1 else "break_even_multiple")
    found.append(_break_even_figure(a, decision, gain, rung, language))
    return found


def _payback_figure(decision: BusinessCase, rung: str, language: Language) -> KeyFigure:
    plain, discounted = (_measure(decision, f"{name}payback_months")["median"] for name in ("", "discounted_"))
    share = _measure(decision, "p_payback_within_horizon")["mean"]
    words = [language.text("executive.payback_share", chance=_chance(share, language))]
    if not math.isnan(discounted):
        words.append(language.text("executive.discounted_payback", months=language.number(discounted)))
    value = (
        language.text("executive.no_payback")
        if math.isnan(plain)
        else language.text("executive.months", number=language.number(plain))
    )
    return _figure("payback", value, "; ".join(words), rung, language)


def _break_even_figure(
    a: Assessment, decision: BusinessCase, gain: Mapping[str, float], rung: str, language: Language
) -> KeyFigure:
    several = len(decision.case.programmes) > 1
    if math.isnan(gain["median"]):
        value = language.text("executive.no_break_even")
    elif several:
        value = language.text("executive.multiple", number=language.number(gain["median"], 2))
    else:
        value = language.points(gain["median"], 2)
    words = []
    if not several:
        stated = decision.case.programmes[0].score_gain
        ends = language.interval(stated.low, stated.high, "number", 2)
        words.append(language.text("executive.stated_gain", mode=language.number(stated.mode, 2), interval=ends))
    detectable = smallest_detectable_gain(a.panel, a.exposure)
    if not math.isnan(detectable):
        words.append(language.text("executive.detectable", points=language.points(detectable, 2)))
    low, high = decision.response.score_range
    words.append(language.text("executive.observed", interval=language.interval(low, high, "number", 0)))
    return _figure("break_even_multiple" if several else "break_even", value, "; ".join(words), rung, language)


# --- the chain in five pictures ----------------------------------------------------------------------------------


def _picture(name: str, axes: Axes, caption: str) -> Figure:
    return Figure(f"figure-{name}", plots.to_svg(axes).encode(), "image/svg+xml", plots.alt(axes), caption)


def _part(number: int, title: str, sentences: Sequence[str], exhibits: Sequence[Figure], language: Language) -> Section:
    name = f"chain-{number}"
    texts = [Sentence(f"{name}-question", language.text(f"executive.chain.{number}"))]
    texts += [Sentence(f"{name}-{at}", words) for at, words in enumerate(sentences, start=1)]
    return Section(name, title, tuple(texts), tuple(exhibits))


def _absent(number: int, reason: str, language: Language) -> Section:
    """A part without a result: why, in its place."""
    return _part(
        number, language.text("executive.no_result"), [language.text("executive.because", reason=reason)], [], language
    )


def _said_section(a: Assessment, language: Language) -> Section:
    frame, row = a.scores.get(a.exposure, ""), _last_score(a)
    if isinstance(frame, str) or row is None:
        return _absent(1, _why(frame or "the data have no answers", language), language)
    metric = a.exposure.upper()
    score = _score(a.exposure, float(row["estimate"]), language)
    quarter = _quarter(str(row["period"]), language)
    title = language.text("executive.finding.score", metric=metric, score=score, quarter=quarter)
    sentences = [_meaning(a, language)]
    change = a.changes.get(a.exposure, "")
    if not isinstance(change, str) and not bool(change["suppressed"].iloc[0]):
        moved = change.iloc[0]
        clear = "clear" if moved["conf_low"] > 0 or moved["conf_high"] < 0 else "unclear"
        difference = _score_change(a.exposure, float(moved["estimate"]), language)
        ends = [_score_change(a.exposure, float(moved[end]), language) for end in ("conf_low", "conf_high")]
        title = language.text(
            f"executive.finding.score_{clear}", metric=metric, score=score, quarter=quarter, change=difference
        )
        sentences.append(
            language.text(
                f"executive.score_change_{clear}",
                before=language.quarter(str(moved["before"])),
                change=difference,
                interval=_ends(*ends, language=language),
                detectable=_score_change(a.exposure, float(moved["smallest_detectable"]), language, signed=False),
            )
        )
    return _part(1, title, sentences, [_score_picture(a, frame, language)], language)


def _score_picture(a: Assessment, frame: pd.DataFrame, language: Language) -> Figure:
    """The score by quarter, or how the answers are spread where they have no dates."""
    source, n = language.text("executive.source.surveys"), language.number(frame["n"].sum())
    if frame["period"].iloc[0] == "all":
        spread = views.distribution(a.tables, a.exposure)
        if isinstance(spread, str):
            raise CxroiError(f"{a.exposure} has a score but no answers: {spread}")
        top = a.panel.score_ranges[a.exposure][1]
        axes = plots.score_distribution(spread, metric=a.exposure, top=top, language=language)
        return _picture("scores", axes, language.text("executive.caption.undated", source=source, n=n))
    first, last = (language.quarter(str(end)) for end in (frame["period"].min(), frame["period"].max()))
    caption = language.text("executive.caption.survey", source=source, n=n, first=first, last=last)
    return _picture("scores", plots.scores_by_period(frame, language=language), caption)


def _quarter(label: str, language: Language) -> str:
    return language.text("executive.all_answers") if label == "all" else language.quarter(label)


def _meaning(a: Assessment, language: Language) -> str:
    """What the score is, on the scale that the data declare."""
    low, high = a.panel.score_ranges[a.exposure]
    if a.exposure != "nps":
        return language.text(f"executive.meaning.{a.exposure}")
    top, bottom = (f"{first:g}–{last:g}" for first, last in ((high - 1, high), (low, high - 4)))
    return language.text("executive.meaning.nps", promoters=top, detractors=bottom)


def _stay_section(a: Assessment, language: Language) -> Section:
    return _linkage_section(a, 2, "retained", language)


def _buy_section(a: Assessment, language: Language) -> Section:
    outcome = next((name for name in ("margin", "orders") if _headline(a, name) is not None), "margin")
    return _linkage_section(a, 3, outcome, language)


def _linkage_section(a: Assessment, number: int, outcome: str, language: Language) -> Section:
    row, linkage = _headline(a, outcome), _linkage(a, outcome)
    if row is None or linkage is None:
        return _absent(number, _linkage_reason(a, outcome, language), language)
    low, high = float(row["conf_low"]), float(row["conf_high"])
    direction = "up" if low > 0 else "down" if high < 0 else "unclear"
    title = language.text(
        f"executive.finding.{outcome}_{direction}",
        change=_change(outcome, float(row["estimate"]), language),
    )
    sentences = [language.text("executive.claim_alone", claim=_claim(a, row, language))]
    raw = _estimate_row(a, outcome, method="raw")
    if raw is not None and str(row["method"]) != "raw":
        sentences.append(
            language.text(
                "executive.raw_and_adjusted",
                raw=_change(outcome, float(raw["estimate"]), language),
                adjusted=_change(outcome, float(row["estimate"]), language),
            )
        )
    if outcome == "margin":
        orders = _headline(a, "orders")
        if orders is not None:
            interval = _change_interval("orders", float(orders["conf_low"]), float(orders["conf_high"]), language)
            change = _change("orders", float(orders["estimate"]), language)
            sentences.append(language.text("executive.orders", change=change, interval=interval))
    caption = _panel_caption(a, row, language)
    axes = plots.linkage(linkage.curve(), outcome=outcome, exposure=a.exposure, language=language)
    return _part(number, title, sentences, [_picture(outcome, axes, caption)], language)


def _worth_section(a: Assessment, language: Language) -> Section:
    whole, point = _value_row(a, "lifetime_value"), _value_row(a, "value_of_one_point")
    if whole is None or isinstance(a.value, str):
        return _absent(4, _why(a.value if isinstance(a.value, str) else a.value.reason, language), language)
    months, worth = _horizon(a, language), money(whole["estimate"], language)
    if point is None:
        title = language.text("executive.finding.worth", value=worth, months=months)
        sentences = (
            [language.text("executive.because", reason=_why(a.value.reason, language))] if a.value.reason else []
        )
    else:
        title = language.text(
            "executive.finding.worth_point",
            value=worth,
            months=months,
            answer=_answer(a, language),
            point=_change("ltv", point["estimate"], language),
        )
        interval = money_interval(point["low"], point["high"], language)
        sentences = [
            language.text("executive.point_throughout", value=money(point["estimate"], language), interval=interval)
        ]
        fading = _value_row(a, "value_of_one_fading_point")
        if fading is None:
            sentences.append(language.text("executive.no_fading"))
        else:
            interval = money_interval(fading["low"], fading["high"], language)
            sentences.append(
                language.text("executive.point_fading", value=money(fading["estimate"], language), interval=interval)
            )
    caption = language.text(
        "executive.caption.value",
        n=language.number(a.value.customers),
        quarter=language.quarter(a.last_quarter),
        rate=language.percent(a.value.annual_discount_rate),
    )
    axes = plots.value_by_band(a.value.tidy(), language=language)
    return _part(4, title, sentences, [_picture("value", axes, caption)], language)


def _pay_section(a: Assessment, language: Language) -> Section:
    if isinstance(a.decision, str):
        return _absent(5, _why(a.decision, language), language)
    decision = a.decision
    cost, benefit = _measure(decision, "pv_cost"), _measure(decision, "pv_benefit")
    sentences = [
        language.text(
            "executive.cost_and_benefit",
            cost=money(cost["median"], language),
            benefit=money(benefit["median"], language),
            interval=money_interval(benefit["low"], benefit["high"], language),
        ),
        language.text("executive.only_margin"),
    ]
    caption = language.text(
        "executive.caption.case",
        draws=language.number(decision.draws),
        rate=language.percent(decision.case.annual_discount_rate),
        start=language.date(decision.case.start),
    )
    axes = plots.cash_flows(decision.cash_flows(), language=language)
    return _part(5, f"{_verdict(decision, language)}", sentences, [_picture("cash-flows", axes, caption)], language)


# --- what it rests on --------------------------------------------------------------------------------------------


def _section(
    name: str, language: Language, sentences: Sequence[str], exhibits: Sequence[Figure | Table] = ()
) -> Section:
    texts = tuple(Sentence(f"{name}-{at}", words) for at, words in enumerate(sentences, start=1))
    return Section(name, language.text(f"executive.section.{name}"), texts, tuple(exhibits))


def _sure_section(a: Assessment, language: Language) -> Section:
    row = _main_estimate(a)
    if row is None:
        return _section("sure", language, [_how_sure(a, language)])
    rung, outcome = str(row["evidence"]), str(row["outcome"])
    grade = "ladder" if a.panel.timing == "before" else "ladder_timing"
    meaning = language.text(f"evidence_meaning.{rung}")
    words = {"meaning": meaning} if grade == "ladder" else {}
    sentences = [
        language.text(f"executive.{grade}", evidence=language.evidence(rung), **words),
        language.text(f"executive.next_rung.{_strength(rung) if a.panel.timing == 'before' else 'timing'}"),
    ]
    axes = plots.effects(a.estimates.tidy(), outcome=outcome, language=language)
    return _section("sure", language, sentences, [_picture("effects", axes, _panel_caption(a, row, language))])


def _change_section(a: Assessment, language: Language) -> Section:
    if isinstance(a.decision, str):
        return _section("change", language, [_what_changes(a, language)])
    exhibits: list[Figure | Table] = []
    inputs = a.decision.tornado()
    if len(inputs):
        axes = plots.tornado(inputs, language=language, currency=a.decision.case.currency)
        exhibits.append(_picture("tornado", axes, language.text("executive.caption.tornado")))
    exhibits.append(_scenario_table(a.decision, language))
    return _section("change", language, [_what_changes(a, language)], exhibits)


def _scenario_table(decision: BusinessCase, language: Language) -> Table:
    """Conservative, base and optimistic side by side, a row a measure."""
    frame = decision.tidy()
    own = frame[frame["programme"] == decision.whole.programme]
    rows = []
    for measure in ("pv_cost", "pv_benefit", "npv", "roi", "irr", "payback_months", "discounted_payback_months"):
        cells = own[own["measure"] == measure].set_index("scenario")["median"]
        rows.append(
            (
                language.text(f"executive.measure.{measure}"),
                *(_measured(measure, float(cells[name]), language) for name in plots.SCENARIOS),
            )
        )
    heads = [Column(_capital(language.text(f"scenario.{name}")), is_number=True) for name in plots.SCENARIOS]
    head = Column(language.text("executive.column.measure"))
    return Table("table-scenarios", language.text("executive.caption.scenarios"), (head, *heads), tuple(rows))


def _measured(measure: str, value: float, language: Language) -> str:
    if math.isnan(value):
        return language.text("executive.none")
    if measure.endswith("months"):
        return language.text("executive.months", number=language.number(value))
    return language.percent(value, 0) if measure in ("roi", "irr") else money(value, language)


def _assumptions_section(a: Assessment, language: Language) -> Section:
    rows = [*_data_rows(a, language)]
    tables: list[Table] = []
    if isinstance(a.case, Case):
        rows = [*_case_rows(a.case, language), *rows]
        tables = [_cost_table(a.case, a.decision, language)]
    heads = ("assumption", "value", "source", "owner", "kind")
    columns = tuple(Column(language.text(f"executive.column.{head}")) for head in heads)
    table = Table("table-assumptions", language.text("executive.caption.assumptions"), columns, tuple(rows))
    sentences = [language.text("executive.assumptions")]
    return _section("assumptions", language, sentences, [table, *tables])


def _case_rows(case: Case, language: Language) -> list[tuple[str, ...]]:
    """What was stated, a row each: assumption, value, source, owner, kind."""
    kind, file = language.text("executive.kind.assumption"), language.text("executive.source.case")
    months = language.text("executive.months", number=language.number(case.horizon_months))
    rows: list[tuple[str, ...]] = [
        (language.text("executive.fact.horizon"), months, file, "–", kind),
        (_capital(language.text("term.discount_rate")), _yearly(case.annual_discount_rate, language), file, "–", kind),
    ]
    if case.tax_rate:
        rows.append((language.text("executive.fact.tax"), language.percent(case.tax_rate, 0), file, "–", kind))
    for programme in case.programmes:
        start = f"{programme.name}: " if len(case.programmes) > 1 else ""
        for at, (fact, value) in enumerate(_programme_facts(programme, language)):
            known = programme.source if at < FACTS_OF_THE_SOURCE and programme.source else file
            rows.append((start + fact, value, known, programme.owner or "–", kind))
    return rows


def _programme_facts(programme: Programme, language: Language) -> list[tuple[str, str]]:
    gain, half_life = programme.score_gain, programme.half_life_months
    ends = language.interval(gain.low, gain.high, "number", 2)
    stated = language.points(gain.mode, 2)
    months = (
        language.text("executive.never")
        if half_life == "never"
        else language.text("executive.months", number=language.number(half_life))
    )
    ramp = language.text("executive.months", number=language.number(programme.ramp_months))
    return [
        (
            language.text("executive.fact.gain"),
            stated if gain.certain else language.text("executive.gain", mode=stated, interval=ends),
        ),
        (language.text("executive.fact.evidence"), _capital(language.evidence(programme.evidence))),
        (
            language.text("executive.fact.reach"),
            language.text("executive.reach", share=language.percent(programme.reach, 0)),
        ),
        (language.text("executive.fact.ramp"), ramp),
        (language.text("executive.fact.half_life"), months),
    ]


def _data_rows(a: Assessment, language: Language) -> list[tuple[str, ...]]:
    """What the data gave, a row each."""
    kind, source = language.text("executive.kind.data"), language.text("executive.source.estimated")
    rows: list[tuple[str, ...]] = []
    for outcome in ("retained", "orders", "margin"):
        row = _headline(a, outcome)
        if row is not None:
            change = _change(outcome, float(row["estimate"]), language)
            interval = _change_interval(outcome, float(row["conf_low"]), float(row["conf_high"]), language)
            name = language.text("executive.fact.per_point", outcome=language.text(f"plots.outcome.{outcome}"))
            value = language.text("executive.with_interval", value=change, interval=interval)
            rows.append((name, value, source, "–", kind))
    if isinstance(a.value, CustomerValue):
        customers = language.number(a.value.customers)
        rows.append((language.text("executive.fact.customers"), customers, source, "–", kind))
        if a.value.persistence is not None:
            low, high = np.quantile(a.value.persistence.fade_draws, [0.025, 0.975])
            value = language.text(
                "executive.with_interval",
                value=language.percent(a.value.persistence.fade, 0),
                interval=language.interval(float(low), float(high), "percent", 0),
            )
            rows.append((language.text("executive.fact.persistence"), value, source, "–", kind))
        stated = (
            language.text("executive.source.dataset") if a.panel.value_terms else language.text("executive.source.case")
        )
        months = language.text("executive.months", number=_horizon(a, language))
        value = language.text("executive.terms", months=months, rate=_yearly(a.value.annual_discount_rate, language))
        rows.append(
            (language.text("executive.fact.terms"), value, stated, "–", language.text("executive.kind.assumption"))
        )
    return rows


def _cost_table(case: Case, decision: BusinessCase | str, language: Language) -> Table:
    """Cost by category as stated: one-off, recurring, sum, and its present value before tax."""
    discount = discount_factors(case)
    sums = {(category, kind): 0.0 for category in CATEGORIES for kind in ("one_off", "recurring")}
    present = dict.fromkeys(CATEGORIES, 0.0)
    for cost in (cost for programme in case.programmes for cost in programme.costs):
        kind = cost.kind or ("one_off" if len(cost.months) == 1 else "recurring")
        sums[cost.category, kind] += cost.amount * len(cost.months)
        present[cost.category] += cost.amount * float(discount[cost.months.start : cost.months.stop].sum())
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


def _checks_section(a: Assessment, language: Language) -> Section:
    frame = _checks(a)
    counts = {word: language.number((frame["verdict"] == word).sum()) for word in VERDICTS}
    sentences = [language.text("executive.checks", n=language.number(len(frame)), **counts)]
    rows = [
        (
            _check_name(a, str(each.name), language),
            language.text(f"executive.check.{each.verdict}"),
            _plain_number(float(each.number), language),
            _capital(said(str(each.advice), language)),
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
    words = _capital(said(kind, language).replace("_", " "))
    return words if not subject or len(names) == 1 else f"{words}: {names.get(subject, said(subject, language))}"


def _each(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _plain_number(x: float, language: Language) -> str:
    return "–" if math.isnan(x) else language.number(x, 0 if float(x).is_integer() or abs(x) >= 100 else 2)


def _checks(a: Assessment) -> pd.DataFrame:
    """Checks of the case and of the equations under it, the worst first; of those that recur the worst one."""
    own = a.estimates.checks()
    own = own[own["exposure"] == a.exposure]
    parts = [own[["name", "verdict", "number", "advice"]]]
    if isinstance(a.decision, BusinessCase):
        parts.insert(0, a.decision.checks()[["name", "verdict", "number", "advice"]])
    frame = pd.concat(parts, ignore_index=True)
    rank = frame["verdict"].map(VERDICTS.index)
    return frame.assign(rank=rank).sort_values("rank", kind="stable").drop_duplicates("name", ignore_index=True)


def _limits_section(a: Assessment, language: Language) -> Section:
    rung = a.value.evidence if isinstance(a.value, CustomerValue) else "association"
    names = []
    if a.exposure:
        names += [f"evidence_{_strength(rung)}", "silent"]
        if a.panel.timing != "before":
            names.append("timing")
    if isinstance(a.decision, BusinessCase):
        names += ["gain", "referrals"]
    elif isinstance(a.value, CustomerValue) and a.value.margin is not None:
        names.append("horizon")
    names.append("beyond_money")
    return _section("limits", language, [language.text(f"executive.limit.{name}") for name in names])


def _provenance_section(a: Assessment, language: Language, inputs: Iterable[Mapping[str, Any]]) -> Section:
    first, last = window(a.panel)
    counts = a.tables.accounting.set_index(["table", "reason"])["rows"]
    rows = [
        (language.text("executive.fact.window"), _ends(language.date(first), language.date(last), language=language)),
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
    return _section("provenance", language, [language.text("executive.provenance")], exhibits)


def _links(pages: Sequence[str], language: Language) -> tuple[Link, ...]:
    found = [Link(f"{page}.html", language.text(f"notebook.{page}")) for page in pages]
    files = ("estimates.csv", "case.csv", "manifest.json")
    found += [Link(name, language.text(f"executive.link.{name.partition('.')[0]}")) for name in files]
    return tuple(found)


# --- rows of the results -----------------------------------------------------------------------------------------


def _estimate_row(a: Assessment, outcome: str, *, method: str = "") -> dict[str, Any] | None:
    frame = a.estimates.tidy()
    own = frame[(frame["outcome"] == outcome) & (frame["exposure"] == a.exposure) & (frame["estimand"] == "ame")]
    own = own[own["method"] == method] if method else own[own["headline"].astype(bool)]
    return None if own.empty else {str(name): value for name, value in own.iloc[0].items()}


def _headline(a: Assessment, outcome: str) -> dict[str, Any] | None:
    return _estimate_row(a, outcome)


def _main_estimate(a: Assessment) -> dict[str, Any] | None:
    """Headline of retention, or of what else there is."""
    found = (_headline(a, outcome) for outcome in ("retained", "margin", "orders"))
    return next((row for row in found if row is not None), None)


def _linkage(a: Assessment, outcome: str) -> Linkage | None:
    found = a.estimates.linkages.get(a.exposure, {})
    for method in ("adjusted", "raw"):
        linkage = found.get((outcome, method))
        if isinstance(linkage, Linkage):
            return linkage
    return None


def _linkage_reason(a: Assessment, outcome: str, language: Language) -> str:
    """Why there is no figure for an outcome."""
    frame = a.estimates.tidy()
    own = frame[(frame["outcome"] == outcome) & (frame["exposure"] == a.exposure)]
    reasons = [str(each) for each in own["method"] if str(each).startswith("not estimated: ")]
    return _why(reasons[0].removeprefix("not estimated: ") if reasons else "the data have no answers", language)


def _value_row(a: Assessment, measure: str) -> dict[str, float] | None:
    if isinstance(a.value, str):
        return None
    frame = a.value.tidy()
    own = frame[(frame["measure"] == measure) & (frame["band"] == "all")]
    return None if own.empty else {name: float(own[name].iloc[0]) for name in ("estimate", "low", "high")}


def _last_score(a: Assessment) -> Mapping[str, Any] | None:
    frame = a.scores.get(a.exposure, "")
    if isinstance(frame, str):
        return None
    return {str(name): value for name, value in frame[frame["estimate"].notna()].iloc[-1].items()}


def _measure(decision: BusinessCase, measure: str) -> dict[str, float]:
    frame = decision.tidy()
    own = frame[
        (frame["programme"] == decision.whole.programme) & (frame["scenario"] == "base") & (frame["measure"] == measure)
    ]
    return {name: float(own[name].iloc[0]) for name in ("low", "median", "high", "mean")}


def _weakest(decision: BusinessCase) -> str:
    """Lowest rung that a figure of the case stands on: the linkage's, or that of a stated gain."""
    rungs = [decision.response.evidence, *(each.evidence for each in decision.case.programmes)]
    return min(rungs, key=LADDER.index)


def _strength(rung: str) -> str:
    return "strong" if rung in STRONG else "weak" if rung == "association" else "middle"


# --- numbers as words --------------------------------------------------------------------------------------------


def _why(reason: str, language: Language) -> str:
    return said(reason, language).strip().rstrip(".")


def _answer(a: Assessment, language: Language) -> str:
    """The answer whose point is meant, with its scale: an answer's point is not a point of NPS."""
    low, high = (language.number(end) for end in a.panel.score_ranges[a.exposure])
    return language.text("executive.answer_scale", metric=a.exposure.upper(), low=low, high=high)


def _score(metric: str, x: float, language: Language) -> str:
    return language.percent(x, 0) if metric == "csat" else language.number(x, 0 if metric == "nps" else 2)


def _score_change(metric: str, x: float, language: Language, *, signed: bool = True) -> str:
    digits = 2 if metric == "ces" else 1
    text = language.percentage_points(x, digits) if metric == "csat" else language.points(x, digits)
    return f"+{text}" if signed and x > 0 else text


def _change(outcome: str, x: float, language: Language) -> str:
    """Change of an outcome for one point, with its sign and unit."""
    if outcome == "retained":
        text = language.percentage_points(x, 2)
    elif outcome == "orders":
        text = language.text("executive.orders_unit", number=language.number(x, 3))
    else:
        text = money(x, language)
    return f"+{JOINED}{text}" if x > 0 else text


def _change_interval(outcome: str, low: float, high: float, language: Language) -> str:
    if outcome == "retained":
        return language.interval(low, high, "percentage_points", 2)
    if outcome == "orders":
        return language.interval(low, high, "number", 3)
    return money_interval(low, high, language)


def _ends(low: str, high: str, *, language: Language) -> str:
    return language.text("format.interval", low=low, high=high)


def _chance(probability: float, language: Language) -> str:
    """A simulated probability; never all or nothing."""
    if probability < 0.01:
        return language.text("executive.below", number=language.percent(0.01, 0))
    if probability > 0.99:
        return language.text("executive.above", number=language.percent(0.99, 0))
    return language.percent(probability, 0)


def _horizon(a: Assessment, language: Language) -> str:
    return "" if isinstance(a.value, str) else language.number(a.value.horizon_quarters * MONTHS_OF_A_QUARTER)


def _yearly(rate: float, language: Language) -> str:
    return language.text("executive.yearly", rate=language.percent(rate))


def _list(names: Sequence[str], language: Language) -> str:
    return ", ".join(names) if names else language.text("executive.not_stated")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _slug(name: str) -> str:
    return name.replace(": ", "_").replace(" ", "_")


def _panel_caption(a: Assessment, row: Mapping[str, Any], language: Language) -> str:
    first, last = window(a.panel)
    return language.text(
        "executive.caption.panel",
        n=language.number(row["n_obs"]),
        customers=language.number(row["n_clusters"]),
        first=language.date(first),
        last=language.date(last),
    )
