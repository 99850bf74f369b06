"""From a score to what customers did next: equations, checks, the claim ladder."""

from cxroi.linkage.ladder import RUNGS, Rung, grade
from cxroi.linkage.model import (
    EVERY_OUTCOME,
    METHODS,
    NOTHING_TO_HOLD,
    Linkage,
    fit_linkage,
    headline_method,
    not_estimable,
    standard_linkages,
    unit,
)
from cxroi.linkage.persistence import Persistence, estimate_persistence

__all__ = [
    "EVERY_OUTCOME",
    "METHODS",
    "NOTHING_TO_HOLD",
    "RUNGS",
    "Linkage",
    "Persistence",
    "Rung",
    "estimate_persistence",
    "fit_linkage",
    "grade",
    "headline_method",
    "not_estimable",
    "standard_linkages",
    "unit",
]
