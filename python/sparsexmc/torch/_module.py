"""A classifier inside of a module: how saving, loading, moving and copying the module reach it."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from ..classifier import Classifier
from ..errors import DeviceError, DTypeError
from ._anchor import Anchor
from ._packing import unpack
from ._recording import refuse_scripting
from ._tensors import from_tensors, to_tensors


class ClassifierModule(torch.nn.Module):
    """Its `classifier` is in `state_dict()` and follows the module; its tensors are no parameters and no buffers."""

    classifier: Classifier
    _reported = "step"  # as missing, where the whole state is

    anchor: torch.nn.Parameter  # see Anchor

    def _set_classifier(self, classifier: Classifier) -> None:
        self.classifier = classifier
        if "anchor" not in self._parameters:
            self.anchor = Anchor.make(classifier.device)
            self._anchor = Anchor(self)
        self._restart()

    def _restart(self) -> None:
        """The classifier is another one, or in another state."""
        self._anchor.begin(self.classifier.step)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self._anchor.settle(self.classifier.step)
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, tensor in to_tensors(self.classifier).items():
            destination[prefix + name] = tensor

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        given = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        given.pop("anchor", None)  # follows from the rest
        if "_extra_state" in given:  # of a PackedOutputLayer
            given = unpack(given["_extra_state"])
        if given:
            from_tensors(self.classifier, given)
            self._restart()
        else:
            missing_keys.append(prefix + self._reported)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> ClassifierModule:
        """Follows moves to another device; types are the classifier's own business."""
        here = torch.device(self.classifier.device)
        try:
            there = fn(torch.empty(0, device=here)).device
        except (AssertionError, RuntimeError) as error:
            raise DeviceError(f"the layer cannot leave {here}: {error}") from error
        if there.type not in ("cpu", "cuda"):
            raise DeviceError(f"the layer cannot move to {there}; it runs on the CPU or on a CUDA device")
        super()._apply(fn, recurse)
        if there == here:
            return self
        self._anchor.check()
        self._set_classifier(_copied(self.classifier, str(there)))
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ClassifierModule:
        self._anchor.check()
        new = type(self).__new__(type(self))
        torch.nn.Module.__init__(new)
        memo[id(self)] = new
        new._set_classifier(_copied(self.classifier, self.classifier.device))
        mine = set(new.__dict__) - set(torch.nn.Module().__dict__) | {"fused_optimizer"}
        new.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k not in mine})
        new._restart()
        return new

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise DTypeError(
            "OutputLayer cannot be pickled, nor copied by copy.copy; save layer.state_dict(), or a checkpoint with "
            "layer.classifier.save(path), and copy with copy.deepcopy(layer)"
        )

    def __prepare_scriptable__(self) -> NoReturn:
        refuse_scripting()

    def _replicate_for_data_parallel(self) -> Any:
        raise DeviceError("OutputLayer does not run in DataParallel, whose copies would all train it; use one device")


def _copied(classifier: Classifier, device: str) -> Classifier:
    """An equal classifier on a device; by a checkpoint, which holds everything."""
    with tempfile.TemporaryDirectory(prefix="sparsexmc-") as folder:
        path = Path(folder) / "model"
        classifier.save(path)
        return Classifier.load(path, device, int(classifier.config["num_threads"]))
