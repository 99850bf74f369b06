"""The linkage by segment: pooling against published meta-analyses, cells against separate fits, discoveries against a known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from cxroi.evidence.segments import (
    SegmentLinkages,
    false_discovery_rates,
    random_effects,
    segment_checks,
    segment_linkages,
    shrink,
)
from cxroi.linkage import Linkage, standard_linkages
from cxroi.linkage.fit import fit
from cxroi.linkage.model import STANDARD_OUTCOMES
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

# Tuberculosis vaccine trials (Colditz et al. 1994): cases and non-cases, vaccinated and not.
BCG = [
    (4, 119, 11, 128),
    (6, 300, 29, 274),
    (3, 228, 11, 209),
    (62, 13536, 248, 12619),
    (33, 5036, 47, 5761),
    (180, 1361, 372, 1079),
    (8, 2537, 10, 619),
    (505, 87886, 499, 87892),
    (29, 7470, 45, 7232),
    (17, 1699, 65, 1600),
    (186, 50448, 141, 27197),
    (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
]


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = np.array(BCG, dtype=float).T
    return np.log(a / (a + b)) - np.log(c / (c + d)), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    folder: Path = tmp_path_factory.mktemp("segments") / "clean"
    simulate(folder, world="clean", customers=3_000, seed=11)
    return build_panel(read_tables(folder))


def linkages(panel: Panel, method: str) -> list[Linkage]:
    found = standard_linkages(panel, "nps", methods=(method,))
    return [linkage for linkage in found.values() if isinstance(linkage, Linkage)]


@pytest.fixture(scope="module")
def by_segment(panel: Panel) -> SegmentLinkages:
    return segment_linkages(panel, [one for one in linkages(panel, "adjusted") if one.outcome in STANDARD_OUTCOMES])


def test_bcg_restricted_likelihood() -> None:
    """metafor's published run: τ² 0.3132, mean -0.7145 (SE 0.1798), Q 152.2330; four decimals are printed."""
    found = random_effects(*log_risk_ratios())
    assert found.tau_squared == pytest.approx(0.3132, abs=5e-5)
    assert found.mean == pytest.approx(-0.7145, abs=5e-5)
    assert found.std_error == pytest.approx(0.1798, abs=5e-5)
    assert found.q == pytest.approx(152.2330, abs=5e-5)


def test_bcg_dersimonian_laird() -> None:
    found = random_effects(*log_risk_ratios(), method="dersimonian-laird")
    assert found.tau_squared == pytest.approx(0.3088, abs=5e-5)
    assert found.mean == pytest.approx(-0.7141, abs=5e-5)


def test_benjamini_hochberg_paper() -> None:
    """Benjamini & Hochberg (1995), section 4: of fifteen p-values the four smallest are rejected at 0.05."""
    listed = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    listed += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    shuffled = np.random.default_rng(1).permutation(15)
    rates = false_discovery_rates(np.array(listed)[shuffled])
    assert sorted(shuffled[rates < 0.05]) == [0, 1, 2, 3]
    assert rates.max() == 1.0


def test_shrinkage_beats_cells_and_covers() -> None:
    """True slopes drawn about a mean: pooled estimates are closer to them, and their 95 % intervals hold."""
    generator = np.random.default_rng(7)
    errors: list[np.ndarray] = []
    covered: list[np.ndarray] = []
    for _ in range(400):
        truth = 1.0 + 0.5 * generator.standard_normal(12)
        variance = generator.uniform(0.2, 1.0, 12)
        seen = truth + np.sqrt(variance) * generator.standard_normal(12)
        pooled, error = shrink(seen, variance)
        errors.append(np.array([(pooled - truth) ** 2, (seen - truth) ** 2]).mean(axis=1))
        covered.append(np.abs(pooled - truth) < 1.96 * error)
    of_pooled, of_cells = np.mean(errors, axis=0)
    assert of_pooled < 0.5 * of_cells
    assert 0.93 < np.mean(covered) < 0.97  # 4,800 intervals: standard error 0.003, and correlated within a draw


def test_no_spread_gives_the_mean() -> None:
    estimates, variances = np.array([1.0, 1.0, 1.0]), np.array([0.5, 1.0, 2.0])
    pooling = random_effects(estimates, variances)
    assert pooling.tau_squared == 0.0
    pooled, error = shrink(estimates, variances)
    assert pooled.tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert (error > pooling.std_error).all()
    assert (error < np.sqrt(variances)).all()


def test_eight_schools() -> None:
    """Rubin (1981) by the algorithm of Gelman et al. (2014), section 5.4: draws of the spread, then the mean, then each school."""
    seen = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    variance = np.array([15.0, 10, 16, 11, 9, 11, 10, 18]) ** 2
    generator, grid = np.random.default_rng(6), np.linspace(0.01, 60.0, 3_000)
    total = variance + grid[:, None] ** 2
    centre = (seen / total).sum(axis=1) / (1 / total).sum(axis=1)
    error = (1 / total).sum(axis=1) ** -0.5
    density = error * np.exp(-((seen - centre[:, None]) ** 2 / total).sum(axis=1) / 2) / np.sqrt(total.prod(axis=1))
    at = generator.choice(len(grid), 60_000, p=density / density.sum())
    mean = centre[at] + error[at] * generator.standard_normal(len(at))
    precision = 1 / variance + 1 / grid[at, None] ** 2
    drawn = (seen / variance + mean[:, None] / grid[at, None] ** 2) / precision
    drawn += generator.standard_normal(drawn.shape) / np.sqrt(precision)
    pooled, pooled_error = shrink(seen, variance)
    np.testing.assert_allclose(pooled, drawn.mean(axis=0), atol=0.2)  # 4 Monte-Carlo errors, and the grids' ends
    np.testing.assert_allclose(pooled_error, drawn.std(axis=0), rtol=0.03)


