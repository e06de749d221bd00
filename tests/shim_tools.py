"""The host shim of CUDA from Python: its controls, and arrays on its pretended card, whose memory is the host's."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Tensor(ctypes.Structure):
    """DLTensor of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class Managed(ctypes.Structure):
    """DLManagedTensor of dlpack.h."""

    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", Deleter))


class CardArray:
    """A matrix on a pretended card, of a library that has no notion of a current stream.

    Attributes:
        asked: the stream of every `__dlpack__` call.
        borrowed: number of capsules that nobody has given back yet.
    """

    def __init__(self, array: npt.NDArray[Any], device: tuple[int, int] = (2, 0)) -> None:
        self.array = np.ascontiguousarray(array)
        self._device = device
        self.asked: list[int | None] = []
        self.borrowed = 0
        self._kept: list[Any] = []

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
        self.asked.append(stream)
        shape = (ctypes.c_int64 * self.array.ndim)(*self.array.shape)
        code, bits = 2, 8 * self.array.itemsize  # kDLFloat
        tensor = Tensor(self.array.ctypes.data, *self._device, self.array.ndim, code, bits, 1, shape)
        managed = Managed(tensor, None, Deleter(self._give_back))
        self._kept += [shape, managed]
        self.borrowed += 1
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(managed), b"dltensor", None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def _give_back(self, _: int) -> None:
        self.borrowed -= 1


def on_host(array: Any) -> npt.NDArray[np.float32]:
    """A copy of a float32 array that the library exports from a pretended card."""
    capsule = array.__dlpack__(stream=1)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    tensor = Managed.from_address(pointer(capsule, b"dltensor")).tensor
    assert (tensor.device_type, tensor.code, tensor.bits) == (2, 2, 32)
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    memory = (ctypes.c_float * int(np.prod(shape))).from_address(tensor.data)
    return np.array(memory, np.float32).reshape(shape)


def library() -> ctypes.CDLL:
    """The library of this process, which holds the shim."""
    found = re.search(r"\S*libsparsexmc\.so\S*", Path("/proc/self/maps").read_text())
    assert found is not None
    shim = ctypes.CDLL(found[0])
    shim.sparsexmc_shim_fail_launch.argtypes = [ctypes.c_int64]
    shim.sparsexmc_shim_launches.restype = shim.sparsexmc_shim_memory.restype = ctypes.c_int64
    shim.sparsexmc_shim_set_order.restype = ctypes.c_bool
    return shim


@contextlib.contextmanager
def thread_order(order: str) -> Iterator[None]:
    """Runs the threads of every block "forward", in "reverse" or in a "random:<seed>" order."""
    assert library().sparsexmc_shim_set_order(order.encode())
    try:
        yield
    finally:
        library().sparsexmc_shim_set_order(b"forward")


@contextlib.contextmanager
def failing_launch(number: int) -> Iterator[None]:
    """The launch of that number from now on fails."""
    library().sparsexmc_shim_fail_launch(number)
    try:
        yield
    finally:
        library().sparsexmc_shim_fail_launch(0)
