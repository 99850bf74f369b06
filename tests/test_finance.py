"""Money over time against Microsoft's documented cases, published figures and identities."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxroi.case import finance
from cxroi.errors import InputError

# Documented by Microsoft to cents and to 2-9 digits of a rate; half of the last digit is the tolerance.
CENTS = 0.005
DATES = [dt.date(2008, 1, 1), dt.date(2008, 3, 1), dt.date(2008, 10, 30), dt.date(2009, 2, 15), dt.date(2009, 4, 1)]
DATED_FLOWS = [-10000, 2750, 4250, 3250, 2750]
FIVE_YEARS = [-70000, 12000, 15000, 18000, 21000, 26000]
LOAN = [-120000, 39000, 30000, 21000, 37000, 46000]

flow_lists = st.lists(st.integers(-10_000, 10_000), min_size=2, max_size=24)
rates = st.floats(-0.3, 1.0)


@st.composite
def investments(draw: st.DrawFn) -> list[float]:
    """Flows that change sign once: outflows, then inflows."""
    out = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=6))
    back = draw(st.lists(st.integers(1, 10_000), min_size=1, max_size=30))
    return [*(-float(flow) for flow in out), *(float(flow) for flow in back)]


def test_excel_npv() -> None:
    """Microsoft, NPV function, example 1: the first value is discounted."""
    assert finance.excel_npv([-10000, 3000, 4200, 6800], 0.1) == pytest.approx(1188.44, abs=CENTS)


@pytest.mark.parametrize(
    ("flows", "documented"),
    [
        ([-40000, 8000, 9200, 10000, 12000, 14500], 1922.06),
        ([-40000, 8000, 9200, 10000, 12000, 14500, -9000], -3749.47),
    ],
)
def test_npv(flows: list[float], documented: float) -> None:
    """Microsoft, NPV function, examples 2 and 3: the investment is today."""
    assert finance.npv(flows, 0.08) == pytest.approx(documented, abs=CENTS)


def test_xnpv_and_xirr() -> None:
    """Microsoft, XNPV and XIRR functions."""
    assert finance.xnpv(DATED_FLOWS, DATES, 0.09) == pytest.approx(2086.6476, abs=5e-5)
    found = finance.xirr(DATED_FLOWS, DATES)
    assert found.count == 1
    assert found.rates[0] == pytest.approx(0.373362535, abs=1e-8)


@pytest.mark.parametrize(("years", "documented"), [(5, 0.0866), (4, -0.0212), (2, -0.4435)])
def test_irr(years: int, documented: float) -> None:
    """Microsoft, IRR function: 8.66 %, -2.12 % and -44.35 %."""
    found = finance.irr(FIVE_YEARS[: years + 1])
    assert found.count == 1
    assert found.rates[0] == pytest.approx(documented, abs=5e-5)


@pytest.mark.parametrize(
    ("years", "reinvest", "documented"), [(5, 0.12, 0.126094), (3, 0.12, -0.048045), (5, 0.14, 0.134759)]
)
def test_mirr(years: int, reinvest: float, documented: float) -> None:
    """Microsoft, MIRR function: 12.6094 %, -4.8045 % and 13.4759 %."""
    assert finance.mirr(LOAN[: years + 1], 0.10, reinvest) == pytest.approx(documented, abs=5e-7)


@pytest.mark.realdata
def test_every_documented_case(realdata: Path) -> None:
    """The stored cases to rounding of a 16-digit computation."""
    cases = json.loads((realdata / "finance_ms_excel_examples.json").read_text())
    seen = 0
    for name, case in cases.items():
        values, computed = case["values"], None
        dates = [dt.date.fromisoformat(day) for day in case.get("dates", [])]
        if name.startswith("xnpv"):
            computed = finance.xnpv(values, dates, case["rate"])
        elif name.startswith("xirr"):
            computed = finance.xirr(values, dates).rates[0]
        elif name.startswith("npv"):
            rate = case["rate"]
            computed = (
                finance.npv([case["initial"], *values], rate) if "initial" in case else finance.excel_npv(values, rate)
            )
        elif name.startswith("irr"):
            computed = finance.irr(values).rates[0]
        elif name.startswith("mirr"):
            computed = finance.mirr(values, case["finance"], case["reinvest"])
        assert computed == pytest.approx(case["computed"], abs=1e-8), name
        seen += 1
    assert seen == 11


def test_total_economic_impact_example() -> None:
    """10k + 5k a year against 15k a year over 3 years at 10 %: 22,434, 37,303, 66 %, 12 months."""
    cost, benefit = [10_000, 5_000, 5_000, 5_000], [0, 15_000, 15_000, 15_000]
    pv_cost, pv_benefit = finance.npv(cost, 0.10), finance.npv(benefit, 0.10)
    assert pv_cost == pytest.approx(22_434, abs=0.5)
    assert pv_benefit == pytest.approx(37_303, abs=0.5)
    assert (pv_benefit - pv_cost) / pv_cost == pytest.approx(0.66, abs=0.005)
    years = finance.payback(np.subtract(benefit, cost))
    assert years is not None
    assert 12 * years == pytest.approx(12.0, abs=1e-9)


def test_margin_multiple() -> None:
    """Retention .9 for ever at 12 %: r / (1 + i - r) = 4.09 years of margin, the limit of the discounted sum."""
    years = np.arange(400)
    survival = np.where(years == 0, 0.0, 0.9**years)
    assert finance.npv(survival, 0.12) == pytest.approx(4.09, abs=0.005)
    assert finance.npv(survival, 0.12) == pytest.approx(0.9 / (1 + 0.12 - 0.9), rel=1e-12)  # 0.9^400 is left out


def test_overlap_of_margin_and_retention() -> None:
    """m=100, r=.80, i=10 %: 266.67; r .82 adds 26.19, m 103 adds 8.00, both 34.98 (not their sum)."""

    def value(margin: float, retention: float) -> float:
        return finance.npv([0.0, *(margin * retention ** np.arange(1, 500))], 0.10)

    start = value(100, 0.80)
    gains = [value(100, 0.82) - start, value(103, 0.80) - start, value(103, 0.82) - start]
    assert start == pytest.approx(266.67, abs=CENTS)
    assert gains == pytest.approx([26.19, 8.00, 34.98], abs=CENTS)


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([100, 10], []),
        ([-100, -10], []),
        ([0, 0, 0], []),
        ([-1, 2, -2], []),
        ([-100, 230, -132], [0.10, 0.20]),
        ([-1000, 3600, -4310, 1716], [0.10, 0.20, 0.30]),
        ([1, -1.8, 0.81], [-0.10]),
        ([0, 0, -100, 0, 121], [0.10]),
    ],
)
def test_irr_none_one_or_several(flows: list[float], expected: list[float]) -> None:
    found = finance.irr(flows)
    assert found.count == len(expected)
    assert list(found.rates) == pytest.approx(expected, abs=1e-7)  # a double root is exact to half the digits


@given(investments())
@settings(max_examples=60, deadline=None)
def test_npv_at_the_internal_rate_is_zero(flows: list[float]) -> None:
    found = finance.irr(flows)
    assert found.count == 1
    scale = finance.npv(np.abs(flows), found.rates[0])
    assert finance.npv(flows, found.rates[0]) == pytest.approx(0.0, abs=1e-9 * scale)


@given(investments(), rates)
@settings(max_examples=40, deadline=None)
def test_doubled_flows_double_the_value_and_keep_the_rate(flows: list[float], rate: float) -> None:
    doubled = np.multiply(flows, 2.0)
    assert finance.npv(doubled, rate) == pytest.approx(2 * finance.npv(flows, rate), rel=1e-12, abs=1e-9)
    assert finance.irr(doubled).rates == pytest.approx(finance.irr(flows).rates, rel=1e-9, abs=1e-12)


@given(flow_lists, rates, st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_splitting_flows_conserves_the_value(flows: list[int], rate: float, share: float) -> None:
    whole = np.asarray(flows, dtype=float)
    parts = finance.npv(share * whole, rate) + finance.npv((1 - share) * whole, rate)
    scale = finance.npv(np.abs(whole), rate)
    assert parts == pytest.approx(finance.npv(whole, rate), abs=1e-12 * scale + 1e-12)


@given(flow_lists, rates)
@settings(max_examples=40, deadline=None)
def test_spreadsheet_npv_is_one_period_later(flows: list[int], rate: float) -> None:
    scale = finance.npv(np.abs(flows), rate)
    assert finance.excel_npv(flows, rate) * (1 + rate) == pytest.approx(
        finance.npv(flows, rate), abs=1e-12 * scale + 1e-12
    )


@given(flow_lists, st.floats(0, 0.5))
@settings(max_examples=150, deadline=None)
def test_discounted_payback_is_reached_where_the_value_is_not_negative(flows: list[int], rate: float) -> None:
    value, periods = finance.npv(flows, rate), finance.payback(flows, rate=rate)
    if abs(value) > 1e-3:  # nearer to zero, rounding decides
        assert (periods is not None) == (value > 0)
    if periods is not None:
        assert 0 <= periods <= len(flows) - 1


def test_payback_interpolates_and_lasts() -> None:
    assert finance.payback([-10, 4, 4, 4]) == pytest.approx(2.5)
    assert finance.payback([5, 5]) == 0.0
    assert finance.payback([0, -10, 20]) == pytest.approx(1.5)
    assert finance.payback([-10, 12, -5, 4]) == pytest.approx(2.75)  # back at zero in period 1, but not for good
    assert finance.payback([-10, 11], rate=0.2) is None


def test_annual_and_periodic_rates() -> None:
    monthly = finance.periodic_rate(0.12, 12)
    assert (1 + monthly) ** 12 == pytest.approx(1.12, rel=1e-14)
    assert monthly < 0.01  # dividing by twelve would overstate


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_rates_of_many_flows_agree_with_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flows = rng.normal(0, 1, (25, 13)) + np.linspace(-1, 1, 13) * rng.uniform(0, 4, (25, 1))
    flows[rng.random(flows.shape) < 0.1] = 0.0
    together = finance.irr_draws(flows)
    for row, rate, count in zip(flows, together.rate, together.count, strict=True):
        alone = finance.irr(row)
        if count == alone.count == 1:
            assert rate == pytest.approx(alone.rates[0], rel=1e-9, abs=1e-9)
        elif count != alone.count:  # two rates within one step of the grid are not told apart
            assert (alone.count - count) % 2 == 0
            assert np.diff(np.log1p(alone.rates)).min() < 0.5
        elif count == 0 and (row != 0).any():
            assert np.sign(rate) == np.sign(finance.npv(row, 0.05))
            assert np.isinf(rate)


def test_rates_of_10_000_investments() -> None:
    rng = np.random.default_rng(5)
    flows = np.column_stack([np.full(10_000, -500.0), rng.gamma(2.0, 20.0, (10_000, 36))])
    found = finance.irr_draws(flows)
    assert (found.count == 1).all()
    factors = (1.0 + found.rate[:, None]) ** -np.arange(37)
    assert np.abs((flows * factors).sum(axis=1) / (np.abs(flows) * factors).sum(axis=1)).max() < 1e-10


def test_rates_below_a_bound_are_not_counted() -> None:
    flows = np.array([[-100.0, 60.0, 60.0], [-100.0, 1.0, 0.0], [-100.0, 230.0, -132.0]])
    found = finance.irr_draws(flows, above=0.15)
    assert found.count.tolist() == [0, 0, 1]
    assert found.rate[:2].tolist() == [-np.inf, -np.inf]
    assert found.rate[2] == pytest.approx(0.20, abs=1e-9)


def test_flows_without_an_inflow_or_an_outflow() -> None:
    flows = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]])
    found = finance.irr_draws(flows)
    assert found.count.tolist() == [0, 0, 0]
    assert found.rate[:2].tolist() == [-np.inf, np.inf]
    assert np.isnan(found.rate[2])
    assert finance.mirr([-1, -1], 0.1, 0.1) == -1.0
    assert finance.mirr([1, 1], 0.1, 0.1) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda: finance.npv([], 0.1),
        lambda: finance.npv([1, np.nan], 0.1),
        lambda: finance.npv([1, 2], -1.0),
        lambda: finance.irr([[1, 2], [3, 4]]),
        lambda: finance.xnpv([1, 2], DATES[:1], 0.1),
        lambda: finance.xirr([-1, 2], [DATES[1], DATES[0]]),
        lambda: finance.mirr([-1], 0.1, 0.1),
    ],
)
def test_bad_input_is_said(call: object) -> None:
    assert callable(call)
    with pytest.raises(InputError, match=r"must|may|can't"):
        call()
