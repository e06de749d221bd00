"""An optimizer of PyTorch that stands for the one inside the layer."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch


class _Layer(Protocol):
    """The optimizer's view of an `OutputLayer`."""

    def _step_buffer(self) -> None: ...


class FusedOptimizer(torch.optim.Optimizer):
    """Carries the learning rate of an `OutputLayer`; the layer's own optimizer runs inside its fused step.

    `param_groups[0]["lr"]` is the rate of the next step, before the factor of the layer's own `schedule` if it has one,
    so every learning-rate scheduler works on it. It has no parameters, and `zero_grad()` does nothing. `step()` only
    runs what `accumulate="buffer"` has kept; with `accumulate="step"` it does nothing, and call it, if at all, because
    schedulers expect it before their own step.
    """

    _step_supports_amp_scaling = True  # so GradScaler.step(this) needs no gradients to check

    def __init__(self, layer: _Layer, lr: float) -> None:
        super().__init__([{"params": []}], {"lr": lr})
        self._layer = weakref.ref(layer)  # no cycle: the layer's memory goes with its last user

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.param_groups[0]["lr"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take the step that is due with `accumulate="buffer"`; returns what `closure` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if (layer := self._layer()) is not None:
            layer._step_buffer()
        return loss

    def step_after(self, optimizer: torch.optim.Optimizer) -> Any:
        """Take `step()` after every step of `optimizer`, which a trainer may own; returns a handle to `remove()`."""
        return optimizer.register_step_post_hook(lambda *_: self.step())
