"""The model of the best epoch and the newest states of a training, kept on disk while it runs."""

from __future__ import annotations

import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from .._checks import require_int
from .._files import recover_directory
from ..core.classifier import CoreClassifier
from ..core.directory import ModelReader, ModelWriter
from ..errors import ArgumentError, CheckpointError
from .state import Circumstances, TrainingState
from .state_files import STATE_FILE, StoredState, to_parts

_log = logging.getLogger("sparsexmc")

Write = Callable[[CoreClassifier, Path, Mapping[str, bytes]], None]
"""Writes a model directory in one rename, with further parts by name."""

_SECONDS = {"s": 1, "min": 60, "h": 3600}
_STATE = re.compile(r"step-(\d+)")


def parse_interval(value: int | str | None) -> tuple[int | None, float | None]:
    """(steps, seconds) of a number of steps, or of text such as "10min", "90s" or "2h"; (None, None) of None."""
    if value is None:
        return None, None
    if isinstance(value, str):
        if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)\s*", value):
            if seconds := float(match[1]) * _SECONDS[match[2]]:
                return None, seconds
        elif re.fullmatch(r"\d+", value):
            value = int(value)
    if isinstance(value, str):
        raise ArgumentError(f'checkpoint_every={value!r} must be a number of steps, or a time such as "10min" or "2h"')
    require_int("checkpoint_every", value, 1)
    return int(value), None


def write_classifier(classifier: CoreClassifier, path: Path, parts: Mapping[str, bytes]) -> None:
    """Write a classifier with its label names and further parts."""
    with ModelWriter(path) as writer:
        writer.add_classifier(classifier.engine, classifier.label_names)
        for name, content in parts.items():
            with writer.open(name) as file:
                file.write(content)
        writer.publish()


class Keeper:
    """Saves the best epoch at `place`, and states of the training in the directory `<place>.states` beside it.

    A best epoch is a state as well: the training can go on from it. Each is a model directory of its own, written in
    one rename, so that the newest one that is whole is never far.

    Args:
        place: of the best epoch; None: nothing is saved.
        every: steps or time between two states, as `parse_interval`; None: best epochs only.
        keep: number of states to keep beside the best epoch.
        write: how a model directory is written.

    Attributes:
        best_epoch: the one at `place`, of this training or the one that it continues.
    """

    def __init__(
        self,
        place: str | PathLike[str] | None,
        every: int | str | None = None,
        keep: int = 1,
        write: Write = write_classifier,
    ) -> None:
        self.steps, self.seconds = parse_interval(every)
        require_int("keep", keep, 1)
        if place is None and every is not None:
            raise ArgumentError(f"checkpoint_every={every!r} needs checkpoint, the path of what is saved; give it")
        self.place = None if place is None else Path(place).absolute()
        self._keep = keep
        self._write = write
        self.best_epoch: int | None = None
        self._last = time.monotonic()
        self._circumstances: Circumstances | None = None
        self._callbacks: Sequence[Any] = ()

    def begin(self, circumstances: Circumstances, callbacks: Sequence[Any], step: int = 0) -> None:
        """Before the first step: what every state holds beside the position. States after `step` are removed."""
        self._circumstances, self._callbacks = circumstances, callbacks
        self._last = time.monotonic()
        if self.place is not None:
            for number, path in _numbered(states_of(self.place)):
                if number > step:  # damaged, or the training would have gone on from there
                    shutil.rmtree(path)

    def save_best(self, classifier: CoreClassifier, state: TrainingState) -> None:
        """Save an epoch that is better than all before."""
        if self.place is not None:
            self._save(classifier, self.place, state)
            self.best_epoch = state.epoch

    def is_due(self, step: int) -> bool:
        """Whether a state is to be saved after this step."""
        if self.seconds is not None:
            return time.monotonic() - self._last >= self.seconds
        return self.steps is not None and step % self.steps == 0

    def save_state(self, classifier: CoreClassifier, state: TrainingState) -> None:
        """Save a state, and remove those that are more than `keep`."""
        assert self.place is not None
        folder = states_of(self.place)
        folder.mkdir(exist_ok=True)
        self._save(classifier, folder / f"step-{classifier.step:012d}", state)
        for _, old in _numbered(folder)[self._keep :]:
            shutil.rmtree(old, ignore_errors=True)

    def earlier_best(self, classifier: CoreClassifier) -> TrainingState | None:
        """The state of the best epoch of an earlier call of `fit` that this one continues, if it is at `place`."""
        if self.place is None or classifier.step == 0 or _step_at(self.place) is None:
            return None
        assert self._circumstances is not None
        with ModelReader(self.place) as reader:
            stored = StoredState.read(reader)
        continues = stored.step <= classifier.step and stored.state.history.best_value is not None
        return stored.state if continues and self._circumstances.measures_like(stored.circumstances) else None

    def check_best(self, resumed: StoredState) -> None:
        """Raise CheckpointError unless the best epoch so far of a training that goes on is at `place`."""
        best = resumed.state.history.best_epoch
        if self.place is None or best is None or (resumed.state.is_judged and best == resumed.state.epoch):
            return
        there: StoredState | None = None
        if _step_at(self.place) is not None:
            with ModelReader(self.place) as reader:
                there = StoredState.read(reader)
        if there is None or (there.state.history.best_epoch or 0) < best:
            raise CheckpointError(
                f"the best epoch so far, {best}, of the training to be continued is not at '{self.place}'; put it "
                "back, or start anew"
            )

    def finish(self) -> None:
        """At the end: remove the states; the best epoch stays."""
        if self.place is not None:
            shutil.rmtree(states_of(self.place), ignore_errors=True)

    def _save(self, classifier: CoreClassifier, path: Path, state: TrainingState) -> None:
        assert self._circumstances is not None
        state.momentum = classifier.momentum
        self._write(classifier, path, to_parts(state, self._circumstances, self._callbacks))
        self._last = time.monotonic()


def states_of(place: Path) -> Path:
    """The directory of the states of a training whose best epoch is at `place`."""
    return place.with_name(f"{place.name}.states")


def has_states(place: Path) -> bool:
    """Whether an interrupted training has left states beside `place`."""
    return bool(_numbered(states_of(place)))


def newest_state(place: str | PathLike[str]) -> Path | None:
    """The newest state at `place`, or beside it, that is whole; None if there is none at all.

    Raises:
        CheckpointError: there are states, but none of them is whole.
    """
    path = Path(place).absolute()
    candidates = _numbered(states_of(path))
    if (step := _step_at(path)) is not None:
        candidates.append((step, path))
    errors = []
    for _, candidate in sorted(candidates, key=lambda found: found[0], reverse=True):
        try:
            with ModelReader(candidate) as reader:
                StoredState.read(reader)
                return candidate
        except CheckpointError as error:
            _log.warning("a state of the training is not whole, an older one is tried: %s", error)
            errors.append(str(error))
    if errors:
        raise CheckpointError(f"no state of the training at '{fspath(place)}' is whole: {errors[0]}")
    return None


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the states in a directory, the newest first."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _STATE.fullmatch(path.name))]
    return sorted(found, reverse=True)


def _step_at(path: Path) -> int | None:
    """The step of the state at `path` as its manifest says, unverified; None if there is none."""
    recover_directory(path)
    try:
        if not (path / STATE_FILE).is_file():
            return None
        return int(json.loads((path / "config.json").read_bytes())["progress"]["step"])
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError):
        return 0
