"""Replicas of the layer in the processes of a group, which stay equal by taking the same step on the batch of all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from ..classifier import Classifier
from ..errors import ArgumentError
from ._labels import Targets

_OF_A_MACHINE = {"device", "num_threads", "memory_limit"}  # no result depends on them


def world_size() -> int:
    """Processes of the default group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class Numbers(NamedTuple):
    """Numbers that ranks compare at a step: `rate` and `momentum` as bits, and whether fingerprints were compared."""

    step: int
    rate: int
    momentum: int
    compared: int


def ranked_numbers(classifier: Classifier, *, compared: bool) -> Numbers:
    """The numbers of the next step."""
    rate, momentum = np.array([classifier.lr, classifier.momentum]).view(np.int64).tolist()
    return Numbers(classifier.step, rate, momentum, int(compared))


def fingerprint(classifier: Classifier, on_nonfinite: str) -> dict[str, int]:
    """63 bits of a hash for each thing that must be the same on all ranks before the first step."""
    config = {name: value for name, value in classifier.config.items() if name not in _OF_A_MACHINE}
    seed = config.pop("seed")
    told = {"the configuration": [config, classifier.total_steps, on_nonfinite], "the seed": seed}
    hashes = {name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()) for name, value in told.items()}
    hashes["the weights"] = hashlib.sha256()
    for name, array in classifier.state_dict().items():
        hashes["the weights"].update(name.encode())
        if array.size:
            hashes["the weights"].update(np.ascontiguousarray(array).data.cast("B"))
    return {name: int.from_bytes(found.digest()[:8], "big") >> 1 for name, found in hashes.items()}


def gather(
    embeddings: torch.Tensor, targets: Targets, numbers: Numbers, fingerprint: Callable[[], dict[str, int]]
) -> tuple[torch.Tensor, Targets, slice]:
    """The batches of all ranks, one after the other, and which rows are this rank's.

    If one rank has weights of its instances, those of ranks without are 1.

    Args:
        numbers: of this rank's layer.
        fingerprint: of this rank's layer, taken where a rank has not compared it since its layer was made or loaded.

    Raises:
        ArgumentError: on every rank, if the layers of the ranks differ.
    """
    indptr, indices = (torch.from_numpy(part.astype(np.int64, copy=False)) for part in targets.positives)
    own = targets.instance_weights
    facts = [len(embeddings), len(indices), int(own is not None), *numbers]
    sizes = _all(torch.tensor(facts, device=embeddings.device)).tolist()
    _compare([Numbers(*numbers) for _, _, _, *numbers in sizes], fingerprint, embeddings.device)
    counts = [size[0] for size in sizes], [size[1] for size in sizes]
    everyone = _rows(embeddings.detach().contiguous().view(torch.uint8), counts[0]).view(embeddings.dtype)
    lengths = _rows(indptr.diff().to(embeddings.device), counts[0]).cpu().numpy()
    labels = _rows(indices.to(embeddings.device), counts[1]).cpu().numpy()
    weights = None
    if any(size[2] for size in sizes):
        here = torch.ones(len(embeddings)) if own is None else torch.from_numpy(own)
        weights = _rows(here.to(embeddings.device), counts[0]).cpu().numpy()
    first = sum(counts[0][: dist.get_rank()])
    found = Targets((np.concatenate([[0], np.cumsum(lengths)]), labels), weights)
    return everyone, found, slice(first, first + len(embeddings))


def _compare(ranks: list[Numbers], fingerprint: Callable[[], dict[str, int]], device: torch.device) -> None:
    remedy = "they stay equal only if all start equal, with the same arguments and loaded state, and train together"
    if len({of.step for of in ranks}) > 1:
        raise ArgumentError(f"the OutputLayers of the ranks are at steps {[of.step for of in ranks]}; {remedy}")
    if len({(of.rate, of.momentum) for of in ranks}) > 1:
        rates = np.array([of.rate for of in ranks]).view(np.float64).tolist()
        raise ArgumentError(
            f"the OutputLayers of the ranks have learning rates {rates}, or other momenta; run the same scheduler on "
            "fused_optimizer of every rank"
        )
    if all(of.compared for of in ranks):
        return
    own = fingerprint()
    everyone = _all(torch.tensor(list(own.values()), device=device))
    if different := [name for name, column in zip(own, everyone.T, strict=True) if len(column.unique()) > 1]:
        raise ArgumentError(f"the OutputLayers of the ranks differ in {' and '.join(different)}; {remedy}")


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
