"""What a model has beside its network: [linear] and [neighbors] of the configuration, linear.npz and neighbors.npz."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import config as cfg
from .tables import count

if TYPE_CHECKING:
    import scipy.sparse as sp

    from sparsexmc import Classifier, Ensemble, Linear, Neighbors, Votes
    from sparsexmc._filter import Ranking

LINEAR_FILE, NEIGHBORS_FILE = "linear.npz", "neighbors.npz"
TUNE = "tune"
LEAST_TUNING_INSTANCES = 100
COSTS = (0.3, 0.6, 1.0)
TUNING_ROUNDS = 2  # tell one cost from another, at half the time


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
        for key in ("cost", "weight"):
            try:
                if section.get(key, TUNE) != TUNE:
                    require_number(f"{name}.{key}", section[key], 0, low_open=key == "cost")
            except ArgumentError as error:
                raise cfg.UsageError(f'{error}, or "{TUNE}"') from None
    _votes(config.get("neighbors", {}))


def learn(
    config: cfg.Config, classifier: Classifier, X: Any, Y: sp.csr_matrix, training: cfg.Config, threads: int | None
) -> Ensemble | None:
    """The ensemble of a trained classifier, or None if it stays alone; says what it does.

    Weights that are "tune" are chosen on the instances that `fit` has held out with the same arguments `training`; then
    the other parts learn from these too.
    """
    from sparsexmc._validation import hold_out

    wanted = [name for name in ("linear", "neighbors") if config.get(name, {}).get("enabled", False)]
    if not wanted:
        return None
    seed = training.get("seed")
    left, held = hold_out(X.shape[0], training.get("validation"), classifier.config["seed"] if seed is None else seed)
    if len(held) >= LEAST_TUNING_INSTANCES:
        config = _tuned(config, wanted, classifier, (X[left], Y[left]), (X[held], Y[held]), threads)
        wanted = [name for name in wanted if config[name].get("weight") != 0]
    return _train(config, wanted, classifier, X, Y, threads) if wanted else None


def load(model: str, classifier: Classifier, threads: int | None = None, *, wanted: bool = True) -> Ranker:
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


def save(model: Path, ensemble: Ensemble | None) -> None:
    """Puts the parts into the model directory, and removes those of an earlier training."""
    parts: dict[str, Linear | Neighbors | None] = {LINEAR_FILE: None, NEIGHBORS_FILE: None}
    if ensemble is not None:
        parts = {LINEAR_FILE: ensemble.linear, NEIGHBORS_FILE: ensemble.neighbors}
    for file, part in parts.items():
        if part is None:
            (model / file).unlink(missing_ok=True)
        else:
            part.save(model / file)


def _train(
    config: cfg.Config, wanted: list[str], classifier: Classifier, X: Any, Y: sp.csr_matrix, threads: int | None
) -> Ensemble:
    from sparsexmc import ArgumentError, DTypeError, Ensemble, Linear, Neighbors

    linear = neighbors = None
    if "linear" in wanted:
        try:
            linear = Linear(X, Y, **_given(config["linear"]), num_threads=threads)
        except (ArgumentError, DTypeError) as error:
            raise cfg.UsageError(f"[linear]: {error}") from None
    if "neighbors" in wanted:
        neighbors = Neighbors(X, Y, _votes(config["neighbors"]), num_threads=threads)
    return Ensemble(classifier, linear=linear, neighbors=neighbors, num_threads=threads)


def _tuned(
    config: cfg.Config,
    wanted: list[str],
    classifier: Classifier,
    train: tuple[Any, sp.csr_matrix],
    held: tuple[Any, sp.csr_matrix],
    threads: int | None,
) -> cfg.Config:
    """`config` with numbers in place of "tune"; prints them."""
    linear, neighbors = (config[name] if name in wanted else {} for name in ("linear", "neighbors"))
    tune_cost = linear.get("cost") == TUNE
    grids = {
        f"{grid}_weights": (section["weight"],)
        for grid, section in (("linear", linear), ("votes", neighbors))
        if section.get("weight", TUNE) != TUNE
    }
    if not tune_cost and len(grids) == len(wanted):
        return config
    ensemble, best, best_cost = None, {}, None
    for cost in COSTS if tune_cost else (None,):
        rounds = min(linear.get("rounds", TUNING_ROUNDS), TUNING_ROUNDS)
        trial = config if cost is None else cfg.merge(config, {"linear": {"cost": cost, "rounds": rounds}})
        one = _train(trial, wanted, classifier, *train, threads)
        tried = one.tune(*held, **grids)
        if ensemble is None or max(tried.values()) > max(best.values()):
            ensemble, best, best_cost = one, tried, cost
    assert ensemble is not None
    said, chosen = [], cfg.Config()
    if ensemble.linear is not None:
        chosen["linear"] = {"weight": ensemble.linear.weight} | ({"cost": best_cost} if tune_cost else {})
        said.append(f"linear weight {ensemble.linear.weight:g}" + (f" with cost {best_cost:g}" if tune_cost else ""))
    if ensemble.neighbors is not None:
        votes = ensemble.neighbors.votes
        chosen["neighbors"] = {"weight": votes.weight, "power": votes.power}
        said.append(f"neighbors weight {votes.weight:g} with power {votes.power:g}")
    alone = [value for weights, value in best.items() if weights.linear == weights.votes == 0]
    print(
        f"best on {count(held[0].shape[0], 'instance')} held out: {', '.join(said)}; mean of P@1, P@3 and P@5 "
        f"{100 * max(best.values()):.1f}" + (f", the network alone {100 * max(alone):.1f}" if alone else "")
    )
    return cfg.merge(config, chosen)


def _given(section: cfg.Config) -> cfg.Config:
    """The arguments that stand in a section; the others keep their defaults."""
    return {key: value for key, value in section.items() if key != "enabled" and value != TUNE}


def _votes(section: cfg.Config) -> Votes:
    from sparsexmc import ArgumentError, Votes

    try:
        return Votes(**_given(section))
    except ArgumentError as error:
        raise cfg.UsageError(str(error).replace("votes.", "neighbors.", 1)) from None
