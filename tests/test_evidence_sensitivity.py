"""Sensitivity: published robustness values, benchmarks and E-values; exactness for linear models; a linkage's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from cxroi.errors import InputError
from cxroi.evidence.sensitivity import (
    LinearModel,
    Ratio,
    Sensitivity,
    confounder_as_strong_as,
    e_value,
    e_value_limit,
    linear_model,
    partial_r2,
    risk_ratio,
    robustness_value,
    sensitivity,
    sensitivity_checks,
    with_confounder,
)
from cxroi.linkage import Linkage, standard_linkages
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

SAME_ARITHMETIC = 1e-9  # relative; two exact solutions of one small least-squares problem
PRINTED = 5.1e-8  # absolute; seven or eight decimals are printed in the paper's replication

# Published figures: sensemakr, Cinelli & Hazlett (2020), section 5


@pytest.fixture(scope="module")
def darfur(realdata: Path) -> LinearModel:
    rows = pd.read_csv(realdata / "sensitivity" / "darfur.csv")
    columns = ["directlyharmed", "female", "age", "farmer_dar", "herder_dar", "pastvoted", "hhsize_darfur"]
    villages = pd.get_dummies(rows["village"], drop_first=True)
    design = np.column_stack([rows[columns], np.ones(len(rows)), villages]).astype(float)
    shift = np.zeros(design.shape[1])
    shift[0] = 1.0
    return linear_model(design, rows["peacefactor"].to_numpy(), shift, {"female": [1]})


@pytest.mark.realdata
def test_darfur_estimate_and_robustness_values(darfur: LinearModel) -> None:
    assert darfur.estimate == pytest.approx(0.09731582, abs=PRINTED)
    assert darfur.std_error == pytest.approx(0.02325654, abs=PRINTED)
    assert darfur.dof == 783
    t_statistic = darfur.estimate / darfur.std_error
    assert t_statistic == pytest.approx(4.184450, abs=5.1e-7)
    assert partial_r2(t_statistic, darfur.dof) == pytest.approx(0.02187309, abs=PRINTED)
    assert robustness_value(t_statistic, darfur.dof) == pytest.approx(0.1387764, abs=PRINTED)
    assert robustness_value(t_statistic, darfur.dof, alpha=0.05) == pytest.approx(0.07625797, abs=PRINTED)
    assert robustness_value(t_statistic, darfur.dof, q=0.5) == pytest.approx(0.0720270, abs=PRINTED)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("multiple", "r2_score", "r2_outcome", "estimate", "error"),
    [
        (1, 0.009164287, 0.1246409, 0.07522027, 0.02187333),
        (2, 0.01832857, 0.2493241, 0.05291517, 0.02035006),
        (3, 0.02749286, 0.3740505, 0.03039602, 0.01867006),
    ],
)
def test_darfur_benchmarks(
    darfur: LinearModel, multiple: int, r2_score: float, r2_outcome: float, estimate: float, error: float
) -> None:
    row = _of_linear(darfur).benchmarks((multiple,)).iloc[0]
    assert row["r2_score"] == pytest.approx(r2_score, abs=PRINTED)
    assert row["r2_outcome"] == pytest.approx(r2_outcome, abs=PRINTED)
    assert row["estimate"] == pytest.approx(estimate, abs=PRINTED)
    assert row["std_error"] == pytest.approx(error, abs=PRINTED)
    assert row["benchmark"] == "female"


@pytest.mark.parametrize(
    ("ratio", "limits", "point", "limit"),
    [
        (10.73, (8.02, 14.36), 20.94777, 15.52336),
        (3.9, (1.8, 8.7), 7.263034, 3.0),
        (0.80, (0.71, 0.91), 1.809017, 1.428571),
    ],
)
def test_published_e_values(ratio: float, limits: tuple[float, float], point: float, limit: float) -> None:
    # VanderWeele & Ding (2017); seven digits are given.
    assert e_value(ratio) == pytest.approx(point, rel=1e-6)
    assert e_value_limit(*limits) == pytest.approx(limit, rel=1e-6)


# Exactness for linear models


def _confounded_data(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Design with the score first, the confounder that was left out, and the outcome that it pulls the estimate away from 0 by."""
    rng = np.random.default_rng(seed)
    control, confounder = rng.normal(size=(2, 300))
    score = control + 0.7 * confounder + rng.normal(size=300)
    outcome = 0.4 * score + control + 0.9 * confounder + rng.normal(size=300)
    return np.column_stack([score, np.ones(300), control]), confounder, outcome


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_confounder_of_known_strength_is_taken_out_exactly(seed: int, sign: float) -> None:
    design, confounder, outcome = _confounded_data(seed)
    outcome = sign * outcome
    shift = np.array([1.0, 0, 0, 0])
    short = linear_model(design, outcome, shift[:3])
    whole = linear_model(np.column_stack([design, confounder]), outcome, shift, {"confounder": [3]})
    strength = whole.strengths.iloc[0]
    estimate, error = with_confounder(
        short.estimate, short.std_error, short.dof, r2_score=strength["r2_score"], r2_outcome=strength["r2_outcome"]
    )
    assert estimate == pytest.approx(whole.estimate, rel=SAME_ARITHMETIC)
    assert error == pytest.approx(whole.std_error, rel=SAME_ARITHMETIC)


