"""The labels of data and of models, matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ..data import Dataset, align_labels
from ..errors import ArgumentError

Ids = npt.NDArray[np.int64]


class Labelled(Protocol):
    """A model or a data set: anything that has labels."""

    @property
    def num_labels(self) -> int:
        """Number of labels."""

    @property
    def label_names(self) -> Sequence[str] | None:
        """Their names, or None."""


def align(dataset: Dataset, labels: Labelled, name: str = "the data") -> Dataset:
    """`dataset` with the label ids of `labels`; labels that those lack come after them.

    Raises:
        ArgumentError: the labels cannot be matched; the message calls the data `name`.
    """
    if dataset.label_names is None or labels.label_names is None:
        require_same_size(name, dataset.num_labels, "the model", labels.num_labels)
        return dataset
    aligned, unknown = align_labels(dataset, labels.label_names)
    if len(unknown) == dataset.num_labels:
        raise ArgumentError(f"{name}: the model knows none of its labels, such as {unknown[0]!r}: another task")
    return aligned


def align_training_labels(training: Dataset, dataset: Dataset, name: str) -> sp.csr_matrix:
    """Training labels [N, L] in the order of a data set that `align` returned."""
    if training.label_names is not None and dataset.label_names is not None:
        aligned, _ = align_labels(training, dataset.label_names)
        return aligned.Y[:, : dataset.num_labels]
    require_same_size(name, training.num_labels, "the data", dataset.num_labels)
    return training.Y


@dataclass(frozen=True)
class _Names:
    label_names: Sequence[str] | None = None
    num_labels: int = 0


class LabelMap:
    """The labels of a model in the ids of a data set, for comparing models that order labels differently.

    Args:
        labels: the model.
        dataset: the data set.
        name: what to call the model.
        own_names: names of the labels in the data's own order, which a model without names has learned; None: they are
            those of `dataset`.

    Raises:
        ArgumentError: the labels cannot be matched.
    """

    def __init__(
        self, labels: Labelled, dataset: Dataset, name: str, *, own_names: Sequence[str] | None = None
    ) -> None:
        self._num_labels = labels.num_labels
        if labels.label_names is None and own_names is not None:
            require_same_size("the data", len(own_names), name, labels.num_labels)
            labels = _Names(own_names, len(own_names))
        self._ids = _ids_in(labels, dataset, name)

    def to_data(self, ids: Ids) -> Ids:
        """Predicted ids [n, k] of the model as ids of the data; -1 for a label that the data lacks, which is no hit."""
        return ids if self._ids is None else np.where(ids < 0, -1, self._ids[ids])

    def filter(self, blanked: sp.csr_matrix | None) -> sp.csr_matrix | None:
        """A filter of the data [n, L] in label ids of the model [n, num_labels]."""
        if blanked is None:
            return None
        if self._ids is None:
            return blanked[:, : self._num_labels]
        # A column after those of the filter, for the labels that the data lacks.
        wider = sp.csr_matrix(
            (blanked.data, blanked.indices, blanked.indptr), shape=(blanked.shape[0], blanked.shape[1] + 1)
        )
        return wider[:, np.where(self._ids < 0, blanked.shape[1], self._ids)].tocsr()


def count_unknown(Y: Any, labels: Labelled) -> tuple[int, int]:
    """(labels, positives) in the truth Y that the model does not know."""
    unknown = Y[:, labels.num_labels :]
    return len(set(unknown.indices.tolist())), unknown.nnz


def require_same_size(name: str, size: int, other: str, expected: int) -> None:
    """Raise ArgumentError for labels without names whose numbers differ."""
    if size != expected:
        raise ArgumentError(f"{name} has {size} labels and {other} {expected}: another task")


def _ids_in(labels: Labelled, dataset: Dataset, name: str) -> Ids | None:
    """[num_labels] ids that the labels of a model have in the data set, -1 where it lacks one; None: the same ids."""
    own, names = labels.label_names, dataset.label_names
    if own is None or names is None:
        require_same_size("the data", dataset.num_labels, name, labels.num_labels)
        return None
    if list(own) == list(names[: len(own)]):
        return None
    places = {label: place for place, label in enumerate(names)}
    if len(set(own)) < len(own) or len(places) < len(names):
        raise ArgumentError(f"{name}: names occur twice, so its labels cannot be matched with those of the data")
    ids = np.array([places.get(label, -1) for label in own], np.int64)
    if (ids < 0).all():
        raise ArgumentError(f"{name} knows none of the labels of the data, such as {names[0]!r}: another task")
    return ids
