"""JAX: the output layer as a function with a gradient, under `jit` too. Needs `pip install 'sparsexmc[jax]'`.

Eagerly a step borrows JAX's memory through DLPack, on the CPU and on a GPU, and `train_step` says all there is to it.
Under `jit` the step is an ordered `jax.experimental.io_callback`, which on a GPU takes embeddings and gradient through
host memory; what JAX does not allow around such a callback is listed at `OutputLayer`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ._checks import require_choice
from ._csr import check_columns
from .classifier import Classifier
from .core.step import StepResult
from .errors import ArgumentError, DTypeError
from .interop.inputs import labels_input

try:
    import jax
    import jax.numpy as jnp
    from jax.experimental import io_callback
except ImportError as error:
    raise ImportError("sparsexmc.jax needs JAX: pip install 'sparsexmc[jax]'", name="jax") from error

__all__ = ["OutputLayer", "pad_labels", "train_step"]

PADDING = -1


def train_step(
    classifier: Classifier,
    embeddings: Any,
    labels: Any,
    instance_weights: Any = None,
    *,
    on_nonfinite: str = "raise",
) -> StepResult:
    """`Classifier.train_step` outside of `jit`, whose gradient is a `jax.Array` in the same memory.

    Args:
        embeddings: `jax.Array` [b, in_features] of float32, bfloat16 or float16 on the classifier's device.
        labels: as in `Classifier.train_step`, or a matrix of `pad_labels`.
        instance_weights: [b] as in `Classifier.train_step`, or None.
    """
    _refuse_tracer(embeddings, "train_step", "use OutputLayer there")
    weights = None if instance_weights is None else np.asarray(instance_weights)
    result = classifier.train_step(embeddings, _positives(labels), weights, on_nonfinite=on_nonfinite)
    return result.with_grad(jax.dlpack.from_dlpack(result.grad))


def pad_labels(Y: Any, width: int | None = None) -> npt.NDArray[np.int32]:
    """The positives of scipy CSR labels [n, L] as int32 [n, width], filled up with -1: a fixed shape, as `jit` wants.

    `width` is by default the largest number of positives of an instance. It costs n * width * 4 bytes: take batches.

    Raises:
        ArgumentError: an instance has more than `width` positives, or Y holds NaN.
    """
    if not sp.issparse(Y) or Y.format != "csr":
        raise DTypeError(f"Y is a {type(Y).__name__}; pass a scipy CSR matrix, such as scipy.sparse.csr_matrix(Y)")
    rows = Y.shape[0]
    indptr, indices = labels_input("Y", Y, rows, Y.shape[1])
    check_columns("Y", indices, Y.shape[1])
    counts = np.diff(indptr)
    most = int(counts.max(initial=0))
    width = max(most, 1) if width is None else width
    if most > width:
        raise ArgumentError(
            f"width={width}, but row {int(counts.argmax())} of Y has {most} positives; give at least that"
        )
    padded = np.full((rows, width), PADDING, np.int32)
    row_of = np.repeat(np.arange(rows), counts)
    padded[row_of, np.arange(len(row_of)) - np.repeat(indptr[:-1], counts)] = indices
    return padded


class OutputLayer:
    """`loss = layer(embeddings, labels)` inside of `jax.grad` and `jax.jit`: the classifier steps, the encoder learns.

    The fused step runs once for every evaluation of the forward pass, with the update of the classifier; the backward
    pass scales the stored gradient. Steps happen in the order of the program, also those of a `jax.lax.scan`.

    Limits:
        - It must be differentiated with respect to the embeddings. Evaluated without, it would train unasked: that is
          an error when it runs. Predict with `topk`; for an encoder that does not learn call `train_step`.
        - Micro-batches of gradient accumulation are a step each.
        - JAX refuses it under `vmap`, `shard_map`, `jax.checkpoint` (it would step twice; put the encoder alone
          inside), forward mode (`jvp`, `jacfwd`) and second derivatives (`hessian`).
        - Arrays that `jit` has sharded over devices are gathered for one step. Under `pmap` each device's share of the
          batch is a step of its own, where JAX does not refuse it.
        - JAX evaluates what is the same in all iterations of a differentiated `scan` once: a loop over one and the same
          batch is then one step. Differentiate inside of the body, as training loops do.
        - Errors that only the data shows, such as a label id out of range, come as `jax.errors.JaxRuntimeError` whose
          text holds ours, when the result is waited for; the classifier is as before that step.
        - JAX runs ahead of Python: call `jax.effects_barrier()` before you use the classifier itself, for example to
          save it. `topk` does that.
        - On a GPU embeddings and gradient go through host memory. `train_step` does not need that.

    Args:
        classifier: with dense embeddings; any device.
        on_nonfinite: on NaN or Inf in the embeddings "raise", or "skip" the batch: nothing changes, the gradient is 0.
    """

    def __init__(self, classifier: Classifier, *, on_nonfinite: str = "raise") -> None:
        if classifier.sparse_input:
            raise ArgumentError(
                "classifier has sparse_input=True; a layer on embeddings needs one that reads dense rows"
            )
        require_choice("on_nonfinite", on_nonfinite, ["raise", "skip"])
        self.classifier = classifier
        self.on_nonfinite = on_nonfinite

    def __call__(self, embeddings: Any, labels: Any, instance_weights: Any = None) -> Any:
        """The loss, a float32 scalar: summed over the labels, averaged over the instances; before the update.

        Args:
            embeddings: [b, in_features] of float32, bfloat16 or float16, b at most the classifier's batch_size.
            labels: integers [b], one label per instance, or [b, m] of `pad_labels`: negative ones are none.
            instance_weights: [b] finite factors >= 0 on the losses of the instances; None: all 1. The mean divides by
                b, not by the sum of the weights. They have no gradient.

        Raises:
            ArgumentError, DTypeError: wrong shape or dtype, at once (under `jit` when it traces).
        """
        embeddings, labels = jnp.asarray(embeddings), jnp.asarray(labels)
        self._check(embeddings, labels)
        if instance_weights is None:
            return _loss(self, embeddings, labels, None)
        weights = jnp.asarray(instance_weights, jnp.float32)
        if weights.shape != embeddings.shape[:1]:
            rows = embeddings.shape[0]
            raise ArgumentError(f"instance_weights have shape {weights.shape}; for {rows} embeddings pass [{rows}]")
        return _loss(self, embeddings, labels, jax.lax.stop_gradient(weights))

    def topk(self, embeddings: Any, k: int = 5) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """`Classifier.topk` after all steps that were started; outside of `jit`."""
        _refuse_tracer(embeddings, "topk", "return the embeddings from the jitted function and call it on them")
        jax.effects_barrier()
        return self.classifier.topk(embeddings, k)

    def _check(self, embeddings: Any, labels: Any) -> None:
        width, most = self.classifier.in_features, self.classifier.batch_size
        if embeddings.ndim != 2 or embeddings.shape[1] != width:
            raise ArgumentError(f"embeddings have shape {embeddings.shape}; the classifier reads [b, {width}]")
        if embeddings.dtype not in (jnp.float32, jnp.bfloat16, jnp.float16):
            raise DTypeError(f"embeddings have dtype {embeddings.dtype}; use float32, bfloat16 or float16")
        rows = embeddings.shape[0]
        if not 1 <= rows <= most:
            raise ArgumentError(f"embeddings have {rows} rows; a batch has 1 to batch_size={most} of the classifier")
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise DTypeError(f"labels have dtype {labels.dtype}; pass integers [b], or [b, m] of pad_labels")
        if labels.ndim not in (1, 2) or labels.shape[0] != rows:
            raise ArgumentError(f"labels have shape {labels.shape}; for {rows} embeddings pass [{rows}] or [{rows}, m]")

    def _step(
        self, embeddings: Any, labels: Any, instance_weights: Any
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        """Runs in a thread of JAX."""
        weights = None if instance_weights is None else np.asarray(instance_weights)
        result = self.classifier.train_step(
            np.asarray(embeddings), _positives(labels), weights, on_nonfinite=self.on_nonfinite
        )
        return np.asarray(result.loss, np.float32), result.grad


def _evaluate(layer: OutputLayer, embeddings: Any, labels: Any, instance_weights: Any) -> Any:
    """The forward pass without a gradient, which is refused."""
    return io_callback(_refuse_evaluation, jax.ShapeDtypeStruct((), jnp.float32), ordered=True)


def _forward(layer: OutputLayer, embeddings: Any, labels: Any, instance_weights: Any) -> tuple[Any, Any]:
    shapes = (jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct(embeddings.shape, embeddings.dtype))
    return io_callback(layer._step, shapes, embeddings, labels, instance_weights, ordered=True)


def _backward(layer: OutputLayer, gradient: Any, upstream: Any) -> tuple[Any, None, None]:
    return (gradient * upstream).astype(gradient.dtype), None, None


_loss = jax.custom_vjp(_evaluate, nondiff_argnums=(0,))
_loss.defvjp(_forward, _backward)


def _refuse_evaluation() -> None:
    raise ArgumentError(
        "the layer was evaluated without a gradient for its embeddings, which would train it unasked; differentiate "
        "with jax.value_and_grad, predict with layer.topk, or call train_step for embeddings that do not learn"
    )


def _refuse_tracer(value: Any, function: str, remedy: str) -> None:
    if isinstance(value, jax.core.Tracer):
        raise ArgumentError(f"{function} runs outside of jit and grad, but embeddings are being traced; {remedy}")


def _positives(labels: Any) -> Any:
    """A padded matrix as (indptr, indices); anything else as it is."""
    if sp.issparse(labels) or getattr(labels, "ndim", 1) != 2:
        return np.asarray(labels) if isinstance(labels, jax.Array) else labels
    matrix = np.asarray(labels)
    present = matrix >= 0
    return np.concatenate([[0], np.cumsum(present.sum(axis=1))]), matrix[present]
