"""What differs between two runs and why: data, assumptions or code, and how much of a figure's change each one made.

Nothing is guessed. A figure's whole change belongs to a cause where only that one changed. Where several did, the case
is valued four times, with the linkage and with the case of either run, as both stored them; the change through the
linkage and that through the case are then known, and what no recomputation explains is the code's. A change that still
mixes causes stays in ``not_split``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from cxroi.case import Case, business_case
from cxroi.errors import InputError
from cxroi.report.record import RunRecord
from cxroi.tables.dataset import FILE_NAME as DATASET_FILE
from cxroi.value.response import MarginResponse

Cause = Literal["data", "assumptions", "code"]
Kind = Literal["file", "rows", "window", "case", "dataset", "parameter", "version", "source"]
CAUSES: tuple[Cause, ...] = ("data", "assumptions", "code")
PARTS = tuple(f"from_{cause}" for cause in CAUSES)
COLUMNS = (
    *("source", "subject", "figure", "before", "before_low", "before_high", "after", "after_low", "after_high"),
    *("change", "interval", "unit", "evidence_before", "evidence_after", "causes"),
    *PARTS,
    "not_split",
)
KEY = ["source", "subject", "figure"]
WHOLE = "case"  # subject of the figures of a whole case: the total, or its only programme
PROGRAMME = "programme "
ROUNDING = 1e-6
_LEFT_OUT = frozenset({"linkage_evidence"})
_CASE_ONLY = frozenset({"draws"})


@dataclass(frozen=True)
class Change:
    """One thing that differs: its ``kind`` and name, and how it stood before and after; empty where it was not there."""

    cause: Cause
    kind: Kind
    name: str
    before: str
    after: str
    reaches_linkage: bool = True


def changes(before: RunRecord, after: RunRecord) -> tuple[Change, ...]:
    """Everything that differs between two runs, by cause: data, assumptions, code."""
    return (*_data(before, after), *_assumptions(before, after), *_code(before, after))


def causes_of(found: Sequence[Change], *, linkage_only: bool = False) -> tuple[Cause, ...]:
    """Which causes changed; with ``linkage_only`` those that can reach an estimate."""
    reached = {each.cause for each in found if each.reaches_linkage or not linkage_only}
    return tuple(cause for cause in CAUSES if cause in reached)


def figures(before: RunRecord, after: RunRecord) -> pd.DataFrame:
    """Every headline figure before and after, its change and the causes of that, the columns of ``compare.csv``.

    ``source`` is ``estimates`` (``interval`` 0.95), ``case`` (base scenario, 0.9) or ``scores`` (last quarter of each run,
    0.95). The parts ``from_data, from_assumptions, from_code, not_split`` sum to ``change``.
    """
    found = changes(before, after)
    tables = [(_estimates(each), _case(each), _scores(each)) for each in (before, after)]
    several = any((run.case["programme"].astype(str) == "total").any() for run in (before, after))
    sides = [pd.concat(each, ignore_index=True) for each in tables]
    sides = [each if several else each[~each["subject"].str.startswith(PROGRAMME)] for each in sides]
    both = sides[0].merge(sides[1], on=KEY, how="outer", suffixes=("_of_before", "_of_after"), sort=False)
    both = both.set_index(KEY).reindex(_order(sides)).reset_index()
    split = _recomputed(before, after)
    through_linkage = causes_of(found, linkage_only=True)
    everything = causes_of(found)
    rows = []
    for each in both.to_dict("records"):
        change = each["value_of_after"] - each["value_of_before"]
        reached = everything if each["source"] == "case" else through_linkage
        through = split.get((each["subject"], each["figure"])) if each["source"] == "case" else None
        rows.append(
            {
                **{name: each[name] for name in KEY},
                "before": each["value_of_before"],
                "before_low": each["low_of_before"],
                "before_high": each["high_of_before"],
                "after": each["value_of_after"],
                "after_low": each["low_of_after"],
                "after_high": each["high_of_after"],
                "change": change,
                "interval": _first(each, "interval"),
                "unit": _first(each, "unit"),
                "evidence_before": _text(each["evidence_of_before"]),
                "evidence_after": _text(each["evidence_of_after"]),
                "causes": "+".join(reached),
                **_parts(change, reached, through, through_linkage, size=abs(each["value_of_after"])),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def why_not_split(before: RunRecord, after: RunRecord) -> str:
    """Key of the reason why the case's change cannot be split by recomputing it; empty where it can, or need not be."""
    if before.response is None or after.response is None or before.stated is None or after.stated is None:
        return "nothing_stored"
    return "" if _corners(before, after) is not None else "does_not_fit"


