"""Tables and figures on customers for single leaders: touchpoints, segments, bands, channels, referrals, service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from cxroi import plots
from cxroi.errors import InputError
from cxroi.language import Language
from cxroi.plots.formats import band_name
from cxroi.report import growth
from cxroi.report.chain import picture
from cxroi.report.company import Assessment
from cxroi.report.first_screen import initiative_names
from cxroi.report.model import Column, Figure, KeyFigure, Table
from cxroi.report.show import EMPTY, money, money_interval
from cxroi.report.wording import change_range, change_words, horizon_words, quarter_words, reason_words, score_words
from cxroi.value.acquisition import ALL as EVERY_CHANNEL
from cxroi.value.acquisition import Acquisition
from cxroi.value.first_contact import FirstContacts
from cxroi.value.referrals import ReferralRates
from cxroi.value.service import ALL, CostToServe

MOST_LEVELS = 12  # rows of a table on one page; the largest groups
HUNDRED = 100.0
Cells = dict[str, Any]


def table(
    name: str, heads: str, rows: Sequence[tuple[str, ...]], language: Language, *, words: int = 1, **values: str
) -> Table:
    """A table of finished texts; ``heads`` are its columns in the catalogue, the first ``words`` of them not numbers."""
    columns = tuple(
        Column(language.text(f"documents.column.{head}"), is_number=at >= words)
        for at, head in enumerate(heads.split())
    )
    return Table(f"table-{name}", language.text(f"documents.caption.{name}", **values), columns, tuple(rows))


def with_interval(figures: Iterable[str], language: Language) -> str:
    """A figure and both ends of its interval, written already, as a cell."""
    value, low, high = figures
    return language.text("documents.cell", value=value, low=low, high=high)


def shares(row: Cells, name: str, language: Language) -> str:
    """A share with its interval, as a cell; a dash where it is not known or must not be shown."""
    if pd.isna(row[name]):
        return EMPTY
    ends = [language.percent(row[f"{name}_conf_{end}"], 0) for end in ("low", "high")]
    return with_interval([language.percent(row[name], 0), *ends], language)


# ---------------------------------------------------------------------------------------------------------- touchpoints


def touchpoint_table(a: Assessment, language: Language) -> Table | str:
    """What customers say of each touchpoint, what fails there and what serving it costs; the last quarter's contacts."""
    said, contacts, costs = a.beside.touchpoints, a.beside.contacts, a.beside.service
    scores = (
        {}
        if isinstance(said, str)
        else {(str(row["level"]), str(row["metric"])): row for row in said.to_dict("records")}
    )
    last = {} if isinstance(contacts, str) else last_contacts(contacts)
    served = {} if isinstance(costs, str) else _served(costs)
    names = sorted({*(name for name, _ in scores), *last, *served})[:MOST_LEVELS]
    if not names:
        return said if isinstance(said, str) else str(contacts)
    rows = [
        (
            name,
            *(_score(scores.get((name, metric)), metric, language) for metric in ("csat", "ces")),
            *(shares(last[name], share, language) if name in last else EMPTY for share in ("failed", "resolved")),
            _cost(served.get(name), language),
        )
        for name in names
    ]
    period = next(iter(last.values()))["period"] if last else ""
    when = quarter_words(str(period), language) if period else EMPTY
    days = language.number(contacts.within_days) if isinstance(contacts, FirstContacts) else EMPTY
    return table("touchpoints", "touchpoint csat ces failed resolved served", rows, language, quarter=when, days=days)


def last_contacts(found: FirstContacts) -> dict[str, Cells]:
    """Rows of the last quarter with contacts, by touchpoint."""
    own = found.tidy()
    own = own[own["arm"] == ""]
    if own.empty:
        return {}
    rows = own[own["period"] == own["period"].max()]
    return {str(row["touchpoint"]): {str(k): v for k, v in row.items()} for row in rows.to_dict("records")}


def _served(found: CostToServe) -> dict[str, Cells]:
    rows = found.tidy()
    rows = rows[(rows["band"] == "all") & (rows["kind"] != ALL)]
    return {str(row["kind"]): {str(k): v for k, v in row.items()} for row in rows.to_dict("records")}


