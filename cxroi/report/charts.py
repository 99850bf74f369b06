"""Numbers of the figures for writers whose reader can edit a chart: what `cxroi.plots` draws, as categories and series."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cxroi import plots
from cxroi.case import BusinessCase
from cxroi.language import Language
from cxroi.plots.formats import band_name, scaled_money
from cxroi.report.model import Chart, Series
from cxroi.report.wording import capital, slug

ENDS = ("low", "median", "high")


def score_chart(frame: pd.DataFrame, metric: str, language: Language) -> Chart:
    """A score by quarter with the ends of its interval."""
    factor = 100.0 if metric == "csat" else 1.0
    unit = language.text("documents.unit.percent" if metric == "csat" else "documents.unit.points")
    names = ((metric.upper(), "estimate"), *((language.text(f"documents.end.{end}"), f"conf_{end}") for end in ENDS[::2]))
    series = [
        Series(name, _numbers(frame[column] * factor), plots.BLUE if column == "estimate" else plots.SOFT, column != "estimate")
        for name, column in names
    ]
    categories = tuple(language.quarter(str(each)) for each in frame["period"])
    return Chart("line", categories, tuple(series), "0.00" if metric == "ces" else "0", unit)


def value_chart(tidy: pd.DataFrame, language: Language) -> Chart:
    """Lifetime value by band."""
    rows = tidy[(tidy["measure"] == "lifetime_value") & tidy["band"].isin(["all", *plots.shown_bands(tidy)])]
    divisor, digits, unit = scaled_money(rows["estimate"].to_numpy(float), language)
    names = tuple(
        language.text("documents.everybody") if band == "all" else band_name(str(band), language) for band in rows["band"]
    )
    values = Series(language.text("documents.value_series"), _numbers(rows["estimate"] / divisor), plots.BLUE)
    return Chart("column", names, (values,), _format(digits), unit)


def cash_chart(decision: BusinessCase, language: Language) -> Chart:
    """Discounted cash flows, added up month by month, in the median and at the ends of the range."""
    frame = decision.cash_flows()
    rows = frame[frame["programme"] == decision.whole.programme]
    columns = {end: rows[f"discounted_cumulative_{end}"].to_numpy(float) for end in ENDS}
    divisor, digits, unit = scaled_money(np.concatenate(list(columns.values())), language)
    series = tuple(
        Series(
            language.text(f"documents.end.{end}"),
            _numbers(columns[end] / divisor),
            plots.BLUE if end == "median" else plots.SOFT,
            end != "median",
        )
        for end in ("median", "low", "high")
    )
    return Chart("line", tuple(language.number(month) for month in rows["month"]), series, _format(digits), unit)


def scenario_chart(decision: BusinessCase, language: Language) -> Chart:
    """Net present value of each scenario."""
    frame = decision.tidy()
    own = frame[(frame["programme"] == decision.whole.programme) & (frame["measure"] == "npv")]
    medians = own.set_index("scenario")["median"].reindex(list(plots.SCENARIOS))
    divisor, digits, unit = scaled_money(medians.to_numpy(float), language)
    names = tuple(capital(language.text(f"scenario.{name}")) for name in plots.SCENARIOS)
    values = Series(language.text("executive.measure.npv"), _numbers(medians / divisor), plots.BLUE)
    return Chart("column", names, (values,), _format(digits), unit)


def tornado_chart(decision: BusinessCase, language: Language) -> Chart:
    """How far each input alone moves the net present value from its median, the widest last, so that it stands on top."""
    rows = decision.tornado().iloc[::-1]
    moves = {end: (rows[f"npv_{end}"] - rows["npv_median"]).to_numpy(float) for end in ("low", "high")}
    divisor, digits, unit = scaled_money(np.concatenate(list(moves.values())), language)
    names = {each.id: each.name for each in decision.case.programmes}
    several = len(names) > 1
    categories = tuple(
        language.text(f"plots.input.{slug(str(row.input))}")
        + (f": {names[str(row.programme)]}" if several and str(row.programme) in names else "")
        for row in rows.itertuples()
    )
    series = tuple(
        Series(language.text(f"documents.input_{end}"), _numbers(moves[end] / divisor), colour)
        for end, colour in (("low", plots.RED), ("high", plots.BLUE))
    )
    return Chart("bar", categories, series, _format(digits), unit)


def _numbers(values: pd.Series[float] | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float | None, ...]:
    """Numbers with four digits behind the point, none where there is none."""
    return tuple(None if np.isnan(each) else round(float(each), 4) for each in np.asarray(values, dtype=float))


def _format(digits: int) -> str:
    return "#,##0" + ("." + "0" * digits if digits else "")
