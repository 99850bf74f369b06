"""NPS, CSAT and CES: published intervals, the airline survey, repeated answers, two engines, small cells."""

from __future__ import annotations

from types import SimpleNamespace

import duckdb
import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from cxroi.errors import InputError
from cxroi.scores import ces, ces_interval, csat, csat_interval, hidden_cells, nps, nps_interval, score_change
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.tables.dataset import DEFAULT_SCALES, Scale

ENGINES = ("pandas", "duckdb")


def data_set(surveys: pd.DataFrame, customers: pd.DataFrame, engine: str = "pandas", **scales: tuple[int, int]):
    """A data set as scores see it: two frames in an engine, and scales."""
    if engine == "pandas":
        frames = [nw.from_native(frame).lazy() for frame in (surveys, customers)]
    else:
        connection = duckdb.connect()
        frames = [nw.from_native(connection.from_df(frame)) for frame in (surveys, customers)]
    declared = {metric: Scale(low=low, high=high) for metric, (low, high) in scales.items()}
    config = SimpleNamespace(scales=DEFAULT_SCALES | declared)
    return SimpleNamespace(surveys=frames[0], customers=frames[1], config=config)


def answers(scores: list[float | None], customer_ids: list[int] | None = None, metric: str = "nps", **columns):
    ids = customer_ids or list(range(len(scores)))
    return pd.DataFrame(
        {"customer_id": ids, "metric": metric, "score": pd.Series(scores, dtype=float)}
        | {name: pd.Series(values) for name, values in columns.items()}
    )


def people(customer_ids, **columns) -> pd.DataFrame:
    return pd.DataFrame({"customer_id": sorted(set(customer_ids))} | columns)


def simple(scores: list[float | None], customer_ids: list[int] | None = None, metric: str = "nps", **scales):
    surveys = answers(scores, customer_ids, metric)
    return data_set(surveys, people(surveys["customer_id"]), **scales)


@pytest.fixture(scope="module")
def company() -> tuple[pd.DataFrame, pd.DataFrame]:
    """400 customers, four quarters, two metrics, repeated and empty answers, a region that some lack."""
    rng = np.random.default_rng(5)
    rows = 4_000
    customer = rng.integers(0, 400, rows)
    mood = rng.normal(0, 1.6, 400)
    metric = rng.choice(["nps", "csat"], rows)
    wanted = 7.2 + mood[customer] + rng.normal(0, 1.5, rows)
    score = np.where(metric == "nps", np.clip(np.round(wanted), 0, 10), np.clip(np.round(wanted / 2), 1, 5))
    invited = pd.Timestamp("2025-10-01") + pd.to_timedelta(rng.integers(0, 365, rows), unit="D")
    answered = rng.random(rows) < 0.5
    surveys = pd.DataFrame(
        {
            "customer_id": customer,
            "metric": metric,
            "score": np.where(answered, score, np.nan),
            "invited_at": invited,
            "answered_at": pd.Series(invited).where(answered),
            "touchpoint": np.where(metric == "nps", None, rng.choice(["support", "store"], rows)),
        }
    )
    region = rng.choice(["Hà Nội", "Đà Nẵng", "Cần Thơ"], 400).astype(object)
    region[:7] = None
    return surveys, pd.DataFrame({"customer_id": np.arange(400), "region": region, "score": rng.random(400)})


# Rocks (2016) and hand calculation: n + 3, 0.75 to promoters and to detractors
@pytest.mark.parametrize(
    ("counts", "estimate", "low", "high"), [((50, 30, 20), 30.0, 14.1, 44.2), ((15, 0, 0), 100.0, 61.6, 100.0)]
)
def test_nps_adjusted_wald(counts: tuple[int, int, int], estimate: float, low: float, high: float) -> None:
    score = nps_interval(*counts)
    # the limits are published with one digit
    assert (float(score.estimate), float(score.conf_low), float(score.conf_high)) == pytest.approx(
        (estimate, low, high), abs=0.05
    )


