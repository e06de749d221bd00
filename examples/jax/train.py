"""An encoder in JAX, trained end to end through sparsexmc: the whole training step, layer included, under `jit`.

    pip install '.[jax]'
    python examples/jax/train.py --rows 10000

The encoder averages learned vectors of an instance's features and puts a ReLU layer on top. The data is the set that
comes with sparsexmc: what a Debian package says of itself -> the packages it depends on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import sparsexmc as sx
from sparsexmc.jax import OutputLayer, pad_labels

TOKENS = 48  # of an instance, those with the largest weights


def pad_features(X: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """(columns int32 [n, TOKENS], weights float32 [n, TOKENS], 0 where there are fewer)."""
    columns, weights = np.zeros((X.shape[0], TOKENS), np.int32), np.zeros((X.shape[0], TOKENS), np.float32)
    for row in range(X.shape[0]):
        entries = slice(X.indptr[row], X.indptr[row + 1])
        best = np.argsort(-X.data[entries], kind="stable")[:TOKENS]
        columns[row, : len(best)], weights[row, : len(best)] = X.indices[entries][best], X.data[entries][best]
    return columns, weights


def init(features: int, width: int) -> dict[str, Any]:
    """The encoder's parameters."""
    keys = jax.random.split(jax.random.key(0))
    table = 0.5 * jax.random.normal(keys[0], (features, width))
    return {"table": table, "W": jax.random.normal(keys[1], (width, width)) * (2 / width) ** 0.5}


def encode(parameters: dict[str, Any], columns: Any, weights: Any) -> Any:
    """[b, width] embeddings."""
    mean = jnp.einsum("bt,btw->bw", weights, parameters["table"][columns])
    return jax.nn.relu(mean @ parameters["W"])


def adam(parameters: Any, moments: Any, gradient: Any, step: Any, rate: float) -> tuple[Any, Any]:
    """One step of Adam over a tree of parameters."""
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
    second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, moments[1], gradient)
    scale = rate * jnp.sqrt(1 - 0.99**step) / (1 - 0.9**step)
    parameters = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
    return parameters, (first, second)


def main(argv: Sequence[str] | None = None) -> float:
    """Trains, prints P@1 after every epoch, and returns the last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=46_518, help="training instances (default: all)")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=256, help="of the embeddings")
    parser.add_argument("--batch-size", type=int, default=256)
    args = parser.parse_args(argv)

    data = sx.data.load_demo()
    known = np.flatnonzero(np.bincount(data.X[: args.rows].indices) > 1)  # a feature seen once teaches nothing
    X, X_test, Y = data.X[: args.rows, known], data.X_test[:, known], data.Y[: args.rows]
    columns, weights = pad_features(X)
    classifier = sx.Classifier(
        args.width,
        data.num_labels,
        fan_in=32,
        dense_labels=0.05,
        label_counts=np.bincount(Y.indices, minlength=data.num_labels),
        optimizer=sx.Adam(lr=3e-3),
        initial_bias=-7.0,  # a label is on few instances
        rewiring=None,
        batch_size=args.batch_size,
    )
    layer = OutputLayer(classifier)
    most = int(np.diff(Y.indptr).max())  # one width of the labels for all batches: one compilation

    @jax.jit
    def train(parameters: Any, moments: Any, step: Any, columns: Any, weights: Any, labels: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda p: layer(encode(p, columns, weights), labels))(parameters)
        return *adam(parameters, moments, gradient, step, rate=2e-3), loss

    parameters = init(len(known), args.width)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    moments, step, precision = (zeros, zeros), 0, 0.0
    generator = np.random.default_rng(0)
    for epoch in range(1, args.epochs + 1):
        start, losses = time.perf_counter(), []
        order = generator.permutation(Y.shape[0])
        for first in range(0, len(order) - args.batch_size + 1, args.batch_size):  # an odd last batch would recompile
            rows, step = order[first : first + args.batch_size], step + 1
            labels = pad_labels(Y[rows], most)
            parameters, moments, loss = train(parameters, moments, step, columns[rows], weights[rows], labels)
            losses.append(loss)  # not read here: JAX runs ahead
        tests = (encode(parameters, *pad_features(X_test[at : at + 1024])) for at in range(0, X_test.shape[0], 1024))
        ids = np.concatenate([layer.topk(embeddings, k=5)[1] for embeddings in tests])
        precision = sx.metrics.precision_at_k(ids, data.Y_test, k=1)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch}: loss {np.mean(losses):.2f}, P@1 {100 * precision:.1f}, {seconds:.1f} s", flush=True)
    return precision


if __name__ == "__main__":
    main()
