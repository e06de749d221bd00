"""sparsexmc: the output layer of extreme classifiers as one fused sparse engine.

Importing touches no device and starts no thread.
"""

from . import _core, data, errors, metrics, report
from ._label_options import MetaClassifier, Propensity
from ._step import StepResult
from .classifier import Classifier, load
from .clustering import cluster_ids, cluster_labels
from .config import SGD, Adam, Hidden, Rewiring, Schedule, Votes
from .ensemble import Ensemble
from .errors import ArgumentError, CheckpointError, DataError, DeviceError, DTypeError, Error, MemoryPlanError
from .history import History
from .linear import Linear, LinearTraining
from .memory import MemoryPlan, plan
from .neighbors import Neighbors
from .regrouping import Regrouping

__version__ = _core.version()

__all__ = [
    "SGD",
    "Adam",
    "ArgumentError",
    "CheckpointError",
    "Classifier",
    "DTypeError",
    "DataError",
    "DeviceError",
    "Ensemble",
    "Error",
    "Hidden",
    "History",
    "Linear",
    "LinearTraining",
    "MemoryPlan",
    "MemoryPlanError",
    "MetaClassifier",
    "Neighbors",
    "Propensity",
    "Regrouping",
    "Rewiring",
    "Schedule",
    "StepResult",
    "Votes",
    "__version__",
    "cluster_ids",
    "cluster_labels",
    "data",
    "errors",
    "load",
    "metrics",
    "plan",
    "report",
]
