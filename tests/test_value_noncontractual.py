"""Purchase models and margin per purchase: published figures, derivatives, integrals and drawn data of known parameters."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special

from cxroi.errors import InputError
from cxroi.value import noncontractual, spend
from cxroi.value.histories import PurchaseHistories, purchase_histories_of
from cxroi.value.noncontractual import (
    NAMES,
    Model,
    PurchaseModel,
    beta_nodes,
    draw_log_parameters,
    fit_bg_nbd,
    fit_mbg_nbd,
    fit_pareto_nbd,
    fit_purchases,
    like_histories,
)
from cxroi.value.spend import SpendModel, fit_gamma_gamma

MODELS: tuple[Model, ...] = ("bg_nbd", "mbg_nbd", "pareto_nbd")
TRUE: dict[Model, dict[str, float]] = {
    "bg_nbd": {"r": 0.8, "alpha": 6.0, "a": 0.8, "b": 2.5},
    "mbg_nbd": {"r": 0.8, "alpha": 6.0, "a": 0.8, "b": 2.5},
    "pareto_nbd": {"r": 0.8, "alpha": 6.0, "s": 0.7, "beta": 12.0},
}
CDNOW_BG = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}


def fitted(found: PurchaseModel | str) -> PurchaseModel:
    assert isinstance(found, PurchaseModel), found
    return found


def columns(histories: PurchaseHistories) -> list[np.ndarray]:
    return [histories.table[name].to_numpy(dtype=float) for name in ("frequency", "recency", "age")]


def total(model: PurchaseModel, histories: PurchaseHistories, time: float) -> float:
    return float(histories.table["customers"] @ model.expected_purchases(time, *columns(histories)))


def drawn(model: Model, customers: int, seed: int = 3) -> PurchaseHistories:
    generator = np.random.default_rng(seed)
    ages = np.round(generator.uniform(30, 80, customers))
    return PurchaseModel.of(model, TRUE[model]).history_draws(ages, generator=generator)


# ------------------------------------------------------------------------------------------------------- published figures


@pytest.fixture(scope="module")
def cdnow(realdata: Path) -> pd.DataFrame:
    return pd.read_csv(realdata / "cdnow" / "cdnow_sample_cbs.csv").rename(columns={"T_cal": "T"})


@pytest.fixture(scope="module")
def histories(cdnow: pd.DataFrame) -> PurchaseHistories:
    return purchase_histories_of(cdnow)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("model", "parameters", "log_likelihood", "held_out"),
    [
        ("bg_nbd", (0.242598, 4.413684, 0.792990, 2.426167), -9582.43, 1653.39),
        ("pareto_nbd", (0.5532861, 10.577795, 0.6061883, 11.66685), -9594.98, 1665.43),
    ],
)
def test_cdnow_published(
    histories: PurchaseHistories,
    model: Model,
    parameters: tuple[float, ...],
    log_likelihood: float,
    held_out: float,
) -> None:
    """Fader, Hardie & Lee (2005), Marketing Science 24:275, tables 2 and 3, in the digits of the BTYD package."""
    found = fitted(fit_purchases(model, histories))
    assert list(found.parameters.values()) == pytest.approx(parameters, rel=1e-3)  # other optimisers stop at 1e-4
    assert found.log_likelihood == pytest.approx(log_likelihood, abs=0.05)
    assert total(found, histories, 39.0) == pytest.approx(held_out, rel=1e-3)
    assert (found.checks()["verdict"] == "pass").all()


@pytest.mark.realdata
def test_cdnow_example_customer(histories: PurchaseHistories) -> None:
    """Two repeat purchases, the last after 30.43 of 38.86 weeks: 1.226 purchases in 39 weeks, alive with 0.7266."""
    found = fitted(fit_bg_nbd(histories))
    assert found.expected_purchases(39.0, [2.0], [30.43], [38.86])[0] == pytest.approx(1.225897, rel=1e-3)
    assert found.probability_alive([2.0], [30.43], [38.86])[0] == pytest.approx(0.726607, rel=1e-3)


@pytest.mark.realdata
def test_400_copies_cost_and_say_the_same(cdnow: pd.DataFrame, histories: PurchaseHistories) -> None:
    many = purchase_histories_of(cdnow.assign(customers=400))
    assert len(many.table) == len(histories.table) == 1016
    one, all_ = fitted(fit_bg_nbd(histories)), fitted(fit_bg_nbd(many))
    assert all_.log_parameters == pytest.approx(one.log_parameters, abs=1e-5)
    assert all_.log_likelihood == pytest.approx(400 * one.log_likelihood, rel=1e-9)
    np.testing.assert_allclose(all_.covariance * 400, one.covariance, rtol=1e-3)


@pytest.mark.realdata
def test_online_retail_weak_identification_is_said_not_a_crash(realdata: Path) -> None:
    log = pd.read_parquet(realdata / "online_retail" / "online_retail.parquet")
    kept = log["CustomerID"].notna() & ~log["InvoiceNo"].astype(str).str.startswith("C")
    log = log[kept & (log["Quantity"] > 0) & (log["UnitPrice"] > 0)]
    days = log.assign(day=pd.to_datetime(log["InvoiceDate"]).dt.normalize())[["CustomerID", "day"]].drop_duplicates()
    each = days.groupby("CustomerID")["day"].agg(["min", "max", "size"])
    age = (pd.Timestamp("2011-12-09") - each["min"]).dt.days
    summary = pd.DataFrame({"x": each["size"] - 1, "t_x": (each["max"] - each["min"]).dt.days, "T": age})
    histories = purchase_histories_of(summary.astype(float), unit_days=1.0)
    found = fitted(fit_bg_nbd(histories))
    assert found.parameters["r"] == pytest.approx(0.826542, rel=1e-3)
    assert found.parameters["alpha"] == pytest.approx(68.90512, rel=1e-3)
    assert found.parameters["a"] == pytest.approx(0.003437, rel=0.05)
    assert found.parameters["b"] == pytest.approx(6.745116, rel=0.05)
    weak = found.checks().set_index("name").loc["identification"]
    assert weak["verdict"] == "warn"
    assert "a and b rise together" in weak["advice"]
    # a and b are open by orders of magnitude, what is expected of the customers is not
    draws = found.parameter_draws(np.random.default_rng(1), 100)
    sums = [total(found.with_parameters(one), histories, 91.0) for one in draws[:40]]
    assert np.log(draws[:, 2]).std() > 2.0
    assert np.std(sums) / total(found, histories, 91.0) < 0.02
    # nobody is seen to be lost, so the Pareto/NBD model's s and β run off
    pareto = fitted(fit_pareto_nbd(histories)).checks().set_index("name").loc["identification"]
    assert (pareto["verdict"], "s, beta runs off" in pareto["advice"]) == ("warn", True)


# --------------------------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at", [(0.3, 5.0, 0.9, 2.0), (2.0, 5.0, 0.03, 0.2), (0.5, 100.0, 2.0, 4.0)])
def test_gradient_against_central_differences(model: Model, at: tuple[float, ...]) -> None:
    counts = noncontractual._counts(drawn(model, 200))
    objective = noncontractual._objective(model, counts)
    point, step = np.log(at), 1e-5
    found = [(objective(point + step * e)[0] - objective(point - step * e)[0]) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(objective(point)[1], found, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("x", [0.0, 1.0, 7.0, 150.0])
@pytest.mark.parametrize(("alpha", "beta"), [(10.0, 0.2), (0.2, 10.0), (3.0, 3.0), (1.0, 5_000.0)])
def test_integral_over_the_time_of_loss_against_quadrature(x: float, alpha: float, beta: float) -> None:
    r, s, age = 0.5, 0.6, 300.0
    t_x = 0.0 if x == 0 else 120.0
    found = noncontractual._lost_integral((r, alpha, s, beta), np.array([x]), np.array([t_x]), np.array([age]))[0][0]

    def relative(u: float) -> float:
        return float(((alpha + u) / (alpha + t_x)) ** -(r + x) * ((beta + u) / (beta + t_x)) ** -(s + 1))

    edges = t_x + np.r_[0.0, np.geomspace(1e-4, 1.0, 40)] * (age - t_x)
    parts = [integrate.quad(relative, *ends, epsabs=0, epsrel=1e-12)[0] for ends in itertools.pairwise(edges)]
    expected = np.log(sum(parts)) - (r + x) * np.log(alpha + t_x) - (s + 1) * np.log(beta + t_x)
    assert found == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("alpha", "beta"), [(10.58, 11.67), (12.0, 4.0)])
def test_pareto_likelihood_is_gauss_hypergeometric(alpha: float, beta: float) -> None:
    """The two-sided form of Fader & Hardie (2005), note 009, on a customer with 2 repeat purchases."""
    r, s, x, t_x, age = 0.55, 0.61, 2.0, 30.43, 38.86
    high, shape = max(alpha, beta), (s + 1.0 if alpha >= beta else r + x)

    def part(t: float) -> float:
        value = special.hyp2f1(r + s + x, shape, r + s + x + 1.0, abs(alpha - beta) / (high + t))
        return float(value / (high + t) ** (r + s + x))

    a_0 = part(t_x) - part(age)
    factor = special.gamma(r + x) * alpha**r * beta**s / special.gamma(r)
    expected = factor * ((alpha + age) ** -(r + x) * (beta + age) ** -s + s / (r + s + x) * a_0)
    counts = noncontractual._Counts(np.array([x]), np.array([t_x]), np.array([age]), np.ones(1))
    found = noncontractual._objective("pareto_nbd", counts)(np.log([r, alpha, s, beta]))[0]
    assert found == pytest.approx(np.log(expected), rel=1e-10)


@pytest.mark.parametrize(("first", "second"), [(0.8, 2.4), (0.003, 6.7), (1.0, 1.0), (40.0, 900.0), (0.3, 0.7)])
def test_beta_nodes_give_moments(first: float, second: float) -> None:
    places, weights = beta_nodes(np.array(first), np.array(second), 24)
    assert weights.sum() == pytest.approx(1.0, rel=1e-12)
    for power in (1, 2, 5):
        exact = np.exp(special.betaln(first + power, second) - special.betaln(first, second))
        assert float(weights @ places**power) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("x", [0.0, 2.0, 12.0])
@pytest.mark.parametrize("from_first", [False, True])
def test_expected_purchases_are_gauss_hypergeometric(x: float, *, from_first: bool) -> None:
    """Fader, Hardie & Lee (2005), equation 10; Batislam et al. (2007) with one more chance to be lost."""
    r, alpha, a, b, age, t = 0.243, 4.414, 0.793, 2.426, 38.86, 39.0
    t_x = 0.0 if x == 0 else 20.0
    kept = b + x + from_first
    z = t / (alpha + age + t)
    bracket = 1 - ((alpha + age) / (alpha + age + t)) ** (r + x) * special.hyp2f1(r + x, kept, a + kept - 1, z)
    found = PurchaseModel.of("mbg_nbd" if from_first else "bg_nbd", CDNOW_BG)
    alive = found.probability_alive([x], [t_x], [age])[0]
    expected = (a + kept - 1) / (a - 1) * bracket * alive
    assert found.expected_purchases(t, [x], [t_x], [age])[0] == pytest.approx(expected, rel=1e-8)
    odds = a / (kept - 1) * ((alpha + age) / (alpha + t_x)) ** (r + x)
    assert alive == pytest.approx(1.0 if x == 0 and not from_first else 1 / (1 + odds), rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [(1.0, 2.4), (0.3, 0.7)])
def test_nothing_breaks_where_the_closed_form_divides_by_zero(a: float, b: float) -> None:
    """a = 1, and a + b = 1 for a customer without repeats: the mean over the beta distribution has no singularity there."""
    model = PurchaseModel.of("bg_nbd", {"r": 0.5, "alpha": 4.0, "a": a, "b": b})

    def purchases(power: float) -> float:
        p = power ** (1 / a)  # the substitution takes the end of the beta density away
        rate = -np.expm1(-0.5 * np.log1p(p * 39.0 / 34.0)) / p if p > 1e-200 else 0.5 * 39.0 / 34.0
        return float(rate * (1 - p) ** (b - 1) / a / special.beta(a, b))

    middle = 0.9
    ends = [integrate.quad(purchases, 0, middle)[0], integrate.quad(purchases, middle, 1, limit=400)[0]]
    assert model.expected_purchases(39.0, [0.0], [0.0], [30.0])[0] == pytest.approx(sum(ends), rel=1e-5)


def test_expected_purchases_of_several_horizons_are_those_of_each() -> None:
    model = PurchaseModel.of("bg_nbd", CDNOW_BG)
    together = model.expected_purchases([13.0, 39.0], [0.0, 2.0], [0.0, 30.0], [38.0, 38.0])
    assert together.shape == (2, 2)
    assert together[:, 1] == pytest.approx(model.expected_purchases(39.0, [0.0, 2.0], [0.0, 30.0], [38.0, 38.0]))
    with pytest.raises(InputError, match="at least 0"):
        model.expected_purchases(-1.0, [0.0], [0.0], [38.0])


def test_survival_of_new_customers() -> None:
    """Pareto: (β/(β+t))^s. BG/NBD: Gauss's function. The median solves it; None where it lies beyond the horizon."""
    pareto = PurchaseModel.of("pareto_nbd", TRUE["pareto_nbd"])
    assert pareto.survival_of_new(39.0) == pytest.approx((12 / 51) ** 0.7)
    assert pareto.median_lifetime(1e4) == pytest.approx(12 * (2 ** (1 / 0.7) - 1), rel=1e-6)
    assert pareto.median_lifetime(10.0) is None
    bg = PurchaseModel.of("bg_nbd", CDNOW_BG)
    assert bg.survival_of_new(39.0) == pytest.approx(special.hyp2f1(0.243, 0.793, 0.793 + 2.426, -39 / 4.414), rel=1e-9)
    # the probability to be alive of those who were not seen again after t: nobody is lost without a purchase
    mbg = PurchaseModel.of("mbg_nbd", CDNOW_BG)
    assert mbg.survival_of_new(0.0) == pytest.approx(2.426 / (0.793 + 2.426), rel=1e-9)


