"""Tables and figures on money for single leaders: cash by quarter, the most that is out at once, the internal rate, people and culture."""

from __future__ import annotations

import math

import narwhals as nw
import pandas as pd

from cxroi.case import BusinessCase, Case
from cxroi.case.flows import planned
from cxroi.case.measures import quantiles
from cxroi.case.quadrants import customers_verdict
from cxroi.language import Language
from cxroi.report.company import Assessment
from cxroi.report.facts import case_measure, weakest_rung
from cxroi.report.first_screen import KEYS, money_key, quadrant
from cxroi.report.model import KeyFigure, Table
from cxroi.report.pack_customers import MOST_LEVELS, table
from cxroi.report.show import EMPTY, money, money_interval
from cxroi.report.wording import capital

MOST_QUARTERS = 16  # rows of cash; a longer horizon is told by years
MONTHS = {"quarter": 3, "year": 12}
PEOPLE = ("people_hired", "training_consulting", "internal_alignment", "recognition_incentives", "other_culture")
CULTURE = "culture"


def cash_table(decision: BusinessCase, language: Language) -> Table:
    """Cost, margin and net cash of each quarter (of each year where there are many), and what they add up to, after tax."""
    flows = decision.cash_flows()
    flows = flows[flows["programme"] == decision.whole.programme]
    step = "quarter" if decision.case.horizon_months <= 3 * MOST_QUARTERS else "year"
    place = (flows["month"] - 1).clip(lower=0) // MONTHS[step]
    rows = []
    for at, part in flows.groupby(place):
        end = part.iloc[-1]
        number = language.number(int(at) + 1)
        name = language.text(f"documents.cash_{step}", number=number, date=_month(end["date"], language))
        cells = [money(float(part[column].sum()), language) for column in ("cost", "benefit_median", "net_median")]
        total = [money(float(end[f"cumulative_{which}"]), language) for which in ("median", "low", "high")]
        rows.append((name, *cells, total[0], language.text("format.interval", low=total[1], high=total[2])))
    return table("cash", "cash_period cash_cost cash_margin cash_net cash_total cash_range", rows, language)


def _month(end: pd.Timestamp, language: Language) -> str:
    """The last month of a period, whose flows fall at its end."""
    last = end - pd.DateOffset(days=1)
    return language.month(f"{last.year:04d}-{last.month:02d}")


def largest_need(decision: BusinessCase) -> tuple[float, float, float]:
    """Most that is out at once, undiscounted and after tax, in currency: 5, 50 and 95 % of the simulated futures."""
    measures = decision.whole.measures
    return quantiles(measures["peak_cash_need"] if "peak_cash_need" in measures else measures["pv_cost"])


def conservative_need(decision: BusinessCase) -> float:
    """Most that is out at once in the conservative scenario, in currency (median)."""
    frame = decision.tidy()
    own = frame[(frame["programme"] == decision.whole.programme) & (frame["measure"] == "peak_cash_need")]
    return float(own.loc[own["scenario"] == "conservative", "median"].iloc[0])


def overrun_words(case: Case, language: Language) -> str:
    """Whether the costs are stated with an overrun."""
    stated = any(cost.overrun is not None for programme in case.programmes for cost in programme.costs)
    return language.text(f"documents.overrun.{'stated' if stated else 'none'}")


def need_figure(decision: BusinessCase, language: Language) -> KeyFigure:
    """The largest cash need as a key figure."""
    low, middle, high = largest_need(decision)
    return KeyFigure(
        "key-cash",
        language.text("documents.key.cash"),
        money(middle, language),
        language.text("executive.range", interval=money_interval(low, high, language)),
        language.evidence(weakest_rung(decision)),
    )


def rate_figure(decision: BusinessCase, language: Language) -> KeyFigure | None:
    """The internal rate of return; none where the median future has none."""
    irr = case_measure(decision, "irr")
    if math.isnan(irr["median"]):
        return None
    ends = language.interval(irr["low"], irr["high"], "percent", 0) if not math.isnan(irr["low"]) else ""
    words = language.text("executive.range", interval=ends) if ends else language.text("documents.no_low_rate")
    return KeyFigure(
        "key-irr",
        language.text("documents.key.irr"),
        language.percent(irr["median"], 0),
        words,
        language.evidence(weakest_rung(decision)),
    )


