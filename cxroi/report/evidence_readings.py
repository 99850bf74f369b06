"""Sentences on what could overturn a figure, computed, for a reader who is no statistician."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxroi import periods
from cxroi.evidence.calendar import ByEvent
from cxroi.evidence.contest import Contest
from cxroi.evidence.pilot import Pilot
from cxroi.evidence.segments import DISCOVERY_RATE
from cxroi.evidence.sensitivity import Sensitivity, e_value, e_value_limit, sensitivity_checks
from cxroi.language import EVIDENCE, Language
from cxroi.linkage import Linkage
from cxroi.linkage.ladder import CRITICAL
from cxroi.report import evidence_views, readings, results, show
from cxroi.report.evidence_results import OUTCOMES, Evidence, why_not_higher
from cxroi.report.readings import Sentences, between
from cxroi.report.show import Shown, Words
from cxroi.value import CustomerValue
from cxroi.value.red_team import RedTeam

Row = Mapping[Hashable, Any]
NOTED = 4  # names of checks that a sentence lists
SEEN = 2.8  # standard errors; 1.96 + 0.84: what is told from nothing with 80 % power at a two-sided level of 5 %


def under(shown: Shown, sentences: Sentences) -> Shown:
    """Something shown, and below it what is read in it."""
    words = show.text(sentences)
    return Shown(shown.html + words.html, "\n".join(part for part in (shown.text, words.text) if part))


def answer(found: Evidence, *, language: Language) -> Sentences:
    """The leading figure, on which rung it stands, and what would overturn it first."""
    leading = found.leading
    if isinstance(leading, str):
        return readings.linkage_answer(found.estimates, found.outcome, language=language)
    graded = language.text(
        "nb.sure.graded",
        rung=language.number(evidence_views.rung(found)),
        rungs=language.number(len(EVIDENCE)),
        grade=language.evidence(leading.evidence),
        meaning=_meaning(leading, language),
    )
    return [readings.effect(leading, language=language), graded, overturned(found, language=language)]


def _meaning(leading: Linkage, language: Language) -> str:
    if leading.evidence == "association" and leading.method != "raw":
        return language.text("nb.sure.late" if leading.panel.timing != "before" else "nb.sure.by_placebo")
    return language.text(f"evidence_meaning.{leading.evidence}")


def overturned(found: Evidence, *, language: Language) -> str:
    """What fails or asks for care, or that nothing does."""
    frame = evidence_views.checks(found, language=language)
    if isinstance(frame, str) or isinstance(found.leading, str):
        return ""
    ends = found.leading.marginal_effect()[["conf_low", "conf_high"]].to_numpy(dtype=float)[0]
    if ends[0] <= 0 <= ends[1]:
        return language.text("nb.sure.overturned_open")
    frame = frame[~frame["check"].isin(evidence_views.OF_THE_PILOT)]
    for verdict in ("fail", "warn"):
        names = frame[frame["verdict"] == verdict]["check"]
        if len(names):
            listed = list(dict.fromkeys(show.said(name, language) for name in names))
            return language.text(f"nb.sure.overturned_{verdict}", names=", ".join(listed[:NOTED]))
    return language.text("nb.sure.overturned_pass")


def ladder(found: Evidence, *, language: Language) -> Sentences:
    """Which comparison leads and why none that stands higher does."""
    frame = evidence_views.effects(found)
    if isinstance(frame, str) or isinstance(found.leading, str):
        return []
    late = ["timing"] if found.leading.panel.timing != "before" else []
    lines = [language.text(f"nb.sure.why_{key}") for key in [*late, why_not_higher(found)]]
    unit = str(frame["unit"].iloc[0])
    low, high = float(frame["estimate"].min()), float(frame["estimate"].max())
    key = "agree" if low > 0 or high < 0 else "disagree"
    words = {"number": language.number(len(frame)), "interval": between(low, high, unit, language)}
    if not isinstance(found.pilot, str):
        lines.append(language.text("nb.pilot.beside"))
    return [*lines, *([language.text(f"nb.sure.{key}", **words)] if len(frame) > 1 else [])]


def checks(found: Evidence, *, language: Language) -> Sentences:
    """How many questions were answered in the figure's favour."""
    frame = evidence_views.checks(found, language=language)
    if isinstance(frame, str):
        return []
    counts = {verdict: language.number((frame["verdict"] == verdict).sum()) for verdict in ("pass", "warn", "fail")}
    return [language.text("nb.sure.counted", number=language.number(len(frame)), **counts)]


