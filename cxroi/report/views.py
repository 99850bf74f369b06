"""Tidy frames for display: what a result holds, arranged for a reader.

Each function takes a result or the reason why there is none, and hands the reason on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import narwhals as nw
import numpy as np
import pandas as pd

from cxroi import periods, plots
from cxroi.case import BusinessCase, Case
from cxroi.case.flows import exchange_rate, planned
from cxroi.language import Language
from cxroi.linkage import METHODS, Linkage
from cxroi.panel import Panel, window
from cxroi.report import results
from cxroi.scores import hidden_cells
from cxroi.tables import Tables
from cxroi.value import CustomerValue, Estimates, score_bands

FEWEST_QUARTERS = 4
FURTHEST_QUARTERS = 6
FEWEST_CUSTOMERS = 50
FLOOR = 5  # customers below which a group is not shown
LOW_SHARE = 0.1
FROM = "from "  # before the label of a period's first quarter
MONTHS_OF_A_YEAR = 12
Check = tuple[str, str, float, str, str]


def tables_read(tables: Tables) -> pd.DataFrame:
    """Rows of each table: ``table, read, lost, kept``."""
    frame = tables.accounting
    wide = pd.DataFrame({"table": frame["table"].drop_duplicates()})
    for name in ("read", "kept"):
        rows = frame[frame["reason"] == name].set_index("table")["rows"]
        wide[name] = wide["table"].map(rows).astype(int)
    wide["lost"] = wide["read"] - wide["kept"]
    return wide[["table", "read", "lost", "kept"]].reset_index(drop=True)


def losses(tables: Tables) -> pd.DataFrame:
    """Rows left out, a row a reason: ``table, reason, rows``."""
    frame = tables.accounting
    return frame[~frame["reason"].isin(["read", "kept"])].reset_index(drop=True)


def notices(tables: Tables) -> pd.DataFrame:
    """What is worth knowing though nothing was refused: ``table, rule, rows, total_rows``."""
    found = [(each.table, each.rule, each.count, each.total) for each in tables.notices]
    frame = pd.DataFrame(found, columns=["table", "rule", "rows", "total_rows"])
    counted = frame["total_rows"] > 0
    return frame.assign(rows=frame["rows"].where(counted), total_rows=frame["total_rows"].where(counted))


def span(tables: Tables, panel: Panel, language: Language) -> pd.DataFrame:
    """From when to when, in what currency and by which rule: ``fact, content``."""
    first, last = observed(tables, panel)
    known = bool(coverage(panel)["retained"].notna().any())
    rule = f"retention {panel.retention or 'stated'}" if known else "no retention rule"
    rows = [
        ("last event", language.date(tables.data_end) if tables.data_end else language.text("format.missing")),
        ("first day", language.date(first)),
        ("last day of outcomes", language.date(last)),
        ("retention rule", language.text(f"nb.code.{rule.replace(' ', '_')}")),
        ("currency", tables.config.currency or language.text("format.missing")),
        ("customers active at the end", language.number(panel.active["weight"].sum())),
    ]
    return pd.DataFrame(rows, columns=["fact", "content"])


def observed(tables: Tables, panel: Panel) -> tuple[dt.date, dt.date]:
    """First and last day that the panel speaks of: it may begin in the middle of a period, where the data do."""
    first, last = window(panel)
    if panel.observed is not None:
        return first, last
    events = [] if tables.transactions is None else [tables.transactions.select(day=nw.col("occurred_at").min())]
    if tables.surveys is not None and (dates := asked_at(tables, ["answered_at", "invited_at"])):
        events.append(tables.surveys.select(day=nw.coalesce(*(nw.col(name) for name in dates)).min()))
    days = [pd.Timestamp(day) for each in events for day in each.collect("pandas")["day"].to_list() if not pd.isna(day)]
    return max([first, min(days).date()] if days else [first]), last


def coverage(panel: Panel) -> pd.DataFrame:
    """Customers at risk and those who answered by period: ``period, customers, answered, share_answered, retained``."""
    base = panel.base[panel.base["level"] == ""]
    sizes = base[base["column"] == "log_tenure"].set_index("period")["n"]
    kept = base[base["column"] == "retained"].set_index("period")["mean"]
    answered = panel.rows.groupby("period").size() if panel.metrics else pd.Series(0, index=sizes.index)
    answered = answered.reindex(sizes.index, fill_value=0)
    frame = pd.DataFrame({"customers": sizes, "answered": answered, "share_answered": answered / sizes})
    frame = frame.assign(retained=kept).rename_axis("period").reset_index()
    return frame.assign(period=_labels(panel, frame["period"]))


def _labels(panel: Panel, indices: pd.Series[int]) -> list[str]:
    """Labels of the panel's periods; of a table of outcomes, whose rows may be longer, the quarter in which they begin."""
    if panel.observed is None:
        return [periods.label(int(index), panel.period) for index in indices]
    return [f"{FROM}{periods.label(int(index) + 1, panel.period)}" for index in indices]


