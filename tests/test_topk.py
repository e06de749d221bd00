"""Fused top-k against the oracle: values, exact order, ties."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

import reference as ref
import sparsexmc as sx
from cases import BY_NAME, CASES, Case
from harness import assert_close, build, oracle, tensors, train

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def assert_best(case: Case, classifier: sx.Classifier, x, k: int) -> None:
    """Scores and ids are the k best of the oracle, where labels whose logits differ by rounding only may swap."""
    logits = oracle(case, classifier).logits(x)
    scores, ids = map(np.asarray, classifier.topk(x, k=k))
    assert (scores.dtype, ids.dtype) == (np.float32, np.int64)
    assert scores.shape == ids.shape == (logits.shape[0], k)
    expected = np.take_along_axis(logits, ref.best_labels(logits, k), axis=1)
    assert_close("scores by rank", scores, expected, case.tolerance)
    assert_close("scores by id", scores, np.take_along_axis(logits, ids, axis=1), case.tolerance)
    assert all(len(set(row)) == k for row in ids.tolist())
    falling = (scores[:, :-1] > scores[:, 1:]) | ((scores[:, :-1] == scores[:, 1:]) & (ids[:, :-1] < ids[:, 1:]))
    assert falling.all()


@each_case
def test_best_labels_follow_the_oracle(case: Case) -> None:
    classifier = build(case)
    train(classifier, [(case.features(), case.labels())])
    assert_best(case, classifier, case.features(5), min(5, case.num_labels))


def integer_model(name: str, **overrides) -> tuple[Case, sx.Classifier]:
    """Small whole numbers for weights, biases and inputs: every logit is exact, and most are tied."""
    case = dataclasses.replace(BY_NAME[name], **overrides)
    classifier = build(case)
    state, rng = tensors(classifier), case.rng("integers")
    for key in state:
        if key.endswith(("weights", "bias")) and not key.startswith("optimizer"):
            state[key] = rng.integers(-1, 2, state[key].shape).astype(np.float32)
    classifier.load_state_dict({**classifier.state_dict(), **state})
    return case, classifier


def integer_features(case: Case, rows: int) -> npt.NDArray[np.float32]:
    return case.rng("integer features").integers(-2, 3, (rows, case.in_features)).astype(np.float32)


@pytest.mark.parametrize("name", ["dense_odd", "g1_large", "g16_large", "g17_odd", "g32_large", "g64_mostly_padding"])
@pytest.mark.parametrize("k", ["1", "5", "L"])
def test_exact_order_with_ties(name: str, k: str) -> None:
    case, classifier = integer_model(name)
    x = integer_features(case, 40)
    count = case.num_labels if k == "L" else int(k)
    logits = oracle(case, classifier).logits(x)
    expected = ref.best_labels(logits, count)
    scores, ids = classifier.topk(x, k=count)
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(scores, np.take_along_axis(logits, expected, axis=1))


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("k", [1, 99, 100, 101, 250, 1003])
def test_two_segments_and_large_k(k: int, threads: int) -> None:
    """k on both sides of the hundred that the plan reserves by default."""
    case, classifier = integer_model("two_segments_large")
    classifier = rebuilt(classifier, case, num_threads=threads)
    x = integer_features(case, 7)
    _, ids = classifier.topk(x, k=k)
    np.testing.assert_array_equal(ids, ref.best_labels(oracle(case, classifier).logits(x), k))


def rebuilt(classifier: sx.Classifier, case: Case, **overrides) -> sx.Classifier:
    other = build(case, **overrides)
    other.load_state_dict(classifier.state_dict())
    return other


def test_all_scores_equal() -> None:
    case = BY_NAME["two_segments_large"]
    classifier = build(case)
    state = classifier.state_dict()
    classifier.load_state_dict({key: np.zeros_like(v) if key.endswith("weights") else v for key, v in state.items()})
    scores, ids = classifier.topk(case.features(), k=20)
    assert (np.asarray(ids) == np.arange(20)).all() and not np.any(scores)


@pytest.mark.parametrize("name", ["g16_large", "hidden_dropout", "sparse_dropout"])
def test_many_more_rows_than_a_batch(name: str) -> None:
    """Rows are independent: cut anywhere, the result is the same bit for bit."""
    case = BY_NAME[name]
    classifier = build(case)
    x = case.features(rows=2 * case.batch + 7)
    assert_best(case, classifier, x, 5)
    scores, ids = map(np.asarray, classifier.topk(x, k=5))
    for start, stop in ((0, 1), (1, 78), (2 * case.batch, 2 * case.batch + 7)):
        part_scores, part_ids = classifier.topk(x[start:stop], k=5)
        np.testing.assert_array_equal(part_scores, scores[start:stop])
        np.testing.assert_array_equal(part_ids, ids[start:stop])


def test_prediction_changes_nothing() -> None:
    case = BY_NAME["hidden_dropout"]
    quiet, asked = build(case), build(case)
    asked.topk(case.features(3), k=5)
    assert train(quiet, case.steps()) == train(asked, case.steps())


@pytest.mark.parametrize("k", [0, -1, 101])
def test_k_out_of_range(k: int) -> None:
    case = BY_NAME["g17_odd"]
    classifier = build(case)
    with pytest.raises(ValueError, match=r"\bk\b"):
        classifier.topk(case.features(), k=k)