def _score(row: Any, metric: str, language: Language) -> str:
    if row is None or pd.isna(row["estimate"]):
        return EMPTY
    value, low, high = (
        score_words(metric, float(row[name]), language) for name in ("estimate", "conf_low", "conf_high")
    )
    return with_interval((value, low, high), language)


def _cost(row: Cells | None, language: Language) -> str:
    if row is None or pd.isna(row["estimate"]):
        return EMPTY
    return with_interval((money(row[name], language) for name in ("estimate", "conf_low", "conf_high")), language)


def pilot_table(a: Assessment, language: Language) -> Table | str:
    """Failed and resolved contacts in both arms of each pilot, at the touchpoints of the programmes or at all."""
    found = a.beside.contacts
    if isinstance(found, str):
        return found
    rows = found.tidy()
    rows = rows[rows["arm"] != ""]
    wanted = {each.touchpoint for each in a.case.programmes} if not isinstance(a.case, str) else set()
    chosen = rows[rows["touchpoint"].isin(wanted)]
    chosen = chosen if len(chosen) else rows
    if chosen.empty:
        return a.beside.pilot if isinstance(a.beside.pilot, str) else ""
    names = initiative_names(a)
    cells = [
        (
            language.text(
                f"documents.arm.{row['arm']}",
                name=names.get(str(row["period"]), str(row["period"])),
                touchpoint=str(row["touchpoint"]),
            ),
            EMPTY if pd.isna(row["contacts"]) else language.number(row["contacts"]),
            shares({str(k): v for k, v in row.items()}, "failed", language),
            shares({str(k): v for k, v in row.items()}, "resolved", language),
        )
        for row in chosen.head(MOST_LEVELS).to_dict("records")
    ]
    return table("pilot", "arm contacts failed resolved", cells, language, days=language.number(found.within_days))


def resolved_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """First contact resolution at the programme's touchpoint in the last quarter, of all touchpoints' lowest where none is stated."""
    if isinstance(a.beside.contacts, str):
        return None
    last = {name: row for name, row in last_contacts(a.beside.contacts).items() if not pd.isna(row["resolved"])}
    if not last:
        return None
    stated = [each.touchpoint for each in a.case.programmes] if not isinstance(a.case, str) else []
    name = next(
        (str(each) for each in stated if each in last), min(last, key=lambda each: float(last[each]["resolved"]))
    )
    row = last[name]
    ends = language.interval(row["resolved_conf_low"], row["resolved_conf_high"], "percent", 0)
    words = [
        language.text("executive.interval_95", interval=ends),
        language.text("documents.n_contacts", n=language.number(row["contacts"])),
    ]
    return KeyFigure(
        "key-resolved",
        language.text("documents.key.resolved", touchpoint=name, quarter=quarter_words(str(row["period"]), language)),
        language.percent(row["resolved"], 0),
        "; ".join(words),
        language.text("documents.counted_contacts"),
    )


def service_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """Cost of serving a customer in a quarter."""
    if isinstance(a.beside.service, str):
        return None
    rows = a.beside.service.tidy()
    row = rows[(rows["kind"] == ALL) & (rows["band"] == "all")].iloc[0]
    if pd.isna(row["estimate"]):
        return None
    interval = money_interval(row["conf_low"], row["conf_high"], language)
    return KeyFigure(
        "key-service",
        language.text("documents.key.service"),
        money(row["estimate"], language),
        language.text("executive.interval_95", interval=interval),
        language.text("documents.counted_contacts"),
    )


def service_picture(a: Assessment, language: Language) -> Figure | None:
    """Cost to serve by touchpoint and band."""
    if isinstance(a.beside.service, str):
        return None
    frame = a.beside.service.tidy()
    if frame["kind"].nunique() > 5:  # so many blocks would fill a page
        frame = frame[frame["kind"] == ALL]
    n = language.number(a.beside.service.glance()["customers"].iloc[0])
    axes = plots.cost_to_serve(frame, language=language)
    return picture("service", axes, language.text("documents.caption.service", n=n, metric=a.exposure.upper()))


# ------------------------------------------------------------------------------------------------------------- segments