def _parts(
    change: float,
    reached: Sequence[Cause],
    through: tuple[float, float] | None,
    through_linkage: Sequence[Cause],
    *,
    size: float,
) -> dict[str, float]:
    """How much of a change each cause made; the parts sum to it. ``size`` is that of the figure itself."""
    parts = {**dict.fromkeys(PARTS, 0.0), "not_split": 0.0}
    if not np.isfinite(change):
        return dict.fromkeys(parts, np.nan)
    if change == 0.0:
        return parts
    if len(reached) == 1:
        return parts | {f"from_{reached[0]}": change}
    if through is None or not all(np.isfinite(through)):
        return parts | {"not_split": change}
    linkage, case = through
    rest = change - linkage - case
    if "code" not in reached:  # what was stored has ten digits; more than their rounding has no cause that is known
        is_rounding = abs(rest) <= ROUNDING * max(abs(linkage), abs(case), size)
        linkage, rest = (linkage + rest, 0.0) if is_rounding else (linkage, rest)
    parts["from_assumptions"] += case
    parts[f"from_{through_linkage[0]}" if len(through_linkage) == 1 else "not_split"] += linkage
    parts["from_code" if "code" in reached else "not_split"] += rest
    return parts


def _recomputed(before: RunRecord, after: RunRecord) -> dict[tuple[str, str], tuple[float, float]]:
    """Change of each figure of the case through the linkage and through the case: mean of both orders, where both can be had."""
    corners = _corners(before, after)
    if corners is None:
        return {}
    old, new, new_linkage, new_case = corners
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for key in old.keys() & new.keys():
        orders = []
        if new_linkage is not None and key in new_linkage:  # the data first
            orders.append((new_linkage[key] - old[key], new[key] - new_linkage[key]))
        if new_case is not None and key in new_case:  # the assumptions first
            orders.append((new[key] - new_case[key], new_case[key] - old[key]))
        if orders:
            found[key] = (float(np.mean([each[0] for each in orders])), float(np.mean([each[1] for each in orders])))
    return found


Cells = dict[tuple[str, str], float]


def _corners(before: RunRecord, after: RunRecord) -> tuple[Cells, Cells, Cells | None, Cells | None] | None:
    """Figures of old linkage and old case, of new and new, of new linkage and old case, of old linkage and new case."""
    old = _valued(before.response, before)
    new = _valued(after.response, after)
    mixed = _valued(after.response, before), _valued(before.response, after)
    if old is None or new is None or mixed == (None, None):
        return None
    return old, new, *mixed


def _valued(response: MarginResponse | None, run: RunRecord) -> Cells | None:
    """Figures of a run's case on a linkage; None where the case does not fit it."""
    if response is None or run.stated is None:
        return None
    try:
        found = business_case(
            response, run.stated, seed=int(run.manifest["seed"]), draws=int(run.facts.get("draws", 10_000))
        )
    except (InputError, KeyError, TypeError):
        return None
    told = _case_rows(found.tidy(), run.stated)
    return {(str(row["subject"]), str(row["figure"])): float(row["value"]) for row in told.to_dict("records")}


# ---------------------------------------------------------------------------------------------------- what differs


def _data(before: RunRecord, after: RunRecord) -> Iterator[Change]:
    for name, old, new in _differing(_hashes(before), _hashes(after)):
        if not name.endswith((".yaml", ".md")):
            yield Change("data", "file", name, old[:12], new[:12])
    for name, old, new in _differing(_rows_kept(before), _rows_kept(after)):
        yield Change("data", "rows", name, old, new)
    for name, old, new in _differing(_window(before), _window(after)):
        yield Change("data", "window", name, old, new)


