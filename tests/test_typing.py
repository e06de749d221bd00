"""The types that users see: tests/typing/user_script.py runs, and mypy --strict and pyright find nothing in it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sparsexmc as sx

SCRIPT = Path(__file__).parent / "typing" / "user_script.py"
SOURCES = Path(sx.__file__).parents[1]

# SciPy has no types of its own, and PyTorch's backward has none.
MYPY = """[mypy]
strict = True
untyped_calls_exclude = torch
[mypy-scipy.*]
ignore_missing_imports = True
"""


def test_script_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("user_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert 0 < script.main(tmp_path) <= 1
    assert "bytes" in capsys.readouterr().out


@pytest.mark.slow
def test_mypy(tmp_path: Path) -> None:
    for package in ("mypy", "torch"):
        pytest.importorskip(package)
    (tmp_path / "mypy.ini").write_text(MYPY)
    # mypy finds installed packages by itself, and refuses to be pointed at them.
    environment = os.environ | ({} if SOURCES.name == "site-packages" else {"MYPYPATH": str(SOURCES)})
    command = [sys.executable, "-m", "mypy", "--config-file", tmp_path / "mypy.ini", "--cache-dir", tmp_path, SCRIPT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pyright(tmp_path: Path) -> None:
    for package in ("pyright", "torch"):
        pytest.importorskip(package)
    pyright = [sys.executable, "-m", "pyright"]
    if subprocess.run([*pyright, "--version"], capture_output=True).returncode != 0:
        pytest.skip("pyright finds no node")
    (tmp_path / SCRIPT.name).write_text(SCRIPT.read_text())
    settings = {"include": [SCRIPT.name], "extraPaths": [str(SOURCES)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [*pyright, "-p", str(tmp_path), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
