"""Standard output of the command line: label names cannot drive a terminal, and errors say where they come from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TextIO

# C0 but tab and newline, DEL, C1; the separators of lines and the marks that turn the direction of the text around.
_UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    r"""`text` with control characters as \u001b and the like, which JSON reads as the same characters."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Output:
    """A text stream that escapes what is shown on a terminal; files and pipes get every character as it is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._escapes = stream.isatty()

    def write(self, text: str) -> int:
        try:
            return self._stream.write(escaped(text) if self._escapes else text)
        except OSError as error:
            raise _named(error) from None

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _named(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _named(error: OSError) -> OSError:
    error.filename = "standard output"
    return error
