"""Arrays of other libraries: what is taken as it is, what is refused and how, and gradients in the caller's kind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import sparsexmc as sx

torch = pytest.importorskip("torch")
ROWS, FEATURES, LABELS = 6, 16, 40
RNG = np.random.default_rng(5)
X = (RNG.integers(-8, 9, (ROWS, FEATURES)) / 8).astype(np.float32)  # exact in every dtype
Y = np.arange(ROWS)


def classifier(**options: Any) -> sx.Classifier:
    settings = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "batch_size": ROWS, "device": "cpu"}
    return sx.Classifier(FEATURES, LABELS, **(settings | options))


class Producer:
    """An array of some other library, which knows the arguments of `__dlpack__` up to a certain year."""

    def __init__(self, source: Any, known: tuple[str, ...] = ("stream", "max_version"), device: tuple = (1, 0)) -> None:
        self.source = source
        self.known = known
        self.device = device
        self.asked: list[dict[str, Any]] = []

    def __dlpack__(self, **options: Any) -> Any:
        self.asked.append(options)
        if not set(options) <= set(self.known):
            raise TypeError(f"unexpected keyword arguments {set(options) - set(self.known)}")
        return self.source.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple:
        return self.device


def read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


ACCEPTED: dict[str, tuple[Callable[[], Any], Callable[[Any], np.ndarray]]] = {
    "numpy float32": (lambda: X, np.asarray),
    "numpy float16": (lambda: X.astype(np.float16), np.asarray),
    "numpy read-only": (lambda: read_only(X), np.asarray),
    "numpy bfloat16": (lambda: X.astype(ml_dtypes.bfloat16), lambda g: g.astype(np.float32)),
    "torch float32": (lambda: torch.from_numpy(X), lambda g: g.numpy()),
    "torch float16": (lambda: torch.from_numpy(X).half(), lambda g: g.numpy()),
    "torch bfloat16": (lambda: torch.from_numpy(X).bfloat16(), lambda g: g.float().numpy()),
    "other float32": (lambda: Producer(X), np.asarray),
    "other bfloat16": (lambda: Producer(torch.from_numpy(X).bfloat16()), np.asarray),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_accepted_kinds_give_the_same_step(kind: str) -> None:
    make, to_numpy = ACCEPTED[kind]
    expected = classifier().train_step(X, Y)
    embeddings = make()
    result = classifier().train_step(embeddings, Y)
    assert result.loss == expected.loss
    rounding = 2.0**-8 if "bfloat16" in kind else 2.0**-11 if "float16" in kind else 0
    np.testing.assert_allclose(to_numpy(result.grad).astype(np.float32), expected.grad, rtol=rounding, atol=1e-7)
    np.testing.assert_array_equal(classifier().topk(embeddings, 3)[1], classifier().topk(X, 3)[1])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_gradient_of_torch_is_torch(dtype: str) -> None:
    embeddings = torch.from_numpy(X).to(getattr(torch, dtype))
    grad = classifier().train_step(embeddings, Y).grad
    assert isinstance(grad, torch.Tensor)
    assert grad.dtype == embeddings.dtype
    assert grad.shape == embeddings.shape
    assert grad.is_contiguous()


def test_gradient_of_numpy_is_numpy() -> None:
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        grad = classifier().train_step(X.astype(dtype), Y).grad
        assert isinstance(grad, np.ndarray)
        assert grad.dtype == dtype


def test_gradient_of_another_library_is_exported_by_dlpack() -> None:
    grad = classifier().train_step(Producer(torch.from_numpy(X).bfloat16()), Y).grad
    assert grad.shape == (ROWS, FEATURES)
    assert grad.dtype == "bfloat16"
    assert grad.__dlpack_device__() == (1, 0)
    taken = torch.from_dlpack(grad)
    assert taken.dtype == torch.bfloat16
    np.testing.assert_array_equal(taken.float().numpy(), grad.numpy())
    values = grad.numpy().copy()
    del grad
    gc.collect()
    np.testing.assert_array_equal(taken.float().numpy(), values)  # the memory lives on with its taker


def test_no_gradient_if_not_asked_for() -> None:
    with_gradient, without = classifier(), classifier()
    expected = with_gradient.train_step(X, Y)
    result = without.train_step(X, Y, return_grad=False)
    assert result.grad is None
    assert result.loss == expected.loss
    np.testing.assert_array_equal(with_gradient.topk(X)[0], without.topk(X)[0])


def test_stream_and_version_are_asked_for() -> None:
    embeddings = Producer(X)
    classifier().train_step(embeddings, Y)
    assert embeddings.asked == [{"stream": None, "max_version": (1, 1)}]


def test_export_to_another_device_is_refused() -> None:
    grad = classifier().train_step(Producer(X), Y).grad
    with pytest.raises(BufferError, match="host memory"):
        grad.__dlpack__(dl_device=(2, 0))
    copied = torch.from_dlpack(grad.__dlpack__(copy=True)).zero_()
    assert not copied.any()
    assert np.asarray(grad).any()


@pytest.mark.parametrize("known", [("stream",), ()])
def test_older_producers(known: tuple[str, ...]) -> None:
    embeddings = Producer(X, known)
    assert classifier().train_step(embeddings, Y).loss == classifier().train_step(X, Y).loss
    assert embeddings.asked[-1].keys() == set(known)


def test_callers_array_is_never_written(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    tensor = torch.from_numpy(X.copy())
    c = classifier()
    for embeddings in (mapped, tensor, read_only(X)):
        c.train_step(embeddings, Y)
        c.topk(embeddings)
        np.testing.assert_array_equal(np.asarray(embeddings), X)


def test_array_is_let_go_after_the_call() -> None:
    tensor = torch.from_numpy(X.copy())
    gone = weakref.ref(tensor)
    c = classifier()
    c.train_step(tensor, Y)
    c.topk(tensor)
    with pytest.raises(sx.ArgumentError):
        c.train_step(tensor, Y[:-1])
    del tensor
    gc.collect()
    assert gone() is None


REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "requires grad": (lambda: torch.from_numpy(X).requires_grad_(), sx.ArgumentError, r"embeddings\.detach\(\)"),
    "numpy float64": (lambda: X.astype(np.float64), sx.DTypeError, r"float64.*astype\(np\.float32\)"),
    "torch float64": (lambda: torch.from_numpy(X).double(), sx.DTypeError, r"float64.*embeddings\.float\(\)"),
    "numpy int64": (lambda: X.astype(np.int64), sx.DTypeError, "int64"),
    "numpy bool": (lambda: X > 0, sx.DTypeError, "bool"),
    "numpy complex": (lambda: X.astype(np.complex64), sx.DTypeError, "complex64"),
    "numpy text": (lambda: X.astype(str), sx.DTypeError, "<U"),
    "numpy objects": (lambda: X.astype(object), sx.DTypeError, "object"),
    "other byte order": (lambda: X.astype(">f4"), sx.DTypeError, ">f4"),
    "list": (lambda: X.tolist(), sx.DTypeError, "builtins.list.*np.asarray"),
    "none": (lambda: None, sx.DTypeError, "NoneType"),
    "numpy columns": (
        lambda: np.repeat(X, 2, axis=1)[:, ::2],
        sx.ArgumentError,
        r"strides \(32, 2\).*np\.ascontiguousarray\(embeddings\)",
    ),
    "torch transposed": (
        lambda: torch.from_numpy(X.T.copy()).t(),
        sx.ArgumentError,
        r"strides \(1, 6\).*embeddings\.contiguous\(\)",
    ),
    "broadcast": (lambda: np.broadcast_to(X[:1], X.shape), sx.ArgumentError, r"strides \(0, 1\)"),
    "one row as vector": (lambda: X[0], sx.ArgumentError, r"shape \(16,\)"),
    "three axes": (lambda: X[None], sx.ArgumentError, r"shape \(1, 6, 16\)"),
    "no axis": (lambda: np.zeros((), np.float32), sx.ArgumentError, r"shape \(\)"),
    "wrong width": (lambda: X[:, :8].copy(), sx.ArgumentError, r"\(6, 8\).*in_features=16"),
    "on a gpu": (lambda: Producer(X, device=(2, 1)), sx.ArgumentError, r"\(2, 1\).*CPU"),
    "meta tensor": (lambda: torch.empty(ROWS, FEATURES, device="meta"), sx.ArgumentError, "meta"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_kinds(kind: str) -> None:
    make, error, message = REFUSED[kind]
    c = classifier()
    before = c.state_dict()
    for call in (lambda: c.train_step(make(), Y), lambda: c.topk(make())):
        with pytest.raises(error, match=message):
            call()
    assert all(np.array_equal(value, before[name]) for name, value in c.state_dict().items())


def test_import_neither_needs_nor_imports_a_framework() -> None:
    script = "import sys, threading, sparsexmc; assert 'torch' not in sys.modules; assert threading.active_count() == 1"
    check = "; import os; assert len(os.listdir('/proc/self/task')) == 1" if sys.platform == "linux" else ""
    threads_of_numpy = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script + check], check=True, env=os.environ | threads_of_numpy)
