"""What ``sparsexmc train`` makes of a data directory with no option, or with some settings, measured like a baseline:

    python -m contenders.ours VARIANT DATA OUT [--seed 0] [--threads 2]

One training gives two results: ``OUT``, and ``OUT-alone`` for the network alone. The training sees the
training part alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.cli import ensemble
from sparsexmc.cli import main as command_line

from .contender import Ids, K, Matrix, Split, load, measure

VARIANTS = {
    "ours": [],
    "dense-twin": ["model.fan_in=none"],
    "ours-semantic-groups": ["model.label_order=semantic"],
    "ours-random-groups": ["model.label_order=random"],
    "ours-no-dense-segment": ["model.dense_labels=0"],
    "ours-set": ["model.rewiring.method=set"],
    "ours-rigl": ["model.rewiring.method=rigl"],
}
BATCH = 4096
# What prediction needs; the optimizer's state is for resuming.
MODEL_FILES = ("model.safetensors", "linear.npz", "neighbors.npz")


class Ours:
    """The command line with `settings` of its run.toml."""

    seeded = True

    def __init__(self, settings: list[str], threads: int, seed: int) -> None:
        self.threads = threads
        self.options = [*settings, f"model.seed={seed}"]
        self.settings: dict[str, object] = {"set": list(settings)}

    def prepare(self, train: Split, folder: Path) -> None:
        self.data, self.model = folder / "data", folder / "model"
        sx.data.save(self.data, sx.data.Dataset(X=train.X, Y=train.Y))

    def train(self) -> None:
        options = [part for option in self.options for part in ("--set", option)]
        command = ["train", str(self.data), "-o", str(self.model), "--no-progress", "--threads", str(self.threads)]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            status = command_line([*command, *options])
        assert status == 0, printed.getvalue()

    def finish(self) -> int:
        self.classifier = sx.load(self.model, num_threads=self.threads)
        self.ranker = ensemble.load(str(self.model), self.classifier, self.threads)
        layer = {name: size for name, size in self.classifier.memory.plan.items() if "segment" in name}
        self.settings |= {"output_layer_bytes": sum(layer.values()), "run": (self.model / "run.toml").read_text()}
        return sum((self.model / name).stat().st_size for name in MODEL_FILES if (self.model / name).exists())

    def predict(self, X: Matrix) -> Ids:
        return best(self.ranker, X)


def best(ranker: ensemble.Ranker, X: Matrix) -> Ids:
    """The K best labels of each row."""
    X = sp.csr_matrix(X, dtype=np.float32) if sp.issparse(X) else X
    return np.concatenate([ranker.topk(X[begin : begin + BATCH], K)[1] for begin in range(0, X.shape[0], BATCH)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("data", type=Path, help="directory with X_trn, Y_trn, X_tst, Y_tst")
    parser.add_argument("out", type=Path, help="OUT.npz and OUT.json are written, and OUT-alone")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(default: %(default)s)")
    args = parser.parse_args()
    contender = Ours(VARIANTS[args.variant], args.threads, args.seed)
    about = {"method": args.variant, "tool": f"sparsexmc {sx.__version__}", "data": args.data.name}
    measure(contender, args.data, args.out, about | {"seed": args.seed, "threads": args.threads})
    alone = args.out.with_name(args.out.name + "-alone")
    np.savez_compressed(alone.with_name(alone.name + ".npz"), ids=best(contender.classifier, load(args.data, "tst").X))
    told = json.loads(args.out.with_name(args.out.name + ".json").read_text())
    told["method"] += ", network alone"
    del told["prediction_seconds"], told["model_bytes"]  # those of the two together
    alone.with_name(alone.name + ".json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
