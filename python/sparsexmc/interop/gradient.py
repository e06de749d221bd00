"""Gradients in the caller's kind of array."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .dlpack import Borrowed, Place, borrow_own
from .streams import is_cupy, is_torch, on_device_of

_STORAGE = {"float32": np.float32, "float16": np.float16, "bfloat16": np.uint16}
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


class DeviceArray:
    """A gradient on a GPU for libraries other than PyTorch and CuPy: take it over with their `from_dlpack(grad)`.

    It may be taken before the step has run: whoever takes it names a stream, which then waits for the step.

    Attributes:
        shape: as the embeddings.
        dtype: "float32", "float16" or "bfloat16".
    """

    __slots__ = ("_device", "_storage", "dtype", "shape")

    def __init__(self, storage: _core.DeviceArray, device: tuple[int, int], shape: tuple[int, ...], dtype: str) -> None:
        self._storage = storage
        self._device = device
        self.shape = shape
        self.dtype = dtype

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule over this memory, which stays alive as long as the capsule's taker holds it.

        `stream` is the taker's, as DLPack counts them: None or 1 the default stream, 2 the per-thread one, -1: no
        waiting. It must outlive the capsule.
        """
        del max_version  # the capsule suits every version
        if dl_device is not None and tuple(dl_device) != self._device:
            raise BufferError(f"the gradient is on DLPack device {self._device}; it cannot be exported to {dl_device}")
        if copy:
            raise BufferError("the gradient exports its own memory; copy it once you have taken it over")
        if stream == 0:
            raise BufferError("stream=0 could be either default stream; pass 1, or 2 for the per-thread one")
        return self._storage.capsule(1 if stream is None else stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype!r}, device={self._device})"


def gradient_like(
    value: Any, borrowed: Borrowed, place: Place, engine: _core.Classifier, *, exact: bool = False
) -> tuple[Any, _core.Tensor]:
    """An uninitialised gradient for the array `value`, and the engine's hold on it.

    PyTorch and CuPy get memory of their own allocators, in which it is safe to drop it as they are used to. With
    `exact` the gradient of a float16 tensor of PyTorch is float32: rounded before it is unscaled, much of it would be
    too small for float16.
    """
    tensor = borrowed.tensor
    if isinstance(value, np.ndarray):
        array = np.empty(value.shape, value.dtype)
        return array, borrow_own(array)
    if is_torch(value):
        torch = sys.modules["torch"]
        dtype = torch.float32 if exact and value.dtype == torch.float16 else value.dtype
        gradient = torch.empty(value.shape, dtype=dtype, device=value.device)
        with on_device_of(value):
            return gradient, borrow_own(gradient, borrowed.stream if place.is_cuda else None)
    if is_cupy(value):
        with on_device_of(value):
            gradient = sys.modules["cupy"].empty(value.shape, value.dtype)
            return gradient, borrow_own(gradient, borrowed.stream)
    if place.is_cuda:
        storage = engine.device_array("gradient", tensor.shape[0], tensor.shape[1], tensor.dtype)
        own = DeviceArray(storage, place.dlpack_device, tensor.shape, tensor.dtype)
        return own, _core.Tensor(storage.capsule(-1))
    host = Array(tensor.shape, tensor.dtype)
    return host, _core.Tensor(host._storage, host.dtype)
