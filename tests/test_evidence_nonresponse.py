"""Who answers: the population's score against simulated truth, the frame against the panel, bounds against their own identities."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import special

from cxroi.evidence import invitations as invitations_module
from cxroi.evidence import nonresponse as module
from cxroi.evidence.invitations import asked_rows, repeated_answers
from cxroi.evidence.nonresponse import NonResponse, nonresponse, nonresponse_bounds, nonresponse_checks
from cxroi.evidence.population import Answers, Measure, corrected_shares, solve, weighted_scores
from cxroi.linkage import Linkage, standard_linkages
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate, world_named
from cxroi.tables import Tables, read_tables

METHODS = ["answered", "known behaviour", "own answer"]


class Company:
    """A simulated company with its panel, its truth and what non-response says of it."""

    def __init__(self, folder: Path, world: str, *, noise: float = 0.2, text: bool = False) -> None:
        made = replace(world_named(world), answer_noise_sd=noise)
        truth = simulate(folder, world=made, customers=2_000, seed=4, file_format="csv" if text else "parquet")
        self.folder = folder
        self.truth = json.loads(truth.read_text(encoding="utf-8"))
        self.tables: Tables = read_tables(folder)
        self.panel: Panel = build_panel(self.tables)
        found = nonresponse(self.tables, self.panel, "nps")
        assert isinstance(found, NonResponse)
        self.found = found

    def population(self, method: str) -> pd.DataFrame:
        """Figures of a method beside the truth, a row a period, the last for all of them."""
        truth = pd.DataFrame(self.truth["population_nps"]).rename(columns={"estimate": "truth"})
        overall = float(np.average(truth["truth"], weights=truth["active"]))
        truth.loc[len(truth)] = ["all", overall, truth["active"].sum()]
        own = self.found.population
        return own[own["method"] == method].merge(truth, on="period")

    def adjusted(self, outcome: str) -> Linkage:
        linkage = standard_linkages(self.panel, "nps", methods=("adjusted",))[outcome, "adjusted"]
        assert isinstance(linkage, Linkage)
        return linkage


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nonresponse")


@pytest.fixture(scope="module")
def selective(place: Path) -> Company:
    return Company(place / "selective", "selective-answering", text=True)


@pytest.fixture(scope="module")
def clean(place: Path) -> Company:
    return Company(place / "clean", "clean")


def test_selective_answering_is_undone(selective: Company) -> None:
    """Satisfied and active customers answer more: NPS of those who answer is 25 points too high, of the population right."""
    own = selective.population("own answer")
    assert (own["n_population"] == own["active"]).all()
    z = (own["estimate"] - own["truth"]) / own["std_error"]
    assert z.abs().max() < 3.0  # nine correlated figures
    assert own["conf_low"].iloc[-1] < own["truth"].iloc[-1] < own["conf_high"].iloc[-1]
    for method in METHODS[:2]:
        naive = selective.population(method).iloc[-1]
        assert naive["conf_low"] > naive["truth"] + 5.0
    assert selective.found.slope == pytest.approx(0.6, abs=3 * selective.found.slope_std_error)
    assert selective.found.slope_std_error < 0.1


def test_random_silence_changes_nothing(clean: Company) -> None:
    for method in METHODS:
        whole = clean.population(method).iloc[-1]
        assert whole["conf_low"] < whole["truth"] < whole["conf_high"], method
    assert abs(clean.found.slope) < 3 * clean.found.slope_std_error
    assert clean.found.comparison["difference"].abs().max() < 0.12  # sampling: 0.025 a difference, 20 of them


def test_noise_in_answers_does_not_mislead(place: Path) -> None:
    """Selection and noisy answers at once: without moving the noise back the figure is about 10 points too low."""
    noisy = Company(place / "noisy", "selective-answering", noise=1.1)
    whole = noisy.population("own answer").iloc[-1]
    assert whole["conf_low"] < whole["truth"] < whole["conf_high"]
    assert noisy.found.noise == pytest.approx(1.21, abs=0.9)  # standard error 0.4 with so few repeated answers
    assert noisy.population("answered").iloc[-1]["estimate"] > whole["truth"] + 15.0


def test_frame_is_the_panels_base(selective: Company) -> None:
    assert_frame_is_base(selective.tables, selective.panel)


def test_frame_is_the_panels_base_under_repurchase(selective: Company, place: Path) -> None:
    folder = variant(selective, place / "repurchase", {"retention": {"rule": "repurchase", "window_days": 150}})
    customers = pd.read_csv(folder / "customers.csv", dtype=str)
    customers.drop(columns="left_on").to_csv(folder / "customers.csv", index=False)
    tables = read_tables(folder)
    panel = build_panel(tables)
    assert_frame_is_base(tables, panel)


def assert_frame_is_base(tables: Tables, panel: Panel) -> None:
    """Numbers and means of everybody at risk are those that the panel counts in the engine."""
    rows, recorded, every = asked_rows(tables, panel, "nps")
    assert (recorded, every) == (True, 1)
    base = panel.base[panel.base["level"] == ""]
    for column in (
        "log_tenure",
        "log_orders_now",
        "log_orders_before",
        "periods_since_order",
        "retained",
        "orders",
        "margin",
    ):
        own = base[base["column"] == column].set_index("period")
        mine = rows.groupby("period")[column].agg(["size", "mean"]).loc[own.index]
        if column == "log_tenure":
            assert (mine["size"] == own["n"]).all()
        np.testing.assert_allclose(mine["mean"], own["mean"], rtol=1e-9, err_msg=column)


def variant(company: Company, folder: Path, changes: dict[str, object]) -> Path:
    shutil.copytree(company.folder, folder)
    described = yaml.safe_load((folder / "dataset.yaml").read_text(encoding="utf-8"))
    (folder / "dataset.yaml").write_text(yaml.safe_dump(described | changes, allow_unicode=True), encoding="utf-8")
    return folder


def test_engines_agree(selective: Company) -> None:
    of_duckdb, _, _ = asked_rows(selective.tables, selective.panel, "nps")
    of_pandas, _, _ = asked_rows(selective.tables.collect(), selective.panel, "nps")
    pd.testing.assert_frame_equal(of_pandas, of_duckdb, check_dtype=False, rtol=1e-12)


def test_sampled_customers_give_the_same_answer(selective: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations_module, "MOST_CUSTOMERS", 1_000)
    half = nonresponse(selective.tables, selective.panel, "nps")
    assert isinstance(half, NonResponse)
    assert half.every == 2
    whole, few = (one.population.iloc[-1] for one in (selective.found, half))
    assert 0.4 < few["n_answered"] / whole["n_answered"] < 0.6
    assert abs(few["estimate"] - whole["estimate"]) < 2 * few["std_error"]
    assert "one in 2 customers" in nonresponse_checks(half)["advice"].iloc[0]


def test_answers_only(selective: Company, place: Path) -> None:
    """Without invitations everybody at risk counts as invited, and a check says so."""
    folder = variant(selective, place / "answers-only", {})
    surveys = pd.read_csv(folder / "surveys.csv", dtype=str)
    surveys[surveys["score"].notna()].drop(columns="invited_at").to_csv(folder / "surveys.csv", index=False)
    tables = read_tables(folder)
    found = nonresponse(tables, build_panel(tables), "nps")
    assert isinstance(found, NonResponse)
    assert not found.invitations_recorded
    assert found.slope > 0.2
    check = nonresponse_checks(found).set_index("name").loc["response rate"]
    assert check["verdict"] == "warn"
    assert "not recorded" in check["advice"]


@pytest.mark.parametrize("exposure", ["csat", "ces"])
def test_touchpoint_scores(selective: Company, exposure: str) -> None:
    found = nonresponse(selective.tables, selective.panel, exposure)
    assert isinstance(found, NonResponse)
    whole = found.population[found.population["period"] == "all"].set_index("method")["estimate"]
    assert (
        whole["known behaviour"] < whole["answered"] + 0.01
    )  # active customers answer more; in ces hardly more satisfied
    low, high = (0.0, 1.0) if exposure == "csat" else (1.0, 7.0)
    assert whole.between(low, high).all()


def test_weights_give_back_everybody() -> None:
    """The weighted answers have the population's size and means of all that is known and of earlier answers."""
    answers = drawn(np.random.default_rng(1))
    found = solve(answers, own_answer=True)
    assert found.converged
    z = np.column_stack([answers.known, answers.earlier])
    given = answers.answered
    chance = np.exp(z[given] @ found.inviting)
    x = np.column_stack([answers.known, answers.score - np.nanmean(answers.score)])[given]
    weight = chance * (1 + np.exp(-x @ found.answering))
    np.testing.assert_allclose(weight @ z[given], z.sum(axis=0), atol=1e-5 * len(z))  # Newton's tolerance


