"""Stored numbers of sparse matrices: NaN in labels is refused, and 0 is no entry, in labels and in features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc import metrics
from sparsexmc.data import tfidf

N, D, L = 40, 30, 12
Y = sp.random(N, L, 0.2, "csr", random_state=3, dtype=np.float32)
COUNTS = sp.random(N, D, 0.3, "csr", random_state=1, dtype=np.float32)
COUNTS.data = np.ceil(COUNTS.data * 4)
E = np.random.default_rng(0).standard_normal((N, 8), np.float32)
IDS = np.tile(np.arange(5), (N, 1))


def with_stored(matrix: sp.csr_matrix, value: float) -> sp.csr_matrix:
    """The matrix with `value` stored in all places that hold nothing, in every third row."""
    dense = matrix.toarray()
    stored = np.where((dense == 0) & (np.arange(len(dense)) % 3 == 0)[:, None], 1, dense)
    result = sp.csr_matrix(stored)
    result.data[dense[result.nonzero()] == 0] = value
    assert result.nnz > matrix.nnz
    return result


NAN = with_stored(Y, np.nan)


def classifier() -> sx.Classifier:
    return sx.Classifier(8, L, fan_in=None, rewiring=None, batch_size=N, device="cpu")


def sparse_classifier() -> sx.Classifier:
    return sx.Classifier(
        D, L, hidden=16, sparse_input=True, fan_in=8, rewiring=None, batch_size=N, optimizer=sx.Adam(0.01), device="cpu"
    )


FIT = {"progress": False, "epochs": 1}
USERS: dict[str, Callable[[sp.csr_matrix], Any]] = {
    "fit": lambda bad: classifier().fit(E, bad, **FIT),
    "fit validation": lambda bad: classifier().fit(E, Y, validation=(E, bad), **FIT),
    "fit filter": lambda bad: classifier().fit(E, Y, filter=bad, **FIT),
    "train_step": lambda bad: classifier().train_step(E, bad),
    "train_step, sparse": lambda bad: sparse_classifier().train_step(COUNTS, bad),
    "eval_step": lambda bad: classifier().eval_step(E, bad),
    "topk": lambda bad: classifier().topk(E, 3, filter=bad),
    "for_data": lambda bad: sx.Classifier.for_data(E, bad),
    "precision": lambda bad: metrics.precision_at_k(IDS, bad, 5),
    "RankingMetrics": lambda bad: metrics.RankingMetrics(L).update(IDS, bad),
    "propensities": lambda bad: metrics.propensities(bad),
    "Linear": lambda bad: sx.Linear(COUNTS, bad),
    "Neighbors": lambda bad: sx.Neighbors(COUNTS, bad),
    "Ensemble.topk": lambda bad: sx.Ensemble(None, linear=sx.Linear(COUNTS, Y)).topk(COUNTS, 3, filter=bad),
    "Ensemble.tune": lambda bad: sx.Ensemble(None, linear=sx.Linear(COUNTS, Y)).tune(COUNTS, bad),
    "cluster_labels": lambda bad: sx.cluster_labels(COUNTS, bad),
    "Dataset": lambda bad: sx.data.Dataset(COUNTS, bad),
}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS.keys())
def test_nan_is_no_label(use: Callable[[sp.csr_matrix], Any]) -> None:
    with pytest.raises(sx.ArgumentError, match=r"^(Y|labels|filter|Y_true|train_labels|validation\[1\]) holds NaN"):
        use(NAN)


def test_nan_is_no_label_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sparsexmc.sklearn import SparseXMCClassifier

    for call in (SparseXMCClassifier(epochs=1).fit, SparseXMCClassifier().partial_fit):
        with pytest.raises(ValueError, match="NaN"):
            call(E, NAN)


@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_sparse_tensors(layout: str) -> None:
    torch = pytest.importorskip("torch")
    from sparsexmc.torch._labels import positives

    def tensor(matrix: sp.csr_matrix) -> Any:
        coo = matrix.tocoo()
        made = torch.sparse_coo_tensor(np.stack([coo.row, coo.col]), coo.data, matrix.shape)
        return made if layout == "coo" else made.to_sparse_csr()

    rows = torch.from_numpy(E)
    with pytest.raises(sx.ArgumentError, match="labels holds NaN"):
        positives(tensor(NAN), rows, L)
    for found, wanted in zip(positives(tensor(with_stored(Y, 0)), rows, L), (Y.indptr, Y.indices), strict=True):
        assert np.array_equal(found, wanted)
    twice = torch.sparse_coo_tensor([[0, 0], [1, 1]], [1.0, -1.0], (N, L))  # a label twice in a row counts once
    assert positives(twice, rows, L)[1].tolist() == [1]


def test_padded_labels_of_jax() -> None:
    pytest.importorskip("jax")
    from sparsexmc.jax import pad_labels

    with pytest.raises(sx.ArgumentError, match="Y holds NaN"):
        pad_labels(NAN)
    assert np.array_equal(pad_labels(with_stored(Y, 0)), pad_labels(Y))


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_stored_zeros_change_no_bit(zero: float) -> None:
    """Adam moves a row of the hidden weight whenever its feature is in the batch; a stored 0 is not in it."""
    X0, Y0 = with_stored(COUNTS, zero), with_stored(Y, zero)
    plain, stored = sparse_classifier(), sparse_classifier()
    for step in range(3):
        rows = slice(10 * step, 10 * step + 20)
        plain.train_step(COUNTS[rows], Y[rows])
        stored.train_step(X0[rows], Y0[rows])
    plain.fit(COUNTS, Y, **FIT)
    stored.fit(X0, Y0, **FIT)
    after = stored.state_dict()
    assert all(value.tobytes() == after[name].tobytes() for name, value in plain.state_dict().items())
    for a, b in zip(plain.topk(COUNTS, 5, filter=Y), stored.topk(X0, 5, filter=Y0), strict=True):
        assert np.array_equal(a, b)
    assert metrics.precision_at_k(IDS, Y0, 5) == metrics.precision_at_k(IDS, Y, 5)
    assert np.array_equal(metrics.propensities(Y0), metrics.propensities(Y))
    for a, b in zip(sx.Linear(COUNTS, Y).topk(COUNTS), sx.Linear(X0, Y0).topk(X0), strict=True):
        assert np.array_equal(a, b)
    assert (tfidf(X0)[0] != tfidf(COUNTS)[0]).nnz == 0 and X0.nnz > COUNTS.nnz
    options = {name: sx.Classifier.for_data(x, y).config for name, (x, y) in {"a": (COUNTS, Y), "b": (X0, Y0)}.items()}
    assert options["a"] == options["b"]
