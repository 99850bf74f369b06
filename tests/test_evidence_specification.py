"""Specification curve: each point against published and single fits, the choices, and verdicts where the truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

import cxroi as cx
from cxroi.errors import InputError
from cxroi.evidence import specification as room
from cxroi.evidence.specification import (
    CHOICES,
    CODINGS,
    SAMPLES,
    SpecificationCurve,
    average_changes,
    specification_checks,
    specification_curve,
)
from cxroi.linkage import Linkage, standard_linkages
from cxroi.linkage.fit import Family, fit, mean
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

METHODS = ("raw", "adjusted")
SETTLED = 1e-4  # relative; each fit gets one exact Newton step within a tenth of a standard error of the maximum
NOISE_ALLOWED = 4.0  # standard errors; a fixed seed either passes for good or fails for good
Linkages = dict[tuple[str, str], Linkage | str]


def company(place: Path, world: str, *, customers: int, seed: int) -> tuple[Panel, Linkages]:
    simulate(place, world=world, customers=customers, seed=seed)
    panel = build_panel(read_tables(place))
    return panel, standard_linkages(panel, "nps", methods=METHODS)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, Linkages]:
    return company(tmp_path_factory.mktemp("specification") / "clean", "clean", customers=8_000, seed=12)


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> tuple[Panel, Linkages]:
    return company(tmp_path_factory.mktemp("specification") / "null", "null", customers=3_000, seed=13)


@pytest.fixture(scope="module")
def curves(clean: tuple[Panel, Linkages]) -> dict[str, SpecificationCurve]:
    panel, linkages = clean
    return {
        name: specification_curve(panel, "nps", name, linkages=linkages) for name in ("retained", "orders", "margin")
    }


def one(curve: SpecificationCurve, **choices: str) -> pd.Series:
    """The one specification with these choices; the others as in the plain analysis."""
    wanted = {"controls": "none", "period_effects": "out", "coding": "as answered", "sample": "all answers"} | choices
    table = curve.tidy()
    found = table[np.logical_and.reduce([table[column] == value for column, value in wanted.items()])]
    assert len(found) == 1, found
    return found.iloc[0]


# ------------------------------------------------------------------------------------------------------ published witnesses


@pytest.mark.realdata
@pytest.mark.parametrize(("cluster", "slope_error"), [("firmid", 0.05059573), ("year", 0.03338891)])
def test_petersen_slope_and_clustered_errors(realdata: Path, cluster: str, slope_error: float) -> None:
    # Petersen (2009): in a linear equation the change per point is the slope. Figures have 7 and 8 decimals.
    rows = pd.read_csv(realdata / "panel" / "petersen.csv").sort_values(cluster, kind="stable")
    design = np.column_stack([np.ones(len(rows)), rows["x"]])
    near = np.zeros((2, 1))
    found = average_changes(
        design, rows["y"].to_numpy(), near, [[0, 1]], rows[cluster].to_numpy(), "gaussian", np.ones(1)
    )
    assert found.estimates[0] == pytest.approx(1.034833, abs=5e-7)
    assert found.std_errors[0] == pytest.approx(slope_error, abs=5.1e-9)
    assert found.n_clusters == rows[cluster].nunique()


@pytest.mark.realdata
def test_southeast_is_negative_everywhere_and_shrinks(realdata: Path, root: Path, tmp_path: Path) -> None:
    # realdata/REFERENCE.md: Poisson slope of flights on the score -0.0692863; three quarters of it confounding.
    for page in (root / "docs" / "recipes" / "southeast").glob("*.yaml"):
        (tmp_path / page.name).write_bytes(page.read_bytes())
    (tmp_path / "southeast_nps.csv.gz").symlink_to(realdata / "southeast_nps" / "southeast_nps.csv.gz")
    panel = cx.build_panel(cx.read_tables(tmp_path))
    curve = specification_curve(panel, "nps", "orders")
    flights = float(panel.answered("nps")["orders"].mean())
    raw = one(curve, model="Poisson")
    assert raw["estimate"] == pytest.approx(flights * np.expm1(-0.0692863), rel=2e-6)
    assert raw["n_obs"] == raw["n_clusters"] == 10_281
    assert curve.glance()["share_above_zero"][0] == 0.0
    assert curve.glance()["share_significant_below"][0] == 1.0
    assert 0.65 < 1 - one(curve, controls="both", model="Poisson")["estimate"] / raw["estimate"] < 0.80
    sizes = specification_checks(curve).iloc[1]
    assert sizes["verdict"] == "warn"
    assert sizes["advice"].startswith("controls matters most")


@pytest.mark.realdata
def test_telco_is_refused(realdata: Path, root: Path, tmp_path: Path) -> None:
    for page in (root / "docs" / "recipes" / "telco").glob("*.yaml"):
        (tmp_path / page.name).write_bytes(page.read_bytes())
    for export in ("telco_customers.csv.gz", "telco_surveys.csv"):
        (tmp_path / export).symlink_to(realdata / "telco" / export)
    panel = cx.build_panel(cx.read_tables(tmp_path))
    with pytest.raises(InputError, match="without error, so no finite estimate exists"):
        specification_curve(panel, "csat", "retained")


# ------------------------------------------------------------------------------------------------- each point of the curve


@pytest.mark.parametrize("family", ["logit", "poisson"])
def test_changes_and_errors_are_those_of_a_single_fit(family: Family) -> None:
    rng = np.random.default_rng(1)
    n = 2_000
    customers = np.sort(rng.integers(0, 400, n))
    design = np.column_stack([np.ones(n), rng.standard_normal((n, 3))])
    predictor = design @ [0.3, 0.4, 0.0, 0.5] + 0.3 * rng.standard_normal(400)[customers]
    outcome = rng.poisson(np.exp(predictor)) if family == "poisson" else rng.random(n) < special.expit(predictor)
    outcome = outcome.astype(float)
    columns, per_point = [[0, 3], [0, 1, 2, 3]], np.array([0.7, 1.0])
    fits = [fit(np.asfortranarray(design[:, own]), outcome, customers, family=family) for own in columns]
    near = np.zeros((4, 2))
    for index, own in enumerate(columns):
        near[own, index] = fits[index].coefficients + 1e-3 * fits[index].std_errors  # as the batch leaves them
    found = average_changes(design, outcome, near, columns, customers, family, per_point)
    step = 1e-5  # central differences: error about step squared
    for index, own in enumerate(columns):
        part, coefficients = design[:, own], fits[index].coefficients

        def average(at: np.ndarray, part: np.ndarray = part, rise: float = float(per_point[index])) -> float:
            return float((mean(part @ at + rise * at[-1], family) - mean(part @ at, family)).mean())

        moves = np.eye(len(own)) * step
        gradient = np.array([(average(coefficients + m) - average(coefficients - m)) / (2 * step) for m in moves])
        error = float(np.sqrt(gradient @ fits[index].covariance @ gradient))
        assert found.estimates[index] == pytest.approx(average(coefficients), rel=SETTLED)
        assert found.std_errors[index] == pytest.approx(error, rel=SETTLED)


def test_an_equation_far_from_its_maximum_is_left_out() -> None:
    rng = np.random.default_rng(2)
    design = np.column_stack([np.ones(500), rng.standard_normal(500)])
    outcome = (rng.random(500) < 0.5).astype(float)
    far = np.array([[0.0], [2.0]])
    found = average_changes(design, outcome, far, [[0, 1]], np.arange(500), "logit", np.ones(1))
    assert np.isnan(found.estimates[0])


@pytest.mark.parametrize("outcome", ["retained", "orders"])
def test_the_full_specification_is_the_adjusted_equation(
    clean: tuple[Panel, Linkages], curves: dict[str, SpecificationCurve], outcome: str
) -> None:
    panel, linkages = clean
    linkage = linkages[outcome, "adjusted"]
    assert isinstance(linkage, Linkage)
    rows = panel.answered("nps").iloc[linkage.used]
    design = np.asfortranarray(linkage.design.matrix[linkage.used])
    family = linkage.fitted.family
    values = rows[outcome].to_numpy(dtype=float)
    fitted = fit(design, values, rows["customer"].to_numpy(), family=family)
    raised = design.copy()
    raised[:, linkage.design.columns.index("nps")] += 1.0
    change = mean(raised @ fitted.coefficients, family) - mean(design @ fitted.coefficients, family)
    model = {"logit": "logit", "poisson": "Poisson"}[family]
    point = one(curves[outcome], controls="both", period_effects="in", model=model)
    assert point["estimate"] == pytest.approx(change.mean(), rel=SETTLED)
    assert point["n_obs"] == len(values)


def test_a_linear_specification_is_least_squares(
    clean: tuple[Panel, Linkages], curves: dict[str, SpecificationCurve]
) -> None:
    rows = clean[0].answered("nps")
    slope = np.polyfit(rows["nps"], rows["margin"], 1)[0]
    assert one(curves["margin"], model="linear")["estimate"] == pytest.approx(slope, rel=1e-9)
    firsts = rows.groupby("customer").head(1)
    first = one(curves["margin"], model="linear", sample="first answers")
    assert first["estimate"] == pytest.approx(np.polyfit(firsts["nps"], firsts["margin"], 1)[0], rel=1e-9)
    assert first["n_obs"] == first["n_clusters"] == rows["customer"].nunique()


def test_groups_are_brought_to_points() -> None:
    # A linear truth: the gap of groups divided by their gap in points is the slope, noise apart.
    rng = np.random.default_rng(3)
    score = rng.integers(0, 11, 50_000).astype(float)
    material = room._Material(
        blocks={},
        outcome=2.0 * score,
        score=score,
        single=np.ones(len(score), dtype=bool),
        customers=np.arange(len(score)),
        periods=rng.integers(0, 4, len(score)),
        scale=(0.0, 10.0),
    )
    for coding in CODINGS:
        coded, per_point = room._coded(material, coding, "nps")
        slope = np.polyfit(coded, material.outcome, 1)[0] * per_point
        # within-period spreads differ by sampling: about 1/sqrt(2 * 12,500) of themselves
        assert slope == pytest.approx(2.0, rel=1e-9 if coding != CODINGS[1] else 1e-3)


# ---------------------------------------------------------------------------------------------------- the curve as a whole


def test_every_combination_is_there_once(curves: dict[str, SpecificationCurve]) -> None:
    for name, curve in curves.items():
        table = curve.tidy()
        assert not table.duplicated(list(CHOICES)).any()
        levels = [table[choice].nunique() for choice in CHOICES]
        assert np.prod(levels) == len(table) + curve.not_estimated, name
        assert levels[0] == 4
        assert set(table["sample"]) <= set(SAMPLES)
        assert table["estimate"].is_monotonic_increasing
        assert table["specification"].tolist() == list(range(1, len(table) + 1))
        assert tuple(table.columns) == room.COLUMNS


def test_summary_counts_the_table(curves: dict[str, SpecificationCurve]) -> None:
    curve = curves["orders"]
    seen, table = curve.glance().iloc[0], curve.tidy()
    assert seen["specifications"] == len(table)
    assert seen["share_above_zero"] == sum(table["estimate"] > 0) / len(table)
    assert seen["median"] == float(np.median(table["estimate"]))
    assert seen["share_significant_above"] == sum(table["conf_low"] > 0) / len(table)
    assert seen["unit"] == "orders"
    by_choice = curve.by_choice()
    assert by_choice.groupby("choice")["specifications"].sum().eq(len(table)).all()


def test_a_clean_world_is_positive_under_all_choices(curves: dict[str, SpecificationCurve]) -> None:
    for name, curve in curves.items():
        assert curve.glance()["share_above_zero"][0] >= 0.95, name
        assert specification_checks(curve)["verdict"].iloc[0] == "pass"


def test_a_null_world_has_a_median_near_zero(null: tuple[Panel, Linkages]) -> None:
    panel, linkages = null
    for outcome in ("retained", "orders", "margin"):
        table = specification_curve(panel, "nps", outcome, linkages=linkages).tidy()
        assert abs(table["estimate"].median()) < NOISE_ALLOWED * table["std_error"].median()


def test_sign_verdicts_follow_the_share() -> None:
    table = pd.DataFrame(
        {choice: ["a"] * 20 for choice in CHOICES}
        | {"estimate": np.arange(20.0), "conf_low": np.ones(20), "conf_high": np.full(20, 2.0), "unit": ["orders"] * 20}
    )
    verdicts = {}
    for below in (0, 3, 9):
        moved = table.assign(estimate=np.r_[np.full(below, -1.0), np.full(20 - below, 2.0)])
        curve = SpecificationCurve("orders", "nps", moved, 0, 100, 100)
        check = specification_checks(curve).iloc[0]
        verdicts[check["number"]] = check["verdict"]
    assert verdicts == {1.0: "pass", 0.85: "warn", 0.55: "fail"}


def test_large_panels_are_sampled_and_say_so(clean: tuple[Panel, Linkages]) -> None:
    panel, linkages = clean
    curve = specification_curve(panel, "nps", "orders", linkages=linkages, most_rows=1_500)
    assert curve.n_sampled < curve.n_answers
    assert f"a systematic sample of {curve.n_sampled:,}" in specification_checks(curve)["advice"].iloc[0]
    again = specification_curve(panel, "nps", "orders", linkages=linkages, most_rows=1_500)
    pd.testing.assert_frame_equal(curve.tidy(), again.tidy())


def test_what_cannot_be_drawn_is_refused_in_words(clean: tuple[Panel, Linkages]) -> None:
    panel, linkages = clean
    with pytest.raises(InputError, match="no such outcome"):
        specification_curve(panel, "nps", "visits", linkages=linkages)
    with pytest.raises(InputError, match="needs at least 200 answers"):
        specification_curve(panel, "nps", "orders", linkages=linkages, most_rows=100)


def test_without_controls_only_the_other_choices_vary(clean: tuple[Panel, Linkages]) -> None:
    panel, linkages = clean
    raw = {key: linkage for key, linkage in linkages.items() if key[1] == "raw"}
    curve = specification_curve(replace(panel), "nps", "orders", linkages=raw)
    assert set(curve.tidy()["controls"]) == {"none"}
    assert set(curve.tidy()["period_effects"]) == {"out"}
