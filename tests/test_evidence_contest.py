"""Metric contest: the batch of fits against published and single ones, what is judged, and verdicts where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import optimize, special, stats

from cxroi.evidence import contest as room
from cxroi.evidence.contest import (
    Contest,
    Restriction,
    clustered_mean,
    code_answers,
    contest_checks,
    fit_restricted,
    in_words,
    known_columns,
    losses,
    metric_contest,
    saturated_loss,
    systematic_sample,
)
from cxroi.linkage.fit import Family, Floats, fit, mean
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

SETTLED = 2e-3  # in standard errors; the batch stops at steps of 1e-3, and what is left of a shrinking series is as long again
PERIODS = 6
NOISE_ALLOWED = 4.0  # standard errors; a fixed seed either passes for good or fails for good


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    place = tmp_path_factory.mktemp("contest") / "null"
    simulate(place, world="null", customers=1_500, seed=3)
    return build_panel(read_tables(place))


def drawn(simulated: Panel, *, customers: int, seed: int, by_period: Floats, weights: dict[str, float]) -> Panel:
    """A panel of made-up answers in which everybody answers nps, csat and ces in every period.

    ``weights`` is how satisfaction seen by each score acts on log-odds of staying and log orders, times ``by_period``.
    """
    rng = np.random.default_rng(seed)
    n = customers * PERIODS
    seen = rng.standard_normal((n, 3))
    answers = np.clip(np.round(seen * [2.0, 0.9, 1.3] + [7.0, 3.5, 4.5]), [0, 1, 1], [10, 5, 7])
    alike = (answers - answers.mean(axis=0)) / answers.std(axis=0)
    period = np.tile(np.arange(PERIODS), customers)
    pull = by_period[period] * (alike @ [weights.get(metric, 0.0) for metric in ("nps", "csat", "ces")])
    age = rng.normal(40, 10, n)
    stays = rng.random(n) < special.expit(1.5 + pull + 0.03 * (age - 40))
    orders = rng.poisson(np.exp(0.6 + 0.5 * pull)) * stays
    rows = pd.DataFrame(
        {
            "customer": np.repeat(np.arange(customers), PERIODS),
            "period": period,
            "nps": answers[:, 0],
            "csat": answers[:, 1],
            "ces": answers[:, 2],
            "retained": stays.astype(float),
            "orders": orders.astype(float),
            "margin": orders * 1e6 * np.exp(0.3 * rng.standard_normal(n)),
            "age": age,
            "log_tenure": rng.random(n),
        }
    )
    return replace(simulated, rows=rows, history=("log_tenure",), controls=("age",))


@pytest.fixture(scope="module")
def nps_leads(simulated: Panel) -> Contest:
    panel = drawn(simulated, customers=1_500, seed=1, by_period=np.ones(PERIODS), weights={"nps": 0.6, "csat": 0.2})
    return metric_contest(panel)


# ------------------------------------------------------------------------------------------------- many fits in one batch


def design_of(rng: np.random.Generator, n: int, k: int) -> Floats:
    return np.column_stack([np.ones(n), rng.standard_normal((n, k - 1))])


@pytest.mark.parametrize("family", ["gaussian", "logit", "poisson"])
def test_batch_agrees_with_single_fits(family: Family) -> None:
    rng = np.random.default_rng(2)
    design = design_of(rng, 3_000, 6)
    predictor = design @ [0.2, 0.5, -0.4, 0.3, 0.0, 0.2]
    outcome = {
        "gaussian": predictor + rng.standard_normal(3_000),
        "logit": (rng.random(3_000) < special.expit(predictor)).astype(float),
        "poisson": rng.poisson(np.exp(predictor)).astype(float),
    }[family]
    restrictions = [Restriction(np.eye(6)[:, own]) for own in ([0], [0, 1], [0, 2, 3], [0, 1, 2, 3, 4, 5])]
    restrictions.append(Restriction(np.column_stack([np.eye(6)[:, 0], np.eye(6)[:, 1] + np.eye(6)[:, 2]])))
    found = fit_restricted(design, outcome, restrictions, family=family, start=np.zeros(6))
    for index, restriction in enumerate(restrictions):
        single = fit(design @ restriction.columns, outcome, np.arange(3_000), family=family)
        free = np.linalg.lstsq(restriction.columns, found[:, index])[0]
        assert np.abs(free - single.coefficients).max() < SETTLED * single.std_errors.max()
        assert np.allclose(restriction.columns @ free, found[:, index], atol=1e-12)


@pytest.mark.realdata
def test_batch_gives_the_published_poisson_of_nmes(realdata: Path) -> None:
    # Zeileis, Kleiber & Jackman (2008), Journal of Statistical Software 27(8): constant and log-likelihood.
    rows = pd.read_csv(realdata / "counts" / "nmes1988.csv", keep_default_na=False)
    columns = [rows["hospital"], rows["health"] == "poor", rows["health"] == "excellent", rows["chronic"]]
    columns += [rows["gender"] == "male", rows["school"], rows["insurance"] == "yes"]
    design = np.column_stack([np.ones(len(rows)), *columns]).astype(float)
    visits = rows["visits"].to_numpy(dtype=float)
    whole, level = Restriction(np.eye(8)), Restriction(np.eye(8)[:, :1])
    found = fit_restricted(design, visits, [whole, level], family="poisson", start=np.zeros(8))
    assert found[0, 0] == pytest.approx(1.028874, abs=1e-4)  # the batch stops at 1e-3 standard errors (of 0.024)
    deviance = losses(design, visits, found, "poisson") - saturated_loss(visits, "poisson")[:, None]
    largest = float(stats.poisson.logpmf(visits, np.maximum(visits, 1e-12)).sum())
    assert largest - deviance[:, 0].sum() / 2 == pytest.approx(-17971.613, abs=1e-3)
    null = sm.GLM(visits, design, family=sm.families.Poisson()).fit().null_deviance
    assert deviance[:, 1].sum() == pytest.approx(null, rel=1e-9)


def test_nonnegative_increments_are_isotonic_regression() -> None:
    rng = np.random.default_rng(4)
    level = rng.integers(0, 6, 400)
    outcome = np.array([0.0, 1.0, 0.5, 0.4, 2.0, 1.9])[level] + rng.standard_normal(400)
    steps = (level[:, None] >= np.arange(6)[None, :]).astype(float)
    restriction = Restriction(np.eye(6), nonnegative_from=1)
    found = fit_restricted(steps, outcome, [restriction], family="gaussian", start=np.zeros(6))[:, 0]
    grouped = pd.Series(outcome).groupby(level)
    expected = optimize.isotonic_regression(grouped.mean().to_numpy(), weights=grouped.size().to_numpy()).x
    assert np.cumsum(found) == pytest.approx(expected, abs=1e-8)
    assert found[1:].min() >= 0
    assert (np.diff(grouped.mean()) < 0).any()  # so the bound is at work


@pytest.mark.parametrize("family", ["logit", "poisson"])
def test_losses_sum_to_the_deviance(family: Family) -> None:
    rng = np.random.default_rng(5)
    design = design_of(rng, 500, 3)
    coefficients = np.array([0.1, 0.4, -0.3])
    average = mean(design @ coefficients, family)
    outcome = (rng.random(500) < average).astype(float) if family == "logit" else rng.poisson(average).astype(float)
    kind = sm.families.Binomial() if family == "logit" else sm.families.Poisson()
    own = losses(design, outcome, coefficients[:, None], family)[:, 0] - saturated_loss(outcome, family)
    assert own.sum() == pytest.approx(kind.deviance(outcome, average), rel=1e-10)
    assert own.min() > -1e-12


def test_clustered_mean_is_the_fit_of_a_constant() -> None:
    rng = np.random.default_rng(6)
    customers = np.sort(rng.integers(0, 60, 300))
    values = rng.standard_normal(300) + rng.standard_normal(60)[customers]
    single = fit(np.ones((300, 1)), values, customers, family="gaussian")
    centre, error, groups = clustered_mean(values, customers)
    assert (centre, error) == pytest.approx((single.coefficients[0], single.std_errors[0]), rel=1e-12)
    assert groups == len(single.clusters)


# ------------------------------------------------------------------------------------------------------ codings and samples


def test_groupings_follow_the_scales() -> None:
    scale = np.arange(11.0)
    nps = code_answers(scale, "net", metric="nps", low=0, high=10)[:, 0]
    assert nps.tolist() == [-1.0] * 7 + [0.0] * 2 + [1.0] * 2
    assert code_answers(scale, "groups", metric="nps", low=0, high=10).sum(axis=0).tolist() == [2, 7]
    csat = np.arange(1.0, 6.0)
    assert code_answers(csat, "top_box", metric="csat", low=1, high=5)[:, 0].tolist() == [0, 0, 0, 0, 1]
    assert code_answers(csat, "top_two_box", metric="csat", low=1, high=5)[:, 0].tolist() == [0, 0, 0, 1, 1]
    ces = np.arange(1.0, 8.0)
    assert code_answers(ces, "easy", metric="ces", low=1, high=7)[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert code_answers(np.array([8.5, 6.4]), "net", metric="nps", low=0, high=10)[:, 0].tolist() == [1, -1]


def test_systematic_sample_keeps_whole_customers() -> None:
    customers = np.repeat(np.arange(1_000), 3)
    kept = systematic_sample(customers, 600)
    assert kept.sum() == 600
    assert np.unique(np.add.reduceat(kept, np.arange(0, 3_000, 3))).tolist() == [0, 3]
    assert systematic_sample(customers, 3_000).all()


def test_known_columns_hold_no_score_and_no_outcome(simulated: Panel) -> None:
    rows = simulated.rows
    before = known_columns(simulated, rows)
    scrambled = rows.assign(nps=1.0, csat=2.0, ces=3.0, retained=0.0, orders=9.0, margin=-1.0, revenue=7.0)
    assert np.array_equal(before, known_columns(simulated, scrambled))
    assert np.linalg.matrix_rank(before) == before.shape[1]


# ------------------------------------------------------------------------------------------------------------ the contest


def test_the_score_that_matters_wins(nps_leads: Contest) -> None:
    pairs = nps_leads.pairs.set_index(["outcome", "sample", "first", "second"])
    for outcome in ("retained", "orders", "margin"):
        row = pairs.loc[outcome, "nps & csat & ces", "nps", "csat"]
        assert row["better"] == "nps"
        assert row["verdict"] == "NPS as answered predicts better than CSAT as answered"
        assert row["conf_low"] > 0
    coarse = pairs.loc["retained", "own", "nps_groups", "nps"]
    assert coarse["better"] == "nps"  # grouping throws information away when a straight line is the truth


def test_a_combination_wins_where_both_scores_matter(nps_leads: Contest) -> None:
    scores = nps_leads.scores.set_index(["outcome", "sample", "competitor"])["estimate"]
    both, one = (scores.loc["retained", "nps & csat", name] for name in ("nps+csat", "nps"))
    assert both > one > 0
    pairs = nps_leads.pairs.set_index(["outcome", "sample", "first", "second"])
    assert pairs.loc["retained", "nps & csat", "nps+csat", "nps"]["better"] == "nps+csat"


def test_what_cannot_be_seen_is_said(nps_leads: Contest) -> None:
    pairs = nps_leads.pairs
    unseen = pairs[pairs["better"] == ""]
    assert len(unseen) > 0
    assert unseen["verdict"].str.startswith("no difference that ").all()
    freedom = pairs["n_clusters"].astype(float) - 1
    reach = stats.t.ppf(0.975, freedom) + stats.norm.ppf(0.8)
    assert pairs["smallest_visible"].to_numpy() == pytest.approx(reach * pairs["std_error"].to_numpy(), rel=1e-9)
    assert (pairs["conf_high"] - pairs["estimate"]).to_numpy() == pytest.approx(
        stats.t.ppf(0.975, freedom) * pairs["std_error"].to_numpy(), rel=1e-9
    )


@pytest.mark.parametrize("table", ["scores", "pairs"])
def test_false_discoveries_are_controlled_over_the_whole_table(nps_leads: Contest, table: str) -> None:
    # Benjamini & Hochberg (1995): q of the i-th smallest of m p-values is min over j >= i of p_j * m / j.
    judged = getattr(nps_leads, table).sort_values("p_value")
    p_values, m = judged["p_value"].to_numpy(), len(judged)
    expected = [min(1.0, *(p_values[j] * m / (j + 1) for j in range(i, m))) for i in range(m)]
    assert judged["q_value"].to_numpy() == pytest.approx(expected, rel=1e-12)


def test_later_periods_do_not_train(simulated: Panel) -> None:
    # A relation that turns round: trained on the past it must do worse than the baseline, which a leak would hide.
    turning = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0])
    panel = drawn(simulated, customers=1_000, seed=2, by_period=turning, weights={"nps": 0.8})
    found = metric_contest(panel, outcomes=("retained",), windows=1).scores
    row = found[(found["sample"] == "own") & (found["competitor"] == "nps")].iloc[0]
    assert row["n_periods"] == 4
    late = panel.rows[panel.rows["period"].isin([0, 1, 4, 5])]
    only_late = metric_contest(replace(panel, rows=late.reset_index(drop=True)), outcomes=("retained",), windows=1)
    worse = only_late.scores.set_index(["sample", "competitor"]).loc[("own", "nps")]
    assert worse["conf_high"] < 0
    assert worse["verdict"].startswith("NPS as answered predicts worse than controls and history alone")


def test_nothing_is_found_where_nothing_is(simulated: Panel) -> None:
    found = metric_contest(simulated)
    judged = found.scores[found.scores["estimate"].notna()]
    assert len(judged) > 10
    assert (judged["q_value"] > 0.05).all()
    assert (found.pairs["better"] == "").all()
    assert judged["verdict"].str.startswith("nothing beyond").all()
    assert (np.abs(judged["estimate"] / judged["std_error"]) < NOISE_ALLOWED).all()


def test_few_rows_are_said_not_judged(simulated: Panel) -> None:
    found = metric_contest(simulated).scores
    shared = found[found["sample"] == "nps & csat & ces"]
    assert shared["estimate"].isna().all()
    assert shared["verdict"].str.startswith("too few answers").all()
    one_period = replace(simulated, rows=simulated.rows[simulated.rows["period"] == simulated.rows["period"].max()])
    assert metric_contest(one_period).scores["verdict"].str.startswith("no later period").all()
    assert metric_contest(replace(simulated, metrics=())).scores.empty
    undated = metric_contest(replace(simulated, timing="undated"), outcomes=("retained",))
    assert undated.scores["verdict"].str.contains("not given before its outcome").all()


def test_same_rows_same_figures(simulated: Panel) -> None:
    first, second = (metric_contest(simulated, outcomes=("orders",), most_rows=1_500) for _ in range(2))
    pd.testing.assert_frame_equal(first.scores, second.scores)
    assert first.scores["n_obs"].max() < metric_contest(simulated, outcomes=("orders",)).scores["n_obs"].max()


def test_negative_margins_are_judged_by_squared_error(simulated: Panel) -> None:
    panel = drawn(simulated, customers=800, seed=7, by_period=np.ones(PERIODS), weights={"nps": 0.8})
    shifted = replace(panel, rows=panel.rows.assign(margin=panel.rows["margin"] - 2e6))
    scores = metric_contest(shifted, outcomes=("margin",)).scores.set_index(["sample", "competitor"])
    assert scores.loc[("own", "nps"), "conf_low"] > 0
    assert scores.loc[("own", "nps"), "estimate"] > scores.loc[("own", "ces"), "estimate"]


def test_checks_say_which_scores_predict(nps_leads: Contest) -> None:
    checks = contest_checks(nps_leads).set_index("name")
    assert checks.loc["nps predicts retained of later periods", "verdict"] == "pass"
    assert checks.loc["ces predicts retained of later periods", "verdict"] == "warn"
    seen = int((nps_leads.pairs["better"] != "").sum())
    assert checks.loc["differences between scores seen", "number"] == seen == nps_leads.glance()["differences_seen"][0]
    assert list(contest_checks(nps_leads).columns) == ["name", "verdict", "number", "advice"]


def test_every_competitor_has_words() -> None:
    for metric in ("nps", "csat", "ces"):
        assert all("_" not in in_words(name) for name in room._codings(metric))
    assert in_words("mean:nps+csat+ces") == "the mean of NPS, CSAT and CES"
