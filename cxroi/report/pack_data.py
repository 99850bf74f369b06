"""Tables and figures on the data for the data and IT lead: rows, answers, timing, checks, and what would narrow the interval."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from cxroi.case import BusinessCase, Case
from cxroi.language import Language
from cxroi.report import views
from cxroi.report.company import POWER, Assessment, smallest_detectable_gain
from cxroi.report.facts import last_score, main_estimate
from cxroi.report.model import KeyFigure, Table
from cxroi.report.pack_customers import MOST_LEVELS, table
from cxroi.report.show import EMPTY, money_interval, said
from cxroi.report.wording import capital, change_range, quarter_words, slug

NOT_ANSWERED = "invited, no answer"
HALVED = 4  # times the answers that halve an interval


def rows_table(a: Assessment, language: Language) -> Table:
    """Rows of each table read, left out and kept."""
    frame = views.tables_read(a.tables)
    rows = [
        (said(str(row["table"]), language), *(language.number(row[name]) for name in ("read", "lost", "kept")))
        for row in frame.to_dict("records")
    ]
    return table("rows", "table rows_read rows_lost rows_kept", rows, language)


def losses_table(a: Assessment, language: Language) -> Table | str:
    """Why rows and answers were left out, the largest reasons first."""
    found = [
        (str(row["table"]), str(row["reason"]), int(row["rows"])) for row in views.losses(a.tables).to_dict("records")
    ]
    if a.panel.metrics:
        own = a.panel.accounting[a.panel.accounting["stage"] == "answers"]
        lost = own[~own["reason"].isin(["read", "kept"])]
        found += [(str(row["stage"]), str(row["reason"]), -abs(int(row["rows"]))) for row in lost.to_dict("records")]
    rows = sorted(((abs(count), name, reason) for name, reason, count in found if count), reverse=True)
    if not rows:
        return language.text("documents.nothing_lost")
    cells = [
        (capital(said(name, language)), capital(said(reason, language)), language.number(count))
        for count, name, reason in rows[:MOST_LEVELS]
    ]
    return table("losses", "table why rows_lost", cells, language, words=2)


def answers_table(a: Assessment, language: Language) -> Table | str:
    """Answers of each score in its last period: how many, how many of those asked, and whether they are dated before the outcome."""
    rows = []
    timing = language.text(f"documents.timing.{a.panel.timing}")
    for metric, frame in a.scores.items():
        if isinstance(frame, str):
            continue
        row = frame[frame["estimate"].notna()].iloc[-1]
        rate = EMPTY if pd.isna(row["response_rate"]) else language.percent(row["response_rate"], 0)
        rows.append(
            (metric.upper(), quarter_words(str(row["period"]), language), language.number(row["n"]), rate, timing)
        )
    if not rows:
        return language.text("documents.no_answers")
    return table("answers", "metric period answers response timing", rows, language, words=2)


def data_checks_table(a: Assessment, language: Language) -> Table:
    """What was checked of the data, with verdicts."""
    rows = [
        (
            capital(said(str(row["check"]), language)),
            language.text(f"executive.check.{row['verdict']}"),
            capital(said(str(row["advice"]), language)),
        )
        for row in views.data_checks(a.tables, a.panel).to_dict("records")
    ]
    return table("data-checks", "check verdict advice", rows, language, words=3)


def narrower_table(a: Assessment, language: Language) -> Table | str:
    """What would narrow the interval, by how much."""
    rows: list[tuple[str, ...]] = []
    row = main_estimate(a)
    if row is not None:
        outcome, estimate = str(row["outcome"]), float(row["estimate"])
        ends = [float(row[end]) for end in ("conf_low", "conf_high")]
        halved = [estimate + (end - estimate) / math.sqrt(HALVED) for end in ends]
        answers = language.number(HALVED * float(row["n_obs"]))
        now, then = (change_range(outcome, each[0], each[1], language) for each in (ends, halved))
        what = language.text("documents.narrow.answers", answers=answers, times=language.number(HALVED))
        rows.append((what, language.text(f"documents.fact.{outcome}"), now, then))
    if isinstance(a.case, Case) and a.exposure:
        wanted = _answers_to_see(
            a, min((each.gain.mode for each in a.case.programmes if each.gain.mode > 0), default=0.0)
        )
        if wanted is not None:
            have, need = wanted
            name = language.text("documents.narrow.see_gain")
            rows.append((name, language.text("documents.fact.answers"), language.number(have), language.number(need)))
    if isinstance(a.decision, BusinessCase) and len(a.decision.tornado()):
        widest = a.decision.tornado().iloc[0]
        name = language.text(
            "documents.narrow.widest", input=language.text(f"plots.input.{slug(str(widest['input']))}")
        )
        low, high = sorted((float(widest["npv_low"]), float(widest["npv_high"])))
        interval = money_interval(low, high, language)
        rows.append((name, language.text("documents.fact.npv_alone"), interval, EMPTY))
    if a.panel.timing != "before":
        rows.append(
            (
                language.text("documents.narrow.dates"),
                language.text("documents.fact.grade"),
                language.evidence("association"),
                language.evidence("adjusted"),
            )
        )
    if not rows:
        return language.text("documents.narrow.nothing")
    return table("narrower", "step concerns now then", rows, language, words=4)


def _answers_to_see(a: Assessment, gain: float) -> tuple[float, float] | None:
    """Answers a quarter now, and those at which a change of the mean by ``gain`` points is detected between two quarters."""
    rows = a.panel.rows
    answered = rows.groupby("period")[a.exposure].agg(["var", "count"])
    last = answered[answered["count"] > 1].tail(1)
    if last.empty or gain <= 0:
        return None
    need = 2.0 * float(last["var"].iloc[0]) * (POWER / gain) ** 2
    return float(last["count"].iloc[0]), float(np.ceil(need))


def response_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """Share of those asked who answered the score, in its last period."""
    row = last_score(a)
    if row is None or math.isnan(float(row["response_rate"])):
        return None
    words = language.text("documents.n_asked", asked=language.number(row["invited"]), n=language.number(row["n"]))
    label = language.text(
        "documents.key.response", metric=a.exposure.upper(), quarter=quarter_words(str(row["period"]), language)
    )
    return KeyFigure(
        "key-response", label, language.percent(row["response_rate"], 0), words, language.text("executive.measured")
    )


def detectable_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """Smallest change of the mean answer between two quarters that so many answers detect."""
    least = smallest_detectable_gain(a.panel, a.exposure)
    if math.isnan(least):
        return None
    label = language.text("documents.key.detectable", metric=a.exposure.upper())
    return KeyFigure(
        "key-detectable",
        label,
        language.points(least, 2),
        language.text("documents.power"),
        language.text("executive.measured"),
    )


def rows_figure(a: Assessment, language: Language) -> KeyFigure:
    """Share of all rows read that is kept."""
    frame = views.tables_read(a.tables)
    read, kept = int(frame["read"].sum()), int(frame["kept"].sum())
    words = language.text("executive.rows", read=language.number(read), kept=language.number(kept))
    share = language.percent(kept / max(read, 1), 1)
    return KeyFigure(
        "key-rows", language.text("documents.key.rows"), share, words, language.text("documents.counted_rows")
    )


def linked_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """Answers joined to what the same customers did next."""
    if not a.panel.metrics:
        return None
    own = a.panel.accounting[a.panel.accounting["stage"] == "answers"].set_index("reason")["rows"]
    if not {"read", "kept"} <= set(own.index):
        return None
    given = own["read"] + own.get(NOT_ANSWERED, 0)
    share = language.percent(own["kept"] / max(given, 1), 0)
    words = language.text("documents.n_linked", given=language.number(given), kept=language.number(own["kept"]))
    return KeyFigure(
        "key-linked", language.text("documents.key.linked"), share, words, language.text("documents.counted_rows")
    )