@pytest.mark.parametrize("seed", range(3))
def test_a_group_of_confounders_moves_no_further_than_its_strength(seed: int) -> None:
    design, confounder, outcome = _confounded_data(seed)
    others = np.column_stack([confounder, np.random.default_rng(seed + 10).normal(size=(300, 3))])
    whole = linear_model(
        np.column_stack([design, others]), outcome, np.array([1.0, 0, 0, 0, 0, 0, 0]), {"all": [3, 4, 5, 6]}
    )
    short = linear_model(design, outcome, np.array([1.0, 0, 0]))
    strength = whole.strengths.iloc[0]
    bound, _ = with_confounder(
        short.estimate, short.std_error, short.dof, r2_score=strength["r2_score"], r2_outcome=strength["r2_outcome"]
    )
    assert bound <= whole.estimate < short.estimate


@pytest.mark.parametrize(("t_statistic", "dof"), [(4.2, 783), (2.1, 40), (-9.0, 200)])
def test_a_robustness_value_brings_exactly_to_zero(t_statistic: float, dof: int) -> None:
    value = robustness_value(t_statistic, dof)
    moved, _ = with_confounder(t_statistic, 1.0, dof, r2_score=value, r2_outcome=value)
    assert moved == pytest.approx(0.0, abs=1e-9 * abs(t_statistic))
    value = robustness_value(t_statistic, dof, alpha=0.05)
    moved, error = with_confounder(t_statistic, 1.0, dof, r2_score=value, r2_outcome=value)
    margin = float(stats.t.ppf(0.975, dof - 1)) * error
    assert abs(moved) - margin == pytest.approx(0.0, abs=1e-9 * abs(t_statistic))


def test_a_robustness_value_where_the_confounder_need_not_be_equally_strong() -> None:
    # For t² > dof²/t_critical² the best confounder explains less of the outcome than of the score: a grid finds it.
    t_statistic, dof = 60.0, 30
    value = robustness_value(t_statistic, dof, alpha=0.05)
    critical = float(stats.t.ppf(0.975, dof - 1))

    def least(bound: float) -> float:
        found = [
            (one[0] / one[1])
            for r2_outcome in np.linspace(0, bound, 400)
            for one in [with_confounder(t_statistic, 1.0, dof, r2_score=bound, r2_outcome=float(r2_outcome))]
        ]
        return min(found)

    assert least(value * 0.999) > critical
    assert least(min(value * 1.001, 0.9999)) < critical


def test_an_interval_that_holds_zero_is_worth_nothing() -> None:
    assert robustness_value(1.9, 200, alpha=0.05) == 0.0
    assert robustness_value(2.1, 200, alpha=0.05) > 0.0
    assert e_value_limit(0.99, 1.4) == 1.0
    assert e_value(1.0) == 1.0


def test_linear_model_against_statsmodels() -> None:
    design, confounder, outcome = _confounded_data(1)
    design = np.column_stack([design, confounder])
    found = linear_model(design, outcome, np.array([1.0, 0, 0, 0]), {"both": [2, 3]})
    reference = sm.OLS(outcome, design).fit()
    assert found.estimate == pytest.approx(reference.params[0], rel=SAME_ARITHMETIC)
    assert found.std_error == pytest.approx(reference.bse[0], rel=SAME_ARITHMETIC)
    of_score = sm.OLS(design[:, 0], design[:, 1:]).fit().ssr / sm.OLS(design[:, 0], design[:, 1]).fit().ssr
    of_outcome = reference.ssr / sm.OLS(outcome, design[:, :2]).fit().ssr
    assert found.strengths.loc[0, "r2_score"] == pytest.approx(1 - of_score, rel=SAME_ARITHMETIC)
    assert found.strengths.loc[0, "r2_outcome"] == pytest.approx(1 - of_outcome, rel=SAME_ARITHMETIC)


