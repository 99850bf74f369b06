"""Tidy frames of what could overturn a figure, arranged for a reader who is no statistician.

Each function takes what was gathered (`cxroi.report.evidence_results`) and hands on the reason where there is nothing to show.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from cxroi.evidence.calendar import ByEvent
from cxroi.evidence.contest import FALSE_DISCOVERIES, contest_checks
from cxroi.evidence.nonresponse import NonResponse, nonresponse_checks
from cxroi.evidence.regression_to_mean import regression_to_mean_checks
from cxroi.evidence.segments import DISCOVERY_RATE, segment_checks
from cxroi.evidence.sensitivity import sensitivity_checks
from cxroi.evidence.shape import shape_checks
from cxroi.evidence.specification import SpecificationCurve, specification_checks
from cxroi.language import EVIDENCE, Language
from cxroi.linkage import METHODS, Linkage
from cxroi.linkage.ladder import CRITICAL
from cxroi.report import results, show
from cxroi.report.evidence_results import OUTCOMES, Evidence
from cxroi.value.red_team import HEADLINE, RedTeam

VERDICTS = ("fail", "warn", "pass")
BEYOND_OBSERVATION = ("quasi_experiment", "experiment")
MULTIPLES = (1.0, 3.0)
LARGE_DIFFERENCE = 0.1  # standard deviations
MOST_KNOWN = 6  # columns known before, in the comparison of answered and silent
MOST_BENCHMARKS = 4
Row = tuple[str, str, str, str]  # check, part, verdict, advice as the room says it


def effects(found: Evidence) -> pd.DataFrame | str:
    """Change of the first outcome per point by every comparison, columns of ``estimates.csv``; penalised figures too."""
    frame = found.estimates.tidy()
    own = frame[(frame["exposure"] == found.exposure) & (frame["estimand"] == "ame") & frame["estimate"].notna()]
    own = own[own["outcome"] == found.outcome]
    return own.reset_index(drop=True) if len(own) else str(results.linkage(found.estimates, found.outcome))


def ladder(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """Where each comparison of the first outcome stands: ``evidence, method, estimate, conf_low, conf_high, headline, advice``.

    The rungs that no data of this kind can reach stand below, with what would reach them.
    """
    frame = effects(found)
    if isinstance(frame, str):
        return frame
    rows = frame[["evidence", "method", "estimate", "conf_low", "conf_high", "unit", "headline"]]
    keys = [method if method in METHODS else "firth" for method in rows["method"]]
    rows = rows.assign(advice=[language.text(f"nb.sure.method_{key}") for key in keys])
    piloted = _per_point(found, language)
    above = [
        {"evidence": rung, "method": "", "headline": False, "advice": language.text(f"nb.sure.method_{rung}")}
        for rung in BEYOND_OBSERVATION
        if rung not in {each["evidence"] for each in piloted}
    ]
    beyond = sorted([*piloted, *above], key=lambda each: EVIDENCE.index(str(each["evidence"])))
    table = pd.concat([rows.astype(object), pd.DataFrame(beyond).astype(object)], ignore_index=True)
    table["headline"] = [language.text("nb.sure.leads") if leads else "" for leads in table["headline"]]
    numbers = ["estimate", "conf_low", "conf_high"]
    return table.assign(unit=table["unit"].fillna("")).astype(dict.fromkeys(numbers, float))


def _per_point(found: Evidence, language: Language) -> list[dict[str, object]]:
    """What each pilot shows of the first outcome per point, as rows of the ladder."""
    if isinstance(found.pilot, str):
        return []
    designs = dict(zip(found.pilot.sizes["initiative"], found.pilot.sizes["design"], strict=True))
    rows: list[dict[str, object]] = []
    for each in _points(found).to_dict("records"):
        key = "unclear" if each["reason"] else designs[each["initiative"]]
        advice = language.text(f"nb.pilot.method_{key}", name=initiative(found, each["initiative"]))
        kept = {name: each[name] for name in ("evidence", "estimate", "conf_low", "conf_high", "unit")}
        rows.append({**kept, "method": "pilot", "headline": False, "advice": advice})
    return rows


def _points(found: Evidence) -> pd.DataFrame:
    """Rows of pilots on the first outcome per point."""
    if isinstance(found.pilot, str):
        return pd.DataFrame()
    table = found.pilot.estimates
    return table[(table["outcome"] == found.outcome) & (table["estimand"] == "pilot_ame")]


def comparisons(found: Evidence) -> pd.DataFrame | str:
    """As ``effects``, and below them what each pilot shows per point."""
    frame = effects(found)
    if isinstance(frame, str) or isinstance(found.pilot, str):
        return frame
    rows = _points(found).query("reason == ''")
    rows = rows.assign(estimand="ame", method="pilot", exposure=found.exposure, headline=False)
    kept = [name for name in frame.columns if name in rows]
    return pd.concat([frame, rows[kept]], ignore_index=True) if len(rows) else frame


def pilot(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """What each pilot shows: ``initiative, what, estimate, conf_low, conf_high, unit, n_clusters, evidence, advice``.

    First the score, then each outcome: treated less control, and per point of the score.
    """
    if isinstance(found.pilot, str):
        return found.pilot
    rows = found.pilot.estimates
    what = [
        language.text(f"nb.pilot.{estimand}", name=show.said(outcome, language))
        for estimand, outcome in zip(rows["estimand"], rows["outcome"], strict=True)
    ]
    names = [initiative(found, name) for name in rows["initiative"]]
    table = rows.assign(initiative=names, what=what, advice=rows["reason"])
    if not (rows["reason"] != "").any():
        table = table.drop(columns="advice")
    kept = ("initiative", "what", "estimate", "conf_low", "conf_high", "unit", "n_clusters", "evidence", "advice")
    return table[[name for name in kept if name in table]].reset_index(drop=True)


def initiative(found: Evidence, name: object) -> str:
    """Name of an initiative as the company knows it."""
    return found.initiatives.get(str(name), str(name))


def events(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """The figures per point in outcome periods with each event and without any.

    Columns ``outcome, event, periods, estimate, conf_low, conf_high, unit, n_obs, advice``.
    """
    if not isinstance(found.calendar, ByEvent):
        return found.calendar
    cells = found.calendar.cells
    units = {name: str(each.marginal_effect()["unit"].iloc[0]) for name, each in _fitted(found).items()}
    none = cells["q_value"].isna().to_numpy()
    differs = (cells["q_value"] < DISCOVERY_RATE).to_numpy()
    words = {key: language.text(f"nb.calendar.{key}") for key in ("differs", "open", "none")}
    advice = np.where(none, "", np.where(differs, words["differs"], words["open"]))
    named = np.where(none, words["none"], cells["event"])
    table = cells.assign(event=named, unit=cells["outcome"].map(units), advice=advice)
    kept = ["outcome", "event", "periods", "estimate", "conf_low", "conf_high", "unit", "n_obs", "advice"]
    return table[kept].reset_index(drop=True)


def _fitted(found: Evidence) -> dict[str, Linkage]:
    return {name: each for name, each in found.headline.items() if isinstance(each, Linkage)}


def rung(found: Evidence) -> int:
    """Rung of the leading figure, 1 the lowest; 0 where there is none."""
    leading = found.leading
    return 0 if isinstance(leading, str) else EVIDENCE.index(leading.evidence) + 1


def headlines(found: Evidence) -> pd.DataFrame | str:
    """Leading figure of every outcome of the first score: ``outcome, method, estimate, conf_low, conf_high, evidence, n_obs``."""
    frame = found.estimates.glance()
    own = frame[frame["exposure"] == found.exposure]
    return own.reset_index(drop=True) if len(own) else str(found.leading)


def checks(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """Every question that was put to the figures: ``check, part, verdict, advice``, the worst first, alike answers in one row."""
    if isinstance(found.leading, str):
        return found.leading
    rows = [
        (check, show.said(part, language), verdict, _advice(check, verdict, advice, language))
        for check, part, verdict, advice in _asked(found, found.leading)
    ]
    frame = pd.DataFrame(rows, columns=["check", "part", "verdict", "advice"])
    grouped = frame.groupby(["check", "verdict", "advice"], sort=False)["part"].agg(_listed).reset_index()
    order = grouped["verdict"].map(VERDICTS.index)
    return grouped.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)[["check", "part", "verdict", "advice"]]


def _listed(parts: pd.Series[str]) -> str:
    return ", ".join(dict.fromkeys(part for part in parts if part))


def _asked(found: Evidence, leading: Linkage) -> Iterator[Row]:
    """Checks of every part, with one name for what is asked and the outcome or column of which."""
    equation = leading.checks()
    yield from _rows(equation[equation["name"].isin(_OF_THE_EQUATION) | (equation["verdict"] != "pass")])
    for outcome in OUTCOMES:
        one = found.sensitivity[outcome]
        if not isinstance(one, str):
            yield from _rows(sensitivity_checks(one), outcome, leave_out=("e-value",))
        curve = found.specification[outcome]
        if isinstance(curve, SpecificationCurve):
            yield from _rows(specification_checks(curve), outcome)
    if isinstance(found.clusters, pd.DataFrame):
        yield from _rows(found.clusters)
    if not isinstance(found.population, str):
        bounds = found.bounds if isinstance(found.bounds, pd.DataFrame) else None
        yield from _rows(nonresponse_checks(found.population, bounds), leave_out=("effective sample size",))
    if not isinstance(found.shape, str):
        unknown = tuple(found.shape.reasons)
        yield from (row for row in _rows(shape_checks(found.shape)) if row[1] not in unknown)
    if not isinstance(found.segments, str):
        yield from _rows(segment_checks(found.segments))
    if not isinstance(found.regression, str):
        yield from _rows(regression_to_mean_checks(found.regression))
    if not isinstance(found.pilot, str):
        several = len(found.pilot.sizes) > 1
        for table in (found.pilot.checks(), found.agreement):
            for each in table.to_dict("records"):
                part = initiative(found, each["initiative"]) if several or not each["outcome"] else str(each["outcome"])
                yield str(each["name"]), part, str(each["verdict"]), str(each["advice"])
    if isinstance(found.calendar, ByEvent):
        for each in found.calendar.checks().to_dict("records"):
            yield str(each["name"]), str(each["outcome"]), str(each["verdict"]), str(each["advice"])
    if not isinstance(found.contest, str):
        own = contest_checks(found.contest)
        yield from _rows(own[own["name"].str.startswith(f"{found.exposure} ")])


def _rows(frame: pd.DataFrame, part: str = "", *, leave_out: tuple[str, ...] = ()) -> Iterator[Row]:
    for name, verdict, advice in frame[["name", "verdict", "advice"]].itertuples(index=False):
        if name not in leave_out:
            check, own = named(str(name))
            yield check, part or own, str(verdict), str(advice)


def named(name: str) -> tuple[str, str]:
    """What is asked and of which outcome, segment or column, from the name that a room gives a check.

    Examples
    --------
    >>> named("margin: losses against gains of nps"), named("clusters: store"), named("retained by plan")
    (('losses against gains', 'margin'), ('clusters', 'store'), ('same in every segment', 'plan'))
    """
    for pattern, check in _NAMES:
        if match := pattern.fullmatch(name):
            return check, match.groupdict().get("part") or ""
    return name, ""


_NAMES = tuple(
    (re.compile(pattern), check)
    for pattern, check in (
        (r"clusters: (?P<part>.+)", "clusters"),
        (r"(?P<part>\w+) on \w+: (?:sign) under other choices", "sign under other choices"),
        (r"(?P<part>\w+) on \w+: (?:size) under other choices", "size under other choices"),
        (r"(?P<part>\w+) follows \w+ in a straight line", "straight line"),
        (r"(?P<part>\w+): losses against gains of \w+", "losses against gains"),
        (r"relation among the silent: (?P<part>\w+)", "relation among the silent"),
        (r"\w+ predicts (?P<part>\w+) of later periods", "predicts later periods"),
        (r"change of .+", "change at the next answer"),
        (r"(?:retained|orders|margin|revenue) by (?P<part>.+)", "same in every segment"),
    )
)
OF_THE_PILOT = (  # these question the pilot, not the leading figure
    "arms alike at the start",
    "arms moved alike before",
    "both arms answer alike",
    "gone before the start",
    "left as it began",
    "assignment kept",
    "waves with both arms",
    "lift is clear",
)
_OF_THE_EQUATION = (
    "score before outcome",
    "answered against base",
    "effective sample size",
    "reliability of one answer",
    "survivors",
    "placebo: orders before the answer",
)


def slug(name: str) -> str:
    """Key of a name in the catalogue."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _advice(check: str, verdict: str, advice: str, language: Language) -> str:
    return language.find(f"nb.ground.{slug(check)}_{verdict}") or show.said(advice, language)


