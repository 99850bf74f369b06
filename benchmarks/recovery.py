"""How well the truth of simulated companies comes out of `cxroi estimate`.

    python benchmarks/recovery.py [--worlds clean,null] [--seeds 100] [--first-seed 5000] [--customers 10000] [--exposure nps] [--jobs 2]
                                  [--vary "quarters=12,invited=0.5"] [--rows rows.csv]

For every seed a company is simulated, read, and estimated on the same path as `cxroi estimate`; every method and the headline are
set against the truth written beside it. Prints a Markdown table a world: bias in % of the truth ± its Monte-Carlo error, root mean
squared error in %, spread over mean standard error, coverage of the 95 % intervals ± its Monte-Carlo error, and the share of
seeds in which the method led. Where the truth is 0, bias and error are in standard errors, and one less the coverage is
the rate of false alarms. ``--vary`` changes the world's parameters (see cxroi/simulate/worlds.py), or ``quarters``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd

from cxroi.panel import build_panel
from cxroi.simulate import simulate, world_named
from cxroi.tables import read_tables
from cxroi.value import estimate

DRAWS = 200
FIRST_SEED = 5000
KEYS = ["outcome", "exposure", "estimand"]
SHOWN = [(outcome, "ame") for outcome in ("retained", "orders", "margin", "referrals", "service_cost", "ltv")] + [
    ("ltv", "ame_fading")
]
WORLDS = "clean,null,confounded-seen,asymmetric,attrition,noisy-scores,selective-answering,confounded-unseen,reverse,initiative"


def one(world: str, seed: int, customers: int, vary: dict[str, float], exposure: str) -> pd.DataFrame:
    """All estimates of one score of one company with their truth."""
    changes = dict(vary)
    quarters = int(changes.pop("quarters", 8))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "company"
        made = simulate(
            folder, world=replace(world_named(world), **changes), customers=customers, seed=seed, quarters=quarters
        )
        truth = json.loads(made.read_text(encoding="utf-8"))
        panel = replace(build_panel(read_tables(folder)), metrics=(exposure,))
        rows = estimate(panel, draws=DRAWS).tidy()
    known = pd.DataFrame(truth["effects"])[[*KEYS, "estimate"]].rename(columns={"estimate": "truth"})
    shown = rows[rows["estimate"].notna() & rows["estimand"].isin(["ame", "ame_fading"])]
    return shown.merge(known, on=KEYS).assign(seed=seed, world=world)


def summary(rows: pd.DataFrame, seeds: int) -> dict[str, str]:
    """Figures of one method for one outcome."""
    miss = rows["estimate"] - rows["truth"]
    is_null = not rows["truth"].abs().mean()
    scale = rows["std_error"].mean() if is_null else rows["truth"].abs().mean() / 100
    unit = " se" if is_null else " %"
    covered = ((rows["conf_low"] <= rows["truth"]) & (rows["truth"] <= rows["conf_high"])).mean()
    return {
        "seeds": str(len(rows)),
        "bias": f"{miss.mean() / scale:+.1f} ± {miss.std() / np.sqrt(len(miss)) / scale:.1f}{unit}",
        "RMSE": f"{np.sqrt((miss**2).mean()) / scale:.1f}{unit}",
        "spread / error": f"{miss.std() / rows['std_error'].mean():.2f}",
        "coverage": f"{covered:.3f} ± {np.sqrt(covered * (1 - covered) / len(rows)):.3f}",
        "led": f"{rows['headline'].sum() / seeds:.0%}",
    }


def table(rows: pd.DataFrame, exposure: str) -> str:
    """Markdown table of a world: a row an outcome and method, the headline last."""
    own = rows[rows["exposure"] == exposure]
    seeds = own["seed"].nunique()
    lines: list[dict[str, str]] = []
    for outcome, estimand in SHOWN:
        of_outcome = own[(own["outcome"] == outcome) & (own["estimand"] == estimand)]
        methods = of_outcome["method"].unique() if outcome != "ltv" else []
        parts = [(str(method), of_outcome[of_outcome["method"] == method]) for method in methods]
        parts.append(("**headline**", of_outcome if outcome == "ltv" else of_outcome[of_outcome["headline"]]))
        name = outcome if estimand == "ame" else f"{outcome}, fading"
        lines += [
            {"outcome": name, "method": method, **summary(part, seeds)} for method, part in parts if len(part) > 1
        ]
    header = list(lines[0])
    body = ["| " + " | ".join(line[name] for name in header) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(header) + " |", "|---" * len(header) + "|", *body])


def main() -> None:
    """Simulate, estimate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", default=WORLDS)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--exposure", default="nps")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--vary", default="")
    parser.add_argument("--rows", type=Path, help="also write every estimate to this CSV")
    options = parser.parse_args()
    pairs = (part.split("=") for part in options.vary.split(",") if part)
    vary = {name.strip(): float(value) for name, value in pairs}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    found: list[pd.DataFrame] = []
    for world in options.worlds.split(","):
        with ProcessPoolExecutor(options.jobs) as workers:
            parts = list(
                workers.map(
                    one, repeat(world), seeds, repeat(options.customers), repeat(vary), repeat(options.exposure)
                )
            )
        found.append(pd.concat(parts, ignore_index=True))
        varied = f", {options.vary}" if vary else ""
        print(f"\n### {world}: {options.seeds} seeds × {options.customers:,} customers{varied}, {options.exposure}\n")
        print(table(found[-1], options.exposure), flush=True)
    if options.rows:
        pd.concat(found, ignore_index=True).to_csv(options.rows, index=False)


if __name__ == "__main__":
    main()
