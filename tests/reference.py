"""The oracle: every formula of the engine in naive float64 NumPy, written from the papers and not from the C++.

The model is the `state_dict` of a classifier turned to float64; `Reference` moves it as the engine should. Fan-in rows
are scattered into whole [rows, in_features] matrices, so nothing here knows tiles, parts or strips.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Array = npt.NDArray[np.float64]
State = dict[str, npt.NDArray]
Features = npt.NDArray | sp.csr_matrix

DROPOUT_PURPOSE = 3


def philox(key: int, counter: Sequence[npt.ArrayLike]) -> list[npt.NDArray[np.uint64]]:
    """Philox4x32-10 (Salmon et al., SC 2011) of broadcast 32-bit counter words under a 64-bit key: four words."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    words = np.broadcast_arrays(*(np.asarray(word, dtype=np.uint64) for word in counter))
    c0, c1, c2, c3 = words
    for number in range(10):
        k0 = np.uint64(((key & 0xFFFFFFFF) + number * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64(((key >> 32) + number * 0xBB67AE85) & 0xFFFFFFFF)
        first, second = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (second >> half) ^ c1 ^ k0, second & low, (first >> half) ^ c3 ^ k1, first & low
    return [c0, c1, c2, c3]


def draw_one(seed: int, purpose: int, step: int, row: npt.ArrayLike, slot: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """The 32-bit number of (seed, purpose, step, row, slot): four slots share one Philox block."""
    row, slot = np.broadcast_arrays(np.asarray(row, dtype=np.uint64), np.asarray(slot, dtype=np.uint64))
    high = np.uint64(purpose << 16 | (step >> 32 & 0xFF)) | (row >> np.uint64(32) & np.uint64(0xFF)) << np.uint64(8)
    words = philox(seed, [slot >> np.uint64(2), row & np.uint64(0xFFFFFFFF), step & 0xFFFFFFFF, high])
    return np.choose((slot & np.uint64(3)).astype(np.intp), words)


def dropout_mask(seed: int, step: int, batch: int, units: int, dropout: float) -> Array:
    """[batch, units] of 0 (dropped) and 1 / (1 - dropout) (kept): inverted dropout."""
    if dropout == 0.0:
        return np.ones((batch, units))
    numbers = draw_one(seed, DROPOUT_PURPOSE, step, np.arange(batch)[:, None], np.arange(units)[None, :])
    uniform = (numbers >> np.uint64(8)).astype(np.float64) / 2.0**24
    return (uniform >= np.float32(dropout)) / (1.0 - dropout)


@dataclass(frozen=True)
class Sgd:
    """v = momentum v + g + weight_decay w; w -= lr v."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    @property
    def slots(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def update(self, w: Array, slots: list[Array], grad: Array, lr: float, step: int, decay: bool) -> None:
        """Changes w and its state in place; `step` counts finished updates from 0."""
        v = grad + (self.weight_decay * w if decay else 0.0)
        if self.momentum:
            slots[0][...] = self.momentum * slots[0] + v
            v = slots[0]
        w -= lr * v


@dataclass(frozen=True)
class Adam:
    """Adam with decoupled weight decay: w -= lr (m_hat / (sqrt(v_hat) + eps) + weight_decay w)."""

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    slots: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def update(self, w: Array, slots: list[Array], grad: Array, lr: float, step: int, decay: bool) -> None:
        m, v = slots
        m[...] = self.betas[0] * m + (1.0 - self.betas[0]) * grad
        v[...] = self.betas[1] * v + (1.0 - self.betas[1]) * grad**2
        m_hat = m / (1.0 - self.betas[0] ** (step + 1))
        v_hat = v / (1.0 - self.betas[1] ** (step + 1))
        w -= lr * (m_hat / (np.sqrt(v_hat) + self.eps) + (self.weight_decay * w if decay else 0.0))


@dataclass(frozen=True)
class Schedule:
    """Factor on lr: warm-up over `warmup_steps`, then constant, or decreasing to `final_share` at `total_steps`."""

    kind: str = "constant"
    warmup_steps: int = 0
    total_steps: int = 0
    final_share: float = 0.0

    def factor(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.kind == "constant":
            return 1.0
        gone = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        left = 1.0 - gone if self.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * gone))
        return self.final_share + (1.0 - self.final_share) * left


@dataclass(frozen=True)
class Softmax:
    """-sum of w y log p + z_loss lse^2 with p = softmax(scale z): see `softmax_loss`."""

    scale: float = 1.0
    label_smoothing: float = 0.0
    z_loss: float = 0.0


def softmax_loss(
    softmax: Softmax, z: Array, positive: npt.NDArray[np.bool_], weights: Array | None = None
) -> tuple[Array, Array]:
    """Loss [batch, 1] and its derivative by the logits [batch, labels]; nothing for instances without positives."""
    logits, n = softmax.scale * z, positive.sum(axis=1, keepdims=True)
    top = logits.max(axis=1, keepdims=True)
    shifted = logits - top
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    y = (1.0 - softmax.label_smoothing) * positive / np.maximum(n, 1) * (1.0 if weights is None else weights)
    y = y + softmax.label_smoothing / z.shape[1]
    whole = top + log_sum
    loss = (y * (log_sum - shifted)).sum(axis=1, keepdims=True) + softmax.z_loss * whole**2
    d = (y.sum(axis=1, keepdims=True) + 2.0 * softmax.z_loss * whole) * np.exp(shifted - log_sum) - y
    return loss * (n > 0), softmax.scale * d * (n > 0)


def label_loss(
    kind: str | Softmax, z: Array, positive: npt.NDArray[np.bool_], weights: Array | None = None
) -> tuple[Array, Array]:
    """Loss and its derivative by the logit, elementwise; `weights` [labels] multiply both where a label is positive.

    A `Softmax` has one loss per instance: see `softmax_loss`.
    """
    if isinstance(kind, Softmax):
        return softmax_loss(kind, z, positive, weights)
    y = np.where(positive, 1.0, -1.0)
    factor = 1.0 if weights is None else np.where(positive, weights, 1.0)
    if kind == "bce":  # log(1 + exp(-y z))
        return factor * np.logaddexp(0.0, -y * z), factor * -y * np.exp(-np.logaddexp(0.0, y * z))
    margin = np.maximum(0.0, 1.0 - y * z)  # squared hinge
    return factor * margin**2, factor * -2.0 * y * margin


def best_constant_logit(kind: str, counts: npt.ArrayLike, instances: int, weights: npt.ArrayLike = 1.0) -> Array:
    """The logit z with the least weights p loss(1, z) + (1 - p) loss(0, z), p = (counts + 1/2) / (instances + 1)."""
    p = (np.asarray(counts, dtype=np.float64) + 0.5) / (instances + 1)
    positive, negative = np.asarray(weights) * p, 1.0 - p
    if kind == "softmax":
        return np.log(positive) - np.log(positive + negative)
    if kind == "bce":
        return np.log(positive) - np.log(negative)
    return (positive - negative) / (positive + negative)


def propensity_weights(counts: npt.ArrayLike, instances: int, a: float = 0.55, b: float = 1.5) -> Array:
    """2 / p - 1 with the propensity p = 1 / (1 + C (n + b)^-a), C = (ln N - 1)(b + 1)^a."""
    c = (math.log(instances) - 1.0) * (b + 1.0) ** a
    p = 1.0 / (1.0 + c * (np.asarray(counts, dtype=np.float64) + b) ** -a)
    return 2.0 / p - 1.0


def positives_matrix(labels: Sequence[Sequence[int]], num_labels: int) -> npt.NDArray[np.bool_]:
    """[batch, num_labels] by user label id; a label that occurs twice in a row counts once."""
    matrix = np.zeros((len(labels), num_labels), dtype=bool)
    for row, ids in enumerate(labels):
        matrix[row, list(ids)] = True
    return matrix


def scatter_rows(weights: Array, indices: npt.NDArray | None, group_size: int, in_features: int) -> Array:
    """A segment as one [rows, in_features] matrix; `indices` [groups, fan_in] or None for a dense segment."""
    if indices is None:
        return weights
    matrix, rows = np.zeros((len(weights), in_features)), np.arange(len(weights))
    matrix[rows[:, None], indices[rows // group_size].astype(np.int64)] = weights
    return matrix


def best_labels(scores: Array, k: int) -> npt.NDArray[np.int64]:
    """[batch, k] label ids by descending score, ties to the smaller id; `scores` [batch, num_labels] by user id."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@dataclass
class Reference:
    """A classifier in float64. `state` has the names of `state_dict`; it is copied and widened."""

    state: State
    in_features: int  # of the output layer: the hidden layer's units if there is one
    group_size: int
    loss: str | Softmax
    optimizer: Sgd | Adam
    schedule: Schedule = field(default_factory=Schedule)
    dropout: float = 0.0
    seed: int = 0
    step: int = 0
    auxiliary: tuple[float, int] = (0.0, 1)  # weight of the meta-classifier at step 0, step at which it is 0
    auxiliary_loss: float = 0.0  # of the last gradients()

    def __post_init__(self) -> None:
        floating = {name for name, value in self.state.items() if np.issubdtype(value.dtype, np.floating)}
        self.state = {
            name: np.array(value, dtype=np.float64 if name in floating else None) for name, value in self.state.items()
        }

    @property
    def segments(self) -> list[int]:
        return [i for i in range(2) if f"segments.{i}.weights" in self.state]

    def rows(self, segment: int) -> slice:
        """Internal rows of a segment."""
        start = sum(len(self.state[f"segments.{i}.weights"]) for i in range(segment))
        return slice(start, start + len(self.state[f"segments.{segment}.weights"]))

    def matrix(self, segment: int) -> Array:
        state, name = self.state, f"segments.{segment}"
        return scatter_rows(state[f"{name}.weights"], state.get(f"{name}.indices"), self.group_size, self.in_features)

    def hidden(self, x: Features, training: bool) -> tuple[Array, Array]:
        """Input of the output layer [batch, in_features], and its derivative by the pre-activation."""
        x = x.toarray() if sp.issparse(x) else np.asarray(x)
        x = x.astype(np.float64)
        if "hidden.weight" not in self.state:
            return x, np.ones_like(x)
        z = x @ self.state["hidden.weight"] + self.state["hidden.bias"]
        mask = dropout_mask(self.seed, self.step, len(x), z.shape[1], self.dropout) if training else np.ones_like(z)
        return np.maximum(z, 0.0) * mask, (z > 0.0) * mask

    def logits(self, x: Features) -> Array:
        """[batch, num_labels] by user label id, without dropout."""
        h, _ = self.hidden(x, training=False)
        scores = np.empty((len(h), len(self.state["label_order"])))
        for i in self.segments:
            z = h @ self.matrix(i).T + self.state[f"segments.{i}.bias"]
            scores[:, self.state["label_order"][self.rows(i)].astype(np.int64)] = z
        return scores

    def auxiliary_weight(self) -> float:
        """Of the meta-classifier's loss in the total: half a cosine down to 0."""
        start, steps = self.auxiliary
        return start * 0.5 * (1.0 + math.cos(math.pi * self.step / steps)) if self.step < steps else 0.0

    def slopes(self, h: Array, positive: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        """Losses, and their derivatives by the logits [batch, rows], in internal order, before any mean."""
        z = np.hstack([h @ self.matrix(i).T + self.state[f"segments.{i}.bias"] for i in self.segments])
        weights = [self.state.get(f"segments.{i}.positive_weights") for i in self.segments]
        return label_loss(self.loss, z, positive, None if weights[0] is None else np.concatenate(weights))

    def gradients(
        self, x: Features, labels: Sequence[Sequence[int]], instance_weights: npt.ArrayLike | None = None
    ) -> tuple[float, State]:
        """Total loss and its gradient by every trained tensor and by "x", at the present state and step.

        `instance_weights` [batch] multiply the losses of the instances, whose mean divides by the size of the batch.
        """
        dense = (x.toarray() if sp.issparse(x) else np.asarray(x)).astype(np.float64)
        h, slope = self.hidden(x, training=True)
        order = self.state["label_order"].astype(np.int64)
        positive = positives_matrix(labels, len(order))[:, order]
        share = np.ones(len(h)) if instance_weights is None else np.asarray(instance_weights, dtype=np.float64)
        share = share[:, None] / len(h)
        loss, slopes = self.slopes(h, positive)
        total, grads, dh = (share * loss).sum(), {}, np.zeros_like(h)
        for i in self.segments:
            w, d = self.matrix(i), share * slopes[:, self.rows(i)]
            dh += d @ w
            dw, indices = d.T @ h, self.state.get(f"segments.{i}.indices")
            if indices is not None:
                rows = np.arange(len(dw))
                dw = dw[rows[:, None], indices.astype(np.int64)[rows // self.group_size]]
            grads[f"segments.{i}.weights"], grads[f"segments.{i}.bias"] = dw, d.sum(axis=0)
        self.auxiliary_loss, weight = 0.0, self.auxiliary_weight()
        if weight > 0.0:
            w, clusters = self.state["auxiliary.weights"], self.state["auxiliary.clusters"].astype(np.int64)
            truth = positives_matrix([clusters[list(ids)].tolist() for ids in labels], len(w))
            loss, d = label_loss("bce", h @ w.T + self.state["auxiliary.bias"], truth)
            self.auxiliary_loss = (share * loss).sum()
            d *= weight * share
            total += weight * self.auxiliary_loss
            dh += d @ w
            grads["auxiliary.weights"], grads["auxiliary.bias"] = d.T @ h, d.sum(axis=0)
        if "hidden.weight" in self.state:
            dz = dh * slope
            grads["hidden.weight"], grads["hidden.bias"] = dense.T @ dz, dz.sum(axis=0)
            dh = dz @ self.state["hidden.weight"].T
        grads["x"] = dh
        return total, grads

    def train_step(
        self, x: Features, labels: Sequence[Sequence[int]], instance_weights: npt.ArrayLike | None = None
    ) -> tuple[float, Array]:
        """Main loss and the gradient of the total by x, both with the parameters from before the update."""
        loss, grads = self.gradients(x, labels, instance_weights)
        loss -= self.auxiliary_weight() * self.auxiliary_loss
        dx = grads.pop("x")
        lr = self.optimizer.lr * self.schedule.factor(self.step)
        for name, grad in grads.items():
            # Sparse features: the rows of features that the batch does not hold rest, state and decay included.
            lazy = name == "hidden.weight" and sp.issparse(x)
            rows = np.unique(x.indices) if lazy else slice(None)
            w = self.state[name][rows]
            keys = [f"optimizer.{name}.{slot}" for slot in self.optimizer.slots]
            slots = [self.state[key][rows] for key in keys]
            self.optimizer.update(w, slots, grad[rows], lr, self.step, decay=not name.endswith("bias"))
            for key, value in zip([name, *keys], [w, *slots], strict=True):
                self.state[key][rows] = value
        self.step += 1
        return loss, dx
