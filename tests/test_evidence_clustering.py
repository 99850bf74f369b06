"""Clustering by other groupings: published two-way errors, exact wild bootstrap, a linkage by account, brand or store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

from cxroi.errors import InputError
from cxroi.evidence.clustering import (
    GroupSums,
    cluster_columns,
    clustered_by,
    clustering_checks,
    contributions,
    group_sums,
    two_way,
    wild_bootstrap,
)
from cxroi.linkage import Linkage, standard_linkages
from cxroi.linkage.fit import Fit, Floats, Ints, fit, mean_slope
from cxroi.panel import Panel, build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables

SAME_ARITHMETIC = 1e-9  # relative; the same sums in another order

# Two ways at once


def _clustered(columns: Floats, outcome: Floats, *groupings: Ints) -> Fit:
    """Least squares clustered by the cells of the groupings."""
    cells = pd.DataFrame(dict(enumerate(groupings))).groupby(list(range(len(groupings)))).ngroup().to_numpy()
    order = np.argsort(cells, kind="stable")
    return fit(columns[order], outcome[order], cells[order], family="gaussian")


@pytest.mark.realdata
def test_petersen_two_way(realdata: Path) -> None:
    # Petersen (2009), test data published with the paper: 8 decimals are given.
    rows = pd.read_csv(realdata / "panel" / "petersen.csv")
    columns, outcome = np.column_stack([np.ones(len(rows)), rows["x"]]), rows["y"].to_numpy()
    firm, year = rows["firmid"].to_numpy(), rows["year"].to_numpy()
    one, other = _clustered(columns, outcome, firm), _clustered(columns, outcome, year)
    covariance = two_way(one, other, _clustered(columns, outcome, firm, year))
    assert one.std_errors[1] == pytest.approx(0.05059573, abs=5.1e-9)
    assert other.std_errors[1] == pytest.approx(0.03338891, abs=5.1e-9)
    assert np.sqrt(covariance[1, 1]) == pytest.approx(0.05356103, abs=5.1e-9)


def _crossed(seed: int, rows: int = 600) -> tuple[Floats, Floats, Ints, Ints]:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 20, rows), rng.integers(0, 12, rows)
    x = rng.normal(size=20)[first] + rng.normal(size=12)[second] + rng.normal(size=rows)
    y = rng.normal(size=20)[first] + rng.normal(size=12)[second] + rng.normal(size=rows)
    return np.column_stack([np.ones(rows), x]), y, first, second


@pytest.mark.parametrize("seed", range(3))
def test_two_way_against_statsmodels(seed: int) -> None:
    columns, outcome, first, second = _crossed(seed)
    covariance = two_way(
        _clustered(columns, outcome, first),
        _clustered(columns, outcome, second),
        _clustered(columns, outcome, first, second),
    )
    reference = cov_cluster_2groups(OLS(outcome, columns).fit(), first, second)[0]
    assert np.diag(covariance) == pytest.approx(np.diag(reference), rel=1e-8)


def test_two_way_has_no_negative_variance() -> None:
    columns, outcome, _, _ = _crossed(4)
    by_row = _clustered(columns, outcome, np.arange(len(outcome)))
    small = replace(by_row, factors=tuple((left, right * 0.1**0.5) for left, right in by_row.factors))
    assert np.linalg.eigvalsh(two_way(small, small, by_row)).min() >= -1e-18


def test_two_way_of_different_equations_is_refused() -> None:
    columns, outcome, first, second = _crossed(5)
    one, other = _clustered(columns, outcome, first), _clustered(columns, outcome + columns[:, 1], second)
    with pytest.raises(InputError, match="one equation"):
        two_way(one, other, one)


# Few groups


def _grouped(seed: int, groups: int, rows_a_group: int = 12) -> tuple[Floats, Floats, Ints]:
    """Rows whose regressor and error both differ by group; the slope is 0."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(groups), rows_a_group)
    x = rng.normal(size=groups)[codes] + 0.5 * rng.normal(size=len(codes))
    y = 0.7 * rng.normal(size=groups)[codes] + rng.normal(size=len(codes))
    return np.column_stack([np.ones(len(codes)), x]), y, codes


