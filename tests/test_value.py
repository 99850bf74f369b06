"""Lifetime value: by hand where it can be, identities of paths and responses, how a score lasts, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from cxroi import periods
from cxroi.errors import InputError
from cxroi.linkage import Linkage, estimate_persistence, standard_linkages
from cxroi.panel import HISTORY, Panel, ReferralTerms, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import CustomerValue, estimate, lifetime_value, score_bands
from cxroi.value import forward as forward_room
from cxroi.value.lifetime import value_from_linkages
from cxroi.value.referrals import NO_SHARE

FIRST = periods.index("2024Q1")
QUARTERS = 12
RATE = 0.12


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """A simulated company with answers to nps only."""
    folder = tmp_path_factory.mktemp("value") / "clean"
    simulate(folder, world="clean", customers=1_500, seed=12)
    built = build_panel(read_tables(folder))
    return replace(built, rows=built.rows[built.rows["nps"].notna()].reset_index(drop=True), metrics=("nps",))


def valued(panel: Panel, *, quarters: int = QUARTERS, rate: float = RATE, seed: int = 1) -> CustomerValue:
    return lifetime_value(
        panel, exposure="nps", horizon_quarters=quarters, annual_discount_rate=rate, seed=seed, draws=40
    )


@pytest.fixture(scope="module")
def value(panel: Panel) -> CustomerValue:
    return valued(panel)


# By hand: two groups of answers, so that the fitted curves go through both


def two_groups(*, kept: tuple[int, int], margins: tuple[float, float], last: Sequence[float] = (5.0,)) -> Panel:
    """A hundred customers who answered 0 and a hundred who answered 10, one quarter, no controls.

    ``kept`` of each hundred stay, with a mean margin of ``margins``; active customers gave the answers ``last``.
    """
    parts = []
    for score, stayed, margin in zip((0.0, 10.0), kept, margins, strict=True):
        retained = (np.arange(100) < stayed).astype(float)
        # alternating around the mean, in pairs, because outcomes that never differ are refused
        swing = np.where(np.arange(100) % 2 == 0, 0.5, -0.5)
        spent = retained * margin * (1 + 0.2 * swing)
        parts.append(
            pd.DataFrame(
                {
                    "nps": score,
                    "retained": retained,
                    "orders": retained * (2 + swing),
                    "revenue": spent,
                    "margin": spent,
                }
            )
        )
    rows = pd.concat(parts, ignore_index=True)
    rows.insert(0, "customer", np.arange(len(rows)))
    rows.insert(1, "period", FIRST)
    return Panel(
        rows=rows.assign(nps_answers=1),
        base=pd.DataFrame(columns=["period", "column", "level", "n", "mean", "mean_square"]),
        active=pd.DataFrame({"last_nps": np.repeat(np.array(last, dtype=float), 60), "nps_age": 1.0, "weight": 1.0}),
        accounting=pd.DataFrame(columns=["stage", "reason", "rows"]),
        period="quarter",
        last_period=FIRST + 1,
        timing="before",
        metrics=("nps",),
        controls=(),
        history=(),
        segments=(),
        currency="VND",
        score_ranges={"nps": (0.0, 10.0)},
        retention="contract",
    )


def on_the_curves(score: float) -> tuple[float, float]:
    """Probability of staying and margin at an answer, between the two groups of 80 % and 90 %, 100 and 200."""
    share = score / 10
    log_odds = (1 - share) * np.log(0.8 / 0.2) + share * np.log(0.9 / 0.1)
    return float(1 / (1 + np.exp(-log_odds))), float(100 ** (1 - share) * 200**share)


def by_hand(score: float) -> np.ndarray:
    """Margin per customer in quarters 1…H, shape (QUARTERS,)."""
    stay, margin = on_the_curves(score)
    return margin * stay ** np.arange(1, QUARTERS + 1)


DISCOUNT = 1.12 ** (-np.arange(1, QUARTERS + 1) / 4)


@pytest.mark.parametrize(("days", "is_valued"), [(None, True), (92, True), (90, True), (365, False), (31, False)])
def test_only_quarterly_outcomes_are_run_forward(days: int | None, is_valued: bool) -> None:
    found = valued(replace(two_groups(kept=(90, 90), margins=(250.0, 250.0)), outcome_days=days))
    assert (found.reason == "") == is_valued
    if not is_valued:
        assert found.reason == f"lifetime value is computed from quarterly outcomes; these periods have {days} days"


def test_constant_hazard_and_margin() -> None:
    found = valued(two_groups(kept=(90, 90), margins=(250.0, 250.0)))
    expected = float((250 * 0.9 ** np.arange(1, QUARTERS + 1)) @ DISCOUNT)
    assert found.value_draws()[0] == pytest.approx(expected, rel=1e-9)
    # no group is better than the other, so a point is worth nothing
    assert found.point_draws()[0] == pytest.approx(0, abs=1e-6)
    path = found.path()
    assert path["survival"].to_numpy() == pytest.approx(0.9 ** np.arange(1, QUARTERS + 1), rel=1e-9)
    assert path["orders_per_customer"].to_numpy() == pytest.approx(2.0, rel=1e-9)
    assert path["margin_per_order"].to_numpy() == pytest.approx(125.0, rel=1e-9)
    assert found.persistence is None
    assert found.evidence == "association"  # nothing is held fixed


def test_value_of_a_point_follows_both_curves() -> None:
    found = valued(two_groups(kept=(80, 90), margins=(100.0, 200.0)))
    assert found.value_draws()[0] == pytest.approx(by_hand(5) @ DISCOUNT, rel=1e-9)
    assert found.point_draws()[0] == pytest.approx((by_hand(6) - by_hand(5)) @ DISCOUNT, rel=1e-8)


def test_bands_start_from_their_own_answers() -> None:
    found = valued(two_groups(kept=(80, 90), margins=(100.0, 200.0), last=(3, 7, 9.5, np.nan)))
    table = found.tidy().set_index("band")["estimate"]
    expected = {"detractor": 3, "passive": 7, "promoter": 9.5, "no answer": 5}  # nobody's answer: the mean
    for band, score in expected.items():
        assert table[band] == pytest.approx(by_hand(score) @ DISCOUNT, rel=1e-9)


def gained(found: CustomerValue, gains: np.ndarray) -> np.ndarray:
    """Change of margin by quarter that the response kernel gives, at the estimates, shape (QUARTERS,)."""
    paths = found._paths
    return paths.through_retention[0] * np.cumsum(gains) + paths.through_spend[0] * gains


def test_response_is_exact_for_half_a_point_that_lasts() -> None:
    found = valued(two_groups(kept=(80, 90), margins=(100.0, 200.0)))
    half = np.full(QUARTERS, forward_room.SECANT_POINTS)
    assert half[0] == 0.5
    assert gained(found, half) == pytest.approx(by_hand(5.5) - by_hand(5), rel=1e-8)


def test_response_splits_what_comes_from_staying_and_from_spending() -> None:
    staying = valued(two_groups(kept=(80, 90), margins=(150.0, 150.0)))._paths
    spending = valued(two_groups(kept=(85, 85), margins=(100.0, 200.0)))._paths
    assert staying.through_spend[0] == pytest.approx(0, abs=1e-6)
    assert (staying.through_retention[0] > 0.1).all()
    assert spending.through_retention[0] == pytest.approx(0, abs=1e-6)
    assert (spending.through_spend[0] > 0.1).all()


# Level, season, ageing


def test_estimates_do_not_depend_on_who_represents_whom(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    few = valued(panel)
    monkeypatch.setattr(forward_room, "REPRESENTATIVES", 900)
    many = valued(panel)
    assert many.tidy()["estimate"].to_numpy() == pytest.approx(few.tidy()["estimate"].to_numpy(), rel=1e-9)
    assert many.value_draws()[1:].std() == pytest.approx(few.value_draws()[1:].std(), rel=0.2)


def test_the_season_of_the_last_quarter_is_taken_out_and_a_trend_is_not(panel: Panel) -> None:
    """Orders fall by 5 % a quarter and are 20 % higher in the quarter that the last one is of."""
    last = periods.index("2026Q3")
    known = np.arange(last - 9, last)  # of a base row t the orders lie in t + 1
    high = (known + 1) % 4 == last % 4
    rate = 2.0 * 0.95 ** np.arange(len(known)) * np.where(high, 1.2, 1.0)
    parts = [pd.DataFrame({"period": known, "column": "orders", "mean": 0.9 * rate})]
    parts.append(pd.DataFrame({"period": known, "column": "retained", "mean": 0.9}))
    base = pd.concat(parts).assign(level="", n=100, mean_square=1.0)
    people = pd.DataFrame({"orders_now": [1.0, 3.0], "margin_now": [10.0, 30.0]})
    found = forward_room._without_season(replace(panel, base=base, last_period=last), people)
    season = 1.2 ** (3 / 4)  # against the geometric mean of a year
    assert found["orders_now"].to_numpy() == pytest.approx(people["orders_now"] / season, rel=1e-9)
    short = base[base["period"] > last - 5]
    unknown = forward_room._without_season(replace(panel, base=short, last_period=last), people)
    assert unknown["orders_now"].to_numpy() == pytest.approx(people["orders_now"])


def test_shapes_of_ageing_fit_the_same_data(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """log(1 + n) is the equation's own; another shape keeps the slope that a regression of one on the other gives."""
    monkeypatch.setattr(forward_room, "SHAPES", (1.0, 1.0))
    shape, stretch = forward_room._shapes_of_ageing(panel, 3, np.random.default_rng(1))
    assert shape == pytest.approx(np.ones((4, 1)))
    assert stretch == pytest.approx(np.ones((4, 1)))
    monkeypatch.setattr(forward_room, "SHAPES", (4.0, 4.0))
    seen = panel.rows["periods_before"].to_numpy()
    expected = np.polyfit(np.log(4.0 + seen), np.log1p(seen), 1)[0]
    assert forward_room._shapes_of_ageing(panel, 1, np.random.default_rng(1))[1] == pytest.approx(expected, rel=1e-9)


