"""--instance-weights: a file with a number for each training instance."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..data.streams import Lines, open_text
from ..errors import DataError


def read_instance_weights(path: str) -> npt.NDArray[np.float64]:
    """The numbers of a text file, one per line, finite and at least 0; it may be packed, and "-" is standard input.

    Raises:
        DataError: a line that holds something else; the message names it.
        ArgumentError: the file cannot be read.
    """
    numbers = []
    with open_text(path) as stream:
        lines = Lines(stream)
        for line in lines:
            try:
                number = float(line)
            except ValueError:
                number = math.nan
            if not 0 <= number < math.inf:
                raise DataError(f"{lines.name}:{lines.number}: {line[:40]!r}; each line holds one finite number >= 0")
            numbers.append(number)
    return np.array(numbers)
