"""What customers are worth, and what a point of satisfaction adds."""

from cxroi.value.estimates import COLUMNS, Estimates, estimate, estimates_table, write_estimates
from cxroi.value.forward import score_bands
from cxroi.value.lifetime import CustomerValue, lifetime_value
from cxroi.value.response import MarginResponse

__all__ = [
    "COLUMNS",
    "CustomerValue",
    "Estimates",
    "MarginResponse",
    "estimate",
    "estimates_table",
    "lifetime_value",
    "score_bands",
    "write_estimates",
]
