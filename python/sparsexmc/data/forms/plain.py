"""A text per line, without labels; a blank line is an empty text."""

from __future__ import annotations

from collections.abc import Iterator

from ..streams import Lines
from .entry import Entry, TextColumns


def entries(lines: Lines, columns: TextColumns) -> Iterator[Entry]:
    """A text per line."""
    del columns
    for line in lines:
        yield Entry(lines.number, line)
