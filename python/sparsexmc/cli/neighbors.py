"""The training instances that vote beside a trained classifier: [neighbors] of the configuration, neighbors.npz."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import config as cfg
from .tables import count

if TYPE_CHECKING:
    import scipy.sparse as sp

    from sparsexmc import Classifier, Neighbors
    from sparsexmc._filter import Ranking

NEIGHBORS_FILE = "neighbors.npz"
TUNE = "tune"
LEAST_TUNING_INSTANCES = 100


class Ranker(Protocol):
    """What predicts: a classifier, or one with its neighbors."""

    def topk(self, X: Any, k: int = 5, *, filter: Any = None) -> Ranking:
        """As `Classifier.topk`."""


@dataclass(frozen=True)
class VotingClassifier:
    """A classifier beside which neighbors vote."""

    classifier: Classifier
    neighbors: Neighbors

    def topk(self, X: Any, k: int = 5, *, filter: Any = None) -> Ranking:
        """As `Classifier.topk`, with the scores of `Neighbors.topk`."""
        return self.neighbors.topk(self.classifier, X, k, filter=filter)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """--no-neighbors."""
    parser.add_argument("--no-neighbors", action="store_true", help="the network alone, without the model's neighbors")


def check(section: cfg.Config) -> None:
    """Raises UsageError for a [neighbors] that cannot be meant."""
    _votes(section)
    if section.get("enabled", True) not in (True, False):
        raise cfg.UsageError(f"neighbors.enabled is {section['enabled']!r}; write true or false")


def learn(
    section: cfg.Config, classifier: Classifier, X: Any, Y: sp.csr_matrix, training: cfg.Config, threads: int | None
) -> Neighbors | None:
    """The neighbors of a trained classifier, or None if they are not wanted; says what it does.

    With weight = "tune" the votes are chosen on the instances that `fit` has held out with the same arguments
    `training`; then these join the memory.
    """
    from sparsexmc import Neighbors
    from sparsexmc._validation import hold_out

    if not section.get("enabled", True):
        return None
    votes = _votes(section)
    seed = training.get("seed")
    left, held = hold_out(X.shape[0], training.get("validation"), classifier.config["seed"] if seed is None else seed)
    if section.get("weight", TUNE) == TUNE and len(held) >= LEAST_TUNING_INSTANCES:
        memory = Neighbors(X[left], Y[left], votes, num_threads=threads)
        tried = memory.tune(classifier, X[held], Y[held])
        votes, alone = memory.votes, max(value for (_, weight), value in tried.items() if weight == 0)
        best = tried[votes.power, votes.weight]
        print(
            f"neighbors: power {votes.power:g} and weight {votes.weight:g} are best on {count(len(held), 'instance')} "
            f"held out: mean of P@1, P@3 and P@5 {100 * best:.1f}, without them {100 * alone:.1f}"
        )
    return Neighbors(X, Y, votes, num_threads=threads) if votes.weight > 0 else None


def load(model: str, classifier: Classifier, threads: int | None = None, *, wanted: bool = True) -> Ranker:
    """The classifier with the neighbors in its directory, if there are any. Raises DataError if they are damaged."""
    from sparsexmc import Neighbors

    path = Path(model) / NEIGHBORS_FILE
    if not wanted or not path.exists():
        return classifier
    return VotingClassifier(classifier, Neighbors.load(path, num_threads=threads))


def save(model: Path, neighbors: Neighbors | None) -> None:
    """Puts them into the model directory, or removes those of an earlier training."""
    path = model / NEIGHBORS_FILE
    if neighbors is None:
        path.unlink(missing_ok=True)
    else:
        neighbors.save(path)


def _votes(section: cfg.Config) -> Any:
    from sparsexmc import ArgumentError, Votes

    values = {key: value for key, value in section.items() if key != "enabled" and value != TUNE}
    try:
        return Votes(**values)
    except ArgumentError as error:
        raise cfg.UsageError(str(error).replace("votes.", "neighbors.", 1)) from None
