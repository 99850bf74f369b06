"""What is wrong, or worth knowing, about one table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "notice"]


@dataclass(frozen=True)
class Violation:
    """One broken rule of the contract, with its numbers and its repair.

    ``count`` of ``total`` rows break it. ``first_row`` is the line in a CSV file (the header is line 1), or the row in a
    Parquet file or query (the first is 1), or None where the rule is about no row; ``first_file`` names the file where a
    table has several. ``first_value`` is what stands there, as text; it is never part of the sentence where it could lead
    to a person.
    """

    table: str
    column: str
    rule: str
    count: int
    total: int
    first_row: int | None
    first_value: str
    message: str
    repair: str
    severity: Severity = "error"
    first_file: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.repair}".strip()


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that is near the word, whatever their capitals; empty where none is."""
    folded = {option.casefold(): option for option in choices}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else ""


def suggestion(word: str, choices: Iterable[str]) -> str:
    """Ask ``did you mean …?`` where a choice is near the word, else an empty text."""
    near = nearest(word, choices)
    return f"did you mean {near}?" if near else ""


def ending(question: str) -> str:
    """End of a sentence: the question after a semicolon where there is one, else a full stop."""
    return f"; {question}" if question else "."


def statement(table: str, rule: str, message: str, *, column: str = "", repair: str = "", value: str = "") -> Violation:
    """Violation that is about a whole file or setting, not about rows."""
    return Violation(table, column, rule, 0, 0, None, value, message, repair)
