"""Dense arrays of other libraries, borrowed through DLPack; gradients made in the caller's kind of array.

Nothing is copied or converted: what the engine cannot read as it is gets an error that names the argument, what came,
and the call that fixes it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _core
from .errors import ArgumentError, DTypeError

_DTYPES = ("float32", "float16", "bfloat16")
_STORAGE = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
_HOST_DEVICES = (1, 3)  # kDLCPU, kDLCUDAHost (pinned memory)
_CPU = (1, 0)


class Array:
    """A gradient for libraries other than NumPy and PyTorch: take it over with their `from_dlpack(grad)`.

    Attributes:
        shape: as the embeddings.
        dtype: "float32", "float16" or "bfloat16".
    """

    __slots__ = ("_storage", "dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        self._storage = np.empty(shape, _STORAGE[dtype])
        self.shape = shape
        self.dtype = dtype

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule over this memory, which stays alive as long as the capsule's taker holds it."""
        del stream, max_version  # host memory is complete when the step returns; the capsule suits every version
        if dl_device is not None and tuple(dl_device) != _CPU:
            raise BufferError(f"the gradient is in host memory; it cannot be exported to device {dl_device}")
        return _core.dlpack_capsule(self._storage.copy() if copy else self._storage, self.dtype)

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU

    def numpy(self) -> npt.NDArray[Any]:
        """As a NumPy array: without a copy, but bfloat16, which NumPy lacks, becomes float32."""
        if self.dtype == "bfloat16":
            return (self._storage.astype(np.uint32) << 16).view(np.float32)
        return self._storage

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        array = np.asarray(self.numpy(), dtype)
        return array.copy() if copy else array

    def __repr__(self) -> str:
        return f"Array(shape={self.shape}, dtype={self.dtype!r})"


def borrow_matrix(name: str, value: Any, width: int) -> _core.Tensor:
    """Borrow `value` as a C-contiguous [rows, width] matrix of float32, float16 or bfloat16 in host memory.

    Raises:
        ArgumentError: wrong rank, width, layout or device, or it requires grad.
        DTypeError: wrong dtype, or no array at all.
    """
    tensor = _borrow(name, value)
    if tensor.dtype not in _DTYPES:
        fix = ".float()" if _is_torch(value) else ".astype(np.float32)"
        raise DTypeError(f"{name} has dtype {tensor.dtype}; use one of {', '.join(_DTYPES)}, for example {name}{fix}")
    if len(tensor.shape) != 2:
        raise ArgumentError(f"{name} has shape {tensor.shape}; it must be a matrix [rows, {width}]")
    if tensor.shape[1] != width:
        raise ArgumentError(f"{name} has shape {tensor.shape}, but the classifier has in_features={width}")
    if not tensor.contiguous:
        fix = f"{name}.contiguous()" if _is_torch(value) else f"np.ascontiguousarray({name})"
        raise ArgumentError(
            f"{name} has shape {tensor.shape} and strides {tensor.strides}, which is not C-contiguous; pass {fix}"
        )
    return tensor


def gradient_like(value: Any, tensor: _core.Tensor) -> tuple[Any, _core.Tensor]:
    """An uninitialised gradient for the array `value` that was borrowed as `tensor`, and the engine's hold on it."""
    if isinstance(value, np.ndarray):
        array = np.empty(value.shape, value.dtype)
        return array, _borrow_numpy("gradient", array)
    if _is_torch(value):
        gradient = sys.modules["torch"].empty(value.shape, dtype=value.dtype)
        return gradient, _core.Tensor(_capsule("gradient", gradient))
    own = Array(tensor.shape, tensor.dtype)
    return own, _core.Tensor(own._storage, own.dtype)


def _borrow(name: str, value: Any) -> _core.Tensor:
    if isinstance(value, np.ndarray):
        return _borrow_numpy(name, value)
    if not hasattr(value, "__dlpack__"):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise DTypeError(f"{name} is a {kind}; pass an array, for example np.asarray({name}, dtype=np.float32)")
    if getattr(value, "requires_grad", False):
        raise ArgumentError(f"{name} requires grad; pass {name}.detach() and send the returned gradient on yourself")
    if _is_torch(value):
        if value.device.type != "cpu":
            raise ArgumentError(
                f"{name} is on device {value.device}, but the classifier is on the CPU; pass {name}.cpu()"
            )
    elif hasattr(value, "__dlpack_device__"):
        device, index = value.__dlpack_device__()
        if device not in _HOST_DEVICES:
            raise ArgumentError(
                f"{name} is on DLPack device {(int(device), int(index))}, but the classifier is on the CPU; pass "
                "a copy in host memory"
            )
    return _core.Tensor(_capsule(name, value))


def _borrow_numpy(name: str, array: npt.NDArray[Any]) -> _core.Tensor:
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes; its arrays export neither DLPack nor a buffer
        return _core.Tensor(array.view(np.uint16), "bfloat16")
    if array.dtype.kind not in "fiu" or not array.dtype.isnative or array.dtype.itemsize > 8:
        raise DTypeError(f"{name} has dtype {array.dtype}; pass {name}.astype(np.float32)")
    return _core.Tensor(array)


def _capsule(name: str, value: Any) -> Any:
    """The DLPack capsule of `value`. Arguments that an older library does not know are left out one by one."""
    try:
        try:
            return value.__dlpack__(stream=None, max_version=(1, 1))
        except TypeError:
            pass
        try:
            return value.__dlpack__(stream=None)
        except TypeError:
            return value.__dlpack__()
    except (BufferError, RuntimeError) as error:
        raise ArgumentError(f"{name}: its library does not export it by DLPack: {error}") from error


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")  # a tensor can only come from a torch that is already imported
    return torch is not None and isinstance(value, torch.Tensor)
