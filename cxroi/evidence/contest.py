"""Which score, coded how, says most about what customers do next: a contest judged on later periods.

Every competitor is trained on earlier periods and judged on later ones, as it would be used. It starts from the same
baseline, the prediction from declared controls and purchase history alone, and is credited only with the deviance that
it explains beyond it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, stats

from cxroi.evidence.segments import false_discovery_rates
from cxroi.linkage.fit import Family, Floats, fit, independent_columns, mean, mean_slope
from cxroi.panel import Panel

OUTCOMES = ("retained", "orders", "margin")
MOST_ROWS = 100_000
MOST_WINDOWS = 4
FEWEST_ROWS = 300  # to train on, and to judge on
FEWEST_CUSTOMERS = 50
FEWEST_EVENTS = 20  # of the rarer of stayed and left, to train on and to judge on
FEWEST_ROWS_OF_A_LEVEL, MOST_LEVELS = 30, 20
MOST_NEGATIVE_ROWS = 0.05
MOST_STEPS, STEPS_OF_AN_INFORMATION, SETTLED = 60, 6, 1e-6  # of a squared step in standard errors
CONFIDENCE, POWER, FALSE_DISCOVERIES = 0.95, 0.80, 0.05
UNIT = "% of the baseline's deviance"
WORDS = {
    "baseline": "controls and history alone",
    "nps": "NPS as answered",
    "nps_net": "NPS as promoter minus detractor",
    "nps_groups": "NPS as promoter, passive, detractor",
    "csat": "CSAT as answered",
    "csat_top_box": "CSAT as top box",
    "csat_top_two_box": "CSAT as top two boxes",
    "ces": "CES as answered",
    "ces_easy": "CES as easy or not",
    "ces_groups": "CES as easy, neither, difficult",
}
SCORE_COLUMNS = (
    *("outcome", "sample", "competitor", "estimate", "std_error", "conf_low", "conf_high", "unit"),
    *("deviance_per_row", "p_value", "q_value", "n_obs", "n_clusters", "n_periods", "smallest_visible", "verdict"),
)
PAIR_COLUMNS = (
    *("outcome", "sample", "first", "second", "estimate", "std_error", "conf_low", "conf_high", "unit"),
    *("p_value", "q_value", "n_obs", "n_clusters", "smallest_visible", "better", "verdict"),
)
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Contest:
    """Scores against each other on later periods.

    Attributes
    ----------
    scores : DataFrame
        A row per outcome × sample × competitor. ``sample`` is ``own`` (every row with an answer to the competitor's
        score) or the scores whose shared rows are used (``nps & csat``); ``estimate`` is the deviance explained beyond
        the baseline in percent of the baseline's, with its 95 % interval clustered by customer; ``deviance_per_row``
        the same per row; ``q_value`` the Benjamini-Hochberg one over the whole table; ``smallest_visible`` the gain
        that would have been seen with a probability of 80 %; ``verdict`` in words. Where there are too few rows the
        figures are missing and the verdict says why.
    pairs : DataFrame
        A row per planned comparison on the same rows: ``estimate`` is the gain of ``first`` less that of ``second``;
        ``better`` the winner, or empty where nothing can be seen.
    baseline : str
        What every competitor is judged beyond.
    """

    scores: pd.DataFrame
    pairs: pd.DataFrame
    baseline: str

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """One row per outcome × sample × competitor."""
        return self.scores

    def glance(self) -> pd.DataFrame:
        """One row: competitors judged, comparisons, and how many of them show a difference after false-discovery control."""
        return pd.DataFrame(
            {
                "judged": [int(self.scores["estimate"].notna().sum())],
                "beyond_baseline": [int((self.scores["q_value"] <= FALSE_DISCOVERIES).sum())],
                "comparisons": [int(self.pairs["estimate"].notna().sum())],
                "differences_seen": [int((self.pairs["better"] != "").sum())],
                "false_discovery_rate": [FALSE_DISCOVERIES],
            }
        )

    def checks(self) -> pd.DataFrame:
        """See :func:`contest_checks`."""
        return contest_checks(self)


@dataclass(frozen=True)
class Restriction:
    """Coefficients that a competitor may take: ``columns @ free``.

    ``columns`` has shape (K, m); free coefficients from ``nonnegative_from`` on must not be negative.
    """

    columns: Floats
    nonnegative_from: int | None = None


@dataclass(frozen=True)
class _Race:
    """Held-out losses of one outcome on one sample: rows judged (n,), losses (n, 1 + J) with the baseline first."""

    customers: Integers
    losses: Floats
    names: tuple[str, ...]
    n_periods: int


def metric_contest(
    panel: Panel, *, outcomes: Sequence[str] = OUTCOMES, most_rows: int = MOST_ROWS, windows: int = MOST_WINDOWS
) -> Contest:
    """Let scores, their groupings and combinations compete out of sample on what customers do in later periods.

    Parameters
    ----------
    panel : Panel
    outcomes : sequence of str
        ``retained`` (deviance of the logit), ``orders`` (given retained; Poisson deviance), ``margin`` (left = 0;
        Poisson deviance of margin over its mean, squared error where more than 5 % of the rows are negative).
    most_rows : int
        Above, a systematic sample of customers of about this many rows is used.
    windows : int
        Refits at most: later periods are judged in this many blocks.

    Returns
    -------
    Contest

    Notes
    -----
    Trained on all periods before a block of periods and judged on that block, blocks moving forward (expanding
    window). Source: predictive ability of a method with its estimation error, Giacomini & White (2006), Econometrica
    74:1545, with sums by customer in place of sums over time; false discoveries, Benjamini & Hochberg (1995), JRSS B
    57:289. Intervals hold the trained equations fixed.
    """
    rows = panel.rows
    rows = rows[systematic_sample(rows["customer"].to_numpy(), most_rows)].reset_index(drop=True)
    known = known_columns(panel, rows)
    scores, pairs = [], []
    for outcome in outcomes:
        blocks = list(_blocks(rows, outcome, windows))
        baseline = _baseline(rows, known, outcome, blocks) if blocks else None
        for sample, metrics, names in _samples(panel.metrics):
            race = _race(panel, rows, outcome, sample, metrics, names, baseline, blocks)
            scores += _score_rows(outcome, sample, names, race)
            pairs += _pair_rows(outcome, sample, _comparisons(metrics, names, sample), race)
    return Contest(
        scores=_judged_scores(pd.DataFrame(scores, columns=list(SCORE_COLUMNS))),
        pairs=_judged_pairs(pd.DataFrame(pairs, columns=list(PAIR_COLUMNS))),
        baseline=WORDS["baseline"],
    )


def contest_checks(contest: Contest) -> pd.DataFrame:
    """What the contest says in a row each: ``name, verdict, number, advice``.

    A score that explains nothing beyond the baseline is a warning; ``number`` is the gain in percent of the
    baseline's deviance, or the number of comparisons.
    """
    rows: list[tuple[str, str, float, str]] = []
    own = contest.scores[contest.scores["sample"] == "own"]
    for outcome, part in own.groupby("outcome", sort=False):
        for row in part[part["competitor"].isin(("nps", "csat", "ces"))].to_dict("records"):
            name = f"{row['competitor']} predicts {outcome} of later periods"
            seen = bool(row["q_value"] <= FALSE_DISCOVERIES) and row["estimate"] > 0
            rows.append((name, "pass" if seen else "warn", float(row["estimate"]), str(row["verdict"])))
    pairs = contest.pairs[contest.pairs["estimate"].notna()]
    seen_pairs = int((pairs["better"] != "").sum())
    advice = (
        f"of {len(pairs)} comparisons with false discoveries held at {FALSE_DISCOVERIES:.0%}; "
        "keep the score that is asked already unless a difference is seen"
    )
    rows.append(("differences between scores seen", "pass", float(seen_pairs), advice))
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def systematic_sample(customers: Integers, most_rows: int) -> Flags:
    """Rows of a systematic sample of customers, about ``most_rows`` of them, shape (N,); all where there are no more.

    Examples
    --------
    >>> systematic_sample(np.array([0, 0, 1, 1, 2, 2, 3, 3]), 4).astype(int)
    array([0, 0, 1, 1, 0, 0, 1, 1])
    """
    if len(customers) <= most_rows:
        return np.ones(len(customers), dtype=bool)
    _, position = np.unique(customers, return_inverse=True)
    share = most_rows / len(customers)
    picked: Flags = np.floor((position + 1) * share + 1e-9) > np.floor(position * share + 1e-9)
    return picked


def known_columns(panel: Panel, rows: pd.DataFrame) -> Floats:
    """Constant, purchase history and declared controls of rows of a panel, standardised, independent; shape (N, k)."""
    columns: list[Floats] = [np.ones(len(rows))]
    for name in (*panel.history, *panel.controls):
        values = rows[name]
        if isinstance(values.dtype, pd.CategoricalDtype):
            counts = values.value_counts()
            levels = counts.index[counts >= FEWEST_ROWS_OF_A_LEVEL][:MOST_LEVELS]
            columns += [(values == level).to_numpy(dtype=float) for level in levels]
            continue
        gaps = np.asarray(values.isna(), dtype=np.float64)
        filled = values.astype(float).fillna(float(np.nan_to_num(values.astype(float).median()))).to_numpy()
        spread = float(filled.std())
        columns += [gaps, (filled - filled.mean()) / spread if spread > 0 else np.zeros(len(rows))]
    matrix = np.column_stack(columns)
    return np.asfortranarray(matrix[:, independent_columns(matrix)])


def fit_restricted(
    design: Floats,
    outcome: Floats,
    restrictions: Sequence[Restriction],
    *,
    family: Family,
    start: Floats,
    most_steps: int = MOST_STEPS,
    information: Floats | None = None,
) -> Floats:
    """Maximum-likelihood coefficients of many equations on one design at once, shape (K, J).

    Parameters
    ----------
    design : array, shape (N, K)
    outcome : array, shape (N,)
    restrictions : sequence of Restriction
        J of them: which coefficients each equation has.
    start : array, shape (K,) or (K, J)
        Nearby coefficients, brought to each restriction by least squares; (K,): the same for all.
    most_steps : int
    information : array, shape (K, K), optional
        Where it is known; else computed at the start (its first column).

    Notes
    -----
    Newton's method with one information for all equations, so a step is two matrix products; steps shrink by a
    constant factor instead of squaring. A step after which the next would be longer is halved; the information is
    taken anew, at the widest equation, where a few steps do not suffice.

    Examples
    --------
    >>> design = np.column_stack([np.ones(4), [0.0, 1, 2, 3]])
    >>> line, level = Restriction(np.eye(2)), Restriction(np.eye(2)[:, :1])
    >>> found = fit_restricted(design, np.array([1.0, 3, 5, 7]), [line, level], family="gaussian", start=np.zeros(2))
    >>> found.round(6).tolist()
    [[1.0, 4.0], [2.0, 0.0]]
    """
    if information is None:
        information = information_at(design, start if start.ndim == 1 else start[:, 0], family)
    coefficients = np.column_stack(
        [_brought(start if start.ndim == 1 else start[:, j], one) for j, one in enumerate(restrictions)]
    )
    inner = [one.columns.T @ information @ one.columns for one in restrictions]
    inverse = [_inverse(matrix) for matrix in inner]
    widest = int(np.argmax([one.columns.shape[1] for one in restrictions]))
    origin, direction = coefficients.copy(), np.zeros_like(coefficients)
    length, pace = np.full(len(restrictions), np.inf), np.ones(len(restrictions))
    active = list(range(len(restrictions)))
    for taken in range(most_steps):
        if taken % STEPS_OF_AN_INFORMATION == STEPS_OF_AN_INFORMATION - 1:
            information = information_at(design, origin[:, widest], family)
            inner = [one.columns.T @ information @ one.columns for one in restrictions]
            inverse = [_inverse(matrix) for matrix in inner]
            length[:] = np.inf
        with np.errstate(over="ignore", invalid="ignore"):  # a step too far; taken back below
            gradient = design.T @ (outcome[:, None] - mean(design @ coefficients[:, active], family))
        settled = []
        for column, j in enumerate(active):
            step = _step(restrictions[j], inner[j], inverse[j], coefficients[:, j], gradient[:, column])
            squared = float(step @ inner[j] @ step) if np.isfinite(step).all() else np.inf
            if squared < length[j]:
                origin[:, j], direction[:, j] = coefficients[:, j], restrictions[j].columns @ step
                length[j], pace[j] = squared, min(1.0, 2 * pace[j])
            else:
                pace[j] /= 2
            coefficients[:, j] = origin[:, j] + pace[j] * direction[:, j]
            if squared < SETTLED:
                settled.append(j)
        active = [j for j in active if j not in settled]
        if not active:
            break
    return coefficients


def _inverse(information: Floats) -> Floats:
    """Pseudo-inverse, so that columns that others determine do no harm."""
    return np.asarray(np.linalg.pinv(information, hermitian=True), dtype=np.float64)


def _step(one: Restriction, inner: Floats, inverse: Floats, coefficients: Floats, gradient: Floats) -> Floats:
    """Newton's step of the free coefficients, shape (m,); infinite where the gradient is."""
    if not np.isfinite(gradient).all():
        return np.full(len(inner), np.inf)
    step = inverse @ (one.columns.T @ gradient)
    if one.nonnegative_from is None:
        return np.asarray(step)
    now = np.linalg.lstsq(one.columns, coefficients, rcond=None)[0]
    return _nonnegative(now + step, inner, one.nonnegative_from) - now


