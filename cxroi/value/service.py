"""Cost to serve: what the contacts of a quarter cost, by the score that customers gave in the quarter before.

The score always lies before the contacts that are counted. A customer counts from the end of the quarter of the answer; contacts until
leaving count too, since those who are about to go often call first. A contact without a stated cost is not one that cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.evidence.invitations import asked_rows
from cxroi.panel import MONEY_DIGITS, Panel, period_of
from cxroi.scores import hidden_cells
from cxroi.tables import Tables
from cxroi.value.forward import BANDS, BELOW_TOP
from cxroi.value.survival import dated_answers

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
By = Literal["", "touchpoint", "channel", "initiated_by"]

FEWEST_CUSTOMERS = 30
MOST_WITHOUT_COST = 0.2
NORMAL_975 = float(special.ndtri(0.975))
ALL = "all"
KINDS = ("touchpoint", "channel", "initiated_by")
FIGURES = ("touches", "estimate", "std_error", "conf_low", "conf_high")


@dataclass(frozen=True)
class CustomerQuarters:
    """Customers looked at, quarter by quarter, with the answers dated in each quarter.

    Attributes
    ----------
    rows : DataFrame
        A row per customer × quarter active at its end, sorted by ``customer`` (a code) and ``period``: ``score`` (mean answer dated in
        the quarter, NaN where none), ``answers`` (count), ``last_score`` (of the last quarter with an answer so far), what was known
        then, declared controls, and what followed: ``retained, orders, margin`` of the next quarter (NaN where it is not over).
    people : LazyFrame
        ``customer_id, customer`` in the engine.
    every : int
        One in how many customers was looked at.
    """

    rows: pd.DataFrame
    people: Frame
    every: int


@dataclass(frozen=True)
class CostToServe:
    """Cost of the contacts of a quarter per customer, by band of the score of the quarter before.

    Attributes
    ----------
    bands : DataFrame
        A row per kind of contact and band (and ``all``, and the lowest band less the highest): ``kind, band, customers,
        customer_quarters, touches`` (a customer and quarter), ``estimate`` (currency a customer and quarter), ``std_error, conf_low,
        conf_high`` (95 %), ``share_without_cost`` (of the touches), ``unit, suppressed`` (fewer than 30 customers, or fewer than 30 of
        them with such a contact).
    by : str
        What tells the kinds apart: ``touchpoint``, ``channel``, ``initiated_by``, or nothing.
    touches : int
        Contacts counted.
    without_cost : int
        Contacts without a stated cost; each is counted at the mean stated cost of its touchpoint, channel and initiator.
    of_unknown_cost : int
        Contacts of a kind of which no cost is stated at all: counted at nothing, so that the figures are too low.
    """

    exposure: str
    by: str
    currency: str
    bands: pd.DataFrame
    touches: int
    without_cost: int
    of_unknown_cost: int
    every: int

    def __repr__(self) -> str:
        return repr(self.bands)

    def tidy(self) -> pd.DataFrame:
        """One row per kind of contact and band; columns as in ``bands``."""
        return self.bands

    def glance(self) -> pd.DataFrame:
        """One row: customer-quarters, customers, contacts, share without a stated cost, one in how many customers was looked at."""
        total = self.bands[(self.bands["kind"] == ALL) & (self.bands["band"] == ALL)].iloc[0]
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "customer_quarters": [int(total["customer_quarters"])],
                "customers": [int(total["customers"])],
                "touches": [self.touches],
                "share_without_cost": [self.without_cost / max(self.touches, 1)],
                "one_in_every": [self.every],
            }
        )

    def checks(self) -> pd.DataFrame:
        """What the figures rest on: ``name, verdict, number, advice``."""
        share = self.without_cost / max(self.touches, 1)
        unknown = self.of_unknown_cost / max(self.touches, 1)
        total = self.bands[(self.bands["kind"] == ALL) & (self.bands["band"] == ALL)].iloc[0]
        rows = [
            (
                "touches without a stated cost",
                "pass" if share <= MOST_WITHOUT_COST else "warn",
                share,
                "share of the touches; each counts at the mean stated cost of its touchpoint, channel and initiator",
            ),
            (
                "kinds of touches without any cost",
                "fail" if unknown else "pass",
                unknown,
                "share of the touches of a kind whose cost is never stated: they are left out, so the true cost is higher; add "
                "touches.cost for them"
                if unknown
                else "every kind of touch has some stated cost",
            ),
            (
                "customers",
                "pass" if total["customers"] >= 10 * FEWEST_CUSTOMERS else "warn",
                float(total["customers"]),
                "intervals are clustered by customer",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def cost_to_serve(tables: Tables, panel: Panel, exposure: str, *, by: By = "") -> CostToServe | str:
    """Cost of contacts per customer and quarter, by band of the answer of the quarter before.

    Parameters
    ----------
    tables : Tables
    panel : Panel
        Of these tables, by quarters.
    exposure : str
        ``nps``, ``csat`` or ``ces``.
    by : {"", "touchpoint", "channel", "initiated_by"}
        Also by this kind of contact; the kinds of a band sum to its ``all``.

    Returns
    -------
    CostToServe or str
        The reason in words where contacts, their costs or answers are not recorded.

    Raises
    ------
    InputError
        If ``by`` is none of the four.

    Notes
    -----
    Mean over customer-quarters with an answer, as a ratio of sums over customers; errors by the customers' contributions to it
    (Cochran 1977, Sampling Techniques, chapter 6). The error of the mean cost that stands for one that is not stated is not counted.
    A single answer is noisy, so bands lie closer together than satisfaction would put them.
    """
    if by not in ("", *KINDS):
        raise InputError(f"by must be empty or one of {', '.join(KINDS)}; got {by!r}, e.g. by='touchpoint'")
    missing = lacking(tables, panel, exposure)
    if missing:
        return missing
    assert tables.touches is not None
    names = tables.touches.collect_schema().names()
    if "cost" not in names:
        return "the touches have no cost; add touches.cost to see what serving customers costs"
    if by and by not in names:
        return f"the touches have no {by}"
    looked = customer_quarters(tables, panel, exposure)
    rows = looked.rows[looked.rows["score"].notna() & (looked.rows["period"] < panel.last_period)]
    if rows["customer"].nunique() < FEWEST_CUSTOMERS:
        return f"fewer than {FEWEST_CUSTOMERS} customers answered in a quarter that is followed by another"
    contacts = _costed(touch_sums(tables, panel, looked.people))
    contacts = contacts.assign(period=contacts["period"] - 1).merge(
        rows[["customer", "period", "score"]], on=["customer", "period"], how="inner"
    )
    if not contacts["stated"].sum():
        return "no touch of those who answered has a stated cost"
    low, middle, high = BANDS[exposure]
    best = panel.score_ranges[exposure][1]
    bands = {ALL: None, low: 0, middle: 1, high: 2}
    of_row, of_contact = (band_codes(frame["score"], exposure, best) for frame in (rows, contacts))
    kinds = [ALL, *(sorted(contacts[by].unique()) if by else [])]
    customers = rows["customer"].to_numpy()
    found = []
    for kind in kinds:
        own = np.ones(len(contacts), dtype=bool) if kind == ALL else (contacts[by] == kind).to_numpy()
        ends: dict[str, _Mean] = {}
        for band, code in bands.items():
            at_risk = np.ones(len(rows), dtype=bool) if code is None else of_row == code
            here = own if code is None else own & (of_contact == code)
            ends[band] = _mean(customers[at_risk], contacts[here], int(customers.max()) + 1)
            found.append({"kind": kind, "band": band, **ends[band].row})
        found.append({"kind": kind, "band": f"{low} less {high}", **_difference(ends[low], ends[high])})
    table = pd.DataFrame(found)
    return CostToServe(
        exposure=exposure,
        by=by,
        currency=panel.currency,
        bands=_hidden(table, f"{low} less {high}", (low, high)).assign(unit=panel.currency or "currency")[
            [*("kind", "band", "customers", "customer_quarters"), *FIGURES, "share_without_cost", "unit", "suppressed"]
        ],
        touches=int(contacts["touches"].sum()),
        without_cost=int((contacts["touches"] - contacts["stated"]).sum()),
        of_unknown_cost=int(contacts["unknown"].sum()),
        every=looked.every,
    )


def lacking(tables: Tables, panel: Panel, exposure: str) -> str:
    """Why contacts cannot be set against a score of the quarter before; empty where they can."""
    if tables.touches is None:
        return "the data have no touches table"
    if tables.transactions is None or tables.surveys is None:
        return "contacts are set against answers and activity by quarter: needs dated surveys and transactions"
    if panel.period != "quarter":
        return "needs a panel by quarters"
    if exposure not in panel.metrics:
        return f"the data have no answers to {exposure}"
    if panel.timing != "before":
        return "the answers have no dates before the outcomes"
    return ""


def customer_quarters(tables: Tables, panel: Panel, exposure: str) -> CustomerQuarters:
    """Active customers quarter by quarter (a systematic sample of at most about 20,000), with the answers dated in each.

    Needs surveys and transactions.
    """
    rows, _, every = asked_rows(tables, panel, exposure)
    numbered = tables.customers.select("customer_id").with_row_index("position", order_by="customer_id")
    place = nw.col("position").cast(nw.Int64)
    people = tables.materialise(
        numbered.filter(place % every == 0).select("customer_id", (place // every).alias("customer"))
    )
    rows = rows.drop(columns=["score", "answered"])
    answers = dated_answers(tables, exposure)
    given = pd.DataFrame({"customer": [], "period": [], "score": [], "answers": []}).astype({"score": float})
    if answers is not None:
        given = fetched(
            answers.join(people, on="customer_id", how="inner")
            .with_columns(period=period_of("answered_at", panel.period))
            .group_by("customer", "period")
            .agg(nw.col("score").mean(), nw.len().alias("answers"))
        )
    rows = rows.merge(given.astype({"customer": np.int64, "period": np.int64}), on=["customer", "period"], how="left")
    rows = rows.sort_values(["customer", "period"], kind="stable", ignore_index=True)
    return CustomerQuarters(
        rows=rows.assign(
            answers=rows["answers"].fillna(0).astype(np.int64),
            last_score=rows.groupby("customer")["score"].ffill(),
        ),
        people=people,
        every=every,
    )


def touch_sums(tables: Tables, panel: Panel, people: Frame) -> pd.DataFrame:
    """Contacts of these customers, summed in the engine.

    Returns
    -------
    DataFrame
        ``customer, period, touchpoint, channel, initiated_by`` (empty where not stated), ``touches, stated`` (of them with a cost),
        ``cost`` (currency, of the stated), ``failed``, ``failed_known`` (of them it is known whether they failed).
    """
    assert tables.touches is not None
    names = tables.touches.collect_schema().names()
    kinds = [nw.col(name) if name in names else nw.lit("").alias(name) for name in KINDS]
    cost = nw.col("cost") if "cost" in names else nw.lit(None, nw.Float64)
    failed = nw.col("failed") if "failed" in names else nw.lit(None, nw.Boolean)
    coded = tables.touches.join(people, on="customer_id", how="inner").select(
        "customer",
        period_of("occurred_at", panel.period).alias("period"),
        *(kind.fill_null("") for kind in kinds),
        cost.alias("cost"),
        nw.when(failed).then(1).otherwise(0).alias("failed"),
        nw.when(failed.is_null()).then(0).otherwise(1).alias("failed_known"),
    )
    sums = coded.group_by("customer", "period", *KINDS).agg(
        nw.len().alias("touches"),
        nw.col("cost").count().alias("stated"),
        nw.col("cost").sum(),
        nw.col("failed").sum(),
        nw.col("failed_known").sum(),
    )
    found = fetched(sums).astype({"customer": np.int64, "period": np.int64, "cost": float})
    found = found.assign(cost=found["cost"].fillna(0.0).round(MONEY_DIGITS))
    return found.sort_values(["customer", "period", *KINDS], kind="stable", ignore_index=True)


def band_codes(scores: pd.Series, exposure: str, best: float) -> Ints:
    """Band of each score: 0 low, 1 middle, 2 high (``cxroi.value.forward.BANDS``), shape (rows,).

    Examples
    --------
    >>> band_codes(pd.Series([6.0, 7.5, 9.0]), "nps", 10.0)
    array([0, 1, 2])
    """
    below_middle, below_high = BELOW_TOP[exposure]
    values = scores.to_numpy(dtype=float)
    return np.asarray(
        np.where(values <= best - below_middle, 0, np.where(values <= best - below_high, 1, 2)), dtype=np.int64
    )


def fetched(frame: Frame) -> pd.DataFrame:
    """A small result of the engine as pandas; sums of whole numbers are whole numbers."""
    table: pa.Table = frame.collect("pyarrow").to_native()
    for place, column in enumerate(table.schema):
        if pa.types.is_decimal(column.type):
            table = table.set_column(place, column.name, table.column(place).cast(pa.int64()))
    found: pd.DataFrame = table.to_pandas()
    return found


@dataclass(frozen=True)
class _Mean:
    """A row of figures and each customer's contribution to the estimate, shape (customers,)."""

    row: dict[str, float]
    contribution: Floats