def reliability(found: Evidence, *, language: Language) -> Sentences:
    """How much of a single answer is satisfaction, and how low answers rise by themselves."""
    leading, regression = found.leading, found.regression
    if isinstance(leading, str):
        return [show.no_result(leading, language)]
    lines = []
    if leading.scores is None:
        lines.append(language.text("nb.sure.reliability_unknown"))
    else:
        own = leading.scores.satisfaction
        reach = CRITICAL * own.reliability_error
        ends = max(own.reliability - reach, 0.0), min(own.reliability + reach, 1.0)
        lines.append(
            language.text(
                "nb.sure.reliability",
                metric=found.exposure.upper(),
                share=language.percent(own.reliability, 0),
                interval=language.interval(*ends, "percent", 0),
            )
        )
    if isinstance(regression, str):
        return lines
    low = regression.bands.iloc[0]
    if not np.isfinite(low["expected"]) or low["expected"] <= 0 or low["change"] <= 0:
        return lines
    words = {"change": language.points(low["change"], 2), "expected": language.points(low["expected"], 2)}
    return [*lines, language.text("nb.sure.regression", n=language.number(low["n"]), **words)]


def placebo(found: Evidence, *, language: Language) -> Sentences:
    """Whether orders before an answer make the answer."""
    leading = found.leading
    if isinstance(leading, str):
        return [show.no_result(leading, language)]
    if leading.placebo is None:
        return [language.text("nb.sure.placebo_unknown")]
    tested = leading.placebo
    words = {
        "slope": language.number(abs(tested.slope), 2),
        "way": language.text(f"nb.sure.placebo_{'up' if tested.slope > 0 else 'down'}"),
        "n": language.number(tested.n_obs),
    }
    return [language.text(f"nb.sure.placebo_{'passes' if tested.passes else 'fails'}", **words)]


def pilot(found: Evidence, *, language: Language) -> Sentences:
    """What each pilot shows of the score, of the first outcome, and beside the leading figure; words follow the grade."""
    if isinstance(found.pilot, str):
        return []
    sizes = found.pilot.sizes.to_dict("records")
    return [line for size in sizes for line in _of_initiative(found, found.pilot, size, language)]


def _of_initiative(found: Evidence, pilots: Pilot, size: Row, language: Language) -> Sentences:
    name = str(size["initiative"])
    start = language.period(periods.label(int(size["started"]), found.estimates.panel.period))
    counts = {arm: language.number(size[arm]) for arm in ("treated", "control")}
    title = evidence_views.initiative(found, name)
    lines = [language.text(f"nb.pilot.reached_{size['design']}", start=start, name=title, **counts)]
    rows = pilots.estimates[pilots.estimates["initiative"] == name]
    for row in rows[rows["outcome"].isin([found.exposure, found.outcome])].to_dict("records"):
        if row["estimand"] == "pilot_ame":
            lines.append(_beside_headline(found, row, language))
        else:
            lines.append(_difference_of(row, language))
    if size["design"] == "rollout" and found.outcome == "retained":
        lines.append(language.text("nb.pilot.no_before"))
    checks = pilots.checks()
    against = checks[(checks["initiative"] == name) & (checks["verdict"] != "pass")]["name"]
    if len(against):
        listed = [show.said(each, language) for each in dict.fromkeys(against)]
        lines.append(language.text("nb.pilot.against", names=", ".join(listed)))
    return lines


def _difference_of(row: Row, language: Language) -> str:
    """Treated less control in words: brought from a quasi-experiment on, else goes with; or open."""
    of = str(row["estimand"]).removeprefix("pilot_")
    name = show.said(str(row["outcome"]), language)
    if row["reason"]:
        return language.text("nb.pilot.none", name=name, reason=show.said(str(row["reason"]), language))
    unit, size = str(row["unit"]), float(row["estimate"])
    words = {
        "name": name,
        "size": _signed(size, unit, language),
        "interval": _ends(float(row["conf_low"]), float(row["conf_high"]), unit, language),
    }
    if row["conf_low"] <= 0 <= row["conf_high"]:
        seen = _in_words(SEEN * float(row["std_error"]), unit, language)
        return language.text(f"nb.pilot.open_{of}", seen=seen, **words)
    earned = "brought" if row["evidence"] in evidence_views.BEYOND_OBSERVATION else "goes"
    return language.text(f"nb.pilot.{earned}_{of}", **words)