def test_csat_counts_the_two_top_answers_among_all() -> None:
    scores = [point for point, count in zip((1, 2, 3, 4, 5), (5, 10, 15, 40, 30), strict=True) for _ in range(count)]
    row = csat(simple(scores, metric="csat")).tidy().iloc[0]
    assert row["estimate"] == pytest.approx(0.70, rel=1e-12)
    assert row["top_box_share"] == pytest.approx(0.30, rel=1e-12)
    # Wilson's limits of 70 of 100 (statsmodels' proportion_confint gives the same)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((0.604151, 0.781051), abs=1e-6)


def test_csat_limits_are_wilsons() -> None:
    from statsmodels.stats.proportion import proportion_confint

    for satisfied, total in ((0, 7), (7, 7), (3, 11), (812, 1000)):
        ours = csat_interval(satisfied, total)
        theirs = proportion_confint(satisfied, total, method="wilson")
        assert (float(ours.conf_low), float(ours.conf_high)) == pytest.approx(theirs, abs=1e-12)


def test_ces_is_a_mean_with_students_interval() -> None:
    scores = [7, 6, 6, 5, 4, 2]
    row = ces(simple(scores, metric="ces")).tidy().iloc[0]
    from scipy import stats

    theirs = stats.ttest_1samp(scores, 0).confidence_interval()
    assert row["estimate"] == pytest.approx(5.0, rel=1e-12)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
    assert row["easy_share"] == pytest.approx(4 / 6, rel=1e-12)


def test_one_answer_has_no_effort_interval() -> None:
    score = ces_interval(5.0, np.nan, 1)
    assert np.isnan(score.conf_low)
    assert float(score.estimate) == 5.0


@pytest.mark.parametrize("engine", ENGINES)
def test_airline_survey(realdata, engine: str) -> None:
    # Reference figures of the airline survey, recommend 1-10, tolerance 1e-6 relative (closed form)
    table = pd.read_csv(realdata / "southeast_nps" / "southeast_nps.csv.gz")
    surveys = answers(table["likelihood_to_recommend"].tolist(), table["respondent_id"].tolist())
    customers = table.rename(columns={"respondent_id": "customer_id"})[
        ["customer_id", "type_of_travel", "airline_status"]
    ]
    airline = data_set(surveys, customers, engine, nps=(1, 10))
    row = nps(airline).tidy().iloc[0]
    assert (row["estimate"], row["std_error"]) == pytest.approx((4.736893, 0.813788), rel=1e-6)
    assert (row["n"], row["promoter_share"], row["detractor_share"]) == pytest.approx(
        (10_281, 0.365237, 0.317868), rel=1e-5
    )
    travel = nps(airline, by="type_of_travel").tidy().set_index("type_of_travel")["estimate"].to_dict()
    expected = {"Business travel": 35.2651, "Mileage tickets": 21.8274, "Personal Travel": -59.1532}
    assert travel == pytest.approx(expected, abs=5e-5)
    status = nps(airline, by="airline_status").tidy().set_index("airline_status")["estimate"].to_dict()
    expected = {"Blue": -10.8542, "Silver": 45.9909, "Gold": 30.0242, "Platinum": 25.6614}
    assert status == pytest.approx(expected, abs=5e-5)


def test_scale_decides_who_promotes() -> None:
    scores = [10, 9, 8, 7, 6, 0]
    assert nps(simple(scores)).tidy()["estimate"][0] == pytest.approx(0.0, abs=1e-12)
    row = nps(simple([5, 5, 4, 3, 2, 1], nps=(1, 5))).tidy().iloc[0]
    assert (row["promoter_share"], row["detractor_share"]) == pytest.approx((3 / 6, 1 / 6))


@pytest.mark.parametrize("by", [None, "region", ["touchpoint", "region"]])
@pytest.mark.parametrize("period", [None, "quarter", "month"])
def test_engines_agree(company, by, period) -> None:
    frames = [csat(data_set(*company, engine), by=by, period=period).tidy() for engine in ENGINES]
    pd.testing.assert_frame_equal(*frames, rtol=1e-12, check_dtype=False)
    changes = [score_change(data_set(*company, engine), "csat", "2026Q1", "2026Q2", by=by).tidy() for engine in ENGINES]
    pd.testing.assert_frame_equal(*changes, rtol=1e-9, check_dtype=False)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores") / "company"
    simulate(folder, customers=1_500, seed=9, file_format="csv")
    return read_tables(folder)


