"""Notebook 12: what its page says of serving, failing, kinds of loyalty, shocks and the parts of a gain."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import narwhals as nw
import numpy as np
import pandas as pd
import pytest

from cxroi import plots
from cxroi.errors import InputError, InvalidParameters
from cxroi.language import Language, catalogue
from cxroi.panel import Panel, build_panel
from cxroi.report import loyalty, results, show
from cxroi.report.parameters import KINDS_OF_LOYALTY, check_parameters, leaving_by_kind
from cxroi.simulate import simulate
from cxroi.tables import Tables, read_tables
from cxroi.value import forgiveness as forgiveness_module
from cxroi.value import loyalty as loyalty_module
from cxroi.value import service as service_module
from cxroi.value.identity import refuse_overlap
from cxroi.value.loyalty import TYPES
from cxroi.value.service import CostToServe, cost_to_serve

EN, VI = Language("en", "VND"), Language("vi", "VND")
TERMS = {"horizon_months": 0, "annual_discount_rate": results.AS_STATED}
NOTHING = {"score_gain": 0.0, "price_rise": 0.0, "extra_leaving": "", "extra_leaving_source": ""}
HARMLESS = ", ".join(f"{kind} 0" for kind in TYPES)
ENGLISH = re.compile(r"\b(the|of|and|is|are|with|no|not|from|customers|quarter|answers)\b")
SEED = 20


def gathered(tables: Tables, panel: Panel, **stated: object) -> loyalty.Loyalty:
    return loyalty.gather(tables, panel, exposure="nps", terms=TERMS, shocks=NOTHING | stated, language=EN, seed=SEED)


@pytest.fixture(scope="module")
def known(sample: Path) -> tuple[Tables, Panel]:
    tables = read_tables(sample)
    return tables, build_panel(tables)


@pytest.fixture(scope="module")
def found(known: tuple[Tables, Panel]) -> loyalty.Loyalty:
    return gathered(*known)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, Panel]:
    """Company whose customers are of known kinds."""
    folder = tmp_path_factory.mktemp("kinds") / "company"
    simulate(folder, world="loyalty", customers=3_000, seed=5)
    tables = read_tables(folder)
    return tables, build_panel(tables)


@pytest.fixture(scope="module")
def stressed(company: tuple[Tables, Panel]) -> loyalty.Loyalty:
    stated = {"extra_leaving": HARMLESS, "extra_leaving_source": "an assumption"}
    return gathered(*company, score_gain=0.5, price_rise=0.1, **stated)


def everything_said(found: loyalty.Loyalty, language: Language) -> str:
    """All sentences, captions and tables of the page."""
    parts = [loyalty.answer(found, language=language)]
    parts += [getattr(loyalty, name)(found, language=language) for name in vars(loyalty) if name.startswith("read_")]
    captions = [getattr(loyalty, name)(found, language=language) for name in vars(loyalty) if name.startswith("on_")]
    tables = [
        loyalty.service_gaps(found, language=language),
        loyalty.more_leavers(found),
        loyalty.indices(found),
        loyalty.profile(found, language=language),
        loyalty.sums(found, language=language),
        loyalty.shock_table(found, language=language),
        loyalty.checks(found),
    ]
    shown = [show.table(table, language=language).text for table in tables]
    return "\n".join([*(line for part in parts for line in part), *(each.caption for each in captions), *shown])


# the gain and its parts


def test_gain_is_the_value_of_one_point_in_every_draw(known: tuple[Tables, Panel], found: loyalty.Loyalty) -> None:
    value = results.value(known[1], exposure="nps", seed=SEED)
    assert not isinstance(value, str)
    assert not isinstance(found.gain, str)
    np.testing.assert_allclose(found.gain.change, value.point_draws(), rtol=1e-9)  # one sum in another order
    np.testing.assert_allclose(found.gain.split.before, value.value_draws(), rtol=1e-9)


def test_parts_of_the_gain_sum_to_it(found: loyalty.Loyalty) -> None:
    assert not isinstance(found.gain, str)
    parts = found.gain.part("retention") + found.gain.part(loyalty.SPEND)
    np.testing.assert_allclose(parts, found.gain.change, rtol=1e-9)
    rows = loyalty.split(found)
    assert not isinstance(rows, str)
    own = rows.set_index("term")["estimate"]
    assert own["retention"] + own["spend"] == pytest.approx(own["total"], rel=1e-9)


def test_retention_part_agrees_with_the_margin_that_staying_brings(
    known: tuple[Tables, Panel], found: loyalty.Loyalty
) -> None:
    """The response states what half a point brings through staying; a whole one brings a little more than twice that."""
    value = results.value(known[1], exposure="nps", seed=SEED)
    assert not isinstance(value, str)
    assert not isinstance(found.gain, str)
    response = value.response(value.horizon_quarters)
    quarters = np.arange(1, value.horizon_quarters + 1)
    linear = (response.through_retention * quarters) @ value.discount
    ratio = np.median(found.gain.part("retention", alone=True)[1:] / linear)
    assert 1.0 <= ratio < 1.15


def test_sum_that_counts_churn_twice_is_refused_and_shown(found: loyalty.Loyalty) -> None:
    with pytest.raises(InputError, match="counts the same money twice"):
        refuse_overlap(loyalty.COUNTED_TWICE)
    rows = loyalty.sums(found, language=EN)
    assert not isinstance(rows, str)
    joint, staying, spending, alone, twice = rows["estimate"]
    assert alone == pytest.approx(staying + spending, rel=1e-12)
    assert twice == pytest.approx(joint + staying, rel=1e-12)
    assert alone < joint  # staying longer is worth more with more spent, and the other way round
    words = "\n".join(loyalty.read_sums(found, language=EN))
    assert f"{EN.number(twice / joint, 1)} times the whole" in words
    assert f"count {show.money(joint, EN)}." in words


# what is said


def test_answer_has_the_number_how_sure_and_what_would_change_it(found: loyalty.Loyalty) -> None:
    cost, kinds, gain = loyalty.answer(found, language=EN)
    assert re.search(r"serving detractors costs ₫[\d,]+ a customer more .* \(95% interval", cost)
    assert "chance alone could bring" in cost
    assert kinds.startswith("Why customers come back cannot be told from their behaviour: neither habit")
    assert re.search(r"One point more on NPS, held over 36 months, goes with a change of ₫[\d.]+\smillion", gain)
    assert gain.endswith("cannot be tested without kinds of loyalty.")


def with_gap(found: loyalty.Loyalty, low: float, high: float) -> loyalty.Loyalty:
    """The same with a gap of all contacts that lies in the middle of these ends."""
    assert isinstance(found.service, CostToServe)
    bands = found.service.bands.copy()
    place = (bands["kind"] == "all") & bands["band"].str.contains(" less ")
    bands.loc[place, ["estimate", "conf_low", "conf_high"]] = (low + high) / 2, low, high
    return replace(found, service=replace(found.service, bands=bands))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (1000.0, 3000.0, "₫2,000 a customer more than serving promoters (95% interval ₫1,000 to ₫3,000)."),
        (-3000.0, -1000.0, "₫2,000 a customer less than serving promoters (95% interval ₫1,000 to ₫3,000)."),
        (-4000.0, 1000.0, "₫1,500 a customer less than serving promoters (95% interval -₫1,000 to ₫4,000): chance"),
        (np.nan, np.nan, "cannot be shown: too few of them"),
    ],
)
def test_gap_is_said_by_its_sign_and_its_interval(found: loyalty.Loyalty, low: float, high: float, words: str) -> None:
    assert words in loyalty.read_service(with_gap(found, low, high), language=EN)[0]


def test_few_leavers_after_a_failure_are_said_to_be_few(found: loyalty.Loyalty) -> None:
    assert not isinstance(found.forgiveness, str)
    left, after = found.forgiveness.left_after_failed, found.forgiveness.failed_quarters
    words = loyalty.read_failing(found, language=EN)
    assert words[1].startswith(f"It rests on only {left} customers who left after {after} customer-quarters")
    many = replace(found, forgiveness=replace(found.forgiveness, left_after_failed=200, failed_quarters=2_000))
    assert loyalty.read_failing(many, language=EN)[1].startswith("It rests on 200 customers")


def test_contacts_without_a_stated_cost_are_said(known: tuple[Tables, Panel], found: loyalty.Loyalty) -> None:
    tables, panel = known
    assert tables.touches is not None
    unstated = nw.when(nw.col("touchpoint") != "store").then(nw.col("cost"))
    lacking = replace(tables, touches=tables.touches.with_columns(cost=unstated))
    served = replace(found, service=cost_to_serve(lacking, panel, "nps", by="touchpoint"))
    assert isinstance(served.service, CostToServe)
    share = served.service.without_cost / served.service.touches
    assert 0.2 < share < 0.4  # one touchpoint of three
    assert f"{EN.percent(share)} have no stated cost" in loyalty.read_service(served, language=EN)[-1]
    gaps = loyalty.service_gaps(served, language=EN)
    assert not isinstance(gaps, str)
    assert gaps.set_index("touchpoint")["without_cost"]["store"] == 100.0
    assert "fail" in set(loyalty.checks(served)["verdict"])
    assert not ENGLISH.search(show.table(loyalty.checks(served), language=VI).text)


def test_each_part_says_why_it_is_missing(known: tuple[Tables, Panel]) -> None:
    tables, panel = known
    alone = gathered(replace(tables, touches=None, referrals=None), panel)
    for part in (alone.service, alone.forgiveness):
        assert part == "the data have no touches table"
    assert not isinstance(alone.gain, str)
    words = everything_said(alone, VI)
    assert "dữ liệu không có bảng touches" in words
    assert [line for line in words.splitlines() if ENGLISH.search(line)] == []


def test_further_table_of_a_missing_part_is_silent() -> None:
    assert loyalty.also("why not", language=EN).text == ""
    assert loyalty.also(pd.DataFrame({"what": ["a"]}), language=EN).text == "What\na"


# kinds and shocks


def test_kinds_that_need_an_untold_trait_are_not_shown_as_none(stressed: loyalty.Loyalty) -> None:
    assert not isinstance(stressed.types, str)
    used = set(stressed.types.indices.loc[stressed.types.indices["used"], "trait"])
    shown = loyalty.types(stressed)
    assert not isinstance(shown, str)
    for trait, kind in loyalty.KIND_OF_TRAIT.items():
        assert (kind in set(shown["type"])) == (trait in used)
    untold = set(loyalty.KIND_OF_TRAIT) - used
    words = "\n".join(loyalty.read_types(stressed, language=EN))
    assert words.count("Nobody is called") == len(untold)
    table = loyalty.profile(stressed, language=EN)
    assert not isinstance(table, str)
    assert "Behavioural (habit)" in table.columns
    even = table.set_index("what").loc["Orders through the main channel, %"]
    assert even["Behavioural (habit)"] > even["None of these"] > 0


def test_shock_that_takes_nobody_leaves_all_of_the_benefit(stressed: loyalty.Loyalty) -> None:
    rows = loyalty.shocks(stressed)
    assert not isinstance(rows, str)
    own = rows[(rows["shock"] == "convenience lost") & ~rows["suppressed"]]
    assert len(own) >= 3
    np.testing.assert_allclose(own[["surviving", "surviving_low", "surviving_high"]], 1.0, rtol=1e-12)
    price, convenience = loyalty.read_shocks(stressed, language=EN)[:2]
    assert price.startswith("Under “price +10%”, ")
    assert convenience.startswith("Under “convenience lost”, 100% of the staying")
    assert "not told apart from all of it" in convenience
    figure = show.figure(
        plots.shock_survival,
        rows,
        loyalty.on_shocks(stressed, language=EN),
        language=EN,
        paths=loyalty.shock_paths(stressed),
    )
    assert isinstance(figure, show.Picture)
    assert "shock sizes as stated. Leaving under the loss of convenience as stated by: an assumption." in figure.caption


def test_page_with_kinds_and_shocks_is_all_in_vietnamese(stressed: loyalty.Loyalty) -> None:
    data = r"an assumption|price \+10%|convenience lost|support|store|delivery"
    lines = re.sub(data, "", everything_said(stressed, VI)).splitlines()
    assert [line for line in lines if ENGLISH.search(line)] == []


def test_price_that_never_moved_leaves_the_other_shock(company: tuple[Tables, Panel]) -> None:
    tables, panel = company
    assert tables.transactions is not None
    undiscounted = replace(tables, transactions=tables.transactions.drop("discount"))
    stated = {"extra_leaving": HARMLESS, "extra_leaving_source": "an assumption"}
    tested = gathered(undiscounted, panel, score_gain=0.5, price_rise=0.1, **stated)
    assert not isinstance(tested.shocks, str)
    assert set(tested.shocks.tidy()["shock"]) == {"as now", "convenience lost"}
    assert "no discounts are recorded" in loyalty.read_shocks(tested, language=EN)[-1]


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({}, loyalty.NO_SHOCK),
        ({"score_gain": 0.5}, loyalty.NO_SHOCK),
        ({"price_rise": 0.1}, loyalty.NO_GAIN),
    ],
)
def test_shock_that_is_not_stated_is_not_made_up(
    company: tuple[Tables, Panel], stressed: loyalty.Loyalty, stated: dict[str, float], reason: str
) -> None:
    assert loyalty.stated(NOTHING | stated, TERMS, company[1], language=EN) == reason
    words = loyalty.answer(replace(stressed, shocks=reason), language=EN)[-1]
    assert words.endswith(f"is not tested: {reason}.")


# parameters and words


def test_several_reasons_of_a_trait_are_all_translated() -> None:
    one, other = (
        "one group describes the customers as well as two",
        "not recorded, or too few customers with enough counts",
    )
    for why in (one, other, f"{one}; {other}", f"{other}; {one}"):
        assert not ENGLISH.search(show.said(f"names nobody: {why}", VI))


def test_kinds_of_the_parameter_are_those_of_the_rule() -> None:
    assert KINDS_OF_LOYALTY == TYPES
    assert leaving_by_kind(HARMLESS) == dict.fromkeys(TYPES, (0.0, 0.0))


@pytest.mark.parametrize(
    ("leaving", "source", "fault"),
    [
        ("behavioural 0.02 to 0.05", "x", "must state each of behavioural, rational, emotional, mixed, none once"),
        (HARMLESS.replace("none 0", "none 0.3 to 0.1"), "x", "must hold probabilities below 1, the low one first"),
        (HARMLESS.replace("none 0", "none 1.5"), "x", "must hold probabilities below 1"),
        (HARMLESS, " ", "must come with extra_leaving_source"),
    ],
)
def test_leaving_that_is_badly_stated_is_refused(leaving: str, source: str, fault: str) -> None:
    with pytest.raises(InvalidParameters, match=fault):
        check_parameters("12_loyalty", {"extra_leaving": leaving, "extra_leaving_source": source})


def test_every_key_that_the_page_asks_for_is_in_the_catalogue() -> None:
    asked = set(re.findall(r'"(nb\.loyalty\.[a-z_]+)"', inspect.getsource(loyalty)))
    assert len(asked) > 15
    assert asked <= set(catalogue("en"))


def sentences(module: ModuleType) -> set[str]:
    """Reasons and advice that a module writes: its texts of four words or more, errors and docstrings left out, gaps filled with 7."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Raise | ast.Expr):
            return
        if isinstance(node, ast.JoinedStr):
            parts = [each.value if isinstance(each, ast.Constant) else "7" for each in node.values]
            found.add("".join(str(part) for part in parts))
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(inspect.getsource(module)))
    return {text for text in found if len(text.split()) >= 4}


PROFILE_UNITS = {"standard deviation over mean", "share of the price of orders"}
NOT_SHOWN = {
    "log-odds of staying a point",
    "active, what followed is known",
    "price and staying, 7",
    "no kind of loyalty stands out: ",
    loyalty.NOTHING_STANDS_OUT,
    loyalty.PROFILE,
}


@pytest.mark.parametrize("module", [service_module, forgiveness_module, loyalty_module, loyalty])
def test_every_reason_and_advice_has_its_vietnamese(module: ModuleType) -> None:
    written = sentences(module) - NOT_SHOWN - set(loyalty_module.UNITS.values()) - PROFILE_UNITS
    assert [text for text in sorted(written) if show.said(text, VI) == text] == []
