"""Kinds of loyalty: simulated kinds and their truth, companies without kinds, identities; shocks by hand and against the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from cxroi import periods
from cxroi.errors import InputError
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate, world_named
from cxroi.simulate.process import draw_customers
from cxroi.tables import Tables, read_tables
from cxroi.value import loyalty
from cxroi.value.loyalty import AS_NOW, CLEAR, TYPES, LoyaltyTypes, Shock, ShockSurvival, loyalty_types, shock_survival

CUSTOMERS, SEED = 4_000, 8
KIND_OF_CODE = np.array([0, 1, 2, 4])  # of the simulator's behavioural, rational, emotional, none in TYPES
NOBODY = dict.fromkeys(TYPES, (0.0, 0.0))
FAR = Shock("the shop moves away", extra_leaving=NOBODY | {"behavioural": (0.03, 0.03)}, source="survey of movers")
DEARER = Shock("dearer by a tenth", price_rise=0.10)


class Company:
    def __init__(self, folder: Path, world: str, customers: int = CUSTOMERS) -> None:
        self.truth = json.loads(simulate(folder, world=world, customers=customers, seed=SEED).read_text())
        self.tables: Tables = read_tables(folder)
        self.panel: Panel = build_panel(self.tables)

    @cached_property
    def loaded(self) -> Tables:
        return self.tables.collect()

    @cached_property
    def types(self) -> LoyaltyTypes:
        result = loyalty_types(self.tables, self.panel, "nps")
        assert isinstance(result, LoyaltyTypes), result
        return result

    @cached_property
    def stressed(self) -> ShockSurvival:
        result = shock_survival(
            self.tables, self.panel, "nps", shocks=[DEARER, FAR], horizon_quarters=4, score_gain=0.5, seed=3
        )
        assert isinstance(result, ShockSurvival), result
        return result


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("loyalty") / "company", "loyalty")


def true_kinds(types: LoyaltyTypes) -> np.ndarray:
    """Kind of each member, as a place in ``TYPES``; codes of a company below 20,000 customers number them as simulated."""
    people = draw_customers(
        world_named("loyalty"), np.random.default_rng([SEED, 0, 0]), size=CUSTOMERS, quarters=8, orders_per_quarter=2.0
    )
    return KIND_OF_CODE[people.loyalty[types.members["customer"]]]


def pandas_of(frame: Any) -> pd.DataFrame:
    return frame.collect().to_native()


# Kinds


def test_simulated_shares_lie_within_four_errors(company: Company) -> None:
    shown = company.types.types.set_index("type")
    for one in company.truth["loyalty"]:
        row = shown.loc[one["kind"]]
        assert abs(row["share"] - one["share"]) < 4 * row["std_error"], one["kind"]
        assert row["std_error"] < 0.03
    assert shown.loc["mixed", "share"] < 0.03
    assert shown.loc[list(TYPES), "share"].sum() == pytest.approx(1.0, rel=1e-9)
    told = shown[~shown["suppressed"]]
    assert 0.99 < told["clear"].sum() <= 1.0
    assert (told["customers"] >= 5).all()
    assert shown.loc[shown["suppressed"], "customers"].isna().all()


def test_probabilities_are_as_often_right_as_they_say(company: Company) -> None:
    chance = company.types.members[list(TYPES)].to_numpy()
    likeliest, right = chance.max(axis=1), chance.argmax(axis=1) == true_kinds(company.types)
    for low, high in ((0.4, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 1.01)):
        own = (likeliest >= low) & (likeliest < high)
        assert own.sum() > 100
        error = np.sqrt(0.25 / own.sum())
        assert right[own].mean() == pytest.approx(likeliest[own].mean(), abs=3 * error + 0.02)
    clear = likeliest >= CLEAR
    assert right[clear].mean() > 0.9
    assert company.types.glance()["unclear"].iloc[0] == pytest.approx(1 - clear.mean())


def test_groups_are_those_of_the_simulation(company: Company) -> None:
    shown = company.types.indices.set_index("index")
    assert shown["used"].all()
    # Two of three offers are above nothing; the rational take each. Of others one order in five does, seldom most of a quarter's.
    assert shown.loc["quarters on discount", "high"] == pytest.approx(2 / 3, abs=0.04)
    assert shown.loc["quarters on discount", "low"] < 0.2 * 2 / 3
    # Creatures of habit keep to one channel for 0.9 of orders and to one of three by chance for the rest.
    keeps = 0.9 + 0.1 / 3
    assert shown.loc["same channel", "high"] == pytest.approx(keeps**2 + 2 * (0.1 / 3) ** 2, abs=0.02)
    assert shown.loc["same channel", "low"] == pytest.approx(1 / 3, abs=0.01)
    # Orders by chance have gaps of a gamma distribution of shape 1, whose log is 0.
    assert shown.loc["even gaps", "low"] == pytest.approx(0.0, abs=0.1)
    assert shown.loc["even gaps", "high"] > 2
    assert shown["reliability"].between(0, 1).all()


def test_profile_averages_to_all_customers(company: Company) -> None:
    types = company.types
    profile = types.profile.pivot_table(index="type", columns="measure", values="estimate")
    weights = types.members[list(profile.index)].to_numpy().sum(axis=0)
    left = 1 - weights.sum() / len(types.members)
    assert left < 0.02  # the mixed, too few to describe
    transactions = pandas_of(company.loaded.transactions).query("amount > 0")
    active = pandas_of(company.loaded.customers).query("left_on.isna()")
    per_customer = transactions.groupby("customer_id").size().reindex(active["customer_id"]).fillna(0)
    joined = pd.to_datetime(active["joined_on"]).dt.to_period("Q")
    seen = joined.map(lambda quarter: min(8, (pd.Period("2026Q3") - quarter).n + 1)).to_numpy()
    wanted = (per_customer.to_numpy() / seen).mean()
    assert np.average(profile["orders"], weights=weights) == pytest.approx(wanted, rel=0.01 + left)
    assert profile["discount_share"].idxmax() == "rational"
    assert profile["satisfaction"].idxmax() == profile["unrewarded_referrals"].idxmax() == "emotional"
    assert profile["main_channel"].idxmax() == profile["gap_variation"].idxmin() == "behavioural"
    named = types.profile.set_index(["type", "measure"])
    assert (named["conf_low"].dropna() <= named["estimate"].dropna()).all()


@pytest.mark.parametrize("world", ["clean", "initiative"])
def test_a_company_without_kinds_names_nobody(tmp_path: Path, world: str) -> None:
    plain = Company(tmp_path / world, world, 1_500)
    reason = loyalty_types(plain.tables, plain.panel, "nps")
    assert isinstance(reason, str)
    assert reason.startswith("no kind of loyalty stands out: habit: ")


def test_a_trait_without_groups_is_said(company: Company) -> None:
    assert company.tables.transactions is not None
    assert company.tables.referrals is not None
    bare = replace(company.tables, transactions=company.tables.transactions.drop("discount"), referrals=None)
    result = loyalty_types(bare, company.panel, "nps")
    assert isinstance(result, LoyaltyTypes)
    checks = result.checks().set_index("name")
    assert checks.loc["groups by price", "verdict"] == "warn"
    assert checks.loc["groups by habit", "verdict"] == "pass"
    shown = result.types.set_index("type")
    assert shown.loc["rational", "share"] == 0.0
    truth = {one["kind"]: one["share"] for one in company.truth["loyalty"]}
    assert abs(shown.loc["behavioural", "share"] - truth["behavioural"]) < 4 * shown.loc["behavioural", "std_error"]
    assert shown.loc["none", "share"] > truth["none"] + truth["rational"] - 0.06
    reason = shock_survival(bare, company.panel, "nps", shocks=[DEARER], horizon_quarters=2, score_gain=0.5, seed=1)
    assert "state extra_leaving with a source" in str(reason)


def test_nothing_later_than_the_quarter_is_used(company: Company) -> None:
    end = pd.Timestamp(periods.start(periods.index("2026Q1") + 1))
    loaded = company.loaded
    cut = {
        name: nw.from_native(frame[frame[column] < end]).lazy()
        for name, column in (("transactions", "occurred_at"), ("surveys", "answered_at"), ("referrals", "occurred_at"))
        for frame in [pandas_of(getattr(loaded, name))]
    }
    results = [
        loyalty_types(tables, company.panel, "nps", as_of="2026Q1") for tables in (loaded, replace(loaded, **cut))
    ]
    assert all(isinstance(result, LoyaltyTypes) for result in results)
    pd.testing.assert_frame_equal(results[0].members, results[1].members)  # type: ignore[union-attr]
    assert len(results[0].members) != len(company.types.members)  # type: ignore[union-attr]


def test_both_engines_agree(company: Company) -> None:
    other = loyalty_types(company.loaded, company.panel, "nps")
    assert isinstance(other, LoyaltyTypes)
    # Sums of logs are added up in another order, and the maximum is found to a tolerance.
    pd.testing.assert_frame_equal(other.types, company.types.types, rtol=1e-3, atol=1e-4)


def test_slopes_are_those_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    n = 60
    known = rng.random(n) < 0.8
    whole = rng.integers(3, 20, n).astype(float)
    indices = (
        loyalty._scale("even gaps", known, rng.normal(2, 3, n), rng.uniform(0.1, 1, n)),
        loyalty._Share("quarters on discount", known, np.floor(whole * rng.random(n)), whole),
        loyalty._Count("unrewarded referrals", np.ones(n, dtype=bool), rng.poisson(0.5, n).astype(float), whole),
    )
    start = [0.2, -0.3, 0.4, *[-0.4, 0.7, -0.5], *[-1.0, 0.8, 1.0, 0.5], *[-2.0, -1.0]]
    cells = 7
    vector = np.concatenate([rng.normal(0, 0.3, cells), start[3:]])
    model = loyalty._Model(("habit", "price", "attitude"), indices, vector)

    def value(at: np.ndarray) -> float:
        return replace(model, vector=at).chances()[0]

    _, chance, slopes = model.chances()
    assert chance.sum(axis=1) == pytest.approx(np.ones(n), rel=1e-12)
    numeric = optimize.approx_fprime(vector, value, 1e-6)
    assert slopes.sum(axis=0) == pytest.approx(numeric, abs=1e-3)
    top = model.fitted()
    assert value(top.vector) > value(vector)
    # At the maximum the share of each cell is the mean of its probabilities.
    assert top.shares == pytest.approx(top.chances()[1].mean(axis=0), abs=2e-3)


# Shocks


def test_price_and_staying_are_found_by_kind(company: Company) -> None:
    shown = company.stressed.relations.set_index("type")
    wanted = dict.fromkeys(TYPES, 0.0) | {"rational": world_named("loyalty").price_on_staying}
    for kind, row in shown.iterrows():
        assert abs(row["estimate"] - wanted[str(kind)]) < 4 * row["std_error"], kind
    assert shown.loc["rational", "conf_high"] < 0
    assert company.stressed.checks().set_index("name").loc["price and staying, rational", "verdict"] == "pass"


def test_paths_hold_the_simulated_truth(company: Company) -> None:
    paths = company.stressed.paths.set_index(["shock", "type", "quarter"])
    for one in company.truth["loyalty"]:
        for shock, key in ((AS_NOW, "still_there"), (DEARER.name, "still_there_after_price_rise")):
            row = paths.loc[(shock, one["kind"], 4)]
            # 5 to 95 % of the draws are 3.29 standard errors apart; the kinds of single customers are not known for sure.
            error = (row["high"] - row["low"]) / 3.29
            assert abs(row["estimate"] - one[key][3]) < 4 * error + 0.02, (shock, one["kind"])
    drop = paths["estimate"].loc[AS_NOW] - paths["estimate"].loc[DEARER.name]
    assert drop["rational", 4] > 0.05 > abs(drop["behavioural", 4])


def test_a_stated_shock_takes_what_it_states(company: Company) -> None:
    paths = company.stressed.paths.set_index(["shock", "type", "quarter"])["estimate"]
    now, far = paths.loc[AS_NOW], paths.loc[FAR.name]
    assert far["behavioural", 1] == pytest.approx(now["behavioural", 1] - 0.03, rel=1e-9)
    for kind in ("rational", "emotional", "none"):
        assert far[kind].to_numpy() == pytest.approx(now[kind].to_numpy(), rel=1e-12)
    kept = company.stressed.benefit.set_index(["shock", "type"])
    assert kept.loc[(FAR.name, "rational"), "surviving"] == pytest.approx(1.0, rel=1e-12)
    assert 0.9 < kept.loc[(FAR.name, "behavioural"), "surviving"] < 1.0
    assert kept.loc[(FAR.name, "behavioural"), "surviving"] < kept.loc[(FAR.name, "all"), "surviving"] < 1.0
    assert (kept.loc[AS_NOW, "surviving"].dropna() == 1.0).all()


def test_benefits_of_the_kinds_add_up(company: Company) -> None:
    shown = company.stressed.benefit.set_index(["shock", "type"])
    for shock in (AS_NOW, DEARER.name, FAR.name):
        own = shown.loc[shock]
        kinds = own.drop("all")
        assert kinds["share"].sum() == pytest.approx(1.0, rel=1e-9)
        hidden = kinds.loc[kinds["suppressed"], "share"].sum()
        assert hidden < 0.03
        total = (kinds["share"] * kinds["estimate"]).sum()
        assert total == pytest.approx(own.loc["all", "estimate"], rel=2 * hidden + 1e-9)
    # The suppressed kind has the figures of the constant: it adds its share of them.
    assert (own.loc["all", ["low", "median", "high"]].diff().dropna() > 0).all()


def test_the_same_seed_gives_the_same_draws(company: Company) -> None:
    again = shock_survival(
        company.tables, company.panel, "nps", shocks=[DEARER, FAR], horizon_quarters=4, score_gain=0.5, seed=3
    )
    assert isinstance(again, ShockSurvival)
    pd.testing.assert_frame_equal(again.benefit, company.stressed.benefit)
    assert again.glance()["classified_as_of"].iloc[0] == "2025Q3"


def test_discounts_sent_to_those_about_to_leave_are_told(company: Company) -> None:
    relations = company.stressed.relations
    turned = relations.assign(
        **{"estimate": -relations["estimate"], "conf_low": -relations["conf_high"], "conf_high": -relations["conf_low"]}
    )
    told = replace(company.stressed, relations=turned).checks().set_index("name").loc["price and staying, rational"]
    assert told["verdict"] == "fail"
    assert "about to leave" in told["advice"]
    unclear = replace(company.stressed, relations=relations.assign(identified=False)).checks()
    assert (unclear["verdict"] == "warn").all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "x"}, "either price_rise or extra_leaving"),
        (
            {"name": "x", "price_rise": 0.1, "extra_leaving": NOBODY, "source": "s"},
            "either price_rise or extra_leaving",
        ),
        ({"name": AS_NOW, "price_rise": 0.1}, "a name other than"),
        ({"name": "x", "price_rise": 0.0}, "between -1 and 1 and not 0"),
        ({"name": "x", "price_rise": float("nan")}, "between -1 and 1 and not 0"),
        ({"name": "x", "extra_leaving": {"behavioural": (0.0, 0.1)}, "source": "s"}, "must state each of"),
        ({"name": "x", "extra_leaving": NOBODY}, "source where it is known from"),
        ({"name": "x", "extra_leaving": NOBODY | {"mixed": (0.2, 0.1)}, "source": "s"}, "low at most high"),
    ],
)
def test_a_shock_without_its_assumptions_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Shock(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shocks": []}, "at least one"),
        ({"shocks": [DEARER, DEARER]}, "a name of its own"),
        ({"horizon_quarters": 0}, "horizon_quarters must be 1 to 80"),
        ({"score_gain": 0.0}, "points of the answer other than 0"),
    ],
)
def test_wrong_requests_are_refused(company: Company, options: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"shocks": [DEARER], "horizon_quarters": 4, "score_gain": 0.5, "seed": 1}
    with pytest.raises(InputError, match=message):
        shock_survival(company.tables, company.panel, "nps", **(asked | options))


def test_reasons(company: Company) -> None:
    tables, panel = company.tables, company.panel
    asked: dict[str, Any] = {"shocks": [FAR], "horizon_quarters": 4, "score_gain": 0.5, "seed": 1}
    assert "retention rule" in str(shock_survival(tables, replace(panel, retention=""), "nps", **asked))
    assert "need transactions and surveys" in str(loyalty_types(replace(tables, surveys=None), panel, "nps"))
    assert "by quarters" in str(loyalty_types(tables, replace(panel, period="month"), "nps"))
    with pytest.raises(InputError, match="as_of must be a quarter of the data"):
        loyalty_types(tables, panel, "nps", as_of="2030Q1")
