"""Linkage: derivatives against finite differences, weights, netted history, separation, the table of estimates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from cxroi.errors import InputError
from cxroi.linkage import Linkage, fit_linkage, grade, not_estimable, standard_linkages
from cxroi.linkage.effects import Slopes, average_effect, average_product_effect
from cxroi.linkage.fit import Family, fit, independent_columns, joint_covariance, mean
from cxroi.linkage.history import NET_COLUMNS, NetHistory, net_columns
from cxroi.linkage.model import _in_levels_with_any
from cxroi.linkage.satisfaction import COLUMNS
from cxroi.linkage.separation import firth, separating_direction
from cxroi.linkage.weights import calibrate
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import estimate

CONTRACT_COLUMNS = [
    *("outcome", "exposure", "estimand", "method", "segment", "estimate", "std_error", "conf_low", "conf_high"),
    *("unit", "n_obs", "n_clusters", "evidence", "headline"),
]
FAMILIES: tuple[Family, ...] = ("gaussian", "logit", "poisson")
STEP = 1e-5  # of finite differences; their error is about STEP**2 and rounding/STEP, both below 1e-8 here


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("linkage") / "clean"
    simulate(place, world="clean", customers=2_000, seed=11)
    return place


@pytest.fixture(scope="module")
def panel(folder: Path) -> Panel:
    """A simulated company with answers to nps only, no value asked for."""
    built = build_panel(read_tables(folder))
    rows = built.rows[built.rows["nps"].notna()].reset_index(drop=True)
    return replace(built, rows=rows, metrics=("nps",), value_terms=None)


@pytest.fixture(scope="module")
def adjusted(panel: Panel) -> dict[str, Linkage]:
    return {outcome: one for (outcome, _), one in standard_linkages(panel, "nps", methods=("adjusted",)).items()}  # type: ignore[misc]


def slope(linkage: Linkage) -> float:
    return float(linkage.tidy().set_index("term").loc["nps", "estimate"])


# Average effects: derivatives and levels


def equation(family: Family, seed: int, *, by_row: bool) -> Slopes:
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(300), rng.normal(size=(300, 3))])
    change = np.array([0.0, 1.0, 0.0, 0.0])
    if by_row:
        change = np.column_stack([np.zeros(300), np.ones(300), design[:, 2], np.zeros(300)])
    return Slopes(design, change, rng.normal(scale=0.3, size=4), family)


def derivative(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """Central differences, shape of ``at``."""
    steps = np.eye(len(at)) * STEP
    return np.array([(function(at + step) - function(at - step)) / (2 * STEP) for step in steps])


@pytest.mark.parametrize("by_row", [False, True], ids=["one_shift", "shift_by_row"])
@pytest.mark.parametrize("level", [None, 0.7])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_of_an_average_effect(family: Family, level: float | None, by_row: bool) -> None:
    slopes = equation(family, 1, by_row=by_row)
    weights = np.random.default_rng(2).gamma(2.0, size=300)
    effect = average_effect(slopes, weights, level)

    def at(coefficients: np.ndarray, level: float | None = level) -> float:
        return average_effect(replace(slopes, coefficients=coefficients), weights, level).estimate

    assert effect.gradient == pytest.approx(derivative(at, slopes.coefficients), abs=1e-7)
    if level is not None:
        moved = derivative(lambda one: at(slopes.coefficients, float(one[0])), np.array([level]))
        assert effect.by_level == pytest.approx(moved[0], abs=1e-7)


@pytest.mark.parametrize("levels", [(None, None), (0.8, None), (None, 1.4), (0.8, 1.4)])
@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_gradient_of_a_product_effect(family: Family, levels: tuple[float | None, float | None]) -> None:
    keep, amount = equation("logit", 3, by_row=False), equation(family, 4, by_row=True)
    amount = replace(amount, design=np.column_stack([keep.design[:, :3], amount.design[:, 3]]))
    weights = np.random.default_rng(5).gamma(2.0, size=300)
    effect = average_product_effect(keep, amount, weights, levels)

    def at(stacked: np.ndarray, levels: tuple[float | None, float | None] = levels) -> float:
        first, second = replace(keep, coefficients=stacked[:4]), replace(amount, coefficients=stacked[4:])
        return average_product_effect(first, second, weights, levels).estimate

    stacked = np.concatenate([keep.coefficients, amount.coefficients])
    assert effect.gradient == pytest.approx(derivative(at, stacked), abs=1e-7)
    if levels[1] is not None:
        moved = derivative(lambda one: at(stacked, (levels[0], float(one[0]))), np.array([levels[1]]))
        assert effect.by_level == pytest.approx(moved[0], abs=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_level_is_met_exactly(family: Family) -> None:
    slopes = equation(family, 6, by_row=False)
    weights = np.random.default_rng(7).gamma(2.0, size=300)
    shift = average_effect(slopes, weights, 0.37).shift
    met = np.average(mean(slopes.predictors(shift)[0], family), weights=weights)
    assert met == pytest.approx(0.37, abs=1e-10)


def test_levels_of_the_equations_are_those_of_the_base(adjusted: dict[str, Linkage], panel: Panel) -> None:
    base = panel.base[panel.base["level"] == ""]
    totals = {column: float((own["mean"] * own["n"]).sum()) for column, own in base.groupby("column")}
    n = float(base.loc[base["column"] == "retained", "n"].sum())
    retained, margin = adjusted["retained"], adjusted["margin"]
    weights = retained.calibration.weights / retained.calibration.weights.sum()
    keep = special.expit(retained.slopes.predictors(retained.shift)[0])
    assert weights @ keep == pytest.approx(totals["retained"] / n, abs=1e-9)
    spend = np.exp(margin.slopes.predictors(margin.shift)[0])
    assert weights @ (keep * spend) == pytest.approx(totals["margin"] / n, rel=1e-9)
    assert adjusted["orders"].level is not None
    assert adjusted["orders"].level[0] == pytest.approx(totals["orders"] / totals["retained"], rel=1e-9)


def test_orders_given_retained_skip_periods_whose_retention_is_not_known_yet(panel: Panel) -> None:
    """A repurchase window that is not over leaves retention unknown: neither level nor rows may count those orders."""
    known = panel.last_period - 1
    rows = panel.rows.assign(retained=panel.rows["retained"].where(panel.rows["period"] < known))
    base = panel.base.copy()
    unknown = (base["column"] == "retained") & (base["period"] >= known)
    base.loc[unknown, "n"] = 0
    base.loc[unknown, ["mean", "mean_square"]] = np.nan
    orders = standard_linkages(replace(panel, rows=rows, base=base), "nps", methods=("adjusted",))["orders", "adjusted"]
    assert isinstance(orders, Linkage)
    assert orders.fitted.n_obs == int((rows["retained"] == 1).sum())
    earlier = base[(base["period"] < known) & (base["level"] == "")]
    total = {column: float((own["mean"] * own["n"]).sum()) for column, own in earlier.groupby("column")}
    assert orders.level is not None
    assert orders.level[0] == pytest.approx(total["orders"] / total["retained"], rel=1e-9)


# Weights


def test_weights_meet_their_targets() -> None:
    rng = np.random.default_rng(8)
    columns = rng.normal(size=(2_000, 3))
    targets = np.array([0.3, -0.2, 0.1])
    found = calibrate(columns, targets)
    assert np.average(columns, axis=0, weights=found.weights) == pytest.approx(targets, abs=1e-5)
    assert found.weights.mean() == pytest.approx(1.0)
    assert (found.weights > 0).all()
    assert found.imbalance_before > 0.25 > found.imbalance_after
    assert found.effective_n < 2_000


def test_weights_out_of_reach_are_trimmed_and_say_so() -> None:
    columns = np.r_[np.zeros(995), np.ones(5)][:, None]
    found = calibrate(columns, np.array([0.5]))
    assert found.trimmed == 5
    assert found.imbalance_after > 0.1
    impossible = calibrate(columns, np.array([2.0]))
    assert np.isfinite(impossible.weights).all()
    assert impossible.imbalance_after > 0.1


def test_columns_that_say_nothing_leave_equal_weights() -> None:
    found = calibrate(np.ones((10, 2)), np.array([1.0, 5.0]))
    assert (found.weights == 1).all()


def test_unequal_answering_is_weighted_to_the_base(panel: Panel, adjusted: dict[str, Linkage]) -> None:
    plan = panel.base[panel.base["column"] == "plan"]
    weights = adjusted["retained"].calibration.weights
    for level, own in plan.groupby("level"):
        share = float((own["mean"] * own["n"]).sum() / own["n"].sum())
        # 2e-3: the ridge of the weights' own fit
        assert np.average(panel.rows["plan"] == level, weights=weights) == pytest.approx(share, abs=2e-3)


def test_no_weight_exceeds_the_bound_whatever_is_asked_for() -> None:
    """A mean that nobody's answer comes near: the bound holds, so a twentieth of the answers count at least."""
    columns = np.random.default_rng(2).normal(size=(400, 1))
    found = calibrate(columns, np.array([50.0]))
    assert found.weights.max() <= 20.0 * (1 + 1e-9)
    assert found.weights.mean() == pytest.approx(1.0)
    assert found.effective_n >= 20.0


