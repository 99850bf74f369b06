"""Cash flows of the wider case: each term by hand, programmes together against customers one by one, both keys, negative controls."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cxroi as cx
from cxroi.case import BusinessCase, Case, business_case, finance, parse_case
from cxroi.case.costing import DEARER
from cxroi.case.flows import score_path_by_quarter
from cxroi.case.forecast import TOTAL, Forecast, draw_inputs, forecasts_of
from cxroi.case.ledger import OVERLAP, ledger_draws, refuse_summed
from cxroi.case.measures import UNITS, expected_shortfall
from cxroi.case.overlap import MOST_COUNTED_OUT, lost_to_the_scale
from cxroi.case.ranges import gain_at
from cxroi.case.red_team import SHORTCUTS, case_shortcuts
from cxroi.case.terms import BENEFITS
from cxroi.errors import InputError, InvalidCase
from cxroi.simulate import simulate
from cxroi.value.response import MarginResponse

CUSTOMERS, RATE = 1_000, 0.10
MONTHLY = finance.periodic_rate(RATE, 12)


def known(
    retention: float = 0.0,
    spend: float = 0.0,
    *,
    quarters: int = 12,
    referrals: float | None = None,
    service: float | None = None,
) -> MarginResponse:
    """A response without error to 1,000 customers, USD a quarter, customer and point."""

    def of(value: float) -> np.ndarray:
        return np.full((1, quarters), value)

    return MarginResponse(
        exposure="nps",
        customers=CUSTOMERS,
        currency="USD",
        evidence="experiment",
        baseline=of(1.0),
        through_retention=of(retention),
        through_spend=of(spend),
        persistence=None,
        score_range=(0.0, 10.0),
        through_referrals=None if referrals is None else of(referrals),
        through_service=None if service is None else of(service),
    )


def uncertain(retention: float = 3.0, spend: float = 2.0, error: float = 1.0, *, draws: int = 200) -> MarginResponse:
    """The same with normal errors."""
    rng = np.random.default_rng(3)
    fading = 0.97 ** np.arange(12)
    parts = [rng.normal(mean, error, (draws, 1)) * fading for mean in (retention, spend)]
    return replace(
        known(), baseline=np.ones((draws, 12)), through_retention=parts[0], through_spend=parts[1], evidence="adjusted"
    )


def programme(**changes: Any) -> dict[str, Any]:
    """Two points for half the customers at once and for ever; 10,000 today and 500 a month."""
    return {
        "id": "one",
        "name": "One",
        "evidence": "experiment",
        "score_gain": 2.0,
        "reach": 0.5,
        "ramp_months": 0,
        "half_life_months": "never",
        "costs": [
            {"category": 3, "month": 0, "amount": 10_000},
            {"category": 1, "month": 1, "until_month": 12, "amount": 500},
        ],
    } | changes


def cost_play(**changes: Any) -> dict[str, Any]:
    """A programme that saves money and has no route to a customer."""
    savings = [{"amount": 900, "month": 1, "until_month": 12, "source": "work study"}]
    costs = [{"category": 3, "month": 0, "amount": 5_000}]
    return {
        "id": "bot",
        "name": "Bot",
        "evidence": "association",
        "costs": costs,
        "savings": savings,
    } | changes


def case_of(*programmes: dict[str, Any], **changes: Any) -> Case:
    terms = {"currency": "USD", "start": "2026-01-01", "horizon_months": 12, "annual_discount_rate": RATE}
    return Case.model_validate(terms | {"programmes": list(programmes)} | changes)


def decided(response: MarginResponse, case: Case, *, draws: int = 100, seed: int = 1) -> BusinessCase:
    return business_case(response, case, seed=seed, draws=draws)


def one(result: BusinessCase, measure: str, programme_id: str = "one", column: str = "median") -> float:
    """A number of ``case.csv`` in the base scenario."""
    frame = result.tidy()
    keep = (frame["measure"] == measure) & (frame["scenario"] == "base") & (frame["programme"] == programme_id)
    return float(frame.loc[keep, column].item())


def worth(flows: list[float] | np.ndarray) -> float:
    """Net present value of monthly flows at the rate of these cases."""
    return finance.npv(flows, MONTHLY)


# ---------------------------------------------------------------- terms of the wider case, by hand


def test_referrals_and_service_cost_add_to_a_point() -> None:
    plain = decided(known(spend=6.0), case_of(programme()))
    more = decided(known(spend=6.0, referrals=1.5, service=0.5), case_of(programme()))
    assert one(more, "pv_benefit") == pytest.approx(one(plain, "pv_benefit") * 8.0 / 6.0, rel=1e-12)
    assert {"referrals", "service_cost"} <= set(more.ledger()["term"])
    assert not {"referrals", "service_cost"} & set(plain.ledger()["term"])


def test_a_later_start_moves_the_gain() -> None:
    result = decided(known(spend=6.0), case_of(programme(start_month=4)))
    shares = np.array([0.0, 2 / 3, 1.0, 1.0])  # months 5 and 6 of the second quarter
    assert score_path_by_quarter(result.case, result.case.programmes[0]) == pytest.approx(shares, rel=1e-12)
    benefit = np.repeat(2 * 0.5 * CUSTOMERS * 6.0 * shares / 3, 3)
    assert one(result, "pv_benefit") == pytest.approx(worth([0.0, *benefit]), rel=1e-12)


def test_inflation_raises_costs_and_margin_alike() -> None:
    case = case_of(programme(), annual_inflation_rate=0.06)
    plain, risen = decided(known(spend=6.0), case_of(programme())), decided(known(spend=6.0), case)
    prices = 1.06 ** (np.arange(13) / 12)
    net = np.array([-10_000.0, *[1_500.0] * 12]) * prices
    assert one(risen, "npv") == pytest.approx(worth(net), rel=1e-12)
    assert risen.cash_flows()["net_median"].to_numpy() == pytest.approx(net, rel=1e-12)
    # all flows are real ones times prices, so the nominal internal rate is the real one compounded with inflation
    assert 1 + one(risen, "irr") == pytest.approx((1 + one(plain, "irr")) * 1.06, rel=1e-9)


def test_amounts_in_another_currency_are_converted() -> None:
    foreign = [{"category": 3, "month": 0, "amount": 100, "currency": "EUR"}, {"category": 1, "month": 6, "amount": 7}]
    result = decided(known(spend=6.0), case_of(programme(costs=foreign), exchange_rates={"EUR": 1.25}))
    assert one(result, "pv_cost") == pytest.approx(125 - worth([0] * 6 + [-7.0]), rel=1e-12)


def test_overruns_of_one_programme_move_together() -> None:
    costs = [
        {"category": 3, "month": 0, "amount": 1_000, "overrun": {"low": 0.0, "mode": 0.1, "high": 0.4}},
        {"category": 1, "month": 0, "amount": 500, "overrun": {"low": 0.0, "mode": 0.0, "high": 1.0}},
        {"category": 2, "month": 0, "amount": 200, "overrun": 0.5},
    ]
    result = decided(known(spend=6.0), case_of(programme(costs=costs)), draws=20_000)
    assert set(result.inputs.luck) == {"overrun.one"}
    first, second = (part.factor for part in result.whole.spent.parts[:2])
    assert np.corrcoef(np.argsort(np.argsort(first)), np.argsort(np.argsort(second)))[0, 1] == pytest.approx(1.0)
    expected = 1_000 * (1 + 0.5 / 3) + 500 * (1 + 1 / 3) + 200 * 1.5
    # comonotone: standard deviations add, here at most sqrt(0.0072) × 1,000 + sqrt(1/18) × 500 = 203; 20,000 draws
    assert one(result, "pv_cost", column="mean") == pytest.approx(expected, abs=4 * 203 / math.sqrt(20_000))
    flows = result.cash_flows()
    assert flows["cost"].iloc[0] == pytest.approx(one(result, "pv_cost", column="mean"), rel=1e-12)
    corners = result.tidy().set_index(["scenario", "measure"])["median"]
    assert corners["conservative", "pv_cost"] == pytest.approx(1_400 + 1_000 + 300)
    assert corners["optimistic", "pv_cost"] == pytest.approx(1_000 + 500 + 300)


def test_drivers_pass_on_their_gains() -> None:
    small, large = {"low": 0.0, "mode": 1.0, "high": 2.0}, {"low": 1.0, "mode": 2.0, "high": 3.0}
    drivers = [
        {"touchpoint": "a", "gain": small, "pass_through": 0.5, "source": "x"},
        {"touchpoint": "b", "gain": large, "pass_through": {"low": 0.0, "mode": 0.2, "high": 0.4}, "source": "x"},
    ]
    stated = programme(drivers=drivers)
    del stated["score_gain"]
    case = case_of(stated)
    luck = (np.arange(100_000) + 0.5) / 100_000
    gains = gain_at(case.programmes[0], luck)
    rng = np.random.default_rng(0)
    n = 400_000
    a = rng.triangular(0, 1, 2, n) * 0.5
    b = rng.triangular(1, 2, 3, n) * rng.triangular(0, 0.2, 0.4, n)
    # means of independent factors are exact; quantiles against plain Monte Carlo, whose error here is below 0.002
    assert gains.mean() == pytest.approx(0.5 + 0.4, abs=1e-3)
    assert gains.var() == pytest.approx((a + b).var(), rel=0.01)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert np.quantile(gains, share) == pytest.approx(np.quantile(a + b, share), abs=0.006)
    assert gain_at(case.programmes[0], np.array([0.0, 1.0])) == pytest.approx([0.0, 2.2])
    result = decided(known(spend=6.0), case, draws=4_000)
    assert result.whole.gain.mean() == pytest.approx(0.9, abs=4 * gains.std() / math.sqrt(4_000))


def test_stated_benefits_are_inside_only_with_a_figure() -> None:
    words = programme(benefits=[{"benefit": 8}, {"benefit": 1}])
    money = programme(
        benefits=[{"benefit": 8, "amount": 100, "month": 1, "until_month": 12, "source": "exit interviews"}]
    )
    without, inside = (decided(known(spend=6.0), case_of(each)) for each in (words, money))
    assert one(inside, "npv") - one(without, "npv") == pytest.approx(worth([0.0, *[100.0] * 12]), rel=1e-9)
    assert one(without, "npv") == pytest.approx(worth([-10_000.0, *[1_500.0] * 12]), rel=1e-12)
    status = [each.benefits().set_index("number")["status"] for each in (without, inside)]
    assert status[0].loc[[8, 9, 10]].tolist() == ["outside"] * 3
    assert status[1].loc[[8, 9, 10]].tolist() == ["stated", "outside", "outside"]
    assert without.benefits().set_index("number").loc[8, "claimed_by"] == "one"
    # a gain earns what stated benefits do not
    point = one(without, "pv_benefit") / 2.0
    left = one(inside, "pv_cost") - worth([0.0, *[100.0] * 12])
    assert one(inside, "break_even_score_gain") == pytest.approx(left / point, rel=1e-9)


def test_cost_plays_are_valued_beside_the_total() -> None:
    result = decided(known(spend=6.0), case_of(programme(), cost_play()))
    assert one(result, "npv", "bot") == pytest.approx(worth([-5_000.0, *[900.0] * 12]), rel=1e-12)
    for measure in ("npv", "pv_cost", "pv_benefit", "payback_months"):
        assert one(result, measure, TOTAL) == pytest.approx(one(result, measure, "one"), rel=1e-12)
    assert math.isnan(one(result, "linkage_evidence", "bot"))
    assert math.isnan(one(result, "break_even_score_gain", "bot"))
    assert one(result, "break_even_multiple", "bot") == pytest.approx(5_000 / worth([0.0, *[900.0] * 12]), rel=1e-12)
    assert "bot" not in set(result.ledger()["programme"])
    # savings of a programme with a route stay outside its money too
    also = decided(known(spend=6.0), case_of(programme(savings=cost_play()["savings"])))
    assert one(also, "npv") == pytest.approx(one(result, "npv"), rel=1e-12)


def test_cost_plays_alone_have_no_cx_total_and_need_no_linkage() -> None:
    plays = case_of(cost_play(), cost_play(id="rpa"))
    result = decided(replace(known(), reason="nobody was asked"), plays)
    assert [each.programme for each in result.forecasts] == ["bot", "rpa"]
    assert one(result, "npv", "rpa") == pytest.approx(worth([-5_000.0, *[900.0] * 12]), rel=1e-12)
    assert result.ledger().empty
    assert set(result.quadrants()["quadrant"]) == {"cost_play"}


# ---------------------------------------------------------------- published figures through the case


def tei(**changes: Any) -> Case:
    """10k and 5k a year against 15k a year, three years at 10 %."""
    yearly = [12, 24, 36]
    costs = [{"category": 3, "month": 0, "amount": 10_000}] + [
        {"category": 1, "month": m, "amount": 5_000} for m in yearly
    ]
    savings = [{"amount": 15_000, "month": month, "source": "by hand"} for month in yearly]
    return case_of(cost_play(costs=costs, savings=savings), horizon_months=36, **changes)


def test_total_economic_impact_by_hand() -> None:
    result = decided(known(), tei())
    assert round(one(result, "pv_cost", "bot")) == 22_434
    assert round(one(result, "pv_benefit", "bot")) == 37_303
    assert round(100 * one(result, "roi", "bot")) == 66
    assert one(result, "payback_months", "bot") == pytest.approx(12.0, abs=1e-9)
    assert one(result, "benefit_cost_ratio", "bot") == pytest.approx(1 + one(result, "roi", "bot"), rel=1e-12)


MODIFIED = [-120_000, 39_000, 30_000, 21_000, 37_000, 46_000]


@pytest.mark.parametrize(
    ("rate", "flows", "measure", "published"),
    [
        (0.08, [-40_000, 8_000, 9_200, 10_000, 12_000, 14_500], "npv", 1_922.06),
        (0.10, [-70_000, 12_000, 15_000, 18_000, 21_000, 26_000], "irr", 0.0866309480365316),
        (0.10, MODIFIED, "mirr", finance.mirr(MODIFIED, 0.10, 0.10)),
    ],
)  # fmt: skip
def test_spreadsheet_figures(rate: float, flows: list[float], measure: str, published: float) -> None:
    """Yearly flows of Microsoft's examples of NPV, IRR and MIRR (the last at one rate), in the months of a case."""
    savings = [{"amount": flow, "month": 12 * year, "source": "x"} for year, flow in enumerate(flows) if year]
    play = cost_play(costs=[{"category": 3, "month": 0, "amount": -flows[0]}], savings=savings)
    result = decided(known(quarters=20), case_of(play, horizon_months=60, annual_discount_rate=rate))
    assert one(result, measure, "bot") == pytest.approx(published, rel=3e-6)  # published to the cent


