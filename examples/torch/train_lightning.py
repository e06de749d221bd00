"""An OutputLayer inside a LightningModule (pip install lightning).

python examples/torch/train_lightning.py
"""

from __future__ import annotations

import argparse

import lightning
import torch
from problem import BATCH, Encoder, output_layer, precision, texts


class Module(lightning.LightningModule):
    """Lightning drives the encoder's optimizer; the layer steps by itself, at the rate of its own scheduler."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.output = Encoder(), output_layer()

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        words, labels = batch
        return self.output(self.encoder(words), labels)

    def on_train_start(self) -> None:
        steps = int(self.trainer.estimated_stepping_batches)
        self.scheduler = torch.optim.lr_scheduler.LinearLR(self.output.fused_optimizer, 1.0, 0.1, total_iters=steps)

    def on_train_batch_end(self, *_: object) -> None:
        self.output.fused_optimizer.step()
        self.scheduler.step()

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        words, labels = batch
        embeddings = self.encoder(words)
        self.log("loss", self.output(embeddings, labels))
        self.log("P@1", precision(self.output.topk(embeddings, k=5)[1], labels), prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def loader(count: int, seed: int, **options: bool) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*texts(count, seed)), BATCH, **options)


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--folder", help="for checkpoints, which hold the layer, too; none without it")
    args = parser.parse_args(argv)
    lightning.seed_everything(0, verbose=False)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=args.epochs,
        default_root_dir=args.folder,
        enable_checkpointing=args.folder is not None,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), loader(4000, 1, shuffle=True), loader(1000, 2))
    result = float(trainer.callback_metrics["P@1"])
    print(f"P@1 {result:.1f}")
    return result


if __name__ == "__main__":
    main()
