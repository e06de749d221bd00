"""The fused training step against the oracle, over the whole case table."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import reference as ref
import sparsexmc as sx
from cases import ADAM, BY_NAME, CASES, Case
from harness import (
    assert_close,
    assert_follows,
    assert_follows_in_bfloat16,
    assert_same_bits,
    build,
    csr,
    oracle,
    step,
    tensors,
)

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@each_case
def test_steps_follow_the_oracle(case: Case) -> None:
    classifier = build(case)
    assert_follows(case, classifier, oracle(case, classifier), case.steps())


@each_case
def test_steps_in_bfloat16(case: Case) -> None:
    exact, rounded = build(case), build(case, compute_dtype="bfloat16")
    assert_follows_in_bfloat16(case, rounded, exact, case.steps())


@each_case
def test_initial_state(case: Case) -> None:
    """Shapes, dtypes, names; indices unique and ascending; optimizer state and biases zero."""
    classifier = build(case)
    state = tensors(classifier)
    tail = case.num_labels if case.fan_in else 0
    rows = {"dense": case.num_labels - tail, "fan_in": tail}
    if case.fan_in:
        rows = {"dense": case.dense_labels, "fan_in": case.num_labels - case.dense_labels}
    shapes: dict[str, tuple[int, ...]] = {"label_order": (case.num_labels,)}
    segments = [kind for kind, count in rows.items() if count]
    for i, kind in enumerate(segments):
        fan_in = case.layer_features if kind == "dense" else case.fan_in or 0
        shapes |= {f"segments.{i}.weights": (rows[kind], fan_in), f"segments.{i}.bias": (rows[kind],)}
        if kind == "fan_in":
            shapes[f"segments.{i}.indices"] = (-(-rows[kind] // case.group_size), fan_in)
    if case.hidden:
        shapes |= {"hidden.weight": (case.in_features, case.hidden), "hidden.bias": (case.hidden,)}
    if case.clusters:
        shapes |= {"auxiliary.weights": (case.clusters, case.layer_features), "auxiliary.bias": (case.clusters,)}
    for name, shape in list(shapes.items()):
        if name.endswith(("weights", "weight", "bias")):
            shapes |= {f"optimizer.{name}.{slot}": shape for slot in case.optimizer.slots}
    if case.clusters:
        shapes["auxiliary.clusters"] = (case.num_labels,)
    if case.weighted:
        shapes |= {f"segments.{i}.positive_weights": (rows[kind],) for i, kind in enumerate(segments)}
    assert {name: value.shape for name, value in state.items()} == shapes
    for name, value in state.items():
        if name.endswith(".indices"):
            assert value.dtype == (np.uint16 if case.layer_features <= 65536 else np.uint32)
            assert (np.diff(value.astype(np.int64), axis=1) > 0).all() and value.max() < case.layer_features
        elif name.endswith(".positive_weights"):
            ids = state["label_order"][oracle(case, classifier).rows(int(name[len("segments.")]))]
            np.testing.assert_array_equal(value, case.positive_weights()[ids])
        elif name == "auxiliary.clusters":
            np.testing.assert_array_equal(value, case.label_clusters())
        elif name == "label_order":
            assert value.dtype.kind in "iu" and np.array_equal(np.sort(value), np.arange(case.num_labels))
        else:
            assert value.dtype == np.float32
            assert np.any(value) == name.endswith((".weights", ".weight"))
    assert classifier.state_dict()["step"] == 0


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("settings", [ref.Sgd(0.02, momentum=0.9), ADAM], ids=["sgd", "adam"])
def test_schedules(kind: str, settings: ref.Sgd | ref.Adam) -> None:
    case = dataclasses.replace(BY_NAME["two_segments_adam"], name="schedules", batch=3, optimizer=settings)
    shape = {"kind": kind, "warmup_steps": 3}
    shape |= {} if kind == "constant" else {"total_steps": 7, "final_share": 0.1}
    classifier = build(case, schedule=sx.Schedule(**shape))
    model = oracle(case, classifier, schedule=ref.Schedule(**shape))
    assert_follows(case, classifier, model, [(case.features(i), case.labels(i)) for i in range(9)])


def test_learning_rate_changes_between_steps() -> None:
    case = BY_NAME["two_segments_small"]
    classifier = build(case)
    model = oracle(case, classifier)
    for number, lr in enumerate((0.02, 0.5, 0.0)):
        classifier.lr = lr
        assert classifier.lr == lr
        model.optimizer = dataclasses.replace(model.optimizer, lr=lr)
        assert_follows(case, classifier, model, [(case.features(number), case.labels(number))])


def test_adam_with_default_eps() -> None:
    """With eps 1e-8 the first step of Adam is lr * sign(gradient), for any scale of the gradient."""
    case = dataclasses.replace(BY_NAME["g16_all_features"], name="adam_default", optimizer=ref.Adam(lr=0.01))
    classifier = build(case)
    before = tensors(classifier)
    _, grads = oracle(case, classifier).gradients(case.features(), case.labels())
    step(classifier, case.features(), case.labels())
    change = tensors(classifier)["segments.0.weights"].astype(np.float64) - before["segments.0.weights"]
    gradient = grads["segments.0.weights"]
    clear = np.abs(gradient) > 1e-5 * np.abs(gradient).max()  # the rest may be all rounding
    assert clear.mean() > 0.999
    np.testing.assert_allclose(change[clear], -0.01 * np.sign(gradient[clear]), atol=2e-5)


@pytest.mark.parametrize("name", ["two_segments_hinge", "g16_large", "hidden_dropout"])
def test_smaller_batch_is_as_if_built_for_it(name: str) -> None:
    """Memory that the plan reserves beyond the batch has no influence, bit for bit."""
    case = BY_NAME[name]
    roomy, tight = build(case), build(case, batch_size=5)
    for number in range(2):
        x, labels = case.features(number, 5), case.labels(number, 5)
        assert step(roomy, x, labels)[0] == step(tight, x, labels)[0]
    assert_same_bits(tensors(roomy), tensors(tight))


def test_forms_of_labels_agree() -> None:
    """scipy CSR, (indptr, indices) of either width, and one label per instance."""
    case = BY_NAME["two_segments_large"]
    labels = [[int(label)] for label in case.rng("one").integers(0, case.num_labels, case.batch)]
    flat = np.array(labels)[:, 0]
    indptr, indices = csr(labels)
    matrix = sp.csr_matrix((np.ones(len(flat), np.float32), indices, indptr), shape=(case.batch, case.num_labels))
    forms: list[Any] = [(indptr, indices), (indptr.astype(np.int32), indices.astype(np.int32))]
    forms += [matrix, sp.csr_array(matrix), flat, flat.astype(np.int32)]
    states = []
    for form in forms:
        classifier = build(case)
        classifier.train_step(case.features(), form)
        states.append(tensors(classifier))
    for state in states[1:]:
        assert_same_bits(state, states[0])


def test_half_precision_embeddings() -> None:
    """float16 in, float16 gradient out; the step itself sees the exact values."""
    case = BY_NAME["two_segments_large"]
    half = case.features().astype(np.float16)
    classifier, wide = build(case), build(case)
    out = classifier.train_step(half, csr(case.labels()))
    _, grad = step(wide, half.astype(np.float32), case.labels())
    given = np.from_dlpack(out.grad)
    assert grad is not None and given.dtype == np.float16
    np.testing.assert_array_equal(given, grad.astype(np.float16))
    assert_same_bits(tensors(classifier), tensors(wide))


def test_saturated_logits() -> None:
    """Logits of +-1e4 give a finite, exact loss and gradient."""
    for loss in ("bce", "squared_hinge"):
        case = dataclasses.replace(BY_NAME["g16_single_feature"], name="saturated", loss=loss, optimizer=ref.Sgd(1e-9))
        classifier = build(case)
        x, labels = case.features() * 1e4, case.labels()
        expected, expected_grad = oracle(case, classifier).train_step(x, labels)
        value, grad = step(classifier, x, labels)
        assert value == pytest.approx(expected, rel=1e-5)
        assert grad is not None
        assert_close("gradient", grad, expected_grad, case.tolerance)
