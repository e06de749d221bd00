"""Data for a saved model: raw text counted with its vocabulary, labels in its order, and pairs to blank."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import preparation
from .config import UsageError
from .inputs import load_data as load_any
from .inputs import measured_split, require_model, require_path

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import scipy.sparse as sp

    from sparsexmc import Classifier
    from sparsexmc.data import Dataset, TextVectorizer


@dataclass(frozen=True)
class ModelLabels:
    """The labels of a saved model, by its own names of attributes."""

    label_names: list[str] | None
    num_labels: int


def labels_of(model: str) -> ModelLabels:
    """The labels of the model at `model`, which is not loaded."""
    from sparsexmc.core.directory import ModelReader

    require_model(model)
    with ModelReader(model) as reader:
        return ModelLabels(reader.label_names(), int(reader.manifest.config["num_labels"]))


def add_filter_argument(parser: argparse.ArgumentParser) -> None:
    """--filter, in place of the data's own filter file."""
    text = "pairs 'row label' to blank before ranking (default: those of the data)"
    parser.add_argument("--filter", metavar="FILE", help=text)


def load_data(
    path: str | None, labels: ModelLabels, model: str, *, demo: bool = False, filter_file: str | None = None
) -> Dataset:
    """The data set at `path` with the label ids of the model; labels that it does not know come after its own.

    Raises UsageError if labels cannot be matched.
    """
    return _aligned(_load(path, model, demo=demo, filter_file=filter_file), path or "the data", labels)


def load_features(
    path: str | None, classifier: Classifier, model: str, *, demo: bool = False, filter_file: str | None = None
) -> tuple[Any, sp.csr_matrix | None]:
    """(X, filter) to predict on, X [n, in_features] as the model reads it and filter [n, num_labels] or None.

    Beside data sets, whose test instances are taken if there are any, `path` may be one `.npz` or `.npy` file of
    features, or texts: `.jsonl` or `.tsv` without regard to labels, `.txt` with one per line.
    """
    from sparsexmc.data import read_filter

    X = _features_alone(path, model)
    if X is None:
        dataset = _load(path, model, demo=demo, filter_file=filter_file)
        X, _, blanked = measured_split(dataset)
        if blanked is not None:
            blanked = measured_split(_aligned(dataset, path or "the data", classifier))[2][:, : classifier.num_labels]
        return preparation.prepare(X, classifier, model), blanked
    X = preparation.prepare(X, classifier, model)
    return X, None if filter_file is None else read_filter(filter_file, X.shape[0], classifier.num_labels)


def load_training_labels(path: str, dataset: Dataset) -> sp.csr_matrix:
    """Training labels [N, L] in the order of a data set that `load_data` has read."""
    from sparsexmc.data import align_labels

    labels = _labels(path)
    if labels.label_names is not None and dataset.label_names is not None:
        labels, _ = align_labels(labels, dataset.label_names)
        return labels.Y[:, : dataset.num_labels]
    _require_same_size(path, labels.num_labels, "the data", dataset.num_labels)
    return labels.Y


def count_unknown(Y: sp.csr_matrix, classifier: Classifier) -> tuple[int, int]:
    """(labels, positives) in the truth Y that the classifier does not know."""
    unknown = Y[:, classifier.num_labels :]
    return len(set(unknown.indices.tolist())), unknown.nnz


def task_ids(classifier: Classifier, path: str, dataset: Dataset) -> npt.NDArray[np.int64] | None:
    """[num_labels] ids that the labels of a model have in the data set, -1 where it lacks one; None: the same ids."""
    import numpy as np

    own, names = classifier.label_names, dataset.label_names
    if own is None or names is None:
        _require_same_size("the data", dataset.num_labels, path, classifier.num_labels)
        return None
    if own == list(names[: len(own)]):
        return None
    places = {name: place for place, name in enumerate(names)}
    if len(set(own)) < len(own) or len(places) < len(names):
        raise UsageError(f"{path}: names occur twice, so its labels cannot be matched with those of the data")
    ids = np.array([places.get(name, -1) for name in own], np.int64)
    if (ids < 0).all():
        raise UsageError(f"{path} knows none of the labels of the data, such as {names[0]!r}: another task")
    return ids


