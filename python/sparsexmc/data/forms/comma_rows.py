"""A table with a header: comma-separated values, or with semicolons or tabs, whichever stands in the header.

Empty lines are passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..streams import Lines
from .cells import split_cells
from .entry import Entry, TextColumns

SEPARATORS = (",", ";", "\t")


def entries(lines: Lines, columns: TextColumns) -> Iterator[Entry]:
    """A row per text; its labels stand in one cell, with `columns.separator` between."""
    opened_at = 0

    def next_line() -> str:
        try:
            return next(lines)
        except StopIteration:
            raise ValueError(
                f"the file ends inside of a cell, whose quote opens on line {opened_at}; close it, or double it"
            ) from None

    header = next((line for line in lines if line), None)
    if header is None:
        return
    opened_at = lines.number
    separator, names = _header(header, columns, next_line)
    text_at = names.index(columns.text)
    labels_at = names.index(columns.labels) if columns.labels in names else None
    for line in lines:
        if not line:
            continue
        opened_at = lines.number
        cells = split_cells(line, separator, next_line)
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise ValueError(f"the row has {len(cells)} cells and the header {len(names)}; put quotes around cells")
        labels = None if labels_at is None else cells[labels_at].split(columns.separator)
        yield Entry(lines.number, cells[text_at], labels and [label.strip() for label in labels if label.strip()])


def _header(line: str, columns: TextColumns, next_line: Callable[[], str]) -> tuple[str, list[str]]:
    """The separator of cells, and the names of the columns."""
    for separator in SEPARATORS:
        names = [name.strip() for name in split_cells(line, separator, next_line)]
        if columns.text in names:
            return separator, names
    names = [name.strip() for name in line.split(",")]
    raise ValueError(f"no column {columns.text!r} in the header, but {', '.join(map(repr, names[:10]))}; name the one")
