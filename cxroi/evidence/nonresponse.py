"""Who answers, and what the score and the headline would be had everybody answered.

A customer-period is *invited* when an invitation of the metric is dated in it, *answered* when the invitation brought a
score. Known of everybody is what a panel knows at the end of the period, and the customer's earlier answers.

Three figures for the population's score, each with its assumption:

``answered``
    the score of those who answered, as it is;
``known behaviour``
    answering depends on what is known of the customer, not on the answer itself (missing at random);
``own answer``
    answering depends on what is known *and* on satisfaction: ``logit P = a + b · satisfaction + c · known``. The slope
    ``b`` is found by generalised calibration: the answers weighted by ``1/P`` must give back the *earlier* answers of
    everybody invited. No distribution of satisfaction is assumed, only that an earlier answer says nothing about
    answering now beyond satisfaction now and what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi.evidence.invitations import (
    EVER,
    FEWEST_REPEATED,
    FEWEST_ROWS_OF_A_LEVEL,
    HISTORY,
    MOST_LEVELS,
    asked_rows,
    known_columns,
    repeated_answers,
)
from cxroi.evidence.population import (
    LARGEST_WEIGHT,
    NORMAL_975,
    Answers,
    Measure,
    raw_scores,
    solve,
    sums_by_customer,
    supposed_levels,
    weighted_scores,
)
from cxroi.linkage import Linkage
from cxroi.linkage.fit import fit, independent_columns
from cxroi.panel import Panel
from cxroi.tables import Tables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

FEWEST_INVITED = 200
MOST_BOUND_ROWS = 20_000
TILTS = ("answer", "answer and outcome")
MOST_SURPRISE = 3.0  # standard deviations of an outcome's residual
SHARE_OF_JOINT = 1.0 / 3.0  # of the grid, for selection on answer and outcome together
LARGEST_SUPPOSED = 0.5  # log-odds of answering per standard deviation, where no more was found
LOW_RESPONSE = 0.2
LARGE_DIFFERENCE = 0.1
WEAK_PREDICTION = 0.2
SMALL_EFFECTIVE_SHARE = 0.3
OUTCOMES = ("retained", "orders", "margin")


@dataclass(frozen=True)
class NonResponse:
    """Who answers, and the score had everybody answered.

    Attributes
    ----------
    exposure : str
    comparison : DataFrame
        Those who answered against those invited who did not, within periods: ``column, level, answered, silent`` (means),
        ``difference`` (in standard deviations), ``conf_low, conf_high``, ``n_answered, n_silent``.
    response : DataFrame
        Logit of answering an invitation: ``term, estimate, std_error, conf_low, conf_high, odds_ratio``; the last row,
        ``satisfaction``, is the selection slope on the answer itself (log-odds per point), where it can be found.
    slopes : DataFrame
        Change of each next outcome per point of the answer expected from earlier ones, among customers with an earlier answer
        who answered again and who did not: ``outcome, answered, silent, difference, conf_low, conf_high, n``. The outcomes
        of the silent are known, so a relation that only those who answer show would be seen here.
    population : DataFrame
        ``period, method, estimate, std_error, conf_low, conf_high, n_answered, n_population, effective_n, trimmed``; the
        period ``all`` is the mean over customer-periods. Methods ``answered``, ``known behaviour``, ``own answer``; in points
        of NPS, share of satisfied (CSAT) or points of the scale (CES).
    level : DataFrame
        The score over all periods if answering depended on the answer as strongly as supposed: ``strength`` (log-odds of
        answering per standard deviation of the answer), ``estimate, conf_low, conf_high``.
    slope, slope_std_error : float
        Log-odds of answering per point of the answer; NaN where earlier answers are too few.
    standard_deviation : float
        Of an answer, points.
    earlier_spread : float
        Correlation of an answer with its prediction from earlier answers.
    noise : float
        Variance of a single answer around satisfaction, points squared, rounding not counted.
    invitations_recorded : bool
        False where the export holds answers only: then everybody at risk counts as invited.
    every : int
        One in so many customers was looked at.
    """

    exposure: str
    comparison: pd.DataFrame
    response: pd.DataFrame
    slopes: pd.DataFrame
    population: pd.DataFrame
    level: pd.DataFrame
    slope: float
    slope_std_error: float
    standard_deviation: float
    earlier_spread: float
    noise: float
    invitations_recorded: bool
    every: int

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """The population's score, a row a period and method."""
        return self.population

    def glance(self) -> pd.DataFrame:
        """One row: the score over all periods by the three methods, the selection slope, the shares answered."""
        whole = self.population[self.population["period"] == "all"].set_index("method")["estimate"]
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "answered": [whole.get("answered", np.nan)],
                "known_behaviour": [whole.get("known behaviour", np.nan)],
                "own_answer": [whole.get("own answer", np.nan)],
                "slope": [self.slope],
                "slope_std_error": [self.slope_std_error],
                "invitations_recorded": [self.invitations_recorded],
                "every": [self.every],
            }
        )