def _hashes(run: RunRecord) -> dict[str, str]:
    return {str(each["file"]): str(each["sha256"]) for each in run.manifest.get("inputs", [])}


def _window(run: RunRecord) -> dict[str, str]:
    window = run.facts.get("window") or {}
    found = {"first_day": window.get("first", ""), "last_day": window.get("last", "")}
    return {**found, "active_customers": str(run.facts.get("active_customers", ""))}


def _rows_kept(run: RunRecord) -> dict[str, str]:
    """Rows kept and lost of each table and of the panel, as texts."""
    accounting = run.manifest.get("accounting") or {}
    tables = {f"{row['table']}: {row['reason']}": f"{row['rows']}" for row in accounting.get("tables", [])}
    panel = {f"{row['stage']}: {row['reason']}": f"{row['rows']}" for row in accounting.get("panel", [])}
    return {name: rows for name, rows in {**tables, **panel}.items() if not name.endswith(": read")}


def _assumptions(before: RunRecord, after: RunRecord) -> Iterator[Change]:
    if not before.facts or not after.facts:  # a run of an earlier version says no more than the hashes of its files
        for name, old, new in _differing(_hashes(before), _hashes(after)):
            if name.endswith(".yaml"):
                yield Change("assumptions", "file", name, old[:12], new[:12], name == DATASET_FILE)
    cases = [_flat(_by_id(run.facts.get("case") or {})) for run in (before, after)]
    for name, old, new in _differing(*cases):
        yield Change("assumptions", "case", name, old, new, name.endswith("score_gain.metric"))
    assumed = [run.facts.get("assumed") or {} for run in (before, after)]
    for name, old, new in _differing(_flat(assumed[0]), _flat(assumed[1])):
        yield Change("assumptions", "dataset", name, old, new)
    for name, old, new in _differing(_parameters(before), _parameters(after)):
        yield Change("assumptions", "parameter", name, old, new, name not in _CASE_ONLY)


def _parameters(run: RunRecord) -> dict[str, str]:
    """Parameters that can change a figure of the tables: the seed and the draws; the last quarter shows in the window."""
    case_draws = run.facts.get("draws")
    found = {"seed": str(run.manifest.get("seed", ""))}
    return found | ({"draws": str(case_draws)} if case_draws is not None else {})


def _code(before: RunRecord, after: RunRecord) -> Iterator[Change]:
    versions = [dict(run.manifest.get("versions") or {}) for run in (before, after)]
    for name, old, new in _differing(*versions):
        yield Change("code", "version", name, old, new)
    codes, commits = _sources(before, after)
    if codes[0] != codes[1]:
        yield Change("code", "source", "cxroi", codes[0][:12], codes[1][:12])
    if commits[0] != commits[1] and (codes[0] != codes[1] or not codes[0]):
        yield Change("code", "source", "git", commits[0][:12], commits[1][:12])


