"""The claim ladder: how strong the evidence behind a figure is, by rule."""

from __future__ import annotations

from typing import Literal

from cxroi.panel import Timing

Rung = Literal["association", "adjusted", "within_customer", "quasi_experiment", "experiment"]
RUNGS: tuple[Rung, ...] = ("association", "adjusted", "within_customer", "quasi_experiment", "experiment")


def grade(method: str, timing: Timing) -> Rung:
    """Rung of an estimate.

    Parameters
    ----------
    method : str
        ``raw`` compares customers as they are; ``adjusted`` holds declared controls and history fixed.
    timing : {"before", "inside", "undated"}
        When the score was given. Anything but strictly before the outcome stays an association whatever the method.

    Examples
    --------
    >>> grade("adjusted", "before"), grade("adjusted", "undated"), grade("raw", "before")
    ('adjusted', 'association', 'association')
    """
    if timing != "before" or method == "raw":
        return "association"
    return "adjusted"
