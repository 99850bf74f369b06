"""Numbers of the figures for writers whose reader can edit a chart: what `cxroi.plots` draws, as categories and series.

How an axis writes decimals depends on the reader's program, so amounts are scaled until they need none, and the numbers
beside bars are finished texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from babel.numbers import get_currency_symbol

from cxroi import plots
from cxroi.case import BusinessCase
from cxroi.language import LOCALES, SCALES, Language
from cxroi.plots.formats import band_name
from cxroi.report.model import Chart, Series
from cxroi.report.show import money
from cxroi.report.wording import capital, score_words, slug

ENDS = ("low", "median", "high")
SMALLEST = 10.0  # of the largest number on an axis without decimals


def score_chart(frame: pd.DataFrame, metric: str, language: Language) -> Chart:
    """A score by quarter with the ends of its interval; the last score is written."""
    factor = 100.0 if metric == "csat" else 1.0
    unit = language.text("documents.unit.percent" if metric == "csat" else "documents.unit.points")
    last = score_words(metric, float(frame["estimate"].iloc[-1]), language)
    labels = (*[""] * (len(frame) - 1), last)
    ends = [
        Series(
            language.text(f"documents.end.{end}"), _numbers(frame[f"conf_{end}"] * factor), plots.SOFT, is_dashed=True
        )
        for end in ("low", "high")
    ]
    score = Series(metric.upper(), _numbers(frame["estimate"] * factor), plots.BLUE, labels=labels)
    categories = tuple(language.quarter(str(each)) for each in frame["period"])
    return Chart("line", categories, (score, *ends), "0.0" if metric == "ces" else "0", unit)


def linkage_chart(curve: pd.DataFrame, outcome: str, language: Language) -> Chart | None:
    """Outcome by answer as observed and as fitted, the ends of the line written; None for an outcome that needs decimals.

    Answers that fewer than five customers gave are left out, as in the figure.
    """
    rows = curve[curve["n"] >= plots.FLOOR].sort_values("score")
    if outcome != "retained" or rows.empty:
        return None
    texts = [language.percent(each, 0) for each in rows["fitted"]]
    labels = tuple(words if at in (0, len(texts) - 1) else "" for at, words in enumerate(texts))
    series = (
        Series(language.text("documents.fitted"), _numbers(rows["fitted"] * 100), plots.BLUE, labels=labels),
        Series(language.text("documents.observed"), _numbers(rows["observed"] * 100), plots.SOFT, is_dashed=True),
    )
    categories = tuple(language.number(each) for each in rows["score"])
    return Chart("line", categories, series, "0", language.text("documents.unit.percent"), ceiling=100.0)


def value_chart(tidy: pd.DataFrame, language: Language) -> Chart:
    """Lifetime value by band."""
    rows = tidy[(tidy["measure"] == "lifetime_value") & tidy["band"].isin(["all", *plots.shown_bands(tidy)])]
    divisor, unit = _scale(rows["estimate"].to_numpy(float), language)
    names = tuple(
        language.text("documents.everybody") if band == "all" else band_name(str(band), language)
        for band in rows["band"]
    )
    name = language.text("documents.value_series")
    values = Series(name, _numbers(rows["estimate"] / divisor), plots.BLUE, labels=_amounts(rows["estimate"], language))
    return Chart("column", names, (values,), "0", unit)


def cash_chart(decision: BusinessCase, language: Language) -> Chart:
    """Discounted cash flows, added up month by month, in the median and at the ends of the range; the last ones are written."""
    frame = decision.cash_flows()
    rows = frame[frame["programme"] == decision.whole.programme]
    columns = {end: rows[f"discounted_cumulative_{end}"].to_numpy(float) for end in ENDS}
    divisor, unit = _scale(np.concatenate(list(columns.values())), language)
    series = tuple(
        Series(
            language.text(f"documents.end.{end}"),
            _numbers(columns[end] / divisor),
            plots.BLUE if end == "median" else plots.SOFT,
            is_dashed=end != "median",
            labels=(*[""] * (len(rows) - 1), *_amounts(columns[end][-1:], language)),
        )
        for end in ("median", "low", "high")
    )
    return Chart("line", tuple(language.number(month) for month in rows["month"]), series, "0", unit)


def scenario_chart(decision: BusinessCase, language: Language) -> Chart:
    """Net present value of each scenario."""
    frame = decision.tidy()
    own = frame[(frame["programme"] == decision.whole.programme) & (frame["measure"] == "npv")]
    medians = own.set_index("scenario")["median"].reindex(list(plots.SCENARIOS))
    divisor, unit = _scale(medians.to_numpy(float), language)
    names = tuple(capital(language.text(f"scenario.{name}")) for name in plots.SCENARIOS)
    name = language.text("executive.measure.npv")
    values = Series(name, _numbers(medians / divisor), plots.BLUE, labels=_amounts(medians, language))
    return Chart("column", names, (values,), "0", unit)


def tornado_chart(decision: BusinessCase, language: Language) -> Chart:
    """How far each input alone moves the net present value from what it is at the medians of all; the outcome stands beside.

    The widest input comes last, so that it stands on top.
    """
    rows = decision.tornado().iloc[::-1]
    moves = {end: (rows[f"npv_{end}"] - rows["npv_median"]).to_numpy(float) for end in ("low", "high")}
    divisor, unit = _scale(np.concatenate(list(moves.values())), language)
    names = {each.id: each.name for each in decision.case.programmes}
    several = len(names) > 1
    categories = tuple(
        language.text(f"plots.input.{slug(str(row.input))}")
        + (f": {names[str(row.programme)]}" if several and str(row.programme) in names else "")
        for row in rows.itertuples()
    )
    series = tuple(
        Series(
            language.text(f"documents.input_{end}"),
            _numbers(moves[end] / divisor),
            colour,
            labels=_amounts(rows[f"npv_{end}"], language),
        )
        for end, colour in (("low", plots.RED), ("high", plots.BLUE))
    )
    return Chart("bar", categories, series, "0", unit)


def _scale(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], language: Language) -> tuple[float, str]:
    """What amounts are divided by so that the largest is at least ten, and the unit that is left."""
    size = float(np.nanmax(np.abs(values), initial=0.0))
    symbol = get_currency_symbol(language.currency, LOCALES[language.code]) if language.currency else ""
    for name, exponent in SCALES:
        if size >= SMALLEST * 10.0**exponent:
            return 10.0**exponent, f"{language.text(f'scale.{name}')} {symbol}".strip()
    return 1.0, symbol or language.text("documents.unit.points")


def _amounts(
    values: Sequence[float] | pd.Series[float] | np.ndarray[tuple[int], np.dtype[np.float64]], language: Language
) -> tuple[str, ...]:
    return tuple("" if np.isnan(each) else money(float(each), language) for each in values)


def _numbers(values: pd.Series[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float | None, ...]:
    """Numbers with four digits behind the point, none where there is none."""
    return tuple(None if np.isnan(each) else round(float(each), 4) for each in np.asarray(values, dtype=float))
