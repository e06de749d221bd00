"""From scores to probabilities, learned on held-out instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import isotonic_regression

from ._checks import require_number
from ._csr import checked_csr
from ._sparse import label_matrix
from .errors import ArgumentError
from .interop.rows import row_slices

Floats = npt.NDArray[np.float64]
LEAST_PAIRS = 100
"""Predicted labels that a calibration needs at least: of fewer it would repeat the noise."""
LABELS = 20
"""Labels of an instance whose scores are calibrated."""
INSTANCES = 10_000
"""Instances that are enough; of more as many are taken, evenly."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The probability that a predicted label is right, given its score.

    An ascending step function by isotonic regression (Zadrozny and Elkan, KDD 2002), with lines across the gaps between
    steps. It holds for the ranker whose scores it was learned from.

    Attributes:
        scores: [m] ascending, strictly.
        probabilities: [m] of a label with that score, ascending, in (0, 1); between two scores on a line, beyond the
            outermost constant.
        f1_threshold: the probability from which on predicted labels have the best micro-F1 on the held-out instances.
    """

    scores: Floats
    probabilities: Floats
    f1_threshold: float

    @classmethod
    def fit(cls, scores: npt.ArrayLike, ids: npt.ArrayLike, Y: Any) -> Self:
        """Learn from rankings of instances that the ranker has not been trained on.

        Args:
            scores, ids: [n, k] as `topk` returns them; id -1 is no prediction. 20 labels an instance are enough.
            Y: [n, num_labels] their labels, scipy sparse.

        Raises:
            ArgumentError: shapes that do not agree, scores that are no numbers, fewer than 100 predicted labels, or
                none or all of them right.
        """
        values, columns = np.asarray(scores, np.float64), np.asarray(ids)
        truth = label_matrix("Y", Y)
        if values.ndim != 2 or values.shape != columns.shape or len(values) != truth.shape[0]:
            raise ArgumentError(
                f"scores {list(values.shape)}, ids {list(columns.shape)} and Y {list(truth.shape)} must be [n, k], "
                "[n, k] and [n, num_labels]"
            )
        rows = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
        there = columns >= 0
        if there.any() and columns.max() >= truth.shape[1]:
            raise ArgumentError(f"ids holds {columns.max()}, but Y has {truth.shape[1]} labels")
        values, rows, columns = values[there], rows[there], columns[there]
        if not np.isfinite(values).all():
            raise ArgumentError("scores holds NaN or infinity; calibrate a model that has learned something")
        if len(values) < LEAST_PAIRS:
            raise ArgumentError(
                f"there are {len(values)} predicted labels to calibrate on; pass more instances: {LEAST_PAIRS} labels "
                "are the least"
            )
        hits = np.asarray(truth[rows, columns]).ravel() > 0
        if not hits.any() or hits.all():
            which = f"all of the {len(hits)} predicted labels are" if hits.any() else f"none of the {len(hits)} is"
            raise ArgumentError(
                f"{which} right, so their scores say nothing; pass other instances, and Y in the order of their rows"
            )
        order = np.argsort(values, kind="stable")
        knots, probabilities = _steps(values[order], hits[order].astype(np.float64))
        probability = np.interp(values, knots, probabilities)
        return cls(knots, probabilities, _best_threshold(probability, hits, truth.nnz))

    @classmethod
    def of(cls, ranker: Any, X: Any, Y: Any) -> Self | None:
        """Learn the probabilities of a ranker; None if its best labels are too few, or none or all of them right.

        Args:
            ranker: a `Classifier`, `Ensemble` or whatever has their `topk`.
            X: [n, in_features] features that it has not been trained on.
            Y: [n, num_labels] their labels, scipy CSR.
        """
        X, Y = checked_csr("X", X) if sp.issparse(X) else X, checked_csr("Y", Y)
        if X.shape[0] > INSTANCES:
            rows = np.linspace(0, X.shape[0] - 1, INSTANCES).astype(np.int64)
            X, Y = X[rows], Y[rows]
        k = min(LABELS, Y.shape[1])
        if X.shape[0] * k < LEAST_PAIRS:
            return None
        parts = [ranker.topk(X[rows], k) for rows in row_slices(X.shape[0])]
        scores, ids = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        hits = (np.asarray(Y[np.arange(len(ids))[:, None], np.maximum(ids, 0)].todense()) != 0)[ids >= 0]
        return cls.fit(scores, ids, Y) if len(hits) >= LEAST_PAIRS and hits.any() and not hits.all() else None

    def __call__(self, scores: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Probabilities of scores of any shape; 0 for -inf, the score of no prediction."""
        values = np.asarray(scores, np.float64)
        found = np.where(np.isneginf(values), 0.0, np.interp(values, self.scores, self.probabilities))
        return found.astype(np.float32)

    def to_arrays(self, prefix: str) -> dict[str, Floats]:
        """Arrays under names that begin with `prefix`, from which `from_arrays` makes it again."""
        return {
            f"{prefix}.scores": self.scores,
            f"{prefix}.probabilities": self.probabilities,
            f"{prefix}.f1_threshold": np.asarray(self.f1_threshold),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> Self:
        """Make it again of what `to_arrays` wrote. Raises ArgumentError, KeyError for anything else."""
        scores, probabilities, threshold = (
            arrays[f"{prefix}.{name}"] for name in ("scores", "probabilities", "f1_threshold")
        )
        if any(array.dtype != np.float64 for array in (scores, probabilities, threshold)):
            raise ArgumentError(f"{prefix}.scores, .probabilities and .f1_threshold must be float64")
        ascending = scores.ndim == 1 and len(scores) > 0 and np.isfinite(scores).all() and (np.diff(scores) > 0).all()
        if not ascending or scores.shape != probabilities.shape:
            raise ArgumentError(f"{prefix}.scores must be finite and ascending, with as many probabilities")
        if not ((probabilities >= 0) & (probabilities <= 1)).all() or (np.diff(probabilities) < 0).any():
            raise ArgumentError(f"{prefix}.probabilities must be ascending and lie in [0, 1]")
        if np.shape(threshold) != ():
            raise ArgumentError(f"{prefix}.f1_threshold must be one number")
        require_number(f"{prefix}.f1_threshold", float(threshold), 0, 1)
        return cls(scores, probabilities, float(threshold))


def _steps(scores: Floats, hits: Floats) -> tuple[Floats, Floats]:
    """First and last score of every step of the isotonic regression of 0/1 `hits` over ascending `scores`, and its
    probability for both."""
    # Equal scores are one observation, or their order would decide.
    distinct, starts, counts = np.unique(scores, return_index=True, return_counts=True)
    means = np.add.reduceat(hits, starts) / counts
    blocks = isotonic_regression(means, weights=counts).blocks
    n = np.add.reduceat(counts, blocks[:-1]).astype(np.float64)
    right = np.add.reduceat(means * counts, blocks[:-1])
    # A step of few labels that are all right, or all wrong, is no certainty: one more label of the mean rate.
    probabilities = np.maximum.accumulate((right + hits.mean()) / (n + 1.0))
    first, last = blocks[:-1], blocks[1:] - 1
    ends = np.stack([distinct[first], distinct[last]], axis=1)
    there = np.stack([np.ones(len(first), np.bool_), last > first], axis=1)  # a step of one score has one end
    return ends[there], np.repeat(probabilities, 2).reshape(-1, 2)[there]


def _best_threshold(probabilities: Floats, hits: npt.NDArray[np.bool_], positives: int) -> float:
    """The probability from which on the labels have the best micro-F1; `positives` counts those not predicted, too."""
    order = np.argsort(-probabilities, kind="stable")
    right = np.cumsum(hits[order])
    f1 = 2.0 * right / (np.arange(1, len(right) + 1) + max(positives, 1))
    last = np.append(np.diff(probabilities[order]) != 0, True)  # labels of one probability are taken or left together
    best = int(np.argmax(np.where(last, f1, -1.0)))
    return float(probabilities[order][best])
