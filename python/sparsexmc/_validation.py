"""Held-out instances and the metric that decides which epoch is best."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from . import _core
from ._inputs import Features, Indices
from ._rows import LabelRows, Rows
from .errors import ArgumentError

_ATTRIBUTES = {
    "P": "precision",
    "nDCG": "ndcg",
    "R": "recall",
    "PSP": "psp",
    "PSnDCG": "psndcg",
    "coverage": "coverage",
    "macro-F1": "macro_f1",
}
_PROPENSITY_A, _PROPENSITY_B = 0.55, 1.5


class Validation:
    """Scores a classifier on instances that it does not train on.

    Args:
        metric: such as "P@1", "nDCG@5" or "PSP@3".
        num_labels: number of labels.
        features: the instances.
        truth: (indptr, indices) of their positives.
    """

    def __init__(self, metric: str, num_labels: int, features: Features, truth: tuple[Indices, Indices]) -> None:
        self.metric = metric
        self._num_labels = num_labels
        self._features = features
        self._truth = truth
        name, k = parse_metric(metric, num_labels)
        self._wanted = [(f"P@{j}", "precision", j) for j in (1, 3, 5) if j <= num_labels]
        self._wanted += [(metric, _ATTRIBUTES[name], k)] if (metric, "precision", k) not in self._wanted else []
        self._propensities: npt.NDArray[np.float64] | None = None

    def use_propensities(self, labels: LabelRows, rows: Rows) -> None:
        """Take the label frequencies of the training rows, which PSP and PSnDCG need."""
        if self.metric.startswith("PS"):
            counts = labels.counts(rows, self._num_labels)
            self._propensities = _core.inverse_propensities(counts, len(rows), _PROPENSITY_A, _PROPENSITY_B)

    def evaluate(self, engine: _core.Classifier) -> dict[str, float]:
        """The metric, and P@1, P@3, P@5, as shares."""
        ks = sorted({k for _, _, k in self._wanted})
        scores = np.empty((self._features.rows, ks[-1]), np.float32)
        ids = np.empty(scores.shape, np.int64)
        self._features.topk(engine, scores, ids)
        metrics = _core.RankingMetrics(self._num_labels, ks, self._propensities)
        metrics.update(ids, *self._truth)
        at = {result.k: result for result in metrics.compute()}
        return {name: float(getattr(at[k], attribute)) for name, attribute, k in self._wanted}


def parse_metric(metric: str, num_labels: int) -> tuple[str, int]:
    """"P@1" as ("P", 1); ArgumentError for anything unknown."""
    match = re.fullmatch(r"([\w-]+)@([1-9]\d*)", metric) if isinstance(metric, str) else None
    if match is None or match[1] not in _ATTRIBUTES:
        known = ", ".join(f"{name}@k" for name in _ATTRIBUTES)
        raise ArgumentError(f"validation_metric={metric!r} is not known; use one of {known}, such as P@1")
    k = int(match[2])
    if k > num_labels:
        raise ArgumentError(f"validation_metric={metric!r} has k above num_labels={num_labels}")
    return match[1], k


def hold_out(rows: int, validation: float | None, seed: int) -> tuple[Rows, Rows]:
    """(training rows, held-out rows), both ascending; the same for the same seed."""
    if validation is None:
        return np.arange(rows), np.arange(0)
    if rows < 2:
        raise ArgumentError(f"X has {rows} row; validation={validation} needs at least 2, or pass validation=None")
    held = min(rows - 1, max(1, round(validation * rows)))
    order = np.random.Generator(np.random.Philox(key=[seed, 2**63])).permutation(rows)
    return np.sort(order[held:]), np.sort(order[:held])
