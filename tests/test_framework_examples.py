"""examples/numpy and examples/jax: on a few instances both learn more than the most frequent labels."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
OPTIONS: dict[str, list[str]] = {
    "numpy": ["--rows", "2000", "--epochs", "2", "--width", "64"],
    "jax": ["--rows", "1000", "--epochs", "1", "--width", "64", "--batch-size", "32"],
}


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_example", EXAMPLES / name / "train.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(name)
    assert load(name).main(OPTIONS[name]) > 0.25
    assert "epoch 1: loss" in capsys.readouterr().out
