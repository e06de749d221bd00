"""Detection of a second forward on the same batch, by activation checkpointing.

Reentrant checkpointing runs its first forward without gradients, when the layer takes no step, and the second, with the
step, inside the backward pass. The other kind takes the step in the first forward, and runs the second, inside the
backward pass too, only to make tensors again that other modules had saved.
"""

from __future__ import annotations

import torch


class Steps:
    """Steps of a layer whose backward is still to come, and the backward pass that came last."""

    def __init__(self) -> None:
        self.open: set[int] = set()  # as ids: weak references would cost microseconds
        self.last_backward = -1

    def would_repeat(self) -> bool:
        """Whether a step now would be the second on a batch whose first belongs to the backward pass that runs."""
        task = torch._C._current_graph_task_id()  # -1 outside of a backward pass
        return task != -1 and (len(self.open) > 0 or task == self.last_backward)


class OpenStep:
    """A step whose backward may still come; it dies with its graph."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        steps.open.add(id(self))

    def __del__(self) -> None:
        self._steps.open.discard(id(self))

    def close(self) -> None:
        """The backward is running."""
        self._steps.open.discard(id(self))
        self._steps.last_backward = torch._C._current_graph_task_id()
