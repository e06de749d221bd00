"""The `.npz` files in which `Neighbors` and `Linear` are kept: arrays and a JSON text. Nothing is ever unpickled."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import ArgumentError, DataError

T = TypeVar("T")


def write(path: Path, kind: str, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Replaces the file as a whole. Raises DataError if it cannot be written."""
    text = json.dumps({"format": _format(kind), **meta})
    content = {**arrays, "meta": np.frombuffer(text.encode(), np.uint8)}
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **content)  # type: ignore[arg-type]
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written: {error}") from None


def read(path: Path, kind: str, build: Callable[[Mapping[str, npt.NDArray[Any]], dict[str, Any]], T]) -> T:
    """build(arrays, meta). Raises DataError if the file is missing, damaged or something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(file["meta"].tobytes())
            if meta["format"] != _format(kind):
                raise ValueError(f"its format is {meta['format']!r}")
            return build(file, meta)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, ArgumentError) as error:
        raise DataError(f"{path}: not the {kind} that sparsexmc saved: {error}") from None


def _format(kind: str) -> str:
    return f"sparsexmc-{kind}-1"
