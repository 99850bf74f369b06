"""Sheets of a workbook in which one future of the case is computed by formulas: whoever changes a cell moves the figures.

The formulas are those of ``cxroi.case.what_if``; each carries Python's value, for programs that do not recalculate.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name, xl_rowcol_to_cell
from xlsxwriter.worksheet import Worksheet

from cxroi.case.terms import CATEGORIES
from cxroi.case.what_if import WhatIf, WhatIfResult, Workings, what_if, workings
from cxroi.language import SCALES, Language
from cxroi.spreadsheet import neutral

COUNTED_OUT = 6
"""Programmes up to which a sheet counts out which customers are reached by which of them."""

HEAD = 3  # row of column heads, counted from 0
FIRST = HEAD + 1
RESULTS = ("npv", "roi", "payback_months", "discounted_payback_months", "pv_cost", "pv_benefit")

Value = float | str


@dataclass(frozen=True, eq=False)
class Pages:
    """A workbook under way: what every sheet is written with."""

    book: Workbook
    language: Language
    formats: Mapping[str, Format]

    def sheet(self, name: str) -> Worksheet:
        """A new sheet with its title, fitted to the width of a page."""
        sheet = self.book.add_worksheet(self.name(name))
        sheet.hide_gridlines(2)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.fit_to_pages(1, 0)
        sheet.set_row(0, 26)
        sheet.write_string(0, 0, self.name(name), self.formats["title"])
        return sheet

    def name(self, sheet: str) -> str:
        """Name of a sheet."""
        return self.language.text(f"finance_workbook.sheet.{sheet}")

    def cell(self, sheet: str, row: int, column: int) -> str:
        """Address of a cell as other sheets write it."""
        return f"'{self.name(sheet)}'!{xl_rowcol_to_cell(row, column, row_abs=True, col_abs=True)}"


def counts_out(model: WhatIf) -> bool:
    """Whether sheets can hold this future: no gains beyond the scale of more programmes than are counted out."""
    together = sum(abs(each.score_gain) for each in model.programmes)
    return len(model.programmes) <= COUNTED_OUT or together <= model.score_width


def write_model(pages: Pages, model: WhatIf, start: dt.date) -> None:
    """Sheets of assumptions, cash flows, value of a point and costs, with names for inputs and results."""
    base, steps = what_if(model, model.inputs), workings(model, model.inputs)
    _assumptions(pages, model, base)
    _flows(pages, model, base, steps, start)
    _points(pages, model, steps)
    _costs(pages, model)


def charts(pages: Pages, sheet: Worksheet, model: WhatIf, row: int) -> None:
    """Cumulative cash flow, and costs by category, drawn by the spreadsheet program from the live sheets."""
    columns, last = _flow_columns(model), FIRST + model.months
    flows, text = pages.name("flows"), pages.language.text
    grid = {"visible": True, "line": {"color": "#D9D9D9"}}
    values = _flow_values(model, what_if(model, model.inputs), workings(model, model.inputs))

    def data(name: str) -> list[str | int]:
        return [flows, FIRST, columns[name], last, columns[name]]

    line = pages.book.add_chart({"type": "scatter", "subtype": "straight"})
    for name, colour, width in (("cumulative", "#8C8C8C", 1.5), ("cumulative_discounted", "#0072B2", 2.75)):
        head = [flows, HEAD, columns[name]]
        look = {"color": colour, "width": width}
        line.add_series({"name": head, "categories": data("month"), "values": data(name), "line": look})
    step = next(each for each in (3, 6, 12, 24, 60) if model.months <= 8 * each)
    axis = {"name": text("plots.months_ahead"), "min": 0, "max": model.months, "major_unit": step}
    line.set_x_axis({**axis, "num_format": "0", "label_position": "low", "major_gridlines": {"visible": False}})
    line.set_y_axis({"num_format": _short(values["cumulative"], pages.language), "major_gridlines": grid})
    line.set_legend({"position": "bottom"})

    bar = pages.book.add_chart({"type": "bar"})
    ends = columns[CATEGORIES[0]], columns[CATEGORIES[-1]]
    bar.add_series(
        {
            "categories": [flows, HEAD, ends[0], HEAD, ends[1]],
            "values": [flows, HEAD - 1, ends[0], HEAD - 1, ends[1]],
            "fill": {"color": "#0072B2"},
            "gap": 60,
        }
    )
    totals = np.array([values[name].sum() for name in CATEGORIES])
    scale = {"num_format": _short(totals, pages.language), "num_font": {"size": 8}, "min": 0}
    bar.set_x_axis({**scale, "major_gridlines": grid, "label_position": "high"})
    bar.set_y_axis({"reverse": True})
    bar.set_legend({"none": True})
    for at, (name, chart) in enumerate((("flows", line), ("costs", bar))):
        words = text(f"finance_workbook.chart.{name}")
        chart.set_title({"name": words, "name_font": {"size": 12}, "overlay": False})
        chart.set_size({"width": 540, "height": 320})
        sheet.insert_chart(row, 0, chart, {"description": words, "x_offset": 550 * at})


def _short(amounts: np.ndarray, language: Language) -> str:
    """Number format of an axis, in millions or more where amounts are that large."""
    largest = float(np.abs(amounts).max(initial=0.0))
    for name, exponent in SCALES:
        if largest >= 2 * 10.0**exponent:
            decimals = ".0" if largest < 10 * 10.0**exponent else ""
            return f'#,##0{decimals}{"," * (exponent // 3)}" {language.text(f"scale.{name}")}"'
    return "#,##0"


def _assumptions(pages: Pages, model: WhatIf, base: WhatIfResult) -> None:
    """Input cells, each with a name, and the results beside them."""
    sheet, text, formats = pages.sheet("assumptions"), pages.language.text, pages.formats
    sheet.write_string(1, 0, text("finance_workbook.assumptions"), formats["note"])
    for column, head in enumerate(("assumption", "value")):
        sheet.write_string(HEAD, column, text(f"executive.column.{head}"), formats["head"])
    next_row = _general_inputs(pages, sheet, model)
    sheet.write_string(next_row + 1, 0, text("nb.column.programme"), formats["head"])
    for at in range(1, len(model.programmes) + 1):
        _programme_inputs(pages, sheet, model, next_row + 1, at)
    side = result_column(model)
    for column, head in enumerate(("result", "base", "now"), start=side):
        words = text(f"finance_workbook.column.{head}")
        sheet.write_string(HEAD, column, words, formats["head" if column == side else "head_right"])
    for at, name in enumerate(RESULTS):
        value, style = shown(pages, name, getattr(base, name)), formats[style_of(name)]
        sheet.write_string(FIRST + at, side, text(f"executive.measure.{name}"), formats["text"])
        sheet.write(FIRST + at, side + 1, value, style)
        sheet.write_formula(FIRST + at, side + 2, _result(pages, model, name), style, value)
        _name(pages, f"result_{name}", "assumptions", FIRST + at, side + 2)
    sheet.set_column(0, 0, 46)
    sheet.set_column(1, len(model.programmes), 20)
    sheet.set_column(side, side, 36)
    sheet.set_column(side + 1, side + 2, 22)


def _general_inputs(pages: Pages, sheet: Worksheet, model: WhatIf) -> int:
    """What holds for all programmes, a row each; gives the row below."""
    inputs: list[tuple[str, Value, str, tuple[str, float, float] | None]] = [
        ("discount_rate", model.annual_discount_rate, "percent", ("decimal", 0, 10)),
        ("horizon_months", model.horizon_months, "whole", ("integer", 1, model.months)),
        ("cost_multiple", 1.0, "number", ("decimal", 0, 1000)),
        ("margin_multiple", 1.0, "number", ("decimal", 0, 1000)),
        ("tax_rate", model.tax_rate, "percent", ("decimal", 0, 0.999)),
        ("inflation_rate", model.annual_inflation_rate, "percent", ("decimal", -0.999, 0.999)),
        ("months_earlier", 0.5 if model.timing == "mid" else 0.0, "number", ("decimal", 0, 0.5)),
        ("customers", model.customers, "whole", None),
        ("score_width", model.score_width, "number", None),
    ]
    for row, (name, value, style, rule) in enumerate(inputs, start=FIRST):
        sheet.write_string(row, 0, pages.language.text(f"finance_workbook.input.{name}"), pages.formats["text"])
        _input(pages, sheet, row, 1, name, value, style, rule)
    return FIRST + len(inputs)


def _programme_inputs(pages: Pages, sheet: Worksheet, model: WhatIf, top: int, at: int) -> None:
    """A column with what one programme does, below its name."""
    programme, text = model.programmes[at - 1], pages.language.text
    half_life: Value = programme.half_life_months
    rows: list[tuple[str, Value, str, tuple[str, float, float] | None]] = [
        ("gain", programme.score_gain, "number", None),
        ("reach", programme.reach, "percent", ("decimal", 0, 1)),
        ("start", programme.start_month, "whole", ("integer", 0, model.months)),
        ("ramp", programme.ramp_months, "number", ("decimal", 0, 1000)),
        ("half_life", text("executive.never") if half_life == math.inf else half_life, "number", None),
    ]
    sheet.write_string(top, at, neutral(programme.name), pages.formats["head_right"])
    for row, (name, value, style, rule) in enumerate(rows, start=top + 1):
        sheet.write_string(row, 0, text(f"finance_workbook.programme.{name}"), pages.formats["text"])
        _input(pages, sheet, row, at, f"{name}_{at}", value, style, rule)
    used = top + 1 + len(rows)
    sheet.write_string(used, 0, text("finance_workbook.programme.used"), pages.formats["text"])
    within = f"=MAX(-score_width,MIN(score_width,gain_{at}))"
    sheet.write_formula(used, at, within, pages.formats["number"], programme.score_gain)
    _name(pages, f"used_{at}", "assumptions", used, at)


def result_column(model: WhatIf) -> int:
    """Column of the assumptions in which the results begin: their names, the base, then what the cells make of it."""
    return max(3, len(model.programmes) + 2)


def style_of(result: str) -> str:
    """Format of a result."""
    return "percent" if result == "roi" else "months" if result.endswith("months") else "money"


def _result(pages: Pages, model: WhatIf, name: str) -> str:
    """Formula of a figure from the sheet of cash flows."""
    kept, flows = "(1-tax_rate)", _flow_columns(model)

    def months(column: str) -> str:
        first, last = (pages.cell("flows", row, flows[column]) for row in (FIRST, FIRST + model.months))
        return f"{first}:{last.rpartition('!')[2]}"

    discount = months("discount")
    if name == "pv_cost":
        return f"={kept}*SUMPRODUCT({months('cost')},{discount})"
    if name == "pv_benefit":
        return f"={kept}*(SUMPRODUCT({months('margin')},{discount})+SUMPRODUCT({months('stated')},{discount}))"
    if name == "npv":
        return "=result_pv_benefit-result_pv_cost"
    if name == "roi":
        return f"=IF(result_pv_cost=0,{_quoted(pages.language.text('executive.none'))},result_npv/result_pv_cost)"
    start = "discounted_" if name.startswith("discounted") else ""
    sums = months("cumulative_discounted" if start else "cumulative")
    latest = pages.cell("flows", FIRST + model.months, flows[f"{start}below"])
    owed, earned = f"INDEX({sums},{latest}+1)", f"INDEX({sums},{latest}+2)"
    never = _quoted(pages.language.text("executive.no_payback"))
    return f"=IF({latest}<0,0,IF({latest}>=horizon_months,{never},{latest}+MIN(1,-{owed}/({earned}-{owed}))))"


def _flow_columns(model: WhatIf) -> dict[str, int]:
    """Places of the columns of the cash flows."""
    shares = [f"share_{at}" for at in range(1, len(model.programmes) + 1)]
    names = ["month", "date", "discount", "prices", *shares, "margin", "stated", *CATEGORIES, "cost", "net"]
    names += ["cumulative", "discounted", "cumulative_discounted", "below", "discounted_below"]
    return {name: at for at, name in enumerate(names)}


def _flows(pages: Pages, model: WhatIf, base: WhatIfResult, steps: Workings, start: dt.date) -> None:
    """A row per month: from the share of a gain in force to the cumulative discounted cash flow."""
    sheet, formats, columns = pages.sheet("flows"), pages.formats, _flow_columns(model)
    letter = {name: xl_col_to_name(at) for name, at in columns.items()}
    sheet.write_string(1, 0, pages.language.text("finance_workbook.flows"), formats["note"])
    for name, at in columns.items():
        sheet.write_string(HEAD, at, _flow_head(pages, model, name), formats["head_wrap"])
    values = _flow_values(model, base, steps)
    formulas = {name: _flow_formula(pages, model, name, letter) for name in columns}
    money = {"margin", "stated", *CATEGORIES, "cost", "net", "cumulative", "discounted", "cumulative_discounted"}
    for month in range(model.months + 1):
        row = FIRST + month
        sheet.write_number(row, columns["month"], month, formats["whole"])
        day = pd.Timestamp(start) + pd.DateOffset(months=month)
        sheet.write_datetime(row, columns["date"], day.to_pydatetime(), formats["date"])
        for name, at in columns.items():
            if name in ("month", "date"):
                continue
            style = formats["amount" if name in money else "whole" if name.endswith("below") else "factor"]
            sheet.write_formula(row, at, formulas[name](month), style, float(values[name][month]))
    for name in (*("margin", "stated"), *CATEGORIES, "cost", "net", "discounted"):
        cells = f"{letter[name]}{FIRST + 1}:{letter[name]}{FIRST + 1 + model.months}"
        total = float(values[name].sum())
        sheet.write_formula(HEAD - 1, columns[name], f"=SUM({cells})", formats["total"], total)
    sheet.write_string(HEAD - 1, 0, pages.language.text("finance_workbook.column.total"), formats["text"])
    sheet.freeze_panes(FIRST, 2)
    sheet.repeat_rows(HEAD)
    sheet.set_row(HEAD, 62)
    sheet.set_column(0, 0, 9)
    sheet.set_column(1, columns["margin"] - 1, 12)
    sheet.set_column(columns["margin"], columns["cumulative_discounted"], 15)
    sheet.set_column(columns["below"], columns["discounted_below"], 13)


def _flow_head(pages: Pages, model: WhatIf, name: str) -> str:
    text = pages.language.text
    if name in CATEGORIES:
        return text(f"cost_categories.{name}")
    if name.startswith("share_"):
        programme = model.programmes[int(name.removeprefix("share_")) - 1].name
        return neutral(text("finance_workbook.column.share", programme=programme))
    return text(f"finance_workbook.column.{name}")


def _flow_formula(pages: Pages, model: WhatIf, name: str, letter: Mapping[str, str]) -> Callable[[int], str]:
    """Formula of a column by month."""

    def cell(column: str, month: int) -> str:
        return f"{letter[column]}{FIRST + 1 + month}"

    def counted(amount: str, month: int) -> str:
        return f"=IF({cell('month', month)}<=horizon_months,{amount}*{cell('prices', month)},0)"

    def share(month: int) -> str:
        at = name.removeprefix("share_")
        if month == 0:
            return "=0"
        time, ramp = f"({cell('month', month)}-0.5-start_{at})", f"ramp_{at}"
        rising = f"IF({ramp}=0,1,(1/(1+EXP(-10*(MIN({time}/{ramp},1)-0.5)))-1/(1+EXP(5)))/(1/(1+EXP(-5))-1/(1+EXP(5))))"
        fading = f"IF(ISNUMBER(half_life_{at}),0.5^(MAX({time}-{ramp},0)/half_life_{at}),1)"
        return f"=IF({time}<0,0,{rising}*{fading})"

    def margin(month: int) -> str:
        if month == 0:
            return "=0"
        quarter = pages.cell("point", FIRST + (month - 1) // 3, _point_columns(model)["margin"])
        return counted(f"{quarter}/3*margin_multiple", month)

    def stated(month: int) -> str:
        return counted(pages.cell("costs", FIRST + month, 1 + len(CATEGORIES)), month)

    def category(month: int) -> str:
        return counted(f"{pages.cell('costs', FIRST + month, 1 + CATEGORIES.index(name))}*cost_multiple", month)

    def running(of: str) -> Callable[[int], str]:
        return lambda month: f"={cell(of, month)}" if not month else f"={cell(name, month - 1)}+{cell(of, month)}"

    def below(of: str) -> Callable[[int], str]:
        every = f"${letter[of]}${FIRST + 1}:${letter[of]}${FIRST + 1 + model.months}"
        noise = f"-0.000000001*MAX(MAX({every}),-MIN({every}))"
        return lambda month: (
            f"=IF({cell(of, month)}<{noise},{cell('month', month)},{cell(name, month - 1) if month else -1})"
        )

    special: dict[str, Callable[[int], str]] = {
        "month": str,
        "date": str,
        "prices": lambda month: f"=(1+inflation_rate)^({cell('month', month)}/12)",
        "discount": lambda month: (
            f"=(1+discount_rate)^(-({cell('month', month)}{'-months_earlier' if month else ''})/12)"
        ),
        "margin": margin,
        "stated": stated,
        "cost": lambda month: f"=SUM({cell(CATEGORIES[0], month)}:{cell(CATEGORIES[-1], month)})",
        "net": lambda month: f"=(1-tax_rate)*({cell('margin', month)}+{cell('stated', month)}-{cell('cost', month)})",
        "discounted": lambda month: f"={cell('net', month)}*{cell('discount', month)}",
        "cumulative": running("net"),
        "cumulative_discounted": running("discounted"),
        "below": below("cumulative"),
        "discounted_below": below("cumulative_discounted"),
    }
    return special.get(name, share if name.startswith("share_") else category)


def _flow_values(model: WhatIf, base: WhatIfResult, steps: Workings) -> dict[str, np.ndarray]:
    """What the formulas of the cash flows come to at the base, by column, each of shape (months + 1,)."""
    month = np.arange(model.months + 1, dtype=float)
    counted = month <= model.horizon_months
    prices = (1.0 + model.annual_inflation_rate) ** (month / 12.0)
    time = np.where(month > 0, month - 0.5, 0.0) if model.timing == "mid" else month
    discount = (1.0 + model.annual_discount_rate) ** (-time / 12.0)
    costs = np.sum([each.costs for each in model.programmes], axis=0) * prices * counted
    stated = np.sum([each.benefit for each in model.programmes], axis=0) * prices * counted
    margin = np.concatenate([[0.0], np.repeat(steps.margin, 3) / 3.0]) * prices * counted
    net = np.concatenate([base.net, np.zeros(model.months - model.horizon_months)])
    values = {"discount": discount, "prices": prices, "margin": margin, "stated": stated, "cost": costs.sum(axis=0)}
    values |= {f"share_{at}": np.concatenate([[0.0], share]) for at, share in enumerate(steps.in_force, start=1)}
    values |= dict(zip(CATEGORIES, costs, strict=True))
    values |= {"net": net, "cumulative": np.cumsum(net), "discounted": net * discount}
    values["cumulative_discounted"] = np.cumsum(values["discounted"])
    for of, name in (("cumulative", "below"), ("cumulative_discounted", "discounted_below")):
        owing = values[of] < -1e-9 * np.abs(values[of]).max()
        values[name] = np.maximum.accumulate(np.where(owing, month, -1.0))
    return values


def _point_columns(model: WhatIf) -> dict[str, int]:
    """Places of the columns of the value of a point."""
    count = len(model.programmes)
    names = ["quarter", "retention", "spend", "referrals", "service", "level"]
    names += [f"share_{at}" for at in range(1, count + 1)]
    names += ["beyond"] if count > 1 else []
    names += ["points", "lasting", "margin"]
    names += [f"set_{'_'.join(str(each) for each in chosen)}" for chosen in _sets(model)]
    return {name: at for at, name in enumerate(names)}


def _sets(model: WhatIf) -> list[tuple[int, ...]]:
    """Programmes, counted from 1, that a customer may be reached by together."""
    count = len(model.programmes)
    if count > COUNTED_OUT:
        return []
    return [chosen for size in range(2, count + 1) for chosen in combinations(range(1, count + 1), size)]


def _points(pages: Pages, model: WhatIf, steps: Workings) -> None:
    """A row per quarter: what a point is worth, how many are gained, and the margin that follows."""
    sheet, formats, columns, text = pages.sheet("point"), pages.formats, _point_columns(model), pages.language.text
    letter = {name: xl_col_to_name(at) for name, at in columns.items()}
    flows = _flow_columns(model)
    sheet.write_string(1, 0, text("finance_workbook.point"), formats["note"])
    for name, at in columns.items():
        sheet.write_string(HEAD, at, _point_head(pages, model, name), formats["head_wrap"])
    channels = {
        "retention": model.through_retention,
        "spend": model.through_spend,
        "referrals": model.through_referrals,
        "service": model.through_service,
    }
    shares = steps.in_force.reshape(len(model.programmes), model.quarters, 3).mean(axis=2)
    lasting = np.cumsum(steps.points)
    for quarter in range(model.quarters):
        row = FIRST + quarter
        here = {name: f"{column}{row + 1}" for name, column in letter.items()}
        sheet.write_number(row, 0, quarter + 1, formats["whole"])
        for name, channel in channels.items():
            sheet.write_number(row, columns[name], float(channel[quarter]), formats["in_number"])

        def formula(name: str, words: str, value: float, style: str = "factor", row: int = row) -> None:
            sheet.write_formula(row, columns[name], words, formats[style], float(value))

        level = f"={here['spend']}+{here['referrals']}+{here['service']}"
        formula("level", level, model.through_level[quarter], "number")
        for at in range(1, len(model.programmes) + 1):
            months = [pages.cell("flows", FIRST + 3 * quarter + month, flows[f"share_{at}"]) for month in (1, 3)]
            average = f"=AVERAGE({months[0]}:{months[1].rpartition('!')[2]})"
            formula(f"share_{at}", average, shares[at - 1, quarter])
        gained = "+".join(f"used_{at}*reach_{at}*{here[f'share_{at}']}" for at in range(1, len(model.programmes) + 1))
        if "beyond" in columns:
            _beyond(model, here, formula, quarter, shares, steps)
        formula("points", f"={gained}" + (f"-{here['beyond']}" if "beyond" in columns else ""), steps.points[quarter])
        before = f"{letter['lasting']}{row}+" if quarter else ""
        formula("lasting", f"={before}{here['points']}", lasting[quarter])
        worth = f"{here['retention']}*{here['lasting']}+{here['level']}*{here['points']}"
        formula("margin", f"=customers*({worth})", steps.margin[quarter], "money")
    sheet.freeze_panes(FIRST, 1)
    sheet.set_row(HEAD, 62)
    sheet.set_column(0, 0, 9)
    sheet.set_column(1, max(columns.values()), 16)


def _beyond(
    model: WhatIf,
    here: Mapping[str, str],
    formula: Callable[[str, str, float], None],
    quarter: int,
    shares: np.ndarray,
    steps: Workings,
) -> None:
    """What customers reached by several programmes would gain beyond the scores' width, set by set and in sum."""
    count, sets = len(model.programmes), _sets(model)
    if not sets:
        together = "+".join(f"ABS(used_{at})" for at in range(1, count + 1))
        formula("beyond", f"=IF({together}<=score_width,0,NA())", 0.0)
        return
    names = [f"set_{'_'.join(str(each) for each in chosen)}" for chosen in sets]
    for chosen, name in zip(sets, names, strict=True):
        odds = "*".join(f"reach_{at}" if at in chosen else f"(1-reach_{at})" for at in range(1, count + 1))
        gained = "+".join(f"used_{at}*{here[f'share_{at}']}" for at in chosen)
        value = math.prod(
            programme.reach if at in chosen else 1.0 - programme.reach
            for at, programme in enumerate(model.programmes, start=1)
        )
        total = float(sum(model.programmes[at - 1].score_gain * shares[at - 1, quarter] for at in chosen))
        value *= total - min(max(total, -model.score_width), model.score_width)
        formula(name, f"={odds}*({gained}-MAX(-score_width,MIN(score_width,{gained})))", value)
    formula("beyond", f"=SUM({here[names[0]]}:{here[names[-1]]})", steps.beyond_scale[quarter])


