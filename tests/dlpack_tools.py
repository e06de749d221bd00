"""Arrays of libraries that are not installed: DLPack capsules made by hand, in any form that the standard allows."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY
FLOAT, BFLOAT = 2, 4  # type codes


class Tensor(ctypes.Structure):
    """DLTensor: the device, dtype and layout of some memory."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Unversioned(ctypes.Structure):
    """DLManagedTensor, in capsules named "dltensor"."""

    _fields_ = (("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned (DLPack 1.0), in capsules named "dltensor_versioned"."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_NEW_CAPSULE = ctypes.pythonapi.PyCapsule_New
_NEW_CAPSULE.restype = ctypes.py_object
_NEW_CAPSULE.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class HandMade:
    """An array that exports the memory of a NumPy array as it is told to.

    Attributes:
        exported, released: how often a capsule was given out, and its deleter called.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        device: tuple[int, int] = (1, 0),
        dtype: tuple[int, int, int] = (FLOAT, 32, 1),
        shape: tuple[int, ...] | None = None,
        strides: tuple[int, ...] | None = None,
        byte_offset: int = 0,
        version: tuple[int, int] | None = None,
        flags: int = 0,
    ) -> None:
        self.array, self.device, self.dtype, self.version, self.flags = array, device, dtype, version, flags
        shape = array.shape if shape is None else shape
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.strides = None if strides is None else (ctypes.c_int64 * len(strides))(*strides)
        self.byte_offset = byte_offset
        self.exported = self.released = 0
        self.alive: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None) -> Any:
        managed = Unversioned() if self.version is None else Versioned()
        t = managed.tensor
        t.data = self.array.ctypes.data - self.byte_offset
        t.device_type, t.device_id = self.device
        t.code, t.bits, t.lanes = self.dtype
        t.ndim, t.shape, t.byte_offset = len(self.shape), self.shape, self.byte_offset
        if self.strides is not None:
            t.strides = self.strides
        if isinstance(managed, Versioned):
            (managed.major, managed.minor), managed.flags = self.version or (0, 0), self.flags

        def release(address: int) -> None:
            assert address == ctypes.addressof(managed)
            self.released += 1

        deleter = _DELETER(release)
        managed.deleter = ctypes.cast(deleter, ctypes.c_void_p)
        self.alive += [managed, deleter]
        self.exported += 1
        name = b"dltensor" if self.version is None else b"dltensor_versioned"
        return _NEW_CAPSULE(ctypes.addressof(managed), name, None)
