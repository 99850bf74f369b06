"""Kinds of loyalty: by habit and convenience, by price and reward, by attitude; and how each stands a shock.

*The rule.* Each customer has up to six indices, each from counts of its own and with the error that those counts leave: evenness of the
gaps between purchases, keeping to one channel; quarters in which most orders had a discount, rewarded referrals; top answers, unrewarded
referrals. They belong to three traits: habit, price, attitude. In each trait customers are of a low or a high group whose means, spread
and share are found by maximum likelihood; a customer's group is a probability. High in one trait only: behavioural, rational or
emotional loyalty; in several: mixed; in none: none. A trait without two groups that can be told apart names nobody.

*Source*: latent-class model, McLachlan & Peel (2000), Finite Mixture Models, with the known error of each observation as in Bovy, Hogg &
Roweis (2011), Annals of Applied Statistics 5:1657. Kinds of loyalty: Dick & Basu (1994), Journal of the Academy of Marketing Science 22:99.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from cxroi import periods
from cxroi.errors import InputError
from cxroi.linkage.fit import Fit, fit, independent_columns
from cxroi.panel import MONEY_DIGITS, Panel, first_referrals, period_of
from cxroi.scores import hidden_cells
from cxroi.tables import Tables
from cxroi.value.forgiveness import control_columns, design_columns, expected_satisfaction
from cxroi.value.forward import BANDS
from cxroi.value.service import ALL, CustomerQuarters, Frame, band_codes, customer_quarters, fetched

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

TYPES = ("behavioural", "rational", "emotional", "mixed", "none")
UNCLEAR = "unclear"
TRAITS = ("habit", "price", "attitude")
RHYTHM, CHANNEL, DISCOUNTS, REWARDED, ANSWERS, UNREWARDED = (
    *("even gaps", "same channel", "quarters on discount", "rewarded referrals", "top answers", "unrewarded referrals"),
)
TRAIT_OF = {
    RHYTHM: "habit",
    CHANNEL: "habit",
    DISCOUNTS: "price",
    REWARDED: "price",
    ANSWERS: "attitude",
    UNREWARDED: "attitude",
}
UNITS = {
    RHYTHM: "log of the gamma shape",
    CHANNEL: "share of orders",
    DISCOUNTS: "share of quarters with orders",
    ANSWERS: "share of quarters with an answer",
    REWARDED: "a quarter",
    UNREWARDED: "a quarter",
}
CLEAR = 0.8
FEWEST_CUSTOMERS = 100
FEWEST_GAPS, FEWEST_ORDERS = 4, 3
MINUTES_OF_A_DAY = 24 * 60
FEWEST_OF_A_KIND = 30  # customers, as the sum of their probabilities
FEWEST_TOLD = 5  # below, not even the number of customers is told
LEAST_VARIANCE, MOST_VARIANCE, LEAST_UNEVENNESS = 1e-4, 100.0, 1e-3
LARGEST_LOG = 12.0  # of one share over another
STARTS = (0.15, 0.35, 0.6)  # shares of the high group
MOST_STEPS, TOLERANCE = 500, 1e-8  # of the log-likelihood a customer: together well below one unit
LEAST_GAIN = 10.0  # of BIC by a second group: "very strong" in Kass & Raftery (1995), JASA 90:773
LEAST_CERTAINTY = 0.45  # share of the entropy of the groups that the indices take away; below 0.40 in simulated companies without kinds
LEAST_SHARE = 0.05
NORMAL_975 = float(special.ndtri(0.975))
AS_NOW = "as now"
CONTROL = "control "
SUM_DIGITS = 6  # of sums in the engine, so that the order of summation cannot show
PRICE_STEP = 0.10
MOST_PRICE_ERROR = 0.5  # standard error of the log-odds for a price 10 % higher, above which it says nothing
FEWEST_LEAVERS, FEWEST_QUARTERS = 20, 2
MOST_QUARTERS, QUARTERS_OF_A_YEAR = 80, 4
DRAWS, REPRESENTATIVES = 300, 300
QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class LoyaltyTypes:
    """Kinds of loyalty of the customers active at the end of a quarter.

    Attributes
    ----------
    types : DataFrame
        A row per kind: ``type, share, std_error, conf_low, conf_high`` (of all customers, from the model), ``clear`` (share of the
        customers who are of that kind with a probability of at least 0.8), ``customers`` (of them), ``suppressed`` (fewer than 5 of
        them, or what would give such a number away); the row ``unclear`` holds those of no such probability.
    indices : DataFrame
        A row per index: ``index, trait, customers`` (with enough counts), ``reliability`` (share of the variance that is not counting
        error), ``low, high`` (means of the two groups), ``spread`` (within a group), ``unit, used, reason``.
    profile : DataFrame
        What the kinds are like, weighted by probability: ``type, measure, estimate, std_error, conf_low, conf_high, unit, suppressed``
        (fewer than 30 customers).
    members : DataFrame
        ``customer`` (a code) and the probability of each kind.
    as_of : str
        Quarter at whose end customers are looked at; nothing later is used.
    """

    exposure: str
    as_of: str
    types: pd.DataFrame
    indices: pd.DataFrame
    profile: pd.DataFrame
    members: pd.DataFrame = field(repr=False)
    every: int = 1

    def __repr__(self) -> str:
        return repr(self.types)

    def tidy(self) -> pd.DataFrame:
        """One row per kind of loyalty; columns as in ``types``."""
        return self.types

    def glance(self) -> pd.DataFrame:
        """One row: customers, share unclear, mean probability of the likeliest kind, traits that tell groups apart."""
        chance = self.members[list(TYPES)].to_numpy()
        used = self.indices[self.indices["used"]]
        return pd.DataFrame(
            {
                "as_of": [self.as_of],
                "customers": [len(self.members)],
                "unclear": [float((chance.max(axis=1) < CLEAR).mean())],
                "mean_probability": [float(chance.max(axis=1).mean())],
                "traits": [", ".join(trait for trait in TRAITS if trait in set(used["trait"]))],
                "one_in_every": [self.every],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Which traits tell groups apart, and for how many customers: ``name, verdict, number, advice``."""
        rows: list[tuple[str, str, float, str]] = []
        for trait in TRAITS:
            own = self.indices[self.indices["trait"] == trait]
            used = bool(own["used"].any())
            reason = "; ".join(dict.fromkeys(text for text in own["reason"] if text)) or "no index of it is recorded"
            advice = "two groups are told apart" if used else f"names nobody: {reason}"
            reliable = own.loc[own["used"], "reliability"].max() if used else np.nan
            rows.append((f"groups by {trait}", "pass" if used else "warn", float(reliable), advice))
        unclear = float(self.glance()["unclear"].iloc[0])
        advice = f"share of customers of no kind with a probability of {CLEAR:.0%}"
        rows.append(("unclear customers", "pass" if unclear <= 0.5 else "warn", unclear, advice))
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def loyalty_types(tables: Tables, panel: Panel, exposure: str, *, as_of: str = "") -> LoyaltyTypes | str:
    """Kind of loyalty of each customer active at the end of a quarter, as probabilities; and the shares of the kinds.

    Parameters
    ----------
    tables : Tables
    panel : Panel
        Of these tables, by quarters.
    exposure : str
        ``nps``, ``csat`` or ``ces``: the attitude.
    as_of : str, optional
        Quarter, ``2026Q3``; by default the panel's last.

    Returns
    -------
    LoyaltyTypes or str
        The reason in words where customers, orders or answers are too few, or no trait tells groups apart.

    Raises
    ------
    InputError
        If the quarter is not one of the data's.

    Notes
    -----
    Even gaps: shape of a gamma distribution of the days between purchase days (1: as chance would have it; Chatfield & Goodhardt 1973,
    Journal of Marketing Research 10:1), from the log of their mean less the mean of their logs, which is distributed nearly as χ²
    (Bartlett 1937). Shares are beta-binomial within a group, rare referrals Poisson. A trait tells groups apart where two describe the
    customers better (BIC by 10), each holds at least 5 % of them, and the indices take away 45 % of the entropy of who belongs where.
    Tenure and forgiveness are left out of the rule: the first is the outcome of a shock,
    the second is not known of a single customer. Brands are shown in the profile only.
    """
    missing = _lacking(tables, panel, exposure)
    if missing:
        return missing
    looked = customer_quarters(tables, panel, exposure)
    found = _classified(tables, panel, exposure, looked, _last_quarter(panel, looked, as_of))
    return found if isinstance(found, str) else found.types(exposure, looked.every)