# ---------------------------------------------------------------- programmes together


def wide(*, gains: tuple[float, ...] = (6.0, 7.0, 5.0), reaches: tuple[float, ...] = (0.5, 0.4, 0.25)) -> Case:
    """Programmes whose gains together are wider than the scale."""
    stated = [
        programme(
            id=f"p{at}", score_gain=gain, reach=reach, ramp_months=3 * at, start_month=at, half_life_months=24 + at
        )
        for at, (gain, reach) in enumerate(zip(gains, reaches, strict=True))
    ]
    return case_of(*stated, horizon_months=36)


def customer_by_customer(case: Case, response: MarginResponse, reached: np.ndarray, draw: int = 0) -> np.ndarray:
    """Margin a quarter of a population, shape (quarters,): each customer's gains summed and cut, then through both channels."""
    width = response.score_range[1] - response.score_range[0]
    paths = [each.gain.mode * score_path_by_quarter(case, each) for each in case.programmes]
    total = np.zeros(len(paths[0]))
    for customer in reached:
        gain = np.clip(
            sum((path for path, hit in zip(paths, customer, strict=True) if hit), np.zeros(len(paths[0]))),
            -width,
            width,
        )
        total += response.through_retention[draw] * np.cumsum(gain) + response.through_spend[draw] * gain
    return total / len(reached) * response.customers


