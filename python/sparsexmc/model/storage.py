"""The directory of a model: which part lies in which file. `core.directory` makes all of it one thing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._files import check_output
from .._npz import FAULTS, read_arrays
from ..classifier import Classifier
from ..core.description import describe
from ..core.directory import ModelReader, ModelWriter
from ..core.packing import from_bytes, to_bytes
from ..data import TextVectorizer, TfIdf
from ..ensemble import Linear, Neighbors
from ..errors import ArgumentError, CheckpointError, DataError, Error
from . import toml
from .card import default_card
from .preparation import Preparation
from .probabilities import Calibrations
from .settings import Settings

_log = logging.getLogger("sparsexmc")

MANIFEST_FILE = "config.json"
SETTINGS_FILE = "run.toml"
"""The settings of the training; what makes a directory a model rather than a classifier alone."""
FEATURES_FILE, VOCABULARY_FILE = "features.npz", "vocabulary.json"
LINEAR_FILE, NEIGHBORS_FILE = "linear.npz", "neighbors.npz"
CALIBRATION_FILE = "calibration.npz"
_OF_A_MODEL = (SETTINGS_FILE, FEATURES_FILE, VOCABULARY_FILE, LINEAR_FILE, NEIGHBORS_FILE, CALIBRATION_FILE)


@dataclass(frozen=True)
class Parts:
    """Everything that a model consists of."""

    classifier: Classifier
    preparation: Preparation
    linear: Linear | None
    neighbors: Neighbors | None
    settings: Settings | None
    calibrations: Calibrations


def save(
    path: str | PathLike[str],
    parts: Parts,
    card: str = "",
    extra: Mapping[str, bytes] | None = None,
    *,
    for_prediction: bool = False,
) -> None:
    """Write all parts in one rename, and `extra` files by name; `for_prediction` without the optimizer's state.

    Raises ArgumentError, CheckpointError; what was at `path` stays then.
    """
    check_output("path", path, directory=True)
    with ModelWriter(path) as writer:
        names = parts.classifier.label_names or []
        writer.add_classifier(parts.classifier.engine, names, card or _card(parts), for_prediction=for_prediction)
        if parts.preparation.vectorizer is not None:
            writer.add_text(VOCABULARY_FILE, parts.preparation.vectorizer.to_json())
        if parts.preparation.tfidf is not None:
            with writer.open(FEATURES_FILE) as file:
                np.savez(file, idf=parts.preparation.tfidf.idf)
        calibrations = parts.calibrations or None
        for name, part in (
            (LINEAR_FILE, parts.linear),
            (NEIGHBORS_FILE, parts.neighbors),
            (CALIBRATION_FILE, calibrations),
        ):
            if part is not None:
                with writer.open(name) as file:
                    part.save(file)
        for name, content in (extra or {}).items():
            with writer.open(name) as file:
                file.write(content)
        writer.add_text(SETTINGS_FILE, "" if parts.settings is None else parts.settings.to_toml())
        writer.publish()


def check_place(path: str | PathLike[str], *, replace: bool) -> Path:
    """`path`, absolute, as a place where a model can be saved; missing parent directories are made.

    Raises:
        ArgumentError: something else is there, or a model that is not to be replaced.
        CheckpointError: nothing can be written, or the model there has a file that it does not list.
    """
    place, given = Path(path).absolute(), fspath(path)
    if place.exists() and not place.is_dir():
        raise ArgumentError(f"{given}: exists and is not a directory; name another place for the model")
    if place.is_dir() and any(place.iterdir()):
        if not (place / MANIFEST_FILE).is_file():
            raise ArgumentError(f"{given}: holds files but no model, so it is not overwritten; name another place")
        if not replace:
            raise ArgumentError(f"{given}: holds a model; give --force (in Python force=True) to replace it")
    with ModelWriter(place):  # writes nothing, but refuses what it could not replace
        pass
    return place


def is_model(reader: ModelReader) -> bool:
    """Whether a directory holds more than a classifier."""
    return any(name in reader.parts for name in _OF_A_MODEL)


def load(
    path: str | PathLike[str], device: str | None = None, num_threads: int = 0, *, trainable: bool = True
) -> Parts:
    """Read all parts. Raises CheckpointError if one is missing, damaged, or of something else."""
    with ModelReader(path) as reader:
        if not is_model(reader):
            raise CheckpointError(f"{reader.path}: holds a classifier alone; read it with sparsexmc.load")
        return read(reader, device, num_threads, trainable=trainable)


def read(reader: ModelReader, device: str | None, num_threads: int, *, trainable: bool = True) -> Parts:
    """The parts in an open directory."""
    threads = num_threads or None
    linear = neighbors = None
    calibrations = Calibrations()
    settings = read_settings(reader)
    with _named_damage():
        for missing in missing_parts(reader):
            text = "%s has no %s, which its %s asks for; copy the whole directory if it had"
            _log.warning(text, reader.path, missing, SETTINGS_FILE)
        preparation = _preparation(reader, settings)
        if LINEAR_FILE in reader.parts:
            with reader.open(LINEAR_FILE) as file:
                linear = Linear.load(file, num_threads=threads)
        if NEIGHBORS_FILE in reader.parts:
            with reader.open(NEIGHBORS_FILE) as file:
                neighbors = Neighbors.load(file, num_threads=threads)
        if CALIBRATION_FILE in reader.parts:
            with reader.open(CALIBRATION_FILE) as file:
                calibrations = Calibrations.load(file)
    classifier = Classifier._read(reader, device, num_threads, trainable=trainable)
    return Parts(classifier, preparation, linear, neighbors, settings, calibrations)


@contextmanager
def _named_damage() -> Iterator[None]:
    """Turns errors of readers, which name their file, into a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Error as error:
        raise CheckpointError(f"{error}; copy the whole model directory again, or train again") from None


