"""How a training runs: the arguments of `Classifier.fit` that a file can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._checks import require_int, require_number
from ..errors import ArgumentError
from ..weight_average import WeightAverage, weight_average
from .validation import parse_metric_name


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The fields are arguments of `Classifier.fit`, which explains them and takes its defaults from here."""

    epochs: int = 6
    batch_size: int | None = None
    validation: float | None = 0.05
    validation_metric: str = "P@1"
    patience: int | None = None
    shuffle: bool = True
    seed: int | None = None
    average: WeightAverage | str | None = None

    def __post_init__(self) -> None:
        require_int("training.epochs", self.epochs, 1)
        for name, low in (("batch_size", 1), ("patience", 1), ("seed", 0)):
            if getattr(self, name) is not None:
                require_int(f"training.{name}", getattr(self, name), low)
        if self.validation is not None:
            require_number("training.validation", self.validation, 0, 1, low_open=True, high_open=True)
        parse_metric_name(self.validation_metric)
        weight_average(self.average)
        if not isinstance(self.shuffle, bool):
            raise ArgumentError(f"training.shuffle={self.shuffle!r} must be True or False")

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `Classifier.fit`."""
        return dict(vars(self))
