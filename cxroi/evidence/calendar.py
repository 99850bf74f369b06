"""The calendar of events: whether a point goes with the same change in periods with an event (Tết, a promotion) as in others.

What an event does to everybody is in the period effects of every equation. What they cannot take out is a relation that
itself differs: festive buying may hang less, or more, on how satisfied a customer is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.evidence.segments import DISCOVERY_RATE, false_discovery_rates, segment_linkages
from cxroi.linkage import Linkage
from cxroi.linkage.ladder import CRITICAL
from cxroi.panel import Panel

ANY, NONE = "(any)", "none"
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

WITH, WITHOUT = "with", "without"
NORMAL_975 = float(special.ndtri(0.975))
NO_CALENDAR = "no calendar of events is declared in dataset.yaml"
NO_CONTRAST = "events of the calendar fall in none, or in all, of the outcome periods"
TOO_FEW = "too few customers or events in periods with, or without, an event of the calendar"
COLUMNS = [
    *("outcome", "exposure", "event", "periods", "n_obs", "customers"),
    *("estimate", "std_error", "conf_low", "conf_high"),
    *("difference", "difference_low", "difference_high", "p_value", "q_value"),
]


@dataclass(frozen=True)
class ByEvent:
    """The linkage in outcome periods with and without events.

    Attributes
    ----------
    cells : DataFrame
        A row per outcome and event, and one for ``none`` (periods without any): ``periods`` (outcome periods), ``n_obs, customers``,
        ``estimate, std_error, conf_low, conf_high`` (change of the outcome in its own unit per point), ``difference`` from all
        periods without that event, its ends, ``p_value`` and ``q_value`` (false-discovery rate over the table).
    headline : dict of str to (float, float)
        The figure over all periods and its standard error, by outcome.
    """

    cells: pd.DataFrame
    headline: dict[str, tuple[float, float]]

    def __repr__(self) -> str:
        return repr(self.cells)

    def tidy(self) -> pd.DataFrame:
        """A row per outcome and event."""
        return self.cells

    def glance(self) -> pd.DataFrame:
        """A row per outcome: ``outcome, events`` (number), ``smallest_q``, ``estimate, std_error`` of all periods, ``without`` any."""
        rows = []
        for outcome, own in self.cells.groupby("outcome", sort=False):
            without = own.loc[own["event"] == NONE, "estimate"]
            rows.append(
                {
                    "outcome": outcome,
                    "events": int((own["event"] != NONE).sum()),
                    "smallest_q": float(own["q_value"].min()),
                    "estimate": self.headline[str(outcome)][0],
                    "std_error": self.headline[str(outcome)][1],
                    "without": float(without.iloc[0]) if len(without) else np.nan,
                }
            )
        return pd.DataFrame(rows)

    def checks(self) -> pd.DataFrame:
        """Verdicts: ``outcome, name, verdict, number, advice``."""
        rows: list[tuple[str, str, str, float, str]] = []
        for one in self.glance().to_dict("records"):
            own = self.cells[(self.cells["outcome"] == one["outcome"]) & (self.cells["q_value"] < DISCOVERY_RATE)]
            differs = len(own) > 0
            advice = (
                f"a point goes with another change in periods with {', '.join(own['event'])}: forecast those periods with their own figure"
                if differs
                else "no difference between periods with and without an event that these answers can show"
            )
            rows.append(
                (
                    one["outcome"],
                    "same with and without events",
                    "warn" if differs else "pass",
                    one["smallest_q"],
                    advice,
                )
            )
            if np.isnan(one["without"]):
                continue
            is_clear = abs(one["estimate"]) > CRITICAL * one["std_error"]
            turns = is_clear and one["without"] * one["estimate"] < 0
            advice = (
                "without the periods that have an event the figure has the other sign: it rests on those periods"
                if turns
                else "the figure does not owe its sign to the periods with an event"
            )
            rows.append((one["outcome"], "sign without events", "warn" if turns else "pass", one["without"], advice))
        return pd.DataFrame(rows, columns=["outcome", "name", "verdict", "number", "advice"])


def by_event(panel: Panel, linkages: Iterable[Linkage]) -> ByEvent | str:
    """Estimate what a point goes with in outcome periods with each event of the calendar and without it.

    Parameters
    ----------
    panel : Panel
        Its ``events`` say which period has which.
    linkages : iterable of Linkage
        Leading equations of one score.

    Returns
    -------
    ByEvent or str
        The reason in words where there is no calendar, or nothing to compare.

    Notes
    -----
    One equation an event and outcome with a slope of the score for the periods with it and one for the others; controls, history and
    period effects are shared. Sampling error that both slopes share is in the estimates, not in the difference. An event
    that returns in the same quarter every year is not told from that quarter.
    """
    fitted = list(linkages)
    if panel.events.empty:
        return NO_CALENDAR
    if not fitted:
        return TOO_FEW
    answered = panel.answered(fitted[0].exposure)
    after = answered["period"].to_numpy() + 1
    marks = _marks(panel.events, after)
    if not marks:
        return NO_CONTRAST
    columns = {name: pd.Categorical(np.where(has, WITH, WITHOUT)) for name, has in marks.items()}
    found = segment_linkages(replace(panel, rows=answered.assign(**columns), segments=tuple(marks)), fitted)
    shown = found.cells[~found.cells["suppressed"].astype(bool)].rename(columns={"segment": "event"})
    spread = found.heterogeneity.rename(columns={"segment": "event"})[["outcome", "event", "q"]]
    shown = shown.merge(spread, on=["outcome", "event"])  # only where both cells are large enough
    if shown.empty:
        return TOO_FEW
    whole = ANY if ANY in marks else next(iter(marks))
    own = shown[(shown["level"] == WITH) & (shown["event"] != ANY)]
    reach = NORMAL_975 * own["difference"].abs() / np.sqrt(own["q"])
    own = own.assign(difference_low=own["difference"] - reach, difference_high=own["difference"] + reach)
    own = own.assign(periods=[np.unique(after[marks[name]]).size for name in own["event"]])
    own = own.assign(q_value=false_discovery_rates(own["p_value"].to_numpy(dtype=float)))
    others = shown[(shown["level"] == WITHOUT) & (shown["event"] == whole)]
    others = others.assign(event=NONE, periods=np.unique(after[~marks[whole]]).size)
    others = others.assign(
        **dict.fromkeys(("difference", "difference_low", "difference_high", "p_value", "q_value"), np.nan)
    )
    order = {linkage.outcome: place for place, linkage in enumerate(fitted)}
    cells = pd.concat([own, others], ignore_index=True)
    cells = cells.sort_values("outcome", key=lambda names: names.map(order), kind="stable", ignore_index=True)
    return ByEvent(
        cells[COLUMNS], {linkage.outcome: (linkage.effect.estimate, linkage.std_error) for linkage in fitted}
    )


def _marks(events: pd.DataFrame, after: Ints) -> dict[str, Flags]:
    """Which rows' outcome periods have each event, and any of them where there are several; those of none or all are left out."""
    marks = {
        str(name): np.isin(after, own["period"].to_numpy(dtype=np.int64))
        for name, own in events.groupby("event", sort=False)
    }
    if len(marks) > 1:
        marks[ANY] = np.any(list(marks.values()), axis=0)
    return {name: has for name, has in marks.items() if has.any() and not has.all()}
