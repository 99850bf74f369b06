"""Parameters of the notebooks: models, their cells, the command line's texts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxroi.errors import InvalidParameters
from cxroi.report.parameters import (
    MODELS,
    assign_parameters,
    check_parameters,
    parameters_cell,
    select_notebooks,
)

COMMON = {"dataset": "data/sample", "quarter": "", "lang": "en", "seed": 20}


@pytest.mark.parametrize("notebook", MODELS)
def test_every_field_has_a_default_a_description_and_a_unit(notebook: str) -> None:
    for name, field in MODELS[notebook].model_fields.items():
        assert field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["unit"], name


@pytest.mark.parametrize("notebook", MODELS)
def test_defaults_are_valid_and_the_cell_states_them(notebook: str) -> None:
    scope: dict[str, object] = {}
    exec(parameters_cell(notebook), scope)
    assert {name: scope[name] for name in MODELS[notebook].model_fields} == check_parameters(notebook, {})


@pytest.mark.parametrize("notebook", MODELS)
def test_papermill_reads_the_cell_as_the_model(notebook: str, tmp_path: Path) -> None:
    papermill = pytest.importorskip("papermill")
    cell = {"cell_type": "code", "id": "p", "metadata": {"tags": ["parameters"]}, "source": parameters_cell(notebook)}
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    book = {
        "cells": [{**cell, "outputs": [], "execution_count": None}],
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(book), encoding="utf-8")
    seen = papermill.inspect_notebook(str(path))
    fields = MODELS[notebook].model_fields
    assert {name: eval(each["default"]) for name, each in seen.items()} == {n: f.default for n, f in fields.items()}
    assert all(each["help"] for each in seen.values())


def test_values_are_completed_by_defaults() -> None:
    assert check_parameters("03_retention", {"seed": 7}) == {**COMMON, "seed": 7}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("horizon_months", "36", 36),
        ("horizon_months", "0", 0),
        ("annual_discount_rate", "0.12", 0.12),
        ("annual_discount_rate", "0", 0.0),
        ("annual_discount_rate", "-1", -1.0),
        ("annual_discount_rate", "1e-1", 0.1),
        ("quarter", "2026Q3", "2026Q3"),
        ("quarter", "2026q3", "2026Q3"),
        ("dataset", "12", "12"),
    ],
)
def test_texts_of_the_command_line_are_read_where_exact(name: str, text: str, value: object) -> None:
    read = check_parameters("05_value", {name: text})[name]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", "007", "whole number"),
        ("seed", "12.0", "whole number"),
        ("seed", " 12", "whole number"),
        ("seed", "1_000", "whole number"),
        ("seed", "", "whole number"),
        ("seed", 1.0, "whole number"),
        ("seed", True, "whole number"),
        ("seed", None, "whole number"),
        ("seed", -1, "at least 0"),
        ("horizon_months", "601", "at most 600"),
        ("annual_discount_rate", "0,12", "decimal point"),
        ("annual_discount_rate", "12%", "decimal point"),
        ("annual_discount_rate", "nan", "decimal point"),
        ("annual_discount_rate", float("inf"), "decimal point"),
        ("annual_discount_rate", "1e999", "decimal point"),
        ("annual_discount_rate", -0.1, "0 or more"),
        ("annual_discount_rate", "12", "at most 10"),
        ("lang", "fr", "'vi' or 'en'"),
        ("exposure", "NPS", "'nps', 'csat' or 'ces'"),
        ("quarter", "2026", "2026Q3"),
        ("quarter", 2026, "text"),
        ("dataset", "", "empty"),
        ("dataset", Path("data"), "text"),
    ],
)
def test_values_of_the_wrong_type_or_range_are_refused(name: str, value: object, said: str) -> None:
    with pytest.raises(InvalidParameters, match="05_value") as caught:
        check_parameters("05_value", {name: value})
    message = str(caught.value)
    assert name in message
    assert said in message
    assert repr(value) in message
    assert "\n" not in message


def test_an_unknown_parameter_is_refused_with_a_suggestion_and_the_list() -> None:
    with pytest.raises(InvalidParameters, match="did you mean 'horizon_months'") as caught:
        check_parameters("05_value", {"horizon_month": 36})
    assert all(name in str(caught.value) for name in MODELS["05_value"].model_fields)


def test_a_parameter_of_another_notebook_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="01_data has no parameter 'draws'"):
        check_parameters("01_data", {"draws": 500})


def test_all_faults_come_at_once() -> None:
    with pytest.raises(InvalidParameters) as caught:
        check_parameters("06_case", {"drws": 1, "seed": "x", "draws": 1})
    assert len(str(caught.value).splitlines()) == 3


def test_values_go_to_the_notebooks_that_take_them() -> None:
    assigned = assign_parameters(["01_data", "06_case"], {"draws": "500", "seed": "3"})
    assert assigned["01_data"] == {**COMMON, "seed": 3}
    assert assigned["06_case"] == {**COMMON, "seed": 3, "draws": 500, "case": ""}


def test_a_value_that_no_notebook_takes_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="did you mean 'draws'"):
        assign_parameters(list(MODELS), {"drawz": 500})
    with pytest.raises(InvalidParameters, match="'draws'"):
        assign_parameters(["01_data", "02_scores"], {"draws": 500})


def test_a_fault_that_all_notebooks_share_is_said_once() -> None:
    with pytest.raises(InvalidParameters) as caught:
        assign_parameters(list(MODELS), {"seed": "x", "draws": 1})
    assert len(str(caught.value).splitlines()) == 2


def test_notebooks_are_picked_by_their_beginnings() -> None:
    assert select_notebooks() == list(MODELS)
    assert select_notebooks(("05_value", "03")) == ["03_retention", "05_value"]
    for wrong in ("13", "", "retention"):
        with pytest.raises(InvalidParameters, match="there is no notebook"):
            select_notebooks((wrong,))
