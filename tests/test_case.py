"""Cases: what a file must say, and what comes out for whom the truth is known by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cxroi.case import BusinessCase, Case, business_case, faded_as_observed, finance, parse_case, read_case
from cxroi.case.forecast import score_path, triangular
from cxroi.errors import InputError, InvalidCase
from cxroi.value.response import MarginResponse

MEASURES = {
    "npv",
    "roi",
    "roi_undiscounted",
    "irr",
    "payback_months",
    "discounted_payback_months",
    "p_npv_positive",
    "break_even_score_gain",
    "pv_cost",
    "pv_benefit",
}


def stated(**changes: Any) -> dict[str, Any]:
    """The case of the contract, as plain data."""
    programme = {
        "id": "call_centre",
        "name": "One call is enough",
        "intent": "Solve it at the first contact",
        "owner": "Head of service",
        "discipline": "design",
        "touchpoint": "support",
        "evidence": "association",
        "source": "workshop 2026-08",
        "score_gain": {"metric": "nps", "low": 0.1, "mode": 0.3, "high": 0.5},
        "reach": 0.40,
        "ramp_months": 6,
        "half_life_months": 24,
        "costs": [
            {"category": 2, "month": 0, "amount": 500_000_000, "kind": "one_off", "beneficiary": "employees"},
            {"category": 1, "month": 1, "until_month": 36, "amount": 60_000_000, "kind": "recurring"},
        ],
    }
    case = {
        "currency": "VND",
        "start": "2026-10-01",
        "horizon_months": 36,
        "annual_discount_rate": 0.12,
        "programmes": [programme],
    }
    for name, value in changes.items():
        (programme if name in programme else case)[name] = value
    return case


def a_case(**changes: Any) -> Case:
    return Case.model_validate(stated(**changes))


def response(
    retention: float = 3_000.0,
    spend: float = 2_000.0,
    std_error: float = 800.0,
    *,
    quarters: int = 12,
    reason: str = "",
) -> MarginResponse:
    """A response of 100,000 customers whose effects fade as customers leave; draws by normal error."""
    rng = np.random.default_rng(7)
    draws = 0 if reason else 400
    fading = 0.97 ** np.arange(quarters)
    return MarginResponse(
        exposure="nps",
        customers=100_000,
        currency="VND",
        evidence="adjusted",
        baseline=np.full((draws, quarters), 200_000.0) * fading,
        through_retention=rng.normal(retention, std_error, (draws, 1)) * fading,
        through_spend=rng.normal(spend, std_error, (draws, 1)) * fading,
        persistence=rng.beta(80, 20, draws),
        score_range=(0.0, 10.0),
        reason=reason,
    )


def cell(
    result: BusinessCase, measure: str, column: str = "median", scenario: str = "base", programme: str = ""
) -> float:
    """One number of ``case.csv``."""
    frame = result.tidy()
    programme = programme or result.whole.programme
    keep = (frame["measure"] == measure) & (frame["scenario"] == scenario) & (frame["programme"] == programme)
    assert keep.sum() == 1
    return float(frame.loc[keep, column].iloc[0])


# ---------------------------------------------------------------- the file


def test_the_contract_s_example_is_read(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("\ufeff" + yaml.safe_dump(stated()), encoding="utf-8")
    case = read_case(path)
    assert case == a_case()
    assert case.programmes[0].costs[0].category == "training_consulting"
    assert [*case.programmes[0].costs[1].months] == list(range(1, 37))
    assert case.notices == ()


def test_every_fault_is_said_at_once() -> None:
    broken = stated(
        currency="vnd",
        annual_discount_rate=12,
        horizonn=36,
        start="2026-13-01",
        reach=40,
        half_life_months="forever",
        score_gain={"metric": "nps", "low": 0.5, "mode": 0.3, "high": 0.6},
        ramp_months=48,
        costs=[
            {"category": 9, "month": 0, "amount": "500,000"},
            {"category": "data_tool", "month": 40, "amount": 5},
            {"category": 1, "month": 5, "until_month": 2, "amount": 5},
            {"category": 1, "month": 5, "amount": 5, "kind": "recurring"},
        ],
    )
    del broken["programmes"][0]["evidence"]
    with pytest.raises(InvalidCase) as caught:
        parse_case(yaml.safe_dump(broken))
    lines = str(caught.value).splitlines()
    paths = {line.split(" ")[0] for line in lines}
    programme = "programmes[0]"
    assert paths == {
        "currency",
        "start",
        "annual_discount_rate",
        "horizonn",
        *(f"{programme}.{name}" for name in ("evidence", "reach", "half_life_months", "score_gain", "ramp_months")),
        f"{programme}.costs[0].category",
        f"{programme}.costs[0].amount",
        f"{programme}.costs[1].category",
        f"{programme}.costs[1].month",
        f"{programme}.costs[2].until_month",
        f"{programme}.costs[3].until_month",
    }
    assert len(lines) == len(paths)
    text = str(caught.value)
    assert "did you mean horizon_months?" in text
    assert "0.12 for 12 %" in text
    assert "0.4 for 40 %" in text
    assert "low 0.5, mode 0.3, high 0.6" in text


@pytest.mark.parametrize(
    "name",
    [
        "currency",
        "start",
        "horizon_months",
        "annual_discount_rate",
        "programmes",
        "id",
        "name",
        "evidence",
        "score_gain",
        "reach",
        "ramp_months",
        "half_life_months",
        "costs",
    ],
)
def test_no_assumption_has_a_silent_default(name: str) -> None:
    incomplete = stated()
    del (incomplete if name in incomplete else incomplete["programmes"][0])[name]
    with pytest.raises(InvalidCase, match=rf"\b{name} is missing; it must .* Write, for example, "):
        parse_case(yaml.safe_dump(incomplete))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a mapping"),
        ("- 1", "must be a mapping"),
        ("a: b: c", "line 1, column 5"),
        ("a: &x [1]\nb: *x", "references"),
        ("currency: VND\ncurrency: USD", "'currency' is stated twice"),
        ("? [1]\n: 2", "valid YAML"),
        ("!!python/object/apply:os.system [ls]", "valid YAML"),
        ("a: " + "[" * 500 + "]" * 500, "nest values"),
    ],
)
def test_a_file_that_is_not_plain_data_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidCase, match=said):
        parse_case(text)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidCase, match=r"nothing\.yaml can't be read"):
        read_case(tmp_path / "nothing.yaml")
    (tmp_path / "case.yaml").write_bytes("tiền: 1".encode("utf-16"))
    with pytest.raises(InvalidCase, match="UTF-8"):
        read_case(tmp_path / "case.yaml")


@pytest.mark.parametrize("bad", [True, "0.4", None, math.nan, math.inf, 0, -0.1, 1.01])
def test_reach_is_a_share(bad: object) -> None:
    with pytest.raises(InvalidCase, match=r"programmes\[0\]\.reach must be a share"):
        parse_case(yaml.safe_dump(stated(reach=bad)))


def test_a_single_number_means_certain() -> None:
    assert a_case(score_gain=0.3).programmes[0].score_gain.certain
    gain = a_case(score_gain={"metric": "nps", "mode": 0.3}).programmes[0].score_gain
    assert (gain.low, gain.high) == (0.3, 0.3)


def test_ids_differ_and_total_is_taken() -> None:
    twice = stated()
    twice["programmes"] *= 2
    with pytest.raises(InvalidCase, match="'call_centre' stands more than once"):
        parse_case(yaml.dump(twice, Dumper=_NoReferences))
    with pytest.raises(InvalidCase, match="must not be total"):
        parse_case(yaml.safe_dump(stated(id="total")))


class _NoReferences(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def test_a_short_horizon_is_noticed() -> None:
    case = a_case(horizon_months=12, costs=[{"category": 1, "month": 0, "amount": 1}])
    assert len(case.notices) == 1
    checks = business_case(response(), case, seed=1, draws=200).checks().set_index("name")
    assert checks.loc["horizon", "verdict"] == "warn"


# ---------------------------------------------------------------- by hand


def flat(per_point: float, *, channel: str, quarters: int = 12) -> MarginResponse:
    """A known response: each point brings so much a quarter and customer, to 1,000 customers."""
    zero, value = np.zeros((1, quarters)), np.full((1, quarters), per_point)
    parts = (value, zero) if channel == "retention" else (zero, value)
    return MarginResponse("nps", 1_000, "USD", "experiment", value, *parts, None, (0.0, 10.0))


def simple(**changes: Any) -> Case:
    """Two points for half the customers at once and for ever, 12 months, 10,000 today and 500 a month."""
    costs = [
        {"category": 3, "month": 0, "amount": 10_000},
        {"category": 1, "month": 1, "until_month": 12, "amount": 500},
    ]
    known = {"currency": "USD", "horizon_months": 12, "annual_discount_rate": 0.10, "score_gain": 2.0, "reach": 0.5}
    return a_case(**(known | {"ramp_months": 0, "half_life_months": "never", "costs": costs} | changes))


def test_spend_by_hand() -> None:
    result = business_case(flat(6.0, channel="spend"), simple(), seed=1, draws=100)
    flows = np.array([-10_000.0, *([2 * 0.5 * 1_000 * 6.0 / 3 - 500] * 12)])
    monthly = finance.periodic_rate(0.10, 12)
    assert cell(result, "npv") == pytest.approx(finance.npv(flows, monthly), rel=1e-12)
    assert cell(result, "pv_cost") == pytest.approx(10_000 - finance.npv([0, *[-500] * 12], monthly), rel=1e-12)
    assert cell(result, "roi_undiscounted") == pytest.approx((24_000 - 16_000) / 16_000, rel=1e-12)
    assert cell(result, "payback_months") == pytest.approx(10_000 / 1_500, rel=1e-12)
    assert cell(result, "discounted_payback_months") == pytest.approx(finance.payback(flows, rate=monthly), rel=1e-12)
    assert cell(result, "irr") == pytest.approx((1 + finance.irr(flows).rates[0]) ** 12 - 1, rel=1e-9)
    assert cell(result, "break_even_score_gain") == pytest.approx(
        2.0 * cell(result, "pv_cost") / cell(result, "pv_benefit"), rel=1e-12
    )
    assert cell(result, "p_npv_positive") == 1.0


def test_retention_accumulates_over_quarters() -> None:
    result = business_case(flat(6.0, channel="retention"), simple(), seed=1, draws=100)
    quarterly = 2 * 0.5 * 1_000 * 6.0 * np.arange(1, 5)
    flows = result.cash_flows()
    assert flows["benefit_median"].to_numpy() == pytest.approx([0.0, *np.repeat(quarterly / 3, 3)], rel=1e-12)
    assert flows["net_median"].to_numpy() == pytest.approx(flows["benefit_median"] - flows["cost"], rel=1e-12)


def test_break_even_gain_makes_the_value_zero() -> None:
    gain = cell(business_case(flat(6.0, channel="spend"), simple(), seed=1, draws=100), "break_even_score_gain")
    at_break_even = business_case(flat(6.0, channel="spend"), simple(score_gain=gain), seed=1, draws=100)
    assert cell(at_break_even, "npv") == pytest.approx(0.0, abs=1e-8)  # of 15,700: rounding
    assert cell(at_break_even, "break_even_multiple") == pytest.approx(1.0, rel=1e-12)


def test_a_gain_of_nothing_costs_its_costs() -> None:
    result = business_case(flat(6.0, channel="spend"), simple(score_gain=0.0), seed=1, draws=100)
    assert cell(result, "npv") == pytest.approx(-cell(result, "pv_cost"), rel=1e-12)
    assert math.isnan(cell(result, "payback_months"))
    assert math.isnan(cell(result, "irr"))
    assert cell(result, "irr_count") == 0.0
    assert cell(result, "p_payback_within_horizon") == 0.0


def test_mid_month_timing_brings_benefits_half_a_month_forward() -> None:
    end = business_case(flat(6.0, channel="spend"), simple(), seed=1, draws=100)
    mid = business_case(flat(6.0, channel="spend"), simple(timing="mid"), seed=1, draws=100)
    factor = 1.10 ** (1 / 24)
    assert cell(mid, "pv_benefit") == pytest.approx(cell(end, "pv_benefit") * factor, rel=1e-12)
    assert cell(mid, "npv") + 10_000 == pytest.approx((cell(end, "npv") + 10_000) * factor, rel=1e-12)
    rate = cell(mid, "irr")
    times = np.array([0.0, *(np.arange(12) + 0.5)]) / 12
    flows = np.array([-10_000.0, *[1_500.0] * 12])
    assert flows @ (1 + rate) ** -times == pytest.approx(0.0, abs=1e-6)  # of 10,000


def test_tax_scales_values_and_leaves_ratios() -> None:
    before = business_case(response(), a_case(), seed=3, draws=500)
    after = business_case(response(), a_case(tax_rate=0.2), seed=3, draws=500)
    for measure in ("npv", "pv_cost", "pv_benefit"):
        assert cell(after, measure) == pytest.approx(0.8 * cell(before, measure), rel=1e-12)
    for measure in ("roi", "payback_months", "break_even_score_gain", "p_npv_positive"):
        assert cell(after, measure) == pytest.approx(cell(before, measure), rel=1e-9, nan_ok=True)


def test_several_internal_rates_leave_the_cell_empty_and_say_so() -> None:
    costs = [{"category": 3, "month": 0, "amount": 1_000}, {"category": 8, "month": 12, "amount": 25_000}]
    result = business_case(flat(6.0, channel="spend"), simple(costs=costs), seed=1, draws=100)
    flows = [-1_000.0, *[2_000.0] * 11, -23_000.0]
    assert finance.irr(flows).count == 2
    assert cell(result, "irr_count") == 2.0
    assert math.isnan(cell(result, "irr"))
    assert math.isfinite(cell(result, "mirr"))


def test_a_horizon_inside_a_quarter_counts_its_months_only() -> None:
    costs = [{"category": 3, "month": 0, "amount": 1}]
    result = business_case(flat(3.0, channel="spend"), simple(horizon_months=4, costs=costs), seed=1, draws=100)
    monthly = finance.periodic_rate(0.10, 12)
    assert cell(result, "pv_benefit") == pytest.approx(finance.npv([0, *[1_000.0] * 4], monthly), rel=1e-12)


# ---------------------------------------------------------------- paths and draws


def test_the_ramp_is_s_shaped_and_the_half_life_halves() -> None:
    path = score_path(36, ramp_months=6, half_life_months=12)
    assert (np.diff(path[:6]) > 0).all()
    assert path[2] + path[3] == pytest.approx(1.0, abs=1e-12)  # symmetric about the middle of the ramp
    assert path[18] / path[6] == pytest.approx(0.5, rel=1e-12)
    assert (score_path(36, ramp_months=0, half_life_months=math.inf) == 1.0).all()


def test_triangular_draws_have_their_moments() -> None:
    luck = (np.arange(200_000) + 0.5) / 200_000
    draws = triangular(luck, 0.1, 0.3, 0.8)
    assert draws.mean() == pytest.approx((0.1 + 0.3 + 0.8) / 3, abs=1e-6)  # a grid of 200,000 quantiles
    assert draws.var() == pytest.approx((0.01 + 0.09 + 0.64 - 0.03 - 0.08 - 0.24) / 18, abs=1e-6)
    for low, mode, high in ((0.1, 0.1, 0.5), (0.1, 0.5, 0.5)):
        assert triangular(np.array([0.0, 1.0]), low, mode, high) == pytest.approx([low, high], abs=1e-12)


# ---------------------------------------------------------------- the table


def test_case_csv_has_its_columns_and_measures() -> None:
    frame = business_case(response(), a_case(), seed=1, draws=500).tidy()
    assert list(frame.columns) == ["programme", "scenario", "measure", "low", "median", "high", "mean", "unit"]
    assert set(frame["scenario"]) == {"base", "conservative", "optimistic"}
    for _, rows in frame.groupby("scenario"):
        assert set(rows["measure"]) >= MEASURES
        assert rows["measure"].is_unique
    fixed = frame[frame["scenario"] != "base"]
    for column in ("median", "high", "mean"):
        pd.testing.assert_series_equal(fixed["low"], fixed[column], check_names=False)
    base = frame[frame["scenario"] == "base"].dropna()
    assert (base["low"] <= base["median"]).all()
    assert (base["median"] <= base["high"]).all()


def test_the_same_seed_gives_the_same_table() -> None:
    first, again, other = (business_case(response(), a_case(), seed=seed, draws=500).tidy() for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not first.equals(other)


@given(
    st.floats(-4_000, 8_000),
    st.floats(-4_000, 8_000),
    st.floats(0, 4_000),
    st.lists(st.floats(-0.5, 1.5), min_size=3, max_size=3).map(sorted),
)
@settings(max_examples=25, deadline=None)
def test_conservative_below_base_below_optimistic(
    retention: float, spend: float, std_error: float, gain: list[float]
) -> None:
    case = a_case(score_gain=dict(zip(("low", "mode", "high"), gain, strict=True)))
    result = business_case(response(retention, spend, std_error), case, seed=1, draws=300)
    low, middle, high = (cell(result, "npv", scenario=name) for name in ("conservative", "base", "optimistic"))
    assert low <= middle + 1e-3 <= high + 2e-3  # VND, of 10^9


def test_a_point_that_is_worth_nothing_never_pays() -> None:
    for std_error in (0.0, 100.0):
        result = business_case(response(0.0, 0.0, std_error), a_case(), seed=1)
        assert cell(result, "p_npv_positive") <= 0.05
        assert cell(result, "npv") < 0
        assert math.isnan(cell(result, "break_even_score_gain", "high"))
    checks = result.checks().set_index("name")["verdict"]
    assert checks["linkage_excludes_zero: call_centre"] == "warn"
    assert checks["benefit_positive: call_centre"] in ("warn", "fail")


def test_without_a_response_only_the_costs_are_given() -> None:
    known, reason = business_case(response(), a_case(), seed=1), "the score looks taken after the outcome"
    result = business_case(response(reason=reason), a_case(), seed=1)
    frame = result.tidy()
    for measure, rows in frame.groupby("measure"):
        assert rows["median"].notna().all() == (measure == "pv_cost"), measure
        assert rows["median"].isna().all() == (measure != "pv_cost"), measure
    assert cell(result, "pv_cost") == pytest.approx(cell(known, "pv_cost"), rel=1e-12)
    checks = result.checks().set_index("name")
    assert checks.loc["linkage_exists", "verdict"] == "fail"
    assert reason in checks.loc["linkage_exists", "advice"]
    assert result.tornado().empty
    assert result.cash_flows()["benefit_median"].isna().all()
    assert result.glance()["reason"].item() == reason


def test_losing_everything_is_no_modified_rate_of_return() -> None:
    spent_every_month = [{"category": 1, "month": 0, "until_month": 36, "amount": 60_000_000, "kind": "recurring"}]
    weak = business_case(response(100.0, 100.0, 10.0), a_case(costs=spent_every_month), seed=1, draws=500)
    assert (weak.whole.measures["mirr"] == -1.0).all()  # in no month does more flow back than goes out
    for scenario in ("conservative", "base", "optimistic"):
        for column in ("low", "median", "high", "mean"):
            assert math.isnan(cell(weak, "mirr", column, scenario)), (scenario, column)
    mixed = business_case(response(5_000.0, 0.0, 2_500.0), a_case(costs=spent_every_month), seed=1, draws=500)
    lost = float((mixed.whole.measures["mirr"] == -1.0).mean())
    assert 0.05 < lost < 0.5
    assert math.isnan(cell(mixed, "mirr", "low"))  # the worst draws keep their place
    assert cell(mixed, "mirr") == pytest.approx(np.quantile(mixed.whole.measures["mirr"], 0.5, method="inverted_cdf"))
    assert math.isnan(cell(mixed, "mirr", "mean"))


@pytest.mark.parametrize(("evidence", "rung"), [("association", 1.0), ("adjusted", 2.0), ("experiment", 5.0)])
def test_the_table_carries_the_grade_of_the_linkage(evidence: str, rung: float) -> None:
    frame = business_case(replace(response(), evidence=evidence), several(), seed=1, draws=200).tidy()
    rows = frame[frame["measure"] == "linkage_evidence"]
    assert len(rows) == 9  # two programmes and the total in three scenarios
    assert (rows[["low", "median", "high", "mean"]] == rung).all(axis=None)
    assert set(rows["unit"]) == {"rung_of_5"}


def test_draws_beside_a_reason_are_not_used() -> None:
    known = response(quarters=8)
    result = business_case(replace(known, reason="the score is undated"), a_case(), seed=1)
    assert set(result.tidy().dropna()["measure"]) == {"pv_cost"}


def test_draws_agree_with_one_case_at_a_time() -> None:
    """Vectorised payback, internal rate and value against the scalar functions, draw by draw."""
    result = business_case(response(6_000.0, 9_000.0), a_case(), seed=4, draws=100)
    forecast, case = result.whole, result.case
    monthly = finance.periodic_rate(case.annual_discount_rate, 12)
    for draw in range(0, 100, 7):
        flows = np.append(0.0, np.repeat(forecast.benefit[draw] / 3, 3)) - forecast.costs.sum(axis=0)
        values = {name: draws[draw] for name, draws in forecast.measures.items()}
        assert values["npv"] == pytest.approx(finance.npv(flows, monthly), rel=1e-9)
        paid = finance.payback(flows)
        assert values["payback_months"] == pytest.approx(math.inf if paid is None else paid, rel=1e-9)
        found = [rate for rate in finance.irr(flows).rates if (1 + rate) ** 12 > 0.01]
        assert values["irr_count"] == len(found)
        if len(found) == 1:
            assert values["irr"] == pytest.approx((1 + found[0]) ** 12 - 1, rel=1e-7)


# ---------------------------------------------------------------- several programmes


def several(order: tuple[int, ...] = (0, 1)) -> Case:
    first = stated()["programmes"][0]
    second = first | {
        "id": "app",
        "reach": 0.2,
        "ramp_months": 3,
        "costs": [{"category": 3, "month": 2, "amount": 2e8}],
    }
    return a_case(programmes=[(first, second)[place] for place in order])


def test_the_total_is_the_sum() -> None:
    result = business_case(response(), several(), seed=1, draws=500)
    assert [forecast.programme for forecast in result.forecasts] == ["call_centre", "app", "total"]
    for measure in ("npv", "pv_cost", "pv_benefit"):
        parts = [forecast.measures[measure] for forecast in result.forecasts]
        assert parts[2] == pytest.approx(parts[0] + parts[1], rel=1e-9, abs=1e-3)
        for scenario in ("conservative", "optimistic"):
            each = [
                cell(result, measure, scenario=scenario, programme=name) for name in ("call_centre", "app", "total")
            ]
            assert each[2] == pytest.approx(each[0] + each[1], rel=1e-9)
    assert math.isnan(cell(result, "break_even_score_gain"))
    assert math.isfinite(cell(result, "break_even_multiple"))


def test_the_order_of_programmes_does_not_matter() -> None:
    one, other = (business_case(response(), several(order), seed=1, draws=500) for order in ((0, 1), (1, 0)))
    key = ["programme", "scenario", "measure"]
    pd.testing.assert_frame_equal(
        one.tidy().sort_values(key, ignore_index=True), other.tidy().sort_values(key, ignore_index=True), rtol=1e-9
    )


def test_a_programme_split_in_two_is_worth_the_same() -> None:
    whole = stated(score_gain=0.3)
    halves = stated(score_gain=0.3)
    half = halves["programmes"][0]
    half["reach"] /= 2
    half["costs"] = [cost | {"amount": cost["amount"] / 2} for cost in half["costs"]]
    halves["programmes"].append(half | {"id": "other_half"})
    one = business_case(response(), Case.model_validate(whole), seed=1, draws=500)
    two = business_case(response(), Case.model_validate(halves), seed=1, draws=500)
    for measure in ("npv", "roi", "pv_cost", "pv_benefit"):
        assert cell(two, measure) == pytest.approx(cell(one, measure), rel=1e-9)


def test_a_gain_is_cut_to_the_observed_scores() -> None:
    wide = business_case(flat(6.0, channel="spend"), simple(score_gain=25.0), seed=1, draws=100)
    ten = business_case(flat(6.0, channel="spend"), simple(score_gain=10.0), seed=1, draws=100)
    assert cell(wide, "npv") == pytest.approx(cell(ten, "npv"), rel=1e-12)
    checks = wide.checks().set_index("name")
    assert checks.loc["gain_cut: call_centre", "verdict"] == "warn"
    assert checks.loc["gain_cut: call_centre", "number"] == 1.0
    assert checks.loc["gain_within_scores: call_centre", "verdict"] == "warn"


# ---------------------------------------------------------------- views


def test_tornado_moves_one_input_at_a_time() -> None:
    result = business_case(response(), several(), seed=1, draws=500)
    frame = result.tornado()
    assert set(frame["input"]) == {"linkage: retention", "linkage: spend", "score_gain"}
    assert frame["swing"].is_monotonic_decreasing
    assert (frame["npv_median"] == frame["npv_median"].iloc[0]).all()
    assert ((frame["npv_low"] <= frame["npv_median"]) & (frame["npv_median"] <= frame["npv_high"])).all()
    gain = frame[frame["programme"] == "app"].iloc[0]
    assert gain["value_low"] == pytest.approx(0.1 + math.sqrt(0.1 * 0.4 * 0.2), rel=1e-12)  # triangular, 10 %


def test_certain_inputs_have_no_bar() -> None:
    frame = business_case(response(), a_case(score_gain=0.3), seed=1, draws=200).tornado()
    assert set(frame["input"]) == {"linkage: retention", "linkage: spend"}


def test_cash_flows_end_in_the_value() -> None:
    result = business_case(response(), several(), seed=1, draws=500)
    flows = result.cash_flows()
    assert len(flows) == 3 * 37
    last = flows[flows["month"] == 36].set_index("programme")
    for programme in ("call_centre", "app", "total"):
        assert last.loc[programme, "discounted_cumulative_median"] == pytest.approx(
            cell(result, "npv", programme=programme), rel=1e-9
        )
    assert flows.loc[flows["programme"] == "total", "cost"].sum() == pytest.approx(5e8 + 36 * 6e7 + 2e8)
    categories = [name for name in flows.columns if name.startswith("cost_")]
    assert len(categories) == 8
    assert flows[categories].sum(axis=1).to_numpy() == pytest.approx(flows["cost"].to_numpy())


def test_checks_are_rows_with_verdicts() -> None:
    result = business_case(response(), a_case(half_life_months="never"), seed=1, draws=500)
    checks = result.checks()
    assert list(checks.columns) == ["name", "verdict", "number", "advice"]
    assert set(checks["verdict"]) <= {"pass", "warn", "fail"}
    verdicts = checks.set_index("name")["verdict"]
    assert verdicts["half_life: call_centre"] == "warn"  # the panel's gains halve in nine months
    assert verdicts["linkage_evidence"] == "warn"
    assert verdicts["break_even_within_scores: call_centre"] == "pass"
    assert repr(result).splitlines()[0].split() == list(result.tidy().columns)
    assert len(result.glance()) == 1


def test_a_case_must_fit_its_response() -> None:
    with pytest.raises(InvalidCase, match="currency of the data, VND; it is in USD"):
        business_case(response(), a_case(currency="USD"), seed=1)
    with pytest.raises(InvalidCase, match="points of nps"):
        business_case(response(), a_case(score_gain={"metric": "ces", "mode": 0.2}), seed=1)
    with pytest.raises(InputError, match=r"36 months \(12 quarters\); it has 8"):
        business_case(response(quarters=8), a_case(), seed=1)
    with pytest.raises(InputError, match="100 or more"):
        business_case(response(), a_case(), seed=1, draws=10)


def test_a_response_is_checked() -> None:
    good = np.ones((2, 4))
    with pytest.raises(InputError, match="share one shape"):
        MarginResponse("nps", 1, "VND", "adjusted", good, good[:, :3], good, None, (0.0, 10.0))
    with pytest.raises(InputError, match="finite"):
        MarginResponse("nps", 1, "VND", "adjusted", good, good * np.nan, good, None, (0.0, 10.0))
    with pytest.raises(InputError, match="say in reason"):
        MarginResponse("nps", 1, "VND", "adjusted", good[:0], good[:0], good[:0], None, (0.0, 10.0))
    with pytest.raises(InputError, match="low < high"):
        MarginResponse("nps", 1, "VND", "adjusted", good, good, good, None, (10.0, 10.0))


def test_gains_that_fade_as_observed_are_worth_less() -> None:
    known = replace(flat(6.0, channel="spend"), persistence=np.array([0.7]))
    decision = business_case(known, simple(half_life_months=24), seed=1, draws=100)
    faded = faded_as_observed(decision, seed=1, draws=100)
    assert faded is not None
    assert faded.case.programmes[0].half_life_months == pytest.approx(3 * math.log(0.5) / math.log(0.7), rel=1e-12)
    assert cell(faded, "npv") < cell(decision, "npv")
    assert faded_as_observed(faded, seed=1, draws=100) is None  # nothing longer is stated any more
    unknown = business_case(flat(6.0, channel="spend"), simple(half_life_months=24), seed=1, draws=100)
    assert faded_as_observed(unknown, seed=1, draws=100) is None


WIDER = """
currency: VND
start: 2026-10-01
horizon_months: 36
annual_discount_rate: 0.12
annual_inflation_rate: 0.03
exchange_rates: {USD: 26000}
profile: {business_model: contract, state: one in five leaves, goal: keep them, strategy: first contact}
budget: {total: 5000000000, per_quarter: 800000000}
correlations:
  - {inputs: [linkage, score_gain.one], correlation: 0.3, source: workshop}
