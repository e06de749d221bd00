"""Single files: matrices in `.npz` and `.npy`, names in `.txt` and `.txt.xz`."""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._csr import check_offsets, csr_from_arrays
from .._files import open_regular
from .._npz import FAULTS, NpzReader, read_header
from ..errors import ArgumentError, DataError

_CHUNK_BYTES = 1 << 26
_READ_BYTES = 1 << 20
_MOST_COLUMNS = 2**31 - 1  # as in text files
_LONGEST_NAME = 1 << 20  # bytes


def read_csr(path: Path) -> sp.csr_matrix:
    """The matrix that `scipy.sparse.save_npz` wrote, as it stands in the file; pickled contents are refused.

    The shape says how long the offsets are, and these how many entries there are: nothing longer is unpacked.

    Raises:
        DataError: unreadable, not a CSR matrix, or arrays that do not fit together.
    """
    try:
        with open_regular(path) as file, NpzReader(file, compressed=True) as arrays:
            needed = {"data", "format", "indices", "indptr", "shape"}
            if missing := needed - set(arrays.names):
                raise ValueError(f"it has no {', '.join(sorted(missing))}, but {', '.join(sorted(arrays.names))}")
            kind = arrays.read("format", ()).item()
            kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
            if kind != "csr":
                raise ValueError(f"it holds a matrix in {kind} format; save matrix.tocsr()")
            shape = arrays.read("shape", (2,))
            if shape.dtype.kind not in "iu" or not (shape.min() >= 0 and shape[1] <= _MOST_COLUMNS):
                raise ValueError(f"its shape is {shape.tolist()}; at most {_MOST_COLUMNS} columns are supported")
            rows, columns = shape.tolist()
            indptr = arrays.read("indptr", (rows + 1,))
            entries = check_offsets("the matrix", indptr, rows)
            if entries > rows * columns:
                raise ValueError(f"it has {entries} entries in {rows} rows of {columns}")
            data, indices = arrays.read("data", (entries,)), arrays.read("indices", (entries,))
            return csr_from_arrays("the matrix", data, indices, indptr, (rows, columns))
    except FAULTS as error:
        raise DataError(f"{path}: not a CSR matrix as scipy.sparse.save_npz writes it: {error}") from None


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
    """One name per line, UTF-8; a path that ends in .xz is decompressed.

    What a compressed file may unpack to follows from the number of names that are needed, `most`, and from the length
    of a name, at most a megabyte: reading ends there.

    Raises:
        DataError: unreadable, or more names in a compressed file.
    """
    try:
        with open_regular(path) as file:
            if path.suffix == ".xz":
                with lzma.LZMAFile(file) as content:
                    return _decoded_names(path, content, most)
            return _decoded_names(path, file, None)
    except (OSError, EOFError, lzma.LZMAError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _decoded_names(path: Path, content: Any, most: int | None) -> list[str]:
    names: list[str] = []
    for number, line in enumerate(_lines(content), 1):
        if len(line) > _LONGEST_NAME:
            raise DataError(f"{path}:{number}: a name of more than {_LONGEST_NAME} bytes; shorten it")
        try:
            names.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError:
            raise DataError(f"{path}:{number}: not UTF-8; convert the file, e.g. with iconv") from None
        if most is not None and number > most:
            raise DataError(f"{path}: holds more than the {most} names that are needed; it needs one each")
    return names


def _lines(content: Any) -> Iterator[bytes]:
    """Lines of a binary file without LF; one that is too long for a name comes cut off, as the last."""
    rest = b""
    while block := content.read(_READ_BYTES):
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
