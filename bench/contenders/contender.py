"""One contender on one data set in this process: seconds, memory, size of the model, predicted ids.

``OUT.json`` holds: method, tool with its version, data, seed, threads; ``seeded``, whether the tool takes a seed;
``training_seconds``, ``prediction_seconds``; ``data_bytes``, the resident set before training starts, and what
training and prediction add to it at their peaks, ``training_bytes`` and ``prediction_bytes``; ``peak_bytes``, the
largest resident set of both; ``model_bytes``, the saved model, or its arrays where there is nothing to save;
``settings``, what the contender wants known.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import common

K = 5  # labels predicted for an instance

Matrix: TypeAlias = "sp.csr_matrix | npt.NDArray[np.float32]"  # features: bag of words, or embeddings
Ids: TypeAlias = npt.NDArray[np.int64]  # [n, K]


class Split(NamedTuple):
    """Features [n, D] float32 and labels [n, L]."""

    X: Matrix
    Y: sp.csr_matrix


class Contender(Protocol):
    """One method with its settings. The calls come in this order, and only `train` and `predict` are timed."""

    seeded: bool
    settings: dict[str, object]

    def prepare(self, train: Split, folder: Path) -> None:
        """Brings the data into the form that the tool trains on. The folder is for its files."""

    def train(self) -> None:
        """Learns from what `prepare` made."""

    def finish(self) -> int:
        """Saves the model and loads it for prediction; returns the bytes of the model."""

    def predict(self, X: Matrix) -> Ids:
        """The K best labels of each row, best first; -1 where there are fewer."""


def load(folder: Path, part: str) -> Split:
    """X and Y of the part "trn" or "tst" of a data directory as ``sparsexmc.data.save`` writes it."""
    dense = folder / f"X_{part}.npy"
    X = np.load(dense) if dense.exists() else sp.csr_matrix(sp.load_npz(folder / f"X_{part}.npz"))
    return Split(X, sp.csr_matrix(sp.load_npz(folder / f"Y_{part}.npz")))


def measure(contender: Contender, data: Path, out: Path, about: dict[str, object]) -> None:
    """Trains and predicts; writes ``OUT.npz``, then ``OUT.json`` with `about` in front: a JSON file means done."""
    with tempfile.TemporaryDirectory() as folder:
        contender.prepare(load(data, "trn"), Path(folder))
        X = load(data, "tst").X
        data_bytes = common.start_memory_watch()
        begin = time.perf_counter()
        contender.train()
        training = time.perf_counter() - begin
        training_peak = common.peak_rss()
        model_bytes = contender.finish()
        common.start_memory_watch()
        begin = time.perf_counter()
        ids = contender.predict(X)
        prediction = time.perf_counter() - begin
        prediction_peak = common.peak_rss()
    assert ids.shape == (X.shape[0], K), ids.shape
    result = {
        "seeded": contender.seeded,
        "training_seconds": round(training, 3),
        "prediction_seconds": round(prediction, 3),
        "data_bytes": data_bytes,
        "training_bytes": training_peak - data_bytes,
        "prediction_bytes": prediction_peak - data_bytes,
        "peak_bytes": max(training_peak, prediction_peak),
        "model_bytes": model_bytes,
        "settings": contender.settings,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out.with_name(out.name + ".npz"), ids=ids)
    out.with_name(out.name + ".json").write_text(json.dumps({**about, **result}, indent=2) + "\n")


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def best_ids(scores: sp.csr_matrix) -> Ids:
    """The K best columns of each row of a sparse matrix of scores; ties go to the smaller id."""
    scores = scores.sorted_indices()
    ids = np.full((scores.shape[0], K), -1, np.int64)
    for row, (begin, end) in enumerate(zip(scores.indptr[:-1], scores.indptr[1:], strict=True)):
        order = np.argsort(-scores.data[begin:end], kind="stable")[:K]
        ids[row, : len(order)] = scores.indices[begin:end][order]
    return ids
