"""Raw texts with their labels, before there are features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from .._sparse import label_matrix
from ..errors import ArgumentError, DataError, DTypeError
from .arrays import read_csr, read_names
from .dataset import Dataset
from .filters import find_filter
from .names import label_order, label_rows
from .text import read_label_file
from .text_files import LABELLED, read_labelled, read_texts
from .vectorizer import TextVectorizer

_PARTS = {"training": ("trn", "train"), "test": ("tst", "test")}


@dataclass(frozen=True, eq=False)
class TextDataset:
    """Texts and their labels: training ones, and test ones where there are any.

    Attributes:
        texts: n training texts.
        Y: [n, L] their labels, scipy CSR.
        label_names: L names, or None.
        texts_test: the test texts, or None.
        Y_test: their labels, or None.
        name: what to call the set.
        filter: as in `Dataset`.
        filter_test: as in `Dataset`.
    """

    texts: Sequence[str]
    Y: sp.csr_matrix
    label_names: Sequence[str] | None = None
    texts_test: Sequence[str] | None = None
    Y_test: sp.csr_matrix | None = None
    name: str = ""
    filter: sp.csr_matrix | None = None
    filter_test: sp.csr_matrix | None = None

    def __repr__(self) -> str:
        test = 0 if self.texts_test is None else len(self.texts_test)
        return (
            f"TextDataset({self.name!r}: {len(self.texts):,} training and {test:,} test texts, "
            f"{self.Y.shape[1]:,} labels)"
        )

    def counts(self, vectorizer: TextVectorizer) -> Dataset:
        """The data set with the token counts of `vectorizer` as features."""
        return self.with_features(
            vectorizer.counts(self.texts), None if self.texts_test is None else vectorizer.counts(self.texts_test)
        )

    def with_features(self, X: Any, X_test: Any = None) -> Dataset:
        """The data set with these features of the texts, such as embeddings [n, D]."""
        return Dataset(
            X,
            self.Y,
            self.label_names,
            X_test=X_test,
            Y_test=self.Y_test,
            name=self.name,
            filter=self.filter,
            filter_test=self.filter_test,
        )


def is_raw_text(path: str | PathLike[str]) -> bool:
    """Whether `load_texts` reads what is at `path`, and `load` does not."""
    place = Path(path)
    if not place.is_dir():
        return place.suffix in LABELLED
    has_features = any(place.glob("X_trn.np[yz]")) or any(place.glob("*_X_Xf.txt"))
    return not has_features and _find(place, "training") is not None


def load_texts(path: str | PathLike[str], test: str | PathLike[str] | None = None) -> TextDataset:
    """Reads raw texts with labels.

    `path` is one of

    - a file `.jsonl`: an object per line, {"text": "...", "labels": ["...", ...]}; other keys are ignored;
    - a file `.tsv`: per line the text and then its labels, separated by tabs;
    - a directory with `trn.jsonl` or `trn.tsv` (also `train`; with `tst` or `test` the test texts), or with a text per
      line in `X_trn.txt` or `trn_X.txt` and its labels in `Y_trn.npz` or `trn_X_Y.txt`. Names, and with them the ids
      of all labels, stand in `labels.txt` or `Y.txt`, one a line; filter files are read as by `load`.

    Without such a file named labels get ids as in `from_lists`.

    Raises:
        DataError: a malformed file; the message begins with the file and line.
        ArgumentError: nothing to read at `path`.
    """
    place = Path(path)
    if place.is_dir():
        if test is not None:
            raise ArgumentError("test is for a file; a directory holds its own test texts")
        return _load_directory(place)
    return _from_labelled(place, None if test is None else Path(test))


def _load_directory(directory: Path) -> TextDataset:
    train, test = (_find(directory, part) for part in _PARTS)
    if train is None:
        raise ArgumentError(
            f"path: '{directory}' holds no training texts; it needs trn.jsonl, trn.tsv, or X_trn.txt with Y_trn.npz"
        )
    names_file = next((file for file in (directory / "labels.txt", directory / "Y.txt") if file.exists()), None)
    names = None if names_file is None else read_names(names_file)
    if train.suffix not in LABELLED:
        return _from_lines(directory, train, test, names)
    if test is not None and test.suffix not in LABELLED:
        raise DataError(f"{test}: holds no label names, but {train.name} does; give both the same form")
    return _from_labelled(train, test, names, directory)


def _find(directory: Path, part: str) -> Path | None:
    short, long = _PARTS[part]
    names = [f"{word}{end}" for end in LABELLED for word in (short, long)] + [f"X_{short}.txt", f"{short}_X.txt"]
    found = [directory / name for name in names if (directory / name).is_file()]
    if len(found) > 1:
        raise ArgumentError(
            f"path: '{directory}' holds several files of {part} texts: {', '.join(file.name for file in found)}; "
            "keep the one that is meant"
        )
    return found[0] if found else None


def _from_labelled(
    train: Path, test: Path | None, names: list[str] | None = None, directory: Path | None = None
) -> TextDataset:
    texts, lists = read_labelled(train)
    texts_test, lists_test = (None, None) if test is None else read_labelled(test)
    try:
        known = label_order(lists, lists_test or (), names)
    except ArgumentError as error:
        raise DataError(f"{directory or train}: {error}") from None
    places = {label: place for place, label in enumerate(known)}
    Y = _label_rows(train, lists, places)
    Y_test = None if test is None or lists_test is None else _label_rows(test, lists_test, places)
    return TextDataset(
        texts,
        Y,
        known,
        texts_test,
        Y_test,
        train.name if directory is None else directory.resolve().name,
        None if directory is None else find_filter(directory, "training", Y.shape),
        None if directory is None or Y_test is None else find_filter(directory, "test", Y_test.shape),
    )


def _label_rows(path: Path, lists: list[list[str]], places: dict[str, int]) -> sp.csr_matrix:
    for line, labels in enumerate(lists, 1):
        for label in labels:
            if label not in places:
                raise DataError(f"{path}:{line}: the label {label!r} is not in labels.txt; add or drop it")
    return label_rows("labels", lists, places)


def _from_lines(directory: Path, train: Path, test: Path | None, names: list[str] | None) -> TextDataset:
    splits: list[Any] = []
    for part, file in (("training", train), ("test", test)):
        if file is None:
            splits += [None, None, None]
            continue
        texts, Y = read_texts(file), _label_matrix(directory, part)
        if len(texts) != Y.shape[0]:
            raise DataError(f"{file}: holds {len(texts)} lines for {Y.shape[0]} rows of labels; it needs one each")
        splits += [texts, Y, find_filter(directory, part, Y.shape)]
    texts, Y, blanked, texts_test, Y_test, blanked_test = splits
    if Y_test is not None and Y_test.shape[1] != Y.shape[1]:
        raise DataError(f"{directory}: Y has {Y.shape[1]} labels and Y_test {Y_test.shape[1]}; they must agree")
    if names is not None and len(names) != Y.shape[1]:
        raise DataError(f"{directory}: holds {len(names)} label names for {Y.shape[1]} labels; it needs one each")
    return TextDataset(texts, Y, names, texts_test, Y_test, directory.resolve().name, blanked, blanked_test)


def _label_matrix(directory: Path, part: str) -> sp.csr_matrix:
    short = _PARTS[part][0]
    arrays, text = directory / f"Y_{short}.npz", directory / f"{short}_X_Y.txt"
    try:
        if text.exists() and not arrays.exists():
            return read_label_file(text)
        return label_matrix(str(arrays), read_csr(arrays))
    except (ArgumentError, DTypeError) as error:
        raise DataError(str(error)) from None
