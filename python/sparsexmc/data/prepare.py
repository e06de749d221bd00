"""Features from counts, and instances held out for validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._checks import require_int, require_number
from .._csr import checked_csr
from .._sparse import sparse_features
from ..errors import ArgumentError
from ..training.validation import hold_out


@dataclass(frozen=True)
class TfIdf:
    """TF-IDF weights of a training set, for its rows and for later ones.

    Attributes:
        idf: [D] float64: ln((1 + N) / (1 + df)) + 1, with N rows and df rows that hold the feature.
    """

    idf: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, counts: Any) -> TfIdf:
        """Weights of scipy sparse token counts [N, D]; raises like `tfidf`."""
        return cls._of(_counts("counts", counts))

    def apply(self, counts: Any) -> sp.csr_matrix:
        """[n, D] counts as float32 rows (1 + ln count) * idf of unit length; rows without tokens stay empty."""
        return self._weigh(_counts("counts", counts), "counts")

    @classmethod
    def _of(cls, counts: sp.csr_matrix) -> TfIdf:
        rows, columns = counts.shape
        return cls(np.log((1 + rows) / (1 + np.bincount(counts.indices, minlength=columns))) + 1)

    def _weigh(self, counts: sp.csr_matrix, name: str) -> sp.csr_matrix:
        if counts.shape[1] != len(self.idf):
            raise ArgumentError(f"{name} has {counts.shape[1]} columns, but train has {len(self.idf)}; they must agree")
        values = (1 + np.log(counts.data, dtype=np.float64)) * self.idf[counts.indices]
        row_of = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
        norm = np.sqrt(np.bincount(row_of, weights=values * values, minlength=counts.shape[0]))
        unit = (values / norm[row_of]).astype(np.float32)
        return sp.csr_matrix((unit, counts.indices, counts.indptr), shape=counts.shape)


def tfidf(train: Any, *others: Any) -> list[sp.csr_matrix]:
    """Token counts as TF-IDF rows of unit length: (1 + ln count) (ln((1 + N) / (1 + df)) + 1), N and df of `train`.

    Args:
        train: [N, D] scipy sparse counts, each at least 1 where it is not 0.
        others: [n, D] counts to weigh in the same way, such as a test set.

    Returns:
        One float32 CSR matrix per argument. Rows without tokens stay empty.

    Raises:
        ArgumentError, DTypeError: not counts, or numbers of columns that differ.
    """
    names = ["train", *(f"others[{i}]" for i in range(len(others)))]
    counts = [_counts(name, matrix) for name, matrix in zip(names, (train, *others), strict=True)]
    weights = TfIdf._of(counts[0])
    return [weights._weigh(matrix, name) for name, matrix in zip(names, counts, strict=True)]


def holdout(X: Any, Y: Any, share: float, seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Splits instances into (X_train, Y_train, X_validation, Y_validation), rows in their old order.

    The same rows are held out as by `Classifier.fit(..., validation=share, seed=seed)`: they depend on the number of
    rows, `share` and `seed` only. A memory map is copied into memory.

    Args:
        X, Y: [n, D] and [n, L]; scipy CSR or arrays.
        share: of the instances to hold out, in (0, 1); at least one is, and at least one is left.
        seed: >= 0.
    """
    require_number("share", share, 0, 1, low_open=True, high_open=True)
    require_int("seed", seed, 0)
    if X.shape[0] != Y.shape[0]:
        raise ArgumentError(f"X has {X.shape[0]} rows and Y has {Y.shape[0]}; they must agree")
    X, Y = (checked_csr(name, matrix) if sp.issparse(matrix) else matrix for name, matrix in (("X", X), ("Y", Y)))
    left, held = hold_out(X.shape[0], share, seed)
    return X[left], Y[left], X[held], Y[held]


def _counts(name: str, matrix: Any) -> sp.csr_matrix:
    counts = sparse_features(name, matrix)
    if counts.nnz and counts.data.min() < 1:
        raise ArgumentError(f"{name} holds {counts.data.min():g}; tfidf reads token counts, which are at least 1")
    return counts
