"""Worlds: the parameters of simulated companies.

Satisfaction s lives on the 0-10 scale. One point of s moves the log-odds of staying, the log of the order rate, the log
of the amount and so on by the ``*_per_point`` figures of the *next* quarter; everything else in a world is what makes
those figures hard to see.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from cxroi.errors import InputError


@dataclass(frozen=True)
class World:
    """Parameters of a simulated company; mix worlds with ``dataclasses.replace``.

    Log-odds are of staying in a quarter, logs are of the rate named; ``plan`` triples follow the plans in order;
    ``age`` and ``trait`` (never recorded) act per standard deviation.

    ``brands`` (0 … 3, 0: none recorded) with ``brand_sharing``, the share of customers who buy from two. ``offers_taken``:
    share of orders that take the quarter's offer (0: no discounts recorded), ``offers_taken_sd`` between customers (log-odds);
    ``price_on_staying``: log-odds of staying in the quarter after, per 10 % of price. ``failed_on_staying``: log-odds in the
    quarter after a failed touch, at mean satisfaction; ``forgiveness_per_point`` of satisfaction softens it.
    ``loyalty_shares``: customers loyal by habit, by price and by attitude; the rest by none of them.
    """

    name: str
    description: str

    score_mean: float = 7.0
    score_between_sd: float = 1.1
    score_within_sd: float = 1.0
    persistence: float = 0.7
    plan_on_score: tuple[float, float, float] = (0.0, 0.0, 0.0)
    age_on_score: float = 0.0
    trait_on_score: float = 0.0
    orders_on_score: float = 0.0

    staying_log_odds: float = 2.62
    staying_per_point: float = 0.22
    orders_per_point: float = 0.035
    amount_per_point: float = 0.005
    referrals_per_point: float = 0.20
    contacts_per_point: float = -0.12
    bend: float = 7.0
    below_bend: float = 1.0
    above_bend: float = 1.0

    plan_on_staying: tuple[float, float, float] = (-0.15, 0.0, 0.15)
    age_on_staying: float = 0.05
    trait_on_staying: float = 0.0
    tenure_on_staying: float = 0.015
    frailty_sd: float = 0.0
    plan_on_orders: tuple[float, float, float] = (-0.15, 0.0, 0.20)
    age_on_orders: float = -0.03
    trait_on_orders: float = 0.0
    orders_gamma_shape: float = 2.5
    amount_mean: float = 4_200_000.0
    amount_between_sd: float = 0.3
    amount_within_sd: float = 0.5
    margin_rate: float = 0.32
    margin_rate_half_width: float = 0.06
    refund_share: float = 0.02
    referral_rate: float = 0.010

    invited: float = 1.0
    answer_noise_sd: float = 0.2
    score_on_answering: float = 0.0
    orders_on_answering: float = 0.0

    pilot_lift: float = 0.0
    pilot_share: float = 0.0

    brands: int = 0
    brand_sharing: float = 0.0
    offers_taken: float = 0.0
    offers_taken_sd: float = 0.0
    price_on_staying: float = 0.0
    failed_on_staying: float = 0.0
    forgiveness_per_point: float = 0.0
    loyalty_shares: tuple[float, float, float] = (0.0, 0.0, 0.0)


CLEAN = World("clean", "satisfaction moves next quarter's outcomes; nothing is hidden and answers are nearly exact")


def _without_effect(world: World) -> World:
    return replace(
        world,
        staying_per_point=0.0,
        orders_per_point=0.0,
        amount_per_point=0.0,
        referrals_per_point=0.0,
        contacts_per_point=0.0,
    )


_ALL = (
    CLEAN,
    replace(_without_effect(CLEAN), name="null", description="satisfaction moves nothing at all"),
    replace(
        CLEAN,
        name="confounded-seen",
        description="plan and age, both recorded, move satisfaction and the outcomes",
        plan_on_score=(-0.7, 0.0, 0.7),
        age_on_score=0.4,
        plan_on_staying=(-0.5, 0.0, 0.5),
        age_on_staying=0.25,
        plan_on_orders=(-0.35, 0.0, 0.35),
        age_on_orders=0.15,
    ),
    replace(
        CLEAN,
        name="confounded-unseen",
        description="a trait nobody recorded moves satisfaction, staying and orders",
        trait_on_score=0.8,
        trait_on_staying=0.35,
        trait_on_orders=0.2,
    ),
    replace(
        _without_effect(CLEAN),
        name="reverse",
        description="orders raise satisfaction, which itself moves nothing; an unrecorded trait drives the orders",
        trait_on_orders=0.4,
        trait_on_staying=0.25,
        orders_on_score=0.9,
    ),
    replace(
        CLEAN,
        name="noisy-scores",
        description="single answers are noisy: a naive slope is about 35 % too small",
        answer_noise_sd=1.1,
    ),
    replace(
        CLEAN,
        name="selective-answering",
        description="satisfied and active customers answer far more often",
        score_on_answering=0.6,
        orders_on_answering=0.8,
    ),
    replace(
        CLEAN,
        name="asymmetric",
        description="below 7 a point moves the outcomes three times as much as above",
        below_bend=1.5,
        above_bend=0.5,
    ),
    replace(
        CLEAN,
        name="attrition",
        description="many leave, driven by a frailty that has nothing to do with satisfaction",
        frailty_sd=1.2,
        staying_log_odds=1.95,
    ),
    replace(
        CLEAN,
        name="initiative",
        description="a randomised pilot lifts satisfaction; costs, contacts and referrals are recorded",
        pilot_lift=0.6,
        pilot_share=0.30,
        answer_noise_sd=0.5,
        brands=3,
        brand_sharing=0.25,
        offers_taken=0.3,
        offers_taken_sd=1.0,
    ),
    replace(
        CLEAN,
        name="forgiving",
        description="a failed touch drives customers away, the satisfied less than others",
        failed_on_staying=-1.0,
        forgiveness_per_point=0.3,
        answer_noise_sd=0.5,
    ),
    replace(
        CLEAN,
        name="loyalty",
        description="customers are loyal by habit, by price or by attitude; a price rise drives only the second kind away",
        score_mean=6.5,
        score_between_sd=0.8,
        answer_noise_sd=0.5,
        brands=2,
        brand_sharing=0.3,
        offers_taken=0.2,
        price_on_staying=-0.5,
        loyalty_shares=(0.35, 0.25, 0.25),
    ),
)

WORLDS: dict[str, str] = {world.name: world.description for world in _ALL}


def world_named(name: str) -> World:
    """Parameters of the world with that name.

    Raises
    ------
    InputError
        If there is no such world; the message names the nearest.

    Examples
    --------
    >>> world_named("null").staying_per_point
    0.0
    """
    for world in _ALL:
        if world.name == name:
            return world
    near = difflib.get_close_matches(str(name), WORLDS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"world must be one of {', '.join(WORLDS)}; got {name!r}: {hint}e.g. --world clean")
