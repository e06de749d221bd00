"""The case table: every shape, loss and optimizer that the engine is tested on, with its tolerance and the reason."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from reference import Adam, Sgd, Softmax

LabelRows = list[list[int]]


@dataclass(frozen=True)
class Tolerance:
    """Largest error of an element, as a share of the largest magnitude of what is compared (a gradient, a change)."""

    relative: float
    reason: str


ROUNDING = Tolerance(2e-5, "fp32 sums of up to a thousand terms: about sqrt(1000) * 2^-24 of their scale, times ten")
MARGIN = Tolerance(5e-5, "the squared hinge has no bound, so errors of the logits reach the gradient in full")
LONG = Tolerance(1e-4, "fp32 sums over more than ten thousand terms, with the same rule")
RATIO = Tolerance(2e-4, "Adam divides by the root of the mean square: small gradients pass their error on in full")
# Of products in bfloat16, as a share of the root mean square.
BFLOAT16 = Tolerance(6e-3, "both factors keep 8 bits, an error of 2^-9 each, and one bit more over a few steps")
BFLOAT16_RATIO = Tolerance(3e-2, "the same through Adam, where small gradients pass their error on in full")
BFLOAT16_UNITS = Tolerance(
    1e-1, "the same with hidden units near zero, which are on with one rounding and off otherwise"
)

SGD = Sgd(lr=0.02)
MOMENTUM = Sgd(lr=0.02, momentum=0.9)
DECAY = Sgd(lr=0.02, weight_decay=0.01)
MOMENTUM_DECAY = Sgd(lr=0.01, momentum=0.8, weight_decay=0.02)
# eps far above the rounding of the gradients: with 1e-8 an element whose gradient is all rounding would move by lr.
ADAM = Adam(lr=0.01, eps=1e-3)
ADAM_DECAY = Adam(lr=0.01, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.05)
SOFTMAX = Softmax()
ALL_OF_SOFTMAX = Softmax(scale=1.5, label_smoothing=0.1, z_loss=0.01)


@dataclass(frozen=True)
class Case:
    """One configuration with its data. Row i of a batch has i % (positives + 1) labels, so some rows have none."""

    name: str
    in_features: int
    num_labels: int
    fan_in: int | None
    group_size: int = 16
    dense_labels: int = 0
    batch: int = 64
    positives: int = 3
    loss: str | Softmax = "bce"
    optimizer: Sgd | Adam = SGD
    hidden: int | None = None
    dropout: float = 0.0
    nonzeros: int | None = None  # per row of sparse input; None: dense embeddings
    permuted: bool = False  # label_order is a random permutation
    weighted: bool = False  # positives have weights
    clusters: int | None = None  # of a meta-classifier
    tolerance: Tolerance = ROUNDING

    @property
    def layer_features(self) -> int:
        """Width that the output layer reads."""
        return self.hidden or self.in_features

    @property
    def bfloat16_tolerance(self) -> Tolerance:
        """Of products in bfloat16."""
        if self.hidden:
            return BFLOAT16_UNITS
        return BFLOAT16_RATIO if isinstance(self.optimizer, Adam) else BFLOAT16

    @property
    def batches(self) -> tuple[int, ...]:
        """Sizes of the consecutive steps: the last batch of an epoch is short."""
        return (self.batch, self.batch, (self.batch + 1) // 2)

    def rng(self, purpose: str, step: int = 0) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{self.name}/{purpose}/{step}".encode()))

    def label_order(self) -> npt.NDArray[np.int64] | None:
        """Internal row -> user label id."""
        return self.rng("order").permutation(self.num_labels) if self.permuted else None

    def positive_weights(self) -> npt.NDArray[np.float32] | None:
        """By user label id, from 1/4 to 16."""
        exponents = self.rng("positive weights").uniform(-2, 4, self.num_labels)
        return np.exp2(exponents).astype(np.float32) if self.weighted else None

    def instance_weights(self, step: int = 0, rows: int | None = None) -> npt.NDArray[np.float32]:
        """[rows] from 1/4 to 4, and 0 for every fifth row but the first."""
        rows = self.batch if rows is None else rows
        weights = np.exp2(self.rng("instance weights", step).uniform(-2, 2, rows)).astype(np.float32)
        weights[(np.arange(rows) + step) % 5 == 4] = 0
        return weights

    def label_clusters(self) -> npt.NDArray[np.int64] | None:
        """Cluster of every user label id."""
        return None if self.clusters is None else self.rng("clusters").permutation(self.num_labels) % self.clusters

    def features(self, step: int = 0, rows: int | None = None) -> npt.NDArray[np.float32] | sp.csr_matrix:
        """Embeddings [rows, in_features], or CSR rows with an empty row, unsorted and repeated columns."""
        rng, rows = self.rng("features", step), self.batch if rows is None else rows
        if self.nonzeros is None:
            return rng.standard_normal((rows, self.in_features), dtype=np.float32)
        counts = rng.integers(0, self.nonzeros + 1, rows)
        counts[0] = self.nonzeros
        columns = rng.integers(0, self.in_features, counts.sum())
        values = rng.standard_normal(len(columns), dtype=np.float32)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return sp.csr_matrix((values, columns, indptr), shape=(rows, self.in_features))

    def labels(self, step: int = 0, rows: int | None = None) -> LabelRows:
        """User label ids per row, in no order; every fourth row names one of its labels twice."""
        rng, result = self.rng("labels", step), []
        for row in range(self.batch if rows is None else rows):
            count = min((row + step) % (self.positives + 1), self.num_labels)
            ids = rng.choice(self.num_labels, count, replace=False).tolist()
            result.append(ids + ids[:1] if row % 4 == 1 else ids)
        return result

    def steps(self) -> Iterator[tuple[npt.NDArray[np.float32] | sp.csr_matrix, LabelRows]]:
        """The batches of a short training."""
        for step, rows in enumerate(self.batches):
            yield self.features(step, rows), self.labels(step, rows)

    def weighted_steps(self) -> Iterator[tuple[npt.NDArray[np.float32] | sp.csr_matrix, LabelRows, npt.NDArray]]:
        """The same with weights of the instances."""
        for step, (x, labels) in enumerate(self.steps()):
            yield x, labels, self.instance_weights(step, len(labels))


CASES = [
    # All labels dense.
    Case("dense_one_of_everything", 1, 1, None, batch=1, positives=1),
    Case("dense_odd", 31, 7, None, batch=3, optimizer=MOMENTUM, permuted=True),
    Case("dense_hinge", 100, 100, None, batch=130, loss="squared_hinge", optimizer=DECAY, tolerance=MARGIN),
    Case("dense_large", 768, 1003, None, batch=257, optimizer=ADAM, permuted=True, tolerance=RATIO),
    Case("dense_single_instance", 768, 100, None, batch=1, loss="squared_hinge", optimizer=Sgd(1e-4), tolerance=MARGIN),
    Case("dense_adam_decay", 31, 100, None, batch=64, optimizer=ADAM_DECAY, tolerance=RATIO),
    # Fan-in per label.
    Case("g1_one_of_everything", 1, 1, 1, group_size=1, batch=1, positives=1, optimizer=MOMENTUM_DECAY),
    Case("g1_single_feature", 31, 100, 1, group_size=1, batch=130, loss="squared_hinge", tolerance=MARGIN),
    Case("g1_single_instance", 31, 7, 5, group_size=1, batch=1, optimizer=ADAM, tolerance=RATIO),
    Case("g1_large", 768, 1003, 32, group_size=1, batch=257, optimizer=MOMENTUM, permuted=True),
    Case("g1_all_features", 31, 100, 31, group_size=1, batch=64, optimizer=DECAY),
    Case("g1_odd_tile", 768, 301, 101, group_size=1, batch=130, loss="squared_hinge", tolerance=MARGIN),
    Case("g1_adam", 768, 100, 32, group_size=1, batch=3, optimizer=ADAM_DECAY, tolerance=RATIO),
    # Groups of labels; most label counts leave padding rows in the last group.
    Case("g3_padding", 31, 100, 5, group_size=3, batch=3, loss="squared_hinge", tolerance=MARGIN),
    Case("g3_adam", 100, 1003, 32, group_size=3, batch=64, optimizer=ADAM, permuted=True, tolerance=RATIO),
    Case("g16_large", 768, 1003, 32, group_size=16, batch=130, optimizer=MOMENTUM_DECAY, permuted=True),
    Case("g16_single_feature", 100, 100, 1, group_size=16, batch=64, optimizer=DECAY),
    Case("g16_all_features", 31, 100, 31, group_size=16, batch=257, optimizer=ADAM, tolerance=RATIO),
    Case("g16_hinge", 100, 1003, 5, group_size=16, batch=257, loss="squared_hinge", tolerance=MARGIN),
    Case("g16_single_instance", 768, 100, 32, group_size=16, batch=1, optimizer=MOMENTUM),
    Case("g17_odd", 100, 100, 5, group_size=17, batch=257, optimizer=MOMENTUM, permuted=True),
    Case("g17_adam", 31, 1003, 31, group_size=17, batch=3, optimizer=ADAM_DECAY, tolerance=RATIO),
    Case("g32_large", 768, 1003, 32, group_size=32, batch=64, optimizer=SGD, permuted=True),
    Case("g32_adam", 100, 1003, 5, group_size=32, batch=130, optimizer=ADAM, tolerance=RATIO),
    Case("g64_mostly_padding", 31, 7, 5, group_size=64, batch=64, optimizer=MOMENTUM_DECAY),
    Case("g64_large", 100, 1003, 32, group_size=64, batch=130, optimizer=SGD),
    Case("g64_hinge_adam", 768, 100, 32, group_size=64, batch=3, loss="squared_hinge", optimizer=ADAM, tolerance=RATIO),
    Case("many_positives", 31, 100, 5, group_size=16, batch=64, positives=90),
    Case("no_positives", 31, 100, 5, group_size=16, batch=64, positives=0, loss="squared_hinge", tolerance=MARGIN),
    # uint32 indices.
    Case("wide_g1", 70_000, 7, 32, group_size=1, batch=3),
    Case("wide_g16", 70_000, 33, 32, group_size=16, batch=64, optimizer=ADAM, permuted=True, tolerance=RATIO),
    Case(
        "wide_dense_and_tail", 70_000, 17, 5, group_size=3, dense_labels=2, batch=3, optimizer=Sgd(1e-5), tolerance=LONG
    ),
    # Dense head labels and a tail.
    Case("two_segments_small", 31, 7, 5, group_size=1, dense_labels=3, batch=3, optimizer=MOMENTUM, permuted=True),
    Case("two_segments_large", 768, 1003, 32, group_size=16, dense_labels=100, batch=130, permuted=True),
    Case("two_segments_adam", 100, 1003, 5, group_size=32, dense_labels=17, batch=64, optimizer=ADAM, tolerance=RATIO),
    Case(
        "two_segments_hinge",
        100,
        100,
        32,
        group_size=17,
        dense_labels=1,
        batch=257,
        loss="squared_hinge",
        optimizer=MOMENTUM_DECAY,
        permuted=True,
        tolerance=MARGIN,
    ),
    # Hidden layer over embeddings and over sparse rows.
    Case("hidden_small", 5, 7, 3, group_size=1, batch=3, hidden=4, optimizer=MOMENTUM_DECAY),
    Case("hidden_all_dense", 31, 100, None, batch=64, hidden=33, optimizer=ADAM, tolerance=RATIO),
    Case("hidden_dropout", 100, 1003, 32, batch=130, hidden=100, dropout=0.5, optimizer=MOMENTUM, permuted=True),
    Case("hidden_hinge", 31, 100, 5, dense_labels=7, batch=257, hidden=64, loss="squared_hinge", tolerance=MARGIN),
    Case("sparse_small", 50, 7, 3, group_size=1, batch=3, hidden=4, nonzeros=5, optimizer=MOMENTUM_DECAY),
    Case("sparse_adam", 5000, 100, 5, batch=64, hidden=31, nonzeros=40, optimizer=ADAM_DECAY, tolerance=RATIO),
    Case(
        "sparse_dropout",
        20_000,
        1003,
        32,
        dense_labels=10,
        batch=130,
        hidden=100,
        dropout=0.3,
        nonzeros=80,
        permuted=True,
    ),
    # Weights of positives.
    Case("weighted_dense", 31, 100, None, batch=64, weighted=True, permuted=True),
    Case("weighted_g1", 100, 100, 5, group_size=1, batch=130, weighted=True, loss="squared_hinge", tolerance=MARGIN),
    Case("weighted_g17", 100, 100, 5, group_size=17, dense_labels=7, batch=33, weighted=True, permuted=True),
    # The meta-classifier, over embeddings and over both kinds of hidden layer.
    Case("auxiliary_g3", 31, 100, 5, group_size=3, batch=33, clusters=9, optimizer=MOMENTUM, permuted=True),
    Case("auxiliary_hinge", 100, 100, 5, dense_labels=7, loss="squared_hinge", clusters=40, tolerance=MARGIN),
    Case("auxiliary_hidden", 31, 100, 5, hidden=64, dropout=0.3, clusters=1, optimizer=ADAM_DECAY, tolerance=RATIO),
    Case("auxiliary_sparse", 50, 100, 3, group_size=1, hidden=33, nonzeros=9, weighted=True, clusters=33),
    # Softmax cross-entropy: labels and instances without loss, several positives, smoothing, scale and z-loss.
    Case("softmax_dense", 31, 100, None, batch=64, loss=SOFTMAX, permuted=True),
    Case("softmax_one_class", 31, 1, None, batch=3, loss=SOFTMAX, positives=1),
    Case("softmax_g1", 100, 301, 5, group_size=1, batch=130, loss=ALL_OF_SOFTMAX, optimizer=MOMENTUM, permuted=True),
    Case("softmax_g1_tail", 31, 7, 5, group_size=1, batch=3, loss=SOFTMAX, optimizer=ADAM, tolerance=RATIO),
    Case("softmax_g16_large", 768, 1003, 32, batch=257, loss=SOFTMAX, optimizer=DECAY, permuted=True),
    Case(
        "softmax_g32_adam",
        100,
        1003,
        5,
        group_size=32,
        dense_labels=17,
        batch=64,
        loss=ALL_OF_SOFTMAX,
        optimizer=ADAM,
        tolerance=RATIO,
    ),
    Case(
        "softmax_g17_weighted",
        100,
        100,
        5,
        group_size=17,
        dense_labels=7,
        batch=33,
        loss=ALL_OF_SOFTMAX,
        weighted=True,
        permuted=True,
    ),
    Case("softmax_hidden", 31, 100, 5, dense_labels=7, batch=257, hidden=64, dropout=0.3, loss=SOFTMAX),
    Case("softmax_sparse", 5000, 100, 5, batch=64, hidden=31, nonzeros=40, loss=SOFTMAX, optimizer=MOMENTUM),
    Case("softmax_auxiliary", 31, 100, 5, group_size=3, batch=33, loss=SOFTMAX, clusters=9, optimizer=MOMENTUM),
]

AUXILIARY = (0.4, 5)  # weight at the first step of a meta-classifier, number of steps
BY_NAME = {case.name: case for case in CASES}