# Names and units that must not matter


@pytest.mark.parametrize("family", ["poisson", "gaussian"])
@pytest.mark.parametrize("unit", [1e-12, 1e-9, 1e15])
def test_a_fit_does_not_depend_on_the_unit_of_money(family: Family, unit: float) -> None:
    generator = np.random.default_rng(5)
    design = np.column_stack([np.ones(3_000), generator.normal(size=(3_000, 2))])
    outcome = np.exp(design @ [10.0, 0.4, -0.2]) * generator.gamma(1.0, 1.0, 3_000)
    one, other = (fit(design, outcome * by, np.arange(3_000), family=family) for by in (1.0, unit))
    stretch = 1.0 if family == "poisson" else unit
    np.testing.assert_allclose(other.coefficients[1:], one.coefficients[1:] * stretch, rtol=1e-6)
    np.testing.assert_allclose(other.std_errors[1:], one.std_errors[1:] * stretch, rtol=1e-6)


def test_a_control_far_from_zero_is_kept() -> None:
    generator = np.random.default_rng(6)
    near = generator.normal(size=(500, 1))
    design = np.column_stack([np.ones(500), 1e6 + near, near[:, 0] * 2, np.full(500, 3.0)])
    assert independent_columns(design).tolist() == [0, 1]
    assert independent_columns(design[:, :2], rows=np.arange(0, 500, 2)).tolist() == [0, 1]


