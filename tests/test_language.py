"""Words and numbers in two languages: complete catalogues, Babel's formats, fonts that have the letters."""

from __future__ import annotations

import datetime as dt
import json
import re
import string
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from cxroi.errors import CxroiError, InputError
from cxroi.language import EVIDENCE, OWN, Kind, Language, OutcomePeriod, catalogue, placeholders
from cxroi.report.parameters import MODELS

NBSP = "\xa0"
VI, EN = Language("vi", "VND"), Language("en", "VND")


def test_both_catalogues_have_the_same_keys_and_placeholders() -> None:
    vi, en = catalogue("vi"), catalogue("en")
    assert set(vi) == set(en)
    assert {key: placeholders(vi[key]) for key in vi} == {key: placeholders(en[key]) for key in en}


@pytest.mark.parametrize("code", ["vi", "en", "notebooks_vi"])
def test_no_message_is_empty_or_untidy(code: str) -> None:
    for key, words in catalogue(code).items():
        assert words.strip() == words, key
        assert words, key
        assert unicodedata.is_normalized("NFC", words), key


@pytest.mark.parametrize("code", ["vi", "en"])
def test_placeholders_are_plain_names(code: str) -> None:
    for key, words in catalogue(code).items():
        for _, name, spec, conversion in string.Formatter().parse(words):
            assert name is None or (name.isidentifier() and not spec and not conversion), key


def test_vietnamese_words_are_vietnamese() -> None:
    same = {key for key, words in catalogue("vi").items() if words == catalogue("en")[key]}
    abbreviations = {key for key in same if not re.search("[a-z]", re.sub(r"{\w+}", "", catalogue("vi")[key]))}
    assert same - abbreviations == set()


def test_every_notebook_has_a_title_and_every_rung_its_words() -> None:
    assert {key for key in catalogue("en") if key.startswith("notebook.")} == {f"notebook.{name}" for name in MODELS}
    for rung in EVIDENCE:
        for language in (VI, EN):
            assert language.evidence(rung)
            assert language.verb(rung)
            assert language.text(f"evidence_meaning.{rung}")
    assert VI.evidence("within customer") == "so với chính khách hàng đó"
    assert EN.evidence("quasi-experiment") == "quasi-experiment"


@pytest.mark.parametrize("rung", ["association", "adjusted", "within_customer"])
def test_no_rung_below_a_design_speaks_of_causes(rung: str) -> None:
    assert not re.search("effect|impact|uplift|cause|brought", EN.verb(rung))
    assert not re.search("tác động|gây|mang lại", VI.verb(rung))


def test_every_text_cell_of_every_notebook_is_translated(root: Path) -> None:
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    cells = {
        f"{path.stem}.{cell['id']}"
        for path in notebooks
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    }
    assert set(catalogue("notebooks_vi")) == cells


def test_text_fills_placeholders_and_refuses_anything_else() -> None:
    assert VI.text("format.interval", low="1", high="2") == "từ 1 đến 2"
    assert EN.text("format.interval", low="{high}", high="2") == "{high} to 2"
    with pytest.raises(CxroiError, match=r"no 'no\.such'"):
        EN.text("no.such")
    with pytest.raises(CxroiError, match="takes"):
        EN.text("format.interval", low="1")
    with pytest.raises(CxroiError, match="takes"):
        EN.text("scale.million", low="1")


@pytest.mark.parametrize(
    ("x", "digits", "vi", "en"),
    [
        (1234567.891, 2, "1.234.567,89", "1,234,567.89"),
        (2.5, 0, "3", "3"),
        (-2.5, 0, "-3", "-3"),
        (0.285, 2, "0,29", "0.29"),
        (-0.04, 1, "0,0", "0.0"),
        (12, 0, "12", "12"),
        (1e15, 0, "1.000.000.000.000.000", "1,000,000,000,000,000"),
        (float("nan"), 1, "không có", "not available"),
        (None, 1, "không có", "not available"),
        (float("-inf"), 1, "không giới hạn", "unbounded"),
    ],
)
def test_numbers(x: float | None, digits: int, vi: str, en: str) -> None:
    assert VI.number(x, digits) == vi
    assert EN.number(x, digits) == en


