"""Nearest training instances, against plain NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx

N, D, L, QUERIES = 203, 61, 37, 29
PRODUCTS = 1e-5  # of unit vectors: on matrix units a query is two numbers of 8 bits, an error of 2^-17


@pytest.fixture(params=["sparse", "dense", "float16"])
def problem(request: pytest.FixtureRequest) -> tuple[Any, sp.csr_matrix, Any]:
    """Features, labels and queries; some rows are equal, some empty."""
    rng = np.random.default_rng(3)
    Y = sp.random(N, L, 0.08, "csr", np.float32, rng)
    if request.param == "sparse":
        X = sp.random(N, D, 0.1, "lil", np.float32, rng)
        X[7], X[100] = X[3], X[3]
        X[5] = 0
        queries = sp.random(QUERIES, D, 0.1, "lil", np.float32, rng)
        queries[2] = X[3]
        queries[4] = 0
        return X.tocsr(), Y, queries.tocsr()
    dtype = np.float32 if request.param == "dense" else np.float16
    dense = rng.standard_normal((N, D)).astype(dtype)
    dense[7] = dense[100] = dense[3]
    return dense, Y, np.vstack([dense[3:4], rng.standard_normal((QUERIES - 1, D)).astype(dtype)])


def rounded(X: np.ndarray) -> np.ndarray:
    """Dense rows as they are kept: whole numbers up to 127."""
    rows = X.astype(np.float32)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    return np.rint(rows * np.divide(127, largest, out=np.zeros_like(largest), where=largest > 0))


def cosines(X: Any, queries: Any) -> np.ndarray:
    def unit(rows: Any) -> np.ndarray:
        rows = np.asarray(rows.todense() if sp.issparse(rows) else rows, np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)

    return unit(queries) @ unit(X if sp.issparse(X) else rounded(X)).T


@pytest.mark.parametrize("count", [1, 50, N])
def test_search_is_exact(problem: tuple[Any, sp.csr_matrix, Any], count: int) -> None:
    X, Y, queries = problem
    similarities, instances = sx.Neighbors(X, Y).search(queries, count)
    truth = cosines(X, queries)
    best = -np.sort(-truth, axis=1)[:, :count]
    found = instances >= 0
    assert similarities.shape == instances.shape == (QUERIES, count)
    atol = 1e-6 if sp.issparse(X) else PRODUCTS
    np.testing.assert_allclose(similarities, np.where(found, best, 0), atol=atol)
    np.testing.assert_allclose(np.take_along_axis(truth, np.maximum(instances, 0), 1)[found], best[found], atol=atol)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in instances)
    if sp.issparse(X):
        assert (found == (best > 1e-9)).all()  # what has nothing in common is no neighbor
    else:
        assert found.all()


@pytest.mark.parametrize(
    ("rows", "width", "queries"), [(1, 1, 1), (31, 64, 17), (32, 65, 257), (33, 3, 600), (70, 200, 1)]
)
def test_dense_search_at_odd_sizes(rows: int, width: int, queries: int) -> None:
    """Groups that are not full, a slice of queries more than one, and rows of zeros."""
    rng = np.random.default_rng(rows)
    X, Q = (rng.standard_normal((n, width)).astype(np.float32) for n in (rows, queries))
    X[rows // 2], Q[queries // 2] = 0, 0
    similarities, instances = sx.Neighbors(X, sp.eye(rows, format="csr")).search(Q, rows)
    truth = cosines(X, Q)
    assert (np.sort(instances, axis=1) == np.arange(rows)).all()
    np.testing.assert_allclose(similarities, np.take_along_axis(truth, instances, 1), atol=PRODUCTS)
    assert (np.diff(similarities, axis=1) <= 0).all()
    exact = (Q / np.maximum(np.linalg.norm(Q, axis=1, keepdims=True), 1e-9)) @ X.T
    exact /= np.maximum(np.linalg.norm(X, axis=1), 1e-9)
    np.testing.assert_allclose(np.take_along_axis(exact, instances, 1), similarities, atol=0.01)


def hidden_classifier(X: Any, units: int = 19) -> sx.Classifier:
    classifier = sx.Classifier(
        D, L, fan_in=4, hidden=units, sparse_input=sp.issparse(X), rewiring=None, device="cpu", batch_size=64
    )
    assert classifier.hidden_activations(X[:1]).shape == (1, units)
    return classifier


def test_neighbors_of_the_hidden_layer(problem: tuple[Any, sp.csr_matrix, Any], tmp_path: Path) -> None:
    """Activations less their mean, rounded: by the classifier that made them, from arrays of whatever kind it reads."""
    X, Y, queries = problem
    classifier = hidden_classifier(X)
    neighbors = sx.Neighbors.of_hidden_layer(classifier, X, Y, num_threads=2)
    assert neighbors.votes == sx.Votes(power=8.0, space="hidden") and neighbors.in_features == 19
    assert (neighbors.labels != sx.Neighbors(X, Y).labels).nnz == 0
    activations, asked = classifier.hidden_activations(X), classifier.hidden_activations(queries)
    center = activations.mean(axis=0, dtype=np.float64).astype(np.float32)
    similarities, instances = neighbors.search(asked, 7)
    truth = cosines(activations - center, asked - center)
    np.testing.assert_allclose(similarities, -np.sort(-truth, axis=1)[:, :7], atol=PRODUCTS)
    np.testing.assert_allclose(similarities, np.take_along_axis(truth, instances, 1), atol=PRODUCTS)

    neighbors.save(tmp_path / "neighbors.npz")
    loaded = sx.Neighbors.load(tmp_path / "neighbors.npz")
    assert loaded.votes == neighbors.votes and loaded.nbytes == neighbors.nbytes
    assert all((a == b).all() for a, b in zip(loaded.search(asked, 7), (similarities, instances), strict=True))
    # In an ensemble they vote as neighbors with these activations for features would.
    same = sx.Neighbors(activations - center, Y, sx.Votes(7, 3.0, 0.9))
    loaded.votes = sx.Votes(7, 3.0, 0.9, space="hidden")
    together = sx.Ensemble(classifier, neighbors=loaded).topk(queries, L)
    logits, order = classifier.topk(queries, L)
    expected = np.zeros((len(asked), L))
    np.put_along_axis(expected, order, 1 / (1 + np.exp(-logits.astype(np.float64))), 1)
    near, who = same.search(asked - center)
    given = np.maximum(near.astype(np.float64), 0) ** 3
    for row in range(len(asked)):
        expected[row] += 0.9 * (given[row] @ Y[who[row]].astype(bool).toarray()) / given[row].sum()
    expected /= (1 + np.bincount(Y.indices, minlength=L)) ** 0.02
    np.testing.assert_allclose(together[0], -np.sort(-expected, axis=1), rtol=2e-5, atol=1e-6)


def test_bad_hidden_neighbors_are_named(problem: tuple[Any, sp.csr_matrix, Any]) -> None:
    X, Y, _ = problem
    classifier = hidden_classifier(X)
    neighbors = sx.Neighbors.of_hidden_layer(classifier, X, Y)
    with pytest.raises(sx.ArgumentError, match="Y 202"):
        sx.Neighbors.of_hidden_layer(classifier, X, Y[:-1])
    with pytest.raises(sx.ArgumentError, match="votes.space"):
        sx.Votes(space="output")
    with pytest.raises(sx.ArgumentError, match="of_hidden_layer"):
        sx.Neighbors(X, Y, neighbors.votes)
    with pytest.raises(sx.ArgumentError, match="hidden layer of 8 units"):
        sx.Ensemble(hidden_classifier(X, 8), neighbors=neighbors)
    with pytest.raises(sx.ArgumentError, match="no hidden layer"):
        sx.Ensemble(None, neighbors=neighbors)
    if not sp.issparse(X):
        flat = sx.Classifier(D, L, fan_in=4, rewiring=None, device="cpu")
        with pytest.raises(sx.ArgumentError, match="no hidden layer"):
            sx.Neighbors.of_hidden_layer(flat, X, Y)
    damaged = classifier.state_dict()
    damaged["hidden.weight"][:] = 3e38
    classifier.load_state_dict(damaged)
    with pytest.raises(sx.ArgumentError, match="activations of row .* are not finite"):
        sx.Neighbors.of_hidden_layer(classifier, X, Y)


def test_equal_neighbors_come_by_number(problem: tuple[Any, sp.csr_matrix, Any]) -> None:
    X, Y, queries = problem
    row = 2 if sp.issparse(X) else 0
    _, instances = sx.Neighbors(X, Y).search(queries, 3)
    assert instances[row].tolist() == [3, 7, 100]
    assert sx.Neighbors(X, Y).search(queries, 1)[1][row] == 3


def test_results_do_not_depend_on_threads(problem: tuple[Any, sp.csr_matrix, Any]) -> None:
    X, Y, queries = problem
    one, three = (sx.Neighbors(X, Y, num_threads=threads).search(queries, 5) for threads in (1, 3))
    assert all((a == b).all() for a, b in zip(one, three, strict=True))


def test_saved_and_loaded(problem: tuple[Any, sp.csr_matrix, Any], tmp_path: Path) -> None:
    X, Y, queries = problem
    neighbors = sx.Neighbors(X, Y, sx.Votes(7, 3.0, 1.5, 0.7))
    neighbors.save(tmp_path / "neighbors.npz")
    loaded = sx.Neighbors.load(tmp_path / "neighbors.npz")
    assert loaded.votes == neighbors.votes and loaded.nbytes == neighbors.nbytes
    assert all((a == b).all() for a, b in zip(loaded.search(queries), neighbors.search(queries), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["neighbors.npz"]
    content = (tmp_path / "neighbors.npz").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"PK\x03\x04 something else"):
        (tmp_path / "damaged.npz").write_bytes(damaged)
        with pytest.raises(sx.DataError, match="damaged.npz"):
            sx.Neighbors.load(tmp_path / "damaged.npz")
    with pytest.raises(sx.DataError, match="missing.npz"):
        sx.Neighbors.load(tmp_path / "missing.npz")
    with pytest.raises(sx.DataError, match="no-such-directory"):
        neighbors.save(tmp_path / "no-such-directory" / "neighbors.npz")


def test_files_of_earlier_versions(problem: tuple[Any, sp.csr_matrix, Any], tmp_path: Path) -> None:
    """They hold the smoothing of the votes as "doubt"."""
    X, Y, _ = problem
    sx.Neighbors(X, Y, sx.Votes(7, smoothing=0.7)).save(tmp_path / "neighbors.npz")
    with np.load(tmp_path / "neighbors.npz") as file:
        arrays = dict(file)
    meta = json.loads(arrays["meta"].tobytes())
    meta["votes"]["doubt"] = meta["votes"].pop("smoothing")
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(tmp_path / "earlier.npz", **arrays)
    assert sx.Neighbors.load(tmp_path / "earlier.npz").votes == sx.Votes(7, smoothing=0.7)


def test_bad_input_is_named(problem: tuple[Any, sp.csr_matrix, Any]) -> None:
    X, Y, queries = problem
    neighbors = sx.Neighbors(X, Y)
    with pytest.raises(sx.ArgumentError, match="Y 202"):
        sx.Neighbors(X, Y[:-1])
    with pytest.raises(sx.ArgumentError, match="votes"):
        sx.Neighbors(X, Y, 0.5)  # type: ignore[arg-type]
    with pytest.raises(sx.ArgumentError, match="votes.weight=-1"):
        sx.Votes(weight=-1)
    with pytest.raises(sx.ArgumentError, match="61 features"):
        neighbors.search(queries[:, :-1])
    with pytest.raises(sx.DTypeError, match="X must be"):
        neighbors.search(queries.toarray() if sp.issparse(X) else sp.csr_matrix(queries.astype(np.float32)))
    with pytest.raises((sx.ArgumentError, sx.DTypeError), match="X"):
        sx.Neighbors(X * np.float32("nan"), Y)


def test_votes_of_weighted_instances(problem: tuple[Any, sp.csr_matrix, Any], tmp_path: Path) -> None:
    """Votes times the weight; an instance of weight 0 is as one that is no neighbor."""
    X, Y, queries = problem
    votes = sx.Votes(9, 3.0, 0.9, 0.5)
    weights = (np.arange(N) % 4 / 2).astype(np.float32)

    def ranked(neighbors: sx.Neighbors) -> tuple[np.ndarray, np.ndarray]:
        return sx.Ensemble(None, neighbors=neighbors, frequency_discount=0).topk(queries, L)

    weighted = sx.Neighbors(X, Y, votes, instance_weights=weights)
    scores, ids = ranked(weighted)
    near, who = weighted.search(queries)
    given = np.where(who < 0, 0, np.maximum(near.astype(np.float64), 0) ** 3 * weights[who])
    for row in range(QUERIES):
        expected = 0.9 * (given[row] @ Y[who[row]].astype(bool).toarray()) / max(given[row].sum() + 0.5, 1e-9)
        found = np.zeros(L)
        found[ids[row, ids[row] >= 0]] = scores[row, ids[row] >= 0]
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-7)
        voting = Y[who[row, (who[row] >= 0) & (weights[who[row]] > 0)]].indices
        assert set(ids[row, ids[row] >= 0]) == set(voting)
    weighted.save(tmp_path / "neighbors.npz")
    loaded = sx.Neighbors.load(tmp_path / "neighbors.npz")
    assert loaded.nbytes == weighted.nbytes == sx.Neighbors(X, Y, votes).nbytes + 4 * N
    plain = ranked(sx.Neighbors(X, Y, votes))
    for one, other in (
        (ranked(loaded), (scores, ids)),
        (ranked(sx.Neighbors(X, Y, votes, instance_weights=np.ones(N))), plain),
    ):
        assert all((a == b).all() for a, b in zip(one, other, strict=True))
    with pytest.raises(sx.ArgumentError, match="instance_weights holds -1.0 for row 0"):
        sx.Neighbors(X, Y, instance_weights=-np.ones(N))
