"""A panel whose scores are what all of a customer's answers so far say of satisfaction, in place of single answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from cxroi.linkage.design import BEND, Design, Preparation, adjusted_terms, build_design, prepare
from cxroi.linkage.fit import Fit, Floats, Ints, response_to_design, with_nuisance
from cxroi.linkage.history import NET_COLUMNS
from cxroi.linkage.satisfaction import (
    PARAMETERS,
    STEP,
    Expected,
    Grid,
    Satisfaction,
    answer_grid,
    expect,
    expectation_columns,
    learn_satisfaction,
)
from cxroi.panel import Panel

Changes = tuple[dict[str, Floats], ...]
VARIANCE_OF_ROUNDING = 1 / 12  # squared points, of an answer rounded to whole points


@dataclass(frozen=True)
class Calibrated:
    """Answers of a panel replaced by expected satisfaction.

    Attributes
    ----------
    panel : Panel
        As the original, answered rows of one score only; ``rows`` and ``active`` have ``satisfaction`` (points from the
        mean) and the columns of ``cxroi.linkage.satisfaction.COLUMNS``; the score in ``rows`` is the expected one, the
        answer itself is ``satisfaction_answer``.
    satisfaction : Satisfaction
    grid : Grid
    predicted : (array, array)
        What controls predict of the answers of ``rows`` and of ``active``, points.
    """

    panel: Panel
    satisfaction: Satisfaction
    grid: Grid
    predicted: tuple[Floats, Floats]

    @property
    def centre(self) -> float:
        """Mean predicted answer, points."""
        return float(self.predicted[0].mean())

    def _moved(self) -> tuple[dict[str, Floats], ...]:
        """The columns of the answered rows that are expectations: as they are, and with each parameter moved by a small step."""
        moved = (self.satisfaction.moved(position, STEP) for position in range(len(PARAMETERS)))
        return tuple(self._columns(expect(each, self.grid.answers)) for each in (self.satisfaction, *moved))

    def changes(self, preparation: Preparation, names: Collection[str]) -> Changes:
        """Derivative of those of the named columns that follow from satisfaction by each parameter of it, shape (rows,) each."""
        exposure = self.satisfaction.exposure
        known = self.panel.once("expectations moved", self._moved)  # the panel is this one's own
        here, *moved = (preparation.of_satisfaction(self.panel.rows, columns, exposure) for columns in known)
        return tuple(
            {name: (there[name] - values) / STEP for name, values in here.items() if name in names} for there in moved
        )

    def at(self, satisfaction: Satisfaction) -> Panel:
        """The panel under other parameters of satisfaction."""
        expected = expect(satisfaction, self.grid.answers)
        active = self.panel.active
        columns = expectation_columns(active, expected, self.grid.active, self.predicted[1] - self.centre)
        rows = self.panel.rows.assign(**self._columns(expected))
        return replace(self.panel, rows=rows, active=active.assign(**columns))

    def _columns(self, expected: Expected) -> dict[str, Floats]:
        columns = expectation_columns(self.panel.rows, expected, self.grid.rows, self.predicted[0] - self.centre)
        return {**columns, self.satisfaction.exposure: self.centre + columns["satisfaction"]}


def calibrated(panel: Panel, exposure: str) -> Calibrated | str:
    """Expected satisfaction in place of single answers; a reason in words where answers are not repeated enough.

    Controls, tenure and period predict satisfaction beside the answers, so that what is left out of the equation of an
    outcome is unrelated to all that is in it. Computed once for a panel and score.

    Parameters
    ----------
    panel : Panel
    exposure : str
        ``nps``, ``csat`` or ``ces``.

    Returns
    -------
    Calibrated or str
        Scores in points of the answer.

    Notes
    -----
    Source: regression calibration, Carroll, Ruppert, Stefanski & Crainiceanu (2006), Measurement Error in Nonlinear
    Models, chapter 4.
    """
    return panel.once(f"calibrated {exposure}", lambda: _calibrated(panel, exposure))


def _calibrated(panel: Panel, exposure: str) -> Calibrated | str:
    rows = panel.answered(exposure)
    if panel.timing != "before" or "periods_before" not in rows or f"{exposure}_age" not in panel.active:
        return "needs dated answers and transactions"
    preparation = prepare(panel, rows, exposure)
    terms = adjusted_terms(panel, rows, preparation).split(" + ")
    controls = [term for term in terms if term and term not in NET_COLUMNS]
    design = build_design(panel, rows, " + ".join(controls) or "1", "", preparation=replace(preparation, net=None))
    answers = rows[exposure].to_numpy(dtype=float)
    coefficients = np.linalg.lstsq(design.matrix, answers, rcond=None)[0]
    active = panel.active.assign(period=int(rows["period"].max()))
    predicted = design.matrix @ coefficients, design.at(active) @ coefficients
    newest = (active[f"{exposure}_age"] == 0).to_numpy()
    if newest.any():  # the last period has a mean of its own
        own = active[f"last_{exposure}"].to_numpy(dtype=float)[newest]
        predicted = predicted[0], predicted[1] + float((own - predicted[1][newest]).mean())
    own_rows = replace(panel, rows=rows.assign(satisfaction_answer=answers))
    grid = answer_grid(own_rows, exposure, predicted)
    single = answers[rows[f"{exposure}_answers"].to_numpy() == 1]
    is_rounded = bool(len(single)) and bool((single == np.round(single)).all())
    satisfaction = learn_satisfaction(
        grid,
        exposure,
        predicted_variance=float(predicted[0].var()),
        least_noise=VARIANCE_OF_ROUNDING if is_rounded else 0.0,
    )
    if satisfaction is None:
        return "too few customers answered in four periods or more to tell satisfaction from the noise of one answer"
    plain = Calibrated(own_rows, satisfaction, grid, predicted)
    return replace(plain, panel=plain.at(satisfaction))


def score_terms(exposure: str, *, level: bool) -> str:
    """Terms of expected satisfaction: a line, its bend, and for the comparison within customers the lasting level."""
    return " + ".join([exposure, BEND, *(["satisfaction_level"] if level else [])])


def add_satisfaction_error(
    found: Calibrated, changes: Changes, design: Design, fitted: Fit, outcome: Floats, used: Ints
) -> Fit:
    """The fit with the sampling error of the four parameters of satisfaction.

    Parameters
    ----------
    found : Calibrated
    changes : tuple of dict
        From :meth:`Calibrated.changes`, with the preparation of the design.
    design : Design
        Of the calibrated rows.
    fitted : Fit
    outcome : array, shape (n,)
        Of the rows that were used.
    used : array, shape (n,)
    """
    by_place = [
        {design.columns.index(name): values for name, values in change.items() if name in design.columns}
        for change in changes
    ]
    picked = None if len(used) == len(design.matrix) else used
    slopes = response_to_design(fitted, design.matrix, outcome, by_place, rows=picked)
    return with_nuisance(fitted, slopes, found.satisfaction.influence, found.satisfaction.customers)
