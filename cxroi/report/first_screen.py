"""What a leader reads in the first minute: what is to be decided, both keys, and the figures in plain words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import pandas as pd

from cxroi import plots
from cxroi.case import BusinessCase, Case
from cxroi.case.quadrants import SHOWN_CHANCE
from cxroi.evidence.sensitivity import Sensitivity
from cxroi.language import Language
from cxroi.report import readings
from cxroi.report.answer import if_it_fades
from cxroi.report.chain import picture
from cxroi.report.charts import cash_chart
from cxroi.report.company import Assessment
from cxroi.report.facts import break_even_measure, case_measure, main_estimate
from cxroi.report.model import Figure, KeyFigure, Sentence
from cxroi.report.show import chance_words, money, said
from cxroi.report.wording import change_range, change_words, grade_words, listed, reason_words, subject_words, verdict

Key = Literal["met", "open", "missed"]

FIRST = ("retention", "npv", "break_even", "break_even_multiple", "point", "score", "customer")
FIRST_FIGURES = 3
TENTHS = 10
KEYS: dict[str, Key] = {"pass": "met", "warn": "open", "fail": "missed"}


def decision_sentence(a: Assessment, language: Language) -> Sentence:
    """What the board is asked for, as the figures bear it; or why nothing can be asked yet."""
    if isinstance(a.decision, str) or not isinstance(a.case, Case):
        words = language.text(
            "documents.decision.none", reason=reason_words(a.decision if isinstance(a.decision, str) else "", language)
        )
        return Sentence("decision", words)
    chance = float(a.decision.glance()["p_npv_positive"].iloc[0])
    owners = sorted({each.owner for each in a.case.programmes if each.owner})
    words = language.text(
        f"documents.decision.{verdict(chance)}",
        programme=subject_words(a.case, language),
        cost=money(float(a.decision.whole.measures["pv_cost"][0]), language),
        months=language.number(a.case.horizon_months),
        start=language.date(a.case.start),
        owner=listed(owners, language),
    )
    return Sentence("decision", words)


def keys_of(decision: BusinessCase, programme: str = "") -> dict[str, Any]:
    """Both keys and the quadrant of one programme by its id, by default of the whole case, as the case itself judges them."""
    if not programme:
        return decision.whole_quadrant()
    rows = decision.quadrants()
    return {str(name): value for name, value in rows[rows["programme"] == programme].iloc[0].items()}


def customers_key(decision: BusinessCase, programme: str = "") -> Key:
    """Whether customers' own measures have moved: a gain above zero that a comparison of customers stands behind."""
    return KEYS[str(keys_of(decision, programme)["customers"])]


def money_key(decision: BusinessCase, programme: str = "") -> Key:
    """Whether the money is shown: net present value above zero in nearly all simulations, on more than an association."""
    found = keys_of(decision, programme)
    return "open" if math.isnan(found["p_npv_positive"]) else KEYS[str(found["money"])]


def quadrant(decision: BusinessCase, programme: str = "") -> str:
    """One of the four verdicts of both keys as in ``BusinessCase.quadrants``; a key that is open counts as not met."""
    return str(keys_of(decision, programme)["quadrant"])


def money_words(decision: BusinessCase, language: Language) -> str:
    """The money key of the whole case with the share of simulations above zero."""
    found = keys_of(decision)
    chance = found["p_npv_positive"]
    if math.isnan(chance):
        return language.text("documents.money_key.unknown")
    key = money_key(decision)
    name = "weak" if key == "open" and chance >= SHOWN_CHANCE else key
    return language.text(f"documents.money_key.{name}", chance=chance_words(chance, language))


def both_keys(a: Assessment, language: Language) -> Sentence | None:
    """What customers say and money, side by side, and the verdict that follows; None without a valued case."""
    if isinstance(a.decision, str):
        return None
    words = language.text(
        "documents.both_keys",
        customers=language.text(f"documents.customers_key.{customers_key(a.decision)}"),
        money=money_words(a.decision, language),
        verdict=language.text(f"documents.quadrant.{quadrant(a.decision)}"),
    )
    return Sentence("both-keys", words)


def in_order(figures: list[KeyFigure]) -> tuple[KeyFigure, ...]:
    """Key figures with those of the first screen in front: the customer's side, then money, then what must come true."""
    names = [f"key-{name}" for name in FIRST]
    first = [each for name in names for each in figures if each.id == name][:FIRST_FIGURES]
    return (*first, *(each for each in figures if each not in first))


def first_picture(a: Assessment, language: Language) -> Figure | None:
    """Money over time where there is a case, else what a customer is worth, else nothing."""
    if isinstance(a.decision, BusinessCase):
        return cash_picture(a.decision, language)
    return None


def cash_picture(decision: BusinessCase, language: Language) -> Figure:
    """What has come in and gone out, discounted and added up by month."""
    caption = language.text(
        "executive.caption.case",
        draws=language.number(decision.draws),
        rate=language.percent(decision.case.annual_discount_rate),
        start=language.date(decision.case.start),
    )
    axes = plots.cash_flows(decision.cash_flows(), language=language)
    shown = picture("cash-flows", axes, caption, cash_chart(decision, language))
    return replace(shown, finding=readings.cash_title(decision, language=language))


