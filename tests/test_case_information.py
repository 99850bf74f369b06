"""Value of information: closed forms, brute-force nested simulation, and pilots whose value is known."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxroi.case import BusinessCase, business_case
from cxroi.case.information import (
    Information,
    SampleInformation,
    larger_survey,
    partial_information,
    perfect_information,
    pilot,
    sample_information,
    unit_normal_loss,
    value_of_information,
)
from cxroi.case.inputs import Inputs, draw_inputs
from cxroi.case.portfolio import Coverage, Portfolio, choose, options_of
from cxroi.case.programme import Correlation
from cxroi.case.uncertainty import present_values
from cxroi.errors import InputError
from tests.decisions import APP, BOT, ONE, a_case, a_response

DRAWS = 100_000


@pytest.fixture(scope="module")
def decision() -> BusinessCase:
    """A case on the edge: two programmes that may or may not pay, and a cost play."""
    dear = [{"category": 2, "month": 0, "amount": 9e9, "overrun": {"low": 0, "mode": 0.2, "high": 0.6}}]
    case = a_case(ONE | {"costs": dear}, APP | {"costs": [{"category": 3, "month": 0, "amount": 7e9}]}, BOT)
    result = business_case(a_response(), case, seed=1, draws=1_000)
    return replace(result, inputs=draw_inputs(case, result.response, seed=1, draws=DRAWS), draws=DRAWS)


@pytest.fixture(scope="module")
def found(decision: BusinessCase) -> Information:
    result = value_of_information(decision)
    assert isinstance(result, Information)
    return result


def worth(found: Information, decided: str, programme: str, name: str) -> pd.Series[float]:
    rows = found.tidy()
    kept = rows[(rows["decided"] == decided) & (rows["programme"] == programme) & (rows["input"] == name)]
    assert len(kept) == 1
    return kept.iloc[0]


def a_pilot(decision: BusinessCase, programme: str = "one", **terms: Any) -> SampleInformation:
    result = pilot(decision, programme, **({"answer_std": 2.0, "response_rate": 0.3} | terms))
    assert isinstance(result, SampleInformation), result
    return result


# ---------------------------------------------------------------- closed forms


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 1.0), (-1.0, 2.0), (2.0, 0.7)])
def test_knowing_a_normal_value_is_worth_the_unit_normal_loss(mean: float, std: float) -> None:
    draws = np.random.default_rng(1).normal(mean, std, DRAWS)
    values = np.stack([draws, np.zeros(DRAWS)], axis=1)
    exact = std * (stats.norm.pdf(mean / std) - abs(mean) / std * stats.norm.cdf(-abs(mean) / std))
    assert unit_normal_loss(mean, std) == pytest.approx(exact, rel=1e-12)
    reached = perfect_information(values)
    assert reached.value == pytest.approx(exact, abs=4 * reached.std_error)


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_knowing_one_normal_part_is_worth_the_loss_of_that_part(mean: float) -> None:
    rng = np.random.default_rng(2)
    known, rest = rng.normal(size=(2, DRAWS))
    values = np.stack([mean + 0.6 * known + 0.8 * rest, np.zeros(DRAWS)], axis=1)
    reached = partial_information(values, known)
    assert reached.value == pytest.approx(unit_normal_loss(mean, 0.6), abs=4 * reached.std_error)
    assert partial_information(values, np.ones(DRAWS)).value == 0.0


def test_measuring_a_normal_value_is_worth_its_closed_form() -> None:
    """Bayes with known variances: the mean after a result with error e is spread with the variance of the prior times s²/(s² + e²)."""
    points = 0.3 + 0.2 * stats.norm.ppf((np.arange(400) + 0.5) / 400)
    means = np.stack([-25.0 + 100.0 * points, np.zeros(400)], axis=1)
    for error in (1.0, 0.4, 0.1, 0.05):
        exact = unit_normal_loss(5.0, 100.0 * 0.2 * math.sqrt(0.04 / (0.04 + error**2)))
        assert sample_information(points, means, std_error=error) == pytest.approx(exact, rel=0.01, abs=0.005)
    assert sample_information(points, means, std_error=1e-9) == pytest.approx(unit_normal_loss(5.0, 20.0), rel=0.01)


# ---------------------------------------------------------------- a case


def test_each_input_is_worth_what_nested_simulation_says(decision: BusinessCase, found: Information) -> None:
    """For 200 values of the input, the mean over 2,000 draws of all the others; an input known is decided on in each."""
    luck = {name: draws[:2_000] for name, draws in decision.inputs.luck.items()}
    outer = (np.arange(200) + 0.5) / 200
    for name in ("linkage", "score_gain.one", "score_gain.app", "overrun.one"):
        together, each = [], []
        for probability in outer:
            held = Inputs(luck, 2_000).held({name: float(probability)})
            values = present_values(decision.case, decision.response, held)
            together.append(values.whole.mean())
            each.append(values.npv.mean(axis=0))
        nested = [
            np.maximum(means, 0.0).mean(axis=0) - np.maximum(np.mean(means, axis=0), 0.0) for means in (together, each)
        ]
        what, _, programme = name.partition(".")
        for decided, exact in (("together", nested[0]), ("each", nested[1].sum())):
            row = worth(found, decided, programme or "total", what)
            scale = float(worth(found, decided, "total", "everything")["value"])
            assert row["value"] == pytest.approx(float(exact), abs=4 * row["std_error"] + 0.02 * scale)


def test_nothing_is_worth_more_than_everything(found: Information) -> None:
    rows = found.tidy()
    for _, group in rows.groupby("decided"):
        assert group["input"].iloc[0] == "everything"
        assert (group["value"] <= group["value"].iloc[0]).all()
        assert (group["value"] >= 0).all()
        assert group["value"].iloc[1:].is_monotonic_decreasing
    everything = {decided: worth(found, decided, "total", "everything")["value"] for decided in ("together", "each")}
    assert everything["each"] > everything["together"]  # programmes taken or left one by one leave more to find out
    assert found.glance()["first"].iloc[0] == "linkage"


def test_savings_of_a_cost_play_matter_only_where_it_is_decided_on(found: Information) -> None:
    assert worth(found, "together", "bot", "savings")["value"] == 0.0
    assert worth(found, "each", "bot", "savings")["value"] > 0.0


def test_one_hundred_thousand_draws_take_a_moment(decision: BusinessCase) -> None:
    started = time.perf_counter()
    value_of_information(decision)
    assert time.perf_counter() - started < 1.0


# ---------------------------------------------------------------- pilots


def test_value_of_a_pilot_agrees_with_simulated_pilots_of_a_triangular_gain(decision: BusinessCase) -> None:
    """Exact means after each simulated pilot, on a grid of the stated gain."""
    sizes = [300, 1_000, 3_000, 10_000]
    result = pilot(decision, "one", answer_std=2.0, response_rate=0.3, sizes=sizes)
    assert isinstance(result, SampleInformation)
    values = present_values(decision.case, decision.response, decision.inputs).npv[:, 0]
    gains = np.linspace(0.1, 0.5, 401)
    prior = stats.triang(0.5, 0.1, 0.4).pdf(gains)
    prior /= prior.sum()
    mean = float(values.mean())
    point = float(present_values(decision.case, decision.response, decision.inputs).through_score[:, 0].mean()) / 0.3
    rng = np.random.default_rng(5)
    truth = rng.choice(gains, 20_000, p=prior)
    for row in result.tidy().itertuples():
        seen = truth + rng.normal(0.0, row.std_error, len(truth))
        likely = np.exp(-0.5 * ((seen[:, None] - gains) / row.std_error) ** 2) * prior
        after = (likely @ gains) / likely.sum(axis=1)
        simulated = np.maximum(mean + point * (after - 0.3), 0.0)
        error = float(simulated.std() / math.sqrt(len(truth)))
        assert row.value == pytest.approx(float(simulated.mean() - max(mean, 0.0)), abs=4 * error + 0.02 * result.limit)


def test_a_pilot_is_never_worth_more_than_knowing_the_gain(decision: BusinessCase, found: Information) -> None:
    result = a_pilot(decision)
    rows = result.tidy()
    assert rows["value"].is_monotonic_increasing
    assert (rows["value"] <= result.limit).all()
    known = worth(found, "each", "one", "score_gain")
    assert result.limit == pytest.approx(known["value"], abs=4 * known["std_error"] + 0.02 * known["value"])


def test_the_best_size_beats_every_size_shown(decision: BusinessCase) -> None:
    result = a_pilot(decision, fixed_cost=1e7, cost_per_customer=20_000)
    assert result.best_net_value >= result.tidy()["net_value"].max()
    assert result.best_size > 0
    again = pilot(
        decision,
        "one",
        answer_std=2.0,
        response_rate=0.3,
        fixed_cost=1e7,
        cost_per_customer=20_000,
        sizes=[result.best_size],
    )
    assert isinstance(again, SampleInformation)
    assert again.tidy()["net_value"].iloc[0] == pytest.approx(result.best_net_value, rel=1e-9)


def test_a_pilot_dearer_than_what_it_can_tell_is_not_run(decision: BusinessCase) -> None:
    result = a_pilot(decision, fixed_cost=1e12)
    assert (result.best_size, result.best_net_value) == (0, 0.0)


def test_power_is_eighty_percent_at_the_size_that_is_named(decision: BusinessCase) -> None:
    named = a_pilot(decision).size_for_power
    result = pilot(decision, "one", answer_std=2.0, response_rate=0.3, sizes=[int(named)])
    assert isinstance(result, SampleInformation)
    row = result.tidy().iloc[0]
    assert row["power"] == pytest.approx(0.8, abs=0.002)
    shift = result.break_even / row["std_error"]
    assert row["power"] == pytest.approx(stats.norm.sf(1.959964 - shift), abs=1e-6)
    assert result.break_even == decision.break_even()["break_even_median"].iloc[0], "one gain, one figure"


def test_waiting_costs_what_discounting_takes(decision: BusinessCase) -> None:
    now, later = a_pilot(decision, "app"), a_pilot(decision, "app", months=12.0)
    waits, mean = (
        later.tidy()["value"].to_numpy(),
        float(present_values(decision.case, decision.response, decision.inputs).npv[:, 1].mean()),
    )
    done = max(mean, 0.0)
    assert (waits + done) * 1.12 == pytest.approx(
        now.tidy()["value"].to_numpy() + done,
        rel=1e-3,  # the mean over evenly spaced points and that over draws
    )


def test_more_answers_narrow_the_linkage(decision: BusinessCase, found: Information) -> None:
    result = larger_survey(decision, answers_now=5_000, sizes=[50, 5_000, 500_000_000])
    assert isinstance(result, SampleInformation)
    rows = result.tidy()
    assert rows["share_known"].to_list() == pytest.approx([50 / 5_050, 0.5, 1.0], rel=1e-4)
    assert rows["value"].iloc[-1] == pytest.approx(result.limit, rel=1e-3)
    known = worth(found, "together", "total", "linkage")
    assert result.limit == pytest.approx(known["value"], abs=4 * known["std_error"] + 0.02 * known["value"])


def test_before_a_choice_it_is_the_best_set_that_information_can_change(decision: BusinessCase) -> None:
    """Nested simulation over all sets; customers whom both programmes reach make the value of a set bend in each gain."""
    few = replace(
        decision, inputs=Inputs({name: draws[:20_000] for name, draws in decision.inputs.luck.items()}, 20_000)
    )
    chosen = choose(few)
    assert isinstance(chosen, Portfolio)
    found = value_of_information(few, choice=chosen)
    assert isinstance(found, Information)
    everything = float(worth(found, "choice", "total", "everything")["value"])
    luck = {name: draws[:2_000] for name, draws in decision.inputs.luck.items()}
    for name in ("linkage", "score_gain.one", "score_gain.app"):
        means = []
        for probability in (np.arange(100) + 0.5) / 100:
            held = replace(decision, inputs=Inputs(luck, 2_000).held({name: float(probability)}), draws=2_000)
            coverage = Coverage(options_of(held))
            means.append([coverage.npv(each).mean() for each in chosen.compared])
        nested = float(np.max(means, axis=1).mean() - np.mean(means, axis=0).max())
        what, _, programme = name.partition(".")
        row = worth(found, "choice", programme or "total", what)
        assert row["value"] == pytest.approx(nested, abs=4 * row["std_error"] + 0.02 * everything)
        if programme:
            limit = a_pilot(few, programme, choice=chosen).limit
            assert limit == pytest.approx(nested, abs=4 * row["std_error"] + 0.02 * everything)


def test_a_correlated_input_also_tells_of_what_it_does_not_move(decision: BusinessCase) -> None:
    """Against means in 100 classes of the input: with correlated gains, one tells of the other programme too."""
    pair = Correlation(inputs=("score_gain.one", "score_gain.app"), correlation=0.7, source="same team")
    case = decision.case.model_copy(update={"correlations": (pair,)})
    tied = replace(decision, case=case, inputs=draw_inputs(case, decision.response, seed=1, draws=DRAWS))
    found = value_of_information(tied)
    assert isinstance(found, Information)
    values = present_values(case, tied.response, tied.inputs).npv
    order = np.argsort(tied.inputs.luck["score_gain.one"], kind="stable").reshape(100, -1)
    means = values[order].mean(axis=1)
    classes = float((np.maximum(means, 0.0).mean(axis=0) - np.maximum(values.mean(axis=0), 0.0)).sum())
    row = worth(found, "each", "one", "score_gain")
    assert row["value"] == pytest.approx(classes, abs=4 * row["std_error"] + 0.01 * classes)
    untied = value_of_information(decision)
    assert isinstance(untied, Information)
    assert row["value"] > worth(untied, "each", "one", "score_gain")["value"] + 4 * row["std_error"]


# ---------------------------------------------------------------- what cannot be


def test_what_a_pilot_cannot_find_out_is_said_in_words(decision: BusinessCase) -> None:
    told = pilot(decision, "bot", answer_std=2.0, response_rate=0.3)
    assert told == "the gain of bot is not uncertain, so a pilot has nothing to find out"
    with pytest.raises(InputError, match="programme must be one of one, app, bot; got 'nobody'"):
        pilot(decision, "nobody", answer_std=2.0, response_rate=0.3)
    for wrong in ({"answer_std": 0.0}, {"response_rate": 1.5}, {"fixed_cost": -1.0}, {"months": -1.0}):
        with pytest.raises(InputError, match="must"):
            a_pilot(decision, **wrong)
    with pytest.raises(InputError, match="answers_now must"):
        larger_survey(decision, answers_now=0)


def test_without_a_response_nothing_is_worth_finding_out_here(decision: BusinessCase) -> None:
    nothing = np.empty((0, 12))
    silent = replace(
        a_response(), baseline=nothing, through_retention=nothing, through_spend=nothing, reason="no answers"
    )
    result = business_case(silent, a_case(ONE), seed=1, draws=100)
    assert value_of_information(result) == "no answers"
    assert pilot(result, "one", answer_std=2.0, response_rate=0.3) == "no answers"
    assert larger_survey(result, answers_now=100) == "no answers"
