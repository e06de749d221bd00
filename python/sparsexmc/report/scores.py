"""Measures of predictions: the metrics of every table, and which of the predictions hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._html import table
from ..metrics import RankingMetrics, inverse_propensities

METRICS = ("P", "nDCG", "PSP", "R", "coverage", "macro-F1")
"""In the order of the tables."""

POPULAR = "popular labels"
"""Title of the baseline that predicts the most frequent training labels for everybody."""

# Fewer training instances have no propensities: ln N - 1 would not be positive.
LEAST_TRAINING_INSTANCES = 3


class Scores(dict[str, dict[int, float]]):
    """{metric: {k: share}}, metrics in the order of `METRICS`, cut-offs ascending; shown as a table in percent."""

    def __repr__(self) -> str:
        header, *rows = self._cells()
        return "\n".join(f"{row[0]:<9}" + "".join(f"{cell:>8}" for cell in row[1:]) for row in (header, *rows))

    def _repr_html_(self) -> str:
        header, *rows = self._cells()
        return table("Scores", rows, header)

    def _cells(self) -> list[list[str]]:
        ks = list(dict.fromkeys(k for values in self.values() for k in values))
        rows = [[name, *(f"{100 * v[k]:.2f}" if k in v else "" for k in ks)] for name, v in self.items()]
        return [["percent", *(f"@{k}" for k in ks)], *rows]


@dataclass(frozen=True, eq=False)
class Truth:
    """The test instances, and what the training labels say about the labels.

    Attributes:
        Y: [n, L] CSR of the positives, canonical.
        counts: [L] training instances of each label, or None if unknown.
        num_train: number of training instances, or None.
        weights: [L] inverse propensities, or None if there are too few training instances.
        A, B: of the propensities.
    """

    Y: sp.csr_matrix
    counts: npt.NDArray[np.int64] | None
    num_train: int | None
    weights: npt.NDArray[np.float64] | None
    A: float
    B: float

    @property
    def positives(self) -> npt.NDArray[np.int64]:
        """[L] test instances of each label."""
        return np.bincount(self.Y.indices, minlength=self.Y.shape[1])


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one model.

    Attributes:
        title: what to call the model.
        ids: [n, k] label ids, best first; -1: no prediction.
        hits: [n, k] which of them are positives.
        scores: all metrics.
    """

    title: str
    ids: npt.NDArray[np.int64]
    hits: npt.NDArray[np.bool_]
    scores: Scores


def has_propensities(train_labels: Any) -> bool:
    """Whether the training labels [N, L] are given and enough for propensities."""
    return train_labels is not None and train_labels.shape[0] >= LEAST_TRAINING_INSTANCES


def scores(
    ids: npt.NDArray[np.int64],
    Y: Any,
    cutoffs: Sequence[int],
    weights: npt.NDArray[np.float64] | None = None,
) -> Scores:
    """All metrics of predicted ids [n, >= largest cut-off] against Y [n, L]; PSP only with weights [L]."""
    ks = sorted(set(cutoffs))
    metrics = RankingMetrics(Y.shape[1], ks, inverse_propensities=weights)
    metrics.update(ids, Y)
    values = metrics.compute()
    return Scores({name: {k: values[f"{name}@{k}"] for k in ks} for name in METRICS if f"{name}@{ks[0]}" in values})


def truth(Y: sp.csr_matrix, train_labels: sp.csr_matrix | None, A: float, B: float) -> Truth:
    """Test labels [n, L] and training labels [N, L], both canonical CSR, as what the sections of a report read."""
    if train_labels is None:
        return Truth(Y, None, None, None, A, B)
    counts = np.bincount(train_labels.indices, minlength=Y.shape[1])
    weights = inverse_propensities(train_labels, A=A, B=B) if has_propensities(train_labels) else None
    return Truth(Y, counts, train_labels.shape[0], weights, A, B)


def predictions(title: str, ids: npt.ArrayLike, truth: Truth, cutoffs: Sequence[int]) -> Predictions:
    """`ids` [n, >= largest cut-off] measured and cut at the largest cut-off.

    Raises ArgumentError, DTypeError for ids of another shape, dtype or range.
    """
    array = np.asarray(ids)
    values = scores(array, truth.Y, cutoffs, truth.weights)
    kept = np.ascontiguousarray(array[:, : max(cutoffs)], np.int64)
    return Predictions(title, kept, hits(kept, truth.Y), values)


def most_frequent(counts: npt.NDArray[np.int64], instances: int, k: int) -> npt.NDArray[np.int64]:
    """[instances, k]: the k most frequent training labels for everybody, the baseline to beat."""
    return np.tile(np.argsort(-counts, kind="stable")[:k], (instances, 1))


def hits(ids: npt.NDArray[np.int64], Y: sp.csr_matrix) -> npt.NDArray[np.bool_]:
    """[n, k]: is `ids[i, j]` a positive of row i of the canonical CSR matrix Y [n, L]?"""
    n, num_labels = Y.shape
    # Row and label as one number, which rises through a canonical matrix.
    row = np.arange(n, dtype=np.int64) * num_labels
    positives = np.repeat(row, np.diff(Y.indptr)) + Y.indices
    wanted = row[:, None] + ids
    if not len(positives):
        return np.zeros(ids.shape, bool)
    place = np.minimum(np.searchsorted(positives, wanted), len(positives) - 1)
    return (positives[place] == wanted) & (ids >= 0)


def ideal_weight(Y: sp.csr_matrix, weights: npt.NDArray[np.float64], k: int) -> float:
    """The denominator of PSP@k: the sum over rows of the k largest weights among the positives of Y [n, L]."""
    lengths = np.diff(Y.indptr)
    rows = np.repeat(np.arange(Y.shape[0]), lengths)
    values = weights[Y.indices]
    descending = np.lexsort((-values, rows))
    place_in_row = np.arange(len(rows)) - np.repeat(Y.indptr[:-1], lengths)
    return float(values[descending][place_in_row < k].sum())
