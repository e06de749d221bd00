"""Models of ``sparsexmc.train`` with no option, or with some settings, measured like a baseline:

    python -m contenders.ours VARIANT DATA OUT [--seed 0] [--threads 2]

One training gives two results: ``OUT``, and ``OUT-alone`` for the network alone. The training sees the
training part alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.model import toml
from sparsexmc.model.evaluation import rank

from .contender import Ids, K, Matrix, Split, load, measure

VARIANTS: dict[str, str | None] = {
    "ours": None,
    "dense-twin": "model.fan_in=none",
    "ours-semantic-groups": "model.label_order=semantic",
    "ours-random-groups": "model.label_order=random",
    "ours-no-dense-segment": "model.dense_labels=0",
    "ours-set": "model.rewiring.method=set",
    "ours-rigl": "model.rewiring.method=rigl",
}
# What prediction needs; the optimizer's state is for resuming.
MODEL_FILES = ("model.safetensors", "linear.npz", "neighbors.npz")


class Ours:
    """`sparsexmc.train`, with one setting that differs from the defaults or none."""

    seeded = True

    def __init__(self, setting: str | None, threads: int, seed: int) -> None:
        self.wanted = {} if setting is None else toml.parse_override(setting)
        self.wanted = toml.merge(self.wanted, {"model": {"seed": seed, "num_threads": threads}})
        self.settings: dict[str, object] = {"set": [] if setting is None else [setting]}

    def prepare(self, train: Split, folder: Path) -> None:
        self.data, self.path = sx.data.Dataset(X=train.X, Y=train.Y), folder / "model"

    def train(self) -> None:
        self.model = sx.train(self.data, settings=self.wanted, output=self.path, progress=False)

    def finish(self) -> int:
        plan = self.model.classifier.memory.plan
        layer = sum(size for name, size in plan.items() if "segment" in name)
        assert self.model.settings is not None
        self.settings |= {"output_layer_bytes": layer, "run": self.model.settings.to_toml()}
        return sum((self.path / name).stat().st_size for name in MODEL_FILES if (self.path / name).exists())

    def predict(self, X: Matrix) -> Ids:
        return best(self.model, X)


def best(model: sx.Model, X: Matrix, *, network_alone: bool = False) -> Ids:
    """The K best labels of each row."""
    X = model.features(sp.csr_matrix(X, dtype=np.float32) if sp.issparse(X) else X)
    return rank(model.ranker(network_alone), X, K)


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
    np.savez_compressed(
        alone.with_name(alone.name + ".npz"), ids=best(contender.model, load(args.data, "tst").X, network_alone=True)
    )
    told = json.loads(args.out.with_name(args.out.name + ".json").read_text())
    told["method"] += ", network alone"
    del told["prediction_seconds"], told["model_bytes"]  # those of the two together
    alone.with_name(alone.name + ".json").write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
