"""What a gain of one point on the score is worth in margin: the plain numbers that an investment case needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxroi.errors import InputError


@dataclass(frozen=True, eq=False)
class MarginResponse:
    """Margin that follows from a score gain, as draws of the estimated linkage.

    With γ_k the score gain in points in force at quarter k (k = 1…H), the margin of quarter h changes by
    ``through_retention[:, h] · Σ_{k≤h} γ_k + (through_spend + through_referrals + through_service)[:, h] · γ_h`` currency per
    customer active at the start.

    Attributes
    ----------
    exposure : str
        The measure whose points count: ``nps``, ``csat`` or ``ces``.
    customers : int
        Number of customers active at the start.
    currency : str
        Currency of every amount.
    evidence : str
        Rung of the claim ladder that the linkage stands on.
    baseline : ndarray, shape (draws, quarters)
        Margin per customer and quarter without any gain, in currency.
    through_retention, through_spend : ndarray, shape (draws, quarters)
        Currency per customer and point.
    persistence : ndarray, shape (draws,), or None
        Share of a gain that is left after one quarter, as estimated from the panel.
    score_range : tuple of float
        Lowest and highest observed answer.
    reason : str
        Why there is no response; empty where there is one. With a reason the arrays may have no rows.
    through_referrals, through_service : ndarray, shape (draws, quarters), or None
        The same through customers who were referred and through cost to serve that is saved; None where the data do not say.

    Raises
    ------
    InputError
        Where shapes differ, a number is not finite, or there are neither draws nor a reason.
    """

    exposure: str
    customers: int
    currency: str
    evidence: str
    baseline: NDArray[np.float64]
    through_retention: NDArray[np.float64]
    through_spend: NDArray[np.float64]
    persistence: NDArray[np.float64] | None
    score_range: tuple[float, float]
    reason: str = ""
    through_referrals: NDArray[np.float64] | None = None
    through_service: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        parts = [
            self.baseline,
            self.through_retention,
            self.through_spend,
            self.through_referrals,
            self.through_service,
        ]
        known = [part for part in parts if part is not None]
        shapes = {part.shape for part in known}
        if len(shapes) != 1 or self.baseline.ndim != 2:
            raise InputError(
                "baseline, through_retention, through_spend and, where there are, through_referrals and through_service must "
                f"share one shape (draws, quarters); they have {sorted(shapes)}."
            )
        if self.reason:
            return
        if 0 in self.baseline.shape:
            raise InputError("A response must hold at least one draw and one quarter, or say in reason why it can't.")
        if not all(np.isfinite(part).all() for part in known):
            raise InputError("A response must hold finite numbers only; leave draws that failed out and say how many.")
        if not self.score_range[0] < self.score_range[1]:
            raise InputError(f"score_range must be (low, high) with low < high; it is {self.score_range}.")

    @property
    def quarters(self) -> int:
        """Number of quarters that the response reaches."""
        return int(self.baseline.shape[1])
