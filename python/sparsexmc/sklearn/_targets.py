"""Targets in scikit-learn's sense, class labels or an indicator matrix, and the labels of the engine for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from .._sparse import label_matrix
from ..errors import ArgumentError


@dataclass(frozen=True)
class Targets:
    """The kind of `y` that a model was fitted on.

    Attributes:
        classes: [L] what each of the engine's labels is called: sorted classes, or the columns' numbers.
        multilabel: `y` is an indicator matrix [n, L]; otherwise it is one class per instance.
        sparse: predictions are scipy CSR, as `y` was.
        dtype: of the predicted indicators.
    """

    classes: npt.NDArray[Any]
    multilabel: bool
    sparse: bool
    dtype: np.dtype[Any]

    @classmethod
    def learn(cls, y: Any, classes: npt.ArrayLike | None = None) -> Targets:
        """The kind of `y`, which scikit-learn has checked already; `classes`: all that may ever come."""
        if _is_indicator(y):
            columns = np.arange(y.shape[1])
            if classes is not None and not np.array_equal(np.unique(np.asarray(classes)), columns):
                raise ArgumentError(f"classes are not 0 .. {y.shape[1] - 1}, the columns of y; leave them out")
            return cls(columns, True, sp.issparse(y), np.dtype(y.dtype))
        check_classification_targets(y)
        found = np.unique(column_or_1d(y) if classes is None else column_or_1d(np.asarray(classes)))
        return cls(found, False, False, found.dtype)

    def encode(self, y: Any) -> sp.csr_matrix:
        """`y` as the engine's positives [n, L].

        Raises:
            ArgumentError: another kind of target than the one learned, or a class that is not among `classes`.
        """
        if _is_indicator(y) != self.multilabel:
            wanted = "an indicator matrix" if self.multilabel else "one class per instance"
            raise ArgumentError(f"y has shape {y.shape}, but the model was fitted on {wanted}; pass that, or fit anew")
        if self.multilabel:
            if y.shape[1] != len(self.classes):
                raise ArgumentError(f"y has {y.shape[1]} columns, but the model has {len(self.classes)} labels")
            return label_matrix("y", y if sp.issparse(y) else sp.csr_matrix(y))
        y = column_or_1d(y, warn=True)
        codes = np.searchsorted(self.classes, y)
        unknown = self.classes[np.minimum(codes, len(self.classes) - 1)] != y
        if unknown.any():
            raise ArgumentError(
                f"y holds {y[np.argmax(unknown)]}, which is not among classes; name all classes in the first "
                "partial_fit"
            )
        return sp.csr_matrix(
            (np.ones(len(codes), np.float32), codes, np.arange(len(codes) + 1)), shape=(len(codes), len(self.classes))
        )


def _is_indicator(y: Any) -> bool:
    """Whether it is an indicator matrix. Sparse ones always are, whatever their nonzeros.

    Raises:
        ArgumentError: several columns of classes.
    """
    if sp.issparse(y):
        return True
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind == "multiclass-multioutput":
        raise ArgumentError(
            f"y of shape {y.shape} has several columns of classes; pass one class per instance, or an indicator matrix "
            "of 0 and 1 (sklearn.preprocessing.MultiLabelBinarizer makes one)"
        )
    return bool(kind == "multilabel-indicator")
