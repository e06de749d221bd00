"""Top-k without the labels that a filter blanks for a row.

The engine ranks all labels, so the first k + b of a row, of which b are blanked, hold its k best that are not: asking
for that many and dropping the blanked ones is exact for any k, where dropping from the first k would leave holes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..interop.inputs import Indices
from ..interop.rows import LabelRows

Ranking = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
Blanked = tuple[Indices, Indices]
"""(indptr [n + 1], label ids), every id in range."""


def blanked_labels(name: str, filter: Any, rows: int, num_labels: int) -> Blanked:
    """The pairs of a filter: a scipy CSR matrix [rows, num_labels], or another form of labels that a step takes.

    Raises:
        ArgumentError, DTypeError: wrong kind or shape, or an id out of range.
    """
    checked = LabelRows(name, filter, rows, num_labels)
    return checked.indptr, checked.indices


def widest(blanked: Blanked, k: int, num_labels: int) -> int:
    """Number of labels to rank, so that k are left in every row."""
    return min(num_labels, k + int(np.diff(blanked[0]).max(initial=0)))


def drop(ranking: Ranking, blanked: Blanked, k: int, num_labels: int) -> Ranking:
    """The first k of each row that are not blanked; where there are fewer, score -inf and id -1.

    `ranking` holds the first `widest(...)` labels of every row.
    """
    scores, ids = ranking
    rows = np.arange(len(ids), dtype=np.int64)[:, None]
    indptr, indices = blanked
    row_of = np.repeat(np.arange(len(ids), dtype=np.int64), np.diff(indptr))
    pairs = np.unique(row_of * num_labels + indices[indptr[0] : indptr[-1]])
    dropped = _contains(pairs, rows * num_labels + ids)
    # A stable sort brings the others to the front in their order.
    order = np.argsort(dropped, axis=1, kind="stable")[:, :k]
    left = ~np.take_along_axis(dropped, order, axis=1)
    return (
        np.where(left, np.take_along_axis(scores, order, axis=1), np.float32(-np.inf)),
        np.where(left, np.take_along_axis(ids, order, axis=1), -1),
    )


def _contains(ascending: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    if not len(ascending):
        return np.zeros(values.shape, bool)
    places = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[places] == values
