"""Raw texts with their labels, before there are features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from .._sparse import label_matrix
from ..errors import ArgumentError, DataError, DTypeError
from .arrays import read_csr, read_names
from .dataset import Dataset, described
from .filters import find_filter
from .forms import ENDINGS, TextColumns, labelled_form
from .labelling import label_names, label_numbers
from .streams import bare_ending, with_packed
from .text import read_label_file
from .text_files import AnyPath, read_labelled, read_texts
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

    def _repr_html_(self) -> str:
        test = 0 if self.texts_test is None else len(self.texts_test)
        sizes = [("test instances", f"{test:,}"), ("features", "raw text")]
        return described(f"TextDataset {self.name!r}", self.Y, self.label_names, sizes)

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


def is_raw_text(path: AnyPath) -> bool:
    """Whether `load_texts` reads what is at `path`, and `load` does not."""
    place = Path(path)
    if place.is_dir():
        has_features = any(place.glob("X_trn.np[yz]")) or any(place.glob("*_X_Xf.txt*"))
        return not has_features and _find(place, "training") is not None
    return bare_ending(place) in ENDINGS or (place.is_file() and labelled_form(place) is not None)


def load_texts(
    path: AnyPath,
    test: AnyPath | None = None,
    *,
    text_column: str = TextColumns.text,
    labels_column: str = TextColumns.labels,
    label_separator: str = TextColumns.separator,
) -> TextDataset:
    """Reads raw texts with labels.

    `path` is one of

    - a file `.jsonl`: an object per line, {"text": "...", "labels": ["...", ...]}; other keys are ignored;
    - a file `.tsv`: per line the text and then its labels, separated by tabs;
    - a file `.csv`: a table with a header, see the arguments;
    - a file of fastText: per line labels `__label__name` and words; it is known by its first line;
    - a file `.json` of the extreme-classification repository: an object {"title", "content", "target_ind"} per line;
      titles of the labels stand in `lbl.json` beside it;
    - a directory with `trn.jsonl`, `trn.tsv`, `trn.csv`, `trn.json` or fastText's `trn.txt` (also `train`; with `tst`
      or `test` the test texts), or with a text per line in `X_trn.txt` or `trn_X.txt` and its labels in `Y_trn.npz` or
      `trn_X_Y.txt`. Names, and with them the ids of all labels, stand in `labels.txt` or `Y.txt`, one a line; filter
      files are read as by `load`.

    All but `.npz` may be packed: `.gz` or `.xz` ends their names. Empty lines are no texts, but where a line is a text.
    Without a file of names, named labels get ids as in `from_lists`.

    Args:
        path: see above.
        test: a file with the test texts, when `path` is a file.
        text_column, labels_column: names of columns of a `.csv` file.
        label_separator: between the labels in a cell of a `.csv` file.

    Raises:
        DataError: a malformed file; the message begins with the file and line.
        ArgumentError: nothing to read at `path`, or a wrong argument.
    """
    if not isinstance(label_separator, str) or not label_separator:
        raise ArgumentError(f"label_separator={label_separator!r} separates nothing; pass text such as ';' or '|'")
    columns = TextColumns(text_column, labels_column, label_separator)
    place = Path(path)
    if place.is_dir():
        if test is not None:
            raise ArgumentError("test is for a file; a directory holds its own test texts")
        return _load_directory(place, columns)
    return _from_labelled(place, None if test is None else Path(test), columns)


def _load_directory(directory: Path, columns: TextColumns) -> TextDataset:
    train, test = (_find(directory, part) for part in _PARTS)
    if train is None:
        raise ArgumentError(
            f"path: '{directory}' holds no training texts; it needs trn.jsonl, trn.tsv, trn.csv, trn.json, fastText's "
            "trn.txt, or X_trn.txt with Y_trn.npz"
        )
    files = (directory / name for name in with_packed("labels.txt", "Y.txt"))
    names_file = next((file for file in files if file.exists()), None)
    names = None if names_file is None else read_names(names_file)
    if labelled_form(train) is None:
        return _from_lines(directory, train, test, names)
    if test is not None and labelled_form(test) is None:
        raise DataError(f"{test}: holds no labels, but {train.name} does; give both the same form")
    return _from_labelled(train, test, columns, names, directory)


def _find(directory: Path, part: str) -> Path | None:
    """The file of texts of the "training" or "test" part, or None."""
    short, long = _PARTS[part]
    names = [f"{word}{end}" for end in ENDINGS for word in (short, long)] + [f"X_{short}.txt", f"{short}_X.txt"]
    found = [directory / name for name in with_packed(*names) if (directory / name).exists()]
    told_by_content = (directory / name for name in with_packed(f"{short}.txt", f"{long}.txt"))
    found += [file for file in told_by_content if file.is_file() and labelled_form(file) is not None]
    if len(found) > 1:
        raise ArgumentError(
            f"path: '{directory}' holds several files of {part} texts: {', '.join(file.name for file in found)}; "
            "keep the one that is meant"
        )
    return found[0] if found else None


def _from_labelled(
    train: Path,
    test: Path | None,
    columns: TextColumns,
    names: list[str] | None = None,
    directory: Path | None = None,
) -> TextDataset:
    entries = read_labelled(train, columns)
    if not entries:
        raise DataError(f"{train}:1: the file is empty; it needs a line for every text")
    entries_test = None if test is None else read_labelled(test, columns)
    label = label_numbers if entries[0].labels is None else label_names
    known, Y, Y_test = label(train, entries, test, entries_test, names)
    return TextDataset(
        [entry.text for entry in entries],
        Y,
        known,
        None if entries_test is None else [entry.text for entry in entries_test],
        Y_test,
        train.name if directory is None else directory.resolve().name,
        None if directory is None else find_filter(directory, "training", Y.shape),
        None if directory is None or Y_test is None else find_filter(directory, "test", Y_test.shape),
    )


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
    arrays = directory / f"Y_{short}.npz"
    text = next((file for name in with_packed(f"{short}_X_Y.txt") if (file := directory / name).exists()), None)
    try:
        if text is not None and not arrays.exists():
            return read_label_file(text)
        return label_matrix(str(arrays), read_csr(arrays))
    except (ArgumentError, DTypeError) as error:
        raise DataError(str(error)) from None
