"""Replicas of the layer in the processes of a group, which stay equal by taking the same step on the batch of all."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist

from ..errors import ArgumentError
from ._labels import Targets


def world_size() -> int:
    """Processes of the default group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(embeddings: torch.Tensor, targets: Targets, step: int) -> tuple[torch.Tensor, Targets, slice]:
    """The batches of all ranks, one after the other, and which rows are this rank's.

    If one rank has weights of its instances, those of ranks without are 1.

    Args:
        step: that the layer is at.

    Raises:
        ArgumentError: the layers of the ranks are not at the same step.
    """
    indptr, indices = (torch.from_numpy(part.astype(np.int64, copy=False)) for part in targets.positives)
    own = targets.instance_weights
    facts = [len(embeddings), len(indices), step, int(own is not None)]
    sizes = _all(torch.tensor(facts, device=embeddings.device)).tolist()
    if len({at for _, _, at, _ in sizes}) > 1:
        raise ArgumentError(
            f"the OutputLayers of the ranks are at steps {[at for _, _, at, _ in sizes]}; they stay equal only if all "
            "start equal, with the same arguments and the same loaded state, and train together"
        )
    counts = [rows for rows, _, _, _ in sizes], [number for _, number, _, _ in sizes]
    everyone = _rows(embeddings.detach().contiguous().view(torch.uint8), counts[0]).view(embeddings.dtype)
    lengths = _rows(indptr.diff().to(embeddings.device), counts[0]).cpu().numpy()
    labels = _rows(indices.to(embeddings.device), counts[1]).cpu().numpy()
    weights = None
    if any(weighted for _, _, _, weighted in sizes):
        here = torch.ones(len(embeddings)) if own is None else torch.from_numpy(own)
        weights = _rows(here.to(embeddings.device), counts[0]).cpu().numpy()
    first = sum(counts[0][: dist.get_rank()])
    found = Targets((np.concatenate([[0], np.cumsum(lengths)]), labels), weights)
    return everyone, found, slice(first, first + len(embeddings))


def _rows(own: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """The tensors of all ranks, which differ in their first size only, one after the other."""
    padded = own.new_zeros(max(counts), *own.shape[1:])
    padded[: len(own)] = own
    return torch.cat([part[:count] for part, count in zip(_all(padded), counts, strict=True)])


def _all(own: torch.Tensor) -> torch.Tensor:
    """[ranks, ...]: tensors of one shape, from every rank."""
    parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, own)
    return torch.stack(parts)
