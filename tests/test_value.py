"""Lifetime value: by hand where it can be, identities of paths and responses, how a score lasts, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxroi import periods
from cxroi.errors import InputError
from cxroi.linkage import Linkage
from cxroi.panel import HISTORY, Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import CustomerValue, estimate, estimate_persistence, lifetime_value, score_bands
from cxroi.value import forward as forward_room

FIRST = periods.index("2024Q1")
QUARTERS = 12
RATE = 0.12


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """A simulated company with answers to nps only."""
    folder = tmp_path_factory.mktemp("value") / "clean"
    simulate(folder, world="clean", customers=2_000, seed=12)
    built = build_panel(read_tables(folder))
    return replace(built, rows=built.rows[built.rows["nps"].notna()].reset_index(drop=True), metrics=("nps",))


def valued(panel: Panel, *, quarters: int = QUARTERS, rate: float = RATE, seed: int = 1) -> CustomerValue:
    return lifetime_value(
        panel, exposure="nps", horizon_quarters=quarters, annual_discount_rate=rate, seed=seed, draws=40
    )


@pytest.fixture(scope="module")
def value(panel: Panel) -> CustomerValue:
    return valued(panel)


# By hand


def even_company(*, customers: int = 400, count: int = 6, hazard_in: int = 10, margin: float = 250.0) -> Panel:
    """Everybody alike: each quarter one customer in ``hazard_in`` leaves whatever was answered; margin varies by customer only."""
    rng = np.random.default_rng(13)
    numbers = np.arange(customers)
    rows = pd.DataFrame({"customer": np.repeat(numbers, count), "period": np.tile(np.arange(count) + FIRST, customers)})
    # hazard and margin are balanced within every answer, so that no slope is left
    group = rows["customer"] // (customers // 4)
    rows["nps"] = np.array([3.0, 5.0, 8.0, 10.0])[group]
    rows["retained"] = ((rows["customer"] + rows["period"]) % hazard_in != 0).astype(float)
    rows["orders"] = np.where(rows["retained"] == 1, 2.0, 0.0)
    spread = np.where(rows["period"] % 2 == rows["customer"] % 2, 0.5, -0.5)
    rows["margin"] = np.where(rows["retained"] == 1, margin * (1 + 0 * spread), 0.0)
    rows["orders"] = rows["orders"] + np.where(rows["retained"] == 1, spread, 0.0)
    rows["margin"] = rows["margin"] + np.where(rows["retained"] == 1, spread * 10, 0.0)
    rows["revenue"] = rows["margin"]
    rows["nps_answers"] = 1
    del rng
    active = pd.DataFrame({"last_nps": [3.0, 5.0, 8.0, 10.0] * 25, "nps_age": 1.0, "weight": 1.0})
    return Panel(
        rows=rows,
        base=pd.DataFrame(columns=["period", "column", "level", "n", "mean", "mean_square"]),
        active=active,
        accounting=pd.DataFrame(columns=["stage", "reason", "rows"]),
        period="quarter",
        last_period=FIRST + count,
        timing="before",
        metrics=("nps",),
        controls=(),
        history=(),
        segments=(),
        currency="VND",
        score_ranges={"nps": (0.0, 10.0)},
        retention="contract",
    )