@pytest.mark.parametrize(
    ("measure", "by"), [(nps, None), (nps, ["region", "plan"]), (csat, ["touchpoint", "region"]), (ces, "plan")]
)
def test_a_data_set_that_was_read_gives_the_same_collected(simulated, measure, by) -> None:
    lazy = measure(simulated, by=by, period="quarter").tidy()
    assert lazy["estimate"].notna().sum() >= 8
    assert lazy["response_rate"].dropna().between(0.05, 0.95).all()
    collected = measure(simulated.collect(), by=by, period="quarter").tidy()
    pd.testing.assert_frame_equal(lazy, collected, rtol=1e-12, check_dtype=False)


def test_cells_add_up(company) -> None:
    surveys, _ = company
    tables = data_set(*company)
    of_nps = surveys[surveys["metric"] == "nps"]
    cells = nps(tables, by="region", period="quarter", floor=1).tidy()
    assert cells["n"].sum() == of_nps["score"].notna().sum()
    assert cells["invited"].sum() == len(of_nps)
    assert cells["region"].isna().any()  # customers without a region are a cell, not lost
    overall = nps(tables).tidy().iloc[0]
    weighted = (cells["estimate"] * cells["n"]).sum() / cells["n"].sum()
    assert overall["estimate"] == pytest.approx(weighted, rel=1e-12)
    assert cells["period"].unique().tolist() == ["2025Q4", "2026Q1", "2026Q2", "2026Q3"]


def test_empty_touchpoint_is_the_relationship(company) -> None:
    assert nps(data_set(*company), by="touchpoint").tidy()["touchpoint"].tolist() == ["relationship"]


def test_response_rate_needs_invitations_without_answer() -> None:
    assert nps(simple([9.0, 3.0, 7.0, 9.0, None, 8.0])).tidy()["response_rate"][0] == pytest.approx(5 / 6)
    assert np.isnan(nps(simple([9.0, 3.0, 7.0, 9.0, 8.0])).tidy()["response_rate"][0])


def test_repeating_every_answer_changes_neither_error_nor_limits() -> None:
    # three identical answers of each customer hold what one holds; n/(n-1) against C/(C-1) leaves one part in 3C
    scores = [10] * 60 + [8] * 30 + [3] * 30
    once = nps(simple(scores)).tidy().iloc[0]
    ids = list(range(len(scores)))
    thrice = nps(simple(scores * 3, ids * 3)).tidy().iloc[0]
    assert thrice["n"] == 3 * once["n"]
    assert thrice["customers"] == once["customers"]
    assert thrice["design_effect"] == pytest.approx(3.0, rel=0.01)
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    assert thrice[columns].tolist() == pytest.approx(once[columns].tolist(), rel=0.01)


def test_clustered_error_is_that_of_statsmodels(company) -> None:
    import statsmodels.api as sm

    surveys, _ = company
    asked = surveys[(surveys["metric"] == "nps") & surveys["score"].notna()]
    value = (asked["score"] >= 9).astype(float) - (asked["score"] < 7)
    groups = {"groups": asked["customer_id"].to_numpy(), "use_correction": False}
    fit = sm.OLS(value.to_numpy(), np.ones(len(value))).fit(cov_type="cluster", cov_kwds=groups)
    row = nps(data_set(*company)).tidy().iloc[0]
    assert row["design_effect"] > 1.5
    # ours carries C/(C-1) against n/(n-1)
    assert row["std_error"] == pytest.approx(100 * fit.bse[0], rel=2 / row["customers"])


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_limits_cover_the_truth(spread: float) -> None:
    # 400 draws: 95 % +- 3.3 points are three binomial standard errors
    rng = np.random.default_rng(11)
    mood = np.repeat(rng.normal(0, spread, (20_000, 1)), 3, axis=1)
    population = np.clip(np.round(7.5 + mood + rng.normal(0, 2, mood.shape)), 0, 10)
    truth = 100 * ((population >= 9).mean() - (population < 7).mean())
    hits = 0
    for _ in range(400):
        chosen = population[rng.integers(0, len(population), 80)]
        promoters, detractors = chosen >= 9, chosen < 7
        value = promoters * 1.0 - detractors
        residual = (value - value.mean()).sum(axis=1)
        effect = max(1.0, (residual**2).sum() / ((value - value.mean()) ** 2).sum())
        counts = promoters.sum(), (~promoters & ~detractors).sum(), detractors.sum()
        score = nps_interval(*counts, design_effect=effect)
        hits += bool(score.conf_low <= truth <= score.conf_high)
    assert hits / 400 == pytest.approx(0.95, abs=0.033)


