"""Single labels: which of them lose most, and how often each is predicted against how often it is true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .scores import Predictions, Truth

WORST = 20
INSTEAD = 3


@dataclass(frozen=True)
class WorstLabel:
    """A label and what became of its test positives.

    Attributes:
        label: its id.
        positives: test instances that have it.
        found: those that have it among the first k predictions.
        instead: (label id, number of instances) of wrong predictions where it was lost, the most frequent first.
    """

    label: int
    positives: int
    found: int
    instead: list[tuple[int, int]]

    @property
    def lost(self) -> int:
        """Test positives that are not among the first k predictions."""
        return self.positives - self.found


def worst_labels(
    predictions: Predictions, truth: Truth, limit: int = WORST, instead: int = INSTEAD
) -> list[WorstLabel]:
    """The labels that lose most test positives, at most `limit`; among equals those of smaller recall, then smaller id.

    k is the width of `predictions.ids`. An instance with more than k positives must lose some.
    """
    positives = truth.positives
    found = np.bincount(predictions.ids[predictions.hits], minlength=len(positives))
    lossy = np.flatnonzero(positives > found)
    # Equal losses: fewer positives mean a smaller recall.
    order = np.lexsort((lossy, positives[lossy], found[lossy] - positives[lossy]))
    chosen = lossy[order[:limit]]
    columns = truth.Y[:, chosen].tocsc()
    worst = []
    for column, label in enumerate(chosen.tolist()):
        rows = columns.indices[columns.indptr[column] : columns.indptr[column + 1]]
        rows = rows[(predictions.ids[rows] != label).all(axis=1)]
        confused = _most_frequent_wrong(predictions, rows, instead)
        worst.append(WorstLabel(label, int(positives[label]), int(found[label]), confused))
    return worst


def count_cells(predictions: Predictions, truth: Truth) -> npt.NDArray[np.int64]:
    """[cells, cells]: labels by how often they are predicted (rows) and true (columns) in the test set.

    Cell 0 is for 0 times, cell c for 2^(c - 1) to 2^c - 1 times. k is the width of `predictions.ids`. Labels that are
    neither predicted nor true are counted in cell (0, 0).
    """
    true = truth.positives
    ids = predictions.ids
    predicted = np.bincount(ids[ids >= 0], minlength=len(true))
    cells = 1 + int(max(_cell(true).max(initial=0), _cell(predicted).max(initial=0)))
    return np.bincount(_cell(predicted) * cells + _cell(true), minlength=cells * cells).reshape(cells, cells)


def cell_title(cell: int) -> str:
    """ "0", "1", "2-3", "4-7", ... with an en dash."""
    if cell < 2:
        return str(cell)
    return f"{2 ** (cell - 1):,}\N{EN DASH}{2**cell - 1:,}"


def _cell(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 for 0, else the number of binary digits, which frexp gives exactly for counts below 2^53."""
    return np.frexp(counts.astype(np.float64))[1].astype(np.int64)


def _most_frequent_wrong(predictions: Predictions, rows: npt.NDArray[np.integer], limit: int) -> list[tuple[int, int]]:
    ids = predictions.ids[rows]
    wrong, times = np.unique(ids[~predictions.hits[rows] & (ids >= 0)], return_counts=True)
    best = np.lexsort((wrong, -times))[:limit]
    return [(int(wrong[i]), int(times[i])) for i in best]
