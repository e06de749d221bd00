"""Label names that would drive a terminal, and errors of the system, which name their file."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsexmc as sx
from cli_tools import run, subprocess_command
from sparsexmc._files import atomic_directory, atomic_file
from sparsexmc.cli.output import escaped

NAMES = ["\x1b[31mred", "erase\x9b2J", "zero\0byte", "\u202egnp.exe", "Ångström 日本 \u200d"]
SHOWN = [r"\u001b[31mred", r"erase\u009b2J", r"zero\u0000byte", r"\u202egnp.exe", "Ångström 日本 \u200d"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_escaped() -> None:
    assert [escaped(name) for name in NAMES] == SHOWN
    assert escaped("a\tb\nc\r\x7f") == "a\tb\nc\\u000d\\u007f"
    assert json.loads(f'"{escaped(NAMES[0])}"') == NAMES[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose labels have such names, beside data.npz and data with the names."""
    folder = tmp_path_factory.mktemp("terminal")
    X = np.eye(5, dtype=np.float32)
    Y = sp.identity(5, np.float32, "csr")
    sx.data.save(folder / "data", sx.data.Dataset(X, Y, NAMES, X_test=X, Y_test=Y))
    classifier = sx.Classifier(5, 5, fan_in=None, optimizer=sx.Adam(0.1), batch_size=5, device="cpu", num_threads=1)
    for _ in range(30):
        classifier.train_step(X, Y)
    classifier.label_names = NAMES
    classifier.save(folder / "model")
    return folder


@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
def test_predictions_on_a_terminal_and_in_a_file(form: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["predict", model / "model", model / "data", "-k", 1, "--format", form]
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        monkeypatch.setattr(sys, "stdout", stream)
        assert run(*arguments) == 0
    assert run(*arguments, "-o", model / "predictions") == 0
    whole = (model / "predictions").read_bytes().decode()
    assert pipe.getvalue() == whole
    assert terminal.getvalue() == escaped(whole) != whole
    wanted = NAMES if form != "jsonl" else [json.dumps(name, ensure_ascii=False)[1:-1] for name in NAMES]
    for name in wanted:
        assert name in whole


def test_other_commands_on_a_terminal(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a model is whatever its directory is called."""
    place = model / "\x1b[2Jmodel"
    sx.load(model / "model").save(place)
    for arguments in (["info", place], ["evaluate", place, model / "data"]):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        assert run(*arguments) == 0
        assert "\x1b" not in terminal.getvalue() and r"\u001b[2Jmodel" in terminal.getvalue()


def test_errors_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", tmp_path / "\x1b[2Jgone") == 2
    assert "\x1b" not in (error := capsys.readouterr().err) and "[2Jgone" in error


# ---- errors of the system ----


def test_a_full_standard_output_is_named(model: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = subprocess_command("predict", model / "model", model / "data")
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "sparsexmc: error: standard output: no space left on device\n"


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as writing to an open file does: without a name


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as full, atomic_file(tmp_path / "file"):
        fail()
    assert full.value.filename == str(tmp_path / "file")
    with pytest.raises(FileNotFoundError) as missing, atomic_file(tmp_path / "missing" / "file"):
        pass
    assert missing.value.filename == str(tmp_path / "missing" / "file")
    with pytest.raises(OSError, match="No space") as full, atomic_directory(tmp_path / "folder", ["a"]):
        fail()
    assert full.value.filename == str(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError) as other, atomic_file(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert other.value.filename == str(tmp_path / "other")  # the one that is at fault
