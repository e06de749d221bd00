"""DLPack at its edges: capsules of every form, what is wrong with some, when memory is let go, many threads at once."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import sparsexmc as sx
from dlpack_tools import BFLOAT, FLOAT, READ_ONLY, HandMade

ROWS, FEATURES, LABELS = 6, 16, 40
X = (np.random.default_rng(5).integers(-8, 9, (ROWS, FEATURES)) / 8).astype(np.float32)  # exact in every dtype
Y = np.arange(ROWS)


def classifier() -> sx.Classifier:
    settings: dict[str, Any] = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "device": "cpu"}
    return sx.Classifier(FEATURES, LABELS, batch_size=ROWS, **settings)


def misaligned(array: np.ndarray) -> np.ndarray:
    """A copy whose address is odd."""
    return np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


ACCEPTED: dict[str, Callable[[], HandMade]] = {
    "before 1.0": lambda: HandMade(X),
    "version 1.0": lambda: HandMade(X, version=(1, 0)),
    "version 1.9": lambda: HandMade(X, version=(1, 9)),
    "read-only flag": lambda: HandMade(read_only(X), version=(1, 1), flags=READ_ONLY),
    "strides spelled out": lambda: HandMade(X, strides=(FEATURES, 1)),
    "byte offset": lambda: HandMade(X, byte_offset=64),
    "misaligned": lambda: HandMade(misaligned(X)),
    "pinned memory": lambda: HandMade(X, device=(3, 0)),
    "float16": lambda: HandMade(X.astype(np.float16), dtype=(FLOAT, 16, 1)),
    "bfloat16": lambda: HandMade(X.astype(ml_dtypes.bfloat16).view(np.uint16), dtype=(BFLOAT, 16, 1)),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_accepted_and_let_go(kind: str) -> None:
    expected, embeddings, c = classifier().train_step(X, Y), ACCEPTED[kind](), classifier()
    result = c.train_step(embeddings, Y)
    assert (embeddings.exported, embeddings.released) == (1, 1)  # when the call returns, not when the result goes
    assert result.loss == expected.loss
    assert np.asarray(result.grad).shape == X.shape
    c.topk(embeddings)
    assert (embeddings.exported, embeddings.released) == (2, 2)


REFUSED: dict[str, tuple[Callable[[], HandMade], type[Exception], str]] = {
    "every second column": (
        lambda: HandMade(np.repeat(X, 2, axis=1), shape=X.shape, strides=(2 * FEATURES, 2)),
        sx.ArgumentError,
        r"strides \(32, 2\).*np\.ascontiguousarray\(embeddings\)",
    ),
    "rows backwards": (
        lambda: HandMade(X, shape=X.shape, strides=(-FEATURES, 1)),
        sx.ArgumentError,
        r"strides \(-16, 1\)",
    ),
    "one row for all": (lambda: HandMade(X, strides=(0, 1)), sx.ArgumentError, r"strides \(0, 1\)"),
    "vectors": (lambda: HandMade(X, shape=(ROWS, 4), dtype=(FLOAT, 32, 4)), sx.DTypeError, "float32x4"),
    "unknown dtype": (lambda: HandMade(X, dtype=(10, 8, 1)), sx.DTypeError, "dlpack code 10"),
    "no axis": (lambda: HandMade(X, shape=()), sx.ArgumentError, r"shape \(\)"),
    "no columns": (lambda: HandMade(X, shape=(ROWS, 0)), sx.ArgumentError, r"\(6, 0\).*in_features=16"),
    "on a gpu": (lambda: HandMade(X, device=(2, 1)), sx.ArgumentError, r"device \(2, 1\).*copy in host memory"),
    "managed memory": (lambda: HandMade(X, device=(13, 0)), sx.ArgumentError, r"device \(2, 0\)"),
    "unknown device": (lambda: HandMade(X, device=(10, 0)), sx.ArgumentError, r"device \(10, 0\)"),
    "another device than announced": (lambda: Announcing(X, device=(2, 0)), sx.ArgumentError, "on cuda:0.*on cpu"),
    "version 2": (lambda: HandMade(X, version=(2, 0)), sx.ArgumentError, r"embeddings.*exports DLPack 2\.0"),
}


class Announcing(HandMade):
    """Says that it is in host memory, wherever it is."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_and_let_go(kind: str) -> None:
    make, error, message = REFUSED[kind]
    c = classifier()
    before = c.state_dict()
    for call in (lambda array: c.train_step(array, Y), c.topk):
        embeddings = make()
        with pytest.raises(error, match=message):
            call(embeddings)
        gc.collect()
        # A capsule of an unknown version is not touched: its own destructor, which these have not, would release it.
        assert embeddings.released == (0 if kind == "version 2" else embeddings.exported)
    assert all(np.array_equal(value, before[name]) for name, value in c.state_dict().items())


