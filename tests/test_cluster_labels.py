"""Label orders: planted clusters come out as groups, sizes are exact, threads change nothing, wrong arguments."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.errors import ArgumentError, DTypeError

Array = npt.NDArray[Any]
Problem = tuple[Any, sp.csr_matrix, Array]


def planted(clusters: int, size: int, *, features: int = 96, noise: float = 0.1, sparse: bool = False) -> Problem:
    """(X, Y, cluster of every label): two instances per label around the centre of its cluster; ids are mixed."""
    rng = np.random.default_rng(clusters)
    cluster = rng.permutation(np.repeat(np.arange(clusters), size))
    label = rng.permutation(np.repeat(np.arange(len(cluster)), 2))
    centres = rng.standard_normal((clusters, features))
    X = (centres[cluster[label]] + noise * rng.standard_normal((len(label), features))).astype(np.float32)
    Y = sp.csr_matrix((np.ones(len(label)), (np.arange(len(label)), label)), (len(label), len(cluster)))
    return (sp.csr_matrix(np.where(abs(X) < 1, 0, X)) if sparse else X), Y, cluster


def random_problem(labels: int, *, instances: int = 400, features: int = 20, sparse: bool = True) -> tuple[Any, Any]:
    """Long-tailed labels, some of which no instance has."""
    rng = np.random.default_rng(labels)
    rows = np.repeat(np.arange(instances), 3)
    columns = (labels * rng.random(len(rows)) ** 3).astype(int)
    Y = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (instances, labels))
    X = sp.random(instances, features, 0.3, format="csr", random_state=1, dtype=np.float32)
    return (X if sparse else X.toarray()), Y


def frequencies(Y: Any) -> Array:
    return np.asarray((Y != 0).sum(axis=0)).ravel()


def by_frequency(labels: Array, counts: Array) -> Array:
    """Descending counts, ties to the smaller id."""
    return labels[np.lexsort((labels, -counts[labels]))]


def cohesion(X: Any, Y: Any, order: Array, group_size: int) -> float:
    """Mean cosine between the means of two labels of one group."""
    means = np.asarray((Y.T @ X).toarray() if sp.issparse(X) else Y.T @ X)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-30)
    groups = [means[order[i : i + group_size]] for i in range(0, len(order) - group_size + 1, group_size)]
    return float(np.mean([(g.sum(0) @ g.sum(0) - len(g)) / (len(g) * (len(g) - 1)) for g in groups]))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("clusters", "size"), [(2, 5), (30, 8), (7, 16)])
def test_planted_clusters_become_groups(clusters: int, size: int, sparse: bool) -> None:
    X, Y, cluster = planted(clusters, size, sparse=sparse)
    order = sx.cluster_labels(X, Y, size, dense_labels=0)
    assert sorted(order) == list(range(clusters * size))
    groups = cluster[order].reshape(clusters, size)
    assert (groups == groups[:, :1]).all()


@pytest.mark.parametrize("method", ["semantic", "frequency", "random"])
@pytest.mark.parametrize(("labels", "group_size"), [(1, 1), (1, 16), (2, 1), (97, 16), (64, 16), (101, 1), (50, 200)])
def test_every_size_gives_a_permutation(labels: int, group_size: int, method: str) -> None:
    for sparse in (False, True):
        X, Y = random_problem(labels, sparse=sparse)
        for dense_labels in (0, labels // 3, labels, 0.1):
            order = sx.cluster_labels(X, Y, group_size, method=method, dense_labels=dense_labels)
            assert order.dtype == np.int64
            assert sorted(order) == list(range(labels))


@pytest.mark.parametrize("method", ["semantic", "frequency", "random"])
def test_dense_labels_come_first_by_frequency(method: str) -> None:
    X, Y = random_problem(203)
    every = by_frequency(np.arange(203), frequencies(Y))
    for dense_labels, dense in ((40, 40), (0.2, 41), (1.0, 203)):
        order = sx.cluster_labels(X, Y, 8, method=method, dense_labels=dense_labels)
        np.testing.assert_array_equal(order[:dense], every[:dense])
    # The very order that a classifier makes by itself.
    np.testing.assert_array_equal(sx.cluster_labels(None, Y, method="frequency"), every)


def test_groups_go_by_frequency_inside_and_labels_without_a_mean_come_last() -> None:
    X, Y = random_problem(203)
    counts = frequencies(Y)
    empty = (Y[:, [150, 200]].sum(axis=1) == 0).astype(np.float32)  # these two have instances, but nothing to go by
    X = sp.csr_matrix(X.multiply(empty))
    lost = np.flatnonzero(np.asarray((Y.T @ X).sum(axis=1)).ravel() == 0)
    assert set(np.flatnonzero(counts == 0)) | {150, 200} <= set(lost)
    assert (counts[lost] == 0).any()
    order = sx.cluster_labels(X, Y, 16, dense_labels=10)
    tail = order[10 : 203 - len(lost)]
    np.testing.assert_array_equal(order[203 - len(lost) :], by_frequency(lost, counts))
    for start in range(0, len(tail), 16):
        np.testing.assert_array_equal(tail[start : start + 16], by_frequency(tail[start : start + 16], counts))


def test_groups_are_more_alike_than_by_chance() -> None:
    X, Y, _ = planted(61, 7, noise=0.5)  # clusters of another size than the groups
    values = {method: cohesion(X, Y, sx.cluster_labels(X, Y, 16, method=method, dense_labels=0), 16)
              for method in ("semantic", "random")}  # fmt: skip
    assert values["semantic"] > 0.35 > 0.05 > values["random"]


@pytest.mark.parametrize("sparse", [False, True])
def test_threads_change_nothing(sparse: bool) -> None:
    X, Y, _ = planted(1250, 16, features=24, noise=0.4, sparse=sparse)  # more labels than one thread takes alone
    orders = [sx.cluster_labels(X, Y, num_threads=threads) for threads in (1, 2, 3, 2)]
    for order in orders[1:]:
        np.testing.assert_array_equal(order, orders[0])


def test_seed_matters_and_repeats() -> None:
    X, Y = random_problem(500)
    for method in ("semantic", "random"):
        first, again, other = (sx.cluster_labels(X, Y, method=method, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_the_same_matrix_in_other_forms() -> None:
    X, Y = random_problem(120)
    expected = sx.cluster_labels(X, Y, 8)
    twice = sp.csr_matrix(
        (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), X.shape
    )  # every value in two halves
    doubled = sp.csr_matrix((np.ones(2 * Y.nnz), np.repeat(Y.indices, 2), 2 * Y.indptr), Y.shape)
    for features, labels in ((X.tocsc(), Y), (X.astype(np.float64), Y), (twice, Y), (X, doubled), (X, Y.tocoo())):
        np.testing.assert_array_equal(sx.cluster_labels(features, labels, 8), expected)
    assert twice.nnz == 2 * X.nnz  # the caller's matrix is left alone


def test_equal_labels() -> None:
    X, Y = np.ones((60, 3), np.float32), sp.identity(60, format="csr")
    assert sorted(sx.cluster_labels(X, Y, 8, dense_labels=0)) == list(range(60))
    order = sx.cluster_labels(np.zeros((60, 3), np.float32), Y, 8)
    np.testing.assert_array_equal(order, np.arange(60))


def test_more_columns_than_dimensions() -> None:
    X, Y, cluster = planted(30, 8, sparse=True)
    rng = np.random.default_rng(4)
    columns = np.sort(rng.choice(3_000_000, X.shape[1], replace=False))
    wide = sp.csr_matrix((X.data, columns[X.indices], X.indptr), (X.shape[0], 3_000_000))
    groups = cluster[sx.cluster_labels(wide, Y, 8, dense_labels=0)].reshape(30, 8)
    assert (groups == groups[:, :1]).all()


def test_a_classifier_takes_it() -> None:
    X, Y, _ = planted(20, 8)
    order = sx.cluster_labels(X, Y, 8, dense_labels=16)
    classifier = sx.Classifier(96, 160, fan_in=16, group_size=8, dense_labels=16, label_order=order, device="cpu")
    np.testing.assert_array_equal(classifier.state_dict()["label_order"], order)


def test_torch_features() -> None:
    torch = sys.modules.get("torch") or pytest.importorskip("torch")
    X, Y = random_problem(80, sparse=False)
    np.testing.assert_array_equal(sx.cluster_labels(torch.from_numpy(X), Y), sx.cluster_labels(X, Y))


GOOD_X, GOOD_Y = np.ones((3, 2), np.float32), sp.identity(3, format="csr")
NAN = np.array([[1, 2], [np.nan, 1], [0, 1]], np.float32)
DAMAGED = sp.csr_matrix(GOOD_Y)
DAMAGED.indices = np.array([0, 9, 1], np.int32)
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "method": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, method="size"), ArgumentError, "method='size'.*'semantic'"),
    "group_size": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, 0), ArgumentError, "group_size=0.*>= 1"),
    "kind of group_size": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, 2.5), ArgumentError, "group_size=2.5"),
    "too many dense": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, dense_labels=4), ArgumentError, "dense_labels=4.*3"),
    "dense share": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, dense_labels=1.5), ArgumentError, "dense_labels=1.5"),
    "negative dense": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, dense_labels=-1), ArgumentError, "dense_labels=-1"),
    "threads": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, num_threads=-1), ArgumentError, "num_threads=-1"),
    "seed": (lambda: sx.cluster_labels(GOOD_X, GOOD_Y, seed=-1), ArgumentError, "seed=-1"),
    "no X": (lambda: sx.cluster_labels(None, GOOD_Y), ArgumentError, "X is None.*semantic"),
    "list X": (lambda: sx.cluster_labels([[1.0]], GOOD_Y), DTypeError, "X is a list.*float32"),
    "flat X": (lambda: sx.cluster_labels(GOOD_X[0], GOOD_Y), ArgumentError, r"X has shape \(2,\).*row per instance"),
    "rows": (lambda: sx.cluster_labels(GOOD_X[:2], GOOD_Y), ArgumentError, "X has 2 rows and Y 3"),
    "sparse rows": (
        lambda: sx.cluster_labels(sp.csr_matrix(GOOD_X[:2]), GOOD_Y),
        ArgumentError,
        "X has 2 rows and Y 3",
    ),
    "float64": (lambda: sx.cluster_labels(np.ones((3, 2)), GOOD_Y), DTypeError, "X has dtype float64.*float32"),
    "float16": (
        lambda: sx.cluster_labels(GOOD_X.astype(np.float16), GOOD_Y),
        DTypeError,
        "X has dtype float16.*float32",
    ),
    "layout": (lambda: sx.cluster_labels(np.asfortranarray(NAN), GOOD_Y), ArgumentError, "X .*ascontiguousarray"),
    "NaN": (lambda: sx.cluster_labels(NAN, GOOD_Y), ArgumentError, "X holds NaN or Inf in row 1"),
    "sparse NaN": (lambda: sx.cluster_labels(sp.csr_matrix(NAN), GOOD_Y), ArgumentError, "X holds NaN, infinity"),
    "dense Y": (lambda: sx.cluster_labels(GOOD_X, GOOD_X), DTypeError, "Y is a ndarray.*sparse"),
    "NaN in Y": (lambda: sx.cluster_labels(GOOD_X, sp.csr_matrix(NAN)), ArgumentError, "Y holds NaN"),
    "damaged Y": (lambda: sx.cluster_labels(GOOD_X, DAMAGED), ArgumentError, "Y is damaged"),
    "no labels": (lambda: sx.cluster_labels(GOOD_X, sp.csr_matrix((3, 0))), ArgumentError, r"Y has shape \(3, 0\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case: str) -> None:
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.slow
def test_two_hundred_thousand_labels() -> None:
    X, Y, _ = planted(12_500, 16, features=64, noise=0.3)
    order = sx.cluster_labels(X, Y, dense_labels=0, num_threads=2)
    assert sorted(order) == list(range(200_000))
    assert cohesion(X, Y, order, 16) > 0.4


@pytest.mark.slow
def test_interruption() -> None:
    """The engine looks for signals while it works, and lets out the exception of their handler."""
    heard = itertools.count(1)

    def stop(signum: int, frame: FrameType | None) -> None:
        # An engine that never looked would be told once, at its end: signals that wait are one signal.
        if next(heard) == 3:
            raise InterruptedError

    X, Y, _ = planted(12_500, 16, features=64, noise=0.3)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    try:
        with pytest.raises(InterruptedError):
            sx.cluster_labels(X, Y)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
