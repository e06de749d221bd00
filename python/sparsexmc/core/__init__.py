"""A classifier's engine in Python: steps, prediction, filters, state."""

from .classifier import CoreClassifier
from .step import StepResult

__all__ = ["CoreClassifier", "StepResult"]
