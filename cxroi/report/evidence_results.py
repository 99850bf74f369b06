"""Everything that could overturn the headline, gathered once for the pages that ask how sure it is; or the reasons why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from cxroi.errors import InputError
from cxroi.evidence.calendar import ByEvent, by_event
from cxroi.evidence.clustering import clustering_checks
from cxroi.evidence.contest import FEWEST_ROWS, Contest, metric_contest
from cxroi.evidence.findings import CURVE_ROWS
from cxroi.evidence.nonresponse import NonResponse, nonresponse, nonresponse_bounds
from cxroi.evidence.pilot import Pilot, agreement_checks, pilot_linkages
from cxroi.evidence.regression_to_mean import RegressionToMean, regression_to_mean
from cxroi.evidence.segments import SegmentLinkages, segment_linkages
from cxroi.evidence.sensitivity import Sensitivity, sensitivity
from cxroi.evidence.shape import Shape, satisfaction_shape
from cxroi.evidence.specification import SpecificationCurve, specification_curve
from cxroi.linkage import Linkage, headline_method
from cxroi.report import results
from cxroi.tables import Tables
from cxroi.value import CustomerValue, Estimates
from cxroi.value.red_team import RedTeam, red_team

OUTCOMES = ("retained", "margin", "orders")
NO_FINITE_FIGURE = "there is no finite figure of the score to question"
NO_LATER_PERIODS = "a contest on later periods needs answers in several periods, each given before its outcome"
TOO_FEW_TO_VARY = "too few answers to estimate the figure in many ways"
FEWEST_PERIODS = 3
NO_SEGMENTS = "no segments are declared"
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What was asked of the headline figures of one score.

    Attributes
    ----------
    exposure : str
        Score; empty without answers.
    outcome : str
        Outcome that the page speaks of first: retention where it has a figure, else margin, else orders.
    headline : mapping of str to Linkage or str
        Leading equation of each outcome that has a finite figure, or why there is none.
    sensitivity, specification : mapping of str to results or str
        By outcome.
    clusters : DataFrame or str
        Checks of wider groupings of the first outcome.
    population : NonResponse or str
    bounds : DataFrame or str
        Of the first outcome, under answering that depends on what nobody sees.
    shape, segments, contest, regression : results or str
    pilot : Pilot or str
        Every initiative with a treated and a control arm.
    agreement : DataFrame
        Checks of the headline figures against the pilots' (``cxroi.evidence.pilot.agreement_checks``).
    initiatives : mapping of str to str
        Name of each initiative by its id.
    calendar : ByEvent or str
        Outcomes in periods with and without events.
    """

    estimates: Estimates
    exposure: str
    outcome: str
    headline: Mapping[str, Linkage | str]
    sensitivity: Mapping[str, Sensitivity | str]
    specification: Mapping[str, SpecificationCurve | str]
    clusters: pd.DataFrame | str
    population: NonResponse | str
    bounds: pd.DataFrame | str
    shape: Shape | str
    segments: SegmentLinkages | str
    contest: Contest | str
    regression: RegressionToMean | str
    pilot: Pilot | str
    agreement: pd.DataFrame
    initiatives: Mapping[str, str]
    calendar: ByEvent | str

    @property
    def leading(self) -> Linkage | str:
        """Leading equation of the first outcome, or why there is none."""
        return self.headline[self.outcome]


