"""Micro-batches that wait for the step they share."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import ArgumentError
from ..interop.inputs import Positives


class Buffer:
    """Copies of the embeddings of micro-batches, with their labels.

    The step of all of them together has the gradient of the weights that theirs would add up to, so nothing of the
    size of the weights need be kept.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._embeddings: list[torch.Tensor] = []
        self._positives: list[Positives] = []

    def __len__(self) -> int:
        """Instances kept."""
        return sum(map(len, self._embeddings))

    def check_room(self, rows: int) -> None:
        """Raises ArgumentError if that many more instances are too many for one step."""
        if len(self) + rows > self._batch_size:
            raise ArgumentError(
                f'accumulate="buffer" keeps {len(self)} instances and {rows} come, but batch_size is '
                f"{self._batch_size}; call layer.fused_optimizer.step() after every accumulated batch, or make the "
                "OutputLayer with batch_size=<instances of all its micro-batches>"
            )

    def add(self, embeddings: torch.Tensor, positives: Positives) -> None:
        """Keep a copy of a micro-batch."""
        self._embeddings.append(embeddings.detach().clone(memory_format=torch.contiguous_format))
        self._positives.append(positives)

    def take(self) -> tuple[torch.Tensor, Positives]:
        """All micro-batches as one batch; the buffer is empty afterwards."""
        embeddings = torch.cat(self._embeddings)
        counts = np.concatenate([np.diff(indptr) for indptr, _ in self._positives])
        indices = np.concatenate([indices.astype(np.int64, copy=False) for _, indices in self._positives])
        self.clear()
        return embeddings, (np.concatenate([[0], np.cumsum(counts)]), indices)

    def clear(self) -> None:
        """Forget them."""
        self._embeddings, self._positives = [], []
