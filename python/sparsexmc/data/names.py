"""Labels by name: ids for lists of names, names for ids, and data sets in the label order of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from reprlib import repr as short
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from .._checks import name_list
from ..errors import ArgumentError, DTypeError
from .dataset import Dataset

NameLists = Sequence[Sequence[str]]


def from_lists(
    X: Any,
    labels: Iterable[Iterable[str]],
    *,
    X_test: Any = None,
    labels_test: Iterable[Iterable[str]] | None = None,
    label_names: Iterable[str] | None = None,
    name: str = "",
) -> Dataset:
    """A data set from one list of label names per instance, for example [["libc6", "python3"], [], ...].

    A label's id is its place in `label_names`, or without them in: the names of `labels` in the order of their code
    points, then those that only `labels_test` holds in the same order. So the ids depend neither on the order of the
    instances nor, for labels of the training instances, on the test instances.

    Args:
        X, X_test: features as for `Dataset`.
        labels, labels_test: a list, set or tuple of names per instance, which may be empty; a name twice counts once.
            They may come from any iterable, such as a generator or a column of a table.
        label_names: all names in the order of their ids; a name that is not among them raises.
        name: what to call the set.

    Raises:
        ArgumentError: a name that is no text, is empty, or holds a line break or tab; one that occurs twice in
            `label_names`, or is missing there; sizes that disagree.
        DTypeError: features of the wrong kind.
    """
    lists = _listed("labels", labels)
    lists_test = None if labels_test is None else _listed("labels_test", labels_test)
    names = None if label_names is None else name_list("label_names", label_names)
    known = label_order(lists, lists_test or (), names)
    places = {label: place for place, label in enumerate(known)}
    Y_test = None if lists_test is None else label_rows("labels_test", lists_test, places)
    return Dataset(X, label_rows("labels", lists, places), known, X_test=X_test, Y_test=Y_test, name=name)


def to_names(ids: npt.ArrayLike, label_names: Sequence[str] | None) -> list[list[str]]:
    """The names of predicted ids [n, k], as `Classifier.topk` returns them; -1 (nothing predicted) is left out.

    Raises:
        ArgumentError: no names (`label_names` is None), or an id that has none.
    """
    if label_names is None:
        raise ArgumentError("label_names is None: the model has none; set Classifier.label_names, or read the ids")
    array = np.asarray(ids)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise ArgumentError(f"ids is {array.dtype} of shape {array.shape}; pass label ids [n, k], as topk returns them")
    if array.size and (array.max() >= len(label_names) or array.min() < -1):
        wrong = array.max() if array.max() >= len(label_names) else array.min()
        raise ArgumentError(f"ids holds {wrong}, but there are {len(label_names)} label_names; ids count from 0")
    return [[label_names[label] for label in row if label >= 0] for row in array.tolist()]


def align_labels(dataset: Dataset, label_names: Sequence[str]) -> tuple[Dataset, list[str]]:
    """`dataset` with the label ids of `label_names`, such as a model's, matched by name.

    Labels that are not among `label_names` stay in the data set, with ids after all of those: the model cannot hit
    them, so recall, nDCG and the other metrics count them as missed.

    Returns:
        The data set, and the names of the labels that are not among `label_names`, in the order of their ids.

    Raises:
        ArgumentError: the data set has no names, or a name occurs twice on either side, so that it says nothing.
    """
    own = dataset.label_names
    if own is None:
        raise ArgumentError("dataset has no label_names, so its labels cannot be matched by name; give it some")
    if list(own) == list(label_names):
        return dataset, []
    places = _places("label_names", label_names)
    _places("dataset.label_names", own)
    unknown = [label for label in own if label not in places]
    places |= {label: len(label_names) + place for place, label in enumerate(unknown)}
    columns = np.array([places[label] for label in own], np.int64)
    moved: dict[str, Any] = {
        field: _with_columns(getattr(dataset, field), columns, len(places))
        for field in ("Y", "Y_test", "filter", "filter_test")
    }
    return replace(dataset, **moved, label_names=[*label_names, *unknown]), unknown


def name_problem(label: object) -> str | None:
    """The fault of a label's name, or None."""
    if not isinstance(label, str):
        return f"is {short(label)}, not text; write the name in quotes"
    if not label.strip():
        return "is empty; leave it out or name the label"
    if any(character in label for character in "\n\r\t"):
        return f"{label!r} holds a line break or tab, which separate names in files; replace it with a blank"
    if any("\ud800" <= character <= "\udfff" for character in label):
        return f"{label!r} holds half a surrogate pair, which is not UTF-8; repair the text"
    return None


