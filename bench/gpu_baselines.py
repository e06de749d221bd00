"""Baselines of the fused step on a GPU, all in PyTorch. One object is one model; ``run(batch)`` is one step
with the gradient of the embeddings, ``prepare(batch)`` what is not timed.

Storage is that of our step: SGD on bf16 weights, or Adam on fp32 weights and state; products are in bf16.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

LEARNING_RATE = {"SGD": 0.01, "Adam": 1e-3}
BETAS, EPS = (0.9, 0.999), 1e-8
GATHERED_BYTES = 256 << 20  # of one chunk of gathered inputs
LOGITS_OF_A_CHUNK = 1 << 24  # 32 MiB in bf16: they stay in the L2 cache of a large card


@dataclass(frozen=True)
class Sizes:
    """One configuration; a dense contender ignores fan_in and group_size."""

    labels: int
    features: int
    batch: int
    fan_in: int
    group_size: int
    optimizer: str

    @property
    def groups(self) -> int:
        return -(-self.labels // self.group_size)


@dataclass(frozen=True)
class Batch:
    """Embeddings on the device, and the positives as our step takes them and as index tensors on the device."""

    x: torch.Tensor  # [B, H] bf16
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    rows: torch.Tensor
    columns: torch.Tensor  # label of each positive


def make_batches(sizes: Sizes, device: torch.device, count: int, positives: int) -> list[Batch]:
    """Different input sets: normal embeddings, and `positives` distinct labels per instance."""
    made = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        step = sizes.labels // (positives + 1)  # apart, hence distinct
        first = rng.integers(sizes.labels, size=(sizes.batch, 1))
        indices = ((first + step * np.arange(positives)) % sizes.labels).reshape(-1)
        x = torch.from_numpy(rng.standard_normal((sizes.batch, sizes.features), dtype=np.float32))
        made.append(
            Batch(
                x.to(device, torch.bfloat16),
                np.arange(0, indices.size + 1, positives),
                indices,
                torch.arange(sizes.batch, device=device).repeat_interleave(positives),
                torch.from_numpy(indices).to(device),
            )
        )
    return made


class Dense:
    """(a) The textbook step: linear, BCE with logits, backward, fused optimizer. Filling the targets is not timed."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        adam = sizes.optimizer == "Adam"
        dtype = torch.float32 if adam else torch.bfloat16
        scale = sizes.features**-0.5
        self._weight = torch.nn.Parameter(
            torch.randn(sizes.labels, sizes.features, device=device, dtype=dtype).mul_(scale)
        )
        self._bias = torch.nn.Parameter(torch.zeros(sizes.labels, device=device, dtype=dtype))
        parameters, lr = [self._weight, self._bias], LEARNING_RATE[sizes.optimizer]
        self._optimizer = (
            torch.optim.Adam(parameters, lr=lr, betas=BETAS, eps=EPS, fused=True)
            if adam
            else torch.optim.SGD(parameters, lr=lr, fused=device.type == "cuda")  # wrong on the CPU in bf16 (2.13)
        )
        self._targets = torch.zeros(sizes.batch, sizes.labels, device=device, dtype=torch.bfloat16)

    def prepare(self, batch: Batch) -> None:
        self._targets.zero_()
        self._targets[batch.rows, batch.columns] = 1.0

    def run(self, batch: Batch) -> torch.Tensor | None:
        x = batch.x.detach().requires_grad_()
        weight, bias = self._weight.to(torch.bfloat16), self._bias.to(torch.bfloat16)
        logits = functional.linear(x, weight, bias)
        loss = functional.binary_cross_entropy_with_logits(logits, self._targets, reduction="sum") / len(x)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return x.grad


def bf16_copy(weight: torch.Tensor) -> torch.Tensor:
    return weight.to(torch.bfloat16)


def scaled_sigmoid(z: torch.Tensor, bias: torch.Tensor, scale: float) -> torch.Tensor:
    return (torch.sigmoid(z.float() + bias) * scale).to(torch.bfloat16)


def adam_update(weight: torch.Tensor, m: torch.Tensor, v: torch.Tensor, gradient: torch.Tensor) -> None:
    """In place; without the bias corrections, which cost nothing."""
    gradient = gradient.float()
    m.lerp_(gradient, 1 - BETAS[0])
    v.lerp_(gradient * gradient, 1 - BETAS[1])
    weight.sub_(LEARNING_RATE["Adam"] * m / (v.sqrt() + EPS))


