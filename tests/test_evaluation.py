"""Loss and gradient without a step: those of the step, and nothing is updated."""

from __future__ import annotations

import numpy as np
import pytest

import sparsexmc as sx
from cases import BY_NAME, CASES, Case
from harness import DEVICE, assert_same_bits, build, csr, step, tensors, train

DENSE = [case for case in CASES if case.nonzeros is None and case.in_features <= 65536]


@pytest.mark.parametrize("case", DENSE, ids=lambda case: case.name)
def test_is_the_next_step_without_its_update(case: Case) -> None:
    classifier = build(case)
    train(classifier, [(case.features(7), case.labels(7))])  # optimizer state that is not zero
    before, x, labels = tensors(classifier), case.features(), case.labels()
    out = classifier.eval_step(x, csr(labels), dropout=True)
    assert_same_bits(tensors(classifier), before)
    assert classifier.step == 1
    loss, grad = step(classifier, x, labels)
    assert out.loss == loss and not out.skipped
    if case.clusters is None:  # the meta-classifier adds to the gradient of a step
        assert grad is not None and np.asarray(out.grad).tobytes() == grad.tobytes()


def test_without_dropout() -> None:
    case = BY_NAME["hidden_dropout"]
    classifier = build(case)
    x, labels = case.features(), csr(case.labels())
    whole = classifier.eval_step(x, labels)
    assert whole.loss != classifier.eval_step(x, labels, dropout=True).loss
    train(other := build(case, hidden=sx.Hidden(case.hidden or 1)), [])
    assert whole.loss == other.eval_step(x, labels).loss


def test_without_gradient() -> None:
    case = BY_NAME["two_segments_small"]
    classifier = build(case)
    out = classifier.eval_step(case.features(), csr(case.labels()), return_grad=False)
    assert out.grad is None and out.loss == step(classifier, case.features(), case.labels())[0]


@pytest.mark.skipif(DEVICE == "cpu", reason="bfloat16 weights are a GPU's")
def test_stochastic_rounding_rounds_nothing() -> None:
    case = BY_NAME["two_segments_hinge"]
    classifier = build(case, weight_dtype="bfloat16", compute_dtype="bfloat16")
    train(classifier, [(case.features(7), case.labels(7))])
    before = tensors(classifier)
    classifier.eval_step(case.features(), csr(case.labels()))
    assert_same_bits(tensors(classifier), before)


def test_values_that_overflow_change_nothing() -> None:
    case = BY_NAME["two_segments_hinge"]
    classifier = build(case)
    before = tensors(classifier)
    with pytest.raises(sx.DivergenceError, match="the loss of step 1 is"):
        classifier.eval_step(np.full_like(case.features(), 3e38), csr(case.labels()))
    assert_same_bits(tensors(classifier), before)


def test_nonfinite_embeddings() -> None:
    case = BY_NAME["two_segments_small"]
    classifier = build(case)
    x = case.features()
    x[0, 0] = np.nan
    with pytest.raises(sx.ArgumentError, match="NaN or Inf"):
        classifier.eval_step(x, csr(case.labels()))
    out = classifier.eval_step(x, csr(case.labels()), on_nonfinite="skip")
    assert out.skipped and not np.asarray(out.grad).any()
    assert classifier.skipped == 0


def test_sparse_features_are_refused() -> None:
    case = BY_NAME["sparse_small"]
    with pytest.raises(sx.ArgumentError, match="sparse features"):
        build(case).eval_step(case.features(), csr(case.labels()))
