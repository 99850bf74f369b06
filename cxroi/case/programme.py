"""The investment case as stated: profile, programmes, score gains, costs, benefits, finance and budget, as typed models.

`read_case` (``cxroi/case/read.py``) gives them from ``case.yaml``, ``cxroi/case/workbook.py`` from a workbook.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cxroi.case.rules import faults_across
from cxroi.case.terms import (
    BENEFITS,
    CATEGORIES,
    LONG_TERM_MONTHS,
    BusinessModel,
    Discipline,
    Evidence,
    Kind,
    Metric,
)


def _named_category(value: object) -> object:
    """Name of a category written as its number."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(CATEGORIES):
        return CATEGORIES[value - 1]
    return value


def _named_benefit(value: object) -> object:
    """Name of a benefit written as its number."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= len(BENEFITS):
        return BENEFITS[value - 1]
    return value


def _day(value: object) -> object:
    """A date written as text."""
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            return value
    return value


def _certain(value: object) -> object:
    """Low, mode and high of a gain stated as one number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"low": value, "mode": value, "high": value}
    if isinstance(value, Mapping) and "mode" in value and not {"low", "high"} & set(value):
        return {**value, "low": value["mode"], "high": value["mode"]}
    return value


def _list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_FROZEN = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Range(BaseModel):
    """Low, mode and high of a triangular distribution; a single number means certain."""

    model_config = _FROZEN
    low: float
    mode: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low <= self.mode <= self.high:
            raise ValueError(f"low {self.low:g}, mode {self.mode:g}, high {self.high:g}")
        return self

    @property
    def certain(self) -> bool:
        """Whether a single number is stated."""
        return self.low == self.high


Stated = Annotated[Range, BeforeValidator(_certain)]


class ScoreGain(Range):
    """Points of the answer gained among the customers reached, once the gain is in full force: triangular draws."""

    metric: Metric | None = None


class Driver(BaseModel):
    """A touchpoint that the programme improves, and how much of that the score takes over.

    ``gain`` is in points of the touchpoint's own score, ``pass_through`` in points of ``metric`` per such point.
    """

    model_config = _FROZEN
    touchpoint: str = Field(min_length=1, max_length=200)
    gain: Stated
    pass_through: Stated
    source: str = Field(min_length=1, max_length=500)
    metric: Metric | None = None


class Cost(BaseModel):
    """An amount paid in one month, or in every month up to and including another; month 0 is the start.

    ``overrun`` is a share of the amount (0.2 for a fifth more than planned); ``useful_life_months`` says over how long
    the amount is written off in the capitalised view.
    """

    model_config = _FROZEN
    category: Annotated[Literal[CATEGORIES], BeforeValidator(_named_category)]  # type: ignore[valid-type]
    month: int = Field(ge=0)
    until_month: int | None = Field(default=None, ge=0)
    amount: float = Field(ge=0)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    kind: Literal["one_off", "recurring"] | None = None
    beneficiary: Literal["customers", "employees"] | None = None
    overrun: Stated | None = None
    useful_life_months: int | None = Field(default=None, ge=1, le=360)

    @property
    def months(self) -> range:
        """Months in which the amount is paid."""
        return range(self.month, (self.month if self.until_month is None else self.until_month) + 1)


class Saving(BaseModel):
    """Money a month that a programme saves or brings past any customer measure: never part of the CX total."""

    model_config = _FROZEN
    amount: Stated
    month: int = Field(ge=0)
    until_month: int | None = Field(default=None, ge=0)
    source: str = Field(min_length=1, max_length=500)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")

    @property
    def months(self) -> range:
        """Months in which the amount comes in."""
        return range(self.month, (self.month if self.until_month is None else self.until_month) + 1)


class Benefit(BaseModel):
    """One of the ten benefits as a programme claims it.

    1 to 7 are terms of one customer value and follow from the linkage. For 8 to 10 an ``amount`` a month with its
    ``source`` puts money beside the words; without both it stays outside the money.
    """

    model_config = _FROZEN
    benefit: Annotated[Literal[BENEFITS], BeforeValidator(_named_benefit)]  # type: ignore[valid-type]
    note: str | None = Field(default=None, max_length=500)
    amount: Stated | None = None
    month: int = Field(default=1, ge=0)
    until_month: int | None = Field(default=None, ge=0)
    source: str | None = Field(default=None, max_length=500)