# ----------------------------------------------------------------------------------------------------------- drawn data


@pytest.mark.parametrize("model", MODELS)
def test_parameters_of_drawn_data_come_back(model: Model) -> None:
    """20,000 customers: every log parameter within 3.5 standard errors of the truth (chance: 1 in 500 for four)."""
    histories = drawn(model, 20_000)
    found = fitted(fit_purchases(model, histories))
    apart = found.log_parameters - np.log(list(TRUE[model].values()))
    assert (np.abs(apart) < 3.5 * np.sqrt(np.diag(found.covariance))).all()
    true = total(PurchaseModel.of(model, TRUE[model]), histories, 52.0)
    assert total(found, histories, 52.0) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize("model", MODELS)
def test_futures_drawn_agree_with_those_expected(model: Model) -> None:
    """Of new customers and of customers with a history; means of 40,000, within 4 Monte-Carlo errors."""
    true = PurchaseModel.of(model, TRUE[model])
    generator = np.random.default_rng(8)
    histories = true.history_draws(np.full(40_000, 40.0), generator=generator)
    table = histories.table
    made = float(table["customers"] @ table["frequency"]) / 40_000
    spread = float(np.sqrt(table["customers"] @ table["frequency"] ** 2)) / 40_000
    assert abs(made - float(true.expected_of_new(40.0))) < 4 * spread
    rows = generator.choice(len(table), 40_000)
    own = [each[rows] for each in columns(histories)]
    times = np.array([13.0, 26.0])
    apart = true.purchase_draws(times, *own, generator=generator) - true.expected_purchases(times, *own)
    assert (np.abs(apart.mean(axis=0)) < 4 * apart.std(axis=0) / 200).all()


