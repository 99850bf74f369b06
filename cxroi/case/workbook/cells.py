"""One cell: from what was typed to the value of a field, or to what is wrong with it and how to repair it."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from babel.numbers import list_currencies

from cxroi.case.workbook.as_typed import Ambiguous, amount_meant, date_in, number_in, share_in
from cxroi.case.workbook.grid import BLANKS, Value
from cxroi.case.workbook.layout import CHOICES, CODES, OPEN_LISTS, Field, choice_words, never
from cxroi.language import Code, Language

CODE = re.compile(r"[\w-]{1,64}")
LARGEST_BARE_SHARE = 5.0
"""From here on a share without a percent sign is taken for a percentage whose sign was forgotten."""
CURRENCY_NAMES = {
    "đ": "VND",
    "₫": "VND",
    "vnđ": "VND",
    "đồng": "VND",
    "dong": "VND",
    "$": "USD",
    "us$": "USD",
    "€": "EUR",
}
EXAMPLES = {
    "number": "0.3",
    "amount": "500000000",
    "share": "20%",
    "whole": "6",
    "life": "24",
    "date": "2026-10-01",
    "currency": "VND",
    "code": "call_centre",
}


@dataclass(frozen=True)
class Wrong:
    """A cell that holds no value of its field, and the repair in words."""

    repair: str


def read_value(field: Field, value: Value, code: Code) -> Any:
    """Value of a field from a cell that is not blank, or `Wrong`.

    Text comes trimmed and in NFC; a choice as the case names it; programmes as the codes that were written.
    """
    if field.kind in ("text", "code", "programme", "codes"):
        return _text(field, value, code)
    if field.kind == "choice":
        return _choice(field, value, code)
    if field.kind == "date":
        return _date(value, code)
    if field.kind == "currency":
        return _currency(value, code)
    if (
        field.kind == "life"
        and isinstance(value, str)
        and plain(value) in {plain(never(each)) for each in CODES} | {"never"}
    ):
        return "never"
    return _number(field, value, code)


def trimmed(text: str) -> str:
    """Text in NFC without blanks at its ends, lines ended as everywhere else."""
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip(BLANKS)


def plain(text: str) -> str:
    """Text for comparison: also without case, stars, repeated blanks and marks of no width."""
    bare = trimmed(text.replace("\u200b", "").replace("\ufeff", "")).rstrip("*")
    return " ".join(bare.split()).casefold()


def as_text(value: Value) -> str:
    """A cell as text: whole numbers without a decimal point, dates as 2026-10-01."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    return trimmed(value) if isinstance(value, str) else str(value)


def shown(value: Value) -> str:
    """A cell for a message: text in quotes, short, without marks that break or hide a line."""
    text = as_text(value)
    if not isinstance(value, str):
        return text
    text = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return f'"{text if len(text) <= 60 else text[:57] + "…"}"'


def as_code(text: str) -> str:
    """A text made fit to be the code of a programme; empty where nothing of it fits."""
    return re.sub(r"[^\w-]+", "_", text).strip("_")[:64]


def must(field: Field, code: Code) -> str:
    """What a field must hold, in words."""
    language, limits = Language(code), field.limits
    kind = "number" if field.kind == "amount" else field.kind
    if kind == "text":
        return language.text("case_rule.text", most=f"{limits.most or 10_000:.0f}")
    rule = language.text(f"case_rule.{kind}")
    if kind not in ("number", "share", "whole"):
        return rule
    ends = [
        None if end is None else f"{end:.0%}" if kind == "share" else f"{end:g}" for end in (limits.least, limits.most)
    ]
    if ends[0]:
        rule = language.text(f"case_rule.{'above' if limits.least_excluded else 'from'}", rule=rule, least=ends[0])
    if ends[1]:
        rule = language.text(f"case_rule.{'below' if limits.most_excluded else 'up_to'}", rule=rule, most=ends[1])
    return rule


def example(field: Field, code: Code) -> str:
    """Repair that shows a value that fits."""
    language = Language(code)
    if field.kind == "choice":
        words = [choice_words(field.choices, choice, code) for choice in CHOICES[field.choices]]
        return language.text("case_fault.choose", choices=" · ".join(words))
    value = EXAMPLES.get(field.kind, "…")
    fits = field.kind not in ("whole", "number", "amount") or field.limits.hold(float(value))
    return language.text("case_fault.write_example", value=value if fits else "1") if value != "…" else ""


