"""Nearest training instances, whose labels count as votes beside a classifier's own scores."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import _core, _neighbors_file
from ._checks import require_int
from ._filter import Ranking, blanked_labels, drop, widest
from ._sparse import label_matrix, sparse_features
from .config import SGD, Votes
from .errors import ArgumentError, DTypeError
from .metrics import precision_at_k

if TYPE_CHECKING:
    from .classifier import Classifier

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_CANDIDATES = 100  # of the classifier; the probabilities behind them are too small to change a short list
_DENSE_BATCH = 256
_WEIGHTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
_CUTOFFS = (1, 3, 5)


class Neighbors:
    """The training instances as a memory: the nearest ones of a query vote for their labels.

    A linear or neural classifier generalises well for frequent labels; for the many labels with a handful of instances
    those instances themselves say more. Both are added up:

        score = sigmoid(z) + weight * v / (s + doubt)

    where a neighbor votes with max(0, cosine)^power for each of its labels, v is the sum of a label's votes and s that
    of all `count` neighbors. The search is exact: an inverted index for sparse features, the fused top-k of a dense
    output layer whose rows are the embeddings for dense ones. Results do not depend on the number of threads.

    Args:
        X: [N, D] features of the training instances: scipy sparse, or a float32 or float16 array. Rows are scaled to
            unit length.
        Y: [N, L] their labels, scipy sparse.
        votes: how they are counted; `tune` chooses on held-out instances.
        num_threads: worker threads; None: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process.

    Raises:
        ArgumentError, DTypeError: shapes that disagree, NaN, or a wrong kind of array.
    """

    def __init__(self, X: Any, Y: Any, votes: Votes | None = None, *, num_threads: int | None = None) -> None:
        self._labels = label_matrix("Y", Y)
        if not hasattr(X, "shape") or len(X.shape) != 2:
            raise DTypeError(f"X is a {type(X).__name__}; pass a scipy sparse matrix or an array [N, D]")
        if X.shape[0] != self._labels.shape[0] or not X.shape[0]:
            raise ArgumentError(f"X has {X.shape[0]} rows and Y {self._labels.shape[0]}; pass one each per instance")
        if num_threads is not None:
            require_int("num_threads", num_threads, 0)
        self._threads = num_threads or 0
        self.sparse = bool(sp.issparse(X))
        self.in_features = int(X.shape[1])
        if votes is not None and not isinstance(votes, Votes):
            raise ArgumentError(f"votes={votes!r} must be sx.Votes(...) or None")
        # Dense embeddings of different subjects are still somewhat alike; a higher power tells them apart.
        self.votes = votes or Votes(power=2.0 if self.sparse else 4.0)
        # Features as unit rows: transposed, an inverted index, where they are sparse.
        self._rows: Any = _unit_rows(sparse_features("X", X)).T.tocsr() if self.sparse else _unit_array("X", X)
        self._index: Classifier | None = None

    @property
    def num_instances(self) -> int:
        """N, the number of training instances."""
        return int(self._labels.shape[0])

    @property
    def num_labels(self) -> int:
        """L, the number of labels."""
        return int(self._labels.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of features and labels."""
        return sum(array.nbytes for array in _neighbors_file.arrays(self._labels, self._rows).values())

    def search(self, X: Any, count: int | None = None) -> tuple[Floats, Ids]:
        """The nearest training instances of every row.

        Args:
            X: [n, D] features like those of the training instances.
            count: neighbors per row; None: `votes.count`. At most N come.

        Returns:
            cosines [n, count], falling, and instances [n, count] (equal ones: the smaller number first). With sparse
            features an instance without a positive product is no neighbor: cosine 0 and instance -1 stand for it.
        """
        count = self.votes.count if count is None else count
        require_int("count", count, 1)
        count = min(count, self.num_instances)
        if not hasattr(X, "shape") or len(X.shape) != 2 or X.shape[1] != self.in_features:
            raise ArgumentError(
                f"X has shape {getattr(X, 'shape', None)}; pass rows with the {self.in_features} features of the "
                "training instances"
            )
        if sp.issparse(X) != self.sparse:
            kinds = ("sparse", "dense") if self.sparse else ("dense", "sparse")
            raise DTypeError(f"X must be {kinds[0]} as the training instances are, not {kinds[1]}")
        if not self.sparse:
            return self._dense_index().topk(_unit_array("X", X), count)
        queries = _unit_rows(sparse_features("X", X))
        cosines, instances = np.empty((X.shape[0], count), np.float32), np.empty((X.shape[0], count), np.int64)
        p = self._rows
        _core.nearest_instances(
            p.indptr, p.indices, p.data, p.shape[1],
            queries.indptr, queries.indices, queries.data, cosines, instances, self._threads,
        )  # fmt: skip
        return cosines, instances

    def topk(
        self, classifier: Classifier | None, X: Any, k: int = 5, *, embeddings: Any = None, filter: Any = None
    ) -> Ranking:
        """The k best labels of every row, by the classifier's probabilities and the votes of the neighbors.

        Args:
            classifier: ranks the labels before the votes; None: the votes alone.
            X: [n, D] features like those of the training instances.
            k: number of labels.
            embeddings: what the classifier reads, where that is not X.
            filter: pairs that are never predicted, as in `Classifier.topk`.

        Returns:
            scores [n, k], falling, and ids [n, k]; ties go to the smaller id. Where classifier and neighbors know fewer
            than k labels, id -1 fills the row. The classifier's best 100 (or k) labels take part.
        """
        require_int("k", k, 1)
        if k > self.num_labels:
            raise ArgumentError(f"k={k} is more than num_labels={self.num_labels}; ask for at most that many")
        found = self.search(X)
        embeddings = X if embeddings is None else embeddings
        if filter is None:
            return self._rank(self.votes, self._candidates(classifier, embeddings, k), *found, k)
        blanked = blanked_labels("filter", filter, X.shape[0], self.num_labels)
        width = widest(blanked, k, self.num_labels)
        return drop(
            self._rank(self.votes, self._candidates(classifier, embeddings, width), *found, width),
            blanked,
            k,
            self.num_labels,
        )

    def tune(
        self, classifier: Classifier, X: Any, Y: Any, *, embeddings: Any = None, cutoffs: tuple[int, ...] = _CUTOFFS
    ) -> dict[tuple[float, float], float]:
        """Sets `votes` to what ranks held-out instances best, by the mean of P@k over `cutoffs`.

        Tries weights from 0 (no votes) to 1.6, and the power as it is and by half higher. The instances must be neither
        in this memory nor in the classifier's training.

        Returns:
            {(power, weight): mean of P@k}, shares. Equal ones: the smaller weight is taken.
        """
        truth = label_matrix("Y", Y)
        k = min(max(cutoffs), self.num_labels)
        candidates = self._candidates(classifier, X if embeddings is None else embeddings, k)
        found = self.search(X)
        tried: dict[tuple[float, float], float] = {}
        before = self.votes
        for power in (before.power, 1.5 * before.power):
            for weight in _WEIGHTS:
                _, ids = self._rank(replace(before, power=power, weight=weight), candidates, *found, k)
                tried[power, weight] = float(np.mean(precision_at_k(ids, truth, [min(c, k) for c in cutoffs])))
        power, weight = max(tried, key=lambda key: (tried[key], -key[1]))
        self.votes = replace(before, power=power, weight=weight)
        return tried

    def save(self, path: str | PathLike[str]) -> None:
        """Writes everything to one `.npz` file, which `load` reads. Raises DataError if it cannot be written."""
        meta = {"in_features": self.in_features, "num_labels": self.num_labels, "votes": self.votes.to_dict()}
        _neighbors_file.write(Path(path), self._labels, self._rows, meta)

    @classmethod
    def load(cls, path: str | PathLike[str], *, num_threads: int | None = None) -> Neighbors:
        """Reads what `save` wrote. Raises DataError if it is missing, damaged or something else."""
        # Not through __init__, which would scale the rows once more and change their last bits.
        neighbors = cls.__new__(cls)
        neighbors._labels, neighbors._rows, meta = _neighbors_file.read(Path(path))
        neighbors.votes = Votes(**meta["votes"])
        neighbors.sparse, neighbors.in_features = bool(sp.issparse(neighbors._rows)), meta["in_features"]
        neighbors._threads, neighbors._index = num_threads or 0, None
        return neighbors

    def _candidates(self, classifier: Classifier | None, embeddings: Any, k: int) -> tuple[Floats, Ids] | None:
        if classifier is None:
            return None
        if classifier.num_labels != self.num_labels:
            raise ArgumentError(
                f"classifier has {classifier.num_labels} labels and the neighbors {self.num_labels}; they must agree"
            )
        return classifier.topk(embeddings, min(max(_CANDIDATES, k), self.num_labels))

    def _rank(
        self, votes: Votes, candidates: tuple[Floats, Ids] | None, cosines: Floats, instances: Ids, k: int
    ) -> tuple[Floats, Ids]:
        rows = len(instances)
        logits, ids = candidates or (np.empty((rows, 0), np.float32), np.empty((rows, 0), np.int64))
        if len(ids) != rows:
            raise ArgumentError(f"embeddings has {len(ids)} rows and X {rows}; pass one each per instance")
        scores, best = np.empty((rows, k), np.float32), np.empty((rows, k), np.int64)
        _core.rank_with_votes(
            logits, ids, cosines, instances, self._labels.indptr, self._labels.indices, self.num_labels,
            votes.power, votes.weight, votes.doubt, scores, best, self._threads,
        )  # fmt: skip
        return scores, best

    def _dense_index(self) -> Classifier:
        """The search as prediction: a dense output layer whose rows are the instances."""
        from .classifier import Classifier

        if self._index is None:
            self._index = Classifier(
                self.in_features,
                self.num_instances,
                fan_in=None,
                label_order=np.arange(self.num_instances),
                optimizer=SGD(),
                device="cpu",
                batch_size=_DENSE_BATCH,
                num_threads=self._threads or None,
            )
            state = self._index.state_dict()
            state["segments.0.weights"] = self._rows
            state["segments.0.bias"] = np.zeros_like(state["segments.0.bias"])
            self._index.load_state_dict(state)
        return self._index


def _unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float64)).ravel()
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    data = (matrix.data * np.repeat(scale, np.diff(matrix.indptr))).astype(np.float32)
    return sp.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def _unit_array(name: str, X: Any) -> Floats:
    array = np.asarray(X)
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise DTypeError(f"{name} has dtype {array.dtype}; pass {name}.astype(np.float32)")
    values = array.astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ArgumentError(f"{name} holds NaN or Inf; leave such rows out or repair them")
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
