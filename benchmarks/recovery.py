"""How well the truth of simulated companies comes out of `cxroi estimate`.

    python benchmarks/recovery.py [--worlds clean,null] [--seeds 40] [--customers 3000] [--exposure nps]

For every seed a company is simulated, read, and estimated on the same path as `cxroi estimate`; the headline is set
against the truth written beside it. Prints a Markdown table: bias in % of the truth ± its Monte-Carlo error, spread over
mean standard error, and coverage of the 95 % intervals; in the null world bias is in standard errors, and one less the
coverage is the rate of false alarms.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from cxroi.panel import build_panel
from cxroi.simulate import simulate
from cxroi.tables import read_tables
from cxroi.value import estimate

DRAWS = 300
KEYS = ["outcome", "exposure", "estimand"]


def one(world: str, seed: int, customers: int) -> pd.DataFrame:
    """Headline rows (and the fading value) of one company with their truth."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "company"
        truth = json.loads(simulate(folder, world=world, customers=customers, seed=seed).read_text(encoding="utf-8"))
        rows = estimate(build_panel(read_tables(folder)), draws=DRAWS).tidy()
    shown = rows[(rows["headline"] | (rows["estimand"] == "ame_fading")) & rows["estimate"].notna()]
    known = pd.DataFrame(truth["effects"])[[*KEYS, "estimate"]].rename(columns={"estimate": "truth"})
    return shown.merge(known, on=KEYS).assign(seed=seed)


def summary(rows: pd.DataFrame) -> str:
    """One cell: bias ± Monte-Carlo error · spread over standard error · coverage."""
    miss = rows["estimate"] - rows["truth"]
    scale = rows["truth"].abs().mean() or rows["std_error"].mean()
    unit = " %" if rows["truth"].abs().mean() else " se"
    factor = 100 if unit == " %" else 1
    error = miss.std() / np.sqrt(len(miss))
    covered = ((rows["conf_low"] <= rows["truth"]) & (rows["truth"] <= rows["conf_high"])).mean()
    ratio = miss.std() / rows["std_error"].mean()
    return f"{factor * miss.mean() / scale:+.1f} ± {factor * error / scale:.1f}{unit} · {ratio:.2f} · {covered:.3f}"


def main() -> None:
    """Simulate, estimate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--worlds", default="clean,null,confounded-seen,asymmetric,attrition,noisy-scores,confounded-unseen,reverse"
    )
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--customers", type=int, default=3000)
    parser.add_argument("--exposure", default="nps")
    options = parser.parse_args()
    outcomes = [("retained", "ame"), ("orders", "ame"), ("margin", "ame"), ("ltv", "ame"), ("ltv", "ame_fading")]
    print(
        f"| world, {options.seeds} seeds × {options.customers} customers | "
        + " | ".join(" ".join(name) for name in outcomes)
        + " |"
    )
    print("|---" * (len(outcomes) + 1) + "|")
    for world in options.worlds.split(","):
        rows = pd.concat([one(world, 5000 + seed, options.customers) for seed in range(options.seeds)])
        rows = rows[rows["exposure"] == options.exposure]
        cells = [
            summary(rows[(rows["outcome"] == outcome) & (rows["estimand"] == estimand)])
            for outcome, estimand in outcomes
        ]
        print(f"| {world} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
