"""sparsexmc: the output layer of extreme classifiers as one fused sparse engine.

Importing touches no device and starts no thread.
"""

from . import _command  # noqa: F401, I001  the first of all: see there
from . import _core, data, errors, metrics, report
from .calibration import Calibration
from .classifier import Classifier, plan
from .clustering import cluster_ids, cluster_labels
from .config import SGD, Adam, Hidden, Rewiring, Schedule, Votes
from .core import StepResult
from .ensemble import Ensemble, Linear, LinearTraining, Neighbors
from .errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    DeviceError,
    DivergenceError,
    DTypeError,
    Error,
    MemoryPlanError,
)
from .label_options import MetaClassifier, Propensity
from .memory import MemoryPlan
from .model import Model, Settings, load, train
from .training import Callback, EpochInfo, History, Regrouping, StepInfo
from .weight_average import WeightAverage

__version__ = _core.version()

__all__ = [
    "SGD",
    "Adam",
    "ArgumentError",
    "Calibration",
    "Callback",
    "CheckpointError",
    "Classifier",
    "DTypeError",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "Ensemble",
    "EpochInfo",
    "Error",
    "Hidden",
    "History",
    "Linear",
    "LinearTraining",
    "MemoryPlan",
    "MemoryPlanError",
    "MetaClassifier",
    "Model",
    "Neighbors",
    "Propensity",
    "Regrouping",
    "Rewiring",
    "Schedule",
    "Settings",
    "StepInfo",
    "StepResult",
    "Votes",
    "WeightAverage",
    "__version__",
    "cluster_ids",
    "cluster_labels",
    "data",
    "errors",
    "load",
    "metrics",
    "plan",
    "report",
    "train",
]