def with_controls(panel: Panel, values: dict[str, Any]) -> Panel:
    """The panel with these controls only; active customers have those of the first rows."""
    first = {name: own[: len(panel.active)] for name, own in values.items()}
    rows, active = panel.rows.assign(**values), panel.active.assign(**first)
    return replace(panel, rows=rows, active=active, controls=tuple(values), segments=())


def test_controls_may_have_any_name(panel: Panel) -> None:
    """Names that hold a score's, and those that a design uses itself, give the figures of a plain name."""
    generator = np.random.default_rng(7)
    income = np.where(generator.random(len(panel.rows)) < 0.2, np.nan, generator.normal(size=len(panel.rows)))
    kind = pd.Categorical.from_codes(generator.integers(0, 2, len(panel.rows)), ["gói.nps", "b"])
    flag = generator.normal(size=len(panel.rows))

    def figures(*names: str) -> list[float]:
        values = dict(zip(names, (income, flag, kind), strict=True))
        own = with_controls(panel, values)
        found = standard_linkages(own, "nps", methods=("adjusted",))
        return [found[outcome, "adjusted"].effect.estimate for outcome in ("retained", "orders", "margin")]

    plain = figures("income", "flag", "kind")
    for names in (
        ("income", "income_missing", "unpssed"),
        ("log_observed", "Intercept", "a.nps b"),
        ("my col", "control_1", "class"),
    ):
        assert figures(*names) == pytest.approx(plain, rel=1e-9)


def test_a_control_that_holds_the_scores_name_is_not_the_score(panel: Panel) -> None:
    """A level of it that nobody leaves bars staying from being told without error, not the score."""
    stayed = panel.rows["retained"].to_numpy() == 1
    plan = pd.Categorical(np.where(stayed & (np.arange(len(stayed)) % 5 == 0), "gold", "plain"))
    own = with_controls(panel, {"cnpsx": plan})
    found = standard_linkages(own, "nps", methods=("adjusted",))["retained", "adjusted"]
    assert found.predicting
    assert not found.separated


# History net of satisfaction


def history(**changes: Any) -> NetHistory:
    return replace(NetHistory("nps", 7.0, (0.8, 0.7, 0.6), order_rate=2.0, order_shape=2.5, basket=100.0), **changes)


