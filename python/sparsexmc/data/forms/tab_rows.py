"""A text and its labels with tabs between, also as spreadsheets write them: quoted, and padded with tabs.

Empty lines are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..streams import Lines
from .cells import split_cells
from .entry import Entry, TextColumns


def entries(lines: Lines, columns: TextColumns) -> Iterator[Entry]:
    """Per line the text, then its labels."""
    del columns
    for line in lines:
        if not line:
            continue
        text, *labels = split_cells(line, "\t", _not_closed)
        while labels and not labels[-1]:
            labels.pop()
        yield Entry(lines.number, text, labels)


def _not_closed() -> str:
    raise ValueError(
        "a cell begins with a quote that the line does not close; write such tables as .csv, whose cells may have line "
        "breaks, or double the quote and put quotes around the cell"
    )