def test_a_score_in_two_columns_is_read_along_its_shift() -> None:
    design, _, outcome = _confounded_data(2)
    design = np.column_stack([design, design[:, 0] ** 2])
    shift = np.array([1.0, 0, 0, 2.5])
    found = linear_model(design, outcome, shift)
    reference = sm.OLS(outcome, design).fit()
    assert found.estimate == pytest.approx(float(shift @ reference.params), rel=SAME_ARITHMETIC)
    assert found.std_error == pytest.approx(float(np.sqrt(shift @ reference.cov_params() @ shift)), rel=1e-8)


def test_benchmarks_that_cannot_be() -> None:
    assert np.isnan(confounder_as_strong_as(0.6, 0.1, 1.0)).all()  # more than all of the score
    assert np.isnan(confounder_as_strong_as(0.01, 0.6, 1.0)).all()  # more than all of the outcome
    assert np.isfinite(confounder_as_strong_as(0.3, 0.2, 1.0)).all()


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.2), (0.14, 1.44), (0.86, 1.44), (0.16, 1.2)])
def test_odds_ratios_of_rare_outcomes_are_risk_ratios(share: float, expected: float) -> None:
    assert risk_ratio(1.44, share=share) == pytest.approx(expected)


def test_outcome_that_follows_from_the_columns_is_refused() -> None:
    design, _, _ = _confounded_data(3)
    with pytest.raises(InputError, match="something left to explain"):
        linear_model(design, design @ np.array([1.0, 2.0, 3.0]), np.array([1.0, 0, 0]))
    with pytest.raises(InputError, match="something left to explain"):
        linear_model(design[:, [0, 1, 0]], design[:, 2], np.array([1.0, 0, 0]))


# Verdicts


def _of_linear(linear: LinearModel, **changes: object) -> Sensitivity:
    """A linear model as its own linkage."""
    fields: dict[str, object] = {
        "outcome": "orders",
        "exposure": "nps",
        "method": "adjusted",
        "unit": "orders",
        "estimate": linear.estimate,
        "std_error": linear.std_error,
        "critical_value": float(stats.t.ppf(0.975, linear.dof - 1)),
        "linear": linear,
        "scale": 1.0,
        "rescaled": True,
        "ratio": Ratio("rate_ratio", 1.2, 1.1, 1.31, 0.5),
        "answer_deviation": 2.0,
    }
    return Sensitivity(**{**fields, **changes})  # type: ignore[arg-type]


def _with_strength(r2_score: float, r2_outcome: float) -> Sensitivity:
    strengths = pd.DataFrame(
        {"benchmark": ["plan"], "columns": [1], "r2_score": [r2_score], "r2_outcome": [r2_outcome]}
    )
    return _of_linear(LinearModel(0.1, 0.02, 1000, strengths))


@pytest.mark.parametrize(
    ("r2_score", "r2_outcome", "verdict", "words"),
    [
        (0.01, 0.01, "pass", "still be off 0"),
        (0.08, 0.10, "warn", "would hold 0"),
        (0.20, 0.20, "fail", "run a pilot"),
        (0.60, 0.10, "warn", "explain too much"),
    ],
)
def test_verdict_follows_the_strongest_benchmark(r2_score: float, r2_outcome: float, verdict: str, words: str) -> None:
    found = _with_strength(r2_score, r2_outcome)
    row = sensitivity_checks(found).set_index("name").loc["unseen confounder"]
    assert row["verdict"] == verdict
    assert words in row["advice"]
    assert row["number"] == pytest.approx(robustness_value(5.0, 1000, alpha=0.05), rel=1e-9)


def test_verdict_is_the_same_for_a_negative_estimate() -> None:
    for r2_score, r2_outcome in [(0.01, 0.01), (0.08, 0.10), (0.20, 0.20)]:
        found = _with_strength(r2_score, r2_outcome)
        mirrored = replace(found, estimate=-found.estimate, linear=replace(found.linear, estimate=-0.1))
        verdicts = [sensitivity_checks(one)["verdict"].iloc[0] for one in (found, mirrored)]
        assert verdicts[0] == verdicts[1]
        assert mirrored.benchmarks()["estimate"].to_numpy() == pytest.approx(
            -found.benchmarks()["estimate"].to_numpy(), nan_ok=True
        )