def test_programmes_together_are_what_each_customer_gains() -> None:
    case, response = wide(), known(retention=2.0, spend=3.0)
    # 2 × 5 × 4 customers reach every combination in exactly the shares of independent programmes
    grid = itertools.product(range(2), range(5), range(4))
    reached = np.array([(a < 1, b < 2, c < 1) for a, b, c in grid])
    assert reached.mean(axis=0) == pytest.approx([0.5, 0.4, 0.25])
    whole = decided(response, case).whole
    assert whole.benefit[0] == pytest.approx(customer_by_customer(case, response, reached), rel=1e-12)
    assert whole.capped.all()
    # and 40,000 customers drawn by lot agree within their own error
    drawn = np.random.default_rng(5).random((40_000, 3)) < np.array([0.5, 0.4, 0.25])
    sets, counts = np.unique(drawn, axis=0, return_counts=True)
    brute = sum(
        customer_by_customer(case, response, np.array([one])) * n for one, n in zip(sets, counts, strict=True)
    ) / len(drawn)
    assert whole.benefit[0] == pytest.approx(brute, rel=0.01)  # standard error 0.3 %


def test_many_programmes_are_taken_on_evenly_spread_customers() -> None:
    count = MOST_COUNTED_OUT + 2
    gains, paths = [np.array([2.0])] * count, [np.ones(1)] * count
    reaches = [0.3] * count
    _, lost = lost_to_the_scale(gains, paths, reaches, 10.0)
    reached = np.arange(count + 1)
    chance = np.array([math.comb(count, k) * 0.3**k * 0.7 ** (count - k) for k in reached])
    assert lost[0, 0] == pytest.approx(chance @ np.maximum(2.0 * reached - 10.0, 0.0), rel=0.05)  # 4,096 points


