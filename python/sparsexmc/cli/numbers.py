"""Whole numbers on the command line, as people write them."""

from __future__ import annotations

import argparse
import decimal

_MOST_DIGITS = 19  # of 2^63


def whole_number(text: str) -> int:
    """`text` as an integer: 250000, 250_000, 2.5e5. For argparse, which reports its error."""
    try:
        number = decimal.Decimal(text.replace("_", ""))
        if number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS and number == number.to_integral_value():
            return int(number)
    except decimal.InvalidOperation:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number; write 250000, 250_000 or 2.5e5")
