"""Which programmes to choose, what their value hinges on, and what to find out first: all that notebook 09 asks for.

Results or the reasons why there are none, tidy views of them and sentences that are read in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cxroi.case import BusinessCase, Case
from cxroi.case.forecast import TOTAL
from cxroi.case.information import (
    CHOICE,
    Information,
    SampleInformation,
    larger_survey,
    pilot,
    value_of_information,
)
from cxroi.case.inputs import draw_inputs
from cxroi.case.portfolio import Portfolio, choose
from cxroi.case.uncertainty import stress_tests, variance_shares
from cxroi.language import Language
from cxroi.panel import Panel
from cxroi.report import results, show
from cxroi.report.readings import Sentences
from cxroi.report.show import Words
from cxroi.report.wording import LIKELY
from cxroi.scores import Scores
from cxroi.tables import Tables
from cxroi.value.loyalty import Shock, ShockSurvival, shock_survival

NOT_STATED = -1.0
NO_UNCERTAIN_GAIN = "no programme states its gain as a range, so a pilot has nothing to find out"
SHOWN_SIZES = 7
LEAST_TOGETHER = 0.02  # share of the variance that is worth a word
LEAST_TOLD = 1e-3  # share of what everything is worth below which an input is worth nothing to speak of


class Trial(NamedTuple):
    """What a pilot and further answers cost; -1 where it is not stated."""

    programme: str = ""
    cost: float = NOT_STATED
    cost_per_customer: float = NOT_STATED
    months: int = 0
    answer_cost: float = NOT_STATED


@dataclass(frozen=True, eq=False)
class Choice:
    """What is known of the choice of programmes; each part a result or the reason in words why there is none.

    Attributes
    ----------
    decision : BusinessCase or str
    portfolio : Portfolio or str
    information : Information or str
    pilot, survey : SampleInformation or str
    trial : Trial
        What was stated of their costs.
    shares, stress : DataFrame or str
        Shares of the variance, and stress tests.
    survival : ShockSurvival or str
        What of a retention benefit survives the stated price rise; a reason where none is stated.
    pilots : tuple
        Pilots that the data hold already: initiative, customers treated, customers of the comparison.
    """

    decision: BusinessCase | str
    portfolio: Portfolio | str
    information: Information | str
    pilot: SampleInformation | str
    survey: SampleInformation | str
    trial: Trial
    shares: pd.DataFrame | str
    stress: pd.DataFrame | str
    survival: ShockSurvival | str
    pilots: tuple[tuple[str, int, int], ...] = ()


# -------------------------------------------------------------------------------------------------------------- results


def gather(
    tables: Tables,
    panel: Panel,
    decision: BusinessCase | str,
    *,
    budget: float = NOT_STATED,
    shared: float = 1.0,
    trial: Trial | None = None,
    price_rise: float = 0.0,
) -> Choice:
    """Everything that is asked of a choice of programmes.

    Parameters
    ----------
    decision : BusinessCase or str
        The case valued with the panel's linkage, or why it cannot be.
    budget : float
        Spending in all; -1: as the case states.
    shared : float
        As for ``choose``.
    trial : Trial, optional
        Costs of a pilot and of further answers.
    price_rise : float
        Shock of a stress test; 0: not stated.

    Raises
    ------
    InputError
        If the programme of the pilot is not one of the case.
    """
    trial = trial or Trial()
    if isinstance(decision, str) or decision.response.reason:
        why = decision if isinstance(decision, str) else decision.response.reason
        return Choice(why, why, why, why, why, trial, why, why, why)
    chosen = choose(decision, budget=None if budget == NOT_STATED else budget, shared=shared)
    assert isinstance(chosen, Portfolio)  # there is a response
    information = value_of_information(decision, choice=chosen)
    kept, survival = _chosen_only(decision, chosen), _survival(tables, panel, decision, price_rise)
    return Choice(
        decision,
        chosen,
        information,
        _pilot(tables, panel, decision, (information, chosen), trial),
        _survey(panel, decision, chosen, trial),
        trial,
        variance_shares(kept),
        stress_tests(kept, survival=None if isinstance(survival, str) else survival),
        survival,
        _pilots(panel),
    )


def _pilots(panel: Panel) -> tuple[tuple[str, int, int], ...]:
    """Pilots of the data, each with its customers treated and in the comparison."""
    if panel.pilot is None or panel.pilot.empty:
        return ()
    found = []
    for name, rows in panel.pilot.groupby("initiative", observed=True):
        treated, control = (int(rows.loc[rows["arm"] == arm, "customer"].nunique()) for arm in ("treated", "control"))
        found.append((str(name), treated, control))
    return tuple(found)


def _chosen_only(decision: BusinessCase, chosen: Portfolio) -> BusinessCase:
    """The case with the chosen programmes only, its inputs drawn as before; the whole case where none is chosen."""
    kept = tuple(each for each in decision.case.programmes if each.id in chosen.chosen)
    if not kept or len(kept) == len(decision.case.programmes):
        return decision
    case = decision.case.model_copy(update={"programmes": kept})
    inputs = draw_inputs(case, decision.response, seed=decision.seed, draws=decision.draws)
    return replace(decision, case=case, inputs=inputs)


def _survival(tables: Tables, panel: Panel, decision: BusinessCase, price_rise: float) -> ShockSurvival | str:
    """What of the retention benefit of the stated gains survives a rise of prices."""
    gain = sum(each.gain.mode * each.reach for each in decision.case.programmes if each.has_route)
    if not price_rise:
        return "no rise of prices is stated"
    if not gain:
        return "no gain is stated"
    return shock_survival(
        tables,
        panel,
        decision.response.exposure,
        shocks=[Shock("price shock", price_rise=price_rise)],
        horizon_quarters=min(-(-decision.case.horizon_months // results.MONTHS_OF_A_QUARTER), 80),
        score_gain=gain,
        seed=decision.seed,
    )


def _pilot(
    tables: Tables,
    panel: Panel,
    decision: BusinessCase,
    known: tuple[Information | str, Portfolio],
    trial: Trial,
) -> SampleInformation | str:
    """A pilot of the programme that is asked for, or of the one whose gain is worth most to know."""
    information, chosen = known
    programme = trial.programme or _worth_piloting(information)
    if not programme:
        return NO_UNCERTAIN_GAIN
    exposure = decision.response.exposure
    return pilot(
        decision,
        programme,
        answer_std=float(panel.rows[exposure].std()),
        response_rate=_response_rate(tables, panel, exposure),
        fixed_cost=max(trial.cost, 0.0),
        cost_per_customer=max(trial.cost_per_customer, 0.0),
        months=trial.months,
        choice=chosen,
    )


def _worth_piloting(information: Information | str) -> str:
    """The programme whose gain is worth most to know; empty where no gain is uncertain."""
    if isinstance(information, str):
        return ""
    rows = information.tidy()
    rows = rows[(rows["input"] == "score_gain") & (rows["decided"] == CHOICE)]
    return str(rows["programme"].iloc[0]) if len(rows) else ""


def _response_rate(tables: Tables, panel: Panel, exposure: str) -> float:
    """Share of those invited who answered; where invitations are not known, of customers who answered in the last period."""
    scores = results.score(tables, exposure)
    rate = float(scores.tidy()["response_rate"].iloc[0]) if isinstance(scores, Scores) else np.nan
    if not 0 < rate <= 1:
        rate = float((panel.active[f"{exposure}_age"] == 0).mean())
    return rate if 0 < rate <= 1 else 1.0


def _survey(panel: Panel, decision: BusinessCase, chosen: Portfolio, trial: Trial) -> SampleInformation | str:
    """More answers of the same kind."""
    answers = int(panel.rows[decision.response.exposure].notna().sum())
    cost = max(trial.answer_cost, 0.0)
    return larger_survey(decision, answers_now=max(answers, 1), cost_per_answer=cost, choice=chosen)


# ---------------------------------------------------------------------------------------------------------------- views


def programmes(found: Choice, *, language: Language) -> pd.DataFrame | str:
    """A row per programme: ``programme, chosen, spending, npv_alone, low, high, npv_added, p_best, why, unit``, in words."""
    if isinstance(found.portfolio, str) or isinstance(found.decision, str):
        return results.reason(found.portfolio)
    rows, named = found.portfolio.tidy(), _names(found.decision.case)
    words = [named[name] for name in rows["programme"]]
    plays = [language.text("portfolio.cost_play", name=name) for name in words]
    return rows.assign(
        programme=np.where(rows["has_route"], words, plays),
        why=[show.said(str(why), language) for why in rows["why"]],
    )


def sets(found: Choice) -> pd.DataFrame | str:
    """Sets that no other beats, programmes by their names, as ``plots.frontier`` draws them."""
    if isinstance(found.portfolio, str) or isinstance(found.decision, str):
        return results.reason(found.portfolio)
    rows, named = found.portfolio.frontier(), _names(found.decision.case)
    words = [" + ".join(named[name] for name in each.split(", ") if name) for each in rows["programmes"]]
    return rows.assign(programmes=words)


def set_table(found: Choice, *, language: Language) -> pd.DataFrame | str:
    """The same as a table; the choice is marked."""
    rows = sets(found)
    if isinstance(rows, str):
        return rows
    names = [each or language.text("portfolio.no_programme") for each in rows["programmes"]]
    marked = [language.text("portfolio.the_choice", name=name) for name in names]
    return rows.assign(programmes=np.where(rows["chosen"].astype(bool), marked, names))


def frontier_options(found: Choice) -> dict[str, Any]:
    """Budget and currency of the figure of the frontier."""
    if isinstance(found.portfolio, str):
        return {}
    return {"budget": found.portfolio.limits.total, "currency": found.portfolio.currency}


def shares(found: Choice) -> pd.DataFrame | str:
    """Shares of the variance by input, as ``plots.variance_shares`` draws them."""
    return found.shares if isinstance(found.shares, str) else _with_names(found.shares, found.decision)


def worth_knowing(found: Choice) -> pd.DataFrame | str:
    """Expected value of knowing everything and each input, before programmes are chosen, as ``plots.information`` draws it."""
    if isinstance(found.information, str) or isinstance(found.decision, str):
        return results.reason(found.information)
    rows = found.information.tidy()
    rows = rows[rows["decided"] == CHOICE].reset_index(drop=True)
    return _with_names(rows, found.decision)


def sizes(found: SampleInformation | str) -> pd.DataFrame | str:
    """A pilot or survey by size, as ``plots.sample_sizes`` draws it."""
    return found if isinstance(found, str) else found.tidy()


def size_options(found: SampleInformation | str) -> dict[str, Any]:
    """Best size and currency of the figure of sizes."""
    return {} if isinstance(found, str) else {"best_size": found.best_size, "currency": found.currency}


def size_table(found: SampleInformation | str) -> pd.DataFrame | str:
    """A few of the sizes: ``size, answers, share_known, worth, cost, net_worth, power``."""
    if isinstance(found, str):
        return found
    rows = found.tidy()
    kept = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, SHOWN_SIZES).round().astype(int))]
    return kept.rename(columns={"value": "worth", "net_value": "net_worth"}).reset_index(drop=True)


def pilot_table(found: Choice, *, language: Language) -> pd.DataFrame | str:
    """The pilot at a few of its sizes: ``size, share_known, worth, net_worth, power``, the net only where a cost is stated.

    An amount below a thousandth of the net present value of the choice is said to be close to zero.
    """
    rows = size_table(found.pilot)
    if isinstance(rows, str) or isinstance(found.portfolio, str):
        return results.reason(found.pilot) if isinstance(rows, str) else rows
    priced = found.trial.cost != NOT_STATED or found.trial.cost_per_customer != NOT_STATED
    columns = ["size", "share_known", "worth", *(["net_worth"] if priced else []), "power"]
    least = LEAST_TOLD * abs(float(found.portfolio.glance()["npv_mean"].iloc[0]))
    words = {
        name: [
            language.text("nb.portfolio.near_zero") if abs(each) < least else show.money(each, language)
            for each in rows[name]
        ]
        for name in ("worth", "net_worth")
    }
    return rows.assign(**words)[columns]


def stress(found: Choice, *, language: Language) -> pd.DataFrame | str:
    """Stress tests in words: ``test, changed, basis, median, low, high, change, p_npv_positive, unit``."""
    if isinstance(found.stress, str):
        return found.stress
    words = {
        name: [show.said(str(each), language) for each in found.stress[name]] for name in ("test", "changed", "basis")
    }
    return found.stress.assign(**words)


def scenarios(found: Choice) -> pd.DataFrame | str:
    """Net present value, return and payback by scenario, in the columns of ``case.csv``."""
    if isinstance(found.decision, str):
        return found.decision
    rows = found.decision.tidy()
    kept = ("npv", "roi", "payback_months")
    rows = rows[(rows["programme"] == found.decision.whole.programme) & rows["measure"].isin(kept)]
    order = {"conservative": 0, "base": 1, "optimistic": 2}
    rows = rows.sort_values("scenario", key=lambda names: names.map(order), kind="stable")
    return rows[["scenario", "measure", "median", "low", "high", "unit"]].reset_index(drop=True)


def checks(found: Choice) -> pd.DataFrame | str:
    """Checks of the choice: ``check, verdict, number, advice``."""
    if isinstance(found.portfolio, str):
        return found.portfolio
    rows = found.portfolio.checks().rename(columns={"name": "check"})
    return rows.assign(unit=np.where(rows["check"] == "customers_counted_once", "share", "likelihood"))


def _names(case: Case) -> dict[str, str]:
    return {each.id: each.name for each in case.programmes}


def _with_names(rows: pd.DataFrame, decision: BusinessCase | str) -> pd.DataFrame:
    """Programmes by their names where there are several, empty for what all share; their ids in ``owner``."""
    named = {} if isinstance(decision, str) else _names(decision.case)
    several = len(named) > 1
    owners = rows["programme"].astype(str)
    return rows.assign(owner=owners, programme=[named[name] if several and name != TOTAL else "" for name in owners])


# ------------------------------------------------------------------------------------------------------------- readings


def answer(found: Choice, *, language: Language) -> Sentences:
    """Which programmes, how clear that is, and what to find out first."""
    if isinstance(found.decision, str) or isinstance(found.portfolio, str):
        return [language.text("nb.unanswered"), show.no_result(results.reason(found.portfolio), language)]
    return [_choice_line(found, language), _sure_line(found, language), _first_line(found, language)]


def _choice_line(found: Choice, language: Language) -> str:
    """What to choose and what it is worth."""
    assert isinstance(found.portfolio, Portfolio)
    assert isinstance(found.decision, BusinessCase)
    row, named = found.portfolio.glance().iloc[0], _names(found.decision.case)
    one = len(named) == 1
    words = {
        "npv": show.money(row["npv_mean"], language),
        "interval": show.money_interval(row["npv_low"], row["npv_high"], language),
        "chance": show.chance_words(row["p_npv_positive"], language),
    }
    chosen = _listed([named[name] for name in found.portfolio.chosen])
    if one:
        name = next(iter(named.values()))
        if not chosen:
            return language.text("nb.portfolio.one_leave", name=name)
        key = "one_take" if row["p_npv_positive"] >= LIKELY else "one_open"
        return language.text(f"nb.portfolio.{key}", name=name, median=show.money(row["npv_median"], language), **words)
    limited = np.isfinite(found.portfolio.limits.total)
    if not chosen:
        return language.text("nb.portfolio.none")
    if limited:
        budget = show.money(found.portfolio.limits.total, language)
        return language.text("nb.portfolio.choose_budget", names=chosen, budget=budget, **words)
    return language.text("nb.portfolio.choose", names=chosen, **words)


def _sure_line(found: Choice, language: Language) -> str:
    """How often this choice is the best one, and on which evidence it stands."""
    assert isinstance(found.portfolio, Portfolio)
    assert isinstance(found.decision, BusinessCase)
    weakest = min((each.evidence for each in found.decision.case.programmes), key=results.rung)
    return language.text(
        "nb.portfolio.sure",
        chance=show.chance_words(found.portfolio.p_set, language),
        linkage=language.evidence(found.decision.response.evidence),
        gain=language.evidence(weakest),
    )


def _first_line(found: Choice, language: Language) -> str:
    """What to find out first, and up to what it is worth paying for."""
    rows = worth_knowing(found)
    if isinstance(rows, str):
        return show.no_result(rows, language)
    everything, single = rows.iloc[0], rows.iloc[1:]
    most = single.iloc[0] if len(single) else None
    if most is None or everything["value"] <= 0 or most["value"] <= LEAST_TOLD * everything["value"]:
        return language.text("nb.portfolio.nothing_to_find_out")
    return language.text(
        "nb.portfolio.first",
        input=_input_words(most, language),
        value=show.money(most["value"], language),
        everything=show.money(everything["value"], language),
    )


def read_programmes(found: Choice, *, language: Language) -> Sentences:
    """What customers reached by several take from the sum, and which part cost plays bring."""
    if isinstance(found.portfolio, str):
        return []
    row = found.portfolio.glance().iloc[0]
    lines = []
    lost = float(row["npv_added_up"] - row["npv_mean"])
    if row["number"] > 1 and lost > 1e-6 * abs(float(row["npv_mean"])):
        lines.append(
            language.text(
                "nb.portfolio.shared",
                share=language.percent(found.portfolio.shared, 0),
                lost=show.money(lost, language),
                added=show.money(row["npv_added_up"], language),
            )
        )
    if row["npv_cost_plays"]:
        lines.append(language.text("nb.portfolio.plays", value=show.money(row["npv_cost_plays"], language)))
    return lines


def read_frontier(found: Choice, *, language: Language) -> Sentences:
    """How much money is enough, and how the choice stands in the worst tenth of the draws."""
    if isinstance(found.portfolio, str):
        return []
    row, limit = found.portfolio.glance().iloc[0], found.portfolio.limits.total
    point = show.money(row["overspend_point"], language)
    if row["overspend_point"] == 0:
        lines = [language.text("nb.portfolio.no_money_helps")]
    elif limit < row["overspend_point"]:
        best = found.portfolio.frontier()
        more = float(best.loc[best["on_budget_frontier"], "npv_mean"].max() - row["npv_mean"])
        lines = [language.text("nb.portfolio.budget_binds", point=point, more=show.money(more, language))]
    else:
        lines = [language.text("nb.portfolio.overspend", point=point)]
    if row["number"]:
        short = float(row["expected_shortfall"])
        key = "shortfall_loss" if short > 0 else "shortfall_gain"
        lines.append(language.text(f"nb.portfolio.{key}", amount=show.money(abs(short), language)))
    return lines


def read_shares(found: Choice, *, language: Language) -> Sentences:
    """What inputs explain only together, or in part each other."""
    rows = shares(found)
    if isinstance(rows, str):
        return []
    inputs = {f"{each['input']}.{each['owner']}".removesuffix(f".{TOTAL}") for each in rows.to_dict("records")}
    tied = found.decision.case.correlations if isinstance(found.decision, BusinessCase) else ()
    if any(set(each.inputs) <= inputs for each in tied):
        return [language.text("nb.portfolio.correlated")]
    together = 1.0 - float(rows["alone"].sum())
    if together > LEAST_TOGETHER:
        return [language.text("nb.portfolio.together", share=language.percent(together, 0))]
    return []


def read_information(found: Choice, *, language: Language) -> Sentences:
    """What everything is worth to know, and that single values do not add up."""
    rows = worth_knowing(found)
    if isinstance(rows, str):
        return []
    everything = float(rows["value"].iloc[0])
    if everything > 0 and len(rows) > 2:
        return [language.text("nb.portfolio.not_summed")]
    return []


def read_pilot(found: Choice, *, language: Language) -> Sentences:
    """What a pilot must tell, how large it must be for that, and whether it is worth its cost."""
    if isinstance(found.pilot, str) or isinstance(found.decision, str):
        return []
    row, name = found.pilot.glance().iloc[0], _names(found.decision.case)[found.pilot.programme]
    lines = [
        language.text(
            "nb.portfolio.pilot_exists",
            name=initiative,
            treated=language.number(treated),
            control=language.number(control),
        )
        for initiative, treated, control in found.pilots
    ]
    if not np.isnan(row["break_even"]):
        most = int(found.pilot.tidy()["size"].iloc[-1])
        key = "pilot_power" if row["size_for_power"] <= most else "pilot_power_beyond"
        lines.append(
            language.text(
                f"nb.portfolio.{key}",
                name=name,
                gain=language.points(row["break_even"], 2),
                size=language.number(row["size_for_power"]),
                most=language.number(most),
            )
            if key == "pilot_power_beyond"
            else language.text(
                f"nb.portfolio.{key}",
                name=name,
                gain=language.points(row["break_even"], 2),
                size=language.number(row["size_for_power"]),
            )
        )
    if not row["decides"] or row["limit"] <= 0:
        return [*lines, language.text("nb.portfolio.pilot_decides_nothing", name=name)]
    lines.append(language.text("nb.portfolio.pilot_limit", limit=show.money(row["limit"], language)))
    if found.trial.cost == NOT_STATED and found.trial.cost_per_customer == NOT_STATED:
        return [*lines, language.text("nb.portfolio.pilot_unpriced")]
    return [*lines, _best_size(found.pilot, language, "pilot")]


def read_survey(found: Choice, *, language: Language) -> Sentences:
    """What more answers are worth."""
    if isinstance(found.survey, str):
        return [show.no_result(found.survey, language)]
    row = found.survey.glance().iloc[0]
    if not row["decides"] or row["limit"] <= 0:
        return [language.text("nb.portfolio.survey_decides_nothing")]
    rows = found.survey.tidy()
    half = rows.iloc[int((rows["share_known"] - 0.5).abs().to_numpy().argmin())]
    lines = [
        language.text(
            "nb.portfolio.survey",
            answers=language.number(half["size"]),
            value=show.money(half["value"], language),
            limit=show.money(row["limit"], language),
        )
    ]
    if found.trial.answer_cost == NOT_STATED:
        return [*lines, language.text("nb.portfolio.survey_unpriced")]
    return [*lines, _best_size(found.survey, language, "survey")]


def _best_size(found: SampleInformation, language: Language, kind: str) -> str:
    """The size that is best, or that none is worth its cost."""
    if not found.best_size:
        return language.text(f"nb.portfolio.{kind}_not_worth")
    return language.text(
        f"nb.portfolio.{kind}_best",
        size=language.number(found.best_size),
        value=show.money(found.best_value, language),
        cost=show.money(found.best_value - found.best_net_value, language),
    )


def read_stress(found: Choice, *, language: Language) -> Sentences:
    """Which test takes most, which turn the median into a loss, and which sizes are conventions."""
    rows = stress(found, language=language)
    if isinstance(rows, str):
        return []
    assert isinstance(found.stress, pd.DataFrame)
    tests = rows.iloc[1:]
    worst = tests.sort_values("change", kind="stable").iloc[0]
    lines = [
        language.text(
            "nb.portfolio.stress_worst", test=_lower(str(worst["test"])), change=show.money(worst["change"], language)
        )
    ]
    lost = tests[tests["median"] < 0]
    if float(rows["median"].iloc[0]) > 0:
        lines.append(
            language.text("nb.portfolio.stress_turns", names=_listed([_lower(str(name)) for name in lost["test"]]))
            if len(lost)
            else language.text("nb.portfolio.stress_stands")
        )
    if (found.stress["basis"] == "convention").any():
        lines.append(language.text("nb.portfolio.stress_conventions"))
    return lines


# --------------------------------------------------------------------------------------------------- words of figures


def on_frontier(found: Choice, *, language: Language) -> Words:
    """Words of the figure of the frontier."""
    if isinstance(found.portfolio, str):
        return Words()
    point = show.money(found.portfolio.overspend_point, language)
    title = "title_frontier" if found.portfolio.overspend_point else "title_no_money"
    values: Mapping[str, str] = {"point": point} if found.portfolio.overspend_point else {}
    return Words(language.text(f"nb.portfolio.{title}", **values), _source(found, language))


def on_shares(found: Choice, *, language: Language) -> Words:
    """Words of the figure of shares of variance: which input answers for most."""
    rows = shares(found)
    if isinstance(rows, str):
        return Words()
    most = {"input": _input_words(rows.iloc[0], language), "share": language.percent(rows["share"].iloc[0], 0)}
    return Words(language.text("nb.portfolio.most_spread", **most), _source(found, language))


def on_information(found: Choice, *, language: Language) -> Words:
    """Words of the figure of the value of information."""
    rows = worth_knowing(found)
    if isinstance(rows, str):
        return Words()
    value = show.money(float(rows["value"].iloc[0]), language)
    return Words(language.text("nb.portfolio.title_information", value=value), _source(found, language))


def on_pilot(found: Choice, *, language: Language) -> Words:
    """Words of the figure of a pilot."""
    if isinstance(found.pilot, str) or isinstance(found.decision, str):
        return Words()
    name = _names(found.decision.case)[found.pilot.programme]
    return Words(language.text("nb.portfolio.title_pilot", name=name), _source(found, language))


def _source(found: Choice, language: Language) -> str:
    if isinstance(found.decision, str):
        return ""
    draws, seed = language.number(found.decision.draws), str(found.decision.seed)
    return language.text("nb.case.source", draws=draws, seed=seed)


def _input_words(row: Mapping[Any, Any] | pd.Series[Any], language: Language) -> str:
    """An input by its name, with its programme where there are several."""
    slug = re.sub(r"\W+", "_", str(row["input"])).strip("_")
    words = _lower(language.text(f"plots.input.{slug}"))
    return f"{words} ({row['programme']})" if row["programme"] else words


def _listed(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
