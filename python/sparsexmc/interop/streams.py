"""CUDA streams of other libraries: which one is current, and the numbers that stand for them."""

from __future__ import annotations

import operator
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..errors import ArgumentError, DTypeError

_LEGACY_DEFAULT = 1  # DLPack's number for the null stream, whose handle, 0, could also mean "none"


def is_torch(value: Any) -> bool:
    """Whether it is a tensor of PyTorch, which can only come from a torch that is already imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_plain_torch(value: Any) -> bool:
    """Whether it is a strided tensor of PyTorch, and of no subclass with ways of its own."""
    torch = sys.modules.get("torch")
    return torch is not None and type(value) is torch.Tensor and value.layout == torch.strided


def is_cupy(value: Any) -> bool:
    """Whether it is an array of CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def stream_handle(stream: Any) -> int:
    """The cudaStream_t of `stream`: an int, or a stream object of PyTorch, CuPy or any that has `__cuda_stream__`.

    Raises:
        DTypeError: it is none of these.
    """
    handle = stream
    if hasattr(stream, "__cuda_stream__"):
        handle = stream.__cuda_stream__()[1]  # (version of the protocol, handle)
    else:
        for attribute in ("cuda_stream", "ptr"):
            handle = getattr(stream, attribute, handle)
    if isinstance(handle, bool) or not hasattr(handle, "__index__") or handle.__index__() < 0:
        raise DTypeError(
            f"stream is a {type(stream).__qualname__}; pass a cudaStream_t as an int, a torch.cuda.Stream or a "
            "cupy.cuda.Stream, or None for the stream on which the caller works"
        )
    return operator.index(handle)


def dlpack_number(handle: int) -> int:
    """The number by which DLPack knows a stream handle."""
    return handle or _LEGACY_DEFAULT


def current_stream(name: str, value: Any) -> int | None:
    """The handle of the stream on which the library of the CUDA array `value` works now; None: it does not say.

    Raises:
        ArgumentError: that stream is being captured into a CUDA graph.
    """
    if is_torch(value):
        cuda = sys.modules["torch"].cuda
        with on_device_of(value):
            handle, capturing = cuda.current_stream().cuda_stream, cuda.is_current_stream_capturing()
    elif is_cupy(value):
        with on_device_of(value):
            stream = sys.modules["cupy"].cuda.get_current_stream()
            handle, capturing = stream.ptr, stream.is_capturing()
    else:
        return None
    if capturing:
        raise ArgumentError(
            f"{name} comes from a stream that is being captured into a CUDA graph, but a step decides on the host what "
            "it runs, so it cannot be replayed; call it outside of the capture"
        )
    return int(handle)


def on_device_of(value: Any) -> AbstractContextManager[Any]:
    """Makes the GPU of the array `value` its library's current one: some export and allocate nowhere else."""
    if is_torch(value) and value.is_cuda:
        return sys.modules["torch"].cuda.device(value.device)
    if is_cupy(value):
        return value.device
    return nullcontext()
