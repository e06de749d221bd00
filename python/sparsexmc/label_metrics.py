"""Precision and recall of single labels, as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ArgumentError

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

COLUMNS = ("positives", "predictions", "hits", "precision", "recall", "f1")
"""Of `LabelMetrics.columns`, in this order."""


@dataclass(frozen=True, eq=False)
class LabelMetrics:
    """Counts and shares of every label, of the first k predictions of each instance as a set.

    Attributes:
        k: the cut-off.
        positives: [L] instances that have the label.
        predictions: [L] instances among whose first k predictions it is.
        hits: [L] instances of which both holds.
    """

    k: int
    positives: Counts
    predictions: Counts
    hits: Counts

    @property
    def precision(self) -> Floats:
        """[L] hits / predictions; NaN for a label that is never predicted."""
        return _share(self.hits, self.predictions)

    @property
    def recall(self) -> Floats:
        """[L] hits / positives; NaN for a label that no instance has."""
        return _share(self.hits, self.positives)

    @property
    def f1(self) -> Floats:
        """[L] 2 hits / (positives + predictions), 0 for 0 / 0: its mean is macro-F1@k."""
        return np.nan_to_num(_share(2 * self.hits, self.positives + self.predictions))

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Counts and shares by name, each [L], for a data frame: `pandas.DataFrame(metrics.columns())`."""
        return {name: getattr(self, name) for name in COLUMNS}

    def rows(self, label_names: Sequence[str] | None = None) -> Iterator[list[int | float | str]]:
        """A header, then one row for every label: id, name if there are names, and what `COLUMNS` says.

        Raises:
            ArgumentError: another number of names than of labels.
        """
        if label_names is not None and len(label_names) != len(self):
            raise ArgumentError(f"label_names holds {len(label_names)} names for {len(self)} labels; pass one for each")
        yield ["label", *([] if label_names is None else ["name"]), *COLUMNS]
        lists = [column.tolist() for column in self.columns().values()]
        for label, values in enumerate(zip(*lists, strict=True)):
            yield [label, *([] if label_names is None else [label_names[label]]), *values]

    def __len__(self) -> int:
        """Number of labels."""
        return len(self.positives)

    def __repr__(self) -> str:
        found, known = np.count_nonzero(self.hits), np.count_nonzero(self.positives)
        return f"LabelMetrics(k={self.k}, {len(self):,} labels, {found:,} of {known:,} with positives hit)"


def _share(numerator: Counts, denominator: Counts) -> Floats:
    shares = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=shares, where=denominator > 0)
    return shares
