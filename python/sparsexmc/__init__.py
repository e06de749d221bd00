"""sparsexmc: the output layer of extreme classifiers as one fused sparse engine.

Importing touches no device and starts no thread.
"""

from . import data, errors, metrics
from ._core import __version__
from .classifier import Classifier, StepResult, load
from .config import SGD, Adam, Hidden, Rewiring, Schedule
from .fit import History
from .memory import MemoryPlan, plan

__all__ = [
    "SGD",
    "Adam",
    "Classifier",
    "Hidden",
    "History",
    "MemoryPlan",
    "Rewiring",
    "Schedule",
    "StepResult",
    "__version__",
    "data",
    "errors",
    "load",
    "metrics",
    "plan",
]
