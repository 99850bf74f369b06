"""From a panel's rows to a design matrix, and to the same matrix for other rows or another score."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import formulaic
import numpy as np
import pandas as pd
from scipy import sparse

from cxroi import periods as calendar
from cxroi.linkage.fit import Floats, Ints, independent_columns
from cxroi.linkage.history import (
    NET_COLUMNS,
    SOURCES,
    NetHistory,
    learn_history,
    net_columns,
    satisfaction_correlations,
)
from cxroi.linkage.satisfaction import COLUMNS
from cxroi.panel import Panel

FEWEST_ROWS_OF_A_LEVEL = 30
MOST_LEVELS = 20
T = TypeVar("T", pd.Series, Floats)
BEND = "satisfaction_bend"  # squared distance of satisfaction from its mean
OBSERVED = "log_observed"  # of one more than the periods that a customer was seen in before
# names of a design's own columns: a control so called gets another
OWN_NAMES = re.compile(rf"Intercept|{OBSERVED}|control_\d+|.*_missing")
MISSING, OTHER = "(missing)", "(other)"


@dataclass(frozen=True)
class Preparation:
    """How controls are made fit for a regression: medians for gaps, rare levels pooled, names that a formula can hold."""

    medians: dict[str, float]
    with_gaps: tuple[str, ...]
    levels: dict[str, tuple[str, ...]]
    aliases: dict[str, str]
    periods: tuple[int, ...]
    period: calendar.Period
    net: NetHistory | None = None
    bends: tuple[str, float] | None = None

    def apply(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The same rows with numbers without gaps, categorical controls and ``period_label``; shape (rows, more columns)."""
        columns: dict[str, Any] = {}
        for column, levels in self.levels.items():
            columns[self.aliases.get(column, column)] = _with_levels(rows[column], levels)
        for column, median in self.medians.items():
            name = self.aliases.get(column, column)
            if column in self.with_gaps:
                columns[f"{name}_missing"] = rows[column].isna().astype(float)
            columns[name] = rows[column].astype(float).fillna(median)
        labels = [calendar.label(index, self.period) for index in self.periods]
        if "period" in rows:
            codes = np.searchsorted(self.periods, rows["period"].to_numpy())
            columns["period_label"] = pd.Categorical.from_codes(codes, categories=pd.Index(labels))
        if self.net is not None:
            columns |= net_columns(rows, self.net)
        if self.bends is not None:
            columns[BEND] = self._bend(rows[self.bends[0]], rows["satisfaction_spread"])
        if "periods_before" in rows:
            columns[OBSERVED] = np.log1p(rows["periods_before"].to_numpy(dtype=float))
        return rows.assign(**columns)

    def of_satisfaction(self, rows: pd.DataFrame, columns: dict[str, Floats], exposure: str) -> dict[str, Floats]:
        """Columns that follow from expected satisfaction, for other expectations (``columns``) of the same rows."""
        values = {name: columns[name] for name in (exposure, *COLUMNS)}
        if self.net is not None:
            values |= net_columns(rows[list(SOURCES)].assign(**values), self.net)
        if self.bends is not None:
            values[BEND] = self._bend(values[exposure], values["satisfaction_spread"])
        return values

    def _bend(self, score: T, spread: T) -> T:
        """Expected squared distance of satisfaction from its mean, squared points."""
        assert self.bends is not None
        return (score - self.bends[1]) ** 2 + spread


def _with_levels(values: pd.Series, levels: tuple[str, ...]) -> pd.Categorical[str]:
    """The values with these levels only; others count as ``OTHER`` where there is such a level, else as the first."""
    known = values.astype("category").cat
    place = {level: number for number, level in enumerate(levels)}
    unknown = place.get(OTHER, 0)
    of_code = [place.get(level, unknown) for level in known.categories]
    codes = np.array([*of_code, place.get(MISSING, unknown)], dtype=np.int64)[known.codes]
    return pd.Categorical.from_codes(codes, categories=pd.Index(list(levels)))


def prepare(panel: Panel, rows: pd.DataFrame, exposure: str) -> Preparation:
    """Learn from the rows of a fit how to treat gaps, rare levels and purchase history."""
    medians: dict[str, float] = {}
    levels: dict[str, tuple[str, ...]] = {}
    with_gaps: list[str] = []
    aliases: dict[str, str] = {}
    for position, column in enumerate(dict.fromkeys([*panel.controls, *panel.segments])):
        if not column.isidentifier() or keyword.iskeyword(column) or OWN_NAMES.fullmatch(column):
            aliases[column] = f"control_{position + 1}"
        if isinstance(rows[column].dtype, pd.CategoricalDtype):
            counts = rows[column].astype("object").where(rows[column].notna(), MISSING).value_counts()
            kept = list(counts.index[counts >= FEWEST_ROWS_OF_A_LEVEL][:MOST_LEVELS])
            ordered = sorted(kept, key=lambda level: (-int(counts[level]), str(level)))
            levels[column] = (*ordered, OTHER) if len(ordered) < len(counts) else tuple(ordered)
        else:
            medians[column] = float(np.nan_to_num(rows[column].median()))
            if rows[column].isna().any():
                with_gaps.append(column)
    for column in panel.history:
        medians[column] = 0.0
    correlations = satisfaction_correlations(panel, exposure)
    net = learn_history(rows, exposure, correlations)
    return Preparation(
        medians, tuple(with_gaps), levels, aliases, tuple(sorted(rows["period"].unique())), panel.period, net
    )


