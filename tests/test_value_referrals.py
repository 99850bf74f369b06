"""Referrals: published limits, the panel's own rows, a simulated truth, the value of a referral and the four cells by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from cxroi.errors import InputError
from cxroi.panel import build_panel, first_referrals
from cxroi.simulate import simulate
from cxroi.tables import Tables, read_tables
from cxroi.value.referrals import (
    ReferralCells,
    ReferralRates,
    clustered_rate,
    referral_cells,
    referral_rates,
    referral_value,
)


def rated(tables: Tables, exposure: str = "nps") -> ReferralRates:
    found = referral_rates(tables, exposure)
    assert isinstance(found, ReferralRates), found
    return found


def celled(tables: Tables, **options: object) -> ReferralCells:
    found = referral_cells(tables, months=12, **options)  # type: ignore[arg-type]
    assert isinstance(found, ReferralCells), found
    return found


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """A simulated company of 20,000 in whose world a point of satisfaction raises referrals by exp(0.2)."""
    folder = tmp_path_factory.mktemp("referrals") / "clean"
    simulate(folder, world="clean", customers=20_000, seed=11, quarters=8)
    return read_tables(folder)


@pytest.fixture(scope="module")
def of_talkative(talkative: Tables) -> ReferralRates:
    return rated(talkative)


# ------------------------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("events", "low", "high"), [(0, 0.0, 3.69), (1, 0.03, 5.57), (5, 1.62, 11.67), (20, 12.22, 30.89)]
)
def test_limits_are_those_of_the_published_table(events: int, low: float, high: float) -> None:
    """Garwood (1936), 95 % limits for a Poisson count, as in Ulm (1990), American Journal of Epidemiology 131:373."""
    found = clustered_rate(np.r_[np.ones(events), np.zeros(100 - events)], np.arange(100))
    assert 100 * found["conf_low"] == pytest.approx(low, abs=0.005)
    assert 100 * found["conf_high"] == pytest.approx(high, abs=0.005)


def test_limits_hold_the_rate_where_some_refer_much_more_than_others() -> None:
    """500 companies of 400 customers with 4 rows each, rates gamma with shape 0.5: limits clustered by customer hold the rate.

    Three Monte-Carlo errors about 95 % are 2.9 points; limits that take rows for independent fall far short.
    """
    generator = np.random.default_rng(3)
    customer = np.repeat(np.arange(400), 4)
    held, naive = [], []
    for _ in range(500):
        own = 0.1 * generator.gamma(0.5, 2.0, 400)
        referrals = generator.poisson(own[customer]).astype(float)
        found = clustered_rate(referrals, customer)
        held.append(found["conf_low"] < 0.1 < found["conf_high"])
        apart = clustered_rate(referrals, np.arange(len(referrals)))
        naive.append(apart["conf_low"] < 0.1 < apart["conf_high"])
    assert 0.92 <= np.mean(held) <= 0.98
    assert np.mean(naive) < 0.93


def test_rows_are_those_of_the_panel(sample: Path) -> None:
    tables = read_tables(sample)
    panel = build_panel(tables)
    for exposure in ("nps", "csat", "ces"):
        every = rated(tables, exposure).tidy().iloc[0]
        rows = panel.answered(exposure)
        assert (every["customer_periods"], every["customers"]) == (len(rows), rows["customer"].nunique())


def test_referrals_counted_with_plain_pandas(sample: Path) -> None:
    """Every answer's next quarter, from the files."""
    answers = pd.read_csv(sample / "surveys.csv", parse_dates=["answered_at"])
    answers = answers[(answers["metric"] == "nps") & answers["score"].notna()]
    named = pd.read_csv(sample / "referrals.csv", parse_dates=["occurred_at"])
    named["key"] = list(zip(named["referrer_id"], named["occurred_at"].dt.to_period("Q") - 1, strict=True))
    counts = named["key"].value_counts()
    quarter = answers["answered_at"].dt.to_period("Q")
    used = answers[quarter < pd.Period("2026Q3")].assign(quarter=quarter)
    means = used.groupby(["customer_id", "quarter"])["score"].mean().reset_index()
    means["referrals"] = [counts.get(key, 0) for key in zip(means["customer_id"], means["quarter"], strict=True)]
    band = np.where(means["score"] <= 6.5, "detractor", np.where(means["score"] <= 8.5, "passive", "promoter"))
    table = rated(read_tables(sample)).tidy()
    shown = table[(table["by"] == "band") & (table["kind"] == "all")].set_index("level")
    assert shown["referrals"].to_dict() == means.groupby(band)["referrals"].sum().to_dict()
    assert shown["customer_periods"].to_dict() == means.groupby(band).size().to_dict()


