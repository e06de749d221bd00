"""Probabilities of a model's labels: for which of its rankers there are some, and how they rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Self

import numpy as np
import numpy.typing as npt

from .._checks import require_number
from .._npz import FAULTS, read_arrays
from ..calibration import Calibration
from ..classifier import Classifier
from ..core.filter import Ranking
from ..ensemble import Ensemble
from ..ensemble.component_scores import Weights
from ..errors import ArgumentError, CheckpointError, DataError

Threshold = float | Literal["best"] | None


@dataclass(frozen=True)
class Calibrations:
    """The calibration of a model's network and of its ensemble; None where there is none.

    Attributes:
        network, ensemble: for each a `Calibration` or None.
        step: of the network then; probabilities of a network that has learned on since would be wrong.
        weights: of the ensemble then, or None.
    """

    network: Calibration | None = None
    ensemble: Calibration | None = None
    step: int = -1
    weights: Weights | None = None

    @classmethod
    def learn(cls, classifier: Classifier, ensemble: Ensemble | None, X: Any, Y: Any) -> Self:
        """From prepared features of instances of no training; None where they are too few."""
        network = Calibration.of(classifier, X, Y)
        if ensemble is None:
            return cls(network, step=classifier.step)
        return cls(network, Calibration.of(ensemble, X, Y), classifier.step, ensemble.weights)

    def of(self, ranker: Classifier | Ensemble) -> Calibration:
        """That of the network or of the ensemble. Raises ArgumentError where there is none, or none that holds now."""
        network = isinstance(ranker, Classifier)
        classifier = ranker if isinstance(ranker, Classifier) else ranker.classifier
        found = self.network if network else self.ensemble
        name = "network" if network else "ensemble"
        remedy = "call model.calibrate with instances of no training"
        if found is None:
            raise ArgumentError(
                f"the model has no probabilities for its {name}; {remedy}, or train with training.validation, which "
                "holds some out"
            )
        if classifier is not None and classifier.step != self.step:
            raise ArgumentError(
                f"the probabilities of the {name} were learned at step {self.step}, and the network is at step "
                f"{classifier.step}; {remedy}"
            )
        if not isinstance(ranker, Classifier) and ranker.weights != self.weights:
            raise ArgumentError(
                f"the probabilities of the ensemble were learned with {self.weights}, and it has {ranker.weights} now; "
                f"{remedy}"
            )
        return found

    def __bool__(self) -> bool:
        return self.network is not None or self.ensemble is not None

    def save(self, file: BinaryIO) -> None:
        """Write an .npz file."""
        arrays: dict[str, Any] = {}
        for name, calibration in (("network", self.network), ("ensemble", self.ensemble)):
            if calibration is not None:
                arrays |= calibration.to_arrays(name)
        arrays["step"] = np.asarray(self.step, np.int64)
        if self.weights is not None:
            arrays["weights"] = np.asarray(self.weights, np.float64)
        np.savez(file, **arrays)

    @classmethod
    def load(cls, file: BinaryIO) -> Self:
        """Read what `save` wrote. Raises DataError for anything else."""
        try:
            arrays = read_arrays(file)
            network, ensemble = (
                Calibration.from_arrays(arrays, name) if f"{name}.scores" in arrays else None
                for name in ("network", "ensemble")
            )
            step, weights = arrays["step"], None
            if step.dtype != np.int64 or step.shape:
                raise ValueError(f"its step is {step.dtype} {list(step.shape)}")
            if "weights" in arrays:
                weights = _weights(arrays["weights"])
        except CheckpointError:  # of the model directory around it, whose message says more
            raise
        except FAULTS as error:
            name = getattr(file, "name", "the file")
            raise DataError(f"{name}: not the calibration that sparsexmc saved: {error}") from None
        return cls(network, ensemble, int(step), weights)


def _weights(stored: npt.NDArray[Any]) -> Weights:
    if stored.dtype != np.float64 or stored.shape != (3,) or not (np.isfinite(stored) & (stored >= 0)).all():
        raise ValueError(f"its weights are {stored.dtype} {stored.tolist()}")
    return Weights(*stored.tolist())


class CalibratedRanker:
    """Ranks as another ranker does, with probabilities for scores, and without labels below a threshold.

    Args:
        ranker: a classifier or an ensemble.
        calibrations: those of its model.
        threshold: the least probability of a label, in [0, 1]; "best": that with the best micro-F1 on the held-out
            instances; None: every label of the ranking stays.

    Raises:
        ArgumentError: no calibration for this ranker, or another threshold.
    """

    def __init__(self, ranker: Classifier | Ensemble, calibrations: Calibrations, threshold: Threshold = None) -> None:
        self._ranker, self._calibration = ranker, calibrations.of(ranker)
        if isinstance(threshold, str) and threshold == "best":
            threshold = self._calibration.f1_threshold
        elif threshold is not None:
            try:
                require_number("threshold", threshold, 0, 1)
            except ArgumentError as error:
                raise ArgumentError(f'{error}, or "best"') from None
        self._threshold = threshold

    def topk(self, X: Any, k: int, *, filter: Any = None) -> Ranking:
        """Probabilities [n, k] in descending order and ids; 0 and -1 where fewer labels are left."""
        scores, ids = self._ranker.topk(X, k, filter=filter)
        probabilities = np.where(ids < 0, np.float32(0), self._calibration(scores))
        if self._threshold is None:
            return probabilities, ids
        left = probabilities >= np.float32(self._threshold)
        return np.where(left, probabilities, np.float32(0)), np.where(left, ids, -1)