def test_programmes_that_stay_within_the_scale_add_up() -> None:
    result = decided(known(spend=3.0), wide(gains=(1.0, 2.0, 3.0)))
    assert not result.whole.capped.any()
    parts = [each.measures["npv"] for each in result.forecasts[:-1]]
    assert result.whole.measures["npv"] == pytest.approx(np.sum(parts, axis=0), rel=1e-12)


@pytest.mark.parametrize("inflation", [None, 0.04])
def test_ledger_adds_up_to_the_total_in_every_draw(inflation: float | None) -> None:
    ranges = [
        programme(
            id=f"p{at}",
            score_gain={"low": 2.0, "mode": 4.0, "high": 9.0},
            reach=0.3 + 0.2 * at,
            ramp_months=4 * at,
            half_life_months=18,
            benefits=[{"benefit": 9, "amount": {"low": 0, "mode": 5, "high": 20}, "until_month": 6, "source": "x"}],
        )
        for at in range(3)
    ]
    case = case_of(*ranges, cost_play(), horizon_months=34, tax_rate=0.2, annual_inflation_rate=inflation)
    response = replace(uncertain(), through_service=np.full((200, 12), 0.3))
    result = decided(response, case, draws=3_000)
    rows = ledger_draws(result.forecasts)
    total = rows.pop((TOTAL, TOTAL))
    assert np.sum(list(rows.values()), axis=0) == pytest.approx(total, rel=1e-9, abs=1e-6)
    assert total == pytest.approx(result.whole.measures["npv"] + result.whole.measures["pv_cost"], rel=1e-9, abs=1e-6)
    # here staying is worth something in some draws only; where a point is worth something, overlap takes
    paying = result.whole.measures["pv_stated"] > 0
    lost = np.sum([draws for (name, _), draws in rows.items() if name == OVERLAP], axis=0)
    assert 0.05 < (lost < 0).mean() < 1.0
    assert (lost[paying] <= 1e-9).all()
    table = result.ledger()
    assert list(table.columns) == ["programme", "term", "low", "median", "high", "mean", "unit"]
    assert table["mean"].iloc[:-1].sum() == pytest.approx(table["mean"].iloc[-1], rel=1e-9)
    assert set(table["term"]) == {"retention", "spend", "service_cost", "stated_benefits", TOTAL}


def test_the_ten_benefits_lie_in_terms() -> None:
    benefits = decided(known(spend=1.0, referrals=1.0), case_of(programme())).benefits().set_index("number")
    assert benefits["benefit"].tolist() == list(BENEFITS)
    assert benefits.loc[1, "terms"] == "retention"
    assert benefits.loc[5, "terms"] == "retention, spend, service_cost"
    assert {"1", "2"} <= set(benefits.loc[5, "contains"].split(", "))
    assert benefits.loc[3, "status"] == "inside"
    assert (benefits.loc[5, "status"], benefits.loc[5, "contains"]) == (
        "sum",
        "1, 2",
    )  # cost to serve is not measured here
    assert (benefits.loc[4, "status"], benefits.loc[4, "contains"]) == ("within", "1, 2")
    assert benefits.loc[[6, 7], "status"].tolist() == ["not_in_money"] * 2
    assert (benefits.loc[8:, "terms"] == "").all()
    alone = decided(known(spend=1.0), case_of(programme())).benefits().set_index("number")
    assert alone.loc[3, "status"] == "not_in_money"


