"""How much of an average of several questions is the thing asked about, and how much is noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from cxroi.errors import InputError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Reliability:
    """Cronbach's alpha of a set of questions.

    ``alpha`` is the reliability of their mean where all measure one thing equally well, and a lower bound of it
    otherwise; ``conf_low``, ``conf_high`` its 95 % interval; ``items`` the questions, ``n_obs`` the complete rows,
    ``incomplete`` the rows left out.
    """

    alpha: float
    conf_low: float
    conf_high: float
    items: int
    n_obs: int
    incomplete: int

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """One row: ``measure, estimate, conf_low, conf_high, items, n_obs, incomplete``."""
        names = ("alpha", "conf_low", "conf_high", "items", "n_obs", "incomplete")
        row = {name: [getattr(self, name)] for name in names}
        return pd.DataFrame({"measure": ["cronbach_alpha"], **row}).rename(columns={"alpha": "estimate"})


def cronbach_alpha(items: pd.DataFrame) -> Reliability:
    """Cronbach's alpha of the columns, with Feldt's interval.

    Parameters
    ----------
    items : DataFrame, shape (rows, at least 2)
        One column a question, all pointing the same way; rows with a gap are left out and counted.

    Returns
    -------
    Reliability

    Raises
    ------
    InputError
        If there are fewer than two questions, fewer than three complete rows, or nothing varies.

    Notes
    -----
    Source: Cronbach (1951), Psychometrika 16:297; interval: Feldt (1965), Psychometrika 30:357.

    Examples
    --------
    >>> found = cronbach_alpha(pd.DataFrame({"first": [1, 2, 3, 4], "second": [2, 2, 4, 4]}))
    >>> round(found.alpha, 3), found.n_obs
    (0.941, 4)
    """
    complete = items.dropna().to_numpy(dtype=float)
    n, k = complete.shape
    if k < 2 or n < 3:
        raise InputError(
            f"reliability must have at least 2 questions and 3 rows that answer all of them; got {k} questions and {n} rows. "
            "Give one column a question."
        )
    total = float(complete.sum(axis=1).var(ddof=1))
    if total == 0:
        raise InputError(f"the sum of the questions must vary; it is the same in all {n} rows. Leave this set out.")
    alpha = k / (k - 1) * (1 - float(complete.var(axis=0, ddof=1).sum()) / total)
    tail = (1 - CONFIDENCE) / 2
    quantiles = special.fdtri(n - 1, (n - 1) * (k - 1), np.array([1 - tail, tail]))
    low, high = 1 - (1 - alpha) * quantiles
    return Reliability(alpha, float(low), float(high), k, n, len(items) - n)
