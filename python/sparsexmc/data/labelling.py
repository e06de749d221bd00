"""Label matrices of texts whose labels are names, or numbers of labels that another file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..errors import ArgumentError, DataError
from .forms import Entry
from .forms.json_lines import parse_object, title_and_content
from .names import label_order, label_rows, name_problem
from .streams import Lines, open_text, with_packed

Labelling = tuple[list[str] | None, sp.csr_matrix, sp.csr_matrix | None]
"""(names of the labels or None, labels of the training texts, labels of the test texts or None)."""

_MOST_LABELS = 2**31 - 1
_LABEL_FORM = '{"title": "..."}'


def label_names(
    train: Path, entries: list[Entry], test: Path | None, entries_test: list[Entry] | None, names: list[str] | None
) -> Labelling:
    """Of labels by name; `names` gives them ids, or else their order.

    Raises:
        DataError: a label that is not among `names`, or names that occur twice.
    """
    lists = _lists(train, entries)
    lists_test = None if test is None or entries_test is None else _lists(test, entries_test)
    try:
        known = label_order(lists, lists_test or (), names)
    except ArgumentError as error:
        raise DataError(f"{train.parent if names is not None else train}: {error}") from None
    places = {label: place for place, label in enumerate(known)}
    matrices: list[sp.csr_matrix | None] = []
    for path, found, its in ((train, entries, lists), (test, entries_test, lists_test)):
        if path is None or found is None or its is None:
            matrices.append(None)
            continue
        for entry, labels in zip(found, its, strict=True):
            for label in labels:
                if label not in places:
                    raise DataError(f"{path}:{entry.line}: the label {label!r} is not in labels.txt; add or drop it")
        matrices.append(label_rows("labels", its, places))
    return known, matrices[0], matrices[1]


def label_numbers(
    train: Path, entries: list[Entry], test: Path | None, entries_test: list[Entry] | None, names: list[str] | None
) -> Labelling:
    """Of labels by number, which `names` or the titles in `lbl.json` beside `train` name, if there are any.

    Raises:
        DataError: a number that has no name, or a malformed `lbl.json`.
    """
    if names is None:
        names = _titles(train.parent)
    targets = _targets(train, entries)
    targets_test = None if test is None or entries_test is None else _targets(test, entries_test)
    most = max((max(row, default=-1) for row in [*targets, *(targets_test or ())]), default=-1)
    if names is None and most >= _MOST_LABELS:
        raise DataError(f"{train}: holds label {most}; numbers count from 0, and at most {_MOST_LABELS} are supported")
    num_labels = most + 1 if names is None else len(names)
    for path, found in ((train, entries), (test, entries_test)):
        for entry in found or ():
            if max(entry.targets or (), default=-1) >= num_labels:
                raise DataError(
                    f"{path}:{entry.line}: label {max(entry.targets or ())} has no name: there are {num_labels}, and "
                    "numbers count from 0"
                )
    Y_test = None if targets_test is None else _matrix(targets_test, num_labels)
    return names, _matrix(targets, num_labels), Y_test


def _lists(path: Path, entries: list[Entry]) -> list[list[str]]:
    for entry in entries:
        if entry.labels is None:
            raise DataError(f'{path}:{entry.line}: no "labels"; the labels of a data set are all names, or all numbers')
    return [entry.labels or [] for entry in entries]


def _targets(path: Path, entries: list[Entry]) -> list[list[int]]:
    for entry in entries:
        if entry.targets is None:
            raise DataError(
                f'{path}:{entry.line}: no "target_ind"; the labels of a data set are all names, or all numbers'
            )
    return [entry.targets or [] for entry in entries]


def _matrix(rows: Sequence[Sequence[int]], num_labels: int) -> sp.csr_matrix:
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    columns = np.fromiter((label for row in rows for label in row), np.int64, int(indptr[-1]))
    matrix = sp.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), shape=(len(rows), num_labels))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _titles(directory: Path) -> list[str] | None:
    """Names of labels from `lbl.json`, made different where titles are not: by "uid", or else by number."""
    file = next((file for name in with_packed("lbl.json") if (file := directory / name).is_file()), None)
    if file is None:
        return None
    names: list[str] = []
    taken: set[str] = set()
    with open_text(file) as stream:
        lines = Lines(stream)
        for line in lines:
            if not line or line.isspace():
                continue
            try:
                found = parse_object(line, _LABEL_FORM)
            except ValueError as error:
                raise DataError(f"{file}:{lines.number}: {error}") from None
            number = len(names)
            title = " ".join((title_and_content({"title": found.get("title")}) or "").split())
            uid = found.get("uid")
            told = f"{title} ({uid if isinstance(uid, str) and uid else number})".strip()
            name = title if title and title not in taken else told
            if name in taken:
                name = f"{told} ({number})"
            if problem := name_problem(name):
                raise DataError(f"{file}:{lines.number}: a title {problem}")
            taken.add(name)
            names.append(name)
    return names
