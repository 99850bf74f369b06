"""Overlap ledger: what each programme brings through each term of customer value, adding up to what all bring together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cxroi.case.flows import Floats
from cxroi.case.forecast import TERMS, TOTAL, Forecast
from cxroi.case.inputs import channels
from cxroi.case.measures import quantiles
from cxroi.case.programme import Case
from cxroi.case.terms import BENEFITS
from cxroi.value import identity
from cxroi.value.response import MarginResponse

OVERLAP = "overlap"
COLUMNS = ("programme", "term", "low", "median", "high", "mean", "unit")
BENEFIT_COLUMNS = ("number", "benefit", "terms", "contains", "status", "claimed_by")

_TERM_OF_IDENTITY = {
    "retention": "retention",
    "orders": "spend",
    "margin_per_order": "spend",
    "service_cost": "service_cost",
    "referrals": "referrals",
    "would_have_come": "referrals",
    "referred_value": "referrals",
    "saved_acquisition_cost": "referrals",
}
"""Term of the ledger that holds a term of the identity; ``acquisition_cost`` of customers who are there already is spent."""


def ledger_draws(forecasts: Sequence[Forecast]) -> dict[tuple[str, str], Floats]:
    """Present value after tax by programme and term, draw by draw; the last entry, ``(total, total)``, is what the others add up to.

    Parameters
    ----------
    forecasts : sequence of Forecast
        Of ``BusinessCase.forecasts``; cost plays are left out, as they are of the total.

    Returns
    -------
    dict of (programme, term) to ndarray, shape (draws,)
        Rows named ``overlap`` hold what customers reached by several programmes cannot gain; the total is from the cash flows, not
        from the rows.
    """
    routed = [each for each in forecasts if each.has_route and each.programme != TOTAL]
    whole = next((each for each in forecasts if each.programme == TOTAL), routed[0] if routed else None)
    if whole is None or not whole.terms:
        return {}
    terms = [name for name in TERMS if name in whole.terms]
    rows = {(each.programme, name): each.terms[name] for each in routed for name in terms}
    if len(routed) > 1:
        for name in terms:
            rows[OVERLAP, name] = whole.terms[name] - np.sum([each.terms[name] for each in routed], axis=0)
        del rows[OVERLAP, "stated_benefits"]
    return rows | {(TOTAL, TOTAL): whole.measures["pv_benefit"]}


def ledger(case: Case, forecasts: Sequence[Forecast]) -> pd.DataFrame:
    """See ``BusinessCase.ledger``."""
    rows = [
        (*name, *quantiles(draws), float(draws.mean()), case.currency)
        for name, draws in ledger_draws(forecasts).items()
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def benefit_map(case: Case, response: MarginResponse) -> pd.DataFrame:
    """See ``BusinessCase.benefits``."""
    measured = set() if response.reason else set(channels(response))
    held = {number: _terms(name) for number, name in enumerate(identity.BENEFITS, start=1)}
    rows = []
    for number, benefit in enumerate(BENEFITS, start=1):
        terms = held[number]
        claims = [(each, claim) for each in case.programmes for claim in each.benefits if claim.benefit == benefit]
        paid = any(claim.amount is not None for _, claim in claims)
        status = _status(terms, measured) if terms else "stated" if paid else "outside"
        inside = [other for other, its in held.items() if other != number and its and terms and set(its) <= set(terms)]
        rows.append(
            (
                number,
                benefit,
                ", ".join(terms) if terms else "stated_benefits" if paid else "",
                ", ".join(str(other) for other in inside),
                status,
                ", ".join(dict.fromkeys(each.id for each, _ in claims)),
            )
        )
    return pd.DataFrame(rows, columns=list(BENEFIT_COLUMNS))


def refuse_summed(claims: Mapping[str, float]) -> pd.DataFrame:
    """Refuse a sum of key figures that hold the same money; see `cxroi.value.identity.refuse_overlap`.

    Parameters
    ----------
    claims : mapping of str to float
        Benefits as a business case out of a spreadsheet adds them, by name (``churn_saved``, ``change_in_ltv``, or a benefit of the
        ten as in a case) with their amounts.

    Raises
    ------
    InputError
        With the overlap named, where two of them hold the same term of customer value.

    Examples
    --------
    >>> refuse_summed({"churn_saved": 900.0, "change_in_ltv": 1400.0})
    Traceback (most recent call last):
    ...
    cxroi.errors.InputError: benefits that are summed must not hold the same term of customer value; ...
    """
    return identity.refuse_overlap(claims)


def _terms(benefit: str) -> tuple[str, ...]:
    """Terms of the ledger that hold a benefit, in their order."""
    found = {_TERM_OF_IDENTITY[name] for name in identity.BENEFITS[benefit] if name in _TERM_OF_IDENTITY}
    return tuple(name for name in TERMS if name in found)


def _status(terms: Sequence[str], measured: set[str]) -> str:
    """Whether all, some or none of the terms are in the money."""
    known = sum(name in measured for name in terms)
    return "inside" if known == len(terms) else "partly_inside" if known else "not_measured"
