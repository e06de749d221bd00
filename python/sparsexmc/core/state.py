"""Reading and replacing the tensors of a classifier."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._checks import name_list
from ..errors import ArgumentError, DTypeError

_COUNTS = ("step", "total_steps")
_AVERAGED = "averaged"  # a count, too, where there are averages
# In place of the averages while they are in use, and so under the names of the weights.
_AVERAGE, _TRAINED = ".average", ".trained"
# Of batches for the next rewiring, which come and go.
_KEPT = re.compile(r"optimizer\.kept\.\d+\.(inputs|positives|instance_weights)")


def read_state(engine: _core.Classifier) -> dict[str, npt.NDArray[Any]]:
    """Copies of all tensors by name, and `step` and `total_steps` (int64, no dimensions; 0: not known).

    bfloat16, which NumPy lacks, becomes float32 and back without loss. Shortly before a rewiring of RigL the batches
    that it averages over are there too: `optimizer.kept.<i>.inputs` [features, instances], `.positives` [n, 2], and
    `.instance_weights` [instances] where there are any.
    """
    tensors = tensors_of(engine) | _kept_tensors(engine)
    state = {name: _read(engine, name, dtype, shape) for name, (dtype, shape) in tensors.items()}
    return state | {name: np.asarray(getattr(engine, name), np.int64) for name in _counts(tensors)}


def _counts(tensors: Mapping[str, Any]) -> tuple[str, ...]:
    averages = any(name.startswith("optimizer.") and name.endswith((_AVERAGE, _TRAINED)) for name in tensors)
    return (*_COUNTS, _AVERAGED) if averages else _COUNTS


def _renamed(name: str, *, in_use: bool) -> str:
    """The name of a tensor in a state with averages that are in use, or not."""
    old, new = (_AVERAGE, _TRAINED) if in_use else (_TRAINED, _AVERAGE)
    return name.removesuffix(old) + new if name.startswith("optimizer.") and name.endswith(old) else name


def write_state(engine: _core.Classifier, state: Mapping[str, npt.ArrayLike]) -> None:
    """Replace all tensors and counts of steps; on any error the model is as before."""
    in_use = any(name.startswith("optimizer.") and name.endswith(_TRAINED) for name in state)
    tensors = {_renamed(name, in_use=in_use): of for name, of in tensors_of(engine).items()}
    arrays = {name: np.ascontiguousarray(value) for name, value in state.items()}
    kept = {name: arrays.pop(name) for name in [name for name in arrays if is_kept(name)]}
    sizes = _kept_sizes(engine, kept)
    arrays.setdefault("total_steps", np.asarray(engine.total_steps, np.int64))  # earlier versions had none
    _check_names(arrays, [*tensors, *_counts(tensors)])
    for name, (dtype, shape) in tensors.items():
        if arrays[name].shape != shape:
            raise ArgumentError(f"state[{name!r}] has shape {arrays[name].shape}, but the classifier has {shape}")
        if arrays[name].dtype != dtype:
            raise DTypeError(f"state[{name!r}] has dtype {arrays[name].dtype}, but the classifier has {dtype}")
    require_finite(arrays, "state")
    counts = {name: _count(name, arrays.pop(name)) for name in _counts(tensors)}
    if in_use and not counts[_AVERAGED]:
        raise ArgumentError("state has averages in use, but averaged is 0; it is no state of a classifier")

    replaced: dict[str, npt.NDArray[Any]] = {}
    # The engine checks what indices and label order hold, so they go first and can be put back.
    numbers = [name for name in tensors if tensors[name][0].kind == "f"]
    for name in [name for name in tensors if name not in numbers]:
        replaced[name] = _read(engine, name, *tensors[name])
        try:
            engine.write(name, arrays[name])
        except ArgumentError:
            for done, old in replaced.items():
                engine.write(done, old)
            raise
    if _AVERAGED in counts:
        engine.set_averaged(counts[_AVERAGED], in_use)
    for name in numbers:
        engine.write(name, arrays[name])
    engine.step = counts["step"]
    if engine.trainable:  # of no use in prediction
        engine.total_steps = counts["total_steps"]
        engine.make_room_for_kept(sizes)
        for name, array in kept.items():
            engine.write(name, array)


def require_finite(state: Mapping[str, npt.NDArray[Any]], name: str) -> None:
    """Raise ArgumentError if weights in a `state` called `name` are NaN or Inf; the optimizer's state is left out."""
    for tensor, values in state.items():
        if values.dtype.kind == "f" and not tensor.startswith("optimizer.") and not _are_finite(values):
            raise ArgumentError(
                f"{name}[{tensor!r}] holds NaN or Inf, as a training that diverged leaves it; take a state from "
                "before, then lower lr, or scale down the inputs"
            )


def _are_finite(values: npt.NDArray[Any]) -> bool:
    # Both pass NaN on, and neither takes memory of the size of the weights.
    return not values.size or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def read_indices(engine: _core.Classifier) -> dict[int, npt.NDArray[Any]]:
    """Copies of the fan-in indices [groups, fan_in] by number of segment; dense segments have none."""
    found = {}
    for name, dtype, shape in engine.tensors():
        if match := re.fullmatch(r"segments\.(\d+)\.indices", name):
            found[int(match[1])] = _read(engine, name, np.dtype(dtype), shape)
    return found


