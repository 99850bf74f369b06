"""Season: exact where nothing is chance, none where all is, its error as large as it errs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cxroi import periods
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.simulate.process import SEASON_ORDERS
from cxroi.tables import read_tables
from cxroi.value.season import FEWEST_QUARTERS, season

TRUTH = np.array([0.20, -0.05, -0.10, -0.05])
CUSTOMERS = 2_000
FIRST = periods.index("2023Q3")


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    folder = tmp_path_factory.mktemp("season") / "clean"
    simulate(folder, world="clean", customers=20_000, seed=8, quarters=12)
    return build_panel(read_tables(folder))


def with_base(panel: Panel, orders: np.ndarray, *, basket: float = 50.0, chance: float = 0.0) -> Panel:
    """The panel with a base of these outcomes, from 2023Q4 on; ``chance`` is the variance of a customer's orders over their square."""
    found = []
    for at, of_kept in enumerate(orders):
        for name, mean, spread in (
            ("retained", 0.9, 0.1),
            ("orders", 0.9 * of_kept, chance),
            ("margin", 0.9 * of_kept * basket, chance),
        ):
            found.append((FIRST + at, name, "", CUSTOMERS, mean, mean**2 * (1 + spread)))
    base = pd.DataFrame(found, columns=["period", "column", "level", "n", "mean", "mean_square"])
    return replace(panel, base=base)


def rates(quarters: int, noise: float = 0.0, *, season: np.ndarray = TRUTH, seed: int = 0) -> np.ndarray:
    """Orders of a kept customer with a trend, from 2023Q4 on."""
    at = np.arange(quarters)
    chance = noise * np.random.default_rng(seed).standard_normal(quarters)
    return np.asarray(np.exp(0.3 + 0.02 * at + season[(FIRST + 1 + at) % 4] + chance))


@pytest.mark.parametrize("quarters", [6, 7, 11, 24])
def test_without_chance_it_is_exact(panel: Panel, quarters: int) -> None:
    found = season(with_base(panel, rates(quarters)))
    np.testing.assert_allclose(found.orders, TRUTH, atol=1e-9)
    np.testing.assert_allclose(found.margin, TRUTH, atol=1e-9)
    assert found.orders_error.max() < 1e-9


def test_a_season_of_baskets_adds_to_that_of_orders(panel: Panel) -> None:
    one = with_base(panel, rates(12))
    is_margin = one.base["column"] == "margin"
    more = np.exp(np.array([0.1, 0.0, -0.1, 0.0]))[(one.base["period"] + 1) % 4]
    base = one.base.assign(mean=one.base["mean"] * np.where(is_margin, more, 1.0))
    found = season(replace(one, base=base.assign(mean_square=base["mean"] ** 2)))
    np.testing.assert_allclose(found.margin - found.orders, [0.1, 0.0, -0.1, 0.0], atol=1e-9)
    np.testing.assert_allclose(found.orders, TRUTH, atol=1e-9)


@pytest.mark.parametrize("orders", [rates(FEWEST_QUARTERS - 1), np.zeros(12)])
def test_too_little_to_know_is_none(panel: Panel, orders: np.ndarray) -> None:
    found = season(with_base(panel, orders))
    assert found.orders.tolist() == found.margin_error.tolist() == [0.0] * 4
    assert season(replace(panel, period="month")).orders.tolist() == [0.0] * 4


def test_losses_in_a_quarter_leave_margin_the_season_of_orders(panel: Panel) -> None:
    one = with_base(panel, rates(12))
    lost = (one.base["column"] == "margin") & (one.base["period"] == FIRST + 3)
    found = season(replace(one, base=one.base.assign(mean=one.base["mean"].where(~lost, -1.0))))
    np.testing.assert_allclose(found.margin, found.orders, atol=1e-12)


def test_error_is_as_large_as_it_errs(panel: Panel) -> None:
    """Over 400 companies without and with a season: drawn in it errs less than least squares would, and as its error says."""
    noise = 0.03
    for truth, most in ((np.zeros(4), 0.6), (TRUTH, 1.15)):
        missed, said = [], []
        for seed in range(400):
            orders = rates(8, noise, season=truth, seed=seed)
            found = season(with_base(panel, orders, chance=noise**2 * CUSTOMERS))
            missed.append(np.mean((found.orders - truth) ** 2))
            said.append(np.mean(found.orders_error**2))
        unshrunk = (
            noise**2 * 3 / 8
        )  # least squares on two years: (1 - 1/4) / 2 of one quarter's variance, less what the line takes
        assert np.mean(missed) < most * unshrunk * 1.1
        assert 0.7 < np.mean(missed) / np.mean(said) < 1.3


def test_the_simulated_season_comes_out(panel: Panel) -> None:
    found = season(panel)
    truth = SEASON_ORDERS - SEASON_ORDERS.mean()
    assert (np.abs(found.orders - truth) < 3 * found.orders_error + 1e-3).all()
    assert found.orders[0] == pytest.approx(0.08, abs=0.02)
