"""Sparse matrices in the one form that the library works on: CSR, sorted, without duplicates, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .errors import ArgumentError, DTypeError


def sparse_features(name: str, matrix: Any) -> sp.csr_matrix:
    """`matrix` as float32 CSR [n, D] with ascending columns. Duplicates are summed; the argument is left alone.

    Numbers and booleans of any width become float32, token counts (uint8) among them.

    Raises:
        DTypeError: not a scipy sparse matrix of real numbers.
        ArgumentError: damaged structure, NaN, infinity, or a value beyond float32.
    """
    checked = _checked(name, matrix)
    with np.errstate(over="ignore"):  # what overflows is infinite, and found below
        converted = checked.astype(np.float32)
    if not converted.has_canonical_format:
        converted = converted.copy() if converted.indices is matrix.indices else converted
        converted.sum_duplicates()
    if not np.isfinite(converted.data).all():
        raise ArgumentError(f"{name} holds NaN, infinity or a value beyond float32; replace or drop such values")
    return converted


def label_matrix(name: str, matrix: Any) -> sp.csr_matrix:
    """`matrix` as CSR [n, L] whose entries are float32 ones where it is not 0. The argument is left alone.

    Raises:
        DTypeError: not a scipy sparse matrix of real numbers.
        ArgumentError: damaged structure or NaN.
    """
    checked = _checked(name, matrix)
    if np.isnan(checked.data).any():
        raise ArgumentError(f"{name} holds NaN; a label is there (1) or not (0)")
    # Ones before duplicates are merged: a label counts once, and 1 - 1 must not make it vanish.
    binary = sp.csr_matrix(
        ((checked.data != 0).astype(np.float32), checked.indices.copy(), checked.indptr.copy()), shape=checked.shape
    )
    binary.eliminate_zeros()
    binary.sum_duplicates()
    binary.data[:] = 1
    return binary


def label_rows(name: str, labels: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int | None]:
    """The rows of `labels` as (indptr, indices, number of labels or None if it does not say).

    `labels` is a scipy sparse matrix [n, L], a pair `(indptr, indices)`, or for one label per instance an integer array
    [n]. What a pair points at is checked by the reader.

    Raises:
        DTypeError: another kind, or numbers that are not integers.
        ArgumentError: as `label_matrix`.
    """
    if sp.issparse(labels):
        binary = label_matrix(name, labels)
        return binary.indptr, binary.indices, binary.shape[1]
    if isinstance(labels, tuple):
        if len(labels) != 2:
            raise ArgumentError(f"{name} is a tuple of {len(labels)}; pass the pair (indptr, indices)")
        return integers(f"{name}: indptr", labels[0], 1), integers(f"{name}: indices", labels[1], 1), None
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        return np.arange(len(labels) + 1), integers(name, labels, 1), None
    raise DTypeError(
        f"{name} is a {type(labels).__name__}; pass a scipy CSR matrix [n, num_labels], a pair (indptr, indices), or an "
        "integer array [n] with one label per instance"
    )


def integers(name: str, values: Any, ndim: int) -> npt.NDArray[np.int64]:
    """`values` as a C-contiguous int64 array of `ndim` axes.

    Raises:
        DTypeError: the values are not integers.
        ArgumentError: another number of axes.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "iu" and array.size:
        raise DTypeError(f"{name} has dtype {array.dtype}; pass integers")
    if array.ndim != ndim:
        raise ArgumentError(f"{name} has shape {array.shape}; pass an array with {ndim} axes")
    return np.ascontiguousarray(array, dtype=np.int64)


def _checked(name: str, matrix: Any) -> sp.csr_matrix:
    if not sp.issparse(matrix):
        raise DTypeError(f"{name} is a {type(matrix).__name__}; pass a scipy sparse matrix, e.g. scipy.sparse.csr_matrix")
    if matrix.ndim != 2:
        raise ArgumentError(f"{name} has {matrix.ndim} axes; pass a matrix with a row per instance")
    if matrix.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {matrix.dtype}; pass real numbers")
    csr = sp.csr_matrix(matrix)  # shares the arrays of a CSR matrix
    try:
        csr.check_format(full_check=True)
    except ValueError as error:
        raise ArgumentError(f"{name} is damaged: {error}; rebuild the matrix") from None
    return csr
