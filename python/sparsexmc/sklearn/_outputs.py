"""Predictions in the forms that scikit-learn asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._checks import parse_bytes
from ..classifier import Classifier
from ..errors import MemoryPlanError
from ..memory import format_bytes

_FIRST_K = 16  # more labels than most instances have
_CHUNK_BYTES = 1 << 26  # of sorted logits that wait to be put in place


def require_space(method: str, shape: tuple[int, int], dtype: np.dtype[Any], limit: int | str | None) -> None:
    """Raise MemoryPlanError if a dense array of this shape passes `limit`."""
    most, needed = parse_bytes("output_limit", limit), shape[0] * shape[1] * dtype.itemsize
    if most and needed > most:
        remedy = "fit on a sparse y, for sparse predictions" if method == "predict" else "take predict_topk(X, k)"
        raise MemoryPlanError(
            f"{method} would make a dense array of {shape[0]:,} x {shape[1]:,} ({format_bytes(needed)}), more than "
            f"output_limit={limit!r}; {remedy}, pass fewer rows at a time, or raise output_limit"
        )


def logits(classifier: Classifier, X: Any) -> npt.NDArray[np.float32]:
    """All logits [n, L] in the order of the label ids."""
    labels = classifier.num_labels
    result = np.empty((X.shape[0], labels), np.float32)
    step = max(1, _CHUNK_BYTES // (12 * labels))
    for start in range(0, len(result), step):
        scores, ids = classifier.topk(X[start : start + step], labels)
        np.put_along_axis(result[start : start + step], ids, scores, axis=1)
    return result


def positives(classifier: Classifier, X: Any, dtype: np.dtype[Any]) -> sp.csr_matrix:
    """[n, L] CSR with ones where the logit is above 0; never dense, whatever L is."""
    labels = classifier.num_labels
    found: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)] * X.shape[0]
    rows, k = np.arange(X.shape[0]), min(_FIRST_K, labels)
    while len(rows):
        scores, ids = classifier.topk(X if len(rows) == X.shape[0] else X[rows], k)
        counts = (scores > 0).sum(axis=1)
        for row, count, best in zip(rows, counts, ids, strict=True):
            found[row] = np.sort(best[:count])
        rows = rows[counts == k] if k < labels else rows[:0]  # those may have more
        k = min(4 * k, labels)
    indptr = np.zeros(len(found) + 1, np.int64)
    np.cumsum([len(row) for row in found], out=indptr[1:])
    indices = np.concatenate(found) if found else np.empty(0, np.int64)
    return sp.csr_matrix((np.ones(len(indices), dtype), indices, indptr), shape=(len(found), labels))


def log_sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """ln(sigmoid(x)) in float64, without overflow."""
    return np.asarray(-np.logaddexp(0.0, -values.astype(np.float64)))


def probabilities(values: npt.NDArray[np.float32], *, share: bool) -> npt.NDArray[np.float64]:
    """Sigmoids of the logits [n, L]; with `share` divided by their sum over the row."""
    logs = log_sigmoid(values)
    if share:
        logs -= logs.max(axis=1, keepdims=True, initial=-np.inf)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    return np.asarray(np.exp(logs))
