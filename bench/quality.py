"""Small data sets, dense and with fan-in: precision of a network with one hidden layer, mean over seeds.

Pass data sets that ``sparsexmc.data.load`` reads, each with a test split: directories, or text files of the extreme
classification repository beside their ``_tst`` twin. The settings are one per size of the training set, the same for
every data set of that size; nothing is chosen on the test split by this script.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

import common
import sparsexmc as sx

HIDDEN, BATCH, DROPOUT, LEARNING_RATE, INPUT_SCALE = 1024, 128, 0.5, 1.5e-3, 4.0
LAYERS: dict[str, dict[str, int | None]] = {
    "dense": {"fan_in": None},
    "fan-in 256, G=1": {"fan_in": 256, "group_size": 1, "dense_labels": 0},
    "fan-in 256, G=16": {"fan_in": 256, "group_size": 16, "dense_labels": 0},
}
KS = (1, 3, 5)


def epochs_for(instances: int) -> int:
    """Small sets need more passes for the same number of steps."""
    return 30 if instances < 10_000 else 20


def train(data: sx.data.Dataset, layer: dict[str, int | None], seed: int, threads: int) -> tuple[list[float], float]:
    """Percent P@1, P@3, P@5 on the test split, and the seconds of training."""
    epochs = epochs_for(data.X.shape[0])
    classifier = sx.Classifier(
        data.num_features,
        data.num_labels,
        sparse_input=True,
        hidden=sx.Hidden(HIDDEN, dropout=DROPOUT, input_scale=INPUT_SCALE),
        label_counts=data.label_counts,
        optimizer=sx.Adam(lr=LEARNING_RATE),
        schedule=sx.Schedule("linear", total_steps=epochs * -(-data.X.shape[0] // BATCH)),
        batch_size=BATCH,
        rewiring=None,
        num_threads=threads,
        seed=seed,
        **layer,
    )
    begin = time.perf_counter()
    classifier.fit(data.X, data.Y, epochs, validation=None, progress=False)
    seconds = time.perf_counter() - begin
    _, ids = classifier.topk(data.X_test, max(KS))
    return [100 * value for value in sx.metrics.precision_at_k(ids, data.Y_test, KS)], seconds


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", type=Path, help="data sets with a test split")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    args = parser.parse_args()
    rows, figures = [], {}
    for path in args.data:
        data = sx.data.load(path)
        for name, layer in LAYERS.items():
            runs = [train(data, layer, seed, args.threads) for seed in range(args.seeds)]
            precision = np.array([run[0] for run in runs])
            figures[f"{path.name}, {name}"] = {"precision": precision.tolist(), "seconds": [run[1] for run in runs]}
            rows.append(
                {"data": path.name, "output layer": name}
                | {f"P@{k}": f"{precision[:, i].mean():.2f}" for i, k in enumerate(KS)}
                | {
                    "P@1 by seed": ", ".join(f"{value:.2f}" for value in precision[:, 0]),
                    "training s": f"{np.mean([run[1] for run in runs]):.1f}",
                }
            )
    notes = [
        f"One hidden layer of {HIDDEN}, dropout {DROPOUT}, input scale {INPUT_SCALE:g}, Adam {LEARNING_RATE:g} falling "
        f"linearly, batches of {BATCH}, BCE, {args.seeds} seeds, no validation split, {args.threads} threads."
    ]
    common.report("quality", "Small data sets, dense and with fan-in", notes, [rows], figures, args.out)


if __name__ == "__main__":
    main()
