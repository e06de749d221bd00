"""One call of the engine on tensors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..classifier import Classifier
from ..interop.dlpack import borrow_matrix, borrow_own
from ..interop.inputs import Indices
from ..interop.streams import on_device_of

Positives = tuple[Indices, Indices]


class Outcome(NamedTuple):
    """Loss of a batch, NaN if it was skipped, and the gradient of the embeddings, if it was asked for.

    The gradient of float16 is float32: unscaled, much of it would be too small for float16.
    """

    loss: float
    gradient: torch.Tensor | None
    skipped: bool


def run(
    classifier: Classifier,
    embeddings: torch.Tensor,
    positives: Positives,
    *,
    update: bool,
    gradient: bool,
    skip: bool,
    dropout: bool = True,
) -> Outcome:
    """A training step, or with `update=False` only what it would give; `dropout` then says whether units drop out."""
    source = embeddings.detach().contiguous()
    b = borrow_matrix("embeddings", source, classifier.in_features, classifier._place)
    grad = target = None
    if gradient:
        dtype = torch.float32 if source.dtype == torch.float16 else source.dtype
        grad = torch.empty_like(source, dtype=dtype)
        if source.is_cuda:
            with on_device_of(source):
                target = borrow_own(grad, b.stream)
        else:
            target = borrow_own(grad)
    engine = classifier._engine
    if update:
        step = engine.start_step(b.tensor, *positives, target, skip, b.stream, b.caller_stream)
    else:
        step = engine.eval_step(b.tensor, *positives, target, skip, dropout, b.stream)
    loss, skipped, _, _ = step.result()
    return Outcome(math.nan if skipped else loss, grad, skipped)
