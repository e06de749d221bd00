"""Checks of a stored state: every field is there and of its type, and positions go together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from math import inf
from typing import Any

import numpy as np

from .._checks import require_bool, require_choice, require_int, require_number
from ..errors import ArgumentError
from .history import EpochInfo, History
from .settings import TrainingSettings
from .state import GIVEN, TrainingState
from .validation import held_out_count, parse_metric_name

_FURTHER_DATA = {"instance_weights", "validation[0]", "validation[1]", "filter"}
_HASH = r"[0-9a-f]{64}"


def checked_state(
    value: Any, settings: Mapping[str, Any], data: Mapping[str, Mapping[str, Any]], step: int
) -> TrainingState:
    """The position in `state` of the document: one that a training with these settings, on this data, passes through
    when its classifier is at this step.

    Raises ArgumentError, which names the field.
    """
    table = _record("state", value, {field.name for field in fields(TrainingState)})
    for name, low in (("first_epoch", 1), ("last_epoch", 1), ("epoch", 1), ("patience_from", 0), ("instances", 0)):
        require_int(f"state.{name}", table[name], low)
    require_int("state.first_step", table["first_step"], 0)
    require_bool("state.is_judged", table["is_judged"])
    _finite("state.loss", table["loss"])
    require_number("state.seconds", table["seconds"], 0, low_open=table["instances"] > 0)
    require_number("state.momentum", table["momentum"], 0, 1, high_open=True)
    state = TrainingState(**{**table, "history": History(None)})
    first, epochs = state.first_epoch, settings["epochs"]
    _require("state.last_epoch", state.last_epoch, first + epochs - 1, f"the last of {epochs} from epoch {first} on")
    _require("state.patience_from", state.patience_from, first - 1, f"the epoch before {first}, the first one")
    if not first <= state.epoch <= state.last_epoch:
        raise ArgumentError(f"state.epoch is {state.epoch}, and must lie in {first}..{state.last_epoch}")
    if state.first_step > step:
        raise ArgumentError(f"state.first_step is {state.first_step}, but the classifier is at step {step}")
    _check_position(state, step, _training_rows(settings["validation"], data["Y"]["rows"]), settings["batch_size"])
    state.history = _history(table["history"], state, settings, step)
    return state


def _training_rows(validation: Any, rows: int) -> int:
    return rows - held_out_count(rows, validation) if isinstance(validation, float) else rows


def _check_position(state: TrainingState, step: int, rows: int, batch_size: int) -> None:
    whole = state.instances == rows
    if state.instances > rows or not (whole or (state.instances % batch_size == 0 and not state.is_judged)):
        raise ArgumentError(
            f"state.instances is {state.instances}, where no batch of {batch_size} of the {rows} training instances "
            f"ends{', and the epoch is judged' if state.is_judged else ''}"
        )
    epochs, batches = state.epoch - state.first_epoch, -(-state.instances // batch_size)
    done = state.first_step + epochs * -(-rows // batch_size) + batches
    if done != step:
        raise ArgumentError(
            f"state.epoch and state.instances are those of step {done}, but the classifier is at {step}"
        )


def checked_settings(value: Any) -> dict[str, Any]:
    """The arguments of `fit` in `settings` of the document. Raises ArgumentError."""
    # While a training runs, its average is in the configuration of the classifier.
    names = {field.name for field in fields(TrainingSettings)} - {"average"}
    table = _record("settings", value, names)
    require_int("settings.batch_size", table["batch_size"], 1)
    require_int("settings.seed", table["seed"], 0)
    given = isinstance(table["validation"], str) and table["validation"] == GIVEN
    try:
        TrainingSettings(**(table | {"validation": None if given else table["validation"]}))
    except ArgumentError as error:
        raise ArgumentError(f"settings: {error}") from None
    return table


def checked_data(value: Any) -> dict[str, dict[str, Any]]:
    """The fingerprints in `data` of the document. Raises ArgumentError."""
    table = _object("data", value)
    _record("data", table, {"X", "Y"} | (_FURTHER_DATA & table.keys()))
    for name, found in table.items():
        fingerprint = _record(f"data.{name}", found, _fingerprint_fields(name, _object(f"data.{name}", found)))
        for key, item in fingerprint.items():
            field = f"data.{name}.{key}"
            if key == "shape":
                _require(f"the length of {field}", len(_list(field, item)), 2, "[rows, columns]")
            if key in ("dtype", "sha256"):
                if not isinstance(item, str) or not re.fullmatch(r"\w{1,20}" if key == "dtype" else _HASH, item):
                    raise ArgumentError(f"{field} is {item!r}, which none can be")
            else:
                for number in item if key == "shape" else [item]:
                    require_int(field, number, 0)
    require_int("data.Y.rows", table["Y"]["rows"], 1)
    return table


def _fingerprint_fields(name: str, found: Mapping[str, Any]) -> set[str]:
    """Those of `fingerprint()` of features, labels, or numbers of rows."""
    if name in ("X", "validation[0]"):
        return {"shape", "sha256", "dtype" if "dtype" in found else "entries"}
    return {"rows", "sha256"} if name == "instance_weights" else {"rows", "sha256", "entries"}


def checked_callbacks(value: Any) -> list[dict[str, Any]]:
    """Types and states in `callbacks` of the document. Raises ArgumentError."""
    for number, entry in enumerate(_list("callbacks", value)):
        name = f"callbacks[{number}]"
        _record(name, entry, {"type", "state"})
        if not isinstance(entry["type"], str):
            raise ArgumentError(f"{name}.type is {entry['type']!r}, and must be text")
        if entry["state"] is not None:
            _object(f"{name}.state", entry["state"])
    entries: list[dict[str, Any]] = value
    return entries


def add_arrays(callbacks: list[dict[str, Any]], arrays: Mapping[str, np.ndarray]) -> None:
    """Put the arrays of the archive, by names such as "0/losses", into the states that they belong to.

    Raises ArgumentError for an array of no callback.
    """
    for key, array in arrays.items():
        number, slash, name = key.partition("/")
        known = slash and re.fullmatch(r"\d{1,9}", number) and int(number) < len(callbacks)
        state = callbacks[int(number)]["state"] if known else None
        if state is None or name in state:
            raise ArgumentError(f"{key!r} is no array of a callback's state")
        state[name] = array


def checked_document(value: Any, names: set[str]) -> dict[str, Any]:
    """The document, an object with just these fields. Raises ArgumentError."""
    return _record("the document", value, names)


def _history(value: Any, state: TrainingState, settings: Mapping[str, Any], step: int) -> History:
    table = _record("state.history", value, {field.name for field in fields(History)})
    metric = None if settings["validation"] is None else settings["validation_metric"]
    _require("state.history.metric", table["metric"], metric, "that of the settings")
    require_choice("state.history.stopped", table["stopped"], ["epochs"])
    epochs = [
        _epoch(f"state.history.epochs[{number}]", entry, state.first_epoch + number, metric)
        for number, entry in enumerate(_list("state.history.epochs", table["epochs"]))
    ]
    done = state.epoch - state.first_epoch + state.is_judged
    _require("the number of state.history.epochs", len(epochs), done, "one for every epoch that is judged")
    steps = [state.first_step, *(info.step for info in epochs), step]
    if sorted(steps) != steps:
        raise ArgumentError(f"state.history.epochs are at steps {steps[1:-1]}, not ascending in {steps[0]}..{step}")
    best, value = table["best_epoch"], table["best_value"]
    if best is not None:
        require_int("state.history.best_epoch", best, 1)
    if (best is None and done) or (best or 0) >= state.first_epoch + done:
        raise ArgumentError(f"state.history.best_epoch is {best}, which is no epoch so far")
    if metric is not None and best is not None:
        _finite("state.history.best_value", value)
    elif value is not None:
        raise ArgumentError(f"state.history.best_value is {value!r}, but there is no best epoch by a metric")
    return History(metric, epochs, best, value)


def _epoch(name: str, value: Any, epoch: int, metric: str | None) -> EpochInfo:
    table = _record(name, value, {field.name for field in fields(EpochInfo)})
    _require(f"{name}.epoch", table["epoch"], epoch, "as epochs follow one another")
    require_int(f"{name}.step", table["step"], 1)
    _finite(f"{name}.loss", table["loss"])
    for key in ("seconds", "instances_per_second"):
        require_number(f"{name}.{key}", table[key], 0, low_open=True)
    require_bool(f"{name}.improved", table["improved"])
    for key, number in _object(f"{name}.validation", table["validation"]).items():
        parse_metric_name(key)
        _finite(f"{name}.validation.{key}", number)
    if metric is not None and metric not in table["validation"]:
        raise ArgumentError(f"{name}.validation has no field {metric!r}")
    return EpochInfo(**table)


def _record(name: str, value: Any, names: set[str]) -> dict[str, Any]:
    table = _object(name, value)
    for key in sorted(names - table.keys()):
        raise ArgumentError(f"{name} has no field {key!r}")
    for key in sorted(table.keys() - names):
        raise ArgumentError(f"{name} has the unknown field {key!r}")
    return table


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArgumentError(f"{name} is {value!r}, and must be an object")
    return value


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ArgumentError(f"{name} is {value!r}, and must be a list")
    return value


def _finite(name: str, value: Any) -> None:
    require_number(name, value, -inf)


def _require(name: str, value: Any, wanted: Any, why: str) -> None:
    if type(value) is not type(wanted) or value != wanted:
        raise ArgumentError(f"{name} is {value!r}, and must be {wanted!r}: {why}")
