"""A model directory is one thing: written, verified and replaced together, whatever happens in between."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sparsexmc as sx
from cli_tools import run
from sparsexmc.core.directory import ModelReader, ModelWriter, read_manifest
from sparsexmc.core.lock import ModelLock

FORMAT_1 = Path(__file__).parent / "data" / "format_1"
PARTS = {"labels.txt", "linear.npz", "model.safetensors", "optimizer.safetensors", "README.md", "settings.toml"}
LABELS = 40


def classifier(seed: int = 0) -> sx.Classifier:
    return sx.Classifier(16, LABELS, fan_in=8, group_size=4, batch_size=8, num_threads=1, seed=seed)


def save(path: Path, seed: int = 0) -> None:
    """A model of six parts, each of which tells the seed."""
    with ModelWriter(path) as writer:
        names = [f"label {seed} {i}" for i in range(LABELS)]
        writer.add_classifier(classifier(seed).engine, names, f"# Card {seed}\n")
        with writer.open("linear.npz") as file:
            np.savez(file, seed=np.full(5000, seed))
        writer.add_text("settings.toml", f"seed = {seed}\n")
        writer.publish()


def seed_of(path: Path) -> int:
    """The seed that all parts agree on."""
    with ModelReader(path) as reader:
        assert set(reader.parts) == PARTS
        names = reader.label_names()
        assert names is not None
        seeds = {
            int(names[-1].split()[1]),
            int(reader.text("README.md").split()[-1]),
            int(reader.text("settings.toml").split()[-1]),
            int(np.load(reader.open("linear.npz"))["seed"][-1]),
            int(json.loads(reader.engine().config_json())["seed"]),
        }
    assert len(seeds) == 1
    return seeds.pop()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save(tmp_path / "model", seed=1)
    return tmp_path / "model"


READERS: dict[str, Callable[[Path], object]] = {
    "load": sx.load,
    "reader": ModelReader,
    "manifest": read_manifest,
}


def refused(path: Path, pattern: str) -> None:
    for read in READERS.values():
        with pytest.raises(sx.errors.CheckpointError, match=pattern):
            read(path)


def test_what_was_written_is_read(model: Path) -> None:
    assert seed_of(model) == 1
    assert {path.name for path in model.iterdir()} == PARTS | {"config.json"}
    manifest = read_manifest(model)
    assert (manifest.format_version, manifest.config["num_labels"], manifest.progress["step"]) == (2, LABELS, 0)
    for name, part in manifest.parts.items():
        assert part.bytes == (model / name).stat().st_size and len(part.sha256 or "") == 64
    with ModelReader(model) as reader:
        file = reader.open("settings.toml")
        assert (file.read(4), file.seek(-2, os.SEEK_END), file.read()) == (b"seed", 7, b"1\n")
        with pytest.raises(sx.errors.CheckpointError, match=r"no part 'absent', only README.md"):
            reader.open("absent")
    assert [path.name for path in model.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("name", sorted(PARTS))
@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "flipped", "exchanged", "a directory"])
def test_every_damaged_part_is_an_error_for_every_reader(model: Path, name: str, damage: str) -> None:
    file = model / name
    content = bytearray(file.read_bytes())
    file.unlink()
    if damage == "exchanged":
        save(model.parent / "other", seed=2)
        shutil.copy(model.parent / "other" / name, file)
        if file.read_bytes() == content:  # the optimizer has no state yet
            return
    elif damage == "a directory":
        file.mkdir()
    elif damage != "missing":
        content[len(content) // 2] ^= 4 if damage == "flipped" else 0
        file.write_bytes(content[: -1 if damage == "truncated" else None] + (b"x" if damage == "longer" else b""))
    refused(model, name.replace(".", r"\."))


def test_what_the_manifest_does_not_list_is_an_error(model: Path) -> None:
    (model / ".gitattributes").write_text("*")
    (model / ".cache").mkdir()
    assert seed_of(model) == 1  # hidden files are nobody's parts
    for name in ("neighbors.npz", "run.toml", "notes.txt"):  # of these the first two were allowed in format 1
        (model / name).write_text("foreign")
        refused(model, f"holds '{name}', which its config.json does not list")
        with pytest.raises(sx.errors.CheckpointError, match=f"holds '{name}', which is no part of the model there"):
            classifier().save(model)
        (model / name).unlink()
    (model / "plots").mkdir()
    refused(model, "holds 'plots'")
    (model / "plots").rmdir()
    classifier(seed=2).save(model)
    assert {path.name for path in model.iterdir()} == {
        ".cache", ".gitattributes", "README.md", "config.json", "model.safetensors", "optimizer.safetensors"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "config.json", "a\nb", "x" * 256])
def test_names_that_no_part_may_have(tmp_path: Path, name: str) -> None:
    with ModelWriter(tmp_path / "model") as writer, pytest.raises(sx.ArgumentError, match="cannot be the name"):
        writer.open(name)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_complete_is_not_published(model: Path) -> None:
    with ModelWriter(model) as writer:
        with pytest.raises(sx.ArgumentError, match="a model needs a classifier"):
            writer.publish()
        writer.add_classifier(classifier().engine)
        with pytest.raises(sx.ArgumentError, match=r"has a part 'README.md' already"):
            writer.add_text("README.md", "another")
        file = writer.open("linear.npz")
        file.write(b"half")
        with pytest.raises(sx.ArgumentError, match=r"part 'linear.npz' was not closed"):
            writer.publish()
        with pytest.raises(KeyError), file:
            raise KeyError
        with pytest.raises(sx.ArgumentError, match=r"part 'linear.npz' was not closed"):
            writer.publish()
    with pytest.raises(sx.ArgumentError, match="closed"):
        writer.publish()
    assert seed_of(model) == 1
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_an_exception_leaves_the_old_model_and_nothing_else(model: Path) -> None:
    held = []
    with pytest.raises(KeyboardInterrupt), ModelWriter(model) as writer:
        writer.add_classifier(classifier().engine)
        held.append(writer.open("linear.npz"))  # still referenced, as by a traceback
        raise KeyboardInterrupt
    assert seed_of(model) == 1
    assert [path.name for path in model.parent.iterdir()] == ["model"]


def test_a_reader_keeps_what_it_has_opened(model: Path) -> None:
    with ModelReader(model) as reader:
        save(model, seed=2)
        assert reader.text("settings.toml") == "seed = 1\n"
        assert json.loads(reader.engine().config_json())["seed"] == 1
    assert seed_of(model) == 2


def test_the_last_of_two_writers_wins_whole(model: Path) -> None:
    with ModelWriter(model) as first:
        first.add_classifier(classifier(seed=5).engine)
        save(model, seed=2)
        assert seed_of(model) == 2
        first.publish()
    assert set(read_manifest(model).parts) == PARTS - {"labels.txt", "linear.npz", "settings.toml"}
    assert [path.name for path in model.parent.iterdir()] == ["model"]


# ---- format 1 ----


def test_models_of_format_1_still_predict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that the command line saved when it put its files beside the checkpoint, which did not list them."""
    assert run("predict", FORMAT_1 / "model", FORMAT_1 / "texts.jsonl", "--threads", "1") == 0
    ours, theirs = capsys.readouterr().out.splitlines(), (FORMAT_1 / "predictions.txt").read_text().splitlines()
    assert len(ours) == len(theirs)
    for line, expected in zip(ours, theirs, strict=True):
        pairs = [[item.rsplit(":", 1) for item in text.split("\t")] for text in (line, expected)]
        assert [name for name, _ in pairs[0]] == [name for name, _ in pairs[1]]
        np.testing.assert_allclose([float(s) for _, s in pairs[0]], [float(s) for _, s in pairs[1]], rtol=1e-3)
    manifest = read_manifest(FORMAT_1 / "model")
    unverified = {name for name, part in manifest.parts.items() if part.sha256 is None}
    assert manifest.format_version == 1
    assert unverified == {"run.toml", "features.npz", "vocabulary.json", "linear.npz", "neighbors.npz"}
    shutil.copytree(FORMAT_1 / "model", tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("foreign")
    refused(tmp_path / "model", r"holds 'notes\.txt'")
    (tmp_path / "model" / "notes.txt").unlink()
    save(tmp_path / "model", seed=3)  # replaces all of it
    assert seed_of(tmp_path / "model") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---- two trainings, kills, a full disk ----


def test_a_second_training_is_refused_at_its_start(tmp_path: Path) -> None:
    model, file = tmp_path / "deep" / "model", tmp_path / "deep" / "model.sparsexmc-lock"
    with ModelLock(model):
        assert file.exists()
        with pytest.raises(sx.errors.CheckpointError, match="another training writes to .*model"):
            ModelLock(model)
        save(model, seed=1)  # the training's own
        assert file.exists()
    assert not file.exists()
    file.write_text("")  # a killed process left it
    with ModelLock(model):
        pass
    file.write_text("")
    save(model, seed=2)
    assert [path.name for path in file.parent.iterdir()] == ["model"]
    file.symlink_to(tmp_path / "outside")
    with pytest.raises(sx.errors.CheckpointError, match="cannot create"):
        ModelLock(model)
    assert not (tmp_path / "outside").exists()


SAVING = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_model_directory import save
print("ready", flush=True)
for seed in range(2, 1000):
    save(Path(sys.argv[1]), seed)
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_at_any_moment_leaves_one_whole_model(model: Path, sign: signal.Signals) -> None:
    moments = random.Random(0)
    for _ in range(4):
        command = [sys.executable, "-c", SAVING, str(model), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.2))
            process.send_signal(sign)
        assert seed_of(model) >= 1
        if sign == signal.SIGINT:
            assert [path.name for path in model.parent.iterdir()] == ["model"]
    save(model, seed=1)
    assert [path.name for path in model.parent.iterdir()] == ["model"]


FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
import sparsexmc as sx
from test_model_directory import save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in map(int, sys.argv[3:]):  # bytes that a file may have
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        save(Path(sys.argv[1]), 2)
    except sx.errors.CheckpointError as error:
        assert "File too large; free some space there" in str(error), error
    else:
        raise SystemExit(f"no error at {limit}")
"""


def test_a_full_disk_leaves_the_old_model(model: Path) -> None:
    sizes = sorted(path.stat().st_size for path in model.iterdir())
    command = [sys.executable, "-c", FULL_DISK, str(model), str(Path(__file__).parent)]
    done = subprocess.run([*command, *(str(size - 1) for size in sizes)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert seed_of(model) == 1
    assert [path.name for path in model.parent.iterdir()] == ["model"]
