"""Three real exports, unmodified, through the recipes of docs/recipes: what must come out, and what must be refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import cxroi as cx
from cxroi.case import Case
from cxroi.cli import main
from cxroi.errors import InputError
from cxroi.panel import Panel
from cxroi.tables import Tables
from cxroi.value import COLUMNS, Estimates

EXPORTS = {
    "telco": ("telco/telco_customers.csv.gz", "telco/telco_surveys.csv"),
    "southeast": ("southeast_nps/southeast_nps.csv.gz",),
    "online-retail": ("online_retail/online_retail.parquet",),
}
pytestmark = pytest.mark.realdata


@dataclass(frozen=True)
class Recipe:
    """A data set made as its page says, read and estimated once."""

    folder: Path
    page: str
    tables: Tables
    panel: Panel
    estimates: Estimates

    def row(self, **wanted: str) -> pd.Series:
        """The one row of ``estimates.csv`` with these values."""
        table = self.estimates.tidy()
        found = table[np.logical_and.reduce([table[column] == value for column, value in wanted.items()])]
        assert len(found) == 1, found
        return found.iloc[0]

    def refused(self, outcome: str) -> str:
        """The reason in the one row of an outcome that has no estimate."""
        table = self.estimates.tidy()
        found = table[(table["outcome"] == outcome) & table["estimate"].isna()]
        assert len(found) == 1, found
        return str(found["method"].iloc[0])


def _data_set(name: str, root: Path, realdata: Path, place: Path) -> Path:
    folder = place / name
    folder.mkdir(parents=True)
    for described in sorted((root / "docs" / "recipes" / name).glob("*.yaml")):
        (folder / described.name).write_bytes(described.read_bytes())
    for export in EXPORTS[name]:
        (folder / Path(export).name).symlink_to(realdata / export)
    return folder


def _recipe(name: str, root: Path, realdata: Path, place: Path) -> Recipe:
    folder = _data_set(name, root, realdata, place)
    tables = cx.read_tables(folder)
    panel = cx.build_panel(tables)
    page = (root / "docs" / "recipes" / f"{name}.md").read_text(encoding="utf-8")
    return Recipe(folder, page, tables, panel, cx.estimate(panel))


@pytest.fixture(scope="module")
def telco(root: Path, realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return _recipe("telco", root, realdata, tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def southeast(root: Path, realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return _recipe("southeast", root, realdata, tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def retail(root: Path, realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return _recipe("online-retail", root, realdata, tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def passengers(realdata: Path) -> pd.DataFrame:
    return pd.read_csv(realdata / EXPORTS["southeast"][0])


@pytest.fixture(scope="module")
def lines(realdata: Path) -> pd.DataFrame:
    return pd.read_parquet(realdata / EXPORTS["online-retail"][0])


def _says(page: str, *sentences: str) -> None:
    """The page says all of it, wherever its lines break."""
    text = " ".join(page.split())
    missing = [sentence for sentence in sentences if sentence not in text]
    assert not missing


def _number(value: float, digits: int) -> str:
    """As the pages write numbers: thousands with commas, a true minus."""
    return f"{value:,.{digits}f}".replace("-", "−")


# ---------------------------------------------------------------------------------------------------- pages and commands


@pytest.mark.parametrize("name", EXPORTS)
def test_page_holds_its_files_word_by_word(name: str, root: Path) -> None:
    folder = root / "docs" / "recipes" / name
    page = folder.with_suffix(".md").read_text(encoding="utf-8")
    assert f"```yaml\n{(folder / 'dataset.yaml').read_text(encoding='utf-8')}```\n" in page
    linked = re.findall(rf"\]\(({name}/[^)]+)\)", page)
    assert [folder / "case.yaml"] * len(linked) == [folder.parent / link for link in linked]
    assert (folder / "case.yaml").exists() == bool(linked)
    assert f"]({name}.md)" in (folder.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", EXPORTS)
def test_check_and_estimate(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = request.getfixturevalue("retail" if name == "online-retail" else name)
    assert main(["check", str(recipe.folder)]) == 0
    assert "No violations" in capsys.readouterr().out
    out = tmp_path / "estimates.csv"
    assert main(["estimate", str(recipe.folder), "--out", str(out)]) == 0
    written = pd.read_csv(out)
    assert tuple(written.columns) == COLUMNS
    own = recipe.estimates.with_evidence()
    assert written["method"].tolist() == own["method"].tolist()
    np.testing.assert_allclose(written["estimate"], own["estimate"].astype(float), rtol=1e-9)


@pytest.mark.parametrize("name", EXPORTS)
def test_rows_are_accounted_for(name: str, request: pytest.FixtureRequest) -> None:
    recipe = request.getfixturevalue("retail" if name == "online-retail" else name)
    for _, rows in recipe.tables.accounting.groupby("table"):
        counts = rows.set_index("reason")["rows"]
        assert counts["read"] - counts.drop(["read", "kept"]).sum() == counts["kept"]
    panel = recipe.panel.accounting
    assert panel["rows"].iloc[-1] == len(recipe.panel.rows)
    # losses are negative: what was read plus the losses is what is kept, stage by stage
    answers = panel[panel["stage"] == "answers"].set_index("reason")["rows"]
    if len(answers):
        assert answers.drop("kept").sum() == answers["kept"]


@pytest.mark.parametrize("name", ["telco", "southeast"])
def test_no_rung_above_association(name: str, request: pytest.FixtureRequest) -> None:
    table = request.getfixturevalue(name).estimates.tidy()
    assert set(table.loc[table["estimate"].notna(), "evidence"]) == {"association"}
    ltv = table[table["outcome"] == "ltv"]
    assert len(ltv) > 0
    assert ltv["estimate"].isna().all()


@pytest.mark.parametrize(("name", "exposure"), [("telco", "csat"), ("southeast", "nps")])
def test_no_rosy_case(name: str, exposure: str, request: pytest.FixtureRequest) -> None:
    recipe = request.getfixturevalue(name)
    value = cx.lifetime_value(
        recipe.panel, exposure=exposure, horizon_quarters=12, annual_discount_rate=0.10, seed=20, draws=100
    )
    assert value.reason
    case = cx.business_case(value.response(12), cx.read_case(recipe.folder / "case.yaml"), seed=20, draws=1000)
    table = case.tidy().set_index(["scenario", "measure"])
    for measure in ("npv", "roi", "irr", "p_npv_positive", "payback_months", "pv_benefit"):
        assert table.xs(measure, level="measure")[["low", "median", "high", "mean"]].isna().all(axis=None), measure
    assert table.loc[("base", "pv_cost"), "median"] > 0
    assert case.glance()["reason"].iloc[0] == value.reason
    checks = case.checks().set_index("name")
    assert checks.loc["linkage_exists", "verdict"] == "fail"
    assert value.reason in checks.loc["linkage_exists", "advice"]
    if name == "telco":
        cost = table.loc[("base", "pv_cost"), "median"]
        _says(recipe.page, f"costs (present value {_number(cost, 0)} USD) and no benefit")


# ---------------------------------------------------------------------------------------------------- Telco


def test_telco_scores(telco: Recipe) -> None:
    score = cx.csat(telco.tables).tidy().iloc[0]
    assert score["n"] == 7043
    assert score["estimate"] == pytest.approx(0.4171517819111174, rel=1e-9)
    low, high = (100 * score[limit] for limit in ("conf_low", "conf_high"))
    _says(
        telco.page,
        f"CSAT (4 or 5): {100 * score['estimate']:.1f} % of 7,043 answers, 95 % interval {low:.1f}–{high:.1f} %",
        f"{100 * (1 - telco.panel.rows['retained'].mean()):.1f} % of the customers left",
    )
    with pytest.raises(InputError, match="csat"):
        cx.nps(telco.tables)


def test_telco_churn_by_score(telco: Recipe) -> None:
    rows = telco.panel.rows
    assert telco.panel.timing == "undated"
    left = (1 - rows["retained"]).groupby(rows["csat"]).agg(["size", "sum"]).astype(int)
    assert left.reset_index().to_numpy().tolist() == [
        [1, 922, 922],
        [2, 518, 518],
        [3, 2665, 429],
        [4, 1789, 0],
        [5, 1149, 0],
    ]
    for score, (size, gone) in left.iterrows():
        share = f"{100 * gone / size:.1f}".removesuffix(".0")
        assert f"| {score:g} | {size:,} | {gone:,} ({share} %) |" in telco.page


def test_telco_has_no_finite_effect(telco: Recipe) -> None:
    table = telco.estimates.tidy()
    reason = telco.refused("retained")
    assert "separation" in reason
    assert "csat" in reason
    _says(telco.page, reason.split(",")[0])
    assert not table["headline"].any()
    assert "margin" in telco.refused("margin")
    assert "orders" in telco.refused("orders")
    # nothing but penalised fits carries a figure
    assert table.loc[table["estimate"].notna(), "method"].str.contains("firth").all()


def test_telco_firth(telco: Recipe) -> None:
    # slope of leaving -8.712714 (SE 1.414869), realdata/REFERENCE.md; 1e-3 is certified, 1e-4 is reached
    odds = telco.row(outcome="retained", estimand="odds_ratio", method="firth")
    assert np.log(odds["estimate"]) == pytest.approx(8.712714268689718, rel=1e-4)
    assert odds["std_error"] / odds["estimate"] == pytest.approx(1.4148694924292498, rel=1e-4)
    _says(
        telco.page,
        f"{np.log(odds['estimate']):.2f} log odds per point (odds ratio {odds['estimate']:,.0f}, "
        f"95 % interval {odds['conf_low']:,.0f}–{odds['conf_high']:,.0f})",
    )
    average = telco.row(outcome="retained", estimand="ame", method="firth")
    assert 0 < average["estimate"] < 1
    assert average["n_obs"] == average["n_clusters"] == 7043


def test_telco_checks_say_why(telco: Recipe) -> None:
    linkage = telco.estimates.linkages["csat"]["retained", "adjusted"]
    assert not isinstance(linkage, str)
    checks = linkage.checks().set_index("name")
    assert checks.loc["separation", "verdict"] == "fail"
    assert "after the outcome" in checks.loc["separation", "advice"]
    assert checks.loc["score before outcome", "verdict"] == "fail"
    assert linkage.separated == ("csat",)  # no control is blamed


def test_telco_year_is_of_no_consequence(telco: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    for file in telco.folder.iterdir():
        (folder / file.name).symlink_to(file.resolve())
    described = folder / "dataset.yaml"
    text = described.read_text(encoding="utf-8")
    described.unlink()
    described.write_text(text.replace("2019-", "2016-"), encoding="utf-8")
    later = cx.estimate(cx.build_panel(cx.read_tables(folder))).tidy()
    # the same arithmetic on the same rows; only their order by period index differs
    pd.testing.assert_frame_equal(later, telco.estimates.tidy(), rtol=1e-8)


# ---------------------------------------------------------------------------------------------------- Southeast


def test_southeast_nps(southeast: Recipe) -> None:
    score = cx.nps(southeast.tables).tidy().iloc[0]
    assert score["estimate"] == pytest.approx(4.736893298317285, rel=1e-9)
    assert score["std_error"] == pytest.approx(0.8137884667686983, rel=1e-6)
    assert (score["n"], score["invited"]) == (10_281, 10_282)
    _says(
        southeast.page,
        f"NPS {score['estimate']:.1f} (95 % interval {score['conf_low']:.1f}–{score['conf_high']:.1f}) of 10,281 answers",
    )


@pytest.mark.parametrize(
    ("segment", "certified"),
    [
        ("type_of_travel", {"Business travel": 35.2651, "Mileage tickets": 21.8274, "Personal Travel": -59.1532}),
        ("airline_status", {"Blue": -10.8542, "Silver": 45.9909, "Gold": 30.0242, "Platinum": 25.6614}),
        ("class", {"Business": 18.7726, "Eco": 3.698, "Eco Plus": 1.9681}),
        ("gender", {"Female": -2.3409, "Male": 13.7794}),
    ],
)
def test_southeast_nps_by_segment(southeast: Recipe, segment: str, certified: dict[str, float]) -> None:
    found = cx.nps(southeast.tables, by=segment).tidy().set_index(segment)["estimate"]
    assert found.to_dict() == pytest.approx(certified, abs=5.1e-5)  # 4 decimals are given
    if segment in ("type_of_travel", "airline_status"):
        names = {"Business travel": "business", "Mileage tickets": "mileage tickets", "Personal Travel": "personal"}
        _says(southeast.page, ", ".join(f"{names.get(name, name)} {_number(found[name], 1)}" for name in certified))


def test_southeast_repeated_passengers(southeast: Recipe, passengers: pd.DataFrame) -> None:
    repeated = passengers.drop(columns="respondent_id").duplicated()
    assert repeated.sum() == 370
    score = passengers.loc[~repeated, "likelihood_to_recommend"].dropna()
    without = 100 * ((score >= 9).mean() - (score <= 6).mean())
    _says(southeast.page, "370 rows repeat", f"without them NPS is {without:.1f} instead of 4.7")
    assert passengers["likelihood_to_recommend"].isna().sum() == 1


def test_southeast_carries_no_case(southeast: Recipe) -> None:
    """Outcomes of a year beside undated answers, fewer flights per point: nothing to pay a programme from."""
    found = cx.lifetime_value(southeast.panel, horizon_quarters=12, annual_discount_rate=0.1, seed=20, draws=200)
    cost = {"category": 3, "month": 0, "amount": 1.0}
    stated = {"id": "lounge", "name": "Lounge", "evidence": "experiment", "score_gain": 1.0, "reach": 1.0}
    stated |= {"ramp_months": 0, "half_life_months": "never", "costs": [cost]}
    response = found.response(12)
    terms = {"currency": response.currency or "USD", "start": "2026-01-01", "horizon_months": 36}
    case = Case.model_validate(terms | {"annual_discount_rate": 0.1, "programmes": [stated]})
    result = cx.business_case(replace(response, currency=case.currency), case, seed=20, draws=200)
    assert response.reason
    assert result.tidy().dropna()["measure"].unique().tolist() == ["pv_cost"]
    assert result.quadrants()["quadrant"].item() == "gain_not_yet_money"


def test_southeast_association_is_negative_and_robust(southeast: Recipe) -> None:
    assert southeast.panel.timing == "inside"
    ratio = southeast.row(outcome="orders", estimand="rate_ratio", method="raw")
    slope, error = np.log(ratio["estimate"]), ratio["std_error"] / ratio["estimate"]
    assert slope == pytest.approx(-0.06928629098390092, rel=1e-6)
    n, k = 10_281, 2
    # the reference's HC0 has no finite-sample factor; with a customer a cluster ours is N/(N-k)
    assert error * np.sqrt((n - k) / n) == pytest.approx(0.0027966976374210802, rel=1e-6)
    assert error > 3 * 0.000905  # Poisson's own error
    raw = southeast.estimates.linkages["nps"]["orders", "raw"]
    assert not isinstance(raw, str)
    assert raw.fitted.dispersion == pytest.approx(9.8597450753126, rel=1e-6)
    average = southeast.row(outcome="orders", estimand="ame", method="raw")
    assert average["conf_high"] < 0
    _says(
        southeast.page,
        f"rate ratio {ratio['estimate']:.3f} per point (95 % interval {ratio['conf_low']:.3f}–{ratio['conf_high']:.3f}), "
        f"{-average['estimate']:.2f} flights a year *fewer* per point",
        f"Flights vary {raw.fitted.dispersion:.1f} times",
    )


def test_southeast_shrinks_when_adjusted(southeast: Recipe) -> None:
    raw, adjusted = (
        southeast.row(outcome="orders", estimand="rate_ratio", method=method) for method in ("raw", "adjusted")
    )
    slopes = np.log([raw["estimate"], adjusted["estimate"]])
    assert slopes[0] < slopes[1] < 0
    gone = 1 - slopes[1] / slopes[0]
    assert gone == pytest.approx(
        0.75, abs=0.05
    )  # three quarters, REFERENCE.md; years since the first flight are held fixed too
    average = southeast.row(outcome="orders", estimand="ame", method="adjusted")
    _says(
        southeast.page,
        f"rate ratio {adjusted['estimate']:.3f} (95 % interval {adjusted['conf_low']:.3f}–{adjusted['conf_high']:.3f}), "
        f"{-average['estimate']:.2f} flights fewer. {100 * gone:.0f} % of the association",
    )
    table = southeast.estimates.tidy()
    assert table.loc[table["headline"], ["outcome", "method"]].to_numpy().tolist() == [["orders", "adjusted"]]
    assert southeast.refused("retained")
    assert southeast.refused("margin")


def test_southeast_against_statsmodels(southeast: Recipe, passengers: pd.DataFrame) -> None:
    rows = passengers.rename(columns={"likelihood_to_recommend": "ltr", "class": "cabin"}).dropna(subset="ltr")
    controls = "C(airline_status) + C(type_of_travel) + C(cabin) + age + C(gender) + price_sensitivity"
    # the reference's own model, an NB2: a witness of sign and size, since cxroi has no negative binomial
    nb = smf.negativebinomial(f"flights_per_year ~ ltr + {controls}", rows).fit(disp=0, maxiter=200)
    assert nb.params["ltr"] == pytest.approx(-0.01735425821226982, rel=1e-3)
    # the same equation as ours, years since the first flight included (in quarters, as the panel counts)
    rows["log_tenure"] = np.log(4 * (2014 - rows["year_of_first_flight"]) + 1)
    formula = f"flights_per_year ~ ltr + log_tenure + {controls}"
    poisson = smf.glm(formula, rows, family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": rows["respondent_id"]}, tol=1e-12
    )
    ours = southeast.estimates.linkages["nps"]["orders", "adjusted"]
    assert not isinstance(ours, str)
    term = ours.tidy().set_index("term").loc["nps"]
    assert term["estimate"] == pytest.approx(poisson.params["ltr"], rel=1e-6)
    assert term["std_error"] == pytest.approx(poisson.bse["ltr"], rel=1e-6)
    assert nb.params["ltr"] == pytest.approx(term["estimate"], abs=2 * term["std_error"])


# ---------------------------------------------------------------------------------------------------- Online Retail


def test_retail_export_is_the_reference(lines: pd.DataFrame, retail: Recipe) -> None:
    named = lines[lines["CustomerID"].notna()]
    assert len(lines) == 541_909
    assert lines["InvoiceNo"].nunique() == 25_900
    assert len(lines) - len(named) == 135_080
    assert named["CustomerID"].nunique() == 4_372
    net = lines["Quantity"] * lines["UnitPrice"]
    share, money = 100 * (1 - len(named) / len(lines)), 100 * net[lines["CustomerID"].isna()].sum() / net.sum()
    _says(retail.page, f"135,080 of 541,909 lines ({share:.1f} %, {money:.1f} % of net revenue) name no customer")


def test_retail_transactions(retail: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    assert retail.tables.transactions is not None
    rows = retail.tables.transactions.select("customer_id", "amount", "margin").collect("pandas").to_native()
    orders, refunds = rows[rows["amount"] > 0], rows[rows["amount"] < 0]
    assert len(rows) == 22_190
    assert (len(orders), orders["customer_id"].nunique()) == (18_532, 4_338)
    assert orders["amount"].sum() == pytest.approx(8_911_407.904, abs=5e-4)
    assert rows["margin"].sum() == pytest.approx(0.30 * rows["amount"].sum(), rel=1e-12)
    _says(
        retail.page,
        f"18,532 orders of 4,338 customers, together {orders['amount'].sum():,.2f} GBP",
        f"{len(refunds):,} credit notes, together {_number(refunds['amount'].sum(), 2)} GBP",
        "22,190 invoices and credit notes of 4,372 customers",
    )
    main(["check", str(retail.folder)])
    assert "surveys are declared to be absent" in capsys.readouterr().out


def test_retail_window(lines: pd.DataFrame, retail: Recipe) -> None:
    bought = lines[lines["CustomerID"].notna() & (lines["Quantity"] > 0)]
    days = bought.assign(day=bought["InvoiceDate"].dt.normalize())[["CustomerID", "day"]].drop_duplicates()
    gaps = days.sort_values(["CustomerID", "day"]).groupby("CustomerID")["day"].diff().dt.days.dropna()
    ninth = gaps.quantile(0.9)
    window = retail.tables.config.retention.window_days
    assert (gaps <= window).mean() >= 0.9, "the window holds nine in ten gaps"
    _says(retail.page, f"nine in ten gaps between two days with orders are {ninth:.0f} days or shorter")


def _orders(lines: pd.DataFrame) -> pd.DataFrame:
    """Invoices with a positive amount: customer and first minute."""
    named = lines[lines["CustomerID"].notna()].assign(amount=lambda rows: rows["Quantity"] * rows["UnitPrice"])
    invoices = named.groupby(["CustomerID", "InvoiceNo"]).agg(at=("InvoiceDate", "min"), amount=("amount", "sum"))
    return invoices[invoices["amount"] > 0].reset_index()


def test_retail_retention_by_hand(lines: pd.DataFrame, retail: Recipe) -> None:
    orders, window = _orders(lines), pd.Timedelta(days=120)

    def buyers(start: pd.Timestamp, end: pd.Timestamp) -> set[int]:
        return set(orders.loc[(orders["at"] >= start) & (orders["at"] < end), "CustomerID"])

    kept = retail.panel.rows.groupby("period")["retained"].agg(["size", "mean"])
    ends = [pd.Timestamp(day) for day in ("2011-01-01", "2011-04-01", "2011-07-01")]
    for end, (size, mean) in zip(ends, kept.to_numpy(), strict=True):
        before, after = buyers(end - window, end), buyers(end, end + window)
        assert size == len(before)
        assert mean == pytest.approx(len(before & after) / len(before), rel=1e-12)
    last = pd.Timestamp("2011-10-01")
    assert retail.panel.glance()["active_customers"].iloc[0] == len(buyers(last - window, last))
    shares = [f"{100 * share:.0f} %" for share in kept["mean"]]
    _says(
        retail.page,
        f"{shares[0]} ordered again within 120 days after 2010Q4, {shares[1]} after 2011Q1, {shares[2]} after 2011Q2",
    )


def test_retail_has_no_scores(retail: Recipe) -> None:
    assert retail.tables.surveys is None
    assert retail.panel.metrics == ()
    table = retail.estimates.tidy()
    assert set(table["outcome"]) == {"retained", "orders", "margin", "referrals", "service_cost", "ltv"}
    assert table["estimate"].isna().all()
    assert table["method"].str.startswith("not estimated: the data have no ").all()
    assert not table["headline"].any()
    with pytest.raises(InputError):
        cx.nps(retail.tables)


def test_retail_lifetime_value(lines: pd.DataFrame, retail: Recipe) -> None:
    value = cx.lifetime_value(retail.panel, exposure="", horizon_quarters=4, annual_discount_rate=0.10, seed=20)
    assert "no answers" in value.reason  # said beside the value: nothing is worth anything per point
    rows = value.tidy().set_index(["measure", "band"])
    assert set(rows.index.get_level_values("measure")) == {"lifetime_value"}
    whole = rows.loc[("lifetime_value", "all")]
    assert 0 < whole["low"] < whole["median"] < whole["high"]
    assert whole["customers"] == 2_461
    path = value.path()
    assert path["survival"].is_monotonic_decreasing
    assert path["discounted_margin"].sum() == pytest.approx(whole["estimate"], rel=1e-12)
    assert value.response(4).reason
    _says(
        retail.page,
        f"{whole['estimate']:,.0f} GBP per customer active at the end of 2011Q3 (90 % interval "
        f"{whole['low']:,.0f}–{whole['high']:,.0f})",
    )
    # what the same customers did in the days after the last complete quarter
    orders = _orders(lines)
    start = pd.Timestamp("2011-10-01")
    active = orders.loc[
        (orders["at"] >= start - pd.Timedelta(days=120)) & (orders["at"] < start), "CustomerID"
    ].unique()
    later = lines[(lines["InvoiceDate"] >= start) & lines["CustomerID"].isin(active)]
    brought = 0.30 * (later["Quantity"] * later["UnitPrice"]).sum() / len(active)
    _says(
        retail.page,
        f"the first quarter is forecast at {path['margin'].iloc[0]:,.0f} GBP a customer",
        f"in the {(lines['InvoiceDate'].max() - start).days + 1} days of it that the export still holds",
        f"the same {len(active):,} customers brought {brought:,.0f} GBP at the same rate",
    )


# ---------------------------------------------------------------------------------------------------- the whole run


@pytest.fixture
def in_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(root)
    return root


@pytest.mark.notebook
@pytest.mark.parametrize("name", EXPORTS)
def test_run_completes(name: str, in_root: Path, realdata: Path, tmp_path: Path) -> None:
    folder = _data_set(name, in_root, realdata, tmp_path)
    out = tmp_path / "run"
    own = ["-p", "exposure=csat"] if name == "telco" else []
    assert main(["run", str(folder), "--out", str(out), "--lang", "en", *own]) == 0
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["status"] == "done"
    assert len(list(out.glob("*.ipynb"))) == len(list((in_root / "notebooks").glob("[0-9][0-9]_*.ipynb"))) > 0
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "</html>" in page
    estimates = pd.read_csv(out / "estimates.csv")
    headline = estimates[estimates["headline"]]
    assert (headline["estimate"] < 0).all()  # Southeast's flights; the others have none
    assert (len(headline) > 0) == (name == "southeast")
    case = pd.read_csv(out / "case.csv")
    benefit = case[case["measure"].isin(["npv", "roi", "p_npv_positive", "pv_benefit"])]
    assert benefit[["low", "median", "high", "mean"]].isna().all(axis=None)