def information_at(design: Floats, coefficients: Floats, family: Family) -> Floats:
    """Information of an equation at some coefficients (K,), shape (K, K)."""
    root = np.sqrt(mean_slope(mean(design @ coefficients, family), family))
    scaled = design * root[:, None]
    return np.asarray(scaled.T @ scaled)


def losses(design: Floats, outcome: Floats, coefficients: Floats, family: Family) -> Floats:
    """Deviance of each row under each equation up to a term of the outcome alone, shape (N, J)."""
    predictor = design @ coefficients
    if family == "logit":
        return np.asarray(2 * (np.logaddexp(0.0, predictor) - outcome[:, None] * predictor))
    if family == "poisson":
        return np.asarray(2 * (mean(predictor, "poisson") - outcome[:, None] * predictor))
    return np.asarray((outcome[:, None] - predictor) ** 2)


def saturated_loss(outcome: Floats, family: Family) -> Floats:
    """What :func:`losses` leaves out: the loss of a perfect prediction, shape (N,)."""
    if family == "poisson":
        positive = np.where(outcome > 0, outcome, 1.0)
        return np.where(outcome > 0, 2 * (outcome - outcome * np.log(positive)), 0.0)
    return np.zeros(len(outcome))


def clustered_mean(values: Floats, customers: Integers) -> tuple[float, float, int]:
    """Mean of values (N,), its standard error clustered by sorted customers (N,), and the number of these.

    Examples
    --------
    >>> clustered_mean(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    (2.0, 1.0, 2)
    """
    starts = np.flatnonzero(np.r_[True, customers[1:] != customers[:-1]])
    centre = float(values.mean())
    sums = np.add.reduceat(values - centre, starts)
    groups = len(starts)
    factor = groups / max(groups - 1, 1)
    return centre, float(np.sqrt(factor * float(sums @ sums)) / len(values)), groups


