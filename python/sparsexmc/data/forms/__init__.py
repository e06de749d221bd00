"""The forms of labelled texts, a file each; here is decided which one a file has, by its name and its content."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

from ...errors import DataError
from ..streams import Lines, TextStream, bare_ending, first_line
from . import comma_rows, fasttext, json_lines, plain, tab_rows
from .entry import Entry, Form, TextColumns

_BY_ENDING: dict[str, Form] = {
    ".jsonl": json_lines.entries,
    ".json": json_lines.entries,
    ".tsv": tab_rows.entries,
    ".csv": comma_rows.entries,
}
ENDINGS = tuple(_BY_ENDING)
"""Endings of files that hold texts with labels; .gz or .xz may follow."""

__all__ = ["ENDINGS", "Entry", "Form", "TextColumns", "form_of", "labelled_form", "read_entries"]


def labelled_form(path: str | PathLike[str]) -> Form | None:
    """The form of a file of texts with labels; None if it holds something else."""
    ending = bare_ending(path)
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    if ending in (".npz", ".npy"):
        return None
    return fasttext.entries if first_line(path).startswith(fasttext.LABEL.encode()) else None


def form_of(path: str | PathLike[str], stream: TextStream) -> Form:
    """The form of a file of texts with or without labels; standard input and other names are told by their content."""
    ending = bare_ending(path)
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    line = stream.first_line()
    if line.startswith(fasttext.LABEL.encode()):
        return fasttext.entries
    if ending != ".txt" and json_lines.is_entry(line):
        return json_lines.entries
    return plain.entries


def read_entries(lines: Lines, form: Form, columns: TextColumns) -> Iterator[Entry]:
    """The entries of a text in a form. Raises DataError, which names the line."""
    try:
        yield from form(lines, columns)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{lines.name}:{max(lines.number, 1)}: {error}") from None
