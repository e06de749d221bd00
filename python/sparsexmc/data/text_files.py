"""Single files of raw texts, in whichever of the `forms` they have."""

from __future__ import annotations

from os import PathLike, fspath

from ..errors import ArgumentError, DataError
from .forms import Entry, TextColumns, form_of, labelled_form, read_entries
from .names import name_problem
from .streams import STANDARD_INPUT, Lines, bare_ending, open_text

AnyPath = str | PathLike[str]


def read_texts(path: AnyPath, *, text_column: str = TextColumns.text) -> list[str]:
    """The texts of a file without regard to labels: labelled ones as `load_texts`, otherwise one text per line.

    A name that ends in .gz or .xz is unpacked; "-" is standard input.

    Args:
        path: of the file.
        text_column: where the texts of a `.csv` file stand.

    Raises:
        DataError: not UTF-8, or a malformed line.
        ArgumentError: the file cannot be read.
    """
    with open_text(path) as stream:
        form = form_of(path, stream)
        return [entry.text for entry in read_entries(Lines(stream), form, TextColumns(text_column))]


def read_labelled(path: AnyPath, columns: TextColumns) -> list[Entry]:
    """The entries of a file of texts with labels; names are checked. Raises as `read_texts`."""
    form = None if fspath(path) == STANDARD_INPUT else labelled_form(path)
    if form is None:
        raise ArgumentError(
            f"path: '{fspath(path)}' is no .jsonl, .tsv, .csv or fastText file, which hold texts with their labels"
        )
    found = []
    good: set[str] = set()
    with open_text(path) as stream:
        for entry in read_entries(Lines(stream), form, columns):
            if entry.labels is None and entry.targets is None:
                raise DataError(f"{fspath(path)}:{entry.line}: {_no_labels(path, columns)}")
            for label in entry.labels or ():
                if isinstance(label, str) and label in good:
                    continue
                if problem := name_problem(label):
                    raise DataError(f"{fspath(path)}:{entry.line}: a label {problem}")
                good.add(label)
            found.append(entry)
    return found


def _no_labels(path: AnyPath, columns: TextColumns) -> str:
    if bare_ending(path) == ".csv":
        return f"no column {columns.labels!r} in the header; name the column of the labels"
    return 'no "labels"; write "labels": [] for a text without any'