def _sources(*runs: RunRecord) -> tuple[list[str], list[str]]:
    """Hash of the package's files, and git commit, of each run; empty where it has none."""
    return (
        [str(run.manifest.get("code_sha256", "")) for run in runs],
        [str((run.manifest.get("git") or {}).get("commit", "")) for run in runs],
    )


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, value before and value after of everything that differs; empty where one side lacks it."""
    for name in dict.fromkeys([*before, *after]):
        sides = (before.get(name, ""), after.get(name, ""))
        if sides[0] != sides[1]:
            yield (name, *sides)


def _by_id(case: Mapping[str, Any]) -> dict[str, Any]:
    """The case with its programmes under their ids, so that another order is no difference."""
    programmes = case.get("programmes")
    if not isinstance(programmes, list):
        return dict(case)
    named = {
        str(each.get("id")): {k: v for k, v in each.items() if k != "id"}
        for each in programmes
        if isinstance(each, dict)
    }
    return {**{name: value for name, value in case.items() if name != "programmes"}, **named}


def _flat(tree: Any, prefix: str = "") -> dict[str, str]:
    """Nested values as one mapping of dotted names to texts."""
    if isinstance(tree, Mapping):
        found: dict[str, str] = {}
        for name, value in tree.items():
            found |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
        return found
    if isinstance(tree, list) and any(isinstance(each, Mapping) for each in tree):
        found = {}
        for at, each in enumerate(tree):
            found |= _flat(each, f"{prefix}[{at}]")
        return found
    if tree is None or tree == []:
        return {}
    if isinstance(tree, list):
        return {prefix: ", ".join(str(each) for each in tree)}
    return {prefix: f"{tree:g}" if isinstance(tree, float) and not isinstance(tree, bool) else str(tree)}


# ---------------------------------------------------------------------------------------------------- figures of a run

_SIDE = [*KEY, "value", "low", "high", "interval", "unit", "evidence"]


def _estimates(run: RunRecord) -> pd.DataFrame:
    """Headline rows of ``estimates.csv``, and the value of a point that fades."""
    table = run.estimates
    chosen = table["headline"].astype(str).str.lower() == "true"
    fading = (table["estimand"] == "ame_fading") & (table["segment"] == "all")
    own = table[(chosen | fading) & table["estimate"].notna()]
    return pd.DataFrame(
        {
            "source": "estimates",
            "subject": own["outcome"].astype(str) + " x " + own["exposure"].astype(str),
            "figure": own["estimand"],
            "value": own["estimate"],
            "low": own["conf_low"],
            "high": own["conf_high"],
            "interval": 0.95,
            "unit": own["unit"],
            "evidence": own["evidence"],
        },
        columns=_SIDE,
    ).drop_duplicates(KEY, ignore_index=True)


def _case(run: RunRecord) -> pd.DataFrame:
    rows = _case_rows(run.case, run.stated)
    evidence = run.facts.get("figures", {}).get("evidence", "") if len(rows) else ""
    return rows.assign(evidence=evidence)[_SIDE]


def _case_rows(table: pd.DataFrame, stated: Case | None) -> pd.DataFrame:
    """Base scenario of ``case.csv``: the whole case, and each programme where there are several."""
    own = table[(table["scenario"] == "base") & ~table["measure"].isin(_LEFT_OUT)]
    programmes = list(dict.fromkeys(own["programme"].astype(str)))
    whole = "total" if "total" in programmes else programmes[-1] if programmes else ""
    of_whole = own[own["programme"].astype(str) == whole].assign(subject=WHOLE)
    alone = own[own["programme"].astype(str) != "total"]
    alone = alone.assign(subject=PROGRAMME + alone["programme"].astype(str))
    found = pd.concat([of_whole, alone], ignore_index=True)
    single = found["low"].isna() | (found["low"] == found["high"])
    value = found["median"].where(found["median"].notna(), found["mean"])
    return pd.DataFrame(
        {
            "source": "case",
            "subject": found["subject"],
            "figure": found["measure"],
            "value": value.astype(float),
            "low": found["low"].astype(float).mask(single),
            "high": found["high"].astype(float).mask(single),
            "interval": 0.9,
            "unit": found["unit"],
        }
    )


def _scores(run: RunRecord) -> pd.DataFrame:
    """Last known score of each metric."""
    known = run.scores[run.scores["estimate"].notna()]
    last = known.groupby("metric", sort=False).tail(1)
    return pd.DataFrame(
        {
            "source": "scores",
            "subject": last["metric"].astype(str),
            "figure": "score",
            "value": last["estimate"].astype(float),
            "low": last["conf_low"].astype(float),
            "high": last["conf_high"].astype(float),
            "interval": 0.95,
            "unit": "score",
            "evidence": "",
        },
        columns=_SIDE,
    )


def _order(sides: Sequence[pd.DataFrame]) -> pd.MultiIndex:
    """Keys of both sides, in the order of the second and then what only the first has."""
    both = pd.concat([sides[1][KEY], sides[0][KEY]], ignore_index=True).drop_duplicates()
    rank = {"scores": 0, "estimates": 1, "case": 2}
    both = both.assign(rank=both["source"].map(rank)).sort_values("rank", kind="stable")
    return pd.MultiIndex.from_frame(both[KEY])


def _first(row: Mapping[Any, Any], name: str) -> Any:
    own = row[f"{name}_of_after"]
    return row[f"{name}_of_before"] if pd.isna(own) else own


def _text(x: Any) -> str:
    return "" if x is None or (not isinstance(x, str) and pd.isna(x)) else str(x)