def segment_table(a: Assessment, language: Language) -> Table | str:
    """The score of each segment, and what a point goes with there; the largest ones, small ones empty."""
    said, effects = a.beside.by_segment, a.beside.effects
    if isinstance(said, str):
        return said
    metric = a.exposure
    outcome = ""
    rows: dict[tuple[str, str], list[str]] = {}
    ordered = said.sort_values(["segment_of", "n"], ascending=[True, False], kind="stable")
    for row in ordered.to_dict("records"):
        if pd.isna(row["level"]):
            continue
        n = EMPTY if pd.isna(row["n"]) else language.number(row["n"])
        rate = EMPTY if pd.isna(row["response_rate"]) else language.percent(row["response_rate"], 0)
        rows[str(row["segment_of"]), str(row["level"])] = [n, rate, _score(row, metric, language)]
    if not isinstance(effects, str):
        cells = effects.tidy()
        outcome = next((name for name in ("retained", "margin", "orders") if name in set(cells["outcome"])), "")
        pooled = {(str(row["segment"]), str(row["level"])): row for row in _of_outcome(cells, outcome)}
        for key, cell in rows.items():
            cell.append(_per_point(pooled.get(key), outcome, language))
    found = [
        (language.text("documents.level", column=column, level=level), *cells)
        for (column, level), cells in rows.items()
    ]
    heads = "segment answers response score" + (f" per_point_{outcome}" if outcome else "")
    return table("segments", heads, found[:MOST_LEVELS], language, metric=metric.upper())


def _of_outcome(cells: pd.DataFrame, outcome: str) -> list[Any]:
    return cells[cells["outcome"] == outcome].to_dict("records")


def _per_point(row: Any, outcome: str, language: Language) -> str:
    if row is None or pd.isna(row["pooled"]):
        return EMPTY
    value = change_words(outcome, float(row["pooled"]), language)
    ends = change_range(outcome, float(row["pooled_low"]), float(row["pooled_high"]), language)
    return language.text("documents.cell_range", value=value, interval=ends)


# ---------------------------------------------------------------------------------------------------------------- bands


def band_table(a: Assessment, language: Language) -> Table | str:
    """Customers, their value and what they buy by band of the last answer; small bands empty, never one alone."""
    if isinstance(a.value, str):
        return a.value
    tidy = a.value.tidy()
    own = tidy[tidy["measure"] == "lifetime_value"]
    if own.empty:
        return a.value.reason
    if not a.exposure:
        own = own[own["band"] == "all"]
    shown = {"all", *plots.shown_bands(tidy)}
    bought = (
        {} if isinstance(a.beside.bands, str) else {str(row["band"]): row for row in a.beside.bands.to_dict("records")}
    )
    rows = []
    for row in own[own["band"].isin(list(shown))].to_dict("records"):
        band = str(row["band"])
        name = language.text("documents.everybody") if band == "all" else band_name(band, language)
        worth = with_interval((money(float(row[end]), language) for end in ("estimate", "low", "high")), language)
        buys = bought.get(band)
        rows.append((name, language.number(row["customers"]), worth, *_bought(buys, language)))
    months = horizon_words(a, language)
    if not a.exposure:
        return table("worth", "band customers value", [row[:3] for row in rows], language, months=months)
    heads = "band customers value fov atv revenue"
    return table("bands", heads, rows, language, metric=a.exposure.upper(), months=months)


def _bought(row: Any, language: Language) -> tuple[str, str, str]:
    if row is None:
        return EMPTY, EMPTY, EMPTY
    cells = [
        language.number(row["orders"], 2),
        *(money(row[name], language) for name in ("revenue_per_order", "revenue")),
    ]
    return cells[0], cells[1], cells[2]


# ----------------------------------------------------------------------------------------------------- new customers


def channel_table(a: Assessment, language: Language) -> Table | str:
    """What a new customer costs by channel, what comes back for it, and when."""
    found = a.beside.acquisition
    if isinstance(found, str):
        return found
    frame = growth.cost_table(found, language=language)
    if isinstance(frame, str):
        return frame
    rows = []
    for row in frame.to_dict("records"):
        cost = EMPTY
        if not pd.isna(row["cac"]):
            cost = with_interval(
                (money(float(row[name]), language) for name in ("cac", "conf_low", "conf_high")), language
            )
        n = EMPTY if pd.isna(row["customers"]) else language.number(row["customers"])
        rows.append((str(row["level"]), n, cost, str(row["ltv_and_range"]), str(row["payback"])))
    kept = [*rows[:-1][:MOST_LEVELS], rows[-1]]
    months = horizon_words(a, language) or EMPTY
    return table(
        "channels",
        "channel new_customers cac ltv_to_cac payback",
        kept,
        language,
        months=months,
        since=language.date(found.since),
    )


