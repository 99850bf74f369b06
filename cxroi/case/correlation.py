"""Rank correlation imposed on draws that were made independently: their order changes, the draws of each input do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Order = NDArray[np.int64]
Pair = tuple[str, str, float]

_LEAST_EIGENVALUE = 1e-9


def correlation_faults(pairs: Sequence[Pair]) -> Iterator[str]:
    """What is wrong with rank correlations taken together, a sentence each: a pair stated twice, or numbers that cannot all hold.

    Parameters
    ----------
    pairs : sequence of (str, str, float)
        Two inputs and their rank correlation, above -1 and below 1; pairs that are not stated have 0.

    Examples
    --------
    >>> print(*correlation_faults([("a", "b", 0.9), ("b", "c", 0.9), ("a", "c", -0.9)]))
    correlations must be possible together; those of a, b, c are not (smallest eigenvalue -0.82). Bring them closer to 0, for example \
all to 0.53 of what is stated.
    """
    seen: set[frozenset[str]] = set()
    for first, second, _ in pairs:
        if frozenset((first, second)) in seen:
            yield f"correlations must state each pair once; {first} and {second} stand twice. Remove one of them."
        seen.add(frozenset((first, second)))
    names = _names(pairs)
    if not names or _least_eigenvalue(pairs, 1.0) > _LEAST_EIGENVALUE:
        return
    share = next(share / 100 for share in range(99, -1, -1) if _least_eigenvalue(pairs, share / 100) > 0.01)
    yield (
        f"correlations must be possible together; those of {', '.join(names)} are not (smallest eigenvalue "
        f"{_least_eigenvalue(pairs, 1.0):.2f}). Bring them closer to 0, for example all to {share:g} of what is stated."
    )


def orders(draws: Mapping[str, Floats], pairs: Sequence[Pair]) -> dict[str, Order]:
    """For each input of the pairs, the order that gives its draws the stated rank correlations.

    Parameters
    ----------
    draws : mapping of str to ndarray, shape (draws,)
        Independent draws by input; those without a pair are left out of the result.
    pairs : sequence of (str, str, float)
        Two inputs and their rank correlation; without `correlation_faults`.

    Returns
    -------
    dict of str to ndarray, shape (draws,)
        ``draws[name][order]`` are the same numbers in their new places; the first input by name keeps its order.

    Notes
    -----
    Normal scores of the ranks are turned so that their correlation is exactly 2 sin(πρ/6), which a normal copula needs for a rank
    correlation of ρ; each input then takes over the ranks of its scores.

    *Source*: Iman & Conover (1982), Communications in Statistics: Simulation and Computation 11:311; Pearson (1907) for the sine.

    Examples
    --------
    >>> order = orders({"a": np.array([1.0, 2.0, 3.0, 4.0]), "b": np.array([10.0, 40.0, 20.0, 30.0])}, [("a", "b", -0.99)])
    >>> np.array([10.0, 40.0, 20.0, 30.0])[order["b"]]
    array([40., 30., 20., 10.])
    """
    names = [name for name in _names(pairs) if name in draws]
    kept = [pair for pair in pairs if pair[0] in names and pair[1] in names]
    if len(names) < 2 or not kept:
        return {}
    sorted_places = np.stack([np.argsort(draws[name], kind="stable") for name in names], axis=1)
    scores = normal_scores(np.stack([draws[name] for name in names], axis=1))
    own = np.linalg.cholesky(np.corrcoef(scores, rowvar=False))
    wanted = np.linalg.cholesky(copula(names, kept))
    turned = np.linalg.solve(own, scores.T).T @ wanted.T
    ranks = np.argsort(np.argsort(turned, axis=0, kind="stable"), axis=0, kind="stable")
    return {name: sorted_places[ranks[:, at], at] for at, name in enumerate(names)}


def copula(names: Sequence[str], pairs: Sequence[Pair]) -> Floats:
    """Correlation of the normal scores behind the stated rank correlations, shape (inputs, inputs)."""
    matrix = np.eye(len(names))
    for first, second, rank in pairs:
        if first in names and second in names:
            row, column = names.index(first), names.index(second)
            matrix[row, column] = matrix[column, row] = 2.0 * math.sin(math.pi * rank / 6.0)
    return matrix


def normal_scores(values: Floats) -> Floats:
    """Normal quantiles of the ranks in each column, equal values in the order in which they stand, shape (draws, columns)."""
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    return np.asarray(special.ndtri((ranks + 0.5) / len(values)))


def _names(pairs: Sequence[Pair]) -> list[str]:
    return sorted({name for first, second, _ in pairs for name in (first, second)})


def _least_eigenvalue(pairs: Sequence[Pair], share: float) -> float:
    names = _names(pairs)
    matrix = copula(names, [(first, second, share * rank) for first, second, rank in pairs])
    return float(np.linalg.eigvalsh(matrix)[0])
