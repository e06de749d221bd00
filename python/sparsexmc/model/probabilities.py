"""Probabilities of a model's labels: for which of its rankers there are some, and how they rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from .._checks import require_number
from .._npz import FAULTS, read_arrays
from ..calibration import Calibration
from ..classifier import Classifier
from ..core.filter import Ranking
from ..ensemble import Ensemble
from ..errors import ArgumentError, CheckpointError, DataError

Threshold = float | Literal["best"] | None


@dataclass(frozen=True)
class Calibrations:
    """The calibration of a model's network and of its ensemble; None where there is none."""

    network: Calibration | None = None
    ensemble: Calibration | None = None

    @classmethod
    def learn(cls, classifier: Classifier, ensemble: Ensemble | None, X: Any, Y: Any) -> Self:
        """From prepared features of instances of no training; None where they are too few."""
        return cls(Calibration.of(classifier, X, Y), None if ensemble is None else Calibration.of(ensemble, X, Y))

    def __bool__(self) -> bool:
        return self.network is not None or self.ensemble is not None

    def save(self, file: BinaryIO) -> None:
        """Write an .npz file."""
        arrays: dict[str, Any] = {}
        for name, calibration in (("network", self.network), ("ensemble", self.ensemble)):
            if calibration is not None:
                arrays |= calibration.to_arrays(name)
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
        except CheckpointError:  # of the model directory around it, whose message says more
            raise
        except FAULTS as error:
            name = getattr(file, "name", "the file")
            raise DataError(f"{name}: not the calibration that sparsexmc saved: {error}") from None
        return cls(network, ensemble)


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
        network = isinstance(ranker, Classifier)
        calibration = calibrations.network if network else calibrations.ensemble
        if calibration is None:
            raise ArgumentError(
                f"the model has no probabilities for its {'network' if network else 'ensemble'}; call model.calibrate "
                "with instances of no training, or train with training.validation, which holds some out"
            )
        self._ranker, self._calibration = ranker, calibration
        if threshold == "best":
            threshold = calibration.f1_threshold
        if threshold is not None:
            require_number("threshold", threshold, 0, 1)
        self._threshold = threshold

    def topk(self, X: Any, k: int, *, filter: Any = None) -> Ranking:
        """Probabilities [n, k] in descending order and ids; 0 and -1 where fewer labels are left."""
        scores, ids = self._ranker.topk(X, k, filter=filter)
        probabilities = np.where(ids < 0, np.float32(0), self._calibration(scores))
        if self._threshold is None:
            return probabilities, ids
        left = probabilities >= np.float32(self._threshold)
        return np.where(left, probabilities, np.float32(0)), np.where(left, ids, -1)
