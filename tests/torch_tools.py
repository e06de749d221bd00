"""A small output layer and an encoder for the tests of sparsexmc.torch, and the same layer in plain PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sparsexmc as sx  # noqa: E402
from sparsexmc.torch import OutputLayer  # noqa: E402

ROWS, FEATURES, LABELS = 6, 16, 40
X = torch.from_numpy(np.random.default_rng(5).standard_normal((ROWS, FEATURES)).astype(np.float32))
Y = torch.tensor([[3, 39], [0, -1], [-1, -1], [7, 8], [9, 3], [39, -1]])  # -1: padding


def output_layer(**options: Any) -> OutputLayer:
    settings = {"fan_in": 4, "group_size": 4, "dense_labels": 8, "rewiring": None, "batch_size": ROWS, "device": "cpu"}
    return OutputLayer(FEATURES, LABELS, **(settings | {"optimizer": sx.Adam(lr=0.01), "seed": 3} | options))


def encoder() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, FEATURES), torch.nn.Tanh())


def state(layer: OutputLayer) -> dict[str, bytes]:
    """Everything but `anchor`, which shows the step in the type of number that the module has."""
    return {name: tensor.numpy().tobytes() for name, tensor in layer.state_dict().items() if name != "anchor"}


class Dense(torch.nn.Module):
    """The layer as autograd sees it: [num_labels, width] weights, most of them zero and masked; float64."""

    def __init__(self, layer: OutputLayer) -> None:
        super().__init__()
        s, self.loss = layer.state_dict(), layer.classifier.config["loss"]
        order = s["label_order"]
        self.hidden = [s[f"hidden.{name}"].double() for name in ("weight", "bias")] if "hidden.weight" in s else None
        width = layer.classifier.in_features if self.hidden is None else self.hidden[0].shape[1]
        weight = torch.zeros(len(order), width, dtype=torch.float64)
        mask, bias, first, number = torch.zeros_like(weight), torch.zeros(len(order), dtype=torch.float64), 0, 0
        while f"segments.{number}.weights" in s:
            w, b = s[f"segments.{number}.weights"].double(), s[f"segments.{number}.bias"].double()
            rows, labels = torch.arange(len(w)), order[first : first + len(w)]
            if (indices := s.get(f"segments.{number}.indices")) is None:
                columns = torch.arange(width).expand(len(w), width)
            else:
                columns = indices.long()[rows // layer.classifier.config["group_size"]]
            weight[labels[:, None], columns], mask[labels[:, None], columns], bias[labels] = w, 1.0, b
            first, number = first + len(w), number + 1
        self.weight, self.bias, self.mask = torch.nn.Parameter(weight), torch.nn.Parameter(bias), mask

    def forward(self, x: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss summed over labels, averaged over instances. `targets`: 0/1 [rows, num_labels]."""
        if self.hidden is not None:
            x = torch.relu(x @ self.hidden[0] + self.hidden[1])
        z = x @ (self.weight * self.mask).T + self.bias
        if self.loss == "bce":
            return torch.nn.functional.binary_cross_entropy_with_logits(z, targets, reduction="sum") / len(x)
        return torch.relu(1 - (2 * targets - 1) * z).square().sum() / len(x)


def targets(ids: torch.Tensor = Y) -> torch.Tensor:
    """Padded ids as float64 0/1 [rows, LABELS]."""
    result = torch.zeros(len(ids), LABELS, dtype=torch.float64)
    for row, labels in enumerate(ids.tolist()):
        result[row, [label for label in labels if label >= 0]] = 1
    return result
