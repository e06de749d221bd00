#!/usr/bin/env python3
"""The cost of a step through sparsexmc.torch.OutputLayer beyond the engine's: Python, DLPack and autograd.

The problem is so small that little else is left: `layer(embeddings, labels)` and `backward()` against the engine's own
call on arguments that are prepared once. Median of many steps, in microseconds.

    python bench/torch_overhead.py

"a node of autograd" is the least that PyTorch takes: a Function that does nothing, and its backward.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import sparsexmc as sx
from sparsexmc import _core
from sparsexmc.torch import OutputLayer


def microseconds(call: Callable[[], object], steps: int) -> float:
    """Median time of a call; a tenth of the calls warm up."""
    times = []
    for number in range(steps + steps // 10):
        start = time.perf_counter_ns()
        call()
        if number >= steps // 10:
            times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


class Nothing(torch.autograd.Function):
    """A loss whose gradient is there already."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        ctx.gradient = torch.empty_like(x)
        return torch.tensor(0.0)

    @staticmethod
    def backward(ctx, _: torch.Tensor) -> torch.Tensor:
        return ctx.gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=64)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5000)
    args = parser.parse_args()
    torch.set_num_threads(1)

    def layer(**options: str) -> OutputLayer:
        sizes = {"fan_in": min(32, args.features), "dense_labels": 0, "rewiring": None, "batch_size": args.batch}
        return OutputLayer(
            args.features, args.labels, optimizer=sx.SGD(1e-3), device="cpu", num_threads=1, **sizes, **options
        )

    x = torch.randn(args.batch, args.features)
    labels = torch.arange(args.batch) % args.labels
    engine = layer().classifier.engine
    indptr, ids = np.arange(args.batch + 1), labels.numpy()
    embeddings, gradient = _core.Tensor(x.numpy()), _core.Tensor(torch.empty_like(x).numpy())

    def report(name: str, call: Callable[[], object], engine_alone: float = 0.0) -> float:
        time = microseconds(call, args.steps)
        print(f"{name:<44}{time:8.1f}" + (f"{time - engine_alone:8.1f} beyond the engine" if engine_alone else ""))
        return time

    step = report("engine: step", lambda: engine.start_step(embeddings, indptr, ids, gradient, False, 0, None).result())
    look = report("engine: loss alone", lambda: engine.eval_step(embeddings, indptr, ids, None, False, True, 0))
    classifier = layer().classifier
    report("Classifier.train_step", lambda: classifier.train_step(x, labels), step)
    x.requires_grad_()
    for name, options, engine_alone in (
        ("OutputLayer and backward", {}, step),
        ('OutputLayer(update="backward") and backward', {"update": "backward"}, step + look),
    ):
        output = layer(**options)
        for upstream in (torch.tensor(1.0), torch.tensor(0.5)):

            def train(output: OutputLayer = output, upstream: torch.Tensor = upstream) -> None:
                x.grad = None
                output(x, labels).backward(upstream)

            report(f"{name}({upstream.item():g})", train, engine_alone)
    report("a node of autograd", lambda: (setattr(x, "grad", None), Nothing.apply(x).backward()))


if __name__ == "__main__":
    main()
