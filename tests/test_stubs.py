"""The stored type stubs of the C++ module are those that its bindings generate."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import sparsexmc._core


def test_stored_stubs_are_current() -> None:
    stubgen = pytest.importorskip("nanobind.stubgen")
    generator = stubgen.StubGen(module=importlib.import_module("sparsexmc._core"), quiet=True)
    generator.put(sparsexmc._core)
    stored = Path(__file__).parents[1] / "python" / "sparsexmc" / "_core.pyi"
    assert generator.get() == stored.read_text(encoding="utf-8"), "run scripts/make_stubs.sh and commit the result"
