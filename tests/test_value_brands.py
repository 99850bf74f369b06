"""Brands: figures by hand, customers counted once, parts that sum, and small cells that cannot be found by subtraction."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxroi.errors import InputError
from cxroi.tables import Tables, read_tables
from cxroi.value.brands import GROUP, NOT_STATED, BrandValues, brand_values, hidden_sums

Purchases = list[tuple[str, str | None, float]]


def company(folder: Path, purchases: Purchases, *, of_customer: dict[str, str] | None = None) -> Tables:
    """A company with one transaction for each of ``(customer, brand, margin)``, and one long before the period."""
    folder.mkdir(parents=True)
    ids = list(dict.fromkeys(who for who, _, _ in purchases))
    customers = pd.DataFrame({"customer_id": ids, "joined_on": "2020-01-01"})
    if of_customer is not None:
        customers["brand"] = [of_customer.get(who, "") for who in ids]
    customers["account_id"] = [who.split("@")[1] if "@" in who else None for who in ids]
    customers.to_csv(folder / "customers.csv", index=False)
    rows = [("T-1", ids[0], "2020-06-01", 10.0, 1000.0, "North")]
    rows += [(f"T{n}", who, "2025-06-01", 10.0, margin, brand) for n, (who, brand, margin) in enumerate(purchases)]
    table = pd.DataFrame(rows, columns=["transaction_id", "customer_id", "occurred_at", "amount", "margin", "brand"])
    if all(brand is None for _, brand, _ in purchases):
        table = table.drop(columns="brand")
    table.to_csv(folder / "transactions.csv", index=False)
    (folder / "dataset.yaml").write_text("currency: VND\ntables: {surveys: none}\n", encoding="utf-8")
    return read_tables(folder)


def shop(sizes: dict[str, int], margin: float = 2.0) -> Purchases:
    """Purchases of ``sizes["NS"]`` customers who buy at North and South, and so on; margin n at the n-th brand of their name."""
    names = {"N": "North", "S": "South", "W": "West", "E": "East"}
    return [
        (f"{pattern}{number}", names[letter], margin + position + number / 100)
        for pattern, size in sizes.items()
        for number in range(size)
        for position, letter in enumerate(pattern)
    ]


def valued(tables: Tables, **options: object) -> BrandValues:
    found = brand_values(tables, months=12, **options)  # type: ignore[arg-type]
    assert isinstance(found, BrandValues), found
    return found


def parts(found: BrandValues) -> pd.DataFrame:
    return found.tidy().set_index(["brand", "part"])


SIZES = {"N": 50, "S": 40, "NS": 35}


@pytest.fixture
def two(tmp_path: Path) -> Tables:
    return company(tmp_path / "two", shop(SIZES))


def test_figures_by_hand(two: Tables) -> None:
    """Two brands, 35 customers at both: 125 customers in the group, not 160."""
    purchases = pd.DataFrame(shop(SIZES), columns=["who", "brand", "margin"])
    both = purchases["who"].str.startswith("NS")
    by_hand = {
        ("North", "only here"): purchases[~both & (purchases["brand"] == "North")],
        ("North", "shared"): purchases[both & (purchases["brand"] == "North")],
        ("South", "all"): purchases[purchases["brand"] == "South"],
        (GROUP, "shared"): purchases[both],
        (GROUP, "all"): purchases,
    }
    for read in (two, two.collect()):
        table = parts(valued(read))
        for key, own in by_hand.items():
            per_customer = own.groupby("who")["margin"].sum()
            row = table.loc[key]
            assert row["customers"] == len(per_customer)
            assert row["margin"] == pytest.approx(own["margin"].sum())
            assert row["margin_per_customer"] == pytest.approx(per_customer.mean())
            error = (row["margin_per_customer_conf_high"] - row["margin_per_customer"]) / 1.959963984540054
            assert error == pytest.approx(per_customer.std() / np.sqrt(len(per_customer)))
        assert table.loc[(GROUP, "all"), "customers"] == 125
        assert valued(read).glance()["customers_summed_over_brands"].iloc[0] == 160
        assert not table["suppressed"].any()


def test_brands_sum_to_the_group_and_parts_to_the_brand(tmp_path: Path) -> None:
    tables = company(tmp_path / "a", shop({"N": 50, "S": 60, "W": 70, "NS": 40, "SW": 45, "NW": 35, "NSW": 55}))
    found = valued(tables)
    assert not found.tidy()["suppressed"].any()
    margin = found.tidy().pivot_table(index="brand", columns="part", values="margin")
    customers = found.tidy().pivot_table(index="brand", columns="part", values="customers")
    for table in (margin, customers):
        np.testing.assert_allclose(table["all"], table["only here"] + table["shared"], rtol=1e-12)
    brands = margin.index != GROUP
    np.testing.assert_allclose(margin[brands].sum(), margin.loc[GROUP], rtol=1e-12)
    assert customers.loc[GROUP].to_dict() == {"all": 355, "only here": 180, "shared": 175}  # the shared ones once
    matrix = found.matrix("customers")
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), customers["all"][brands])
    assert matrix.loc["North", "South"] == 95
    assert found.matrix("share_of_margin").loc["North", "North"] == 1.0
    shares = found.matrix("margin").loc["North", "South"] / found.matrix("margin").loc["North", "North"]
    assert found.matrix("share_of_margin").loc["North", "South"] == pytest.approx(shares)


def test_forward_value_sums_in_every_draw_and_its_shared_part_follows_margin(two: Tables) -> None:
    generator = np.random.default_rng(3)
    draws = pd.DataFrame(
        {"North": 100 + generator.standard_normal(400), "South": 50 + 5 * generator.standard_normal(400)}
    )
    table = parts(valued(two, forward=draws))
    group = 85 * draws["North"] + 75 * draws["South"]
    wanted = np.quantile(group, [0.05, 0.5, 0.95])
    columns = ["value_low", "value_median", "value_high"]
    np.testing.assert_allclose(table.loc[(GROUP, "all"), columns].astype(float), wanted, rtol=1e-12)
    own = table.loc["North"]
    share = own.loc["shared", "margin"] / own.loc["all", "margin"]
    assert own.loc["shared", "value_median"] == pytest.approx(share * own.loc["all", "value_median"])
    np.testing.assert_allclose(
        own.loc["shared", columns].astype(float) + own.loc["only here", columns].astype(float),
        own.loc["all", columns].astype(float),
    )
    with pytest.raises(InputError, match="it has none of South"):
        valued(two, forward={"North": draws["North"]})
    with pytest.raises(InputError, match="as many for each"):
        valued(two, forward={"North": draws["North"], "South": draws["South"][:200]})


def test_limits_are_the_spread_of_customers_drawn_again(tmp_path: Path) -> None:
    """400 bootstraps of customers know their spread to 3.5 %; 12 % tells an error apart."""
    generator = np.random.default_rng(5)
    purchases = [
        (f"c{who}", brand, float(generator.lognormal(scale)))
        for who in range(300)
        for brand, scale in (("North", 1.0), ("South", 1.3))
        if generator.random() < 0.6
    ]
    table = parts(valued(company(tmp_path / "a", purchases)))
    wide = pd.DataFrame(purchases, columns=["who", "brand", "margin"]).pivot_table(
        index="who", columns="brand", values="margin", fill_value=0.0
    )
    drawn = generator.multinomial(len(wide), np.full(len(wide), 1 / len(wide)), 400)
    north, south = drawn @ wide["North"].to_numpy(), drawn @ wide["South"].to_numpy()
    row = table.loc[("North", "all")]
    error = (row["share_of_group_conf_high"] - row["share_of_group"]) / 1.959963984540054
    assert error == pytest.approx((north / (north + south)).std(ddof=1), rel=0.12)
    assert row["share_of_group"] == pytest.approx(wide["North"].sum() / wide.to_numpy().sum())


def test_brand_of_the_customer_where_the_transaction_names_none(tmp_path: Path) -> None:
    purchases: Purchases = [(f"N{n}", None, 1.0) for n in range(40)] + [(f"S{n}", None, 2.0) for n in range(50)]
    purchases += [(f"X{n}", None, 4.0) for n in range(30)]
    brand = {who: {"N": "North", "S": "South"}.get(who[0], "") for who, _, _ in purchases}
    tables = company(tmp_path / "a", purchases, of_customer=brand)
    for read in (tables, tables.collect()):
        table = parts(valued(read))
        assert table.loc[[("North", "all"), ("South", "all"), (NOT_STATED, "all")], "margin"].tolist() == [40, 100, 120]
        checks = valued(read).checks().set_index("name")
        assert checks.loc["brand stated", "verdict"] == "fail"
        assert checks.loc["brand stated", "number"] == pytest.approx(120 / 260)
        assert checks.loc["customers recognised across brands", "verdict"] == "warn"


def test_accounts_join_the_ids_of_one_person(tmp_path: Path) -> None:
    """Each brand gives its own customer_id; only the account shows who is shared."""
    purchases: Purchases = [(f"n{n}@{n}", "North", 1.0) for n in range(100)] + [
        (f"s{n}@{n}", "South", 2.0) for n in range(60, 160)
    ]
    purchases += [(f"alone{n}", "South", 2.0) for n in range(10)]
    tables = company(tmp_path / "a", purchases)
    apart, joined = (parts(valued(tables, counted_by=by)) for by in ("customer", "account"))
    assert apart.loc[(GROUP, "shared"), "customers"] == 0
    assert apart.loc[(GROUP, "all"), "customers"] == 210
    assert joined.loc[(GROUP, "shared"), "customers"] == 40
    assert joined.loc[(GROUP, "all"), "customers"] == 170
    assert joined.loc[(GROUP, "all"), "margin"] == apart.loc[(GROUP, "all"), "margin"]
    pd.testing.assert_frame_equal(joined, parts(valued(tables.collect(), counted_by="account")))


def test_the_period_ends_with_the_data(two: Tables) -> None:
    found = brand_values(two, months=60)
    assert isinstance(found, BrandValues)
    assert (found.since.isoformat(), found.until.isoformat()) == ("2020-06-02", "2025-06-01")
    margin = parts(found).loc[(GROUP, "all"), "margin"]
    assert margin == pytest.approx(
        sum(margin for _, _, margin in shop(SIZES))
    )  # the purchase of 2020-06-01 is a day too old


def test_a_shared_group_too_small_is_not_told_by_the_rest(tmp_path: Path) -> None:
    """5 customers at both: brand A + brand B − group would tell them."""
    found = valued(company(tmp_path / "a", shop({"N": 50, "S": 40, "NS": 5})))
    table = parts(found)
    for figure in ("customers", "margin"):
        shared = (
            table.loc[("North", "shared"), figure],
            table.loc[("South", "shared"), figure],
            table.loc[(GROUP, "shared"), figure],
        )
        assert np.isnan(shared).all()
        shown = found.tidy().pivot_table(index="brand", columns="part", values=figure, dropna=False)
        differences = [shown.loc[brand, "all"] - shown.loc[brand, "only here"] for brand in ("North", "South", GROUP)]
        assert np.isnan(differences).all()
        inclusion = shown.loc["North", "all"] + shown.loc["South", "all"] - shown.loc[GROUP, "all"]
        assert np.isnan(inclusion) or figure == "margin"  # of margin the brands sum to the group
    assert found.matrix("customers").isna().loc["North", "South"]
    assert found.checks().set_index("name").loc["cells suppressed", "verdict"] == "warn"


LETTERS = "NSWE"
PATTERNS = ["".join(some) for size in (1, 2, 3) for some in itertools.combinations(LETTERS, size)]


def counted_by_every_shown_cell(found: BrandValues, patterns: list[str]) -> np.ndarray:
    """How often each shown number of customers counts each pattern, shape (cells, patterns)."""
    letter = {"North": "N", "South": "S", "West": "W", "East": "E"}
    inside = {
        "all": lambda pattern, brand: brand == GROUP or letter[brand] in pattern,
        "only here": lambda pattern, brand: len(pattern) == 1 and (brand == GROUP or pattern == letter[brand]),
        "shared": lambda pattern, brand: len(pattern) > 1 and (brand == GROUP or letter[brand] in pattern),
    }
    rows = [
        [float(inside[row["part"]](pattern, row["brand"])) for pattern in patterns]
        for row in found.tidy().to_dict("records")
        if not row["suppressed"]
    ]
    rows += [
        [float(letter[row["brand"]] in pattern and letter[row["other"]] in pattern) for pattern in patterns]
        for row in found.overlap.to_dict("records")
        if not row["suppressed"]
    ]
    return np.array(rows)


def test_no_small_pattern_follows_from_shown_cells_in_random_companies(tmp_path: Path) -> None:
    """An independent rank test: adding a small pattern to the shown cells must raise their rank."""
    generator = np.random.default_rng(12)
    hidden = 0
    for number in range(12):
        drawn = generator.choice([0, 3, 20, 45, 200], len(PATTERNS), p=[0.3, 0.2, 0.15, 0.2, 0.15])
        sizes = {pattern: int(size) for pattern, size in zip(PATTERNS, drawn, strict=True) if size}
        found = valued(company(tmp_path / str(number), shop(sizes)))
        patterns = list(sizes)
        shown = counted_by_every_shown_cell(found, patterns)
        numbers = np.r_[
            found.tidy().loc[~found.tidy()["suppressed"], "customers"],
            found.overlap.loc[~found.overlap["suppressed"], "customers"],
        ]
        np.testing.assert_allclose(shown @ np.array(list(sizes.values())), numbers)  # the cells are what they say
        assert not ((numbers > 0) & (numbers < 30)).any()
        rank = np.linalg.matrix_rank(shown)
        for place, size in enumerate(sizes.values()):
            if size < 30:
                hidden += 1
                assert np.linalg.matrix_rank(np.vstack([shown, np.eye(len(patterns))[place]])) == rank + 1
    assert hidden > 20


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 80), min_size=2, max_size=6), st.data())
def test_hidden_sums_tell_no_small_sum(sizes: list[int], data: st.DataObject) -> None:
    rows = data.draw(
        st.lists(st.lists(st.integers(0, 1), min_size=len(sizes), max_size=len(sizes)), min_size=1, max_size=8)
    )
    customers, matrix = np.array(sizes, dtype=float), np.array(rows, dtype=float)
    hidden = hidden_sums(customers, matrix, floor=30)
    counts = matrix @ customers
    assert hidden[(counts > 0) & (counts < 30)].all()
    live = customers > 0
    shown = matrix[~hidden & (counts > 0)][:, live]
    rank = np.linalg.matrix_rank(shown) if len(shown) else 0
    for small in np.eye(len(sizes))[live & (customers < 30)][:, live]:
        assert np.linalg.matrix_rank(np.vstack([shown, small])) == rank + 1


def test_a_loss_has_no_shares(tmp_path: Path) -> None:
    purchases = [(who, brand, -margin) for who, brand, margin in shop(SIZES)]
    draws = np.random.default_rng(1).normal(5.0, 1.0, 200)
    table = parts(valued(company(tmp_path / "a", purchases), forward={"North": draws, "South": draws}))
    assert table["share_of_group"].isna().all()
    assert table.loc[(GROUP, "all"), "margin"] < 0
    assert table.loc[("North", "all"), "value_median"] == pytest.approx(85 * np.median(draws))
    assert table.loc[[("North", "shared"), (GROUP, "shared")], "value_median"].isna().all()  # nothing to divide it by


def test_nothing_is_hidden_without_need() -> None:
    assert not hidden_sums([100, 200, 300], [[1, 1, 0], [0, 1, 1], [1, 1, 1]], floor=30).any()
    # the total and one part would tell the small one; the wanted part stays
    wanted = hidden_sums([100, 5, 60], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], floor=30, keep=[9, 9, 9, 1])
    assert wanted.tolist() == [False, True, False, True]


def test_reasons_and_refusals(tmp_path: Path, sample: Path, two: Tables) -> None:
    assert brand_values(unbranded(sample), months=12) == "neither transactions nor customers name a brand"
    assert "transactions" in str(brand_values(replace(two, transactions=None), months=12))
    assert "61 months before 2025-06-01 would begin on 2020-05-02" in str(brand_values(two, months=61))
    few = company(tmp_path / "few", shop({"N": 29}))
    assert "29 customers bought" in str(brand_values(few, months=12))
    with pytest.raises(InputError, match="months must be a whole number"):
        brand_values(two, months=0)
    with pytest.raises(InputError, match="account_id"):
        brand_values(replace(two, customers=two.customers.drop("account_id")), months=12, counted_by="account")
    with pytest.raises(InputError, match="counted_by must be"):
        brand_values(two, months=12, counted_by="household")  # type: ignore[arg-type]


def unbranded(sample: Path) -> Tables:
    """The sample without the names of brands."""
    tables = read_tables(sample)
    assert tables.transactions is not None
    return replace(
        tables,
        customers=tables.customers.drop("brand", strict=False),
        transactions=tables.transactions.drop("brand", strict=False),
    )