def test_summed_key_figures_are_refused_with_the_overlap_named() -> None:
    with pytest.raises(
        InputError, match=r"churn_saved and change_in_ltv both hold retention.*counts the same money twice"
    ):
        refuse_summed({"churn_saved": 900.0, "change_in_ltv": 1_400.0})
    with pytest.raises(InputError, match="both hold retention"):
        refuse_summed({"retention": 900.0, "lifetime_value": 1_400.0})
    text = "currency: USD\nstart: 2026-01-01\nhorizon_months: 12\nannual_discount_rate: 0.1\nprogrammes:\n" + (
        "- {id: one, name: One, evidence: association, score_gain: 1, reach: 1, ramp_months: 0, half_life_months: never,\n"
        "   costs: [{category: 1, month: 0, amount: 1}],\n"
        "   benefits: [{benefit: 1, amount: 900, source: x}, {benefit: 5, amount: 1400, source: x}]}\n"
    )
    with pytest.raises(InvalidCase, match="would count twice") as caught:
        parse_case(text)
    assert len(str(caught.value).splitlines()) == 2


# ---------------------------------------------------------------- measures and views


def test_measures_of_risk_and_of_waiting() -> None:
    result = decided(known(spend=6.0), case_of(programme()))
    assert set(UNITS) <= set(result.tidy()["measure"])
    assert one(result, "peak_cash_need") == pytest.approx(10_000)
    later = [0.0] * 3 + [-10_000.0] + [1_500.0] * 9  # a quarter later, the same horizon
    assert one(result, "cost_of_waiting_a_quarter") == pytest.approx(
        worth([-10_000.0, *[1_500.0] * 12]) - worth(later), rel=1e-12
    )
    # the same as a case that states all of it a quarter later
    costs = [
        {"category": 3, "month": 3, "amount": 10_000},
        {"category": 1, "month": 4, "until_month": 12, "amount": 500},
    ]
    for inflation in (None, 0.05):
        terms = {"annual_inflation_rate": inflation}
        now = decided(known(retention=6.0), case_of(programme(ramp_months=5, half_life_months=9), **terms))
        moved = decided(
            known(retention=6.0),
            case_of(programme(ramp_months=5, half_life_months=9, start_month=3, costs=costs), **terms),
        )
        assert one(now, "cost_of_waiting_a_quarter") == pytest.approx(one(now, "npv") - one(moved, "npv"), rel=1e-9)
    draws = decided(uncertain(), case_of(programme(score_gain={"low": 0, "mode": 2, "high": 4})), draws=1_000)
    npv = np.sort(draws.whole.measures["npv"])
    assert one(draws, "expected_shortfall") == pytest.approx(npv[:50].mean(), rel=1e-12)
    assert one(draws, "expected_shortfall") <= one(draws, "npv", column="low")
    assert expected_shortfall(np.array([3.0])) == 3.0


def test_waiting_counts_what_the_scale_takes() -> None:
    case, response = wide(), known(retention=2.0, spend=3.0)
    later = []
    for each in case.programmes:
        once, monthly = each.costs
        costs = (
            once.model_copy(update={"month": 3}),
            monthly.model_copy(update={"month": 4, "until_month": 15}),
        )
        later.append(each.model_copy(update={"start_month": each.start_month + 3, "costs": costs}))
    moved = decided(response, case.model_copy(update={"programmes": tuple(later)}))
    now = decided(response, case)
    assert one(now, "cost_of_waiting_a_quarter", TOTAL) == pytest.approx(
        one(now, "npv", TOTAL) - one(moved, "npv", TOTAL), rel=1e-9
    )


def test_costs_are_written_off_over_their_lives() -> None:
    costs = [
        {"category": 3, "month": 0, "amount": 12_000, "useful_life_months": 24},
        {"category": 3, "month": 6, "amount": 2_400, "useful_life_months": 48},
        {"category": 1, "month": 1, "until_month": 36, "amount": 100},
    ]
    result = decided(known(spend=6.0), case_of(programme(costs=costs), horizon_months=36))
    frame = result.capitalised().set_index("year")
    assert frame["cost"].tolist() == pytest.approx([12_000 + 2_400 + 1_200, 1_200, 1_200])
    assert frame["written_off"].tolist() == pytest.approx([6_000 + 300 + 1_200, 6_000 + 600 + 1_200, 600 + 1_200])
    assert frame["book_value"].tolist() == pytest.approx([6_000 + 2_100, 1_500, 900])
    benefit = 12 * 2_000.0
    assert frame["profit_expensed_median"].tolist() == pytest.approx([benefit - cost for cost in frame["cost"]])
    assert frame["profit_capitalised_median"].tolist() == pytest.approx([benefit - off for off in frame["written_off"]])
    # over the horizon the two views differ by what is still in the books
    gap = (frame["profit_capitalised_mean"] - frame["profit_expensed_mean"]).sum()
    assert gap == pytest.approx(frame["book_value"].iloc[-1])


def test_a_dearer_category_costs_its_share() -> None:
    case = case_of(programme())
    result = decided(known(spend=6.0), case)
    frame = result.category_sensitivity().set_index("category")
    assert frame["share_of_cost"].sum() == pytest.approx(1.0)
    dearer = programme(costs=[{"category": 3, "month": 0, "amount": 10_000 * (1 + DEARER)}, programme()["costs"][1]])
    again = decided(known(spend=6.0), case_of(dearer))
    assert frame.loc["data_tools", "npv_median"] == pytest.approx(one(again, "npv"), rel=1e-12)
    assert frame.loc["data_tools", "roi_median"] == pytest.approx(one(again, "roi"), rel=1e-12)
    assert frame.loc["data_tools", "elasticity_of_npv"] == pytest.approx(-10_000 / one(result, "npv"), rel=1e-9)
    assert frame.loc["co_creation", "npv_change"] == 0.0


