"""Label orders for `Classifier(label_order=...)`: which labels read all features, and which share their choice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import _core
from ._checks import require_choice, require_int
from ._sparse import label_matrix, sparse_features
from .config import ClassifierConfig
from .errors import ArgumentError, DTypeError
from .interop.dlpack import HOST, borrow_matrix
from .interop.inputs import index_array, number_array

Order = npt.NDArray[np.int64]


def cluster_labels(
    X: Any,
    Y: Any,
    group_size: int = 16,
    *,
    method: str = "semantic",
    dense_labels: float | int = 0.05,
    num_threads: int | None = None,
    seed: int = 0,
) -> Order:
    """An internal label order in which every group of the tail holds labels that are alike.

    The labels of a group share the features that they read, so it helps when they need the same ones. Labels are alike
    when the means of their instances' features point the same way; a recursive 2-means puts them in groups, and groups
    that are alike next to each other. The result is the `label_order` of a `Classifier` with the same `group_size` and
    `dense_labels`.

    Args:
        X: features of the training instances: scipy sparse [N, D], or a float32 array [N, D] in host memory. Only
            "semantic" reads them; pass None otherwise.
        Y: scipy sparse [N, L], their labels: what is not 0.
        group_size: labels per group.
        method: "semantic" as above; "frequency": descending; "random": by `seed`.
        dense_labels: share (float) or number (int) of the most frequent labels, which come first, by descending
            frequency, whatever the method. The defaults are those of `Classifier`.
        num_threads: worker threads; None: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process. The
            result does not depend on them.
        seed: of all random choices.

    Returns:
        [L] int64, a permutation: internal row -> label id. Labels of equal frequency come by ascending id, and with
        "semantic" labels without a mean (no instance, or only empty ones) come last.

    Raises:
        ArgumentError: wrong value, shape or range, NaN or infinity.
        DTypeError: wrong dtype or kind of array.
    """
    require_choice("method", method, ["semantic", "frequency", "random"])
    labels = label_matrix("Y", Y)
    num_labels = labels.shape[1]
    if num_labels == 0:
        raise ArgumentError(f"Y has shape {labels.shape}; it needs a column per label")
    dense, threads = _as_classifier(num_labels, group_size, dense_labels, num_threads, seed)
    if method == "semantic":
        settings = (labels.indptr, labels.indices, num_labels, group_size, dense, threads, seed)
        if sp.issparse(X):
            features = sparse_features("X", X)
            return _core.cluster_labels_sparse(
                features.indptr, features.indices, features.data, features.shape[1], *settings
            )
        return _core.cluster_labels(_dense(X), *settings)
    counts = np.bincount(labels.indices, minlength=num_labels)
    order = np.argsort(-counts, kind="stable").astype(np.int64, copy=False)
    if method == "random":
        np.random.Generator(np.random.Philox(seed)).shuffle(order[dense:])
    return order


def cluster_ids(label_order: npt.ArrayLike, size: int) -> npt.NDArray[np.int64]:
    """The cluster of every label when each `size` labels in a row of `label_order` are one, for `MetaClassifier`.

    Args:
        label_order: [L] label ids, a permutation; from `cluster_labels(..., group_size=size, dense_labels=0)` the
            clusters are labels that are alike.
        size: labels per cluster.

    Returns:
        [L] int64, by label id.
    """
    require_int("size", size, 1)
    order = index_array("label_order", number_array("label_order", label_order))
    if not np.array_equal(np.sort(order), np.arange(len(order))):
        raise ArgumentError(f"label_order must hold every id of 0..{len(order) - 1} once")
    clusters = np.empty(len(order), np.int64)
    clusters[order] = np.arange(len(order)) // size
    return clusters


def _as_classifier(
    num_labels: int, group_size: int, dense_labels: float | int, num_threads: int | None, seed: int
) -> tuple[int, int]:
    """(number of dense labels, threads) as a classifier with these settings has them, after the same checks."""
    config = ClassifierConfig(
        in_features=1,
        num_labels=num_labels,
        group_size=group_size,
        dense_labels=dense_labels,
        num_threads=num_threads,
        seed=seed,
    )
    settings = json.loads(config.to_json())
    return settings["dense_labels"], settings["num_threads"]


def _dense(X: Any) -> _core.Tensor:
    if X is None:
        raise ArgumentError('X is None; method="semantic" needs the features of the instances')
    if not hasattr(X, "shape"):
        raise DTypeError(f"X is a {type(X).__qualname__}; pass scipy.sparse.csr_matrix or a float32 array [N, D]")
    if len(X.shape) != 2:
        raise ArgumentError(f"X has shape {tuple(X.shape)}; pass features [N, D], a row per instance")
    return borrow_matrix("X", X, X.shape[1], HOST).tensor
