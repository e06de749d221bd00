"""Checkpoints: bit for bit, readable by others, and clear errors for everything that is not one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import reference as ref
import sparsexmc as sx
from cases import BY_NAME, CASES, Case
from harness import assert_same_bits, build, csr, tensors, train

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
FILES = ["model.safetensors", "optimizer.safetensors", "config.json"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with two segments, a hidden layer, optimizer state and label names."""
    case = dataclasses.replace(BY_NAME["hidden_hinge"], optimizer=ref.Sgd(0.01, momentum=0.9))
    classifier = build(case, rewiring=sx.Rewiring(method="set", interval=2))
    train(classifier, case.steps())
    path = tmp_path / "model"
    classifier.save(path, label_names=[f"label {i}" for i in range(case.num_labels)])
    return path


@each_case
def test_round_trip_and_continued_training(case: Case, tmp_path: Path) -> None:
    classifier = build(case)
    train(classifier, case.steps())
    classifier.lr = 0.5 * classifier.lr
    classifier.save(str(tmp_path / "model"))
    loaded = sx.load(tmp_path / "model")
    assert_same_bits(tensors(loaded), tensors(classifier))
    assert (loaded.config | {"num_threads": 2}, loaded.lr, loaded.step) == (classifier.config, classifier.lr, 3)
    x = case.features(8)
    k = min(3, case.num_labels)
    for given, expected in zip(loaded.topk(x, k=k), classifier.topk(x, k=k), strict=True):
        np.testing.assert_array_equal(given, expected)
    batch = [(x, case.labels(8))]
    assert train(loaded, batch) == train(classifier, batch)
    assert_same_bits(tensors(loaded), tensors(classifier))


def test_safetensors_package_reads_our_files(saved: Path) -> None:
    load_file = pytest.importorskip("safetensors.numpy").load_file
    model, optimizer = (load_file(saved / f"{name}.safetensors") for name in ("model", "optimizer"))
    state = tensors(sx.load(saved))
    assert {name for name in state if name.startswith("optimizer.")} == set(optimizer)
    assert {name for name in state if not name.startswith("optimizer.")} == set(model)
    assert_same_bits(model | optimizer, state)


