"""Reading `.npz` files that may be damaged or forged: no more memory is taken than the file has bytes."""

from __future__ import annotations

import math
import os
import zipfile
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_CHUNK = 1 << 24  # bytes copied at a time: the archive makes an object of each


def read_arrays(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    """The arrays of what `numpy.savez` wrote, by name.

    Raises ValueError, EOFError or zipfile.BadZipFile unless every member is stored without compression, holds numbers
    or strings, and has just the bytes that its header claims.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("a member is compressed, which sparsexmc never does")
        if sum(member.file_size for member in members) > size:
            raise ValueError(f"the members claim more bytes than the {size} of the file")
        return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in members}


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{member.filename} has the version {version} of the .npy format")
        shape, fortran_order, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which are never read")
        needed, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if needed != there or min(shape, default=0) < 0:
            raise ValueError(f"{member.filename} has {there} bytes for an array of {needed}")
        array = np.empty(shape, dtype, order="F" if fortran_order else "C")
        data = array.reshape(-1, order="A").view(np.uint8).data if needed else memoryview(b"")
        while data:
            read = file.readinto(data[:_CHUNK])  # type: ignore[attr-defined]  # verifies the member's checksum at its end
            if not read:
                raise EOFError(f"{member.filename} ends early")
            data = data[read:]
    return array