def purchases(score: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "nps": [score] * 4,
            "orders_now": [0.0, 1.0, 4.0, 2.0],
            "margin_now": [0.0, 90.0, 500.0, -20.0],
            "orders_before": [0.0, 0.0, 3.0, 1.5],
            "margin_before": [0.0, 0.0, 280.0, 150.0],
            "periods_before": [0.0, 0.0, 2.0, 6.0],
            "tenure": [0.0, 9.0, 9.0, 6.0],
        }
    )


def test_history_does_not_move_with_the_score_while_slopes_are_zero() -> None:
    low, high = (net_columns(purchases(score), history()) for score in (0.0, 10.0))
    for name in NET_COLUMNS:
        assert low[name].tolist() == high[name].tolist()


def test_history_by_hand() -> None:
    net = history(order_slope=0.1, basket_slope=0.05)
    found = net_columns(purchases(9.0), net)  # two points above the centre
    # four orders now where 2·exp(0.1·0.8·2) are expected; with the six of the two periods before, correlation 0.7 and 0.6
    assert found["orders_now_net"][2] == pytest.approx(np.log((2.5 + 4) / (2.5 + 2 * np.exp(0.16))))
    expected = 2 * np.exp(0.16) + 4 * np.exp(0.13)
    assert found["orders_so_far_net"][2] == pytest.approx(np.log((2.5 + 4 + 6) / (2.5 + expected)))
    assert found["basket_net"][2] == pytest.approx(np.log((500 + 560) / 10 / 100) - 0.05 * 0.65 * 2)
    # nobody known before: the last period is all, of which a customer who joined in it had half
    assert (
        found["orders_so_far_net"][0] == found["orders_now_net"][0] == pytest.approx(np.log(2.5 / (2.5 + np.exp(0.16))))
    )
    assert found["basket_net"][0] == pytest.approx(-0.05 * 0.8 * 2)


def test_orders_so_far_are_the_same_on_average_whatever_was_before() -> None:
    """Counts of customers with own gamma rates, past satisfaction and a first period that some joined in: the mean posterior is 1."""
    generator = np.random.default_rng(3)
    n, net = 200_000, history(order_slope=0.2)
    past = generator.normal(0.0, 1.5, (2, n))
    before = generator.integers(0, 7, n).astype(float)
    joined_in_data = generator.random(n) < 0.3
    share = np.where(joined_in_data, generator.random(n), 1.0)  # of the first period
    lived = np.where(before > 0, 1.0, share), np.where(before > 0, before - 1.0 + share, 0.0)
    rate = generator.gamma(net.order_shape, net.order_rate / net.order_shape, n)
    now, earlier = (generator.poisson(rate * size * np.exp(0.2 * z)) for size, z in zip(lived, past, strict=True))
    rows = pd.DataFrame(
        {
            "orders_now": now,
            "orders_before": earlier / np.maximum(before, 1.0),
            "margin_now": 0.0,
            "margin_before": 0.0,
            "periods_before": before,
            "tenure": before + np.where(joined_in_data, 0.0, 5.0),
            **dict.fromkeys(COLUMNS, 0.0),
            "satisfaction_last": past[0],
            "satisfaction_earlier": past[1],
        }
    )
    posterior = np.exp(net_columns(rows, net)["orders_so_far_net"])
    for some in (past[0] < -1, past[0] > 1, past[1] < -1, past[1] > 1, joined_in_data, joined_in_data & (before < 2)):
        own = posterior[some]
        assert abs(own.mean() - 1.0) < 4 * own.std() / np.sqrt(len(own))


def test_a_happier_customer_needs_more_orders_to_look_the_same() -> None:
    net = history(order_slope=0.1)
    unhappy, happy = (net_columns(purchases(score), net)["orders_now_net"] for score in (3.0, 10.0))
    assert (unhappy > happy).all()


def test_netting_reaches_its_fixed_point(adjusted: dict[str, Linkage]) -> None:
    net = adjusted["orders"].design.preparation.net
    assert net is not None
    assert net.nets
    # the netting stops when assumed and fitted slope agree; a hundredth of the slope's own error is 2e-4
    assert slope(adjusted["orders"]) == pytest.approx(net.order_slope, abs=1e-4)


