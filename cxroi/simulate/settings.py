"""What a simulated company writes about itself: ``dataset.yaml``, ``case.yaml``, its initiatives and their costs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import yaml

from cxroi import periods
from cxroi.simulate.files import TABLES, FileFormat, file_name, identifier, small_csv
from cxroi.simulate.process import LAST_QUARTER, pilot_start
from cxroi.simulate.worlds import World

HORIZON_MONTHS = 36
ANNUAL_DISCOUNT_RATE = 0.12

INITIATIVES = (
    {
        "name": "Một cuộc gọi là đủ",
        "intent": "Giải quyết ngay từ lần liên hệ đầu tiên",
        "touchpoint": "support",
        "owner": "Trưởng phòng dịch vụ khách hàng",
        "discipline": "design",
    },
    {
        "name": "Giờ lắng nghe khách hàng",
        "intent": "Mỗi quản lý lắng nghe khách hàng hai giờ một tháng",
        "touchpoint": "store",
        "owner": "Giám đốc nhân sự",
        "discipline": "culture",
    },
)
SOURCES = {
    "horizon_months": ("quy định thẩm định đề án 2026", "Giám đốc tài chính", "assumption"),
    "annual_discount_rate": ("quy định thẩm định đề án 2026", "Giám đốc tài chính", "assumption"),
    "tax_rate": ("xét trước thuế, theo quy định thẩm định", "Giám đốc tài chính", "assumption"),
    "reach": ("danh sách liên hệ trong CRM 2026", "Trưởng phòng dịch vụ khách hàng", "data"),
    "ramp_months": ("kế hoạch triển khai 2026", "Trưởng phòng dịch vụ khách hàng", "assumption"),
    "start_month": ("kế hoạch triển khai 2026", "Trưởng phòng dịch vụ khách hàng", "assumption"),
    "costs": ("báo giá và kế hoạch nhân sự 2026-08", "Phòng tài chính", "assumption"),
}
"""Where the assumptions of the case are from; nobody says how long a gain lasts, so that the register has a gap to show."""
TET = tuple(
    dt.date.fromisoformat(day)
    for day in ("2020-01-25", "2021-02-12", "2022-02-01", "2023-01-22", "2024-02-10", "2025-01-29", "2026-02-17")
)
# Initiative, category, currency per order of a usual quarter, beneficiary.
ONE_OFF_COSTS = ((0, 2, 9_000, "employees"), (0, 6, 6_000, "customers"), (1, 2, 4_000, "employees"))
MONTHLY_COSTS = ((0, 1, 600, "employees"), (1, 5, 250, "employees"))


def write(
    folder: Path, world: World, file_format: FileFormat, *, customers: int, quarters: int, orders_per_quarter: float
) -> None:
    """Write ``dataset.yaml``, ``case.yaml`` and, where the world has a pilot, ``initiatives`` and ``costs``."""
    files = {table: {"file": file_name(table, file_format)} for table in tables_of(world)}
    orders = customers * orders_per_quarter
    if world.pilot_share:
        began = periods.start(pilot_start(quarters))
        small_csv(folder / "initiatives.csv", _initiatives(began, file_format))
        small_csv(folder / "costs.csv", _costs(began, file_format, orders))
        files |= {"initiatives": {"file": "initiatives.csv"}, "costs": {"file": "costs.csv"}}
    declared = {"experiments": [str(_initiative_id(0, file_format))]} if world.pilot_share else {}
    dataset = {
        "currency": "VND",
        "retention": {"rule": "contract"},
        "segments": ["region", "plan"],
        "controls": ["age", "plan", "region"],
        "value": {"horizon_months": HORIZON_MONTHS, "annual_discount_rate": ANNUAL_DISCOUNT_RATE},
        "calendar": _calendar(quarters),
        **declared,
        "tables": files,
    }
    _write_yaml(folder / "dataset.yaml", dataset)
    _write_yaml(folder / "case.yaml", _case(world, orders))


def tables_of(world: World) -> list[str]:
    """Tables that grow with the company: ``exposures`` only where there is a pilot."""
    return [table for table in TABLES if table != "exposures" or world.pilot_share]


def _calendar(quarters: int) -> list[dict[str, Any]]:
    """Tết, the week before and the week after, in the quarters that the data cover."""
    first, last = periods.start(LAST_QUARTER - quarters + 1), periods.end(LAST_QUARTER)
    week = dt.timedelta(days=7)
    return [
        {"name": f"Tết {day.year}", "kind": "Tết", "starts_on": day - week, "ends_on": day + week}
        for day in TET
        if first <= day <= last
    ]


def _initiatives(began: dt.date, file_format: FileFormat) -> list[dict[str, Any]]:
    return [
        {"initiative_id": _initiative_id(number, file_format), **initiative, "starts_on": began, "ends_on": None}
        for number, initiative in enumerate(INITIATIVES)
    ]


def _costs(began: dt.date, file_format: FileFormat, orders: float) -> list[dict[str, Any]]:
    months = range(periods.containing(began, "month"), periods.containing(periods.end(LAST_QUARTER), "month") + 1)
    planned = [(line, months[0], "one_off") for line in ONE_OFF_COSTS]
    planned += [(line, month, "recurring") for month in months for line in MONTHLY_COSTS]
    return [
        {
            "initiative_id": _initiative_id(number, file_format),
            "category": category,
            "month": periods.label(month, "month"),
            "amount": _rounded(amount * orders),
            "kind": kind,
            "beneficiary": beneficiary,
        }
        for (number, category, amount, beneficiary), month, kind in planned
    ]


def _initiative_id(number: int, file_format: FileFormat) -> int | str:
    return number + 1 if file_format == "parquet" else identifier(number, "initiative")


def _case(world: World, orders: float) -> dict[str, Any]:
    programme = {
        "id": "one_call",
        **INITIATIVES[0],
        "evidence": "experiment" if world.pilot_share else "association",
        "source": "thí điểm ngẫu nhiên 2025–2026" if world.pilot_share else "hội thảo 2026-08",
        "score_gain": {"metric": "nps", "low": 0.1, "mode": 0.35, "high": 0.6},
        "reach": 0.6,
        "ramp_months": 6,
        "half_life_months": 24,
        "costs": [
            _cost(2, 0, 10_000 * orders, "employees"),
            _cost(6, 0, 20_000 * orders, "customers"),
            _cost(1, 1, 1_050 * orders, "employees"),
            _cost(7, 3, 300 * orders, "employees"),
        ],
    }
    return {
        "currency": "VND",
        "start": periods.start(LAST_QUARTER + 1),
        "horizon_months": HORIZON_MONTHS,
        "annual_discount_rate": ANNUAL_DISCOUNT_RATE,
        "programmes": [programme],
        "sources": {name: _basis(*basis) for name, basis in SOURCES.items()},
    }


def _basis(source: str, owner: str, kind: str) -> dict[str, str]:
    return {"source": source, "owner": owner, "kind": kind}


def _cost(category: int, month: int, amount: float, beneficiary: str) -> dict[str, Any]:
    last = {"until_month": HORIZON_MONTHS} if month else {}
    kind = "recurring" if month else "one_off"
    return {
        "category": category,
        "month": month,
        **last,
        "amount": _rounded(amount),
        "kind": kind,
        "beneficiary": beneficiary,
    }


def _rounded(amount: float) -> int:
    return max(1_000, int(round(amount, -3)))


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