def _costed(contacts: pd.DataFrame) -> pd.DataFrame:
    """Contacts with the cost of the unstated ones filled in, and how many could not be."""
    by_kind = contacts.groupby(list(KINDS))[["cost", "stated"]].transform("sum")
    mean = by_kind["cost"] / by_kind["stated"].where(by_kind["stated"] > 0)
    unstated = contacts["touches"] - contacts["stated"]
    return contacts.assign(
        cost=contacts["cost"] + unstated * mean.fillna(0.0), unknown=unstated.where(mean.isna(), 0).astype(np.int64)
    )


def _mean(customers: Ints, contacts: pd.DataFrame, size: int) -> _Mean:
    quarters = np.bincount(customers, minlength=size).astype(float)
    cost = np.bincount(contacts["customer"], weights=contacts["cost"], minlength=size)
    total, people = float(quarters.sum()), int((quarters > 0).sum())
    touches = int(contacts["touches"].sum())
    estimate = float(cost.sum()) / max(total, 1.0)
    contribution = (cost - estimate * quarters) / max(total, 1.0) * np.sqrt(people / max(people - 1, 1))
    row = {
        "customers": people,
        "touched": int(contacts["customer"].nunique()),
        "customer_quarters": int(total),
        "touches": touches / max(total, 1.0),
        "share_without_cost": float((contacts["touches"] - contacts["stated"]).sum()) / max(touches, 1),
    }
    return _Mean(row | _interval(estimate, contribution), contribution)