def test_break_even_stands_beside_what_is_known() -> None:
    case = case_of(programme(score_gain={"low": 0.5, "mode": 2.0, "high": 3.0}), cost_play())
    frame = decided(uncertain(), case, draws=2_000).break_even(smallest_detectable_gain=0.8).set_index("programme")
    row = frame.loc["one"]
    point = decided(uncertain(), case, draws=2_000).forecasts[0].measures["pv_point"]
    assert row["point_low"] < row["point_median"] < row["point_high"]
    assert row["break_even_median"] == pytest.approx(
        one(decided(uncertain(), case, draws=2_000), "pv_cost") / np.quantile(point, 0.5, method="inverted_cdf"),
        rel=0.01,
    )
    assert (row["stated_low"], row["stated_mode"], row["stated_high"]) == (0.5, 2.0, 3.0)
    assert (row["observed_low"], row["observed_high"]) == (0.0, 10.0)
    assert row["smallest_detectable_gain"] == pytest.approx(0.8 / 0.5)  # half of the customers are reached
    assert row["detectable"] == (row["break_even_median"] >= 1.6)
    assert math.isnan(frame.loc["bot", "break_even_median"])
    # a gain beyond the answers seen is flagged, and so is one that does not exist
    dear = programme(costs=[{"category": 3, "month": 0, "amount": 10_000_000}])
    far = decided(known(spend=6.0), case_of(dear)).break_even().iloc[0]
    assert far["break_even_median"] > 10
    assert far["beyond_observed"]
    none = decided(known(spend=-6.0), case_of(programme())).break_even().iloc[0]
    assert math.isnan(none["break_even_median"])
    assert none["beyond_observed"]
    with pytest.raises(InputError, match="points above 0"):
        decided(known(spend=6.0), case_of(programme())).break_even(smallest_detectable_gain=-1.0)


def test_the_register_holds_every_assumption() -> None:
    case = case_of(
        programme(owner="Head of service", savings=cost_play()["savings"]),
        cost_play(source="work study", owner="IT"),
        exchange_rates={"EUR": 1.1},
        annual_inflation_rate=0.03,
        sources={
            "annual_discount_rate": {"source": "handbook", "owner": "CFO", "kind": "benchmark"},
            "reach": {"source": "CRM", "kind": "data"},
            "costs.one": {"source": "quote", "kind": "data"},
            "nonsense": {"source": "x", "kind": "data"},
        },
    )
    result = decided(uncertain(), case)
    register = result.register()
    assert register["assumption"].is_unique
    rows = register.set_index("assumption")
    assert rows.loc["annual_discount_rate", ["value", "source", "owner", "kind"]].tolist() == [
        RATE,
        "handbook",
        "CFO",
        "benchmark",
    ]
    assert rows.loc["reach.one", "source"] == "CRM"
    assert rows.loc["costs.one.data_tools", ["value", "source", "owner", "unit"]].tolist() == [
        10_000,
        "quote",
        "Head of service",
        "USD",
    ]
    # the source of a programme speaks of its gain, not of its costs
    assert rows.loc["costs.bot.data_tools", ["source", "owner", "missing"]].tolist() == ["", "IT", True]
    assert rows.loc["savings.one.1", ["value", "source", "unit"]].tolist() == [900, "work study", "USD_per_month"]
    assert rows.loc["half_life_months.one", "text"] == "never"
    assert rows.loc["linkage.one", "kind"] == "data"
    assert rows.loc["customers", "value"] == CUSTOMERS
    assert rows.loc["score_gain.one", "missing"]
    checks = result.checks().set_index("name")
    assert checks.loc["sources", "number"] == register["missing"].sum()
    assert "score_gain.one" in checks.loc["sources", "advice"]
    assert "nonsense" in checks.loc["sources_used", "advice"]


def test_programmes_that_exclude_each_other_make_no_total() -> None:
    result = decided(known(spend=6.0), case_of(programme(excludes=["two"]), programme(id="two")))
    row = result.checks().set_index("name").loc["programmes_fit_together"]
    assert row["verdict"] == "fail"
    assert "one and two" in row["advice"]


# ---------------------------------------------------------------- inputs held one by one


def test_inputs_can_be_held_one_by_one() -> None:
    case = case_of(
        programme(score_gain={"low": 0, "mode": 2, "high": 4}),
        programme(id="two", score_gain={"low": 1, "mode": 2, "high": 3}),
    )
    response = uncertain()
    inputs = draw_inputs(case, response, seed=1, draws=500)
    assert list(inputs.luck) == ["linkage", "score_gain.one", "score_gain.two"]
    held = forecasts_of(case, response, inputs.held({"linkage": 0.5, "score_gain.two": 0.5}))
    assert np.ptp(held[1].measures["npv"]) == 0.0
    assert np.ptp(held[0].measures["npv"]) > 0.0
    values = [
        forecasts_of(case, response, inputs.held(dict.fromkeys(inputs.luck, share)))[-1].measures["npv"][0]
        for share in (0.1, 0.5, 0.9)
    ]
    assert values == sorted(values)  # a probability of the linkage is a place in the order of what a point is worth
    with pytest.raises(InputError, match="must be uncertain, one of linkage"):
        inputs.held({"rates": 0.5})
    # an input's draws do not depend on what else is in the case
    alone = draw_inputs(case_of(programme(score_gain={"low": 0, "mode": 2, "high": 4})), response, seed=1, draws=500)
    assert (alone.luck["score_gain.one"] == inputs.luck["score_gain.one"]).all()


