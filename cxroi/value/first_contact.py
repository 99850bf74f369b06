"""First contact resolution: how many contacts are the last one that a customer needs, by touchpoint, period and arm of a pilot.

A contact is resolved if it is not marked as failed and the same customer does not come back to the same touchpoint within a
few days. Contacts so late that those days are not over are not counted: what follows them is not known yet.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from cxroi import periods
from cxroi.panel import period_of
from cxroi.scores import csat_interval, hidden_cells
from cxroi.tables import Tables
from cxroi.value.service import fetched

Frame = nw.LazyFrame[Any]

WITHIN_DAYS = 7
MOST_CUSTOMERS = 50_000  # looked at; of more, a systematic sample
FEWEST_CUSTOMERS = 5
SHARES = ("failed", "resolved")
COLUMNS = (
    *("touchpoint", "period", "arm", "contacts", "customers"),
    *(f"{share}{end}" for share in SHARES for end in ("", "_conf_low", "_conf_high")),
    "suppressed",
)
NO_TOUCHES = "the data have no touches table"
NO_FAILED = "the touches do not say which of them failed"
TOO_FRESH = "no contact is old enough to know what followed it"


@dataclass(frozen=True, eq=False)
class FirstContacts:
    """Contacts that customers began, failed and resolved ones, with 95 % intervals that allow for repeated customers.

    Attributes
    ----------
    table : DataFrame
        A row per touchpoint and period (a quarter's label) and, from the first exposure on, per touchpoint and arm of an
        initiative with both arms there (``arm`` ``treated`` or ``control``, ``period`` its id; elsewhere ``arm`` is empty):
        ``touchpoint, period, arm, contacts, customers, failed, failed_conf_low, failed_conf_high, resolved, resolved_conf_low,
        resolved_conf_high`` (shares of the contacts of which it is known), ``suppressed`` (fewer than 5 customers, or a cell that would
        give such a one away).
    within_days : int
        Days in which a customer must not come back.
    only_customers : bool
        Whether only contacts begun by customers count; otherwise the data do not say who began them.
    every : int
        One in how many customers was looked at.
    """

    table: pd.DataFrame
    within_days: int
    only_customers: bool
    every: int

    def __repr__(self) -> str:
        return repr(self.table)

    def tidy(self) -> pd.DataFrame:
        """One row per touchpoint and period or arm."""
        return self.table

    def glance(self) -> pd.DataFrame:
        """One row: contacts counted, touchpoints, days without a return, one in how many customers was looked at."""
        own = self.table[self.table["arm"] == ""]
        return pd.DataFrame(
            {
                "contacts": [int(own["contacts"].sum())],
                "touchpoints": [int(own["touchpoint"].nunique())],
                "within_days": [self.within_days],
                "one_in_every": [self.every],
            }
        )


def first_contacts(
    tables: Tables, *, until: dt.date | None = None, within_days: int = WITHIN_DAYS
) -> FirstContacts | str:
    """Failed and resolved contacts by touchpoint and quarter, and by arm of each initiative with two arms.

    Parameters
    ----------
    tables : Tables
    until : date, optional
        Last day that is looked at; by default the end of the data.
    within_days : int
        Days within which a return to the same touchpoint means that the contact did not resolve it.

    Returns
    -------
    FirstContacts or str
        The reason in words where contacts, or whether they failed, are not recorded.

    Notes
    -----
    A contact without a statement whether it failed counts in no share. Source of the definition: a contact is resolved where
    the customer need not come back with it (ISO 18295-1:2017, first contact resolution).
    """
    if tables.touches is None:
        return NO_TOUCHES
    names = tables.touches.collect_schema().names()
    if "failed" not in names:
        return NO_FAILED
    end = until or tables.data_end
    assert end is not None
    last = dt.datetime.combine(end, dt.time()) + dt.timedelta(days=1)
    by_customers = "initiated_by" in names
    own = tables.touches.filter(nw.col("occurred_at") < last)
    if by_customers:
        own = own.filter(nw.col("initiated_by") == "customer")
    people = tables.customers.select("customer_id").with_row_index("position", order_by="customer_id")
    every = -(-int(people.select(nw.len()).collect()["len"][0]) // MOST_CUSTOMERS)
    if every > 1:
        sampled = people.filter(nw.col("position").cast(nw.Int64) % every == 0).select("customer_id")
        own = own.join(sampled, on="customer_id", how="inner")
    rows = fetched(
        own.select(
            "customer_id", "occurred_at", "touchpoint", period_of("occurred_at", "quarter").alias("period"), "failed"
        )
    )
    rows = _with_arms(rows, tables)
    rows = rows.sort_values(["customer_id", "touchpoint", "occurred_at"], kind="stable", ignore_index=True)
    following = rows.groupby(["customer_id", "touchpoint"], sort=False)["occurred_at"].shift(-1)
    again = (following - rows["occurred_at"]) <= pd.Timedelta(days=within_days)
    old = rows["occurred_at"] < last - pd.Timedelta(days=within_days)
    known = rows["failed"].notna() & old
    if not known.any():
        return TOO_FRESH
    failed = rows["failed"].fillna(False).astype(bool)
    rows = rows.assign(failed=failed.astype(float), resolved=(~failed & ~again).astype(float))[known]
    parts = [_shares(rows.assign(period=[periods.label(int(each)) for each in rows["period"]], arm=""))]
    for initiative, column in ((each, f"arm {each}") for each in _initiatives(tables)):
        exposed = rows[rows[column].notna()]
        parts.append(_shares(exposed.assign(period=initiative, arm=exposed[column])))
    table = pd.concat(parts, ignore_index=True)
    return FirstContacts(table[list(COLUMNS)], within_days, by_customers, every)


def _initiatives(tables: Tables) -> list[str]:
    """Ids as text of initiatives whose exposures have both arms."""
    if tables.exposures is None or "arm" not in tables.exposures.collect_schema().names():
        return []
    found = fetched(tables.exposures.filter(~nw.col("arm").is_null()).select("initiative_id", "arm").unique())
    arms = found.astype(str).groupby("initiative_id")["arm"].nunique()
    return sorted(str(each) for each in arms.index[arms == 2])


def _with_arms(rows: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """The arm of each initiative at the time of the contact; none before the customer's exposure."""
    for initiative in _initiatives(tables):
        assert tables.exposures is not None
        exposed = fetched(tables.exposures.select("customer_id", "initiative_id", "exposed_on", "arm"))
        exposed = exposed[exposed["initiative_id"].astype(str) == initiative].drop_duplicates("customer_id")
        joined = rows[["customer_id", "occurred_at"]].merge(exposed, on="customer_id", how="left")
        since = joined["occurred_at"] >= pd.to_datetime(joined["exposed_on"])
        rows = rows.assign(**{f"arm {initiative}": joined["arm"].where(since).to_numpy()})
    return rows


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    """Shares of each cell with intervals; small cells empty."""
    keys = ["touchpoint", "period", "arm"]
    if rows.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    grouped = rows.groupby(keys, sort=True)
    table = grouped.agg(contacts=("failed", "size"), customers=("customer_id", "nunique")).reset_index()
    for share in SHARES:
        own = rows.groupby([*keys, "customer_id"], sort=True)[share].agg(["sum", "size"]).reset_index()
        found = [_share(part["sum"].to_numpy(float), part["size"].to_numpy(float)) for _, part in own.groupby(keys)]
        table[[share, f"{share}_conf_low", f"{share}_conf_high"]] = found
    small = hidden_cells(table["customers"].astype(float), table[keys], floor=FEWEST_CUSTOMERS)
    figures = [name for name in COLUMNS if name not in (*keys, "suppressed")]
    table[figures] = table[figures].astype(float).where(~small)
    return table.assign(suppressed=small)


def _share(hits: np.ndarray[Any, Any], contacts: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Share with its interval from sums by customer, shape (customers,); the design effect is that of the clusters, at least 1."""
    total, groups = contacts.sum(), len(contacts)
    share = hits.sum() / total
    apart = hits - share * contacts
    variance = float(apart @ apart) * groups / max(groups - 1, 1) / total**2
    plain = share * (1 - share) / total
    found = csat_interval(hits.sum(), total, design_effect=max(variance / plain, 1.0) if plain > 0 else 1.0)
    return float(found.estimate), float(found.conf_low), float(found.conf_high)