def _sums(columns: Floats, outcome: Floats, codes: Ints) -> tuple[GroupSums, float]:
    slope = np.linalg.lstsq(columns, outcome, rcond=None)[0]
    return group_sums(columns, outcome - columns @ slope, np.ones(len(codes)), codes), float(slope[1])


def _by_refitting(columns: Floats, outcome: Floats, codes: Ints, null: float) -> float:
    """p-value of the wild cluster restricted bootstrap with all sign patterns, by fitting each simulated outcome."""
    groups = int(codes.max()) + 1
    moved = outcome - null * columns[:, 1]
    restricted = moved.mean()

    def t_of(target: Floats) -> float:
        found = fit(columns, target, codes, family="gaussian")
        return abs(float(found.coefficients[1])) / float(found.std_errors[1])

    patterns = [[1.0 if number >> place & 1 else -1.0 for place in range(groups)] for number in range(2**groups)]
    simulated = [t_of(restricted + (moved - restricted) * np.array(pattern)[codes]) for pattern in patterns]
    return float(np.mean(np.array(simulated) >= t_of(moved) * (1 - 1e-9)))


@pytest.mark.parametrize("seed", range(3))
def test_wild_bootstrap_is_exact_for_a_linear_model(seed: int) -> None:
    columns, outcome, codes = _grouped(seed, groups=7)
    outcome = outcome + 0.8 * columns[:, 1]
    sums, slope = _sums(columns, outcome, codes)
    found = wild_bootstrap(sums, np.array([0.0, 1.0]), estimate=slope, weights="rademacher")
    assert found.p_value == _by_refitting(columns, outcome, codes, 0.0)
    assert found.conf_low < slope < found.conf_high
    step = 0.002 * found.std_error  # the limits are found to a thousandth of a standard error
    for limit, inwards in ((found.conf_low, step), (found.conf_high, -step)):
        if np.isfinite(limit):
            assert _by_refitting(columns, outcome, codes, limit + inwards) > 0.05
            assert _by_refitting(columns, outcome, codes, limit - inwards) <= 0.05


def test_wild_bootstrap_keeps_its_level_where_t_intervals_do_not() -> None:
    seeds, normal, wild = 300, 0, 0
    for seed in range(seeds):
        columns, outcome, codes = _grouped(seed, groups=8)
        sums, slope = _sums(columns, outcome, codes)
        found = wild_bootstrap(sums, np.array([0.0, 1.0]), estimate=slope, draws=399, seed=seed)
        normal += abs(slope) > 1.96 * found.std_error
        wild += found.p_value <= 0.05
    # Binomial error of 300 seeds at 5 % is 1.3 points; the normal interval rejects about 15 %.
    assert normal / seeds > 0.10
    assert wild / seeds < 0.09


def test_wild_bootstrap_of_counts_keeps_its_level() -> None:
    seeds, false_alarms = 200, 0
    for seed in range(seeds):
        columns, noise, codes = _grouped(seed, groups=10)
        rng = np.random.default_rng(10_000 + seed)
        outcome = rng.poisson(np.exp(0.4 * noise)).astype(float)
        fitted = fit(columns, outcome, codes, family="poisson")
        average = np.exp(columns @ fitted.coefficients)
        sums = group_sums(columns, outcome - average, mean_slope(average, "poisson"), codes)
        found = wild_bootstrap(sums, np.array([0.0, 1.0]), estimate=fitted.coefficients[1], draws=399, seed=seed)
        false_alarms += found.p_value <= 0.05
    assert false_alarms / seeds < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / seeds)


def test_three_groups_exclude_nothing_with_signs() -> None:
    columns, outcome, codes = _grouped(1, groups=3)
    sums, slope = _sums(columns, outcome, codes)
    found = wild_bootstrap(sums, np.array([0.0, 1.0]), estimate=slope, weights="rademacher")
    assert (found.conf_low, found.conf_high) == (-np.inf, np.inf)  # the smallest possible p-value is 1/4
    assert found.p_value >= 0.25


def test_choice_of_weights_and_seed() -> None:
    for groups, weights in ((11, "webb"), (12, "rademacher")):
        columns, outcome, codes = _grouped(2, groups=groups)
        sums, slope = _sums(columns, outcome, codes)
        first, again, other = (
            wild_bootstrap(sums, np.array([0.0, 1.0]), estimate=slope, draws=999, seed=seed) for seed in (1, 1, 2)
        )
        assert first.weights == weights
        assert first == again
        assert first.conf_low != other.conf_low
    with pytest.raises(InputError, match="at least 2"):
        wild_bootstrap(GroupSums(np.zeros((1, 2)), np.eye(2)[None]), np.array([0.0, 1.0]), estimate=0.0)