def _beside_headline(found: Evidence, row: Row, language: Language) -> str:
    if row["reason"]:
        return language.text("nb.pilot.unbounded")
    unit = str(row["unit"])
    words = {
        "size": show.in_words(float(row["estimate"]), unit, language),
        "interval": between(float(row["conf_low"]), float(row["conf_high"]), unit, language),
    }
    judged = found.agreement
    judged = judged[(judged["initiative"] == row["initiative"]) & (judged["outcome"] == row["outcome"])]
    if judged.empty or isinstance(found.leading, str):
        return language.text("nb.pilot.point", **words)
    words["headline"] = show.in_words(found.leading.effect.estimate, unit, language)
    return language.text(f"nb.pilot.point_{judged['verdict'].iloc[0]}", **words)


def _signed(x: float, unit: str, language: Language) -> str:
    return ("+" if x > 0 else "−") + _in_words(abs(x), unit, language)


def _in_words(x: float, unit: str, language: Language) -> str:
    return language.points(x, 2) if unit == "points" else show.in_words(x, unit, language)


def _ends(low: float, high: float, unit: str, language: Language) -> str:
    return language.interval(low, high, "points", 2) if unit == "points" else between(low, high, unit, language)


def events(found: Evidence, *, language: Language) -> Sentences:
    """Whether a point goes with another change in periods with an event, and whether the figure rests on those periods."""
    if not isinstance(found.calendar, ByEvent):
        return []
    checks = found.calendar.checks()
    cells = found.calendar.cells
    names = ", ".join(dict.fromkeys(cells[cells["q_value"].notna()]["event"]))
    failed = checks[checks["verdict"] != "pass"]
    differs = [
        show.said(str(each), language) for each in failed[failed["name"] == "same with and without events"]["outcome"]
    ]
    turned = [show.said(str(each), language) for each in failed[failed["name"] == "sign without events"]["outcome"]]
    lines = [language.text("nb.calendar.differ", names=names, outcomes=", ".join(differs))] if differs else []
    lines = lines or [language.text("nb.calendar.alike", names=names)]
    lines += [language.text("nb.calendar.hinges", outcomes=", ".join(turned))] if turned else []
    return [*lines, language.text("nb.calendar.season")]


def confounders(found: Evidence, *, language: Language) -> Sentences:
    """How strong something unseen would have to be, against the strongest thing on record."""
    one = found.sensitivity[found.outcome]
    if isinstance(one, str):
        return [show.no_result(one, language)]
    outcome = show.said(one.outcome, language)
    lines = [
        language.text(
            "nb.sure.robustness",
            outcome=outcome,
            value=language.percent(one.robustness_value()),
            limit=language.percent(one.robustness_value(to="interval")),
        )
    ]
    strongest = _strongest(one)
    if strongest is not None:
        words = {
            "name": show.said(str(strongest["benchmark"]), language),
            "score": language.percent(strongest["r2_score"]),
            "share": language.percent(strongest["r2_outcome"]),
        }
        lines.append(language.text("nb.sure.strongest", outcome=outcome, **words))
    return [
        *lines,
        language.text(f"nb.sure.unseen_{_unseen(one)}"),
        *([] if _unseen(one) == "holds" else _e_values(one, language)),
    ]


def _strongest(one: Sensitivity) -> pd.Series | None:
    """The recorded column or block whose like would take most of the figure away."""
    table = one.benchmarks((1.0,))
    table = table[table["possible"].astype(bool)]
    if table.empty:
        return None
    return table.iloc[int((table["estimate"] * np.sign(one.estimate)).to_numpy(dtype=float).argmin())]


def _unseen(one: Sensitivity) -> str:
    if one.robustness_value(to="interval") == 0:
        return "holds"
    if _strongest(one) is None:
        return "alone"
    return str(sensitivity_checks(one)["verdict"].iloc[0])


def _e_values(one: Sensitivity, language: Language) -> Sentences:
    if one.ratio is None:
        return []
    estimate, low, high = one.ratio.risk_ratios(one.answer_deviation)
    limit = e_value_limit(low, high)
    words = {"value": language.number(e_value(estimate), 2), "limit": language.number(limit, 2)}
    return [language.text("nb.sure.e_value", outcome=show.said(one.outcome, language), **words)]


