"""Training of what stands beside a network, and the numbers of an ensemble chosen on held-out instances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from ..calibration import Calibration
from ..config import Softmax
from ..core.classifier import CoreClassifier
from ..errors import ArgumentError
from ..training.stages import Stages
from .component_scores import Weights, require_log_odds
from .ensemble import LINEAR_WEIGHTS, VOTES_WEIGHTS, Ensemble
from .linear import Linear, LinearTraining
from .neighbors import Neighbors
from .settings import FEATURES, HIDDEN, TUNE, LinearSettings, NeighborsSettings

COSTS = (0.3, 0.6, 1.0)
# After two rounds linear classifiers are weaker than they will be, and get too little weight.
TUNING_ROUNDS = 3
FINAL_ROUNDS = 2  # when the held-out instances take part, too
# What neighbors in the space of the hidden layer must add to the mean of P@k: they take more time and memory.
LEAST_GAIN = 0.003
LEAST_TUNING_INSTANCES = 100

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tuning:
    """The best setting that tuning found.

    Attributes:
        value: mean of P@1, P@3 and P@5 on the held-out instances, a share.
        cost: of the linear classifiers; None without them.
        space: in which the neighbors are compared.
        weights: of the linear classifiers and the votes, and the votes' power.
        network_alone: the same mean of the network alone, where it was tried.
        held: number of held-out instances.
    """

    value: float
    cost: float | None
    space: str
    weights: Weights
    network_alone: float | None
    held: int


def check_enabled(
    linear: LinearSettings, neighbors: NeighborsSettings, *, sparse: bool, hidden: bool, loss: str | Softmax
) -> None:
    """Raise ArgumentError for parts that the features (`sparse` or not) or the network (`hidden` layer) cannot have."""
    if linear.enabled or neighbors.enabled:
        require_log_odds(loss)
    if linear.enabled and not sparse:
        raise ArgumentError("linear.enabled = true needs sparse features, and this data has dense ones; write false")
    if neighbors.enabled and neighbors.space == HIDDEN and not hidden:
        raise ArgumentError(
            'neighbors.space is "hidden", but the model has no hidden layer; write "features", or give it one'
        )


def require_weight(instance_weights: npt.NDArray[np.float32], rows: Rows | slice = slice(None)) -> None:
    """Raise ArgumentError unless one of the training rows has a weight above 0."""
    if not instance_weights[rows].any():
        raise ArgumentError("instance_weights is 0 for all instances that are trained on; give some of them a weight")


class EnsembleTraining:
    """The parts beside a classifier, on the way to their ensemble.

    The linear classifiers that are compared and the final ones come from one training: what it has found with some
    instances held out it continues from with all of them. The last rounds go on from the last cost that was compared,
    so that a training with the chosen cost alone, as a saved run.toml holds it, ranks a few of the last labels
    otherwise.

    Args:
        classifier: the trained network.
        X, Y: training instances as the classifier reads them, and their labels.
        instance_weights: [N] factors, finite and >= 0, on their losses and votes; None: all 1. Those of 0 are as
            absent. Tuning and probabilities do not weigh.
        linear, neighbors: which parts there are; numbers may be left to tuning.
        num_threads: worker threads; None: the default.
        progress: as in `Classifier.fit`, for `tune` and `finish`.

    Attributes:
        linear, neighbors: the settings, after `tune` with the chosen numbers.
        calibration: probabilities of the ensemble that `tune` found best, or of the one that the settings ask for; None
            before, or if too few instances are held out.
    """

    def __init__(
        self,
        classifier: CoreClassifier,
        X: Any,
        Y: sp.csr_matrix,
        linear: LinearSettings,
        neighbors: NeighborsSettings,
        *,
        instance_weights: npt.NDArray[np.float32] | None = None,
        num_threads: int | None = None,
        progress: bool | None = False,
    ) -> None:
        self.classifier, self.X, self.Y = classifier, X, Y
        self._progress = progress
        self._instance_weights = instance_weights
        self.linear, self.neighbors = linear, neighbors
        config = classifier.config
        check_enabled(
            linear, neighbors, sparse=sp.issparse(X), hidden=config["hidden"] is not None, loss=config["loss"]
        )
        self.calibration: Calibration | None = None
        self._options: dict[str, Any] = {"num_threads": num_threads}
        self._training: LinearTraining | None = None
        self._rounds_done = 0

    def tune(self, left: Rows, held: Rows) -> Tuning | None:
        """Choose the numbers that are left to tuning: those with which the ensemble ranks the held instances best.

        Args:
            left: numbers of the instances that the classifier has learned from.
            held: those it has not seen.

        Returns:
            The best setting; None if fewer than 100 instances are held out or no number was left to tuning.
        """
        if len(held) < LEAST_TUNING_INSTANCES or not (self.linear.enabled or self.neighbors.enabled):
            return None
        grids: dict[str, Any] = {}
        if self.linear.enabled:
            grids["linear_weights"] = LINEAR_WEIGHTS if self.linear.weight == TUNE else (self.linear.weight,)
        if self.neighbors.enabled:
            grids["votes_weights"] = VOTES_WEIGHTS if self.neighbors.weight == TUNE else (self.neighbors.weight,)
            if self.neighbors.power != TUNE:
                grids["powers"] = (self.neighbors.power,)
        spaces = self._spaces()
        power_is_open = self.neighbors.enabled and self.neighbors.power == TUNE
        open_numbers = len(self._costs()) > 1 or len(spaces) > 1 or any(len(grid) > 1 for grid in grids.values())
        best: Tuning | None = None
        with Stages(self._progress, self._tuning_stages()) as stages:
            voters = {space: self._voters(left, space, stages) for space in spaces}
            for cost, linear in self._candidates(held, stages):
                stages.begin("weights of the ensemble")
                ensembles = {space: self._ensemble(linear, space, found) for space, found in voters.items()}
                trials = {space: self._try(cost, space, parts, held, grids) for space, parts in ensembles.items()}
                if best is None:  # the best weights at other costs will not lie far from these, nor the best space
                    best = _better_space(trials)
                    voters = {best.space: voters[best.space]}
                    self._calibrate(ensembles[best.space], best.weights, held)
                    for name in grids.keys() & {"linear_weights", "votes_weights"}:
                        grids[name] = _near(getattr(best.weights, name.removesuffix("_weights")), grids[name])
                elif trials[best.space].value > best.value:
                    best = replace(trials[best.space], network_alone=best.network_alone)
                    self._calibrate(ensembles[best.space], best.weights, held)
        assert best is not None
        if not (open_numbers or power_is_open):
            return None  # but there are probabilities now
        self._choose(best)
        return best

    def finish(self) -> Ensemble | None:
        """The ensemble, with all instances in its parts; None if none is left."""
        if not (self.linear.enabled or self.neighbors.enabled):
            return None
        linear, rounds = None, 0
        if self.linear.enabled:
            rounds = max(self.linear.rounds - self._rounds_done, min(self.linear.rounds, FINAL_ROUNDS))
        with Stages(self._progress, rounds + self.neighbors.enabled) as stages:
            if self.linear.enabled:
                training = self._linear_training(()).admit_held()
                for number in range(rounds):
                    stages.begin(f"linear classifiers, last round {number + 1}")
                    training.round(self.linear.settled_cost)
                linear = training.linear(self.linear.settled_weight)
            neighbors = self._voters(np.arange(self.X.shape[0]), self._spaces()[0], stages)
        return Ensemble(self.classifier, linear=linear, neighbors=neighbors, **self._options)

    def _ensemble(self, linear: Linear | None, space: str, neighbors: Neighbors | None) -> Ensemble:
        if neighbors is not None:
            neighbors.votes = self.neighbors.votes(space, sparse=sp.issparse(self.X))
        return Ensemble(self.classifier, linear=linear, neighbors=neighbors, **self._options)

    def _calibrate(self, ensemble: Ensemble, weights: Weights, held: Rows) -> None:
        ensemble.weights = weights  # the ensembles of both spaces share their linear classifiers
        self.calibration = Calibration.of(ensemble, self.X[held], self.Y[held])

    def _try(self, cost: float | None, space: str, ensemble: Ensemble, held: Rows, grids: dict[str, Any]) -> Tuning:
        tried = ensemble.tune(self.X[held], self.Y[held], **grids)
        alone = [value for weights, value in tried.items() if weights.linear == weights.votes == 0]
        best = ensemble.weights
        return Tuning(tried[best], cost, space, best, max(alone, default=None), len(held))

    def _spaces(self) -> Sequence[str]:
        """The spaces in which neighbors may be searched; features come first, the choice where nothing is tuned."""
        if self.neighbors.space != TUNE:
            return (self.neighbors.space,)
        hidden = self.classifier.config["hidden"] is not None
        return (FEATURES, HIDDEN) if hidden and self.neighbors.enabled else (FEATURES,)

    def _costs(self) -> Sequence[float]:
        if not self.linear.enabled:
            return ()
        return COSTS if self.linear.cost == TUNE else (self.linear.settled_cost,)

    def _tuning_stages(self) -> int:
        """How many stages `tune` has."""
        costs = len(self._costs())
        linear = min(self.linear.rounds, TUNING_ROUNDS) + costs - 1 if self.linear.enabled else 0
        return linear + max(costs, 1) + (len(self._spaces()) if self.neighbors.enabled else 0)

    def _candidates(self, held: Rows, stages: Stages) -> Iterator[tuple[float | None, Linear | None]]:
        """Linear classifiers of every cost in question that do not know the held instances."""
        if not self.linear.enabled:
            yield None, None
            return
        training = self._linear_training(held)
        self._rounds_done = min(self.linear.rounds, TUNING_ROUNDS)
        first, *others = self._costs()
        for number in range(self._rounds_done):
            stages.begin(f"linear classifiers, round {number + 1}")
            training.round(first)
        yield first, training.linear()
        for cost in others:  # each from the one before: trained from scratch it would take the time of all rounds
            stages.begin(f"linear classifiers, cost {cost:g}")
            yield cost, training.solve(cost).linear()

    def _linear_training(self, held: npt.ArrayLike) -> LinearTraining:
        if self._training is None:
            arguments = self.linear.training_arguments() | self._options
            arguments |= {"held": np.asarray(held, np.int64), "instance_weights": self._instance_weights}
            self._training = LinearTraining(self.X, self.Y, **arguments)
        return self._training

    def _voters(self, rows: Rows, space: str, stages: Stages) -> Neighbors | None:
        if not self.neighbors.enabled:
            return None
        stages.begin(f"neighbors, {'hidden layer' if space == HIDDEN else 'features'}")
        weights = self._instance_weights
        if weights is not None:
            rows = rows[weights[rows] > 0]
        X, Y = (self.X, self.Y) if len(rows) == self.X.shape[0] else (self.X[rows], self.Y[rows])
        options = self._options | {"instance_weights": None if weights is None else weights[rows]}
        votes = self.neighbors.votes(space, sparse=sp.issparse(self.X))
        if space == HIDDEN:
            return Neighbors.of_hidden_layer(self.classifier, X, Y, votes, **options)
        return Neighbors(X, Y, votes, **options)

    def _choose(self, best: Tuning) -> None:
        """Take the best setting. A part without weight need not be trained, nor be there in prediction."""
        if self.linear.enabled:
            assert best.cost is not None
            weight = best.weights.linear
            self.linear = replace(self.linear, enabled=weight > 0, weight=weight, cost=best.cost)
        if self.neighbors.enabled:
            weight, power = best.weights.votes, best.weights.power
            self.neighbors = replace(self.neighbors, enabled=weight > 0, weight=weight, power=power, space=best.space)


def _better_space(trials: dict[str, Tuning]) -> Tuning:
    """Of one or two trials with neighbors of different spaces."""
    features, hidden = trials.get(FEATURES), trials.get(HIDDEN)
    if features is None or (hidden is not None and hidden.value >= features.value + LEAST_GAIN):
        assert hidden is not None
        return hidden
    return features


def _near(value: float, grid: Sequence[float]) -> Sequence[float]:
    """A number of the grid, and those beside it."""
    at = list(grid).index(value)
    return grid[max(at - 1, 0) : at + 2]
