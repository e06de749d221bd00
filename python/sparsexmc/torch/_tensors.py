"""The state of a classifier as tensors that safetensors and every library of PyTorch can take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..classifier import Classifier
from ..core.state import is_kept, require_finite
from ..errors import ArgumentError, DTypeError

# PyTorch does little with these, and safetensors knows not all of them.
_SIGNED: dict[Any, Any] = {np.dtype(np.uint16): np.dtype(np.int32), np.dtype(np.uint32): np.dtype(np.int64)}


def to_tensors(classifier: Classifier) -> dict[str, torch.Tensor]:
    """Copies of all tensors by their checkpoint names, and `step`, in host memory; unsigned integers become signed.

    Raises:
        ArgumentError: weights are NaN or Inf.
    """
    state = classifier.state_dict()
    require_finite(state, "state_dict")
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
    own = classifier._tensors()
    here = _facts({name: shape for name, (_, shape) in own.items()})
    there = _facts({name: array.shape for name, array in arrays.items()})
    if different := [name for name in here if here[name] != there[name]]:
        saw = ", ".join(f"{name} {_show(there[name])} instead of {_show(here[name])}" for name in different)
        raise ArgumentError(
            f"state_dict is of another layer: {saw}; make the OutputLayer with the arguments of the one that was saved"
        )
    for name, (dtype, _) in own.items():
        array = arrays.get(name)
        if array is None or dtype not in _SIGNED or array.dtype != _SIGNED[dtype]:
            continue
        limits = np.iinfo(dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise ArgumentError(f"state_dict[{name!r}] holds numbers outside of {limits.min}..{limits.max}")
        arrays[name] = array.astype(dtype)
    for name, array in arrays.items():
        if is_kept(name) and array.dtype == np.int64 and (not array.size or 0 <= array.min() <= array.max() < 2**32):
            arrays[name] = array.astype(np.uint32)
    classifier.load_state_dict(arrays)


def _facts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Facts about a layer that the names and shapes of its tensors show."""
    shapes = {name: (*shape, 0, 0)[:2] for name, shape in shapes.items() if not is_kept(name)}  # whatever may come
    tails = [name.removesuffix("indices") + "weights" for name in shapes if name.endswith(".indices")]
    segments = [name for name in shapes if re.fullmatch(r"segments\.\d+\.weights", name)]
    dense = [name for name in segments if name not in tails]
    slots = {name.rpartition(".")[2] for name in shapes if name.startswith("optimizer.")}
    slots = {"average" if slot == "trained" else slot for slot in slots}  # in its place, while averages are in use
    hidden = shapes.get("hidden.weight", (None, None))
    return {
        "num_labels": sum(shapes[name][0] for name in segments),
        "in_features": hidden[0],
        "hidden": hidden[1],
        "labels that read all features": sum(shapes[name][0] for name in dense),
        "width of these": next((shapes[name][1] for name in dense), None),
        "fan_in": next((shapes[name][1] for name in tails if name in shapes), None),
        "groups of labels that share their features": sum(
            shape[0] for name, shape in shapes.items() if name.endswith(".indices")
        ),
        "optimizer state": ", ".join(sorted(slots)) or None,
        "clusters of the meta-classifier": shapes.get("auxiliary.bias", (None,))[0],
    }


def _show(value: Any) -> str:
    return "none" if value is None else str(value)
