"""Classifier, linear classifiers and neighbors together, against plain NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.ensemble.ensemble import Weights, _smoothed

N, D, L, QUERIES = 203, 61, 37, 29
Problem = tuple[Any, sp.csr_matrix, Any, sx.Classifier]


@pytest.fixture(params=["sparse", "dense"])
def problem(request: pytest.FixtureRequest) -> Problem:
    """Features, labels, queries and an untrained classifier; a query is empty."""
    rng = np.random.default_rng(3)
    Y = sp.random(N, L, 0.08, "csr", np.float32, rng)
    if request.param == "sparse":
        X, queries = (sp.random(rows, D, 0.1, "lil", np.float32, rng) for rows in (N, QUERIES))
        queries[4] = 0
        X, queries = X.tocsr(), queries.tocsr()
    else:
        X, queries = (rng.standard_normal((rows, D)).astype(np.float32) for rows in (N, QUERIES))
    hidden = sx.Hidden(8) if request.param == "sparse" else None
    classifier = sx.Classifier(
        D, L, fan_in=4, hidden=hidden, sparse_input=request.param == "sparse", rewiring=None, device="cpu"
    )
    return X, Y, queries, classifier


def linear_of(X: Any, Y: sp.csr_matrix, **options: Any) -> sx.Linear | None:
    return sx.Linear(X, Y, **options) if sp.issparse(X) else None


@pytest.mark.parametrize(
    ("weight", "votes", "discount", "label_weights"),
    [
        (0.4, sx.Votes(), 0.03, None),
        (1.5, sx.Votes(7, 3.0, 1.5, 0.7), 0.0, None),
        (0.0, sx.Votes(N, 0.0, 0.3), 0.0, np.linspace(0.5, 2.0, L)),
        (0.2, sx.Votes(5, 2.0, 0.0), 0.7, np.linspace(3.0, 0.1, L)),
    ],
)
def test_ranking_is_the_formula(
    problem: Problem, weight: float, votes: sx.Votes, discount: float, label_weights: Any
) -> None:
    X, Y, queries, classifier = problem
    neighbors, linear = sx.Neighbors(X, Y, votes), linear_of(X, Y, weight=weight)
    ensemble = sx.Ensemble(classifier, linear=linear, neighbors=neighbors, frequency_discount=discount)
    scores, ids = ensemble.topk(queries, L, label_weights=label_weights)

    logits, order = classifier.topk(queries, L)
    expected = np.zeros((QUERIES, L))
    np.put_along_axis(expected, order, 1 / (1 + np.exp(-logits.astype(np.float64))), 1)
    if linear is not None:
        margins, labels = linear.topk(queries, L)
        for row, (m, label) in enumerate(zip(margins, labels, strict=True)):
            known = label >= 0
            expected[row, label[known]] += weight * np.exp(-(np.maximum(0, 1 - m[known].astype(np.float64)) ** 2))
    similarities, instances = neighbors.search(queries)
    shares = np.where(instances >= 0, np.maximum(similarities, 0).astype(np.float64) ** votes.power, 0)
    voted = np.zeros((QUERIES, L))
    for row in range(QUERIES):
        voted[row] = shares[row] @ (Y[np.maximum(instances[row], 0)] != 0).toarray()
    total = shares.sum(axis=1, keepdims=True)
    expected += votes.weight * np.divide(voted, total + votes.smoothing, out=np.zeros_like(voted), where=total > 0)
    expected *= (1 + Y.getnnz(axis=0)) ** -discount * (1 if label_weights is None else label_weights)

    np.testing.assert_allclose(scores, np.take_along_axis(expected, ids, 1), rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (np.sort(ids, axis=1) == np.arange(L)).all()
    few_scores, few = ensemble.topk(queries, 3, label_weights=label_weights)
    assert (few == ids[:, :3]).all() and (few_scores == scores[:, :3]).all()


def test_any_part_may_be_missing(problem: Problem) -> None:
    X, Y, queries, classifier = problem
    linear, neighbors = linear_of(X, Y), sx.Neighbors(X, Y, sx.Votes(5))
    alone = sx.Ensemble(classifier).topk(queries, 5)[1]
    assert (alone == classifier.topk(queries, 5)[1]).all()
    scores, ids = sx.Ensemble(None, neighbors=neighbors).topk(queries, L)
    assert ((ids >= 0) == (scores > 0)).all()
    if linear is not None:
        assert (ids[4] == -1).all()  # an empty query has no neighbor
        ids = sx.Ensemble(None, linear=linear).topk(queries, 5)[1]
        assert (ids == linear.topk(queries, 5)[1]).all()


def test_frequencies_come_from_who_knows_them(problem: Problem) -> None:
    X, Y, queries, classifier = problem
    counts, others = Y.getnnz(axis=0), np.arange(L) ** 2
    keeps = sx.Classifier(
        D, L, fan_in=None, sparse_input=classifier.sparse_input, hidden=sx.Hidden(8), rewiring=None, device="cpu",
        label_counts=others, num_instances=L**2,
    )  # fmt: skip
    neighbors, linear = sx.Neighbors(X, Y), linear_of(X, Y)
    for parts, expected in (
        ({"classifier": classifier, "neighbors": neighbors}, counts),
        ({"classifier": keeps, "neighbors": neighbors}, others),
        ({"classifier": classifier, "linear": linear}, 0 * counts),
        ({"classifier": classifier, "label_counts": others, "neighbors": neighbors}, others),
    ):
        plain, with_discount = (sx.Ensemble(**parts, frequency_discount=d).topk(queries, L) for d in (0.0, 0.5))
        scores = np.take_along_axis(plain[0], np.argsort(plain[1]), 1) * (1.0 + expected) ** -0.5
        np.testing.assert_allclose(with_discount[0], np.take_along_axis(scores, with_discount[1], 1), rtol=1e-5)


def test_filtered_labels_never_come(problem: Problem) -> None:
    X, Y, queries, classifier = problem
    ensemble = sx.Ensemble(classifier, linear=linear_of(X, Y), neighbors=sx.Neighbors(X, Y))
    _, ids = ensemble.topk(queries, L)
    blanked = sp.csr_matrix((np.ones(QUERIES, np.float32), (np.arange(QUERIES), ids[:, 1])), shape=(QUERIES, L))
    expected = np.delete(ids, 1, axis=1)
    assert (ensemble.topk(queries, 4, filter=blanked)[1] == expected[:, :4]).all()


def test_results_do_not_depend_on_threads(problem: Problem) -> None:
    X, Y, queries, classifier = problem
    one, three = (
        sx.Ensemble(classifier, neighbors=sx.Neighbors(X, Y, num_threads=threads), num_threads=threads).topk(queries, 5)
        for threads in (1, 3)
    )
    assert all((a == b).all() for a, b in zip(one, three, strict=True))


def test_tuning_takes_what_helps(problem: Problem) -> None:
    X, Y, _, classifier = problem
    truth = sp.csr_matrix(Y[:50])
    linear, neighbors = linear_of(X, Y), sx.Neighbors(X, Y)
    ensemble = sx.Ensemble(classifier, linear=linear, neighbors=neighbors)
    tried = ensemble.tune(X[:50], truth)  # an untrained classifier, and a memory that knows the answers
    chosen = (0.0 if linear is None else linear.weight, neighbors.votes.weight, neighbors.votes.power)
    assert tried[chosen] >= 0.95 * max(tried.values()) and neighbors.votes.weight + chosen[0] > 0
    ids = ensemble.topk(X[:50], 5)[1]
    assert np.mean(sx.metrics.precision_at_k(ids, truth, (1, 3, 5))) == pytest.approx(tried[chosen])
    ensemble.tune(X[:50], sp.csr_matrix((50, L), dtype=np.float32))  # nothing to hit: all are equal
    assert neighbors.votes.weight == 0 and (linear is None or linear.weight == 0)
    ensemble.tune(X[:50], truth, votes_weights=(0.3,))
    assert neighbors.votes.weight == 0.3


def test_the_best_weights_lie_among_good_ones() -> None:
    """A single high value does not win against a plateau."""
    grid = list(itertools.product((0.0, 0.1, 0.2, 0.4, 0.8), (0.0, 0.2, 0.4)))
    tried = {Weights(linear, votes, 2.0): 0.5 for linear, votes in grid}
    tried |= {Weights(linear, votes, 2.0): 0.6 for linear in (0.0, 0.1, 0.2) for votes in (0.0, 0.2, 0.4)}
    tried[Weights(0.8, 0.0, 2.0)] = 0.62
    smooth = _smoothed(tried)
    assert smooth[Weights(0.1, 0.2, 2.0)] == pytest.approx(0.6)
    assert smooth[Weights(0.8, 0.0, 2.0)] == pytest.approx((0.62 + 3 * 0.5) / 4)


def test_many_rows_are_ranked_in_parts(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y, queries, classifier = problem
    ensemble = sx.Ensemble(classifier, linear=linear_of(X, Y), neighbors=sx.Neighbors(X, Y))
    scores, ids = ensemble.topk(queries, 5)
    monkeypatch.setattr("sparsexmc.interop.rows._ROWS_AT_A_TIME", 7)
    assert QUERIES % 7 != 0
    parts = ensemble.topk(queries, 5)
    assert (parts[0] == scores).all() and (parts[1] == ids).all()
    assert ensemble.topk(queries[:0], 5)[1].shape == (0, 5)


def test_bad_input_is_named(problem: Problem) -> None:
    X, Y, queries, classifier = problem
    neighbors = sx.Neighbors(X, Y)
    ensemble = sx.Ensemble(classifier, neighbors=neighbors)
    with pytest.raises(sx.ArgumentError, match="k=38"):
        ensemble.topk(queries, L + 1)
    with pytest.raises(sx.ArgumentError, match="classifier has 5 labels"):
        sx.Ensemble(sx.Classifier(D, 5, fan_in=None, device="cpu"), neighbors=neighbors)
    with pytest.raises(sx.ArgumentError, match="all parts are None"):
        sx.Ensemble(None)
    with pytest.raises(sx.ArgumentError, match="neighbors is a str"):
        sx.Ensemble(classifier, neighbors="yes")  # type: ignore[arg-type]
    narrow = sp.csr_matrix(np.ones((N, 7), np.float32))
    with pytest.raises(sx.ArgumentError, match="linear reads 7 features"):
        sx.Ensemble(classifier, linear=sx.Linear(narrow, Y), neighbors=neighbors)
    with pytest.raises(sx.ArgumentError, match="embeddings has 28 rows"):
        ensemble.topk(queries, 3, embeddings=queries[1:])
    with pytest.raises(sx.ArgumentError, match=r"label_weights is 0\.0 for label 2"):
        ensemble.topk(queries, 3, label_weights=1.0 * (np.arange(L) != 2))
    with pytest.raises(sx.ArgumentError, match=r"label_weights has shape \(3,\)"):
        ensemble.topk(queries, 3, label_weights=[1, 2, 3])
    with pytest.raises(sx.ArgumentError, match="frequency_discount=-1"):
        sx.Ensemble(classifier, neighbors=neighbors, frequency_discount=-1)
    with pytest.raises(sx.ArgumentError, match="label_counts holds -1"):
        sx.Ensemble(classifier, neighbors=neighbors, label_counts=np.arange(L) - 1)
