"""Purchase models against lifetimes on the CDNOW summary 400 times over, and how often intervals hold the truth.

    python benchmarks/baseline.py [--copies 400] [--summary ../shared/realdata/data/cdnow/cdnow_sample_cbs.csv]
                                  [--environment DIR] [--skip-lifetimes]
    python benchmarks/baseline.py --coverage [--seeds 200] [--models bg_nbd,mbg_nbd,pareto_nbd,sbg]

The first form fits BG/NBD to 942,800 customers, compression included, in a fresh process, and lifetimes' BetaGeoFitter in another one: a
throw-away virtual environment with the versions that it still works with (it has had no release since 2020), made by pip from whatever
index pip is set to, and removed afterwards unless ``--environment`` names a folder to keep. Only the fit is timed. Then seconds by the
number of distinct histories, for all three models. Target: ≥ 20× faster, parameters equal to 1e-3.

The second form draws data of known parameters: bias of the log parameters, coverage of their 95 % intervals, and of the 90 % range of
the total of expected purchases (or of customers there) in the following 39 and 156 weeks (4 and 12 periods), with Monte-Carlo errors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import pandas as pd

from cxroi.value.contractual import RetentionModel, fit_sbg, survival_of
from cxroi.value.histories import PurchaseHistories, purchase_histories_of
from cxroi.value.noncontractual import NAMES, Model, PurchaseModel, fit_purchases

PINS = ("lifetimes==0.11.3", "pandas<2", "numpy<2", "scipy<1.12", "autograd<1.8")
SUMMARY = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "data" / "cdnow" / "cdnow_sample_cbs.csv"
WEEKS, PERIODS = np.array([39.0, 156.0]), np.array([4, 12])

PREPARE = """
import json, sys, time
import pandas as pd
one = pd.read_csv(sys.argv[1])
frame = pd.concat([one] * int(sys.argv[2]), ignore_index=True).rename(columns={"T_cal": "T"})
"""
OURS = """
from cxroi.value.histories import purchase_histories_of
from cxroi.value.noncontractual import fit_bg_nbd
before = time.perf_counter()
found = fit_bg_nbd(purchase_histories_of(frame))
seconds = time.perf_counter() - before
parameters = found.parameters
"""
THEIRS = """
import warnings
warnings.simplefilter("ignore")
from lifetimes import BetaGeoFitter
fitter = BetaGeoFitter()
before = time.perf_counter()
fitter.fit(frame["x"], frame["t_x"], frame["T"])
seconds = time.perf_counter() - before
parameters = {name: float(value) for name, value in fitter.params_.items()}
"""
REPORT = """
print(json.dumps({"seconds": seconds, "customers": len(frame), "parameters": parameters}))
"""

TRUE: dict[Model, dict[str, float]] = {
    "bg_nbd": {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426},
    "mbg_nbd": {"r": 0.525, "alpha": 6.18, "a": 0.891, "b": 1.614},
    "pareto_nbd": {"r": 0.553, "alpha": 10.58, "s": 0.606, "beta": 11.67},
}
TRUE_SBG = {"alpha": 0.668, "beta": 3.806}
CUSTOMERS, OLDEST, WATCHED = 2_357, 8, 6


def run(python: str, code: str, *arguments: str) -> dict[str, object]:
    """Result of a fresh process."""
    done = subprocess.run(
        [python, "-c", PREPARE + code + REPORT, *arguments], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def lifetimes_python(folder: Path) -> str:
    """Python of an environment with lifetimes, made where there is none yet."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PINS], check=True, capture_output=True)
    return str(python)


def against_lifetimes(summary: Path, copies: int, environment: Path | None, *, alone: bool) -> None:
    """Time both and print."""
    arguments = (str(summary), str(copies))
    with tempfile.TemporaryDirectory() as scratch:
        python = None if alone else lifetimes_python(environment or Path(scratch) / "environment")
        ours = run(sys.executable, OURS, *arguments)
        theirs = None if python is None else run(python, THEIRS, *arguments)
    print(f"BG/NBD, {ours['customers']:,} customers, compression included")
    print(f"  cxroi      {ours['seconds']:.2f} s   {shown(ours['parameters'])}")
    if theirs is not None:
        own, other = dict(ours["parameters"]), dict(theirs["parameters"])  # type: ignore[call-overload]
        apart = max(abs(own[name] / value - 1) for name, value in other.items())
        print(f"  lifetimes  {theirs['seconds']:.2f} s   {shown(theirs['parameters'])}")
        print(f"  {theirs['seconds'] / ours['seconds']:.0f}× faster, largest relative difference {apart:.1e}")  # type: ignore[operator]


def shown(parameters: object) -> str:
    """Parameters in four digits."""
    assert isinstance(parameters, dict)
    return ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())


def by_distinct_histories() -> None:
    """Seconds of a fit by the number of distinct histories."""
    print("\nSeconds of a fit by distinct histories\n")
    print("| distinct histories | " + " | ".join(NAMES) + " |")
    print("|---" * (len(NAMES) + 1) + "|")
    generator = np.random.default_rng(1)
    for customers in (5_000, 20_000, 80_000, 320_000):
        model = PurchaseModel.of("pareto_nbd", TRUE["pareto_nbd"])
        histories = model.history_draws(generator.uniform(10, 150, customers), generator=generator)
        repeat = histories.table[histories.table["frequency"] > 0]
        distinct = purchase_histories_of(repeat.rename(columns={"frequency": "x", "recency": "t_x", "age": "T"}))
        cells = []
        for name in NAMES:
            before = time.perf_counter()
            fit_purchases(name, distinct)
            cells.append(f"{time.perf_counter() - before:.2f}")
        print(f"| {len(distinct.table):,} | " + " | ".join(cells) + " |", flush=True)


