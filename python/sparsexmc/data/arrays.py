"""Single files: matrices in `.npz` and `.npy`, names in `.txt` and `.txt.xz`."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ..errors import ArgumentError, DataError

_CHUNK_BYTES = 1 << 26


def read_csr(path: Path) -> sp.csr_matrix:
    """The matrix that `scipy.sparse.save_npz` wrote, as it stands in the file; pickled contents are refused.

    Raises:
        DataError: unreadable, not a CSR matrix, or arrays that do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            needed = {"data", "format", "indices", "indptr", "shape"}
            if missing := needed - set(arrays.files):
                raise ValueError(f"it has no {', '.join(sorted(missing))}, but {', '.join(sorted(arrays.files))}")
            kind = arrays["format"].item()
            kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
            if kind != "csr":
                raise ValueError(f"it holds a matrix in {kind} format; save matrix.tocsr()")
            data, indices, indptr, shape = (arrays[key] for key in ("data", "indices", "indptr", "shape"))
            if any(array.dtype.kind not in "iu" for array in (indices, indptr, shape)):
                raise ValueError("indices, indptr and shape must be integers")
            return sp.csr_matrix((data, indices, indptr), shape=tuple(shape.tolist()))
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a CSR matrix as scipy.sparse.save_npz writes it: {error}") from None


def read_dense(path: Path) -> npt.NDArray[Any]:
    """The array [n, D] in a `.npy` file, mapped into memory; it is read once to look for NaN and infinity.

    Raises:
        DataError: unreadable, another shape or dtype than float32 or float16, Fortran order, or not finite.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not an array as numpy.save writes it: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        raise DataError(f"{path}: holds no matrix; save an array [n, D]")
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise DataError(f"{path}: holds {array.dtype}; save array.astype(np.float32)")
    if not array.flags.c_contiguous:
        raise DataError(f"{path}: is stored column by column; save np.ascontiguousarray(array)")
    rows = max(1, _CHUNK_BYTES // max(1, array.shape[1] * array.itemsize))
    for start in range(0, array.shape[0], rows):
        finite = np.isfinite(array[start : start + rows]).all(axis=1)
        if not finite.all():
            raise DataError(f"{path}: row {start + int(np.argmin(finite))} holds NaN or infinity; repair or drop it")
    return array


def read_names(path: Path) -> list[str]:
    """One name per line, UTF-8; a path that ends in .xz is decompressed.

    Raises:
        DataError: unreadable.
    """
    try:
        raw = path.read_bytes()
        raw = lzma.decompress(raw) if path.suffix == ".xz" else raw
    except (OSError, lzma.LZMAError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    lines = raw.split(b"\n")
    if not lines[-1]:
        lines.pop()
    names = []
    for number, line in enumerate(lines, 1):
        try:
            names.append(line.removesuffix(b"\r").decode("utf-8"))
        except UnicodeDecodeError:
            raise DataError(f"{path}:{number}: not UTF-8; convert the file, e.g. with iconv") from None
    return names


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