def test_error_of_the_netted_slope_is_that_of_a_customer_bootstrap(panel: Panel) -> None:
    """Everything learnt from the rows, correlations and rates too, is learnt again in every resample."""
    rng = np.random.default_rng(9)
    rows = panel.rows[panel.rows["retained"] == 1].reset_index(drop=True)
    small = replace(panel, rows=rows.assign(retained=np.nan, margin=np.nan), controls=(), segments=())
    customers, first = np.unique(rows["customer"], return_index=True)
    last = np.r_[first[1:], len(rows)]
    found = []
    for _ in range(60):
        picked = rng.integers(0, len(customers), len(customers))
        index = np.concatenate([np.arange(first[one], last[one]) for one in picked])
        codes = np.repeat(np.arange(len(picked)), (last - first)[picked])
        again = replace(small, rows=small.rows.iloc[index].assign(customer=codes).reset_index(drop=True))
        one = standard_linkages(again, "nps", methods=("adjusted",))["orders", "adjusted"]
        assert isinstance(one, Linkage)
        found.append(slope(one))
    own = standard_linkages(small, "nps", methods=("adjusted",))["orders", "adjusted"]
    assert isinstance(own, Linkage)
    error = float(own.tidy().set_index("term").loc["nps", "std_error"])
    # 60 resamples know a standard deviation to 1/sqrt(120) = 9 %; three of those
    assert error == pytest.approx(np.std(found, ddof=1), rel=0.28)


def test_influence_of_customers_is_what_leaving_them_out_does(panel: Panel, adjusted: dict[str, Linkage]) -> None:
    """Grouped jackknife of the whole procedure; without the error of the slope of baskets margin's would be 7 % too small."""
    groups = 20
    for outcome in ("orders", "margin"):
        whole = adjusted[outcome]
        own = whole.fitted.contributions(np.eye(len(whole.fitted.coefficients))[whole.design.columns.index("nps")])
        stated = -np.bincount(whole.fitted.clusters % groups, weights=own, minlength=groups)
        found = []
        for group in range(groups):
            rows = panel.rows[panel.rows["customer"] % groups != group].reset_index(drop=True)
            left = standard_linkages(replace(panel, rows=rows), "nps", methods=("adjusted",))[outcome, "adjusted"]
            assert isinstance(left, Linkage)
            found.append(slope(left) - slope(whole))
        # to first order every group moves the slope by its share, and what is left is 19 twentieths of the data
        assert float(stated @ found) / float(stated @ stated) * (1 - 1 / groups) == pytest.approx(1.0, abs=0.035)


def test_answers_given_once_warn_and_are_estimated(panel: Panel) -> None:
    rows = panel.rows.drop_duplicates("customer").reset_index(drop=True)
    found = standard_linkages(replace(panel, rows=rows), "nps", methods=("adjusted",))["orders", "adjusted"]
    assert isinstance(found, Linkage)
    check = found.checks().set_index("name").loc["history net of satisfaction"]
    assert check["verdict"] == "warn"
    assert "too low" in check["advice"]
    assert np.isfinite(found.std_error)


def test_rows_of_levels_without_any_are_left_out_and_a_gap_is_a_level(panel: Panel) -> None:
    few = panel.rows.head(8).assign(
        referrals=[1.0, 0, 0, 0, 0, 2, 0, 0], plan=pd.Categorical(["a", "a", "b", None, None, None, "c", "c"]), period=1
    )
    kept = _in_levels_with_any(few, np.arange(8), "referrals", "nps + plan + period_label")
    assert kept.tolist() == [True, True, False, True, True, True, False, False]
    none = _in_levels_with_any(few.assign(referrals=0.0), np.arange(8), "referrals", "nps + plan")
    assert none.all()  # nothing to tell them apart by


# Separation


def test_a_score_that_separates_is_refused(panel: Panel) -> None:
    score = np.where(panel.rows["retained"] == 1, 9.0, 3.0)
    found = estimate(replace(panel, rows=panel.rows.assign(nps=score)))
    table = found.tidy()
    assert not table["headline"].any()
    retained = table[(table["outcome"] == "retained") & table["estimate"].isna()]
    assert retained["method"].str.startswith("not estimated: separation (nps").tolist() == [True]
    assert (table.loc[table["estimate"].notna(), "evidence"] == "association").all()
    checks = found.checks().query("name == 'separation' and outcome == 'retained'")
    assert checks["verdict"].tolist() == ["fail"]


