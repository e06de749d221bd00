"""Cells of a row of a table, as spreadsheets write them: in quotes where they need it, with quotes inside doubled."""

from __future__ import annotations

from collections.abc import Callable

_LONGEST_ROW = 1 << 26  # characters


def split_cells(line: str, separator: str, next_line: Callable[[], str]) -> list[str]:
    """The cells of the row that begins with `line`.

    A cell that begins with a quote, but goes on behind the one that would end it, is taken as it stands.

    Args:
        line: without its ending.
        separator: between cells.
        next_line: gives the next line of a cell with line breaks, or raises ValueError.
    """
    cells: list[str] = []
    place = 0
    while True:
        if line.startswith('"', place):
            text, after, last = _quoted(line, place, next_line)
            if after == len(last) or last.startswith(separator, after):
                cells.append(text)
                line, place = last, after
            elif last is line:
                end = line.find(separator, place)
                end = len(line) if end < 0 else end
                cells.append(line[place:end])
                place = end
            else:
                raise ValueError("a cell goes on behind the quote that ends it; double quotes inside of cells")
        else:
            end = line.find(separator, place)
            end = len(line) if end < 0 else end
            cells.append(line[place:end])
            place = end
        if place == len(line):
            return cells
        place += len(separator)


def _quoted(line: str, place: int, next_line: Callable[[], str]) -> tuple[str, int, str]:
    """The text in quotes from `place` on, where it ends, and the line where it does."""
    parts: list[str] = []
    size, start = 0, place + 1
    while True:
        end = line.find('"', start)
        if end < 0:
            parts += [line[start:], "\n"]
            size += len(line) - start
            if size > _LONGEST_ROW:
                raise ValueError("a quote that opens a cell is not closed; double quotes inside of cells")
            line, start = next_line(), 0
            continue
        parts.append(line[start:end])
        if not line.startswith('"', end + 1):
            return "".join(parts), end + 1, line
        parts.append('"')
        start = end + 2
