"""Inputs of the commands: data sets, features without labels, saved models."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import scipy.sparse as sp

from .._sparse import are_counts
from ..classifier import Classifier
from ..data import Dataset, TextDataset, read_filter, read_texts
from ..data.arrays import read_csr, read_dense
from ..data.demo import DEMO_DIRECTORY
from ..data.directory import load as load_arrays
from ..data.opening import open_data
from ..model import Model, load
from ..model.alignment import align
from .errors import UsageError


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, or --demo in its place."""
    parser.add_argument("data", metavar="DATA", nargs="?", help="directory or file of a data set")
    parser.add_argument("--demo", action="store_true", help="the built-in package dependencies of Debian 12 as DATA")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """How a saved model is loaded and used: --threads, --device, --network-alone, --filter."""
    parser.add_argument("--threads", type=int, metavar="N", help="worker threads")
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:<index> (default: as trained)")
    parser.add_argument(
        "--network-alone", action="store_true", help="without the model's linear classifiers and neighbors"
    )
    text = "pairs 'row label' to blank before ranking (default: those of the data)"
    parser.add_argument("--filter", metavar="FILE", help=text)


def open_named(path: str | None, *, demo: bool = False) -> Dataset | TextDataset:
    """The data set at `path`, in any form, or the built-in one as token counts."""
    if demo == (path is not None):
        raise UsageError("give either DATA or --demo")
    return load_arrays(DEMO_DIRECTORY) if path is None else open_data(path)


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


def data_for(path: str | None, model: Model, *, demo: bool = False, filter_file: str | None = None) -> Dataset:
    """The data set at `path`, raw texts counted by the model, in label ids of its own."""
    return _with_filter(_counted(path, model, demo=demo), filter_file)


def unlabelled(
    path: str | None, model: Model, *, demo: bool = False, filter_file: str | None = None
) -> tuple[Any, sp.csr_matrix | None]:
    """(X, filter) to predict on: X before its preparation, and pairs [n, num_labels] to leave out, or None.

    Beside data sets, whose test instances are taken if there are any, `path` may be one `.npz` or `.npy` file of
    features, or texts: `.jsonl` or `.tsv` without regard to labels, `.txt` with one per line.
    """
    X = _features_alone(path, model)
    if X is not None:
        return X, None if filter_file is None else read_filter(filter_file, X.shape[0], model.num_labels)
    dataset = _with_filter(_counted(path, model, demo=demo), filter_file)
    X, _, blanked = dataset.measured_split()
    if blanked is not None:
        blanked = align(dataset, model, path or "the data").measured_split()[2]
    return X, None if blanked is None else blanked[:, : model.num_labels]


def training_labels(path: str) -> Dataset:
    """The data set at `path`, of which only the labels matter: raw texts are not counted."""
    data = open_named(path)
    if isinstance(data, Dataset):
        return data
    texts = replace(data, texts_test=None, Y_test=None, filter_test=None)
    return texts.with_features(sp.csr_matrix((len(texts.texts), 1), dtype="float32"))


def metrics_file_of(model: str | Path) -> Path:
    """Where the training of a model writes its metrics: beside the model, which appears at its end."""
    return Path(f"{Path(model).absolute()}.metrics.jsonl")


def _counted(path: str | None, model: Model, *, demo: bool) -> Dataset:
    return model.preparation.dataset(open_named(path, demo=demo), path or "the data")


def _with_filter(dataset: Dataset, filter_file: str | None) -> Dataset:
    if filter_file is None:
        return dataset
    if dataset.Y_test is not None:
        return replace(dataset, filter_test=read_filter(filter_file, *dataset.Y_test.shape))
    return replace(dataset, filter=read_filter(filter_file, *dataset.Y.shape))


def _features_alone(path: str | None, model: Model) -> Any:
    """Features of a file without labels, or None if it is something else."""
    file = Path(path or "")
    if not file.is_file():
        return None
    if file.suffix == ".npz":
        return read_csr(file).astype("float32")
    if file.suffix == ".npy":
        return read_dense(file)
    if file.suffix in (".jsonl", ".tsv") or (file.suffix == ".txt" and model.preparation.vectorizer is not None):
        return model.preparation.require_vectorizer(str(file)).counts(read_texts(file))
    return None
