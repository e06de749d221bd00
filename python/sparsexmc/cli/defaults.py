"""The configuration of a training run before the user says anything: chosen from the size of the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .config import Config
from .preparation import are_counts

if TYPE_CHECKING:
    import scipy.sparse as sp

# Below this many labels a sparse output layer saves nothing worth having.
SMALL_OUTPUT = 2_000
# Below these many instances an epoch has few steps: smaller batches, more epochs, stronger dropout. And one in twenty
# would be too few to tell which epoch was the best.
TINY_DATA, SMALL_DATA = 4_000, 20_000
MAX_DENSE_LABELS = 20_000
# Length of the sparse rows that the hidden layer reads, see Hidden.input_scale; longer rows overfit small sets.
SMALL_ROW_LENGTH, ROW_LENGTH = 4.0, 6.0


def for_data(X: Any, Y: sp.csr_matrix) -> Config:
    """Defaults for training features X [n, in_features] (scipy CSR or array) and labels Y [n, num_labels].

    Sparse features get a hidden layer; embeddings are read as they are. Many labels get a fan-in output layer with the
    most frequent ones dense. Without [model.schedule] total_steps and [model.rewiring] stop, `for_steps` fills them in.
    """
    import scipy.sparse as sp

    instances, num_labels = Y.shape
    sparse, small = sp.issparse(X), instances < SMALL_DATA
    width = 1024 if sparse else X.shape[1]
    batch_size = min(instances, 32 if instances < TINY_DATA else 128 if small else 256)
    model: Config = {
        "in_features": X.shape[1],
        "num_labels": num_labels,
        "sparse_input": sparse,
        "fan_in": "none" if num_labels < SMALL_OUTPUT or width <= 64 else 64,
        "group_size": 16,
        "dense_labels": min(round(0.1 * num_labels), MAX_DENSE_LABELS),
        "loss": "bce",
        "initial_bias": 0.0 if small else _log_odds(Y),
        "batch_size": batch_size,
        "labels_per_instance": _largest_batch_mean(Y, batch_size),
    }
    if model["fan_in"] == "none":
        del model["group_size"], model["dense_labels"]
    if sparse:
        model["features_per_instance"] = _largest_batch_mean(X, batch_size)
        model["hidden"] = {"features": width, "dropout": 0.5 if small else 0.3, "input_scale": _input_scale(X, small)}
    optimizer: Config = {"name": "adam", "lr": 1e-3}
    if sparse:
        optimizer["lr"] = 1.5e-3 if small else 5e-3
        if not small:
            optimizer["betas"] = [0.9, 0.99]  # rare features are updated rarely: a shorter memory suits them
    model["optimizer"] = optimizer
    model["schedule"] = {"kind": "linear"}
    # In runs of a few thousand steps rewiring costs more than it finds (docs/decisions.md); long ones ask for it.
    model["rewiring"] = "none"
    model["seed"] = 0
    return {"model": model, "training": {"epochs": 30 if small else 6, "validation": "none" if small else 0.05}}


def for_steps(model: Config, total_steps: int) -> Config:
    """`model` with the steps that follow from the length of the training.

    A schedule that falls reaches its end with the training; rewiring ends after three quarters of it, so that the
    connections grown last still train.
    """
    model = dict(model)
    schedule = model.get("schedule")
    if isinstance(schedule, dict) and schedule.get("kind", "constant") != "constant":
        model["schedule"] = {"total_steps": max(total_steps, _int(schedule.get("warmup_steps")) + 1), **schedule}
    rewiring = model.get("rewiring")
    if isinstance(rewiring, dict):
        model["rewiring"] = {"stop": max(total_steps * 3 // 4, _int(rewiring.get("start")) + 1), **rewiring}
    return model


def _input_scale(X: sp.csr_matrix, small: bool) -> float:
    """Brings the rows to the mean length at which the hidden layer learns well; counts become unit rows by TF-IDF."""
    import numpy as np

    length = 1.0 if are_counts(X) else math.sqrt(float(np.square(X.data, dtype=np.float64).sum()) / max(X.shape[0], 1))
    return float(f"{(SMALL_ROW_LENGTH if small else ROW_LENGTH) / length:.3g}") if length > 0 else 1.0


def _int(value: object) -> int:
    """`value`, or 0 for what is no integer: the configuration objects refuse that later, by name."""
    return value if isinstance(value, int) else 0


def _log_odds(Y: sp.csr_matrix) -> float:
    """Log-odds that a label is on an instance, the bias at which BCE starts calm; rounded, in [-12, 0]."""
    share = max(Y.nnz, 1) / (Y.shape[0] * Y.shape[1])
    return round(min(max(math.log(share / (1 - share)), -12.0), 0.0), 1) if share < 1 else 0.0


def _largest_batch_mean(matrix: sp.csr_matrix, batch_size: int) -> int:
    """Entries per instance that no batch of `batch_size` different instances can pass on average."""
    import numpy as np

    counts = np.sort(np.diff(matrix.indptr))[::-1][:batch_size]
    return max(1, math.ceil(counts.mean()))
