"""bench/encoder.py: every variant trains, what was run is kept, and MiniLM's place can be taken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = 8


@pytest.fixture(autouse=True)
def _bench_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "bench"))


def test_every_variant_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import encoder
    from encoders import bag

    monkeypatch.setattr(bag, "WIDTH", 32)
    options = ["--labels", "200", "--steps", "3", "--seeds", "1", "--threads", "1", "--work", str(tmp_path)]
    encoder.main([*options, "--held-out", "500"])
    runs = {file.stem: json.loads(file.read_text()) for file in tmp_path.glob("encoder-200/*-0.json")}
    assert len(runs) == VARIANTS and all(len(run["norms"]) == 3 for run in runs.values())
    # The first gradient of equal layers differs by their random weights alone; a frozen encoder begins as any other.
    norm = {name: run["norms"][0] for name, run in runs.items()}
    assert norm["frozen-0"] == pytest.approx(norm["dense-0"], rel=1e-5)
    assert norm["dense-0"] == pytest.approx(norm["torch-0"], rel=0.1)

    monkeypatch.setattr(encoder, "train", None)
    capsys.readouterr()
    encoder.main([*options, "--held-out", "500"])
    assert "500 held-out training rows, means of 1 seeds" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="name another --work"):
        encoder.main(options)


def test_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "examples" / "text")])
    import text_encoder

    import encoder

    texts = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("apple", "car", "sky")]
    monkeypatch.setattr(text_encoder, "pretrained", lambda folder, length: text_encoder.tiny(texts, length))
    lines = [json.dumps({"text": text, "labels": text.split()}) for text in texts]
    for part in ("trn", "tst"):
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    options = ["--encoder", "minilm", "--texts", str(tmp_path), "--work", str(tmp_path / "work")]
    rates = ["--rate", "0.05", "--encoder-rate", "0.01"]
    encoder.main([*options, *rates, "--steps", "40", "--seeds", "1", "--threads", "1", "--variants", "torch,dense"])
    for variant in ("torch", "dense"):
        assert json.loads((tmp_path / f"work/encoder-minilm/{variant}-0.json").read_text())["P@1"] == 100
    assert "Short descriptions" in capsys.readouterr().out
