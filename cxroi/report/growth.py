"""What a new customer costs and who brings new ones: acquisition cost, referrals, earned growth, brands.

Results or the reasons why there are none, tidy views of them and sentences that are read in them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.panel import METRICS, Panel, first_referrals
from cxroi.report import customers, results, show
from cxroi.report.readings import Sentences
from cxroi.report.show import Words
from cxroi.tables import Tables
from cxroi.value import acquisition as acquisitions
from cxroi.value.acquisition import ALL, NO_COST, NOT_REACHED, NOT_STATED, REACHED, Acquisition, acquisition
from cxroi.value.baseline import Tracking, baseline_value, held_out
from cxroi.value.brands import BrandValues, brand_values
from cxroi.value.earned_growth import EarnedGrowth, earned_growth
from cxroi.value.forward import NO_ANSWER
from cxroi.value.histories import NOT_STATED as MISSING
from cxroi.value.referrals import (
    NO_SAVING,
    NO_SHARE,
    ReferralCells,
    ReferralRates,
    ReferralValue,
    one_referral,
    referral_cells,
    referral_rates,
    referral_value,
)

Floats = NDArray[np.float64]
Draws = Mapping[str, Floats]

CHANNEL, BRAND = "acquisition_channel", "brand"
UNDIVIDED = "everybody"
BROUGHT, REFERRED, OTHERWISE = "brought_by", "referred", "not referred"
FIRST_BAND = "first_band"
MONTHS_OF_A_YEAR = 12
NOT_GIVEN = -1.0  # a share that nobody stated
NORMAL_975 = float(special.ndtri(0.975))
NO_REFERRALS = "the data have no table of referrals"
NOBODY_NEW = f"fewer than {acquisitions.FEWEST_CUSTOMERS} customers joined since the transactions begin"
NO_CAC = "acquisition cost is stated for too few of the customers who joined; that is not a cost of zero"
NO_SOURCE = "the share that would have come anyway is stated without its source; give would_have_come_source"
NO_NEW_VALUE = "lifetime value of a new customer is not known"
NO_SEGMENTS = "neither segments nor brands of customers are in the data"
ONE_BRAND = "only one brand is in the data"
SHARES = ("net_revenue_retention", "all_new", "earned_new", "bought_new")
COST_COLUMNS = ("level", "customers", "cac", "conf_low", "conf_high", "ltv_and_range", "payback")


class Terms(NamedTuple):
    """Horizon and discount rate of lifetime value."""

    horizon_quarters: int
    annual_discount_rate: float


@dataclass(frozen=True, eq=False)
class Growth:
    """What is known of new customers at the end of the last period.

    Attributes
    ----------
    as_of : date or None
        Last day that is looked at; None in data without dates.
    exposure : str
        Score of the bands; empty without answers.
    terms : Terms or None
        Of lifetime value, given or as stated.
    costs : mapping
        ``Acquisition`` or reason by channel, each segment, brand and score, in this order.
    everybody : Acquisition or str
        Not divided; only where the data name no channel, else the reason of the channel.
    brought : Acquisition or str
        By whether customers were referred.
    rates : ReferralRates or str
    referral : ReferralValue or str
        Needs the share that would have come anyway, and its source.
    referred_apart : bool
        Whether referred customers have a lifetime value of their own; otherwise that of all stands in.
    cells : ReferralCells or str
    growth : EarnedGrowth or str
    has_referrals : bool
    brands : BrandValues or str
    """

    as_of: dt.date | None
    exposure: str
    terms: Terms | None
    costs: Mapping[str, Acquisition | str]
    everybody: Acquisition | str
    brought: Acquisition | str
    rates: ReferralRates | str
    referral: ReferralValue | str
    referred_apart: bool
    cells: ReferralCells | str
    growth: EarnedGrowth | str
    has_referrals: bool
    brands: BrandValues | str

    @property
    def by_channel(self) -> Acquisition | str:
        """Cost by channel; where the data name none, of all customers."""
        return self.everybody if isinstance(self.costs[CHANNEL], str) else self.costs[CHANNEL]


# -------------------------------------------------------------------------------------------------------------- results


def gather(
    tables: Tables,
    panel: Panel,
    *,
    exposure: str,
    terms: tuple[int, float] = (0, results.AS_STATED),
    would_have_come: tuple[float, str] = (NOT_GIVEN, ""),
    earned_channels: str = "",
    seed: int,
) -> Growth:
    """Everything that is asked of new customers, each part a result or the reason why not.

    Parameters
    ----------
    exposure
        Score of the bands; where it has no answers the first one that has stands in.
    terms
        Horizon (months) and annual discount rate of lifetime value; 0 and -1: as ``dataset.yaml`` states.
    would_have_come
        Share of referred customers who would have come anyway (-1: as ``dataset.yaml`` states) and its source.
    earned_channels
        Acquisition channels that count as earned beside the referrals, commas between them.

    Raises
    ------
    InputError
        If an earned channel is none of the data's, or the share lies outside 0..1.
    """
    stated = tables.config.referrals
    if would_have_come[0] == NOT_GIVEN and stated is not None:
        would_have_come = (stated.would_have_come, stated.source)
    known = as_of(tables, panel)
    metric = exposure if exposure in panel.metrics else results.main_exposure(panel)
    horizon = _terms(panel, *terms)
    held = NO_NEW_VALUE if horizon is None else held_out(known, seed=seed)  # the same for every breakdown
    brought, worth = _by_referral(known, horizon, seed, held)
    value, draws = referral_worth(known, brought, worth, would_have_come, seed)
    rates = referral_rates(known, metric) if metric else results.NO_ANSWERS
    if not isinstance(value, str) and not isinstance(rates, str):
        value, _ = referral_worth(known, brought, worth, would_have_come, seed, rates=rates)
    brands = brand_values(known, months=MONTHS_OF_A_YEAR)
    if not isinstance(brands, str) and int(brands.glance()["brands"].iloc[0]) < 2:
        brands = ONE_BRAND
    ways = dict.fromkeys([CHANNEL, *known.segments, BRAND, *([metric] if metric else [])])
    channels = [name.strip() for name in earned_channels.split(",") if name.strip()]
    costs = {by: _costs(known, by, horizon, seed, held) for by in ways}
    return Growth(
        as_of=known.data_end,
        exposure=metric,
        terms=horizon,
        costs=costs,
        everybody=_undivided(known, horizon, seed, held) if isinstance(costs[CHANNEL], str) else costs[CHANNEL],
        brought=brought,
        rates=rates,
        referral=value,
        referred_apart=REFERRED in worth,
        cells=referral_cells(known, months=MONTHS_OF_A_YEAR, value_of_referral=draws, seed=seed),
        growth=earned_growth(known, earned_channels=channels),
        has_referrals=known.referrals is not None,
        brands=brands,
    )


def as_of(tables: Tables, panel: Panel) -> Tables:
    """The tables as they stood when the panel's last period ended, referrals too."""
    known = customers.as_of(tables, panel)
    if known is tables or known.referrals is None or known.data_end is None:
        return known
    after = dt.datetime.combine(known.data_end + dt.timedelta(days=1), dt.time())
    return replace(known, referrals=known.referrals.filter(nw.col("occurred_at") < after))


