"""Words of an investment case with a closed list of values: cost categories, benefits, rungs of evidence, disciplines."""

from __future__ import annotations

from typing import Literal, get_args

from cxroi.value import identity

CATEGORIES = (
    "people_hired",
    "training_consulting",
    "data_tools",
    "co_creation",
    "internal_alignment",
    "touchpoint_redesign",
    "recognition_incentives",
    "other_culture",
)
"""The eight cost categories, 1 to 8."""

BENEFITS = tuple(identity.BENEFITS)
"""The ten benefits, 1 to 10; the last three stay outside the money unless a figure and its source are stated."""

Evidence = Literal["association", "adjusted", "within_customer", "quasi_experiment", "experiment"]
Discipline = Literal["culture", "strategy", "understanding", "measurement", "design", "operations"]
Metric = Literal["nps", "csat", "ces"]
Kind = Literal["data", "benchmark", "assumption"]
BusinessModel = Literal["contract", "repeat_purchase", "marketplace", "other"]

LADDER: tuple[str, ...] = get_args(Evidence)
"""Rungs of the claim ladder, weakest first."""

LONG_TERM_MONTHS = 36
