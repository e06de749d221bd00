"""How a model wants its features prepared: run.toml, for TF-IDF features.npz, and for raw text vocabulary.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import config as cfg

if TYPE_CHECKING:
    from sparsexmc import Classifier
    from sparsexmc.core.directory import ModelWriter
    from sparsexmc.data import TextVectorizer, TfIdf

RUN_FILE = "run.toml"
FEATURES_FILE = "features.npz"
VOCABULARY_FILE = "vocabulary.json"


def are_counts(X: Any) -> bool:
    """Does `X` hold raw token counts, that is sparse whole numbers of at least 1?"""
    import numpy as np
    import scipy.sparse as sp

    return bool(sp.issparse(X) and X.nnz and X.data.min() >= 1 and (X.data == np.floor(X.data)).all())


def write(
    writer: ModelWriter, tfidf: TfIdf | None, config: cfg.Config, vectorizer: TextVectorizer | None = None
) -> None:
    """Adds vocabulary.json, features.npz and run.toml to a model that is being saved."""
    import numpy as np

    if vectorizer is not None:
        writer.add_text(VOCABULARY_FILE, vectorizer.to_json())
    if tfidf is not None:
        with writer.open(FEATURES_FILE) as file:
            np.savez(file, idf=tfidf.idf)
    writer.add_text(RUN_FILE, cfg.dump(config))


def read(model: str) -> TfIdf | None:
    """The TF-IDF weights of the model, or None if it takes features as they are.

    Raises UsageError if run.toml asks for weights that are missing.
    """
    import numpy as np

    from sparsexmc.data import TfIdf

    run_file, features_file = Path(model) / RUN_FILE, Path(model) / FEATURES_FILE
    if not run_file.exists() and not features_file.exists():
        return None  # saved by Classifier.save
    if run_file.exists() and not cfg.read(str(run_file)).get("data", {}).get("tfidf", False):
        return None
    try:
        with np.load(features_file, allow_pickle=False) as arrays:
            return TfIdf(arrays["idf"])
    except (OSError, KeyError, ValueError, EOFError):
        raise cfg.UsageError(
            f"{features_file}: missing or damaged, and the model needs its TF-IDF weights; copy the whole model "
            "directory, or train again"
        ) from None


def read_vectorizer(model: str) -> TextVectorizer | None:
    """What turns raw text into the counts that the model reads; None if it was not trained on raw text.

    Raises UsageError if the file is damaged.
    """
    from sparsexmc import DataError
    from sparsexmc.data import TextVectorizer

    file = Path(model) / VOCABULARY_FILE
    if not file.exists():
        return None
    try:
        return TextVectorizer.from_json(file.read_text(encoding="utf-8"))
    except (DataError, UnicodeDecodeError) as error:
        raise cfg.UsageError(f"{file}: {error}; copy the whole model directory, or train again") from None


def prepare(X: Any, classifier: Classifier, model: str) -> Any:
    """`X` [n, D] as the model in that directory reads it. Raises UsageError if it is not the kind of data for it."""
    import scipy.sparse as sp

    if sp.issparse(X) != classifier.sparse_input:
        wanted, came = ("sparse", "dense") if classifier.sparse_input else ("dense", "sparse")
        raise cfg.UsageError(
            f"the model reads {wanted} features, the data has {came} ones; make it like the training set"
        )
    if X.shape[1] != classifier.in_features:
        raise cfg.UsageError(
            f"the data has {X.shape[1]} features and the model {classifier.in_features}; use data like its training set"
        )
    tfidf = read(model)
    if tfidf is None:
        if are_counts(X) and not (Path(model) / RUN_FILE).exists():
            raise cfg.UsageError(
                f"{model} has no {RUN_FILE}, so it is not known whether token counts are to be weighed for it; train "
                "again, or write that file with the lines [data] and tfidf = false if it was trained on plain counts"
            )
        return X
    if X.nnz and not are_counts(X):
        raise cfg.UsageError(
            "the model was trained on TF-IDF of token counts, but the data holds other numbers; pass the counts"
        )
    return tfidf.apply(X)
