"""Probabilities and thresholds of a model: learned in training, kept on disk, the same from Python and the command
line."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsexmc as sx
from cli_tools import failure, make_split, run

X, Y = make_split(2_400, seed=0)
X_TEST, Y_TEST = make_split(600, seed=1)
SETTINGS: dict[str, Any] = {
    "model": {"hidden": {"features": 64, "dropout": 0.1}, "optimizer": {"lr": 0.03}, "num_threads": 2},
    "training": {"epochs": 3, "validation": 0.1},
    "linear": {"weight": 0.8},
}


@pytest.fixture(scope="module")
def model() -> sx.Model:
    return sx.train(sx.data.Dataset(X, Y), settings=SETTINGS, progress=False)


@pytest.mark.parametrize("alone", [False, True], ids=["ensemble", "network"])
def test_probabilities_are_those_of_unseen_instances(model: sx.Model, alone: bool) -> None:
    probabilities, ids = model.predict_proba(X_TEST, 20, network_alone=alone)
    assert np.array_equal(ids, model.topk(X_TEST, 20, network_alone=alone)[1])
    assert (np.diff(probabilities, axis=1) <= 0).all()
    hits = np.asarray(Y_TEST[np.arange(600)[:, None], ids].todense()) > 0
    assert abs(probabilities.sum() / hits.sum() - 1) < 0.1
    brier, of_the_mean = np.mean((probabilities - hits) ** 2), np.mean((hits.mean() - hits) ** 2)
    assert brier < 0.8 * of_the_mean


def test_a_threshold_leaves_out_labels(model: sx.Model) -> None:
    probabilities, ids = model.predict_proba(X_TEST[:50], 10)
    best = model.calibrations.ensemble.f1_threshold
    for threshold, number in ((0.25, 0.25), (1, 1.0), (0.0, 0.0), ("best", best)):
        expected = [
            [(label, p) for label, p in zip(*row, strict=True) if p >= np.float32(number)]
            for row in zip(ids.tolist(), probabilities.tolist(), strict=True)
        ]
        assert model.predict(X_TEST[:50], 10, threshold=threshold) == expected


def test_per_label_counts_what_is_predicted(model: sx.Model) -> None:
    for threshold in (None, 0.3, "best"):
        predicted = model.predict(X_TEST, 4, threshold=threshold)
        found = model.per_label(X_TEST, Y_TEST, 4, threshold=threshold)
        labels = np.concatenate([np.array([label for label, _ in row], np.int64) for row in predicted])
        np.testing.assert_array_equal(found.predictions, np.bincount(labels, minlength=model.num_labels))
        np.testing.assert_array_equal(found.positives, np.bincount(Y_TEST.indices, minlength=model.num_labels))
        hits = sum(int(Y_TEST[row, label] != 0) for row, made in enumerate(predicted) for label, _ in made)
        assert found.hits.sum() == hits > 0
    macro = model.evaluate(X_TEST, Y_TEST, cutoffs=[3])["macro-F1"][3]
    assert model.per_label(X_TEST, Y_TEST, 3).f1.mean() == pytest.approx(macro, abs=1e-12)
    with pytest.raises(sx.ArgumentError, match="pass one of them"):
        model.per_label(X_TEST, Y_TEST, threshold=0.3, label_weights=np.ones(model.num_labels))


def test_saved_and_copied(model: sx.Model, tmp_path: Path) -> None:
    expected = model.predict_proba(X_TEST, 3)
    model.save(tmp_path / "model")
    again = sx.load(tmp_path / "model")
    for found in (again.predict_proba(X_TEST, 3), again.predict_proba(X_TEST, 3)):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


def test_command_line(model: sx.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "model")
    sx.data.save(tmp_path / "data", sx.data.Dataset(X_TEST, Y_TEST))
    assert run("predict", tmp_path / "model", tmp_path / "data", "-k", 4, "--threshold", "best") == 0
    lines = capsys.readouterr().out.splitlines()
    expected = model.predict(X_TEST, 4, threshold="best")
    assert [len(line.split(",")) if line else 0 for line in lines] == [len(row) for row in expected]
    assert run("predict", tmp_path / "model", tmp_path / "data", "-k", 1, "--probabilities") == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "{}:{:.6g}".format(*model.predict(X_TEST[:1], 1, threshold=0.0)[0][0])
    assert "threshold=7.0" in failure(capsys, "predict", tmp_path / "model", tmp_path / "data", "--threshold", 7)


def test_calibrated_anew(model: sx.Model) -> None:
    bare = sx.Model(model.classifier, linear=model.linear, neighbors=model.neighbors)
    with pytest.raises(sx.ArgumentError, match="no probabilities for its ensemble; call model.calibrate"):
        bare.predict_proba(X_TEST)
    with pytest.raises(sx.ArgumentError, match="no probabilities for its network"):
        bare.predict(X_TEST, threshold=0.5, network_alone=True)
    with pytest.raises(sx.ArgumentError, match="2 instances, which are too few"):
        bare.calibrate(X_TEST[:2], Y_TEST[:2])
    bare.calibrate(X_TEST, Y_TEST)
    probabilities, ids = bare.predict_proba(X_TEST, 20)
    hits = np.asarray(Y_TEST[np.arange(600)[:, None], ids].todense())
    assert abs(probabilities.mean() - hits.mean()) < 0.01
    bare.calibrate(sx.data.Dataset(X, Y, X_test=X_TEST, Y_test=Y_TEST))


def test_a_network_that_learned_on_has_other_probabilities() -> None:
    model = sx.train(sx.data.Dataset(X, Y), settings=SETTINGS, progress=False)
    before = model.calibrations.network
    model.fit(sx.data.Dataset(X, Y), progress=False)
    assert model.calibrations.ensemble is None
    assert not np.array_equal(model.calibrations.network.scores, before.scores)
    model.predict_proba(X_TEST, network_alone=True)


def copy_of(model: sx.Model) -> sx.Model:
    return copy.deepcopy(model)


def test_probabilities_of_another_state_are_refused(model: sx.Model) -> None:
    heavier = copy_of(model)
    heavier.linear.weight *= 2
    with pytest.raises(sx.ArgumentError, match="learned with Weights.* and it has Weights.*model.calibrate"):
        heavier.predict_proba(X_TEST)
    heavier.predict_proba(X_TEST, network_alone=True)
    further = copy_of(model)
    further.classifier.fit(X, Y, 1, progress=False)
    for alone in (False, True):
        with pytest.raises(sx.ArgumentError, match=r"learned at step \d+, and the network is at step \d+"):
            further.predict_proba(X_TEST, network_alone=alone)
    further.calibrate(X_TEST, Y_TEST)
    further.predict_proba(X_TEST)
    stopped = copy_of(model)
    with pytest.raises(ZeroDivisionError):
        stopped.fit(sx.data.Dataset(X, Y), 3, callbacks=[Stop()], progress=False)
    with pytest.raises(sx.ArgumentError, match="no probabilities for its network"):
        stopped.predict_proba(X_TEST, network_alone=True)


class Stop(sx.Callback):
    def on_epoch(self, classifier: Any, info: Any) -> None:
        raise ZeroDivisionError


def test_validation_in_every_form(model: sx.Model) -> None:
    labels = np.asarray(Y_TEST[:, :].argmax(axis=1)).ravel()
    for given in (Y_TEST, (Y_TEST.indptr, Y_TEST.indices), labels):
        again = copy_of(model)
        again.fit(sx.data.Dataset(X, Y), validation=(again.features(X_TEST), given), progress=False)
        again.predict_proba(X_TEST, network_alone=True)


def test_given_numbers_have_probabilities_too(model: sx.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = sx.train(sx.data.Dataset(X, Y), settings=tmp_path / "model" / "run.toml", progress=False)
    assert again.tuning is None
    probabilities, _ = again.predict_proba(X_TEST, 20)
    assert abs(probabilities.sum() / Y_TEST.nnz - 1) < 0.1


def test_an_open_power_is_tuned() -> None:
    given = {"linear": {"enabled": False}, "neighbors": {"weight": 0.5, "space": "features"}}
    tuned = sx.train(sx.data.Dataset(X, Y), settings=SETTINGS | given, progress=False)
    assert tuned.tuning is not None and isinstance(tuned.settings.neighbors.power, float)


def test_labels_that_are_never_right_are_refused(model: sx.Model) -> None:
    again = copy_of(model)
    with pytest.raises(sx.ArgumentError, match="none or all are right"):
        again.calibrate(X_TEST, Y_TEST * 0)
    again.predict_proba(X_TEST)
    with pytest.raises(sx.ArgumentError, match="calibrations is a int; pass a sparsexmc.*Calibrations or None"):
        sx.Model(model.classifier, calibrations=5)


@pytest.mark.parametrize("threshold", [np.array([0.3, 0.4]), "Best", -0.1, 1.5, float("nan"), "auto", True])
def test_thresholds_that_cannot_be_meant(model: sx.Model, threshold: Any) -> None:
    with pytest.raises(sx.ArgumentError, match="threshold"):
        model.predict(X_TEST[:1], threshold=threshold)
    with pytest.raises(sx.ArgumentError, match="label_weights"):
        model.predict(X_TEST[:1], threshold=0.5, label_weights=np.ones(40))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch_size": 10**6}, "batch_size=1000000 is more than"),
        ({"validation": 3}, "validation"),
        ({"instance_weights": np.ones(3)}, "instance_weights has shape"),
        ({"filter": Y[:5]}, "filter"),
        ({"odd": 1}, "odd"),
    ],
)
def test_a_training_that_never_began_leaves_them(model: sx.Model, options: dict[str, Any], error: str) -> None:
    again = copy_of(model)
    with pytest.raises((sx.Error, TypeError), match=error):
        again.fit(sx.data.Dataset(X, Y), progress=False, **options)
    for one, other in zip(again.predict_proba(X_TEST), model.predict_proba(X_TEST), strict=True):
        np.testing.assert_array_equal(one, other)