def adjusted_terms(panel: Panel, rows: pd.DataFrame, preparation: Preparation) -> str:
    """Right-hand side after the exposure: tenure, purchase history net of satisfaction, declared controls, period effects, time seen."""
    history = ("log_tenure", *NET_COLUMNS) if preparation.net is not None else panel.history
    terms = [column for column in history if column in NET_COLUMNS or rows[column].min() < rows[column].max()]
    for column in panel.controls:
        name = preparation.aliases.get(column, column)
        if column in preparation.levels:
            if len(preparation.levels[column]) > 1:
                terms.append(name)
        else:
            terms.append(name)
            if column in preparation.with_gaps:
                terms.append(f"{name}_missing")
    if len(preparation.periods) > 1:
        terms.append("period_label")
    if "periods_before" in rows and rows["periods_before"].min() < rows["periods_before"].max():
        terms.append(OBSERVED)
    return " + ".join(terms)


def tenure_begins_with_data(rows: pd.DataFrame) -> bool:
    """Whether nobody joined before the first period: then who was there longest joined first, and age cannot be told from that."""
    known = {"tenure", "periods_before"} <= set(rows.columns) and len(rows) > 0
    return known and bool((rows["tenure"] <= rows["periods_before"]).all())


@dataclass(frozen=True)
class Design:
    """Design matrix of some rows for one right-hand side, shared by every outcome.

    Attributes
    ----------
    matrix : array, shape (N, k)
        Independent columns only, Fortran order.
    columns : tuple of str
        Names of the k columns.
    dropped : tuple of str
        Columns that earlier ones determine.
    of_score : frozenset of str
        Those of the columns that the score is in, alone or in a product.
    """

    right_hand_side: str
    exposure: str
    preparation: Preparation
    matrix: Floats
    columns: tuple[str, ...]
    dropped: tuple[str, ...]
    kept: Ints
    spec: Any
    of_score: frozenset[str]

    def with_history(self, rows: pd.DataFrame, net: NetHistory) -> Design:
        """The same design with purchase history net of other slopes; ``rows`` are those of the matrix."""
        matrix = self.matrix.copy(order="F")
        columns = net_columns(rows, net)
        for name in NET_COLUMNS:
            if name in self.columns:
                matrix[:, self.columns.index(name)] = columns[name]
        return replace(self, matrix=matrix, preparation=replace(self.preparation, net=net))

    def without(self, column: str, *further: str) -> Design:
        """The same design less some columns; itself where it has none of them."""
        if further:
            return self.without(column).without(*further)
        if column not in self.columns:
            return self
        position = self.columns.index(column)
        is_last = position == len(self.columns) - 1  # then a view will do
        return replace(
            self,
            matrix=self.matrix[:, :-1] if is_last else np.asfortranarray(np.delete(self.matrix, position, axis=1)),
            columns=tuple(name for name in self.columns if name != column),
            kept=np.delete(self.kept, position),
        )

    @cached_property
    def shift(self) -> Floats | None:
        """Change of every row's columns when the score rises by one point, shape (k,), or None if it differs between rows."""
        if not self.exposure:
            return np.zeros(len(self.columns))
        terms = [column for column in self.columns if column in self.of_score]
        if terms != [self.exposure] or BEND in self.columns:
            return None
        unit = np.zeros(len(self.columns))
        unit[self.columns.index(self.exposure)] = 1.0
        return unit

    def at(self, rows: pd.DataFrame) -> Floats:
        """The same columns for other rows of a panel (raw, not prepared), shape (rows, k)."""
        return _matrix(self.spec, self.preparation.apply(rows))[:, self.kept]

    def change(self, rows: pd.DataFrame) -> Floats | sparse.csr_array:
        """Change of the columns when the score rises by one point and everything else, history too, stays.

        Shape (k,) where it is the same for every row, else (rows, k).
        """
        if self.shift is not None:
            return self.shift
        if self.preparation.bends is None:
            prepared = self.preparation.apply(rows)
            higher = prepared.assign(**{self.exposure: prepared[self.exposure] + 1.0})
            return _matrix(self.spec, higher)[:, self.kept] - self.matrix
        exposure, centre = self.preparation.bends
        steps = np.column_stack([np.ones(len(rows)), 2.0 * (rows[exposure].to_numpy(dtype=float) - centre) + 1.0])
        places = np.array([self.columns.index(exposure), self.columns.index(BEND)], dtype=np.int32)
        columns = np.tile(places, len(rows))
        edges = np.arange(0, 2 * len(rows) + 1, 2, dtype=np.int32)
        return sparse.csr_array((steps.ravel(), columns, edges), shape=(len(rows), len(self.columns)))


def build_design(
    panel: Panel, rows: pd.DataFrame, right_hand_side: str, exposure: str, *, preparation: Preparation | None = None
) -> Design:
    """Design of the rows (all with an answer) for a right-hand side such as ``nps + log_tenure + plan``."""
    if preparation is None:
        preparation = prepare(panel, rows, exposure)
    prepared = preparation.apply(rows)
    model_matrix = formulaic.Formula(right_hand_side).get_model_matrix(prepared, ensure_full_rank=True)
    names = [str(name) for name in model_matrix.columns]
    matrix = np.asfortranarray(model_matrix.to_numpy(dtype=float))
    spec = model_matrix.model_spec
    kept = independent_columns(matrix)
    columns = tuple(names[index] for index in kept)
    return Design(
        right_hand_side=right_hand_side,
        exposure=exposure,
        preparation=preparation,
        matrix=matrix if len(kept) == len(names) else np.asfortranarray(matrix[:, kept]),
        columns=columns,
        dropped=tuple(name for name in names if name not in columns),
        kept=kept,
        spec=spec,
        of_score=frozenset(names[index] for index in spec.variable_indices.get(exposure, ())),
    )


def _matrix(spec: Any, prepared: pd.DataFrame) -> Floats:
    return np.asarray(spec.get_model_matrix(prepared).to_numpy(dtype=float))
