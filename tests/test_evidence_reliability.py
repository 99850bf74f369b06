"""Reliability of several questions: published Cronbach's alphas, identities, coverage of the interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxroi.errors import InputError
from cxroi.evidence.reliability import cronbach_alpha


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("block", "alpha"),
    [
        ("IMAG", 0.714447),
        ("CUEX", 0.432597),
        ("PERQ", 0.872406),
        ("PERV", 0.816695),
        ("CUSA", 0.770113),
        ("CUSL", 0.441717),
    ],
)
def test_mobile_phone_survey(realdata: Path, block: str, alpha: float) -> None:
    # Tenenhaus, Esposito Vinzi, Chatelin & Lauro (2005), ECSI mobile phone data; six decimals are given.
    items = pd.read_csv(realdata / "ecsi_mobi" / "mobi.csv").filter(regex=f"^{block}[0-9]$")
    found = cronbach_alpha(items)
    assert found.alpha == pytest.approx(alpha, abs=5.1e-7)
    assert found.n_obs == 250
    assert found.conf_low < alpha < found.conf_high


def _parallel(seed: int, rows: int, items: int) -> pd.DataFrame:
    """Questions that measure one thing equally well; the reliability of one is 1/2."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(rows, 1)) + rng.normal(size=(rows, items)))


def test_two_equally_spread_questions_follow_spearman_and_brown() -> None:
    items = _parallel(1, 200, 2)
    items = (items - items.mean()) / items.std()
    correlation = float(items.corr().iloc[0, 1])
    assert cronbach_alpha(items).alpha == pytest.approx(2 * correlation / (1 + correlation), rel=1e-12)


def test_the_same_question_twice_is_perfectly_reliable() -> None:
    items = _parallel(2, 50, 1)
    found = cronbach_alpha(pd.concat([items, items], axis=1))
    assert (found.alpha, found.conf_low, found.conf_high) == pytest.approx((1.0, 1.0, 1.0))


def test_interval_covers_the_truth() -> None:
    truth, seeds = 4 * 0.5 / (1 + 3 * 0.5), 400
    found = [cronbach_alpha(_parallel(seed, 60, 4)) for seed in range(seeds)]
    covered = np.mean([one.conf_low < truth < one.conf_high for one in found])
    assert covered == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / seeds))


def test_incomplete_rows_are_counted() -> None:
    items = _parallel(3, 40, 3)
    items.iloc[:5, 1] = np.nan
    found = cronbach_alpha(items)
    assert (found.n_obs, found.incomplete) == (35, 5)
    assert found.alpha == cronbach_alpha(items.iloc[5:]).alpha
    assert found.tidy().loc[0, ["estimate", "incomplete"]].tolist() == [found.alpha, 5]


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (pd.DataFrame({"a": [1, 2, 3]}), "got 1 questions"),
        (pd.DataFrame({"a": [1, 2], "b": [2, 1]}), "and 2 rows"),
        (pd.DataFrame({"a": [1, 2, 3], "b": [3, 2, 1]}), "must vary"),
    ],
)
def test_too_little_to_tell(items: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError, match=words):
        cronbach_alpha(items)
