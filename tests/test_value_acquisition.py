"""Acquisition cost, payback and value against cost: by hand, against known processes, bootstraps and the simulated costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from cxroi.errors import InputError
from cxroi.simulate import simulate
from cxroi.simulate.rows import ACQUISITION_CHANNELS, ACQUISITION_COST
from cxroi.tables import Tables, read_tables
from cxroi.value.acquisition import Acquisition, acquisition


def acquired(tables: Tables, **options: object) -> Acquisition:
    found = acquisition(tables, **({"by": "acquisition_channel"} | options))  # type: ignore[arg-type]
    assert isinstance(found, Acquisition), found
    return found


def levels(found: Acquisition) -> pd.DataFrame:
    return found.tidy().set_index("level")


def company(
    folder: Path, customers: pd.DataFrame, bought: pd.DataFrame, *, begins: str = "2024-01-01", ends: str = "2024-12-31"
) -> Tables:
    """A company with these customers (``customer_id, joined_on, …``) and transactions (``customer_id, occurred_at, margin``)."""
    folder.mkdir(parents=True)
    old = pd.DataFrame({"customer_id": ["old"], "joined_on": ["2020-01-01"]})
    pd.concat([customers, old]).to_csv(folder / "customers.csv", index=False)
    frame = pd.DataFrame({"customer_id": ["old", "old"], "occurred_at": [begins, ends], "margin": [0.0, 0.0]})
    rows = pd.concat([bought, frame], ignore_index=True)
    rows = rows.assign(transaction_id=[f"T{n}" for n in range(len(rows))], amount=1.0)
    rows.to_csv(folder / "transactions.csv", index=False)
    (folder / "dataset.yaml").write_text("currency: VND\ntables: {surveys: none}\n", encoding="utf-8")
    return read_tables(folder)


def joined_together(**channels: tuple[float | None, list[float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """40 customers a channel who joined on 2024-01-15, with one cost (± 1) and one margin on the 20th of every month."""
    customers, bought = [], []
    for channel, (cost, margins) in channels.items():
        for number in range(40):
            who = f"{channel}{number}"
            customers.append((who, "2024-01-15", channel, None if cost is None else cost + (-1) ** number))
            bought += [(who, f"2024-{1 + month:02d}-20", margin) for month, margin in enumerate(margins)]
    return (
        pd.DataFrame(customers, columns=["customer_id", "joined_on", "acquisition_channel", "acquisition_cost"]),
        pd.DataFrame(bought, columns=["customer_id", "occurred_at", "margin"]),
    )


def test_payback_by_hand(tmp_path: Path) -> None:
    """Margins of 30, 40, 50 a month: a cost of 100 is earned back in the third month, one of 500 not in the eleven observed."""
    customers, bought = joined_together(
        ads=(100.0, [30, 40, 50]), fair=(500.0, [30, 40, 50]), friends=(None, [30, 40, 50]), gift=(0.0, [0, 10])
    )
    tables = company(tmp_path / "a", customers, bought)
    for read in (tables, tables.collect()):
        found = acquired(read)
        table = levels(found)
        assert table["payback"].to_dict() == {
            "ads": "reached",
            "fair": "not reached",
            "friends": "no cost stated",
            "gift": "reached",
            "all": "not reached",
        }
        assert table.loc["ads", ["payback_months", "payback_conf_low", "payback_conf_high"]].tolist() == [3, 3, 3]
        assert table.loc["fair", ["payback_months", "payback_conf_low", "payback_conf_high"]].isna().all()
        assert table.loc["ads", "cac"] == 100
        error = 1 * np.sqrt(40 / 39) / np.sqrt(40)
        assert table.loc["ads", "cac_conf_high"] == pytest.approx(100 + 1.959963984540054 * error)
        assert np.isnan(table.loc["friends", "cac"])  # not stated is not 0
        assert table["share_stated"].to_dict() == {"ads": 1, "fair": 1, "friends": 0, "gift": 1, "all": 0.75}
        assert table.loc["all", "cac"] == pytest.approx(200)
        assert (table["months_followed"] == 11).all()  # 15 January to 31 December: eleven whole months
        curve = found.curve()
        own = curve[curve["level"] == "ads"]
        assert own["cumulative_margin"].tolist()[:4] == pytest.approx([30, 70, 120, 120])
        assert own["std_error"].tolist() == pytest.approx([0.0] * 11, abs=1e-5)
        checks = found.checks().set_index("name")
        assert checks.loc["acquisition cost stated", "verdict"] == "warn"
        assert "No cost at all for: friends; that is not a cost of 0" in checks.loc["acquisition cost stated", "advice"]


@pytest.mark.parametrize(
    ("joined", "bought", "month"),
    [
        ("2024-01-31", "2024-02-28", 1),
        ("2024-01-31", "2024-03-01", 2),
        ("2024-02-29", "2024-03-28", 1),
        ("2024-02-29", "2024-03-29", 2),
        ("2024-01-15", "2024-12-14", 11),
        ("2024-03-10", "2024-03-09", 1),  # before joining: counts in the first month, and is said
    ],
)
def test_months_since_joining_are_calendar_months(tmp_path: Path, joined: str, bought: str, month: int) -> None:
    who = [f"c{number}" for number in range(40)]
    customers = pd.DataFrame(
        {"customer_id": who, "joined_on": joined, "acquisition_channel": "ads", "acquisition_cost": 1.0}
    )
    margins = pd.DataFrame({"customer_id": who, "occurred_at": bought, "margin": 5.0})
    found = acquired(company(tmp_path / "a", customers, margins))
    curve = found.curve()
    own = curve[curve["level"] == "ads"].set_index("month")["margin"]
    assert own[own > 0].to_dict() == {month: pytest.approx(5.0)}
    assert found.early_purchases == (40 if bought < joined else 0)
    assert found.checks().set_index("name").loc["nobody buys before joining", "verdict"] == (
        "warn" if bought < joined else "pass"
    )


def staggered(n: int, generator: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customers joining evenly over two years, with a lognormal margin a month while they stay (0.9 a month), 100 at the mean."""
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(generator.integers(0, 700, n), unit="D")
    lived = generator.geometric(0.1, n)  # months with a margin: survival to month m is 0.9^(m − 1)
    who = np.repeat(np.arange(n), np.minimum(lived, 30))
    month = np.concatenate([np.arange(min(one, 30)) for one in lived])
    at = pd.DatetimeIndex(days).repeat(np.minimum(lived, 30)) + pd.to_timedelta(month * 30.4375 + 3, unit="D")
    margin = 100 * generator.lognormal(-0.32, 0.8, len(who))
    inside = at < pd.Timestamp("2025-01-01")
    customers = pd.DataFrame({"customer_id": np.arange(n), "joined_on": days.astype("datetime64[us]")})
    bought = pd.DataFrame({"customer_id": who, "occurred_at": at.floor("D").astype("datetime64[us]"), "margin": margin})
    cost = generator.gamma(4.0, 350 / 4, n)
    return customers.assign(acquisition_channel="ads", acquisition_cost=cost), bought[inside]


