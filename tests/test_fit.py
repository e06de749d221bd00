"""Training for whole epochs: order, resuming, validation, early stopping, outputs, interruption, checks beforehand."""

from __future__ import annotations

import json
import math
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from harness import ON_DEVICE
from sparsexmc.interop.rows import CsrRows, LabelRows
from sparsexmc.training.fit import Callback, EpochInfo, StepInfo, steps_per_epoch
from sparsexmc.training.validation import hold_out

INSTANCES, FEATURES, LABELS, BATCH = 103, 16, 30, 16
RNG = np.random.default_rng(8)
CENTRES = RNG.standard_normal((LABELS, FEATURES)).astype(np.float32)
FIRST = np.arange(INSTANCES) % LABELS
X = CENTRES[FIRST] + 0.1 * RNG.standard_normal((INSTANCES, FEATURES)).astype(np.float32)
Y = sp.csr_matrix((np.ones(INSTANCES), (np.arange(INSTANCES), FIRST)), (INSTANCES, LABELS))


def classifier(**options: Any) -> sx.Classifier:
    settings = {
        "fan_in": 8,
        "group_size": 4,
        "dense_labels": 10,
        "rewiring": None,
        "batch_size": BATCH,
        **ON_DEVICE,
    }
    return sx.Classifier(FEATURES, LABELS, **({"optimizer": sx.Adam(0.02)} | settings | options))


def same_model(a: sx.Classifier, b: sx.Classifier) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


class Recorder(Callback):
    def __init__(self, stop_after: int | None = None) -> None:
        self.steps: list[StepInfo] = []
        self.epochs: list[EpochInfo] = []
        self.stop_after = stop_after

    def on_step(self, classifier: sx.Classifier, info: StepInfo) -> None:
        self.steps.append(info)

    def on_epoch(self, classifier: sx.Classifier, info: EpochInfo) -> bool | None:
        self.epochs.append(info)
        return len(self.epochs) == self.stop_after


def test_learns_and_reports() -> None:
    recorder = Recorder()
    c = classifier()
    history = c.fit(X, Y, 30, validation=0.2, callbacks=[recorder], progress=False)
    steps = math.ceil(82 / BATCH)  # 21 of 103 are held out
    assert c.step == 30 * steps == 30 * steps_per_epoch(INSTANCES, BATCH, 0.2)
    assert history.stopped == "epochs"
    assert history.metric == "P@1"
    assert [info.epoch for info in history.epochs] == list(range(1, 31))
    assert history.epochs == recorder.epochs
    assert history.epochs[-1].loss < 0.5 * history.epochs[0].loss
    assert history.best_value == max(info.validation["P@1"] for info in history.epochs) > 0.5  # chance: 1/30
    scores = history.epochs[0].validation
    assert list(scores) == ["P@1", "P@3", "P@5", "PSP@1", "PSP@3", "PSP@5", "macro-F1@5"]
    assert [info.instances for info in recorder.steps[:steps]] == [16] * 5 + [2]  # the last batch is used, too
    mean = sum(info.loss * info.instances for info in recorder.steps[:steps]) / 82
    assert history.epochs[0].loss == pytest.approx(mean)


def test_every_instance_once_per_epoch_in_new_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    c = sx.Classifier(FEATURES, INSTANCES, fan_in=None, batch_size=BATCH, **ON_DEVICE)
    run_step = c._run_step

    def spy(features: Any, positives: Any, weights: Any, **options: Any) -> sx.StepResult:
        seen.append(positives[1].tolist())
        return run_step(features, positives, weights, **options)

    monkeypatch.setattr(c, "_run_step", spy)
    c.fit(X, np.arange(INSTANCES), 2, validation=None, progress=False)
    first, second = list(chain(*seen[:7])), list(chain(*seen[7:]))
    assert sorted(first) == sorted(second) == list(range(INSTANCES))
    assert first != second != sorted(second)
    seen.clear()
    c.fit(X, np.arange(INSTANCES), 1, validation=None, shuffle=False, progress=False)
    assert list(chain(*seen)) == list(range(INSTANCES))


@pytest.mark.parametrize("validation", [None, 0.1])
def test_epochs_in_two_calls_or_across_a_checkpoint(validation: float | None, tmp_path: Path) -> None:
    at_once, in_two, resumed = classifier(), classifier(), classifier()
    options: dict[str, Any] = {"validation": validation, "progress": False}
    at_once.fit(X, Y, 4, **options)
    in_two.fit(X, Y, 1, **options)
    assert [info.epoch for info in in_two.fit(X, Y, 3, **options).epochs] == [2, 3, 4]
    assert same_model(at_once, in_two)
    resumed.fit(X, Y, 2, **options)
    resumed.save(tmp_path / "model")
    loaded = sx.load(tmp_path / "model")
    loaded.fit(X, Y, 2, **options)
    assert same_model(at_once, loaded)


