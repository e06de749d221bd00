"""Data about the labels of a classifier: frequencies, starting biases, weights of positives and at prediction."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import reference as ref
import sparsexmc as sx
from cases import BY_NAME, Case
from harness import assert_same_bits, build, oracle, plan_of, tensors, train

INSTANCES = 1000
PERMUTED = BY_NAME["two_segments_hinge"]
CASES = [BY_NAME[name] for name in ("g17_odd", "dense_odd", "two_segments_hinge", "g1_single_feature")]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def counts_of(case: Case) -> npt.NDArray[np.int64]:
    """A long tail, from labels on every instance to labels on none."""
    counts = np.minimum(INSTANCES, INSTANCES // np.arange(1, case.num_labels + 1) ** 2)
    return case.rng("counts").permutation(counts)


def with_counts(case: Case, **options: Any) -> sx.Classifier:
    return build(case, label_counts=counts_of(case), num_instances=INSTANCES, **options)


def by_label(classifier: sx.Classifier, what: str) -> npt.NDArray[np.float32]:
    """A vector of the segments by user label id."""
    state = classifier.state_dict()
    rows = [state[f"segments.{i}.{what}"] for i in range(2) if f"segments.{i}.{what}" in state]
    numbers = np.empty(classifier.num_labels, np.float32)
    numbers[state["label_order"]] = np.concatenate(rows)
    return numbers


# ---- starting biases ----


@each_case
def test_bias_of_frequency_is_the_best_constant(case: Case) -> None:
    biases = by_label(with_counts(case, initial_bias="frequency"), "bias")
    expected = ref.best_constant_logit(case.loss, counts_of(case), INSTANCES)
    np.testing.assert_allclose(biases, expected, rtol=1e-6, atol=1e-7)
    assert np.isfinite(biases).all() and np.abs(biases).max() <= np.log(2 * INSTANCES + 1)


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
def test_no_other_constant_has_less_loss(loss: str) -> None:
    """Neither for a label on every instance nor for one on none, with or without weights of positives."""
    counts, weights = np.array([0, 1, 500, 1000]), np.array([1.0, 7.0, 0.5, 3.0])
    best = ref.best_constant_logit(loss, counts, INSTANCES, weights)
    p = (counts + 0.5) / (INSTANCES + 1)

    def mean_loss(z: npt.NDArray) -> npt.NDArray:
        positive = ref.label_loss(loss, z, np.ones(4, bool), weights)[0]
        return p * positive + (1 - p) * ref.label_loss(loss, z, np.zeros(4, bool))[0]

    for shift in (-0.01, 0.01):
        assert (mean_loss(best) < mean_loss(best + shift)).all()


def test_bias_of_frequency_knows_the_weights_of_positives() -> None:
    case, weights = PERMUTED, np.linspace(0.5, 4, PERMUTED.num_labels)
    biases = by_label(with_counts(case, initial_bias="frequency", positive_weights=weights), "bias")
    expected = ref.best_constant_logit(case.loss, counts_of(case), INSTANCES, weights.astype(np.float32))
    np.testing.assert_allclose(biases, expected, rtol=1e-6, atol=1e-7)


@each_case
def test_bias_from_an_array(case: Case) -> None:
    given = case.rng("bias").standard_normal(case.num_labels)
    np.testing.assert_array_equal(by_label(build(case, initial_bias=given), "bias"), given.astype(np.float32))
    np.testing.assert_array_equal(by_label(build(case, initial_bias=-2), "bias"), np.float32(-2))


# ---- weights of positives ----


def test_weights_from_propensities() -> None:
    case = PERMUTED
    weights = by_label(with_counts(case, positive_weights="propensity"), "positive_weights")
    np.testing.assert_allclose(weights, ref.propensity_weights(counts_of(case), INSTANCES), rtol=1e-6)
    inverse = sx.metrics.inverse_propensities(counts_of(case), INSTANCES, A=0.6, B=2.6)
    amazon = by_label(with_counts(case, positive_weights=sx.Propensity(A=0.6, B=2.6)), "positive_weights")
    np.testing.assert_allclose(amazon, 2 * inverse - 1, rtol=1e-6)


@pytest.mark.parametrize("name", ["g16_large", "g1_large", "two_segments_hinge"])
def test_weights_of_one_change_no_bit(name: str) -> None:
    case = BY_NAME[name]
    plain, weighted = build(case), build(case, positive_weights=np.ones(case.num_labels))
    assert train(weighted, case.steps()) == train(plain, case.steps())
    state = {key: value for key, value in tensors(weighted).items() if not key.endswith("positive_weights")}
    assert_same_bits(state, tensors(plain))


def test_weights_go_with_their_labels_into_other_groups() -> None:
    case = BY_NAME["weighted_g17"]
    classifier = build(case)
    classifier.regroup()
    np.testing.assert_array_equal(by_label(classifier, "positive_weights"), case.positive_weights())


# ---- weights at prediction ----


@each_case
def test_topk_with_label_weights_follows_the_oracle(case: Case) -> None:
    classifier, x = build(case), case.features(3)
    train(classifier, case.steps())
    weights = np.exp(3 * case.rng("weights").standard_normal(case.num_labels))
    k = min(5, case.num_labels)
    before = [array.tobytes() for array in classifier.topk(x, k)]
    scores, ids = classifier.topk(x, k, label_weights=weights)
    expected = oracle(case, classifier).logits(x) + np.log(weights)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, ids, 1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :k], rtol=1e-4, atol=1e-4)
    assert [array.tobytes() for array in classifier.topk(x, k)] == before
    assert classifier.memory.peak == classifier.memory.planned


def test_label_weights_between_steps_change_no_bit() -> None:
    case = PERMUTED
    plain, weighed = build(case), build(case)
    for batch in case.steps():
        weighed.topk(case.features(7), 3, label_weights=np.full(case.num_labels, 2.0))
        assert train(weighed, [batch]) == train(plain, [batch])
    assert_same_bits(tensors(weighed), tensors(plain))


def test_room_for_weighted_biases_is_planned() -> None:
    """With few features and instances, the biases take more than the gradients, whose memory they use."""
    case = dataclasses.replace(BY_NAME["g1_single_instance"], num_labels=20_000, optimizer=ref.Sgd(0.1))
    classifier = build(case)
    classifier.topk(case.features(), 3, label_weights=np.ones(case.num_labels))
    assert classifier.memory.peak == classifier.memory.planned == plan_of(case).total


# ---- persistence ----


def test_counts_are_kept(tmp_path: Path) -> None:
    case = PERMUTED
    classifier = with_counts(case, initial_bias="frequency", positive_weights="propensity")
    train(classifier, case.steps())
    classifier.save(tmp_path / "model")
    loaded = sx.load(tmp_path / "model")
    assert loaded.num_instances == INSTANCES and loaded.label_counts is not None
    np.testing.assert_array_equal(loaded.label_counts, counts_of(case))
    assert (loaded.config["initial_bias"], loaded.config["positive_weights"]) == ("frequency", "propensity")
    assert_same_bits(tensors(loaded), tensors(classifier))
    assert train(loaded, case.steps()) == train(classifier, case.steps())
    assert build(case, label_counts=counts_of(case)).label_counts is None
    assert build(case).num_instances is None


def test_a_checkpoint_from_before_these_options_loads(tmp_path: Path) -> None:
    case = BY_NAME["g17_odd"]
    classifier = build(case, initial_bias=-1.5)
    classifier.save(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    manifest = json.loads(path.read_text())
    for key in ("num_instances", "positive_weights", "propensity", "auxiliary"):
        del manifest["config"][key]
    del manifest["sha256"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(manifest | {"sha256": hashlib.sha256(text.encode()).hexdigest()}))
    assert_same_bits(tensors(sx.load(tmp_path / "model")), tensors(classifier))


# ---- mistakes ----

FREQUENCIES = {"label_counts": np.arange(100), "num_instances": 100}
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"initial_bias": "frequency"}, "num_instances"),
    ({"initial_bias": "often"}, "initial_bias='often'"),
    ({"initial_bias": np.zeros(99)}, "initial_bias"),
    ({"initial_bias": np.full(100, np.inf)}, "initial_bias"),
    ({"initial_bias": np.array(["a"] * 100)}, "initial_bias"),
    ({"num_instances": 100}, "label_counts"),
    ({"num_instances": 0, "label_counts": np.arange(100)}, "num_instances"),
    ({"num_instances": 98, "label_counts": np.arange(100)}, "label_counts: 99 for label 99"),
    ({"label_counts": -np.arange(100)}, "label_counts: -1 for label 1"),
    ({"positive_weights": "propensity"}, "num_instances"),
    ({"positive_weights": sx.Propensity(), "num_instances": 2, "label_counts": np.ones(100, int)}, "num_instances"),
    ({"positive_weights": "inverse"}, "positive_weights='inverse'"),
    ({"positive_weights": np.zeros(100)}, "positive_weights: 0"),
    ({"positive_weights": np.ones((100, 1))}, "positive_weights"),
    ({"positive_weights": 2.0}, "positive_weights"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.errors.Error, match=message):
        build(BY_NAME["g17_odd"], **options)


@pytest.mark.parametrize("weights", [np.ones(99), np.zeros(100), -np.ones(100), np.full(100, np.nan), ["a"] * 100])
def test_wrong_label_weights(weights: Any) -> None:
    case = BY_NAME["g17_odd"]
    with pytest.raises(sx.errors.Error, match="label_weights"):
        build(case).topk(case.features(), 3, label_weights=weights)


def test_wrong_propensity() -> None:
    for options in ({"A": -1.0}, {"B": 0.0}, {"B": np.nan}):
        with pytest.raises(sx.errors.ArgumentError, match="propensity"):
            sx.Propensity(**options)


@pytest.mark.parametrize(("name", "value"), [("label_counts", 1001)])
def test_tables_in_a_state_dict_are_checked(name: str, value: int) -> None:
    classifier = with_counts(BY_NAME["g17_odd"])
    state = classifier.state_dict()
    before = tensors(classifier)
    state[name][5] = value
    with pytest.raises(sx.errors.ArgumentError, match=f"{name}: {value} for label 5"):
        classifier.load_state_dict(state)
    assert_same_bits(tensors(classifier), before)
