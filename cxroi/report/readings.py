"""Sentences that are read in the results: computed, in the words that the grade of evidence has earned.

Each function takes results, or the reasons why there are none, and gives finished sentences in the page's language.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxroi.case import BusinessCase, Case
from cxroi.case.measures import quantiles
from cxroi.case.red_team import OURS
from cxroi.language import Language
from cxroi.linkage import Linkage
from cxroi.panel import Panel
from cxroi.report import results, show, views
from cxroi.report.show import Words
from cxroi.scores import Scores
from cxroi.tables import Tables
from cxroi.value import CustomerValue, Estimates

Sentences = list[str]
VERDICTS = (("pays", 0.95), ("probably", 0.8), ("open", 0.2), ("hardly", 0.05), ("loses", 0.0))
"""What is said of a case, by the least probability of a positive net present value that it needs."""

MOST_ANSWERED = 0.9
PERIODS_OF_A_YEAR = {"quarter": 4, "month": 12}
WORST_FIRST = ("fail", "warn", "pass")


@dataclass(frozen=True)
class Range:
    """A figure with the ends of its interval."""

    estimate: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def data_answer(tables: Tables, panel: Panel, *, language: Language) -> Sentences:
    """Whether the data are fit to use."""
    rows, checks, cover = views.tables_read(tables), views.data_checks(tables, panel), views.coverage(panel)
    worst = next(verdict for verdict in WORST_FIRST if (checks["verdict"] == verdict).any())
    counts = {
        "kept": language.number(rows["kept"].sum()),
        "read": language.number(rows["read"].sum()),
        "tables": language.number(len(rows)),
    }
    concerns = [show.said(name, language) for name in checks[checks["verdict"] != "pass"]["check"]]
    passed = {"passed": language.number((checks["verdict"] == "pass").sum()), "checks": language.number(len(checks))}
    sure = language.text("nb.data.sure", **passed)
    if concerns:
        sure = language.text("nb.data.concerns", **passed, names=", ".join(concerns))
    return [language.text(f"nb.data.{worst}", **counts), sure, _data_change(panel, cover, language)]


def _data_change(panel: Panel, cover: pd.DataFrame, language: Language) -> str:
    share = float(cover["share_answered"].mean())
    if not panel.metrics:
        return language.text("nb.data.change_no_answers")
    if panel.timing != "before":
        return language.text("nb.data.change_timing")
    if share > MOST_ANSWERED:
        return language.text("nb.data.change_quarters", quarters=language.number(len(cover)))
    return language.text("nb.data.change", share=language.percent(share, 0))


def tables_read(tables: Tables, *, language: Language) -> Sentences:
    """How many rows were read, left out and kept."""
    rows = views.tables_read(tables)
    lost = int(rows["lost"].sum())
    key = "nb.data.some_lost" if lost else "nb.data.none_lost"
    numbers = {"read": language.number(rows["read"].sum())} | ({"lost": language.number(lost)} if lost else {})
    return [language.text(key, **numbers)]


def answers_used(panel: Panel, *, language: Language) -> Sentences:
    """What became of the answers."""
    if not panel.metrics:
        return [show.no_result(results.NO_ANSWERS, language)]
    frame = panel.accounting
    answers = frame[frame["stage"] == "answers"].set_index("reason")["rows"]
    numbers = {"read": answers["read"], "kept": answers["kept"]}
    return [language.text("nb.data.answers", **{name: language.number(number) for name, number in numbers.items()})]


def rows_of_panel(panel: Panel, *, language: Language) -> Sentences:
    """How many customers and periods the answers speak for."""
    if not panel.metrics:
        return []
    rows, customers = language.number(len(panel.rows)), language.number(panel.rows["customer"].nunique())
    return [language.text("nb.data.rows", rows=rows, customers=customers)]


def coverage(panel: Panel, *, language: Language) -> Sentences:
    """In which period most and fewest customers answered."""
    if not panel.metrics:
        return [show.no_result(results.NO_ANSWERS, language)]
    cover = views.coverage(panel)
    if len(cover) == 1:
        return []
    ordered = cover.sort_values("share_answered", kind="stable")
    least, most = ordered.iloc[0], ordered.iloc[-1]
    return [
        language.text(
            "nb.data.coverage",
            most=language.percent(most["share_answered"], 0),
            most_quarter=show.period(most["period"], language),
            least=language.percent(least["share_answered"], 0),
            least_quarter=show.period(least["period"], language),
        )
    ]


def timing(panel: Panel, *, language: Language) -> Sentences:
    """Whether every score was given before its outcome."""
    return [language.text(f"nb.data.timing_{panel.timing if panel.metrics else 'none'}")]


def scores_answer(tables: Tables, panel: Panel, *, language: Language) -> Sentences:
    """What customers say now, how sure, and what would show more."""
    metric = results.main_exposure(panel)
    told = views.until_end(tables, panel)
    last = views.last_quarter(told, panel, metric or "nps")
    frame = views.scores_by_quarter(told, [metric or "nps"])
    if isinstance(frame, str):
        return _no_answer(frame, language)
    now = frame[frame["period"] == last]
    if now.empty or now["estimate"].isna().all():
        now = frame[frame["estimate"].notna()].tail(1)
    if now.empty:
        return _no_answer(results.NO_ANSWERS, language)
    row = now.iloc[0]
    return [_score_now(row, language), *score_change(results.change(told, metric, last), language=language)]  # type: ignore[arg-type]


def _score_now(row: pd.Series, language: Language) -> str:
    unit = str(row["unit"])
    words = {
        "quarter": _when(str(row["period"]), language),
        "metric": str(row["metric"]).upper(),
        "estimate": show.in_unit(row["estimate"], unit, language),
        "interval": between(row["conf_low"], row["conf_high"], unit, language),
        "n": language.number(row["n"]),
    }
    if np.isnan(row["response_rate"]):
        return language.text("nb.scores.now", **words)
    return language.text("nb.scores.now_rate", **words, rate=language.percent(row["response_rate"], 0))


def _when(period: str, language: Language) -> str:
    return language.text("nb.scores.undated") if period == "all" else language.quarter(period)


def score_change(change: Scores | str, *, language: Language) -> Sentences:
    """Whether a score moved between two quarters, and what change could have been seen."""
    if isinstance(change, str):
        return [language.text("nb.scores.no_change", reason=show.said(change, language).rstrip("."))]
    row = change.tidy().iloc[0]
    if pd.isna(row["estimate"]):
        return [language.text("nb.scores.too_few")]
    found = Range(row["estimate"], row["conf_low"], row["conf_high"])
    unit = str(row["unit"])
    moved = "up" if found.estimate > 0 else "down"
    key = f"nb.scores.{moved}_{'clear' if found.is_clear else 'unclear'}"
    words = {
        "before": language.quarter(row["before"]),
        "after": language.quarter(row["after"]),
        "size": _difference(abs(found.estimate), unit, language),
        "interval": _difference_between(found, unit, language),
    }
    smallest = _difference(row["smallest_detectable"], unit, language)
    return [language.text(key, **words), language.text("nb.scores.detect", smallest=smallest)]


def scores_title(frame: pd.DataFrame | str, *, language: Language) -> str:
    """Finding of a figure of scores by quarter."""
    if isinstance(frame, str):
        return ""
    rows = frame[frame["estimate"].notna()]
    if rows.empty:
        return ""
    first, last = rows.iloc[0], rows.iloc[-1]
    return language.text(
        "nb.scores.title",
        metric=str(last["metric"]).upper(),
        first=show.in_unit(first["estimate"], first["unit"], language),
        first_quarter=language.quarter(first["period"]),
        last=show.in_unit(last["estimate"], last["unit"], language),
        last_quarter=language.quarter(last["period"]),
    )


def groups(frame: pd.DataFrame | str, *, language: Language) -> Sentences:
    """Which group is lowest and which highest, and whether their intervals meet."""
    if isinstance(frame, str) or frame.empty:
        return []
    rows = frame[frame["estimate"].notna()].sort_values("estimate", kind="stable")
    if len(rows) < 2:
        return []
    low, high = rows.iloc[0], rows.iloc[-1]
    apart = low["conf_high"] < high["conf_low"]
    return [
        language.text(
            f"nb.scores.groups_{'apart' if apart else 'meet'}",
            low=_level(low["level"]),
            low_score=show.in_unit(low["estimate"], low["unit"], language),
            high=_level(high["level"]),
            high_score=show.in_unit(high["estimate"], high["unit"], language),
            number=language.number(len(rows)),
        )
    ]


def distribution_title(frame: pd.DataFrame | str, metric: str, *, language: Language) -> str:
    """Finding of a figure of single answers."""
    if isinstance(frame, str) or frame.empty:
        return ""
    most = frame.sort_values("n", kind="stable").iloc[-1]
    share = most["n"] / frame["n"].sum()
    score = language.number(most["score"], 0 if float(most["score"]).is_integer() else 1)
    return language.text("nb.scores.most", metric=metric.upper(), score=score, share=language.percent(share, 0))


def linkage_answer(estimates: Estimates, outcome: str, *, language: Language) -> Sentences:
    """Change of an outcome per point, how sure, and what would change it."""
    fitted = results.linkage(estimates, outcome)
    if isinstance(fitted, str):
        return _no_answer(fitted, language)
    if fitted.separated:
        columns = _columns(fitted, language)
        what, repair = (language.text(f"nb.link.separated_{part}", columns=columns) for part in ("what", "repair"))
        return [what, language.text("nb.link.separated_why"), repair]
    return [effect(fitted, language=language), sure(fitted, language=language), language.text("nb.link.change")]


def purchases_answer(estimates: Estimates, *, language: Language) -> Sentences:
    """Change of orders and of margin per point, how sure, and what would change it."""
    orders, margin = results.linkage(estimates, "orders"), results.linkage(estimates, "margin")
    if isinstance(orders, str):
        return linkage_answer(estimates, "margin", language=language)
    if isinstance(margin, str):
        return linkage_answer(estimates, "orders", language=language)
    often, worth = _range(orders), _range(margin)
    unit = str(margin.marginal_effect()["unit"].iloc[0])
    first = language.text(
        "nb.link.purchases",
        metric=orders.exposure.upper(),
        verb=language.verb(margin.evidence),
        orders=_signed(often.estimate, language.number(often.estimate, 3)),
        orders_interval=between(often.low, often.high, "orders", language),
        margin=_signed(worth.estimate, show.in_unit(worth.estimate, unit, language)),
        margin_interval=between(worth.low, worth.high, unit, language),
    )
    return [first, sure(margin, language=language), language.text("nb.link.change")]


def effect(fitted: Linkage | str, *, language: Language) -> str:
    """Average change of the outcome per point with its interval."""
    if isinstance(fitted, str):
        return show.no_result(fitted, language)
    if fitted.separated:
        return language.text("nb.link.separated_what", columns=_columns(fitted, language))
    found, unit = _range(fitted), str(fitted.marginal_effect()["unit"].iloc[0])
    more = "more" if found.estimate > 0 else "less"
    return language.text(
        f"nb.link.{fitted.outcome}_{more}",
        metric=fitted.exposure.upper(),
        verb=language.verb(fitted.evidence),
        size=language.number(abs(found.estimate), 3)
        if unit == "orders"
        else show.in_words(abs(found.estimate), unit, language),
        interval=between(found.low, found.high, unit, language),
    )


def sure(fitted: Linkage | str, *, language: Language) -> str:
    """Whether the interval leaves zero out, on how many answers it rests, and the grade of evidence."""
    if isinstance(fitted, str) or fitted.separated:
        return ""
    clear = _range(fitted).is_clear
    return language.text(
        f"nb.link.{'clear' if clear else 'unclear'}",
        n=language.number(fitted.fitted.n_obs),
        customers=language.number(fitted.n_clusters),
        grade=language.evidence(fitted.evidence),
        meaning=_meaning(fitted, language),
    )


def adjusting(estimates: Estimates, outcome: str, *, language: Language) -> Sentences:
    """What comparing like with like did to the raw contrast."""
    raw, adjusted = (results.linkage(estimates, outcome, method=method) for method in ("raw", "headline"))
    if isinstance(raw, str):
        return [show.no_result(raw, language)]
    if isinstance(adjusted, str) or adjusted.method == "raw":
        why = adjusted if isinstance(adjusted, str) else results.NOTHING_FIXED
        return [language.text("nb.link.not_adjusted", reason=show.said(why, language).rstrip("."))]
    if raw.separated or adjusted.separated:
        return [effect(adjusted if adjusted.separated else raw, language=language)]
    before, after = (_range(each) for each in (raw, adjusted))
    unit = str(raw.marginal_effect()["unit"].iloc[0])
    words = {
        "metric": raw.exposure.upper(),
        "raw": show.in_words(before.estimate, unit, language),
        "adjusted": show.in_words(after.estimate, unit, language),
    }
    if not before.is_clear and not after.is_clear:
        return [language.text("nb.link.both_open", **words)]
    if before.estimate * after.estimate < 0:
        return [language.text("nb.link.turned", **words)]
    share = abs(after.estimate - before.estimate) / abs(before.estimate)
    key = "shrank" if abs(after.estimate) < abs(before.estimate) else "grew"
    return [language.text(f"nb.link.{key}", **words, share=language.percent(share, 0))]


def curve_title(fitted: Linkage | str, *, language: Language) -> str:
    """Finding of a figure of an outcome by answer."""
    if isinstance(fitted, str):
        return ""
    if fitted.separated:
        return language.text("nb.link.title_separated", metric=fitted.exposure.upper())
    found = _range(fitted)
    way = ("rises" if found.estimate > 0 else "falls") if found.is_clear else "open"
    return language.text(f"nb.link.title_{fitted.outcome}_{way}", metric=fitted.exposure.upper())


def source(fitted: Linkage | str, *, language: Language) -> str:
    """Caption of a figure of an equation: source and n."""
    if isinstance(fitted, str):
        return ""
    n, customers = language.number(fitted.fitted.n_obs), language.number(fitted.n_clusters)
    return language.text("nb.source", n=n, customers=customers)


def source_of_answers(panel: Panel, *, language: Language) -> str:
    """Caption of a figure of all rows of the survey table."""
    if not panel.metrics:
        return ""
    read = panel.accounting.loc[panel.accounting["reason"] == "read", "rows"].iloc[0]
    return language.text("nb.source_answers", n=language.number(read))


def source_of_scores(frame: pd.DataFrame | str, *, language: Language) -> str:
    """Caption of a figure of a score: source and n."""
    if isinstance(frame, str) or frame.empty:
        return ""
    return language.text("nb.source_scores", n=language.number(frame["n"].sum()))


def retention_level(panel: Panel, *, language: Language) -> Sentences:
    """Share of all customers at risk who stay from one period to the next."""
    frame = views.base_by_quarter(panel)
    if "retained" not in frame:
        return [show.no_result("no retention rule", language)]
    mean = float(
        np.average(frame["retained"].fillna(0), weights=frame["customers"].where(frame["retained"].notna(), 0))
    )
    rate, number = language.percent(mean), PERIODS_OF_A_YEAR.get(language.outcome_period)
    if number is None:
        return [language.text("nb.link.level_alone", rate=rate)]
    year = language.percent(mean**number, 0)
    return [language.text("nb.link.level", rate=rate, number=language.number(number), year=year)]


def metric_contest(frame: pd.DataFrame | str, *, language: Language) -> Sentences:
    """For which scores the adjusted interval leaves zero out."""
    if isinstance(frame, str):
        return []
    rows = frame[frame["headline"].astype(bool)]
    if rows.empty:
        return []
    clear = rows[(rows["conf_low"] > 0) | (rows["conf_high"] < 0)]["exposure"].str.upper()
    if clear.empty:
        return [language.text("nb.link.no_metric_clear", number=language.number(len(rows)))]
    return [language.text("nb.link.metrics_clear", names=", ".join(clear), number=language.number(len(rows)))]


def bands(frame: pd.DataFrame | str, *, language: Language) -> Sentences:
    """Frequency times value, highest band against lowest, as they are."""
    if isinstance(frame, str) or len(frame) < 2:
        return []
    low, high = frame.iloc[0], frame.iloc[-1]
    if frame["revenue_per_order"].isna().any():
        return [
            language.text(
                "nb.link.bands_orders",
                high=show.said(str(high["band"]), language),
                low=_lower(show.said(str(low["band"]), language)),
                high_orders=language.number(high["orders"], 2),
                low_orders=language.number(low["orders"], 2),
            )
        ]
    return [
        language.text(
            "nb.link.bands",
            high=show.said(str(high["band"]), language),
            low=_lower(show.said(str(low["band"]), language)),
            high_orders=language.number(high["orders"], 2),
            low_orders=language.number(low["orders"], 2),
            high_value=show.money(high["revenue_per_order"], language),
            low_value=show.money(low["revenue_per_order"], language),
        )
    ]


def value_answer(value: CustomerValue | str, *, language: Language) -> Sentences:
    """What a customer is worth, what a point is worth, and what would change it."""
    if isinstance(value, str):
        return _no_answer(value, language)
    whole = _worth(value, "lifetime_value")
    first = language.text(
        "nb.value.now",
        value=show.money(whole.estimate, language),
        interval=show.money_interval(whole.low, whole.high, language),
        months=language.number(value.horizon_quarters * results.MONTHS_OF_A_QUARTER),
        rate=language.percent(value.annual_discount_rate, 0 if (value.annual_discount_rate * 100).is_integer() else 1),
        customers=language.number(value.customers),
    )
    if value.reason:
        return [first, language.text("nb.value.no_point", reason=show.said(value.reason, language).rstrip("."))]
    return [first, point(value, language=language), language.text("nb.value.change")]


def point(value: CustomerValue | str, *, language: Language) -> str:
    """Worth of one point throughout the horizon, with its range."""
    if isinstance(value, str) or value.reason:
        return show.no_result(value if isinstance(value, str) else value.reason, language)
    found = _worth(value, "value_of_one_point")
    clear = "clear" if found.is_clear else "unclear"
    return language.text(
        f"nb.value.point_{'more' if found.estimate > 0 else 'less'}_{clear}",
        metric=value.exposure.upper(),
        verb=language.verb(value.evidence),
        size=show.money(abs(found.estimate), language),
        interval=show.money_interval(found.low, found.high, language),
    )


def fading(value: CustomerValue | str, *, language: Language) -> Sentences:
    """Worth of a point that fades as repeated answers say."""
    if isinstance(value, str) or value.reason or value.persistence is None:
        why = views.persistence(value)
        return [show.no_result(why, language)] if isinstance(why, str) else []
    found = _worth(value, "value_of_one_fading_point")
    low, left, high = quantiles(value.persistence.fade_draws)  # as the page and the register say it
    return [
        language.text(
            "nb.value.fading",
            left=language.percent(left, 1),
            left_interval=language.interval(low, high, "percent", 1),
            size=show.money(found.estimate, language),
            interval=show.money_interval(found.low, found.high, language),
        )
    ]


def band_values(value: CustomerValue | str, *, language: Language) -> str:
    """Finding of a figure of value by band."""
    if isinstance(value, str):
        return ""
    frame = value.tidy().query("measure == 'lifetime_value' and band not in ['all', 'no answer'] and customers > 0")
    if len(frame) < 2:
        return language.text("nb.value.title_one", value=show.money(value.value_draws()[0], language))
    low, high = frame.iloc[0], frame.iloc[-1]
    apart = "apart" if low["high"] < high["low"] or high["high"] < low["low"] else "meet"
    return language.text(
        f"nb.value.title_{apart}",
        high=show.said(str(high["band"]), language),
        high_value=show.money(high["estimate"], language),
        low=_lower(show.said(str(low["band"]), language)),
        low_value=show.money(low["estimate"], language),
    )


def path_title(value: CustomerValue | str, *, language: Language) -> str:
    """Finding of a figure of survival and margin."""
    if isinstance(value, str):
        return ""
    last = value.path().iloc[-1]
    months = language.number(int(last["quarter"]) * results.MONTHS_OF_A_QUARTER)
    return language.text("nb.value.path", share=language.percent(last["survival"], 0), months=months)


def value_source(value: CustomerValue | str, *, language: Language) -> str:
    """Caption of a figure of value."""
    if isinstance(value, str):
        return ""
    customers, draws = language.number(value.customers), language.number(value.draws)
    return language.text("nb.value.source", customers=customers, draws=draws)


def sensitivity(frame: pd.DataFrame | str, *, language: Language) -> Sentences:
    """Between what the value of a customer lies when horizon and rate change."""
    if isinstance(frame, str):
        return []
    low, high = frame["lifetime_value"].min(), frame["lifetime_value"].max()
    return [language.text("nb.value.sensitivity", low=show.money(low, language), high=show.money(high, language))]


def case_question(case: Case | str, *, language: Language) -> Sentences:
    """What is asked: which programmes, over which horizon, at which rate."""
    if isinstance(case, str):
        return [show.no_result(case, language)]
    return [
        language.text(
            "nb.case.question",
            names=", ".join(f"“{programme.name}”" for programme in case.programmes),
            start=language.date(case.start),
            months=language.number(case.horizon_months),
            rate=language.percent(
                case.annual_discount_rate, 0 if (case.annual_discount_rate * 100).is_integer() else 1
            ),
        )
    ]


def case_answer(decision: BusinessCase | str, *, language: Language) -> Sentences:
    """Whether the programme pays, how sure, and what would change the verdict."""
    if isinstance(decision, str):
        return _no_answer(decision, language)
    routed = [programme for programme in decision.case.programmes if programme.has_route]
    if not routed:
        return [language.text("nb.case_read.no_route")]
    row = decision.glance().iloc[0]
    chance = float(row["p_npv_positive"])
    verdict = next(name for name, least in VERDICTS if chance >= least)
    language = _in_currency(language, decision)
    words = {
        "npv": show.money(row["npv_median"], language),
        "interval": show.money_interval(row["npv_low"], row["npv_high"], language),
        "months": language.number(row["horizon_months"]),
        "chance": show.chance_words(chance, language),
    }
    weakest = min((programme.evidence for programme in routed), key=results.rung)
    sure = language.text(
        "nb.case.sure", linkage=language.evidence(decision.response.evidence), gain=language.evidence(weakest)
    )
    return [language.text(f"nb.case.{verdict}", **words), sure, break_even(decision, language=language)]


def case_shortcuts(found: pd.DataFrame | str, *, language: Language) -> Sentences:
    """What the popular calculators make of the case when they take all of it together."""
    if isinstance(found, str):
        return []
    rows = found.set_index("shortcut").to_dict("index")
    together, ours = rows["together"], rows[OURS]
    money = Language(language.code, str(ours["unit"])).money
    words = {
        "npv": money(together["npv_median"], compact=True),
        "roi": language.percent(together["roi_median"], 0),
        "ours": money(ours["npv_median"], compact=True),
        "our_roi": language.percent(ours["roi_median"], 0),
    }
    return [language.text("nb.case_read.shortcuts", **words)]


def break_even(decision: BusinessCase | str, *, language: Language) -> str:
    """At which gain the case breaks even, against what is stated."""
    if isinstance(decision, str):
        return ""
    multiple = float(decision.glance()["break_even_multiple_median"].iloc[0])
    if not np.isfinite(multiple) or multiple <= 0:
        return language.text("nb.case.no_break_even")
    return language.text(
        f"nb.case.break_even_{'below' if multiple <= 1 else 'above'}", multiple=language.number(multiple, 2)
    )


def cash_title(decision: BusinessCase | str, *, language: Language) -> str:
    """Finding of a figure of cash flows."""
    if isinstance(decision, str):
        return ""
    language = _in_currency(language, decision)
    last = views.cash_flows(decision)
    assert isinstance(last, pd.DataFrame)
    end = last.iloc[-1]
    median = show.money(end["discounted_cumulative_median"], language)
    return language.text("nb.case.title_cash", months=language.number(end["month"]), median=median)


def scenarios_title(decision: BusinessCase | str, *, language: Language) -> str:
    """Finding of a figure of scenarios."""
    if isinstance(decision, str):
        return ""
    language = _in_currency(language, decision)
    frame = decision.tidy()
    whole = frame[(frame["programme"] == decision.whole.programme) & (frame["measure"] == "npv")]
    npv = dict(zip(whole["scenario"], whole["median"], strict=True))
    low, high = (show.money(npv[name], language) for name in ("conservative", "optimistic"))
    return language.text("nb.case.title_scenarios", low=low, high=high)


def tornado_title(decision: BusinessCase | str, *, language: Language) -> str:
    """Finding of a tornado: what the verdict hangs on most."""
    if isinstance(decision, str):
        return ""
    frame = decision.tornado()
    return (
        ""
        if frame.empty
        else language.text("nb.case.title_tornado", name=_lower(show.said(str(frame["input"].iloc[0]), language)))
    )


def case_source(decision: BusinessCase | str, *, language: Language) -> str:
    """Caption of a figure of a case."""
    if isinstance(decision, str):
        return ""
    return language.text("nb.case.source", draws=language.number(decision.draws), seed=str(decision.seed))


def failed_checks(frame: pd.DataFrame | str, *, language: Language) -> Sentences:
    """How many checks pass, and which do not."""
    if isinstance(frame, str):
        return []
    odd = list(dict.fromkeys(show.said(name, language) for name in frame[frame["verdict"] != "pass"]["check"]))
    words = {"passed": language.number((frame["verdict"] == "pass").sum()), "checks": language.number(len(frame))}
    if not odd:
        return [language.text("nb.data.sure", **words)]
    return [language.text("nb.data.concerns", **words, names=", ".join(odd))]


def provenance(tables: Tables, panel: Panel, *, seed: int, language: Language) -> Sentences:
    """What the page was computed from: data, last quarter, seed."""
    return [
        language.text(
            "nb.provenance",
            name=tables.name,
            end=views.last_outcome(panel, language),
            seed=str(seed),
            files=language.number(len(tables.inputs)),
        )
    ]


def on_answers(panel: Panel, *, language: Language) -> Words:
    """Words of a figure of what became of the answers."""
    if not panel.metrics:
        return Words()
    return Words(answers_used(panel, language=language)[0], source_of_answers(panel, language=language))


def on_effects(frame: pd.DataFrame | str, *, language: Language) -> Words:
    """Words of a figure of what goes with a point of each score."""
    return Words(" ".join(metric_contest(frame, language=language)))


def on_scores(frame: pd.DataFrame | str, *, language: Language) -> Words:
    """Words of a figure of a score by quarter."""
    return Words(scores_title(frame, language=language), source_of_scores(frame, language=language))


def on_distribution(frame: pd.DataFrame | str, metric: str, *, language: Language) -> Words:
    """Words of a figure of single answers."""
    return Words(distribution_title(frame, metric, language=language))


def on_curve(fitted: Linkage | str, *, language: Language) -> Words:
    """Words of a figure of an outcome by answer."""
    return Words(curve_title(fitted, language=language), source(fitted, language=language))


def on_bands(value: CustomerValue | str, *, language: Language) -> Words:
    """Words of a figure of value by band."""
    return Words(band_values(value, language=language), value_source(value, language=language))


def on_path(value: CustomerValue | str, *, language: Language) -> Words:
    """Words of a figure of survival and margin."""
    return Words(path_title(value, language=language), value_source(value, language=language))


def on_cash_flows(decision: BusinessCase | str, *, language: Language) -> Words:
    """Words of a figure of cash flows."""
    return Words(cash_title(decision, language=language), case_source(decision, language=language))


def on_scenarios(decision: BusinessCase | str, *, language: Language) -> Words:
    """Words of a figure of scenarios."""
    return Words(scenarios_title(decision, language=language), case_source(decision, language=language))


def on_tornado(decision: BusinessCase | str, *, language: Language) -> Words:
    """Words of a tornado."""
    return Words(tornado_title(decision, language=language), case_source(decision, language=language))


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _range(fitted: Linkage) -> Range:
    row = fitted.marginal_effect().iloc[0]
    return Range(float(row["estimate"]), float(row["conf_low"]), float(row["conf_high"]))


def _columns(fitted: Linkage, language: Language) -> str:
    return ", ".join(show.said(column, language) for column in fitted.separated)


def _meaning(fitted: Linkage, language: Language) -> str:
    """What the grade means; an adjusted figure that is an association only because of when the score was given says so."""
    if fitted.evidence == "association" and fitted.method != "raw" and fitted.panel.timing != "before":
        return language.text("nb.link.late")
    return language.text(f"evidence_meaning.{fitted.evidence}")


def _worth(value: CustomerValue, measure: str) -> Range:
    frame = value.tidy()
    row = frame[(frame["measure"] == measure) & (frame["band"] == "all")].iloc[0]
    return Range(float(row["estimate"]), float(row["low"]), float(row["high"]))


def _level(level: object) -> str:
    return level if isinstance(level, str) else show.EMPTY if pd.isna(level) else str(level)  # type: ignore[call-overload]


def _signed(x: float, words: str) -> str:
    return f"+{words}" if x > 0 else words


def _no_answer(why: str, language: Language) -> Sentences:
    return [language.text("nb.unanswered"), show.no_result(why, language)]


def between(low: float, high: float, unit: str, language: Language) -> str:
    """Both ends of an interval in the unit of their figure."""
    if unit == "probability":
        return language.interval(low, high, "percentage_points", 1)
    ends = {"low": show.in_unit(low, unit, language), "high": show.in_unit(high, unit, language)}
    return language.text("format.interval", **ends)


def _difference(size: float, unit: str, language: Language) -> str:
    return (
        language.percentage_points(size) if unit == "share" else language.points(size, 1 if unit == "NPS points" else 2)
    )


def _difference_between(found: Range, unit: str, language: Language) -> str:
    if unit == "share":
        return language.interval(found.low, found.high, "percentage_points", 1)
    return language.interval(found.low, found.high, "points", 1 if unit == "NPS points" else 2)


def _in_currency(language: Language, decision: BusinessCase) -> Language:
    return language if language.currency else Language(language.code, decision.case.currency)
