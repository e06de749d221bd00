"""Symbols that the shared library exports: what the public headers declare with SPARSEXMC_API, and nothing else."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DECLARED = re.compile(r"^(?:class|struct) SPARSEXMC_API (\w+)|^SPARSEXMC_API .*?(\w+)\(", re.MULTILINE)
# A function, a member, or what the compiler makes for a class: its table of virtual functions and its type information.
EXPORTED = re.compile(r"(?:(?:vtable|typeinfo|typeinfo name) for )?sparsexmc::(\w+)(?:\[abi:\w+\])?(?=$|::|\()")
INSIDE = re.compile(r"^sparsexmc::(?:\w+::)*(Impl|State|cpu|cuda|kernels|formulas|checkpoint)::")
SHIM = re.compile(r"sparsexmc_shim_\w+")  # the switches of a build with SPARSEXMC_CUDA=SHIM


@pytest.fixture(scope="module")
def library() -> Path:
    """The shared library that the Python module uses."""
    spec = importlib.util.find_spec("sparsexmc")
    assert spec is not None and spec.submodule_search_locations, "sparsexmc is not installed: pip install ."
    found = [p for folder in spec.submodule_search_locations for p in Path(folder).glob("lib/libsparsexmc.so*")]
    assert len(found) == 1, found
    return found[0]


def listing(*command: object) -> str:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"no {command[0]}")
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def exported(library: Path) -> list[str]:
    """Readable names of the exported symbols."""
    lines = listing("nm", "-D", "--defined-only", "--demangle", library).splitlines()
    names = [re.sub(r"^[0-9a-f]* \w ", "", line) for line in lines]
    return [name for name in names if not SHIM.fullmatch(name)]


@pytest.fixture(scope="module")
def declared() -> set[str]:
    """Classes and functions of the public headers that carry SPARSEXMC_API."""
    headers = "\n".join(p.read_text() for p in sorted((ROOT / "cpp/include/sparsexmc").glob("*.h")))
    return {a or b for a, b in DECLARED.findall(headers)}


def test_every_export_is_declared_in_a_public_header(exported: list[str], declared: set[str]) -> None:
    foreign = [name for name in exported if not (match := EXPORTED.match(name)) or match[1] not in declared]
    assert foreign == []
    assert [name for name in exported if INSIDE.match(name)] == []


def test_every_declared_class_and_function_is_exported(exported: list[str], declared: set[str]) -> None:
    assert declared - {match[1] for name in exported if (match := EXPORTED.match(name))} == set()


def test_the_library_has_the_name_that_programs_ask_for(library: Path) -> None:
    name = re.search(r"\(SONAME\).*\[(.*)\]", listing("readelf", "--dynamic", library))
    assert name is not None and re.fullmatch(r"libsparsexmc\.so\.\d+", name[1])
    assert library.name == name[1]
