"""Sentences on the tables of an investment case: computed, in the page's language."""

from __future__ import annotations

import math

import numpy as np

from cxroi.case import BusinessCase
from cxroi.case.ledger import OVERLAP
from cxroi.case.quadrants import WIN
from cxroi.language import Language

Sentences = list[str]


def ledger(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """What the rows add up to, and what customers reached by several programmes cannot gain."""
    if isinstance(decision, str) or (frame := decision.ledger()).empty:
        return []
    money = Language(language.code, decision.case.currency).money
    lost = float(frame.loc[frame["programme"] == OVERLAP, "mean"].sum())
    sentences = [language.text("nb.case_read.ledger", total=money(frame["mean"].iloc[-1], compact=True))]
    if (frame["programme"] == OVERLAP).any():
        key = "overlap" if lost else "no_overlap"
        sentences.append(language.text(f"nb.case_read.{key}", **({"lost": money(-lost, compact=True)} if lost else {})))
    return sentences


def quadrants(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """How many programmes turn both keys, and what stays outside the CX total."""
    if isinstance(decision, str):
        return []
    frame = decision.quadrants()
    wins = int((frame["quadrant"] == WIN).sum())
    sentences = [language.text("nb.case_read.wins", wins=language.number(wins), programmes=language.number(len(frame)))]
    plays = frame.loc[~frame["in_cx_total"], "name"].tolist()
    return [*sentences, *([language.text("nb.case_read.outside", names=", ".join(plays))] if plays else [])]


def break_even(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """How the gain that is needed lies to the gain that is stated, programme by programme."""
    if isinstance(decision, str):
        return []
    sentences = []
    names = {each.id: each.name for each in decision.case.programmes}
    for row in decision.break_even().to_dict("records"):
        if math.isnan(row["stated_mode"]) or math.isnan(row["observed_low"]):
            continue
        words = {"name": names[row["programme"]], "stated": language.points(row["stated_mode"], 2)}
        if math.isnan(row["break_even_median"]):
            sentences.append(language.text("nb.case_read.never", name=words["name"]))
            continue
        key = "needs_less" if row["break_even_median"] <= row["stated_mode"] else "needs_more"
        needed = language.points(row["break_even_median"], 2)
        sentences.append(language.text(f"nb.case_read.{key}", needed=needed, **words))
    return sentences


def capitalised(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """What is still in the books at the end, and that the value is the same in both views."""
    if isinstance(decision, str) or (frame := decision.capitalised()).empty:
        return []
    own = frame[frame["programme"] == decision.whole.programme]
    if np.allclose(own["written_off"], own["cost"]):
        return [language.text("nb.case_read.no_useful_life")]
    left = Language(language.code, decision.case.currency).money(float(own["book_value"].iloc[-1]), compact=True)
    return [language.text("nb.case_read.in_the_books", left=left)]


def category_sensitivity(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """Which category weighs most."""
    if isinstance(decision, str) or (frame := decision.category_sensitivity()).empty:
        return []
    own = frame[frame["programme"] == decision.whole.programme]
    if not (own["pv_cost"] > 0).any():
        return []
    row = own.sort_values("pv_cost").to_dict("records")[-1]
    money = Language(language.code, decision.case.currency).money(-float(row["npv_change"]), compact=True)
    name = language.text(f"nb.code.{row['category']}")
    return [
        language.text("nb.case_read.dearest", name=name, share=language.percent(row["share_of_cost"], 0), money=money)
    ]


def register(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """How many assumptions there are, and how many have no source."""
    if isinstance(decision, str):
        return []
    frame = decision.register()
    words = {"number": language.number(len(frame)), "missing": language.number(int(frame["missing"].sum()))}
    return [language.text("nb.case_read.register", **words)]
