"""C++ programs outside the library's build find the installed package, compile against it, and run."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.slow


def installed_package() -> Path:
    """Folder of the installed CMake package."""
    spec = importlib.util.find_spec("sparsexmc")
    assert spec is not None and spec.submodule_search_locations, "sparsexmc is not installed: pip install ."
    found = [
        package
        for folder in spec.submodule_search_locations
        if (package := Path(folder) / "lib/cmake/sparsexmc").is_dir()
    ]
    assert found, f"no lib/cmake/sparsexmc in {list(spec.submodule_search_locations)}"
    return found[0]


def run(*command: object) -> str:
    """Runs a command and returns what it printed; on failure the test shows all of it."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}"
    return done.stdout


def build(source: Path, folder: Path) -> None:
    """Configures and builds a program of this repository against the installed package."""
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")
    if not any(shutil.which(compiler) for compiler in (os.environ.get("CXX") or "g++", "clang++")):
        pytest.skip("no C++ compiler")
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    options = [f"-Dsparsexmc_DIR={installed_package()}", "-DCMAKE_BUILD_TYPE=Release"]
    run("cmake", "-S", source, "-B", folder, *generator, *options)
    run("cmake", "--build", folder)


def test_consumer_finds_the_installed_package(tmp_path: Path) -> None:
    build(ROOT / "tests/consumer", tmp_path)
    assert "loss" in run(tmp_path / "consumer")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of examples/native."""
    folder = tmp_path_factory.mktemp("native")
    build(ROOT / "examples/native", folder)
    return folder / "native"


def precision(output: str) -> float:
    """The P@1 that the example printed, in percent."""
    found = re.search(r"P@1\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


def test_example_learns_its_synthetic_problem(example: Path, tmp_path: Path) -> None:
    output = run(example, "--model", tmp_path / "model")
    assert precision(output) > 80
    assert (tmp_path / "model/model.safetensors").is_file()


def test_example_reads_a_repository_text_file(example: Path, tmp_path: Path) -> None:
    points = 400
    lines = [f"{points} 20 10", *(f"{i % 10} {i % 10}:1.0 {10 + i % 7}:0.5" for i in range(points))]
    data = tmp_path / "data.txt"
    data.write_text("\n".join(lines) + "\n")
    assert precision(run(example, data, "--model", tmp_path / "model")) == 100.0


def test_example_names_the_line_of_a_broken_file(example: Path, tmp_path: Path) -> None:
    data = tmp_path / "broken.txt"
    data.write_text("2 4 3\n0 1:1.0\n1 oops\n")
    done = subprocess.run([example, data], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{data}:3:" in done.stderr
