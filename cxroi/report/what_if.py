"""The part of the executive page in which a reader moves assumptions: what stands there, and what its script needs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from babel import Locale
from babel.numbers import get_currency_precision, get_currency_symbol

from cxroi.case import BusinessCase
from cxroi.case.overlap import MOST_COUNTED_OUT
from cxroi.case.what_if import WhatIf, WhatIfResult, median_future, what_if
from cxroi.language import LOCALES, SCALES, Language, catalogue, placeholders
from cxroi.report.model import Lever, Sentence, WhatIfPanel

STOPS = 40
HALF_LIVES = (1, 2, 3, 6, 9, 12, 18, 24, 30, 36, 48, 60, 84, 120, 180, 240)
SHARES = tuple(round(0.05 * step, 2) for step in range(10, 41))  # of stated costs: half to twice
MULTIPLES = tuple(round(0.05 * step, 2) for step in range(41))
MOST_MONTHLY_STOPS = 60

Value = float | int | Sequence[float | None]
Stops = list[tuple[Value, str]]


def what_if_panel(decision: BusinessCase | str, language: Language) -> WhatIfPanel | None:
    """The part of the page for the median future of a case; None where there is no case, or no way to value it.

    None also where more programmes than can be counted out in a page reach the end of the scale together.
    """
    model = decision if isinstance(decision, str) else median_future(decision)
    if isinstance(decision, str) or isinstance(model, str) or _most_multiple(model) < 1.0:
        return None
    language = replace(language, currency=model.currency)
    levers = what_if_levers(model, decision, language)
    return WhatIfPanel(
        title=language.text("what_if.title"),
        sentences=tuple(
            Sentence(f"what-if-{at}", words) for at, words in enumerate(_sentences(model, decision, language), start=1)
        ),
        levers=tuple(lever for lever, _ in levers),
        figures=base_figures(what_if(model, model.inputs), language),
        data=json.dumps(page_data(model, levers, language), ensure_ascii=False, allow_nan=False, separators=(",", ":")),
    )


def base_figures(result: WhatIfResult, language: Language) -> tuple[tuple[str, str, str], ...]:
    """``(id, label, value)`` of the four figures that move."""
    words = {
        "npv": language.money(result.npv, compact=True),
        "roi": language.text("executive.none") if math.isnan(result.roi) else language.percent(result.roi, 0),
        "payback": _payback(result.payback_months, language),
        "discounted": _payback(result.discounted_payback_months, language),
    }
    keys = {"payback": "payback_months", "discounted": "discounted_payback_months"}
    return tuple((name, language.text(f"executive.measure.{keys.get(name, name)}"), words[name]) for name in words)


def page_data(model: WhatIf, levers: Sequence[tuple[Lever, list[Value]]], language: Language) -> dict[str, Any]:
    """What the page's script computes with: the future, the stops of each lever, words and number formats."""
    return {
        "model": script_model(model),
        "controls": [
            {"input": lever.id, "base": lever.base, "stops": list(zip(values, lever.stops, strict=True))}
            for lever, values in levers
        ],
        "words": script_words(language),
    }


def script_model(model: WhatIf) -> dict[str, Any]:
    """A future as the page's script takes it."""
    return {
        "customers": model.customers,
        "width": model.score_width,
        "tax": model.tax_rate,
        "inflation": model.annual_inflation_rate,
        "mid": model.timing == "mid",
        "retention": model.through_retention.tolist(),
        "level": model.through_level.tolist(),
        "programmes": [
            {
                "start": each.start_month,
                "ramp": each.ramp_months,
                "cost": each.costs.sum(axis=0).tolist(),
                "benefit": each.benefit.tolist(),
            }
            for each in model.programmes
        ],
    }


def script_words(language: Language) -> dict[str, Any]:
    """Words and number formats of a language and its currency, for the page's script."""
    locale = Locale.parse(LOCALES[language.code])
    precision = get_currency_precision(language.currency)
    eight = language.number(8, precision)
    return {
        "decimal": locale.number_symbols["latn"]["decimal"],
        "group": locale.number_symbols["latn"]["group"],
        "scales": [[language.text(f"scale.{name}"), exponent] for name, exponent in SCALES],
        "compact": _pattern(language, "format.compact_money"),
        "symbol": get_currency_symbol(language.currency, locale),
        "precision": precision,
        "above": language.money(8).replace(eight, "{number}"),
        "below": language.money(-8).replace(eight, "{number}"),
        "months": _pattern(language, "executive.months"),
        "never": language.text("executive.no_payback"),
        "none": language.text("executive.none"),
        "sentence": _pattern(language, "what_if.sentence"),
        "picture": language.text("what_if.picture"),
        "axis": language.text("plots.months_ahead"),
    }


