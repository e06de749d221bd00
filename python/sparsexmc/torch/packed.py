"""The output layer inside of a `transformers.PreTrainedModel`."""

from __future__ import annotations

from typing import Any

import torch

from ._packing import pack, unpack
from ._tensors import from_tensors, to_tensors
from .layer import OutputLayer


class PackedOutputLayer(OutputLayer):
    """An `OutputLayer` for models with `save_pretrained` and `from_pretrained`: its state is one tensor.

    `from_pretrained` makes the model on the meta device and then sets parameters, buffers and the extra state of
    modules one by one. The layer has neither of the first two, so `state_dict()` holds all of it as extra state: one
    tensor of bytes. A checkpoint without it, as of an encoder alone, leaves the layer as it was made.
    `load_state_dict()` of either kind of layer takes the state of the other, `from_pretrained` does not.

    Args:
        in_features, num_labels, device, options: as those of `OutputLayer`; on the CPU, unless given, where PyTorch
            puts new tensors on the meta device. `to()` moves it later; the `device_map` of `from_pretrained` does not.
    """

    def __init__(
        self, in_features: int, num_labels: int, *, device: str | torch.device | None = None, **options: Any
    ) -> None:
        if device is None:
            default = torch.get_default_device()
            device = "cpu" if default.type == "meta" else default
        with torch.device("cpu"):  # what else is made must not be on the meta device either
            super().__init__(in_features, num_labels, device=device, **options)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self._anchor.settle(self.classifier.step)
        torch.nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)  # asks for the extra state

    _reported = "_extra_state"

    def get_extra_state(self) -> torch.Tensor:
        """All tensors and the step, as bytes."""
        return pack(to_tensors(self.classifier))

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Replaces all tensors and the step.

        Raises:
            ArgumentError, DTypeError: these are no such bytes, or of another layer, which is as before.
        """
        from_tensors(self.classifier, unpack(state))
        self._restart()

    def __setattr__(self, name: str, value: Any) -> None:
        # from_pretrained puts uninitialised tensors here when a checkpoint has none; the anchor follows from the state.
        if name == "_extra_state" or (name == "anchor" and name in self.__dict__.get("_parameters", {})):
            return
        super().__setattr__(name, value)
