"""Finding and reading the files of a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path

import scipy.sparse as sp

from .._checks import require_int
from .._sparse import label_matrix, sparse_features
from ..errors import ArgumentError, DataError, DTypeError
from .arrays import read_csr, read_dense, read_names
from .dataset import Dataset
from .filters import find_filter, is_filter
from .streams import STANDARD_INPUT, bare_ending, bare_name, is_packed, with_packed
from .text import LIBSVM, Split, read_text, read_text_pair
from .texts import is_raw_text

Source = str | PathLike[str] | Sequence[str | PathLike[str]]
_TEXT_ENDINGS = (".txt", *LIBSVM)

_FEATURES_END, _LABELS_END = "_X_Xf.txt", "_X_Y.txt"
_NO_SINGLE = (_FEATURES_END, _LABELS_END, "_X.txt")  # the last holds raw texts
_PARTS = {"training": ("trn", "train"), "test": ("tst", "test")}


def load(
    path: Source,
    *,
    test: Source | None = None,
    index_base: int = 0,
    num_features: int | None = None,
    num_labels: int | None = None,
) -> Dataset:
    """Reads a data set.

    `path` is one of

    - a directory with, in this order of preference: `X_trn.npz` (scipy CSR) or `X_trn.npy` (dense; memory-mapped) and
      `Y_trn.npz`; `trn_X_Xf.txt` and `trn_X_Y.txt`; or one text file named like `train.txt` or `eurlex_trn.txt`. The
      same with `tst` or `test` gives the test instances. `labels.txt` holds a label name per line,
      `names.txt` the names of the training and then the test instances, `filter_labels_train.txt` and
      `filter_labels_test.txt` (or `trn_filter_labels.txt`, ...) the pairs that are not to be predicted;
    - a text file of the extreme-classification repository (header `N D L`), or the same without a header (LIBSVM);
    - a pair (features, labels) of files of the two-file form, or the `..._X_Xf.txt` of such a pair.

    Text files may be packed: `.gz` or `.xz` ends their names.

    Args:
        path: see above.
        test: a file or pair with the test instances, when `path` is a file or pair.
        index_base: what features and labels of files without a header count from. With 0 their numbers are taken as
            they stand, so that a file that counts from 1 gets a column 0 that is never used; 1 is subtracted.
        num_features: D of files without a header; features beyond it are left out, as words outside of a vocabulary
            are. None: as many as their largest number asks for, in training and test instances together.
        num_labels: the same of their labels, of which none is left out.

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
        return _load_directory(Path(path), index_base, num_features, num_labels)
    splits = [_load_files("path", path, index_base), None if test is None else _load_files("test", test, index_base)]
    train, tested = _widened(splits, num_features, num_labels)
    assert train is not None
    first = Path(path if isinstance(path, str | PathLike) else path[0])
    return _dataset(
        first,
        X=train.X,
        Y=train.Y,
        X_test=tested and tested.X,
        Y_test=tested and tested.Y,
        name=first.name,
    )


def _load_files(argument: str, source: Source, index_base: int) -> Split:
    """The instances of one text file, or of a pair of them."""
    if not isinstance(source, str | PathLike):
        if len(source) != 2:
            raise ArgumentError(f"{argument} names {len(source)} files; a pair is (features, labels)")
        features, labels = (Path(p) for p in source)
        return _read_pair(argument, features, labels)
    path = Path(source)
    _require_file(argument, path)
    if bare_ending(path) in (".npz", ".npy"):
        unpack = "unpack it, and " if is_packed(path) else ""
        raise ArgumentError(f"{argument}: '{path}' is one array; {unpack}pass the directory with X_trn and Y_trn")
    if (name := bare_name(path)).endswith(_FEATURES_END):
        beside = [path.with_name(end) for end in with_packed(name.removesuffix(_FEATURES_END) + _LABELS_END)]
        return _read_pair(argument, path, next((file for file in beside if file.exists()), beside[0]))
    return read_text(path, index_base)


def _read_pair(argument: str, features: Path, labels: Path) -> Split:
    _require_file(argument, features)
    _require_file(argument, labels)
    split = read_text_pair(features, labels)
    rows, others = split.Y.shape[0], split.X.shape[0]
    if rows != others:
        raise DataError(f"{labels}:1: announces {rows} rows, but {features} {others}; they must agree")
    return split


