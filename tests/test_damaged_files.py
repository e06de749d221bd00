"""Files that are damaged, forged or no files at all: at once an error of the library that names them, or a good result.

`python tests/fuzz/readers.py` does the same at any count.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import signal
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from fuzz import readers
from sparsexmc import data as D
from sparsexmc._npz import NpzReader
from sparsexmc.data.arrays import read_csr
from sparsexmc.model import toml

DAMAGES = 12  # of every reader
NAMES = (
    "npz features", "npz labels", "npy", "text", "two-file features", "two-file labels", "filter", "labels.txt",
    "labels.txt.xz", "jsonl", "jsonl.gz", "tsv", "csv", "repository's texts", "fastText", "libsvm", "text, packed",
    "config.json", "model.safetensors", "optimizer.safetensors",
    "labels.txt of a model", "run.toml", "vocabulary.json", "features.npz", "calibration.npz", "linear.npz",
    "neighbors.npz", "neighbors.npz, hidden", "Linear.load", "Neighbors.load", "Neighbors.load, hidden", "toml",
)  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, readers.Reader]:
    return readers.make(tmp_path_factory.mktemp("good"))


@pytest.fixture
def within_seconds() -> Iterator[None]:
    """Ends a test that waits for the writer of a pipe."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_every_reader_is_tested(good: dict[str, readers.Reader]) -> None:
    assert set(good) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_or_harmless(good: dict[str, readers.Reader], name: str, tmp_path: Path) -> None:
    good[name].read(good[name].folder)  # what is whole is accepted
    counts, faults = readers.in_children(name, good[name], range(DAMAGES), tmp_path / "damaged")
    assert faults == []
    assert counts["refused"] > 0


