"""An optimizer of PyTorch that stands for the one inside the layer."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import torch

from ..classifier import Classifier
from ..errors import ArgumentError


class _Layer(Protocol):
    """The optimizer's view of an `OutputLayer`."""

    def _step_buffer(self) -> None: ...


class FusedOptimizer(torch.optim.Optimizer):
    """Carries the learning rate of an `OutputLayer`; the layer's own optimizer runs inside its fused step.

    `param_groups[0]["lr"]` is the rate of the next step, before the factor of the layer's own `schedule` if it has one,
    so every learning-rate scheduler works on it, also those that cycle the momentum: `momentum` of `SGD` and the first
    of the `betas` of `Adam` are the layer's, too. It has no parameters, and `zero_grad()` does nothing. `step()` only
    runs what `accumulate="buffer"` has kept; with `accumulate="step"` it does nothing, and call it, if at all, because
    schedulers expect it before their own step.
    """

    _step_supports_amp_scaling = True  # so GradScaler.step(this) needs no gradients to check

    def __init__(self, layer: _Layer, classifier: Classifier) -> None:
        settings = classifier.config["optimizer"]
        if settings["kind"] == "adam":
            numbers: dict[str, Any] = {"betas": (settings["beta1"], settings["beta2"])}
        else:
            numbers = {"momentum": settings["momentum"]}
        super().__init__([{"params": []}], {"lr": classifier.lr, **numbers})
        self._warned = False
        self._layer = weakref.ref(layer)  # no cycle: the layer's memory goes with its last user

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.param_groups[0]["lr"])

    def apply_to(self, classifier: Classifier) -> None:
        """Give the classifier the numbers of the next step.

        Raises:
            ArgumentError: a number is out of range, or one was changed that a layer keeps: the second of the `betas`.
        """
        group, settings = self.param_groups[0], classifier.config["optimizer"]
        if (lr := self.lr) != classifier.lr:
            classifier.lr = lr
        if "betas" in group and group["betas"][1] != settings["beta2"]:
            raise ArgumentError(
                f"fused_optimizer has betas={group['betas']}, but the layer was made with beta2={settings['beta2']}, "
                "which stays; make the OutputLayer with optimizer=Adam(betas=...)"
            )
        momentum = float(group["betas"][0] if "betas" in group else group.get("momentum", classifier.momentum))
        if momentum == classifier.momentum:
            return
        if settings["kind"] == "sgd" and settings["momentum"] == 0:
            self._warn(momentum)
            return
        classifier.momentum = momentum

    def _warn(self, momentum: float) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"fused_optimizer has momentum={momentum:g}, but the layer was made without and keeps no state for it: "
                "its learning rate alone is followed. Make the OutputLayer with optimizer=SGD(momentum=0.9), or the "
                "scheduler with cycle_momentum=False",
                stacklevel=2,
            )

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
