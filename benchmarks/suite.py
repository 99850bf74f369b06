"""`cxroi run` against a plain papermill loop plus nbconvert over the same notebooks, and `cxroi --help` against a bare Python start.

    python benchmarks/suite.py [--repeats 2]

Each in fresh processes. Targets: ≤ 0.45× for the suite, ≤ 0.3 s for the help.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import sys; from cxroi.cli import main; sys.exit(main(sys.argv[1:]))"


def seconds(*arguments: str) -> float:
    """Wall time of a Python process."""
    before = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - before


def plain(folder: Path) -> float:
    """Wall time of papermill and nbconvert, a process a notebook each."""
    total = 0.0
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        executed = folder / notebook.name
        total += seconds(
            "-m", "papermill", str(notebook), str(executed), "-p", "dataset", "data/sample", "--no-progress-bar"
        )
        total += seconds("-m", "nbconvert", "--to", "html", "--no-input", str(executed))
    return total


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = ["-c", COMMAND, "run", "data/sample", "--lang", "en", "--out"]
        ours = min(seconds(*run, str(folder / f"run{repeat}")) for repeat in range(options.repeats))
        theirs = min(plain(folder) for _ in range(options.repeats))
    bare = min(seconds("-c", "pass") for _ in range(5))
    shown = min(seconds("-c", COMMAND, "--help") for _ in range(5))
    print(f"cxroi run, index page and CSV files included   {ours:6.1f} s")
    print(f"papermill loop + nbconvert                     {theirs:6.1f} s")
    print(f"ratio                                          {ours / theirs:6.2f}")
    print(f"cxroi --help {shown:.2f} s (a bare Python start takes {bare:.2f} s)")


if __name__ == "__main__":
    main()
