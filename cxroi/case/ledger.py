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

_OWN = {
    "retention": "retention",
    "stay_and_spend": "spend",
    "referrals": "referrals",
    "cost_to_serve": "service_cost",
}
"""Term of the ledger that is a benefit's own: 2 is the spend of those who stay, staying itself is 1."""

_REPEATS = {
    "trial_and_forgiveness": ("retention", "stay_and_spend"),
    "lifetime_value": ("retention", "stay_and_spend", "cost_to_serve"),
}
"""Benefits that are other benefits seen again, and so never add to them."""


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


def benefit_map(case: Case, response: MarginResponse | None) -> pd.DataFrame:
    """See ``BusinessCase.benefits``; without a response nothing is in the money but what is stated."""
    measured = [] if response is None or response.reason else [name for name in TERMS if name in channels(response)]
    rows = []
    for number, benefit in enumerate(BENEFITS, start=1):
        claims = [(each, claim) for each in case.programmes for claim in each.benefits if claim.benefit == benefit]
        paid = any(claim.amount is not None for _, claim in claims)
        terms, inside, status = _place(benefit, measured, paid)
        names = ", ".join(dict.fromkeys(each.id for each, _ in claims))
        rows.append((number, benefit, ", ".join(terms), ", ".join(map(str, inside)), status, names))
    return pd.DataFrame(rows, columns=list(BENEFIT_COLUMNS))


def _place(benefit: str, measured: Sequence[str], paid: bool) -> tuple[tuple[str, ...], tuple[int, ...], str]:
    """Terms of the ledger that hold a benefit, the benefits by number that it repeats, and where it stands to the money."""
    if benefit in _OWN:
        return (_OWN[benefit],), (), "inside" if _OWN[benefit] in measured else "not_in_money"
    if benefit in _REPEATS:
        numbers = tuple(
            number
            for number, name in enumerate(BENEFITS, start=1)
            if name in _REPEATS[benefit] and _OWN[name] in measured
        )
        terms = tuple(name for name in TERMS if name in {_OWN[each] for each in _REPEATS[benefit]})
        return terms, numbers, ("sum" if benefit == "lifetime_value" else "within") if numbers else "not_in_money"
    if not identity.BENEFITS[benefit]:
        return ("stated_benefits",) if paid else (), (), "stated" if paid else "outside"
    return (), (), "not_in_money"


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
