"""An encoder written in NumPy, trained end to end through sparsexmc: no framework.

    python examples/numpy/train.py --rows 10000

The encoder is one layer over sparse TF-IDF rows, relu(X W). The gradient comes from `train_step(...).grad` and goes on
by hand. The data is the set that comes with sparsexmc: what a Debian package says of itself -> what it depends on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

import sparsexmc as sx


class Encoder:
    """relu(X W) for scipy CSR rows X; W learns by Adagrad, in which a feature that occurs rarely keeps a high rate."""

    def __init__(self, features: int, width: int, rate: float, seed: int) -> None:
        self.W = np.random.default_rng(seed).normal(0, 0.1, (features, width)).astype(np.float32)
        self.squares = np.full((features, 1), 1e-8, np.float32)
        self.rate = rate

    def forward(self, X: sp.csr_matrix) -> np.ndarray:
        """[b, width] float32, C-contiguous: the classifier reads it in place."""
        return np.maximum(X @ self.W, 0)

    def backward(self, X: sp.csr_matrix, embeddings: np.ndarray, grad: np.ndarray) -> None:
        """One step, given the gradient of the loss with respect to the embeddings."""
        columns = np.unique(X.indices)  # all other rows of W have no gradient
        gradient = X[:, columns].T @ (grad * (embeddings > 0))
        self.squares[columns] += np.square(gradient).mean(axis=1, keepdims=True)
        self.W[columns] -= self.rate * gradient / np.sqrt(self.squares[columns])


def main(argv: Sequence[str] | None = None) -> float:
    """Trains, prints P@1 after every epoch, and returns the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=46_518, help="training instances (default: all)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=256, help="of the embeddings")
    args = parser.parse_args(argv)

    data = sx.data.load_demo()
    X, Y = data.X[: args.rows], data.Y[: args.rows]
    encoder = Encoder(X.shape[1], args.width, rate=0.05, seed=0)
    classifier = sx.Classifier(
        args.width,
        data.num_labels,
        fan_in=32,
        dense_labels=0.05,
        label_counts=np.bincount(Y.indices, minlength=data.num_labels),
        optimizer=sx.Adam(lr=3e-3),
        initial_bias=-7.0,  # a label is on few instances
        rewiring=None,
    )
    generator = np.random.default_rng(0)
    precision = 0.0
    for epoch in range(1, args.epochs + 1):
        start, losses = time.perf_counter(), []
        for rows in np.array_split(generator.permutation(len(Y.indptr) - 1), -(-Y.shape[0] // classifier.batch_size)):
            embeddings = encoder.forward(X[rows])
            step = classifier.train_step(embeddings, Y[rows])  # forward, loss, gradients and update of 43,427 labels
            encoder.backward(X[rows], embeddings, step.grad)
            losses.append(step.loss)
        _, ids = classifier.topk(encoder.forward(data.X_test), k=5)
        precision = sx.metrics.precision_at_k(ids, data.Y_test, k=1)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch}: loss {np.mean(losses):.2f}, P@1 {100 * precision:.1f}, {seconds:.1f} s", flush=True)
    return precision


if __name__ == "__main__":
    main()