def test_range_of_90_percent_holds_the_total_in_nine_of_ten_data_sets() -> None:
    """Of 40 data sets 36 are expected to be inside; fewer than 29 is four binomial errors away."""
    true, inside = PurchaseModel.of("bg_nbd", TRUE["bg_nbd"]), 0
    for seed in range(40):
        generator = np.random.default_rng([seed, 2])
        histories = true.history_draws(np.round(generator.uniform(30, 60, 600)), generator=generator)
        found = fitted(fit_bg_nbd(histories))
        place = like_histories(*columns(histories), most=60)
        weight = histories.table["customers"].to_numpy(dtype=float)
        size = np.bincount(place, weights=weight)
        x, recency, age = (np.bincount(place, weights=weight * each) / size for each in columns(histories))
        cells = np.where(recency > 0, np.maximum(np.round(x), 1.0), 0.0), recency, age  # few distinct ones, so fast
        draws = found.expected_draws(found.parameter_draws(generator, 60), np.array([26.0]), *cells)
        low, high = np.quantile(draws[:, :, 0] @ size, [0.05, 0.95])
        inside += bool(low <= size @ true.expected_purchases(26.0, *cells) <= high)
    assert inside >= 29


def test_draws_follow_the_covariance_where_nothing_is_flat() -> None:
    found = fitted(fit_bg_nbd(drawn("bg_nbd", 5_000)))
    draws = np.log(found.parameter_draws(np.random.default_rng(5), 4_000))
    errors = np.sqrt(np.diag(found.covariance))
    # 4,000 draws: a correlation is known to within 0.016
    np.testing.assert_allclose(np.cov((draws / errors).T), found.covariance / np.outer(errors, errors), atol=0.08)


