"""Earned growth: figures by hand, parts that sum to the growth of revenue, an independent recount of the sample, and coverage."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

import cxroi as cx
from cxroi.errors import InputError
from cxroi.tables import Tables, read_tables
from cxroi.value.earned_growth import EarnedGrowth, earned_growth

BASE, LATER = dt.date(2024, 3, 10), dt.date(2025, 3, 10)


def company(
    folder: Path,
    groups: list[dict[str, object]],
    *,
    referrals: bool = True,
    channel: bool = True,
    first: str = "2024-01-01",
) -> Tables:
    """A company of groups of equal customers: ``n, joined, base, later`` (amounts, None for no purchase), ``channel, referred, before``.

    One more customer buys for nothing on the first and the last day, so that the data cover 2024 and 2025.
    """
    folder.mkdir(parents=True)
    customers, bought, named = [], [], []

    def buy(who: int, day: object, amount: object) -> None:
        bought.append((f"T{len(bought)}", who, day, amount, 0))

    for group in groups:
        for _ in range(int(str(group["n"]))):
            who = len(customers)
            customers.append((who, group.get("joined", "2023-05-01"), group.get("channel")))
            for day, amount in (
                ("2023-06-01", group.get("before")),
                (BASE, group.get("base")),
                (LATER, group.get("later")),
            ):
                if amount is not None:
                    buy(who, day, amount)
            if group.get("referred") is not None:
                named.append(
                    (who if group["referred"] == "oneself" else 0, who, "2025-03-01", group["referred"] == "paid")
                )
    who = len(customers)
    customers.append((who, "2023-01-01", None))
    for day in (first, "2024-12-31", "2025-12-31"):
        buy(who, day, 1e-9)
    columns = ["customer_id", "joined_on", "acquisition_channel"]
    table = pd.DataFrame(customers, columns=columns)
    (table if channel else table.drop(columns="acquisition_channel")).to_csv(folder / "customers.csv", index=False)
    pd.DataFrame(bought, columns=["transaction_id", "customer_id", "occurred_at", "amount", "margin"]).to_csv(
        folder / "transactions.csv", index=False
    )
    if referrals and named:
        pd.DataFrame(named, columns=["referrer_id", "referred_id", "occurred_at", "incentivised"]).to_csv(
            folder / "referrals.csv", index=False
        )
    (folder / "dataset.yaml").write_text("currency: VND\ntables: {surveys: none}\n", encoding="utf-8")
    return read_tables(folder)


GROUPS: list[dict[str, object]] = [
    {"n": 20, "base": 100, "later": 150},
    {"n": 10, "base": 100, "later": 40},
    {"n": 10, "base": 100},
    {"n": 15, "joined": "2025-02-01", "later": 10, "referred": "free", "channel": "ads"},
    {"n": 30, "joined": "2025-02-01", "later": 5, "referred": "paid"},
    {"n": 30, "joined": "2025-02-01", "later": 10, "channel": "advice of friends"},
    {"n": 60, "joined": "2025-02-01", "later": 20, "channel": "ads"},
    {"n": 30, "joined": "2025-02-01", "later": 5},
    {"n": 30, "before": 7, "later": 10},
]
BY_HAND = {
    "net_revenue_retention": (20 * 150 + 10 * 40) / 4000,
    "gross_revenue_retention": (20 * 100 + 10 * 40) / 4000,
    "earned_new": (15 * 10 + 30 * 5 + 30 * 10) / 4000,
    "earned_new_incentivised": 30 * 5 / 4000,
    "bought_new": 60 * 20 / 4000,
    "unknown_new": 30 * 5 / 4000,
    "all_new": (600 + 1200 + 150) / 4000,
    "returned": 30 * 10 / 4000,
    "earned_growth_rate": 0.85 + 0.15 - 1,
    "earned_growth_rate_if_unknown_earned": 0.85 + 0.15 + 0.0375 - 1,
    "revenue_growth_rate": (3400 + 600 + 1200 + 150 + 300) / 4000 - 1,
    "unknown_share_of_new": 30 / 165,
}


def grown(tables: Tables, *channels: str) -> EarnedGrowth:
    found = earned_growth(tables, earned_channels=channels)
    assert isinstance(found, EarnedGrowth), found
    return found


def of_year(found: EarnedGrowth) -> pd.DataFrame:
    terms = found.tidy()
    return terms[terms["kind"] == "year"].set_index("term")


def test_figures_by_hand(tmp_path: Path) -> None:
    """Reichheld, Darnell & Burns (2021): net revenue retention and earned new customers less 100 %."""
    tables = company(tmp_path / "a", GROUPS)
    for read in (tables, tables.collect()):
        year = of_year(grown(read, "advice of friends"))
        assert year["estimate"].to_dict() == pytest.approx(BY_HAND, abs=1e-9)
        assert year["customers"].to_dict()["bought_new"] == 60
        assert not year["suppressed"].any()


def test_errors_by_hand(tmp_path: Path) -> None:
    """Ratio of two sums over customers: every customer's y − R·x, in full."""
    year = of_year(grown(company(tmp_path / "a", GROUPS), "advice of friends"))
    spent = np.repeat([100.0, 100, 100, 0, 0, 0, 0, 0, 0, 0], [20, 10, 10, 15, 30, 30, 60, 30, 30, 1])
    later = np.repeat([150.0, 40, 0, 10, 5, 10, 20, 5, 10, 0], [20, 10, 10, 15, 30, 30, 60, 30, 30, 1])
    counted = {
        "net_revenue_retention": later * (spent > 0),
        "gross_revenue_retention": np.minimum(later, spent),
        "bought_new": later * (later == 20),
        "revenue_growth_rate": later,
    }
    n = len(spent)
    for term, own in counted.items():
        ratio = own.sum() / 4000
        error = np.sqrt(((own - ratio * spent) ** 2).sum() * n / (n - 1)) / 4000
        assert year.loc[term, "std_error"] == pytest.approx(error, rel=1e-6)
        off = 1.0 if term.endswith("rate") else 0.0
        limits = ratio * np.exp(np.array([-1, 1]) * 1.959963984540054 * error / ratio) - off
        assert year.loc[term, ["conf_low", "conf_high"]].tolist() == pytest.approx(limits.tolist(), rel=1e-6)


