"""No id of a customer, an answer or a transaction stands in any file of a finished run, members of archives and streams included."""

from __future__ import annotations

import base64
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxroi.cli import main

IDS = re.compile(rb"(?<![A-Za-z0-9])(KH|PH|GD)\d{6}(?!\d)")  # as the sample numbers customers, answers and transactions
EMBEDDED = re.compile(rb"base64,([A-Za-z0-9+/=]{16,})")
STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
HOSTILE = re.compile(rb"<script>alert|onerror=")
FORMATS = {".html", ".ipynb", ".csv", ".json", ".pdf", ".xlsx", ".pptx"}


@pytest.fixture(scope="module")
def finished(root: Path, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in every format; two notebooks stand for the others, which tests/test_notebooks.py reads one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        out = tmp_path_factory.mktemp("canary") / "run"
        formats = ["--formats", "html,pdf,xlsx,pptx", "--only", "01", "--only", "06"]
        assert main(["run", str(sample), "--out", str(out), "--lang", "vi", *formats]) == 0
    return out


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """All bytes that a reader of a file can reach, in parts with a name."""
    raw = path.read_bytes()
    yield path.name, raw
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield f"{path.name}/{name}", archive.read(name)
                if name.endswith(".xlsx"):
                    inner = path.with_name(f"{path.stem}-{Path(name).name}")
                    inner.write_bytes(archive.read(name))
                    yield from contents(inner)
                    inner.unlink()
    for at, found in enumerate(EMBEDDED.finditer(raw)):
        yield f"{path.name}#{at}", base64.b64decode(found[1] + b"=" * (-len(found[1]) % 4))
    if path.suffix == ".pdf":
        for at, found in enumerate(STREAM.finditer(raw)):
            try:
                yield f"{path.name}#{at}", zlib.decompress(found[1])
            except zlib.error:
                continue


@pytest.mark.notebook
def test_no_file_of_a_run_holds_an_id(finished: Path) -> None:
    files = [path for path in finished.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == FORMATS
    parts = [(name, content) for path in files for name, content in contents(path)]
    assert len(parts) > 100
    assert [name for name, content in parts if IDS.search(content)] == []
    assert [name for name, content in parts if HOSTILE.search(content)] == []


def test_the_canary_sings(tmp_path: Path) -> None:
    plain, packed, printed = tmp_path / "a.html", tmp_path / "b.xlsx", tmp_path / "c.pdf"
    plain.write_bytes(b"data:image/svg+xml;base64," + base64.b64encode(b"<svg><title>KH000123</title></svg>"))
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("xl/sharedStrings.xml", "<t>GD000007</t>")
    printed.write_bytes(b"%PDF\nstream\n" + zlib.compress(b"(PH000001) Tj") + b"endstream")
    for path in (plain, packed, printed):
        assert any(IDS.search(content) for _, content in contents(path)), path.name
