"""examples/torch: each trains under its trainer, unpatched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "torch"


def precision_of(name: str, *options: object) -> float:
    """Runs an example in a process of its own; the P@1 that it prints."""
    command = [sys.executable, f"train_{name}.py", *map(str, options)]
    settings = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=FOLDER, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.rpartition("P@1 ")[2])


def test_plain_loop(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    assert precision_of("plain", "--epochs", 4, "--save", tmp_path / "model.pt") > 80
    assert torch.load(tmp_path / "model.pt", weights_only=True)["output.step"] == 4 * 63


@pytest.mark.slow
def test_lightning(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("lightning")
    assert precision_of("lightning", "--epochs", 4, "--folder", tmp_path) > 80
    (saved,) = tmp_path.rglob("*.ckpt")
    assert torch.load(saved, weights_only=True)["state_dict"]["output.step"] == 4 * 63


@pytest.mark.slow
def test_hugging_face_trainer(tmp_path: Path) -> None:
    for package in ("torch", "transformers", "accelerate"):
        pytest.importorskip(package)
    before = precision_of("hf_trainer", "--epochs", 1, "--folder", tmp_path)
    after = precision_of("hf_trainer", "--epochs", 5, "--folder", tmp_path, "--resume")
    assert after > max(80, before)
    (saved,) = tmp_path.glob("checkpoint-*/model.safetensors")
    from safetensors import safe_open

    with safe_open(saved, "pt") as file:
        assert file.get_tensor("output.step") == 5 * 63


@pytest.mark.slow
def test_sentence_transformers_trainer() -> None:
    for package in ("torch", "sentence_transformers", "datasets"):
        pytest.importorskip(package)
    assert precision_of("sentence_transformers", "--epochs", 4) > 80
