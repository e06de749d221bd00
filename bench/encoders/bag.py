"""A small encoder from nothing: the built-in data's tokens through an embedding bag and a linear layer."""

from __future__ import annotations

import scipy.sparse as sp
import torch

import sparsexmc as sx

from .problem import Problem, Settings

WIDTH = 256
SPREAD, ROW_LENGTH = 0.2, 6.0  # of token vectors at the start, and of the rows that they are summed by
# Three epochs. The rate was chosen on 4,000 held-out rows.
DEFAULTS = Settings(labels=10_000, steps=546, batch_size=256, rate=1e-2, encoder_rate=1e-2, warmup=0, bias=-8.0)


class Encoder(torch.nn.Module):
    """TF-IDF weights of tokens to embeddings: relu(A relu(sum of token vectors))."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.bag = torch.nn.EmbeddingBag(tokens, WIDTH, mode="sum", sparse=True)
        torch.nn.init.normal_(self.bag.weight, std=SPREAD)
        self.linear = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, rows: sp.csr_matrix) -> torch.Tensor:
        tokens, offsets, weights = (
            torch.from_numpy(part) for part in (rows.indices, rows.indptr[:-1], ROW_LENGTH * rows.data)
        )
        return torch.relu(self.linear(torch.relu(self.bag(tokens, offsets, per_sample_weights=weights))))


def optimizers(encoder: Encoder, rate: float) -> list[torch.optim.Optimizer]:
    """Adam, for token vectors in the form that leaves those alone which a batch does not name."""
    return [
        torch.optim.SparseAdam(encoder.bag.parameters(), lr=rate),
        torch.optim.Adam(encoder.linear.parameters(), lr=rate),
    ]


def problem(settings: Settings) -> Problem:
    """The built-in data."""
    data = sx.data.load_demo()
    about = f"Built-in data, tokens -> {WIDTH} -> {WIDTH}"
    return Problem(
        data.X, data.Y, data.X_test, data.Y_test, features=data.X, settings=settings, width=WIDTH,
        encoder=lambda: Encoder(data.X.shape[1]), optimizers=optimizers, about=about,
    ).chosen()  # fmt: skip
