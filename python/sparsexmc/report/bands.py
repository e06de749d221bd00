"""The parts of a metric by bands of training frequency.

The parts are those of the field's decompositions by label bins (for instance Mittal et al., DECAF, WSDM 2021). With
top_k(i) the first k predictions for test instance i, y_i its positives, q_l the inverse propensity of label l, and b a
set of labels:

    part of P@k     = sum_i |top_k(i) & y_i & b| / (n k)
    part of PSP@k   = sum_i sum of q_l over top_k(i) & y_i & b / (sum_i sum of the k largest q_l among y_i)
    recall@k inside = sum_i |top_k(i) & y_i & b| / sum_i |y_i & b|

The parts of disjoint bands that cover all labels add up to P@k and PSP@k. Recall is that of the band's positives taken
together (micro-averaged), and has no value in a band without test positives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .scores import Predictions, Truth, ideal_weight

# A band reaches from one of these training frequencies to below the next.
LOWEST = (0, 1, 2, 5, 10, 50, 100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands of training frequency, rare labels first; every label is in one, and no band is without labels.

    Attributes:
        titles: "1", "2-4", ... with an en dash; the last one is open, "100+".
        of_label: [L] band of every label.
        labels: [bands] number of labels.
        positives: [bands] test positives, that is (instance, label) pairs.
    """

    titles: list[str]
    of_label: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.titles)

    def sums(self, labels: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None = None) -> npt.NDArray:
        """[bands] how many of these `labels`, or the sum of their weights [L], fall into each band."""
        values = None if weights is None else weights[labels]
        return np.bincount(self.of_label[labels], values, minlength=len(self))


def frequency_bands(truth: Truth) -> Bands:
    """The bands that this data fills. Needs `truth.counts`."""
    counts = truth.counts
    assert counts is not None
    band = np.searchsorted(LOWEST, counts, side="right") - 1
    used, of_label, labels = np.unique(band, return_inverse=True, return_counts=True)
    titles = [_title(int(number), is_last=number == used[-1]) for number in used]
    positives = np.bincount(of_label, truth.positives, minlength=len(used)).astype(np.int64)
    return Bands(titles, of_label, labels, positives)


def precision_parts(predictions: Predictions, bands: Bands, k: int) -> npt.NDArray[np.float64]:
    """[bands] parts of P@k."""
    return bands.sums(_hit_labels(predictions, k)) / max(1, k * len(predictions.ids))


def psp_parts(predictions: Predictions, bands: Bands, truth: Truth, k: int) -> npt.NDArray[np.float64]:
    """[bands] parts of PSP@k. Needs `truth.weights`."""
    assert truth.weights is not None
    ideal = ideal_weight(truth.Y, truth.weights, k)
    return bands.sums(_hit_labels(predictions, k), truth.weights) / (ideal or 1.0)


def recall_inside(predictions: Predictions, bands: Bands, k: int) -> npt.NDArray[np.float64]:
    """[bands] recall@k inside each band; NaN without test positives."""
    found = bands.sums(_hit_labels(predictions, k)).astype(np.float64)
    return np.divide(found, bands.positives, out=np.full(len(bands), np.nan), where=bands.positives > 0)


def predicted(predictions: Predictions, bands: Bands, k: int) -> npt.NDArray[np.int64]:
    """[bands] how many of all first k predictions name a label of the band."""
    ids = predictions.ids[:, :k]
    return bands.sums(ids[ids >= 0])


def _hit_labels(predictions: Predictions, k: int) -> npt.NDArray[np.int64]:
    return predictions.ids[:, :k][predictions.hits[:, :k]]


def _title(band: int, *, is_last: bool) -> str:
    low = LOWEST[band]
    if is_last and low >= 2:
        return f"{low:,}+"
    high = LOWEST[band + 1] - 1
    return f"{low:,}" if high == low else f"{low:,}\N{EN DASH}{high:,}"