def test_a_control_that_separates_costs_neither_headline_nor_value(panel: Panel) -> None:
    """One plan whose few customers all stayed must not switch the figures off, nor make the raw one the headline."""
    stayed = np.flatnonzero(panel.rows["retained"] == 1)[::40]
    plan = panel.rows["plan"].astype("object").to_numpy().copy()
    plan[stayed] = "only stayers"
    linkages = {}
    for name, rows in (("as it is", panel.rows), ("separated", panel.rows.assign(plan=pd.Categorical(plan)))):
        linkages[name] = standard_linkages(replace(panel, rows=rows), "nps", methods=("adjusted",))
    separated, plain = linkages["separated"]["retained", "adjusted"], linkages["as it is"]["retained", "adjusted"]
    assert isinstance(separated, Linkage)
    assert isinstance(plain, Linkage)
    assert separated.predicting == ("plan[T.only stayers]",)
    assert separated.separated == ()
    assert separated.checks().set_index("name").loc["separation", "verdict"] == "warn"
    assert isinstance(linkages["separated"]["margin", "adjusted"], Linkage)
    # the score is unrelated to the made-up plan: its effect moves by less than half of its error
    assert separated.effect.estimate == pytest.approx(plain.effect.estimate, abs=plain.std_error / 2)
    headlines = estimate(replace(panel, rows=panel.rows.assign(plan=pd.Categorical(plan)))).glance()
    assert headlines["method"].tolist() == ["calibrated"] * 5


def test_direction_of_separation_names_the_columns() -> None:
    x = np.array([1.0, 2, 3, 4, 5, 6])
    noise = np.array([1.0, -1, 1, 1, -1, 1])
    found = separating_direction(np.column_stack([np.ones(6), x, noise]), (x > 3) * 1.0)
    assert found is not None
    assert found[1] > 0
    overlapping = np.array([0.0, 1, 0, 1, 0, 1])
    assert separating_direction(np.column_stack([np.ones(6), x]), overlapping) is None


def test_firth_never_shares_clusters_with_another_equation() -> None:
    rng = np.random.default_rng(10)
    design = np.column_stack([np.ones(40), rng.normal(size=40)])
    clusters = np.arange(40)
    penalised = firth(design, (design[:, 1] > 0) * 1.0, clusters)
    other = fit(design, rng.normal(size=40), clusters, family="gaussian")
    joint = joint_covariance([penalised, other])
    assert (joint[:2, 2:] == 0).all()
    assert joint[:2, :2] == pytest.approx(penalised.covariance)


# The table of estimates


def test_columns_are_those_of_the_contract(panel: Panel) -> None:
    assert list(estimate(panel).tidy().columns) == CONTRACT_COLUMNS


def test_one_headline_for_each_estimable_outcome_and_score(sample: Path) -> None:
    table = estimate(build_panel(read_tables(sample)), draws=50).tidy()
    counts = table.groupby(["outcome", "exposure"])["headline"].sum()
    estimated = table[table["estimand"] == "ame"].groupby(["outcome", "exposure"])["estimate"].count() > 0
    assert (counts == estimated.astype(int)).all()
    assert set(counts.index.get_level_values("outcome")) >= {"retained", "orders", "margin", "ltv"}
    missing = table[table["estimate"].isna()]
    assert missing["method"].str.startswith("not estimated: ").all()
    given = table[table["estimate"].notna()]
    assert (given["conf_low"] < given["estimate"]).all()
    assert (given["estimate"] < given["conf_high"]).all()
    assert (table.loc[table["headline"], "estimand"] == "ame").all()


@pytest.mark.parametrize(
    ("timing", "rung"), [("before", "adjusted"), ("inside", "association"), ("undated", "association")]
)
def test_evidence_follows_the_timing(panel: Panel, timing: Any, rung: str) -> None:
    assert grade("adjusted", timing) == rung
    assert grade("raw", timing) == "association"
    table = estimate(replace(panel, timing=timing)).glance()
    assert set(table["evidence"]) == {rung}


def test_same_bytes_again_and_with_one_or_two_threads(folder: Path, tmp_path: Path) -> None:
    written = []
    for number, threads in enumerate((1, 2, 2)):
        if number < 2:
            tables = read_tables(folder)
            assert tables.engine is not None
            tables.engine.connection.execute(f"SET threads = {threads}")
            built = build_panel(tables)
        estimate(replace(built, metrics=("nps", "csat")), draws=20).to_csv(str(tmp_path / f"{number}.csv"))
        written.append((tmp_path / f"{number}.csv").read_bytes())
    assert written[0] == written[1] == written[2]
    assert b"\r" not in written[0]
    assert written[0].splitlines()[0].decode() == ",".join(CONTRACT_COLUMNS)