def _brought(start: Floats, restriction: Restriction) -> Floats:
    """Coefficients (K,) of a restriction close to a start (K,)."""
    free = np.linalg.lstsq(restriction.columns, start, rcond=None)[0]
    if restriction.nonnegative_from is not None:
        free[restriction.nonnegative_from :] = np.maximum(free[restriction.nonnegative_from :], 0.0)
    return np.asarray(restriction.columns @ free)


def _nonnegative(target: Floats, inner: Floats, first: int) -> Floats:
    """Closest point to a target in the metric of a positive semi-definite matrix with entries from ``first`` on ≥ 0."""
    free, bound = slice(0, first), slice(first, None)
    solved = np.linalg.lstsq(inner[free, free], inner[free, bound], rcond=None)[0]
    schur = inner[bound, bound] - inner[bound, free] @ solved
    size, vectors = np.linalg.eigh((schur + schur.T) / 2)
    root = np.sqrt(np.maximum(size, 0.0))[:, None] * vectors.T
    within = optimize.nnls(root, root @ target[bound])[0]
    return np.concatenate([target[free] - solved @ (within - target[bound]), within])


def _usable(rows: pd.DataFrame, outcome: str) -> Flags:
    """Rows with the outcome known; orders given retained, shape (N,)."""
    known = rows[outcome].notna()
    if outcome == "orders" and rows["retained"].notna().any():
        known &= rows["retained"] == 1
    return known.to_numpy()