def test_standard_errors_are_those_of_repeated_samples(clean: Company) -> None:
    """Slope and score of 60 samples with known selection spread as their standard errors say."""
    generator = np.random.default_rng(8)
    measure = Measure("nps", (0.0, 10.0), 0.0)
    slopes, scores = [], []
    for _ in range(60):
        answers = drawn(generator)
        found = solve(answers, own_answer=True)
        whole = weighted_scores(answers, found, measure, clean.panel, "own answer").iloc[-1]
        slopes.append((found.slope, found.slope_std_error))
        scores.append((whole["estimate"], whole["std_error"]))
    truth = 100 * (special.ndtr((7.0 - 8.5) / 1.5) - special.ndtr((6.5 - 7.0) / 1.5))  # before rounding
    for values, expected in ((slopes, 0.5), (scores, truth)):
        estimates, errors = np.array(values).T
        assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.35)  # 60 draws: 9 % and the errors' own spread
        assert np.mean(estimates) == pytest.approx(expected, abs=4 * np.mean(errors) / np.sqrt(60))


def drawn(generator: np.random.Generator) -> Answers:
    """Customers seen once; answering depends on satisfaction (0.5 a point) and a known trait, inviting on the trait."""
    n = 3_000
    trait, past, now = generator.standard_normal((3, n))
    level = 0.5 * trait + past
    score = np.rint(7.0 + 1.5 * (level + 0.6 * now) / np.sqrt(0.25 + 1.0 + 0.36))
    invited = generator.random(n) < special.expit(0.5 + 0.5 * trait)
    answered = invited & (generator.random(n) < special.expit(0.2 + 0.5 * (score - 7.0) - 0.4 * trait))
    return Answers(
        known=np.column_stack([np.ones(n), trait]),
        earlier=level + 0.5 * generator.standard_normal(n),
        invited=invited,
        answered=answered,
        score=np.where(answered, score, np.nan),
        period=np.zeros(n, dtype=np.int64) + 8100,
        customer=np.arange(n),
    )