@dataclass(frozen=True)
class Shock:
    """A change that a stress test assumes from its first quarter on; all figures are the user's.

    Attributes
    ----------
    name : str
    price_rise : float, optional
        Share of the list price by which what customers pay rises, or the points by which their discount falls; how staying follows is
        estimated from the data's discounts.
    extra_leaving : mapping of str to (float, float), optional
        Instead: probability a quarter, low and high, by which more customers of each kind leave; every kind of ``TYPES`` must be stated.
    source : str
        Where ``extra_leaving`` is known from.

    Raises
    ------
    InputError
        If not exactly one of ``price_rise`` and ``extra_leaving`` is stated, a kind is missing, a number lies outside its range, or
        ``extra_leaving`` has no source.

    Examples
    --------
    >>> Shock("dearer by a tenth", price_rise=0.10).price_rise
    0.1
    """

    name: str
    price_rise: float | None = None
    extra_leaving: Mapping[str, tuple[float, float]] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if (self.price_rise is None) == (self.extra_leaving is None) or not self.name or self.name == AS_NOW:
            raise InputError(
                f"a shock must have a name other than {AS_NOW!r} and either price_rise or extra_leaving, e.g. "
                "Shock('dearer by a tenth', price_rise=0.10)"
            )
        if self.price_rise is not None and not 0 < abs(self.price_rise) < 1:
            raise InputError(
                f"price_rise must be a share between -1 and 1 and not 0; got {self.price_rise!r}, e.g. 0.10"
            )
        if self.extra_leaving is None:
            return
        if set(self.extra_leaving) != set(TYPES) or not self.source.strip():
            raise InputError(
                f"extra_leaving must state each of {', '.join(TYPES)}, and source where it is known from; got "
                f"{', '.join(self.extra_leaving) or 'none'} and {self.source!r}"
            )
        for kind, (low, high) in self.extra_leaving.items():
            if not 0 <= low <= high < 1:
                raise InputError(
                    f"extra_leaving must be probabilities with low at most high; {kind} is ({low}, {high}), e.g. (0.01, 0.03)"
                )


@dataclass(frozen=True)
class ShockSurvival:
    """Staying by kind of loyalty as now and under each shock, and how much of a score gain's retention survives it.

    Attributes
    ----------
    paths : DataFrame
        ``shock, type, quarter, estimate, low, median, high``: share of today's customers still there (5–95 % of the draws).
    benefit : DataFrame
        A row per shock and kind (and ``all``): ``shock, type, share`` (of the customers), ``estimate, low, median, high`` (quarters of
        staying that the gain adds per 100 customers over the horizon), ``surviving, surviving_low, surviving_high`` (as a share of those
        added without the shock; above 1 where more customers are about to leave, whom satisfaction can hold), ``suppressed`` (fewer than
        100 customers of the kind, fewer than 20 of them left, or under a price shock a relation to price that is not told).
    relations : DataFrame
        Log-odds of staying a quarter for a price 10 % higher: ``type, estimate, std_error, conf_low, conf_high, identified``.
    """

    exposure: str
    horizon_quarters: int
    score_gain: float
    paths: pd.DataFrame
    benefit: pd.DataFrame
    relations: pd.DataFrame
    landmark: str
    customers: int
    every: int

    def __repr__(self) -> str:
        return repr(self.benefit)

    def tidy(self) -> pd.DataFrame:
        """One row per shock and kind; columns as in ``benefit``."""
        return self.benefit

    def glance(self) -> pd.DataFrame:
        """One row: horizon, gain, quarter of classification, customers of the equation."""
        return pd.DataFrame(
            {
                "exposure": [self.exposure],
                "horizon_quarters": [self.horizon_quarters],
                "score_gain": [self.score_gain],
                "classified_as_of": [self.landmark],
                "customers": [self.customers],
                "one_in_every": [self.every],
            }
        )

    def checks(self) -> pd.DataFrame:
        """Whether discounts tell how staying follows price: ``name, verdict, number, advice``."""
        rows: list[tuple[str, str, float, str]] = []
        for one in self.relations.to_dict("records"):
            name = f"price and staying, {one['type']}"
            if not one["identified"]:
                advice = (
                    "discounts vary too little, or too few left, to tell; state extra_leaving with a source instead"
                )
                rows.append((name, "warn", float(one["std_error"]), advice))
                continue
            wrong = one["conf_low"] > 0
            advice = (
                "those who paid more stayed more: discounts seem to go to customers about to leave; state extra_leaving instead"
                if wrong
                else f"log-odds of staying for a price 10 % higher ({one['conf_low']:+.2f} to {one['conf_high']:+.2f}); an association, "
                "unless discounts were given by chance"
            )
            rows.append((name, "fail" if wrong else "pass", float(one["estimate"]), advice))
        return pd.DataFrame(rows, columns=["name", "verdict", "number", "advice"])


def shock_survival(
    tables: Tables,
    panel: Panel,
    exposure: str,
    *,
    shocks: Sequence[Shock],
    horizon_quarters: int,
    score_gain: float,
    seed: int,
) -> ShockSurvival | str:
    """Stress test of a retention benefit: staying by kind of loyalty as now and under shocks, with a score gain and without.

    Parameters
    ----------
    tables : Tables
    panel : Panel
        Of these tables, by quarters.
    exposure : str
        ``nps``, ``csat`` or ``ces``.
    shocks : sequence of Shock
        Sizes are the user's assumptions.
    horizon_quarters : int
        1 … 80.
    score_gain : float
        Points of the answer that every customer gains throughout.
    seed : int

    Returns
    -------
    ShockSurvival or str
        The reason in words where no kind of loyalty stands out, nobody can be seen to leave, or a price shock is asked for and the data
        do not tell how staying follows price.

    Raises
    ------
    InputError
        If there is no shock, two share a name, or a number is out of range.

    Notes
    -----
    Landmark analysis (van Houwelingen 2007, Scandinavian Journal of Statistics 34:70): the rule is found from today's customers and
    applied to what was known of customers half way through the data. Staying afterwards is regressed (logit, clustered by customer) on
    the probabilities of the kinds, expected satisfaction and its bend, tenure, orders before, controls and quarters, and the discount of
    the quarter within each kind. Today's customers are then run forward, expected satisfaction drifting as repeated answers say. Draws
    of the coefficients and of ``extra_leaving`` (uniform); the error of the classification is not among them. In ``all``, a kind whose
    own relation to price is not told counts with the mean of the others', weighted by precision.
    """
    _check_request(shocks, horizon_quarters, score_gain)
    missing = _lacking(tables, panel, exposure)
    if not missing and not panel.retention:
        missing = "nobody can be seen to leave: declare a retention rule in dataset.yaml"
    if missing:
        return missing
    looked = customer_quarters(tables, panel, exposure)
    first, last = int(looked.rows["period"].min()), panel.last_period
    landmark = first + (last - first) // 2
    if landmark == first or last - landmark < FEWEST_QUARTERS:
        return f"needs at least {2 * FEWEST_QUARTERS} quarters: half to classify customers, half to see who stays"
    now = _classified(tables, panel, exposure, looked, last)
    if isinstance(now, str):
        return now
    then = now.members(_behaviour(tables, panel, exposure, looked, landmark))
    people = _described(tables, panel, exposure, looked)
    equation = _staying(people, then, (landmark, last))
    if isinstance(equation, str):
        return equation
    relations = equation.relations()
    if any(shock.price_rise is not None for shock in shocks) and not relations["identified"].any():
        return (
            "the data do not tell how staying follows price: no discounts are recorded, or they vary too little; state extra_leaving "
            "with a source in place of price_rise"
        )
    members = now.members(now.behaviour)
    runs = _run_forward(equation, people, members, shocks, (last, horizon_quarters, score_gain, seed))
    return ShockSurvival(
        exposure=exposure,
        horizon_quarters=horizon_quarters,
        score_gain=score_gain,
        paths=runs.paths(),
        benefit=runs.benefit(),
        relations=relations,
        landmark=periods.label(landmark),
        customers=equation.customers,
        every=looked.every,
    )