def test_a_point_adds_to_the_path_as_far_as_the_data_reach_back(value: CustomerValue) -> None:
    """0.2 log-odds of staying at once, and 0.05 less for every quarter in which it may have kept people who else had left."""
    assert value.retention is not None
    assert value.margin is not None
    rows = value.margin.panel.rows.assign(periods_before=2.0)
    panel = replace(value.margin.panel, rows=rows)
    equations = replace(value._equations, panel=panel, referrals=None, service_cost=None)
    people = forward_room._everybody(equations).head(2).assign(share=0.5, satisfaction=1.5, satisfaction_level=1.5)
    nothing = np.zeros((1, 1))
    parts = {
        linkage.outcome: forward_room._Equation(
            linkage,
            predictor=np.full((1, 2), level),
            slope=np.full((1, 1), slope),
            bend=nothing,
            path=np.full((1, 1), path),
            ageing=[nothing, nothing],
        )
        for linkage, level, slope, path in ((value.retention, 2.0, 0.2, -0.05), (value.margin, 0.0, 0.0, 0.0))
    }
    fades = np.full((1, 1), 0.5)
    found = forward_room._follow(equations, people, parts, 4, (np.ones((1, 1)), np.ones((1, 1)), fades))
    lasting, fading = np.array([0.0, 1, 2, 2]), np.array([0.0, 1, 1.5, 1.5])  # points so far, of two quarters at most
    assert found["higher"][0] == pytest.approx(np.cumprod(special.expit(2.2 - 0.05 * lasting)), rel=1e-12)
    gain = 0.2 * 0.5 ** np.arange(4) - 0.05 * fading
    assert found["fading"][0] == pytest.approx(np.cumprod(special.expit(2.0 + gain)), rel=1e-12)
    # how satisfied people are anyway is in their path already
    assert found["baseline"][0] == pytest.approx(special.expit(2.0) ** np.arange(1, 5), rel=1e-12)


