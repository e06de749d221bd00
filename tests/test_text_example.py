"""examples/text: an encoder learns through the layer, and what it saves predicts; texts from a package index."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import sparsexmc as sx

ROOT = Path(__file__).parents[1]
TOPICS, WORDS = 40, 6  # every topic is a label and speaks in words of its own
INDEX = """\
Package: alpha
Version: 1.0
Depends: libc6 (>= 2.36), beta | gamma
Description: plays “music” in a terminal

Package: beta
Source: alpha (1.0)
Suggests: alpha
"""


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_texts_of_a_package_index(tmp_path: Path) -> None:
    make = load(ROOT / "python" / "sparsexmc" / "datasets" / "debian_depends" / "make.py")
    (tmp_path / "avail.txt").write_text(INDEX, encoding="utf-8")
    make.TEST_TENTHS = 0
    make.main(["--texts", str(tmp_path / "texts"), str(tmp_path / "avail.txt")])
    data = sx.data.load_texts(tmp_path / "texts" / "trn.jsonl")
    assert data.texts == ["plays “music” in a terminal", "beta"]
    assert data.label_names == ["alpha", "beta", "gamma", "libc6"]
    assert data.Y.toarray().tolist() == [[0, 1, 1, 1], [1, 0, 0, 0]]


def write_texts(path: Path, count: int, seed: int) -> None:
    draw = random.Random(seed)
    lines = []
    for _ in range(count):
        topics = draw.sample(range(TOPICS), 2)
        words = [f"t{topic}w{draw.randrange(WORDS)}" for topic in topics for _ in range(3)]
        lines.append(json.dumps({"text": " ".join(words), "labels": [f"topic {topic}" for topic in topics]}))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("torch", "transformers"):
        pytest.importorskip(package)
    monkeypatch.syspath_prepend(ROOT / "examples" / "text")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    example = load(ROOT / "examples" / "text" / "train.py")
    data = tmp_path / "data"
    data.mkdir()
    write_texts(data / "trn.jsonl", 1000, seed=1)
    write_texts(data / "tst.jsonl", 200, seed=2)
    layer = ["--fan-in", "8", "--dense-labels", "0.2", "--meta", "0.4", "--lr", "0.1"]
    options = [
        str(data),
        "--tiny",
        "--steps",
        "200",
        "--encoder-lr",
        "0.01",
        "--threads",
        "1",
        "--device",
        "cpu",
        *layer,
    ]

    frozen = example.main([*options, str(tmp_path / "frozen"), "--frozen"])
    capsys.readouterr()
    tuned = example.main([*options, str(tmp_path / "tuned")])
    assert tuned["before"] == frozen["before"]
    assert tuned["after"]["P@1"] > max(80, 1.5 * frozen["after"]["P@1"])
    assert json.loads((tmp_path / "tuned" / "scores.json").read_text())["after"] == tuned["after"]

    # What was saved predicts what was shown.
    texts = sx.data.load_texts(data).texts_test
    assert texts is not None
    encoder = example.pretrained(str(tmp_path / "tuned" / "encoder"), max_length=64).eval()
    saved = sx.load(tmp_path / "tuned" / "layer")
    _, ids = saved.topk(encoder(texts).detach(), k=5)
    shown = capsys.readouterr().out.replace("[", "").replace("]", "").splitlines()
    by_text = dict(zip(texts, sx.data.to_names(np.asarray(ids), saved.label_names), strict=True))
    seen = [text for text in shown if text in by_text]
    assert seen and all(shown[shown.index(text) + 1].split("  ")[2:] == by_text[text] for text in seen)
