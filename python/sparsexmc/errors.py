"""Errors that the library raises: each is an `Error` and also the closest built-in exception."""

from ._core import (
    ArgumentError,
    CheckpointError,
    DataError,
    DeviceError,
    DivergenceError,
    DTypeError,
    Error,
    MemoryPlanError,
)

__all__ = [
    "ArgumentError",
    "CheckpointError",
    "DTypeError",
    "DataError",
    "DeviceError",
    "DivergenceError",
    "Error",
    "MemoryPlanError",
]
