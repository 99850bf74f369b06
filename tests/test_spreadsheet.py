"""Text from data is text in every file that a spreadsheet program opens."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from cxroi.spreadsheet import FORMULA_SIGNS, neutral
from cxroi.value.estimates import COLUMNS, write_estimates


@pytest.mark.parametrize("sign", FORMULA_SIGNS)
def test_no_first_character_makes_a_formula(sign: str) -> None:
    assert neutral(f"{sign}1+1") == f"'{sign}1+1"
    assert neutral(f"one {sign} two") == f"one {sign} two"


def test_a_segment_named_like_a_formula_is_text_in_estimates_csv(tmp_path: Path) -> None:
    hostile = '=HYPERLINK("a")=Hà Nội'
    row = dict.fromkeys(COLUMNS, "x") | {"segment": hostile, "estimate": -1.5, "headline": True}
    write_estimates(pd.DataFrame([row, row | {"segment": "region=Hà Nội"}]), str(tmp_path / "estimates.csv"))
    with (tmp_path / "estimates.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["segment"], second["segment"]) == (f"'{hostile}", "region=Hà Nội")
    assert (first["estimate"], first["headline"]) == ("-1.5", "true")
