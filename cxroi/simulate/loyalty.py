"""Brands, offers and kinds of loyalty: what makes customers come back beside satisfaction.

Everything here is drawn from streams of its own, so that a world without brands, offers or kinds of loyalty stays the
same to the last digit. Arrays are of shape (n,), one entry a customer of the chunk, unless stated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from cxroi.errors import InputError
from cxroi.simulate.worlds import World

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

BRANDS = ("Sen", "Trúc", "Mai")
BRAND_SHARES = np.array([0.5, 0.3, 0.2])
SECOND_BRAND_SHARE = 0.3  # of the orders of a customer whom two brands share
NO_BRAND = -1

OFFERS = np.array([0.0, 0.10, 0.20])  # shares of the price; each customer draws one of them every quarter
PRICE_STEP = 0.10  # share of the price that ``World.price_on_staying`` refers to
SHOCK = 0.10  # rise of all prices in the truth's stress test

LOYALTY = ("behavioural", "rational", "emotional", "none")
BEHAVIOURAL, RATIONAL, EMOTIONAL, NONE = range(4)
HABIT_CHANNEL = 0.9  # share of a creature of habit's orders that keep to the usual channel
HABIT_JITTER = 0.3  # of the distance between two orders
EMOTIONAL_POINTS = 3.0  # of satisfaction above the others
EMOTIONAL_REFERRALS = 4.0  # times the others' referrals
INCENTIVISED = np.array([0.3, 0.8, 0.1, 0.3])  # share of referrals made for a reward, by kind of loyalty


def draw_traits(world: World, rng: np.random.Generator, size: int) -> dict[str, Any]:
    """``brand`` and ``second_brand`` (codes, −1 none), ``loyalty`` (code) and ``taking`` (chance that an order takes the offer)."""
    kinds = np.array([*world.loyalty_shares, 1.0 - sum(world.loyalty_shares)])
    if kinds.min() < -1e-9 or not 0 <= world.brands <= len(BRANDS):
        raise InputError(
            f"loyalty_shares must be at least 0 and sum to at most 1, and brands must be 0 to {len(BRANDS)}; "
            f"got {world.loyalty_shares} and {world.brands}, e.g. (0.3, 0.3, 0.2) and 2"
        )
    shares = BRAND_SHARES[: max(world.brands, 1)] / BRAND_SHARES[: max(world.brands, 1)].sum()
    home = rng.choice(len(shares), size, p=shares)
    other = (home + rng.integers(1, max(world.brands, 2), size)) % max(world.brands, 1)
    is_shared = rng.random(size) < world.brand_sharing
    loyalty = rng.choice(len(LOYALTY), size, p=np.maximum(kinds, 0.0))
    prone = world.offers_taken_sd * rng.standard_normal(size)
    taking = np.zeros(size)
    if world.offers_taken:
        taking = np.asarray(expit(logit(world.offers_taken) + prone))
        taking = np.where(loyalty == RATIONAL, 1.0, taking)
    return {
        "brand": home if world.brands else np.full(size, NO_BRAND),
        "second_brand": np.where(is_shared, other, NO_BRAND) if world.brands > 1 else np.full(size, NO_BRAND),
        "loyalty": loyalty,
        "taking": taking,
    }


def draw_offers(world: World, rng: np.random.Generator, size: int) -> Floats:
    """Share of the price that each customer is offered off in a quarter."""
    drawn: Floats = OFFERS[rng.integers(0, len(OFFERS), size)]
    return drawn if world.offers_taken else np.zeros(size)


def price_shift(world: World, loyalty: Integers, price: Floats | float) -> Floats:
    """Log-odds that a price above (below 0: below) the usual one adds to staying; ``price`` as a share of it.

    Where a world has kinds of loyalty, only the rational react.
    """
    reacting = loyalty == RATIONAL if any(world.loyalty_shares) else np.ones(len(loyalty), dtype=bool)
    return np.where(reacting, world.price_on_staying / PRICE_STEP * price, 0.0)


def habitual_orders(rate: Floats, loyalty: Integers, orders: Integers, rng: np.random.Generator) -> Integers:
    """Orders of a quarter: as drawn, and those of creatures of habit as even as whole numbers allow."""
    even = np.floor(rate + rng.random(len(rate))).astype(np.int64)
    return np.where(loyalty == BEHAVIOURAL, even, orders)


def habitual_seconds(who: Integers, begin: Integers, stop: int, rng: np.random.Generator) -> Integers:
    """Seconds of orders at even distances between each customer's ``begin`` and ``stop`` (seconds), one an order of ``who``.

    ``who`` is sorted; every array but ``stop`` has shape (orders,).
    """
    count = np.bincount(who, minlength=1)
    place = np.arange(len(who)) - (np.cumsum(count) - count)[who]
    even = (place + 0.5 + HABIT_JITTER * (rng.random(len(who)) - 0.5)) / count[who]
    seconds: Integers = begin + np.floor(even * (stop - begin)).astype(np.int64)
    return seconds


def brand_of_orders(brand: Integers, second_brand: Integers, who: Integers, rng: np.random.Generator) -> Integers:
    """Brand of each order, shape of ``who``: the customer's own, or for some orders the second one."""
    elsewhere = (rng.random(len(who)) < SECOND_BRAND_SHARE) & (second_brand[who] != NO_BRAND)
    return np.where(elsewhere, second_brand[who], brand[who])


def discount_of_orders(amount: Floats, offer: Floats, taking: Floats, rng: np.random.Generator) -> Floats:
    """Currency given off each order's price, whole hundreds; 0 where no offer was taken; all of shape (orders,)."""
    taken = rng.random(len(amount)) < taking
    return np.where(taken, np.round(amount * offer / (1.0 - offer), -2), 0.0)
