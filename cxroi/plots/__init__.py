"""One function a figure: a tidy frame in, one Axes out; colours, line styles and the formats of axes live here.

Every interval in the frame is drawn. A title states the finding: given by the caller, finished, or, in the pictures of
customer value, computed from the frame where none is given. ``alt`` tells the same picture in words, and ``to_svg``
writes it, the same bytes for the same picture.

Figures are made without pyplot, so nothing stays open; ``axes.figure`` is the figure to save or show.
"""

from cxroi.plots.brands import brand_margins, brand_overlap
from cxroi.plots.canvas import (
    BLACK,
    BLUE,
    ENGLISH,
    FLOOR,
    GREEN,
    INK,
    LABEL_LENGTH,
    LINE,
    LINE_LENGTH,
    PURPLE,
    RED,
    SERIES,
    SOFT,
    TINT,
    WIDTH_INCHES,
    Floats,
    Format,
    alt,
    to_svg,
)
from cxroi.plots.case import SCENARIOS, Scenario, cash_flows, scenarios, tornado
from cxroi.plots.customers import cohort_triangle, spend_change, survival_curves, tracking
from cxroi.plots.evidence import CHOICES, confounders, segments, specification_curve
from cxroi.plots.growth import acquisition, earned_growth, referral_cells, referral_rates
from cxroi.plots.loyalty import cost_to_serve, forgiveness, loyalty_types, shock_survival
from cxroi.plots.outcomes import effects, linkage
from cxroi.plots.portfolio import frontier, information, sample_sizes, variance_shares
from cxroi.plots.runs import before_after, over_runs
from cxroi.plots.scores import score_distribution, scores_by_period
from cxroi.plots.tables import accounting
from cxroi.plots.value import shapley_parts, shortcuts, shown_bands, value_by_band, value_path

__all__ = [
    "BLACK",
    "BLUE",
    "CHOICES",
    "ENGLISH",
    "FLOOR",
    "GREEN",
    "INK",
    "LABEL_LENGTH",
    "LINE",
    "LINE_LENGTH",
    "PURPLE",
    "RED",
    "SCENARIOS",
    "SERIES",
    "SOFT",
    "TINT",
    "WIDTH_INCHES",
    "Floats",
    "Format",
    "Scenario",
    "accounting",
    "acquisition",
    "alt",
    "before_after",
    "brand_margins",
    "brand_overlap",
    "cash_flows",
    "cohort_triangle",
    "confounders",
    "cost_to_serve",
    "earned_growth",
    "effects",
    "forgiveness",
    "frontier",
    "information",
    "linkage",
    "loyalty_types",
    "over_runs",
    "referral_cells",
    "referral_rates",
    "sample_sizes",
    "scenarios",
    "score_distribution",
    "scores_by_period",
    "segments",
    "shapley_parts",
    "shock_survival",
    "shortcuts",
    "shown_bands",
    "specification_curve",
    "spend_change",
    "survival_curves",
    "to_svg",
    "tornado",
    "tracking",
    "value_by_band",
    "value_path",
    "variance_shares",
]