@pytest.mark.parametrize("engine", ENGINES)
def test_small_cells_are_suppressed_and_not_alone(engine: str) -> None:
    ids = [1, 2, 3, 4, 5, *[6] * 5, *range(7, 13)]
    surveys = answers([9.0, 8.0, 3.0, 9.0, 10.0, *[0.0] * 5, *[8.0] * 6], ids)
    customers = people(ids, plan=["a"] * 5 + ["b"] + ["c"] * 6)
    scores = nps(data_set(surveys, customers, engine), by="plan")
    frame = scores.tidy().set_index("plan")
    # b has five answers, but of one person; with a shown, b would be the total less a and c
    assert frame["suppressed"].to_dict() == {"a": True, "b": True, "c": False}
    figures = frame.columns.difference(["metric", "period", "unit", "suppressed"])
    assert frame.loc[["a", "b"], figures].isna().all(axis=None)
    assert frame.loc["c", "n"] == 6
    assert scores.glance()["cells_suppressed"].tolist() == [2]


def test_no_line_of_a_table_has_a_single_hidden_cell() -> None:
    regions, plans = ["n", "s", "w"], ["x", "y", "z"]
    keys = pd.DataFrame([(region, plan) for region in regions for plan in plans], columns=["region", "plan"])
    customers = pd.Series([2.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0])
    hidden = hidden_cells(customers, keys, floor=5)
    table = hidden.to_numpy().reshape(3, 3)
    assert table[0, 0]
    assert not (table.sum(axis=0) == 1).any()
    assert not (table.sum(axis=1) == 1).any()
    assert table.sum() == 4  # and no more than it takes
    nobody = pd.Series([0.0, 20.0, 30.0])
    assert hidden_cells(nobody, keys[["region"]].iloc[:3], floor=5).tolist() == [True, False, False]


def two_quarters(scores_before, scores_after, ids_before, ids_after, metric: str = "nps"):
    surveys = answers([*scores_before, *scores_after], [*ids_before, *ids_after], metric)
    surveys["answered_at"] = pd.to_datetime(["2026-05-02"] * len(scores_before) + ["2026-08-02"] * len(scores_after))
    return data_set(surveys, people(surveys["customer_id"]))


def test_change_of_independent_samples() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 11, 300), rng.integers(2, 11, 200)
    tables = two_quarters(before, after, range(300), range(300, 500))
    row = score_change(tables, "nps", "2026Q2", "2026Q3").tidy().iloc[0]
    parts = nps(tables, period="quarter").tidy()
    assert row["estimate"] == pytest.approx(parts["estimate"].diff().iloc[1], rel=1e-12)
    assert row["std_error"] == pytest.approx(np.hypot(*parts["std_error"]), rel=1e-12)
    assert row["customers_both"] == 0
    # large samples: limits near estimate +- 1.96 standard errors, detectable 2.80 standard errors
    assert row["conf_high"] - row["conf_low"] == pytest.approx(2 * 1.96 * row["std_error"], rel=0.02)
    assert row["smallest_detectable"] == pytest.approx(2.8016 * row["std_error"], rel=0.02)


