"""From a score to what customers did next: equations, checks, the claim ladder."""

from cxroi.linkage.ladder import RUNGS, Rung, grade
from cxroi.linkage.model import Linkage, fit_linkage, not_estimable, standard_linkages, unit

__all__ = ["RUNGS", "Linkage", "Rung", "fit_linkage", "grade", "not_estimable", "standard_linkages", "unit"]