def test_parts_sum(of_talkative: ReferralRates) -> None:
    table = of_talkative.tidy()
    shown = table[~table["suppressed"]]
    wide = shown.pivot_table(index=["by", "level"], columns="kind", values="referrals")
    np.testing.assert_array_equal(wide["all"], wide["organic"] + wide["incentivised"])
    every = table[table["kind"] == "all"]
    for column in ("customer_periods", "referrals"):
        assert every.loc[every["by"] == "band", column].sum() == every[column].iloc[0]
    for _, own in of_talkative.accounting.groupby("table"):
        assert own["rows"].iloc[:-1].sum() == own["rows"].iloc[-1]


def test_truth_of_the_simulated_company(of_talkative: ReferralRates) -> None:
    """A point of satisfaction raises the rate by exp(0.2); an answer rounds satisfaction, which takes about a tenth of the slope.

    About 30 % of the simulated referrals are for a reward, whatever the score.
    """
    table = of_talkative.tidy().set_index(["by", "level", "kind"])
    low, high = (table.loc[("band", level, "all"), "conf_low"] for level in ("detractor", "promoter"))
    assert table.loc[("band", "detractor", "all"), "conf_high"] < table.loc[("band", "promoter", "all"), "conf_low"]
    assert high > 1.2 * low
    point = of_talkative.per_point.set_index("kind").loc["all"]
    assert point["conf_low"] < np.exp(0.2) < point["conf_high"] * np.exp(0.02)
    assert point["conf_low"] > 1.05
    paid = table.loc[("all", "all", "incentivised"), "referrals"] / table.loc[("all", "all", "all"), "referrals"]
    assert paid == pytest.approx(0.3, abs=3 * np.sqrt(0.21 / table.loc[("all", "all", "all"), "referrals"]))


def test_rate_ratio_is_that_of_statsmodels(talkative: Tables, of_talkative: ReferralRates) -> None:
    """The same Poisson regression with errors clustered by customer, on rows joined by hand."""
    panel = build_panel(talkative).answered("nps")
    point = of_talkative.per_point.set_index("kind").loc["all"]
    answers = (
        talkative.surveys.filter((nw.col("metric") == "nps") & ~nw.col("score").is_null()).collect("pandas").to_native()
    )  # type: ignore[union-attr]
    named = talkative.referrals.collect("pandas").to_native()  # type: ignore[union-attr]
    rows = answers.assign(quarter=answers["answered_at"].dt.to_period("Q"))
    rows = rows.groupby(["customer_id", "quarter"])["score"].mean().reset_index()
    rows = rows[rows["quarter"] < pd.Period("2026Q3")]
    assert len(rows) == len(panel)
    counts = named.assign(quarter=named["occurred_at"].dt.to_period("Q") - 1).groupby(["referrer_id", "quarter"]).size()
    keys = pd.MultiIndex.from_frame(rows[["customer_id", "quarter"]])
    rows["referrals"] = counts.reindex(keys).fillna(0.0).to_numpy()
    design = pd.get_dummies(rows["quarter"].astype(str), drop_first=True, dtype=float).assign(score=rows["score"])
    model = sm.GLM(rows["referrals"], sm.add_constant(design), family=sm.families.Poisson())
    fitted = model.fit(cov_type="cluster", cov_kwds={"groups": rows["customer_id"].to_numpy()})
    assert np.log(point["rate_ratio"]) == pytest.approx(fitted.params["score"], rel=1e-6)
    width = np.log(point["conf_high"] / point["conf_low"]) / 2 / 1.959963984540054
    assert width == pytest.approx(fitted.bse["score"], rel=1e-3)  # small-sample factors differ


def test_pandas_gives_the_same(sample: Path) -> None:
    tables = read_tables(sample)
    pd.testing.assert_frame_equal(rated(tables, "csat").tidy(), rated(tables.collect(), "csat").tidy())


