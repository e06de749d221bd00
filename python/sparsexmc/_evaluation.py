"""What a classifier makes of a batch without training on it; methods of Classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ._checks import require_choice
from ._inputs import SparseFeatures, labels_input
from ._step import StepResult
from .errors import ArgumentError

if TYPE_CHECKING:
    from .classifier import Classifier


def eval_step(
    self: Classifier,
    embeddings: Any,
    labels: Any,
    *,
    on_nonfinite: str = "raise",
    return_grad: bool = True,
    dropout: bool = False,
) -> StepResult:
    """Loss and gradient as `train_step` would give them, without the meta-classifier; nothing is updated. Waits.

    Args:
        embeddings, labels, on_nonfinite, return_grad: as in `train_step`; no sparse features. Nothing is counted as
            skipped.
        dropout: also drop units of the hidden layer, the same as the next step would.

    Raises:
        ArgumentError, DTypeError: as `train_step`.
    """
    require_choice("on_nonfinite", on_nonfinite, ["raise", "skip"])
    features = self._features("embeddings", embeddings)
    if isinstance(features, SparseFeatures):
        raise ArgumentError("eval_step has no loss for sparse features; measure predictions of topk instead")
    indptr, indices = labels_input("labels", labels, features.rows, self.num_labels)
    options = {"skip": on_nonfinite == "skip", "return_grad": return_grad, "dropout": dropout}
    return StepResult(*features.eval_step(self._engine, indptr, indices, **options))


def hidden_activations(self: Classifier, embeddings: Any) -> npt.NDArray[np.float32]:
    """What the hidden layer gives the output layer in prediction, for any number of rows; waits for it.

    Args:
        embeddings: [n, in_features] as in `train_step`, n >= 0.

    Returns:
        [n, hidden units] float32 in host memory, at least 0.

    Raises:
        ArgumentError, DTypeError: as `topk`, or there is no hidden layer.
    """
    hidden = self.config["hidden"]
    if hidden is None:
        raise ArgumentError("the classifier has no hidden layer; make it with hidden=sx.Hidden(...)")
    features = self._features("embeddings", embeddings)
    out = np.empty((features.rows, hidden["features"]), np.float32)
    if features.rows:
        features.hidden_activations(self._engine, out)
    return out