class Programme(BaseModel):
    """One programme of the case: what it does to the score, whom it reaches, when, and what it costs.

    The gain is stated (``score_gain``) or follows from touchpoints (``drivers``). With neither there is no route
    through a customer measure: the programme is a cost play, shown beside the CX total and never in it. Reach, ramp and
    half-life must be stated where there is a route; their defaults only say that a cost play has none.
    """

    model_config = _FROZEN
    id: str = Field(pattern=r"^[\w-]{1,64}$")
    name: str = Field(min_length=1, max_length=200)
    evidence: Evidence
    score_gain: Annotated[ScoreGain, BeforeValidator(_certain)] | None = None
    drivers: Annotated[tuple[Driver, ...], BeforeValidator(_list)] = ()
    reach: float = Field(default=0.0, gt=0, le=1)
    ramp_months: float = Field(default=0.0, ge=0)
    half_life_months: Literal["never"] | Annotated[float, Field(gt=0)] = "never"
    costs: Annotated[tuple[Cost, ...], BeforeValidator(_list)] = Field(min_length=1)
    start_month: int = Field(default=0, ge=0)
    savings: Annotated[tuple[Saving, ...], BeforeValidator(_list)] = ()
    benefits: Annotated[tuple[Benefit, ...], BeforeValidator(_list)] = ()
    requires: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    excludes: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()
    intent: str | None = None
    owner: str | None = None
    discipline: Discipline | None = None
    touchpoint: str | None = None
    source: str | None = None

    @property
    def has_route(self) -> bool:
        """Whether the programme works through a customer measure."""
        return self.score_gain is not None or bool(self.drivers)

    @property
    def gain(self) -> ScoreGain:
        """Score gain as stated, or the sum of what the drivers pass through (its ends, and the product of modes); 0 without a route."""
        if self.score_gain is not None:
            return self.score_gain
        ends = [
            [
                gain * passed
                for gain in (d.gain.low, d.gain.high)
                for passed in (d.pass_through.low, d.pass_through.high)
            ]
            for d in self.drivers
        ]
        metric = next((driver.metric for driver in self.drivers if driver.metric), None)
        return ScoreGain(
            metric=metric,
            low=float(sum(min(each) for each in ends)),
            mode=float(sum(driver.gain.mode * driver.pass_through.mode for driver in self.drivers)),
            high=float(sum(max(each) for each in ends)),
        )


class Profile(BaseModel):
    """Who decides what for: the business model, where the company stands, where it wants to go, and how."""

    model_config = _FROZEN
    business_model: BusinessModel | None = None
    state: str | None = Field(default=None, max_length=2000)
    goal: str | None = Field(default=None, max_length=2000)
    strategy: str | None = Field(default=None, max_length=2000)


class Basis(BaseModel):
    """Where one assumption of the case is from, and who answers for it."""

    model_config = _FROZEN
    source: str = Field(min_length=1, max_length=500)
    owner: str | None = Field(default=None, max_length=200)
    kind: Kind


class Budget(BaseModel):
    """What may be spent in all, and in each quarter of the horizon (one limit for all, or one each), before tax."""

    model_config = _FROZEN
    total: float | None = Field(default=None, ge=0)
    per_quarter: Annotated[float, Field(ge=0)] | Annotated[tuple[float, ...], BeforeValidator(_list)] | None = None


class Correlation(BaseModel):
    """Rank correlation of two uncertain inputs, named like ``linkage``, ``score_gain.call_centre``, ``overrun.call_centre``."""

    model_config = _FROZEN
    inputs: Annotated[tuple[str, str], BeforeValidator(_list)]
    correlation: float = Field(gt=-1, lt=1)
    source: str = Field(min_length=1, max_length=500)


class Case(BaseModel):
    """An investment case: one or several programmes under one horizon and discount rate.

    Nominal throughout. ``annual_discount_rate`` and ``tax_rate`` are fractions a year and of profit. ``timing`` is a
    convention: flows of a month fall at its end, or in its middle. With ``annual_inflation_rate`` all amounts are in
    prices of the start, and costs and margin rise with it; the discount rate stays nominal. ``exchange_rates`` give
    units of ``currency`` for one unit of another. ``sources`` says where a named assumption
    (``annual_discount_rate``, ``reach.call_centre``) is from.
    """

    model_config = _FROZEN
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    start: Annotated[dt.date, BeforeValidator(_day)]
    horizon_months: int = Field(ge=1, le=360)
    annual_discount_rate: float = Field(ge=0, lt=1)
    programmes: Annotated[tuple[Programme, ...], BeforeValidator(_list)] = Field(min_length=1)
    tax_rate: float = Field(default=0.0, ge=0, lt=1)
    timing: Literal["end", "mid"] = "end"
    annual_inflation_rate: float | None = Field(default=None, gt=-1, lt=1)
    exchange_rates: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    profile: Profile | None = None
    budget: Budget | None = None
    correlations: Annotated[tuple[Correlation, ...], BeforeValidator(_list)] = ()
    sources: dict[str, Basis] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Case:
        faults = list(faults_across(self.model_dump()))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader should know, though nothing is refused."""
        if self.horizon_months >= LONG_TERM_MONTHS:
            return ()
        return (
            f"The horizon is {self.horizon_months} months; better experience pays back over years. "
            f"Judge the case over at least {LONG_TERM_MONTHS} months.",
        )
