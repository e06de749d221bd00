"""Where nothing may be written: into a model, over the current directory, to no path at all. What is replaced keeps its
permissions, and two writers to one path do not disturb each other."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import SMALL, failure, make_split
from sparsexmc._files import atomic_file

X, Y = make_split(40, seed=0)
DATA = sx.data.Dataset(X, Y)
TRAINED = {"settings": {"model": {"hidden": 8}}, "epochs": 1, "progress": False}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and a model."""
    folder = tmp_path_factory.mktemp("outputs")
    sx.data.save(folder / "data", DATA)
    sx.Model(classifier()).save(folder / "model")
    return folder


def classifier() -> sx.Classifier:
    return sx.Classifier(60, 40, hidden=8, sparse_input=True, fan_in=4, batch_size=40, num_threads=1)


def fit(**options: Any) -> None:
    classifier().fit(X, Y, 1, validation=None, progress=False, **options)


WRITERS: dict[str, Callable[[Path], object]] = {
    "Classifier.save": lambda path: classifier().save(path),
    "Model.save": lambda path: sx.Model(classifier()).save(path),
    "train": lambda path: sx.train(DATA, output=path, **TRAINED),
    "train, metrics": lambda path: sx.train(DATA, metrics_file=path, **TRAINED),
    "fit, checkpoint": lambda path: fit(checkpoint=path),
    "fit, metrics": lambda path: fit(metrics_file=path),
    "data.save": lambda path: sx.data.save(path, DATA),
    "data.save_text": lambda path: sx.data.save_text(path, X, Y),
    "data.save_text_pair": lambda path: sx.data.save_text_pair(path, f"{path}.labels", X, Y),
    "Settings.save": lambda path: sx.Settings.from_table({"model": {"in_features": 3, "num_labels": 2}}).save(path),
    "Neighbors.save": lambda path: sx.Neighbors(X, Y).save(path),
    "Linear.save": lambda path: sx.Linear(X, Y, rounds=1).save(path),
}
COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "--output": lambda saved, path: ["predict", saved / "model", saved / "data", "-o", path],
    "output": lambda saved, path: ["train", saved / "data", "-o", path, *SMALL],
    "--metrics-file": lambda saved, path: [
        "train", saved / "data", "-o", saved / "new", "--metrics-file", path, *SMALL
    ],
    "DST": lambda saved, path: ["convert", saved / "data", path],
}  # fmt: skip


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("inner", ["x", "deep/er/x", "config.json"])
@pytest.mark.parametrize("writer", WRITERS)
def test_nothing_is_written_into_a_model(saved: Path, writer: str, inner: str) -> None:
    before = everything_in(saved)
    said = rf"='{saved}/model/{inner}' lies in the model directory '{saved}/model'"
    with pytest.raises(sx.ArgumentError, match=said):
        WRITERS[writer](saved / "model" / inner)
    assert everything_in(saved) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_writes_into_a_model(saved: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything_in(saved)
    error = failure(capsys, *COMMANDS[name](saved, saved / "model" / "x"))
    assert f"{name}='{saved}/model/x' lies in the model directory '{saved}/model'" in error
    assert everything_in(saved) == before


def test_no_report_is_written_into_a_model(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    error = failure(capsys, "evaluate", saved / "model", saved / "data", "--report", saved / "model" / "report")
    assert "lies in the model directory" in error and not (saved / "model" / "report").exists()


def test_links_into_a_model_count_and_hidden_files_do_not(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(saved / "model")
    with pytest.raises(sx.ArgumentError, match="lies in the model directory"):
        classifier().save(tmp_path / "link" / "inner")
    with pytest.raises(sx.CheckpointError, match="lies in the model directory"):  # also below the checks of Python
        sx.core.directory.ModelWriter(tmp_path / "link" / "inner")
    shutil.copytree(saved / "model", tmp_path / "model")
    sx.data.save(tmp_path / "model" / ".cache" / "data", DATA)
    with atomic_file(tmp_path / "model" / ".notes") as file:
        file.write(b"mine")
    sx.load(tmp_path / "model").save(tmp_path / "model")  # over itself
    assert (tmp_path / "model" / ".notes").read_bytes() == b"mine"
    sx.load(tmp_path / "model")


@pytest.mark.parametrize("writer", [name for name in WRITERS if "metrics" not in name])
@pytest.mark.parametrize("path", ["", " ", ".", "..", "/", "a\0b", 5, b"model", None], ids=repr)
def test_what_is_no_place(writer: str, path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path is None and writer in ("train", "fit, checkpoint"):
        return  # nowhere
    if writer in ("Neighbors.save", "Linear.save") and not isinstance(path, str):
        return  # they take open files, too
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(sx.ArgumentError, match=r"path|output|checkpoint"):
        WRITERS[writer](path)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["here"]


def test_metrics_stay_out_of_the_model_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    inside = tmp_path / "model" / "log.jsonl"
    with pytest.raises(sx.ArgumentError, match=r"metrics_file='.*log.jsonl' lies in '.*model', which will be a model"):
        sx.train(DATA, output=tmp_path / "model", metrics_file=inside, **TRAINED)
    with pytest.raises(sx.ArgumentError, match="which will be a model"):
        fit(checkpoint=tmp_path / "model", metrics_file=inside)
    sx.data.save(tmp_path / "data", DATA)
    error = failure(capsys, "train", tmp_path / "data", "-o", tmp_path / "model", "--metrics-file", inside, *SMALL)
    assert "which will be a model" in error and list((tmp_path / "model").iterdir()) == []


def test_settings_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = sx.Settings.from_table({"model": {"in_features": 3, "num_labels": 2}})
    settings.save(tmp_path / "run.toml")
    before = (tmp_path / "run.toml").read_text()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        settings.save(tmp_path / "run.toml")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"run.toml": before}


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(sx.ArgumentError, match="is no regular file"), atomic_file(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    classifier().save(tmp_path / "model")
    sx.data.save(tmp_path / "data", DATA)
    (tmp_path / "file").write_text("old")
    for path, bits in (("model", 0o700), ("data", 0o2750), ("file", 0o640), ("model/model.safetensors", 0o600)):
        (tmp_path / path).chmod(bits)
    classifier().save(tmp_path / "model")
    sx.data.save(tmp_path / "data", DATA, overwrite=True)
    with atomic_file(tmp_path / "file") as file:
        assert mode(Path(f"/proc/self/fd/{file.fileno()}")) == 0o640  # before anything is in it
    assert [mode(tmp_path / path) for path in ("model", "data", "file")] == [0o700, 0o2750, 0o640]
    assert mode(tmp_path / "model" / "model.safetensors") == 0o600
    assert mode(tmp_path / "model" / "config.json") == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Takes new files for leftovers, as another saver may in the moment before they are locked.
CLEANER = """
import fcntl, os, sys
print("ready", flush=True)
while os.path.isdir(sys.argv[1]):
    for name in os.listdir(sys.argv[1]):
        try:
            path = os.path.join(sys.argv[1], name)
            descriptor = os.open(path, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        except OSError:
            pass
        os.close(descriptor)
"""


def test_a_new_file_that_is_taken_for_a_leftover_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    other = subprocess.Popen([sys.executable, "-c", CLEANER, folder], stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"ready\n"
    for _ in range(400):
        with pytest.raises(InterruptedError), atomic_file(folder / "file") as file:
            assert os.fstat(file.fileno()).st_nlink == 1
            raise InterruptedError  # without waiting for the disk
    folder.rmdir()
    assert other.wait(10) is not None


SAVER = """
import sys
import sparsexmc as sx
c = sx.Classifier(8, 40, fan_in=4, batch_size=8, num_threads=1, seed=int(sys.argv[2]))
sys.stdin.read(1)
for number in range(25):
    c.save(sys.argv[1], [f"{sys.argv[2]} {number} {label}" for label in range(40)], card=f"{sys.argv[2]} {number}")
"""


def test_two_savers_to_one_path(tmp_path: Path) -> None:
    """Both succeed, every time; what is there in the end is one of their models, whole."""
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, tmp_path / "model", str(seed)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for seed in (1, 2)
    ]
    for saver in savers:
        assert saver.stdin is not None
        saver.stdin.write(b"x")
        saver.stdin.flush()
    errors = [saver.communicate(timeout=60)[1].decode() for saver in savers]
    assert errors == ["", ""]
    loaded = sx.Classifier.load(tmp_path / "model")
    assert loaded.label_names is not None
    seed, number, _ = loaded.label_names[-1].split()
    assert (int(seed), number) == (loaded.config["seed"], "24")
    assert (tmp_path / "model" / "README.md").read_text() == f"{seed} {number}"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert np.isfinite(loaded.state_dict()["segments.0.weights"]).all() and sp.issparse(Y)