def read_tensor(engine: _core.Classifier, name: str) -> npt.NDArray[Any]:
    """A copy of one tensor of `tensors_of`."""
    return _read(engine, name, *tensors_of(engine)[name])


def read_label_counts(engine: _core.Classifier) -> npt.NDArray[np.int64] | None:
    """Training frequency [num_labels] of every label id; None for a model that does not know it."""
    known = tensors_of(engine).get("label_counts")
    return None if known is None else _read(engine, "label_counts", *known).astype(np.int64)


def check_label_names(names: Sequence[str], num_labels: int) -> list[str]:
    """`names` as a list; ArgumentError unless there is one line of text per label, which UTF-8 can store."""
    names = list(name_list("label_names", names))
    if len(names) != num_labels:
        raise ArgumentError(f"label_names has {len(names)} names, but there are num_labels={num_labels}")
    for label, name in enumerate(names):
        if not isinstance(name, str) or "\n" in name or "\r" in name:
            raise ArgumentError(f"label_names[{label}]={name!r} must be text without line breaks")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ArgumentError(f"label_names[{label}]={name!r} is not Unicode: half a surrogate pair") from None
    return names


def tensors_of(engine: _core.Classifier) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """(dtype, shape) by name of all that `read_state` reads, but for the step."""
    return {
        name: (np.dtype("float32" if dtype == "bfloat16" else dtype), tuple(shape))
        for name, dtype, shape in engine.tensors()
        if not is_kept(name)
    }


def is_kept(name: str) -> bool:
    """Whether a tensor belongs to a batch that RigL keeps for its next rewiring."""
    return _KEPT.fullmatch(name) is not None


def _kept_tensors(engine: _core.Classifier) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    return {name: (np.dtype(dtype), tuple(shape)) for name, dtype, shape in engine.tensors() if is_kept(name)}


def _kept_sizes(engine: _core.Classifier, kept: Mapping[str, npt.NDArray[Any]]) -> list[tuple[int, int, bool]]:
    """(instances, positives, whether instances have weights) of kept batches, checked."""
    if not kept:
        return []
    config = json.loads(engine.config_json())
    features = config["in_features"] if config["hidden"] is None else config["hidden"]["features"]
    rewiring = config["rewiring"] or {}
    most = rewiring.get("grow_batches", 0) if rewiring.get("method") == "rigl" else 0
    prefixes = [f"optimizer.kept.{i}." for i in range(sum(name.endswith(".inputs") for name in kept))]
    needed = {prefix + what for prefix in prefixes for what in ("inputs", "positives")}
    possible = needed | {f"{prefix}instance_weights" for prefix in prefixes}
    if not needed <= kept.keys() <= possible or len(prefixes) > most:
        raise ArgumentError(
            f"state does not fit this classifier: it holds {sorted(kept)}, but its rewiring keeps {most} batches; it "
            "must come from state_dict() of one with the same configuration"
        )
    sizes = []
    for prefix in prefixes:
        inputs, positives = kept[f"{prefix}inputs"], kept[f"{prefix}positives"]
        instances = inputs.shape[1] if inputs.ndim == 2 else 0
        weights = kept.get(f"{prefix}instance_weights", np.ones(instances, np.float32))
        for name, array, dtype in (
            ("inputs", inputs, "float32"),
            ("positives", positives, "uint32"),
            ("instance_weights", weights, "float32"),
        ):
            if array.dtype != dtype:
                raise DTypeError(f"state['{prefix}{name}'] has dtype {array.dtype}; it must be {dtype}")
        fits = inputs.shape == (features, instances) and 1 <= instances <= config["batch_size"]
        fits = fits and positives.ndim == 2 and positives.shape[1] == 2
        fits = fits and bool((positives < [config["num_labels"], instances]).all())
        if not fits or weights.shape != (instances,) or not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ArgumentError(
                f"state holds no batch of this classifier as {prefix}*: inputs must be [{features}, n] for n <= "
                f"{config['batch_size']}, positives (label, instance) within num_labels and n, instance_weights [n] "
                "finite and >= 0"
            )
        sizes.append((instances, len(positives), f"{prefix}instance_weights" in kept))
    return sizes


def _count(name: str, value: npt.NDArray[Any]) -> int:
    if value.size != 1 or value.dtype.kind not in "iu" or not 0 <= int(value.item()) < 2**63:
        raise ArgumentError(f"state[{name!r}] is {value!r}; it must be one integer >= 0")
    return int(value.item())


def _read(engine: _core.Classifier, name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    array = np.empty(tuple(shape), dtype)
    engine.read(name, array)
    return array


def _check_names(state: Mapping[str, Any], expected: Sequence[str]) -> None:
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    if missing or unknown:
        raise ArgumentError(
            f"state does not fit this classifier: missing {missing or 'nothing'}, unknown {unknown or 'nothing'}; "
            "it must come from state_dict() of one with the same configuration"
        )