def last_quarter(tables: Tables, panel: Panel, metric: str) -> str:
    """Label of the last quarter of which a score is told.

    The one in which the last outcome's period ends, or the last one until then whose score can be shown.
    """
    end = periods.containing(window(panel)[1])
    found = results.score(until_end(tables, panel), metric, period="quarter")
    if isinstance(found, str):
        return periods.label(end)
    frame = found.tidy()
    shown = frame.loc[frame["estimate"].notna() & frame["period"].notna(), "period"]
    return periods.label(end) if shown.empty else str(shown.max())


def until_end(tables: Tables, panel: Panel) -> Tables:
    """The tables with the answers up to the quarter in which the last outcome's period ends, and those without a date.

    Later ones belong to a quarter that is not over: few as they are, they would hide the one before.
    """
    dates = asked_at(tables, ["answered_at", "invited_at"])
    if tables.surveys is None or not dates:
        return tables
    after = dt.datetime.combine(periods.start(periods.containing(window(panel)[1]) + 1), dt.time())
    day = nw.coalesce(*(nw.col(name) for name in dates))
    return replace(tables, surveys=tables.surveys.filter(day.is_null() | (day < after)))


def last_outcome(panel: Panel, language: Language) -> str:
    """When the last outcome's period ends: the period, or the day where a table of outcomes states it."""
    if panel.observed is not None:
        return language.date(panel.observed[1])
    return language.period(periods.label(panel.last_period, panel.period))


def data_checks(tables: Tables, panel: Panel) -> pd.DataFrame:
    """Whether a score can be linked to what customers did next: ``check, verdict, number, advice``."""
    cover = coverage(panel)
    share = float(cover["share_answered"].mean())
    customers = int(panel.rows["customer"].nunique()) if panel.metrics else 0
    quarters = int((cover["answered"] > 0).sum())
    lost = float(tables_read(tables)["lost"].sum() / max(tables_read(tables)["read"].sum(), 1))
    timing = "fail" if panel.timing != "before" else "pass"
    rows: list[Check] = [
        ("rows left out", "pass" if lost < LOW_SHARE else "warn", lost, "share of all rows read", "share"),
        (
            "who stays is known",
            "pass" if cover["retained"].notna().any() else "warn",
            float("nan"),
            "from the retention rule, or stated in the outcomes",
            "",
        ),
    ]
    if panel.metrics:
        rows += [
            (
                "score before outcome",
                timing,
                float("nan"),
                "answers are dated before what they are linked to",
                "",
            ),
            (
                "customers with answer and outcome",
                "pass" if customers >= FEWEST_CUSTOMERS else "fail",
                float(customers),
                f"at least {FEWEST_CUSTOMERS}",
                "count",
            ),
            (
                "quarters with answers",
                "pass" if quarters >= FEWEST_QUARTERS else "warn",
                float(quarters),
                f"{FEWEST_QUARTERS} or more show seasons and how a gain fades",
                "count",
            ),
            (
                "customers who answer in a quarter",
                "pass" if share >= LOW_SHARE else "warn",
                share,
                "share of those at risk; the silent are stood for by weights",
                "share",
            ),
        ]
    else:
        rows.append(
            (
                "answers",
                "fail",
                0.0,
                "without a table surveys no score can be linked; value still can be estimated",
                "count",
            )
        )
    return pd.DataFrame(rows, columns=["check", "verdict", "number", "advice", "unit"])


