"""Linear classifiers and nearest neighbors beside a classifier, and their weighted sum."""

from .component_scores import Weights
from .ensemble import Ensemble
from .linear import Linear, LinearTraining
from .neighbors import Neighbors

__all__ = ["Ensemble", "Linear", "LinearTraining", "Neighbors", "Weights"]