def test_numbers_of_any_size_are_written() -> None:
    assert Language("en").number(1e30).startswith("1,000,000")
    assert Language("vi").percent(2e37, 0).endswith("000%")


def test_shares_and_points() -> None:
    assert (VI.percent(0.1234), EN.percent(0.1234), EN.percent(0.29, 0)) == ("12,3%", "12.3%", "29%")
    assert (VI.points(0.3), EN.points(0.3), EN.points(1, 0), EN.points(1.0)) == (
        "0,3 điểm",
        "0.3 points",
        "1 point",
        "1.0 points",
    )
    assert VI.percentage_points(-0.0123) == "-1,2 điểm phần trăm"
    assert EN.percentage_points(-0.01, 0) == "-1 percentage point"


@pytest.mark.parametrize(
    ("currency", "x", "vi", "en"),
    [
        ("VND", 1028138, f"1.028.138{NBSP}₫", "₫1,028,138"),
        ("VND", 0.5, f"1{NBSP}₫", "₫1"),
        ("USD", -1234.5, f"-1.234,50{NBSP}US$", "-$1,234.50"),
        ("EUR", 3, f"3,00{NBSP}€", "€3.00"),
        ("JPY", 1234.5, f"1.235{NBSP}¥", "¥1,235"),
        ("KWD", 1.2345, f"1,235{NBSP}KWD", f"KWD{NBSP}1.235"),
    ],
)
def test_money(currency: str, x: float, vi: str, en: str) -> None:
    assert Language("vi", currency).money(x) == vi
    assert Language("en", currency).money(x).replace(NBSP, "") == en.replace(NBSP, "")


@pytest.mark.parametrize(
    ("x", "vi", "en"),
    [
        (12.4e9, "12,4 tỷ ₫", "₫12.4 billion"),
        (350e6, "350 triệu ₫", "₫350 million"),
        (-3.254e9, "-3,25 tỷ ₫", "-₫3.25 billion"),
        (999.6e6, "1 tỷ ₫", "₫1 billion"),
        (999_400, "999.400 ₫", "₫999,400"),
        (999_600, "1 triệu ₫", "₫1 million"),
        (123e12, "123 nghìn tỷ ₫", "₫123 trillion"),
        (1234e12, "1.230 nghìn tỷ ₫", "₫1,230 trillion"),
        (0, "0 ₫", "₫0"),
        (float("nan"), "không có", "not available"),
    ],
)
def test_compact_money(x: float, vi: str, en: str) -> None:
    assert VI.money(x, compact=True).replace(NBSP, " ") == vi
    assert EN.money(x, compact=True).replace(NBSP, " ") == en


def test_compact_money_never_breaks_over_lines() -> None:
    assert " " not in VI.money(12.4e9, compact=True)
    assert " " not in EN.money(12.4e9, compact=True)


def test_compact_money_drops_the_cents_of_thousands() -> None:
    assert Language("en", "USD").money(1234.567, compact=True) == "$1,235"
    assert Language("en", "USD").money(12.345, compact=True) == "$12.35"


def test_money_needs_a_currency_that_exists() -> None:
    with pytest.raises(CxroiError, match="no currency"):
        Language("en").money(1)
    with pytest.raises(InputError, match="ISO 4217"):
        Language("en", "XYZ")
    with pytest.raises(InputError, match="vi, en"):
        Language("fr")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "low", "high", "vi", "en"),
    [
        ("number", -0.1, 0.5, "từ -0,1 đến 0,5", "-0.1 to 0.5"),
        ("percent", 0.1, 0.5, "từ 10,0% đến 50,0%", "10.0% to 50.0%"),
        ("points", 0.1, 0.5, "từ 0,1 đến 0,5 điểm", "0.1 to 0.5 points"),
        (
            "percentage_points",
            0.1,
            None,
            "từ 10,0 đến không có điểm phần trăm",
            "10.0 to not available percentage points",
        ),
        ("money", 1, 2, "từ 1 ₫ đến 2 ₫", "₫1 to ₫2"),
        ("compact_money", 1e6, 2.5e9, "từ 1 triệu ₫ đến 2,5 tỷ ₫", "₫1 million to ₫2.5 billion"),
    ],
)
def test_intervals(kind: Kind, low: float, high: float | None, vi: str, en: str) -> None:
    assert VI.interval(low, high, kind).replace(NBSP, " ") == vi
    assert EN.interval(low, high, kind).replace(NBSP, " ") == en


