"""The way of a model's inputs to its features: texts are counted, counts are weighed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from .._sparse import are_counts, sparse_features
from ..core.classifier import CoreClassifier
from ..data import Dataset, TextDataset, TextVectorizer, TfIdf
from ..data.settings import DataSettings
from ..errors import ArgumentError, DTypeError
from ..interop.inputs import refuse_sparse_tensor


@dataclass(frozen=True)
class Preparation:
    """The steps that inputs pass through before a classifier reads them.

    Attributes:
        vectorizer: counts the tokens of raw texts; None: the model reads no texts.
        tfidf: weighs token counts; None: features are read as they come.
    """

    vectorizer: TextVectorizer | None = None
    tfidf: TfIdf | None = None

    @classmethod
    def fit(cls, vectorizer: TextVectorizer | None, X: Any, settings: DataSettings) -> Self:
        """The preparation that `settings` ask for, of training features X [n, D] before it."""
        tfidf = are_counts(X) if settings.tfidf == "auto" else bool(settings.tfidf)
        if tfidf and not are_counts(X):
            raise ArgumentError(
                "data.tfidf = true needs sparse token counts, not the numbers of this data; write false"
            )
        return cls(vectorizer, TfIdf.fit(X) if tfidf else None)

    def weigh(self, X: Any) -> Any:
        """Features [n, in_features] of token counts or features [n, D]."""
        if X is None or self.tfidf is None:
            return X
        if X.data.any() and not are_counts(X):
            raise ArgumentError(
                "the model was trained on TF-IDF of token counts, but the data holds other numbers; pass the counts"
            )
        return self.tfidf.apply(X)

    def features(self, X: Any, classifier: CoreClassifier) -> Any:
        """Features of texts, token counts or features X, checked, as `classifier` reads them.

        Raises:
            ArgumentError, DTypeError: not the kind of data that the model was trained on.
        """
        if isinstance(X, Iterator):
            X = list(X)
        if is_text(X) or (self.vectorizer is not None and isinstance(X, Sequence) and len(X) == 0):
            X = self.require_vectorizer("X").counts(list(X))
        refuse_sparse_tensor("X", X)
        readable = sp.issparse(X) or isinstance(X, np.ndarray) or hasattr(X, "__dlpack__")
        if not readable or not hasattr(X, "shape") or len(X.shape) != 2:
            texts = ", or a list of texts" if self.vectorizer is not None else ""
            raise DTypeError(
                f"X is a {type(X).__name__}{_shape_of(X)}; pass a scipy sparse matrix or an array "
                f"[n, {classifier.in_features}]{texts}"
            )
        if sp.issparse(X) != classifier.sparse_input:
            wanted, came = ("sparse", "dense") if classifier.sparse_input else ("dense", "sparse")
            raise ArgumentError(
                f"the model reads {wanted} features, the data has {came} ones; make it like the training set"
            )
        if X.shape[1] != classifier.in_features:
            raise ArgumentError(
                f"the data has {X.shape[1]} features and the model {classifier.in_features}; use data like its "
                "training set"
            )
        return self.weigh(sparse_features("X", X) if sp.issparse(X) else X)

    def dataset(self, data: Dataset | TextDataset, name: str = "the data") -> Dataset:
        """`data` with token counts in place of raw texts."""
        return data.counts(self.require_vectorizer(name)) if isinstance(data, TextDataset) else data

    def require_vectorizer(self, name: str) -> TextVectorizer:
        """The vectorizer; ArgumentError, which says that `name` is raw text, where there is none."""
        if self.vectorizer is None:
            raise ArgumentError(
                f"{name} is raw text, and the model was not trained on raw text; pass the features it was trained on"
            )
        return self.vectorizer

    def __str__(self) -> str:
        weights = "as they come" if self.tfidf is None else "TF-IDF of counts"
        if self.vectorizer is None:
            return weights
        return f"{weights} of {len(self.vectorizer.terms):,} terms of raw text"


def _shape_of(X: Any) -> str:
    return f" of shape {X.shape}" if hasattr(X, "shape") else ""


def is_text(X: Any) -> bool:
    """Whether X is a sequence of texts (a list, a tuple, an array or a pandas Series of str)."""
    if isinstance(X, str):
        raise DTypeError("X is one text; pass a list of them")
    if isinstance(X, Sequence):
        return len(X) > 0 and isinstance(X[0], str)
    return getattr(X, "ndim", 0) == 1 and len(X) > 0 and isinstance(next(iter(X)), str)
