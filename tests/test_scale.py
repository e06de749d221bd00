"""Sizes near the limits: millions of labels, indices above 65,535, millions of sparse columns."""

from __future__ import annotations

import numpy as np
import pytest

import reference as ref
import sparsexmc as sx
from cases import Case
from harness import assert_follows, build, csr, oracle, tensors

pytestmark = pytest.mark.slow


def test_three_million_labels() -> None:
    """One step, checked at labels all over the range against the formula for single rows."""
    case = Case("millions", 64, 3_000_000, 16, group_size=32, batch=8, optimizer=ref.Sgd(0.1))
    x, labels = case.features(), [[0, 31, 32], [2_999_999], [1_500_000, 2_999_968], [], [7], [8], [9], [2_147_483]]
    classifier = build(case)
    before = tensors(classifier)
    out = classifier.train_step(x, csr(labels))
    after = tensors(classifier)
    assert classifier.memory.peak == classifier.memory.planned
    assert 0.5 * case.num_labels < out.loss < 1.5 * case.num_labels
    for label in (0, 31, 32, 7, 2_147_483, 2_999_968, 2_999_999, 123_456):
        features = before["segments.0.indices"][label // 32].astype(np.int64)
        inputs, weights = x[:, features].astype(np.float64), before["segments.0.weights"][label].astype(np.float64)
        positive = np.array([label in row for row in labels])
        _, slope = ref.label_loss("bce", inputs @ weights + before["segments.0.bias"][label], positive)
        expected = weights - 0.1 * slope / 8 @ inputs
        np.testing.assert_allclose(after["segments.0.weights"][label], expected, atol=1e-6)
    scores, ids = classifier.topk(x, k=10)
    assert ids.min() >= 0 and ids.max() < case.num_labels and (np.diff(scores) <= 0).all()


def test_widest_layer() -> None:
    """131,072 features: the largest that is allowed, with 32-bit indices that need their upper half."""
    case = Case(
        "widest", 131_072, 50, 64, group_size=16, dense_labels=1, batch=5, optimizer=ref.Sgd(1e-5), permuted=True
    )
    classifier = build(case)
    indices = classifier.state_dict()["segments.1.indices"]
    assert indices.dtype == np.uint32 and indices.max() > 100_000
    assert_follows(case, classifier, oracle(case, classifier), case.steps())
    with pytest.raises(sx.errors.ArgumentError, match="in_features"):
        sx.plan(131_073, 300, fan_in=64)


def test_two_million_sparse_columns() -> None:
    case = Case("columns", 2_000_000, 300, 8, batch=16, hidden=16, nonzeros=60, optimizer=ref.Adam(0.01, eps=1e-3))
    classifier = build(case)
    before = tensors(classifier)
    x, labels = case.features(), case.labels()
    # The oracle sees the touched columns alone: the others can neither matter nor move.
    touched = np.unique(x.indices)
    small = oracle(case, classifier)
    for name in [name for name in small.state if name.endswith("hidden.weight") or ".hidden.weight." in name]:
        small.state[name] = small.state[name][touched]
    loss, _ = small.train_step(x[:, touched], labels)
    assert classifier.train_step(x, csr(labels)).loss == pytest.approx(loss, rel=1e-5)
    after = tensors(classifier)
    np.testing.assert_allclose(after["hidden.weight"][touched], small.state["hidden.weight"], atol=1e-5)
    rest = np.ones(case.in_features, dtype=bool)
    rest[touched] = False
    np.testing.assert_array_equal(after["hidden.weight"][rest], before["hidden.weight"][rest])
    assert classifier.memory.peak == classifier.memory.planned
