"""The meta-classifier: its clusters, its weight over the steps, what it costs and what it leaves alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsexmc as sx
from cases import AUXILIARY, BY_NAME, ROUNDING
from harness import assert_close, assert_same_bits, build, csr, oracle, tensors, train

CASE = BY_NAME["auxiliary_g3"]


def without(case: Any) -> Any:
    return dataclasses.replace(case, clusters=None)


def test_losses_are_reported_apart() -> None:
    """The main loss is what it is without; the other is a mean over instances of a sum over clusters, unweighted."""
    classifier = build(CASE)
    model = oracle(CASE, classifier)
    for x, labels in CASE.steps():
        main, _ = model.train_step(x, labels)
        out = classifier.train_step(x, csr(labels))
        assert out.loss == pytest.approx(main, rel=1e-5)
        assert out.auxiliary_loss == pytest.approx(model.auxiliary_loss, rel=1e-5)
    first = build(without(CASE)).train_step(CASE.features(), csr(CASE.labels()))
    again = build(CASE).train_step(CASE.features(), csr(CASE.labels()))
    assert first.loss == pytest.approx(again.loss, rel=1e-12) and first.auxiliary_loss == 0.0


def test_weight_falls_to_zero_along_half_a_cosine() -> None:
    """With SGD at rate 1 the first move of the layer is its weight times its gradient."""
    weight, steps = AUXILIARY
    classifier = build(CASE, optimizer=sx.SGD(1.0))
    for number in range(steps + 2):
        x, labels = CASE.features(number), CASE.labels(number)
        model = oracle(CASE, classifier, step=number)
        share = 0.5 * (1 + math.cos(math.pi * number / steps)) if number < steps else 0.0
        assert model.auxiliary_weight() == pytest.approx(weight * share)
        _, expected = model.gradients(x, labels)
        before = tensors(classifier)
        out = classifier.train_step(x, csr(labels))
        moved = before["auxiliary.weights"].astype(np.float64) - tensors(classifier)["auxiliary.weights"]
        if number < steps:
            assert_close("move", moved, expected["auxiliary.weights"], dataclasses.replace(ROUNDING, relative=1e-4))
            assert out.auxiliary_loss > 0
        else:
            assert not moved.any() and out.auxiliary_loss == 0.0


@pytest.mark.parametrize("name", ["auxiliary_g3", "auxiliary_hinge", "auxiliary_hidden"])
def test_prediction_does_without_it(name: str) -> None:
    case = BY_NAME[name]
    classifier, plain = build(case), build(without(case))
    train(classifier, case.steps())
    plain.load_state_dict({key: value for key, value in classifier.state_dict().items() if "auxiliary" not in key})
    for given, expected in zip(classifier.topk(case.features(8), 9), plain.topk(case.features(8), 9), strict=True):
        assert given.tobytes() == expected.tobytes()


@pytest.mark.parametrize("done", [2, AUXILIARY[1]])
def test_resumes_bitwise(done: int, tmp_path: Path) -> None:
    case = BY_NAME["auxiliary_sparse"]
    batches = [(case.features(number), case.labels(number)) for number in range(AUXILIARY[1] + 2)]
    whole = build(case)
    seen = train(whole, batches)
    first = build(case)
    train(first, batches[:done])
    first.save(tmp_path / "model")
    second = sx.load(tmp_path / "model")
    assert train(second, batches[done:]) == seen[done:]
    assert_same_bits(tensors(second), tensors(whole))


def test_a_number_of_clusters_cuts_the_internal_order() -> None:
    classifier = build(CASE, auxiliary=sx.MetaClassifier(7, steps=10))
    state = tensors(classifier)
    clusters = state["auxiliary.clusters"][state["label_order"]]
    assert (np.diff(clusters.astype(int)) >= 0).all()
    sizes = np.bincount(clusters)
    assert len(sizes) == 7 and sizes.max() - sizes.min() <= 1


def test_cluster_ids() -> None:
    order = np.random.default_rng(0).permutation(10)
    clusters = sx.cluster_ids(order, 4)
    for i in range(3):
        np.testing.assert_array_equal(np.flatnonzero(clusters == i), np.sort(order[4 * i : 4 * i + 4]))
    for wrong in ([0, 0], [1, 2], [[0]]):
        with pytest.raises(sx.errors.ArgumentError, match="label_order"):
            sx.cluster_ids(np.array(wrong), 2)
    with pytest.raises(sx.errors.ArgumentError, match="size"):
        sx.cluster_ids(order, 0)


def test_epochs_are_counted_in_steps() -> None:
    counts = np.ones(CASE.num_labels, int)
    options = {"label_counts": counts, "num_instances": 340}
    classifier = build(CASE, auxiliary=sx.MetaClassifier(CASE.label_clusters(), epochs=3), **options)
    assert classifier.config["auxiliary"] == {"clusters": 9, "weight": 0.4, "steps": 3 * math.ceil(340 / CASE.batch)}


def test_it_is_in_the_plan() -> None:
    adam = sx.Adam()
    classifier, plain = build(CASE, optimizer=adam), build(without(CASE), optimizer=adam)
    more = {name: size for name, size in classifier.memory.plan.items() if name not in plain.memory.plan}
    own = ["weights", "bias"]
    names = {f"auxiliary.{n}" for n in own} | {f"optimizer.auxiliary.{n}.{s}" for n in own for s in adam_slots()}
    assert more.keys() - {"auxiliary.clusters"} == names | {"auxiliary.positives"}
    assert more["auxiliary.weights"] >= 9 * CASE.in_features * 4


def adam_slots() -> tuple[str, str]:
    return "exp_avg", "exp_avg_sq"


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"clusters": 0, "steps": 1}, "clusters"),
    ({"clusters": 1.5, "steps": 1}, "clusters"),
    ({"clusters": [], "steps": 1}, "clusters"),
    ({"clusters": [-1, 0], "steps": 1}, "clusters"),
    ({"clusters": 2, "steps": 1, "epochs": 1}, "steps"),
    ({"clusters": 2, "steps": 0}, "steps"),
    ({"clusters": 2, "epochs": 0}, "epochs"),
    ({"clusters": 2, "steps": 1, "weight": 0.0}, "weight"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.errors.Error, match=f"auxiliary.*{message}"):
        sx.MetaClassifier(**options)


@pytest.mark.parametrize(
    ("auxiliary", "message"),
    [
        (sx.MetaClassifier(101, steps=1), "auxiliary.clusters is 101"),
        (sx.MetaClassifier(np.zeros(99, int), steps=1), "auxiliary.clusters has 99"),
        (sx.MetaClassifier(np.arange(100) * 2, steps=1), "auxiliary.clusters is 199"),
        (sx.MetaClassifier(3, epochs=1), "num_instances"),
        (sx.MetaClassifier(3), "auxiliary needs epochs"),
        ("semantic", "auxiliary"),
    ],
)
def test_mistakes_that_the_classifier_sees(auxiliary: Any, message: str) -> None:
    with pytest.raises(sx.errors.ArgumentError, match=message):
        build(CASE, auxiliary=auxiliary)
