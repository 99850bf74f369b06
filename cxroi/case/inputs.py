"""Uncertain inputs of a case as uniform draws, one seed for all, and the values that they stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cxroi.case.flows import Floats, by_quarter, month_weights, quarters_of, score_path_by_quarter
from cxroi.case.programme import Case, Programme
from cxroi.errors import InputError
from cxroi.value.response import MarginResponse


@dataclass(frozen=True, eq=False)
class Inputs:
    """Probabilities at which each uncertain input is taken, draw by draw.

    Attributes
    ----------
    luck : dict of str to ndarray, shape (draws,)
        Uniform numbers in [0, 1] by input: ``linkage``, ``score_gain.<id>``, ``overrun.<id>``, ``savings.<id>``,
        ``benefits.<id>``. An input that is stated as certain has none.
    draws : int
    """

    luck: Mapping[str, Floats]
    draws: int

    def __post_init__(self) -> None:
        wrong = [name for name, luck in self.luck.items() if luck.shape != (self.draws,)]
        if wrong:
            raise InputError(f"Inputs must have one number a draw, shape ({self.draws},); {', '.join(wrong)} do not.")

    def at(self, name: str) -> Floats:
        """Probabilities of an input, shape (draws,); the middle where it is certain and any probability says the same."""
        return self.luck[name] if name in self.luck else np.full(self.draws, 0.5)

    def held(self, probabilities: Mapping[str, float]) -> Inputs:
        """The same draws with some inputs held at a probability; ``inputs.held({"score_gain.one": 0.1})``.

        Raises
        ------
        InputError
            Where there is no such uncertain input.
        """
        unknown = sorted(set(probabilities) - set(self.luck))
        if unknown:
            raise InputError(
                f"An input that is held must be uncertain, one of {', '.join(self.luck)}; got {', '.join(unknown)}."
            )
        held = {name: np.full(self.draws, probability) for name, probability in probabilities.items()}
        return replace(self, luck={**self.luck, **held})


def uncertain_inputs_of(case: Case, response: MarginResponse) -> tuple[str, ...]:
    """Names of the inputs that are not certain: the linkage first, then by programme in the order of the ids."""
    return tuple(_uncertain(case, response))


def draw_inputs(case: Case, response: MarginResponse, *, seed: int, draws: int) -> Inputs:
    """Uniform draws of every uncertain input, independent of each other.

    Parameters
    ----------
    case : Case
    response : MarginResponse
    seed : int
    draws : int

    Returns
    -------
    Inputs
        The draws of an input depend on the seed and on its name only: neither the order of the programmes nor what else
        is in the case changes them.
    """
    return Inputs({name: _stream(seed, name).random(draws) for name in uncertain_inputs_of(case, response)}, draws)


def ranked_draws(case: Case, response: MarginResponse) -> NDArray[np.int64]:
    """Draws of the response by the present value of one point for all programmes with a route, the least first.

    A probability of the input ``linkage`` is a place in this order.
    """
    if response.reason:
        return np.empty(0, dtype=np.int64)
    worth = np.zeros(len(response.baseline))
    for programme in sorted(case.programmes, key=lambda each: each.id):
        if programme.has_route:
            worth += point_values(case, response, programme)
    return np.argsort(worth, kind="stable")


def point_values(case: Case, response: MarginResponse, programme: Programme) -> Floats:
    """Present value before tax of a gain of one point among the customers reached, shape (draws of the response,)."""
    values = channel_values(case, response, programme).values()
    return np.asarray(sum(values, np.zeros(len(response.baseline))))


def channel_values(case: Case, response: MarginResponse, programme: Programme) -> dict[str, Floats]:
    """The same through each channel, each of shape (draws of the response,)."""
    path = score_path_by_quarter(case, programme)
    weights = by_quarter(month_weights(case)[1:]) * (response.customers * programme.reach)
    return {
        name: channel[:, : quarters_of(case)] @ ((np.cumsum(path) if name == "retention" else path) * weights)
        for name, channel in channels(response).items()
    }


def channels(response: MarginResponse) -> dict[str, Floats]:
    """Channels from a point to margin, each of shape (draws, quarters): those that the response has."""
    known = {
        "retention": response.through_retention,
        "spend": response.through_spend,
        "referrals": response.through_referrals,
        "service_cost": response.through_service,
    }
    return {name: channel for name, channel in known.items() if channel is not None}


def _uncertain(case: Case, response: MarginResponse) -> Iterator[str]:
    linked = not response.reason and any(each.has_route for each in case.programmes)
    if linked and len(response.baseline) > 1:
        yield "linkage"
    for each in sorted(case.programmes, key=lambda each: each.id):
        if linked and each.has_route and not each.gain.certain:
            yield f"score_gain.{each.id}"
        if any(cost.overrun is not None and not cost.overrun.certain for cost in each.costs):
            yield f"overrun.{each.id}"
        if any(not saving.amount.certain for saving in each.savings):
            yield f"savings.{each.id}"
        if any(benefit.amount is not None and not benefit.amount.certain for benefit in each.benefits):
            yield f"benefits.{each.id}"


def _stream(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for each input."""
    words = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], dtype="<u4")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(int(word) for word in words)))
