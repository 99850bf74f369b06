"""Investment cases: from a margin response and a stated case to cash flows, NPV, ROI, IRR, payback and break-even."""

from cxroi.case.business_case import BusinessCase, business_case, faded_as_observed
from cxroi.case.checks import observed_half_life_months
from cxroi.case.programme import Case, Cost, Programme, ScoreGain
from cxroi.case.read import parse_case, read_case

__all__ = [
    "BusinessCase",
    "Case",
    "Cost",
    "Programme",
    "ScoreGain",
    "business_case",
    "faded_as_observed",
    "observed_half_life_months",
    "parse_case",
    "read_case",
]