def _lacking(tables: Tables, panel: Panel, exposure: str) -> str:
    if tables.transactions is None or tables.surveys is None:
        return "kinds of loyalty need transactions and surveys"
    if panel.period != "quarter":
        return "needs a panel by quarters"
    if exposure not in panel.metrics or panel.timing != "before":
        return f"the data have no dated answers to {exposure}"
    return ""


def _last_quarter(panel: Panel, looked: CustomerQuarters, as_of: str) -> int:
    first, last = int(looked.rows["period"].min()), panel.last_period
    if not as_of:
        return last
    wanted = periods.index(as_of)
    if not first <= wanted <= last:
        raise InputError(
            f"as_of must be a quarter of the data, {periods.label(first)} to {periods.label(last)}; got {as_of!r}"
        )
    return wanted


@dataclass(frozen=True)
class _Classified:
    """The rule as found from the customers active at the end of a quarter."""

    quarter: int
    behaviour: pd.DataFrame
    indices: list[_Index]
    model: _Model
    reasons: dict[str, str]

    def types(self, exposure: str, every: int) -> LoyaltyTypes:
        """Kinds of these customers."""
        chance, influence = _kinds(self.model)
        return LoyaltyTypes(
            exposure=exposure,
            as_of=periods.label(self.quarter),
            types=_shares(chance, influence),
            indices=_index_table(self.indices, self.model, self.reasons),
            profile=_profile(self.behaviour, chance),
            members=_members(self.behaviour, chance),
            every=every,
        )

    def members(self, behaviour: pd.DataFrame) -> pd.DataFrame:
        """Probabilities of the kinds by the same rule, of customers as they were at another time."""
        return _members(behaviour, _kinds(self.model.applied(_indices(behaviour)))[0])


def _classified(
    tables: Tables, panel: Panel, exposure: str, looked: CustomerQuarters, quarter: int
) -> _Classified | str:
    behaviour = _behaviour(tables, panel, exposure, looked, quarter)
    if len(behaviour) < FEWEST_CUSTOMERS:
        return f"{len(behaviour)} customers are active at the end of {periods.label(quarter)}; at least {FEWEST_CUSTOMERS} are needed"
    indices = [index for index in _indices(behaviour) if index.known.sum() >= FEWEST_CUSTOMERS]
    told: list[_Model] = []
    reasons = dict.fromkeys(TRAITS, "")
    for trait in TRAITS:
        own = [index for index in indices if TRAIT_OF[index.name] == trait]
        counted = any(not isinstance(index, _Count) for index in own)
        found = _groups(trait, own) if counted else "too few customers with enough counts"
        if isinstance(found, str):
            reasons[trait] = found
        else:
            told.append(found)
    if not told:
        return "no kind of loyalty stands out: " + "; ".join(f"{trait}: {reasons[trait]}" for trait in TRAITS)
    return _Classified(quarter, behaviour, indices, _joined(told), reasons)


def _members(behaviour: pd.DataFrame, chance: Floats) -> pd.DataFrame:
    members = pd.DataFrame(chance, columns=list(TYPES))
    members.insert(0, "customer", behaviour["customer"].to_numpy())
    return members


def _behaviour(tables: Tables, panel: Panel, exposure: str, looked: CustomerQuarters, quarter: int) -> pd.DataFrame:
    """Counts of each active customer up to the end of the quarter, a row each, summed in the engine."""
    end = nw.lit(dt.datetime.combine(periods.start(quarter + 1), dt.time()))
    active = looked.rows.loc[looked.rows["period"] == quarter, "customer"].to_numpy()
    best = panel.score_ranges[exposure][1]
    assert tables.transactions is not None
    names = tables.transactions.collect_schema().names()
    text = [name for name in ("channel", "brand") if name in names]
    orders = (
        tables.transactions.filter((nw.col("amount") > 0) & (nw.col("occurred_at") < end))
        .join(looked.people, on="customer_id", how="inner")
        .select(
            "customer",
            "transaction_id",
            "occurred_at",
            "amount",
            *text,
            *(["discount"] if "discount" in names else []),
        )
    )
    found = pd.DataFrame({"customer": active})
    parts = [_order_sums(orders, panel, "discount" in names), _gap_sums(orders)]
    parts += [_main_share(orders, name) for name in text]
    if "channel" in names:
        parts.append(_repeats(orders))
    if tables.referrals is not None:
        parts.append(_referrals(tables, looked.people, end))
    for part in parts:
        found = found.merge(part.astype({"customer": np.int64}), on="customer", how="left")
    so_far = looked.rows[looked.rows["period"] <= quarter]
    answered = so_far[so_far["score"].notna()]
    top = band_codes(answered["score"], exposure, best) == len(BANDS[exposure]) - 1
    by_customer = answered.assign(top=top).groupby("customer", as_index=False)
    found = found.merge(
        by_customer.agg(satisfaction=("score", "mean"), answers=("score", "size"), top=("top", "sum")),
        on="customer",
        how="left",
    )
    seen = so_far.groupby("customer").size().rename("quarters").reset_index()
    now = looked.rows.loc[looked.rows["period"] == quarter, ["customer", "log_tenure"]]
    found = found.merge(seen, on="customer", how="left").merge(now, on="customer", how="left")
    return found.assign(tenure=np.expm1(found.pop("log_tenure")))


def _order_sums(orders: Frame, panel: Panel, has_discount: bool) -> pd.DataFrame:
    """Orders, and quarters in which most had a discount: orders of one quarter take the same offers, so each says little of its own."""
    counts = fetched(orders.group_by("customer").agg(nw.len().alias("orders")))
    if not has_discount:
        return counts
    given = nw.col("discount")
    sums = fetched(
        orders.filter(~given.is_null())
        .with_columns(
            period=period_of("occurred_at", panel.period),
            discounted=nw.when(given > 0).then(1).otherwise(0),
            price=nw.col("amount") + given,
        )
        .group_by("customer", "period")
        .agg(nw.len().alias("n"), nw.col("discounted").sum(), given.sum(), nw.col("price").sum())
    ).round(MONEY_DIGITS)
    sums = sums.sort_values(["customer", "period"], ignore_index=True)
    mostly = 2 * sums["discounted"] > sums["n"]
    by_customer = sums.assign(discounted=mostly.astype(float)).groupby("customer", as_index=False)
    found = by_customer.agg(
        known=("n", "size"), discounted=("discounted", "sum"), discount=("discount", "sum"), price=("price", "sum")
    )
    found = found.assign(
        discount_share=found.pop("discount") / found["price"].where(found["price"] > 0),
    )
    return counts.merge(found.drop(columns="price"), on="customer", how="left")


