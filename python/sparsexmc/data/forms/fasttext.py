"""fastText's lines: words, of which those that begin with `__label__` are labels. Blank lines are passed over."""

from __future__ import annotations

from collections.abc import Iterator

from ..streams import Lines
from .entry import Entry, TextColumns

LABEL = "__label__"


def entries(lines: Lines, columns: TextColumns) -> Iterator[Entry]:
    """`__label__a __label__b some words`: the labels are a and b, wherever they stand in the line."""
    del columns
    for line in lines:
        words = line.split()
        if words:
            labels = [word.removeprefix(LABEL) for word in words if word.startswith(LABEL)]
            yield Entry(lines.number, " ".join(word for word in words if not word.startswith(LABEL)), labels)