# ---------------------------------------------------------------- both keys, and negative controls


@pytest.mark.parametrize(
    ("response", "stated", "quadrant"),
    [
        (known(spend=12.0), programme(), "cx_win"),
        (known(spend=12.0), programme(evidence="association"), "cost_play"),
        (known(spend=1.0), programme(), "gain_not_yet_money"),
        (replace(known(spend=12.0), evidence="association"), programme(), "gain_not_yet_money"),
        (known(spend=1.0), programme(evidence="association"), "stop"),
        (known(spend=-6.0), programme(evidence="association"), "stop"),
        (known(spend=12.0), programme(score_gain={"low": -4.0, "mode": 2.0, "high": 3.0}), "stop"),
        (known(spend=12.0), cost_play(), "cost_play"),
        (known(spend=12.0), cost_play(costs=[{"category": 3, "month": 0, "amount": 50_000}]), "stop"),
    ],
)
def test_two_keys_give_the_quadrant(response: MarginResponse, stated: dict[str, Any], quadrant: str) -> None:
    row = decided(response, case_of(stated)).quadrants().iloc[0]
    assert row["quadrant"] == quadrant
    assert row["in_cx_total"] == (stated["id"] != "bot")


def test_an_automation_that_only_saves_never_has_a_cx_return() -> None:
    result = decided(known(spend=12.0), case_of(cost_play(evidence="experiment")))
    assert one(result, "npv", "bot") > 0
    assert one(result, "p_npv_positive", "bot") == 1.0
    row = result.quadrants().iloc[0]
    assert (row["quadrant"], row["in_cx_total"]) == ("cost_play", False)
    both = decided(known(spend=0.0), case_of(programme(), cost_play()))
    assert one(both, "npv", TOTAL) == pytest.approx(-one(both, "pv_cost", TOTAL), rel=1e-12)
    assert one(both, "p_npv_positive", TOTAL) == 0.0


@pytest.fixture(scope="module")
def null_world(tmp_path_factory: pytest.TempPathFactory) -> MarginResponse:
    """The response of a simulated company in which satisfaction moves nothing."""
    folder = tmp_path_factory.mktemp("null")
    simulate(folder, world="null", customers=1_500, seed=12)
    panel = cx.build_panel(cx.read_tables(folder))
    found = cx.lifetime_value(panel, horizon_quarters=12, annual_discount_rate=RATE, seed=20, draws=200)
    return found.response(12)


def test_a_company_in_which_nothing_follows_from_satisfaction_has_no_win(null_world: MarginResponse) -> None:
    stated = programme(score_gain={"low": 0.2, "mode": 0.5, "high": 0.8})
    # as dear as 1 % of the margin of the customers reached, over the horizon
    margin = float(null_world.baseline.sum(axis=1).mean()) * null_world.customers * 0.5
    stated["costs"] = [{"category": 3, "month": 0, "amount": 0.01 * margin}]
    case = case_of(stated, horizon_months=36, currency=null_world.currency)
    result = decided(null_world, case, draws=2_000)
    assert one(result, "p_npv_positive") < 0.9
    assert result.quadrants()["quadrant"].item() != "cx_win"
    assert result.checks().set_index("name").loc["linkage_excludes_zero: one", "verdict"] == "warn"


def test_popular_calculators_on_the_same_draws() -> None:
    stated = programme(
        score_gain={"low": 0.5, "mode": 2.0, "high": 3.0}, ramp_months=6, half_life_months=60, reach=0.25
    )
    response = known(retention=3.0, spend=2.0)
    decision = decided(response, case_of(stated, cost_play(), horizon_months=36), draws=500)
    found = case_shortcuts(decision, revenue_per_margin=2.5)
    assert isinstance(found, pd.DataFrame)
    rows = found.set_index("shortcut")
    assert list(rows.index) == ["ours", *SHORTCUTS]
    assert rows.loc["ours", "npv_median"] == pytest.approx(one(decision, "npv", TOTAL), rel=1e-12)
    assert rows.loc["everybody_reached", "times"] == pytest.approx(4.0, rel=1e-9)
    assert rows.loc["revenue", "times"] == pytest.approx(2.5, rel=1e-9)
    retention = decision.whole.terms["retention"].sum() / decision.whole.measures["pv_benefit"].sum()
    assert rows.loc["summed", "times"] == pytest.approx(1 + retention, rel=1e-9)
    assert (rows.loc[list(SHORTCUTS), "times"] > 1).all()
    assert rows["times"].idxmax() == "together"
    unknown = case_shortcuts(decision)
    assert isinstance(unknown, pd.DataFrame)
    assert math.isnan(unknown.set_index("shortcut").loc["revenue", "times"])
    with pytest.raises(InputError, match="revenue_per_margin must be 1 or more"):
        case_shortcuts(decision, revenue_per_margin=0.4)
    assert case_shortcuts(decided(replace(response, reason="nobody was asked"), case_of(stated))) == "nobody was asked"