def what_if_levers(model: WhatIf, decision: BusinessCase, language: Language) -> list[tuple[Lever, list[Value]]]:
    """The assumptions that a reader can move, each with the values of its stops."""
    base, several = model.inputs, len(model.programmes) > 1

    def percent(x: float) -> str:
        return language.percent(x, 0 if math.isclose(100 * x, round(100 * x), abs_tol=1e-9) else 1)

    def lever(name: str, stops: Stops, stated: Value, label: str = "") -> tuple[Lever, list[Value]]:
        values = [value for value, _ in stops]
        words = language.text(f"what_if.lever.{label or name}")
        return Lever(name, words, tuple(text for _, text in stops), values.index(stated)), values

    def multiples(shares: Sequence[float], per_programme: tuple[float, ...]) -> Stops:
        return [
            (
                [share * each for each in per_programme],
                language.text("executive.times", number=language.number(share, 2)),
            )
            for share in shares
        ]

    if several:
        most = min([2.0, *(1.0 / reach for reach in base.reaches)])
        gains = multiples([each for each in MULTIPLES if each <= _most_multiple(model)], base.score_gains)
        reaches = multiples([share for share in MULTIPLES if share <= most], base.reaches)
    else:
        stated = next(each.gain for each in decision.case.programmes if each.id == model.programmes[0].id)
        gains = [([each], language.points(each, 2)) for each in _gains(model, stated.low, stated.high)]
        reaches = [([each], percent(each)) for each in _with(MULTIPLES[1:21], base.reaches[0], alike=0.0005)]
    most = max(30, math.ceil(200 * base.annual_discount_rate))
    rates = _with([0.01 * step for step in range(most + 1)], base.annual_discount_rate, alike=0.0005)
    found = [
        lever("gains", gains, list(base.score_gains), "gains_multiple" if several else ""),
        lever("reaches", reaches, list(base.reaches), "reaches_multiple" if several else ""),
        lever("cost", [(each, percent(each)) for each in SHARES], base.cost_multiple),
        lever("rate", [(each, language.percent(each)) for each in rates], base.annual_discount_rate),
        lever(
            "horizon", [(each, _months(each, language)) for each in _horizons(base.horizon_months)], base.horizon_months
        ),
        lever("margin", [(each, percent(each)) for each in MULTIPLES], base.margin_multiple),
        lever(
            "halfLives",
            _half_lives(base.half_lives_months, language),
            [_or_never(each) for each in base.half_lives_months],
        ),
    ]
    return found


def _gains(model: WhatIf, low: float, high: float) -> list[float]:
    """Gains in round steps: from none, or the worst stated, to twice the best, within the width of the scores."""
    base = model.programmes[0].score_gain
    high = high if max(abs(low), abs(high)) else 0.1 * model.score_width
    ends = [
        float(np.clip(end, -model.score_width, model.score_width))
        for end in (min(0, low, base), max(0, 2 * high, base))
    ]
    rough = (ends[1] - ends[0]) / STOPS or 0.1
    unit = 10.0 ** math.floor(math.log10(rough))
    step = max(unit * next(each for each in (1, 2, 2.5, 5, 10) if each * unit >= rough * 0.999), 0.01)
    steps = range(math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9) + 1)
    return _with([round(at * step, 10) for at in steps], base, alike=0.005)


def _most_multiple(model: WhatIf) -> float:
    """Largest multiple of all gains for which the page need not count out who is reached by which programmes."""
    if len(model.programmes) <= MOST_COUNTED_OUT:
        return math.inf
    summed = sum(abs(each.score_gain) for each in model.programmes)
    return model.score_width / summed if summed else math.inf


def _with(values: Sequence[float], base: float, *, alike: float) -> list[float]:
    """Rising values, the base among them in the place of those that read like it."""
    return sorted([*(value for value in values if abs(value - base) > alike + 1e-9), base])


def _horizons(months: int) -> list[int]:
    """Horizons up to the stated one, whose costs are known: each month, or each so many that the lever stays handy."""
    step = next(each for each in (1, 3, 6) if months <= MOST_MONTHLY_STOPS * each)
    return sorted({*range(step, months + 1, step), 1, months})


def _half_lives(base: tuple[float, ...], language: Language) -> Stops:
    """Half-lives from quick to never; of programmes that differ also as each states its own."""
    own = sorted({each for each in base if each != math.inf})
    every = sorted({*HALF_LIVES, *own}) if len({*base}) == 1 else list(HALF_LIVES)
    stops: Stops = [([each] * len(base), _months(each, language)) for each in every]
    stops.append(([None] * len(base), language.text("executive.never")))
    stated = [_or_never(each) for each in base]
    if stated not in [value for value, _ in stops]:
        stops.insert(0, (stated, language.text("what_if.as_stated")))
    return stops


def _or_never(half_life: float) -> float | None:
    return None if half_life == math.inf else half_life


def _payback(months: float, language: Language) -> str:
    if math.isinf(months):
        return language.text("executive.no_payback")
    return language.text("executive.months", number=language.number(months, 1))


def _months(months: float, language: Language) -> str:
    return language.text("executive.months", number=language.number(months, 0 if float(months).is_integer() else 1))


def _sentences(model: WhatIf, decision: BusinessCase, language: Language) -> list[str]:
    draws = language.number(decision.draws)
    return [
        language.text("what_if.one_future", draws=draws),
        language.text("what_if.one_programme" if len(model.programmes) == 1 else "what_if.several"),
    ]


def _pattern(language: Language, key: str) -> str:
    """Words of a key with its placeholders left open."""
    return language.text(key, **{name: f"{{{name}}}" for name in placeholders(catalogue(language.code)[key])})
