"""Settings as tables of a TOML file: reading, shorthands, overrides, and which keys there are.

TOML has no null: the word "none" stands for Python's None.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
import tomli_w

from .._files import open_regular
from ..errors import ArgumentError

Table = dict[str, Any]

NONE = "none"
"""The word for Python's None."""

# What a single value stands for where a table may stand: hidden = 1024 means hidden = {features = 1024}.
SHORTHAND = {
    "hidden": "features",
    "optimizer": "name",
    "schedule": "kind",
    "rewiring": "method",
    "auxiliary": "clusters",
    "average": "method",
}
AUTO = "auto"  # of rewiring: a word, and no method


def read(path: str | PathLike[str]) -> Table:
    """The tables of a TOML file, with shorthands written out.

    Raises:
        ArgumentError: the file holds a syntax error; the message names the file and the place.
        OSError: it cannot be read.
    """
    if not isinstance(path, str | PathLike):  # a number would be taken for an open file
        raise ArgumentError(f"{path!r} is no path of a TOML file; pass text or pathlib.Path")
    with open_regular(path) as file:
        content = file.read()
    try:
        return parse(content.decode("utf-8-sig"), fspath(path))  # without a byte-order mark
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{fspath(path)}: not valid TOML: {error}") from None


def parse(text: str, name: str) -> Table:
    """The tables of TOML text; ArgumentError, which calls it `name`, for a syntax error."""
    try:
        return normalise(tomllib.loads(text))
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ArgumentError(f"{name}: not valid TOML: {error}") from None


def parse_override(text: str) -> Table:
    """`a.b=c` as the nested table {a: {b: c}}; c is a TOML value, or a bare word or size, which is taken as text.

    A whole number may be written with an exponent: 1e6. A size is 4GB or the like.
    """
    key, equals, value = text.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(re.fullmatch(r"[A-Za-z0-9_-]+", part) for part in path):
        raise ArgumentError(f"--set {text}: write section.key=value, for example --set model.fan_in=32")
    value = value.strip()
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        if not re.fullmatch(r"[A-Za-z][\w.:-]*|\d[\d_.]*[KMGTkmgt]?[Ii]?[Bb]", value):
            raise ArgumentError(
                f'--set {text}: {value or "an empty value"} is not a TOML value (a number, true, "text", [1, 2])'
            ) from None
        parsed = value
    if isinstance(parsed, float) and parsed >= 10 and re.fullmatch(r"\+?\d[\d_]*(\.\d+)?[eE]\+?\d+", value):
        parsed = int(parsed) if parsed.is_integer() else parsed
    for part in reversed(path):
        parsed = {part: parsed}
    return normalise(parsed)


def normalise(table: Mapping[str, Any]) -> Table:
    """Write the shorthands of [model] and [training] out as tables, and earlier names as today's.

    `table` itself is left alone. Numbers of NumPy become Python's. Raises ArgumentError for a key that is no text.
    """
    table = _plain(table, "")
    neighbors = table.get("neighbors")
    if isinstance(neighbors, dict) and "doubt" in neighbors:  # as it was called before version 0.2
        neighbors["smoothing"] = neighbors.pop("doubt")
    model, training = table.get("model"), table.get("training")
    if isinstance(model, dict):
        if isinstance(model.get("positive_weights"), str) and model["positive_weights"] == "propensity":
            model["positive_weights"] = {}
        _write_out(model, SHORTHAND)
    if isinstance(training, dict):
        _write_out(training, {"average": SHORTHAND["average"]})
    return table


def _write_out(section: Table, shorthand: Mapping[str, str]) -> None:
    """Turn single values, and objects, into the tables that they stand for."""
    for key, name in shorthand.items():
        value = section.get(key)
        if is_dataclass(value) and not isinstance(value, type):
            section[key] = _plain({field.name: getattr(value, field.name) for field in fields(value)}, key)
            if key == "optimizer":
                section[key]["name"] = type(value).__name__.lower()
        elif not (value is None or isinstance(value, Mapping) or (isinstance(value, str) and value in (NONE, AUTO))):
            section[key] = {name: value}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Table:
    """`base` with the values of `over` on top, table by table. Another optimizer drops the settings of the old one."""
    merged = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            renamed = key == "optimizer" and value.get("name", old.get("name")) != old.get("name")
            merged[key] = dict(value) if renamed else merge(old, value)
        else:
            merged[key] = value
    return merged


def dump(table: Mapping[str, Any]) -> str:
    """`table` as TOML text; None becomes "none"."""
    return tomli_w.dumps(_without_none(table))


def check_keys(table: Mapping[str, Any], known: Iterable[str], what: str, prefix: str) -> None:
    """Raise ArgumentError for a key that is not known, with the closest one that is."""
    known = sorted(known)
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {prefix}{close[0]}?" if close else "known: " + ", ".join(known)
            raise ArgumentError(f"unknown {what} {prefix}{key} in the configuration; {hint}")


def check_table(value: Any, name: str) -> None:
    """Raise ArgumentError unless `value` is a table."""
    if not isinstance(value, Mapping):
        raise ArgumentError(
            f"{name} is {value!r}, but it is a section; set one of its keys, as in --set {name}.key=value"
        )


def given(value: Any) -> Any:
    """`value` with Python's None for the word, and tuples for lists."""
    if isinstance(value, str) and value == NONE:
        return None
    return tuple(value) if isinstance(value, list) else value


def _plain(table: Mapping[Any, Any], prefix: str) -> Table:
    """A copy with keys that are text and scalars of Python."""
    plain: Table = {}
    for key, value in table.items():
        if not isinstance(key, str):
            place = f"of {prefix}" if prefix else "of a section"
            raise ArgumentError(f"the key {key!r} {place} in the configuration is no text; keys are names")
        if isinstance(value, Mapping):
            plain[key] = _plain(value, f"{prefix}.{key}" if prefix else key)
        else:
            plain[key] = value.item() if isinstance(value, np.generic) else value
    return plain


def _without_none(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return NONE if value is None else value
