"""`cxroi estimate` against DuckDB's bare GROUP BY over the same files.

    python benchmarks/estimate.py [--transactions 36.5] [--folder DIR] [--repeats 2]

Makes (once) a simulated company of 2 million customers with that many million transactions in a year and 0.8 million
answers as Parquet, then times, each in a fresh process: the bare SELECT of count(*), sum(amount), sum(margin) GROUP BY
customer and quarter, the whole of ``cxroi estimate``, and its steps. Prints seconds by the clock and of the processor (the latter
mean something on a busy machine too), ratios, peak memory, and what all evidence costs beside raw and adjusted figures
alone. Targets: ≤ 3× and ≤ 2 GiB at 36.5 million; ≤ 1.5× and ≤ 4 GiB at 365 million; evidence ≤ 3×.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cxroi.simulate import simulate, world_named

CUSTOMERS = 2_000_000
QUARTERS = 4
INVITED = 0.3  # of the usual share: about 0.8 million answers
ACTIVE_QUARTERS = 6.5e6  # customer-quarters in which the simulated customers can buy
BARE = """
import duckdb, sys
duckdb.sql("SET enable_progress_bar = false")
duckdb.sql(f'''CREATE TABLE panel AS SELECT customer_id, year(occurred_at) * 4 + quarter(occurred_at) AS period, count(*) AS orders,
sum(amount) AS revenue, sum(margin) AS margin FROM read_parquet('{sys.argv[1]}/transactions*.parquet') GROUP BY ALL''')
"""
ESTIMATE = """
import sys
from cxroi.cli import main
sys.exit(main(["estimate", sys.argv[1], "--out", sys.argv[2]]))
"""


STEPS = """
import os, sys, time
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does
from cxroi.linkage import standard_linkages
from cxroi.panel import build_panel
from cxroi.tables import read_tables
from cxroi.value import estimates_table
from dataclasses import replace

def step(name, do):
    clock, used = time.perf_counter(), time.process_time()
    found = do()
    print(f"  {name:<32}{time.perf_counter() - clock:7.1f} s by the clock {time.process_time() - used:7.1f} of the processor", flush=True)
    return found

print(f"  {'start and imports':<32}{'':>22}{time.process_time():7.1f} of the processor")
tables = step("read and check the tables", lambda: read_tables(sys.argv[1]))
panel = step("panel", lambda: build_panel(tables))
del tables
plain = [step(f"raw and adjusted, {name}", lambda: [
    linkage.marginal_effect() for linkage in standard_linkages(panel.fresh(), name, methods=("raw", "adjusted")).values()
    if not isinstance(linkage, str)]) for name in panel.metrics]
step(f"all estimates with evidence", lambda: estimates_table(panel))
print(f"  {len(panel.rows):,} rows of the panel")
"""
MEASURE = """
import atexit, json, resource, sys

def report():
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    print(json.dumps([used.ru_utime + used.ru_stime, int(peak) / 2**20]), file=sys.stderr)

atexit.register(report)
"""


@dataclass(frozen=True)
class Run:
    """A fresh Python process: seconds by the clock and of the processor, peak GiB, what it printed."""

    clock: float
    processor: float
    peak: float
    said: str


def timed(code: str, *arguments: str) -> Run:
    """Run a fresh Python process."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE + code, *arguments], check=True, capture_output=True, text=True
    )
    clock = time.perf_counter() - before
    return Run(clock, *json.loads(done.stderr.strip().splitlines()[-1]), done.stdout)


def main() -> None:
    """Make the company where it is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=float, default=36.5, help="million in a year")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "cxroi-benchmark")
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    company = options.folder / f"company-{options.transactions:g}"
    if not company.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        before = time.perf_counter()
        simulate(
            company,
            world=replace(world_named("clean"), invited=INVITED),
            customers=CUSTOMERS,
            quarters=QUARTERS,
            seed=1,
            orders_per_quarter=options.transactions * 1e6 / ACTIVE_QUARTERS,
        )
        print(f"simulated in {time.perf_counter() - before:.0f} s")
    size = sum(file.stat().st_size for file in company.rglob("*") if file.is_file()) / 1e9
    out = str(options.folder / "estimates.csv")
    bare = [timed(BARE, str(company)) for _ in range(options.repeats)]
    ours = [timed(ESTIMATE, str(company), out) for _ in range(options.repeats)]
    print(f"{options.transactions:g} million transactions, {CUSTOMERS:,} customers, {size:.1f} GB")
    fastest = []
    for name, runs in (("bare GROUP BY", bare), ("cxroi estimate", ours)):
        clock, processor = min(run.clock for run in runs), min(run.processor for run in runs)
        fastest.append((clock, processor))
        print(
            f"{name:<15}{clock:7.1f} s {processor:7.1f} s of the processor   peak {max(run.peak for run in runs):.2f} GiB"
        )
    print(f"{'ratio':<15}{fastest[1][0] / fastest[0][0]:7.2f}   {fastest[1][1] / fastest[0][1]:7.2f}")
    print(timed(STEPS, str(company)).said)


if __name__ == "__main__":
    main()
