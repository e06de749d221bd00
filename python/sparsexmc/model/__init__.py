"""Models as `sparsexmc.train` makes them: settings, training, prediction from texts or features, storage."""

from .loading import load
from .model import Model
from .run import TrainingRun
from .settings import Settings
from .training import train

__all__ = ["Model", "Settings", "TrainingRun", "load", "train"]
