"""All metrics of predictions, as tables and reports show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._checks import require_cutoffs
from ..core.filter import Ranking
from ..errors import ArgumentError
from ..interop.rows import row_slices
from ..metrics import inverse_propensities
from ..report.scores import Scores, has_propensities, scores
from ..training.validation import A, B

CUTOFFS = (1, 3, 5)


@dataclass(frozen=True)
class Task:
    """Instances that a model is measured on.

    Attributes:
        X: [n, D] features as the classifier reads them.
        Y: [n, at least the model's labels] the truth, CSR.
        filter: [n, the model's labels] pairs that are never predicted, CSR, or None.
        train_labels: [N, as many labels as Y] of the training, or None if unknown.
    """

    X: Any
    Y: Any
    filter: Any
    train_labels: Any


def measure(
    ids: npt.NDArray[np.int64],
    Y: Any,
    train_labels: Any = None,
    cutoffs: Sequence[int] = CUTOFFS,
    *,
    A: float = A,
    B: float = B,
) -> Scores:
    """P, nDCG, PSP, R, coverage and macro-F1 of predicted ids.

    Args:
        ids: [n, at least the largest cut-off] label ids, best first; -1: no prediction.
        Y: [n, L] the truth, scipy CSR.
        train_labels: [N, L] labels of the training instances, from which propensities follow; None: no PSP.
        cutoffs: values of k.
        A, B: of the propensities (Jain et al., KDD 2016).

    Returns:
        {metric: {k: share}}
    """
    cutoffs = require_cutoffs(cutoffs)
    if not len(ids):
        raise ArgumentError("there are no instances to measure on; pass data with at least one row")
    weights = inverse_propensities(train_labels, A=A, B=B) if has_propensities(train_labels) else None
    return scores(ids, Y, cutoffs, weights)


def rank(ranker: Any, X: Any, k: int, blanked: Any = None, **options: Any) -> npt.NDArray[np.int64]:
    """The k best label ids [n, k] of every row of X by `ranker.topk`, without the pairs of the CSR matrix `blanked`."""
    ids = np.empty((X.shape[0], k), np.int64)
    for rows, (_, best) in zip(row_slices(X.shape[0]), rankings(ranker, X, k, blanked, **options), strict=True):
        ids[rows] = best
    return ids


def rankings(ranker: Any, X: Any, k: int, blanked: Any = None, **options: Any) -> Iterator[Ranking]:
    """Scores and ids of `ranker.topk` for some rows of X after others; arguments as of `rank`."""
    for rows in row_slices(X.shape[0]):
        yield ranker.topk(X[rows], k, filter=None if blanked is None else blanked[rows], **options)
