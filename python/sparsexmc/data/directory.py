"""Finding and reading the files of a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

import scipy.sparse as sp

from .._sparse import label_matrix, sparse_features
from ..errors import ArgumentError, DataError, DTypeError
from .arrays import read_csr, read_dense, read_names
from .dataset import Dataset, Features
from .filters import find_filter, is_filter
from .text import read_text, read_text_pair
from .texts import is_raw_text

Source = str | PathLike[str] | Sequence[str | PathLike[str]]
Split = tuple[Features, sp.csr_matrix]

_FEATURES_END, _LABELS_END = "_X_Xf.txt", "_X_Y.txt"
_NO_SINGLE = (_FEATURES_END, _LABELS_END, "_X.txt")  # the last holds raw texts
_PARTS = {"training": ("trn", "train"), "test": ("tst", "test")}


def load(path: Source, *, test: Source | None = None) -> Dataset:
    """Reads a data set.

    `path` is one of

    - a directory with, in this order of preference: `X_trn.npz` (scipy CSR) or `X_trn.npy` (dense; memory-mapped) and
      `Y_trn.npz`; `trn_X_Xf.txt` and `trn_X_Y.txt`; or one text file named like `train.txt` or `eurlex_trn.txt`. The
      same with `tst` or `test` gives the test instances. `labels.txt[.xz]` holds a label name per line,
      `names.txt[.xz]` the names of the training and then the test instances, `filter_labels_train.txt` and
      `filter_labels_test.txt` (or `trn_filter_labels.txt`, ...) the pairs that are not to be predicted;
    - a text file of the extreme-classification repository (header `N D L`);
    - a pair (features, labels) of files of the two-file form, or the `..._X_Xf.txt` of such a pair.

    Args:
        path: see above.
        test: a file or pair with the test instances, when `path` is a file or pair.

    Returns:
        Labels are binarised. Sparse features are float32: token counts (uint8) stay counts, see `tfidf`.

    Raises:
        DataError: a malformed file, or files that disagree; the message begins with the file (text: and the line).
        ArgumentError: nothing to read at `path`, or raw texts, for which there is `load_texts`.
    """
    if isinstance(path, str | PathLike) and is_raw_text(path):
        raise ArgumentError(f"path: '{fspath(path)}' holds raw texts; read it with sparsexmc.data.load_texts")
    if isinstance(path, str | PathLike) and Path(path).is_dir():
        if test is not None:
            raise ArgumentError("test is for a file or pair; a directory holds its own test instances")
        return _load_directory(Path(path))
    X, Y = _load_files("path", path)
    X_test, Y_test = (None, None) if test is None else _load_files("test", test)
    first = Path(path if isinstance(path, str | PathLike) else path[0])
    return _dataset(first, X=X, Y=Y, X_test=X_test, Y_test=Y_test, name=first.name)


def _load_files(argument: str, source: Source) -> Split:
    """The instances of one text file, or of a pair of them."""
    if not isinstance(source, str | PathLike):
        if len(source) != 2:
            raise ArgumentError(f"{argument} names {len(source)} files; a pair is (features, labels)")
        features, labels = (Path(p) for p in source)
        return _read_pair(argument, features, labels)
    path = Path(source)
    _require_file(argument, path)
    if path.suffix in (".npz", ".npy"):
        raise ArgumentError(f"{argument}: '{path}' is one array; pass the directory with X_trn and Y_trn")
    if path.name.endswith(_FEATURES_END):
        return _read_pair(argument, path, path.with_name(path.name.removesuffix(_FEATURES_END) + _LABELS_END))
    return read_text(path)


def _read_pair(argument: str, features: Path, labels: Path) -> Split:
    _require_file(argument, features)
    _require_file(argument, labels)
    X, Y = read_text_pair(features, labels)
    if X.shape[0] != Y.shape[0]:
        raise DataError(f"{labels}:1: announces {Y.shape[0]} rows, but {features} {X.shape[0]}; they must agree")
    return X, Y


def _require_file(argument: str, path: Path) -> None:
    if not path.is_file():
        raise ArgumentError(f"{argument}: no file '{path}'; check the name")


def _load_directory(directory: Path) -> Dataset:
    train, test = (_load_part(directory, part) for part in _PARTS)
    if train is None:
        raise ArgumentError(
            f"path: '{directory}' holds no training instances; it needs X_trn.npz or X_trn.npy with Y_trn.npz, "
            "trn_X_Xf.txt with trn_X_Y.txt, or train.txt"
        )
    filters = [
        None if split is None else find_filter(directory, part, split[1].shape)
        for part, split in zip(_PARTS, (train, test), strict=True)
    ]
    num_train, num_test = train[1].shape[0], test[1].shape[0] if test else 0
    label_names = _find_names(directory, "labels", train[1].shape[1])
    names = _find_names(directory, "names", num_train + num_test)
    if names is not None and len(names) != num_train + num_test:
        raise DataError(
            f"{directory / 'names.txt'}: holds {len(names)} names for {num_train} training and {num_test} test "
            "instances; it needs one each, training first"
        )
    return _dataset(
        directory,
        X=train[0],
        Y=train[1],
        X_test=test and test[0],
        Y_test=test and test[1],
        label_names=label_names,
        instance_names=names and names[:num_train],
        test_instance_names=names[num_train:] if names and test else None,
        name=directory.resolve().name,
        filter=filters[0],
        filter_test=filters[1],
    )


def _load_part(directory: Path, part: str) -> Split | None:
    short, long = _PARTS[part]
    sparse, dense, labels = (
        directory / f"{stem}_{short}{end}" for stem, end in (("X", ".npz"), ("X", ".npy"), ("Y", ".npz"))
    )
    if sparse.exists() or dense.exists() or labels.exists():
        return _load_arrays(sparse, dense, labels)
    texts = sorted(directory.glob("*.txt"))
    pairs = [p for p in texts if re.fullmatch(rf"(.*[_.-])?({short}|{long}){_FEATURES_END}", p.name)]
    singles = [p for p in texts if re.fullmatch(rf"(.*[_.-])?({short}|{long})([_.-].*)?\.txt", p.name)]
    candidates = pairs or [p for p in singles if not (p.name.endswith(_NO_SINGLE) or is_filter(p, part))]
    if len(candidates) > 1:
        found = ", ".join(p.name for p in candidates)
        raise ArgumentError(f"path: '{directory}' holds several {part} files: {found}; pass the one to read")
    return _load_files("path", candidates[0]) if candidates else None


def _load_arrays(sparse: Path, dense: Path, labels: Path) -> Split:
    if sparse.exists() and dense.exists():
        raise DataError(f"{sparse}: stands beside {dense.name}; keep the one that is meant")
    X_path = dense if dense.exists() else sparse
    for path in (X_path, labels):
        if not path.exists():
            raise DataError(f"{path}: is missing; features and labels come together")
    try:
        X = read_dense(dense) if dense.exists() else sparse_features(str(sparse), read_csr(sparse))
        Y = label_matrix(str(labels), read_csr(labels))
    except (ArgumentError, DTypeError) as error:
        raise DataError(str(error)) from None
    return X, Y


def _find_names(directory: Path, stem: str, needed: int) -> list[str] | None:
    for path in (directory / f"{stem}.txt", directory / f"{stem}.txt.xz"):
        if path.exists():
            return read_names(path, needed)
    return None


def _dataset(source: Path, **fields: object) -> Dataset:
    try:
        return Dataset(**fields)  # type: ignore[arg-type]
    except (ArgumentError, DTypeError) as error:
        raise DataError(f"{fspath(source)}: {error}") from None
