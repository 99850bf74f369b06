"""What further tables say beside the linkage and the case, for the leaders who decide on it: each part a result or the reason why not."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from cxroi.errors import InputError
from cxroi.evidence.pilot import NO_PILOT, Pilot, pilot_linkages
from cxroi.evidence.segments import SegmentLinkages, segment_linkages
from cxroi.evidence.sensitivity import Sensitivity, sensitivity
from cxroi.linkage import Linkage
from cxroi.panel import METRICS, Panel
from cxroi.report import growth, results, views
from cxroi.report.evidence_results import NO_FINITE_FIGURE, NO_SEGMENTS, OUTCOMES
from cxroi.tables import Tables
from cxroi.value import Estimates
from cxroi.value.acquisition import Acquisition
from cxroi.value.first_contact import FirstContacts, first_contacts
from cxroi.value.referrals import ReferralRates, referral_rates
from cxroi.value.service import By, CostToServe, cost_to_serve

NO_TOUCHPOINTS = "no answer to CSAT or CES names a touchpoint"


@dataclass(frozen=True, eq=False)
class Beside:
    """What stands beside the case of one score.

    Attributes
    ----------
    sensitivity : Sensitivity or str
        Of the headline that the page speaks of first.
    pilot : Pilot or str
    acquisition : Acquisition or str
        By channel; of everybody where the data name none.
    referrals : ReferralRates or str
    service : CostToServe or str
        By touchpoint, where contacts name it.
    contacts : FirstContacts or str
    touchpoints : DataFrame or str
        CSAT and CES by touchpoint, columns of ``cxroi.report.views.scores_by``.
    by_segment : DataFrame or str
        The score by each declared segment.
    effects : SegmentLinkages or str
        What a point goes with, by segment.
    bands : DataFrame or str
        What retained customers of each band bought (``cxroi.report.views.bands``).
    """

    sensitivity: Sensitivity | str
    pilot: Pilot | str
    acquisition: Acquisition | str
    referrals: ReferralRates | str
    service: CostToServe | str
    contacts: FirstContacts | str
    touchpoints: pd.DataFrame | str
    by_segment: pd.DataFrame | str
    effects: SegmentLinkages | str
    bands: pd.DataFrame | str


def beside(tables: Tables, panel: Panel, estimates: Estimates, *, exposure: str, seed: int) -> Beside:
    """Ask every further table what it says; none of it enters the value or the case.

    Parameters
    ----------
    exposure
        Score that carries the case; empty without answers.
    """
    known = growth.as_of(tables, panel)
    fitted = [] if not exposure else [_headline(estimates, outcome, exposure) for outcome in OUTCOMES]
    finite = [each for each in fitted if isinstance(each, Linkage)]
    missing = str(next((each for each in fitted if isinstance(each, str)), results.NO_ANSWERS))
    return Beside(
        sensitivity=_sensitivity(finite, missing),
        pilot=pilot_linkages(panel, exposure) if panel.pilot is not None else NO_PILOT,
        acquisition=growth.channel_costs(known, panel, seed=seed),
        referrals=referral_rates(known, exposure) if exposure else _no_referrals(tables),
        service=cost_to_serve(tables, panel, exposure, by=_kind(tables)) if exposure else results.NO_ANSWERS,
        contacts=first_contacts(tables, until=known.data_end) if tables.touches is not None else first_contacts(tables),
        touchpoints=_touchpoints(tables, panel),
        by_segment=_by_segment(tables, panel, exposure),
        effects=_effects(panel, finite, missing),
        bands=views.bands(panel, exposure),
    )


def _headline(estimates: Estimates, outcome: str, exposure: str) -> Linkage | str:
    found = results.linkage(estimates, outcome, exposure=exposure)
    return NO_FINITE_FIGURE if isinstance(found, Linkage) and found.separated else found


def _sensitivity(fitted: list[Linkage], reason: str) -> Sensitivity | str:
    try:
        return sensitivity(fitted[0]) if fitted else reason
    except InputError as error:
        return str(error)


def _effects(panel: Panel, fitted: list[Linkage], reason: str) -> SegmentLinkages | str:
    if not fitted:
        return reason
    found = segment_linkages(panel, fitted)
    return found if len(found.cells) else NO_SEGMENTS


def _no_referrals(tables: Tables) -> str:
    return growth.NO_REFERRALS if tables.referrals is None else results.NO_ANSWERS


def _kind(tables: Tables) -> By:
    named = tables.touches is not None and "touchpoint" in tables.touches.collect_schema().names()
    return "touchpoint" if named else ""


def _touchpoints(tables: Tables, panel: Panel) -> pd.DataFrame | str:
    if tables.surveys is None:
        return results.NO_ANSWERS
    if not views.asked_at(tables, ["touchpoint"]):
        return NO_TOUCHPOINTS
    found = views.scores_by(
        views.until_end(tables, panel), [each for each in METRICS[1:] if each in panel.metrics], ["touchpoint"]
    )
    if isinstance(found, str):
        return found
    named = found[found["level"].notna()] if len(found) else found
    return named.reset_index(drop=True) if len(named) else NO_TOUCHPOINTS


def _by_segment(tables: Tables, panel: Panel, exposure: str) -> pd.DataFrame | str:
    if not exposure:
        return results.NO_ANSWERS
    found = views.scores_by(views.until_end(tables, panel), [exposure], tables.segments)
    return found if isinstance(found, str) or len(found) else NO_SEGMENTS
