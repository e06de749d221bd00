"""Dense vectors that are kept with a byte per number, for the search by cosine."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import ArgumentError

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_GROUP = 32  # rows that lie together, number by number
_LARGEST = 127


class ByteRows:
    """Vectors rounded to whole numbers of -127..127, each with a scale of its own.

    values: int8 [ceil(n / 32), D, 32]; row r is values[r // 32, :, r % 32].
    scales: [n] one over its length, or 0.
    """

    def __init__(self, values: npt.NDArray[np.int8], scales: Floats) -> None:
        groups = -(-len(scales) // _GROUP)
        if values.dtype != np.int8 or values.ndim != 3 or (len(values), values.shape[2]) != (groups, _GROUP):
            raise ValueError(f"its rows are {values.dtype} {values.shape}")
        if scales.dtype != np.float32 or scales.ndim != 1 or not np.isfinite(scales).all():
            raise ValueError("its scales are not numbers")
        self.values, self.scales = values, scales

    @classmethod
    def of(cls, name: str, blocks: Iterable[Floats], count: int, features: int) -> ByteRows:
        """`count` rows, some at a time: blocks [m, features], m a multiple of 32 but for the last. Raises ArgumentError
        for NaN or Inf.
        """
        values = np.zeros((-(-count // _GROUP), features, _GROUP), np.int8)
        scales = np.zeros(count, np.float32)
        first = 0
        for rows in blocks:
            largest = np.maximum(rows.max(axis=1, initial=0), -rows.min(axis=1, initial=0))[:, None]
            if not np.isfinite(largest).all():
                raise ArgumentError(f"{name} holds NaN or Inf; leave such rows out or repair them")
            rounded = rows * np.divide(_LARGEST, largest, out=np.zeros_like(largest), where=largest > 0)
            np.rint(rounded, out=rounded)
            lengths = np.sqrt(np.einsum("ij,ij->i", rounded, rounded, dtype=np.float64)).astype(np.float32)
            np.divide(1, lengths, out=scales[first : first + len(rows)], where=lengths > 0)
            groups = -(-len(rows) // _GROUP)
            padded = np.zeros((groups * _GROUP, features), np.int8)
            padded[: len(rows)] = rounded
            at = first // _GROUP
            values[at : at + groups] = padded.reshape(groups, _GROUP, features).transpose(0, 2, 1)
            first += len(rows)
        return cls(values, scales)

    @property
    def features(self) -> int:
        """D, the numbers of a vector."""
        return int(self.values.shape[1])

    def search(self, queries: Floats, count: int, threads: int) -> tuple[Floats, Ids]:
        """Cosines [n, count] with queries of length 1, descending, and numbers of rows; ties to the smaller number."""
        cosines = np.empty((len(queries), count), np.float32)
        numbers = np.empty((len(queries), count), np.int64)
        _core.nearest_rows(self.values, self.scales, queries, cosines, numbers, threads)
        return cosines, numbers
