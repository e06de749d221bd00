"""Nearest training instances, which vote for their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._checks import require_int
from .._csr import csr_from_arrays
from .._sparse import label_matrix, search, sparse_features, unit_rows
from ..config import Votes
from ..core.classifier import CoreClassifier
from ..errors import ArgumentError, DTypeError
from ..interop.inputs import instance_numbers
from . import archive
from .byte_rows import ByteRows
from .settings import DENSE_POWER, SPARSE_POWER

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_BLOCK = 4096  # rows rounded at a time
_CENTER_ROWS = 10_000
_PARTS = ("data", "indices", "indptr")


class Neighbors:
    """A search among the training instances: the nearest ones of a query vote for their labels.

    A linear or neural classifier generalises well for frequent labels; for the many labels with a handful of instances
    those instances themselves say more. `Ensemble` adds both up. The search is exact: an inverted index for sparse
    features; for dense ones a pass over all, which are kept with a byte per number and a scale per row. Results do not
    depend on the number of threads.

    Args:
        X: [N, D] features of the training instances: scipy sparse, or a float32 or float16 array. Rows are scaled to
            unit length. For what a hidden layer makes of them see `of_hidden_layer`.
        Y: [N, L] their labels, scipy sparse.
        votes: how they are counted; `Ensemble.tune` chooses on held-out instances.
        instance_weights: [N] finite factors >= 0 on the votes of the instances; None: all 1. The search does not know
            them: leave out instances of weight 0, or they take the places of others.
        num_threads: worker threads; None: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process.

    Raises:
        ArgumentError, DTypeError: shapes that disagree, NaN, or a wrong kind of array.
    """

    def __init__(
        self,
        X: Any,
        Y: Any,
        votes: Votes | None = None,
        *,
        instance_weights: npt.ArrayLike | None = None,
        num_threads: int | None = None,
    ) -> None:
        if not hasattr(X, "shape") or len(X.shape) != 2:
            raise DTypeError(f"X is a {type(X).__name__}; pass a scipy sparse matrix or an array [N, D]")
        if isinstance(votes, Votes) and votes.space == "hidden":
            raise ArgumentError('votes.space is "hidden"; make such neighbors with Neighbors.of_hidden_layer')
        votes = votes or Votes(power=SPARSE_POWER if sp.issparse(X) else DENSE_POWER)
        self._begin(X, Y, votes, instance_weights, num_threads)
        self.in_features = int(X.shape[1])
        self._center: Floats | None = None  # [D], what is subtracted from dense rows first
        # Features as unit rows: transposed, an inverted index, where they are sparse.
        self._rows: Any = (
            unit_rows(sparse_features("X", X)).T.tocsr()
            if sp.issparse(X)
            else ByteRows.of("X", _blocks(lambda rows: _floats("X", X[rows]), X.shape[0]), *X.shape)
        )

    def _begin(
        self, X: Any, Y: Any, votes: Votes, instance_weights: npt.ArrayLike | None, num_threads: int | None
    ) -> None:
        """Sets all but the rows to compare."""
        self._labels = label_matrix("Y", Y)
        if X.shape[0] != self._labels.shape[0] or not X.shape[0]:
            raise ArgumentError(f"X has {X.shape[0]} rows and Y {self._labels.shape[0]}; pass one each per instance")
        self._instance_weights: Floats | None = None
        if instance_weights is not None:
            self._instance_weights = instance_numbers("instance_weights", instance_weights, X.shape[0])
        if num_threads is not None:
            require_int("num_threads", num_threads, 0)
        self._threads = num_threads or 0
        if not isinstance(votes, Votes):
            raise ArgumentError(f"votes={votes!r} must be sx.Votes(...) or None")
        self.votes = votes

    @classmethod
    def of_hidden_layer(
        cls,
        classifier: CoreClassifier,
        X: Any,
        Y: Any,
        votes: Votes | None = None,
        *,
        instance_weights: npt.ArrayLike | None = None,
        num_threads: int | None = None,
    ) -> Neighbors:
        """Neighbors in the space of a trained classifier's hidden layer.

        Instances are compared by the cosine of their hidden activations less the mean activation (of up to 10,000
        instances). There the classifier has brought together what has the same labels, so that more distant neighbors
        count for less: the default power is 8. They take a byte per instance and hidden unit.

        `search` then reads activations, [n, units] as `Classifier.hidden_activations` gives them; `Ensemble` makes
        them itself. They belong to this classifier in its present state.

        Args:
            classifier: with a hidden layer.
            X: [N, in_features] training instances as the classifier reads them.
            Y, votes, instance_weights, num_threads: as above; the space of the votes is "hidden".

        Raises:
            ArgumentError, DTypeError: as above, or there is no hidden layer.
        """
        neighbors = cls.__new__(cls)
        neighbors._begin(X, Y, Votes(power=8.0) if votes is None else votes, instance_weights, num_threads)
        neighbors.votes = replace(neighbors.votes, space="hidden")
        some = np.linspace(0, X.shape[0] - 1, min(X.shape[0], _CENTER_ROWS)).astype(np.int64)
        center = classifier.hidden_activations(X[some]).mean(axis=0, dtype=np.float64).astype(np.float32)
        if not np.isfinite(center).all():
            raise ArgumentError("the classifier's hidden activations hold NaN or Inf; load an earlier checkpoint of it")
        blocks = _blocks(lambda rows: classifier.hidden_activations(X[rows]) - center, X.shape[0])
        neighbors._rows = ByteRows.of("X", blocks, X.shape[0], len(center))
        neighbors._center, neighbors.in_features = center, len(center)
        return neighbors

    @property
    def instance_weights(self) -> Floats | None:
        """[N] factors on the votes of the instances, or None."""
        return self._instance_weights

    @property
    def sparse(self) -> bool:
        """Whether sparse features are compared."""
        return bool(sp.issparse(self._rows))

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
            cosines [n, count], descending, and instances [n, count] (equal ones: the smaller number first). With sparse
            features an instance without a positive product is no neighbor: cosine 0 and instance -1 stand for it.
            With dense ones the cosines are those of the rows as they are kept, within about 0.01.
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
            return self._rows.search(_unit_array("X", X, self._center), count, self._threads)
        return search(self._rows, unit_rows(sparse_features("X", X)), count, self._threads)

    def save(self, path: archive.Target) -> None:
        """Writes everything to one `.npz` file, which `load` reads. `path` may be an open binary file.

        Raises:
            DataError: the path cannot be written.
        """
        meta = {"in_features": self.in_features, "num_labels": self.num_labels, "votes": self.votes.to_dict()}
        archive.write(path, "neighbors", self._arrays(), meta)

    @classmethod
    def load(cls, path: archive.Target, *, num_threads: int | None = None) -> Neighbors:
        """Reads what `save` wrote. Raises DataError if it is missing, damaged or something else."""
        # Not through __init__, which would scale the rows once more and change their last bits.
        neighbors = cls.__new__(cls)
        parts = archive.read(path, "neighbors", _parts)
        neighbors._labels, neighbors._rows, neighbors._center, neighbors._instance_weights, neighbors.votes = parts
        neighbors.in_features = int(neighbors._rows.shape[0] if neighbors.sparse else neighbors._rows.features)
        neighbors._threads = num_threads or 0
        return neighbors

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays to store, by name."""
        stored = {"labels.indptr": self._labels.indptr, "labels.indices": self._labels.indices}
        if self._instance_weights is not None:
            stored["instance_weights"] = self._instance_weights
        if self.sparse:
            return stored | {f"postings.{part}": getattr(self._rows, part) for part in _PARTS}
        stored |= {"rows.values": self._rows.values, "rows.scales": self._rows.scales}
        return stored if self._center is None else stored | {"center": self._center}


