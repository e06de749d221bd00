"""--label-weights: how much more a prediction of a rare label counts than one of a frequent label."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .config import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparsexmc import Classifier, Ensemble
    from sparsexmc.core.filter import Ranking

A, B = 0.55, 1.5


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-weights",
        metavar="W",
        help="propensity or propensity:ALPHA: scores times (1 / propensity)^ALPHA, which favours rare labels; for the "
        "network alone logit + ALPHA ln(1 / propensity)",
    )


@dataclass(frozen=True)
class WeightedRanker:
    """A classifier or an ensemble that predicts with label weights [L]."""

    ranker: Classifier | Ensemble
    weights: npt.NDArray[np.float64]

    def topk(self, X: Any, k: int = 5, *, filter: Any = None) -> Ranking:
        """As `Classifier.topk`."""
        return self.ranker.topk(X, k, filter=filter, label_weights=self.weights)


def apply(
    text: str, classifier: Classifier, ranker: Classifier | Ensemble, model: str, a: float = A, b: float = B
) -> WeightedRanker:
    """The ranker with weights (1 / propensity) ** alpha, from the training frequencies that the classifier keeps.

    Raises UsageError if `text` says something else, or the model does not know the frequencies.
    """
    from sparsexmc.metrics import inverse_propensities

    kind, colon, number = text.partition(":")
    try:
        alpha = float(number) if colon else 1.0
    except ValueError:
        alpha = float("nan")
    if kind != "propensity" or not abs(alpha) <= 100:
        raise UsageError(f"--label-weights {text}: write propensity, or propensity:ALPHA with a number such as 0.5")
    counts, instances = classifier.label_counts, classifier.num_instances
    if counts is None or instances is None:
        raise UsageError(
            f"{model} does not know how frequent its labels are; train again: `sparsexmc train` stores it, "
            "Classifier does with label_counts and num_instances"
        )
    return WeightedRanker(ranker, inverse_propensities(counts, instances, A=a, B=b) ** alpha)
