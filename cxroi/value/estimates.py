"""The standard estimates of a company: every outcome, every score, every method, one tidy table."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from cxroi.evidence.findings import ROW_COLUMNS, Findings, gather
from cxroi.linkage import EVERY_OUTCOME, METHODS, Linkage, headline_method, standard_linkages, unit
from cxroi.panel import Panel
from cxroi.spreadsheet import neutral_table
from cxroi.value.lifetime import CustomerValue, value_from_linkages

COLUMNS = (*ROW_COLUMNS, "headline")
DRAWS = 500
DIGITS = 10  # significant; more would show the order of summation
MONTHS_OF_A_QUARTER = 3


@dataclass(frozen=True)
class Estimates:
    """Linkages of every score and the value of a point, fitted once.

    ``linkages[exposure][outcome, method]`` is a ``Linkage`` or the reason why there is none; ``values[exposure]`` a
    ``CustomerValue`` or a reason.
    """

    panel: Panel
    linkages: dict[str, dict[tuple[str, str], Linkage | str]]
    values: dict[str, CustomerValue | str]

    def __repr__(self) -> str:
        return repr(self.tidy())

    def tidy(self) -> pd.DataFrame:
        """The columns of ``estimates.csv``, a row an estimate; see ``docs/contract`` for their meaning."""
        return self._table.copy()

    @cached_property
    def _table(self) -> pd.DataFrame:
        rows: list[dict[str, object]] = []
        for exposure, found in self.linkages.items():
            for (outcome, method), linkage in found.items():
                rows += _linkage_rows(outcome, exposure, method, linkage, found, self.panel.currency)
            rows += _value_rows(exposure, self.values[exposure], self.panel)
        if not self.linkages:
            for outcome in (*EVERY_OUTCOME, "ltv"):
                rows.append(
                    _row(
                        outcome=outcome,
                        exposure="nps",
                        estimand="ame",
                        method="not estimated: the data have no answers",
                        unit=unit(outcome, self.panel.currency),
                    )
                )
        return _rounded(pd.DataFrame(rows, columns=list(COLUMNS)))

    @cached_property
    def findings(self) -> dict[str, Findings]:
        """What stands behind, and against, the headline of each score; computed when first asked for."""
        return {exposure: gather(self.panel, found, exposure) for exposure, found in self.linkages.items()}

    def with_evidence(self) -> pd.DataFrame:
        """All rows of ``estimates.csv``: those of :meth:`tidy` and beside them those of every score's findings."""
        return self._all_rows.copy()

    @cached_property
    def _all_rows(self) -> pd.DataFrame:
        beside = _beside(self.findings.values())
        return pd.concat([self._table, beside], ignore_index=True) if len(beside) else self.tidy()

    def glance(self) -> pd.DataFrame:
        """The headline rows only."""
        table = self._table
        return table[table["headline"]].reset_index(drop=True)

    def checks(self) -> pd.DataFrame:
        """Checks of every headline equation: ``outcome, exposure, name, verdict, number, advice``."""
        parts = [
            linkage.checks().assign(outcome=outcome, exposure=exposure)
            for exposure, found in self.linkages.items()
            for (outcome, method), linkage in found.items()
            if isinstance(linkage, Linkage) and method == headline_method(found)
        ]
        columns = ["outcome", "exposure", "name", "verdict", "number", "advice"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def to_csv(self, path: str) -> None:
        """Write ``estimates.csv``: :meth:`with_evidence`."""
        write_estimates(self.with_evidence(), path)


def write_estimates(table: pd.DataFrame, path: str) -> None:
    """Write rows of estimates as ``estimates.csv``."""
    said = table["headline"].map({True: "true", False: "false"})
    told = [name for name in ("method", "segment") if name in table]
    neutral_table(table.assign(headline=said), told).to_csv(path, index=False, lineterminator="\n")


def estimates_table(panel: Panel, *, seed: int = 20, draws: int = DRAWS) -> pd.DataFrame:
    """The rows of :meth:`Estimates.with_evidence`, one score after the other: the equations of only one are held at a time.

    Parameters
    ----------
    panel : Panel
    seed, draws : int
        As in :func:`estimate`.
    """
    if not panel.metrics:
        return estimate(panel, seed=seed, draws=draws).with_evidence()
    gc.collect()  # the engine that read the tables is held by cycles

    def of(exposure: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        own = panel.fresh()
        found = estimate(own, exposures=(exposure,), seed=seed, draws=draws)
        needed = {"raw", "adjusted", headline_method(found.linkages[exposure])}
        equations = {key: linkage for key, linkage in found.linkages[exposure].items() if key[1] in needed}
        with ThreadPoolExecutor(1) as another:
            standard = another.submit(found.tidy)
            del found  # and with it, once they are told, the equations that nothing below looks at
            beside = _beside([gather(own, equations, exposure)])
            return standard.result(), beside

    parts = [of(exposure) for exposure in panel.metrics]
    tables = [*(standard for standard, _ in parts), *(beside for _, beside in parts if len(beside))]
    return pd.concat(tables, ignore_index=True)


def _beside(findings: Iterable[Findings]) -> pd.DataFrame:
    """Rows of findings in the columns of ``estimates.csv``."""
    parts = [found.tidy().assign(headline=False) for found in findings]
    return (
        _rounded(pd.concat(parts, ignore_index=True)[list(COLUMNS)]) if parts else pd.DataFrame(columns=list(COLUMNS))
    )


def estimate(panel: Panel, *, exposures: Sequence[str] | None = None, seed: int = 20, draws: int = DRAWS) -> Estimates:
    """All standard linkage estimates of a panel: every method for every score and outcome, and the value of a point.

    Parameters
    ----------
    panel : Panel
    exposures : sequence of str, optional
        Some of the panel's scores only.
    seed : int
        Of the draws behind the value of a point.
    draws : int

    Returns
    -------
    Estimates
    """

    def one(exposure: str) -> tuple[dict[tuple[str, str], Linkage | str], CustomerValue | str]:
        found = standard_linkages(panel, exposure)
        if panel.value_terms is None:
            return found, "no value: {horizon_months, annual_discount_rate} in dataset.yaml"
        if panel.period != "quarter":
            return found, "lifetime value is computed from a quarterly panel"
        terms = (-(-panel.value_terms[0] // MONTHS_OF_A_QUARTER), panel.value_terms[1])
        generator = np.random.default_rng(seed)
        value = value_from_linkages(panel, found, exposure, terms, generator=generator, seed=seed, draws=draws)
        return found, value

    results = {exposure: one(exposure) for exposure in (panel.metrics if exposures is None else exposures)}
    linkages = {exposure: found for exposure, (found, _) in results.items()}
    values = {exposure: value for exposure, (_, value) in results.items()}
    return Estimates(panel, linkages, values)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Figures with ten digits, counts as whole numbers."""
    table = table.copy()
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        table[column] = [float(f"{value:.{DIGITS}g}") for value in table[column].astype(float)]
    for column in ("n_obs", "n_clusters"):
        table[column] = table[column].astype("Int64")
    return table


def _row(**values: object) -> dict[str, object]:
    empty: dict[str, object] = dict.fromkeys(COLUMNS)
    return empty | {"segment": "all", "headline": False} | values


def _linkage_rows(
    outcome: str,
    exposure: str,
    method: str,
    linkage: Linkage | str,
    found: dict[tuple[str, str], Linkage | str],
    currency: str,
) -> list[dict[str, object]]:
    common = {"outcome": outcome, "exposure": exposure}
    if isinstance(linkage, str):
        said = [found.get((outcome, earlier)) for earlier in METHODS[: METHODS.index(method)]]
        if linkage in said or method not in ("raw", "adjusted"):
            return []  # said once; what a finer method lacks stands in the checks of the coarser one
        return [_row(**common, estimand="ame", method=f"not estimated: {linkage}", unit=unit(outcome, currency))]
    errors = linkage.marginal_effect().iloc[0]
    shown = "firth" if linkage.separated and method == "raw" else f"{method} (firth)" if linkage.separated else method
    counts = {"n_obs": linkage.fitted.n_obs, "n_clusters": linkage.n_clusters, "evidence": linkage.evidence}
    if linkage.separated:
        counts["evidence"] = "association"
    headline = method == headline_method(found)
    rows = []
    if linkage.separated and headline:
        names = ", ".join(linkage.separated)
        reason = f"not estimated: separation ({names} tells without error who stays), so no finite figure exists"
        rows.append(_row(**common, estimand="ame", method=reason, unit=unit(outcome, currency)))
    rows.append(
        _row(
            **common,
            estimand="ame",
            method=shown,
            estimate=errors["estimate"],
            std_error=errors["std_error"],
            conf_low=errors["conf_low"],
            conf_high=errors["conf_high"],
            unit=errors["unit"],
            headline=headline and not linkage.separated,
            **counts,
        )
    )
    if (
        outcome in ("retained", "orders", "referrals")
        and exposure in linkage.design.columns
        and linkage.fitted.family != "gaussian"
    ):
        coefficient = linkage.tidy().set_index("term").loc[exposure]
        rows.append(
            _row(
                **common,
                estimand="odds_ratio" if outcome == "retained" else "rate_ratio",
                method=shown,
                estimate=np.exp(coefficient["estimate"]),
                std_error=np.exp(coefficient["estimate"]) * coefficient["std_error"],
                conf_low=np.exp(coefficient["conf_low"]),
                conf_high=np.exp(coefficient["conf_high"]),
                unit="ratio per point",
                **counts,
            )
        )
    return rows


def _value_rows(exposure: str, value: CustomerValue | str, panel: Panel) -> list[dict[str, object]]:
    common = {"outcome": "ltv", "exposure": exposure, "unit": panel.currency or "currency"}
    reason = value if isinstance(value, str) else value.reason
    if isinstance(value, str) or reason:
        return [_row(**common, estimand="ame", method=f"not estimated: {reason}")]
    assert value.margin is not None
    counts = {"n_obs": value.margin.fitted.n_obs, "n_clusters": value.margin.n_clusters, "evidence": value.evidence}
    rows = []
    for estimand, fading in (("ame", False), ("ame_fading", True)):
        if fading and value.persistence is None:
            missing = "not estimated: too few customers answered in four quarters or more to see how a gain fades"
            rows.append(_row(**common, estimand=estimand, method=missing))
            continue
        draws = value.point_draws(fading=fading)
        low, high = np.quantile(draws[1:], [0.025, 0.975])
        rows.append(
            _row(
                **common,
                estimand=estimand,
                method=value.margin.method,
                estimate=draws[0],
                std_error=draws[1:].std(ddof=1),
                conf_low=low,
                conf_high=high,
                headline=not fading,
                **counts,
            )
        )
    return rows
