"""The result of a training step, which on a GPU may come later."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core


class StepResult:
    """Loss, gradient and flags of one training step.

    On a GPU the step may still run: reading `loss`, `skipped` or the gradient of a NumPy array waits for it. If the
    batch held NaN or Inf and was not to be skipped, the first to find out raises ArgumentError: this reading or another
    call of the classifier. So with DivergenceError, if the loss of a batch that held neither is NaN or Inf.

    Attributes:
        loss: summed over the labels, times the weights of the instances if there are any, averaged over the instances;
            before the update.
        grad: gradient of `loss` with respect to the embeddings, of their shape, dtype and kind (NumPy array, torch
            tensor, CuPy array, else an array with `__dlpack__`), zeros if the batch was skipped; None for sparse
            features or if it was not asked for.
        auxiliary_loss: of the meta-classifier, before its weight: summed over the clusters, averaged over the
            instances; 0 without one and once its weight is 0.
        skipped: the batch held NaN or Inf and nothing changed.
        rewired: connections were replaced after this step.
    """

    __slots__ = ("_grad", "_step")

    def __init__(self, step: _core.Step, grad: Any) -> None:
        self._step = step
        self._grad = grad

    @property
    def loss(self) -> float:
        return self._step.result().loss

    @property
    def auxiliary_loss(self) -> float:
        return self._step.result().auxiliary_loss

    @property
    def grad(self) -> Any:
        if isinstance(self._grad, np.ndarray):
            self._step.result()  # fills it
        return self._grad

    @property
    def skipped(self) -> bool:
        return self._step.result().skipped

    @property
    def rewired(self) -> bool:
        return self._step.result().rewired

    def with_grad(self, grad: Any) -> StepResult:
        """The same result with its gradient in another kind of array."""
        return StepResult(self._step, grad)

    def __repr__(self) -> str:
        return f"StepResult(loss={self.loss}, skipped={self.skipped}, rewired={self.rewired})"