def test_seed_decides_the_order() -> None:
    models = [classifier() for _ in range(3)]
    for model, seed in zip(models, (None, 0, 1), strict=True):
        model.fit(X, Y, 1, seed=seed, progress=False)
    assert same_model(models[0], models[1])  # None: that of the classifier, 0
    assert not same_model(models[0], models[2])


def test_hold_out() -> None:
    for rows, share, held in ((100, 0.05, 5), (10, 0.01, 1), (2, 0.99, 1), (1000, 0.5, 500)):
        training, validation = hold_out(rows, share, 7)
        assert len(validation) == held
        np.testing.assert_array_equal(np.sort(np.concatenate([training, validation])), np.arange(rows))
        np.testing.assert_array_equal(validation, hold_out(rows, share, 7)[1])
    assert not np.array_equal(hold_out(1000, 0.1, 1)[1], hold_out(1000, 0.1, 2)[1])


def test_given_validation_set_is_not_trained_on() -> None:
    a, b = classifier(), classifier()
    history = a.fit(X, Y, 2, validation=(X[:20], Y[:20]), validation_metric="nDCG@3", progress=False)
    b.fit(X, Y, 2, validation=None, progress=False)
    assert same_model(a, b)
    _, ids = a.topk(X[:20], 5)
    assert history.epochs[-1].validation["nDCG@3"] == pytest.approx(sx.metrics.ndcg_at_k(ids, Y[:20], 3))
    assert history.epochs[-1].validation["P@1"] == pytest.approx(sx.metrics.precision_at_k(ids, Y[:20], 1))


def test_propensity_scored_validation_uses_the_training_rows() -> None:
    c = classifier()
    history = c.fit(X, Y, 1, validation=0.2, validation_metric="PSP@3", progress=False)
    training, held = hold_out(INSTANCES, 0.2, 0)
    expected = sx.metrics.psp_at_k(c.topk(X[held], 3)[1], Y[held], 3, train_labels=Y[training])
    assert history.epochs[0].validation["PSP@3"] == pytest.approx(expected)


def test_patience(tmp_path: Path) -> None:
    c = classifier(optimizer=sx.SGD(0.0))  # never improves on the first epoch
    history = c.fit(X, Y, 50, patience=3, checkpoint=tmp_path / "best", progress=False)
    assert history.stopped == "patience"
    assert history.best_epoch == 1
    assert [info.improved for info in history.epochs] == [True, False, False, False]
    assert sx.load(tmp_path / "best").step == c.step / 4


def test_checkpoint_holds_the_best_epoch(tmp_path: Path) -> None:
    c = classifier()
    c.label_names = [f"name {i}" for i in range(LABELS)]
    history = c.fit(X, Y, 12, checkpoint=tmp_path / "best", progress=False)
    best = sx.load(tmp_path / "best")
    assert history.best_epoch is not None
    assert best.step == history.epochs[history.best_epoch - 1].step
    assert best.label_names == c.label_names
    held = hold_out(INSTANCES, 0.05, 0)[1]
    value = sx.metrics.precision_at_k(best.topk(X[held], 1)[1], Y[held], 1)
    assert value == history.best_value


def test_callback_stops_and_all_are_called() -> None:
    first, second = Recorder(stop_after=2), Recorder(stop_after=2)
    history = classifier().fit(X, Y, 9, callbacks=[first, second], progress=False)
    assert history.stopped == "callback"
    assert len(first.epochs) == len(second.epochs) == len(history.epochs) == 2


def test_metrics_file_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    c = classifier(rewiring=sx.Rewiring(interval=5))
    c.fit(X, Y, 2, metrics_file=path, progress=False)
    c.fit(X, Y, 1, metrics_file=path, progress=False)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    epochs = [record for record in records if record["event"] == "epoch"]
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    assert epochs[0].keys() >= {"step", "loss", "seconds", "instances_per_second", "validation", "improved"}
    rewirings = [record for record in records if record["event"] == "rewiring"]
    assert [record["step"] for record in rewirings] == [r.step for r in c.rewirings]
    assert rewirings[0]["changed"] > 0


