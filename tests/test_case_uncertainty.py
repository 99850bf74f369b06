"""What a case hinges on: present values that agree with the case, shares of variance that are known, stress that changes one thing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from cxroi.case import BusinessCase, business_case
from cxroi.case.correlation import copula
from cxroi.case.forecast import forecasts_of
from cxroi.case.information import Information, value_of_information
from cxroi.case.inputs import draw_inputs
from cxroi.case.uncertainty import (
    STRESS_RETENTION,
    PresentValues,
    present_values,
    shapley_effects,
    stress_tests,
    tornado,
    variance_shares,
)
from tests.decisions import APP, BOT, ONE, QUARTERS, a_case, a_response


@pytest.fixture(scope="module")
def decision() -> BusinessCase:
    case = a_case(ONE, APP, BOT, tax_rate=0.2, annual_inflation_rate=0.03)
    return business_case(a_response(), case, seed=1, draws=2_000)


def found(decision: BusinessCase) -> PresentValues:
    return present_values(decision.case, decision.response, decision.inputs)


def frame(result: pd.DataFrame | str) -> pd.DataFrame:
    assert isinstance(result, pd.DataFrame), result
    return result


# ---------------------------------------------------------------- present values


def test_present_values_are_those_of_the_forecasts(decision: BusinessCase) -> None:
    values = found(decision)
    for at, forecast in enumerate(decision.forecasts[:-1]):
        assert values.npv[:, at] == pytest.approx(forecast.measures["npv"], rel=1e-9, abs=1.0)
    assert values.whole == pytest.approx(decision.whole.measures["npv"], rel=1e-9)


def test_what_the_scale_takes_is_what_the_total_loses() -> None:
    wide = {"score_gain": {"low": 4.0, "mode": 6.0, "high": 9.0}}
    result = business_case(a_response(), a_case(ONE | wide, APP | wide), seed=1, draws=200)
    values = found(result)
    assert (values.beyond_scale > 0).mean() > 0.5
    assert values.whole == pytest.approx(result.whole.measures["npv"], rel=1e-9)


# ---------------------------------------------------------------- correlations


def test_a_stated_correlation_reaches_the_draws_and_widens_the_case() -> None:
    pair = {"inputs": ["score_gain.one", "score_gain.app"], "correlation": 0.7, "source": "same team"}
    apart, tied = (a_case(ONE, APP, **more) for more in ({}, {"correlations": [pair]}))
    response = a_response(std_error=1.0)
    before, after = (draw_inputs(case, response, seed=1, draws=10_000) for case in (apart, tied))
    names = pair["inputs"]
    reached = stats.spearmanr(*(after.luck[name] for name in names)).statistic
    assert reached == pytest.approx(0.7, abs=0.005)
    for name in before.luck:
        assert np.array_equal(np.sort(before.luck[name]), np.sort(after.luck[name]))
    assert np.array_equal(before.luck["linkage"], after.luck["linkage"])
    spread = [
        forecasts_of(case, response, inputs)[-1].measures["npv"] for case, inputs in ((apart, before), (tied, after))
    ]
    assert spread[1].std() > 1.2 * spread[0].std()
    assert spread[1].mean() == pytest.approx(spread[0].mean(), rel=1e-6)  # the linkage is nearly certain here


# ---------------------------------------------------------------- shares of variance


def test_shares_of_a_linear_normal_sum_are_its_squared_weights() -> None:
    weights = np.array([3.0, 2.0, 1.0, 0.0])
    share, alone = shapley_effects(lambda luck: special.ndtri(luck) @ weights, np.eye(4), seed=1)
    wanted = weights**2 / (weights**2).sum()
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    assert share == pytest.approx(wanted, abs=0.005)
    assert alone == pytest.approx(wanted, abs=0.01)


def test_shares_of_a_product_split_the_interaction_evenly() -> None:
    """(1 + X)(1 + Y) with independent standard normals: variances 1, 1 and 1 of the product term."""

    def product(luck: np.ndarray) -> np.ndarray:
        return np.asarray(np.prod(1.0 + special.ndtri(luck), axis=1))

    share, alone = shapley_effects(product, np.eye(2), seed=1)
    assert alone == pytest.approx([1 / 3, 1 / 3], abs=0.02)
    assert share == pytest.approx([1 / 2, 1 / 2], abs=0.01)


def test_shares_of_correlated_normals_are_those_of_the_closed_form() -> None:
    """X + Y with correlation ρ, equal variances: each half by symmetry, alone (1 + ρ)/2 of 2(1 + ρ) over 2 (Song et al. 2016)."""
    correlation = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 1.0]])
    share, alone = shapley_effects(lambda luck: special.ndtri(luck).sum(axis=1), correlation, seed=1)
    total = 2 * 1.6 + 1
    assert share == pytest.approx([1.6 / total, 1.6 / total, 1 / total], abs=0.01)
    assert alone == pytest.approx([1.6**2 / total, 1.6**2 / total, 1 / total], abs=0.02)


def test_shares_by_random_orders_agree_with_all_sets() -> None:
    weights = np.arange(1.0, 10.0)  # nine inputs: orders are drawn
    share, _ = shapley_effects(lambda luck: special.ndtri(luck) @ weights, np.eye(9), seed=1)
    assert share.sum() == pytest.approx(1.0, abs=1e-12)
    assert share == pytest.approx(weights**2 / (weights**2).sum(), abs=0.01)


def test_shares_of_a_case_name_its_inputs_and_sum_to_one(decision: BusinessCase) -> None:
    shares = frame(variance_shares(decision))
    assert shares["share"].sum() == pytest.approx(1.0, abs=1e-9)
    assert shares["share"].is_monotonic_decreasing
    named = set(zip(shares["programme"], shares["input"], strict=True))
    assert named == {
        ("total", "linkage"),
        ("one", "score_gain"),
        ("app", "score_gain"),
        ("one", "overrun"),
        ("app", "benefits"),
    }  # savings of a cost play are outside the CX total


def test_nothing_uncertain_is_said_in_words() -> None:
    certain = business_case(
        a_response(), a_case(BOT | {"savings": [BOT["savings"][0] | {"amount": 1e7}]}), seed=1, draws=100
    )
    assert variance_shares(certain) == "nothing that is uncertain moves the net present value"


# ---------------------------------------------------------------- tornado


def test_tornado_ends_are_the_case_asked_again(decision: BusinessCase) -> None:
    rows = tornado(decision)
    middle = dict.fromkeys(decision.inputs.luck, 0.5)
    for name in ("score_gain.one", "score_gain.app", "overrun.one", "benefits.app"):
        what, _, programme = name.partition(".")
        row = rows[(rows["programme"] == programme) & (rows["input"] == what)].iloc[0]
        for end, column in ((0.1, "npv_low"), (0.5, "npv_median"), (0.9, "npv_high")):
            held = decision.inputs.held(middle | {name: end})
            again = forecasts_of(decision.case, decision.response, held)[-1].measures["npv"]
            assert row[column] == pytest.approx(again[0], rel=1e-9)
    assert not ((rows["programme"] == "bot").any())
    assert set(rows.loc[rows["kind"] == "sensitivity", "input"]) == {"annual_discount_rate", "margin"}
    channels = rows[rows["input"].str.startswith("linkage")]
    assert set(channels["input"]) == {"linkage: retention", "linkage: spend"}


def test_a_case_without_its_cost_plays_is_asked_like_any_other(decision: BusinessCase) -> None:
    bare = decision.through_customers()
    assert bare is not None
    pd.testing.assert_frame_equal(tornado(bare), tornado(decision))
    pd.testing.assert_frame_equal(frame(variance_shares(bare)), frame(variance_shares(decision)))
    pd.testing.assert_frame_equal(frame(stress_tests(bare)), frame(stress_tests(decision)))
    found = value_of_information(bare)
    assert isinstance(found, Information)
    assert "bot" not in set(found.tidy()["programme"])


# ---------------------------------------------------------------- stress


def test_each_stress_is_the_changed_case_valued_anew(decision: BusinessCase) -> None:
    rows = frame(stress_tests(decision)).set_index("test")
    programmes = decision.case.programmes
    dearer = decision.case.model_copy(update={"annual_discount_rate": 0.17})
    late = decision.case.model_copy(
        update={
            "programmes": tuple(each.model_copy(update={"start_month": each.start_month + 6}) for each in programmes)
        }
    )
    half = replace(decision.response, through_retention=(1 - STRESS_RETENTION) * decision.response.through_retention)
    for test, case, response in (
        ("as stated", decision.case, decision.response),
        ("dearer money", dearer, decision.response),
        ("half a year late", late, decision.response),
        ("price shock", decision.case, half),
    ):
        again = business_case(response, case, seed=1, draws=2_000).tidy()
        npv = again[(again["measure"] == "npv") & (again["programme"] == "total") & (again["scenario"] == "base")].iloc[
            0
        ]
        for column in ("low", "median", "high"):
            assert rows.loc[test, column] == pytest.approx(npv[column], rel=1e-9)
    assert (rows["change"].drop("as stated") < 0).all()
    assert rows.loc["gain fades as observed", "basis"] == "data"
    assert set(rows.loc[["price shock", "lower margin", "half a year late"], "basis"]) == {"convention"}


def test_margin_a_tenth_lower_takes_a_tenth_of_what_the_score_brings(decision: BusinessCase) -> None:
    rows = frame(stress_tests(decision)).set_index("test")
    values = found(decision)
    npv = values.whole - 0.1 * (values.through_score.sum(axis=1) - values.beyond_scale)
    assert rows.loc["lower margin", "median"] == pytest.approx(np.quantile(npv, 0.5, method="inverted_cdf"), rel=1e-9)


def test_stated_losses_take_the_place_of_the_convention(decision: BusinessCase) -> None:
    rows = frame(stress_tests(decision, lost_retention={"a rival opens next door": 1.0})).set_index("test")
    assert "price shock" not in rows.index
    assert rows.loc["a rival opens next door", "basis"] == "case"
    silent = replace(decision.response, through_retention=np.zeros_like(decision.response.through_retention))
    without = present_values(decision.case, silent, draw_inputs(decision.case, silent, seed=1, draws=2_000)).whole
    assert rows.loc["a rival opens next door", "median"] == pytest.approx(
        np.quantile(without, 0.5, method="inverted_cdf"), rel=1e-9
    )


def test_without_a_response_the_reason_is_said() -> None:
    nothing = np.empty((0, QUARTERS))
    silent = replace(
        a_response(), baseline=nothing, through_retention=nothing, through_spend=nothing, reason="no answers"
    )
    result = business_case(silent, a_case(ONE), seed=1, draws=100)
    assert (stress_tests(result), variance_shares(result)) == ("no answers", "no answers")
    assert tornado(result).empty


def test_copula_of_named_inputs_holds_the_sine_of_the_rank_correlation() -> None:
    assert copula(["a", "b"], [("b", "a", 1.0)])[0, 1] == pytest.approx(1.0)
    assert copula(["a", "b"], [("b", "a", 0.5)])[0, 1] == pytest.approx(2 * np.sin(np.pi / 12))
