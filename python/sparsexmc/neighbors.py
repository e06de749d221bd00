"""Nearest training instances, whose labels count as votes beside a classifier's own scores."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import _archive
from ._checks import require_int
from ._sparse import label_matrix, search, sparse_features, unit_rows
from .config import SGD, Votes
from .errors import ArgumentError, DTypeError

if TYPE_CHECKING:
    from .classifier import Classifier

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_DENSE_BATCH = 256
_PARTS = ("data", "indices", "indptr")


class Neighbors:
    """The training instances as a memory: the nearest ones of a query vote for their labels.

    A linear or neural classifier generalises well for frequent labels; for the many labels with a handful of instances
    those instances themselves say more. `Ensemble` adds both up. The search is exact: an inverted index for sparse
    features, the fused top-k of a dense output layer whose rows are the embeddings for dense ones. Results do not
    depend on the number of threads.

    Args:
        X: [N, D] features of the training instances: scipy sparse, or a float32 or float16 array. Rows are scaled to
            unit length.
        Y: [N, L] their labels, scipy sparse.
        votes: how they are counted; `Ensemble.tune` chooses on held-out instances.
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
        self._rows: Any = unit_rows(sparse_features("X", X)).T.tocsr() if self.sparse else _unit_array("X", X)
        self._index: Classifier | None = None

    @property
    def labels(self) -> sp.csr_matrix:
        """[N, L] labels of the training instances, ones."""
        return self._labels

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
        return sum(array.nbytes for array in self._arrays().values())

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
        return search(self._rows, unit_rows(sparse_features("X", X)), count, self._threads)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes everything to one `.npz` file, which `load` reads. Raises DataError if it cannot be written."""
        meta = {"in_features": self.in_features, "num_labels": self.num_labels, "votes": self.votes.to_dict()}
        _archive.write(Path(path), "neighbors", self._arrays(), meta)

    @classmethod
    def load(cls, path: str | PathLike[str], *, num_threads: int | None = None) -> Neighbors:
        """Reads what `save` wrote. Raises DataError if it is missing, damaged or something else."""
        # Not through __init__, which would scale the rows once more and change their last bits.
        neighbors = cls.__new__(cls)
        neighbors._labels, neighbors._rows, neighbors.votes = _archive.read(Path(path), "neighbors", _parts)
        neighbors.sparse = bool(sp.issparse(neighbors._rows))
        neighbors.in_features = int(neighbors._rows.shape[0 if neighbors.sparse else 1])
        neighbors._threads, neighbors._index = num_threads or 0, None
        return neighbors

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What is stored."""
        stored = {"labels.indptr": self._labels.indptr, "labels.indices": self._labels.indices}
        if self.sparse:
            return stored | {f"postings.{part}": getattr(self._rows, part) for part in _PARTS}
        return stored | {"rows": self._rows}

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


def _parts(file: Mapping[str, npt.NDArray[Any]], meta: dict[str, Any]) -> tuple[sp.csr_matrix, Any, Votes]:
    """(labels, rows, votes) of a file."""
    votes = Votes(**meta["votes"])
    indptr, indices = file["labels.indptr"], file["labels.indices"]
    shape = (len(indptr) - 1, meta["num_labels"])
    labels = label_matrix("labels", sp.csr_matrix((np.ones(len(indices), np.float32), indices, indptr), shape))
    if "rows" not in file:
        parts = tuple(file[f"postings.{part}"] for part in _PARTS)
        postings = sp.csr_matrix(parts, (meta["in_features"], shape[0]))
        return labels, sparse_features("postings", postings), votes
    rows = file["rows"]
    if rows.shape != (shape[0], meta["in_features"]) or rows.dtype != np.float32:
        raise ValueError(f"its rows are {rows.dtype} {rows.shape}")
    return labels, rows, votes


def _unit_array(name: str, X: Any) -> Floats:
    array = np.asarray(X)
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise DTypeError(f"{name} has dtype {array.dtype}; pass {name}.astype(np.float32)")
    values = array.astype(np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ArgumentError(f"{name} holds NaN or Inf; leave such rows out or repair them")
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
