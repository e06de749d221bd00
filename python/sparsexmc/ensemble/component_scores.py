"""Component scores of an ensemble for a batch, and their ranking with any weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .. import _core
from ..config import Softmax
from ..core import CoreClassifier
from ..core.filter import Ranking
from ..errors import ArgumentError
from .linear import Linear
from .neighbors import Neighbors

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_CANDIDATES = 100  # of each component; the scores after them are too small to change a short list


def require_log_odds(loss: str | Softmax) -> None:
    """Raise ArgumentError for a network whose logits say nothing one by one: an ensemble takes their sigmoids."""
    if isinstance(loss, Softmax) or loss == "softmax":
        raise ArgumentError(
            "loss: linear classifiers and neighbors need the probability of every label by itself, which softmax does "
            'not give; use the network alone (linear.enabled = false, neighbors.enabled = false), or loss="bce"'
        )


class Weights(NamedTuple):
    """Choice of `Ensemble.tune`: the weight of the linear scores, and weight and power of the votes."""

    linear: float
    votes: float
    power: float


class Components(NamedTuple):
    """Components of an ensemble, None where one is missing, and the threads that rank with them."""

    classifier: CoreClassifier | None
    linear: Linear | None
    neighbors: Neighbors | None
    num_labels: int
    threads: int


class ComponentScores:
    """Scores of each component for a batch, before their weights; `rank` adds them up with any weights."""

    def __init__(
        self,
        components: Components,
        X: Any,
        embeddings: Any,
        k: int,
        label_factors: Floats | None,
        label_weights: Floats | None = None,
    ) -> None:
        """`label_factors` [L] multiply scores; by `label_weights` [L] the classifier chooses its candidates."""
        rows, width = X.shape[0], min(max(_CANDIDATES, k), components.num_labels)
        self.threads = components.threads
        (probabilities, ids), (self.linear, linear_ids) = _nothing(rows), _nothing(rows)
        similarities, instances = _nothing(rows)
        instance_weights: Floats | None = None
        labels = sp.csr_matrix((0, components.num_labels), dtype=np.float32)
        if components.classifier is not None:
            logits, ids = components.classifier.topk(embeddings, width, label_weights=label_weights)
            probabilities = _sigmoid(logits if label_weights is None else logits - np.log(label_weights[ids]))
        if components.linear is not None:
            margins, linear_ids = components.linear.topk(X, width)
            self.linear = np.exp(-np.square(np.maximum(0.0, 1.0 - margins)))
        if components.neighbors is not None:
            similarities, instances = components.neighbors.search(_compared(components, X, embeddings))
            labels, instance_weights = components.neighbors.labels, components.neighbors.instance_weights
        self.similarities, self.rows = similarities, rows
        self.smoothing = 0.0 if components.neighbors is None else components.neighbors.votes.smoothing
        self.label_factors = label_factors
        self.candidates = np.hstack([probabilities, self.linear])
        self.vote_index = _core.VoteIndex(
            np.hstack([ids, linear_ids]),
            instances,
            labels.indptr,
            labels.indices,
            instance_weights,
            components.num_labels,
            self.threads,
        )

    def rank(self, weights: Weights, k: int) -> Ranking:
        """Scores and ids [n, k] of the best labels."""
        # A component without weight has no candidates: they must not fill a row that the others leave short.
        weight = np.float32(weights.linear if weights.linear > 0 else np.nan)
        np.multiply(self.linear, weight, out=self.candidates[:, self.candidates.shape[1] - self.linear.shape[1] :])
        scores, best = np.empty((self.rows, k), np.float32), np.empty((self.rows, k), np.int64)
        self.vote_index.rank(
            self.candidates,
            self.similarities,
            weights.power,
            weights.votes,
            self.smoothing,
            self.label_factors,
            scores,
            best,
            self.threads,
        )
        return scores, best


def _compared(components: Components, X: Any, embeddings: Any) -> Any:
    """Rows in the space of the neighbors: features or hidden activations."""
    if components.neighbors is None or components.neighbors.votes.space == "features":
        return X
    assert components.classifier is not None  # the ensemble has seen to it
    return components.classifier.hidden_activations(embeddings)


def _nothing(rows: int) -> tuple[Floats, Ids]:
    return np.empty((rows, 0), np.float32), np.empty((rows, 0), np.int64)


def _sigmoid(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
