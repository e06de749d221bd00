"""The `.npz` files in which `Neighbors` and `Linear` are kept: arrays and a JSON text. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike, fspath
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from .._files import atomic_file, open_regular
from .._npz import FAULTS, read_arrays
from ..errors import CheckpointError, DataError

T = TypeVar("T")
Target = str | PathLike[str] | BinaryIO
"""A path, or an open binary file such as a part of a model directory."""


def write(target: Target, kind: str, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Replaces the file as a whole, or writes to an open one. Raises DataError if a path cannot be written."""
    text = json.dumps({"format": _format(kind), **meta})
    content = {**arrays, "meta": np.frombuffer(text.encode(), np.uint8)}
    if not isinstance(target, (str, PathLike)):
        np.savez(target, **content)  # type: ignore[arg-type]
        return
    try:
        with atomic_file(target) as file:
            np.savez(file, **content)  # type: ignore[arg-type]
    except OSError as error:
        raise DataError(f"{fspath(target)}: cannot be written: {error.strerror or error}") from None


def read(source: Target, kind: str, build: Callable[[Mapping[str, npt.NDArray[Any]], dict[str, Any]], T]) -> T:
    """build(arrays, meta). Raises DataError if the file is missing, damaged or something else."""
    name = fspath(source) if isinstance(source, (str, PathLike)) else getattr(source, "name", kind)
    try:
        if isinstance(source, (str, PathLike)):
            with open_regular(source) as file:
                arrays = read_arrays(file)
        else:
            arrays = read_arrays(source)
        meta = json.loads(arrays["meta"].tobytes())
        if meta["format"] != _format(kind):
            raise ValueError(f"its format is {meta['format']!r}")
        return build(arrays, meta)
    except CheckpointError:  # of the model directory around it, whose message says more
        raise
    except FAULTS as error:
        raise DataError(f"{name}: not the {kind} that sparsexmc saved: {error}") from None


def _format(kind: str) -> str:
    return f"sparsexmc-{kind}-1"
