"""Nearest training instances, against plain NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx

N, D, L, QUERIES = 203, 61, 37, 29


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


def cosines(X: Any, queries: Any) -> np.ndarray:
    def unit(rows: Any) -> np.ndarray:
        rows = np.asarray(rows.todense() if sp.issparse(rows) else rows, np.float64)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)

    return unit(queries) @ unit(X).T


@pytest.mark.parametrize("count", [1, 50, N])
def test_search_is_exact(problem: tuple[Any, sp.csr_matrix, Any], count: int) -> None:
    X, Y, queries = problem
    similarities, instances = sx.Neighbors(X, Y).search(queries, count)
    truth = cosines(X, queries)
    best = -np.sort(-truth, axis=1)[:, :count]
    found = instances >= 0
    assert similarities.shape == instances.shape == (QUERIES, count)
    np.testing.assert_allclose(similarities, np.where(found, best, 0), atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(truth, np.maximum(instances, 0), 1)[found], best[found], atol=1e-6)
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in instances)
    if sp.issparse(X):
        assert (found == (best > 1e-9)).all()  # what has nothing in common is no neighbor
    else:
        assert found.all()


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
