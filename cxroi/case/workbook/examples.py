"""The example lines of the template: a small case, so that every example is one that would be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from cxroi.case.programme import Case
from cxroi.case.workbook.lines import Values, lines_of
from cxroi.language import Code, Language

SHOWN = {"programmes": 1, "costs": 2, "sources": 2}
"""Examples of a block where they are not one; others show their first line."""


@cache
def example_lines(code: Code) -> Mapping[str, Sequence[Values]]:
    """Example lines of every block in a language."""
    lines = lines_of(example_case(code))
    return {name: each[: SHOWN.get(name, 1)] for name, each in lines.items()}


def example_case(code: Code) -> Case:
    """Two programmes: one with a stated gain, one through a touchpoint.

    >>> [programme.id for programme in example_case("en").programmes]
    ['call_centre', 'app']
    """
    language = Language(code)

    def say(name: str) -> str:
        return language.text(f"case_workbook.example.{name}")

    call_centre = {
        "id": say("id"),
        "name": say("name"),
        "intent": say("intent"),
        "owner": say("owner"),
        "discipline": "design",
        "touchpoint": say("touchpoint"),
        "evidence": "association",
        "source": say("source"),
        "score_gain": {"metric": "nps", "low": 0.1, "mode": 0.3, "high": 0.5},
        "reach": 0.4,
        "start_month": 1,
        "ramp_months": 6,
        "half_life_months": 24,
        "costs": [
            {"category": 2, "month": 0, "amount": 500_000_000, "kind": "one_off", "beneficiary": "employees"},
            {
                "category": 1,
                "month": 1,
                "until_month": 36,
                "amount": 60_000_000,
                "kind": "recurring",
                "overrun": {"low": 0, "mode": 0.1, "high": 0.3},
            },
        ],
        "savings": [{"amount": 40_000_000, "month": 6, "until_month": 36, "source": say("saving_source")}],
        "benefits": [
            {
                "benefit": 8,
                "note": say("note"),
                "amount": {"low": 5_000_000, "mode": 10_000_000, "high": 12_000_000},
                "month": 6,
                "until_month": 36,
                "source": say("benefit_source"),
            }
        ],
    }
    app = {
        "id": say("app_id"),
        "name": say("app_name"),
        "evidence": "quasi_experiment",
        "source": say("app_source"),
        "drivers": [
            {
                "touchpoint": say("app_touchpoint"),
                "gain": {"low": 0.2, "mode": 0.5, "high": 0.8},
                "pass_through": {"low": 0.1, "mode": 0.2, "high": 0.3},
                "metric": "nps",
                "source": say("driver_source"),
            }
        ],
        "reach": 0.25,
        "ramp_months": 3,
        "half_life_months": "never",
        "costs": [{"category": 6, "month": 0, "amount": 30_000, "currency": "USD"}],
    }
    return Case.model_validate(
        {
            "currency": "VND",
            "start": "2026-10-01",
            "horizon_months": 36,
            "annual_discount_rate": 0.12,
            "tax_rate": 0.2,
            "annual_inflation_rate": 0.03,
            "programmes": [call_centre, app],
            "exchange_rates": {"USD": 26_000},
            "budget": {"total": 4_000_000_000, "per_quarter": [900_000_000, *[300_000_000] * 11]},
            "profile": {"business_model": "contract", **{name: say(name) for name in ("state", "goal", "strategy")}},
            "correlations": [
                {
                    "inputs": [f"score_gain.{say('id')}", f"score_gain.{say('app_id')}"],
                    "correlation": 0.5,
                    "source": say("correlation_source"),
                }
            ],
            "sources": {
                "annual_discount_rate": {
                    "source": say("rate_source"),
                    "owner": say("rate_owner"),
                    "kind": "assumption",
                },
                f"reach.{say('id')}": {"source": say("reach_source"), "kind": "data"},
            },
        }
    )
