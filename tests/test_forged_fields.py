"""Every field of what a model directory holds as JSON, TOML or arrays, with values of a wrong type and right hashes."""

from __future__ import annotations

import copy
import io
import json
import math
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

import sparsexmc as sx
import test_resume as training
import test_resume_model as whole_training
from fuzz import damage, readers
from sparsexmc.core.directory import ModelReader
from sparsexmc.training.state_files import StoredState

Place = tuple[Any, ...]
MISSING = object()


def leaves(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value of a document that holds no others, and where it lies."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*at, key))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*at, 0))
    else:
        yield at, value


def objects(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    """The objects and lists of a document, the first of each list, and where they lie."""
    if isinstance(value, dict | list) and value:
        yield at, value
        for key, item in value.items() if isinstance(value, dict) else [(0, value[0])]:
            yield from objects(item, (*at, key))


def forged(document: Any, at: Place, value: Any) -> Any:
    """The document with another value there, or without any."""
    if not at:
        return value
    document = copy.deepcopy(document)
    parent = document
    for key in at[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[at[-1]]
    else:
        parent[at[-1]] = value
    return document


def wrong(value: Any) -> list[Any]:
    """Values of other types than a value's."""
    anything: list[Any] = [{"a": 1}, [[1]]]
    if isinstance(value, bool):
        return [*anything, 2, "x"]
    if isinstance(value, int | float):
        return [*anything, "x", True, math.nan, *([1.5, -1] if isinstance(value, int) else [math.inf])]
    if value is None:
        return [*anything, "x", True]
    stands_for_a_number = value in ("none", "tune", "auto")
    return [*anything, True, *([] if stands_for_a_number else [3])]


# ---- a state of a training ----


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("state") / "m"
    training.interrupted(place, 10, checkpoint_every=1)
    return place.with_name("m.states") / f"step-{9:012d}"


@pytest.fixture
def spoiled(state: Path, tmp_path: Path) -> Path:
    """A copy to be forged."""
    return Path(shutil.copytree(state, tmp_path / "state"))


def read(path: Path) -> StoredState:
    with ModelReader(path) as reader:
        return StoredState.read(reader)


def assert_refused(path: Path, document: Any, field: Any) -> None:
    damage.write_part(path, "training.json", json.dumps(document).encode())
    with pytest.raises(sx.errors.CheckpointError, match=r"training\.json|callbacks\.npz") as raised:
        read(path)
    assert str(field) in str(raised.value)


def test_fields_of_a_state(state: Path, spoiled: Path) -> None:
    document = json.loads((state / "training.json").read_text())
    read(spoiled)
    assert len(list(leaves(document))) > 40
    for at, value in leaves(document):
        if at[:2] == ("callbacks", 0) and at[2] == "state":
            continue  # of the user
        for other in wrong(value):
            assert_refused(spoiled, forged(document, at, other), [key for key in at if isinstance(key, str)][-1])
        for other in [10**30, 10**400] if type(value) is int and at[0] == "state" else []:
            assert_refused(spoiled, forged(document, at, other), "state.")
    for at, held in objects(document):
        for other in (3, "x", None):
            assert_refused(spoiled, forged(document, at, other), "")
        if isinstance(held, dict) and at[2:] != ("state",):  # which is of the callback
            optional = {"data": {"instance_weights"}, "validation": set(held)}.get(at[-1] if at else "", set())
            for key in held.keys() - optional:
                assert_refused(spoiled, forged(document, (*at, key), MISSING), "entries" if key == "dtype" else key)
            assert_refused(spoiled, forged(document, (*at, "odd"), 1), "odd")


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("epoch",), 3),
        (("epoch",), 9),
        (("last_epoch",), 7),
        (("first_step",), 10),
        (("patience_from",), 3),
        (("instances",), 32),
        (("instances",), 50),
        (("instances",), 112),
        (("is_judged",), True),
        (("seconds",), 0),
        (("momentum",), 1.5),
        (("history", "epochs"), []),
        (("history", "best_epoch"), 2),
        (("history", "best_epoch"), None),
        (("history", "best_value"), None),
        (("history", "metric"), "P@3"),
        (("history", "stopped"), "patience"),
        (("history", "epochs", 0, "epoch"), 2),
        (("history", "epochs", 0, "step"), 10),
        (("history", "epochs", 0, "validation", "nDCG@5"), MISSING),
        (("history", "epochs", 0, "validation", "loss"), 1.0),
    ],
)
def test_a_position_that_no_training_has(at: Place, value: Any, state: Path, spoiled: Path) -> None:
    document = forged(json.loads((state / "training.json").read_text()), ("state", *at), value)
    damage.write_part(spoiled, "training.json", json.dumps(document).encode())
    c = training.classifier()
    before = c.state_dict()
    with pytest.raises(sx.errors.CheckpointError, match=r"training\.json"):
        training.fit(c, resume=spoiled, callbacks=[training.StopAt(None)])
    assert all(np.array_equal(value, before[name]) for name, value in c.state_dict().items())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"[" * 100_000, b"\xff", b"9" * 5000])
