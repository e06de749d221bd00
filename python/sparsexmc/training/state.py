"""Where a training stands: all that `fit` knows beside the classifier, as parts of a model directory."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from .._npz import read_arrays
from ..core.directory import ModelReader
from ..errors import ArgumentError, CheckpointError
from .history import EpochInfo, History

STATE_FILE = "training.json"
"""What makes a model directory a state of a training."""
_ARRAYS_FILE = "callbacks.npz"
_FORMAT = 1
_ELSEWHERE = ("device", "num_threads")  # of the configuration: a training may go on elsewhere


@dataclass
class TrainingState:
    """The position of a call of `fit`. With the classifier and the arguments of the call it decides all that follows.

    Attributes:
        first_epoch, last_epoch: of the call.
        first_step: steps that the classifier had done before it.
        patience_from: the epoch from which patience counts at the earliest.
        epoch: the one in progress.
        instances: how many of the epoch are done, in its order, which follows from seed and epoch.
        loss: sum over these instances.
        seconds: that they took.
        momentum: of the classifier, which a callback may have set.
        is_judged: the epoch is complete and validated; what is left of it are the calls of `on_epoch`.
        history: of the epochs so far, the best among them.
    """

    first_epoch: int
    last_epoch: int
    first_step: int
    patience_from: int
    epoch: int
    history: History
    instances: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    momentum: float = 0.0
    is_judged: bool = False

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.instances, self.loss, self.seconds, self.is_judged = 0, 0.0, 0.0, False


@dataclass(frozen=True)
class Circumstances:
    """What a training must have in common with the one that it continues.

    Attributes:
        settings: arguments of `fit` by name.
        data: fingerprints by the name of the argument.
        config: of the classifier.
        callbacks: their types.
    """

    settings: dict[str, Any]
    data: dict[str, dict[str, Any]]
    config: dict[str, Any]
    callbacks: list[str]

    def check(self, earlier: Circumstances, path: str) -> None:
        """Raise ArgumentError, which names everything that differs, unless `earlier` is the same."""
        said = [
            *_differences("", self.settings, earlier.settings),
            *_differences("the classifier's ", _comparable(self.config), _comparable(earlier.config)),
            *_differing_data(self.data, earlier.data),
        ]
        if self.callbacks != earlier.callbacks:
            said.append(f"callbacks are {self.callbacks or 'none'}, not {earlier.callbacks or 'none'}")
        if said:
            raise ArgumentError(
                f"resume: the training whose state is in {path!r} was another: {'; '.join(said)}. Give what it was "
                "given, or start anew without resume"
            )

    def measures_like(self, earlier: Circumstances) -> bool:
        """Whether values of the validation metric compare: of the same classifier on the same held-out instances."""
        names = ("validation", "validation_metric", "seed")
        if any(self.settings[name] != earlier.settings.get(name) for name in names):
            return False
        given = self.settings["validation"] == GIVEN
        propensities = self.settings["validation_metric"].startswith("PS")
        trained = () if given and not propensities else ("Y",) if given else ("X", "Y")
        held = [name for name in {*self.data, *earlier.data} if name not in ("X", "Y", "instance_weights")]
        same = all(self.data.get(name) == earlier.data.get(name) for name in (*trained, *held))
        return same and _comparable(self.config) == _comparable(earlier.config)


GIVEN = "given"
"""Stands for a pair (X, Y) as `validation`."""


def callback_types(callbacks: Sequence[Any]) -> list[str]:
    """Names that tell whether the same callbacks were given."""
    return [type(callback).__qualname__ for callback in callbacks]


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
    """A state that was read: position, circumstances, and what callbacks held."""

    state: TrainingState
    circumstances: Circumstances
    step: int
    callbacks: list[Any] = field(default_factory=list)

    @classmethod
    def read(cls, reader: ModelReader) -> Self:
        """The state in an open model directory. Raises CheckpointError if there is none, or of a later version."""
        document = json.loads(reader.text(STATE_FILE))
        if document.get("format") != _FORMAT:
            raise CheckpointError(
                f"'{reader.path}/{STATE_FILE}' has format {document.get('format')!r}, this version reads {_FORMAT}; "
                "use the version that wrote it"
            )
        manifest = reader.manifest
        arrays = {}
        if _ARRAYS_FILE in reader.parts:
            with reader.open(_ARRAYS_FILE) as file:
                arrays = read_arrays(file)
        try:
            state = dict(document["state"])
            history = dict(state.pop("history"))
            history["epochs"] = [EpochInfo(**epoch) for epoch in history["epochs"]]
            held = [_with_arrays(number, entry["state"], arrays) for number, entry in enumerate(document["callbacks"])]
            types = [entry["type"] for entry in document["callbacks"]]
            circumstances = Circumstances(document["settings"], document["data"], manifest.config, types)
            return cls(
                TrainingState(**state, history=History(**history)), circumstances, manifest.progress["step"], held
            )
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"'{reader.path}/{STATE_FILE}' is no state of a training: {error!r}") from None

    def restore_callbacks(self, callbacks: Sequence[Any]) -> None:
        """Hand every callback that has `load_state_dict` what its `state_dict()` gave."""
        for callback, held in zip(callbacks, self.callbacks, strict=True):
            if held is not None and hasattr(callback, "load_state_dict"):
                callback.load_state_dict(held)


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


def _with_arrays(number: int, plain: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    prefix = f"{number}/"
    own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    return plain if plain is None else {**plain, **own}


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _ELSEWHERE}


def _differences(of: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**then, **now} if now.get(name) != then.get(name)]
    return [f"{of}{name} is {now.get(name)!r}, not {then.get(name)!r}" for name in names]


def _differing_data(now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]]) -> list[str]:
    said = []
    for name in {**then, **now}:
        here, there = now.get(name), then.get(name)
        if here is None or there is None:
            said.append(f"{name} is {'not ' if here is None else ''}given")
        elif here != there:
            sizes = [key for key in here if key != "sha256" and here[key] != there.get(key)]
            what = ", ".join(f"{key} {here[key]!r}, not {there.get(key)!r}" for key in sizes)
            said.append(f"{name} has {what or 'the same size but other content'}")
    return said