def _parts(
    file: Mapping[str, npt.NDArray[Any]], meta: dict[str, Any]
) -> tuple[sp.csr_matrix, Any, Floats | None, Floats | None, Votes]:
    """(labels, rows, center, weights of the instances, votes) of a file."""
    votes = Votes.from_dict(meta["votes"])
    indptr, indices = file["labels.indptr"], file["labels.indices"]
    shape = (indptr.size - 1, meta["num_labels"])
    ones = np.ones(indices.shape, np.float32)
    labels = label_matrix("labels", csr_from_arrays("the labels", ones, indices, indptr, shape))
    weights = file.get("instance_weights")
    if weights is not None:
        if weights.dtype != np.float32:
            raise ValueError(f"its instance_weights are {weights.dtype}")
        weights = instance_numbers("instance_weights", weights, shape[0])
    if "rows.values" not in file:
        data, indices, indptr = (file[f"postings.{part}"] for part in _PARTS)
        postings = csr_from_arrays("the postings", data, indices, indptr, (meta["in_features"], shape[0]))
        return labels, sparse_features("postings", postings), None, weights, votes
    rows = ByteRows(file["rows.values"], file["rows.scales"])
    center = file.get("center")
    if (len(rows.scales), rows.features) != (shape[0], meta["in_features"]):
        raise ValueError(f"it has {len(rows.scales)} rows of {rows.features} numbers")
    if center is not None and (center.shape != (rows.features,) or center.dtype != np.float32):
        raise ValueError(f"its center is {center.dtype} {center.shape}")
    if center is not None and not np.isfinite(center).all():
        raise ValueError("its center holds NaN or Inf")
    return labels, rows, center, weights, votes


def _blocks(rows_of: Callable[[slice], Floats], count: int) -> Iterator[Floats]:
    """All rows, some at a time."""
    return (rows_of(slice(first, first + _BLOCK)) for first in range(0, count, _BLOCK))


def _floats(name: str, X: Any) -> Floats:
    array = np.asarray(X)
    if array.dtype not in (np.dtype(np.float32), np.dtype(np.float16)):
        raise DTypeError(f"{name} has dtype {array.dtype}; pass {name}.astype(np.float32)")
    return array.astype(np.float32, copy=False)


def _unit_array(name: str, X: Any, center: Floats | None) -> Floats:
    values = _floats(name, X) if center is None else _floats(name, X) - center
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise ArgumentError(f"{name} holds NaN or Inf; leave such rows out or repair them")
    return np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0)
