"""Records of a training: for the callbacks of `fit`, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .._html import table


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A finished step, for callbacks; epochs count from 1."""

    epoch: int
    step: int
    loss: float
    instances: int


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """A finished epoch, for callbacks and `History`. `loss` is the mean over its instances."""

    epoch: int
    step: int
    loss: float
    seconds: float
    instances_per_second: float
    validation: dict[str, float]
    improved: bool


class Callback:
    """Base of callbacks for `fit`; objects with only one of the methods do as well.

    With `state_dict()` and `load_state_dict(state)` a callback goes on where an interrupted training left it.
    """

    def on_step(self, classifier: Any, info: StepInfo) -> None:
        """After every training step."""

    def on_epoch(self, classifier: Any, info: EpochInfo) -> bool | None:
        """After every epoch, its validation and its checkpoint; True stops the training."""


@dataclass(slots=True, repr=False)
class History:
    """Epochs and outcome of a call of `fit`.

    Attributes:
        metric: name of the validation metric, or None without validation.
        epochs: one entry per epoch.
        best_epoch: number of the epoch with the best validation metric; without validation the last one.
        best_value: its metric, a share; None without validation.
        stopped: "epochs" (all done), "patience" or "callback".
    """

    metric: str | None
    epochs: list[EpochInfo] = field(default_factory=list)
    best_epoch: int | None = None
    best_value: float | None = None
    stopped: str = "epochs"

    def __repr__(self) -> str:
        count = f"{len(self.epochs)} epoch{'' if len(self.epochs) == 1 else 's'}"
        best = ""
        if self.best_value is not None:
            best = f", the best is {self.best_epoch} with {self.metric} {100 * self.best_value:.2f} %"
        return f"History({count}{best}{'' if self.stopped == 'epochs' else f', stopped by {self.stopped}'})"

    def _repr_html_(self) -> str:
        metrics = list(dict.fromkeys(name for info in self.epochs for name in info.validation))
        rows = [
            [
                f"{info.epoch}{' (best)' if info.epoch == self.best_epoch else ''}",
                f"{info.loss:.4g}",
                *(f"{100 * info.validation[name]:.2f}" if name in info.validation else "" for name in metrics),
                f"{info.seconds:.1f}",
            ]
            for info in self.epochs
        ]
        return table(repr(self), rows, ["epoch", "loss", *(f"{name} %" for name in metrics), "seconds"])
