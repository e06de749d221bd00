"""Files that appear whole or not at all, under names that nobody can plant; `.npz` files that claim too much."""

from __future__ import annotations

import fcntl
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sparsexmc._files import atomic_file
from sparsexmc._npz import read_arrays


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_at_the_end_of_the_block(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for content in (b"first", b"second"):
        with atomic_file(target) as file:
            file.write(content)
            assert not target.exists() or target.read_bytes() == b"first"
            assert len(set(names(tmp_path)) - {"file"}) == 1
        assert target.read_bytes() == content
        assert names(tmp_path) == ["file"]
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as file:
        file.write(b"third")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"second"
    assert names(tmp_path) == ["file"]
    assert target.stat().st_mode & 0o777 == (tmp_path / "file").stat().st_mode & 0o777 != 0o600


def test_links_are_replaced_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    for name in ("file", "file.tmp", ".file.tmp"):
        (tmp_path / name).symlink_to(tmp_path / "outside")
    with atomic_file(tmp_path / "file") as file:
        file.write(b"content")
    assert (tmp_path / "outside").read_text() == "precious"
    assert (tmp_path / "file").read_text() == "content" and not (tmp_path / "file").is_symlink()


def test_leftovers_of_killed_processes_go_but_not_those_of_living_ones(tmp_path: Path) -> None:
    left, alive, other = (tmp_path / f".{name}.tmp" for name in (f"f.{0:016x}", f"f.{1:016x}", f"g.{0:016x}"))
    for path in (left, alive, other):
        path.write_text("half")
    with alive.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with atomic_file(tmp_path / "f") as file:
            file.write(b"whole")
    assert names(tmp_path) == sorted([alive.name, other.name, "f"])


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def archive(content: bytes, compression: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as members:
        members.writestr("a.npy", content)
    return file


@pytest.mark.parametrize(
    "array", [np.arange(12).reshape(3, 4), np.asfortranarray(np.eye(3, 2)), np.array("x"), np.zeros((0, 3))]
)
def test_arrays_come_back(array: np.ndarray) -> None:
    file = io.BytesIO()
    np.savez(file, array=array, other=np.ones(2))
    found = read_arrays(file)
    assert list(found) == ["array", "other"] and found["array"].dtype == array.dtype
    np.testing.assert_array_equal(found["array"], array)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (archive(header("(1099511627776,)")), "bytes for an array of"),
        (archive(header("(3,)") + bytes(8)), "8 bytes for an array of 12"),
        (archive(header("(-1,)")), "header is damaged"),
        (archive(header("(1,)", "|O") + bytes(8)), "numbers, booleans and strings are read"),
        (archive(header("(1048576,)") + bytes(4 << 20), zipfile.ZIP_DEFLATED), "compressed"),
        (archive(b"\x80\x04K\x01."), "no array as numpy.save writes it"),
        (io.BytesIO(b"PK"), "zip"),
    ],
)
def test_forged_archives_are_refused_before_memory_is_taken(file: io.BytesIO, message: str) -> None:
    with pytest.raises((ValueError, EOFError, zipfile.BadZipFile), match=message):
        read_arrays(file)
