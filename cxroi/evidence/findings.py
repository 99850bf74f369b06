"""All evidence behind the headline of one score, gathered: rows beside the estimates, and checks with their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd

from cxroi.errors import InputError
from cxroi.evidence.calendar import ByEvent, by_event
from cxroi.evidence.clustering import clustering_checks
from cxroi.evidence.nonresponse import nonresponse_bounds
from cxroi.evidence.pilot import Pilot, agreement_checks, pilot_linkages
from cxroi.evidence.segments import SegmentLinkages, segment_checks, segment_linkages
from cxroi.evidence.sensitivity import Sensitivity, sensitivity, sensitivity_checks
from cxroi.evidence.shape import Shape, satisfaction_shape
from cxroi.evidence.specification import SpecificationCurve, specification_curve
from cxroi.linkage import Linkage, headline_method
from cxroi.linkage.ladder import CRITICAL
from cxroi.linkage.model import STANDARD_OUTCOMES
from cxroi.panel import Panel

CURVE_ROWS = 30_000
SIDES = ("below", "above")
MEASURES = ("robustness_value", "robustness_value_interval", "e_value", "e_value_limit")
ROW_COLUMNS = (
    "outcome",
    "exposure",
    "estimand",
    "method",
    "segment",
    "estimate",
    "std_error",
    "conf_low",
    "conf_high",
    "unit",
    "n_obs",
    "n_clusters",
    "evidence",
)


@dataclass(frozen=True)
class Findings:
    """What stands behind, and against, the headline equations of one score.

    Attributes
    ----------
    headline : dict of str to Linkage
        By outcome; only those with a finite score.
    sensitivity : dict of str to Sensitivity
    bounds : dict of str to DataFrame
        Estimates were those who answered selected on what nobody can see (``nonresponse_bounds``).
    segments : SegmentLinkages
    shape : Shape or None
    curves : dict of str to SpecificationCurve
    pilot : Pilot or None
    calendar : ByEvent or None
        These six of the company's first score, and of staying, orders and margin only, which value and case rest on; the last two
        where there is a pilot with two arms, or a calendar of events.
    """

    exposure: str
    headline: dict[str, Linkage]
    sensitivity: dict[str, Sensitivity]
    bounds: dict[str, pd.DataFrame]
    segments: SegmentLinkages
    shape: Shape | None
    curves: dict[str, SpecificationCurve]
    pilot: Pilot | None = None
    calendar: ByEvent | None = None

    def tidy(self) -> pd.DataFrame:
        """Rows in the columns of ``estimates.csv`` (without ``headline``), under estimands of their own.

        ``robustness_value``, ``e_value`` and their ``…_interval`` and ``…_limit``; ``ame_tilt`` (ends of the estimate were those
        with higher answers to answer more, or less, than is seen); ``ame_below`` and ``ame_above`` (losses
        against gains, single answers); ``ame`` by segment, partially pooled, and by event of the calendar; ``specification_median`` (with
        the 5-95 % range of the curve); ``pilot_lift`` (of the score: its ``outcome`` is the score), ``pilot_difference``, ``pilot_ame``
        by initiative.
        """
        rows = [row for outcome, linkage in self.headline.items() for row in self._rows(outcome, linkage)]
        if self.pilot is not None:
            rows += [{"exposure": self.exposure, **row} for row in _of_pilot(self.pilot)]
        return pd.DataFrame(rows, columns=list(ROW_COLUMNS))

    def _rows(self, outcome: str, linkage: Linkage) -> list[dict[str, object]]:
        whole = linkage.marginal_effect().iloc[0]
        common = {
            "outcome": outcome,
            "exposure": self.exposure,
            "method": linkage.method,
            "segment": "all",
            "unit": whole["unit"],
            "n_obs": linkage.fitted.n_obs,
            "n_clusters": linkage.n_clusters,
            "evidence": linkage.evidence,
        }
        rows = [common | row for row in _strengths(self.sensitivity.get(outcome))]
        bounds = self.bounds.get(outcome)
        if bounds is not None and len(bounds):
            estimates = bounds["estimate"].astype(float)
            at = float(estimates[bounds["strength"] == 0].iloc[0])
            ends = {"conf_low": float(estimates.min()), "conf_high": float(estimates.max())}
            rows.append(common | {"estimand": "ame_tilt", "estimate": at, **ends})
        if self.shape is not None:
            rows += [common | row for row in _sides(self.shape, outcome)]
        cells = self.segments.cells
        if len(cells):
            rows += [common | row for row in _cells(cells[(cells["outcome"] == outcome) & ~cells["suppressed"]])]
        if self.calendar is not None:
            periods = self.calendar.cells[self.calendar.cells["outcome"] == outcome]
            rows += [common | row for row in _events(periods)]
        curve = self.curves.get(outcome)
        if curve is not None:
            row = curve.glance().iloc[0]
            rows.append(
                common
                | {"estimand": "specification_median", "method": "specification_curve", "evidence": "association"}
                | {"estimate": row["median"], "conf_low": row["low"], "conf_high": row["high"], "n_obs": None}
            )
        return rows

    def checks(self) -> pd.DataFrame:
        """``outcome, exposure, name, verdict, number, advice`` of everything that was gathered."""
        parts = [sensitivity_checks(one).assign(outcome=outcome) for outcome, one in self.sensitivity.items()]
        parts += [clustering_checks(one).assign(outcome=outcome) for outcome, one in self.headline.items()]
        parts += [curve.checks().assign(outcome=outcome) for outcome, curve in self.curves.items()]
        parts += [segment_checks(self.segments)] if len(self.segments.cells) else []
        parts += [self.shape.checks()] if self.shape is not None else []
        if self.pilot is not None:
            parts += [self.pilot.checks(), agreement_checks(self.pilot, self.headline)]
        parts += [self.calendar.checks()] if self.calendar is not None else []
        columns = ["outcome", "exposure", "name", "verdict", "number", "advice"]
        known = [part for part in parts if len(part)]
        if not known:
            return pd.DataFrame(columns=columns)
        table = pd.concat(known, ignore_index=True).assign(exposure=self.exposure)
        return table.reindex(columns=columns)


def gather(panel: Panel, found: Mapping[tuple[str, str], Linkage | str], exposure: str) -> Findings:
    """Everything that can be said for and against the headline of a score; of further scores and outcomes only sensitivity.

    Parameters
    ----------
    panel : Panel
    found : mapping
        ``(outcome, method)`` to ``Linkage`` or reason, as ``standard_linkages`` gives it.
    exposure : str
    """
    method = headline_method(dict(found))
    headline = {
        outcome: linkage
        for (outcome, own), linkage in found.items()
        if own == method and isinstance(linkage, Linkage) and not linkage.separated and not linkage.predicting
    }
    adjusted = {key: linkage for key, linkage in found.items() if key[1] in ("raw", "adjusted")}
    is_first = exposure == panel.metrics[0]
    looked_at = {outcome: one for outcome, one in headline.items() if is_first and outcome in STANDARD_OUTCOMES}
    curves: dict[str, SpecificationCurve] = {}
    for outcome in looked_at:
        if isinstance(adjusted.get((outcome, "adjusted")), Linkage):
            with suppress(InputError):  # a company too small for a curve still has its estimates
                curves[outcome] = specification_curve(panel, exposure, outcome, linkages=adjusted, most_rows=CURVE_ROWS)
    pilot = pilot_linkages(panel, exposure) if is_first else ""
    calendar = by_event(panel, looked_at.values())
    return Findings(
        exposure=exposure,
        headline=headline,
        sensitivity={outcome: sensitivity(linkage) for outcome, linkage in headline.items()},
        bounds={outcome: nonresponse_bounds(linkage, tilts=("answer",)) for outcome, linkage in looked_at.items()},
        segments=segment_linkages(panel, looked_at.values()),
        shape=satisfaction_shape(panel, exposure, linkages=adjusted) if looked_at else None,
        curves=curves,
        pilot=None if isinstance(pilot, str) else pilot,
        calendar=None if isinstance(calendar, str) else calendar,
    )


def _strengths(found: Sensitivity | None) -> list[dict[str, object]]:
    if found is None:
        return []
    table = found.tidy()
    kept = table[table["measure"].isin(MEASURES)]
    return [
        {"estimand": row["measure"], "estimate": row["estimate"], "unit": row["unit"]} for _, row in kept.iterrows()
    ]


def _sides(shape: Shape, outcome: str) -> list[dict[str, object]]:
    slopes = shape.slopes
    own = slopes[(slopes["outcome"] == outcome) & (slopes["bend_from"] == "scale") & slopes["side"].isin(SIDES)]
    return [
        {
            "estimand": f"ame_{row['side']}",
            "method": "adjusted",
            "estimate": row["per_point"],
            "std_error": row["per_point_std_error"],
            "conf_low": row["per_point"] - CRITICAL * row["per_point_std_error"],
            "conf_high": row["per_point"] + CRITICAL * row["per_point_std_error"],
        }
        for _, row in own.iterrows()
    ]


def _cells(cells: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {
            "estimand": "ame",
            "segment": f"{row['segment']}={row['level']}",
            "estimate": row["pooled"],
            "conf_low": row["pooled_low"],
            "conf_high": row["pooled_high"],
            "n_obs": row["n_obs"],
            "n_clusters": row["customers"],
        }
        for _, row in cells.iterrows()
    ]


def _events(cells: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {
            "estimand": "ame",
            "segment": f"calendar={row['event']}",
            **{name: row[name] for name in ("estimate", "std_error", "conf_low", "conf_high")},
            "n_obs": row["n_obs"],
            "n_clusters": row["customers"],
        }
        for row in cells.to_dict("records")
    ]


def _of_pilot(pilot: Pilot) -> list[dict[str, object]]:
    """Rows of a pilot; the reason stands in ``method`` where there is no figure."""
    kept = pilot.estimates[[name for name in ROW_COLUMNS if name in pilot.estimates]].astype(object)
    methods = [f"not estimated: {reason}" if reason else "pilot" for reason in pilot.estimates["reason"]]
    known = pilot.estimates["reason"] == ""
    kept["evidence"] = kept["evidence"].where(known, None)
    named = kept.assign(method=methods, segment=[f"initiative={name}" for name in pilot.estimates["initiative"]])
    return [{str(name): value for name, value in row.items()} for row in named.to_dict("records")]