def test_a_state_that_is_no_object(text: bytes, spoiled: Path) -> None:
    damage.write_part(spoiled, "training.json", text)
    with pytest.raises(sx.errors.CheckpointError, match=r"training\.json"):
        training.fit(training.classifier(), resume=spoiled, callbacks=[training.StopAt(None)])


@pytest.mark.parametrize("name", ["1/losses", "-1/losses", "losses", "0/seen", "x/losses"])
def test_arrays_of_no_callback(name: str, spoiled: Path) -> None:
    damage.write_part(spoiled, "callbacks.npz", npz({name: np.ones(3)}))
    with pytest.raises(sx.errors.CheckpointError, match=rf"callbacks\.npz.*'{name}'"):
        read(spoiled)
    damage.write_part(spoiled, "callbacks.npz", b"PK")
    with pytest.raises(sx.errors.CheckpointError, match=r"callbacks\.npz"):
        read(spoiled)


def test_what_a_callback_does_not_take(state: Path, spoiled: Path) -> None:
    document = forged(json.loads((state / "training.json").read_text()), ("callbacks", 0, "state", "seen"), MISSING)
    damage.write_part(spoiled, "training.json", json.dumps(document).encode())
    with pytest.raises(sx.errors.CheckpointError, match=r"StopAt does not take callbacks\[0\]\.state: KeyError"):
        training.fit(training.classifier(), resume=spoiled, callbacks=[training.StopAt(None)])


@pytest.mark.parametrize(("name", "content"), [("training.json", b"{}"), ("run.toml", b"a = 1"), ("run.toml", b"")])
def test_train_goes_on_from_no_such_state(name: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        whole_training.train(tmp_path / "m", stop=5)
    (state,) = (tmp_path / "m.training.states").iterdir()
    damage.write_part(state, name, content)
    with pytest.raises(sx.errors.CheckpointError, match=name.replace(".", r"\.")):
        whole_training.train(tmp_path / "m", resume=True)


# ---- the other parts of a model ----


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    for name in ("model", "hidden"):
        readers._model(folder / name, hidden=name == "hidden")
    return folder


@pytest.fixture
def model(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good / "model", tmp_path / "model"))


def assert_none_loads(path: Path, file: str, contents: Iterator[tuple[Any, bytes]]) -> None:
    """Each is refused with an error that names the file."""
    said = []
    for what, content in contents:
        if file == "config.json":
            damage.write_manifest(path, json.loads(content))
        else:
            damage.write_part(path, file, content)
        try:
            sx.load(path, num_threads=1)
        except sx.errors.CheckpointError as error:
            if file not in str(error):
                said.append(f"{what}: {error}")
        except Exception as error:
            said.append(f"{what}: {error!r}")
        else:
            said.append(f"{what}: accepted")
    assert not said, "\n".join(said)


def forgeries(document: Any) -> Iterator[tuple[Any, Any]]:
    for at, value in leaves(document):
        for other in wrong(value):
            yield (at, other), forged(document, at, other)


def test_fields_of_config_json(model: Path) -> None:
    document = json.loads((model / "config.json").read_text())
    parts = {key: document[key] for key in document if key not in ("files", "sha256")}
    contents = ((what, json.dumps(document | new).encode()) for what, new in forgeries(parts))
    assert_none_loads(model, "config.json", contents)


def test_fields_of_run_toml(model: Path) -> None:
    document = tomllib.loads((model / "run.toml").read_text())
    contents = ((what, tomli_w.dumps(new).encode()) for what, new in forgeries(document))
    assert_none_loads(model, "run.toml", contents)


def test_fields_of_vocabulary_json(model: Path) -> None:
    document = json.loads((model / "vocabulary.json").read_text())
    contents = ((what, json.dumps(new).encode()) for what, new in forgeries(document))
    assert_none_loads(model, "vocabulary.json", contents)


@pytest.mark.parametrize(
    ("kind", "file"), [("model", "linear.npz"), ("model", "neighbors.npz"), ("hidden", "neighbors.npz")]
)
def test_fields_of_an_archive(kind: str, file: str, good: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(good / kind, tmp_path / "model"))
    arrays = dict(np.load(path / file))
    document = json.loads(arrays["meta"].tobytes())
    contents = (
        (what, npz(arrays | {"meta": np.frombuffer(json.dumps(new).encode(), np.uint8)}))
        for what, new in forgeries(document)
    )
    assert_none_loads(path, file, contents)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("model", "calibration.npz"),
        ("model", "features.npz"),
        ("model", "linear.npz"),
        ("model", "neighbors.npz"),
        ("hidden", "neighbors.npz"),
    ],
)
def test_arrays_of_an_archive(kind: str, file: str, good: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(good / kind, tmp_path / "model"))
    arrays = dict(np.load(path / file))

    def contents() -> Iterator[tuple[Any, bytes]]:
        for name, array in arrays.items():
            if name == "meta":  # bytes of a text, whatever their shape
                continue
            others = [array.astype(str), array[None], np.array(["x"]), array.astype(np.complex64)]
            if array.dtype.kind == "f":
                others.append(np.full_like(array, np.nan))
            for other in others:
                yield (name, other), npz(arrays | {name: other})

    assert_none_loads(path, file, contents())