def _write(value: str, code: Code) -> Wrong:
    return Wrong(Language(code).text("case_fault.write", value=value))


def _text(field: Field, value: Value, code: Code) -> str | tuple[str, ...] | Wrong:
    text = as_text(value)
    if field.kind == "text":
        return text if len(text) <= (field.limits.most or math.inf) else Wrong("")
    if field.kind == "codes":
        return tuple(part for each in re.split(r"[,;\n]", text) if (part := each.strip(BLANKS)))
    if field.kind == "code" and not CODE.fullmatch(text):
        better = as_code(text)
        return _write(better, code) if better else Wrong(example(field, code))
    return text


@cache
def _named(choices: str) -> Mapping[str, str]:
    """Choices by everything that they may be called: names in both languages, the case's word, a leading number."""
    words = {plain(choice_words(choices, choice, code)): choice for choice in CHOICES[choices] for code in CODES}
    numbers = {word.split()[0]: choice for word, choice in words.items() if word.split()[0].isdigit()}
    return {choice: choice for choice in CHOICES[choices]} | numbers | words


def _choice(field: Field, value: Value, code: Code) -> str | Wrong:
    names, text = _named(field.choices), plain(as_text(value))
    if text.rstrip(".") in names:
        return names[text.rstrip(".")]
    if field.choices in OPEN_LISTS:
        return as_text(value)
    close = difflib.get_close_matches(text, names, n=1, cutoff=0.75)
    if close:
        return Wrong(
            Language(code).text("case_fault.did_you_mean", value=choice_words(field.choices, names[close[0]], code))
        )
    return Wrong(example(field, code))


def _currency(value: Value, code: Code) -> str | Wrong:
    text = as_text(value)
    name = text.upper()
    if name in list_currencies():
        return name
    meant = CURRENCY_NAMES.get(text.casefold())
    return _write(meant, code) if meant else Wrong(example(Field("currency", "currency"), code))


def _date(value: Value, code: Code) -> dt.date | Wrong:
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    days = date_in(value) if isinstance(value, str) else ()
    if len(days) == 2 and code == "en":
        first, second = (day.isoformat() for day in days)
        return Wrong(Language(code).text("case_fault.write_date", first=first, second=second))
    return days[0] if days else Wrong(example(Field("start", "date"), code))  # the day stands first in Vietnamese


def _number(field: Field, value: Value, code: Code) -> float | int | Wrong:
    found: Decimal | Ambiguous | float | int | None
    if isinstance(value, str):
        found = (share_in if field.kind == "share" else number_in)(value)
    else:
        found = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if isinstance(found, Ambiguous):
        first, second = f"{found.as_thousands:f}", f"{found.as_decimal.normalize():f}"
        if field.kind == "whole":
            return _write(first, code)
        return Wrong(Language(code).text("case_fault.write_either", first=first, second=second))
    if found is None:
        meant = amount_meant(value) if isinstance(value, str) else None
        fits = meant is not None and _fitting(field, float(meant)) is not None
        return _write(f"{meant:f}", code) if fits else Wrong(example(field, code))
    number = _fitting(field, float(found))
    if number is not None and not _sign_forgotten(field, value, number):
        return number
    if field.kind == "share" and _fitting(field, float(found) / 100) is not None:
        return _write(f"{float(found):g}%", code)
    return Wrong(example(field, code))


def _fitting(field: Field, x: float) -> float | int | None:
    """Number as the field wants it; None where it does not fit."""
    if not math.isfinite(x) or not field.limits.hold(x) or (field.kind == "life" and x <= 0):
        return None
    if field.kind == "whole":
        return int(x) if x.is_integer() else None
    return x


def _sign_forgotten(field: Field, value: Value, share: float) -> bool:
    """Whether 20 stands where 20% was meant."""
    bare = not (isinstance(value, str) and "%" in value)
    return field.kind == "share" and bare and abs(share) >= LARGEST_BARE_SHARE
