"""The state of a training as parts of a model directory: written, and read back whole or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from .._npz import FAULTS, read_arrays
from ..core.directory import ModelReader
from ..errors import ArgumentError, CheckpointError
from .state import Circumstances, TrainingState
from .state_checks import (
    add_arrays,
    checked_callbacks,
    checked_data,
    checked_document,
    checked_settings,
    checked_state,
)

STATE_FILE = "training.json"
"""The file that makes a model directory a state of a training."""
_ARRAYS_FILE = "callbacks.npz"
_FORMAT = 1


def to_parts(state: TrainingState, circumstances: Circumstances, callbacks: Sequence[Any]) -> dict[str, bytes]:
    """The files that hold a state, by name, beside those of the classifier.

    Raises:
        ArgumentError: the `state_dict()` of a callback holds something else than what JSON knows, and NumPy arrays.
    """
    arrays: dict[str, np.ndarray] = {}
    states = [_callback_state(number, callback, arrays) for number, callback in enumerate(callbacks)]
    document = {
        "format": _FORMAT,
        "state": asdict(state),
        "settings": circumstances.settings,
        "data": circumstances.data,
        "callbacks": [
            {"type": kind, "state": held} for kind, held in zip(circumstances.callbacks, states, strict=True)
        ],
    }
    parts = {STATE_FILE: json.dumps(document, indent=1).encode()}
    if arrays:
        file = io.BytesIO()
        np.savez(file, **arrays)  # type: ignore[arg-type]
        parts[_ARRAYS_FILE] = file.getvalue()
    return parts


@dataclass(frozen=True)
class StoredState:
    """A state that was read: position, circumstances, and what callbacks held.

    Attributes:
        path: of the model directory.
        step: of its classifier.
        callbacks: what `state_dict()` of each gave, or None.
    """

    path: str
    state: TrainingState
    circumstances: Circumstances
    step: int
    callbacks: list[Any]

    @classmethod
    def read(cls, reader: ModelReader) -> Self:
        """The state in an open model directory.

        Raises CheckpointError, which names file and field, if there is none, it is damaged, or of a later version.
        """
        manifest = reader.manifest
        text, arrays = reader.text(STATE_FILE), {}
        with _of_a_state(reader.path, STATE_FILE):
            document = json.loads(text)
            _check_format(document)
            document = checked_document(document, {"format", "state", "settings", "data", "callbacks"})
            settings, step = checked_settings(document["settings"]), manifest.progress["step"]
            data, callbacks = checked_data(document["data"]), checked_callbacks(document["callbacks"])
            state = checked_state(document["state"], settings, data, step)
        if _ARRAYS_FILE in reader.parts:
            with reader.open(_ARRAYS_FILE) as file, _of_a_state(reader.path, _ARRAYS_FILE):
                arrays = read_arrays(file)
                add_arrays(callbacks, arrays)
        circumstances = Circumstances(settings, data, manifest.config, [entry["type"] for entry in callbacks])
        return cls(reader.path, state, circumstances, step, [entry["state"] for entry in callbacks])

    def restore_momentum(self, classifier: Any) -> None:
        """Set the classifier's momentum. Raises CheckpointError for one that its optimizer cannot have."""
        with _of_a_state(self.path, STATE_FILE, "state.momentum: "):
            classifier.momentum = self.state.momentum

    def restore_callbacks(self, callbacks: Sequence[Any]) -> None:
        """Hand every callback that has `load_state_dict` what its `state_dict()` gave.

        Raises CheckpointError if it does not take that.
        """
        for number, (callback, held) in enumerate(zip(callbacks, self.callbacks, strict=True)):
            if held is not None and hasattr(callback, "load_state_dict"):
                try:
                    callback.load_state_dict(held)
                except Exception as error:
                    raise CheckpointError(
                        f"'{self.path}/{STATE_FILE}': load_state_dict of {type(callback).__qualname__} does not take "
                        f"callbacks[{number}].state: {error!r}"
                    ) from error


@contextmanager
def _of_a_state(path: str, file: str, field: str = "") -> Iterator[None]:
    """Turns what a damaged file raises into a CheckpointError that names it."""
    try:
        yield
    except CheckpointError:  # of the model directory, whose message says more
        raise
    except FAULTS as error:  # ArgumentError is a ValueError
        raise CheckpointError(
            f"'{path}/{file}' is no state of a training: {field}{error}; go on from another state, or start anew"
        ) from None


def _check_format(document: Any) -> None:
    number = document.get("format") if isinstance(document, dict) else None
    if type(number) is int and number != _FORMAT:
        raise ArgumentError(f"it has format {number}, this version reads {_FORMAT}; use the version that wrote it")
    if type(number) is not int:
        raise ArgumentError(f"format is {number!r}, and must be {_FORMAT}")


def _callback_state(number: int, callback: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not hasattr(callback, "state_dict"):
        return None
    held = callback.state_dict()
    kind = type(callback).__qualname__
    if not isinstance(held, Mapping) or not all(isinstance(name, str) for name in held):
        raise ArgumentError(f"callbacks: state_dict() of {kind} gave {held!r}; it must be a dictionary with text keys")
    plain = {}
    for name, value in held.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
            arrays[f"{number}/{name}"] = value
            continue
        if not _is_plain(value):
            raise ArgumentError(
                f"callbacks: state_dict() of {kind} holds {name!r}, a {type(value).__qualname__}, which cannot be "
                "stored; give numbers, texts, lists, dictionaries with text keys, or NumPy arrays"
            )
        plain[name] = value
    return plain


def _is_plain(value: Any) -> bool:
    """Whether JSON gives back just this value."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)
