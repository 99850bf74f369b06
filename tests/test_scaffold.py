"""A company's own folder to begin with: it is read as it stands, in both languages, and explains every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from cxroi.case import read_case
from cxroi.case.programme import (
    Basis,
    Benefit,
    Budget,
    Case,
    Correlation,
    Cost,
    Driver,
    Profile,
    Programme,
    Saving,
    ScoreGain,
)
from cxroi.cli import main
from cxroi.errors import InputError
from cxroi.language import Code
from cxroi.report.scaffold import scaffold
from cxroi.simulate import simulate
from cxroi.tables import check_tables
from cxroi.tables.contract import TABLE_NAMES, TABLES
from cxroi.tables.dataset import Dataset, Event, Retention, TableSource, ValueHorizon, read_dataset

LANGUAGES = ("en", "vi")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("own")
    return {"en": scaffold(place / "en"), "vi": scaffold(place / "vi", lang="vi")}


def switched_on(text: str) -> Iterator[str]:
    """The file with one optional block at a time in place, what it stands for taken out."""
    lines = text.splitlines()
    blocks: list[list[int]] = []
    for at, line in enumerate(lines):
        if re.match(r" *#(?! )", line):
            if blocks and blocks[-1][-1] == at - 1:
                blocks[-1].append(at)
            else:
                blocks.append([at])
    for block in blocks:
        on = [re.sub("#", "", line, count=1) if at in block else line for at, line in enumerate(lines)]
        words = "\n".join(on[at] for at in block)
        if "requires:" in words:  # needs other programmes
            continue
        for key, instead in {"sql:": "    file: surveys.csv", "drivers:": "    score_gain:"}.items():
            if key in words:
                on = [line for line in on if not line.startswith(instead)]
        if "currency: USD" in words:
            on = [line.replace("#exchange_rates", "exchange_rates") for line in on]
        yield "\n".join(on)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_project_s_own_readers_take_the_files_as_they_stand(folders: dict[str, Path], lang: str) -> None:
    declared, faults = read_dataset(folders[lang])
    assert faults == []
    assert declared.currency == "VND"
    assert set(declared.tables) == {"customers", "transactions", "surveys"}
    case = read_case(folders[lang] / "case.yaml")
    assert case.currency == declared.currency
    assert case.notices == ()


@pytest.mark.parametrize("lang", LANGUAGES)
def test_what_is_switched_off_can_be_switched_on(folders: dict[str, Path], lang: str, tmp_path: Path) -> None:
    tried = 0
    for text in switched_on((folders[lang] / "dataset.yaml").read_text(encoding="utf-8")):
        (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
        assert read_dataset(tmp_path)[1] == [], text
        tried += 1
    assert tried >= 9
    stated = read_case(folders[lang] / "case.yaml")
    for text in switched_on((folders[lang] / "case.yaml").read_text(encoding="utf-8")):
        (tmp_path / "case.yaml").write_text(text, encoding="utf-8")
        assert read_case(tmp_path / "case.yaml") != stated or "timing: end" in text, text
        tried += 1
    assert tried >= 24


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_key_is_there_and_explained(folders: dict[str, Path], lang: str) -> None:
    files: dict[str, tuple[type[BaseModel], ...]] = {
        "dataset.yaml": (Dataset, Retention, ValueHorizon, Event, TableSource),
        "case.yaml": (Case, Programme, Cost, ScoreGain, Driver, Saving, Benefit, Profile, Basis, Budget, Correlation),
    }
    for file, models in files.items():
        text = (folders[lang] / file).read_text(encoding="utf-8")
        missing = [
            name for model in models for name in model.model_fields if not re.search(rf"[ #{{\n]{name}: ?", text)
        ]
        assert missing == []
        explained = "\n".join(line for line in text.splitlines() if re.match(r" *# ", line))
        for model in models[:1]:
            assert [name for name in model.model_fields if f"{name}:" not in explained] == []
    assert all(name in (folders[lang] / "dataset.yaml").read_text(encoding="utf-8") for name in TABLE_NAMES)


def settings(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_both_languages_give_the_same_settings(folders: dict[str, Path]) -> None:
    assert settings(folders["en"] / "dataset.yaml") == settings(folders["vi"] / "dataset.yaml")
    cases = [settings(folders[lang] / "case.yaml") for lang in LANGUAGES]
    for case in cases:
        for name in ("name", "intent", "owner", "source"):
            assert case["programmes"][0].pop(name)
    assert cases[0] == cases[1]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_readme_and_the_empty_tables_have_the_columns_of_the_contract(folders: dict[str, Path], lang: str) -> None:
    readme = (folders[lang] / "README.md").read_text(encoding="utf-8")
    for name in TABLE_NAMES:
        head = (folders[lang] / "templates" / f"{name}.csv").read_text(encoding="utf-8")
        assert head == ",".join(column.name for column in TABLES[name].columns) + "\n"
        part = readme.split(f"## {name} (")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", part, flags=re.MULTILINE) == list(TABLES[name].column)


def test_with_three_exports_in_it_the_folder_is_fit_to_use(tmp_path: Path) -> None:
    own = scaffold(tmp_path / "own")
    simulate(tmp_path / "company", customers=200, seed=1, file_format="csv")
    for name in ("customers", "transactions", "surveys"):
        (own / f"{name}.csv").write_bytes((tmp_path / "company" / f"{name}.csv").read_bytes())
    assert [each.message for each in check_tables(own) if each.severity == "error"] == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_command_says_what_to_read_and_refuses_a_folder_in_use(tmp_path: Path, lang: Code, capsys: Any) -> None:
    place = tmp_path / "deep" / "mine"
    assert main(["init", str(place), "--lang", lang]) == 0
    assert capsys.readouterr().out.strip() == str(place / "README.md")
    before = sorted(path.name for path in place.iterdir())
    assert main(["init", str(place)]) == 2
    assert "must be free or an empty folder" in capsys.readouterr().err
    assert sorted(path.name for path in place.iterdir()) == before
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="must be free"):
        scaffold(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert (scaffold(tmp_path / "empty", lang=lang) / "case.yaml").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "empty", "file"]
