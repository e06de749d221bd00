"""Sparse matrices in the one form that the library works on: CSR, sorted, without duplicates, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import _core
from ._csr import check_label_values, checked_csr, without_zeros
from .errors import ArgumentError


def sparse_features(name: str, matrix: Any) -> sp.csr_matrix:
    """`matrix` as float32 CSR [n, D] with ascending columns. Duplicates are summed, and what is 0 is no entry. The
    argument is left alone, and its arrays are shared where they will do.

    Numbers and booleans of any width become float32, token counts (uint8) among them.

    Raises:
        DTypeError: not a scipy sparse matrix of real numbers.
        ArgumentError: damaged structure, NaN, infinity, or a value beyond float32.
    """
    checked = checked_csr(name, matrix)
    with np.errstate(over="ignore"):  # what overflows is infinite, and found below
        converted = checked.astype(np.float32, copy=False)
    if not converted.has_canonical_format:
        converted = converted.copy()
        converted.sum_duplicates()
    if not np.isfinite(converted.data).all():
        raise ArgumentError(f"{name} holds NaN, infinity or a value beyond float32; replace or drop such values")
    if not converted.data.all():
        converted = without_zeros(converted)
    return converted


def label_matrix(name: str, matrix: Any) -> sp.csr_matrix:
    """`matrix` as CSR [n, L] whose entries are float32 ones where it is not 0. The argument is left alone.

    Raises:
        DTypeError: not a scipy sparse matrix of real numbers.
        ArgumentError: damaged structure or NaN.
    """
    checked = checked_csr(name, matrix)
    check_label_values(name, checked.data)
    # Ones before duplicates are merged: a label counts once, and 1 - 1 must not make it vanish.
    binary = sp.csr_matrix(
        ((checked.data != 0).astype(np.float32), checked.indices.copy(), checked.indptr.copy()), shape=checked.shape
    )
    binary.eliminate_zeros()
    binary.sum_duplicates()
    binary.data[:] = 1
    return binary


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The rows of a float32 CSR matrix at length 1; empty ones stay empty."""
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float64)).ravel()
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    data = (matrix.data * np.repeat(scale, np.diff(matrix.indptr))).astype(np.float32)
    return sp.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def search(
    postings: sp.csr_matrix, queries: sp.csr_matrix, count: int, threads: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The `count` columns of `postings` [D, columns] with the largest positive product with each query [n, D].

    Returns:
        products [n, count], descending, and columns [n, count]; 0 and -1 where there are fewer.
    """
    shape = queries.shape[0], count
    products, columns = np.empty(shape, np.float32), np.empty(shape, np.int64)
    _core.largest_products(
        postings.indptr, postings.indices, postings.data, postings.shape[1],
        queries.indptr, queries.indices, queries.data, products, columns, threads,
    )  # fmt: skip
    return products, columns


def are_counts(X: Any) -> bool:
    """Whether `X` holds raw token counts, that is sparse whole numbers of at least 1; stored zeros are no entries."""
    if not sp.issparse(X):
        return False
    values = X.data[X.data != 0]
    return bool(len(values) and values.min() >= 1 and (values == np.floor(values)).all())
