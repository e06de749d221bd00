"""The command line and rare labels: weights at prediction, and the sections of run.toml for weights and clusters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.cli import main
from sparsexmc.model import toml as cfg

NUM_LABELS, ROWS, FEATURES = 40, 200, 16
OPTIONS = [
    *("--set", "training.epochs=2", "--set", "model.batch_size=32", "--set", "model.initial_bias=frequency"),
    *("--set", "model.positive_weights=propensity", "--set", "model.auxiliary=5"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embeddings that say a little about their labels, of which a few are on most instances."""
    directory = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((NUM_LABELS, FEATURES))
    for split, rows in (("trn", ROWS), ("tst", 50)):
        labels = np.minimum(rng.zipf(1.5, (rows, 3)), NUM_LABELS) - 1
        X = centers[labels].mean(1) + rng.standard_normal((rows, FEATURES))
        np.save(directory / f"X_{split}.npy", X.astype(np.float32))
        Y = sp.csr_matrix((np.ones(labels.size), labels.ravel(), np.arange(0, labels.size + 1, 3)), (rows, NUM_LABELS))
        Y.sum_duplicates()
        sp.save_npz(directory / f"Y_{split}.npz", Y)
    return directory


@pytest.fixture(scope="module")
def model(data: Path) -> Path:
    path = data / "model"
    assert main(["train", str(data), "-o", str(path), "--no-progress", *OPTIONS]) == 0
    return path


def test_sections(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classifier, written = sx.Classifier.load(model), cfg.read(model / "run.toml")["model"]
    assert written["positive_weights"] == {"A": 0.55, "B": 1.5} and written["auxiliary"]["clusters"] == 5
    config = classifier.config
    assert (config["initial_bias"], config["positive_weights"]) == ("frequency", "propensity")
    assert config["auxiliary"] == {"clusters": 5, "weight": 0.4, "steps": classifier.step // 2}
    assert classifier.num_instances == ROWS and classifier.label_counts is not None
    counts = np.diff(sp.load_npz(data / "Y_trn.npz").tocsc().indptr)
    np.testing.assert_array_equal(classifier.label_counts, counts)
    assert main(["plan", "--config", str(model / "run.toml"), "--set", "model.device=cpu", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["auxiliary.weights"] > 0 and planned["label_counts"] > 0
    assert main(["info", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "A = 0.55, B = 1.5" in shown and "5 clusters, weight 0.4" in shown and "200 training instances" in shown


def test_predictions_follow_the_weights(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ranks as topk does with weights, with the ensemble and with the network alone."""
    classifier, X = sx.Classifier.load(model), np.load(data / "X_tst.npy")
    assert classifier.label_counts is not None
    inverse = sx.metrics.inverse_propensities(classifier.label_counts, ROWS)
    together = sx.Ensemble(classifier, neighbors=sx.Neighbors.load(model / "neighbors.npz"))
    for ranker, alone in ((together, []), (classifier, ["--network-alone"])):
        frequencies = []
        for option, alpha in (("propensity:0", 0.0), ("propensity:0.5", 0.5), ("propensity", 1.0)):
            assert main(["predict", str(model), str(data), "-k", "3", "--label-weights", option, *alone]) == 0
            lines = capsys.readouterr().out.splitlines()
            ids = [[int(item.split(":")[0]) for item in line.split(",")] for line in lines]
            np.testing.assert_array_equal(ids, ranker.topk(X, 3, label_weights=inverse**alpha)[1])
            frequencies.append(classifier.label_counts[ids].mean())
        assert frequencies[0] >= frequencies[1] >= frequencies[2] and frequencies[0] > frequencies[2]


def test_evaluate_with_weights(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = []
    for options in ([], ["--label-weights", "propensity:0"], ["--label-weights", "propensity:2"]):
        assert main(["evaluate", str(model), str(data), "--json", *options]) == 0
        reports.append(json.loads(capsys.readouterr().out)["metrics"])
    assert reports[0] == reports[1] != reports[2]


@pytest.mark.parametrize("text", ["frequency", "propensity:", "propensity:x", "propensity:nan", "propensity:1:2"])
def test_wrong_weights(text: str, model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(model), str(data), "--label-weights", text]) == 2
    assert f"--label-weights {text}" in capsys.readouterr().err


def test_a_model_without_frequencies(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sx.Classifier(FEATURES, NUM_LABELS, fan_in=4, rewiring=None, device="cpu").save(tmp_path / "model")
    assert main(["predict", str(tmp_path / "model"), str(data), "--label-weights", "propensity"]) == 2
    assert "does not know how frequent" in capsys.readouterr().err