def company(folder: Path, referrals: list[tuple[str, str, str, object]], *, customers: int = 100) -> Tables:
    """Customers c0, c1, … there since 2023; c0 … c39 answer 9 and the others 3 in 2024Q1; data end with 2024."""
    folder.mkdir(parents=True)
    ids = [f"c{number}" for number in range(customers)]
    pd.DataFrame({"customer_id": ids, "joined_on": "2023-01-01"}).to_csv(folder / "customers.csv", index=False)
    pd.DataFrame(
        {
            "response_id": [f"r{number}" for number in range(customers)],
            "customer_id": ids,
            "metric": "nps",
            "score": [9] * 40 + [3] * (customers - 40),
            "answered_at": "2024-02-01",
        }
    ).to_csv(folder / "surveys.csv", index=False)
    pd.DataFrame(
        {
            "transaction_id": [f"t{number}" for number in range(customers + 2)],
            "customer_id": [*ids, ids[-1], ids[-1]],
            "occurred_at": ["2024-06-01"] * customers + ["2024-12-31", "2023-01-01"],
            "amount": [*(100.0 + np.arange(customers)), 1.0, 1.0],
            "margin": [*(10.0 + np.arange(customers)), 0.0, 0.0],
        }
    ).to_csv(folder / "transactions.csv", index=False)
    table = pd.DataFrame(referrals, columns=["referrer_id", "referred_id", "occurred_at", "incentivised"])
    (table if table["incentivised"].notna().any() else table.drop(columns="incentivised")).to_csv(
        folder / "referrals.csv", index=False
    )
    (folder / "dataset.yaml").write_text("currency: VND\n", encoding="utf-8")
    return read_tables(folder)


def test_a_customer_is_brought_once_and_by_somebody_else(tmp_path: Path) -> None:
    named = [
        ("c1", "c90", "2024-05-01", True),
        ("c2", "c90", "2024-04-01", False),  # the first one counts
        ("c4", "c91", "2024-04-01", False),
        ("c3", "c91", "2024-04-01", True),  # of two at the same moment the one with the smaller id
        ("c5", "c5", "2024-04-01", False),
    ]
    tables = company(tmp_path / "a", named)
    for read in (tables, tables.collect()):
        first = first_referrals(read).collect("pandas").to_native().sort_values("referred_id")
        assert first[["referred_id", "referrer_id", "incentivised"]].to_numpy().tolist() == [
            ["c90", "c2", 0],
            ["c91", "c3", 1],
        ]
        found = rated(read)
        assert found.accounting.set_index(["table", "reason"])["rows"].loc["referrals"].to_dict() == {
            "read": 5,
            "of oneself": -1,
            "of a customer referred again": -2,
            "not in the period after an answer of the referrer": 0,
            "kept": 2,
        }
        assert found.checks().set_index("name").loc["each customer brought once", "number"] == 3


def test_rates_by_hand(tmp_path: Path) -> None:
    named = [(f"c{n}", f"c{60 + n}", "2024-05-01", None) for n in range(6)] + [("c50", "c99", "2024-05-01", None)]
    named += [
        ("c7", "c98", "2024-09-01", None),
        ("c8", "c97", "2023-05-01", None),
    ]  # two quarters after the answer; before it
    found = rated(company(tmp_path / "a", named))
    table = found.tidy().set_index(["by", "level"])
    assert set(found.tidy()["kind"]) == {"all"}  # nothing says which were rewarded
    assert table.loc[("band", "promoter"), ["customer_periods", "referrals", "rate"]].tolist() == [40, 6, 0.15]
    assert table.loc[("score", "3"), ["customer_periods", "referrals", "rate"]].tolist() == [60, 1, 1 / 60]
    assert table.loc[("band", "passive"), "referrals"] == 0
    assert found.checks().set_index("name").loc["incentive stated", "verdict"] == "warn"


def test_a_small_level_is_hidden_with_one_that_would_tell_it(sample: Path) -> None:
    table = rated(read_tables(sample)).tidy()
    every = table[table["kind"] == "all"].set_index(["by", "level"])
    hidden = every[every["suppressed"]]
    assert len(hidden.loc["score"]) >= 2  # band detractors less the other scores would tell a single one
    assert hidden[["rate", "customers", "referrals"]].isna().all(axis=None)
    assert (every.loc[~every["suppressed"], "customers"] >= 30).all()


