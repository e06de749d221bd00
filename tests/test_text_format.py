"""The text files of the extreme-classification repository: reading, writing, round trips, and every complaint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsexmc as sx
from sparsexmc.errors import ArgumentError, DataError, DTypeError


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_every_kind_of_row(tmp_path: Path) -> None:
    text = "6 5 4\n1,3 0:1 4:0.5\n 2:1e-3\n2\n \n\n3,0,3\t1:+2 0:-.5 1:3 \n"
    for ending in ("\n", "\r\n"):
        data = sx.data.load(written(tmp_path / "a.txt", text.replace("\n", ending)))
        expected = np.zeros((6, 5), np.float32)
        expected[0, [0, 4]] = 1, 0.5
        expected[1, 2] = 1e-3
        expected[5, [0, 1]] = -0.5, 5  # sorted, duplicates added
        np.testing.assert_array_equal(data.X.toarray(), expected)
        assert [row.indices.tolist() for row in data.Y] == [[1, 3], [], [2], [], [], [0, 3]]
        assert data.Y.shape == (6, 4) and data.Y.data.tolist() == [1.0] * 5
        assert data.X.has_canonical_format and data.X.dtype == np.float32


@pytest.mark.parametrize("text", ["1 3 2\n1 0:1", "1 3 2 \n1 0:1\n\n  \n", "0 3 2\n", "0 3 2"])
def test_ends_of_files(tmp_path: Path, text: str) -> None:
    data = sx.data.load(written(tmp_path / "a.txt", text))
    assert data.X.shape == (int(text[0]), 3) and data.X.nnz == int(text[0])


def test_numbers_at_the_edge_of_fp32(tmp_path: Path) -> None:
    values = ["3.4028234e38", "-3.4028234e38", "1e-45", "1e-60", "0", "-0.0", "16777217", "1.17549435e-38"]
    row = " ".join(f"{i}:{v}" for i, v in enumerate(values))
    data = sx.data.load(written(tmp_path / "a.txt", f"1 {len(values)} 1\n {row}\n"))
    np.testing.assert_array_equal(data.X.toarray()[0], np.array([float(v) for v in values]).astype(np.float32))


def test_two_file_form(tmp_path: Path) -> None:
    features = written(tmp_path / "trn_X_Xf.txt", "3 4\n0:1 3:2.5\n\n1:1\n")
    labels = written(tmp_path / "trn_X_Y.txt", "3 2\n\n1:1.0 0:0\n0:1 1:1\n")
    for source in ((features, labels), features, tmp_path):
        data = sx.data.load(source)
        assert data.X.toarray().tolist() == [[1, 0, 0, 2.5], [0, 0, 0, 0], [0, 1, 0, 0]]
        assert data.Y.toarray().tolist() == [[0, 0], [0, 1], [1, 1]]
    with pytest.raises(DataError, match=r"short_X_Y\.txt:1: announces 2 rows, but .* 3"):
        sx.data.load((features, written(tmp_path / "short_X_Y.txt", "2 2\n\n\n")))
    with pytest.raises(ArgumentError, match=r"no file '.*tst_X_Y\.txt'"):
        sx.data.load(written(tmp_path / "tst_X_Xf.txt", "1 4\n\n"))
    with pytest.raises(ArgumentError, match=r"a pair is \(features, labels\)"):
        sx.data.load((features,))


@pytest.mark.parametrize("names", [("train.txt", "test.txt"), ("eurlex_trn.txt", "eurlex_tst.txt")])
def test_directory_of_text_files(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, rows in zip(names, (2, 1), strict=True):
        written(tmp_path / name, f"{rows} 3 2\n" + "1 2:1\n" * rows)
    data = sx.data.load(tmp_path)
    assert data.X.shape == (2, 3) and data.X_test.shape == (1, 3)
    same = sx.data.load(tmp_path / names[0], test=tmp_path / names[1])
    assert (same.X_test != data.X_test).nnz == 0 and same.name == names[0]
    written(tmp_path / names[1], "1 3 9\n1 2:1\n")
    with pytest.raises(DataError, match=r"Y has 2 columns \(labels\) and Y_test has 9"):
        sx.data.load(tmp_path)
    written(tmp_path / "more_train.txt", "")
    with pytest.raises(ArgumentError, match=r"several training files: .*more_train\.txt"):
        sx.data.load(tmp_path)


ONE_FILE = {
    "": (1, "the file is empty"),
    "3 4\n": (1, "bad header '3 4': expected 'instances features labels'; two numbers begin the two-file form"),
    "3 4 x\n": (1, "bad header: 'x' is not a count"),
    "3 -4 2\n": (1, "bad header: '-4' is not a count"),
    "3 4 2 1\n": (1, "bad header"),
    "1 4 3000000000\n": (1, "at most 2147483647"),
    "2 4 2\n1 0:1\n": (2, "announces 2 rows, but the file ends after 1"),
    "1 4 2\n1 0:1\n\n0 0:1\n": (4, "announces 1 rows, but here is one more"),
    "1 4 2\n1 4:1\n": (2, "feature 4 is out of range: the header announces 4.*subtract 1"),
    "1 4 2\n1 -1:1\n": (2, "feature -1 is out of range"),
    "1 4 2\n1 99999999999999999999:1\n": (2, "feature 99999999999999999999 is out of range"),
    "2 4 2\n1 0:1\n2 0:1\n": (3, "label 2 is out of range"),
    "1 4 2\n1 0:abc\n": (2, "the value in '0:abc' is not a number"),
    "1 4 2\n1 0: 1:1\n": (2, "the value in '0:' is not a number"),
    "1 4 2\n1 0:nan\n": (2, "the value in '0:nan' is not a finite fp32 number"),
    "1 4 2\n1 0:-inf\n": (2, "not a finite"),
    "1 4 2\n1 0:1e39\n": (2, "not a finite"),
    "1 4 2\n1 0:1e999\n": (2, "not a finite"),
    "1 4 2\n1 0:3e38 0:3e38\n": (2, "values of feature 0 add up beyond fp32"),
    "1 4 2\n1 0:1 2\n": (2, "missing colon in '2'"),
    "1 4 2\n1 0:1x 2:1\n": (2, "trailing text 'x' in '0:1x'"),
    "1 4 2\n1 0:1:2\n": (2, "trailing text ':2' in '0:1:2'"),
    "1 4 2\n1 a:1\n": (2, "expected the number of a feature at 'a:1'"),
    "1 4 2\n0:1 1:1\n": (2, "expected labels at '0:1', but it has a colon; a row without labels begins with a blank"),
    "1 4 2\n1, 0:1\n": (2, "expected the number of a label"),
    "1 4 2\n0;1 0:1\n": (2, "trailing text ';1' in labels '0;1'"),
    "1 4 2\n1.0 0:1\n": (2, "trailing text '.0'"),
    "1 4 2\n1 0:1\x00\x01\n": (2, r"trailing text '\?\?'"),
    "1 4 2\n1 " + "9" * 100 + "x\n": (2, r"feature 9+ is out of range"),
}


@pytest.mark.parametrize("text", ONE_FILE)
def test_complaints_carry_file_and_line(tmp_path: Path, text: str) -> None:
    line, message = ONE_FILE[text]
    path = written(tmp_path / "bad.txt", text)
    with pytest.raises(DataError, match=message) as raised:
        sx.data.load(path)
    assert str(raised.value).startswith(f"{path}:{line}: ")


def test_complaints_about_pairs(tmp_path: Path) -> None:
    good = written(tmp_path / "good.txt", "1 2\n0:1\n")
    for text, message in {
        "1 2 3\n0:1\n": "bad.txt:1: bad header '1 2 3': expected 'rows cols'; three numbers begin the one-file form",
        "1 2\n2:1\n": "bad.txt:2: (feature|label) 2 is out of range",
        "1 2\n1\n": "bad.txt:2: missing colon",
    }.items():
        bad = written(tmp_path / "bad.txt", text)
        for pair in ((bad, good), (good, bad)):
            with pytest.raises(DataError, match=message):
                sx.data.load(pair)


def test_a_lying_header_takes_no_memory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="announces 9223372036854775807 rows, but the file ends after 1"):
        sx.data.load(written(tmp_path / "a.txt", f"{2**63 - 1} {2**31 - 1} {2**31 - 1}\n0 1:1\n"))


def test_lines_longer_than_the_buffer(tmp_path: Path) -> None:
    columns = 700_000
    row = " ".join(f"{i}:1" for i in range(columns))
    data = sx.data.load(written(tmp_path / "a.txt", f"3 {columns} 1\n {row}\n0 5:2\n {row}\n"))
    assert np.diff(data.X.indptr).tolist() == [columns, 1, columns] and data.X[1, 5] == 2
    assert (data.X[2] != data.X[0]).nnz == 0


def test_filter_files(tmp_path: Path) -> None:
    path = written(tmp_path / "filter.txt", "2 1\n0 3\r\n\n2 0\n2 1\n")
    found = sx.data.read_filter(path, 3, 4)
    assert found.shape == (3, 4) and found.toarray().tolist() == [[0, 0, 0, 1], [0] * 4, [1, 1, 0, 0]]
    for text, message in {
        "0 1\n3 0\n": ":2: row 3 is out of range",
        "0 4\n": ":1: label 4 is out of range",
        "0\n": ":1: expected a pair",
        "0 x\n": ":1: expected the number of a label",
        "0 1 2\n": ":1: trailing text",
        "a b\n": ":1: expected a pair",
    }.items():
        with pytest.raises(DataError, match=message):
            sx.data.read_filter(written(path, text), 3, 4)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    n, d, labels = draw(st.integers(0, 6)), draw(st.integers(1, 9)), draw(st.integers(1, 7))
    X = sp.lil_matrix((n, d), dtype=np.float32)
    Y = sp.lil_matrix((n, labels), dtype=np.float32)
    value = st.floats(width=32, allow_nan=False, allow_infinity=False).filter(bool)
    for row in range(n):
        for column, number in draw(st.dictionaries(st.integers(0, d - 1), value, max_size=5)).items():
            X[row, column] = number
        for label in draw(st.sets(st.integers(0, labels - 1), max_size=4)):
            Y[row, label] = 1
    return X.tocsr(), Y.tocsr()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(data_sets())
def test_round_trips_are_exact(tmp_path_factory: pytest.TempPathFactory, data: tuple) -> None:
    X, Y = data
    folder = tmp_path_factory.mktemp("round")
    sx.data.save_text(folder / "one.txt", X, Y)
    sx.data.save_text_pair(folder / "a_X_Xf.txt", folder / "a_X_Y.txt", X, Y)
    for source in (folder / "one.txt", folder / "a_X_Xf.txt"):
        loaded = sx.data.load(source)
        for found, expected in ((loaded.X, X), (loaded.Y, Y)):
            assert found.shape == expected.shape
            np.testing.assert_array_equal(found.indptr, expected.indptr)
            np.testing.assert_array_equal(found.indices, expected.indices)
            assert found.data.tobytes() == expected.data.tobytes()


def test_writers_refuse(tmp_path: Path) -> None:
    X, Y = sp.csr_matrix(np.eye(2, dtype=np.float32)), sp.csr_matrix(np.eye(2))
    with pytest.raises(ArgumentError, match=r"path: cannot write '.*absent.*': No such file or directory"):
        sx.data.save_text(tmp_path / "absent" / "a.txt", X, Y)
    with pytest.raises(ArgumentError, match="labels have 1 rows and features 2"):
        sx.data.save_text(tmp_path / "a.txt", X, Y[:1])
    with pytest.raises(DTypeError, match=r"X is dense, .*use sparsexmc\.data\.save"):
        sx.data.save_text(tmp_path / "a.txt", X.toarray(), Y)
    with pytest.raises(ArgumentError, match="X holds NaN"):
        sx.data.save_text(tmp_path / "a.txt", X * np.float32("nan"), Y)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_reported() -> None:
    X = sp.csr_matrix(np.eye(2, dtype=np.float32))
    with pytest.raises(sx.errors.Error, match="writing '/dev/full' failed, the file is incomplete: No space left"):
        sx.data.save_text("/dev/full", X, X)
