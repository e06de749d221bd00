"""Weights and sums that overflow: training says so, and nothing that came of it is saved, loaded or ranked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx

N, D, L = 64, 16, 50
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D), np.float32) * 100
Y = sp.random(N, L, 0.05, "csr", random_state=2, dtype=np.float32)


def classifier(**options: Any) -> sx.Classifier:
    given = {"fan_in": None, "rewiring": None, "batch_size": 16, "device": "cpu", "num_threads": 2} | options
    return sx.Classifier(D, L, **given)


def overflowed(**options: Any) -> sx.Classifier:
    """A step of finite loss, whose update overflows."""
    made = classifier(**options)
    made.lr = 3e38
    assert np.isfinite(made.train_step(X[:16], Y[:16]).loss)
    return made


@pytest.mark.parametrize("loss", ["bce", "squared_hinge"])
@pytest.mark.parametrize("hidden", [None, 8])
def test_weights_that_overflowed_are_not_used(loss: str, hidden: int | None, tmp_path: Path) -> None:
    good = classifier(loss=loss, hidden=hidden)
    good.save(tmp_path / "m")
    lost = overflowed(loss=loss, hidden=hidden)
    with pytest.raises(sx.ArgumentError, match="scores of row 0 are not finite"):
        lost.topk(X, 3)
    with pytest.raises(sx.CheckpointError, match=r"(weights?|bias)' holds NaN or Inf"):
        lost.save(tmp_path / "m")
    assert sx.Classifier.load(tmp_path / "m").step == 0 and [p.name for p in tmp_path.iterdir()] == ["m"]
    for on_nonfinite in ("raise", "skip"):
        with pytest.raises(sx.DivergenceError, match=r"loss of step \d is \S+, at a learning rate of 3e\+38"):
            lost.train_step(X[16:32], Y[16:32], on_nonfinite=on_nonfinite)
    with pytest.raises(sx.DivergenceError):
        lost.eval_step(X[:16], Y[:16])
    before = good.state_dict()
    with pytest.raises(sx.ArgumentError, match=r"state\['.*'\] holds NaN or Inf"):
        good.load_state_dict(lost.state_dict())
    assert all(np.array_equal(value, before[name]) for name, value in good.state_dict().items())
    lost.load_state_dict(before)
    for saved in (good, lost):
        saved.lr = 0.01
        saved.train_step(X[:16] / 100, Y[:16])
    assert all(np.array_equal(value, lost.state_dict()[name]) for name, value in good.state_dict().items())


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("isa", ["fan_in", "dense"])
def test_one_label_that_is_lost_is_found(value: float, isa: str, tmp_path: Path) -> None:
    """Its score is wrong, and k good ones are left; the rest of the model is sound."""
    made = classifier(fan_in=4 if isa == "fan_in" else None)
    made.save(tmp_path / "m")
    damage(tmp_path / "m", "segments.0.weights", value)
    with pytest.raises(sx.CheckpointError, match=r"segments\.0\.weights: NaN or Inf in row 0"):
        sx.Classifier.load(tmp_path / "m", trainable=False)
    rows = X.copy()
    rows[5] = 3e38 * np.sign(made.state_dict()["segments.0.weights"][0, 0])  # a sum that overflows, weights that do not
    with pytest.raises(sx.ArgumentError, match="scores of row 5 are not finite"):
        made.topk(rows, 1)


def damage(model: Path, tensor: str, value: float) -> None:
    """Puts a number into a saved model, as an earlier version would have saved it."""
    file = model / "model.safetensors"
    content = bytearray(file.read_bytes())
    size = int.from_bytes(content[:8], "little")
    start = 8 + size + json.loads(content[8 : 8 + size])[tensor]["data_offsets"][0]
    content[start : start + 4] = np.float32(value).tobytes()
    old, new = (hashlib.sha256(data).hexdigest() for data in (file.read_bytes(), content))
    file.write_bytes(content)
    config = (model / "config.json").read_text()
    assert old in config
    manifest = json.loads(config.replace(old, new))
    del manifest["sha256"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    (model / "config.json").write_text(json.dumps(manifest | {"sha256": hashlib.sha256(text.encode()).hexdigest()}))


def test_fit_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    made = classifier(loss="squared_hinge", optimizer=sx.SGD(1e-4))

    class Raise:
        def on_epoch(self, clf: Any, info: sx.EpochInfo) -> None:
            clf.lr = 1e6

    with pytest.raises(sx.DivergenceError, match=r"step \d+ .*rate of 1e\+06.*lower lr.*'.*/m' holds epoch 1$"):
        made.fit(X, Y, 9, validation=None, checkpoint=tmp_path / "m", callbacks=[Raise()], progress=False)
    assert sx.Classifier.load(tmp_path / "m").step >= N // 16


def test_rates_must_be_finite_as_float32() -> None:
    made = classifier(optimizer=sx.SGD(0.1, momentum=0.9))
    with pytest.raises(sx.ArgumentError, match=r"lr is 1e\+39; it must be >= 0, and finite as fp32"):
        made.lr = 1e39
    with pytest.raises(sx.ArgumentError, match="momentum"):
        made.momentum = 1 - 1e-12
    assert (made.lr, made.momentum) == (0.1, 0.9)


def test_states_of_pytorch_hold_no_such_weights() -> None:
    torch = pytest.importorskip("torch")
    from sparsexmc.torch import OutputLayer

    layer = OutputLayer(D, L, fan_in=None, rewiring=None, batch_size=16, optimizer=sx.SGD(3e38))
    layer(torch.from_numpy(X[:16]), Y[:16])
    with pytest.raises(sx.ArgumentError, match=r"state_dict\['segments.*' ?\] holds NaN or Inf"):
        layer.state_dict()
    with pytest.raises(sx.DivergenceError):
        layer(torch.from_numpy(X[16:32]), Y[16:32])


def test_scikit_learn_gives_no_freed_memory() -> None:
    pytest.importorskip("sklearn")
    import pickle

    from sparsexmc.sklearn import SparseXMCClassifier

    options = {"hidden": None, "batch_size": 16, "fan_in": None, "rewiring": None, "optimizer": sx.SGD(0.01)}
    made = SparseXMCClassifier(**options).partial_fit(X / 100, Y)
    made.classifier_.lr = 3e38
    made.classifier_.train_step(X[:16] * 1e3, Y[:16])
    for call in (made.decision_function, made.predict, made.predict_proba):
        with pytest.raises(sx.ArgumentError, match="not finite"):
            call(X)
    with pytest.raises(sx.ArgumentError, match="NaN or Inf"):
        pickle.dumps(made)
