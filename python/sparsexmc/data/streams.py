"""Text files as they lie there: plain, packed by gzip or xz, or standard input.

A packed file is unpacked as it is read. It may become 256 MiB, or 200 times its size if that is more.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from .._files import open_regular
from ..errors import ArgumentError, DataError

STANDARD_INPUT = "-"
PACKED: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}
"""Endings of packed files, and what unpacks them."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNPACKED, _RATIO = 1 << 28, 200
_LONGEST_PEEK = 1 << 20
_BLOCK = 1 << 16
_FAULTS = (OSError, EOFError, zlib.error, lzma.LZMAError, MemoryError)

AnyPath = str | PathLike[str]


def bare_name(path: AnyPath) -> str:
    """The name of a file without its folder and without the ending of a packed one: trn.jsonl.gz is trn.jsonl."""
    file = Path(path)
    return file.stem if is_packed(file) else file.name


def bare_ending(path: AnyPath) -> str:
    """The ending that says what a file holds, packed or not: .jsonl of trn.jsonl.gz."""
    return Path(bare_name(path)).suffix


def is_packed(path: AnyPath) -> bool:
    """Whether the name says that the file is packed."""
    return Path(path).suffix in PACKED


def with_packed(*names: str) -> tuple[str, ...]:
    """Each name, and as a packed file has it."""
    return tuple(name + ending for name in names for ending in ("", *PACKED))


class TextStream(io.RawIOBase):
    """The bytes of a text, which may be looked at before they are read.

    Attributes:
        name: of the file, for messages.
    """

    def __init__(self, name: str, file: Any, most: int | None) -> None:
        super().__init__()
        self.name = name
        self._file = file
        self._most = most  # bytes to come at most; None: whatever comes
        self._head = b""  # looked at, and not yet read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            if not self._head:
                self._head = self._fill(len(view))
            count = min(len(view), len(self._head))
            view[:count] = self._head[:count]
            self._head = self._head[count:]
            return count

    def first_line(self) -> bytes:
        """The first line that is not blank, as far as a megabyte goes, without blanks around it; nothing is read."""
        while True:
            text = self._head.removeprefix(BYTE_ORDER_MARK).lstrip()
            line, end, _ = text.partition(b"\n")
            more = b"" if end or len(self._head) >= _LONGEST_PEEK else self._fill(_BLOCK)
            if not more:
                return line.rstrip()
            self._head += more

    def _fill(self, size: int) -> bytes:
        try:
            content: bytes = self._file.read(size)
        except _FAULTS as error:
            raise DataError(f"{self.name}: cannot be read: {error or type(error).__name__}") from None
        if self._most is not None:
            self._most -= len(content)
            if self._most < 0:
                raise DataError(
                    f"{self.name}: unpacks to more than {_RATIO} times its size, or {_UNPACKED} bytes; unpack it "
                    "yourself if that is meant"
                )
        return content


@contextmanager
def open_text(path: AnyPath) -> Iterator[TextStream]:
    """The bytes of the text at `path`, unpacked; "-" is standard input.

    Raises:
        ArgumentError: the file cannot be opened, or is not a regular one.
        DataError: it cannot be unpacked, or to more than a packed file may; also from reading.
    """
    if fspath(path) == STANDARD_INPUT:
        yield TextStream("standard input", sys.stdin.buffer, None)
        return
    try:
        file = open_regular(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"path: cannot read '{fspath(path)}': {reason}") from None
    with file:
        if not is_packed(path):
            yield TextStream(fspath(path), file, None)
            return
        most = max(_UNPACKED, _RATIO * os.fstat(file.fileno()).st_size)
        with PACKED[Path(path).suffix](file, "rb") as unpacked:
            yield TextStream(fspath(path), unpacked, most)


@contextmanager
def engine_source(path: AnyPath) -> Iterator[str | TextStream]:
    """A source for the readers in C++: the path of a plain file, which they read themselves, or a stream."""
    if fspath(path) != STANDARD_INPUT and not is_packed(path):
        yield fspath(path)
    else:
        with open_text(path) as stream:
            yield stream


def first_line(path: AnyPath) -> bytes:
    """The first line of a file that is not blank, without blanks around it. Raises as `open_text`."""
    with open_text(path) as stream:
        return stream.first_line()


class Lines:
    """(number, text) of the lines of a UTF-8 stream, without their endings and without a byte-order mark.

    Attributes:
        number: of the line that came last, from 1.

    Raises:
        DataError: not UTF-8.
    """

    def __init__(self, stream: TextStream) -> None:
        self.name = stream.name
        self.number = 0
        self._lines = iter(io.BufferedReader(stream, _BLOCK))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = next(self._lines)
        self.number += 1
        if self.number == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)
        try:
            return raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{self.name}:{self.number}: not UTF-8; convert the file, e.g. with iconv") from None
