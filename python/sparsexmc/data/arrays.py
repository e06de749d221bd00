"""Single files: matrices in `.npz` and `.npy`, names in text files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._csr import check_columns, check_offsets, csr_from_arrays
from .._files import open_regular
from .._npz import FAULTS, NpzReader, read_header
from ..errors import ArgumentError, DataError
from .streams import BYTE_ORDER_MARK, TextStream, is_packed, open_text

_CHUNK_BYTES = 1 << 26
_READ_BYTES = 1 << 20
_MOST_COLUMNS = 2**31 - 1  # as in text files
# What is not CSR holds nothing for its empty rows, so that a forged shape would take memory for them.
_MOST_EMPTY_ROWS, _EMPTY_ROWS = 1 << 24, 1000
_LONGEST_NAME = 1 << 20  # bytes


def read_csr(path: Path) -> sp.csr_matrix:
    """The matrix that `scipy.sparse.save_npz` wrote, CSC and COO as CSR; pickled contents are refused.

    The shape says how long the offsets are, and these how many entries there are: nothing longer is unpacked.

    Raises:
        DataError: unreadable, another kind of matrix, or arrays that do not fit together.
    """
    try:
        with open_regular(path) as file, NpzReader(file, compressed=True) as arrays:
            _require(arrays, "data", "format", "shape")
            kind = arrays.read("format", ()).item()
            kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
            if kind not in ("csr", "csc", "coo"):
                raise ValueError(f"it holds a matrix in {kind} format; save matrix.tocsr()")
            shape = arrays.read("shape", (2,))
            if shape.dtype.kind not in "iu" or not (shape.min() >= 0 and shape[1] <= _MOST_COLUMNS):
                raise ValueError(f"its shape is {shape.tolist()}; at most {_MOST_COLUMNS} columns are supported")
            rows, columns = shape.tolist()
            if kind == "coo":
                return _read_coordinates(arrays, rows, columns)
            return _read_compressed(arrays, rows, columns) if kind == "csr" else _read_columns(arrays, rows, columns)
    except FAULTS as error:
        raise DataError(f"{path}: not a CSR matrix as scipy.sparse.save_npz writes it: {error}") from None


def _require(arrays: NpzReader, *names: str) -> None:
    if missing := set(names) - set(arrays.names):
        raise ValueError(f"it has no {', '.join(sorted(missing))}, but {', '.join(sorted(arrays.names))}")


def _read_compressed(arrays: NpzReader, rows: int, columns: int) -> sp.csr_matrix:
    _require(arrays, "indices", "indptr")
    indptr = arrays.read("indptr", (rows + 1,))
    entries = check_offsets("the matrix", indptr, rows)
    if entries > rows * columns:
        raise ValueError(f"it has {entries} entries in {rows} rows of {columns}")
    data, indices = arrays.read("data", (entries,)), arrays.read("indices", (entries,))
    return csr_from_arrays("the matrix", data, indices, indptr, (rows, columns))


def _read_columns(arrays: NpzReader, rows: int, columns: int) -> sp.csr_matrix:
    """A CSC matrix, which is the CSR matrix of its transpose."""
    matrix = _read_compressed(arrays, columns, rows)
    _check_rows(rows, matrix.nnz)
    return matrix.T.tocsr()


def _read_coordinates(arrays: NpzReader, rows: int, columns: int) -> sp.csr_matrix:
    _require(arrays, "row", "col")
    data = arrays.read("data")
    row, col = arrays.read("row", data.shape), arrays.read("col", data.shape)
    for places, size in ((row, rows), (col, columns)):
        check_columns("the matrix", places, size)
    _check_rows(rows, len(data))
    return sp.coo_matrix((data, (row, col)), shape=(rows, columns)).tocsr()


def _check_rows(rows: int, entries: int) -> None:
    if rows > max(_MOST_EMPTY_ROWS, _EMPTY_ROWS * entries):
        raise ValueError(f"it has {entries} entries in {rows} rows; save matrix.tocsr()")


def read_dense(path: Path) -> npt.NDArray[Any]:
    """The array [n, D] in a `.npy` file, mapped into memory; it is read once to look for NaN and infinity.

    Raises:
        DataError: unreadable, another shape or dtype than float32 or float16, Fortran order, or not finite.
    """
    try:
        with open_regular(path) as file:
            array = _map_array(path, file)
    except FAULTS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not an array as numpy.save writes it: {error}") from None
    rows = max(1, _CHUNK_BYTES // (array.shape[1] * array.itemsize))
    for start in range(0, array.shape[0], rows):
        finite = np.isfinite(array[start : start + rows]).all(axis=1)
        if not finite.all():
            raise DataError(f"{path}: row {start + int(np.argmin(finite))} holds NaN or infinity; repair or drop it")
    return array


def _map_array(path: Path, file: BinaryIO) -> npt.NDArray[Any]:
    header = read_header(file)
    there = os.fstat(file.fileno()).st_size - header.length
    if header.data_bytes != there:
        raise ValueError(f"its header says {header.data_bytes} bytes of numbers, but there are {there}")
    if len(header.shape) != 2 or header.shape[1] < 1:
        raise DataError(f"{path}: holds no matrix but an array of shape {header.shape}; save an array [n, D], D >= 1")
    if header.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise DataError(f"{path}: holds {header.dtype}; save array.astype(np.float32)")
    if header.fortran_order and min(header.shape) > 1:
        raise DataError(f"{path}: is stored column by column; save np.ascontiguousarray(array)")
    if not there:
        return np.empty(header.shape, header.dtype)
    return np.memmap(file, header.dtype, "r", header.length, header.shape)


def read_names(path: Path, most: int | None = None) -> list[str]:
    """One name per line, UTF-8; a path that ends in .gz or .xz is unpacked.

    What a packed file may unpack to follows from the number of names that are needed, `most`, and from the length of a
    name, at most a megabyte: reading ends there.

    Raises:
        DataError: unreadable, or more names in a packed file.
    """
    names: list[str] = []
    try:
        with open_text(path) as stream:
            for line in _lines(stream):
                number = len(names) + 1
                if len(line) > _LONGEST_NAME:
                    raise DataError(f"{path}:{number}: a name of more than {_LONGEST_NAME} bytes; shorten it")
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                try:
                    names.append(line.removesuffix(b"\r").decode("utf-8"))
                except UnicodeDecodeError:
                    raise DataError(f"{path}:{number}: not UTF-8; convert the file, e.g. with iconv") from None
                if is_packed(path) and most is not None and number > most:
                    raise DataError(f"{path}: holds more than the {most} names that are needed; it needs one each")
    except ArgumentError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return names


def _lines(stream: TextStream) -> Iterator[bytes]:
    """Lines without LF; one that is too long for a name comes cut off, as the last."""
    rest = b""
    while block := stream.read(_READ_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST_NAME:
            break
    if rest:
        yield rest


def check_names(names: Sequence[str]) -> None:
    """Raises ArgumentError for a name that cannot be stored on a line of its own."""
    for name in names:
        if "\n" in name or "\r" in name:
            raise ArgumentError(f"the name {name!r} has a line break; names are stored one per line")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ArgumentError(f"the name {name!r} is not Unicode: half a surrogate pair; repair the text") from None


def write_names(path: Path, names: Sequence[str]) -> None:
    """One name per line, as `check_names` wants them."""
    path.write_bytes("".join(name + "\n" for name in names).encode())
