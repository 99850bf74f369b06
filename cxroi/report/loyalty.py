"""Why customers come back and what the dissatisfied cost: serving, failing, kinds of loyalty, shocks, and a gain split into its parts.

Results or the reasons why there are none, tidy views of them and sentences that are read in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.panel import METRICS, Panel
from cxroi.report import results, show
from cxroi.report.parameters import leaving_by_kind
from cxroi.report.readings import Sentences
from cxroi.report.show import Shown, Words
from cxroi.tables import Tables
from cxroi.value import CustomerValue
from cxroi.value.forgiveness import AFTER, DIFFERENCE, SURE_EVENTS, WITHOUT, Forgiveness, forgiveness
from cxroi.value.forward import Equations, run_forward
from cxroi.value.identity import ShapleySplit, ValueTerms, refuse_overlap, shapley_split
from cxroi.value.loyalty import (
    AS_NOW,
    CLEAR,
    TRAITS,
    TYPES,
    UNCLEAR,
    LoyaltyTypes,
    Shock,
    ShockSurvival,
    loyalty_types,
    shock_survival,
)
from cxroi.value.service import ALL, CostToServe, cost_to_serve

Floats = NDArray[np.float64]
Row = Mapping[Any, Any]

NO_SHOCK = "no shock is stated: its size is an assumption; state score_gain and either price_rise, or extra_leaving with its source"
NO_GAIN = "a shock is stated without score_gain, the gain whose retention is tested"
NO_KINDS = "a shock is followed by kind of loyalty, and no kinds are known here"
NOTHING_STANDS_OUT = "no kind of loyalty stands out"
NO_MARGIN_TO_SPLIT = "margin is not above zero in every draw, so a change of it has no parts"
KIND_OF_TRAIT = {"habit": "behavioural", "price": "rational", "attitude": "emotional"}
HALF_A_POINT = 0.5  # gain at which the equations were run to tell staying from spending
SPEND = "spend"
TERM_OF_SPEND = "margin_per_order"
COUNTED_TWICE = ("churn_saved", "change_in_ltv")
PROFILE = "orders gap_variation main_channel main_brand discount_share rewarded_referrals unrewarded_referrals satisfaction tenure"
SHARES = ("main_channel", "main_brand", "discount_share")


@dataclass(frozen=True, eq=False)
class Gain:
    """One point more of the score, held over the horizon, split into who stays and what they spend.

    Attributes
    ----------
    exposure, currency : str
    horizon_months : int
    annual_discount_rate : float
    split : ShapleySplit
        Of draws whose first is at the point estimates; spend stands in the term ``margin_per_order`` of one order a quarter.
    """

    exposure: str
    currency: str
    horizon_months: int
    annual_discount_rate: float
    split: ShapleySplit

    @property
    def change(self) -> Floats:
        """Change of lifetime value per customer, shape (draws + 1,)."""
        return self.split.after - self.split.before

    def part(self, term: str, *, alone: bool = False) -> Floats:
        """What a term adds within the joint change or alone, shape (draws + 1,)."""
        return (self.split.alone if alone else self.split.parts)[TERM_OF_SPEND if term == SPEND else term]


@dataclass(frozen=True, eq=False)
class Loyalty:
    """What is known of why customers come back, and of what serving and failing them costs; each part a result or the reason why not.

    Attributes
    ----------
    exposure : str
        Score of the bands.
    service : CostToServe or str
    forgiveness : Forgiveness or str
    types : LoyaltyTypes or str
    shocks : ShockSurvival or str
    shock_source : str
        Where the stated leaving is known from.
    left_out : str
        Why a stated shock of the price is not among ``shocks``; empty where it is, or none is stated.
    gain : Gain or str
    """

    exposure: str
    service: CostToServe | str
    forgiveness: Forgiveness | str
    types: LoyaltyTypes | str
    shocks: ShockSurvival | str
    shock_source: str
    left_out: str
    gain: Gain | str


# -------------------------------------------------------------------------------------------------------------- results


def gather(
    tables: Tables,
    panel: Panel,
    *,
    exposure: str,
    terms: Mapping[str, Any],
    shocks: Mapping[str, Any],
    language: Language,
    seed: int,
) -> Loyalty:
    """Everything that is asked of loyalty, each part a result or the reason why not.

    Parameters
    ----------
    tables, panel
    exposure
        Where the score has no answers the first one that has stands in.
    terms
        ``horizon_months`` and ``annual_discount_rate``; by default as ``dataset.yaml`` states.
    shocks
        ``price_rise``, ``extra_leaving``, ``extra_leaving_source`` and ``score_gain``; 0 or empty: not stated.
    language
        Of the names of the shocks.
    seed
    """
    metric = next((name for name in METRICS if name == exposure and name in panel.metrics), "")
    metric = metric or results.main_exposure(panel) or exposure
    found = results.value(panel, exposure=exposure, seed=seed, **terms)
    types = loyalty_types(tables, panel, metric)
    request, left_out = stated(shocks, terms, panel, language=language), ""
    stressed: ShockSurvival | str = NO_KINDS if isinstance(types, str) else str(request)
    if not isinstance(types, str) and not isinstance(request, str):
        stressed, left_out = _stressed(tables, panel, metric, request, seed=seed)
    return Loyalty(
        exposure=metric,
        service=cost_to_serve(tables, panel, metric, by="touchpoint"),
        forgiveness=forgiveness(tables, panel, metric),
        types=types,
        shocks=stressed,
        shock_source=str(shocks["extra_leaving_source"]) if shocks["extra_leaving"] else "",
        left_out=left_out,
        gain=gain(found),
    )


def gain(value: CustomerValue | str) -> Gain | str:
    """One point more throughout, as a change of two terms of the identity: who stays, and what they spend.

    Spend is margin per remaining customer and quarter. The whole change is that of ``CustomerValue.point_draws``; how much of it is
    staying is known from a gain of half a point and carried on to a whole one at the same rate, spend takes what is left.
    """
    if isinstance(value, str):
        return value
    if value.reason or value.margin is None:
        return value.reason
    equations = Equations(
        value.margin.panel, value.exposure, value.retention, value.orders, value.margin, value.persistence
    )
    paths = run_forward(equations, value.horizon_quarters, seed=value.seed, draws=value.draws)
    quarters = np.arange(1, value.horizon_quarters + 1)
    if not ((paths.baseline > 0).all() and (paths.higher > 0).all() and (paths.survival > 0).all()):
        return NO_MARGIN_TO_SPLIT
    half = np.maximum(1.0 + HALF_A_POINT * quarters * paths.through_retention / paths.baseline, 0.0)
    still = np.minimum.accumulate(np.minimum(paths.survival * half ** (1.0 / HALF_A_POINT), 1.0), axis=1)
    if not (still > 0).all():
        return NO_MARGIN_TO_SPLIT
    before, after = (
        _terms(survival, margin, value.annual_discount_rate)
        for survival, margin in ((paths.survival, paths.baseline), (still, paths.higher))
    )
    return Gain(
        exposure=value.exposure,
        currency=value.panel.currency,
        horizon_months=value.horizon_quarters * results.MONTHS_OF_A_QUARTER,
        annual_discount_rate=value.annual_discount_rate,
        split=shapley_split(before, after),
    )


def _terms(survival: Floats, margin: Floats, annual_discount_rate: float) -> ValueTerms:
    """Terms of the identity from the share still there and the margin per customer at the start, shape (draws, quarters)."""
    return ValueTerms(
        retention=np.minimum(survival / np.column_stack([np.ones(len(survival)), survival[:, :-1]]), 1.0),
        orders=1.0,
        margin_per_order=margin / survival,
        service_cost=0.0,
        referrals=0.0,
        would_have_come=0.0,
        referred_value=0.0,
        saved_acquisition_cost=0.0,
        acquisition_cost=0.0,
        discount_rate=(1.0 + annual_discount_rate) ** 0.25 - 1.0,
        periods=survival.shape[1],
    )


@dataclass(frozen=True)
class Stated:
    """Shocks, horizon and gain of a stress test as the reader states them."""

    price: list[Shock]
    convenience: list[Shock]
    horizon_quarters: int
    score_gain: float


def stated(given: Mapping[str, Any], terms: Mapping[str, Any], panel: Panel, *, language: Language) -> Stated | str:
    """What is stated of a stress test, or what is missing."""
    rise, leaving, size = float(given["price_rise"]), str(given["extra_leaving"]), float(given["score_gain"])
    price, convenience = [], []
    if rise:
        percent = ("+" if rise > 0 else "") + language.percent(rise, 0)
        price = [Shock(language.text("nb.loyalty.shock_price", rise=percent), price_rise=rise)]
    if leaving:
        name, source = language.text("nb.loyalty.shock_convenience"), str(given["extra_leaving_source"])
        convenience = [Shock(name, extra_leaving=leaving_by_kind(leaving), source=source)]
    months = int(terms["horizon_months"]) or (panel.value_terms or (0, 0.0))[0]
    if not price and not convenience:
        return NO_SHOCK
    if not size:
        return NO_GAIN
    if not months:
        return results.NO_TERMS
    return Stated(price, convenience, -(-months // results.MONTHS_OF_A_QUARTER), size)


def _stressed(
    tables: Tables, panel: Panel, metric: str, stated: Stated, *, seed: int
) -> tuple[ShockSurvival | str, str]:
    """Retention under the stated shocks, and why the one of the price is not among them."""

    def run(shocks: list[Shock]) -> ShockSurvival | str:
        quarters, size = stated.horizon_quarters, stated.score_gain
        return shock_survival(
            tables, panel, metric, shocks=shocks, horizon_quarters=quarters, score_gain=size, seed=seed
        )

    found = run([*stated.price, *stated.convenience])
    if isinstance(found, str) and stated.price and stated.convenience:
        return run(stated.convenience), found
    return found, ""


# ---------------------------------------------------------------------------------------------------------------- views


def also(frame: pd.DataFrame | str, *, language: Language, columns: str = "") -> Shown:
    """A further table of a part; nothing where the part itself has said why it is missing."""
    return show.text([]) if isinstance(frame, str) else show.table(frame, language=language, columns=columns)


def service(found: Loyalty) -> pd.DataFrame | str:
    """Cost of contacts by touchpoint and band, as ``plots.cost_to_serve`` draws it."""
    return found.service if isinstance(found.service, str) else found.service.tidy()


def service_gaps(found: Loyalty, *, language: Language) -> pd.DataFrame | str:
    """Lowest band less the highest: ``touchpoint, estimate, conf_low, conf_high, without_cost`` (percent of its contacts), ``unit``."""
    if isinstance(found.service, str):
        return found.service
    gaps = _gaps(found.service)
    named = gaps["kind"].where(gaps["kind"] != ALL, language.text("plots.all_contacts"))
    return gaps.assign(touchpoint=named)[
        ["touchpoint", "estimate", "conf_low", "conf_high", "without_cost", "unit"]
    ].reset_index(drop=True)


def hazards(found: Loyalty) -> pd.DataFrame | str:
    """Leaving with and without a failed touch, as ``plots.forgiveness`` draws it."""
    return found.forgiveness if isinstance(found.forgiveness, str) else found.forgiveness.hazards


def more_leavers(found: Loyalty) -> pd.DataFrame | str:
    """How many more leave after a failed touch: ``band, customers, left`` (with one), ``estimate, conf_low, conf_high, unit``."""
    if isinstance(found.forgiveness, str):
        return found.forgiveness
    rows = found.forgiveness.hazards
    counts = rows[rows["case"] == AFTER].set_index("band")[["customers", "left"]].astype(float)
    apart = rows[(rows["case"] == DIFFERENCE) & ~rows["suppressed"].astype(bool)]
    own = counts.reindex(apart["band"]).reset_index(drop=True)
    ends = apart[["band", "estimate", "conf_low", "conf_high"]].reset_index(drop=True)
    return ends.assign(customers=own["customers"], left=own["left"], unit="probability")


def types(found: Loyalty) -> pd.DataFrame | str:
    """Shares of the kinds that can be told, as ``plots.loyalty_types`` draws them."""
    if isinstance(found.types, str):
        return found.types
    told = _told(found.types)
    named = [KIND_OF_TRAIT[trait] for trait in told] + (["mixed"] if len(told) > 1 else []) + ["none", UNCLEAR]
    rows = found.types.tidy()
    return rows[rows["type"].isin(named)].reset_index(drop=True)


def indices(found: Loyalty) -> pd.DataFrame | str:
    """What the kinds are told by: ``measure, part`` (its trait), ``customers, reliability, low_group, high_group, reason``."""
    if isinstance(found.types, str):
        return found.types
    rows = found.types.indices.rename(
        columns={"index": "measure", "trait": "part", "low": "low_group", "high": "high_group"}
    )
    return rows.assign(reason=rows["reason"].replace("", None))


def profile(found: Loyalty, *, language: Language) -> pd.DataFrame | str:
    """What the kinds are like: a row per measure, a column per kind that is told and has enough customers."""
    if isinstance(found.types, str):
        return found.types
    rows = found.types.profile
    wide = rows.pivot_table(index="measure", columns="type", values="estimate", sort=False, observed=True)
    wide = wide.reindex(index=[name for name in PROFILE.split() if name in wide.index])
    wide.loc[[name for name in SHARES if name in wide.index]] *= 100.0
    kinds = [kind for kind in TYPES if kind in wide.columns]
    named = wide[kinds].set_axis([language.text(f"plots.loyalty_{kind}") for kind in kinds], axis=1)
    words = [language.text(f"nb.loyalty.profile_{name}") for name in named.index]
    return named.reset_index(drop=True).assign(what=words)[["what", *named.columns]]


def split(found: Loyalty) -> pd.DataFrame | str:
    """Parts of the change of value, as ``plots.shapley_parts`` draws them; estimates at the point estimates."""
    if isinstance(found.gain, str):
        return found.gain
    rows = found.gain.split.tidy()
    rows = rows[rows["term"].isin(["retention", TERM_OF_SPEND, "total"])]
    rows = rows.assign(term=rows["term"].replace(TERM_OF_SPEND, SPEND)).reset_index(drop=True)
    draws = [found.gain.change if term == "total" else found.gain.part(term) for term in rows["term"]]
    alone = [np.nan if term == "total" else found.gain.part(term, alone=True)[0] for term in rows["term"]]
    low, median, high = np.quantile(np.array(draws)[:, 1:], [0.05, 0.5, 0.95], axis=1)
    return rows.assign(estimate=[each[0] for each in draws], low=low, median=median, high=high, alone=alone)


def sums(found: Loyalty, *, language: Language) -> pd.DataFrame | str:
    """What sums of benefits would say: ``what, estimate, low, high, unit``, the joint change first."""
    if isinstance(found.gain, str):
        return found.gain
    own = found.gain
    staying, spending = (own.part(term, alone=True) for term in ("retention", SPEND))
    draws = {"joint": own.change, "retention": staying, "spend": spending, "alone": staying + spending}
    draws["twice"] = staying + own.change
    rows = [(language.text(f"nb.loyalty.sum_{name}"), float(each[0]), *_ends(each)) for name, each in draws.items()]
    return pd.DataFrame(rows, columns=["what", "estimate", "low", "high"]).assign(unit="currency")


def shocks(found: Loyalty) -> pd.DataFrame | str:
    """What is left of the benefit under each shock, as ``plots.shock_survival`` draws it."""
    if isinstance(found.shocks, str):
        return found.shocks
    return found.shocks.tidy()[_is_told(found, found.shocks.tidy()["type"])].reset_index(drop=True)


def shock_paths(found: Loyalty) -> pd.DataFrame:
    """Share still there by quarter; empty without shocks."""
    if isinstance(found.shocks, str):
        return pd.DataFrame()
    return found.shocks.paths[_is_told(found, found.shocks.paths["type"])].reset_index(drop=True)


def shock_table(found: Loyalty, *, language: Language) -> pd.DataFrame | str:
    """Quarters of staying added per hundred customers: ``what`` (shock), ``loyalty, quarters_added, low, high, share`` (left)."""
    if isinstance(found.shocks, str):
        return found.shocks
    rows = shocks(found)
    assert not isinstance(rows, str)
    rows = rows[~rows["suppressed"].astype(bool)]
    as_now = language.text("plots.as_now")
    return pd.DataFrame(
        {
            "what": rows["shock"].replace(AS_NOW, as_now),
            "loyalty": [_kind(kind, language) for kind in rows["type"]],
            "quarters_added": rows["estimate"],
            "low": rows["low"],
            "high": rows["high"],
            "share": rows["surviving"].where(rows["shock"] != AS_NOW),
        }
    )


def checks(found: Loyalty, *, failed: bool = False) -> pd.DataFrame:
    """Checks of every part that exists: ``check, verdict, number, advice``; ``failed`` keeps those that do not pass."""
    parts = (found.service, found.forgiveness, found.types, found.shocks)
    tables = [part.checks() for part in parts if not isinstance(part, str)]
    columns = ["check", "verdict", "number", "advice"]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True).rename(columns={"name": "check"})
    return table.loc[(table["verdict"] != "pass") | (not failed), columns].reset_index(drop=True)


def _told(found: LoyaltyTypes) -> list[str]:
    """Traits whose groups are told apart."""
    used = set(found.indices.loc[found.indices["used"].astype(bool), "trait"])
    return [trait for trait in TRAITS if trait in used]


def _is_told(found: Loyalty, kinds: pd.Series) -> pd.Series:
    """Rows of all customers and of the kinds that can be told."""
    shown = types(found)
    return kinds.isin([ALL, *TYPES] if isinstance(shown, str) else [ALL, *shown["type"]])


def _gaps(found: CostToServe) -> pd.DataFrame:
    """Rows of the lowest band less the highest, with the share of contacts without a stated cost, percent."""
    bands = found.tidy()
    shares = bands[bands["band"] == ALL].set_index("kind")["share_without_cost"]
    gaps = bands[_is_gap(bands)]
    return gaps.assign(without_cost=100.0 * shares.reindex(gaps["kind"]).to_numpy(dtype=float))


def _is_gap(bands: pd.DataFrame) -> pd.Series:
    return bands["band"].astype(str).str.contains(" less ", regex=False)


def _ends(draws: Floats) -> tuple[float, float]:
    low, high = np.quantile(draws[1:], [0.05, 0.95])
    return float(low), float(high)


def _kind(kind: str, language: Language) -> str:
    return show.said(kind, language) if kind == ALL else language.text(f"plots.loyalty_{kind}")


# ------------------------------------------------------------------------------------------------------------- readings


def answer(found: Loyalty, *, language: Language) -> Sentences:
    """What the dissatisfied cost, why customers come back, and what a gain in the score is worth through staying and spending."""
    return [
        " ".join([_gap_line(found, language), *_failing(found, language)[:1]]),
        _kinds_line(found, language),
        " ".join([_gain_line(found, language), *_shock_lines(found, language)[:1]]),
    ]


def read_service(found: Loyalty, *, language: Language) -> Sentences:
    """The gap between the bands, at which touchpoints it is told apart, and how many contacts have no stated cost."""
    if isinstance(found.service, str):
        return []
    gaps = _gaps(found.service)
    own = gaps[(gaps["kind"] != ALL) & gaps["estimate"].notna()]
    lines = [_gap_line(found, language)]
    clear = own[(own["conf_low"] > 0) | (own["conf_high"] < 0)]
    number = language.number(len(own))
    names = ", ".join(f"{row['kind']} ({show.money(row['estimate'], language)})" for row in clear.to_dict("records"))
    if names:
        lines.append(language.text("nb.loyalty.gap_at", number=number, names=names))
    elif len(own):
        lines.append(language.text("nb.loyalty.gap_nowhere", number=number))
    touches = language.number(found.service.touches)
    if not found.service.without_cost:
        return [*lines, language.text("nb.loyalty.every_cost", number=touches)]
    share = language.percent(found.service.without_cost / max(found.service.touches, 1))
    return [*lines, language.text("nb.loyalty.without_cost", number=touches, share=share)]


def read_failing(found: Loyalty, *, language: Language) -> Sentences:
    """How many more leave after a failed touch, on how many leavers that rests, and whether the satisfied forgive more."""
    if isinstance(found.forgiveness, str):
        return []
    return _failing(found, language)


def read_types(found: Loyalty, *, language: Language) -> Sentences:
    """Of whom the kinds are, which traits name nobody, and how many customers are of no clear kind."""
    if isinstance(found.types, str):
        return []
    lines = []
    told = _told(found.types)
    for trait in TRAITS:
        own = found.types.indices[found.types.indices["trait"] == trait]
        why = next((reason for reason in own["reason"] if reason), "no index of it is recorded")
        if trait not in told:
            words = {"trait": show.said(trait, language), "reason": show.said(why, language)}
            kind = language.text(f"plots.loyalty_{KIND_OF_TRAIT[trait]}_title")
            lines.append(language.text("nb.loyalty.untold", kind=kind, **words))
    unclear = float(found.types.glance()["unclear"].iloc[0])
    number, least = language.number(len(found.types.members)), language.percent(CLEAR, 0)
    quarter = language.period(found.types.as_of)
    words = {"customers": number, "quarter": quarter, "share": language.percent(unclear, 0), "least": least}
    return [*lines, language.text("nb.loyalty.unclear", **words)]


def read_sums(found: Loyalty, *, language: Language) -> Sentences:
    """What each part of the gain is, and why churn saved and a change of lifetime value are not summed."""
    if isinstance(found.gain, str):
        return []
    total, churn = float(found.gain.change[0]), float(found.gain.part("retention", alone=True)[0])
    parts = _parts(found.gain, language)
    del parts["interval"]
    lines = [language.text("nb.loyalty.parts", **parts)]
    if not _is_refused(COUNTED_TWICE):
        return lines
    words = {"churn": show.money(churn, language), "total": show.money(total, language)}
    words["sum"] = show.money(churn + total, language)
    if total <= 0:
        return [*lines, language.text("nb.loyalty.twice", **words)]
    times = language.number((churn + total) / total, 1)
    return [*lines, language.text("nb.loyalty.twice_times", times=times, **words)]


def read_shocks(found: Loyalty, *, language: Language) -> Sentences:
    """What is left of the benefit under each shock."""
    return [] if isinstance(found.shocks, str) else _shock_lines(found, language)


def on_service(found: Loyalty, *, language: Language) -> Words:
    """Words of the figure of cost to serve."""
    if isinstance(found.service, str):
        return Words()
    glance = found.service.glance().iloc[0]
    words = {"customers": language.number(glance["customers"]), "rows": language.number(glance["customer_quarters"])}
    return Words(None, language.text("nb.loyalty.source_service", metric=found.exposure.upper(), **words))


def on_failing(found: Loyalty, *, language: Language) -> Words:
    """Words of the figure of leaving after a failed touch."""
    if isinstance(found.forgiveness, str):
        return Words()
    glance = found.forgiveness.glance().iloc[0]
    words = {"customers": language.number(glance["customers"]), "rows": language.number(glance["customer_quarters"])}
    return Words(None, language.text("nb.loyalty.source_failing", metric=found.exposure.upper(), **words))


def on_types(found: Loyalty, *, language: Language) -> Words:
    """Words of the figure of kinds of loyalty."""
    if isinstance(found.types, str):
        return Words()
    words = {"customers": language.number(len(found.types.members)), "quarter": language.period(found.types.as_of)}
    return Words(None, language.text("nb.loyalty.source_types", **words))


def on_split(found: Loyalty, *, language: Language) -> Words:
    """Words of the figure of the parts of a gain."""
    if isinstance(found.gain, str):
        return Words()
    return Words(None, language.text("nb.loyalty.source_split", **_over(found.gain, language)))


def on_shocks(found: Loyalty, *, language: Language) -> Words:
    """Words of the figure of shocks."""
    if isinstance(found.shocks, str):
        return Words()
    own = found.shocks
    words = {"customers": language.number(own.customers), "quarter": language.period(own.landmark)}
    words |= {"gain": show.plain(own.score_gain, language), "metric": own.exposure.upper()}
    said = [language.text("nb.loyalty.source_shocks", **words)]
    if found.shock_source:
        said.append(language.text("nb.loyalty.source_leaving", source=found.shock_source))
    return Words(None, " ".join(said))


def _gap_line(found: Loyalty, language: Language) -> str:
    """Lowest band less the highest, of all contacts."""
    if isinstance(found.service, str):
        return language.text("nb.loyalty.no_service", reason=_because(found.service, language))
    bands = found.service.tidy()
    row = bands[_is_gap(bands) & (bands["kind"] == ALL)].iloc[0]
    low, high = (_lower(show.said(band, language)) for band in str(row["band"]).split(" less "))
    if np.isnan(row["estimate"]):
        return language.text("nb.loyalty.gap_hidden", low_band=low, high_band=high)
    way: Literal["more", "less"] = "more" if row["estimate"] >= 0 else "less"
    is_open = row["conf_low"] <= 0 <= row["conf_high"]
    ends = (row["conf_low"], row["conf_high"]) if way == "more" else (-row["conf_high"], -row["conf_low"])
    return language.text(
        f"nb.loyalty.gap_{way}{'_open' if is_open else ''}",
        low_band=low,
        high_band=high,
        difference=show.money(abs(float(row["estimate"])), language),
        interval=show.money_interval(*ends, language),
    )


def _failing(found: Loyalty, language: Language) -> Sentences:
    if isinstance(found.forgiveness, str):
        return [language.text("nb.loyalty.no_failing", reason=_because(found.forgiveness, language))]
    rows = found.forgiveness.hazards
    every = {str(row["case"]): row for row in rows[rows["band"] == ALL].to_dict("records")}
    apart = every[DIFFERENCE]
    left, after = (
        language.number(number) for number in (found.forgiveness.left_after_failed, found.forgiveness.failed_quarters)
    )
    if apart["suppressed"]:
        return [language.text("nb.loyalty.failing_hidden", left=left, after=after)]
    is_open = apart["conf_low"] <= 0 <= apart["conf_high"]
    lines = [
        language.text(
            f"nb.loyalty.failing{'_open' if is_open else '_clear'}",
            after=language.percent(every[AFTER]["estimate"]),
            without=language.percent(every[WITHOUT]["estimate"]),
            interval=show.cell("interval", {**apart, "unit": "probability"}, language),
        )
    ]
    events = min(
        found.forgiveness.left_after_failed, found.forgiveness.failed_quarters - found.forgiveness.left_after_failed
    )
    key = "events_few" if events < SURE_EVENTS else "events"
    lines.append(language.text(f"nb.loyalty.{key}", left=left, after=after))
    softening = found.forgiveness.terms.set_index("term").loc["forgiveness"]
    way = "more" if softening["conf_low"] > 0 else "less" if softening["conf_high"] < 0 else "open"
    return [*lines, language.text(f"nb.loyalty.forgive_{way}")]


def _kinds_line(found: Loyalty, language: Language) -> str:
    """Shares of the kinds that can be told, the largest first."""
    shown = types(found)
    if isinstance(found.types, str) and found.types.startswith(NOTHING_STANDS_OUT):
        return language.text("nb.loyalty.no_kinds")
    if isinstance(found.types, str) or isinstance(shown, str):
        return language.text("nb.loyalty.no_types", reason=_because(str(found.types), language))
    named = shown[~shown["type"].isin(["none", UNCLEAR]) & (shown["share"] > 0)].sort_values("share", ascending=False)
    parts = [
        language.text(
            "nb.loyalty.kind",
            kind=language.text(f"plots.loyalty_{row['type']}_title"),
            share=language.percent(row["share"], 0),
            interval=language.text(
                "format.interval", low=language.percent(row["conf_low"], 0), high=language.percent(row["conf_high"], 0)
            ),
        )
        for row in named.to_dict("records")
        if row["conf_high"] >= 0.005
    ]
    none = shown.loc[shown["type"] == "none", "share"]
    rest = language.percent(float(none.iloc[0]), 0) if len(none) else show.EMPTY
    return language.text("nb.loyalty.kinds", kinds="; ".join(parts), rest=rest)


def _gain_line(found: Loyalty, language: Language) -> str:
    if isinstance(found.gain, str):
        return language.text("nb.loyalty.no_gain", reason=_because(found.gain, language))
    over, parts = _over(found.gain, language), _parts(found.gain, language)
    words = {name: parts[name] for name in ("total", "interval", "staying", "spending")}
    return language.text("nb.loyalty.gain", metric=over["metric"], months=over["months"], **words)


def _parts(found: Gain, language: Language) -> dict[str, str]:
    low, high = _ends(found.change)
    return {
        "total": show.money(float(found.change[0]), language),
        "interval": show.money_interval(low, high, language),
        "staying": show.money(float(found.part("retention")[0]), language),
        "staying_interval": show.money_interval(*_ends(found.part("retention")), language),
        "spending": show.money(float(found.part(SPEND)[0]), language),
        "spending_interval": show.money_interval(*_ends(found.part(SPEND)), language),
    }


def _over(found: Gain, language: Language) -> dict[str, str]:
    rate = found.annual_discount_rate
    return {
        "metric": found.exposure.upper(),
        "months": language.number(found.horizon_months),
        "rate": language.percent(rate, 0 if (rate * 100).is_integer() else 1),
    }


def _shock_lines(found: Loyalty, language: Language) -> Sentences:
    """A sentence a shock, over all customers; or why there is none."""
    if isinstance(found.shocks, str):
        if found.shocks == NO_KINDS:
            return [language.text("nb.loyalty.untested")]
        return [language.text("nb.loyalty.no_shocks", reason=_because(found.shocks, language))]
    rows = found.shocks.tidy()
    lines = []
    for row in rows[(rows["type"] == ALL) & (rows["shock"] != AS_NOW)].to_dict("records"):
        ends = (language.percent(row[f"surviving_{end}"], 0) for end in ("low", "high"))
        interval = language.text("format.interval", **dict(zip(("low", "high"), ends, strict=True)))
        key = "shock_open" if row["surviving_low"] <= 1 <= row["surviving_high"] else "shock"
        words = {"share": language.percent(row["surviving"], 0), "interval": interval}
        lines.append(language.text(f"nb.loyalty.{key}", shock=row["shock"], **words))
    if (rows["surviving_low"] > 1.005).any():
        lines.append(language.text("nb.loyalty.shock_above"))
    if found.left_out:
        lines.append(language.text("nb.loyalty.price_left_out", reason=_because(found.left_out, language)))
    return lines


def _is_refused(names: tuple[str, ...]) -> bool:
    """Whether benefits hold the same term, so that their sum counts money twice."""
    try:
        refuse_overlap(names)
    except InputError:
        return True
    return False


def _because(why: str, language: Language) -> str:
    return show.said(why, language).rstrip(".")


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
