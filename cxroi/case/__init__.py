"""Investment cases: from a margin response and a stated case to cash flows, NPV, ROI, IRR, payback and break-even."""

from cxroi.case.business_case import BusinessCase, business_case
from cxroi.case.programme import Case, Cost, Programme, ScoreGain, parse_case, read_case

__all__ = ["BusinessCase", "Case", "Cost", "Programme", "ScoreGain", "business_case", "parse_case", "read_case"]
