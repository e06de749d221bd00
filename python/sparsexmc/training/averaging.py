"""Running averages of the weights: begun, used and ended, by the user or for the length of a `fit`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.classifier import CoreClassifier
from ..errors import ArgumentError
from ..weight_average import WeightAverage, weight_average


def start_average(self: CoreClassifier, average: WeightAverage | str = "ema") -> None:  # Classifier.start_average
    """Begin to average the weights at the next step; memory for the averages is taken, and counts as planned, now.

    A classifier made with `average` does so from its first step on.

    Args:
        average: "ema", "mean", or `WeightAverage(...)`.

    Raises:
        ArgumentError: it averages already, or was loaded for prediction only.
        MemoryPlanError: the averages do not fit into `memory_limit`; nothing has changed.
    """
    wanted = weight_average(average)
    if wanted is None:
        raise ArgumentError('average=None averages nothing; give "ema", "mean" or sx.WeightAverage(...)')
    self.engine.start_average(json.dumps({"average": wanted.engine_settings()}))
    self._read_config()


def stop_average(self: CoreClassifier, *, keep: bool = True) -> None:  # Classifier.stop_average
    """End averaging and give back its memory.

    Args:
        keep: the averages, if there are any yet, become the weights (bfloat16 ones are rounded to nearest); the
            optimizer's state stays. False: the weights stay as trained.

    Raises:
        ArgumentError: there is no average.
    """
    self.engine.stop_average(keep)
    self._read_config()


@contextmanager
def use_average(self: CoreClassifier) -> Iterator[None]:  # Classifier.use_average
    """Within `with`, the averaged weights predict, are evaluated, saved and read by `state_dict`.

    They stand under the names of the weights then, as float32, and `optimizer.<tensor>.trained` in place of
    `optimizer.<tensor>.average` holds the trained weights, so that training can go on from what is saved. Before the
    first update there are no averages, and the trained weights are used. A training step, also one that is refused,
    goes back to the trained weights.

    Raises:
        ArgumentError: the classifier has no average; make it with `average`, or call `start_average`.
    """
    before = self.engine.average_in_use
    self.engine.use_average(True)
    try:
        yield
    finally:
        if self.config["average"] is not None:
            self.engine.use_average(before)


@contextmanager
def averages_if_any(classifier: CoreClassifier) -> Iterator[None]:
    """`use_average` for a classifier that may have none."""
    if classifier.config["average"] is None:
        yield
    else:
        with use_average(classifier):
            yield


@contextmanager
def averaging(classifier: CoreClassifier, average: WeightAverage | None) -> Iterator[None]:
    """The averages of a `fit`: those it is given, which become the weights at the end, or else the classifier's own.

    Raises:
        ArgumentError: the classifier has other ones.
        MemoryPlanError: they do not fit.
    """
    own = classifier.config["average"]
    if average is None:
        yield
        if own is not None:
            classifier.engine.use_average(True)
        return
    if own is None:
        start_average(classifier, average)
    elif own != average.engine_settings():
        raise ArgumentError(f"average={average!r}, but the classifier has {own}; leave it out, or call stop_average")
    try:
        yield
    finally:
        stop_average(classifier)
