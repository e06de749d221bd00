"""Checks of single arguments, and sizes of memory written as text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from .errors import ArgumentError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def require_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ArgumentError unless `value` is one of the strings `allowed`."""
    allowed = list(allowed)
    if value not in allowed:
        raise ArgumentError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, allowed))}")


def require_number(
    name: str, value: object, low: float, high: float = math.inf, *, low_open: bool = False, high_open: bool = False
) -> None:
    """Raise ArgumentError unless `value` is a finite number in the interval from `low` to `high`."""
    if (
        isinstance(value, (int, float, np.integer, np.floating))
        and not isinstance(value, bool)
        and math.isfinite(value)
    ):
        number = float(value)
        if (low < number if low_open else low <= number) and (number < high if high_open else number <= high):
            return
    upper = "" if high == math.inf else f" and {'<' if high_open else '<='} {high:g}"
    raise ArgumentError(f"{name}={value!r} must be a finite number {'>' if low_open else '>='} {low:g}{upper}")


def require_int(name: str, value: object, low: int) -> None:
    """Raise ArgumentError unless `value` is an integer of at least `low`."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value.__index__() < low:
        raise ArgumentError(f"{name}={value!r} must be an integer >= {low}")


def parse_bytes(name: str, value: int | str | None) -> int:
    """Bytes of an int or of text such as "4GB" (10^9) or "512MiB" (2^20); None is 0, which means no limit."""
    if value is None:
        return 0
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", value.upper())
        factor = (_UNITS | _BINARY_UNITS).get(match[2]) if match else None
        if match is None or factor is None:
            raise ArgumentError(f'{name}={value!r} is not a size; write bytes as an int, or text: "4GB", "512MiB"')
        value = int(float(match[1]) * factor)
    require_int(name, value, 1)
    return int(value)
