"""A model that trains further: its network in place, then what stands beside it anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from ..classifier import Classifier
from ..data import Dataset
from ..ensemble import Ensemble, Linear, Neighbors
from ..ensemble.settings import LinearSettings, NeighborsSettings
from ..ensemble.training import EnsembleTraining, require_weight
from ..interop.inputs import instance_numbers
from ..interop.rows import LabelRows
from ..training.history import History
from ..training.validation import hold_out
from .consistency import require_rate
from .probabilities import Calibrations
from .settings import Settings


class Trainable(Protocol):
    """The parts of a `Model` that a further training reads and replaces."""

    classifier: Classifier
    settings: Settings | None
    calibrations: Calibrations
    history: History | None
    _ensemble: Ensemble | None
    _num_threads: int | None

    def _set_parts(self, linear: Linear | None, neighbors: Neighbors | None) -> None: ...


def fit(model: Trainable, dataset: Dataset, X: Any, epochs: int, options: dict[str, Any]) -> History:
    """`Model.fit` on a data set in the model's label ids, with prepared features X.

    Until the first step of the network is done the model stays as it is.
    """
    classifier, Y = model.classifier, dataset.Y
    require_rate(classifier)
    if model.settings is not None:
        training = model.settings.training
        names = ("batch_size", "validation", "validation_metric", "seed")
        options = {name: getattr(training, name) for name in names} | options
    options = {"filter": dataset.filter, **options}
    weights = options.get("instance_weights")
    if weights is not None:
        weights = instance_numbers("instance_weights", weights, X.shape[0])
        require_weight(weights)
    linear, neighbors = settled_parts(model)
    step = classifier.step
    try:
        history = classifier.fit(X, Y, epochs, **options)
    finally:
        if classifier.step != step:  # they are of another network
            model.calibrations = Calibrations()
    parts = EnsembleTraining(
        classifier,
        X,
        Y,
        linear,
        neighbors,
        instance_weights=weights,
        num_threads=model._num_threads,
        progress=options.get("progress"),
    )
    try:
        model._ensemble = parts.finish()
    except BaseException:
        before = model._ensemble
        if before is not None and before.neighbors is not None and before.neighbors.votes.space == "hidden":
            model._set_parts(before.linear, None)  # they compare by a hidden layer that is no more
        raise
    model.history = history
    model.calibrations = calibrations(classifier, X, Y, options.get("validation"), options.get("seed"))
    return history


def calibrations(classifier: Classifier, X: Any, Y: Any, validation: Any, seed: int | None) -> Calibrations:
    """The network's probabilities, from what `fit` held out; the other parts have learned from all."""
    if isinstance(validation, tuple):
        X, Y = validation
        Y = LabelRows("validation[1]", Y, X.shape[0], classifier.num_labels).matrix(classifier.num_labels)
        return Calibrations.learn(classifier, None, X, Y)
    _, held = hold_out(X.shape[0], validation, classifier.config["seed"] if seed is None else seed)
    return Calibrations.learn(classifier, None, X[held], Y[held])


def settled_parts(model: Trainable) -> tuple[LinearSettings, NeighborsSettings]:
    """The settings of the parts that there are, with their present weights."""
    linear, neighbors = LinearSettings(enabled=False), NeighborsSettings(enabled=False)
    ensemble = model._ensemble
    if ensemble is not None and ensemble.linear is not None:
        linear = linear if model.settings is None else model.settings.linear
        linear = replace(linear, enabled=True, weight=ensemble.linear.weight)
    if ensemble is not None and ensemble.neighbors is not None:
        votes = ensemble.neighbors.votes
        neighbors = NeighborsSettings(
            count=votes.count, power=votes.power, weight=votes.weight, smoothing=votes.smoothing, space=votes.space
        )
    return linear, neighbors
