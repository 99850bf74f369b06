"""Companies with several brands: who buys where, and what each brand is worth to the group when nobody is counted twice.

The value of a brand is the margin that customers leave *at that brand*; so brands sum to the group, and of each brand it is shown
how much comes from customers who buy nowhere else and how much from customers shared with others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.tables import Tables

Frame = nw.LazyFrame[Any]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
CountedBy = Literal["customer", "account"]

FEWEST_CUSTOMERS = 30
MOST_BRANDS = 20
DAYS_OF_GRACE = 7
TINY = 1e-7  # what is 0 but for rounding
NORMAL_975 = float(special.ndtri(0.975))
GROUP, NOT_STATED = "all brands", "not stated"
PARTS = ("all", "only here", "shared")
FORWARD = ("value_low", "value_median", "value_high")


@dataclass(frozen=True)
class BrandValues:
    """Customers and margin by brand, with the part that brands share.

    Attributes
    ----------
    parts : DataFrame
        A row per brand and part (``all``, ``only here``, ``shared``) and the same for the group (``all brands``): ``brand, part,
        customers`` (in the group everybody once), ``margin`` (observed total of the period, currency), ``margin_per_customer`` and
        ``share_of_group`` (of margin; empty where that is not positive), each with ``…_conf_low, …_conf_high`` (over customers),
        ``value_low, value_median, value_high`` (forward value of all of them, currency, where draws were given), ``currency``,
        ``suppressed``.
    overlap : DataFrame
        A row per ordered pair of brands: ``brand, other, customers`` (of both; on the diagonal of the brand),
        ``share_of_customers`` (of the brand's), ``margin`` (at ``brand``, of those customers), ``share_of_margin``, ``suppressed``.
    since, until : date
        First and last day of the period.
    counted_by : str
        ``customer`` or ``account``: what is one customer.
    """

    parts: pd.DataFrame
    overlap: pd.DataFrame
    since: dt.date
    until: dt.date
    counted_by: CountedBy
    currency: str

    def __repr__(self) -> str:
        return repr(self.parts)

    def tidy(self) -> pd.DataFrame:
        """A row per brand and part, the group last."""
        return self.parts.copy()

    def matrix(self, figure: Literal["customers", "share_of_customers", "margin", "share_of_margin"]) -> pd.DataFrame:
        """One figure of the overlap as a square table, brand by brand; suppressed cells are empty."""
        names = self.overlap["brand"].unique()
        return self.overlap.pivot_table(index="brand", columns="other", values=figure, dropna=False).loc[names, names]

    def glance(self) -> pd.DataFrame:
        """One row: brands, customers counted once, the sum of the brands' customers, share of margin from shared customers."""
        group = self.parts[self.parts["brand"] == GROUP].set_index("part")
        own = self.parts[(self.parts["brand"] != GROUP) & (self.parts["part"] == "all")]
        return pd.DataFrame(
            {
                "brands": [len(own)],
                "since": [self.since],
                "until": [self.until],
                "counted_by": [self.counted_by],
                "customers": [group.loc["all", "customers"]],
                "customers_summed_over_brands": [own["customers"].sum(skipna=False)],
                "margin": [group.loc["all", "margin"]],
                "shared_share_of_margin": [group.loc["shared", "share_of_group"]],
                "currency": [self.currency],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Whether brands are stated, whether the same person can be recognised across them, what is suppressed."""
        unnamed = self.parts[(self.parts["brand"] == NOT_STATED) & (self.parts["part"] == "all")]
        share = float(unnamed["share_of_group"].iloc[0]) if len(unnamed) else 0.0
        stated = "pass" if share <= 0.02 else "fail" if share > 0.2 else "warn"
        group = self.parts[(self.parts["brand"] == GROUP) & (self.parts["part"] == "shared")].iloc[0]
        nobody = group["customers"] == 0
        hidden = int(self.parts["suppressed"].sum() + self.overlap["suppressed"].sum())
        rows = [
            (
                "brand stated",
                stated,
                share,
                "share of the margin whose brand is not stated; it stands as a row of its own",
            ),
            (
                "customers recognised across brands",
                "warn" if nobody else "pass",
                float(group["customers"]),
                "nobody buys at two brands: if each brand gives its own customer_id, give account_id and counted_by='account'"
                if nobody
                else "customers who buy at two brands or more, counted once in the group",
            ),
            (
                "cells suppressed",
                "warn" if hidden else "pass",
                float(hidden),
                f"cells under {FEWEST_CUSTOMERS} customers, and as many more as would tell them",
            ),
        ]
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def brand_values(
    tables: Tables,
    *,
    months: int,
    counted_by: CountedBy = "customer",
    forward: Mapping[str, ArrayLike] | pd.DataFrame | None = None,
) -> BrandValues | str:
    """Value customers and margin by brand so that brands sum to the group.

    Parameters
    ----------
    tables : Tables
        With ``transactions.brand`` (each purchase counts at its brand), else ``customers.brand``; where a transaction names none, the
        customer's.
    months : int
        Length of the period, back from the last day of the data.
    counted_by : {"customer", "account"}
        One customer is a ``customer_id``, or an ``account_id`` where brands give the same person several ids.
    forward : mapping or DataFrame, optional
        For each brand draws of the value of one customer of the brand, *at that brand only*; all of one length, and drawn together
        (draw k of every brand belongs to the same draw of the model). Its shared part follows the observed margin.

    Returns
    -------
    BrandValues or str
        The reason in words where the data name no brand.

    Raises
    ------
    InputError
        If a number is out of range, accounts are asked for and not there, or ``forward`` lacks a brand or differs in length.

    Notes
    -----
    A customer is of a brand with any transaction there in the period. Cells of 1 to 29 customers are suppressed, and further ones
    until none of those follows from what is shown by adding and subtracting (linear dependence, Fellegi 1972, JASA 67:7).
    """
    check_months(months)
    if tables.transactions is None:
        return "brands are valued by the margin of transactions; this data set has none"
    if tables.data_end is None:
        return "brands are valued over a dated period; the transactions have no dates"
    at_brand = _customer_brands(tables, months, counted_by)
    if isinstance(at_brand, str):
        return at_brand
    at_brand = tables.materialise(at_brand)
    named = at_brand.select("brand").unique().collect()["brand"].to_list()
    brands = sorted(named, key=lambda name: (name == NOT_STATED, name))
    if len(brands) > MOST_BRANDS:
        return f"{len(brands)} brands are in the data; at most {MOST_BRANDS} can be shown. Name the brand, not the product."
    draws = None if forward is None else _checked_forward(forward, brands)
    cells = _patterns(tables, at_brand, brands)
    customers = int(cells.groupby("pattern")["customers"].first().sum())
    if customers < FEWEST_CUSTOMERS:
        return f"{customers} customers bought in the period; at least {FEWEST_CUSTOMERS} are needed"
    return _arranged(tables, cells, brands, _period(tables, months), counted_by, draws)


def hidden_sums(
    customers: ArrayLike,
    sums: ArrayLike,
    *,
    floor: int = FEWEST_CUSTOMERS,
    hidden: Flags | None = None,
    keep: ArrayLike | None = None,
) -> Flags:
    """Which sums over disjoint groups of customers must not be shown, shape (sums,).

    Small sums (1 to ``floor`` − 1 customers), and as many more as it takes that no small sum or group is a linear combination of
    the shown ones. Of the sums that would tell one, the one with the fewest customers (or the smallest ``keep``) goes.

    Parameters
    ----------
    customers : array, shape (groups,)
        Customers of each group; the groups are disjoint.
    sums : array, shape (sums, groups)
        How often each sum counts each group.
    hidden : array, shape (sums,), optional
        Sums that are not shown already.
    keep : array, shape (sums,), optional
        How much each sum is wanted, in place of its number of customers.

    Examples
    --------
    Two brands share 5 customers: both brands less anybody would tell them, so the smaller brand goes too.

    >>> only_a, only_b, both = 400, 300, 5
    >>> a, b, shared, anybody = [1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1]
    >>> hidden_sums([only_a, only_b, both], [a, b, shared, anybody], floor=30).tolist()
    [False, True, True, False]
    """
    sizes = np.asarray(customers, dtype=np.float64)
    matrix = np.asarray(sums, dtype=np.float64)[:, sizes > 0]
    sizes = sizes[sizes > 0]
    counts = matrix @ sizes
    wanted = counts if keep is None else np.asarray(keep, dtype=np.float64)
    groups = np.eye(len(sizes))[sizes < floor]
    small = (counts > 0) & (counts < floor)
    given = small if hidden is None else small | hidden
    secret = np.unique(np.vstack([matrix[small], groups]), axis=0)
    gone = given.copy()
    while len(telling := _telling(matrix, ~gone & (counts > 0), secret)):
        gone[telling[np.argmin(wanted[telling])]] = True
    spare = np.flatnonzero(gone & ~given)
    for one in spare[np.argsort(-wanted[spare], kind="stable")]:  # what turned out not to be needed comes back
        gone[one] = False
        gone[one] = len(_telling(matrix, ~gone & (counts > 0), secret)) > 0
    return gone


def _telling(matrix: Floats, shown: Flags, secret: Floats) -> NDArray[np.intp]:
    """Shown sums of which one of the secret ones is a linear combination; empty where none is."""
    places = np.flatnonzero(shown)
    if not len(places) or not len(secret):
        return places[:0]
    # An orthonormal basis of what the shown sums span, from their (few) products; the groups may be many.
    squares, vectors = np.linalg.eigh(matrix[places] @ matrix[places].T)
    kept = squares > TINY * squares[-1]
    basis = (vectors[:, kept] / np.sqrt(squares[kept])).T @ matrix[places]
    left = (secret**2).sum(axis=1) - ((secret @ basis.T) ** 2).sum(axis=1)
    told = np.flatnonzero(left < TINY * np.maximum((secret**2).sum(axis=1), 1.0))
    if not len(told):
        return places[:0]
    weights = (vectors[:, kept] / squares[kept]) @ vectors[:, kept].T @ matrix[places] @ secret[told[0]]
    return np.asarray(places[np.abs(weights) > TINY])


def _customer_brands(tables: Tables, months: int, counted_by: CountedBy) -> Frame | str:
    """Margin of each customer at each brand in the period: ``customer_id, brand, margin``."""
    assert tables.transactions is not None
    customers, transactions = tables.customers, tables.transactions
    columns = customers.collect_schema().names()
    by_transaction, by_customer = "brand" in transactions.collect_schema().names(), "brand" in columns
    if not by_transaction and not by_customer:
        return "neither transactions nor customers name a brand"
    if counted_by == "account" and "account_id" not in columns:
        raise InputError(
            "customers must have account_id to be counted by account; they have not. Use counted_by='customer'."
        )
    if counted_by not in ("customer", "account"):
        raise InputError(f"counted_by must be 'customer' or 'account'; got {counted_by!r}")
    since, until = _period(tables, months)
    begins = tables.transactions.select(nw.col("occurred_at").min()).collect()["occurred_at"][0]
    if (begins.date() - since).days > DAYS_OF_GRACE:
        return f"the transactions begin on {begins.date()}; {months} months before {until} would begin on {since}"
    wanted = ["customer_id", *(["brand"] if by_customer else []), *(["account_id"] if counted_by == "account" else [])]
    own = customers.select(*wanted)
    if by_customer:
        own = own.rename({"brand": "brand_of_customer"})
    within = (nw.col("occurred_at") >= _midnight(since)) & (
        nw.col("occurred_at") < _midnight(until + dt.timedelta(days=1))
    )
    bought = transactions.filter(within).select("customer_id", "margin", *(["brand"] if by_transaction else []))
    joined = bought.join(own, on="customer_id", how="left")
    named = [nw.col(name) for name, there in (("brand", by_transaction), ("brand_of_customer", by_customer)) if there]
    joined = joined.with_columns(brand=nw.coalesce(*named, nw.lit(NOT_STATED)), margin=nw.col("margin").fill_null(0.0))
    if counted_by == "account":
        # An account and a customer without one must not share a name.
        account = nw.concat_str(nw.lit("account "), nw.col("account_id").cast(nw.String))
        alone = nw.concat_str(nw.lit("customer "), nw.col("customer_id").cast(nw.String))
        joined = joined.with_columns(customer_id=nw.when(nw.col("account_id").is_null()).then(alone).otherwise(account))
    return joined.group_by("customer_id", "brand").agg(nw.col("margin").sum())


def check_months(months: int) -> None:
    """Refuse a length of a period that is no whole number of months from 1 to 240."""
    if not isinstance(months, int) or isinstance(months, bool) or not 1 <= months <= 240:
        raise InputError(f"months must be a whole number from 1 to 240; got {months!r}, for example 12")


def _period(tables: Tables, months: int) -> tuple[dt.date, dt.date]:
    assert tables.data_end is not None
    until = tables.data_end
    return (pd.Timestamp(until + dt.timedelta(days=1)) - pd.DateOffset(months=months)).date(), until


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time())


def _patterns(tables: Tables, at_brand: Frame, brands: list[str]) -> pd.DataFrame:
    """One row per set of brands and brand of it: ``pattern`` (sum of 2^position), ``brand, customers`` and sums over customers.

    ``margin`` and ``square`` are of the margin at the brand, ``product`` of it times the customer's margin at all brands, ``total``
    and ``total_square`` of the latter.
    """
    bits = pd.DataFrame({"brand": brands, "bit": 2 ** np.arange(len(brands), dtype=np.int64)})
    coded = at_brand.join(tables.frame(bits), on="brand", how="inner")
    whole = coded.group_by("customer_id").agg(
        nw.col("bit").sum().alias("pattern"), nw.col("margin").sum().alias("total")
    )
    rows = coded.select("customer_id", "brand", "margin").join(whole, on="customer_id", how="inner")
    sums = rows.with_columns(
        square=nw.col("margin") * nw.col("margin"),
        product=nw.col("margin") * nw.col("total"),
        total_square=nw.col("total") * nw.col("total"),
    )
    names = ("margin", "square", "product", "total", "total_square")
    cells = sums.group_by("pattern", "brand").agg(nw.len().alias("customers"), *(nw.col(name).sum() for name in names))
    fetched: pd.DataFrame = cells.collect("pandas").to_native()
    return fetched.sort_values(["pattern", "brand"], ignore_index=True).astype(
        {"pattern": np.int64, "customers": np.int64}
    )


def _checked_forward(forward: Mapping[str, ArrayLike] | pd.DataFrame, brands: list[str]) -> dict[str, Floats]:
    """Draws by brand as arrays of one length."""
    missing = [brand for brand in brands if brand not in forward]
    if missing:
        raise InputError(f"forward must have draws of every brand; it has none of {', '.join(missing)}")
    draws = {brand: np.asarray(forward[brand], dtype=np.float64) for brand in brands}
    lengths = sorted({values.size if values.ndim == 1 else -1 for values in draws.values()})
    if len(lengths) > 1 or lengths[0] < 100 or not all(np.isfinite(values).all() for values in draws.values()):
        raise InputError(
            f"forward must hold at least 100 finite draws for every brand, as many for each; lengths: {lengths}"
        )
    return draws


def _parts(cells: pd.DataFrame, brands: list[str]) -> tuple[pd.DataFrame, Floats, Floats]:
    """Sums of every brand and part, with the groups of customers and the groups at a brand that each of them counts.

    Gives a row per brand and part, an array (rows, patterns) and an array (rows, cells).
    """
    patterns = np.sort(cells["pattern"].unique())
    single = np.isin(cells["pattern"], 2 ** np.arange(len(brands)))
    first = ~cells["pattern"].duplicated().to_numpy()
    part = {"all": np.ones(len(cells), dtype=bool), "only here": single, "shared": ~single}
    rows, of_patterns, of_cells = [], [], []
    for brand in [*brands, GROUP]:
        for name in PARTS:
            inside = part[name] & ((cells["brand"] == brand).to_numpy() | (brand == GROUP))
            once = inside & first if brand == GROUP else inside
            own = cells[once]
            names = ("total", "total_square", "total_square") if brand == GROUP else ("margin", "square", "product")
            rows.append((brand, name, own["customers"].sum(), *(own[column].sum() for column in names)))
            of_patterns.append(np.isin(patterns, own["pattern"]))
            of_cells.append(inside)
    table = pd.DataFrame(rows, columns=["brand", "part", "customers", "margin", "square", "product"])
    return table, np.array(of_patterns, dtype=np.float64), np.array(of_cells, dtype=np.float64)


def _overlaps(cells: pd.DataFrame, brands: list[str]) -> tuple[pd.DataFrame, Floats, Floats]:
    """Customers and margin at each brand of those who buy at another one too; arrays as in ``_parts``."""
    patterns = np.sort(cells["pattern"].unique())
    rows, of_patterns, of_cells = [], [], []
    for brand in brands:
        here = (cells["brand"] == brand).to_numpy()
        for position, other in enumerate(brands):
            inside = here & ((cells["pattern"].to_numpy() >> position) & 1 == 1)
            rows.append((brand, other, cells.loc[inside, "customers"].sum(), cells.loc[inside, "margin"].sum()))
            of_patterns.append(np.isin(patterns, cells.loc[inside, "pattern"]))
            of_cells.append(inside)
    table = pd.DataFrame(rows, columns=["brand", "other", "customers", "margin"])
    return table, np.array(of_patterns, dtype=np.float64), np.array(of_cells, dtype=np.float64)


def _with_intervals(parts: pd.DataFrame) -> pd.DataFrame:
    """Margin per customer and share of the group's margin, with 95 % limits over customers (the share as a ratio of sums)."""
    n, margin = parts["customers"].astype(float), parts["margin"]
    whole = parts[(parts["brand"] == GROUP) & (parts["part"] == "all")].iloc[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = margin / n.where(n > 0)
        error = np.sqrt((parts["square"] - n * mean**2).clip(lower=0) / (n - 1).where(n > 1) / n)
        share = margin / (whole["margin"] if whole["margin"] > 0 else np.nan)
        spread = parts["square"] - 2 * share * parts["product"] + share**2 * whole["square"]
    every = float(whole["customers"])
    share_error = np.sqrt(spread.clip(lower=0) * every / (every - 1)) / abs(whole["margin"])
    return parts.assign(
        margin_per_customer=mean,
        margin_per_customer_conf_low=mean - NORMAL_975 * error,
        margin_per_customer_conf_high=mean + NORMAL_975 * error,
        share_of_group=share,
        share_of_group_conf_low=share - NORMAL_975 * share_error,
        share_of_group_conf_high=share + NORMAL_975 * share_error,
    ).drop(columns=["square", "product"])


def _forward_values(parts: pd.DataFrame, forward: dict[str, Floats] | None) -> pd.DataFrame:
    """Low, median and high of the forward value of every brand and part, shape (rows, 3); the group is the sum in every draw."""
    found: dict[tuple[str, str], Floats] = {}
    keys = list(zip(parts["brand"], parts["part"], strict=True))
    customers = dict(zip(keys, parts["customers"].to_numpy(dtype=np.float64), strict=True))
    margin = dict(zip(keys, parts["margin"].to_numpy(dtype=np.float64), strict=True))
    for brand, draws in ({} if forward is None else forward).items():
        whole = margin[brand, "all"]
        for name in PARTS:
            share = 1.0 if name == "all" else margin[brand, name] / whole if whole > 0 else np.nan
            found[brand, name] = draws * customers[brand, "all"] * share
    for name in PARTS if found else ():
        found[GROUP, name] = np.sum([found[brand, name] for brand in forward or {}], axis=0)
    limits = [np.quantile(found[key], [0.05, 0.5, 0.95]) if key in found else np.full(3, np.nan) for key in keys]
    return pd.DataFrame(np.array(limits), columns=list(FORWARD), index=parts.index)


def _arranged(
    tables: Tables,
    cells: pd.DataFrame,
    brands: list[str],
    period: tuple[dt.date, dt.date],
    counted_by: CountedBy,
    forward: dict[str, Floats] | None,
) -> BrandValues:
    """The tidy frames, with small cells and those that would tell them emptied."""
    parts, parts_patterns, parts_cells = _parts(cells, brands)
    overlap, overlap_patterns, overlap_cells = _overlaps(cells, brands)
    of_pattern = cells.groupby("pattern", sort=True)["customers"].first().to_numpy()
    hidden = hidden_sums(of_pattern, np.vstack([parts_patterns, overlap_patterns]))
    hidden = hidden_sums(cells["customers"], np.vstack([parts_cells, overlap_cells]), hidden=hidden)
    of_parts, of_overlap = hidden[: len(parts)], hidden[len(parts) :]
    currency = tables.config.currency or ""
    shown = _with_intervals(parts).join(_forward_values(parts, forward))
    figures = [column for column in shown.columns if column not in ("brand", "part")]
    shown[figures] = shown[figures].astype(float)
    shown.loc[of_parts, figures] = np.nan
    own = overlap["brand"].map(parts[parts["part"] == "all"].set_index("brand")["customers"])
    at_brand = overlap["brand"].map(parts[parts["part"] == "all"].set_index("brand")["margin"])
    overlap = overlap.assign(
        share_of_customers=overlap["customers"] / own, share_of_margin=overlap["margin"] / at_brand
    )
    figures = ["customers", "share_of_customers", "margin", "share_of_margin"]
    overlap[figures] = overlap[figures].astype(float)
    overlap.loc[of_overlap, figures] = np.nan
    return BrandValues(
        parts=shown.assign(currency=currency, suppressed=of_parts),
        overlap=overlap[["brand", "other", *figures]].assign(suppressed=of_overlap),
        since=period[0],
        until=period[1],
        counted_by=counted_by,
        currency=currency,
    )
