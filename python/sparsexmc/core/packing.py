"""Model directories in memory: what copies and pickles hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def to_bytes(save: Callable[[str], object]) -> dict[str, bytes]:
    """The files of the directory that `save(path)` writes, by name."""
    with tempfile.TemporaryDirectory(prefix="sparsexmc-") as folder:
        path = Path(folder) / "model"
        save(str(path))
        return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def from_bytes(files: Mapping[str, bytes], load: Callable[[str], T]) -> T:
    """`load(path)` of a directory with the files that `to_bytes` gave. Raises what `load` raises."""
    with tempfile.TemporaryDirectory(prefix="sparsexmc-") as folder:
        for name, content in files.items():
            (Path(folder) / Path(name).name).write_bytes(content)
        return load(folder)
