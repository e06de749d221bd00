"""scikit-learn: a classifier for its pipelines, searches and scorers. Needs `pip install 'sparsexmc[sklearn]'`."""

from __future__ import annotations

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  (new in 1.6)
except ImportError as error:
    raise ImportError(
        "sparsexmc.sklearn needs scikit-learn 1.6 or newer: pip install 'sparsexmc[sklearn]'", name="sklearn"
    ) from error

from .estimator import SparseXMCClassifier

__all__ = ["SparseXMCClassifier"]
