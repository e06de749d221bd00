"""Training for whole epochs: `Classifier.fit` and `Classifier.regroup`, their callbacks, validation and results."""

from .fit import steps_per_epoch
from .history import Callback, EpochInfo, History, StepInfo
from .regrouping import Regrouping

__all__ = ["Callback", "EpochInfo", "History", "Regrouping", "StepInfo", "steps_per_epoch"]
