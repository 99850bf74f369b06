"""Seconds that an investment case takes, beside a plain loop over draws.

The peer does what a spreadsheet or a loop around numpy-financial does: for each draw its flows, a present value by the formula, the
internal rate from the roots of the polynomial (all of them, as ``numpy.roots`` gives them), payback by walking the months. It is timed
on a few hundred draws and set against as many. CPU seconds are of this process alone, whatever else the machine does.

    python benchmarks/case.py --draws 100000 --months 60
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from cxroi.case import BusinessCase, Case, business_case
from cxroi.case.finance import periodic_rate
from cxroi.case.measures import net_flows
from cxroi.value.response import MarginResponse

PEER_DRAWS = 300


def response(quarters: int) -> MarginResponse:
    """A response of 100,000 customers with errors, 500 draws."""
    rng = np.random.default_rng(7)
    fading = 0.97 ** np.arange(quarters)
    retention, spend = (rng.normal(mean, 800.0, (500, 1)) * fading for mean in (3_000.0, 2_000.0))
    return MarginResponse(
        exposure="nps",
        customers=100_000,
        currency="VND",
        evidence="adjusted",
        baseline=np.full((500, quarters), 200_000.0) * fading,
        through_retention=retention,
        through_spend=spend,
        persistence=None,
        score_range=(0.0, 10.0),
    )


def case_of(months: int, programmes: int) -> Case:
    """Programmes with an overrun, a monthly cost and a gain between bounds."""
    stated = [
        {
            "id": f"p{at}",
            "name": "One call is enough",
            "evidence": "association",
            "score_gain": {"low": 0.1, "mode": 0.3, "high": 0.5},
            "reach": 0.4,
            "ramp_months": 6,
            "half_life_months": 24,
            "costs": [
                {"category": 2, "month": 0, "amount": 5e8, "overrun": {"low": 0.0, "mode": 0.1, "high": 0.4}},
                {"category": 1, "month": 1, "until_month": months, "amount": 6e7},
            ],
        }
        for at in range(programmes)
    ]
    terms = {"currency": "VND", "start": "2026-10-01", "horizon_months": months, "annual_discount_rate": 0.12}
    return Case.model_validate(terms | {"programmes": stated})


def loop(flows: np.ndarray, rate: float) -> None:
    """Present value, internal rate and payback of each row, one after the other."""
    for row in flows:
        sum(flow / (1 + rate) ** month for month, flow in enumerate(row))
        roots = np.roots(row[::-1])
        [1 / root.real - 1 for root in roots if abs(root.imag) < 1e-9 and root.real > 0]
        total = 0.0
        for flow in row:
            total += flow


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of the faster of two runs."""
    runs = []
    for _ in range(2):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(runs)


def main() -> None:
    """Time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--months", type=int, default=60)
    options = parser.parse_args()
    known = response(-(-options.months // 3))
    print("| what | draws | months | seconds | CPU seconds |\n|---|---|---|---|---|")

    def line(what: str, draws: int, taken: tuple[float, float]) -> None:
        print(f"| {what} | {draws:,} | {options.months} | {taken[0]:.3f} | {taken[1]:.3f} |", flush=True)

    found: list[BusinessCase] = []
    for programmes in (1, 3):
        case = case_of(options.months, programmes)

        def whole(case: Case = case) -> None:
            found.append(business_case(known, case, seed=1, draws=options.draws))

        line(f"business_case, {programmes} programme(s)", options.draws, seconds(whole))
        line("… its table", options.draws, seconds(found[-1].tidy))
    one = found[0].whole
    flows = net_flows(found[0].case, one.spent, one.besides, one.benefit, slice(PEER_DRAWS))
    taken = seconds(lambda: loop(flows, periodic_rate(0.12, 12)))
    line("loop over draws", PEER_DRAWS, taken)
    line(
        "loop over draws, set against as many",
        options.draws,
        tuple(each * options.draws / PEER_DRAWS for each in taken),
    )  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