def test_reasons_and_refusals_of_rates(sample: Path, tmp_path: Path) -> None:
    tables = read_tables(sample)
    assert referral_rates(replace(tables, referrals=None), "nps") == "the data have no table of referrals"
    assert referral_rates(replace(tables, surveys=None), "nps") == "the data have no answers to nps"
    none = replace(tables, surveys=tables.surveys.filter(nw.col("metric") == "nps"))  # type: ignore[union-attr]
    assert referral_rates(none, "ces") == "the data have no dated answers to ces"
    late = company(tmp_path / "a", [("c1", "c2", "2024-12-01", None)])
    assert "0 customers have an answer" in str(referral_rates(late, "nps"))
    with pytest.raises(InputError, match="exposure must be one of"):
        referral_rates(tables, "trust")


# ------------------------------------------------------------------------------------------------------------------- value


def test_value_of_a_referral_is_the_sum_of_its_parts() -> None:
    """Kumar, Petersen & Leone (2007): (1 − s)·(value + saved cost) + s·saved cost, in every draw and so in the mean."""
    generator = np.random.default_rng(2)
    value, saved = 1000 + 100 * generator.standard_normal(2000), 200 + 20 * generator.standard_normal(2000)
    found = referral_value(
        None,
        value_of_referred=value,
        saved_acquisition_cost=saved,
        would_have_come=(0.2, 0.3, 0.7),
        source="survey of new customers, 2026",
        seed=5,
        currency="VND",
    )
    mean = found.tidy().set_index("term")["mean"]
    assert mean["one_referral"] == pytest.approx(mean["through_value"] + mean["through_saved_cost"], rel=1e-12)
    assert mean["would_not_have_come"] == pytest.approx(mean["would_have_come"] + value.mean(), rel=1e-12)
    assert mean["one_referral"] == pytest.approx(
        0.6 * 1000 + 200, abs=12
    )  # triangular mean 0.4; four Monte-Carlo errors
    assert found.glance()["source"].iloc[0] == "survey of new customers, 2026"
    nobody_else = [
        referral_value(
            None, value_of_referred=value, saved_acquisition_cost=saved, would_have_come=share, source="x", seed=1
        )
        for share in (0.0, 1.0)
    ]
    ends = [one.tidy().set_index("term")["median"]["one_referral"] for one in nobody_else]
    assert ends == pytest.approx([np.median(value + saved), np.median(saved)])


def test_value_by_band_is_rate_times_value(of_talkative: ReferralRates) -> None:
    generator = np.random.default_rng(2)
    found = referral_value(
        of_talkative,
        value_of_referred=1000 + 10 * generator.standard_normal(4000),
        saved_acquisition_cost=200 + generator.standard_normal(4000),
        would_have_come=0.5,
        source="x",
        seed=5,
    )
    rates = of_talkative.tidy()
    rates = rates[(rates["kind"] == "all") & (rates["by"] != "score")].set_index("level")
    levels = found.levels.set_index("level")
    assert levels["median"].to_dict() == pytest.approx((700 * rates["rate"]).to_dict(), rel=0.02)
    assert (levels["low"] < 700 * rates["rate"]).all()
    assert (levels["high"] > 700 * rates["rate"]).all()
    assert (levels["low"] > 700 * rates["conf_low"] * 0.95).all()  # 90 % of the draws lie within the 95 % limits


def test_a_share_needs_a_source() -> None:
    draws = np.full(200, 100.0)
    stated = {"value_of_referred": draws, "saved_acquisition_cost": draws, "seed": 1}
    with pytest.raises(InputError, match="must have a source"):
        referral_value(None, would_have_come=0.3, source="  ", **stated)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"would_have_come must lie in 0\.\.1"):
        referral_value(None, would_have_come=1.3, source="x", **stated)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"would_have_come must lie in 0\.\.1"):
        referral_value(None, would_have_come=(0.5, 0.3, 0.7), source="x", **stated)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="as many of each"):
        referral_value(
            None, value_of_referred=draws, saved_acquisition_cost=draws[:150], would_have_come=0.3, source="x", seed=1
        )
    with pytest.raises(TypeError):
        referral_value(None, source="x", **stated)  # type: ignore[call-arg]


# ------------------------------------------------------------------------------------------------------------------- cells


