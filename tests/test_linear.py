"""One-versus-rest linear classifiers, against a generic minimiser of the same objective."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp

import sparsexmc as sx

N, D, L = 211, 67, 23


@pytest.fixture(scope="module")
def problem() -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Features that say something of the labels; an empty row, equal rows, a label without instances."""
    rng = np.random.default_rng(5)
    X = sp.random(N, D, 0.12, "lil", np.float32, rng)
    X[9], X[17] = 0, X[3]
    X = X.tocsr()
    scores = X @ rng.standard_normal((D, L)) + 0.3 * rng.standard_normal((N, L))
    Y = scores > np.quantile(scores, 0.9)
    Y[:, 4] = False
    return X, sp.csr_matrix(Y.astype(np.float32))


def unit(X: sp.csr_matrix) -> np.ndarray:
    dense = X.toarray().astype(np.float64)
    lengths = np.linalg.norm(dense, axis=1, keepdims=True)
    return np.divide(dense, lengths, out=np.zeros_like(dense), where=lengths > 0)


def objective(w: np.ndarray, x: np.ndarray, y: np.ndarray, cost: float) -> tuple[float, np.ndarray]:
    slack = np.maximum(0, 1 - y * (x @ w - 1))
    return float(w @ w / 2 + cost * slack @ slack), w - 2 * cost * x.T @ (slack * y)


@pytest.mark.parametrize("cost", [0.3, 3.0])
def test_weights_minimise_the_objective(problem: tuple[sp.csr_matrix, sp.csr_matrix], cost: float) -> None:
    """With as many negatives as labels nothing is left out, so that every label's weights are those of the minimum."""
    X, Y = problem
    linear = sx.Linear(X, Y, cost=cost, negatives=L, rounds=3, threshold=0.0)
    margins, ids = linear.topk(sp.csr_matrix(np.eye(D, dtype=np.float32)), L)
    W = np.zeros((D, L))  # what the margins of single features show: the positive weights
    for feature in range(D):
        known = ids[feature] >= 0
        W[feature, ids[feature, known]] = margins[feature, known] + 1
    x = unit(X)
    for label in range(L):
        y = np.where(Y[:, [label]].toarray().ravel() > 0, 1.0, -1.0)
        if (y < 0).all():
            assert not W[:, label].any()
            continue
        best = scipy.optimize.minimize(objective, np.zeros(D), (x, y, cost), "L-BFGS-B", jac=True)
        np.testing.assert_allclose(W[:, label], np.maximum(best.x, 0), atol=0.05 * np.abs(best.x).max())


def test_margins_rank_the_labels(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    X, Y = problem
    linear = sx.Linear(X, Y)
    margins, ids = linear.topk(X, L)
    assert margins.shape == ids.shape == (N, L)
    assert (np.diff(margins, axis=1) <= 0).all()
    assert ((ids >= 0) == (margins > -1)).all()
    assert (ids[9] == -1).all()  # an empty row
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in ids)
    few = linear.topk(X, 3)
    assert (few[0] == margins[:, :3]).all() and (few[1] == ids[:, :3]).all()
    labelled = np.diff(Y.indptr) > 0
    assert sx.metrics.precision_at_k(ids[labelled], Y[labelled], (1,))[0] > 0.9


