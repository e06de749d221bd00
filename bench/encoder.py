"""Does an encoder learn through a sparse output layer? A text encoder of two layers under several output layers.

The built-in data's tokens go through an embedding bag and a linear layer, both trained by PyTorch; above them lies a
dense layer of PyTorch with autograd and Adam, or an `OutputLayer`: all dense, with a fan-in alone, and with each of the
helps that the literature gives the encoder: a dense segment for frequent labels, a hidden layer, a meta-classifier
(Ullah et al., NeurIPS 2024). Encoder, batches, rates and number of steps are the same for all; rows are means over the
seeds. The rate was chosen on held-out training rows.

    python bench/encoder.py --out bench/results
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

import common
import sparsexmc as sx
from sparsexmc.torch import OutputLayer

WIDTH, BATCH, RATE, BIAS = 256, 256, 1e-2, -8.0
SPREAD, ROW_LENGTH = 0.2, 6.0  # of token vectors at the start, and of the rows that they are summed by
FAN_IN, GROUP, DENSE, CLUSTER = 32, 16, 0.05, 64
KS = (1, 3, 5)


class Encoder(torch.nn.Module):
    """TF-IDF weights of tokens to embeddings: relu(A relu(sum of token vectors))."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.bag = torch.nn.EmbeddingBag(tokens, WIDTH, mode="sum", sparse=True)
        torch.nn.init.normal_(self.bag.weight, std=SPREAD)
        self.linear = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, rows: sp.csr_matrix) -> torch.Tensor:
        tokens, offsets, weights = (
            torch.from_numpy(part) for part in (rows.indices, rows.indptr[:-1], ROW_LENGTH * rows.data)
        )
        return torch.relu(self.linear(torch.relu(self.bag(tokens, offsets, per_sample_weights=weights))))


class DenseLayer(torch.nn.Module):
    """What `OutputLayer` replaces: nn.Linear, binary cross-entropy over all labels, Adam."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(WIDTH, num_labels)
        torch.nn.init.constant_(self.linear.bias, BIAS)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=RATE)

    def forward(self, embeddings: torch.Tensor, labels: sp.csr_matrix) -> torch.Tensor:
        targets = torch.from_numpy(labels.toarray()).float()
        logits = self.linear(embeddings)
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / len(embeddings)

    def topk(self, embeddings: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        best = self.linear(embeddings).topk(k)
        return best.values, best.indices


@dataclass
class Problem:
    """The built-in data with its most frequent labels."""

    data: Any
    epochs: int

    @classmethod
    def load(cls, num_labels: int, epochs: int) -> Problem:
        data = sx.data.load_demo()
        kept = np.sort(np.argsort(-data.label_counts, kind="stable")[:num_labels])
        return cls(
            sx.data.Dataset(X=data.X, Y=data.Y[:, kept], X_test=data.X_test, Y_test=data.Y_test[:, kept]), epochs
        )

    @property
    def steps(self) -> int:
        return self.epochs * -(-self.data.X.shape[0] // BATCH)

    def output_layer(self, seed: int, threads: int, **options: Any) -> OutputLayer:
        layer = OutputLayer(
            WIDTH, self.data.Y.shape[1], label_counts=self.data.label_counts, optimizer=sx.Adam(lr=RATE), device="cpu",
            batch_size=BATCH, initial_bias=BIAS, rewiring=None, seed=seed, num_threads=threads,
            schedule=sx.Schedule("linear", total_steps=self.steps),
            **({"fan_in": FAN_IN, "group_size": GROUP, "dense_labels": 0} | options),
        )  # fmt: skip
        return layer

    def clusters(self) -> np.ndarray:
        order = np.asarray(sx.cluster_labels(self.data.X, self.data.Y, CLUSTER))
        clusters = np.empty(len(order), np.int64)
        clusters[order] = np.arange(len(order)) // CLUSTER
        return clusters


def variants(problem: Problem, threads: int) -> dict[str, Any]:
    """Name: a function of the seed that makes the output layer."""
    make = problem.output_layer
    clusters = problem.clusters()
    meta = sx.MetaClassifier(clusters, weight=0.4, steps=problem.steps)
    return {
        "dense, PyTorch": lambda seed: DenseLayer(problem.data.Y.shape[1]),
        "dense": lambda seed: make(seed, threads, fan_in=None),
        "fan-in": lambda seed: make(seed, threads),
        "fan-in, dense segment": lambda seed: make(seed, threads, dense_labels=DENSE),
        "fan-in, hidden layer": lambda seed: make(seed, threads, hidden=sx.Hidden(4 * WIDTH)),
        "fan-in, meta-classifier": lambda seed: make(seed, threads, auxiliary=meta),
        "fan-in, all three": lambda seed: make(
            seed, threads, dense_labels=DENSE, hidden=sx.Hidden(4 * WIDTH), auxiliary=meta
        ),
    }


def train(problem: Problem, make_layer: Any, seed: int) -> dict[str, Any]:
    """Trains encoder and layer; scores on the test part, the norms of the embeddings' gradients, seconds."""
    torch.manual_seed(seed)
    data, rng = problem.data, np.random.default_rng(seed)
    encoder, layer = Encoder(data.X.shape[1]), make_layer(seed)
    optimizers = [torch.optim.SparseAdam(encoder.bag.parameters(), lr=RATE)]
    optimizers.append(torch.optim.Adam(encoder.linear.parameters(), lr=RATE))
    if isinstance(layer, DenseLayer):
        optimizers.append(layer.optimizer)
    schedules = [
        torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=problem.steps) for optimizer in optimizers
    ]
    norms, start = [], time.perf_counter()
    for _ in range(problem.epochs):
        order = rng.permutation(data.X.shape[0])
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            embeddings = encoder(data.X[rows])
            embeddings.retain_grad()
            loss = layer(embeddings, data.Y[rows])
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            norms.append(float(embeddings.grad.norm()) * len(rows) ** 0.5)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
    seconds = time.perf_counter() - start
    layer.eval()
    with torch.no_grad():
        ids = np.concatenate(
            [
                layer.topk(encoder(data.X_test[first : first + BATCH]), max(KS))[1].numpy()
                for first in range(0, data.X_test.shape[0], BATCH)
            ]
        )
    P = [100 * value for value in sx.metrics.precision_at_k(ids, data.Y_test, KS)]
    psp = 100 * sx.metrics.psp_at_k(ids, data.Y_test, (5,), train_labels=data.Y)[0]
    return {**dict(zip((f"P@{k}" for k in KS), P, strict=True)), "PSP@5": psp, "seconds": seconds, "norms": norms}


