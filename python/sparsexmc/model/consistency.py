"""Whether the parts of a model belong together (the same features, labels and settings), and whether it can learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import require_int
from ..classifier import Classifier
from ..data import TextVectorizer, TfIdf
from ..ensemble import Linear, Neighbors
from ..errors import ArgumentError
from .probabilities import Calibrations
from .settings import Settings

_KINDS: dict[str, type] = {
    "classifier": Classifier,
    "linear": Linear,
    "neighbors": Neighbors,
    "vectorizer": TextVectorizer,
    "tfidf": TfIdf,
    "settings": Settings,
    "calibrations": Calibrations,
}


def check_parts(
    classifier: Classifier,
    *,
    linear: Linear | None,
    neighbors: Neighbors | None,
    vectorizer: TextVectorizer | None,
    tfidf: TfIdf | None,
    settings: Settings | None,
    calibrations: Calibrations | None,
    num_threads: int | None,
) -> None:
    """Raise ArgumentError, with the sizes on both sides, unless the parts of a model belong together."""
    parts: dict[str, object] = {"linear": linear, "neighbors": neighbors, "vectorizer": vectorizer, "tfidf": tfidf}
    parts |= {"settings": settings, "calibrations": calibrations}
    for name, part in {"classifier": classifier, **parts}.items():
        if not isinstance(part, _KINDS[name]) and (part is not None or name == "classifier"):
            kind = _KINDS[name]
            module = "sparsexmc.data" if kind in (TextVectorizer, TfIdf) else "sparsexmc"
            raise ArgumentError(
                f"{name} is a {type(part).__name__}; pass a {module}.{kind.__name__}"
                + ("" if name == "classifier" else " or None")
            )
    if num_threads is not None:
        require_int("num_threads", num_threads, 0)
    _check_preparation(classifier, vectorizer, tfidf)
    if linear is not None:
        _require_sparse("linear", classifier)
        _require("linear", "features", linear.in_features, "reads", classifier.in_features)
        _require("linear", "labels", linear.num_labels, "has", classifier.num_labels)
    if neighbors is not None:
        _require("neighbors", "labels", neighbors.num_labels, "has", classifier.num_labels)
        if neighbors.votes.space == "features":  # those of a hidden layer are the ensemble's business
            if neighbors.sparse != classifier.sparse_input:
                kinds = {True: "sparse", False: "dense"}
                raise ArgumentError(
                    f"neighbors compares {kinds[neighbors.sparse]} features and the classifier reads "
                    f"{kinds[classifier.sparse_input]} ones; pass neighbors of its training features"
                )
            _require("neighbors", "features", neighbors.in_features, "reads", classifier.in_features)
    if settings is not None:
        for name in ("in_features", "num_labels"):
            wanted, has = getattr(settings.model, name), getattr(classifier, name)
            if wanted != has:
                raise ArgumentError(
                    f"settings has model.{name}={wanted}, but the classifier has {has}; pass the settings of its "
                    "training, or None"
                )


def _check_preparation(classifier: Classifier, vectorizer: TextVectorizer | None, tfidf: TfIdf | None) -> None:
    if vectorizer is not None:
        _require_sparse("vectorizer", classifier)
        _require("vectorizer", "terms", len(vectorizer.terms), "reads", classifier.in_features)
    if tfidf is not None:
        _require_sparse("tfidf", classifier)
        weights: Any = tfidf.idf
        if not isinstance(weights, np.ndarray) or weights.ndim != 1 or weights.dtype.kind != "f":
            raise ArgumentError("tfidf.idf is no array of numbers with one dimension; make it with TfIdf.fit")
        _require("tfidf", "weights", len(weights), "reads", classifier.in_features)
        if not np.isfinite(weights).all():
            raise ArgumentError("tfidf.idf holds NaN or infinity; make it with TfIdf.fit")


def _require_sparse(name: str, classifier: Classifier) -> None:
    if not classifier.sparse_input:
        raise ArgumentError(
            f"{name} is for sparse features, and the classifier reads dense ones; leave it out, or pass a classifier "
            "with sparse_input=True"
        )


def _require(name: str, what: str, size: int, verb: str, expected: int) -> None:
    if size != expected:
        raise ArgumentError(
            f"{name} has {size} {what} and the classifier {verb} {expected}; pass parts of one training"
        )


def require_rate(classifier: Classifier) -> None:
    """Raise ArgumentError where the schedule has ended at a rate of 0, so that nothing would be learned."""
    schedule = classifier.config["schedule"]
    ended = 0 < schedule["total_steps"] <= classifier.step
    if schedule["kind"] != "constant" and ended and schedule["final_share"] == 0:
        raise ArgumentError(
            f"the schedule of this model ended at step {schedule['total_steps']} with a learning rate of 0, so "
            "nothing would be learned; train anew, with schedule.total_steps left open"
        )
