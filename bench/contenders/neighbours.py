"""Votes of the nearest training instances: no training, and hard to beat where labels are rare."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .contender import Ids, Matrix, Split, best_ids

NEIGHBOURS = 50
SIMILARITIES = 1 << 22  # held by a thread at a time


class NearestNeighbours:
    """Each of the 50 training rows of largest cosine votes for its labels with its cosine to the second power.

    Embeddings are alike all over, so there it is the fourth power. The search is exact, chunk by chunk.
    """

    seeded = True  # nothing is random

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.settings: dict[str, object] = {"neighbours": NEIGHBOURS}

    def prepare(self, train: Split, folder: Path) -> None:
        self.rows, self.Y = train.X, train.Y.astype(np.float32)

    def train(self) -> None:
        """Unit rows, stored by feature."""
        rows = unit_rows(self.rows)
        self.by_feature = rows.T.tocsr() if sp.issparse(rows) else rows.T
        self.power = 2 if sp.issparse(rows) else 4
        self.settings["power"] = self.power
        del self.rows

    def finish(self) -> int:
        held = [self.Y.indptr, self.Y.indices]  # a label is there or not
        if sp.issparse(self.by_feature):
            return sum(a.nbytes for a in (*held, self.by_feature.indptr, self.by_feature.indices, self.by_feature.data))
        return sum(a.nbytes for a in (*held, self.by_feature))

    def predict(self, X: Matrix) -> Ids:
        X = unit_rows(X)
        step = max(1, SIMILARITIES // self.by_feature.shape[1])
        chunks = (X[begin : begin + step] for begin in range(0, X.shape[0], step))
        with ThreadPoolExecutor(self.threads) as pool:  # dense products have one thread each, see environment.run
            return np.concatenate(list(pool.map(self._vote, chunks)))

    def _vote(self, X: Matrix) -> Ids:
        near = self._nearest(X)
        near.data **= self.power
        return best_ids(near @ self.Y)

    def _nearest(self, X: Matrix) -> sp.csr_matrix:
        """Cosines of the nearest training rows: CSR [n, n_train]."""
        similarity = X @ self.by_feature
        if not sp.issparse(similarity):
            count = min(NEIGHBOURS, similarity.shape[1])
            columns = np.argpartition(similarity, -count, axis=1)[:, -count:]
            data = np.take_along_axis(similarity, columns, axis=1)
            indptr = np.arange(0, columns.size + 1, count)
            return sp.csr_matrix((data.reshape(-1), columns.reshape(-1), indptr), shape=similarity.shape)
        for begin, end in zip(similarity.indptr[:-1], similarity.indptr[1:], strict=True):
            if end - begin > NEIGHBOURS:
                cosines = similarity.data[begin:end]
                cosines[np.argpartition(cosines, -NEIGHBOURS)[:-NEIGHBOURS]] = 0
        similarity.eliminate_zeros()
        return similarity


def unit_rows(X: Matrix) -> Matrix:
    """Rows divided by their length; a row of zeros stays."""
    squares = X.multiply(X).sum(axis=1) if sp.issparse(X) else np.square(X).sum(axis=1)
    length = np.sqrt(np.asarray(squares, np.float32).reshape(-1, 1))
    length[length == 0] = 1
    return sp.csr_matrix(X.multiply(1 / length)) if sp.issparse(X) else X / length