def choices(found: Evidence, *, language: Language) -> Sentences:
    """What other ways to compute the figure give, and which choice matters most."""
    curve = found.specification[found.outcome]
    if isinstance(curve, str):
        return [show.no_result(curve, language)]
    seen = curve.glance().iloc[0]
    unit = str(seen["unit"])
    positive = bool(seen["median"] > 0)
    words = {
        "number": language.number(seen["specifications"]),
        "clear": language.percent(seen[f"share_significant_{'above' if positive else 'below'}"], 0),
        "median": show.in_words(float(seen["median"]), unit, language),
        "interval": between(seen["low"], seen["high"], unit, language),
        "share": language.percent(seen["share_above_zero"] if positive else 1 - seen["share_above_zero"], 0),
    }
    lines = [language.text(f"nb.sure.choices_{'above' if positive else 'below'}", **words)]
    if isinstance(found.leading, Linkage) and found.leading.scores is not None and found.leading.method != "adjusted":
        lines.append(language.text("nb.sure.choices_noisy"))
    by_choice = curve.by_choice()
    medians = by_choice.groupby("choice", sort=False)["median"]
    most = str((medians.max() - medians.min()).idxmax())
    levels = by_choice[by_choice["choice"] == most].sort_values("median")
    ends = {
        "low": show.in_words(float(levels["median"].iloc[0]), unit, language),
        "high": show.in_words(float(levels["median"].iloc[-1]), unit, language),
        "low_level": _level(most, levels["level"].iloc[0], language),
        "high_level": _level(most, levels["level"].iloc[-1], language),
    }
    return [*lines, language.text("nb.sure.choice_matters", choice=language.text(f"nb.choice.{most}"), **ends)]


def _level(choice: str, level: object, language: Language) -> str:
    return language.text(f"nb.choice.{evidence_views.slug(f'{choice} {level}')}")


def on_choices(found: Evidence, *, language: Language) -> Words:
    """Words of a figure of all ways to compute the leading figure."""
    curve = found.specification[found.outcome]
    if isinstance(curve, str):
        return Words()
    share = float((np.sign(curve.table["estimate"]) == np.sign(curve.table["estimate"].median())).mean())
    title = language.text(
        "nb.sure.choices_title", share=language.percent(share, 0), number=language.number(len(curve.table))
    )
    caption = language.text(
        f"nb.sure.choices_source{'_sample' if curve.n_sampled < curve.n_answers else ''}",
        **({"sampled": language.number(curve.n_sampled)} if curve.n_sampled < curve.n_answers else {}),
        n=language.number(curve.n_answers),
    )
    return Words(title, caption)


def headline(found: Evidence) -> float | None:
    """The leading figure of the first outcome as a number for a picture."""
    return None if isinstance(found.leading, str) else float(found.leading.effect.estimate)


def on_effects(found: Evidence, *, language: Language) -> Words:
    """Words of a figure of every comparison of the first outcome."""
    if isinstance(found.leading, str):
        return Words()
    title = readings.curve_title(found.leading, language=language)
    return Words(title, readings.source(found.leading, language=language))


def on_confounders(found: Evidence, *, language: Language) -> Words:
    """Words of a figure of unseen confounders as strong as what is recorded."""
    one = found.sensitivity[found.outcome]
    if isinstance(one, str):
        return Words()
    title = language.text(f"nb.sure.confounders_{_unseen(one)}")
    return Words(title, readings.source(found.leading, language=language))


def non_response(found: Evidence, *, language: Language) -> Sentences:
    """Who answered, the score had everybody answered, and whether the silent could overturn the figure."""
    return [*_silent(found, language), *_population(found, language)]


