"""Filter files: pairs of an instance and a label that is never to be predicted for it, such as the instance itself."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from ..errors import ArgumentError
from .text import read_filter

_PARTS = {"training": "trn|train", "test": "tst|test"}


def is_filter(path: Path, part: str) -> bool:
    """Whether this names a filter file. Both usages are known: `filter_labels_train.txt`, `trn_filter_labels.txt`."""
    word = _PARTS[part]
    pattern = rf"(.*[_.-])?(filter_labels[_.-]({word})|({word})[_.-]filter_labels)\.txt(\.gz|\.xz)?"
    return re.fullmatch(pattern, path.name) is not None


def find_filter(directory: Path, part: str, shape: tuple[int, int]) -> sp.csr_matrix | None:
    """The filter file of the "training" or "test" instances in a directory, or None if there is none."""
    found = sorted(path for path in directory.glob("*filter_labels*.txt*") if is_filter(path, part))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ArgumentError(f"path: '{directory}' holds several filter files: {names}; keep the one that is meant")
    return read_filter(found[0], *shape) if found else None


def write_filter(path: Path, pairs: sp.csr_matrix) -> None:
    """Writes a filter, CSR [n, L], as a line `row label` per pair."""
    rows = np.repeat(np.arange(pairs.shape[0]), np.diff(pairs.indptr))
    with open(path, "w", encoding="ascii") as file:
        for start in range(0, len(rows), 1 << 16):
            block = np.column_stack((rows[start : start + (1 << 16)], pairs.indices[start : start + (1 << 16)]))
            file.writelines(f"{row} {label}\n" for row, label in block.tolist())
