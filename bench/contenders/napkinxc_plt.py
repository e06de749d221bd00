"""The probabilistic label tree of napkinXC with its defaults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napkinxc.models import PLT

from .contender import Ids, K, Matrix, Split, folder_bytes


class ProbabilisticLabelTree:
    """Balanced 2-means down to 100 labels, logistic regression in every node, exact search. Training writes the model.

    The seed repeats a run exactly with one thread only.
    """

    seeded = True

    def __init__(self, threads: int, seed: int) -> None:
        self.threads, self.seed = threads, seed
        self.settings: dict[str, object] = {}

    def prepare(self, train: Split, folder: Path) -> None:
        self.X, self.Y, self.folder = train.X, train.Y.astype(np.float32), folder

    def train(self) -> None:
        self.model = PLT(str(self.folder), threads=self.threads, seed=self.seed)
        self.model.fit(self.X, self.Y)

    def finish(self) -> int:
        del self.X, self.Y
        self.model.load()
        return folder_bytes(self.folder)

    def predict(self, X: Matrix) -> Ids:
        ids = np.full((X.shape[0], K), -1, np.int64)
        for row, labels in zip(ids, self.model.predict(X, top_k=K), strict=True):
            row[: len(labels)] = labels
        return ids
