"""`sx.load(path, trainable=False)`: the same predictions, without the memory of training."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import sparsexmc as sx
from cases import BY_NAME, Case
from harness import build, csr, train
from sparsexmc.core.directory import ModelReader, ModelWriter

NAMES = [
    "g1_large",
    "dense_large",
    "two_segments_adam",
    "hidden_dropout",
    "sparse_dropout",
    "auxiliary_sparse",
    "weighted_g17",
]
RIGL = sx.Rewiring(method="rigl", interval=3, grow_batches=2)


def label_matrix(case: Case) -> sparse.csr_matrix:
    indptr, indices = csr(case.labels())
    return sparse.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), (case.batch, case.num_labels))


def trained(case: Case, **overrides: Any) -> sx.Classifier:
    rewiring = None if case.fan_in is None else RIGL
    classifier = build(case, rewiring=rewiring, optimizer=sx.Adam(0.01), **overrides)
    train(classifier, case.steps())
    return classifier


def saved(case: Case, path: Path) -> tuple[sx.Classifier, sx.Classifier]:
    """A trained classifier, and the same one loaded for prediction."""
    classifier = trained(case)
    classifier.save(path)
    return classifier, sx.load(path, num_threads=2, trainable=False)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_the_same_bits_from_the_planned_memory(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]
    before, model = saved(case, tmp_path / "model")
    assert before.trainable and not model.trainable
    X = case.features(5, 2 * case.batch + 1)
    k = min(5, case.num_labels)
    weights = np.linspace(0.5, 2, case.num_labels, dtype=np.float32)
    for options in ({}, {"label_weights": weights}):
        for mine, theirs in zip(model.topk(X, k, **options), before.topk(X, k, **options), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    if case.hidden is not None:
        np.testing.assert_array_equal(model.hidden_activations(X), before.hidden_activations(X))
    assert (model.step, model.skipped, model.lr) == (before.step, before.skipped, before.lr)
    assert model.memory.peak == model.memory.current == model.memory.planned < before.memory.planned
    training = ("optimizer.", "rewiring.", "auxiliary.", "scratch.step", "batch.gradients", "batch.losses")
    assert not [name for name in model.memory.plan if name.startswith(training)]


def test_state_is_what_prediction_reads(tmp_path: Path) -> None:
    before, model = saved(BY_NAME["two_segments_adam"], tmp_path / "model")
    mine, theirs = model.state_dict(), before.state_dict()
    assert [name for name in theirs if name in mine] == list(mine)
    assert [name for name in theirs if name not in mine and not name.startswith("optimizer.")] == []
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name])


@pytest.mark.parametrize(
    "call",
    [
        lambda model, case, path: model.train_step(case.features(), csr(case.labels())),
        lambda model, case, path: model.eval_step(case.features(), csr(case.labels())),
        lambda model, case, path: model.fit(case.features(), label_matrix(case), epochs=1),
        lambda model, case, path: model.regroup(),
        lambda model, case, path: setattr(model, "lr", 0.1),
        lambda model, case, path: model.save(path / "again"),
    ],
    ids=["train_step", "eval_step", "fit", "regroup", "lr", "save"],
)
def test_training_says_how_to_load_it(call: Callable[..., Any], tmp_path: Path) -> None:
    case = BY_NAME["two_segments_adam"]
    _, model = saved(case, tmp_path / "model")
    with pytest.raises(sx.errors.ArgumentError, match="trainable=True"):
        call(model, case, tmp_path)
    assert not (tmp_path / "again").exists()


def test_a_damaged_optimizer_state_is_found_though_it_is_not_read(tmp_path: Path) -> None:
    saved(BY_NAME["two_segments_adam"], tmp_path / "model")
    file = tmp_path / "model" / "optimizer.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)
    with pytest.raises(sx.errors.CheckpointError, match="hash"):
        sx.load(tmp_path / "model", trainable=False)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("kind", ["classifier", "model"])
def test_copies_and_pickles_are_for_prediction_too(kind: str, copied: Callable[[Any], Any], tmp_path: Path) -> None:
    case = BY_NAME["hidden_dropout"]
    before = trained(case)
    before.label_names = [f"label {label}" for label in range(case.num_labels)]
    (before if kind == "classifier" else sx.Model(before)).save(tmp_path / "model")
    model = copied(sx.load(tmp_path / "model", num_threads=2, trainable=False))
    classifier = model if kind == "classifier" else model.classifier
    assert type(model) is (sx.Classifier if kind == "classifier" else sx.Model) and not classifier.trainable
    assert (classifier.step, model.label_names) == (before.step, before.label_names)
    X = case.features(5, 7)
    for mine, theirs in zip(copied(model).topk(X, 3), before.topk(X, 3), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.raises(sx.errors.ArgumentError, match="trainable=True"):
        model.save(tmp_path / "again")


def test_a_directory_without_the_optimizer_is_for_prediction_only(tmp_path: Path) -> None:
    before = trained(BY_NAME["two_segments_adam"])
    with ModelWriter(tmp_path / "model") as writer:
        writer.add_classifier(before.engine, for_prediction=True)
        writer.publish()
    assert not (tmp_path / "model" / "optimizer.safetensors").exists()
    model = sx.load(tmp_path / "model", trainable=False)
    np.testing.assert_array_equal(model.state_dict()["label_order"], before.state_dict()["label_order"])
    with pytest.raises(sx.errors.CheckpointError, match=r"optimizer\.safetensors.*trainable=False"):
        sx.load(tmp_path / "model")
    with ModelReader(tmp_path / "model") as reader, pytest.raises(sx.errors.CheckpointError, match="prediction only"):
        reader.restore(before.engine)