def files_read(tables: Tables) -> pd.DataFrame:
    """Files behind the page: ``file, bytes``; their hashes are in the run's ``manifest.json``."""
    return pd.DataFrame([(each.name, each.bytes) for each in tables.inputs], columns=["file", "bytes"])


def scores_by_quarter(tables: Tables, metrics: Sequence[str]) -> pd.DataFrame | str:
    """Each score by quarter with its interval, n and response rate; over all answers where they have no dates."""
    dated = tables.surveys is not None and bool(asked_at(tables, ["answered_at", "invited_at"]))
    return _joined([results.score(tables, metric, period="quarter" if dated else None) for metric in metrics])


def of_metric(frame: pd.DataFrame | str, metric: str) -> pd.DataFrame | str:
    """Rows of one score that have a quarter."""
    if isinstance(frame, str):
        return frame
    rows = frame[(frame["metric"] == metric) & frame["period"].notna() & (frame["period"] != "all")]
    return results.NO_DATES if rows.empty else rows.reset_index(drop=True)


def of_others(frame: pd.DataFrame | str, metric: str) -> pd.DataFrame | str:
    """Rows of the other scores."""
    return frame if isinstance(frame, str) else frame[frame["metric"] != metric].reset_index(drop=True)


def answers_accounting(panel: Panel) -> pd.DataFrame | str:
    """What became of the answers: ``stage, reason, rows``."""
    return panel.accounting if panel.metrics else results.NO_ANSWERS


def scores_by(tables: Tables, metrics: Sequence[str], columns: Sequence[str]) -> pd.DataFrame | str:
    """Each score by one column at a time: ``segment_of, level`` and the score's own columns."""
    found: list[pd.DataFrame] = []
    for column in columns:
        for metric in metrics:
            result = results.score(tables, metric, by=column)
            if not isinstance(result, str):
                frame = result.tidy().rename(columns={column: "level"})
                found.append(frame.assign(segment_of=column, level=frame["level"].astype("object")))
    if tables.surveys is None:
        return results.NO_ANSWERS
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def asked_at(tables: Tables, names: Sequence[str]) -> list[str]:
    """Which of the columns the surveys have."""
    return [] if tables.surveys is None else [n for n in names if n in tables.surveys.collect_schema().names()]


def distribution(tables: Tables, metric: str) -> pd.DataFrame | str:
    """Number of answers at each point of the scale: ``score, n``."""
    if tables.surveys is None or not metric:
        return results.NO_ANSWERS
    rows = tables.surveys.filter((nw.col("metric") == metric) & ~nw.col("score").is_null())
    frame: pd.DataFrame = rows.group_by("score").agg(n=nw.len()).collect("pandas").to_native()
    return frame.sort_values("score", ignore_index=True)


def changes(tables: Tables, panel: Panel) -> pd.DataFrame | str:
    """Change of each score between the last two quarters with its interval and the smallest detectable change."""
    told = until_end(tables, panel)
    found = [results.change(told, metric, last_quarter(told, panel, metric)) for metric in panel.metrics]  # type: ignore[arg-type]
    frame = _joined(found)
    if isinstance(frame, str):
        return frame
    return frame.assign(unit_of_change=frame["unit"].where(frame["unit"] != "share", "probability"))


def base_by_quarter(panel: Panel) -> pd.DataFrame:
    """What all customers at risk did in the next period: ``period, customers, retained, orders, revenue, margin``."""
    base = panel.base[panel.base["level"] == ""]
    wide = base.pivot_table(index="period", columns="column", values="mean")
    sizes = base[base["column"] == "log_tenure"].set_index("period")["n"].rename("customers")
    columns = [name for name in ("retained", "orders", "revenue", "margin") if name in wide]
    frame = pd.concat([sizes, wide[columns]], axis=1).rename_axis("period").reset_index()
    frame["period"] = _labels(panel, frame["period"])
    return frame.dropna(axis=1, how="all")


