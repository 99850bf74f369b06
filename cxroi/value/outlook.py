"""What the next four quarters are expected to bring, kept so that they can judge it, and how earlier expectations did.

The forecast is the value's own run forward, with the season of the year on orders and margin and the chance in so many
customers added; the score is carried on as it last was. What came is counted over the very customers that a forecast was made for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi import periods
from cxroi.panel import Panel, followed
from cxroi.tables import Tables
from cxroi.value.lifetime import CustomerValue
from cxroi.value.season import QUARTERS_OF_A_YEAR, season

Floats = NDArray[np.float64]
QUARTERS_AHEAD = 4
LOW, HIGH = 0.05, 0.95
LEVELS = tuple(round((at + 0.5) / 20, 3) for at in range(20))  # of equally likely points that stand for a forecast
POINTS = tuple(f"q{round(1000 * level):03d}" for level in LEVELS)
OUTCOMES = ("retained", "orders", "margin")
FORECAST_COLUMNS = (
    *("measure", "made_at", "quarter", "quarters_ahead", "expected", "low", "median", "high", "unit", "customers"),
    *POINTS,
)
ACTUAL_COLUMNS = ("measure", "made_at", "quarter", "quarters_ahead", "actual", "unit", "customers")
RECORD_COLUMNS = (
    *("measure", "made_at", "quarter", "quarters_ahead", "expected", "low", "high"),
    *("actual", "covered", "error", "crps", "unit"),
)
FEWEST = 5  # customers of a cohort, so that no sum tells of a single one
SAME_CUSTOMERS = 0.1  # a forecast is scored where its customers and those counted later differ by less than this share


def outlook(value: CustomerValue, *, scores: pd.DataFrame | None = None) -> pd.DataFrame:
    """Forecast of the next four quarters for the customers active at the end of the last one.

    Parameters
    ----------
    value : CustomerValue
    scores : DataFrame, optional
        Its score by quarter: ``period, estimate, std_error``, as ``cxroi.scores`` gives it.

    Returns
    -------
    DataFrame
        A row per ``measure`` and quarter: ``retained`` (share of these customers still kept at the quarter's end),
        ``orders`` and ``margin`` (per customer of the start), ``margin_total`` (currency), and the score under its
        name; ``expected``, the 5, 50 and 95 % points ``low, median, high``, and twenty equally likely points
        ``q025 … q975``.

    Notes
    -----
    The spread has three parts: the draws of the linkage, the error of the season, and chance among a finite number of
    customers (binomial for who stays; for orders and margin by the mean square of the last quarter that is known). A
    shock that reaches everybody is in none, so that a record of too narrow ranges says how large such shocks are. The
    score is carried on as it last was, with the sampling error of both its measurements.
    """
    panel = value.panel
    rows = _score_rows(value, scores)
    if value.margin is not None and panel.period == "quarter" and value.customers:
        rows = _outcome_rows(value) + rows
    return pd.DataFrame(rows, columns=list(FORECAST_COLUMNS))


def realised(tables: Tables, panel: Panel, scores: dict[str, pd.DataFrame] | None = None) -> pd.DataFrame:
    """What came after each of the last eight quarters, in the measures of `outlook`.

    Parameters
    ----------
    scores
        Of each metric its score by quarter: ``period, estimate``.

    Returns
    -------
    DataFrame
        ``measure, made_at, quarter, quarters_ahead, actual, unit, customers``.
    """
    if panel.period != "quarter":
        return pd.DataFrame(columns=list(ACTUAL_COLUMNS))
    rows: list[tuple[object, ...]] = []
    cohorts = followed(tables, panel, periods_ahead=QUARTERS_AHEAD)
    cohorts = cohorts[cohorts["n"] >= FEWEST]
    scale = (
        max(float(panel.active["weight"].iloc[0]), 1.0) if len(panel.active) and _is_sampled(panel, cohorts) else 1.0
    )
    for each in cohorts.to_dict("records"):
        made_at, ahead = int(each["period"]), int(each["ahead"])
        place = (periods.label(made_at), periods.label(made_at + ahead), ahead)
        customers = round(float(each["n"]) * scale)
        found = {name: float(each[name]) for name in OUTCOMES} | {"margin_total": float(each["margin"]) * customers}
        for measure, actual in found.items():
            if np.isfinite(actual):
                rows.append((measure, *place, actual, _unit(measure, panel), customers))
    for metric, frame in (scores or {}).items():
        for quarter, actual in _known(frame).items():
            at = periods.index(quarter)
            for ahead in range(1, QUARTERS_AHEAD + 1):
                place = (periods.label(at - ahead), quarter, ahead)
                rows.append((metric, *place, actual, "score", 0))
    return pd.DataFrame(rows, columns=list(ACTUAL_COLUMNS))


def scored(forecast: pd.DataFrame, actual: pd.DataFrame) -> pd.DataFrame:
    """A forecast beside what came: a row per measure and quarter that both know.

    Returns
    -------
    DataFrame
        ``measure, made_at, quarter, quarters_ahead, expected, low, high, actual, covered`` (whether the 90 % range held
        it), ``error`` (actual less expected), ``crps`` (continuous ranked probability score, in the measure's unit: 0 is
        perfect, and a certain forecast has its absolute error), ``unit``. Rows whose customers differ by a tenth or
        more in number are of another company, or of revised data, and left out.
    """
    if forecast.empty or actual.empty:
        return pd.DataFrame(columns=list(RECORD_COLUMNS))
    keys = ["measure", "made_at", "quarter", "quarters_ahead"]
    later = actual[[*keys, "actual", "customers"]].rename(columns={"customers": "counted"})
    both = forecast.merge(later, on=keys, how="inner")
    gap = (both["counted"] - both["customers"]).abs()
    both = both[(both["counted"] == 0) | (gap < SAME_CUSTOMERS * both["customers"])].reset_index(drop=True)
    points = both[list(POINTS)].to_numpy(dtype=float)
    came = both["actual"].to_numpy(dtype=float)
    both["covered"] = (both["low"] <= both["actual"]) & (both["actual"] <= both["high"])
    both["error"] = both["actual"] - both["expected"]
    both["crps"] = [crps(each, float(y)) for each, y in zip(points, came, strict=True)]
    return both[list(RECORD_COLUMNS)]


def record(rows: pd.DataFrame) -> pd.DataFrame:
    """How forecasts did, by measure: a row each over everything that was scored.

    Returns
    -------
    DataFrame
        ``measure, forecasts, covered`` (share within their 90 % range), ``bias`` (mean of actual less expected),
        ``mean_absolute_error, crps`` (both means), ``unit``.
    """
    columns = ["measure", "forecasts", "covered", "bias", "mean_absolute_error", "crps", "unit"]
    found = [
        (
            measure,
            len(own),
            float(own["covered"].astype(float).mean()),
            float(own["error"].mean()),
            float(own["error"].abs().mean()),
            float(own["crps"].mean()),
            own["unit"].iloc[0],
        )
        for measure, own in rows.groupby("measure", sort=False)
    ]
    return pd.DataFrame(found, columns=columns)


def crps(points: Floats | Sequence[float], actual: float) -> float:
    """Continuous ranked probability score of equally likely points, in their unit: E|X - y| - E|X - X'| / 2.

    Source: Gneiting & Raftery (2007), Journal of the American Statistical Association 102:359, eq. 21.

    >>> crps([3.0], 5.0), crps([0.0, 2.0], 1.0)
    (2.0, 0.5)
    """
    ordered = np.sort(np.asarray(points, dtype=float))
    n = len(ordered)
    spread = 2.0 * float(ordered @ (2.0 * np.arange(1, n + 1) - n - 1)) / n**2  # mean of |X - X'| over all pairs
    return float(np.abs(ordered - actual).mean()) - spread / 2.0


def _outcome_rows(value: CustomerValue) -> list[tuple[object, ...]]:
    panel, customers = value.panel, value.customers
    paths = value.forward(QUARTERS_AHEAD)
    generator = np.random.default_rng([value.seed, 2])
    spent = {"orders": paths.orders, "margin": paths.baseline}
    square, of_year = _mean_squares(panel), season(panel)
    for_season = generator.spawn(1)[0]
    rows: list[tuple[object, ...]] = []
    for at in range(QUARTERS_AHEAD):
        left = paths.survival[:, at]
        quarter = (panel.last_period + at + 1) % QUARTERS_OF_A_YEAR
        by_season = of_year.factors(quarter, for_season.standard_normal((2, len(left) - 1)))
        expected = {"retained": left} | {name: spent[name][:, at] * by_season[name] for name in spent}
        chance: dict[str, Floats] = {
            "retained": generator.binomial(customers, np.clip(left[1:], 0.0, 1.0)) / customers - left[1:]
        }
        for name in spent:
            drawn = expected[name][1:]
            variance = np.maximum(square[name] * left[1:] / max(square["retained"], 1e-9) - drawn**2, 0.0)
            chance[name] = generator.standard_normal(len(drawn)) * np.sqrt(variance / customers)
        found = {name: (expected[name][0], expected[name][1:] + chance[name]) for name in OUTCOMES}
        found["margin_total"] = tuple(customers * part for part in found["margin"])  # type: ignore[assignment]
        for measure, (mean, draws) in found.items():
            if np.isfinite(mean) and np.isfinite(draws).all():
                rows.append(
                    _row(measure, panel, at + 1, float(mean), draws, unit=_unit(measure, panel), customers=customers)
                )
    return rows


def _score_rows(value: CustomerValue, scores: pd.DataFrame | None) -> list[tuple[object, ...]]:
    """The last score carried on; nothing where the last quarter has none."""
    panel = value.panel
    if scores is None or not value.exposure or panel.period != "quarter":
        return []
    last = scores[scores["period"] == periods.label(panel.last_period)]
    if last.empty or not np.isfinite(float(last["std_error"].iloc[0])):
        return []
    mean, error = float(last["estimate"].iloc[0]), float(last["std_error"].iloc[0])
    generator = np.random.default_rng([value.seed, 3])
    draws = mean + error * np.sqrt(2.0) * generator.standard_normal((QUARTERS_AHEAD, 20_000))
    return [
        _row(value.exposure, panel, at + 1, mean, draws[at], unit="score", customers=0) for at in range(QUARTERS_AHEAD)
    ]


def _row(
    measure: str, panel: Panel, ahead: int, expected: float, draws: Floats, *, unit: str, customers: int
) -> tuple[object, ...]:
    made_at = panel.last_period
    low, median, high, *points = (float(x) for x in np.quantile(draws, [LOW, 0.5, HIGH, *LEVELS]))
    place = (periods.label(made_at), periods.label(made_at + ahead), ahead)
    return (measure, *place, expected, low, median, high, unit, customers, *points)


def _unit(measure: str, panel: Panel) -> str:
    return {"retained": "share", "orders": "orders"}.get(measure, panel.currency)


def _mean_squares(panel: Panel) -> dict[str, float]:
    """Mean square of orders and margin per customer at risk in the last quarter known, and its share kept."""
    base = panel.base[panel.base["level"] == ""].dropna(subset=["mean"])
    last = {name: base[base["column"] == name].sort_values("period").tail(1) for name in OUTCOMES}
    found = {
        name: float(last[name]["mean_square"].iloc[0]) if len(last[name]) else np.nan for name in ("orders", "margin")
    }
    return found | {"retained": float(last["retained"]["mean"].iloc[0]) if len(last["retained"]) else 1.0}


def _is_sampled(panel: Panel, cohorts: pd.DataFrame) -> bool:
    """Whether cohorts were counted on the base's sample and not on everybody."""
    return panel.retention != "contract" and float(panel.active["weight"].iloc[0]) > 1 and len(cohorts) > 0


def _known(frame: pd.DataFrame) -> dict[str, float]:
    """Score of each quarter that has one."""
    known = frame[frame["estimate"].notna() & frame["period"].astype(str).str.fullmatch(r"\d{4}Q[1-4]")]
    return {str(quarter): float(x) for quarter, x in zip(known["period"], known["estimate"], strict=True)}