sources:
  annual_discount_rate: {source: finance handbook 2026, owner: CFO, kind: assumption}
programmes:
  - id: one
    name: One call
    evidence: association
    drivers:
      - {touchpoint: support, gain: {low: 0.2, mode: 0.4, high: 0.6}, pass_through: {low: -0.1, mode: 0.3, high: 0.5}, source: panel}
      - {touchpoint: web, gain: 0.1, pass_through: 0.2, source: panel}
    reach: 0.4
    ramp_months: 6
    half_life_months: 24
    start_month: 3
    costs:
      - {category: 3, month: 0, amount: 1000, currency: USD, overrun: {low: 0, mode: 0.1, high: 0.4}, useful_life_months: 36}
    benefits:
      - {benefit: 1}
      - {benefit: 8, amount: 1000000, until_month: 12, source: exit interviews 2026}
  - id: bot
    name: Fewer calls
    evidence: association
    savings:
      - {amount: {low: 1, mode: 2, high: 3}, month: 6, until_month: 36, source: work study}
    costs:
      - {category: 3, month: 0, amount: 1000}
    requires: [one]
"""


def test_drivers_pass_their_gain_through_and_a_cost_play_has_no_route() -> None:
    one, bot = parse_case(WIDER).programmes
    assert one.has_route
    assert not bot.has_route
    # ends of every product: 0.6 × −0.1 and 0.6 × 0.5, and 0.1 × 0.2 for certain
    assert (one.gain.low, one.gain.mode, one.gain.high) == pytest.approx((-0.04, 0.14, 0.32), rel=1e-12)
    assert (bot.gain.low, bot.gain.mode, bot.gain.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    savings:\n      - {amount: {low: 1, mode: 2, high: 3}, month: 6, until_month: 36, source: work study}\n", "",
         r"programmes\[1\]\.score_gain is missing"),
        ("    reach: 0.4\n", "", r"programmes\[0\]\.reach is missing; it must be a share"),
        ("    drivers:", "    score_gain: 0.3\n    drivers:", r"must state score_gain or drivers, not both"),
        ("requires: [one]", "requires: [two]", r"programmes\[1\]\.requires must name other programmes of the case; got 'two'"),
        ("- {benefit: 1}", "- {benefit: 1, amount: 5, source: x}", r"benefits\[0\]\.amount must not be stated for benefits 1 to 7"),
        (", source: exit interviews 2026", "", r"benefits\[1\]\.source is missing; an amount must say where it is from"),
        ("per_quarter: 800000000", "per_quarter: [1, 2]", r"one number for each of the 12 quarters of the horizon; it holds 2"),
        ("currency: USD", "currency: EUR", r"'EUR' has none"),
        ("score_gain.one]", "score_gain.two]", r"got 'score_gain.two'. Known here: linkage, score_gain.one"),
        ("start_month: 3", "start_month: 40", r"start_month must lie within the horizon of 36 months; got 40"),
    ],
)  # fmt: skip
def test_faults_between_values_are_said(old: str, new: str, said: str) -> None:
    assert old in WIDER
    with pytest.raises(InvalidCase, match=said):
        parse_case(WIDER.replace(old, new))