def nonresponse(tables: Tables, panel: Panel, exposure: str) -> NonResponse | str:
    """Compare those who answered with those who did not, and give the score had everybody answered.

    Parameters
    ----------
    tables : Tables
        With ``transactions`` and ``surveys``; rows of surveys without a score are invitations without an answer.
    panel : Panel
        Built from the same tables.
    exposure : str
        ``nps`` (relationship answers where there are any; the population is everybody active at the period's end), ``csat``
        or ``ces`` (the population is everybody invited, since only customers with a contact are asked).

    Returns
    -------
    NonResponse or str
        The reason in words where there is nothing to compare.

    Notes
    -----
    Source: inverse response weights, Little & Rubin (2019), Statistical Analysis with Missing Data, §3.3; generalised
    calibration with the answer as response variable and earlier answers as calibration variables, Deville (2000),
    Compstat, and Kott & Chang (2010), JASA 105:1265; why an earlier answer identifies the slope ("shadow variable"), Miao &
    Tchetgen Tchetgen (2016), Biometrika 103:475. Noise in an answer is allowed for exactly where it is normal: see
    :func:`corrected_shares`. Intervals are sandwich ones, clustered by customer.
    """
    if tables.transactions is None or tables.surveys is None:
        return (
            "who did not answer is known only beside transactions and surveys; the data have outcomes by period instead"
        )
    if exposure not in panel.metrics:
        return f"the data have no answers to {exposure}"
    rows, recorded, every = asked_rows(tables, panel, exposure)
    invited = rows[rows["invited"]]
    silent = int((~invited["answered"]).sum())
    if len(invited) < FEWEST_INVITED or silent < FEWEST_REPEATED or len(invited) - silent < FEWEST_REPEATED:
        return (
            f"{len(invited)} invitations with {len(invited) - silent} answers; at least {FEWEST_INVITED} invitations, "
            f"{FEWEST_REPEATED} of them answered and {FEWEST_REPEATED} not, are needed"
        )
    repeated, earlier = repeated_answers(rows)
    rows = rows.assign(earlier=earlier)
    invited = rows[rows["invited"]]
    known, names = known_columns(rows, panel)
    scale = panel.score_ranges[exposure]
    frame = rows if exposure == "nps" else invited
    kept = np.ones(len(rows), dtype=bool) if exposure == "nps" else rows["invited"].to_numpy()
    codes, _ = pd.factorize(frame["customer"])
    people = pd.Index(pd.unique(rows["customer"])).get_indexer(pd.Index(pd.unique(frame["customer"])))
    answers = Answers(
        known=known[kept],
        earlier=frame["earlier"].to_numpy(dtype=float),
        invited=frame["invited"].to_numpy(),
        answered=frame["answered"].to_numpy(),
        score=frame["score"].to_numpy(dtype=float),
        period=frame["period"].to_numpy(),
        customer=codes.astype(np.int64),
    )
    measure = Measure(exposure, scale, repeated.noise, repeated.influence[people])
    solutions = {"known behaviour": solve(answers, own_answer=False)}
    again = answers.invited & (frame["answered before"].to_numpy() > 0)
    both = min(int((again & answers.answered).sum()), int((again & ~answers.answered).sum()))
    if both >= FEWEST_REPEATED:
        solutions["own answer"] = solve(answers, own_answer=True)
    population = [raw_scores(answers, measure, panel)]
    population += [weighted_scores(answers, found, measure, panel, method) for method, found in solutions.items()]
    own = solutions.get("own answer")
    slope, slope_error = (own.slope, own.slope_std_error) if own is not None and own.converged else (np.nan, np.nan)
    given = invited["score"].to_numpy(dtype=float)[invited["answered"].to_numpy()]
    deviation = float(given.std())
    largest = max(LARGEST_SUPPOSED, abs(slope * deviation) if np.isfinite(slope) else 0.0)
    seen = answers.answered & (frame["answered before"].to_numpy() > 0)
    return NonResponse(
        exposure=exposure,
        comparison=compare(rows, panel),
        response=response_model(known[rows["invited"].to_numpy()], names, invited, (slope, slope_error)),
        slopes=compare_slopes(known[rows["invited"].to_numpy()], invited),
        population=pd.concat(population, ignore_index=True),
        level=supposed_levels(answers, measure, panel, solutions["known behaviour"], (largest, deviation)),
        slope=float(slope),
        slope_std_error=float(slope_error),
        standard_deviation=deviation,
        earlier_spread=_correlation(answers.score[seen], answers.earlier[seen]),
        noise=repeated.noise,
        invitations_recorded=recorded,
        every=every,
    )


