"""Memory of end-to-end training with hundreds of thousands of labels: a text encoder under `OutputLayer` or nn.Linear.

The process's peak beside the plan of the layer and beside plain PyTorch's, each in a process of its own, three steps.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import scipy.sparse as sp
import torch

import common
import sparsexmc as sx
from encoder import BATCH, BIAS, RATE, WIDTH, DenseLayer, Encoder
from sparsexmc.torch import OutputLayer

TOKENS, TOKENS_PER_ROW, POSITIVES, STEPS = 100_000, 20, 5, 3
LAYERS = ("OutputLayer", "nn.Linear")


def random_rows(rng: np.random.Generator, columns: int, per_row: int) -> sp.csr_matrix:
    """BATCH rows with that many different columns each."""
    chosen = np.concatenate([np.sort(rng.choice(columns, per_row, replace=False)) for _ in range(BATCH)])
    indptr = np.arange(0, chosen.size + 1, per_row)
    return sp.csr_matrix((np.full(chosen.size, per_row**-0.5, np.float32), chosen, indptr), (BATCH, columns))


def measure(kind: str, labels: int, fan_in: int, threads: int) -> dict[str, int]:
    """Trains a few steps in this process: bytes above those before encoder and layer were made."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    X, Y = random_rows(rng, TOKENS, TOKENS_PER_ROW), random_rows(rng, labels, POSITIVES)
    Y.data[:] = 1
    start = common.start_memory_watch()
    encoder = Encoder(TOKENS)
    optimizers = [torch.optim.SparseAdam(encoder.bag.parameters(), lr=RATE)]
    optimizers.append(torch.optim.Adam(encoder.linear.parameters(), lr=RATE))
    if kind == "nn.Linear":
        layer = DenseLayer(labels)
        optimizers.append(layer.optimizer)
    else:
        layer = OutputLayer(
            WIDTH, labels, fan_in=fan_in, group_size=16, dense_labels=0.05, optimizer=sx.Adam(lr=RATE), rewiring=None,
            initial_bias=BIAS, device="cpu", batch_size=BATCH, num_threads=threads,
        )  # fmt: skip
    for _ in range(STEPS):
        layer(encoder(X), Y).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    measured = {"peak": common.peak_rss() - start}
    return measured if kind == "nn.Linear" else measured | {"planned": layer.classifier.memory.planned}


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("--labels", type=int, default=670_091, help="(default: %(default)s)")
    parser.add_argument("--fan-in", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--measure", choices=LAYERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure, args.labels, args.fan_in, args.threads)))
        return
    found = {
        kind: common.run_self(
            __file__, "--measure", kind, "--labels", args.labels, "--fan-in", args.fan_in, "--threads", args.threads
        )
        for kind in LAYERS
    }
    encoder = 4 * TOKENS * WIDTH * 3  # token vectors and their two moments
    rows = [
        {
            "output layer": kind,
            "planned": common.mib(figures["planned"]) if "planned" in figures else "",
            "peak of the process": common.mib(figures["peak"]),
            "without the encoder's token vectors": common.mib(figures["peak"] - encoder),
        }
        for kind, figures in found.items()
    ]
    notes = [
        f"{args.labels:,} labels, {TOKENS:,} tokens -> {WIDTH} -> {WIDTH}, batch {BATCH}, Adam; fan-in {args.fan_in}, "
        f"groups of 16, 5 % of the labels dense; RSS above that before encoder and layer were made, {STEPS} steps. "
        f"Token vectors and their moments take {common.mib(encoder)}."
    ]
    common.report("encoder memory", "End-to-end training: memory", notes, [rows], found, args.out)


if __name__ == "__main__":
    main()
