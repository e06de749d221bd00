"""The checkpoint that `fit` replaces after every better epoch."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import _core

if TYPE_CHECKING:
    from .classifier import Classifier

# The longest training that a failure of power may cost: so long, nothing waits for the disk.
_UNSAFE_SECONDS = 60.0


class FitCheckpoint:
    """Waits for the disk with every save, but for the first minute of a training from nothing.

    Short trainings would spend much of their time in waiting. A kill at any moment leaves the old or the new checkpoint
    whole either way; what a failure of power may cost is that minute, and no checkpoint of an earlier training.
    """

    def __init__(self, classifier: Classifier, path: str | os.PathLike[str]) -> None:
        self._classifier = classifier
        self._path = os.fspath(path)
        replaces_nothing = not Path(path).exists()
        self._safe_from = time.monotonic() + (_UNSAFE_SECONDS if replaces_nothing else 0.0)
        self._pending = False

    def save(self) -> None:
        """Raises CheckpointError."""
        safe = time.monotonic() >= self._safe_from
        self._classifier._engine.save(self._path, self._classifier.label_names or [], "", safe)
        self._pending = not safe

    def finish(self) -> None:
        """Waits until the disk has the last one. Raises CheckpointError."""
        if self._pending:
            _core.Classifier.make_durable(self._path)
            self._pending = False
