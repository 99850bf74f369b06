"""The chain in five pictures: what customers say, who stays, what they buy, what it is worth, whether it pays."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from cxroi import plots
from cxroi.errors import CxroiError
from cxroi.language import Language
from cxroi.report import views
from cxroi.report.charts import linkage_chart, scenario_chart, score_chart, value_chart
from cxroi.report.company import Assessment
from cxroi.report.facts import (
    case_measure,
    estimate_row,
    fitted_linkage,
    headline,
    last_score,
    linkage_reason,
    value_row,
)
from cxroi.report.model import Chart, Figure, Section, Sentence
from cxroi.report.results import NO_ANSWERS
from cxroi.report.show import money, money_interval
from cxroi.report.wording import (
    answer_scale,
    change_range,
    change_words,
    claim_words,
    end_of_data,
    horizon_words,
    moved_words,
    panel_caption,
    quarter_words,
    reason_words,
    score_range,
    score_size,
    score_words,
    verdict_words,
)


def picture(name: str, axes: Axes, caption: str, chart: Chart | None = None) -> Figure:
    """A figure of the page, drawn, with its numbers where a writer may draw it anew."""
    return Figure(f"figure-{name}", plots.to_svg(axes).encode(), "image/svg+xml", plots.alt(axes), caption, chart)


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


def said_section(a: Assessment, language: Language) -> Section:
    """What customers say."""
    frame, row = a.scores.get(a.exposure, ""), last_score(a)
    if isinstance(frame, str) or row is None:
        return _absent(1, reason_words(frame or NO_ANSWERS, language), language)
    metric = a.exposure.upper()
    score = score_words(a.exposure, float(row["estimate"]), language)
    quarter = quarter_words(str(row["period"]), language)
    title = language.text("executive.finding.score", metric=metric, score=score, quarter=quarter)
    sentences = [_meaning(a, language)]
    change = a.changes.get(a.exposure, "")
    if not isinstance(change, str) and not bool(change["suppressed"].iloc[0]):
        moved = change.iloc[0]
        clear = "clear" if moved["conf_low"] > 0 or moved["conf_high"] < 0 else "unclear"
        difference = moved_words(a.exposure, float(moved["estimate"]), language)
        title = language.text(
            f"executive.finding.score_{clear}", metric=metric, score=score, quarter=quarter, moved=difference
        )
        sentences.append(
            language.text(
                f"executive.score_change_{clear}",
                before=language.quarter(str(moved["before"])),
                metric=metric,
                moved=difference,
                interval=score_range(a.exposure, float(moved["conf_low"]), float(moved["conf_high"]), language),
                detectable=score_size(a.exposure, float(moved["smallest_detectable"]), language),
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
        return picture("scores", axes, language.text("executive.caption.undated", source=source, n=n))
    first, last = (language.quarter(str(end)) for end in (frame["period"].min(), frame["period"].max()))
    caption = language.text("executive.caption.survey", source=source, n=n, first=first, last=last)
    chart = score_chart(frame, a.exposure, language)
    return picture("scores", plots.scores_by_period(frame, language=language), caption, chart)


def _meaning(a: Assessment, language: Language) -> str:
    """What the score is, on the scale that the data declare."""
    low, high = a.panel.score_ranges[a.exposure]
    if a.exposure != "nps":
        return language.text(f"executive.meaning.{a.exposure}")
    top, bottom = (f"{first:g}–{last:g}" for first, last in ((high - 1, high), (low, high - 4)))
    return language.text("executive.meaning.nps", promoters=top, detractors=bottom)


def stay_section(a: Assessment, language: Language) -> Section:
    """Who stays."""
    return _linkage_section(a, 2, "retained", language)


def buy_section(a: Assessment, language: Language) -> Section:
    """What they buy."""
    outcome = next((name for name in ("margin", "orders") if headline(a, name) is not None), "margin")
    return _linkage_section(a, 3, outcome, language)


def _linkage_section(a: Assessment, number: int, outcome: str, language: Language) -> Section:
    row, linkage = headline(a, outcome), fitted_linkage(a, outcome)
    if row is None or linkage is None:
        return _absent(number, reason_words(linkage_reason(a, outcome), language), language)
    low, high = float(row["conf_low"]), float(row["conf_high"])
    direction = "up" if low > 0 else "down" if high < 0 else "unclear"
    title = language.text(
        f"executive.finding.{outcome}_{direction}",
        change=change_words(outcome, float(row["estimate"]), language),
    )
    sentences = [language.text("executive.claim_alone", claim=claim_words(a, row, language))]
    raw = estimate_row(a, outcome, method="raw")
    if raw is not None and str(row["method"]) != "raw":
        words = {
            "raw": change_words(outcome, float(raw["estimate"]), language),
            "adjusted": change_words(outcome, float(row["estimate"]), language),
        }
        leading = str(row["method"]).partition(" ")[0]
        plain = estimate_row(a, outcome, method="adjusted") if leading in ("calibrated", "within") else None
        if plain is None:
            sentences.append(language.text("executive.raw_and_adjusted", **words))
        else:
            words["plain"] = change_words(outcome, float(plain["estimate"]), language)
            sentences.append(language.text(f"executive.raw_adjusted_and_{leading}", **words))
    if outcome == "margin":
        orders = headline(a, "orders")
        if orders is not None:
            interval = change_range("orders", float(orders["conf_low"]), float(orders["conf_high"]), language)
            change = change_words("orders", float(orders["estimate"]), language)
            sentences.append(language.text("executive.orders", change=change, interval=interval))
    caption = panel_caption(a, row, language)
    curve = linkage.curve()
    axes = plots.linkage(curve, outcome=outcome, exposure=a.exposure, language=language)
    chart = linkage_chart(curve, outcome, language)
    return _part(number, title, sentences, [picture(outcome, axes, caption, chart)], language)


def worth_section(a: Assessment, language: Language) -> Section:
    """What a customer, and a point, is worth."""
    whole, point = value_row(a, "lifetime_value"), value_row(a, "value_of_one_point")
    if whole is None or isinstance(a.value, str):
        return _absent(4, reason_words(a.value if isinstance(a.value, str) else a.value.reason, language), language)
    months, worth = horizon_words(a, language), money(whole["estimate"], language)
    if point is None:
        title = language.text("executive.finding.worth", value=worth, months=months)
        sentences = (
            [language.text("executive.because", reason=reason_words(a.value.reason, language))]
            if a.value.reason
            else []
        )
    else:
        title = language.text(
            "executive.finding.worth_point",
            value=worth,
            months=months,
            answer=answer_scale(a, language),
            point=change_words("ltv", point["estimate"], language),
        )
        interval = money_interval(point["low"], point["high"], language)
        sentences = [
            language.text("executive.point_throughout", value=money(point["estimate"], language), interval=interval)
        ]
        fading = value_row(a, "value_of_one_fading_point")
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
        end=end_of_data(a, language),
        rate=language.percent(a.value.annual_discount_rate),
    )
    tidy = a.value.tidy()
    axes = plots.value_by_band(tidy, language=language)
    return _part(4, title, sentences, [picture("value", axes, caption, value_chart(tidy, language))], language)


def pay_section(a: Assessment, language: Language) -> Section:
    """Whether the programme pays."""
    if isinstance(a.decision, str):
        return _absent(5, reason_words(a.decision, language), language)
    decision = a.decision
    cost, benefit = case_measure(decision, "pv_cost"), case_measure(decision, "pv_benefit")
    sentences = [
        language.text(
            "executive.cost_and_benefit",
            cost=money(cost["median"], language),
            benefit=money(benefit["median"], language),
            interval=money_interval(benefit["low"], benefit["high"], language),
        ),
        language.text(
            "executive.only_margin"
            if decision.response.through_service is None
            else "executive.only_margin_and_service"
        ),
    ]
    axes = plots.scenarios(decision.tidy(), language=language, currency=decision.case.currency)
    shown = picture("scenarios", axes, language.text("executive.caption.scenarios"), scenario_chart(decision, language))
    return _part(5, verdict_words(decision, language), sentences, [shown], language)