def channel_costs(known: Tables, panel: Panel, *, seed: int) -> Acquisition | str:
    """Cost of a new customer by channel with value against it, over the stated terms; of everybody where the data name no channel."""
    terms = _terms(panel, 0, results.AS_STATED)
    held = NO_NEW_VALUE if terms is None else held_out(known, seed=seed)
    found = _costs(known, CHANNEL, terms, seed, held)
    return _undivided(known, terms, seed, held) if isinstance(found, str) else found


def _terms(panel: Panel, horizon_months: int, annual_discount_rate: float) -> Terms | None:
    months, rate = panel.value_terms or (0, results.AS_STATED)
    months = horizon_months or months
    rate = rate if annual_discount_rate == results.AS_STATED else annual_discount_rate
    return None if months == 0 or rate == results.AS_STATED else Terms(-(-months // results.MONTHS_OF_A_QUARTER), rate)


def _costs(tables: Tables, by: str, terms: Terms | None, seed: int, held: Tracking | str) -> Acquisition | str:
    """Cost, payback and, where terms are known, lifetime value against it."""
    try:
        found = acquisition(tables, by=by)
        if isinstance(found, str) or terms is None:
            return found
        valued, column = tables, by
        if by in METRICS:
            bands = acquisitions.first_bands(tables, by)
            assert not isinstance(bands, str)
            valued, column = _with_column(tables, bands.rename({"level": FIRST_BAND})), FIRST_BAND
        draws = _new_customer_draws(valued, column, terms, seed, held)
        if by in METRICS:  # whoever answered had stayed until then, so that bands compare with one another only
            draws = {level: one for level, one in draws.items() if level not in (ALL, NO_ANSWER)}
        return acquisition(tables, by=by, values=draws, seed=seed) if draws else found
    except InputError as error:  # a column with too many levels
        return str(error)


def _undivided(tables: Tables, terms: Terms | None, seed: int, held: Tracking | str) -> Acquisition | str:
    """Cost, payback and value of all customers together."""
    marked = replace(tables, customers=tables.customers.with_columns(nw.lit(ALL).alias(UNDIVIDED)))
    draws = {} if terms is None else _new_customer_draws(tables, None, terms, seed, held)
    found = acquisition(marked, by=UNDIVIDED, values=draws or None, seed=seed)
    if isinstance(found, str):
        return found
    return replace(found, levels=found.levels.tail(1).reset_index(drop=True))


def _with_column(tables: Tables, column: nw.LazyFrame[Any]) -> Tables:
    """The tables with one more column of customers."""
    joined = tables.customers.join(column, on="customer_id", how="left")
    return replace(tables, customers=tables.materialise(joined))


def _new_customer_draws(
    tables: Tables, by: str | None, terms: Terms, seed: int, held: Tracking | str
) -> dict[str, Floats]:
    """Draws of the value of a new customer of each level that has a model of its own, and of all; empty where there is none."""
    found = baseline_value(
        tables,
        horizon_quarters=terms.horizon_quarters,
        annual_discount_rate=terms.annual_discount_rate,
        by=by,
        seed=seed,
        holdout=held,
    )
    if isinstance(found, str):
        return {}
    draws = {one.level: found.new_customer_draws(one.level) for one in found.levels if one.own}
    return {NOT_STATED if level == MISSING else level: one[1:] for level, one in draws.items() if one is not None}


def _by_referral(
    tables: Tables, terms: Terms | None, seed: int, held: Tracking | str
) -> tuple[Acquisition | str, Draws]:
    """Cost and value of customers who were referred and of the others, with the draws of value."""
    if tables.referrals is None:
        return NO_REFERRALS, {}
    referred = first_referrals(tables).select(
        nw.col("referred_id").alias("customer_id"), nw.lit(REFERRED).alias(BROUGHT)
    )
    marked = _with_column(tables, referred)
    marked = replace(marked, customers=marked.customers.with_columns(nw.col(BROUGHT).fill_null(OTHERWISE)))
    draws: Draws = {}
    if terms is not None and tables.transactions is not None:
        draws = _new_customer_draws(marked, BROUGHT, terms, seed, held)
    return acquisition(marked, by=BROUGHT, values=draws or None, seed=seed), draws


def referral_worth(
    tables: Tables,
    brought: Acquisition | str,
    worth: Draws,
    would_have_come: tuple[float, str],
    seed: int,
    *,
    rates: ReferralRates | None = None,
) -> tuple[ReferralValue | str, Floats | None]:
    """Value of a referral with its draws, or why it cannot be had."""
    share, source = would_have_come
    if isinstance(brought, str):
        return brought, None
    if share == NOT_GIVEN:
        return NO_SHARE, None
    if not source.strip():
        return NO_SOURCE, None
    if ALL not in worth:
        return NO_NEW_VALUE, None
    value = worth.get(REFERRED, worth[ALL])
    saved = _saved_cost(brought, len(value), seed)
    if saved is None:
        return NO_SAVING, None
    found = referral_value(
        rates,
        value_of_referred=value,
        saved_acquisition_cost=saved,
        would_have_come=share,
        source=source,
        seed=seed,
        currency=tables.config.currency or "",
    )
    return found, one_referral(value, saved, share)


def _saved_cost(brought: Acquisition, draws: int, seed: int) -> Floats | None:
    """Draws of what customers who were not referred cost more than those who were."""
    known = {str(one["level"]): one for one in brought.tidy().to_dict("records")}
    if any(name not in known or np.isnan(known[name]["cac"]) for name in (OTHERWISE, REFERRED)):
        return None
    generator = np.random.default_rng([seed, 11])
    others, referred = (
        known[name]["cac"] + _error(known[name]) * generator.standard_normal(draws) for name in (OTHERWISE, REFERRED)
    )
    return np.asarray(others - referred)


def _error(level: Mapping[Any, Any]) -> float:
    return float(level["cac_conf_high"] - level["cac_conf_low"]) / (2 * NORMAL_975)


# ---------------------------------------------------------------------------------------------------------------- views


def levels(found: Acquisition | str) -> pd.DataFrame | str:
    """Levels of one way of looking at customers, as ``plots.acquisition`` draws them."""
    rows = _rows(found)
    return NO_CAC if not isinstance(rows, str) and rows["cac"].isna().all() else rows


def cost_table(found: Acquisition | str, *, language: Language) -> pd.DataFrame | str:
    """Cost with interval; value against it and payback in words, with theirs: ``level, customers, cac, …, ltv_and_range, payback``."""
    rows = levels(found)
    if isinstance(rows, str):
        return rows
    each = rows.to_dict("records")
    table = rows.rename(columns={"cac_conf_low": "conf_low", "cac_conf_high": "conf_high"})
    names = [_level(str(row["level"]), language) for row in each]
    ratios, months = [_ratio(row, language) for row in each], [_payback(row, language) for row in each]
    written = table.assign(
        level=names, ltv_and_range=ratios, payback=months, unit_of_change="currency", unit="currency"
    )
    return written[[*COST_COLUMNS, "unit", "unit_of_change"]]


def other_costs(found: Growth, *, language: Language) -> pd.DataFrame | str:
    """The same by each segment and by brand, one below the other, named in ``level``."""
    frames, reasons = [], []
    for by, way in found.costs.items():
        rows = cost_table(way, language=language)
        if by in (CHANNEL, found.exposure):
            continue
        if isinstance(rows, str):
            reasons += [rows] if by != BRAND else []
        else:
            name = by if by != BRAND else language.text("nb.column.brand")
            parts = rows.iloc[:-1]
            frames.append(parts.assign(level=f"{name}: " + parts["level"]))
    if not frames:
        return reasons[0] if reasons else NO_SEGMENTS
    return pd.concat(frames, ignore_index=True)


def band_costs(found: Growth) -> pd.DataFrame | str:
    """Levels by the band of the first answer, as ``plots.acquisition`` draws them."""
    return levels(found.costs[found.exposure]) if found.exposure else results.NO_ANSWERS


def rates(found: Growth) -> pd.DataFrame | str:
    """Referral rates by band and by score, as ``plots.referral_rates`` draws them."""
    return found.rates if isinstance(found.rates, str) else found.rates.tidy()


def band_rates(found: Growth, *, language: Language) -> pd.DataFrame | str:
    """Referrals of all and by band: ``level, referral_kind, customers, referrals``, and per 100 customers and period with interval."""
    if isinstance(found.rates, str):
        return found.rates
    rows = found.rates.tidy()
    shown = rows[(rows["by"] != "score") & (rows["kind"] != "not stated")]
    figures = {
        name: 100.0 * shown[column]
        for name, column in (("referrals_per_hundred", "rate"), ("conf_low", "conf_low"), ("conf_high", "conf_high"))
    }
    names = [_level(str(name), language) for name in shown["level"]]
    kinds = [language.text(f"plots.kind_{kind}") for kind in shown["kind"]]
    table = shown[["customers", "referrals"]].assign(level=names, referral_kind=kinds, unit="ratio", **figures)
    return table.reset_index(drop=True)


def referral_terms(found: Growth, *, language: Language) -> pd.DataFrame | str:
    """What a referral is worth, its parts, and what referrals add by band: ``what, mean, low, high``."""
    if isinstance(found.referral, str):
        return found.referral
    terms = found.referral.tidy()
    names = [language.text(f"nb.growth.term_{term}") for term in terms["term"]]
    by_band = found.referral.levels
    bands = [language.text("nb.growth.term_band", band=_level(str(name), language)) for name in by_band["level"]]
    columns = ["mean", "low", "high"]
    table = pd.concat([terms[columns], by_band[columns]], ignore_index=True).astype(float)
    return table.assign(what=[*names, *bands], unit="currency")


def cells(found: Growth) -> pd.DataFrame | str:
    """The four cells, as ``plots.referral_cells`` draws them."""
    return found.cells if isinstance(found.cells, str) else found.cells.tidy()


def growth_terms(found: Growth) -> pd.DataFrame | str:
    """Terms of earned growth, the newest period first, as ``plots.earned_growth`` draws them."""
    return found.growth if isinstance(found.growth, str) else found.growth.tidy()


def brand_parts(found: Growth) -> pd.DataFrame | str:
    """Margin by brand, as ``plots.brand_margins`` draws it."""
    return found.brands if isinstance(found.brands, str) else found.brands.tidy()


def brand_overlap(found: Growth) -> pd.DataFrame | str:
    """Customers that brands share, as ``plots.brand_overlap`` draws them."""
    return found.brands if isinstance(found.brands, str) else found.brands.overlap


def checks(found: Growth, *, failed: bool = False) -> pd.DataFrame:
    """Checks of every part that exists: ``check, part, verdict, number, advice``; ``failed`` keeps those that do not pass."""
    parts: list[tuple[str, Any]] = [
        ("acquisition cost", found.by_channel),
        ("acquisition cost by band", found.costs.get(found.exposure, "")),
        ("referrals", found.rates),
        ("four cells", found.cells),
        ("earned growth", found.growth),
        ("brands", found.brands),
    ]
    frames = []
    for part, result in parts:
        if not isinstance(result, str) and not (part == "acquisition cost by band" and result is found.by_channel):
            frame = result.checks()
            kept = frame["name"].eq("bands are comparable") if part == "acquisition cost by band" else slice(None)
            frames.append(frame.loc[kept].rename(columns={"name": "check"}).assign(part=part))
    columns = ["check", "part", "verdict", "number", "advice"]
    if not frames:
        return pd.DataFrame(columns=columns)
    table = pd.concat(frames, ignore_index=True)
    shown: pd.DataFrame = table.loc[(table["verdict"] != "pass") | (not failed), columns]
    return shown.reset_index(drop=True)


def _rows(found: Acquisition | str) -> pd.DataFrame | str:
    """Levels, with or without a cost; the last one is all customers."""
    if isinstance(found, str):
        return found
    rows = found.tidy()
    return NOBODY_NEW if rows["suppressed"].astype(bool).all() else rows


def _level(name: str, language: Language) -> str:
    """Name of a level: of cxroi's own where it is one, else as the data have it."""
    slug = name.replace(" ", "_")
    own = (f"nb.growth.level_{slug}", f"plots.level.{slug}", f"plots.band.{slug}")
    return next((words for words in map(language.find, own) if words), name)


def _ratio(row: Mapping[Any, Any], language: Language) -> str:
    """Lifetime value over cost with its range, in a cell."""
    figures = [float(row[f"ltv_to_cac_{place}"]) for place in ("median", "low", "high")]
    if np.isnan(figures).any():
        return show.EMPTY
    middle, low, high = (language.number(figure, 1) for figure in figures)
    return f"{middle} ({low}–{high})"


def _payback(row: Mapping[Any, Any], language: Language) -> str:
    """Months until the cost is earned back with their interval, in a cell."""
    if row["suppressed"]:
        return show.EMPTY
    verdict = str(row["payback"])
    if verdict == NOT_REACHED:
        return language.text("nb.growth.payback_not", months=language.number(row["months_followed"]))
    if verdict != REACHED:
        return show.said(verdict, language)
    month, low, high = (float(row[f"payback_{place}"]) for place in ("months", "conf_low", "conf_high"))
    ends = f"{language.number(low)}–{language.number(high)}" if np.isfinite(high) else f"≥ {language.number(low)}"
    return f"{language.number(month)} ({ends})"


# ------------------------------------------------------------------------------------------------------------- readings


def answer(found: Growth, *, language: Language) -> Sentences:
    """What a new customer costs and who brings new ones, how sure, and what would change it."""
    number = [_cost(found, language), _earned(found, language)]
    return [" ".join(number), " ".join(_sure(found, language)), _change(found, language)]


def _cost(found: Growth, language: Language) -> str:
    rows = _rows(found.by_channel)
    if isinstance(rows, str):
        return language.text("nb.growth.no_cost_told", reason=_because(rows, language))
    assert not isinstance(found.by_channel, str)
    every = rows.iloc[-1].to_dict()
    words = {"date": language.date(found.by_channel.since), "customers": language.number(every["customers"])}
    if np.isnan(every["cac"]):
        none = language.text("nb.growth.cost_none" if every["payback"] == NO_COST else "nb.growth.cost_few", **words)
        return " ".join([none, *_worth(every, found, language)])
    words["cost"] = show.money(every["cac"], language)
    words["interval"] = show.money_interval(every["cac_conf_low"], every["cac_conf_high"], language)
    return " ".join([language.text("nb.growth.cost", **words), _against(every, found, language)])


def _worth(every: Mapping[Any, Any], found: Growth, language: Language) -> Sentences:
    """Lifetime value without a cost to set it against."""
    if found.terms is None or np.isnan(every["ltv_median"]):
        return []
    return [
        language.text(
            "nb.growth.worth",
            value=show.money(every["ltv_median"], language),
            interval=show.money_interval(every["ltv_low"], every["ltv_high"], language),
            **_of_terms(found.terms, language),
        )
    ]


def _against(every: Mapping[Any, Any], found: Growth, language: Language) -> str:
    """The cost against lifetime value, and when it is earned back."""
    reached = every["payback"] == REACHED
    month = every["payback_months"] if reached else every["months_followed"]
    back = language.text(f"nb.growth.back_{'reached' if reached else 'not'}", month=language.number(month))
    if found.terms is None or np.isnan(every["ltv_to_cac_median"]):
        why = results.NO_TERMS if found.terms is None else NO_NEW_VALUE
        return language.text("nb.growth.back_alone", back=back, reason=_because(why, language))
    low, middle, high = (language.number(every[f"ltv_to_cac_{place}"], 1) for place in ("low", "median", "high"))
    ends = language.text("format.interval", low=low, high=high)
    return language.text(
        "nb.growth.back_and_worth", back=back, ratio=middle, interval=ends, **_of_terms(found.terms, language)
    )


def _of_terms(terms: Terms, language: Language) -> dict[str, str]:
    rate = terms.annual_discount_rate
    return {
        "months": language.number(terms.horizon_quarters * results.MONTHS_OF_A_QUARTER),
        "rate": language.percent(rate, 0 if (rate * 100).is_integer() else 1),
    }


def _earned(found: Growth, language: Language) -> str:
    """Kept, earned and bought revenue against the base, and the earned growth rate."""
    if isinstance(found.growth, str):
        return language.text("nb.growth.no_earned", reason=_because(found.growth, language))
    term = _newest(found.growth)
    known = {name: row["estimate"] for name, row in term.items() if not np.isnan(row["estimate"])}
    words = {"period": _span(str(term["all_new"]["period"]), language)}
    words |= {name: language.percent(known[name]) for name in SHARES if name in known}
    if _nothing_recorded(found):
        told = {"net_revenue_retention", "all_new"} <= set(known)
        return (
            language.text("nb.growth.earned_nowhere", **_only(words, "period", *SHARES[:2]))
            if told
            else _hidden(language)
        )
    if not {*SHARES, "earned_growth_rate", "unknown_new"} <= set(known):
        return _hidden(language)
    rate, bound = known["earned_growth_rate"], term["earned_growth_rate_if_unknown_earned"]["estimate"]
    words["rate"] = _signed(rate, language)
    if known["unknown_new"] > 0 and not np.isnan(bound):
        words |= {"bound": _signed(bound, language), "unknown": language.percent(known["unknown_new"])}
        return language.text(
            "nb.growth.earned_between", **_only(words, "period", "rate", "bound", "unknown", *SHARES[:1], *SHARES[2:])
        )
    ends = (language.percent(term["earned_growth_rate"][name]) for name in ("conf_low", "conf_high"))
    words["interval"] = language.text("format.interval", **dict(zip(("low", "high"), ends, strict=True)))
    return language.text("nb.growth.earned", **_only(words, "period", "rate", "interval", *SHARES[:1], *SHARES[2:]))


def _nothing_recorded(found: Growth) -> bool:
    """Whether nothing could tell an earned new customer from a bought one."""
    return not found.has_referrals and not isinstance(found.growth, str) and not found.growth.earned_channels


def _only(words: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: words[name] for name in names}


def _hidden(language: Language) -> str:
    return language.text("nb.growth.earned_hidden")


def _sure(found: Growth, language: Language) -> Sentences:
    lines = []
    rows = levels(found.by_channel)
    if not isinstance(rows, str) and not np.isnan(rows["cac"].iloc[-1]):
        share = float(rows["share_stated"].iloc[-1])
        lines.append(language.text("nb.growth.stated", share=language.percent(share, 0)))
    lines += _apart(found, language)
    if not isinstance(found.growth, str):
        unknown = _newest(found.growth)["unknown_share_of_new"]["estimate"]
        key = "origin_hidden" if np.isnan(unknown) else "origin_known" if unknown == 0 else "origin_unknown"
        words = {"share": language.percent(unknown, 0)} if key == "origin_unknown" else {}
        lines.append(language.text(f"nb.growth.{key}", **words))
    return lines or [language.text("nb.growth.unsure")]


def _apart(found: Growth, language: Language) -> Sentences:
    """The dearest and the cheapest channel, and whether their intervals meet."""
    rows = levels(found.costs[CHANNEL])
    if isinstance(rows, str):
        return []
    known = rows[(rows["level"] != ALL) & rows["cac"].notna()].sort_values("cac", kind="stable")
    if len(known) < 2:
        return []
    low, high = known.iloc[0], known.iloc[-1]
    return [
        language.text(
            f"nb.growth.channels_{'meet' if low['cac_conf_high'] >= high['cac_conf_low'] else 'apart'}",
            low=show.money(low["cac"], language),
            low_channel=_level(str(low["level"]), language),
            high=show.money(high["cac"], language),
            high_channel=_level(str(high["level"]), language),
        )
    ]


def _change(found: Growth, language: Language) -> str:
    """What a referral is worth, between everybody and nobody who would have come anyway; or why that is not told."""
    if isinstance(found.referral, str):
        return language.text("nb.growth.change_unknown", reason=_because(found.referral, language))
    return " ".join([language.text("nb.growth.change"), *read_referral(found, language=language)[:2]])


def read_costs(found: Growth, *, language: Language) -> Sentences:
    """For whom no cost is stated, and over what value is counted."""
    rows = levels(found.by_channel)
    if isinstance(rows, str):
        return []
    assert not isinstance(found.by_channel, str)
    lines = _apart(found, language)
    silent = [_level(str(name), language) for name in rows.loc[rows["payback"] == NO_COST, "level"] if name != ALL]
    if silent:
        lines.append(language.text("nb.growth.silent", names=", ".join(silent)))
    if found.terms is None:
        return [*lines, language.text("nb.growth.no_value", reason=_because(results.NO_TERMS, language))]
    return [*lines, language.text("nb.growth.basis", **_of_terms(found.terms, language))]


def read_rates(found: Growth, *, language: Language) -> Sentences:
    """How many referrals can be set beside a score, and what a point goes with."""
    if isinstance(found.rates, str):
        return []
    rows = found.rates.accounting.to_dict("records")
    words = {str(row["reason"]): language.number(row["rows"]) for row in rows if row["table"] == "referrals"}
    points = {str(row["kind"]): row for row in found.rates.per_point.to_dict("records")}
    kind = "organic" if "organic" in points else ALL
    point, placed = points[kind], language.text("nb.growth.placed", read=words["read"], kept=words["kept"])
    if np.isnan(point["rate_ratio"]):
        named = {"kind": language.text(f"plots.kind_{kind}"), "referrals": language.number(point["referrals"])}
        few = language.text("nb.growth.slope_none", **named)
        return [placed, few]
    low, high = (language.number(point[name], 2) for name in ("conf_low", "conf_high"))
    clear = point["conf_low"] > 1 or point["conf_high"] < 1
    slope = language.text(
        f"nb.growth.slope_{'clear' if clear else 'open'}",
        kind=language.text(f"plots.kind_{kind}"),
        ratio=language.number(point["rate_ratio"], 2),
        interval=language.text("format.interval", low=low, high=high),
    )
    return [placed, slope]


def read_referral(found: Growth, *, language: Language) -> Sentences:
    """What a referral is worth, the share it rests on and its source."""
    if isinstance(found.referral, str):
        return []
    term = {str(row["term"]): row for row in found.referral.tidy().to_dict("records")}
    one = term["one_referral"]
    lines = [
        language.text(
            "nb.growth.referral",
            value=show.money(one["mean"], language),
            interval=show.money_interval(one["low"], one["high"], language),
            share=language.percent(found.referral.would_have_come[1], 0),
            source=found.referral.source,
        ),
        language.text(
            "nb.growth.referral_ends",
            would=show.money(term["would_have_come"]["mean"], language),
            would_not=show.money(term["would_not_have_come"]["mean"], language),
        ),
    ]
    return lines if found.referred_apart else [*lines, language.text("nb.growth.referral_like_all")]


def read_growth(found: Growth, *, language: Language) -> Sentences:
    """What was kept, who counts as earned, and the bounds that unknown origin leaves."""
    if isinstance(found.growth, str):
        return []
    term = _newest(found.growth)
    lines = []
    kept, capped = term["net_revenue_retention"], term["gross_revenue_retention"]
    if not np.isnan(kept["estimate"]):
        ends = (language.percent(kept["conf_low"]), language.percent(kept["conf_high"]))
        lines.append(
            language.text(
                "nb.growth.kept",
                kept=language.percent(kept["estimate"]),
                interval=language.text("format.interval", low=ends[0], high=ends[1]),
                capped=language.percent(capped["estimate"]),
            )
        )
    channels = found.growth.earned_channels
    key = (
        ("both" if found.has_referrals else "channels") if channels else "referrals" if found.has_referrals else "none"
    )
    named = {"names": ", ".join(channels)} if channels else {}
    lines.append(language.text(f"nb.growth.counted_{key}", **named))
    rate, bound = term["earned_growth_rate"]["estimate"], term["earned_growth_rate_if_unknown_earned"]["estimate"]
    if rate < bound:
        words = {"low": _signed(rate, language), "high": _signed(bound, language)}
        lines.append(language.text("nb.growth.bounds", **words))
    return lines


def read_brands(found: Growth, *, language: Language) -> Sentences:
    """Customers counted once against the sum over brands, and what shared ones bring."""
    if isinstance(found.brands, str):
        return []
    one = found.brands.glance().iloc[0]
    lines = []
    if not np.isnan([one["customers"], one["customers_summed_over_brands"]]).any():
        names = {"once": "customers", "summed": "customers_summed_over_brands", "brands": "brands"}
        counts = {word: language.number(one[column]) for word, column in names.items()}
        lines.append(language.text("nb.growth.once", **counts))
    if not np.isnan([one["margin"], one["shared_share_of_margin"]]).any():
        shared = language.percent(one["shared_share_of_margin"], 0)
        lines.append(language.text("nb.growth.shared", margin=show.money(one["margin"], language), share=shared))
    return lines


def on_costs(found: Acquisition | str, *, language: Language) -> Words:
    """Words of a figure of cost and payback; the figure itself finds its title."""
    if isinstance(found, str):
        return Words()
    every = found.glance().iloc[0]
    if every["suppressed"]:
        return Words()
    words = {"customers": language.number(every["customers"]), "date": language.date(found.since)}
    return Words(None, language.text("nb.growth.source_costs", **words))


def on_bands(found: Growth, *, language: Language) -> Words:
    """Words of the same figure by the band of the first answer."""
    words = on_costs(found.costs.get(found.exposure, ""), language=language)
    if not words.caption:
        return words
    metric = {"metric": found.exposure.upper(), "months": language.number(acquisitions.LANDMARK_MONTHS)}
    return replace(words, caption=f"{words.caption} {language.text('nb.growth.source_bands', **metric)}")


def on_rates(found: Growth, *, language: Language) -> Words:
    """Words of a figure of referrals by score."""
    if isinstance(found.rates, str):
        return Words()
    every = found.rates.glance().iloc[0]
    words = {"referrals": language.number(every["referrals"]), "answers": language.number(every["customer_periods"])}
    return Words(None, language.text("nb.growth.source_rates", metric=found.exposure.upper(), **words))


def on_cells(found: Growth, *, language: Language) -> Words:
    """Words of a figure of the four cells."""
    if isinstance(found.cells, str):
        return Words()
    since, until = language.date(found.cells.since), language.date(found.cells.until)
    threshold = show.money(found.cells.value_threshold, language)
    return Words(None, language.text("nb.growth.source_cells", since=since, until=until, threshold=threshold))


def on_growth(found: Growth, *, language: Language) -> Words:
    """Words of a figure of earned growth."""
    if isinstance(found.growth, str):
        return Words()
    newest = found.growth.glance().iloc[0]
    period, base = (_span(str(newest[name]), language) for name in ("period", "base_period"))
    title = language.text("nb.growth.title_nowhere") if _nothing_recorded(found) else None
    return Words(title, language.text("nb.growth.source_growth", period=period, base=base))


def on_brands(found: Growth, *, language: Language) -> Words:
    """Words of a figure of brands."""
    if isinstance(found.brands, str):
        return Words()
    since, until = language.date(found.brands.since), language.date(found.brands.until)
    return Words(None, language.text("nb.growth.source_brands", since=since, until=until))


def _newest(found: EarnedGrowth) -> dict[str, dict[Any, Any]]:
    """Terms of the newest period, by name."""
    rows = found.tidy()
    return {str(row["term"]): row for row in rows[rows["period"] == rows["period"].iloc[0]].to_dict("records")}


def _span(label: str, language: Language) -> str:
    """A quarter, or a year by its last day."""
    end = label.removeprefix("year to ")
    if end == label:
        return language.period(label)
    return language.text("nb.growth.year_to", date=language.date(dt.date.fromisoformat(end)))


def _signed(share: float, language: Language) -> str:
    return ("+" if share > 0 else "") + language.percent(share)


def _because(why: str, language: Language) -> str:
    return show.said(why, language).rstrip(".")