def label_order(train: NameLists, test: NameLists, label_names: Sequence[str] | None) -> list[str]:
    """All names in the order of their ids, see `from_lists`; the names themselves are checked."""
    if label_names is not None:
        for place, label in enumerate(label_names):
            _check_name(f"label_names[{place}]", label)
        return list(_places("label_names", label_names))
    seen, seen_in_test = _distinct("labels", train), _distinct("labels_test", test)
    return sorted(seen) + sorted(seen_in_test - seen)


def label_rows(name: str, lists: NameLists, places: Mapping[str, int]) -> sp.csr_matrix:
    """Lists of names as CSR [n, number of places] of ones."""
    indptr, indices = [0], []
    for row, labels in enumerate(lists):
        for place, label in enumerate(_require_list(f"{name}[{row}]", labels)):
            if not isinstance(label, str) or label not in places:
                _check_name(f"{name}[{row}][{place}]", label)
                raise ArgumentError(f"{name}[{row}] holds {label!r}, which is not in label_names; add or drop it")
            indices.append(places[label])
        indptr.append(len(indices))
    data, columns = np.ones(len(indices), np.float32), np.array(indices, np.int64)
    return sp.csr_matrix((data, columns, indptr), shape=(len(lists), len(places)))


def _distinct(name: str, lists: NameLists) -> set[str]:
    seen: set[str] = set()
    for row, labels in enumerate(lists):
        for place, label in enumerate(_require_list(f"{name}[{row}]", labels)):
            if not isinstance(label, str) or label not in seen:
                _check_name(f"{name}[{row}][{place}]", label)
                seen.add(label)
    return seen


def _listed(name: str, lists: Any) -> NameLists:
    """Lists of names in any iterable as a sequence; a row that is an iterator becomes a list."""
    if isinstance(lists, str | bytes | Mapping) or not isinstance(lists, Iterable):
        raise DTypeError(f"{name} is {short(lists)}; pass a list of names for every instance, such as [['a', 'b'], []]")
    return [list(row) if isinstance(row, Iterator) else row for row in lists]


def _require_list(name: str, labels: Any) -> Iterable[Any]:
    if isinstance(labels, str) or not isinstance(labels, Sequence | np.ndarray | set | frozenset):
        raise DTypeError(
            f"{name} is {short(labels)}; pass a list of names for every instance, such as ['a', 'b'] or []"
        )
    return labels


def _check_name(name: str, label: object) -> None:
    if problem := name_problem(label):
        raise ArgumentError(f"{name} {problem}")


def _places(name: str, names: Sequence[str]) -> dict[str, int]:
    """{name: place}; ArgumentError if a name comes twice."""
    places: dict[str, int] = {}
    for place, label in enumerate(names):
        if places.setdefault(label, place) != place:
            raise ArgumentError(
                f"{name} holds {label!r} twice, as {places[label]} and {place}, so that labels cannot be matched by "
                "name; make the names different"
            )
    return places


def _with_columns(matrix: sp.csr_matrix | None, columns: npt.NDArray[np.int64], width: int) -> sp.csr_matrix | None:
    if matrix is None:
        return None
    return sp.csr_matrix((matrix.data, columns[matrix.indices], matrix.indptr), shape=(matrix.shape[0], width))
