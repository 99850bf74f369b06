"""Who was asked, who answered, and what was known of everybody then: a row a customer and period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from cxroi import periods
from cxroi.linkage.fit import independent_columns
from cxroi.panel import Panel, period_of
from cxroi.tables import Tables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_CUSTOMERS = 20_000  # above, every n-th customer in the order of ids is looked at
FEWEST_REPEATED = 100  # invitations of customers with an earlier answer, answered and not answered each
FEWEST_ROWS_OF_A_LEVEL = 30
MOST_LEVELS = 20
MOST_SPLIT_CUSTOMERS = 5_000  # of the likelihood of repeated answers
ROUNDING = 1.0 / 12.0  # variance of rounding to whole points
STEP = 1e-4  # of the parameters behind repeated answers, for derivatives
HISTORY = ("log_tenure", "log_orders_now", "log_orders_before", "log_margin_now", "periods_since_order")
EVER = ("answered before", "share of earlier invitations answered")
NEVER = pd.Timestamp("2200-01-01")
LONG_AGO = pd.Timestamp("1900-01-01")


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
        period=period_of("occurred_at", panel.period),
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
        .with_columns(period=period_of("asked_at", panel.period))
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