class Interrupt:
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, classifier: sx.Classifier, info: StepInfo) -> None:
        if info.step == self.step:
            raise KeyboardInterrupt


def test_interruption(tmp_path: Path) -> None:
    c = classifier()
    with pytest.raises(KeyboardInterrupt):
        c.fit(
            X, Y, 9, checkpoint=tmp_path / "m", metrics_file=tmp_path / "log", callbacks=[Interrupt(17)], progress=False
        )
    assert c.step == 17
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["event"], line["step"]) for line in lines] == [("start", 0), ("epoch", 7), ("epoch", 14)]
    assert sx.load(tmp_path / "m").step in (7, 14)
    c.topk(X)
    assert [info.epoch for info in c.fit(X, Y, 1, progress=False).epochs] == [4]  # the broken epoch counts as begun


def test_progress(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    classifier().fit(X, Y, 2, progress=False)
    assert capfd.readouterr() == ("", "")
    classifier().fit(X, Y, 2)  # standard error is no terminal here: sparse lines
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  step 14  loss ")
    for part in ("  P@1/3/5 ", "  PSP@1/3/5 (A=0.55, B=1.5) ", "  macro-F1@5 "):
        assert part in lines[1]
    assert "instances/s" in lines[1]
    classifier().fit(X, Y, 1, progress=True)
    bar = capfd.readouterr().err
    assert "epoch 1/1" in bar
    assert "inst/s, loss" in bar
    clock = iter(range(0, 10**6, 20))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    classifier().fit(X, Y, 1)
    assert any("s left" in line for line in capfd.readouterr().err.splitlines())


# ---- kinds of data ----


def test_kinds_of_dense_data_train_the_same_model(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    np.save(tmp_path / "x.npy", X)
    reference = classifier()
    reference.fit(X, Y, 2, progress=False)
    for data in (np.load(tmp_path / "x.npy", mmap_mode="r"), torch.from_numpy(X)):
        c = classifier()
        c.fit(data, Y, 2, progress=False)
        assert same_model(c, reference)
    halves = [classifier(), classifier(), classifier()]
    halves[0].fit(X.astype(np.float16), Y, 2, progress=False)
    halves[1].fit(torch.from_numpy(X).half(), Y, 2, progress=False)
    assert same_model(halves[0], halves[1])
    halves[2].fit(torch.from_numpy(X).bfloat16(), Y, 2, progress=False)
    assert halves[2].step == reference.step


def test_kinds_of_labels_train_the_same_model() -> None:
    models = [classifier() for _ in range(3)]
    for model, labels in zip(models, (Y, FIRST, (Y.indptr, Y.indices)), strict=True):
        model.fit(X, labels, 1, progress=False)
    assert same_model(models[0], models[1])
    assert same_model(models[0], models[2])


def test_sparse_features() -> None:
    features = sp.csr_matrix(np.where(np.abs(X) > 0.5, X, 0))
    c = classifier(hidden=32, sparse_input=True)
    history = c.fit(features, Y, 30, validation=0.2, progress=False)
    assert history.best_value is not None
    assert history.best_value > 0.8


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_rows_are_gathered_as_scipy_does(index_dtype: type) -> None:
    matrix = sp.random(50, 20, 0.2, format="csr", random_state=1, dtype=np.float32)
    matrix.indices, matrix.indptr = matrix.indices.astype(index_dtype), matrix.indptr.astype(index_dtype)
    for rows in (np.array([3, 3, 49, 0]), np.arange(50), np.arange(0)):
        taken: Any = CsrRows("X", matrix, 20).take(rows)
        expected = matrix[rows]
        np.testing.assert_array_equal(taken.indptr, expected.indptr)
        np.testing.assert_array_equal(taken.indices, expected.indices)
        np.testing.assert_array_equal(taken.values, expected.data)
        indptr, indices = LabelRows("Y", matrix, 50, 20).take(rows)
        np.testing.assert_array_equal(indptr, expected.indptr)
        np.testing.assert_array_equal(indices, expected.indices)


# ---- checks before the first step ----


def with_value(value: float) -> np.ndarray:
    wrong = X.copy()
    wrong[40, 2] = value
    return wrong


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((X, Y, 0), {}, sx.ArgumentError, "epochs=0"),
        ((X, Y, 1.5), {}, sx.ArgumentError, r"epochs=1\.5"),
        ((with_value(np.nan), Y, 1), {}, sx.ArgumentError, "X holds NaN or Inf, first in row 40"),
        ((with_value(np.inf), Y, 1), {}, sx.ArgumentError, "X holds NaN or Inf, first in row 40"),
        ((X.astype(np.float64), Y, 1), {}, sx.DTypeError, r"X has dtype float64.*X\.astype\(np\.float32\)"),
        ((X[:, ::-1], Y, 1), {}, sx.ArgumentError, r"X has shape \(103, 16\) and strides"),
        ((X[:, :8].copy(), Y, 1), {}, sx.ArgumentError, "in_features=16"),
        ((X[:0], Y[:0], 1), {}, sx.ArgumentError, "X has no rows"),
        ((sp.csr_matrix(X), Y, 1), {}, sx.DTypeError, "sparse_input=True"),
        ((X, Y[:50], 1), {}, sx.ArgumentError, r"Y has shape \(50, 30\)"),
        ((X, Y.tocsc(), 1), {}, sx.DTypeError, r"Y\.tocsr\(\)"),
        ((X, FIRST + 1, 1), {}, sx.ArgumentError, r"Y holds label id 30, but num_labels=30: ids are 0 \.\. 29"),
        ((X, FIRST - 1, 1), {}, sx.ArgumentError, "Y holds label id -1"),
        ((X[:1], Y[:1], 1), {}, sx.ArgumentError, "X has 1 row; validation=0.05 needs at least 2"),
        ((X, Y, 1), {"batch_size": 17}, sx.ArgumentError, "batch_size=17 is more than the classifier's 16"),
        ((X, Y, 1), {"batch_size": 0}, sx.ArgumentError, "batch_size=0"),
        ((X, Y, 1), {"validation": 1.0}, sx.ArgumentError, r"validation=1\.0"),
        ((X, Y, 1), {"validation": 0}, sx.ArgumentError, "validation=0 must be"),
        ((X, Y, 1), {"validation": (X[:4], Y[:5])}, sx.ArgumentError, r"validation\[1\] has shape"),
        ((X, Y, 1), {"validation": (X[:, :3].copy(), Y)}, sx.ArgumentError, r"validation\[0\] has shape"),
        ((X, Y, 1), {"validation_metric": "accuracy"}, sx.ArgumentError, "validation_metric='accuracy'.*P@1"),
        ((X, Y, 1), {"validation_metric": "P@31"}, sx.ArgumentError, "k above num_labels=30"),
        ((X, Y, 1), {"patience": 0}, sx.ArgumentError, "patience=0"),
        ((X, Y, 1), {"patience": 2, "validation": None}, sx.ArgumentError, "patience=2 needs validation"),
        ((X, Y, 1), {"callbacks": [print]}, sx.ArgumentError, r"neither on_step\(clf, info\) nor on_epoch"),
        ((X, Y, 1), {"seed": -1}, sx.ArgumentError, "seed=-1"),
        ((X, Y, 1), {"metrics_file": "/nowhere/metrics.jsonl"}, sx.ArgumentError, "metrics_file='/nowhere"),
        ((X, Y, 1), {"checkpoint": "/nowhere/deep/model"}, sx.ArgumentError, "checkpoint='/nowhere/deep/model' cannot"),
    ],
)
def test_checked_before_the_first_step(arguments: Any, options: Any, error: type[Exception], message: str) -> None:
    c = classifier()
    with pytest.raises(error, match=message):
        c.fit(*arguments, **options, progress=False)
    assert c.step == 0


def test_nonfinite_sparse_features_name_their_row() -> None:
    features = sp.csr_matrix(with_value(np.nan))
    with pytest.raises(sx.ArgumentError, match="first in row 40"):
        classifier(hidden=8, sparse_input=True).fit(features, Y, 1, progress=False)


def test_reserve_under_a_memory_limit() -> None:
    many = sp.csr_matrix(np.ones((INSTANCES, LABELS)))
    options = {"labels_per_instance": 3, "batch_size": BATCH}
    classifier(**options).fit(X, many, 1, progress=False)  # without a limit the buffer grows
    with pytest.raises(sx.ArgumentError, match="make the classifier with labels_per_instance=30"):
        classifier(**options, memory_limit="1GB").fit(X, many, 1, progress=False)
    classifier(labels_per_instance=30, memory_limit="1GB").fit(X, many, 1, progress=False)


def test_steps_per_epoch() -> None:
    assert steps_per_epoch(100, 32) == math.ceil(95 / 32)
    assert steps_per_epoch(100, 32, None) == steps_per_epoch(100, 32, (X, Y)) == 4
