"""The claim ladder: how strong the evidence behind a figure is, and which figure leads, by rule."""

from __future__ import annotations

from typing import Literal

from cxroi.panel import Timing

Rung = Literal["association", "adjusted", "within_customer", "quasi_experiment", "experiment"]
RUNGS: tuple[Rung, ...] = ("association", "adjusted", "within_customer", "quasi_experiment", "experiment")
CRITICAL = 1.96  # two-sided 95 % of the normal distribution


def grade(method: str, timing: Timing, *, placebo_passes: bool = True) -> Rung:
    """Rung of an estimate.

    Parameters
    ----------
    method : str
        ``raw`` compares customers as they are; ``adjusted`` and ``calibrated`` hold declared controls and history fixed, ``within``
        the customer's own lasting level too.
    timing : {"before", "inside", "undated"}
        When the score was given. Anything but strictly before the outcome stays an association whatever the method.
    placebo_passes : bool
        Whether orders before an answer leave it alone; if they do not, every figure is an association.

    Examples
    --------
    >>> grade("adjusted", "before"), grade("adjusted", "undated"), grade("raw", "before")
    ('adjusted', 'association', 'association')
    >>> grade("within", "before"), grade("within", "before", placebo_passes=False)
    ('within_customer', 'association')
    """
    if timing != "before" or method == "raw" or not placebo_passes:
        return "association"
    return "within_customer" if method == "within" else "adjusted"


def grade_pilot(*, by_lot: bool, comparable: bool, differenced: bool) -> Rung:
    """Rung of a comparison of customers whom an initiative reached with customers whom it did not.

    Parameters
    ----------
    by_lot : bool
        Whether it is declared that lots decided who was reached.
    comparable : bool
        Whether the checks that the comparison rests on let it stand: by lot that the arms were balanced at the start, else also
        that both had moved alike before it; where answers enter, that both arms answered alike.
    differenced : bool
        Whether each customer's outcome is set against the own outcome before. Staying cannot be: whoever is compared had stayed.

    Examples
    --------
    >>> grade_pilot(by_lot=True, comparable=True, differenced=False), grade_pilot(by_lot=True, comparable=False, differenced=False)
    ('experiment', 'association')
    >>> grade_pilot(by_lot=False, comparable=True, differenced=True), grade_pilot(by_lot=False, comparable=True, differenced=False)
    ('quasi_experiment', 'adjusted')
    """
    if not comparable:
        return "association"
    if by_lot:
        return "experiment"
    return "quasi_experiment" if differenced else "adjusted"


def can_lead(within: tuple[float, float], calibrated: float) -> bool:
    """Whether the comparison within customers is precise enough to lead: it could see a figure half as large as the calibrated one.

    Parameters
    ----------
    within : (float, float)
        Estimate and standard error.
    calibrated : float
        Estimate without the customer's level held fixed.

    Examples
    --------
    >>> can_lead((0.02, 0.005), 0.03), can_lead((0.02, 0.02), 0.03)
    (True, False)
    """
    return CRITICAL * within[1] <= abs(calibrated) / 2
