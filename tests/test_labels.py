"""Every form of the positives of a batch, and the errors for those that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from small_problem import LABELS, ROWS, X, Y, assert_unchanged, classifier

WRONG_LABELS: dict[str, tuple[Any, type[Exception], str]] = {
    "id too large": (np.array([0, 1, 2, 3, 40]), sx.ArgumentError, "labels.*40"),
    "id negative": (np.array([0, 1, -2, 3, 4]), sx.ArgumentError, "labels.*-2"),
    "floats": (np.ones(ROWS, np.float32), sx.DTypeError, r"labels has dtype float32.*astype\(np\.int64\)"),
    "uint64": (np.ones(ROWS, np.uint64), sx.DTypeError, "uint64"),
    "too few": (np.zeros(4, int), sx.ArgumentError, "labels has 4 rows, but there are 5 instances"),
    "dense 0/1": (Y.toarray(), sx.ArgumentError, r"shape \(5, 40\); pass scipy\.sparse\.csr_matrix\(labels\)"),
    "list": ([[1], [2], [3], [4], [5]], sx.DTypeError, "labels is a list; pass a scipy CSR matrix"),
    "none": (None, sx.DTypeError, "labels is a NoneType"),
    "csc": (Y.tocsc(), sx.DTypeError, r"CSC format; pass labels\.tocsr\(\)"),
    "coo": (Y.tocoo(), sx.DTypeError, r"COO format; pass labels\.tocsr\(\)"),
    "csr rows": (Y[:4], sx.ArgumentError, r"shape \(4, 40\), but there are 5 instances and num_labels=40"),
    "csr columns": (Y[:, :39], sx.ArgumentError, r"shape \(5, 39\)"),
    "indptr short": ((np.array([0, 1]), np.array([1])), sx.ArgumentError, "labels has 1 rows"),
    "indptr empty": ((np.array([], int), np.array([1])), sx.ArgumentError, "labels has 0 rows"),
    "indptr down": ((np.array([0, 2, 1, 2, 2, 2]), np.array([1, 2])), sx.ArgumentError, "indptr decreases at row 1"),
    "indptr beyond": (
        (np.array([0, 1, 2, 3, 4, 5]), np.array([1, 2])),
        sx.ArgumentError,
        "ends at 5, but there are 2 indices",
    ),
    "indptr negative": ((np.array([-1, 0, 0, 0, 0, 0]), np.array([1])), sx.ArgumentError, r"indptr\[0\] is -1"),
    "lists in tuple": (([0, 1, 1, 1, 1, 1], [1]), sx.DTypeError, r"labels\[0\] is a list"),
}


@pytest.mark.parametrize("kind", WRONG_LABELS)
def test_wrong_labels(kind: str) -> None:
    labels, error, message = WRONG_LABELS[kind]
    c = classifier()
    before = c.state_dict()
    with pytest.raises(error, match=message):
        c.train_step(X, labels)
    assert_unchanged(c, before)
    assert c.train_step(X, Y).loss > 0  # still usable


LABEL_FORMS: dict[str, Any] = {
    "csr array": sp.csr_array(Y),
    "booleans": Y.astype(bool),
    "other weights": Y * 7.5,
    "int64 indices": sp.csr_matrix((Y.data, Y.indices.astype(np.int64), Y.indptr.astype(np.int64)), Y.shape),
    "explicit zeros": sp.csr_matrix(
        (np.array([1, 1, 0, 1, 1, 1, 1, 0.0]), np.array([3, 39, 11, 0, 7, 8, 9, 2]), np.array([0, 3, 4, 4, 7, 8])),
        Y.shape,
    ),
    "unsorted twice": sp.csr_matrix(
        (np.ones(8), np.array([39, 3, 39, 0, 9, 7, 8, 7]), np.array([0, 3, 4, 4, 8, 8])), Y.shape
    ),
    "tuple": (Y.indptr, Y.indices),
    "mixed widths": (Y.indptr.astype(np.int64), Y.indices),
    "small integers": (Y.indptr.astype(np.uint8), Y.indices.astype(np.int16)),
    "strided": (np.repeat(Y.indptr, 2)[::2], np.repeat(Y.indices, 2)[::2]),
    "offset": (Y.indptr + 2, np.concatenate([[0, 0], Y.indices])),
}


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_forms_of_the_same_labels(form: str) -> None:
    expected, result = classifier().train_step(X, Y), classifier().train_step(X, LABEL_FORMS[form])
    assert result.loss == expected.loss
    np.testing.assert_array_equal(result.grad, expected.grad)


def test_callers_labels_are_not_changed() -> None:
    labels = LABEL_FORMS["explicit zeros"].copy()
    before = [array.copy() for array in (labels.data, labels.indices, labels.indptr)]
    classifier().train_step(X, labels)
    for array, old in zip((labels.data, labels.indices, labels.indptr), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_one_label_per_instance() -> None:
    labels = np.array([3, 39, 0, 0, 1])
    as_csr = sp.csr_matrix((np.ones(ROWS), labels, np.arange(ROWS + 1)), (ROWS, LABELS))
    expected = classifier().train_step(X, as_csr).loss
    assert classifier().train_step(X, labels).loss == expected
    assert classifier().train_step(X, labels.astype(np.uint8)).loss == expected
