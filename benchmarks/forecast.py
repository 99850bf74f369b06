"""How often what came lay in the range that was forecast: simulated companies, four quarters ahead.

    python benchmarks/forecast.py [--worlds clean,attrition] [--seeds 40] [--first-seed 12000] [--customers 1500] [--quarters 12] [--jobs 2]

Each company's forecast is made four quarters before its data end and held against what came. Prints Markdown: by measure and quarter of
the year the share of forecasts in their 90 % range, and by measure their mean error and the continuous ranked probability score,
both in % of what came, each with its Monte-Carlo error (companies are independent, the four forecasts of one are not).
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd

from cxroi import periods
from cxroi.panel import build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import lifetime_value
from cxroi.value.outlook import OUTCOMES, QUARTERS_AHEAD, outlook, realised, scored

DRAWS = 200


def one(world: str, seed: int, customers: int, quarters: int) -> pd.DataFrame:
    """Forecasts of one company beside what came."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "company"
        simulate(folder, world=world, customers=customers, seed=seed, quarters=quarters)
        tables = read_tables(folder)
        panel = build_panel(tables)
        past = build_panel(tables, last_period=periods.label(panel.last_period - QUARTERS_AHEAD))
        value = lifetime_value(past, horizon_quarters=4, annual_discount_rate=0.1, seed=seed, draws=DRAWS)
        found = scored(outlook(value), realised(tables, panel))
    return found.assign(world=world, seed=seed)


def shown(values: pd.Series, companies: pd.Series, *, unit: float = 100.0) -> str:
    """Mean over companies ± its Monte-Carlo error."""
    own = values.groupby(companies).mean()
    return f"{unit * own.mean():.1f} ± {unit * own.std() / np.sqrt(len(own)):.1f}"


def main() -> None:
    """Simulate, forecast, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default="clean,attrition")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first-seed", type=int, default=12_000)
    parser.add_argument("--customers", type=int, default=1_500)
    parser.add_argument("--quarters", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    sizes = repeat(options.customers), repeat(options.quarters)
    for world in options.worlds.split(","):
        with ProcessPoolExecutor(options.jobs) as pool:
            found = pd.concat(pool.map(one, repeat(world), seeds, *sizes), ignore_index=True)
        inside, of_year = found["covered"].astype(float), found["quarter"].str[-1].astype(int)
        print(f"\n{world}, {options.seeds} companies of {options.customers:,}, {options.quarters} quarters\n")
        print(
            "| measure | in the 90 % range | Q1 | Q2 | Q3 | Q4 | mean error, % | CRPS, % |\n|---|---|---|---|---|---|---|---|"
        )
        for measure in OUTCOMES:
            own = found["measure"] == measure
            by_quarter = [shown(inside[own & (of_year == q)], found["seed"]) for q in range(1, 5)]
            share = (
                found.loc[own, "error"] / found.loc[own, "actual"],
                found.loc[own, "crps"] / found.loc[own, "actual"].abs(),
            )
            rest = [shown(part, found["seed"]) for part in share]
            print(f"| {measure} | {shown(inside[own], found['seed'])} | {' | '.join([*by_quarter, *rest])} |")


if __name__ == "__main__":
    main()