@pytest.mark.parametrize("slope", [0.6, -0.4])
@pytest.mark.parametrize("noise", [0.0, 1.2])
def test_noise_moved_back_is_exact_for_normal_noise(slope: float, noise: float) -> None:
    """Answers weighted by exp(-slope·answer), noise moved back, count what the silent would: an integral over satisfaction."""
    satisfaction = np.linspace(-3.0, 13.0, 1_601)  # beyond the scale, so that clipping plays no part
    deviations = np.linspace(-5.0, 5.0, 401)
    density = np.exp(-((satisfaction - 5.0) ** 2) / 4.0)
    normal = np.exp(-(deviations**2) / 2)
    answer = np.rint(satisfaction[:, None] + np.sqrt(noise) * deviations)
    measure = Measure("nps", (0.0, 10.0), noise)
    joint = density[:, None] * normal
    silent = np.exp(-slope * satisfaction)[:, None] * joint
    wanted = float((silent * corrected_shares(answer, measure, 0.0)).sum() / silent.sum())
    weight = np.exp(-slope * answer) * joint
    got = float((weight * corrected_shares(answer, measure, slope * noise)).sum() / weight.sum())
    assert got == pytest.approx(wanted, abs=0.035)  # rounding itself, spread evenly, is not quite normal
    if noise:
        unmoved = float((weight * corrected_shares(answer, measure, 0.0)).sum() / weight.sum())
        assert abs(unmoved - wanted) > 3 * abs(got - wanted)


def test_repeated_answers_find_the_parts() -> None:
    generator = np.random.default_rng(5)
    customers, span = 3_000, 6
    wave = generator.standard_normal(customers)
    seen = []
    level = 1.1 * generator.standard_normal(customers)
    for _ in range(span):
        seen.append(level + wave + 1.0 * generator.standard_normal(customers))
        wave = 0.6 * wave + 0.8 * generator.standard_normal(customers)
    score = np.column_stack(seen).ravel()
    score[generator.random(len(score)) < 0.3] = np.nan
    rows = pd.DataFrame(
        {
            "customer": np.repeat(np.arange(customers), span),
            "period": np.tile(np.arange(span), customers),
            "score": score,
        }
    )
    parts, predicted = repeated_answers(rows)
    error = np.sqrt((parts.influence**2).sum())
    assert 0.01 < error < 0.2
    assert parts.noise + 1 / 12 == pytest.approx(1.0, abs=4 * error)
    assert parts.lasting + parts.fading == pytest.approx(2.21, abs=0.35)  # 4 standard errors
    last = (rows["period"] == span - 1) & rows["score"].notna()
    given = rows.loc[last, "score"].to_numpy()
    slope = np.polyfit(predicted[last.to_numpy()], given, 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)  # a prediction is on the scale of what it predicts
    assert (predicted[rows["period"] == 0] == 0).all()


def test_the_silents_outcomes_are_compared(selective: Company, clean: Company) -> None:
    comparison = selective.found.comparison.set_index("column")
    assert comparison.loc["log_orders_now", "difference"] > 0.3
    assert comparison.loc["orders", "conf_low"] > 0.05
    assert selective.found.slopes["outcome"].tolist() == ["retained", "orders", "margin"]
    response = selective.found.response.set_index("term")
    assert response.loc["log_orders_now", "conf_low"] > 0.1
    assert response.loc["earlier answers", "conf_low"] > 0.2
    assert response.loc["satisfaction", "estimate"] == selective.found.slope
    for company in (selective, clean):  # selection on the answer alone leaves the relation among the silent as it is
        differs = (company.found.slopes["conf_low"] > 0) | (company.found.slopes["conf_high"] < 0)
        assert differs.sum() <= 1


