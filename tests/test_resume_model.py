"""`sx.train` and `sparsexmc train` go on with an interrupted training, and start with another model's weights."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import run, subprocess_command
from sparsexmc.data import Dataset
from sparsexmc.model import TrainingRun

INSTANCES, TERMS, LABELS = 260, 50, 40
RNG = np.random.default_rng(2)
X = sp.random(INSTANCES, TERMS, 0.15, "csr", np.float32, rng=RNG)
X.data[:] = RNG.integers(1, 5, X.nnz)
Y = sp.random(INSTANCES, LABELS, 0.08, "csr", np.float32, rng=RNG)
NAMES = [f"label {i}" for i in range(LABELS)]
DATA = Dataset(X, Y, label_names=NAMES)
SETTINGS = {
    "model": {"hidden": 16, "fan_in": 8, "group_size": 4, "dense_labels": 8, "batch_size": 32, "num_threads": 2},
    "training": {"epochs": 3, "validation": 0.2},
}


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, c: sx.Classifier, info: sx.training.StepInfo) -> None:
        if info.step == self.step:
            raise KeyboardInterrupt


def train(output: Path | None, data: Dataset = DATA, stop: int = 0, **options: Any) -> sx.Model:
    options = {"settings": SETTINGS, "checkpoint_every": 2, "progress": False, "callbacks": [StopAt(stop)]} | options
    return sx.train(data, output=output, **options)


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "m"
    train(path)
    return path


@pytest.mark.parametrize("settings", [SETTINGS, None])
def test_the_model_has_the_same_bytes(settings: Any, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "m"
    for step, wherefrom in ((4, None), (9, "m.training.states holds the state"), (16, "m.training holds the model")):
        with pytest.raises(KeyboardInterrupt, match="go on with --resume") as raised:
            train(output, stop=step, resume=step > 4)
        if wherefrom:
            assert "m.training" in str(raised.value)
    assert not output.exists()
    model = train(output, resume=True, settings=settings)
    assert files(output) == files(whole), "linear classifiers, neighbors, tuning, probabilities and settings included"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert model.history is not None and len(model.history.epochs) == 3


def test_averages_of_the_weights(tmp_path: Path) -> None:
    """Killed with states of trained weights and averages; the model at the end holds the averages alone."""
    averaged = SETTINGS | {"training": SETTINGS["training"] | {"average": {"method": "ema", "decay": 0.8}}}
    for step in (9, 16):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "killed", stop=step, resume=step > 9, settings=averaged)
    train(tmp_path / "killed", resume=True)
    train(tmp_path / "whole", settings=averaged)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert sx.load(tmp_path / "whole").classifier.config["average"] is None


def test_what_differs_is_named(tmp_path: Path) -> None:
    output = tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        train(output, stop=5)
    for options, said in (
        ({"settings": {"model": {"hidden": 8}}}, "model.hidden.features is 8, not 16"),
        ({"epochs": 4, "seed": 3}, "model.seed is 3, not 0; training.epochs is 4, not 3"),
        ({"data": Dataset(X[:-1], Y[:-1])}, "it has num_instances=259, not 260"),
        ({"data": Dataset(X, Y[:, ::-1], label_names=NAMES)}, "Y has the same size but other content"),
        ({"resume": False}, "a training to it was interrupted; go on with --resume"),
    ):
        with pytest.raises(sx.ArgumentError, match=said):
            train(output, **({"resume": True} | options))
    train(output, resume=True, num_threads=1)  # which changes no bit
    assert sx.load(output).settings.model.num_threads == 1


def test_over_an_older_model(whole: Path, tmp_path: Path) -> None:
    """The interrupted training was allowed to replace it; the older model stays until the end."""
    output = tmp_path / "m"
    train(output, epochs=1)
    old = files(output)
    with pytest.raises(KeyboardInterrupt):
        train(output, stop=9, force=True)
    assert files(output) == old
    train(output, resume=True)
    assert files(output) == files(whole)


def test_force_starts_anew(tmp_path: Path, whole: Path) -> None:
    output = tmp_path / "m"
    with pytest.raises(KeyboardInterrupt):
        train(output, stop=9, seed=8)
    train(output, force=True)
    assert files(output) == files(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_killed_on_the_command_line(tmp_path: Path) -> None:
    """Killed at random, also while the parts beside the network are made, and started again by the same command."""
    sp.save_npz(tmp_path / "X_trn.npz", X)
    sp.save_npz(tmp_path / "Y_trn.npz", Y)
    sets = [f"--set=model.{key}={value}" for key, value in SETTINGS["model"].items()]
    options = [*sets, "--epochs", 4, "--set=training.validation=0.2", "--no-progress", "--checkpoint-every", 1]
    assert run("train", tmp_path, "-o", tmp_path / "whole", *options) == 0
    command = subprocess_command("train", tmp_path, "-o", tmp_path / "m", *options, "--resume", "--keep", 2)
    rng = np.random.default_rng(0)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = set((tmp_path / "m.training.states").glob("step-*"))
        while process.poll() is None and set((tmp_path / "m.training.states").glob("step-*")) <= before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
    if not (tmp_path / "m").exists() or list(tmp_path.glob("m.training*")):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert files(tmp_path / "m") == files(tmp_path / "whole")
    assert not list(tmp_path.glob("m.training*"))


def test_resume_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    sp.save_npz(data / "X_trn.npz", X)
    sp.save_npz(data / "Y_trn.npz", Y)
    common = [data, "-o", tmp_path / "m", "--no-progress", "--epochs", 1]
    assert run("train", *common, "--resume") == 0
    assert "nothing to resume; it starts anew" in capsys.readouterr().out
    assert run("train", *common, "--resume") == 2
    assert "holds a model" in capsys.readouterr().err
    assert run("train", data, "--demo", "--resume") == 2
    assert run("train", *common, "--checkpoint-every", "often") == 2
    assert "checkpoint_every='often'" in capsys.readouterr().err
    assert run("train", data, "-o", tmp_path / "n", "--no-progress", "--epochs", 1, "--init", tmp_path / "m") == 0
    assert run("train", data, "-o", tmp_path / "o", "--init", tmp_path / "none") == 2


# ---- the weights of another model ----


def test_init_starts_with_the_weights_of_a_model(whole: Path) -> None:
    """Labels in another order have other ids, and the weights follow their names."""
    order = RNG.permutation(LABELS)
    data = Dataset(X, Y[:, order], label_names=[NAMES[i] for i in order])
    model = sx.load(whole)
    job = TrainingRun(data, init=whole, progress=False)
    assert job.settings.model.fan_in == 8 and job.settings.model.hidden.features == 16
    assert job.classifier.step == 0 and job.settings.data.tfidf is True
    there, ids = model.topk(X, 6, network_alone=True)
    here, new = job.classifier.topk(job.X, 6)
    assert np.array_equal(here, there)
    assert np.mean(order[new] == ids) > 0.99  # but for ties
    state = job.classifier.state_dict()
    assert not any(state[name].any() for name in state if name.startswith("optimizer."))
    trained = job.train()
    assert trained.classifier.step == job.steps


def test_init_from_a_classifier_and_a_model(whole: Path) -> None:
    model = sx.load(whole)
    network = TrainingRun(DATA, init=model.classifier).classifier
    of_model = TrainingRun(DATA, init=model, settings={"model": {"optimizer": {"lr": 0.5}}}).classifier
    left, right = network.state_dict(), of_model.state_dict()
    assert all(np.array_equal(left[name], right[name]) for name in left)
    assert of_model.lr == 0.5


def test_init_and_resume(whole: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"init": whole, "settings": {"training": SETTINGS["training"]}}
    train(tmp_path / "a", **options)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "m", stop=9, **options)
    train(tmp_path / "m", resume=True, **options)
    assert files(tmp_path / "m") == files(tmp_path / "a")


def test_init_that_does_not_fit(whole: Path, tmp_path: Path) -> None:
    for data, options, said in (
        (Dataset(X[:, :-1], Y), {}, "has in_features=50, but the data has 49"),
        (Dataset(X, Y[:, :-1]), {}, "has num_labels=40, but the data has 39"),
        (Dataset(X, Y, label_names=[*NAMES[:-1], "new"]), {}, "1 labels of .* such as 'label 39'"),
        (DATA, {"settings": {"model": {"fan_in": 4}}}, "model.fan_in is 4, but that follows from init"),
        (DATA, {"settings": {"model": {"hidden": 4}}}, "model.hidden is 4, but that follows from init"),
        (DATA, {"settings": {"model": {"label_order": "semantic"}}}, "model.label_order is 'semantic'"),
        (DATA, {"settings": {"data": {"tfidf": False}}}, "data.tfidf follows from init"),
        (Dataset(X.toarray(), Y), {}, "reads sparse features, the data has dense ones"),
    ):
        with pytest.raises(sx.ArgumentError, match=said):
            sx.train(data, init=whole, progress=False, **options)
    with pytest.raises(sx.ArgumentError, match="init is 3; pass a Model"):
        sx.train(DATA, init=3)
    with pytest.raises(sx.errors.CheckpointError):
        sx.train(DATA, init=tmp_path / "nothing")


def test_arguments() -> None:
    with pytest.raises(sx.ArgumentError, match="resume=True needs output"):
        sx.train(DATA, resume=True)
    with pytest.raises(sx.ArgumentError, match="checkpoint_every='x'"):
        sx.train(DATA, checkpoint_every="x")
