"""Low scorers rise untouched: expected change against a normal process, simulated companies and a planted recovery."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxroi.errors import InputError
from cxroi.evidence.regression_to_mean import (
    RegressionToMean,
    answer_pairs,
    band_of,
    regression_to_mean,
    regression_to_mean_checks,
)
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables


def company(folder: Path, world: str) -> Panel:
    simulate(folder, world=world, customers=4_000, seed=5)
    return build_panel(read_tables(folder))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return company(tmp_path_factory.mktemp("regression") / "noisy", "noisy-scores")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    return company(tmp_path_factory.mktemp("regression") / "clean", "clean")


def with_answers(panel: Panel, first: np.ndarray, second: np.ndarray) -> Panel:
    """The panel with two answers a customer, one period apart."""
    n = len(first)
    rows = pd.DataFrame(
        {
            "customer": np.repeat(np.arange(n), 2),
            "period": np.tile([8100, 8101], n),
            "nps": np.column_stack([first, second]).ravel(),
        }
    )
    return replace(panel, rows=rows, score_ranges={"nps": (0.0, 10.0)})


def found(panel: Panel, **options: str) -> RegressionToMean:
    result = regression_to_mean(panel, "nps", **options)
    assert isinstance(result, RegressionToMean)
    return result


@pytest.mark.parametrize("world", ["clean", "noisy"])
def test_untouched_companies_show_nothing(world: str, request: pytest.FixtureRequest) -> None:
    result = found(request.getfixturevalue(world))
    bands = result.bands.set_index("band")
    assert ((bands["conf_low"] < 0) & (bands["conf_high"] > 0)).all()
    assert bands.loc["detractors", "change"] > 0.25  # low scorers rise all the same
    assert bands.loc["promoters", "change"] < -0.25
    np.testing.assert_allclose(
        bands["mirrored"], bands["expected"], atol=0.15
    )  # two ways to the same; sampling error 0.05
    verdicts = regression_to_mean_checks(result).set_index("name")["verdict"]
    assert verdicts["change of detractors"] == verdicts["change of promoters"] == "pass"


def test_noise_makes_more_of_it(clean: Panel, noisy: Panel) -> None:
    of_clean, of_noisy = (found(panel) for panel in (clean, noisy))
    assert of_noisy.bands["expected"].iloc[0] > 1.5 * of_clean.bands["expected"].iloc[0]
    assert of_noisy.reliability["estimate"].iloc[0] < of_clean.reliability["estimate"].iloc[0] - 0.1
    assert of_noisy.ancova.set_index("term").loc["baseline", "estimate"] < 0.6


def test_normal_answers_follow_the_formula(clean: Panel) -> None:
    """Barnett, van der Pols & Dobson (2005), formula 1: above a cut the expected fall is (1 − r)·sd·φ(z)/Q(z)."""
    generator, correlation = np.random.default_rng(2), 0.6
    first = generator.standard_normal(200_000)
    second = correlation * first + np.sqrt(1 - correlation**2) * generator.standard_normal(len(first))
    result = found(with_answers(clean, 7.0 + 2.0 * first, 7.0 + 2.0 * second))
    cut = (9.0 - 7.0) / 2.0
    fall = (1 - correlation) * 2.0 * stats.norm.pdf(cut) / stats.norm.sf(cut)
    assert result.reliability["estimate"].iloc[0] == pytest.approx(correlation, abs=0.008)  # 4 standard errors
    assert result.bands.set_index("band").loc["promoters", "expected"] == pytest.approx(-fall, abs=0.03)


def test_intervals_hold(clean: Panel) -> None:
    """95 % intervals of what remains contain 0 in 87 … 100 % of 120 untouched companies (3 standard errors about 95 %)."""
    generator = np.random.default_rng(4)
    inside = []
    for _ in range(120):
        level = 7.0 + generator.standard_normal(400)
        answers = np.rint(np.clip(level + generator.standard_normal((2, 400)), 0, 10))
        bands = found(with_answers(clean, *answers)).bands
        inside.append(((bands["conf_low"] < 0) & (bands["conf_high"] > 0)).iloc[0])
    assert 0.87 <= np.mean(inside) <= 1.0


def test_a_real_recovery_remains(noisy: Panel) -> None:
    """Detractors lifted by 1.5 points before their next answer: more than regression to the mean is left, and said."""
    rows = noisy.rows.copy()
    before = rows.groupby("customer")["nps"].shift(1)
    rows["nps"] = np.minimum(rows["nps"] + 1.5 * (before <= 6), 10.0)
    result = found(replace(noisy, rows=rows))
    low = result.bands.set_index("band").loc["detractors"]
    assert low["conf_low"] > 0
    assert low["remaining"] > 0.2  # part of the lift flattens the line that all pairs are compared with
    check = regression_to_mean_checks(result).set_index("name").loc["change of detractors"]
    assert check["verdict"] == "warn"
    assert "something else moved them" in check["advice"]


def test_covariance_analysis_finds_the_treated(noisy: Panel) -> None:
    """A lift of 0.8 points for a random half of the low scorers; the other low scorers rise by noise alone."""
    generator = np.random.default_rng(9)
    first = 7.0 + 1.2 * generator.standard_normal((2, 4_000)).sum(axis=0)
    level = 7.0 + (first - 7.0) / 2
    treated = (first < 6.5) & (generator.random(len(first)) < 0.5)
    second = level + 1.2 * generator.standard_normal(len(first)) + 0.8 * treated
    panel = with_answers(noisy, first, second)
    marked = replace(panel, rows=panel.rows.assign(contacted=np.repeat(treated, 2).astype(float)))
    own = found(marked, group="contacted").ancova.set_index("term").loc["contacted"]
    assert own["conf_low"] < 0.8 < own["conf_high"]
    assert own["std_error"] < 0.1
    naive = (second - first)[treated].mean()
    assert naive > 1.5  # the change of the treated alone, which regression to the mean doubles


def test_pairs_are_neighbouring_answers(clean: Panel) -> None:
    pairs = answer_pairs(clean, "nps")
    rows = clean.answered("nps")
    counts = rows.groupby("customer").size()
    assert len(pairs) == int((counts - 1).sum())
    assert (pairs["lag"] >= 1).all()
    one = pairs.iloc[0]
    own = rows[(rows["customer"] == one["customer"]) & (rows["period"] >= one["period"])].iloc[:2]
    assert own["nps"].tolist() == [one["first"], one["second"]]
    means = rows.groupby("period")["nps"].mean()
    assert one["first_distance"] == pytest.approx(one["first"] - means[one["period"]])
    assert one["second_distance"] == pytest.approx(one["second"] - means[one["period"] + one["lag"]])


@pytest.mark.parametrize(
    ("exposure", "scale", "answers", "bands"),
    [
        ("nps", (0.0, 10.0), [0, 6, 7, 8, 9, 10], [0, 0, 1, 1, 2, 2]),
        ("csat", (1.0, 5.0), [1, 2, 3, 4, 5], [0, 0, 1, 2, 2]),
        ("ces", (1.0, 7.0), [1, 3, 4, 5, 7], [0, 0, 1, 2, 2]),
    ],
)
def test_bands(exposure: str, scale: tuple[float, float], answers: list[float], bands: list[int]) -> None:
    assert band_of(np.array(answers, dtype=float), exposure, scale).tolist() == bands


def test_reasons_and_refusals(clean: Panel) -> None:
    few = replace(clean, rows=clean.rows.iloc[:40].reset_index(drop=True))
    assert "at least 100 pairs" in str(regression_to_mean(few, "nps"))
    assert "no answers to nps" in str(regression_to_mean(replace(clean, metrics=("csat",)), "nps"))
    same = with_answers(clean, np.full(300, 8.0), np.full(300, 8.0))
    assert regression_to_mean(same, "nps") == "every answer is the same"
    with pytest.raises(InputError, match="1 where something was done"):
        regression_to_mean(clean, "nps", group="contacted")