def _require_file(argument: str, path: Path) -> None:
    if not path.is_file() and fspath(path) != STANDARD_INPUT:
        raise ArgumentError(f"{argument}: no file '{path}'; check the name")


def _load_directory(directory: Path, index_base: int, num_features: int | None, num_labels: int | None) -> Dataset:
    parts = [_load_part(directory, part, index_base) for part in _PARTS]
    train, test = _widened(parts, num_features, num_labels)
    if train is None:
        raise ArgumentError(
            f"path: '{directory}' holds no training instances; it needs X_trn.npz or X_trn.npy with Y_trn.npz, "
            "trn_X_Xf.txt with trn_X_Y.txt, or train.txt"
        )
    filters = [
        None if split is None else find_filter(directory, part, split.Y.shape)
        for part, split in zip(_PARTS, (train, test), strict=True)
    ]
    num_train, num_test = train.Y.shape[0], test.Y.shape[0] if test else 0
    label_names = _find_names(directory, "labels", train.Y.shape[1])
    names = _find_names(directory, "names", num_train + num_test)
    if names is not None and len(names) != num_train + num_test:
        raise DataError(
            f"{directory / 'names.txt'}: holds {len(names)} names for {num_train} training and {num_test} test "
            "instances; it needs one each, training first"
        )
    return _dataset(
        directory,
        X=train.X,
        Y=train.Y,
        X_test=test and test.X,
        Y_test=test and test.Y,
        label_names=label_names,
        instance_names=names and names[:num_train],
        test_instance_names=names[num_train:] if names and test else None,
        name=directory.resolve().name,
        filter=filters[0],
        filter_test=filters[1],
    )


def _load_part(directory: Path, part: str, index_base: int) -> Split | None:
    short, long = _PARTS[part]
    sparse, dense, labels = (
        directory / f"{stem}_{short}{end}" for stem, end in (("X", ".npz"), ("X", ".npy"), ("Y", ".npz"))
    )
    if sparse.exists() or dense.exists() or labels.exists():
        return _load_arrays(sparse, dense, labels)
    texts = sorted(p for p in directory.iterdir() if bare_ending(p) in _TEXT_ENDINGS)
    pairs = [p for p in texts if re.fullmatch(rf"(.*[_.-])?({short}|{long}){_FEATURES_END}", bare_name(p))]
    singles = [p for p in texts if re.fullmatch(rf"(.*[_.-])?({short}|{long})([_.-].*)?\.\w+", bare_name(p))]
    candidates = pairs or [p for p in singles if not (bare_name(p).endswith(_NO_SINGLE) or is_filter(p, part))]
    if len(candidates) > 1:
        found = ", ".join(p.name for p in candidates)
        raise ArgumentError(f"path: '{directory}' holds several {part} files: {found}; pass the one to read")
    return _load_files("path", candidates[0], index_base) if candidates else None


def _widened(
    splits: Sequence[Split | None], num_features: int | None, num_labels: int | None
) -> tuple[Split | None, ...]:
    """Splits of which those without a header have the columns that are asked for, or that the others have."""
    for name, size in (("num_features", num_features), ("num_labels", num_labels)):
        if size is not None:
            require_int(name, size, 0)
    there = [split for split in splits if split is not None]
    wide = max((split.X.shape[1] for split in there), default=0) if num_features is None else num_features
    labels = max([split.Y.shape[1] for split in there] + [num_labels or 0])
    return tuple(
        Split(_with_width(split.X, wide), _with_width(split.Y, labels), True)
        if split is not None and split.headerless
        else split
        for split in splits
    )


def _with_width(matrix: sp.csr_matrix, width: int) -> sp.csr_matrix:
    if matrix.shape[1] > width:
        return matrix[:, :width]
    return sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))


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
    return Split(X, Y)


def _find_names(directory: Path, stem: str, needed: int) -> list[str] | None:
    for path in (directory / name for name in with_packed(f"{stem}.txt")):
        if path.exists():
            return read_names(path, needed)
    return None


def _dataset(source: Path, **fields: object) -> Dataset:
    try:
        return Dataset(**fields)  # type: ignore[arg-type]
    except (ArgumentError, DTypeError) as error:
        raise DataError(f"{fspath(source)}: {error}") from None