# A linkage by another grouping


def _with_groups(panel: Panel) -> Panel:
    """The panel with accounts (15), stores (90, not known for some customers) and sides (one value) declared."""
    customers = np.arange(panel.rows["customer"].max() + 1)
    accounts, stores = customers * 7 % 15, customers * 11 % 90
    codes = panel.rows["customer"].to_numpy()
    store = pd.Series(stores[codes].astype(str)).where(customers[codes] % 50 > 0)
    rows = panel.rows.assign(
        account=pd.Categorical(accounts[codes].astype(str)),
        store=pd.Categorical(store),
        side=pd.Categorical(["x"] * len(codes)),
    )
    return replace(panel, rows=rows, segments=(*panel.segments, "account", "store", "side"))


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    place = tmp_path_factory.mktemp("clustering") / "clean"
    simulate(place, world="clean", customers=3_000, seed=6)
    return build_panel(read_tables(place))


@pytest.fixture(scope="module")
def linkages(panel: Panel) -> dict[tuple[str, str], Linkage]:
    """All standard linkages; the groupings are declared after the fit."""
    found = standard_linkages(panel, "nps")
    return {
        key: replace(one, panel=_with_groups(one.panel), retention=_regrouped(one.retention))
        for key, one in found.items()
        if isinstance(one, Linkage)
    }


def _regrouped(linkage: Linkage | None) -> Linkage | None:
    return None if linkage is None else replace(linkage, panel=_with_groups(linkage.panel))


def test_contributions_by_customer_give_the_reported_error(linkages: dict[tuple[str, str], Linkage]) -> None:
    for (_, method), linkage in linkages.items():
        by_row = contributions(linkage)
        by_customer = np.bincount(linkage.panel.answered("nps")["customer"].to_numpy(), by_row)
        reported = float(linkage.marginal_effect()["std_error"].iloc[0])
        error = float(np.sqrt((by_customer**2).sum()))
        if method == "raw":
            assert error == pytest.approx(reported, rel=SAME_ARITHMETIC)
        else:  # the rest is the sampling error of the base's level, a small part in a sample of thousands
            assert 0.95 * reported < error <= reported * (1 + SAME_ARITHMETIC)


@pytest.mark.parametrize("outcome", ["retained", "orders"])
@pytest.mark.parametrize("column", ["account", "period"])
def test_clustering_by_a_column_equals_a_fit_sorted_by_it(
    linkages: dict[tuple[str, str], Linkage], outcome: str, column: str
) -> None:
    linkage = linkages[outcome, "raw"]
    rows = linkage.panel.answered("nps").iloc[linkage.used].sort_values(column, kind="stable")
    codes = pd.factorize(rows[column])[0]
    columns = np.column_stack([np.ones(len(rows)), rows["nps"]])
    refitted = fit(columns, rows[outcome].to_numpy(dtype=float), codes, family=linkage.fitted.family)
    assert linkage.design.columns == ("Intercept", "nps")
    gradient = linkage.effect.gradient
    expected = float(np.sqrt(gradient @ refitted.covariance @ gradient))
    table = clustered_by(linkage, column).set_index("method")
    assert table.loc[column, "std_error"] == pytest.approx(expected, rel=1e-6)  # two converged fits
    assert table.loc[column, "groups"] == len(np.unique(codes))


def test_table_of_a_column_that_customers_keep(linkages: dict[tuple[str, str], Linkage]) -> None:
    for linkage in linkages.values():
        table = clustered_by(linkage, "account").set_index("method")
        average = linkage.marginal_effect().iloc[0]
        assert table.index.tolist() == ["customer", "account", "customer and account", "wild bootstrap"]
        assert (table["estimate"] == average["estimate"]).all()
        assert table.loc["customer", "std_error"] == pytest.approx(average["std_error"], rel=1e-6)
        assert table.loc["customer and account", "std_error"] == pytest.approx(
            table.loc["account", "std_error"], rel=SAME_ARITHMETIC
        )
        margin = special.stdtrit(14, 0.975) * table.loc["account", "std_error"]
        assert table.loc["account", "conf_high"] == pytest.approx(average["estimate"] + margin, rel=SAME_ARITHMETIC)
        assert table.loc["wild bootstrap", "conf_low"] < average["estimate"] < table.loc["wild bootstrap", "conf_high"]


