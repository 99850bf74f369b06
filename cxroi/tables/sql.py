"""Pieces of SQL text, quoted.

Names and texts that come from data pass through ``identifier`` and ``literal`` and nowhere else.

>>> print(select(["count(*)", identifier('the "b" one')], "t", where="x = " + literal("it's")))
SELECT count(*), "the ""b"" one" FROM t WHERE x = 'it''s'
"""

from __future__ import annotations

from collections.abc import Iterable

# Blank, tab, newlines, no-break space and byte-order mark.
BLANKS = "' ' || chr(9) || chr(10) || chr(13) || chr(160) || chr(65279)"


def identifier(name: str) -> str:
    """Name of a column or table, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Text constant, quoted."""
    return "'" + text.replace("'", "''") + "'"


def listing(texts: Iterable[str]) -> str:
    """Text constants in brackets, as a list."""
    return "[" + ", ".join(literal(text) for text in texts) + "]"


def trimmed(raw: str) -> str:
    """Text without blanks around it, null where nothing is left."""
    return f"nullif(trim({raw}, {BLANKS}), '')"


def normalised(raw: str) -> str:
    """Text as it is compared: trimmed, composed (NFC), null where empty."""
    return f"nfc_normalize({trimmed(raw)})"


def select(columns: Iterable[str], source: str, *, where: str = "", group: str = "", order: str = "") -> str:
    """One SELECT; empty clauses are left out."""
    clauses = [("FROM", source), ("WHERE", where), ("GROUP BY", group), ("ORDER BY", order)]
    return " ".join(["SELECT", ", ".join(columns), *(f"{word} {text}" for word, text in clauses if text)])


def within(query: str, alias: str = "inner_query") -> str:
    """Query as a source of another one."""
    return "(" + query + ") AS " + alias
