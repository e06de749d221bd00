"""The check in front of every use of a sparse matrix that somebody else made: no index leads out of an array.

scipy's own `check_format(full_check=True)` looks at nothing where the last offset is 0, and its conversions, sorting
and slicing trust the structure: offsets that rise and fall again make them write beyond their arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ._core import ArgumentError, DTypeError


def check_offsets(name: str, indptr: npt.NDArray[Any], rows: int) -> int:
    """The number of entries, indptr[rows]. Raises ArgumentError unless `indptr` [rows + 1] rises from 0."""
    if indptr.shape != (rows + 1,) or indptr.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name} is damaged: indptr is {indptr.dtype} of shape {indptr.shape} for {rows} rows; it needs {rows + 1} "
            "integers: rebuild the matrix"
        )
    if indptr[0] != 0:
        raise ArgumentError(f"{name} is damaged: indptr begins with {indptr[0]} instead of 0; rebuild the matrix")
    falls = indptr[1:] < indptr[:-1]
    if falls.any():
        raise ArgumentError(f"{name} is damaged: indptr decreases at row {int(falls.argmax())}; rebuild the matrix")
    return int(indptr[-1])


def check_columns(name: str, indices: npt.NDArray[Any], cols: int) -> None:
    """Raise ArgumentError unless `indices` are integers in [0, cols)."""
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ArgumentError(
            f"{name} is damaged: indices is {indices.dtype} of shape {indices.shape}, and must be integers in one row; "
            "rebuild the matrix"
        )
    if len(indices):
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= cols:
            wrong = low if low < 0 else high
            raise ArgumentError(f"{name} is damaged: it holds index {wrong}, but there are {cols}; rebuild the matrix")


def check_compressed(name: str, matrix: Any, *, columns: bool = True) -> None:
    """Raise ArgumentError unless the arrays of a scipy CSR, CSC or BSR matrix fit together.

    `columns` False leaves out whether the columns are in range, which costs a pass over all entries.
    """
    rows, cols = matrix.shape if matrix.format != "csc" else reversed(matrix.shape)
    data, indices = np.asarray(matrix.data), np.asarray(matrix.indices)
    if matrix.format == "bsr":
        if data.ndim != 3 or min(data.shape[1:]) < 1 or rows % data.shape[1] or cols % data.shape[2]:
            raise ArgumentError(
                f"{name} is damaged: blocks {data.shape} of a matrix {matrix.shape}; rebuild the matrix"
            )
        rows, cols = rows // data.shape[1], cols // data.shape[2]
    elif data.ndim != 1:
        raise ArgumentError(f"{name} is damaged: data has shape {data.shape}; rebuild the matrix")
    entries = check_offsets(name, np.asarray(matrix.indptr), rows)
    if indices.ndim != 1 or min(len(indices), len(data)) < entries:
        raise ArgumentError(
            f"{name} is damaged: indptr ends at {entries}, but there are {indices.size} indices and {len(data)} "
            "values; rebuild the matrix"
        )
    if columns:
        check_columns(name, indices[:entries], cols)


def checked_csr(name: str, matrix: Any) -> sp.csr_matrix:
    """A scipy sparse matrix of real numbers in any format as CSR of contiguous arrays, shared with one that has them.

    Raises:
        DTypeError: not a scipy sparse matrix of real numbers.
        ArgumentError: damaged structure.
    """
    if not sp.issparse(matrix):
        raise DTypeError(
            f"{name} is a {type(matrix).__name__}; pass a scipy sparse matrix, e.g. scipy.sparse.csr_matrix({name})"
        )
    if matrix.ndim != 2:
        raise ArgumentError(f"{name} has {matrix.ndim} axes; pass a matrix with a row per instance")
    if matrix.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {matrix.dtype}; pass real numbers")
    if matrix.format in ("csr", "csc", "bsr"):
        check_compressed(name, matrix)
        return _contiguous(sp.csr_matrix(matrix))
    _check_other(name, matrix)
    csr = sp.csr_matrix(matrix)
    check_compressed(name, csr)
    return csr


def check_label_values(name: str, values: npt.NDArray[Any]) -> None:
    """Raise unless the stored `values` of label pairs say what is a positive: DTypeError, or ArgumentError for NaN.

    A pivot table stores every missing pair as NaN, and NaN is not 0.
    """
    if values.dtype.kind not in "biuf":
        raise DTypeError(f"{name} has dtype {values.dtype}; pass real numbers")
    if values.dtype.kind == "f" and values.size and np.isnan(values.min()):  # which passes NaN on
        raise ArgumentError(
            f"{name} holds NaN; a label is there (1) or not (0): leave missing pairs out, for example with "
            f"{name}.data = numpy.nan_to_num({name}.data)"
        )


def without_zeros(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """A copy of a CSR matrix without its stored zeros: what is 0 is no entry."""
    copy = matrix.copy()
    copy.eliminate_zeros()
    return copy


def _contiguous(csr: sp.csr_matrix) -> sp.csr_matrix:
    """`csr`, or the same with copies of arrays that have gaps, such as fields of structures."""
    arrays = csr.data, csr.indices, csr.indptr
    if all(array.flags.c_contiguous for array in arrays):
        return csr
    return sp.csr_matrix(tuple(np.ascontiguousarray(array) for array in arrays), shape=csr.shape)


def csr_from_arrays(name: str, data: Any, indices: Any, indptr: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    """CSR of arrays of which nothing is known. Raises ArgumentError if they do not fit together to the last entry."""
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise ArgumentError(f"{name} is damaged: its shape is {shape}")
    entries = check_offsets(name, indptr, shape[0])
    if data.shape != (entries,) or indices.shape != (entries,):
        raise ArgumentError(
            f"{name} is damaged: indptr ends at {entries}, but data has shape {data.shape} and indices {indices.shape}"
        )
    check_columns(name, indices, shape[1])
    return sp.csr_matrix((data, indices, indptr), shape=shape)


def _check_other(name: str, matrix: Any) -> None:
    """The formats in which scipy converts arrays without looking: COO, DIA, LIL."""
    if matrix.format == "coo":
        if not len(matrix.row) == len(matrix.col) == len(matrix.data):
            raise ArgumentError(f"{name} is damaged: row, col and data differ in length; rebuild the matrix")
        for coordinates, size in zip((matrix.row, matrix.col), matrix.shape, strict=True):
            check_columns(name, coordinates, size)
    elif matrix.format == "dia":
        if matrix.data.ndim != 2 or matrix.offsets.shape != (matrix.data.shape[0],):
            raise ArgumentError(f"{name} is damaged: offsets and data do not fit together; rebuild the matrix")
    elif matrix.format == "lil" and not (
        len(matrix.rows) == len(matrix.data) == matrix.shape[0]
        and all(len(columns) == len(values) for columns, values in zip(matrix.rows, matrix.data, strict=True))
    ):
        raise ArgumentError(f"{name} is damaged: rows and data do not fit together; rebuild the matrix")