def test_draws_lie_on_contours_where_a_direction_is_flat() -> None:
    """A likelihood of one parameter that falls as fast as a normal one of deviation 0.5, its curvature taken for far too flat."""

    def heights(at: np.ndarray) -> np.ndarray:
        return -0.5 * (at[:, 0] / 0.5) ** 2

    draws = draw_log_parameters(
        heights, np.zeros(1), np.array([[9.0]]), generator=np.random.default_rng(2), draws=4_000
    )
    assert draws.std() == pytest.approx(0.5, rel=0.05)


def test_too_few_customers_is_a_reason() -> None:
    few = purchase_histories_of(pd.DataFrame({"x": [0.0] * 40, "t_x": [0.0] * 40, "T": [9.0] * 40}))
    for fit in (fit_bg_nbd, fit_mbg_nbd, fit_pareto_nbd):
        assert fit(few) == "40 customers, 0 with a repeat purchase; at least 30 and 10 are needed"


def test_tables_of_a_fit() -> None:
    found = fitted(fit_mbg_nbd(drawn("mbg_nbd", 2_000)))
    table = found.tidy()
    assert list(table["parameter"]) == list(NAMES["mbg_nbd"])
    assert ((table["conf_low"] < table["estimate"]) & (table["estimate"] < table["conf_high"])).all()
    assert found.glance()["customers"].iloc[0] == 2_000
    assert list(found.checks()["name"]) == ["convergence", "starts agree", "identification"]