def gather(tables: Tables, estimates: Estimates) -> Evidence:
    """Question the headline figures of the first score in every way that the data allow."""
    panel = estimates.panel
    exposure = results.main_exposure(panel)
    linkages = estimates.linkages.get(exposure, {})
    headline = {outcome: _finite(results.linkage(estimates, outcome)) for outcome in OUTCOMES}
    outcome = next((name for name in OUTCOMES if isinstance(headline[name], Linkage)), OUTCOMES[0])
    leading = headline[outcome]
    population = (
        _tried(lambda: nonresponse(tables, panel, exposure), results.NO_ANSWERS) if exposure else results.NO_ANSWERS
    )
    fitted = [each for each in headline.values() if isinstance(each, Linkage)]
    pilot = pilot_linkages(panel, exposure)
    leads = {name: each for name, each in headline.items() if isinstance(each, Linkage)}

    def curve(name: str) -> SpecificationCurve | str:
        own = headline[name]
        if isinstance(own, str):
            return own
        return _tried(
            lambda: specification_curve(panel, exposure, name, linkages=linkages, most_rows=CURVE_ROWS), TOO_FEW_TO_VARY
        )

    return Evidence(
        estimates=estimates,
        exposure=exposure,
        outcome=outcome,
        headline=headline,
        sensitivity={name: each if isinstance(each, str) else sensitivity(each) for name, each in headline.items()},
        specification={name: curve(name) for name in headline},
        clusters=leading if isinstance(leading, str) else clustering_checks(leading),
        population=population,
        bounds=leading if isinstance(leading, str) else _bounds(leading, population),
        shape=satisfaction_shape(panel, exposure, linkages=linkages) if fitted else str(leading),
        segments=_segments(estimates, fitted, str(leading)),
        contest=_contest(estimates, str(leading)),
        regression=regression_to_mean(panel, exposure) if exposure else results.NO_ANSWERS,
        pilot=pilot,
        agreement=pd.DataFrame() if isinstance(pilot, str) else agreement_checks(pilot, leads),
        initiatives=_initiatives(tables),
        calendar=by_event(panel, fitted) if fitted or panel.events.empty else str(leading),
    )


def shortcuts(value: CustomerValue | str) -> RedTeam | str:
    """Value of a point by the popular shortcuts, or why it has none."""
    return value if isinstance(value, str) else red_team(value)


def _finite(linkage: Linkage | str) -> Linkage | str:
    if isinstance(linkage, str):
        return linkage
    return NO_FINITE_FIGURE if linkage.separated else linkage


def _tried(result: Callable[[], T | str], reason: str) -> T | str:
    """The result, or the reason where the data are refused."""
    try:
        return result()
    except InputError:
        return reason


def _bounds(leading: Linkage, population: NonResponse | str) -> pd.DataFrame:
    if isinstance(population, str):
        return nonresponse_bounds(leading)
    return nonresponse_bounds(leading, observed=population.slope * population.standard_deviation)


def _segments(estimates: Estimates, fitted: list[Linkage], reason: str) -> SegmentLinkages | str:
    if not fitted:
        return reason
    found = segment_linkages(estimates.panel, fitted)
    return found if len(found.cells) else NO_SEGMENTS


def _initiatives(tables: Tables) -> dict[str, str]:
    """Name of each initiative by its id as text."""
    if tables.initiatives is None:
        return {}
    table = tables.initiatives.select("initiative_id", "name").collect()
    return {str(key): str(name) for key, name in zip(table["initiative_id"], table["name"], strict=True)}


def _contest(estimates: Estimates, reason: str) -> Contest | str:
    if not estimates.linkages:
        return reason
    panel = estimates.panel
    if panel.timing != "before" or panel.rows["period"].nunique() < FEWEST_PERIODS or len(panel.rows) < FEWEST_ROWS:
        return NO_LATER_PERIODS
    return metric_contest(panel)


def why_not_higher(evidence: Evidence) -> str:
    """Why no stronger comparison leads: a key of what the headline's method leaves undone.

    ``within``: nothing on the ladder's observational rungs is left; ``placebo``: orders move the next answer; ``imprecise``: the
    comparison within customers sees too little; ``unrepeated``: answers are not repeated; ``nothing``: nothing to hold fixed.
    """
    found = evidence.estimates.linkages.get(evidence.exposure, {})
    method = headline_method(found) if found else "raw"
    if method != "calibrated":
        return {"within": "within", "adjusted": "unrepeated"}.get(method, "nothing")
    leading = evidence.leading
    fails = isinstance(leading, Linkage) and leading.placebo is not None and not leading.placebo.passes
    return "placebo" if fails else "imprecise"
