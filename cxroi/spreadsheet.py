"""Text that a spreadsheet program shows and never runs."""

from __future__ import annotations

import pandas as pd

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters that make a cell a formula, in a workbook or once a CSV file is opened."""


def neutral(text: str) -> str:
    """Text that no spreadsheet program takes for a formula, also not after it was saved as CSV.

    >>> neutral("=1+1"), neutral("words")
    ("'=1+1", 'words')
    """
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def neutral_table(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The table with the text of some columns neutral; numbers and gaps stay as they are, shape as given.

    >>> neutral_table(pd.DataFrame({"segment": ["=1+1", "all"], "estimate": [-1.0, 2.0]}), ["segment"])
       segment  estimate
    0   '=1+1      -1.0
    1      all       2.0
    """
    return table.assign(
        **{name: table[name].map(lambda each: neutral(each) if isinstance(each, str) else each) for name in columns}
    )
