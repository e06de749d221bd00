"""What the command line chooses where the user does not."""

from __future__ import annotations

import pytest

from sparsexmc.cli import config as cfg
from sparsexmc.cli import defaults


@pytest.mark.parametrize(("steps", "interval"), [(600, 50), (1, 1), (60_000, 1000)])
def test_rewiring_fits_the_length_of_the_training(steps: int, interval: int) -> None:
    model = defaults.for_steps({"rewiring": {"method": "rigl"}}, steps)
    rewiring = cfg.model_arguments({"model": model})["rewiring"]
    assert (rewiring.method, rewiring.interval, rewiring.fraction_schedule) == ("rigl", interval, "cosine")
    assert rewiring.stop == max(steps * 3 // 4, 1)