# ---------------------------------------------------------------- identities


amounts = st.floats(100.0, 50_000.0)
gains = st.floats(0.1, 9.0)


@st.composite
def stated_programmes(draw: Callable[..., Any], programme_id: str = "one") -> dict[str, Any]:
    """A programme with costs and a gain of any size."""
    recurring = draw(st.floats(0.0, 900.0))
    return programme(
        id=programme_id,
        score_gain=draw(gains),
        reach=draw(st.floats(0.05, 1.0)),
        ramp_months=draw(st.integers(0, 12)),
        half_life_months=draw(st.one_of(st.just("never"), st.floats(2.0, 60.0))),
        start_month=draw(st.integers(0, 6)),
        costs=[
            {"category": 3, "month": 0, "amount": draw(amounts)},
            {"category": 1, "month": 1, "until_month": 12, "amount": recurring},
        ],
    )


def measured(case: Case, response: MarginResponse) -> tuple[Forecast, ...]:
    return forecasts_of(case, response, draw_inputs(case, response, seed=1, draws=1))


@given(stated_programmes(), st.sampled_from(["end", "mid"]), st.sampled_from([None, 0.05]))
@settings(max_examples=40, deadline=None)
def test_value_at_the_internal_rate_is_zero(stated: dict[str, Any], timing: str, inflation: float | None) -> None:
    terms = {"timing": timing, "annual_inflation_rate": inflation}
    found = measured(case_of(stated, **terms), known(spend=6.0, retention=4.0))[0].measures
    rate = float(found["irr"][0])
    if found["irr_count"][0] != 1 or not 0 <= rate < 1:
        return
    again = measured(case_of(stated, annual_discount_rate=rate, **terms), known(spend=6.0, retention=4.0))[0].measures
    assert again["npv"][0] == pytest.approx(0.0, abs=1e-8 * again["pv_cost"][0])


@given(stated_programmes(), st.floats(1.5, 4.0))
@settings(max_examples=30, deadline=None)
def test_larger_flows_scale_value_and_leave_rates(stated: dict[str, Any], times: float) -> None:
    larger = stated | {"costs": [cost | {"amount": cost["amount"] * times} for cost in stated["costs"]]}
    first = measured(case_of(stated), known(spend=6.0, retention=4.0))[0].measures
    second = measured(case_of(larger), known(spend=6.0 * times, retention=4.0 * times))[0].measures
    for name in ("npv", "pv_cost", "peak_cash_need", "cost_of_waiting_a_quarter"):
        assert second[name][0] == pytest.approx(times * first[name][0], rel=1e-9, abs=1e-6)
    for name in ("irr", "mirr", "roi", "payback_months", "discounted_payback_months", "break_even_score_gain"):
        assert second[name][0] == pytest.approx(first[name][0], rel=1e-6, nan_ok=True)


@given(stated_programmes(), st.integers(1, 11))
@settings(max_examples=30, deadline=None)
def test_a_cost_split_over_entries_or_periods_is_the_same(stated: dict[str, Any], cut: int) -> None:
    first, monthly = stated["costs"]
    split = stated | {
        "costs": [
            first | {"amount": first["amount"] / 4},
            first | {"amount": first["amount"] * 3 / 4},
            monthly | {"until_month": cut},
            monthly | {"month": cut + 1},
        ]
    }
    whole, parts = (measured(case_of(each), known(spend=6.0))[0].measures for each in (stated, split))
    for name in whole:
        assert parts[name][0] == pytest.approx(whole[name][0], rel=1e-9, abs=1e-9, nan_ok=True), name


@given(stated_programmes("a"), stated_programmes("b"), stated_programmes("c"), st.permutations(range(4)))
@settings(max_examples=20, deadline=None)
def test_order_changes_nothing(a: dict[str, Any], b: dict[str, Any], c: dict[str, Any], order: list[int]) -> None:
    stated = [a, b, c, cost_play()]
    first = decided(uncertain(draws=50), case_of(*stated)).tidy()
    second = decided(uncertain(draws=50), case_of(*(stated[at] for at in order))).tidy()
    key = ["programme", "scenario", "measure"]
    pd.testing.assert_frame_equal(
        first.sort_values(key, ignore_index=True), second.sort_values(key, ignore_index=True), rtol=1e-8
    )


@given(stated_programmes())
@settings(max_examples=20, deadline=None)
def test_no_gain_loses_the_cost(stated: dict[str, Any]) -> None:
    found = measured(case_of(stated | {"score_gain": 0.0}), known(spend=6.0, retention=4.0))[0].measures
    assert found["npv"][0] == pytest.approx(-found["pv_cost"][0], rel=1e-12)


def test_a_case_without_its_cost_plays_keeps_its_draws() -> None:
    stated = programme(score_gain={"low": 0, "mode": 2, "high": 4})
    result = decided(uncertain(), case_of(stated, cost_play()), draws=200)
    own = result.through_customers()
    assert own is not None
    assert [each.programme for each in own.forecasts] == ["one"]
    assert (own.whole.measures["npv"] == result.whole.measures["npv"]).all()
    assert {each.programme for _, each in own.scenarios} == {"one"}
    again = decided(uncertain(), case_of(stated), draws=200)
    pd.testing.assert_frame_equal(own.tidy(), again.tidy(), rtol=1e-12)
    assert again.through_customers() is again
    assert decided(uncertain(), case_of(cost_play())).through_customers() is None