def test_scale_of_rows_and_threads_change_nothing(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    X, Y = problem
    expected = sx.Linear(X, Y, negatives=3, num_threads=1).topk(X, 5)
    for other in (
        sx.Linear(X, Y, negatives=3, num_threads=3),
        sx.Linear(sp.csr_matrix(sp.diags(np.exp2(np.arange(N) % 5)) @ X), Y, negatives=3),  # powers of 2: no rounding
    ):
        assert all((a == b).all() for a, b in zip(other.topk(X, 5), expected, strict=True))


def test_dropped_weights(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    X, Y = problem
    sizes = [sx.Linear(X, Y, threshold=threshold).nbytes for threshold in (0.0, 0.1, 0.5, 100.0)]
    assert sorted(sizes, reverse=True) == sizes and len(set(sizes)) == 4
    assert (sx.Linear(X, Y, threshold=100.0).topk(X, 2)[1] == -1).all()


def test_saved_and_loaded(problem: tuple[sp.csr_matrix, sp.csr_matrix], tmp_path: Path) -> None:
    X, Y = problem
    linear = sx.Linear(X, Y, weight=0.7)
    linear.save(tmp_path / "linear.npz")
    loaded = sx.Linear.load(tmp_path / "linear.npz")
    assert (loaded.weight, loaded.nbytes, loaded.in_features, loaded.num_labels) == (0.7, linear.nbytes, D, L)
    assert all((a == b).all() for a, b in zip(loaded.topk(X), linear.topk(X), strict=True))
    content = (tmp_path / "linear.npz").read_bytes()
    sx.Neighbors(X, Y).save(tmp_path / "neighbors.npz")
    for damaged in (content[: len(content) // 2], b"", (tmp_path / "neighbors.npz").read_bytes()):
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with pytest.raises(sx.DataError, match="damaged.npz"):
            sx.Linear.load(tmp_path / "damaged.npz")
    with pytest.raises(sx.DataError, match="no-such-directory"):
        linear.save(tmp_path / "no-such-directory" / "linear.npz")


def test_bad_input_is_named(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    X, Y = problem
    linear = sx.Linear(X, Y)
    with pytest.raises(sx.ArgumentError, match="Y 210"):
        sx.Linear(X, Y[:-1])
    for name, value in (("cost", 0.0), ("cost", -1.0), ("negatives", 0), ("rounds", 0), ("threshold", -0.1)):
        with pytest.raises(sx.ArgumentError, match=name):
            sx.Linear(X, Y, **{name: value})
    with pytest.raises(sx.ArgumentError, match="weight"):
        sx.Linear(X, Y, weight=-1)
    with pytest.raises(sx.DTypeError, match="X is a ndarray"):
        sx.Linear(X.toarray(), Y)
    with pytest.raises(sx.ArgumentError, match="NaN"):
        sx.Linear(X * np.float32("nan"), Y)
    with pytest.raises(sx.ArgumentError, match="k=24"):
        linear.topk(X, L + 1)
    with pytest.raises(sx.ArgumentError, match="67 features"):
        linear.topk(X[:, :-1])
    with pytest.raises(sx.DTypeError, match="X is a ndarray"):
        linear.topk(X.toarray())


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 1), (1, 3, 9)])
def test_tiny_problems(shape: tuple[int, int, int]) -> None:
    rows, features, labels = shape
    X = sp.csr_matrix(np.ones((rows, features), np.float32))
    Y = sp.csr_matrix(([np.float32(1)], ([0], [labels - 1])), shape=(rows, labels))
    margins, ids = sx.Linear(X, Y).topk(X, labels)
    assert ids[0, 0] == labels - 1 and (ids[:, 1:] == -1).all() and (margins[:, 1:] == -1).all()


def test_a_training_goes_on(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    """Held instances say nothing before they are admitted; another cost goes on from where the first one ended."""
    X, Y = problem
    held = np.arange(0, N, 4)
    left = np.delete(np.arange(N), held)
    training = sx.LinearTraining(X, Y, held=held, negatives=L, threshold=0.0)
    options = {"negatives": L, "threshold": 0.0, "rounds": 4}

    def same(one: sx.Linear, other: sx.Linear) -> None:
        tops = [linear.topk(sp.csr_matrix(np.eye(D, dtype=np.float32)), L) for linear in (one, other)]
        W = np.zeros((2, D, L))
        for w, (margins, ids) in zip(W, tops, strict=True):
            for feature in range(D):
                known = ids[feature] >= 0
                w[feature, ids[feature, known]] = margins[feature, known] + 1
        np.testing.assert_allclose(W[0], W[1], atol=0.1 * W[1].max())

    for _ in range(4):
        training.round(0.3)
    first = training.linear(weight=0.9)
    assert first.weight == 0.9
    same(first, sx.Linear(X[left], Y[left], cost=0.3, **options))
    same(training.solve(1.0).linear(), sx.Linear(X[left], Y[left], cost=1.0, **options))
    same(first, sx.Linear(X[left], Y[left], cost=0.3, **options))  # a copy: what comes later does not reach it
    training.admit_held()
    for _ in range(4):
        training.round(1.0)
    same(training.linear(), sx.Linear(X, Y, cost=1.0, **options))


def test_bad_arguments_of_a_training_are_named(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    X, Y = problem
    for held, said in (
        (np.array([N]), f"held is {N}"),
        (np.array([-1]), "held is -1"),
        (np.zeros(2), "held has shape"),
    ):
        with pytest.raises(sx.ArgumentError, match=said):
            sx.LinearTraining(X, Y, held=held)
    training = sx.LinearTraining(X, Y)
    for cost in (0, -1.0, float("nan")):
        with pytest.raises(sx.ArgumentError, match="cost"):
            training.solve(cost)
        with pytest.raises(sx.ArgumentError, match="cost"):
            training.round(cost)


def test_instance_weights(problem: tuple[sp.csr_matrix, sp.csr_matrix]) -> None:
    """1 changes no bit, 0 is as absent, and 2 is as twice."""
    X, Y = problem
    weights = (np.arange(N) % 3).astype(np.float32)
    plain, ones = sx.Linear(X, Y).topk(X, L), sx.Linear(X, Y, instance_weights=np.ones(N)).topk(X, L)
    assert all((a == b).all() for a, b in zip(ones, plain, strict=True))
    there = weights > 0
    absent = sx.Linear(X, Y, instance_weights=there.astype(float)).topk(X, L)
    alone = sx.Linear(X[there], Y[there]).topk(X, L)
    assert all((a == b).all() for a, b in zip(absent, alone, strict=True)), "in the same order they have the same bits"
    options = {"negatives": L, "threshold": 0.0}  # what is dropped near a threshold would differ
    rows = np.repeat(np.arange(N), weights.astype(int))
    heavy, twice = sx.Linear(X, Y, instance_weights=weights, **options), sx.Linear(X[rows], Y[rows], **options)
    margins = [np.full((N, L), -1.0), np.full((N, L), -1.0)]
    for matrix, linear in zip(margins, (heavy, twice), strict=True):
        found, ids = linear.topk(X, L)
        for row in range(N):
            matrix[row, ids[row, ids[row] >= 0]] = found[row, ids[row] >= 0]
    np.testing.assert_allclose(*margins, atol=0.08)
    assert np.abs(margins[0] - margins[1]).mean() < 0.003
    tiny = sx.Linear(X, Y, instance_weights=np.full(N, 1e-40)).topk(X, 3)
    assert (tiny[1] == -1).all()
    with pytest.raises(sx.ArgumentError, match=r"instance_weights has shape \(3,\), but there are 211 instances"):
        sx.Linear(X, Y, instance_weights=np.ones(3))