def test_cells_by_hand(tmp_path: Path) -> None:
    """200 customers with margins 10 … 209; 40 of the lower half and 35 of the upper brought somebody, 5 of them two."""
    brought = [*range(40), *range(150, 185), *range(150, 155)]
    named = [(f"c{who}", f"x{n}", "2024-05-01", None) for n, who in enumerate(brought)]
    folder = tmp_path / "a"
    with pytest.raises(InputError):  # the referred must be customers
        company(folder, named, customers=200)
    named = [
        (f"c{who}", f"c{(who + 40) % 200 if n < 75 else who - 50}", "2024-05-01", None) for n, who in enumerate(brought)
    ]
    tables = company(tmp_path / "b", named, customers=200)
    for read in (tables, tables.collect()):
        found = celled(read)
        cells = found.tidy().set_index("cell")
        assert cells["customers"].to_dict() == {"champions": 35, "affluents": 65, "advocates": 40, "misers": 60}
        assert cells["share"].sum() == pytest.approx(1.0)
        assert cells.loc["champions", "mean_referrals"] == pytest.approx(40 / 35)
        assert cells.loc["champions", "mean_value"] == pytest.approx(np.arange(160, 195).mean())
        assert cells.loc["misers", "mean_value"] == pytest.approx(np.arange(50, 110).mean())
        error = np.arange(50, 110).std(ddof=1) / np.sqrt(60)
        assert cells.loc["misers", "mean_value_conf_high"] == pytest.approx(
            np.arange(50, 110).mean() + 1.959963984540054 * error
        )
        assert (found.value_threshold, found.referral_threshold) == (109.5, 0.0)
        total = (cells["customers"] * cells["mean_value"]).sum()
        assert total == pytest.approx(np.arange(10, 210).sum())


def test_cells_with_given_values_thresholds_and_worth(tmp_path: Path) -> None:
    named = [(f"c{who}", f"c{who + 100}", "2024-05-01", None) for who in range(70)]
    tables = company(tmp_path / "a", named, customers=200)
    values = pd.DataFrame({"customer_id": [f"c{n}" for n in range(160)], "value": [5.0] * 35 + [1.0] * 125})
    worth = np.random.default_rng(1).normal(300.0, 3.0, 1000)
    found = celled(tables, customer_values=values, thresholds=(2.0, None), value_of_referral=worth, seed=4)
    cells = found.tidy().set_index("cell")
    assert cells["customers"].fillna(-1).to_dict() == {"champions": 35, "affluents": 0, "advocates": 35, "misers": 90}
    assert found.value_is == "value as given"
    assert cells.loc["advocates", "referral_value_median"] == pytest.approx(300.0, rel=0.005)
    with pytest.raises(InputError, match="one row a customer"):
        celled(tables, customer_values=pd.concat([values, values]))
    with pytest.raises(InputError, match="with a seed"):
        celled(tables, value_of_referral=worth)


def test_a_small_cell_is_hidden_with_its_neighbour(tmp_path: Path) -> None:
    """The median tells how many are in both cells of high value; so the second one is hidden too, and the lower ones stay."""
    named = [(f"c{who}", f"c{who - 100}", "2024-05-01", None) for who in range(150, 160)]
    named += [(f"c{who}", f"c{who + 100}", "2024-05-01", None) for who in range(60, 95)]
    found = celled(company(tmp_path / "a", named, customers=200))
    cells = found.tidy().set_index("cell")
    assert cells["suppressed"].to_dict() == {"champions": True, "affluents": True, "advocates": False, "misers": False}
    figures = cells.columns.difference(["own_value", "referrals", "currency", "suppressed"])
    assert cells.loc[["champions", "affluents"], figures].isna().all(axis=None)
    assert found.checks().set_index("name").loc["cells suppressed", "verdict"] == "warn"


def test_reasons_and_refusals_of_cells(sample: Path) -> None:
    tables = read_tables(sample)
    assert referral_cells(replace(tables, referrals=None), months=12) == "the data have no table of referrals"
    assert "neither" in str(referral_cells(replace(tables, transactions=None), months=12))
    assert "0 customers were there" in str(referral_cells(tables, months=100))
    with pytest.raises(InputError, match="months must be a whole number"):
        referral_cells(tables, months=True)


def test_no_ids(sample: Path) -> None:
    tables = read_tables(sample)
    text = rated(tables).tidy().to_csv() + celled(tables).tidy().to_csv() + rated(tables).accounting.to_csv()
    assert "KH0" not in text