def tax_words(case: Case, language: Language) -> str:
    """Whether the figures are before or after tax, and how it is taken."""
    if case.tax_rate:
        return language.text("documents.tax.stated", rate=language.percent(case.tax_rate, 0))
    return language.text("documents.tax.none")


def people_figures(case: Case, language: Language) -> list[KeyFigure]:
    """What the case states for people, training and culture, and what share of all costs that is."""
    costs = [cost for programme in case.programmes for cost in programme.costs]
    amounts = [float(planned(case, cost).sum()) for cost in costs]
    whole = math.fsum(amounts)
    own = math.fsum(amount for cost, amount in zip(costs, amounts, strict=True) if cost.category in PEOPLE)
    staff = math.fsum(amount for cost, amount in zip(costs, amounts, strict=True) if cost.beneficiary == "employees")
    stated, evidence = language.text("documents.stated_amount"), capital(language.text("executive.kind.assumption"))
    found = []
    figures = [("people", own), ("employees", staff)] if staff != own else [("people", own)]
    for name, amount in figures:
        share = language.percent(amount / whole if whole else 0.0, 0)
        words = language.text("documents.share_of_cost", share=share, stated=stated)
        found.append(
            KeyFigure(
                f"key-{name}", language.text(f"documents.key.{name}"), money(amount, language), words, evidence.lower()
            )
        )
    return found


def programme_table(a: Assessment, language: Language) -> Table | str:
    """What each programme intends, who owns it, on what evidence, and where it stands by both keys."""
    if not isinstance(a.case, Case):
        return a.case
    rows = []
    for each in a.case.programmes:
        said = language.text(f"documents.key_short.{KEYS[customers_verdict(each)[0]]}")
        paid, verdict = EMPTY, EMPTY
        if isinstance(a.decision, BusinessCase):
            paid = language.text(f"documents.key_short.{money_key(a.decision, each.id)}")
            verdict = capital(language.text(f"documents.quadrant.{quadrant(a.decision, each.id)}"))
        missing = language.text("executive.not_stated")
        discipline = language.text(f"documents.discipline.{each.discipline}") if each.discipline else missing
        rows.append(
            (
                each.name,
                each.intent or missing,
                each.owner or missing,
                discipline,
                each.touchpoint or missing,
                language.evidence(each.evidence),
                said,
                paid,
                verdict,
            )
        )
    heads = "programme intent owner discipline touchpoint gain_evidence said money quadrant"
    return table("programmes", heads, rows[:MOST_LEVELS], language, words=9)


def culture_table(a: Assessment, language: Language) -> Table | str:
    """Initiatives of the discipline culture, from the data and from the case."""
    missing = language.text("executive.not_stated")
    rows: dict[str, tuple[str, ...]] = {}
    if a.tables.initiatives is not None:
        names = a.tables.initiatives.collect_schema().names()
        if "discipline" in names:
            own = a.tables.initiatives.filter(nw.col("discipline") == CULTURE)
            columns = [name for name in ("name", "intent", "owner", "touchpoint", "starts_on") if name in names]
            found = own.select(*columns).collect("pandas").to_native()
            for row in found.sort_values("name", kind="stable").to_dict("records"):
                starts = row.get("starts_on")
                begun = language.date(starts.date()) if isinstance(starts, pd.Timestamp) else missing
                cells = [str(row.get(name) or missing) for name in ("name", "intent", "owner", "touchpoint")]
                rows[cells[0]] = (*cells, begun)
    if isinstance(a.case, Case):
        for each in a.case.programmes:
            if each.discipline == CULTURE:
                begun = language.date(a.case.start)
                rows[each.name] = (
                    each.name,
                    each.intent or missing,
                    each.owner or missing,
                    each.touchpoint or missing,
                    begun,
                )
    if not rows:
        return language.text("documents.no_culture")
    return table(
        "culture", "initiative intent owner touchpoint starts", list(rows.values())[:MOST_LEVELS], language, words=5
    )
