"""A small problem for the examples: texts as rows of word ids, whose labels each speak in three words of their own."""

from __future__ import annotations

import torch

import sparsexmc as sx
from sparsexmc.torch import OutputLayer

WORDS, WIDTH, LABELS, BATCH = 400, 32, 300, 64
LENGTH = 8  # words a text


def texts(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Word ids [count, LENGTH] and label ids [count, 2], where -1 stands for "no second label"."""
    vocabulary = torch.randint(WORDS, (LABELS, 3), generator=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(LABELS, (count, 2), generator=random)
    words = torch.randint(WORDS, (count, LENGTH), generator=random)
    words[:, :6] = vocabulary[labels].flatten(1)
    alone = torch.rand(count, generator=random) < 0.5
    words[alone, 3:6] = words[alone, :3]
    labels[alone, 1] = -1
    return words, labels


class Encoder(torch.nn.Module):
    """The mean of word embeddings, and a layer on top."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.EmbeddingBag(WORDS, WIDTH)
        self.dense = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.LayerNorm(WIDTH))

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """[rows, LENGTH] -> [rows, WIDTH]"""
        return self.dense(self.words(words))


def output_layer(in_features: int = WIDTH, **options: object) -> OutputLayer:
    """Half of the labels read every feature; of the others, groups of 4 read 16 of them."""
    settings = {"fan_in": 16, "group_size": 4, "dense_labels": 0.5, "rewiring": None, "initial_bias": -5.0}
    settings |= {"optimizer": sx.Adam(lr=0.02), "batch_size": BATCH}
    return OutputLayer(in_features, LABELS, **(settings | options))


def precision(ids: torch.Tensor, labels: torch.Tensor) -> float:
    """P@1: the share of the texts whose first label of `ids` [n, k] is one of theirs, in percent."""
    return 100.0 * (ids[:, :1] == labels).any(1).float().mean().item()