def test_change_among_the_same_customers_is_a_paired_difference() -> None:
    from scipy import stats

    rng = np.random.default_rng(4)
    before = rng.integers(1, 7, 250).astype(float)
    after = np.clip(before + rng.integers(-1, 3, 250), 1, 7)
    tables = two_quarters(before, after, range(250), range(250), "ces")
    row = score_change(tables, "ces", "2026Q2", "2026Q3").tidy().iloc[0]
    paired = stats.ttest_rel(after, before)
    theirs = paired.confidence_interval()
    assert row["customers_both"] == 250
    # n against n-1 in the covariance
    assert row["std_error"] == pytest.approx((after - before).std(ddof=1) / np.sqrt(250), rel=0.02)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_no_change_of_a_perfect_score_is_not_certain() -> None:
    tables = two_quarters([10.0] * 15, [10.0] * 15, range(15), range(20, 35))
    row = score_change(tables, "nps", "2026Q2", "2026Q3").tidy().iloc[0]
    assert row["estimate"] == 0.0
    # each side reaches down to 61.6
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((-38.4, 38.4), abs=0.05)


def test_change_by_month_and_small_cells(company) -> None:
    frame = score_change(data_set(*company), "nps", "2026-01", "2026-02", by="region").tidy()
    assert frame["before"].unique().tolist() == ["2026-01"]
    assert frame.loc[frame["region"].isna(), "suppressed"].tolist() == [True]
    assert frame["estimate"].notna().tolist() == (~frame["suppressed"]).tolist()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t: csat(t, by="regoin"), "'regoin' is none of them .*did you mean region"),
        (lambda t: csat(t, by="customer_id"), "'customer_id' is none of them"),
        (lambda t: ces(t), "there are none. Metrics with answers: csat, nps"),
        (lambda t: score_change(t, "nps", "2026Q1", "2026-02"), "two different quarters or two different months"),
        (lambda t: score_change(t, "nps", "2026Q1", "2026Q1"), "two different quarters or two different months"),
        (lambda t: score_change(t, "nps", "2026Q1", "2027Q1"), "none in 2027Q1. Answers lie between 2025Q4 and 2026Q3"),
        (lambda t: score_change(t, "ces", "2026Q1", "2026Q2"), "there are none. Metrics with answers: csat, nps"),
        (lambda t: score_change(t, "NPS", "2026Q1", "2026Q2"), "must be one of nps, csat, ces; got 'NPS'"),
        (lambda t: score_change(t, "nps", "Q1", "2026Q1"), "must be written like 2026Q3"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be_asked(company, engine: str, call, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call(data_set(*company, engine))


def test_periods_need_dates() -> None:
    with pytest.raises(InputError, match="surveys have no dates"):
        nps(simple([9.0, 8.0]), period="quarter")


def test_without_surveys() -> None:
    tables = SimpleNamespace(surveys=None, customers=None, config=None)
    with pytest.raises(InputError, match="this data set has none"):
        nps(tables)


def test_results_stay_as_they_are(company) -> None:
    scores = nps(data_set(*company), by="region")
    frame = scores.tidy()
    frame["estimate"] = 0.0
    assert (scores.tidy()["estimate"].dropna() != 0).any()
    assert repr(scores) == repr(scores.tidy())
    with pytest.raises(AttributeError):
        scores.cells = None


# Scales that the metrics are not defined for


def test_of_two_points_only_the_better_one_is_satisfied() -> None:
    half = simple([0.0, 1.0] * 50, metric="csat", csat=(0, 1))
    assert csat(half).glance()["estimate"].iloc[0] == pytest.approx(0.5)
    three = simple([1.0, 2.0, 3.0] * 30, metric="csat", csat=(1, 3))
    assert csat(three).glance()["estimate"].iloc[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("metric", "scale"), [("nps", (0, 100)), ("nps", (0, 1)), ("csat", (0, 100))])
def test_another_scale_is_refused(metric: str, scale: tuple[int, int]) -> None:
    strange = simple([float(scale[1])] * 20, metric=metric, **{metric: scale})
    with pytest.raises(InputError, match=f"the scale of {metric} must be"):
        {"nps": nps, "csat": csat}[metric](strange)
