"""Published and independent witnesses of the linkage arithmetic: coefficients, clustered errors, separation, average effects."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special
from statsmodels.tools.numdiff import approx_fprime
from statsmodels.tools.sm_exceptions import SpecificationWarning

from cxroi.linkage.effects import Slopes, average_effect, average_product_effect
from cxroi.linkage.fit import (
    Family,
    Fit,
    Floats,
    Ints,
    fit,
    independent_columns,
    joint_covariance,
    mean,
    mean_slope,
    with_nuisance,
)
from cxroi.linkage.separation import firth, separating_direction
from cxroi.linkage.weights import calibrate

SAME_ARITHMETIC = 1e-6  # relative; two converged maximisers of one convex likelihood
FAMILIES: tuple[Family, ...] = ("gaussian", "logit", "poisson")


# ---------------------------------------------------------------------------------------------------- published figures


@pytest.fixture(scope="module")
def petersen(realdata: Path) -> pd.DataFrame:
    return pd.read_csv(realdata / "panel" / "petersen.csv")


@pytest.fixture(scope="module")
def telco(realdata: Path) -> pd.DataFrame:
    return pd.read_csv(realdata / "telco" / "telco_customers.csv.gz", keep_default_na=False)


def _with_constant(*columns: pd.Series) -> Floats:
    return np.column_stack([np.ones(len(columns[0])), *columns]).astype(float)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("cluster", "slope_error"),
    [("firmid", 0.05059573), ("year", 0.03338891), ("row", 0.02839516)],  # a row a cluster: White's errors (HC1)
)
def test_petersen_clustered_errors(petersen: pd.DataFrame, cluster: str, slope_error: float) -> None:
    # Petersen (2009), test data published with the paper; 8 decimals are given.
    rows = petersen.assign(row=np.arange(len(petersen))).sort_values(cluster, kind="stable")
    fitted = fit(_with_constant(rows["x"]), rows["y"].to_numpy(), rows[cluster].to_numpy(), family="gaussian")
    assert fitted.coefficients == pytest.approx([0.02967972, 1.034833], abs=5e-7)
    assert fitted.std_errors[1] == pytest.approx(slope_error, abs=5.1e-9)
    assert len(fitted.clusters) == rows[cluster].nunique()


@pytest.mark.realdata
def test_nmes_poisson_with_robust_errors(realdata: Path) -> None:
    # Zeileis, Kleiber & Jackman (2008), Journal of Statistical Software 27(8), tables 1 and 2.
    rows = pd.read_csv(realdata / "counts" / "nmes1988.csv", keep_default_na=False)
    design = _with_constant(
        rows["hospital"],
        rows["health"] == "poor",
        rows["health"] == "excellent",
        rows["chronic"],
        rows["gender"] == "male",
        rows["school"],
        rows["insurance"] == "yes",
    )
    fitted = fit(design, rows["visits"].to_numpy(dtype=float), np.arange(len(rows)), family="poisson")
    n, k = design.shape
    assert fitted.coefficients[0] == pytest.approx(1.028874, abs=5e-7)
    assert fitted.coefficients[1] == pytest.approx(0.164797, abs=5e-7)
    assert fitted.log_likelihood == pytest.approx(-17971.613, abs=5e-4)
    # With a row a cluster the finite-sample factor is G/(G-1)·(N-1)/(N-k) = N/(N-k); the published errors (HC0) have none.
    without_factor = fitted.std_errors * np.sqrt((n - k) / n)
    assert without_factor[1] == pytest.approx(0.0219452, abs=5.1e-8)
    assert fitted.dispersion > 5  # the likelihood's own errors (0.0059974 for hospital) would be far too small


@pytest.mark.realdata
def test_telco_logit_without_satisfaction(telco: pd.DataFrame) -> None:
    # Certified twice (R glm and statsmodels): realdata/REFERENCE.md, Telco extended.
    certified = {
        "const": -0.715247,
        "one year": -1.434872,
        "two year": -2.814139,
        "tenure": -0.023125,
        "monthly charge": 0.017573,
        "DSL": -0.322102,
        "fibre": 0.110291,
        "none": -0.751101,
        "referrals": -0.289962,
        "senior": 1.025572,
    }
    design = _with_constant(
        telco["contract"] == "One Year",
        telco["contract"] == "Two Year",
        telco["tenure_in_months"],
        telco["monthly_charge"],
        telco["internet_type"] == "DSL",
        telco["internet_type"] == "Fiber Optic",
        telco["internet_type"] == "",
        telco["number_of_referrals"],
        telco["senior_citizen"] == "Yes",
    )
    fitted = fit(design, telco["churn_value"].to_numpy(dtype=float), np.arange(len(telco)), family="logit")
    assert fitted.converged
    assert fitted.coefficients == pytest.approx(list(certified.values()), abs=5.1e-7)  # 6 decimals are given
    assert fitted.log_likelihood == pytest.approx(-2707.2910209175825, rel=SAME_ARITHMETIC)


@pytest.mark.realdata
def test_telco_firth(telco: pd.DataFrame) -> None:
    # R logistf and an independent implementation; 1e-3 relative is the certified tolerance, 1e-5 is reached.
    churned, score = telco["churn_value"].to_numpy(dtype=float), telco["satisfaction_score"]
    rows = np.arange(len(telco))
    linear = firth(_with_constant(score), churned, rows)
    assert linear.converged
    assert linear.coefficients[1] == pytest.approx(-8.712714268689718, rel=1e-5)
    assert linear.std_errors[1] == pytest.approx(1.4148694924292498, rel=1e-4)
    by_score = firth(_with_constant(*(score == level for level in (1, 2, 4, 5))), churned, rows)
    assert by_score.coefficients == pytest.approx([-1.650046, 9.170280, 8.594133, -6.532793, -6.090184], rel=1e-5)
    assert by_score.std_errors == pytest.approx([0.05269210, 1.4163442, 1.4172402, 1.4157872, 1.4161171], rel=1e-3)


@pytest.mark.realdata
def test_telco_is_separated(telco: pd.DataFrame) -> None:
    churned, score = telco["churn_value"].to_numpy(dtype=float), telco["satisfaction_score"]
    direction = separating_direction(_with_constant(score), churned)
    assert direction is not None
    assert direction[1] < 0
    assert separating_direction(_with_constant(telco["tenure_in_months"]), churned) is None


# ---------------------------------------------------------------------------------------------------- statsmodels


def _simulated(family: Family, seed: int = 1) -> tuple[Floats, Floats, Ints, Floats]:
    """Design (N, 4), outcome, clusters of 1 to 40 rows, weights; outcomes share a cluster effect."""
    rng = np.random.default_rng(seed)
    sizes = np.r_[rng.integers(1, 6, 150), 40, 25]
    clusters = np.repeat(np.arange(len(sizes)) * 3 + 7, sizes)  # codes with gaps, as after filtering
    n = len(clusters)
    score = rng.integers(0, 11, n).astype(float)
    design = np.column_stack([np.ones(n), score, rng.normal(size=n), np.repeat(rng.normal(size=len(sizes)), sizes)])
    shared = np.repeat(rng.normal(scale=0.6, size=len(sizes)), sizes)
    predictor = design @ np.array([-0.4, 0.12, 0.3, -0.2]) + shared
    outcome = {
        "gaussian": lambda: predictor + rng.normal(size=n),
        "logit": lambda: (rng.random(n) < special.expit(predictor)).astype(float),
        "poisson": lambda: rng.poisson(np.exp(predictor)).astype(float),
    }[family]()
    return design, outcome, clusters, rng.uniform(0.2, 3.0, n)


def _reference(family: Family, design: Floats, outcome: Floats, clusters: Ints, weights: Floats | None) -> object:
    families = {"gaussian": sm.families.Gaussian, "logit": sm.families.Binomial, "poisson": sm.families.Poisson}
    model = sm.GLM(outcome, design, family=families[family](), var_weights=weights)
    with warnings.catch_warnings():
        # said of all weighted fits; the test with repeated rows holds the weighted figures independently
        warnings.filterwarnings("ignore", message="cov_type not fully supported", category=SpecificationWarning)
        return model.fit(cov_type="cluster", cov_kwds={"groups": clusters}, tol=1e-13, maxiter=100)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_same_figures_as_statsmodels(family: Family, weighted: bool) -> None:
    design, outcome, clusters, weights = _simulated(family)
    given = weights if weighted else None
    ours, theirs = (
        fit(design, outcome, clusters, family=family, weights=given),
        _reference(family, design, outcome, clusters, given),
    )
    assert ours.converged
    assert ours.coefficients == pytest.approx(theirs.params, rel=SAME_ARITHMETIC)
    np.testing.assert_allclose(ours.covariance, theirs.cov_params(), rtol=1e-5, atol=1e-9)
    assert ours.std_errors == pytest.approx(theirs.bse, rel=SAME_ARITHMETIC)
    if not weighted:
        assert ours.log_likelihood == pytest.approx(theirs.llf, rel=1e-6)
        own = theirs.resid_pearson**2
        assert ours.dispersion == pytest.approx(own.sum() / theirs.df_resid, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_same_figures_as_statsmodels_least_squares(weighted: bool) -> None:
    design, outcome, clusters, weights = _simulated("gaussian", seed=2)
    model = sm.WLS(outcome, design, weights=weights) if weighted else sm.OLS(outcome, design)
    theirs = model.fit(cov_type="cluster", cov_kwds={"groups": clusters})
    ours = fit(design, outcome, clusters, family="gaussian", weights=weights if weighted else None)
    assert ours.coefficients == pytest.approx(theirs.params, rel=SAME_ARITHMETIC)
    assert ours.std_errors == pytest.approx(theirs.bse, rel=SAME_ARITHMETIC)


@pytest.mark.parametrize("family", FAMILIES)
def test_influence_and_start(family: Family) -> None:
    design, outcome, clusters, _ = _simulated(family)
    fitted = fit(design, outcome, clusters, family=family)
    np.testing.assert_allclose(fitted.influence.T @ fitted.influence, fitted.covariance, rtol=1e-12)
    # the score equations hold: influences of all clusters sum to zero
    assert np.abs(fitted.influence.sum(axis=0)).max() < 1e-6 * np.abs(fitted.influence).sum()
    again = fit(design, outcome, clusters, family=family, start=fitted.coefficients + 0.3)
    assert again.coefficients == pytest.approx(fitted.coefficients, rel=SAME_ARITHMETIC)


@pytest.mark.parametrize("family", FAMILIES)
def test_integer_weights_are_repeated_rows(family: Family) -> None:
    design, outcome, clusters, weights = _simulated(family)
    times = np.ceil(weights).astype(int)
    weighted = fit(design, outcome, clusters, family=family, weights=times.astype(float))
    repeated = fit(*(np.repeat(part, times, axis=0) for part in (design, outcome, clusters)), family=family)
    assert weighted.coefficients == pytest.approx(repeated.coefficients, rel=SAME_ARITHMETIC)
    # only (N-1)/(N-k) of the finite-sample factor counts the rows
    (n, k), more = design.shape, int(times.sum())
    factor = ((n - 1) / (n - k)) / ((more - 1) / (more - k))
    np.testing.assert_allclose(weighted.covariance, repeated.covariance * factor, rtol=1e-6)


def test_rows_must_be_sorted_by_cluster() -> None:
    with pytest.raises(ValueError, match="sorted by cluster"):
        fit(np.ones((3, 1)), np.arange(3.0), np.array([1, 0, 1]), family="gaussian")


# ---------------------------------------------------------------------------------------------------- separation


_SEPARATION: list[tuple[str, list[list[float]], list[float], tuple[int, ...]]] = [
    ("complete", [[1, 1], [1, 2], [1, 3], [1, 4]], [0, 0, 1, 1], (1,)),
    ("quasi-complete: one shared value", [[1, 1], [1, 2], [1, 2], [1, 3]], [0, 0, 1, 1], (1,)),
    ("a level where all stay", [[1, 0, 2], [1, 0, 1], [1, 0, 1], [1, 0, 2], [1, 1, 1], [1, 1, 2]], [0, 1, 0, 1, 1, 1], (1,)),
    ("only two columns together", [[1, 0, 0], [1, 1, 1], [1, 2, 2], [1, 0, 1], [1, 1, 2], [1, 2, 3]], [0, 0, 0, 1, 1, 1], (1, 2)),
    ("everybody stays", [[1, 1], [1, 2], [1, 3]], [1, 1, 1], ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "design", "outcome", "columns"), _SEPARATION, ids=[case[0] for case in _SEPARATION])
def test_separation_is_found(
    name: str, design: list[list[float]], outcome: list[float], columns: tuple[int, ...]
) -> None:
    matrix, target = np.array(design, dtype=float), np.array(outcome, dtype=float)
    direction = separating_direction(matrix, target)
    assert direction is not None
    side = (2 * target - 1) * (matrix @ direction)
    assert side.min() > -1e-9  # nobody on the wrong side
    assert side.max() > 1e-9  # somebody strictly on the right one
    assert all(direction[column] != 0 for column in columns)


def test_overlap_is_not_separation() -> None:
    rng = np.random.default_rng(3)
    score = rng.integers(0, 11, 300)
    stayed = (rng.random(300) < special.expit(score / 2)).astype(float)
    assert separating_direction(_with_constant(pd.Series(score)), stayed) is None
    # a single customer on the wrong side is enough for a finite estimate
    design = np.column_stack([np.ones(6), [1.0, 2, 3, 4, 5, 6]])
    assert separating_direction(design, np.array([0.0, 0, 1, 0, 1, 1])) is None


def test_scale_of_a_column_does_not_hide_separation() -> None:
    design = np.column_stack([np.ones(8), np.arange(8.0) * 1e9, np.tile([1e-9, 2e-9], 4)])
    direction = separating_direction(design, (np.arange(8) > 3) * 1.0)
    assert direction is not None
    assert direction[1] > 0


def test_firth_is_finite_and_close_to_the_plain_fit_without_separation() -> None:
    design, outcome, clusters, _ = _simulated("logit")
    penalised, plain = firth(design, outcome, clusters), fit(design, outcome, clusters, family="logit")
    # the penalty removes a bias of order 1/N: well below a standard error at N = 500
    assert np.abs(penalised.coefficients - plain.coefficients).max() < 0.1 * plain.std_errors.max()
    # for one proportion, Jeffreys' prior adds half a success and half a failure
    only = firth(np.ones((10, 1)), np.ones(10), np.arange(10))
    assert only.coefficients[0] == pytest.approx(np.log(10.5 / 0.5), rel=1e-8)


# ---------------------------------------------------------------------------------------------------- columns, covariances


def test_independent_columns() -> None:
    rng = np.random.default_rng(4)
    level = rng.integers(0, 3, 200)
    dummies = (level[:, None] == np.arange(3)).astype(float)
    number = rng.normal(size=200)
    design = np.column_stack(
        [np.ones(200), dummies, number, np.zeros(200), 3 - 2 * number, number * 1e8 + dummies[:, 0]]
    )
    kept = independent_columns(design)
    assert kept.tolist() == [0, 1, 2, 4]  # the last dummy, zeros, and both combinations go; earlier columns stay
    full = np.column_stack([np.ones(200), number, number**2, number * 1e-6 + rng.normal(size=200)])
    assert independent_columns(full).tolist() == [0, 1, 2, 3]
    assert np.linalg.matrix_rank(design / np.maximum(np.abs(design).max(axis=0), 1)) == len(kept)


def _equation(family: Family, seed: int, keep: Callable[[Ints], Ints]) -> tuple[Floats, Floats, Ints, Fit]:
    design, outcome, clusters, _ = _simulated(family, seed)
    used = np.flatnonzero(keep(clusters))
    design, outcome, clusters = design[used], outcome[used], clusters[used]
    return design, outcome, clusters, fit(design, outcome, clusters, family=family)


def _cluster_factor(design: Floats, clusters: Ints) -> float:
    (n, k), groups = design.shape, len(np.unique(clusters))
    return groups / (groups - 1) * (n - 1) / (n - k)


def test_joint_covariance_is_that_of_a_stacked_regression() -> None:
    # Two linear equations on different rows of the same customers, stacked as one block-diagonal regression.
    first = _equation("gaussian", 1, lambda codes: codes % 2 == 0)
    second = _equation("gaussian", 1, lambda codes: codes % 5 > 0)
    stacked = np.block(
        [
            [first[0], np.zeros((len(first[0]), second[0].shape[1]))],
            [np.zeros((len(second[0]), first[0].shape[1])), second[0]],
        ]
    )
    groups = np.r_[first[2], second[2]]
    theirs = sm.OLS(np.r_[first[1], second[1]], stacked).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    factors = np.repeat([np.sqrt(_cluster_factor(*each[0:3:2])) for each in (first, second)], [4, 4])
    ours = joint_covariance([first[3], second[3]])
    assert np.abs(ours[:4, 4:]).max() > 0.1 * np.abs(ours[:4, :4]).max()  # the equations are correlated at all
    np.testing.assert_allclose(ours, theirs.cov_params() * np.outer(factors, factors), rtol=1e-8, atol=1e-12)


def test_joint_covariance_of_a_logit_and_a_poisson_by_brute_force() -> None:
    first = _equation("logit", 1, lambda codes: codes > 0)
    second = _equation("poisson", 2, lambda codes: codes % 4 > 0)
    parts: list[dict[int, Floats]] = []
    for family, (design, outcome, clusters, fitted) in zip(("logit", "poisson"), (first, second), strict=True):
        at = mean(design @ fitted.coefficients, family)
        bread = np.linalg.inv((design * mean_slope(at, family)[:, None]).T @ design)
        scores = design * (outcome - at)[:, None]
        factor = np.sqrt(_cluster_factor(design, clusters))
        parts.append({int(g): factor * bread @ scores[clusters == g].sum(axis=0) for g in np.unique(clusters)})
    shared = parts[0].keys() & parts[1].keys()
    cross = sum(np.outer(parts[0][g], parts[1][g]) for g in shared)
    ours = joint_covariance([first[3], second[3]])
    np.testing.assert_allclose(ours[:4, 4:], cross, rtol=1e-5, atol=1e-10)
    np.testing.assert_array_equal(ours, ours.T)
    assert np.linalg.eigvalsh(ours).min() > -1e-12


def test_a_number_the_design_was_built_with_adds_its_error() -> None:
    # A regressor x - d·z with d estimated elsewhere on the same customers: error of the slope by brute force.
    fitted = _equation("gaussian", 5, lambda codes: codes > 0)[3]
    nuisance = np.random.default_rng(6).normal(size=len(fitted.clusters)) * 0.01
    response = np.array([0.5, -2.0, 0.0, 1.0])
    widened = with_nuisance(fitted, response[:, None], nuisance[:, None], fitted.clusters)
    total = fitted.influence + np.outer(nuisance, response)
    np.testing.assert_allclose(widened.covariance, total.T @ total)
    assert widened.covariance[2, 2] == pytest.approx(fitted.covariance[2, 2], rel=1e-12)


# ---------------------------------------------------------------------------------------------------- weights


def test_calibration_reaches_its_targets() -> None:
    rng = np.random.default_rng(7)
    base = np.column_stack([rng.normal(size=20_000), rng.gamma(2.0, size=20_000), rng.random(20_000) < 0.3])
    answered = base[rng.random(20_000) < special.expit(-2 + 0.8 * base[:, 0] - 0.3 * base[:, 1] + base[:, 2])]
    found = calibrate(answered, base.mean(axis=0))
    assert found.imbalance_before > 0.3
    # the ridge and the stopping rule allow 1e-5 standard deviations
    assert np.average(answered, axis=0, weights=found.weights) == pytest.approx(base.mean(axis=0), abs=1e-5)
    assert found.imbalance_after < 1e-5
    assert found.weights.mean() == pytest.approx(1.0, rel=1e-12)
    assert found.trimmed == 0
    assert found.effective_n == pytest.approx(found.weights.sum() ** 2 / (found.weights**2).sum())
    # nearest to equal weights: log weights are linear in what is balanced, and in nothing else
    explained = sm.OLS(np.log(found.weights), sm.add_constant(answered)).fit()
    assert explained.rsquared == pytest.approx(1.0, abs=1e-9)


def test_calibration_that_cannot_be_reached_says_so() -> None:
    answered = np.r_[np.zeros(500), np.ones(2)][:, None]
    found = calibrate(answered, np.array([0.9]))
    assert found.trimmed == 2
    assert found.weights.max() < 0.9 * 502 / 2  # what two rows would have to weigh
    assert found.imbalance_after > 0.5
    assert calibrate(np.ones((10, 1)), np.array([1.0])).effective_n == 10  # nothing to balance


# ---------------------------------------------------------------------------------------------------- average effects


POINT = np.array([0.0, 1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def logit() -> tuple[Floats, Floats, Ints, Fit]:
    return _equation("logit", 1, lambda codes: codes > 0)


def test_average_effect_brackets_statsmodels_marginal_effect(logit: tuple[Floats, Floats, Ints, Fit]) -> None:
    # get_margeff(count=True) averages the step from below and the step above: (p(x+1) - p(x-1)) / 2.
    design, outcome, clusters, fitted = logit
    theirs = (
        sm.Logit(outcome, design)
        .fit(disp=0, tol=1e-12, cov_type="cluster", cov_kwds={"groups": clusters})
        .get_margeff(at="overall", count=True)
    )
    equal = np.ones(len(design))
    up, down = (
        average_effect(Slopes(each, POINT, fitted.coefficients, "logit"), equal) for each in (design, design - POINT)
    )
    gradient = (up.gradient + down.gradient) / 2
    assert (up.estimate + down.estimate) / 2 == pytest.approx(theirs.margeff[0], rel=SAME_ARITHMETIC)
    error = np.sqrt(gradient @ fitted.covariance @ gradient)
    assert error == pytest.approx(theirs.margeff_se[0], rel=1e-5)  # statsmodels' derivative is numerical


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_level", [False, True])
def test_average_effect_and_its_gradient(family: Family, with_level: bool) -> None:
    design, outcome, _, weights = _simulated(family)
    coefficients = fit(design, outcome, np.arange(len(design)), family=family).coefficients
    level = float(outcome.mean() * 1.15) if with_level else None
    shares = weights / weights.sum()

    def effect(at: Floats) -> float:
        """By hand: bring the weighted mean to the level by bisection, then take the difference of two predictions."""
        low, high = (-20.0, 20.0) if with_level else (0.0, 0.0)
        goal = level if len(at) == 4 else at[4]
        for _ in range(200 if with_level else 0):
            middle = (low + high) / 2
            below = shares @ mean(design @ at[:4] + middle, family) < goal
            low, high = (middle, high) if below else (low, middle)
        shift = (low + high) / 2
        higher = mean((design + POINT) @ at[:4] + shift, family)
        return float(shares @ (higher - mean(design @ at[:4] + shift, family)))

    found = average_effect(Slopes(design, POINT, coefficients, family), weights, level)
    assert found.estimate == pytest.approx(effect(coefficients), rel=1e-9)
    numeric = approx_fprime(coefficients, effect, centered=True)
    np.testing.assert_allclose(found.gradient, numeric, rtol=1e-5, atol=1e-7)
    if level is not None:
        by_level = approx_fprime(np.r_[coefficients, level], effect, centered=True)[4]
        assert found.by_level == pytest.approx(by_level, rel=1e-5, abs=1e-8)
    by_row = average_effect(Slopes(design, np.tile(POINT, (len(design), 1)), coefficients, family), weights, level)
    assert by_row.estimate == pytest.approx(found.estimate, rel=1e-12)
    np.testing.assert_allclose(by_row.gradient, found.gradient, rtol=1e-9)


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
@pytest.mark.parametrize("levels", [(None, None), (0.7, None), (None, 1.1), (0.7, 1.1)])
def test_effect_on_a_product_and_its_gradient(family: Family, levels: tuple[float | None, float | None]) -> None:
    design, stayed, _, weights = _simulated("logit")
    amount = _simulated(family)[1]
    rows = np.arange(len(design))
    keep, spend = (
        fit(design, target, rows, family=each).coefficients for target, each in ((stayed, "logit"), (amount, family))
    )
    shares = weights / weights.sum()

    def root(gap: Callable[[float], float]) -> float:
        low, high = -20.0, 20.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if gap(middle) < 0 else (low, middle)
        return (low + high) / 2

    def effect(at: Floats) -> float:
        stay, buy = design @ at[:4], design @ at[4:8]
        goal = levels[1] if len(at) == 8 else at[8]
        move = 0.0 if levels[0] is None else root(lambda shift: shares @ special.expit(stay + shift) - levels[0])
        p = special.expit(stay + move)
        lift = 0.0 if goal is None else root(lambda shift: shares @ (p * mean(buy + shift, family)) - goal)
        p_higher = special.expit(stay + move + at[1])
        return float(shares @ (p_higher * mean(buy + lift + at[5], family) - p * mean(buy + lift, family)))

    found = average_product_effect(
        Slopes(design, POINT, keep, "logit"), Slopes(design, POINT, spend, family), weights, levels
    )
    at = np.r_[keep, spend]
    assert found.estimate == pytest.approx(effect(at), rel=1e-9)
    np.testing.assert_allclose(found.gradient, approx_fprime(at, effect, centered=True), rtol=1e-5, atol=1e-6)
    if levels[1] is not None:
        by_level = approx_fprime(np.r_[at, levels[1]], effect, centered=True)[8]
        assert found.by_level == pytest.approx(by_level, rel=1e-5, abs=1e-8)


def test_delta_method_agrees_with_a_bootstrap_of_clusters(logit: tuple[Floats, Floats, Ints, Fit]) -> None:
    design, outcome, clusters, fitted = logit
    equal = np.ones(len(design))
    found = average_effect(Slopes(design, POINT, fitted.coefficients, "logit"), equal)
    delta = np.sqrt(found.gradient @ fitted.covariance @ found.gradient)
    rows_of = [np.flatnonzero(clusters == code) for code in np.unique(clusters)]
    rng = np.random.default_rng(9)
    effects = []
    for _ in range(400):
        drawn = [rows_of[each] for each in rng.integers(0, len(rows_of), len(rows_of))]
        rows, codes = np.concatenate(drawn), np.repeat(np.arange(len(drawn)), [len(each) for each in drawn])
        again = fit(design[rows], outcome[rows], codes, family="logit", start=fitted.coefficients)
        slopes = Slopes(design, POINT, again.coefficients, "logit")
        effects.append(average_effect(slopes, equal).estimate)
    # 400 draws know a standard deviation to 3.5 %; two very large clusters make both figures differ a little more
    assert np.std(effects, ddof=1) == pytest.approx(delta, rel=0.12)
    assert np.mean(effects) == pytest.approx(found.estimate, abs=delta / 3)