def reasons(panel: Panel) -> dict[str, str]:
    """Reason for each outcome without any estimate."""
    table = estimate(panel).tidy()
    assert not table.loc[table["outcome"] != "ltv", "headline"].all()
    empty = table[table["estimate"].isna() & (table["outcome"] != "ltv")]
    return dict(zip(empty["outcome"], empty["method"], strict=True))


def test_too_few_customers(panel: Panel) -> None:
    rows = panel.rows[panel.rows["customer"] < panel.rows["customer"].unique()[30]].reset_index(drop=True)
    assert reasons(replace(panel, rows=rows))["orders"].endswith("at least 50 are needed")


def test_too_few_who_left(panel: Panel) -> None:
    left = panel.rows["retained"] == 0
    rows = panel.rows[~left | (left.cumsum() <= 9)].reset_index(drop=True)
    found = reasons(replace(panel, rows=rows))
    assert found["retained"] == "not estimated: 9 answers of customers who left; at least 10 are needed"
    assert found["margin"].startswith("not estimated: retention cannot be estimated")
    assert "orders" not in found


def test_one_answer_for_everybody(panel: Panel) -> None:
    found = reasons(replace(panel, rows=panel.rows.assign(nps=7.0)))
    assert set(found.values()) == {"not estimated: every answer is the same"}
    assert set(found) == {"retained", "orders", "margin", "referrals", "service_cost"}


def test_outcomes_that_are_not_in_the_data_say_so_once(panel: Panel) -> None:
    bare = replace(panel, rows=panel.rows.drop(columns=["referrals", "service_cost"]), value_terms=None)
    table = estimate(bare, exposures=("nps",)).tidy().set_index("outcome")
    for outcome in ("referrals", "service_cost"):
        assert np.isnan(table.loc[outcome, "estimate"])
        assert table.loc[outcome, "method"].startswith("not estimated: the data have no ")
        assert not table.loc[outcome, "headline"]
    rare = replace(bare, rows=panel.rows.assign(referrals=(panel.rows.index < 9).astype(float)))
    assert not_estimable(rare, "referrals", "nps").endswith(
        "answers are followed by any referrals; at least 10 are needed"
    )


def test_referrals_and_cost_to_serve_count_those_who_left_as_nothing(adjusted: dict[str, Linkage]) -> None:
    """Average over the base of staying times the amount of those who stay, set to the base's own level."""
    for outcome in ("referrals", "service_cost"):
        linkage = adjusted[outcome]
        retention = linkage.retention
        assert retention is not None
        assert linkage.fitted.family == "poisson"
        weights = linkage.calibration.weights
        now, more = (
            special.expit(keeps) * np.exp(amount)
            for keeps, amount in zip(
                retention.slopes.predictors(retention.shift), linkage.slopes.predictors(linkage.shift), strict=True
            )
        )
        assert linkage.level is not None
        assert float(np.average(now, weights=weights)) == pytest.approx(linkage.level[0], rel=1e-9)
        assert linkage.effect.estimate == pytest.approx(float(np.average(more - now, weights=weights)), rel=1e-9)


def test_a_period_without_any_referral_leaves_the_figures_finite(panel: Panel) -> None:
    quiet = panel.rows["period"] == panel.rows["period"].max()
    rows = panel.rows.assign(referrals=panel.rows["referrals"].where(~quiet, 0.0))
    found = standard_linkages(replace(panel, rows=rows), "nps", methods=("adjusted",))["referrals", "adjusted"]
    busy = replace(panel, rows=rows[~quiet].reset_index(drop=True))
    known = standard_linkages(busy, "nps", methods=("adjusted",))["referrals", "adjusted"]
    assert isinstance(found, Linkage)
    assert isinstance(known, Linkage)
    assert found.fitted.converged
    assert np.isfinite(found.std_error)
    # the quiet period tells nothing of the slope
    assert slope(found) == pytest.approx(slope(known), abs=known.tidy().set_index("term").loc["nps", "std_error"] / 4)


def test_no_retention_rule(panel: Panel) -> None:
    bare = replace(panel, rows=panel.rows.assign(retained=np.nan), retention="")
    assert "no retention rule" in reasons(bare)["retained"]


# One equation


@pytest.mark.parametrize("later", ["orders", "margin", "retained", "revenue", "customer"])
def test_what_happens_later_is_no_control(panel: Panel, later: str) -> None:
    outcome = "retained" if later != "retained" else "margin"
    with pytest.raises(InputError, match=f"must hold what was known before the outcome; {later} is not a control"):
        fit_linkage(panel, f"{outcome} ~ nps + {later}")


