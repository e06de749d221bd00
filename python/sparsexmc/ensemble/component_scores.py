"""What the parts of an ensemble say of some rows, and their ranking with any weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .. import _core
from ..core.filter import Ranking

if TYPE_CHECKING:
    from .ensemble import Ensemble

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_CANDIDATES = 100  # of each part; the scores behind them are too small to change a short list


class Weights(NamedTuple):
    """What `Ensemble.tune` chooses: the weight of the linear scores, and weight and power of the votes."""

    linear: float
    votes: float
    power: float


class Opinions:
    """What the parts say of some rows, to be ranked with any weights."""

    def __init__(
        self,
        ensemble: Ensemble,
        X: Any,
        embeddings: Any,
        k: int,
        label_factors: Floats | None,
        label_weights: Floats | None = None,
    ) -> None:
        """`label_factors` [L] multiply scores; by `label_weights` [L] the classifier chooses its candidates."""
        rows, width = X.shape[0], min(max(_CANDIDATES, k), ensemble.num_labels)
        self.threads = ensemble.threads
        (probabilities, ids), (self.linear, linear_ids) = _nothing(rows), _nothing(rows)
        similarities, instances = _nothing(rows)
        labels = sp.csr_matrix((0, ensemble.num_labels), dtype=np.float32)
        if ensemble.classifier is not None:
            logits, ids = ensemble.classifier.topk(embeddings, width, label_weights=label_weights)
            probabilities = _sigmoid(logits if label_weights is None else logits - np.log(label_weights[ids]))
        if ensemble.linear is not None:
            margins, linear_ids = ensemble.linear.topk(X, width)
            self.linear = np.exp(-np.square(np.maximum(0.0, 1.0 - margins)))
        if ensemble.neighbors is not None:
            similarities, instances = ensemble.neighbors.search(_compared(ensemble, X, embeddings))
            labels = ensemble.neighbors.labels
        self.similarities, self.rows = similarities, rows
        self.doubt = 0.0 if ensemble.neighbors is None else ensemble.neighbors.votes.doubt
        self.label_factors = label_factors
        self.candidates = np.hstack([probabilities, self.linear])
        self.ballots = _core.Ballots(
            np.hstack([ids, linear_ids]), instances, labels.indptr, labels.indices, ensemble.num_labels, self.threads
        )

    def rank(self, weights: Weights, k: int) -> Ranking:
        """scores and ids [n, k]"""
        # What has no weight is no candidate: it must not fill a row that the others leave short.
        weight = np.float32(weights.linear if weights.linear > 0 else np.nan)
        np.multiply(self.linear, weight, out=self.candidates[:, self.candidates.shape[1] - self.linear.shape[1] :])
        scores, best = np.empty((self.rows, k), np.float32), np.empty((self.rows, k), np.int64)
        self.ballots.rank(
            self.candidates, self.similarities, weights.power, weights.votes, self.doubt, self.label_factors, scores,
            best, self.threads,
        )  # fmt: skip
        return scores, best


def _compared(ensemble: Ensemble, X: Any, embeddings: Any) -> Any:
    """What the neighbors compare."""
    if ensemble.neighbors is None or ensemble.neighbors.votes.space == "features":
        return X
    assert ensemble.classifier is not None  # the ensemble has seen to it
    return ensemble.classifier.hidden_activations(embeddings)


def _nothing(rows: int) -> tuple[Floats, Ids]:
    return np.empty((rows, 0), np.float32), np.empty((rows, 0), np.int64)


def _sigmoid(logits: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return (1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
