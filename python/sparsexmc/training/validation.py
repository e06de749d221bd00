"""Held-out instances and the metric that decides which epoch is best."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.classifier import CoreClassifier
from ..errors import ArgumentError
from ..interop.rows import CsrRows, DenseRows, LabelRows, Rows, row_slices
from ..metrics import RankingMetrics, inverse_propensities

A, B = 0.55, 1.5  # of the propensities
_LEAST_TRAINING_ROWS = 3  # that give any
_METRICS = ("P", "nDCG", "R", "PSP", "PSnDCG", "coverage", "macro-F1")


class Validation:
    """Scores a classifier on instances that it does not train on.

    Args:
        metric: such as "P@1", "nDCG@5" or "PSP@3".
        num_labels: number of labels.
        features, labels: data that holds the instances.
        rows: which of its rows they are.
        blanked: labels of the data that are not to be predicted for an instance.
    """

    def __init__(
        self,
        metric: str,
        num_labels: int,
        features: DenseRows | CsrRows,
        labels: LabelRows,
        rows: Rows,
        blanked: LabelRows | None = None,
    ) -> None:
        self.metric = metric
        self._num_labels = num_labels
        self._features = features
        self._labels = labels
        self._rows = rows
        self._blanked = blanked
        _, k = parse_metric(metric, num_labels)
        self._ks = sorted({j for j in (1, 3, 5) if j <= num_labels} | {k})
        self._weights: npt.NDArray[np.float64] | None = None

    def use_propensities(self, labels: LabelRows, rows: Rows) -> None:
        """Take the label frequencies of the training rows, which PSP and PSnDCG need; few rows give none."""
        if len(rows) >= _LEAST_TRAINING_ROWS or self.metric.startswith("PS"):
            self._weights = inverse_propensities(labels.counts(rows, self._num_labels), len(rows), A, B)

    def fingerprints(self, *, own: bool) -> dict[str, dict[str, Any]]:
        """Of the data that is not trained on, by the name of the argument of `fit`; `own`: it has a set of its own."""
        found = {}
        if own:
            found = {"validation[0]": self._features.fingerprint(), "validation[1]": self._labels.fingerprint()}
        if self._blanked is not None:
            found["filter"] = self._blanked.fingerprint()
        return found

    def evaluate(self, classifier: CoreClassifier) -> dict[str, float]:
        """The metric, then P and PSP at 1, 3, 5 and macro-F1 at the last of these, as shares."""
        sums = RankingMetrics(self._num_labels, self._ks, inverse_propensities=self._weights)
        for part in row_slices(len(self._rows)):
            rows = self._rows[part]
            features = self._features.take(rows)
            if self._blanked is None:
                _, ids = classifier._topk(features, self._ks[-1])
            else:
                _, ids = classifier._filtered_topk(features, self._ks[-1], self._blanked.take(rows))
            sums.update(ids, self._labels.take(rows))
        values = sums.compute()
        cutoffs = [k for k in (1, 3, 5) if k <= self._num_labels]
        names = [self.metric, *(f"{name}@{k}" for name in ("P", "PSP") for k in cutoffs), f"macro-F1@{cutoffs[-1]}"]
        return {name: values[name] for name in dict.fromkeys(names) if name in values}


def parse_metric_name(metric: str) -> tuple[str, int]:
    """Split "P@1" into ("P", 1); ArgumentError for anything unknown."""
    match = re.fullmatch(r"([\w-]+)@([1-9]\d*)", metric) if isinstance(metric, str) else None
    if match is None or match[1] not in _METRICS:
        known = ", ".join(f"{name}@k" for name in _METRICS)
        raise ArgumentError(f"validation_metric={metric!r} is not known; use one of {known}, such as P@1")
    return match[1], int(match[2])


def parse_metric(metric: str, num_labels: int) -> tuple[str, int]:
    """The same for a classifier of that many labels; ArgumentError for a k above them."""
    name, k = parse_metric_name(metric)
    if k > num_labels:
        raise ArgumentError(f"validation_metric={metric!r} has k above num_labels={num_labels}")
    return name, k


def hold_out(rows: int, validation: float | None, seed: int) -> tuple[Rows, Rows]:
    """(training rows, held-out rows), both ascending; the same for the same seed."""
    if validation is None:
        return np.arange(rows), np.arange(0)
    if rows < 2:
        raise ArgumentError(f"X has {rows} row; validation={validation} needs at least 2, or pass validation=None")
    held = held_out_count(rows, validation)
    order = keyed_generator(seed, 0).permutation(rows)
    return np.sort(order[held:]), np.sort(order[:held])


def held_out_count(rows: int, validation: float) -> int:
    """Number of instances that are held out: at least one, and one stays to train on."""
    return min(rows - 1, max(1, round(validation * rows)))


def keyed_generator(seed: int, epoch: int) -> np.random.Generator:
    """Random numbers that depend on seed and epoch alone; epoch 0 stands for the hold-out."""
    return np.random.Generator(np.random.Philox(key=(epoch << 64) + seed))
