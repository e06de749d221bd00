"""--label-weights: how much more a prediction of a rare label counts than one of a frequent label."""

from __future__ import annotations

import argparse

import numpy as np
import numpy.typing as npt

from ..model import Model
from ..training.validation import A, B
from .errors import UsageError


def add_argument(parser: argparse.ArgumentParser) -> None:
    """--label-weights."""
    parser.add_argument(
        "--label-weights",
        metavar="W",
        help="propensity or propensity:ALPHA: scores times (1 / propensity)^ALPHA, which favours rare labels; for the "
        "network alone logit + ALPHA ln(1 / propensity)",
    )


def label_weights(text: str | None, model: Model, a: float = A, b: float = B) -> npt.NDArray[np.float64] | None:
    """The weights [num_labels] that the option asks for, or None."""
    if text is None:
        return None
    kind, colon, number = text.partition(":")
    try:
        alpha = float(number) if colon else 1.0
    except ValueError:
        alpha = float("nan")
    if kind != "propensity" or not abs(alpha) <= 100:
        raise UsageError(f"--label-weights {text}: write propensity, or propensity:ALPHA with a number such as 0.5")
    return model.propensity_weights(alpha, A=a, B=b)
