"""Which connections a sparse output layer ends up with: rewiring against random masks and those of dense layers.

The inputs are fixed embeddings without a hidden layer in front, so that the mask is all that differs: data sets as they
are (dense, or few columns), or a truncated SVD of their TF-IDF rows. Rows: random connections that stay, SET, RigL with
the gradient of one batch and of several, the masks of trained dense layers (the best features of each group by mean |w|
and by mean |w| times the scale of the feature), from which training starts anew, and the dense layer.

    python bench/growth.py                                     # the built-in data, its 5,000 most frequent labels
    python bench/growth.py demo bibtex delicious --load DIR    # and sets that DIR/load.py reads; skipped without it
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

import common
import sparsexmc as sx

GROUP, DEMO_LABELS, SVD_WIDTH, WIDEST = 16, 5000, 256, 512
KS = (1, 3, 5)
Vectors = npt.NDArray[np.float32]


@dataclass
class Problem:
    """Embeddings whose elements have a root mean square of 1, and how they are trained."""

    name: str
    X: Vectors
    Y: sp.csr_matrix
    X_test: Vectors
    Y_test: sp.csr_matrix
    epochs: int
    batch_size: int
    lr: float

    def __post_init__(self) -> None:
        scale = np.sqrt(np.square(self.X).mean())
        self.X, self.X_test = self.X / scale, self.X_test / scale
        self.steps = self.epochs * -(-self.X.shape[0] // self.batch_size)
        self.fan_in = self.X.shape[1] // 8
        self.order = sx.cluster_labels(self.X, self.Y, GROUP, dense_labels=0)

    def classifier(self, seed: int, threads: int, **options: Any) -> sx.Classifier:
        options = {"fan_in": self.fan_in, "rewiring": None, "label_order": self.order} | options
        return sx.Classifier(
            self.X.shape[1],
            self.Y.shape[1],
            group_size=GROUP,
            dense_labels=0,
            optimizer=sx.Adam(lr=self.lr),
            schedule=sx.Schedule("linear", total_steps=self.steps),
            initial_bias=-4.0,
            batch_size=self.batch_size,
            device="cpu",
            num_threads=threads,
            seed=seed,
            **options,
        )

    def train(self, classifier: sx.Classifier, *callbacks: sx.Regrouping) -> list[float]:
        """Percent P@1, P@3, P@5 and PSP@5 on the test split, and the seconds of training."""
        begin = time.perf_counter()
        classifier.fit(self.X, self.Y, self.epochs, validation=None, callbacks=callbacks, progress=False)
        seconds = time.perf_counter() - begin
        _, ids = classifier.topk(self.X_test, max(KS))
        precision = sx.metrics.precision_at_k(ids, self.Y_test, KS)
        psp = sx.metrics.psp_at_k(ids, self.Y_test, 5, train_labels=self.Y)
        return [*(100 * precision), 100 * psp, seconds]

    def rewiring(self, method: str, grow_batches: int = 1) -> sx.Rewiring:
        """A dozen rewirings, of which the share that changes falls to 0 at three quarters of the training."""
        return sx.Rewiring(
            method,
            fraction=0.3,
            fraction_schedule="cosine",
            interval=self.steps // 12,
            stop=self.steps * 3 // 4,
            grow_batches=grow_batches,
        )


def truncated_svd(X: sp.csr_matrix, width: int) -> Vectors:
    """[columns, width]: right singular vectors, by randomised subspace iteration (Halko et al. 2011)."""
    basis = np.random.default_rng(0).standard_normal((X.shape[1], width + 16)).astype(np.float32)
    for _ in range(3):
        basis = np.linalg.qr(X.T @ np.linalg.qr(X @ basis)[0])[0]
    return (basis @ np.linalg.svd(X @ basis, full_matrices=False)[2].T)[:, :width]


def problem(name: str, X: sp.csr_matrix, Y: sp.csr_matrix, X_test: sp.csr_matrix, Y_test: sp.csr_matrix) -> Problem:
    small = X.shape[0] < 20_000
    settings = {"epochs": 15, "batch_size": 128, "lr": 3e-3} if small else {"epochs": 4, "batch_size": 256, "lr": 5e-3}
    if X.shape[1] <= WIDEST:
        return Problem(name, X.toarray(), Y, X_test.toarray(), Y_test, **settings)
    vectors = truncated_svd(X, SVD_WIDTH)
    return Problem(f"{name}, SVD {SVD_WIDTH}", X @ vectors, Y, X_test @ vectors, Y_test, **settings)


def demo() -> Problem:
    """The built-in data with its most frequent labels, and the instances that have one of them."""
    data = sx.data.load_demo()
    kept = np.argsort(-data.label_counts, kind="stable")[:DEMO_LABELS]
    parts = []
    for X, Y in ((data.X, data.Y[:, kept]), (data.X_test, data.Y_test[:, kept])):
        rows = np.diff(Y.indptr) > 0
        parts += [X[rows], Y[rows]]
    return problem("debian-depends, 5,000 labels", *parts)


def read(folder: Path, name: str) -> Problem:
    """A data set by the function `load` of folder/load.py."""
    spec = importlib.util.spec_from_file_location("load", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = module.load(name)
    return problem(name, data.X_trn, data.Y_trn, data.X_tst, data.Y_tst)


def masked(p: Problem, dense: sx.Classifier, seed: int, threads: int, scaled: bool) -> sx.Classifier:
    """A new classifier whose groups read the features that a trained dense layer finds most useful."""
    weights = np.abs(dense.state_dict()["segments.0.weights"])
    if scaled:
        weights *= np.sqrt(np.square(p.X).mean(axis=0))
    score = np.add.reduceat(weights, np.arange(0, len(weights), GROUP), axis=0)
    best = np.sort(np.argsort(-score, axis=1, kind="stable")[:, : p.fan_in], axis=1)
    classifier = p.classifier(seed, threads)
    state = classifier.state_dict()
    state["segments.0.indices"] = best.astype(state["segments.0.indices"].dtype)
    classifier.load_state_dict(state)
    return classifier


def run(p: Problem, seed: int, threads: int) -> dict[str, list[float]]:
    """Scores of every row."""
    dense = p.classifier(seed, threads, fan_in=None)
    results = {"dense": p.train(dense)}
    rewired: dict[str, sx.Rewiring | None] = {
        "static": None,
        "SET": p.rewiring("set"),
        **{f"RigL, {n} batch{'es' * (n > 1)}": p.rewiring("rigl", n) for n in (1, 4, 16)},
    }
    makers: dict[str, Callable[[], sx.Classifier]] = {
        name: lambda rewiring=rewiring: p.classifier(seed, threads, rewiring=rewiring)
        for name, rewiring in rewired.items()
    }
    makers["mask of dense by weight"] = lambda: masked(p, dense, seed, threads, scaled=False)
    makers["mask of dense by weight x scale"] = lambda: masked(p, dense, seed, threads, scaled=True)
    results = {name: p.train(make()) for name, make in makers.items()} | results
    random = sx.cluster_labels(None, p.Y, GROUP, method="random", dense_labels=0)
    regrouping = [sx.Regrouping(p.steps // 4)]
    for name, order, callbacks in (
        ("random groups", random, []),
        ("random groups, regrouped", random, regrouping),
        ("semantic groups, regrouped", p.order, regrouping),
    ):
        classifier = p.classifier(seed, threads, rewiring=p.rewiring("rigl", 16), label_order=order)
        results[f"RigL, 16 batches, {name}"] = p.train(classifier, *callbacks)
    return results


def main() -> None:
    parser = common.argument_parser(__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=["demo"], help="demo, or data sets beside load.py")
    parser.add_argument("--load", type=Path, help="folder of load.py")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    args = parser.parse_args()
    rows, figures = [], {}
    for name in args.sets:
        if name != "demo" and (args.load is None or not (args.load / "load.py").exists()):
            print(f"{name} is skipped: no load.py in --load {args.load}", file=sys.stderr)
            continue
        p = demo() if name == "demo" else read(args.load, name)
        runs = [run(p, seed, args.threads) for seed in range(args.seeds)]
        for layer in runs[0]:
            scores = np.array([scores[layer] for scores in runs])
            figures[f"{p.name}, {layer}"] = scores.tolist()
            columns = dict(zip([*(f"P@{k}" for k in KS), "PSP@5", "training s"], scores.mean(axis=0), strict=True))
            rows.append(
                {"data": p.name, "connections": layer}
                | {name: f"{value:.2f}" for name, value in columns.items()}
                | {"P@1 by seed": ", ".join(f"{value:.2f}" for value in scores[:, 0])}
            )
    if not rows:
        return
    notes = [
        f"Fixed embeddings, fan-in an eighth of their width, groups of {GROUP}, Adam, BCE, {args.seeds} seeds, "
        f"{args.threads} threads. A dozen rewirings; the share falls from 0.3 to 0 by a cosine."
    ]
    common.report("growth", "Growth: which connections training ends up with", notes, [rows], figures, args.out)


if __name__ == "__main__":
    main()
