"""Options of a classifier about its labels: propensities, and the meta-classifier over clusters of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ._checks import require_int, require_number
from .errors import ArgumentError
from .interop.inputs import index_array, label_array, number_array


@dataclass(frozen=True, slots=True)
class Propensity:
    """Propensity of a label with n of N instances: p = 1 / (1 + C (n + B)^-A), C = (ln N - 1)(B + 1)^A.

    The model of `metrics.propensities` with its A and B (Jain et al., KDD 2016).
    """

    A: float = 0.55
    B: float = 1.5

    def __post_init__(self) -> None:
        require_number("propensity.A", self.A, 0)
        require_number("propensity.B", self.B, 0, low_open=True)


@dataclass(frozen=True, slots=True, eq=False)
class MetaClassifier:
    """A dense layer over clusters of labels on the input of the output layer, which helps what is in front of both.

    It learns by BCE whether an instance has a positive in a cluster, while a sparse output layer still passes little
    gradient to the encoder or the hidden layer (Ullah et al., "Navigating Extremes", NeurIPS 2024). The total loss is
    main + weight(t) * meta: both are sums over their outputs (labels, clusters) averaged over the instances, so the
    learning rate of the output layer means what it means without. weight(t) decreases from `weight` to 0 along half a
    cosine over `steps` steps; after that the layer costs no time. It takes no part in prediction.

    Args:
        clusters: [num_labels] cluster id of every label (see `cluster_ids`), or a number of clusters, which then are
            runs of the internal label order of equal length.
        weight: at the first step.
        epochs: steps as epochs of `num_instances` instances in whole batches; needs `num_instances`.
        steps: number of training steps; this or `epochs`. `sparsexmc.train` sets half of its training where both are
            None.
    """

    clusters: int | npt.ArrayLike
    weight: float = 0.4
    epochs: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.clusters, int | np.integer):
            require_int("auxiliary.clusters", self.clusters, 1)
        else:
            ids = index_array("auxiliary.clusters", number_array("auxiliary.clusters", self.clusters))
            if len(ids) == 0 or ids.min() < 0:
                raise ArgumentError("auxiliary.clusters holds a negative id or none at all; ids count from 0")
            object.__setattr__(self, "clusters", ids)
        require_number("auxiliary.weight", self.weight, 0, low_open=True)
        if self.epochs is not None and self.steps is not None:
            raise ArgumentError("auxiliary has epochs and steps; give one of them, after which its weight is 0")
        if self.epochs is not None:
            require_number("auxiliary.epochs", self.epochs, 0, low_open=True)
        if self.steps is not None:
            require_int("auxiliary.steps", self.steps, 1)

    def for_total_steps(self, steps: int) -> MetaClassifier:
        """The same for a training of that many steps: half of them, unless `epochs` or `steps` are given."""
        given = self.epochs is not None or self.steps is not None
        return self if given else replace(self, steps=max(steps // 2, 1))

    def cluster_array(self, num_labels: int) -> npt.NDArray[np.int64] | None:
        """The cluster ids [num_labels]; None where only their number is given."""
        if isinstance(self.clusters, int | np.integer):
            return None
        return label_array("auxiliary.clusters", self.clusters, num_labels)

    def engine_settings(self, num_instances: int | None, batch_size: int) -> dict[str, Any]:
        """As the engine reads it. Raises ArgumentError where the number of steps is not known."""
        ids = self.clusters
        number = ids if isinstance(ids, int | np.integer) else int(np.max(np.asarray(ids))) + 1
        steps = self.steps
        if steps is None:
            if self.epochs is None:
                raise ArgumentError("auxiliary needs epochs=... or steps=..., over which its weight decreases to 0")
            if num_instances is None:
                raise ArgumentError(f"auxiliary.epochs={self.epochs} needs num_instances; or give steps instead")
            steps = max(1, round(self.epochs * math.ceil(num_instances / batch_size)))
        return {"clusters": number, "weight": self.weight, "steps": steps}
