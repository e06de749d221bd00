"""A classifier, linear classifiers and neighbors that rank labels together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._checks import ranked_labels, require_cutoffs, require_int, require_number
from .._csr import checked_csr
from .._sparse import label_matrix
from ..config import Votes
from ..core.classifier import CoreClassifier
from ..core.filter import Ranking, blanked_labels, drop, widest
from ..errors import ArgumentError
from ..interop.inputs import label_array, label_numbers
from ..interop.rows import row_slices
from ..metrics import precision_at_k
from .component_scores import Components, ComponentScores, Floats, Weights, require_log_odds
from .linear import Linear
from .neighbors import Neighbors

__all__ = ["LINEAR_WEIGHTS", "VOTES_WEIGHTS", "Ensemble", "Weights"]

LINEAR_WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
VOTES_WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
_CUTOFFS = (1, 3, 5)
_MOST_TUNED = 3_000
FREQUENCY_DISCOUNT = 0.02


class Ensemble:
    """Ranks labels by the sum of its components' scores, divided by a small power of their frequency:

        (sigmoid(z) + linear.weight * exp(-max(0, 1 - m)^2) + votes.weight * v / (s + votes.smoothing))
            / (1 + n)^discount

    z is the classifier's logit and m the linear classifier's margin. A neighbor votes with
    max(0, cosine)^votes.power, of the features or (votes.space) of hidden activations, times its instance weight, for
    each of its labels; v is the sum of a label's votes and s that of all neighbors; n is the number of training
    instances of the label. The best 100 labels of a row (or k) of classifier and linear classifiers take part.

    Args:
        classifier: the network; None: the other parts alone.
        linear: scores labels by the raw features.
        neighbors: training instances that vote.
        label_counts: [num_labels] n; None: those that the classifier keeps (see its `num_instances`), or else those of
            the neighbors; where neither knows, nothing is divided.
        frequency_discount: discount, >= 0. Many labels of a row are as good as certain, and rare ones among them say
            more: a small discount raises PSP for next to no precision.
        num_threads: worker threads of the ranking; None: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the
            process.

    Raises:
        ArgumentError: no part, or parts that disagree about the number of labels or features.
    """

    def __init__(
        self,
        classifier: CoreClassifier | None,
        *,
        linear: Linear | None = None,
        neighbors: Neighbors | None = None,
        label_counts: npt.ArrayLike | None = None,
        frequency_discount: float = FREQUENCY_DISCOUNT,
        num_threads: int | None = None,
    ) -> None:
        for name, part, kind in (
            ("classifier", classifier, CoreClassifier),
            ("linear", linear, Linear),
            ("neighbors", neighbors, Neighbors),
        ):
            if part is not None and not isinstance(part, kind):
                raise ArgumentError(
                    f"{name} is a {type(part).__name__}; pass a sparsexmc.{kind.__name__.removeprefix('Core')} or None"
                )
        parts = {"classifier": classifier, "linear": linear, "neighbors": neighbors}
        sizes = {name: part.num_labels for name, part in parts.items() if part is not None}
        if len(set(sizes.values())) != 1:
            said = ", ".join(f"{name} has {size} labels" for name, size in sizes.items())
            raise ArgumentError(f"{said or 'all parts are None'}; pass parts with the same labels")
        _check_features(classifier, linear, neighbors)
        if classifier is not None and (linear is not None or neighbors is not None):
            require_log_odds(classifier.config["loss"])
        self.classifier, self.linear, self.neighbors = classifier, linear, neighbors
        if num_threads is not None:
            require_int("num_threads", num_threads, 0)
        self.num_labels, self.threads = next(iter(sizes.values())), num_threads or 0
        require_number("frequency_discount", frequency_discount, 0)
        self.frequency_factors = self._frequency_factors(label_counts, frequency_discount)

    def _frequency_factors(self, counts: npt.ArrayLike | None, discount: float) -> Floats | None:
        """Factors [num_labels] on the scores of the labels."""
        if counts is not None:
            counts = label_array("label_counts", counts, self.num_labels)
            if counts.min() < 0:
                raise ArgumentError(f"label_counts holds {counts.min()}; counts are at least 0")
        if counts is None and self.classifier is not None:
            counts = self.classifier.label_counts
        if counts is None and self.neighbors is not None:
            counts = np.bincount(self.neighbors.labels.indices, minlength=self.num_labels)
        if counts is None or discount == 0:
            return None
        return ((1.0 + np.asarray(counts, np.float64)) ** -discount).astype(np.float32)

    def topk(
        self,
        X: Any,
        k: int | None = None,
        *,
        embeddings: Any = None,
        filter: Any = None,
        label_weights: npt.ArrayLike | None = None,
    ) -> Ranking:
        """The k best labels of every row.

        Args:
            X: [n, D] features as linear classifiers and neighbors read them.
            k: number of labels; None: 5, or all if there are fewer.
            embeddings: what the classifier reads, where that is not X.
            filter: pairs that are never predicted, as in `Classifier.topk`.
            label_weights: [num_labels] w > 0 that multiply the scores of labels, as 1 / propensity does in
                propensity-scored metrics. The classifier's candidates are then its best by logit + ln w.

        Returns:
            scores [n, k], descending, and ids [n, k]; ties go to the smaller id. Where the parts know fewer than k
            labels, id -1 fills the row.

        Raises:
            ArgumentError, DTypeError: as the parts do, or k out of range.
        """
        k = ranked_labels(k, self.num_labels)
        X, embeddings = _checked_inputs(X, embeddings)
        if embeddings.shape[0] != X.shape[0]:
            raise ArgumentError(
                f"embeddings has {embeddings.shape[0]} rows and X {X.shape[0]}; pass one each per instance"
            )
        extra = None
        if label_weights is not None:
            extra = _positive(label_numbers("label_weights", label_weights, self.num_labels))
        if filter is None:
            return self._rank(X, embeddings, k, extra)
        blanked = blanked_labels("filter", filter, X.shape[0], self.num_labels)
        width = widest(blanked, k, self.num_labels)
        return drop(self._rank(X, embeddings, width, extra), blanked, k, self.num_labels)

    def tune(
        self,
        X: Any,
        Y: Any,
        *,
        embeddings: Any = None,
        cutoffs: Sequence[int] = _CUTOFFS,
        linear_weights: Sequence[float] = LINEAR_WEIGHTS,
        votes_weights: Sequence[float] = VOTES_WEIGHTS,
        powers: Sequence[float] | None = None,
    ) -> dict[Weights, float]:
        """Chooses the weights, and the power of the votes, that rank held-out instances best.

        The measure is the mean of P@k over `cutoffs`. Tries all given weights and powers; without `powers` the present
        one and by half higher. The instances must be in no part's training; of more than 3,000 as many are taken,
        evenly.

        The best weights are those that lie among good ones, by the mean of each and those beside it on the grid: the
        highest of many values on few instances is high by luck.

        Returns:
            {Weights: mean of P@k}, shares. Of equally good weights the smallest are taken.
        """
        cutoffs = require_cutoffs(cutoffs)
        truth = label_matrix("Y", Y)
        X, embeddings = _checked_inputs(X, embeddings)
        if truth.shape[0] > _MOST_TUNED:
            rows = np.linspace(0, truth.shape[0] - 1, _MOST_TUNED).astype(np.int64)
            X, embeddings, truth = X[rows], embeddings[rows], truth[rows]
        k = min(max(cutoffs), self.num_labels)
        scored = ComponentScores(self._components, X, embeddings, k, self.frequency_factors)
        if self.neighbors is None:
            powers = (1.0,)
        elif powers is None:
            powers = (self.neighbors.votes.power, 1.5 * self.neighbors.votes.power)
        tried: dict[Weights, float] = {}
        for weights in itertools.starmap(
            Weights,
            itertools.product(
                (0.0,) if self.linear is None else linear_weights,
                (0.0,) if self.neighbors is None else votes_weights,
                powers,
            ),
        ):
            _, ids = scored.rank(weights, k)
            tried[weights] = float(np.mean(precision_at_k(ids, truth, [min(c, k) for c in cutoffs])))
        smooth = _smoothed(tried)
        self.weights = max(
            tried, key=lambda weights: (smooth[weights], -weights.linear - weights.votes, -weights.power)
        )
        return tried

    def _rank(self, X: Any, embeddings: Any, k: int, label_weights: Floats | None) -> Ranking:
        """Ranks some rows at a time: the candidates of a row take kilobytes."""
        factors = self.frequency_factors
        if label_weights is not None:
            factors = label_weights if factors is None else factors * label_weights
        parts = self._components
        rankings = [
            ComponentScores(parts, X[rows], embeddings[rows], k, factors, label_weights).rank(self.weights, k)
            for rows in row_slices(X.shape[0])
        ]
        return np.concatenate([scores for scores, _ in rankings]), np.concatenate([ids for _, ids in rankings])

    @property
    def _components(self) -> Components:
        return Components(self.classifier, self.linear, self.neighbors, self.num_labels, self.threads)

    @property
    def weights(self) -> Weights:
        """The weights that `topk` uses, kept by the parts; settable. 0 for a part that is not there."""
        votes = Votes(weight=0.0, power=1.0) if self.neighbors is None else self.neighbors.votes
        return Weights(0.0 if self.linear is None else self.linear.weight, votes.weight, votes.power)

    @weights.setter
    def weights(self, weights: Weights) -> None:
        if self.linear is not None:
            self.linear.weight = weights.linear
        if self.neighbors is not None:
            self.neighbors.votes = replace(self.neighbors.votes, weight=weights.votes, power=weights.power)


def _check_features(classifier: CoreClassifier | None, linear: Linear | None, neighbors: Neighbors | None) -> None:
    """Raises ArgumentError where the parts cannot read the same features, or neighbors the hidden layer."""
    if neighbors is None:
        return
    if neighbors.votes.space == "hidden":
        hidden = None if classifier is None else classifier.config["hidden"]
        units = 0 if hidden is None else hidden["features"]
        if units != neighbors.in_features:
            there = f"a hidden layer of {units} units" if units else "no hidden layer"
            raise ArgumentError(
                f"neighbors compares {neighbors.in_features} hidden activations, but the classifier has {there}; pass "
                "the classifier that the neighbors were made with"
            )
    elif linear is not None and linear.in_features != neighbors.in_features:
        raise ArgumentError(
            f"linear reads {linear.in_features} features and neighbors {neighbors.in_features}; they must agree"
        )


def _checked_inputs(X: Any, embeddings: Any) -> tuple[Any, Any]:
    """X and embeddings, for which X stands where there are none; sparse ones as CSR that rows can be taken from."""
    X = checked_csr("X", X) if sp.issparse(X) else X
    if embeddings is None:
        return X, X
    return X, checked_csr("embeddings", embeddings) if sp.issparse(embeddings) else embeddings


def _smoothed(tried: dict[Weights, float]) -> dict[Weights, float]:
    """The mean of each value and those beside it: one step on the grid away in weights, or both."""
    grids = [sorted({getattr(weights, name) for weights in tried}) for name in ("linear", "votes")]

    def around(weights: Weights) -> list[float]:
        beside = [
            grid[max(at - 1, 0) : at + 2]
            for grid, at in zip(grids, (grids[0].index(weights.linear), grids[1].index(weights.votes)), strict=True)
        ]
        return [tried[Weights(linear, votes, weights.power)] for linear, votes in itertools.product(*beside)]

    return {weights: float(np.mean(around(weights))) for weights in tried}


def _positive(label_weights: Floats) -> Floats:
    if not (np.isfinite(label_weights).all() and (label_weights > 0).all()):
        label = int(np.flatnonzero(~(np.isfinite(label_weights) & (label_weights > 0)))[0])
        raise ArgumentError(
            f"label_weights is {label_weights[label]} for label {label}; weights are finite and greater than 0"
        )
    return label_weights
