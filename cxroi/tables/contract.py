"""The contract of the raw tables, as data: which tables, which columns, which types, which closed choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["id", "text", "date", "month", "number", "flag", "metric", "score", "choice", "category"]

TABLE_NAMES = (
    "customers",
    "surveys",
    "transactions",
    "outcomes",
    "touches",
    "referrals",
    "initiatives",
    "exposures",
    "costs",
)
METRICS = ("nps", "csat", "ces")
# The eight categories of cost, each with the names that an export may use for it.
COST_CATEGORIES: tuple[tuple[str, ...], ...] = (
    ("people", "people hired for cx"),
    ("training", "training and consulting on cx and customer-centric culture"),
    ("technology", "tools and technology for customer data"),
    ("co_creation", "initiatives in which customers co-create"),
    ("alignment", "internal alignment and communication"),
    ("touchpoints", "redesign of touchpoints"),
    ("incentives", "evaluation, recognition, incentives for cx effort"),
    ("culture", "other culture building"),
)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    ``family`` names the ids that must have one type across tables (``customer``, ``initiative``);
    ``personal`` values never appear in a sentence; ``planned`` dates may lie in the future.
    """

    name: str
    kind: Kind
    required: bool = False
    choices: tuple[str, ...] = ()
    family: str = ""
    planned: bool = False

    @property
    def personal(self) -> bool:
        """Whether a value could lead to a person."""
        return self.family == "customer" or self.name in {"account_id", "comment"}


@dataclass(frozen=True)
class Table:
    """One table: its columns, its own id and the rules whose rows can be left out or kept on request."""

    name: str
    columns: tuple[Column, ...]
    key: str = ""
    accepts: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def column(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}


def _customer(name: str = "customer_id") -> Column:
    return Column(name, "id", True, family="customer")


def _initiative() -> Column:
    return Column("initiative_id", "id", True, family="initiative")


_DROP = ("drop",)
_EITHER = ("drop", "keep")

CUSTOMERS = Table(
    "customers",
    (
        _customer(),
        Column("joined_on", "date", True),
        Column("left_on", "date"),
        Column("account_id", "id"),
        Column("brand", "text"),
        Column("acquisition_channel", "text"),
        Column("acquisition_cost", "number"),
        Column("consent", "flag"),
    ),
    key="customer_id",
)
SURVEYS = Table(
    "surveys",
    (
        Column("response_id", "id", True),
        _customer(),
        Column("metric", "metric", True, METRICS),
        Column("score", "score", True),
        Column("answered_at", "date", True),
        Column("invited_at", "date"),
        Column("touchpoint", "text"),
        Column("channel", "text"),
        Column("comment", "text"),
    ),
    key="response_id",
    accepts=(
        ("empty_cell", _DROP),
        ("not_a_number", _DROP),
        ("out_of_scale", _DROP),
        ("unknown_customer", _DROP),
        ("repeated_rows", _EITHER),
        ("before_joining", _EITHER),
        ("after_leaving", _EITHER),
    ),
)
TRANSACTIONS = Table(
    "transactions",
    (
        Column("transaction_id", "id", True),
        _customer(),
        Column("occurred_at", "date", True),
        Column("amount", "number", True),
        Column("margin", "number"),
        Column("channel", "text"),
        Column("brand", "text"),
        Column("discount", "number"),
    ),
    key="transaction_id",
    accepts=(("empty_cell", _DROP), ("unknown_customer", _DROP), ("repeated_rows", _EITHER)),
)
OUTCOMES = Table(
    "outcomes",
    (
        _customer(),
        Column("period_start", "date", True),
        Column("period_end", "date", True),
        Column("retained", "flag"),
        Column("orders", "number"),
        Column("revenue", "number"),
        Column("margin", "number"),
        Column("referrals", "number"),
        Column("service_cost", "number"),
    ),
    accepts=(("unknown_customer", _DROP),),
)
TOUCHES = Table(
    "touches",
    (
        _customer(),
        Column("occurred_at", "date", True),
        Column("touchpoint", "text", True),
        Column("channel", "text"),
        Column("cost", "number"),
        Column("initiated_by", "choice", choices=("brand", "customer")),
        Column("failed", "flag"),
    ),
    accepts=(("empty_cell", _DROP), ("unknown_customer", _DROP), ("repeated_rows", _EITHER)),
)
REFERRALS = Table(
    "referrals",
    (
        _customer("referrer_id"),
        _customer("referred_id"),
        Column("occurred_at", "date", True),
        Column("incentivised", "flag"),
    ),
    accepts=(("empty_cell", _DROP), ("unknown_customer", _DROP)),
)
INITIATIVES = Table(
    "initiatives",
    (
        _initiative(),
        Column("name", "text", True),
        Column("intent", "text", True),
        Column("touchpoint", "text", True),
        Column("owner", "text"),
        Column("discipline", "text"),
        Column("starts_on", "date", True, planned=True),
        Column("ends_on", "date", planned=True),
    ),
    key="initiative_id",
)
EXPOSURES = Table(
    "exposures",
    (
        _initiative(),
        _customer(),
        Column("exposed_on", "date", True, planned=True),
        Column("arm", "choice", choices=("treated", "control")),
    ),
    accepts=(("unknown_customer", _DROP),),
)
COSTS = Table(
    "costs",
    (
        _initiative(),
        Column("category", "category", True, tuple(names[0] for names in COST_CATEGORIES)),
        Column("month", "month", True, planned=True),
        Column("amount", "number", True),
        Column("kind", "choice", choices=("one_off", "recurring")),
        Column("beneficiary", "text"),
    ),
)

TABLES = {
    table.name: table
    for table in (
        CUSTOMERS,
        SURVEYS,
        TRANSACTIONS,
        OUTCOMES,
        TOUCHES,
        REFERRALS,
        INITIATIVES,
        EXPOSURES,
        COSTS,
    )
}
# The columns through which each table must find its customer.
CUSTOMER_COLUMNS = {
    name: tuple(column.name for column in table.columns if column.family == "customer")
    for name, table in TABLES.items()
    if name != "customers"
}
