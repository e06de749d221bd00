"""MiniLM, fine-tuned on short descriptions of Debian packages: data and encoder of examples/text."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import sparsexmc as sx

from .problem import Problem, Settings

ROOT = Path(__file__).resolve().parents[2]
MAKE_TEXTS = ROOT / "python/sparsexmc/datasets/debian_depends/make.py"
MAX_TOKENS = 48
# The layer's rate was chosen on 1,000 held-out rows after 60 steps, below a dense layer and a fan-in.
DEFAULTS = Settings(
    labels=10_000, steps=150, batch_size=32, rate=1e-2, encoder_rate=1e-4, warmup=15, bias="frequency", test_rows=2_000
)


class Encoder(torch.nn.Module):
    """Texts to embeddings whose elements are about 1, so that every layer above takes the same rate."""

    def __init__(self) -> None:
        super().__init__()
        sys.path.append(str(ROOT / "examples/text"))
        import text_encoder  # an example is no package

        self.texts = text_encoder.pretrained(None, MAX_TOKENS)
        self.width: int = self.texts.width

    def forward(self, texts: np.ndarray) -> torch.Tensor:
        return math.sqrt(self.width) * self.texts(texts.tolist())


def optimizers(encoder: torch.nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """AdamW, as is usual for transformers."""
    return [torch.optim.AdamW(encoder.parameters(), lr=rate, fused=True)]


def problem(settings: Settings, folder: Path) -> Problem:
    """Texts with labels in `folder`, which are made of this machine's package index where there are none."""
    if not (folder / "tst.jsonl").exists():
        subprocess.run([sys.executable, str(MAKE_TEXTS), "--texts", str(folder)], check=True)
    data = sx.data.load_texts(folder)
    texts, texts_test = (np.array(part, dtype=object) for part in (data.texts, data.texts_test))
    # Labels are alike here when they occur together, so that no features are needed.
    return Problem(
        texts, data.Y, texts_test, data.Y_test, features=data.Y, settings=settings, width=Encoder().width,
        encoder=Encoder, optimizers=optimizers, about="Short descriptions of Debian packages through MiniLM",
    ).chosen()  # fmt: skip
