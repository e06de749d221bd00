"""Random shapes, label rows and inputs: the engine follows the oracle, and refuses what is wrong without a change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import reference as ref
import sparsexmc as sx
from cases import MARGIN, RATIO, ROUNDING, Case
from harness import assert_close, assert_follows, assert_same_bits, build, csr, oracle, step, tensors

few = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small configurations of every kind."""
    hidden = draw(st.none() | st.integers(1, 40))
    nonzeros = draw(st.none() | st.integers(1, 9)) if hidden else None
    in_features = draw(st.integers(1, 90))
    num_labels = draw(st.integers(1, 150))
    fan_in = draw(st.none() | st.integers(1, hidden or in_features))
    loss = draw(st.sampled_from(["bce", "squared_hinge"]))
    adam = draw(st.booleans())
    decay = draw(st.sampled_from([0.0, 0.03]))
    momentum = draw(st.sampled_from([0.0, 0.9]))
    return Case(
        name=f"property{draw(st.integers(0, 10**6))}",
        in_features=in_features,
        num_labels=num_labels,
        fan_in=fan_in,
        group_size=draw(st.integers(1, 70)),
        dense_labels=draw(st.integers(0, num_labels)) if fan_in else 0,
        batch=draw(st.integers(1, 40)),
        positives=draw(st.integers(0, 6)),
        loss=loss,
        optimizer=ref.Adam(0.01, eps=1e-2, weight_decay=decay) if adam else ref.Sgd(0.005, momentum, decay),
        hidden=hidden,
        dropout=draw(st.sampled_from([0.0, 0.5])) if hidden else 0.0,
        nonzeros=nonzeros,
        permuted=draw(st.booleans()),
        tolerance=RATIO if adam else MARGIN if loss == "squared_hinge" else ROUNDING,
    )


@few
@given(cases())
def test_any_configuration_follows_the_oracle(case: Case) -> None:
    classifier = build(case)
    assert_follows(case, classifier, oracle(case, classifier), case.steps())
    x = case.features(5, 3)
    logits = oracle(case, classifier).logits(x)
    k = min(4, case.num_labels)
    scores, ids = classifier.topk(x, k=k)
    assert_close("scores", scores, np.take_along_axis(logits, ref.best_labels(logits, k), axis=1), case.tolerance)
    assert_close("scores of ids", scores, np.take_along_axis(logits, ids, axis=1), case.tolerance)


label_rows = st.lists(st.lists(st.integers(0, 28), max_size=30), min_size=1, max_size=20)
SMALL = Case("small", 9, 29, 4, group_size=4, dense_labels=3, batch=20, permuted=True, optimizer=ref.Sgd(0.1, 0.5))


@few
@given(label_rows)
def test_any_label_rows_follow_the_oracle(labels: list[list[int]]) -> None:
    classifier = build(SMALL)
    assert_follows(SMALL, classifier, oracle(SMALL, classifier), [(SMALL.features(rows=len(labels)), labels)])


@few
@given(label_rows, st.randoms(use_true_random=False))
def test_order_and_repetition_of_labels_do_not_matter(labels: list[list[int]], random: Any) -> None:
    first, second = build(SMALL), build(SMALL)
    x = SMALL.features(rows=len(labels))
    shuffled = [sorted(set(row), key=lambda _: random.random()) for row in labels]
    assert step(first, x, labels)[0] == step(second, x, shuffled)[0]
    assert_same_bits(tensors(first), tensors(second))


@few
@given(label_rows, st.sampled_from([-1, 29, 30, 2**31 - 1, 2**31, 2**32, 2**32 + 5, 2**62, -(2**63)]), st.randoms())
def test_label_out_of_range_changes_nothing(labels: list[list[int]], wrong: int, random: Any) -> None:
    row = random.randrange(len(labels))
    labels = [list(ids) for ids in labels]
    labels[row].insert(random.randint(0, len(labels[row])), wrong)
    classifier = build(SMALL)
    before = tensors(classifier)
    with pytest.raises(sx.errors.ArgumentError, match=str(wrong)):
        classifier.train_step(SMALL.features(rows=len(labels)), csr(labels))
    assert_same_bits(tensors(classifier), before)
    assert classifier.step == 0


@few
@given(st.lists(st.integers(-3, 80), min_size=1, max_size=8), st.integers(0, 12))
def test_any_indptr_is_checked(indptr: list[int], count: int) -> None:
    """Whatever row offsets come, the answer is a step or a typed error; memory is never read beyond the indices."""
    rows = len(indptr) - 1
    valid = rows >= 1 and indptr[0] >= 0 and indptr[-1] <= count and indptr == sorted(indptr)
    assume(rows >= 1)
    labels = (np.array(indptr, dtype=np.int64), np.arange(count, dtype=np.int64))
    classifier = build(SMALL)
    if valid:
        classifier.train_step(SMALL.features(rows=rows), labels)
    else:
        with pytest.raises(sx.errors.ArgumentError, match=r"labels|indptr"):
            classifier.train_step(SMALL.features(rows=rows), labels)


@few
@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 19), st.integers(0, 8))
def test_nonfinite_embeddings(value: float, row: int, column: int) -> None:
    x, labels = SMALL.features(), csr(SMALL.labels())
    x[row, column] = value
    classifier = build(SMALL)
    before = tensors(classifier)
    with pytest.raises(sx.errors.ArgumentError, match="embeddings"):
        _ = classifier.train_step(x, labels).loss  # a GPU finds out when it is asked
    out = classifier.train_step(x, labels, on_nonfinite="skip")
    assert out.skipped and classifier.skipped == 1 and classifier.step == 0
    assert_same_bits(tensors(classifier), before)
    assert not classifier.train_step(SMALL.features(), labels).skipped