def _silent(found: Evidence, language: Language) -> Sentences:
    """How many answered, and in what they differ most from those who did not."""
    one = found.population
    if isinstance(one, str):
        return []
    answered, others = (float(one.comparison[name].max()) for name in ("n_answered", "n_silent"))
    rate = language.percent(answered / max(answered + others, 1.0), 0)
    key = "asked" if one.invitations_recorded else "asked_unknown"
    lines = [language.text(f"nb.sure.{key}", n=language.number(answered + others), rate=rate)]
    if one.every > 1:
        lines.append(language.text("nb.sure.sampled", every=language.number(one.every)))
    most = evidence_views.largest_difference(one)
    if most is None:
        return lines
    name = evidence_views.known(str(most["column"]), language) + (f" = {most['level']}" if most["level"] else "")
    words = {"name": name, "difference": language.number(abs(float(most["difference"])), 2)}
    small = abs(float(most["difference"])) < evidence_views.LARGE_DIFFERENCE
    return [*lines, language.text(f"nb.sure.silent_{'alike' if small else 'differ'}", **words)]


def _population(found: Evidence, language: Language) -> Sentences:
    one = found.population
    if isinstance(one, str):
        return _bounds(found, language)
    whole = one.population[one.population["period"] == "all"].set_index("method")[["estimate", "conf_low", "conf_high"]]
    figures = {str(name): row for name, row in whole.to_dict("index").items()}
    unit, raw = evidence_views.score_unit(one.exposure), float(figures["answered"]["estimate"])
    words = {"metric": one.exposure.upper(), "raw": show.in_unit(raw, unit, language)}
    if "own answer" not in figures or not np.isfinite(one.slope):
        return [language.text("nb.sure.everybody_unknown", **words), *_bounds(found, language)]
    own, low, high = (float(figures["own answer"][name]) for name in ("estimate", "conf_low", "conf_high"))
    words |= {"estimate": show.in_unit(own, unit, language), "interval": between(low, high, unit, language)}
    key = "meets" if low <= raw <= high else "apart"
    return [language.text(f"nb.sure.everybody_{key}", **words), *_bounds(found, language)]


def _bounds(found: Evidence, language: Language) -> Sentences:
    """Whether selection that nobody sees could make the figure up."""
    if isinstance(found.bounds, str):
        return [show.no_result(found.bounds, language)]
    lines = []
    for tilt, table in found.bounds.groupby("tilt", sort=False):
        crosses = float(table["crosses_zero_at"].iloc[0])
        key = evidence_views.slug(f"tilt {tilt}")
        odds = np.exp(abs(crosses) if np.isfinite(crosses) else float(table["strength"].abs().max()))
        words = {"odds": language.number(odds, 1 if odds >= 1.95 else 2)}
        lines.append(language.text(f"nb.sure.{key}_{'crosses' if np.isfinite(crosses) else 'holds'}", **words))
    return lines


def losses(found: Evidence, *, language: Language) -> Sentences:
    """Whether a point lost weighs more than a point won."""
    shape = found.shape
    if isinstance(shape, str):
        return []
    rows = shape.slopes[(shape.slopes["bend_from"] == "scale") & (shape.slopes["side"] == "difference")]
    seen = [str(name) for name in rows[(rows["conf_low"] > 0) | (rows["conf_high"] < 0)]["outcome"]]
    bent = [str(row["outcome"]) for row in shape.glance().to_dict("records") if row["shape"] != "linear"]
    lines = []
    if len(rows):
        names = {"names": ", ".join(show.said(name, language) for name in seen)} if seen else {}
        lines.append(language.text(f"nb.sure.losses_{'seen' if seen else 'open'}", **names))
    if len(shape.glance()):
        names = {"names": ", ".join(show.said(name, language) for name in bent)} if bent else {}
        lines.append(language.text(f"nb.sure.shape_{'bent' if bent else 'straight'}", **names))
    return lines


def on_segments(found: Evidence, *, language: Language) -> Words:
    """Words of a figure of the leading figure by segment."""
    if isinstance(found.segments, str):
        return Words()
    spread = found.segments.heterogeneity
    own = spread[spread["outcome"] == found.outcome]
    varying = [str(row["segment"]) for row in own.to_dict("records") if row["p_value"] < DISCOVERY_RATE]
    names = {"names": ", ".join(varying)} if varying else {}
    cells = found.segments.cells
    hidden = int(cells[cells["outcome"] == found.outcome]["suppressed"].astype(bool).sum())
    caption = language.text("nb.sure.segments_source", hidden=language.number(hidden))
    return Words(language.text(f"nb.sure.segments_{'vary' if varying else 'alike'}", **names), caption)


