"""Dense arrays of other libraries, borrowed through DLPack.

Nothing is converted, and nothing but NumPy arrays on their way to a GPU is copied: what the engine cannot read as it is
gets an error that names the argument, what came, and the call that fixes it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import ArgumentError, DTypeError
from .streams import current_stream, dlpack_number, is_cupy, is_plain_torch, is_torch, on_device_of

_DTYPES = ("float32", "float16", "bfloat16")
_HOST = (1, 3)  # kDLCPU, kDLCUDAHost (pinned memory)
_CUDA = (2, 13)  # kDLCUDA, kDLCUDAManaged


@dataclass(frozen=True, slots=True)
class Place:
    """Device and streams of a classifier, from which it reads its embeddings.

    Attributes:
        device: as the engine names it, "cpu" or "cuda:<index>".
        own_stream: handle of the stream on which the engine runs when neither classifier nor array names one.
        stream: handle of the stream that the user chose for the classifier.
    """

    device: str = "cpu"
    own_stream: int = 0
    stream: int | None = None

    @property
    def is_cuda(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"

    @property
    def dlpack_device(self) -> tuple[int, int]:
        """(kind, index) as DLPack counts them."""
        return (_CUDA[0], int(self.device.partition(":")[2])) if self.is_cuda else (_HOST[0], 0)

    def stream_for(self, caller_stream: int | None) -> int:
        """The stream to run on for an array whose library works on `caller_stream`."""
        chosen = caller_stream if self.stream is None else self.stream
        return self.own_stream if chosen is None else chosen


HOST = Place()


@dataclass(frozen=True, slots=True)
class Borrowed:
    """An array that the engine may read, the stream to read it on, and the one on which its library works."""

    tensor: _core.Tensor
    stream: int = 0
    caller_stream: int | None = None


def borrow_matrix(name: str, value: Any, width: int, place: Place, *, from_host: bool = False) -> Borrowed:
    """Borrow `value` as a C-contiguous [rows, width] matrix of float32, float16 or bfloat16 at `place`.

    `from_host` lets arrays of every library in host memory stand for those on a GPU; otherwise only NumPy's do, which
    has no others.

    Raises:
        ArgumentError: wrong rank, width, layout or device, or it requires grad.
        DTypeError: wrong dtype, or no array at all.
    """
    borrowed = _borrow(name, value, place, from_host)
    tensor = borrowed.tensor
    if tensor.dtype not in _DTYPES:
        fix = ".float()" if is_torch(value) else ".astype(np.float32)"
        raise DTypeError(f"{name} has dtype {tensor.dtype}; use one of {', '.join(_DTYPES)}, for example {name}{fix}")
    if len(shape := tensor.shape) != 2:
        raise ArgumentError(f"{name} has shape {shape}; it must be a matrix [rows, {width}]")
    if shape[1] != width:
        raise ArgumentError(f"{name} has shape {shape}, but the classifier has in_features={width}")
    if not tensor.contiguous:
        library = "cupy" if is_cupy(value) else "np"
        fix = f"{name}.contiguous()" if is_torch(value) else f"{library}.ascontiguousarray({name})"
        raise ArgumentError(
            f"{name} has shape {shape} and strides {tensor.strides}, which is not C-contiguous; pass {fix}"
        )
    return borrowed


def borrow_own(array: Any, stream: int | None = None) -> _core.Tensor:
    """The engine's hold on an array of our own making; on a GPU its memory is ready for `stream`."""
    if isinstance(array, np.ndarray):
        return _borrow_numpy("gradient", array)
    return _core.Tensor(_capsule("gradient", array, stream))


def _borrow(name: str, value: Any, place: Place, from_host: bool) -> Borrowed:
    if isinstance(value, np.ndarray):
        return Borrowed(_borrow_numpy(name, value), place.stream_for(None))
    if not hasattr(value, "__dlpack__"):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise DTypeError(f"{name} is a {kind}; pass an array, for example np.asarray({name}, dtype=np.float32)")
    if getattr(value, "requires_grad", False):
        raise ArgumentError(f"{name} requires grad; pass {name}.detach() and send the returned gradient on yourself")
    device = _device_of(value)
    if device[0] in _HOST and (from_host or not place.is_cuda):
        return Borrowed(_import(name, value, None), place.stream_for(None))
    if device != place.dlpack_device:
        _refuse_device(name, value, device, place)
    caller_stream = current_stream(name, value)
    stream = place.stream_for(caller_stream)
    with on_device_of(value):
        return Borrowed(_import(name, value, stream), stream, caller_stream)


def _borrow_numpy(name: str, array: npt.NDArray[Any]) -> _core.Tensor:
    if array.dtype.name == "bfloat16":  # of the package ml_dtypes; its arrays export neither DLPack nor a buffer
        return _core.Tensor(array.view(np.uint16), "bfloat16")
    if array.dtype.kind not in "fiu" or not array.dtype.isnative or array.dtype.itemsize > 8:
        raise DTypeError(f"{name} has dtype {array.dtype}; pass {name}.astype(np.float32)")
    return _core.Tensor(array)


def _import(name: str, value: Any, stream: int | None) -> _core.Tensor:
    capsule = _capsule(name, value, stream)
    try:
        return _core.Tensor(capsule)
    except (ArgumentError, DTypeError) as error:
        raise type(error)(f"{name}: {error}") from None


def _capsule(name: str, value: Any, stream: int | None) -> Any:
    """The DLPack capsule of `value`, ready for work on `stream`; None: in host memory, where there are none.

    Arguments that an older library does not know are left out one by one.
    """
    number = None if stream is None else dlpack_number(stream)
    try:
        if stream is None and is_plain_torch(value):
            return sys.modules["torch"].utils.dlpack.to_dlpack(value)  # in a tenth of the time of its __dlpack__
        try:
            return value.__dlpack__(stream=number, max_version=(1, 1))
        except TypeError:
            pass
        try:
            return value.__dlpack__(stream=number)
        except TypeError:
            if stream is not None:
                raise
            return value.__dlpack__()
    except (BufferError, RuntimeError, TypeError) as error:
        raise ArgumentError(f"{name}: its library does not export it by DLPack: {error}") from error


def _device_of(value: Any) -> tuple[int, int]:
    """(kind, index) of the memory of an array, as DLPack counts them; managed memory counts as its GPU's."""
    if is_torch(value) and not value.is_cuda:
        return (_HOST[0], 0) if value.is_cpu else (0, 0)  # others have no export to ask
    if not hasattr(value, "__dlpack_device__"):
        return (_HOST[0], 0)
    kind, index = value.__dlpack_device__()
    return (_CUDA[0] if kind in _CUDA else int(kind), int(index))


def _refuse_device(name: str, value: Any, device: tuple[int, int], place: Place) -> NoReturn:
    came = f"device {value.device}" if is_torch(value) else f"DLPack device {device}"
    there = place.device if place.is_cuda else "the CPU"
    if is_torch(value):
        fix = f'{name}.to("{place.device}")' if place.is_cuda else f"{name}.cpu()"
    elif is_cupy(value):
        fix = "a copy that was made on that GPU" if place.is_cuda else f"cupy.asnumpy({name})"
    else:
        fix = f"a copy on {place.device}, or a NumPy array" if place.is_cuda else "a copy in host memory"
    raise ArgumentError(f"{name} is on {came}, but the classifier is on {there}; pass {fix}")
