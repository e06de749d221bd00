"""bench/contenders: what is measured, and neighbours against brute force."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx

BENCH = Path(__file__).resolve().parents[1] / "bench"


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def small_data(dense: bool) -> sx.data.Dataset:
    """200 training and 30 test instances; the first of each has no feature, the second training instance no label."""
    rng = np.random.default_rng(0)
    X = sp.random(230, 40, 0.2, "csr", np.float32, random_state=rng)
    X.data[: X.indptr[1]] = X.data[X.indptr[200] : X.indptr[201]] = 0
    X.eliminate_zeros()
    Y = sp.random(230, 25, 0.15, "csr", np.float32, random_state=rng)
    Y.data[:] = 1
    Y.data[Y.indptr[1] : Y.indptr[2]] = 0
    Y.eliminate_zeros()
    X = X.toarray() - 0.1 if dense else X
    return sx.data.Dataset(X=X[:200], Y=Y[:200], X_test=X[200:], Y_test=Y[200:])


@pytest.mark.parametrize("dense", [False, True])
def test_neighbours_vote_as_brute_force_says(dense: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from contenders import contender, neighbours

    monkeypatch.setattr(neighbours, "SIMILARITIES", 1400)  # seven rows a chunk
    data = small_data(dense)
    sx.data.save(tmp_path / "data", data)
    contender.measure(neighbours.NearestNeighbours(2), tmp_path / "data", tmp_path / "out", {"method": "knn"})

    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in map(_dense, (data.X, data.X_test))]
    cosine = (unit[1] @ unit[0].T).astype(np.float64)
    near = np.where(cosine >= np.sort(cosine, axis=1)[:, -50:-49], cosine, 0)
    votes = near ** (4 if dense else 2) @ _dense(data.Y)
    expected = np.argsort(-votes, axis=1, kind="stable")[:, :5]
    expected[np.take_along_axis(votes, expected, axis=1) == 0] = -1

    with np.load(tmp_path / "out.npz") as saved:
        np.testing.assert_array_equal(saved["ids"], expected)
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["method"] == "knn" and told["settings"] == {"neighbours": 50, "power": 4 if dense else 2}
    assert told["training_seconds"] >= 0 and told["peak_bytes"] >= told["data_bytes"] > 0 and told["model_bytes"] > 0


def test_best_ids_prefer_the_smaller_id_and_say_where_nothing_is() -> None:
    from contenders.contender import best_ids

    scores = sp.csr_matrix(([1.0, 3, 3, 1, 1, 1], [6, 5, 2, 0, 3, 1], [0, 6, 6]), shape=(2, 8))
    np.testing.assert_array_equal(best_ids(scores), [[2, 5, 0, 1, 3], [-1] * 5])


def _dense(matrix: object) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