def test_customers_who_lastingly_do_otherwise_than_others_like_them_widen_the_draws(
    value: CustomerValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal customers the share that does not cancel is one over the root of their number; 4,000 draws are within 4 %."""
    assert value.margin is not None
    lasting = np.sqrt(forward_room._lasting_variance(value.margin))
    assert lasting > 0
    monkeypatch.setattr(forward_room, "_frailty", lambda retention: 0.49)
    equations, everybody = value._equations, forward_room._everybody(value._equations)
    survival = np.array([1.0, np.exp(-0.5)])
    margin = np.ones(len(everybody))
    whole, bands = forward_room._own_ways(equations, everybody, margin, survival, 4_000, np.random.default_rng(1))
    assert whole.shape == (4_001, 2)
    assert (whole[0] == 1).all()
    assert (bands[0] == 1).all()
    sizes = everybody["band"].value_counts().reindex(score_bands(value.panel, "nps").cat.categories).to_numpy()
    for quarter, each in enumerate((lasting, np.hypot(lasting, 0.7 * 0.5))):
        assert bands[1:, quarter].std(axis=0) == pytest.approx(each / np.sqrt(sizes), rel=0.05)
        assert whole[1:, quarter].std() == pytest.approx(each / np.sqrt(len(everybody)), rel=0.05)


def test_unseen_staying_power_is_read_from_the_fall_of_the_hazard(value: CustomerValue) -> None:
    """Customers with own log-odds of staying of variance 1.2 leave behind a hazard that falls by about that times the cumulated one."""
    generator = np.random.default_rng(5)
    power = 2.2 + np.sqrt(1.2) * generator.standard_normal(400_000)
    there, hazards = np.ones(len(power)), []
    for _ in range(9):
        hazards.append(1 - np.average(1 / (1 + np.exp(-power)), weights=there))
        there = there / (1 + np.exp(-power))
    rise = np.log((1 - hazards[-1]) / hazards[-1]) - np.log((1 - hazards[0]) / hazards[0])
    level = 1 - float(np.mean(hazards))
    retention = value.retention
    assert retention is not None
    rows = retention.panel.rows.assign(periods_before=np.linspace(0, 8, len(retention.panel.rows)).round())
    coefficients = retention.fitted.coefficients.copy()
    coefficients[retention.design.columns.index("log_observed")] = rise / np.log(9)
    seen = replace(
        retention,
        panel=replace(retention.panel, rows=rows),
        fitted=replace(retention.fitted, coefficients=coefficients),
        level=(level, 0.0),
    )
    # the variance of those left falls, so the mean over the time seen lies between a half and all of what it was at the start
    assert 0.6 < forward_room._frailty(seen) < 1.2
    none = replace(seen, fitted=replace(retention.fitted, coefficients=coefficients * 0.0))
    assert forward_room._frailty(none) == 0


# Beside margin: referrals and cost to serve


def with_referrals_and_touches(terms: ReferralTerms | None) -> Panel:
    """Groups that stay alike with 80 and 90 %, make 0.1 and 0.4 referrals if they stay and cost 20 and 10 to serve."""
    plain = two_groups(kept=(80, 90), margins=(100.0, 200.0))
    high = (plain.rows["nps"] == 10).to_numpy()
    swing = plain.rows["orders"] - 2 * plain.rows["retained"]
    amounts = {
        name: plain.rows["retained"] * np.where(high, high_amount, low_amount) * (1 + 0.2 * swing)
        for name, low_amount, high_amount in (("referrals", 0.1, 0.4), ("service_cost", 20.0, 10.0))
    }
    return replace(plain, rows=plain.rows.assign(**amounts), referral_terms=terms)


def staying(score: float) -> np.ndarray:
    return on_the_curves(score)[0] ** np.arange(1, QUARTERS + 1)


def test_cost_to_serve_and_referrals_stand_beside_margin() -> None:
    terms = ReferralTerms(would_have_come=0.25, source="survey of new customers", saved_cost=30.0, saved_cost_error=0.0)
    found = valued(with_referrals_and_touches(terms))
    paths, half = found._paths, forward_room.SECANT_POINTS

    def change(low: float, high: float) -> np.ndarray:
        now, more = (staying(score) * low ** (1 - score / 10) * high ** (score / 10) for score in (5, 5 + half))
        return (more - now) / half

    assert paths.service_cost is not None
    assert paths.referrals is not None
    assert paths.service_cost[0] == pytest.approx(change(20, 10), rel=1e-7)
    assert paths.referrals[0] == pytest.approx(change(0.1, 0.4), rel=1e-7)
    response = found.response(QUARTERS)
    assert response.lacking == {}
    assert response.through_service == pytest.approx(-paths.service_cost[1:])
    # customers like today's, until the horizon ends, discounted to the quarter of the referral: at each draw
    each = paths.baseline[1:]
    worth = [0.75 * each[:, : QUARTERS - h] @ DISCOUNT[: QUARTERS - h] + 30 for h in range(1, QUARTERS + 1)]
    assert response.through_referrals == pytest.approx(paths.referrals[1:] * np.column_stack(worth))


def test_channels_beside_margin_leave_the_others_as_they_are() -> None:
    plain = valued(two_groups(kept=(80, 90), margins=(100.0, 200.0))).response(QUARTERS)
    beside = valued(with_referrals_and_touches(None)).response(QUARTERS)
    for name in ("baseline", "through_retention", "through_spend"):
        assert getattr(beside, name) == pytest.approx(getattr(plain, name), rel=1e-12)
    assert plain.through_service is None
    assert plain.through_referrals is None
    assert plain.lacking["through_service"].startswith("the data have no touches with a stated cost")
    assert plain.lacking["through_referrals"].startswith("the data have no referrals")
    assert beside.through_service is not None
    assert beside.through_referrals is None  # nobody said how many would have come anyway
    assert beside.lacking == {"through_referrals": NO_SHARE}


def test_draws_of_cost_to_serve_go_with_those_of_staying() -> None:
    """A draw in which a point keeps more customers is one in which it costs more to serve them."""
    found = valued(with_referrals_and_touches(None), seed=3)
    paths = replace(found, draws=400)._paths
    assert paths.service_cost is not None
    together = np.corrcoef(paths.through_retention[1:, -1], paths.service_cost[1:, -1])[0, 1]
    assert together > 0.2


def test_terms_of_referrals_come_from_the_data_set(tmp_path: Path) -> None:
    simulate(tmp_path / "company", world="clean", customers=1_500, seed=4)
    described = tmp_path / "company" / "dataset.yaml"
    assert build_panel(read_tables(tmp_path / "company")).referral_terms is None
    text = described.read_text(encoding="utf-8")
    described.write_text(f"{text}referrals: {{would_have_come: 0.3, source: survey}}\n", encoding="utf-8")
    panel = replace(build_panel(read_tables(tmp_path / "company")), metrics=("nps",))
    terms = panel.referral_terms
    assert terms is not None
    assert (terms.would_have_come, terms.source) == (0.3, "survey")
    people = pd.read_parquet(tmp_path / "company" / "customers.parquet")
    brought = people["customer_id"].isin(pd.read_parquet(tmp_path / "company" / "referrals.parquet")["referred_id"])
    begins = pd.read_parquet(tmp_path / "company" / "transactions.parquet")["occurred_at"].min()
    cost = people.loc[pd.to_datetime(people["joined_on"]) >= begins, "acquisition_cost"].groupby(brought)
    assert terms.saved_cost == pytest.approx(cost.mean()[False] - cost.mean()[True], rel=1e-9)
    assert terms.saved_cost_error == pytest.approx(np.sqrt((cost.sem() ** 2).sum()), rel=1e-9)
    response = valued(panel).response(4)
    assert response.through_referrals is not None
    assert response.through_service is not None
    # the last quarter's referrals save cost and bring nothing within the horizon
    assert np.abs(response.through_referrals[:, 0]).mean() > np.abs(response.through_referrals[:, -1]).mean()
    described.write_text(f"{text}referrals: {{would_have_come: 1.3, source: ' '}}\n", encoding="utf-8")
    with pytest.raises(InputError) as fault:
        read_tables(tmp_path / "company")
    assert "referrals.would_have_come" in str(fault.value)
    assert "referrals.source: it must say where the share is from" in str(fault.value)


# Identities on a simulated company


def test_response_is_near_for_a_whole_point_and_for_a_fading_one(panel: Panel) -> None:
    straight = standard_linkages(panel, "nps", methods=("raw", "adjusted"))  # without the bend of expected satisfaction
    generator = np.random.default_rng(1)
    value = value_from_linkages(panel, straight, "nps", (QUARTERS, RATE), generator=generator, seed=1, draws=40)
    point = gained(value, np.ones(QUARTERS)) @ value.discount
    # curvature between half a point and one point: hazards of a few per cent, slopes of a few hundredths
    assert point == pytest.approx(value.point_draws()[0], rel=0.03)
    assert value.persistence is not None
    fading = gained(value, value.persistence.fade ** np.arange(QUARTERS)) @ value.discount
    assert fading == pytest.approx(value.point_draws(fading=True)[0], rel=0.03)
    assert value.point_draws(fading=True)[0] < value.point_draws()[0]


def test_response_holds_the_draws_without_the_estimate(value: CustomerValue) -> None:
    response = value.response(QUARTERS)
    assert response.baseline.shape == (40, QUARTERS)
    assert (response.baseline == value._paths.baseline[1:]).all()
    assert response.reason == ""
    assert response.customers == value.customers > 0
    assert value.persistence is not None
    assert response.persistence is value.persistence.fade_draws
    assert response.score_range == (value.panel.rows["nps"].min(), value.panel.rows["nps"].max())
    # a shorter horizon is the beginning of the longer one
    assert value.response(4).through_spend == pytest.approx(response.through_spend[:, :4], rel=1e-12)


def test_path_is_survival_times_orders_times_margin_per_order(value: CustomerValue) -> None:
    path = value.path()
    product = path["survival"] * path["orders_per_customer"] * path["margin_per_order"]
    assert product.to_numpy() == pytest.approx(path["margin"], rel=1e-12)
    assert path["discounted_margin"].sum() == pytest.approx(value.value_draws()[0], rel=1e-12)
    assert (path["survival"].diff().dropna() < 0).all()
    assert path["survival"].between(0, 1).all()
    assert ((path["low"] < path["margin"]) & (path["margin"] < path["high"])).all()


def test_bands_average_to_the_whole(value: CustomerValue) -> None:
    table = value.tidy()
    bands = table[(table["measure"] == "lifetime_value") & (table["band"] != "all")]
    assert bands["customers"].sum() == value.customers
    average = np.average(bands["estimate"], weights=bands["customers"])
    assert average == pytest.approx(value.value_draws()[0], rel=1e-9)
    ordered = bands.set_index("band")["estimate"]
    assert ordered["detractor"] < ordered["promoter"]  # true in this company


def test_more_discount_less_value_and_no_discount_is_the_plain_sum() -> None:
    value = valued(two_groups(kept=(80, 90), margins=(100.0, 200.0)))
    worth = {rate: replace(value, annual_discount_rate=rate).value_draws()[0] for rate in (0.0, 0.05, 0.12, 0.5)}
    assert list(worth.values()) == sorted(worth.values(), reverse=True)
    assert worth[0.0] == pytest.approx(value.path()["margin"].sum(), rel=1e-12)
    assert replace(value, horizon_quarters=4).value_draws()[0] < worth[RATE]


def test_seed_decides_the_draws_and_nothing_else(panel: Panel, value: CustomerValue) -> None:
    again, other = valued(panel), replace(value, seed=2)
    assert (again.value_draws() == value.value_draws()).all()
    assert (again.point_draws(fading=True) == value.point_draws(fading=True)).all()
    assert other.value_draws()[0] == value.value_draws()[0]
    assert (other.value_draws()[1:] != value.value_draws()[1:]).all()
    assert value.value_draws()[1:].std() > 0


def test_draws_centre_on_the_estimate(value: CustomerValue) -> None:
    draws = value.point_draws()
    error = draws[1:].std(ddof=1) / np.sqrt(len(draws) - 1)
    # four standard errors of the mean, and a fifth of the spread for curvature
    assert abs(draws[1:].mean() - draws[0]) < 4 * error + draws[1:].std() / 5


def test_estimates_hold_the_same_value(panel: Panel, value: CustomerValue) -> None:
    table = estimate(panel, seed=1, draws=40).tidy()
    own = table[table["outcome"] == "ltv"].set_index("estimand")["estimate"]
    assert panel.value_terms == (36, 0.12)
    # the table has ten digits
    assert own["ame"] == pytest.approx(value.point_draws()[0], rel=1e-8)
    assert own["ame_fading"] == pytest.approx(value.point_draws(fading=True)[0], rel=1e-8)


# How long a score lasts


def repeated(*, lasting: float, fading: float, fade: float, noise: float, count: int = 8) -> pd.DataFrame:
    """Answers of 4,000 customers: variances of a stable part, an AR(1) and noise."""
    rng = np.random.default_rng(14)
    size = 4_000
    stable = np.sqrt(lasting) * rng.standard_normal(size)
    wave = np.sqrt(fading) * rng.standard_normal(size)
    frames = []
    for number in range(count):
        given = 7 + stable + wave + np.sqrt(noise) * rng.standard_normal(size)
        frames.append(pd.DataFrame({"customer": np.arange(size), "period": FIRST + number, "nps": given}))
        wave = fade * wave + np.sqrt(fading * (1 - fade**2)) * rng.standard_normal(size)
    return pd.concat(frames).sort_values(["customer", "period"], ignore_index=True)


def lasts(panel: Panel, rows: pd.DataFrame, draws: int = 200):  # type: ignore[no-untyped-def]
    changed = replace(panel, rows=rows, metrics=("nps",))
    return estimate_persistence(changed, "nps", generator=np.random.default_rng(15), draws=draws)


def test_persistence_recovers_stable_fading_and_noise(panel: Panel) -> None:
    found = lasts(panel, repeated(lasting=1.0, fading=1.0, fade=0.6, noise=0.5))
    # 4,000 customers × 8: the standard error of the fade is 0.03, of the parts 0.06; three of each
    assert found.fade == pytest.approx(0.6, abs=0.09)
    assert found.lasting == pytest.approx(1.0, abs=0.18)
    assert found.fading == pytest.approx(1.0, abs=0.18)
    assert found.variance == pytest.approx(2.5, abs=0.15)
    low, high = np.quantile(found.fade_draws, [0.005, 0.995])
    assert low < 0.6 < high
    assert high - low < 0.4
    expected = (1.0 + 0.6 ** np.arange(1, 4)) / 2.5
    assert found.correlation(np.arange(1, 4)) == pytest.approx(expected, abs=0.05)


def test_persistence_of_a_stable_score_and_of_noise(panel: Panel) -> None:
    stable = lasts(panel, repeated(lasting=1.0, fading=0.0, fade=0.5, noise=1.0))
    # standard error of a correlation of 4,000 customers at several lags: below 0.015
    assert stable.correlation(np.array([1.0, 20.0])) == pytest.approx([0.5, 0.5], abs=0.05)
    noise = lasts(panel, repeated(lasting=0.0, fading=0.0, fade=0.5, noise=1.0))
    assert noise.correlation(np.array([1.0, 5.0])) == pytest.approx([0, 0], abs=0.05)


def test_persistence_needs_three_lags(panel: Panel) -> None:
    rows = repeated(lasting=1.0, fading=1.0, fade=0.6, noise=0.5, count=4)
    assert lasts(panel, rows) is not None
    assert lasts(panel, rows[rows["period"] < FIRST + 3]) is None
    assert lasts(panel, rows[rows["period"] == FIRST]) is None
    assert lasts(panel, rows.assign(nps=7.0)) is None


def test_no_persistence_no_fading_value() -> None:
    found = valued(two_groups(kept=(80, 90), margins=(100.0, 200.0)))
    with pytest.raises(InputError, match="four quarters or more"):
        found.point_draws(fading=True)
    assert found.checks().set_index("name").loc["persistence", "verdict"] == "warn"
    assert found.response(4).persistence is None


# Refusals and reasons


@pytest.mark.parametrize(
    ("quarters", "rate", "sentence"),
    [
        (0, 0.1, r"horizon_quarters must lie in 1\.\.80; got 0"),
        (81, 0.1, r"horizon_quarters must lie in 1\.\.80; got 81"),
        (4, -0.01, r"annual_discount_rate must lie in 0\.\.1 \(0\.12 is 12 % a year\); got -0\.01"),
        (4, 12.0, "got 12"),
        (4, float("nan"), "got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(panel: Panel, quarters: int, rate: float, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        valued(panel, quarters=quarters, rate=rate)


def test_other_refusals(panel: Panel, value: CustomerValue) -> None:
    with pytest.raises(InputError, match="must have a quarterly panel"):
        valued(replace(panel, period="month"))
    with pytest.raises(InputError, match="must have answers to ces; it has nps"):
        lifetime_value(panel, exposure="ces", horizon_quarters=4, annual_discount_rate=0.1, seed=1)
    for quarters in (0, 81):
        with pytest.raises(InputError, match=f"horizon_quarters must lie in 1..80; got {quarters}"):
            value.response(quarters)


def test_a_reason_instead_of_figures(panel: Panel) -> None:
    found = valued(replace(panel, rows=panel.rows.assign(retained=1.0)))
    assert found.reason == "retention: 0 answers of customers who left; at least 10 are needed"
    assert found.tidy().empty
    assert found.glance()["reason"].tolist() == [found.reason]
    response = found.response(8)
    assert response.reason == found.reason
    assert response.baseline.shape == (0, 8)


def test_monthly_estimates_and_missing_terms_say_why_there_is_no_value() -> None:
    small = two_groups(kept=(80, 90), margins=(100.0, 200.0))
    bare = estimate(small, draws=10).tidy()
    (reason,) = bare.loc[bare["outcome"] == "ltv", "method"]
    assert "no value: {horizon_months, annual_discount_rate}" in reason
    monthly = estimate(replace(small, period="month", value_terms=(36, 0.12)), draws=10).tidy()
    (reason,) = monthly.loc[monthly["outcome"] == "ltv", "method"]
    assert "computed from a quarterly panel" in reason


def test_value_without_answers(tmp_path: Path) -> None:
    simulate(tmp_path / "company", world="clean", customers=600, seed=13, quarters=4)
    tables = read_tables(tmp_path / "company")
    silent = build_panel(replace(tables, surveys=None))
    found = lifetime_value(silent, exposure="", horizon_quarters=4, annual_discount_rate=0.12, seed=1, draws=10)
    assert found.value_draws()[0] > 0
    assert found.reason == "the data have no answers, so nothing links a score to value"
    assert found.tidy()["measure"].unique().tolist() == ["lifetime_value"]
    assert found.response(4).reason == found.reason
    assert score_bands(silent, "").unique().tolist() == ["no answer"]
    table = estimate(silent).tidy()
    assert table["estimate"].isna().all()
    assert set(table["method"]) == {"not estimated: the data have no answers"}


def test_value_stands_on_the_linkages_it_shows(value: CustomerValue) -> None:
    assert all(isinstance(part, Linkage) for part in (value.retention, value.orders, value.margin))
    names = value.checks()["name"]
    assert names.str.startswith("retained: ").any()
    assert (names == "persistence").sum() == 1
    assert set(HISTORY) >= set(value.panel.history)


def test_a_last_period_whose_staying_nobody_knows_yet_leaves_the_figures_finite(tmp_path: Path) -> None:
    simulate(tmp_path / "shop", world="clean", customers=2_500, seed=3, file_format="csv")
    described = tmp_path / "shop" / "dataset.yaml"
    rule = "rule: repurchase\n  window_days: 180"
    described.write_text(described.read_text(encoding="utf-8").replace("rule: contract", rule), encoding="utf-8")
    customers = pd.read_csv(tmp_path / "shop" / "customers.csv")
    customers.drop(columns="left_on").to_csv(tmp_path / "shop" / "customers.csv", index=False)
    panel = build_panel(read_tables(tmp_path / "shop"))
    last = panel.rows["period"].max()
    assert panel.rows.loc[panel.rows["period"] == last, "retained"].isna().all()
    found = standard_linkages(panel, "nps", methods=("adjusted", "calibrated"))
    for linkage in found.values():
        assert isinstance(linkage, Linkage)
        assert np.abs(linkage.fitted.coefficients).max() < 50
        assert linkage.fitted.converged
