"""An OutputLayer as the loss of a sentence encoder (pip install sentence-transformers datasets).

    python examples/torch/train_sentence_transformers.py

The encoder here is a table of words, made on the spot; any other SentenceTransformer takes its place.
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from datasets import Dataset
from problem import BATCH, WIDTH, WORDS, output_layer, precision, texts
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import sparsexmc as sx
from sparsexmc.torch import OutputLayer


class OutputLoss(torch.nn.Module):
    """A loss as the trainer expects it."""

    def __init__(self, model: SentenceTransformer, output: OutputLayer) -> None:
        super().__init__()
        self.model, self.output = model, output

    def forward(self, sentence_features: list[dict[str, torch.Tensor]], labels: torch.Tensor) -> torch.Tensor:
        return self.output(self.model(sentence_features[0])["sentence_embedding"], labels)


def encoder() -> SentenceTransformer:
    tokenizer = Tokenizer(WordLevel({f"w{word}": word for word in range(WORDS)}, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=WIDTH)], device="cpu")


def sentences(count: int, seed: int) -> Dataset:
    words, labels = texts(count, seed)
    lines = [" ".join(f"w{word}" for word in row) for row in words.tolist()]
    return Dataset.from_dict({"text": lines, "label": labels.tolist()})


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    train, test = sentences(4000, seed=1), sentences(1000, seed=2)
    model = encoder()
    schedule = sx.Schedule("linear", total_steps=args.epochs * -(-len(train) // BATCH), final_share=0.1)
    loss = OutputLoss(model, output_layer(schedule=schedule))
    with tempfile.TemporaryDirectory() as scratch:
        settings = SentenceTransformerTrainingArguments(
            output_dir=scratch,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=BATCH,
            learning_rate=0.05,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            report_to=[],
            use_cpu=True,
        )
        SentenceTransformerTrainer(model, settings, train_dataset=train, loss=loss).train()
    loss.eval()
    embeddings = model.encode(test["text"], convert_to_tensor=True, show_progress_bar=False)
    _, ids = loss.output.topk(embeddings, k=5)
    print(f"P@1 {(result := precision(ids, torch.tensor(test['label']))):.1f}")
    return result


if __name__ == "__main__":
    main()
