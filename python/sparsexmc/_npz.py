"""Reading `.npy` and `.npz` files that may be damaged or forged.

Every claim is held against the file before memory is taken for it, nothing is evaluated or unpickled, and every fault
is one of `FAULTS`. Numbers of any width, booleans and strings are read; Python objects and structures are not.
"""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt

FAULTS = (
    OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, OverflowError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""Raised for damaged files here, in zipfile, and by readers of their content; RuntimeError stands for
NotImplementedError and RecursionError too."""

_CHUNK = 1 << 24  # bytes copied at a time: the archive makes an object of each
_LONGEST_HEADER = 10_000  # as in NumPy
_DEFLATE_MOST = 1032  # bytes that one compressed byte can become
# A file may unpack to this many bytes, or to this many times its own size: matrices with nothing but equal entries
# compress better, but such large ones are no data.
_UNPACKED, _RATIO = 1 << 28, 200
_PAIR = re.compile(
    r"""\s*(?P<q>['"])(?P<key>descr|fortran_order|shape)(?P=q)\s*:\s*"""
    r"""(?P<value>'[^']*'|"[^"]*"|True|False|\(\s*(?:\d{1,19}L?\s*(?:,\s*\d{1,19}L?\s*)*,?)?\s*\))\s*(?P<end>,\s*\}|,|\})"""
)


class Header(NamedTuple):
    """The header of an array: its shape, dtype, order, and the number of bytes that it takes itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    length: int

    @property
    def data_bytes(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: Any) -> Header:
    """The header of an array as `numpy.save` writes it. Raises ValueError or EOFError."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\1\0", b"\2\0"):
        raise ValueError("it is no array as numpy.save writes it")
    form = "<H" if magic[6] == 1 else "<I"
    (length,) = struct.unpack(form, _read(file, struct.calcsize(form)))
    if length > _LONGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes; at most {_LONGEST_HEADER} are read")
    found = _parse_header(_read(file, length).decode("ascii"))
    return Header(*found, 8 + struct.calcsize(form) + length)


def _read(file: Any, count: int) -> bytes:
    content = file.read(count)
    if len(content) != count:
        raise EOFError("it ends in the middle of a header")
    return bytes(content)


def _parse_header(text: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """A dict literal with three keys, and nothing else: numpy's reader evaluates it."""
    text = text.strip(" \n\0")
    pairs: dict[str, str] = {}
    place, end = 1, ""
    while text.startswith("{") and not end.endswith("}"):
        pair = _PAIR.match(text, place)
        if pair is None or pair["key"] in pairs:
            break
        pairs[pair["key"]], place, end = pair["value"], pair.end(), pair["end"]
    if place != len(text) or not end.endswith("}") or len(pairs) != 3:
        raise ValueError("its header is damaged, or of an array of structures or Python objects, which are not read")
    descr, order, shape = pairs["descr"], pairs["fortran_order"], pairs["shape"]
    kind = re.fullmatch(r"[<>|=]?([biufSU])(\d{1,5})", descr[1:-1])
    if kind is None or order not in ("True", "False") or not shape.startswith("("):
        raise ValueError(f"its header says {descr}, {order}, {shape}; numbers, booleans and strings are read")
    return tuple(int(size) for size in re.findall(r"\d+", shape)), np.dtype(descr[1:-1]), order == "True"


class NpzReader:
    """The arrays in an open `.npz` file, read one by one.

    Args:
        file: open and seekable; it is not closed.
        compressed: whether members may be compressed.

    Raises:
        ValueError, zipfile.BadZipFile and others of `FAULTS`, here and from the methods: damaged, or more would be
            unpacked than a file of this size may hold.
    """

    def __init__(self, file: BinaryIO, *, compressed: bool) -> None:
        size = file.seek(0, os.SEEK_END)
        self._archive = zipfile.ZipFile(file)
        members = self._archive.infolist()
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        if len(self._members) != len(members):
            raise ValueError("two members have the same name")
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if compressed else (zipfile.ZIP_STORED,)
        for member in members:
            if member.compress_type not in methods:
                raise ValueError(f"{member.filename} is compressed in a way that is not read here")
            factor = 1 if member.compress_type == zipfile.ZIP_STORED else _DEFLATE_MOST
            if member.file_size > factor * member.compress_size:
                raise ValueError(f"{member.filename} claims more bytes than it can hold")
        if sum(member.compress_size for member in members) > size:
            raise ValueError(f"the members claim more bytes than the {size} of the file")
        self._room = max(_UNPACKED, _RATIO * size) if compressed else size

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._members)

    def read(self, name: str, shape: tuple[int, ...] | None = None) -> npt.NDArray[Any]:
        """An array, in the byte order of the machine.

        Raises:
            KeyError, ValueError: there is none of that name, or it has another shape than `shape`; before memory is
                taken.
        """
        member = self._members[name]
        with self._archive.open(member) as file:
            header = read_header(file)
            if shape is not None and header.shape != shape:
                raise ValueError(f"{name} has shape {header.shape}, but the rest of the file needs {shape}")
            needed, there = header.data_bytes, member.file_size - header.length
            if needed != there:
                raise ValueError(f"{name} has {there} bytes for an array of {needed}")
            self._room -= needed
            if self._room < 0:
                raise ValueError(f"it unpacks to more than {_RATIO} times its size, or {_UNPACKED} bytes; no data does")
            array = np.empty(header.shape, header.dtype, order="F" if header.fortran_order else "C")
            data = array.reshape(-1, order="A").view(np.uint8).data if needed else memoryview(b"")
            while data:
                count = file.readinto(data[:_CHUNK])  # type: ignore[attr-defined]
                if not count:
                    raise EOFError(f"{name} ends early")
                data = data[count:]
            if file.read(1):  # the archive verifies the checksum at the end
                raise ValueError(f"{name} is longer than it claims")
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()


def read_arrays(file: BinaryIO) -> dict[str, npt.NDArray[Any]]:
    """The arrays of what `numpy.savez` wrote, by name: uncompressed, so that no more memory is taken than the file has
    bytes. Raises one of `FAULTS`.
    """
    with NpzReader(file, compressed=False) as archive:
        return {name: archive.read(name) for name in archive.names}
