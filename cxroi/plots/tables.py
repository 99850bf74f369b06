"""Pictures of where rows were lost."""

from __future__ import annotations

import re

import pandas as pd
from matplotlib.axes import Axes

from cxroi.language import Language
from cxroi.plots.canvas import (
    BLUE,
    ENGLISH,
    RED,
    canvas,
    described,
    plain,
    records,
    refuse_empty,
    roomy,
)
from cxroi.plots.formats import (
    capital,
)


def accounting(frame: pd.DataFrame, *, language: Language = ENGLISH, title: str = "", table: str = "surveys") -> Axes:
    """Where rows were lost: what was read, each loss with its reason, what is kept.

    Parameters
    ----------
    frame
        ``Panel.accounting`` (``stage, reason, rows``; its answers are drawn) or ``Tables.accounting``
        (``table, reason, rows``).
    table
        Which table of ``Tables.accounting``.
    """
    key, name = ("stage", "answers") if "stage" in frame.columns else ("table", table)
    rows = frame[frame[key] == name].reset_index(drop=True)
    with canvas(title, height=1.0 + 0.36 * max(len(rows), 1)) as axes:
        refuse_empty(rows)
        left = 0.0
        told = []
        for at, each in enumerate(records(rows)):
            count = abs(float(each.rows))
            whole = each.reason in ("read", "kept")
            start = 0.0 if whole else left - count
            left = count if each.reason == "read" else start if not whole else left
            axes.barh(-at, count, left=start, color=BLUE if whole else RED, height=0.6, alpha=1 if whole else 0.85)
            number = language.number(count if whole else -count)
            axes.annotate(number, (start + count, -at), (5, 0), textcoords="offset points", va="center")
            told.append(f"{_reason(str(each.reason), language)} {number}")
        axes.set_yticks([-at for at in range(len(rows))], [_reason(str(each), language) for each in rows["reason"]])
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(*roomy((0.0, max(left, float(rows["rows"].abs().max()))), right=0.12))
        return described(axes, language.text("plots.alt.accounting", parts="; ".join(told)))


def _reason(reason: str, language: Language) -> str:
    slug = re.sub(r"\W+", "_", reason.lower()).strip("_")
    return capital(language.find(f"accounting.{slug}") or plain(reason.replace("_", " ")))
