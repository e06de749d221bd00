"""The hidden layer: dropout, dense and sparse input, rows at rest. Its steps against the oracle are in test_step.py."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

import reference as ref
import sparsexmc as sx
from cases import ADAM_DECAY, BY_NAME, MOMENTUM_DECAY, Case
from harness import assert_close, assert_follows, assert_same_bits, build, csr, oracle, step, tensors, train


def visible_mask(dropout: float, rows: int, units: int) -> npt.NDArray[np.float64]:
    """The dropout mask of the first step, seen from outside: [rows, units] of 0 and 1 / (1 - dropout).

    Every unit is 1 before dropout and every logit is 0. Making label i positive in row i alone then changes the
    gradient of the label's weights by -1 / rows times what dropout left of that row.
    """
    case = Case("mask", 1, rows, None, batch=rows, hidden=units, dropout=dropout, optimizer=ref.Sgd(1.0))
    weights = []
    for labels in ([[row] for row in range(rows)], [[] for _ in range(rows)]):
        classifier = build(case)
        state = classifier.state_dict()
        for name in ("hidden.weight", "segments.0.weights"):
            state[name][...] = 0.0
        state["hidden.bias"][...] = 1.0
        classifier.load_state_dict(state)
        step(classifier, np.ones((rows, 1), np.float32), labels)
        weights.append(tensors(classifier)["segments.0.weights"].astype(np.float64))
    return rows * (weights[0] - weights[1])


def test_dropout_mask_is_the_documented_stream() -> None:
    np.testing.assert_allclose(visible_mask(0.4, 5, 37), ref.dropout_mask(11, 0, 5, 37, 0.4), atol=1e-6)


def test_no_dropout_at_prediction() -> None:
    case = BY_NAME["hidden_dropout"]
    classifier = build(case)
    scores, ids = classifier.topk(case.features(), k=5)
    expected = np.take_along_axis(oracle(case, classifier).logits(case.features()), ids, axis=1)
    assert_close("scores", scores, expected, case.tolerance)


@pytest.mark.parametrize("name", ["hidden_small", "hidden_dropout", "sparse_adam", "sparse_dropout"])
@pytest.mark.parametrize("rows", [0, 1, 7, None])
def test_activations_are_those_of_prediction(name: str, rows: int | None) -> None:
    """More rows than a batch, one, or none; without dropout."""
    case = BY_NAME[name]
    classifier = build(case)
    train(classifier, case.steps())
    x = case.features()[:rows]
    x = x if rows is not None else (sp.vstack if sp.issparse(x) else np.vstack)([x, x[::-1], x])
    x = sp.csr_matrix(x) if sp.issparse(x) else x
    activations = classifier.hidden_activations(x)
    assert activations.shape == (x.shape[0], case.hidden) and activations.dtype == np.float32
    assert_close("activations", activations, oracle(case, classifier).hidden(x, training=False)[0], case.tolerance)


def test_activations_need_a_hidden_layer() -> None:
    case = BY_NAME["g16_all_features"]
    with pytest.raises(sx.ArgumentError, match="no hidden layer"):
        build(case).hidden_activations(case.features())


@pytest.mark.parametrize("name", ["hidden_small", "sparse_adam"])
def test_activations_of_bad_input(name: str) -> None:
    case = BY_NAME[name]
    classifier, x = build(case), case.features().copy()
    with pytest.raises(sx.ArgumentError, match="embeddings"):
        classifier.hidden_activations(x[:, :-1])
    (x.data if sp.issparse(x) else x)[..., 0] = np.nan
    with pytest.raises(sx.ArgumentError, match="NaN"):
        classifier.hidden_activations(x)


@pytest.mark.parametrize("name", ["hidden_small", "hidden_dropout", "sparse_adam"])
def test_input_scale_is_that_of_the_features(name: str) -> None:
    """A power of two changes no bit of a product: scale 4 on x is scale 1 on 4 x, and the gradient 4 times as large."""
    case = BY_NAME[name]
    plain, scaled = build(case), build(case, hidden=sx.Hidden(case.hidden, dropout=case.dropout, input_scale=4.0))
    for x, labels in case.steps():
        loss, grad = step(plain, x * np.float32(4), labels)
        scaled_loss, scaled_grad = step(scaled, x, labels)
        assert scaled_loss == loss
        if not sp.issparse(x):
            np.testing.assert_array_equal(scaled_grad, 4 * grad)
    assert_same_bits(tensors(scaled), tensors(plain))
    k = min(5, case.num_labels)
    np.testing.assert_array_equal(scaled.topk(x, k)[0], plain.topk(x * np.float32(4), k)[0])


@pytest.mark.parametrize("name", ["hidden_small", "sparse_adam"])
def test_initial_scale_is_that_of_the_hidden_weights(name: str) -> None:
    case = BY_NAME[name]
    plain, small = build(case), build(case, hidden=sx.Hidden(case.hidden, dropout=case.dropout, initial_scale=0.125))
    expected = tensors(plain)
    expected["hidden.weight"] = expected["hidden.weight"] * np.float32(0.125)
    assert_same_bits(tensors(small), expected)


def test_hidden_as_a_number_of_units() -> None:
    case = BY_NAME["hidden_all_dense"]
    whole, short = build(case), build(case, hidden=case.hidden)
    assert train(whole, case.steps()) == train(short, case.steps())
    assert_same_bits(tensors(short), tensors(whole))


def test_dropped_units_of_every_step_differ() -> None:
    """Over several steps with the same batch the oracle's stream is followed, so the step is part of the key."""
    case = dataclasses.replace(BY_NAME["hidden_dropout"], name="repeated")
    classifier = build(case)
    assert_follows(case, classifier, oracle(case, classifier), [(case.features(), case.labels())] * 3)