def test_parts_sum_in_every_period(sample: Path) -> None:
    terms = grown(read_tables(sample), "referral").tidy()
    wide = terms.pivot_table(index="period", columns="term", values="estimate")
    assert len(wide) == 5  # the year and four quarters
    parts = wide["net_revenue_retention"] + wide["all_new"] + wide["returned"] - 1
    np.testing.assert_allclose(wide["revenue_growth_rate"], parts, atol=1e-12)
    year = wide.loc["year to 2026-09-30"]
    assert year["all_new"] == pytest.approx(year["earned_new"] + year["bought_new"] + year["unknown_new"], abs=1e-12)
    assert year["earned_growth_rate"] == pytest.approx(
        year["net_revenue_retention"] + year["earned_new"] - 1, abs=1e-12
    )
    assert (wide["gross_revenue_retention"] <= np.minimum(wide["net_revenue_retention"], 1.0)).all()


def recount(sample: Path) -> pd.DataFrame:
    """The sample's customers, from its files with plain pandas: ``base, later, new, referred``."""
    bought = pd.read_parquet(sample / "transactions.parquet")
    customers = pd.read_csv(sample / "customers.csv", parse_dates=["joined_on"])
    referred = set(pd.read_csv(sample / "referrals.csv")["referred_id"])
    later = bought["occurred_at"] >= pd.Timestamp("2025-10-01")
    sums = {"base": bought[~later], "later": bought[later]}
    table = pd.DataFrame({name: part.groupby("customer_id")["amount"].sum() for name, part in sums.items()})
    first = bought[bought["amount"] > 0].groupby("customer_id")["occurred_at"].min()
    joined = customers.set_index("customer_id").reindex(table.index)
    new = (first.reindex(table.index) >= "2025-10-01") & (joined["joined_on"] >= "2025-10-01")
    earned = table.index.isin(referred) | (joined["acquisition_channel"] == "referral")
    return table.assign(new=new, earned=earned)


def test_sample_recounted_with_plain_pandas(sample: Path) -> None:
    year = of_year(grown(read_tables(sample), "referral"))
    own = recount(sample)
    base = own["base"].sum()
    stayed, new = own["base"].notna(), own["new"] & own["base"].isna()
    by_hand = {
        "net_revenue_retention": own.loc[stayed, "later"].sum() / base,
        "gross_revenue_retention": own.loc[stayed, ["base", "later"]].fillna(0.0).min(axis=1).sum() / base,
        "earned_new": own.loc[new & own["earned"], "later"].sum() / base,
        "bought_new": own.loc[new & ~own["earned"], "later"].sum() / base,
        "returned": own.loc[~stayed & ~new, "later"].sum() / base,
        "revenue_growth_rate": own["later"].sum() / base - 1,
    }
    assert {term: year.loc[term, "estimate"] for term in by_hand} == pytest.approx(by_hand, rel=1e-9)


