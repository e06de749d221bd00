"""The configuration of a training run before the user says anything: chosen from the size of the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sparsexmc._core import cpu_matrix_units

from .config import FREQUENCY, Config
from .preparation import are_counts

if TYPE_CHECKING:
    import scipy.sparse as sp

# Below this many labels a sparse output layer saves nothing worth having.
SMALL_OUTPUT = 2_000
# Below these many instances an epoch has few steps: smaller batches, more epochs, stronger dropout.
TINY_DATA, SMALL_DATA, SMALL_DATA_FEW_LABELS = 4_000, 10_000, 20_000
# Of fewer instances one in ten would be too few to tell which epoch or which weight of linear classifiers was best.
LEAST_TO_HOLD_OUT = 10_000
# From here on a network of 2,000 hidden units no longer overfits within a few epochs, and a high rate pays.
LARGE_DATA = 40_000
# Rows of more tokens than this move a hidden unit further per step: they overfit at the rate that suits short ones.
LONG_ROW = 40
MAX_DENSE_LABELS = 20_000
HIDDEN = 1024
ABOVE_LOG_ODDS = 2.5
# Length of the sparse rows that the hidden layer reads, see Hidden.input_scale; longer rows overfit small sets.
SMALL_ROW_LENGTH, ROW_LENGTH = 4.0, 6.0
# Hidden weights that start small learn more from the data, where there is time to grow: see Hidden.initial_scale.
SMALL_START = 0.1
# Neighbors are searched among all instances, one after another: beyond so many that takes longer than it is worth.
MAX_NEIGHBORS = 2_000_000
# In the space of the hidden layer a search passes over a byte per instance and unit.
MAX_HIDDEN_NEIGHBORS = 500_000
# Linear classifiers take some 2,500 bytes per instance while they train.
MAX_LINEAR = 2_000_000


def for_data(X: Any, Y: sp.csr_matrix) -> Config:
    """Defaults for training features X [n, in_features] (scipy CSR or array) and labels Y [n, num_labels].

    A hidden layer reads the features, scaled to the size at which Adam learns well. Many labels get a fan-in output
    layer with the most frequent ones dense: with indices and moments less than a tenth of a dense layer's memory.
    Without [model.schedule] total_steps and [model.rewiring] stop, `for_steps` fills them in. What the figures rest on
    stands in docs/design/training.md.
    """
    import scipy.sparse as sp

    instances, num_labels = Y.shape
    sparse, many_labels = sp.issparse(X), num_labels >= SMALL_OUTPUT
    small = instances < (SMALL_DATA if many_labels else SMALL_DATA_FEW_LABELS)
    large = instances >= LARGE_DATA
    long_rows = sparse and X.nnz > LONG_ROW * instances
    batch_size = min(instances, 32 if instances < TINY_DATA else 128 if small else 256)
    model: Config = {
        "in_features": X.shape[1],
        "num_labels": num_labels,
        "num_instances": instances,
        "sparse_input": sparse,
        "fan_in": (32 if sparse else 16) if many_labels else "none",
        "group_size": 16,
        "label_order": FREQUENCY,
        "dense_labels": min(round((0.06 if sparse else 0.08) * num_labels), MAX_DENSE_LABELS),
        "loss": "bce",
        "initial_bias": 0.0 if small else _initial_bias(Y),
        "batch_size": batch_size,
        "labels_per_instance": largest_batch_mean(Y, batch_size),
    }
    if not many_labels:
        del model["group_size"], model["dense_labels"], model["label_order"]
    if sparse:
        model["features_per_instance"] = largest_batch_mean(X, batch_size)
    dropout = 0.5 if small or long_rows else 0.4 if not large else 0.3 if sparse else 0.2
    model["hidden"] = {
        "features": HIDDEN,
        "dropout": dropout,
        "input_scale": _input_scale(X, small),
        "initial_scale": SMALL_START if large and sparse else 1.0,
    }
    rate = 1.5e-3 if small else 5e-3 if large and sparse and not long_rows else 3e-3
    optimizer: Config = {"name": "adam", "lr": rate}
    if not small:
        optimizer["betas"] = [0.9, 0.99]  # rare features are updated rarely: a shorter memory suits them
    model["optimizer"] = optimizer
    model["schedule"] = {"kind": "linear"}
    # A hidden layer learns what any connections carry, and gains nothing from better ones (docs/design/rewiring.md).
    model["rewiring"] = "none"
    model["seed"] = 0
    if cpu_matrix_units():  # a GPU takes bfloat16 anyway
        model["compute_dtype"] = "bfloat16"
    training: Config = {
        "epochs": 30 if small else 4 if large else 6,
        "validation": "none" if instances < LEAST_TO_HOLD_OUT else 0.05 if large else 0.1,
    }
    if instances >= LEAST_TO_HOLD_OUT:
        training["validation_metric"] = "nDCG@5" if num_labels >= 5 else "P@1"  # steadier than P@1 on few instances
    beside = {"linear": _linear(instances, sparse), "neighbors": _neighbors(instances)}
    return {"model": model, "training": training, **beside}


def _linear(instances: int, sparse: bool) -> Config:
    if instances > MAX_LINEAR or not sparse:
        return {"enabled": False}
    return {"enabled": True, "cost": "tune", "negatives": 50, "rounds": 4, "threshold": 0.1, "weight": "tune"}


def _neighbors(instances: int) -> Config:
    if instances > MAX_NEIGHBORS:
        return {"enabled": False}
    space = "tune" if instances <= MAX_HIDDEN_NEIGHBORS else "features"
    return {"enabled": True, "count": 50, "space": space, "power": "tune", "weight": "tune"}


def for_steps(model: Config, total_steps: int) -> Config:
    """`model` with the steps that follow from the length of the training.

    A schedule that falls reaches its end with the training. Rewiring happens a dozen times, or every 1000 steps, and
    fades until three quarters of the training, so that the connections grown last still train. A
    meta-classifier rests after half of it.
    """
    model = dict(model)
    auxiliary = model.get("auxiliary")
    if isinstance(auxiliary, dict) and not {"steps", "epochs"} & auxiliary.keys():
        model["auxiliary"] = {"steps": max(total_steps // 2, 1), **auxiliary}
    schedule = model.get("schedule")
    if isinstance(schedule, dict) and schedule.get("kind", "constant") != "constant":
        model["schedule"] = {"total_steps": max(total_steps, _int(schedule.get("warmup_steps")) + 1), **schedule}
    rewiring = model.get("rewiring")
    if isinstance(rewiring, dict):
        model["rewiring"] = {
            "fraction": 0.3,
            "fraction_schedule": "cosine",
            "interval": min(max(total_steps // 12, 1), 1000),
            "stop": max(total_steps * 3 // 4, _int(rewiring.get("start")) + 1),
            **rewiring,
        }
    return model


def _input_scale(X: Any, small: bool) -> float:
    """Brings the features to the size at which the hidden layer learns well; counts become unit rows by TF-IDF."""
    import numpy as np
    import scipy.sparse as sp

    if not sp.issparse(X):  # a feature of about 1
        rows = X[:: max(1, X.shape[0] // 1000)].astype(np.float64)
        return _rounded(1.0, math.sqrt(float(np.square(rows).mean())))
    length = 1.0 if are_counts(X) else math.sqrt(float(np.square(X.data, dtype=np.float64).sum()) / max(X.shape[0], 1))
    return _rounded(SMALL_ROW_LENGTH if small else ROW_LENGTH, length)


def _rounded(wanted: float, size: float) -> float:
    return float(f"{wanted / size:.3g}") if size > 0 else 1.0


def _int(value: object) -> int:
    """`value`, or 0 for what is no integer: the configuration objects refuse that later, by name."""
    return value if isinstance(value, int) else 0


def _initial_bias(Y: sp.csr_matrix) -> float:
    """Somewhat above the log-odds that a label is on an instance; rounded, in [-12, 0].

    At the log-odds themselves the negatives weigh nothing: a hidden layer then learns little for hundreds of steps. Far
    above them they drown the positives.
    """
    share = max(Y.nnz, 1) / (Y.shape[0] * Y.shape[1])
    odds = math.log(share / (1 - share)) if share < 1 else 0.0
    return round(min(max(odds + ABOVE_LOG_ODDS, -12.0), 0.0), 1)


def largest_batch_mean(matrix: sp.csr_matrix, batch_size: int) -> int:
    """Entries per instance that no batch of `batch_size` different instances can pass on average."""
    import numpy as np

    counts = np.sort(np.diff(matrix.indptr))[::-1][:batch_size]
    return max(1, math.ceil(counts.mean()))