def test_sparse_and_dense_input_agree() -> None:
    """The same rows as CSR and as embeddings: plain SGD without decay has no state that could rest."""
    case = dataclasses.replace(BY_NAME["sparse_small"], name="both", optimizer=ref.Sgd(0.05), batch=17)
    sparse, dense = build(case), build(case, sparse_input=False)
    start = tensors(sparse)
    dense.load_state_dict(sparse.state_dict())
    for x, labels in case.steps():
        assert step(sparse, x, labels)[0] == pytest.approx(step(dense, x.toarray(), labels)[0], rel=1e-6)
    for name, value in tensors(dense).items():
        if value.dtype == np.float32:
            assert_close(name, tensors(sparse)[name], value.astype(np.float64), case.tolerance, start[name])


@pytest.mark.parametrize("optimizer", [MOMENTUM_DECAY, ADAM_DECAY], ids=["sgd", "adam"])
def test_untouched_rows_rest(optimizer: ref.Sgd | ref.Adam) -> None:
    """Weight, momentum, moments and decay of features that a batch does not hold stay as they are, bit for bit."""
    case = dataclasses.replace(BY_NAME["sparse_adam"], name="rest", optimizer=optimizer)
    classifier = build(case)
    train(classifier, case.steps())
    before = tensors(classifier)
    x = case.features(7)
    train(classifier, [(x, case.labels(7))])
    after = tensors(classifier)
    touched = np.zeros(case.in_features, dtype=bool)
    touched[x.indices] = True
    for name in ("hidden.weight", *(f"optimizer.hidden.weight.{slot}" for slot in optimizer.slots)):
        np.testing.assert_array_equal(after[name][~touched], before[name][~touched], err_msg=name)
        assert (after[name][touched] != before[name][touched]).any(axis=1).all(), name


def test_repeated_columns_add_up() -> None:
    case = dataclasses.replace(BY_NAME["sparse_small"], name="repeated columns")
    repeated = sp.csr_matrix(
        (np.array([0.5, 1.0, 0.25, 2.0], np.float32), np.array([4, 2, 4, 0]), np.array([0, 3, 3, 4])), shape=(3, 50)
    )
    summed = repeated.copy()
    summed.sum_duplicates()
    first, second = build(case), build(case)
    labels = case.labels()
    assert step(first, repeated, labels)[0] == step(second, summed, labels)[0]
    state = tensors(second)
    for name, value in tensors(first).items():
        np.testing.assert_allclose(value, state[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_batch_without_any_feature() -> None:
    case = BY_NAME["sparse_small"]
    classifier = build(case)
    empty = sp.csr_matrix((3, case.in_features), dtype=np.float32)
    before = tensors(classifier)
    assert_follows(case, classifier, oracle(case, classifier), [(empty, case.labels())])
    np.testing.assert_array_equal(tensors(classifier)["hidden.weight"], before["hidden.weight"])


def test_more_nonzeros_than_reserved() -> None:
    """The reserve grows and is counted; under a limit that forbids it the step is refused before anything changes."""
    case = dataclasses.replace(BY_NAME["sparse_adam"], name="crowded", nonzeros=400, batch=8)
    classifier = build(case, features_per_instance=2)
    planned = classifier.memory.planned
    assert_follows(case, classifier, oracle(case, classifier), case.steps())
    assert classifier.memory.peak > planned
    limited = build(case, features_per_instance=2, memory_limit=planned)
    before = tensors(limited)
    with pytest.raises(sx.errors.MemoryPlanError):
        step(limited, case.features(), case.labels())
    assert_same_bits(tensors(limited), before)
    few = case.features()[:1, :]
    few.data, few.indices, few.indptr = few.data[:2], few.indices[:2], np.array([0, 2])
    assert_follows(case, limited, oracle(case, limited), [(few, [[3]])])


def test_sparse_features_have_no_gradient() -> None:
    case = BY_NAME["sparse_small"]
    assert build(case).train_step(case.features(), csr(case.labels())).grad is None
