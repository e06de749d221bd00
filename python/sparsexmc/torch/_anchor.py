"""The one parameter of a layer: what freezes the layer, and shows who copies parameters without the weights."""

from __future__ import annotations

import weakref

import torch

from ..errors import ArgumentError


class Anchor:
    """A view of a layer's parameter `anchor`, whose value is the number of the layer's steps.

    The weights of the layer are no parameters. Whoever freezes parameters freezes this one, and the layer with it.
    Whoever averages, copies or initialises parameters changes this one and not the weights: an exponential moving
    average, say, is a deep copy whose parameters are brought up to date. A layer that trains writes the number itself.
    One that does not must find what it wrote.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = weakref.ref(module)  # no cycle: the layer's memory goes with its last user
        self._steps = 0
        self._trains = False

    @staticmethod
    def make(device: str) -> torch.nn.Parameter:
        """The parameter."""
        with torch.inference_mode(False):
            return torch.nn.Parameter(torch.zeros((), device=device))

    @property
    def parameter(self) -> torch.nn.Parameter:
        """As the module has it at this moment."""
        module = self._module()
        assert module is not None
        parameter: torch.nn.Parameter = module.anchor
        return parameter

    @property
    def frozen(self) -> bool:
        """Whether the layer may not step."""
        return not self.parameter.requires_grad

    def begin(self, steps: int) -> None:
        """The layer has been made, loaded, moved or copied after so many steps."""
        self._trains = False
        self._write(steps)

    def train(self) -> None:
        """The layer trains itself: from now on optimizers may write into the parameter, weight decay for one."""
        self._trains = True

    def stepped(self) -> None:
        """The layer has taken a step."""
        self._write(self._steps + 1)

    def settle(self, steps: int) -> None:
        """Check, and show the number of steps exactly."""
        self.check()
        self._write(steps)

    def check(self) -> None:
        """Raises ArgumentError if others have written into the parameter of a layer that does not train itself."""
        if self._trains:
            return
        found = self.parameter.detach()
        if found.item() != torch.tensor(float(self._steps), dtype=found.dtype).item():
            raise ArgumentError(
                f"this OutputLayer has taken {self._steps} steps, but its parameter `anchor` was set to "
                f"{found.item():g}: something averages, copies or initialises parameters (AveragedModel, EMA or SWA of "
                "the whole model), which does not reach the layer's weights. Average the encoder alone, as in "
                "AveragedModel(model.encoder), and predict with the layer that trains, which averages its own weights "
                'if made with average="ema"; or copy the whole layer by load_state_dict(layer.state_dict())'
            )

    def _write(self, steps: int) -> None:
        self._steps = steps
        self.parameter.data.fill_(steps)