def _correlation(first: Floats, second: Floats) -> float:
    if len(first) < 3 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def compare(rows: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Those who answered against those invited who did not; columns as ``NonResponse.comparison``."""
    invited = rows[rows["invited"]].reset_index(drop=True)
    found = []
    for column in (*HISTORY, *EVER, *OUTCOMES, *dict.fromkeys(panel.controls)):
        values = invited[column]
        if column == "orders":
            values = values.where(invited["retained"] != 0)
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            found.append((column, "", values.to_numpy(dtype=np.float64)))
            continue
        text = values.astype("object").where(values.notna(), "(missing)").astype(str)
        counts = text.value_counts()
        levels = sorted(counts.index[counts >= FEWEST_ROWS_OF_A_LEVEL])[:MOST_LEVELS]
        found += [(column, level, (text == level).to_numpy(dtype=float)) for level in levels]
    compared = [(column, level, *_difference(invited, values)) for column, level, values in found]
    columns = ["column", "level", "answered", "silent", "difference", "conf_low", "conf_high", "n_answered", "n_silent"]
    table = pd.DataFrame(compared, columns=columns)
    return table[table["difference"].notna()].reset_index(drop=True)


def _difference(invited: pd.DataFrame, values: Floats) -> tuple[float, float, float, float, float, int, int]:
    """Means of both groups, their difference within periods in standard deviations with its interval, and their sizes."""
    known = ~np.isnan(values)
    answered = invited["answered"].to_numpy()[known]
    sizes = int(answered.sum()), int((~answered).sum())
    nothing = (np.nan, np.nan, np.nan, np.nan, np.nan, *sizes)
    if min(sizes) < FEWEST_ROWS_OF_A_LEVEL:
        return nothing
    cells = pd.factorize(invited["period"].to_numpy()[known])[0]
    outcome, group = _within(values[known], cells), _within(answered.astype(float), cells)
    spread, square = float(outcome.std()), float(group @ group)
    if spread < 1e-12 or square == 0:
        return nothing
    slope = float(group @ outcome) / square
    by_row = (group * (outcome - slope * group) / (square * spread))[:, None]
    error = float(
        np.sqrt((sums_by_customer(by_row, pd.factorize(invited["customer"].to_numpy()[known])[0]) ** 2).sum())
    )
    mean = float(values[known][answered].mean())
    difference = slope / spread
    reach = NORMAL_975 * error
    return (mean, mean - slope, difference, difference - reach, difference + reach, *sizes)


def _within(values: Floats, cells: Ints) -> Floats:
    means: Floats = np.bincount(cells, weights=values) / np.bincount(cells)
    return values - means[cells]


def response_model(
    known: Floats, names: Sequence[str], invited: pd.DataFrame, selection: tuple[float, float]
) -> pd.DataFrame:
    """Logit of answering an invitation on what is known (per standard deviation) and on the answer expected from earlier ones.

    The row ``satisfaction`` is the slope on the answer itself (``selection``: estimate and standard error, log-odds per
    point), which the answer expected from earlier ones can only show in part. Columns as ``NonResponse.response``.
    """
    matrix = np.column_stack([known, invited["earlier"].to_numpy(dtype=float)])
    kept = independent_columns(np.asfortranarray(matrix))
    terms = [[*names, "earlier answers"][index] for index in kept]
    fitted = fit(
        np.asfortranarray(matrix[:, kept]),
        invited["answered"].to_numpy(dtype=float),
        pd.factorize(invited["customer"])[0].astype(np.int64),
        family="logit",
    )
    estimate = np.append(fitted.coefficients, selection[0])
    error = np.append(fitted.std_errors, selection[1])
    return pd.DataFrame(
        {
            "term": [*terms, "satisfaction"],
            "estimate": estimate,
            "std_error": error,
            "conf_low": estimate - NORMAL_975 * error,
            "conf_high": estimate + NORMAL_975 * error,
            "odds_ratio": np.exp(estimate),
        }
    )


def compare_slopes(known: Floats, invited: pd.DataFrame) -> pd.DataFrame:
    """Relation of earlier answers to the next outcome among those who answered and who did not; columns as ``NonResponse.slopes``.

    A linear model with what is known, clustered by customer, orders and margin counting those who left as 0.
    """
    group = invited["answered"].to_numpy(dtype=float)
    earlier = invited["earlier"].to_numpy(dtype=float)
    again = invited[EVER[0]].to_numpy() > 0
    found = []
    for outcome in OUTCOMES:
        values = invited[outcome].to_numpy(dtype=float)
        used = again & ~np.isnan(values)
        if min((group[used] == 1).sum(), (group[used] == 0).sum()) < FEWEST_REPEATED or values[used].std() == 0:
            continue
        matrix = np.column_stack([known, group, earlier, earlier * group])[used]
        kept = independent_columns(np.asfortranarray(matrix))
        if kept[-2:].tolist() != [matrix.shape[1] - 2, matrix.shape[1] - 1]:
            continue
        clusters = pd.factorize(invited["customer"].to_numpy()[used])[0].astype(np.int64)
        fitted = fit(np.asfortranarray(matrix[:, kept]), values[used], clusters, family="gaussian")
        silent, apart = (float(one) for one in fitted.coefficients[-2:])
        reach = NORMAL_975 * float(fitted.std_errors[-1])
        found.append((outcome, silent + apart, silent, apart, apart - reach, apart + reach, int(used.sum())))
    columns = ["outcome", "answered", "silent", "difference", "conf_low", "conf_high", "n"]
    return pd.DataFrame(found, columns=columns)


def nonresponse_bounds(
    linkage: Linkage,
    *,
    observed: float = float("nan"),
    largest: float = 1.5,
    steps: int = 4,
    tilts: Sequence[str] = TILTS,
) -> pd.DataFrame:
    """What the slope would be if those who answered were selected on something that nobody can see.

    Parameters
    ----------
    linkage : Linkage
        The equation that carries the figure.
    observed : float
        Selection found in the data, log-odds of answering per standard deviation of the answer
        (``NonResponse.slope · standard_deviation``); the grid reaches at least there.
    largest : float
        End of the grid for the tilt ``answer``, log-odds of answering per standard deviation (1.5: odds 4.5 times as high); a
        third of it for ``answer and outcome``, which moves an estimate far more.
    steps : int
        Points of the grid on each side of 0.
    tilts : sequence of str
        Which kinds of selection to suppose.

    Returns
    -------
    DataFrame
        ``tilt, strength, estimate, conf_low, conf_high, crosses_zero_at``. An answer is weighted by
        ``exp(−strength · tilt)``: with the tilt ``answer``, its standardised value (those with higher scores answer more);
        with the tilt ``answer and outcome``, the product of standardised answer and of the outcome's standardised
        residual (those whose score agrees with what they do next answer more: the selection that can make up a relation).
        ``crosses_zero_at`` is the strength closest to 0 at which the estimate is 0, NaN where it keeps its sign on the
        grid. Above 20,000 rows every n-th customer is refitted and the change of the estimate carried over.

    Notes
    -----
    Source: exponential tilting of respondents, Rotnitzky, Robins & Scharfstein (1998), JASA 93:1321; Franks, D'Amour &
    Feller (2020), JASA 115:1730.
    """
    columns = ["tilt", "strength", "estimate", "conf_low", "conf_high", "crosses_zero_at"]
    if linkage.separated or linkage.predicting:
        return pd.DataFrame(columns=columns)
    ends = {
        "answer": max(largest, abs(observed)) if np.isfinite(observed) else largest,
        "answer and outcome": largest * SHARE_OF_JOINT,
    }
    parts = []
    few = _fewer(linkage)
    for tilt in tilts:
        half = ends[tilt] * np.linspace(0.0, 1.0, steps + 1)[1:] ** 2  # closer together where an estimate may cross 0
        grid = np.concatenate([-half[::-1], [0.0], half])
        found = _tilted(linkage, few, _standing(few, tilt), grid)
        found.insert(0, "strength", grid)
        found.insert(0, "tilt", tilt)
        found["crosses_zero_at"] = _crossing(grid, found["estimate"].to_numpy(dtype=float))
        parts.append(found)
    return pd.concat(parts, ignore_index=True)


def _standing(linkage: Linkage, tilt: str) -> Floats:
    """Standing of every answered row in the quantity that answering depends on, shape (rows,)."""
    rows = linkage.panel.answered(linkage.exposure)
    score = rows[linkage.exposure].to_numpy(dtype=float)
    score = (score - score.mean()) / score.std()
    if tilt == "answer":
        return np.asarray(score, dtype=np.float64)
    surprise = np.zeros(len(rows))
    residual = linkage.augment()["residual"].to_numpy(dtype=float)
    surprise[linkage.used] = np.clip(residual / residual.std(), -MOST_SURPRISE, MOST_SURPRISE)
    return np.asarray(score * surprise, dtype=np.float64)


def _fewer(linkage: Linkage) -> Linkage:
    """The linkage on every n-th customer's answers, where there are very many; coefficients as they are."""
    rows = linkage.panel.answered(linkage.exposure)
    every = -(-len(rows) // MOST_BOUND_ROWS)
    if every == 1:
        return linkage
    chosen = np.flatnonzero(pd.factorize(rows["customer"])[0] % every == 0)
    return replace(
        linkage,
        panel=replace(linkage.panel, rows=rows.iloc[chosen].reset_index(drop=True)),
        design=replace(linkage.design, matrix=np.asfortranarray(linkage.design.matrix[chosen])),
        used=np.flatnonzero(np.isin(chosen, linkage.used)),
        calibration=replace(linkage.calibration, weights=linkage.calibration.weights[chosen]),
        retention=None if linkage.retention is None else _fewer(linkage.retention),
    )


def _tilted(linkage: Linkage, few: Linkage, standing: Floats, grid: Floats) -> pd.DataFrame:
    """Estimate and interval with every answer weighted by ``exp(−strength · standing)``, a row a strength.

    The estimate moves as that of the refitted answers (``few``) moves, and its interval widens as theirs does; ``grid`` holds 0.
    """
    found = []
    for strength in grid:
        weights = np.exp(-strength * standing)
        weights = np.minimum(weights, LARGEST_WEIGHT * weights.mean())
        tilted = _refitted(few, weights / weights.mean())
        settled = tilted.fitted.converged and (tilted.retention is None or tilted.retention.fitted.converged)
        found.append((float(tilted.effect.estimate), float(tilted.std_error)) if settled else (np.nan, np.nan))
    moved, error = np.array(found).T
    here = int(np.flatnonzero(grid == 0)[0])
    estimate = linkage.effect.estimate + moved - moved[here]
    reach = linkage.critical_value * linkage.std_error * error / error[here]
    return pd.DataFrame({"estimate": estimate, "conf_low": estimate - reach, "conf_high": estimate + reach})


def _refitted(linkage: Linkage, weights: Floats) -> Linkage:
    """The linkage, and the retention that it rests on, with every answered row weighted, shape (rows,)."""
    rows = linkage.panel.answered(linkage.exposure)
    used, own = linkage.used, linkage.fitted
    fitted = fit(
        linkage.design.matrix,
        rows[linkage.outcome].to_numpy(dtype=float)[used],
        rows["customer"].to_numpy()[used],
        family=own.family,
        rows=None if len(used) == len(rows) else used,
        weights=weights[used],
        start=own.coefficients,
    )
    calibration = replace(linkage.calibration, weights=linkage.calibration.weights * weights)
    retention = None if linkage.retention is None else _refitted(linkage.retention, weights)
    return replace(linkage, fitted=fitted, calibration=calibration, retention=retention)


def _crossing(grid: Floats, estimate: Floats) -> float:
    """Strength nearest to 0 at which the estimate changes its sign, by linear interpolation; NaN where it does not."""
    grid, estimate = grid[np.isfinite(estimate)], estimate[np.isfinite(estimate)]
    where = np.flatnonzero(np.sign(estimate[:-1]) * np.sign(estimate[1:]) <= 0)
    if not len(where):
        return float("nan")
    step = grid[where + 1] - grid[where]
    rise = estimate[where + 1] - estimate[where]
    roots = grid[where] - estimate[where] * step / np.where(rise == 0, 1.0, rise)
    return float(roots[np.argmin(np.abs(roots))])


def nonresponse_checks(found: NonResponse, bounds: pd.DataFrame | None = None) -> pd.DataFrame:
    """Verdicts on non-response: one row a check, ``name, verdict, number, advice``.

    Parameters
    ----------
    found : NonResponse
    bounds : DataFrame, optional
        From :func:`nonresponse_bounds`, of the figure that carries the case.
    """
    rows: list[tuple[str, str, float, str]] = []
    sampled = f"; one in {found.every} customers was looked at" if found.every > 1 else ""
    known = found.comparison[~found.comparison["column"].isin(OUTCOMES)]
    n_answered, n_silent = (int(found.comparison[name].max()) for name in ("n_answered", "n_silent"))
    rate = n_answered / max(n_answered + n_silent, 1)
    recorded = found.invitations_recorded
    rows.append(
        (
            "response rate",
            "pass" if recorded and rate >= LOW_RESPONSE else "warn",
            rate,
            f"of {n_answered + n_silent:,} {'invitations' if recorded else 'customer-periods at risk'}"
            + ("" if recorded else "; invitations without an answer are not recorded: keep them, with an empty score")
            + sampled,
        )
    )
    for name, table in (
        ("answered against silent, before", known),
        ("answered against silent, after", found.comparison),
    ):
        table = table if "before" in name else table[table["column"].isin(OUTCOMES)]
        if table.empty:
            continue
        worst = table.iloc[int(np.argmax(np.abs(table["difference"].to_numpy(dtype=float))))]
        label = str(worst["column"]) + (f" = {worst['level']}" if worst["level"] else "")
        rows.append(
            (
                name,
                "pass" if abs(worst["difference"]) < LARGE_DIFFERENCE else "warn",
                float(worst["difference"]),
                f"largest difference in standard deviations: {label}, {worst['conf_low']:+.2f} to {worst['conf_high']:+.2f}",
            )
        )
    rows += _selection_checks(found)
    rows += _slope_checks(found)
    if bounds is not None and len(bounds):
        rows += _bound_checks(found, bounds)
    return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def _selection_checks(found: NonResponse) -> list[tuple[str, str, float, str]]:
    if not np.isfinite(found.slope):
        advice = (
            "too few customers were invited again after an answer, so whether the satisfied answer more cannot be seen; "
            "invite the same customers twice"
        )
        low, high = float(found.level["estimate"].min()), float(found.level["estimate"].max())
        strength = float(found.level["strength"].abs().max())
        supposed = (
            f"the population's score lies between {low:.3g} and {high:.3g} if the log-odds of answering rise or fall by up to "
            f"{strength:.2g} per standard deviation of the answer"
        )
        return [
            ("selection on the answer", "warn", float("nan"), advice),
            ("score under supposed selection", "warn", high - low, supposed),
        ]
    reach = NORMAL_975 * found.slope_std_error
    low, high = found.slope - reach, found.slope + reach
    sure = low > 0 or high < 0
    who = "satisfied" if found.slope > 0 else "dissatisfied"
    advice = f"log-odds of answering per point, {low:+.2f} to {high:+.2f}: " + (
        f"the {who} answer more often, so the score of those who answer misstates the population's"
        if sure
        else "no selection that this many repeated invitations can show"
    )
    checks = [("selection on the answer", "warn" if sure else "pass", found.slope, advice)]
    strong = found.earlier_spread >= WEAK_PREDICTION
    checks.append(
        (
            "strength of earlier answers",
            "pass" if strong else "warn",
            found.earlier_spread,
            "correlation of an answer with the one expected from earlier answers"
            + ("" if strong else "; too weak to say much about selection: the interval is wide for that reason"),
        )
    )
    own, raw = _whole(found, "own answer"), _whole(found, "answered")
    apart = own["estimate"] - raw["estimate"]
    hidden = not own["conf_low"] <= raw["estimate"] <= own["conf_high"]
    checks.append(
        (
            "score had everybody answered",
            "warn" if hidden else "pass",
            own["estimate"],
            f"{own['conf_low']:.3g} to {own['conf_high']:.3g}, against {raw['estimate']:.3g} among those who answered "
            f"({apart:+.3g})" + (": publish the former" if hidden else ""),
        )
    )
    share = own["effective_n"] / max(own["n_answered"], 1.0)
    checks.append(
        (
            "effective sample size",
            "pass" if share > SMALL_EFFECTIVE_SHARE else "warn",
            own["effective_n"],
            f"{share:.0%} of the answers after weighting; {int(own['trimmed'])} weights trimmed at {LARGEST_WEIGHT:.0f} times the mean",
        )
    )
    return checks


def _whole(found: NonResponse, method: str) -> dict[str, float]:
    """The figures over all periods by one method."""
    table = found.population
    row = table[(table["period"] == "all") & (table["method"] == method)].drop(columns=["period", "method"])
    return {str(name): float(row[name].iloc[0]) for name in row}


def _slope_checks(found: NonResponse) -> list[tuple[str, str, float, str]]:
    checks = []
    for row in found.slopes.to_dict("records"):
        same = row["conf_low"] <= 0 <= row["conf_high"]
        advice = (
            f"next {row['outcome']} per point of the answer expected from earlier ones: {row['answered']:.4g} among those who answered "
            f"again, {row['silent']:.4g} among the silent; difference {row['conf_low']:.4g} to {row['conf_high']:.4g}"
        )
        checks.append(
            (
                f"relation among the silent: {row['outcome']}",
                "pass" if same else "warn",
                float(row["difference"]),
                advice,
            )
        )
    return checks


def _bound_checks(found: NonResponse, bounds: pd.DataFrame) -> list[tuple[str, str, float, str]]:
    observed = found.slope * found.standard_deviation
    differ = bool(((found.slopes["conf_low"] > 0) | (found.slopes["conf_high"] < 0)).any())
    checks = []
    for tilt, table in bounds.groupby("tilt", sort=True):
        crosses = float(table["crosses_zero_at"].iloc[0])
        reach = float(table["strength"].abs().max())
        where = (
            f"the estimate keeps its sign up to ±{reach:.2f}"
            if np.isnan(crosses)
            else f"the estimate is 0 at {crosses:+.2f}"
        )
        if tilt == "answer":
            safe = np.isnan(crosses) or (np.isfinite(observed) and abs(crosses) > abs(observed))
            seen = f"; selection on the answer found: {observed:+.2f}" if np.isfinite(observed) else ""
        else:
            safe = np.isnan(crosses) or (len(found.slopes) > 0 and not differ)
            seen = "; " + (
                "the relation among the silent differs from that among those who answered, so such a selection is at work"
                if differ
                else "the relation among the silent shows no such selection"
                if len(found.slopes)
                else "too few were invited again to see whether such a selection is at work"
            )
        advice = f"{where} log-odds of answering per standard deviation{seen}"
        checks.append((f"not at random: {tilt}", "pass" if safe else "warn", crosses, advice))
    return checks