def test_days_months_and_quarters() -> None:
    day = dt.date(2026, 9, 30)
    assert (VI.date(day), EN.date(day)) == ("ngày 30/09/2026", "September 30, 2026")
    assert (VI.quarter("2026Q3"), EN.quarter("2026Q3")) == ("Quý 3 2026", "Q3 2026")
    assert (VI.month("2026-07"), EN.month("2026-07")) == ("Tháng 7 2026", "July 2026")
    assert (VI.date(dt.date(2024, 10, 1)), VI.period("2026Q3")) == ("ngày 01/10/2024", "Quý 3 2026")
    assert (EN.period("2026Q3"), EN.period("2026-07")) == ("Q3 2026", "July 2026")
    with pytest.raises(InputError, match="2026Q3"):
        EN.quarter("2026")


@pytest.mark.parametrize("length", get_args(OutcomePeriod))
def test_a_language_names_the_outcome_s_period_itself(length: OutcomePeriod) -> None:
    words = {"quarter": "quý", "month": "tháng", "year": "năm", "period": "kỳ"}
    following, observed = (Language("vi", outcome_period=length, outcome_follows=each) for each in (True, False))
    assert following.text("executive.outcome.orders") == f"số đơn hàng {words[length]} sau"
    assert observed.text("executive.outcome.orders") == f"số đơn hàng {words[length]} được quan sát"
    assert Language("en", outcome_period=length).find("plots.outcome.orders") == f"Orders in the next {length}"
    with pytest.raises(CxroiError, match="takes"):
        following.text("executive.outcome.orders", following_period="kỳ")


def test_what_a_catalogue_lacks_is_not_found() -> None:
    assert EN.find("no.such") is None
    assert set(OWN) <= {name for words in catalogue("en").values() for name in placeholders(words)}


@pytest.mark.parametrize("name", ["NotoSans-Regular", "NotoSans-Bold"])
@pytest.mark.parametrize("ending", ["ttf", "woff2"])
def test_fonts_are_there_small_and_whole(name: str, ending: str) -> None:
    data = files("cxroi").joinpath("fonts", f"{name}.{ending}").read_bytes()
    assert data[:4] == (b"wOF2" if ending == "woff2" else b"\x00\x01\x00\x00")
    assert 20_000 < len(data) < 120_000


@pytest.mark.parametrize("name", ["NotoSans-Regular", "NotoSans-Bold"])
def test_fonts_have_every_letter_of_both_languages(name: str) -> None:
    ft2font = pytest.importorskip("matplotlib.ft2font")
    with files("cxroi").joinpath("fonts", f"{name}.ttf").open("rb") as file:
        letters = set(ft2font.FT2Font(file).get_charmap())
    wanted = set("ặẵẩểệồỡựĐđƠơƯưỸỹ₫€£¥–—…“”‘’·•×±" + NBSP)
    for code in ("vi", "en", "notebooks_vi"):
        wanted |= set("".join(catalogue(code).values()))
    assert {letter for letter in wanted if ord(letter) not in letters} - {"\n"} == set()


def test_the_fonts_carry_their_licence() -> None:
    licence = files("cxroi").joinpath("fonts", "OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence


def test_words_of_one_thing_are_one_word() -> None:
    vi = catalogue("vi")
    assert [
        key
        for key, words in vi.items()
        if re.search(r"phạm vi tiếp cận|phạm vi rộng|phạm vi, tỷ lệ", words, re.IGNORECASE)
    ] == []
    assert [key for key, words in vi.items() if re.search(r"\d %", words)] == []
