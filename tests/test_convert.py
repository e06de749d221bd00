"""`sparsexmc convert` and `sparsexmc.data.save`: exact round trips, nothing overwritten, all or nothing."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import failure, run
from sparsexmc.data import Dataset
from sparsexmc.data.store import FORMS


def example() -> Dataset:
    """Values with all bits in use, tiny and huge ones, empty rows, names and filters."""
    rng = np.random.default_rng(4)
    X = sp.random(40, 30, 0.2, "csr", np.float32, rng)
    X.data[:] = rng.integers(0, 2**32, X.nnz, dtype=np.uint32).view(np.float32)
    X.data[~np.isfinite(X.data)] = np.float32(1e-45)
    X.data[:3] = np.float32([3.4028235e38, -1e-38, 0.1])
    Y = sp.random(40, 9, 0.2, "csr", np.float32, rng)
    pairs = sp.random(40, 9, 0.05, "csr", np.float32, rng)
    return Dataset(
        X[:30],
        Y[:30],
        [f"läbel {i}" for i in range(9)],
        X_test=X[30:],
        Y_test=Y[30:],
        instance_names=[f"train {i}" for i in range(30)],
        test_instance_names=[f"test {i}" for i in range(10)],
        filter=pairs[:30],
        filter_test=pairs[30:],
    )


def assert_same(a: Dataset, b: Dataset) -> None:
    for field in ("X", "Y", "X_test", "Y_test", "filter", "filter_test"):
        one, other = getattr(a, field), getattr(b, field)
        assert one.shape == other.shape and one.dtype == other.dtype
        for part in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert (a.label_names, a.instance_names, a.test_instance_names) == (
        b.label_names,
        b.instance_names,
        b.test_instance_names,
    )


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_round_trips_are_exact(tmp_path: Path, first: str, second: str) -> None:
    sx.data.save(tmp_path / "a", example(), form=first)
    assert_same(sx.data.load(tmp_path / "a"), example())
    assert run("convert", tmp_path / "a", tmp_path / "b", "--to", second) == 0
    assert_same(sx.data.load(tmp_path / "b"), example())
    assert run("convert", tmp_path / "b", tmp_path / "c", "--to", first) == 0
    if first != "npz":  # whose archives hold the time
        assert content(tmp_path / "c") == content(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert (tmp_path / "b").stat().st_mode & 0o777 == (tmp_path / "a").stat().st_mode & 0o777 != 0o700


def test_single_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "some_trn.txt").write_text("2 4 3\n0,2 1:0.5 3:2\n 0:1\n")
    (tmp_path / "held.txt").write_text("1 4 3\n1 2:1\n")
    assert run("convert", tmp_path / "some_trn.txt", tmp_path / "set", "--test", tmp_path / "held.txt") == 0
    assert "2 training and 1 test instances" in capsys.readouterr().out
    data = sx.data.load(tmp_path / "set")
    assert data.X.toarray().tolist() == [[0, 0.5, 0, 2], [1, 0, 0, 0]] and data.Y_test.toarray().tolist() == [[0, 1, 0]]
    assert run("convert", tmp_path / "set", tmp_path / "pair", "--to", "text-pair") == 0
    assert run("convert", tmp_path / "pair" / "trn_X_Xf.txt", tmp_path / "again") == 0
    assert (sx.data.load(tmp_path / "again").X != data.X).nnz == 0


def test_dense_features_stay_dense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float16)
    sx.data.save(tmp_path / "dense", Dataset(X, sp.csr_matrix(np.eye(6))))
    assert run("convert", tmp_path / "dense", tmp_path / "copy") == 0
    copy = sx.data.load(tmp_path / "copy").X
    assert copy.dtype == np.float16
    np.testing.assert_array_equal(copy, X)
    for form in ("text", "text-pair"):
        error = failure(capsys, "convert", tmp_path / "dense", tmp_path / "text", "--to", form)
        assert "X is dense, and the text forms hold sparse features" in error
    assert not (tmp_path / "text").exists()


def test_nothing_is_overwritten_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sx.data.save(tmp_path / "source", example(), form="text")
    sx.data.save(tmp_path / "old", Dataset(example().X, example().Y))
    before = content(tmp_path / "old")
    assert "exists; name a new directory" in failure(capsys, "convert", tmp_path / "source", tmp_path / "old")
    assert content(tmp_path / "old") == before
    assert run("convert", tmp_path / "source", tmp_path / "old", "--force") == 0
    assert_same(sx.data.load(tmp_path / "old"), example())
    assert run("convert", tmp_path / "old", tmp_path / "old", "--to", "text", "--force") == 0  # even itself
    assert_same(sx.data.load(tmp_path / "old"), example())

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("precious")
    error = failure(capsys, "convert", tmp_path / "source", tmp_path / "home", "--force")
    assert "holds thesis.tex, which is no part of a data set" in error
    (tmp_path / "file").write_text("precious")
    assert "is no directory" in failure(capsys, "convert", tmp_path / "source", tmp_path / "file", "--force")
    (tmp_path / "link").symlink_to(tmp_path / "old")
    assert "is no directory" in failure(capsys, "convert", tmp_path / "source", tmp_path / "link", "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "home", "link", "old", "source"]


def test_damaged_sources_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sx.data.save(tmp_path / "source", example(), form="text")
    target = tmp_path / "target"
    whole = (tmp_path / "source" / "test.txt").read_bytes()
    (tmp_path / "source" / "test.txt").write_bytes(whole[: len(whole) // 2])
    assert "test.txt:" in failure(capsys, "convert", tmp_path / "source", target)
    (tmp_path / "source" / "test.txt").write_bytes(whole.replace(b":", b";", 1))
    assert "test.txt:2" in failure(capsys, "convert", tmp_path / "source", target)
    (tmp_path / "source" / "test.txt").write_bytes(whole)
    (tmp_path / "source" / "labels.txt").write_bytes(b"one\n\xff\n")
    assert "labels.txt:2: not UTF-8" in failure(capsys, "convert", tmp_path / "source", target)
    assert "no such file" in failure(capsys, "convert", tmp_path / "absent", target)
    (tmp_path / "raw.jsonl").write_text('{"text": "a", "labels": []}\n')
    assert "holds raw texts" in failure(capsys, "convert", tmp_path / "raw.jsonl", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw.jsonl", "source"]


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_leaves_the_old_data(tmp_path: Path, form: str) -> None:
    """Files may grow to 1 KiB, which the features pass."""
    sx.data.save(tmp_path / "source", example())
    sx.data.save(tmp_path / "target", Dataset(example().X[:2, :3], example().Y[:2]))
    before = content(tmp_path / "target")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))

    command = [sys.executable, "-B", "-m", "sparsexmc", "convert", "source", "target", "--to", form, "--force"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert process.returncode == 2, process.stderr
    assert "target" in process.stderr and "File too large" in process.stderr and "Traceback" not in process.stderr
    assert content(tmp_path / "target") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    sx.data.save(tmp_path / "target", example())
    before = content(tmp_path / "target")

    def interrupted(*_: object) -> None:
        raise error

    monkeypatch.setattr("sparsexmc.data.store.write_names", interrupted)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else sx.Error):
        sx.data.save(tmp_path / "target", example(), form="text", overwrite=True)
    assert content(tmp_path / "target") == before
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_data_that_a_killed_process_set_aside_come_back(tmp_path: Path) -> None:
    """On file systems that cannot exchange two names the old directory has another for a moment."""
    sx.data.save(tmp_path / "target", example())
    before = content(tmp_path / "target")
    (tmp_path / "target").rename(tmp_path / "target.sparsexmc-old")
    with pytest.raises(sx.ArgumentError, match="exists; name a new directory"):
        sx.data.save(tmp_path / "target", example(), form="text")
    assert content(tmp_path / "target") == before
    (tmp_path / "target").rename(tmp_path / "target.sparsexmc-old")
    sx.data.save(tmp_path / "target", example(), form="text", overwrite=True)
    assert_same(sx.data.load(tmp_path / "target"), example())
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_wrong_arguments_of_save(tmp_path: Path) -> None:
    with pytest.raises(sx.ArgumentError, match="form='csv' is not known; use one of 'npz', 'text', 'text-pair'"):
        sx.data.save(tmp_path / "set", example(), form="csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(sx.ArgumentError, match=r"cannot make the directory .*; name another place"):
        sx.data.save(tmp_path / "file" / "set", example())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