def plain_sentences(a: Assessment, language: Language) -> tuple[Sentence, ...]:
    """Chance, break-even and robustness for a reader without statistics."""
    row = main_estimate(a)
    lines = [] if row is None else [("grade", grade_words(a, str(row["evidence"]), language))]
    if isinstance(a.decision, BusinessCase):
        lines += [("chance", _chance(a.decision, language)), ("break-even", _break_even(a, a.decision, language))]
        lines.append(("pilot", _pilot(a, language)))
    lines.append(("faded", if_it_fades(a, language)))
    lines.append(("robustness", robustness(a.beside.sensitivity, language)))
    return tuple(Sentence(f"plain-{name}", words) for name, words in lines if words)


def _chance(decision: BusinessCase, language: Language) -> str:
    share = float(decision.glance()["p_npv_positive"].iloc[0])
    tenths = min(max(round(TENTHS * share), 0), TENTHS)
    key = "none" if tenths == 0 else "all" if tenths == TENTHS else "some"
    words = {"number": language.number(tenths)} if key == "some" else {}
    return language.text(f"documents.plain.chance_{key}", **words)


def _break_even(a: Assessment, decision: BusinessCase, language: Language) -> str:
    multiple = case_measure(decision, "break_even_multiple")["median"]
    if math.isnan(multiple):
        return language.text("documents.plain.no_break_even")
    share = language.percent(multiple, 0)
    enough = "enough" if multiple <= 1 else "too_much"
    if len(decision.case.programmes) > 1:
        return language.text(f"documents.plain.multiple_{enough}", share=share)
    low, high = (language.number(end) for end in a.panel.score_ranges[a.exposure])
    lift = pilot_lift(a)
    sentence = language.text(
        f"documents.plain.break_even_{enough}",
        gain=language.points(case_measure(decision, break_even_measure(decision))["median"], 2),
        low=low,
        high=high,
        metric=a.exposure.upper(),
        share=share,
        mode=language.number(decision.case.programmes[0].gain.mode, 2),
    )
    if lift is None:
        return language.text("documents.plain.stop", first=sentence)
    ends = language.interval(lift["conf_low"], lift["conf_high"], "number", 2)
    measured = language.text("documents.plain.pilot", lift=language.number(lift["estimate"], 2), interval=ends)
    return language.text("documents.plain.joined", first=sentence, second=measured)


def pilot_lift(a: Assessment) -> dict[str, Any] | None:
    """What a pilot under the name or at the touchpoint of the only programme lifted the score by; None where none did."""
    rows = pilot_rows(a)
    own = rows[(rows["estimand"] == "pilot_lift") & rows["estimate"].notna()] if len(rows) else rows
    return None if own.empty else {str(name): value for name, value in own.iloc[0].items()}


def pilot_rows(a: Assessment) -> pd.DataFrame:
    """What notebook 07 has of the pilot of the only programme; empty where there is none."""
    if isinstance(a.beside.pilot, str) or not isinstance(a.case, Case) or len(a.case.programmes) != 1:
        return pd.DataFrame()
    rows = a.beside.pilot.tidy()
    names = initiative_names(a)
    own = [names.get(str(each)) == a.case.programmes[0].name for each in rows["initiative"]]
    return rows[own].reset_index(drop=True)


def pilot_differences(a: Assessment) -> list[dict[str, Any]]:
    """Treated less control of the pilot in staying and margin."""
    rows = pilot_rows(a)
    if rows.empty:
        return []
    own = rows[(rows["estimand"] == "pilot_difference") & rows["outcome"].isin(["retained", "margin"])]
    kept = own[own["estimate"].notna()].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in kept]


def _pilot(a: Assessment, language: Language) -> str:
    """What the pilot showed beyond the score, each with its interval; empty without a pilot that moved the score."""
    rows = pilot_differences(a) if pilot_lift(a) is not None else []
    told = [
        language.text(
            f"documents.pilot.{'open' if row['conf_low'] <= 0 <= row['conf_high'] else 'clear'}",
            outcome=language.text(f"documents.outcome.{row['outcome']}"),
            size=change_words(row["outcome"], float(row["estimate"]), language),
            interval=change_range(row["outcome"], float(row["conf_low"]), float(row["conf_high"]), language),
        )
        for row in rows
    ]
    return language.text("documents.pilot.sentence", told="; ".join(told)) if told else ""


def initiative_names(a: Assessment) -> dict[str, str]:
    """Name of each initiative of the data by its id as text."""
    if a.tables.initiatives is None:
        return {}
    table = a.tables.initiatives.select("initiative_id", "name").collect()
    return {str(key): str(name) for key, name in zip(table["initiative_id"], table["name"], strict=True)}


def robustness(found: Sensitivity | str, language: Language) -> str:
    """How strong something unseen would have to be, told by what is recorded; empty where nothing can be said."""
    if isinstance(found, str):
        return ""
    outcome = language.text(f"documents.outcome.{found.outcome}")
    if abs(found.estimate) <= found.critical_value * found.std_error:
        return language.text("documents.plain.robust_open", outcome=outcome)
    value, limit = (language.percent(found.robustness_value(to=end)) for end in ("zero", "interval"))
    first = language.text("documents.plain.robust", outcome=outcome, value=value, limit=limit)
    recorded = found.linear.strengths
    if recorded.empty:
        return language.text("documents.plain.robust_alone", first=first)
    both = (recorded["r2_score"] * recorded["r2_outcome"]).to_numpy()
    strongest = recorded.iloc[int(both.argmax())]
    return language.text(
        "documents.plain.robust_beside",
        first=first,
        name=said(str(strongest["benchmark"]), language),
        score=language.percent(strongest["r2_score"], 2),
        share=language.percent(strongest["r2_outcome"], 2),
    )
