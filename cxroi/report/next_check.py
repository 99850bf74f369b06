"""Next quarter's check: who looks at what by when, against what the case states for that day."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

from cxroi import periods
from cxroi.case import Case, Programme
from cxroi.case.flows import planned, score_path_by_month
from cxroi.language import Language
from cxroi.panel import window
from cxroi.report.company import Assessment, smallest_detectable_gain
from cxroi.report.model import Column, Section, Table
from cxroi.report.show import money
from cxroi.report.wording import capital, listed

Row = tuple[str, str, str]


def check_day(a: Assessment) -> dt.date:
    """Last day of the quarter after the one in which the outcomes of this run end."""
    return periods.end(periods.containing(window(a.panel)[1]) + 1)


def check_table(name: str, a: Assessment, rows: Sequence[Row], language: Language) -> Table:
    """Rows of who, what and how it is judged, each by the day of the check."""
    day = language.date(check_day(a))
    heads = tuple(
        Column(language.text(f"documents.column.{head}")) for head in ("who", "looks_at", "judged_by", "by_when")
    )
    return Table(
        f"table-check-{name}",
        language.text("documents.caption.check"),
        heads,
        tuple((*(capital(cell) for cell in row), day) for row in rows),
    )


def check_section(a: Assessment, language: Language) -> Section:
    """What the board holds the next quarter against."""
    table = check_table("board", a, board_rows(a, language), language)
    return Section("check", language.text("documents.section.check"), (), (table,))


def board_rows(a: Assessment, language: Language) -> list[Row]:
    """Score, money and the run itself."""
    return [score_row(a, language), spend_row(a, language), rerun_row(language)]


def score_row(a: Assessment, language: Language) -> Row:
    """The score of those reached against the gain that the case states for that day."""
    who = _owner(a, language)
    if not a.exposure:
        return who, language.text("documents.check.first_answers"), language.text("documents.check.any_answers")
    metric = a.exposure.upper()
    if not isinstance(a.case, Case):
        return who, language.text("documents.check.score", metric=metric), _detectable(a, language)
    gains = [_planned_gain(a.case, each, check_day(a)) for each in a.case.programmes]
    if all(gain == 0 for gain in gains):
        return (
            who,
            language.text("documents.check.score_reached", metric=metric),
            language.text("documents.check.not_begun"),
        )
    # a change of the mean over all customers shows a gain among those reached only once it is so much larger
    least = smallest_detectable_gain(a.panel, a.exposure) / max(each.reach for each in a.case.programmes)
    if max(gains) < least:  # false where it is not known
        early = language.text(
            "documents.check.too_early",
            gain=", ".join(language.points(gain, 2) for gain in gains),
            points=language.points(least, 2),
        )
        return who, language.text("documents.check.score_reached", metric=metric), early
    words = language.text("documents.check.planned_gain", gain=", ".join(language.points(gain, 2) for gain in gains))
    judged = language.text("documents.check.joined", first=words, second=_detected(least, language))
    return who, language.text("documents.check.score_reached", metric=metric), judged


def spend_row(a: Assessment, language: Language) -> Row:
    """What has been paid against what the case states until that day."""
    who = language.text("documents.role.cfo")
    if not isinstance(a.case, Case):
        return who, language.text("documents.check.case"), language.text("documents.check.stated_case")
    until = max(_months(a.case, check_day(a)), -1)  # month 0 is paid at the start
    costs = [cost for programme in a.case.programmes for cost in programme.costs]
    paid = float(sum(planned(a.case, cost)[: until + 1].sum() for cost in costs))
    return (
        who,
        language.text("documents.check.spend"),
        language.text("documents.check.planned_spend", amount=money(paid, language)),
    )


def rerun_row(language: Language) -> Row:
    """The same equations with one quarter more."""
    return (
        language.text("documents.role.data"),
        language.text("documents.check.rerun"),
        language.text("documents.check.same_sign"),
    )


def _owner(a: Assessment, language: Language) -> str:
    owners = sorted({each.owner for each in a.case.programmes if each.owner}) if isinstance(a.case, Case) else []
    return listed(owners, language) if owners else language.text("documents.role.cx")


def _detectable(a: Assessment, language: Language) -> str:
    return _detected(smallest_detectable_gain(a.panel, a.exposure), language)


def _detected(least: float, language: Language) -> str:
    if math.isnan(least):
        return language.text("documents.check.any_answers")
    return language.text("documents.check.beyond_chance", points=language.points(least, 2))


def _months(case: Case, day: dt.date) -> int:
    """Whole months of the case until the end of a day; below zero before its start."""
    after = day + dt.timedelta(days=1)
    return (after.year - case.start.year) * 12 + after.month - case.start.month - (after.day < case.start.day)


def _planned_gain(case: Case, programme: Programme, day: dt.date) -> float:
    """Gain in force in the last month before the day, at the mode."""
    months = min(_months(case, day), case.horizon_months)
    if months < 1:
        return 0.0
    return float(score_path_by_month(case, programme)[months - 1] * programme.gain.mode)
