"""Checks of single arguments, and sizes of memory written as text."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import ArgumentError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY_UNITS = {"KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


DEFAULT_K = 5
"""Labels that are predicted for an instance unless more or fewer are wanted."""


def require_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ArgumentError unless `value` is one of the strings `allowed`."""
    allowed = list(allowed)
    if not isinstance(value, str) or value not in allowed:
        raise ArgumentError(f"{name}={value!r} is not known; use one of {', '.join(map(repr, allowed))}")


def require_bool(name: str, value: object) -> None:
    """Raise ArgumentError unless `value` is true or false."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{name}={value!r} must be True or False")


def require_number(
    name: str, value: object, low: float, high: float = math.inf, *, low_open: bool = False, high_open: bool = False
) -> None:
    """Raise ArgumentError unless `value` is a finite number in the interval from `low` to `high`."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # of an integer with more digits than a float can have
            number = math.inf
        inside = (low < number if low_open else low <= number) and (number < high if high_open else number <= high)
        if math.isfinite(number) and inside:
            return
    lower = "" if low == -math.inf else f" {'>' if low_open else '>='} {low:g}"
    upper = "" if high == math.inf else f" and {'<' if high_open else '<='} {high:g}"
    raise ArgumentError(f"{name}={value!r} must be a finite number{lower}{upper}")


def require_int(name: str, value: object, low: int) -> None:
    """Raise ArgumentError unless `value` is an integer of at least `low`."""
    try:
        if not isinstance(value, bool) and operator.index(value) >= low:  # type: ignore[arg-type]
            return
    except TypeError:  # also of an array, which has an __index__ but need not be one number
        pass
    raise ArgumentError(f"{name}={value!r} must be an integer >= {low}")


def ranked_labels(k: int | None, num_labels: int) -> int:
    """The number of labels to rank: k, or by default 5, or all if there are fewer. Raises ArgumentError."""
    if k is None:
        return min(DEFAULT_K, num_labels)
    require_int("k", k, 1)
    if k > num_labels:
        raise ArgumentError(f"k={k} is more than num_labels={num_labels}; ask for at most that many")
    return int(k)


def require_cutoffs(cutoffs: Iterable[int], num_labels: int | None = None) -> list[int]:
    """Values of k, at least one, as a list of integers from 1 to `num_labels`. Raises ArgumentError."""
    if isinstance(cutoffs, str) or not isinstance(cutoffs, Iterable) or getattr(cutoffs, "ndim", 1) == 0:
        raise ArgumentError(f"cutoffs={cutoffs!r} must be a sequence of values of k, such as (1, 3, 5)")
    found = list(cutoffs)
    if not found:
        raise ArgumentError("cutoffs is empty; pass values of k such as (1, 3, 5)")
    for k in found:
        require_int("cutoffs", k, 1)
        if num_labels is not None and k > num_labels:
            raise ArgumentError(f"cutoffs holds {k}, but there are num_labels={num_labels}; leave it out")
    return [int(k) for k in found]


def name_list(name: str, names: Iterable[Any]) -> Sequence[Any]:
    """Names in any iterable, an array or a column of a table among them, as a sequence; ArgumentError for another."""
    if isinstance(names, list | tuple):
        return names
    if isinstance(names, str | bytes) or not isinstance(names, Iterable) or getattr(names, "ndim", 1) != 1:
        raise ArgumentError(f"{name} is a {type(names).__name__}; pass a list of names")
    return names.tolist() if isinstance(names, np.ndarray) else list(names)


def parse_bytes(name: str, value: int | str | None) -> int:
    """Bytes of an int or of text such as "4GB" (10^9) or "512MiB" (2^20); None is 0, which means no limit."""
    if value is None:
        return 0
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:_\d+)*(?:\.\d+)?(?:E\+?\d{1,2})?)\s*([KMGT]?I?)B?\s*", value.upper())
        factor = (_UNITS | _BINARY_UNITS).get(match[2]) if match else None
        if match is None or factor is None:
            raise ArgumentError(
                f'{name}={value!r} is not a size; write bytes as an int, or text: "4GB", "512MiB", "1e9"'
            )
        value = int(float(match[1]) * factor)
    require_int(name, value, 1)
    return int(value)