def cost_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """Cost of a new customer."""
    found = a.beside.acquisition
    if isinstance(found, str):
        return None
    row = found.tidy().iloc[-1]
    if pd.isna(row["cac"]):
        return None
    interval = money_interval(row["cac_conf_low"], row["cac_conf_high"], language)
    words = [language.text("executive.interval_95", interval=interval)]
    words.append(language.text("documents.n_new", n=language.number(row["customers"])))
    label, value = language.text("documents.key.cac"), money(row["cac"], language)
    return KeyFigure("key-cac", label, value, "; ".join(words), language.text("documents.counted_customers"))


def dearest_and_cheapest(a: Assessment) -> tuple[Cells, Cells] | None:
    """Channels whose costs are told apart by their intervals: the dearest and the cheapest; None where none are."""
    if isinstance(a.beside.acquisition, str):
        return None
    rows = a.beside.acquisition.tidy()
    rows = rows[(rows["level"] != EVERY_CHANNEL) & rows["cac"].notna()].sort_values("cac", kind="stable")
    if len(rows) < 2:
        return None
    cheap, dear = ({str(k): v for k, v in rows.iloc[at].items()} for at in (0, -1))
    return (dear, cheap) if cheap["cac_conf_high"] < dear["cac_conf_low"] else None


def acquisition_picture(a: Assessment, language: Language) -> Figure | None:
    """Cost, value and payback by channel."""
    found: Acquisition | str = a.beside.acquisition
    frame = growth.levels(found)
    if isinstance(frame, str) or isinstance(found, str):
        return None
    try:
        axes = plots.acquisition(frame, language=language)
    except InputError:  # every level too small to be drawn
        return None
    return picture("acquisition", axes, growth.on_costs(found, language=language).caption)


def referral_table(a: Assessment, language: Language) -> Table | str:
    """Referrals by band, organic and for a reward apart."""
    found = a.beside.referrals
    if isinstance(found, str):
        return found
    frame = found.tidy()
    frame = frame[frame["by"] != "score"]
    rows = []
    for level in dict.fromkeys(frame["level"]):
        own = {str(row["kind"]): row for row in frame[frame["level"] == level].to_dict("records")}
        name = language.text("documents.everybody") if level == "all" else band_name(str(level), language)
        n = own["all"]["customers"]
        cells = [_rate(own.get(kind), language) for kind in ("all", "organic", "incentivised")]
        rows.append((name, EMPTY if pd.isna(n) else language.number(n), *cells))
    return table("referrals", "band customers referred organic incentivised", rows, language, metric=a.exposure.upper())


def _rate(row: Any, language: Language) -> str:
    if row is None or pd.isna(row["rate"]):
        return EMPTY
    return with_interval(
        (language.number(HUNDRED * row[name], 2) for name in ("rate", "conf_low", "conf_high")), language
    )


def referral_figure(a: Assessment, language: Language) -> KeyFigure | None:
    """Referrals of a hundred customers in a quarter."""
    found: ReferralRates | str = a.beside.referrals
    if isinstance(found, str):
        return None
    frame = found.tidy()
    row = frame[(frame["by"] == "all") & (frame["kind"] == "all")].iloc[0]
    if pd.isna(row["rate"]):
        return None
    ends = language.interval(HUNDRED * row["conf_low"], HUNDRED * row["conf_high"], "number", 2)
    words = [language.text("executive.interval_95", interval=ends)]
    words.append(language.text("documents.n_referrals", n=language.number(row["referrals"])))
    label = language.text("documents.key.referrals", period=language.text("documents.each_quarter"))
    value = language.number(HUNDRED * row["rate"], 2)
    return KeyFigure("key-referrals", label, value, "; ".join(words), language.text("documents.counted_customers"))


def reason_sentence(found: object, language: Language) -> str:
    """Why a part is missing, in one sentence; empty where it is there."""
    return (
        language.text("documents.missing", reason=reason_words(found, language))
        if isinstance(found, str) and found
        else ""
    )
