"""Running averages of a classifier's weights: which, and from when on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._checks import require_choice, require_int, require_number
from .errors import ArgumentError

METHODS = ("ema", "mean")
MEAN_START = 0.75  # of the training: where a rewiring of the same length ends


@dataclass(frozen=True, slots=True)
class WeightAverage:
    """A running average of all trained weights, beside the training, which it does not change.

    While the weights still move about, from a high learning rate or small batches, their average can predict better
    than the weights of any one step. After update number n, from 1, with weights w the average is

        a <- a + r (w - a)    "ema":  r = (1 - decay) / (1 - decay^n)    "mean":  r = 1 / n

    in float32, whatever the weights are stored as. The weights of the n updates sum to 1, the first counts as the
    others: the bias of the start is corrected at every step. Batches that were skipped do not count. A connection that
    rewiring grows starts with an average of 0, as with a weight of 0; one that is dropped has none any more.

    Args:
        method: "ema", the exponential moving average, or "mean", the plain mean (stochastic weight averaging, Izmailov
            et al., UAI 2018).
        decay: of "ema", in [0, 1): about 1 / (1 - decay) updates count.
        start: number (int) of the training's steps, or share (float, below 1) of its length, that are left out; None: 0
            for "ema", 0.75 for "mean". A share needs the length (see `Classifier.total_steps`).
        every: steps from one update to the next. An update reads and writes all weights once: 12 bytes a weight.
    """

    method: str = "ema"
    decay: float = 0.999
    start: float | int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        require_choice("average.method", self.method, METHODS)
        require_number("average.decay", self.decay, 0, 1, high_open=True)
        if isinstance(self.start, int | np.integer):
            require_int("average.start", self.start, 0)
        elif self.start is not None:
            require_number("average.start", self.start, 0, 1, high_open=True)
        require_int("average.every", self.every, 1)

    def engine_settings(self) -> dict[str, Any]:
        """As the engine reads it."""
        start = self.start
        if start is None:
            start = MEAN_START if self.method == "mean" else 0
        steps = isinstance(start, int | np.integer)
        return {
            "method": self.method,
            "decay": float(self.decay),
            "start": int(start) if steps else 0,
            "start_share": 0.0 if steps else float(start),
            "every": int(self.every),
        }


def weight_average(value: WeightAverage | str | None) -> WeightAverage | None:
    """The average that an argument `average` stands for: a method by its name alone.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(value, str) and value in METHODS:
        return WeightAverage(value)
    if not isinstance(value, WeightAverage | None):
        raise ArgumentError(f'average={value!r} must be "ema", "mean", sx.WeightAverage(...) or None')
    return value
