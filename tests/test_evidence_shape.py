"""Shapes: the curves and folds as arithmetic, slopes against statsmodels, and the bend where the truth has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import special

import cxroi as cx
from cxroi.evidence import shape as room
from cxroi.evidence.contest import Restriction, fit_restricted
from cxroi.evidence.shape import (
    SHAPES,
    Shape,
    customer_folds,
    satisfaction_shape,
    score_intervals,
    shape_checks,
    stated_bend,
)
from cxroi.linkage import Linkage, standard_linkages
from cxroi.linkage.fit import fit, mean
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

METHODS = ("raw", "adjusted")
NOISE_ALLOWED = 4.0  # standard errors; a fixed seed either passes for good or fails for good


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    place = tmp_path_factory.mktemp("shape") / "null"
    simulate(place, world="null", customers=6_000, seed=8)
    return build_panel(read_tables(place))


def with_outcomes(panel: Panel, *, below: float, above: float, seed: int = 1) -> Panel:
    """The panel with staying and orders drawn anew: slopes per point of NPS below and above 7 (orders: a third)."""
    rng = np.random.default_rng(seed)
    rows = panel.answered("nps")
    gap = rows["nps"].to_numpy() - 7.0
    pull = below * np.minimum(gap, 0) + above * np.maximum(gap, 0)
    stays = rng.random(len(rows)) < special.expit(2.0 + pull)
    orders = rng.poisson(np.exp(0.8 + pull / 3)) * stays
    drawn = rows.assign(retained=stays.astype(float), orders=orders.astype(float), margin=orders * 1e6)
    return replace(panel, rows=drawn, metrics=("nps",))


def shape_of(panel: Panel) -> tuple[Shape, dict[tuple[str, str], Linkage | str]]:
    linkages = standard_linkages(panel, "nps", methods=METHODS)
    return satisfaction_shape(panel, "nps", linkages=linkages), linkages


@pytest.fixture(scope="module")
def bent(company: Panel) -> Any:
    return shape_of(with_outcomes(company, below=0.6, above=0.2))


@pytest.fixture(scope="module")
def straight(company: Panel) -> Any:
    return shape_of(with_outcomes(company, below=0.35, above=0.35))


def chosen(shape: Shape) -> dict[str, str]:
    return dict(zip(shape.glance()["outcome"], shape.glance()["shape"], strict=True))


# ------------------------------------------------------------------------------------------------------------- arithmetic


def test_folds_keep_customers_together_and_are_even() -> None:
    customers = np.repeat(np.arange(10_000), 2)
    folds = customer_folds(customers)
    assert (folds[::2] == folds[1::2]).all()
    assert set(folds.tolist()) == set(range(5))
    sizes = np.bincount(folds[::2])
    assert np.abs(sizes - 2_000).max() < NOISE_ALLOWED * np.sqrt(10_000 * 0.2 * 0.8)
    assert np.array_equal(folds, customer_folds(customers))


def test_intervals_add_up_to_the_score() -> None:
    knots = np.linspace(1, 7, 7)
    score = np.array([1.0, 1.5, 4.0, 6.75, 7.0])
    parts = score_intervals(score, knots)
    assert parts.sum(axis=1) == pytest.approx(score - 1.0, abs=1e-12)
    assert parts.shape == (5, 6)


def test_curves_are_what_their_names_say() -> None:
    knots = np.linspace(0, 10, 11)
    scores = np.arange(11.0)
    parts = score_intervals(scores, knots)
    curves = room._curves("nps", knots, [7.0], [5.0, 6.0, 7.0, 8.0, 9.0])
    assert (parts @ curves["linear"])[:, 0].tolist() == scores.tolist()
    below, above = (parts @ curves["bend 7"]).T
    assert below.tolist() == np.minimum(scores, 7).tolist()
    assert above.tolist() == np.maximum(scores - 7, 0).tolist()
    steps = parts @ curves["groups"]
    assert steps.sum(axis=1).tolist() == [0.0] * 7 + [1.0] * 2 + [2.0] * 2  # detractors, passives, promoters
    assert curves["monotone"].sum(axis=1).tolist() == [1.0] * 10
    assert curves["monotone"].shape[1] == 6  # beyond the outermost knots one slope
    csat = room._curves("csat", np.arange(1.0, 6.0), [3.0], [3.0])
    assert (score_intervals(np.arange(1.0, 6.0), np.arange(1.0, 6.0)) @ csat["groups"]).sum(axis=1).tolist() == [
        0,
        0,
        0,
        1,
        2,
    ]
    ces = room._curves("ces", np.arange(1.0, 8.0), [4.0], [4.0])
    effort = score_intervals(np.arange(1.0, 8.0), np.arange(1.0, 8.0)) @ ces["groups"]
    assert effort.sum(axis=1).tolist() == [0, 0, 0, 1, 2, 2, 2]  # difficult, neither, easy


def test_bend_is_stated_without_outcomes() -> None:
    nps = np.linspace(0, 10, 11)
    assert stated_bend("nps", nps, np.array([6.0, 7.0, 8.0])) == 7.0
    assert stated_bend("ces", np.arange(1.0, 8.0), np.array([3.0, 5.0])) == 4.0
    assert stated_bend("csat", np.arange(1.0, 6.0), np.array([4.0, 4.0, 5.0])) == 4.0


def test_steps_from_the_whole_reach_the_fit_without_a_fold() -> None:
    rng = np.random.default_rng(3)
    n = 4_000
    design = np.column_stack([np.ones(n), rng.standard_normal((n, 4))])
    outcome = (rng.random(n) < special.expit(design @ [1.5, 0.4, -0.3, 0.2, 0.0])).astype(float)
    everything = [Restriction(np.eye(5)), Restriction(np.eye(5)[:, :2])]
    whole = fit_restricted(design, outcome, everything, family="logit", start=np.zeros(5))
    rest = customer_folds(np.arange(n)) != 0
    near = fit_restricted(
        design[rest], outcome[rest], everything, family="logit", start=whole, most_steps=room.STEPS_FROM_WHOLE
    )
    for index, k in enumerate((5, 2)):
        exact = fit(design[rest][:, :k], outcome[rest], np.arange(rest.sum()), family="logit")
        apart = np.abs(near[:k, index] - exact.coefficients) / exact.std_errors
        assert apart.max() < 0.01  # a hundredth of a standard error: held-out losses move by its square


# --------------------------------------------------------------------------------------------------- worlds of known shape


def test_a_bend_of_three_to_one_is_found(bent: tuple[Shape, Any]) -> None:
    shape, _ = bent
    assert chosen(shape)["retained"] in ("hinge", "hinge_chosen")
    assert shape.glance().set_index("outcome").loc["retained", "bend"] == 7.0
    slopes = shape.slopes[shape.slopes["bend_from"] == "scale"].set_index(["outcome", "side"])
    for outcome, scale in (("retained", 1.0), ("orders", 1 / 3)):
        for side, truth in (("below", 0.6), ("above", 0.2), ("difference", 0.4)):
            row = slopes.loc[(outcome, side)]
            assert abs(row["estimate"] - truth * scale) < NOISE_ALLOWED * row["std_error"]
        assert slopes.loc[(outcome, "difference"), "p_value"] < 0.01
    checks = shape_checks(shape).set_index("name")
    assert checks.loc["retained: losses against gains of nps", "verdict"] == "warn"
    assert checks.loc["retained follows nps in a straight line", "verdict"] == "warn"


def test_a_straight_line_stays(straight: tuple[Shape, Any]) -> None:
    shape, _ = straight
    assert chosen(shape) == {"retained": "linear", "orders": "linear", "margin": "linear"}
    differences = shape.slopes[(shape.slopes["side"] == "difference") & (shape.slopes["bend_from"] == "scale")]
    assert (differences["p_value"] > 0.05).all()
    assert (shape_checks(shape)["verdict"] == "pass").all()


def test_linear_is_the_zero_of_the_table(straight: tuple[Shape, Any]) -> None:
    shape, linkages = straight
    table = shape.shapes.set_index(["outcome", "shape"])
    assert (table.xs("linear", level="shape")[["estimate", "std_error"]] == 0).all(axis=None)
    assert list(table.loc["retained"].index) == list(SHAPES)
    assert (shape.shapes.groupby("outcome")["chosen"].sum() == 1).all()
    linkage = linkages["retained", "adjusted"]
    assert isinstance(linkage, Linkage)
    assert (table.loc["retained", "n_obs"] == len(linkage.used)).all()


def test_held_out_deviance_is_that_of_single_fits(straight: tuple[Shape, Any], company: Panel) -> None:
    shape, linkages = straight
    linkage = linkages["retained", "adjusted"]
    rows = linkage.panel.answered("nps").iloc[linkage.used]
    held = [index for index, name in enumerate(linkage.design.columns) if name != "nps"]
    gap = rows["nps"].to_numpy() - 7.0
    controls = linkage.design.matrix[linkage.used][:, held]
    designs = {
        "linear": np.column_stack([controls, gap]),
        "hinge": np.column_stack([controls, np.minimum(gap, 0), np.maximum(gap, 0)]),
    }
    outcome, customers = rows["retained"].to_numpy(), rows["customer"].to_numpy()
    folds = customer_folds(customers)
    total = dict.fromkeys(designs, 0.0)
    for name, design in designs.items():
        for fold in range(5):
            test = folds == fold
            fitted = fit(np.asfortranarray(design[~test]), outcome[~test], customers[~test], family="logit")
            average = mean(design[test] @ fitted.coefficients, "logit")
            total[name] += sm.families.Binomial().deviance(outcome[test], average)
    row = shape.shapes.set_index(["outcome", "shape"]).loc[("retained", "hinge")]
    gain = (total["linear"] - total["hinge"]) / len(outcome)
    # The folds' fits are two steps from the whole fit: within a hundredth of a standard error of the gain.
    assert row["deviance_per_row"] == pytest.approx(
        gain, abs=0.01 * row["std_error"] * total["linear"] / len(outcome) / 100
    )


def test_slopes_and_errors_are_those_of_statsmodels(bent: tuple[Shape, Any]) -> None:
    shape, linkages = bent
    linkage = linkages["orders", "adjusted"]
    rows = linkage.panel.answered("nps").iloc[linkage.used]
    held = [index for index, name in enumerate(linkage.design.columns) if name != "nps"]
    gap = rows["nps"].to_numpy() - 7.0
    design = np.column_stack([linkage.design.matrix[linkage.used][:, held], np.minimum(gap, 0), np.maximum(gap, 0)])
    model = sm.GLM(rows["orders"].to_numpy(), design, family=sm.families.Poisson())
    fitted = model.fit(cov_type="cluster", cov_kwds={"groups": rows["customer"].to_numpy()}, tol=1e-12)
    own = shape.slopes[shape.slopes["bend_from"] == "scale"].set_index(["outcome", "side"]).loc["orders"]
    assert own["estimate"].to_numpy()[:2] == pytest.approx(fitted.params[-2:], rel=1e-5)
    assert own["std_error"].to_numpy()[:2] == pytest.approx(fitted.bse[-2:], rel=1e-5)
    contrast = np.zeros(design.shape[1])
    contrast[-2:] = 1, -1
    test = fitted.t_test(contrast)
    assert own.loc["difference", "std_error"] == pytest.approx(float(np.squeeze(test.sd)), rel=1e-5)
    below = gap < 0
    change = fitted.params[-2] * fitted.fittedvalues[below].mean()
    assert own.loc["below", "per_point"] == pytest.approx(change, rel=1e-5)


def test_a_change_on_one_side_has_the_error_of_its_gradient(bent: tuple[Shape, Any]) -> None:
    shape, linkages = bent
    linkage = linkages["retained", "adjusted"]
    equation = room._equation(linkage.panel, linkage, 10**9)
    below = np.minimum(equation.score - 7.0, 0.0)
    design = np.asfortranarray(np.column_stack([equation.controls, below, equation.score - 7.0 - below]))
    fitted = fit(design, equation.outcome, equation.customers, family="logit")
    side = equation.score < 7.0

    def average(coefficients: np.ndarray) -> float:
        kept = mean(design[side] @ coefficients, "logit")
        return float(coefficients[-2] * (kept * (1 - kept)).mean())

    step = 1e-5  # central differences: error about step squared
    moves = np.eye(len(fitted.coefficients)) * step
    gradient = [(average(fitted.coefficients + m) - average(fitted.coefficients - m)) / (2 * step) for m in moves]
    expected = float(np.sqrt(np.array(gradient) @ fitted.covariance @ np.array(gradient)))
    row = shape.slopes[shape.slopes["bend_from"] == "scale"].set_index(["outcome", "side"]).loc[("retained", "below")]
    assert row["per_point"] == pytest.approx(average(fitted.coefficients), rel=1e-9)
    assert row["per_point_std_error"] == pytest.approx(expected, rel=1e-6)


# ------------------------------------------------------------------------------------------------------------------ limits


def test_large_panels_are_sampled_and_say_so(bent: tuple[Shape, Any]) -> None:
    _, linkages = bent
    panel = linkages["retained", "adjusted"].panel
    few = satisfaction_shape(panel, "nps", linkages=linkages, most_rows=2_000)
    assert few.n_sampled is not None
    assert few.n_sampled <= 2_100  # a sample of whole customers
    assert shape_checks(few)["advice"].str.contains("systematic sample").all()


def test_what_cannot_be_compared_is_said(bent: tuple[Shape, Any]) -> None:
    _, linkages = bent
    panel = linkages["retained", "adjusted"].panel
    few = satisfaction_shape(panel, "nps", linkages=linkages, most_rows=300)
    assert few.shapes.empty
    assert few.glance().empty
    assert all("at least 500 are needed" in reason for reason in few.reasons.values())
    assert shape_checks(few)["verdict"].tolist() == ["warn"] * 3
    named = satisfaction_shape(panel, "nps", linkages={("orders", "raw"): "nobody ordered"})
    assert named.reasons == {"orders": "nobody ordered"}


@pytest.mark.realdata
def test_southeast_falls_above_seven_only(realdata: Path, root: Path, tmp_path: Path) -> None:
    # Flights fall with the score (Poisson slope -0.0693, realdata/REFERENCE.md); below 7 they hardly move.
    for page in (root / "docs" / "recipes" / "southeast").glob("*.yaml"):
        (tmp_path / page.name).write_bytes(page.read_bytes())
    (tmp_path / "southeast_nps.csv.gz").symlink_to(realdata / "southeast_nps" / "southeast_nps.csv.gz")
    panel = cx.build_panel(cx.read_tables(tmp_path))
    shape = satisfaction_shape(panel, "nps", linkages=standard_linkages(panel, "nps", methods=("raw",)))
    rows = panel.answered("nps")
    gap = rows["nps"].to_numpy() - 7.0
    design = np.column_stack([np.ones(len(rows)), np.minimum(gap, 0), np.maximum(gap, 0)])
    expected = sm.GLM(rows["orders"].to_numpy(), design, family=sm.families.Poisson()).fit()
    slopes = shape.slopes[shape.slopes["bend_from"] == "scale"].set_index("side")
    assert slopes["estimate"].to_numpy()[:2] == pytest.approx(expected.params[1:], rel=1e-5)
    assert slopes.loc["above", "conf_high"] < 0
    assert set(shape.reasons) == {"retained", "margin"}


def test_shape_table_has_its_columns(straight: tuple[Shape, Any]) -> None:
    shape, _ = straight
    assert tuple(shape.tidy().columns) == room.SHAPE_COLUMNS
    assert tuple(shape.slopes.columns) == room.SLOPE_COLUMNS
    assert list(shape_checks(shape).columns) == ["name", "verdict", "number", "advice"]
    pd.testing.assert_frame_equal(shape.checks(), shape_checks(shape))
