"""The output layers that are compared: PyTorch's, and `OutputLayer` with and without what may help an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

import sparsexmc as sx
from sparsexmc.torch import OutputLayer

from .problem import Problem

GROUP, DENSE, META_WEIGHT = 16, 0.05, 0.4
TITLES = {
    "torch": "dense, PyTorch",
    "dense": "dense",
    "fan-in": "fan-in",
    "dense-segment": "fan-in, dense segment",
    "hidden": "fan-in, hidden layer",
    "meta": "fan-in, meta-classifier",
    "all": "fan-in, all three",
    "frozen": "dense, encoder frozen",
}


class DenseLayer(torch.nn.Module):
    """The layer that `OutputLayer` replaces: nn.Linear, binary cross-entropy over all labels, Adam."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(problem.width, problem.Y.shape[1])
        with torch.no_grad():
            self.linear.bias.copy_(torch.from_numpy(initial_bias(problem)))
        self.fused_optimizer = torch.optim.Adam(self.parameters(), lr=problem.settings.rate)

    def forward(self, embeddings: torch.Tensor, labels: sp.csr_matrix) -> torch.Tensor:
        targets = torch.from_numpy(labels.toarray()).float()
        logits = self.linear(embeddings)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(embeddings)

    def topk(self, embeddings: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        best = self.linear(embeddings).topk(k)
        return best.values, best.indices


def initial_bias(problem: Problem) -> np.ndarray:
    """[L], as `sparsexmc.Classifier` says of the argument."""
    counts = problem.label_counts.astype(np.float32)
    if problem.settings.bias == "frequency":
        return np.log((counts + 0.5) / (problem.Y.shape[0] - counts + 0.5))
    return np.full_like(counts, problem.settings.bias)


def make(variant: str, problem: Problem, seed: int, threads: int) -> Any:
    """The layer of one of `TITLES`, ready to train."""
    if variant == "torch":
        return DenseLayer(problem)
    options: dict[str, Any] = {"fan_in": fan_in(problem), "group_size": GROUP, "dense_labels": 0}
    if variant in ("dense", "frozen"):
        options |= {"fan_in": None}
    if variant in ("dense-segment", "all"):
        options |= {"dense_labels": DENSE}
    if variant in ("hidden", "all"):
        options |= {"hidden": sx.Hidden(hidden_units(problem))}
    if variant in ("meta", "all"):
        steps = problem.settings.steps
        options |= {"auxiliary": sx.MetaClassifier(problem.clusters, weight=META_WEIGHT, steps=steps)}
    return OutputLayer(
        problem.width,
        problem.Y.shape[1],
        label_counts=problem.label_counts,
        num_instances=problem.Y.shape[0],
        initial_bias=problem.settings.bias,
        optimizer=sx.Adam(lr=problem.settings.rate),
        rewiring=None,
        batch_size=problem.settings.batch_size,
        device="cpu",
        num_threads=threads,
        seed=seed,
        **options,
    )


def fan_in(problem: Problem) -> int:
    """An eighth of the features."""
    return problem.width // 8


def hidden_units(problem: Problem) -> int:
    """Four times the features."""
    return 4 * problem.width
