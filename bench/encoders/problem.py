"""Data that an encoder is trained on, in a form that every output layer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

import sparsexmc as sx

CLUSTER = 64  # labels that share an output of the meta-classifier


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on, beside the output layer and the seed.

    `labels` are the most frequent ones, 0: all. Rates are those of Adam, for the layer and the encoder; both rise for
    `warmup` steps and then fall to 0. `bias` is the layer's `initial_bias`. `test_rows` are drawn from the test part,
    0: all; `held_out` training rows are tested on in their place, to choose rates by.
    """

    labels: int
    steps: int
    batch_size: int
    rate: float
    encoder_rate: float
    warmup: int
    bias: float | str
    test_rows: int = 0
    held_out: int = 0


@dataclass(frozen=True)
class Problem:
    """Instances, which `encoder` reads by rows of `X`, with labels; rows of `features` tell which labels are alike."""

    X: Any
    Y: sp.csr_matrix
    X_test: Any
    Y_test: sp.csr_matrix
    features: sp.csr_matrix
    settings: Settings
    width: int
    encoder: Callable[[], torch.nn.Module]
    optimizers: Callable[[torch.nn.Module, float], list[torch.optim.Optimizer]]
    about: str

    @cached_property
    def label_counts(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.Y.indices, minlength=self.Y.shape[1])

    @cached_property
    def clusters(self) -> npt.NDArray[np.int64]:
        """[L], the cluster of every label."""
        return sx.cluster_ids(sx.cluster_labels(self.features, self.Y, CLUSTER, dense_labels=0), CLUSTER)

    def batches(self, seed: int) -> Iterator[np.ndarray]:
        """Rows of batch after batch without end, in a new order every epoch."""
        random = np.random.default_rng(seed)
        while True:
            order = random.permutation(self.Y.shape[0])
            yield from (order[i : i + self.settings.batch_size] for i in range(0, len(order), self.settings.batch_size))

    def chosen(self) -> Problem:
        """With the most frequent labels alone, and with the rows to test on that the settings ask for."""
        settings, draw = self.settings, np.random.default_rng(0)
        kept = np.sort(np.argsort(-self.label_counts, kind="stable")[: settings.labels or None])
        some = replace(self, Y=self.Y[:, kept], Y_test=self.Y_test[:, kept])
        if settings.held_out:
            rows = draw.permutation(self.Y.shape[0])
            test, train = np.sort(rows[: settings.held_out]), np.sort(rows[settings.held_out :])
            features = self.features[train]
            return replace(
                some, X=self.X[train], Y=some.Y[train], features=features, X_test=self.X[test], Y_test=some.Y[test]
            )
        test = np.sort(draw.permutation(self.Y_test.shape[0])[: settings.test_rows or None])
        return replace(some, X_test=self.X_test[test], Y_test=some.Y_test[test])
