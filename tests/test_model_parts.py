"""The parts of a model belong together, and none is lost on the way."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, make_split, run
from sparsexmc.data import Dataset, TextVectorizer, TfIdf

FORMAT_1 = Path(__file__).parent / "data" / "format_1"
X, Y = make_split(40, seed=0)


def classifier(**options: Any) -> sx.Classifier:
    shape = {"hidden": 8, "sparse_input": True, "fan_in": 4, "batch_size": 40, "num_threads": 1}
    return sx.Classifier(60, 40, **(shape | options))


def settings(**model: Any) -> sx.Settings:
    return sx.Settings.from_table({"model": {"in_features": 60, "num_labels": 40} | model})


def test_parts_that_belong_together() -> None:
    parts = {
        "linear": sx.Linear(X, Y, rounds=1),
        "neighbors": sx.Neighbors(X, Y),
        "tfidf": TfIdf.fit(X),
        "vectorizer": TextVectorizer(tuple(f"word{number}" for number in range(60))),
        "settings": settings(),
    }
    model = sx.Model(classifier(), **parts)
    assert len(model.predict(X[:3], 2)) == 3
    of_hidden = sx.Neighbors.of_hidden_layer(model.classifier, X, Y)
    sx.Model(model.classifier, neighbors=of_hidden)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"classifier": "clf"}, "classifier is a str; pass a sparsexmc.Classifier$"),
        ({"linear": 5}, "linear is a int; pass a sparsexmc.Linear or None"),
        ({"neighbors": X}, "neighbors is a csr_matrix; pass a sparsexmc.Neighbors or None"),
        ({"vectorizer": "words"}, r"vectorizer is a str; pass a sparsexmc.data.TextVectorizer or None"),
        ({"tfidf": np.ones(60)}, r"tfidf is a ndarray; pass a sparsexmc.data.TfIdf or None"),
        ({"settings": {}}, "settings is a dict; pass a sparsexmc.Settings or None"),
        ({"num_threads": 1.5}, "num_threads=1.5 must be an integer"),
        ({"vectorizer": TextVectorizer(("a", "b"))}, "vectorizer has 2 terms and the classifier reads 60"),
        ({"tfidf": TfIdf(np.ones(59))}, "tfidf has 59 weights and the classifier reads 60"),
        ({"tfidf": TfIdf(np.full(60, np.nan))}, "tfidf.idf holds NaN"),
        ({"linear": sx.Linear(X[:, :59], Y, rounds=1)}, "linear has 59 features and the classifier reads 60"),
        ({"linear": sx.Linear(X, Y[:, :39], rounds=1)}, "linear has 39 labels and the classifier has 40"),
        ({"neighbors": sx.Neighbors(X[:, :59], Y)}, "neighbors has 59 features and the classifier reads 60"),
        ({"neighbors": sx.Neighbors(X, Y[:, :39])}, "neighbors has 39 labels and the classifier has 40"),
        ({"neighbors": sx.Neighbors(X.toarray(), Y)}, "neighbors compares dense features and the classifier reads spa"),
        ({"settings": settings(num_labels=41)}, r"settings has model.num_labels=41, but the classifier has 40"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_parts_that_do_not(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(sx.ArgumentError, match=message):
        sx.Model(**({"classifier": classifier()} | parts))


def test_dense_features_have_neither_texts_nor_linear_classifiers() -> None:
    dense = classifier(hidden=None, sparse_input=False)
    for name, part in (("tfidf", TfIdf.fit(X)), ("linear", sx.Linear(X, Y, rounds=1))):
        with pytest.raises(sx.ArgumentError, match=f"{name} is for sparse features, and the classifier reads dense"):
            sx.Model(dense, **{name: part})


def test_label_names_are_one_for_each_label() -> None:
    model = sx.Model(classifier())
    with pytest.raises(sx.ArgumentError, match="label_names has 3 names"):
        model.label_names = ["a", "b", "c"]
    model.label_names = np.array([f"label {number}" for number in range(40)])
    assert model.label_names[0] == "label 0" and type(model.label_names[0]) is str


def test_the_network_alone_predicts_names() -> None:
    model = sx.Model(classifier(), linear=sx.Linear(X, Y, rounds=1))
    alone = model.predict(X[:5], 3, network_alone=True)
    scores, ids = model.classifier.topk(X[:5], 3)
    assert alone == [
        list(zip(row_ids, row, strict=True)) for row, row_ids in zip(scores.tolist(), ids.tolist(), strict=True)
    ]
    assert alone != model.predict(X[:5], 3)


def test_the_command_predicts_with_the_network_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for options in ([], ["--network-alone"]):
        assert run("predict", FORMAT_1 / "model", FORMAT_1 / "texts.jsonl", "--threads", 1, *options) == 0
        lines.append(capsys.readouterr().out)
    assert lines[0] != lines[1]


def test_parts_that_a_model_of_format_1_may_have_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run.toml asks for them, which says less than that they were made: a warning, where the model is read."""
    model = tmp_path / "model"
    shutil.copytree(FORMAT_1 / "model", model)
    with caplog.at_level(logging.WARNING, "sparsexmc"):
        sx.load(model)
        assert run("info", model) == 0 and caplog.text == "" and "missing" not in capsys.readouterr().out
        for name in ("linear.npz", "neighbors.npz"):
            (model / name).unlink()
            caplog.clear()
            assert isinstance(sx.load(model), sx.Model)
            assert f"{model} has no {name}, which its run.toml asks for" in caplog.text
    assert run("info", model) == 0
    assert "linear.npz, neighbors.npz: run.toml asks for" in capsys.readouterr().out
    text = (model / "run.toml").read_text()
    (model / "run.toml").write_text(text.replace("enabled = true", "enabled = false"))
    caplog.clear()
    sx.load(model)
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["vocabulary.json", "features.npz"])
def test_parts_that_a_model_of_format_1_has_lost(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(FORMAT_1 / "model", tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(sx.CheckpointError, match=rf"{name}: is missing, but run.toml"):
        sx.load(tmp_path / "model")
    assert "is missing" in failure(capsys, "info", tmp_path / "model")


def correlated(seed: int, keep: float, noise: float) -> Dataset:
    """500 instances of 40 labels, each with features of its own, of which a share is kept."""
    random = np.random.default_rng(seed)
    features, labels = random.random((40, 120)) < 0.06, random.random((500, 40)) < 0.05
    found = (labels.astype(float) @ features > 0) & (random.random((500, 120)) < keep)
    found |= random.random((500, 120)) < noise
    return Dataset(
        *(sp.csr_matrix(matrix.astype(np.float32)) * factor for matrix, factor in ((found, 1.5), (labels, 1)))
    )


@pytest.mark.parametrize(("seed", "keep", "noise"), [(0, 0.4, 0.0), (0, 0.8, 0.1), (31, 0.6, 0.03)])
def test_trained_again_from_run_toml(seed: int, keep: float, noise: float, tmp_path: Path) -> None:
    """The same bytes of network, neighbors and settings, whatever tuning has chosen; linear classifiers know the costs
    that it tried. The last case has other best weights with neighbors by the hidden layer, which were once taken for
    those of the features: then there were no probabilities.
    """
    data = correlated(seed, keep, noise)
    small = {"hidden": 16, "fan_in": 8, "group_size": 4, "dense_labels": 8, "batch_size": 64}
    wanted = {"model": small, "training": {"epochs": 2, "validation": 0.3}}
    first = sx.train(data, settings=wanted, output=tmp_path / "a", progress=False)
    again = sx.train(data, settings=tmp_path / "a" / "run.toml", output=tmp_path / "b", progress=False)
    assert first.tuning is not None and again.tuning is None
    names = {"model.safetensors", "optimizer.safetensors", "neighbors.npz", "features.npz", "run.toml"}
    for name in names & {file.name for file in (tmp_path / "a").iterdir()}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    for rank in (first.topk, first.predict_proba):
        theirs = getattr(again, rank.__name__)(data.X, network_alone=True)
        assert all((a == b).all() for a, b in zip(rank(data.X, network_alone=True), theirs, strict=True))
    assert np.mean(first.topk(data.X)[1][:, 0] == again.topk(data.X)[1][:, 0]) > 0.9
    assert (first.predict_proba(data.X)[0] >= 0).all()
