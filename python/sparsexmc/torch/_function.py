"""The loss of a batch as a node of the autograd graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..errors import ArgumentError
from ._step import Outcome

Run = Callable[[torch.Tensor, bool], Outcome]  # (embeddings, is their gradient wanted)


class Loss(torch.autograd.Function):
    """Its backward scales the gradient of the embeddings, which the forward has left, or else the backward makes.

    Everything hangs on the context as plain attributes: what `save_for_backward` keeps, activation checkpointing would
    throw away and make again, by calling the layer a second time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        embeddings: torch.Tensor,
        anchor: torch.Tensor,
        run: Run,
        run_in_backward: Run | None,
        opened: Any,
    ) -> torch.Tensor:
        """`anchor` requires grad where the layer trains, so that the loss does even if the embeddings do not.

        `run_in_backward` takes the step, if the forward does not; `opened` is told of the backward.
        """
        outcome = run(embeddings, ctx.needs_input_grad[0] and run_in_backward is None)
        ctx.gradient = outcome.gradient
        ctx.embeddings = embeddings
        ctx.version = embeddings._version
        ctx.run_in_backward = run_in_backward
        ctx.opened = opened
        return torch.scalar_tensor(outcome.loss, dtype=torch.float32, device=embeddings.device)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None, None]:
        if ctx.run_in_backward is not None:
            if ctx.embeddings._version != ctx.version:
                raise ArgumentError(
                    "embeddings were changed in place after the forward, but the layer reads them again in the "
                    "backward; pass embeddings.clone()"
                )
            ctx.gradient = ctx.run_in_backward(ctx.embeddings, ctx.needs_input_grad[0]).gradient
            ctx.run_in_backward = None  # a second backward of the graph takes no second step
        if ctx.opened is not None:
            ctx.opened.close()
        # Zero, as optimizers and DistributedDataParallel expect one from every parameter that takes part.
        of_anchor = torch.zeros_like(upstream) if ctx.needs_input_grad[1] else None
        if ctx.gradient is None:
            return None, of_anchor, None, None, None
        gradient = ctx.gradient
        if not upstream.is_cpu or upstream.item() != 1.0:
            gradient = gradient * upstream
        if gradient.dtype != ctx.embeddings.dtype:
            gradient = gradient.to(ctx.embeddings.dtype)
        if torch.is_grad_enabled():  # create_graph=True
            gradient = _FirstOrder.apply(gradient, ctx.embeddings, upstream)
        return gradient, of_anchor, None, None, None


class _FirstOrder(torch.autograd.Function):
    """A gradient that depends on the embeddings in a way that nobody has derived."""

    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, embeddings: torch.Tensor, upstream: torch.Tensor) -> torch.Tensor:
        del ctx, embeddings, upstream
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[None, None, None]:
        del ctx, upstream
        raise ArgumentError(
            "OutputLayer has no second derivative, as its logits are never kept; take gradient penalties of another "
            "part of the model, or detach() the gradient of the embeddings"
        )
