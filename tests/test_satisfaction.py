"""Satisfaction behind the answers: parameters come back, expectations are those of the normal distribution, the placebo sees feedback."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from cxroi.linkage import headline_method, standard_linkages
from cxroi.linkage.calibrated import Calibrated, calibrated
from cxroi.linkage.fit import inflation
from cxroi.linkage.ladder import can_lead, grade
from cxroi.linkage.placebo import placebo
from cxroi.linkage.satisfaction import Answers, Grid, Satisfaction, _gaussian, expect, learn_satisfaction
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

LASTING, FADING, FADE, NOISE = 1.2, 0.8, 0.6, 0.9


def drawn(customers: int, periods: int, *, share: float = 0.6, seed: int = 1) -> Answers:
    """Answers of the model itself; the first column, before anybody answers, stays empty."""
    rng = np.random.default_rng(seed)
    wave = np.sqrt(FADING) * rng.standard_normal(customers)
    level = np.sqrt(LASTING) * rng.standard_normal(customers)
    deviation = np.full((customers, periods + 1), np.nan)
    counts = np.zeros((customers, periods + 1))
    for period in range(1, periods + 1):
        wave = FADE * wave + np.sqrt(FADING * (1 - FADE**2)) * rng.standard_normal(customers)
        count = rng.integers(1, 3, customers)
        answered = rng.random(customers) < share
        answer = level + wave + np.sqrt(NOISE / count) * rng.standard_normal(customers)
        deviation[answered, period], counts[answered, period] = answer[answered], count[answered]
    return Answers(deviation, counts, np.ones(customers, dtype=np.int64))


def learned(answers: Answers) -> Satisfaction:
    nowhere = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    grid = Grid(answers, np.arange(len(answers.counts)), nowhere, nowhere)
    found = learn_satisfaction(grid, "nps", predicted_variance=0.5)
    assert found is not None
    return found


def test_parameters_come_back_within_their_errors() -> None:
    found = learned(drawn(6_000, 8))
    z = []
    for position, truth in enumerate((np.log(LASTING), np.log(FADING), np.log(FADE / (1 - FADE)), np.log(NOISE))):
        mine = (np.log(found.lasting), np.log(found.fading), np.log(found.fade / (1 - found.fade)), np.log(found.noise))
        z.append((mine[position] - truth) / np.sqrt(found.covariance[position, position]))
    assert np.abs(z).max() < 3.0  # four figures: one in a hundred seeds would lie outside
    satisfaction = 0.5 + LASTING + FADING
    assert found.reliability == pytest.approx(satisfaction / (satisfaction + NOISE), abs=3 * found.reliability_error)
    assert found.tidy().query("conf_low < estimate and estimate < conf_high").shape[0] == 5


def test_errors_of_the_parameters_are_the_scatter_over_companies() -> None:
    fades = [learned(drawn(1_500, 6, seed=seed)) for seed in range(24)]
    scatter = np.std([np.log(one.noise) for one in fades], ddof=1)
    stated = np.mean([np.sqrt(one.covariance[3, 3]) for one in fades])
    assert scatter == pytest.approx(stated, rel=0.45)  # three standard errors of a spread over 24


def test_derivatives_of_the_likelihood() -> None:
    answers = drawn(300, 5)
    at = np.array([0.1, -0.2, 0.4, -0.1])
    _, scores, information = _gaussian(answers, at)
    for position in range(4):
        step = 1e-5 * np.eye(4)[position]
        slope = (_gaussian(answers, at + step)[0] - _gaussian(answers, at - step)[0]) / 2e-5
        assert scores[:, position].sum() == pytest.approx(slope, rel=1e-5, abs=1e-5)
    assert np.linalg.eigvalsh(information).min() > 0


def test_expectations_are_those_of_the_joint_normal_distribution() -> None:
    answers = drawn(40, 5, share=0.5)
    satisfaction = replace(learned(drawn(2_000, 6)), lasting=LASTING, fading=FADING, fade=FADE, noise=NOISE)
    found = expect(satisfaction, answers)
    periods = np.arange(6)
    wave = FADING * FADE ** np.abs(periods[:, None] - periods[None, :])
    joint = LASTING + wave  # of satisfaction in every two periods
    for customer in range(40):
        for period in range(1, 6):
            seen = np.flatnonzero(answers.counts[customer, : period + 1] > 0)
            if not len(seen):
                assert found.now[customer, period] == 0.0
                continue
            noise = np.diag(NOISE / answers.counts[customer, seen])
            solved = np.linalg.solve(joint[np.ix_(seen, seen)] + noise, answers.deviation[customer, seen])
            assert found.now[customer, period] == pytest.approx(joint[period, seen] @ solved, abs=1e-10)
            assert found.level[customer, period] == pytest.approx(LASTING * solved.sum(), abs=1e-10)
            assert found.last[customer, period] == pytest.approx(joint[period - 1, seen] @ solved, abs=1e-10)
            earlier = joint[: period - 1, seen].sum(axis=0) @ solved
            assert found.earlier[customer, period] == pytest.approx(earlier, abs=1e-10)
            left = joint[period, seen] @ np.linalg.solve(joint[np.ix_(seen, seen)] + noise, joint[period, seen])
            assert found.spread[customer, period] == pytest.approx(LASTING + FADING - left, abs=1e-10)


def test_too_few_repeats_learn_nothing() -> None:
    answers = drawn(300, 5, share=0.15)
    nowhere = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    assert learn_satisfaction(Grid(answers, np.arange(300), nowhere, nowhere), "nps", predicted_variance=0.0) is None


def test_inflation_is_the_classic_factor() -> None:
    rng = np.random.default_rng(2)
    first = rng.standard_normal(5_000)
    second = 0.8 * first + 0.6 * rng.standard_normal(5_000)
    design = np.column_stack([np.ones(5_000), first, second])
    correlation = np.corrcoef(first, second)[0, 1]
    assert inflation(design, 1, 2) == pytest.approx(1 / np.sqrt(1 - correlation**2), rel=1e-9)


# ------------------------------------------------------------------------------------------------ on a panel


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("satisfaction")


@cache
def company(place: Path, world: str, customers: int = 4_000) -> tuple[Panel, dict[str, float]]:
    folder = place / f"{world}-{customers}"
    truth = json.loads(simulate(folder, world=world, customers=customers, seed=9).read_text(encoding="utf-8"))
    return build_panel(read_tables(folder)), truth["reliability"]


def of(panel: Panel, exposure: str = "nps") -> Calibrated:
    found = calibrated(panel, exposure)
    assert isinstance(found, Calibrated)
    return found


@pytest.mark.parametrize("world", ["clean", "noisy-scores"])
def test_reliability_is_the_simulated_one(place: Path, world: str) -> None:
    panel, truth = company(place, world)
    satisfaction = of(panel).satisfaction
    assert satisfaction.reliability == pytest.approx(truth["nps"], abs=3 * satisfaction.reliability_error + 0.02)


def test_noise_is_undone(place: Path) -> None:
    panel, _ = company(place, "noisy-scores", 12_000)
    found = standard_linkages(panel, "nps", methods=("adjusted", "calibrated"))
    plain, corrected = (found["retained", method] for method in ("adjusted", "calibrated"))
    assert not isinstance(plain, str)
    assert not isinstance(corrected, str)
    assert corrected.effect.estimate > 1.2 * plain.effect.estimate
    assert corrected.std_error > plain.std_error  # what was not known costs precision
    names = corrected.checks().set_index("name")["verdict"]
    assert names["survivors"] == "pass"
    assert "reliability of one answer" in names


def test_the_error_of_the_reliability_is_carried(place: Path) -> None:
    panel, _ = company(place, "noisy-scores")
    scores = of(panel)
    found = standard_linkages(panel, "nps", methods=("calibrated",))["retained", "calibrated"]
    assert not isinstance(found, str)
    known = replace(scores, satisfaction=replace(scores.satisfaction, influence=scores.satisfaction.influence * 0.0))
    panel.once("calibrated nps", lambda: known)
    again = replace(panel)
    again.once("calibrated nps", lambda: known)
    sure = standard_linkages(again, "nps", methods=("calibrated",))["retained", "calibrated"]
    assert not isinstance(sure, str)
    assert sure.effect.estimate == pytest.approx(found.effect.estimate, rel=1e-9)
    assert sure.std_error < found.std_error


def test_a_point_more_moves_the_line_and_the_bend(place: Path) -> None:
    found = standard_linkages(company(place, "clean")[0], "nps", methods=("calibrated",))["retained", "calibrated"]
    assert not isinstance(found, str)
    rows, names = found.panel.rows, found.design.columns
    higher = found.design.matrix.copy()
    score = rows["nps"].to_numpy()
    higher[:, names.index("nps")] += 1.0
    assert found.design.preparation.bends is not None
    centre = found.design.preparation.bends[1]
    higher[:, names.index("satisfaction_bend")] += (score + 1.0 - centre) ** 2 - (score - centre) ** 2
    now, then = (
        special.expit(each @ found.fitted.coefficients + found.shift) for each in (found.design.matrix, higher)
    )
    weights = found.calibration.weights
    assert found.effect.estimate == pytest.approx(np.average(then - now, weights=weights), rel=1e-9)
    moved = found.effect.estimate
    straight = np.average(
        special.expit(special.logit(now) + found.fitted.coefficients[names.index("nps")]) - now, weights=weights
    )
    assert moved != pytest.approx(straight, rel=1e-5)  # the bend is there


def test_history_is_net_of_the_line_and_the_bend_that_are_found(place: Path) -> None:
    orders = standard_linkages(company(place, "clean")[0], "nps", methods=("calibrated",))["orders", "calibrated"]
    assert not isinstance(orders, str)
    net = orders.design.preparation.net
    assert net is not None
    found = dict(zip(orders.design.columns, orders.fitted.coefficients, strict=True))
    # the fixed point stops at 1e-5 of what was assumed, before the last fit
    assert net.order_slope == pytest.approx(found["nps"], abs=3e-5)
    assert net.order_bend == pytest.approx(found["satisfaction_bend"], abs=3e-5)
    assert abs(net.order_slope) > 1e-3


def test_the_placebo_sees_orders_that_raise_satisfaction_and_nothing_else(place: Path) -> None:
    verdicts = {}
    for world in ("clean", "confounded-unseen", "reverse"):
        found = placebo(of(company(place, world)[0]))
        assert found is not None
        verdicts[world] = found.passes
    assert verdicts == {"clean": True, "confounded-unseen": True, "reverse": False}
    linkage = standard_linkages(company(place, "reverse")[0], "nps", methods=("calibrated",))["retained", "calibrated"]
    assert not isinstance(linkage, str)
    assert linkage.evidence == "association"
    row = linkage.checks().set_index("name").loc["placebo: orders before the answer"]
    assert row["verdict"] == "fail"


def test_the_comparison_within_customers_leads_where_it_is_precise(place: Path) -> None:
    small = standard_linkages(company(place, "confounded-unseen")[0], "nps")
    assert headline_method(small) == "calibrated"
    within = small["retained", "within"]
    assert not isinstance(within, str)
    assert within.evidence == "within_customer"
    assert can_lead((1.0, 0.2), 0.8)
    assert not can_lead((1.0, 0.21), 0.8)
    assert grade("within", "inside") == "association"


def test_without_repeats_the_adjusted_figures_lead(place: Path) -> None:
    panel, _ = company(place, "clean")
    once = panel.rows.drop_duplicates("customer").reset_index(drop=True)
    found = standard_linkages(replace(panel, rows=once), "nps")
    assert headline_method(found) == "adjusted"
    assert found["retained", "calibrated"] == (
        "too few customers answered in four periods or more to tell satisfaction from the noise of one answer"
    )