def pack(parts: Parts) -> dict[str, bytes]:
    """The files of the model directory, in memory; of a model for prediction only those that it has."""
    return to_bytes(lambda path: save(path, parts, for_prediction=not parts.classifier.trainable))


def unpack(files: dict[str, bytes], num_threads: int, *, trainable: bool = True) -> Parts:
    """The parts in what `pack` returned."""
    return from_bytes(files, lambda path: load(path, None, num_threads, trainable=trainable))


def _card(parts: Parts) -> str:
    facts = dict(describe(parts.classifier.config)) | {"features": str(parts.preparation)}
    if parts.linear is not None:
        facts["linear classifiers"] = f"on the features, weight {parts.linear.weight:g}"
    if parts.neighbors is not None:
        facts["neighbors"] = f"{parts.neighbors.num_instances:,} training instances vote"
    facts["training steps"] = f"{parts.classifier.step:,}"
    return default_card(
        parts.classifier.num_labels, _core.version(), facts, texts=parts.preparation.vectorizer is not None
    )


def missing_parts(reader: ModelReader) -> list[str]:
    """Files that a model of format 1 may have lost: its run.toml asks for them.

    Whether they were ever there is not known: version 0.1 wrote what was asked for, also where tuning gave a part no
    weight, or where the training ended before the parts were made. Later formats list their parts.
    """
    if SETTINGS_FILE not in reader.parts or reader.manifest.format_version > 1:
        return []
    table, missing = _settings_table(reader), []
    for name, file in (("linear", LINEAR_FILE), ("neighbors", NEIGHBORS_FILE)):
        section = table.get(name, {})
        wanted = isinstance(section, Mapping) and section.get("enabled") is True and section.get("weight") != 0
        if wanted and file not in reader.parts:
            missing.append(file)
    return missing


def _settings_table(reader: ModelReader) -> toml.Table:
    return toml.parse(reader.text(SETTINGS_FILE), f"{reader.path}/{SETTINGS_FILE}")


def read_settings(reader: ModelReader) -> Settings | None:
    """Those of the training; None for directories of earlier versions, whose run.toml left out what had its default.

    Raises CheckpointError for a file that holds no settings.
    """
    if SETTINGS_FILE not in reader.parts:
        return None
    with _named_damage():
        table = _settings_table(reader)
        try:
            return Settings.from_table(table) if table else None
        except Error as error:
            raise DataError(f"{reader.path}/{SETTINGS_FILE}: {error}") from None


def _preparation(reader: ModelReader, settings: Settings | None) -> Preparation:
    vectorizer = tfidf = None
    if VOCABULARY_FILE not in reader.parts and _reads_texts(reader):
        raise DataError(f"{reader.path}/{VOCABULARY_FILE}: is missing, but {SETTINGS_FILE} says how texts are counted")
    if VOCABULARY_FILE in reader.parts:
        try:
            vectorizer = TextVectorizer.from_json(reader.text(VOCABULARY_FILE))
        except DataError as error:
            raise DataError(f"{reader.path}/{VOCABULARY_FILE}: {error}") from None
    if FEATURES_FILE in reader.parts:
        try:
            with reader.open(FEATURES_FILE) as file:
                tfidf = TfIdf(_weights(read_arrays(file)["idf"]))
        except CheckpointError:
            raise
        except FAULTS as error:
            raise DataError(f"{reader.path}/{FEATURES_FILE}: no TF-IDF weights of sparsexmc: {error}") from None
    wanted = settings is not None and settings.data.tfidf is True
    if wanted != (tfidf is not None) and settings is not None:
        there, says = ("is there", "asks for none") if tfidf is not None else ("is missing", "asks for its weights")
        raise DataError(f"{reader.path}/{FEATURES_FILE}: {there}, but {SETTINGS_FILE} {says}")
    return Preparation(vectorizer, tfidf)


def _reads_texts(reader: ModelReader) -> bool:
    """Whether a model of format 1 was trained on raw texts: only then its run.toml holds options of a vocabulary."""
    if SETTINGS_FILE not in reader.parts or reader.manifest.format_version > 1:
        return False
    section = _settings_table(reader).get("data", {})
    return isinstance(section, Mapping) and any(key != "tfidf" for key in section)


def _weights(idf: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if idf.ndim != 1 or idf.dtype != np.float64 or not np.isfinite(idf).all():
        raise ValueError(f"idf is {idf.dtype} of shape {idf.shape}, or holds NaN or infinity")
    return idf