def curve(fitted: Linkage | str) -> pd.DataFrame | str:
    """Observed and fitted outcome by answer."""
    return fitted if isinstance(fitted, str) else fitted.curve()


def checks(result: Linkage | CustomerValue | BusinessCase | str, *, failed: bool = False) -> pd.DataFrame | str:
    """Checks of a result: ``check, verdict, number, advice``, and ``part``: of which equation or programme.

    ``failed`` keeps those only that do not pass.
    """
    if isinstance(result, str):
        return result
    frame = result.checks()
    parts = frame["name"].str.partition(": ")
    has_part = (parts[1] != "") & (not isinstance(result, Linkage))
    programmes = len(result.case.programmes) if isinstance(result, BusinessCase) else 0
    of_case = programmes > 0
    frame["check"] = parts[0 if of_case else 2].where(has_part, frame["name"])
    frame["part"] = parts[2 if of_case else 0].where(has_part, "")
    columns = ["check", "part", "verdict", "number", "advice"]
    if programmes == 1 or not has_part.any():
        columns.remove("part")
    return frame.loc[(frame["verdict"] != "pass") | (not failed), columns].reset_index(drop=True)


def ratios(estimates: Estimates, outcome: str) -> pd.DataFrame | str:
    """Odds ratio (retention) or rate ratio of one point: ``exposure, method, estimate, conf_low, conf_high, unit``."""
    rows = []
    for exposure, found in estimates.linkages.items():
        for method in METHODS:
            fitted = found.get((outcome, method), "")
            if isinstance(fitted, Linkage) and fitted.fitted.family != "gaussian" and not fitted.separated:
                row = fitted.tidy().set_index("term").loc[exposure]
                limits = {name: float(np.exp(row[name])) for name in ("estimate", "conf_low", "conf_high")}
                rows.append({"exposure": exposure, "method": method, **limits, "unit": "ratio per point"})
    return pd.DataFrame(rows) if rows else _no_ratio(results.linkage(estimates, outcome))


def _no_ratio(fitted: Linkage | str) -> str:
    if isinstance(fitted, str):
        return fitted
    return f"retention is predicted perfectly by {', '.join(fitted.separated)}; no finite figure to build on"


def effects(estimates: Estimates, outcome: str) -> pd.DataFrame | str:
    """Average change of an outcome per point: a row a score and a way of comparing."""
    return results.effects(estimates, outcome)


def bands(panel: Panel, exposure: str) -> pd.DataFrame | str:
    """What retained customers of each score band bought in the next period, frequency × value = revenue.

    Bands of few customers are left out, and where it is a single one, the smallest of the others with it.

    Columns ``band, n`` (answers), ``orders`` (purchase frequency), ``revenue_per_order`` (average transaction value),
    ``revenue, margin`` (per customer).
    """
    if not exposure:
        return results.NO_ANSWERS
    rows = panel.rows[panel.rows[exposure].notna() & (panel.rows["retained"].fillna(1.0) > 0)]
    if rows["orders"].isna().all():
        return "the data have no orders after the answers"
    answered = replace(panel, active=rows.rename(columns={exposure: f"last_{exposure}"}))
    grouped = rows.assign(band=score_bands(answered, exposure)).groupby("band", observed=True)
    frame = grouped[["orders", "revenue", "margin"]].mean().assign(n=grouped.size())
    people = grouped["customer"].nunique().astype(float)
    frame = frame[~hidden_cells(people, people.reset_index()[["band"]].set_index(people.index), floor=FLOOR)].copy()
    frame["revenue_per_order"] = (frame["revenue"] / frame["orders"]).where(frame["orders"] > 0)
    columns = ["band", "n", "orders", "revenue_per_order", "revenue", "margin"]
    return frame.rename_axis("band").reset_index().astype({"band": str})[columns]


