"""`cxroi estimate` against DuckDB's bare GROUP BY over the same files.

    python benchmarks/estimate.py [--transactions 36.5] [--folder DIR] [--repeats 2]

Makes (once) a simulated company of 2 million customers with that many million transactions in a year and 0.8 million
answers as Parquet, then times, each in a fresh process: the bare SELECT of count(*), sum(amount), sum(margin) GROUP BY
customer and quarter, and the whole of ``cxroi estimate``. Prints seconds, ratio and peak memory. Targets: ≤ 3× and
≤ 2 GiB at 36.5 million; ≤ 1.5× and ≤ 4 GiB at 365 million.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cxroi.simulate import simulate, world_named

CUSTOMERS = 2_000_000
QUARTERS = 4
INVITED = 0.3  # of the usual share: about 0.8 million answers
ACTIVE_QUARTERS = 6.5e6  # customer-quarters in which the simulated customers can buy
BARE = """
import duckdb, sys
duckdb.sql(f'''CREATE TABLE panel AS SELECT customer_id, year(occurred_at) * 4 + quarter(occurred_at) AS period, count(*) AS orders,
sum(amount) AS revenue, sum(margin) AS margin FROM read_parquet('{sys.argv[1]}/transactions*.parquet') GROUP BY ALL''')
"""
ESTIMATE = """
import sys
from cxroi.cli import main
sys.exit(main(["estimate", sys.argv[1], "--out", sys.argv[2]]))
"""


def timed(code: str, *arguments: str) -> tuple[float, float]:
    """Seconds and peak GiB of a fresh Python process."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE + code, *arguments], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - before, float(done.stderr.strip().splitlines()[-1]) / 2**20


MEASURE = """
import atexit, resource, sys
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))
"""


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
    fastest_bare, fastest_ours = min(seconds for seconds, _ in bare), min(seconds for seconds, _ in ours)
    print(f"{options.transactions:g} million transactions, {CUSTOMERS:,} customers, {size:.1f} GB")
    print(f"bare GROUP BY    {fastest_bare:7.1f} s   peak {max(memory for _, memory in bare):.2f} GiB")
    print(f"cxroi estimate   {fastest_ours:7.1f} s   peak {max(memory for _, memory in ours):.2f} GiB")
    print(f"ratio            {fastest_ours / fastest_bare:7.2f}")


if __name__ == "__main__":
    main()
