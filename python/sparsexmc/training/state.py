"""Where a training stands, and what it must have in common with the one that it continues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from .history import History

_ELSEWHERE = ("device", "num_threads")  # of the configuration: a training may go on elsewhere


@dataclass
class TrainingState:
    """The position of a call of `fit`. With the classifier and the arguments of the call it decides all that follows.

    Attributes:
        first_epoch, last_epoch: of the call.
        first_step: steps that the classifier had done before it.
        patience_from: the epoch from which patience counts at the earliest.
        epoch: the one in progress.
        instances: how many of the epoch are done, in its order, which follows from seed and epoch.
        loss: sum over these instances.
        seconds: that they took.
        momentum: of the classifier, which a callback may have set.
        is_judged: the epoch is complete and validated; what is left of it are the calls of `on_epoch`.
        history: of the epochs so far, the best among them.
    """

    first_epoch: int
    last_epoch: int
    first_step: int
    patience_from: int
    epoch: int
    history: History
    instances: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    momentum: float = 0.0
    is_judged: bool = False

    def next_epoch(self) -> None:
        """Begin the next epoch."""
        self.epoch += 1
        self.instances, self.loss, self.seconds, self.is_judged = 0, 0.0, 0.0, False


@dataclass(frozen=True)
class Circumstances:
    """Everything that a training must have in common with the one that it continues.

    Attributes:
        settings: arguments of `fit` by name.
        data: fingerprints by the name of the argument.
        config: of the classifier.
        callbacks: their types.
    """

    settings: dict[str, Any]
    data: dict[str, dict[str, Any]]
    config: dict[str, Any]
    callbacks: list[str]

    def check(self, earlier: Circumstances, path: str) -> None:
        """Raise ArgumentError, which names everything that differs, unless `earlier` is the same."""
        said = [
            *_differences("", self.settings, earlier.settings),
            *_differences("the classifier's ", _comparable(self.config), _comparable(earlier.config)),
            *_differing_data(self.data, earlier.data),
        ]
        if self.callbacks != earlier.callbacks:
            said.append(f"callbacks are {self.callbacks or 'none'}, not {earlier.callbacks or 'none'}")
        if said:
            raise ArgumentError(
                f"resume: the training whose state is in {path!r} was another: {'; '.join(said)}. Give what it was "
                "given, or start anew without resume"
            )

    def measures_like(self, earlier: Circumstances) -> bool:
        """Whether values of the validation metric compare: of the same classifier on the same held-out instances."""
        names = ("validation", "validation_metric", "seed")
        if any(self.settings[name] != earlier.settings.get(name) for name in names):
            return False
        given = self.settings["validation"] == GIVEN
        propensities = self.settings["validation_metric"].startswith("PS")
        trained = () if given and not propensities else ("Y",) if given else ("X", "Y")
        held = [name for name in {*self.data, *earlier.data} if name not in ("X", "Y", "instance_weights")]
        same = all(self.data.get(name) == earlier.data.get(name) for name in (*trained, *held))
        return same and _comparable(self.config) == _comparable(earlier.config)


GIVEN = "given"
"""Stands for a pair (X, Y) as `validation`."""


def callback_types(callbacks: Sequence[Any]) -> list[str]:
    """Names that tell whether the same callbacks were given."""
    return [type(callback).__qualname__ for callback in callbacks]


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in _ELSEWHERE}


def _differences(of: str, now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    names = [name for name in {**then, **now} if now.get(name) != then.get(name)]
    return [f"{of}{name} is {now.get(name)!r}, not {then.get(name)!r}" for name in names]


def _differing_data(now: Mapping[str, Mapping[str, Any]], then: Mapping[str, Mapping[str, Any]]) -> list[str]:
    said = []
    for name in {**then, **now}:
        here, there = now.get(name), then.get(name)
        if here is None or there is None:
            said.append(f"{name} is {'not ' if here is None else ''}given")
        elif here != there:
            sizes = [key for key in here if key != "sha256" and here[key] != there.get(key)]
            what = ", ".join(f"{key} {here[key]!r}, not {there.get(key)!r}" for key in sizes)
            said.append(f"{name} has {what or 'the same size but other content'}")
    return said
