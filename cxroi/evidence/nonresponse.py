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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, sparse, special

from cxroi import periods
from cxroi.linkage import Linkage
from cxroi.linkage.fit import fit, independent_columns
from cxroi.panel import Panel
from cxroi.tables import Tables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_CUSTOMERS = 20_000  # above, every n-th customer in the order of ids is looked at
FEWEST_INVITED = 200
FEWEST_REPEATED = 100  # invitations of customers with an earlier answer, answered and not answered each
FEWEST_ROWS_OF_A_LEVEL = 30
MOST_LEVELS = 20
LARGEST_WEIGHT = 20.0  # times the mean weight; larger ones are trimmed
MOST_SPLIT_CUSTOMERS = 5_000  # of the likelihood of repeated answers
ROUNDING = 1.0 / 12.0  # variance of rounding to whole points
MOST_BOUND_ROWS = 20_000
MOST_SURPRISE = 3.0  # standard deviations of an outcome's residual
SHARE_OF_JOINT = 1.0 / 3.0  # of the grid, for selection on answer and outcome together
LARGEST_SUPPOSED = 0.5  # log-odds of answering per standard deviation, where no more was found
LOW_RESPONSE = 0.2
LARGE_DIFFERENCE = 0.1
WEAK_PREDICTION = 0.2
SMALL_EFFECTIVE_SHARE = 0.3
MOST_ITERATIONS = 60
TOLERANCE = 1e-9
STEP = 1e-4  # of the parameters behind repeated answers, for derivatives
SHIFT_STEP = 1e-2  # points
HISTORY = ("log_tenure", "log_orders_now", "log_orders_before", "log_margin_now", "periods_since_order")
OUTCOMES = ("retained", "orders", "margin")
EVER = ("answered before", "share of earlier invitations answered")
NEVER = pd.Timestamp("2200-01-01")
LONG_AGO = pd.Timestamp("1900-01-01")
NORMAL_975 = float(special.ndtri(0.975))


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
        level=_supposed_levels(answers, measure, panel, solutions["known behaviour"], (largest, deviation)),
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


# --- who was asked and what was known -------------------------------------------------------------------------------


def asked_rows(tables: Tables, panel: Panel, exposure: str) -> tuple[pd.DataFrame, bool, int]:
    """Every active customer-period with invitation, answer, behaviour known then, and what followed.

    Returns
    -------
    (DataFrame, bool, int)
        A row per customer × period active at the period's end: ``customer`` (code), ``period``, ``invited``,
        ``answered``, ``score`` (NaN where none), ``answered before`` (0/1), ``share of earlier invitations answered``,
        history, declared controls, outcomes of the next period (NaN where it is not over); whether invitations without an
        answer are recorded; one in how many customers was taken.
    """
    assert tables.surveys is not None
    customers, every = _sampled(tables, panel)
    first, last = int(panel.base["period"].min()), panel.last_period
    span = np.arange(first, _data_end(tables, panel) + 1)
    chosen = customers["customer_id"]
    orders = _orders(tables, panel, every, chosen)
    asked = _invitations(tables, panel, exposure, every, chosen)
    recorded = bool((asked["invitations"] > asked["answers"]).any())
    ids = pd.Index(customers["customer_id"])
    joined, left = customers["joined"].to_numpy(), customers["left"].to_numpy()
    bought = {name: _dense(orders, ids, span, name, 0.0) for name in ("orders", "margin")}
    active, retained = _activity(panel, tables, orders, ids, span, (joined, left))
    invitations = _dense(asked, ids, span, "invitations", 0.0)
    answers = _dense(asked, ids, span, "answers", 0.0)
    score = _dense(asked, ids, span, "score", np.nan)
    shown = active & (span <= last)
    invited, given = (invitations > 0) if recorded else active, answers > 0
    so_far = np.cumsum(invited & shown, axis=1) - (invited & shown)
    given_so_far = np.cumsum(given & shown, axis=1) - (given & shown)
    overall = float((given & shown).sum()) / max(float((invited & shown).sum()), 1.0)
    wide: dict[str, Any] = {
        **_history(bought, span, joined),
        "invited": invited,
        "answered": given,
        "score": score,
        EVER[0]: (given_so_far > 0).astype(float),
        EVER[1]: (given_so_far + overall) / (so_far + 1.0),
    }
    following = np.where(span < last, 1.0, np.nan)  # what follows the last period is not over yet
    gone = retained == 0
    wide["retained"] = retained * following
    for name, values in bought.items():
        after = np.column_stack([values[:, 1:], np.full(len(values), np.nan)])
        wide[name] = np.where(gone, 0.0, after) * following
    which, when = np.nonzero(shown)
    rows = pd.DataFrame({name: values[which, when] for name, values in wide.items()})
    rows.insert(0, "period", span[when])
    rows.insert(0, "customer", which)
    declared = list(dict.fromkeys(panel.controls))
    for column in declared:
        rows[column] = customers[column].to_numpy()[which]
    return rows, recorded, every


