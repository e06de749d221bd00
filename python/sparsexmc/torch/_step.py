"""A step of the classifier on tensors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..classifier import Classifier
from ._labels import Targets


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
    targets: Targets,
    *,
    update: bool,
    gradient: bool,
    skip: bool,
    dropout: bool = True,
) -> Outcome:
    """A training step, or with `update=False` only what it would give; `dropout` then says whether units drop out."""
    source = embeddings.detach().contiguous()
    options = {"update": update, "skip": skip, "return_grad": gradient, "exact_grad": True, "dropout": dropout}
    result = classifier._run_step(source, targets.positives, targets.instance_weights, **options)
    return Outcome(math.nan if result.skipped else result.loss, result.grad, result.skipped)
