"""A data set in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._checks import name_list
from .._html import table
from .._sparse import label_matrix, sparse_features
from ..errors import ArgumentError, DTypeError

_FREQUENT = 5  # labels that a notebook shows

Features: TypeAlias = sp.csr_matrix | npt.NDArray[Any]
"""Rows of features: float32 CSR, or a dense float32 or float16 array."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Instances and their labels: training ones, and test ones where there are any.

    Sparse features become float32 CSR (other number types are converted, token counts among them); labels become CSR
    with float32 ones where they are not 0. In both, columns ascend and occur once per row. Dense features are taken as
    they are, be they in memory or a memory map.

    Attributes:
        X: [n, D] features of the training instances: scipy sparse, or a dense float32 or float16 array.
        Y: [n, L] their labels, scipy sparse.
        label_names: L names, or None.
        X_test: the same for the test instances, or None.
        Y_test: their labels; None without X_test.
        instance_names: n names, or None.
        test_instance_names: those of the test instances, or None.
        name: what to call the set.
        filter: [n, L] pairs that are not to be predicted for the training instances, or None; as CSR like the labels.
            `Classifier.topk` and `Classifier.fit` take them.
        filter_test: the same for the test instances.

    Raises:
        ArgumentError, DTypeError: shapes that disagree, damaged matrices, NaN, or a wrong kind of array.
    """

    X: Features
    Y: sp.csr_matrix
    label_names: Sequence[str] | None = None
    X_test: Features | None = None
    Y_test: sp.csr_matrix | None = None
    instance_names: Sequence[str] | None = None
    test_instance_names: Sequence[str] | None = None
    name: str = ""
    filter: sp.csr_matrix | None = None
    filter_test: sp.csr_matrix | None = None

    def __post_init__(self) -> None:
        if (self.X_test is None) != (self.Y_test is None):
            raise ArgumentError("X_test and Y_test belong together; pass both or neither")
        for x, y in (("X", "Y"), ("X_test", "Y_test")):
            if getattr(self, x) is not None:
                object.__setattr__(self, x, _features(x, getattr(self, x)))
                object.__setattr__(self, y, label_matrix(y, getattr(self, y)))
                _same_size(x, getattr(self, x).shape[0], y, getattr(self, y).shape[0], "rows")
        if self.X_test is not None and self.Y_test is not None:
            _same_size("X", self.X.shape[1], "X_test", self.X_test.shape[1], "columns (features)")
            _same_size("Y", self.Y.shape[1], "Y_test", self.Y_test.shape[1], "columns (labels)")
        for name, y in (("filter", "Y"), ("filter_test", "Y_test")):
            if getattr(self, name) is not None:
                if getattr(self, y) is None:
                    raise ArgumentError(f"{name} is for the rows of {y}, which is None; pass both or leave it out")
                object.__setattr__(self, name, label_matrix(name, getattr(self, name)))
                _same_size(name, getattr(self, name).shape[0], y, getattr(self, y).shape[0], "rows")
                _same_size(name, getattr(self, name).shape[1], y, getattr(self, y).shape[1], "columns (labels)")
        num_test = 0 if self.Y_test is None else self.Y_test.shape[0]
        for name, size, what in (
            ("label_names", self.num_labels, "labels"),
            ("instance_names", self.Y.shape[0], "training instances"),
            ("test_instance_names", num_test, "test instances"),
        ):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _names(name, getattr(self, name), size, what))

    @property
    def num_features(self) -> int:
        """D, the number of columns of X."""
        return int(self.X.shape[1])

    @property
    def num_labels(self) -> int:
        """L, the number of columns of Y."""
        return int(self.Y.shape[1])

    @property
    def label_counts(self) -> npt.NDArray[np.int64]:
        """[L] training instances with the label."""
        return np.bincount(self.Y.indices, minlength=self.num_labels).astype(np.int64, copy=False)

    def measured_split(self) -> tuple[Features, sp.csr_matrix, sp.csr_matrix | None]:
        """(X, Y, filter) of the test instances where there are any, else of the training instances."""
        if self.X_test is not None and self.Y_test is not None:
            return self.X_test, self.Y_test, self.filter_test
        return self.X, self.Y, self.filter

    def __repr__(self) -> str:
        test = 0 if self.Y_test is None else self.Y_test.shape[0]
        kind = "sparse" if sp.issparse(self.X) else "dense"
        return (
            f"Dataset({self.name!r}: {self.Y.shape[0]:,} training and {test:,} test instances, "
            f"{self.num_features:,} {kind} features, {self.num_labels:,} labels)"
        )

    def _repr_html_(self) -> str:
        kind = "sparse" if sp.issparse(self.X) else "dense"
        test = 0 if self.Y_test is None else self.Y_test.shape[0]
        sizes = [("test instances", f"{test:,}"), ("features", f"{self.num_features:,}, {kind}")]
        return described(f"Dataset {self.name!r}", self.Y, self.label_names, sizes)


def described(title: str, Y: sp.csr_matrix, names: Sequence[str] | None, sizes: list[tuple[str, str]]) -> str:
    """The table of a data set in a notebook: its sizes, and the most frequent labels."""
    counts = np.bincount(Y.indices, minlength=Y.shape[1])
    frequent = np.argsort(-counts, kind="stable")[:_FREQUENT]
    rows = [
        ("training instances", f"{Y.shape[0]:,}"),
        *sizes,
        ("labels", f"{Y.shape[1]:,}, {Y.nnz / max(Y.shape[0], 1):.1f} per instance"),
        *((label if names is None else names[label], f"{counts[label]:,} training instances") for label in frequent),
    ]
    return table(title, rows)


def _features(name: str, matrix: Any) -> Features:
    if sp.issparse(matrix):
        return sparse_features(name, matrix)
    if not isinstance(matrix, np.ndarray):
        raise DTypeError(
            f"{name} is a {type(matrix).__name__}; pass a scipy sparse matrix or a NumPy array, e.g. "
            f"np.asarray({name}, np.float32)"
        )
    if matrix.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise DTypeError(
            f"{name} is an array of {matrix.dtype}; pass float32 or float16, e.g. {name}.astype(np.float32)"
        )
    if matrix.ndim != 2 or not matrix.flags.c_contiguous:
        raise ArgumentError(
            f"{name} has shape {matrix.shape} and is {'' if matrix.flags.c_contiguous else 'not '}C-contiguous; pass a "
            f"C-contiguous array [n, D], e.g. np.ascontiguousarray({name})"
        )
    return matrix


def _same_size(first: str, size: int, second: str, other: int, what: str) -> None:
    if size != other:
        raise ArgumentError(f"{first} has {size} {what} and {second} has {other}; they must agree")


def _names(name: str, given: Sequence[str], size: int, what: str) -> Sequence[str]:
    names = name_list(name, given)
    if len(names) != size:
        raise ArgumentError(f"{name} holds {len(names)} names for {size} {what}; pass one each, or None")
    for place, text in enumerate(names):
        if not isinstance(text, str):
            raise ArgumentError(f"{name}[{place}] is {text!r}, not text; pass str({text!r}) if that is the name")
    return names