TRUE_CURVE = 100 * np.cumsum(0.9 ** np.arange(12))  # 100, 190, 271, 343.9, …: a cost of 350 is earned back in month 5


def drawn(tables: Tables, customers: pd.DataFrame, bought: pd.DataFrame) -> Tables:
    """The tables with other customers and transactions, in pandas."""
    ends = pd.DataFrame({"customer_id": [0, 0], "occurred_at": ["2023-01-01", "2024-12-31"], "margin": [0.0, 0.0]})
    ends["occurred_at"] = pd.to_datetime(ends["occurred_at"]).astype("datetime64[us]")
    rows = pd.concat([bought, ends], ignore_index=True)
    return replace(tables, customers=tables.frame(customers), transactions=tables.frame(rows))


@pytest.fixture(scope="module")
def frame_of_reference(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    customers, bought = joined_together(ads=(100.0, [30]))
    return company(tmp_path_factory.mktemp("acquisition") / "a", customers, bought).collect()


def test_curve_follows_the_truth_where_dividing_by_everybody_does_not(frame_of_reference: Tables) -> None:
    """20,000 customers who join over two years; the standard error is 0.6 % at month 12."""
    customers, bought = staggered(20_000, np.random.default_rng(4))
    curve = acquired(drawn(frame_of_reference, customers, bought)).curve()
    own = curve[curve["level"] == "all"].iloc[:12]
    distance = (own["cumulative_margin"].to_numpy() - TRUE_CURVE) / own["std_error"].to_numpy()
    assert np.abs(distance).max() < 3.5
    everybody = bought["margin"].sum() / len(customers)
    assert everybody < 0.95 * own["cumulative_margin"].iloc[11]  # what ignores that many joined lately


def test_limits_hold_the_truth(frame_of_reference: Tables) -> None:
    """40 levels of 300 customers: 95 % limits of curve, cost and payback hold the truth in 85 … 100 % (3 Monte-Carlo errors)."""
    customers, bought = staggered(12_000, np.random.default_rng(9))
    channel = [f"channel {number % 40}" for number in range(12_000)]
    found = acquired(drawn(frame_of_reference, customers.assign(acquisition_channel=channel), bought))
    curve = found.curve().pivot_table(index="level", columns="month").drop("all")
    for month in (3, 9):
        true = TRUE_CURVE[month - 1]
        own = {name: curve[name, month] for name in ("conf_low", "conf_high", "cumulative_margin", "std_error")}
        assert (own["conf_low"].lt(true) & own["conf_high"].gt(true)).mean() >= 0.85
        distance = (own["cumulative_margin"] - true) / own["std_error"]
        assert distance.std() == pytest.approx(1.0, abs=0.35)  # 3 errors of a standard deviation from 40
        assert abs(distance.mean()) < 3 / np.sqrt(40)
    table = levels(found).drop("all")
    assert (table["cac_conf_low"].lt(350) & table["cac_conf_high"].gt(350)).mean() >= 0.85
    assert (table["payback_conf_low"].le(5) & ~table["payback_conf_high"].lt(5)).mean() >= 0.85


def test_error_is_the_spread_of_customers_drawn_again(frame_of_reference: Tables) -> None:
    """The same curve from a table of customers by months, and 400 bootstraps of its rows: they know their spread to 3.5 %."""
    generator = np.random.default_rng(5)
    customers, bought = staggered(400, generator)
    found = acquired(drawn(frame_of_reference, customers, bought))
    curve = found.curve()
    own = curve[curve["level"] == "all"].set_index("month")
    joined = customers.set_index("customer_id")["joined_on"]
    lived = np.array([12 * (2025 - day.year) + 1 - day.month - (day.day > 1) for day in joined])
    at, since = bought["occurred_at"].dt, joined.loc[bought["customer_id"]].dt
    month = 12 * (at.year.to_numpy() - since.year.to_numpy()) + at.month.to_numpy() - since.month.to_numpy()
    month -= at.day.to_numpy() < since.day.to_numpy()
    margin, observed = np.zeros((400, 24)), lived[:, None] > np.arange(24)
    np.add.at(margin, (bought["customer_id"].to_numpy(), month), bought["margin"].to_numpy())
    margin *= observed

    def cumulative(times: np.ndarray) -> np.ndarray:
        return np.cumsum((times @ margin)[:, :12] / (times @ observed)[:, :12], axis=1)

    np.testing.assert_allclose(own["cumulative_margin"].iloc[:12], cumulative(np.ones((1, 400)))[0])
    times = generator.multinomial(400, np.full(400, 1 / 400), 400)
    np.testing.assert_allclose(own["std_error"].iloc[:12], cumulative(times).std(axis=0, ddof=1), rtol=0.12)


def test_costs_of_the_simulated_company(sample: Path) -> None:
    """Each channel's cost is drawn about a known mean; the estimate lies within 3.5 standard errors of it."""
    table = levels(acquired(read_tables(sample)))
    for channel, cost in zip(ACQUISITION_CHANNELS, ACQUISITION_COST, strict=True):
        row = table.loc[channel]
        error = (row["cac_conf_high"] - row["cac"]) / 1.959963984540054
        assert abs(row["cac"] - cost) < 3.5 * error
        assert error < 0.05 * cost
        assert row["payback"] == "reached"
        assert row["payback_conf_low"] <= row["payback_months"] <= row["payback_conf_high"]


def test_cost_and_customers_recounted_with_plain_pandas(sample: Path) -> None:
    customers = pd.read_csv(sample / "customers.csv", parse_dates=["joined_on"])
    begins = pd.read_parquet(sample / "transactions.parquet")["occurred_at"].min().normalize()
    own = customers[customers["joined_on"] >= begins].groupby("acquisition_channel")["acquisition_cost"]
    table = levels(acquired(read_tables(sample))).drop("all")
    assert table["customers"].to_dict() == own.size().to_dict()
    assert table["cac"].to_dict() == pytest.approx(own.mean().to_dict())


def test_value_against_cost(sample: Path) -> None:
    """Draws of value over draws of cost: the median is the ratio of the two, and the range holds both sources."""
    generator = np.random.default_rng(1)
    draws = pd.DataFrame({"store": 1e7 + 1e6 * generator.standard_normal(4000), "all": np.full(4000, 9e6)})
    tables = read_tables(sample)
    found = acquired(tables, values=draws, seed=3)
    table = levels(found)
    row = table.loc["store"]
    assert row["ltv_to_cac_median"] == pytest.approx(1e7 / row["cac"], rel=0.01)
    assert row["ltv_less_cac_median"] == pytest.approx(1e7 - row["cac"], rel=0.01)
    width = (row["ltv_to_cac_high"] - row["ltv_to_cac_low"]) / row["ltv_to_cac_median"] / (2 * 1.645)
    error = (row["cac_conf_high"] - row["cac"]) / 1.959963984540054
    assert width == pytest.approx(np.hypot(0.1, error / row["cac"]), rel=0.06)
    assert table.loc["all", "ltv_to_cac_low"] < 9e6 / table.loc["all", "cac"] < table.loc["all", "ltv_to_cac_high"]
    assert table.loc["partner", ["ltv_median", "ltv_to_cac_median"]].isna().all()  # no value given, none made up
    pd.testing.assert_frame_equal(found.tidy(), acquired(tables, values=draws, seed=3).tidy())
    without = acquired(tables).tidy()
    same = ["level", "customers", "cac", "payback", "payback_months"]
    pd.testing.assert_frame_equal(found.tidy()[same], without[same])


def test_no_ratio_to_a_cost_that_may_be_nothing(tmp_path: Path) -> None:
    customers, bought = joined_together(ads=(0.0, [30]), fair=(100.0, [30]))
    draws = dict.fromkeys(("ads", "fair"), np.full(200, 50.0))
    table = levels(acquired(company(tmp_path / "a", customers, bought), values=draws, seed=1))
    assert np.isnan(table.loc["ads", "ltv_to_cac_median"])
    assert table.loc["ads", "ltv_median"] == 50
    assert table.loc["fair", "ltv_to_cac_median"] == pytest.approx(0.5, rel=0.01)


def test_by_segment_brand_and_band(sample: Path) -> None:
    tables = read_tables(sample)
    branded = replace(tables, customers=tables.customers.with_columns(brand=nw.lit("North")))
    by_brand = levels(acquired(branded, by="brand"))
    assert by_brand.loc["North", "cac"] == by_brand.loc["all", "cac"]
    by_plan = acquired(tables, by="plan").tidy()
    assert by_plan["customers"].iloc[:-1].sum() == by_plan["customers"].iloc[-1]
    found = acquired(tables, by="nps")
    table = levels(found)
    assert list(table.index) == ["detractor", "passive", "promoter", "no answer", "all"]
    assert found.checks().set_index("name").loc["bands are comparable", "verdict"] == "warn"
    pd.testing.assert_frame_equal(found.tidy(), acquired(tables.collect(), by="nps").tidy())
    answers = pd.read_csv(sample / "surveys.csv", parse_dates=["answered_at"])
    customers = pd.read_csv(sample / "customers.csv", parse_dates=["joined_on"])
    recorded = customers[
        customers["joined_on"].between("2024-10-01", "2026-07-01")
    ]  # three months over by the end of September
    nps = answers[(answers["metric"] == "nps") & answers["score"].notna()].merge(recorded, on="customer_id")
    early = nps[nps["answered_at"] < nps["joined_on"] + pd.DateOffset(months=3)].sort_values("answered_at")
    score = early.groupby("customer_id")["score"].first()
    bands = {"detractor": (score <= 6).sum(), "passive": score.isin([7, 8]).sum(), "promoter": (score >= 9).sum()}
    assert table["customers"].to_dict() == bands | {"no answer": len(recorded) - len(score), "all": len(recorded)}


def test_a_small_level_is_hidden_with_a_second_one(tmp_path: Path) -> None:
    customers, bought = joined_together(ads=(100.0, [30]), fair=(100.0, [30]), post=(100.0, [30]))
    customers = customers[~customers["customer_id"].isin([f"post{number}" for number in range(29)])]
    found = acquired(company(tmp_path / "a", customers, bought[bought["customer_id"].isin(customers["customer_id"])]))
    table = levels(found)
    assert table["suppressed"].sum() == 2
    assert table.loc["post", "suppressed"]
    assert not table.loc["all", "suppressed"]
    assert table.loc[table["suppressed"], ["customers", "cac", "payback_months"]].isna().all(axis=None)
    assert set(found.curve()["level"]) == {"all", *table.index[~table["suppressed"]]}


def test_transactions_alone_are_enough(sample: Path) -> None:
    tables = read_tables(sample)
    alone = replace(tables, surveys=None, touches=None, referrals=None)
    pd.testing.assert_frame_equal(acquired(alone).tidy(), acquired(tables).tidy())
    without = replace(alone, customers=alone.customers.drop("acquisition_cost"))
    table = levels(acquired(without))
    assert (table["payback"] == "no cost stated").all()
    assert table["cac"].isna().all()
    assert acquired(without).checks().set_index("name").loc["acquisition cost stated", "verdict"] == "fail"
    pd.testing.assert_frame_equal(acquired(without).curve(), acquired(tables).curve())


def test_reasons_and_refusals(sample: Path) -> None:
    tables = read_tables(sample)
    assert "transactions" in str(acquisition(replace(tables, transactions=None), by="plan"))
    unbranded = replace(tables, customers=tables.customers.drop("brand", strict=False))
    assert acquisition(unbranded, by="brand") == "customers have no column brand"
    assert acquisition(replace(tables, surveys=None), by="nps") == "the data have no answers to nps"
    nobody = replace(
        tables,
        customers=tables.customers.filter(
            nw.col("joined_on") < nw.lit("2024-01-01").str.to_datetime(format="%Y-%m-%d")
        ),
    )
    assert "nobody joined since the transactions begin (2024-10-01)" in str(acquisition(nobody, by="plan"))
    with pytest.raises(InputError, match="did you mean region"):
        acquisition(tables, by="regoin")
    with pytest.raises(InputError, match="at most 40 levels"):
        acquisition(tables, by="age")
    with pytest.raises(InputError, match="need a seed"):
        acquisition(tables, by="plan", values={"all": np.ones(200)})
    with pytest.raises(InputError, match="at least 100 finite draws"):
        acquisition(tables, by="plan", values={"all": np.ones(20)}, seed=1)


def test_no_ids(sample: Path) -> None:
    found = acquired(read_tables(sample))
    assert "KH0" not in found.tidy().to_csv() + found.curve().to_csv() + found.checks().to_csv()


def test_bands_of_those_who_joined_in_a_larger_company_differ_less_than_their_limits_without_any_relation(
    tmp_path: Path,
) -> None:
    """In a world where satisfaction moves nothing, the curves of the bands agree within their errors."""
    simulate(tmp_path / "null", world="null", customers=8_000, seed=2)
    curve = acquired(read_tables(tmp_path / "null"), by="nps").curve()
    at = curve[curve["month"] == 6].set_index("level")
    gap = at.loc["promoter", "cumulative_margin"] - at.loc["detractor", "cumulative_margin"]
    assert abs(gap) < 3.5 * np.hypot(at.loc["promoter", "std_error"], at.loc["detractor", "std_error"])


def test_nobody_followed_for_a_month(tmp_path: Path) -> None:
    """All joined in the last days: the cost is known, a payback is not."""
    customers, bought = joined_together(ads=(100.0, []))
    found = acquired(company(tmp_path / "a", customers.assign(joined_on="2024-12-20"), bought))
    row = levels(found).loc["ads"]
    assert (row["cac"], row["payback"], row["months_followed"]) == (100.0, "too few customers followed", 0)
    assert found.curve().empty
