"""What customers say: NPS, CSAT and CES with their sampling error.

Counts and sums are taken where the rows live (DuckDB, pandas, Spark); one row per cell is fetched, and the intervals
are arithmetic on it.

Source: Rocks (2016), "Interval estimation for the net promoter score", The American Statistician 70, 365-372 (adjusted
Wald); Wilson (1927), JASA 22, 209-212; Kish (1965), Survey Sampling, chapter 8 (design effect);
Zou and Donner (2008), Statistics in Medicine 27, 1693-1702 (difference of two estimates from their own limits).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from cxroi import periods
from cxroi.errors import InputError
from cxroi.tables.violation import suggestion

if TYPE_CHECKING:
    from cxroi.tables import Tables

Metric = Literal["nps", "csat", "ces"]
Floats = npt.NDArray[np.float64]

UNITS: dict[Metric, str] = {"nps": "NPS points", "csat": "share", "ces": "answer points"}
SHARES: dict[Metric, str] = {"nps": "promoter_share", "csat": "top_box_share", "ces": "easy_share"}

SPANS: dict[str, tuple[float, float]] = {"nps": (4.0, 10.0), "csat": (1.0, 10.0)}  # highest less lowest answer
SCALES_IN_WORDS: dict[str, str] = {"nps": "of 5 to 11 points", "csat": "of 2 to 11 points"}
SPAN_OF_TWO_BEST = 2.0  # from three points on the two best count as satisfied, of two only the better one

_NORMAL_975 = float(stats.norm.ppf(0.975))
_POWER_80 = float(stats.norm.ppf(0.80))
_NOT_A_SEGMENT = ("customer_id", "account_id", "joined_on", "left_on")


class Interval(NamedTuple):
    """An estimate with its standard error and 95 % limits, each a number or an array of shape (cells,)."""

    estimate: Floats
    std_error: Floats
    conf_low: Floats
    conf_high: Floats


@dataclass(frozen=True, repr=False)
class Scores:
    """A score, or the change of one, in every cell that was asked for.

    ``tidy()`` has a row per cell, ``glance()`` one row for all answers together.
    """

    cells: pd.DataFrame
    overall: pd.DataFrame

    def tidy(self) -> pd.DataFrame:
        """Give a row per cell, in the order of period and segments."""
        return self.cells.copy()

    def glance(self) -> pd.DataFrame:
        """Give one row for all cells together, with the number of cells and of those suppressed."""
        return self.overall.assign(cells=len(self.cells), cells_suppressed=int(self.cells["suppressed"].sum()))

    def __repr__(self) -> str:
        return repr(self.cells)


def nps_interval(
    promoters: npt.ArrayLike, passives: npt.ArrayLike, detractors: npt.ArrayLike, *, design_effect: npt.ArrayLike = 1.0
) -> Interval:
    """Net promoter score in points (-100 to 100) with its adjusted Wald interval.

    The limits come from n + 3 answers: 0.75 more promoters, 0.75 more detractors, 1.5 more passives. The standard error
    is that of the unadjusted score. With a design effect, counts are divided by it first (effective n).

    Parameters
    ----------
    promoters, passives, detractors
        Number of answers, numbers or arrays of shape (cells,).
    design_effect
        Variance of the clustered sample over that of a simple random one of the same size, at least 1.

    Source: Rocks (2016).

    Examples
    --------
    >>> score = nps_interval(50, 30, 20)
    >>> round(float(score.estimate), 1), round(float(score.conf_low), 1), round(float(score.conf_high), 1)
    (30.0, 14.1, 44.2)
    """
    deff = np.asarray(design_effect, float)
    up, middle, down = (np.asarray(count, float) / deff for count in (promoters, passives, detractors))
    total = up + middle + down
    with np.errstate(invalid="ignore", divide="ignore"):
        share_up, share_down = up / total, down / total
        estimate = share_up - share_down
        std_error = np.sqrt(np.maximum(share_up + share_down - estimate**2, 0.0) / total)
    share_up, share_down = (up + 0.75) / (total + 3), (down + 0.75) / (total + 3)
    centre = share_up - share_down
    half_width = _NORMAL_975 * np.sqrt((share_up + share_down - centre**2) / (total + 3))
    known = np.where(total > 0, 100.0, np.nan)
    low, high = np.maximum(centre - half_width, -1.0), np.minimum(centre + half_width, 1.0)
    return Interval(100 * estimate, 100 * std_error, known * low, known * high)


def csat_interval(satisfied: npt.ArrayLike, answers: npt.ArrayLike, *, design_effect: npt.ArrayLike = 1.0) -> Interval:
    """Share (0 to 1) of satisfied among all who answered, with its Wilson interval.

    Parameters
    ----------
    satisfied
        Number of answers in the two top points of the scale, a number or an array of shape (cells,).
    answers
        Number of all answers, same shape.
    design_effect
        As in `nps_interval`.

    Source: Wilson (1927).

    Examples
    --------
    >>> score = csat_interval(40 + 30, 100)
    >>> round(float(score.estimate), 3), round(float(score.conf_low), 3), round(float(score.conf_high), 3)
    (0.7, 0.604, 0.781)
    """
    deff = np.asarray(design_effect, float)
    total = np.asarray(answers, float) / deff
    square = _NORMAL_975**2
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.asarray(satisfied, float) / deff / total
        std_error = np.sqrt(np.maximum(share * (1 - share), 0.0) / total)
        centre = (share + square / (2 * total)) / (1 + square / total)
        half_width = _NORMAL_975 / (1 + square / total) * np.sqrt(std_error**2 + square / (4 * total**2))
    return Interval(share, std_error, np.maximum(centre - half_width, 0.0), np.minimum(centre + half_width, 1.0))


def ces_interval(
    mean: npt.ArrayLike, std_dev: npt.ArrayLike, answers: npt.ArrayLike, *, design_effect: npt.ArrayLike = 1.0
) -> Interval:
    """Mean effort answer (points of the scale, higher = easier) with its t interval.

    Parameters
    ----------
    mean, std_dev
        Mean and sample standard deviation (divisor n - 1) of the answers, numbers or arrays of shape (cells,).
    answers
        Number of answers, same shape; degrees of freedom are effective n - 1.
    design_effect
        As in `nps_interval`.

    Source: Student (1908), Biometrika 6, 1-25.

    Examples
    --------
    >>> score = ces_interval(5.0, 1.5, 25)
    >>> round(float(score.std_error), 3), round(float(score.conf_low), 3), round(float(score.conf_high), 3)
    (0.3, 4.381, 5.619)
    """
    estimate = np.asarray(mean, float)
    total = np.asarray(answers, float) / np.asarray(design_effect, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        std_error = np.asarray(std_dev, float) / np.sqrt(total)
        half_width = stats.t.ppf(0.975, np.where(total > 1, total - 1, np.nan)) * std_error
    return Interval(estimate, std_error, estimate - half_width, estimate + half_width)


def nps(
    tables: Tables, *, by: str | Sequence[str] | None = None, period: periods.Period | None = None, floor: int = 5
) -> Scores:
    """Net promoter score in points: percentage of promoters less percentage of detractors.

    Promoters give one of the two top points of the declared scale (9-10 of 0-10), passives one of the next two,
    detractors less.

    Parameters
    ----------
    tables
        A data set that was read, with surveys.
    by
        Columns of customers (segments), ``touchpoint`` or ``channel``: one name, several, or none.
    period
        ``"quarter"``, ``"month"`` or None (all answers together). An answer belongs to the period of ``answered_at``,
        an invitation without answer to that of ``invited_at``; rows without either are a cell of their own with an
        empty period.
    floor
        Cells with fewer customers than this are suppressed: no figure is given and ``suppressed`` is true. Where only
        one cell would be, the smallest shown one is suppressed with it, since the total would tell the figure.

    Returns
    -------
    Scores
        ``tidy()``: ``metric, period, <by>, estimate, std_error, conf_low, conf_high, unit, n`` (answers), ``customers``
        (who answered), ``invited`` (answers and invitations without one), ``response_rate`` (n / invited; empty where
        the export holds no invitation without an answer at all, because then who was asked is not known),
        ``design_effect, promoter_share, detractor_share, suppressed``.

    Raises
    ------
    InputError
        If there are no such answers, no dates for periods, or a column of ``by`` is unknown.

    Notes
    -----
    Customers who answer more than once in a cell do not count as independent: the interval uses n / design effect,
    where the design effect is the variance clustered by customer over that of independent answers, never below 1; it is
    1 where everybody answered once.
    """
    return _scores(tables, "nps", by, period, floor)


def csat(
    tables: Tables, *, by: str | Sequence[str] | None = None, period: periods.Period | None = None, floor: int = 5
) -> Scores:
    """Customer satisfaction: share (0 to 1) of the two top points of the scale among all who answered.

    Parameters, columns, errors and design effect as in `nps`; Wilson interval; ``top_box_share`` (the highest point
    alone) in place of ``promoter_share``.
    """
    return _scores(tables, "csat", by, period, floor)


def ces(
    tables: Tables, *, by: str | Sequence[str] | None = None, period: periods.Period | None = None, floor: int = 5
) -> Scores:
    """Customer effort score: mean answer in points of the scale, higher = easier.

    Parameters, columns, errors and design effect as in `nps`; t interval; ``easy_share`` (answers above the middle of
    the scale: 5-7 of 1-7) in place of ``promoter_share``.
    """
    return _scores(tables, "ces", by, period, floor)


def score_change(
    tables: Tables, metric: Metric, before: str, after: str, *, by: str | Sequence[str] | None = None, floor: int = 5
) -> Scores:
    """Change of a score between two periods, with its interval and the smallest change that so many answers can detect.

    Parameters
    ----------
    tables
        A data set that was read, with surveys.
    metric
        ``"nps"`` (points), ``"csat"`` (share) or ``"ces"`` (points of the scale).
    before, after
        Two quarters (``2026Q2``) or two months (``2026-05``).
    by, floor
        As in `nps`; a cell needs ``floor`` customers in each of the two periods.

    Returns
    -------
    Scores
        ``tidy()``: ``metric, before, after, <by>, estimate`` (after less before), ``std_error, conf_low, conf_high,
        smallest_detectable, unit, score_before, score_after, n_before, n_after, customers_both, suppressed``.

    Raises
    ------
    InputError
        As in `nps`, and if the two periods are of different kinds or the same, or one of them has no answer.

    Notes
    -----
    The standard error is clustered by customer over both periods, so that those who answered twice enter with their
    covariance. The limits join the two scores' own limits (Zou and Donner 2008) at that correlation. The smallest
    detectable change has power 80 % at a two-sided level of 5 %: half the interval's width times (1.96 + 0.84) / 1.96.
    """
    if metric not in UNITS:
        raise InputError(f"metric must be one of {', '.join(UNITS)}; got {metric!r}")
    kind = _kind_of(before, after)
    columns = _by_columns(by)
    rows = _answers(tables, metric, columns, kind)
    answered = _moments(rows, ["period"]).set_index("period")["n"]
    if not answered.sum():
        raise InputError(_no_answers(tables, metric))
    empty = [label for label in (before, after) if not answered.get(periods.index(label, kind), 0)]
    if empty:
        raise InputError(
            f"{metric} must have answers in both periods; there are none in {' and '.join(empty)}.{_span(rows, kind)}"
        )
    return Scores(*(_change(rows, metric, names, (before, after), floor) for names in (columns, [])))


def _scores(
    tables: Tables, metric: Metric, by: str | Sequence[str] | None, period: periods.Period | None, floor: int
) -> Scores:
    columns = _by_columns(by)
    rows = _answers(tables, metric, columns, period)
    overall = _moments(rows, [])
    if not overall["n"].sum():
        raise InputError(_no_answers(tables, metric))
    asked_known = bool(overall["invited"].sum() > overall["n"].sum())
    keys = [*(["period"] if period else []), *_keys(columns)]
    cells = _moments(rows, keys) if keys else overall
    names = dict(zip(_keys(columns), columns, strict=True))
    if period:
        cells = cells.assign(period=cells["period"].map(lambda at: periods.label(at, period), na_action="ignore"))
    return Scores(*(_estimates(frame, metric, asked_known, floor).rename(columns=names) for frame in (cells, overall)))


def _by_columns(by: str | Sequence[str] | None) -> list[str]:
    """List the columns of ``by``, each once."""
    return list(dict.fromkeys([by] if isinstance(by, str) else by or []))


def _keys(columns: Sequence[str]) -> list[str]:
    """Name the columns inside queries, where a segment called ``n`` or ``score`` must not collide."""
    return [f"key_{position}" for position in range(len(columns))]


def _answers(
    tables: Tables, metric: Metric, columns: Sequence[str], period: periods.Period | None
) -> nw.LazyFrame[Any]:
    """Rows of one metric: ``customer_id, period, key_0 ..., invited, n, value, share``.

    ``invited`` is 1, ``n`` and ``share`` are 0 or 1, ``value`` is what the metric averages.
    """
    if tables.surveys is None:
        raise InputError(f"{metric} needs the table surveys; this data set has none")
    surveys = tables.surveys.lazy()
    names = surveys.collect_schema().names()
    on_customers = _customer_columns(tables, columns, names)
    rows = surveys.filter(nw.col("metric") == metric)
    marked = rows.select(
        "customer_id",
        *_period_key(names, period),
        *_survey_keys(columns, on_customers),
        *_marks(metric, _scale(tables, metric)),
    )
    if not on_customers:
        return marked
    segments = [
        nw.col(column).alias(key) for key, column in zip(_keys(columns), columns, strict=True) if column in on_customers
    ]
    customers = tables.customers.lazy().select("customer_id", *segments)
    return marked.join(customers, on="customer_id", how="left")


def _customer_columns(tables: Tables, columns: Sequence[str], survey_columns: Sequence[str]) -> list[str]:
    """Columns of ``by`` that customers bring; refuses those that nobody has."""
    on_surveys = [column for column in ("touchpoint", "channel") if column in survey_columns]
    on_customers = [
        column
        for column in tables.customers.lazy().collect_schema().names()
        if column not in _NOT_A_SEGMENT and column not in on_surveys
    ]
    for column in columns:
        if column not in on_surveys and column not in on_customers:
            known = [*on_surveys, *on_customers]
            raise InputError(
                f"by must name segments of customers, touchpoint or channel; {column!r} is none of them"
                f" ({suggestion(column, known) or 'known: ' + ', '.join(known)})."
            )
    return [column for column in columns if column in on_customers]


def _survey_keys(columns: Sequence[str], on_customers: Sequence[str]) -> list[nw.Expr]:
    """Keys that the surveys bring; an empty touchpoint is the relationship."""
    taken = [(key, column) for key, column in zip(_keys(columns), columns, strict=True) if column not in on_customers]
    return [
        (nw.col(column).fill_null("relationship") if column == "touchpoint" else nw.col(column)).alias(key)
        for key, column in taken
    ]


def _period_key(survey_columns: Sequence[str], period: periods.Period | None) -> list[nw.Expr]:
    """Index of the period of the answer, or of the invitation where there was no answer."""
    if period is None:
        return []
    dates = [nw.col(column) for column in ("answered_at", "invited_at") if column in survey_columns]
    if not dates:
        raise InputError(
            f"scores by {period} need surveys.answered_at or surveys.invited_at; these surveys have no dates"
        )
    day = nw.coalesce(*dates)
    months = periods.MONTHS[period]
    return [(day.dt.year() * periods.PER_YEAR[period] + (day.dt.month() - 1) // months).alias("period")]


def _marks(metric: Metric, scale: tuple[float, float]) -> list[nw.Expr]:
    """Count an answer and mark what the metric makes of it; an empty score adds to ``invited`` alone."""
    low, high = scale
    score = nw.col("score")
    top = high - 1 if high - low >= SPAN_OF_TWO_BEST else high
    satisfied = nw.when(score >= top).then(1.0).otherwise(0.0)
    value, share = {
        "nps": (satisfied - nw.when(score < high - 3).then(1.0).otherwise(0.0), satisfied),
        "csat": (satisfied, nw.when(score >= high).then(1.0).otherwise(0.0)),
        "ces": (score.fill_null(0.0), nw.when(score > (low + high) / 2).then(1.0).otherwise(0.0)),
    }[metric]
    answered = nw.when(score.is_null()).then(0.0).otherwise(1.0)
    return [nw.lit(1.0).alias("invited"), answered.alias("n"), value.alias("value"), share.alias("share")]


def _scale(tables: Tables, metric: Metric) -> tuple[float, float]:
    """Lowest and highest answer of the metric as the data set declares them.

    Raises
    ------
    InputError
        If the scale has more or fewer points than the metric is defined for.
    """
    scale = tables.config.scales[metric]
    least, most = SPANS.get(metric, (0.0, np.inf))
    if not least <= scale.high - scale.low <= most:
        raise InputError(
            f"the scale of {metric} must be {SCALES_IN_WORDS[metric]}; dataset.yaml declares {scale.low:g} to {scale.high:g}. "
            "Bring the answers to such a scale in sql:, for example score / 10.0 where they run from 0 to 100."
        )
    return scale.low, scale.high


def _moments(rows: nw.LazyFrame[Any], keys: Sequence[str]) -> pd.DataFrame:
    """Sum answers within customers, then over the customers of each cell, and fetch one row per cell.

    Gives ``keys, invited, n, customers, value, square, share`` and, over customers, sums of squared totals
    ``total_square``, of counts times totals ``count_total`` and of squared counts ``count_square``.
    """
    cell = ["cell", *keys]
    totals = (
        rows.with_columns(nw.lit(1).alias("cell"), (nw.col("value") * nw.col("value")).alias("square"))
        .group_by(*cell, "customer_id")
        .agg(*(nw.col(column).sum() for column in ("invited", "n", "value", "square", "share")))
        .with_columns(
            nw.when(nw.col("n") > 0).then(1.0).otherwise(0.0).alias("customers"),
            (nw.col("value") * nw.col("value")).alias("total_square"),
            (nw.col("n") * nw.col("value")).alias("count_total"),
            (nw.col("n") * nw.col("n")).alias("count_square"),
        )
    )
    sums = ["invited", "n", "customers", "value", "square", "share", "total_square", "count_total", "count_square"]
    return _fetched(totals.group_by(*cell).agg(*(nw.col(column).sum() for column in sums)), keys)


def _cross_moments(rows: nw.LazyFrame[Any], keys: Sequence[str], pair: tuple[int, int]) -> pd.DataFrame:
    """Sum products over customers of what they gave before and after.

    Gives ``both, total_total, total_count, count_total, count_count``, the period before first.
    """
    cell = ["cell", *keys]
    before, after = (nw.when(nw.col("period") == index) for index in pair)
    split = {
        "count_before": before.then(nw.col("n")),
        "total_before": before.then(nw.col("value")),
        "count_after": after.then(nw.col("n")),
        "total_after": after.then(nw.col("value")),
    }
    totals = (
        rows.with_columns(nw.lit(1).alias("cell"), *(expr.otherwise(0.0).alias(name) for name, expr in split.items()))
        .group_by(*cell, "customer_id")
        .agg(*(nw.col(name).sum() for name in split))
        .filter((nw.col("count_before") > 0) & (nw.col("count_after") > 0))
        .with_columns(
            nw.lit(1.0).alias("both"),
            (nw.col("total_before") * nw.col("total_after")).alias("total_total"),
            (nw.col("total_before") * nw.col("count_after")).alias("total_count"),
            (nw.col("count_before") * nw.col("total_after")).alias("count_total"),
            (nw.col("count_before") * nw.col("count_after")).alias("count_count"),
        )
    )
    sums = ["both", "total_total", "total_count", "count_total", "count_count"]
    return _fetched(totals.group_by(*cell).agg(*(nw.col(column).sum() for column in sums)), keys)


def _fetched(frame: nw.LazyFrame[Any], keys: Sequence[str]) -> pd.DataFrame:
    """Fetch the cells into pandas, sorted by their keys."""
    return frame.collect(backend="pandas").to_pandas().sort_values(["cell", *keys], ignore_index=True)


def _design_effect(cells: pd.DataFrame) -> pd.Series[float]:
    """Variance of the mean clustered by customer over that of independent answers, at least 1."""
    n, customers, mean = cells["n"], cells["customers"], cells["value"] / cells["n"]
    clustered = cells["total_square"] - 2 * mean * cells["count_total"] + mean**2 * cells["count_square"]
    independent = cells["square"] - n * mean**2
    ratio = clustered * customers / (customers - 1) / (independent * n / (n - 1))
    usable = (customers > 1) & (independent > 1e-12 * cells["square"])
    return ratio.where(usable, 1.0).clip(lower=1.0)


def _interval(cells: pd.DataFrame, metric: Metric) -> Interval:
    """Estimate and limits of every cell from its moments."""
    n, value, deff = cells["n"], cells["value"], _design_effect(cells)
    if metric == "nps":
        detractors = cells["share"] - value
        return nps_interval(cells["share"], n - cells["share"] - detractors, detractors, design_effect=deff)
    if metric == "csat":
        return csat_interval(value, n, design_effect=deff)
    mean = value / n
    spread = np.sqrt((cells["square"] - n * mean**2).clip(lower=0) / (n - 1).where(n > 1))
    return ces_interval(mean, spread, n, design_effect=deff)


def _estimates(cells: pd.DataFrame, metric: Metric, asked_known: bool, floor: int) -> pd.DataFrame:
    """Arrange the tidy frame of one score, with small cells emptied."""
    keys = [column for column in cells.columns if column.startswith("key_")]
    label = cells["period"] if "period" in cells else pd.Series("all", index=cells.index)
    frame = cells[keys].assign(**_interval(cells, metric)._asdict())
    frame.insert(0, "metric", metric)
    frame.insert(1, "period", label)
    frame["unit"] = UNITS[metric]
    for column in ("n", "customers", "invited"):
        frame[column] = cells[column]
    frame["response_rate"] = cells["n"] / cells["invited"] if asked_known else np.nan
    frame["design_effect"] = _design_effect(cells)
    frame[SHARES[metric]] = cells["share"] / cells["n"]
    if metric == "nps":
        frame["detractor_share"] = (cells["share"] - cells["value"]) / cells["n"]
    names = [*(["period"] if "period" in cells else []), *keys]
    small = hidden_cells(cells["customers"], cells[names], floor=floor)
    return _suppressed(frame, small, ["metric", "period", *keys, "unit"])


def hidden_cells(customers: pd.Series[float], keys: pd.DataFrame, *, floor: int) -> pd.Series[bool]:
    """Which cells of a table with totals must not be shown: the small ones, and as many more as hide them.

    A small cell that is hidden alone is the total less the shown ones. So wherever cells that differ in one key only
    have exactly one hidden with customers in it, the smallest shown one is hidden too, until no such cell is left.

    Parameters
    ----------
    customers : Series, shape (cells,)
        Customers of each cell.
    keys : DataFrame, shape (cells, keys)
        What tells the cells apart.
    floor : int
        Cells with fewer customers are small.

    Examples
    --------
    >>> hidden_cells(pd.Series([3.0, 9.0, 7.0]), pd.DataFrame({"region": ["a", "b", "c"]}), floor=5).tolist()
    [True, False, True]
    """
    hidden = ~(customers >= floor)
    lines = [_lines(keys, name) for name in keys.columns]
    while True:
        more = {at for line in lines for at in _second_hidden(customers, hidden, line)}
        if not more:
            return hidden
        hidden.loc[list(more)] = True


def _lines(keys: pd.DataFrame, name: str) -> pd.Series[int]:
    """Number of the line of each cell: cells that differ in this key only share one."""
    others = [column for column in keys.columns if column != name]
    if not others:
        return pd.Series(0, index=keys.index)
    return keys.groupby(others, dropna=False, sort=False).ngroup()


def _second_hidden(customers: pd.Series[float], hidden: pd.Series[bool], line: pd.Series[int]) -> list[Any]:
    """Smallest shown cell of each line in which a single cell with customers is hidden."""
    alone = (hidden & (customers > 0)).groupby(line).transform("sum") == 1
    shown = customers[alone & ~hidden].sort_values(kind="stable")
    return list(shown.groupby(line[shown.index]).head(1).index)


def _suppressed(frame: pd.DataFrame, small: pd.Series[bool], kept: Sequence[str]) -> pd.DataFrame:
    """Empty every figure of small cells and say so."""
    figures = [column for column in frame.columns if column not in kept]
    emptied = frame.assign(**{column: frame[column].where(~small) for column in figures})
    return emptied.assign(suppressed=small)


def _change(
    rows: nw.LazyFrame[Any], metric: Metric, columns: Sequence[str], labels: tuple[str, str], floor: int
) -> pd.DataFrame:
    """Arrange the tidy frame of a change between two periods."""
    keys, kind = _keys(columns), _kind_of(*labels)
    cells = _pairs(rows, keys, (periods.index(labels[0], kind), periods.index(labels[1], kind)))
    before, after = _part(cells, "_before"), _part(cells, "_after")
    first, second = _interval(before, metric), _interval(after, metric)
    change = _difference(first, second, _covariance(cells, before, after) * (100.0**2 if metric == "nps" else 1.0))
    frame = pd.DataFrame({"metric": metric, "before": labels[0], "after": labels[1]}, index=cells.index)
    frame = frame.join(cells[keys]).assign(**change._asdict())
    frame["smallest_detectable"] = (change.conf_high - change.conf_low) / 2 * (_NORMAL_975 + _POWER_80) / _NORMAL_975
    frame["unit"] = UNITS[metric]
    frame["score_before"], frame["score_after"] = first.estimate, second.estimate
    frame["n_before"], frame["n_after"], frame["customers_both"] = before["n"], after["n"], cells["both"]
    small = hidden_cells(before["customers"].clip(upper=after["customers"]), cells[keys], floor=floor)
    kept = ["metric", "before", "after", *keys, "unit"]
    return _suppressed(frame, small, kept).rename(columns=dict(zip(keys, columns, strict=True)))


def _pairs(rows: nw.LazyFrame[Any], keys: Sequence[str], pair: tuple[int, int]) -> pd.DataFrame:
    """One row per cell with the moments of both periods and of the customers in both.

    Gives the columns of `_moments` with suffixes ``_before`` and ``_after``, and those of `_cross_moments`.
    """
    moments = _moments(rows.filter(nw.col("period").is_in(pair)), ["period", *keys])
    cell = ["cell", *keys]
    before, after = (moments[moments["period"] == index].drop(columns="period") for index in pair)
    joined = before.merge(after, on=cell, how="outer", suffixes=("_before", "_after"))
    joined = joined.merge(_cross_moments(rows, keys, pair), on=cell, how="left")
    sums = joined.columns.difference(cell)
    return joined.assign(**{column: joined[column].fillna(0.0) for column in sums})


def _part(cells: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """Take the moments of one of the two periods under their plain names."""
    return cells.filter(regex=f"{suffix}$").rename(columns=lambda name: name.removesuffix(suffix))


def _covariance(cells: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame) -> pd.Series[float]:
    """Covariance of two means through the customers who answered in both periods."""
    mean_before, mean_after = before["value"] / before["n"], after["value"] / after["n"]
    product = (
        cells["total_total"]
        - mean_after * cells["total_count"]
        - mean_before * cells["count_total"]
        + mean_before * mean_after * cells["count_count"]
    )
    return product / (before["n"] * after["n"])


def _difference(before: Interval, after: Interval, covariance: npt.ArrayLike) -> Interval:
    """Difference after less before, its limits joined from the limits of both (Zou and Donner 2008)."""
    spread = before.std_error * after.std_error
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.clip(np.where(spread > 0, np.asarray(covariance, float) / spread, 0.0), -1.0, 1.0)
    down = (np.maximum(after.estimate - after.conf_low, 0.0), np.maximum(before.conf_high - before.estimate, 0.0))
    up = (np.maximum(after.conf_high - after.estimate, 0.0), np.maximum(before.estimate - before.conf_low, 0.0))
    estimate = after.estimate - before.estimate
    return Interval(
        estimate,
        _joined(after.std_error, before.std_error, correlation),
        estimate - _joined(*down, correlation),
        estimate + _joined(*up, correlation),
    )


def _joined(one: Floats, other: Floats, correlation: Floats) -> Floats:
    """Spread of a difference of two correlated figures from the spread of each."""
    return np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0.0))


def _kind_of(before: str, after: str) -> periods.Period:
    """Quarter or month, the same for both and not the same period twice."""
    kinds: list[periods.Period] = ["quarter" if "Q" in label.upper() else "month" for label in (before, after)]
    if kinds[0] != kinds[1] or periods.index(before, kinds[0]) == periods.index(after, kinds[1]):
        raise InputError(
            f"a change must lie between two different quarters or two different months; got {before!r} and {after!r}. "
            "Write for instance 2026Q2 and 2026Q3."
        )
    return kinds[0]


def _span(rows: nw.LazyFrame[Any], kind: periods.Period) -> str:
    """Say in a sentence from when to when there are answers."""
    answered = rows.filter(nw.col("n") > 0)
    span = answered.select(nw.col("period").min().alias("first"), nw.col("period").max().alias("last"))
    first, last = span.collect(backend="pandas").to_pandas().iloc[0]
    return (
        "" if pd.isna(first) else f" Answers lie between {periods.label(first, kind)} and {periods.label(last, kind)}."
    )


def _no_answers(tables: Tables, metric: Metric) -> str:
    """Say that a metric has no answers, and which ones have."""
    assert tables.surveys is not None
    answered = tables.surveys.lazy().filter(~nw.col("score").is_null()).select("metric").unique()
    found = sorted(answered.collect(backend="pandas").to_pandas()["metric"])
    have = ", ".join(found) or "none"
    return f"surveys must hold answers of the metric {metric}; there are none. Metrics with answers: {have}."