def _data_end(tables: Tables, panel: Panel) -> int:
    assert tables.data_end is not None
    return max(periods.containing(tables.data_end, panel.period), panel.last_period)


def _period_of(column: str, period: periods.Period) -> nw.Expr:
    date = nw.col(column)
    year, month = date.dt.year().cast(nw.Int64), date.dt.month().cast(nw.Int64)
    return year * 4 + (month - 1) // 3 if period == "quarter" else year * 12 + month - 1


def _sampled(tables: Tables, panel: Panel) -> tuple[pd.DataFrame, int]:
    """Customers looked at: every n-th in the order of ids, with the periods of joining and leaving (far off where none)."""
    count = int(tables.customers.select(nw.len()).collect()["len"][0])
    every = -(-count // MOST_CUSTOMERS)
    frame = tables.customers
    if every > 1:
        frame = frame.with_row_index("position__", order_by="customer_id").filter(nw.col("position__") % every == 0)
    columns = ["customer_id", "joined_on", *dict.fromkeys(panel.controls)]
    has_left = "left_on" in tables.customers.collect_schema().names()
    fetched: pd.DataFrame = (
        frame.select(*columns, *(["left_on"] if has_left else [])).collect("pyarrow").to_native().to_pandas()
    )
    fetched = fetched.sort_values("customer_id", kind="stable", ignore_index=True)
    joined = _index(pd.to_datetime(fetched["joined_on"]), panel.period)
    left = (
        _index(pd.to_datetime(fetched["left_on"]).fillna(NEVER), panel.period)
        if has_left
        else _index(pd.Series(NEVER, index=fetched.index), panel.period)
    )
    return fetched.assign(joined=joined, left=left), every


def _index(dates: pd.Series, period: periods.Period) -> Ints:
    year, month = dates.dt.year.to_numpy(), dates.dt.month.to_numpy()
    return np.asarray(year * 4 + (month - 1) // 3 if period == "quarter" else year * 12 + month - 1, dtype=np.int64)


def _among(frame: Any, tables: Tables, every: int, chosen: pd.Series) -> Any:
    """Rows of the customers looked at."""
    if every == 1:
        return frame
    return frame.join(tables.frame(pd.DataFrame({"customer_id": chosen})), on="customer_id", how="semi")


def _orders(tables: Tables, panel: Panel, every: int, chosen: pd.Series) -> pd.DataFrame:
    assert tables.transactions is not None
    bought = nw.col("amount") > 0
    frame = _among(tables.transactions, tables, every, chosen).with_columns(
        period=_period_of("occurred_at", panel.period),
        orders=nw.when(bought).then(1.0).otherwise(0.0),
        ordered_at=nw.when(bought).then(nw.col("occurred_at")),
    )
    sums = frame.group_by("customer_id", "period").agg(
        nw.col("orders").sum(),
        nw.col("margin").sum(),
        nw.col("ordered_at").min().alias("first_order_at"),
        nw.col("ordered_at").max().alias("last_order_at"),
    )
    fetched: pd.DataFrame = sums.collect("pyarrow").to_native().to_pandas()
    return fetched


def _invitations(tables: Tables, panel: Panel, exposure: str, every: int, chosen: pd.Series) -> pd.DataFrame:
    """Invitations, answers and mean answer per customer × period of the invitation (of the answer where it is undated)."""
    assert tables.surveys is not None
    names = tables.surveys.collect_schema().names()
    frame = tables.surveys.filter(nw.col("metric") == exposure)
    if exposure == "nps" and "touchpoint" in names:
        relationship = frame.filter(nw.col("touchpoint").is_null())
        if len(relationship.filter(~nw.col("score").is_null()).head(1).collect()):
            frame = relationship
    dates = [nw.col(name) for name in ("invited_at", "answered_at") if name in names]
    frame = _among(frame, tables, every, chosen).with_columns(asked_at=nw.coalesce(*dates))
    sums = (
        frame.filter(~nw.col("asked_at").is_null())
        .with_columns(period=_period_of("asked_at", panel.period))
        .group_by("customer_id", "period")
        .agg(
            nw.len().alias("invitations"),
            nw.col("score").count().alias("answers"),
            nw.col("score").mean(),
        )
    )
    fetched: pd.DataFrame = sums.collect("pyarrow").to_native().to_pandas()
    return fetched


def _dense(frame: pd.DataFrame, ids: pd.Index, span: Ints, column: str, empty: Any) -> Any:
    """A column as an array of shape (customers, periods); what lies outside is left out."""
    who, when = ids.get_indexer(pd.Index(frame["customer_id"])), frame["period"].to_numpy() - span[0]
    inside = (who >= 0) & (when >= 0) & (when < len(span))
    values = frame[column].to_numpy()[inside]
    wide = np.full((len(ids), len(span)), empty, dtype=values.dtype if values.dtype.kind == "M" else float)
    wide[who[inside], when[inside]] = values
    return wide


def _activity(
    panel: Panel, tables: Tables, orders: pd.DataFrame, ids: pd.Index, span: Ints, lived: tuple[Ints, Ints]
) -> tuple[Flags, Floats]:
    """Active at the end of each period, and retained in the next (0/1, NaN where not known), by the declared rule."""
    joined, left = (values[:, None] for values in lived)
    active = (joined <= span) & (left > span)
    rule = tables.config.retention
    if rule is None or rule.rule == "contract":
        retained = np.where(left <= span + 1, 0.0, 1.0)
        return active, retained if panel.retention else np.full(active.shape, np.nan)
    assert rule.window_days is not None
    window = pd.Timedelta(days=rule.window_days)
    ends = pd.DatetimeIndex([pd.Timestamp(periods.start(int(t) + 1, panel.period)) for t in span]).as_unit("us")
    following = pd.DatetimeIndex([pd.Timestamp(periods.start(int(t) + 2, panel.period)) for t in span]).as_unit("us")
    closes = np.maximum((ends + window).to_numpy(), following.to_numpy())
    last = _dense(
        orders.assign(at=_stamps(orders["last_order_at"], LONG_AGO)), ids, span, "at", LONG_AGO.to_datetime64()
    )
    next_at = _dense(orders.assign(at=_stamps(orders["first_order_at"], NEVER)), ids, span, "at", NEVER.to_datetime64())
    until = np.maximum.accumulate(last, axis=1)
    coming = np.minimum.accumulate(next_at[:, ::-1], axis=1)[:, ::-1]
    coming = np.column_stack([coming[:, 1:], np.full(len(coming), NEVER.to_datetime64())])
    assert tables.data_end is not None
    known = closes <= (pd.Timestamp(tables.data_end) + pd.Timedelta(days=1)).to_datetime64()
    return active & (until >= (ends - window).to_numpy()), np.where(known, (coming < closes).astype(float), np.nan)


def _stamps(dates: pd.Series, missing: pd.Timestamp) -> pd.Series:
    return pd.to_datetime(dates).astype("datetime64[us]").fillna(missing)


def _history(bought: dict[str, Floats], span: Ints, joined: Ints) -> dict[str, Floats]:
    """Tenure, orders and margin known at the end of each period, shape (customers, periods) each."""
    orders, margin = bought["orders"], bought["margin"]
    since = np.maximum(joined, span[0])[:, None]
    before = np.maximum(span - since, 0)
    earlier = (np.cumsum(orders, axis=1) - orders) / np.maximum(before, 1)
    last = np.maximum.accumulate(np.where(orders > 0, span, 0), axis=1)
    unit = float(np.abs(margin[orders > 0]).mean()) if (orders > 0).any() else 1.0
    return {
        "log_tenure": np.log1p(np.maximum(span - joined[:, None], 0)),
        "log_orders_now": np.log1p(orders),
        "log_orders_before": np.log1p(np.maximum(earlier, 0.0)),
        "log_margin_now": np.sign(margin) * np.log1p(np.abs(margin) / (unit or 1.0)),
        "periods_since_order": (span - np.maximum(last, since - 1)).astype(float),
    }


def known_columns(rows: pd.DataFrame, panel: Panel) -> tuple[Floats, list[str]]:
    """What is known of everybody: constant, history, answering so far, controls and periods, in standard units.

    Returns
    -------
    (array, list of str)
        Shape (rows, k), independent columns only, and their names.
    """
    columns: list[Floats] = [np.ones(len(rows))]
    names = ["Intercept"]

    def add(name: str, values: Any) -> None:
        numbers = np.asarray(values, dtype=np.float64)
        spread = numbers.std()
        if spread > 0:
            columns.append((numbers - numbers.mean()) / spread)
            names.append(name)

    for column in (*HISTORY, *EVER):
        add(column, rows[column])
    for column in dict.fromkeys(panel.controls):
        values = rows[column]
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            add(column, values.astype(float).fillna(float(np.nan_to_num(values.astype(float).median()))))
            continue
        text = values.astype("object").where(values.notna(), "(missing)").astype(str)
        counts = text[rows["invited"]].value_counts()
        levels = sorted(counts.index[counts >= FEWEST_ROWS_OF_A_LEVEL])[:MOST_LEVELS]
        for level in levels[1:]:
            add(f"{column}[{level}]", text == level)
    for index in sorted(rows["period"].unique())[1:]:
        add(f"period[{periods.label(int(index), panel.period)}]", rows["period"] == index)
    matrix = np.asfortranarray(np.column_stack(columns))
    kept = independent_columns(matrix[rows["invited"].to_numpy()])
    return np.asarray(matrix[:, kept]), [names[index] for index in kept]


@dataclass(frozen=True)
class Repeated:
    """What repeated answers say of one customer: a lasting part, a part that fades by ``fade`` every period, and noise.

    Variances in squared points; ``noise`` leaves out rounding to whole points (1/12). ``influence`` (customers,) is the
    contribution of each customer of the frame to ``noise``.
    """

    lasting: float
    fading: float
    fade: float
    noise: float
    influence: Floats


def repeated_answers(rows: pd.DataFrame) -> tuple[Repeated, Floats]:
    """Split repeated answers by maximum likelihood, and predict each answer from the customer's earlier ones.

    Returns
    -------
    (Repeated, array)
        The prediction is a distance from the period's mean answer (points), shape (rows,), 0 without earlier answers. Only its
        relevance matters for the selection slope: a wrong split makes the slope less precise, not biased.

    Notes
    -----
    Source: Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, §3.2 and §3.4.
    """
    centred = rows["score"] - rows.groupby("period")["score"].transform("mean")
    who, codes = pd.factorize(rows["customer"])
    when = (rows["period"] - rows["period"].min()).to_numpy()
    wide = np.full((len(codes), int(when.max()) + 1), np.nan)
    wide[who, when] = centred.to_numpy(dtype=float)
    variance = float(np.nan_to_num(centred.var()))
    given = (~np.isnan(wide)).sum(axis=1)
    several = np.flatnonzero(given > 1)
    parts = np.array([0.4 * variance, 0.3 * variance, 0.6, 0.3 * variance])
    if variance == 0 or len(several) < FEWEST_REPEATED:
        predicted = _filtered(wide, parts)[0] if variance else np.zeros_like(wide)
        return _repeated(parts, np.zeros(len(codes)), noise=0.0), predicted[who, when]
    chosen = np.flatnonzero(given > 0)
    chosen = chosen[:: -(-len(chosen) // MOST_SPLIT_CUSTOMERS)]
    found, scores = _split(wide[chosen], variance)
    influence = np.zeros(len(codes))
    influence[chosen] = (scores @ np.linalg.pinv(scores.T @ scores, rcond=1e-8, hermitian=True))[:, 3]
    noise = max(float(found[3]) - ROUNDING, 0.0)
    return _repeated(found, influence, noise=noise), _filtered(wide, found)[0][who, when]


def _repeated(parts: Floats, influence: Floats, *, noise: float) -> Repeated:
    return Repeated(float(parts[0]), float(parts[1]), float(parts[2]), noise, influence)


def _split(answers: Floats, variance: float) -> tuple[Floats, Floats]:
    """Maximum-likelihood parts (4,), and each customer's score by the log of the first two, the logit of the third and the last."""

    def parts(at: Floats) -> Floats:
        return np.array([variance * np.exp(at[0]), variance * np.exp(at[1]), special.expit(at[2]), at[3]])

    def unlikely(at: Any) -> float:
        return -float(_filtered(answers, parts(at))[1].mean())

    bounds = [(-7.0, 1.0), (-7.0, 1.0), (-3.0, 4.0), (ROUNDING, 2.0 * variance + ROUNDING)]
    starts = [[np.log(0.4), np.log(0.4), 0.5, ROUNDING + share * variance] for share in (0.05, 0.4)]
    tops: list[Any] = [
        optimize.minimize(unlikely, start, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-8}) for start in starts
    ]
    top: Floats = min(tops, key=lambda one: float(one.fun)).x
    scores = np.empty((len(answers), 4))
    for column in range(4):
        step = np.zeros(4)
        step[column] = STEP
        up, down = (_filtered(answers, parts(top + sign * step))[1] for sign in (1, -1))
        scores[:, column] = (up - down) / (2 * STEP)
    return parts(top), scores


def _filtered(answers: Floats, parts: Floats) -> tuple[Floats, Floats]:
    """One-step predictions of level plus wave seen through noise (customers, periods), and each customer's log-likelihood."""
    lasting, fading, fade, noise = parts
    level, wave, likelihood = np.zeros((3, len(answers)))
    both, own, cross = np.full(len(answers), lasting), np.full(len(answers), fading), np.zeros(len(answers))
    predicted = np.zeros_like(answers)
    for t in range(answers.shape[1]):
        if t:
            wave, cross, own = wave * fade, cross * fade, own * fade**2 + fading * (1 - fade**2)
        predicted[:, t] = level + wave
        seen = ~np.isnan(answers[:, t])
        error = np.where(seen, answers[:, t] - predicted[:, t], 0.0)
        by_level, by_wave = both + cross, cross + own
        total = by_level + by_wave + noise
        likelihood -= np.where(seen, (np.log(total) + error**2 / total) / 2, 0.0)
        gain_level, gain_wave = np.where(seen, by_level / total, 0.0), np.where(seen, by_wave / total, 0.0)
        level, wave = level + gain_level * error, wave + gain_wave * error
        both, cross, own = both - gain_level * by_level, cross - gain_level * by_wave, own - gain_wave * by_wave
    return predicted, likelihood


# --- weights and the population's score -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """The frame: everybody whose score is asked for; arrays of shape (N,), ``known`` (N, k).

    ``earlier`` is the prediction from earlier answers (0 without any), ``score`` NaN where not answered; ``customer``
    numbers the clusters from 0.
    """

    known: Floats
    earlier: Floats
    invited: Flags
    answered: Flags
    score: Floats
    period: Ints
    customer: Ints


@dataclass(frozen=True)
class Measure:
    """Which score is made of the answers: ``nps`` (points), ``csat`` (share of the top two) or ``ces`` (mean)."""

    exposure: str
    scale: tuple[float, float]
    noise: float
    noise_influence: Floats | None = None


@dataclass(frozen=True)
class Solution:
    """Weights of the answers and what they rest on.

    ``inviting`` (m,) are the coefficients of the log weight that makes the invited look like everybody, ``answering`` (k + 1,)
    those of the log-odds of answering (the last one per point of the answer); ``influence`` (customers, m + k + 1) the
    contribution of each customer to them. ``supposed`` is a slope on the answer that was given, not found.
    """

    inviting: Floats
    answering: Floats
    influence: Floats
    own_answer: bool
    converged: bool
    supposed: float = 0.0

    @property
    def slope(self) -> float:
        """Log-odds of answering per point of the answer."""
        return float(self.answering[-1]) if self.own_answer else self.supposed

    @property
    def slope_std_error(self) -> float:
        """Clustered standard error of the slope."""
        return float(np.sqrt((self.influence[:, -1] ** 2).sum()))


def solve(
    answers: Answers, *, own_answer: bool = False, supposed: float = 0.0, start: Solution | None = None
) -> Solution:
    """Find the weights: the invited made to look like everybody, the answers made to look like the invited.

    The equations are ``Σ_invited d·z = Σ_all z`` with ``d = exp(z·λ)``, and ``Σ_answered d·(1 + exp(−x·γ))·z = Σ_all z``;
    z holds what is known and the prediction from earlier answers, x what is known and the answer itself
    (``own_answer``), or x = z with a ``supposed`` slope on the answer. ``start`` is a nearby solution.

    Source: Kott & Chang (2010), JASA 105:1265, equations 3 and 4.
    """
    z = np.column_stack([answers.known, answers.earlier])
    if not answers.earlier.any():
        z = answers.known
    invited, given = np.flatnonzero(answers.invited), np.flatnonzero(answers.answered)
    x = np.column_stack([answers.known, answers.score - _centre(answers)]) if own_answer else z
    everybody = z.sum(axis=0)
    n = len(z)

    def inviting(at: Floats) -> tuple[Floats, Floats]:
        weight = np.exp(np.minimum(z[invited] @ at, 30.0))
        return (weight @ z[invited] - everybody) / n, (z[invited] * weight[:, None]).T @ z[invited] / n

    first = np.zeros(z.shape[1])
    first[0] = np.log(n / len(invited))
    if start is not None:
        first = start.inviting
    tilt, settled = _newton(inviting, first) if len(invited) < n else (first, True)
    offset = supposed * (answers.score[given] - _centre(answers))
    chance = np.exp(np.minimum(z[given] @ tilt, 30.0))

    def answering(at: Floats) -> tuple[Floats, Floats]:
        silent = chance * np.exp(np.minimum(-x[given] @ at - offset, 30.0))
        value = ((chance + silent) @ z[given] - everybody) / n
        return value, -(z[given] * silent[:, None]).T @ x[given] / n

    share = len(given) / len(invited)
    initial = np.zeros(x.shape[1])
    initial[0] = np.log(share / (1 - share))
    found, done = _newton(answering, initial if start is None else start.answering)
    silent = np.exp(np.minimum(-x[given] @ found - offset, 30.0))
    # equations by row, then by customer; the parameters' influence is minus the inverse Jacobian of the stacked equations
    by_row = np.zeros((n, 2 * z.shape[1]))
    by_row[invited, : z.shape[1]] = z[invited] * np.exp(np.minimum(z[invited] @ tilt, 30.0))[:, None]
    by_row[given, z.shape[1] :] = z[given] * (chance * (1 + silent))[:, None]
    by_row -= np.column_stack([z, z])
    equations = _by_customer(by_row, answers.customer)
    jacobian = np.zeros((2 * z.shape[1], z.shape[1] + x.shape[1]))
    jacobian[: z.shape[1], : z.shape[1]] = inviting(tilt)[1] * n
    jacobian[z.shape[1] :, : z.shape[1]] = (z[given] * (chance * (1 + silent))[:, None]).T @ z[given]
    jacobian[z.shape[1] :, z.shape[1] :] = answering(found)[1] * n
    influence = -equations @ np.linalg.pinv(jacobian).T
    return Solution(tilt, found, influence, own_answer, bool(settled and done), supposed)


def _centre(answers: Answers) -> float:
    return float(np.nanmean(answers.score))


def _newton(equations: Callable[[Floats], tuple[Floats, Floats]], start: Floats) -> tuple[Floats, bool]:
    """Root of as many equations as unknowns, with halved steps where they would grow."""
    at = start
    value, jacobian = equations(at)
    for _ in range(MOST_ITERATIONS):
        size = float(np.abs(value).max())
        if size < TOLERANCE:
            return at, True
        step = -np.linalg.lstsq(jacobian, value, rcond=None)[0]
        taken = 1.0
        while True:
            trial, slopes = equations(at + taken * step)
            if float(trial @ trial) < float(value @ value) or taken < 1e-6:
                break
            taken /= 2
        if taken < 1e-6:
            return at, size < 1e-6
        at, value, jacobian = at + taken * step, trial, slopes
    return at, float(np.abs(value).max()) < 1e-6


def _by_customer(rows: Floats, customer: Ints) -> Floats:
    sums = np.zeros((int(customer.max()) + 1, rows.shape[1]))
    for column in range(rows.shape[1]):
        sums[:, column] = np.bincount(customer, weights=rows[:, column], minlength=len(sums))
    return sums


def corrected_shares(score: Floats, measure: Measure, shift: float) -> Floats:
    """What an answer counts for the score, with the answer moved up by ``shift`` points; shape (N,).

    Where answering depends on satisfaction s with slope b and an answer is ``s + noise`` with variance v, an answer weighted by
    ``exp(−b·answer)`` stands for one that is ``b·v`` lower than a silent customer's would be: normal noise tilted by
    ``exp(−b·noise)`` is normal with its mean moved by ``−b·v``. Moving the answer back by ``b·v`` removes that bias. An
    answer rounded to a whole number is spread evenly over its unit.

    Examples
    --------
    >>> nps = Measure("nps", (0.0, 10.0), 0.5)
    >>> corrected_shares(np.array([10.0, 8.0, 6.0]), nps, 0.0)
    array([ 1.,  0., -1.])
    >>> corrected_shares(np.array([10.0, 8.0, 6.0]), nps, 0.25)
    array([ 1.  ,  0.25, -0.75])
    """
    high = measure.scale[1]
    if measure.exposure == "ces":
        return score + shift

    def above(threshold: float) -> Floats:
        if shift == 0:
            return (score >= threshold + 0.5).astype(np.float64)
        return np.clip(score + shift + 0.5 - threshold, 0.0, 1.0)

    top = above(high - 1.5)
    if measure.exposure == "csat":
        return top
    return top - (1.0 - above(high - 3.5))


@dataclass(frozen=True)
class _Weighted:
    """Answers with their weights: ``chance`` stands for those not invited, ``silent`` for those who did not answer, shape (n,).

    ``worth`` and ``silent_worth`` are what an answer counts for those who answered and for the silent (``worth_by_shift`` the
    derivative of the latter by the shift), ``z`` and ``x`` (n, k) the columns behind ``chance`` and ``silent``; ``kept`` is
    below 1 where a weight is trimmed.
    """

    chance: Floats
    silent: Floats
    worth: Floats
    silent_worth: Floats
    worth_by_shift: Floats
    z: Floats
    x: Floats
    kept: Floats

    @property
    def weight(self) -> Floats:
        """Weight of each answer."""
        return self.chance * (1 + self.silent) * self.kept

    @property
    def total(self) -> Floats:
        """Weight times what the answer counts."""
        return self.chance * (self.worth + self.silent * self.silent_worth) * self.kept


def _weighted(answers: Answers, found: Solution, measure: Measure) -> _Weighted:
    given = answers.answered
    score = answers.score[given]
    z = np.column_stack([answers.known, answers.earlier])[given][:, : len(found.inviting)]
    x = np.column_stack([answers.known[given], score - _centre(answers)]) if found.own_answer else z
    chance = np.exp(np.minimum(z @ found.inviting, 30.0))
    silent = np.exp(np.minimum(-x @ found.answering - found.supposed * (score - _centre(answers)), 30.0))
    weight = chance * (1 + silent)
    shift = found.slope * measure.noise
    silent_worth = corrected_shares(score, measure, shift)
    return _Weighted(
        chance=chance,
        silent=silent,
        worth=corrected_shares(score, measure, 0.0),
        silent_worth=silent_worth,
        worth_by_shift=(corrected_shares(score, measure, shift + SHIFT_STEP) - silent_worth) / SHIFT_STEP,
        z=z,
        x=x,
        kept=np.minimum(1.0, LARGEST_WEIGHT * weight.mean() / weight),
    )


def weighted_scores(answers: Answers, found: Solution, measure: Measure, panel: Panel, method: str) -> pd.DataFrame:
    """The population's score by period and over all of them, with its 95 % interval; columns as ``NonResponse.population``."""
    if not found.converged:
        return pd.DataFrame()
    labels, cells = np.unique(answers.period, return_inverse=True)
    n_cells = len(labels)
    given = np.flatnonzero(answers.answered)
    own = cells[given]
    weighted = _weighted(answers, found, measure)
    weight = weighted.weight
    sums = np.bincount(own, weights=weight, minlength=n_cells)
    answered = sums > 0
    divisor = np.where(answered, sums, 1.0)
    unit = 100.0 if measure.exposure == "nps" else 1.0
    by_period = unit * np.bincount(own, weights=weighted.total, minlength=n_cells) / divisor
    size = np.bincount(cells, minlength=n_cells) * answered
    share = size / size.sum()
    overall = float(share @ by_period)
    # what each answer, and each member of the population, contributes by itself
    part = (unit * weighted.total - by_period[own] * weight) / divisor[own]
    direct = np.zeros((len(cells), n_cells + 1))
    direct[given, own] = part
    direct[given, n_cells] = part * share[own]
    direct[:, n_cells] += np.where(answered[cells], by_period[cells] - overall, 0.0) / size.sum()
    # and through the parameters of the weights
    unanswered = weighted.chance * weighted.silent * weighted.kept / divisor[own]
    through_answering = -unanswered * (unit * weighted.silent_worth - by_period[own])
    by_shift = _by_cell(unanswered * unit * weighted.worth_by_shift, own, n_cells) @ np.ones((len(own), 1))
    inviting = _by_cell(part, own, n_cells) @ weighted.z
    answering = _by_cell(through_answering, own, n_cells) @ weighted.x
    if found.own_answer:
        answering[:, -1] += by_shift[:, 0] * measure.noise
    slopes = np.column_stack([inviting, answering, by_shift * found.slope])
    slopes = np.vstack([slopes, share @ slopes])
    influence = _by_customer(direct, answers.customer) + found.influence @ slopes[:, :-1].T
    if measure.noise_influence is not None:
        influence += np.outer(measure.noise_influence, slopes[:, -1])
    squares = np.bincount(own, weights=weight**2, minlength=n_cells)
    trimmed = np.bincount(own, weights=(weighted.kept < 1).astype(float), minlength=n_cells)
    count = np.bincount(own, minlength=n_cells)
    return _population(
        labels,
        panel,
        method,
        estimate=np.append(np.where(answered, by_period, np.nan), overall),
        std_error=np.append(*_errors(influence, answered)),
        n_answered=np.append(count, count.sum()),
        n_population=np.append(np.bincount(cells, minlength=n_cells), len(cells)),
        effective_n=np.append(
            sums**2 / np.where(squares > 0, squares, 1.0), weight.sum() ** 2 / float((weight**2).sum())
        ),
        trimmed=np.append(trimmed, trimmed.sum()),
    )


def _supposed_levels(
    answers: Answers, measure: Measure, panel: Panel, known: Solution, reach: tuple[float, float]
) -> pd.DataFrame:
    """The score over all periods under supposed selection on the answer, up to ``reach`` (largest strength, points of a deviation)."""
    largest, deviation = reach
    found = []
    for strength in np.linspace(-largest, largest, 5):
        solution = known if strength == 0 else solve(answers, supposed=float(strength) / deviation, start=known)
        scores = weighted_scores(answers, solution, measure, panel, "")
        if len(scores):
            row = scores.iloc[-1]
            found.append((float(strength), float(row["estimate"]), float(row["conf_low"]), float(row["conf_high"])))
    return pd.DataFrame(found, columns=["strength", "estimate", "conf_low", "conf_high"])


def _by_cell(values: Floats, cells: Ints, n_cells: int) -> Any:
    """Matrix (cells, n) whose product with columns (n, k) gives their sums by cell, weighted by ``values``."""
    return sparse.csr_array((values, (cells, np.arange(len(cells)))), shape=(n_cells, len(cells)))


def _errors(influence: Floats, answered: Flags) -> tuple[Floats, float]:
    error = np.sqrt((influence**2).sum(axis=0))
    return np.where(answered, error[:-1], np.nan), float(error[-1])


def raw_scores(answers: Answers, measure: Measure, panel: Panel) -> pd.DataFrame:
    """The score of those who answered, as it is; columns as ``NonResponse.population``."""
    labels, cells = np.unique(answers.period, return_inverse=True)
    given = answers.answered
    worth = corrected_shares(answers.score[given], measure, 0.0) * (100.0 if measure.exposure == "nps" else 1.0)
    own = cells[given]
    n_cells = len(labels)
    count = np.bincount(own, minlength=n_cells).astype(float)
    mean = np.bincount(own, weights=worth, minlength=n_cells) / np.where(count > 0, count, np.nan)
    direct = np.zeros((len(worth), n_cells + 1))
    direct[np.arange(len(worth)), own] = (worth - mean[own]) / count[own]
    direct[:, n_cells] = (worth - worth.mean()) / len(worth)
    influence = _by_customer(direct, pd.factorize(answers.customer[given])[0])
    size = np.bincount(cells, minlength=n_cells).astype(float)
    return _population(
        labels,
        panel,
        "answered",
        estimate=np.append(mean, worth.mean()),
        std_error=np.sqrt((influence**2).sum(axis=0)),
        n_answered=np.append(count, count.sum()),
        n_population=np.append(size, size.sum()),
        effective_n=np.append(count, count.sum()),
        trimmed=np.zeros(n_cells + 1),
    )


def _population(labels: Ints, panel: Panel, method: str, **columns: Floats) -> pd.DataFrame:
    names = [*(periods.label(int(index), panel.period) for index in labels), "all"]
    frame = pd.DataFrame({"period": names, "method": method, **columns})
    half = NORMAL_975 * frame["std_error"]
    frame.insert(4, "conf_low", frame["estimate"] - half)
    frame.insert(5, "conf_high", frame["estimate"] + half)
    for name in ("n_answered", "n_population", "trimmed"):
        frame[name] = frame[name].astype(np.int64)
    return frame


# --- tables ---------------------------------------------------------------------------------------------------------


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
    error = float(np.sqrt((_by_customer(by_row, pd.factorize(invited["customer"].to_numpy()[known])[0]) ** 2).sum()))
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
    linkage: Linkage, *, observed: float = float("nan"), largest: float = 1.5, steps: int = 4
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
    for tilt, end in ends.items():
        half = end * np.linspace(0.0, 1.0, steps + 1)[1:] ** 2  # closer together where an estimate may cross 0
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

    The estimate moves as that of the refitted answers (``few``) moves, and its interval widens as theirs does.
    """
    found = []
    for strength in (0.0, *grid):
        weights = np.exp(-strength * standing)
        weights = np.minimum(weights, LARGEST_WEIGHT * weights.mean())
        tilted = _refitted(few, weights / weights.mean())
        settled = tilted.fitted.converged and (tilted.retention is None or tilted.retention.fitted.converged)
        found.append((float(tilted.effect.estimate), float(tilted.std_error)) if settled else (np.nan, np.nan))
    moved, error = np.array(found).T
    estimate = linkage.effect.estimate + moved[1:] - moved[0]
    reach = linkage.critical_value * linkage.std_error * error[1:] / error[0]
    return pd.DataFrame({"estimate": estimate, "conf_low": estimate - reach, "conf_high": estimate + reach})


def _refitted(linkage: Linkage, weights: Floats) -> Linkage:
    """The linkage, and the retention that it rests on, with every answered row weighted, shape (rows,)."""
    rows = linkage.panel.answered(linkage.exposure)
    used, own = linkage.used, linkage.fitted
    fitted = fit(
        np.asfortranarray(linkage.design.matrix[used]),
        rows[linkage.outcome].to_numpy(dtype=float)[used],
        rows["customer"].to_numpy()[used],
        family=own.family,
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
