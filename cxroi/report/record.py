"""What a run keeps beside its report so that later runs can be held against it, and reading it back.

Aggregates and draws only, never a customer's row: ``response.csv`` (what a point is worth, draw by draw), ``forecast.csv``
(the next four quarters), ``actuals.csv`` (what came after the quarters before), ``scores.csv`` (each score by quarter), and
in the manifest the case as stated, what ``dataset.yaml`` assumes, and the headline figures.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from cxroi import periods
from cxroi.case import BusinessCase, Case
from cxroi.errors import InputError
from cxroi.report.company import Assessment
from cxroi.report.facts import case_measure, headline, last_score, value_row, weakest_rung
from cxroi.report.folder import MANIFEST
from cxroi.value.outlook import ACTUAL_COLUMNS, FORECAST_COLUMNS, outlook, realised
from cxroi.value.response import MarginResponse

TABLES = ("estimates", "case", "scores", "forecast", "actuals")
SCORE_COLUMNS = ("metric", "period", "estimate", "std_error", "conf_low", "conf_high", "n", "response_rate")
CHANNELS = ("through_retention", "through_spend", "through_referrals", "through_service")
RESPONSE_COLUMNS = ("draw", "quarter", "baseline", *CHANNELS)
HORIZON = ("low", "median", "high")


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run as later ones see it.

    Attributes
    ----------
    name : str
        Name of its folder.
    manifest : mapping
        ``manifest.json``.
    estimates, case, scores, forecast, actuals : DataFrame
        The files of these names; without rows where the run has none.
    response : MarginResponse or None
        What a point is worth, as stored.
    stated : Case or None
        The case as stated.
    """

    name: str
    manifest: Mapping[str, Any]
    estimates: pd.DataFrame
    case: pd.DataFrame
    scores: pd.DataFrame
    forecast: pd.DataFrame
    actuals: pd.DataFrame
    response: MarginResponse | None
    stated: Case | None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the run noted of itself: company, window, exposure, figures; empty for a run of an earlier version."""
        found = self.manifest.get("record")
        return found if isinstance(found, dict) else {}


def write_record(assessment: Assessment, folder: Path) -> dict[str, Any]:
    """Write the files of the record into a run's folder and give what its manifest shall say."""
    a = assessment
    known = {metric: frame for metric, frame in a.scores.items() if not isinstance(frame, str)}
    tables = {
        "scores": _scores(known),
        "forecast": pd.DataFrame(columns=list(FORECAST_COLUMNS))
        if isinstance(a.value, str)
        else outlook(a.value, scores=known.get(a.exposure)),
        "actuals": realised(a.tables, a.panel, known),
        "response": pd.DataFrame(columns=list(RESPONSE_COLUMNS))
        if isinstance(a.decision, str)
        else _response_rows(a.decision.response),
    }
    for name, table in tables.items():
        write_table(table, folder / f"{name}.csv")
    return {"record": _facts(a)}


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a tidy table as CSV, ten significant digits, the same bytes on every system."""
    table.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")


def read_run(path: str | Path) -> RunRecord:
    """Read the record of a finished run.

    Raises
    ------
    InputError
        If the folder is not a run, or the run failed.
    """
    folder = Path(os.path.realpath(path))
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{_shown(path)} must be a run: a folder that cxroi run wrote, with {MANIFEST} in it.")
    if manifest.get("status") != "done":
        raise InputError(f"{_shown(path)} must be a finished run; it failed. Repair what failed and run it again.")
    tables = {name: _read_table(folder / f"{name}.csv") for name in TABLES}
    if tables["estimates"].empty:
        raise InputError(f"{_shown(path)} must hold estimates.csv with rows; a run of some notebooks only may not.")
    found = manifest.get("record")
    facts: Mapping[str, Any] = found if isinstance(found, dict) else {}
    return RunRecord(
        name=folder.name,
        manifest=manifest,
        response=_read_response(folder / "response.csv", facts.get("response")),
        stated=_read_case(facts.get("case")),
        **tables,
    )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of a run, or None where the folder holds none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("versions"), dict) else None


def read_csv(path: Path) -> pd.DataFrame:
    """Table of a run; empty where the file is missing or is no table."""
    try:
        return pd.read_csv(path)
    except (OSError, ValueError):
        return pd.DataFrame()


def _read_table(path: Path) -> pd.DataFrame:
    found = read_csv(path)
    return found if len(found) else pd.DataFrame(columns=_COLUMNS.get(path.stem, list(found.columns)))


_COLUMNS: dict[str, list[str]] = {
    "scores": list(SCORE_COLUMNS),
    "forecast": list(FORECAST_COLUMNS),
    "actuals": list(ACTUAL_COLUMNS),
    "case": ["programme", "scenario", "measure", "low", "median", "high", "mean", "unit"],
}


def _scores(known: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    frames = [
        frame.assign(metric=metric).reindex(columns=list(SCORE_COLUMNS))
        for metric, frame in known.items()
        if not frame.empty
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(SCORE_COLUMNS))


def _response_rows(response: MarginResponse) -> pd.DataFrame:
    draws, quarters = response.baseline.shape
    parts = {name: getattr(response, name) for name in CHANNELS}  # a channel that is not known stays empty
    return pd.DataFrame(
        {
            "draw": np.repeat(np.arange(draws), quarters),
            "quarter": np.tile(np.arange(1, quarters + 1), draws),
            "baseline": response.baseline.ravel(),
            **{name: np.nan if part is None else part.ravel() for name, part in parts.items()},
        }
    )


def _read_response(path: Path, facts: Any) -> MarginResponse | None:
    """Response as it was stored; None where the run has none, or its files do not fit together."""
    table = read_csv(path)
    if not isinstance(facts, dict) or table.empty:
        return None
    try:
        quarters = int(table["quarter"].max())
        known = [name for name in RESPONSE_COLUMNS[2:] if name in table and table[name].notna().all()]
        parts: dict[str, Any] = {name: table[name].to_numpy(float).reshape(-1, quarters) for name in known}
        low, high = facts["score_range"]
        return MarginResponse(
            exposure=str(facts["exposure"]),
            customers=int(facts["customers"]),
            currency=str(facts["currency"]),
            evidence=str(facts["evidence"]),
            persistence=None,
            score_range=(float(low), float(high)),
            **parts,
        )
    except (KeyError, TypeError, ValueError):
        return None


def stored_case(case: Case) -> dict[str, Any]:
    """The case as stated, as plain data; what was left out stays out."""
    return case.model_dump(mode="json", exclude_defaults=True)


def _read_case(stated: Any) -> Case | None:
    try:
        return Case.model_validate(stated) if isinstance(stated, dict) else None
    except ValidationError:
        return None


def _facts(a: Assessment) -> dict[str, Any]:
    first, last = a.window
    stated = a.tables.config.model_dump(mode="json")
    sources = json.dumps(stated.pop("tables"), sort_keys=True, ensure_ascii=False)
    facts: dict[str, Any] = {
        "company": a.tables.name,
        "window": {"first": first.isoformat(), "last": last.isoformat()},
        "last_period": periods.label(a.panel.last_period, a.panel.period),
        "currency": a.panel.currency,
        "exposure": a.exposure,
        "active_customers": round(float(a.panel.active["weight"].sum())),
        "assumed": stated | {"tables": hashlib.sha256(sources.encode()).hexdigest()[:12]},
        "figures": _figures(a),
    }
    if isinstance(a.case, Case):
        facts["case"] = stored_case(a.case)
    if isinstance(a.decision, BusinessCase):
        response = a.decision.response
        facts |= {
            "response": {
                "exposure": response.exposure,
                "customers": response.customers,
                "currency": response.currency,
                "evidence": response.evidence,
                "score_range": list(response.score_range),
            },
            "draws": a.decision.draws,
        }
    return facts


def _figures(a: Assessment) -> dict[str, Any]:
    """Headline figures: of the case, of one point, of the score; those that the run has."""
    found: dict[str, Any] = {}
    if isinstance(a.decision, BusinessCase):
        npv = case_measure(a.decision, "npv")
        if np.isfinite(npv["median"]):
            found["npv"] = {name: _rounded(npv[name]) for name in HORIZON}
            found["p_npv_positive"] = _rounded(case_measure(a.decision, "p_npv_positive")["mean"])
        found["evidence"] = weakest_rung(a.decision)
    point = value_row(a, "value_of_one_point")
    if point is not None:
        found["point"] = {
            "low": _rounded(point["low"]),
            "median": _rounded(point["estimate"]),
            "high": _rounded(point["high"]),
        }
    row = headline(a, "retained")
    if row is not None:
        found["point_evidence"] = str(row["evidence"])
    score = last_score(a)
    if score is not None:
        found["score"] = {
            "low": _rounded(score["conf_low"]),
            "median": _rounded(score["estimate"]),
            "high": _rounded(score["conf_high"]),
        }
    return found


def _rounded(x: Any) -> float | None:
    """Ten significant digits, as in the tables; None where there is no number."""
    return float(f"{float(x):.10g}") if np.isfinite(float(x)) else None


def _shown(path: str | Path) -> str:
    return Path(path).name or "."