class Giving:
    """An array whose `__dlpack__` returns the same object in every call."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("version", [None, (1, 1)], ids=["before 1.0", "1.1"])
def test_a_capsule_serves_once(version: Any) -> None:
    source, c = HandMade(X, version=version), classifier()
    embeddings = Giving(source.__dlpack__())
    c.train_step(embeddings, Y)
    for call in (lambda: c.train_step(embeddings, Y), lambda: c.topk(embeddings)):
        with pytest.raises(sx.ArgumentError, match="embeddings: its DLPack capsule was taken over before"):
            call()
    assert (c.step, source.released) == (1, 1)


@pytest.mark.parametrize("thing", [None, 3, X.tolist()], ids=["None", "int", "list"])
def test_what_is_no_capsule(thing: Any) -> None:
    with pytest.raises(sx.DTypeError, match="embeddings: neither an array nor a DLPack capsule, but <class"):
        classifier().train_step(Giving(thing), Y)


def test_foreign_capsule() -> None:
    import datetime

    with pytest.raises(sx.DTypeError, match="capsule 'datetime.datetime_CAPI', not a dltensor"):
        classifier().train_step(Giving(datetime.datetime_CAPI), Y)


class Old:
    """NumPy's export without `max_version`, as before NumPy 2.1."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self.array.__dlpack__(stream=stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def test_read_only_arrays_of_libraries_that_cannot_say_so() -> None:
    assert classifier().train_step(Old(X.copy()), Y).loss == classifier().train_step(X, Y).loss
    with pytest.raises(sx.ArgumentError, match="embeddings: its library does not export it by DLPack: .*read-?only"):
        classifier().train_step(Old(read_only(X)), Y)


@pytest.mark.parametrize("make", [lambda e: e, lambda e: HandMade(e, shape=e.shape)], ids=["numpy", "capsule"])
def test_no_rows(make: Any) -> None:
    embeddings, c = make(np.empty((0, FEATURES), np.float32)), classifier()
    scores, ids = c.topk(embeddings, 3)
    assert scores.shape == ids.shape == (0, 3)
    with pytest.raises(sx.ArgumentError, match="embeddings: an empty batch"):
        c.train_step(embeddings, Y[:0])
    assert c.step == 0


def test_no_rows_of_torch() -> None:
    torch = pytest.importorskip("torch")
    assert classifier().topk(torch.empty(0, FEATURES), 3)[1].shape == (0, 3)  # its data pointer is null
    with pytest.raises(sx.ArgumentError, match="empty batch"):
        classifier().train_step(torch.empty(0, FEATURES), Y[:0])


def test_memory_that_is_reused_right_after_the_call() -> None:
    torch = pytest.importorskip("torch")
    plain, reusing = classifier(), classifier()
    for step in range(20):
        expected = plain.train_step(X + step, Y)
        result = reusing.train_step(torch.from_numpy(X) + step, Y)  # freed on return; the allocator hands it out again
        scribbled = [torch.full((ROWS, FEATURES), torch.nan) for _ in range(4)]
        assert result.loss == expected.loss
        np.testing.assert_array_equal(result.grad, expected.grad)
        del scribbled
    np.testing.assert_array_equal(plain.topk(X)[0], reusing.topk(torch.from_numpy(X) + 0)[0])


def test_gradients_outlive_classifier_and_embeddings() -> None:
    embeddings, c = HandMade(X.copy()), classifier()
    grads = [c.train_step(embeddings, Y).grad for _ in range(3)]
    values = [np.array(grad) for grad in grads]
    taken = [np.from_dlpack(grad) for grad in grads]
    del embeddings, c, grads
    gc.collect()
    np.empty((1000, FEATURES)).fill(np.nan)
    for array, value in zip(taken, values, strict=True):
        np.testing.assert_array_equal(array, value)


def test_many_threads_with_classifiers_of_their_own() -> None:
    def train(thread: int) -> list[float]:
        c, source = classifier(), HandMade(X + thread)
        losses = [c.train_step(source, Y).loss for _ in range(20)]
        assert source.exported == source.released == 20
        return losses

    expected = [train(thread) for thread in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(train, range(8))) == expected


def test_many_threads_with_one_classifier() -> None:
    c, source = classifier(), HandMade(X)

    def work(thread: int) -> None:
        for _ in range(20):
            grad = c.train_step(source, Y).grad if thread % 2 else None
            assert grad is None or np.isfinite(np.asarray(grad)).all()
            assert (np.diff(c.topk(source, 5)[0], axis=1) <= 0).all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert c.step == 4 * 20  # one after the other, whoever calls
    assert source.exported == source.released == 12 * 20
    serial = classifier()
    for _ in range(4 * 20):
        serial.train_step(X, Y)
    np.testing.assert_array_equal(c.topk(X)[0], serial.topk(X)[0])  # equal steps, so their order does not show
