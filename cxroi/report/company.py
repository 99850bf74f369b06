"""The chain run once for a data set: tables, panel, estimates, value, case; a part that cannot be had says why."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from cxroi import scores
from cxroi.case import BusinessCase, Case, business_case, faded_as_observed, read_case
from cxroi.errors import InvalidCase
from cxroi.panel import METRICS, Panel, build_panel
from cxroi.report import results, views
from cxroi.report.beside import Beside, beside
from cxroi.tables import Tables, read_tables
from cxroi.value import CustomerValue, Estimates, estimate, lifetime_value

MONTHS_OF_A_QUARTER = 3
DRAWS = 10_000
POWER = 2.8  # 1.96 + 0.84: what tells a change with 80 % power at a two-sided level of 5 %


NO_ROUTE = "no programme works through a customer measure"


@dataclass(frozen=True, eq=False)
class Assessment:
    """What a data set says about its customers and its investment case.

    Attributes
    ----------
    tables, panel, estimates
        As the rooms give them.
    scores : mapping of str to DataFrame or str
        For each metric with answers its ``tidy()`` by quarter up to the last one (all answers together where they have
        no dates: period ``all``), or why there is none.
    changes : mapping of str to DataFrame or str
        For each metric its change from the quarter before the last one to the last one, one row.
    exposure : str
        Score that carries the case; empty without answers.
    value : CustomerValue or str
        Lifetime value by that score, or why there is none.
    case : Case or str
        The case as stated but for its cost plays, or why there is none.
    decision : BusinessCase or str
        The programmes that work through a customer measure valued, or why they cannot be.
    faded : BusinessCase or None
        The case with gains that fade as answers have so far, where it states a longer half-life.
    seed : int
        Of every draw.
    with_cost_plays : BusinessCase or str
        All that is stated, valued: what ``case.csv`` holds.
    """

    tables: Tables
    panel: Panel
    estimates: Estimates
    scores: Mapping[str, pd.DataFrame | str]
    changes: Mapping[str, pd.DataFrame | str]
    exposure: str
    value: CustomerValue | str
    case: Case | str
    decision: BusinessCase | str
    faded: BusinessCase | None
    seed: int
    with_cost_plays: BusinessCase | str

    @property
    def cost_plays(self) -> list[str]:
        """Names of programmes without a route through a customer measure, which no figure of the page holds."""
        stated = self.with_cost_plays
        return [] if isinstance(stated, str) else [each.name for each in stated.case.programmes if not each.has_route]

    @cached_property
    def window(self) -> tuple[dt.date, dt.date]:
        """First and last day that the assessment speaks of."""
        return views.observed(self.tables, self.panel)

    @cached_property
    def beside(self) -> Beside:
        """What the further tables say beside value and case; computed when first asked for."""
        return beside(self.tables, self.panel, self.estimates, exposure=self.exposure, seed=self.seed)


@dataclass(frozen=True, eq=False)
class Opening:
    """What was read and found fit before anything is estimated."""

    tables: Tables
    panel: Panel
    case: Case | str
    seed: int
    draws: int = DRAWS

    def assess(self) -> Assessment:
        """Estimate, value and decide."""
        panel = self.panel
        exposure = case_exposure(panel, self.case)
        estimates = estimate(panel, seed=self.seed)
        value = _value(estimates, exposure, self)
        stated = _decide(self, exposure, value)
        decision = stated if isinstance(stated, str) else stated.through_customers() or NO_ROUTE
        told = views.until_end(self.tables, panel)
        last = {metric: views.last_quarter(told, panel, metric) for metric in panel.metrics}
        return Assessment(
            tables=self.tables,
            panel=panel,
            estimates=estimates,
            scores={metric: _scores(told, metric, last[metric]) for metric in panel.metrics},
            changes={metric: _change(told, metric, last[metric]) for metric in panel.metrics},
            exposure=exposure,
            value=value,
            case=self.case if isinstance(decision, str) else decision.case,
            decision=decision,
            faded=None if isinstance(decision, str) else faded_as_observed(decision, seed=self.seed, draws=self.draws),
            seed=self.seed,
            with_cost_plays=stated,
        )


def open_dataset(
    dataset: str | Path, *, quarter: str = "", case: str | Path = "", seed: int = 20, draws: int = DRAWS
) -> Opening:
    """Read what a data set and its case say, and refuse what is wrong.

    Parameters
    ----------
    dataset
        Folder of the data set.
    quarter
        Last quarter to report, like ``2026Q3``; empty: the last complete one.
    case
        Investment case; empty: ``case.yaml`` or ``case.xlsx`` beside ``dataset.yaml``, where there is one.
    seed, draws
        Of the simulated futures of the case.

    Raises
    ------
    InputError
        If tables, quarter or case are wrong.
    """
    stated = results.stated_case(str(dataset)) if not case else read_case(case)
    tables = read_tables(dataset)
    return Opening(tables, build_panel(tables, last_period=quarter or None), stated, seed, draws)


def assess(dataset: str | Path, *, quarter: str = "", case: str | Path = "", seed: int = 20) -> Assessment:
    """Run the whole chain for a data set.

    Parameters and errors as in `open_dataset`.
    """
    return open_dataset(dataset, quarter=quarter, case=case, seed=seed).assess()


def case_exposure(panel: Panel, case: Case | str) -> str:
    """Score that carries the case: the one its gains are stated in, else NPS, CSAT or CES, whichever has answers first.

    Empty where no score has answers.
    """
    stated = [] if isinstance(case, str) else [each.gain.metric for each in case.programmes]
    wanted: list[str] = [metric for metric in stated if metric is not None]
    return next((metric for metric in [*wanted, *METRICS] if metric in panel.metrics), "")


def smallest_detectable_gain(panel: Panel, exposure: str) -> float:
    """Smallest change of the mean answer between the last two quarters that so many answers detect, in points.

    NaN where fewer than two quarters have two answers each. Power 80 % at a two-sided level of 5 %, as for
    ``score_change``.
    """
    if not exposure:
        return math.nan
    answered = panel.rows.groupby("period")[exposure].agg(["var", "count"])
    last = answered[answered["count"] > 1].tail(2)
    return POWER * math.sqrt(float((last["var"] / last["count"]).sum())) if len(last) == 2 else math.nan


def _scores(tables: Tables, metric: str, last: str) -> pd.DataFrame | str:
    """Score by quarter, or over all answers (period ``all``) where they have no dates."""
    found = results.score(tables, metric, period="quarter")
    if isinstance(found, str):
        found = results.score(tables, metric)
        return found if isinstance(found, str) else found.tidy()
    frame = found.tidy()
    frame = frame[frame["period"].notna() & (frame["period"] <= last)].reset_index(drop=True)
    return frame if frame["estimate"].notna().any() else results.NO_ANSWERS


def _change(tables: Tables, metric: str, last: str) -> pd.DataFrame | str:
    names: dict[str, scores.Metric] = {"nps": "nps", "csat": "csat", "ces": "ces"}
    found = results.change(tables, names[metric], last)
    return found if isinstance(found, str) else found.tidy()


def _value(estimates: Estimates, exposure: str, opening: Opening) -> CustomerValue | str:
    """Value as ``dataset.yaml`` states its terms, else over the horizon and at the rate of the case."""
    panel = opening.panel
    found: CustomerValue | str = results.NO_TERMS
    if exposure:
        found = estimates.values[exposure]  # noqa: PD011
    if isinstance(found, CustomerValue):
        return found
    terms = panel.value_terms
    if terms is None and isinstance(opening.case, Case):
        terms = (opening.case.horizon_months, opening.case.annual_discount_rate)
    if terms is None or panel.period != "quarter":
        return found
    return lifetime_value(
        panel,
        exposure=exposure,
        horizon_quarters=-(-terms[0] // MONTHS_OF_A_QUARTER),
        annual_discount_rate=terms[1],
        seed=opening.seed,
    )


def _decide(opening: Opening, exposure: str, value: CustomerValue | str) -> BusinessCase | str:
    case = opening.case
    if isinstance(case, str):
        return case
    if isinstance(value, str):
        return value
    if not exposure or value.reason:
        return value.reason or results.NO_ANSWERS
    try:
        response = value.response(-(-case.horizon_months // MONTHS_OF_A_QUARTER))
        return business_case(response, case, seed=opening.seed, draws=opening.draws)
    except InvalidCase as error:
        return str(error)
