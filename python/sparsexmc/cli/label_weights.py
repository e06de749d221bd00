"""--label-weights: how much more a prediction of a rare label counts than one of a frequent label."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .config import UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sparsexmc import Classifier
    from sparsexmc._filter import Ranking

A, B = 0.55, 1.5


def add_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label-weights",
        metavar="W",
        help="propensity or propensity:ALPHA: rank by logit + ALPHA ln(1 / propensity), which favours rare labels; "
        "the network alone predicts then",
    )


@dataclass(frozen=True)
class WeightedClassifier:
    """A classifier that predicts with label weights [L]."""

    classifier: Classifier
    weights: npt.NDArray[np.float64]

    def topk(self, X: Any, k: int = 5, *, filter: Any = None) -> Ranking:
        """As `Classifier.topk`."""
        return self.classifier.topk(X, k, filter=filter, label_weights=self.weights)


def load(text: str, classifier: Classifier, model: str, a: float = A, b: float = B) -> WeightedClassifier:
    """The classifier with weights (1 / propensity) ** alpha, from the training frequencies that the model keeps.

    Raises UsageError if `text` says something else, or the model does not know the frequencies.
    """
    from sparsexmc.metrics import propensities

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
    return WeightedClassifier(classifier, propensities(counts, instances, A=a, B=b) ** alpha)
