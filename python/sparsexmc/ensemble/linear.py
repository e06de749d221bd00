"""One-versus-rest linear classifiers on the raw sparse features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .. import _core
from .._checks import ranked_labels, require_int, require_number
from .._csr import csr_from_arrays
from .._sparse import label_matrix, search, sparse_features, unit_rows
from ..errors import ArgumentError
from ..interop.inputs import instance_numbers
from . import archive
from .settings import COST, WEIGHT, LinearSettings

_PARTS = ("data", "indices", "indptr")
_BIAS = np.float32(-1)


class Linear:
    """A linear classifier per label, trained on the positives and the hardest negatives of each label.

    For every label the w that minimises |w|^2 / 2 + cost * sum_i s_i max(0, 1 - y_i m_i)^2, where y is 1 or -1, the
    margin is m = w x - 1, x has unit length, and s is the weight of an instance, 1 unless given: the L2-regularised
    squared hinge of DiSMEC (Babbar and Schoelkopf, WSDM 2017), solved by dual coordinate descent (Hsieh et al., ICML
    2008). With the bias fixed, an instance that shares no feature with a label is beyond the margin by itself. Of the
    others each instance is a negative of its hardest labels: by the labels' mean vectors in the first round (as in
    SLICE, Jain et al., WSDM 2019), by their weights in later ones.

    Rare tokens that a network smooths over decide much of what sparse rows say; `Ensemble` adds both up. Results depend
    neither on the number of threads nor on anything but the arguments.

    Args:
        X: [N, D] features of the training instances, scipy sparse. Rows are scaled to unit length.
        Y: [N, L] their labels, scipy sparse.
        instance_weights: [N] finite factors s >= 0 on the losses of the instances; None: all 1. 0 is as absent.
        cost: of an instance's loss beside the regulariser; more fits closer. 0.3 suits labels that people gave freely,
            1 those that follow from the features.
        negatives: hardest labels per instance and round.
        rounds: of searching negatives and solving. Takes some 12 * rounds * negatives bytes per instance meanwhile.
        threshold: smaller weights are dropped.
        weight: beside the classifier's probabilities in an `Ensemble`, which can tune it.
        seed: of the order in which instances are visited.
        num_threads: worker threads; None: SPARSEXMC_NUM_THREADS, OMP_NUM_THREADS, or the CPUs of the process.

    Raises:
        ArgumentError, DTypeError: shapes that disagree, NaN, or a wrong kind of array.
    """

    def __init__(
        self,
        X: Any,
        Y: Any,
        *,
        instance_weights: npt.ArrayLike | None = None,
        cost: float = COST,
        negatives: int = LinearSettings.negatives,
        rounds: int = LinearSettings.rounds,
        threshold: float = LinearSettings.threshold,
        weight: float = WEIGHT,
        seed: int = LinearSettings.seed,
        num_threads: int | None = None,
    ) -> None:
        require_int("rounds", rounds, 1)
        require_number("cost", cost, 0, low_open=True)
        require_number("weight", weight, 0)
        options: dict[str, Any] = {"negatives": negatives, "threshold": threshold, "seed": seed}
        training = LinearTraining(X, Y, instance_weights=instance_weights, num_threads=num_threads, **options)
        for _ in range(rounds):
            training.round(cost)
        self._threads, self.weight = num_threads or 0, weight
        self._postings = sp.csr_matrix(training._training.take_weights(), training._shape)

    @property
    def in_features(self) -> int:
        """D, the number of features."""
        return int(self._postings.shape[0])

    @property
    def num_labels(self) -> int:
        """L, the number of labels."""
        return int(self._postings.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that were kept."""
        return sum(getattr(self._postings, part).nbytes for part in _PARTS)

    def topk(self, X: Any, k: int | None = None) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The labels with the largest margins.

        Args:
            X: [n, D] features like those of the training, scipy sparse.
            k: labels per row, at most L; None: 5, or all if there are fewer.

        Returns:
            margins [n, k], descending, above -1, and ids [n, k] (equal ones: the smaller id first). Labels that share
            no feature of positive weight are not ranked: margin -1 and id -1 stand where there are fewer than k others.

        Raises:
            ArgumentError, DTypeError: rows of another width, k out of range, NaN, or dense rows.
        """
        k = ranked_labels(k, self.num_labels)
        queries = unit_rows(sparse_features("X", X))
        if queries.shape[1] != self.in_features:
            raise ArgumentError(
                f"X has shape {queries.shape}; pass rows with the {self.in_features} features of the training"
            )
        products, ids = search(self._postings, queries, k, self._threads)
        return products + _BIAS, ids

    def save(self, path: archive.Target) -> None:
        """Writes everything to one `.npz` file, which `load` reads. `path` may be an open binary file.

        Raises:
            DataError: the path cannot be written.
        """
        meta = {"in_features": self.in_features, "num_labels": self.num_labels, "weight": self.weight}
        archive.write(path, "linear", {part: getattr(self._postings, part) for part in _PARTS}, meta)

    @classmethod
    def load(cls, path: archive.Target, *, num_threads: int | None = None) -> Linear:
        """Reads what `save` wrote. Raises DataError if it is missing, damaged or something else."""
        linear = cls.__new__(cls)
        linear._postings, linear.weight = archive.read(path, "linear", _parts)
        linear._threads = num_threads or 0
        return linear


class LinearTraining:
    """A training of linear classifiers round by round, to compare costs on instances that are held out.

    A round gives every instance its hardest labels by the weights so far (by the labels' mean vectors in the first) and
    then solves for the weights; it goes on from the solution before, also at another cost or with more instances.

        training = sx.LinearTraining(X, Y, held=rows)
        for _ in range(2):
            training.round(0.3)
        candidates = [training.linear(), training.linear_at(0.6), training.linear_at(1.0)]
        ...  # compare them on X[rows], Y[rows]
        training.admit_held()
        best = training.round(0.6).round(0.6).linear()

    Args:
        held: numbers of the rows that take no part before `admit_held`; None: none.
        X, Y, instance_weights, negatives, threshold, seed, num_threads: as of `Linear`.

    Raises:
        ArgumentError, DTypeError: shapes that disagree, NaN, a row number out of range, or a wrong kind of array.
    """

    def __init__(
        self,
        X: Any,
        Y: Any,
        *,
        held: npt.ArrayLike | None = None,
        instance_weights: npt.ArrayLike | None = None,
        negatives: int = LinearSettings.negatives,
        threshold: float = LinearSettings.threshold,
        seed: int = LinearSettings.seed,
        num_threads: int | None = None,
    ) -> None:
        features, labels = sparse_features("X", X), label_matrix("Y", Y)
        require_int("negatives", negatives, 1)
        require_number("threshold", threshold, 0)
        require_int("seed", seed, 0)
        if num_threads is not None:
            require_int("num_threads", num_threads, 0)
        rows = np.zeros(0, np.int64) if held is None else np.asarray(held)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ArgumentError(f"held has shape {rows.shape} and dtype {rows.dtype}; pass a 1-D array of row numbers")
        weights = None
        if instance_weights is not None:
            weights = instance_numbers("instance_weights", instance_weights, features.shape[0])
        self._shape, self._threads = (features.shape[1], labels.shape[1]), num_threads or 0
        self._training = _core.LinearTraining(
            features.indptr, features.indices, features.data, features.shape[1], labels.indptr, labels.indices,
            labels.shape[1], np.ascontiguousarray(rows, np.int64), weights, negatives, threshold, seed, self._threads,
        )  # fmt: skip

    def round(self, cost: float) -> LinearTraining:
        """Search for negatives, then solve. Returns the training itself. Raises ArgumentError."""
        require_number("cost", cost, 0, low_open=True)
        self._training.search()
        return self.solve(cost)

    def solve(self, cost: float) -> LinearTraining:
        """Solve with the negatives known so far. Returns the training itself. Raises ArgumentError."""
        require_number("cost", cost, 0, low_open=True)
        self._training.solve(cost)
        return self

    def admit_held(self) -> LinearTraining:
        """Let all instances take part from now on. Returns the training itself."""
        self._training.admit_held()
        return self

    def linear(self, weight: float = WEIGHT) -> Linear:
        """The classifiers as they are now."""
        require_number("weight", weight, 0)
        linear = Linear.__new__(Linear)
        linear._postings = sp.csr_matrix(self._training.weights(), self._shape)
        linear.weight, linear._threads = weight, self._threads
        return linear


def _parts(file: Mapping[str, npt.NDArray[Any]], meta: dict[str, Any]) -> tuple[sp.csr_matrix, float]:
    """(postings, weight) of a file."""
    require_number("weight", meta["weight"], 0)
    shape = (meta["in_features"], meta["num_labels"])
    data, indices, indptr = (file[part] for part in _PARTS)
    postings = csr_from_arrays("the weights", data, indices, indptr, shape)
    return sparse_features("postings", postings), meta["weight"]
