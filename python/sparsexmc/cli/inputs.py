"""What the commands read and write: data sets, saved models, output files."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .config import UsageError

if TYPE_CHECKING:
    from sparsexmc import Classifier
    from sparsexmc.data import Dataset

CHECKPOINT_FILE = "config.json"
"""What makes a directory a saved model."""


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, or --demo in its place."""
    parser.add_argument("data", metavar="DATA", nargs="?", help="directory or file of a data set")
    parser.add_argument("--demo", action="store_true", help="the built-in package dependencies of Debian 12 as DATA")


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """--device for a saved model."""
    parser.add_argument("--device", metavar="D", help="auto, cpu, cuda or cuda:<index> (default: as trained)")


def load_data(path: str | None, *, demo: bool = False) -> Dataset:
    """The data set at `path`, in any form that `sparsexmc.data.load` reads, or the built-in one as token counts."""
    import sparsexmc as sx
    from sparsexmc.data.demo import DEMO_DIRECTORY

    if demo == (path is not None):
        raise UsageError("give either DATA or --demo")
    if path is None:
        return sx.data.load(DEMO_DIRECTORY)
    require_path(path)
    return sx.data.load(path)


def require_path(path: str) -> None:
    """Raises UsageError unless there is something at `path`."""
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such file or directory")


def measured_split(dataset: Dataset) -> tuple[Any, Any, Any]:
    """(X, Y, filter) of the test instances where the data set has any, else of the only instances that it has."""
    if dataset.X_test is not None:
        return dataset.X_test, dataset.Y_test, dataset.filter_test
    return dataset.X, dataset.Y, dataset.filter


def load_model(path: str, threads: int | None = None, device: str | None = None) -> Classifier:
    """The model at `path`, verified; `device` None: that on which it was trained."""
    import sparsexmc as sx

    require_model(path)
    return sx.load(path, device, threads or 0)


def require_model(path: str) -> None:
    """Raises UsageError unless there is something at `path`."""
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such model; `sparsexmc train DATA -o {path}` makes one")


def metrics_file_of(model: str | Path) -> Path:
    """Where the training of a model writes its metrics: beside the model, as it exists before the first checkpoint."""
    return Path(f"{Path(model).absolute()}.metrics.jsonl")


def is_model(path: Path) -> bool:
    """Is there a saved model at `path`?"""
    return (path / CHECKPOINT_FILE).is_file()


def check_model_output(path: str) -> Path:
    """`path` as a place where a model can be saved; missing parent directories are made.

    Raises UsageError if something else is there, OSError if nothing can be written.
    """
    place = Path(path).absolute()
    if place.exists() and not place.is_dir():
        raise UsageError(f"{path}: exists and is not a directory; name another place for the model")
    if place.is_dir() and any(place.iterdir()) and not is_model(place):
        raise UsageError(f"{path}: exists and is not a sparsexmc model, so it is not overwritten; name another place")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}."):
        pass
    return place


@contextmanager
def output_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new binary file, which becomes `path` if the block ends well and vanishes if it does not."""
    from sparsexmc._files import atomic_file

    try:
        with atomic_file(path) as file:
            yield file
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
