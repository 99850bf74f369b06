"""What a value of a case looks like in a cell: choices by their names, programmes by their codes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from cxroi.case.workbook.cells import LARGEST_BARE_SHARE
from cxroi.case.workbook.layout import CHOICES, Block, Field, choice_words, never
from cxroi.case.workbook.lines import Values
from cxroi.language import Code

Written = str | int | float | dt.date


def cell_value(field: Field, value: Any, code: Code) -> Written:
    """Content of a cell for a value of a field."""
    if field.kind == "choice":
        return choice_words(field.choices, value, code) if value in CHOICES[field.choices] else str(value)
    if field.kind == "codes":
        return ", ".join(value)
    if field.kind == "life" and value == "never":
        return never(code)
    if field.kind == "share" and abs(value) >= LARGEST_BARE_SHARE:  # a bare one would be read as a forgotten sign
        return f"{Decimal(repr(float(value))) * 100:f}%"
    return value  # type: ignore[no-any-return]


def written_line(block: Block, line: Values, code: Code) -> dict[str, Written]:
    """Contents of the cells of one line, by field."""
    return {field.key: cell_value(field, line[field.key], code) for field in block.fields if field.key in line}
