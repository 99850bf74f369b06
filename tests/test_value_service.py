"""Cost to serve: the same figure by hand from the files, the simulated truth, missing costs, dates, engines."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from cxroi.errors import InputError
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate, world_named
from cxroi.simulate.process import CONTACT_COST, LAST_QUARTER, contact_probability, draw_customers, walk
from cxroi.tables import Tables, read_tables
from cxroi.value.service import ALL, CostToServe, band_codes, cost_to_serve, customer_quarters

CUSTOMERS = 3_000
Company = tuple[Path, Tables, Panel]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    folder = tmp_path_factory.mktemp("service") / "company"
    simulate(folder, world="initiative", customers=CUSTOMERS, seed=11)
    tables = read_tables(folder)
    return folder, tables, build_panel(tables)


def found(result: CostToServe | str) -> CostToServe:
    assert isinstance(result, CostToServe), result
    return result


def cell(result: CostToServe | str, band: str, kind: str = ALL) -> Any:
    table = found(result).bands
    (row,) = table[(table["band"] == band) & (table["kind"] == kind)].to_dict("records")
    return row


def by_hand(folder: Path) -> pd.DataFrame:
    """Customer-quarters with an answer and the cost of the contacts of the quarter after, from the files."""
    read = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("customers", "surveys", "touches")}
    surveys = read["surveys"].query("metric == 'nps'").dropna(subset="score")
    surveys = surveys.assign(quarter=surveys["answered_at"].dt.to_period("Q"))
    rows = surveys.groupby(["customer_id", "quarter"], as_index=False)["score"].mean()
    left = pd.to_datetime(read["customers"].set_index("customer_id")["left_on"]).dt.to_period("Q")
    gone = rows["customer_id"].map(left)
    rows = rows[(gone.isna() | (gone > rows["quarter"])) & (rows["quarter"] < pd.Period("2026Q3"))]
    touches = read["touches"].assign(quarter=read["touches"]["occurred_at"].dt.to_period("Q") - 1)
    merged = rows
    for point, own in touches.groupby("touchpoint"):
        cost = own.groupby(["customer_id", "quarter"], as_index=False)["cost"].sum().rename(columns={"cost": point})
        merged = merged.merge(cost, on=["customer_id", "quarter"], how="left")
    merged = merged.fillna({"delivery": 0.0, "store": 0.0, "support": 0.0})
    names = ["detractor", "passive", "promoter"]
    return merged.assign(band=pd.cut(merged["score"], [-1, 6.5, 8.5, 10], labels=names).astype(str))


def test_the_same_figures_by_hand(company: Company) -> None:
    folder, tables, panel = company
    rows = by_hand(folder)
    result = found(cost_to_serve(tables, panel, "nps", by="touchpoint"))
    points = ["delivery", "store", "support"]
    for band, own in [(ALL, rows), *rows.groupby("band")]:
        assert cell(result, band)["estimate"] == pytest.approx(own[points].sum(axis=1).mean(), rel=1e-9)
        assert cell(result, band)["customer_quarters"] == len(own)
        assert cell(result, band)["customers"] == own["customer_id"].nunique()
        for point in points:
            assert cell(result, band, point)["estimate"] == pytest.approx(own[point].mean(), rel=1e-9)
    # The standard error is that of a regression on a constant, clustered by customer.
    per_customer = rows.assign(cost=rows[points].sum(axis=1)).groupby("customer_id")["cost"].agg(["sum", "size"])
    off = per_customer["sum"] - cell(result, ALL)["estimate"] * per_customer["size"]
    n = len(per_customer)
    error = np.sqrt((off**2).sum() * n / (n - 1)) / len(rows)
    assert cell(result, ALL)["std_error"] == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("by", ["touchpoint", "channel", "initiated_by"])
def test_kinds_sum_to_all_and_bands_average_to_all(company: Company, by: Any) -> None:
    _, tables, panel = company
    table = found(cost_to_serve(tables, panel, "nps", by=by)).bands
    sums = table[table["kind"] != ALL].groupby("band")["estimate"].sum()
    totals = table[table["kind"] == ALL].set_index("band")["estimate"]
    assert sums[totals.index].to_numpy() == pytest.approx(totals.to_numpy(), rel=1e-9)
    bands = table[(table["kind"] == ALL) & table["band"].isin(["detractor", "passive", "promoter"])]
    weights = bands["customer_quarters"].astype(float)
    assert np.average(bands["estimate"], weights=weights) == pytest.approx(totals[ALL], rel=1e-12)
    assert totals["detractor less promoter"] == pytest.approx(totals["detractor"] - totals["promoter"], rel=1e-12)
    assert set(table["unit"]) == {"VND"}


def test_the_simulated_truth_lies_within_four_errors(company: Company) -> None:
    _, tables, panel = company
    world = world_named("initiative")
    rng = np.random.default_rng(3)
    people = draw_customers(world, rng, size=60_000, quarters=8, orders_per_quarter=2.0)
    costs, scores = [], []
    for quarter in walk(world, people, rng, quarters=8):
        if quarter.t > LAST_QUARTER - 7:  # at its start active, with a score of the quarter before
            here = quarter.at_start
            stays = ~quarter.leaving[here]
            costs.append((CONTACT_COST @ contact_probability(world, quarter.score_before[here])) * stays)
            scores.append(quarter.score_before[here])
    cost, score = np.concatenate(costs), np.concatenate(scores)
    noise = world.answer_noise_sd * rng.standard_normal(len(score))
    band = band_codes(pd.Series(np.rint(np.clip(score + noise, 0, 10))), "nps", 10.0)
    result = cost_to_serve(tables, panel, "nps", by="touchpoint")
    for code, name in enumerate(("detractor", "passive", "promoter")):
        row = cell(result, name)
        assert abs(row["estimate"] - cost[band == code].mean()) < 4 * row["std_error"]
    # Only support is called upon more by the dissatisfied.
    support = cell(result, "detractor less promoter", "support")
    assert support["conf_low"] > 0
    assert abs(cell(result, "detractor less promoter", "store")["estimate"]) < 4 * support["std_error"]


@cache
def loaded_tables(folder: Path) -> Tables:
    return read_tables(folder).collect()


def with_touches(folder: Path, change: Any) -> Tables:
    """The tables in pandas with another touches table."""
    loaded = loaded_tables(folder)
    assert loaded.touches is not None
    return replace(loaded, touches=nw.from_native(change(loaded.touches.collect().to_native())).lazy())


def test_a_cost_that_is_not_stated_is_not_nothing(company: Company) -> None:
    folder, tables, panel = company
    whole = cell(cost_to_serve(tables, panel, "nps"), ALL)
    rng = np.random.default_rng(1)

    def blank(touches: pd.DataFrame) -> pd.DataFrame:
        return touches.assign(cost=touches["cost"].where(rng.random(len(touches)) > 0.3))

    result = found(cost_to_serve(with_touches(folder, blank), panel, "nps"))
    row = cell(result, ALL)
    assert row["share_without_cost"] == pytest.approx(0.3, abs=0.04)
    # A third of the costs are means in place of the own figure: the total moves by a fraction of its error.
    assert row["estimate"] == pytest.approx(whole["estimate"], abs=whole["std_error"])
    checks = result.checks().set_index("name")["verdict"]
    assert checks["touches without a stated cost"] == "warn"
    assert checks["kinds of touches without any cost"] == "pass"


def test_a_kind_of_contact_without_any_cost_is_said(company: Company) -> None:
    folder, _, panel = company

    def blank(touches: pd.DataFrame) -> pd.DataFrame:
        return touches.assign(cost=touches["cost"].where(touches["touchpoint"] != "store"))

    result = found(cost_to_serve(with_touches(folder, blank), panel, "nps", by="touchpoint"))
    assert result.checks().set_index("name").loc["kinds of touches without any cost", "verdict"] == "fail"
    assert result.of_unknown_cost == result.without_cost > 0
    assert cell(result, ALL, "store")["share_without_cost"] == 1.0


def test_small_cells_are_hidden_with_what_would_give_them_away(company: Company) -> None:
    folder, _, panel = company

    def rare(touches: pd.DataFrame) -> pd.DataFrame:
        return touches.assign(channel=touches["channel"].where(np.arange(len(touches)) % 150 > 0, "fax"))

    table = found(cost_to_serve(with_touches(folder, rare), panel, "nps", by="channel")).bands
    fax = table[table["kind"] == "fax"]
    assert fax["suppressed"].any()
    hidden = table[table["suppressed"]]
    assert hidden[["estimate", "conf_low", "conf_high", "touches"]].isna().all().all()
    # No band has a single hidden kind, so that the others do not give it away.
    own = hidden[hidden["band"].isin(["detractor", "passive", "promoter", ALL])]
    assert (own.groupby("band").size() >= 2).all()
    assert table.loc[~table["suppressed"], "estimate"].notna().all()


def test_an_answer_counts_from_the_day_it_was_given(company: Company) -> None:
    folder, tables, panel = company
    loaded = loaded_tables(folder)
    assert loaded.surveys is not None
    surveys = loaded.surveys.collect().to_native()
    # Invited in one quarter and answered in the next: the score belongs to the later one.
    late = surveys.assign(invited_at=surveys["invited_at"] - pd.Timedelta(days=92))
    moved = replace(loaded, surveys=nw.from_native(late).lazy())
    before, after = (customer_quarters(one, panel, "nps").rows for one in (tables, moved))
    pd.testing.assert_frame_equal(before[["customer", "period", "score"]], after[["customer", "period", "score"]])


def test_codes_are_those_of_the_same_customers(company: Company) -> None:
    folder, tables, panel = company
    looked = customer_quarters(tables, panel, "nps")
    people = looked.people.collect("pandas").to_native().sort_values("customer")
    assert people["customer_id"].tolist() == sorted(pd.read_parquet(folder / "customers.parquet")["customer_id"])
    age = pd.read_parquet(folder / "customers.parquet").sort_values("customer_id")["age"].to_numpy()
    assert (looked.rows["age"].to_numpy() == age[looked.rows["customer"]]).all()


def test_both_engines_agree(company: Company) -> None:
    folder, tables, panel = company
    results = [found(cost_to_serve(one, panel, "nps", by="channel")).bands for one in (tables, loaded_tables(folder))]
    pd.testing.assert_frame_equal(*results)


def test_reasons_and_refusals(company: Company) -> None:
    _, tables, panel = company
    assert cost_to_serve(replace(tables, touches=None), panel, "nps") == "the data have no touches table"
    assert tables.touches is not None
    bare = replace(tables, touches=tables.touches.drop("cost"))
    assert "add touches.cost" in str(cost_to_serve(bare, panel, "nps"))
    narrow = replace(tables, touches=tables.touches.drop("channel"))
    assert cost_to_serve(narrow, panel, "nps", by="channel") == "the touches have no channel"
    assert found(cost_to_serve(narrow, panel, "nps")).touches > 0
    assert "no answers to ces" in str(cost_to_serve(tables, replace(panel, metrics=("nps",)), "ces"))
    assert "by quarters" in str(cost_to_serve(tables, replace(panel, period="month"), "nps"))
    with pytest.raises(InputError, match="by='touchpoint'"):
        cost_to_serve(tables, panel, "nps", by="brand")  # type: ignore[arg-type]


def test_glance_counts_what_was_looked_at(company: Company) -> None:
    _, tables, panel = company
    result = found(cost_to_serve(tables, panel, "nps"))
    (row,) = result.glance().to_dict("records")
    assert row["customer_quarters"] == cell(result, ALL)["customer_quarters"]
    assert row["one_in_every"] == 1
    assert row["share_without_cost"] == 0.0
    assert result.tidy() is result.bands