def _difference(low: _Mean, high: _Mean) -> dict[str, float]:
    row = {name: low.row[name] - high.row[name] for name in ("touches",)}
    estimate = low.row["estimate"] - high.row["estimate"]
    return row | _interval(estimate, low.contribution - high.contribution)


def _interval(estimate: float, contribution: Floats) -> dict[str, float]:
    error = float(np.sqrt((contribution**2).sum()))
    reach = NORMAL_975 * error
    return {"estimate": estimate, "std_error": error, "conf_low": estimate - reach, "conf_high": estimate + reach}


def _hidden(table: pd.DataFrame, difference: str, ends: tuple[str, str]) -> pd.DataFrame:
    """Figures of small cells taken out, and of as many more as would give them away."""
    cells = table["band"] != difference
    counted = table["touched"].where(table["kind"] != ALL, table["customers"])
    small = hidden_cells(counted[cells], table.loc[cells, ["kind", "band"]], floor=FEWEST_CUSTOMERS)
    lost = set(zip(table["kind"][cells][small], table["band"][cells][small], strict=True))
    small = pd.Series(
        [
            any((kind, one) in lost for one in (ends if band == difference else (band,)))
            for kind, band in zip(table["kind"], table["band"], strict=True)
        ],
        index=table.index,
    )
    hidden = [*FIGURES, "share_without_cost"]
    shown = table.astype(dict.fromkeys(hidden, float))
    shown.loc[small, hidden] = np.nan
    return shown.assign(
        suppressed=small,
        customers=shown["customers"].astype("Int64"),
        customer_quarters=shown["customer_quarters"].astype("Int64"),
    )