def test_raw_cells_are_separate_fits(panel: Panel) -> None:
    """Without controls, a slope and a level in each cell are the fits of each cell alone."""
    raw = next(one for one in linkages(panel, "raw") if one.outcome == "retained")
    cells = segment_linkages(panel, [raw]).cells.set_index(["segment", "level"])
    rows = panel.answered("nps")
    for level in ("Hà Nội", "Đà Nẵng"):
        own = rows[rows["region"].astype(str) == level]
        design = np.column_stack([np.ones(len(own)), own["nps"]])
        clusters = own["customer"].to_numpy()
        alone = fit(design, own["retained"].to_numpy(dtype=float), clusters, family="logit")
        now = design @ alone.coefficients
        change = float((special.expit(now + alone.coefficients[1]) - special.expit(now)).mean())
        assert cells.loc[("region", level), "estimate"] == pytest.approx(change, rel=1e-6)  # Newton's tolerance
        assert cells.loc[("region", level), "customers"] == own["customer"].nunique()


def test_equal_slopes_bring_no_discoveries(by_segment: SegmentLinkages) -> None:
    cells, spread = by_segment.cells, by_segment.heterogeneity
    assert set(cells["outcome"]) == {"retained", "orders", "margin"}
    assert set(cells["segment"]) == {"region", "plan"}
    assert (cells["q_value"] > 0.05).all()
    assert (cells["q_value"] >= cells["p_value"]).all()
    assert (spread["p_value"] > 0.01).all()
    assert (cells["pooled_high"] - cells["pooled_low"] <= 1.1 * (cells["conf_high"] - cells["conf_low"])).all()
    verdicts = segment_checks(by_segment).set_index("name")["verdict"]
    assert verdicts["cells that stand out"] == "pass"


def test_pooled_lies_between_cell_and_mean(by_segment: SegmentLinkages) -> None:
    means = by_segment.heterogeneity.set_index(["outcome", "segment"])["mean"]
    for row in by_segment.cells.to_dict("records"):
        low, high = sorted((row["estimate"], means[row["outcome"], row["segment"]]))
        slack = 1e-9 * max(abs(low), abs(high))
        assert low - slack <= row["pooled"] <= high + slack


def test_a_planted_difference_is_found(panel: Panel) -> None:
    """Orders that rise with the score in one region alone."""
    rows = panel.rows
    steep = (rows["region"].astype(str) == "Hà Nội").to_numpy() * (rows["nps"].fillna(7.0).to_numpy() - 7.0)
    drawn = np.random.default_rng(3).poisson(2.0 * np.exp(0.25 * steep))
    planted = replace(panel, rows=rows.assign(orders=np.where(rows["retained"] == 1, drawn, 0.0).astype(float)))
    orders = [one for one in linkages(planted, "raw") if one.outcome == "orders"]
    found = segment_linkages(planted, orders)
    cells = found.cells.set_index(["segment", "level"])
    assert cells.loc[("region", "Hà Nội"), "q_value"] < 0.001
    assert cells.loc[("region", "Hà Nội"), "difference"] > 0.2
    assert cells.loc[("plan", "Cao cấp"), "q_value"] > 0.05
    verdicts = segment_checks(found).set_index("name")["verdict"]
    assert verdicts["orders by region"] == "warn"
    assert verdicts["cells that stand out"] == "warn"


def test_small_cells_are_suppressed(panel: Panel) -> None:
    rows = panel.rows
    few = rows["customer"].isin(sorted(rows["customer"].unique())[:20])
    text = rows["region"].astype(str).where(~few, "Côn Đảo")
    shown = replace(panel, rows=rows.assign(region=pd.Categorical(text)))
    found = segment_linkages(shown, [one for one in linkages(shown, "raw") if one.outcome == "orders"])
    own = found.cells.set_index(["segment", "level"]).loc[("region", "Côn Đảo")]
    assert own["suppressed"]
    assert own.drop(["outcome", "exposure", "suppressed"]).isna().all()
    checks = segment_checks(found).set_index("name")
    assert (checks.loc["cells too small", "verdict"], checks.loc["cells too small", "number"]) == ("warn", 1.0)
    assert np.isfinite(found.cells.loc[~found.cells["suppressed"].astype(bool), "pooled"].astype(float)).all()


def test_calibrated_scores_with_a_bend(panel: Panel) -> None:
    """Cells of the equation whose score enters with a bend average to its own figure; errors count its nuisances."""
    found = standard_linkages(panel, "nps", methods=("calibrated",))
    linkage = found["retained", "calibrated"]
    if isinstance(linkage, str):
        pytest.skip(linkage)
    cells = segment_linkages(panel, [linkage]).cells
    plan = cells[cells["segment"] == "plan"]
    share = plan["n_obs"] / plan["n_obs"].sum()
    assert float(share @ plan["estimate"]) == pytest.approx(linkage.effect.estimate, abs=linkage.std_error)
    assert (plan["std_error"] > linkage.std_error).all()


def test_nothing_to_compare(panel: Panel) -> None:
    alone = replace(panel, segments=())
    found = segment_linkages(alone, linkages(alone, "raw"))
    assert found.cells.empty
    assert found.heterogeneity.empty
    assert segment_checks(found)["verdict"].tolist() == ["pass", "pass"]
