"""How well lifetime value of simulated companies comes out: by score band, in total, and against the year that follows.

    python benchmarks/value.py [--worlds clean,attrition] [--seeds 60] [--first-seed 9000] [--customers 5000] [--jobs 2] [--rows rows.csv]

Each company is simulated for twelve quarters. Lifetime value per customer, in all and by band of the last answer, and of one point
more of NPS, is set against the truth written beside it; a second panel that ends four quarters earlier forecasts the margin of the
year that then happened. Prints a Markdown table: bias in % of the truth ± its Monte-Carlo error, spread over standard error (the
90 % range's width over 3.29), and the coverage of the 95 % interval (the range, 1.96/1.645 times as wide) ± its Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from cxroi import periods
from cxroi.panel import build_panel
from cxroi.simulate import simulate, world_named
from cxroi.tables import read_tables
from cxroi.value import lifetime_value

QUARTERS, YEAR = 12, 4
DRAWS = 200
FIRST_SEED = 9000
NORMAL_95, NORMAL_975 = 1.645, 1.960
STRETCH = NORMAL_975 / NORMAL_95
WORLDS = "clean,confounded-seen,asymmetric,attrition,noisy-scores,selective-answering"


def one(world: str, seed: int, customers: int) -> pd.DataFrame:
    """Estimates of one company with their truth: ``measure, band, estimate, low, high, truth``."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "company"
        made = simulate(folder, world=world_named(world), customers=customers, seed=seed, quarters=QUARTERS)
        truth = json.loads(made.read_text(encoding="utf-8"))
        tables = read_tables(folder)
        panel = build_panel(tables)
        terms = {"horizon_quarters": YEAR * 3, "annual_discount_rate": 0.12}
        whole = lifetime_value(panel, **terms, seed=seed, draws=DRAWS).tidy()
        earlier = panel.last_period - YEAR
        past = build_panel(tables, last_period=periods.label(earlier))
        path = lifetime_value(past, horizon_quarters=YEAR, annual_discount_rate=0.0, seed=seed, draws=DRAWS)
        spent = actual(folder, earlier)
    forecast = path.value_draws() * path.customers
    low, high = np.quantile(forecast[1:], [0.05, 0.95])
    rows = [("next four quarters", "all", forecast[0], low, high, spent)]
    known = {
        "all": truth["levels"]["ltv"],
        **{row["band"]: row["ltv"] for row in truth["ltv_by_band"] if row["exposure"] == "nps"},
    }
    for _, row in whole[whole["measure"] == "lifetime_value"].iterrows():
        if row["band"] in known:
            rows.append(("lifetime value", row["band"], row["estimate"], row["low"], row["high"], known[row["band"]]))
    (point,) = (
        row["estimate"]
        for row in truth["effects"]
        if (row["outcome"], row["exposure"], row["estimand"]) == ("ltv", "nps", "ame")
    )
    for _, row in whole[whole["measure"] == "value_of_one_point"].iterrows():
        rows.append(("value of one point", "all", row["estimate"], row["low"], row["high"], point))
    columns = ["measure", "band", "estimate", "low", "high", "truth"]
    return pd.DataFrame(rows, columns=columns).assign(seed=seed, world=world)


def actual(folder: Path, last: int) -> float:
    """Margin in the year after a quarter of the customers active at its end, currency."""
    end, until = periods.end(last), periods.end(last + YEAR)
    engine = duckdb.connect()
    customers = engine.read_parquet(f"{folder}/customers*.parquet")
    transactions = engine.read_parquet(f"{folder}/transactions*.parquet")
    active = customers.filter(f"joined_on <= DATE '{end}' AND (left_on IS NULL OR left_on > DATE '{end}')")
    year = transactions.filter(f"occurred_at::DATE > DATE '{end}' AND occurred_at::DATE <= DATE '{until}'")
    found = year.join(active, "customer_id").aggregate("sum(margin)").fetchall()
    engine.close()
    return float(found[0][0])


def table(rows: pd.DataFrame) -> str:
    """Markdown table of a world."""
    lines = ["| measure | band | bias | spread / error | coverage of 95 % |", "|---|---|---|---|---|"]
    for (measure, band), part in rows.groupby(["measure", "band"], sort=False):
        miss = (part["estimate"] - part["truth"]) / part["truth"] * 100
        half = ((part["high"] - part["low"]) / 2 / part["truth"] * 100).mean()
        wider = STRETCH * (part["high"] - part["low"]) / 2
        covered = ((part["estimate"] - part["truth"]).abs() <= wider).mean()
        error = np.sqrt(covered * (1 - covered) / len(part))
        bias = f"{miss.mean():+.1f} ± {miss.std() / np.sqrt(len(miss)):.1f} %"
        lines.append(
            f"| {measure} | {band} | {bias} | {NORMAL_95 * miss.std() / half:.2f} | {covered:.3f} ± {error:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Simulate, value, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default=WORLDS)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--customers", type=int, default=5_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rows", type=Path, help="also write every estimate to this CSV")
    options = parser.parse_args()
    found: list[pd.DataFrame] = []
    for world in options.worlds.split(","):
        with ProcessPoolExecutor(options.jobs) as workers:
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            found.append(pd.concat(list(workers.map(one, repeat(world), seeds, repeat(options.customers)))))
        print(
            f"\n### {world}: {options.seeds} seeds × {options.customers:,} customers\n\n{table(found[-1])}", flush=True
        )
    if options.rows:
        pd.concat(found, ignore_index=True).to_csv(options.rows, index=False)


if __name__ == "__main__":
    main()
