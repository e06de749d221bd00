"""Settings of a network and its training that follow from the size of the data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._core import cpu_matrix_units
from .._sparse import are_counts
from ..config import Adam, Hidden, Schedule
from .settings import TrainingSettings

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


def network_for_data(X: Any, Y: sp.csr_matrix) -> dict[str, Any]:
    """Arguments of `Classifier` for training features X [n, in_features] (scipy CSR or array) and labels Y [n, L].

    A hidden layer reads the features, scaled to the size at which Adam learns well. Many labels get a fan-in output
    layer with the most frequent ones dense: with indices and moments less than a tenth of a dense layer's memory.
    Steps are left to follow from the length of the training. docs/design/training.md says what the figures rest on.
    """
    instances, num_labels = Y.shape
    sparse, many_labels = sp.issparse(X), num_labels >= SMALL_OUTPUT
    small = instances < (SMALL_DATA if many_labels else SMALL_DATA_FEW_LABELS)
    large = instances >= LARGE_DATA
    long_rows = sparse and X.nnz > LONG_ROW * instances
    batch_size = min(instances, 32 if instances < TINY_DATA else 128 if small else 256)
    output_layer: dict[str, Any] = {"fan_in": None}
    if many_labels:
        dense_labels = min(round((0.06 if sparse else 0.08) * num_labels), MAX_DENSE_LABELS)
        output_layer = {"fan_in": 32 if sparse else 16, "dense_labels": dense_labels}
    rate = 1.5e-3 if small else 5e-3 if large and sparse and not long_rows else 3e-3
    return dict(
        in_features=X.shape[1],
        num_labels=num_labels,
        num_instances=instances,
        sparse_input=sparse,
        **output_layer,
        hidden=Hidden(
            HIDDEN,
            dropout=0.5 if small or long_rows else 0.4 if not large else 0.3 if sparse else 0.2,
            input_scale=_input_scale(X, small),
            initial_scale=SMALL_START if large and sparse else 1.0,
        ),
        initial_bias=0.0 if small else _initial_bias(Y),
        # Rare features are updated rarely: a shorter memory suits them.
        optimizer=Adam(rate) if small else Adam(rate, betas=(0.9, 0.99)),
        schedule=Schedule("linear"),
        rewiring=None,  # a hidden layer learns what any connections carry, and gains nothing from better ones
        compute_dtype="bfloat16" if cpu_matrix_units() else "auto",  # a GPU takes bfloat16 anyway
        batch_size=batch_size,
        labels_per_instance=largest_batch_mean(Y, batch_size),
        **({"features_per_instance": largest_batch_mean(X, batch_size)} if sparse else {}),
    )


def epochs_for_data(instances: int, num_labels: int) -> int:
    """How long to train that network."""
    small = instances < (SMALL_DATA if num_labels >= SMALL_OUTPUT else SMALL_DATA_FEW_LABELS)
    return 30 if small else 4 if instances >= LARGE_DATA else 6


def training_for_data(X: Any, Y: sp.csr_matrix) -> TrainingSettings:
    """How long to train that network, and what to hold out."""
    instances, num_labels = Y.shape
    large = instances >= LARGE_DATA
    return TrainingSettings(
        epochs=epochs_for_data(instances, num_labels),
        validation=None if instances < LEAST_TO_HOLD_OUT else 0.05 if large else 0.1,
        # nDCG@5 is steadier than P@1 on few instances.
        validation_metric="nDCG@5" if instances >= LEAST_TO_HOLD_OUT and num_labels >= 5 else "P@1",
    )


def _input_scale(X: Any, small: bool) -> float:
    """Brings the features to the size at which the hidden layer learns well; counts become unit rows by TF-IDF."""
    if not sp.issparse(X):  # a feature of about 1
        rows = X[:: max(1, X.shape[0] // 1000)].astype(np.float64)
        return _rounded(1.0, math.sqrt(float(np.square(rows).mean())))
    length = 1.0 if are_counts(X) else math.sqrt(float(np.square(X.data, dtype=np.float64).sum()) / max(X.shape[0], 1))
    return _rounded(SMALL_ROW_LENGTH if small else ROW_LENGTH, length)


def _rounded(wanted: float, size: float) -> float:
    return float(f"{wanted / size:.3g}") if size > 0 else 1.0


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
    counts = np.sort(np.diff(matrix.indptr))[::-1][:batch_size]
    return max(1, math.ceil(counts.mean()))
