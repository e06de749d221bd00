"""One-versus-rest linear classifiers on the raw sparse features."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from . import _archive, _core
from ._checks import require_int, require_number
from ._sparse import label_matrix, search, sparse_features, unit_rows
from .errors import ArgumentError

_PARTS = ("data", "indices", "indptr")
_BIAS = np.float32(-1)


class Linear:
    """A linear classifier per label, trained on what the labels meet: all positives and the hardest negatives.

    For every label the w that minimises |w|^2 / 2 + cost * sum_i max(0, 1 - y_i m_i)^2, where y is 1 or -1, the margin
    is m = w x - 1, and x has unit length: the L2-regularised squared hinge of DiSMEC (Babbar and Schoelkopf, WSDM
    2017), solved by dual coordinate descent (Hsieh et al., ICML 2008). With the bias fixed, an instance that shares no
    feature with a label is beyond the margin by itself. Of the others each instance is a negative of its hardest
    labels: by the labels' mean vectors in the first round (as in SLICE, Jain et al., WSDM 2019), by their weights in
    later ones.

    Rare tokens that a network smooths over decide much of what sparse rows say; `Ensemble` adds both up. Results depend
    neither on the number of threads nor on anything but the arguments.

    Args:
        X: [N, D] features of the training instances, scipy sparse. Rows are scaled to unit length.
        Y: [N, L] their labels, scipy sparse.
        cost: of an instance's loss beside the regulariser; more fits closer. 0.3 suits labels that people gave freely,
            1 those that follow from the features.
        negatives: labels per instance and round.
        rounds: of searching negatives and solving. Takes 12 * rounds * negatives bytes per instance while it trains.
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
        cost: float = 0.3,
        negatives: int = 100,
        rounds: int = 4,
        threshold: float = 0.1,
        weight: float = 0.4,
        seed: int = 0,
        num_threads: int | None = None,
    ) -> None:
        features, labels = sparse_features("X", X), label_matrix("Y", Y)
        for name, number in (("negatives", negatives), ("rounds", rounds)):
            require_int(name, number, 1)
        for name, value in (("cost", cost), ("threshold", threshold), ("weight", weight)):
            require_number(name, value, 0)
        require_int("seed", seed, 0)
        if num_threads is not None:
            require_int("num_threads", num_threads, 0)
        self._threads = num_threads or 0
        self.weight = weight
        parts = _core.train_linear(
            features.indptr, features.indices, features.data, features.shape[1], labels.indptr, labels.indices,
            labels.shape[1], cost, negatives, rounds, threshold, seed, self._threads,
        )  # fmt: skip
        self._postings = sp.csr_matrix(parts, (features.shape[1], labels.shape[1]))

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

    def topk(self, X: Any, k: int = 5) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The labels with the largest margins.

        Args:
            X: [n, D] features like those of the training, scipy sparse.
            k: labels per row, at most L.

        Returns:
            margins [n, k], falling, in -1 < m, and ids [n, k] (equal ones: the smaller id first). Labels that share no
            feature of positive weight are not ranked: margin -1 and id -1 stand where there are fewer than k others.

        Raises:
            ArgumentError, DTypeError: rows of another width, k out of range, NaN, or dense rows.
        """
        require_int("k", k, 1)
        if k > self.num_labels:
            raise ArgumentError(f"k={k} is more than num_labels={self.num_labels}; ask for at most that many")
        queries = unit_rows(sparse_features("X", X))
        if queries.shape[1] != self.in_features:
            raise ArgumentError(
                f"X has shape {queries.shape}; pass rows with the {self.in_features} features of the training"
            )
        products, ids = search(self._postings, queries, k, self._threads)
        return products + _BIAS, ids

    def save(self, path: str | PathLike[str]) -> None:
        """Writes everything to one `.npz` file, which `load` reads. Raises DataError if it cannot be written."""
        meta = {"in_features": self.in_features, "num_labels": self.num_labels, "weight": self.weight}
        _archive.write(Path(path), "linear", {part: getattr(self._postings, part) for part in _PARTS}, meta)

    @classmethod
    def load(cls, path: str | PathLike[str], *, num_threads: int | None = None) -> Linear:
        """Reads what `save` wrote. Raises DataError if it is missing, damaged or something else."""
        linear = cls.__new__(cls)
        linear._postings, linear.weight = _archive.read(Path(path), "linear", _parts)
        linear._threads = num_threads or 0
        return linear


def _parts(file: Mapping[str, npt.NDArray[Any]], meta: dict[str, Any]) -> tuple[sp.csr_matrix, float]:
    """(postings, weight) of a file."""
    require_number("weight", meta["weight"], 0)
    postings = sp.csr_matrix(tuple(file[part] for part in _PARTS), (meta["in_features"], meta["num_labels"]))
    return sparse_features("postings", postings), meta["weight"]
