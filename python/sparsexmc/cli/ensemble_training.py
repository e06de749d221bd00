"""Trains what a model has beside its network, and finds the numbers that the configuration leaves to tuning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from sparsexmc import ArgumentError, Classifier, DTypeError, Ensemble, Linear, LinearTraining, Neighbors, Votes
from sparsexmc._checks import require_int
from sparsexmc.ensemble.ensemble import LINEAR_WEIGHTS, VOTES_WEIGHTS, Weights

from . import config as cfg
from .ensemble import TUNE, given, votes
from .tables import count

COSTS = (0.3, 0.6, 1.0)
COST, ROUNDS, WEIGHT = 0.3, 4, 0.4  # where the configuration has none
# After two rounds linear classifiers are weaker than they will be, and get too little weight.
TUNING_ROUNDS = 3
FINAL_ROUNDS = 2  # when the held-out instances take part, too
# What neighbors in the space of the hidden layer must add to the mean of P@k: they take more time and memory.
LEAST_GAIN = 0.003
FEATURES, HIDDEN = "features", "hidden"

Rows = npt.NDArray[np.int64]


class Trial(NamedTuple):
    """What tuning found with linear classifiers of one cost."""

    value: float  # mean of P@k on the held instances
    cost: float | None
    space: str
    weights: Weights
    network_alone: float | None


class EnsembleTraining:
    """The parts beside a classifier on the way to their ensemble.

    The linear classifiers that are compared and the final ones come from one training: what it has found with some
    instances held out it goes on from with all of them.
    """

    def __init__(
        self, config: cfg.Config, classifier: Classifier, X: Any, Y: sp.csr_matrix, threads: int | None
    ) -> None:
        self.classifier, self.X, self.Y = classifier, X, Y
        self.options: dict[str, Any] = {"num_threads": threads}
        self.linear, self.neighbors = _wanted(config, "linear"), _wanted(config, "neighbors")
        self.training: LinearTraining | None = None
        self.rounds_done = 0

    def tune(self, left: Rows, held: Rows) -> None:
        """Puts numbers in place of "tune", those with which the ensemble ranks the held instances best. Prints them."""
        grids: dict[str, Any] = {}
        if self.linear is not None:
            grids["linear_weights"] = _grid(self.linear, LINEAR_WEIGHTS)
        if self.neighbors is not None:
            grids["votes_weights"] = _grid(self.neighbors, VOTES_WEIGHTS)
            if self.neighbors.get("power", TUNE) != TUNE:
                grids["powers"] = (self.neighbors["power"],)
        spaces = self._spaces()
        if len(self._costs()) <= 1 and len(spaces) == 1 and all(len(grid) == 1 for grid in grids.values()):
            return
        best: Trial | None = None
        voters = {space: self._voters(left, space) for space in spaces}
        for cost, linear in self._candidates(held):
            trials = {space: self._try(cost, linear, space, found, held, grids) for space, found in voters.items()}
            if best is None:  # the best weights at other costs will not lie far from these, nor the best space
                best = _better_space(trials)
                voters = {best.space: voters[best.space]}
                for name in grids.keys() & {"linear_weights", "votes_weights"}:
                    grids[name] = _near(getattr(best.weights, name.removesuffix("_weights")), grids[name])
            elif trials[best.space].value > best.value:
                best = trials[best.space]._replace(network_alone=best.network_alone)
        assert best is not None
        self._choose(best, len(held))

    def _try(
        self,
        cost: float | None,
        linear: Linear | None,
        space: str,
        neighbors: Neighbors | None,
        held: Rows,
        grids: dict[str, Any],
    ) -> Trial:
        if neighbors is not None:
            neighbors.votes = self._votes(space)
        ensemble = Ensemble(self.classifier, linear=linear, neighbors=neighbors, **self.options)
        tried = ensemble.tune(self.X[held], self.Y[held], **grids)
        alone = [value for weights, value in tried.items() if weights.linear == weights.votes == 0]
        return Trial(tried[ensemble.weights], cost, space, ensemble.weights, max(alone, default=None))

    def _spaces(self) -> Sequence[str]:
        """In which neighbors may be looked for."""
        hidden = self.classifier.config["hidden"] is not None
        space = TUNE if self.neighbors is None else self.neighbors.get("space", TUNE)
        if space == HIDDEN and not hidden:
            raise cfg.UsageError('neighbors.space is "hidden", but the model has no hidden layer; write "features"')
        if space != TUNE:
            return (space,)
        return (FEATURES, HIDDEN) if hidden and self.neighbors is not None else (FEATURES,)

    def _votes(self, space: str) -> Votes:
        return votes(self.neighbors or {}, space, sparse=sp.issparse(self.X))

    def finish(self) -> Ensemble | None:
        """The ensemble, with all instances in its parts; None if none is left."""
        if self.linear is None and self.neighbors is None:
            return None
        linear = None
        if self.linear is not None:
            training = self._training(()).admit_held()
            rounds = _rounds(self.linear)
            for _ in range(max(rounds - self.rounds_done, min(rounds, FINAL_ROUNDS))):
                training.round(_number(self.linear, "cost", COST))
            linear = training.linear(_number(self.linear, "weight", WEIGHT))
        neighbors = self._voters(slice(None), self._spaces()[0])
        return Ensemble(self.classifier, linear=linear, neighbors=neighbors, **self.options)

    def _costs(self) -> Sequence[float]:
        if self.linear is None:
            return ()
        return COSTS if self.linear.get("cost") == TUNE else (_number(self.linear, "cost", COST),)

    def _candidates(self, held: Rows) -> Iterator[tuple[float | None, Linear | None]]:
        """Linear classifiers of every cost in question that do not know the held instances."""
        if self.linear is None:
            yield None, None
            return
        training, (first, *others) = self._training(held), self._costs()
        self.rounds_done = min(_rounds(self.linear), TUNING_ROUNDS)
        for _ in range(self.rounds_done):
            training.round(first)
        yield first, training.linear()
        for cost in others:
            yield cost, training.solve(cost).linear()

    def _training(self, held: npt.ArrayLike) -> LinearTraining:
        if self.training is None:
            options = {key: value for key, value in given(self.linear or {}).items() if key in _TRAINING_OPTIONS}
            try:
                rows = np.asarray(held, np.int64)
                self.training = LinearTraining(self.X, self.Y, held=rows, **options, **self.options)
            except (ArgumentError, DTypeError) as error:
                raise cfg.UsageError(f"[linear]: {error}") from None
        return self.training

    def _voters(self, rows: Rows | slice, space: str) -> Neighbors | None:
        if self.neighbors is None:
            return None
        X, Y, how = self.X[rows], self.Y[rows], self._votes(space)
        if space == HIDDEN:
            return Neighbors.of_hidden_layer(self.classifier, X, Y, how, **self.options)
        return Neighbors(X, Y, how, **self.options)

    def _choose(self, best: Trial, held: int) -> None:
        said = []
        if self.linear is not None:
            with_cost = f" with cost {best.cost:g}" if self.linear.get("cost") == TUNE else ""
            said.append(f"linear weight {best.weights.linear:g}{with_cost}")
            self.linear |= {"weight": best.weights.linear, "cost": best.cost}
        if self.neighbors is not None:
            by = " by the hidden layer" if best.space == HIDDEN else ""
            said.append(f"neighbors{by} weight {best.weights.votes:g} with power {best.weights.power:g}")
            self.neighbors |= {"weight": best.weights.votes, "power": best.weights.power, "space": best.space}
        alone = "" if best.network_alone is None else f", the network alone {100 * best.network_alone:.1f}"
        print(
            f"best on {count(held, 'instance')} held out: {', '.join(said)}; mean of P@1, P@3 and P@5 "
            f"{100 * best.value:.1f}{alone}"
        )
        # What gets no weight need not be trained, nor be there in prediction.
        self.linear, self.neighbors = (
            section if section and section["weight"] else None for section in (self.linear, self.neighbors)
        )


def _better_space(trials: dict[str, Trial]) -> Trial:
    """Of one or two trials with neighbors of different spaces."""
    features, hidden = trials.get(FEATURES), trials.get(HIDDEN)
    if features is None or (hidden is not None and hidden.value >= features.value + LEAST_GAIN):
        assert hidden is not None
        return hidden
    return features


_TRAINING_OPTIONS = ("negatives", "threshold", "seed")


def _wanted(config: cfg.Config, name: str) -> cfg.Config | None:
    section = config.get(name, {})
    return dict(section) if section.get("enabled", False) else None


def _number(section: cfg.Config, key: str, default: float) -> float:
    """A number that may still wait for tuning where no instance was held out."""
    value = section.get(key, TUNE)
    return default if value == TUNE else value


def _rounds(linear: cfg.Config) -> int:
    rounds = linear.get("rounds", ROUNDS)
    try:
        require_int("rounds", rounds, 1)
    except ArgumentError as error:
        raise cfg.UsageError(f"[linear]: {error}") from None
    return int(rounds)


def _grid(section: cfg.Config, all_weights: Sequence[float]) -> Sequence[float]:
    weight = section.get("weight", TUNE)
    return all_weights if weight == TUNE else (weight,)


def _near(value: float, grid: Sequence[float]) -> Sequence[float]:
    """A number of the grid, and those beside it."""
    at = list(grid).index(value)
    return grid[max(at - 1, 0) : at + 2]
