"""Change of spend: by hand, a second computation, errors by jackknife, who is compared, coverage, the ladder to value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxroi import periods
from cxroi.errors import InputError
from cxroi.simulate import simulate
from cxroi.tables import Tables, read_tables
from cxroi.tables.dataset import Retention
from cxroi.value.identity import ValueTerms, customer_value_identity
from cxroi.value.spend_change import PARTS, SpendChange, spend_change

REPURCHASE = "retention: {rule: repurchase, window_days: 120}"


def company(
    folder: Path, customers: pd.DataFrame, orders: pd.DataFrame, settings: str = "", surveys: pd.DataFrame | None = None
) -> Tables:
    """Tables of customers and transactions; margin is half of the amount where none is given."""
    folder.mkdir(parents=True)
    customers.to_csv(folder / "customers.csv", index=False)
    numbered = orders.assign(
        transaction_id=np.arange(len(orders)),
        occurred_at=pd.to_datetime(orders["occurred_at"]),
        margin=orders.get("margin", orders["amount"] / 2),
    )
    numbered.to_parquet(folder / "transactions.parquet", index=False)
    if surveys is None:
        settings = f"tables: {{surveys: none}}\n{settings}"
    else:
        surveys.to_csv(folder / "surveys.csv", index=False)
    (folder / "dataset.yaml").write_text(f"currency: USD\n{settings}\n", encoding="utf-8")
    return read_tables(folder)


def found(tables: Tables, **options: Any) -> SpendChange:
    result = spend_change(tables, **options)
    assert isinstance(result, SpendChange), result
    return result


def parts(result: SpendChange, measure: str = "spend", group: str = "all") -> pd.DataFrame:
    """The four parts of the newest change of a group."""
    own = result.tidy()
    own = own[(own["measure"] == measure) & (own["group"] == group)]
    return own.iloc[: len(PARTS)].set_index("part")


def orders_of(counts: dict[str, int], amount: dict[str, float], customers: int) -> pd.DataFrame:
    """So many orders of the same amount by each customer on some days."""
    rows = [
        (customer, day, amount[day])
        for day, times in counts.items()
        for customer in range(customers)
        for _ in range(times)
    ]
    frame = pd.DataFrame(rows, columns=["customer_id", "occurred_at", "amount"])
    later = pd.to_timedelta(np.arange(len(frame)) % 7, unit="h")  # several orders on a day differ in their hour
    return frame.assign(occurred_at=pd.to_datetime(frame["occurred_at"]) + later)


def framing(first: str, last: str, customer: int = 10_000) -> pd.DataFrame:
    """Two orders of somebody else that begin and end the data."""
    return pd.DataFrame({"customer_id": customer, "occurred_at": pd.to_datetime([first, last]), "amount": 1.0})


def people(number: int, joined_on: str = "2020-01-01") -> pd.DataFrame:
    """Customers 0 … number - 1, and the one who frames the data, who joined with them later."""
    return pd.DataFrame({"customer_id": [*range(number), 10_000], "joined_on": [joined_on] * number + ["2024-12-31"]})


# By hand


def test_three_visits_of_12_after_two_of_10(tmp_path: Path) -> None:
    """ΔFOV·ATV = 10, FOV·ΔATV = 4, ΔFOV·ΔATV = 2: 16 together, and half of it in margin."""
    bought = orders_of({"2024-02-05": 2, "2025-02-05": 3}, {"2024-02-05": 10.0, "2025-02-05": 12.0}, 40)
    orders = pd.concat([bought, framing("2024-01-01", "2025-03-31")])
    settings = f"accept: {{transactions: {{repeated_rows: keep}}}}\n{REPURCHASE}"
    tables = company(tmp_path / "hand", people(40), orders, settings)
    result = found(tables, span="quarter")
    spend, margin = parts(result), parts(result, "margin")
    assert spend["estimate"].to_dict() == pytest.approx(
        {"frequency": 10.0, "value": 4.0, "interaction": 2.0, "total": 16.0}, rel=1e-12
    )
    np.testing.assert_allclose(margin["estimate"], spend["estimate"] / 2, rtol=1e-12)
    np.testing.assert_allclose(spend["std_error"], 0.0, atol=1e-6)  # every customer is alike
    assert spend[["before", "after"]].iloc[0].tolist() == ["2024Q1", "2025Q1"]
    assert spend["unit"].unique().tolist() == ["USD per customer and quarter"]
    row = result.glance().iloc[0]
    assert row[["estimate", "frequency", "value", "interaction"]].tolist() == pytest.approx([16.0, 10.0, 4.0, 2.0])
    by_day = parts(found(tables, span="quarter", visit="purchase_day"))["estimate"]
    assert by_day.to_dict() == pytest.approx({"frequency": 0.0, "value": 16.0, "interaction": 0.0, "total": 16.0})


def test_refunds_lower_the_value_of_a_visit_not_their_number(tmp_path: Path) -> None:
    bought = orders_of({"2024-02-05": 1, "2025-02-05": 1}, {"2024-02-05": 10.0, "2025-02-05": 10.0}, 40)
    back = orders_of({"2025-02-06": 1}, {"2025-02-06": -4.0}, 40)
    orders = pd.concat([bought, back, framing("2024-01-01", "2025-03-31")])
    result = found(company(tmp_path / "refunds", people(40), orders, REPURCHASE), span="quarter")
    assert parts(result)["estimate"].to_dict() == pytest.approx(
        {"frequency": 0.0, "value": -4.0, "interaction": 0.0, "total": -4.0}
    )


# A second computation


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("spend") / "clean"
    simulate(folder, world="clean", customers=2_500, seed=4)
    return read_tables(folder)


def under_repurchase(tables: Tables) -> Tables:
    rule = Retention(rule="repurchase", window_days=120)
    return replace(tables, config=tables.config.model_copy(update={"retention": rule}))


def single_customers(tables: Tables, first: list[str], second: list[str]) -> pd.DataFrame:
    """Visits, spend and margin of every customer who was there before and in the first quarters, and whether in the second."""
    local = tables.collect()
    assert local.transactions is not None
    customers = local.customers.collect().to_native().set_index("customer_id")
    orders = local.transactions.collect().to_native()
    quarter = orders["occurred_at"].dt.to_period("Q").astype(str)
    table = customers[customers["joined_on"] < pd.Timestamp(periods.start(periods.index(first[0])))]
    left = table["left_on"].fillna(pd.Timestamp("2200-01-01"))
    table = table[left >= pd.Timestamp(periods.start(periods.index(first[-1]) + 1))]
    for name, quarters in (("before", first), ("after", second)):
        own = orders[quarter.isin(quarters)]
        sums = own.groupby("customer_id").agg(
            visits=("amount", lambda amount: float((amount > 0).sum())),
            spend=("amount", "sum"),
            margin=("margin", "sum"),
        )
        table = table.join(sums.add_suffix(f"_{name}"))
    filled = table.fillna(dict.fromkeys(table.columns[table.columns.str.endswith(("_before", "_after"))], 0.0))
    left = filled["left_on"].fillna(pd.Timestamp("2200-01-01"))
    kept = left >= pd.Timestamp(periods.start(periods.index(second[-1]) + 1))
    rule = tables.config.retention
    if rule is not None and rule.rule == "repurchase":
        filled, kept = filled[filled["visits_before"] > 0], kept[filled["visits_before"] > 0]
        kept = kept & (filled["visits_after"] > 0)
    return filled.assign(kept=kept)


def split(table: pd.DataFrame, measure: str) -> np.ndarray:
    """The formula on the means of a table of customers, in the order of PARTS."""
    visits, amount = ([table[f"{name}_{when}"].mean() for when in ("before", "after")] for name in ("visits", measure))
    value = [amount[k] / visits[k] for k in (0, 1)]
    more, dearer = visits[1] - visits[0], value[1] - value[0]
    return np.array([more * value[0], visits[0] * dearer, more * dearer, amount[1] - amount[0]])


YEARS = ["2024Q4", "2025Q1", "2025Q2", "2025Q3"], ["2025Q4", "2026Q1", "2026Q2", "2026Q3"]


@pytest.mark.parametrize("rule", ["contract", "repurchase"])
@pytest.mark.parametrize("measure", ["spend", "margin"])
def test_agrees_with_single_customers(simulated: Tables, rule: str, measure: str) -> None:
    """Estimates by the formula on the customers themselves, errors by the jackknife."""
    tables = simulated if rule == "contract" else under_repurchase(simulated)
    result, single = found(tables), single_customers(tables, *YEARS)
    kept = single[single["kept"]].reset_index(drop=True)
    own = parts(result, measure)
    assert own["customers"].iloc[0] == len(kept)
    np.testing.assert_allclose(own["estimate"], split(kept, measure), rtol=1e-7)
    columns = [f"{name}_{when}" for when in ("before", "after") for name in ("visits", measure)]
    left_out = (kept[columns].sum() - kept[columns]) / (len(kept) - 1)  # means without each customer
    values = left_out.to_numpy()
    visits, amount, visits_after, amount_after = values.T
    more, dearer = visits_after - visits, amount_after / visits_after - amount / visits
    replicates = np.column_stack([more * amount / visits, visits * dearer, more * dearer, amount_after - amount])
    jackknife = np.sqrt((len(kept) - 1) * replicates.var(axis=0))
    first_order = list(PARTS).index("interaction") != np.arange(len(PARTS))
    np.testing.assert_allclose(own["std_error"][first_order], jackknife[first_order], rtol=0.02)
    assert own["std_error"]["interaction"] > jackknife[~first_order][0]  # it holds the second-order term too
    retained = result.ladder().set_index("quantity").loc["retention"]
    assert retained["customers"] == len(single)
    assert retained["estimate"] == pytest.approx(single["kept"].mean(), rel=1e-12)


def test_parts_sum_exactly(simulated: Tables) -> None:
    for options in ({}, {"by": "nps", "span": "quarter"}, {"by": "plan", "span": "quarter", "lag": "span"}):
        own = found(simulated, **options).tidy()
        own = own[~own["suppressed"]]
        wide = own.pivot_table(index=["before", "after", "group", "measure"], columns="part", values="estimate")
        summed = wide[["frequency", "value", "interaction"]].sum(axis=1)
        scale = wide.abs().max(axis=1)
        assert ((summed - wide["total"]).abs() <= 1e-9 * scale).all()


@pytest.mark.parametrize("options", [{}, {"by": "csat"}, {"by": "region", "visit": "purchase_day"}])
def test_both_engines_agree(simulated: Tables, options: dict[str, Any]) -> None:
    for tables in (simulated, under_repurchase(simulated)):
        one, other = found(tables, **options), found(tables.collect(), **options)
        pd.testing.assert_frame_equal(one.tidy(), other.tidy())
        pd.testing.assert_frame_equal(one.ladder(), other.ladder())


@pytest.mark.realdata
def test_cdnow_quarter_against_the_one_before(realdata: Path, tmp_path: Path) -> None:
    """CDNOW: those who bought in the first and in the second quarter of 1998, from the purchases themselves."""
    purchases = pd.read_parquet(realdata / "cdnow" / "cdnow_master.parquet")
    orders = purchases.rename(columns={"date": "occurred_at", "dollar_value": "amount"}).drop(columns="number_of_cds")
    joined = orders.groupby("customer_id", as_index=False)["occurred_at"].min()
    customers = joined.rename(columns={"occurred_at": "joined_on"})
    settings = f"accept: {{transactions: {{repeated_rows: keep}}}}\n{REPURCHASE}"
    tables = company(tmp_path / "cdnow", customers, orders.assign(margin=orders["amount"]), settings)
    assert found(tables, span="quarter").tidy()["after"].unique().tolist() == ["1998Q2"]  # in 1997Q1 all were new
    result = found(tables, span="quarter", lag="span")
    paid = orders.assign(
        quarter=orders["occurred_at"].dt.to_period("Q").astype(str), visits=(orders["amount"] > 0).astype(int)
    )
    sums = paid.rename(columns={"amount": "spend"}).groupby(["customer_id", "quarter"])[["visits", "spend"]].sum()
    first = sums.xs("1998Q1", level=1)
    both = first.add_suffix("_before").join(sums.xs("1998Q2", level=1).add_suffix("_after"), how="inner")
    both = both[(both["visits_before"] > 0) & (both["visits_after"] > 0)]
    np.testing.assert_allclose(parts(result)["estimate"], split(both, "spend"), rtol=1e-9)
    retained = result.ladder().set_index("quantity").loc["retention"].iloc[0]
    assert retained["estimate"] == pytest.approx(len(both) / (first["visits"] > 0).sum(), rel=1e-12)
    assert result.tidy()["before"].drop_duplicates().tolist() == ["1998Q1", "1997Q4", "1997Q3", "1997Q2"]


# Who is compared


def test_bands_are_of_the_last_answer_before(tmp_path: Path) -> None:
    """An answer between or within the periods moves nobody; the later of two earlier ones counts."""
    bought = orders_of({"2024-02-05": 1, "2025-02-05": 1}, {"2024-02-05": 10.0, "2025-02-05": 20.0}, 120)
    orders = pd.concat([bought, framing("2023-12-20", "2025-03-31")])
    given = [(k, 2.0, "2023-06-01") for k in range(80)]
    given += [(k, 10.0, "2023-12-31T23:00:00") for k in range(40)]
    given += [(k, 0.0, "2024-01-01") for k in range(80, 120)]
    surveys = pd.DataFrame(given, columns=["customer_id", "score", "answered_at"])
    surveys = surveys.assign(metric="nps", response_id=np.arange(len(surveys)))
    result = found(company(tmp_path / "bands", people(120), orders, REPURCHASE, surveys), by="nps", span="quarter")
    sizes = result.tidy().drop_duplicates("group").set_index("group")["customers"]
    assert sizes.to_dict() == {"detractor": 40, "promoter": 40, "no answer": 40}
    assert result.checks().set_index("name").loc["bands", "verdict"] == "warn"
    assert "association" in result.checks().set_index("name").loc["bands", "advice"]


def test_newcomers_and_those_who_left_are_not_compared(tmp_path: Path) -> None:
    bought = orders_of({"2024-02-05": 1, "2025-02-05": 1}, {"2024-02-05": 10.0, "2025-02-05": 10.0}, 100)
    orders = pd.concat([bought, framing("2024-01-01", "2025-03-31")])
    customers = people(100).assign(left_on=None)
    customers.loc[:19, "joined_on"] = "2024-01-03"  # in the period before
    customers.loc[20:39, "left_on"] = "2025-03-01"  # in the one after
    customers.loc[40:49, "left_on"] = "2024-03-01"  # before the earlier one ended
    result = found(company(tmp_path / "there", customers, orders), span="quarter")
    assert parts(result)["customers"].iloc[0] == 50
    retention = result.ladder().set_index("quantity").loc["retention"]
    assert retention["customers"] == 70
    assert retention["estimate"] == pytest.approx(50 / 70, rel=1e-12)


def test_small_groups_are_suppressed_beyond_recovery(tmp_path: Path) -> None:
    bought = orders_of({"2024-02-05": 1, "2025-02-05": 1}, {"2024-02-05": 10.0, "2025-02-05": 20.0}, 150)
    orders = pd.concat([bought, framing("2024-01-01", "2025-03-31")])
    customers = people(150).assign(region=["a"] * 20 + ["b"] * 50 + ["c"] * 81)
    tables = company(tmp_path / "small", customers, orders, f"segments: [region]\n{REPURCHASE}")
    result = found(tables, by="region", span="quarter")
    for table in (result.tidy(), result.ladder()):
        hidden = table[table["suppressed"]]
        assert sorted(hidden["group"].unique()) == ["a", "b"]
        assert hidden[["estimate", "std_error", "conf_low", "conf_high", "customers"]].isna().all(axis=None)
    assert result.checks().set_index("name").loc["groups large enough", "number"] == 2
    of_few = orders[(orders["customer_id"] < 20) | (orders["customer_id"] == 10_000)]
    few = found(company(tmp_path / "few", people(20), of_few, REPURCHASE), span="quarter")
    assert few.tidy()["suppressed"].all()
    assert few.checks().set_index("name").loc["spend changed", "verdict"] == "warn"


# Sampling


def test_a_steady_company_shows_no_change_and_intervals_cover(tmp_path: Path) -> None:
    """160 segments of 120 customers, gamma rates, log-normal amounts 10 % higher in the second year, refused by nobody.

    Choosing customers who bought in both years must favour neither. True parts per segment from the whole company's law; bounds
    are 4 standard errors of 160 segments.
    """
    generator, groups, size = np.random.default_rng(9), 160, 120
    n = groups * size
    rate, level = generator.gamma(2.0, 1.5, n), np.exp(0.4 * generator.standard_normal(n) - 0.08)
    visits = generator.poisson(rate[:, None] * np.ones(2))
    rows = []
    for year, factor in ((0, 1.0), (1, 1.1)):
        who = np.repeat(np.arange(n), visits[:, year])
        day = pd.Timestamp("2024-01-01") + pd.DateOffset(years=year)
        amount = 50 * factor * level[who] * np.exp(0.5 * generator.standard_normal(len(who)) - 0.125)
        when = day + pd.to_timedelta(generator.integers(0, 364 * 24 * 60, len(who)), unit="min")
        rows.append(pd.DataFrame({"customer_id": who, "occurred_at": when, "amount": np.round(amount, 4) + 0.0001}))
    orders = pd.concat([*rows, framing("2024-01-01", "2025-12-31", 10**6)])
    customers = pd.DataFrame(
        {
            "customer_id": [*range(n), 10**6],
            "joined_on": "2020-01-01",
            "cell": [f"s{k // size:03d}" for k in range(n)] + ["s"],
        }
    )
    tables = company(tmp_path / "steady", customers, orders, f"segments: [cell]\n{REPURCHASE}")
    own = found(tables, by="cell").tidy()
    own = own[(own["measure"] == "spend") & ~own["suppressed"]]
    # a buyer of a year buys in both with 1 - e^-rate each: mean visits are the same in both years, amounts 10 % apart
    bought = 1 - np.exp(-rate)
    mean_visits = float((bought * rate).sum() / (bought**2).sum())
    truth = {"frequency": 0.0, "value": 0.1 * 50 * mean_visits, "interaction": 0.0, "total": 0.1 * 50 * mean_visits}
    for part, expected in truth.items():
        cells = own[own["part"] == part]
        assert len(cells) == groups - 1  # one is suppressed with the customer who frames the data
        inside = ((cells["conf_low"] <= expected) & (expected <= cells["conf_high"])).mean()
        assert 0.88 <= inside <= 1.0
        error = cells["estimate"].std() / np.sqrt(len(cells))
        assert abs(cells["estimate"].mean() - expected) < 4 * error


# The ladder to value


def test_ladder_leads_to_the_identity(simulated: Tables) -> None:
    """FOV × ATV × margin rate = margin per customer, and with retention the terms give the value of the identity."""
    steps = found(simulated).ladder()
    after = steps[steps["period"] == "after"].set_index("quantity")["estimate"]
    earned = after["frequency_of_visit"] * after["average_transaction_value"] * after["margin_rate"]
    assert earned == pytest.approx(after["margin_per_customer"], rel=1e-12)
    named = steps[(steps["period"] == "after") & (steps["identity_term"] != "")].set_index("identity_term")["estimate"]
    nothing = dict.fromkeys(
        (
            "service_cost",
            "referrals",
            "would_have_come",
            "referred_value",
            "saved_acquisition_cost",
            "acquisition_cost",
        ),
        0.0,
    )
    value = customer_value_identity(ValueTerms(**named.to_dict(), **nothing, discount_rate=0.12, periods=None))
    multiple = after["retention"] / (1.12 - after["retention"])
    assert float(value.total[0]) == pytest.approx(earned * multiple, rel=1e-12)
    assert steps["conf_low"].le(steps["estimate"]).all()
    assert steps["conf_high"].ge(steps["estimate"]).all()


# Refusals


def test_every_comparison_that_the_data_allow(simulated: Tables) -> None:
    quarters = found(simulated, span="quarter").tidy()[["before", "after"]].drop_duplicates()
    assert quarters["after"].tolist() == ["2026Q3", "2026Q2", "2026Q1", "2025Q4"]
    assert quarters["before"].tolist() == ["2025Q3", "2025Q2", "2025Q1", "2024Q4"]
    years = found(simulated).tidy()[["before", "after"]].drop_duplicates()
    assert years.to_numpy().tolist() == [["2024Q4–2025Q3", "2025Q4–2026Q3"]]
    assert spend_change(simulated, last_period="2026Q2") == "7 whole quarters are recorded; this comparison needs 8"


def test_reasons_and_refusals(simulated: Tables) -> None:
    assert "no transactions" in str(spend_change(replace(simulated, transactions=None)))
    assert spend_change(replace(simulated, surveys=None), by="nps") == "the data have no dated answers to nps"
    for options, message in [
        ({"span": "week"}, "span must be one of year, quarter, month"),
        ({"lag": "decade"}, "lag must be one of year, span"),
        ({"visit": "click"}, "visit must be one of order, purchase_day"),
        ({"by": "regions"}, "did you mean region"),
        ({"last_period": "2027Q1"}, "must be over in the data"),
    ]:
        with pytest.raises(InputError, match=message):
            spend_change(simulated, **options)
