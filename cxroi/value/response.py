"""What a gain of one point on the score is worth in margin: the plain numbers that an investment case needs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxroi.errors import InputError


@dataclass(frozen=True, eq=False)
class MarginResponse:
    """Margin that follows from a score gain, as draws of the estimated linkage.

    With γ_k the score gain in points in force at quarter k (k = 1…H), the margin of quarter h changes by
    ``through_retention[:, h] · Σ_{k≤h} γ_k + (through_spend + through_referrals + through_service)[:, h] · γ_h`` currency per
    customer active at the start; a channel that is None is left out.

    Exact for half a point that lasts. Whom a gain keeps is the likelier to leave later (``cxroi.value.forward``); of a gain that fades that
    is counted as of one that lasts, so its value differs from the run's own by 1 to 10 % over 12 quarters in simulated companies (22 %
    in one of noisy answers that last), a small part of the draws' spread.

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
    through_referrals : ndarray, shape (draws, quarters), or None
        Currency per customer and point: change of the referrals made times the value of a referral; None where referrals cannot
        be estimated, or it is not stated with a source how many of the referred would have come anyway.
    through_service : ndarray, shape (draws, quarters), or None
        Currency per customer and point: minus the change of the cost to serve, of those who are kept too; None where no cost of
        touches is known.
    lacking : dict of str to str
        Why a channel is None, by its name.

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
    lacking: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        channels = (self.through_retention, self.through_spend, self.through_referrals, self.through_service)
        parts = [self.baseline, *(channel for channel in channels if channel is not None)]
        shapes = {part.shape for part in parts}
        if len(shapes) != 1 or self.baseline.ndim != 2:
            raise InputError(
                f"baseline and every through_… must share one shape (draws, quarters); they have {sorted(shapes)}."
            )
        if self.reason:
            return
        if 0 in self.baseline.shape:
            raise InputError("A response must hold at least one draw and one quarter, or say in reason why it can't.")
        if not all(np.isfinite(part).all() for part in parts):
            raise InputError("A response must hold finite numbers only; leave draws that failed out and say how many.")
        if not self.score_range[0] < self.score_range[1]:
            raise InputError(f"score_range must be (low, high) with low < high; it is {self.score_range}.")

    @property
    def quarters(self) -> int:
        """Number of quarters that the response reaches."""
        return int(self.baseline.shape[1])
