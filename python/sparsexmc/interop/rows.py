"""Whole training sets, from which batches of rows are gathered."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from ..errors import ArgumentError
from .dlpack import HOST, Place
from .inputs import (
    DenseFeatures,
    Features,
    Indices,
    Positives,
    SparseFeatures,
    features_input,
    labels_input,
    refuse_sparse_tensor,
)
from .streams import is_torch

_CHUNK_BYTES = 1 << 25
_ROWS_AT_A_TIME = 4096
Rows = npt.NDArray[np.int64]


def row_slices(count: int) -> Iterator[slice]:
    """Slices of all rows, at least one, for what costs memory by the row in Python.

    The engine needs none: it takes any number of rows and cuts them into batches itself. Gathered rows, the candidates
    of an ensemble and lines to print are worth a slice, of thousands of rows so that the calls do not count.
    """
    for first in range(0, max(count, 1), _ROWS_AT_A_TIME):
        yield slice(first, first + _ROWS_AT_A_TIME)


class DenseRows:
    """Embeddings [n, width]: a NumPy array or memmap, or a torch tensor on the CPU or at `place`."""

    def __init__(self, name: str, X: Any, width: int, place: Place) -> None:
        self._name = name
        self._width = width
        self._place = place
        self.count = self._borrow(X).rows
        self._torch = sys.modules["torch"] if is_torch(X) else None
        self._X: Any = X if self._torch is not None or isinstance(X, np.ndarray) else _to_numpy(name, X)

    def take(self, rows: Rows) -> Features:
        """These rows, gathered into a new array."""
        if self._torch is not None:
            return self._borrow(self._X.index_select(0, self._torch.from_numpy(rows).to(self._X.device)))
        return self._borrow(np.asarray(self._X[rows]))

    def check_finite(self) -> None:
        """Raise ArgumentError that names the first row with NaN or Inf."""
        step = max(1, _CHUNK_BYTES // (self._width * 4))
        for start in range(0, self.count, step):
            chunk = self._X[start : start + step]
            finite = np.isfinite(chunk) if self._torch is None else self._torch.isfinite(chunk).cpu().numpy()
            if not finite.all():
                _refuse_nonfinite(self._name, start + int(np.argmin(finite.all(axis=1))))

    def fingerprint(self) -> dict[str, Any]:
        """Shape, dtype and hash: the same for the same numbers in an array, a memmap or a tensor."""
        step = max(1, _CHUNK_BYTES // (self._width * 4))
        digest = hashlib.sha256()
        for start in range(0, self.count, step):
            chunk = self._X[start : start + step]
            if self._torch is not None:
                chunk = chunk.detach().contiguous().view(self._torch.uint8).cpu().numpy()
            digest.update(np.ascontiguousarray(chunk).view(np.uint8).data)
        dtype = str(self._X.dtype).removeprefix("torch.")
        return {"shape": [self.count, self._width], "dtype": dtype, "sha256": digest.hexdigest()}

    def _borrow(self, X: Any) -> DenseFeatures:
        return DenseFeatures(self._name, X, self._width, self._place, from_host=True)


class CsrRows:
    """Sparse features [n, width] in CSR form."""

    def __init__(self, name: str, X: Any, width: int, place: Place = HOST) -> None:
        self._name = name
        features = features_input(name, X, width, place, sparse=True)
        assert isinstance(features, SparseFeatures)
        self._features = features
        self.count = features.rows
        self.lengths = np.diff(features.indptr)

    def take(self, rows: Rows) -> Features:
        """These rows, gathered into new arrays."""
        f = self._features
        indptr, positions = _gather(f.indptr, rows)
        return SparseFeatures(indptr, f.indices[positions], f.values[positions], f.cols, f.stream)

    def check_finite(self) -> None:
        """Raise ArgumentError that names the first row with NaN or Inf."""
        f = self._features
        for start in range(0, len(f.values), _CHUNK_BYTES // 4):
            finite = np.isfinite(f.values[start : start + _CHUNK_BYTES // 4])
            if not finite.all():
                position = start + int(np.argmin(finite))
                _refuse_nonfinite(self._name, int(np.searchsorted(f.indptr, position, side="right")) - 1)

    def fingerprint(self) -> dict[str, Any]:
        """Shape, number of entries and hash."""
        f = self._features
        first, last = int(f.indptr[0]), int(f.indptr[-1])
        digest = hashlib.sha256()
        for array, dtype in ((self.lengths, np.int64), (f.indices[first:last], np.int64)):
            _hash(digest, array, dtype)
        _hash(digest, f.values[first:last], f.values.dtype)
        return {"shape": [self.count, f.cols], "entries": last - first, "sha256": digest.hexdigest()}


class LabelRows:
    """The positives of all instances in CSR form."""

    def __init__(self, name: str, Y: Any, rows: int, num_labels: int, *, ignore_index: int | None = None) -> None:
        self.indptr, self.indices = labels_input(name, Y, rows, num_labels, ignore_index=ignore_index)
        self.lengths = np.diff(self.indptr)
        if self.lengths.min(initial=0) < 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.indices):
            raise ArgumentError(f"{name}: indptr must rise from 0 to the number of indices, {len(self.indices)}")
        if len(self.indices):
            low, high = int(self.indices.min()), int(self.indices.max())
            if low < 0 or high >= num_labels:
                raise ArgumentError(
                    f"{name} holds label id {low if low < 0 else high}, but num_labels={num_labels}: ids are "
                    f"0 .. {num_labels - 1}"
                )

    def take(self, rows: Rows) -> Positives:
        """The positives of these rows."""
        indptr, positions = _gather(self.indptr, rows)
        return indptr, self.indices[positions]

    def matrix(self, num_labels: int) -> scipy.sparse.csr_matrix:
        """All of them as a matrix of ones [n, num_labels]."""
        ones = np.ones(len(self.indices), np.float32)
        return scipy.sparse.csr_matrix((ones, self.indices, self.indptr), shape=(len(self.lengths), num_labels))

    def fingerprint(self) -> dict[str, Any]:
        """Number of rows and entries, and hash."""
        first, last = int(self.indptr[0]), int(self.indptr[-1])
        digest = hashlib.sha256()
        _hash(digest, self.lengths, np.int64)
        _hash(digest, self.indices[first:last], np.int64)
        return {"rows": len(self.lengths), "entries": last - first, "sha256": digest.hexdigest()}

    def counts(self, rows: Rows, num_labels: int) -> npt.NDArray[np.int64]:
        """[num_labels] number of occurrences within these rows."""
        return np.bincount(self.take(rows)[1], minlength=num_labels).astype(np.int64, copy=False)


def feature_rows(name: str, X: Any, width: int, place: Place, *, sparse: bool) -> DenseRows | CsrRows:
    """`X` as rows to gather for a classifier at `place`; the same checks as for a batch."""
    refuse_sparse_tensor(name, X)
    if sparse or scipy.sparse.issparse(X):
        features_input(name, X, width, sparse=sparse)  # raises for a sparse matrix where dense rows are read
        return CsrRows(name, X, width, place)
    return DenseRows(name, X, width, place)


def numbers_fingerprint(numbers: npt.NDArray[Any]) -> dict[str, Any]:
    """The same of an array of one number per row."""
    digest = hashlib.sha256()
    _hash(digest, numbers, numbers.dtype)
    return {"rows": len(numbers), "sha256": digest.hexdigest()}


def _hash(digest: Any, array: npt.NDArray[Any], dtype: npt.DTypeLike) -> None:
    """Hash the numbers as `dtype`, whatever they are kept as."""
    for start in range(0, len(array), _CHUNK_BYTES // 8):
        digest.update(np.ascontiguousarray(array[start : start + _CHUNK_BYTES // 8], dtype).data)


def _to_numpy(name: str, X: Any) -> Any:
    try:
        return np.from_dlpack(X)
    except (BufferError, RuntimeError, TypeError) as error:
        raise ArgumentError(f"{name} cannot be read by NumPy; pass a NumPy array or a torch tensor: {error}") from error


def _gather(indptr: Indices, rows: Rows) -> tuple[Indices, Rows]:
    """Offsets of the gathered rows, and the places of their entries in the old arrays."""
    starts = indptr[rows].astype(np.int64, copy=False)
    lengths = indptr[rows + 1] - starts
    gathered = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=gathered[1:])
    return gathered, np.arange(gathered[-1]) + np.repeat(starts - gathered[:-1], lengths)


def _refuse_nonfinite(name: str, row: int) -> None:
    raise ArgumentError(f"{name} holds NaN or Inf, first in row {row}; leave such rows out or repair them")
