"""The spread of a model's fan-in connections over the input features, and what each rewiring changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from ..core.classifier import CoreClassifier
from ..core.state import read_indices


@dataclass(frozen=True, eq=False)
class Usage:
    """The fan-in indices of one segment.

    Attributes:
        segment: its number.
        groups: index rows; the labels of a group share one.
        fan_in: features that a group reads, all different.
        counts: [H] groups that read each input feature.
    """

    segment: int
    groups: int
    fan_in: int
    counts: npt.NDArray[np.int64]

    @property
    def connections(self) -> int:
        """Connections of groups with features: groups * fan_in."""
        return self.groups * self.fan_in

    @property
    def share(self) -> float:
        """Chance that a group reads a given feature if it chooses `fan_in` of them at random."""
        return self.fan_in / len(self.counts)

    @property
    def random_deviation(self) -> float:
        """Standard deviation of `counts` for random connections: groups choose independently, so it is binomial."""
        return float(np.sqrt(self.groups * self.share * (1 - self.share)))

    def random_histogram(self, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Expected number of features with a count in [edges[i], edges[i + 1]) for random connections."""
        below = np.where(edges > 0, bdtr(np.maximum(edges - 1, 0), self.groups, self.share), 0.0)
        below[edges > self.groups] = 1.0
        return np.diff(below) * len(self.counts)


@dataclass(frozen=True)
class Churn:
    """One rewiring of one segment; `share` is that of its connections that were replaced."""

    step: int
    segment: int
    changed: int
    share: float
    score_dropped: float
    score_grown: float


def usage(classifier: CoreClassifier) -> list[Usage]:
    """One entry per fan-in segment; none for a model whose labels all read every feature."""
    hidden = classifier.config["hidden"]
    width = int(hidden["features"]) if hidden else classifier.in_features
    found = []
    for segment, indices in read_indices(classifier.engine).items():
        counts = np.bincount(indices.ravel(), minlength=width)
        found.append(Usage(segment, indices.shape[0], indices.shape[1], counts))
    return found


def churn(classifier: CoreClassifier, usages: list[Usage]) -> list[Churn]:
    """The rewirings of the model's training, which the model itself remembers, also across checkpoints."""
    totals = {entry.segment: entry.connections for entry in usages}
    return [
        Churn(r.step, r.segment, r.changed, r.changed / totals[r.segment], r.score_dropped, r.score_grown)
        for r in classifier.rewirings
        if r.segment in totals
    ]