def translate(ids: npt.NDArray[np.int64], ids_of: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
    """Predicted ids [n, k] of a model as ids of the data; -1 for a label that the data lacks, which is no hit."""
    import numpy as np

    return ids if ids_of is None else np.where(ids < 0, -1, ids_of[ids])


def model_filter(
    blanked: sp.csr_matrix | None, ids_of: npt.NDArray[np.int64] | None, classifier: Classifier
) -> sp.csr_matrix | None:
    """A filter of the data [n, L] in label ids of the model [n, num_labels]."""
    import numpy as np

    if blanked is None or ids_of is None:
        return blanked if blanked is None else blanked[:, : classifier.num_labels]
    # A column beyond the filter, for the labels that the data lacks.
    return _widened(blanked, blanked.shape[1] + 1)[:, np.where(ids_of < 0, blanked.shape[1], ids_of)].tocsr()


def _load(path: str | None, model: str, *, demo: bool, filter_file: str | None) -> Dataset:
    from sparsexmc.data import load_texts, read_filter
    from sparsexmc.data.texts import is_raw_text

    if path is not None and not demo and is_raw_text(path):
        require_path(path)
        dataset = load_texts(path).counts(_require_vectorizer(path, model))
    else:
        dataset = load_any(path, demo=demo)
    if filter_file is None:
        return dataset
    if dataset.Y_test is not None:
        return replace(dataset, filter_test=read_filter(filter_file, *dataset.Y_test.shape))
    return replace(dataset, filter=read_filter(filter_file, *dataset.Y.shape))


def _features_alone(path: str | None, model: str) -> Any:
    """Features of a file without labels, or None if it is something else."""
    from sparsexmc.data import read_texts
    from sparsexmc.data.arrays import read_csr, read_dense

    file = Path(path or "")
    if not file.is_file():
        return None
    if file.suffix == ".npz":
        return read_csr(file).astype("float32")
    if file.suffix == ".npy":
        return read_dense(file)
    vectorizer = preparation.read_vectorizer(model) if file.suffix == ".txt" else None
    if file.suffix in (".jsonl", ".tsv"):
        vectorizer = _require_vectorizer(str(file), model)
    return None if vectorizer is None else vectorizer.counts(read_texts(file))


def _labels(path: str) -> Dataset:
    """A data set of which only the labels matter."""
    import scipy.sparse as sp

    from sparsexmc.data import load_texts
    from sparsexmc.data.texts import is_raw_text

    if not is_raw_text(path):
        return load_any(path)
    require_path(path)
    texts = load_texts(path)
    return replace(texts, texts_test=None, Y_test=None, filter_test=None).with_features(
        sp.csr_matrix((len(texts.texts), 1), dtype="float32")
    )


def _require_vectorizer(path: str, model: str) -> TextVectorizer:
    vectorizer = preparation.read_vectorizer(model)
    if vectorizer is None:
        raise UsageError(
            f"{path} is raw text, and {model} was not trained on raw text; pass the features it was trained on"
        )
    return vectorizer


def _aligned(dataset: Dataset, path: str, classifier: ModelLabels | Classifier) -> Dataset:
    from sparsexmc.data import align_labels

    if dataset.label_names is None or classifier.label_names is None:
        if dataset.label_names is not None and path.endswith((".jsonl", ".tsv")):
            raise UsageError(f"{path} has labels by name, but the model has no names; give it label_names and save it")
        _require_same_size(path, dataset.num_labels, "the model", classifier.num_labels)
        return dataset
    aligned, unknown = align_labels(dataset, classifier.label_names)
    if len(unknown) == dataset.num_labels:
        raise UsageError(f"{path}: the model knows none of its labels, such as {unknown[0]!r}: another task")
    return aligned


def _widened(matrix: sp.csr_matrix, columns: int) -> sp.csr_matrix:
    import scipy.sparse as sp

    return sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], columns))


def _require_same_size(path: str, size: int, other: str, expected: int) -> None:
    if size != expected:
        raise UsageError(f"{path} has {size} labels and {other} {expected}: another task")
