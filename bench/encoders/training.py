"""One run: an encoder and an output layer trained together, then scored."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

import sparsexmc as sx

from .layers import make
from .problem import Problem

KS = (1, 3, 5)


def train(problem: Problem, variant: str, seed: int, threads: int) -> dict[str, Any]:
    """Trains, then scores on the test rows: metrics in percent, the norms of the embeddings' gradients, seconds."""
    torch.manual_seed(seed)
    frozen, settings = variant == "frozen", problem.settings
    encoder, layer = problem.encoder().train(not frozen), make(variant, problem, seed, threads)
    optimizers = [layer.fused_optimizer, *([] if frozen else problem.optimizers(encoder, settings.encoder_rate))]
    warmup = min(max(settings.warmup, 1), settings.steps)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warmup, (settings.steps - step) / (settings.steps - warmup + 1))
        )
        for optimizer in optimizers
    ]
    rows, norms, start = problem.batches(seed), [], time.perf_counter()
    for _ in range(settings.steps):
        batch = next(rows)
        with torch.set_grad_enabled(not frozen):
            embeddings = encoder(problem.X[batch])
        embeddings.requires_grad_().retain_grad()
        loss = layer(embeddings, problem.Y[batch])
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        norms.append(float(embeddings.grad.norm()) * len(batch) ** 0.5)  # per instance: the loss is a mean
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
    seconds = time.perf_counter() - start
    return {**scores(problem, predict(problem, encoder, layer)), "seconds": seconds, "norms": norms}


@torch.no_grad()
def predict(problem: Problem, encoder: torch.nn.Module, layer: Any) -> np.ndarray:
    """Ids of the best labels of every test row, [n, max(KS)]."""
    encoder.eval()
    layer.eval()
    size = problem.settings.batch_size
    parts = (problem.X_test[first : first + size] for first in range(0, problem.Y_test.shape[0], size))
    return np.concatenate([layer.topk(encoder(part), max(KS))[1].numpy() for part in parts])


def scores(problem: Problem, ids: np.ndarray) -> dict[str, float]:
    """P@k and PSP@5, percent."""
    precision = sx.metrics.precision_at_k(ids, problem.Y_test, KS)
    psp = sx.metrics.psp_at_k(ids, problem.Y_test, (5,), train_labels=problem.Y)[0]
    return {**{f"P@{k}": 100 * float(value) for k, value in zip(KS, precision, strict=True)}, "PSP@5": 100 * float(psp)}
