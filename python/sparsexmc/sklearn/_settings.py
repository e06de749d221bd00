"""Arguments of the engine's classifier: the parameters of the estimator, and the defaults of `sparsexmc.train` else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_random_state

from .._checks import require_int, require_number
from ..config import SGD, Adam, Hidden, Rewiring, Schedule
from ..errors import ArgumentError
from ..model import defaults
from ..model.settings import ModelSettings
from ..training.defaults import HIDDEN, largest_batch_mean
from ..training.fit import steps_per_epoch

AUTO = "auto"
# The epochs of `sparsexmc.train` are for thousands of instances: a hundred would get too few steps to learn anything.
LEAST_STEPS = 1000
# Without a hidden layer a logit is linear in the features, and takes a higher rate of Adam.
LINEAR_RATE = 0.03
STREAM_BATCH = 256


def validation(parameters: dict[str, Any], X: Any, Y: sp.csr_matrix) -> float | None:
    """Share of the instances that an ensemble is weighed on; None: all are trained on."""
    return defaults.for_data(X, Y).training.validation if parameters["ensemble"] else None


def for_fit(
    parameters: dict[str, Any], X: Any, Y: sp.csr_matrix, validation: float | None
) -> tuple[dict[str, Any], int]:
    """(arguments of `Classifier`, epochs) to train on X [n, in_features] and Y [n, L], less the share `validation`."""
    settings = defaults.for_data(X, Y)
    model = _with_batch_size(settings.model, parameters["batch_size"], X, Y)
    if _rewires(parameters):
        model = replace(model, rewiring=Rewiring())
    epochs = parameters["epochs"]
    per_epoch = steps_per_epoch(Y.shape[0], model.batch_size, validation)
    if _is_auto(epochs):
        epochs = max(settings.training.epochs, math.ceil(LEAST_STEPS / per_epoch))
    require_int("epochs", epochs, 1)
    return _arguments(parameters, model.for_total_steps(epochs * per_epoch).arguments(), Y), epochs


def for_stream(parameters: dict[str, Any], X: Any, Y: sp.csr_matrix) -> dict[str, Any]:
    """Arguments of `Classifier` for data of which X and Y are only the beginning: nothing in them ends."""
    batch_size = STREAM_BATCH if _is_auto(parameters["batch_size"]) else parameters["batch_size"]
    model = _with_batch_size(defaults.for_data(X, Y).model, batch_size, X, Y)
    arguments = _arguments(parameters, replace(model, schedule=Schedule(), num_instances=None).arguments(), Y)
    if _rewires(parameters):
        arguments["rewiring"] = Rewiring(fraction=0.2, fraction_schedule="constant", interval=1000)
    return arguments


def _with_batch_size(model: ModelSettings, batch_size: int | str, X: Any, Y: sp.csr_matrix) -> ModelSettings:
    """`model` with memory reserved for its own batches, or for those of another size."""
    if _is_auto(batch_size):
        return model
    require_int("batch_size", batch_size, 1)
    assert isinstance(batch_size, int | np.integer)
    reserve: dict[str, Any] = {"labels_per_instance": largest_batch_mean(Y, batch_size)}
    if sp.issparse(X):
        reserve["features_per_instance"] = largest_batch_mean(X, batch_size)
    return replace(model, batch_size=batch_size, **reserve)


def _rewires(parameters: dict[str, Any]) -> bool:
    """Without a hidden layer, which learns what any connections carry, better connections pay."""
    return bool(parameters["hidden"] is None and _is_auto(parameters["rewiring"]))


def _arguments(parameters: dict[str, Any], arguments: dict[str, Any], Y: sp.csr_matrix) -> dict[str, Any]:
    """`arguments` of the defaults with those that the user chose on top."""
    for name in ("fan_in", "dense_labels", "optimizer", "rewiring"):
        if not _is_auto(parameters[name]):
            arguments[name] = parameters[name]
    for name in ("group_size", "loss", "device", "memory_limit", "num_threads"):
        arguments[name] = parameters[name]
    arguments["hidden"] = _hidden(parameters["hidden"], arguments["hidden"])
    if arguments["hidden"] is None:
        if _is_auto(parameters["fan_in"]) and arguments["fan_in"] is not None:
            arguments["fan_in"] = min(arguments["fan_in"], arguments["in_features"])
        if _is_auto(parameters["optimizer"]):
            arguments["optimizer"] = _with_rate(arguments["optimizer"], LINEAR_RATE)
    elif _is_auto(parameters["optimizer"]) and isinstance(arguments["hidden"], Hidden):
        # Fewer units share what there is to learn: each has further to go in as many steps.
        share = min(max(arguments["hidden"].features, 1) / HIDDEN, 1.0)
        arguments["optimizer"] = _with_rate(arguments["optimizer"], arguments["optimizer"].lr / math.sqrt(share))
    if parameters["learning_rate"] is not None:
        arguments["optimizer"] = _with_rate(arguments["optimizer"], parameters["learning_rate"])
    arguments["seed"] = _seed(parameters["random_state"])
    arguments["label_counts"] = np.bincount(Y.indices, minlength=Y.shape[1])
    return arguments | (parameters["options"] or {})


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def _hidden(wanted: Any, default: Hidden) -> Any:
    if _is_auto(wanted):
        return default
    if isinstance(wanted, int | np.integer):
        return replace(default, features=int(wanted))
    return wanted


def _with_rate(optimizer: Any, rate: float) -> Any:
    require_number("learning_rate", rate, 0)
    if isinstance(optimizer, Adam):
        return Adam(rate, optimizer.betas, optimizer.eps, optimizer.weight_decay)
    if isinstance(optimizer, SGD):
        return SGD(rate, optimizer.momentum, optimizer.weight_decay)
    raise ArgumentError(f'optimizer={optimizer!r} must be "auto", sx.SGD(...) or sx.Adam(...)')


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
