"""Simulated companies: the files keep the contract, the truth is right, and each world is what its name says."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import statsmodels.api as sm
import yaml

from cxroi import periods
from cxroi.case import read_case
from cxroi.errors import InputError
from cxroi.simulate import WORLDS, company, settings, simulate, truth, world_named
from cxroi.simulate.loyalty import BEHAVIOURAL, EMOTIONAL, LOYALTY, OFFERS, RATIONAL, price_shift
from cxroi.simulate.process import (
    CONTACT_COST,
    LAST_QUARTER,
    answer,
    contact_probability,
    draw_customers,
    expected_staying,
    failing_probability,
    failure_shift,
    order_margin,
    order_rate,
    staying_probability,
    walk,
)
from cxroi.tables import check_tables, read_tables
from cxroi.tables.contract import TABLE_NAMES

CUSTOMERS = 20_000


@cache
def latent(name: str) -> pd.DataFrame:
    """Customer x quarter at risk, with the satisfaction that nobody sees, straight from the process."""
    world = world_named(name)
    rng = np.random.default_rng(5)
    people = draw_customers(world, rng, size=CUSTOMERS, quarters=6, orders_per_quarter=2.0)
    frames = []
    failed_before = np.zeros(CUSTOMERS)
    for quarter in walk(world, people, rng, quarters=6):
        frames.append(
            pd.DataFrame(
                {
                    "customer": np.arange(CUSTOMERS),
                    "period": quarter.t,
                    "score": quarter.score_before,
                    "lift": quarter.lift_before,
                    "arm": quarter.arm,
                    "retained": (~quarter.leaving).astype(float),
                    "orders": quarter.orders,
                    "plan": people.plan,
                    "age": people.age,
                    "tenure": np.minimum(quarter.t - 1 - people.joined_quarter, 12),
                    "now": quarter.score,
                    "loyalty": people.loyalty,
                    "price": OFFERS.mean() - quarter.offer_before,
                    "failed": failed_before,
                }
            )[quarter.at_start]
        )
        if quarter.failed is not None:
            failed_before = quarter.failed.any(axis=0).astype(float)
    return pd.concat(frames, ignore_index=True)


def design(rows: pd.DataFrame) -> pd.DataFrame:
    columns = [
        rows[["score", "age", "tenure"]],
        pd.get_dummies(rows["plan"], prefix="plan", drop_first=True),
        pd.get_dummies(rows["period"], prefix="period", drop_first=True),
    ]
    return sm.add_constant(pd.concat(columns, axis=1).astype(float))


@cache
def fitted(name: str, outcome: str) -> Any:
    """True model fitted to unseen satisfaction, errors clustered by customer."""
    rows = latent(name)
    chosen = rows if outcome == "retained" else rows[rows["retained"] == 1]
    family = sm.families.Binomial() if outcome == "retained" else sm.families.Poisson()
    model = sm.GLM(chosen[outcome], design(chosen), family=family)
    return model.fit(cov_type="cluster", cov_kwds={"groups": chosen["customer"]})


def made(folder: Path, **options: Any) -> dict[str, Any]:
    return json.loads(simulate(folder, **options).read_text(encoding="utf-8"))


def effect(found: dict[str, Any], outcome: str, exposure: str = "nps", estimand: str = "ame") -> float:
    wanted = {"outcome": outcome, "exposure": exposure, "estimand": estimand, "segment": "all"}
    (row,) = (row for row in found["effects"] if {key: row[key] for key in wanted} == wanted)
    return float(row["estimate"])


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("worlds") / "pilot"
    return folder, made(folder, world="initiative", customers=20_000, seed=4)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("worlds") / "clean"
    return folder, made(folder, customers=10_000)


def frames(folder: Path) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


# The files


def test_tables_keep_the_contract(pilot: tuple[Path, dict[str, Any]]) -> None:
    tables = frames(pilot[0])
    customers = tables["customers"].set_index("customer_id")
    assert customers.index.is_unique
    assert tables["transactions"]["transaction_id"].is_unique
    assert tables["surveys"]["response_id"].is_unique
    days = customers[["joined_on", "left_on"]].apply(pd.to_datetime)
    assert (days["left_on"].dropna() > days["joined_on"][days["left_on"].notna()]).all()
    end = pd.Timestamp(periods.end(LAST_QUARTER)) + pd.Timedelta(days=1)
    for name, column in (("transactions", "occurred_at"), ("touches", "occurred_at"), ("surveys", "invited_at")):
        at, who = tables[name][column], tables[name]["customer_id"]
        assert who.isin(customers.index).all()
        assert (at >= who.map(days["joined_on"])).all(), name
        left = who.map(days["left_on"])
        assert not (at.dt.to_period("Q") >= left.dt.to_period("Q")).any(), name
        assert (at < end).all(), name
    surveys = tables["surveys"]
    answered = surveys["score"].notna()
    assert (surveys["answered_at"].notna() == answered).all()
    assert (surveys["answered_at"] >= surveys["invited_at"])[answered].all()
    same = surveys["answered_at"].dt.to_period("Q") == surveys["invited_at"].dt.to_period("Q")
    assert same[answered].all()
    for metric, (low, high) in {"nps": (0, 10), "csat": (1, 5), "ces": (1, 7)}.items():
        given = surveys.loc[answered & (surveys["metric"] == metric), "score"]
        assert given.between(low, high).all()
        assert (given == given.round()).all()
        assert given.nunique() >= (high - low + 1) - 2
    assert surveys.loc[surveys["metric"] == "nps", "touchpoint"].isna().all()
    assert surveys.loc[surveys["metric"] != "nps", "touchpoint"].notna().all()
    for name, ignored in (("transactions", "transaction_id"), ("surveys", "response_id"), ("touches", None)):
        columns = [column for column in tables[name].columns if column != ignored]
        assert not tables[name][columns].duplicated().any(), name


def test_referrals_join_customers_who_were_there(pilot: tuple[Path, dict[str, Any]]) -> None:
    tables = frames(pilot[0])
    customers = tables["customers"].set_index("customer_id")
    referrals = tables["referrals"]
    assert referrals["referred_id"].is_unique
    joined = pd.to_datetime(customers["joined_on"])
    assert (referrals["referrer_id"].map(joined) < referrals["referred_id"].map(joined)).all()
    assert (referrals["referred_id"].map(customers["acquisition_channel"]) == "referral").all()


def test_refunds_are_negative_and_have_their_own_id(pilot: tuple[Path, dict[str, Any]]) -> None:
    transactions = frames(pilot[0])["transactions"]
    refunds = transactions["amount"] < 0
    # 2 % of orders are refunded; 280,000 orders leave a standard error of 0.03 points.
    assert refunds.sum() / (~refunds).sum() == pytest.approx(0.02, abs=0.0012)
    assert (transactions.loc[refunds, "margin"] < 0).all()


def test_pilot_is_randomised_among_customers_of_its_first_day(pilot: tuple[Path, dict[str, Any]]) -> None:
    folder, found = pilot
    tables = frames(folder)
    exposures = tables["exposures"]
    assert exposures["customer_id"].is_unique
    customers = tables["customers"].set_index("customer_id").loc[exposures["customer_id"]]
    began = exposures["exposed_on"].iloc[0]
    assert (exposures["exposed_on"] == began).all()
    assert (customers["joined_on"] < began).all()
    assert (customers["left_on"].isna() | (customers["left_on"] > began)).all()
    treated = set(exposures.loc[exposures["arm"] == "treated", "customer_id"])
    control = set(exposures.loc[exposures["arm"] == "control", "customer_id"])
    surveys = tables["surveys"]
    after = surveys[(surveys["metric"] == "nps") & (surveys["answered_at"] >= pd.Timestamp(began))]
    scores = [after.loc[after["customer_id"].isin(arm), "score"] for arm in (treated, control)]
    gap = scores[0].mean() - scores[1].mean()
    # Four standard errors of a difference of two means of about 3,800 answers with sd 1.5, and the clipping at 10.
    assert gap == pytest.approx(found["pilot"]["lift"]["nps"], abs=0.14 + 0.04)
    costs = pd.read_csv(folder / "costs.csv")
    initiatives = pd.read_csv(folder / "initiatives.csv")
    assert set(costs["initiative_id"]) == set(initiatives["initiative_id"])
    assert costs["category"].between(1, 8).all()


@pytest.mark.parametrize("file_format", ["parquet", "csv", "mixed"])
def test_same_seed_same_bytes(tmp_path: Path, file_format: Any) -> None:
    folders = [tmp_path / name for name in ("one", "two", "other")]
    files = []
    for folder, seed in zip(folders, (7, 7, 8), strict=True):
        truth_file = simulate(folder, world="initiative", customers=300, seed=seed, file_format=file_format)
        files.append({path.name: path.read_bytes() for path in folder.iterdir()} | {"truth": truth_file.read_bytes()})
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert {"dataset.yaml", "case.yaml"} <= set(files[0])
    assert not any("truth" in path.name for path in folders[0].iterdir())


def test_text_ids_and_parquet_transactions_in_a_mixed_folder(tmp_path: Path) -> None:
    simulate(tmp_path / "mixed", customers=150, file_format="mixed")
    transactions = pd.read_parquet(tmp_path / "mixed" / "transactions.parquet")
    customers = pd.read_csv(tmp_path / "mixed" / "customers.csv")
    assert customers["customer_id"].iloc[0] == "KH000001"
    assert transactions["customer_id"].isin(customers["customer_id"]).all()
    config = yaml.safe_load((tmp_path / "mixed" / "dataset.yaml").read_text(encoding="utf-8"))
    assert all((tmp_path / "mixed" / table["file"]).exists() for table in config["tables"].values())


@pytest.mark.parametrize("file_format", ["parquet", "mixed"])
def test_tables_and_case_read_without_a_fault(tmp_path: Path, file_format: Any) -> None:
    folder = tmp_path / "company"
    simulate(folder, world="initiative", customers=400, seed=20, file_format=file_format)
    assert [found.message for found in check_tables(folder) if found.severity == "error"] == []
    tables = read_tables(folder)
    accounting = tables.accounting.pivot_table(index="table", columns="reason", values="rows", sort=False)
    assert (accounting["read"] == accounting["kept"]).all()
    assert set(accounting.index) == set(TABLE_NAMES) - {"outcomes"}
    assert tables.config.currency == read_case(folder / "case.yaml").currency == "VND"


def test_formats_hold_the_same_company(tmp_path: Path) -> None:
    found = [made(tmp_path / name, customers=200, file_format=name) for name in ("parquet", "csv")]
    assert found[0] == found[1]
    parquet, csv = frames(tmp_path / "parquet"), pd.read_csv(tmp_path / "csv" / "transactions.csv")
    assert parquet["transactions"]["margin"].to_list() == csv["margin"].to_list()
    assert parquet["transactions"]["occurred_at"].to_list() == pd.to_datetime(csv["occurred_at"]).to_list()


def test_chunks_join_into_one_company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(company, "CHUNK_CUSTOMERS", 400)
    found = made(tmp_path / "chunks", world="initiative", customers=1_000, seed=2)
    tables = frames(tmp_path / "chunks")
    assert tables["customers"]["customer_id"].to_list() == list(range(1, 1_001))
    assert tables["transactions"]["transaction_id"].is_unique
    assert set(tables["exposures"]["customer_id"]) - set(range(1, 801))
    assert found["population_nps"][-1]["active"] == tables["customers"]["left_on"].isna().sum()


@pytest.mark.parametrize("name", WORLDS)
def test_smallest_company_of_every_world(tmp_path: Path, name: str) -> None:
    found = made(tmp_path / "tiny", world=name, customers=1, quarters=2)
    assert found["world"] == name
    assert np.isfinite([row["estimate"] for row in found["effects"]]).all()


# SHA-256 of all columns, and the sum of the true effects, as they were before brands, discounts, failures that matter and
# kinds of loyalty were added: those have streams of their own.
BEFORE = {
    "clean": ("034cc26c7d2e023f", 16_845_030.7206),
    "null": ("0b93d58532c90bde", 0.0),
    "confounded-seen": ("f20929717da2f9d6", 17_112_466.168),
    "confounded-unseen": ("f5168364a916f9cf", 15_788_112.5595),
    "reverse": ("1da5238dc74e2acf", 0.0),
    "noisy-scores": ("ef188fded60d87e4", 16_845_030.7206),
    "selective-answering": ("41a8e7f4759d9021", 16_845_030.7206),
    "asymmetric": ("152ac6b50381195d", 15_034_376.3018),
    "attrition": ("15840c7696698df9", 15_209_537.8211),
    "initiative": ("52a84f17ff332238", 18_269_104.8036),
}


@pytest.mark.parametrize("name", BEFORE)
def test_what_was_added_to_a_world_moves_nothing_that_was_there(tmp_path: Path, name: str) -> None:
    found = made(tmp_path / "company", world=name, customers=150, seed=7, quarters=6)
    values = hashlib.sha256()
    for path in sorted((tmp_path / "company").glob("*.parquet")):
        table = pq.read_table(path)
        for column in (column for column in table.column_names if column not in ("brand", "discount")):
            values.update(repr((path.stem, column, table[column].to_pylist())).encode())
    assert values.hexdigest()[:16] == BEFORE[name][0]
    # Sums over customers may differ in the last digits from one build of NumPy to the next.
    assert sum(row["estimate"] for row in found["effects"]) == pytest.approx(BEFORE[name][1], rel=1e-9)


def test_worlds_can_be_mixed(tmp_path: Path) -> None:
    mixed = replace(world_named("attrition"), name="attrition-pilot", pilot_lift=0.4, pilot_share=0.5)
    found = made(tmp_path / "mixed", world=mixed, customers=500)
    assert (found["world"], found["parameters"]["frailty_sd"]) == ("attrition-pilot", mixed.frailty_sd)
    assert found["pilot"]["lift"]["csat"] == pytest.approx(0.4 / 2.5)
    assert (tmp_path / "mixed" / "exposures.parquet").exists()


# Refusals


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(InputError, match="new or empty folder"):
        simulate(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"
    (tmp_path / "empty").mkdir()
    assert simulate(tmp_path / "empty", customers=50).exists()


def test_an_unknown_world_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'confounded-seen'"):
        simulate(tmp_path / "x", world="confounded-sen")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"customers": 0}, "customers must be a whole number"),
        ({"customers": 2.5}, "customers must be a whole number"),
        ({"quarters": 1}, "quarters must be a whole number"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"orders_per_quarter": 0}, "orders_per_quarter must lie above 0"),
        ({"orders_per_quarter": float("nan")}, "orders_per_quarter must lie above 0"),
        ({"file_format": "xlsx"}, "format must be parquet, csv or mixed"),
        ({"world": replace(world_named("clean"), loyalty_shares=(0.6, 0.3, 0.2))}, "loyalty_shares must be"),
        ({"world": replace(world_named("clean"), brands=4)}, "brands must be 0 to 3"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "x", **options)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_company_that_could_not_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(settings, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate(tmp_path / "x", customers=50)
    assert list(tmp_path.iterdir()) == []


# The truth


@pytest.mark.parametrize("name", ["null", "reverse"])
def test_without_effect_every_truth_is_exactly_zero(tmp_path: Path, name: str) -> None:
    found = made(tmp_path / name, world=name, customers=500)
    assert {row["estimate"] for row in found["effects"]} == {0.0}
    assert found["levels"]["ltv"] > 0


@pytest.mark.parametrize(("outcome", "slope"), [("retained", "staying_per_point"), ("orders", "orders_per_point")])
def test_true_effects_are_those_of_the_true_model_fitted_to_unseen_satisfaction(outcome: str, slope: str) -> None:
    fit = fitted("clean", outcome)
    wanted = getattr(world_named("clean"), slope)
    assert abs(fit.params["score"] - wanted) < 4 * fit.bse["score"]
    assert 4 * fit.bse["score"] < 0.5 * wanted, "the test must be able to tell the truth from half of it"


@pytest.mark.parametrize("outcome", ["retained", "orders"])
def test_average_effects_match_what_customers_do(clean: tuple[Path, dict[str, Any]], outcome: str) -> None:
    rows, fit = latent("clean"), fitted("clean", outcome)
    chosen = design(rows if outcome == "retained" else rows[rows["retained"] == 1])
    change = float((fit.predict(chosen.assign(score=chosen["score"] + 1)) - fit.predict(chosen)).mean())
    # The effect's relative error is that of the slope; 2 % are added for two draws of the customers.
    tolerance = 4 * fit.bse["score"] / fit.params["score"] + 0.02
    assert change == pytest.approx(effect(clean[1], outcome), rel=tolerance)


def test_levels_are_those_of_the_tables(pilot: tuple[Path, dict[str, Any]]) -> None:
    folder, found = pilot
    tables = frames(folder)
    joined = pd.to_datetime(tables["customers"]["joined_on"]).dt.to_period("Q")
    left = pd.to_datetime(tables["customers"]["left_on"]).dt.to_period("Q")
    first, last = pd.Period("2025Q1"), pd.Period("2026Q3")
    at_risk = leaving = 0
    for quarter in pd.period_range(first, last, freq="Q"):
        here = (joined < quarter) & (left.isna() | (left >= quarter))
        at_risk += int(here.sum())
        leaving += int((left == quarter)[here].sum())
    # Binomial error of 110,000 customer-quarters is 0.0007.
    assert 1 - leaving / at_risk == pytest.approx(found["levels"]["retained"], abs=0.003)
    transactions = tables["transactions"]
    quarter = transactions["occurred_at"].dt.to_period("Q")
    since = transactions["customer_id"].map(tables["customers"].set_index("customer_id")["joined_on"])
    counted = (quarter >= first) & (pd.to_datetime(since).dt.to_period("Q") < quarter)
    margin = transactions.loc[counted, "margin"].sum() / at_risk
    orders = (counted & (transactions["amount"] > 0)).sum() / (at_risk - leaving)
    # 20,000 customers whose rates differ by a factor of two: the mean of realised orders is known to 0.3 %.
    assert orders == pytest.approx(found["levels"]["orders"], rel=0.012)
    assert margin == pytest.approx(found["levels"]["margin"], rel=0.015)
    cost = tables["touches"].loc[tables["touches"]["occurred_at"] >= "2025-01-01"]
    cost = cost[
        pd.to_datetime(cost["customer_id"].map(tables["customers"].set_index("customer_id")["joined_on"])).dt.to_period(
            "Q"
        )
        < cost["occurred_at"].dt.to_period("Q")
    ]
    assert cost["cost"].sum() / at_risk == pytest.approx(found["levels"]["service_cost"], rel=0.015)
    assert len(CONTACT_COST) == cost["touchpoint"].nunique()


def test_lifetime_value_is_the_sum_over_quarters_when_satisfaction_stands_still() -> None:
    world = replace(world_named("clean"), score_within_sd=0.0, persistence=0.5)
    rng = np.random.default_rng(1)
    people = draw_customers(world, rng, size=40, quarters=4, orders_per_quarter=3.0)
    *_, last = walk(world, people, rng, quarters=4)
    answers = {metric: np.where(np.arange(40) % 2, 10.0, np.nan) for metric in truth.BANDS}
    sums = truth.value_sums(world, people, last, rng, last_answers=answers, draws=2, horizon=(12, 0.10))
    assert sums["value", "nps", "promoter"] + sums["value", "nps", truth.NO_ANSWER] == pytest.approx(sums["value",])
    assert sums["n_value", "nps", "promoter"] == last.active[1::2].sum()

    def by_hand(gain: float, kept: float) -> float:
        total = 0.0
        for i in np.flatnonzero(last.active):
            one, alive = people.pick(np.array([i])), 1.0
            for h in range(1, 13):
                score = one.level + gain * kept ** (h - 1)
                alive *= staying_probability(world, one, score, LAST_QUARTER + h)[0]
                spent = order_rate(world, one, score, LAST_QUARTER + h)[0] * order_margin(world, one, score)[0]
                total += alive * spent / 1.10 ** (h / 4)
        return total

    base = by_hand(0.0, 1.0)
    assert sums["value",] == pytest.approx(base, rel=1e-12)
    assert sums["ltv", "nps"] == pytest.approx(by_hand(1.0, 1.0) - base, rel=1e-9)
    assert sums["ltv_fading", "csat"] == pytest.approx(by_hand(2.5, 0.5) - base, rel=1e-9)


def test_lifetime_value_is_known_to_half_a_percent(pilot: tuple[Path, dict[str, Any]]) -> None:
    rows = [row for row in pilot[1]["effects"] if row["outcome"] == "ltv"]
    assert len(rows) == 6
    assert all(row["monte_carlo_error"] < 0.005 * row["estimate"] for row in rows)
    for exposure in ("nps", "csat", "ces"):
        fading, lasting = (effect(pilot[1], "ltv", exposure, name) for name in ("ame_fading", "ame"))
        assert 0 < fading < lasting


def test_pilot_truth_is_the_lift_times_the_effect(pilot: tuple[Path, dict[str, Any]]) -> None:
    # The lift is 0.6 points; curvature over half a point moves the ratio by less than a tenth.
    lifted = pilot[1]["pilot"]["next_quarter"]
    assert lifted["orders"] == pytest.approx(0.6 * effect(pilot[1], "orders"), rel=0.1)
    assert lifted["retained"] == pytest.approx(0.6 * effect(pilot[1], "retained"), rel=0.1)


# Each world is what its name says


def nps_of_answers(folder: Path) -> float:
    surveys = frames(folder)["surveys"]
    given = surveys.loc[surveys["metric"] == "nps", "score"].dropna()
    return float(100 * ((given >= 9).mean() - (given <= 6).mean()))


def population_nps(found: dict[str, Any]) -> float:
    return float(np.mean([row["estimate"] for row in found["population_nps"]]))


def test_those_who_answer_stand_for_all_but_in_selective_answering(
    tmp_path: Path, clean: tuple[Path, dict[str, Any]]
) -> None:
    selective = made(tmp_path / "selective", world="selective-answering", customers=10_000)
    # 14,000 answers: the standard error of NPS is 0.7 points, a little more for repeated customers.
    assert nps_of_answers(clean[0]) == pytest.approx(population_nps(clean[1]), abs=3)
    assert nps_of_answers(tmp_path / "selective") > population_nps(selective) + 12


def test_population_nps_counts_what_all_would_answer() -> None:
    rng = np.random.default_rng(6)
    world = world_named("noisy-scores")
    people = draw_customers(world, rng, size=CUSTOMERS, quarters=2, orders_per_quarter=2.0)
    quarter = next(walk(world, people, rng, quarters=2))
    sums = truth.answer_sums(world, quarter, rng)
    score = quarter.score[quarter.active]
    given = answer(world, "nps", score, rng.standard_normal(len(score)))
    counted = 100 * ((given >= 9).mean() - (given <= 6).mean())
    # 24,000 answers: the standard error of NPS is 0.5 points.
    assert 100 * sums["nps", quarter.t] / sums["active", quarter.t] == pytest.approx(counted, abs=1.6)


def test_noisy_answers_show_two_thirds_of_the_slope(tmp_path: Path, clean: tuple[Path, dict[str, Any]]) -> None:
    score = latent("noisy-scores")["now"].to_numpy()
    noise = np.random.default_rng(2).standard_normal(len(score))
    shown = np.polyfit(answer(world_named("noisy-scores"), "nps", score, noise), score, 1)[0]
    assert shown == pytest.approx(0.65, abs=0.03)
    found = made(tmp_path / "noisy", world="noisy-scores", customers=5_000)
    assert found["reliability"]["nps"] == pytest.approx(shown, abs=0.02)
    assert clean[1]["reliability"]["nps"] > 0.94


def test_below_the_bend_a_point_counts_three_times() -> None:
    rows = latent("asymmetric")
    exog = design(rows).drop(columns="score")
    exog["below"] = np.minimum(rows["score"] - 7, 0)
    exog["above"] = np.maximum(rows["score"] - 7, 0)
    fit = sm.GLM(rows["retained"], exog, family=sm.families.Binomial()).fit()
    world = world_named("asymmetric")
    for side, weight in (("below", world.below_bend), ("above", world.above_bend)):
        assert abs(fit.params[side] - weight * world.staying_per_point) < 4 * fit.bse[side]
    assert fit.params["below"] / fit.params["above"] > 2


def test_seen_confounders_mislead_only_the_raw_slope() -> None:
    world, fit = world_named("confounded-seen"), fitted("confounded-seen", "retained")
    assert abs(fit.params["score"] - world.staying_per_point) < 4 * fit.bse["score"]
    rows = latent("confounded-seen")
    raw = sm.GLM(rows["retained"], sm.add_constant(rows["score"]), family=sm.families.Binomial()).fit()
    assert raw.params["score"] > 1.25 * world.staying_per_point


@pytest.mark.parametrize(
    ("name", "outcome"), [("confounded-unseen", "retained"), ("confounded-unseen", "orders"), ("reverse", "orders")]
)
def test_unseen_causes_mislead_even_the_adjusted_slope(name: str, outcome: str) -> None:
    world, fit = world_named(name), fitted(name, outcome)
    wanted = world.staying_per_point if outcome == "retained" else world.orders_per_point
    assert fit.params["score"] - wanted > max(6 * fit.bse["score"], 0.3 * wanted)


def test_frailty_makes_many_leave_early() -> None:
    clean, attrition = latent("clean"), latent("attrition")
    assert 0.05 < 1 - clean["retained"].mean() < 0.08
    assert 1 - attrition["retained"].mean() > 0.09
    first, later = (
        attrition.loc[attrition["period"] == t, "retained"].mean() for t in (LAST_QUARTER - 5, LAST_QUARTER)
    )
    assert later > first + 0.01, "the frail leave first"


# Brands, discounts, failures that matter, kinds of loyalty


def test_brands_and_discounts_are_recorded_only_where_a_world_has_them(
    pilot: tuple[Path, dict[str, Any]], clean: tuple[Path, dict[str, Any]]
) -> None:
    added = {"brand", "discount"}
    assert added <= set(frames(pilot[0])["transactions"].columns)
    assert added.isdisjoint(frames(clean[0])["transactions"].columns)
    assert clean[1]["brands"] is clean[1]["discount"] is clean[1]["forgiveness"] is clean[1]["loyalty"] is None


def test_a_customer_shared_by_brands_is_counted_once_in_the_group(pilot: tuple[Path, dict[str, Any]]) -> None:
    transactions, found = frames(pilot[0])["transactions"], pilot[1]["brands"]
    orders = transactions[transactions["amount"] > 0]
    by_brand = orders.groupby("brand")["customer_id"].nunique()
    of_customer = orders.groupby("customer_id")["brand"].nunique()
    assert by_brand.to_dict() == found["customers"]
    assert (len(of_customer), int((of_customer > 1).sum())) == (found["all"], found["shared"])
    # Of 20,000 customers a quarter may buy from two brands; some of them never get to.
    assert 0.18 < found["shared"] / found["all"] < 0.25
    assert found["margin"] == pytest.approx(transactions.groupby("brand")["margin"].sum().to_dict(), rel=1e-12)
    main = (
        orders.groupby(["customer_id", "brand"]).size().groupby("customer_id").max()
        / orders.groupby("customer_id").size()
    )
    assert main.mean() > 0.9


def test_discounts_are_offers_taken(pilot: tuple[Path, dict[str, Any]]) -> None:
    transactions, found = frames(pilot[0])["transactions"], pilot[1]["discount"]
    orders = transactions[transactions["amount"] > 0]
    share = orders["discount"] / (orders["amount"] + orders["discount"])
    # Both are rounded to whole hundreds, of amounts of 100,000 and more.
    assert set(share[orders["amount"] > 1e5].round(2)) == set(OFFERS)
    assert (transactions.loc[transactions["amount"] < 0, "discount"] <= 0).all()
    assert (orders["discount"] > 0).mean() == pytest.approx(found["share_of_orders"], rel=1e-12)
    spend = (transactions["amount"] + transactions["discount"]).sum()
    assert transactions["discount"].sum() / spend == pytest.approx(found["share_of_spend"], rel=1e-12)


def test_a_failed_touch_moves_staying_and_satisfaction_softens_it() -> None:
    rows, world = latent("forgiving"), world_named("forgiving")
    exog = design(rows).assign(failed=rows["failed"], softened=rows["failed"] * (rows["score"] - world.score_mean))
    fit = sm.GLM(rows["retained"], exog, family=sm.families.Binomial()).fit()
    wanted = {
        "failed": world.failed_on_staying,
        "softened": world.forgiveness_per_point,
        "score": world.staying_per_point,
    }
    for term, truth_of_term in wanted.items():
        assert abs(fit.params[term] - truth_of_term) < 4 * fit.bse[term], term
        assert 4 * fit.bse[term] < abs(truth_of_term), "the test must be able to tell the truth from nothing"


def test_failures_are_weighed_by_their_probability() -> None:
    world = world_named("forgiving")
    rng = np.random.default_rng(3)
    people = draw_customers(world, rng, size=50, quarters=3, orders_per_quarter=2.0)
    *_, last = walk(world, people, rng, quarters=3)
    fails = failing_probability(last.score_before)
    by_hand = np.zeros(50)
    for failing in itertools.product((0, 1), repeat=len(CONTACT_COST)):
        chance = np.ones(50)
        for place, fail in enumerate(failing):
            happens = last.contacts_before[place]
            chance = chance * np.where(happens, fails if fail else 1 - fails, float(not fail))
        shift = failure_shift(world, last.score_before) if any(failing) else 0.0
        by_hand += chance * staying_probability(world, people, last.score_before, last.t, shift=shift)
    found = expected_staying(world, people, last.score_before, last.t, contacts=last.contacts_before, price=0.0)
    assert found == pytest.approx(by_hand, rel=1e-12)
    assert contact_probability(world, np.zeros((4, 50))).shape == (3, 4, 50)


def test_truth_of_failures_is_what_happens(tmp_path: Path) -> None:
    found = made(tmp_path / "forgiving", world="forgiving", customers=8_000, quarters=6)
    rows = latent("forgiving")
    # Two draws of the customers: the rate of 30,000 quarters is known to 0.0015.
    assert rows["retained"].mean() == pytest.approx(found["levels"]["retained"], abs=0.005)
    shown = {(row["satisfaction"], row["failed"]): row["estimate"] for row in found["forgiveness"]}
    near = rows[(rows["score"] - 7).abs() < 0.25]
    for failed in (False, True):
        observed = near.loc[near["failed"] == failed, "retained"]
        error = np.sqrt(observed.mean() * (1 - observed.mean()) / len(observed))
        assert 1 - observed.mean() == pytest.approx(shown[7.0, failed], abs=4 * error)
    assert shown[9.0, True] - shown[9.0, False] < 0.5 * (shown[5.0, True] - shown[5.0, False])


def test_lifetime_value_counts_failures_and_prices_of_the_future() -> None:
    plain = replace(world_named("forgiving"), score_within_sd=0.0, price_on_staying=-0.4, offers_taken=0.3)
    rng = np.random.default_rng(1)
    people = draw_customers(plain, rng, size=30, quarters=4, orders_per_quarter=3.0)
    *_, last = walk(plain, people, rng, quarters=4)
    answers = {metric: np.full(len(people.age), np.nan) for metric in truth.BANDS}
    sums = truth.value_sums(plain, people, last, rng, last_answers=answers, draws=2, horizon=(8, 0.10))
    total = 0.0
    for i in np.flatnonzero(last.active):
        one, alive = people.pick(np.array([i])), 1.0
        fails = 1 - np.prod(1 - contact_probability(plain, one.level) * failing_probability(one.level))
        for h in range(1, 9):
            chance = 0.0
            for offer in OFFERS:
                shift = price_shift(plain, one.loyalty, float(OFFERS.mean() - offer))
                well, ill = (
                    staying_probability(plain, one, one.level, LAST_QUARTER + h, shift=shift + extra)[0]
                    for extra in (0.0, failure_shift(plain, one.level))
                )
                chance += ((1 - fails) * well + fails * ill) / len(OFFERS)
            alive *= chance
            spent = order_rate(plain, one, one.level, LAST_QUARTER + h)[0] * order_margin(plain, one, one.level)[0]
            total += alive * spent / 1.10 ** (h / 4)
    assert sums["value",] == pytest.approx(total, rel=1e-9)


def test_a_higher_price_drives_only_the_rational_away() -> None:
    rows, world = latent("loyalty"), world_named("loyalty")
    rational = (rows["loyalty"] == RATIONAL).astype(float)
    dear = rows["price"] / 0.10
    exog = design(rows).assign(rational=rational, dear=dear * (1 - rational), dear_rational=dear * rational)
    fit = sm.GLM(rows["retained"], exog, family=sm.families.Binomial()).fit()
    assert abs(fit.params["dear_rational"] - world.price_on_staying) < 4 * fit.bse["dear_rational"]
    assert abs(fit.params["dear"]) < 4 * fit.bse["dear"]
    assert 4 * fit.bse["dear_rational"] < 0.75 * abs(world.price_on_staying)


def test_kinds_of_loyalty_show_in_what_customers_do(tmp_path: Path) -> None:
    found = made(tmp_path / "loyalty", world="loyalty", customers=5_000, seed=3)
    world = world_named("loyalty")
    kind = draw_customers(
        world, np.random.default_rng([3, 0, 0]), size=5_000, quarters=8, orders_per_quarter=2.0
    ).loyalty
    tables = frames(tmp_path / "loyalty")
    active = tables["customers"]["left_on"].isna().to_numpy()
    for code, row in enumerate(found["loyalty"]):
        assert row["kind"] == LOYALTY[code]
        assert row["share"] == pytest.approx((kind[active] == code).mean(), abs=1e-12)
        unmoved = row["still_there"] == row["still_there_after_price_rise"]
        assert unmoved == (code != RATIONAL)
    rational = found["loyalty"][RATIONAL]
    assert rational["still_there_after_price_rise"][3] < rational["still_there"][3] - 0.05
    orders = tables["transactions"][tables["transactions"]["amount"] > 0].sort_values(["customer_id", "occurred_at"])
    of_order = kind[orders["customer_id"] - 1]
    gap = orders.groupby("customer_id")["occurred_at"].diff().dt.total_seconds()
    spread = gap.groupby(orders["customer_id"]).agg(["std", "mean", "size"])
    frequent = spread[spread["size"] >= 12]
    variation = (frequent["std"] / frequent["mean"]).groupby(kind[frequent.index - 1]).mean()
    assert variation[BEHAVIOURAL] < 0.5 < 0.8 < variation.drop(BEHAVIOURAL).min()
    # Two of the three offers are above nothing; the rational take each, of the others one order in five does.
    taken = (orders["discount"] > 0).groupby(of_order).mean()
    assert taken[RATIONAL] == pytest.approx(2 / 3, abs=0.02)
    assert taken.drop(RATIONAL).to_numpy() == pytest.approx(np.full(3, 2 / 3 * 0.2), abs=0.02)
    promoters = tables["surveys"].dropna(subset="score").query("metric == 'nps'")
    mean = promoters["score"].groupby(kind[promoters["customer_id"] - 1]).mean()
    assert mean[EMOTIONAL] > mean.drop(EMOTIONAL).max() + 1
    referrals = tables["referrals"]
    rewarded = referrals["incentivised"].groupby(kind[referrals["referrer_id"] - 1]).mean()
    assert rewarded[RATIONAL] > 0.6 > 0.2 > rewarded[EMOTIONAL]


def test_every_world_is_described_where_data_are_explained(root: Path) -> None:
    text = (root / "data" / "README.md").read_text(encoding="utf-8")
    for name, description in WORLDS.items():
        assert f"| `{name}` | {description} |" in text


def test_the_last_answer_of_a_customer_is_the_one_that_counts() -> None:
    last = {metric: np.full(3, np.nan) for metric in truth.BANDS}
    first = {"metric": np.array([0, 0, 1]), "score": np.array([4.0, 6.0, 5.0]), "customer_id": np.array([0, 0, 1])}
    truth.remember_answers(last, first)
    truth.remember_answers(last, {"metric": np.array([0]), "score": np.array([np.nan]), "customer_id": np.array([0])})
    np.testing.assert_array_equal(last["nps"], [5.0, np.nan, np.nan])
    truth.remember_answers(last, {"metric": np.array([0]), "score": np.array([9.0]), "customer_id": np.array([0])})
    np.testing.assert_array_equal(last["nps"], [9.0, np.nan, np.nan])
    np.testing.assert_array_equal(last["csat"], [np.nan, 5.0, np.nan])
