"""Signals in long calls: a handler runs soon, what it raises ends the call, and the model is as it was."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.data.text import save_text

RNG = np.random.default_rng(0)


class Stop(Exception):
    """Raised by the handler."""


@contextmanager
def alarm(handler: Callable[..., Any], seconds: float = 0.05) -> Iterator[None]:
    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def stop(*_: object) -> None:
    raise Stop


def sparse(rows: int, cols: int, per_row: int) -> sp.csr_matrix:
    indices = np.sort(RNG.integers(0, cols, (rows, per_row)).astype(np.int32), axis=1).reshape(-1)
    matrix = sp.csr_matrix(
        (RNG.random(len(indices), np.float32) + 0.1, indices, np.arange(rows + 1, dtype=np.int64) * per_row),
        shape=(rows, cols),
    )
    matrix.sum_duplicates()
    return matrix


def dense_classifier(**options: Any) -> sx.Classifier:
    settings: dict[str, Any] = {"fan_in": None, "rewiring": None, "batch_size": 64, "num_threads": 1}
    return sx.Classifier(128, 20_000, **(settings | options))


def topk() -> Callable[[], object]:
    c, X = dense_classifier(), RNG.standard_normal((64, 128)).astype(np.float32)
    return lambda: c.topk(np.tile(X, (200, 1)), 5)


def topk_sparse() -> Callable[[], object]:
    c, X = sx.Classifier(500, 20_000, hidden=128, sparse_input=True, fan_in=None, num_threads=1), sparse(8000, 500, 10)
    return lambda: c.topk(X, 5)


def hidden_activations() -> Callable[[], object]:
    c = sx.Classifier(1024, 10, hidden=1024, fan_in=None, num_threads=1)
    X = np.tile(RNG.standard_normal((64, 1024)).astype(np.float32), (150, 1))
    return lambda: c.hidden_activations(X)


def linear() -> Callable[[], object]:
    X, Y = sparse(20_000, 20_000, 40), sparse(20_000, 2000, 3)
    return lambda: sx.Linear(X, Y, num_threads=1)


def neighbors() -> Callable[[], object]:
    X, Y = sparse(20_000, 500, 30), sparse(20_000, 50, 2)
    found = sx.Neighbors(X, Y, num_threads=1)
    return lambda: found.search(X)


def clustering() -> Callable[[], object]:
    X, Y = sparse(40_000, 20_000, 30), sparse(40_000, 40_000, 3)
    return lambda: sx.cluster_labels(X, Y, 16, num_threads=1)


def reading(folder: Path) -> Callable[[], object]:
    save_text(folder / "data.txt", sparse(2000, 20_000, 100), sparse(2000, 50, 2))
    block = (folder / "data.txt").read_text().partition("\n")[2]
    (folder / "data.txt").write_text("60000 20000 50\n" + block * 30)
    return lambda: sx.data.load(folder / "data.txt")


CALLS = [topk, topk_sparse, hidden_activations, linear, neighbors, clustering]


@pytest.mark.parametrize("make", CALLS, ids=lambda make: make.__name__)
def test_long_calls_end(make: Callable[[], Callable[[], object]]) -> None:
    call = make()
    started = time.monotonic()
    with pytest.raises(Stop), alarm(stop):
        call()
        time.sleep(0.2)  # pragma: no cover  # a machine that was faster than the alarm
    assert time.monotonic() - started < 3


def test_reading_ends(tmp_path: Path) -> None:
    call = reading(tmp_path)
    with pytest.raises(Stop), alarm(stop):
        call()


def test_saving_ends_and_leaves_the_old_model(tmp_path: Path) -> None:
    small = sx.Classifier(16, 50, fan_in=None)
    small.save(tmp_path / "m")
    large = sx.Classifier(256, 60_000, fan_in=None, optimizer=sx.Adam(), num_threads=1)
    with pytest.raises(Stop), alarm(stop, 0.01):
        large.save(tmp_path / "m")
    assert sx.load(tmp_path / "m").num_labels == 50
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_interrupted_prediction_changes_nothing() -> None:
    c = dense_classifier(optimizer=sx.Adam(lr=0.01))
    X, y = RNG.standard_normal((64, 128)).astype(np.float32), RNG.integers(0, 20_000, 64)
    c.train_step(X, y)
    before = c.state_dict()
    with pytest.raises(Stop), alarm(stop):
        c.topk(np.tile(X, (200, 1)), 5)
    after = c.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    c.train_step(X, y)
    assert c.step == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_handlers_may_use_the_model_that_predicts(weighted: bool, tmp_path: Path) -> None:
    c = dense_classifier()
    X = np.tile(RNG.standard_normal((64, 128)).astype(np.float32), (40, 1))
    weights = RNG.uniform(0.1, 10, 20_000).astype(np.float32) if weighted else None
    expected = c.topk(X, 5, label_weights=weights)
    used = []

    def use(*_: object) -> None:
        c.save(tmp_path / "m")
        used.append(c.topk(X[:3], 5, label_weights=np.full(20_000, 2.0, np.float32))[1])

    with alarm(use):
        found = c.topk(X, 5, label_weights=weights)
    assert len(used) == 1 and sx.load(tmp_path / "m").step == 0
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