def test_two_ways_of_a_column_that_crosses_customers(linkages: dict[tuple[str, str], Linkage]) -> None:
    linkage = linkages["orders", "raw"]
    table = clustered_by(linkage, "period").set_index("method")["std_error"] ** 2
    rows = linkage.panel.answered("nps").iloc[linkage.used]
    columns = np.column_stack([np.ones(len(rows)), rows["nps"]])
    white = fit(columns, rows["orders"].to_numpy(dtype=float), np.arange(len(rows)), family="poisson")
    cells = float(linkage.effect.gradient @ white.covariance @ linkage.effect.gradient)
    expected = max(table["customer"] + table["period"] - cells, 0)
    assert table["customer and period"] == pytest.approx(expected, rel=1e-3)  # the factors of cells differ by 1/N


def test_customers_without_a_value_are_groups_of_their_own(linkages: dict[tuple[str, str], Linkage]) -> None:
    linkage = linkages["retained", "raw"]
    rows = linkage.panel.answered("nps").iloc[linkage.used]
    alone = rows.loc[rows["store"].isna(), "customer"].nunique()
    assert alone > 0
    table = clustered_by(linkage, "store").set_index("method")
    assert table.loc["store", "groups"] == rows["store"].nunique() + alone
    assert "wild bootstrap" not in table.index


def test_accounts_that_resemble_each_other_overturn_an_interval(panel: Panel) -> None:
    # Score and orders both shift by account, unrelated to each other: the truth is no relation at all.
    grouped = _with_groups(panel)
    rng = np.random.default_rng(3)
    shifts = dict(zip(grouped.rows["account"].cat.categories, rng.normal(size=(15, 2)), strict=True))
    moved = np.array([shifts[account] for account in grouped.rows["account"]])
    stayed = grouped.rows["retained"] == 1
    orders = rng.poisson(3.0 * np.exp(0.4 * moved[:, 1])).astype(float)
    rows = grouped.rows.assign(
        nps=5.0 + 2.0 * moved[:, 0] + rng.normal(size=len(moved)), orders=np.where(stayed, orders, 0.0)
    )
    planted = standard_linkages(replace(grouped, rows=rows), "nps", methods=("raw",))["orders", "raw"]
    assert isinstance(planted, Linkage)
    table = clustered_by(planted, "account").set_index("method")
    assert table.loc["account", "std_error"] > 3 * table.loc["customer", "std_error"]
    check = clustering_checks(planted, ["account"]).iloc[0]
    assert table.loc["customer", "conf_low"] > 0 or table.loc["customer", "conf_high"] < 0
    assert check["verdict"] == "fail"
    assert check["number"] > 3
    assert "15 groups, wild bootstrap" in check["advice"]


def test_accounts_that_do_not_matter_pass(linkages: dict[tuple[str, str], Linkage]) -> None:
    linkage = linkages["retained", "adjusted"]
    assert cluster_columns(linkage) == ["account", "store"]
    checks = clustering_checks(linkage)
    assert checks["name"].tolist() == ["clusters: account", "clusters: store"]
    assert checks["verdict"].tolist() == ["pass", "pass"]


def test_same_seed_same_table(linkages: dict[tuple[str, str], Linkage]) -> None:
    linkage = linkages["margin", "adjusted"]
    pd.testing.assert_frame_equal(clustered_by(linkage, "account", seed=4), clustered_by(linkage, "account", seed=4))


def test_columns_that_are_no_clusters(linkages: dict[tuple[str, str], Linkage]) -> None:
    linkage = linkages["retained", "raw"]
    with pytest.raises(InputError, match=r"'shop' is not\. Declared: .*account"):
        clustered_by(linkage, "shop")
    with pytest.raises(InputError, match="side has 1"):
        clustered_by(linkage, "side")
    with pytest.raises(InputError, match="plan predicts retention perfectly"):
        clustered_by(replace(linkage, predicting=("plan",)), "account")
