"""Other groups of labels in the middle of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._checks import require_int

if TYPE_CHECKING:
    from .classifier import Classifier
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

    def on_step(self, classifier: Classifier, info: StepInfo) -> None:
        """After every training step."""
        if info.step == self.step:
            classifier.regroup(seed=self.seed)
