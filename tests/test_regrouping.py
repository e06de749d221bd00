"""Other groups of labels in the middle of training, against the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference_rewiring as rw
import sparsexmc as sx
from cases import BY_NAME, Case
from harness import build, csr, tensors

CASES = ["g1_adam", "g16_large", "g17_odd", "g64_mostly_padding", "wide_g16", "two_segments_large", "hidden_dropout"]


def trained(case: Case, steps: int = 2, **options: Any) -> sx.Classifier:
    classifier = build(case, **options)
    for number in range(steps):
        classifier.train_step(case.features(number), csr(case.labels(number)))
    return classifier


def shuffled(classifier: sx.Classifier, first: int) -> npt.NDArray[np.int64]:
    """The order of the classifier with the labels after the dense ones at random."""
    order = classifier.state_dict()["label_order"]
    np.random.default_rng(5).shuffle(order[first:])
    return order


@pytest.mark.parametrize("name", CASES)
def test_regrouping_follows_the_oracle(name: str) -> None:
    """Features by the sum of |w|; weights and state travel with them, biases with the label; nothing else changes."""
    case = BY_NAME[name]
    classifier = trained(case)
    segment, size = f"segments.{int(case.dense_labels > 0)}", case.group_size
    before, order = tensors(classifier), shuffled(classifier, case.dense_labels)
    rows = np.empty(case.num_labels, np.int64)
    rows[before["label_order"]] = np.arange(case.num_labels)
    source = rows[order[case.dense_labels :]] - case.dense_labels
    indices = before[f"{segment}.indices"].astype(np.int64)
    classifier.regroup(order)
    after = tensors(classifier)

    new = rw.regrouped_features(before[f"{segment}.weights"].astype(np.float64), indices, source, size)
    np.testing.assert_array_equal(after[f"{segment}.indices"], new)
    for key, value in before.items():
        if f"{segment}.weights" in key:
            expected = rw.moved_rows(value, indices, source, new, size)
        elif f"{segment}.bias" in key:
            expected = value[source]
        elif key == "label_order":
            expected = order
        elif key == f"{segment}.indices":
            continue
        else:
            expected = value
        assert after[key].tobytes() == expected.tobytes(), key


def test_the_same_order_changes_nothing() -> None:
    classifier = trained(BY_NAME["two_segments_large"])
    before = tensors(classifier)
    classifier.regroup(before["label_order"])
    for key, value in tensors(classifier).items():
        assert value.tobytes() == before[key].tobytes(), key


@pytest.mark.parametrize("threads", [1, 3])
def test_labels_with_equal_weights_share_a_group(threads: int) -> None:
    """Labels that use the same of four blocks of features, in random groups at first, find each other."""
    rng = np.random.default_rng(0)
    classifier = sx.Classifier(64, 64, fan_in=16, group_size=16, dense_labels=0, device="cpu", num_threads=threads)
    state = classifier.state_dict()
    state["segments.0.indices"] = np.tile(np.arange(0, 64, 4, dtype=np.uint16), (4, 1))
    block = np.repeat(np.arange(4), 16)
    rng.shuffle(block)
    state["segments.0.weights"] = np.where(np.arange(16) // 4 == block[:, None], 1.0, 0.01).astype(np.float32)
    state["label_order"] = rng.permutation(64)
    classifier.load_state_dict(state)
    classifier.regroup()
    order = classifier.state_dict()["label_order"]
    block_of_label = np.empty(64, np.int64)
    block_of_label[state["label_order"]] = block
    assert (np.ptp(block_of_label[order].reshape(4, 16), axis=1) == 0).all()


def test_prediction_keeps_the_users_ids() -> None:
    """With fan-in per label a regrouping is a renumbering of rows: it changes no score."""
    case = BY_NAME["g1_adam"]
    classifier = trained(case)
    scores, ids = classifier.topk(case.features(9), 5)
    classifier.regroup(shuffled(classifier, 0))
    again = classifier.topk(case.features(9), 5)
    np.testing.assert_array_equal(ids, again[1])
    np.testing.assert_array_equal(scores, again[0])


def test_resumes_bitwise_also_between_the_batches_that_rigl_keeps(tmp_path: Path) -> None:
    case = BY_NAME["two_segments_hinge"]
    rewiring = sx.Rewiring(method="rigl", fraction=0.3, interval=4, grow_batches=3)
    classifier = trained(case, 2, rewiring=rewiring)
    classifier.regroup(seed=3)
    classifier.save(tmp_path / "model")
    resumed = sx.load(tmp_path / "model")
    for number in range(2, 6):
        for each in (classifier, resumed):
            each.train_step(case.features(number), csr(case.labels(number)))
    assert len(resumed.rewirings) == 1
    for key, value in tensors(resumed).items():
        assert value.tobytes() == tensors(classifier)[key].tobytes(), key


def test_callback_of_fit() -> None:
    case = BY_NAME["g16_large"]
    orders = [
        _fitted(case, [sx.Regrouping(step=step)] if step else []).state_dict()["label_order"] for step in (0, 3, 3, 99)
    ]
    assert not np.array_equal(orders[0], orders[1])
    np.testing.assert_array_equal(orders[1], orders[2])
    np.testing.assert_array_equal(orders[0], orders[3])
    with pytest.raises(sx.ArgumentError, match=r"regrouping\.step=0"):
        sx.Regrouping(step=0)


def _fitted(case: Case, callbacks: list[sx.Regrouping]) -> sx.Classifier:
    classifier = build(case)
    x, labels = case.features(0), csr(case.labels(0))
    classifier.fit(x, labels, 2, batch_size=-(-len(x) // 2), validation=None, callbacks=callbacks, progress=False)
    return classifier


def test_wrong_orders_change_nothing() -> None:
    case = BY_NAME["two_segments_large"]
    classifier = trained(case)
    before = tensors(classifier)
    order = before["label_order"]
    for wrong, message in (
        (order[:-1], "label_order has"),
        (np.zeros_like(order), "occurs twice"),
        (order[::-1].copy(), "begin with the dense labels"),
    ):
        with pytest.raises(sx.ArgumentError, match=message):
            classifier.regroup(wrong)
    dense = build(BY_NAME["dense_odd"])
    with pytest.raises(sx.ArgumentError, match="every label of this classifier is dense"):
        dense.regroup()
    for key, value in tensors(classifier).items():
        assert value.tobytes() == before[key].tobytes(), key
