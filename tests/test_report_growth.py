"""Notebook 11: what new customers cost and who brings them, sentences from the figures, words in both languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cxroi as cx
from cxroi import plots
from cxroi.errors import InputError, InvalidParameters
from cxroi.language import Language, catalogue
from cxroi.panel import Panel
from cxroi.report import growth, results, show
from cxroi.report.growth import CHANNEL, REFERRED, Growth
from cxroi.report.parameters import check_parameters
from cxroi.simulate import simulate
from cxroi.tables import Tables
from cxroi.value.acquisition import ALL, Acquisition
from cxroi.value.baseline import BaselineValue, baseline_value
from cxroi.value.brands import BrandValues
from cxroi.value.earned_growth import EarnedGrowth
from cxroi.value.referrals import ReferralRates, ReferralValue

VI, EN = Language("vi", "VND"), Language("en", "VND")
ENGLISH_WORDS = re.compile(r"\b(the|of|and|is|are|with|no|not|from|customers|quarter|answers|model|range|referrals)\b")
OF_DATA = re.compile(r"\b(region|plan|referral|store|partner|online_ads)\b|[\w.]*\.yaml|\{[^}]*\}|\w+_\w+")
SHARE, SOURCE = 0.3, "survey of new customers, 2026"
EARLIER = "2026Q1"
READ: tuple[Callable[..., list[str]], ...] = (
    growth.answer,
    growth.read_costs,
    growth.read_rates,
    growth.read_referral,
    growth.read_growth,
    growth.read_brands,
)


@pytest.fixture(scope="module")
def tables(sample: Path) -> Tables:
    return cx.read_tables(sample)


@pytest.fixture(scope="module")
def panel(tables: Tables) -> Panel:
    return cx.build_panel(tables)


@pytest.fixture(scope="module")
def found(tables: Tables, panel: Panel) -> Growth:
    return growth.gather(
        replace(tables, segments=("plan",)), panel, exposure="nps", would_have_come=(SHARE, SOURCE), seed=20
    )


@pytest.fixture(scope="module")
def bare(tables: Tables, panel: Panel) -> Growth:
    """Transactions and who they are of, nothing else; neither horizon nor rate."""
    assert tables.transactions is not None
    own = replace(
        tables,
        customers=tables.customers.select("customer_id", "joined_on"),
        transactions=tables.transactions.drop("brand", "discount"),
        surveys=None,
        referrals=None,
        segments=(),
        controls=(),
        config=tables.config.model_copy(update={"value": None}),
    )
    return growth.gather(own, replace(panel, metrics=(), value_terms=None), exposure="nps", seed=20)


@pytest.fixture(scope="module")
def costless(tables: Tables, panel: Panel) -> Growth:
    own = replace(tables, customers=tables.customers.drop("acquisition_cost", "region", "plan"), segments=())
    return growth.gather(own, replace(panel, metrics=()), exposure="", would_have_come=(SHARE, SOURCE), seed=20)


@pytest.fixture(scope="module")
def undated(tables: Tables, panel: Panel) -> Growth:
    own = replace(tables, transactions=None, data_end=None)
    return growth.gather(own, panel, exposure="nps", seed=20)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Growth:
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    simulate(folder, customers=25, seed=3)
    own = cx.read_tables(folder)
    return growth.gather(own, cx.build_panel(own), exposure="nps", seed=20)


def frame(view: pd.DataFrame | str) -> pd.DataFrame:
    assert isinstance(view, pd.DataFrame), view
    return view


def by_level(found: Acquisition | str) -> dict[str, dict[str, float]]:
    assert isinstance(found, Acquisition), found
    return {str(row["level"]): row for row in found.tidy().to_dict("records")}


# results


def test_mean_cost_is_that_of_the_customers_who_joined_since_the_transactions_begin(
    tables: Tables, found: Growth
) -> None:
    everybody: pd.DataFrame = tables.customers.collect("pandas").to_native()
    assert isinstance(found.by_channel, Acquisition)
    joined = everybody[everybody["joined_on"] >= pd.Timestamp(found.by_channel.since)]
    for channel, costs in joined.groupby("acquisition_channel")["acquisition_cost"]:
        assert by_level(found.by_channel)[str(channel)]["cac"] == pytest.approx(costs.mean(), rel=1e-12)
    assert by_level(found.by_channel)[ALL]["customers"] == len(joined)


def test_lifetime_value_of_a_level_is_that_of_the_model_of_its_new_customers(tables: Tables, found: Growth) -> None:
    assert found.terms is not None
    value = baseline_value(tables, by=CHANNEL, seed=20, **found.terms._asdict())
    assert isinstance(value, BaselineValue)
    draws = value.new_customer_draws("store")
    assert draws is not None
    assert by_level(found.by_channel)["store"]["ltv_median"] == pytest.approx(np.median(draws[1:]), rel=1e-12)


def test_bands_have_a_value_and_all_have_none_beside_them(found: Growth) -> None:
    """Whoever answered had stayed until then: a value of all beside it would compare what does not compare."""
    levels = by_level(found.costs["nps"])
    assert np.isfinite(levels["detractor"]["ltv_to_cac_median"])
    assert np.isnan(levels[ALL]["ltv_to_cac_median"])
    assert np.isnan(levels["no answer"]["ltv_to_cac_median"])


def test_value_of_a_referral_keeps_its_identity(found: Growth) -> None:
    """Kumar, Petersen & Leone (2007): (1 - s) (value + saved cost) + s saved cost."""
    assert isinstance(found.referral, ReferralValue)
    mean = found.referral.tidy().set_index("term")["mean"]
    would_not, would = mean["would_not_have_come"], mean["would_have_come"]
    assert mean["one_referral"] == pytest.approx((1 - SHARE) * would_not + SHARE * would, rel=1e-12)
    levels = by_level(found.brought)
    saved = levels["not referred"]["cac"] - levels[REFERRED]["cac"]
    errors = [(levels[name]["cac_conf_high"] - levels[name]["cac"]) / 1.96 for name in ("not referred", REFERRED)]
    # mean of 500 draws, within four of its own standard errors
    assert would == pytest.approx(saved, abs=4 * float(np.hypot(*errors)) / np.sqrt(500))


def test_without_the_share_or_its_source_no_referral_is_valued(tables: Tables, found: Growth) -> None:
    for stated, why in (((growth.NOT_GIVEN, SOURCE), growth.NO_SHARE), ((SHARE, " "), growth.NO_SOURCE)):
        told, draws = growth.referral_worth(tables, found.brought, {ALL: np.ones(500)}, stated, 20)
        assert (told, draws) == (why, None)
        silent = replace(found, referral=why)
        assert show.said(why, VI) != why
        assert growth.referral_terms(silent, language=EN) == why
        assert show.said(why, EN).rstrip(".") in growth.answer(silent, language=EN)[-1]
        assert growth.read_referral(silent, language=EN) == []


def test_nobody_and_everybody_would_have_come_are_shares_like_others(tables: Tables, found: Growth) -> None:
    worth = {ALL: np.full(500, 1e7)}
    nobody, _ = growth.referral_worth(tables, found.brought, worth, (0.0, SOURCE), 20)
    everybody, _ = growth.referral_worth(tables, found.brought, worth, (1.0, SOURCE), 20)
    assert isinstance(nobody, ReferralValue)
    assert isinstance(everybody, ReferralValue)
    apart = nobody.terms["mean"].iloc[0] - everybody.terms["mean"].iloc[0]
    assert apart == pytest.approx(1e7, rel=1e-9)


def test_referrals_end_with_the_panels_last_period_too(tables: Tables) -> None:
    known = growth.as_of(tables, cx.build_panel(tables, last_period=EARLIER))
    assert str(known.data_end) == "2026-03-31"
    assert known.referrals is not None
    assert tables.referrals is not None
    told, every = (
        each.select("occurred_at").collect("pandas").to_native() for each in (known.referrals, tables.referrals)
    )
    assert len(told) == int((every["occurred_at"] < "2026-04-01").sum()) < len(every)


def test_brands_are_summed_once(found: Growth) -> None:
    assert isinstance(found.brands, BrandValues)
    parts = found.brands.tidy().query("part == 'all'").set_index("brand")
    assert parts["margin"].drop("all brands").sum() == pytest.approx(parts.loc["all brands", "margin"], rel=1e-9)
    assert parts["customers"].drop("all brands").sum() > parts.loc["all brands", "customers"]


def test_unknown_earned_channel_is_refused(tables: Tables, panel: Panel) -> None:
    own = replace(tables, surveys=None, referrals=None, segments=())
    with pytest.raises(InputError, match="'referal' is none of them"):
        growth.gather(own, replace(panel, metrics=()), exposure="", earned_channels="store, referal", seed=1)


@pytest.mark.parametrize("share", [-0.5, 1.5])
def test_share_that_is_none_is_refused_before_the_notebook_starts(share: float) -> None:
    with pytest.raises(InvalidParameters, match="would_have_come"):
        check_parameters("11_growth", {"would_have_come": share})
    assert check_parameters("11_growth", {"would_have_come": 0})["would_have_come"] == 0


# sentences and tables are views of the results


def test_answer_holds_the_figures_of_the_results(found: Growth) -> None:
    number, sure, change = growth.answer(found, language=EN)
    every = by_level(found.by_channel)[ALL]
    assert f"costs {EN.money(every['cac'], compact=True)} to win" in number
    assert f"earned back in month {every['payback_months']:.0f} " in number
    assert f"worth {every['ltv_to_cac_median']:.1f} times the cost" in number
    assert isinstance(found.growth, EarnedGrowth)
    newest = found.growth.glance().iloc[0]
    assert f"is {newest['earned_growth_rate']:.1%} (the year to September 30, 2026" in number
    assert f"bring {newest['net_revenue_retention']:.1%} of the revenue" in number
    assert "referral)" in sure
    assert "online_ads)" in sure
    assert f"if {SHARE:.0%} of the referred would have come anyway (source: {SOURCE})" in change


def test_levels_are_told_apart_only_where_their_intervals_do_not_meet(found: Growth) -> None:
    assert isinstance(found.by_channel, Acquisition)
    alike = found.by_channel.tidy().assign(cac_conf_low=1.0, cac_conf_high=1e9)
    close = replace(found, costs={**found.costs, CHANNEL: replace(found.by_channel, levels=alike)})
    assert "do not meet" in growth.read_costs(found, language=EN)[0]
    assert "no channel is told apart" in growth.read_costs(close, language=EN)[0]


def test_payback_that_is_not_reached_is_said(found: Growth) -> None:
    assert isinstance(found.by_channel, Acquisition)
    far = found.by_channel.tidy().assign(payback="not reached", payback_months=np.nan)
    told = replace(found.by_channel, levels=far)
    assert set(frame(growth.cost_table(told, language=EN))["payback"]) >= {"> 23"}
    late = replace(found, costs={**found.costs, CHANNEL: told})
    assert "not earned back within the 23 months followed" in growth.answer(late, language=EN)[0]


def test_missing_cost_is_said_and_never_zero(costless: Growth) -> None:
    number = growth.answer(costless, language=EN)[0]
    assert "that is not a cost of zero" in number
    assert "A new customer is worth" in number
    assert growth.levels(costless.by_channel) == growth.NO_CAC
    assert growth.referral_terms(costless, language=EN) == growth.NO_SAVING


def test_transactions_alone_give_growth_without_a_claim_of_who_brought_it(bare: Growth) -> None:
    number, sure, change = growth.answer(bare, language=EN)
    assert isinstance(bare.growth, EarnedGrowth)
    kept = bare.growth.glance()["net_revenue_retention"].iloc[0]
    assert f"Kept customers bring {kept:.1%}" in number
    assert "recorded nowhere" in number
    assert "Earned growth, from" not in number
    assert "100% of the new customers" in sure
    assert "no table of referrals" in change
    for view in (growth.rates(bare), growth.band_costs(bare)):
        assert view == results.NO_ANSWERS
    assert growth.cells(bare) == growth.NO_REFERRALS
    assert growth.other_costs(bare, language=EN) == growth.NO_SEGMENTS


def test_segments_without_a_stated_cost_are_not_called_missing(tables: Tables, panel: Panel) -> None:
    own = replace(tables, customers=tables.customers.drop("acquisition_cost"), segments=("plan",))
    told = growth.other_costs(growth.gather(own, panel, exposure="nps", seed=20), language=EN)
    assert told == growth.NO_CAC


def test_unknown_origin_gives_bounds(found: Growth) -> None:
    assert isinstance(found.growth, EarnedGrowth)
    terms = found.growth.tidy()
    unknown = terms["term"].isin(["unknown_new", "unknown_share_of_new"])
    own = terms.assign(estimate=terms["estimate"].mask(unknown, 0.25))
    own.loc[own["term"] == "earned_growth_rate_if_unknown_earned", "estimate"] = 0.1
    told = replace(found, growth=replace(found.growth, terms=own))
    rate = found.growth.glance()["earned_growth_rate"].iloc[0]
    assert f"lies between {rate:.1%} and +10.0%" in growth.answer(told, language=EN)[0]
    assert "+10.0%, if all were earned" in growth.read_growth(told, language=EN)[-1]


def test_rates_are_per_hundred_customers(found: Growth) -> None:
    assert isinstance(found.rates, ReferralRates)
    every = frame(growth.band_rates(found, language=EN)).iloc[0]
    assert every["referrals_per_hundred"] == pytest.approx(100 * every["referrals"] / len_of(found.rates), rel=1e-12)
    assert "too few (organic: 24)" in growth.read_rates(found, language=EN)[1]


def len_of(rates: ReferralRates) -> float:
    return float(rates.glance()["customer_periods"].iloc[0])


def test_slope_is_an_association_only_where_its_interval_leaves_one_out(found: Growth) -> None:
    assert isinstance(found.rates, ReferralRates)
    for low, words in ((1.1, "; an association."), (0.9, "1 is within the interval")):
        point = found.rates.per_point.assign(rate_ratio=1.2, conf_low=low, conf_high=1.4)
        told = replace(found, rates=replace(found.rates, per_point=point))
        assert words in growth.read_rates(told, language=EN)[1]


@pytest.mark.parametrize("company", ["found", "bare", "costless", "undated", "tiny"])
def test_every_word_is_translated_and_every_view_shown(request: pytest.FixtureRequest, company: str) -> None:
    told: Growth = request.getfixturevalue(company)
    for language in (VI, EN):
        shown = [sentence for read in READ for sentence in read(told, language=language)]
        views = (
            growth.cost_table(told.by_channel, language=language),
            growth.cost_table(told.brought, language=language),
            growth.other_costs(told, language=language),
            growth.band_rates(told, language=language),
            growth.referral_terms(told, language=language),
            growth.checks(told),
        )
        shown += [show.table(view, language=language).text for view in views]
        pictures = (
            (plots.acquisition, growth.levels(told.by_channel), growth.on_costs(told.by_channel, language=language)),
            (plots.acquisition, growth.band_costs(told), growth.on_bands(told, language=language)),
            (plots.referral_rates, growth.rates(told), growth.on_rates(told, language=language)),
            (plots.referral_cells, growth.cells(told), growth.on_cells(told, language=language)),
            (plots.earned_growth, growth.growth_terms(told), growth.on_growth(told, language=language)),
            (plots.brand_margins, growth.brand_parts(told), growth.on_brands(told, language=language)),
            (plots.brand_overlap, growth.brand_overlap(told), growth.on_brands(told, language=language)),
        )
        shown += [repr(show.figure(draw, view, words, language=language)) for draw, view, words in pictures]
        shown += [words.caption for _, _, words in pictures]
        if language is VI:
            lines = [line for text in shown for line in text.replace(SOURCE, "").splitlines()]
            assert [line for line in lines if ENGLISH_WORDS.search(OF_DATA.sub("", line))] == []


def test_reasons_of_dataless_companies_reach_every_part(undated: Growth, tiny: Growth) -> None:
    for part in (undated.by_channel, undated.growth, undated.brands, undated.rates):
        assert isinstance(part, str)
    assert growth.levels(tiny.by_channel) == growth.NOBODY_NEW
    assert isinstance(tiny.growth, str)


def test_every_sentence_of_the_module_is_asked_for() -> None:
    source = Path(growth.__file__).read_text(encoding="utf-8")
    names = [key.removeprefix("nb.growth.") for key in catalogue("en") if key.startswith("nb.growth.")]
    assert len(names) > 50
    endings = r"_(reached|not|none|few|meet|apart|known|unknown|hidden|clear|open|both|channels|referrals|one)$"
    prefixed = ("term_", "level_", "origin_", "counted_", "payback")
    unasked = [
        n for n in names if n not in source and re.sub(endings, "_", n) not in source and not n.startswith(prefixed)
    ]
    assert unasked == []
