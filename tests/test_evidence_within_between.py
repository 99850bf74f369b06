"""Within, between and both: Grunfeld's published figures, unbalanced panels, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from cxroi.errors import InputError
from cxroi.evidence.within_between import WithinBetween, within_between


@pytest.fixture(scope="module")
def grunfeld(realdata: Path) -> WithinBetween:
    rows = pd.read_csv(realdata / "panel" / "grunfeld.csv").sort_values(["firm", "year"])
    return within_between(rows[["value", "capital"]], rows["inv"].to_numpy(), pd.factorize(rows["firm"])[0])


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "term", "estimate", "precision"),
    [
        ("pooled", "Intercept", -42.714369, 5.1e-7),
        ("pooled", "value", 0.11556216, 5.1e-9),
        ("pooled", "capital", 0.23067849, 5.1e-9),
        ("within", "value", 0.11012380, 5.1e-9),
        ("within", "capital", 0.31006534, 5.1e-9),
        ("between", "value", 0.134646, 5.1e-7),
        ("between", "capital", 0.032031, 5.1e-7),
        ("random", "Intercept", -57.834415, 5.1e-7),
        ("random", "value", 0.10978115, 5.1e-9),
        ("random", "capital", 0.30811298, 5.1e-9),
    ],
)
def test_grunfeld_estimates(grunfeld: WithinBetween, method: str, term: str, estimate: float, precision: float) -> None:
    # Croissant & Millo (2008), Journal of Statistical Software 27(2); tolerance: the digits given.
    table = grunfeld.tidy().set_index(["method", "term"])
    assert table.loc[(method, term), "estimate"] == pytest.approx(estimate, abs=precision)


@pytest.mark.realdata
def test_grunfeld_errors_and_hausman(grunfeld: WithinBetween) -> None:
    table = grunfeld.tidy().set_index(["method", "term"]).loc["within"]
    assert table["std_error"].tolist() == pytest.approx([0.011856694, 0.017354503], abs=5.1e-10)
    assert table["clustered_error"].tolist() == pytest.approx([0.014414397, 0.050043455], abs=5.1e-10)
    assert grunfeld.hausman == pytest.approx(2.33037, abs=5.1e-6)
    assert grunfeld.p_value == pytest.approx(0.31187, abs=5.1e-6)


def _unbalanced(seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(40), rng.integers(2, 9, 40))
    lasting = rng.normal(size=40)[units]
    x = lasting + rng.normal(size=len(units))
    return pd.DataFrame({"x": x}), 0.5 * x + 2.0 * lasting + rng.normal(size=len(units)), units


def test_within_equals_a_dummy_for_every_unit() -> None:
    columns, outcome, units = _unbalanced(1)
    found = within_between(columns, outcome, units)
    dummies = pd.get_dummies(units).to_numpy(dtype=float)
    reference = sm.OLS(outcome, np.column_stack([columns, dummies])).fit()
    row = found.tidy().set_index("method").loc["within"]
    assert row["estimate"] == pytest.approx(reference.params[0], rel=1e-9)
    assert row["std_error"] == pytest.approx(reference.bse[0], rel=1e-9)


def test_lasting_differences_between_units_are_told_from_differences_within() -> None:
    estimates = pd.concat([within_between(*_unbalanced(seed)).tidy() for seed in range(30)])
    mean = estimates[estimates["term"] == "x"].groupby("method")["estimate"].mean()
    assert mean["within"] == pytest.approx(
        0.5, abs=0.05
    )  # the truth; 30 panels of 40 units leave an error of about .015
    assert mean["within"] < mean["random"] < mean["pooled"] < mean["between"]
    assert within_between(*_unbalanced(3)).p_value < 0.01


def test_refusals() -> None:
    columns, outcome, units = _unbalanced(2)
    with pytest.raises(InputError, match="still does not"):
        within_between(columns.assign(still=units * 1.0), outcome, units)
    few = units < 2
    with pytest.raises(InputError, match="got 2 units, 1 columns"):
        within_between(columns[few], outcome[few], units[few])