def purchases_once(name: Model, seed: int) -> dict[str, float]:
    """One drawn data set of a purchase model: errors and whether intervals hold the truth."""
    generator = np.random.default_rng([seed, 9])
    true = PurchaseModel.of(name, TRUE[name])
    ages = np.round(generator.uniform(27, 39, CUSTOMERS) * 7) / 7
    histories: PurchaseHistories = true.history_draws(ages, generator=generator)
    found = fit_purchases(name, histories)
    assert isinstance(found, PurchaseModel)
    row = {}
    for term in found.tidy().itertuples():
        truth = TRUE[name][str(term.parameter)]
        row[f"{term.parameter}: error"] = float(np.log(term.estimate / truth))  # type: ignore[operator]
        row[f"{term.parameter}: covered"] = float(term.conf_low <= truth <= term.conf_high)  # type: ignore[operator]
    table = histories.table
    n, *columns = (table[each].to_numpy(dtype=float) for each in ("customers", "frequency", "recency", "age"))
    totals = n @ true.expected_purchases(WEEKS, *columns), n @ found.expected_purchases(WEEKS, *columns)
    drawn = found.expected_draws(found.parameter_draws(generator, 200), WEEKS, *columns)
    ranges = np.quantile(np.einsum("c,dct->dt", n, drawn), [0.05, 0.95], axis=0)
    for place, weeks in enumerate(WEEKS):
        row[f"purchases of {weeks:.0f} weeks: error"] = float(np.log(totals[1][place] / totals[0][place]))
        row[f"purchases of {weeks:.0f} weeks: covered"] = float(
            ranges[0, place] <= totals[0][place] <= ranges[1, place]
        )
    return row


def retention_once(seed: int) -> dict[str, float]:
    """One drawn base under contract: cohorts of ages 0…8 at the start (survivors only), six periods watched, joiners in each."""
    generator = np.random.default_rng([seed, 8])
    true = RetentionModel.of(**TRUE_SBG)
    rows, active = [], []
    for joined in range(-OLDEST, WATCHED):
        chance = generator.beta(TRUE_SBG["alpha"], TRUE_SBG["beta"], 300)
        lifetime = generator.geometric(chance)
        entry = max(-joined, 0)
        lifetime = lifetime[lifetime > entry]
        for age in range(entry + 1, WATCHED - joined + 1):
            at_risk = int((lifetime >= age).sum())
            rows.append((age, at_risk, int((lifetime == age).sum())))
        active.append((WATCHED - joined, int((lifetime > WATCHED - joined).sum())))
    found = fit_sbg(pd.DataFrame(rows, columns=["age", "at_risk", "lost"]))
    assert isinstance(found, RetentionModel)
    row = {}
    for term in found.tidy().itertuples():
        truth = TRUE_SBG[str(term.parameter)]
        row[f"{term.parameter}: error"] = float(np.log(term.estimate / truth))  # type: ignore[operator]
        row[f"{term.parameter}: covered"] = float(term.conf_low <= truth <= term.conf_high)  # type: ignore[operator]
    parameters = np.vstack(
        [[true.theta, true.sigma], [found.theta, found.sigma], found.parameter_draws(generator, 200)]
    )
    there = sum(n * survival_of(parameters, age + PERIODS, since=age) for age, n in active)
    for place, later in enumerate(PERIODS):
        low, high = np.quantile(there[2:, place], [0.05, 0.95])  # type: ignore[index]
        row[f"there after {later} periods: error"] = float(np.log(there[1, place] / there[0, place]))  # type: ignore[index]
        row[f"there after {later} periods: covered"] = float(low <= there[0, place] <= high)  # type: ignore[index]
    return row


def coverage(models: list[str], seeds: int) -> None:
    """Bias and coverage in drawn data, a Markdown table a model."""
    for name in models:
        rows = [retention_once(seed) if name == "sbg" else purchases_once(name, seed) for seed in range(seeds)]  # type: ignore[arg-type]
        table = pd.DataFrame(rows)
        print(
            f"\n### {name}, {seeds} data sets\n\n| | bias of the log | spread of the log | coverage |\n|---|---|---|---|"
        )
        for term in dict.fromkeys(column.split(":")[0] for column in table):
            error, covered = table[f"{term}: error"], table[f"{term}: covered"].mean()
            nominal = "95 %" if term in {*TRUE_SBG, *(each for names in NAMES.values() for each in names)} else "90 %"
            print(
                f"| {term} | {error.mean():+.3f} ± {error.std() / seeds**0.5:.3f} | {error.std():.3f} "
                f"| {covered:.3f} ± {(covered * (1 - covered) / seeds) ** 0.5:.3f} (of {nominal}) |",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=400)
    parser.add_argument("--summary", type=Path, default=SUMMARY)
    parser.add_argument("--environment", type=Path, help="folder of the environment with lifetimes, kept")
    parser.add_argument("--skip-lifetimes", action="store_true")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--models", default=",".join([*NAMES, "sbg"]))
    options = parser.parse_args()
    if options.coverage:
        coverage(options.models.split(","), options.seeds)
        return
    against_lifetimes(options.summary, options.copies, options.environment, alone=options.skip_lifetimes)
    by_distinct_histories()


if __name__ == "__main__":
    main()
