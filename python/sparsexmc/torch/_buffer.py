"""Micro-batches that wait for the step they share."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import ArgumentError
from ..interop.inputs import InstanceWeights
from ._labels import Targets


class Buffer:
    """Copies of the embeddings of micro-batches, with their targets.

    The step of all of them together has the gradient of the weights that theirs would add up to, so nothing of the
    size of the weights need be kept.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._embeddings: list[torch.Tensor] = []
        self._targets: list[Targets] = []

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

    def add(self, embeddings: torch.Tensor, targets: Targets) -> None:
        """Keep a copy of a micro-batch."""
        self._embeddings.append(embeddings.detach().clone(memory_format=torch.contiguous_format))
        self._targets.append(targets)

    def take(self) -> tuple[torch.Tensor, Targets]:
        """All micro-batches as one batch; the buffer is empty afterwards."""
        embeddings = torch.cat(self._embeddings)
        positives = [targets.positives for targets in self._targets]
        counts = np.concatenate([np.diff(indptr) for indptr, _ in positives])
        indices = np.concatenate([indices.astype(np.int64, copy=False) for _, indices in positives])
        weights = self._instance_weights()
        self.clear()
        return embeddings, Targets((np.concatenate([[0], np.cumsum(counts)]), indices), weights)

    def _instance_weights(self) -> InstanceWeights | None:
        """Of all micro-batches; 1 for those that have none, if others do."""
        if all(targets.instance_weights is None for targets in self._targets):
            return None
        parts = zip(self._embeddings, self._targets, strict=True)
        return np.concatenate([np.ones(len(x), np.float32) if w is None else w for x, (_, w) in parts])

    def clear(self) -> None:
        """Forget them."""
        self._embeddings, self._targets = [], []