@pytest.mark.parametrize("kind", ["pipe", "directory", "device"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("within_seconds")
def test_what_is_no_file_is_refused(good: dict[str, readers.Reader], name: str, kind: str, tmp_path: Path) -> None:
    reader, folder = good[name], tmp_path / "copy"
    shutil.copytree(reader.folder, folder)
    file = folder / reader.file
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "directory":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises((sx.Error, OSError), match=reader.file.replace(".", r"\.") if kind != "directory" else None):
        reader.read(folder)


# ---- CSR arrays whose offsets end in 0 but are larger inside, which scipy takes for an empty matrix ----


def hollow(rows: int, columns: int, form: str = "csr") -> Any:
    matrix = sp.random(rows, columns, 0.3, format=form, dtype=np.float32, rng=np.random.default_rng(0))
    matrix.indptr = np.zeros(len(matrix.indptr), np.int32)
    matrix.indptr[1:4] = 4, 3_000_000, 6_000_000
    return matrix


X = sp.random(20, 30, 0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(1))
Y = sp.random(20, 12, 0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(2))
IDS = np.zeros((20, 5), np.int64)


def classifier() -> sx.Classifier:
    return sx.Classifier(30, 12, hidden=8, sparse_input=True, fan_in=None, rewiring=None, num_threads=1, batch_size=20)


USES: dict[str, Callable[[Path], object]] = {
    "Dataset, X": lambda _: D.Dataset(hollow(20, 30), Y),
    "Dataset, Y": lambda _: D.Dataset(X, hollow(20, 12)),
    "Dataset, CSC": lambda _: D.Dataset(hollow(20, 30, "csc"), Y),
    "Dataset, filter": lambda _: D.Dataset(X, Y, filter=hollow(20, 12)),
    "save_text": lambda place: D.save_text(place / "x.txt", hollow(20, 30), Y),
    "TfIdf": lambda _: D.TfIdf.fit(hollow(20, 30)),
    "holdout": lambda _: D.holdout(hollow(20, 30), Y, 0.5),
    "Linear, X": lambda _: sx.Linear(hollow(20, 30), Y),
    "Linear, Y": lambda _: sx.Linear(X, hollow(20, 12)),
    "Neighbors, X": lambda _: sx.Neighbors(hollow(20, 30), Y),
    "Neighbors, Y": lambda _: sx.Neighbors(X, hollow(20, 12)),
    "Linear.topk": lambda _: sx.Linear(X, Y).topk(hollow(20, 30), 2),
    "Neighbors.search": lambda _: sx.Neighbors(X, Y).search(hollow(20, 30)),
    "Ensemble.topk": lambda _: sx.Ensemble(None, linear=sx.Linear(X, Y)).topk(hollow(20, 30), 2),
    "Ensemble.tune": lambda _: sx.Ensemble(None, linear=sx.Linear(X, Y)).tune(hollow(20, 30), Y),
    "cluster_labels, X": lambda _: sx.cluster_labels(hollow(20, 30), Y, 4),
    "cluster_labels, Y": lambda _: sx.cluster_labels(X, hollow(20, 12), 4),
    "train_step, X": lambda _: classifier().train_step(hollow(20, 30), Y),
    "train_step, Y": lambda _: classifier().train_step(X, hollow(20, 12)),
    "fit, X": lambda _: classifier().fit(hollow(20, 30), Y, 1, progress=False),
    "fit, Y": lambda _: classifier().fit(X, hollow(20, 12), 1, progress=False),
    "topk": lambda _: classifier().topk(hollow(20, 30), 2),
    "topk, filter": lambda _: classifier().topk(X, 2, filter=hollow(20, 12)),
    "Model.topk": lambda _: sx.Model(classifier()).topk(hollow(20, 30), 2),
    "precision_at_k": lambda _: sx.metrics.precision_at_k(IDS, hollow(20, 12), 1),
    "propensities": lambda _: sx.metrics.propensities(hollow(20, 12)),
}


@pytest.mark.parametrize("use", USES)
def test_hollow_matrices_are_refused(use: str, tmp_path: Path) -> None:
    with pytest.raises(sx.ArgumentError, match="indptr"):
        USES[use](tmp_path)


def test_a_stored_zero_does_not_open_the_way() -> None:
    labels = hollow(20, 12)
    labels.data[0] = 0
    with pytest.raises(sx.ArgumentError, match="indptr"):
        classifier().train_step(X, labels)


def damaged_coo() -> sp.coo_matrix:
    matrix = X.tocoo()
    matrix.row[0] = 10**6
    return matrix


def damaged_bsr() -> sp.bsr_matrix:
    matrix = sp.bsr_matrix(X, blocksize=(2, 3))
    matrix.indices[0] = 10**6
    return matrix


@pytest.mark.parametrize("make", [damaged_coo, damaged_bsr])
def test_other_formats_are_checked_before_scipy_converts_them(make: Callable[[], Any]) -> None:
    with pytest.raises(sx.ArgumentError, match="holds index 1000000"):
        sx.Linear(make(), Y)


def test_arrays_may_be_longer_than_the_entries() -> None:
    longer = X.copy()
    longer.data, longer.indices = np.append(X.data, [np.nan, 1]), np.append(X.indices, [7, 2**31 - 1])
    longer.data, longer.indices = longer.data.astype(np.float32), longer.indices.astype(np.int32)
    a, b = classifier(), classifier()
    assert a.train_step(longer, Y).loss == b.train_step(X, Y).loss
    np.testing.assert_array_equal(a.topk(longer, 3)[1], a.topk(X, 3)[1])


# ---- files that claim too much ----


def header(shape: str, descr: str = "'<f4'") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write_npz(path: Path, **members: bytes) -> Path:
    whole = {
        "data": npy(np.ones(3, np.float32)), "indices": npy(np.array([0, 1, 2], np.int32)),
        "indptr": npy(np.array([0, 3], np.int32)), "format": npy(np.array(b"csr")), "shape": npy(np.array([1, 5])),
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (whole | members).items():
            archive.writestr(name + ".npy", content)
    return path


CLAIMS: dict[str, tuple[dict[str, bytes], str]] = {
    "values": ({"data": header(f"({2**40},)")}, "data has shape"),
    "zeros": ({"data": header(f"({2**22},)") + bytes(2**24)}, "data has shape"),
    "rows": ({"shape": npy(np.array([10**12, 5]))}, "indptr has shape"),
    "columns": ({"shape": npy(np.array([1, 2**40]))}, "at most 2147483647 columns"),
    "entries": ({"indptr": npy(np.array([0, 6]))}, "6 entries in 1 rows of 5"),
    "falls": ({"shape": npy(np.array([2, 5])), "indptr": npy(np.array([0, 7, 0]))}, "indptr decreases"),
    "negative": ({"shape": npy(np.array([-1, 5]))}, "shape is"),
    "objects": ({"data": header("(1,)", "'|O'")}, "numbers, booleans and strings"),
    "code": ({"data": header("(3,)", "__import__('os').getpid()")}, "header is damaged"),
    "nested": ({"data": header("(" * 30 + ")" * 30)}, "header is damaged"),
    "unsigned": ({"indptr": npy(np.array([0, 2**64 - 1], np.uint64))}, "entries in"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_are_held_against_the_rest_of_the_file(claim: str, tmp_path: Path) -> None:
    members, message = CLAIMS[claim]
    path = write_npz(tmp_path / "X.npz", **members)
    with pytest.raises(sx.DataError, match=f"^{path}: .*{message}"):
        read_csr(path)


def test_an_archive_unpacks_to_a_multiple_of_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsexmc._npz._UNPACKED", 1000)
    path = write_npz(tmp_path / "X.npz", data=npy(np.zeros(10**6)))
    with open(path, "rb") as file, NpzReader(file, compressed=True) as arrays:
        assert len(arrays.read("indices")) == 3
        with pytest.raises(ValueError, match="unpacks to more"):
            arrays.read("data")


def test_encrypted_and_foreign_archives_are_data_errors(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "X.npz")
    for offset, byte in ((6, 1), (8, 99)):  # flags: encrypted; an unknown way of compression
        content = bytearray(path.read_bytes())
        for place in range(len(content)):
            if content[place : place + 4] == b"PK\x03\x04":
                content[place + offset] = byte
            elif content[place : place + 4] == b"PK\x01\x02":
                content[place + offset + 2] = byte
        (tmp_path / "Y.npz").write_bytes(content)
        with pytest.raises(sx.DataError, match=r"Y\.npz"):
            read_csr(tmp_path / "Y.npz")


def test_names_unpack_to_as_many_as_are_needed(tmp_path: Path) -> None:
    for content, message in ((bytes(2**24), "a name of more than"), (b"a\n" * 2**22, "holds more than the 12 names")):
        D.save(tmp_path / "set", D.Dataset(X, Y), overwrite=True)
        (tmp_path / "set/labels.txt.xz").write_bytes(lzma.compress(content))
        with pytest.raises(sx.DataError, match=message):
            D.load(tmp_path / "set")
        (tmp_path / "set/labels.txt.xz").unlink()


def test_a_wide_npy_without_columns_is_refused_at_once(tmp_path: Path) -> None:
    D.save(tmp_path / "set", D.Dataset(X.toarray(), Y))
    (tmp_path / "set/X_trn.npy").write_bytes(header(f"({2**40}, 0)"))
    with pytest.raises(sx.DataError, match=r"X_trn\.npy: holds no matrix"):
        D.load(tmp_path / "set")


def test_deep_nesting_and_long_numbers_are_typed_errors(tmp_path: Path) -> None:
    for text in ("a = " + "[" * 100_000, "a = " + "9" * 5000, "a = 1979-99-99"):
        with pytest.raises(sx.ArgumentError, match=r"run\.toml: not valid TOML"):
            toml.parse(text, "run.toml")
    with pytest.raises(sx.DataError, match="not a vocabulary"):
        D.TextVectorizer.from_json("[" * 200_000)
    for labels in ("[" * 200_000, "[" * 900 + "]" * 900, "9" * 5000):
        (tmp_path / "t.jsonl").write_text(f'{{"text": "a", "labels": {{"x": {labels}}}}}\n')
        with pytest.raises(sx.DataError, match=r"t\.jsonl:1"):
            D.load_texts(tmp_path / "t.jsonl")
    with pytest.raises(sx.ArgumentError, match="token_pattern"):
        D.TextVectorizer(("a",), token_pattern="a{99999999999999999999}")


def test_many_rewirings_are_read_in_a_time_that_grows_with_their_number(tmp_path: Path) -> None:
    from fuzz.damage import write_manifest

    classifier().save(tmp_path / "model")
    document = json.loads((tmp_path / "model/config.json").read_text())
    record = {"step": 1, "segment": 0, "changed": 1, "score_dropped": 1, "score_grown": 1}
    document["progress"]["rewirings"] = [record] * 100_000  # took minutes when it grew with the square
    write_manifest(tmp_path / "model", document)
    assert len(sx.load(tmp_path / "model").rewirings) == 100_000
    document["progress"]["rewirings"] = [[1] * 6] * 1_300_000
    write_manifest(tmp_path / "model", document)
    with pytest.raises(sx.CheckpointError, match="values"):
        sx.load(tmp_path / "model")