def test_contents(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {*FILES, "labels.txt", "README.md"}
    assert json.loads((saved / "config.json").read_text())
    assert (saved / "labels.txt").read_text().splitlines()[:2] == ["label 0", "label 1"]
    assert list(saved.parent.iterdir()) == [saved]  # no temporary directory is left


def test_label_names(saved: Path, tmp_path: Path) -> None:
    classifier = sx.load(saved)
    assert classifier.label_names == [f"label {i}" for i in range(100)]
    names = [f"käse\t{i}" for i in range(100)]
    classifier.label_names = names
    classifier.save(tmp_path / "other")
    assert sx.load(tmp_path / "other").label_names == names
    unnamed = build(BY_NAME["g17_odd"])
    unnamed.save(tmp_path / "unnamed")
    assert sx.load(tmp_path / "unnamed").label_names is None
    assert not (tmp_path / "unnamed" / "labels.txt").exists()


@pytest.mark.parametrize("names", [["one"], [f"l{i}\n" for i in range(100)], list(range(100))])
def test_wrong_label_names(names: list, tmp_path: Path) -> None:
    classifier = build(BY_NAME["g17_odd"])
    with pytest.raises(sx.errors.Error, match="label"):
        classifier.save(tmp_path / "model", label_names=names)
    assert list(tmp_path.iterdir()) == []


def test_replacing_a_checkpoint(saved: Path) -> None:
    classifier = sx.load(saved)
    case = BY_NAME["hidden_hinge"]
    train(classifier, [(case.features(4), case.labels(4))])
    classifier.save(saved)
    assert_same_bits(tensors(sx.load(saved)), tensors(classifier))
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("name", [*FILES, "labels.txt"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file(saved: Path, name: str, share: float) -> None:
    file = saved / name
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(sx.errors.CheckpointError, match=name):
        sx.load(saved)


@pytest.mark.parametrize("name", [*FILES, "labels.txt"])
def test_missing_file(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(sx.errors.CheckpointError, match=name):
        sx.load(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "labels.txt"])
@pytest.mark.parametrize("place", [0, 7, 8, 20, "middle", "last"])
def test_single_flipped_bit(saved: Path, name: str, place: int | str) -> None:
    data = bytearray((saved / name).read_bytes())
    data[{"middle": len(data) // 2, "last": len(data) - 1}.get(place, place)] ^= 4
    (saved / name).write_bytes(data)
    with pytest.raises(sx.errors.CheckpointError, match=name):
        sx.load(saved)


def test_file_of_another_checkpoint(saved: Path, tmp_path: Path) -> None:
    """Well-formed, but not what config.json records."""
    other = sx.load(saved)
    case = BY_NAME["hidden_hinge"]
    train(other, [(case.features(4), case.labels(4))])
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", saved)
    with pytest.raises(sx.errors.CheckpointError, match=r"model\.safetensors"):
        sx.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 999}', '{"a": 1}', "\xff\xfe", "[" * 100_000])
def test_foreign_config(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(sx.errors.CheckpointError, match=r"config\.json"):
        sx.load(saved)


def test_every_edited_number_of_the_configuration_is_noticed_or_harmless(saved: Path) -> None:
    """Whatever number in config.json is edited, loading is an error or a model; never a crash."""
    original = json.loads((saved / "config.json").read_text())

    def paths(node, prefix=()):
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            if isinstance(value, int) and not isinstance(value, bool):
                yield (*prefix, key)
            else:
                yield from paths(value, (*prefix, key))

    for path in paths(original):
        for value in (-1, 0, 2**31, 2**63, 1e300, "7", None):
            edited = json.loads(json.dumps(original))
            node = edited
            for key in path[:-1]:
                node = node[key]
            node[path[-1]] = value
            (saved / "config.json").write_text(json.dumps(edited))
            with contextlib.suppress(sx.errors.Error):
                sx.load(saved).topk(np.zeros((1, 31), np.float32), k=1)


def test_foreign_paths(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("hello")
    for path in ("absent", "empty", "file"):
        with pytest.raises(sx.errors.CheckpointError, match=path):
            sx.load(tmp_path / path)


def test_saving_never_replaces_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    classifier = build(BY_NAME["g17_odd"])
    for name in ("papers", "file"):
        with pytest.raises(sx.errors.CheckpointError, match=name):
            classifier.save(tmp_path / name)
    assert (tmp_path / "papers" / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_state_dict_round_trip() -> None:
    """Into an equally configured classifier of another seed; training then goes on alike."""
    for name in ("two_segments_adam", "hidden_hinge", "sparse_adam", "g64_mostly_padding"):
        case = dataclasses.replace(BY_NAME[name], dropout=0.0)
        first, second = build(case), build(case, seed=99)
        train(first, case.steps())
        second.load_state_dict(first.state_dict())
        assert_same_bits(tensors(second), tensors(first))
        assert second.step == first.step == 3
        batch = [(case.features(6), case.labels(6))]
        assert train(second, batch) == train(first, batch)


def test_state_dict_is_a_copy() -> None:
    case = BY_NAME["g17_odd"]
    classifier = build(case)
    before = tensors(classifier)
    for value in classifier.state_dict().values():
        if isinstance(value, np.ndarray) and value.ndim:
            value[...] = 0
    assert_same_bits(tensors(classifier), before)


MISTAKES = ["missing", "unknown", "shape", "dtype", "indices order", "indices range", "order"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_wrong_state_dict_changes_nothing(mistake: str) -> None:
    case = BY_NAME["two_segments_adam"]
    classifier = build(case)
    classifier.train_step(case.features(), csr(case.labels()))
    before = tensors(classifier)
    state = build(case, seed=5).state_dict()
    name = {"order": "label_order", "indices order": "segments.1.indices", "indices range": "segments.1.indices"}.get(
        mistake, "segments.1.weights"
    )
    match mistake:
        case "missing":
            del state[name]
        case "unknown":
            name = "segments.7.weights"
            state[name] = state["segments.1.weights"]
        case "shape":
            state[name] = state[name].T.copy()
        case "dtype":
            state[name] = state[name].astype(np.float64)
        case "indices order":
            state[name][3] = state[name][3][::-1].copy()
        case "indices range":
            state[name][3, -1] = 100
        case "order":
            state[name][0] = state[name][1]
    with pytest.raises(sx.errors.Error, match=name.replace(".", r"\.")):
        classifier.load_state_dict(state)
    assert_same_bits(tensors(classifier), before)
    assert classifier.step == 1