def test_error_is_the_spread_of_customers_drawn_again(sample: Path) -> None:
    """400 bootstraps of customers know their spread to 3.5 %; 12 % tells an error apart."""
    year = of_year(grown(read_tables(sample), "referral"))
    own = recount(sample)
    stayed = own["base"].notna()
    spent, later = own["base"].fillna(0.0).to_numpy(), own["later"].fillna(0.0).to_numpy()
    numerators = {
        "net_revenue_retention": later * stayed,
        "earned_growth_rate": later * (stayed | (own["new"] & own["earned"])),
    }
    generator = np.random.default_rng(6)
    drawn = generator.multinomial(len(own), np.full(len(own), 1 / len(own)), 400)
    for term, numerator in numerators.items():
        spread = ((drawn @ numerator.to_numpy(dtype=float)) / (drawn @ spent)).std(ddof=1)
        assert year.loc[term, "std_error"] == pytest.approx(spread, rel=0.12)


def test_limits_hold_the_truth(tmp_path: Path) -> None:
    """40 companies whose retention (0.8 × 1.1) and earned share (60 of 300) are known: 95 % limits hold them in 85 … 100 %.

    Three Monte-Carlo errors about 95 % are 10 points. Amounts are lognormal with a coefficient of variation of 0.8.
    """
    generator = np.random.default_rng(8)
    tables = company(tmp_path / "a", GROUPS).collect()
    spread = np.sqrt(np.log(1 + 0.8**2))

    def amounts(n: int) -> np.ndarray:
        return generator.lognormal(-(spread**2) / 2, spread, n)

    inside = {"net_revenue_retention": [], "earned_new": [], "earned_growth_rate": []}
    truth = {"net_revenue_retention": 0.88, "earned_new": 0.2, "earned_growth_rate": 0.08}
    for _ in range(40):
        ids = np.arange(360)
        old = ids < 300
        base, again = amounts(300), 1.1 * amounts(300) * (generator.random(300) < 0.8)
        bought = pd.DataFrame(
            {
                "customer_id": np.r_[ids[:300], ids[:300], ids[300:], 0, 0],
                "occurred_at": pd.to_datetime(
                    ["2024-03-01"] * 300 + ["2025-03-01"] * 360 + ["2024-01-01", "2025-12-31"]
                ).astype("datetime64[us]"),
                "amount": np.r_[base, base * again, amounts(60), 1e-9, 1e-9],
            }
        )
        joined = np.where(old, np.datetime64("2023-05-01"), np.datetime64("2025-01-01")).astype("datetime64[us]")
        customers = pd.DataFrame({"customer_id": ids, "joined_on": joined, "acquisition_channel": "advice"})
        drawn = replace(
            tables,
            customers=tables.frame(customers),
            transactions=tables.frame(bought.assign(margin=0.0)),
            referrals=None,
        )
        year = of_year(grown(drawn, "advice"))
        for term, held in inside.items():
            held.append(year.loc[term, "conf_low"] <= truth[term] <= year.loc[term, "conf_high"])
    assert all(0.85 <= np.mean(held) <= 1.0 for held in inside.values()), {k: np.mean(v) for k, v in inside.items()}


def test_who_is_new_and_where_from(tmp_path: Path) -> None:
    """Joining before the period, referring oneself, and a referral against the stated channel."""
    groups: list[dict[str, object]] = [
        {"n": 40, "base": 100, "later": 100},
        {"n": 31, "joined": "2024-11-01", "later": 1, "channel": "ads"},  # joined before, bought now: not new
        {"n": 32, "joined": "2025-02-01", "later": 1, "referred": "oneself"},  # nobody brought them
        {"n": 33, "joined": "2025-02-01", "later": 1, "channel": "ads", "referred": "free"},  # the referral counts
    ]
    year = of_year(grown(company(tmp_path / "a", groups)))["customers"]
    assert year[["returned", "unknown_new", "earned_new", "bought_new"]].tolist() == [31, 32, 33, 0]


def test_without_referrals_and_channels_every_new_customer_is_of_unknown_origin(tmp_path: Path) -> None:
    found = grown(company(tmp_path / "a", GROUPS, referrals=False, channel=False))
    year = of_year(found)
    assert year.loc["unknown_share_of_new", "estimate"] == 1.0
    assert year.loc["earned_new", "estimate"] == 0.0
    assert np.isnan(year.loc["earned_new", "conf_high"])  # nobody seen is no interval of width 0
    bounds = year.loc[["earned_growth_rate", "earned_growth_rate_if_unknown_earned"], "estimate"].tolist()
    assert bounds == pytest.approx([-0.15, -0.15 + 0.4875])
    assert found.checks().set_index("name").loc["origin of new customers known", "verdict"] == "fail"
    assert found.glance()["if_unknown_earned"].iloc[0] == pytest.approx(0.3375)