def test_verdict_without_anything_to_overturn_or_to_compare_with() -> None:
    found = _with_strength(0.01, 0.01)
    nothing = replace(found, linear=replace(found.linear, strengths=found.linear.strengths.iloc[:0]))
    assert sensitivity_checks(nothing)["verdict"].iloc[0] == "warn"
    assert "compare" in sensitivity_checks(nothing)["advice"].iloc[0]
    wide = replace(found, std_error=0.2, ratio=Ratio("rate_ratio", 1.2, 0.9, 1.6, 0.5))
    checks = sensitivity_checks(wide).set_index("name")
    assert checks["verdict"].tolist() == ["warn", "warn"]
    assert checks["number"].tolist() == [0.0, 1.0]


# A linkage's own


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    place = tmp_path_factory.mktemp("sensitivity") / "clean"
    simulate(place, world="clean", customers=3_000, seed=5)
    return build_panel(read_tables(place))


@pytest.fixture(scope="module")
def linkages(panel: Panel) -> dict[tuple[str, str], Linkage]:
    found = standard_linkages(panel, "nps")
    return {key: one for key, one in found.items() if isinstance(one, Linkage)}


def test_every_standard_linkage_has_one(linkages: dict[tuple[str, str], Linkage]) -> None:
    assert {(outcome, method) for outcome in ("retained", "orders", "margin") for method in ("raw", "adjusted")} <= set(
        linkages
    )
    for linkage in linkages.values():
        found, average = sensitivity(linkage), linkage.marginal_effect().iloc[0]
        difference = found.tidy().set_index("measure").loc["difference"]
        assert difference["estimate"] == average["estimate"]
        assert difference["conf_low"] == pytest.approx(average["conf_low"], rel=1e-12)
        holds_zero = average["conf_low"] <= 0 <= average["conf_high"]
        assert (found.robustness_value(to="interval") == 0.0) == holds_zero
        assert found.robustness_value(to="interval") <= found.robustness_value()
        assert found.glance()["robustness_value"].iloc[0] == found.robustness_value()


def test_the_straight_line_agrees_with_the_curve(linkages: dict[tuple[str, str], Linkage]) -> None:
    for outcome in ("retained", "orders", "margin"):
        found = sensitivity(linkages[outcome, "raw"])
        assert found.rescaled
        # The line is steeper than the average over the base by the curvature of the link only: measured .85 to 1.1.
        assert found.scale == pytest.approx(1.0, abs=0.2)


def test_benchmarks_of_an_adjusted_linkage(panel: Panel, linkages: dict[tuple[str, str], Linkage]) -> None:
    found = sensitivity(linkages["retained", "adjusted"])
    table = found.benchmarks()
    assert set(table["benchmark"]) == {"tenure", "past orders", "past spending", *panel.controls}
    assert table["possible"].all()
    wide = table.pivot_table(index="benchmark", columns="multiple", values="estimate")
    assert (wide.diff(axis=1).iloc[:, 1:] <= 0).all().all()
    assert (wide <= found.estimate).all().all()
    assert sensitivity(linkages["retained", "raw"]).benchmarks().empty


def test_margin_counts_the_left_as_zero(panel: Panel, linkages: dict[tuple[str, str], Linkage]) -> None:
    rows = panel.answered("nps")
    reference = sm.OLS(rows["margin"].to_numpy(), sm.add_constant(rows["nps"].to_numpy())).fit()
    linear = sensitivity(linkages["margin", "raw"]).linear
    assert linear.estimate == pytest.approx(reference.params[1], rel=1e-8)
    assert linear.dof == reference.df_resid


def test_e_values_of_a_linkage(linkages: dict[tuple[str, str], Linkage]) -> None:
    kinds = {"retained": "odds_ratio", "orders": "rate_ratio", "margin": "mean_ratio"}
    for outcome, kind in kinds.items():
        found = sensitivity(linkages[outcome, "raw"])
        tidy = found.tidy().set_index("measure")["estimate"]
        assert tidy[kind] > 1
        assert tidy["e_value_deviation"] > tidy["e_value"] > tidy["e_value_limit"]
    ratio = sensitivity(linkages["retained", "raw"]).ratio
    assert ratio is not None
    slope = linkages["retained", "raw"].tidy().set_index("term").loc["nps"]
    assert ratio.estimate == pytest.approx(np.exp(slope["estimate"]), rel=1e-12)
    assert ratio.conf_low == pytest.approx(np.exp(slope["conf_low"]), rel=1e-9)


def test_a_linkage_without_a_finite_score_is_refused(linkages: dict[tuple[str, str], Linkage]) -> None:
    linkage = linkages["retained", "raw"]
    with pytest.raises(InputError, match="nps predicts retention perfectly"):
        sensitivity(replace(linkage, separated=("nps",)))
    with pytest.raises(InputError, match="got no score"):
        sensitivity(replace(linkage, exposure=""))
