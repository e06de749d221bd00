"""Checks of what `fit` is given, and the instances that it trains and validates on."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import require_number
from ..core.classifier import CoreClassifier
from ..errors import ArgumentError
from ..interop.rows import CsrRows, DenseRows, LabelRows, Rows, feature_rows
from .validation import Validation, hold_out, parse_metric


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Raise ArgumentError for an object that `fit` could never call."""
    for callback in callbacks:
        if not (hasattr(callback, "on_step") or hasattr(callback, "on_epoch")):
            raise ArgumentError(f"callbacks: {callback!r} has neither on_step(clf, info) nor on_epoch(clf, info)")


def checked_rows(
    classifier: CoreClassifier, x_name: str, X: Any, y_name: str, Y: Any
) -> tuple[DenseRows | CsrRows, LabelRows]:
    """Features and labels of as many instances, with everything in range."""
    features = feature_rows(x_name, X, classifier.in_features, classifier._place, sparse=classifier.sparse_input)
    if features.count == 0:
        raise ArgumentError(f"{x_name} has no rows")
    labels = LabelRows(y_name, Y, features.count, classifier.num_labels, ignore_index=classifier._ignore_index)
    features.check_finite()
    return features, labels


def training_rows_and_validation(
    classifier: CoreClassifier,
    features: DenseRows | CsrRows,
    labels: LabelRows,
    validation: Any,
    metric: str,
    seed: int,
    filter: Any,
) -> tuple[Rows, Validation | None]:
    """Rows to train on, and the judge of the epochs."""
    parse_metric(metric, classifier.num_labels)
    if isinstance(validation, tuple) and len(validation) == 2:
        rows = np.arange(features.count)
        held_features, held_labels = checked_rows(
            classifier, "validation[0]", validation[0], "validation[1]", validation[1]
        )
        held = np.arange(held_features.count)
    else:
        if validation is not None:
            require_number("validation", validation, 0, 1, low_open=True, high_open=True)
        rows, held = hold_out(features.count, validation, seed)
        held_features, held_labels = features, labels
    blanked = None
    if filter is not None:
        blanked = LabelRows("filter", filter, held_features.count, classifier.num_labels)
    if not len(held):
        return rows, None
    judge = Validation(metric, classifier.num_labels, held_features, held_labels, held, blanked)
    judge.use_propensities(labels, rows)
    return rows, judge


def check_reserve(classifier: CoreClassifier, option: str, lengths: Any, batch_size: int) -> None:
    """With a memory limit, no batch may need more than the plan reserved: say so now and not in the middle."""
    config = classifier.config
    if not config["memory_limit"] or len(lengths) == 0:
        return
    largest = int(np.sort(lengths)[-batch_size:].sum())
    if largest > config[option] * config["batch_size"]:
        needed = math.ceil(largest / config["batch_size"])
        raise ArgumentError(
            f"{option}={config[option]} reserves too little under memory_limit: {batch_size} rows of this data hold up "
            f"to {largest} entries; make the classifier with {option}={needed}"
        )


def check_directory(name: str, path: Path) -> None:
    """Raise ArgumentError unless the directory `path` can be made or replaced."""
    existing = path if path.exists() else path.parent
    if not existing.is_dir() or not os.access(path.parent, os.W_OK):
        raise ArgumentError(f"{name}={str(path)!r} cannot be written: {path.parent} is not a writable directory")
