"""What a model has beside its network: [linear] and [neighbors] of the configuration, linear.npz and neighbors.npz."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import config as cfg

if TYPE_CHECKING:
    import scipy.sparse as sp

    from sparsexmc import Classifier, Ensemble, Linear, Neighbors, Votes
    from sparsexmc.core.directory import ModelWriter
    from sparsexmc.core.filter import Ranking

LINEAR_FILE, NEIGHBORS_FILE = "linear.npz", "neighbors.npz"
TUNE = "tune"
LEAST_TUNING_INSTANCES = 100
HIDDEN_POWER = 6.0  # tuning tries this and 9


class Ranker(Protocol):
    """What predicts: a classifier, or an ensemble with it."""

    def topk(self, X: Any, k: int = 5, *, filter: Any = None) -> Ranking:
        """As `Classifier.topk`."""


def add_argument(parser: argparse.ArgumentParser) -> None:
    """--network-alone."""
    parser.add_argument(
        "--network-alone", action="store_true", help="without the model's linear classifiers and neighbors"
    )


def check(config: cfg.Config) -> None:
    """Raises UsageError for a [linear] or [neighbors] that cannot be meant."""
    from sparsexmc import ArgumentError
    from sparsexmc._checks import require_number

    for name in ("linear", "neighbors"):
        section = config.get(name, {})
        if section.get("enabled", True) not in (True, False):
            raise cfg.UsageError(f"{name}.enabled is {section['enabled']!r}; write true or false")
        for key in ("cost", "weight", "power"):
            try:
                if section.get(key, TUNE) != TUNE:
                    require_number(f"{name}.{key}", section[key], 0, low_open=key == "cost")
            except ArgumentError as error:
                raise cfg.UsageError(f'{error}, or "{TUNE}"') from None
    neighbors = config.get("neighbors", {})
    space = neighbors.get("space", TUNE)
    if space not in ("features", "hidden", TUNE):
        raise cfg.UsageError(f'neighbors.space is {space!r}; write "features", "hidden" or "{TUNE}"')
    votes(neighbors, space, sparse=True)


def learn(
    config: cfg.Config, classifier: Classifier, X: Any, Y: sp.csr_matrix, training: cfg.Config, threads: int | None
) -> Ensemble | None:
    """The ensemble of a trained classifier, or None if it stays alone; says what it does.

    Weights that are "tune" are chosen on the instances that `fit` has held out with the same arguments `training`; then
    the other parts learn from these too.
    """
    from sparsexmc.training.validation import hold_out

    from .ensemble_training import EnsembleTraining

    parts = EnsembleTraining(config, classifier, X, Y, threads)
    seed = training.get("seed")
    left, held = hold_out(X.shape[0], training.get("validation"), classifier.config["seed"] if seed is None else seed)
    if len(held) >= LEAST_TUNING_INSTANCES:
        parts.tune(left, held)
    return parts.finish()


def load(
    model: str, classifier: Classifier, threads: int | None = None, *, wanted: bool = True
) -> Classifier | Ensemble:
    """The classifier with what lies in its directory beside it. Raises DataError if that is damaged."""
    from sparsexmc import Ensemble, Linear, Neighbors

    linear, neighbors = (Path(model) / file for file in (LINEAR_FILE, NEIGHBORS_FILE))
    if not wanted or not (linear.exists() or neighbors.exists()):
        return classifier
    return Ensemble(
        classifier,
        linear=Linear.load(linear, num_threads=threads) if linear.exists() else None,
        neighbors=Neighbors.load(neighbors, num_threads=threads) if neighbors.exists() else None,
        num_threads=threads,
    )


def save(writer: ModelWriter, ensemble: Ensemble | None) -> None:
    """Adds the parts to a model that is being saved."""
    if ensemble is None:
        return
    parts: dict[str, Linear | Neighbors | None] = {LINEAR_FILE: ensemble.linear, NEIGHBORS_FILE: ensemble.neighbors}
    for file, part in parts.items():
        if part is not None:
            with writer.open(file) as target:
                part.save(target)


def given(section: cfg.Config) -> cfg.Config:
    """The arguments that stand in a section; the others keep their defaults."""
    return {key: value for key, value in section.items() if key != "enabled" and value != TUNE}


def votes(section: cfg.Config, space: str, *, sparse: bool) -> Votes:
    """The votes of a section [neighbors] where neighbors are compared by "features" (or "tune"), sparse or not, or by
    what the "hidden" layer makes of them. Raises UsageError.
    """
    from sparsexmc import ArgumentError, Votes
    from sparsexmc.ensemble.neighbors import DENSE_POWER, SPARSE_POWER

    power = HIDDEN_POWER if space == "hidden" else SPARSE_POWER if sparse else DENSE_POWER
    arguments: cfg.Config = {"power": power} | given(section)
    if space != TUNE:
        arguments["space"] = space
    try:
        return Votes(**arguments)
    except ArgumentError as error:
        raise cfg.UsageError(str(error).replace("votes.", "neighbors.", 1)) from None
