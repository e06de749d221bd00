"""Other groups of labels in the middle of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from .._checks import require_int
from ..core.classifier import CoreClassifier
from ..interop.inputs import label_array
from .history import StepInfo


@dataclass(frozen=True, slots=True)
class Regrouping:
    """Callback for `fit`: calls `Classifier.regroup` once, after training step number `step`.

    To resume a training bitwise, give the callback to the `fit` that resumes it as well. On a GPU a callback makes
    every step wait for the one before.
    """

    step: int
    seed: int = 0

    def __post_init__(self) -> None:
        require_int("regrouping.step", self.step, 1)
        require_int("regrouping.seed", self.seed, 0)

    def on_step(self, classifier: Any, info: StepInfo) -> None:
        """After every training step."""
        if info.step == self.step:
            classifier.regroup(seed=self.seed)


def regroup(  # the method Classifier.regroup
    self: CoreClassifier, label_order: npt.ArrayLike | None = None, *, seed: int = 0
) -> None:
    """Put the labels of the tail into other groups, in the middle of training.

    A group then reads the features with the largest sum of |weight| over its new labels. A label keeps weight and
    optimizer state where it read the feature before; elsewhere they are zero. Label ids stay as they are.

    Args:
        label_order: [num_labels] label ids in internal order, as for `Classifier`; it begins with the dense labels
            as they are. None: labels with similar weights share a group, as `cluster_labels` finds them.
        seed: of the clustering.

    Raises:
        ArgumentError: not such an order, or every label is dense; the model is as before the call.
    """
    require_int("seed", seed, 0)
    if label_order is None:
        order = self.engine.order_by_weights(seed)
    else:
        order = label_array("label_order", label_order, self.num_labels)
    self.engine.regroup(order)
