"""An OutputLayer under the Trainer of Hugging Face (pip install transformers accelerate).

python examples/torch/train_hf_trainer.py
"""

from __future__ import annotations

import argparse
import tempfile

import torch
from problem import BATCH, Encoder, output_layer, precision, texts
from transformers import EvalPrediction, Trainer, TrainingArguments

import sparsexmc as sx


class Model(torch.nn.Module):
    """A model as the Trainer expects it: gives a dictionary with the loss, and in evaluation what it is to gather."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        # The Trainer's scheduler drives the encoder; the layer's own falls in step with it.
        schedule = sx.Schedule("linear", total_steps=steps, final_share=0.1)
        self.output = output_layer(schedule=schedule)

    def forward(self, words: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        embeddings = self.encoder(words)
        result = {"loss": self.output(embeddings, labels)}
        if not self.training:
            result["ids"] = self.output.topk(embeddings, k=5)[1]
        return result


def rows(count: int, seed: int) -> list[dict[str, torch.Tensor]]:
    return [{"words": words, "labels": labels} for words, labels in zip(*texts(count, seed), strict=True)]


def metrics(prediction: EvalPrediction) -> dict[str, float]:
    ids, labels = map(torch.from_numpy, (prediction.predictions, prediction.label_ids))
    return {"P@1": precision(ids, labels)}


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folder", help="for checkpoints, which hold the layer, too; none without it")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the folder")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    train = rows(4000, seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        settings = TrainingArguments(
            output_dir=args.folder or scratch,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            learning_rate=0.01,
            save_strategy="epoch" if args.folder else "no",
            save_total_limit=1,
            logging_strategy="no",
            disable_tqdm=True,
            report_to=[],
            use_cpu=True,
        )
        model = Model(steps=args.epochs * -(-len(train) // BATCH))
        trainer = Trainer(model, settings, train_dataset=train, eval_dataset=rows(1000, 2), compute_metrics=metrics)
        trainer.train(resume_from_checkpoint=args.resume or None)
        result = float(trainer.evaluate()["eval_P@1"])
    print(f"P@1 {result:.1f}")
    return result


if __name__ == "__main__":
    main()
