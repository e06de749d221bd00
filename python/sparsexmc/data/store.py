"""Writing a data set as a directory, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from .._checks import require_choice
from .._files import atomic_directory, check_output, recover_directory
from ..errors import ArgumentError, CheckpointError, DTypeError, Error
from .arrays import check_names, write_names
from .dataset import Dataset, Features
from .filters import write_filter
from .text import save_text, save_text_pair

FORMS = ("npz", "text", "text-pair")
# Every name that is written here. Nothing but a directory of such files is ever replaced.
_ARRAYS = {name.format(tag) for tag in ("trn", "tst") for name in ("X_{}.npz", "X_{}.npy", "Y_{}.npz")}
_TEXTS = {name.format(tag) for tag in ("trn", "tst") for name in ("{}_X_Xf.txt", "{}_X_Y.txt")}
_EXTRAS = {"labels.txt", "names.txt", "filter_labels_train.txt", "filter_labels_test.txt"}
_WRITTEN = _ARRAYS | _TEXTS | _EXTRAS | {"train.txt", "test.txt"}


def save(path: str | PathLike[str], dataset: Dataset, *, form: str = "npz", overwrite: bool = False) -> None:
    """Writes a directory that `load` reads as the same data set; float32 numbers come back exactly.

    Args:
        path: the directory. It appears when it is complete: an error, Ctrl-C or a kill leaves what was there before.
        dataset: see `Dataset`.
        form: "npz": X_trn, Y_trn, X_tst, Y_tst as `.npz` (dense X as `.npy`); "text": train.txt and test.txt in the
            form of the extreme-classification repository; "text-pair": its two-file form, trn_X_Xf.txt and trn_X_Y.txt.
            Beside them labels.txt, names.txt, filter_labels_train.txt and filter_labels_test.txt, as far as there is
            something to put there.
        overwrite: replace a data set that `save` wrote to `path`; never anything else.

    Raises:
        ArgumentError: the directory exists or cannot be made, or a name has a line break.
        DTypeError: dense features for a text form.
        Error: writing failed midway; `path` is as before.
    """
    require_choice("form", form, FORMS)
    if not isinstance(dataset, Dataset):
        raise ArgumentError(f"dataset is a {type(dataset).__name__}; pass save(path, dataset) a sparsexmc.data.Dataset")
    _check_content(dataset, form)
    target = check_target(path, overwrite=overwrite)
    with _replaced(target) as directory:
        for number, (X, Y) in enumerate(((dataset.X, dataset.Y), (dataset.X_test, dataset.Y_test))):
            if X is not None and Y is not None:
                _write_split(directory, form, number, X, Y)
        if dataset.label_names is not None:
            write_names(directory / "labels.txt", dataset.label_names)
        if dataset.instance_names is not None and (dataset.Y_test is None or dataset.test_instance_names is not None):
            write_names(directory / "names.txt", [*dataset.instance_names, *(dataset.test_instance_names or ())])
        for part, pairs in (("train", dataset.filter), ("test", dataset.filter_test)):
            if pairs is not None:
                write_filter(directory / f"filter_labels_{part}.txt", pairs)


def _check_content(dataset: Dataset, form: str) -> None:
    for name in ("label_names", "instance_names", "test_instance_names"):
        check_names(getattr(dataset, name) or ())
    for name in ("X", "X_test"):
        X = getattr(dataset, name)
        if form != "npz" and X is not None and not sp.issparse(X):
            raise DTypeError(
                f'{name} is dense, and the text forms hold sparse features; write form "npz", which keeps it as .npy'
            )


def check_target(path: str | PathLike[str], *, overwrite: bool, name: str = "path") -> Path:
    """`path` as a place where `save` may write.

    Raises ArgumentError, which calls it `name`, if something is there that `save` may not replace, or it is in a model.
    """
    check_output(name, path, directory=True)
    target = Path(path).absolute()
    recover_directory(target)  # what a killed process set aside is there again
    if not target.exists() and not target.is_symlink():
        return target
    if not overwrite:
        raise ArgumentError(f"{name}: '{target}' exists; name a new directory")
    if target.is_symlink() or not target.is_dir():
        raise ArgumentError(f"{name}: '{target}' is no directory, so it is not replaced; name another place")
    if foreign := sorted({entry.name for entry in target.iterdir()} - _WRITTEN):
        raise ArgumentError(
            f"{name}: '{target}' holds {foreign[0]}, which is no part of a data set that was written here, so it is "
            "not replaced; name another place"
        )
    return target


def _write_split(directory: Path, form: str, number: int, X: Features, Y: sp.csr_matrix) -> None:
    tag = ("trn", "tst")[number]
    if form == "text":
        save_text(directory / ("train.txt", "test.txt")[number], X, Y)
    elif form == "text-pair":
        save_text_pair(directory / f"{tag}_X_Xf.txt", directory / f"{tag}_X_Y.txt", X, Y)
    else:
        if sp.issparse(X):
            sp.save_npz(directory / f"X_{tag}.npz", X)
        else:
            np.save(directory / f"X_{tag}.npy", X, allow_pickle=False)
        sp.save_npz(directory / f"Y_{tag}.npz", Y.astype(np.uint8))


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """A new directory beside `target`, which takes its place if the block ends well and vanishes if it does not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(
            f"path: cannot make the directory '{target}': {error.strerror}; name another place"
        ) from None
    try:
        with atomic_directory(target, _WRITTEN) as directory:
            yield directory
    except OSError as error:
        raise Error(f"writing '{target}' failed, it is as before: {error.strerror or error}") from None
    except CheckpointError as error:
        raise Error(f"writing '{target}' failed, it is as before: {error}") from None
