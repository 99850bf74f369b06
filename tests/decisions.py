"""Small cases and responses that tests of uncertainty, information and portfolios share."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxroi.case import Case
from cxroi.value.response import MarginResponse

QUARTERS, CUSTOMERS = 12, 100_000
ONE: dict[str, Any] = {
    "id": "one",
    "name": "One call is enough",
    "evidence": "association",
    "score_gain": {"low": 0.1, "mode": 0.3, "high": 0.5},
    "reach": 0.4,
    "ramp_months": 6,
    "half_life_months": 24,
    "costs": [
        {"category": 2, "month": 0, "amount": 5e8, "overrun": {"low": 0, "mode": 0.1, "high": 0.4}},
        {"category": 1, "month": 1, "until_month": 36, "amount": 6e7},
    ],
}
APP: dict[str, Any] = ONE | {
    "id": "app",
    "name": "App",
    "score_gain": {"low": 0.05, "mode": 0.2, "high": 0.4},
    "reach": 0.5,
    "half_life_months": "never",
    "start_month": 6,
    "costs": [{"category": 3, "month": 0, "amount": 9e8}],
    "benefits": [{"benefit": 8, "amount": {"low": 1e6, "mode": 2e6, "high": 4e6}, "source": "staff survey"}],
}
BOT: dict[str, Any] = {
    "id": "bot",
    "name": "Bot",
    "evidence": "association",
    "costs": [{"category": 3, "month": 0, "amount": 3e8}],
    "savings": [
        {"amount": {"low": 5e6, "mode": 12e6, "high": 20e6}, "month": 3, "until_month": 36, "source": "work study"}
    ],
}


def a_case(*programmes: dict[str, Any], **terms: Any) -> Case:
    stated = {"currency": "VND", "start": "2026-10-01", "horizon_months": 36, "annual_discount_rate": 0.12}
    return Case.model_validate(stated | {"programmes": list(programmes)} | terms)


def a_response(retention: float = 30_000.0, spend: float = 20_000.0, std_error: float = 8_000.0) -> MarginResponse:
    rng = np.random.default_rng(7)
    fading = 0.97 ** np.arange(QUARTERS)
    return MarginResponse(
        exposure="nps",
        customers=CUSTOMERS,
        currency="VND",
        evidence="adjusted",
        baseline=np.full((400, QUARTERS), 200_000.0) * fading,
        through_retention=rng.normal(retention, std_error, (400, 1)) * fading,
        through_spend=rng.normal(spend, std_error, (400, 1)) * fading,
        persistence=rng.beta(80, 20, 400),
        score_range=(0.0, 10.0),
    )


def programme(known_as: str, **changes: Any) -> dict[str, Any]:
    """A programme under its id with a plain gain and two costs, and what is stated otherwise."""
    return {
        "id": known_as,
        "name": f"Programme {known_as}",
        "evidence": "association",
        "score_gain": {"low": 0.1, "mode": 0.3, "high": 0.6},
        "reach": 0.4,
        "ramp_months": 6,
        "half_life_months": 24,
        "costs": [
            {"category": 2, "month": 0, "amount": 60_000_000},
            {"category": 1, "month": 1, "until_month": 24, "amount": 1_500_000},
        ],
        **changes,
    }