def _gap_sums(orders: Frame) -> pd.DataFrame:
    """Days between purchase days: number, mean, mean log, coefficient of variation."""
    days = orders.select("customer", nw.col("occurred_at").dt.truncate("1d").alias("day")).unique()
    before = nw.col("day").shift(1).over("customer", order_by="day")
    gaps = days.with_columns(before=before).filter(~nw.col("before").is_null())
    length = (nw.col("day") - nw.col("before")).dt.total_minutes().cast(nw.Float64) / MINUTES_OF_A_DAY
    gaps = gaps.with_columns(length=length).with_columns(
        log_length=nw.col("length").log(), square=nw.col("length") * nw.col("length")
    )
    sums = fetched(
        gaps.group_by("customer").agg(
            nw.len().alias("gaps"), nw.col("length").sum(), nw.col("log_length").sum(), nw.col("square").sum()
        )
    ).round(SUM_DIGITS)
    mean = sums["length"] / sums["gaps"]
    variance = (sums["square"] / sums["gaps"] - mean**2) * sums["gaps"] / (sums["gaps"] - 1).where(sums["gaps"] > 1)
    return pd.DataFrame(
        {
            "customer": sums["customer"],
            "gaps": sums["gaps"],
            "unevenness": np.log(mean) - sums["log_length"] / sums["gaps"],
            "gap_variation": np.sqrt(variance.clip(lower=0.0)) / mean,
        }
    )


def _main_share(orders: Frame, name: str) -> pd.DataFrame:
    """Share of a customer's orders through the one channel, or of the one brand, used most."""
    counts = orders.filter(~nw.col(name).is_null()).group_by("customer", name).agg(nw.len().alias("n"))
    sums = fetched(counts.group_by("customer").agg(nw.col("n").max().alias("most"), nw.col("n").sum()))
    return pd.DataFrame({"customer": sums["customer"], f"main_{name}": sums["most"] / sums["n"]})


def _repeats(orders: Frame) -> pd.DataFrame:
    """Orders through the same channel as the one before, among those of which both channels are known."""
    before = nw.col("channel").shift(1).over("customer", order_by=["occurred_at", "transaction_id"])
    pairs = orders.with_columns(before=before).filter(~nw.col("before").is_null() & ~nw.col("channel").is_null())
    same = nw.when(nw.col("channel") == nw.col("before")).then(1).otherwise(0)
    counted = pairs.with_columns(same=same).group_by("customer")
    return fetched(counted.agg(nw.len().alias("pairs"), nw.col("same").sum()))


def _referrals(tables: Tables, people: Frame, end: nw.Expr) -> pd.DataFrame:
    made = first_referrals(tables).filter(nw.col("occurred_at") < end)
    flag = nw.col("incentivised")
    coded = made.join(people, left_on="referrer_id", right_on="customer_id", how="inner").with_columns(
        rewarded=nw.when(flag == 1).then(1).otherwise(0), unrewarded=nw.when(flag == 0).then(1).otherwise(0)
    )
    found = fetched(coded.group_by("customer").agg(nw.col("rewarded").sum(), nw.col("unrewarded").sum()))
    return found.assign(referring=1)


@dataclass(frozen=True)
class _Scale:
    """An index on a scale: ``value`` with the variance ``error`` of its counts, shape (customers,); no weight where not ``known``.

    Both are in standard units, ``middle`` and ``unit`` turn them back. Parameters of two groups: their centres, and the log of the
    variance within them.
    """

    name: str
    known: Flags
    value: Floats
    error: Floats
    middle: float
    unit: float
    bounds = ((-30.0, 30.0), (-30.0, 30.0), (np.log(LEAST_VARIANCE), np.log(MOST_VARIANCE)))

    def start(self, high: Floats) -> list[float]:
        """Parameters to start from, given probabilities of the high group."""
        own = [np.where(self.known, weight, 0.0) for weight in (1 - high, high)]
        centres = [float(weight @ self.value) / max(float(weight.sum()), 1e-9) for weight in own]
        within = sum(float(w @ (self.value - c) ** 2) for w, c in zip(own, centres, strict=True))
        n = float(self.known.sum())
        spread = within / n - float(self.error[self.known].sum()) / n
        return [*centres, float(np.log(max(spread, 10 * LEAST_VARIANCE)))]

    def logs(self, at: Floats, level: int) -> tuple[Floats, Floats]:
        """Log density of each customer in a group (customers,), and its slopes by the parameters (customers, 3)."""
        spread = float(np.exp(at[2]))
        total, distance = spread + self.error, self.value - at[level]
        log = np.where(self.known, -0.5 * (np.log(total) + distance**2 / total), 0.0)
        slopes = np.zeros((len(self.value), 3))
        slopes[:, level] = np.where(self.known, distance / total, 0.0)
        slopes[:, 2] = np.where(self.known, 0.5 * (distance**2 / total - 1) / total * spread, 0.0)
        return log, slopes

    def level(self, at: Floats, level: int) -> float:
        """Mean of a group."""
        return self.middle + self.unit * float(at[level])

    def within(self, at: Floats) -> float:
        """Standard deviation within a group."""
        return self.unit * float(np.exp(at[2] / 2))

    def reliability(self) -> float:
        """Share of the variance that is not counting error."""
        return float(np.clip(1 - float(self.error[self.known].mean()), 0.0, 1.0))


@dataclass(frozen=True)
class _Share:
    """A share: ``part`` of ``whole`` trials, shape (customers,).

    Beta-binomial in each group: customers of a group differ, and trials of the same days go together. Parameters of two groups: the
    logits of their means, and the logs of their beta's size beyond 2, from where on one group has one peak.
    """

    name: str
    known: Flags
    part: Floats
    whole: Floats
    bounds = ((-7.0, 7.0), (-7.0, 7.0), (-6.0, 8.0), (-6.0, 8.0))

    @cached_property
    def _distinct(self) -> tuple[Floats, Ints]:
        pairs, place = np.unique(np.column_stack([self.part, self.whole]), axis=0, return_inverse=True)
        return pairs, place.ravel()

    def start(self, high: Floats) -> list[float]:
        """Parameters to start from, given probabilities of the high group."""
        own = [np.where(self.known, weight, 0.0) for weight in (1 - high, high)]
        means = [float((w @ self.part + 0.5) / (w @ self.whole + 1.0)) for w in own]
        return [*(float(special.logit(mean)) for mean in means), np.log(8.0), np.log(8.0)]

    def logs(self, at: Floats, level: int) -> tuple[Floats, Floats]:
        """Log probability of each customer in a group (customers,), and its slopes by the parameters (customers, 4)."""
        pairs, place = self._distinct
        part, rest = pairs[:, 0], pairs[:, 1] - pairs[:, 0]
        mean, beyond = float(special.expit(at[level])), float(np.exp(at[2 + level]))
        size = 2.0 + beyond
        a, b = mean * size, (1 - mean) * size
        log = special.betaln(part + a, rest + b) - special.betaln(a, b)
        common = special.digamma(part + rest + size) - special.digamma(size)
        by_a = special.digamma(part + a) - special.digamma(a) - common
        by_b = special.digamma(rest + b) - special.digamma(b) - common
        slopes = np.zeros((len(self.part), 4))
        slopes[:, level] = np.where(self.known, ((by_a - by_b) * size * mean * (1 - mean))[place], 0.0)
        slopes[:, 2 + level] = np.where(self.known, ((by_a * mean + by_b * (1 - mean)) * beyond)[place], 0.0)
        return np.where(self.known, log[place], 0.0), slopes

    def level(self, at: Floats, level: int) -> float:
        """Mean of a group."""
        return float(special.expit(at[level]))

    def within(self, at: Floats) -> float:
        """Standard deviation within a group, the mean of both."""
        mean, size = special.expit(at[:2]), 2.0 + np.exp(at[2:])
        return float(np.sqrt(mean * (1 - mean) / (size + 1)).mean())

    def reliability(self) -> float:
        """Share of the variance that is not counting error."""
        share, n = self.part[self.known] / self.whole[self.known], self.whole[self.known]
        total, mean = float(share.var()), float(share.mean())
        between = total - mean * (1 - mean) * float((1 / n).mean())
        kept = between / max(1 - float((1 / n).mean()), 1e-9)
        return float(np.clip(kept / total, 0.0, 1.0)) if total > 0 else 0.0


