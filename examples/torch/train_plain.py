"""An encoder and an OutputLayer in a plain loop of PyTorch, with one schedule for both and mixed precision.

python examples/torch/train_plain.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from problem import BATCH, Encoder, output_layer, precision, texts


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--save", type=Path, help="file for the state of encoder and layer")
    args = parser.parse_args(argv)
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({"encoder": Encoder(), "output": output_layer()})
    words, labels = texts(4000, seed=1)
    steps = args.epochs * -(-len(words) // BATCH)

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)  # the encoder's: the layer has no parameters
    optimizers = [optimizer, model["output"].fused_optimizer]
    schedulers = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, total_iters=steps) for o in optimizers]
    for epoch in range(args.epochs):
        total = 0.0
        for rows in torch.randperm(len(words)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                embeddings = model["encoder"](words[rows])
            loss = model["output"](embeddings, labels[rows])  # the layer's step
            optimizer.zero_grad()
            loss.backward()
            for each in optimizers:
                each.step()
            for scheduler in schedulers:
                scheduler.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total * BATCH / len(words):.3f}")

    model.eval()
    words, labels = texts(1000, seed=2)
    with torch.no_grad():
        _, ids = model["output"].topk(model["encoder"](words), k=5)
    print(f"P@1 {(result := precision(ids, labels)):.1f}")
    if args.save is not None:
        torch.save(model.state_dict(), args.save)
    return result


if __name__ == "__main__":
    main()
