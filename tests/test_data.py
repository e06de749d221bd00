"""Data sets: the directory form, names, TF-IDF, hold-out, the built-in set, and what is refused."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.data import Dataset
from sparsexmc.errors import ArgumentError, DataError, DTypeError


def counts(rows: int, columns: int, seed: int = 0) -> sp.csr_matrix:
    """Token counts, uint8, some rows empty."""
    random = np.random.default_rng(seed)
    dense = random.integers(1, 9, (rows, columns)) * (random.random((rows, columns)) < 0.3)
    return sp.csr_matrix(dense.astype(np.uint8))


def example() -> Dataset:
    return Dataset(
        counts(7, 11),
        counts(7, 5, 1),
        [f"label {i}" for i in range(5)],
        X_test=counts(3, 11, 2),
        Y_test=counts(3, 5, 3),
        instance_names=[f"train é {i}" for i in range(7)],
        test_instance_names=["a", "", "c"],
        name="example",
    )


def assert_same(a: sp.csr_matrix, b: sp.csr_matrix) -> None:
    assert a.shape == b.shape
    np.testing.assert_array_equal(a.indptr, b.indptr)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.data, b.data)


def test_dataset_normalises_without_touching_the_caller() -> None:
    X = sp.csr_matrix((np.array([1, 2, 200, 100], np.uint8), [3, 1, 0, 0], [0, 2, 4]), shape=(2, 4))
    Y = sp.csr_matrix((np.array([7.0, 0.0, 1.0, -1.0]), [2, 0, 1, 1], [0, 2, 4]), shape=(2, 3))
    data = Dataset(X, Y)
    assert data.X.dtype == np.float32 and data.Y.dtype == np.float32
    assert data.X.toarray().tolist() == [[0, 2, 0, 1], [300, 0, 0, 0]]  # summed as floats: 300 is beyond uint8
    assert data.Y.toarray().tolist() == [[0, 0, 1], [0, 1, 0]]
    assert data.label_counts.tolist() == [0, 1, 1]
    assert (data.num_features, data.num_labels) == (4, 3)
    assert X.data.tolist() == [1, 2, 200, 100] and Y.data.tolist() == [7.0, 0.0, 1.0, -1.0]


def test_float32_features_are_shared() -> None:
    X = counts(5, 6).astype(np.float32)
    assert np.shares_memory(Dataset(X, counts(5, 2)).X.data, X.data)


def test_directory_round_trip(tmp_path: Path) -> None:
    sx.data.save(tmp_path / "set", example())
    loaded = sx.data.load(tmp_path / "set")
    for field in ("X", "Y", "X_test", "Y_test"):
        assert_same(getattr(loaded, field), getattr(example(), field))
    assert loaded.label_names == example().label_names
    assert loaded.instance_names == example().instance_names
    assert loaded.test_instance_names == example().test_instance_names
    assert loaded.name == "set"
    assert "7 training and 3 test instances" in repr(loaded)
    with pytest.raises(ArgumentError, match=r"exists; name a new directory"):
        sx.data.save(tmp_path / "set", example())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_dense_features_are_mapped(tmp_path: Path, dtype: type) -> None:
    X = np.random.default_rng(0).standard_normal((4, 3)).astype(dtype)
    sx.data.save(tmp_path / "set", Dataset(X, counts(4, 2)))
    loaded = sx.data.load(str(tmp_path / "set"))
    assert isinstance(loaded.X, np.memmap) and loaded.X.dtype == dtype
    np.testing.assert_array_equal(loaded.X, X)
    assert loaded.X_test is None and loaded.label_names is None


def test_compressed_names(tmp_path: Path) -> None:
    sx.data.save(tmp_path / "set", Dataset(counts(2, 3), counts(2, 2)))
    (tmp_path / "set/labels.txt.xz").write_bytes(lzma.compress("één\r\ntwo words\r\n".encode()))
    assert sx.data.load(tmp_path / "set").label_names == ["één", "two words"]


def test_demo() -> None:
    data = sx.data.load_demo()
    assert data.X.shape == (46518, 131072) and data.Y.shape == (46518, 43427)
    assert data.X_test.shape[0] == data.Y_test.shape[0] == len(data.test_instance_names) == 11056
    assert len(data.instance_names) == 46518 and data.instance_names[0] == "0ad"
    norms = np.sqrt(np.asarray(data.X.multiply(data.X).sum(axis=1)).ravel())
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    most = data.label_names[int(data.label_counts.argmax())]
    assert most == "libc6" and 0.36 < data.label_counts.max() / 46518 < 0.38
    dependencies = data.Y[data.instance_names.index("0ad")].indices
    assert "0ad-data" in {data.label_names[i] for i in dependencies}
    assert data.Y.getnnz(axis=0).min() >= 1 and data.Y_test.getnnz(axis=1).min() >= 1
    assert sx.data.load_demo(counts=True).X.data.min() == 1


def test_tfidf_follows_the_formula() -> None:
    train, test = counts(20, 9), counts(4, 9, 5)
    weighted = sx.data.tfidf(train, test)
    df = (train.toarray() > 0).sum(axis=0)
    for matrix, found in zip((train, test), weighted, strict=True):
        dense = matrix.toarray().astype(float)
        expected = np.where(dense > 0, 1 + np.log(np.maximum(dense, 1)), 0) * (np.log((1 + 20) / (1 + df)) + 1)
        norms = np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(found.toarray(), expected / np.where(norms == 0, 1, norms), rtol=1e-6)
        assert found.dtype == np.float32
    assert train.dtype == np.uint8  # not changed in place
    with pytest.raises(ArgumentError, match=r"train holds 0\.5; .*token counts"):
        sx.data.tfidf(train * 0.5)
    with pytest.raises(ArgumentError, match=r"others\[0\] has 8 columns, but train has 9"):
        sx.data.tfidf(train, test[:, :8])


def test_holdout_is_a_deterministic_partition() -> None:
    X, Y = counts(50, 4), sp.csr_matrix(np.arange(1, 51).reshape(-1, 1))
    parts = sx.data.holdout(X, Y, 0.2, seed=3)
    assert [part.shape[0] for part in parts] == [40, 40, 10, 10]
    left, held = parts[1].toarray().ravel(), parts[3].toarray().ravel()
    assert sorted([*left, *held]) == list(range(1, 51)) and (np.diff(held) > 0).all()
    np.testing.assert_array_equal(parts[2].toarray(), X.toarray()[held - 1])
    assert_same(sx.data.holdout(X, Y, 0.2, seed=3)[3], parts[3])
    assert (sx.data.holdout(X, Y, 0.2, seed=4)[3] != parts[3]).nnz
    assert sx.data.holdout(X, Y, 1e-9)[2].shape[0] == 1
    with pytest.raises(ArgumentError, match=r"share=1\.0"):
        sx.data.holdout(X, Y, 1.0)
    with pytest.raises(ArgumentError, match="X has 50 rows and Y has 49"):
        sx.data.holdout(X, Y[:49], 0.5)


X4, Y4 = counts(4, 6).astype(np.float32), counts(4, 3, 1)
WRONG_DATASETS = {
    "rows": (lambda: Dataset(X4, Y4[:3]), ArgumentError, "X has 4 rows and Y has 3"),
    "features": (
        lambda: Dataset(X4, Y4, X_test=X4[:, :5], Y_test=Y4),
        ArgumentError,
        r"X has 6 columns .*X_test has 5",
    ),
    "labels": (lambda: Dataset(X4, Y4, X_test=X4, Y_test=Y4[:, :2]), ArgumentError, r"Y has 3 columns .*Y_test has 2"),
    "half a test": (lambda: Dataset(X4, Y4, X_test=X4), ArgumentError, "X_test and Y_test belong together"),
    "names": (lambda: Dataset(X4, Y4, ["one"]), ArgumentError, "label_names holds 1 names for 3 labels"),
    "NaN": (lambda: Dataset(X4 * np.float32("nan"), Y4), ArgumentError, "X holds NaN"),
    "overflow": (lambda: Dataset(X4.astype(float) * 1e300, Y4), ArgumentError, "beyond float32"),
    "NaN label": (lambda: Dataset(X4, Y4 * np.nan), ArgumentError, "Y holds NaN"),
    "float64": (lambda: Dataset(X4.toarray().astype(float), Y4), DTypeError, "X is an array of float64; .*float32"),
    "complex": (lambda: Dataset(X4.astype(complex), Y4), DTypeError, "X has dtype complex128"),
    "list": (lambda: Dataset([[1.0]], Y4), DTypeError, "X is a list"),
    "dense labels": (lambda: Dataset(X4, Y4.toarray()), DTypeError, "Y is a ndarray; pass a scipy sparse matrix"),
    "order": (lambda: Dataset(np.asfortranarray(X4.toarray()), Y4), ArgumentError, "not C-contiguous"),
}


@pytest.mark.parametrize("case", WRONG_DATASETS)
def test_wrong_datasets(case: str) -> None:
    call, kind, message = WRONG_DATASETS[case]
    with pytest.raises(kind, match=message):
        call()


def damaged(**arrays: object) -> Callable[[Path], None]:
    """Writes X_trn.npz with some arrays of a good matrix replaced, or left out where None."""

    def write(directory: Path) -> None:
        good = {"data": X4.data, "indices": X4.indices, "indptr": X4.indptr, "shape": X4.shape, "format": b"csr"}
        np.savez(directory / "X_trn.npz", **{k: v for k, v in (good | arrays).items() if v is not None})

    return write


def replaced_by_dense(array: np.ndarray) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "X_trn.npz").unlink()
        np.save(directory / "X_trn.npy", array)

    return write


NEGATIVE = X4.indices.copy()
NEGATIVE[0] = -1
FALLING = X4.indptr.copy()
FALLING[1] = 99
WITH_NAN = X4.toarray()
WITH_NAN[2, 1] = np.nan
DAMAGES = {
    "no labels": (lambda d: (d / "Y_trn.npz").unlink(), r"Y_trn\.npz: is missing"),
    "both kinds": (lambda d: np.save(d / "X_trn.npy", WITH_NAN), r"X_trn\.npz: stands beside X_trn\.npy"),
    "truncated": (
        lambda d: (d / "X_trn.npz").write_bytes((d / "X_trn.npz").read_bytes()[:200]),
        r"X_trn\.npz: not a CSR",
    ),
    "empty": (lambda d: (d / "X_trn.npz").write_bytes(b""), r"X_trn\.npz: not a CSR"),
    "pickle": (damaged(data=np.array([object()])), r"X_trn\.npz: .*numbers, booleans and strings"),
    "bsr": (lambda d: sp.save_npz(d / "X_trn.npz", X4.tobsr()), r"bsr format; save matrix\.tocsr\(\)"),
    "other npz": (lambda d: np.savez(d / "X_trn.npz", e=[1]), r"it has no data, .* but e"),
    "key": (damaged(indptr=None), "it has no indptr"),
    "float indices": (damaged(indices=X4.indices.astype(float)), "must be integers"),
    "negative index": (damaged(indices=NEGATIVE), r"X_trn\.npz is damaged|X_trn\.npz: not a CSR"),
    "wide index": (damaged(shape=(4, 2)), r"X_trn\.npz"),
    "indptr": (damaged(indptr=FALLING), r"X_trn\.npz"),
    "NaN": (damaged(data=X4.data * np.nan), r"X_trn\.npz holds NaN"),
    "rows": (lambda d: sp.save_npz(d / "Y_trn.npz", Y4[:3]), "X has 4 rows and Y has 3"),
    "test labels": (lambda d: (sp.save_npz(d / "X_tst.npz", X4), sp.save_npz(d / "Y_tst.npz", Y4[:, :2])), "columns"),
    "names": (lambda d: (d / "labels.txt").write_text("one\n"), "label_names holds 1 names for 3 labels"),
    "instance names": (lambda d: (d / "names.txt").write_text("one\n"), r"names\.txt: holds 1 names for 4 training"),
    "not UTF-8": (lambda d: (d / "labels.txt").write_bytes(b"a\nb\n\xff\n"), r"labels\.txt:3: not UTF-8"),
    "not xz": (lambda d: (d / "labels.txt.xz").write_bytes(b"a\n"), r"labels\.txt\.xz: cannot be read"),
    "dense NaN": (replaced_by_dense(WITH_NAN), r"X_trn\.npy: row 2 holds NaN"),
    "dense float64": (replaced_by_dense(WITH_NAN.astype(float)), r"X_trn\.npy: holds float64; save .*float32"),
    "dense objects": (replaced_by_dense(np.array([[None]])), r"X_trn\.npy: "),
    "dense rank": (replaced_by_dense(np.zeros(3, np.float32)), r"X_trn\.npy: holds no matrix"),
    "dense order": (replaced_by_dense(np.zeros((3, 4), np.float32, order="F")), "column by column"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_directories(case: str, tmp_path: Path) -> None:
    damage, message = DAMAGES[case]
    directory = tmp_path / "set"
    sx.data.save(directory, Dataset(X4, Y4))
    damage(directory)
    with pytest.raises(DataError, match=message) as raised:
        sx.data.load(directory)
    assert str(raised.value).startswith(str(directory))


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"path: no file '.*absent'"):
        sx.data.load(tmp_path / "absent")
    with pytest.raises(ArgumentError, match="holds no training instances; it needs"):
        sx.data.load(tmp_path)
    sx.data.save(tmp_path / "set", Dataset(X4, Y4))
    with pytest.raises(ArgumentError, match="pass the directory with X_trn and Y_trn"):
        sx.data.load(tmp_path / "set" / "X_trn.npz")
    with pytest.raises(ArgumentError, match="a directory holds its own test instances"):
        sx.data.load(tmp_path / "set", test="more.txt")
    with pytest.raises(ArgumentError, match="line break"):
        sx.data.save(tmp_path / "new", Dataset(X4, Y4, ["a", "b\nc", "d"]))