def test_cells_of_like_histories_stand_for_all() -> None:
    histories = drawn("pareto_nbd", 3_000)
    counts = noncontractual._counts(histories)
    cells = counts.coarsened(400)
    assert len(cells.x) <= 400 < len(counts.x)
    for name in ("x", "recency", "age"):
        exact = counts.customers @ getattr(counts, name)
        assert cells.customers @ getattr(cells, name) == pytest.approx(exact, rel=1e-12)
    found = fitted(fit_pareto_nbd(histories))
    near = cells.customers @ found.expected_purchases(26.0, cells.x, cells.recency, cells.age)
    assert near == pytest.approx(total(found, histories, 26.0), rel=0.005)


# ----------------------------------------------------------------------------------------------------- margin per purchase


def spent(found: SpendModel | str) -> SpendModel:
    assert isinstance(found, SpendModel), found
    return found


@pytest.mark.realdata
def test_cdnow_gamma_gamma_published(realdata: Path) -> None:
    """Fader & Hardie (2013), note 025: p 6.25, q 3.74, gamma 15.44 on 946 repeat customers; mean 35.17, correlation 0.11."""
    summary = pd.read_csv(realdata / "cdnow" / "cdnow_sample_summary_with_spend.csv").query("x > 0")
    found = spent(fit_gamma_gamma(summary["x"], summary["zbar"]))
    assert list(found.parameters.values()) == pytest.approx((6.248647, 3.744626, 15.44838), rel=1e-3)
    assert found.population_mean == pytest.approx(35.1711, rel=1e-4)
    assert found.correlation == pytest.approx(0.113884, abs=1e-6)
    assert found.customers == 946
    assert (found.checks()["verdict"] == "pass").all()
    # in dong instead of dollars: gamma and the mean scale, the shapes stay
    dong = spent(fit_gamma_gamma(summary["x"], 26_000 * summary["zbar"]))
    assert dong.parameters["p"] == pytest.approx(found.parameters["p"], rel=1e-5)
    assert dong.population_mean == pytest.approx(26_000 * found.population_mean, rel=1e-6)
    # merged to bins of 0.2 %, as histories hold it
    bins = np.round(np.log(summary["zbar"]) * 500)
    merged = summary.groupby([summary["x"], bins])["zbar"].agg(["mean", "size"]).reset_index(level=0)
    near = spent(fit_gamma_gamma(merged["x"], merged["mean"], merged["size"]))
    assert list(near.parameters.values()) == pytest.approx(list(found.parameters.values()), rel=1e-3)