@pytest.mark.parametrize("small", ["earned", "returned", "unknown"])
def test_a_small_group_does_not_follow_from_what_is_shown(tmp_path: Path, small: str) -> None:
    """The small group's revenue must not be a linear combination of the shown terms."""
    sizes = {"earned": 40, "bought": 60, "unknown": 40, "returned": 40} | {small: 12}
    groups: list[dict[str, object]] = [
        {"n": 40, "base": 100, "later": 90},
        {"n": sizes["earned"], "joined": "2025-02-01", "later": 11, "channel": "advice"},
        {"n": sizes["bought"], "joined": "2025-02-01", "later": 13, "channel": "ads"},
        {"n": sizes["unknown"], "joined": "2025-02-01", "later": 17},
        {"n": sizes["returned"], "before": 7, "later": 19},
    ]
    year = of_year(grown(company(tmp_path / "a", groups), "advice"))
    counts = {
        "net_revenue_retention": [1, 0, 0, 0, 0],
        "earned_new": [0, 1, 0, 0, 0],
        "bought_new": [0, 0, 1, 0, 0],
        "unknown_new": [0, 0, 0, 1, 0],
        "all_new": [0, 1, 1, 1, 0],
        "returned": [0, 0, 0, 0, 1],
        "earned_growth_rate": [1, 1, 0, 0, 0],
        "earned_growth_rate_if_unknown_earned": [1, 1, 0, 1, 0],
        "revenue_growth_rate": [1, 1, 1, 1, 1],
    }
    shown = np.array([row for term, row in counts.items() if not year.loc[term, "suppressed"]], dtype=float)
    secret = np.eye(5)[["", "earned", "bought", "unknown", "returned"].index(small)]
    assert np.linalg.matrix_rank(np.vstack([shown, secret])) == np.linalg.matrix_rank(shown) + 1
    assert year.loc[year["suppressed"], ["estimate", "conf_low", "customers", "revenue"]].isna().all(axis=None)
    assert not year.loc[["net_revenue_retention", "gross_revenue_retention"], "suppressed"].any()
    assert not year.loc[["all_new", "unknown_share_of_new"], "suppressed"].any() or small != "returned"


def test_transactions_alone_are_enough(sample: Path) -> None:
    tables = read_tables(sample)
    alone = replace(tables, surveys=None, touches=None, referrals=None)
    with_all, without = (of_year(grown(one)) for one in (tables, alone))
    same = ["net_revenue_retention", "gross_revenue_retention", "all_new", "returned", "revenue_growth_rate"]
    pd.testing.assert_frame_equal(with_all.loc[same], without.loc[same])


def test_reasons_and_refusals(tmp_path: Path, sample: Path) -> None:
    tables = read_tables(sample)
    assert "transactions" in str(earned_growth(replace(tables, transactions=None), earned_channels=[]))
    short = company(tmp_path / "short", [{"n": 40, "later": 1}], first="2025-01-01")
    late = replace(short, transactions=short.transactions.filter(nw.col("occurred_at") >= dt.datetime(2025, 1, 1)))  # type: ignore[union-attr]
    assert "no quarter has its quarter a year before" in str(earned_growth(late, earned_channels=[]))
    few = company(tmp_path / "few", [{"n": 28, "base": 1, "later": 1}])
    assert str(earned_growth(few, earned_channels=[])).startswith("no period has 30 customers")
    with pytest.raises(InputError, match="did you mean referral"):
        earned_growth(tables, earned_channels=["referal"])
    with pytest.raises(InputError, match="must be a list"):
        earned_growth(tables, earned_channels="referral")
    with pytest.raises(InputError, match="no acquisition_channel"):
        earned_growth(company(tmp_path / "none", GROUPS, channel=False), earned_channels=["ads"])


def test_quarters_need_their_quarter_a_year_before(tmp_path: Path) -> None:
    late = GROUPS[:-1]
    assert "no period has 30" in str(
        earned_growth(company(tmp_path / "a", late, first="2024-03-01"), earned_channels=[])
    )
    on_time = grown(company(tmp_path / "b", late, first="2024-01-08"), "advice of friends").tidy()
    assert list(on_time["period"].unique()) == ["year to 2025-12-31", "2025Q1"]


def test_no_ids(sample: Path) -> None:
    found = cx.read_tables(sample)
    text = grown(found, "referral").tidy().to_csv() + grown(found, "referral").checks().to_csv()
    assert "KH0" not in text