def confounders(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """The first outcome's figure as it is, and with something unseen as strong as what is recorded: what would take most away.

    Columns ``name, estimate, conf_low, conf_high, leads, outcome``.
    """
    one = found.sensitivity[found.outcome]
    if isinstance(one, str):
        return one
    margin = one.critical_value * one.std_error
    rows = [(language.text("nb.sure.as_it_is"), one.estimate, one.estimate - margin, one.estimate + margin, True)]
    table = one.benchmarks(MULTIPLES).query("possible")
    left = (table["estimate"] * np.sign(one.estimate)).groupby(table["benchmark"]).min().nsmallest(MOST_BENCHMARKS)
    for row in table[table["benchmark"].isin(left.index)].to_dict("records"):
        words = {"name": show.said(str(row["benchmark"]), language)}
        words |= {} if row["multiple"] == 1 else {"times": language.number(row["multiple"])}
        name = language.text(f"nb.sure.{'times_' if 'times' in words else ''}as_strong", **words)
        rows.append((name, float(row["estimate"]), float(row["conf_low"]), float(row["conf_high"]), False))
    return pd.DataFrame(rows, columns=["name", "estimate", "conf_low", "conf_high", "leads"]).assign(
        outcome=found.outcome
    )


def choices(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """Every way to compute the first outcome's figure, the choices in words: ``estimate, conf_low, conf_high`` and each choice."""
    curve = found.specification[found.outcome]
    if isinstance(curve, str):
        return curve
    names = list(curve.by_choice()["choice"].unique())
    words = {
        name: [language.text(f"nb.choice.{slug(f'{name} {level}')}") for level in curve.table[name]] for name in names
    }
    return curve.table.assign(outcome=found.outcome, **words)


def silent(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """Those who answered against those who were asked and did not: ``what, level, estimate`` with its interval, ``invited``.

    What they did next stands first, then what was known before of which they differ most, the most different level of each.
    """
    population = found.population
    if isinstance(population, str):
        return population
    frame = population.comparison[population.comparison["difference"].notna()]
    later = frame["column"].isin(OUTCOMES).to_numpy()
    order = np.lexsort((-frame["difference"].abs().to_numpy(dtype=float), ~later))
    names = [
        known(str(column), language, later=bool(next_)) for column, next_ in zip(frame["column"], later, strict=True)
    ]
    invited = frame["n_answered"] + frame["n_silent"]
    table = frame.assign(what=names, estimate=frame["difference"], invited=invited, unit="standard deviations")
    table = table.iloc[order].drop_duplicates("column").head(int(later.sum()) + MOST_KNOWN)
    return table[["what", "level", "estimate", "conf_low", "conf_high", "unit", "invited"]].reset_index(drop=True)


def known(column: str, language: Language, *, later: bool = False) -> str:
    """What is known of a customer, in words; a column of the data keeps its name."""
    words = language.find(f"nb.known.{slug(column)}") or column
    return language.text("nb.known.later", name=words) if later else words


def population(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """The score of all customers by what is assumed of the silent: ``assumed, estimate, conf_low, conf_high, unit, n``."""
    one = found.population
    if isinstance(one, str):
        return one
    whole = one.population[one.population["period"] == "all"]
    names = [language.text(f"nb.known.{slug(method)}") for method in whole["method"]]
    table = whole.assign(assumed=names, unit=score_unit(one.exposure), n=whole["n_answered"])
    return table[["assumed", "estimate", "conf_low", "conf_high", "unit", "n"]].reset_index(drop=True)


def score_unit(exposure: str) -> str:
    """Unit of a population's score."""
    return {"nps": "NPS points", "csat": "share"}.get(exposure, "answer points")


def largest_difference(population: NonResponse) -> pd.Series | None:
    """What was known before of which the answered and the silent differ most."""
    known = population.comparison[~population.comparison["column"].isin(OUTCOMES)]
    known = known[known["difference"].notna()]
    return None if known.empty else known.iloc[int(known["difference"].abs().to_numpy().argmax())]


def losses(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """A point below and a point above the bend that was stated beforehand.

    Columns ``outcome, side, estimate, conf_low, conf_high, unit, n_obs``.
    """
    shape = found.shape
    if isinstance(shape, str):
        return shape
    rows = shape.slopes[(shape.slopes["bend_from"] == "scale") & (shape.slopes["side"] != "difference")]
    if rows.empty:
        return shape.reasons.get(found.outcome, results.NO_ANSWERS)
    margin = CRITICAL * rows["per_point_std_error"]
    sides = [
        language.text(f"nb.sure.side_{side}", bend=show.plain(bend, language))
        for side, bend in zip(rows["side"], rows["bend"], strict=True)
    ]
    table = rows.assign(side=sides, estimate=rows["per_point"])
    table = table.assign(conf_low=table["estimate"] - margin, conf_high=table["estimate"] + margin)
    return table[["outcome", "side", "estimate", "conf_low", "conf_high", "unit", "n_obs"]].reset_index(drop=True)


def segments(found: Evidence) -> pd.DataFrame | str:
    """The first outcome's figure in each segment, its own and pulled towards the mean of all; small cells have none.

    ``segment, level, estimate, conf_low, conf_high, pooled, pooled_low, pooled_high, customers, suppressed, outcome``.
    """
    if isinstance(found.segments, str):
        return found.segments
    cells = found.segments.cells
    return cells[cells["outcome"] == found.outcome].reset_index(drop=True)


def contest(found: Evidence, *, language: Language) -> pd.DataFrame | str:
    """Each score as answered, on later periods: share of what controls and history leave open that it explains, and the verdict.

    Columns ``outcome, exposure, estimate, conf_low, conf_high, unit, n_obs, advice``.
    """
    if isinstance(found.contest, str):
        return found.contest
    scores = found.contest.scores
    own = scores[(scores["sample"] == "own") & scores["competitor"].isin(("nps", "csat", "ces"))]
    words = [_won(row, language) for row in own.to_dict("records")]
    share = {name: own[name] / 100 for name in ("estimate", "conf_low", "conf_high")}
    table = own.assign(**share, exposure=own["competitor"], unit="share", advice=words)
    return table[["outcome", "exposure", "estimate", "conf_low", "conf_high", "unit", "n_obs", "advice"]].reset_index(
        drop=True
    )


def _won(row: Mapping[Hashable, Any], language: Language) -> str:
    estimate, q_value = float(row["estimate"]), float(row["q_value"])
    if np.isnan(estimate):
        return language.text("nb.sure.contest_few")
    if q_value > FALSE_DISCOVERIES:
        seen = language.percent(float(row["smallest_visible"]) / 100)
        return language.text("nb.sure.contest_open", seen=seen)
    return language.text(f"nb.sure.contest_{'better' if estimate > 0 else 'worse'}")


def winner(competitor: str, language: Language) -> str:
    """A competitor of the contest in words.

    Examples
    --------
    >>> winner("mean:nps+csat", Language("en")), winner("nps", Language("en"))
    ('the mean of NPS, CSAT', 'NPS as answered')
    """
    if "+" in competitor:
        names = ", ".join(score.upper() for score in competitor.removeprefix("mean:").split("+"))
        return language.text(f"nb.competitor.{'mean' if competitor.startswith('mean:') else 'joined'}", names=names)
    return language.find(f"nb.competitor.{competitor}") or language.text(
        "nb.competitor.answered", name=competitor.upper()
    )


def shortcuts(found: RedTeam | str, *, language: Language) -> pd.DataFrame | str:
    """Value of one point by the headline and by each single shortcut: ``shortcut, estimate, low, high, times, unit, advice``."""
    if isinstance(found, str):
        return found
    table = singly(found)
    table["times"] = table["times"].where(table["shortcut"] != HEADLINE)
    names = [language.text(f"nb.shortcut.{name}_name") for name in table["shortcut"]]
    advice = [
        show.said(str(reason), language) if reason else language.text(f"nb.shortcut.{name}_short")
        for name, reason in zip(table["shortcut"], table["reason"], strict=True)
    ]
    return table.assign(shortcut=names, advice=advice).drop(columns="reason")


def singly(found: RedTeam) -> pd.DataFrame:
    """The headline and the shortcuts that depart from it in one thing only."""
    table = found.tidy()
    return table[table["shortcut"] != "together"].reset_index(drop=True)


def shortcut_words(found: RedTeam | str, *, language: Language) -> pd.DataFrame | str:
    """What each shortcut computes and why it is wrong: ``shortcut, computes, wrong``."""
    if isinstance(found, str):
        return found
    names = [name for name in found.tidy()["shortcut"] if name != HEADLINE]
    rows = [
        tuple(language.text(f"nb.shortcut.{name}_{part}") for part in ("name", "computes", "wrong")) for name in names
    ]
    return pd.DataFrame(rows, columns=["shortcut", "computes", "wrong"])
