"""Tables of an investment case for notebook 06: where money comes from, both keys, costs seen otherwise, break-even, register."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from cxroi.case import BusinessCase, Case
from cxroi.case.forecast import TOTAL
from cxroi.case.ledger import OVERLAP
from cxroi.case.red_team import OURS
from cxroi.case.register import register as stated_register
from cxroi.language import Language
from cxroi.panel import Panel
from cxroi.report.company import smallest_detectable_gain
from cxroi.report.show import chance_words

_RATES = ("per_year", "share", "share_per_quarter")
_NUMBERS = {"customers": 0, "correlation": 2, "points_per_point": 2}


def ledger(decision: BusinessCase | str, language: Language) -> pd.DataFrame | str:
    """Overlap ledger: ``programme, through, median, low, high, mean, unit``."""
    if isinstance(decision, str):
        return decision
    frame = decision.ledger()
    if frame.empty:
        return decision.response.reason or "no programme works through a customer measure"
    frame = frame[(frame["programme"] != OVERLAP) | (frame["mean"] != 0)]
    stated = (frame["term"] != "stated_benefits") | (frame["mean"] != 0)
    frame = frame[stated].reset_index(drop=True)
    names = {each.id: each.name for each in decision.case.programmes}
    names |= {OVERLAP: language.text("nb.case_part.overlap"), TOTAL: language.text("nb.case_part.total")}
    through = ["" if term == TOTAL else language.text(f"nb.case_term.{term}") for term in frame["term"]]
    return frame.assign(programme=frame["programme"].map(names), through=through)


def benefits(decision: BusinessCase | str, language: Language) -> pd.DataFrame | str:
    """The ten benefits: ``number, benefit, through, contains, status, claimed`` (where a programme names one)."""
    if isinstance(decision, str):
        return decision
    frame = decision.benefits()
    names = {each.id: each.name for each in decision.case.programmes}
    table = pd.DataFrame(
        {
            "number": frame["number"],
            "benefit": [language.text(f"nb.case_benefit.{name}") for name in frame["benefit"]],
            "through": [_listed(terms, language) for terms in frame["terms"]],
            "contains": frame["contains"],
            "status": [benefit_status(row, language) for row in frame.to_dict("records")],
            "claimed": [
                ", ".join(names[each] for each in claims.split(", ") if each) for claims in frame["claimed_by"]
            ],
        }
    )
    return table if table["claimed"].any() else table.drop(columns="claimed")


def numbered(numbers: str, language: Language) -> str:
    """Numbers of benefits as a sentence has them: 1, 2 and 7."""
    first, _, last = numbers.rpartition(", ")
    return language.text("documents.counted.and", first=first, last=last) if first else last


def benefit_status(row: Mapping[Any, Any], language: Language) -> str:
    """Whether a benefit of ``BusinessCase.benefits`` is in the money, in words that notebook and documents share."""
    status = str(row["status"])
    if status == "not_in_money" and row["benefit"] == "referrals":
        return language.text("documents.counted.shown")
    if status in ("sum", "within"):
        return language.text(f"documents.counted.{status}", numbers=numbered(str(row["contains"]), language))
    return language.text(f"documents.counted.{status}")


def quadrants(decision: BusinessCase | str, language: Language) -> pd.DataFrame | str:
    """Both keys of each programme: ``programme, quadrant, customers_say, money, in_total, advice``."""
    if isinstance(decision, str):
        return decision
    rows = decision.quadrants().to_dict("records")
    table = {
        "programme": [row["name"] for row in rows],
        "quadrant": [language.text(f"nb.case_quadrant.{row['quadrant']}") for row in rows],
        "customers_say": [_customers_say(row, language) for row in rows],
        "money": [_money_says(row, language) for row in rows],
        "advice": [row["advice"] for row in rows],
    }
    return pd.DataFrame(table)


def break_even(decision: BusinessCase | str, panel: Panel, language: Language) -> pd.DataFrame | str:
    """Gain at which each programme earns its cost: ``programme, needed, stated_gain, chance, seen, detectable``.

    ``detectable``: whether the mean answer would show that gain at its number of answers, and the smallest that it shows; absent where two
    quarters with answers are missing.
    """
    if isinstance(decision, str):
        return decision
    smallest = smallest_detectable_gain(panel, decision.response.exposure)
    frame = decision.break_even(smallest_detectable_gain=smallest if smallest > 0 else None)
    routed = frame[frame["stated_mode"].notna() & frame["observed_low"].notna()]
    if routed.empty:
        return decision.response.reason or "no programme works through a customer measure"
    names = {each.id: each.name for each in decision.case.programmes}
    rows = []
    for row in routed.to_dict("records"):
        ends = [float(row[f"break_even_{end}"]) for end in ("low", "median", "high")]
        seen = language.interval(row["observed_low"], row["observed_high"], "points", 0)
        detectable = row["detectable"]
        rows.append(
            {
                "programme": names[row["programme"]],
                "needed": language.text("nb.case_even.none") if math.isnan(ends[1]) else _points(ends, language),
                "stated_gain": _points([float(row[f"stated_{end}"]) for end in ("low", "mode", "high")], language),
                "chance": chance_words(row["p_gain_reaches_break_even"], language),
                "seen": language.text("nb.case_even.beyond", seen=seen) if row["beyond_observed"] else seen,
                "detectable": ""
                if detectable is pd.NA
                else language.text(
                    f"nb.case_even.{'seen' if detectable else 'unseen'}",
                    smallest=language.points(row["smallest_detectable_gain"], 2),
                ),
            }
        )
    table = pd.DataFrame(rows)
    return table if smallest > 0 else table.drop(columns="detectable")


def capitalised(decision: BusinessCase | str, language: Language) -> pd.DataFrame | str:
    """Profit by year of the whole case in both views: ``year, cost, written_off, book_value, expensed, capitalised``."""
    if isinstance(decision, str):
        return decision
    frame = decision.capitalised()
    own = frame[frame["programme"] == decision.whole.programme].reset_index(drop=True)
    if own.empty:
        return decision.response.reason
    language = Language(language.code, decision.case.currency)
    ranges = {
        short: [
            _money([float(row[f"{name}_{end}"]) for end in ("low", "median", "high")], language)
            for row in own.to_dict("records")
        ]
        for short, name in (("expensed", "profit_expensed"), ("capitalised", "profit_capitalised"))
    }
    return own[["year", "cost", "written_off", "book_value"]].assign(**ranges)


def category_sensitivity(decision: BusinessCase | str) -> pd.DataFrame | str:
    """Each category with a cost a tenth dearer: ``category, share_of_cost, npv_change, low, median, high, elasticity, unit``."""
    if isinstance(decision, str):
        return decision
    frame = decision.category_sensitivity()
    own = frame[(frame["programme"] == decision.whole.programme) & (frame["pv_cost"] > 0)]
    if own.empty:
        return decision.response.reason or "no cost stated"
    own = own.sort_values("share_of_cost", ascending=False, kind="stable").reset_index(drop=True)
    names = {"npv_low": "low", "npv_median": "median", "npv_high": "high", "elasticity_of_npv": "elasticity"}
    columns = ["category", "share_of_cost", "npv_change", "low", "median", "high", "elasticity"]
    return own.rename(columns=names)[columns].assign(unit=decision.case.currency)


def register(case: Case | str, decision: BusinessCase | str, language: Language) -> pd.DataFrame | str:
    """Every assumption of the case: ``programme, assumption, content, source, owner, kind``; without a linkage what is stated."""
    if isinstance(case, str):
        return case
    frame = stated_register(case, None) if isinstance(decision, str) else decision.register()
    names = {each.id: each.name for each in case.programmes}
    rows = [
        {
            "programme": names.get(row["programme"]) or language.text("nb.case_part.whole"),
            "assumption": _assumption(row["assumption"], row["programme"], language),
            "content": _content(row, language),
            "source": _source(row, language),
            "owner": row["owner"],
            "kind": row["kind"],
        }
        for row in frame.to_dict("records")
    ]
    return pd.DataFrame(rows)


def shortcuts(found: pd.DataFrame | str, language: Language) -> pd.DataFrame | str:
    """The case as popular calculators have it: ``shortcut, median, low, high, roi, times, unit, advice``, ours first."""
    if isinstance(found, str):
        return found
    names = [language.text(f"nb.case_shortcut.{name}_name") for name in found["shortcut"]]
    table = found.rename(columns={"npv_low": "low", "npv_median": "median", "npv_high": "high", "roi_median": "roi"})
    return table.assign(
        shortcut=names, times=table["times"].where(table["shortcut"] != OURS), advice=table["reason"]
    ).drop(columns="reason")


def _source(row: Mapping[Any, Any], language: Language) -> str:
    """Source as stated; of what the run found, its grade of evidence; where there is none, that."""
    if row["missing"]:
        return language.text("nb.case_part.no_source")
    source = str(row["source"])
    run, _, grade = source.partition("this run: ")
    if run or not grade:
        return source
    return language.text("nb.case_part.this_run", grade=language.evidence(grade))


def _assumption(name: str, programme: str, language: Language) -> str:
    """Words for an assumption: its kind, and what it is about where a programme has several."""
    kind, _, rest = name.partition(".")
    about = rest.removeprefix(programme).removeprefix(".") if programme else rest
    words = language.text(f"nb.case_assumption.{kind}")
    return (
        f"{words}: {language.find(f'nb.code.{about}') or language.find(f'nb.case_benefit.{about}') or about}"
        if about
        else words
    )


def _content(row: Mapping[Any, Any], language: Language) -> str:
    """Value of an assumption with its range, in its unit."""
    text, unit = str(row["text"]), str(row["unit"])
    if text == "never":
        return language.text("nb.never")
    low, value, high = (float(str(row[name])) for name in ("low", "value", "high"))
    if math.isnan(value) and math.isnan(low):
        return text
    if math.isnan(value):
        return f"{language.find(f'nb.code.{text}') or text}: {language.interval(low, high, 'points', 0)}"
    key = "simulated" if str(row["source"]).startswith("this run: ") else "stated_range"
    return _joined(
        (_in_unit(each, unit, language) for each in (low, value, high)),
        language,
        key=key,
    )


def _in_unit(x: float, unit: str, language: Language) -> tuple[str, str]:
    """A number alone, and in its unit."""
    if unit in _RATES:
        return (language.percent(x, 1),) * 2
    if unit == "months":
        number = language.number(x, 0 if x.is_integer() else 1)
        return number, language.text("nb.months", number=number)
    if unit == "points":
        return language.number(x, 2), language.points(x, 2)
    if unit in _NUMBERS:
        return (language.number(x, _NUMBERS[unit]),) * 2
    currency, _, per = unit.partition("_per_")
    money = Language(language.code, currency).money(x, compact=True)
    return money, language.text(f"nb.case_part.per_{per}", money=money) if per in ("month", "point") else money


def _joined(written: Iterable[tuple[str, str]], language: Language, *, key: str = "ranged") -> str:
    """A value in its unit with its range, from low, value and high, each alone and in its unit; ``key`` words the range."""
    low, middle, high = written
    if low == high:
        return middle[1]
    return language.text(f"nb.case_part.{key}", value=middle[1], low=low[0], high=high[0])


def _listed(terms: str, language: Language) -> str:
    return ", ".join(language.text(f"nb.case_term.{term}") for term in terms.split(", ") if term)


def _customers_say(row: Mapping[Any, Any], language: Language) -> str:
    """The first key in words."""
    if not row["in_cx_total"]:
        return language.text("nb.case_key.customers_none")
    low, grade = language.points(row["gain_low"], 2), language.evidence(row["gain_evidence"])
    return language.text(f"nb.case_key.customers_{row['customers']}", low=low, grade=grade)


def _money_says(row: Mapping[Any, Any], language: Language) -> str:
    """The second key in words."""
    chance = row["p_npv_positive"]
    written = language.text("format.missing") if math.isnan(chance) else chance_words(chance, language)
    return language.text(f"nb.case_key.money_{row['money']}", chance=written)


def _points(ends: Sequence[float], language: Language) -> str:
    """Points with their range."""
    open_end = (language.text("format.unbounded"),) * 2
    return _joined((open_end if math.isnan(end) else _in_unit(end, "points", language) for end in ends), language)


def _money(ends: Sequence[float], language: Language) -> str:
    """An amount with its range."""
    return _joined(((language.money(end, compact=True),) * 2 for end in ends), language)
