"""The tensors of a layer as one tensor of bytes, and back."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import torch

from ..errors import ArgumentError

# What NumPy and zipfile raise on bytes that are no such file; RuntimeError: they seem to be encrypted.
_DAMAGE = (OSError, ValueError, TypeError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def pack(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The bytes of an uncompressed `.npz` file with the tensors; uint8, one dimension. Equal tensors, equal bytes."""
    file = io.BytesIO()
    np.savez(file, **{name: tensor.numpy() for name, tensor in tensors.items()})
    return torch.from_numpy(np.frombuffer(file.getbuffer(), np.uint8))


def unpack(packed: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors of the bytes that `pack` made. Nothing is ever unpickled.

    Raises:
        ArgumentError: these are other bytes, or damaged ones.
    """
    try:
        if not isinstance(packed, torch.Tensor) or packed.dtype != torch.uint8:
            raise ValueError(f"it is {getattr(packed, 'dtype', type(packed).__qualname__)} instead of torch.uint8")
        with np.load(io.BytesIO(packed.detach().cpu().numpy().tobytes()), allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in file.files}
    except _DAMAGE as error:
        raise ArgumentError(
            f"_extra_state is not the state of a PackedOutputLayer, or was changed or cut: {error}"
        ) from None