class ChunkedDense:
    """(b) The strong dense step: chunk by chunk of the labels, so that logits stay in the L2 cache; the logit gradient
    written directly, (sigmoid(z) - y) / B, without a loss value; elementwise work compiled into single kernels; SGD
    inside the matrix product that makes dW. The positives of each chunk are found before the clock starts.
    """

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self._adam = sizes.optimizer == "Adam"
        self._scale = 1.0 / sizes.batch
        dtype = torch.float32 if self._adam else torch.bfloat16
        self._weight = torch.randn(sizes.labels, sizes.features, device=device, dtype=dtype)
        self._weight.mul_(sizes.features**-0.5)
        self._bias = torch.zeros(sizes.labels, device=device)
        state = [self._weight, self._bias] if self._adam else []
        self._state = [[torch.zeros_like(tensor) for tensor in state] for _ in range(2)]
        count = -(-sizes.labels // min(1 << 16, LOGITS_OF_A_CHUNK // sizes.batch))
        chunk = -(-sizes.labels // (64 * count)) * 64  # equal, and aligned
        self._chunks = [(i, min(i + chunk, sizes.labels)) for i in range(0, sizes.labels, chunk)]
        self._positives: dict[int, list[torch.Tensor]] = {}
        self._dx = torch.zeros(sizes.batch, sizes.features, device=device)
        self.note = ""
        self._compile(device)

    def _compile(self, device: torch.device) -> None:
        self._bf16, self._sigmoid, self._update = bf16_copy, scaled_sigmoid, adam_update
        if device.type != "cuda":
            self.note = "not compiled"
            return
        try:
            compiled = [torch.compile(f, dynamic=True) for f in (bf16_copy, scaled_sigmoid, adam_update)]
            self._bf16, self._sigmoid, self._update = compiled
            self._try(device)
        except Exception as error:  # whatever the compiler throws: this baseline then runs without it
            warnings.warn(f"torch.compile failed, the chunked dense baseline runs eagerly: {error}", stacklevel=1)
            self._bf16, self._sigmoid, self._update = bf16_copy, scaled_sigmoid, adam_update
            self.note = "eager: torch.compile failed"

    def _try(self, device: torch.device) -> None:
        weight, m, v = (torch.zeros(48, 64, device=device) for _ in range(3))
        z, bias = torch.zeros(40, 48, device=device, dtype=torch.bfloat16), torch.zeros(48, device=device)
        self._sigmoid(z, bias, self._scale)
        self._update(weight, m, v, self._bf16(weight))
        torch.cuda.synchronize()

    def prepare(self, batch: Batch) -> None:
        if id(batch) in self._positives:
            return
        flat = []
        for first, last in self._chunks:
            inside = (batch.columns >= first) & (batch.columns < last)
            flat.append(batch.rows[inside] * (last - first) + batch.columns[inside] - first)
        self._positives[id(batch)] = flat

    def run(self, batch: Batch) -> torch.Tensor:
        x, lr = batch.x, LEARNING_RATE["Adam" if self._adam else "SGD"]
        self._dx.zero_()
        for (first, last), positives in zip(self._chunks, self._positives[id(batch)], strict=True):
            weight, bias = self._weight[first:last], self._bias[first:last]
            narrow = self._bf16(weight) if self._adam else weight
            d = self._sigmoid(x @ narrow.t(), bias, self._scale)
            minus = torch.full(positives.shape, -self._scale, device=d.device, dtype=d.dtype)
            d.view(-1).index_add_(0, positives, minus)
            self._dx += d @ narrow
            if self._adam:
                m, v = ([tensor[first:last] for tensor in slot] for slot in self._state)
                self._update(weight, m[0], v[0], d.t() @ x)
                self._update(bias, m[1], v[1], d.sum(0))
            else:
                weight.addmm_(d.t(), x, alpha=-lr)
                bias.sub_(d.sum(0), alpha=lr)
        return self._dx


class Gather:
    """(c) Fan-in written with PyTorch's own operators: gather the inputs that each group reads, x[:, idx] (from the
    transposed batch, whose rows are contiguous), then batched products; chunk by chunk, to bound memory. SGD only.
    """

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        groups, f = sizes.groups, sizes.fan_in
        self._indices = torch.randint(sizes.features, (groups, f), device=device)
        self._weight = torch.randn(groups, sizes.group_size, f, device=device, dtype=torch.bfloat16).mul_(f**-0.5)
        self._bias = torch.zeros(groups, sizes.group_size, 1, device=device)
        self._group_size, self._scale = sizes.group_size, 1.0 / sizes.batch
        chunk = max(1, GATHERED_BYTES // (2 * f * sizes.batch))
        self._chunks = [(i, min(i + chunk, groups)) for i in range(0, groups, chunk)]
        self._dx = torch.zeros(sizes.features, sizes.batch, device=device)

    def prepare(self, batch: Batch) -> None:
        """Nothing."""

    def run(self, batch: Batch) -> torch.Tensor:
        xt, lr = batch.x.t().contiguous(), LEARNING_RATE["SGD"]
        instances = xt.shape[1]
        self._dx.zero_()
        for first, last in self._chunks:
            indices, weight, bias = self._indices[first:last], self._weight[first:last], self._bias[first:last]
            inputs = xt[indices]  # [groups, F, B]
            d = (torch.sigmoid(torch.bmm(weight, inputs) + bias) * self._scale).to(torch.bfloat16)
            labels = batch.columns - first * self._group_size
            inside = (labels >= 0) & (labels < d.shape[0] * self._group_size)
            flat = (labels.clamp(0, d.shape[0] * self._group_size - 1)) * instances + batch.rows
            d.view(-1).index_add_(0, flat, (inside * -self._scale).to(d.dtype))
            self._dx.index_add_(0, indices.view(-1), torch.bmm(weight.mT, d).view(-1, instances).float())
            weight.baddbmm_(d, inputs.mT, alpha=-lr)
            bias.sub_(d.sum(2, keepdim=True), alpha=lr)
        return self._dx.t().contiguous()


BASELINES = {"dense": Dense, "chunked": ChunkedDense, "gather": Gather}
