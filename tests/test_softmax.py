"""Softmax cross-entropy beyond the case table: ignored instances, extremes, frameworks, its settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse as sp

import reference as ref
import sparsexmc as sx
from cases import BY_NAME, SOFTMAX, Case
from harness import assert_close, assert_same_bits, build, csr, oracle, step, tensors, train

CASE = BY_NAME["softmax_g17_weighted"]


def classes(case: Case) -> npt.NDArray[np.int64]:
    """One label per instance; every third has none."""
    labels = case.rng("classes").integers(0, case.num_labels, case.batch)
    labels[::3] = -100
    return labels


def as_rows(labels: npt.NDArray[np.int64]) -> list[list[int]]:
    return [[label] if label >= 0 else [] for label in labels.tolist()]


@pytest.mark.parametrize("index", [-100, -1])
def test_ignored_instances_are_rows_without_labels(index: int) -> None:
    x, labels = CASE.features(), classes(CASE)
    by_class, plain = build(CASE, loss=sx.Softmax(ignore_index=index)), build(CASE, loss=sx.Softmax())
    expected = plain.train_step(x, csr(as_rows(labels)))
    found = by_class.train_step(x, np.where(labels == -100, index, labels))
    assert found.loss == expected.loss and np.asarray(found.grad).tobytes() == np.asarray(expected.grad).tobytes()
    assert not np.asarray(found.grad)[::3].any()
    assert_same_bits(tensors(by_class), tensors(plain))
    with pytest.raises(sx.ArgumentError, match="-7"):
        by_class.train_step(x, np.full(CASE.batch, -7))
    with pytest.raises(sx.ArgumentError, match="-100"):
        build(CASE, loss="bce").train_step(x, labels)


def test_text_is_the_plain_softmax() -> None:
    batches = list(CASE.steps())
    assert train(build(CASE, loss="softmax"), batches) == train(build(CASE, loss=sx.Softmax()), batches)


@pytest.mark.parametrize("threads", [1, 3, 8])
@pytest.mark.parametrize("name", ["softmax_g1", "softmax_g16_large", "softmax_g32_adam"])
def test_any_number_of_threads_gives_the_same_bits(name: str, threads: int) -> None:
    case = BY_NAME[name]
    one, many = build(case), build(case, num_threads=threads)
    assert train(one, case.steps()) == train(many, case.steps())
    assert_same_bits(tensors(many), tensors(one))


@pytest.mark.parametrize("group_size", [1, 16])
def test_logits_of_ten_thousand(group_size: int) -> None:
    case = Case("extreme", 8, 300, 4, group_size=group_size, batch=40, loss=SOFTMAX, optimizer=ref.Sgd(1e-9))
    bias = case.rng("bias").uniform(-1e4, 1e4, 300).astype(np.float32)
    classifier = build(case, initial_bias=bias)
    expected_loss, expected = oracle(case, classifier).train_step(case.features(), case.labels())
    loss, grad = step(classifier, case.features(), case.labels())
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_close("gradient", grad, expected, case.tolerance)


def test_all_instances_of_one_class() -> None:
    case = dataclasses.replace(BY_NAME["softmax_g16_large"], name="one_class_of_many", optimizer=ref.Sgd(0.5))
    classifier, x = build(case), case.features()
    model = oracle(case, classifier)
    for _ in range(3):
        expected_loss, expected = model.train_step(x, [[7]] * case.batch)
        loss, grad = step(classifier, x, [[7]] * case.batch)
        assert loss == pytest.approx(expected_loss, rel=1e-4, abs=1e-7)
        assert_close("gradient", grad, expected, case.tolerance)


def test_one_class_has_no_loss() -> None:
    case = BY_NAME["softmax_one_class"]
    out = build(case).train_step(case.features(), np.zeros(case.batch, np.int64))
    assert out.loss == 0 and not np.asarray(out.grad).any()


def test_weights_of_instances_weigh() -> None:
    case = BY_NAME["softmax_g32_adam"]
    weights = case.instance_weights()
    classifier = build(case)
    expected_loss, expected = oracle(case, classifier).train_step(case.features(), case.labels(), weights)
    loss, grad = step(classifier, case.features(), case.labels(), weights)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert_close("gradient", grad, expected, case.tolerance)
    assert grad is not None and not grad[weights == 0].any()


def test_evaluation_is_the_step_without_its_update() -> None:
    x, labels = CASE.features(), csr(CASE.labels())
    classifier = build(CASE)
    before, seen = tensors(classifier), classifier.eval_step(x, labels)
    assert_same_bits(tensors(classifier), before)
    out = classifier.train_step(x, labels)
    assert seen.loss == out.loss and np.asarray(seen.grad).tobytes() == np.asarray(out.grad).tobytes()


def test_peak_is_planned() -> None:
    for name in ("softmax_g1", "softmax_g32_adam", "softmax_sparse"):
        case = BY_NAME[name]
        classifier = build(case, rewiring=sx.Rewiring(method="rigl", interval=2, grow_batches=2))
        train(classifier, case.steps())
        assert classifier.memory.peak == classifier.memory.planned
    names = set(classifier.memory.plan)
    assert {"batch.statistics", "batch.normaliser", "rewiring.kept_normalisers"} <= names
    # A million classes, 1,024 instances: nothing of a batch comes near 4 GiB.
    large = sx.plan(64, 1_000_000, fan_in=None, loss="softmax", batch_size=1024, rewiring=None, num_threads=2)
    assert max(large[name] for name in large if not name.startswith(("segments", "optimizer"))) < 2**26


def test_saved_and_trained_on(tmp_path: Path) -> None:
    loss = sx.Softmax(scale=2.0, label_smoothing=0.1, z_loss=1e-3, ignore_index=-9)
    whole, first = build(CASE, loss=loss), build(CASE, loss=loss)
    batches = list(CASE.steps())
    train(whole, batches)
    train(first, batches[:1])
    first.save(tmp_path / "model")
    again = sx.Classifier.load(tmp_path / "model")
    assert again.config["softmax"] == dataclasses.asdict(loss)
    train(again, batches[1:])
    assert_same_bits(tensors(again), tensors(whole))


@pytest.mark.parametrize("loss", ["softmax", {"scale": 2.0, "label_smoothing": 0.1}], ids=str)
def test_model_is_trained_saved_and_trained_again(loss: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    X = sp.random(300, 120, 0.1, "csr", np.float32, numbers)
    Y = sp.csr_matrix((np.ones(300, np.float32), numbers.integers(0, 20, 300), np.arange(301)), (300, 20))
    data, wanted = sx.data.Dataset(X, Y), {"model": {"loss": loss, "hidden": 16}, "training": {"epochs": 2}}
    model = sx.train(data, settings=wanted, output=tmp_path / "model", progress=False)
    assert model.ensemble is None and model.classifier.config["loss"] == "softmax"
    expected = model.topk(X, 3)
    again = sx.train(data, settings=tmp_path / "model" / "run.toml", progress=False)
    further = sx.train(data, init=tmp_path / "model", settings={"training": {"epochs": 1}}, progress=False)
    assert further.classifier.config["softmax"] == model.classifier.config["softmax"]
    for found in (sx.load(tmp_path / "model").topk(X, 3), again.topk(X, 3)):
        assert all((a == b).all() for a, b in zip(found, expected, strict=True))
    with pytest.raises(sx.ArgumentError, match="probability of every label by itself"):
        sx.train(data, settings=wanted | {"linear": {"enabled": True}}, progress=False)
    with pytest.raises(sx.ArgumentError, match="probability of every label by itself"):
        sx.Ensemble(model.classifier, linear=sx.Linear(X, Y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"label_smoothing": 1}, "label_smoothing"),
        ({"z_loss": -1}, "z_loss"),
        ({"ignore_index": 3}, "may be the id of a label"),
        ({"ignore_index": 1.5}, "ignore_index"),
    ],
)
def test_wrong_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.ArgumentError, match=message):
        sx.Softmax(**arguments)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_as_in_pytorch(smoothing: float) -> None:
    torch = pytest.importorskip("torch")
    case = BY_NAME["softmax_dense"]
    classifier = build(case, loss=sx.Softmax(label_smoothing=smoothing))
    state, x, labels = classifier.state_dict(), case.features(), classes(case)
    order = np.argsort(state["label_order"])
    weight = torch.tensor(state["segments.0.weights"][order].astype(np.float64), requires_grad=True)
    bias = torch.tensor(state["segments.0.bias"][order].astype(np.float64), requires_grad=True)
    inputs = torch.tensor(x.astype(np.float64), requires_grad=True)
    logits = torch.nn.functional.linear(inputs, weight, bias)
    total = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(labels), label_smoothing=smoothing, reduction="sum"
    )
    (total / case.batch).backward()
    out = classifier.train_step(x, labels)
    assert out.loss == pytest.approx(total.item() / case.batch, rel=1e-6)
    assert_close("gradient", np.asarray(out.grad), inputs.grad.numpy(), case.tolerance)
    step_taken = (state["segments.0.weights"] - classifier.state_dict()["segments.0.weights"])[order]
    assert_close("weights", step_taken / case.optimizer.lr, weight.grad.numpy(), case.tolerance)


def test_estimator_of_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    from sparsexmc.sklearn import SparseXMCClassifier

    numbers = np.random.default_rng(0)
    y = numbers.integers(0, 5, 200)
    X = np.eye(5, dtype=np.float32)[y] + 0.1 * numbers.standard_normal((200, 5), dtype=np.float32)
    made = SparseXMCClassifier(loss="softmax", hidden=None, fan_in=None, device="cpu")
    assert made.fit(X, y).score(X, y) > 0.98 and not hasattr(made, "predict_proba")
    for name, classes in (("fit", {}), ("partial_fit", {"classes": np.arange(5)})):
        with pytest.raises(sx.ArgumentError, match="y is an indicator matrix"):
            getattr(SparseXMCClassifier(loss="softmax", device="cpu"), name)(X, np.eye(5, dtype=int)[y], **classes)
    with pytest.raises(sx.ArgumentError, match="probability of every label by itself"):
        made.set_params(ensemble=True).fit(X, y)


def test_layer_of_pytorch_ignores_what_cross_entropy_ignores() -> None:
    torch = pytest.importorskip("torch")
    from sparsexmc.torch import OutputLayer

    case = BY_NAME["softmax_dense"]
    arguments = {"fan_in": None, "loss": "softmax", "batch_size": case.batch, "device": "cpu", "seed": 11}
    layer = OutputLayer(case.in_features, case.num_labels, optimizer=sx.SGD(lr=0.02), **arguments)
    plain = sx.Classifier(case.in_features, case.num_labels, optimizer=sx.SGD(lr=0.02), **arguments)
    x, labels = torch.tensor(case.features(), requires_grad=True), classes(case)
    loss = layer(x, torch.from_numpy(labels))
    loss.backward()
    expected = plain.train_step(case.features(), labels)
    assert loss.item() == np.float32(expected.loss)
    np.testing.assert_array_equal(x.grad.numpy(), np.asarray(expected.grad))
    with pytest.raises(sx.ArgumentError, match="-3"):
        layer(x, torch.full((case.batch,), -3))


@pytest.mark.slow
def test_more_logits_than_31_bits() -> None:
    case = Case("huge", 4, 1_100_000, 4, group_size=32, batch=2_000, loss=SOFTMAX, optimizer=ref.Sgd(0.0))
    classifier, x = build(case), case.features()
    labels = case.rng("classes").integers(0, case.num_labels, case.batch)
    out = classifier.train_step(x, labels)
    assert out.loss == pytest.approx(np.log(case.num_labels), rel=0.2)
    state, rows = classifier.state_dict(), slice(0, 3)
    weights = np.zeros((case.num_labels, 4))
    indices = state["segments.0.indices"].astype(np.int64)[np.arange(case.num_labels) // 32]
    np.put_along_axis(weights, indices, state["segments.0.weights"].astype(np.float64), axis=1)
    z = x[rows].astype(np.float64) @ weights.T + state["segments.0.bias"]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(3), labels[rows]] -= 1
    assert_close("gradient", np.asarray(out.grad)[rows], p @ weights / case.batch, case.tolerance)
