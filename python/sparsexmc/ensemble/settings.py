"""Settings of the parts beside a network, as a file can hold them; numbers may be left to tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._checks import require_bool, require_choice, require_int, require_number
from ..config import Votes
from ..errors import ArgumentError

TUNE = "tune"
FEATURES, HIDDEN = "features", "hidden"
COST, WEIGHT = 0.3, 0.4  # of linear classifiers, where no instances are held out to tune on
# Of votes. Dense embeddings of different subjects are still somewhat alike; a higher power tells them apart.
SPARSE_POWER, DENSE_POWER = 2.0, 4.0
HIDDEN_POWER = 6.0  # tuning tries this and 9


@dataclass(frozen=True, kw_only=True)
class LinearSettings:
    """Linear classifiers; the fields but `enabled` are arguments of `Linear`, and "tune" leaves a number to tuning."""

    enabled: bool = True
    cost: float | str = TUNE
    negatives: int = 50
    rounds: int = 4
    threshold: float = 0.1
    weight: float | str = TUNE
    seed: int = 0

    def __post_init__(self) -> None:
        require_bool("linear.enabled", self.enabled)
        _require_tunable("linear.cost", self.cost, low_open=True)
        _require_tunable("linear.weight", self.weight)
        require_int("linear.negatives", self.negatives, 1)
        require_int("linear.rounds", self.rounds, 1)
        require_number("linear.threshold", self.threshold, 0)
        require_int("linear.seed", self.seed, 0)

    @property
    def settled_cost(self) -> float:
        """The cost, or what stands for one that is left to tuning."""
        return COST if isinstance(self.cost, str) else self.cost

    @property
    def settled_weight(self) -> float:
        """The weight, or what stands for one that is left to tuning."""
        return WEIGHT if isinstance(self.weight, str) else self.weight

    def training_arguments(self) -> dict[str, Any]:
        """The keyword arguments of `LinearTraining`."""
        return {"negatives": self.negatives, "threshold": self.threshold, "seed": self.seed}


@dataclass(frozen=True, kw_only=True)
class NeighborsSettings:
    """Neighbors; the fields but `enabled` are those of `Votes`, and "tune" leaves one to tuning."""

    enabled: bool = True
    count: int = Votes.count
    power: float | str = TUNE
    weight: float | str = TUNE
    smoothing: float = Votes.smoothing
    space: str = TUNE

    def __post_init__(self) -> None:
        require_bool("neighbors.enabled", self.enabled)
        require_int("neighbors.count", self.count, 1)
        _require_tunable("neighbors.power", self.power)
        _require_tunable("neighbors.weight", self.weight)
        require_number("neighbors.smoothing", self.smoothing, 0)
        require_choice("neighbors.space", self.space, [FEATURES, HIDDEN, TUNE])

    def votes(self, space: str, *, sparse: bool) -> Votes:
        """The votes where neighbors are compared by "features" (sparse or not) or by the "hidden" layer; what is left
        to tuning has its default.
        """
        power = HIDDEN_POWER if space == HIDDEN else SPARSE_POWER if sparse else DENSE_POWER
        return Votes(
            count=self.count,
            power=power if isinstance(self.power, str) else self.power,
            weight=Votes.weight if isinstance(self.weight, str) else self.weight,
            smoothing=self.smoothing,
            space=space,
        )


def _require_tunable(name: str, value: object, *, low_open: bool = False) -> None:
    if isinstance(value, str) and value == TUNE:
        return
    try:
        require_number(name, value, 0, low_open=low_open)
    except ArgumentError as error:
        raise ArgumentError(f'{error}, or "{TUNE}"') from None
