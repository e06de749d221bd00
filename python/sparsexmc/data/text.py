"""Text files of labels and sparse features, the extreme-classification repository's and LIBSVM's; parsed in C++."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .. import _core
from .._checks import require_int
from .._files import check_output
from .._sparse import label_matrix, sparse_features
from ..errors import ArgumentError, DTypeError
from .streams import STANDARD_INPUT, TextStream, bare_ending, engine_source, first_line, open_text

Path = str | PathLike[str]

LIBSVM = (".svm", ".libsvm", ".svmlight")
"""Endings of files without a header; others are told by their first line."""


class Split(NamedTuple):
    """Instances of a file.

    Attributes:
        X: [n, D] features.
        Y: [n, L] labels.
        headerless: D and L are not said by the file, but follow from its largest numbers.
    """

    X: Any
    Y: sp.csr_matrix
    headerless: bool = False


def read_text(path: Path, index_base: int = 0) -> Split:
    """One file with rows `label,label feature:value feature:value`, below a header `N D L` or without (LIBSVM).

    `index_base` is what a file without a header counts from.
    """
    if fspath(path) != STANDARD_INPUT:
        headerless = bare_ending(path) in LIBSVM or b":" in first_line(path)
        with engine_source(path) as source:
            return _read_rows(source, index_base, headerless=headerless)
    with open_text(path) as stream:
        return _read_rows(stream, index_base, headerless=b":" in stream.first_line())


def _read_rows(source: str | TextStream, index_base: int, *, headerless: bool) -> Split:
    features, labels = _core.read_libsvm(source, index_base) if headerless else _core.read_repository(source)
    return Split(_matrix(*features), _label_matrix(*labels), headerless)


def read_text_pair(features: Path, labels: Path) -> Split:
    """The two-file form: header `rows cols`, rows `column:value column:value`."""
    with engine_source(features) as source:
        X = _matrix(*_core.read_features(source))
    return Split(X, read_label_file(labels))


def read_label_file(path: Path) -> sp.csr_matrix:
    """Y of the label file of the two-file form."""
    with engine_source(path) as source:
        return _label_matrix(*_core.read_labels(source))


def read_filter(path: Path, num_rows: int, num_labels: int) -> sp.csr_matrix:
    """The pairs `row label` of a filter file as CSR [num_rows, num_labels] of ones: predictions to blank before top-k.

    Raises:
        DataError: with file and line: not a pair of integers, or out of range.
        ArgumentError: the file cannot be read, or is not a regular one; a size that is wrong.
    """
    require_int("num_rows", num_rows, 0)
    require_int("num_labels", num_labels, 0)
    try:
        with engine_source(path) as source:
            return _label_matrix(*_core.read_filter(source, num_rows, num_labels))
    except MemoryError:
        raise ArgumentError(f"num_rows={num_rows} takes more memory than there is; pass the rows of the data") from None


def save_text(path: Path, X: Any, Y: Any) -> None:
    """Writes sparse features [n, D] and labels [n, L] as one file. It reads back as the same float32 numbers.

    Raises:
        ArgumentError, DTypeError: matrices that are wrong or disagree, or an unwritable path; nothing is written.
        Error: writing failed midway.
    """
    check_output("path", path)
    features, labels = _sparse_only("X", X), label_matrix("Y", Y)
    _core.write_repository(
        fspath(path),
        features.indptr,
        features.indices,
        features.data,
        features.shape[1],
        labels.indptr,
        labels.indices,
        labels.shape[1],
    )


def save_text_pair(features_path: Path, labels_path: Path, X: Any, Y: Any) -> None:
    """Writes sparse features [n, D] and labels [n, L] as a file each. Raises as `save_text`."""
    check_output("features_path", features_path)
    check_output("labels_path", labels_path)
    features, labels = _sparse_only("X", X), label_matrix("Y", Y)
    _core.write_features(fspath(features_path), features.indptr, features.indices, features.data, features.shape[1])
    _core.write_labels(fspath(labels_path), labels.indptr, labels.indices, labels.shape[1])


def _sparse_only(name: str, matrix: Any) -> sp.csr_matrix:
    if not sp.issparse(matrix):
        raise DTypeError(f"{name} is dense, and the text formats hold sparse features; use sparsexmc.data.save")
    return sparse_features(name, matrix)


def _matrix(indptr: Any, indices: Any, values: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    return sp.csr_matrix((values, indices, indptr), shape=shape)


def _label_matrix(indptr: Any, indices: Any, shape: tuple[int, int]) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape=shape)
