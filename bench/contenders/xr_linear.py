"""XR-Linear of libpecos with its defaults: positive instance features, hierarchical k-means, beam search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from pecos.xmc import Indexer, LabelEmbeddingFactory
from pecos.xmc.base import HierarchicalKMeans
from pecos.xmc.xlinear.model import XLinearModel

from .contender import Ids, Matrix, Split, best_ids, folder_bytes


class XRLinear:
    """Trees that differ in the seed of the clustering; an ensemble adds up their scores of each tree's best labels.

    The steps of training are those of its command line, whose defaults the classes share. Squared hinge loss in every
    node, leaves of up to 100 labels, 16 children, weights below 0.1 dropped, a beam of 10.
    """

    seeded = True

    def __init__(self, threads: int, seed: int, trees: int) -> None:
        self.threads = threads
        self.seeds = range(trees * seed, trees * (seed + 1))
        self.settings: dict[str, object] = {"tree_seeds": list(self.seeds)}

    def prepare(self, train: Split, folder: Path) -> None:
        self.X, self.Y, self.folder = train.X, train.Y.astype(np.float32).tocsc(), folder

    def train(self) -> None:
        features = LabelEmbeddingFactory.create(self.Y, self.X, method="pifa", threads=self.threads)
        self.models = []
        for seed in self.seeds:
            clustering = HierarchicalKMeans.TrainParams(seed=seed, threads=self.threads)
            chain = Indexer.gen(features, train_params=clustering)
            self.models.append(XLinearModel.train(self.X, self.Y, C=chain, threads=self.threads))

    def finish(self) -> int:
        """Loads the models as a server does, for faster prediction; dense rows need the plain kind of weights."""
        kind = "BINARY_SEARCH_CHUNKED" if sp.issparse(self.X) else "CSC"
        folders = [self.folder / f"tree-{seed}" for seed in self.seeds]
        for model, folder in zip(self.models, folders, strict=True):
            model.save(str(folder))
        del self.X, self.Y, self.models
        self.models = [XLinearModel.load(str(f), is_predict_only=True, weight_matrix_type=kind) for f in folders]
        return sum(map(folder_bytes, folders))

    def predict(self, X: Matrix) -> Ids:
        return best_ids(sum(model.predict(X, threads=self.threads) for model in self.models))
