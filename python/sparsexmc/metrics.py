"""Ranking metrics of extreme classification, computed in C++ and accumulated batch by batch.

Every metric is a share in [0, 1]. The predicted ids are [n, width] integers, best first, each label at most once per
row, -1 where nothing is predicted; only the first k of a row count. The truth `Y_true` is a scipy CSR matrix [n, L]
(what is not 0 is a positive), a pair `(indptr, indices)`, or an integer array [n] with one label per instance. A label
that occurs twice in a row counts once. A cut-off k is an int, which gives a float, or a sequence, which gives an array
in its order.

Wrong arguments raise ArgumentError (value, shape, range) or DTypeError (dtype, kind).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import _core
from ._sparse import label_matrix
from .errors import ArgumentError, DTypeError
from .interop.inputs import index_array, labels_input, number_array
from .label_metrics import LabelMetrics

__all__ = [
    "LabelMetrics",
    "RankingMetrics",
    "coverage_at_k",
    "inverse_propensities",
    "macro_f1_at_k",
    "ndcg_at_k",
    "per_label_at_k",
    "precision_at_k",
    "propensities",
    "psndcg_at_k",
    "psp_at_k",
    "recall_at_k",
]

Floats = npt.NDArray[np.float64]
Result = float | Floats

# Field of _core.MetricsAtK -> the name that tables use.
_NAMES = {"precision": "P", "ndcg": "nDCG", "recall": "R", "coverage": "coverage", "macro_f1": "macro-F1"}
_PROPENSITY_NAMES = {"psp": "PSP", "psndcg": "PSnDCG"}


def propensities(
    train_labels: Any, num_train: int | None = None, A: float = 0.55, B: float = 1.5
) -> npt.NDArray[np.float64]:
    """Propensities p_l = 1 / (1 + C (n_l + B)^-A) of the labels, C = (ln N - 1)(B + 1)^A (Jain et al. 2016).

    The propensity is the modelled probability that a label which applies to an instance is recorded. Metrics and label
    weights take its inverse, see `inverse_propensities`.

    Args:
        train_labels: scipy CSR [N, L] of the training set, or [L] training instances per label.
        num_train: N; may be left out for a matrix.
        A, B: of the data set's model. Usual: 0.55, 1.5; Amazon sets 0.6, 2.6; Wikipedia-500K and WikiLSHTC 0.5, 0.4.

    Returns:
        [L] float64 in (0, 1]; rare labels have the smallest.
    """
    return 1.0 / inverse_propensities(train_labels, num_train, A, B)


def inverse_propensities(
    train_labels: Any, num_train: int | None = None, A: float = 0.55, B: float = 1.5
) -> npt.NDArray[np.float64]:
    """Weights q_l = 1 / p_l = 1 + C (n_l + B)^-A of the labels; the arguments are those of `propensities`.

    Returns:
        [L] float64, at least 1; rare labels weigh most.
    """
    if sp.issparse(train_labels):
        matrix = label_matrix("train_labels", train_labels)
        if num_train is not None and num_train != matrix.shape[0]:
            raise ArgumentError(f"num_train={num_train}, but train_labels has {matrix.shape[0]} rows; leave it out")
        num_train = matrix.shape[0]
        counts = np.bincount(matrix.indices, minlength=matrix.shape[1])
    else:
        counts = index_array("train_labels", number_array("train_labels", train_labels))
        if num_train is None:
            raise ArgumentError("num_train is missing: counts alone do not say how many training instances there are")
    return _core.inverse_propensities(counts.astype(np.int64, copy=False), num_train, A, B)


class RankingMetrics:
    """All metrics at several cut-offs, over batches.

    Sums are kept and divided at the end, so any split into batches gives the same result, to rounding.

    Args:
        num_labels: L; macro-F1 is the mean over all of them.
        k: cut-offs.
        inverse_propensities: [L] weights as `inverse_propensities` makes them; without, PSP and PSnDCG are left out.
    """

    def __init__(
        self, num_labels: int, k: int | Sequence[int] = (1, 3, 5), *, inverse_propensities: npt.ArrayLike | None = None
    ) -> None:
        self._k = _cutoffs(k)
        self._names = _NAMES if inverse_propensities is None else _NAMES | _PROPENSITY_NAMES
        weights = None if inverse_propensities is None else _weights(inverse_propensities)
        self._sums = _core.RankingMetrics(num_labels, self._k, weights)
        self._num_labels = num_labels

    def update(self, ids: npt.ArrayLike, Y_true: Any) -> None:
        """Adds a batch: ids [n, width >= max k] and the truth of the same n instances. A wrong one changes nothing."""
        predicted = _predicted(ids)
        self._sums.update(predicted, *labels_input("Y_true", Y_true, len(predicted), self._num_labels))

    @property
    def num_instances(self) -> int:
        """Instances added so far."""
        return self._sums.num_instances

    def compute(self) -> dict[str, float]:
        """Everything so far as {"P@1": ..., "P@3": ..., ...}: P, nDCG, R, coverage, macro-F1, and PSP, PSnDCG."""
        results = self._sums.compute()
        return {f"{name}@{r.k}": getattr(r, field) for field, name in self._names.items() for r in results}

    def per_label(self, k: int) -> LabelMetrics:
        """Precision and recall of every label at the cut-off k, one of those given, so far."""
        if not self.num_instances:
            raise ArgumentError("per_label() was called before any instance; call update() first")
        k = _cutoff(k)
        return LabelMetrics(k, *(counts.astype(np.int64) for counts in self._sums.label_counts(k)))


@overload
def precision_at_k(ids: npt.ArrayLike, Y_true: Any, k: int) -> float: ...
@overload
def precision_at_k(ids: npt.ArrayLike, Y_true: Any, k: Sequence[int]) -> Floats: ...
def precision_at_k(ids: npt.ArrayLike, Y_true: Any, k: int | Sequence[int]) -> Result:
    """P@k: hits among the first k, divided by k, over all instances; one without positives scores 0."""
    return _compute("precision", ids, Y_true, k)


@overload
def ndcg_at_k(ids: npt.ArrayLike, Y_true: Any, k: int) -> float: ...
@overload
def ndcg_at_k(ids: npt.ArrayLike, Y_true: Any, k: Sequence[int]) -> Floats: ...
def ndcg_at_k(ids: npt.ArrayLike, Y_true: Any, k: int | Sequence[int]) -> Result:
    """nDCG@k: hits discounted by 1 / log2(place + 1), divided by the best that the instance allows."""
    return _compute("ndcg", ids, Y_true, k)


@overload
def recall_at_k(ids: npt.ArrayLike, Y_true: Any, k: int) -> float: ...
@overload
def recall_at_k(ids: npt.ArrayLike, Y_true: Any, k: Sequence[int]) -> Floats: ...
def recall_at_k(ids: npt.ArrayLike, Y_true: Any, k: int | Sequence[int]) -> Result:
    """R@k: hits among the first k, divided by the number of positives of the instance."""
    return _compute("recall", ids, Y_true, k)


@overload
def psp_at_k(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: int,
    *,
    inverse_propensities: npt.ArrayLike | None = None,
    train_labels: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> float: ...
@overload
def psp_at_k(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: Sequence[int],
    *,
    inverse_propensities: npt.ArrayLike | None = None,
    train_labels: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> Floats: ...
def psp_at_k(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: int | Sequence[int],
    *,
    inverse_propensities: npt.ArrayLike | None = None,
    train_labels: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> Result:
    """PSP@k: propensity-scored precision, the weights hit over the largest that could be hit: a ratio of sums.

    The weights are `inverse_propensities`, or made from `train_labels` [N, L] with `A` and `B`.
    """
    return _compute("psp", ids, Y_true, k, weights=_given_or_made(inverse_propensities, train_labels, A, B))


@overload
def psndcg_at_k(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: int,
    *,
    inverse_propensities: npt.ArrayLike | None = None,
    train_labels: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> float: ...
@overload
def psndcg_at_k(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: Sequence[int],
    *,
    inverse_propensities: npt.ArrayLike | None = None,
    train_labels: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> Floats: ...
def psndcg_at_k(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: int | Sequence[int],
    *,
    inverse_propensities: npt.ArrayLike | None = None,
    train_labels: Any = None,
    A: float = 0.55,
    B: float = 1.5,
) -> Result:
    """PSnDCG@k: `psp_at_k` with discounts, each instance divided by its best unweighted sum of discounts."""
    return _compute("psndcg", ids, Y_true, k, weights=_given_or_made(inverse_propensities, train_labels, A, B))


@overload
def coverage_at_k(ids: npt.ArrayLike, Y_true: Any, k: int) -> float: ...
@overload
def coverage_at_k(ids: npt.ArrayLike, Y_true: Any, k: Sequence[int]) -> Floats: ...
def coverage_at_k(ids: npt.ArrayLike, Y_true: Any, k: int | Sequence[int]) -> Result:
    """coverage@k: labels hit at least once / labels that are a positive of some instance."""
    return _compute("coverage", ids, Y_true, k)


@overload
def macro_f1_at_k(ids: npt.ArrayLike, Y_true: Any, k: int, *, num_labels: int | None = None) -> float: ...
@overload
def macro_f1_at_k(ids: npt.ArrayLike, Y_true: Any, k: Sequence[int], *, num_labels: int | None = None) -> Floats: ...
def macro_f1_at_k(ids: npt.ArrayLike, Y_true: Any, k: int | Sequence[int], *, num_labels: int | None = None) -> Result:
    """Macro-F1@k: mean over all labels of F1 of the first k as a set; a label that never occurs scores 0.

    `num_labels` is needed when `Y_true` is not a matrix: the mean is over labels that no instance has, too.
    """
    if num_labels is None and not sp.issparse(Y_true):
        raise ArgumentError("num_labels is missing: this kind of Y_true does not say how many labels there are")
    return _compute("macro_f1", ids, Y_true, k, num_labels=num_labels)


def per_label_at_k(ids: npt.ArrayLike, Y_true: Any, k: int, *, num_labels: int | None = None) -> LabelMetrics:
    """Precision, recall and F1 of every label, of the first k as a set; `num_labels` as in `macro_f1_at_k`.

    For the labels above a threshold pass their ids with -1 elsewhere and all columns as k.
    """
    if num_labels is None and not sp.issparse(Y_true):
        raise ArgumentError("num_labels is missing: this kind of Y_true does not say how many labels there are")
    k = _cutoff(k)
    return LabelMetrics(k, *(c.astype(np.int64) for c in _sums(ids, Y_true, k, num_labels=num_labels).label_counts(k)))


def _compute(
    field: str,
    ids: npt.ArrayLike,
    Y_true: Any,
    k: int | Sequence[int],
    *,
    num_labels: int | None = None,
    weights: npt.NDArray[np.float64] | None = None,
) -> Result:
    sums = _sums(ids, Y_true, k, num_labels=num_labels, weights=weights)
    values = np.array([getattr(result, field) for result in sums.compute()])
    return values if np.ndim(k) else float(values[0])


def _sums(
    ids: npt.ArrayLike,
    Y_true: Any,
    k: int | Sequence[int],
    *,
    num_labels: int | None = None,
    weights: npt.NDArray[np.float64] | None = None,
) -> _core.RankingMetrics:
    predicted = _predicted(ids)
    if not len(predicted):
        raise ArgumentError("ids and Y_true have no rows, of which there is no mean; pass at least one instance")
    if num_labels is None:
        num_labels = Y_true.shape[1] if sp.issparse(Y_true) else None if weights is None else len(weights)
    indptr, indices = labels_input("Y_true", Y_true, len(predicted), num_labels or 0)
    if num_labels is None:
        # Labels beyond all that occur count in macro-F1 only, which has asked for their number.
        num_labels = 1 + max(int(array.max(initial=0)) for array in (predicted, indices))
    sums = _core.RankingMetrics(num_labels, _cutoffs(k), weights)
    sums.update(predicted, indptr, indices)
    return sums


def _cutoffs(k: int | Sequence[int]) -> list[int]:
    array = np.atleast_1d(number_array("k", k))
    if not array.size:
        raise ArgumentError("k is empty; pass a cut-off, or some of them")
    return index_array("k", array).tolist()


def _cutoff(k: int) -> int:
    if np.ndim(k):
        raise ArgumentError(f"k is {k!r}; the metrics of single labels are those at one cut-off, such as 5")
    return _cutoffs(k)[0]


def _predicted(ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
    if sp.issparse(ids):
        raise DTypeError("ids is a sparse matrix; pass the predicted label ids [n, width] first, then the true labels")
    array = number_array("ids", ids)
    if array.ndim != 2:
        raise ArgumentError(f"ids has shape {array.shape}; pass predicted label ids [n, width]")
    return index_array("ids", array.reshape(-1)).astype(np.int64, copy=False).reshape(array.shape)


def _weights(weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = number_array("inverse_propensities", weights)
    if array.dtype.kind not in "iuf" or array.ndim != 1:
        raise DTypeError(f"inverse_propensities is {array.dtype} of shape {array.shape}; pass numbers [num_labels]")
    return np.ascontiguousarray(array, dtype=np.float64)


def _given_or_made(given: npt.ArrayLike | None, train_labels: Any, A: float, B: float) -> npt.NDArray[np.float64]:
    if (given is None) == (train_labels is None):
        raise ArgumentError("pass either inverse_propensities or train_labels, and not both")
    return inverse_propensities(train_labels, A=A, B=B) if given is None else _weights(given)
