"""Clustered logit and Poisson fit against statsmodels' formula fit, same data, same figures.

    python benchmarks/fit.py [--rows 3.2] [--columns 10] [--repeats 3]

Each fit runs in a fresh process, so that peak memory is its own; the two take turns and the fastest run of each counts (the first
touch of a machine's memory can take longer than the fit). Prints seconds by the clock and of the processor (the latter mean
something on a busy machine too), ratios, memory and the largest relative difference of coefficients and clustered errors.
Targets at 3.2 million rows: ≥ 8× faster, ≤ half the memory, same figures to 1e-6.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

PREPARE = """
import atexit, json, resource, sys, time
import numpy as np, pandas as pd
rows, columns, family = int(float(sys.argv[1]) * 1e6), int(sys.argv[2]), sys.argv[3]
generator = np.random.default_rng(1)
clusters = np.sort(generator.integers(0, rows // 3, rows))
frame = pd.DataFrame(generator.standard_normal((rows, columns - 1)), columns=[f"x{i}" for i in range(columns - 1)])
predictor = 0.5 + 0.3 * frame["x0"].to_numpy() + 0.2 * generator.standard_normal(rows // 3)[clusters % (rows // 3)]
if family == "logit":
    frame["y"] = (generator.random(rows) < 1 / (1 + np.exp(-predictor))).astype(float)
else:
    frame["y"] = generator.poisson(np.exp(predictor)).astype(float)
right = " + ".join(f"x{i}" for i in range(columns - 1))
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
OURS = """
import formulaic
from cxroi.linkage.fit import fit
before, used = time.perf_counter(), time.process_time()
design = np.asfortranarray(formulaic.Formula(right).get_model_matrix(frame).to_numpy(dtype=float))
result = fit(design, frame["y"].to_numpy(), clusters, family=family)
seconds, used = time.perf_counter() - before, time.process_time() - used
coefficients, errors = result.coefficients, result.std_errors
"""
THEIRS = """
import statsmodels.api as sm
import statsmodels.formula.api as smf
before, used = time.perf_counter(), time.process_time()
groups = dict(cov_type="cluster", cov_kwds={"groups": clusters})
if family == "logit":
    result = smf.logit("y ~ " + right, frame).fit(disp=0, **groups)
else:
    result = smf.poisson("y ~ " + right, frame).fit(disp=0, **groups)
seconds, used = time.perf_counter() - before, time.process_time() - used
coefficients, errors = result.params.to_numpy(), result.bse.to_numpy()
"""
REPORT = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
extra = (peak - base) / 2**20
print(json.dumps({"seconds": seconds, "processor": used, "extra": extra, "b": coefficients.tolist(), "se": errors.tolist()}))
"""


def run(code: str, *arguments: str) -> dict[str, object]:
    """Result of a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + code + REPORT, *arguments], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure both families and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="3.2", help="million")
    parser.add_argument("--columns", default="10")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    for family in ("logit", "poisson"):
        runs = [
            [run(code, options.rows, options.columns, family) for code in (OURS, THEIRS)]
            for _ in range(options.repeats)
        ]
        ours, theirs = (min(each, key=lambda one: float(str(one["seconds"]))) for each in zip(*runs, strict=True))
        apart = max(
            abs(mine / other - 1)
            for key in ("b", "se")
            for mine, other in zip(ours[key], theirs[key], strict=True)  # type: ignore[call-overload]
        )
        faster, leaner = theirs["seconds"] / ours["seconds"], ours["extra"] / theirs["extra"]  # type: ignore[operator]
        print(f"{family}, {options.rows} million rows × {options.columns} columns")
        print(
            f"  seconds                    cxroi {ours['seconds']:.2f}, statsmodels {theirs['seconds']:.2f}: {faster:.1f}× faster"
        )
        less = theirs["processor"] / ours["processor"]  # type: ignore[operator]
        print(
            f"  processor seconds          cxroi {ours['processor']:.2f}, statsmodels {theirs['processor']:.2f}: {less:.1f}× less"
        )
        print(
            f"  GiB above the data         cxroi {ours['extra']:.2f}, statsmodels {theirs['extra']:.2f}: {leaner:.2f}×"
        )
        print(f"  largest relative difference {apart:.1e}")


if __name__ == "__main__":
    main()