def _point_head(pages: Pages, model: WhatIf, name: str) -> str:
    if name.startswith("share_"):
        return _flow_head(pages, model, name)
    if name.startswith("set_"):
        chosen = [model.programmes[int(at) - 1].id for at in name.removeprefix("set_").split("_")]
        return neutral(pages.language.text("finance_workbook.column.set", programmes=", ".join(chosen)))
    return pages.language.text(f"finance_workbook.column.{name}")


def _costs(pages: Pages, model: WhatIf) -> None:
    """Costs by month and category, and stated benefits, in prices of the start: cells that may be changed."""
    sheet, formats, text = pages.sheet("costs"), pages.formats, pages.language.text
    sheet.write_string(1, 0, text("finance_workbook.costs"), formats["note"])
    heads = [text("finance_workbook.column.month"), *(text(f"cost_categories.{name}") for name in CATEGORIES)]
    heads.append(text("finance_workbook.column.stated"))
    for at, head in enumerate(heads):
        sheet.write_string(HEAD, at, head, formats["head_wrap"])
    costs = np.sum([each.costs for each in model.programmes], axis=0)
    stated = np.sum([each.benefit for each in model.programmes], axis=0)
    for month in range(model.months + 1):
        sheet.write_number(FIRST + month, 0, month, formats["whole"])
        for at, amount in enumerate((*costs[:, month], stated[month]), start=1):
            sheet.write_number(FIRST + month, at, float(amount), formats["in_money"])
    sheet.freeze_panes(FIRST, 1)
    sheet.repeat_rows(HEAD)
    sheet.set_row(HEAD, 62)
    sheet.set_column(0, 0, 9)
    sheet.set_column(1, len(heads) - 1, 16)