def test_supposed_selection_spans_the_found_one(selective: Company) -> None:
    """Supposing the slope that was found gives the figure that was found."""
    level, found = selective.found.level, selective.found
    assert level["estimate"].is_monotonic_decreasing
    own = selective.population("own answer").iloc[-1]["estimate"]
    assert level["strength"].iloc[-1] == pytest.approx(found.slope * found.standard_deviation)
    assert level["estimate"].iloc[-1] == pytest.approx(own, abs=1e-4)
    middle = selective.population("known behaviour").iloc[-1]["estimate"]
    assert level["estimate"].iloc[2] == pytest.approx(middle, abs=1e-9)


@pytest.mark.parametrize("outcome", ["retained", "margin"])
def test_bounds(clean: Company, outcome: str) -> None:
    linkage = clean.adjusted(outcome)
    bounds = nonresponse_bounds(linkage, observed=-1.8, steps=3)
    assert bounds.groupby("tilt")["strength"].max().tolist() == [1.8, 0.5]
    own = linkage.marginal_effect().iloc[0]
    untilted = bounds[bounds["strength"] == 0]
    for column in ("estimate", "conf_low", "conf_high"):
        assert untilted[column].to_numpy() == pytest.approx([own[column]] * 2, rel=1e-6)  # Newton's tolerance
    joint = bounds[bounds["tilt"] == "answer and outcome"]
    assert joint["estimate"].is_monotonic_decreasing
    crossing = joint["crosses_zero_at"].iloc[0]
    before, after = joint[joint["strength"] < crossing], joint[joint["strength"] > crossing]
    assert before["estimate"].iloc[-1] > 0 > after["estimate"].iloc[0]


def test_bounds_on_fewer_customers(clean: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refitted on every second customer, the untilted figure stays and the others move alike."""
    linkage = clean.adjusted("margin")
    whole = nonresponse_bounds(linkage, steps=2)
    monkeypatch.setattr(module, "MOST_BOUND_ROWS", len(clean.panel.answered("nps")) // 2 + 1)
    half = nonresponse_bounds(linkage, steps=2)
    np.testing.assert_allclose(half.loc[half["strength"] == 0, "estimate"], linkage.effect.estimate, rtol=1e-6)
    apart = (half["estimate"] - whole["estimate"]).abs()
    assert apart.max() > 0
    assert apart.max() < 3 * (whole["conf_high"] - whole["conf_low"]).max()


def test_checks(selective: Company, clean: Company) -> None:
    bounds = nonresponse_bounds(clean.adjusted("retained"), steps=2)
    of_clean = nonresponse_checks(clean.found, bounds).set_index("name")
    of_selective = nonresponse_checks(selective.found).set_index("name")
    assert set(of_clean["verdict"]) <= {"pass", "warn", "fail"}
    for name in ("selection on the answer", "score had everybody answered"):
        assert of_clean.loc[name, "verdict"] == "pass"
        assert of_selective.loc[name, "verdict"] == "warn"
    assert of_selective.loc["answered against silent, before", "verdict"] == "warn"
    assert "not at random: answer" in of_clean.index
    assert "the satisfied answer more often" in of_selective.loc["selection on the answer", "advice"]


def test_selection_that_cannot_be_seen(selective: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST_REPEATED", 1_400)  # answers and silence enough, repeated invitations not
    found = nonresponse(selective.tables, selective.panel, "nps")
    assert isinstance(found, NonResponse)
    assert "own answer" not in set(found.population["method"])
    assert np.isnan(found.slope)
    check = nonresponse_checks(found).set_index("name").loc["score under supposed selection"]
    assert check["verdict"] == "warn"
    assert check["number"] > 10.0


def test_no_ids_in_results(selective: Company) -> None:
    ids = selective.tables.customers.select("customer_id").collect()["customer_id"].to_list()
    assert str(ids[0]).startswith("KH")
    found = selective.found
    frames = (found.comparison, found.response, found.slopes, found.population, found.level, nonresponse_checks(found))
    assert not any("KH0" in frame.to_csv() for frame in frames)


def test_reasons(selective: Company) -> None:
    assert "no answers to ces" in str(nonresponse(selective.tables, replace(selective.panel, metrics=("nps",)), "ces"))
    without = replace(selective.tables, transactions=None)
    assert "outcomes by period instead" in str(nonresponse(without, selective.panel, "nps"))
