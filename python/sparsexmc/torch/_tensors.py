"""The state of a classifier as tensors that safetensors and every library of PyTorch can take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..classifier import Classifier
from ..errors import ArgumentError, DTypeError

_SIGNED = {np.dtype(np.uint16): np.dtype(np.int32), np.dtype(np.uint32): np.dtype(np.int64)}  # torch has half of these


def to_tensors(classifier: Classifier) -> dict[str, torch.Tensor]:
    """Copies of all tensors by their checkpoint names, and `step`, in host memory; unsigned integers become signed."""
    state = classifier.state_dict()
    return {
        name: torch.from_numpy(array.astype(_SIGNED.get(array.dtype, array.dtype))) for name, array in state.items()
    }


def from_tensors(classifier: Classifier, tensors: Mapping[str, torch.Tensor]) -> None:
    """Replace all tensors and the step of `classifier`.

    Raises:
        ArgumentError, DTypeError: they are of another layer; the message says in what. The classifier is as before.
    """
    arrays = {}
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise DTypeError(f"state_dict[{name!r}] is a {type(value).__qualname__}; it must be a tensor")
        arrays[name] = value.detach().cpu().numpy()
    own = classifier.state_dict()
    here, there = _facts(own), _facts(arrays)
    if different := [name for name in here if here[name] != there[name]]:
        saw = ", ".join(f"{name} {_show(there[name])} instead of {_show(here[name])}" for name in different)
        raise ArgumentError(
            f"state_dict is of another layer: {saw}; make the OutputLayer with the arguments of the one that was saved"
        )
    for name, array in arrays.items():
        stored = own[name].dtype if name in own else array.dtype
        if array.dtype == _SIGNED.get(stored):
            limits = np.iinfo(stored)
            if array.size and (array.min() < limits.min or array.max() > limits.max):
                raise ArgumentError(f"state_dict[{name!r}] holds numbers outside of {limits.min}..{limits.max}")
            arrays[name] = array.astype(stored)
    classifier.load_state_dict(arrays)


def _facts(state: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """What can be told of a layer by the names and shapes of its tensors."""
    tails = [re.sub(r"indices$", "weights", name) for name in state if name.endswith(".indices")]
    segments = [name for name in state if re.fullmatch(r"segments\.\d+\.weights", name)]
    dense = [name for name in segments if name not in tails]
    slots = {name.rpartition(".")[2] for name in state if name.startswith("optimizer.")}
    hidden = state.get("hidden.weight")
    return {
        "num_labels": sum(len(state[name]) for name in segments),
        "in_features": None if hidden is None else hidden.shape[0],
        "hidden": None if hidden is None else hidden.shape[1],
        "labels that read all features": sum(len(state[name]) for name in dense),
        "width of these": next((state[name].shape[1] for name in dense), None),
        "fan_in": next((state[name].shape[1] for name in tails if name in state), None),
        "groups of labels that share their features": sum(
            len(array) for name, array in state.items() if name.endswith(".indices")
        ),
        "optimizer state": ", ".join(sorted(slots)) or None,
        "meta-classifier": len(state["auxiliary.bias"]) if "auxiliary.bias" in state else None,
    }


def _show(value: Any) -> str:
    return "none" if value is None else str(value)