def _input(
    pages: Pages,
    sheet: Worksheet,
    row: int,
    column: int,
    name: str,
    value: Value,
    style: str,
    rule: tuple[str, float, float] | None,
) -> None:
    """A cell that may be changed, with its name and what it may hold."""
    sheet.write(row, column, value, pages.formats[f"in_{style}"])
    _name(pages, name, "assumptions", row, column)
    if rule is not None:
        _valid(pages, sheet, row, column, rule)


def _name(pages: Pages, name: str, sheet: str, row: int, column: int) -> None:
    pages.book.define_name(name, f"={pages.cell(sheet, row, column)}")


def _valid(pages: Pages, sheet: Worksheet, row: int, column: int, rule: tuple[str, float, float]) -> None:
    """Refuse a value out of range, in words."""
    kind, low, high = rule
    language = pages.language
    ends = [language.number(end, 0 if float(end).is_integer() else 3) for end in (low, high)]
    sheet.data_validation(
        row,
        column,
        row,
        column,
        {
            "validate": kind,
            "criteria": "between",
            "minimum": low,
            "maximum": high,
            "error_title": language.text("finance_workbook.refused"),
            "error_message": language.text(f"finance_workbook.rule_{kind}", low=ends[0], high=ends[1]),
        },
    )


def shown(pages: Pages, name: str, value: float) -> Value:
    """A figure, or the words for one that does not exist."""
    if math.isfinite(value):
        return value
    return pages.language.text("executive.no_payback" if name.endswith("months") else "executive.none")


def _quoted(words: str) -> str:
    """Words as a constant in a formula."""
    return '"' + words.replace('"', '""') + '"'
