"""What better customer experience is worth: from survey answers and transactions to an honest business case.

The public names below are loaded when they are first used, so that ``import cxroi`` and ``cxroi --help`` cost nothing.
``simulate`` is the room itself: ``cxroi.simulate.simulate("data/known", world="null")``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cxroi import simulate
    from cxroi.case.business_case import business_case
    from cxroi.case.read import read_case
    from cxroi.linkage import fit_linkage
    from cxroi.panel import build_panel
    from cxroi.scores import ces, csat, nps, score_change
    from cxroi.tables import check_tables, read_tables
    from cxroi.value import estimate, lifetime_value

__version__ = "0.1.0"

__all__ = [
    "build_panel",
    "business_case",
    "ces",
    "check_tables",
    "csat",
    "estimate",
    "fit_linkage",
    "lifetime_value",
    "nps",
    "read_case",
    "read_tables",
    "score_change",
    "simulate",
]

_ROOMS = {
    "tables": ("check_tables", "read_tables"),
    "scores": ("ces", "csat", "nps", "score_change"),
    "panel": ("build_panel",),
    "linkage": ("fit_linkage",),
    "value": ("estimate", "lifetime_value"),
    "case": ("business_case", "read_case"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "simulate":  # importing the room binds its name here, so a function of that name would not last
        return import_module("cxroi.simulate")
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'cxroi' has no attribute {name!r}")
    return getattr(import_module(f"cxroi.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