def test_one_score_and_a_known_outcome_are_asked_for(panel: Panel) -> None:
    with pytest.raises(InputError, match="exactly one score"):
        fit_linkage(panel, "retained ~ nps + csat")
    with pytest.raises(InputError, match="exactly one score"):
        fit_linkage(panel, "retained ~ age")
    with pytest.raises(InputError, match="left side of a linkage must be one of"):
        fit_linkage(panel, "nps ~ age")
    with pytest.raises(InputError, match="must have answers to ces"):
        fit_linkage(panel, "retained ~ ces")
    with pytest.raises(InputError, match="terms joined by \\+"):
        fit_linkage(panel, "retained ~ nps +")
    with pytest.raises(InputError, match="agee cannot be found or computed"):
        fit_linkage(panel, "retained ~ nps + agee")


def test_interactions_shift_every_row_by_its_own_slope(panel: Panel) -> None:
    """With nps × age the shift differs between rows; the average effect is that of refitted predictions one point up."""
    found = fit_linkage(panel, "retained ~ nps * age", weights="none")
    terms = found.tidy().set_index("term")["estimate"]
    now = found.design.matrix @ found.fitted.coefficients
    higher = now + terms["nps"] + terms["nps:age"] * panel.rows["age"].to_numpy()
    by_hand = float((special.expit(higher) - special.expit(now)).mean())
    assert found.effect.estimate == pytest.approx(by_hand, rel=1e-9)


def test_controls_of_any_name_and_text_are_held_fixed(panel: Panel) -> None:
    """Names and levels that a formula could trip over give the figures of plain ones."""
    names = {"age": "a b; import os", "plan": "C", "region": "vùng `x`"}
    odd = {"North": "[T.x]", "South": "a + b"}
    regions = panel.rows["region"].astype("object")
    odd = dict(zip(sorted(regions.unique()), ("[T.x]", "a + b", "Đà Nẵng", "nps", "0", "<b>", ":"), strict=False))
    rows = panel.rows.assign(region=pd.Categorical(regions.map(lambda level: odd.get(level, level))))
    base = panel.base.assign(
        column=panel.base["column"].replace(names),
        level=panel.base["level"].where(panel.base["column"] != "region", panel.base["level"].replace(odd)),
    )
    known = panel.active["region"].astype("object").map(lambda level: odd.get(level, level))
    renamed = replace(
        panel,
        rows=rows.rename(columns=names),
        active=panel.active.assign(region=pd.Categorical(known)).rename(columns=names),
        base=base,
        controls=tuple(names[column] for column in panel.controls),
        segments=(),
    )
    for method in ("adjusted", "calibrated"):
        plain = standard_linkages(replace(panel, segments=()), "nps", methods=(method,))["retained", method]
        found = standard_linkages(renamed, "nps", methods=(method,))["retained", method]
        assert isinstance(plain, Linkage)
        assert isinstance(found, Linkage)
        assert found.effect.estimate == pytest.approx(plain.effect.estimate, rel=1e-6)
        assert found.std_error == pytest.approx(plain.std_error, rel=1e-6)


def test_gaps_in_controls_keep_their_rows(panel: Panel) -> None:
    age = panel.rows["age"].where(panel.rows["customer"] % 3 != 0)
    found = standard_linkages(replace(panel, rows=panel.rows.assign(age=age)), "nps", methods=("adjusted",))
    retained = found["retained", "adjusted"]
    assert isinstance(retained, Linkage)
    assert retained.fitted.n_obs == len(panel.rows)
    assert "age_missing" in retained.design.columns


def test_results_follow_their_rows_when_a_panel_is_replaced(panel: Panel) -> None:
    first = panel.answered("nps")
    half = panel.rows.iloc[: len(panel.rows) // 2].reset_index(drop=True)
    assert len(replace(panel, rows=half).answered("nps")) == len(half) < len(first)


def test_augment_holds_no_ids_and_adds_up(adjusted: dict[str, Linkage]) -> None:
    found = adjusted["retained"].augment()
    assert "customer_id" not in found
    # a logit with a constant predicts as many as there were
    assert found["fitted"].sum() == pytest.approx(found["retained"].sum(), rel=1e-9)
    assert abs(found["residual"].sum()) < 1e-6
