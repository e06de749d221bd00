"""Inputs of the commands: data sets, features without labels, saved models."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import scipy.sparse as sp

from .._sparse import are_counts
from ..classifier import Classifier
from ..data import DataPath, Dataset, TextDataset, read_filter, read_texts
from ..data.arrays import read_csr, read_dense
from ..data.demo import DEMO_DIRECTORY
from ..data.directory import load as load_arrays
from ..data.forms import ENDINGS
from ..data.opening import open_data
from ..data.streams import STANDARD_INPUT, bare_ending, is_packed
from ..model import Model, load
from ..model.alignment import align
from .errors import UsageError
from .numbers import whole_number


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, or --demo in its place."""
    parser.add_argument("data", metavar="DATA", nargs="?", help="directory or file of a data set")
    parser.add_argument("--demo", action="store_true", help="the built-in package dependencies of Debian 12 as DATA")
    group = parser.add_argument_group("how DATA is read")
    group.add_argument("--test", metavar="FILE", help="file with the test instances, where DATA is a file")
    group.add_argument("--text-column", metavar="NAME", help="of a .csv file (default text)")
    group.add_argument("--labels-column", metavar="NAME", help="of a .csv file (default labels)")
    group.add_argument("--label-separator", metavar="TEXT", help="in a cell of a .csv file (default ;)")
    group.add_argument("--index-base", type=whole_number, metavar="N", help="what LIBSVM files count from (default 0)")
    group.add_argument("--num-features", type=whole_number, metavar="N", help="of LIBSVM files (default: as they need)")
    group.add_argument("--num-labels", type=whole_number, metavar="N", help="of LIBSVM files (default: as they need)")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How a saved model is loaded and used: --threads, --device, --network-alone, --filter."""
    parser.add_argument("--threads", type=whole_number, metavar="N", help="worker threads")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:<index> (default: as trained)")
    parser.add_argument(
        "--network-alone", action="store_true", help="without the model's linear classifiers and neighbors"
    )
    text = "pairs 'row label' to blank before ranking (default: those of the data)"
    parser.add_argument("--filter", metavar="FILE", help=text)


def source_of(args: argparse.Namespace) -> DataPath | None:
    """DATA and how it is read; None without DATA."""
    if args.data is None:
        return None
    options = {field.name: getattr(args, field.name, None) for field in fields(DataPath) if field.name != "path"}
    return DataPath(args.data, **{name: value for name, value in options.items() if value is not None})


def open_named(source: DataPath | None, model: Model | None = None, *, demo: bool = False) -> Dataset | TextDataset:
    """The data set at `source`, in any form, as wide as `model` if it does not say; or the built-in one as counts."""
    if demo == (source is not None):
        raise UsageError("give either DATA or --demo")
    if source is None:
        return load_arrays(DEMO_DIRECTORY)
    if model is None:
        return open_data(source)
    return open_data(source, num_features=model.in_features, num_labels=model.num_labels)


def load_model(path: str, threads: int | None = None, device: str | None = None) -> Model:
    """The model at `path`, verified; a classifier alone becomes a model without preparation."""
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such model; `sparsexmc train DATA -o {path}` makes one")
    loaded = load(path, device, threads or 0, trainable=False)
    return Model(loaded, num_threads=threads) if isinstance(loaded, Classifier) else loaded


def features_of(model: Model, X: Any, path: str) -> Any:
    """Texts, token counts or features as the network of the model at `path` reads them."""
    if model.settings is None and model.preparation.tfidf is None and are_counts(X):
        raise UsageError(
            f"{path} holds a classifier alone, so it is not known whether token counts are to be weighed for it; save "
            "it with its preparation: sparsexmc.Model(classifier, tfidf=...).save(path)"
        )
    return model.features(X)


def data_for(source: DataPath | None, model: Model, *, demo: bool = False, filter_file: str | None = None) -> Dataset:
    """The data set at `source`, raw texts counted by the model, in label ids of its own."""
    return _with_filter(_counted(source, model, demo=demo), filter_file)


class Unlabelled(NamedTuple):
    """Instances to predict on.

    Attributes:
        X: before its preparation.
        filter: pairs [n, num_labels] to leave out, or None.
        names: of the instances, or None.
    """

    X: Any
    filter: sp.csr_matrix | None
    names: Sequence[str] | None = None


def unlabelled(
    source: DataPath | None, model: Model, *, demo: bool = False, filter_file: str | None = None
) -> Unlabelled:
    """Read the instances to predict on.

    Beside data sets, whose test instances are taken if there are any, it may be one `.npz` or `.npy` file of features,
    or texts without regard to labels: `.jsonl`, `.tsv`, `.csv`, or for a model of raw text any other file or standard
    input.
    """
    X = None if source is None else _features_alone(source, model)
    if X is not None:
        return Unlabelled(X, None if filter_file is None else read_filter(filter_file, X.shape[0], model.num_labels))
    dataset = _with_filter(_counted(source, model, demo=demo), filter_file)
    X, _, blanked = dataset.measured_split()
    names = dataset.instance_names if dataset.X_test is None else dataset.test_instance_names
    if blanked is not None:
        blanked = align(dataset, model, _called(source)).measured_split()[2]
    return Unlabelled(X, None if blanked is None else blanked[:, : model.num_labels], names)


def training_labels(source: DataPath) -> Dataset:
    """The data set at `source`, of which only the labels matter: raw texts are not counted."""
    data = open_named(source)
    if isinstance(data, Dataset):
        return data
    texts = replace(data, texts_test=None, Y_test=None, filter_test=None)
    return texts.with_features(sp.csr_matrix((len(texts.texts), 1), dtype="float32"))


def metrics_file_of(model: str | Path) -> Path:
    """Where the training of a model writes its metrics: beside the model, which appears at its end."""
    return Path(f"{Path(model).absolute()}.metrics.jsonl")


def _counted(source: DataPath | None, model: Model, *, demo: bool) -> Dataset:
    return model.preparation.dataset(open_named(source, model, demo=demo), _called(source))


def _called(source: DataPath | None) -> str:
    return "the data" if source is None else str(source.path)


def _with_filter(dataset: Dataset, filter_file: str | None) -> Dataset:
    if filter_file is None:
        return dataset
    if dataset.Y_test is not None:
        return replace(dataset, filter_test=read_filter(filter_file, *dataset.Y_test.shape))
    return replace(dataset, filter=read_filter(filter_file, *dataset.Y.shape))


def _features_alone(source: DataPath, model: Model) -> Any:
    """Features of a file without labels, or None if it is something else."""
    path = str(source.path)
    if path == STANDARD_INPUT:
        if model.preparation.vectorizer is None:
            return load_arrays(path, index_base=source.index_base, num_features=model.in_features).X
        return model.preparation.vectorizer.counts(read_texts(path))
    if not os.path.isfile(path):
        return None
    ending = bare_ending(path)
    if ending == ".npz" and not is_packed(path):
        return read_csr(Path(path)).astype("float32")
    if ending == ".npy" and not is_packed(path):
        return read_dense(Path(path))
    if ending in ENDINGS or (ending not in (".npz", ".npy") and model.preparation.vectorizer is not None):
        vectorizer = model.preparation.require_vectorizer(path)
        return vectorizer.counts(read_texts(path, text_column=source.text_column))
    return None
