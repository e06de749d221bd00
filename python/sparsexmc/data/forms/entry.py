"""An entry of labelled texts, the same for every form, and options of their readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..streams import Lines


class Entry(NamedTuple):
    """A text of a file.

    Attributes:
        line: where it ends in the file, from 1.
        text: itself.
        labels: names, as they stand there; None if there is no word of labels.
        targets: numbers of labels, in a form that names them elsewhere.
    """

    line: int
    text: str
    labels: list[Any] | None = None
    targets: list[int] | None = None


@dataclass(frozen=True)
class TextColumns:
    """Where texts and labels stand in a table.

    Attributes:
        text: name of the column of texts.
        labels: name of the column of labels.
        separator: between labels in a cell.
    """

    text: str = "text"
    labels: str = "labels"
    separator: str = ";"


Form = Callable[[Lines, TextColumns], Iterator[Entry]]
"""Gives the entries of lines; raises ValueError for the line that came last."""
