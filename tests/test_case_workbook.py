"""The case workbook: what a lead fills in comes back as the case, and what does not fit is named cell by cell."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from python_calamine import CalamineWorkbook

from cxroi import cli
from cxroi.case import Case, case_beside, case_yaml, parse_case, read_case
from cxroi.case import rules as case_rules
from cxroi.case.programme import Basis, Benefit, Budget, Correlation, Cost, Driver, Profile, Programme, Saving
from cxroi.case.workbook import example_case, read_case_workbook, read_workbook, write_case_workbook, write_template
from cxroi.case.workbook.as_typed import Ambiguous, number_in
from cxroi.case.workbook.layout import BLOCKS, CHOICES, CODES, SHEETS, choice_meaning, choice_words
from cxroi.errors import InvalidCase
from cxroi.language import Language, catalogue, placeholders
from cxroi.report.results import stated_case

Cells = dict[str, dict[tuple[int, int], Any]]


@dataclass(frozen=True)
class Formula:
    """A formula and the value that was stored with it."""

    text: str
    value: Any


def at(address: str) -> tuple[int, int]:
    letters = address.rstrip("0123456789")
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - 64
    return int(address[len(letters) :]) - 1, column - 1


def cells_of(path: Path) -> Cells:
    book = CalamineWorkbook.from_path(str(path))
    return {
        name: {
            (row, column): value
            for row, line in enumerate(book.get_sheet_by_name(name).to_python(skip_empty_area=False))
            for column, value in enumerate(line)
            if value != ""
        }
        for name in book.sheet_names
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Cells]:
    """Cells of a workbook filled in with the example case, in a language."""
    folder, cells = tmp_path_factory.mktemp("filled"), {}
    for code in CODES:
        write_case_workbook(example_case(code), folder / f"{code}.xlsx", lang=code)
        cells[code] = cells_of(folder / f"{code}.xlsx")
    return lambda code: {name: dict(sheet) for name, sheet in cells[code].items()}


def save(
    cells: Cells,
    path: Path,
    changes: Mapping[str, Any] | None = None,
    merged: Mapping[str, str] | None = None,
) -> Path:
    """Save cells as a workbook, some changed (``Costs!D7``), some merged (``Costs!B9:B10``)."""
    for place, value in (changes or {}).items():
        sheet, _, address = place.partition("!")
        cells[sheet][at(address)] = value
    book = xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False})
    days = book.add_format({"num_format": "yyyy-mm-dd"})
    for name, sheet in cells.items():
        worksheet = book.add_worksheet(name)
        for place, value in (merged or {}).items():
            if place.startswith(f"{name}!"):
                first, last = (at(address) for address in place.partition("!")[2].split(":"))
                worksheet.merge_range(*first, *last, "")
                sheet[first] = value
        for (row, column), value in sheet.items():
            if isinstance(value, Formula):
                worksheet.write_formula(row, column, value.text, None, value.value)
            elif isinstance(value, dt.date):
                worksheet.write_datetime(row, column, value, days)
            elif isinstance(value, bool):
                worksheet.write_boolean(row, column, value)
            elif isinstance(value, str):
                worksheet.write_string(row, column, value)
            elif value is not None:
                worksheet.write_number(row, column, value)
    book.close()
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(InvalidCase) as caught:
        read_case_workbook(path)
    return str(caught.value).splitlines()


# ---------------------------------------------------------------- cases

WORDS = (
    st.text("abc đặẵẩểệồỡự=+-@<&\"'{}#_0", min_size=1, max_size=20)
    .map(str.strip)
    .filter(lambda text: text.strip("*") and text)
)
NUMBER = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
POSITIVE = st.integers(1, 10**12).map(lambda n: n / 100)
SHARE = st.integers(1, 999).map(lambda n: n / 1000)


def ranges(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    three = st.lists(numbers, min_size=3, max_size=3).map(sorted)
    return numbers | three.map(lambda ends: dict(zip(("low", "mode", "high"), ends, strict=True)))


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def months(draw: st.DrawFn, horizon: int) -> dict[str, int]:
    month = draw(st.integers(0, horizon))
    return {"month": month} | ({"until_month": draw(st.integers(month, horizon))} if draw(st.booleans()) else {})


@st.composite
def costs(draw: st.DrawFn, horizon: int) -> dict[str, Any]:
    when = draw(months(horizon))
    kind = st.just("recurring") if "until_month" in when else st.just("one_off")
    return {"category": draw(st.integers(1, 8)), "amount": draw(POSITIVE), **when} | draw(
        maybe(
            currency=st.sampled_from(["VND", "USD"]),
            kind=kind,
            beneficiary=st.sampled_from(["customers", "employees"]),
            overrun=ranges(st.integers(-500, 9000).map(lambda n: n / 1000)),
            useful_life_months=st.integers(1, 360),
        )
    )


@st.composite
def programmes(draw: st.DrawFn, name: str, others: list[str], horizon: int) -> dict[str, Any]:
    source = {"source": WORDS}
    metric = maybe(metric=st.sampled_from(["nps", "csat", "ces"]))
    route = draw(st.sampled_from(["score_gain", "drivers", "none"]))
    stated = {"id": name, "name": draw(WORDS), "evidence": draw(st.sampled_from(CHOICES["evidence"]))}
    stated["costs"] = draw(st.lists(costs(horizon), min_size=1, max_size=3))
    savings = st.builds(
        lambda when, fields: when | fields,
        months(horizon),
        st.fixed_dictionaries({"amount": ranges(POSITIVE), **source}, optional={"currency": st.just("USD")}),
    )
    stated["savings"] = draw(st.lists(savings, min_size=int(route == "none"), max_size=2))
    if route == "score_gain":
        gain = draw(ranges(NUMBER))
        stated["score_gain"] = (gain if isinstance(gain, dict) else {"mode": gain}) | draw(metric)
    if route == "drivers":
        driver = st.fixed_dictionaries(
            {"touchpoint": WORDS, "gain": ranges(NUMBER), "pass_through": ranges(NUMBER), **source},
            optional={"metric": st.sampled_from(["nps", "csat"])},
        )
        stated["drivers"] = draw(st.lists(driver, min_size=1, max_size=2))
    if route != "none":
        stated |= {
            "reach": draw(SHARE),
            "ramp_months": draw(st.integers(0, horizon * 2)) / 2 if horizon else 0,
            "half_life_months": draw(st.just("never") | POSITIVE),
        }
    benefits = st.builds(
        lambda number, when, money, note: {"benefit": number} | (when | money if number > 7 and money else {}) | note,
        st.integers(1, 10),
        months(horizon),
        st.none() | st.fixed_dictionaries({"amount": ranges(NUMBER), **source}),
        maybe(note=WORDS),
    )
    stated["benefits"] = draw(st.lists(benefits, max_size=2))
    return stated | draw(
        maybe(
            start_month=st.integers(0, horizon),
            intent=WORDS,
            owner=WORDS,
            touchpoint=WORDS,
            source=WORDS,
            discipline=st.sampled_from(CHOICES["discipline"]),
            requires=st.lists(st.sampled_from(others), unique=True, max_size=2) if others else st.just([]),
        )
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    horizon = draw(st.integers(1, 60))
    names = draw(st.lists(st.text("abcđếệộ_-09", min_size=1, max_size=9), min_size=1, max_size=3, unique=True))
    names = [f"{name}{number}" for number, name in enumerate(names) if name != "total"]
    stated = {
        "currency": "VND",
        "start": draw(st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 31))),
        "horizon_months": horizon,
        "annual_discount_rate": draw(st.integers(0, 999)) / 1000,
        "programmes": [draw(programmes(name, [each for each in names if each != name], horizon)) for name in names],
        "exchange_rates": {"USD": draw(POSITIVE)} | draw(maybe(EUR=POSITIVE, JPY=POSITIVE)),
    }
    quarters = st.lists(POSITIVE, min_size=-(-horizon // 3), max_size=-(-horizon // 3))
    budget = maybe(total=POSITIVE, per_quarter=POSITIVE | quarters).filter(bool)
    profile = maybe(business_model=st.sampled_from(CHOICES["business_model"]), state=WORDS, goal=WORDS).filter(bool)
    basis = st.fixed_dictionaries(
        {"source": WORDS, "kind": st.sampled_from(CHOICES["basis"])}, optional={"owner": WORDS}
    )
    inputs = st.lists(st.sampled_from(case_rules.uncertain_inputs(names)), min_size=2, max_size=2, unique=True)
    correlation = st.fixed_dictionaries(
        {"inputs": inputs, "correlation": SHARE.map(lambda x: round(x - 0.5, 3)), "source": WORDS}
    )
    return Case.model_validate(
        stated
        | draw(
            maybe(
                tax_rate=SHARE,
                timing=st.sampled_from(["end", "mid"]),
                annual_inflation_rate=SHARE.map(lambda x: round(x - 0.5, 3)),
                budget=budget,
                profile=profile,
                sources=st.dictionaries(
                    st.sampled_from(["annual_discount_rate", "market share", f"reach.{names[0]}"]), basis
                ),
                correlations=st.lists(correlation, max_size=1),
            )
        )
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
@given(case=cases(), code=st.sampled_from(CODES))
def test_a_case_survives_workbook_and_yaml(tmp_path_factory: pytest.TempPathFactory, case: Case, code: Any) -> None:
    path = tmp_path_factory.mktemp("round") / "case.xlsx"
    write_case_workbook(case, path, lang=code)
    back = read_workbook(path)
    assert back.case == case
    assert back.notices == ()
    assert parse_case(case_yaml(case)) == case


# ---------------------------------------------------------------- the template


@pytest.mark.parametrize("code", CODES)
def test_the_template_has_the_same_bytes_every_time_and_nothing_filled_in_but_the_horizon(
    code: Any, tmp_path: Path
) -> None:
    for name in ("a.xlsx", "b.xlsx"):
        write_template(tmp_path / name, lang=code)
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    told = faults(tmp_path / "a.xlsx")
    title = Language(code).text("case_workbook.sheet.finance")
    assert [line.partition("!")[2].split(" ")[0] for line in told[1:]] == ["D6", "D7", "D9"]
    assert all(title in line for line in told[1:])
    assert Language(code).text("case_workbook.sheet.programmes") in told[0]


def test_both_languages_read_back_whatever_they_are_mixed_with(filled, tmp_path: Path) -> None:
    cells = filled("en")
    cells["Costs"][at("C9")] = "2 đào tạo và tư vấn "
    cells["Programmes"][at("D12")] = "mối liên hệ"
    cells["Tài chính"] = cells.pop("Finance")
    assert read_case_workbook(save(cells, tmp_path / "case.xlsx")) == example_case("en")


def test_texts_of_excel_fit_its_limits() -> None:
    for code in CODES:
        for sheet in SHEETS:
            assert len(sheet.title(code)) <= 31
        for block in BLOCKS.values():
            for field in block.fields:
                assert len(Language(code).text(f"case_workbook.help.{block.name}.{field.message}")) <= 255
        for name in ("list_error", "list_open", "number_error", "code_error"):
            assert len(Language(code).text(f"case_workbook.{name}")) <= 225


def test_headings_and_choices_are_told_apart_in_both_languages_at_once() -> None:
    for sheet in SHEETS:
        owners: dict[str, set[tuple[str, str]]] = {}
        for block in sheet.blocks:
            for code in CODES:
                for key, label in block.labels(code).items():
                    owners.setdefault(label.casefold(), set()).add((block.name, key))
        assert all(len(each) == 1 for each in owners.values()), sheet.name
    for choices, names in CHOICES.items():
        for code in CODES:
            assert len({choice_words(choices, name, code).casefold() for name in names}) == len(names)
            assert all(choice_meaning(choices, name, code) for name in names if choices != "assumption")


def test_every_field_of_the_model_has_a_place_in_the_workbook() -> None:
    asked = {
        name: {field.key.partition(".")[0] for field in block.fields if field.role != "remark"} - {"programme"}
        for name, block in BLOCKS.items()
    }
    nested: dict[type[BaseModel], tuple[str, set[str]]] = {
        Programme: ("programmes", {"drivers", "costs", "savings", "benefits"}),
        Driver: ("drivers", set()),
        Cost: ("costs", set()),
        Saving: ("savings", set()),
        Benefit: ("benefits", set()),
        Profile: ("profile", set()),
        Basis: ("sources", {"assumption"}),
        Case: ("finance", {"programmes", "exchange_rates", "profile", "correlations", "sources"}),
    }
    for model, (block, elsewhere) in nested.items():
        assert set(model.model_fields) == (asked[block] | elsewhere) - ({"assumption"} if model is Basis else set()), (
            model
        )
    assert {f"budget.{name}" for name in Budget.model_fields} <= {field.key for field in BLOCKS["finance"].fields}
    assert set(Correlation.model_fields) - {"inputs"} <= asked["correlations"]


def test_every_fault_of_the_case_can_be_said_of_a_cell() -> None:
    source = Path(case_rules.__file__).read_text(encoding="utf-8")
    rules = set(re.findall(r'_fault\(\s*f?"[^"]*",\s*"(\w+)"', source)) | set(re.findall(r'rule="(\w+)"', source))
    assert {"total", "beyond_horizon", "repeated_id", "no_rate", "not_one_off", "two_routes"} <= rules
    for code in CODES:
        assert {rule for rule in rules if f"case_fault.{rule}" not in catalogue(code)} == set()
        for name in ("score_gain", "reach", "ramp_months", "half_life_months"):
            assert placeholders(catalogue(code)[f"case_fault.no_{name}"]) == {"at"}


@pytest.mark.parametrize("code", CODES)
def test_the_workbook_guides_while_typing(code: Any, tmp_path: Path) -> None:
    write_template(tmp_path / "case.xlsx", lang=code)
    with zipfile.ZipFile(tmp_path / "case.xlsx") as archive:
        sheets = [archive.read(f"xl/worksheets/sheet{number}.xml").decode() for number in range(1, len(SHEETS) + 1)]
        book = archive.read("xl/workbook.xml").decode()
    for sheet, text in zip(SHEETS, sheets, strict=True):
        validations = re.findall(r"<dataValidation .*?sqref", text)
        assert len(validations) == sum(len(block.fields) for block in sheet.blocks)
        assert all("promptTitle=" in each and "prompt=" in each for each in validations)
        assert "<f>" not in re.sub(r"<(conditionalFormatting|definedName).*?</\1>", "", text)
        if sheet.blocks:
            assert 'state="frozen"' in text
        assert 'orientation="landscape"' in text
    assert {f"list_{choices}" for choices in CHOICES} | {"list_programme"} <= set(
        re.findall(r'name="(list_\w+)"', book)
    )
    costs = sheets[[sheet.name for sheet in SHEETS].index("costs")]
    assert "<formula1>list_category</formula1>" in costs
    assert "<formula1>list_programme</formula1>" in costs


# ---------------------------------------------------------------- wrong cells


def test_every_wrong_cell_is_named_at_once(filled, tmp_path: Path) -> None:
    path = save(
        filled("en"),
        tmp_path / "case.xlsx",
        {
            "Costs!D9": "5 triệu",
            "Costs!B10": "call_center",
            "Costs!C11": "9 Something",
            "Costs!F11": 6.5,
            "Costs!D10": "1.000",
            "Programmes!D16": 0.6,
            "Programmes!D18": 40,
            "Programmes!D6": "call centre",
            "Programmes!E20": None,
            "Programmes!E12": "experimental",
            "Finance!D6": "đ",
            "Finance!D7": "10/11/2026",
            "Finance!D9": 12,
            "Finance!C20": "ABC",
            "Savings!F9": "soon",
            "Drivers!H8": 0.01,
            "Benefits!C8": "1 Customers stay",
            "Sources!E10": None,
            "Correlations!F8": 1,
        },
    )
    assert faults(path) == [
        'Programmes!D6 must be 1 to 64 letters, digits, _ or -; got "call centre". Write call_centre.',
        'Programmes!E12 must be one of the list; got "experimental". Did you mean experiment?',
        "Programmes!D17 must not be below Programmes!D16; got 0.5. Put low, most likely and high in order.",
        "Programmes!D18 must be a share above 0% up to 100%; got 40. Write 40%.",
        "Programmes!E20 is empty; a programme with a gain must say after how many months it is in full force. "
        "Write, for example, 6, or 0 for at once.",
        "Drivers!G8 must not be above Drivers!H8; got 0.1. Put low, most likely and high in order.",
        'Costs!D9 must be a number from 0; got "5 triệu". Write 5000000.',
        'Costs!B10 must be the code of a programme; got "call_center". Codes on the sheet "Programmes": call centre, app.',
        'Costs!D10 must be a number from 0; got "1.000". Write 1000 or 1, without separators.',
        'Costs!C11 must be one of the list; got "9 Something". Choose one of: '
        + " · ".join(choice_words("category", name, "en") for name in CHOICES["category"])
        + ".",
        "Costs!F11 must be a whole number from 0; got 6.5. Write, for example, 6.",
        "Savings!B9 is empty; it must be the code of a programme.",
        "Savings!D9 is empty; it must be a number. Write, for example, 500000000.",
        'Savings!F9 must be the three letters of a currency; got "soon". Write, for example, VND.',
        "Savings!G9 is empty; it must be a whole number from 0. Write, for example, 6.",
        "Savings!I9 is empty; it must be text of at most 500 characters.",
        "Benefits!F8 must be empty: benefits 1 to 7 are parts of one customer value, which the gain already moves, "
        "and would count twice. Remove the amount.",
        'Finance!D6 must be the three letters of a currency; got "đ". Write VND.',
        'Finance!D7 must be a date; got "10/11/2026". Write 2026-11-10 or 2026-10-11, whichever you mean.',
        "Finance!D9 must be a share from 0% and below 100%; got 12. Write 12%.",
        "Finance!B20: this line is marked as an example and is not read, but it is not the template's example any more. "
        "Move your values to a line without the mark, and leave the example as it was or delete it.",
        "Correlations!F8 must be a number above -1 and below 1; got 1. Write, for example, 0.3.",
        "Sources!E10 is empty; it must be text of at most 500 characters.",
    ]


def test_a_vietnamese_workbook_complains_in_vietnamese(filled, tmp_path: Path) -> None:
    changes = {
        "Chi phí!D9": "5 triệu",
        "Chi phí!F10": 40,
        "Chi phí!G10": None,
        "Chương trình!D18": 40,
        "Tài chính!D9": None,
        "Tài chính!D7": "31/02/2026",
    }
    assert faults(save(filled("vi"), tmp_path / "case.xlsx", changes)) == [
        "Chương trình!D18 phải là một tỷ lệ lớn hơn 0% và không quá 100%; hiện là 40. Hãy ghi 40%.",
        'Chi phí!D9 phải là một số từ 0 trở lên; hiện là "5 triệu". Hãy ghi 5000000.',
        "Chi phí!F10 phải nằm trong thời gian đánh giá 36 tháng; hiện là 40. Hãy kéo dài thời gian đánh giá ở trang Tài "
        "chính, hoặc ghi tháng sớm hơn.",
        "Chi phí!G10 còn trống; chi phí hằng tháng phải có tháng cuối. Hãy ghi, ví dụ, 36.",
        'Tài chính!D7 phải là một ngày; hiện là "31/02/2026". Hãy ghi, ví dụ, 2026-10-01.',
        "Tài chính!D9 còn trống; ô này phải là một tỷ lệ từ 0% trở lên và nhỏ hơn 100%. Hãy ghi, ví dụ, 20%.",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Costs!B9": None, "Costs!B10": None}, "Costs!B9 is empty; it must be the code of a programme."),
        ({"Costs!H10": "once"}, "Costs!H10 says once, but a later last month is stated."),
        ({"Costs!G10": 0}, "Costs!G10 must not lie before month 1; got 0. Exchange the two."),
        ({"Costs!E11": "EUR"}, "Costs!E11: there is no exchange rate for EUR. Write one on the sheet Finance."),
        ({"Costs!J10": None}, "Costs!J10 is empty; low, most likely and high must all be filled in"),
        ({"Costs!J10": 30}, "Costs!J10 must be a share; got 30. Write 30%."),
        ({"Costs!M10": 0}, "Costs!M10 must be a whole number from 1 up to 360; got 0. Write, for example, 6."),
        ({"Programmes!D21": "forever"}, "Programmes!D21 must be a number of months above 0, or the word never"),
        ({"Programmes!D6": "total"}, "Programmes!D6 must not be total"),
        ({"Programmes!E6": "call_centre"}, "Programmes!E6 repeats the code call_centre."),
        (
            {"Programmes!F6": "third", "Programmes!F7": "x", "Programmes!F12": "experiment"},
            "Programmes!F6 has no cost.",
        ),
        ({"Programmes!E14": "NPS"}, "Programmes!E14 names a score, but no gain is stated beside it."),
        ({"Programmes!E16": 0.2}, "Programmes!E16 states a gain, and the sheet Drivers states one"),
        ({"Programmes!D22": "apps, app"}, "Programmes!D22 must name other programmes; got apps."),
        ({"Benefits!H8": None}, "Benefits!H8 is empty; an amount must say its first month."),
        ({"Benefits!J8": None}, "Benefits!J8 is empty; an amount must say where it is from."),
        ({"Finance!D14": 5}, "Finance!D14 is filled in although the limit of each quarter stands in Finance!D32."),
        ({"Finance!D34": None}, "Finance!D34 is empty, but other quarters have a limit."),
        ({"Finance!C34": 7}, "Finance!C34 must be quarter 3; got 7."),
        ({"Finance!C34": 2}, "Finance!C34 must be quarter 3; got 2."),
        ({"Finance!D8": 24}, "Finance!D32: the horizon has 8 quarters, but 12 limits are stated."),
        ({"Finance!C22": "USD", "Finance!D22": 2}, "Finance!C22 states USD a second time."),
        ({"Finance!C22": "XXQ", "Finance!D22": 2}, "Finance!C22 must be the three letters of a currency"),
        ({"Sources!B10": "Discount rate", "Sources!C10": None}, "Sources!B10 states the source of the same assumption"),
        ({"Correlations!E8": "call_centre"}, "Correlations!D8 names the same assumption as the first."),
        (
            {"Costs!D9": "nhiều tiền"},
            'Costs!D9 must be a number from 0; got "nhiều tiền". Write, for example, 500000000.',
        ),
        ({"Costs!D9": True}, "Costs!D9 must be a number from 0; got TRUE."),
        ({"Costs!D9": dt.date(2026, 1, 2)}, "Costs!D9 must be a number from 0; got 2026-01-02."),
        ({"Costs!D9": -1}, "Costs!D9 must be a number from 0; got -1."),
        ({"Costs!D9": "1,5 tỷ"}, "Write 1500000000."),
        ({"Costs!D9": "500.000.000 VND"}, "Write 500000000."),
        ({"Costs!F9": "tháng 6"}, 'Costs!F9 must be a whole number from 0; got "tháng 6".'),
        ({"Finance!D7": 46296}, "Finance!D7 must be a date; got 46296. Write, for example, 2026-10-01."),
        ({"Costs!D9": Formula("=A1*2", "")}, "Costs!D9 holds a formula without a stored value."),
        ({"Costs!D9": Formula("=1/0", "#DIV/0!")}, 'Costs!D9 shows the error "#DIV/0!".'),
        (
            {"Costs!D5": "Money"},
            'Costs!D5: "Money" is no heading of this sheet, and "Amount" is missing. Write "Amount" there.',
        ),
        ({"Costs!D5": None}, '"Costs" lacks "Amount".'),
        ({"Costs!E5": "Amount"}, 'Costs!E5 repeats the heading "Amount".'),
        (
            {"Finance!A9": "Interest"},
            'Finance!A9: "Interest" is no heading of this sheet, and "Discount rate (% a year)" is missing.',
        ),
        ({"Programmes!C7": "Our own"}, "Programmes!C5: this line is marked as an example"),
        ({"Costs!N12000": "far"}, "Costs!N12000 lies far outside the table."),
        ({"Costs!D9": "two\nlines\u202e"}, r'got "two\nlines\u202e"'),
    ],
)
def test_a_wrong_cell_is_named(filled, tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    lines = faults(save(filled("en"), tmp_path / "case.xlsx", changes))
    assert any(told in line for line in lines), lines
    assert len(lines) <= 8


# ---------------------------------------------------------------- what people do


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"Costs!D9": "500.000.000"}, True),
        ({"Costs!D9": "500,000,000"}, True),
        ({"Costs!D9": "500\u00a0000\u202f000"}, True),
        ({"Costs!D9": " 500000000 "}, True),
        ({"Costs!D9": Formula("=250000000*2", 500_000_000)}, True),
        ({"Costs!C9": 2}, True),
        ({"Costs!C9": "  2  TRAINING and\u00a0consulting"}, True),
        ({"Costs!B9": " Call_Centre\u00a0"}, True),
        ({"Costs!K10": "10%", "Costs!L10": "30 %", "Costs!J10": "0"}, True),
        ({"Programmes!D18": "40%"}, True),
        ({"Programmes!D18": "0,4"}, True),
        ({"Programmes!D18": "40,0 %"}, True),
        ({"Finance!D7": "2026-10-01"}, True),
        ({"Finance!D7": " 1.10.2026"}, False),
        ({"Finance!D6": "vnd"}, True),
        ({"Finance!D9": "12,0%"}, True),
        ({"Costs!C100": "  ", "Costs!D100": "\u00a0"}, True),
        ({"Costs!B7": None, "Costs!C7": None, "Costs!D7": None}, True),
        ({"Costs!A8": "example 2"}, True),
        ({"Costs!N9": "paid by marketing"}, True),
        ({"Programmes!E21": " NEVER "}, True),
        ({"Programmes!D8": unicodedata.normalize("NFD", "Solve it at the first contact")}, True),
    ],
)
def test_what_people_type_is_understood(filled, tmp_path: Path, changes: dict[str, Any], same: bool) -> None:
    path = save(filled("en"), tmp_path / "case.xlsx", changes)
    if same:
        assert read_case_workbook(path) == example_case("en")
    else:
        assert "whichever you mean" in faults(path)[0]


def test_day_and_month_stand_in_vietnamese_order_in_a_vietnamese_workbook(filled, tmp_path: Path) -> None:
    path = save(filled("vi"), tmp_path / "case.xlsx", {"Tài chính!D7": "1/10/2026"})
    assert read_case_workbook(path) == example_case("vi")


def test_lines_may_move_and_columns_may_be_exchanged_and_added(filled, tmp_path: Path) -> None:
    cells = filled("en")
    costs = cells["Costs"]
    for column in range(14):
        costs[30, column] = costs.pop((10, column), None)
    for row in range(31):
        costs[row, 3], costs[row, 4] = costs.get((row, 4)), costs.get((row, 3))
    changes = {"Costs!Q5": "Our own remark", "Costs!Q9": "ask Lan", "Costs!T9": "loose"}
    reading = read_workbook(save(cells, tmp_path / "case.xlsx", changes))
    assert reading.case == example_case("en")
    assert reading.notices == (
        'Costs!Q5: the heading "Our own remark" is not part of the template, and what stands there was not read.',
    )


def test_decomposed_vietnamese_is_the_same_text(filled, tmp_path: Path) -> None:
    cells = {
        unicodedata.normalize("NFD", name): {
            place: unicodedata.normalize("NFD", value) if isinstance(value, str) else value
            for place, value in sheet.items()
        }
        for name, sheet in filled("vi").items()
    }
    assert read_case_workbook(save(cells, tmp_path / "case.xlsx")) == example_case("vi")


def test_a_programme_merged_over_its_lines_counts_for_each_of_them(filled, tmp_path: Path) -> None:
    path = save(filled("en"), tmp_path / "case.xlsx", {"Costs!B10": None}, {"Costs!B9:B10": "call_centre"})
    assert read_case_workbook(path) == example_case("en")
    path = save(filled("en"), tmp_path / "sum.xlsx", {"Costs!D10": None}, {"Costs!D9:D10": 560_000_000})
    assert any("Costs!D9 is merged over several lines" in line for line in faults(path))


def test_sheets_may_be_added_but_not_renamed(filled, tmp_path: Path) -> None:
    cells = filled("en") | {"Scratch": {(0, 0): "mine"}}
    reading = read_workbook(save(cells, tmp_path / "extra.xlsx"))
    assert reading.case == example_case("en")
    assert reading.notices == ('The sheet "Scratch" is not part of the case and was not read.',)
    cells["Costs 2026"] = cells.pop("Costs")
    assert 'The sheet "Costs 2026" looks like "Costs". Give it that name again.' in faults(
        save(cells, tmp_path / "r.xlsx")
    )
    del cells["Costs 2026"]
    assert any('The sheet "Costs" is missing.' in line for line in faults(save(cells, tmp_path / "missing.xlsx")))
    cells = filled("en")
    for name in ("Guide", "Lists", "Profile", "Correlations"):
        del cells[name]
    assert read_case_workbook(save(cells, tmp_path / "fewer.xlsx")).profile is None
    cells["Chi phí"] = dict(cells["Costs"])
    assert any("two languages" in line for line in faults(save(cells, tmp_path / "twice.xlsx")))


def test_a_renamed_optional_sheet_is_not_lost_in_silence(filled, tmp_path: Path) -> None:
    cells = filled("en")
    cells["Our benefits"] = cells.pop("Benefits")
    assert faults(save(cells, tmp_path / "case.xlsx")) == [
        'The sheet "Our benefits" looks like "Benefits". Give it that name again.'
    ]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = [
        '=HYPERLINK("http://x","y")',
        "+1",
        "-2+3",
        "@SUM(A1)",
        "<script>alert(1)</script>",
        "http://example.org",
    ]
    stated = example_case("en").model_dump()
    stated["profile"] = dict(zip(("state", "goal", "strategy"), hostile[:3], strict=True))
    stated["programmes"] = list(stated["programmes"])
    stated["programmes"][0] |= {"intent": hostile[3], "owner": hostile[4], "touchpoint": hostile[5]}
    case = Case.model_validate(stated)
    write_case_workbook(case, tmp_path / "case.xlsx")
    assert read_case_workbook(tmp_path / "case.xlsx") == case
    with zipfile.ZipFile(tmp_path / "case.xlsx") as archive:
        for name in archive.namelist():
            text = archive.read(name).decode()
            assert "<f>" not in text
            assert 'Target="http://' not in text
        styles = archive.read("xl/styles.xml").decode()
    assert 'quotePrefix="1"' in styles


def test_what_is_no_workbook_is_said_in_one_sentence(tmp_path: Path) -> None:
    contents = {
        "text.xlsx": b"currency: VND",
        "old.xls": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600),
        "empty.xlsx": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert len(faults(tmp_path / name)) == 1
    with zipfile.ZipFile(tmp_path / "zip.xlsx", "w") as archive:
        archive.writestr("anything.txt", "x")
    assert faults(tmp_path / "zip.xlsx") == ["zip.xlsx must be an Excel workbook (.xlsx). Save it as one in Excel."]
    with zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", bytes(101_000_000))
    assert "unpacks to 101 MB" in faults(tmp_path / "bomb.xlsx")[0]
    assert "No such file" in faults(tmp_path / "none.xlsx")[0]
    save({"Sheet1": {(0, 0): "x"}}, tmp_path / "other.xlsx")
    assert 'The sheet "Programmes" is missing.' in faults(tmp_path / "other.xlsx")[0]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.000.000", 1e6), ("1,000,000", 1e6), ("1 000 000", 1e6), ("1'000", 1e3), ("1.234,5", 1234.5), ("1,234.5", 1234.5),
        ("12,5", 12.5), ("12.5", 12.5), ("0,125", 0.125), ("0.125", 0.125), ("-3", -3), ("1.000,000", 1e3), ("1234.567", 1234.567),
        ("1,000.000.000", None), ("1.00.000", None), ("1.000.00", None), ("", None), ("1e5", None), ("five", None), ("1 2", None),
    ],
)  # fmt: skip
def test_numbers_typed_as_text(text: str, number: float | None) -> None:
    found = number_in(text)
    assert (found if found is None else float(found)) == number  # type: ignore[arg-type]


def test_a_number_with_two_readings_has_both() -> None:
    for text in ("1.000", "1,000", "12,345", "-999.999"):
        assert isinstance(number_in(text), Ambiguous)


# ---------------------------------------------------------------- in the place of case.yaml


def test_a_workbook_stands_for_case_yaml_but_not_beside_it(tmp_path: Path) -> None:
    assert case_beside(tmp_path) is None
    write_case_workbook(example_case("vi"), tmp_path / "case.xlsx", lang="vi")
    found = case_beside(tmp_path)
    assert found == tmp_path / "case.xlsx"
    assert read_case(found) == stated_case(str(tmp_path)) == example_case("vi")
    (tmp_path / "case.yaml").write_text(case_yaml(example_case("vi")), encoding="utf-8")
    with pytest.raises(InvalidCase, match=r"holds case\.yaml and case\.xlsx\. Move one of them away"):
        case_beside(tmp_path)


def test_template_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, yaml, again = tmp_path / "new" / "empty.xlsx", tmp_path / "case.yaml", tmp_path / "again.xlsx"
    assert cli.main(["template", str(empty), "--lang", "vi"]) == 0
    before = empty.read_bytes()
    assert cli.main(["template", str(empty)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert empty.read_bytes() == before
    assert cli.main(["template", str(empty), "--force"]) == 0
    assert cli.main(["check", str(empty)]) == 2
    assert "Finance!D6 is empty" in capsys.readouterr().err
    write_case_workbook(example_case("en"), tmp_path / "full.xlsx")
    save(cells_of(tmp_path / "full.xlsx") | {"Notes": {(0, 0): "x"}}, tmp_path / "full.xlsx")
    assert cli.main(["template", str(yaml), "--case", str(tmp_path / "full.xlsx")]) == 0
    assert 'The sheet "Notes" is not part of the case' in capsys.readouterr().out
    assert parse_case(yaml.read_text(encoding="utf-8")) == example_case("en")
    assert cli.main(["template", str(again), "--case", str(yaml), "--lang", "vi"]) == 0
    assert read_case(again) == example_case("en")
    assert cli.main(["check", str(again)]) == 0
    assert "No faults. Programmes: 2. Lines of costs: 3. Months: 36." in capsys.readouterr().out
    assert cli.main(["template", str(tmp_path / "case.txt")]) == 2
    assert cli.main(["template", str(tmp_path / "other.yaml")]) == 2
    assert "add --case FILE" in capsys.readouterr().err


# ---------------------------------------------------------------- documents


@pytest.mark.parametrize("code", CODES)
def test_the_document_says_what_the_sheets_say(code: Any, root: Path) -> None:
    words = (root / "docs" / f"investment-case{'' if code == 'en' else '.vi'}.md").read_text(encoding="utf-8")
    language = Language(code)
    for name, block in BLOCKS.items():
        assert f"# {language.text(f'case_workbook.title.{name}')}" in words
        assert language.text(f"case_workbook.about.{name}") in words
        for field in block.fields:
            star = " *" if field.needed else ""
            label, guidance = block.labels(code)[field.key], language.text(f"case_workbook.help.{name}.{field.message}")
            assert f"| {label}{star} | {guidance} |" in words
    for choices in ("evidence", "category", "benefit", "discipline"):
        for choice in CHOICES[choices]:
            assert f"- {choice_words(choices, choice, code)}: {choice_meaning(choices, choice, code)}" in words
