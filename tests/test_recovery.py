"""Companies with known truth: the headline finds the effect, finds nothing where there is nothing, and undoes seen confounding."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxroi.panel import build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import estimate

SEEDS = range(41, 45)
CUSTOMERS = 5_000
OUTCOMES = ("retained", "orders", "margin", "referrals", "service_cost", "ltv")
WORLDS = ("clean", "null", "confounded-seen")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recovery")


@cache
def recovered(place: Path, world: str) -> pd.DataFrame:
    """Average effects of a point of nps beside their truth, a row a seed, outcome and method."""
    found = []
    for seed in SEEDS:
        folder = place / f"{world}-{seed}"
        truth = json.loads(simulate(folder, world=world, customers=CUSTOMERS, seed=seed).read_text(encoding="utf-8"))
        effects = pd.DataFrame(truth["effects"]).rename(columns={"estimate": "truth"})
        panel = replace(build_panel(read_tables(folder)), metrics=("nps",))
        table = estimate(panel, draws=60).tidy()
        keys = ["outcome", "exposure", "estimand"]
        found.append(table.merge(effects[[*keys, "truth"]], on=keys).assign(seed=seed))
    rows = pd.concat(found, ignore_index=True)
    rows = rows[(rows["estimand"] == "ame") & rows["outcome"].isin(OUTCOMES)]
    return rows.assign(z=(rows["estimate"] - rows["truth"]) / rows["std_error"])


def by_outcome(rows: pd.DataFrame, column: str) -> pd.Series:
    return rows.groupby("outcome")[column].mean().reindex(OUTCOMES)


@pytest.mark.parametrize("world", WORLDS)
def test_headlines_are_where_the_truth_is(place: Path, world: str) -> None:
    rows = recovered(place, world)
    rows = rows[rows["headline"]]
    assert rows.groupby("outcome").size().to_dict() == dict.fromkeys(OUTCOMES, len(SEEDS))
    # The mean of four z has a standard deviation of 0.5: three of those, 18 figures in all worlds.
    assert (by_outcome(rows, "z").abs() < 3.0 * 0.5).all()
    # four of four outside would need intervals far too narrow
    inside = (rows["conf_low"] <= rows["truth"]) & (rows["truth"] <= rows["conf_high"])
    assert (inside.groupby(rows["outcome"]).mean() >= 0.5).all()
    assert inside.mean() >= 0.8


def test_errors_are_as_large_as_the_scatter(place: Path) -> None:
    """Root mean square of all z, the clean, the null and the confounded company together."""
    rows = pd.concat([recovered(place, world) for world in WORLDS])
    spread = np.sqrt((rows.loc[rows["headline"], "z"] ** 2).mean())
    # 12 companies with six figures each, four of them related, about 40 independent ones: 1/sqrt(80) = 0.11, three of those
    assert spread == pytest.approx(1.0, abs=0.34)


def test_nothing_is_found_where_there_is_nothing(place: Path) -> None:
    rows = recovered(place, "null")
    rows = rows[rows["headline"]]
    assert (rows["truth"].abs() < 1e-9).all()
    alarms = ((rows["conf_low"] > 0) | (rows["conf_high"] < 0)).sum()
    # 24 intervals of 95 %, related ones among them: more than four false alarms have a chance below one in a hundred
    assert alarms <= 4


def test_an_effect_is_found_where_there_is_one(place: Path) -> None:
    rows = recovered(place, "clean")
    found = rows[rows["headline"] & (rows["conf_low"] > 0)].groupby("outcome").size()
    # the true effects on staying and on value are about three and a half standard errors at this size
    assert found["retained"] >= len(SEEDS) - 1
    assert found["ltv"] >= len(SEEDS) - 1


def test_adjusting_undoes_the_confounding_that_is_seen(place: Path) -> None:
    rows = recovered(place, "confounded-seen")
    ratio = rows.assign(ratio=rows["estimate"] / rows["truth"]).groupby(["outcome", "method"])["ratio"].mean()
    for outcome in ("retained", "margin"):
        assert ratio[outcome, "raw"] > 1.2
        for method in ("adjusted", "calibrated"):
            assert abs(ratio[outcome, method] - 1) < abs(ratio[outcome, "raw"] - 1) / 2
    assert set(rows.loc[rows["headline"], "method"]) == {"calibrated"}