def margins(customers: int, *, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and mean margins of the model with p 4, q 5, gamma 80."""
    generator = np.random.default_rng(seed)
    x = 1.0 + generator.poisson(3.0, customers)
    rate = generator.gamma(5.0, 1 / 80.0, customers)
    return x, generator.gamma(4.0 * x) / (rate * x)


def test_gamma_gamma_of_drawn_data_comes_back() -> None:
    found = spent(fit_gamma_gamma(*margins(20_000)))
    apart = found.log_parameters - np.log([4.0, 5.0, 80.0])
    assert (np.abs(apart) < 3.5 * np.sqrt(np.diag(found.covariance))).all()
    assert found.population_mean == pytest.approx(4 * 80 / (5 - 1), rel=0.02)
    assert abs(found.correlation) < 0.03
    draws = found.parameter_draws(np.random.default_rng(0), 2_000)
    np.testing.assert_allclose(np.cov(np.log(draws).T), found.covariance, rtol=0.2)


def test_gamma_gamma_gradient_against_central_differences() -> None:
    objective = spend._objective(*margins(100), np.ones(100))
    point, step = np.log([2.0, 3.0, 50.0]), 1e-5
    found = [(objective(point + step * e)[0] - objective(point - step * e)[0]) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(objective(point)[1], found, rtol=1e-6)


def test_likelihoods_of_draws_differ_as_the_likelihood_does() -> None:
    x, mean = margins(200)
    points = np.log([[2.0, 3.0, 50.0], [4.0, 5.0, 80.0], [9.0, 2.0, 20.0]])
    exact = [spend._objective(x, mean, np.ones(200))(point)[0] for point in points]
    found = spend._log_likelihoods(points, x, mean, np.ones(200))
    np.testing.assert_allclose(np.diff(found), np.diff(exact), rtol=1e-9)
    counts = noncontractual._counts(drawn("bg_nbd", 100))
    for model in MODELS:
        near = np.log([[0.8, 6.0, 0.8, 2.5], [0.6, 5.0, 0.9, 3.0]])
        exact = [noncontractual._objective(model, counts)(point)[0] for point in near]
        found = PurchaseModel.of(model, dict(zip(NAMES[model], (1.0, 1.0, 1.0, 1.0), strict=True)))._log_likelihoods(
            near, counts
        )
        assert np.diff(found)[0] == pytest.approx(np.diff(exact)[0], abs=0.01)


def test_expected_margin_moves_from_the_mean_of_all_to_the_own() -> None:
    found = spent(fit_gamma_gamma(*margins(2_000)))
    assert found.expected_margin(0.0, 0.0) == pytest.approx(found.population_mean, rel=1e-12)
    seen = found.expected_margin(np.array([1.0, 10.0, 1e6]), np.array([200.0] * 3))
    assert found.population_mean < seen[0] < seen[1] < seen[2] == pytest.approx(200.0, rel=1e-3)
    # linear in the margin, so customers with one frequency can be summed
    both = found.expected_margin(np.array([3.0, 3.0]), np.array([40.0, 90.0])).sum()
    assert both == pytest.approx(2 * found.expected_margin(3.0, 65.0), rel=1e-12)


def test_margin_that_goes_with_frequency_is_said() -> None:
    x, mean = margins(3_000)
    checks = spent(fit_gamma_gamma(x, mean * x**0.8)).checks().set_index("name")
    assert checks.loc["frequency and margin", "verdict"] == "fail"


def test_margins_that_cannot_be_fitted() -> None:
    assert (
        fit_gamma_gamma([2.0] * 9, [5.0] * 9)
        == "9 repeat customers with a positive mean margin; at least 30 are needed"
    )
    assert "no spread" in str(fit_gamma_gamma([2.0] * 40, [5.0] * 40))
    with pytest.raises(InputError, match="mean margin above 0"):
        fit_gamma_gamma([1.0, 1.0], [5.0, -1.0])
    with pytest.raises(InputError, match="one shape"):
        fit_gamma_gamma([1.0, 1.0], [5.0])