@dataclass(frozen=True)
class _Count:
    """A rare event: ``number`` of them over ``quarters``, shape (customers,). Parameters of two groups: the logs of their rates."""

    name: str
    known: Flags
    number: Floats
    quarters: Floats
    bounds = ((-12.0, 5.0), (-12.0, 5.0))

    def start(self, high: Floats) -> list[float]:
        """Parameters to start from, given probabilities of the high group."""
        return [float(np.log((w @ self.number + 0.5) / (w @ self.quarters + 1.0))) for w in (1 - high, high)]

    def logs(self, at: Floats, level: int) -> tuple[Floats, Floats]:
        """Log probability of each customer in a group (customers,), and its slopes by the parameters (customers, 2)."""
        expected = float(np.exp(at[level])) * self.quarters
        slopes = np.zeros((len(self.number), 2))
        slopes[:, level] = self.number - expected
        return self.number * at[level] - expected, slopes

    def level(self, at: Floats, level: int) -> float:
        """Rate of a group, a quarter."""
        return float(np.exp(at[level]))

    def within(self, at: Floats) -> float:
        """Not defined: everybody of a group has the same rate."""
        return np.nan

    def reliability(self) -> float:
        """Share of the variance that is not counting error."""
        expected = float(self.number.sum() / self.quarters.sum()) * self.quarters
        total = float(((self.number - expected) ** 2).sum())
        return float(np.clip(1 - float(expected.sum()) / total, 0.0, 1.0)) if total > 0 else 0.0


_Index = _Scale | _Share | _Count


def _scale(name: str, known: Flags, value: Floats, error: Floats) -> _Scale:
    """An index in standard units of the customers of whom it is known."""
    middle = float(value[known].mean()) if known.any() else 0.0
    unit = (float(value[known].std()) if known.any() else 1.0) or 1.0
    return _Scale(name, known, np.where(known, (value - middle) / unit, 0.0), error / unit**2, middle, unit)


def _indices(behaviour: pd.DataFrame) -> list[_Index]:
    found: list[_Index] = []

    def column(name: str, missing: float = 0.0) -> Floats:
        return np.asarray(behaviour[name].fillna(missing).to_numpy(dtype=np.float64))

    gaps = column("gaps")
    known = gaps >= FEWEST_GAPS
    half = np.where(known, (gaps - 1) / 2, 1.0)
    uneven = np.maximum(column("unevenness", 1.0), LEAST_UNEVENNESS)
    value = special.digamma(half) - np.log(np.maximum(gaps, 1.0)) - np.log(uneven)
    found.append(_scale(RHYTHM, known, np.where(known, value, 0.0), special.polygamma(1, half)))
    for name, part, whole, fewest in (
        (CHANNEL, "same", "pairs", FEWEST_ORDERS),
        (DISCOUNTS, "discounted", "known", FEWEST_ORDERS),
        (ANSWERS, "top", "answers", 1),
    ):
        if whole in behaviour:
            n = column(whole)
            found.append(_Share(name, n >= fewest, column(part), n))
    if "referring" in behaviour:
        everybody = np.ones(len(behaviour), dtype=bool)
        for name, counted in ((REWARDED, "rewarded"), (UNREWARDED, "unrewarded")):
            found.append(_Count(name, everybody, column(counted), column("quarters", 1.0)))
    return found


