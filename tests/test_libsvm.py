"""LIBSVM's text files, which have no header, and packed text files of features."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, make_split, run
from sparsexmc.errors import ArgumentError, DataError

ROWS = "0,2 1:0.5 4:2 # a comment\n\n 3:1\n1\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rows_without_a_header(tmp_path: Path) -> None:
    for name, mark in (("a.txt", ""), ("a.svm", "\ufeff"), ("a.libsvm", "\n")):
        data = sx.data.load(written(tmp_path / name, mark + ROWS))
        assert data.X.toarray().tolist() == [[0, 0.5, 0, 0, 2], [0, 0, 0, 1, 0], [0] * 5]
        assert data.Y.toarray().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    data = sx.data.load(written(tmp_path / "one.svm", ROWS.replace("0,2", "1,2")), index_base=1)
    assert data.X.shape == (3, 4) and data.X[0, 3] == 2
    assert data.Y.toarray().tolist() == [[1, 1], [0, 0], [1, 0]]
    data = sx.data.load(tmp_path / "a.svm", num_features=2, num_labels=7)
    assert data.X.toarray().tolist() == [[0, 0.5], [0, 0], [0, 0]] and data.Y.shape == (3, 7)


def test_training_and_test_instances_are_equally_wide(tmp_path: Path) -> None:
    written(tmp_path / "train.svm", ROWS)
    written(tmp_path / "test.svm", "5 7:1\n")
    for data in (sx.data.load(tmp_path), sx.data.load(tmp_path / "train.svm", test=tmp_path / "test.svm")):
        assert data.X.shape == (3, 8) and data.X_test.shape == (1, 8) and data.Y_test.shape == (1, 6)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, r"a\.svm:1: the file holds no row"),
        ("0 1:1\n0 x:1\n", {}, r"a\.svm:2: expected the number of a feature at 'x:1'"),
        ("0 0:1\n", {"index_base": 1}, r"a\.svm:1: label 0 is out of range: numbers count from 1"),
        ("1 0:1\n", {"index_base": 1}, r"a\.svm:1: feature 0 is out of range: numbers count from 1"),
        ("+1 1:1\n", {}, r"expected the number of a label at '\+1'"),
        ("-1 1:1\n", {}, r"label -1 is out of range"),
        ("1 qid:3 1:1\n", {}, r"expected the number of a feature at 'qid:3"),
        ("1 2147483647:1\n", {}, r"feature 2147483647 is out of range: .* at most 2147483647 are supported"),
    ],
)
def test_bad_rows(text: str, options: dict[str, int], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        sx.data.load(written(tmp_path / "a.svm", text), **options)


def test_wrong_arguments(tmp_path: Path) -> None:
    file = written(tmp_path / "a.svm", ROWS)
    for options in ({"index_base": 2}, {"num_features": -1}, {"num_labels": 1.5}):
        with pytest.raises(ArgumentError, match=r"=.* must be"):
            sx.data.load(file, **options)


@pytest.mark.parametrize("ending", [".gz", ".xz"])
def test_packed_files_read_like_plain_ones(ending: str, tmp_path: Path) -> None:
    X, Y = make_split(3000, 1)
    pairs = sp.csr_matrix(([1.0], ([2], [3])), shape=Y.shape)
    dataset = sx.data.Dataset(X, Y, [f"label {i}" for i in range(Y.shape[1])], filter=pairs)
    for form in ("text", "text-pair"):
        sx.data.save(tmp_path / form, dataset, form=form)
        for file in (tmp_path / form).iterdir():
            pack = gzip.compress if ending == ".gz" else lzma.compress
            file.with_name(file.name + ending).write_bytes(pack(file.read_bytes()))
            file.unlink()
        read = sx.data.load(tmp_path / form)
        assert (read.X != X).nnz == 0 and (read.Y != Y).nnz == 0 and (read.filter != pairs).nnz == 0
        assert read.label_names == dataset.label_names
    whole = (tmp_path / "text" / f"train.txt{ending}").read_bytes()
    (tmp_path / f"cut.txt{ending}").write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"cut\.txt\.\wz: cannot be read"):
        sx.data.load(tmp_path / f"cut.txt{ending}")


@pytest.mark.parametrize("form", ["csc", "coo"])
def test_arrays_in_other_sparse_formats(form: str, tmp_path: Path) -> None:
    X, Y = make_split(30, 1)
    sp.save_npz(tmp_path / "X_trn.npz", X.asformat(form))
    sp.save_npz(tmp_path / "Y_trn.npz", Y.asformat(form))
    data = sx.data.load(tmp_path)
    assert (data.X != X).nnz == 0 and (data.Y != Y).nnz == 0
    sp.save_npz(tmp_path / "X_trn.npz", X.asformat("bsr"))
    with pytest.raises(DataError, match=r"in bsr format; save matrix\.tocsr\(\)"):
        sx.data.load(tmp_path)


def test_a_model_reads_files_of_its_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of few instances names few features and labels, and may name features that training never saw."""
    X, Y = make_split(200, 0)
    lines = [
        ",".join(map(str, y.indices)) + "".join(f" {c}:{v:g}" for c, v in zip(x.indices, x.data, strict=True))
        for x, y in zip(X, Y, strict=True)
    ]
    train = written(tmp_path / "train.svm", "\n".join(lines) + "\n")
    new = written(tmp_path / "new.svm", f"{lines[0]} 9999:1\n{lines[1]}\n")
    options = ("--set", "model.hidden=32", "--set", "model.optimizer.lr=0.05", "--epochs", "1_0", "--no-progress")
    assert run("train", train, "-o", tmp_path / "m", *options) == 0
    assert run("evaluate", tmp_path / "m", new, "--train", train) == 0
    assert "2 instances" in capsys.readouterr().out
    assert run("predict", tmp_path / "m", new, "-k", 1) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    model = sx.load(tmp_path / "m")
    assert isinstance(model, sx.Model) and model.evaluate(new, cutoffs=[1])["P"][1] >= 0
    assert "first_number=7" in failure(capsys, "predict", tmp_path / "m", new, "--index-base", 7)


def test_strided_arrays() -> None:
    """CSR whose arrays are fields of structures, as of a record array."""
    records = np.zeros(6, dtype=[("i", np.int32), ("v", np.float32)])
    records["i"], records["v"] = [0, 1, 2, 0, 1, 2], range(1, 7)
    X = sp.csr_matrix((records["v"], records["i"], np.array([0, 3, 6])), shape=(2, 3))
    plain = sp.csr_matrix(X.toarray())
    Y = sp.csr_matrix(np.eye(2, 4, dtype=np.float32))
    classifier = sx.Classifier(3, 4, hidden=8, sparse_input=True, fan_in=None, rewiring=None)
    for form in (X, sx.data.Dataset(X, Y).X):
        np.testing.assert_array_equal(classifier.topk(form, 2)[0], classifier.topk(plain, 2)[0])
    assert classifier.train_step(X, Y).loss > 0
    assert sx.Linear(X, Y).topk(X, 1)[1].tolist() == sx.Linear(plain, Y).topk(plain, 1)[1].tolist()
