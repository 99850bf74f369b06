"""The ten benefits: to which terms of the one identity each belongs, whether it is in the money, and what the data say of it."""

from __future__ import annotations

import pandas as pd

from cxroi.case import BusinessCase
from cxroi.case.parts import benefit_parts
from cxroi.language import Language
from cxroi.report import case_views
from cxroi.report.company import Assessment
from cxroi.report.facts import headline, value_row
from cxroi.report.model import Column, Section, Sentence, Table
from cxroi.report.show import money, money_interval
from cxroi.report.wording import change_range, change_words, reason_words
from cxroi.value.acquisition import Acquisition
from cxroi.value.identity import BENEFITS
from cxroi.value.referrals import ReferralRates
from cxroi.value.service import ALL, CostToServe

OUTSIDE = ("workplace", "better_world", "culture")
PART = {"retention": "retention", "stay_and_spend": "spend", "referrals": "referrals", "cost_to_serve": "service_cost"}
"""Part of the benefits of a case that holds a benefit, where the case values it."""
HUNDRED = 100.0


def benefits_section(a: Assessment, language: Language) -> Section:
    """All ten in their usual order, 1 to 7 as terms of the identity, 8 to 10 outside the money."""
    sentences = [language.text("documents.benefits.rule")]
    parts = benefit_parts(a.decision) if isinstance(a.decision, BusinessCase) else pd.DataFrame()
    if len(parts):
        mean = parts.set_index("part")["mean"]
        through = [
            language.text(
                "documents.benefits.through",
                amount=money(mean[name], language),
                part=language.text(f"documents.part.{name}"),
            )
            for name in mean.index.drop("total")
        ]
        total = money(mean["total"], language)
        sentences.append(language.text("documents.benefits.sum", parts="; ".join(through), total=total))
    texts = tuple(Sentence(f"benefits-{at}", words) for at, words in enumerate(sentences, start=1))
    table = benefits_table(a, language)
    return Section("benefits", language.text("documents.section.benefits"), texts, (table,))


def benefits_table(a: Assessment, language: Language) -> Table:
    """A row a benefit: its term, whether it is counted, what the data say."""
    parts = benefit_parts(a.decision) if isinstance(a.decision, BusinessCase) else pd.DataFrame()
    valued = a.decision.benefits().to_dict("records") if isinstance(a.decision, BusinessCase) else []
    counted = [case_views.benefit_status(row, language) for row in valued] or [
        language.text(f"documents.counted.{'outside' if name in OUTSIDE else 'not_valued'}") for name in BENEFITS
    ]
    sums = next((str(row["contains"]) for row in valued if row["status"] == "sum"), "1, 2")
    rows = [
        (
            language.text(
                "documents.benefits.numbered",
                number=language.number(at),
                name=language.text(f"documents.benefit.{name}"),
            ),
            language.text("documents.benefit_term.lifetime_value", numbers=case_views.numbered(sums, language))
            if name == "lifetime_value"
            else language.text(f"documents.benefit_term.{name}"),
            counted[at - 1],
            _figure(name, a, parts, language),
        )
        for at, name in enumerate(BENEFITS, start=1)
    ]
    heads = tuple(
        Column(language.text(f"documents.column.{name}")) for name in ("benefit", "term", "counted", "data_say")
    )
    return Table("table-benefits", language.text("documents.caption.benefits"), heads, tuple(rows))


def beyond_table(a: Assessment, language: Language) -> Table:
    """Benefits 8 to 10 alone."""
    whole = benefits_table(a, language)
    rows = tuple(row for row, name in zip(whole.rows, BENEFITS, strict=True) if name in OUTSIDE)
    return Table("table-beyond", language.text("documents.caption.beyond"), whole.columns, rows)


def _figure(name: str, a: Assessment, parts: pd.DataFrame, language: Language) -> str:
    if len(parts) and PART.get(name) in set(parts["part"]):
        low, median, high = parts.loc[parts["part"] == PART[name], ["low", "median", "high"]].to_numpy(dtype=float)[0]
        words = {"value": money(median, language), "interval": money_interval(low, high, language)}
        return language.text("documents.benefits.present_value", **words)
    if name in ("retention", "stay_and_spend"):
        return _per_point("retained" if name == "retention" else "orders", a, language)
    if name == "lifetime_value":
        return _point(a, language)
    if name == "referrals":
        return referral_words(a.beside.referrals, language)
    if name == "acquisition_and_price":
        return cost_words(a.beside.acquisition, language)
    if name == "cost_to_serve":
        return service_words(a.beside.service, language)
    return language.text("documents.benefits.no_figure" if name in OUTSIDE else "documents.benefits.no_own_figure")


def _per_point(outcome: str, a: Assessment, language: Language) -> str:
    found = headline(a, outcome)
    if found is None:
        return language.text("documents.benefits.no_own_figure")
    return language.text(
        "documents.benefits.per_point",
        change=change_words(outcome, float(found["estimate"]), language),
        interval=change_range(outcome, float(found["conf_low"]), float(found["conf_high"]), language),
    )


def _point(a: Assessment, language: Language) -> str:
    row = value_row(a, "value_of_one_point")
    if row is None:
        return language.text("documents.benefits.no_own_figure")
    words = {"value": money(row["estimate"], language), "interval": money_interval(row["low"], row["high"], language)}
    return language.text("documents.benefits.point", **words)


def referral_words(found: ReferralRates | str, language: Language) -> str:
    """Referrals of all customers who answered, by 100 of them and period, or why that is not known."""
    if isinstance(found, str):
        return language.text("documents.unknown", reason=reason_words(found, language))
    rows = found.tidy()
    row = rows[(rows["by"] == "all") & (rows["kind"] == "all")].iloc[0]
    ends = [language.number(HUNDRED * row[name], 2) for name in ("rate", "conf_low", "conf_high")]
    interval = language.text("format.interval", low=ends[1], high=ends[2])
    return language.text("documents.benefits.referred", rate=ends[0], interval=interval)


def cost_words(found: Acquisition | str, language: Language) -> str:
    """What a new customer costs, or why that is not known."""
    if isinstance(found, str):
        return language.text("documents.unknown", reason=reason_words(found, language))
    row = found.tidy().iloc[-1]
    if pd.isna(row["cac"]):
        return language.text("documents.benefits.no_own_figure")
    interval = money_interval(row["cac_conf_low"], row["cac_conf_high"], language)
    return language.text("documents.benefits.new_customer", value=money(row["cac"], language), interval=interval)


def service_words(found: CostToServe | str, language: Language) -> str:
    """What serving the lowest band costs more than serving the highest, or why that is not known."""
    if isinstance(found, str):
        return language.text("documents.unknown", reason=reason_words(found, language))
    rows = found.tidy()
    row = rows[(rows["kind"] == ALL) & rows["band"].str.contains(" less ", regex=False)].iloc[0]
    if pd.isna(row["estimate"]):
        return language.text("documents.benefits.no_own_figure")
    interval = money_interval(row["conf_low"], row["conf_high"], language)
    return language.text("documents.benefits.served", value=money(row["estimate"], language), interval=interval)