def _blocks(rows: pd.DataFrame, outcome: str, windows: int) -> Iterator[tuple[int, int]]:
    """First and last period of each block to judge, later than about a third of the periods."""
    known = np.unique(rows["period"].to_numpy()[_usable(rows, outcome)])
    later = known[-(-len(known) // 3) :]
    for block in np.array_split(later, min(windows, len(later))) if len(later) else ():
        yield int(block[0]), int(block[-1])


def _target(rows: pd.DataFrame, outcome: str) -> tuple[Floats, Family]:
    """Outcome (N,), amounts over their mean (or spread), and its family."""
    values = rows[outcome].to_numpy(dtype=float)
    if outcome == "retained":
        return values, "logit"
    seen = values[_usable(rows, outcome)]
    if len(seen) == 0:
        return values, "poisson"
    if float((seen < 0).mean()) > MOST_NEGATIVE_ROWS or seen.mean() <= 0:
        return values / max(float(seen.std()), 1e-300), "gaussian"
    return values / float(seen.mean()), "poisson"


def _baseline(
    rows: pd.DataFrame, known: Floats, outcome: str, blocks: Sequence[tuple[int, int]]
) -> list[Floats | None]:
    """For each block the linear predictor of every row, trained on all answered rows of earlier periods, shape (N,)."""
    target, family = _target(rows, outcome)
    period, customers = rows["period"].to_numpy(), rows["customer"].to_numpy()
    usable = _usable(rows, outcome)
    start: Floats | None = None
    found: list[Floats | None] = []
    for first, _ in blocks:
        train = usable & (period < first)
        if not _enough(target[train], customers[train], outcome):
            found.append(None)
            continue
        part = known[train]
        kept = independent_columns(part)
        start = start if start is not None and len(start) == len(kept) else None
        fitted = fit(np.asfortranarray(part[:, kept]), target[train], customers[train], family=family, start=start)
        start = fitted.coefficients
        found.append(known[:, kept] @ start if fitted.converged else None)
    return found


def _enough(target: Floats, customers: Integers, outcome: str) -> bool:
    if len(target) < FEWEST_ROWS or np.count_nonzero(np.diff(customers)) + 1 < FEWEST_CUSTOMERS:
        return False
    events = min(float((target > 0).sum()), float((target <= 0).sum())) if outcome == "retained" else np.inf
    return events >= FEWEST_EVENTS and float(np.ptp(target)) > 0


def _samples(metrics: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """Name of each sample, the scores that its rows must have, its competitors."""
    for metric in metrics:
        yield "own", (metric,), _codings(metric)
    for size in range(2, len(metrics) + 1):
        for some in combinations(metrics, size):
            alone = tuple(name for metric in some for name in _codings(metric)) if size == len(metrics) else some
            yield " & ".join(some), some, (*alone, "+".join(some), "mean:" + "+".join(some))


def _codings(metric: str) -> tuple[str, ...]:
    return tuple(name for name in WORDS if name.split("_")[0] == metric)


def _coded(panel: Panel, rows: pd.DataFrame, name: str) -> Floats:
    """Columns of a competitor for rows that have its scores, shape (N, 1 or more)."""
    if name.startswith("mean:"):
        parts = [rows[metric].to_numpy(dtype=float) for metric in name.removeprefix("mean:").split("+")]
        if not len(rows):
            return np.zeros((0, 1))
        alike = [(part - part.mean()) / max(float(part.std()), 1e-12) for part in parts]
        return np.asarray(np.mean(alike, axis=0))[:, None]
    if "+" in name:
        return rows[name.split("+")].to_numpy(dtype=float)
    metric, _, coding = name.partition("_")
    answers = rows[metric].to_numpy(dtype=float)
    if not coding:
        return answers[:, None]
    low, high = panel.score_ranges[metric]
    return code_answers(answers, coding, metric=metric, low=low, high=high)


def code_answers(answers: Floats, coding: str, *, metric: str, low: float, high: float) -> Floats:
    """Groupings of answers, shape (N, 1) or (N, 2).

    Parameters
    ----------
    answers : array, shape (N,)
        Points; means of several answers are rounded half up.
    coding : {"net", "groups", "top_box", "top_two_box", "easy"}
        ``net`` is 1 for promoters (9-10), -1 for detractors (0-6); ``groups`` has a column for the upper and one for
        the lower group; easy and difficult lie above and below the middle of the scale.

    Examples
    --------
    >>> code_answers(np.array([10.0, 8.0, 6.0]), "net", metric="nps", low=0, high=10).ravel()
    array([ 1.,  0., -1.])
    """
    rounded = np.floor(answers + 0.5)
    middle = (low + high) / 2
    upper, lower = (rounded >= 9, rounded <= 6) if metric == "nps" else (rounded > middle, rounded < middle)
    if coding == "top_box":
        return np.asarray(rounded >= high, dtype=float)[:, None]
    if coding == "top_two_box":
        return np.asarray(rounded >= high - 1, dtype=float)[:, None]
    if coding == "easy":
        return np.asarray(upper, dtype=float)[:, None]
    up, down = np.asarray(upper, dtype=float), np.asarray(lower, dtype=float)
    return (up - down)[:, None] if coding == "net" else np.column_stack([up, down])


def _race(
    panel: Panel,
    rows: pd.DataFrame,
    outcome: str,
    sample: str,
    metrics: Sequence[str],
    names: Sequence[str],
    baseline: Sequence[Floats | None] | None,
    blocks: Sequence[tuple[int, int]],
) -> _Race | str:
    """Judge the competitors of one sample; a reason in words where it cannot be done."""
    if panel.timing != "before":
        return "the score was not given before its outcome, so nothing is predicted"
    if not baseline:
        return "no later period to judge on: answers of at least two periods with outcomes are needed"
    usable = _usable(rows, outcome) & rows[list(metrics)].notna().all(axis=1).to_numpy()
    target, family = _target(rows, outcome)
    target, own = target[usable], rows[usable]
    customers, period = own["customer"].to_numpy(), own["period"].to_numpy()
    coded = [_coded(panel, own, name) for name in names]
    restrictions = _restrictions([part.shape[1] for part in coded])
    competing = np.column_stack(coded)
    competing -= competing.mean(axis=0)
    found: Floats | None = None
    judged: list[tuple[Integers, Floats]] = []
    for (first, last), predictor in zip(blocks, baseline, strict=True):
        train, test = period < first, (period >= first) & (period <= last)
        if predictor is None or not test.any() or not _enough(target[train], customers[train], outcome):
            continue
        design = np.column_stack([np.ones(len(own)), predictor[usable], competing])
        start = np.r_[0.0, 1.0, np.zeros(competing.shape[1])] if found is None else found
        found = fit_restricted(design[train], target[train], restrictions, family=family, start=start)
        judged.append((np.flatnonzero(test), losses(design[test], target[test], found, family)))
    if not judged:
        return f"too few answers to train on: {len(own)} rows with {' and '.join(metrics)}"
    position = np.concatenate([index for index, _ in judged])
    order = np.argsort(position, kind="stable")
    position = position[order]
    if not _enough(target[position], customers[position], outcome):
        return f"too few answers to judge on: {len(position)} rows of later periods with {' and '.join(metrics)}"
    table = np.concatenate([loss for _, loss in judged])[order]
    table = table - saturated_loss(target[position], family)[:, None]
    return _Race(customers[position], table, tuple(names), len(np.unique(period[position])))


def _restrictions(widths: Sequence[int]) -> list[Restriction]:
    """The baseline (constant and predictor), then each competitor's columns beside it."""
    unit = np.eye(2 + sum(widths))
    ends = np.cumsum([2, *widths])
    beside = [Restriction(unit[:, [0, 1, *range(first, last)]]) for first, last in pairwise(ends)]
    return [Restriction(unit[:, :2]), *beside]


def _comparisons(metrics: Sequence[str], names: Sequence[str], sample: str) -> list[tuple[str, str]]:
    """Planned pairs: groupings against answers on own rows; scores, and combinations against each, on shared rows."""
    if sample == "own":
        return [(name, metrics[0]) for name in names if name != metrics[0]]
    together = [name for name in names if "+" in name]
    return [*combinations(metrics, 2), *((name, metric) for name in together for metric in metrics)]


def _compared(difference: Floats, race: _Race) -> dict[str, Any]:
    """Mean difference of losses in percent of the baseline's deviance, with its interval clustered by customer."""
    centre, error, groups = clustered_mean(difference, race.customers)
    unit = 100.0 / float(race.losses[:, 0].mean())
    freedom = max(groups - 1, 1)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    statistic = centre / error if error > 0 else 0.0
    return {
        "estimate": centre * unit,
        "std_error": error * unit,
        "conf_low": (centre - reach * error) * unit,
        "conf_high": (centre + reach * error) * unit,
        "unit": UNIT,
        "deviance_per_row": centre,
        "p_value": float(2 * stats.t.sf(abs(statistic), freedom)),
        "n_obs": len(difference),
        "n_clusters": groups,
        "n_periods": race.n_periods,
        "smallest_visible": (reach + float(stats.norm.ppf(POWER))) * error * unit,
    }


def _score_rows(outcome: str, sample: str, names: Sequence[str], race: _Race | str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for position, name in enumerate(names, start=1):
        row: dict[str, Any] = {"outcome": outcome, "sample": sample, "competitor": name, "verdict": ""}
        if isinstance(race, str):
            row["verdict"] = race
        else:
            row |= _compared(race.losses[:, 0] - race.losses[:, position], race)
        rows.append(row)
    return rows


def _pair_rows(outcome: str, sample: str, pairs: Sequence[tuple[str, str]], race: _Race | str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for first, second in pairs:
        row: dict[str, Any] = {"outcome": outcome, "sample": sample, "first": first, "second": second, "verdict": ""}
        if isinstance(race, str):
            row["verdict"] = race
        else:
            columns = [1 + race.names.index(name) for name in (first, second)]
            row |= _compared(race.losses[:, columns[1]] - race.losses[:, columns[0]], race)
            del row["deviance_per_row"], row["n_periods"]
        rows.append(row)
    return rows


def _with_rates(table: pd.DataFrame) -> pd.DataFrame:
    """With ``q_value``: Benjamini-Hochberg over all rows that have a p-value."""
    rates = false_discovery_rates(table["p_value"].to_numpy(dtype=float))
    counts = [column for column in ("n_obs", "n_clusters", "n_periods") if column in table]
    return table.assign(q_value=rates).astype(dict.fromkeys(counts, "Int64"))


def _judged_scores(table: pd.DataFrame) -> pd.DataFrame:
    rated = _with_rates(table)
    return rated.assign(verdict=[_score_verdict(row) for row in rated.to_dict("records")])


def _judged_pairs(table: pd.DataFrame) -> pd.DataFrame:
    rated = _with_rates(table)
    seen = (rated["q_value"] <= FALSE_DISCOVERIES).to_numpy()
    ahead = rated["first"].where(rated["estimate"] > 0, rated["second"])
    rated = rated.assign(better=ahead.where(seen, ""))
    return rated.assign(verdict=[_pair_verdict(row) for row in rated.to_dict("records")])


def _score_verdict(row: dict[Hashable, Any]) -> str:
    if row["verdict"]:
        return str(row["verdict"])
    if row["q_value"] > FALSE_DISCOVERIES:
        return (
            f"nothing beyond {WORDS['baseline']} that {row['n_obs']:,} answers can see; "
            f"a gain of {row['smallest_visible']:.2g} % would have been seen"
        )
    name, baseline = in_words(row["competitor"]), WORDS["baseline"]
    if row["estimate"] > 0:
        return f"{name} predicts better than {baseline}"
    return f"{name} predicts worse than {baseline}: what earlier periods seemed to show was noise or did not last"


def _pair_verdict(row: dict[Hashable, Any]) -> str:
    if row["verdict"]:
        return str(row["verdict"])
    if not row["better"]:
        return (
            f"no difference that {row['n_obs']:,} answers can see; "
            f"one of {row['smallest_visible']:.2g} % would have been seen"
        )
    other = row["second"] if row["better"] == row["first"] else row["first"]
    return f"{in_words(row['better'])} predicts better than {in_words(other)}"


def in_words(competitor: str) -> str:
    """A competitor's name in plain words.

    Examples
    --------
    >>> in_words("nps_net"), in_words("nps+csat"), in_words("mean:nps+csat")
    ('NPS as promoter minus detractor', 'NPS and CSAT together', 'the mean of NPS and CSAT')
    """
    if competitor in WORDS:
        return WORDS[competitor]
    scores = [metric.upper() for metric in competitor.removeprefix("mean:").split("+")]
    listed = ", ".join(scores[:-1]) + " and " + scores[-1]
    return f"the mean of {listed}" if competitor.startswith("mean:") else f"{listed} together"