def contest(found: Evidence, *, language: Language) -> Sentences:
    """Which score predicts later behaviour best, or that these answers cannot tell."""
    if isinstance(found.contest, str):
        return []
    lines = []
    for outcome in OUTCOMES:
        won = _winners(found.contest, outcome)
        if won:
            listed = "; ".join(
                language.text(
                    "nb.sure.beats",
                    first=evidence_views.winner(first, language),
                    second=evidence_views.winner(second, language),
                )
                for first, second in won
            )
            lines.append(language.text("nb.sure.contest_won", outcome=show.said(outcome, language), names=listed))
    compared = int(found.contest.pairs["estimate"].notna().sum())
    if lines or not compared:
        return lines or [language.text("nb.sure.contest_none")]
    return [language.text("nb.sure.contest_nothing", number=language.number(compared))]


def _winners(found: Contest, outcome: str) -> list[tuple[str, str]]:
    rows = found.pairs[(found.pairs["outcome"] == outcome) & (found.pairs["better"] != "")]
    return [
        (str(row["better"]), str(row["second"] if row["better"] == row["first"] else row["first"]))
        for row in rows.to_dict("records")
    ]


def shortcuts_answer(value: CustomerValue | str, found: RedTeam | str, *, language: Language) -> Sentences:
    """What a point is worth here, what the shortcuts make of it, and which of them strays furthest."""
    if isinstance(found, str):
        return [language.text("nb.unanswered"), show.no_result(found, language)]
    lines = [readings.point(value, language=language)]
    lines.append(shortcuts_title(found, language=language) + ".")
    return [*lines, language.text("nb.red.change")]


def shortcuts_title(found: RedTeam | str, *, language: Language) -> str:
    """Finding of a figure of shortcuts: between which multiples they lie, or between which amounts."""
    if isinstance(found, str):
        return ""
    rows = evidence_views.singly(found)[1:]
    rows = rows[rows["estimate"].notna()]
    if rows.empty:
        return language.text("nb.red.title_none")
    if rows["times"].notna().all():
        low, high = (language.number(end, 1) for end in (rows["times"].min(), rows["times"].max()))
        return language.text("nb.red.title_times", low=low, high=high)
    low, high = (show.money(end, language) for end in (rows["estimate"].min(), rows["estimate"].max()))
    return language.text("nb.red.title_money", low=low, high=high)


def shortcuts(found: RedTeam | str, *, language: Language) -> Sentences:
    """How many of the shortcuts leave the range of the headline, and upwards or downwards."""
    if isinstance(found, str):
        return []
    rows = evidence_views.singly(found)
    low, high = (float(rows[name].iloc[0]) for name in ("low", "high"))
    others = rows[1:][rows["estimate"][1:].notna()]
    above, below = int((others["estimate"] > high).sum()), int((others["estimate"] < low).sum())
    counts = {"number": len(others), "above": above, "below": below, "inside": len(others) - above - below}
    return [language.text("nb.red.counted", **{name: language.number(count) for name, count in counts.items()})]


def together(found: RedTeam | str, *, language: Language) -> Sentences:
    """What several shortcuts promise together."""
    if isinstance(found, str):
        return [show.no_result(found, language)]
    table = found.tidy()
    row = table[table["shortcut"] == "together"].iloc[0]
    if np.isnan(row["estimate"]):
        return [show.no_result(str(row["reason"]), language)]
    words = {"size": show.money(row["estimate"], language)}
    if np.isnan(row["times"]):
        return [language.text("nb.red.together", **words)]
    return [language.text("nb.red.together_times", times=language.number(row["times"], 1), **words)]


def on_shortcuts(value: CustomerValue | str, found: RedTeam | str, *, language: Language) -> Words:
    """Words of a figure of shortcuts."""
    if isinstance(found, str) or isinstance(value, str):
        return Words()
    return Words(shortcuts_title(found, language=language), readings.value_source(value, language=language))


def terms(value: CustomerValue | str, found: RedTeam | str, *, language: Language) -> Sentences:
    """Horizon and rate at which every figure of a page is computed."""
    if isinstance(value, str) or isinstance(found, str):
        return [show.no_result(value if isinstance(value, str) else str(found), language)]
    months = language.number(value.horizon_quarters * results.MONTHS_OF_A_QUARTER)
    whole = (value.annual_discount_rate * 100).is_integer()
    rate = language.percent(value.annual_discount_rate, 0 if whole else 1)
    return [language.text("nb.red.terms", months=months, rate=rate, grade=language.evidence(value.evidence))]