def values(value: CustomerValue | str) -> pd.DataFrame | str:
    """Value per customer and band (where there are several), and of one point, with ranges.

    Bands of few customers are left out, and where it is a single one, the smallest of the others with it.
    """
    if isinstance(value, str):
        return value
    frame = value.tidy()
    of_band = frame["band"].isin(plots.shown_bands(frame))
    kept = frame[of_band | (frame["band"] == "all")] if of_band.sum() > 1 else frame[frame["band"] == "all"]
    return kept.reset_index(drop=True)


def path(value: CustomerValue | str) -> pd.DataFrame | str:
    """Survival, orders, margin per order and margin by quarter ahead."""
    return value if isinstance(value, str) else value.path()


def persistence(value: CustomerValue | str) -> pd.DataFrame | str:
    """How long an answer lasts: share of its distance from the mean that is left, by quarters later."""
    if isinstance(value, str):
        return value
    if value.persistence is None:
        return value.reason or "too few customers answered in four quarters or more to see how a gain fades"
    later = np.arange(1, min(value.horizon_quarters, FURTHEST_QUARTERS) + 1)
    kept = value.persistence.correlation(later.astype(float))
    return pd.DataFrame({"later": later, "share": kept})


def costs(case: Case | str) -> pd.DataFrame | str:
    """Costs as stated, in the case's currency: ``programme, category, kind, month, until_month, amount, total, beneficiary``."""
    if isinstance(case, str):
        return case
    rows = [
        {
            "programme": programme.name,
            "category": cost.category,
            "kind": cost.kind or "",
            "month": cost.month,
            "until_month": cost.months[-1],
            "amount": cost.amount * exchange_rate(case, cost.currency),
            "total": float(planned(case, cost).sum()),
            "beneficiary": cost.beneficiary or "",
        }
        for programme in case.programmes
        for cost in programme.costs
    ]
    return _of_several(pd.DataFrame(rows))


def cash_flows(decision: BusinessCase | str) -> pd.DataFrame | str:
    """Cash flows by month of the total, or of the only programme."""
    if isinstance(decision, str):
        return decision
    frame = decision.cash_flows()
    return frame[frame["programme"] == decision.whole.programme].reset_index(drop=True)


def measures(decision: BusinessCase | str, scenario: str = "base") -> pd.DataFrame | str:
    """Figures to decide on: ``programme, measure, low, median, high, unit``."""
    if isinstance(decision, str):
        return decision
    frame = decision.tidy()
    whole = frame[(frame["programme"] == decision.whole.programme) & (frame["scenario"] == scenario)]
    left_out = ["irr_count", "mirr", "roi_undiscounted", "p_payback_within_horizon", "break_even_multiple"]
    left_out += ["linkage_evidence", "benefit_cost_ratio"]
    kept = whole[~whole["measure"].isin(left_out)].reset_index(drop=True)
    return kept.assign(unit=kept["unit"].where(kept["unit"] != "probability", "likelihood"))


def scenarios(decision: BusinessCase | str) -> pd.DataFrame | str:
    """All measures in all scenarios."""
    return decision if isinstance(decision, str) else decision.tidy()


def tornado(decision: BusinessCase | str) -> pd.DataFrame | str:
    """Net present value with each input at its 10 and 90 %."""
    return decision if isinstance(decision, str) else decision.tornado()


def _of_several(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without its programmes where there is only one."""
    return frame.drop(columns="programme") if len(frame["programme"].unique()) == 1 else frame


def _joined(found: Sequence[object]) -> pd.DataFrame | str:
    """Tidy frames of the results that exist, below each other; the first reason where none does."""
    frames = [each.tidy() for each in found if not isinstance(each, str)]  # type: ignore[attr-defined]
    if frames:
        table: pd.DataFrame = pd.concat(frames, ignore_index=True)
        return table
    return next((each for each in found if isinstance(each, str)), results.NO_ANSWERS)