def picture(norms: dict[str, np.ndarray], path: Path) -> None:
    """The gradients' norms over the steps, a median over 20 steps each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, values in norms.items():
        smooth = [np.median(values[max(0, i - 10) : i + 10]) for i in range(len(values))]
        axes.plot(smooth, label=name, linewidth=1.4)
    axes.set(xlabel="step", ylabel="norm of the gradient at the encoder, per instance", yscale="log")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=10_000, help="the most frequent ones (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--variants", help="names, separated by semicolons (default: all)")
    args: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(args.threads)
    problem = Problem.load(args.labels, args.epochs)
    makers = variants(problem, args.threads)
    if args.variants:
        makers = {name: makers[name] for name in args.variants.split(";")}
    lines, figures = [], {}
    for name, make in makers.items():
        runs = [train(problem, make, seed) for seed in range(args.seeds)]
        mean = {key: float(np.mean([run[key] for run in runs])) for key in runs[0] if key != "norms"}
        line = {"output layer": name} | {key: f"{value:.1f}" for key, value in mean.items()}
        line["P@1 spread"] = f"{np.ptp([run['P@1'] for run in runs]):.1f}"
        norms = np.mean([run["norms"] for run in runs], axis=0)
        line["gradient, first tenth"], line["last tenth"] = (
            f"{np.median(part):.3g}" for part in (norms[: len(norms) // 10], norms[-(len(norms) // 10) :])
        )
        lines.append(line)
        figures[name] = {
            "runs": [{k: v for k, v in run.items() if k != "norms"} for run in runs],
            "norms": " ".join(f"{norm:.3g}" for norm in norms),
        }
        print(line, flush=True)
    notes = [
        f"Built-in data, its {problem.data.Y.shape[1]:,} most frequent labels; tokens -> {WIDTH} -> {WIDTH}; batch "
        f"{BATCH}, {args.epochs} epochs, Adam with rate {RATE:g} falling to 0 for all; fan-in {FAN_IN}, groups of "
        f"{GROUP}, {100 * DENSE:g} % of the labels dense, hidden layer of {4 * WIDTH}, clusters of {CLUSTER} labels; "
        f"test part, means of {args.seeds} seeds, percent. Gradient: norm at the embeddings per instance, medians."
    ]
    common.report("encoder", "An encoder trained through the output layer", notes, [lines], figures, args.out)
    if args.out is not None:
        picture(
            {name: np.array(figure["norms"].split(), float) for name, figure in figures.items()},
            args.out / "encoder.png",
        )


if __name__ == "__main__":
    main()