@dataclass(frozen=True)
class _Model:
    """Groups of one or several traits, high or low in each, with a probability for every combination of them.

    ``cells`` are the combinations; ``vector`` the logs of their shares over the first one's, then the parameters of every index.
    """

    traits: tuple[str, ...]
    indices: tuple[_Index, ...]
    vector: Floats

    @property
    def cells(self) -> list[tuple[int, ...]]:
        """Low (0) or high (1) in each trait, the first of them low in all."""
        return list(itertools.product((0, 1), repeat=len(self.traits)))

    @property
    def shares(self) -> Floats:
        """Share of each cell, shape (cells,)."""
        return np.asarray(special.softmax(np.concatenate([[0.0], self.vector[: len(self.cells) - 1]])))

    def applied(self, indices: Sequence[_Index]) -> _Model:
        """The same groups for other customers, by those of their indices that the groups are told by."""
        by_name = {index.name: index for index in indices}
        others = []
        for index in self.indices:
            other = by_name[index.name]
            if isinstance(index, _Scale) and isinstance(other, _Scale):
                ratio = other.unit / index.unit
                value = np.where(other.known, other.value * ratio + (other.middle - index.middle) / index.unit, 0.0)
                other = replace(index, known=other.known, value=value, error=other.error * ratio**2)
            others.append(other)
        return replace(self, indices=tuple(others))

    def parameters(self, index: _Index) -> Floats:
        """Parameters of an index."""
        place = len(self.cells) - 1
        for one in self.indices:
            if one is index:
                return self.vector[place : place + len(one.bounds)]
            place += len(one.bounds)
        raise KeyError(index.name)

    def chances(self) -> tuple[float, Floats, Floats]:
        """Log-likelihood, probability of each cell (customers, cells), and each customer's slopes by all parameters."""
        cells, size = self.cells, len(self.indices[0].known)
        logs = [[index.logs(self.parameters(index), level) for level in (0, 1)] for index in self.indices]
        of_trait = [self.traits.index(TRAIT_OF[index.name]) for index in self.indices]
        joint = np.tile(np.log(np.maximum(self.shares, 1e-300))[:, None], (1, size))
        for number, cell in enumerate(cells):
            for trait, found in zip(of_trait, logs, strict=True):
                joint[number] += found[cell[trait]][0]
        greatest = joint.max(axis=0)
        chance = np.exp(joint - greatest)
        total = chance.sum(axis=0)
        chance = (chance / total).T
        slopes = [chance[:, 1:] - self.shares[1:]]
        for trait, found in zip(of_trait, logs, strict=True):
            high = chance[:, [cell[trait] == 1 for cell in cells]].sum(axis=1)
            slopes.append((1 - high)[:, None] * found[0][1] + high[:, None] * found[1][1])
        return float((greatest + np.log(total)).sum()), chance, np.column_stack(slopes)

    def fitted(self, *, least_share: bool = False) -> _Model:
        """The same with the parameters of the greatest likelihood near these; the first group's share as large as can be, if asked for."""
        size = len(self.indices[0].known)

        def objective(at: Floats) -> tuple[float, Floats]:
            value, _, slopes = replace(self, vector=at).chances()
            return -value / size, -slopes.sum(axis=0) / size

        of_shares = (-LARGEST_LOG, -LARGEST_LOG if least_share else LARGEST_LOG)
        bounds = [of_shares] * (len(self.cells) - 1) + [one for index in self.indices for one in index.bounds]
        low, high = np.array(bounds).T
        top: Any = optimize.minimize(
            objective,
            np.clip(self.vector, low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": MOST_STEPS, "ftol": TOLERANCE},
        )
        return replace(self, vector=np.asarray(top.x))


def _groups(trait: str, indices: Sequence[_Index]) -> _Model | str:
    """The two groups of a trait by maximum likelihood, or why they cannot be told apart."""
    anchor = next(index for index in indices if not isinstance(index, _Count))
    order = anchor.value if isinstance(anchor, _Scale) else anchor.part / np.maximum(anchor.whole, 1.0)
    found: list[tuple[float, _Model]] = []
    for share in STARTS:
        cut = float(np.quantile(order[anchor.known], 1 - share))
        high = np.where(anchor.known, np.where(order > cut, 0.9, 0.1), share)
        begun = [special.logit(share), *(value for index in indices for value in index.start(high))]
        model = _Model((trait,), tuple(indices), np.array(begun)).fitted()
        found.append((model.chances()[0], model))
    value, best = max(found, key=lambda one: one[0])
    if best.parameters(anchor)[0] > best.parameters(anchor)[1]:
        best = _turned(best)
    n = int(anchor.known.sum())
    extra = 1 + sum(1 if isinstance(index, _Scale) else len(index.bounds) // 2 for index in indices)
    if 2 * (value - _of_one_group(trait, indices)) - extra * np.log(n) < LEAST_GAIN:
        return "one group describes the customers as well as two"
    if not LEAST_SHARE <= best.shares[1] <= 1 - LEAST_SHARE:
        return f"one of two groups holds less than {LEAST_SHARE:.0%} of the customers"
    left = float(special.entr(best.chances()[1][anchor.known]).sum()) / n
    if 1 - left / float(special.entr(best.shares).sum()) < LEAST_CERTAINTY:
        return "two groups overlap too much to tell who belongs to which"
    return best


def _of_one_group(trait: str, indices: Sequence[_Index]) -> float:
    """Greatest log-likelihood with one group in place of two."""
    nobody = np.zeros(len(indices[0].known))
    begun = [-LARGEST_LOG, *(value for index in indices for value in index.start(nobody))]
    return _Model((trait,), tuple(indices), np.array(begun)).fitted(least_share=True).chances()[0]


def _turned(model: _Model) -> _Model:
    """The same two groups of one trait, the first called the second."""
    parts = [-model.vector[:1]]
    for index in model.indices:
        own = model.parameters(index).copy()
        own[[0, 1]] = own[[1, 0]]
        if len(own) == 4:
            own[[2, 3]] = own[[3, 2]]
        parts.append(own)
    return replace(model, vector=np.concatenate(parts))


def _joined(told: Sequence[_Model]) -> _Model:
    """One model of all traits, each in its groups, with a share for every combination."""
    traits = tuple(model.traits[0] for model in told)
    high = np.array([model.shares[1] for model in told])
    cells = np.array(list(itertools.product((0, 1), repeat=len(traits))))
    shares = np.prod(np.where(cells == 1, high, 1 - high), axis=1)
    begun = [np.log(shares[1:] / shares[0]), *(model.vector[1:] for model in told)]
    indices = tuple(index for model in told for index in model.indices)
    return _Model(traits, indices, np.concatenate(begun)).fitted()


def _kinds(model: _Model) -> tuple[Floats, Floats]:
    """Probability of each kind of loyalty (customers, kinds), and each customer's contribution to the shares of the kinds."""
    _, chance, slopes = model.chances()
    to_kind = np.zeros((len(model.cells), len(TYPES)))
    for place, cell in enumerate(model.cells):
        high = [trait for trait, level in zip(model.traits, cell, strict=True) if level]
        kind = "none" if not high else "mixed" if len(high) > 1 else TYPES[TRAITS.index(high[0])]
        to_kind[place, TYPES.index(kind)] = 1.0
    contributions = slopes @ np.linalg.pinv(slopes.T @ slopes, rcond=1e-10, hermitian=True)
    shares = model.shares
    by_log = (np.diag(shares) - np.outer(shares, shares))[1:]
    return chance @ to_kind, contributions[:, : len(shares) - 1] @ by_log @ to_kind


def _shares(chance: Floats, influence: Floats) -> pd.DataFrame:
    """Share of each kind with its interval, and who belongs to it for sure."""
    share = chance.mean(axis=0)
    error = np.sqrt((influence**2).sum(axis=0))
    likeliest = np.where(chance.max(axis=1) >= CLEAR, chance.argmax(axis=1), len(TYPES))
    count = np.bincount(likeliest, minlength=len(TYPES) + 1)
    n = len(chance)
    rows: list[dict[str, Any]] = []
    for place, name in enumerate(TYPES):
        reach = NORMAL_975 * error[place]
        ends = np.clip([share[place] - reach, share[place] + reach], 0.0, 1.0)
        found = {
            "type": name,
            "share": share[place],
            "std_error": error[place],
            "conf_low": ends[0],
            "conf_high": ends[1],
        }
        rows.append(found | {"clear": count[place] / n, "customers": int(count[place])})
    rows.append({"type": UNCLEAR, "clear": count[-1] / n, "customers": int(count[-1])})
    table = pd.DataFrame(rows)
    hidden = hidden_cells(table["customers"].astype(float), table[["type"]], floor=FEWEST_TOLD)
    table["clear"] = table["clear"].mask(hidden)
    return table.assign(customers=table["customers"].astype("Int64").mask(hidden), suppressed=hidden)


def _index_table(indices: Sequence[_Index], model: _Model, reasons: Mapping[str, str]) -> pd.DataFrame:
    by_name = {index.name: index for index in indices}
    rows: list[dict[str, Any]] = []
    for name, trait in TRAIT_OF.items():
        row: dict[str, Any] = {"index": name, "trait": trait, "unit": UNITS[name], "used": False, "reason": ""}
        if name not in by_name:
            row |= {"customers": 0, "reason": "not recorded, or too few customers with enough counts"}
        else:
            index = by_name[name]
            row |= {"customers": int(index.known.sum()), "reliability": index.reliability()}
            if trait in model.traits:
                at = model.parameters(index)
                row |= {"low": index.level(at, 0), "high": index.level(at, 1), "spread": index.within(at), "used": True}
            else:
                row["reason"] = reasons[trait]
        rows.append(row)
    columns = ["index", "trait", "customers", "reliability", "low", "high", "spread", "unit", "used", "reason"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _profile(behaviour: pd.DataFrame, chance: Floats) -> pd.DataFrame:
    """Means of what was recorded, weighted by the probability of each kind."""
    quarters = behaviour["quarters"]
    measures: dict[str, tuple[pd.Series, str]] = {
        "orders": (behaviour["orders"].fillna(0) / quarters, "a quarter"),
        "gap_variation": (behaviour["gap_variation"], "standard deviation over mean"),
        "satisfaction": (behaviour["satisfaction"], "points"),
        "tenure": (behaviour["tenure"], "quarters"),
    }
    for name in ("main_channel", "main_brand"):
        if name in behaviour:
            measures[name] = (behaviour[name], "share of orders")
    if "discount_share" in behaviour:
        measures["discount_share"] = (behaviour["discount_share"], "share of the price of orders")
    for name in ("rewarded", "unrewarded"):
        if name in behaviour:
            measures[f"{name}_referrals"] = (behaviour[name].fillna(0) / quarters * 4, "a year")
    rows = []
    for place, kind in enumerate(TYPES):
        for measure, (values, unit) in measures.items():
            known = values.notna().to_numpy()
            weight, value = chance[known, place], values.to_numpy(dtype=float)[known]
            total = float(weight.sum())
            if total < FEWEST_OF_A_KIND:
                rows.append((kind, measure, *[np.nan] * 4, unit, True))
                continue
            mean = float(weight @ value) / total
            error = float(np.sqrt((weight**2) @ (value - mean) ** 2)) / total
            rows.append((kind, measure, mean, error, mean - NORMAL_975 * error, mean + NORMAL_975 * error, unit, False))
    names = ["type", "measure", "estimate", "std_error", "conf_low", "conf_high", "unit", "suppressed"]
    return pd.DataFrame(rows, columns=names)


def _check_request(shocks: Sequence[Shock], horizon_quarters: int, score_gain: float) -> None:
    names = [shock.name for shock in shocks]
    if not names or len(set(names)) < len(names):
        raise InputError("shocks must be at least one, each with a name of its own")
    if not 1 <= horizon_quarters <= MOST_QUARTERS:
        raise InputError(f"horizon_quarters must be 1 to {MOST_QUARTERS}; got {horizon_quarters!r}, e.g. 12")
    if not np.isfinite(score_gain) or score_gain == 0:
        raise InputError(f"score_gain must be points of the answer other than 0; got {score_gain!r}, e.g. 0.3")


def _described(tables: Tables, panel: Panel, exposure: str, looked: CustomerQuarters) -> pd.DataFrame:
    """Customer-quarters with expected satisfaction (``expected, level, open, fade``), discount of the quarter, and control columns."""
    rows = looked.rows
    known = expected_satisfaction(looked, rows, design_columns(rows, panel.controls), exposure)
    if known is None:
        mean = rows["last_score"].fillna(float(rows["last_score"].mean()))
        rows = rows.assign(expected=mean, level=mean, open=rows["last_score"].isna().astype(float), fade=1.0)
    else:
        rows = rows.assign(expected=known.mean, level=known.level, open=known.open, fade=known.fade)
    rows = rows.merge(_discounts(tables, panel, looked), on=["customer", "period"], how="left")
    controls = control_columns(rows, panel.controls)
    return rows.assign(**{f"control {place}": column for place, column in enumerate(controls)})


def _discounts(tables: Tables, panel: Panel, looked: CustomerQuarters) -> pd.DataFrame:
    """Discount over list price of the orders of each customer and quarter; empty where none is recorded."""
    assert tables.transactions is not None
    if "discount" not in tables.transactions.collect_schema().names():
        return pd.DataFrame({"customer": [], "period": [], "discount": []}).astype(
            {"customer": np.int64, "period": np.int64, "discount": float}
        )
    priced = tables.transactions.filter((nw.col("amount") > 0) & ~nw.col("discount").is_null())
    sums = fetched(
        priced.join(looked.people, on="customer_id", how="inner")
        .with_columns(period=period_of("occurred_at", panel.period))
        .group_by("customer", "period")
        .agg(nw.col("discount").sum(), nw.col("amount").sum())
    ).round(MONEY_DIGITS)
    price = sums["discount"] + sums["amount"]
    return pd.DataFrame(
        {
            "customer": sums["customer"].astype(np.int64),
            "period": sums["period"].astype(np.int64),
            "discount": (sums["discount"] / price.where(price > 0)).astype(float),
        }
    )


@dataclass(frozen=True)
class _Layout:
    """Columns of the equation of staying.

    ``kinds`` are those with enough customers and leavers, the first of them stands in the constant; ``usual`` is the mean discount of
    each, ``points`` its mean satisfaction beside that of all, ``quarters`` are those of the fit, ``centre`` is the mean of satisfaction.
    """

    kinds: list[int]
    usual: Floats
    points: Floats
    quarters: list[int]
    centre: float

    def matrix(self, people: pd.DataFrame, kinds: Floats, price: Floats, idle: Floats, quarter: Floats) -> Floats:
        """Design of customer-quarters, shape (rows, k).

        ``kinds`` (rows, kinds) are probabilities, ``price`` (rows, kinds) the discount beyond each kind's usual one, ``idle`` (rows,)
        whether nothing was ordered, ``quarter`` (rows, quarters - 1) which one it is. What answers leave open of a customer's
        satisfaction is filled by that of the kind.
        """
        filled = people["open"].to_numpy(dtype=float) * (kinds @ self.points)
        satisfaction = people["expected"].to_numpy(dtype=float) + filled - self.centre
        controls = [name for name in people.columns if str(name).startswith(CONTROL)]
        known = people[["log_tenure", "log_orders_before", *controls]].to_numpy(dtype=float)
        parts = [satisfaction, satisfaction**2, kinds[:, 1:], price * kinds, np.ones(len(people)), idle, known, quarter]
        return np.column_stack(parts)

    def place_of_price(self, kind: int) -> int:
        """Column of a kind's discount."""
        return 1 + len(self.kinds) + kind


@dataclass(frozen=True)
class _Staying:
    """Logit of staying in the quarters after the landmark; ``kept`` are the independent columns, ``idle`` the share without an order."""

    layout: _Layout
    fitted: Fit
    kept: Ints
    idle: float
    customers: int

    def relations(self) -> pd.DataFrame:
        """Log-odds of staying for a price 10 % higher, by kind."""
        rows: list[tuple[Any, ...]] = []
        for place, kind in enumerate(self.layout.kinds):
            at = np.flatnonzero(self.kept == self.layout.place_of_price(place))
            estimate, error = np.nan, np.nan
            if len(at):
                estimate = -PRICE_STEP * float(self.fitted.coefficients[at[0]])
                error = PRICE_STEP * float(self.fitted.std_errors[at[0]])
            reach = NORMAL_975 * error
            rows.append((TYPES[kind], estimate, error, estimate - reach, estimate + reach, error <= MOST_PRICE_ERROR))
        names = ["type", "estimate", "std_error", "conf_low", "conf_high", "identified"]
        return pd.DataFrame(rows, columns=names).astype({"identified": bool})


def _staying(people: pd.DataFrame, then: pd.DataFrame, span: tuple[int, int]) -> _Staying | str:
    """Fit staying in the quarters after the landmark on what was known at it."""
    landmark, last = span
    rows = people[(people["period"] >= landmark) & (people["period"] < last) & people["retained"].notna()]
    rows = rows.merge(then, on="customer", how="inner").sort_values(["customer", "period"], ignore_index=True)
    chance, retained = rows[list(TYPES)].to_numpy(dtype=float), rows["retained"].to_numpy(dtype=float)
    size = then[list(TYPES)].to_numpy().sum(axis=0)
    enough = (size >= FEWEST_CUSTOMERS) & (chance.T @ (1 - retained) >= FEWEST_LEAVERS)
    kinds = sorted(np.flatnonzero(enough).tolist(), key=lambda kind: -size[kind])
    if not kinds:
        return f"no kind of loyalty has {FEWEST_CUSTOMERS} customers of whom {FEWEST_LEAVERS} left after they were classified"
    discount = rows["discount"].to_numpy(dtype=float)
    idle = np.isnan(discount)
    weight = np.where(idle[:, None], 0.0, chance[:, kinds])
    usual = (np.nan_to_num(discount) @ weight) / np.maximum(weight.sum(axis=0), 1e-9)
    price = np.where(idle[:, None], 0.0, np.nan_to_num(discount)[:, None] - usual)
    quarters = sorted(rows["period"].unique().tolist())
    layout = _Layout(kinds, usual, _points(rows, chance[:, kinds]), quarters, float(rows["expected"].mean()))
    quarter = np.equal.outer(rows["period"].to_numpy(), quarters[1:]).astype(float)
    matrix = np.asfortranarray(layout.matrix(rows, chance[:, kinds], price, idle.astype(float), quarter))
    kept = independent_columns(matrix)
    found = fit(np.asfortranarray(matrix[:, kept]), retained, rows["customer"].to_numpy(), family="logit")
    if not found.converged:
        return "the equation of staying does not settle: some column predicts it without error"
    return _Staying(layout, found, kept, float(idle.mean()), int(rows["customer"].nunique()))


def _points(rows: pd.DataFrame, kinds: Floats) -> Floats:
    """Mean of later answers by kind, from that of all, shape (kinds,); the kinds are known from earlier answers only."""
    landmark = rows["period"].min()
    later = (rows["score"].notna() & (rows["period"] > landmark)).to_numpy()
    if later.sum() < FEWEST_CUSTOMERS:
        return np.zeros(kinds.shape[1])
    score = rows["score"].to_numpy(dtype=float)[later]
    rest = 1 - kinds[later].sum(axis=1)
    found = np.linalg.lstsq(np.column_stack([kinds[later], rest]), score - score.mean(), rcond=None)[0]
    return np.asarray(found[: kinds.shape[1]])


@dataclass(frozen=True)
class _Runs:
    """Share still there of each kind of ``TYPES`` and of all customers.

    ``still[shock, gained]`` has shape (draws + 1, kinds + 1, quarters), the first draw is at the estimates; ``weights`` (kinds + 1,) are
    the shares of customers, ``shown[shock]`` says which kinds can be told.
    """

    still: dict[tuple[str, bool], Floats]
    weights: Floats
    shown: dict[str, list[bool]]

    def paths(self) -> pd.DataFrame:
        """Share still there by shock, kind and quarter."""
        rows: list[tuple[Any, ...]] = []
        for (shock, gained), still in self.still.items():
            for place, kind in enumerate((*TYPES, ALL)):
                for quarter in range(still.shape[2] if not gained and self.shown[shock][place] else 0):
                    own = still[:, place, quarter]
                    rows.append((shock, kind, quarter + 1, own[0], *np.quantile(own[1:], QUANTILES)))
        return pd.DataFrame(rows, columns=["shock", "type", "quarter", "estimate", "low", "median", "high"])

    def benefit(self) -> pd.DataFrame:
        """Customer-quarters that the gain adds, and the share of them that survives each shock."""
        added = {
            shock: 100.0 * (self.still[shock, True] - self.still[shock, False]).sum(axis=2)
            for shock, gained in self.still
            if gained
        }
        rows: list[tuple[Any, ...]] = []
        for shock, of_shock in added.items():
            for place, kind in enumerate((*TYPES, ALL)):
                figures = [np.nan] * 7
                if self.shown[shock][place]:
                    own, before = of_shock[:, place], added[AS_NOW][:, place]
                    kept = own / np.where(np.abs(before) > 0, before, np.nan)
                    ends = np.nanquantile(kept[1:], [QUANTILES[0], QUANTILES[2]])
                    figures = [own[0], *np.quantile(own[1:], QUANTILES), kept[0], *ends]
                rows.append((shock, kind, self.weights[place], *figures, not self.shown[shock][place]))
        names = ["shock", "type", "share", "estimate", "low", "median", "high"]
        return pd.DataFrame(rows, columns=[*names, "surviving", "surviving_low", "surviving_high", "suppressed"])


def _run_forward(
    equation: _Staying,
    people: pd.DataFrame,
    members: pd.DataFrame,
    shocks: Sequence[Shock],
    request: tuple[int, int, float, int],
) -> _Runs:
    """Run today's customers forward, every kind, shock and draw, with the gain and without."""
    last, horizon, gain, seed = request
    generator = np.random.default_rng([seed, 4])
    today = people[people["period"] == last].merge(members, on="customer", how="inner")
    chosen = np.linspace(0, len(today) - 1, min(len(today), REPRESENTATIVES)).astype(np.int64)
    today = today.sort_values("expected", kind="stable", ignore_index=True).iloc[chosen].reset_index(drop=True)
    chance, layout = today[list(TYPES)].to_numpy(dtype=float), equation.layout
    drawn = _coefficient_draws(equation.fitted, generator)
    stated = {
        shock.name: _stated_draws(shock.extra_leaving, generator) for shock in shocks if shock.extra_leaving is not None
    }
    slopes = _price_slopes(equation, drawn)
    recent = layout.quarters[-QUARTERS_OF_A_YEAR:]
    quarter = np.tile(np.isin(layout.quarters[1:], recent) / len(recent), (len(today), 1))
    idle = np.full(len(today), equation.idle)
    every = [AS_NOW, *(shock.name for shock in shocks)]
    rises = {shock.name: shock.price_rise or 0.0 for shock in shocks} | {AS_NOW: 0.0}
    size = (DRAWS + 1, len(today), len(TYPES))
    alive = {(name, gained): np.ones(size) for name in every for gained in (False, True)}
    still = {key: np.zeros((DRAWS + 1, len(TYPES) + 1, horizon)) for key in alive}
    level, fade = today["level"].to_numpy(), today["fade"].to_numpy()
    moved = today["expected"].to_numpy() - level
    for step in range(horizon):
        for gained in (False, True):
            then = today.assign(
                expected=level + fade**step * moved + (gain if gained else 0.0),
                log_tenure=np.log(np.exp(today["log_tenure"].to_numpy()) + step),
            )
            for kind in range(len(TYPES)):
                own = np.zeros((len(today), len(layout.kinds)))
                place = layout.kinds.index(kind) if kind in layout.kinds else 0
                own[:, place] = 1.0
                matrix = layout.matrix(then, own, np.zeros_like(own), idle, quarter)[:, equation.kept]
                predictor = drawn @ matrix.T
                for name in every:
                    stay = special.expit(predictor - rises[name] * slopes[:, [kind]])
                    if name in stated:
                        stay = np.maximum(stay - stated[name][:, [kind]], 0.0)
                    alive[name, gained][:, :, kind] *= stay
        for key, there in alive.items():
            by_kind = (there * chance).sum(axis=1)
            still[key][:, :-1, step] = by_kind / np.maximum(chance.sum(axis=0), 1e-9)
            still[key][:, -1, step] = by_kind.sum(axis=1) / len(today)
    enough = members[list(TYPES)].to_numpy().sum(axis=0) >= FEWEST_CUSTOMERS
    told = set(equation.relations().query("identified")["type"])
    shown = {
        name: [
            *(
                enough[place] and place in layout.kinds and (kind in told or not rises[name])
                for place, kind in enumerate(TYPES)
            ),
            True,
        ]
        for name in every
    }
    return _Runs(still, np.append(chance.mean(axis=0), 1.0), shown)


def _price_slopes(equation: _Staying, drawn: Floats) -> Floats:
    """Log-odds of staying for each unit of discount by kind of ``TYPES``, shape (draws + 1, kinds).

    A kind whose own relation is not told takes the mean of the others', weighted by precision.
    """
    relations = equation.relations().set_index("type")
    slopes = np.full((len(drawn), len(TYPES)), np.nan)
    for place, kind in enumerate(equation.layout.kinds):
        if relations.loc[TYPES[kind], "identified"]:
            at = np.flatnonzero(equation.kept == equation.layout.place_of_price(place))
            slopes[:, kind] = drawn[:, at[0]]
    known = np.flatnonzero(~np.isnan(slopes[0]))
    if not len(known):
        return np.zeros_like(slopes)
    weight = relations.loc[[TYPES[kind] for kind in known], "std_error"].to_numpy(dtype=float) ** -2.0
    mean = slopes[:, known] @ weight / weight.sum()
    return np.where(np.isnan(slopes), mean[:, None], slopes)


def _coefficient_draws(fitted: Fit, generator: np.random.Generator) -> Floats:
    """Coefficients from their clustered covariance, shape (draws + 1, k); the first row is the estimate."""
    values, vectors = np.linalg.eigh(fitted.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = generator.standard_normal((DRAWS, len(values))) @ root.T
    return np.asarray(fitted.coefficients + np.vstack([np.zeros(len(values)), noise]))


def _stated_draws(stated: Mapping[str, tuple[float, float]], generator: np.random.Generator) -> Floats:
    """Extra probability of leaving by kind, uniform between low and high, shape (draws + 1, kinds); the first row is the middle."""
    low, high = np.array([stated[kind] for kind in TYPES], dtype=float).T
    drawn = low + generator.random((DRAWS, len(TYPES))) * (high - low)
    return np.vstack([(low + high) / 2, drawn])
